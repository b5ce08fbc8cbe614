#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What goes out comes back the same, holes stay holes, and a file that exists survives a failure.
. "${0%/*}/../lib/functions.sh"

mkdir v w
truncate -s 64M in.raw
head -c 3000000 /dev/urandom | dd of=in.raw bs=1000 seek=7777 conv=notrunc status=none

try "raw goes in and comes out"
"$PLOOP" import in.raw v/root.hds >/dev/null
"$PLOOP" export v/DiskDescriptor.xml out.raw
same in.raw out.raw

try "zeros take no room"
[ "$(du -k v/root.hds | cut -f1)" -lt 8000 ] || die "the image is not sparse"
[ "$(du -k out.raw | cut -f1)" -lt 8000 ] || die "the export is not sparse"

try "a chain comes out as one"
"$PLOOP" snapshot v/DiskDescriptor.xml >/dev/null
"$PLOOP" export --force v/DiskDescriptor.xml out.raw
same in.raw out.raw

try "OUT is kept without --force, and when the export fails"
echo precious >keep
fails 38 "$PLOOP" export v/DiskDescriptor.xml keep
fails 4 "$PLOOP" export --force --to tar v/DiskDescriptor.xml keep
equals "$(cat keep)" precious
equals "$(ls keep*)" keep
ln -s keep link
fails 38 "$PLOOP" export --force v/DiskDescriptor.xml link

try "raw bytes do not become a file called -"
fails 38 "$PLOOP" export v/DiskDescriptor.xml -
fails 38 "$PLOOP" export --to qcow2 v/DiskDescriptor.xml -
[ ! -e ./- ] || die "there is a file called -"

try "an odd length is rounded up to a sector"
head -c 1234567 /dev/urandom >odd
mkdir o
"$PLOOP" import odd o/root.hds >/dev/null
"$PLOOP" export o/DiskDescriptor.xml odd.out
cmp -n 1234567 odd odd.out

try "copy gives the same image"
"$PLOOP" copy -s v/root.hds -d copy.hds >/dev/null
same v/root.hds copy.hds
fails 38 "$PLOOP" copy -s v/root.hds -d copy.hds

try "map knows the images"
"$PLOOP" map v/DiskDescriptor.xml | grep -E '^\.*A' >/dev/null
"$PLOOP" map --svg map.svg v/DiskDescriptor.xml
grep -F '</svg>' map.svg >/dev/null

try "qcow2 goes out and comes back"
command -v qemu-img >/dev/null || skip "needs qemu-img"
"$PLOOP" export --to qcow2 v/DiskDescriptor.xml a:b.qcow2
qemu-img compare -f raw -F qcow2 in.raw file:a:b.qcow2 >/dev/null
"$PLOOP" import a:b.qcow2 w/root.hds >/dev/null
"$PLOOP" export w/DiskDescriptor.xml back.raw
same in.raw back.raw
equals "$(ls ./*.raw.* w/*.raw* 2>/dev/null || true)" ""

try "a qcow2 image that points elsewhere is refused"
qemu-img create -q -f qcow2 -b in.raw -F raw child.qcow2
mkdir x
fails 38 "$PLOOP" import child.qcow2 x/root.hds
equals "$(ls -A x)" ""
