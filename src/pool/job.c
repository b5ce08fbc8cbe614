/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs: one file each, whose lock says that its process lives. A job that cannot have a file (a read-only state, a
 * full disk) runs all the same; nobody else sees it then.
 */
#include "pool/job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "pool/job-table.h"
#include "pool/pool.h"

#define GROUP "job"
#define REPORT_MS 500
#define ASK_MS 250 /* between two looks whether somebody wants it stopped */
#define POLL_MS 100
#define FILE_BYTES_MAX 8192

struct PlkJob {
    PlkStorage *storage;
    PlkJobInfo info;
    int fd; /* its file, locked; -1 */
    const PlkProgress *outer;
    PlkProgress progress;
    pthread_mutex_t lock; /* guards info.done, .total, .what and reported */
    int64_t reported;     /* ms */
    _Atomic int64_t asked;
    atomic_bool cancelled;
};

struct PlkJobTable {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    GPtrArray *jobs;
    bool closing; /* new ones begin cancelled */
    PlkJobHook *hook;
    void *hook_arg;
};

static int64_t now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

static char *path_of(PlkStorage *storage, const char *id, const char *suffix)
{
    return g_strconcat(storage->jobs_dir, "/", id, suffix, NULL);
}

/* ---- the file ---- */

static void write_file(PlkJob *job)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *text = NULL;
    gsize len;

    if (job->fd < 0)
        return;
    g_key_file_set_string(file, GROUP, "kind", job->info.kind);
    g_key_file_set_string(file, GROUP, "pool", job->info.pool);
    g_key_file_set_string(file, GROUP, "volume", job->info.volume);
    g_key_file_set_string(file, GROUP, "program", job->info.program);
    g_key_file_set_string(file, GROUP, "what", job->info.what);
    g_key_file_set_integer(file, GROUP, "pid", job->info.pid);
    g_key_file_set_uint64(file, GROUP, "done", job->info.done);
    g_key_file_set_uint64(file, GROUP, "total", job->info.total);
    g_key_file_set_int64(file, GROUP, "started", job->info.started);
    text = g_key_file_to_data(file, &len, NULL);
    /* One write of the whole; a reader that gets some of the old behind it finds the same keys again. */
    if (pwrite(job->fd, text, len, 0) == (ssize_t)len && ftruncate(job->fd, (off_t)len) < 0)
        return;
}

static bool read_file(int fd, const char *id, PlkJobInfo *ret)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *text = g_malloc(FILE_BYTES_MAX);
    ssize_t n = pread(fd, text, FILE_BYTES_MAX, 0);
    const struct {
        const char *key;
        char *to;
        size_t size;
    } texts[] = {
        {"kind", ret->kind, sizeof ret->kind},       {"pool", ret->pool, sizeof ret->pool},
        {"volume", ret->volume, sizeof ret->volume}, {"program", ret->program, sizeof ret->program},
        {"what", ret->what, sizeof ret->what},
    };

    *ret = (PlkJobInfo){.pid = 0};
    if (n <= 0 || !g_key_file_load_from_data(file, text, (gsize)n, G_KEY_FILE_NONE, NULL))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *value = g_key_file_get_string(file, GROUP, texts[i].key, NULL);

        g_strlcpy(texts[i].to, value ? value : "", texts[i].size);
    }
    g_strlcpy(ret->id, id, sizeof ret->id);
    ret->pid = g_key_file_get_integer(file, GROUP, "pid", NULL);
    ret->done = g_key_file_get_uint64(file, GROUP, "done", NULL);
    ret->total = g_key_file_get_uint64(file, GROUP, "total", NULL);
    ret->started = g_key_file_get_int64(file, GROUP, "started", NULL);
    return true;
}

/* A name of its own: the day, and a number by chance. */
static int make_file(PlkJob *job)
{
    for (int i = 0; i < 16; i++) {
        g_autofree char *path = NULL;
        time_t now = time(NULL);
        uint32_t number = 0;
        char day[12] = "";
        struct tm tm;
        int fd;

        if (localtime_r(&now, &tm))
            strftime(day, sizeof day, "%Y%m%d", &tm);
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            number = (uint32_t)g_get_monotonic_time();
        snprintf(job->info.id, sizeof job->info.id, "%s-%08x", day, number);
        path = path_of(job->storage, job->info.id, "");
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (fd >= 0)
            close(fd);
        else if (errno != EEXIST)
            return -1;
    }
    return -1;
}

