# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged images as recipes: reads a case of good/ or bad/ and makes its files. README.md lists the words of a case.

    case = Case('bad/duplicate')
    disk = case.make('/tmp/there')      the files; what a guest should read is in disk.meant

Nothing here is shared with the code under test: bytes are put where docs/formats/image.md says they belong.
"""

import hashlib
import os
import struct

SECTOR = 512
SIGNATURES = {'v1': b'WithoutFreeSpace', 'v2': b'WithouFreSpacExt'}
MARKS = {'closed': 0, 'open': 0x746F6E59, 'v2.1': 0x312E3276}
FIELDS = {'type': (16, '<I'), 'heads': (20, '<I'), 'cylinders': (24, '<I'), 'cluster': (28, '<I'),
          'entries': (32, '<I'), 'size': (36, '<Q'), 'size_low': (36, '<I'), 'size_high': (40, '<I'),
          'in_use': (44, '<I'), 'first_block': (48, '<I'), 'flags': (52, '<I'), 'extension': (56, '<Q')}
EMPTY = 1
EXTENSION_MAGIC, BITMAP_MAGIC = 0xAB234CEF23DCEA87, 0x20385FAE252CB34A
PIECE = 1 << 20
STAMPED = 65536  # bytes at each end of a large cluster that hold something

DESCRIPTOR = """<?xml version="1.0"?>
<Parallels_disk_image>
  <Disk_Parameters><Disk_size>{size}</Disk_size><Cylinders>1</Cylinders><Heads>1</Heads><Sectors>1</Sectors></Disk_Parameters>
  <StorageData><Storage><Start>0</Start><End>{size}</End><Blocksize>{cluster}</Blocksize>{images}</Storage></StorageData>
  <Snapshots><TopGUID>{top}</TopGUID>{shots}</Snapshots>
