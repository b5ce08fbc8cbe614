#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ploopd under many clients for a long time.

    SECONDS=300 CLIENTS=200 soak.py

Mixed calls from all clients, a refresh loop, and peers that say a byte now and then. In the first half the daemon is left
alone, and its memory and descriptors are watched; in the second it is killed (-9) every 30 seconds and started again. Each
client writes down what was acknowledged to it: at the end all of that is there. Exit code 0, or a line for each fault.
"""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import libvirt

PLOOPD = os.path.abspath(os.environ.get("PLOOPD", "build/src/daemon/ploopd"))
SECONDS = int(os.environ.get("SECONDS", 300))
CLIENTS = int(os.environ.get("CLIENTS", 200))
THREADS = 20  # clients of one process: Python's lock is held for moments, but by one at a time
EVERY = 30
SIZE = 64 << 10
SLOW = 20
libvirt.registerErrorHandler(lambda ctx, err: None, None)


class Client(threading.Thread):
    """Its volume is nobody else's; `held` are the letters it may hold: what was acknowledged, and what was tried since."""

    def __init__(self, uri, name, end):
        super().__init__()
        self.uri, self.name, self.end = uri, name, end
        self.random = random.Random(name)
        self.exists, self.held, self.acked, self.faults = False, {b"\0"}, 0, []
        self.unsure = False  # whether it exists: the answer to the last create or delete was lost

    def connect(self):
        self.conn = libvirt.open(self.uri)
        self.pool = self.conn.storagePoolLookupByName("p")

    def create(self):
        xml = ("<volume><name>%s</name><capacity>%d</capacity><allocation>0</allocation><target><format type='raw'/></target>"
               "</volume>" % (self.name, SIZE))
        self.unsure, self.held = True, {b"\0"}
        self.pool.createXML(xml, 0)
        self.unsure, self.exists = False, True

    def delete(self):
        self.unsure = True
        self.pool.storageVolLookupByName(self.name).delete(0)
        self.unsure, self.exists = False, False

    def upload(self):
        letter = bytes([self.random.randrange(97, 123)])
        self.held.add(letter)
        stream = self.conn.newStream(0)
        self.pool.storageVolLookupByName(self.name).upload(stream, 0, SIZE, 0)
        stream.send(letter * SIZE)
        stream.finish()
        self.held = {letter}

    def download(self):
        stream = self.conn.newStream(0)
        self.pool.storageVolLookupByName(self.name).download(stream, 0, 0, 0)
        got = b""
        while True:
            piece = stream.recv(SIZE)
            if not piece:
                break
            got += piece
        stream.finish()
        if len(got) != SIZE or len(set(got)) != 1 or got[:1] not in self.held:
            self.faults.append("%s holds %r, not one of %r" % (self.name, set(got), self.held))

    def look(self):
        names = {volume.name() for volume in self.pool.listAllVolumes()}
        if not self.unsure and (self.name in names) != self.exists:
            self.faults.append("%s is %slisted" % (self.name, "" if self.name in names else "not "))
        self.pool.info()

    def settle(self):
        """After a lost answer: what is the case now."""
        if self.unsure:
            self.exists = self.name in {volume.name() for volume in self.pool.listAllVolumes()}
            self.unsure = False

    def step(self):
        self.settle()
        if not self.exists:
            return self.create()
        return self.random.choice([self.upload, self.upload, self.download, self.look, self.look, self.delete])()

    def run(self):
        connected = False
        while time.time() < self.end:
            try:
                if not connected:
                    self.connect()
                    connected = True
                self.step()
                self.acked += 1
            except libvirt.libvirtError as e:
                # The daemon was killed, or an upload that was cut off is still unsettled: 38, 39, 1 and 55.
                connected = connected and e.get_error_code() not in (1, 38, 39)
                time.sleep(0.05)


