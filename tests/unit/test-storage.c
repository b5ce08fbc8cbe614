/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool's life through the storage, every refusal with libvirt's code, and commands that work beside each other. */
#include "storage.h"

static PlkStorage *storage;
static char told[256]; /* events, in order */

static void note(void *arg, PlkPoolEvent event, const char *name, const unsigned char uuid[PLK_UUID_BYTES])
{
    static const char *const words[] = {"defined", "undefined", "started", "stopped", "built", "deleted", "refreshed"};
    size_t n = strlen(told);

    snprintf(told + n, sizeof told - n, "%s%s", n ? " " : "", words[event]);
}

static void begin_as(PlkStorageRole role)
{
    base_make();
    plk_storage_close(storage);
    told[0] = '\0';
    storage = must_open(role);
    plk_storage_on_event(storage, note, NULL);
}

static void end(void)
{
    plk_storage_close(PLK_TAKE(storage));
}

static PlkPool *define(const char *name, const char *uuid, const char *dir)
{
    PlkPool *pool;

    CHECK_OK(plk_storage_define(storage, dir_pool(name, uuid, dir), &pool, &err), err);
    return pool;
}

static int try_define(PlkStorage *in, PlkPoolDef *def)
{
    return plk_storage_define(in, def, NULL, &err);
}

static int try_create(PlkStorage *in, PlkPoolDef *def, unsigned flags)
{
    return plk_storage_create(in, def, flags, NULL, &err);
}

/* ---- one life ---- */

static void live_as(PlkStorageRole role)
{
    begin_as(role);
    POOL pool = define("p", NULL, "p");
    CHECK(plk_pool_state(pool).persistent && !plk_pool_state(pool).active);
    CHECK_OK(plk_pool_build(pool, 0, &err), err);
    CHECK(there("p"));
    CHECK_OK(plk_pool_start(pool, 0, &err), err);
    CHECK(plk_pool_state(pool).active && there("run/p.xml"));
    CHECK_OK(plk_pool_set_autostart(pool, true, &err), err);
    CHECK_OK(plk_pool_set_autostart(pool, true, &err), err);
    CHECK(plk_pool_state(pool).autostart && there("config/autostart/p.xml"));
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    CHECK(!plk_pool_state(pool).active && !there("run/p.xml") && there("p"));
    CHECK_OK(plk_pool_delete(pool, 0, &err), err);
    CHECK(!there("p") && there("config/p.xml"));
    CHECK_OK(plk_pool_undefine(pool, &err), err);
    CHECK_CODE(plk_pool_set_autostart(pool, true, &err), 1);
    CHECK(!there("config/p.xml") && !there("config/autostart/p.xml"));
    CHECK_INT(count_pools(storage, 0), 0);
    CHECK_STR(told, "defined built started stopped deleted undefined");
    end();
}

TEST(a_life_in_a_command)
{
    live_as(PLK_STORAGE_COMMAND);
}

TEST(a_life_in_a_daemon)
{
    live_as(PLK_STORAGE_DAEMON);
}

TEST(a_transient_pool_goes_when_it_stops)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = NULL;
    CHECK_OK(plk_storage_create(storage, dir_pool("t", NULL, "t"), PLK_START_BUILD, &pool, &err), err);
    CHECK(plk_pool_state(pool).active && !plk_pool_state(pool).persistent);
    CHECK(!there("config/t.xml") && there("run/t.xml"));
    CHECK_CODE(plk_pool_set_autostart(pool, true, &err), 1);
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    CHECK_CODE(plk_pool_start(pool, 0, &err), 49);
    CHECK_INT(count_pools(storage, 0), 0);
    end();
}

TEST(a_transient_pool_becomes_persistent)
{
    begin_as(PLK_STORAGE_COMMAND);
    CHECK_OK(try_create(storage, dir_pool("t", UUID_A, "t"), PLK_START_BUILD), err);
    POOL pool = define("t", UUID_A, "t");
    CHECK(plk_pool_state(pool).active && plk_pool_state(pool).persistent);
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    CHECK_INT(count_pools(storage, PLK_LIST_INACTIVE), 1);
    end();
}

TEST(what_is_defined_while_it_runs_holds_after_it)
{
    begin_as(PLK_STORAGE_DAEMON);
    POOL pool = define("p", UUID_A, "one");
    CHECK_OK(plk_pool_start(pool, PLK_START_BUILD, &err), err);
    CHECK_OK(try_define(storage, dir_pool("p", UUID_A, "two")), err);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *live = plk_pool_definition(pool, false);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *next = plk_pool_definition(pool, true);
    CHECK(g_str_has_suffix(live->target, "/one") && g_str_has_suffix(next->target, "/two"));
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *after = plk_pool_definition(pool, false);
    CHECK(g_str_has_suffix(after->target, "/two"));
    end();
}

