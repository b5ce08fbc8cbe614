/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop restore-descriptor: a DiskDescriptor.xml for an image that lost its own. Stock libvirt calls this
 * after an upload, has deleted the old descriptor by then and reports success whatever happens here: so it
 * waits for nothing and describes the one image it is given. Deltas that lie around are only warned of.
 */
#include <stdlib.h>
#include <string.h>

#include <ploopkit/create.h>

#include "base/cleanup.h"
#include "base/guid.h"
#include "cli.h"

/* Is the image where a disk may open it without --root? */
static bool is_beneath(const char *dir, const char *base)
{
    PLK_FREE char *real_dir = realpath(dir, NULL), *real_base = realpath(base, NULL);
    size_t len = real_dir ? strlen(real_dir) : 0;

    return !real_dir || !real_base || len == 1 ||
           (strncmp(real_dir, real_base, len) == 0 && real_base[len] == '/');
}

/* What the caller does not see from the exit code, which is 0. */
static void warn(const char *dir, const char *base, unsigned orphans)
{
    if (orphans)
        plk_warn("%s: %u snapshot image%s not described by the new descriptor and no longer part of the "
                 "disk; keep %s: nothing was removed, and 'ploop rescue %s' tells how they fit together",
                 dir, orphans, orphans == 1 ? " is" : "s are", orphans == 1 ? "it" : "them", dir);
    if (!is_beneath(dir, base))
        plk_warn("%s lies outside %s: every use of this disk needs --root with a directory above both", base,
                 dir);
}

static int run(const PlkArgs *args)
{
    const char *dir = args->operands[0], *base = args->operands[1], *format = plk_arg(args, 'f');
    bool raw = format && strcmp(format, "raw") == 0;
    size_t len = strlen(dir);
    uint64_t cluster = 0;
    unsigned orphans = 0;
    PlkError err;

    if (format && !raw && strcmp(format, "ploop1") != 0 && strcmp(format, "expanded") != 0)
        return plk_cli_param("Incorrect format specified: %s (raw or ploop1)", format);
    if (plk_arg_uint(args, 'b', UINT32_MAX, &cluster))
        return PLK_EXIT_PARAM;
    if (!raw)
        plk_say(0, "Opening delta %s", base);
    if (plk_descriptor_restore(dir, base, raw, (uint32_t)cluster, &orphans, &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "Adding snapshot %s", PLK_GUID_TOP.text);
    plk_say(0, "Storing %s%sDiskDescriptor.xml", dir, len && dir[len - 1] == '/' ? "" : "/");
    warn(dir, base, orphans);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    {'f', NULL, "FORMAT", "what BASE is: ploop1 (default) or raw"},
    {'b', NULL, "SECTORS", "cluster size for a raw BASE"},
    {0},
};

const PlkVerb plk_verb_restore_descriptor = {
    .name = "restore-descriptor",
    .min = 2,
    .max = 2,
    .operands = "DIR BASE",
    .options = options,
    .run = run,
    .help = "write a DiskDescriptor.xml for one base image",
};
