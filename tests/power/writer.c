/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A random history on the disk of the model, without an end: sessions of writes, zeroing, discards and flushes, and
 * between them one of every operation that changes a whole disk. What may be found is noted before each
 * call, what must be after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "model.h"

static Model *m;
static PlkDisk *disk;
static uint32_t random_state;

_Noreturn void writer_fail(Model *model, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(model->failed, sizeof model->failed, fmt, ap);
    va_end(ap);
    for (;;)
        pause();
}

static uint32_t rnd(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(random_state >> 4) * n >> 28);
}

static void must(int r, const PlkError *err)
{
    if (r < 0)
        writer_fail(m, "%s: %s", act_name(m->act), err->message);
}

static void must_data(int r)
{
    PlkError err;

    if (r == 0)
        return;
    plk_disk_explain(disk, r, &err);
    writer_fail(m, "%s: %s", act_name(m->act), err.message);
}

/* ---- sessions on the open disk ---- */

static void flush(void)
{
    if (m->early_acks)
        model_acknowledge(m);
    must_data(plk_disk_flush(disk));
    if (!m->early_acks)
        model_acknowledge(m);
}

/* Room to note one more stamp for each of these sectors. */
static void make_room(uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        if (m->n_pending[i] == PENDING_MAX) {
            flush();
            return;
        }
}

static void note(uint32_t first, uint32_t n, uint32_t stamp)
{
    make_room(first, n);
    for (uint32_t i = first; i < first + n; i++)
        model_note(m, i, stamp);
}

static void write_some(void)
{
    static uint32_t words[4 * CLUSTER_SECTORS * 128];
    uint32_t n = rnd(4) ? 1 + rnd(24) : 1 + rnd(4 * CLUSTER_SECTORS), first = rnd(m->acked.sectors - n + 1);

    note(first, n, ++m->stamp);
    for (uint32_t i = 0; i < n; i++)
        model_render(words + i * 128, first + i, m->stamp);
    must_data(plk_disk_write(disk, words, n * 512ul, first * 512ull));
}

static void zero_some(void)
{
    uint32_t n = 1 + rnd(2 * CLUSTER_SECTORS), first = rnd(m->acked.sectors - n + 1);

    note(first, n, 0);
    must_data(plk_disk_zero(disk, first * 512ull, n * 512ull));
}

static void discard_some(void)
{
    uint32_t n = (1 + rnd(4)) * CLUSTER_SECTORS;
    uint32_t first = rnd((m->acked.sectors - n) / CLUSTER_SECTORS + 1) * CLUSTER_SECTORS;

    note(first, n, 0);
    must_data(plk_disk_discard(disk, first * 512ull, n * 512ull));
}

static Shot *free_shot(void)
{
    for (unsigned i = 0; i < SHOTS_MAX; i++)
        if (m->shots[i].state == SHOT_NONE)
            return &m->shots[i];
    return NULL;
}

/* Its GUID is chosen here, so that it is known before it exists. */
static Shot *expect_shot(void)
{
    Shot *s = free_shot();

    if (!s)
        return NULL;
    model_newest_all(m, &s->content);
    snprintf(s->guid, sizeof s->guid, "{%08x-0000-4000-8000-0000%08x}", ++m->stamp, rnd(1u << 28));
    s->state = SHOT_COMING;
    return s;
}

static void snapshot_online(void)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkError err;
    Shot *s = expect_shot();

    if (!s)
        return;
    m->act = ACT_ONLINE_SNAPSHOT;
    spec.guid = s->guid;
    must(plk_disk_snapshot(disk, &spec, NULL, &err), &err);
    s->state = SHOT_HERE;
    model_acknowledge(m);
    m->act = ACT_WRITING;
}

static void open_disk(void)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    PlkError err;

    must(plk_disk_open(m->xml, &o, &disk, &err), &err);
}

static void session(unsigned steps)
{
    PlkError err;

    m->act = ACT_WRITING;
    open_disk();
    for (unsigned i = 0; i < steps; i++)
        switch (rnd(16)) {
        case 0:
            zero_some();
            break;
        case 1:
            discard_some();
            break;
        case 2:
            if (rnd(4) == 0)
                snapshot_online();
            break;
        case 3:
        case 4:
        case 5:
            flush();
            break;
        default:
            write_some();
        }
    m->act = ACT_CLOSING;
    must(plk_disk_close(disk, &err), &err);
    disk = NULL;
    model_acknowledge(m);
}

