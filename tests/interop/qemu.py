#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU and this engine write the same images in turn, and each reads what the other wrote, bit for bit.

A flat array of bytes is the judge. The histories are random; the seed is printed and can be set with SEED=.
"""

import contextlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop, requires, run  # noqa: E402

POKE = os.path.abspath(os.environ.get('POKE', 'build/tests/interop/poke'))
SEED = int(os.environ.get('SEED', random.randrange(2 ** 32)))
ROUNDS = int(os.environ.get('ROUNDS', 12))
MIB = 1 << 20

requires('qemu-img', 'qemu-io', 'qemu-nbd')
print(f'SEED={SEED}')


class Model:
    """What the disk must hold, and random changes to it."""

    def __init__(self, size, seed):
        self.bytes = bytearray(size)
        self.random = random.Random(seed)

    def place(self, align=1):
        """A random range: anything from one byte (or `align`) to more than two clusters."""
        r = self.random
        length = r.choice([1, 511, 512, 4096, 32768, 65536 + 512, MIB, 2 * MIB + 4096])
        length = max(length // align * align, align)
        offset = r.randrange(0, len(self.bytes) - length + 1) // align * align
        return offset, length

    def change(self, words, align=1):
        """One command of `words`, already done to the model."""
        word = self.random.choice(words)
        offset, length = self.place(align)
        byte = self.random.randrange(1, 256) if word == 'write' else 0
        if word == 'discard':  # what is only partly covered stays, so cover whole clusters of any size
            offset, length = offset // MIB * MIB, MIB
        self.bytes[offset:offset + length] = bytes([byte]) * length
        return word, offset, length, byte

    def save(self, path):
        with open(path, 'wb') as f:
            f.write(self.bytes)


def engine_writes(model, disk, words=('write', 'write', 'write', 'zero', 'discard')):
    """A few changes through the public API."""
    lines = []
    for _ in range(model.random.randrange(1, 12)):
        word, offset, length, byte = model.change(words)
        lines.append(f'{word} {offset} {length} {byte if word == "write" else ""}\n')
        if model.random.random() < 0.2:
            lines.append('flush\n')
    run(POKE, disk, input=''.join(lines))


def qemu_writes(model, image):
    """A few changes through QEMU, which wants sectors."""
    commands = []
    for _ in range(model.random.randrange(1, 8)):
        word, offset, length, byte = model.change(('write', 'write', 'zero'), align=512)
        commands += ['-c', f'write {f"-P {byte}" if word == "write" else "-z"} {offset} {length}']
    run('qemu-io', '-f', 'parallels', *commands, image)


def engine_reads(model, disk):
    model.save('model.raw')
    ploop('export', '--to', 'raw', disk, 'engine.raw')
    run('cmp', 'model.raw', 'engine.raw')
    os.unlink('engine.raw')


def qemu_reads(model, image):
    model.save('model.raw')
    run('qemu-img', 'convert', '-f', 'parallels', '-O', 'raw', image, 'qemu.raw')
    run('cmp', 'model.raw', 'qemu.raw')
    os.unlink('qemu.raw')


def new_disk(size, sectors, version=2):
    os.mkdir('v')
    ploop('init', '-t', 'none', '-s', size // 512, '-b', sectors, '-v', version, 'v/root.hds')


def history(sectors, version, size):
    """One image, written by both in random turn and read by both after each turn."""
    model = Model(size, SEED)
    new_disk(size, sectors, version)
    for _ in range(ROUNDS):
        if model.random.random() < 0.5:
            engine_writes(model, 'v/DiskDescriptor.xml')
        else:
            qemu_writes(model, 'v/root.hds')
        qemu_reads(model, 'v/root.hds')
        engine_reads(model, 'v/DiskDescriptor.xml')
    ploop('check', '-f', '-c', 'v/root.hds')
    run('qemu-img', 'check', '-f', 'parallels', 'v/root.hds')


for _name, _sectors, _version, _size in (('v2, 1 MiB clusters', 2048, 2, 24 * MIB),
                                         ('v2, 32 KiB clusters', 64, 2, 12 * MIB),
                                         ('v1, 32 KiB clusters', 64, 1, 12 * MIB)):
    behaviour(f'both write one image in turn, both read the same: {_name}')(
        lambda sectors=_sectors, version=_version, size=_size: history(sectors, version, size))


@behaviour('an image made by qemu-img is read and written here')
def _():
    model = Model(12 * MIB, SEED + 1)
    os.mkdir('v')
    run('qemu-img', 'create', '-f', 'parallels', '-o', 'cluster_size=65536', 'v/root.hds', len(model.bytes))
    qemu_writes(model, 'v/root.hds')
    ploop('restore-descriptor', 'v', 'v/root.hds')
    for _ in range(ROUNDS // 2):
        engine_writes(model, 'v/DiskDescriptor.xml')
        qemu_reads(model, 'v/root.hds')
        qemu_writes(model, 'v/root.hds')
        engine_reads(model, 'v/DiskDescriptor.xml')


def chain_history(sectors, version):
    """Snapshots between writes; the flattened export and QEMU on the merged image agree with the model."""
    model = Model(12 * MIB, SEED + sectors + version)
    xml = 'v/DiskDescriptor.xml'
    new_disk(len(model.bytes), sectors, version)
    states = {}
    for level in range(6):
        engine_writes(model, xml)
        guid = f'{{{level:08x}-1111-4111-8111-111111111111}}'
        states[guid] = bytes(model.bytes)
        ploop('snapshot', '-u', guid, xml)
    engine_writes(model, xml)
    engine_reads(model, xml)

    run('cp', '-r', 'v', 'merged')
    ploop('snapshot-merge', '-A', 'merged/DiskDescriptor.xml')
    qemu_reads(model, 'merged/root.hds')
    engine_reads(model, 'merged/DiskDescriptor.xml')

    for guid in model.random.sample(sorted(states), 3):  # in any order: what remains must not change
        ploop('snapshot-delete', '-u', guid, xml)
        engine_reads(model, xml)
        del states[guid]
    for guid, was in states.items():
        run('cp', '-r', 'v', 'back')
        ploop('snapshot-switch', '-u', guid, 'back/DiskDescriptor.xml')
        then = Model(0, 0)
        then.bytes = bytearray(was)
        engine_reads(then, 'back/DiskDescriptor.xml')
        run('rm', '-r', 'back')


for _sectors, _version in ((2048, 2), (64, 2), (64, 1)):
    behaviour(f'a chain of seven, v{_version}, {_sectors // 2} KiB: flattened, merged, thinned, switched')(
        lambda sectors=_sectors, version=_version: chain_history(sectors, version))


@contextlib.contextmanager
def qemu_nbd(*options):
    """A server on v/root.hds; gives the process and its address."""
    socket = os.path.abspath('nbd')
    address = f'nbd+unix:///?socket={socket}'
    with subprocess.Popen(['qemu-nbd', *options, '--persistent', '-f', 'parallels', '--socket', socket,
                           'v/root.hds']) as server:
        try:
            while not os.path.exists(socket):
                check(server.poll() is None, 'qemu-nbd did not come up')
                time.sleep(0.02)
            run('qemu-img', 'info', address)  # answers when the image is open; the socket is there before
            yield server, address
        finally:
            server.terminate()


@behaviour('qemu-nbd serves what the engine wrote')
def _():
    model = Model(24 * MIB, SEED + 2)
    new_disk(len(model.bytes), 2048)
    engine_writes(model, 'v/DiskDescriptor.xml')
    model.save('model.raw')
    with qemu_nbd('--read-only') as (_, address):
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', address, 'served.raw')
        run('cmp', 'model.raw', 'served.raw')


@behaviour('an image that QEMU writes is refused for writing here, and its holder is named')
def _():
    new_disk(24 * MIB, 2048)
    with qemu_nbd() as (server, _):
        said = run(POKE, 'v/DiskDescriptor.xml', rc=1, input='write 0 512 1\n')
        check('qemu-nbd' in said and str(server.pid) in said, f'the holder is not named: {said}')


@behaviour('an image written here is refused for writing by QEMU, until it is closed')
def _():
    new_disk(24 * MIB, 2048)
    write = ('qemu-io', '-f', 'parallels', '-c', 'write -P 7 0 512', 'v/root.hds')
    with subprocess.Popen([POKE, 'v/DiskDescriptor.xml'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        holder.stdin.write('hold\n')
        holder.stdin.flush()
        check(holder.stdout.readline() == 'held\n', 'poke does not hold')
        said = run(*write, rc=1)
        check('lock' in said, f'no word of a lock: {said}')
        holder.stdin.close()
    run(*write)


@behaviour('raw and qcow2 go in and come out the same')
def _():
    model = Model(12 * MIB, SEED + 3)
    for _ in range(8):
        model.change(('write', 'zero'))
    model.save('in.raw')
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'in.raw', 'in.qcow2')
    for kind in ('raw', 'qcow2'):
        os.mkdir(kind)
        ploop('import', f'in.{kind}', f'{kind}/root.hds')
        engine_reads(model, f'{kind}/DiskDescriptor.xml')
        qemu_reads(model, f'{kind}/root.hds')
        ploop('export', '--to', kind, f'{kind}/DiskDescriptor.xml', f'out.{kind}')
        run('qemu-img', 'convert', '-f', kind, '-O', 'raw', f'out.{kind}', 'again.raw')
        run('cmp', 'in.raw', 'again.raw')


main()
