#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 at every step of what changes a volume.

strace kills ploopctl as it enters its n-th system call that changes something, for every n, or for as many as ROUNDS allows
(200; evenly spread). Whatever is left then: nothing half-made is listed as good, nothing that was there before is lost, no
other volume is touched, and the same command, given again, does its work.
"""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, requires, run  # noqa: E402

PLOOPCTL = os.path.abspath(os.environ.get('PLOOPCTL', 'build/src/cli/ploopctl/ploopctl'))
ROUNDS = int(os.environ.get('ROUNDS', 200))
OPERATIONS = 13
# What a step of a change is. Reads, locks and memory are not: between two steps nothing changes.
STEPS = ('mkdir,mkdirat,open,openat,openat2,link,linkat,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,'
         'ftruncate,fallocate,write,pwrite64,pwritev,copy_file_range,ioctl,fchmod,fchown')
MIB = 1 << 20
requires('strace', 'qemu-img')


def ctl(*arguments, **options):
    return run(PLOOPCTL, '--state-dir', os.path.abspath('state'), *arguments, **options)


def volumes():
    return {volume['name']: volume for volume in json.loads(ctl('vol', 'list', 'p', '--json'))}


def content(name):
    """The disk's bytes, for ploop what a guest sees; trailing zeros do not count."""
    target = os.path.abspath('content')
    ctl('-q', 'export', 'p/' + name, target, '--force')
    with open(target, 'rb') as file:
        return file.read().rstrip(b'\0')


def prepare():
    os.makedirs('pool')
    ctl('-q', 'pool', 'define-as', 'p', 'dir', '--target', os.path.abspath('pool'))
    ctl('-q', 'pool', 'start', 'p')
    with open('bytes', 'wb') as file:
        file.write(b'old' * 1000)
    with open('new', 'wb') as file:
        file.write(b'new' * 100000)
    for name, kind in (('raw', 'raw'), ('disk', 'ploop'), ('beside', 'ploop')):
        ctl('-q', 'vol', 'create-as', 'p', name, '4M', '--format', kind, *(['--empty'] if kind == 'ploop' else []))
        ctl('-q', 'vol', 'upload', 'p/' + name, 'bytes', *(['--disk'] if kind == 'ploop' else []))
    ctl('-q', 'vol', 'download', 'p/beside', 'image')
    shutil.copytree('pool', 'pool.kept', symlinks=True)


def restore():
    shutil.rmtree('pool')
    shutil.copytree('pool.kept', 'pool', symlinks=True)


