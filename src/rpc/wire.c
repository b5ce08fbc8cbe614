/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames and messages as bytes. */
#include "rpc/wire.h"

#include <string.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "conf/libvirt-error.h"
#include "rpc/protocol.h"

#define LEVEL_ERROR 2
#define DOMAIN_STREAMS 38
#define CODE_SYSTEM 38

void plk_frame_encode(const PlkFrame *frame, uint8_t ret[PLK_FRAME_HEAD])
{
    const uint32_t words[] = {frame->length, frame->program, frame->version, (uint32_t)frame->procedure,
                              frame->type,   frame->serial,  frame->status};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        uint32_t be = htobe32(words[i]);

        memcpy(ret + i * 4, &be, 4);
    }
}

void plk_frame_decode(const uint8_t bytes[PLK_FRAME_HEAD], PlkFrame *ret)
{
    uint32_t words[PLK_FRAME_HEAD / 4];

    memcpy(words, bytes, PLK_FRAME_HEAD);
    *ret = (PlkFrame){
        .length = be32toh(words[0]),
        .program = be32toh(words[1]),
        .version = be32toh(words[2]),
        .procedure = (int32_t)be32toh(words[3]),
        .type = be32toh(words[4]),
        .serial = be32toh(words[5]),
        .status = be32toh(words[6]),
    };
}

PlkFrame plk_frame_answer(const PlkFrame *to, PlkFrameType type, PlkFrameStatus status)
{
    PlkFrame frame = *to;

    frame.length = PLK_FRAME_HEAD;
    frame.type = type;
    frame.status = status;
    return frame;
}

PlkMessage *plk_message_new(const PlkFrame *frame)
{
    PlkMessage *message = plk_malloc(sizeof *message + frame->length);

    if (!message)
        return NULL;
    message->next = NULL;
    message->sent = 0;
    message->frame = *frame;
    plk_frame_encode(frame, message->bytes);
    return message;
}

PlkMessage *plk_message_encode(PlkFrame frame, xdrproc_t encode, const void *value)
{
    unsigned long size = encode ? xdr_sizeof(encode, (void *)value) : 0;
    PlkMessage *message;
    bool ok = true;
    XDR xdr;

    if ((encode && size == 0) || size > PLK_FRAME_MAX - PLK_FRAME_HEAD)
        return NULL;
    frame.length = PLK_FRAME_HEAD + (uint32_t)size;
    message = plk_message_new(&frame);
    if (message && encode) {
        xdrmem_create(&xdr, (char *)message->bytes + PLK_FRAME_HEAD, (u_int)size, XDR_ENCODE);
        ok = encode(&xdr, (void *)value);
        xdr_destroy(&xdr);
    }
    if (ok)
        return message;
    free(message);
    return NULL;
}

/*
 * The fields as libvirt fills them: a phrase for the kind of error in front of the detail, the detail by itself
 * in str2; a system error has no phrase but an errno.
 */
PlkMessage *plk_message_error(PlkFrame frame, const PlkError *err)
{
    PlkLibvirtError as = plk_libvirt_error(err);
    rpc_text detail = (char *)err->message, whole = NULL, format = NULL, plain = (char *)"%s";
    rpc_error error = {.code = as.code, .domain = as.domain, .level = LEVEL_ERROR, .int1 = -1, .int2 = -1};
    PlkMessage *message = NULL;

    if (as.phrase) {
        whole = plk_printf("%s: %s", as.phrase, err->message);
        format = plk_printf("%s: %%s", as.phrase);
    }
    if (frame.type == PLK_FRAME_STREAM && as.code == CODE_SYSTEM)
        error.domain = DOMAIN_STREAMS;
    if (!as.phrase || (whole && format)) {
        error.message = as.phrase ? &whole : &detail;
        error.str1 = as.phrase ? &format : &plain;
        error.str2 = &detail;
        if (err->errnum && !as.phrase)
            error.int1 = err->errnum;
        frame.status = PLK_FRAME_ERROR;
        message = plk_message_encode(frame, (xdrproc_t)xdr_rpc_error, &error);
    }
    free(whole);
    free(format);
    return message;
}

bool plk_message_decode(const PlkMessage *message, xdrproc_t decode, void *ret, size_t size)
{
    XDR xdr;
    bool ok;

    memset(ret, 0, size);
    if (!decode)
        return true;
    xdrmem_create(&xdr, (char *)message->bytes + PLK_FRAME_HEAD, (u_int)plk_message_payload(message), XDR_DECODE);
    ok = decode(&xdr, ret);
    xdr_destroy(&xdr);
    if (!ok)
        xdr_free(decode, ret);
    return ok;
}
