/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words of a check: one row a kind, so that no finding goes without a sentence. In a sentence, "$value"
 * stands for that member of the finding, and so on (expand_mark).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image/check.h"

typedef struct Words {
    const char *name;
    const char *meaning;
    const char *proposal; /* what a repair does, or what the user may do about an oddity */
    const char *loss;
    const char *way_out; /* instead of a proposal where the finding is fatal; NULL: the rescue */
} Words;

#define RESCUE "not mended by check: 'ploop rescue' looks for what other evidence there is"
#define CLEARED "this cluster of the disk then shows $shows"

static const Words words[] = {
    [PLK_FOUND_HEADER_SHORT] = {"header-short", "the file of $value bytes ends inside its header"},
    [PLK_FOUND_SIGNATURE] = {"signature", "this is not a ploop image: the signature is unknown"},
    [PLK_FOUND_TYPE] = {"type", "the disk type is $value instead of 2"},
    [PLK_FOUND_CLUSTER_SIZE] = {"cluster-size",
                                "a cluster of $value sectors is not a power of two from 64 to 131072"},
    [PLK_FOUND_FIRST_BLOCK] =
        {"first-block", "the first data block at sector $value is not on a cluster behind the BAT",
         "set it to sector $becomes, where the BAT ends; no entry names anything before it",
         "nothing, if entries and disk size are right, which agree with each other"},
    [PLK_FOUND_DISK_SIZE] =
        {"disk-size", "the BAT has not enough entries for a disk of $value sectors, or the size is 0",
         "set it to $becomes sectors: all that the BAT, which ends where data starts, has entries for",
         "the exact size, if it was not a whole number of clusters"},
    [PLK_FOUND_BAT_COUNT] =
        {"bat-count", "the number of $value BAT entries fits neither the disk size nor where data starts",
         "set it to $becomes, what the disk size needs and the BAT has room for",
         "nothing, if the disk size and the first data block are right, which agree with each other"},
    [PLK_FOUND_BAT_SHORT] =
        {"bat-short", "the file of $value bytes ends inside the clusters of its BAT",
         "make it $becomes bytes long; the entries that it holds are all empty",
         "nothing that the file still holds; what entries in the missing part named, if it had any, is gone already",
         "not mended by check: the file ends before the data that its header or its entries speak of; copy it "
         "again if it was cut on its way, else see 'ploop rescue'"},
    [PLK_FOUND_CONVERTING] = {.name = "converting",
                              .meaning = "the image was left in the middle of a version conversion",
                              .way_out = "open its descriptor, which rolls the conversion back"},
    [PLK_FOUND_CONVERT_FLAG] = {"convert-flag", "the image is closed, but flagged as being converted",
                                "clear the flag"},
    [PLK_FOUND_IN_USE] = {"in-use", "the image was not closed: somebody has it open, or a crash came first",
                          "take the mark off"},
    [PLK_FOUND_EMPTY_FLAG] = {"empty-flag", "the Empty flag contradicts the BAT", "set it right"},
    [PLK_FOUND_UNKNOWN_FLAGS] = {"unknown-flags", "the flags $hex hold bits nobody knows"},
    [PLK_FOUND_SIZE_HIGH] = {"size-high", "the unused half of the size field holds $value, which nobody reads",
                             "clear it"},
    [PLK_FOUND_SIZE_PARTIAL] = {"size-partial",
                                "the disk ends $value sectors into a cluster; ploop does not show these",
                                "grow the disk to whole clusters with 'ploop grow', if ploop is to show them"},
    [PLK_FOUND_BAT_EXTRA] = {"bat-extra", "the BAT has $value entries more than the disk size needs",
                             "count only those that the size needs, if the rest are empty"},
    [PLK_FOUND_FIRST_BLOCK_LATE] = {"first-block-late", "data starts at sector $value, later than it must; "
                                                        "dm-ploop refuses such images"},
    [PLK_FOUND_BEYOND_DEVICE] = {"beyond-device",
                                 "the entry holds $value, but lies behind the end of the disk",
                                 "clear the entry, which no guest can reach"},
    [PLK_FOUND_MISALIGNED] = {"misaligned", "the entry names sector $value, which is not on a cluster",
                              "clear the entry", "what it meant, which nobody can tell; " CLEARED},
    [PLK_FOUND_BEYOND_EOF] = {"beyond-eof", "the entry names cluster $value, which is outside the file",
                              "clear the entry", "what the cluster held, which is gone already; " CLEARED},
    [PLK_FOUND_INTO_HEADER] = {"into-header",
                               "the entry names cluster $value, which holds header and BAT; what the slot "
                               "held is gone already",
                               "clear the entry", "nothing that is still there; " CLEARED},
    [PLK_FOUND_DUPLICATE] = {"duplicate", "the entry names cluster $value, which $whom names, too",
                             "copy the cluster to cluster $becomes and let the entry name the copy; each slot "
                             "reads on as it does now",
                             "nothing with the repair; but all of these slots but one lost their own data "
                             "before, and which one did not is not recorded"},
    [PLK_FOUND_HOLE] = {"hole", "$count unnamed clusters from cluster $value on"},
    [PLK_FOUND_TAIL] = {"tail", "the last $value bytes of the file are not in use",
                        "cut the file to $becomes bytes"},
    [PLK_FOUND_FILE_LENGTH] = {"file-length",
                               "the file lacks the last $value bytes of its last cluster, which read as zeros",
                               "make it $becomes bytes long, with zeros"},
    [PLK_FOUND_EXTENSION] = {"extension", "the format extension at sector $value is damaged", "forget it",
                             "the record of changed blocks: the next incremental backup is a full one"},
    [PLK_FOUND_EXTENSION_STALE] = {"extension-stale",
                                   "the format extension at sector $value does not count any more",
                                   "forget it"},
    [PLK_FOUND_EXTENSION_LOCK] = {"extension-lock",
                                  "extension $hex forbids changes by programs that do not know it"},
    [PLK_FOUND_SPARSE] = {"sparse", "$value bytes without blocks in the file system; they read as zeros",
                          "write zeros there, which takes space"},
    [PLK_FOUND_CHAIN_VERSION] =
        {.name = "chain-version",
         .meaning = "format version $value differs from that of the image below",
         .way_out = "not mended by check: one of the two was converted alone, or belongs to another chain; "
                    "'ploop rescue' tells which images fit each other"},
    [PLK_FOUND_CHAIN_CLUSTER] =
        {.name = "chain-cluster",
         .meaning = "clusters of $value sectors differ from what the descriptor or the image below says",
         .way_out = "not mended by check: the image belongs to another chain, or the descriptor is wrong; "
                    "'ploop restore-descriptor' writes a new one, 'ploop rescue' tells which images fit"},
    [PLK_FOUND_CHAIN_SIZE] = {.name = "chain-size",
                              .meaning = "the disk of $value sectors is smaller than in the image below",
                              .way_out = "grow this image alone, to the $becomes sectors of the one below: "
                                         "'ploop grow -s $becomes $image'"},
    [PLK_FOUND_DESCRIPTOR_SIZE] = {"descriptor-size",
                                   "the image has $value sectors, its descriptor says otherwise",
                                   "nothing: the image counts"},
    [PLK_FOUND_FIRST_BLOCK_OUTSIDE] =
        {"first-block-outside", "the first data block at sector $value lies behind the end of the file",
         "set it to sector $becomes, where the BAT ends; no entry names anything before it",
         "nothing, if entries and disk size are right, which agree with each other"},
    [PLK_FOUND_VERSION] =
        {.name = "version",
         .meaning = "no entry makes sense in version $value, which the signature says, but all do in the other one",
         .way_out = "not mended by check, which would clear them all: 'ploop rescue' looks for what other evidence "
                    "there is"},
};

