#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ploopd among peers that break the rules, stay silent, or die: attacks 25 to 30, and what others notice of it."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
from behaviour import behaviour, check, main  # noqa: E402
from wire import *  # noqa: E402,F403

PLOOPD = os.path.abspath(os.environ.get('PLOOPD', 'build/src/daemon/ploopd'))
POOL = text('p') + bytes(16)
VOLUME = text('p') + text('v') + text('/p/v')
MIB = 1 << 20
# Every procedure that changes something, with arguments of the right shape.
CHANGES = {
    75: text('dir') + word(0) + word(0), 76: text('<pool/>') + word(0), 77: text('<pool/>') + word(0), 78: POOL + word(0),
    79: POOL + word(0), 80: POOL, 81: POOL + word(0), 82: POOL, 83: POOL + word(0), 90: POOL + word(1),
    93: POOL + text('<volume/>') + word(0), 94: VOLUME + word(0), 125: POOL + text('<volume/>') + VOLUME + word(0),
    165: VOLUME + word(0), 208: VOLUME + struct.pack('>QQI', 0, 0, 0), 209: VOLUME + struct.pack('>QQI', 0, 0, 0),
    259: VOLUME + word(0) + word(0), 260: VOLUME + struct.pack('>QI', 0, 0), 419: word(0) + word(0),
}


