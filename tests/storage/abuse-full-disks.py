#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools that have no room left, neither for bytes nor for names: F16 of docs/abuse.md. What cannot be done leaves nothing
behind, what was begun is known for it, and reading and deleting always work, or nobody could ever make room."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, run
from pools import a_pool, a_volume, ctl, get, mounted, needs_mounts, put, refused, volumes

NO_ROOM = 6
needs_mounts()


def small():
    return mounted('p')


def small_ext4():
    """32 MiB without blocks set aside for root."""
    with open('ext4', 'wb') as file:
        file.truncate(32 << 20)
    run('mkfs.ext4', '-q', '-F', '-m', '0', '-N', '64', 'ext4')
    return mounted('p', '-o', 'loop', 'ext4')


def fill():
    """To the last byte."""
    with open('p/filler', 'ab') as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(file.fileno(), b'f' * size)
            except OSError:
                pass


def without_names():
    """Until not one more file can be made."""
    made = []
    try:
        while True:
            put(f'p/.name{len(made)}')
            made.append(f'p/.name{len(made)}')
    except OSError:
        return made


def only(*names):
    found = {name for name in os.listdir('p') if name not in ('lost+found', 'filler') and not name.startswith('.name')}
    check(found <= {*names, '.ploopkit'}, f'left over: {found - set(names)}')
    stage = 'p/.ploopkit/stage'
    check(not os.path.isdir(stage) or not os.listdir(stage), 'something is left in the stage')


@behaviour('F16 a volume that does not fit is refused with the code for it, and nothing of it is left')
def _():
    with small():
        a_pool()
        a_volume('v', '4M')
        put('p/v', os.urandom(4 << 20))
        for kind in ('raw', 'ploop', 'qcow2'):
            empty = ['--empty'] if kind == 'ploop' else []
            more = ['--prealloc-metadata'] if kind == 'qcow2' else []
            said = ctl('vol', 'create-as', 'p', 'big', '64M', '--format', kind, '--allocation', '64M', *empty, *more,
                       rc=(0, 1, NO_ROOM))
            if kind != 'qcow2':
                check('No space' in said or 'room' in said, said)
                only('v')
            elif os.path.exists('p/big'):
                ctl('vol', 'delete', 'p/big')
        fill()
        for kind in ('raw', 'ploop', 'qcow2'):
            refused((1, NO_ROOM), '', 'vol', 'clone', 'p/v', 'copy', '--format', kind)
            only('v')
        check(volumes()['v']['state'] == 'good' and len(get('p/v')) == 4 << 20, volumes())


@behaviour('F16 an upload that finds no room leaves a volume that is known not to be whole, until a whole one')
def _():
    with small():
        a_pool()
        put('bytes', os.urandom(24 << 20))
        for name, kind, how in (('raw', 'raw', []), ('disk', 'ploop', ['--disk'])):
            a_volume(name, '24M', format=kind)
            refused(NO_ROOM, '', 'vol', 'upload', f'p/{name}', 'bytes', *how)
            found = volumes()[name]
            check(found['state'] == 'incomplete' and 'upload' in found['reason'], found)
            refused((4, 7), '', 'vol', 'download', f'p/{name}', 'out', *how)
            refused((4, 7), '', 'vol', 'clone', f'p/{name}', 'copy')
            check(name in ctl('doctor', 'p', rc=(0, 4, 7)), 'the doctor does not name it')
            run('mount', '-o', 'remount,size=64m', 'p')
            ctl('vol', 'upload', f'p/{name}', 'bytes', *how)
            check(volumes()[name]['state'] == 'good', volumes())
            ctl('vol', 'download', f'p/{name}', 'out', *how)
            check(get('out') == get('bytes'), 'other bytes')
            ctl('vol', 'delete', f'p/{name}')
            run('mount', '-o', 'remount,size=16m', 'p')


@behaviour('F16 a resize that finds no room leaves the old size')
def _():
    with small():
        a_pool()
        a_volume('raw', '4M')
        a_volume('disk', '4M', format='ploop')
        refused((4, NO_ROOM), '', 'vol', 'resize', 'p/raw', '64M', '--allocate')
        fill()
        refused((4, NO_ROOM), '', 'vol', 'resize', 'p/raw', '5M', '--allocate')
        ctl('vol', 'resize', 'p/disk', '1T', rc=(0, 1, NO_ROOM))
        found = volumes()
        check(found['raw']['capacity'] == 4 << 20 and found['raw']['state'] == 'good', found)
        check(found['disk']['state'] == 'good' and found['disk']['capacity'] in (4 << 20, 1 << 40), found)


def deletes_when_full(mount, use_up):
    with mount():
        a_pool()
        for name, kind in (('raw', 'raw'), ('disk', 'ploop'), ('cow', 'qcow2')):
            a_volume(name, format=kind)
        use_up()
        check({v['state'] for v in volumes().values() if not v['name'].startswith(('.name', 'filler'))} == {'good'}, volumes())
        for name in ('disk', 'raw', 'cow'):
            ctl('vol', 'download', f'p/{name}', 'saved')
            refused(NO_ROOM, '', 'vol', 'upload', f'p/{name}', 'saved')
            check(volumes()[name]['state'] == 'good', volumes())
            ctl('vol', 'delete', f'p/{name}')
            check(not os.path.exists(f'p/{name}'), f'{name} is still there')
            use_up()


@behaviour('F16 volumes of a full tmpfs can be saved and deleted')
def _():
    deletes_when_full(small, fill)


@behaviour('F16 volumes of a full ext4 can be saved and deleted')
def _():
    deletes_when_full(small_ext4, fill)


@behaviour('F16 volumes can be saved and deleted when there is not one more name to be had, and bytes neither')
def _():
    def use_up():
        put('p/filler')
        without_names()
        fill()
    deletes_when_full(lambda: mounted('p', '-t', 'tmpfs', '-o', 'size=16m,nr_inodes=64', 'none'), use_up)
    os.rmdir('p')
    for path in ('state/config', 'state/run'):
        run('rm', '-rf', path)
    deletes_when_full(small_ext4, use_up)


main()
