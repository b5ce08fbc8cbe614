#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links, hard links and things that are no files, planted where a volume or a piece of one is expected: F6, F8, F9, F10
and attacks 11 to 16 of docs/abuse.md. Nothing outside of the pool is read, written, made longer or deleted."""

import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main
from hostile import contents
from pools import a_pool, a_volume, ctl, get, put, refused, volumes

SECRET = b'nobody may see or touch this\n' * 64


def outside():
    """A directory beside the pool with what an attacker is after."""
    os.mkdir('outside')
    put('outside/secret', SECRET)
    return os.path.abspath('outside')


def untouched(*commands, may_succeed=False):
    """All of them are refused (or work on what is inside), and what is outside stays as it is and is not shown."""
    before = contents('outside')
    for command in commands:
        if may_succeed:
            ctl(*command, rc=(0, 1, 2, 3, 4, 7))
        else:
            refused((1, 2, 3, 4, 7), '', *command)
        check(contents('outside') == before, f'changed what is outside: {command}')
        for file in ('stolen', 'exported.raw', 'p/copy'):
            check(not os.path.isfile(file) or SECRET not in get(file), f'{command} gave away what is outside')


def every_verb_on(volume):
    put('bytes', b'x' * 4096)
    return [
        ('vol', 'download', f'p/{volume}', 'stolen'),
        ('vol', 'upload', f'p/{volume}', 'bytes'),
        ('vol', 'resize', f'p/{volume}', '64M'),
        ('vol', 'resize', f'p/{volume}', '1M', '--shrink'),
        ('vol', 'wipe', f'p/{volume}'),
        ('vol', 'clone', f'p/{volume}', 'copy'),
        ('export', f'p/{volume}', 'exported.raw'),
        ('vol', 'snapshot', 'create', f'p/{volume}'),
    ]


@behaviour('F9 reading, writing, resizing or wiping through a link to a file outside does nothing to it')
def _():
    a_pool()
    secret = outside() + '/secret'
    for name, target in (('absolute', secret), ('relative', '../outside/secret'), ('magic', '/proc/self/fd/0')):
        os.symlink(target, f'p/{name}')
        untouched(*every_verb_on(name))
    check(not os.path.exists('stolen'), 'a file was made of nothing')
    check(sorted(volumes()) == ['absolute', 'magic', 'relative'], volumes())


@behaviour('F10 deleting a link to a volume outside takes the link away and nothing else')
def _():
    a_pool()
    a_volume('disk', format='ploop')
    os.rename('p/disk', outside() + '/disk')
    put('outside/disk/precious', SECRET)
    os.symlink('../outside/disk', 'p/linked')
    os.symlink('../outside/secret', 'p/file')
    before = contents('outside')
    for name in ('linked', 'file'):
        check(volumes()[name]['state'] == 'broken' and 'link' in volumes()[name]['reason'], volumes())
        ctl('vol', 'delete', f'p/{name}')
        check(not os.path.lexists(f'p/{name}'), 'the link is left')
    check(contents('outside') == before, 'changed what is outside')


@behaviour('F6 a link to /proc/self/mem costs its own volume, not the pool')
def _():
    os.mkdir('p')
    os.symlink('/proc/self/mem', 'p/mem')
    os.symlink('/proc/kmsg', 'p/kmsg')
    put('p/good', bytes(4096))
    a_pool()
    found = volumes()
    check([found[name]['state'] for name in ('good', 'kmsg', 'mem')] == ['good', 'broken', 'broken'], found)
    check('symbolic link' in found['mem']['reason'], found)


@behaviour('F8 odd names, links to nowhere and what is no file are passed over; the rest is listed, with a reason')
def _():
    os.mkdir('p')
    os.symlink('nowhere', 'p/dangling')
    os.symlink('circle', 'p/circle')
    os.mkfifo('p/fifo')
    listening = socket.socket(socket.AF_UNIX)
    listening.bind('p/socket')
    if os.geteuid() == 0:
        os.mknod('p/null', 0o020666, os.makedev(1, 3))
    for name in (b'new\nline', b'not-utf8-\xff', b'x' * 255):
        put(b'p/' + name)
    put('p/all-ones', b'\xff' * 4096)
    put('p/huge.qcow2', b'QFI\xfb\0\0\0\2' + bytes(16) + b'\xff' * 8 + bytes(64))
    begin = time.monotonic()
    a_pool()
    found = volumes()
    check(time.monotonic() - begin < 2, 'it took too long')
    check(sorted(found) == ['all-ones', 'huge.qcow2', 'x' * 255], sorted(found))
    check(found['all-ones']['capacity'] == 4096, found['all-ones'])
    check(found['huge.qcow2']['state'] == 'broken' and 'impossible size' in found['huge.qcow2']['reason'], found)
    listening.close()


@behaviour('attack 11: no word of a descriptor reaches a file outside of the volume')
def _():
    a_pool()
    outside()
    a_volume('victim', format='ploop')
    text = get('p/victim/DiskDescriptor.xml')
    names = ('../../outside/secret', '../good', os.path.abspath('outside/secret'), 'a/../../../outside/secret', '../../outside',
             '.', '..', 'root.hds/../../../outside/secret', '&#0;', '')
    put('p/good', SECRET)
    for i, name in enumerate(names):
        os.mkdir(f'p/v{i}')
        os.mkdir(f'p/v{i}/a')
        put(f'p/v{i}/DiskDescriptor.xml', text.replace(b'<File>root.hds</File>', f'<File>{name}</File>'.encode()))
        check(get(f'p/v{i}/DiskDescriptor.xml') != text, 'the descriptor is as it was')
        put(f'p/v{i}/root.hds', get('p/victim/root.hds'))
        found = volumes()[f'v{i}']
        check(found['type'] == 'dir' or found['state'] == 'broken' and found['reason'], f'{name}: {found}')
        untouched(*every_verb_on(f'v{i}'), may_succeed=True)
        ctl('vol', 'delete', f'p/v{i}', rc=(0, 1, 2, 4, 7))
        check(get('outside/secret') == SECRET and get('p/good') == SECRET, f'{name}: deleted outside of the volume')
    check(volumes()['victim']['state'] == 'good', volumes())


@behaviour('attack 12: an image or a descriptor that is a link is not followed')
def _():
    a_pool()
    outside()
    for name, piece in (('image', 'root.hds'), ('text', 'DiskDescriptor.xml'), ('lock', 'DiskDescriptor.xml.lck')):
        a_volume(name, format='ploop')
        path = f'p/{name}/{piece}'
        if os.path.exists(path):
            os.rename(path, f'outside/{name}')
        else:
            put(f'outside/{name}')
        os.symlink(os.path.abspath(f'outside/{name}'), path)
        before = contents('outside')
        if piece != 'DiskDescriptor.xml.lck':
            found = volumes()[name]
            check(found['state'] == 'broken' or found['type'] == 'dir', found)
        untouched(*every_verb_on(name), may_succeed=True)
        ctl('vol', 'delete', f'p/{name}', rc=(0, 4, 7))
        check(contents('outside') == before, f'{name}: changed what is outside')


@behaviour('attack 13: a link to a directory of volumes outside makes none of them ours')
def _():
    a_pool()
    a_volume('disk', format='ploop')
    os.rename('p', 'elsewhere')
    os.mkdir('p')
    os.mkdir('outside')
    os.rename('elsewhere', 'outside/pool')
    os.symlink('../outside/pool', 'p/sub')
    os.symlink('../outside/pool/disk', 'p/disk')
    found = volumes()
    check(all(found[name]['state'] == 'broken' for name in ('sub', 'disk')), found)
    untouched(*every_verb_on('disk'))
    refused((2, 3), '', 'vol', 'delete', 'p/sub/disk')


@behaviour('attack 15: what is also the file of somebody else is not written to')
def _():
    if os.geteuid() != 0:
        print('not shown: needs root, to have a file of somebody else')
        return
    a_pool()
    secret = outside() + '/secret'
    os.chown(secret, 4711, 4711)
    os.link(secret, 'p/hard')
    a_volume('disk', format='ploop')
    os.chown('p/disk/root.hds', 4711, 4711)
    os.link('p/disk/root.hds', 'outside/image')
    before = contents('outside')
    put('bytes', b'x' * 4096)
    for command in (('vol', 'upload', 'p/hard', 'bytes'), ('vol', 'resize', 'p/hard', '64M'), ('vol', 'wipe', 'p/hard'),
                    ('vol', 'upload', 'p/disk', 'bytes', '--disk'), ('vol', 'resize', 'p/disk', '64M'),
                    ('vol', 'wipe', 'p/disk')):
        untouched(command)
    check(contents('outside') == before, 'changed what is outside')


@behaviour('attack 15: nor through the pool\'s own notes, planted as links of either kind or as fifos')
def _():
    a_pool()
    secret = outside() + '/secret'
    a_volume('v')
    put('bytes', b'x' * 4096)
    for which in ('names', 'incomplete', 'stage'):
        for link in (os.symlink, os.link, os.mkfifo):
            os.makedirs(f'p/.ploopkit/{which}', mode=0o700)
            for name in ('v', 'new'):
                link(*([] if link == os.mkfifo else [secret]), f'p/.ploopkit/{which}/{name}')
            for command in (('vol', 'upload', 'p/v', 'bytes'), ('vol', 'create-as', 'p', 'new', '1M'), ('vol', 'delete', 'p/new'),
                            ('doctor', 'p')):
                ctl(*command, rc=(0, 1, 3, 4, 5, 7))
                check(get(secret) == SECRET, f'.ploopkit/{which} as {link.__name__}: {command} wrote to it')
            ctl('vol', 'list', 'p')
            for name in ('v', 'new'):
                if os.path.lexists(f'p/.ploopkit/{which}/{name}'):
                    os.unlink(f'p/.ploopkit/{which}/{name}')
            for directory in (f'p/.ploopkit/{which}', 'p/.ploopkit'):
                if os.path.isdir(directory):
                    os.rmdir(directory)
    for path in ('p/.ploopkit', 'p/.ploopkit/names', 'p/.ploopkit/stage', 'p/.ploopkit/incomplete'):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.path.abspath('outside'), path)
        before = contents('outside')
        for command in (('vol', 'upload', 'p/v', 'bytes'), ('vol', 'create-as', 'p', 'new', '1M'), ('vol', 'delete', 'p/new'),
                        ('doctor', 'p'), ('vol', 'list', 'p')):
            ctl(*command, rc=(0, 1, 3, 4, 5, 7))
            check(contents('outside') == before, f'{path} as a link: {command} changed what is outside')
        os.unlink(path)


@behaviour('attack 16: a fifo, socket or device in the place of an image or descriptor is no image, and nobody waits')
def _():
    a_pool()
    for kind in ('fifo', 'socket', 'directory'):
        for piece in ('root.hds', 'DiskDescriptor.xml'):
            name = f'{kind}-{piece[:4].lower()}'
            a_volume(name, format='ploop')
            os.unlink(f'p/{name}/{piece}')
            if kind == 'fifo':
                os.mkfifo(f'p/{name}/{piece}')
            elif kind == 'socket':
                socket.socket(socket.AF_UNIX).bind(f'p/{name}/{piece}')
            else:
                os.mkdir(f'p/{name}/{piece}')
    begin = time.monotonic()
    found = volumes()
    check(time.monotonic() - begin < 1, 'it took too long')
    check(len(found) == 6, found)
    for name, volume in found.items():
        check(volume['state'] == 'broken' and volume['reason'] or volume['type'] == 'dir', f'{name}: {volume}')
        for command in (*every_verb_on(name), ('vol', 'delete', f'p/{name}')):
            ctl(*command, rc=(0, 1, 2, 3, 4, 7), timeout=10)


main()
