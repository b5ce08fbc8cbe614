#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only a terminal gets of ploopctl: a coloured status, a progress bar after a second. And hostile names."""

import json
import os
import pty
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from behaviour import behaviour, check, main, run

PLOOPCTL = os.path.abspath(os.environ.get('PLOOPCTL', 'build/src/cli/ploopctl/ploopctl'))
STATE = ('--state-dir', 'state')


def ctl(*arguments, **options):
    return run(PLOOPCTL, *STATE, *arguments, **options)


def on_terminal(*arguments, during=None, **environment):
    terminal, end = pty.openpty()
    verb = subprocess.Popen([PLOOPCTL, *STATE, *arguments], stdin=end if not during else subprocess.PIPE, stdout=end,
                            stderr=end, env={**os.environ, 'TERM': 'xterm', **environment})
    os.close(end)
    if during:
        during(verb.stdin)
        verb.stdin.close()
    said = b''
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError: # how a terminal ends
        pass
    os.close(terminal)
    check(verb.wait() == 0, said)
    return said.decode()


def a_pool():
    os.environ.pop('NO_COLOR', None)
    os.mkdir('p')
    ctl('-q', 'pool', 'define-as', 'p', 'dir', '--target', os.path.abspath('p'))
    ctl('-q', 'pool', 'start', 'p')
    ctl('-q', 'vol', 'create-as', 'p', 'v', '8M', '--allocation', '0')


@behaviour('the status is coloured on a terminal, and nowhere else')
def _():
    a_pool()
    check('\x1b[32mgood\x1b[0m' in on_terminal('vol', 'list', 'p'), on_terminal('vol', 'list', 'p'))
    for said in (on_terminal('vol', 'list', 'p', NO_COLOR='1'), on_terminal('vol', 'list', 'p', TERM='dumb'),
                 ctl('vol', 'list', 'p')):
        check('good' in said and '\x1b' not in said, said)


@behaviour('a bar shows after a second, unless it is unwanted')
def _():
    def slowly(pipe):
        pipe.write(bytes(1 << 20))
        pipe.flush()
        time.sleep(1.5)
        pipe.write(bytes(1 << 20))
        pipe.flush()
    a_pool()
    check('upload' in on_terminal('vol', 'upload', 'p/v', '-', during=slowly), 'no bar')
    for option in ('--no-progress', '-q'):
        check('upload' not in on_terminal(option, 'vol', 'upload', 'p/v', '-', during=slowly), f'a bar despite {option}')


@behaviour('a name moves no cursor and breaks no line, and JSON holds it')
def _():
    a_pool()
    for name in ('umlaut-\u00e4', '\u6f22\u5b57', 'blank in it'):
        open(os.path.join('p', name), 'wb').close()
    open(b'p/not-utf8-\xff', 'wb').close()
    listed = ctl('-q', 'vol', 'list', 'p')
    check(len(listed.splitlines()) == 4 and '\x1b' not in listed, listed)
    names = [volume['name'] for volume in json.loads(ctl('vol', 'list', 'p', '--json'))]
    check('\u6f22\u5b57' in names and not any('utf8' in name for name in names), names)


@behaviour('two commands at the same time both do their work')
def _():
    a_pool()
    both = [subprocess.Popen([PLOOPCTL, *STATE, '-q', 'vol', 'create-as', 'p', f'n{i}', '1M', '--format', 'ploop'])
            for i in range(4)]
    check([one.wait() for one in both] == [0] * 4, 'one failed')
    check(ctl('vol', 'list', '--name', 'p').split() == ['n0', 'n1', 'n2', 'n3', 'v'], ctl('vol', 'list', 'p'))


main()
