#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a verb leaves when it does not come to its end: stopped by a signal, out of space, without its helper
program, or with a writer on the disk. The disk is as before, nothing lies around, the message says what."""

import fcntl
import hashlib
import os
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run

requires('mke2fs', 'e2fsck', 'resize2fs')
XML = 'v/DiskDescriptor.xml'


def state(*tops):
    """Names and contents of all files beneath."""
    found = {}
    for top in tops:
        for where, _, names in os.walk(top):
            for name in names:
                path = os.path.join(where, name)
                with open(path, 'rb') as f:
                    found[path] = hashlib.sha1(f.read()).hexdigest()
    return found


def have(program):
    return any(os.access(os.path.join(d, program), os.X_OK) for d in ('/bin', '/usr/bin', '/sbin', '/usr/sbin'))


# ---- signals ----

PIPE = 4096
ROOM = 30


def waiting(told):
    return struct.unpack('i', fcntl.ioctl(told, termios.FIONREAD, bytes(4)))[0]


def interrupt(*arguments, sig=signal.SIGINT, may_end=False):
    """Stops the verb at the first sign of progress: the pipe takes one line and holds it up at the next. True if
    it stopped; with may_end it may also have been past the point where it can, and end well."""
    told, tell = os.pipe()
    fcntl.fcntl(tell, fcntl.F_SETPIPE_SZ, PIPE)
    os.write(tell, bytes(PIPE - ROOM))
    with subprocess.Popen([PLOOP, '--progress-fd', str(tell), *arguments], pass_fds=[tell], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as verb:
        os.close(tell)
        while waiting(told) == PIPE - ROOM and verb.poll() is None:
            time.sleep(0.001)
        verb.send_signal(sig)
        while os.read(told, 65536):
            pass
        os.close(told)
        said = verb.stdout.read()
    check(verb.returncode == 29 or may_end and verb.returncode == 0, f'{arguments}: exit {verb.returncode}: {said}')
    return verb.returncode == 29


@behaviour('a signal stops what makes something, and nothing of it stays')
def _():
    os.mkdir('v')
    os.mkdir('new')
    os.mkdir('tree')
    with open('in.raw', 'wb') as f:
        f.write(os.urandom(48 * 2**20))
    os.link('in.raw', 'tree/f')
    ploop('import', 'in.raw', 'v/root.hds')
    before = state('v')
    for verb in (['init', '-s', '200M', '-t', 'none', '-f', 'preallocated', '--alloc', 'full', 'new/root.hds'],
                 ['init', '-s', '200M', '-t', 'none', '-f', 'raw', '--alloc', 'full', 'new/root.hds'],
                 ['init', '-s', '200M', '--populate', 'tree', 'new/root.hds'],
                 ['import', 'in.raw', 'new/root.hds'],
                 ['export', XML, 'new/out'],
                 ['copy', '-s', 'v/root.hds', '-d', 'new/out']):
        for sig in signal.SIGINT, signal.SIGTERM:
            interrupt(*verb, sig=sig)
            check(state('v', 'new') == before, f'{verb} left {os.listdir("new")}')


@behaviour('a signal stops what changes a disk, and its contents stay')
def _():
    os.mkdir('v')
    os.mkdir('tree')
    with open('tree/f', 'wb') as f:
        f.write(os.urandom(32 * 2**20))
    ploop('init', '-s', '300M', '--populate', 'tree', 'v/root.hds')
    before = state('v')
    files = sorted(os.listdir('v'))
    for verb in (['resize', '-s', '500M', XML], ['resize', '-s', '250M', XML],
                 ['convert', '-f', 'preallocated', '--alloc', 'full', XML]):
        if interrupt(*verb, may_end=verb[0] == 'resize'):
            check(state('v') == before, f'{verb} left {os.listdir("v")}')
        check(sorted(os.listdir('v')) == files, f'{verb} left {os.listdir("v")}')
        before = state('v')


# ---- helpers ----

@behaviour('a missing program is named with its package, and nothing has begun')
def _():
    try:
        run('unshare', '-m', 'true')
    except AssertionError:
        return
    os.mkdir('v')
    os.mkdir('new')
    ploop('init', '-s', '40M', 'v/root.hds')
    before = state('v', 'new')
    for program, package, *verb in (('mke2fs', 'e2fsprogs', 'init', '-s', '20M', 'new/root.hds'),
                                    ('e2fsck', 'e2fsprogs', 'resize', '-s', '60M', XML),
                                    ('resize2fs', 'e2fsprogs', 'resize', '-s', '60M', XML),
                                    ('resize2fs', 'e2fsprogs', 'resize', '-s', '30M', XML),
                                    ('qemu-img', 'qemu-utils', 'export', '--to', 'qcow2', XML, 'new/out')):
        hide = f'for d in /sbin /bin /usr/sbin /usr/bin /usr/local/sbin /usr/local/bin; do [ ! -e $d/{program} ] || ' \
               f'mount --bind /dev/null $d/{program}; done; exec "$@"'
        said = run('unshare', '-m', 'sh', '-c', hide, 'sh', PLOOP, *verb, rc=12)
        check(program in said and package in said, said)
        check(state('v', 'new') == before, f'{verb} left {os.listdir("new")}')


# ---- space ----

def small_filesystem():
    """48 MiB, mounted on ./m; False where that is not allowed."""
    run('truncate', '-s', '48M', 'fs')
    run('mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', 'fs')
    os.mkdir('m')
    try:
        run('mount', '-o', 'loop', 'fs', 'm')
    except AssertionError:
        return False
    return True


def fill_up():
    with open('full', 'wb', buffering=0) as f:
        for size in 2**20, 2**10:
            try:
                while f.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def expect_full(*arguments):
    said = ploop(*arguments, rc=7)
    check('No space' in said or ' free' in said, said)
    return said


def run_out_of_space():
    os.mkdir('v')
    os.mkdir('new')
    with open('../in.raw', 'wb') as f:
        f.write(os.urandom(60 * 2**20))
    for verb in (['init', '-s', '100M', '-f', 'preallocated', 'new/root.hds'],
                 ['init', '-s', '100M', '-t', 'none', '-f', 'raw', '--alloc', 'full', 'new/root.hds'],
                 ['import', '../in.raw', 'new/root.hds']):
        expect_full(*verb)
        check(os.listdir('new') == [], f'{verb} left {os.listdir("new")}')
    ploop('init', '-s', '100M', 'v/root.hds')
    fill_up()
    before = state('v', 'new')
    for verb in (['resize', '-s', '200M', XML], ['resize', '-s', '60M', XML], ['snapshot', XML],
                 ['convert', '-f', 'preallocated', XML], ['convert', '-f', 'raw', XML], ['convert', '-v', '1', XML],
                 ['grow', '-s', '100G', XML], ['export', XML, 'new/out'],
                 ['export', '--to', 'tar', XML, 'new/out'], ['copy', '-s', 'v/root.hds', '-d', 'new/out']):
        said = expect_full(*verb)
        check('v/' in said or 'new/' in said, f'{verb} does not say where: {said}')
        check(state('v', 'new') == before, f'{verb} has changed something')
    os.truncate('full', os.path.getsize('full') - 200 * 1024) # enough to begin, and let resize2fs run into it
    expect_full('resize', '-s', '50G', XML)
    check(state('v', 'new') == before, 'resize has changed something half-way')
    ploop('check', XML)


@behaviour('a full filesystem: the disk is as before, and the message names the file')
def _():
    if not small_filesystem():
        return
    os.chdir('m')
    try:
        run_out_of_space()
    finally:
        os.chdir('..')
        run('umount', 'm')


# ---- writers ----

@behaviour('while a writer has the disk: 23 from what reads or changes it, but a look is free')
def _():
    if not have('qemu-io'):
        return
    os.mkdir('v')
    os.mkdir('new')
    ploop('init', '-s', '40M', 'v/root.hds')
    ploop('snapshot', XML)
    top = [f'v/{name}' for name in os.listdir('v') if name.startswith('root.hds.')][0]
    with subprocess.Popen(['qemu-io', '-f', 'parallels', top], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as writer:
        writer.stdin.write('write -P 1 20M 1M\n')
        writer.stdin.flush()
        check('wrote' in writer.stdout.readline(), 'qemu-io does not write')
        before = state('v')
        began = time.monotonic()
        for verb in (['snapshot', XML], ['snapshot-list', XML], ['snapshot-merge', XML], ['check', XML],
                     ['resize', '-s', '80M', XML], ['grow', '-s', '80M', XML], ['convert', '-v', '1', XML],
                     ['balloon', 'discard', XML], ['export', XML, 'new/out'], ['check', '-f', top],
                     ['copy', '-s', top, '-d', 'new/out']):
            said = ploop(*verb, rc=23)
            check('qemu-io' in said and str(writer.pid) in said, said)
        for verb in ['info', XML], ['info', '-s', XML], ['map', XML], ['balloon', 'show', XML]:
            ploop(*verb)
        check(time.monotonic() - began < 5, 'something waited for the writer')
        check(state('v', 'new') == before, 'something was changed or left')
        writer.stdin.close()
        writer.wait()
    check('root.hds.' in ploop('snapshot-list', XML), 'the list is refused afterwards, too')


main()
