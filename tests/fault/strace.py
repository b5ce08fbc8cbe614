#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program as it is installed, with one system call failing or the process killed at it.

Each verb runs once under strace, which tells how often it makes each call; then that call fails, or SIGKILL comes
with it, at some of these occasions ($RUNS in all; 0 = at every one). Each time the disk reads as before or as after,
`ploop check` finds it sound, nothing lies about that the engine would not know, and what did not succeed says why in
one line that names the disk. Short transfers are not made here: strace would skip the call and lie about its result."""

import collections
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run
from hostile import Disk

requires('strace')
try:
    run('strace', '-f', '-qq', '-o', '/dev/null', '-e', 'inject=getppid:error=EIO', 'true')
except AssertionError:
    print('skipped: strace may not trace here')
    sys.exit(77)

RUNS = int(os.environ.get('RUNS', '300'))
ERRORS = {
    'pwrite64': 'EIO ENOSPC', 'pread64': 'EIO', 'fsync': 'EIO', 'fdatasync': 'EIO ENOSPC', 'openat': 'EMFILE',
    'openat2': 'EIO ENOENT EMFILE', 'renameat2': 'EIO', 'renameat': 'EIO', 'linkat': 'EIO', 'unlinkat': 'EIO',
    'ftruncate': 'ENOSPC', 'fallocate': 'ENOSPC EOPNOTSUPP', 'copy_file_range': 'EIO EXDEV', 'ioctl': 'EIO EOPNOTSUPP',
    'lseek': 'EIO', 'fstat': 'EIO', 'newfstatat': 'EIO', 'fcntl': 'ENOLCK', 'flock': 'EIO', 'write': 'EIO', 'read': 'EIO',
    'mmap': 'ENOMEM', 'getrandom': 'EIO',
}
KILLS = 'pwrite64 fsync fdatasync openat2 renameat2 renameat linkat unlinkat ftruncate fallocate'.split()
# What an interrupted change may leave: the engine clears it up, or nobody names it.
KNOWN = re.compile(r'^DiskDescriptor|\.tmp$|\.idx$|^root\.hds|\.lck$|^out|^\.ploopkit-|^new\.hds$')
NAMED = re.compile(r"root\.hds|DiskDescriptor|/v['/]|'\.'|'out|new\.hds|out of memory|standard output")
GUID_1 = '{11111111-1111-4111-8111-111111111111}'
GUID_2 = '{22222222-2222-4222-8222-222222222222}'

# ---- disks to begin with ----


def one_image():
    disk = Disk('2M')
    disk.fill(6)
    os.unlink(disk.xml + '.lck')
    return disk


def three_states():
    disk = one_image()
    for guid, n in (GUID_1, 3), (GUID_2, 2):
        before = set(os.listdir(disk.path))
        ploop('snapshot', '-u', guid, disk.xml)
        new, = (name for name in set(os.listdir(disk.path)) - before if name.startswith('root.hds.'))
        upper = Disk.__new__(Disk)
        upper.path, upper.image, upper.cluster = disk.path, os.path.join(disk.path, new), disk.cluster
        upper.fill(n)
    return disk


def nothing():
    disk = one_image()
    for name in os.listdir(disk.path):
        os.unlink(os.path.join(disk.path, name))
    return disk


def without_descriptor():
    disk = one_image()
    os.unlink(disk.xml)
    return disk


def left_open():
    disk = one_image()
    disk.poke(44, '<I', 0x746f6e59)
    disk.poke_bytes(disk.length(), b'tail' * 100)
    return disk


def with_an_output():
    disk = one_image()
    with open(os.path.join(disk.path, 'out'), 'wb') as file:
        file.write(b'precious')
    return disk


VERBS = [
    ('init', nothing, ['init', '-s', '2M', '-b', '64', '-t', 'none', 'root.hds']),
    ('snapshot', three_states, ['snapshot', 'DiskDescriptor.xml']),
    ('snapshot-delete', three_states, ['snapshot-delete', '-u', GUID_2, 'DiskDescriptor.xml']),
    ('snapshot-merge', three_states, ['snapshot-merge', '-A', 'DiskDescriptor.xml']),
    ('snapshot-merge into a new file', three_states, ['snapshot-merge', '-A', '-n', 'new.hds', 'DiskDescriptor.xml']),
    ('snapshot-switch', three_states, ['snapshot-switch', '-u', GUID_1, 'DiskDescriptor.xml']),
    ('grow', one_image, ['grow', '-s', '600M', 'DiskDescriptor.xml']),
    ('convert to raw', one_image, ['convert', '-f', 'raw', 'DiskDescriptor.xml']),
    ('convert to preallocated', one_image, ['convert', '-f', 'preallocated', 'DiskDescriptor.xml']),
    ('convert to version 1', three_states, ['convert', '-v', '1', 'DiskDescriptor.xml']),
    ('check', left_open, ['check', '-F', '-d', 'DiskDescriptor.xml']),
    ('restore-descriptor', without_descriptor, ['restore-descriptor', '.', 'root.hds']),
    ('export', with_an_output, ['export', '--force', 'DiskDescriptor.xml', 'out']),
]

# ---- what a directory holds ----


def digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha1(file.read().rstrip(b'\0')).hexdigest()


def mend(where):
    """The top of a chain is mended through the descriptor, what lies below it by its file."""
    try:
        ploop('check', 'DiskDescriptor.xml', cwd=where)
    except AssertionError:
        for name in os.listdir(where):
            if name.startswith('root.hds') and not name.endswith('.idx'):
                ploop('check', '-d', name, cwd=where)
        ploop('check', 'DiskDescriptor.xml', cwd=where)


def state(where):
    """What the user sees: the contents, the snapshots, the file that was to be written."""
    out = os.path.join(where, 'out')
    seen = [digest(out) if os.path.exists(out) else None]
    if not os.path.exists(os.path.join(where, 'DiskDescriptor.xml')):
        return seen
    mend(where)
    listed = ploop('snapshot-list', '-H', '-o', 'uuid', 'DiskDescriptor.xml', cwd=where)
    ploop('export', '--force', 'DiskDescriptor.xml', '../raw', cwd=where)
    size = os.path.getsize('raw')
    return seen + [len(listed.split()), digest('raw'), size]


def trace(where, arguments, *options, timeout=60):
    return subprocess.run(['strace', '-f', '-qq', *options, PLOOP, *arguments], cwd=where, text=True, errors='replace',
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)


def occasions(where, arguments):
    """How often each call is made, and how often before main() is reached; that part is the loader's."""
    run(*['strace', '-qq', '-f', '-o', '../log', '-e', 'trace=' + ','.join(ERRORS), PLOOP, *arguments], cwd=where)
    total, early, begun = collections.Counter(), collections.Counter(), False
    with open('log', errors='replace') as log:
        for line in log:
            begun = begun or 'root.hds' in line or 'DiskDescriptor' in line or f'"{where}"' in line or 'O_PATH' in line
            call = re.match(r'\d+\s+(\w+)\(', line)
            if call:
                total[call[1]] += 1
                early[call[1]] += not begun
    return total, early


