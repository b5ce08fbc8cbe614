/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes of a running pool, through the storage as a program sees it: made, cloned, changed, moved in and out, while
 * others look, and what is left when something goes wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pool/job.h"
#include "pool/volumes.h"
#include "test.h"

#define MIB (1024ull * 1024)

static char base[64], target[80];
static PlkStorage *storage;
static PlkPool *pool;
static PlkError err;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static PlkStorage *open_storage(PlkStorageRole role)
{
    g_autofree char *config = g_strconcat(base, "/config", NULL), *runtime = g_strconcat(base, "/run", NULL);
    PlkStorageOptions options = {.config_dir = config, .runtime_dir = runtime, .role = role};
    PlkStorage *s;

    CHECK_OK(plk_storage_open(&options, &s, &err), err);
    return s;
}

static void begin_as(PlkStorageRole role, const char *extra)
{
    g_autofree char *xml = NULL;
    PlkPoolDef *def;

    strcpy(base, "/tmp/plk-volumes-XXXXXX");
    CHECK(mkdtemp(base));
    snprintf(target, sizeof target, "%s/p", base);
    CHECK_INT(mkdir(target, 0755), 0);
    storage = open_storage(role);
    xml = g_strdup_printf("<pool type='dir'%s><name>p</name><target><path>%s</path></target>%s</pool>",
                          *extra ? " xmlns:ploopkit='urn:ploopkit:storagepool:1'" : "", target, extra);
    CHECK_OK(plk_pool_def_parse(xml, 0, &def, &err), err);
    CHECK_OK(plk_storage_define(storage, def, &pool, &err), err);
    CHECK_OK(plk_pool_start(pool, 0, &err), err);
}

static void begin(void)
{
    begin_as(PLK_STORAGE_COMMAND, "");
}

/* A pool on which nobody works has nothing in it but volumes. */
static void end(void)
{
    g_autofree char *private = g_strconcat(target, "/.ploopkit", NULL);

    CHECK(access(private, F_OK) < 0);
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    plk_pool_unref(pool);
    plk_storage_close(storage);
    nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *path_to(const char *name)
{
    return g_strconcat(target, "/", name, NULL);
}

static int create(const char *name, PlkFileFormat format, uint64_t capacity)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = plk_volume_def_new(name, format, capacity);

    def->has_allocation = true; /* sparse */
    return plk_pool_create_volume(pool, def, 0, NULL, NULL, &err);
}

static PlkVolume *look(const char *name)
{
    PlkVolume *volume;

    CHECK_OK(plk_pool_volume(pool, name, &volume, &err), err);
    return volume;
}

static PlkVolumeState state_of(const char *name)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = look(name);

    return volume->state;
}

static uint64_t capacity_of(const char *name)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = look(name);

    return volume->facts.capacity;
}

static size_t count(void)
{
    PlkVolumeList *list;
    size_t n;

    CHECK_OK(plk_pool_volumes(pool, &list, &err), err);
    n = plk_volume_list_count(list);
    plk_volume_list_unref(list);
    return n;
}

static void put_file(const char *name, const void *bytes, size_t len)
{
    g_autofree char *path = path_to(name);

    CHECK(g_file_set_contents(path, bytes, (gssize)len, NULL));
}

static bool holds(const char *name, const void *bytes, size_t len)
{
    g_autofree char *path = path_to(name), *text = NULL;
    gsize n;

    return g_file_get_contents(path, &text, &n, NULL) && n >= len && memcmp(text, bytes, len) == 0;
}

/* ---- made and deleted ---- */

