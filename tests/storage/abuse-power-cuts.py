#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""F15 of docs/abuse.md: what a command said is done survives a power cut. strace shows the order of its calls: before the
command ends, every file it wrote in the pool is synced after its last write, and every directory in which a name came,
went or changed is synced after that. What this order is worth on a real disk that loses its power is shown by tests/fault
(every legal state after a crash of an image and a descriptor) and tests/power (ext4 and xfs, cut)."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, requires
from pools import a_pool, a_volume, ctl, ctl_words, put

requires('strace')
WRITES = ('write', 'pwrite64', 'pwritev', 'pwritev2', 'ftruncate', 'fallocate', 'copy_file_range')
NAMES = ('rename', 'renameat', 'renameat2', 'link', 'linkat', 'unlink', 'unlinkat', 'mkdir', 'mkdirat', 'rmdir', 'symlink',
         'symlinkat')
SYNCS = ('fsync', 'fdatasync', 'syncfs')


def calls(arguments, **options):
    """(call, its text) of each that succeeded and matters, in order."""
    ran = subprocess.run(['strace', '-f', '-y', '-s', '256', '-o', 'trace', '-e', 'trace=' + ','.join(WRITES + NAMES + SYNCS),
                          *ctl_words(*arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         **options)
    check(ran.returncode == 0, f'{arguments}: {ran.stdout}')
    begun = {} # what another thread's line came between, by thread
    with open('trace', errors='replace') as file:
        for line in file:
            thread, _, text = line.rstrip('\n').partition(' ')
            text = text.lstrip()
            if text.endswith(' <unfinished ...>'):
                begun[thread] = text[:-len(' <unfinished ...>')]
                continue
            if text.startswith('<... '):
                text = begun.pop(thread) + text.partition(' resumed>')[2]
            call = re.match(r'(\w+)(\(.*\)) += (-?\d+)', text)
            if call and not call[3].startswith('-'):
                yield call[1], call[2]


def written(call, text):
    """The file that the call wrote to: the last descriptor it names. A file without a name counts once it has one."""
    files = re.findall(r'\d+<(/[^>]*)>', text)
    return files[-1] if files and '(deleted)' not in text else None


def named(text):
    """Every name in the call, as a path."""
    at = ''
    for directory, name in re.findall(r'(?:AT_FDCWD|\d+)<([^>]*)>|"([^"]*)"', text):
        if directory:
            at = directory
        elif not name.startswith('/proc/'): # the old name of a file without one
            yield os.path.normpath(os.path.join(at, name))


def survives(*arguments, below, passing=()):
    """All that changed below that directory is synced when the command ends, but for names that match `passing`."""
    below = os.path.realpath(below)
    dirty, seen = {}, 0
    for call, text in calls(arguments):
        if call in SYNCS:
            dirty.pop(written(call, text), None)
            continue
        if call in WRITES:
            paths = [written(call, text)]
        else:
            paths = [os.path.dirname(path) for path in named(text) if not any(re.search(p, path) for p in passing)]
        for path in paths:
            if path and path.startswith(below):
                dirty[path] = call + text
                seen += 1
    check(seen, f'{arguments} did nothing below {below}')
    left = {path: call for path, call in dirty.items() if os.path.exists(path) and not any(re.search(p, path) for p in passing)}
    check(not left, f'not synced by {arguments}: {left}')


# Reservations and stages speak of a process that lives; .ploopkit itself comes and goes with them.
PASSING = (r'/\.ploopkit(/names|/stage)?(/.*)?$',)


@behaviour('F15 a volume that was made is there after a power cut')
def _():
    a_pool()
    for kind in ('raw', 'ploop', 'qcow2', 'dir'):
        empty = ['--empty'] if kind == 'ploop' else []
        size = '0' if kind == 'dir' else '8M'
        survives('vol', 'create-as', 'p', kind, size, '--format', kind, *empty, below='p', passing=PASSING)


@behaviour('F15 a clone that was made is there, and whole, after a power cut')
def _():
    a_pool()
    put('p/raw', os.urandom(3 << 20))
    for kind in ('raw', 'ploop', 'qcow2'):
        survives('vol', 'clone', 'p/raw', f'{kind}2', '--format', kind, below='p', passing=PASSING)


@behaviour('F15 bytes that were uploaded are there after a power cut')
def _():
    a_pool()
    put('bytes', os.urandom(3 << 20))
    a_volume('raw')
    survives('vol', 'upload', 'p/raw', 'bytes', below='p', passing=PASSING)
    a_volume('disk', format='ploop')
    survives('vol', 'upload', 'p/disk', 'bytes', '--disk', below='p', passing=PASSING)
    ctl('vol', 'download', 'p/disk', 'image')
    survives('vol', 'upload', 'p/disk', 'image', below='p', passing=PASSING)


@behaviour('F15 a volume that was resized or wiped is so after a power cut')
def _():
    a_pool()
    for kind in ('raw', 'ploop', 'qcow2'):
        a_volume(kind, format=kind)
        survives('vol', 'resize', f'p/{kind}', '16M', below='p', passing=PASSING)
        survives('vol', 'wipe', f'p/{kind}', below='p', passing=PASSING)


@behaviour('F15 a volume that was deleted does not come back after a power cut')
def _():
    a_pool()
    for kind in ('raw', 'ploop', 'qcow2'):
        a_volume(kind, format=kind)
        survives('vol', 'delete', f'p/{kind}', below='p', passing=PASSING)


@behaviour('F15 what was defined, set to start by itself or undefined is so after a power cut')
def _():
    a_pool()
    os.mkdir('q')
    survives('pool', 'define-as', 'q', 'dir', '--target', os.path.abspath('q'), below='state/config')
    survives('pool', 'autostart', 'q', below='state/config')
    survives('pool', 'autostart', 'q', '--disable', below='state/config')
    survives('pool', 'undefine', 'q', below='state/config')


main()
