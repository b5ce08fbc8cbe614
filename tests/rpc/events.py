# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events of pools, as python-libvirt hands them out: the same at libvirtd and at ploopd. Run by events.sh."""

import contextlib
import os
import select
import shutil
import struct
import sys
import threading
import time

import libvirt

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
from behaviour import behaviour, check, main  # noqa: E402
from pools import SANITIZED, wait_until  # noqa: E402
from wire import EVENT, REPLY, Peer, frame, text, word  # noqa: E402

SERVERS = {'libvirtd': os.environ['THEIRS'], 'ploopd': os.environ['OURS']}
SOCKET = SERVERS['ploopd'].split('socket=')[1]
LIFECYCLE, REFRESH = 0, 1
POOL_REFRESH, REGISTER, DEREGISTER, ON_LIFECYCLE, ON_REFRESH = 83, 368, 369, 370, 373
WORDS = ['defined', 'undefined', 'started', 'stopped', 'created', 'deleted']
UUID = '11111111-2222-3333-4444-%012d'


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


libvirt.registerErrorHandler(lambda ctx, err: None, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=loop, daemon=True).start()


def pool_xml(name, number):
    return (f"<pool type='dir'><name>{name}</name><uuid>{UUID % number}</uuid>"
            f"<target><path>{os.path.abspath(name)}</path></target></pool>")


def vol_xml(name, capacity=65536):
    return (f"<volume><name>{name}</name><capacity>{capacity}</capacity><allocation>0</allocation>"
            "<target><format type='raw'/></target></volume>")


registered = []


def register(conn, pool, kind, callback):
    number = conn.storagePoolEventRegisterAny(pool, kind, callback, None)
    registered.append((conn, number))
    return number


def deregister(conn, number):
    conn.storagePoolEventDeregisterAny(number)
    registered.remove((conn, number))


@contextlib.contextmanager
def client(uri, open_it=libvirt.open):
    """A connection, without callbacks afterwards: one with any would stay open, and go on listening."""
    conn = open_it(uri)
    try:
        yield conn
    finally:
        for mine, number in list(registered):
            if mine is conn:
                deregister(conn, number)
        conn.close()


class Listener:
    """What one client is told, in order, as 'POOL EVENT'; of all pools or of one."""

    def __init__(self, conn, pool=None):
        self.conn, self.seen = conn, []
        self.ids = [register(conn, pool, LIFECYCLE, self.on_lifecycle), register(conn, pool, REFRESH, self.on_refresh)]

    def on_lifecycle(self, conn, pool, event, detail, opaque):
        self.seen.append(f'{pool.name()} {WORDS[event]}' + (f' {detail}' if detail else ''))

    def on_refresh(self, conn, pool, opaque):
        self.seen.append(f'{pool.name()} refresh')

    def deregister(self):
        for number in self.ids:
            deregister(self.conn, number)

    def until(self, last, times=1):
        """All that came up to the last one expected; what a server tells late has had its time then."""
        with contextlib.suppress(AssertionError):
            wait_until(last, lambda: self.seen.count(last) >= times, seconds=3)
        return self.seen


class Fence:
    """Events keep their order across pools: once the fence's own has come, all before it have."""

    def __init__(self, conn):
        self.pool = conn.storagePoolCreateXML(self.xml(), 0)
        self.passed = 0
        register(conn, self.pool, REFRESH, self.on_refresh)

    @staticmethod
    def xml():
        os.makedirs('fence', exist_ok=True)
        return pool_xml('fence', 999)

    def on_refresh(self, conn, pool, opaque):
        self.passed += 1

    def pass_through(self):
        wanted = self.passed + 1
        self.pool.refresh()
        wait_until('the event of a refresh', lambda: self.passed >= wanted, seconds=5)

    def remove(self):
        self.pool.destroy()


def each(script):
    """What script(conn) gives at libvirtd and at ploopd, each in an empty directory."""
    got = {}
    for name, uri in SERVERS.items():
        os.mkdir('area')
        os.chdir('area')
        with client(uri) as conn:
            got[name] = script(conn)
        os.chdir('..')
        shutil.rmtree('area')
    return got


def at_both(script):
    """The same, and it must be the same list."""
    got = each(script)
    for line in zip(got['libvirtd'], got['ploopd']):
        check(line[0] == line[1], f'libvirtd: {line[0]}\nploopd:   {line[1]}')
    check(len(got['libvirtd']) == len(got['ploopd']), f'{got}')
    return got['ploopd']