class Daemon:
    def __init__(self, *options):
        self.socket = os.path.abspath('socket')
        self.options = options
        self.start()

    def start(self):
        with open('ploopd.log', 'ab') as log:
            self.process = subprocess.Popen(
                [PLOOPD, '--foreground', '--socket', self.socket, '--state-dir', os.path.abspath('state'), *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(200):
            try:
                Peer(self.socket).socket.close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(open('ploopd.log').read())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        code = self.process.wait(20)
        check(kind or code == 0, f'ploopd ended with {code}: {open("ploopd.log").read()}')

    def peer(self, **how):
        return Peer(self.socket, **how)

    def friend(self):
        peer = self.peer()
        check(peer.open()[0] == OK, 'cannot open')
        return peer

    def fds(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def resident(self):
        with open(f'/proc/{self.process.pid}/status') as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith('VmRSS'))


def a_pool(daemon, capacity=MIB):
    os.makedirs('p', exist_ok=True)
    peer = daemon.friend()
    xml = f"<pool type='dir'><name>p</name><target><path>{os.path.abspath('p')}</path></target></pool>"
    status, pool = peer.call(DEFINE_XML, text(xml) + word(0))
    check(status == OK, pool)
    check(peer.call(POOL_CREATE, pool + word(0))[0] == OK, 'cannot start')
    xml = f"<volume><name>v</name><capacity>{capacity}</capacity><target><format type='raw'/></target></volume>"
    status, volume = peer.call(VOL_CREATE, pool + text(xml) + word(0))
    check(status == OK, volume)
    return peer, pool, volume


def lists_within(daemon, seconds):
    """Another client is served meanwhile."""
    begin = time.monotonic()
    with daemon.friend() as peer:
        check(peer.call(LIST_POOLS, word(1) + word(0))[0] == OK, 'no list')
    took = time.monotonic() - begin
    check(took < seconds, f'another client waited for {took:.2f} s')


@behaviour('25: a frame of an impossible length, program, type or status ends its connection')
def _():
    with Daemon() as daemon:
        for length in (0, 4, 27, (1 << 32) - 1, (32 << 20) + 5):
            with daemon.peer() as peer:
                peer.send(frame(OPEN, length=length))
                check(peer.closed(), f'length {length} is taken')
        for how in ({'kind': 9}, {'kind': REPLY}, {'kind': EVENT}, {'status': 7}, {'status': CONTINUE}):
            with daemon.friend() as peer:
                peer.send(frame(CAPABILITIES, serial=50, **how))
                lists_within(daemon, 1)
        with daemon.friend() as peer:
            got = peer.call(CAPABILITIES, program=0x12345678)
            check(got is None or got[0] == ERROR, 'an unknown program is served')
        with daemon.friend() as peer:
            got = peer.call(CAPABILITIES, version=99)
            check(got is None or got[0] == ERROR, 'an unknown version is served')


@behaviour('25: an unknown procedure is refused in words, and the connection goes on')
def _():
    with Daemon() as daemon, daemon.friend() as peer:
        for procedure in (0, -1, 5, 30000, 0x7fffffff):
            status, payload = peer.call(procedure)
            check(status == ERROR and b'unknown procedure' in payload, payload)
        check(peer.call(CAPABILITIES)[0] == OK, 'it does not go on')


@behaviour('26: half-open and slow peers delay nobody, and are gone after the deadline')
def _():
    with Daemon() as daemon:
        silent = [daemon.peer() for _ in range(300)]
        slow = [daemon.peer() for _ in range(20)]
        data = frame(OPEN, word(1) + text('storage:///system') + word(0))
        for i in range(5):
            for peer in slow:
                peer.send(data[i:i + 1])
            lists_within(daemon, 1)
        for peer in silent[:5] + slow[:5]:
            peer.socket.settimeout(14)
            check(peer.closed(), 'it is still there after 14 s')
        for peer in silent + slow:
            peer.socket.close()
        lists_within(daemon, 1)


@behaviour('27: who has not shown who it is cannot fill the memory')
def _():
    with Daemon() as daemon:
        before = daemon.resident()
        peers = []
        for _ in range(20):
            peer = daemon.peer(timeout=3)
            peers.append(peer)
            try:
                peer.send(frame(OPEN, length=(32 << 20)) + bytes(2 * MIB))
            except OSError:
                pass
        check(daemon.resident() < before + 50 * MIB, f'{daemon.resident() >> 20} MiB')
        check(all(peer.closed() for peer in peers), 'somebody is still there')
        lists_within(daemon, 1)


@behaviour('28: counts that lie and file descriptors nobody sent are refused, none leaks')
def _():
    with Daemon() as daemon:
        a_pool(daemon)[0].socket.close()
        lists_within(daemon, 1)
        before = daemon.fds()
        with daemon.friend() as peer:
            for procedure, payload in ((LOOKUP_POOL, word(-1)), (LOOKUP_POOL, word(1 << 30) + b'x'), (419, word(-5)),
                                       (419, word(1 << 31)), (DEFINE_XML, word(0x7fffffff)), (92, POOL + word(-1)),
                                       (LIST_POOLS, b''), (VOL_LOOKUP, POOL)):
                got = peer.call(procedure, payload)
                check(got is not None and got[0] == ERROR, f'{procedure} with {payload!r}: {got}')
        for count in (32, (1 << 31) - 1, 0, -1):
            with daemon.friend() as peer:
                got = peer.call(CAPABILITIES, word(count), kind=CALL_WITH_FDS)
                check(got is None or got[0] == ERROR, f'{count} descriptors')
        lists_within(daemon, 1)
        time.sleep(0.2)
        check(daemon.fds() <= before + 1, f'{daemon.fds()} descriptors, {before} before')


@behaviour('29: a read-only client changes nothing, however often it tries')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon)
        peer.socket.close()
        with Peer(daemon.socket + '-ro') as peer:
            check(peer.open(1)[0] == OK, 'cannot open')
            for procedure, payload in CHANGES.items():
                status, error = peer.call(procedure, payload)
                check(status == ERROR, f'procedure {procedure} is carried out')
            for _ in range(2000):
                peer.call(94, VOLUME + word(0))
            check(peer.call(VOL_LOOKUP, pool + text('v'))[0] == OK, 'it may not even look')
        lists_within(daemon, 0.5)
        check(os.path.exists('p/v'), 'it is gone')


@behaviour('a second OPEN is refused, and a call before it')
def _():
    with Daemon() as daemon:
        with daemon.peer() as peer:
            peer.call(AUTH_LIST)
            check(peer.call(LIST_POOLS, word(1) + word(0))[0] == ERROR, 'served before OPEN')
        with daemon.friend() as peer:
            check(peer.call(OPEN, word(1) + text('storage:///system') + word(0))[0] == ERROR, 'opened twice')


@behaviour('30: bytes for no stream, a second finish, an abort: an error or the end, never more')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon)
        for payload in (b'x' * 1000, b''):
            with daemon.friend() as other:
                other.send(frame(UPLOAD, payload, kind=STREAM, serial=77, status=CONTINUE if payload else OK))
                lists_within(daemon, 1)
        span = struct.pack('>QQI', 0, MIB, 0)
        check(peer.call(UPLOAD, volume + span)[0] == OK, 'no upload')
        serial = peer.serial
        peer.send(frame(UPLOAD, b'a' * MIB, kind=STREAM, serial=serial, status=CONTINUE))
        peer.send(frame(UPLOAD, kind=STREAM, serial=serial, status=OK))
        check(peer.answer(serial)[0] == OK, 'the upload fails')
        peer.send(frame(UPLOAD, kind=STREAM, serial=serial, status=OK))
        check(open('p/v', 'rb').read() == b'a' * MIB, 'other bytes')
        with daemon.friend() as other:
            check(other.call(UPLOAD, volume + span)[0] == OK, 'no upload')
            other.send(frame(UPLOAD, b'b' * 1000, kind=STREAM, serial=other.serial, status=CONTINUE))
            other.send(frame(UPLOAD, kind=STREAM, serial=other.serial, status=ERROR))
            check(other.call(CAPABILITIES)[0] == OK, 'an abort ends the connection')
        lists_within(daemon, 1)


