#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only a terminal gets: colours in the map, a progress bar after a second. And what a file gets instead."""

import os
import pty
import re
import subprocess
import sys
import time
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run

requires('qemu-io', 'mke2fs')
XML = 'v/DiskDescriptor.xml'


def read_all(terminal):
    said = b''
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError: # how a terminal ends
        pass
    os.close(terminal)
    return said.decode()


def on_terminal(*arguments, **environment):
    terminal, end = pty.openpty()
    verb = subprocess.Popen([PLOOP, *arguments], stdin=end, stdout=end, stderr=end,
                            env={**os.environ, 'TERM': 'xterm', **environment})
    os.close(end)
    said = read_all(terminal)
    check(verb.wait() == 0, said)
    return said


def make():
    os.mkdir('v')
    ploop('init', '-s', '16M', '-t', 'none', 'v/root.hds')
    run('qemu-io', '-f', 'parallels', '-c', 'write -P 1 2M 1M', 'v/root.hds')
    ploop('snapshot', XML)
    top = ploop('snapshot-list', '-H', '-o', 'fname', XML).split()[1]
    run('qemu-io', '-f', 'parallels', '-c', 'write -P 2 5M 2M', top)


@behaviour('the map: letters in a file, colours on a terminal, letters there with NO_COLOR')
def _():
    make()
    os.environ.pop('NO_COLOR', None)
    check(ploop('map', '--width', '8', XML).split('\n')[:2] == ['..A..BB.', '........'], ploop('map', XML))
    colours = re.findall(r'\x1b\[48;5;(\d+)m', on_terminal('map', '--width', '8', XML))[:8]
    a, b, none = colours[2], colours[5], colours[0]
    check(len({a, b, none}) == 3 and colours == [none, none, a, none, none, b, b, none], colours)
    check('\x1b' not in on_terminal('map', XML, NO_COLOR='1'), 'colours despite NO_COLOR')


@behaviour('the SVG picture is XML and replaces a file only when told')
def _():
    make()
    ploop('map', '--svg', 'map.svg', XML)
    svg = xml.dom.minidom.parse('map.svg').documentElement
    texts = [text.firstChild.data for text in svg.getElementsByTagName('text')]
    check(svg.tagName == 'svg' and any('1 MiB' in t and 'root.hds' in t for t in texts), texts)
    ploop('map', '--svg', 'map.svg', XML, rc=38)
    ploop('map', '--svg', 'map.svg', '--force', XML)
    check(sorted(os.listdir('.')) == ['map.svg', 'v'], os.listdir('.'))


@behaviour('a bar shows after a second, goes away, and is on a terminal only')
def _():
    os.mkdir('v')
    os.mkdir('tree')
    with open('tree/f', 'wb') as f:
        f.write(os.urandom(8 * 2**20))
    ploop('init', '-s', '40M', '--populate', 'tree', 'v/root.hds')
    for terminal in True, False:
        bar, end = pty.openpty() if terminal else os.pipe()
        verb = subprocess.Popen([PLOOP, 'export', '--to', 'tar', XML, '-'], stdout=subprocess.PIPE, stderr=end)
        os.close(end)
        time.sleep(1.2) # it waits for us to take the archive
        with open('out.tar', 'wb') as out:
            out.write(verb.stdout.read())
        said = read_all(bar)
        check(verb.wait() == 0, said)
        if terminal:
            check(re.search(r'\[#+\.*\] +\d+ %', said) and said.endswith('\r\x1b[K'), repr(said[-200:]))
        else:
            check(said == '', said)


@behaviour('--progress-fd counts bytes up to the whole')
def _():
    make()
    told, tell = os.pipe()
    ploop('--progress-fd', tell, 'export', XML, 'out', pass_fds=[tell])
    os.close(tell)
    with os.fdopen(told) as f:
        lines = [tuple(map(int, line.split('/'))) for line in f]
    check(lines[-1] == (2**24, 2**24) and lines == sorted(lines), lines)


main()
