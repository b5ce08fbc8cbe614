#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""All figures of pools and volumes, each as a ratio taken in this run, printed as one table.

usage: pools.py BUILD_DIR [WORK_DIR]

Ours and its peer take turns on the same files: the floor (bench/floor.c, the same system calls and nothing else), a private
libvirtd (bench/libvirtd.sh), cp, `ploop init`. Needs about 8 GiB in WORK_DIR (default: a temporary directory in /var/tmp).
Parts that need root, or libvirtd, say so when they cannot run.
"""
import os, shutil, statistics, subprocess, sys, tempfile

from table import head, loop_mount, medians, ms, row, run, tail, timed

build = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
ploop = os.path.join(build, "src/cli/ploop/ploop")
CLONE_MIB = 1536  # of data in the disk of 10 GiB: as much as small machines have room for, several times over


def bench(*argv):
    """The numbers that bench-pools answers with."""
    out = subprocess.run([os.path.join(build, "bench/bench-pools"), *map(str, argv)], check=True, stdout=subprocess.PIPE, text=True)
    return [float(x) for x in out.stdout.split()]


class Libvirtd:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(here, "libvirtd.sh")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=dict(os.environ, PLOOP=ploop))
        self.works = self.process.stdout.readline() == "ready\n"

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("libvirtd: no answer to '%s'" % " ".join(words))
        return float(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def fill(work, source, n, name):
    where = os.path.join(work, name)
    os.mkdir(where)
    bench("fill", source, where, n)
    os.sync()
    return where


def refresh(work, source, libvirtd):
    where = fill(work, source, 10000, "10k")
    first, first_floor, first_ratio, again, again_floor, again_ratio = bench("refresh", where, 9)
    row("refresh of 10 k ploop volumes, empty index, beside floor", ms(first), ms(first_floor), "%.2f" % first_ratio,
        "<= 1.5", first_ratio <= 1.5)
    row("  unchanged, beside its floor of statx", ms(again), ms(again_floor), "%.2f" % again_ratio, "<= 1.3", again_ratio <= 1.3)
    if libvirtd.works:
        libvirtd.ask("pool", where)
        a, b = medians([(bench("first", where)[0], libvirtd.ask("refresh")) for _ in range(5)])
        libvirtd.ask("drop")
        row("  empty index, beside pool-refresh of libvirtd", ms(a), ms(b), "%.2f" % (b / a), ">= 2.5", b / a >= 2.5)
    else:
        row("  empty index, beside pool-refresh of libvirtd", "", "no libvirtd", "", ">= 2.5", None)
    shutil.rmtree(where)


def forget(image):
    """What the kernel has in memory of an image that is not mounted."""
    fd = os.open(image, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def refresh_cold(work, source, libvirtd):
    """A filesystem of its own that is mounted anew before each, so that nobody else's caches go."""
    name = "refresh of 10 k ploop volumes, nothing cached"
    if os.geteuid() != 0:
        return row(name, "needs root", "", "", "stated", None)
    where = loop_mount(work, ["/usr/sbin/mkfs.ext4", "-q", "-N", "40000"], 1 << 30, "cold")
    image = where + ".img"
    bench("fill", source, where, 10000)
    run("umount", where)

    def cold(*argv):
        forget(image)
        run("mount", "-o", "loop", image, where)
        try:
            return bench(*argv)[0]
        finally:
            run("umount", where)

    a, b = medians([(cold("first", where), cold("floor", where)) for _ in range(3)])
    row(name + ", beside floor", ms(a), ms(b), "%.2f" % (a / b), "stated", None)
    if libvirtd.works:
        got = []
        for _ in range(3):
            ours = cold("first", where)
            forget(image)
            got.append((ours, libvirtd.ask("cold", image)))
        a, b = medians(got)
        row("  beside pool-refresh of libvirtd", ms(a), ms(b), "%.2f" % (b / a), "stated", None)
    os.unlink(image)
    os.rmdir(where)


def large(work, source, libvirtd):
    where = fill(work, source, 100000, "100k")
    took, resident, most, good = bench("memory", where)
    assert good == 100000
    row("refresh of 100 k ploop volumes, unchanged", ms(took), "", "", "<= 1 s", took <= 1)
    row("  memory of the process, at most", "%d MiB" % (int(most) >> 20), "", "", "<= 150 MiB", most <= 150 << 20)
    lookup(work, source, where)
    p99, worst, pool_p99, pool_worst = bench("info", where)
    theirs = ms(libvirtd.ask("large", where)) if libvirtd.works else "no libvirtd"
    row("info of a volume while 100 k are refreshed, p99", ms(p99), theirs, "", "< 20 ms", p99 < 0.020)
    row("  slowest (libvirtd: one vol-info that met a refresh)", ms(worst), "", "", "stated", None)
    row("  info of the pool, p99", ms(pool_p99), "", "", "< 20 ms", pool_p99 < 0.020)
    shutil.rmtree(where)


