/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls from anybody: two bytes for the procedure's number, then the payload of its call and, as if we were a client, of its
 * reply.
 *
 * What must hold: what is decoded stays within the payload and within its limits, encodes again, and decodes to the same; what is
 * refused leaves nothing behind. The frame's head is the same for all: encoded and decoded it stays what it was.
 */
#include <stdlib.h>

#include "daemon/daemon.h"
#include "fuzz.h"
#include "rpc/wire.h"

#define TWICE_MAX (1u << 20) /* what a few bytes may grow to when they are encoded again */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

static PlkMessage *frame_of(const uint8_t *payload, size_t size, int32_t procedure)
{
    PlkFrame frame = {.length = PLK_FRAME_HEAD + (uint32_t)size, .program = PLK_PROGRAM_REMOTE, .version = 1,
                      .procedure = procedure};
    PlkMessage *message = plk_message_new(&frame);
    PlkFrame again;

    FUZZ_CHECK(message, "no memory");
    if (size)
        memcpy(message->bytes + PLK_FRAME_HEAD, payload, size);
    plk_frame_decode(message->bytes, &again);
    FUZZ_CHECK(memcmp(&again, &frame, sizeof frame) == 0, "another head");
    return message;
}

/* Encodes to what decodes and encodes to the same. */
static void check_again(const PlkFrame *frame, xdrproc_t shape, void *value, size_t size)
{
    PlkMessage *once = plk_message_encode(*frame, shape, value), *twice;
    void *copy = malloc(size);

    FUZZ_CHECK(once && copy, "what was decoded cannot be encoded");
    FUZZ_CHECK(once->frame.length <= frame->length + TWICE_MAX, "%u bytes became %u", frame->length, once->frame.length);
    FUZZ_CHECK(plk_message_decode(once, shape, copy, size), "what was encoded cannot be decoded");
    twice = plk_message_encode(*frame, shape, copy);
    FUZZ_CHECK(twice && twice->frame.length == once->frame.length &&
                   memcmp(twice->bytes, once->bytes, once->frame.length) == 0, "it encodes to something else");
    xdr_free(shape, copy);
    free(copy);
    free(once);
    free(twice);
}

static void try_shape(const PlkMessage *message, xdrproc_t shape, size_t size)
{
    void *value = malloc(size ? size : 1);

    FUZZ_CHECK(value, "no memory");
    if (shape && plk_message_decode(message, shape, value, size)) {
        check_again(&message->frame, shape, value, size);
        xdr_free(shape, value);
    }
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    int32_t number = (int32_t)fuzz_number(&in, 2);
    const PlkProcedure *procedure = plk_program_remote.find(number);
    PlkMessage *message = frame_of(in.at, fuzz_left(&in), number);

    if (procedure) {
        try_shape(message, procedure->args, procedure->args_size);
        try_shape(message, procedure->ret, procedure->ret_size);
    } else {
        try_shape(message, (xdrproc_t)xdr_rpc_error, sizeof(rpc_error));
    }
    free(message);
    return 0;
}
