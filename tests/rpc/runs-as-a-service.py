#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ploopd as systemd, journald and a scraper of figures see it."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
from behaviour import behaviour, check, main, requires, run, skip  # noqa: E402
from pools import PLOOPD, Daemon, ctl, get, put, wait_until  # noqa: E402
from wire import *  # noqa: E402,F403

POOL = "<pool type='dir'><name>%s</name><target><path>%s</path></target></pool>"
UNITS = os.path.join(HERE, '..', '..', 'data', 'systemd')
MANUAL = os.path.join(HERE, '..', '..', 'man', 'ploopd.8')
JOURNAL = '/run/systemd/journal'

requires('unshare', 'systemd-analyze', 'systemd-socket-activate')
if os.geteuid() != 0:
    skip('needs root: it puts a journal of its own in the place of the machine\'s')
if 'PRIVATE' not in os.environ:
    os.environ['PRIVATE'] = '1'
    os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc',
                          sys.executable, os.path.abspath(__file__), *sys.argv[1:]])


def refused(*words):
    """What ploopd says instead of starting: one line."""
    said = run(PLOOPD, *words, rc=1, stdin=subprocess.DEVNULL, timeout=20)
    check(said.startswith('ploopd: ') and said.count('\n') == 1, said)
    return said


def connect(path):
    import libvirt
    libvirt.registerErrorHandler(lambda ctx, err: None, None)
    return libvirt.open(f'storage:///system?socket={path}')


def a_pool(conn, name='p'):
    os.mkdir(name)
    pool = conn.storagePoolDefineXML(POOL % (name, os.path.abspath(name)))
    pool.create()
    return pool


# ---- the command line and the file ----

@behaviour('a mistake in the configuration is one line that says where and what')
def _():
    for text_, words in (('[daemon]\nsocket_mod=0700\n', (':2:', 'socket_mod', '[daemon]')),
                         ('[daemons]\nauth=none\n', (':1:', 'daemons')), ('\n[daemons]\n', (':2:', '[daemons]')),
                         ('[daemon]\n# octal\n\nsocket_mode=0999\n', (':4:', 'socket_mode', '0999', 'octal')),
                         ('[daemon]\nverbose=true\nverbose=false\n', (':3:', 'verbose', 'twice')),
                         ('[daemon]\nverbose=true\n[tls]\n[daemon]\nverbose=true\n', (':5:', 'verbose', 'twice')),
                         ('[daemon]\nverbose[en]=true\n', (':2:', 'verbose[en]')),
                         ('[tls]\nverbose=true\n', (':2:', 'verbose', '[tls]')),
                         ('auth=none\n', (':1:', 'auth', 'group')), ('[daemon\n', (':1:', '[daemon', ']')), ('[\n', (':1:',)),
                         ('[daemon]\nverbose\n', (':2:', 'verbose', 'key=value')), ('[daemon]\n=true\n', (':2:',)),
                         ('[daemon]\nmetrics=\xff\n', (':2:', 'UTF-8')), ('[daemon]\n\0\n', ('zero',))):
        put('ploopd.conf', text_.encode('latin-1'))
        said = refused('--config', 'ploopd.conf', '--socket', 's', '--state-dir', 'st')
        check(said.startswith('ploopd: ploopd.conf:') and all(word in said for word in words), f'{text_!r}: {said}')
    check('nothing.conf' in refused('--config', 'nothing.conf'), 'a file that is not there')
    check('--state-dir' in refused('--socket', 's') and '--socket' in refused('--state-dir', 'st'), 'the way out')
    check('--help' in run(PLOOPD, '--wrong', rc=1) and 'Usage' in run(PLOOPD, '--help'), 'help')
    check(re.fullmatch(r'ploopd \d+\.\d+\.\d+\n', run(PLOOPD, '--version')), run(PLOOPD, '--version'))


