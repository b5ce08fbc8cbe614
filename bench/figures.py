#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""All figures of the ground floor, each as a ratio taken in this run, printed as one table.

usage: figures.py BUILD_DIR [WORK_DIR]

Ours and the peer take turns; the median ratio counts. "ratio" is as the target words it. Needs about 8 GiB in
WORK_DIR (default: a temporary directory in /var/tmp). Parts that need root say so when they cannot run.
"""
import os, shutil, statistics, subprocess, sys, tempfile

from table import head, loop_mount, medians, ms, pairs, row, run, tail, timed

build = os.path.abspath(sys.argv[1])
ploop = os.path.join(build, "src/cli/ploop/ploop")
here = os.path.dirname(os.path.abspath(__file__))


def engine(work):
    """The in-process comparisons of bench-engine."""
    limits = {
        "random 4 KiB reads, 1 MiB clusters": 0.9,
        "random 4 KiB reads, 32 KiB clusters": 0.9,
        "warm reads, 100 deltas beside 1": 0.9,
        "warm reads, 100 deltas beside bare pread of the same places": 0.9,
    }
    where = os.path.join(work, "engine")
    os.mkdir(where)
    out = subprocess.run([os.path.join(build, "bench/bench-engine"), where], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        name, ours, theirs, unit, ratio = line.split("\t")
        if name in limits:
            row(name, ours + " " + unit, theirs + " " + unit, ratio, ">= %.2f" % limits[name], float(ratio) >= limits[name])
        elif name.startswith("opening"):
            r = float(ours) / float(theirs)
            row(name, ours + " " + unit, theirs + " " + unit, "%.2f" % r, "<= 1.5", r <= 1.5)
        elif name.startswith("snapshot"):
            row(name, ours + " " + unit, "", "", "<= 50 ms", float(ours) <= 50)
        else:
            row(name, ours + " " + unit, theirs + " " + unit, "", "stated", None)
    shutil.rmtree(where)


def init(work):
    vol, raw = os.path.join(work, "init"), os.path.join(work, "init.raw")

    def ours():
        shutil.rmtree(vol, ignore_errors=True)
        os.mkdir(vol)
        run(ploop, "init", "-s", "1T", "-t", "ext4", vol + "/root.hds")

    def theirs():
        if os.path.exists(raw):
            os.unlink(raw)
        with open(raw, "wb") as f:
            f.truncate(1 << 40)
        run("/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-J", "size=128", "-i", "16384", "-E",
            "lazy_itable_init=1,resize=4294967295", raw)

    a, b = medians(pairs(3, ours, theirs))
    row("init of 1 TiB with ext4 beside mke2fs on a sparse file", ms(a), ms(b), "%.2f" % (a / b), "<= 2", a / b <= 2)
    shutil.rmtree(vol)
    os.unlink(raw)


def write_random(path, offset, length):
    block = os.urandom(1 << 20)
    with open(path, "r+b" if os.path.exists(path) else "wb") as f:
        f.seek(offset)
        for _ in range(length >> 20):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())


def volume_with_child(vol, mib):
    """Base and child both hold mib MiB, at the same place: the merge copies them all."""
    raw = vol + ".raw"
    shutil.rmtree(vol, ignore_errors=True)
    os.mkdir(vol)
    with open(raw, "wb") as f:
        f.truncate(mib << 20)
    write_random(raw, 0, mib << 20)
    run(ploop, "import", "--from", "raw", raw, vol + "/root.hds")
    run(ploop, "snapshot", vol + "/DiskDescriptor.xml")
    run(os.path.join(build, "bench/bench-fill"), vol + "/DiskDescriptor.xml", str(mib << 20))
    os.sync()
    return raw


def merge(work, name, mib, reflink):
    vol = os.path.join(work, "merge")
    ours, plain, durable = [], [], []
    for _ in range(3):
        raw = volume_with_child(vol, mib)
        ours.append(timed(lambda: run(ploop, "snapshot-merge", vol + "/DiskDescriptor.xml")))
        os.sync()
        plain.append(timed(lambda: run("cp", "--reflink=never", "--sparse=never", raw, raw + ".copy")))
        durable.append(plain[-1] + timed(lambda: run("sync", raw + ".copy")))
        os.unlink(raw + ".copy")
    a, b, c = (statistics.median(v) for v in (ours, plain, durable))
    if reflink:
        row(name, ms(a), ms(c), "%.3f" % (a / c), "<= 0.05", a / c <= 0.05)
    else:
        row(name + ", beside cp and fsync", ms(a), ms(c), "%.2f" % (c / a), ">= 0.8", c / a >= 0.8)
        row(name + ", beside cp left in the page cache", ms(a), ms(b), "%.2f" % (b / a), "stated", None)
    shutil.rmtree(vol)
    os.unlink(raw)


def merge_reflink(work):
    if os.geteuid() != 0:
        return row("merge with reflink on xfs", "", "", "", "<= 0.05", None)
    where = loop_mount(work, ["/usr/sbin/mkfs.xfs", "-q", "-m", "reflink=1"], 6 << 30, "xfs")
    try:
        merge(where, "merge of 1 GiB with reflink (xfs), beside cp --reflink=never", 1024, True)
    finally:
        run("umount", where)
        os.unlink(where + ".img")


def export(work):
    vol, flat, out = (os.path.join(work, n) for n in ("big", "flat.raw", "out.raw"))
    os.mkdir(vol)
    run(ploop, "init", "-s", "8T", "-t", "none", vol + "/root.hds")
    run(os.path.join(build, "bench/bench-fill"), vol + "/DiskDescriptor.xml", str(1536 << 20), "scatter")
    write_random(flat, 0, 1536 << 20)

    def ours():
        if os.path.exists(out):
            os.unlink(out)
        run(ploop, "export", "--to", "raw", vol + "/DiskDescriptor.xml", out)

    def theirs():
        run("cp", "--reflink=never", flat, flat + ".copy")
        run("sync", flat + ".copy")

    a, b = medians(pairs(3, ours, theirs))
    row("export of 8 TiB holding 1.5 GiB, beside cp and fsync of 1.5 GiB", ms(a), ms(b), "%.2f" % (a / b), "<= 1.2", a / b <= 1.2)
    shutil.rmtree(vol)
    for f in (flat, flat + ".copy", out):
        os.unlink(f)


def churn(work):
    name = "space overhead after churn in ext4 and a compaction"
    if os.geteuid() != 0:
        return row(name, "needs root", "", "", "<= 2 %", None)
    vol, where = os.path.join(work, "churn"), os.path.join(work, "mnt")
    os.mkdir(vol)
    os.mkdir(where)
    xml, hds = vol + "/DiskDescriptor.xml", vol + "/root.hds"
    run(ploop, "init", "-s", "4G", "-t", "ext4", hds)
    sectors, cluster = 4 << 21, 2048
    run(os.path.join(build, "bench/bench-with-view"), xml, str(cluster * 512), str((sectors - 2 * cluster) * 512),
        os.path.join(here, "churn.sh"), where, "12000")
    before = os.stat(hds).st_blocks * 512
    took = timed(lambda: run(ploop, "balloon", "discard", xml))
    after = os.stat(hds).st_blocks * 512
    # What the filesystem uses and nothing else, as e2image copies it: blocks in use, holes and zeros left out.
    flat, used_only = os.path.join(work, "churn.raw"), os.path.join(work, "churn.used")
    run(ploop, "export", "--to", "raw", xml, flat)
    run("/usr/sbin/e2image", "-r", "-a", "-o", str(cluster * 512), flat, used_only)
    used = os.stat(used_only).st_blocks * 512
    for f in (flat, used_only):
        os.unlink(f)
    over = after / used - 1
    row(name, "%d MiB" % (after >> 20), "%d MiB" % (used >> 20), "%.2f %%" % (over * 100), "<= 2 %", over <= 0.02)
    row("  (before it %d MiB; the file is %d MiB long; took %s)" % (before >> 20, os.stat(hds).st_size >> 20, ms(took)),
        "", "", "", "stated", None)
    shutil.rmtree(vol)


def main():
    base = sys.argv[2] if len(sys.argv) > 2 else "/var/tmp"
    work = tempfile.mkdtemp(prefix="ploopkit-bench-", dir=base)
    head()
    try:
        engine(work)
        init(work)
        merge(work, "merge of 1 GiB", 1024, False)
        merge_reflink(work)
        export(work)
        churn(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tail()


main()
