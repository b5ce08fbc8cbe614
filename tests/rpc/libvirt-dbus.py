#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What libvirt-dbus makes of a server's pools, as a text: see both.sh.

    libvirt-dbus.py everything|cockpit|ploop|killed URI DIR

starts a message bus of its own and libvirt-dbus on it, whose URI the library $PRELOAD exchanges for URI.
"""
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from gi.repository import Gio, GLib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from pools import Daemon  # noqa: E402

what, uri, base = sys.argv[1:4]
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""
NAME, ROOT = 'org.libvirt', '/org/libvirt/QEMU'
CONNECT, POOL, VOLUME, PROPERTIES = (NAME + '.Connect', NAME + '.StoragePool', NAME + '.StorageVol',
                                     'org.freedesktop.DBus.Properties')
UUID = '11111111-2222-3333-4444-%012d'
LIFECYCLE = ['defined', 'undefined', 'started', 'stopped', 'created', 'deleted']
MIB = 1 << 20


def mask(value):
    text = re.sub(r'<(atime|mtime|ctime|btime)>[^<]*<', r'<\1>TIME<', str(value))
    text = re.sub(r"<(available|allocation|physical) unit='bytes'>\d+<", r'<\1>N<', text)
    if '<pool' in text:
        text = re.sub(r"<capacity unit='bytes'>\d+<", '<capacity>N<', text)
    text = re.sub(ROOT + r'/storagevol/\w+', 'VOLUME', text)
    return text.replace(base, 'BASE').replace(ROOT + '/storagepool/', 'POOL')


def say(what, value=''):
    print(mask(what), '->', mask(value), flush=True)


class Bus:
    """The bus, libvirt-dbus on it, and one client: this."""

    def __init__(self, directory):
        path = os.path.join(directory, 'bus')
        with open(os.path.join(directory, 'bus.conf'), 'w') as config:
            config.write(BUS % path)
        self.processes = [subprocess.Popen(['dbus-daemon', '--nofork', '--nopidfile', '--nosyslog', '--config-file', config.name],
                                           stdin=subprocess.DEVNULL)]
        self.wait(lambda: os.path.exists(path), 'a bus')
        address = f'unix:path={path}'
        self.bus = Gio.DBusConnection.new_for_address_sync(
            address, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
        self.processes.append(subprocess.Popen(
            ['libvirt-dbus', '--system'], stdin=subprocess.DEVNULL,
            env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address, 'LD_PRELOAD': os.environ['PRELOAD'], 'OPEN_URI': uri}))
        self.wait(self.is_there, 'libvirt-dbus')
        self.seen = []
        self.bus.signal_subscribe(NAME, None, None, None, None, Gio.DBusSignalFlags.NONE, self.on_signal)

    def is_there(self):
        return self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'NameHasOwner', '(s)', NAME,
                         to='org.freedesktop.DBus')[0]

    def wait(self, condition, what, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            while GLib.MainContext.default().iteration(False):
                pass
            time.sleep(0.01)

    def on_signal(self, bus, sender, path, interface, member, args):
        if member == 'StoragePoolEvent':
            pool, event, detail = args.unpack()
            self.seen.append(f'{pool} {LIFECYCLE[event]} {detail}')
        else:
            self.seen.append(f'{path} {member} {args.unpack()}')

    def call(self, path, interface, method, signature='()', *args, to=NAME):
        """What it gives, unpacked; GLib.Error."""
        answer = self.bus.call_sync(to, path, interface, method, GLib.Variant(signature, args), None, Gio.DBusCallFlags.NONE,
                                    30000, None)
        return answer.unpack()

    def ask(self, say_what, path, interface, method, *args, show=lambda got: got):
        """The same, printed; None if refused."""
        try:
            got = self.call(path, interface, method, *args)
        except GLib.Error as e:
            say(say_what, f'ERROR {Gio.DBusError.get_remote_error(e)}')
            return None
        got = got[0] if len(got) == 1 else got
        say(say_what, show(got))
        return got

    def property(self, path, interface, name):
        return self.ask(name, path, PROPERTIES, 'Get', '(ss)', interface, name)

    def signals(self, last):
        """Prints what came, up to and including the last one expected."""
        with contextlib.suppress(TimeoutError):
            self.wait(lambda: any(last in s for s in self.seen), last, seconds=5)
        for line in self.seen:
            say('signal', line)
        self.seen.clear()

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def pool_xml(name, number):
    return (f"<pool type='dir'><name>{name}</name><uuid>{UUID % number}</uuid><target><path>{base}/{name}</path></target>"
            '</pool>')


def vol_xml(name, capacity, kind='raw'):
    return (f"<volume><name>{name}</name><capacity>{capacity}</capacity><allocation>0</allocation>"
            f"<target><format type='{kind}'/></target></volume>")


def volume_info(info):
    kind, capacity, allocation = info
    return f'type {kind} capacity {capacity}'


def everything(bus):
    def connect(what, method, *args, **how):
        return bus.ask(what, ROOT, CONNECT, method, *args, **how)

    bus.property(ROOT, CONNECT, 'LibVersion')
    bus.property(ROOT, CONNECT, 'Encrypted')
    bus.property(ROOT, CONNECT, 'Secure')
    connect('no pools', 'ListStoragePools', '(u)', 0)
    connect('list, flags', 'ListStoragePools', '(u)', 1 << 25)
    connect('sources', 'FindStoragePoolSources', '(ssu)', 'dir', '', 0)
    connect('sources of nonsense', 'FindStoragePoolSources', '(ssu)', 'nonsense', '', 0)
    connect('define nonsense', 'StoragePoolDefineXML', '(su)', '<nonsense', 0)
    pool = connect('define', 'StoragePoolDefineXML', '(su)', pool_xml('main', 1), 0)
    connect('define its twin', 'StoragePoolDefineXML', '(su)', pool_xml('main', 2), 0)

    def on_pool(what, method, *args, **how):
        return bus.ask(what, pool, POOL, method, *args, **how)

    for name in ['Name', 'UUID', 'Active', 'Autostart', 'Persistent']:
        bus.property(pool, POOL, name)
    bus.ask('set Autostart', pool, PROPERTIES, 'Set', '(ssv)', POOL, 'Autostart', GLib.Variant('b', True))
    bus.property(pool, POOL, 'Autostart')
    bus.ask('set Active', pool, PROPERTIES, 'Set', '(ssv)', POOL, 'Active', GLib.Variant('b', True))
    on_pool('info', 'GetInfo')
    on_pool('start without directory', 'Create', '(u)', 0)
    on_pool('not running: refresh', 'Refresh', '(u)', 0)
    on_pool('not running: volumes', 'ListStorageVolumes', '(u)', 0)
    on_pool('build', 'Build', '(u)', 0)
    on_pool('start', 'Create', '(u)', 0)
    on_pool('start again', 'Create', '(u)', 0)
    on_pool('running: undefine', 'Undefine')
    on_pool('running: delete', 'Delete', '(u)', 0)
    bus.property(pool, POOL, 'Active')
    on_pool('info', 'GetInfo', show=lambda info: (info[0], info[1] > 0))
    on_pool('xml', 'GetXMLDesc', '(u)', 0)
    on_pool('xml, flags', 'GetXMLDesc', '(u)', 64)
    on_pool('refresh', 'Refresh', '(u)', 0)
    bus.signals('Refresh')
    os.mkdir(f'{base}/passing')
    passing = connect('transient', 'StoragePoolCreateXML', '(su)', pool_xml('passing', 3), 0)
    bus.property(passing, POOL, 'Persistent')
    connect('all', 'ListStoragePools', '(u)', 0, show=sorted)
    connect('transient ones', 'ListStoragePools', '(u)', 8)
    connect('by name', 'StoragePoolLookupByName', '(s)', 'main')
    connect('by uuid', 'StoragePoolLookupByUUID', '(s)', UUID % 1)
    connect('by no name', 'StoragePoolLookupByName', '(s)', 'nobody')
    connect('by no uuid', 'StoragePoolLookupByUUID', '(s)', UUID % 99)
    bus.ask('transient: stop', passing, POOL, 'Destroy')
    bus.ask('transient: gone', passing, POOL, 'GetInfo')
    bus.signals('stopped')
    volumes(bus, pool)
    on_pool('stop', 'Destroy')
    on_pool('stop again', 'Destroy')
    bus.property(pool, POOL, 'Active')
    on_pool('delete', 'Delete', '(u)', 0)
    on_pool('undefine', 'Undefine')
    bus.property(pool, POOL, 'Name')
    bus.signals('undefined')
    connect('none left', 'ListStoragePools', '(u)', 0)


def volumes(bus, pool):
    def on_pool(what, method, *args, **how):
        return bus.ask(what, pool, POOL, method, *args, **how)

    on_pool('volume of nonsense', 'StorageVolCreateXML', '(su)', 'nonsense', 0)
    vol = on_pool('volume', 'StorageVolCreateXML', '(su)', vol_xml('one', 4 * MIB), 0)
    on_pool('volume again', 'StorageVolCreateXML', '(su)', vol_xml('one', 4 * MIB), 0)
    qcow2 = on_pool('qcow2', 'StorageVolCreateXML', '(su)', vol_xml('two', 4 * MIB, 'qcow2'), 0)
    clone = on_pool('clone', 'StorageVolCreateXMLFrom', '(ssu)', vol_xml('three', 0), f'{base}/main/one', 0)
    on_pool('clone of nothing', 'StorageVolCreateXMLFrom', '(ssu)', vol_xml('four', 0), '/nowhere', 0)
    on_pool('volumes', 'ListStorageVolumes', '(u)', 0, show=len)
    on_pool('by name', 'StorageVolLookupByName', '(s)', 'one', show=lambda path: path == vol)
    on_pool('by no name', 'StorageVolLookupByName', '(s)', 'nobody')
    for how in ['Key', 'Path']:
        for name in [f'{base}/main/one', '/nowhere']:
            bus.ask(f'by {how} {name}', ROOT, CONNECT, f'StorageVolLookupBy{how}', '(s)', name, show=lambda path: path == vol)
    for each in [vol, qcow2, clone]:
        for name in ['Name', 'Key', 'Path']:
            bus.property(each, VOLUME, name)
        bus.ask('info', each, VOLUME, 'GetInfo', '(u)', 0, show=volume_info)
        bus.ask('info, flags', each, VOLUME, 'GetInfo', '(u)', 64)
        bus.ask('xml', each, VOLUME, 'GetXMLDesc', '(u)', 0)
        bus.ask('resize', each, VOLUME, 'Resize', '(tu)', 8 * MIB, 0)
        bus.ask('shrink without asking', each, VOLUME, 'Resize', '(tu)', 2 * MIB, 0)
        bus.ask('info', each, VOLUME, 'GetInfo', '(u)', 0, show=volume_info)
    with open(f'{base}/main/one', 'r+b') as file:
        file.write(b'secret' * 1000)
    bus.ask('wipe', vol, VOLUME, 'Wipe', '(uu)', 0, 0)
    bus.ask('wipe, no such pattern', vol, VOLUME, 'Wipe', '(uu)', 99, 0)
    with open(f'{base}/main/one', 'rb') as file:
        say('wiped', file.read().count(0) == 8 * MIB)
    bus.ask('delete, flags', vol, VOLUME, 'Delete', '(u)', 64)
    for each in [vol, qcow2, clone]:
        bus.ask('delete', each, VOLUME, 'Delete', '(u)', 0)
    bus.ask('delete again', vol, VOLUME, 'Delete', '(u)', 0)
    bus.ask('info of nothing', vol, VOLUME, 'GetInfo', '(u)', 0)
    on_pool('volumes', 'ListStorageVolumes', '(u)', 0)


def ploop(bus):
    os.mkdir(f'{base}/p')
    pool = bus.ask('create', ROOT, CONNECT, 'StoragePoolCreateXML', '(su)', pool_xml('p', 20), 0)
    vol = bus.ask('ploop volume', pool, POOL, 'StorageVolCreateXML', '(su)', vol_xml('disk', 64 * MIB, 'ploop'), 0)
    bus.ask('info', vol, VOLUME, 'GetInfo', '(u)', 0, show=volume_info)
    bus.ask('resize', vol, VOLUME, 'Resize', '(tu)', 128 * MIB, 0)
    bus.ask('info', vol, VOLUME, 'GetInfo', '(u)', 0, show=volume_info)
    bus.ask('format', vol, VOLUME, 'GetXMLDesc', '(u)', 0, show=lambda xml: re.search("<format type='(.*?)'", xml)[1])
    bus.ask('clone', pool, POOL, 'StorageVolCreateXMLFrom', '(ssu)', vol_xml('copy', 0, 'ploop'), f'{base}/p/disk', 0)
    bus.ask('wipe', vol, VOLUME, 'Wipe', '(uu)', 0, 0)
    bus.ask('delete', vol, VOLUME, 'Delete', '(u)', 0)
    bus.ask('left', pool, POOL, 'ListStorageVolumes', '(u)', 0, show=len)


def killed(bus):
    """uri is the socket of a ploopd of our own, in DIR."""
    bus.ask('list', ROOT, CONNECT, 'ListStoragePools', '(u)', 0)
    os.mkdir(f'{base}/p')
    pool = bus.ask('define', ROOT, CONNECT, 'StoragePoolDefineXML', '(su)', pool_xml('p', 21), 0)
    bus.ask('start', pool, POOL, 'Create', '(u)', 0)
    bus.signals('started')
    daemons[0].kill()
    bus.ask('nobody there', pool, POOL, 'GetInfo', show=len)
    with Daemon(state='state', path='socket'):
        bus.ask('list', ROOT, CONNECT, 'ListStoragePools', '(u)', 0)
        bus.property(pool, POOL, 'Active')
        bus.ask('refresh', pool, POOL, 'Refresh', '(u)', 0)
        bus.signals('Refresh')
        bus.ask('stop', pool, POOL, 'Destroy')
        bus.signals('stopped')


# ---- Cockpit ----

def show_pool(bus, pool):
    """Reads a pool as the page does when it has heard of it."""
    bus.ask('page: pool', pool, POOL, 'GetXMLDesc', '(u)', 0)
    shown = bus.ask('page: properties', pool, PROPERTIES, 'GetAll', '(s)', POOL, show=lambda p: sorted(p.items()))
    if not shown or not shown['Active']:
        return
    found = bus.ask('page: pool of the volumes', ROOT, CONNECT, 'StoragePoolLookupByName', '(s)', shown['Name'])
    volumes = bus.ask('page: volumes', found, POOL, 'ListStorageVolumes', '(u)', 0, show=len)
    xml = sorted(mask(bus.call(path, VOLUME, 'GetXMLDesc', '(u)', 0)[0]) for path in volumes)
    for each in xml:
        say('page: volume', re.search(r'<name>.*?</name>', each)[0])


def open_page(bus):
    """Each running pool is refreshed; that it was is a signal, and only then it is read."""
    for pool in sorted(bus.call(ROOT, CONNECT, 'ListStoragePools', '(u)', 0)[0]):
        active = bus.ask('page: Active', pool, PROPERTIES, 'Get', '(ss)', POOL, 'Active')
        if active:
            bus.ask('page: refresh', pool, POOL, 'Refresh', '(u)', 0)
            bus.signals('Refresh')
        show_pool(bus, pool)


def in_pool(bus, name):
    return bus.ask('page: pool by name', ROOT, CONNECT, 'StoragePoolLookupByName', '(s)', name)


def cockpit(bus):
    open_page(bus)
    os.mkdir(f'{base}/images')
    pool = bus.ask('define', ROOT, CONNECT, 'StoragePoolDefineXML', '(su)', pool_xml('images', 10), 0)
    bus.ask('autostart', pool, PROPERTIES, 'Set', '(ssv)', POOL, 'Autostart', GLib.Variant('b', True))
    bus.signals('defined')
    show_pool(bus, pool)
    bus.ask('activate', pool, POOL, 'Create', '(u)', 0)
    bus.signals('started')
    show_pool(bus, pool)
    for name, kind in [('disk', 'qcow2'), ('raw.img', 'raw')]:
        path = in_pool(bus, 'images')
        bus.ask('create volume', path, POOL, 'StorageVolCreateXML', '(su)', vol_xml(name, MIB, kind), 0)
        bus.ask('refresh', path, POOL, 'Refresh', '(u)', 0)
        bus.signals('Refresh')
        show_pool(bus, path)
    open_page(bus)
    path = in_pool(bus, 'images')
    vol = bus.ask('volume by name', path, POOL, 'StorageVolLookupByName', '(s)', 'disk')
    bus.ask('delete volume', vol, VOLUME, 'Delete', '(u)', 0)
    show_pool(bus, pool)
    bus.ask('deactivate', pool, POOL, 'Destroy')
    bus.signals('stopped')
    show_pool(bus, pool)
    bus.ask('undefine', pool, POOL, 'Undefine')
    bus.signals('undefined')
    open_page(bus)


daemons = []
with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ending:
    if what == 'killed':
        os.chdir(base)
        daemons.append(ending.enter_context(Daemon(state='state', path='socket')))
    bus = Bus(directory)
    ending.callback(bus.end)
    {'everything': everything, 'cockpit': cockpit, 'ploop': ploop, 'killed': killed}[what](bus)
