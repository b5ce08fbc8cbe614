#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every storage method of python-libvirt and every refusal, as a text.

    transcript.py URI DIR

does the same things in the empty directory DIR, whoever serves URI, and prints one line for each: what was asked,
then the result or the error's code and domain. Run against libvirtd and against ploopd the two texts differ where the
servers do. What no two runs have in common (uuids that are made up, times, inode-dependent sizes) is masked.
"""
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import libvirt

uri, base = sys.argv[1:3]
libvirt.registerErrorHandler(lambda ctx, err: None, None)
libvirt.virEventRegisterDefaultImpl()


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


threading.Thread(target=loop, daemon=True).start()
UUID = "11111111-2222-3333-4444-%012d"


def mask(value):
    text = re.sub(r"<(atime|mtime|ctime|btime)>[^<]*<", r"<\1>TIME<", str(value))
    text = re.sub(r"<(available|allocation) unit='bytes'>\d+<", r"<\1>N<", text)
    return text.replace(base, "BASE")


def say(what, *values):
    print(what, "->", " | ".join(mask(v) for v in values), flush=True)


def do(what, call, *args, show=lambda value: value):
    """Calls, prints, returns the result or None."""
    try:
        value = call(*args)
    except libvirt.libvirtError as e:
        say(what, "ERROR code %s domain %s" % (e.get_error_code(), e.get_error_domain()))
        return None
    shown = show(value)
    say(what, type(shown).__name__ if shown is value and hasattr(value, "_o") else shown)
    return value


def wait_until(what, call):
    """What a server does after it has answered (libvirtd refreshes behind uploads)."""
    for _ in range(100):
        try:
            return call()
        except libvirt.libvirtError:
            time.sleep(0.05)
    say(what, "never")
    return None


def pool_xml(name, number, path, kind="dir", extra=""):
    return ("<pool type='%s'><name>%s</name><uuid>%s</uuid>%s<target><path>%s</path></target></pool>"
            % (kind, name, UUID % number, extra, path))


def vol_xml(name, capacity, fmt="raw", allocation=None, extra="", unit="bytes", target=""):
    alloc = "" if allocation is None else "<allocation>%d</allocation>" % allocation
    return ("<volume><name>%s</name><capacity unit='%s'>%s</capacity>%s<target><format type='%s'/>%s</target>%s</volume>"
            % (name, unit, capacity, alloc, fmt, target, extra))


def info(pool):
    state = pool.info()
    return "state %d capacity>0 %s" % (state[0], state[1] > 0)


def names(things):
    return sorted(thing.name() for thing in things)


# ---- the connection ----

def connection(conn):
    do("type", conn.getType)
    do("lib version", conn.getLibVersion)
    do("uri", conn.getURI)
    do("secure", conn.isSecure)
    do("encrypted", conn.isEncrypted)
    do("alive", conn.isAlive)
    do("keepalive", conn.setKeepAlive, 5, 3)
    do("capabilities", conn.getCapabilities)
    do("pool capabilities", conn.getStoragePoolCapabilities)
    do("pool capabilities, flag", conn.getStoragePoolCapabilities, 1)
    do("identity, none", conn.setIdentity, {})
    do("domains", conn.listAllDomains)
    do("networks", conn.listNetworks)


# ---- pools ----

def refusals_of_pool_xml(conn):
    cases = {
        "no xml": "nonsense", "other root": "<volume/>", "no type": "<pool><name>x</name></pool>",
        "type": "<pool type='wrong'><name>x</name></pool>", "no name": "<pool type='dir'><target><path>/x</path></target></pool>",
        "slash": pool_xml("a/b", 50, base), "no path": "<pool type='dir'><name>x</name></pool>",
        "uuid": "<pool type='dir'><name>x</name><uuid>12</uuid><target><path>/x</path></target></pool>",
        "mode": pool_xml("x", 51, base).replace("</path>", "</path><permissions><mode>99</mode></permissions>"),
        "fs without device": pool_xml("x", 52, base, "fs"), "fs format": pool_xml(
            "x", 53, base, "fs", "<source><device path='/dev/x'/><format type='zzz'/></source>"),
        "netfs without host": pool_xml("x", 54, base, "netfs"),
        "newline": pool_xml("a\nb", 55, base),
    }
    for what, xml in cases.items():
        do("define: " + what, conn.storagePoolDefineXML, xml, 0)
        made = do("create: " + what, conn.storagePoolCreateXML, xml, 0)
        if made:
            made.destroy()
    do("define: flags", conn.storagePoolDefineXML, pool_xml("x", 56, base), 2)
    do("create: flags", conn.storagePoolCreateXML, pool_xml("x", 56, base), 64)
    do("define: validate", conn.storagePoolDefineXML, pool_xml("x", 56, base, extra="<zzz/>"), 1)


def life_of_a_pool(conn):
    path = base + "/main"
    pool = do("define", conn.storagePoolDefineXML, pool_xml("main", 1, path), 0)
    do("define again", conn.storagePoolDefineXML, pool_xml("main", 1, path), 0)
    do("define, other uuid", conn.storagePoolDefineXML, pool_xml("main", 2, path), 0)
    do("define, other name", conn.storagePoolDefineXML, pool_xml("q", 1, base + "/q"), 0)
    do("define, same target", conn.storagePoolDefineXML, pool_xml("q", 3, path), 0)
    do("xml", pool.XMLDesc, 0)
    do("info", pool.info)
    do("active", pool.isActive)
    do("persistent", pool.isPersistent)
    do("autostart", pool.autostart)
    do("autostart on", pool.setAutostart, 1)
    do("autostart", pool.autostart)
    do("autostart off", pool.setAutostart, 0)
    for what, call in [("volumes", pool.listVolumes), ("number", pool.numOfVolumes), ("all volumes", pool.listAllVolumes),
                       ("destroy", pool.destroy), ("refresh", pool.refresh)]:
        do("inactive: " + what, call)
    do("inactive: create volume", pool.createXML, vol_xml("v", 1), 0)
    do("inactive: lookup volume", pool.storageVolLookupByName, "v")
    do("start without directory", pool.create, 0)
    do("build, flag", pool.build, 1)
    do("build, overwrite", pool.build, libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE)
    do("build", pool.build, 0)
    say("directory", oct(os.stat(path).st_mode))
    do("start, flags", pool.create, 128)
    do("start", pool.create, 0)
    do("start again", pool.create, 0)
    do("build active", pool.build, 0)
    do("delete active", pool.delete, 0)
    do("undefine active", pool.undefine)
    do("info", pool.info, show=lambda i: "state %d" % i[0])
    do("xml", pool.XMLDesc, 0, show=lambda x: re.sub(r"<capacity unit='bytes'>\d+", "<capacity>N", x))
    do("xml inactive", pool.XMLDesc, 1, show=lambda x: re.sub(r"<capacity unit='bytes'>\d+", "<capacity>N", x))
    do("xml, flag", pool.XMLDesc, 2)
    do("refresh, flag", pool.refresh, 1)
    do("refresh", pool.refresh, 0)
    do("by name", conn.storagePoolLookupByName, "main")
    do("by no name", conn.storagePoolLookupByName, "nobody")
    do("by uuid", conn.storagePoolLookupByUUIDString, UUID % 1)
    do("by no uuid", conn.storagePoolLookupByUUIDString, UUID % 99)
    do("by path", conn.storagePoolLookupByTargetPath, path)
    do("by path with slashes", conn.storagePoolLookupByTargetPath, path + "//")
    do("by no path", conn.storagePoolLookupByTargetPath, "/nowhere")
    return pool


def lists_of_pools(conn):
    do("transient", conn.storagePoolCreateXML, pool_xml("t", 7, base + "/t"), 1)
    do("defined", conn.storagePoolDefineXML, pool_xml("d", 8, base + "/d"), 0)
    for flags in [0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 2 | 8, 1 | 64, 1 << 20]:
        do("list %d" % flags, conn.listAllStoragePools, flags, show=names)
    do("names", conn.listStoragePools, show=sorted)
    do("number", conn.numOfStoragePools)
    do("defined names", conn.listDefinedStoragePools, show=sorted)
    do("defined number", conn.numOfDefinedStoragePools)
    t = conn.storagePoolLookupByName("t")
    do("transient persistent", t.isPersistent)
    do("transient autostart", t.autostart)
    do("transient set autostart", t.setAutostart, 1)
    do("transient again", conn.storagePoolCreateXML, pool_xml("t", 7, base + "/t"), 0)
    do("transient undefine", t.undefine)
    do("transient destroy", t.destroy)
    do("transient is gone", conn.storagePoolLookupByName, "t")
    d = conn.storagePoolLookupByName("d")
    do("delete without directory", d.delete, 0)
    os.mkdir(base + "/d")
    do("delete, flag", d.delete, 1)
    do("delete", d.delete, 0)
    do("undefine", d.undefine)
    do("undefined is gone", d.undefine)
    for kind in ["dir", "fs", "netfs", "logical", "nonsense"]:
        do("find sources " + kind, conn.findStoragePoolSources, kind, None, 0)
    do("find sources netfs without host", conn.findStoragePoolSources, "netfs", "<source/>", 0)


# ---- volumes ----

def volume_state(vol):
    i = vol.info()
    return "type %d capacity %d" % (i[0], i[1])


def refusals_of_volume_xml(pool):
    cases = {
        "no xml": "nonsense", "other root": "<pool/>", "no name": "<volume><capacity>1</capacity></volume>",
        "no capacity": "<volume><name>x</name></volume>", "slash": vol_xml("a/b", 1), "format": vol_xml("x", 1, "zzz"),
        "format none": vol_xml("x", 1, "none"), "unit": vol_xml("x", 1, unit="furlongs"),
        "text": vol_xml("x", "1M"), "too big": vol_xml("x", "9", unit="EiB"), "compat": vol_xml(
            "x", 1, "qcow2", target="<compat>new</compat>"), "feature": vol_xml("x", 1, "qcow2", target="<features><zzz/></features>"),
        "mode": vol_xml("x", 1, target="<permissions><mode>abc</mode></permissions>"),
        "raw with backing": vol_xml("x", 1, extra="<backingStore><path>/x</path></backingStore>"),
        "dir with backing": vol_xml("x", 1, "dir", extra="<backingStore><path>/x</path></backingStore>"),
        "missing backing": vol_xml("x", 1, "qcow2", extra="<backingStore><path>/nowhere</path><format type='qcow2'/></backingStore>"),
        "lazy on old": vol_xml("x", 1, "qcow2", target="<compat>0.10</compat><features><lazy_refcounts/></features>"),
        "raw preallocated": None,
    }
    for what, xml in cases.items():
        if xml:
            do("volume: " + what, pool.createXML, xml, 0)
    do("volume: raw preallocated", pool.createXML, vol_xml("x", 1048576), 1)
    do("volume: flags", pool.createXML, vol_xml("x", 1), 64)
    do("volume: validate", pool.createXML, vol_xml("x", 1, extra="<zzz/>"), 4)
    say("nothing was made", sorted(n for n in os.listdir(base + "/main") if n != ".ploopkit"))


def life_of_volumes(conn, pool):
    for fmt in ["raw", "qcow2", "dir", "qed", "vmdk", "vdi", "vpc"]:
        do("create " + fmt, pool.createXML, vol_xml("v-" + fmt, 8 << 20, fmt, 0), 0, show=volume_state)
    do("create twice", pool.createXML, vol_xml("v-raw", 8 << 20, "raw", 0), 0)
    open(base + "/main/unknown", "w").close()
    do("create over a file", pool.createXML, vol_xml("unknown", 8 << 20, "raw", 0), 0)
    os.unlink(base + "/main/unknown")
    full = do("create full", pool.createXML, vol_xml("full", 3 << 20), 0)
    say("full allocation", full.info()[2] >= 3 << 20)
    do("units", pool.createXML, vol_xml("units", 2, unit="MiB"), 0, show=volume_state)
    do("metadata", pool.createXML, vol_xml("pre.qcow2", 8 << 20, "qcow2", 0), 1, show=volume_state)
    do("backing", pool.createXML, vol_xml("over.qcow2", 8 << 20, "qcow2", 0, extra="<backingStore><path>%s/main/v-raw</path>"
       "<format type='raw'/></backingStore>" % base), 0, show=volume_state)
    do("refresh", pool.refresh, 0)
    do("names", pool.listVolumes, show=sorted)
    do("number", pool.numOfVolumes)
    do("all", pool.listAllVolumes, 0, show=names)
    do("all, flag", pool.listAllVolumes, 1)
    for name in ["v-raw", "v-qcow2", "v-dir", "v-vmdk", "over.qcow2", "full"]:
        vol = do("by name " + name, pool.storageVolLookupByName, name)
        say("key", vol.key())
        do("path", vol.path)
        do("xml " + name, vol.XMLDesc, 0, show=lambda x: re.sub(r"<physical unit='bytes'>\d+", "<physical>N", x))
        do("info " + name, vol.info, show=lambda i: i[:2])
        do("info physical " + name, vol.infoFlags, 1, show=lambda i: i[:2])
    do("xml, flag", vol.XMLDesc, 1)
    do("by key", conn.storageVolLookupByKey, base + "/main/full")
    do("by path", conn.storageVolLookupByPath, base + "/main/full")
    do("by path with slashes", conn.storageVolLookupByPath, base + "//p/full")
    do("by no path", conn.storageVolLookupByPath, "/nowhere")
    do("by no key", conn.storageVolLookupByKey, "/nowhere")
    do("by no name", pool.storageVolLookupByName, "nobody")
    do("pool of", vol.storagePoolLookupByVolume, show=lambda p: p.name())


def changes_of_volumes(pool):
    raw = pool.storageVolLookupByName("v-raw")
    qcow2 = pool.storageVolLookupByName("v-qcow2")
    full = pool.storageVolLookupByName("full")
    do("resize", raw.resize, 16 << 20, 0)
    do("resized", raw.info, show=lambda i: i[:2])
    do("resize by delta", raw.resize, 1 << 20, libvirt.VIR_STORAGE_VOL_RESIZE_DELTA)
    do("resized", raw.info, show=lambda i: i[:2])
    do("shrink without asking", raw.resize, 4 << 20, 0)
    do("shrink", raw.resize, 4 << 20, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)
    do("shrink by delta", raw.resize, 1 << 20, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK | libvirt.VIR_STORAGE_VOL_RESIZE_DELTA)
    do("resized", raw.info, show=lambda i: i[:2])
    do("resize to 0", raw.resize, 0, 0)
    do("resize, flags", raw.resize, 8 << 20, 64)
    do("allocate", raw.resize, 5 << 20, libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
    say("allocated", raw.info()[2] >= 5 << 20)
    do("resize qcow2", qcow2.resize, 16 << 20, 0)
    do("allocate qcow2", qcow2.resize, 32 << 20, libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
    do("resize far too much", full.resize, 1 << 60, libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
    for algorithm in [0, 1, 8, 9, 10]:
        do("wipe %d" % algorithm, full.wipePattern, algorithm, 0)
    do("wipe", full.wipe, 0)
    do("wipe, flag", full.wipe, 1)
    say("wiped", open(base + "/main/full", "rb").read() == bytes(3 << 20))


def clones(conn, pool):
    source = pool.storageVolLookupByName("v-raw")
    with open(base + "/main/v-raw", "r+b") as f:
        f.seek(1 << 20)
        f.write(b"hello")
    do("clone", pool.createXMLFrom, vol_xml("c-raw", 0, "raw", 0), source, 0, show=volume_state)
    say("clone is the same", open(base + "/main/c-raw", "rb").read() == open(base + "/main/v-raw", "rb").read())
    do("clone to qcow2", pool.createXMLFrom, vol_xml("c-qcow2", 0, "qcow2", 0), source, 0, show=volume_state)
    do("clone from qcow2", pool.createXMLFrom, vol_xml("c-back", 0, "raw", 0), pool.storageVolLookupByName("c-qcow2"), 0,
       show=volume_state)
    say("came back", open(base + "/main/c-back", "rb").read() == open(base + "/main/v-raw", "rb").read())
    do("clone of a directory", pool.createXMLFrom, vol_xml("c-dir", 0, "dir", 0), pool.storageVolLookupByName("v-dir"), 0)
    do("clone, flags", pool.createXMLFrom, vol_xml("c-x", 0), source, 64)
    do("clone with a slash", pool.createXMLFrom, vol_xml("c/x", 0), source, 0)


def transfers(conn, pool):
    data = bytes(range(256)) * 4096
    vol = pool.createXML(vol_xml("up", 1 << 20, "raw", 0), 0)

    def send(stream, offset=0, length=0, flags=0, what=data):
        vol.upload(stream, offset, length, flags)
        position = 0
        while position < len(what):
            position += stream.send(what[position:position + 262120])
        stream.finish()

    do("upload", send, conn.newStream(0))
    wait_until("refresh", pool.refresh)
    say("uploaded", open(base + "/main/up", "rb").read() == data)
    do("upload at", send, conn.newStream(0), 4096, 0, 0, b"there")
    say("uploaded there", open(base + "/main/up", "rb").read()[4090:4106])
    do("upload too much", send, conn.newStream(0), 0, 1000, 0, bytes(5000))
    do("upload, flags", vol.upload, conn.newStream(0), 0, 0, 8)

    def receive(offset, length, flags=0):
        stream = conn.newStream(0)
        vol.download(stream, offset, length, flags)
        got = b""
        while True:
            piece = stream.recv(262120)
            if not piece:
                break
            got += piece
        stream.finish()
        return got

    wait_until("refresh", pool.refresh)
    content = open(base + "/main/up", "rb").read()
    do("download", receive, 0, 0, show=lambda got: got == content)
    do("download a part", receive, 4096, 100, show=lambda got: got == content[4096:4196])
    do("download from beyond", receive, 5 << 20, 0, show=len)
    do("download, flags", vol.download, conn.newStream(0), 0, 0, 8)

    def abort():
        stream = conn.newStream(0)
        vol.upload(stream, 0, 0, 0)
        stream.send(b"x" * 1000)
        stream.abort()

    do("abort", abort)
    wait_until("refresh", pool.refresh)
    do("upload to a directory", pool.storageVolLookupByName("v-dir").upload, conn.newStream(0), 0, 0, 0)


def sparse(conn, pool):
    image = base + "/image"
    with open(image, "wb") as f:
        f.write(b"a" * 65536)
        f.seek(3 << 20)
        f.write(b"b" * 65536)
        f.truncate(8 << 20)
    vol = pool.createXML(vol_xml("sparse", 8 << 20, "raw", 0), 0)
    source = open(image, "rb")

    def data_or_hole(stream, opaque):
        at = source.tell()
        end = os.fstat(source.fileno()).st_size
        if at == end:
            return [False, 0]
        try:
            data = os.lseek(source.fileno(), at, os.SEEK_DATA)
        except OSError:
            data = end
        if data > at:
            source.seek(at)
            return [False, data - at]
        hole = os.lseek(source.fileno(), at, os.SEEK_HOLE)
        source.seek(at)
        return [True, hole - at]

    def upload():
        stream = conn.newStream(0)
        vol.upload(stream, 0, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
        stream.sparseSendAll(lambda s, n, o: source.read(n), data_or_hole, lambda s, n, o: source.seek(n, 1), None)
        stream.finish()

    do("sparse upload", upload)
    wait_until("refresh", pool.refresh)
    say("sparse is the same", open(base + "/main/sparse", "rb").read() == open(image, "rb").read())
    target = open(base + "/back", "wb")

    def download():
        stream = conn.newStream(0)
        vol.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
        stream.sparseRecvAll(lambda s, d, o: target.write(d), lambda s, n, o: target.truncate(target.seek(n, 1)), None)
        stream.finish()

    do("sparse download", download)
    target.close()
    say("sparse came back", open(base + "/back", "rb").read() == open(image, "rb").read(),
        "blocks < 1 MiB: %s" % (os.stat(base + "/back").st_blocks * 512 < 1 << 20))


def deletions(pool):
    vol = pool.storageVolLookupByName("up")
    do("delete, flag", vol.delete, 4)
    do("delete", vol.delete, 0)
    do("delete again", vol.delete, 0)
    do("info of nothing", vol.info)
    gone = pool.storageVolLookupByName("c-raw")
    os.unlink(base + "/main/c-raw")
    do("info of a vanished one", gone.info)
    do("xml of a vanished one", gone.XMLDesc, 0)
    do("delete a vanished one", gone.delete, 0)
    do("rmdir", pool.storageVolLookupByName("v-dir").delete, 0)
    do("names", pool.listVolumes, show=sorted)


def read_only():
    conn = do("open read-only", libvirt.openReadOnly, uri)
    pool = do("pool", conn.storagePoolLookupByName, "main")
    do("info", pool.info, show=lambda i: i[0])
    for what, call, args in [("refresh", pool.refresh, (0,)), ("destroy", pool.destroy, ()), ("build", pool.build, (0,)),
                             ("undefine", pool.undefine, ()), ("create", pool.createXML, (vol_xml("x", 1), 0)),
                             ("autostart", pool.setAutostart, (1,)),
                             ("define", conn.storagePoolDefineXML, (pool_xml("x", 70, base), 0)),
                             ("sources", conn.findStoragePoolSources, ("dir", None, 0))]:
        do("read-only: " + what, call, *args)
    vol = do("volume", pool.storageVolLookupByName, "full")
    for what, call, args in [("delete", vol.delete, (0,)), ("wipe", vol.wipe, (0,)), ("resize", vol.resize, (1, 0)),
                             ("upload", vol.upload, (conn.newStream(0), 0, 0, 0)),
                             ("download", vol.download, (conn.newStream(0), 0, 0, 0))]:
        do("read-only: " + what, call, *args)
    conn.close()


def events(conn):
    seen = []
    lifecycle = do("register", conn.storagePoolEventRegisterAny, None, 0,
                   lambda c, p, event, detail, o: seen.append("%s %d" % (p.name(), event)), None, show=lambda n: "number")
    refresh = conn.storagePoolEventRegisterAny(None, 1, lambda c, p, o: seen.append("%s refresh" % p.name()), None)
    do("register for what is not there", conn.storagePoolEventRegisterAny, None, 7, lambda *a: None, None)
    pool = conn.storagePoolDefineXML(pool_xml("e", 30, base + "/e"), 0)
    pool.build(0)
    pool.create(0)
    pool.refresh(0)
    pool.destroy()
    pool.delete(0)
    pool.undefine()
    for _ in range(100):
        if "e 1" in seen:
            break
        time.sleep(0.02)
    say("events", seen)
    do("deregister", conn.storagePoolEventDeregisterAny, lifecycle)
    conn.storagePoolEventDeregisterAny(refresh)


def main():
    conn = libvirt.open(uri)
    connection(conn)
    refusals_of_pool_xml(conn)
    pool = life_of_a_pool(conn)
    lists_of_pools(conn)
    refusals_of_volume_xml(pool)
    life_of_volumes(conn, pool)
    changes_of_volumes(pool)
    clones(conn, pool)
    transfers(conn, pool)
    sparse(conn, pool)
    deletions(pool)
    read_only()
    events(conn)
    do("destroy", pool.destroy)
    do("delete full", pool.delete, 0)
    do("undefine", pool.undefine)
    do("close", conn.close)


main()
