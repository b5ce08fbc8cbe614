/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: what they may reach, how they come and go, and publishing of whole files. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/fault.h"
#include "test.h"

static char place[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_place(void)
{
    if (*place)
        nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/*
 * A fresh pool/volume on disk, with a file "secret" beside the pool; names are relative to it: each test
 * works in there.
 */
static void make_place(void)
{
    remove_place();
    strcpy(place, "/tmp/plk-test-XXXXXX");
    CHECK(mkdtemp(place) && chdir(place) == 0);
    CHECK(mkdir("pool", 0755) == 0 && mkdir("pool/volume", 0755) == 0 && mkdir("pool/volume/sub", 0755) == 0);
    CHECK(mkdir("pool/other", 0755) == 0 && mkdir("outside", 0755) == 0);
    CHECK(close(creat("outside/secret", 0644)) == 0 && close(creat("pool/other/base", 0644)) == 0);
}

static PlkDir *open_real(const char *root)
{
    PlkDir *dir;

    make_place();
    CHECK_INT(plk_dir_open_fs("pool/volume", root, &dir), 0);
    return dir;
}

static PlkDir *open_memory(void)
{
    PlkDir *dir;

    CHECK_INT(plk_dir_open_memory("/pool/volume", &dir), 0);
    return dir;
}

static int try_open(PlkDir *dir, const char *name, unsigned flags)
{
    PlkIo *io;
    int r = plk_dir_open_file(dir, name, flags, 0600, &io);

    if (r == 0)
        plk_io_close(io);
    return r;
}

static void put(PlkDir *dir, const char *name, const char *text)
{
    CHECK_INT(plk_dir_publish_file(dir, name, text, strlen(text), 0644), 0);
}

static void check_text(PlkDir *dir, const char *name, const char *wanted)
{
    char *text = NULL, copy[64];

    CHECK_INT(plk_dir_read_file(dir, name, sizeof copy - 1, &text, NULL), 0);
    strcpy(copy, text);
    free(text);
    CHECK_STR(copy, wanted);
}

static int count_name(void *arg, const char *name)
{
    ++*(int *)arg;
    return 0;
}

static int count_names(PlkDir *dir)
{
    int n = 0;

    CHECK_INT(plk_dir_list(dir, count_name, &n), 0);
    return n;
}

#define BOTH_BACKENDS(name)                                                                                  \
    static void name(PlkDir *dir);                                                                           \
    TEST(name##_in_memory)                                                                                   \
    {                                                                                                        \
        PlkDir *dir = open_memory();                                                                         \
        name(dir);                                                                                           \
        plk_dir_close(dir);                                                                                  \
    }                                                                                                        \
    TEST(name##_on_disk)                                                                                     \
    {                                                                                                        \
        PlkDir *dir = open_real(NULL);                                                                       \
        name(dir);                                                                                           \
        plk_dir_close(dir);                                                                                  \
    }                                                                                                        \
    static void name(PlkDir *dir)

/* ---- text ---- */

static void check_canonical(const char *base, const char *path, const char *wanted)
{
    char *got = plk_path_canonical(base, path), copy[64] = "none";

    if (got)
        strcpy(copy, got);
    free(got);
    CHECK_STR(copy, wanted);
}

TEST(canonical_paths)
{
    check_canonical("/a/b", "../c/./d", "/a/c/d");
    check_canonical("/a/b", "/x//y/", "/x/y");
    check_canonical("/a/b", "../..", "/");
    check_canonical("/", "a", "/a");
    check_canonical("/a", "", "/a");
    check_canonical("/a", "..b/...", "/a/..b/...");
    check_canonical("/a/b", "../../..", "none");
    check_canonical("/a/b", "../../../a/b", "none");
}

TEST(beneath_means_whole_components)
{
    CHECK_STR(plk_path_beneath("/a/b", "/a/b/c/d"), "c/d");
    CHECK_STR(plk_path_beneath("/a/b", "/a/b"), "");
    CHECK_STR(plk_path_beneath("/", "/a"), "a");
    CHECK(!plk_path_beneath("/a/b", "/a/bc"));
    CHECK(!plk_path_beneath("/a/b", "/a"));
}

/* ---- what a name may reach ---- */

BOTH_BACKENDS(names_outside_the_root_are_refused)
{
    CHECK_INT(try_open(dir, "../other/base", 0), -EXDEV);
    CHECK_INT(try_open(dir, "/etc/passwd", 0), -EXDEV);
    CHECK_INT(try_open(dir, "sub/../../volume2", PLK_OPEN_CREATE), -EXDEV);
    CHECK_INT(plk_dir_rename(dir, "../other/base", "stolen", false), -EXDEV);
    CHECK_INT(plk_dir_unlink(dir, "../other/base"), -EXDEV);
    CHECK_INT(plk_dir_exists(dir, "../other/base"), -EXDEV);
    CHECK_INT(try_open(dir, "", 0), -EINVAL);
    CHECK_INT(try_open(dir, ".", 0), -EINVAL);
    CHECK_INT(try_open(dir, "absent", 0), -ENOENT);
}

TEST(a_wider_root_lets_names_reach_its_other_directories)
{
    PlkDir *dir = open_real("pool");
    char path[128];

    CHECK_INT(try_open(dir, "../other/base", PLK_OPEN_WRITE), 0);
    snprintf(path, sizeof path, "%s/pool/other/base", place);
    CHECK_INT(try_open(dir, path, 0), 0);
    CHECK_INT(plk_dir_rename(dir, "../other/base", "../other/moved", false), 0);
    CHECK_INT(plk_dir_rename(dir, "../other/moved", "sub/moved", false), 0);
    CHECK_INT(plk_dir_sync(dir), 0);
    CHECK_INT(plk_dir_exists(dir, "sub/moved"), 1);
    CHECK_INT(try_open(dir, "../../outside/secret", 0), -EXDEV);
    plk_dir_close(dir);
    CHECK_INT(plk_dir_open_fs("pool/volume", "outside", &dir), -EXDEV);
}

/* Descriptors of this process that are on that directory of the place. */
static int count_open(const char *name)
{
    struct stat want, st;
    int n = 0;

    CHECK(stat(name, &want) == 0);
    for (int fd = 0; fd < 256; fd++)
        n += fstat(fd, &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino;
    return n;
}

TEST(a_name_that_somebody_else_made_is_synced_where_it_is)
{
    PlkDir *dir = open_real("pool");

    CHECK_INT(plk_dir_include(dir, "root.hds"), 0);
    CHECK_INT(plk_dir_include(dir, "../other/base"), 0);
    CHECK_INT(count_open("pool/other"), 1); /* to be synced */
    CHECK_INT(plk_dir_sync(dir), 0);
    CHECK_INT(count_open("pool/other"), 0);
    CHECK_INT(plk_dir_include(dir, "../../outside/secret"), -EXDEV);
    plk_dir_close(dir);
}

static void check_links(PlkDir *dir)
{
    CHECK(symlink("../../outside/secret", "pool/volume/link") == 0);
    CHECK(symlink("../../outside", "pool/volume/linkdir") == 0);
    CHECK(symlink("target", "pool/volume/dangling") == 0);
    CHECK_INT(try_open(dir, "link", 0), -ELOOP);
    CHECK_INT(try_open(dir, "linkdir/secret", 0), -ELOOP);
    CHECK_INT(try_open(dir, "linkdir/new", PLK_OPEN_CREATE), -ELOOP);
    CHECK_INT(try_open(dir, "dangling", PLK_OPEN_CREATE), -ELOOP);
    CHECK_INT(plk_dir_unlink(dir, "linkdir/secret"), -ELOOP);
    CHECK_INT(plk_dir_exists(dir, "dangling"), 1);
    CHECK_INT(plk_dir_exists(dir, "sub/absent"), 0);
    CHECK_INT(plk_dir_exists(dir, "absent/absent"), 0);
    CHECK(access("outside/secret", F_OK) == 0 && access("outside/new", F_OK) != 0);
    CHECK_INT(try_open(dir, "sub/new", PLK_OPEN_CREATE), 0);
    CHECK_INT(try_open(dir, "sub/new", PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE), -EEXIST);
}

TEST(links_are_not_followed)
{
    PlkDir *dir = open_real(NULL);

    check_links(dir);
    plk_dir_close(dir);
}

TEST(somebody_elses_file_under_a_second_name_is_read_but_not_written_to)
{
    PlkDir *dir = open_real(NULL);

    CHECK_INT(link("outside/secret", "pool/volume/second"), 0);
    CHECK_INT(try_open(dir, "second", PLK_OPEN_WRITE), 0); /* it is our own, as yet */
    if (chown("outside/secret", 12345, (gid_t)-1) == 0) {
        CHECK_INT(try_open(dir, "second", 0), 0);
        CHECK_INT(try_open(dir, "second", PLK_OPEN_WRITE), -EMLINK);
    }
    plk_dir_close(dir);
}

static void install_filter(struct sock_filter *code, unsigned short len)
{
    struct sock_fprog program = {len, code};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* From now on a system call fails as on an old kernel, in this process only. */
static void forbid_call(unsigned number, int errnum)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)errnum),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    install_filter(code, sizeof code / sizeof code[0]);
}

/* Unnamed files too; the flag can only be seen in openat()'s argument. */
static void forbid_tmpfile(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    install_filter(code, sizeof code / sizeof code[0]);
}

/* In a child, so that the filters end with it. */
static void check_in_child(void (*run)(void *arg), void *arg)
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (setjmp(test_escape) != 0)
            _exit(1);
        run(arg);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void links_without_openat2(void *arg)
{
    PlkDir *dir;

    forbid_call(SYS_openat2, *(int *)arg);
    CHECK_INT(plk_dir_open_fs("pool/volume", NULL, &dir), 0);
    check_links(dir);
}

TEST(links_are_not_followed_without_openat2_either)
{
    int old_kernel = ENOSYS, sandbox = EPERM;

    make_place();
    check_in_child(links_without_openat2, &old_kernel);
    make_place();
    check_in_child(links_without_openat2, &sandbox);
}

TEST(only_regular_files_are_opened)
{
    PlkDir *dir = open_real(NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "pool/volume/socket"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(mkfifo("pool/volume/fifo", 0600) == 0);
    CHECK(bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    close(s);
    CHECK_INT(try_open(dir, "sub", 0), -EINVAL);
    CHECK_INT(try_open(dir, "sub", PLK_OPEN_WRITE), -EINVAL);
    CHECK_INT(try_open(dir, "fifo", 0), -EINVAL);
    CHECK_INT(try_open(dir, "fifo", PLK_OPEN_WRITE), -EINVAL);
    CHECK_INT(try_open(dir, "socket", 0), -EINVAL);
    plk_dir_close(dir);
}

TEST(a_renamed_volume_directory_goes_on_working)
{
    PlkDir *dir = open_real("pool");

    put(dir, "file", "text");
    CHECK(rename("pool/volume", "pool/elsewhere") == 0);
    check_text(dir, "file", "text");
    put(dir, "file", "again");
    CHECK(access("pool/elsewhere/file", F_OK) == 0);
    plk_dir_close(dir);
}

/* ---- names come and go ---- */

BOTH_BACKENDS(names_live_on_after_closing)
{
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, "x", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_INT(plk_io_write(io, "hello", 5, 0, PLK_POINT_FILE_WRITE), 0);
    plk_io_close(io);
    check_text(dir, "x", "hello");
    CHECK_INT(plk_dir_unlink(dir, "x"), 0);
    CHECK_INT(plk_dir_unlink(dir, "x"), -ENOENT);
}

BOTH_BACKENDS(unlinked_files_can_still_be_read)
{
    PlkIo *io;
    char c;

    put(dir, "x", "a");
    CHECK_INT(plk_dir_open_file(dir, "x", 0, 0, &io), 0);
    CHECK_INT(plk_dir_unlink(dir, "x"), 0);
    put(dir, "x", "b");
    CHECK_INT(plk_io_read(io, &c, 1, 0, PLK_POINT_DATA_READ), 0);
    plk_io_close(io);
    CHECK_INT(c, 'a');
}

static void check_unnamed(PlkDir *dir)
{
    int before = count_names(dir);
    PlkIo *io;

    put(dir, "taken", "old");
    CHECK_INT(plk_dir_create_unnamed(dir, 0600, &io), 0);
    CHECK_INT(plk_io_write(io, "new", 3, 0, PLK_POINT_FILE_WRITE), 0);
    CHECK_INT(plk_dir_link(dir, io, "taken"), -EEXIST);
    CHECK_INT(plk_dir_link(dir, io, "fresh"), 0);
    CHECK(strstr(io->name, "/fresh"));
    plk_io_close(io);
    check_text(dir, "taken", "old");
    check_text(dir, "fresh", "new");
    CHECK_INT(plk_dir_create_unnamed(dir, 0600, &io), 0);
    plk_io_close(io);
    CHECK_INT(count_names(dir), before + 2);
}

BOTH_BACKENDS(unnamed_files_get_a_name_once_and_never_replace)
{
    check_unnamed(dir);
}

static void check_rename(PlkDir *dir)
{
    put(dir, "a", "A");
    put(dir, "b", "B");
    CHECK_INT(plk_dir_rename(dir, "a", "b", false), -EEXIST);
    check_text(dir, "b", "B");
    CHECK_INT(plk_dir_rename(dir, "a", "b", true), 0);
    check_text(dir, "b", "A");
    CHECK_INT(plk_dir_exists(dir, "a"), 0);
    CHECK_INT(plk_dir_rename(dir, "b", "c", false), 0);
    CHECK_INT(plk_dir_rename(dir, "c", "c", true), 0);
    check_text(dir, "c", "A");
    CHECK_INT(plk_dir_rename(dir, "absent", "d", true), -ENOENT);
}

BOTH_BACKENDS(rename_replaces_only_when_told)
{
    check_rename(dir);
}

/* What a filesystem such as an old NFS server leaves us with. */
static void names_on_a_poor_filesystem(void *arg)
{
    PlkDir *dir;

    forbid_call(SYS_openat2, ENOSYS);
    forbid_call(SYS_renameat2, EINVAL);
    forbid_tmpfile();
    CHECK_INT(plk_dir_open_fs("pool/volume", NULL, &dir), 0);
    CHECK(open(".", O_TMPFILE | O_RDWR, 0600) < 0 && errno == EOPNOTSUPP);
    check_unnamed(dir);
    check_rename(dir);
}

TEST(names_never_replace_without_help_of_the_filesystem_either)
{
    make_place();
    check_in_child(names_on_a_poor_filesystem, NULL);
}

static int remove_name(void *arg, const char *name)
{
    return strncmp(name, "n", 1) ? 0 : plk_dir_unlink(arg, name);
}

BOTH_BACKENDS(listing_sees_all_names_even_while_they_are_removed)
{
    int before = count_names(dir);

    for (int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof name, "n%d", i);
        put(dir, name, "");
    }
    CHECK_INT(count_names(dir), before + 20);
    CHECK_INT(plk_dir_list(dir, remove_name, dir), 0);
    CHECK_INT(count_names(dir), before);
}

/* ---- whole files ---- */

BOTH_BACKENDS(reading_a_file_is_bounded)
{
    char *text;

    put(dir, "x", "hello");
    CHECK_INT(plk_dir_read_file(dir, "x", 4, &text, NULL), -EFBIG);
    CHECK_INT(plk_dir_read_file(dir, "absent", 4, &text, NULL), -ENOENT);
    check_text(dir, "x", "hello");
    put(dir, "x", "");
    check_text(dir, "x", "");
}

TEST(failed_publishing_leaves_the_old_text_and_nothing_else)
{
    for (unsigned long n = 1;; n++) {
        PlkFault fault = {0};
        PlkDir *dir;
        int r, before;

        CHECK_INT(plk_dir_wrap_fault(open_real(NULL), &fault, &dir), 0);
        put(dir, "sub/x", "old");
        before = count_names(dir);
        fault.errnum = EIO;
        atomic_store(&fault.seen, 0);
        fault.nth = n;
        r = plk_dir_publish_file(dir, "sub/x", "new", 3, 0644);
        if (r == 0)
            CHECK_INT(fault.seen, 5); /* create, write, sync, rename, sync of the directory */
        fault.nth = 0;
        check_text(dir, "sub/x", r == 0 || n == 5 ? "new" : "old");
        CHECK_INT(count_names(dir), before);
        CHECK(rename("pool/volume/sub/x", "pool/volume/x") == 0 && rmdir("pool/volume/sub") == 0);
        plk_dir_close(dir);
        if (r == 0)
            break;
    }
}

TEST(running_out_of_memory_is_an_error_and_no_leak)
{
    for (unsigned long n = 1;; n++) {
        PlkDir *dir = open_real(NULL);
        int r;

        put(dir, "sub/x", "old");
        plk_alloc_fail_at(n, 0);
        r = plk_dir_publish_file(dir, "sub/x", "new", 3, 0644);
        plk_alloc_fail_at(0, 0);
        CHECK(r == 0 || r == -ENOMEM);
        check_text(dir, "sub/x", r == 0 ? "new" : "old");
        plk_dir_close(dir);
        if (r == 0)
            break;
    }
}

/* ---- the lock file ---- */

BOTH_BACKENDS(the_lock_file_excludes_until_it_is_closed)
{
    PlkIo *held, *second;

    CHECK_INT(plk_dir_flock(dir, "x.lck", 0, &held), 0);
    CHECK_INT(plk_dir_flock(dir, "x.lck", 80, &second), -EAGAIN);
    CHECK_INT(plk_io_write(held, "geometry", 8, 0, PLK_POINT_FILE_WRITE), 0);
    plk_io_close(held);
    CHECK_INT(plk_dir_flock(dir, "x.lck", 0, &second), 0);
    plk_io_close(second);
    check_text(dir, "x.lck", "geometry");
}

static void *release_later(void *held)
{
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
    plk_io_close(held);
    return NULL;
}

BOTH_BACKENDS(waiting_for_the_lock_file_ends_when_it_is_free)
{
    PlkIo *held, *second;
    pthread_t thread;
    int r;

    CHECK_INT(plk_dir_flock(dir, "x.lck", 0, &held), 0);
    CHECK_INT(pthread_create(&thread, NULL, release_later, held), 0);
    r = plk_dir_flock(dir, "x.lck", 10000, &second);
    pthread_join(thread, NULL);
    CHECK_INT(r, 0);
    plk_io_close(second);
}

static void *remove_and_release(void *held)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    unlink("pool/volume/x.lck");
    plk_io_close(held);
    return NULL;
}

TEST(a_lock_file_removed_by_its_holder_is_made_anew)
{
    PlkDir *dir = open_real(NULL);
    PlkIo *held, *second;
    pthread_t thread;
    int r;

    CHECK_INT(plk_dir_flock(dir, "x.lck", 0, &held), 0);
    CHECK_INT(pthread_create(&thread, NULL, remove_and_release, held), 0);
    r = plk_dir_flock(dir, "x.lck", 10000, &second);
    pthread_join(thread, NULL);
    CHECK_INT(r, 0);
    CHECK_INT(plk_dir_exists(dir, "x.lck"), 1);
    plk_io_close(second);
    plk_dir_close(dir);
}

BOTH_BACKENDS(free_space_is_told)
{
    uint64_t bytes = 0;

    CHECK_INT(plk_dir_free_space(dir, &bytes), 0);
    CHECK(bytes > 0);
}

TEST(nothing_is_left_behind)
{
    CHECK(chdir("/") == 0);
    remove_place();
    CHECK(access(place, F_OK) != 0);
}

TEST_MAIN()
