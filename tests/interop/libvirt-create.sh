#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A ploop volume of any size comes to life under a stock libvirtd, is listed after a refresh, and goes without
# a trace.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
. "${0%/*}/contents.sh"
libvirt_start

for size in 8M 64M 300M 1G; do
    try "create $size: a clean ext4 on the whole disk"
    v vol-create-as p "v$size" "$size" --format ploop
    mib=$(numfmt --from=iec --to-unit=Mi "$size")
    equals "$(tail -n 1 "$calls")" "init -s ${mib}M -t ext4 $pool/v$size/root.hds"
    equals "$(device_sectors "$pool/v$size")" "$((mib * 2048))"
    volume_is_clean "$pool/v$size"
done

try "create the same name again: refused, the first one unharmed"
fails 1 v vol-create-as p v1G 1G --format ploop
volume_is_clean "$pool/v1G"

try "below the stated minimum: refused, nothing left behind"
fails 1 v vol-create-as p tiny 64K --format ploop
[ ! -e "$pool/tiny" ] || die "$pool/tiny was left"

try "refresh: libvirt recognises every volume with its capacity"
v pool-refresh p >/dev/null
equals "$(v vol-list p --details | awk '{print $1, $3, $4 $5}' | sort | xargs)" \
    "v1G ploop 1.00GiB v300M ploop 300.00MiB v64M ploop 64.00MiB v8M ploop 8.00MiB"

try "delete: the directory is gone"
for size in 8M 64M 300M 1G; do
    v vol-delete "v$size" p
    [ ! -e "$pool/v$size" ] || die "v$size is still there"
done
