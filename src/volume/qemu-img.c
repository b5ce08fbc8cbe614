/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running qemu-img; see the header. */
#include "volume/qemu-img.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "host/run.h"

#define CPU_SECONDS (6 * 3600)
#define ADDRESS_SPACE (4ull << 30)

int plk_qemu_img_find(PlkError *err)
{
    char path[PLK_PROGRAM_PATH_MAX];

    return plk_find_program("qemu-img", path, err);
}

int plk_qemu_img_convert(const char *from_format, const char *from, const char *to_format, const char *to,
                         const PlkProgress *progress, PlkError *err)
{
    /* "file:" keeps a colon in a name from being taken for a protocol. */
    PLK_FREE char *in = plk_printf("file:%s", from), *out = plk_printf("file:%s", to);
    const char *args[] = {"convert", "-f", from_format, "-O", to_format, "--", in, out, NULL};
    const PlkRun run = {
        .program = "qemu-img",
        .args = args,
        .cpu_seconds = CPU_SECONDS,
        .address_space = ADDRESS_SPACE,
        .progress = progress,
    };

    if (!in || !out)
        return plk_fail_nomem(err);
    return plk_run_checked(&run, PLK_ERROR_HELPER, err);
}

/* The fields of a qcow2 header that matter here, big-endian (QEMU docs/interop/qcow2). */
typedef struct __attribute__((packed)) Qcow2Header {
    uint32_t magic, version;
    uint64_t backing_offset;
    uint32_t backing_length, cluster_bits;
    uint64_t size;
    uint8_t unused[40];
    uint64_t incompatible; /* version 3 only */
} Qcow2Header;
_Static_assert(sizeof(Qcow2Header) == 80, "qcow2 header up to the feature bits");

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_EXTERNAL_DATA (1ull << 2)

int plk_qcow2_check(int fd, const char *name, uint64_t *ret_size, PlkError *err)
{
    Qcow2Header h;
    ssize_t n = pread(fd, &h, sizeof(h), 0);
    uint32_t version;

    if (n < 0)
        return plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read '%s'", name);
    version = be32toh(h.version);
    if (n < (ssize_t)sizeof(h) || be32toh(h.magic) != QCOW2_MAGIC || version < 2 || version > 3)
        return plk_fail(err, PLK_ERROR_FORMAT, "'%s' is no qcow2 image", name);
    if (h.backing_offset != 0)
        return plk_fail(
            err, PLK_ERROR_UNSUPPORTED,
            "'%s' has a backing file, which is not followed; 'qemu-img convert' makes it stand alone", name);
    if (version == 3 && be64toh(h.incompatible) & QCOW2_EXTERNAL_DATA)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "'%s' keeps its data in another file, which is not followed", name);
    *ret_size = be64toh(h.size);
    return 0;
}
