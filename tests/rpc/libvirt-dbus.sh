#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirt-dbus, and what Cockpit does through it, at a private libvirtd and at ploopd.
. "${0%/*}/both.sh"
PRELOAD=$(readlink -f "${PRELOAD:-$_tests/../build/tests/rpc/preload-uri.so}")
export PRELOAD PATH=$PATH:/usr/sbin
requires command -v dbus-daemon
requires command -v libvirt-dbus
requires /usr/bin/python3 -c 'from gi.repository import Gio'
both_start
least=30

try "libvirt-dbus: every method, property and signal of pools and volumes"
transcript dbus /usr/bin/python3 "$here/libvirt-dbus.py" everything

try "Cockpit's pages: what they call, in their order, and the signals they wait for"
transcript cockpit /usr/bin/python3 "$here/libvirt-dbus.py" cockpit

# says MODE URI: what the script prints then, on standard input.
says() {
    rm -rf area
    mkdir area
    /usr/bin/python3 "$here/libvirt-dbus.py" "$1" "$2" "$tmp/area" >said 2>"$1.err" || die "$1: $(tail -1 "$1.err")"
    diff - said || die "$1: it says something else"
}

try "ploop volumes have their size there, grow, are cloned, wiped and deleted"
says ploop "$ours" <<'END'
create -> POOL_11111111_2222_3333_4444_000000000020
ploop volume -> VOLUME
info -> type 5 capacity 67108864
resize -> ()
info -> type 5 capacity 134217728
format -> ploop
clone -> VOLUME
wipe -> ()
delete -> ()
left -> 1
END

try "libvirt-dbus goes on with a ploopd that was killed and is back, and hears its events"
says killed "storage:///system?socket=$tmp/area/socket" <<'END'
list -> []
define -> POOL_11111111_2222_3333_4444_000000000021
start -> ()
signal -> POOL_11111111_2222_3333_4444_000000000021 defined 0
signal -> POOL_11111111_2222_3333_4444_000000000021 started 0
nobody there -> ERROR org.libvirt.Error
list -> ['POOL_11111111_2222_3333_4444_000000000021']
Active -> True
refresh -> ()
signal -> POOL_11111111_2222_3333_4444_000000000021 Refresh ()
stop -> ()
signal -> POOL_11111111_2222_3333_4444_000000000021 stopped 0
END

try "it ends when it is told, and had nothing to complain of"
both_stop
