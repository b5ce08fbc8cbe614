#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that vanish or stand still, daemons that are killed, and two daemons on one directory: F11, F12, F14, F17 and F29
of docs/abuse.md, with a real client of libvirt's protocol."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, skip
from pools import Daemon, get, put, wait_until

try:
    import libvirt
except ImportError:
    skip('needs python3-libvirt')

# Uploads SIZE bytes and stands still in the middle of it.
CLIENT = '''
import libvirt, sys, time
conn = libvirt.open(sys.argv[1])
volume = conn.storageVolLookupByPath(sys.argv[2])
stream = conn.newStream()
volume.upload(stream, 0, 0)
for i in range(int(sys.argv[3])):
    stream.send(b'new!' * 16384)
print('half', flush=True)
time.sleep(1000)
'''


def pool_on(conn, path, name='p'):
    os.makedirs(path, exist_ok=True)
    pool = conn.storagePoolDefineXML(
        f"<pool type='dir'><name>{name}</name><target><path>{os.path.abspath(path)}</path></target></pool>")
    pool.create()
    return pool


def make(pool, name, size=8 << 20, kind='raw'):
    return pool.createXML(f"<volume><name>{name}</name><capacity>{size}</capacity><allocation>0</allocation>"
                          f"<target><format type='{kind}'/></target></volume>", 0)


def half_an_upload(daemon, path, pieces=16):
    client = subprocess.Popen([sys.executable, '-c', CLIENT, f'storage:///system?socket={daemon.socket}', path, str(pieces)],
                              stdout=subprocess.PIPE)
    check(client.stdout.readline() == b'half\n', 'the client failed')
    return client


def fails(word, call, *arguments):
    try:
        call(*arguments)
    except libvirt.libvirtError as error:
        check(word in str(error), error)
        return
    raise AssertionError(f'{call} succeeded')


def is_incomplete(volume):
    """It cannot be read: so says everybody."""
    conn = volume.connect()
    stream = conn.newStream()
    try:
        volume.download(stream, 0, 0)
        stream.recv(1)
        stream.abort()
        return False
    except libvirt.libvirtError as error:
        return 'not whole' in str(error) or 'did not end' in str(error)


@behaviour('F12 a client that is killed in an upload leaves a volume that is known not to be whole')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        volume = make(pool_on(conn, 'p'), 'v')
        check(not is_incomplete(volume), 'from the start')
        client = half_an_upload(daemon, volume.path())
        client.kill()
        client.wait()
        wait_until('the volume is incomplete', lambda: is_incomplete(volume))
        volume.wipe()
        check(not is_incomplete(volume), 'for ever')
        conn.close()


@behaviour('F12 a daemon that is killed in an upload knows after it that the volume is not whole')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = pool_on(conn, 'p')
        make(pool, 'v')
        make(pool, 'beside')
        client = half_an_upload(daemon, os.path.abspath('p/v'))
        daemon.kill()
        client.kill()
        client.wait()
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = conn.storagePoolLookupByName('p')
        if not pool.isActive():
            pool.create()
        check(is_incomplete(pool.storageVolLookupByName('v')), 'it counts as whole')
        check(not is_incomplete(pool.storageVolLookupByName('beside')), 'the one beside it does not')
        conn.close()


@behaviour('F11, F14 a daemon that is killed while it makes or clones a volume leaves none that is not whole')
def _():
    with Daemon() as daemon:
        pool = pool_on(daemon.connect(), 'p')
        make(pool, 'source', 256 << 20)
        with open('p/source', 'r+b') as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
    for i in range(5):
        with Daemon() as daemon:
            conn = daemon.connect()
            pool = conn.storagePoolLookupByName('p')
            if not pool.isActive():
                pool.create()
            words = (f"import libvirt; p = libvirt.open('storage:///system?socket={daemon.socket}').storagePoolLookupByName('p'); "
                     "p.createXMLFrom('<volume><name>copy</name><capacity>0</capacity></volume>', "
                     "p.storageVolLookupByName('source'), 0)")
            client = subprocess.Popen([sys.executable, '-c', words], stderr=subprocess.DEVNULL)
            wait_until('the clone has begun', lambda: os.path.exists('p/.ploopkit/stage') or client.poll() is not None)
            time.sleep(0.03 * i)
            daemon.kill()
            client.wait()
        with Daemon() as daemon:
            conn = daemon.connect()
            pool = conn.storagePoolLookupByName('p')
            if not pool.isActive():
                pool.create()
            pool.refresh()
            if 'copy' in pool.listVolumes():
                check(get('p/copy') == get('p/source'), 'it is listed, and not whole')
                pool.storageVolLookupByName('copy').delete()
            check(set(os.listdir('p')) <= {'source', '.ploopkit'}, os.listdir('p'))
            conn.close()


@behaviour('F17 while a client stands still in an upload its volume is busy, and all else goes on')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = pool_on(conn, 'p')
        volume = make(pool, 'v')
        client = half_an_upload(daemon, volume.path())
        client.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        fails('in use', volume.delete)
        fails('in use', volume.wipe)
        pool.refresh()
        check(volume.info()[1] == 8 << 20, volume.info())
        make(pool, 'other').delete()
        check(time.monotonic() - begin < 2, 'it took too long')
        client.kill()
        client.wait()

        def delete():
            try:
                volume.delete()
                return True
            except libvirt.libvirtError:
                return False
        wait_until('the volume is free again', delete)
        check(pool.listVolumes() == [], pool.listVolumes())
        conn.close()


@behaviour('F29 of two daemons that make a volume of one name at the same moment one succeeds')
def _():
    with Daemon(state='d1', path='s1') as one, Daemon(state='d2', path='s2') as two:
        pools = [pool_on(daemon.connect(), 'p') for daemon in (one, two)]
        words = ("import libvirt, sys\np = libvirt.open('storage:///system?socket=' + sys.argv[1]).storagePoolLookupByName('p')\n"
                 "for i in range(30):\n try:\n  p.createXML('<volume><name>v%d</name><capacity>4096</capacity></volume>' % i, 0)\n"
                 "  print(i)\n except libvirt.libvirtError: pass")
        both = [subprocess.Popen([sys.executable, '-c', words, daemon.socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                for daemon in (one, two)]
        made = [set(process.communicate(timeout=60)[0].split()) for process in both]
        check(not made[0] & made[1], f'both made {made[0] & made[1]}')
        check(len(made[0] | made[1]) == 30, made)
        for pool in pools:
            wait_until('both list all of them', lambda pool=pool: pool.numOfVolumes() == 30, 5)


@behaviour('F29 what one daemon makes or deletes the other lists, or lists no more, within a second')
def _():
    with Daemon(state='d1', path='s1') as one, Daemon(state='d2', path='s2') as two:
        ours, theirs = (pool_on(daemon.connect(), 'p') for daemon in (one, two))
        for kind in ('raw', 'ploop', 'qcow2'):
            volume = make(ours, kind, kind=kind)
            wait_until('it is listed', lambda: kind in theirs.listVolumes(), 1)
            check(theirs.storageVolLookupByName(kind).info()[1] == 8 << 20, 'another size')
            volume.resize(16 << 20)
            wait_until('it is larger', lambda: theirs.storageVolLookupByName(kind).info()[1] == 16 << 20, 1)
            volume.delete()
            wait_until('it is gone', lambda: kind not in theirs.listVolumes(), 1)


main()
