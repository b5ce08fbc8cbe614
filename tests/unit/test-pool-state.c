/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state on disk: libvirt's layout and bytes, taken over, read anew, and owned by one. */
#include <sys/wait.h>

#include "storage.h"

#define WARNING \
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n" \
    "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  virsh pool-edit %s\n" \
    "or other application using the libvirt API.\n-->\n\n"

/* As libvirtd 9.0.0 writes them. */
static char *config_text(const char *name, const char *edit, const char *uuid, const char *dir)
{
    return g_strdup_printf(WARNING "<pool type='dir'>\n"
                                   "  <name>%s</name>\n"
                                   "  <uuid>%s</uuid>\n"
                                   "  <capacity unit='bytes'>0</capacity>\n"
                                   "  <allocation unit='bytes'>0</allocation>\n"
                                   "  <available unit='bytes'>0</available>\n"
                                   "  <source>\n"
                                   "  </source>\n"
                                   "  <target>\n"
                                   "    <path>%s/%s</path>\n"
                                   "  </target>\n"
                                   "</pool>\n",
                           edit, name, uuid, base, dir);
}

static char *running_text(const char *name, const char *uuid, const char *dir)
{
    return g_strdup_printf(WARNING "<poolstate>\n"
                                   "  <pool type='dir'>\n"
                                   "    <name>%s</name>\n"
                                   "    <uuid>%s</uuid>\n"
                                   "    <capacity unit='bytes'>0</capacity>\n"
                                   "    <allocation unit='bytes'>0</allocation>\n"
                                   "    <available unit='bytes'>0</available>\n"
                                   "    <source>\n"
                                   "    </source>\n"
                                   "    <target>\n"
                                   "      <path>%s/%s</path>\n"
                                   "    </target>\n"
                                   "  </pool>\n"
                                   "</poolstate>\n",
                           name, name, uuid, base, dir);
}

static void put_config(const char *name, const char *uuid, const char *dir)
{
    g_autofree char *text = config_text(name, name, uuid, dir), *file = g_strdup_printf("config/%s.xml", name);

    g_mkdir_with_parents("config/autostart", 0755);
    put(file, text);
}

static void put_running(const char *name, const char *uuid, const char *dir)
{
    g_autofree char *text = running_text(name, uuid, dir), *file = g_strdup_printf("run/%s.xml", name);

    g_mkdir_with_parents("run", 0755);
    put(file, text);
}

static PlkPoolState state_of(PlkStorage *storage, const char *name)
{
    POOL pool = find(storage, name);

    return plk_pool_state(pool);
}

/* ---- what is written ---- */

