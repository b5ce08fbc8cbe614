/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame: length word, header of six words, payload; all big-endian. Pure. Facts: docs/protocol/frames.md.
 *
 * A PlkMessage is a whole frame in memory, ready to be sent or just received.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rpc/rpc.h>

#include <ploopkit/error.h>

#define PLK_PROGRAM_REMOTE 0x20008086u    /* libvirt's */
#define PLK_PROGRAM_KEEPALIVE 0x6b656570u /* libvirt's */

#define PLK_FRAME_HEAD 28u           /* length word and header; the length counts itself */
#define PLK_FRAME_MAX (33554432u + 4) /* a longer one ends the connection */
#define PLK_FRAME_DATA 262120u       /* stream bytes in one frame that we send; all clients take that */

typedef enum PlkFrameType {
    PLK_FRAME_CALL,
    PLK_FRAME_REPLY,
    PLK_FRAME_EVENT,
    PLK_FRAME_STREAM,
    PLK_FRAME_CALL_WITH_FDS,
    PLK_FRAME_REPLY_WITH_FDS,
    PLK_FRAME_HOLE,
} PlkFrameType;

typedef enum PlkFrameStatus {
    PLK_FRAME_OK,
    PLK_FRAME_ERROR,
    PLK_FRAME_CONTINUE,
} PlkFrameStatus;

typedef struct PlkFrame {
    uint32_t length; /* of everything */
    uint32_t program, version;
    int32_t procedure;
    uint32_t type, serial, status;
} PlkFrame;

void plk_frame_encode(const PlkFrame *frame, uint8_t ret[PLK_FRAME_HEAD]);
void plk_frame_decode(const uint8_t bytes[PLK_FRAME_HEAD], PlkFrame *ret);

/* The frame that answers this one. */
PlkFrame plk_frame_answer(const PlkFrame *to, PlkFrameType type, PlkFrameStatus status);

typedef struct PlkMessage {
    struct PlkMessage *next; /* in a queue */
    PlkFrame frame;          /* decoded */
    size_t sent;             /* bytes that are gone already */
    uint8_t bytes[];         /* frame.length of them */
} PlkMessage;

/* The frame's head with room for a payload, frame->length bytes in all; NULL when out of memory. */
PlkMessage *plk_message_new(const PlkFrame *frame);
/* Head and encoded value (encode NULL: none). NULL when out of memory, or the value does not fit a frame. */
PlkMessage *plk_message_encode(PlkFrame frame, xdrproc_t encode, const void *value);
/* An error in place of the answer. */
PlkMessage *plk_message_error(PlkFrame frame, const PlkError *err);
/* Of a message, as `decode` has it; zeroed first, to be freed with xdr_free(). Surplus bytes are no fault. */
bool plk_message_decode(const PlkMessage *message, xdrproc_t decode, void *ret, size_t size);
static inline size_t plk_message_payload(const PlkMessage *message)
{
    return message->frame.length - PLK_FRAME_HEAD;
}
