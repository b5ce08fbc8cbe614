#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that lie: header fields, BAT entries and extensions made to overflow, overlap and mislead."""

import hashlib
import os
import shutil
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop
from hostile import Disk, TOP, bounded, refused, unchanged

CLUSTER = 32768
IN_USE, CLOSED21 = 0x746F6E59, 0x312E3276

# What each header fault is: name, how it is made, offset of the field that readers name, words about it. Check looks
# at other evidence, so it may name another field, and -F mends what that leaves no doubt about.
HEADERS = [
    ('signature', lambda d: d.poke_bytes(0, b'QFI\xfb' + bytes(12)), 0, 'signature'),
    ('type', lambda d: d.poke(16, '<I', 7), 16, 'type'),
    ('cluster 0', lambda d: d.poke(28, '<I', 0), 28, 'cluster'),
    ('cluster 65', lambda d: d.poke(28, '<I', 65), 28, 'cluster'),
    ('cluster 2^31', lambda d: d.poke(28, '<I', 1 << 31), 28, 'cluster'),
    ('cluster 2^18', lambda d: d.poke(28, '<I', 1 << 18), 28, 'cluster'),
    ('first block 0', lambda d: d.poke(48, '<I', 0), 48, 'first'),
    ('first block 65', lambda d: d.poke(48, '<I', 65), 48, 'first'),
    ('first block 2^32-1', lambda d: d.poke(48, '<I', 0xffffffff), 48, 'first'),
    ('entries 2^32-1', lambda d: d.poke(32, '<I', 0xffffffff), 48, 'BAT'),
    ('entries 536870896', lambda d: d.poke(32, '<I', 536870896), 48, 'BAT'),
    ('size 2^64-1', lambda d: d.poke(36, '<Q', 2**64 - 1), 36, 'disk'),
    ('size 2^55', lambda d: d.poke(36, '<Q', 2**55), 36, 'disk'),
    ('size 0', lambda d: d.poke(36, '<Q', 0), 36, 'disk'),
    ('size above the BAT', lambda d: d.poke(36, '<Q', 16384 + 64), 36, 'disk'),
    ('entries 0', lambda d: d.poke(32, '<I', 0), 36, 'disk'),
]
# The file is shorter than what the header claims; check says 6 then, as the original does.
SHORT = [
    ('empty file', lambda d: os.truncate(d.image, 0), 'header'),
    ('40 bytes', lambda d: os.truncate(d.image, 40), 'header'),
    ('BAT cut', lambda d: os.truncate(d.image, 100), 'first'),
    ('first block 2^31', lambda d: d.poke(48, '<I', 1 << 31), 'first'),
    ('first block and entries', lambda d: (d.poke(32, '<I', 536870896), d.poke(48, '<I', 0xffffffc0)), 'first'),
    ('all of 32 bits', lambda d: (d.poke(32, '<I', 0xffffffef), d.poke(48, '<I', 0xffffffc0)), 'first'),
]


def opens(disk, sound):
    """Verbs that open the image in whatever way, to read or to write."""
    new, copy = os.path.join(disk.path, 'new'), os.path.join(disk.path, 'copy')
    shutil.copy(sound.image, copy)
    return [
        ['info', '-s', disk.xml], ['info', disk.xml], ['map', disk.xml], ['balloon', 'show', disk.xml],
        ['export', disk.xml, new], ['export', '--to', 'tar', disk.xml, new],
        ['snapshot', disk.xml], ['grow', '-s', '64M', disk.xml], ['grow', '-s', '64M', disk.image],
        ['resize', '-s', '64M', disk.xml], ['balloon', 'discard', disk.xml],
        ['merge', disk.image, sound.image], ['merge', sound.image, disk.image],
        ['merge', '-n', new, sound.image, disk.image], ['replace', '-u', TOP, '-i', copy, disk.xml],
        ['convert', '-v', '1', disk.xml], ['convert', '-f', 'raw', disk.xml], ['convert', '-f', 'preallocated', disk.xml],
    ]


def checks(disk):
    return [['check', '-f', '-r', '-c', disk.image], ['check', '-f', '-d', disk.image], ['check', disk.image], ['check', disk.xml]]


