#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""init --populate and export --to tar: what goes in comes out, whoever runs it."""

import io
import os
import stat
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run

requires('mke2fs', 'e2fsck', 'tar')
ROOT = os.geteuid() == 0


def grow_tree():
    os.makedirs('t/dir/deep')
    os.mkdir('t/empty')
    with open('t/data', 'wb') as f:
        f.write(os.urandom(300000))
    with open('t/hole', 'wb') as f:
        f.seek(10_000_000)
        f.write(b'x' * 5000)
        f.truncate(20_000_000)
    open(b't/na\xff me', 'w').close()
    os.symlink('dir/deep', 't/link')
    os.symlink('x' * 300, 't/longlink')
    os.link('t/data', 't/dir/hard')
    os.mkfifo('t/fifo')
    os.chmod('t/data', 0o4751)
    os.setxattr('t/data', 'user.short', b'1')
    os.setxattr('t/data', 'user.long', b'z' * 1500)
    os.utime('t/dir/deep', ns=(10**18, 123456789 * 10**9 + 987654321))
    if ROOT:
        os.chown('t/data', 1234, 5678)
        os.mknod('t/char', 0o600 | stat.S_IFCHR, os.makedev(300, 70000))
        os.mknod('t/block', 0o640 | stat.S_IFBLK, os.makedev(8, 1))


def describe(top):
    """Everything about a tree that a restore must bring back."""
    found, inodes = {}, {}
    for where, dirs, files in os.walk(os.fsencode(top)):
        for name in dirs + files:
            path = os.path.join(where, name)
            key, s = os.path.relpath(path, os.fsencode(top)), os.lstat(path)
            if key == b'lost+found':
                continue
            node = [stat.S_IFMT(s.st_mode), s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev]
            if stat.S_ISLNK(s.st_mode):
                node.append(os.readlink(path))
            if stat.S_ISREG(s.st_mode):
                node += [s.st_size, open(path, 'rb').read(), {a: os.getxattr(path, a) for a in os.listxattr(path)}]
                inodes.setdefault(s.st_ino, set()).add(key)
            found[key] = node
    return found, sorted(sorted(names) for names in inodes.values())


def make_and_unpack(source, to, user=None):
    os.makedirs(f'{to}/v')
    command = [PLOOP, 'init', '-s', '60M', '--populate', source, f'{to}/v/root.hds']
    if user:
        os.chmod('.', 0o755)
        os.chmod(to, 0o755)
        run('chown', user, f'{to}/v')
        command = ['setpriv', '--reuid', user, '--clear-groups', *command]
    run(*command)
    ploop('export', f'{to}/v/DiskDescriptor.xml', f'{to}/raw')
    run('e2fsck', '-fn', f'{to}/raw?offset=1048576')
    ploop('export', '--to', 'tar', f'{to}/v/DiskDescriptor.xml', f'{to}/tar')
    os.mkdir(f'{to}/files')
    run('tar', '--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpSf', f'{to}/tar', '-C', f'{to}/files')
    return describe(f'{to}/files')


@behaviour('a tree, as itself, with a slash, through a link and as archives')
def _():
    grow_tree()
    wanted = describe('t')
    os.symlink('t', 'way')
    run('tar', '--format=posix', '--xattrs', '--xattrs-include=*', '-C', 't', '-cSf', 't.tar', '.')
    run('tar', '--format=posix', '--xattrs', '--xattrs-include=*', '-C', 't', '-cSzf', 't.tar.gz', '.')
    for i, source in enumerate(['t', 't/', 'way', 'way//', 't.tar', 't.tar.gz']):
        got = make_and_unpack(source, f'to{i}')
        check(got[0].keys() == wanted[0].keys(), f'{source}: {got[0].keys() ^ wanted[0].keys()}')
        for name in wanted[0]:
            check(got[0][name] == wanted[0][name], f'{source}: {name}: {got[0][name][:7]} {wanted[0][name][:7]}')
        check(got[1] == wanted[1], f'{source}: hard links {got[1]}')
        check(os.stat(f'to{i}/files/hole').st_blocks < 100, f'{source}: the hole is filled')


@behaviour('owners and devices from an archive need no root')
def _():
    if not ROOT:
        return
    grow_tree()
    run('tar', '--format=posix', '--xattrs', '-C', 't', '-cSf', 't.tar', '.')
    check(make_and_unpack('t.tar', 'to', 'nobody') == describe('t'), 'something was lost')


@behaviour('what cannot be read stops it, and nothing stays')
def _():
    os.makedirs('t/d')
    os.mkdir('v')
    for source, code in ('nowhere', 4), ('t.cut', 6), ('t.empty', 6):
        with open('t.cut', 'wb') as f:
            tar = tarfile.open(fileobj=f, mode='w')
            info = tarfile.TarInfo('file')
            info.size = 5000
            tar.addfile(info, io.BytesIO(bytes(5000)))
            f.truncate(2000)
        open('t.empty', 'w').close()
        ploop('init', '-s', '20M', '--populate', source, 'v/root.hds', rc=code)
        check(os.listdir('v') == [], os.listdir('v'))
    with open('t/big', 'wb') as f:
        f.write(os.urandom(30 * 2**20))
    said = ploop('init', '-s', '20M', '--populate', 't', 'v/root.hds', rc=7)
    check("'big'" in said and os.listdir('v') == [], said)
    ploop('init', '-s', '20M', '-t', 'none', '--populate', 't', 'v/root.hds', rc=38)
    ploop('import', 't', 'v/root.hds', rc=38)
    check(os.listdir('v') == [], os.listdir('v'))


@behaviour('an ACL of names, as GNU tar writes them, gets the numbers of this host')
def _():
    for name, code in ('root', 0), ('nobody-of-this-name', 38):
        with tarfile.open('acl.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo('file')
            info.pax_headers = {'SCHILY.acl.access': f'user::rw-,user:{name}:r--,group::r--,mask::r--,other::---'}
            tar.addfile(info)
        run('rm', '-rf', 'v')
        os.mkdir('v')
        ploop('init', '-s', '20M', '--populate', 'acl.tar', 'v/root.hds', rc=code)
        if code == 0:
            ploop('export', '--force', '--to', 'tar', 'v/DiskDescriptor.xml', 'out.tar')
            with tarfile.open('out.tar') as tar:
                acl = tar.getmember('file').pax_headers['SCHILY.acl.access']
            check('user:0:r--' in acl, acl)


main()