</Parallels_disk_image>
"""
TOP, NONE = '{5fbaabe3-6958-40ff-92a7-860e329aab41}', '{00000000-0000-0000-0000-000000000000}'


def number(text):
    """12, 0xfff, 2^32-1, 3G, 'open'."""
    if text in MARKS:
        return MARKS[text]
    if '^' in text:
        power, _, minus = text.partition('-')
        base, exponent = power.split('^')
        return int(base) ** int(exponent) - int(minus or 0)
    if text[-1] in 'KMG':
        return int(text[:-1]) << {'K': 10, 'M': 20, 'G': 30}[text[-1]]
    return int(text, 0)


def geometry(size):
    """(heads, cylinders) of a disk of so many sectors."""
    if 1032192 < size < 16777216:
        return 16, size // 1008
    sectors = next((n for n in (63, 32, 16, 8) if size % n == 0), 1)
    heads = next((n for n in (16, 8, 4, 2) if size // sectors % n == 0), 1)
    return (1, size) if 1 in (heads, sectors) else (heads, size // sectors // heads)


def stamp(name, cluster, size):
    """What the data cluster of a file holds: each sector says where it is."""
    line = f'{name} {cluster}'.encode().ljust(28, b'.')
    sectors = (struct.pack('<28sI', line, n) * 16 for n in range(size // SECTOR))
    return b''.join(sectors)


def extents(file, begin=0, end=1 << 62):
    """(start, stop) of what is no hole, in pieces of a megabyte."""
    end = min(end, os.fstat(file).st_size)
    while begin < end:
        try:
            begin = os.lseek(file, begin, os.SEEK_DATA)
        except OSError:
            return
        stop = min(os.lseek(file, begin, os.SEEK_HOLE), end, (begin & -PIECE) + PIECE)
        if begin < stop:
            yield begin, stop
        begin = stop if begin < stop else end


class Image:
    """One file. All edits go through pwrite, so that huge images stay holes."""

    def __init__(self, path, version, clusters, cluster=64):
        self.path, self.name, self.version, self.sectors = path, os.path.basename(path), version, cluster
        self.bytes = cluster * SECTOR
        self.first = (64 + 4 * clusters + self.bytes - 1) // self.bytes
        self.map = {}
        with open(path, 'wb') as file:
            file.truncate(self.first * self.bytes)
        self.write(0, SIGNATURES[version])
        heads, cylinders = geometry(clusters * cluster)
        self.header(type=2, heads=heads, cylinders=cylinders, cluster=cluster, entries=clusters,
                    size=clusters * cluster, first_block=self.first * cluster, flags=EMPTY)

    def write(self, offset, data):
        with open(self.path, 'r+b') as file:
            os.pwrite(file.fileno(), data, offset)

    def read(self, offset, length):
        with open(self.path, 'rb') as file:
            return os.pread(file.fileno(), length, offset)

    def header(self, **fields):
        for name, value in fields.items():
            offset, layout = FIELDS[name]
            self.write(offset, struct.pack(layout, value))

    def entry(self, slot, raw):
        self.write(64 + 4 * slot, struct.pack('<I', raw))

    def fill(self, cluster):
        """Data in a cluster of the file, which is made long enough for it."""
        end = (cluster + 1) * self.bytes
        if os.path.getsize(self.path) < end:
            os.truncate(self.path, end)
        data = min(STAMPED, self.bytes // 2)
        self.write(cluster * self.bytes, stamp(self.name, cluster, data))
        self.write(end - data, stamp(self.name, cluster, data))

    def copy_cluster(self, cluster, out, to):
        """The cluster into another file; what is a hole there stays one."""
        begin, end = cluster * self.bytes, (cluster + 1) * self.bytes
        with open(self.path, 'rb') as file:
            for start, stop in extents(file.fileno(), begin, end):
                os.pwrite(out, os.pread(file.fileno(), stop - start, start), to + start - begin)

    def name_cluster(self, slot, cluster):
        unit = self.sectors if self.version == 'v1' else 1
        self.entry(slot, cluster * unit)
        self.fill(cluster)
        self.map[slot] = cluster
        self.header(flags=0)

    def bitmap(self, cluster, table, magic=EXTENSION_MAGIC, element=BITMAP_MAGIC, flags=0, size=None, granularity=64,
               count=None, md5=None, twice=0, length=None):
        """A format extension with a dirty bitmap, in that cluster of the file; named by the header, which is closed."""
        size = struct.unpack('<Q', self.read(36, 8))[0] if size is None else size
        body = struct.pack('<Q16sII', size, bytes(range(16)), granularity, len(table) if count is None else count)
        body += b''.join(struct.pack('<Q', sector) for sector in table)
        one = struct.pack('<QQII', element, flags, len(body) if length is None else length, 0) + body.ljust(-len(body) % 8)
        rest = (one * (1 + twice)).ljust(self.bytes - 24, b'\0')
        digest = hashlib.md5(rest).digest() if md5 is None else md5.to_bytes(16, 'little')
        self.fill(cluster)
        self.write(cluster * self.bytes, struct.pack('<Q16s', magic, digest) + rest)
        self.header(in_use=MARKS['v2.1'], extension=cluster * self.sectors)


class Disk:
    """The files of a case in a directory: images from base to top and, if there are several, a descriptor."""

    def __init__(self, directory):
        self.directory, self.images, self.descriptor, self.missing, self.raw = directory, [], None, set(), set()
        self.shown, self.checked = {}, None

    @property
    def top(self):
        return self.images[-1]

    @property
    def path(self):
        return os.path.join(self.directory, 'DiskDescriptor.xml') if self.descriptor is not None else self.top.path

    @property
    def to_check(self):
        return os.path.join(self.directory, self.checked) if self.checked else self.path

    def clusters(self):
        """{virtual cluster: (image, cluster of its file)} as the recipe meant it."""
        meant = {slot: (image, cluster) for image in self.images for slot, cluster in image.map.items()}
        return {**meant, **{slot: (self.top, cluster) for slot, cluster in self.shown.items()}}

    def expect(self, path, lost):
        """What a guest should read, as a sparse file; zeros where nothing is said."""
        with open(path, 'wb') as out:
            for slot, (image, cluster) in self.clusters().items():
                if slot not in lost:
                    image.copy_cluster(cluster, out.fileno(), slot * image.bytes)

    def describe(self):
        guids = [f'{{aaaaaaaa-1111-4111-8111-{level:012}}}' for level in range(len(self.images) - 1)] + [TOP]
        images, shots, parent = '', '', NONE
        for guid, image in zip(guids, self.images):
            images += f'<Image><GUID>{guid}</GUID><Type>Compressed</Type><File>{image.name}</File></Image>'
            shots += f'<Shot><GUID>{guid}</GUID><ParentGUID>{parent}</ParentGUID></Shot>'
            parent = guid
        fields = {'size': struct.unpack('<Q', self.top.read(36, 8))[0], 'cluster': self.top.sectors, **self.descriptor}
        with open(self.path, 'w', encoding='ascii') as file:
            file.write(DESCRIPTOR.format(images=images, shots=shots, top=TOP, **fields))
        for name in self.missing:
            os.unlink(os.path.join(self.directory, name))


# ---- the words of a recipe: each takes the disk and the rest of the line ----

def pairs(words):
    return {name: number(value) for name, _, value in (word.partition('=') for word in words)}


def make_image(disk, words):
    """image [NAME] v1|v2 CLUSTERS [cluster=SECTORS]: an empty image, on top of those before it"""
    name = words.pop(0) if words[0] not in SIGNATURES else 'root.hds'
    disk.images.append(Image(os.path.join(disk.directory, name), words[0], number(words[1]), **pairs(words[2:])))
    if len(disk.images) > 1:
        disk.descriptor = disk.descriptor or {}


def make_map(disk, words):
    """map SLOT:CLUSTER...: the entry names that cluster of the file, which is filled with data"""
    for word in words:
        slot, cluster = map(number, word.split(':'))
        disk.top.name_cluster(slot, cluster)


def make_entry(disk, words):
    """entry SLOT=VALUE...: an entry as it stands in the file; no data, and nothing a guest should read"""
    for word in words:
        slot, value = map(number, word.split('='))
        disk.top.entry(slot, value)


def make_header(disk, words):
    """header FIELD=VALUE...: FIELDS above; numbers, and closed, open, v2.1 for in_use"""
    disk.top.header(**pairs(words))


def make_signature(disk, words):
    """signature v1|v2|TEXT: without changing anything else"""
    disk.top.write(0, SIGNATURES.get(words[0], words[0].encode())[:16].ljust(16, b'\0'))


def make_fill(disk, words):
    """fill CLUSTER...: data that no entry names"""
    for word in words:
        disk.top.fill(number(word))


def make_length(disk, words):
    """length BYTES|CLUSTERSc: cut the file, or add a hole"""
    length = number(words[0][:-1]) * disk.top.bytes if words[0].endswith('c') else number(words[0])
    os.truncate(disk.top.path, length)


def make_bytes(disk, words):
    """bytes OFFSET HEX"""
    disk.top.write(number(words[0]), bytes.fromhex(words[1]))


def make_bitmap(disk, words):
    """bitmap CLUSTER [TABLE...] [NAME=VALUE...]: a format extension; an entry of the table is 0, 1, or N.c for cluster N"""
    options = pairs(word for word in words[1:] if '=' in word)
    table = []
    for word in (word for word in words[1:] if '=' not in word):
        table.append(number(word[:-2]) * disk.top.sectors if word.endswith('.c') else number(word))
        if word.endswith('.c') and table[-1] // disk.top.sectors not in disk.top.map.values():
            disk.top.fill(number(word[:-2]))
    disk.top.bitmap(number(words[0]), table, **options)


def make_descriptor(disk, words):
    """descriptor [FIELD=VALUE...]: the disk has a descriptor; size and cluster are the top image's unless given"""
    disk.descriptor = pairs(words)


