/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pings and pongs. */
#include "rpc/keepalive.h"

#include "base/cleanup.h"

enum { PING = 1, PONG = 2 };

static void send_one(PlkPeer *peer, int32_t what)
{
    const PlkFrame frame = {.length = PLK_FRAME_HEAD, .program = PLK_PROGRAM_KEEPALIVE, .version = 1,
                            .procedure = what, .type = PLK_FRAME_EVENT};

    plk_peer_send(peer, plk_message_new(&frame));
}

void plk_keepalive_take(PlkPeer *peer, const PlkFrame *frame)
{
    if (frame->version == 1 && frame->type == PLK_FRAME_EVENT && frame->procedure == PING)
        send_one(peer, PONG);
}

void plk_keepalive_begin(PlkPeer *peer)
{
    PLK_LOCKED(&peer->lock);
    peer->keepalive = true;
}

void plk_keepalive_tick(PlkPeer *peer, int64_t now, unsigned interval_ms, unsigned count)
{
    enum { NOTHING, SEND, END } what = NOTHING;

    pthread_mutex_lock(&peer->lock);
    /* What we do not read, because its own requests wait, it can not be blamed for. */
    if (peer->paused)
        peer->heard = now;
    if (peer->keepalive && now - peer->heard > (int64_t)interval_ms * (peer->pings + 1))
        what = peer->pings++ < count ? SEND : END;
    pthread_mutex_unlock(&peer->lock);
    if (what == SEND)
        send_one(peer, PING);
    else if (what == END)
        plk_peer_close(peer, "it does not answer pings");
}
