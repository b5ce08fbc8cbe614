# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the programs of figures share: the table they print, and timing."""
import os, platform, statistics, subprocess, time

rows = []


def run(*argv, **kw):
    return subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **kw)


def timed(f):
    start = time.monotonic()
    f()
    return time.monotonic() - start


def row(name, ours, theirs, ratio, target, ok):
    rows.append((name, ours, theirs, ratio, target, "" if ok is None else "ok" if ok else "SHORT"))
    print("%-58s %12s %12s %8s  %-10s %s" % rows[-1], flush=True)


def ms(seconds):
    return "%.1f ms" % (seconds * 1e3) if seconds >= 1e-3 else "%.0f us" % (seconds * 1e6)


def pairs(rounds, ours, theirs):
    """[(ours, theirs)] in turns, after the caches have settled (sync outside the clock)."""
    got = []
    for i in range(rounds):
        os.sync()
        a = timed(ours) if i % 2 else None
        os.sync()
        b = timed(theirs)
        os.sync()
        got.append((a if a is not None else timed(ours), b))
    return got


def medians(got):
    return statistics.median(a for a, b in got), statistics.median(b for a, b in got)


def loop_mount(work, mkfs, size, name):
    image, where = os.path.join(work, name + ".img"), os.path.join(work, name)
    with open(image, "wb") as f:
        f.truncate(size)
    run(*mkfs, image)
    os.mkdir(where)
    run("mount", "-o", "loop", image, where)
    return where


def head():
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    mem = next(int(l.split()[1]) >> 20 for l in open("/proc/meminfo") if l.startswith("MemTotal"))
    print("machine: %s, %d cores, %d GiB, Linux %s" % (cpu, os.cpu_count(), mem, platform.release()))
    print("%-58s %12s %12s %8s  %-10s" % ("figure", "ours", "peer", "ratio", "target"), flush=True)


def tail():
    short = [r[0] for r in rows if r[5] == "SHORT"]
    print("%d figures, %d short of their target%s" % (len(rows), len(short), ": " + "; ".join(short) if short else ""))
