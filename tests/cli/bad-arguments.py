#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arguments that make no sense: each is refused with 38 (or what ploop(8) says) and nothing is made or changed."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main
from hostile import Disk, bounded, contents, refused

SIZES = ['1e99', '-1', '16E', '0x', '99999999999T', '', ' ', 'M', '1.5G', '1GB', '1MM', '0x1g2', '+1M', ' 1M', '1 M', '1M ', '1_000',
         '18446744073709551615', '18446744073709551616', '9223372036854775807K', '99999999999999999999999', '\u0661M', '1\n', '--',
         '%s%n', 'nan', 'inf', '08', '1T1', "1'000"]


@behaviour('a size that is none is refused by every verb that takes one')
def _():
    disk = Disk()
    os.mkdir('new')
    for size in SIZES:
        for verb in (['init', '-s', size, '-t', 'none', 'new/root.hds'], ['init', f'-s{size}x', '-t', 'none', 'new/root.hds'],
                     ['import', '--from', 'raw', '-s', size, disk.image, 'new/root.hds']):
            refused('new', verb, (38,))
        for verb in (['grow', '-s', size, disk.xml], ['grow', '-s', size, disk.image], ['resize', '-s', size, disk.xml]):
            refused(disk, verb, (38,))


@behaviour('a disk that its version or cluster can not describe is refused, not wrapped')
def _():
    os.mkdir('new')
    for options in (['-v', '1', '-s', '5T'], ['-v', '1', '-s', '2T'], ['-v', '1', '-s', '2T', '-f', 'preallocated'],
                    ['-v', '2', '-s', '1023T', '-b', '64'], ['-v', '2', '-s', '200T', '-b', '64'], ['-s', '0'], ['-s', '0x0'],
                    ['-s', '8M', '-b', '0'], ['-s', '8M', '-b', '32'], ['-s', '8M', '-b', '100'], ['-s', '8M', '-b', '262144'],
                    ['-s', '8M', '-b', '4294967360'], ['-s', '8M', '-b', '-64'], ['-s', '8M', '-b', '64K'], ['-s', '8M', '-v', '0'],
                    ['-s', '8M', '-v', '3'], ['-s', '8M', '-v', '4294967298'], ['-s', '8M', '-v', ''], ['-s', '8M', '-f', 'qcow2'],
                    ['-s', '8M', '-f', '']):
        refused('new', ['init', '-t', 'none', *options, 'new/root.hds'], (38,))
    for size in '2T', '5T', '1000T':
        disk = Disk(version=1)
        refused(disk, ['grow', '-s', size, disk.xml], (38,))
        refused(disk, ['grow', '-s', size, disk.image], (38,))


@behaviour('a disk grown far beyond its present BAT stays sparse and within bounds')
def _():
    disk = Disk()
    run = bounded(['grow', '-s', '1T', disk.xml])
    check(run.rc == 0, run.show())
    check(os.stat(disk.image).st_blocks * 512 < 64 << 20, f'{os.stat(disk.image).st_blocks} blocks')


@behaviour('a GUID that is none, or of no snapshot, is refused')
def _():
    disk = Disk()
    for guid in '', '{}', 'base', '{5fbaabe3', '5fbaabe3-6958-40ff-92a7-860e329aab4', '5fbaabe3-6958-40ff-92a7-860e329aab411', '../x', 'x\n', \
            '5fbaabe3-6958-40ff-92a7-860e329aab4g', '%s%s%s%n', 'a' * 4096:
        for verb in 'snapshot', 'snapshot-delete', 'snapshot-switch', 'snapshot-merge', 'check', 'snapshot-list':
            refused(disk, [verb, '-u', guid, disk.xml], (38,))
        refused(disk, ['export', '-u', guid, disk.xml, disk.path + '/new'], (38,))
    for guid in '{00000000-0000-0000-0000-000000000000}', '{5fbaabe3-6958-40ff-92a7-860e329aab41}':
        refused(disk, ['snapshot', '-u', guid, disk.xml], (38,))


@behaviour('names with control characters, and of 256 bytes, are shown on one line or refused')
def _():
    os.mkdir('new')
    for name, code in ('x' * 256, (1, 4, 38, 39)), ('sub/root.hds', (1, 4, 38, 39)), ('..', (38,)), ('.', (38,)), ('', (38, 4)), ('a/', (38, 4, 1)):
        refused('new', ['init', '-s', '8M', '-t', 'none', 'new/' + name if name else ''], code)
    for name, shown in ('no\nsuch.xml', 'no\\nsuch.xml'), ('\x1b[2J.xml', '\\x1b[2J.xml'), ('\x9b.xml', '\\xc2\\x9b.xml'), ('a\rb.xml', 'a\\x0db.xml'), \
            ('\udcff.xml', '\\xff.xml'):
        refused('new', ['info', '-s', 'new/' + name], (39,), shown)
        refused('new', ['snapshot', 'new/' + name], (39,), shown)


@behaviour('an odd name works like any other')
def _():
    for name in '-x', 'new\nline', '%s%n', '\x1b[31m', ' ', '\udcff':
        here = Disk().path
        os.mkdir(here + '/d')
        image = os.path.join(here, 'd', name)
        for verb in ['init', '-s', '8M', '-t', 'none', image], ['snapshot', here + '/d/DiskDescriptor.xml'], \
                ['snapshot-merge', here + '/d/DiskDescriptor.xml'], ['info', '-s', here + '/d/DiskDescriptor.xml']:
            run = bounded(verb)
            if name in ('\udcff', '\x1b[31m'):                 # XML cannot hold it
                check(run.rc in (38, 39), run.show())
                check(not os.listdir(here + '/d'), f'left {os.listdir(here + "/d")}')
                break
            check(run.rc == 0, run.show())
        else:
            check(os.path.exists(image), 'not under its name')


@behaviour('unknown verbs and options, and missing arguments, are refused')
def _():
    disk = Disk()
    before = contents(disk.path)
    for arguments in [], ['junk'], ['--junk'], ['-v1x', 'info', disk.xml], ['-v99999999999', 'info', disk.xml], ['info'], ['info', '--junk', disk.xml], \
            ['info', '-\n', disk.xml], ['info', disk.xml, disk.xml], ['grow', disk.xml], ['grow', '-s'], ['snapshot'], ['convert', disk.xml], \
            ['convert', '-f', 'junk', disk.xml], ['convert', '-v', '9', disk.xml], ['check', '-R', disk.image], ['check', '-R', '-b', '0', disk.image], \
            ['check', '-R', '-b', '63', disk.image], ['map', '--width', '0', disk.xml], ['map', '--width', '99999999999', disk.xml], \
            ['merge', disk.image], ['--progress-fd', '-1', 'info', disk.xml], ['--progress-fd', '999', 'info', disk.xml], \
            ['info', '-s', disk.image], ['snapshot', disk.image], ['snapshot-list', disk.image]:
        run = bounded(arguments)
        check(run.rc == 38 or (run.rc == 1 and arguments[0] == 'snapshot-list'), run.show())
        check(run.err and all(c.isprintable() or c == '\n' for c in run.err), run.show())
    check(contents(disk.path) == before, 'changed the disk')


main()
