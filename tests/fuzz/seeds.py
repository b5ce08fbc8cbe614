#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""seeds.py TARGET DIRECTORY: inputs to begin with, from the samples in tests/images and from what the commands
take. They are made anew each time; what fuzzing adds to them is kept in corpus/."""

import os
import random
import struct
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES = os.path.join(HERE, '..', 'images', 'samples.tar.xz')
SIGNED, V2, FITTED, CLOSED, AS_IS = 2, 4, 8, 16, 32
GUID = '{5fbaabe3-6958-40ff-92a7-860e329aab41}'


def samples(*endings):
    with tarfile.open(SAMPLES) as tar:
        for member in tar:
            if member.isfile() and (member.name.endswith(endings) or '.hds.{' in member.name and '.hds' in endings):
                yield tar.extractfile(member).read()


def runs(entries):
    """(slot, count, value, step) of entries that count up by one, at most 16 in a run."""
    found = []
    for slot, value in enumerate(entries):
        if not value:
            continue
        if found and found[-1][0] + found[-1][1] == slot and found[-1][2] + found[-1][1] == value and found[-1][1] < 16:
            found[-1][1] += 1
        else:
            found.append([slot, 1, value])
    return found


def recipe(image, choices):
    """The description of an image that fuzz-image.c takes; see apply_patch() there."""
    header = image[:64].ljust(64, b'\0')
    out = bytes([0, choices, 1]) + header + struct.pack('<Q', len(image))[:6]
    cluster, entries, first = struct.unpack_from('<II', header, 28) + struct.unpack_from('<I', header, 48)
    if cluster != 64 or entries > 4000 or len(image) < 64 + 4 * entries:
        return out
    extra = min(entries + 8, (len(image) - 64) // 4)
    shift = 1 if header.startswith(b'WithouFre') else cluster
    raw = struct.unpack_from(f'<{extra}I', image, 64)
    for slot, value in enumerate(raw):
        if value % shift or value // shift > 0xffff:
            out += b'\2' + struct.pack('<Q', 64 + 4 * slot)[:5] + b'\3' + struct.pack('<I', value)
    for slot, count, value in runs([0 if v % shift or v // shift > 0xffff else v // shift for v in raw]):
        out += b'\1' + bytes([count - 1]) + struct.pack('<HHB', slot, value, 1)
    for number in range(1, len(image) // 32768):
        data = image[number * 32768:(number + 1) * 32768]
        if data.startswith(struct.pack('<Q', 0xAB234CEF23DCEA87)):
            out += b'\4' + struct.pack('<HB', number, 200) + data[24:224]
        elif any(data):
            out += b'\3' + struct.pack('<HB', number, data[0])
    return out


def image_seeds():
    for n, image in enumerate(samples('.hds')):
        for choices in (0, 1, 7, 15, 31, 33):
            yield recipe(image, choices)
        if len(image) > 64:
            yield bytes([AS_IS]) + recipe(image, 0)[1:]
            yield bytes([SIGNED | FITTED | CLOSED | (V2 if n % 2 else 0)]) + recipe(image, 7)[1:]
        yield bytes([1, 7, 0]) + image[:2000]


def descriptor_seeds():
    yield from samples('.xml')


VERBS = {
    'init': '-s 10G -v 2 -b 64 -f expanded --size 1M --blocksize 2048 root.hds',
    'info': '-s -d --json DiskDescriptor.xml',
    'resize': '-s 20T DiskDescriptor.xml',
    'grow': '-s 0x100K -f raw root.hds',
    'convert': '-v 2 -f raw DiskDescriptor.xml',
    'check': '-f -F -r -c -d -s -S -u -b 64 --json --dry-run DiskDescriptor.xml',
    'restore-descriptor': '-f raw -b 128 . root.hds',
    'snapshot': '-u 5fbaabe3-6958-40ff-92a7-860e329aab41 -b x DiskDescriptor.xml',
    'snapshot-list': '-a -H -o uuid,fname -u ' + GUID + ' DiskDescriptor.xml',
    'snapshot-delete': '-u ' + GUID + ' DiskDescriptor.xml',
    'snapshot-merge': '-A -u ' + GUID + ' -n new.hds DiskDescriptor.xml',
    'snapshot-switch': '-u ' + GUID + ' DiskDescriptor.xml',
    'map': '--json DiskDescriptor.xml',
    'export': '--to raw DiskDescriptor.xml out',
    'import': 'in DiskDescriptor.xml',
    'copy': '-s root.hds -d root2.hds -o 1 -f 2',
    'merge': '-f raw -n new.hds a.hds b.hds',
    'replace': '-u ' + GUID + ' -l 1 -o old -i new -k DiskDescriptor.xml',
    'balloon': 'discard --automount --to-free 10M --min-block 1M --stat DiskDescriptor.xml',
    'mount': '-r -d /dev/x DiskDescriptor.xml',
    'fsck': '-f x',
    'rm': '-d x',
    'nonsense': '',
}


def argument_seeds():
    for verb, words in VERBS.items():
        words = [verb] + words.split()
        yield '\n'.join(words).encode()
        yield '\n'.join(words[:1] + words[-1:]).encode()
        for n in range(1, len(words) - 1):
            yield '\n'.join([verb] + words[n:n + 2] + words[-1:]).encode()
        yield (verb + '\n--help').encode()
    yield b'--help'


def definition_seeds():
    golden = os.path.join(HERE, '..', 'conf')
    for directory, _, names in sorted(os.walk(golden)):
        for name in sorted(names):
            if name.endswith('.xml'):
                with open(os.path.join(directory, name), 'rb') as f:
                    yield (b'\x20' if b'<pool' in f.read() else b'\0') + open(f.name, 'rb').read()


def frame_seeds():
    """Payloads of each shape that calls have, behind each number there is."""
    def text(of):
        data = of.encode()
        return struct.pack('>I', len(data)) + data + bytes(-len(data) % 4)

    with open(os.path.join(HERE, '..', '..', 'src', 'daemon', 'procedures.c')) as f:
        numbers = [int(line.strip()[2:].split(',')[0]) for line in f if line.startswith('    P(')]
    pool = text('main') + bytes(range(16))
    volume = text('main') + text('v') + text('/p/v')
    word = struct.Struct('>I').pack
    payloads = [
        b'', word(1), word(0) + word(1), text('main'), bytes(range(16)), pool, pool + word(4), volume, volume + word(0),
        volume + word(9) + word(0), volume + struct.pack('>QI', 1 << 30, 1), volume + struct.pack('>QQI', 0, 0, 1),
        pool + text('<volume/>') + word(0), pool + text('<volume/>') + volume + word(0), text('<pool/>') + word(0),
        word(1) + text('storage:///system') + word(0), word(1) + word(0), word(0) + word(2), word(1) + pool + word(1),
        text('SCRAM') + word(0) + word(3) + word(65) + word(66) + word(67), word(1) + volume + word(1),
        word(2) + text('a') + word(7) + text('x') + text('b') + word(2) + word(5) + word(0),
    ]
    for number in numbers + [0]:
        for payload in payloads:
            yield struct.pack('<H', number) + payload


def operation_seeds():
    source = random.Random(1)
    for length in (8, 16, 32, 48, 64, 96):
        for _ in range(20):
            yield source.randbytes(length)


def daemon_seeds():
    """Two pools run, then whatever comes, in the shape fuzz-daemon.c reads it."""
    source = random.Random(1)

    def some(*choices):
        return source.choice(choices)

    def actions():
        yield bytes([some(191, 193, 194), some(0, 1, 2), some(0, 1), some(0, 1, 2), 0, *source.randbytes(4)])  # a volume
        yield bytes([some(192, 196), 0, some(0, 1), some(0, 1, 2), some(0, 1, 2), *source.randbytes(2)])  # a clone
        yield bytes([some(208, 209, 210, 211), 0, some(0, 1), some(0, 1, 2), *source.randbytes(4)])
        yield bytes([some(222, 231), some(0, 1, 2), some(0, 1), some(0, 1, 2), 0, 0])  # an upload begins
        yield bytes([some(232, 241), some(0, 1, 2), some(0, 1, 5), some(0, 1, 2, 7), *source.randbytes(16)])  # and ends
        for kind in (0, 1, 1):  # a whole one: a hole, or bytes
            client, n = some(0, 1, 2), source.randbytes(2)
            yield bytes([222, client, some(0, 1), some(0, 1), 0, 0, 232, client, 1, 2, *n, kind, *([7] if kind else []), 0, 0])
        yield bytes([some(242, 249), some(0, 1, 2), some(0, 1), some(0, 1, 2), 0, 0, 0, 0])
        yield bytes([some(168, 170, 172, 173, 174, 175), 0, some(0, 1), 0, 0])  # a pool
        yield bytes([some(250, 253, 254), some(0, 1, 2), some(0, 1), some(0, 1)])
        for _ in range(4):
            yield bytes([some(7, 40, 95, 149), some(0, 1, 2), *source.randbytes(16)])  # questions
        yield bytes([150, some(0, 1, 2), *source.randbytes(3), 4, *source.randbytes(4)])

    for length in (10, 20, 40, 80):
        for _ in range(40):
            begin = b''.join(bytes([what, 0, pool, 0, 0]) for pool in (0, 1) for what in (168, 170))
            volumes = b''.join(bytes([191, 0, pool, volume, 0, *source.randbytes(2), 0, 0]) for pool in (0, 1) for volume in (0, 1))
            yield begin + volumes + b''.join(some(*actions()) for _ in range(length))


def crowd_seeds():
    """Pools are defined and run, then whatever comes, all at once: see acts[] in fuzz-crowd.c."""
    source = random.Random(2)
    rest = bytes([255, 0])
    begin = b''.join(bytes([80, pool << 2, 0]) for pool in range(3)) + rest + b''.join(bytes([92, pool << 2, 0]) for pool in range(3)) + rest
    for length in (20, 60, 200, 500):
        for _ in range(40):
            yield begin + source.randbytes(length)


def main():
    makers = {'image': image_seeds, 'descriptor': descriptor_seeds, 'arguments': argument_seeds,
              'operations': operation_seeds, 'definition': definition_seeds, 'frames': frame_seeds, 'daemon': daemon_seeds,
              'crowd': crowd_seeds}
    target, directory = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    for n, seed in enumerate(makers[target]()):
        with open(os.path.join(directory, f'seed-{n:04}'), 'wb') as f:
            f.write(seed)


if __name__ == '__main__':
    main()