/* A duplicate whose other owner is the extension. */
static const Words shared_with_extension = {
    "duplicate", "the entry names cluster $value, which belongs to the format extension",
    "forget the extension; the entry keeps the cluster and reads on as it does now",
    "the record of changed blocks: the next incremental backup is a full one; and if the extension wrote last, "
    "what the slot held, which is gone already"};

/* A sound extension whose record the repair of entries makes wrong. */
static const Words stale_by_repair = {
    "extension-stale", "the format extension at sector $value does not record what a repair of the entries changes",
    "forget it", "the record of changed blocks: the next incremental backup is a full one"};

/* A late first block that cuts off clusters which entries name. */
static const Words late_by_entries = {
    "first-block-late", "data starts at sector $value, but entries name clusters before that, behind the BAT",
    "set it to sector $becomes, where the BAT ends",
    "nothing, if entries and disk size are right, which agree with each other"};

/* Nobody names it; but there are entries whose meaning is lost. */
static const Words tail_next_to_damage = {
    "tail", "the last $value bytes of the file are not in use", "cut the file to $becomes bytes",
    "what stands there without a name; if a damaged entry meant it, 'ploop rescue' can find it only before this repair"};

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

/* ---- filling in ---- */

/* What the disk shows where an entry is cleared. */
static void say_shows(const PlkChecker *c, char *buf, size_t len)
{
    snprintf(buf, len, "%s%s", c->level ? "older bytes of the images below" : "zeros, or what lies below",
             c->lower ? ", in this state and in all that stand on it" : "");
}

