#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way a disk comes not to open any more, made for real: `ploop rescue` tells, writes nothing until told, brings
back every byte that is there, and keeps what it replaces."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run

requires('qemu-io')
XML = 'v/DiskDescriptor.xml'
GUID = '1111111{}-1111-1111-1111-111111111111'.format
IN_USE_AT, IN_USE = 44, struct.pack('<I', 0x746F6E59)


# ---- disks ----

def images():
    return ploop('snapshot-list', '-H', '-o', 'fname', XML).split()


def contents(xml=XML, *options):
    ploop('export', '--force', *options, xml, 'contents')
    with open('contents', 'rb') as f:
        return hashlib.sha1(f.read()).hexdigest()


def write(image, at, pattern):
    run('qemu-io', '-f', 'parallels', '-c', f'write -P {pattern} {at} 300k', image)


def chain(depth=2):
    """Random data with `depth` snapshots above, each written over in parts."""
    shutil.rmtree('v', ignore_errors=True)
    os.mkdir('v')
    with open('base.raw', 'wb') as f:
        f.write(os.urandom(2 * 2**20))
        f.truncate(6 * 2**20)
    ploop('import', '-b', 64, 'base.raw', 'v/root.hds')
    for i in range(1, depth + 1):
        ploop('snapshot', '-u', GUID(i), XML)
        write(images()[-1], f'{i * 700}k', i)
    return contents()


def ext4_chain():
    """Each delta holds tables that the one below has otherwise."""
    shutil.rmtree('v', ignore_errors=True)
    os.makedirs('tree')
    os.mkdir('v')
    for i in range(40):
        with open(f'tree/{i}', 'wb') as f:
            f.write(os.urandom(30000))
    ploop('init', '-s', '40M', '-b', 64, '--populate', 'tree', 'v/root.hds')
    for i, size in ((1, '60M'), (2, '90M')):
        ploop('snapshot', '-u', GUID(i), XML)
        ploop('resize', '-s', size, XML)
    return contents()


def names():
    return {name for name in os.listdir('v') if not name.endswith('.lck')}


def fingerprint():
    """Everything that a survey might have changed; the lock file may appear."""
    out = {}
    for name in names():
        with open(f'v/{name}', 'rb') as f:
            out[name] = (hashlib.sha1(f.read()).hexdigest(), os.stat(f'v/{name}').st_mtime_ns)
    return out


# ---- the rescue ----

