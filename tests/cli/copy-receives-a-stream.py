#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ploop copy` through a pipe: what 1.15 sends is received, what we send carries a checksum; a damaged stream leaves no
file."""
import os
import random
import struct
import subprocess
import tempfile

PLOOP = os.environ["PLOOP"]
MARK = 0x4CC0AC3D


def record(position, data=b"", size=None, mark=MARK):
    return struct.pack("<IIQ", mark, len(data) if size is None else size, position) + data


def receive(stream, target, *args, pass_fds=()):
    return subprocess.run([PLOOP, "copy", "-d", target, *args], input=stream, capture_output=True, pass_fds=pass_fds)


def says(name, ok):
    print(("ok " if ok else "FAILED ") + name)
    assert ok, name


with tempfile.TemporaryDirectory() as tmp:
    target = os.path.join(tmp, "copy")

    read_end, write_end = os.pipe()
    data = os.urandom(8192)
    done = receive(record(4096, data) + record(0, b"sync") + record(0), target, "-f", str(write_end), pass_fds=[write_end])
    os.close(write_end)
    says("data lands at its place", done.returncode == 0 and open(target, "rb").read() == bytes(4096) + data)
    says("a sync is answered", os.read(read_end, 100) == b"SUCCESS\n")
    says("the copy is for its owner alone", os.stat(target).st_mode & 0o777 == 0o600)
    says("an existing file stays", receive(record(0), target).returncode == 38 and os.path.getsize(target) == 12288)

    os.unlink(target)
    cases = {
        "a bad mark ends with 13": (record(0, b"x" * 512, mark=1), 13),
        "a huge record ends with 13": (record(0, b"", size=0xFFFFFFF0), 13),
        "a place beyond any file ends with 13": (record(2**64 - 256, b"x" * 512), 13),
        "an early end ends with 6": (record(0, b"x" * 512), 6),
        "half a record ends with 6": (record(0, b"x" * 512)[:100], 6),
    }
    for name, (stream, code) in cases.items():
        says(name, receive(stream, target).returncode == code)
        says(name + ", and leaves nothing", os.listdir(tmp) == [])

    with open(os.devnull, "rb") as null:
        rc = subprocess.run([PLOOP, "copy", "-d", target], stdin=null, capture_output=True).returncode
    says("a plain file as input is refused", rc == 38)

with tempfile.TemporaryDirectory() as tmp:
    image, target = os.path.join(tmp, "root.hds"), os.path.join(tmp, "copy")
    subprocess.run([PLOOP, "init", "-s", "32m", image], check=True, capture_output=True)
    wanted = open(image, "rb").read()
    kept = sorted(os.listdir(tmp))

    sent = subprocess.run([PLOOP, "copy", "-s", image], capture_output=True, check=True).stdout
    says("what we send we receive", receive(sent, target).returncode == 0 and open(target, "rb").read() == wanted)
    os.unlink(target)
    says("and verify", receive(sent, target, "--verify").returncode == 0 and open(target, "rb").read() == wanted)
    os.unlink(target)
    copied = subprocess.run([PLOOP, "copy", "-s", image, "-d", target, "--verify"], capture_output=True)
    says("a file is copied and verified", copied.returncode == 0 and open(target, "rb").read() == wanted)
    os.unlink(target)

    theirs = "/usr/sbin/ploop"
    if os.path.exists(theirs):
        subprocess.run([theirs, "copy", "-d", target], input=sent, capture_output=True, check=True)
        says("ploop 1.15 receives it too", open(target, "rb").read() == wanted)
        os.unlink(target)

    chance = random.Random(1)
    for at in [0, 5, 17, len(sent) - 36, len(sent) - 12] + [chance.randrange(len(sent) - 16) for _ in range(40)]:
        flipped = bytearray(sent)
        flipped[at] ^= 1 << chance.randrange(8)
        done = receive(bytes(flipped), target)
        if done.returncode == 0:  # the mark of the checksum was hit: then the data is right
            assert len(sent) - 20 <= at, at
            assert open(target, "rb").read() == wanted
            os.unlink(target)
        assert sorted(os.listdir(tmp)) == kept, at
    says("a flipped bit on the way is noticed, and leaves nothing", True)
