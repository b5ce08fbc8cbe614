#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirtd wipes a ploop volume by deleting its files and calling `ploop init` with the capacity it remembers,
# which is 0 unless the pool was refreshed last. In each of these orders the volume must come back at its
# size, usable and empty.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/contents.sh"
. "${0%/*}/../lib/functions.sh"
libvirt_start

secret="the bytes that a wipe must remove"
yes "$secret" | head -c 1M >secret || true

# A volume of size $2 named $1 that holds the secret; libvirtd has seen none of the changes.
volume_with_secret() {
    v vol-create-as p "$1" "$2" --format ploop
    image_with_file "$pool/$1" secret secret image
    cp --sparse=always image "$pool/$1/root.hds"
    rm image
    has_old_text "$pool/$1" "$secret" || die "the secret is not there to begin with"
}

wiped() {
    local name=$1 sectors=$2
    v vol-wipe "$name" p >/dev/null
    equals "$(device_sectors "$pool/$name")" "$sectors"
    volume_is_clean "$pool/$name"
    ! has_old_text "$pool/$name" "$secret" || die "the old bytes are still there"
}

for size in 64M 1G; do
    sectors=$(($(numfmt --from=iec "$size") / 512))
    try "wipe $size after create"
    volume_with_secret "a$size" "$size"
    wiped "a$size" "$sectors"

    try "wipe $size after vol-info: capacity 0"
    volume_with_secret "b$size" "$size"
    v vol-info "b$size" p >/dev/null
    wiped "b$size" "$sectors"
    grep -qx "init -s 0M -t ext4 $pool/b$size/root.hds" "$calls" || die "libvirtd did not ask for 0M"

    try "wipe $size after pool-refresh"
    volume_with_secret "c$size" "$size"
    v pool-refresh p >/dev/null
    wiped "c$size" "$sectors"

    try "wipe $size again, after the wipe"
    wiped "c$size" "$sectors"
done

try "wipe after a resize: the new size stays"
v vol-create-as p r 64M --format ploop
v vol-resize r 128M p >/dev/null
v vol-info r p >/dev/null
wiped r 262144