class Diary:
    """What each action makes others hear: lines 'ACTION: EVENTS'."""

    def __init__(self, conn):
        self.fence = Fence(conn)
        self.listener = Listener(conn)
        self.fence.pass_through()
        self.listener.seen.clear()
        self.lines = []

    def did(self, what, call, *args, late=None):
        """late: what the server may tell after it has answered."""
        result = None
        try:
            result = call(*args)
        except libvirt.libvirtError as e:
            what += f' (error {e.get_error_code()})'
        if late:
            self.listener.until(late)
        self.fence.pass_through()
        self.lines.append(f'{what}: ' + ', '.join(s for s in self.listener.seen if not s.startswith('fence ')))
        self.listener.seen.clear()
        return result

    def end(self):
        self.fence.remove()
        return self.lines


def upload(conn, vol, data, abort=False):
    stream = conn.newStream()
    vol.upload(stream, 0, 0, 0)
    stream.send(data)
    stream.abort() if abort else stream.finish()


@behaviour('each action on a pool gives the events libvirtd gives, in its order')
def _():
    def script(conn):
        d = Diary(conn)
        pool = d.did('define', conn.storagePoolDefineXML, pool_xml('a', 1))
        d.did('define again', conn.storagePoolDefineXML, pool_xml('a', 1))
        d.did('define, name is taken', conn.storagePoolDefineXML, pool_xml('a', 2))
        d.did('autostart', pool.setAutostart, 1)
        d.did('start without directory', pool.create)
        d.did('build', pool.build)
        d.did('build, bad flags', pool.build, 64)
        d.did('start', pool.create)
        d.did('start again', pool.create)
        d.did('define while it runs', conn.storagePoolDefineXML, pool_xml('a', 1))
        d.did('build while it runs', pool.build)
        d.did('refresh', pool.refresh)
        d.did('stop', pool.destroy)
        d.did('stop again', pool.destroy)
        d.did('refresh what does not run', pool.refresh)
        d.did('delete', pool.delete)
        d.did('delete again', pool.delete)
        d.did('start and build', pool.create, libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        d.did('stop', pool.destroy)
        d.did('undefine', pool.undefine)
        d.did('undefine again', pool.undefine)
        return d.end()

    lines = at_both(script)
    check(lines[0] == 'define: a defined' and 'start: a started' in lines and 'refresh: a refresh' in lines, lines)


@behaviour('a transient pool gives the events libvirtd gives')
def _():
    def script(conn):
        d = Diary(conn)
        d.did('create without directory', conn.storagePoolCreateXML, pool_xml('t', 3), 0)
        pool = d.did('create and build', conn.storagePoolCreateXML, pool_xml('t', 3),
                     libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        d.did('create again', conn.storagePoolCreateXML, pool_xml('t', 3), 0)
        d.did('make it persistent', conn.storagePoolDefineXML, pool_xml('t', 3))
        d.did('undefine while it runs', pool.undefine)
        d.did('stop', pool.destroy)
        d.did('create what is defined', conn.storagePoolCreateXML, pool_xml('t', 3), 0)
        d.did('stop', pool.destroy)
        d.did('undefine', pool.undefine)
        pool = d.did('create', conn.storagePoolCreateXML, pool_xml('t', 3), 0)
        d.did('stop', pool.destroy)
        return d.end()

    lines = at_both(script)
    check(lines[-1] == 'stop: t stopped', lines)


@behaviour('volumes give no events but when an upload has ended')
def _():
    def script(conn):
        os.mkdir('v')
        d = Diary(conn)
        pool = d.did('create', conn.storagePoolCreateXML, pool_xml('v', 4), 0)
        vol = d.did('volume', pool.createXML, vol_xml('one'), 0)
        d.did('clone', pool.createXMLFrom, vol_xml('two'), vol, 0)
        d.did('resize', vol.resize, 131072)
        d.did('wipe', vol.wipe)
        d.did('upload', upload, conn, vol, b'x' * 1000, late='v refresh')
        d.did('delete', vol.delete)
        d.did('stop', pool.destroy)
        return d.end()

    lines = at_both(script)
    check('upload: v refresh' in lines, lines)


@behaviour('a pool whose directory has vanished for a while is not lost at a refresh: no event')
def _():
    def script(conn):
        os.mkdir('g')
        d = Diary(conn)
        pool = d.did('create', conn.storagePoolCreateXML, pool_xml('g', 5), 0)
        os.rmdir('g')
        d.did('refresh', pool.refresh)
        os.mkdir('g')
        d.did('refresh again', pool.refresh)
        d.did('stop', pool.destroy)
        return d.end()

    got = each(script)
    check(got['libvirtd'][1] == 'refresh (error 38): g stopped', got)
    check(got['ploopd'] == ['create: g started', 'refresh (error 38): ', 'refresh again: g refresh', 'stop: g stopped'], got)


@behaviour('who listens to one pool hears of no other')
def _():
    def script(conn):
        for name in 'ab':
            os.mkdir(name)
        a = conn.storagePoolDefineXML(pool_xml('a', 10))
        b = conn.storagePoolDefineXML(pool_xml('b', 11))
        to_a, to_b, to_all = Listener(conn, a), Listener(conn, b), Listener(conn)
        for pool in (a, b):
            pool.create()
            pool.refresh()
            pool.destroy()
        a.undefine()
        b.undefine()
        to_all.until('b undefined')
        return [to_a.seen, to_b.seen, to_all.seen]

    seen = at_both(script)
    check(seen[0] == ['a started', 'a refresh', 'a stopped', 'a undefined'], seen)
    check(len(seen[2]) == 8, seen)


@behaviour('a pool can be listened to while it is undefined: its uuid tells')
def _():
    def script(conn):
        os.mkdir('a')
        a = conn.storagePoolDefineXML(pool_xml('a', 12))
        a.undefine()
        to_a = Listener(conn, a)
        a = conn.storagePoolDefineXML(pool_xml('a', 12))
        a.create()
        a.destroy()
        a.undefine()
        return to_a.until('a undefined')

    check(at_both(script) == ['a defined', 'a started', 'a stopped', 'a undefined'], 'not all of them')


@behaviour('after a callback is deregistered nothing reaches it')
def _():
    def script(conn):
        os.mkdir('a')
        with client(conn.getURI()) as other:
            gone, stays = Listener(conn), Listener(other)
            a = conn.storagePoolCreateXML(pool_xml('a', 13), 0)
            gone.until('a started')
            gone.deregister()
            a.refresh()
            a.destroy()
            stays.until('a stopped')
            late = Listener(conn)
            stays.deregister()
            a = conn.storagePoolCreateXML(pool_xml('a', 13), 0)
            a.destroy()
            late.until('a stopped')
        try:
            conn.storagePoolEventDeregisterAny(4711)
            refusal = 'none'
        except libvirt.libvirtError as e:
            refusal = f'code {e.get_error_code()}'
        return [gone.seen, stays.seen, late.seen, refusal]

    seen = at_both(script)
    check(seen[:3] == [['a started'], ['a started', 'a refresh', 'a stopped'], ['a started', 'a stopped']], seen)


@behaviour('a client sees what another one does, a read-only client too')
def _():
    def script(conn):
        os.mkdir('a')
        uri = conn.getURI()
        with client(uri, libvirt.openReadOnly) as watcher, client(uri) as second:
            seen = Listener(watcher)
            a = second.storagePoolDefineXML(pool_xml('a', 14))
            a.create()
            a.refresh()
            a.destroy()
            a.undefine()
            return seen.until('a undefined')

    check(at_both(script) == ['a defined', 'a started', 'a refresh', 'a stopped', 'a undefined'], 'not all of them')


class Watcher:
    """A client made by hand, which reads events when it is told to."""

    def __init__(self, *kinds):
        self.peer = Peer(SOCKET)
        self.peer.open()
        for kind in kinds:
            check(self.peer.call(REGISTER, word(kind) + word(0))[0] == 0, 'not registered')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.socket.close()

    def events(self):
        """Procedure and payload of each, until the connection ends or half a second is silent."""
        self.peer.socket.settimeout(0.5)
        with contextlib.suppress(OSError):
            while (got := self.peer.receive()) is not None:
                if got[0][3] == EVENT:
                    yield got[0][2], got[1]


def pool_of(payload):
    """Its name, which follows the number of the callback."""
    return payload[8:8 + struct.unpack('>I', payload[4:8])[0]].decode()


def number_of(payload):
    """Which lifecycle event it is: after the callback, the name, the uuid."""
    length = struct.unpack('>I', payload[4:8])[0]
    return struct.unpack('>i', payload[8 + length + -length % 4 + 16:][:4])[0]


@behaviour('ploopd sends nothing that was not asked for, for the client to sort out')
def _():
    os.mkdir('a')
    os.mkdir('b')
    with client(SERVERS['ploopd']) as conn, Watcher() as watcher:
        pools = [conn.storagePoolDefineXML(pool_xml(name, number)) for name, number in [('a', 18), ('b', 19)]]
        for kind, pool in [(LIFECYCLE, pools[0]), (REFRESH, pools[1])]:
            check(watcher.peer.call(REGISTER, word(kind) + word(1) + text(pool.name()) + pool.UUID())[0] == 0, 'not registered')
        for pool in pools:
            pool.create()
            pool.refresh()
            pool.destroy()
            pool.undefine()
        seen = [(procedure, pool_of(payload)) for procedure, payload in watcher.events()]
    check(seen == [(ON_LIFECYCLE, 'a')] * 3 + [(ON_REFRESH, 'b')], seen)


@behaviour('whoever does it, the events have the order in which things happened')
def _():
    os.mkdir('a')
    with client(SERVERS['ploopd']) as conn, Watcher(LIFECYCLE) as watcher:
        conn.storagePoolDefineXML(pool_xml('a', 20))
        end = time.monotonic() + 2

        def hammer(verb):
            with client(SERVERS['ploopd']) as own:
                pool = own.storagePoolLookupByName('a')
                while time.monotonic() < end:
                    with contextlib.suppress(libvirt.libvirtError):
                        getattr(pool, verb)()

        threads = [threading.Thread(target=hammer, args=(verb,)) for verb in ['create', 'destroy'] * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runs = bool(conn.storagePoolLookupByName('a').isActive())
        seen = [WORDS[number_of(payload)] for procedure, payload in watcher.events()]
        pool = conn.storagePoolLookupByName('a')
        if runs:
            pool.destroy()
        pool.undefine()
    check(seen[0] == 'defined' and len(seen) > 50, f'{len(seen)} events')
    wanted = ['defined'] + ['started', 'stopped'] * len(seen)
    first = next((i for i, pair in enumerate(zip(seen, wanted)) if pair[0] != pair[1]), None)
    check(first is None, f'at {first} of {len(seen)}: {seen[max(first or 0, 3) - 3:(first or 0) + 4]}')
    check((seen[-1] == 'started') == runs, f'{seen[-1]} is the last, but it runs: {runs}')


def memory():
    """The most ploopd has had, in MiB."""
    with open(f'/proc/{os.environ["SERVER"]}/status') as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith('VmHWM'))


class Refreshers:
    """Clients that refresh a pool as often as they can, several calls at a time each."""

    def __init__(self, pool, clients=3):
        self.call = text(pool.name()) + pool.UUID() + word(0)
        self.done, self.slowest, self.stop = 0, 0, False
        self.threads = [threading.Thread(target=self.refresh) for _ in range(clients)]

    def refresh(self):
        calls = b''.join(frame(POOL_REFRESH, self.call, serial=serial) for serial in range(100, 105))
        good = b''.join(frame(POOL_REFRESH, kind=REPLY, serial=serial) for serial in range(100, 105))
        with Peer(SOCKET, timeout=30) as peer:
            peer.open()
            while not self.stop:
                began = time.monotonic()
                peer.send(calls)
                if len(peer.read(len(good))) < len(good):
                    break
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.done += 5

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        for thread in self.threads:
            thread.join()


@behaviour('who does not read its events holds up nobody, and is dropped before it fills the memory')
def _():
    os.mkdir('a')
    name = 'n' * 240  # long events
    with client(SERVERS['ploopd']) as conn, Watcher(REFRESH) as idle, Watcher(REFRESH) as reader:
        pool = conn.storagePoolCreateXML(pool_xml('a', 21).replace('<name>a<', f'<name>{name}<'), 0)
        idle.peer.call(REGISTER, word(REFRESH) + word(1) + text(name) + pool.UUID())
        size, read = len(frame(0, word(0) + text(name) + pool.UUID())), []

        def take():
            while (piece := reader.peer.socket.recv(1 << 20)):
                read.append(len(piece))

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        before = memory()
        hung_up = select.poll()
        hung_up.register(idle.peer.socket, 0)
        with Refreshers(pool) as refreshers:
            check(hung_up.poll(120000), f'not dropped after {refreshers.done} refreshes')
        wait_until(f'all {refreshers.done} events', lambda: sum(read) >= refreshers.done * size)
        check(sum(read) == refreshers.done * size, f'{sum(read)} bytes, not {refreshers.done} events of {size}')
        check(refreshers.slowest < 2, f'a refresh took {refreshers.slowest} s')
        if not SANITIZED:
            check(memory() - before < 150, f'it went from {before} to {memory()} MiB')
        pool.destroy()


@behaviour('registrations are bounded, and go with their client')
def _():
    def ask(peer, number):
        return peer.call(REGISTER, word(LIFECYCLE) + word(1) + text('x') + struct.pack('>QQ', 7, number))

    for _ in range(2):
        with Watcher() as watcher:
            for number in range(20000):
                status, payload = ask(watcher.peer, number)
                if status:
                    break
            check(status and 1000 < number < 20000, f'{number} registrations')
            check(watcher.peer.call(DEREGISTER, word(5))[0] == 0 and ask(watcher.peer, number)[0] == 0,
                  'none instead of another one')


main()