def lookup(work, source, where):
    few = fill(work, source, 10, "few")
    for n, pool in (("10", few), ("100 k", where)):
        p98, median = bench("lookup", pool, source)
        row("lookup of a volume just put into a pool of %s, p98" % n, ms(p98), "", "", "< 1 ms", p98 < 0.001)
        row("  median", ms(median), "", "", "stated", None)
    shutil.rmtree(few)


def make_source(where):
    vol = os.path.join(where, "from")
    os.mkdir(vol)
    run(ploop, "init", "-s", "10G", "-t", "none", vol + "/root.hds")
    run(os.path.join(build, "bench/bench-fill"), vol + "/DiskDescriptor.xml", str(CLONE_MIB << 20))
    os.sync()
    return vol


def clone(work):
    where = os.path.join(work, "clone")
    os.mkdir(where)
    vol, to, copy = make_source(where), os.path.join(where, "to"), os.path.join(work, "copy")
    ours, plain, durable = [], [], []

    def theirs():
        plain.append(timed(lambda: run("cp", "-r", "--sparse=always", "--reflink=never", vol, copy)))
        durable.append(plain[-1] + timed(lambda: run("sync", copy + "/root.hds")))
        shutil.rmtree(copy)

    def mine():
        ours.append(bench("clone", where, "from", "to", "copy")[0])
        shutil.rmtree(to)

    for i in range(7):
        for make in (mine, theirs) if i % 2 else (theirs, mine):
            os.sync()
            make()
    a, b, c = (statistics.median(v) for v in (ours, plain, durable))
    row("clone of 10 GiB holding %.1f GiB, beside cp --sparse and sync" % (CLONE_MIB / 1024), ms(a), ms(c), "%.2f" % (a / c),
        "<= 1.1", a / c <= 1.1)
    row("  beside cp that leaves it in the page cache", ms(a), ms(b), "%.2f" % (a / b), "stated", None)
    shutil.rmtree(where)


def clone_reflink(work):
    name = "clone of 10 GiB with reflink (xfs)"
    if os.geteuid() != 0:
        return row(name, "needs root", "", "", "<= 50 ms", None)
    where = loop_mount(work, ["/usr/sbin/mkfs.xfs", "-q", "-m", "reflink=1"], 4 << 30, "xfs")
    try:
        make_source(where)
        took = []
        for _ in range(5):
            took.append(bench("clone", where, "from", "to", "reflink")[0])
            shutil.rmtree(where + "/to")
            os.sync()
        a = statistics.median(took)
        row(name, ms(a), "", "", "<= 50 ms", a <= 0.050)
    finally:
        run("umount", where)
        os.unlink(where + ".img")


def create(work):
    where, vol = os.path.join(work, "create"), os.path.join(work, "init")
    os.mkdir(where)
    got = {"ours": [], "theirs": []}

    def theirs():
        os.mkdir(vol)
        got["theirs"].append(timed(lambda: run(ploop, "init", "-s", "100G", "-t", "ext4", vol + "/root.hds")))

    def ours():
        got["ours"].append(bench("create", where, "v", 100 << 30)[0])

    for i in range(20):
        for make in (ours, theirs) if i % 2 else (theirs, ours):
            os.sync()
            make()
        shutil.rmtree(where + "/v")
        shutil.rmtree(vol)
    a, b = (statistics.median(got[who]) for who in ("ours", "theirs"))
    row("create of 100 GiB ploop with ext4, beside ploop init", ms(a), ms(b), "%.2f" % (a / b), "<= 1.2", a / b <= 1.2)
    shutil.rmtree(where)


def main():
    base = sys.argv[2] if len(sys.argv) > 2 else "/var/tmp"
    work = tempfile.mkdtemp(prefix="ploopkit-bench-", dir=base)
    source = os.path.join(work, "source")
    head()
    libvirtd = Libvirtd()
    try:
        os.mkdir(source)
        run(ploop, "init", "-s", "100M", "-t", "none", source + "/root.hds")
        refresh(work, source, libvirtd)
        refresh_cold(work, source, libvirtd)
        large(work, source, libvirtd)
        clone(work)
        clone_reflink(work)
        create(work)
    finally:
        libvirtd.end()
        shutil.rmtree(work, ignore_errors=True)
    tail()


main()