# Of every key of the manual: what it takes, and what it does not.
PATHS, NUMBERS = ('/a;/b', '/a/', ''), ('none', '0', '0 5;7', '4294967294')
KEYS = {('daemon', 'socket'): (('/a',), ('',)), ('daemon', 'state_dir'): (('/a',), ('',)), ('daemon', 'metrics'): (('/a',), ('',)),
        ('daemon', 'libvirt'): (('true', 'false'), ('1', 'yes', 'TRUE', '')), ('daemon', 'verbose'): (('true', 'false'), ('on',)),
        ('daemon', 'socket_mode'): (('0700', '0', '777'), ('1000', '-1', '0x7', '8', 'rwx', '')),
        ('daemon', 'socket_group'): (('daemon',), ('',)), ('daemon', 'auth'): (('none', 'polkit', 'sasl'), ('tls', '')),
        ('daemon', 'users'): (NUMBERS, ('root', '-1', '4294967295', '1.5')),
        ('daemon', 'access_polkit'): (('true', 'false'), ('perhaps',)),
        ('daemon', 'max_clients'): (('1', '1000000'), ('0', '1000001', '-1', '5k', '')),
        ('daemon', 'roots'): (PATHS, ('here', '/a;here', '/a;.')),
        ('tcp', 'listen'): (('[::1]:1',), ('',)), ('tcp', 'auth'): (('none', 'sasl'), ('password',)),
        ('tls', 'listen'): (('localhost:1',), ('',)), ('tls', 'auth'): (('none', 'sasl'), ('certificate',)),
        ('tls', 'ca'): (('/a',), ('',)), ('tls', 'cert'): (('/a',), ('',)), ('tls', 'key'): (('/a',), ('',)),
        ('tls', 'crl'): (('/a',), ('',)), ('tls', 'names'): (('CN=a*;CN=b\\, c', ''), ()),
        ('tls', 'trust_anybody'): (('true', 'false'), ('1',)), ('tls', 'priority'): (('NORMAL',), ('',)),
        ('sasl', 'users'): (('fred;*@host', ''), ())}


def manual_keys():
    """What stands under [group] in ploopd(8)."""
    group = None
    for line in get(MANUAL).decode().split('\n'):
        if match := re.fullmatch(r'\.Ss \[(.*)\]', line):
            group = match[1]
        elif line.startswith('.Sh '):
            group = None
        elif group and line.startswith('.It Cm '):
            for name in line[7:].split(' , '):
                yield group, name


@behaviour('each key of the manual takes what the manual says, and nothing else')
def _():
    check(sorted(manual_keys()) == sorted(KEYS), sorted(set(manual_keys()) ^ set(KEYS)))
    for (group, name), (good, bad) in KEYS.items():
        for value in good:
            put('ploopd.conf', f'# ours\r\n[{group}]\r\n  {name} = {value} \r\n'.encode())
            run(PLOOPD, '--config', 'ploopd.conf', '--version')
        for value in bad:
            put('ploopd.conf', f'[{group}]\n{name}={value}'.encode())
            said = refused('--config', 'ploopd.conf', '--version')
            check(said.startswith(f'ploopd: ploopd.conf:2: [{group}] {name} ') and f"'{value}'" in said, said)


@behaviour('below the roots there may be pools and nowhere else, however the list is written')
def _():
    os.makedirs('allowed/p')
    os.mkdir('other')
    os.mkdir('allowed-not')
    here = os.path.abspath('.')
    for roots in (f'{here}/allowed;', f'{here}/allowed/', f';; /nowhere ; {here}/allowed//'):
        put('ploopd.conf', f'[daemon]\nroots={roots}\n'.encode())
        with Daemon('--config', 'ploopd.conf') as daemon:
            conn = daemon.connect()
            conn.storagePoolDefineXML(POOL % ('p', f'{here}/allowed/p')).undefine()
            for outside in ('other', 'allowed-not', '', 'allowed/../other'):
                try:
                    conn.storagePoolDefineXML(POOL % ('q', f'{here}/{outside}'))
                    raise AssertionError(f'{roots} let a pool be on {outside}')
                except Exception as error:
                    check('a pool may not stand' in str(error) or "'..'" in str(error), error)
            conn.close()


@behaviour('an address to listen on that is none is refused in one line')
def _():
    for address in ('nonsense', 'localhost:', 'localhost:70000', 'localhost:99999999999999999999', ':1x', '[::1'):
        put('ploopd.conf', f'[tcp]\nauth=none\nlisten={address}\n'.encode())
        said = refused('--config', 'ploopd.conf', '--state-dir', 'st')
        check(f"'{address}'" in said, said)


