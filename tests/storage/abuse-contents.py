#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files made to mislead whoever looks into them: images, descriptors, definitions and names. F5, F7, F8, F13, F18 to F21
and attacks 1 to 10 and 17 to 24 of docs/abuse.md, at a pool. What `ploop` does with the same images and descriptors is
shown by tests/cli/bad-headers.py and bad-descriptors.py."""

import glob
import os
import resource
import shutil
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main
from pools import SANITIZED, a_pool, a_volume, ctl, get, put, refused, volumes

GUID = '{5fbaabe3-6958-40ff-92a7-860e329aab41}'


def quick(seconds, *arguments, **options):
    """A run that takes no more than that of the processor, and little more by the clock; a busy machine has three tries."""
    took = []
    for _ in range(3):
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        said = ctl(*arguments, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if SANITIZED or (took[-1] < seconds and time.monotonic() - begin < 10 * seconds):
            return said
    raise AssertionError(f'{took} s, more than {seconds}: {arguments}')


def qcow2(backing, size=1 << 20):
    """A header that names a backing file, and no more."""
    name = os.fsencode(backing)
    return (struct.pack('>4sIQIIQIIQQIIQ', b'QFI\xfb', 2, 72, len(name), 16, size, 0, 1, 0x10000, 0x20000, 1, 0, 0) +
            name).ljust(4096, b'\0')


def verbs_on(volume):
    put('bytes', b'x' * 4096)
    return [('vol', 'info', f'p/{volume}'), ('vol', 'dumpxml', f'p/{volume}'), ('vol', 'map', f'p/{volume}'),
            ('vol', 'resize', f'p/{volume}', '64M'), ('vol', 'clone', f'p/{volume}', 'copy', '--format', 'raw'),
            ('export', f'p/{volume}', 'exported.raw', '--force'), ('vol', 'download', f'p/{volume}', 'bytes.out'),
            ('vol', 'wipe', f'p/{volume}'), ('vol', 'delete', f'p/{volume}')]


def nothing_hangs(volume):
    for command in verbs_on(volume):
        ctl(*command, rc=(0, 1, 2, 3, 4, 5, 7), timeout=10)
        if os.path.exists('p/copy'):
            ctl('vol', 'delete', 'p/copy')


@behaviour('F5 a qcow2 header whose backing file never answers holds up neither start, list nor refresh')
def _():
    os.mkdir('p')
    os.mkfifo('p/pipe')
    os.mkfifo('outside')
    for name, backing in (('inside', 'pipe'), ('absolute', os.path.abspath('outside')), ('kmsg', '/proc/kmsg'),
                          ('itself', 'itself'), ('url', 'nbd://localhost/x'), ('json', 'json:{"driver":"file"}')):
        put(f'p/{name}', qcow2(backing))
    a_pool()
    quick(0.1, 'pool', 'refresh', 'p')
    quick(0.1, 'vol', 'list', 'p')
    quick(0.1, 'pool', 'list', '--all')
    found = volumes()
    check(found['inside']['backing'] == os.path.abspath('p/pipe'), found)
    check(found['kmsg']['backing'] == '/proc/kmsg', found)
    for name in found:
        nothing_hangs(name)


@behaviour('F7 a ploop volume whose image is a fifo costs itself, not the pool')
def _():
    a_pool()
    a_volume('bad', format='ploop')
    a_volume('good', format='ploop')
    os.unlink('p/bad/root.hds')
    os.mkfifo('p/bad/root.hds')
    ctl('pool', 'destroy', 'p')
    quick(1, 'pool', 'start', 'p', rc=(0, 4))
    found = volumes()
    check(found['good']['state'] == 'good', found)
    check(found['bad']['state'] == 'broken' and found['bad']['reason'], found['bad'])
    nothing_hangs('bad')


@behaviour('F8 descriptors that are missing, garbage, bombs or full of entities break one volume each, and say why')
def _():
    a_pool()
    a_volume('model', format='ploop')
    good = get('p/model/DiskDescriptor.xml')
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + ''.join(
        f'<!ENTITY a{i} "{"&a" + (str(i - 1) if i else "") + ";"}{"&a" + (str(i - 1) if i else "") + ";"}">' for i in range(40))
    texts = {
        'garbage': b'\xff\xfe\0garbage', 'empty': b'', 'laughs': (laughs + ']><x>&a39;</x>').encode(),
        'xxe': b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + good.replace(b'root.hds', b'&e;'),
        'deep': b'<a>' * 200000, 'attributes': b'<a ' + b' '.join(b'b%d="1"' % i for i in range(300000)) + b'/>',
        'long': b'<a>' + b'x' * (4 << 20) + b'</a>', 'other': b'<pool><name>x</name></pool>',
    }
    for name, text in texts.items():
        shutil.copytree('p/model', f'p/{name}')
        put(f'p/{name}/DiskDescriptor.xml', text)
    shutil.copytree('p/model', 'p/missing')
    os.unlink('p/missing/DiskDescriptor.xml')
    shutil.copytree('p/model', 'p/imageless')
    os.unlink('p/imageless/root.hds')
    shutil.copytree('p/model', 'p/other-size')
    put('p/other-size/root.hds', bytes(4096))
    shutil.copytree('p/model', 'p/closed')
    os.chmod('p/closed/root.hds', 0)
    ctl('pool', 'destroy', 'p')
    quick(1, 'pool', 'start', 'p')
    found = volumes()
    check(found['model']['state'] == 'good', found['model'])
    for name in (*texts, 'other-size'):
        check(found[name]['state'] == 'broken' and found[name]['reason'], f'{name}: {found[name]}')
        check(found[name]['reason'].isprintable(), found[name]['reason'])
    for name in ('missing', 'imageless'):
        check(found[name]['type'] == 'dir' or found[name]['state'] == 'broken', found[name])
    check('root:' not in str(found), 'the text of another file')
    said = ctl('doctor', 'p', rc=(0, 4, 7))
    for name in texts:
        check(name in said, f'the doctor does not name {name}: {said}')


@behaviour('F13 a clone has as many bytes as its source, and the same')
def _():
    a_pool()
    for size in (0, 1, 4095, 4097, (3 << 20) + 513):
        put(f'p/v{size}', os.urandom(size))
        ctl('vol', 'clone', f'p/v{size}', f'c{size}')
        check(get(f'p/c{size}') == get(f'p/v{size}'), f'{size} bytes became {os.path.getsize(f"p/c{size}")}')


# ---- images ----

def header(disk, **fields):
    """Absurd numbers in the header of a ploop volume's image."""
    layout = {'sectors': (28, '<I'), 'entries': (32, '<I'), 'size': (36, '<Q'), 'first': (48, '<I'), 'extension': (56, '<Q'),
              'entry': (64, '<I')}
    with open(f'p/{disk}/root.hds', 'r+b') as file:
        for name, value in fields.items():
            file.seek(layout[name][0])
            file.write(struct.pack(layout[name][1], value))


