/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The power is cut while `ploop resize` changes the size of a disk with a filesystem, its helpers e2fsck and resize2fs
 * at work in a scratch delta. After each cut the disk has the old size or the new one, filesystem and all,
 * e2fsck finds nothing, and every file is there. See box.h for what a cut is.
 *
 *     test-resize ext4|xfs CUTS      prints counts; SEED= chooses the history, ROUNDS= overrides CUTS
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/filesystem.h>
#include <ploopkit/snapshot.h>

#include "box.h"
#include "filesystem/partition.h"
#include "format/md5.h"

#define CUTS_A_DISK 40
#define CLUSTER (128u << 10)
#define CLUSTERS_MIN 160u /* 20 MiB: what the files and ext4's own need */
#define CLUSTERS_MAX 384u
#define FILES 24u
#define FILE_MAX (300u << 10)
#define LIFE_MAX_US 180000

typedef struct Sizes {
    uint64_t device, partition, filesystem;
} Sizes;

/* Shared with the process that resizes, which is stopped when it is read. */
typedef struct History {
    char vol[64], xml[96], tree[64];
    Sizes now, next;
    bool changing; /* the disk has one of the two sizes */
    unsigned long n_resizes;
    char failed[400]; /* something went wrong although nobody had cut the power */
} History;

static History *h;
static char digest[PLK_DIGEST_CHARS + 1]; /* of the files, as a tar archive */
static char what[512];
static unsigned long n_old, n_new, n_between;

static uint32_t random_state;

static uint32_t rnd(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(random_state >> 4) * n >> 28);
}

static __attribute__((format(printf, 1, 2))) bool wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- the history ---- */

static _Noreturn void give_up(const char *target, int status)
{
    snprintf(h->failed, sizeof h->failed, "ploop resize -s %s ends with status %x", target, (unsigned)status);
    for (;;)
        pause();
}

static void run_resize(const char *target, bool shrink_device)
{
    const char *args[] = {"ploop", "resize", "-s", target, h->xml, shrink_device ? "--shrink-device" : NULL, NULL};
    char locale[] = "LC_ALL=C", copy[] = "PLK_VIEW=copy", *env[] = {locale, rnd(3) ? NULL : copy, NULL};
    pid_t pid = fork(); /* posix_spawn() waits where no signal stops it */
    int status;

    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        execve(getenv("PLOOP"), (char *const *)args, env);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up(target, status);
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Two clusters hold the partition table, in front and at the end; a shrunk filesystem leaves four. */
static Sizes sizes_after(uint64_t target, bool shrink_device)
{
    Sizes s = h->now;

    if (target > s.device)
        return (Sizes){target, target - 2 * CLUSTER, target - 2 * CLUSTER};
    s.filesystem = at_most(target - 4 * CLUSTER, s.partition);
    if (shrink_device) {
        s.device = target;
        s.partition = target - 2 * CLUSTER;
    }
    return s;
}

static _Noreturn void resize_for_ever(uint32_t seed)
{
    random_state = seed;
    for (;;) {
        uint64_t target = (CLUSTERS_MIN + rnd(CLUSTERS_MAX - CLUSTERS_MIN + 1)) * (uint64_t)CLUSTER;
        bool shrink_device = rnd(2);
        char text[32];

        if (target == h->now.device)
            continue;
        snprintf(text, sizeof text, "%llu", (unsigned long long)target / 512);
        h->next = sizes_after(target, shrink_device);
        h->changing = true;
        run_resize(text, shrink_device && target < h->now.device);
        h->now = h->next;
        h->changing = false;
        h->n_resizes++;
    }
}

/* ---- the disk ---- */

static bool digest_files(PlkDisk *disk, char ret[PLK_DIGEST_CHARS + 1], PlkError *err)
{
    int fd = memfd_create("tar", MFD_CLOEXEC);
    struct stat st;
    void *tar = MAP_FAILED;

    if (fd >= 0 && plk_filesystem_export_tar(disk, fd, NULL, err) == 0 && fstat(fd, &st) == 0)
        tar = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (tar == MAP_FAILED)
        return false;
    plk_digest_text(tar, (size_t)st.st_size, ret);
    munmap(tar, (size_t)st.st_size);
    return true;
}

static bool look(Sizes *ret, char ret_digest[PLK_DIGEST_CHARS + 1])
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkError err = {0};
    PlkPartition part;
    PlkFsUsage usage;
    PlkDisk *disk;
    bool good;

    if (plk_disk_open(h->xml, &o, &disk, &err) < 0)
        return wrong("does not open: %s", err.message);
    good = plk_partition_find(disk, &part, &err) == 0 && plk_filesystem_usage(disk, &usage, &err) == 0 &&
           digest_files(disk, ret_digest, &err);
    if (good)
        *ret = (Sizes){plk_disk_size(disk), part.length, usage.blocks * usage.block_bytes};
    plk_disk_close(disk, NULL);
    return good || wrong("the files cannot be read: %s", err.message);
}