/* ---- a job of ours ---- */

static bool was_asked_to_stop(PlkJob *job)
{
    int64_t now = now_ms(), asked = job->asked;
    g_autofree char *path = NULL;

    if (job->cancelled)
        return true;
    if (job->fd < 0 || now - asked < ASK_MS)
        return false;
    job->asked = now;
    path = path_of(job->storage, job->info.id, ".cancel");
    if (access(path, F_OK) == 0)
        job->cancelled = true;
    return job->cancelled;
}

bool plk_job_cancelled(PlkJob *job)
{
    return was_asked_to_stop(job);
}

static void report(PlkJob *job, const char *what, uint64_t done, uint64_t total)
{
    int64_t now = now_ms();

    PLK_LOCKED(&job->lock);
    job->info.done = done;
    job->info.total = total;
    if (what)
        g_strlcpy(job->info.what, what, sizeof job->info.what);
    if (now - job->reported < REPORT_MS)
        return;
    job->reported = now;
    write_file(job);
}

void plk_job_report(PlkJob *job, uint64_t done, uint64_t total)
{
    report(job, NULL, done, total);
}

static int update(void *arg, const char *what, uint64_t done, uint64_t total)
{
    PlkJob *job = arg;

    report(job, what, done, total);
    if (job->outer && job->outer->update && job->outer->update(job->outer->arg, what, done, total))
        job->cancelled = true;
    return was_asked_to_stop(job);
}

const PlkProgress *plk_job_progress(PlkJob *job)
{
    return &job->progress;
}

PlkJob *plk_job_begin(PlkStorage *storage, const char *kind, const char *pool, const char *volume,
                      const PlkProgress *outer)
{
    PlkJobTable *table = storage->jobs;
    PlkJob *job = g_new0(PlkJob, 1);

    job->storage = storage;
    job->outer = outer;
    job->progress = (PlkProgress){.update = update, .arg = job};
    job->info.pid = (int)getpid();
    job->info.started = g_get_real_time() / G_USEC_PER_SEC;
    g_strlcpy(job->info.kind, kind, sizeof job->info.kind);
    g_strlcpy(job->info.pool, pool, sizeof job->info.pool);
    g_strlcpy(job->info.volume, volume, sizeof job->info.volume);
    g_strlcpy(job->info.program, program_invocation_short_name, sizeof job->info.program);
    pthread_mutex_init(&job->lock, NULL);
    job->fd = make_file(job);
    write_file(job);
    pthread_mutex_lock(&table->lock);
    job->cancelled = table->closing;
    g_ptr_array_add(table->jobs, job);
    pthread_mutex_unlock(&table->lock);
    if (table->hook)
        table->hook(table->hook_arg, &job->info, true);
    return job;
}

void plk_job_end(PlkJob *job)
{
    PlkJobTable *table;
    g_autofree char *path = NULL, *cancel = NULL;

    if (!job)
        return;
    table = job->storage->jobs;
    if (table->hook)
        table->hook(table->hook_arg, &job->info, false);
    if (job->fd >= 0) {
        path = path_of(job->storage, job->info.id, "");
        cancel = path_of(job->storage, job->info.id, ".cancel");
        unlink(path);
        unlink(cancel);
        close(job->fd);
    }
    pthread_mutex_lock(&table->lock);
    g_ptr_array_remove_fast(table->jobs, job);
    pthread_cond_broadcast(&table->ended);
    pthread_mutex_unlock(&table->lock);
    pthread_mutex_destroy(&job->lock);
    g_free(job);
}

/* ---- all of this process ---- */

void plk_storage_on_job(PlkStorage *storage, PlkJobHook *hook, void *arg)
{
    storage->jobs->hook = hook;
    storage->jobs->hook_arg = arg;
}

PlkJobTable *plk_job_table_new(void)
{
    PlkJobTable *table = g_new0(PlkJobTable, 1);

    pthread_mutex_init(&table->lock, NULL);
    pthread_cond_init(&table->ended, NULL);
    table->jobs = g_ptr_array_new();
    return table;
}