def survey(sound=False):
    before = fingerprint()
    ran = subprocess.run([PLOOP, 'rescue', '--json', 'v'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(ran.returncode == (0 if sound else 11), f'exit {ran.returncode}: {ran.stdout}{ran.stderr}')
    said = json.loads(ran.stdout)
    check(said['sound'] == sound, said)
    ploop('rescue', 'v', rc=0 if sound else 11)
    check(fingerprint() == before, 'a survey changed something')
    return said


def apply(wanted, *options, confidence=('certain', 'likely'), lossy=False):
    said = survey()
    check(said['proposals'], said)
    first = said['proposals'][0]
    check(first['confidence'] in confidence, first)
    check(first['lossy'] == lossy, first)
    if lossy:
        before = fingerprint()
        ploop('rescue', '--apply', 'v', rc=38)
        check(fingerprint() == before, 'a refused repair changed something')
    told = ploop('rescue', '--apply', *(['-F'] if lossy else []), *options, 'v')
    if wanted:
        check(contents() == wanted, f'the disk reads otherwise\n{told}')
    ploop('check', '-d', XML)
    survey(sound=True)
    return first


def lose(name):
    os.unlink(f'v/{name}')


def put(name, data):
    with open(f'v/{name}', 'wb') as f:
        f.write(data)


def get(name):
    with open(f'v/{name}', 'rb') as f:
        return f.read()


def poke(image, at, data):
    with open(image, 'r+b') as f:
        f.seek(at)
        f.write(data)


@behaviour('a sound disk needs no rescue')
def _():
    chain()
    survey(sound=True)
    ploop('rescue', '--apply', 'v')
    survey(sound=True)


@behaviour('one image without a descriptor')
def _():
    wanted = chain(depth=0)
    lose('DiskDescriptor.xml')
    apply(wanted)


@behaviour('a chain without a descriptor')
def _():
    wanted = chain(depth=2)
    lose('DiskDescriptor.xml')
    apply(wanted, '--proposal', 1, confidence=('certain', 'likely', 'guess'))


@behaviour('the filesystem tells the order of a chain without a descriptor')
def _():
    wanted = ext4_chain()
    order = [os.path.basename(path) for path in images()]
    lose('DiskDescriptor.xml')
    first = apply(wanted)
    check([os.path.basename(name) for name in first['chain']] == order, first)


@behaviour('a descriptor that was cut off, zeroed, or is something else')
def _():
    for damage in (lambda text: text[:len(text) // 2], lambda text: bytes(len(text)), lambda text: b'',
                   lambda text: b'[disk]\nname=root.hds\n'):
        wanted = chain(depth=1)
        damaged = damage(get('DiskDescriptor.xml'))
        put('DiskDescriptor.xml', damaged)
        apply(wanted)
        check(get('DiskDescriptor.xml.rescued-1') == damaged, 'the damaged descriptor is not kept')


@behaviour('a descriptor of before the last snapshot')
def _():
    chain(depth=1)
    old = get('DiskDescriptor.xml')
    ploop('snapshot', '-u', GUID(2), XML)
    write(images()[-1], '1500k', 9)
    wanted = contents()
    put('DiskDescriptor.xml', old)
    apply(wanted)


@behaviour('a descriptor that names an image which is gone')
def _():
    chain(depth=2)
    state = contents(XML, '-u', '{' + GUID(2) + '}')
    lose(os.path.basename(images()[-1]))
    ploop('info', '-s', XML, rc=4)
    apply(state, '-F', lossy=True) if survey()['proposals'][0]['lossy'] else apply(state)


@behaviour('a snapshot that was cut short: an empty delta and an unfinished descriptor')
def _():
    wanted = chain(depth=1)
    old, before = get('DiskDescriptor.xml'), names()
    ploop('snapshot', XML)
    put('DiskDescriptor.xml.tmp', get('DiskDescriptor.xml'))
    put('DiskDescriptor.xml', old)
    check(names() > before, 'no delta')
    apply(wanted)


@behaviour('a snapshot of a running disk whose descriptor was not renamed')
def _():
    chain(depth=1)
    old = get('DiskDescriptor.xml')
    ploop('snapshot', XML)
    write(images()[-1], '1100k', 7)
    wanted = contents()
    put('DiskDescriptor.xml.tmp', get('DiskDescriptor.xml'))
    put('DiskDescriptor.xml', old)
    apply(wanted)


@behaviour('a merge into a new file between its removals and its rename')
def _():
    wanted = chain(depth=1)
    old, top = get('DiskDescriptor.xml'), images()
    ploop('snapshot-merge', '-A', '-n', 'v/merged', XML)
    put('DiskDescriptor.xml.tmp', get('DiskDescriptor.xml'))
    put('DiskDescriptor.xml', old)
    check(not any(os.path.exists(path) for path in top), top)
    apply(wanted)


@behaviour('a raw image that the descriptor takes for a ploop image')
def _():
    wanted = chain(depth=0)
    ploop('convert', '-f', 'raw', XML)
    text = get('DiskDescriptor.xml')
    put('DiskDescriptor.xml', text.replace(b'<Type>Plain</Type>', b'<Type>Compressed</Type>'))
    apply(wanted)


@behaviour('an image that was left open')
def _():
    wanted = chain(depth=1)
    poke(images()[-1], IN_USE_AT, IN_USE)
    survey_says = survey_any()
    if not survey_says['sound']:
        apply(wanted)
    check(contents() == wanted, 'the disk reads otherwise')


def survey_any():
    ran = subprocess.run([PLOOP, 'rescue', '--json', 'v'], stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout)


@behaviour('an image whose end was cut off')
def _():
    chain(depth=1)
    top = images()[-1]
    os.truncate(top, os.path.getsize(top) - 5 * 32768)
    first = apply(None, lossy=True)
    check(any(a['loss'] for a in first['actions']), first)


@behaviour('an unfinished version conversion')
def _():
    wanted = chain(depth=0)
    put('root.hds.idx', get('root.hds')[:32768])
    header = get('root.hds')[:64]
    poke('v/root.hds', IN_USE_AT, IN_USE)
    poke('v/root.hds', 52, struct.pack('<I', struct.unpack('<I', header[52:56])[0] | 2))
    apply(wanted)


@behaviour('an image of another version in the chain')
def _():
    wanted = chain(depth=1)
    ploop('convert', '-v', 1, XML)
    one = get(os.path.basename(images()[-1]))
    ploop('convert', '-v', 2, XML)
    put(os.path.basename(images()[-1]), one)
    ploop('info', '-s', XML, rc=11)
    said = survey()
    check(said['proposals'] and re.search('version', json.dumps(said)), said)
    if said['proposals'][0]['can_apply']:
        apply(wanted)


@behaviour('a proposal is tried, dropped without a trace, tried again and kept')
def _():
    wanted = chain(depth=1)
    lose('DiskDescriptor.xml')
    before = fingerprint()
    ploop('rescue', '--try', 'v')
    check(contents('v/rescue-try.xml') == wanted, 'the try reads otherwise')
    check({name: now for name, now in fingerprint().items() if name in before} == before, 'a try changed a file')
    ploop('rescue', '--drop', 'v')
    check(fingerprint() == before, 'a dropped try left something')
    ploop('rescue', '--drop', 'v', rc=4)
    ploop('rescue', '--try', 'v')
    ploop('rescue', '--keep', 'v')
    check(contents() == wanted, 'the kept try reads otherwise')
    check(not os.path.exists('v/rescue-try.xml'), 'the try is still there')
    ploop('check', '-d', XML)
    survey(sound=True)


@behaviour('a try of a damaged image repairs a copy')
def _():
    chain(depth=1)
    top = images()[-1]
    os.truncate(top, os.path.getsize(top) - 5 * 32768)
    before = fingerprint()
    ploop('rescue', '--try', 'v')
    ploop('check', 'v/rescue-try.xml')
    contents('v/rescue-try.xml')
    check({name: now for name, now in fingerprint().items() if name in before} == before, 'a try changed a file')
    ploop('rescue', '--drop', 'v')
    check(fingerprint() == before, 'a dropped try left something')


@behaviour('what cannot be is refused in one line')
def _():
    chain(depth=0)
    for options, rc in ((['--apply', '--try'], 38), (['--proposal', 'x'], 38), (['--keep'], 4), (['--drop'], 4),
                        (['--apply', '--proposal', '7'], 38)):
        said = ploop('rescue', *options, 'v', rc=rc)
        check(len(said.strip().splitlines()) == 1, said)
    ploop('rescue', 'no-such-directory', rc=39)


main()
