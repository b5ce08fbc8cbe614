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
                   STUB=os.path.join(build, "bench/wire-stub"))
        self.process = subprocess.Popen([os.path.join(here, "wire.sh"), large, many, str(MANY), str(GIB)], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.works = self.process.stdout.readline() == "ready\n"

    def ask(self, server, words):
        print(server, words, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

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
    servers.end()
    if own:
        shutil.rmtree(own)
    tail()


main()