@behaviour('the file configures what its keys say, and the command line wins over it')
def _():
    os.makedirs('allowed/p')
    put('ploopd.conf', f'[daemon]\nsocket={os.path.abspath("file")}\nstate_dir={os.path.abspath("fs")}\nmax_clients=2\n'
        f'metrics={os.path.abspath("figures")}\nroots={os.path.abspath("allowed")}\nverbose=true\n'.encode())
    with Daemon('--config', 'ploopd.conf', path='line', state='ls') as daemon:
        check(os.path.exists('line') and os.path.exists('ls') and not os.path.exists('file') and not os.path.exists('fs'),
              'the file won')
        wait_until('there are figures', lambda: os.path.exists('figures'))
        conn = daemon.connect()
        conn.storagePoolDefineXML(POOL % ('inside', os.path.abspath('allowed/p')))
        try:
            conn.storagePoolDefineXML(POOL % ('outside', os.path.abspath('.')))
            raise AssertionError('a pool outside the roots')
        except Exception as error:
            check('allowed' in str(error), error)
        with Peer(daemon.socket) as second, Peer(daemon.socket) as third:
            second.open()
            status, error = third.call(AUTH_LIST)
            check(status == ERROR and b'max_clients' in error, error)
        conn.close()
    check(b'client' in get('ls.log'), 'not verbose')


@behaviour('a second ploopd on the same state names the first, and leaves it alone')
def _():
    with Daemon() as daemon:
        said = refused('--socket', 'other', '--state-dir', 'dstate')
        check(said.endswith(f'pid {daemon.process.pid}\n'), f'{said}, not {daemon.process.pid}')
        check('sock' in refused('--socket', 'sock', '--state-dir', 'other'), 'its socket is taken')
        daemon.connect().close()


# ---- figures ----