TEST(files_are_libvirts_to_the_byte)
{
    struct stat st;

    base_make();
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    CHECK_OK(plk_storage_define(storage, dir_pool("p", UUID_A, "p"), NULL, &err), err);
    CHECK_OK(plk_storage_define(storage, dir_pool("b d", UUID_B, "q"), NULL, &err), err);
    g_autofree char *p = get("config/p.xml"), *wanted = config_text("p", "p", UUID_A, "p");
    CHECK_STR(p, wanted);
    g_autofree char *bd = get("config/b d.xml"), *wanted_bd = config_text("b d", UUID_B, UUID_B, "q");
    CHECK_STR(bd, wanted_bd);
    POOL pool = find(storage, "p");
    CHECK_OK(plk_pool_start(pool, PLK_START_BUILD, &err), err);
    g_autofree char *run = get("run/p.xml"), *wanted_run = running_text("p", UUID_A, "p");
    CHECK_STR(run, wanted_run);
    CHECK(stat("config/p.xml", &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_OK(plk_pool_set_autostart(pool, true, &err), err);
    g_autofree char *link = g_file_read_link("config/autostart/p.xml", NULL), *config = at("config/p.xml");
    CHECK_STR(link, config);
}

static bool only_xml(const char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;
    bool only = true;

    while ((name = g_dir_read_name(d)))
        only = only && (g_str_has_suffix(name, ".xml") || strcmp(name, "autostart") == 0);
    g_dir_close(d);
    return only;
}

TEST(nothing_else_is_left_beside_them)
{
    base_make();
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(plk_storage_define(storage, dir_pool("p", UUID_A, "p"), NULL, &err), err);
        POOL pool = find(storage, "p");
        CHECK_OK(plk_pool_set_autostart(pool, i % 2 == 0, &err), err);
    }
    CHECK(only_xml("config") && only_xml("config/autostart"));
}

/* ---- what is taken over ---- */

TEST(a_daemon_takes_over_what_libvirtd_left)
{
    base_make();
    for (const char *const *dir = (const char *const[]){"p", "t", "idle", NULL}; *dir; dir++)
        CHECK(mkdir(*dir, 0755) == 0);
    put_config("p", UUID_A, "p");
    put_running("p", UUID_A, "p");
    CHECK(symlink("../p.xml", "config/autostart/p.xml") == 0);
    put_running("t", UUID_B, "t");
    put_config("idle", "33333333-3333-4333-8333-333333333333", "idle");
    put_config("none", "44444444-4444-4444-8444-444444444444", "none");
    put_running("dead", "55555555-5555-4555-8555-555555555555", "dead");
    g_autofree char *before = get("config/p.xml");
    plk_storage_close(must_open(PLK_STORAGE_LOOK));
    CHECK(there("run/dead.xml"));

    STORAGE storage = must_open(PLK_STORAGE_DAEMON);
    CHECK_INT(count_pools(storage, 0), 4);
    PlkPoolState p = state_of(storage, "p"), t = state_of(storage, "t");
    CHECK(p.active && p.persistent && p.autostart);
    CHECK(t.active && !t.persistent && !t.autostart);
    CHECK(state_of(storage, "idle").active && there("run/idle.xml")); /* its directory is there */
    CHECK(!state_of(storage, "none").active);
    CHECK(!there("run/dead.xml") && there("run/autostarted"));
    g_autofree char *after = get("config/p.xml");
    CHECK_STR(after, before);
}

TEST(pools_outlive_the_daemon)
{
    base_make();
    CHECK(mkdir("p", 0755) == 0);
    put_config("p", UUID_A, "p");
    plk_storage_close(must_open(PLK_STORAGE_DAEMON));
    CHECK(!there("run/driver.pid") && there("run/p.xml"));
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    CHECK(state_of(storage, "p").active);
}

/* As after a boot with a state directory that is not below /run. */
TEST(what_ran_before_this_boot_is_forgotten)
{
    base_make();
    CHECK(mkdir("p", 0755) == 0);
    put_config("p", UUID_A, "p");
    plk_storage_close(must_open(PLK_STORAGE_DAEMON));
    CHECK(there("run/p.xml") && rmdir("p") == 0);
    plk_storage_close(must_open(PLK_STORAGE_COMMAND));
    CHECK(there("run/p.xml"));
    put("run/ploopkit/boot", "another one\n");
    plk_storage_close(must_open(PLK_STORAGE_COMMAND));
    CHECK(!there("run/p.xml") && !there("run/autostarted") && there("config/p.xml"));
}

TEST(a_command_takes_nothing_for_running_that_was_not_started)
{
    base_make();
    CHECK(mkdir("p", 0755) == 0);
    put_config("p", UUID_A, "p");
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    CHECK(!state_of(storage, "p").active && !there("run/p.xml") && !there("run/autostarted"));
}

TEST(one_bad_file_hurts_no_other)
{
    g_autofree char *big = g_strnfill(2 << 20, ' ');

    base_make();
    put_config("p", UUID_A, "p");
    put("config/empty.xml", "");
    put("config/big.xml", big);
    put("config/junk.xml", "<pool type='dir'><name>other</name><target><path>/srv/x</path></target></pool>");
    CHECK(mkfifo("config/fifo.xml", 0600) == 0 && mkdir("config/dir.xml", 0755) == 0);
    CHECK(symlink("nowhere", "config/link.xml") == 0);
    put_running("gone", UUID_B, "gone");
    put("run/bad.xml", "<poolstate><pool/></poolstate>");
    STORAGE storage = must_open(PLK_STORAGE_DAEMON);
    CHECK_INT(count_pools(storage, 0), 1);
    CHECK(there("config/junk.xml") && there("run/bad.xml"));
}

/* ---- what is read anew ---- */

TEST(definitions_come_and_go)
{
    base_make();
    CHECK(mkdir("runs", 0755) == 0);
    put_config("runs", UUID_A, "runs");
    put_config("idle", UUID_B, "idle");
    STORAGE storage = must_open(PLK_STORAGE_DAEMON);
    CHECK_INT(count_pools(storage, PLK_LIST_PERSISTENT), 2);
    CHECK(unlink("config/runs.xml") == 0 && unlink("config/idle.xml") == 0);
    put_config("new", "33333333-3333-4333-8333-333333333333", "new");
    CHECK_OK(plk_storage_reload(storage, &err), err);
    CHECK(!plk_storage_pool_by_name(storage, "idle", NULL));
    CHECK(state_of(storage, "runs").active && !state_of(storage, "runs").persistent);
    CHECK(state_of(storage, "new").persistent && !state_of(storage, "new").active);
}

static char *xml_of(PlkStorage *storage, bool inactive)
{
    POOL pool = find(storage, "p");
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = plk_pool_definition(pool, inactive);

    return plk_pool_def_format(def);
}

TEST(a_second_definition_only_if_it_says_something_else)
{
    base_make();
    CHECK(mkdir("p", 0755) == 0);
    put_config("p", UUID_A, "p");
    put_running("p", UUID_A, "p");
    STORAGE storage = must_open(PLK_STORAGE_DAEMON);
    CHECK_OK(plk_storage_reload(storage, &err), err);
    g_autofree char *live = xml_of(storage, false), *next = xml_of(storage, true);
    CHECK_STR(next, live);
    put_config("p", UUID_A, "elsewhere");
    CHECK_OK(plk_storage_reload(storage, &err), err);
    g_autofree char *changed = xml_of(storage, true), *still = xml_of(storage, false);
    CHECK(strstr(changed, "/elsewhere</path>") != NULL);
    CHECK_STR(still, live);
}

/* ---- one owner ---- */

/* Another process with the lock that libvirt's daemons take; *ret_end: close it, and it ends. */
static pid_t libvirtd(int *ret_end)
{
    int ready[2], stop[2];
    char byte;
    pid_t pid;

    g_mkdir_with_parents("run", 0755);
    CHECK(pipe(ready) == 0 && pipe(stop) == 0);
    pid = fork();
    if (pid == 0) {
        int fd = open("run/driver.pid", O_RDWR | O_CREAT, 0644);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

        close(stop[1]);
        if (fd < 0 || fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        _exit(read(stop[0], &byte, 1) != 0);
    }
    close(stop[0]);
    close(ready[1]);
    CHECK_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *ret_end = stop[1];
    return pid;
}

TEST(where_libvirtd_owns_it_one_may_look)
{
    char number[16];
    int end;
    pid_t pid;
    PlkStorage *storage;

    base_make();
    CHECK(mkdir("p", 0755) == 0);
    put_config("p", UUID_A, "p"); /* it runs, though no file says so: libvirtd found the directory */
    pid = libvirtd(&end);
    snprintf(number, sizeof number, "%d", (int)pid);
    CHECK_CODE(open_as(PLK_STORAGE_DAEMON, &storage), 29);
    CHECK_SAYS(number);
    for (int i = 0; i < 2; i++) {
        STORAGE one = must_open(i ? PLK_STORAGE_COMMAND : PLK_STORAGE_LOOK);
        POOL pool = find(one, "p");
        CHECK(plk_pool_state(pool).active);
        CHECK_CODE(plk_pool_destroy(pool, &err), 29);
        if (i)
            CHECK_SAYS(number);
    }
    close(end);
    waitpid(pid, NULL, 0);
    CHECK_OK(open_as(PLK_STORAGE_DAEMON, &storage), err);
    plk_storage_close(storage);
}

TEST(two_daemons_exclude_each_other)
{
    char number[16];
    PlkStorage *second;

    base_make();
    STORAGE daemon = must_open(PLK_STORAGE_DAEMON);
    snprintf(number, sizeof number, "%d", (int)getpid());
    CHECK_CODE(open_as(PLK_STORAGE_DAEMON, &second), 29);
    CHECK_SAYS(number);
    STORAGE command = must_open(PLK_STORAGE_COMMAND);
    CHECK_CODE(plk_storage_define(command, dir_pool("p", NULL, "p"), NULL, &err), 29);
    CHECK_SAYS(number);
}

TEST(no_daemon_begins_while_a_command_works)
{
    PlkStorage *daemon;

    base_make();
    STORAGE a = must_open(PLK_STORAGE_COMMAND);
    STORAGE b = must_open(PLK_STORAGE_COMMAND);
    CHECK_CODE(open_as(PLK_STORAGE_DAEMON, &daemon), 29);
    CHECK_OK(plk_storage_define(b, dir_pool("p", NULL, "p"), NULL, &err), err);
    plk_storage_close(PLK_TAKE(a));
    CHECK_CODE(open_as(PLK_STORAGE_DAEMON, &daemon), 29);
    plk_storage_close(PLK_TAKE(b));
    CHECK_OK(open_as(PLK_STORAGE_DAEMON, &daemon), err);
    plk_storage_close(daemon);
}

TEST_MAIN()
