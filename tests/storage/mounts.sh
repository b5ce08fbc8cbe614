#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Pools on filesystems that are mounted for them, seen by nobody else: in mount and PID namespaces of the test's own.
if [ -z "${_PRIVATE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
    _namespaces=(--mount --propagation private --pid --fork --kill-child --mount-proc)
    unshare "${_namespaces[@]}" true 2>/dev/null || { echo "skipped: needs mount namespaces"; exit 77; }
    _PRIVATE=1 exec unshare "${_namespaces[@]}" bash "$0" "$@"
fi
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"

# A device of our own in $dev, SIZE big.
a_device() {
    rm -f "$tmp/disk.img"
    truncate -s "$1" "$tmp/disk.img"
    dev=$(losetup --find --show "$tmp/disk.img") || skip "needs loop devices"
    cleanup_fn losetup --detach "$dev"
}

mounted() {
    grep -q " $1 " /proc/self/mountinfo
}

# can FORMAT: make and mount it.
can() {
    command -v "mkfs.$1" >/dev/null && { modprobe "$1" 2>/dev/null || grep -qw "$1" /proc/filesystems; } ||
        { echo "not tried: $1, which this machine cannot make or mount"; return 1; }
}

# works NAME: from built to built.
works() {
    ctl -q pool start "$1"
    mounted "$tmp/$1" || die "not mounted"
    grep " $tmp/$1 " /proc/self/mountinfo | grep -q nosuid,nodev,noexec || die "mounted with other options"
    ctl -q vol create-as "$1" disk 32M --format ploop --empty
    ctl -q vol create-as "$1" raw 1M
    prints "disk" ctl vol list "$1"
    ctl -q pool destroy "$1"
    ! mounted "$tmp/$1" || die "still mounted"
    ctl -q pool start "$1"
    prints "raw" ctl vol list "$1"
    ctl -q pool destroy "$1"
    ctl -q pool undefine "$1"
}

makes() {
    can "$1" || return 0
    try "a pool on $1 is built, mounted, used, unmounted"
    a_device "$2"
    ctl -q pool define-as "$1" fs --source-dev "$dev" --source-format "$1" --target "$tmp/$1"
    refuses 2 "exclude each other" pool build "$1" --overwrite --no-overwrite
    ctl -q pool build "$1" --no-overwrite
    refuses 4 "holds $1" pool build "$1" --no-overwrite
    works "$1"
}

makes ext4 96M
makes xfs 400M

if can btrfs; then
    try "a pool on btrfs, which libvirt has no name for, is mounted as what is found"
    a_device 200M
    mkfs.btrfs -q "$dev" >/dev/null
    ctl -q pool define-as btrfs fs --source-dev "$dev" --target "$tmp/btrfs"
    refuses 1 "which filesystem" pool build btrfs --overwrite
    ctl -q pool build btrfs
    works btrfs
fi

try "what somebody mounted there already is taken for started"
a_device 64M
ctl -q pool define-as m fs --source-dev "$dev" --source-format ext4 --target "$tmp/m"
ctl -q pool build m --overwrite
mount "$dev" "$tmp/m"
ctl -q pool start m
ctl -q pool destroy m
! mounted "$tmp/m" || die "still mounted"

try "a pool that is in use says who uses it, and runs on"
ctl -q pool start m
sleep 300 <"$tmp/m/lost+found" &
refuses 4 "process $! (sleep) uses it" pool destroy m
prints "running" ctl pool info m
ctl -q vol create-as m v 1M
kill $!
wait $! || true
ctl -q pool destroy m

try "what cannot be mounted leaves nothing behind"
head -c 1M /dev/zero | dd of="$dev" conv=notrunc status=none
fails 1 ctl pool start m
[ ! -e "$tmp/state/run/m.xml" ] || die "it is taken for running"
prints "inactive" ctl pool info m

try "mkfs that fails is told, and the pool stays as it is"
ctl -q pool define-as tiny fs --source-dev "$tmp/none" --source-format ext4 --target "$tmp/tiny"
fails 1 ctl pool build tiny --overwrite
prints "inactive" ctl pool info tiny

try "one device is for one pool"
refuses 4 "'m'" pool define-as other fs --source-dev "$dev" --source-format xfs --target "$tmp/other"