# How many of a list can be told from the rest of the header and from the BAT.
TOLD = {'HEADERS': 10, 'SHORT': 2}


def mended(disk, code):
    """Forced: either nothing changes and the way out is named, or the image is whole again."""
    dry = unchanged(disk, ['check', '-F', '-d', '--dry-run', disk.image], (0, code))
    if dry.rc == code:
        refused(disk, ['check', '-F', '-d', disk.image], (code,), disk.image, 'offset')
        check('ploop rescue' in dry.out, dry.show())
        return 0
    run = bounded(['check', '-F', '-d', disk.image])
    check(run.rc == 0 and 'fixed' in run.out + run.err, run.show())
    check(unchanged(disk, ['check', '-f', '-r', '-c', disk.image]).out == '', 'a second look finds something')
    check(raw(disk) == bytes(16384 * 512), 'the disk holds something, or is of another size')
    return 1


def restore(disk, codes, *words):
    """restore-descriptor reads the header too; its answer must not leave a descriptor."""
    text = disk.text()
    os.unlink(disk.xml)
    refused(disk, ['restore-descriptor', disk.path, disk.image], codes, *words)
    disk.describe(text)


@behaviour('each absurd field of a header is named, with file and offset, by every verb')
def _():
    sound = Disk()
    before = hashlib.sha256(open(sound.image, 'rb').read()).digest()
    told = told_before = 0
    for _name, damage, offset, word in HEADERS:
        disk = Disk()
        damage(disk)
        for verb in opens(disk, sound):
            refused(disk, verb, (11,), disk.image, f'offset {offset}:', word)
        for verb in checks(disk):
            refused(disk, verb, (11,), disk.image, 'offset')
        unchanged(disk, ['snapshot-list', disk.xml])
        told += mended(disk, 11)
        if told_before == told:
            restore(disk, (11,), disk.image, f'offset {offset}:', word)
        told_before = told
    check(told == TOLD['HEADERS'], f'{told} were mended')
    check(hashlib.sha256(open(sound.image, 'rb').read()).digest() == before, 'the other image of a merge changed')


@behaviour('a file shorter than its header claims is refused, however large the claim')
def _():
    sound = Disk()
    told = 0
    for _name, damage, word in SHORT:
        disk = Disk()
        damage(disk)
        for verb in opens(disk, sound):
            refused(disk, verb, (11,), disk.image, 'offset', word)
        for verb in checks(disk):
            refused(disk, verb, (6,), disk.image, 'offset')
        told += mended(disk, 6)
    check(told == TOLD['SHORT'], f'{told} were mended')


@behaviour('version 1 headers are held to the same')
def _():
    for offset, value in (28, 0), (28, 1 << 31), (32, 0xffffffff), (36, 0xffffffff), (36, 0), (48, 1 << 31), (48, 0xffffffff):
        disk = Disk(version=1)
        disk.poke(offset, '<I', value)
        for verb in ['info', '-s', disk.xml], ['convert', '-v', '2', disk.xml], ['grow', '-s', '64M', disk.image]:
            refused(disk, verb, (11,), disk.image, 'offset')