def make_missing(disk, words):
    """missing NAME: the descriptor names a file that is not there"""
    disk.missing.update(words)


def make_check(disk, words):
    """check NAME: this image alone is checked, not the disk"""
    disk.checked = words[0]


def make_shows(disk, words):
    """shows SLOT:CLUSTER...: what a guest should read there, whatever the entry says"""
    disk.shown.update(tuple(map(number, word.split(':'))) for word in words)


MAKE = {name[5:]: function for name, function in list(globals().items()) if name.startswith('make_')}


# ---- what is expected ----

class Run:
    """What one run of check should come to: exit code and findings, each `kind`, `kind@slot`, with `+` if mended."""

    def __init__(self, words):
        self.rc, self.findings = int(words[0]), words[1:]

    def left(self):
        """What the next run finds again."""
        return Run([self.rc] + [word for word in self.findings if not word.endswith('+')])


class Case:
    def __init__(self, path):
        self.name, self.good = os.path.basename(path), os.path.basename(os.path.dirname(os.path.abspath(path))) == 'good'
        self.about, self.recipe, self.says, self.options, self.runs = [], [], [], [], {}
        self.unreadable, self.hidden, self.lost = (), (), ()
        self.refused, self.usable, self.qemu = False, False, 'clean'
        with open(path, encoding='ascii') as file:
            for line in file:
                self._take(line.rstrip('\n'))

    def _take(self, line):
        words = line.split()
        if line.startswith('#'):
            self.about.append(line[2:])
        elif line.startswith('|'):
            self.says.append(line[2:])
        elif words and words[0] in MAKE:
            self.recipe.append(words)
        elif words:
            self._expect(words[0], words[1:])

    def _expect(self, word, rest):
        if word == 'every':
            self.runs = {name: Run(rest) for name in ('look', 'plain', 'first')}
        elif word in ('look', 'plain', 'first', 'again'):
            self.runs[word] = Run(rest)
        elif word in ('unreadable', 'hidden', 'lost'):
            setattr(self, word, 'all' if rest == ['all'] else tuple(map(number, rest)))
        elif word == 'options':
            self.options = rest
        elif word in ('refused', 'usable'):
            setattr(self, word, True)
        elif word == 'qemu':
            self.qemu = ' '.join(rest)
        else:
            raise ValueError(f'{self.name}: unknown word {word}')

    def title(self):
        return self.about[1]

    def is_chain(self):
        return any(words[0] in ('descriptor', 'missing') for words in self.recipe) or sum(
            words[0] == 'image' for words in self.recipe) > 1

    def make(self, directory):
        os.makedirs(directory)
        disk = Disk(directory)
        for word, *rest in self.recipe:
            MAKE[word](disk, rest)
        disk.meant, disk.meant_before = directory + '.meant', directory + '.meant-before'
        disk.expect(disk.meant, self.lost)
        disk.expect(disk.meant_before, self.hidden)
        if disk.descriptor is not None:
            disk.describe()
        return disk


def cases(here=os.path.dirname(os.path.abspath(__file__))):
    for kind in 'good', 'bad':
        for name in sorted(os.listdir(os.path.join(here, kind))):
            yield Case(os.path.join(here, kind, name))
