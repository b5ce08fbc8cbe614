/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The power is cut at random moments of a random history, on a real filesystem, a few hundred times; after each
 * cut everything that was acknowledged must be there. See box.h for what a cut is, model.h for what is acknowledged.
 *
 *     test-power ext4|xfs CUTS       prints counts; SEED= chooses the history, ROUNDS= overrides CUTS
 *     test-power ext4|xfs CUTS MISTAKE   early-ack, lost-sync, lost-dir-sync: must be noticed within CUTS cuts
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box.h"
#include "model.h"

#define CUTS_A_DISK 40 /* then a new filesystem, with another disk */
#define LIFE_MAX_US 60000

static uint32_t random_state;
static unsigned long n_acts_cut, n_acks;

static uint32_t rnd(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(random_state >> 4) * n >> 28);
}

/* ---- syncs that do nothing, for calibration: the linker sends the engine's calls here ---- */

typedef enum Mistake { NO_MISTAKE, EARLY_ACK, LOST_SYNC, LOST_DIR_SYNC } Mistake;
static Mistake mistake;

int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

static bool is_lost(int fd)
{
    struct stat st;

    if (mistake != LOST_SYNC && mistake != LOST_DIR_SYNC)
        return false;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) == (mistake == LOST_DIR_SYNC);
}

int __wrap_fsync(int fd)
{
    return is_lost(fd) ? 0 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    return is_lost(fd) ? 0 : __real_fdatasync(fd);
}

/* ---- one disk ---- */

static const char *mount_options(const char *fs)
{
    static const char *const ext4[] = {"data=ordered", "data=writeback", "data=ordered,nodelalloc"};

    return strcmp(fs, "ext4") == 0 ? ext4[rnd(3)] : "";
}

static bool make_disk(Model *m, const Box *box)
{
    int version = 1 + (int)rnd(2);

    memset(m, 0, sizeof *m);
    m->early_acks = mistake == EARLY_ACK;
    snprintf(m->ploop, sizeof m->ploop, "%s", getenv("PLOOP"));
    return model_make_disk(m, box->where, version, (PlkFormat)rnd(3));
}

static pid_t start_writer(Model *m)
{
    uint32_t seed = rnd(1u << 28);
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0);
        writer_run(m, seed);
    }
    setpgid(pid, pid);
    return pid;
}

/* One life of a writer. False: *what tells what is wrong. */
static bool cut_once(Model *m, Box *box, char what[512])
{
    pid_t writer = start_writer(m);

    usleep(500 + rnd(LIFE_MAX_US));
    box_cut(box, writer, m->helper);
    n_acts_cut += m->act != ACT_WRITING;
    n_acks += m->n_acks;
    m->n_acks = 0;
    if (m->failed[0]) {
        snprintf(what, 512, "before the cut: %s", m->failed);
        return false;
    }
    return examine(m, what, 512);
}

/* ---- all of them ---- */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* How many cuts were survived; less than n when *what tells of a loss. */
static unsigned cut_often(Model *m, Box *box, unsigned n, char what[512])
{
    for (unsigned i = 0; i < n; i++) {
        if (i % CUTS_A_DISK == 0) {
            if (i > 0)
                box_renew(box, mount_options(box->fs));
            if (!make_disk(m, box)) {
                snprintf(what, 512, "no disk");
                return i;
            }
        }
        if (!cut_once(m, box, what))
            return i;
    }
    return n;
}

static Mistake parse_mistake(const char *name)
{
    static const char *const names[] = {"none", "early-ack", "lost-sync", "lost-dir-sync"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (Mistake)i;
    fprintf(stderr, "no such mistake: %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    const char *fs = argc > 1 ? argv[1] : "ext4";
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 100, survived;
    uint32_t seed = getenv("SEED") ? (uint32_t)atol(getenv("SEED")) : 1;
    Model *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char what[512] = "";
    double start;
    Box box;

    random_state = seed;
    if (getenv("ROUNDS"))
        n = (unsigned)atoi(getenv("ROUNDS"));
    if (argc > 3)
        mistake = parse_mistake(argv[3]);
    if (!getenv("PLOOP")) {
        fprintf(stderr, "PLOOP= must name the program under test\n");
        return 2;
    }
    if (m == MAP_FAILED || !box_allowed() || !box_make(&box, fs, mount_options(fs))) {
        printf("skipped: needs root, mount namespaces, loop devices and %s\n", fs);
        return 77;
    }
    start = seconds();
    survived = cut_often(m, &box, n, what);
    printf("%s, seed %u: %u of %u cuts survived, %lu cuts in operations, %lu acknowledgements, %.3f s a cut\n",
           fs, seed, survived, n, n_acts_cut, n_acks, (seconds() - start) / (survived + (survived < n)));
    if (survived < n)
        printf("cut %u, while %s: %s\n", survived + 1, act_name(m->act), what);
    box_end(&box);
    return mistake == NO_MISTAKE ? survived < n : survived == n;
}