/* ---- operations on the closed disk ---- */

static void snapshot(void)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkError err;
    Shot *s = expect_shot();

    if (!s)
        return;
    spec.guid = s->guid;
    must(plk_snapshot_create(m->xml, NULL, &spec, NULL, &err), &err);
    s->state = SHOT_HERE;
}

static unsigned children(const PlkSnapshotList *list, const char *guid)
{
    unsigned n = 0;

    for (size_t i = 0; i < list->n; i++)
        n += strcmp(list->items[i].parent, guid) == 0;
    return n;
}

static Shot *shot_of(const char *guid)
{
    for (unsigned i = 0; i < SHOTS_MAX; i++)
        if (m->shots[i].state != SHOT_NONE && strcmp(m->shots[i].guid, guid) == 0)
            return &m->shots[i];
    writer_fail(m, "%s: nobody made snapshot %s", act_name(m->act), guid);
}

/* A snapshot that is not the active state, with at most so many children; NULL if there is none. */
static Shot *some_shot(unsigned max_children)
{
    PlkSnapshotList list;
    PlkError err;
    Shot *s = NULL;
    size_t start;

    must(plk_snapshot_list(m->xml, NULL, &list, &err), &err);
    start = rnd((uint32_t)list.n);
    for (size_t i = 0; !s && i < list.n; i++) {
        const PlkSnapshot *item = &list.items[(start + i) % list.n];

        if (!item->active && children(&list, item->guid) <= max_children)
            s = shot_of(item->guid);
    }
    plk_snapshot_list_clear(&list);
    return s;
}

static void delete(void)
{
    PlkDeleteResult result;
    PlkError err;
    Shot *s = some_shot(1);

    if (!s)
        return;
    s->state = SHOT_GOING;
    must(plk_snapshot_delete(m->xml, NULL, s->guid, &result, NULL, &err), &err);
    s->state = SHOT_NONE;
}

static bool is_line(void)
{
    PlkSnapshotList list;
    PlkError err;
    bool line = true;

    must(plk_snapshot_list(m->xml, NULL, &list, &err), &err);
    for (size_t i = 0; i < list.n; i++)
        line = line && children(&list, list.items[i].guid) <= 1;
    line = line && list.n > 1;
    plk_snapshot_list_clear(&list);
    return line;
}

static void merge(void)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    char file[160];
    PlkError err;

    if (!is_line())
        return;
    snprintf(file, sizeof file, "%s/merged-%u.hds", m->vol, ++m->stamp);
    spec.new_file = rnd(2) ? file : NULL;
    for (unsigned i = 0; i < SHOTS_MAX; i++)
        if (m->shots[i].state == SHOT_HERE)
            m->shots[i].state = SHOT_GOING;
    must(plk_snapshot_merge(m->xml, NULL, &spec, NULL, &err), &err);
    for (unsigned i = 0; i < SHOTS_MAX; i++)
        m->shots[i].state = SHOT_NONE;
}

static void begin_change(const Content *other)
{
    m->other = *other;
    m->changing = true;
}

static void end_change(void)
{
    m->acked = m->other;
    memset(m->n_pending, 0, sizeof m->n_pending);
    m->changing = false;
}

static void switch_to(void)
{
    Shot *s = some_shot(SHOTS_MAX);
    PlkError err;

    if (!s || free_shot() == NULL)
        return;
    begin_change(&s->content);
    must(plk_snapshot_switch(m->xml, NULL, s->guid, false, &err), &err);
    end_change();
}

static void resize_to(uint32_t sectors, bool shrink)
{
    static Content c;
    PlkError err;

    model_newest_all(m, &c);
    memset(c.stamp + sectors, 0, (SECTORS_MAX - sectors) * sizeof c.stamp[0]);
    c.sectors = sectors;
    /* What is to go may be gone before the size is. */
    for (uint32_t i = sectors; i < m->acked.sectors; i++)
        model_note(m, i, 0);
    begin_change(&c);
    must((shrink ? plk_disk_shrink : plk_disk_grow)(m->xml, NULL, sectors, NULL, &err), &err);
    end_change();
}

static void grow(void)
{
    uint32_t clusters = m->acked.sectors / CLUSTER_SECTORS;

    if (clusters < CLUSTERS_MAX)
        resize_to((clusters + 1 + rnd(CLUSTERS_MAX - clusters)) * CLUSTER_SECTORS, false);
}

