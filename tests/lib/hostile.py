# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of hostile input share: runs of `ploop` under limits, and directories that must not change.

    disk = Disk('8M')                        a fresh disk in a directory of its own
    disk.poke(48, '<I', 1 << 31)             bytes of root.hds
    refused(disk, ['info', '-s', disk.xml], (11,), 'root.hds', 'offset 48')

Whatever the input, a run may take RSS_MAX of memory and SECONDS_MAX of time, prints at most one line of error
and, when it fails, leaves every file as it was. The lock file is no data and may come.
"""

import hashlib
import os
import resource
import struct
import subprocess
import tempfile
import time

from behaviour import PLOOP, check, ploop

ADDRESS_SPACE = 512 << 20
RSS_MAX = 64 << 20
SECONDS_MAX = 2

# Sanitizers reserve terabytes of address space, and use more of all else.
with open(PLOOP, 'rb') as _binary:
    _code = _binary.read()
SANITIZED = any(word in _code for word in (b'__asan_init', b'__tsan_init'))

TOP = '{5fbaabe3-6958-40ff-92a7-860e329aab41}'
NONE = '{00000000-0000-0000-0000-000000000000}'


class Run:
    """One finished run: rc, out, err (text), seconds, rss (bytes)."""

    def __init__(self, arguments, **options):
        limit = None if SANITIZED else lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        begin = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen([PLOOP, *map(os.fsencode, map(str, arguments))], stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=err, preexec_fn=limit, **options)
            self.rc, self.rss = self._wait(child, begin)
            self.seconds = time.monotonic() - begin
            self.out, self.err = self._text(out), self._text(err)
        self.what = f'ploop {" ".join(map(str, arguments))}'

    @staticmethod
    def _wait(child, begin):
        """Like wait4, but a run that hangs (on a FIFO, say) is ended and shows as one that took too long."""
        deadline = begin + 10 * SECONDS_MAX
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode, usage.ru_maxrss << 10
            if time.monotonic() > deadline:
                child.kill()
                deadline += 60
            time.sleep(0.0005)

    @staticmethod
    def _text(stream):
        stream.seek(0)
        return stream.read().decode(errors='surrogateescape')

    def show(self):
        return f'{self.what}\nexit {self.rc}, {self.seconds:.2f} s, {self.rss >> 20} MiB\n{self.out}{self.err}'


def bounded(arguments, **options):
    """Run `ploop`; it must keep the limits, whatever it answers."""
    run = Run(arguments, **options)
    check(run.rc >= 0 and run.rc < 128, f'ended by a signal: {run.show()}')
    if not SANITIZED:
        check(run.seconds < SECONDS_MAX, f'too slow: {run.show()}')
        check(run.rss < RSS_MAX, f'too much memory: {run.show()}')
    check('Sanitizer' not in run.err, run.show())
    return run


def contents(directory):
    """What must not change: every name beneath, its kind, mode and bytes. Sparse files may be huge: only data counts."""
    found = {}
    for where, names, files in os.walk(directory):
        for name in names + files:
            path = os.path.join(where, name)
            if name.endswith('.lck'):
                continue
            st = os.lstat(path)
            found[os.path.relpath(path, directory)] = (st.st_mode, st.st_nlink, _digest(path, st))
    return found


def _digest(path, st):
    if os.path.islink(path):
        return os.readlink(path)
    if not os.path.isfile(path):
        return None
    digest = hashlib.sha256(str(st.st_size).encode())
    with open(path, 'rb') as file:
        at = 0
        while at < st.st_size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            os.lseek(file.fileno(), at, os.SEEK_SET)
            digest.update(struct.pack('<Q', at))
            while at < end:
                piece = os.read(file.fileno(), min(end - at, 1 << 20))
                digest.update(piece)
                at += len(piece)
    return digest.hexdigest()


def refused(where, arguments, codes, *words, **options):
    """The run must end with one of the codes, say why in one line that has all the words, and change nothing."""
    directory = where.path if isinstance(where, Disk) else where
    before = contents(directory)
    run = bounded(arguments, **options)
    check(run.rc in codes, f'not one of {codes}: {run.show()}')
    check(run.err.count('\n') == 1 and run.err.endswith('\n'), f'not one line: {run.show()}')
    check(all(c.isprintable() or c == '\n' for c in run.err), f'not printable: {run.show()!r}')
    for word in words:
        check(word in run.err, f'no "{word}": {run.show()}')
    check(contents(directory) == before, f'changed the directory: {run.show()}')
    return run


def unchanged(where, arguments, codes=(0,)):
    """A run that only reads: its exit code, and no file changes."""
    before = contents(where.path)
    run = bounded(arguments)
    check(run.rc in codes, f'not one of {codes}: {run.show()}')
    check(contents(where.path) == before, f'changed the directory: {run.show()}')
    return run


class Disk:
    """A disk of 32 KiB clusters without a filesystem, in a fresh directory beneath the current one."""

    def __init__(self, size='8M', version=2, cluster=64, extra=()):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix='disk.', dir='.'))
        self.image = os.path.join(self.path, 'root.hds')
        self.xml = os.path.join(self.path, 'DiskDescriptor.xml')
        self.cluster = cluster * 512
        ploop('init', '-s', size, '-v', version, '-b', cluster, '-t', 'none', *extra, self.image)

    def poke(self, offset, layout, *values):
        """Overwrite bytes of the image with numbers of that struct layout."""
        self.poke_bytes(offset, struct.pack(layout, *values))

    def poke_bytes(self, offset, data):
        with open(self.image, 'r+b') as file:
            file.seek(offset)
            file.write(data)

    def peek(self, offset, layout):
        with open(self.image, 'rb') as file:
            file.seek(offset)
            return struct.unpack(layout, file.read(struct.calcsize(layout)))

    def length(self):
        return os.stat(self.image).st_size

    def fill(self, n):
        """Give the first n virtual clusters a cluster of the file each; cluster i holds bytes of value i + 1."""
        unit = 1 if self.peek(0, '16s') == (b'WithouFreSpacExt',) else self.cluster // 512
        first = self.peek(48, '<I')[0] * 512 // self.cluster
        for i in range(n):
            self.poke(64 + 4 * i, '<I', (first + i) * unit)
            self.poke_bytes((first + i) * self.cluster, bytes([i + 1]) * self.cluster)
        self.poke(52, '<I', 0)

    def text(self):
        with open(self.xml) as file:
            return file.read()

    def describe(self, text):
        with open(self.xml, 'wb') as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def edit(self, old, new):
        text = self.text()
        check(old in text, f'no {old} in the descriptor')
        self.describe(text.replace(old, new, 1))
