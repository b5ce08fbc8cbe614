#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ploop copy -d FILE` receives what `ploop copy -s DEVICE` of 1.15 sends; a damaged stream leaves no file."""
import os
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
