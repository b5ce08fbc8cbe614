/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who keeps a mount busy, by the names that /proc shows for what processes have open. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/mount.h"

/* The text of a link is the kernel's own: a file server that is dead is not asked. */
static bool leads_beneath(int dir, const char *link, const char *target)
{
    char path[PATH_MAX];
    ssize_t n = readlinkat(dir, link, path, sizeof path - 1);
    size_t length = strlen(target);

    if (n < (ssize_t)length)
        return false;
    path[n] = '\0';
    return memcmp(path, target, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool any_leads_beneath(int process, const char *dir_name, const char *target)
{
    int fd = openat(process, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool found = false;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while (!found && (entry = readdir(dir)))
        found = entry->d_name[0] != '.' && leads_beneath(fd, entry->d_name, target);
    closedir(dir);
    return found;
}

static bool uses(int process, const char *target)
{
    return leads_beneath(process, "cwd", target) || leads_beneath(process, "root", target) ||
           leads_beneath(process, "exe", target) || any_leads_beneath(process, "fd", target) ||
           any_leads_beneath(process, "map_files", target);
}

static void read_name(int process, char *ret, size_t size)
{
    PLK_CLOSE int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);

    ret[n < 0 ? 0 : n] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

pid_t plk_mount_user(const char *target, char *ret_name, size_t size)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    if (!proc)
        return 0;
    while (!found && (entry = readdir(proc))) {
        PLK_CLOSE int process = -1;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        process = openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process < 0 || !uses(process, target))
            continue;
        found = (pid_t)atoi(entry->d_name);
        read_name(process, ret_name, size);
    }
    closedir(proc);
    return found;
}
