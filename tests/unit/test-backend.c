/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kinds of pools do: sources and flags they take, directories they make, and servers that never answer. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "pool/pool.h"
#include "storage.h"

#define FS_ON "<pool type='fs'><name>%s</name><source><device path='%s/%s'/><format type='%s'/></source>" \
              "<target><path>%s/%s</path></target></pool>"

static PlkPoolDef *fs_pool(const char *name, const char *device, const char *format)
{
    g_autofree char *xml = g_strdup_printf(FS_ON, name, base, device, format, base, name);

    return parse_pool(xml);
}

static PlkPoolDef *netfs_pool(const char *name, const char *source)
{
    g_autofree char *xml = g_strdup_printf("<pool type='netfs'><name>%s</name><source>%s</source>"
                                           "<target><path>%s/%s</path></target></pool>", name, source, base, name);

    return parse_pool(xml);
}

static bool collide(PlkPoolDef *known, PlkPoolDef *asked)
{
    bool same = plk_pool_same_source(known, asked);

    plk_pool_def_free(known);
    plk_pool_def_free(asked);
    return same;
}

/* ---- sources ---- */

TEST(sources_that_are_the_same)
{
    static const char with_device[] = "<pool type='%s'><name>x</name><source><device path='%s/dev'/></source>"
                                      "<target><path>/dev/x</path></target></pool>";
    g_autofree char *logical = NULL, *disk = NULL, *zfs = NULL;

    base_make();
    logical = g_strdup_printf(with_device, "logical", base);
    disk = g_strdup_printf(with_device, "disk", base);
    zfs = g_strdup_printf(with_device, "zfs", base);
    CHECK(collide(fs_pool("a", "dev", "ext4"), fs_pool("b", "dev", "xfs")));
    CHECK(!collide(fs_pool("a", "dev", "ext4"), fs_pool("b", "other", "ext4")));
    CHECK(collide(parse_pool(logical), fs_pool("b", "dev", "ext4")));
    CHECK(collide(fs_pool("a", "dev", "ext4"), parse_pool(disk)));
    CHECK(collide(parse_pool(disk), parse_pool(zfs)));
    CHECK(collide(dir_pool("a", NULL, "x"), dir_pool("b", NULL, "x//")));
    CHECK(!collide(dir_pool("a", NULL, "x"), fs_pool("x", "x", "ext4"))); /* one target, two kinds */
}

TEST(exports_that_are_the_same)
{
    base_make();
#define EXPORT(host, dir) "<host name='" host "'/><dir path='" dir "'/>"
#define WITH_PORT(host, port, dir) "<host name='" host "' port='" port "'/><dir path='" dir "'/>"
    CHECK(collide(netfs_pool("a", EXPORT("h", "/d")), netfs_pool("b", EXPORT("h", "/d"))));
    CHECK(!collide(netfs_pool("a", EXPORT("h", "/d")), netfs_pool("b", EXPORT("h", "/e"))));
    CHECK(!collide(netfs_pool("a", EXPORT("h", "/d")), netfs_pool("b", EXPORT("i", "/d"))));
    CHECK(collide(netfs_pool("a", WITH_PORT("h", "1", "/d")), netfs_pool("b", EXPORT("h", "/d"))));
    CHECK(!collide(netfs_pool("a", EXPORT("h", "/d")), netfs_pool("b", WITH_PORT("h", "1", "/d"))));
}

static void refused(PlkStorage *storage, PlkPoolDef *def, int code)
{
    CHECK_CODE(plk_storage_create(storage, def, 0, NULL, &err), code);
    CHECK_INT(count_pools(storage, 0), 0);
}

TEST(sources_that_are_missing_or_too_many)
{
    base_make();
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    refused(storage, parse_pool("<pool type='fs'><name>f</name><source><device path='/dev/a'/><device path='/dev/b'/>"
                                "</source><target><path>/srv/f</path></target></pool>"), 67);
    refused(storage, parse_pool("<pool type='fs'><name>f</name><source><device path='-o'/></source>"
                                "<target><path>/srv/f</path></target></pool>"), 67);
    refused(storage, netfs_pool("n", "<host name='-h'/><dir path='/d'/>"), 67);
    refused(storage, netfs_pool("n", "<host name='h'/><host name='i'/><dir path='/d'/>"), 67);
}