void plk_job_table_free(PlkJobTable *table)
{
    pthread_mutex_lock(&table->lock);
    table->closing = true;
    for (guint i = 0; i < table->jobs->len; i++)
        ((PlkJob *)g_ptr_array_index(table->jobs, i))->cancelled = true;
    while (table->jobs->len > 0)
        pthread_cond_wait(&table->ended, &table->lock);
    pthread_mutex_unlock(&table->lock);
    g_ptr_array_free(table->jobs, true);
    pthread_cond_destroy(&table->ended);
    pthread_mutex_destroy(&table->lock);
    g_free(table);
}

/* ---- jobs of everybody ---- */

static bool is_id(const char *name)
{
    return name[0] != '.' && strlen(name) < sizeof((PlkJobInfo *)NULL)->id && !strchr(name, '.');
}

/* True: it runs, and *ret says what. What a dead process left goes. */
static bool look_at(PlkStorage *storage, int dir, const char *id, PlkJobInfo *ret)
{
    PLK_CLOSE int fd = openat(dir, id, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    g_autofree char *cancel = g_strconcat(id, ".cancel", NULL);

    if (fd < 0)
        return false;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        if (storage->role != PLK_STORAGE_LOOK) {
            unlinkat(dir, id, 0);
            unlinkat(dir, cancel, 0);
        }
        return false;
    }
    if (!read_file(fd, id, ret))
        return false;
    ret->cancelled = faccessat(dir, cancel, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    return true;
}

static int by_start(const void *a, const void *b)
{
    const PlkJobInfo *x = a, *y = b;

    return x->started != y->started ? (x->started > y->started) - (x->started < y->started) : strcmp(x->id, y->id);
}

int plk_jobs_list(PlkStorage *storage, PlkJobInfo **ret, size_t *ret_n, PlkError *err)
{
    GArray *list = g_array_new(false, false, sizeof(PlkJobInfo));
    DIR *d = opendir(storage->jobs_dir);
    struct dirent *e;
    PlkJobInfo info;

    if (!d && errno != ENOENT) {
        g_array_free(list, true);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot read the jobs in '%s'", storage->jobs_dir);
    }
    while (d && (e = readdir(d)))
        if (is_id(e->d_name) && look_at(storage, dirfd(d), e->d_name, &info))
            g_array_append_val(list, info);
    if (d)
        closedir(d);
    g_array_sort(list, by_start);
    *ret_n = list->len;
    *ret = (PlkJobInfo *)(void *)g_array_free(list, false);
    return 0;
}

static int find_job(PlkStorage *storage, const char *id, PlkJobInfo *ret, PlkError *err)
{
    PLK_CLOSE int dir = open(storage->jobs_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0 || strchr(id, '/') || !is_id(id) || !look_at(storage, dir, id, ret))
        return plk_fail(err, PLK_ERROR_NOT_FOUND, "no job '%s' runs", id);
    return 0;
}

int plk_job_cancel(PlkStorage *storage, const char *id, PlkError *err)
{
    g_autofree char *path = path_of(storage, id, ".cancel");
    PlkJobInfo info;
    int fd;

    if (find_job(storage, id, &info, err) < 0)
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot ask job '%s' to stop", id);
    close(fd);
    return 0;
}

int plk_job_wait(PlkStorage *storage, const char *id, int timeout_ms, const PlkProgress *progress, PlkError *err)
{
    int64_t end = now_ms() + timeout_ms;
    PlkJobInfo info;

    if (find_job(storage, id, &info, err) < 0)
        return -1;
    while (find_job(storage, id, &info, NULL) == 0) {
        if (progress && progress->update && progress->update(progress->arg, info.what, info.done, info.total))
            return plk_fail(err, PLK_ERROR_CANCELLED, "waiting for job '%s' was given up; it runs on", id);
        if (timeout_ms >= 0 && now_ms() >= end)
            return plk_fail(err, PLK_ERROR_BUSY, "job '%s' still runs", id);
        g_usleep(POLL_MS * 1000);
    }
    return 0;
}
