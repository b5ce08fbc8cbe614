/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reservations, marks and stages in a directory of their own: who gets in, what is left, what a dead process leaves. */
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/incomplete.h"
#include "pool/names.h"
#include "pool/stage.h"
#include "test.h"

#define MACHINE "0123456789abcdef0123456789abcdef"

static int pool = -1;
static char path[64];
static PlkError err;

static void make_pool(void)
{
    snprintf(path, sizeof path, "%s/plk-names-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(path));
    pool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(pool >= 0);
}

/* Nothing but what the test put there may be left. */
static void remove_pool(void)
{
    CHECK_INT(rmdir(path), 0);
    close(pool);
}

static bool exists(const char *name)
{
    struct stat st;

    return fstatat(pool, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- reservations ---- */

TEST(one_changer_at_a_time_and_it_is_named)
{
    PlkReservation *a, *b;

    make_pool();
    CHECK_OK(plk_name_reserve(pool, "v", "upload", true, &a, &err), err);
    CHECK_FAILS(plk_name_reserve(pool, "v", "wipe", true, &b, &err), err, PLK_ERROR_STATE);
    CHECK(strstr(err.message, "upload by test-names (pid "));
    CHECK_FAILS(plk_name_reserve(pool, "v", "read", false, &b, &err), err, PLK_ERROR_STATE);
    CHECK_OK(plk_name_reserve(pool, "w", "wipe", true, &b, &err), err);
    plk_name_release(b, true);
    plk_name_release(a, true);
    CHECK(!exists(".ploopkit"));
    remove_pool();
}

TEST(readers_share_and_keep_changers_out)
{
    PlkReservation *a, *b, *c;

    make_pool();
    CHECK_OK(plk_name_reserve(pool, "v", "download", false, &a, &err), err);
    CHECK_OK(plk_name_reserve(pool, "v", "download", false, &b, &err), err);
    CHECK_FAILS(plk_name_reserve(pool, "v", "wipe", true, &c, &err), err, PLK_ERROR_STATE);
    plk_name_release(a, true);
    CHECK_FAILS(plk_name_reserve(pool, "v", "wipe", true, &c, &err), err, PLK_ERROR_STATE);
    plk_name_release(b, true);
    CHECK_OK(plk_name_reserve(pool, "v", "wipe", true, &c, &err), err);
    plk_name_release(c, true);
    remove_pool();
}

TEST(asking_who_holds_a_name_disturbs_nobody)
{
    char holder[128];
    PlkReservation *a, *b;

    make_pool();
    CHECK(!plk_name_holder(pool, "v", holder, sizeof holder));
    CHECK_OK(plk_name_reserve(pool, "v", "clone", false, &a, &err), err);
    CHECK(plk_name_holder(pool, "v", holder, sizeof holder));
    CHECK(g_str_has_prefix(holder, "clone by test-names"));
    CHECK_OK(plk_name_reserve(pool, "v", "read", false, &b, &err), err);
    plk_name_release(a, true);
    plk_name_release(b, true);
    CHECK(!plk_name_holder(pool, "v", holder, sizeof holder));
    remove_pool();
}

TEST(what_a_killed_process_held_is_free)
{
    PlkReservation *a;
    char byte;
    int ready[2];
    pid_t child;

    make_pool();
    CHECK_INT(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        if (plk_name_reserve(pool, "v", "upload", true, &a, &err) == 0 && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    CHECK_FAILS(plk_name_reserve(pool, "v", "wipe", true, &a, &err), err, PLK_ERROR_STATE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_OK(plk_name_reserve(pool, "v", "wipe", true, &a, &err), err);
    plk_name_release(a, true);
    close(ready[0]);
    close(ready[1]);
    remove_pool();
}

static _Atomic int inside, worst, got;

static void *fight(void *arg)
{
    PlkReservation *mine;

    for (int i = 0; i < 2000; i++) {
        if (plk_name_reserve(pool, "v", "test", true, &mine, NULL) < 0)
            continue;
        got++;
        if (++inside > worst)
            worst = inside;
        inside--;
        plk_name_release(mine, true);
    }
    return NULL;
}

TEST(never_two_inside_however_many_try)
{
    pthread_t threads[4];

    make_pool();
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, fight, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(worst, 1);
    CHECK(got > 100);
    remove_pool();
}

/* ---- marks ---- */

TEST(marks_unite_and_speak_of_one_file)
{
    PlkIncomplete a = {.dev = 1, .ino = 2, .from = 100, .to = 200, .since = 1000, .what = "upload", .who = "x, pid 1"}, b = a, now;
    g_autofree char *reason = NULL;

    make_pool();
    CHECK(!plk_incomplete_get(pool, "v", 1, 2, &now));
    CHECK_OK(plk_incomplete_set(pool, "v", &a, NULL, &err), err);
    b.from = 50;
    b.to = 150;
    CHECK_OK(plk_incomplete_set(pool, "v", &b, &now, &err), err);
    CHECK_INT(now.from, 50);
    CHECK_INT(now.to, 200);
    CHECK(plk_incomplete_get(pool, "v", 1, 2, &now));
    CHECK_INT(now.to, 200);
    CHECK_STR(now.who, "x, pid 1");
    reason = plk_incomplete_reason(&now);
    CHECK(strstr(reason, "byte 50 to byte 200") && strstr(reason, "x, pid 1"));
    CHECK(!plk_incomplete_get(pool, "v", 1, 3, &now)); /* another file of that name */
    b.ino = 3;
    CHECK_OK(plk_incomplete_set(pool, "v", &b, &now, &err), err);
    CHECK_INT(now.to, 150);
    CHECK_OK(plk_incomplete_clear(pool, "v", &err), err);
    CHECK_OK(plk_incomplete_clear(pool, "v", &err), err);
    CHECK(!exists(".ploopkit"));
    remove_pool();
}

TEST(a_torn_mark_means_nothing)
{
    PlkIncomplete a = {.dev = 1, .ino = 2, .to = UINT64_MAX, .what = "upload", .who = "x"}, now;
    char file[128];

    make_pool();
    CHECK_OK(plk_incomplete_set(pool, "v", &a, NULL, &err), err);
    snprintf(file, sizeof file, "%s/.ploopkit/incomplete/v", path);
    CHECK_INT(truncate(file, 3), 0);
    CHECK(!plk_incomplete_get(pool, "v", 1, 2, &now));
    CHECK_OK(plk_incomplete_clear(pool, "v", &err), err);
    remove_pool();
}

/* ---- stages ---- */

static void put(int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);

    CHECK(fd >= 0);
    close(fd);
}

TEST(a_volume_gets_its_name_whole_or_not_at_all)
{
    PlkStage stage;
    PlkPlace v;

    make_pool();
    plk_stage_init(&stage, pool, path, MACHINE);
    CHECK_INT(plk_stage_enter(&stage, "v", &v, &err), 1);
    CHECK_STR(v.dir_path, path);
    put(v.dir, "v");
    CHECK(!exists("v"));
    CHECK_OK(plk_stage_publish(&stage, &v, &err), err);
    CHECK(exists("v"));
    plk_stage_leave(&stage, &v, false);
    CHECK(!exists(".ploopkit"));

    CHECK_INT(plk_stage_enter(&stage, "v", &v, &err), 1);
    put(v.dir, "v");
    CHECK_FAILS(plk_stage_publish(&stage, &v, &err), err, PLK_ERROR_VOLUME_EXISTS);
    plk_stage_leave(&stage, &v, false);
    CHECK(!exists(".ploopkit"));
    CHECK(exists("v"));
    CHECK_INT(unlinkat(pool, "v", 0), 0);
    plk_stage_clear(&stage);
    remove_pool();
}

TEST(a_stage_is_shared_kept_a_moment_and_replaced_when_it_was_taken_away)
{
    PlkStage stage;
    PlkPlace a, b;
    char name[128];

    make_pool();
    plk_stage_init(&stage, pool, path, MACHINE);
    CHECK_INT(plk_stage_enter(&stage, "a", &a, &err), 1);
    CHECK_INT(plk_stage_enter(&stage, "b", &b, &err), 0);
    put(a.dir, "a");
    put(b.dir, "b");
    plk_stage_leave(&stage, &a, true);
    CHECK_INT(faccessat(b.dir, "a", F_OK, 0), -1);
    CHECK_OK(plk_stage_publish(&stage, &b, &err), err);
    plk_stage_leave(&stage, &b, true);
    CHECK(plk_stage_tidy(&stage));
    CHECK(exists(".ploopkit/stage"));

    /* Somebody cleans up while one is being built. */
    CHECK_INT(plk_stage_enter(&stage, "a", &a, &err), 0);
    snprintf(name, sizeof name, "%s/.ploopkit/stage/%s", path, stage.name);
    CHECK_INT(rmdir(name), 0);
    CHECK_INT(plk_stage_enter(&stage, "c", &b, &err), 1);
    put(b.dir, "c");
    CHECK_INT(openat(a.dir, "a", O_WRONLY | O_CREAT, 0600), -1);
    CHECK_OK(plk_stage_publish(&stage, &b, &err), err);
    plk_stage_leave(&stage, &a, true);
    plk_stage_leave(&stage, &b, true);

    g_usleep(600000);
    CHECK(!plk_stage_tidy(&stage));
    CHECK(!exists(".ploopkit"));
    CHECK(exists("b") && exists("c"));
    CHECK_INT(unlinkat(pool, "b", 0), 0);
    CHECK_INT(unlinkat(pool, "c", 0), 0);
    plk_stage_clear(&stage);
    remove_pool();
}

static void note_foreign(void *arg, const char *stage)
{
    CHECK_STR(stage, "ffffffffffffffff-1");
    ++*(int *)arg;
}

TEST(a_sweep_takes_what_the_dead_left_and_nothing_else)
{
    PlkStage stage;
    PlkPlace alive;
    unsigned swept = 0;
    int foreign = 0, dir;
    pid_t child;

    make_pool();
    plk_stage_init(&stage, pool, path, MACHINE);
    CHECK_INT(plk_stage_enter(&stage, "alive", &alive, &err), 1);
    put(alive.dir, "alive");
    child = fork();
    if (child == 0) {
        PlkStage other;
        PlkPlace dead;

        plk_stage_init(&other, pool, path, MACHINE);
        if (plk_stage_enter(&other, "dead", &dead, &err) == 1 && mkdirat(dead.dir, "dead", 0700) == 0) {
            dir = openat(dead.dir, "dead", O_RDONLY);
            put(dir, "root.hds");
        }
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    CHECK_INT(mkdirat(pool, ".ploopkit/stage/ffffffffffffffff-1", 0700), 0);
    plk_stages_sweep(pool, MACHINE, &swept, note_foreign, &foreign);
    CHECK_INT(swept, 1);
    CHECK_INT(foreign, 1);
    CHECK_OK(plk_stage_publish(&stage, &alive, &err), err);
    plk_stage_leave(&stage, &alive, false);
    CHECK_INT(unlinkat(pool, "alive", 0), 0);
    CHECK_INT(unlinkat(pool, ".ploopkit/stage/ffffffffffffffff-1", AT_REMOVEDIR), 0);
    plk_stages_sweep(pool, MACHINE, &swept, NULL, NULL);
    CHECK(!exists(".ploopkit"));
    plk_stage_clear(&stage);
    remove_pool();
}

TEST_MAIN()