def memory_of(*arguments, **options):
    """The largest set of pages of any run so far, in MiB: it only grows."""
    ctl(*arguments, **options)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


@behaviour('attacks 1 to 5 and 10: an image with absurd numbers is broken, costs no memory and gets no write')
def _():
    a_pool()
    lies = {'1': {'first': 1 << 31}, '2a': {'sectors': 0}, '2b': {'sectors': 100}, '2c': {'sectors': 1 << 31},
            '3': {'entries': 0xffffffff}, '4a': {'size': 0xffffffffffffffff}, '4b': {'size': 1 << 55},
            '5': {'size': 1 << 30}, '10': {'extension': 1 << 63}}
    for name, fields in lies.items():
        a_volume(name, format='ploop')
        header(name, **fields)
    found = volumes()
    if not SANITIZED:
        check(memory_of('pool', 'refresh', 'p') < 64, 'it takes too much memory')
    for name in lies:
        before = get(f'p/{name}/root.hds')
        if name != '10': # the header is sound; what lies behind it is only looked at by those who use it
            check(found[name]['state'] == 'broken' and found[name]['reason'], f'attack {name}: {found[name]}')
        put('bytes', b'x' * 4096)
        for command in (('vol', 'upload', f'p/{name}', 'bytes', '--disk'), ('vol', 'resize', f'p/{name}', '64M')):
            ctl(*command, rc=(0, 4) if name == '10' else (1, 2, 4, 7), timeout=10)
        if name != '10':
            check(get(f'p/{name}/root.hds') == before, f'attack {name}: it was written to')
        ctl('vol', 'delete', f'p/{name}')