def plan(total, early):
    for call, errors in ERRORS.items():
        for n in range(early[call] + 1, total[call] + 1):
            for error in errors.split():
                yield call, f'error={error}', n
            if call in KILLS:
                yield call, 'signal=SIGKILL', n


def judge(name, where, ran, before, after, known):
    what = f'exit {ran.returncode}: {ran.stdout}{ran.stderr}'
    killed = ran.returncode in (-9, 137)
    if ran.returncode and not killed:
        check(ran.returncode > 0 and ran.returncode < 128, what)
        said = [line for line in ran.stderr.splitlines() if not line.startswith('Warning: ')]
        check(name == 'check' or len(said) == 1, f'not one line: {what}')
        check(NAMED.search(said[-1]), f'names nothing: {what}')
    for left in set(os.listdir(where)) - known:
        check(KNOWN.search(left), f'left {left}: {what}')
    now = state(where)
    check(now in ((before, after) if ran.returncode else (after,)), f'{now} is neither {before} nor {after}: {what}')


def fail_in_turn(name, start, arguments, share):
    disk = start()
    known = set(os.listdir(disk.path))
    shutil.copytree(disk.path, 'v')
    before = state('v')
    shutil.rmtree('v')
    shutil.copytree(disk.path, 'v')
    total, early = occasions('v', arguments)
    after = state('v')
    cases = list(plan(total, early))
    stride = max(1, len(cases) // share) if share else 1
    for call, act, n in cases[::stride]:
        shutil.rmtree('v')
        shutil.copytree(disk.path, 'v')
        ran = trace('v', arguments, '-o', '/dev/null', '-e', f'trace={call}', '-e', f'inject={call}:{act}:when={n}')
        try:
            judge(name, 'v', ran, before, after, known)
        except AssertionError as wrong:
            raise AssertionError(f'{name}, {call} {act} at {n}: {wrong}') from None
    print(f'{name}: {len(cases)} occasions, {len(cases[::stride])} runs')


for _name, _start, _arguments in VERBS:
    def _run(name=_name, start=_start, arguments=_arguments):
        fail_in_turn(name, start, arguments, RUNS // len(VERBS))
    behaviour(f'{_name} survives a failing call, and its end at any')(_run)

# ---- filesystem helpers: they work on a scratch, and may end at any moment, with the program or without it ----

def killed_at(call, n, where, arguments):
    """Every process that makes the call for the n-th time is killed: the helper alone, the program alone, or both."""
    return trace(where, arguments, '-o', '/dev/null', '-e', f'trace={call}', '-e', f'inject={call}:signal=SIGKILL:when={n}',
                 timeout=120)


def fs_state(where):
    mend(where)
    ploop('export', '--force', 'DiskDescriptor.xml', '../raw', cwd=where)
    return digest('raw'), os.path.getsize('raw')


def files(where):
    """What the filesystem holds: the bytes of the one file in it."""
    ploop('export', '--force', '--to', 'tar', 'DiskDescriptor.xml', '../tar', cwd=where)
    with tarfile.open('tar') as tar:
        return {m.name: hashlib.sha1(tar.extractfile(m).read()).hexdigest() for m in tar if m.isfile()}


def judge_resize(ran, before, held):
    """A program that lives says so, and nothing has happened; one that is killed may have been past its commit."""
    what = f'exit {ran.returncode}: {ran.stderr}'
    for left in set(os.listdir('v')) - set(os.listdir('start')):
        check(KNOWN.search(left), f'left {left}: {what}')
    now = fs_state('v')
    if ran.returncode > 0 and ran.returncode != 137:
        check(now == before, f'not as it was: {what}')
    check(now == before or files('v') == held, f'files are lost: {what}')


@behaviour('a filesystem helper that is killed leaves the disk as it was')
def _():
    requires('mke2fs', 'resize2fs', 'e2fsck')
    os.mkdir('start')
    os.mkdir('tree')
    with open('tree/file', 'wb') as file:
        file.write(os.urandom(3 << 20))
    ploop('init', '-s', '40M', '--populate', 'tree', 'start/root.hds')
    shutil.copytree('start', 'v')
    before, held, n_runs = fs_state('v'), files('v'), 0
    for size in '60M', '24M':
        for call, times in ('pwrite64', (1, 2, 3, 5, 9, 17)), ('pread64', (1, 4, 12)), ('fsync', (1, 3, 6)), \
                           ('fdatasync', (1, 5, 11)), ('execve', (2,)), ('lseek', (2, 8)):
            for n in times:
                shutil.rmtree('v')
                shutil.copytree('start', 'v')
                ran = killed_at(call, n, 'v', ['resize', '-s', size, 'DiskDescriptor.xml'])
                n_runs += ran.returncode != 0
                try:
                    judge_resize(ran, before, held) if ran.returncode else check(files('v') == held, 'files are lost')
                except AssertionError as wrong:
                    raise AssertionError(f'resize to {size}, killed at {call} {n}: {wrong}') from None
    print(f'{n_runs} runs with a killed helper or program')
    for n in 1, 3, 8:
        for call in 'pwrite64', 'fsync', 'execve':
            shutil.rmtree('v')
            os.mkdir('v')
            ran = killed_at(call, n, 'v', ['init', '-s', '40M', 'root.hds'])
            check(ran.returncode == 0 or not os.path.exists('v/DiskDescriptor.xml') or fs_state('v'), ran.stderr)
            check(ran.returncode in (0, -9, 137) or not os.listdir('v'), f'init left {os.listdir("v")}')


if __name__ == '__main__':
    main()
