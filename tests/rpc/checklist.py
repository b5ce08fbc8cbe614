#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What docs/protocol/checklist.md says of ploopd and no other test shows."""
import os
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
from behaviour import behaviour, check, main  # noqa: E402
from pools import Daemon, get, put  # noqa: E402
from wire import *  # noqa: E402,F403

MIB = 1 << 20
DATA_MAX = 262120  # of a stream frame to a client
SPARSE = 1
INFO, WIPE, POOL_INFO, SET_AUTOSTART, GET_AUTOSTART = 98, 165, 87, 90, 89


def friend(daemon, flags=0):
    peer = Peer(daemon.socket)
    check(peer.open(flags)[0] == OK, 'cannot open')
    return peer


def a_pool(peer):
    os.makedirs('p', exist_ok=True)
    xml = f"<pool type='dir'><name>p</name><target><path>{os.path.abspath('p')}</path></target></pool>"
    status, pool = peer.call(DEFINE_XML, text(xml) + word(0))
    check(status == OK and peer.call(POOL_CREATE, pool + word(0))[0] == OK, pool)
    return pool


def a_volume(peer, pool, name='v', capacity=MIB, allocation=None):
    some = '' if allocation is None else f'<allocation>{allocation}</allocation>'
    status, volume = peer.call(VOL_CREATE, pool + text(f'<volume><name>{name}</name><capacity>{capacity}</capacity>{some}</volume>') +
                               word(0))
    check(status == OK, volume)
    return volume


def begin(peer, procedure, volume, offset=0, length=0, flags=0):
    """Opens a stream; its serial."""
    status, reply = peer.call(procedure, volume + struct.pack('>QQI', offset, length, flags))
    check(status == OK and reply == b'', reply)
    return peer.serial


def download(peer, volume, flags=0):
    """(kind, payload) of every frame up to the end, which is confirmed."""
    serial, frames = begin(peer, DOWNLOAD, volume, flags=flags), []
    while True:
        head, payload = peer.receive()
        check(head[2] == DOWNLOAD and head[4] == serial, head)
        frames.append((head[3], payload))
        if head[3] == STREAM and not payload:
            break
    check(head[5] == CONTINUE, 'the end is no CONTINUE')
    peer.send(frame(DOWNLOAD, kind=STREAM, serial=serial, status=OK))
    head, payload = peer.receive()
    check((head[3], head[4], head[5], payload) == (STREAM, serial, OK, b''), f'not confirmed: {head}')
    return frames[:-1]


def upload(peer, volume, pieces, length=0, flags=0):
    """pieces: bytes, or the length of a hole. The status of its end."""
    serial = begin(peer, UPLOAD, volume, length=length, flags=flags)
    for piece in pieces:
        if isinstance(piece, int):
            peer.send(frame(UPLOAD, struct.pack('>qI', piece, 0), kind=HOLE, serial=serial, status=CONTINUE))
        else:
            peer.send(frame(UPLOAD, piece, kind=STREAM, serial=serial, status=CONTINUE))
    peer.send(frame(UPLOAD, kind=STREAM, serial=serial, status=OK))
    head, payload = peer.receive()
    check((head[3], head[4]) == (STREAM, serial), head)
    return head[5], payload


@behaviour('1: feature 10 is known before OPEN, 14 and 15 after it; holes go only to who asked for them')
def _():
    with Daemon() as daemon:
        with Peer(daemon.socket) as peer:
            check(peer.call(AUTH_LIST)[0] == OK and peer.call(FEATURE, word(10)) == (OK, word(1)), 'no keepalive before OPEN')
        peer = friend(daemon)
        for feature, answer in ((14, 1), (15, 1), (8, 0), (12345, 0)):
            check(peer.call(FEATURE, word(feature)) == (OK, word(answer)), f'feature {feature}')
        volume = a_volume(peer, a_pool(peer), capacity=8 * MIB, allocation=0)
        put('p/v', b'x' * 4096, 'r+b')
        plain = download(peer, volume)
        check(all(kind == STREAM for kind, _ in plain) and b''.join(data for _, data in plain) == get('p/v'), 'holes, or other bytes')
        sparse = download(peer, volume, SPARSE)
        check([kind for kind, _ in sparse][-1] == HOLE and sum(len(data) for kind, data in sparse if kind == STREAM) < MIB, 'no hole')


