/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names in a directory that somebody hostile may write to: what is opened, and what is not. */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "pool-dir.h"

static int try(const char *name, int flags)
{
    PlkPlace at = pool_at(name);
    int fd = plk_place_open(&at, flags);

    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

TEST(files_and_directories_open)
{
    pool_make();
    pool_fill("file", 'x', 10, 0);
    CHECK(mkdir("dir", 0700) == 0);
    CHECK_INT(try("file", O_RDWR), 0);
    CHECK_INT(try("dir", O_RDONLY), 0);
    CHECK_INT(try("none", O_RDONLY), -ENOENT);
}

TEST(links_do_not_open)
{
    pool_make();
    pool_fill("file", 'x', 10, 0);
    CHECK(symlink("file", "near") == 0 && symlink("/etc/passwd", "far") == 0 &&
          symlink("nowhere", "lost") == 0 && symlink("/proc/self/fd/0", "magic") == 0 &&
          symlink("loop", "loop") == 0);
    CHECK_INT(try("near", O_RDONLY), -ELOOP);
    CHECK_INT(try("far", O_RDWR), -ELOOP);
    CHECK_INT(try("lost", O_RDONLY), -ELOOP);
    CHECK_INT(try("magic", O_RDONLY), -ELOOP);
    CHECK_INT(try("loop", O_RDONLY), -ELOOP);
}

TEST(what_is_no_file_does_not_open_and_nothing_waits)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    pool_make();
    alarm(10); /* a fifo without a writer would keep us for ever */
    CHECK(mkfifo("fifo", 0600) == 0 && bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK_INT(try("fifo", O_RDONLY), -ENXIO);
    CHECK_INT(try("fifo", O_RDWR), -ENXIO);
    CHECK_INT(try("socket", O_RDONLY), -ENXIO);
    if (mknod("null", S_IFCHR | 0600, 0x103) == 0)
        CHECK_INT(try("null", O_RDWR), -ENXIO);
    alarm(0);
    close(s);
}

TEST(names_that_are_paths_do_not_open)
{
    pool_make();
    CHECK(mkdir("dir", 0700) == 0);
    pool_fill("dir/file", 'x', 10, 0);
    CHECK_INT(try("dir/file", O_RDONLY), -EINVAL);
    CHECK_INT(try("..", O_RDONLY), -EINVAL);
    CHECK_INT(try(".", O_RDONLY), -EINVAL);
    CHECK_INT(try("", O_RDONLY), -EINVAL);
    CHECK_INT(try("/etc", O_RDONLY), -EINVAL);
}

TEST(a_second_name_of_anothers_file_is_not_written_to)
{
    pool_make();
    pool_fill("theirs", 'x', 10, 0);
    if (chown("theirs", geteuid() + 4711, (gid_t)-1) < 0)
        return; /* only root can play two users */
    CHECK_INT(try("theirs", O_RDWR), 0);
    CHECK(link("theirs", "second") == 0);
    CHECK_INT(try("second", O_RDWR), -EMLINK);
    CHECK_INT(try("theirs", O_RDWR), -EMLINK);
    CHECK_INT(try("second", O_RDONLY), 0);
    CHECK(chown("theirs", geteuid(), (gid_t)-1) == 0);
    CHECK_INT(try("second", O_RDWR), 0);
}

/* In a child: a file and a link out of the pool change places as fast as they can. */
static pid_t start_swapping(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            renameat2(AT_FDCWD, "good", AT_FDCWD, "evil", RENAME_EXCHANGE);
    return pid;
}

TEST(a_link_that_is_swapped_in_does_not_open)
{
    struct stat good, st;
    pid_t swapper;
    unsigned opened = 0, refused = 0;
    PlkPlace at;

    pool_make();
    pool_fill("good", 'x', 10, 0);
    CHECK(stat("good", &good) == 0 && symlink("/etc/passwd", "evil") == 0);
    at = pool_at("good");
    swapper = start_swapping();
    for (int i = 0; i < 20000; i++) {
        int fd = plk_place_open(&at, O_RDONLY);

        if (fd < 0) {
            refused++;
            continue;
        }
        opened++;
        if (fstat(fd, &st) < 0 || st.st_ino != good.st_ino)
            i = 1 << 30;
        close(fd);
    }
    kill(swapper, SIGKILL);
    waitpid(swapper, NULL, 0);
    CHECK(opened && refused);
    CHECK_INT(st.st_ino, good.st_ino);
}

TEST(a_path_is_joined_with_one_slash)
{
    char *path = plk_place_path(&(PlkPlace){.dir_path = "/pool", .name = "v"});

    CHECK_STR(path, "/pool/v");
    g_free(path);
    path = plk_place_path(&(PlkPlace){.dir_path = "/", .name = "v"});
    CHECK_STR(path, "/v");
    g_free(path);
}

TEST_MAIN()
