# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second opinion on an image, written from docs/formats/image.md alone: is it sound, and what does it hold?

    faults(path)         what a reader must refuse or a writer would trip over, wrong flags and lengths; [] is sound
    cluster(path, slot)  the bytes of a virtual cluster, zeros where there are none
"""

import hashlib
import os
import struct

VERSIONS = {b'WithoutFreeSpace': 1, b'WithouFreSpacExt': 2}
CLOSED, CLOSED21 = 0, 0x312E3276
EXTENSION, BITMAP = bytes.fromhex('87eadc23ef4c23ab'), 0x20385FAE252CB34A


class Header:
    def __init__(self, file):
        raw = os.pread(file.fileno(), 64, 0).ljust(64, b'\0')
        self.version = VERSIONS.get(raw[:16], 0)
        self.type, _, _, self.sectors, self.entries = struct.unpack_from('<5I', raw, 16)
        self.size = struct.unpack_from('<I' if self.version == 1 else '<Q', raw, 36)[0]
        self.mark, self.first_sector, self.flags, self.extension = struct.unpack_from('<IIIQ', raw, 44)
        self.length = os.fstat(file.fileno()).st_size
        self.bytes = self.sectors * 512

    def faults(self):
        if self.length < 64:
            return ['header cut']
        if not self.version or self.type != 2:
            return ['signature or type']
        if self.sectors & (self.sectors - 1) or not 64 <= self.sectors <= 131072:
            return ['cluster size']
        if not self.first_sector or self.first_sector % self.sectors or 64 + 4 * self.entries > self.first_sector * 512:
            return ['first block']
        if not self.size or self.size // self.sectors > self.entries:
            return ['size']
        if self.first_sector * 512 > self.length:
            return ['table cut']
        return [] if self.mark in (CLOSED, CLOSED21) else ['not closed']


def names(file, header):
    """(slot, entry) of all entries that are not 0, also those behind the last one; holes are skipped."""
    at, end = 64, header.first_sector * 512
    while at < end:
        try:
            at = max(at, os.lseek(file.fileno(), at, os.SEEK_DATA) & ~3)
        except OSError:
            return
        stop = min(end, os.lseek(file.fileno(), at, os.SEEK_HOLE))
        raw = os.pread(file.fileno(), min(stop - at, 1 << 20) & ~3, at)
        if not raw:
            return
        if any(raw):
            for i, (entry,) in enumerate(struct.iter_unpack('<I', raw)):
                if entry:
                    yield (at - 64) // 4 + i, entry
        at += len(raw)


def entry_fault(header, seen, slot, entry):
    unit = header.sectors if header.version == 1 else 1
    place = entry // unit
    if slot >= header.entries:
        return 'behind the last'
    if entry % unit:
        return 'between clusters'
    if place * header.bytes >= header.length:
        return 'beyond the end'
    if place * header.sectors < header.first_sector:
        return 'into the header'
    if place in seen:
        return 'a duplicate'
    seen.add(place)
    return None


def extension_clusters(file, header):
    """The clusters of the extension; None if it counts, but is damaged."""
    if header.mark != CLOSED21 or not header.extension:
        return set()
    place = header.extension // header.sectors
    if header.extension % header.sectors or (place + 1) * header.bytes > header.length:
        return None
    raw = os.pread(file.fileno(), header.bytes, place * header.bytes)
    if raw[:8] != EXTENSION:
        return None
    magic, _, _, _, size, _, granularity, count = struct.unpack_from('<QQIIQ16sII', raw, 24)
    if hashlib.md5(raw[24:]).digest() != raw[8:24]:
        return None
    if magic != BITMAP:
        return {place}
    if size != header.size or not granularity or count > (header.bytes - 80) // 8:
        return None
    table = struct.unpack_from(f'<{count}Q', raw, 80)
    return {place} | {sector // header.sectors for sector in table if sector > 1}


def faults(path):
    with open(path, 'rb') as file:
        header = Header(file)
        found = header.faults()
        if found and found != ['not closed']:
            return found
        seen = extension_clusters(file, header)
        if seen is None:
            found, seen = found + ['extension'], set()
        extension = len(seen)
        for slot, entry in names(file, header):
            fault = entry_fault(header, seen, slot, entry)
            found += [f'entry {slot} is {fault}'] if fault else []
        end = max(seen, default=header.first_sector // header.sectors - 1) + 1
        if header.length != end * header.bytes:
            found.append('file length')
        if header.flags & 3 != (len(seen) == extension):
            found.append('flags')
        return found


def opens(path):
    """Can anybody make sense of the header?"""
    with open(path, 'rb') as file:
        return Header(file).faults() in ([], ['not closed'])


def cluster(path, slot):
    with open(path, 'rb') as file:
        header = Header(file)
        entry, = struct.unpack('<I', os.pread(file.fileno(), 4, 64 + 4 * slot).ljust(4, b'\0'))
        offset = entry * (512 if header.version == 1 else header.bytes)
        if not entry or offset >= header.length:
            return bytes(header.bytes)
        return os.pread(file.fileno(), header.bytes, offset).ljust(header.bytes, b'\0')
