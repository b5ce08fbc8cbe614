#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Resize through libvirtd, which often believes a volume's capacity is 0: a device never becomes smaller by
# accident, and what is in the file system stays.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/contents.sh"
. "${0%/*}/../lib/functions.sh"
libvirt_start

head -c 20M /dev/urandom >treasure
v vol-create-as p r 512M --format ploop
image_with_file "$pool/r" treasure treasure image
cp --sparse=always image "$pool/r/root.hds"

# The volume has this many MiB, is clean and holds the treasure.
holds() {
    equals "$(device_sectors "$pool/r")" "$(($1 * 2048))"
    volume_is_clean "$pool/r"
    take_file "$pool/r" taken treasure
    same treasure taken
}
# Of so many MiB is the file system.
filesystem_mib() {
    local raw=$tmp/fs.raw
    disk_bytes "$pool/r" "$raw"
    dumpe2fs -h "$(first_partition "$raw")" 2>/dev/null |
        awk '/^Block count:/ {n = $3} /^Block size:/ {b = $3} END {print int(n * b / 1048576)}'
    rm "$raw"
}

try "grow: the disk and the file system in it"
v vol-resize r 1G p >/dev/null
equals "$(tail -n 1 "$calls")" "resize -s 1024M $pool/r/DiskDescriptor.xml"
holds 1024
[ "$(filesystem_mib)" -gt 1000 ] || die "the file system did not grow"

try "--delta on capacity 0 never reduces the device"
v vol-info r p >/dev/null
v vol-resize r 512M p --delta >/dev/null
equals "$(tail -n 1 "$calls")" "resize -s 512M $pool/r/DiskDescriptor.xml"
holds 1024

try "--delta after a refresh adds"
v pool-refresh p >/dev/null
v vol-resize r 256M p --delta >/dev/null
equals "$(tail -n 1 "$calls")" "resize -s 1280M $pool/r/DiskDescriptor.xml"
holds 1280

try "smaller: the file system shrinks, the device stays"
v vol-resize r 400M p --shrink >/dev/null
holds 1280
[ "$(filesystem_mib)" -lt 400 ] || die "the file system did not shrink"

try "grow inside the room that is there"
v vol-resize r 900M p >/dev/null
holds 1280

try "smaller than what it holds: refused, nothing changed"
disk_bytes "$pool/r" before.raw
fails 1 v vol-resize r 12M p --shrink
disk_bytes "$pool/r" after.raw
same before.raw after.raw
