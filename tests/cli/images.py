#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every image of tests/images/good and bad: what check says of it, what it changes, and what a guest then reads.

    images.py [NAME]            the cases whose name contains NAME
    images.py --accept [NAME]   write what the first run says into the cases ("|" lines), to be read before commit
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), os.path.join(HERE, '..', 'images')]
import judge  # noqa: E402
import recipe  # noqa: E402
from behaviour import behaviour, check, main  # noqa: E402
from hostile import SANITIZED, bounded, contents  # noqa: E402

GUEST = os.path.abspath(os.environ.get('GUEST', 'build/tests/images/guest'))
QEMU_IMG = shutil.which('qemu-img')
PIECE = 32768
ALL_MARKED = 64  # of a larger disk only the named clusters and the ends are written to
accepting = '--accept' in sys.argv


# ---- check ----

def finding(found):
    return found['kind'] + (f'@{found["slot"]}' if 'slot' in found else '') + ('+' if found['fixed'] else '')


class Checked:
    """One run of check: its exit code and findings; with a chain, findings of lower images are `level/kind`."""

    def __init__(self, disk, *options):
        ran = bounded(['check', *options, '--json', disk.to_check])
        self.rc, self.shown = ran.rc, ran.show()
        try:
            said = json.loads(ran.out)
        except ValueError:
            said = {'findings': []}
        top = 0 if disk.checked else len(disk.images) - 1
        self.findings = [(f'{f["level"]}/' if f['level'] != top else '') + finding(f) for f in said['findings']]
        self.faults = [f for f in said['findings'] if f['rank'] != 'info']

    def must_be(self, wanted, what):
        check((self.rc, self.findings) == (wanted.rc, wanted.findings),
              f'{what}: exit {self.rc}, not {wanted.rc}; found {" ".join(self.findings)!r}, '
              f'not {" ".join(wanted.findings)!r}\n{self.shown}')


def changes_nothing(disk, wanted, what, *options):
    before = contents(disk.directory)
    ran = Checked(disk, *options)
    if wanted:
        ran.must_be(wanted, what)
    check(contents(disk.directory) == before, f'{what}: changed a file\n{ran.shown}')
    return ran


# ---- a guest ----

class Guest:
    """The disk as a guest reads it; `refused` if it does not open."""

    def __init__(self, disk):
        self.out = os.path.join(disk.directory, '..', 'guest.raw')
        ran = subprocess.run([GUEST, 'read', disk.path, self.out], capture_output=True, text=True)
        check(ran.returncode in (0, 3), f'guest read: {ran.returncode} {ran.stderr}')
        self.refused, self.why = ran.returncode == 3, ran.stderr
        said = [line.split() for line in ran.stdout.splitlines()]
        self.unreadable = {int(value) for word, value in said if word == 'unreadable'}
        self.size, self.cluster = (dict(said).get(word) and int(dict(said)[word]) for word in ('size', 'cluster'))

    def holds(self, meant, what, but=()):
        """Every byte is as in the file `meant`; the clusters `but` are not looked at."""
        with open(self.out, 'rb') as out, open(meant, 'rb') as wanted:
            for start, stop in filled(out, wanted):
                if start // self.cluster in but:
                    continue
                a, b = (os.pread(file.fileno(), stop - start, start).ljust(stop - start, b'\0') for file in (out, wanted))
                keep = max(0, min(self.size, stop) - start)
                check(a[:keep] == b[:keep], f'{what}: cluster {start // self.cluster} is {hint(a)}, not {hint(b)}')


