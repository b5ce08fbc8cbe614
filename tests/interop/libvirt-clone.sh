#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirtd clones with `cp -r`: the same GUIDs, the lock file included. Both must live on, each its own.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/contents.sh"
. "${0%/*}/../lib/functions.sh"
libvirt_start

head -c 5M /dev/urandom >treasure
v vol-create-as p a 300M --format ploop
image_with_file "$pool/a" treasure treasure image
cp --sparse=always image "$pool/a/root.hds"
disk_bytes "$pool/a" a.raw

try "clone: the same disk"
v vol-clone a b p >/dev/null
disk_bytes "$pool/b" b.raw
same a.raw b.raw
volume_is_clean "$pool/b"

try "what is written to the clone does not reach the original, nor the other way"
qemu-io -f parallels -c "write -P 0x5a 200M 1M" "$pool/b/root.hds" >/dev/null
disk_bytes "$pool/a" now.raw
same a.raw now.raw
"$PLOOP" snapshot "$pool/a/DiskDescriptor.xml" >/dev/null
[ "$("$PLOOP" snapshot-list -H "$pool/b/DiskDescriptor.xml" | wc -l)" = 1 ] || die "the clone has a snapshot"
disk_bytes "$pool/b" now.raw
fails 0 qemu-io -f raw -c "read -P 0x5a 200M 1M" now.raw

try "a clone of a disk with snapshots has its own snapshots"
v vol-clone a c p >/dev/null
prints "$pool/c/root.hds." "$PLOOP" snapshot-list "$pool/c/DiskDescriptor.xml"
! grep -q "$pool/a" "$tmp.out" || die "the clone refers to the original"
disk_bytes "$pool/c" c.raw
same a.raw c.raw

try "wiping a clone uses the clone's geometry and leaves the original alone"
v vol-wipe b p >/dev/null
equals "$(device_sectors "$pool/b")" 614400
volume_is_clean "$pool/b"
disk_bytes "$pool/a" now.raw
same a.raw now.raw

try "the original is deleted: its clones live"
v vol-delete a p
[ ! -e "$pool/a" ] || die "a is still there"
disk_bytes "$pool/c" c.raw
same a.raw c.raw
volume_is_clean "$pool/c"
