#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Definitions as ploopkit and as libvirt print or refuse them.

    compare.py golden     against what is kept beside this file (NAME.out.xml, refused/codes, *capabilities*.xml)
    compare.py live       against the libvirt of this machine, input by input; compare.sh starts it privately
    compare.py capture    keeps what that libvirt says now

PRINT names the program `print`. Types of pools that this libvirtd has no driver for are asked of libvirt's driver
for tests, which reads and prints definitions with the same code but does nothing with them.

Where ours is another answer on purpose, DIFFERS says why.
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PRINT = os.environ['PRINT']

DIFFERS = {
    'pool.fc-malformed.xml': 'libvirt says internal error (1) where it is the definition that is wrong',
}


class Libvirt:
    """The few calls this needs, on libvirt's C library."""

    def __init__(self):
        self.lib = ctypes.CDLL('libvirt.so.0')
        for name in ('virConnectOpen', 'virStoragePoolDefineXML', 'virStorageVolCreateXML', 'virStoragePoolGetXMLDesc',
                     'virStorageVolGetXMLDesc', 'virGetLastErrorMessage', 'virConnectGetStoragePoolCapabilities',
                     'virConnectGetCapabilities'):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda _, __: None)
        self.lib.virSetErrorFunc(None, self.quiet)
        self.system = self.open('storage:///system')
        self.test = self.open('test:///default')
        self.supported = re.findall(r"<pool type='([^']*)' supported='yes'", self.pool_capabilities())

    def open(self, uri):
        return self.need(self.lib.virConnectOpen(uri.encode()))

    def need(self, pointer):
        if not pointer:
            raise RuntimeError(self.refusal())
        return ctypes.c_void_p(pointer)

    def refusal(self):
        return f'refused {self.lib.virGetLastErrorCode()}: {self.text(self.lib.virGetLastErrorMessage())}'

    @staticmethod
    def text(pointer):
        return ctypes.string_at(pointer).decode() if pointer else ''

    def pool_capabilities(self):
        return self.text(self.lib.virConnectGetStoragePoolCapabilities(self.system, 0))

    def capabilities(self):
        return self.text(self.lib.virConnectGetCapabilities(self.system))

    def pool(self, xml, flags=0):
        kind = re.search(r"type='([^']*)'", xml)
        conn = self.system if kind is None or kind[1] in self.supported else self.test
        pointer = self.lib.virStoragePoolDefineXML(conn, xml.encode(), flags)
        if not pointer:
            return self.refusal()
        pool = ctypes.c_void_p(pointer)
        text = self.text(self.lib.virStoragePoolGetXMLDesc(pool, 0))
        self.lib.virStoragePoolUndefine(pool)
        # The driver for tests makes sizes up.
        return re.sub(r"(<(capacity|allocation|available) unit='bytes'>)\d+", r'\g<1>0', text)

    def volume(self, kind, xml):
        """In a pool that is there for this one volume: pools of other types would collide with it."""
        pool_xml = re.sub(r'<path>/(srv/p|dev/mapper|vstorage)', '<path>/t', (HERE / f'pool/{kind}.in.xml').read_text())
        pool_xml = re.sub('<name>(vg|tank/vm)</name>', '', pool_xml)
        pool = self.need(self.lib.virStoragePoolDefineXML(self.test, pool_xml.encode(), 0))
        self.lib.virStoragePoolCreate(pool, 0)
        pointer = self.lib.virStorageVolCreateXML(pool, xml.encode(), 0)
        if pointer:
            volume = ctypes.c_void_p(pointer)
            text = self.text(self.lib.virStorageVolGetXMLDesc(volume, 0))
            self.lib.virStorageVolDelete(volume, 0)
        else:
            text = self.refusal()
        self.lib.virStoragePoolDestroy(pool)
        self.lib.virStoragePoolUndefine(pool)
        return text.replace('(null)/', 'p/')  # where a pool has no target


class Comparison:
    def __init__(self, mode):
        self.mode = mode
        self.libvirt = None if mode == 'golden' else Libvirt()
        self.codes = {}
        self.kept = dict(line.split() for line in (HERE / 'refused/codes').read_text().splitlines()) \
            if mode != 'capture' else {}
        self.failed = self.compared = 0

    @staticmethod
    def ours(*args):
        done = subprocess.run([PRINT, *map(str, args)], capture_output=True, text=True, encoding='utf-8')
        return done.stdout if done.returncode == 0 else f'exit {done.returncode}: {done.stderr}'

    def say(self, name, ours, theirs):
        self.compared += 1
        if ours == theirs:
            return
        self.failed += 1
        print(f'FAILED {name}\n--- ours\n{ours}\n--- wanted\n{theirs}')

    def text(self, name, kept, ours, ask):
        """One text: ours must be what is kept, or what libvirt prints."""
        theirs = kept.read_text() if self.mode == 'golden' else ask()
        if self.mode == 'capture':
            kept.write_text(theirs)
        else:
            self.say(name, ours, theirs)

    def inputs(self):
        for file in sorted((HERE / 'pool').glob('*.in.xml')):
            self.text(file.name, file.with_name(file.name.replace('.in.', '.out.')), self.ours('define', file),
                      lambda: self.libvirt.pool(file.read_text()))
        for file in sorted((HERE / 'volume').glob('*.in.xml')):
            kind = file.name.split('.')[0]
            self.text(file.name, file.with_name(file.name.replace('.in.', '.out.')), self.ours(kind, file),
                      lambda: self.libvirt.volume(kind, file.read_text()))

    def refused(self):
        for file in sorted((HERE / 'refused').glob('*.xml')):
            kind = file.name.split('.')[0]
            ours = self.ours('define' if kind == 'pool' else kind, file)
            theirs = ''
            if self.mode != 'golden':
                xml = file.read_text()
                theirs = self.libvirt.pool(xml) if kind == 'pool' else self.libvirt.volume(kind, xml)
            wanted = theirs.split(':')[0].split()[-1] if theirs.startswith('refused ') else self.kept.get(file.name, '0')
            if self.mode == 'capture':
                self.codes[file.name] = wanted
            elif file.name not in DIFFERS:
                self.say(file.name, ours.split(':')[0], f'refused {wanted}')
        if self.mode == 'capture':
            (HERE / 'refused/codes').write_text(''.join(f'{name} {code}\n' for name, code in self.codes.items()))

    def run(self):
        self.inputs()
        self.refused()
        kept = HERE / 'pool-capabilities.xml'
        supported = self.libvirt.supported if self.libvirt else \
            re.findall(r"<pool type='([^']*)' supported='yes'", kept.read_text())
        self.text('pool-capabilities', kept, self.ours('pool-capabilities', *supported),
                  lambda: self.libvirt.pool_capabilities())
        self.text('capabilities', HERE / 'capabilities.xml', self.ours('capabilities', *supported),
                  lambda: self.libvirt.capabilities())
        print(f'{self.compared} compared, {self.failed} differ')
        return self.failed != 0


sys.exit(Comparison(sys.argv[1]).run())
