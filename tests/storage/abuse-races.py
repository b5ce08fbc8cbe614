#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody else works in the pool's directory at the same moment: an attacker who swaps names, another one of us. F29 and
attack 14 of docs/abuse.md; a SECONDS in the environment makes the swapping last longer than a second a verb."""

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main
from hostile import contents
from pools import a_pool, a_volume, ctl, ctl_words, get, put, volumes

SECONDS = float(os.environ.get('SECONDS', 1))
SECRET = b'nobody may see or touch this\n' * 64
AT_FDCWD, RENAME_EXCHANGE = -100, 2
libc = ctypes.CDLL(None, use_errno=True)


def exchange(a, b):
    return libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)


def swap_for_ever(a, b):
    while True:
        exchange(a, b)


@contextlib.contextmanager
def swapping(a, b):
    """Meanwhile the two names change places, as fast as one core can."""
    swapper = multiprocessing.Process(target=swap_for_ever, args=(a, b))
    swapper.start()
    try:
        yield
    finally:
        swapper.kill()
        swapper.join()


def attack(restore, name, link, verbs):
    """Each verb, again and again, while the name is now what it is and now a link to what is outside."""
    before = contents('outside')
    done = 0
    for verb in verbs:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            restore()
            with swapping(name, link):
                for _ in range(5):
                    ran = subprocess.run(ctl_words(*verb), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         stdin=subprocess.DEVNULL, timeout=60)
                    check(0 <= ran.returncode < 64, f'{verb} ended with {ran.returncode}: {ran.stdout}')
                    done += ran.returncode == 0
                    after = contents('outside')
                    check(after == before, f'{verb} changed what is outside: {set(after.items()) ^ set(before.items())}')
                    for file in ('stolen', 'p/copy'):
                        check(not os.path.isfile(file) or b'nobody may see' not in get(file), f'{verb} gave it away')
                    for file in ('stolen', 'p/copy'):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(file)
    check(done, 'no verb ever reached the volume: the attack shows nothing')


VERBS = [('vol', 'download', 'p/v', 'stolen'), ('vol', 'upload', 'p/v', 'bytes'), ('vol', 'resize', 'p/v', '1M', '--delta'),
         ('vol', 'wipe', 'p/v'), ('vol', 'clone', 'p/v', 'copy', '--format', 'raw'), ('vol', 'delete', 'p/v')]


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


@behaviour('attack 14: a link swapped in for a raw volume is never gone through')
def _():
    a_pool()
    os.mkdir('outside')
    put('outside/secret', SECRET)
    put('bytes', b'x' * 4096)

    def restore():
        for path in ('p/v', 'p/.link'):
            remove(path)
        put('p/v', b'mine' * 1024)
        os.symlink('../outside/secret', 'p/.link')
    attack(restore, 'p/v', 'p/.link', VERBS)


@behaviour('attack 14: a link swapped in for the directory of a ploop volume is never gone through')
def _():
    a_pool()
    os.mkdir('outside')
    a_volume('v', format='ploop')
    shutil.copytree('p/v', 'outside/v')
    put('outside/v/precious', SECRET)
    shutil.copytree('p/v', 'model')
    put('bytes', b'x' * 4096)

    def restore():
        for path in ('p/v', 'p/.link'):
            remove(path)
        shutil.copytree('model', 'p/v')
        os.symlink('../outside/v', 'p/.link')
    attack(restore, 'p/v', 'p/.link', [*VERBS, ('vol', 'upload', 'p/v', 'bytes', '--disk')])


@behaviour('attack 14: a link swapped in for the image of a ploop volume is never gone through')
def _():
    a_pool()
    os.mkdir('outside')
    a_volume('v', format='ploop')
    put('bytes', SECRET)
    shutil.copytree('p/v', 'model')
    ctl('vol', 'upload', 'p/v', 'bytes', '--disk')
    shutil.copy('p/v/root.hds', 'outside/image')
    put('bytes', b'x' * 4096)

    def restore():
        remove('p/v')
        shutil.copytree('model', 'p/v')
        os.symlink('../../outside/image', 'p/v/root.hds.x')
    attack(restore, 'p/v/root.hds', 'p/v/root.hds.x', [*VERBS, ('vol', 'upload', 'p/v', 'bytes', '--disk')])


@behaviour('F29 of two that make a volume of one name at the same moment one succeeds, and it is whole')
def _():
    a_pool()
    a_pool(state='other', target='p')
    for i in range(30):
        kind = ('raw', 'ploop', 'qcow2')[i % 3]
        words = ('vol', 'create-as', 'p', f'v{i}', '8M', '--format', kind, *(['--empty'] if kind == 'ploop' else []))
        both = [subprocess.Popen(ctl_words(*words, state=state), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                for state in ('state', 'other')]
        said = [process.communicate(timeout=60)[0] for process in both]
        codes = sorted(process.returncode for process in both)
        check(codes[0] == 0 and codes[1] in (4, 5), f'round {i}: exit codes {codes}: {said}')
    for state in ('state', 'other'):
        found = volumes(state=state)
        check(len(found) == 30 and all(v['state'] == 'good' for v in found.values()), found)
    check(sorted(os.listdir('p')) == sorted(found), os.listdir('p'))


@behaviour('F29 of many that delete a volume at the same moment one succeeds, and the other commands say it is gone')
def _():
    a_pool()
    a_pool(state='other', target='p')
    for i in range(10):
        a_volume('v', format=('raw', 'ploop')[i % 2])
        all_of_them = [subprocess.Popen(ctl_words('vol', 'delete', 'p/v', state=state), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT) for state in ('state', 'other') * 2]
        said = [process.communicate(timeout=60)[0] for process in all_of_them]
        codes = [process.returncode for process in all_of_them]
        check(codes.count(0) >= 1 and set(codes) <= {0, 3, 5, 4}, f'round {i}: exit codes {codes}: {said}')
        check(volumes() == {} and volumes(state='other') == {}, volumes())


main()