@behaviour('a BAT of 2 GiB that is really there opens at once and is checked in little memory')
def _():
    disk = Disk()
    entries = 536870896
    first = (64 + 4 * entries + CLUSTER - 1) // CLUSTER * CLUSTER // 512
    disk.poke(32, '<IQ', entries, entries * 64)
    disk.poke(48, '<I', first)
    os.truncate(disk.image, first * 512)
    disk.poke(64 + 4 * (entries - 1), '<I', first // 64)
    os.truncate(disk.image, first * 512 + CLUSTER)
    disk.poke(52, '<I', 0)
    run = unchanged(disk, ['info', '-s', disk.xml])
    check(f'size:\t\t{entries * 64}\n' in run.out, run.show())
    unchanged(disk, ['check', '-f', '-r', disk.image])
    unchanged(disk, ['map', disk.xml])


def raw(disk):
    """The disk's bytes as export shows them."""
    out = os.path.join(disk.path, '..', 'out')
    if os.path.exists(out):
        os.unlink(out)
    unchanged(disk, ['export', disk.xml, out])
    return open(out, 'rb').read()


def delta_with(value, cluster, size):
    """A bare delta to be merged onto another: one cluster of data."""
    top = Disk(size)
    first = top.peek(48, '<I')[0] // 64
    top.poke(64 + 4 * cluster, '<I', first)
    top.poke_bytes(first * CLUSTER, bytes([value]) * CLUSTER)
    top.poke(52, '<I', 0)
    return top


def refuses_writes(disk, size='8M'):
    """Whatever would change the image is refused, and its file neither changes nor grows."""
    top = delta_with(9, 5, size)
    for verb in ['merge', top.image, disk.image], ['grow', '-s', '16G', disk.image], ['grow', '-s', '16G', disk.xml]:
        refused(disk, verb, (11,), disk.image, 'offset')


@behaviour('an entry beyond the end of the file reads as zeros, is reported, and never written through')
def _():
    for entry in 5, 0x7fffffff, 0xfffffffe:
        disk = Disk()
        disk.fill(4)
        disk.poke(64 + 4 * 2, '<I', entry)
        data = raw(disk)
        for i, value in enumerate((1, 2, 0, 4, 0)):
            check(data[i * CLUSTER:(i + 1) * CLUSTER] == bytes([value]) * CLUSTER, f'cluster {i}')
        unchanged(disk, ['map', disk.xml])
        run = refused(disk, ['check', '-f', '-r', disk.image], (11,), disk.image)
        check(f'Data cluster {entry} beyond EOF, vsec=2' in run.out, run.show())
        refuses_writes(disk)


@behaviour('check -F clears an entry beyond the end and the rest of the disk is as it was')
def _():
    disk = Disk()
    disk.fill(4)
    disk.poke(64 + 4 * 2, '<I', 0xfffffffe)
    length = disk.length()
    ploop('check', '-F', disk.image)
    check(disk.length() <= length, 'the file grew')
    data = raw(disk)
    check([data[i * CLUSTER] for i in range(5)] == [1, 2, 0, 4, 0], 'wrong bytes')
    unchanged(disk, ['check', '-f', '-r', '-c', disk.image])


@behaviour('an entry into header or BAT is an error to read and never lets a write reach them')
def _():
    disk = Disk(size='1G')                                   # 32 KiB clusters: five of header and BAT
    first = disk.peek(48, '<I')[0] // 64
    for entry in 1, first - 1:
        disk = Disk(size='1G')
        disk.fill(4)
        disk.poke(64 + 4 * 2, '<I', entry)
        out = os.path.join(disk.path, 'new')
        refused(disk, ['export', disk.xml, out], (11,), disk.image, 'offset')
        run = refused(disk, ['check', '-f', '-r', '-c', disk.image], (11,), disk.image)
        check('vsec=2' in run.out, run.show())
        refuses_writes(disk, '1G')


@behaviour('two entries on one cluster are found, and neither is written through')
def _():
    for twin in 0, 3:                                        # 3: the duplicate is the last cluster of the file
        disk = Disk()
        disk.fill(4)
        disk.poke(64 + 4 * 2, '<I', disk.peek(64 + 4 * twin, '<I')[0])
        data = raw(disk)
        check(data[2 * CLUSTER] == twin + 1, 'the duplicate does not read')
        run = refused(disk, ['check', '-f', '-r', '-c', disk.image], (11,), disk.image)
        check('is used more than once, vsec=' in run.out, run.show())
        refuses_writes(disk)


@behaviour('a version 1 entry between clusters is an error to read and to write')
def _():
    disk = Disk(version=1)
    disk.fill(4)
    disk.poke(64 + 4 * 2, '<I', disk.peek(64 + 4 * 2, '<I')[0] + 1)
    refused(disk, ['export', disk.xml, os.path.join(disk.path, 'new')], (11,), disk.image, 'offset')
    run = refused(disk, ['check', '-f', '-r', disk.image], (11,), disk.image)
    check('L2 slot (2) corrupted' in run.out, run.show())
    refused(disk, ['grow', '-s', '16G', disk.image], (11,), disk.image, 'offset')
    refused(disk, ['convert', '-v', '2', disk.xml], (11,), disk.image, 'offset')


@behaviour('a last cluster half past the end of the file reads as zeros there')
def _():
    disk = Disk()
    disk.fill(4)
    os.truncate(disk.image, disk.length() - CLUSTER // 2)
    data = raw(disk)
    check(data[3 * CLUSTER:4 * CLUSTER] == bytes([4]) * (CLUSTER // 2) + bytes(CLUSTER // 2), 'wrong bytes')


@behaviour('a sparse file of 8 TiB costs what it holds, not what it claims')
def _():
    disk = Disk()
    disk.fill(2)
    os.truncate(disk.image, 8 << 40)
    unchanged(disk, ['info', '-s', disk.xml])
    unchanged(disk, ['map', disk.xml])
    check(raw(disk)[:CLUSTER] == bytes([1]) * CLUSTER, 'wrong bytes')
    bounded(['check', '-f', '-r', disk.image])


def extension(disk, l1_count=1, l1=0, size=None, granularity=128, at=None, data_size=None):
    """Append a format extension with a dirty bitmap, sound but for what is given; returns its sector."""
    body = struct.pack('<QQII', 0x20385FAE252CB34A, 0, 40 if data_size is None else data_size, 0)
    body += struct.pack('<Q', 16384 if size is None else size) + bytes(16) + struct.pack('<IIQ', granularity, l1_count, l1)
    body = body.ljust(CLUSTER - 24, b'\0')
    cluster = struct.pack('<Q', 0xAB234CEF23DCEA87) + hashlib.md5(body).digest() + body
    sector = disk.length() // 512 if at is None else at
    if at is None:
        disk.poke_bytes(disk.length(), cluster)
    disk.poke(56, '<Q', sector)
    disk.poke(44, '<I', CLOSED21)
    return sector


@behaviour('a sound extension is no damage')
def _():
    disk = Disk()
    disk.fill(2)
    extension(disk)
    unchanged(disk, ['check', '-f', '-r', '-c', disk.image])


@behaviour('extensions that overflow are reported, bounded, and do not hurt the data')
def _():
    for fault in ({'at': 1 << 63}, {'at': 2**64 - 1}, {'at': 2**55}, {'at': 1}, {'at': 64}, {'at': 0x7fffffffffffffff},
                  {'l1_count': 2**32 - 1}, {'l1_count': 1 << 29, 'data_size': 2**32 - 8}, {'data_size': 2**32 - 1}, {'l1': 2**64 - 1},
                  {'l1': 1 << 63}, {'size': 2**64 - 1}, {'granularity': 0}, {'granularity': 3}):
        disk = Disk()
        disk.fill(2)
        extension(disk, **fault)
        run = unchanged(disk, ['check', '-f', '-r', disk.image])
        check(f'{disk.image}: offset' in run.err and 'extension' in run.err, f'{fault}: {run.show()}')
        check(raw(disk)[CLUSTER:2 * CLUSTER] == bytes([2]) * CLUSTER, f'{fault}: {run.show()}')
        bounded(['check', '-f', disk.image])
        unchanged(disk, ['check', '-f', '-r', '-c', disk.image])
        check(raw(disk)[CLUSTER:2 * CLUSTER] == bytes([2]) * CLUSTER, f'{fault}: after repair')


@behaviour('an image left in use is refused where only clean ones may go, and read elsewhere')
def _():
    disk = Disk()
    disk.fill(2)
    disk.poke(44, '<I', IN_USE)
    refused(disk, ['grow', '-s', '64M', disk.image], (37, 4), disk.image)
    refused(disk, ['info', '-s', disk.xml], (4,), disk.xml)
    refused(disk, ['check', '-r', disk.image], (37,), disk.image)
    for mark in 1, 0xffffffff:
        disk.poke(44, '<I', mark)
        bounded(['info', '-s', disk.xml])
        bounded(['check', '-f', '-r', disk.image])


@behaviour('an unfinished conversion without its backup is refused by all that would write')
def _():
    disk = Disk()
    disk.fill(2)
    disk.poke(52, '<I', 2)
    disk.poke(44, '<I', IN_USE)
    for verb in ['snapshot', disk.xml], ['grow', '-s', '64M', disk.xml], ['convert', '-v', '1', disk.xml]:
        refused(disk, verb, (4, 11, 37), 'root.hds')
    refused(disk, ['check', '-f', disk.image], (17,), disk.image)


main()