static bool has_shots(void)
{
    for (unsigned i = 0; i < SHOTS_MAX; i++)
        if (m->shots[i].state != SHOT_NONE)
            return true;
    return false;
}

static void shrink(void)
{
    uint32_t clusters = m->acked.sectors / CLUSTER_SECTORS;

    if (clusters > CLUSTERS_MIN && !has_shots())
        resize_to((CLUSTERS_MIN + rnd(clusters - CLUSTERS_MIN)) * CLUSTER_SECTORS, true);
}

static void pack(void)
{
    uint64_t freed;
    PlkError err;

    must(plk_disk_compact(m->xml, NULL, &freed, NULL, &err), &err);
}

static PlkDiskInfo disk_info(void)
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDiskInfo info;
    PlkDisk *d;
    PlkError err;

    must(plk_disk_open(m->xml, &o, &d, &err), &err);
    must(plk_disk_info(d, &info, &err), &err);
    plk_disk_close(d, NULL);
    return info;
}

static void convert_format(void)
{
    PlkError err;

    if (!has_shots())
        must(plk_convert_format(m->xml, NULL, (PlkFormat)rnd(3), false, NULL, &err), &err);
}

static void convert_version(void)
{
    PlkDiskInfo info = disk_info();
    PlkError err;

    if (!info.raw)
        must(plk_convert_version(m->xml, NULL, info.version == 1 ? 2 : 1, NULL, &err), &err);
}

static int ignore_finding(void *arg, const PlkFinding *f)
{
    return 0;
}

/* A tail for check to cut off, durable before it runs. */
static void repair(void)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE};
    PlkDiskOptions look = {.struct_size = sizeof look};
    static char junk[200000];
    PlkCheckResult result;
    PlkError err;
    PlkDisk *d;
    int fd;

    if (disk_info().raw)
        return;
    must(plk_disk_open(m->xml, &look, &d, &err), &err);
    fd = open(plk_disk_image_path(d, disk_info().levels - 1), O_WRONLY | O_APPEND | O_CLOEXEC);
    plk_disk_close(d, NULL);
    memset(junk, 0xa5, sizeof junk);
    if (fd < 0 || write(fd, junk, sizeof junk) < 0 || fsync(fd) < 0)
        writer_fail(m, "cannot add a tail: %s", strerror(errno));
    close(fd);
    must(plk_check_disk(m->xml, &o, ignore_finding, NULL, NULL, &result, &err), &err);
    if (result.left)
        writer_fail(m, "check leaves %llu faults", (unsigned long long)result.left);
}

/*
 * Runs the command; it stays in our process group, and so is stopped with us. Not posix_spawn(): it waits for the
 * child where no signal stops it.
 */
static void run_ploop(const char *const *args)
{
    char locale[] = "LC_ALL=C", *env[] = {locale, NULL};
    pid_t pid;
    int status;

    m->helper = true;
    pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        execve(m->ploop, (char *const *)args, env);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        writer_fail(m, "ploop %s ends with status %x", args[1], (unsigned)status);
    m->helper = false;
}

static void export_over(void)
{
    const char *args[] = {"ploop", "export", "--force", m->xml, m->out, NULL};

    model_newest_all(m, &m->out_new);
    m->exporting = true;
    run_ploop(args);
    m->out_old = m->out_new;
    m->exported = true;
    m->exporting = false;
}

/* ---- the history ---- */

static const struct {
    Act act;
    void (*run)(void);
} acts[] = {
    {ACT_SNAPSHOT, snapshot},
    {ACT_SNAPSHOT, snapshot},
    {ACT_DELETE, delete},
    {ACT_MERGE, merge},
    {ACT_SWITCH, switch_to},
    {ACT_GROW, grow},
    {ACT_SHRINK, shrink},
    {ACT_COMPACT, pack},
    {ACT_FORMAT, convert_format},
    {ACT_VERSION, convert_version},
    {ACT_CHECK, repair},
    {ACT_EXPORT, export_over},
};

_Noreturn void writer_run(Model *model, uint32_t seed)
{
    m = model;
    random_state = seed;
    if (rnd(2))
        session(4 + rnd(40));
    for (;;) {
        unsigned i = rnd(sizeof acts / sizeof acts[0]);

        m->act = acts[i].act;
        acts[i].run();
        m->n_acts++;
        if (rnd(3))
            session(4 + rnd(40));
    }
}
