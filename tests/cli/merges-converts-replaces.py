#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way to merge, convert and replace keeps what the disk reads as, and leaves just the files it should."""

import hashlib
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop, requires, run

requires('qemu-io')
XML = 'v/DiskDescriptor.xml'
GUID = '1111111{}-1111-1111-1111-111111111111'.format
BLANK = re.compile(r'\{[0-9a-f]{8}-[0-9a-f-]{27}\}')


def images():
    return ploop('snapshot-list', '-H', '-o', 'fname', XML).split()


def contents(*options, xml=XML):
    ploop('export', '--force', *options, xml, 'contents')
    with open('contents', 'rb') as f:
        return hashlib.sha1(f.read()).hexdigest()


def write(image, at, pattern):
    run('qemu-io', '-f', 'parallels', '-c', f'write -P {pattern} {at} 300k', image)


def chain(depth=4, version=2, cluster=64):
    """Random data with `depth` snapshots above, each written over in parts."""
    shutil.rmtree('v', ignore_errors=True)
    os.mkdir('v')
    with open('base.raw', 'wb') as f:
        f.write(os.urandom(2 * 2**20))
        f.truncate(6 * 2**20)
    ploop('import', '-v', version, '-b', cluster, 'base.raw', 'v/root.hds')
    for i in range(1, depth + 1):
        ploop('snapshot', '-u', GUID(i), XML)
        write(images()[-1], f'{i * 700}k', i)
    return contents()


def look(wanted, n_images):
    check(contents() == wanted, 'the disk reads otherwise')
    there = {name for name in os.listdir('v') if not name.startswith('DiskDescriptor.xml')}
    check(there == {os.path.basename(path) for path in images()}, f'files {there}, images {images()}')
    check(len(images()) == n_images, images())
    check(not os.path.exists(XML + '.tmp'), 'a temporary descriptor stays')
    ploop('check', XML)


@behaviour('snapshot-merge: one, a range, all, into a new image')
def _():
    for options, left, says in (([], 4, 'Offline snapshot merge'),
                                (['-u', GUID(3)], 4, 'Offline snapshot merge'),
                                (['-u', GUID(4), '-U', GUID(2)], 3, 'Offline merge of 2 snapshots'),
                                (['-U', GUID(2)], 2, 'Offline merge of 3 snapshots'),
                                (['-A'], 1, 'Offline merge of 4 snapshots'),
                                (['-n', 'v/new'], 4, '-> (new) v/new'),
                                (['-A', '-n', 'v/new'], 1, '-> (new) v/new'),
                                (['-u', GUID(3), '-U', GUID(1), '-n', 'v/new'], 3, '-> (new) v/new')):
        wanted = chain()
        said = ploop('snapshot-merge', *options, XML)
        check(says in said, said)
        look(wanted, left)
        check(('-n' in options) == os.path.exists('v/new'), 'the new image')


@behaviour('snapshot-merge of a single one speaks in the singular')
def _():
    wanted = chain(depth=1)
    said = BLANK.sub('{}', ploop('snapshot-merge', '-A', XML)).replace(os.getcwd(), '')
    check(said == 'Offline merge of 1 snapshot\nMerging image: root.hds.{} -> root.hds\n'
                  'Storing /v/DiskDescriptor.xml.tmp\nRemoving /v/root.hds.{}\nSnapshots successfully merged\n', said)
    look(wanted, 1)


@behaviour('what cannot be merged is refused and changes nothing')
def _():
    wanted = chain(depth=2)
    for code, *options in ((38, '-u', GUID(1)), (43, '-u', GUID(9)), (38, '-u', GUID(1), '-U', GUID(2)),
                           (38, '-A', '-u', GUID(1)), (38, '-n', 'v/root.hds'), (38, '-n', 'outside')):
        said = ploop('snapshot-merge', *options, XML, rc=code)
        check('outside' not in options or '--root' in said, said)
        look(wanted, 3)
    ploop('--root', os.getcwd(), 'snapshot-merge', '-A', '-n', 'outside', XML)
    check(os.listdir('.').count('outside') == 1, 'no image outside')