@behaviour('attacks 6 to 9: entries that point outside, into the tables or at one cluster let no write through')
def _():
    a_pool()
    for name, entry in (('outside', 0x00ffffff), ('header', 0x0fffffff)):
        a_volume(name, format='ploop')
        header(name, entry=entry)
        put('bytes', b'x' * 4096)
        size = os.path.getsize(f'p/{name}/root.hds')
        ctl('vol', 'upload', f'p/{name}', 'bytes', '--disk', rc=(0, 4, 7))
        check(os.path.getsize(f'p/{name}/root.hds') < size + (4 << 20), 'the file grew to where the entry points')
        ctl('export', f'p/{name}', 'exported.raw', '--force', rc=(0, 4, 7))
    a_volume('twins', format='ploop')
    put('bytes', b'1' * (1 << 20) + b'2' * (1 << 20))
    ctl('vol', 'upload', 'p/twins', 'bytes', '--disk')
    with open('p/twins/root.hds', 'r+b') as file:
        file.seek(64)
        file.write(file.read(4) * 2)
    before = get('p/twins/root.hds')
    put('bytes', b'x' * 4096)
    ctl('vol', 'upload', 'p/twins', 'bytes', '--disk', rc=(4, 7))
    check(get('p/twins/root.hds') == before, 'a write went to both')


@behaviour('attack 17: bytes that a guest writes to a ploop volume never make it another format')
def _():
    a_pool()
    os.mkfifo('pipe')
    put('host-secret', b'nobody may see this\n' * 100)
    a_volume('disk', format='ploop')
    for backing in (os.path.abspath('pipe'), '/proc/kmsg', os.path.abspath('host-secret')):
        put('bytes', qcow2(backing))
        ctl('vol', 'upload', 'p/disk', 'bytes', '--disk')
        check(volumes()['disk']['format'] == 'ploop' and not volumes()['disk']['backing'], volumes())
        ctl('export', 'p/disk', 'one.raw', '--force', timeout=10)
        check(get('one.raw').startswith(get('bytes')), 'the bytes are not those that were written')
        ctl('vol', 'clone', 'p/disk', 'copy', '--format', 'raw', timeout=10)
        check(get('p/copy').startswith(get('bytes')), 'the clone is not what the disk holds')
        ctl('vol', 'delete', 'p/copy')


@behaviour('attack 17: a raw volume that a guest made look like qcow2 hangs nobody')
def _():
    a_pool()
    os.mkfifo('pipe')
    for name, backing in (('pipe', os.path.abspath('pipe')), ('kmsg', '/proc/kmsg'), ('zero', '/dev/zero')):
        a_volume(name)
        put(f'p/{name}', qcow2(backing), 'r+b')
        nothing_hangs(name)


@behaviour('attack 18: chains in a circle, of oneself, with twins or ten thousand long are broken at once')
def _():
    a_pool()
    a_volume('model', format='ploop')
    good = get('p/model/DiskDescriptor.xml').decode()

    def shots(*pairs):
        text = ''.join(f'<Shot><GUID>{{{guid:08d}-0000-4000-8000-000000000000}}</GUID>'
                       f'<ParentGUID>{{{parent:08d}-0000-4000-8000-000000000000}}</ParentGUID></Shot>' for guid, parent in pairs)
        return good.replace('</Snapshots>', text + '</Snapshots>')
    for name, text in (('circle', shots((1, 2), (2, 1))), ('self', shots((1, 1))), ('twins', shots((1, 0), (1, 0))),
                       ('long', shots(*((i + 1, i) for i in range(1, 10000))))):
        check(text != good, 'nothing was changed')
        shutil.copytree('p/model', f'p/{name}')
        put(f'p/{name}/DiskDescriptor.xml', text.encode())
    quick(0.2, 'pool', 'refresh', 'p')
    found = volumes()
    for name in ('circle', 'self', 'twins', 'long'):
        check(found[name]['state'] == 'broken', f'{name}: {found[name]}')
        for command in (('vol', 'resize', f'p/{name}', '64M'), ('snapshot', 'list', f'p/{name}'),
                        ('export', f'p/{name}', 'exported.raw')):
            ctl(*command, rc=(1, 2, 4, 7), timeout=10)


# ---- definitions ----