def filled(*files):
    """The pieces of 32 KiB in which any of the files holds something."""
    pieces = {piece for file in files for start, stop in recipe.extents(file.fileno())
              for piece in range(start // PIECE, -(-stop // PIECE))}
    return [(piece * PIECE, (piece + 1) * PIECE) for piece in sorted(pieces)]


def hint(data):
    text = next((data[i:i + 28] for i in range(0, len(data), 512) if any(data[i:i + 28])), b'')
    return f'"{text.decode(errors="replace").rstrip(".")}..."' if text else 'zeros'


def mark(disk, guest):
    """Writes as a guest does, one sector a cluster; what came of it."""
    slots = to_mark(disk, guest)
    ran = subprocess.run([GUEST, 'mark', disk.path, *map(str, slots)], capture_output=True, text=True)
    return slots, ran.returncode == 0, ran.stderr


def to_mark(disk, guest):
    if guest.refused:
        return [0]
    count = guest.size // guest.cluster
    ends = range(count) if count <= ALL_MARKED else [0, 1, count - 1]
    return sorted(set(ends) | {slot for slot in disk.clusters() if slot < count})


def must_show(disk, meant, slots, what):
    """A guest reads what is meant, and in these clusters its own marks."""
    guest = Guest(disk)
    check(not guest.refused, f'{what}: {guest.why}')
    with open(meant, 'r+b') as file:
        for slot in slots:
            offset = slot * guest.cluster + slot % (guest.cluster // 512) * 512
            os.pwrite(file.fileno(), struct.pack('<II', 0x4B52414D, slot) * 64, offset)
    guest.holds(meant, what)


# ---- one case ----

def make(case, name):
    return case.make(os.path.join(os.getcwd(), name))


def reads_before(case, disk):
    guest = Guest(disk)
    if case.unreadable == 'all':
        return check(guest.refused, 'opens, though its recipe says that it can not be read')
    check(not guest.refused, f'does not open: {guest.why}')
    check(guest.unreadable == set(case.unreadable), f'unreadable: {guest.unreadable}, not {case.unreadable}')
    guest.holds(disk.meant_before, 'before', but=guest.unreadable)


def only_look(case):
    disk = make(case, 'look')
    changes_nothing(disk, case.runs['look'], 'look', '-f', '-r', *case.options)
    reads_before(case, disk)


def told_beforehand(case):
    """The dry run of the first run tells the same, and of each loss what it is; it changes nothing."""
    told = changes_nothing(make(case, 'dry'), case.runs['first'], 'dry run', '-F', '-d', '--dry-run', *case.options)
    for fault in told.faults:
        check(fault['proposal'], f'no word of what can be done: {fault}')
        check(fault['rank'] != 'lossy' or fault['loss'], f'no word of what is lost: {fault}')


def lossless(case):
    """Plain check: what a guest could read before, it reads after; a second run finds no more to do."""
    disk = make(case, 'plain')
    Checked(disk, '-f', *case.options).must_be(case.runs['plain'], 'plain')
    guest = Guest(disk)
    if not guest.refused:
        guest.holds(disk.meant_before, 'after plain', but=guest.unreadable)
    if case.unreadable != 'all':
        check(not guest.refused, f'after plain: does not open: {guest.why}')
        check(guest.unreadable <= set(case.unreadable), f'after plain: unreadable {guest.unreadable}')
    changes_nothing(disk, None, 'plain again', '-f', *case.options)


def account(case, disk):
    """What the first run says, in words."""
    ran = bounded(['check', '-F', '-d', *case.options, disk.to_check])
    said = (ran.out + ran.err).replace(disk.directory + '/', '').replace(disk.directory, 'DIRECTORY')
    if accepting:
        return accept(case, said)
    check(said.splitlines() == case.says, f'first run says\n{said}not\n' + '\n'.join(case.says))


def accept(case, said):
    path = os.path.join(HERE, '..', 'images', 'good' if case.good else 'bad', case.name)
    with open(path, encoding='ascii') as file:
        lines = [line for line in file if not line.startswith('|')]
    with open(path, 'w', encoding='ascii') as file:
        file.writelines(lines + [f'| {line}\n' for line in said.splitlines()])


def first_run(case):
    disk = make(case, 'first')
    Checked(disk, '-F', '-d', *case.options).must_be(case.runs['first'], 'first')
    if not SANITIZED:  # the words are no other ones then
        disk = make(case, 'again')
        account(case, disk)
    wanted = case.runs['first'].left() if case.refused or case.usable else None
    again = changes_nothing(disk, wanted, 'second run', '-F', '-d', *case.options)
    if not wanted:
        check(again.rc == 0 and not again.faults, f'second run: not empty\n{again.shown}')
    return disk


def is_usable(case, disk):
    """Repaired: sound in the eyes of an independent reader, reads as meant, takes writes that stay apart."""
    check(not judge.faults(disk.top.path), f'after repair: {judge.faults(disk.top.path)}')
    guest = Guest(disk)
    check(not guest.refused and not guest.unreadable, f'after repair: {guest.why}{guest.unreadable}')
    guest.holds(disk.meant, 'after repair')
    slots, accepted, why = mark(disk, guest)
    check(accepted, f'writing after repair: {why}')
    must_show(disk, disk.meant, slots, 'after writing')
    check(not judge.faults(disk.top.path), f'after writing: {judge.faults(disk.top.path)}')
    ran = changes_nothing(disk, None, 'after writing', '-f', '-r')
    check(case.usable or not ran.faults, f'after writing:\n{ran.shown}')


def qemu_agrees(case, disk):
    if SANITIZED or not QEMU_IMG or case.qemu != 'clean':
        return
    ran = subprocess.run([QEMU_IMG, 'check', '-f', 'parallels', disk.top.path], capture_output=True, text=True)
    check(ran.returncode == 0, f'qemu-img check: exit {ran.returncode}\n{ran.stdout}{ran.stderr}')


def is_safe_to_write(case):
    """Opened for writing as it is, a damaged image is refused, or no byte is mixed up and no fault comes to it."""
    disk = make(case, 'write')
    before, faults = contents(disk.directory), set(judge.faults(disk.top.path))
    slots, accepted, why = mark(disk, Guest(disk))
    if not accepted:
        return check(contents(disk.directory) == before, f'a refused write changed a file: {why}')
    must_show(disk, disk.meant_before, slots, 'after writing unrepaired')
    check(faults.issuperset(judge.faults(disk.top.path)), f'after writing unrepaired: {judge.faults(disk.top.path)}')


def stays_refused(disk):
    """What check can not mend is not written to."""
    before = contents(disk.directory)
    _, accepted, _ = mark(disk, Guest(disk))
    check(not accepted, 'takes a write, though it could not be mended')
    check(contents(disk.directory) == before, 'a refused write changed a file')


def try_case(case):
    only_look(case)
    told_beforehand(case)
    lossless(case)
    is_safe_to_write(case)
    disk = first_run(case)
    if case.refused:
        return stays_refused(disk)
    qemu_agrees(case, disk)
    is_usable(case, disk)


def good(case):
    """Nothing to be mended: no run changes a byte, but it is as usable as one that was repaired."""
    disk = make(case, 'good')
    for options in ('-f', '-r', '-c'), ('-f',):
        changes_nothing(disk, case.runs['look'], ' '.join(options), *options)
    reads_before(case, disk)
    if 'first' in case.runs:
        Checked(disk, '-F', '-d').must_be(case.runs['first'], 'tidied')
    again = changes_nothing(disk, None if 'first' in case.runs else case.runs['look'], 'first', '-F', '-d')
    check(again.rc == 0 and not again.faults, f'not clean: {again.shown}')
    qemu_agrees(case, disk)
    is_usable(case, disk)


@behaviour('each kind of finding that is documented has an image')
def _():
    with open(os.path.join(HERE, '..', '..', 'docs', 'formats', 'check.md'), encoding='utf-8') as page:
        rows = [line.split('|')[1] for line in page if line.startswith('| `')]
    kinds = {kind for row in rows for kind in re.findall(r'`([a-z-]+)`', row)}
    seen = {re.sub(r'[@+].*|^\d+/', '', word) for case in recipe.cases() for run in case.runs.values() for word in run.findings}
    check('duplicate' in kinds and not kinds - seen, f'no image for {kinds - seen}')


for each in recipe.cases():
    behaviour(f'{"good" if each.good else "bad"}/{each.name}: {each.title()}')(
        lambda each=each: (good if each.good else try_case)(each))

sys.argv = [word for word in sys.argv if word != '--accept']
main()