@behaviour('snapshot-delete in the middle, of the last, of one with two children')
def _():
    wanted = chain(depth=3)
    ploop('snapshot-delete', '-u', GUID(2), XML)
    look(wanted, 3)
    one = contents('-u', GUID(1))
    ploop('snapshot-switch', '-D', '-u', GUID(1), XML)
    check(contents() == one, 'the switch went elsewhere')
    said = ploop('snapshot-delete', '-u', GUID(1), XML)
    check('marking it as temporary instead' in said, said)
    check(contents() == one, 'the disk reads otherwise')
    ploop('check', XML)


@behaviour('bare files: into the last, into a new one, above a raw base')
def _():
    wanted = chain(depth=2)
    for i, path in enumerate(images()):
        shutil.copyfile(path, f'f{i}')
    before = [open(f'f{i}', 'rb').read() for i in range(3)]

    def reads(path):
        shutil.rmtree('w', ignore_errors=True)
        os.mkdir('w')
        os.link(path, 'w/root.hds')
        ploop('restore-descriptor', 'w', 'w/root.hds')
        ploop('check', '-f', '-r', 'w/root.hds')
        return contents(xml='w/DiskDescriptor.xml')

    ploop('merge', '-n', 'new', 'f2', 'f1', 'f0')
    check(reads('new') == wanted, 'the new file reads otherwise')
    check([open(f'f{i}', 'rb').read() for i in range(3)] == before, 'an input has changed')
    ploop('merge', '-n', 'new', 'f2', 'f1', 'f0', rc=38)
    shutil.copyfile('base.raw', 'raw')
    ploop('merge', '-f', 'raw', '-n', 'of-raw', 'f2', 'f1', 'raw')
    check(reads('of-raw') == wanted, 'the new file above a raw one reads otherwise')
    ploop('merge', '-f', 'raw', 'f2', 'f1', 'raw')
    check(hashlib.sha1(open('raw', 'rb').read()).hexdigest() == wanted, 'the raw file is another')
    ploop('merge', 'f2', 'f1', 'f0')
    check(reads('f0') == wanted, 'the base reads otherwise')
    check([open(f'f{i}', 'rb').read() for i in (1, 2)] == before[1:], 'an upper file has changed')
    for code, *files in (38, 'f1'), (4, 'f1', 'nowhere'), (23, 'f1', 'f1'), (11, 'f1', 'base.raw'):
        ploop('merge', *files, rc=code)


@behaviour('bare files of two sizes: the base grows, and says it is not empty')
def _():
    os.mkdir('v')
    ploop('init', '-s', '4M', '-t', 'none', 'v/root.hds')
    ploop('snapshot', XML)
    ploop('grow', '-s', '6M', XML)
    base, top = images()
    write(top, '5M', 7)
    ploop('merge', top, base)
    ploop('check', '-f', '-r', base)
    check('12288' in ploop('snapshot-merge', XML) + ploop('info', '-s', XML), 'the base has not grown')


@behaviour('convert through all formats and versions')
def _():
    for version in 1, 2:
        wanted = chain(depth=0, version=version)
        for step in (['-f', 'preallocated'], ['-f', 'expanded'], ['-v', '1'], ['-v', '2'], ['-v', '2'],
                     ['-f', 'preallocated', '--alloc', 'full'], ['-v', '1'], ['-f', 'raw'], ['-f', 'expanded'],
                     ['-f', 'raw', '--alloc', 'full']):
            ploop('convert', *step, XML)
            look(wanted, 1)
        with open('v/root.hds', 'rb') as f:
            check(hashlib.sha1(f.read()).hexdigest() == wanted, 'the raw image is not the disk')


@behaviour('convert --alloc full leaves no holes, not in what was there before either')
def _():
    for step in ['-f', 'preallocated'], ['-f', 'expanded'], ['-v', '1']:
        shutil.rmtree('v', ignore_errors=True)
        os.mkdir('v')
        with open('thin', 'wb') as f:
            f.seek(3_000_000)
            f.write(b'x')
            f.truncate(8 * 2**20)
        ploop('import', 'thin', 'v/root.hds')
        wanted = contents()
        ploop('convert', *step, '--alloc', 'full', XML)
        file = os.stat('v/root.hds')
        check(file.st_blocks * 512 >= file.st_size, f'{step}: {file.st_blocks} blocks for {file.st_size} bytes')
        look(wanted, 1)


