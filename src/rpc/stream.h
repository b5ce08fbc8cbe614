/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams of one peer, known by the serial of the call that opened them.
 *
 *   upload    STREAM and HOLE frames are queued; the thread that queued the first writes them until there are none.
 *             STREAM/OK ends it: answered with the same when every byte is safe, else with the error.
 *   download  the thread of the call sends frame after frame, each when the one before is out; an empty one at
 *             the end. Then the peer's STREAM/OK is answered.
 *
 * STREAM/ERROR from the peer gives the stream up. An error of ours ends it; what still comes for it is dropped.
 */
#pragma once

#include "rpc/call.h"

/* Before the reply of that call, which may be followed by data at once. Takes call->upload or call->download; NULL on failure. */
PlkRpcStream *plk_rpc_stream_open(PlkCall *call);
/* After the reply: sends a download, all of it. (An upload needs nothing, and may be gone by now.) */
void plk_rpc_stream_run(PlkRpcStream *stream);
/* The reading role: a STREAM or HOLE frame has come. False: the role is given away. */
bool plk_rpc_stream_take(PlkPeer *peer, PlkMessage *message);
/* The peer is closed. */
void plk_rpc_streams_drop(PlkPeer *peer);