@behaviour('5: frames to ploopd may be huge, those from it never hold more than 262120 bytes')
def _():
    with Daemon() as daemon:
        peer = friend(daemon)
        volume, data = a_volume(peer, a_pool(peer), capacity=32 * MIB), os.urandom(32 * MIB - 100)
        check(upload(peer, volume, [data])[0] == OK, 'a frame of 32 MiB is refused')
        got = [payload for _, payload in download(peer, volume)]
        check(max(map(len, got)) <= DATA_MAX, max(map(len, got)))
        check(b''.join(got)[:len(data)] == data, 'other bytes')


@behaviour('7: while a volume is cloned or wiped, others ask about it and its pool as if nothing went on')
def _():
    with Daemon() as daemon:
        peer = friend(daemon)
        pool = a_pool(peer)
        volume = a_volume(peer, pool, capacity=256 * MIB)
        over = threading.Event()

        def work():
            with friend(daemon) as worker:
                check(worker.call(WIPE, volume + word(0))[0] == OK, 'no wipe')
                check(worker.call(125, pool + text('<volume><name>w</name></volume>') + volume + word(0))[0] == OK, 'no clone')
            over.set()

        thread = threading.Thread(target=work)
        thread.start()
        asked, slowest = 0, 0
        while not over.is_set():
            for procedure, payload in ((VOL_LOOKUP, pool + text('v')), (INFO, volume), (99, volume + word(0)), (100, volume),
                                       (POOL_INFO, pool), (282, pool + word(1) + word(0))):
                start = time.monotonic()
                check(peer.call(procedure, payload)[0] == OK, f'procedure {procedure}')
                slowest = max(slowest, time.monotonic() - start)
                asked += 1
            check(thread.is_alive() or over.is_set(), 'the work failed')
        thread.join()
        check(asked > 5 and slowest < 1, f'{asked} questions, the slowest took {slowest:.2f} s')


@behaviour('13: a directory pool has the size of its file system, and live owner and mode')
def _():
    with Daemon() as daemon:
        peer = friend(daemon)
        pool = a_pool(peer)
        status, reply = peer.call(POOL_INFO, pool)
        state, capacity, allocation, available = struct.unpack('>IQQQ', reply[-28:])
        space = os.statvfs('p')
        check((state, capacity) == (2, space.f_blocks * space.f_frsize), (state, capacity))
        check(abs(available - space.f_bfree * space.f_frsize) < 256 * MIB and capacity == allocation + available, 'not f_bfree')
        os.chmod('p', 0o751)
        check(peer.call(83, pool + word(0))[0] == OK, 'no refresh')
        status, xml = peer.call(88, pool + word(0))
        check(b'<mode>0751</mode>' in xml, xml)


@behaviour('14: autostart is a link to the definition, for administrators and libvirt to see')
def _():
    with Daemon() as daemon:
        peer, link = friend(daemon), 'dstate/config/autostart/p.xml'
        pool = a_pool(peer)
        for _ in range(2):
            check(peer.call(SET_AUTOSTART, pool + word(1))[0] == OK and os.path.islink(link), 'no link')
        check(os.path.realpath(link) == os.path.realpath('dstate/config/p.xml'), 'it leads elsewhere')
        os.unlink(link)
        os.symlink('../p.xml', link)  # as somebody may by hand
        check(peer.call(SET_AUTOSTART, pool + word(0))[0] == OK and not os.path.lexists(link), 'it stays')
        check(peer.call(GET_AUTOSTART, pool) == (OK, word(0)), 'still on')


@behaviour('19: who closes gets its answer, and then the end')
def _():
    with Daemon() as daemon:
        peer = friend(daemon)
        check(peer.call(CLOSE) == (OK, b''), 'no answer')
        check(peer.closed(), 'not closed')


@behaviour('24: what was uploaded is what is there: holes are zeros, nothing is cut off, and a failure is told at the end')
def _():
    with Daemon() as daemon:
        peer = friend(daemon)
        volume = a_volume(peer, a_pool(peer))
        old = os.urandom(MIB)
        check(upload(peer, volume, [old])[0] == OK, 'no upload')
        check(upload(peer, volume, [b'new', 4096, b'end'], flags=SPARSE)[0] == OK, 'no sparse upload')
        check(get('p/v') == b'new' + bytes(4096) + b'end' + old[4102:], 'old bytes in a hole, or what is behind is gone')
        check(upload(peer, volume, [old, b'more'])[0] == OK and get('p/v') == old + b'more', 'it does not grow')
        status, error = upload(peer, volume, [b'12345'], length=3)
        check(status == ERROR, 'more than was announced')


main()