TEST(a_definition_comes_back_after_it_ran_otherwise)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = define("p", UUID_A, "one");
    CHECK_OK(try_create(storage, dir_pool("p", UUID_A, "two"), PLK_START_BUILD), err);
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *after = plk_pool_definition(pool, false);
    CHECK(g_str_has_suffix(after->target, "/one"));
    CHECK_CODE(try_create(storage, dir_pool("p", UUID_A, "three"), 0), 38);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *still = plk_pool_definition(pool, false);
    CHECK(g_str_has_suffix(still->target, "/one") && plk_pool_state(pool).persistent);
    end();
}

/* ---- refusals ---- */

TEST(states_that_do_not_allow_it)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = define("p", UUID_A, "p");
    CHECK_CODE(plk_pool_destroy(pool, &err), 55);
    CHECK_CODE(plk_pool_start(pool, 0, &err), 38); /* no directory */
    CHECK(!there("run/p.xml"));
    CHECK_OK(plk_pool_start(pool, PLK_START_BUILD, &err), err);
    CHECK_CODE(plk_pool_start(pool, 0, &err), 55);
    CHECK_CODE(plk_pool_build(pool, 0, &err), 55);
    CHECK_CODE(plk_pool_delete(pool, 0, &err), 55);
    CHECK_CODE(plk_pool_undefine(pool, &err), 55);
    CHECK_CODE(try_create(storage, dir_pool("p", UUID_A, "p"), 0), 55);
    CHECK(plk_pool_state(pool).active);
    end();
}

TEST(flags_that_make_no_sense)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = define("p", NULL, "p");
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_OVERWRITE | PLK_BUILD_NO_OVERWRITE, &err), 8);
    CHECK_CODE(plk_pool_build(pool, 1, &err), 8);
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_OVERWRITE, &err), 55);
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_NO_OVERWRITE, &err), 55);
    CHECK_CODE(plk_pool_start(pool, PLK_START_BUILD_OVERWRITE | PLK_START_BUILD_NO_OVERWRITE, &err), 8);
    CHECK_CODE(plk_pool_start(pool, 1u << 20, &err), 8);
    CHECK_CODE(try_create(storage, dir_pool("q", NULL, "q"), 6), 8);
    CHECK(!there("p"));
    CHECK_OK(plk_pool_build(pool, 0, &err), err);
    CHECK_CODE(plk_pool_delete(pool, 1, &err), 8);
    put("p/file", "");
    CHECK_CODE(plk_pool_delete(pool, 0, &err), 38);
    end();
}

TEST(two_pools_on_one_storage)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = define("p", UUID_A, "p");
    CHECK_CODE(try_define(storage, dir_pool("q", NULL, "/p/")), 9);
    CHECK_SAYS("'p'");
    CHECK_CODE(try_create(storage, dir_pool("q", NULL, "p"), 0), 9);
    CHECK_CODE(try_define(storage, dir_pool("p", UUID_B, "q")), 9);
    CHECK_CODE(try_define(storage, dir_pool("q", UUID_A, "q")), 9);
    CHECK_OK(try_define(storage, dir_pool("p", UUID_A, "q")), err);
    CHECK_INT(count_pools(storage, 0), 1);
    end();
}

TEST(directories_of_the_system)
{
    static const char *const paths[] = {"/", "/etc", "/etc/x", "/usr/lib/x", "/dev", "/home", "/var/lib", "//etc"};

    begin_as(PLK_STORAGE_COMMAND);
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *xml = g_strdup_printf("<pool type='dir'><name>p</name><target><path>%s</path></target></pool>",
                                               paths[i]);
        CHECK_CODE(try_define(storage, parse_pool(xml)), 67);
    }
    CHECK(symlink("/etc", "link") == 0);
    CHECK_CODE(try_define(storage, dir_pool("p", NULL, "link")), 67);
    CHECK(!there("config/p.xml"));
    end();
}

TEST(kinds_that_are_not_here)
{
    begin_as(PLK_STORAGE_COMMAND);
    CHECK_CODE(try_define(storage, parse_pool("<pool type='logical'><name>vg</name></pool>")), 1);
    end();
}

TEST(files_that_are_no_pools_stay)
{
    base_make();
    CHECK(mkdir("config", 0755) == 0);
    put("config/odd.xml", "<pool type='dir'><name>odd</name>");
    put("config/vg.xml", "<pool type='logical'><name>vg</name><uuid>" UUID_A "</uuid><source>"
                         "<device path='/dev/sdz'/></source></pool>");
    plk_storage_close(storage);
    storage = must_open(PLK_STORAGE_COMMAND);
    CHECK_INT(count_pools(storage, 0), 0);
    CHECK_CODE(try_define(storage, dir_pool("odd", NULL, "p")), 9);
    CHECK_CODE(try_define(storage, dir_pool("vg", NULL, "p")), 9);
    CHECK_CODE(try_define(storage, dir_pool("p", UUID_A, "p")), 9);
    CHECK_CODE(try_define(storage, parse_pool("<pool type='fs'><name>f</name><source><device path='/dev/sdz'/></source>"
                                              "<target><path>/srv/f</path></target></pool>")), 9);
    CHECK_OK(try_define(storage, dir_pool("p", NULL, "p")), err);
    end();
}

