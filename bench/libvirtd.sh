#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A private libvirtd that pools.py talks to by lines: PLOOP=... libvirtd.sh. It says "ready"; then each line of standard input
# is a command, each line of output its seconds, as virsh times them (without its own start).
#
#     pool DIR        a dir pool on DIR; what it takes to make it
#     refresh         pool-refresh of it
#     drop            it is gone from libvirtd, its files stay
#     cold IMAGE      a refresh of the filesystem in IMAGE, mounted just now
#     large DIR       a dir pool on DIR and gone again; vol-info of its first volume when a refresh has just begun
. "${0%/*}/../tests/lib/libvirt.sh"
. "${0%/*}/../tests/lib/functions.sh"
libvirt_start

seconds() {
    virsh -t -c storage:///system "$@" | sed -nE 's/.*\(Time: ([0-9.]+) ms\).*/\1/p' | awk '{print $1 / 1000}'
}

cold() {
    mkdir -p cold
    v pool-create-as cold dir --target "$PWD/cold" >/dev/null
    mount -o loop "$1" cold
    seconds pool-refresh cold
    v pool-destroy cold >/dev/null
    umount cold
}

large() {
    v pool-create-as large dir --target "$1" >/dev/null
    v pool-refresh large >/dev/null &
    sleep 0.1
    seconds vol-info v000000 large
    wait $!
    v pool-destroy large >/dev/null
}

echo ready
while read -r verb arg; do
    case $verb in
    pool) seconds pool-create-as bench dir --target "$arg" ;;
    refresh) seconds pool-refresh bench ;;
    drop) seconds pool-destroy bench ;;
    cold) cold "$arg" ;;
    large) large "$arg" ;;
    esac
done