TEST(a_new_volume_is_there_at_once_and_gone_at_once)
{
    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, 5 * MIB), err);
    CHECK_OK(create("b", PLK_FILE_QCOW2, 7 * MIB), err);
    CHECK_OK(create("d", PLK_FILE_DIR, 0), err);
    CHECK_INT(count(), 3);
    CHECK_INT(capacity_of("a"), 5 * MIB);
    CHECK_INT(capacity_of("b"), 7 * MIB);
    CHECK_INT(state_of("d"), PLK_STATE_GOOD);
    CHECK_OK(plk_pool_delete_volume(pool, "a", 0, &err), err);
    CHECK_INT(count(), 2);
    CHECK_FAILS(plk_pool_delete_volume(pool, "a", 0, &err), err, PLK_ERROR_NO_VOLUME);
    CHECK_FAILS(plk_pool_delete_volume(pool, "b", 1, &err), err, PLK_ERROR_ARGUMENT);
    end();
}

TEST(names_that_cannot_be_are_refused)
{
    static const char *const names[] = {"", ".", "..", "a\nb", "\x7f", "\xff\xfe"};
    g_autofree char *longest = g_strnfill(255, 'x'), *longer = g_strnfill(256, 'x');

    begin();
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        CHECK_FAILS(create(names[i], PLK_FILE_RAW, MIB), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(create("a/b", PLK_FILE_RAW, MIB), err, PLK_ERROR_STATE);
    CHECK_FAILS(create(".ploopkit", PLK_FILE_RAW, MIB), err, PLK_ERROR_STATE);
    CHECK_FAILS(create(longer, PLK_FILE_RAW, MIB), err, PLK_ERROR_ARGUMENT);
    CHECK_OK(create(longest, PLK_FILE_RAW, MIB), err);
    CHECK_OK(create("-rf", PLK_FILE_QCOW2, MIB), err);
    CHECK_OK(create("json:{}", PLK_FILE_QCOW2, MIB), err);
    CHECK_INT(count(), 3);
    end();
}

TEST(what_has_the_name_is_left_alone)
{
    g_autofree char *fifo = NULL;

    begin();
    fifo = path_to("fifo");
    put_file("a", "mine", 4);
    CHECK_FAILS(create("a", PLK_FILE_RAW, MIB), err, PLK_ERROR_VOLUME_EXISTS);
    CHECK(holds("a", "mine", 4));
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_FAILS(create("fifo", PLK_FILE_RAW, MIB), err, PLK_ERROR_STATE);
    CHECK_INT(count(), 1);
    end();
}

TEST(new_volumes_inherit_what_the_pool_says)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;

    begin_as(PLK_STORAGE_COMMAND, "<ploopkit:volume_defaults><mode>0640</mode></ploopkit:volume_defaults>");
    CHECK_OK(create("a", PLK_FILE_RAW, MIB), err);
    volume = look("a");
    CHECK_INT(volume->facts.mode, 0640);
    end();
}

/* ---- clones ---- */

static int clone_as(const char *from, const char *to, PlkFileFormat format)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = plk_volume_def_new(to, format, 0);

    def->has_capacity = false;
    def->has_allocation = true;
    return plk_pool_clone_volume(pool, def, pool, from, NULL, 0, NULL, NULL, &err);
}

TEST(a_clone_holds_the_same)
{
    begin();
    put_file("a", "0123456789", 10);
    CHECK_OK(clone_as("a", "b", PLK_FILE_RAW), err);
    CHECK(holds("b", "0123456789", 10));
    CHECK_INT(capacity_of("b"), 10);
    CHECK_FAILS(clone_as("a", "b", PLK_FILE_RAW), err, PLK_ERROR_VOLUME_EXISTS);
    CHECK_FAILS(clone_as("a", "a", PLK_FILE_RAW), err, PLK_ERROR_VOLUME_EXISTS);
    CHECK_FAILS(clone_as("nobody", "c", PLK_FILE_RAW), err, PLK_ERROR_NO_VOLUME);
    CHECK_OK(create("q", PLK_FILE_QCOW2, 3 * MIB), err);
    CHECK_OK(clone_as("q", "r", PLK_FILE_RAW), err);
    CHECK_INT(capacity_of("r"), 3 * MIB);
    CHECK_INT(count(), 4);
    end();
}