@behaviour('convert with snapshots: the version of all of them, the format of none')
def _():
    wanted = chain(depth=2)
    ploop('convert', '-f', 'raw', XML, rc=17)
    ploop('convert', '-f', 'preallocated', XML, rc=17)
    for version, magic in (1, b'WithoutFreeSpace'), (2, b'WithouFreSpacExt'):
        ploop('convert', '-v', version, XML)
        look(wanted, 3)
        for path in images():
            check(open(path, 'rb').read(16) == magic, f'{path} has another version')


@behaviour('replace by state, level and file, with the name kept or not')
def _():
    for by in ['-u', GUID(1)], ['-l', '0'], ['-o', 'root.hds'], ['-o', 'v/root.hds'], ['-o', None]:
        for keep in [], ['-k']:
            wanted = chain(depth=1)
            shutil.copyfile('v/root.hds', 'v/copy')
            by = [word or os.path.abspath('v/root.hds') for word in by]
            said = ploop('replace', *by, *keep, '-i', 'v/copy', XML)
            check(f'Replacing {os.path.abspath("v/root.hds")} with {os.path.abspath("v/copy")} (offline' in said, said)
            if not keep:
                os.unlink('v/root.hds')
            look(wanted, 2)
            check(os.path.basename(images()[0]) == ('root.hds' if keep else 'copy'), images())


@behaviour('replace by something else is refused')
def _():
    wanted = chain(depth=1)
    shutil.copyfile('v/root.hds', 'copy')
    shutil.copyfile('v/root.hds', 'longer')
    os.truncate('longer', os.path.getsize('longer') + 32768)
    for code, *options in ((38, '-l', '0', '-i', 'longer'), (38, '-l', '1', '-i', 'copy'), (38, '-l', '2', '-i', 'copy'),
                           (38, '-o', 'nowhere', '-i', 'copy'), (43, '-u', GUID(9), '-i', 'copy'), (38, '-i', 'copy'),
                           (38, '-l', '0', '-u', GUID(1), '-i', 'copy'), (38, '-l', '0', '-i', 'v/root.hds'),
                           (4, '-l', '0', '-i', 'nowhere')):
        ploop('--root', os.getcwd(), 'replace', *options, XML, rc=code)
        look(wanted, 2)
    ploop('replace', '-l', '0', '-i', 'copy', XML, rc=38)
    look(wanted, 2)


@behaviour('balloon discard gives back what was deleted')
def _():
    os.makedirs('tree')
    for name in 'ab':
        with open(f'tree/{name}', 'wb') as f:
            f.write(os.urandom(20 * 2**20))
    os.mkdir('v')
    ploop('init', '-s', '100M', '--populate', 'tree', 'v/root.hds')
    ploop('export', XML, 'raw')
    run('debugfs', '-w', '-R', 'rm a', 'raw?offset=1048576')
    shutil.rmtree('v')
    os.mkdir('v')
    ploop('import', 'raw', 'v/root.hds')
    before = os.path.getsize('v/root.hds')
    lines = ploop('balloon', 'discard', '--stat', XML).splitlines()
    check([line[:13].strip() for line in lines] == ['Balloon size:', 'Data size:', 'Ploop size:', 'Image size:'], lines)
    check(all(re.fullmatch(r'[A-Z][a-z]+ size: +\d+MB', line) for line in lines), lines)
    ploop('balloon', 'discard', XML)
    check(before - os.path.getsize('v/root.hds') >= 19 * 2**20, 'the image is as long as before')
    ploop('export', '--to', 'tar', XML, 'tar')
    run('tar', '-xf', 'tar', 'b')
    run('cmp', 'b', 'tree/b')
    check(ploop('balloon', 'show', XML) == 'Current size of hidden balloon is 0 bytes\n', 'show')
    check(ploop('balloon', 'status', XML) == 'Current state of in-kernel maintenance: OFF\n', 'status')


main()
