#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What stock libvirt does to a volume: takes the descriptor away and wants it back, takes everything away and
# asks for 0 bytes.
. "${0%/*}/../lib/functions.sh"

xml=v/DiskDescriptor.xml

fresh() {
    rm -rf v && mkdir v
    "$PLOOP" init "$@" v/root.hds >/dev/null
}

try "a lost descriptor comes back the same, of either version"
for version in 1 2; do
    fresh -s 20M -v $version
    cp $xml before.xml
    rm $xml
    equals "$("$PLOOP" restore-descriptor v v/root.hds)" "Opening delta v/root.hds
Adding snapshot {5fbaabe3-6958-40ff-92a7-860e329aab41}
Storing v/DiskDescriptor.xml"
    same before.xml $xml
    "$PLOOP" info $xml >/dev/null
done

try "of an image that was not closed; the image is not touched"
printf 'Ynot' | dd of=v/root.hds bs=1 seek=44 conv=notrunc status=none
sum=$(sha256sum v/root.hds)
rm $xml
"$PLOOP" restore-descriptor v v/root.hds >/dev/null
equals "$(sha256sum v/root.hds)" "$sum"
fails 37 "$PLOOP" export $xml out.raw
"$PLOOP" check $xml >/dev/null 2>&1
"$PLOOP" export $xml out.raw

try "of a raw image, with the largest cluster that fits or the one asked for"
rm -rf v && mkdir v
truncate -s 10M v/root.hds
"$PLOOP" restore-descriptor -f raw v v/root.hds >/dev/null
"$PLOOP" info -s $xml | grep -P '^blocksize:\t2048$' >/dev/null
rm $xml
fails 38 "$PLOOP" restore-descriptor -f raw -b 100 v v/root.hds
"$PLOOP" restore-descriptor -f raw -b 64 v v/root.hds >/dev/null
"$PLOOP" info -s $xml | grep -P '^blocksize:\t64$' >/dev/null
rm $xml
truncate -s 1050000 v/root.hds
fails 38 "$PLOOP" restore-descriptor -f raw v v/root.hds

try "deltas that are not described stay, with a warning"
fresh -s 20M -t none
"$PLOOP" snapshot $xml >/dev/null
before=$(sha256sum v/root.hds*)
rm $xml
"$PLOOP" restore-descriptor v v/root.hds >/dev/null 2>warning
grep -F '1 snapshot image is not described' warning >/dev/null
equals "$(sha256sum v/root.hds*)" "$before"

try "an image outside is described, with a warning, and opened only with --root"
mkdir elsewhere
"$PLOOP" restore-descriptor elsewhere v/root.hds 2>warning >/dev/null
grep -F -e --root warning >/dev/null
fails 39 "$PLOOP" info -s elsewhere/DiskDescriptor.xml
grep -F -e --root "$tmp.out" >/dev/null
"$PLOOP" --root "$tmp" info -s elsewhere/DiskDescriptor.xml >/dev/null

try "-s 0M makes again what was there, as it was last"
fresh -s 60M -f preallocated -b 1024
"$PLOOP" resize -s 80M $xml >/dev/null
rm v/root.hds $xml
equals "$("$PLOOP" init -s 0M -t ext4 v/root.hds | sed -n 1p)" \
    "Creating preallocated delta v/root.hds bs=1024 size=163840 sectors v2"
"$PLOOP" info $xml >/dev/null

try "of a raw disk and one of version 1, too, and in a copy of the directory"
fresh -s 30M -f raw -t none
rm v/root.hds $xml
equals "$("$PLOOP" init -s 0 -t ext4 v/root.hds | sed -n 1p)" "Creating raw delta v/root.hds size=61440 sectors"
fresh -s 30M -v 1 -t none
cp -r v w
rm w/root.hds w/DiskDescriptor.xml
equals "$("$PLOOP" init -s 0M w/root.hds | sed -n 1p)" "Creating delta w/root.hds bs=2048 size=61440 sectors v1"

try "but not where there is a disk, or half of one, or nothing is remembered"
sum=$(sha256sum v/root.hds)
fails 38 "$PLOOP" init -s 0M v/root.hds
rm $xml
fails 38 "$PLOOP" init -s 0M v/root.hds
equals "$(sha256sum v/root.hds)" "$sum"
rm v/root.hds
echo junk >$xml.lck
fails 38 "$PLOOP" init -s 0M v/root.hds
rm $xml.lck
fails 38 "$PLOOP" init -s 0M v/root.hds
equals "$(ls -A v)" ""

try "the smallest disks are stated, with any cluster"
for cluster in 64 128 2048 8192; do
    fails 38 "$PLOOP" init -s 64 -b $cluster v/root.hds
    equals "$(ls -A v)" ""
    least=$(grep -oE 'minimum is [0-9]+' "$tmp.out" | tr -dc 0-9)
    fails 38 "$PLOOP" init -s $((least - cluster)) -b $cluster v/root.hds
    "$PLOOP" init -s "$least" -b $cluster v/root.hds >/dev/null
    "$PLOOP" info $xml >/dev/null
    rm -r v && mkdir v
done

try "ext3 has its journal and none of ext4"
fresh -s 50M -t ext3 -n
"$PLOOP" export $xml e3.raw
dumpe2fs -h 'e3.raw?offset=1048576' 2>/dev/null >features || skip "needs dumpe2fs"
grep -E '^Filesystem features:.*has_journal' features >/dev/null
! grep -E '^Filesystem features:.*extent' features || die "ext3 with extents"

try "the filesystem's block size is what -B says"
for bytes in 1024 2048 4096; do
    fresh -s 50M -B $bytes
    "$PLOOP" info --json $xml | grep -F "\"block_size\": $bytes," >/dev/null
done
