#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The second half of demo.sh: stock libvirtd, unseen by the rest of the machine, works on ploop volumes with
# our `ploop`.
. "${0%/*}/../tests/lib/libvirt.sh"
. "${0%/*}/../tests/interop/contents.sh"
. "${0%/*}/../tests/lib/functions.sh"
libvirt_start

try "vol-create-as: 1 GiB with a clean ext4"
v vol-create-as p web 1G --format ploop
volume_is_clean "$pool/web"

try "vol-upload: an image with a file in it; the file is there"
head -c 8M /dev/urandom >file
image_with_file "$pool/web" file file image
upload web image
take_file "$pool/web" taken file
same file taken

try "vol-download: the same image comes back"
v vol-download web back p
qemu-img compare -q -f parallels -F parallels back image

try "vol-clone, and the clone holds the file too"
v vol-clone web copy p >/dev/null
take_file "$pool/copy" taken file
same file taken

try "vol-resize: 2 GiB, and the file is still there"
v vol-resize copy 2G p >/dev/null
volume_is_clean "$pool/copy"
take_file "$pool/copy" taken file
same file taken

try "vol-wipe: an empty, clean volume of the same size"
v vol-wipe copy p >/dev/null
volume_is_clean "$pool/copy"
equals "$(device_sectors "$pool/copy")" 4194304

try "pool-refresh: libvirt sees $(ls "$pool" | wc -l) ploop volumes"
refresh
equals "$(v vol-list p --details | grep -c ' ploop ')" 2

try "vol-delete: nothing is left"
v vol-delete web p
v vol-delete copy p
equals "$(ls "$pool")" ""
