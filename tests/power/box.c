/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The filesystem whose power can be cut; see box.h. */
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/run.h"

#define FS_SHUTDOWN _IOR('X', 125, uint32_t) /* ext4's and xfs's */
#define NO_LOG_FLUSH 2u

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "power: %s: %s\n", what, strerror(errno));
    exit(1);
}

bool box_allowed(void)
{
    /* Helpers of a killed writer come to us, to be waited for. */
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

/* Another may take the free device before us: then again. */
static int attach(int memory, char device[32])
{
    struct loop_config config = {.fd = (uint32_t)memory, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;

    for (int tries = 0; control >= 0 && tries < 50; tries++) {
        int n = ioctl(control, LOOP_CTL_GET_FREE);

        if (n < 0)
            break;
        snprintf(device, 32, "/dev/loop%d", n);
        fd = open(device, O_RDWR | O_CLOEXEC);
        if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            break;
        close(fd);
        fd = -1;
    }
    if (control >= 0)
        close(control);
    return fd;
}

static int make_filesystem(const Box *b)
{
    const char *ext4[] = {"-q", "-F", "-t", "ext4", "-J", "size=4", b->device, NULL};
    const char *xfs[] = {"-q", "-f", b->device, NULL};
    bool is_xfs = strcmp(b->fs, "xfs") == 0;
    PlkRun run = {.program = is_xfs ? "mkfs.xfs" : "mke2fs", .args = is_xfs ? xfs : ext4};
    PlkError err;

    if (plk_run_checked(&run, PLK_ERROR_HELPER, &err) == 0)
        return 0;
    fprintf(stderr, "power: %s\n", err.message);
    errno = ENOENT;
    return -1;
}

static int mount_box(const Box *b)
{
    return mount(b->device, b->where, b->fs, MS_NOATIME | MS_NODEV | MS_NOSUID, b->options);
}

static void unmount(const Box *b)
{
    for (int tries = 0; umount2(b->where, 0) < 0; tries++) {
        if (errno != EBUSY || tries == 1000)
            die("unmount");
        usleep(1000);
    }
}

bool box_make(Box *b, const char *fs, const char *options)
{
    *b = (Box){.fs = fs, .options = options, .loop = -1, .where = "/tmp/plk-power-XXXXXX"};
    b->memory = memfd_create("power", MFD_CLOEXEC);
    if (b->memory < 0 || ftruncate(b->memory, (strcmp(fs, "xfs") == 0 ? 320l : 96l) << 20) < 0)
        return false;
    b->loop = attach(b->memory, b->device);
    if (b->loop < 0 || make_filesystem(b) < 0 || !mkdtemp(b->where))
        return false;
    if (mount_box(b) == 0)
        return true;
    rmdir(b->where);
    return false;
}

void box_renew(Box *b, const char *options)
{
    unmount(b);
    b->options = options;
    if (make_filesystem(b) < 0 || mount_box(b) < 0)
        die("renew");
}

/* Is a member of this group neither stopped, nor dead, nor waiting for one that is? */
static bool group_runs(pid_t group)
{
    DIR *proc = opendir("/proc");
    bool runs = false;

    for (struct dirent *e; proc && !runs && (e = readdir(proc));) {
        char path[300], text[512], state, *after;
        int its_group = 0;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        after = f && fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
        if (after && sscanf(after, ") %c %*d %d", &state, &its_group) == 2)
            runs = its_group == group && !strchr("TtZX", state);
        if (f)
            fclose(f);
    }
    if (proc)
        closedir(proc);
    return runs;
}

static void freeze(pid_t writer, bool helpers)
{
    int status;

    kill(-writer, SIGSTOP);
    if (waitpid(writer, &status, WUNTRACED) != writer || !WIFSTOPPED(status)) {
        fprintf(stderr, "power: the writer ended by itself, status %x\n", (unsigned)status);
        exit(1);
    }
    /* One that waits for a view whose server is stopped will not stop, and can do nothing either. */
    for (int tries = 0; helpers && tries < 200 && group_runs(writer); tries++)
        usleep(1000);
}

/*
 * What the kernel has cached of the device goes with the power too. An open device keeps it past the unmounting, and
 * ext4 then finds bitmaps that the cut should have taken, does not trust them, and fails or hands out blocks twice.
 */
static void forget_device(Box *b)
{
    close(b->loop);
    b->loop = attach(b->memory, b->device);
    if (b->loop < 0)
        die("loop device");
}

void box_cut(Box *b, pid_t writer, bool helpers)
{
    uint32_t how = NO_LOG_FLUSH;
    int root = open(b->where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    freeze(writer, helpers);
    if (root < 0 || ioctl(root, FS_SHUTDOWN, &how) < 0)
        die("shutdown");
    close(root);
    kill(-writer, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    unmount(b);
    forget_device(b);
    if (mount_box(b) < 0)
        die("mount after the cut");
}

void box_end(Box *b)
{
    unmount(b);
    rmdir(b->where);
    close(b->loop);
    close(b->memory);
}
