#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# demo.sh BUILD: the life of a volume, told while it happens. Everything is made below BUILD/demo and may be
# looked at afterwards. Each comparison is a real one: the first that fails ends the tale.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
export PLOOP=$build/src/cli/ploop/ploop
work=$build/demo
volume=$work/volume
xml=$volume/DiskDescriptor.xml
. "$here/tests/interop/contents.sh"
tmp=$work

told() {
    printf '  %-58s %s\n' "$1" "$2"
}
size_of() {
    du -sh "$1" | cut -f1
}
fails() {   # contents.sh asks for commands that must end with a given code
    local wanted=$1 got=0
    shift
    "$@" >"$work/output" 2>&1 || got=$?
    [ "$got" = "$wanted" ] || { cat "$work/output" >&2; echo "exit $got: $*" >&2; exit 1; }
}
trap 'rc=$?; [ $rc = 0 ] || echo "The tale ended early (exit $rc); what there is: $work" >&2' EXIT

export PLOOPD=$build/src/daemon/ploopd
[ ! -d "$work" ] || (cd "$work" && bash "$here/tools/demo-daemon.sh" stop >/dev/null)
rm -rf "$work"
mkdir -p "$work/tree" "$volume"
cd "$work"

echo "A volume from a directory tree"
cp -a "$here/src" "$here/include" "$here/docs" "$here/README.md" tree
ln -s README.md tree/link
truncate -s 5M tree/holes
"$PLOOP" init -s 64M --populate tree "$volume/root.hds" >/dev/null
told "$(find tree -type f | wc -l) files, $(size_of tree), into a disk of 64 MiB" \
    "$(size_of "$volume") on the host"

echo "A snapshot, then changes"
"$PLOOP" snapshot "$xml" >/dev/null
disk_bytes "$volume" before.raw
cp before.raw after.raw
head -c 3M /dev/urandom >tree/new
debugfs -w -R "write tree/new /new" "$(first_partition after.raw)" >/dev/null 2>&1
debugfs -w -R "rm /README.md" "$(first_partition after.raw)" >/dev/null 2>&1
rm tree/README.md
echo "become $work/after.raw" | "$build/tests/interop/poke" "$xml"
told "a file written, a file removed" "$(ls "$volume" | grep -c '^root') images in the chain"

echo "Grown"
"$PLOOP" resize -s 256M "$xml" >/dev/null
told "disk and file system, 64 MiB to 256 MiB" "$(size_of "$volume") on the host"
"$PLOOP" map "$xml" | sed "s/^/  /"
"$PLOOP" map --svg map.svg "$xml" >/dev/null

echo "Merged"
"$PLOOP" snapshot-merge -A "$xml" >/dev/null
told "one image again" "$(ls "$volume" | grep -c '^root') image, $(size_of "$volume") on the host"

echo "Checked"
volume_is_clean "$volume"
told "ploop check and e2fsck -f" "clean"

echo "Exported and compared"
"$PLOOP" export --to tar "$xml" volume.tar >/dev/null
mkdir out
tar -xf volume.tar -C out
rm -rf out/lost+found
diff -r --no-dereference tree out
told "every file of the tree, through a tar" "the same"
"$PLOOP" export --to qcow2 "$xml" volume.qcow2 >/dev/null
disk_bytes "$volume" volume.raw
qemu-img compare -q volume.qcow2 volume.raw
told "raw against qcow2, by qemu-img" "the same"
rm -f before.raw after.raw output

export PLOOPCTL=$build/src/cli/ploopctl/ploopctl
if [ -x "$PLOOPCTL" ]; then
    echo "A pool of volumes, without a daemon"
    bash "$here/tools/demo-pool.sh"
fi

if command -v libvirtd >/dev/null && command -v virsh >/dev/null; then
    echo "Ploop volumes through a private libvirtd and virsh"
    rc=0
    bash "$here/tools/demo-libvirt.sh" | sed 's/^ok /  /; s/^skipped: /  left out: /' || rc=$?
    [ $rc = 0 ] || [ $rc = 77 ] || exit $rc   # 77: not here, for the reason told
else
    echo "libvirtd is not installed; its part of the tale is left out"
fi

echo "The same pool, served by ploopd"
bash "$here/tools/demo-daemon.sh"

echo
echo "Volume:  $volume"
echo "Pool:    $work/disks"
echo "Picture: $work/map.svg"
[ ! -s ploopd.pid ] || echo "ploopd:  virsh -c 'storage:///system?socket=$work/socket'    (make run-stop ends it)"
