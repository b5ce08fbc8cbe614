#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What virsh takes at ploopd, at a private libvirtd and at a server that does nothing, on the same files, in turns.

usage: wire.py BUILD_DIR [WORK_DIR]

The stub (bench/wire-stub.c) is virsh's own limit: "ratio" is its time by ploopd's, and what libvirtd takes stands beside. An upload
is shown twice: to a disk, where ploopd has synced it before it says so and libvirtd has not, and to a tmpfs, which holds nobody
up. Needs 8 GiB in WORK_DIR (default: a temporary directory in /var/tmp) and 8 GiB of memory.
"""
import os, shutil, statistics, subprocess, sys, tempfile

from table import head, ms, row, tail

build = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
ploop = os.path.join(build, "src/cli/ploop/ploop")
MANY = 10000
SOME = 2300
CROWDED = 100000
GIB = 1 << 30
MIB = 1 << 20
DATA = 1536 * MIB # of the sparse volume, and of the one that is nothing else
SPARSE = 8 << 40
ROUNDS = 5


class Servers:
    def __init__(self, work):
        env = dict(os.environ, PLOOP=ploop, PLOOPD=os.path.join(build, "src/daemon/ploopd"),
                   PLOOPCTL=os.path.join(build, "src/cli/ploopctl/ploopctl"),
                   STUB=os.path.join(build, "bench/wire-stub"), CLIENTS=os.path.join(build, "bench/clients"))
        self.process = subprocess.Popen([os.path.join(here, "wire.sh"), work, str(MANY), str(GIB)], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.works = self.process.stdout.readline() == "ready\n"

    def ask(self, server, words):
        print(server, words, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def raw(self, server, words):
        """The numbers of bench/clients.c; none when it could not do that at this server."""
        print(server, "raw", words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        try:
            return [float(number) for number in answer.split()]
        except ValueError:
            print("%s: %s: %s" % (server, words, answer.strip()))
            return []

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(servers, name, words, stub_words=None, target=0.9):
    got = {"libvirtd": [], "ploopd": [], "stub": []}
    for i in range(ROUNDS):
        for server in (list(got) if i % 2 else reversed(list(got))):
            got[server].append(servers.ask(server, (stub_words or words) if server == "stub" else words))
    middle = {server: statistics.median(all_) for server, all_ in got.items()}
    ratio = middle["stub"] / middle["ploopd"]
    row(name, ms(middle["ploopd"]), ms(middle["stub"]), "%.2f" % ratio, ">= %.1f" % target if target else "stated",
        ratio >= target if target else None)
    row("  beside libvirtd", ms(middle["ploopd"]), ms(middle["libvirtd"]), "%.2f" % (middle["libvirtd"] / middle["ploopd"]), "stated",
        None)


def rates(servers, name, words, least=None, most_ms=None):
    """Answers a second and their p99, of ploopd and libvirtd in turns."""
    got = {"libvirtd": [], "ploopd": []}
    for i in range(ROUNDS):
        for server in (list(got) if i % 2 else reversed(list(got))):
            numbers = servers.raw(server, words)
            if numbers:
                got[server].append(numbers)
    rate, slow = ([statistics.median(n[i] for n in got["ploopd"]) for i in (0, 1)])
    theirs = [statistics.median(n[i] for n in got["libvirtd"]) for i in (0, 1)] if got["libvirtd"] else [0, 0]
    row(name, "%.0f/s" % rate, "%.0f/s" % theirs[0], "%.2f" % (rate / theirs[0]) if theirs[0] else "-",
        ">= %d/s" % least if least else "stated", rate >= least if least else None)
    row("  of 100 answers 99 came within", ms(slow / 1e3), ms(theirs[1] / 1e3), "%.2f" % (theirs[1] / slow),
        "< %d ms" % most_ms if most_ms else "stated", slow < most_ms if most_ms else None)


def idle(servers, clients=4900):
    seconds, mib = servers.raw("ploopd", "idle %d" % clients)
    theirs = servers.raw("libvirtd", "idle %d" % clients) or [0, 0]
    row("%d idle clients are connected in" % clients, ms(seconds), ms(theirs[0]), "%.2f" % (theirs[0] / seconds), "< 5 s", seconds < 5)
    row("  memory of the daemon then", "%.0f MiB" % mib, "%.0f MiB" % theirs[1], "%.2f" % (theirs[1] / mib), "<= 100 MiB", mib <= 100)


def at_most(servers, name, words, seconds, rounds=ROUNDS):
    """Of ploopd; libvirtd beside it where it has the same command."""
    got = {"ploopd": []} if words.startswith("ctl ") else {"ploopd": [], "libvirtd": []}
    for _ in range(rounds):
        for server, times in got.items():
            times.append(servers.ask(server, words))
    ours, theirs = statistics.median(got["ploopd"]), statistics.median(got.get("libvirtd", [0]))
    row(name, ms(ours), ms(theirs) if theirs else "-", "%.2f" % (theirs / ours) if theirs else "-", "< %s s" % seconds, ours < seconds)


def sparse(servers, name, words):
    """The same bytes, once in a volume that is nothing else and once spread over one of 8 TiB."""
    got = {"dense": [], "sparse": []}
    for i in range(ROUNDS):
        for which in (list(got) if i % 2 else reversed(list(got))):
            got[which].append(servers.ask("ploopd", words % ((which,) * 2)))
    middle = {which: statistics.median(times) for which, times in got.items()}
    row(name, ms(middle["sparse"]), ms(middle["dense"]), "%.2f" % (middle["dense"] / middle["sparse"]), ">= 0.77",
        middle["sparse"] <= 1.3 * middle["dense"])


def fill(path, size, data):
    """`data` bytes of noise in pieces of 1 MiB, evenly over `size`."""
    piece = os.urandom(MIB)
    with open(path, "wb") as f:
        f.truncate(size)
        for i in range(data // MIB):
            f.seek(i * (size // (data // MIB)))
            f.write(piece)


def crowd(directory, n):
    for i in range(n):
        with open(os.path.join(directory, "v%06d" % i), "wb") as f:
            f.truncate(MIB)


def main():
    work = sys.argv[2] if len(sys.argv) > 2 else None
    own = None if work else tempfile.mkdtemp(prefix="ploopkit-bench.", dir="/var/tmp")
    work = work or own
    large, many, some, crowded, memory = (os.path.join(work, pool) for pool in ("large", "many", "some", "crowded", "memory"))
    for directory in (large, many, some, crowded, memory):
        os.mkdir(directory)
    fill(os.path.join(large, "v000000"), GIB, GIB)
    shutil.copy(os.path.join(large, "v000000"), os.path.join(large, "target"))
    fill(os.path.join(large, "dense"), DATA, DATA)
    fill(os.path.join(large, "sparse"), SPARSE, DATA)
    crowd(many, MANY)
    crowd(some, SOME)
    crowd(crowded, CROWDED)
    os.sync()
    head()
    servers = Servers(work)
    if not servers.works:
        print("left out: no private libvirtd here")
        return
    compare(servers, "vol-download of 1 GiB, by the stub's time", "vol-download v000000 /dev/null large")
    compare(servers, "vol-upload of 1 GiB", "vol-upload target %s/v000000 memory" % large)
    compare(servers, "vol-upload of 1 GiB to a disk", "vol-upload target %s/v000000 large" % large, target=None)
    sparse(servers, "download of 1.5 GiB in 8 TiB, by 1.5 GiB alone", "vol-download --sparse %%s %s/%%s.out large" % memory)
    sparse(servers, "upload of 1.5 GiB in 8 TiB, by 1.5 GiB alone", "vol-upload --sparse %%s %s/%%s memory" % large)
    compare(servers, "vol-list of 10 k volumes", "vol-list many")
    compare(servers, "vol-list --details of 10 k volumes", "vol-list many --details")
    at_most(servers, "ploopctl vol list of 10 k volumes", "ctl vol list many", 0.1)
    at_most(servers, "vol-list of 2,300 volumes by 50 at once", "crowd 50 vol-list some", 10, 1)
    rates(servers, "lookups of one volume, one client", "lookup 1 3 many", least=20000)
    rates(servers, "lookups of one volume, 200 clients", "lookup 200 3 many", least=15000, most_ms=100)
    rates(servers, "raw volumes of 4 KiB made and synced, one client", "create 1 3 large", least=330)
    rates(servers, "raw volumes of 4 KiB made and synced, 200 clients", "create 200 3 large")
    rates(servers, "info of a volume while 100 k are refreshed", "info 1 5 crowded", most_ms=20)
    idle(servers)
    servers.end()
    if own:
        shutil.rmtree(own)
    tail()


main()
