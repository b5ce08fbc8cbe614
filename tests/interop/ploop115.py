#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's ploop 1.15 takes over the directories this engine leaves: check, snapshot-list, merge.

It crashes unless some 4 KiB follow its arguments on the stack, hence the long environment variable. Its check
calls a sparse image damaged (on ext4), hence alloc=full. It refuses to *create* v2 images without its kernel
module; whatever only reads or merges existing ones works.
"""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run, skip  # noqa: E402

POKE = os.path.abspath(os.environ.get('POKE', 'build/tests/interop/poke'))
ORIGINAL = '/usr/sbin/ploop'
KIB = 1024
AAAA, BBBB = '{aaaaaaaa-1111-4111-8111-111111111111}', '{bbbbbbbb-1111-4111-8111-111111111111}'

requires('ploop')
if not os.path.exists(ORIGINAL) or os.path.realpath(ORIGINAL) == os.path.realpath(PLOOP):
    skip('needs the ploop of Debian')
if os.geteuid() != 0:
    skip('its lock in /var/lock/ploop is root\'s')


def original(*arguments, rc=0):
    return run(ORIGINAL, *arguments, rc=rc, env={**os.environ, 'PADDING': 'x' * 12000})


def poke(disk, *lines):
    run(POKE, disk, input=''.join(f'{line}\n' for line in lines), env={**os.environ, 'POKE_ALLOC_FULL': '1'})


def disk_with_chain(version):
    """Three levels; every level owns a cluster of its own and shares some."""
    os.mkdir('v')
    ploop('init', '-t', 'none', '-v', version, '-b', 64, '-s', '8M', '--alloc', 'full', 'v/root.hds')
    xml = 'v/DiskDescriptor.xml'
    rng = random.Random(version)
    for level, guid in enumerate((AAAA, BBBB, None)):
        for _ in range(6):
            length = rng.choice([512, 32 * KIB, 100 * KIB])
            poke(xml, f'write {rng.randrange(0, 7 << 20)} {length} {level + 65}')
        if guid:
            ploop('snapshot', '-u', guid, xml)
    ploop('export', '--to', 'raw', xml, 'flat.raw')
    return xml


def images(directory='v'):
    return sorted(os.path.join(directory, name) for name in os.listdir(directory)
                  if name.startswith('root.hds'))


def same_disk(xml):
    ploop('export', '--to', 'raw', xml, 'now.raw')
    run('cmp', 'flat.raw', 'now.raw')
    os.unlink('now.raw')


def accepts(version):
    disk_with_chain(version)
    for image in images():
        if image != 'v/root.hds':
            ploop('check', '-S', image)  # a snapshot's new delta is born sparse
        said = original('check', '-f', '-c', '-r', image)
        check('Error' not in said and 'Fixed' not in said, said)


def lists(version):
    xml = disk_with_chain(version)
    for options in ((), ('-H',), ('-s',), ('-u', BBBB), ('-o', 'uuid,fname')):
        ours, theirs = ploop('snapshot-list', *options, xml), original('snapshot-list', *options, xml)
        check(ours == theirs, f'{options}: ours\n{ours}\ntheirs\n{theirs}')


def merges(version, *arguments):
    xml = disk_with_chain(version)
    original('snapshot-merge', *arguments, xml)
    same_disk(xml)
    for image in images():
        ploop('check', '-f', '-c', image)


def deletes(version):
    xml = disk_with_chain(version)
    original('snapshot-delete', '-u', AAAA, xml)
    same_disk(xml)


def merges_bare(version):
    xml = disk_with_chain(version)
    paths = [line.split()[-1] for line in ploop('snapshot-list', '-H', xml).splitlines()]
    original('merge', *reversed(paths))
    os.mkdir('one')
    run('cp', paths[0], 'one/root.hds')
    ploop('restore-descriptor', 'one', 'one/root.hds')
    same_disk('one/DiskDescriptor.xml')


for _version in (1, 2):
    behaviour(f'1.15 accepts every v{_version} image in check')(lambda version=_version: accepts(version))
    behaviour(f'1.15 lists v{_version} snapshots in the same words')(lambda version=_version: lists(version))
    behaviour(f'1.15 merges the top of a v{_version} chain')(lambda version=_version: merges(version))
    behaviour(f'1.15 merges all of a v{_version} chain')(lambda version=_version: merges(version, '-A'))
    behaviour(f'1.15 deletes a v{_version} snapshot in the middle')(lambda version=_version: deletes(version))
    behaviour(f'1.15 merges bare v{_version} files')(lambda version=_version: merges_bare(version))


@behaviour('what 1.15 made, snapshotted and grew is read and continued here')
def _():
    os.mkdir('v')
    xml = 'v/DiskDescriptor.xml'
    original('init', '-t', 'none', '-v', 1, '-b', 64, '-s', '8M', 'v/root.hds')
    poke(xml, 'write 0 70000 1')
    original('snapshot', '-u', AAAA, xml)
    poke(xml, 'write 65536 100000 2')
    original('grow', '-s', '64M', xml)
    poke(xml, f'write {60 << 20} 5000 3')
    ploop('export', '--to', 'raw', xml, 'flat.raw')
    with open('model.raw', 'wb') as f:
        f.truncate(64 << 20)
        f.write(b'\1' * 65536 + b'\2' * 100000)
        f.seek(60 << 20)
        f.write(b'\3' * 5000)
    run('cmp', 'flat.raw', 'model.raw')
    original('snapshot-merge', '-A', xml)
    same_disk(xml)


main()
