# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames by hand, for tests that say what no library would: docs/protocol/frames.md."""
import socket
import struct

REMOTE, KEEPALIVE = 0x20008086, 0x6b656570
CALL, REPLY, EVENT, STREAM, CALL_WITH_FDS, REPLY_WITH_FDS, HOLE = range(7)
OK, ERROR, CONTINUE = range(3)
OPEN, CLOSE, CAPABILITIES, FEATURE, AUTH_LIST = 1, 2, 7, 60, 66
DEFINE_XML, POOL_CREATE, LOOKUP_POOL, VOL_CREATE, VOL_LOOKUP, UPLOAD, DOWNLOAD, LIST_POOLS = 77, 78, 84, 93, 95, 208, 209, 281


def text(value):
    data = value.encode()
    return struct.pack('>I', len(data)) + data + bytes(-len(data) % 4)


def word(value):
    return struct.pack('>I', value & 0xffffffff)


def frame(procedure, payload=b'', kind=CALL, serial=1, status=OK, program=REMOTE, version=1, length=None):
    head = struct.pack('>IIiIII', program, version, procedure, kind, serial, status)
    return struct.pack('>I', 4 + len(head) + len(payload) if length is None else length) + head + payload


class Peer:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.serial = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self, n):
        """n bytes, or b'' when the other end has closed."""
        got = b''
        while len(got) < n:
            try:
                piece = self.socket.recv(n - len(got))
            except ConnectionError:
                return b''
            if not piece:
                return b''
            got += piece
        return got

    def receive(self):
        """(head, payload) of the next frame; None when the connection has ended."""
        length = self.read(4)
        if not length:
            return None
        rest = self.read(struct.unpack('>I', length)[0] - 4)
        return (struct.unpack('>IIiIII', rest[:24]), rest[24:]) if rest else None

    def call(self, procedure, payload=b'', **how):
        """(status, payload) of its reply; None when the connection has ended."""
        self.serial += 1
        self.send(frame(procedure, payload, serial=self.serial, **how))
        return self.answer(self.serial)

    def answer(self, serial):
        while True:
            got = self.receive()
            if got is None:
                return None
            head, payload = got
            if head[3] in (REPLY, STREAM) and head[4] == serial:
                return head[5], payload

    def open(self, flags=0):
        self.call(AUTH_LIST)
        return self.call(OPEN, word(1) + text('storage:///system') + word(flags))

    def closed(self):
        """Whether the other end has closed, now or within the timeout."""
        try:
            while self.receive() is not None:
                pass
            return True
        except socket.timeout:
            return False


def error_code(payload):
    return struct.unpack('>i', payload[:4])[0]
