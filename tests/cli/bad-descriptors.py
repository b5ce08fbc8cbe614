#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that lie, point elsewhere, go in circles or try to exhaust their reader."""

import html
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, ploop
from hostile import Disk, NONE, TOP, bounded, contents, refused, unchanged

U = '{%08x-1111-4111-8111-111111111111}'


def verbs(disk, depth=3):
    """Reading and writing verbs; depth cuts the list for cases that come in dozens."""
    new = os.path.join(disk.path, 'new')
    return [
        ['info', '-s', disk.xml], ['snapshot', disk.xml], ['check', disk.xml], ['export', disk.xml, new],
        ['grow', '-s', '64M', disk.xml], ['resize', '-s', '64M', disk.xml], ['map', disk.xml],
        ['convert', '-v', '1', disk.xml], ['convert', '-f', 'raw', disk.xml], ['balloon', 'discard', disk.xml],
    ][:4 * depth]


# The listing reads no image; like the original it ends with 1.
def refused_everywhere(disk, *words, codes=(39,), depth=3):
    for verb in verbs(disk, depth):
        refused(disk, verb, codes, *words)
    refused(disk, ['snapshot-list', disk.xml], (1,), *words)


def file_entry(disk, name):
    disk.edit('<File>root.hds</File>', f'<File>{name}</File>')


@behaviour('File entries that leave the directory are refused and nothing outside is touched')
def _():
    outside = os.path.realpath('outside')
    os.mkdir(outside)
    target = Disk()
    os.rename(target.image, os.path.join(outside, 'root.hds'))
    before = contents(outside)
    for name in ('../outside/root.hds', f'{outside}/root.hds', '../../../../../../../../etc/shadow', '/etc/shadow', 'x/../../outside/root.hds',
                 '/../etc/shadow', '/proc/self/mem', '/dev/zero', '//etc//shadow', './../outside/root.hds'):
        disk = Disk()
        file_entry(disk, name)
        for verb in verbs(disk, 2):
            refused(disk, verb, (39,), name, disk.path)
        check(contents(outside) == before, 'touched the file outside')


@behaviour('a File entry that stays inside by its text but goes through a link is refused')
def _():
    for link, name in ('root.hds', 'root.hds'), ('sub', 'sub/root.hds'):
        disk, other = Disk(), Disk()
        before = contents(other.path)
        file_entry(disk, name)
        os.unlink(disk.image)
        os.symlink(other.image if link == 'root.hds' else other.path, os.path.join(disk.path, link))
        for verb in verbs(disk):
            refused(disk, verb, (4,), name, disk.path, 'link')
        check(contents(other.path) == before, 'touched the file behind the link')


@behaviour('a File entry with a/../ in it means the file it says, and no other')
def _():
    disk = Disk()
    file_entry(disk, 'a/../root.hds')
    unchanged(disk, ['info', '-s', disk.xml])
    file_entry(Disk(), 'root.hds')


@behaviour('an image that is no regular file is refused and nobody waits for it')
def _():
    def fifo(path):
        os.mkfifo(path)

    def listening(path):
        here = os.getcwd()
        os.chdir(os.path.dirname(path))                       # the name of a socket is short
        socket.socket(socket.AF_UNIX).bind(os.path.basename(path))
        os.chdir(here)

    kinds = [fifo, listening, os.mkdir]
    if os.geteuid() == 0:
        kinds.append(lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)))
    for make in kinds:
        disk = Disk()
        os.unlink(disk.image)
        make(disk.image)
        for verb in verbs(disk):
            refused(disk, verb, (4,), 'root.hds', disk.path)
        for verb in ['check', '-f', disk.image], ['grow', '-s', '64M', disk.image], ['merge', disk.image, Disk().image]:
            refused(disk, verb, (4, 11, 38), 'root.hds')
        os.unlink(disk.xml)
        refused(disk, ['restore-descriptor', disk.path, disk.image], (4, 11, 38), 'root.hds')


@behaviour('a descriptor that is no regular file is refused and nobody waits for it')
def _():
    disk = Disk()
    os.unlink(disk.xml)
    os.mkfifo(disk.xml)
    for verb in ['info', '-s', disk.xml], ['snapshot', disk.xml], ['check', disk.xml]:
        refused(disk, verb, (4, 39), 'DiskDescriptor.xml')
    os.unlink(disk.xml)
    other = Disk()
    os.symlink(other.xml, disk.xml)
    for verb in ['info', '-s', disk.xml], ['snapshot', disk.xml], ['grow', '-s', '64M', disk.xml]:
        refused(disk, verb, (4, 39), 'DiskDescriptor.xml', 'link')


@behaviour('writes go to a hard link of the image as to the image: it is the same file of the same owner')
def _():
    disk = Disk()
    os.link(disk.image, disk.path + '/other')
    run = bounded(['grow', '-s', '64M', disk.xml])
    check(run.rc == 0, run.show())
    check(os.stat(disk.image).st_nlink == 2, 'the link is gone')


