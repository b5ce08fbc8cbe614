#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What virsh takes at ploopd, at a private libvirtd and at a server that does nothing, on the same files, in turns.

usage: wire.py BUILD_DIR [WORK_DIR]

The stub (bench/wire-stub.c) is virsh's own limit: "ratio" is its time by ploopd's, and what libvirtd takes stands beside. Needs
4 GiB in WORK_DIR (default: a temporary directory in /var/tmp).
"""
import os, shutil, statistics, subprocess, sys, tempfile

from table import head, ms, row, tail

build = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
ploop = os.path.join(build, "src/cli/ploop/ploop")
MANY = 10000
GIB = 1 << 30
ROUNDS = 5


class Servers:
    def __init__(self, large, many):
        env = dict(os.environ, PLOOP=ploop, PLOOPD=os.path.join(build, "src/daemon/ploopd"),
                   STUB=os.path.join(build, "bench/wire-stub"), CLIENTS=os.path.join(build, "bench/clients"))
        self.process = subprocess.Popen([os.path.join(here, "wire.sh"), large, many, str(MANY), str(GIB)], env=env,
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
    row(name, ms(middle["ploopd"]), ms(middle["stub"]), "%.2f" % ratio, ">= %.1f" % target, ratio >= target)
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


def main():
    work = sys.argv[2] if len(sys.argv) > 2 else None
    own = None if work else tempfile.mkdtemp(prefix="ploopkit-bench.", dir="/var/tmp")
    work = work or own
    large, many = os.path.join(work, "large"), os.path.join(work, "many")
    os.mkdir(large)
    os.mkdir(many)
    piece = os.urandom(1 << 20)
    with open(os.path.join(large, "v000000"), "wb") as data:
        for _ in range(GIB >> 20):
            data.write(piece)
    shutil.copy(os.path.join(large, "v000000"), os.path.join(large, "target"))
    for i in range(MANY):
        with open(os.path.join(many, "v%06d" % i), "wb") as f:
            f.truncate(1 << 20)
    os.sync()
    head()
    servers = Servers(large, many)
    if not servers.works:
        print("left out: no private libvirtd here")
        return
    compare(servers, "vol-download of 1 GiB, by the stub's time", "vol-download v000000 /dev/null large")
    compare(servers, "vol-upload of 1 GiB", "vol-upload target %s large" % os.path.join(large, "v000000"))
    compare(servers, "vol-list of 10 k volumes", "vol-list many")
    compare(servers, "vol-list --details of 10 k volumes", "vol-list many --details")
    rates(servers, "lookups of one volume, one client", "lookup 1 3 many", least=20000)
    rates(servers, "lookups of one volume, 200 clients", "lookup 200 3 many", least=15000, most_ms=100)
    rates(servers, "raw volumes of 4 KiB made and synced, one client", "create 1 3 large", least=330)
    rates(servers, "raw volumes of 4 KiB made and synced, 200 clients", "create 200 3 large")
    idle(servers)
    servers.end()
    if own:
        shutil.rmtree(own)
    tail()


main()