static bool write_file(unsigned i)
{
    static uint32_t words[FILE_MAX / 4];
    size_t len = 1 + rnd(FILE_MAX);
    char path[96];
    FILE *f;

    for (size_t k = 0; k < FILE_MAX / 4; k++)
        words[k] = rnd(1u << 28);
    snprintf(path, sizeof path, "%s/%u", h->tree, i);
    f = fopen(path, "we");
    return f && fwrite(words, 1, len, f) == len && fclose(f) == 0;
}

static bool make_disk(const Box *box)
{
    PlkMkfsSpec mkfs = {.struct_size = sizeof mkfs, .populate = h->tree};
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = CLUSTERS_MAX / 2 * (CLUSTER / 512),
                          .cluster_sectors = CLUSTER / 512,
                          .version = 1 + (int)rnd(2)};
    char base[96];
    PlkError err;

    memset(h, 0, sizeof *h);
    snprintf(h->vol, sizeof h->vol, "%s/vol", box->where);
    snprintf(h->xml, sizeof h->xml, "%s/DiskDescriptor.xml", h->vol);
    snprintf(h->tree, sizeof h->tree, "%s/tree", box->where);
    snprintf(base, sizeof base, "%s/root.hds", h->vol);
    if (mkdir(h->vol, 0755) < 0 || mkdir(h->tree, 0755) < 0)
        return wrong("cannot make directories");
    for (unsigned i = 0; i < FILES; i++)
        if (!write_file(i))
            return wrong("cannot make files");
    if (plk_disk_create(base, &spec, plk_mkfs_fill, &mkfs, "ext4", NULL, &err) < 0)
        return wrong("cannot make a disk: %s", err.message);
    sync();
    return look(&h->now, digest);
}

/* ---- after a cut ---- */

static bool same_sizes(Sizes a, Sizes b)
{
    return a.device == b.device && a.partition == b.partition && a.filesystem == b.filesystem;
}

/*
 * Counts what was found, NULL if it must not be. Cutting the device comes behind the commit that is the resize; the
 * same command does it when it is run again.
 */
static unsigned long *expected(Sizes s)
{
    static unsigned long n_at_rest;
    Sizes between = {h->now.device, h->next.partition, h->next.filesystem};

    if (same_sizes(s, h->now))
        return h->changing ? &n_old : &n_at_rest;
    if (h->changing && same_sizes(s, h->next))
        return &n_new;
    return h->changing && h->next.device < h->now.device && same_sizes(s, between) ? &n_between : NULL;
}

static const char *show(Sizes s, char text[64])
{
    snprintf(text, 64, "%" PRIu64 ", %" PRIu64 " and %" PRIu64, s.device, s.partition, s.filesystem);
    return text;
}

