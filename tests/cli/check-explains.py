#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ploop check` says what it would do and what that loses, before it does it and without doing it."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop
from hostile import Disk, bounded, unchanged

CLUSTER = 32768
IN_USE = 0x746F6E59


def entry(slot):
    return 64 + 4 * slot


def damaged():
    """Slot 5 shares the cluster of slot 1, slot 6 is outside the file, and the file has a tail."""
    disk = Disk()
    disk.fill(4)
    disk.poke(entry(5), '<I', 2)
    disk.poke(entry(6), '<I', 5000)
    disk.poke_bytes(disk.length(), bytes([9]) * CLUSTER)
    return disk


def findings(run):
    return [(f['kind'], f['fixed']) for f in json.loads(run.out)['findings']]


@behaviour('a dry run writes nothing, says what the repair then says, and ends as it does')
def _():
    for options, code in ((['-f'], 11), (['-F'], 0), (['-F', '-d'], 0)):
        disk = damaged()
        dry = unchanged(disk, ['check', *options, '--dry-run', '--json', disk.image], (code,))
        real = bounded(['check', *options, '--json', disk.image])
        check(real.rc == code, real.show())
        said, did = json.loads(dry.out), json.loads(real.out)
        check(said.pop('dry_run') is True and did.pop('dry_run') is False, dry.show())
        check(said == did, f'{dry.show()}{real.show()}')


@behaviour('without -F nothing is lost: the damage is explained, and everything left as it is')
def _():
    disk = damaged()
    run = unchanged(disk, ['check', '-f', '-d', disk.image], (11,))
    check('not repaired' in run.err, run.show())
    for words in ('vsec=5... \nFATAL\n', 'slot 1 names, too', 'copy the cluster', 'repair, with -F', 'lost:', 'vsec=6... \nFATAL\n'):
        check(words in run.out, f'no {words!r}: {run.show()}')


@behaviour('a dry run in words says what would be done')
def _():
    disk = damaged()
    run = unchanged(disk, ['check', '-F', '--dry-run', disk.image])
    for words in ('vsec=5... \nWould be fixed\n', 'vsec=6... \nWould be fixed\n', 'Want to trim tail', 'lost: what the cluster held'):
        check(words in run.out, f'no {words!r}: {run.show()}')
    run = bounded(['check', '-F', disk.image])
    check('Would' not in run.out and run.out.count('\nFixed\n') == 2, run.show())


@behaviour('JSON has for each finding the place, both values, the other slot, what is done and what is lost')
def _():
    disk = damaged()
    found = json.loads(unchanged(disk, ['check', '-f', '-r', '--json', disk.image], (11,)).out)['findings']
    double, outside, tail = found
    check((double['kind'], double['rank'], double['slot'], double['other_slot'], double['offset'], double['value'],
           double['becomes']) == ('duplicate', 'lossy', 5, 1, entry(5), 2, 5), double)
    check((outside['kind'], outside['slot'], outside['value'], outside['becomes']) == ('beyond-eof', 6, 5000, 0), outside)
    check((tail['kind'], tail['value'], tail['becomes']) == ('tail', CLUSTER, 5 * CLUSTER), tail)
    check(all(f['proposal'] and f['loss'] for f in (double, outside)), found)


@behaviour('-s says only what is wrong')
def _():
    disk = damaged()
    run = unchanged(disk, ['check', '-f', '-s', disk.image], (11,))
    check('lost:' not in run.out and 'vsec=5' in run.out, run.show())


@behaviour('an image below a snapshot is repaired with --all, and only then with loss')
def _():
    disk = damaged()
    disk.poke(44, '<I', IN_USE)
    ploop('check', '-d', '-F', disk.image)
    ploop('snapshot', disk.xml)
    disk.poke(entry(7), '<I', 3)
    run = unchanged(disk, ['check', '-F', disk.xml], (11,))
    check('ignored' in run.err, run.show())
    unchanged(disk, ['check', '--all', disk.xml], (11,))
    dry = unchanged(disk, ['check', '--all', '-F', '--dry-run', '--json', disk.xml])
    run = bounded(['check', '--all', '-F', '--json', disk.xml])
    check(run.rc == 0 and findings(run) == findings(dry) == [('duplicate', True)], run.show())
    unchanged(disk, ['check', '--all', '-F', disk.xml])
    check(findings(unchanged(disk, ['check', '--all', '-F', '--json', disk.xml])) == [], 'a second run finds something')


@behaviour('a lower image left in use is closed by --all; without it that is exit 7')
def _():
    disk = Disk()
    disk.fill(2)
    ploop('snapshot', disk.xml)
    disk.poke(44, '<I', IN_USE)
    unchanged(disk, ['check', disk.xml], (7,))
    ploop('check', '--all', disk.xml)
    check(disk.peek(44, '<I') == (0,), 'still marked')


@behaviour('--all is for descriptors, and -r goes before --dry-run')
def _():
    disk = damaged()
    run = unchanged(disk, ['check', '--all', disk.image], (38,))
    check('--all' in run.err, run.show())
    run = unchanged(disk, ['check', '-F', '-r', '--dry-run', '--json', disk.image], (11,))
    check(not any(fixed for _kind, fixed in findings(run)) and not json.loads(run.out)['dry_run'], run.show())


main()