TEST(looking_changes_nothing)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL pool = define("p", NULL, "p");
    STORAGE look = must_open(PLK_STORAGE_LOOK);
    POOL same = find(look, "p");
    CHECK_CODE(plk_pool_start(same, PLK_START_BUILD, &err), 29);
    CHECK_CODE(plk_pool_set_autostart(same, true, &err), 29);
    CHECK_CODE(try_define(look, dir_pool("q", NULL, "q")), 29);
    CHECK_CODE(try_create(look, dir_pool("q", NULL, "q"), 0), 29);
    end();
}

/* ---- commands beside each other ---- */

TEST(a_command_sees_what_another_did)
{
    begin_as(PLK_STORAGE_COMMAND);
    STORAGE other = must_open(PLK_STORAGE_COMMAND);
    POOL mine = define("p", UUID_A, "p");
    CHECK_CODE(try_define(other, dir_pool("q", NULL, "p")), 9);
    POOL theirs = find(other, "p"); /* its conflict made it look */
    CHECK_OK(plk_pool_start(mine, PLK_START_BUILD, &err), err);
    CHECK_CODE(plk_pool_start(theirs, 0, &err), 55);
    CHECK(plk_pool_state(theirs).active);
    CHECK_CODE(plk_pool_undefine(theirs, &err), 55);
    CHECK_OK(plk_pool_destroy(theirs, &err), err);
    CHECK_CODE(plk_pool_destroy(mine, &err), 55);
    CHECK_OK(plk_pool_undefine(mine, &err), err);
    CHECK_CODE(plk_pool_start(theirs, 0, &err), 49);
    CHECK_CODE(plk_pool_set_autostart(theirs, true, &err), 1);
    end();
}

TEST(a_pool_defined_anew_is_another_pool)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL mine = define("p", UUID_A, "p");
    STORAGE other = must_open(PLK_STORAGE_COMMAND);
    POOL theirs = find(other, "p");
    CHECK_OK(plk_pool_undefine(theirs, &err), err);
    CHECK_OK(try_define(other, dir_pool("p", UUID_B, "p")), err);
    CHECK_CODE(plk_pool_start(mine, PLK_START_BUILD, &err), 49);
    CHECK(!there("p"));
    end();
}

TEST(the_next_start_takes_what_another_defined)
{
    begin_as(PLK_STORAGE_COMMAND);
    POOL mine = define("p", UUID_A, "one");
    STORAGE other = must_open(PLK_STORAGE_COMMAND);
    CHECK_OK(try_define(other, dir_pool("p", UUID_A, "two")), err);
    CHECK_OK(plk_pool_start(mine, PLK_START_BUILD, &err), err);
    CHECK(there("two") && !there("one"));
    CHECK_OK(plk_pool_destroy(mine, &err), err);
    end();
}

/* What a command that died while it created a pool wrote is not in the way. */
TEST(a_start_that_never_ended)
{
    begin_as(PLK_STORAGE_COMMAND);
    CHECK_OK(try_create(storage, dir_pool("t", UUID_A, "t"), PLK_START_BUILD), err);
    CHECK(rmdir("t") == 0);
    end();
    storage = must_open(PLK_STORAGE_COMMAND);
    CHECK_INT(count_pools(storage, 0), 0);
    CHECK_OK(try_define(storage, dir_pool("t", UUID_B, "t")), err);
    end();
}

/* ---- threads ---- */

static void *define_one(void *arg)
{
    return GINT_TO_POINTER(plk_storage_define(storage, dir_pool(arg, NULL, "p"), NULL, NULL) == 0);
}

TEST(of_many_that_collide_one_wins)
{
    static char names[16][8];
    pthread_t threads[16];
    int won = 0;

    begin_as(PLK_STORAGE_DAEMON);
    for (int i = 0; i < 16; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i);
        CHECK(pthread_create(&threads[i], NULL, define_one, names[i]) == 0);
    }
    for (int i = 0; i < 16; i++) {
        void *result;

        pthread_join(threads[i], &result);
        won += GPOINTER_TO_INT(result);
    }
    CHECK_INT(won, 1);
    CHECK_INT(count_pools(storage, 0), 1);
    end();
}

static void *start_and_stop(void *arg)
{
    for (int i = 0; i < 30; i++)
        if (plk_pool_start(arg, 0, NULL) == 0)
            plk_pool_destroy(arg, NULL);
    return NULL;
}

TEST(a_pool_changed_by_many_is_in_one_state)
{
    pthread_t threads[4];

    begin_as(PLK_STORAGE_DAEMON);
    POOL pool = define("p", NULL, "p");
    CHECK_OK(plk_pool_build(pool, 0, &err), err);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, start_and_stop, pool) == 0);
    for (int i = 0; i < 50; i++)
        CHECK_OK(plk_storage_reload(storage, &err), err);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(plk_pool_state(pool).active == there("run/p.xml"));
    end();
}

TEST_MAIN()
