#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Volumes of every format: made, shown, copied, resized, wiped and removed by ploopctl vol.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
requires command -v qemu-img
a_pool

# of VOLUME MEMBER: from its JSON.
of() {
    ctl vol info "p/$1" --json | json "j['$2']"
}

try "volumes are made of options"
prints "Vol raw created" ctl vol create-as p raw 10M --allocation 0
prints "Vol disk created" ctl vol create-as p disk 64M --format ploop
prints "Vol cow created" ctl vol create-as p cow 1G --format qcow2 --allocation 0
prints "Vol above created" ctl vol create-as p above 1G --format qcow2 --backing-vol cow --backing-vol-format qcow2
equals "$(ctl vol list --name p | xargs)" "above cow disk raw"
equals "$(ctl vol list p --json | json '[(v["name"], v["format"], v["capacity"], v["state"]) for v in j]')" \
    "[('above', 'qcow2', 1073741824, 'good'), ('cow', 'qcow2', 1073741824, 'good'), ('disk', 'ploop', 67108864, 'good'), ('raw', 'raw', 10485760, 'good')]"
equals "$(of above backing)" "$tmp/p/cow"
"$PLOOP" check p/disk/DiskDescriptor.xml >/dev/null

try "a list tells format, sizes and status"
equals "$(ctl -q vol list p | grep disk | awk '{ print $2, $3, $4, $7, $8 }')" "ploop 64.00 MiB 0 good"
equals "$(ctl vol list p | head -1 | xargs)" "Name Format Capacity Allocation Snapshots Status"

try "a volume is found by name, as POOL/NAME, by path and by key"
for how in "disk --pool p" "p/disk" "$tmp/p/disk" "disk p" "$tmp/p/disk --pool p"; do
    # shellcheck disable=SC2086 # options apart from the name
    equals "$(ctl vol key $how)" "$tmp/p/disk"
done
equals "$(ctl vol name "$tmp/p/disk") $(ctl vol pool "$tmp/p/disk")" "disk p"
equals "$(ctl vol pool "$tmp/p/disk" --uuid)" "$(ctl pool uuid p)"

try "a volume that is not there is told with the way out"
refuses 3 "POOL/disk" vol info disk
refuses 3 "nosuch" vol info p/nosuch
refuses 3 "nosuch" vol delete p/nosuch
refuses 3 "'q'" vol info q/disk
refuses 3 "/nowhere" vol info /nowhere/disk
a_pool other
refuses 3 "'other'" vol info "$tmp/p/disk" --pool other

try "a name that is taken or impossible is refused and nothing is made"
refuses 4 "disk" vol create-as p disk 1M
refuses 4 "disk" vol clone p/raw disk
fails 4 ctl vol create-as p .ploopkit 1M
for name in a/b . .. $'a\nb'; do
    ! ctl vol create-as p "$name" 1M 2>err || die "'$name' was made"
    equals "$(grep -c '^Error: ' err)" 1
done
refuses 2 "frob" vol create-as p new 1M --format frob
equals "$(ctl vol list --name p | xargs)" "above cow disk raw"

try "XML describes a volume both ways"
ctl vol dumpxml p/disk >disk.xml
equals "$(ctl vol dumpxml p/disk --xpath '/volume/@type' | xargs)" "type=ploop"
sed 's|<name>disk|<name>disk2|; /<key>/d' disk.xml >disk2.xml
prints "Vol disk2 created from disk2.xml" ctl vol create p disk2.xml
equals "$(of disk2 capacity) $(of disk2 type)" "67108864 ploop"
prints "<capacity>1048576</capacity>" ctl vol create-as p x 1M --print-xml
refuses 3 "x" vol info p/x
echo '<volume>' >bad.xml
refuses 2 "" vol create p bad.xml

try "a clone has the same bytes, in each pair of formats"
head -c 3M /dev/urandom >bytes
dd if=bytes of=p/raw conv=notrunc status=none
for from in raw disk cow; do
    for format in raw ploop qcow2; do
        ctl -q vol clone "p/$from" "$from-$format" --format "$format"
        ctl export "p/$from" one.raw --force
        ctl export "p/$from-$format" two.raw --force
        qemu-img compare -q -f raw -F raw one.raw two.raw || die "$from to $format: other bytes"
        equals "$(state_of "$from-$format")" good
        ctl -q vol delete "p/$from-$format"
    done
done
prints "Vol raw cloned from raw" ctl vol clone p/raw raw --to-pool other
same p/raw other/raw
prints "Vol made created from input vol raw" ctl vol create-from other \
    <(echo "<volume><name>made</name><target><format type='raw'/></target></volume>") raw --inputpool p
same p/raw other/made

try "a clone whose blocks cannot be shared says so when they must"
if ! cp --reflink=always bytes reflinked 2>/dev/null; then
    ! ctl vol clone p/raw linked --reflink 2>err || die "the blocks are shared"
    equals "$(grep -c '^Error: ' err)" 1
    refuses 3 linked vol info p/linked
fi

try "volumes become larger, and smaller only on demand"
prints "successfully changed to 20M" ctl vol resize p/raw 20M
equals "$(of raw capacity)" 20971520
prints "successfully changed by 12M" ctl vol resize p/raw 12M --delta
equals "$(of raw capacity)" 33554432
! ctl vol resize p/raw 16M 2>err || die "it became smaller"
grep -q shrink err || die "the way out is not told"
ctl -q vol resize p/raw 16M --shrink
equals "$(of raw capacity)" 16777216
ctl -q vol resize p/disk 128M
equals "$(of disk capacity)" 134217728
ctl -q vol resize p/cow 2G
equals "$(of cow capacity)" 2147483648

try "wiping leaves size and format"
for volume in raw disk cow; do
    ctl -q vol wipe "p/$volume"
    equals "$volume $(state_of $volume)" "$volume good"
done
equals "$(of raw format) $(of raw capacity)" "raw 16777216"
equals "$(of disk format) $(of disk capacity)" "ploop 134217728"
equals "$(of cow format) $(of cow capacity)" "qcow2 2147483648"
cmp -n 16777216 p/raw /dev/zero
refuses 2 "frob" vol wipe p/raw --algorithm frob

try "a map tells where data lies"
dd if=bytes of=p/raw bs=1M seek=2 count=1 conv=notrunc status=none
equals "$(ctl vol map p/raw --json | json 'sum(r["length"] for r in j)')" 16777216

try "a broken volume is listed with its reason and hurts nobody"
printf 'QFI\373\0\0\0\3' >p/bad
mkdir p/half
cp p/disk/DiskDescriptor.xml p/half
ctl -q vol list p >list
grep -q ' bad .*broken: ' list || { cat list; die "no reason"; }
grep -q ' disk .* good' list || die "the others suffer"
equals "$(state_of bad)" broken

try "volumes are deleted"
for volume in raw disk disk2 above cow bad; do
    prints "Vol $volume deleted" ctl vol delete "p/$volume"
done
[ ! -e p/disk ] || die "a directory is left"
refuses 3 raw vol delete p/raw

try "a dir volume is a directory"
ctl -q vol create-as p folder 0 --format dir
[ -d p/folder ] || die "no directory"
equals "$(of folder type)" dir