@behaviour('F18 to F21, attacks 19 to 22: definitions that blow up, or read other files, are refused at once')
def _():
    a_pool()
    quadratic = '<!DOCTYPE pool [<!ENTITY a "%s">]><pool type="dir"><name>%s</name></pool>' % ('x' * 100000, '&a;' * 30000)
    texts = {
        'laughs': '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]><pool type="dir"><name>&c;</name></pool>',
        'quadratic': quadratic,
        'xxe': '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><pool type="dir"><name>&e;</name></pool>',
        'parameter': '<!DOCTYPE x [<!ENTITY % e SYSTEM "file:///etc/passwd">%e;]><pool type="dir"><name>x</name></pool>',
        'external': '<!DOCTYPE x SYSTEM "http://localhost:1/x.dtd"><pool type="dir"><name>x</name></pool>',
        'attributes': '<pool type="dir" ' + ' '.join(f'b{i}="1"' for i in range(300000)) + '><name>x</name></pool>',
        'deep': '<pool type="dir">' + '<a>' * 200000,
        'text': '<pool type="dir"><name>' + 'x' * (4 << 20) + '</name></pool>',
    }
    for name, text in texts.items():
        put('bad.xml', text.encode())
        quick(0.05, 'pool', 'define', 'bad.xml', rc=2)
        said = refused(2, '', 'pool', 'define', 'bad.xml')
        check('root:' not in said and len(said) < 4096, f'{name}: {said}')
        put('bad.xml', text.replace('<pool type="dir"', '<volume').replace('</pool>', '</volume>').encode())
        quick(0.05, 'vol', 'create', 'p', 'bad.xml', rc=2)
    check(volumes() == {}, volumes())


@behaviour('attack 23: a pool on a directory of the system, on a relative path or on a link to one is refused')
def _():
    os.mkdir('real')
    os.symlink('/etc', 'linked')
    for i, path in enumerate(('/', '/etc', '/etc/ssl', '//etc', '/usr', '/dev', '/proc/self', 'real', '../etc', './real', '',
                              os.path.abspath('linked'), os.path.abspath('linked/ssl'))):
        for verb in ('define-as', 'create-as'):
            ctl('pool', verb, f'x{i}', 'dir', '--target', path, rc=(0, 1, 2, 4))
            ctl('pool', 'start', f'x{i}', rc=(1, 2, 3, 4))
            ctl('vol', 'create-as', f'x{i}', 'abuse', '1M', rc=(1, 2, 3, 4))
            ctl('pool', 'undefine', f'x{i}', rc=(0, 3))
    check(not glob.glob('/etc/abuse') + glob.glob('/abuse') + os.listdir('real'), 'a volume was made')


@behaviour('attack 23: a pool whose directory became a link to one of the system does not start')
def _():
    a_pool()
    ctl('pool', 'destroy', 'p')
    os.rename('p', 'moved')
    os.symlink('/etc', 'p')
    refused((1, 2, 4), '', 'pool', 'start', 'p')
    refused((3, 4), '', 'vol', 'create-as', 'p', 'abuse', '1M')
    check(not os.path.exists('/etc/abuse'), 'a volume was made')


@behaviour('attack 24: a name that is a path, too long or unprintable is refused, and nothing is made')
def _():
    a_pool()
    for name in ('', '.', '..', '../x', 'a/b', '/x', 'x' * 256, 'new\nline', 'bell\a', '\x1b[2J', '\x7f', b'\xff\xfe', '.ploopkit'):
        for command in (('vol', 'create-as', 'p', name, '1M'), ('vol', 'create-as', 'p', name, '1M', '--format', 'qcow2'),
                        ('vol', 'create-as', 'p', name, '1M', '--format', 'ploop', '--empty')):
            refused((1, 2, 3, 4), '', *command)
        check(not [found for found in os.listdir('p') if found != '.ploopkit'], os.listdir('p'))
    check(sorted(os.listdir('.')) == ['p', 'state'], os.listdir('.'))


@behaviour('attack 24: a name that looks like an option, a format or a protocol is a name, to every helper')
def _():
    a_pool()
    for name in ('-x', '--help', '-rf', '%s%n', 'nbd:localhost:1', 'json:{}', 'a,b=c', '$(touch outside)', ' ', '~', '*', '`id`'):
        for kind in ('raw', 'qcow2', 'ploop'):
            empty = ['--empty'] if kind == 'ploop' else []
            ctl('vol', 'create-as', '--format', kind, '--allocation', '0', *empty, '--pool', 'p', '--name', name, '--capacity', '1M')
            check(os.listdir('p') == [name], os.listdir('p'))
            check(volumes()[name]['format'] == kind, volumes())
            ctl('vol', 'clone', '--pool', 'p', '--vol', name, '--newname', name + '2', '--format', 'raw')
            for command in (('vol', 'resize', '--pool', 'p', '--vol', name, '--capacity', '2M'),
                            ('vol', 'wipe', '--pool', 'p', '--vol', name), ('vol', 'delete', '--pool', 'p', '--vol', name),
                            ('vol', 'delete', '--pool', 'p', '--vol', name + '2')):
                ctl(*command)
            check(os.listdir('p') == [], os.listdir('p'))
    check(sorted(os.listdir('.')) == ['p', 'state'], os.listdir('.'))


main()
