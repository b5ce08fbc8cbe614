/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a command while the first partition of a disk is shown as a file to it, at /proc/self/fd/N = $VIEW. The benchmark puts a
 * loop device on it and mounts that, to churn a real ext4.
 *
 *   with-view DiskDescriptor.xml OFFSET LENGTH COMMAND [ARG...]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "view/view.h"

static int run(const PlkView *view, char **argv)
{
    int fd = *plk_view_fd(view), status;
    pid_t pid = fork();

    if (pid == 0) {
        fcntl(fd, F_SETFD, 0);
        setenv("VIEW", plk_view_path(view), 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

int main(int argc, char **argv)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    PlkDisk *disk;
    PlkView *view;
    PlkError err;
    int status;

    if (argc < 5) {
        fprintf(stderr, "usage: with-view XML OFFSET LENGTH COMMAND...\n");
        return 2;
    }
    if (plk_disk_open(argv[1], &o, &disk, &err) < 0 ||
        plk_view_open(disk, strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0), true, &view, &err) < 0) {
        fprintf(stderr, "with-view: %s\n", err.message);
        return 1;
    }
    status = run(view, argv + 4);
    if (plk_view_close(view, &err) < 0 || plk_disk_close(disk, &err) < 0) {
        fprintf(stderr, "with-view: %s\n", err.message);
        return 1;
    }
    return status;
}
