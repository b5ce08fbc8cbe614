#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ploop resize: whatever the sizes, the files inside stay what they were, and the filesystem is sound."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop, requires, run

requires('e2fsck', 'mke2fs', 'resize2fs', 'tar')
XML = 'v/DiskDescriptor.xml'
MIB = 2**20


def make(size, *options):
    os.makedirs('tree/deep/er')
    os.mkdir('v')
    with open('tree/big', 'wb') as f:
        f.write(os.urandom(700000))
    for i in range(40):
        with open(f'tree/deep/er/{i}', 'w') as f:
            f.write(str(i) * 100)
    ploop('init', '-s', size, '--populate', 'tree', *options, 'v/root.hds')


def size_of_device():
    return json.loads(ploop('info', '--json', XML))['size']


def kib_of_filesystem():
    return int(ploop('info', XML).splitlines()[1].split()[1])


def check_contents(**options):
    """GPT at the end of the device, ext4 without fault, every file as it was."""
    ploop('export', '--force', XML, 'disk.raw')
    with open('disk.raw', 'rb') as f:
        f.seek(-512, os.SEEK_END)
        check(f.read(8) == b'EFI PART', 'no backup partition table in the last sector')
        f.seek(512 + 32)
        check(int.from_bytes(f.read(8), 'little') * 512 == size_of_device() - 512, 'the tables disagree')
        f.seek(1024 + 32)
        first = int.from_bytes(f.read(8), 'little')
    run('e2fsck', '-fn', f'disk.raw?offset={first * 512}')
    ploop('export', '--force', '--to', 'tar', XML, 'files.tar')
    run('rm', '-rf', 'files')
    os.mkdir('files')
    run('tar', '-xf', 'files.tar', '-C', 'files')
    run('diff', '-r', '-x', 'lost+found', 'tree', 'files')
    ploop('check', XML)


@behaviour('up and down through many sizes')
def _():
    make('64M')
    for size, device in (64, 64), (65, 65), (300, 300), (100, 300), (299, 300), (301, 301), (1500, 1500), (40, 1500):
        ploop('resize', '-s', f'{size}M', XML)
        check(size_of_device() == device * MIB, f'{size}M: the device has {size_of_device()} bytes')
        check_contents()


@behaviour('at or below the device only the filesystem shrinks, to the size less four clusters')
def _():
    make('100M')
    ploop('resize', '-s', '50M', XML)
    check(kib_of_filesystem() <= 46 * 1024, f'the filesystem has {kib_of_filesystem()} KiB')
    check(size_of_device() == 100 * MIB, 'the device has shrunk')
    check_contents()


@behaviour('--shrink-device cuts the disk, but not below its snapshots')
def _():
    make('200M')
    ploop('resize', '-s', '90M', '--shrink-device', XML)
    check(size_of_device() == 90 * MIB, f'the device has {size_of_device()} bytes')
    check_contents()
    ploop('snapshot', XML)
    ploop('resize', '-s', '50M', '--shrink-device', XML, rc=17)
    ploop('resize', '-s', '50M', XML)
    check(size_of_device() == 90 * MIB, 'the device has shrunk')
    check_contents()
    ploop('resize', '-s', '120M', '--shrink-device', XML)
    check(size_of_device() == 120 * MIB, 'the disk has not grown')
    check_contents()


@behaviour('a size that is too small for the files is refused and changes nothing')
def _():
    make('100M')
    before = run('sha256sum', 'v/root.hds', XML)
    ploop('resize', '-s', '5M', XML, rc=26)
    ploop('resize', '-s', '4M', XML, rc=38)
    ploop('resize', '-s', '0', XML, rc=38)
    check(run('sha256sum', 'v/root.hds', XML) == before, 'the disk has changed')
    check(sorted(os.listdir('v')) == ['DiskDescriptor.xml', 'DiskDescriptor.xml.lck', 'root.hds'], os.listdir('v'))


@behaviour('with snapshots, which keep their own size')
def _():
    make('64M')
    one = '{11111111-1111-1111-1111-111111111111}'
    ploop('snapshot', '-u', one, XML)
    ploop('resize', '-s', '96M', XML)
    check_contents()
    ploop('export', '-u', one, XML, 'old.raw')
    check(os.path.getsize('old.raw') == 64 * MIB, 'the snapshot has grown')
    ploop('snapshot-delete', '-u', one, XML)
    check_contents()


@behaviour('a small disk with clusters of 32 KiB')
def _():
    make('4M')
    for size in '5M', '20M', '3M', '100M':
        ploop('resize', '-s', size, XML)
        check_contents()


@behaviour('without FUSE')
def _():
    os.environ['PLK_VIEW'] = 'copy'
    make('64M')
    for size in '200M', '80M':
        ploop('resize', '-s', size, XML)
        check_contents()
    del os.environ['PLK_VIEW']


@behaviour('without root')
def _():
    if os.geteuid() != 0:
        return
    make('64M')
    os.chmod('.', 0o755)
    run('chown', '-R', 'nobody', 'v')
    for size in '200M', '80M':
        run('setpriv', '--reuid', 'nobody', '--clear-groups', os.environ['PLOOP'], 'resize', '-s', size, XML)
        check_contents()


@behaviour('the header says nothing that check would find')
def _():
    make('64M')
    ploop('snapshot', XML)
    ploop('resize', '-s', '128M', XML)
    for name in os.listdir('v'):
        if name.startswith('root.hds'):
            ploop('check', '-f', '-r', f'v/{name}')


main()