/* ---- changed ---- */

TEST(sizes_change_as_asked_and_no_further)
{
    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, 4 * MIB), err);
    CHECK_OK(plk_pool_resize_volume(pool, "a", 8 * MIB, 0, NULL, &err), err);
    CHECK_INT(capacity_of("a"), 8 * MIB);
    CHECK_OK(plk_pool_resize_volume(pool, "a", MIB, PLK_RESIZE_DELTA, NULL, &err), err);
    CHECK_INT(capacity_of("a"), 9 * MIB);
    CHECK_FAILS(plk_pool_resize_volume(pool, "a", MIB, 0, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_OK(plk_pool_resize_volume(pool, "a", MIB, PLK_RESIZE_DELTA | PLK_RESIZE_SHRINK, NULL, &err), err);
    CHECK_INT(capacity_of("a"), 8 * MIB);
    CHECK_FAILS(plk_pool_resize_volume(pool, "a", 0, 0, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_pool_resize_volume(pool, "a", INT64_MAX, PLK_RESIZE_DELTA, NULL, &err), err, PLK_ERROR_OVERFLOW);
    CHECK_FAILS(plk_pool_resize_volume(pool, "a", 1ull << 60, PLK_RESIZE_ALLOCATE, NULL, &err), err, PLK_ERROR_REFUSED);
    CHECK_INT(capacity_of("a"), 8 * MIB);
    end();
}

TEST(a_wiped_volume_is_zeros)
{
    static const char zeros[10];

    begin();
    put_file("a", "0123456789", 10);
    CHECK_OK(plk_pool_wipe_volume(pool, "a", PLK_WIPE_ZERO, NULL, &err), err);
    CHECK(holds("a", zeros, 10));
    CHECK_INT(capacity_of("a"), 10);
    end();
}

/* ---- in and out ---- */

static PlkStream *upload(const char *name, uint64_t offset, uint64_t length)
{
    PlkStream *s;

    CHECK_OK(plk_pool_upload(pool, name, PLK_STREAM_CONTAINER, offset, length, &s, &err), err);
    return s;
}

TEST(an_upload_that_ends_leaves_no_mark)
{
    PlkStream *s;

    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, MIB), err);
    s = upload("a", 0, 0);
    CHECK_INT(state_of("a"), PLK_STATE_BUSY);
    CHECK_FAILS(plk_pool_delete_volume(pool, "a", 0, &err), err, PLK_ERROR_STATE);
    CHECK_OK(plk_pool_refresh(pool, NULL, &err), err); /* nobody is kept from looking */
    CHECK_INT(plk_stream_write(s, "hello", 5), 0);
    CHECK_OK(plk_stream_finish(s, &err), err);
    plk_stream_close(s);
    CHECK_INT(state_of("a"), PLK_STATE_GOOD);
    CHECK(holds("a", "hello", 5));
    end();
}

TEST(an_upload_that_breaks_off_is_remembered_until_a_whole_one)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    PlkStream *s;

    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, MIB), err);
    s = upload("a", 0, 0);
    CHECK_INT(plk_stream_write(s, "hel", 3), 0);
    plk_stream_close(s);
    volume = look("a");
    CHECK_INT(volume->state, PLK_STATE_INCOMPLETE);
    CHECK(strstr(volume->reason, "did not end"));
    CHECK_OK(plk_pool_refresh(pool, NULL, &err), err);
    CHECK_INT(state_of("a"), PLK_STATE_INCOMPLETE);
    CHECK_FAILS(clone_as("a", "b", PLK_FILE_RAW), err, PLK_ERROR_STATE);
    s = upload("a", 0, 5); /* a part only */
    CHECK_INT(plk_stream_write(s, "hello", 5), 0);
    CHECK_OK(plk_stream_finish(s, &err), err);
    plk_stream_close(s);
    CHECK_INT(state_of("a"), PLK_STATE_INCOMPLETE);
    s = upload("a", 0, 0);
    CHECK_INT(plk_stream_write(s, "hello", 5), 0);
    CHECK_OK(plk_stream_finish(s, &err), err);
    plk_stream_close(s);
    CHECK_INT(state_of("a"), PLK_STATE_GOOD);
    end();
}