def clients(uri, number, end, pipe):
    """A process of THREADS clients; tells (acked, fault...) over the pipe."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    all_of_them = [Client(uri, "c-%d-%d" % (number, i), end) for i in range(THREADS)]
    for client in all_of_them:
        client.start()
    for client in all_of_them:
        client.join()
    final = libvirt.open(uri).storagePoolLookupByName("p")
    names = {volume.name() for volume in final.listAllVolumes()}
    for client in all_of_them:
        if not client.unsure and (client.name in names) != client.exists:
            client.faults.append("at the end %s is %sthere" % (client.name, "" if client.name in names else "not "))
    with os.fdopen(pipe, "w") as out:
        out.write("%d\n" % sum(client.acked for client in all_of_them))
        out.write("".join(fault + "\n" for client in all_of_them for fault in client.faults))
    os._exit(0)


class Daemon:
    def __init__(self, base):
        self.base, self.socket = base, base + "/socket"
        self.start()

    def start(self):
        with open(self.base + "/ploopd.log", "ab") as log:
            self.process = subprocess.Popen([PLOOPD, "--foreground", "--socket", self.socket, "--state-dir", self.base + "/state"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(200):
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(self.socket)
                    return
            except OSError:
                time.sleep(0.05)
        sys.exit("ploopd does not start: " + open(self.base + "/ploopd.log").read())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def figures(self):
        """(KiB resident, descriptors)"""
        with open("/proc/%d/status" % self.process.pid) as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return rss, len(os.listdir("/proc/%d/fd" % self.process.pid))


def slow_peers(path, end):
    """A byte a second of a frame that never ends."""
    while time.time() < end:
        peers = []
        try:
            for _ in range(SLOW):
                peers.append(socket.socket(socket.AF_UNIX))
                peers[-1].connect(path)
            while time.time() < end:
                for peer in peers:
                    peer.send(b"\0")
                time.sleep(1)
        except OSError:
            time.sleep(0.2)
        for peer in peers:
            peer.close()


def refresh(uri, end):
    while time.time() < end:
        try:
            pool = libvirt.open(uri).storagePoolLookupByName("p")
            while time.time() < end:
                pool.refresh(0)
                time.sleep(0.2)
        except libvirt.libvirtError:
            time.sleep(0.2)


def main():
    base = tempfile.mkdtemp(prefix="ploopkit-soak.", dir="/tmp")
    os.mkdir(base + "/pool")
    os.mkdir(base + "/state")
    daemon = Daemon(base)
    uri = "storage:///system?socket=" + daemon.socket
    pool = libvirt.open(uri).storagePoolDefineXML(
        "<pool type='dir'><name>p</name><target><path>%s/pool</path></target></pool>" % base, 0)
    pool.create(0)
    begin, end = time.time(), time.time() + SECONDS
    pipes = []
    for number in range(max(1, CLIENTS // THREADS)):
        ours, theirs = os.pipe()
        if os.fork() == 0:
            clients(uri, number, end - 2, theirs)
        os.close(theirs)
        pipes.append(os.fdopen(ours))
    for target, arguments in ((slow_peers, (daemon.socket, end)), (refresh, (uri, end))):
        threading.Thread(target=target, args=arguments, daemon=True).start()

    samples, kills = [], 0
    while time.time() < begin + SECONDS / 2:
        time.sleep(1)
        if time.time() > begin + SECONDS / 6:
            samples.append((time.time(),) + daemon.figures())
    while time.time() < end - 5:
        time.sleep(min(EVERY, SECONDS / 8))
        if time.time() < end - 5:
            daemon.kill()
            kills += 1
    faults, acked = [], 0
    for pipe in pipes:
        lines = pipe.read().split("\n")
        acked += int(lines[0] or 0)
        faults += ["a process of clients died"] if not lines[0] else []
        faults += [line for line in lines[1:] if line]
    middle = len(samples) // 2
    early, late = samples[:middle], samples[middle:]
    grown = min(s[1] for s in late) - min(s[1] for s in early)
    print("%d clients, %d s: %d calls acknowledged, %d kills; resident %d KiB, grown by %d KiB in %d s; %d to %d descriptors"
          % (CLIENTS, SECONDS, acked, kills, samples[-1][1], grown, samples[-1][0] - samples[0][0],
             min(s[2] for s in samples), max(s[2] for s in samples)))
    # Arenas fill up for a while; in half an hour a leak of any call would be larger than this.
    if grown > 2048 + 1024 * SECONDS // 3600:
        faults.append("memory grew by %d KiB" % grown)
    if acked < SECONDS * 10:
        faults.append("only %d calls" % acked)
    daemon.process.terminate()
    if daemon.process.wait() != 0:
        faults.append("ploopd ended with %d" % daemon.process.returncode)
    shutil.rmtree(base)
    print("\n".join(faults) if faults else "ok nothing acknowledged was lost")
    sys.exit(bool(faults))


main()