static bool check_sizes_and_files(void)
{
    char found[PLK_DIGEST_CHARS + 1], text[3][64];
    unsigned long *count;
    PlkError err;
    Sizes s;

    if (!look(&s, found))
        return false;
    count = expected(s);
    if (!count)
        return wrong("device, partition and filesystem have %s bytes, %s were there, %s were to be", show(s, text[0]),
                     show(h->now, text[1]), show(h->next, text[2]));
    if (strcmp(found, digest) != 0)
        return wrong("the files are not what they were");
    if (plk_filesystem_check(h->xml, NULL, false, NULL, &err) < 0)
        return wrong("%s", err.message);
    ++*count;
    h->now = s;
    h->changing = false;
    return true;
}

static int note_finding(void *arg, const PlkFinding *f)
{
    if (f->rank != PLK_FINDING_INFO)
        wrong("check finds %s in %s: %s", plk_finding_name(f->kind), f->image, f->meaning);
    return 0;
}

/* As the next operation does: a temporary snapshot is merged. A tail of the last session is left to `check`. */
static bool recover(void)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE};
    PlkCheckResult result = {0};
    PlkError err;

    if (plk_snapshot_merge_temporary(h->xml, NULL, NULL, NULL, &err) < 0)
        return wrong("what was left is not merged: %s", err.message);
    if (plk_check_disk(h->xml, &o, note_finding, NULL, NULL, &result, &err) < 0)
        return wrong("check: %s", err.message);
    return result.left == 0;
}

static bool check_names(void)
{
    static const char *const known[] = {".", "..", "root.hds", "DiskDescriptor.xml", "DiskDescriptor.xml.lck",
                                        "DiskDescriptor.xml.tmp"};
    DIR *d = opendir(h->vol);
    bool good = d || wrong("'%s' cannot be listed", h->vol);

    for (struct dirent *e; d && (e = readdir(d));) {
        bool is_known = false;

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known |= strcmp(e->d_name, known[i]) == 0;
        if (!is_known)
            good = wrong("stray file %s", e->d_name);
    }
    if (d)
        closedir(d);
    return good;
}

static bool examine_resized(void)
{
    if (h->failed[0])
        return wrong("before the cut: %s", h->failed);
    return check_sizes_and_files() && recover() && check_names() && check_sizes_and_files();
}

/* ---- all of them ---- */

static bool cut_once(Box *box)
{
    uint32_t seed = rnd(1u << 28);
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0);
        resize_for_ever(seed);
    }
    setpgid(pid, pid);
    usleep(500 + rnd(LIFE_MAX_US));
    box_cut(box, pid, true);
    return examine_resized();
}

static unsigned cut_often(Box *box, unsigned n, unsigned long *ret_resizes)
{
    for (unsigned i = 0; i < n; i++) {
        if (i % CUTS_A_DISK == 0) {
            if (i > 0)
                box_renew(box, box->options);
            if (!make_disk(box))
                return i;
        }
        if (!cut_once(box))
            return i;
        *ret_resizes += h->n_resizes;
        h->n_resizes = 0;
    }
    return n;
}

int main(int argc, char **argv)
{
    const char *fs = argc > 1 ? argv[1] : "ext4", *options = strcmp(fs, "ext4") == 0 ? "data=ordered" : "";
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 40, survived;
    unsigned long n_resizes = 0;
    time_t start;
    Box box;

    random_state = getenv("SEED") ? (uint32_t)atol(getenv("SEED")) : 1;
    if (getenv("ROUNDS"))
        n = (unsigned)atoi(getenv("ROUNDS"));
    if (!getenv("PLOOP")) {
        fprintf(stderr, "PLOOP= must name the program under test\n");
        return 2;
    }
    h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h == MAP_FAILED || !box_allowed() || !box_make(&box, fs, options)) {
        printf("skipped: needs root, mount namespaces, loop devices and %s\n", fs);
        return 77;
    }
    start = time(NULL);
    survived = cut_often(&box, n, &n_resizes);
    printf("%s: %u of %u cuts survived in %ld s, %lu resizes complete; found the old size %lu, the new %lu, the device "
           "not yet cut %lu times\n",
           fs, survived, n, (long)(time(NULL) - start), n_resizes, n_old, n_new, n_between);
    if (survived < n)
        printf("cut %u: %s\n", survived + 1, what);
    box_end(&box);
    return survived < n;
}