@behaviour('names with newlines and escape sequences come out escaped, on one line')
def _():
    for name, shown in ('a\nError: forged', 'a\\nError: forged'), ('\x1b[2Jx'.replace('\x1b', '&#x9;'), '\\t[2Jx'), ('\u009b2J', '\\xc2\\x9b2J'):
        disk = Disk()
        file_entry(disk, name)
        for verb in verbs(disk, 2):
            refused(disk, verb, (4,), shown)
        os.rename(disk.image, os.path.join(disk.path, html.unescape(name)))
        rows = bounded(['snapshot-list', '-H', disk.xml]).out
        check(rows.count('\n') == 1 and shown in rows, f'{rows!r}')
    disk = Disk()
    odd = os.path.join(disk.path, 'x\n\x1b[31m.xml')
    os.rename(disk.xml, odd)
    with open(odd, 'w') as file:
        file.write('no')
    refused(disk, ['info', '-s', odd], (39,), 'x\\n\\x1b[31m.xml')
    refused(disk, ['info', '-s', odd + 'x.xml'], (39,), 'x\\n\\x1b[31m')


def chain(disk, pairs, top=TOP, size=None):
    """Replace images and shots: (guid, parent) pairs, all of them root.hds."""
    text = disk.text()
    head, rest = text.split('<Image>', 1)
    tail = rest.split('</Storage>', 1)[1].split('<Shot>', 1)[0]
    images = ''.join(f'<Image><GUID>{g}</GUID><Type>Compressed</Type><File>{"root.hds" if i == 0 else i}</File></Image>\n'
                     for i, (g, _) in enumerate(pairs))
    shots = ''.join(f'<Shot><GUID>{g}</GUID><ParentGUID>{p}</ParentGUID></Shot>\n' for g, p in pairs)
    disk.describe(f'{head}{images}</Storage>{tail}{shots}</Snapshots></Parallels_disk_image>'.replace(f'<TopGUID>{TOP}', f'<TopGUID>{top}'))


@behaviour('chains in circles, without parent or with twins are refused')
def _():
    for pairs in ([(TOP, TOP)], [(TOP, U % 1), (U % 1, TOP)], [(TOP, U % 1), (U % 1, U % 2), (U % 2, U % 1)], [(TOP, U % 9)]):
        disk = Disk()
        chain(disk, pairs)
        for verb in verbs(disk):
            refused(disk, verb, (39, 38, 17), disk.path)
        unchanged(disk, ['snapshot-list', disk.xml], (0, 1, 4))
        unchanged(disk, ['snapshot-list', '-u', pairs[0][0], disk.xml], (0, 1, 4))
    for pairs in [(TOP, NONE), (TOP, NONE)], [(TOP, U % 1), (U % 1, NONE), (U % 1, NONE)], [(TOP, NONE), (NONE, TOP)]:
        disk = Disk()
        chain(disk, pairs)
        refused_everywhere(disk, disk.xml, 'GUID')


@behaviour('one file named by two states is refused, in whatever words')
def _():
    disk = Disk()
    chain(disk, [(TOP, U % 1), (U % 1, NONE)])
    disk.edit('<File>1</File>', '<File>root.hds</File>')
    refused_everywhere(disk, disk.xml, 'root.hds')
    disk.edit('<File>root.hds</File>', '<File>./root.hds</File>')
    for verb in ['snapshot-merge', disk.xml], ['snapshot-delete', '-u', U % 1, disk.xml], ['convert', '-v', '1', disk.xml]:
        before = contents(disk.path)
        run = bounded(verb)
        check(run.rc != 0 and contents(disk.path) == before, run.show())


@behaviour('chains of 10 000 and of 200 images are refused at once')
def _():
    for n in 10000, 1000, 200:
        disk = Disk()
        chain(disk, [(TOP, U % 1)] + [(U % i, U % (i + 1) if i < n else NONE) for i in range(1, n + 1)])
        for verb in verbs(disk, 1):
            refused(disk, verb, (39,), disk.path)
        unchanged(disk, ['snapshot-list', disk.xml], (0, 1, 4))


@behaviour('levels that differ in cluster size, version or size are refused')
def _():
    for other in {'cluster': 128}, {'version': 1}, {'size': '4M'}:
        disk, top = Disk(), Disk(**other)
        os.rename(top.image, disk.path + '/top')
        chain(disk, [(TOP, U % 1), (U % 1, NONE)])
        disk.edit('<File>root.hds<', '<File>top<')
        disk.edit('<File>1<', '<File>root.hds<')
        for verb in ['info', '-s', disk.xml], ['check', disk.xml], ['export', disk.xml, disk.path + '/new'], ['map', disk.xml]:
            refused(disk, verb, (11, 39), disk.path + '/top')


