#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vol-upload and vol-download move the image file root.hds. They must refuse a volume that has snapshots, or a
# writer, and a volume whose descriptor was not restored must lose nothing but the descriptor.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/contents.sh"
. "${0%/*}/../lib/functions.sh"
requires qemu-nbd --version
libvirt_start

head -c 20M /dev/urandom >treasure
v vol-create-as p t 300M --format ploop
image_with_file "$pool/t" treasure treasure image
disk_bytes "$pool/t" empty.raw
qemu-img convert -f parallels -O raw image full.raw

unchanged() {
    disk_bytes "$pool/t" now.raw
    same now.raw "$1"
    [ -e "$pool/t/DiskDescriptor.xml" ] || die "the descriptor is gone"
}
both_refused() {
    fails 1 v vol-upload t image p
    fails 1 v vol-download t download p
    grep -q "$1" "$tmp.out" || { cat "$tmp.out" >&2; die "the reason is not given"; }
}

try "upload: the uploaded disk, byte for byte"
upload t image
unchanged full.raw
volume_is_clean "$pool/t"

try "download: the image file, byte for byte"
v vol-download t download p
v vol-download t download p
same download "$pool/t/root.hds"

try "upload of what was downloaded from an emptied volume"
v vol-wipe t p >/dev/null
upload t download
unchanged full.raw

try "with snapshots: upload and download are refused, nothing changed"
"$PLOOP" snapshot "$pool/t/DiskDescriptor.xml" >/dev/null
ls "$pool/t" | sort >names
both_refused "snapshots"
unchanged full.raw
ls "$pool/t" | sort | diff names -

try "with snapshots whose files have other names: refused all the same"
"$PLOOP" snapshot "$pool/t/DiskDescriptor.xml" >/dev/null
number=0
for delta in "$pool/t/root.hds."*; do
    number=$((number + 1))
    mv "$delta" "$pool/t/layer$number"
    sed -i "s/${delta##*/}/layer$number/" "$pool/t/DiskDescriptor.xml"
done
both_refused "snapshots"
unchanged full.raw

try "after the snapshots are merged: allowed again"
"$PLOOP" snapshot-merge -A "$pool/t/DiskDescriptor.xml" >/dev/null
v vol-download t download p
v vol-download t download p
qemu-img compare -q -f parallels -F raw download full.raw
upload t image
unchanged full.raw

try "while a program of ours writes the disk: refused, nothing changed"
coproc "${POKE:-${PLOOP%/src/*}/tests/interop/poke}" "$pool/t/DiskDescriptor.xml"
holder=$COPROC_PID
commands=${COPROC[1]}
echo hold >&"$commands"
read -r said <&"${COPROC[0]}"
equals "$said" held
cp --sparse=always "$pool/t/root.hds" held
both_refused "ploop snapshot-list"
same held "$pool/t/root.hds"
exec {commands}>&-
wait "$holder"

try "while QEMU holds the disk: refused, nothing changed"
qemu-nbd --persistent --socket "$tmp/nbd" --format parallels "$pool/t/root.hds" &
writer=$!
for ((i = 0; i < 100; i++)); do [ ! -S nbd ] || break; sleep 0.05; done
qemu-img info "nbd+unix:///?socket=$tmp/nbd" >/dev/null   # answers when the image is open
cp --sparse=always "$pool/t/root.hds" held
both_refused "ploop snapshot-list"
same held "$pool/t/root.hds"
kill "$writer"
wait "$writer" || true

try "when the writer is gone: allowed again"
unchanged full.raw
upload t image
unchanged full.raw

try "restore-descriptor fails: the disk is whole and one command brings it back"
fail_verb restore-descriptor
upload t image
fail_verb
[ ! -e "$pool/t/DiskDescriptor.xml" ] || die "nothing failed"
"$PLOOP" restore-descriptor "$pool/t" "$pool/t/root.hds" >/dev/null
refresh
unchanged full.raw
equals "$(v vol-list p --details | awk '{print $1, $3}')" "t ploop"

try "an upload over deltas nobody refers to: warned of, not touched"
echo left >"$pool/t/root.hds.{11111111-2222-3333-4444-555555555555}"
upload t image
unchanged full.raw
equals "$(cat "$pool/t/root.hds.{11111111-2222-3333-4444-555555555555}")" left

try "an upload of garbage is refused by restore-descriptor; the next upload repairs the volume"
rm "$pool/t/root.hds."*
head -c 2M /dev/urandom >garbage
upload t garbage
[ ! -e "$pool/t/DiskDescriptor.xml" ] || die "a descriptor for garbage"
cp --sparse=always image "$pool/t/root.hds"
"$PLOOP" restore-descriptor "$pool/t" "$pool/t/root.hds" >/dev/null
refresh
unchanged full.raw
