# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of pools share: ploopctl on a state of its own, ploopd on the same state, and what must not change.

    a_pool()                                 a running dir pool 'p' on ./p
    a_volume('v', format='ploop')            in it
    refused(4, 'no directory', 'vol', 'delete', 'p/v')
    with Daemon() as daemon: daemon.connect()
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from behaviour import check, run, skip

PLOOPCTL = os.path.abspath(os.environ.get('PLOOPCTL', 'build/src/cli/ploopctl/ploopctl'))
PLOOPD = os.path.abspath(os.environ.get('PLOOPD', 'build/src/daemon/ploopd'))

with open(PLOOPCTL, 'rb') as _binary:
    _code = _binary.read()
SANITIZED = any(word in _code for word in (b'__asan_init', b'__tsan_init'))


def ctl_words(*arguments, state='state'):
    return [PLOOPCTL, '--state-dir', state, *(word if isinstance(word, bytes) else os.fsencode(str(word)) for word in arguments)]


def ctl(*arguments, rc=0, state='state', timeout=60, **options):
    """One run of ploopctl that must end with rc, and not hang; both its streams."""
    ran = subprocess.run(ctl_words(*arguments, state=state), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=timeout, **{'stdin': subprocess.DEVNULL, **options})
    said = ran.stdout.decode(errors='surrogateescape')
    codes = rc if isinstance(rc, tuple) else (rc,)
    if ran.returncode not in codes:
        raise AssertionError(f'exit {ran.returncode}, not {rc}: ploopctl {" ".join(map(str, arguments))!r}\n{said!r}')
    return said


def refused(codes, word, *arguments, **options):
    """ploopctl must refuse with one of the codes and say why in one printable line that has the word."""
    said = ctl(*arguments, rc=codes, **options)
    what = f'ploopctl {" ".join(map(str, arguments))!r} said {said!r}'
    check(said.startswith('Error: ') and said.count('\n') == 1, f'not one line of error: {what}')
    check(said[:-1].isprintable(), f'not printable: {what}')
    check(word in said, f'no "{word}": {what}')
    return said


def a_pool(name='p', state='state', target=None):
    target = os.path.abspath(target or name)
    os.makedirs(target, exist_ok=True)
    ctl('-q', 'pool', 'define-as', name, 'dir', '--target', target, state=state)
    ctl('-q', 'pool', 'start', name, state=state)


def a_volume(name, size='8M', format='raw', pool='p', **options):
    empty = ['--empty'] if format == 'ploop' else []
    ctl('-q', 'vol', 'create-as', pool, name, size, '--format', format, '--allocation', '0', *empty, **options)


def volumes(pool='p', **options):
    """What the list says, by name."""
    return {v['name']: v for v in json.loads(ctl('vol', 'list', pool, '--json', **options))}


def state_of(name, pool='p', **options):
    return volumes(pool, **options)[name]['state']


def put(path, data=b'', mode='wb'):
    with open(path, mode) as file:
        file.write(data)


def get(path):
    with open(path, 'rb') as file:
        return file.read()


def needs_mounts():
    """Skips without root, and where not even root may mount (some containers)."""
    if os.geteuid() != 0:
        skip('needs root: it mounts')
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run(['mount', '-t', 'tmpfs', 'none', directory], stderr=subprocess.DEVNULL).returncode != 0:
            skip('needs to mount: this root may not')
        run('umount', directory)


def wait_until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f'never: {what}')
        time.sleep(0.01)


@contextlib.contextmanager
def mounted(directory, *options):
    """A small tmpfs, or what else mount(8) is told, on a new directory."""
    os.makedirs(directory, exist_ok=True)
    run('mount', *(options or ('-t', 'tmpfs', '-o', 'size=16m', 'none')), directory)
    try:
        yield os.path.abspath(directory)
    finally:
        run('umount', '-l', directory)


class Daemon:
    """ploopd on a state and a socket of its own, ended with the block."""

    def __init__(self, *options, state='dstate', path='sock'):
        self.words, self.state, self.socket = options, state, os.path.abspath(path)

    def __enter__(self):
        os.makedirs(self.state, exist_ok=True)
        self.log = open(f'{self.state}.log', 'ab')
        self.process = subprocess.Popen([PLOOPD, '--foreground', '--socket', self.socket, '--state-dir', self.state,
                                         *self.words], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until('ploopd answers', lambda: self.answers() or self.process.poll() is not None)
        check(self.process.poll() is None, 'ploopd ended: ' + get(f'{self.state}.log').decode())
        return self

    def answers(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.socket) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.close()

    def connect(self):
        import libvirt
        libvirt.registerErrorHandler(lambda ctx, err: None, None)
        return libvirt.open(f'storage:///system?socket={self.socket}')
