#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that lost something is told what it was, comes back byte for byte, and loses nothing on the way."""

import hashlib
import json
import os
import re
import shutil
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop, requires, run

XML = 'v/DiskDescriptor.xml'
TOP = '{5fbaabe3-6958-40ff-92a7-860e329aab41}'
GUID = '{{1111111{}-1111-4111-8111-111111111111}}'.format
CLUSTER = 64 * 512


# ---- making disks ----

def put(image, slot, byte, cluster=CLUSTER):
    """A cluster of `byte` at virtual cluster `slot`, as a writer would leave it."""
    data = byte if isinstance(byte, bytes) else bytes([byte]) * cluster
    with open(image, 'r+b') as f:
        f.seek(64 + 4 * slot)
        at = struct.unpack('<I', f.read(4))[0]
        version = 2 if struct.pack('16s', b'WithouFreSpacExt') == os.pread(f.fileno(), 16, 0) else 1
        unit = 1 if version == 2 else cluster // 512
        if not at:
            at = os.path.getsize(image) // cluster * unit
            f.seek(64 + 4 * slot)
            f.write(struct.pack('<I', at))
        f.seek(at // unit * cluster)
        f.write(data)
        f.seek(52)
        f.write(struct.pack('<I', 0))


def mark_in_use(image):
    with open(image, 'r+b') as f:
        f.seek(44)
        f.write(b'Ynot')


def images(xml=XML):
    return ploop('snapshot-list', '-H', '-o', 'fname', xml).split()


def chain(depth=2, version=2):
    """A base and `depth` deltas, each over a part of the one below."""
    shutil.rmtree('v', ignore_errors=True)
    os.mkdir('v')
    ploop('init', '-s', '4M', '-t', 'none', '-b', '64', '-v', version, 'v/root.hds')
    for slot in range(10):
        put('v/root.hds', slot, 0x10)
    for i in range(1, depth + 1):
        ploop('snapshot', '-u', GUID(i), XML)
        top = images()[-1]
        for slot in range(i, i + 4):
            put(top, slot, 0x10 * (i + 1))
        put(top, 40 + i, 0x77)
    age()
    return contents()


def age():
    """Each image older than the one above it, as after ordinary use."""
    for i, image in enumerate(images()):
        os.utime(image, (1600000000 + 1000 * i, 1600000000 + 1000 * i))


def contents(xml=XML):
    ploop('export', '--force', xml, 'contents')
    with open('contents', 'rb') as f:
        return hashlib.sha1(f.read()).hexdigest()


def tree():
    """All that the directory holds, times too."""
    seen = {}
    for name in sorted(os.listdir('v')):
        path = os.path.join('v', name)
        with open(path, 'rb') as f:
            seen[name] = hashlib.sha1(f.read()).hexdigest(), os.stat(path).st_mtime_ns, os.stat(path).st_ino
    return seen


# ---- asking ----

def survey(rc=11):
    before = tree()
    found = json.loads(ploop('rescue', '--json', 'v', rc=rc))
    check(tree() == before, 'looking changed something')
    text = ploop('rescue', 'v', rc=rc)
    for proposal in found['proposals']:
        check(proposal['title'] in text, 'the words differ from the JSON')
    return found


def first(word=None, says=None):
    proposal = survey()['proposals'][0]
    if word:
        check(proposal['confidence'] == word, json.dumps(proposal, indent=1))
    if says:
        check(any(says in line for line in proposal['evidence']), json.dumps(proposal, indent=1))
    return proposal


def sound(wanted, xml=XML):
    """There is nothing left to do, and the disk reads as it should."""
    check(survey(rc=0)['sound'], 'not sound')
    check(contents(xml) == wanted, 'the disk reads otherwise')
    said = ploop('check', xml)
    check('Fixed' not in said, said)
    ploop('info', '-s', xml)


def rescued(wanted, *options, n=None):
    """Apply, and all that was there is still there under some name."""
    before = {digest for digest, _, _ in (tree()[name] for name in os.listdir('v') if 'root.hds' in name)}
    said = ploop('rescue', f'--apply={n}' if n else '--apply', *options, 'v')
    after = {digest for digest, _, _ in tree().values()}
    sound(wanted)
    return said, before - after


# ---- descriptors ----

@behaviour('a sound disk needs nothing')
def _():
    wanted = chain()
    sound(wanted)
    ploop('rescue', '--apply', 'v')
    sound(wanted)


@behaviour('no descriptor: one image')
def _():
    wanted = chain(depth=0)
    os.unlink(XML)
    check(first('certain')['chain'] == ['root.hds'], 'chain')
    check(rescued(wanted)[1] == set(), 'a file is gone')


@behaviour('no descriptor: a chain of one delta')
def _():
    wanted = chain(depth=1)
    os.unlink(XML)
    first('likely')
    check(rescued(wanted)[1] == set(), 'a file is gone')


@behaviour('no descriptor: the times of the files order what else looks alike, as a guess')
def _():
    wanted = chain(depth=3)
    order = [os.path.basename(path) for path in images()]
    os.unlink(XML)
    check(first('guess')['chain'] == order, 'order')
    before = tree()
    said = ploop('rescue', '--apply', 'v', rc=38)
    check('guess' in said, said)
    check({k: v for k, v in tree().items() if k in before and not k.endswith('.lck')} ==
          {k: v for k, v in before.items() if not k.endswith('.lck')}, 'refused, and changed')
    rescued(wanted, n=1)


@behaviour('no descriptor: what was left in use is the uppermost')
def _():
    wanted = chain(depth=2)
    order = [os.path.basename(path) for path in images()]
    mark_in_use(images()[-1])
    os.unlink(XML)
    for name in order:
        os.utime(f'v/{name}')
    check(first('likely', 'left in use')['chain'] == order, 'order')
    rescued(wanted)


@behaviour('a damaged descriptor: cut, zeros, no XML, empty, of another disk size')
def _():
    for damage in (lambda text: text[:300], lambda text: b'\0' * len(text), lambda text: b'garbage', lambda text: b'',
                   lambda text: text.replace(b'<Blocksize>64', b'<Blocksize>63')):
        wanted = chain(depth=1)
        with open(XML, 'rb') as f:
            text = f.read()
        with open(XML, 'wb') as f:
            f.write(damage(text))
        rescued(wanted)
        with open(XML + '.rescued-1', 'rb') as f:
            check(f.read() == damage(text), 'the damaged descriptor was not kept')


@behaviour('a descriptor that is a link is put aside as one')
def _():
    wanted = chain(depth=1)
    os.rename(XML, 'elsewhere.xml')
    os.symlink('../elsewhere.xml', XML)
    ploop('rescue', '--apply', 'v')
    check(os.readlink(XML + '.rescued-1') == '../elsewhere.xml', 'the link is gone')
    check(contents() == wanted, 'the disk reads otherwise')


@behaviour('a descriptor of another cluster and disk size is corrected by the images')
def _():
    for wrong, right in ((b'<Blocksize>64<', b'<Blocksize>128<'), (b'<Disk_size>8192<', b'<Disk_size>4096<')):
        wanted = chain(depth=1)
        with open(XML, 'rb') as f:
            text = f.read()
        check(wrong in text, text)
        with open(XML, 'wb') as f:
            f.write(text.replace(wrong, right))
        first('certain')
        rescued(wanted)
        with open(XML, 'rb') as f:
            check(f.read() == text, 'descriptor')


@behaviour('a descriptor that names an image elsewhere, as in a copied directory')
def _():
    wanted = chain(depth=1)
    with open(XML, 'r') as f:
        text = f.read()
    with open(XML, 'w') as f:
        f.write(text.replace('<File>', '<File>/nowhere/at/all/'))
    first('certain', 'is not there, but')
    rescued(wanted)


@behaviour('a base that was renamed is found by what it is')
def _():
    wanted = chain(depth=1)
    os.rename('v/root.hds', 'v/renamed.hds')
    first('likely', 'is named by nobody and fits')
    rescued(wanted)


@behaviour('an inactive state that is gone is given up, and its neighbours stay')
def _():
    chain(depth=1)
    ploop('snapshot', '-u', GUID(5), XML)
    gone = images()[-1]
    put(gone, 50, 0x55)
    ploop('snapshot', '-u', GUID(6), XML)
    ploop('snapshot-switch', '-u', GUID(1), XML)
    wanted = contents()
    ploop('snapshot-list', XML)
    os.unlink([path for path in images() if path == gone][0])
    first('likely', 'the active state does not need it')
    rescued(wanted)


# ---- interrupted operations ----

@behaviour('a snapshot of a running disk whose descriptor was not renamed: the new one is promoted')
def _():
    chain(depth=1)
    shutil.copy(XML, 'old.xml')
    ploop('snapshot', '-u', GUID(7), XML)
    top = images()[-1]
    put(top, 33, 0x99)
    wanted = contents()
    mark_in_use(top)
    os.rename(XML, XML + '.tmp')
    shutil.copy('old.xml', XML)
    first('certain', 'holds data')
    rescued(wanted)
    check(len(images()) == 3, images())


@behaviour('a snapshot that never began: the empty delta and the temporary descriptor go aside')
def _():
    wanted = chain(depth=1)
    shutil.copy(XML, 'old.xml')
    ploop('snapshot', '-u', GUID(7), XML)
    os.rename(XML, XML + '.tmp')
    shutil.copy('old.xml', XML)
    first('certain')
    rescued(wanted)
    check(len(images()) == 2, images())
    check(os.path.exists(XML + '.tmp.rescued-1'), 'the temporary descriptor was not kept')


@behaviour('a merge cut short: all is still there, and it can be repeated')
def _():
    wanted = chain(depth=2)
    shutil.copytree('v', 'w')
    ploop('snapshot-merge', 'w/DiskDescriptor.xml')
    shutil.copy('w/DiskDescriptor.xml', XML + '.tmp')
    put(images()[1], 2, 0x30)  # one of the child's clusters was copied down
    mark_in_use(images()[1])
    first('certain', 'did not finish')
    rescued(wanted)
    ploop('snapshot-merge', XML)
    check(contents() == wanted, 'the merge after the rescue')


@behaviour('a merge that was done, whose child was not yet removed')
def _():
    wanted = chain(depth=2)
    child = images()[-1]
    shutil.copy(child, 'child')
    ploop('snapshot-merge', XML)
    shutil.copy('child', child)
    first('certain', 'it was merged')
    rescued(wanted)
    check(os.path.exists(child + '.rescued-1'), 'not kept')


@behaviour('merge -n between unlink and rename: the descriptor names a file that is gone')
def _():
    wanted = chain(depth=2)
    shutil.copy(XML, 'old.xml')
    ploop('snapshot-merge', '-A', '-n', 'v/new.hds', XML)
    os.rename(XML, XML + '.tmp')
    shutil.copy('old.xml', XML)
    first('certain', 'is gone')
    rescued(wanted)
    check([os.path.basename(path) for path in images()] == ['new.hds'], images())


@behaviour('a conversion to raw between its two renames: a raw image described as Compressed')
def _():
    chain(depth=0)
    with open('v/root.hds', 'r+b') as f:
        pass
    wanted = contents()
    shutil.copy(XML, 'old.xml')
    ploop('convert', '-f', 'raw', XML)
    os.rename(XML, XML + '.tmp')
    shutil.copy('old.xml', XML)
    first('certain')
    rescued(wanted)


@behaviour('an interrupted version conversion is rolled back; the backups of a finished one go aside')
def _():
    for finished in (False, True):
        wanted = chain(depth=1)
        for image in images():
            size = 32768
            with open(image, 'rb') as f:
                head = f.read(size)
            with open(image + '.idx', 'wb') as f:
                f.write(head)
            if finished:
                continue
            with open(image, 'r+b') as f:
                f.write(head[:44] + b'Ynot' + head[48:52] + struct.pack('<I', 2) + head[56:64])
                f.seek(64 + 4 * 7)
                f.write(b'\x40\0\0\0')
        first()
        rescued(wanted)
        check(not [name for name in os.listdir('v') if name.endswith('.idx')], os.listdir('v'))


@behaviour('temporary descriptors that were not finished go aside')
def _():
    wanted = chain(depth=1)
    for name in ('.tmp', '.tmp.tmp'):
        with open(XML + name, 'w') as f:
            f.write('<?xml version="1.0"?>\n<Parallels_disk_im')
    first('certain')
    rescued(wanted)


@behaviour('an empty delta that nobody names goes aside')
def _():
    wanted = chain(depth=1)
    shutil.copytree('v', 'w')
    ploop('snapshot', 'w/DiskDescriptor.xml')
    stray = os.path.basename(images('w/DiskDescriptor.xml')[-1])
    shutil.copy(f'w/{stray}', f'v/{stray}')
    first('certain', 'holds nothing')
    rescued(wanted)
    check(os.path.exists(f'v/{stray}.rescued-1'), 'not kept')


@behaviour('a descriptor from before a snapshot: which of the two is right is not decided by the times of files')
def _():
    chain(depth=1)
    older = contents()
    shutil.copy(XML, 'old.xml')
    ploop('snapshot', '-u', GUID(2), XML)
    put(images()[-1], 45, 9)
    wanted = contents()
    shutil.copy('old.xml', XML)
    proposals = survey()['proposals']
    check([p['confidence'] for p in proposals] == ['guess', 'guess'] and len(proposals[0]['chain']) == 3, proposals)
    check('only a guess' in ploop('rescue', '--apply', 'v', rc=38), 'a guess was applied')
    check(contents() == older, 'refused, and changed')
    rescued(wanted, n=1)


@behaviour('the old top that a switch left over is not taken for newer than the state it made way for')
def _():
    chain(depth=1)
    top = images()[-1]
    shutil.copy2(top, 'top')
    ploop('snapshot-switch', '-u', GUID(1), XML)
    wanted = contents()
    shutil.copy2('top', top)
    check(len(first('likely')['chain']) == 2, 'chain')
    rescued(wanted)
    check(os.path.exists(top + '.rescued-1'), 'not kept')


# ---- damaged images ----

@behaviour('images that were not closed, the lower ones too')
def _():
    wanted = chain(depth=1)
    for image in images():
        mark_in_use(image)
    first('certain')
    rescued(wanted)


@behaviour('lossy repairs are asked for, and header and table are kept before')
def _():
    chain(depth=1)
    base = images()[0]
    wanted = contents()
    with open(base, 'rb') as f:
        head = f.read(32768)
    with open(base, 'r+b') as f:
        f.seek(64 + 4 * 60)
        f.write(struct.pack('<I', 5000))  # far outside: reads as zeros, as before
    with open(base, 'rb') as f:
        damaged = f.read(32768)
    proposal = first()
    check(proposal['lossy'] and proposal['can_apply'], proposal)
    said = ploop('rescue', '--apply', 'v', rc=38)
    check('-F' in said, said)
    rescued(wanted, '-F')
    with open('v/root.hds.table.rescued-1', 'rb') as f:
        check(f.read() == damaged and head != damaged, 'the table was not kept')


@behaviour('clusters whose entries were lost are cut off only after they were kept')
def _():
    chain(depth=0)
    with open('v/root.hds', 'r+b') as f:
        f.seek(64 + 4 * 8)
        f.write(b'\0' * 8)  # the last two clusters
    with open('v/root.hds', 'rb') as f:
        whole = f.read()
    ploop('rescue', '--apply', 'v')
    check(survey(rc=0)['sound'], 'not sound')
    with open('v/root.hds.table.rescued-1', 'rb') as f:
        kept = f.read()
    check(kept[:CLUSTER] == whole[:CLUSTER] and kept[-2 * CLUSTER:] == whole[-2 * CLUSTER:] and len(kept) == len(whole), 'kept')


@behaviour('a file that was cut inside its table can be used again')
def _():
    chain(depth=0)
    with open('v/root.hds', 'r+b') as f:
        f.truncate(4096)
    check(first()['lossy'], 'not lossy')
    ploop('rescue', '--apply', '-F', 'v')
    check(survey(rc=0)['sound'], 'not sound')


@behaviour('a table that became a hole is not taken for an empty disk: nothing is cut off')
def _():
    chain(depth=0)
    with open('v/root.hds', 'r+b') as f:
        f.seek(64)
        f.write(b'\0' * (32768 - 64))
    proposal = first('guess')
    check(not proposal['can_apply'], proposal)
    before = tree()['root.hds']
    said = ploop('rescue', '--apply=1', '-F', 'v', rc=38)
    check('lost' in said and tree()['root.hds'] == before, said)


@behaviour('an image that was converted without the others: all are brought to one version')
def _():
    for lonely in (0, 1):
        wanted = chain(depth=1)
        new = images()
        shutil.copytree('v', 'w', dirs_exist_ok=True)
        ploop('convert', '-v', 1, XML)
        shutil.copy(f'w/{os.path.basename(new[lonely])}', new[lonely])
        ploop('info', '-s', XML, rc=11)
        first('likely', 'version')
        rescued(wanted)


@behaviour('a header that says the other version than its entries is corrected')
def _():
    for lonely in (0, 1):
        wanted = chain(depth=1)
        with open(images()[lonely], 'r+b') as f:
            f.write(b'WithoutFreeSpace')
        check(first('likely')['lossy'], 'not lossy')
        ploop('rescue', '--try', 'v')
        check(contents('v/rescue-try.xml') == wanted, 'the try reads otherwise')
        ploop('rescue', '--drop', 'v')
        rescued(wanted, '-F')


@behaviour('a raw image that the descriptor takes for a ploop image is told by its length')
def _():
    wanted = chain(depth=0)
    ploop('convert', '-f', 'raw', XML)
    with open(XML) as f:
        text = f.read()
    with open(XML, 'w') as f:
        f.write(text.replace('<Type>Plain</Type>', '<Type>Compressed</Type>'))
    first('certain', 'whatever Type says')
    rescued(wanted)


@behaviour('an image whose end was cut off: what is lost is said, and the rest comes back')
def _():
    chain(depth=1)
    top = images()[-1]
    os.truncate(top, os.path.getsize(top) - 2 * CLUSTER)
    ploop('export', XML, 'left')  # beyond the end reads as zeros
    proposal = first()
    check(proposal['lossy'] and any(a['loss'] for a in proposal['actions']), proposal)
    before = tree()
    ploop('rescue', '--try', 'v')
    check({name: tree()[name] for name in before if 'root' in name} ==
          {name: now for name, now in before.items() if 'root' in name}, 'a try changed a file')
    ploop('check', 'v/rescue-try.xml')
    ploop('rescue', '--drop', 'v')
    ploop('rescue', '--apply', '-F', 'v')
    check(survey(rc=0)['sound'], 'not sound')


@behaviour('the base is gone: it says so, and what else there is')
def _():
    chain(depth=1)
    os.unlink('v/root.hds')
    found = survey()
    check(not found['sound'], found)
    check(not any(p['can_apply'] for p in found['proposals']), found['proposals'])


# ---- the try ----

@behaviour('a try shows the disk, changes nothing, and goes without a trace')
def _():
    wanted = chain(depth=2)
    os.unlink(XML)
    before = tree()
    ploop('rescue', '--try', 'v')
    check(contents('v/rescue-try.xml') == wanted, 'the try reads otherwise')
    ploop('info', '-d', 'v/rescue-try.xml')
    with open('zeros', 'wb') as f:
        f.write(b'\0' * 2**20)
    check(ploop('rescue', '--apply', 'v', rc=17), 'applied beside a try')
    ploop('rescue', '--try', 'v', rc=38)
    ploop('snapshot', 'v/rescue-try.xml')
    ploop('rescue', '--drop', 'v')
    now = tree()
    now.pop('DiskDescriptor.xml.lck'), before.pop('DiskDescriptor.xml.lck')
    check(now == before, (before, now))
    ploop('rescue', '--drop', 'v', rc=4)


@behaviour('a try that is kept becomes the disk; nothing is lost')
def _():
    wanted = chain(depth=1)
    os.unlink(XML)
    ploop('rescue', '--try', 'v')
    ploop('rescue', '--keep', 'v')
    sound(wanted)
    check(sorted(os.path.basename(path) for path in images())[0] == 'root.hds', images())


@behaviour('what was written in the try is in the disk when it is kept')
def _():
    chain(depth=1)
    os.unlink(XML)
    ploop('rescue', '--try', 'v')
    put(images('v/rescue-try.xml')[-1], 20, 0xee)
    wanted = contents('v/rescue-try.xml')
    ploop('rescue', '--keep', 'v')
    sound(wanted)
    check(not [name for name in os.listdir('v') if name.startswith('rescue-try')], os.listdir('v'))


@behaviour('a damaged image is repaired as a copy in the try; keeping puts the original aside')
def _():
    wanted = chain(depth=1)
    base = images()[0]
    with open(base, 'r+b') as f:
        f.seek(64 + 4 * 60)
        f.write(struct.pack('<I', 5000))
    before = tree()['root.hds']
    ploop('rescue', '--try', 'v')
    check(tree()['root.hds'] == before, 'the original was changed')
    check(contents('v/rescue-try.xml') == wanted, 'the try reads otherwise')
    ploop('rescue', '--keep', 'v')
    check(tree()['root.hds.rescued-1'] == before, 'the original was not kept')
    sound(wanted)


# ---- what the filesystem says ----

def write_inside(name, xml=XML):
    """A file into the filesystem of the disk, through the uppermost image."""
    ploop('export', '--force', xml, 'disk')
    with open('disk', 'rb') as f:
        before = f.read()
    run('dd', 'if=disk', 'of=part', 'bs=1M', 'skip=1', 'status=none')
    with open('file', 'wb') as f:
        f.write(name.encode() * 20000)
    run('debugfs', '-w', '-R', f'write file {name}', 'part')
    run('dd', 'if=part', 'of=disk', 'bs=1M', 'seek=1', 'conv=notrunc', 'status=none')
    with open('disk', 'rb') as f:
        after = f.read()
    top = images(xml)[-1]
    for slot in range(len(after) // 2**20):
        if after[slot << 20:(slot + 1) << 20] != before[slot << 20:(slot + 1) << 20]:
            put(top, slot, after[slot << 20:(slot + 1) << 20], 2**20)


@behaviour('the filesystem inside tells the order of images, against their times')
def _():
    requires('debugfs')
    os.mkdir('v')
    ploop('init', '-s', '300M', 'v/root.hds')
    for i in (1, 2):
        ploop('snapshot', '-u', GUID(i), XML)
        os.environ['E2FSPROGS_FAKE_TIME'] = str(1893456000 + 1000 * i)
        write_inside(f'file{i}')
    del os.environ['E2FSPROGS_FAKE_TIME']
    wanted = contents()
    order = [os.path.basename(path) for path in images()]
    for i, name in enumerate(reversed(order)):
        os.utime(f'v/{name}', (1600000000 + 1000 * i, 1600000000 + 1000 * i))
    os.unlink(XML)
    check(first('likely', 'without a contradiction')['chain'] == order, order)
    # and a descriptor from before the last snapshot is found to be stale
    os.rename(f'v/{order[2]}', 'top')
    ploop('rescue', '--apply', 'v')
    os.rename('top', f'v/{order[2]}')
    check(first('likely', 'later in this chain')['chain'] == order, order)
    rescued(wanted)


@behaviour('e2fsck runs in a try')
def _():
    os.mkdir('v')
    ploop('init', '-s', '300M', 'v/root.hds')
    wanted = contents()
    os.unlink(XML)
    ploop('rescue', '--try', '--fsck', 'v')
    ploop('rescue', '--keep', 'v')
    check(survey(rc=0)['sound'], 'not sound')
    ploop('info', XML)
    del wanted


@behaviour('a disk that somebody writes to is not looked at, and says who does')
def _():
    import fcntl
    chain(depth=1)
    with open(images()[-1], 'r+b') as f:
        # QEMU's bytes: "I write" and "nobody else may"
        for byte in (101, 201):
            fcntl.fcntl(f, 37, struct.pack('hhqqi', fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))  # F_OFD_SETLK
        ploop('rescue', 'v', rc=23)
        ploop('rescue', '--apply', 'v', rc=23)


@behaviour('what cannot be is refused in one line')
def _():
    chain(depth=0)
    for options, rc in ((['--apply', '--try'], 38), (['--apply=x'], 38), (['--apply=0'], 38), (['--keep'], 4),
                        (['--drop'], 4), (['--apply=7'], 38), (['--try'], 38), (['--fsck'], 38)):
        said = ploop('rescue', *options, 'v', rc=rc)
        check(len(said.strip().splitlines()) == 1, said)
    ploop('rescue', 'no-such-directory', rc=39)


main()
