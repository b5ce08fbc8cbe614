#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of very many volumes: F26 to F28 of docs/abuse.md."""

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, skip
from pools import SANITIZED, Daemon, a_pool, ctl, volumes

try:
    import libvirt
except ImportError:
    skip('needs python3-libvirt')

CROWD = 100000
BIG = os.path.join(tempfile.mkdtemp(prefix='ploopkit-test.'), 'p')
WIRE_MAX = 16384 # what libvirt's protocol lets into one list


def crowd(directory, number=CROWD):
    os.makedirs(directory)
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for i in range(number):
        os.close(os.open(f'v{i:06d}', os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here))
    os.close(here)


def big():
    """One pool directory of CROWD volumes for all behaviours: to make it takes longer than to look at it."""
    if not os.path.isdir(BIG):
        crowd(BIG)
    return BIG


def seconds(call, *arguments):
    begin = time.monotonic()
    call(*arguments)
    return time.monotonic() - begin


def at_most(limit, call, *arguments):
    """The best of five: the machine may have other work."""
    best = min(seconds(call, *arguments) for _ in range(5))
    check(best < limit or SANITIZED, f'{best:.2f} s, more than {limit}')


def rss(process):
    with open(f'/proc/{process.pid}/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmRSS')) >> 10


def pool_on(conn, name, path):
    pool = conn.storagePoolDefineXML(f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>")
    pool.create()
    return pool


@behaviour('F26 a refresh of 100 000 volumes takes less than a second and 150 MiB, which come back with the end of the pool')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        before = rss(daemon.process)
        pool = pool_on(conn, 'p', big())
        check(pool.numOfVolumes() == CROWD, pool.numOfVolumes())
        at_most(1, pool.refresh)
        full = rss(daemon.process)
        check(full < 150 or SANITIZED, f'{full} MiB')
        pool.destroy()
        after = rss(daemon.process)
        check(after < before + 10 or SANITIZED, f'{before} MiB before, {full} with the pool, {after} after it')
        conn.close()


@behaviour('F27 ploopctl lists 100 000 volumes, and one of them costs no more')
def _():
    a_pool(target=big())
    check(len(volumes()) == CROWD, 'they are not all')
    check(len(ctl('-q', 'vol', 'list', 'p').splitlines()) == CROWD, 'they are not all')
    at_most(2, ctl, 'vol', 'info', 'p/v000500')


@behaviour('F27 over libvirt\'s protocol as many are listed as fit into an answer; more are an error, and the rest goes on')
def _():
    crowd('p', WIRE_MAX + 1)
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = pool_on(conn, 'p', os.path.abspath('p'))
        for call in (pool.listAllVolumes, pool.listVolumes):
            try:
                check(len(call()) >= WIRE_MAX, 'they are not all')
            except libvirt.libvirtError as error:
                check(str(WIRE_MAX) in str(error) or 'oo many' in str(error), error)
        pool.storageVolLookupByName('v000000').delete()
        check(len(pool.listAllVolumes()) == WIRE_MAX, 'they are not all')
        conn.close()


@behaviour('F28 while 100 000 volumes are looked at anew, each of them can be asked about, and so can other pools')
def _():
    with Daemon() as daemon:
        conn, other = daemon.connect(), daemon.connect()
        pool = pool_on(conn, 'p', big())
        os.mkdir('q')
        pool_on(conn, 'q', os.path.abspath('q'))
        volume = other.storagePoolLookupByName('p').storageVolLookupByName('v000500')
        elsewhere = other.storagePoolLookupByName('q')
        for _ in range(3):
            os.utime(f'{BIG}/v000001') # or there would be nothing to look at
            ended = threading.Event()
            refresh = threading.Thread(target=lambda: (pool.refresh(), ended.set()))
            refresh.start()
            took = []
            while not ended.is_set():
                took += [seconds(volume.info), seconds(elsewhere.info)]
            refresh.join()
            check(len(took) > 2, 'it ended before it was asked')
        check(statistics.median(took) < 0.02 and max(took) < 0.5 or SANITIZED, f'median {statistics.median(took)}, most {max(took)}')
        conn.close()
        other.close()


try:
    main()
finally:
    shutil.rmtree(os.path.dirname(BIG))