TEST(what_is_known_not_to_be_whole_may_be_accepted)
{
    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, MIB), err);
    plk_stream_close(upload("a", 0, 0));
    CHECK_INT(state_of("a"), PLK_STATE_INCOMPLETE);
    CHECK_OK(plk_pool_accept_volume(pool, "a", &err), err);
    CHECK_INT(state_of("a"), PLK_STATE_GOOD);
    end();
}

TEST(a_download_shares_with_readers_and_keeps_writers_out)
{
    PlkStream *a, *b;
    char text[11] = "";

    begin();
    put_file("a", "0123456789", 10);
    CHECK_OK(plk_pool_download(pool, "a", PLK_STREAM_CONTAINER, 0, 0, &a, &err), err);
    CHECK_OK(plk_pool_download(pool, "a", PLK_STREAM_CONTAINER, 4, 3, &b, &err), err);
    CHECK_FAILS(plk_pool_wipe_volume(pool, "a", PLK_WIPE_ZERO, NULL, &err), err, PLK_ERROR_STATE);
    CHECK_INT(plk_stream_read(a, text, 10), 10);
    CHECK_STR(text, "0123456789");
    CHECK_INT(plk_stream_read(b, text, 10), 3);
    CHECK(memcmp(text, "456", 3) == 0);
    CHECK_OK(plk_stream_finish(a, &err), err);
    plk_stream_close(a);
    plk_stream_close(b);
    end();
}

/* ---- jobs ---- */