def scrape(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
        answer = b''
        while (piece := s.recv(65536)):
            answer += piece
    head, _, body = answer.decode().partition('\r\n\r\n')
    check(head.startswith('HTTP/1.0 200') and 'application/openmetrics-text; version=1.0.0' in head, head)
    return body


SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? ([0-9.e+-]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
SUFFIXES = {'gauge': ('',), 'counter': ('_total',), 'histogram': ('_bucket', '_sum', '_count')}


def figures(path):
    """{(name, labels...): value}, after the whole text was held against OpenMetrics' grammar."""
    lines = scrape(path).split('\n')
    check(lines[-2:] == ['# EOF', ''], lines[-2:])
    found, family, kind, seen = {}, None, None, set()
    for line in lines[:-2]:
        if line.startswith('# TYPE '):
            family, kind = line.split()[2:]
            check(family not in seen and kind in SUFFIXES, line)
            seen.add(family)
        elif line.startswith('# HELP '):
            check(line.split()[2] == family and line.endswith('.'), line)
        else:
            match = SAMPLE.fullmatch(line)
            check(match and match[1] in [family + suffix for suffix in SUFFIXES[kind]], line)
            labels = tuple(sorted((k, re.sub(r'\\(.)', r'\1', v)) for k, v in LABEL.findall(match[2] or '')))
            check((match[1], *labels) not in found, 'twice: ' + line)
            found[(match[1], *labels)] = float(match[3])
    return found


@behaviour('the figures are OpenMetrics, and tell of pools, volumes, calls, failures and jobs')
def _():
    with Daemon('--metrics', os.path.abspath('figures')) as daemon:
        conn = daemon.connect()
        name = 'a "quoted" \\ pool'
        pool = a_pool(conn, name)
        pool.createXML('<volume><name>v</name><capacity>1048576</capacity></volume>')
        put(f'{name}/broken', b'QFI\xfb' + bytes(3))
        os.mkdir('q')
        conn.storagePoolDefineXML(POOL % ('q', os.path.abspath('q')))
        pool.refresh()
        for _ in range(3):
            with contextlib.suppress(Exception):
                pool.storageVolLookupByName('nothing')
        now = figures('figures')
        check(now[('ploopd_pools', ('state', 'active'))] == 1 and now[('ploopd_pools', ('state', 'inactive'))] == 1, now)
        check(now[('ploopd_pool_volumes', ('pool', name), ('state', 'all'))] == 2, now)
        space = os.statvfs(name)
        check(now[('ploopd_pool_bytes', ('of', 'capacity'), ('pool', name))] == space.f_blocks * space.f_frsize, now)
        lookup = ('procedure', 'STORAGE_VOL_LOOKUP_BY_NAME')
        check(now[('ploopd_call_failures_total', lookup)] == 3, now)
        for procedure in {key[-1][1] for key in now if key[0] == 'ploopd_call_seconds_count'}:
            buckets = [value for key, value in now.items() if key[0] == 'ploopd_call_seconds_bucket' and
                       ('procedure', procedure) in key]
            check(buckets == sorted(buckets) and
                  buckets[-1] == now[('ploopd_call_seconds_count', ('procedure', procedure))], procedure)
        check(now[('ploopd_clients',)] == 1 and now[('ploopd_jobs',)] == 0, now)
        stream = conn.newStream()
        pool.storageVolLookupByName('v').upload(stream, 0, 1048576)
        wait_until('the upload is a job', lambda: figures('figures')[('ploopd_jobs',)] == 1)
        stream.abort()
        wait_until('its end', lambda: figures('figures')[('ploopd_jobs',)] == 0)
        conn.close()


@behaviour('who asks for figures and never reads them, or never asks, holds up nobody')
def _():
    with Daemon('--metrics', os.path.abspath('figures')) as daemon:
        idle = []
        for i in range(50):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            with contextlib.suppress(OSError):
                s.connect('figures')
                if i % 2:
                    s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
            idle.append(s)
        begin = time.monotonic()
        daemon.connect().close()
        check(time.monotonic() - begin < 1, 'clients wait')
        for s in idle:
            s.close()
        figures('figures')


@behaviour('figures are there at once beside scrapers that ask for nothing, and their socket goes with ploopd')
def _():
    with Daemon('--metrics', os.path.abspath('figures')) as daemon:
        silent = []
        for _ in range(100):
            s = socket.socket(socket.AF_UNIX)
            s.connect('figures')
            silent.append(s)
        begin = time.monotonic()
        figures('figures')
        check(time.monotonic() - begin < 0.8, f'{time.monotonic() - begin:.1f} s')
        for s in silent:
            s.close()
        conn = daemon.connect()
        before = figures('figures').get(('ploopd_call_seconds_count', ('procedure', 'CONNECT_LIST_ALL_STORAGE_POOLS')), 0)
        for _ in range(7):
            conn.listAllStoragePools()
        now = figures('figures')
        check(now[('ploopd_call_seconds_count', ('procedure', 'CONNECT_LIST_ALL_STORAGE_POOLS'))] == before + 7, now)
        check(now[('ploopd_call_seconds_sum', ('procedure', 'CONNECT_LIST_ALL_STORAGE_POOLS'))] > 0, now)
        conn.close()
    check(not os.path.exists('figures'), 'the socket is left behind')


# ---- systemd ----

def listening(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(5)
    return s


@contextlib.contextmanager
def activated(sockets, names, *options, env=None):
    """ploopd as systemd starts it: with these sockets from descriptor 3 on. Yields the process."""
    fds = [s.fileno() for s in sockets]

    def pass_on():
        copies = [os.dup(fd) for fd in fds]
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate(copies)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)
            os.set_inheritable(3 + i, True)
        os.environ['LISTEN_PID'] = str(os.getpid())

    # The process id is known only in the child, whose environment is its own.
    words = ['/bin/sh', '-c', 'LISTEN_PID=$$ exec "$0" "$@"', PLOOPD, '--state-dir', os.path.abspath('st'), *options]
    env = {**os.environ, **(env or {}), **({'LISTEN_FDS': str(len(fds)), 'LISTEN_FDNAMES': ':'.join(names)} if fds else {})}
    with open('log', 'ab') as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=pass_on, close_fds=False,
                                   env=env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


@behaviour('sockets that systemd passes are used in any order, and are not removed')
def _():
    for order in ((0, 1), (1, 0)):
        shutil.rmtree('st', ignore_errors=True)
        both = [listening('rw'), listening('rw-ro')]
        with activated([both[i] for i in order], [('ploopd.socket', 'ploopd-ro.socket')[i] for i in order]) as process:
            conn = connect(os.path.abspath('rw'))
            conn.storagePoolDefineXML(POOL % ('p', os.path.abspath('.')))
            conn.close()
            with Peer('rw-ro') as peer:
                check(peer.open()[0] == OK, 'the other does not answer')
                status, error = peer.call(DEFINE_XML, text(POOL % ('q', '/srv')) + word(0))
                check(status == ERROR and error_code(error) == 29, 'it may be written to')
            process.terminate()
            check(process.wait(20) == 0, get('log'))
        for s in both:
            s.close()
        for path in ('rw', 'rw-ro'):
            os.unlink(path)  # raises if it is gone


@behaviour('what systemd passes and is no listening unix socket is refused')
def _():
    for s in (socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)):
        with activated([s], ['odd.socket']) as process:
            check(process.wait(20) == 1, 'it starts')
        s.close()
    check(get('log').count(b"'odd.socket'") == 3, get('log'))


class Notified(threading.Thread):
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind('notify')
        self.env = {'NOTIFY_SOCKET': os.path.abspath('notify')}
        self.said = []
        self.start()

    def run(self):
        while True:
            self.said += self.socket.recv(4096).decode().split('\n')

    def wait(self, word_, times=1):
        wait_until(f'{word_} {times} times', lambda: self.said.count(word_) >= times)


@behaviour('systemd hears when it is ready, when it reads again, that it lives, and that it ends')
def _():
    notified = Notified()
    s = listening('rw')
    # What comes while it starts waits in the socket that systemd has made.
    with Peer('rw') as early, activated([s], ['ploopd.socket'], env={**notified.env, 'WATCHDOG_USEC': '400000'}) as process:
        notified.wait('READY=1')
        check(early.open()[0] == OK, 'who came before it was ready has no answer')
        process.send_signal(signal.SIGHUP)
        notified.wait('RELOADING=1')
        notified.wait('READY=1', 2)
        notified.wait('WATCHDOG=1', 3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        before = notified.said.count('WATCHDOG=1')
        time.sleep(0.6)
        check(notified.said.count('WATCHDOG=1') == before, 'it lives though it does nothing')
        process.send_signal(signal.SIGCONT)
        notified.wait('WATCHDOG=1', before + 1)
        process.terminate()
        notified.wait('STOPPING=1')
        check(process.wait(20) == 0, get('log'))


@behaviour('the first client starts it through systemd-socket-activate; without names the paths tell which is read-only')
def _():
    words = ['systemd-socket-activate', '--listen', os.path.abspath('rw-ro'), '--listen', os.path.abspath('rw'),
             PLOOPD, '--state-dir', os.path.abspath('st')]
    with open('log', 'ab') as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until('it listens', lambda: os.path.exists('rw'))
        time.sleep(0.1)
        check(not os.path.exists('st'), 'it runs though nobody asks')
        conn = connect(os.path.abspath('rw'))
        conn.storagePoolDefineXML(POOL % ('p', os.path.abspath('.')))
        conn.close()
        with Peer('rw-ro') as peer:
            check(peer.open()[0] == OK, 'the other does not answer')
            status, error = peer.call(DEFINE_XML, text(POOL % ('q', os.path.abspath('.'))) + word(0))
            check(status == ERROR and error_code(error) == 29, 'it may be written to')
    finally:
        process.terminate()
        check(process.wait(20) == 0, get('log'))
    check(os.path.exists('rw') and os.path.exists('rw-ro'), 'its sockets are removed')


@behaviour('who cannot start never says that it is ready')
def _():
    notified = Notified()
    said = run(PLOOPD, '--socket', os.path.abspath('no/such/s'), '--state-dir', 'st', rc=1, stdin=subprocess.DEVNULL, timeout=20,
               env={**os.environ, **notified.env})
    check('no/such/s' in said and 'READY=1' not in notified.said, notified.said)


@behaviour('the units are right, and start what was installed')
def _():
    os.makedirs('units')
    for name in os.listdir(UNITS):
        put(f'units/{name}', get(os.path.join(UNITS, name)).replace(b'@sbindir@/ploopd', PLOOPD.encode())
            .replace(b'Documentation=man:ploopd(8)\n', b''))
    said = run('systemd-analyze', 'verify', '--man=no', *[f'units/{name}' for name in sorted(os.listdir('units'))],
               env={**os.environ, 'SYSTEMD_UNIT_PATH': os.path.abspath('units') + ':'})
    check('ploopd' not in said, said)


@behaviour('SIGHUP takes in what somebody has put among the definitions')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        os.mkdir('p')
        put('dstate/config/p.xml', (POOL % ('p', os.path.abspath('p'))).encode())
        daemon.process.send_signal(signal.SIGHUP)
        wait_until('the pool is known', lambda: [pool.name() for pool in conn.listAllStoragePools()] == ['p'])
        pool = conn.storagePoolLookupByName('p')
        os.mkdir('other')
        put('dstate/config/p.xml', pool.XMLDesc().replace(os.path.abspath('p'), os.path.abspath('other')).encode())
        daemon.process.send_signal(signal.SIGHUP)
        wait_until('its new target is known', lambda: os.path.abspath('other') in pool.XMLDesc())
        conn.close()


@behaviour('SIGTERM ends it at once whoever is connected; an upload it cut short is incomplete')
def _():
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = a_pool(conn)
        volume = pool.createXML('<volume><name>v</name><capacity>1048576</capacity></volume>')
        stream = conn.newStream()
        volume.upload(stream, 0, 1048576)
        stream.send(bytes(4096))
        wait_until('it has begun', lambda: json.loads(ctl('job', 'list', '--json', state='dstate')))
        idle = [Peer(daemon.socket) for _ in range(20)]
        begin = time.monotonic()
        daemon.process.terminate()
        check(daemon.process.wait(20) == 0 and time.monotonic() - begin < 5, time.monotonic() - begin)
        check(not os.path.exists(daemon.socket), 'its socket is left behind')
        for peer in idle:
            peer.socket.close()
    check(json.loads(ctl('vol', 'list', 'p', '--json', state='dstate'))[0]['state'] == 'incomplete', 'it counts as good')


# ---- the log ----

def parse_entry(data):
    """{field: value} of one datagram in journald's native form."""
    fields = {}
    while data:
        line, _, data = data.partition(b'\n')
        if b'=' in line:
            key, _, value = line.partition(b'=')
        else:
            key, size = line, int.from_bytes(data[:8], 'little')
            value, data = data[8:8 + size], data[9 + size:]
        fields[key.decode()] = value.decode()
    return fields


@behaviour('the journal gets pool, volume, client and job as fields; a terminal gets lines')
def _():
    os.makedirs(JOURNAL, exist_ok=True)
    run('mount', '-t', 'tmpfs', 'none', JOURNAL)
    try:
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        journal.bind(f'{JOURNAL}/socket')
        entries = []

        def take():
            while (data := journal.recv(65536)):
                entries.append(parse_entry(data))

        threading.Thread(target=take, daemon=True).start()
        ours, theirs = socket.socketpair()
        found = os.fstat(theirs.fileno())
        process = subprocess.Popen([PLOOPD, '--verbose', '--socket', os.path.abspath('s'), '--state-dir', os.path.abspath('st')],
                                   stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                                   env={**os.environ, 'JOURNAL_STREAM': f'{found.st_dev}:{found.st_ino}'})
        wait_until('it answers', lambda: os.path.exists('s-ro'))
        conn = connect(os.path.abspath('s'))
        pool = a_pool(conn)
        pool.createXML('<volume><name>v</name><capacity>4096</capacity></volume>')
        with contextlib.suppress(Exception):
            pool.storageVolLookupByName('nothing')
        pool.storageVolLookupByName('v').delete()
        conn.close()
        process.terminate()
        check(process.wait(20) == 0, 'it failed')
    finally:
        run('umount', '--lazy', JOURNAL)

    def some(fields):
        return any(all(re.search(want, entry.get(key, '')) for key, want in fields.items()) for entry in entries)

    check(all(entry['SYSLOG_IDENTIFIER'] == 'ploopd' and entry['PRIORITY'] in '34567' for entry in entries), entries)
    for fields in ({'MESSAGE': "pool 'p' is started", 'PLOOPKIT_POOL': '^p$', 'PRIORITY': '5'},
                   {'MESSAGE': 'VOL_CREATE_XML: done', 'PLOOPKIT_POOL': '^p$', 'PLOOPKIT_VOLUME': '^v$', 'PLOOPKIT_CLIENT': '^[0-9]+$'},
                   {'MESSAGE': 'VOL_LOOKUP_BY_NAME: .*nothing', 'PLOOPKIT_POOL': '^p$', 'PRIORITY': '6'},
                   {'MESSAGE': "create of 'p/v' begins", 'PLOOPKIT_JOB': '^[0-9]+-[0-9a-f]+$', 'PLOOPKIT_VOLUME': '^v$'},
                   {'MESSAGE': "delete of 'p/v' has ended", 'PLOOPKIT_JOB': '^[0-9]+-[0-9a-f]+$'}):
        wait_until(f'{fields} among {entries}', lambda: some(fields))
    with Daemon() as daemon:
        conn = daemon.connect()
        pool = conn.storagePoolDefineXML(POOL % ('q', os.path.abspath('p')))
        with contextlib.suppress(Exception):
            pool.storageVolLookupByName('nothing')
        conn.close()
    lines = get('dstate.log').decode().split('\n')
    check("ploopd: pool 'q' is defined" in lines and not any('VOL_LOOKUP' in line for line in lines), lines)


@behaviour('PLK_DEBUG shows every call without another build')
def _():
    os.environ['PLK_DEBUG'] = 'rpc'
    try:
        with Daemon() as daemon:
            daemon.connect().close()
    finally:
        del os.environ['PLK_DEBUG']
    check(b'CONNECT_OPEN serial' in get('dstate.log'), get('dstate.log'))


main()