XML = {
    'empty': '',
    'no XML': 'hello',
    'cut short': '<?xml version="1.0"?><Parallels_disk_image><Disk_Parameters>',
    'NUL': '<?xml version="1.0"?><a>\0</a>',
    'billion laughs': '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha">' + ''.join(
        f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)) + ']><a>&j;</a>',
    'quadratic entities': '<!DOCTYPE a [<!ENTITY x "' + 'y' * 50000 + '">]><a>' + '&x;' * 50000 + '</a>',
    'external entity': '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Parallels_disk_image>&x;</Parallels_disk_image>',
    'parameter entity': '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;]><a/>',
    'external DTD': '<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>',
    'undefined entity': '<a>&undefined;</a>',
    'attributes': '<a ' + ' '.join(f'a{i}=""' for i in range(100000)) + '/>',
    '300k attributes': '<a ' + ' '.join(f'a{i}=""' for i in range(300000)) + '/>',
    'depth 200k': '<a>' * 200000 + '</a>' * 200000,
    'depth 1000': '<a>' * 1000 + '</a>' * 1000,
    'text of 4 MiB': '<a>' + 'x' * (4 << 20) + '</a>',
    'file of 2 MiB': '<a/>' + ' ' * (2 << 20),
    'text of almost 1 MiB': '<a>' + 'x' * ((1 << 20) - 100) + '</a>',
    'name of 1 MiB': '<' + 'x' * ((1 << 20) - 100) + '/>',
    'namespaces': '<a ' + ' '.join(f'xmlns:a{i}="b"' for i in range(50000)) + '/>',
    'comments': '<a>' + '<!---->' * 140000 + '</a>',
    'UTF-16': '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode('utf-16'),
    'UTF-7': b'<?xml version="1.0" encoding="UTF-7"?>+ADw-a/+AD4-',
    'not UTF-8': b'<?xml version="1.0"?><a>\xff\xfe</a>',
    'XInclude': '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/></a>',
}


@behaviour('hostile XML is refused by every verb within bounds')
def _():
    disk = Disk()
    for text in XML.values():
        disk.describe(text)
        for verb in ['info', '-s', disk.xml], ['snapshot', disk.xml], ['grow', '-s', '64M', disk.xml]:
            run = refused(disk, verb, (39,), disk.xml)
            check('root:' not in run.err, f'shows another file: {run.show()}')
        refused(disk, ['snapshot-list', disk.xml], (1,), disk.xml)


@behaviour('each missing, doubled or absurd element is named, and nothing is changed')
def _():
    disk = Disk()
    sound = disk.text()
    shots = sound[sound.index('<Snapshots>'):sound.index('</Snapshots>') + len('</Snapshots>')]
    storage = sound[sound.index('<Storage>'):sound.index('</Storage>') + len('</Storage>')]
    for old, new, word in (
            ('<Blocksize>64</Blocksize>', '', 'Blocksize'), ('<Blocksize>64<', '<Blocksize>0<', 'Blocksize'),
            ('<Blocksize>64<', '<Blocksize>63<', 'Blocksize'), ('<Blocksize>64<', '<Blocksize>4294967360<', 'Blocksize'),
            ('<Blocksize>64<', '<Blocksize>18446744073709551680<', 'Blocksize'), ('<Blocksize>64<', '<Blocksize>-64<', 'Blocksize'),
            (shots, '', 'Snapshots'), (storage, '', 'Storage'), (storage, storage * 2, 'Storage'), (shots, shots * 2, 'Snapshots'),
            ('<File>root.hds</File>', '<File/>', 'File'), ('<File>root.hds</File>', f'<File>{"x" * 5000}</File>', 'File'),
            (f'<TopGUID>{TOP}', '<TopGUID>junk', 'TopGUID'), (f'<TopGUID>{TOP}', f'<TopGUID>{U % 7}', 'TopGUID'),
            (f'<GUID>{TOP}', '<GUID>{zz', 'GUID'), ('</ParentGUID>', '</ParentGUID><Temporary/>', 'Temporary'),
            ('<Blocksize>', '<Preallocated>2</Preallocated><Blocksize>', 'Preallocated')):
        check(old in sound, f'no {old}')
        disk.describe(sound.replace(old, new, 1))
        refused_everywhere(disk, disk.xml, word, depth=1)


@behaviour('numbers that overflow in the descriptor do not overrule the image')
def _():
    disk = Disk()
    sound = disk.text()
    for value in '18446744073709551615', '99999999999999999999999', '-1', 'abc', '0x4000', '':
        disk.describe(sound.replace('<Disk_size>16384<', f'<Disk_size>{value}<').replace('<Cylinders>32<', '<Cylinders>0<'))
        run = unchanged(disk, ['info', '-s', disk.xml])
        check('size:\t\t16384\n' in run.out, run.show())
        bounded(['check', disk.xml])
        run = bounded(['grow', '-s', '16384', disk.xml])
        check(run.rc == 0, run.show())


@behaviour('a cluster size that the descriptor and the image disagree on is refused')
def _():
    disk = Disk()
    disk.edit('<Blocksize>64<', '<Blocksize>128<')
    for verb in verbs(disk, 2):
        refused(disk, verb, (11, 39), disk.image)


main()