TEST(a_job_is_seen_and_stopped_from_elsewhere)
{
    PlkJobInfo *jobs;
    PlkStream *s;
    size_t n;
    int r = 0;

    begin();
    CHECK_OK(create("a", PLK_FILE_RAW, MIB), err);
    s = upload("a", 0, 0);
    CHECK_OK(plk_jobs_list(storage, &jobs, &n, &err), err);
    CHECK_INT(n, 1);
    CHECK_STR(jobs[0].kind, "upload");
    CHECK_STR(jobs[0].pool, "p");
    CHECK_STR(jobs[0].volume, "a");
    CHECK_INT(jobs[0].pid, getpid());
    CHECK_OK(plk_job_cancel(storage, jobs[0].id, &err), err);
    for (int i = 0; i < 300 && r == 0; i++) {
        r = plk_stream_write(s, "x", 1);
        g_usleep(5000);
    }
    CHECK_INT(r, -ECANCELED);
    CHECK_FAILS(plk_stream_finish(s, &err), err, PLK_ERROR_CANCELLED);
    plk_stream_close(s);
    g_free(jobs);
    CHECK_INT(state_of("a"), PLK_STATE_INCOMPLETE);
    CHECK_OK(plk_jobs_list(storage, &jobs, &n, &err), err);
    CHECK_INT(n, 0);
    g_free(jobs);
    CHECK_FAILS(plk_job_cancel(storage, "20260101-00000000", &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_FAILS(plk_job_cancel(storage, "../x", &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_OK(plk_pool_accept_volume(pool, "a", &err), err);
    end();
}

/* ---- others ---- */

TEST(one_bad_file_is_listed_with_its_reason_and_hurts_nobody)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    static const char bad[68] = "QFI\xfb\0\0\0\3"; /* a header of version 3 that ends too early */
    g_autofree char *link = NULL;

    begin();
    link = path_to("link");
    put_file("bad.qcow2", bad, sizeof bad);
    put_file("good", "x", 1);
    CHECK_INT(symlink("/etc/shadow", link), 0);
    CHECK_OK(plk_pool_refresh(pool, NULL, &err), err);
    volume = look("bad.qcow2");
    CHECK_INT(volume->state, PLK_STATE_BROKEN);
    CHECK(volume->reason);
    CHECK_INT(state_of("good"), PLK_STATE_GOOD);
    CHECK_OK(plk_pool_delete_volume(pool, "bad.qcow2", 0, &err), err);
    end();
}

TEST(what_others_do_is_seen_at_the_next_question)
{
    g_autofree char *a = NULL, *b = NULL;

    begin();
    a = path_to("a");
    b = path_to("b");
    CHECK_INT(count(), 0);
    put_file("a", "12345", 5);
    CHECK_INT(count(), 1);
    CHECK_INT(capacity_of("a"), 5);
    CHECK_INT(truncate(a, 100), 0);
    CHECK_INT(capacity_of("a"), 100);
    CHECK_INT(rename(a, b), 0);
    CHECK_INT(capacity_of("b"), 100);
    CHECK_FAILS(plk_pool_volume(pool, "a", &(PlkVolume *){NULL}, &err), err, PLK_ERROR_NO_VOLUME);
    CHECK_INT(count(), 1);
    end();
}

TEST(a_daemon_sees_it_without_being_asked)
{
    PlkPoolInfo info = {.volumes = 0};

    begin_as(PLK_STORAGE_DAEMON, "");
    put_file("a", "12345", 5);
    for (int i = 0; i < 200 && info.volumes == 0; i++) {
        g_usleep(5000);
        CHECK_OK(plk_pool_info(pool, &info, &err), err);
    }
    CHECK_INT(info.volumes, 1);
    end();
}

TEST(what_a_killed_maker_left_is_swept_and_never_listed)
{
    g_autofree char *private = NULL;
    pid_t child;

    begin();
    private = path_to(".ploopkit/stage");
    child = fork();
    if (child == 0) {
        plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = plk_volume_def_new("big", PLK_FILE_RAW, 1024 * MIB);

        alarm(0);
        kill(getppid(), 0);
        /* Killed somewhere in the middle, by the parent. */
        for (;;) {
            plk_pool_create_volume(pool, def, 0, NULL, NULL, NULL);
            plk_pool_delete_volume(pool, "big", 0, NULL);
        }
    }
    g_usleep(30000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    plk_pool_delete_volume(pool, "big", 0, NULL);
    CHECK_OK(plk_pool_sweep(pool, &(unsigned){0}, &err), err);
    CHECK_INT(count(), 0);
    CHECK_OK(create("big", PLK_FILE_RAW, MIB), err);
    end();
}

TEST(paths_lead_to_volumes)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    plk_cleanup(plk_pool_unrefp) PlkPool *found = NULL;
    g_autofree char *path = NULL, *slashes = NULL, *key = NULL;

    begin();
    path = path_to("a");
    slashes = g_strconcat(target, "///a", NULL);
    put_file("a", "x", 1);
    CHECK_OK(plk_storage_volume_by_path(storage, slashes, &found, &volume, &err), err);
    CHECK_STR(volume->name, "a");
    CHECK_STR(plk_pool_name(found), "p");
    key = plk_pool_volume_path(pool, "a");
    CHECK_STR(key, path);
    CHECK_FAILS(plk_storage_volume_by_path(storage, "/nowhere", &found, &volume, &err), err, PLK_ERROR_NO_VOLUME);
    end();
}

TEST(a_stopped_pool_answers_nothing)
{
    PlkVolumeList *list;

    begin();
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    CHECK_FAILS(plk_pool_volumes(pool, &list, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(create("a", PLK_FILE_RAW, MIB), err, PLK_ERROR_STATE);
    CHECK_FAILS(plk_pool_refresh(pool, NULL, &err), err, PLK_ERROR_STATE);
    CHECK_OK(plk_pool_start(pool, 0, &err), err);
    CHECK_INT(count(), 0);
    end();
}

TEST_MAIN()
