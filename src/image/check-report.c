/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of a check: one row a kind, so that no finding goes without a sentence. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "image/check.h"

typedef struct Words {
    const char *name;
    const char *meaning; /* %1$ value, %2$ count */
    const char *proposal;
} Words;

#define V "%1$" PRIu64
#define N "%2$" PRIu64

static const Words words[] = {
    [PLK_FOUND_HEADER_SHORT] = {"header-short", "the file of " V " bytes ends inside its header"},
    [PLK_FOUND_SIGNATURE] = {"signature", "this is not a ploop image: the signature is unknown"},
    [PLK_FOUND_TYPE] = {"type", "the disk type is " V " instead of 2"},
    [PLK_FOUND_CLUSTER_SIZE] = {"cluster-size",
                                "a cluster of " V " sectors is not a power of two from 64 to 131072"},
    [PLK_FOUND_FIRST_BLOCK] = {"first-block",
                               "the first data block at sector " V " is not on a cluster behind the BAT"},
    [PLK_FOUND_DISK_SIZE] = {"disk-size", "the BAT has not enough entries for a disk of " V " sectors"},
    [PLK_FOUND_BAT_COUNT] = {"bat-count", "a BAT of " V " entries is longer than any disk needs"},
    [PLK_FOUND_BAT_SHORT] = {"bat-short", "the file of " V " bytes ends inside the clusters of its BAT"},
    [PLK_FOUND_CONVERTING] = {"converting", "the image was left in the middle of a version conversion",
                              "open its descriptor, which rolls the conversion back; nothing is lost"},
    [PLK_FOUND_CONVERT_FLAG] = {"convert-flag", "the image is closed, but flagged as being converted",
                                "clear the flag; nothing is lost"},
    [PLK_FOUND_IN_USE] = {"in-use", "the image was not closed: somebody has it open, or a crash came first",
                          "take the mark off; nothing is lost that the crash did not take"},
    [PLK_FOUND_EMPTY_FLAG] = {"empty-flag", "the Empty flag contradicts the BAT",
                              "set it right; nothing is lost"},
    [PLK_FOUND_UNKNOWN_FLAGS] = {"unknown-flags", "the flags %1$#" PRIx64 " hold bits nobody knows"},
    [PLK_FOUND_SIZE_HIGH] = {"size-high",
                             "the unused half of the size field holds " V ", which nobody reads"},
    [PLK_FOUND_SIZE_PARTIAL] = {"size-partial",
                                "the disk ends " V " sectors into a cluster; ploop does not show these"},
    [PLK_FOUND_BAT_EXTRA] = {"bat-extra", "the BAT has " V " entries more than the disk size needs"},
    [PLK_FOUND_FIRST_BLOCK_LATE] = {"first-block-late", "data starts at sector " V
                                                        ", later than it must; dm-ploop refuses such images"},
    [PLK_FOUND_BEYOND_DEVICE] = {"beyond-device",
                                 "the entry holds " V ", but lies behind the end of the disk",
                                 "clear the entry; nothing is lost: no guest can reach it"},
    [PLK_FOUND_MISALIGNED] =
        {"misaligned", "the entry names sector " V ", which is not on a cluster",
         "clear the entry; this cluster of the disk then shows what lies below, or zeros"},
    [PLK_FOUND_BEYOND_EOF] =
        {"beyond-eof", "the entry names cluster " V ", which is outside the file",
         "clear the entry; this cluster of the disk then shows what lies below, or zeros"},
    [PLK_FOUND_INTO_HEADER] = {"into-header", "the entry names cluster " V ", which holds header and BAT"},
    [PLK_FOUND_DUPLICATE] = {"duplicate", "the entry names cluster " V ", which is in use already"},
    [PLK_FOUND_HOLE] = {"hole", N " unnamed clusters from cluster " V " on"},
    [PLK_FOUND_TAIL] = {"tail", "the last " V " bytes of the file are not in use",
                        "cut the file; nothing is lost"},
    [PLK_FOUND_FILE_LENGTH] = {"file-length", "the file lacks the last " V " bytes of a cluster",
                               "make it longer with zeros, as it reads now; nothing is lost"},
    [PLK_FOUND_EXTENSION] =
        {"extension", "the format extension at sector " V " is damaged",
         "forget it: the record of changed blocks is lost, the next incremental backup is a full one"},
    [PLK_FOUND_EXTENSION_STALE] = {"extension-stale",
                                   "the format extension at sector " V " does not count any more",
                                   "forget it; nothing is lost"},
    [PLK_FOUND_EXTENSION_LOCK] = {"extension-lock", "extension %1$016" PRIx64
                                                    " forbids changes by programs that do not know it"},
    [PLK_FOUND_SPARSE] = {"sparse", V " bytes without blocks in the file system; they read as zeros",
                          "write zeros there; nothing is lost but space"},
    [PLK_FOUND_CHAIN_VERSION] = {"chain-version",
                                 "format version " V " differs from that of the image below"},
    [PLK_FOUND_CHAIN_CLUSTER] = {"chain-cluster",
                                 "clusters of " V
                                 " sectors differ from what the descriptor or the image below says"},
    [PLK_FOUND_CHAIN_SIZE] = {"chain-size", "the disk of " V " sectors is smaller than in the image below"},
    [PLK_FOUND_DESCRIPTOR_SIZE] = {"descriptor-size",
                                   "the image has " V " sectors, its descriptor says otherwise"},
};

#define N_KINDS (sizeof words / sizeof words[0])

const char *plk_finding_name(PlkFindingKind kind)
{
    return (size_t)kind < N_KINDS && words[kind].name ? words[kind].name : "unknown";
}

const char *plk_finding_rank_name(PlkFindingRank rank)
{
    static const char *const names[] = {"info", "lossless", "lossy", "fatal"};

    return (unsigned)rank < 4 ? names[rank] : "unknown";
}

/* The formats are this file's own, with both arguments numbered: what the warning asks for cannot be said in
 * C. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
static void say(char *buf, size_t len, const char *fmt, uint64_t value, uint64_t count)
{
    snprintf(buf, len, fmt, value, count);
}
#pragma GCC diagnostic pop

int plk_checker_report(PlkChecker *c, const PlkFinding *finding)
{
    PlkFinding f = *finding;
    char meaning[200];

    assert((size_t)f.kind < N_KINDS && words[f.kind].name);
    if (c->silent)
        return 0;
    c->result->found[f.rank]++;
    c->result->fixed += f.fixed;
    c->result->left += f.rank != PLK_FINDING_INFO && !f.fixed;
    if (!c->report)
        return 0;
    f.image = c->name;
    f.level = c->level;
    f.count = f.count ? f.count : 1;
    say(meaning, sizeof meaning, words[f.kind].meaning, f.value, f.count);
    f.meaning = meaning;
    f.proposal = words[f.kind].proposal;
    return c->report(c->arg, &f) ? -ECANCELED : 0;
}
