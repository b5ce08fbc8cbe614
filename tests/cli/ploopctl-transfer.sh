#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Bytes into volumes and out of them: upload, download, export, import.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
requires command -v qemu-img
a_pool
head -c 5000000 /dev/urandom >bytes
truncate -s 8M bytes
truncate -s 12M big
dd if=bytes of=big bs=1M seek=1 conv=notrunc status=none

try "what is uploaded is downloaded"
ctl -q vol create-as p raw 8M --allocation 0
ctl vol upload raw bytes p
same p/raw bytes
ctl vol download raw out p
same out bytes

try "through pipes too"
ctl -q vol create-as p pipe 8M --allocation 0
ctl vol upload p/pipe - < <(cat bytes)
ctl vol download p/pipe - | cmp - bytes

try "offset and length are kept"
ctl vol download p/raw part --offset 4096 --length 1000
cmp part <(tail -c +4097 bytes | head -c 1000)
printf 'written here' >small
ctl vol upload p/raw small --offset 100
cmp <(head -c 100 bytes; cat small) <(head -c 112 p/raw)
cmp -i 112 bytes p/raw
printf 'longer than this' >longer
ctl vol upload p/raw longer --offset 200 --length 6
cmp <(tail -c +201 p/raw | head -c 7) <(printf longer; tail -c +207 bytes | head -c 1)

try "holes stay holes, and read as zeros where there were bytes"
ctl vol upload p/raw bytes
truncate -s 8M holes
printf x | dd of=holes bs=1 seek=6000000 conv=notrunc status=none
ctl vol upload p/raw holes --sparse
same p/raw holes
[ "$(stat -c %b p/raw)" -lt 2000 ] || die "the holes have blocks"
ctl vol download p/raw sparse --sparse
same sparse holes
[ "$(stat -c %b sparse)" -lt 2000 ] || die "the holes have blocks"

try "a download replaces a file when it is whole"
echo old >target
refuses 3 nosuch vol download p/nosuch target
equals "$(cat target)" old
ctl vol download p/raw target
same target p/raw
refuses 1 "nowhere" vol download p/raw nowhere/target
mkfifo fifo
cat fifo >from-fifo &
ctl vol download p/raw fifo
wait $!
same from-fifo p/raw

try "a ploop volume takes its base image, and a disk on request"
ctl -q vol create-as p disk 12M --format ploop --empty
ctl vol download p/disk image
same image p/disk/root.hds
ctl -q vol create-as p copy 12M --format ploop --empty
ctl vol upload p/copy image
equals "$(state_of copy)" good
ctl vol upload p/disk big --disk
ctl vol download p/disk flat --disk
cmp -n "$(stat -c %s big)" flat big

try "it takes neither while it has snapshots, its base image does not leave"
ctl -q snapshot create p/disk >guid
refuses 4 "snapshot" vol upload p/disk image
refuses 4 "snapshot" vol download p/disk out2
ctl vol download p/disk flat2 --disk
same flat flat2

try "an upload that does not end is told by everybody until it is mended"
(cat bytes; sleep 20) | ctl vol upload p/pipe - 2>err &
for ((i = 0; i < 100; i++)); do
    [ "$(state_of pipe)" = good ] || break
    sleep 0.05
done
job=$(ctl job list --json | json '[x["id"] for x in j][0]')
ctl -q job cancel "$job"
rc=0
wait $! || rc=$?
equals "$(state_of pipe)" incomplete
refuses 4 "pipe" vol download p/pipe out3
refuses 4 "pipe" vol clone p/pipe cloned
ctl -q vol list p | grep ' pipe .*incomplete: ' >/dev/null || die "the list does not tell"
ctl -q vol accept p/pipe
equals "$(state_of pipe)" good

try "a volume is exported in each format"
ctl export p/disk disk.raw
cmp -n "$(stat -c %s big)" disk.raw big
ctl export p/disk disk.qcow2 --format qcow2
qemu-img compare -q -f qcow2 -F raw disk.qcow2 disk.raw
ctl export p/disk - | cmp - disk.raw
ctl export p/raw raw.vmdk --format vmdk
qemu-img compare -q -f vmdk -F raw raw.vmdk p/raw
dd if=/dev/urandom of=noise bs=1M count=12 status=none
ctl vol upload p/disk noise --disk # a snapshot keeps what was there
ctl export p/disk at-snapshot.raw --snapshot "$(cat guid)"
same at-snapshot.raw disk.raw
ctl -q vol upload p/disk disk.raw --disk

try "an export does not replace a file unless forced"
refuses 4 "disk.raw" export p/disk disk.raw
ctl export p/disk disk.raw --force
refuses 2 "frob" export p/disk x --format frob
refuses 3 "" export p/disk x --snapshot 11111111-1111-1111-1111-111111111111
refuses 3 "raw" export p/raw x --snapshot 11111111-1111-1111-1111-111111111111
refuses 4 "ploop" export p/raw x.tar --format tar
[ ! -e x ] || die "a file is left"

try "the files inside a ploop volume go to a tar archive"
mkdir tree
echo hello >tree/file
mkdir filled
"$PLOOP" init -s 32M --populate tree filled/root.hds >/dev/null
mv filled p/filled
ctl -q pool refresh p
ctl export p/filled - --format tar | tar -xO file >file
equals "$(cat file)" hello

try "a file becomes a volume of each format"
for format in ploop raw qcow2; do
    ctl -q import p "from-raw-$format" disk.raw --format "$format"
    ctl -q import p "from-qcow2-$format" disk.qcow2 --format "$format"
    for volume in "from-raw-$format" "from-qcow2-$format"; do
        equals "$(ctl vol info "p/$volume" --json | json '(j["format"], j["state"])')" "('$format', 'good')"
        ctl export "p/$volume" back.raw --force
        qemu-img compare -q -f raw -F raw back.raw disk.raw
    done
done
ctl -q import p piped - --capacity 12M --format raw <big
same p/piped big

try "a file's format is never guessed from its bytes"
cp disk.qcow2 really-qcow2
ctl -q import p opaque really-qcow2 --format raw
cmp -n "$(stat -c %s really-qcow2)" p/opaque really-qcow2
ctl -q import p opened really-qcow2 --format raw --from qcow2
cmp -n "$(stat -c %s big)" p/opened big

try "an import that fails leaves no volume"
refuses 3 "absent" import p failed absent
refuses 2 "capacity" import p failed - < <(cat big)
qemu-img create -q -f qcow2 -b disk.raw -F raw over.qcow2
! ctl import p failed over.qcow2 2>err || die "a file that names another was opened"
refuses 3 failed vol info p/failed
refuses 4 raw import p raw big
same p/raw holes
