/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A call on its way: what a procedure is told about it, and what it may ask for. */
#pragma once

#include "rpc/server.h"
#include "volume/stream.h"

struct PlkCall {
    PlkPeer *peer;
    PlkFrame frame;
    /* Set by the procedure: */
    PlkStream *upload, *download; /* taken over; opens a stream under this call's serial after a good reply */
    bool sparse;                  /* it may have holes */
    bool last;                    /* the connection ends with the reply */
    void (*replied)(PlkPeer *peer); /* called when the reply is out, before anything else is read from this peer;
                                       only for what may be called by a peer that has not shown who it is */
};

/* The reading role: a CALL frame has come. False: the role is given away. */
bool plk_call_take(PlkPeer *peer, PlkMessage *message);

/* Asked by long operations, as a PlkProgress: the peer has gone. */
bool plk_call_abandoned(const PlkCall *call);