@behaviour('30: an upload does not write behind its end, and a volume that is uploaded to is not deleted')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon)
        check(peer.call(UPLOAD, volume + struct.pack('>QQI', 0, 1000, 0))[0] == OK, 'no upload')
        serial = peer.serial
        with daemon.friend() as other:
            status, error = other.call(94, volume + word(0))
            check(status == ERROR and error_code(error) == 55, 'deleted in mid-upload')
        peer.send(frame(UPLOAD, b'x' * 5000, kind=STREAM, serial=serial, status=CONTINUE))
        check(peer.answer(serial)[0] == ERROR, 'too many bytes are taken')
        check(open('p/v', 'rb').read()[1000:] == bytes(MIB - 1000), 'bytes behind the end')


@behaviour('a client that is stopped in mid-download holds up nobody but itself')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon, 64 * MIB)
        check(peer.call(DOWNLOAD, volume + struct.pack('>QQI', 0, 0, 0))[0] == OK, 'no download')
        time.sleep(0.3) # it reads nothing; what is sent stops somewhere
        before = daemon.resident()
        for _ in range(5):
            lists_within(daemon, 1)
        check(daemon.resident() < before + 16 * MIB, 'it is all queued')
        peer.socket.close()


@behaviour('keepalive is answered while a call takes its time')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon, 256 * MIB)
        check(peer.call(FEATURE, word(10))[0] == OK, 'no keepalive')
        peer.send(frame(165, volume + word(0), serial=500)) # a wipe of 256 MiB
        begin = time.monotonic()
        peer.send(frame(1, kind=EVENT, program=KEEPALIVE, serial=0))
        while True:
            head, _ = peer.receive()
            if head[0] == KEEPALIVE and head[2] == 2:
                break
        check(time.monotonic() - begin < 1, 'the answer was late')


@behaviour('beyond the limit of clients one is refused in words, and there is room again when one goes')
def _():
    with open('conf', 'w') as conf:
        conf.write('[daemon]\nmax_clients = 5\n')
    with Daemon('--config', os.path.abspath('conf')) as daemon:
        time.sleep(0.2)
        peers = [daemon.friend() for _ in range(5)]
        with daemon.peer() as peer:
            got = peer.call(AUTH_LIST)
            check(got is not None and got[0] == ERROR, f'a sixth one gets {got}')
        peers.pop().socket.close()
        for _ in range(50):
            with daemon.peer() as peer:
                if (peer.open() or (ERROR,))[0] == OK:
                    break
            time.sleep(0.02)
        else:
            raise AssertionError('no room again')


@behaviour('kill -9 loses nothing: pools run, volumes are there, and the next start takes over')
def _():
    with Daemon() as daemon:
        peer, pool, volume = a_pool(daemon)
        check(peer.call(90, pool + word(1))[0] == OK, 'no autostart')
        for _ in range(3):
            daemon.process.kill()
            daemon.process.wait()
            daemon.start()
            with daemon.friend() as peer:
                check(peer.call(VOL_LOOKUP, pool + text('v'))[0] == OK, 'the volume is not there')
                check(peer.call(89, pool) == (OK, word(1)), 'autostart is forgotten')
                check(peer.call(154, pool) == (OK, word(1)), 'the pool does not run')


@behaviour("virtqemud's way in: 66, 60, 1, 60, 60, 419, and then what it asks of a pool")
def _():
    with Daemon() as daemon:
        a_pool(daemon)[0].socket.close()
        with daemon.peer() as peer:
            for procedure, payload in ((66, b''), (60, word(10)), (1, word(1) + text('storage:///system') + word(0)), (60, word(14)),
                                       (60, word(15)), (419, word(1) + text('user-name') + word(7) + text('root') + word(0))):
                status, reply = peer.call(procedure, payload)
                check(status == OK, f'procedure {procedure}: {reply}')
            status, pool = peer.call(LOOKUP_POOL, text('p'))
            check(status == OK and peer.call(154, pool) == (OK, word(1)), 'the pool')
            status, volume = peer.call(VOL_LOOKUP, pool + text('v'))
            check(status == OK, 'the volume')
            status, path = peer.call(100, volume)
            check(status == OK and path == text(os.path.abspath('p/v')), path)
            check(peer.call(98, volume)[0] == OK and peer.call(88, pool + word(0))[0] == OK, 'info and XML')


main()