TEST(a_search_needs_to_know_where)
{
    char *xml;

    CHECK_CODE(plk_storage_find_sources("dir", NULL, NULL, &xml, &err), 3);
    CHECK_CODE(plk_storage_find_sources("fs", NULL, NULL, &xml, &err), 3);
    CHECK_CODE(plk_storage_find_sources("logical", NULL, NULL, &xml, &err), 1);
    CHECK_CODE(plk_storage_find_sources("nosuch", NULL, NULL, &xml, &err), 1);
    CHECK_CODE(plk_storage_find_sources("netfs", NULL, NULL, &xml, &err), 8);
    CHECK_CODE(plk_storage_find_sources("netfs", "<source/>", NULL, &xml, &err), 67);
    CHECK_CODE(plk_storage_find_sources("netfs", "<source><host name='-e'/></source>", NULL, &xml, &err), 67);
    CHECK_CODE(plk_storage_find_sources("netfs", "<other/>", NULL, &xml, &err), 27);
    CHECK_CODE(plk_storage_find_sources("netfs", "<source", NULL, &xml, &err), 35);
}

/* ---- directories ---- */

static mode_t mode_of(const char *name)
{
    struct stat st;

    CHECK_INT(stat(name, &st), 0);
    return st.st_mode & 07777;
}

static void build(const char *dir, const char *permissions, const char *features)
{
    g_autofree char *xml = g_strdup_printf("<pool type='dir'><name>p</name>%s<target><path>%s/%s</path>%s</target></pool>",
                                           features, base, dir, permissions);
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = parse_pool(xml);

    CHECK_OK(plk_target_build(def, &err), err);
}

TEST(a_directory_is_made_as_it_is_described)
{
    base_make();
    build("a/b/c", "", "");
    CHECK_INT(mode_of("a/b/c"), 0711);
    build("a/b/c", "<permissions><mode>0750</mode></permissions>", "");
    CHECK_INT(mode_of("a/b/c"), 0750);
    build("a/b/c", "", ""); /* one that is there stays as it is */
    CHECK_INT(mode_of("a/b/c"), 0750);
}

TEST(owner_and_label_are_set)
{
    char label[64] = "";
    struct stat st;

    if (geteuid() != 0)
        return;
    base_make();
    build("a", "<permissions><owner>12</owner><group>34</group><label>system_u:object_r:virt_image_t:s0</label>"
               "</permissions>", "");
    CHECK_INT(stat("a", &st), 0);
    CHECK(st.st_uid == 12 && st.st_gid == 34);
    if (getxattr("a", "security.selinux", label, sizeof label - 1) > 0)
        CHECK_STR(label, "system_u:object_r:virt_image_t:s0");
}

TEST(copy_on_write_is_for_btrfs)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    struct statfs fs;

    base_make();
    def = dir_pool("p", NULL, "p");
    def->cow = 0;
    if (statfs(base, &fs) == 0 && fs.f_type == 0x9123683e) {
        CHECK_OK(plk_target_build(def, &err), err);
        return;
    }
    CHECK_CODE(plk_target_build(def, &err), 38);
    CHECK_INT(err.errnum, ENOSYS);
}

/* ---- filesystems, on a file that stands for a device ---- */

static void make_device(const char *name, size_t size)
{
    put(name, "");
    CHECK_INT(truncate(name, (off_t)size), 0);
}

TEST(a_device_is_formatted_only_if_it_may_be)
{
    base_make();
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    POOL pool = NULL;
    make_device("dev", 4 << 20);
    CHECK_OK(plk_storage_define(storage, fs_pool("p", "dev", "ext4"), &pool, &err), err);
    CHECK_OK(plk_pool_build(pool, PLK_BUILD_NO_OVERWRITE, &err), err);
    CHECK(there("p"));
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_NO_OVERWRITE, &err), 76);
    CHECK_SAYS("ext4");
    CHECK_OK(plk_pool_build(pool, PLK_BUILD_OVERWRITE, &err), err);
    CHECK_OK(plk_pool_build(pool, 0, &err), err);
    CHECK_OK(plk_pool_delete(pool, 0, &err), err);
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_NO_OVERWRITE, &err), 76);
    CHECK(!there("p")); /* what could be known before was asked before */
}