def traced(command, *strace):
    return subprocess.run(['strace', '-f', '-o', 'trace', '-e', 'trace=' + STEPS, *strace, PLOOPCTL, '--state-dir',
                           os.path.abspath('state'), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode


def first_step():
    """Steps until the pool is running: the pool and its list are not the volume's."""
    with open('trace') as file:
        lines = [line for line in file if re.match(r'\d+ +\w+\(', line)]
    inside = [i for i, line in enumerate(lines) if '/pool"' in line]
    return (inside[0] if inside else 0), len(lines)


def kill_everywhere(command, judge, again=True):
    """judge(volumes) sees what is left of it after each kill."""
    prepare()
    old = content('raw')
    check(traced(command) == 0, f'{command} fails by itself')
    begin, steps = first_step()
    check(steps - begin > 3, f'{steps - begin} steps are not all')
    chosen = sorted({begin + 1 + i * (steps - begin) // (ROUNDS // OPERATIONS) for i in range(ROUNDS // OPERATIONS)})
    for step in chosen:
        restore()
        # Several threads and helpers count by themselves: a kill that finds no such step is a run that ends.
        traced(command, '-e', f'inject={STEPS}:signal=SIGKILL:when={step}')
        left = volumes()
        where = f'{" ".join(command)} killed at step {step} of {steps}: {left}'
        check({'raw', 'disk', 'beside'} <= set(left) | {command[2].partition('/')[2]}, where)
        check(left['beside']['state'] == 'good' and content('beside') == old, where)
        try:
            judge(left)
            if again:
                if 'new' in left and left['new']['state'] == 'good':
                    ctl('-q', 'vol', 'delete', 'p/new')
                if command[1] != 'delete' or command[2].partition('/')[2] in left:
                    ctl('-q', *command)
        except Exception as error:
            raise AssertionError(f'{where}: {error}') from error
        ctl('doctor', 'p', '--sweep')
        names = set(os.listdir('pool'))
        check(names <= {'raw', 'disk', 'beside', 'new', '.ploopkit'}, f'{where}: {names}')
        stages = os.path.join('pool', '.ploopkit', 'stage')
        check(not os.path.isdir(stages) or not os.listdir(stages), f'{where}: something stays in the stage')


def is_new(size, source=None):
    """Absent, or whole."""
    def judge(left):
        if 'new' not in left:
            return
        check(left['new']['state'] == 'good' and left['new']['capacity'] == size, left['new'])
        check(content('new') == (content(source) if source else b''), 'it is listed and not whole')
    return judge


def is_old_or_new(name, *contents):
    """Good with one of these contents, or known not to be whole."""
    def judge(left):
        if left[name]['state'] != 'incomplete':
            check(left[name]['state'] == 'good', left[name])
            check(content(name) in contents, 'it is listed as good, and half-made')
    return judge


OLD = b'old' * 1000
NEW = b'new' * 100000


@behaviour('a volume is made whole or not at all: raw')
def _():
    kill_everywhere(['vol', 'create-as', 'p', 'new', '4M', '--format', 'raw'], is_new(4 * MIB))


@behaviour('a volume is made whole or not at all: ploop')
def _():
    kill_everywhere(['vol', 'create-as', 'p', 'new', '4M', '--format', 'ploop', '--empty'], is_new(4 * MIB))


@behaviour('a volume is made whole or not at all: qcow2')
def _():
    kill_everywhere(['vol', 'create-as', 'p', 'new', '4M', '--format', 'qcow2'], is_new(4 * MIB))


@behaviour('a clone is whole or not there: raw')
def _():
    kill_everywhere(['vol', 'clone', 'p/raw', 'new'], is_new(4 * MIB, 'raw'))


@behaviour('a clone is whole or not there: ploop')
def _():
    kill_everywhere(['vol', 'clone', 'p/disk', 'new'], is_new(4 * MIB, 'disk'))


@behaviour('an upload that is not whole is known: raw')
def _():
    kill_everywhere(['vol', 'upload', 'p/raw', 'new'], is_old_or_new('raw', OLD, NEW))


@behaviour('an upload that is not whole is known: the image of a ploop volume')
def _():
    kill_everywhere(['vol', 'upload', 'p/disk', 'image'], is_old_or_new('disk', OLD))


@behaviour('an upload that is not whole is known: the disk of a ploop volume')
def _():
    kill_everywhere(['vol', 'upload', 'p/disk', 'new', '--disk'], is_old_or_new('disk', OLD, NEW))


@behaviour('a resize has happened or not: ploop')
def _():
    def judge(left):
        check(left['disk']['state'] == 'good' and left['disk']['capacity'] in (4 * MIB, 8 * MIB), left['disk'])
        check(content('disk') == OLD, 'bytes are lost')
    kill_everywhere(['vol', 'resize', 'p/disk', '8M'], judge)


@behaviour('a wipe that is not whole is known: raw')
def _():
    kill_everywhere(['vol', 'wipe', 'p/raw'], is_old_or_new('raw', OLD, b''))


@behaviour('a wipe that is not whole is known: ploop')
def _():
    kill_everywhere(['vol', 'wipe', 'p/disk'], is_old_or_new('disk', OLD, b''))


@behaviour('a deletion has happened, or is known to be half done: ploop')
def _():
    def judge(left):
        if 'disk' in left:
            is_old_or_new('disk', OLD)(left)
    kill_everywhere(['vol', 'delete', 'p/disk'], judge)


@behaviour('a snapshot is there or not, the disk is the same')
def _():
    def judge(left):
        check(left['disk']['state'] == 'good' and content('disk') == OLD, left['disk'])
    kill_everywhere(['snapshot', 'create', 'p/disk'], judge)


main()