static void say_whom(const PlkFinding *f, char *buf, size_t len)
{
    if (f->other == PLK_NO_SLOT)
        snprintf(buf, len, "an earlier slot");
    else
        snprintf(buf, len, "slot %" PRIu64, f->other);
}

/* Length of the mark at `text` and its words in buf; 0: this is no mark. */
static size_t expand_mark(const PlkChecker *c, const PlkFinding *f, const char *text, char *buf, size_t len)
{
    const char *name = text + 1;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz");

    if (n == 0)
        return 0;
    if (strncmp(name, "value", n) == 0)
        snprintf(buf, len, "%" PRIu64, f->value);
    else if (strncmp(name, "hex", n) == 0)
        snprintf(buf, len, "%#" PRIx64, f->value);
    else if (strncmp(name, "becomes", n) == 0)
        snprintf(buf, len, "%" PRIu64, f->becomes);
    else if (strncmp(name, "count", n) == 0)
        snprintf(buf, len, "%" PRIu64, f->count);
    else if (strncmp(name, "shows", n) == 0)
        say_shows(c, buf, len);
    else if (strncmp(name, "whom", n) == 0)
        say_whom(f, buf, len);
    else if (strncmp(name, "image", n) == 0)
        snprintf(buf, len, "%s", c->name);
    else
        return 0;
    return 1 + n;
}

/* NULL stays NULL. What does not fit is cut off. */
static const char *expand(const PlkChecker *c, const PlkFinding *f, const char *text, char *buf, size_t len)
{
    size_t at = 0, used;

    if (!text)
        return NULL;
    buf[0] = '\0';
    while (*text && at + 1 < len) {
        used = *text == '$' ? expand_mark(c, f, text, buf + at, len - at) : 0;
        if (used == 0) {
            buf[at] = *text;
            buf[at + 1] = '\0';
            used = 1;
        }
        at += strlen(buf + at);
        text += used;
    }
    return buf;
}

static const Words *words_of(const PlkChecker *c, const PlkFinding *f)
{
    if (f->kind == PLK_FOUND_DUPLICATE && f->becomes == f->value)
        return &shared_with_extension;
    if (f->kind == PLK_FOUND_EXTENSION_STALE && f->rank == PLK_FINDING_LOSSY)
        return &stale_by_repair;
    if (f->kind == PLK_FOUND_FIRST_BLOCK_LATE && f->rank == PLK_FINDING_LOSSY)
        return &late_by_entries;
    if (f->kind == PLK_FOUND_TAIL && c->n_lossy > 0)
        return &tail_next_to_damage;
    return &words[f->kind];
}

int plk_checker_report(PlkChecker *c, const PlkFinding *finding)
{
    PlkFinding f = *finding;
    char meaning[400], proposal[400], loss[400];
    const Words *w;

    assert((size_t)f.kind < N_KINDS && words[f.kind].name);
    c->result->found[f.rank]++;
    c->result->fixed += f.fixed;
    c->result->left += f.rank != PLK_FINDING_INFO && !f.fixed;
    if (!c->report)
        return 0;
    f.image = c->name;
    f.level = c->level;
    f.count = f.count ? f.count : 1;
    if (f.kind != PLK_FOUND_DUPLICATE)
        f.other = PLK_NO_SLOT;
    w = words_of(c, &f);
    f.meaning = expand(c, &f, w->meaning, meaning, sizeof meaning);
    f.proposal = f.rank == PLK_FINDING_FATAL ? (w->way_out ? w->way_out : RESCUE) : w->proposal;
    f.proposal = expand(c, &f, f.proposal, proposal, sizeof proposal);
    f.loss = f.rank == PLK_FINDING_FATAL ? NULL : expand(c, &f, w->loss, loss, sizeof loss);
    return c->report(c->arg, &f) ? -ECANCELED : 0;
}