TEST(a_format_must_be_known_to_be_made)
{
    base_make();
    STORAGE storage = must_open(PLK_STORAGE_COMMAND);
    make_device("dev", 1 << 20);
    POOL pool = NULL;
    CHECK_OK(plk_storage_define(storage, fs_pool("p", "dev", "auto"), &pool, &err), err);
    CHECK_CODE(plk_pool_build(pool, PLK_BUILD_OVERWRITE, &err), 1);
    POOL other = NULL;
    CHECK_OK(plk_storage_define(storage, fs_pool("q", "none", "vmfs"), &other, &err), err);
    CHECK_CODE(plk_pool_build(other, PLK_BUILD_OVERWRITE, &err), 1);
    CHECK_SAYS("mkfs.vmfs");
    CHECK(!there("p") && !there("q"));
}

/* ---- patience ---- */

static gint left_behind;

static int sleep_long(void *arg, PlkError *error)
{
    g_usleep(300000);
    return 0;
}

static void note_freed(void *arg)
{
    g_atomic_int_inc(&left_behind);
}

TEST(work_that_takes_too_long_is_left)
{
    CHECK_FAILS(plk_with_patience(sleep_long, NULL, note_freed, 20, "it", &err), err, PLK_ERROR_SYSTEM);
    CHECK_INT(err.errnum, ETIMEDOUT);
    CHECK_INT(g_atomic_int_get(&left_behind), 0);
    CHECK_OK(plk_with_patience(sleep_long, NULL, note_freed, 5000, "it", &err), err);
    for (int i = 0; i < 100 && g_atomic_int_get(&left_behind) < 2; i++)
        g_usleep(10000);
    CHECK_INT(g_atomic_int_get(&left_behind), 2);
}

/* A filesystem that nobody serves: whoever looks at it waits until *ret_fd is closed. */
static bool mount_dead(const char *target, int *ret_fd)
{
    static bool private;
    g_autofree char *options = NULL;

    if (!private && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
        return false;
    private = true;
    *ret_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    options = g_strdup_printf("fd=%d,rootmode=40000,user_id=0,group_id=0", *ret_fd);
    return *ret_fd >= 0 && mount("dead", target, "fuse", 0, options) == 0;
}

static double seconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC;
}

static int dead = -1;

/* Also when a check failed: what waits there would hold up the end. */
static void bury(void)
{
    g_autofree char *target = at("p");

    if (dead < 0)
        return;
    close(PLK_TAKE_FD(dead));
    umount2(target, MNT_DETACH);
}

TEST(a_dead_server_holds_nothing_up_for_ever)
{
    gint64 start;
    PlkPoolInfo info;

    base_make();
    atexit(bury); /* it comes before what base_make() has at the end */
    STORAGE storage = must_open(PLK_STORAGE_DAEMON);
    POOL pool = NULL;
    CHECK_OK(plk_storage_define(storage, dir_pool("p", UUID_A, "p"), &pool, &err), err);
    CHECK_OK(plk_pool_start(pool, PLK_START_BUILD, &err), err);
    g_autofree char *target = at("p");
    if (!mount_dead(target, &dead)) {
        printf("   (a dead server was not tried: no mount of FUSE here)\n");
        return;
    }
    start = g_get_monotonic_time();
    CHECK_OK(plk_pool_info(pool, &info, &err), err);
    CHECK(info.active && !info.writable && strstr(info.reason, "does not answer"));
    CHECK(seconds_since(start) < 7);
    start = g_get_monotonic_time();
    CHECK_OK(plk_pool_info(pool, &info, &err), err); /* one thread waits there; another would not help */
    CHECK(strstr(info.reason, "still") && seconds_since(start) < 1);
    CHECK_OK(plk_pool_destroy(pool, &err), err);
    start = g_get_monotonic_time();
    CHECK_CODE(plk_pool_start(pool, 0, &err), 38);
    CHECK_SAYS("does not answer");
    CHECK(seconds_since(start) < 7);
    start = g_get_monotonic_time();
    CHECK_CODE(plk_storage_define(storage, dir_pool("q", NULL, "p/q"), NULL, &err), 38);
    CHECK(seconds_since(start) < 7);
    bury();
    /* Who waited there has to hear of it first. */
    for (int i = 0; i < 100 && plk_pool_start(pool, 0, &err) < 0; i++)
        g_usleep(100 * 1000);
    CHECK_OK(plk_pool_info(pool, &info, &err), err);
    CHECK(info.active);
}

TEST_MAIN()
