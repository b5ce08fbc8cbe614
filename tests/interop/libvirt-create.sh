#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A ploop volume of any size comes to life under a stock libvirtd, is listed after a refresh, and goes without
# a trace.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/contents.sh"
. "${0%/*}/../lib/functions.sh"
libvirt_start

for size in 1M 8M 64M 300M 1G; do
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

try "create without a size: refused, nothing left behind"
fails 1 v vol-create-as p none 0 --format ploop
[ ! -e "$pool/none" ] || die "$pool/none was left"

try "refresh: libvirt recognises every volume"
v pool-refresh p >/dev/null
equals "$(v vol-list p --details | awk '{print $1, $3}' | sort | xargs)" \
    "v1G ploop v1M ploop v300M ploop v64M ploop v8M ploop"

try "refresh: a volume of version 1 is none that libvirt knows, and is left alone"
mkdir "$pool/old"
"$PLOOP" init -s 64M -v 1 "$pool/old/root.hds" >/dev/null
v pool-refresh p >/dev/null
! v vol-list p --details | grep -q '^ *old .* ploop ' || die "libvirt knows version 1 now"
volume_is_clean "$pool/old"
rm -r "$pool/old"
v pool-refresh p >/dev/null

try "delete: the directory is gone"
for size in 1M 8M 64M 300M 1G; do
    v vol-delete "v$size" p
    [ ! -e "$pool/v$size" ] || die "v$size is still there"
done
