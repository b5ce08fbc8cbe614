#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A directory of images in all formats, as libvirtd lists and describes it, and as we do: the same volumes, the same XML.
# Not among them is a bare ploop image: libvirt calls the file a volume of type ploop, which it is not.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
requires qemu-img --version
libvirt_start
cd "$pool"

for format in raw qcow qcow2 qed vmdk vpc vdi vhdx; do
    qemu-img create -q -f $format image.$format 10M
done
qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 10M
qemu-img create -q -f qcow2 -o compat=1.1,lazy_refcounts=on,extended_l2=on,cluster_size=2M new.qcow2 10M
qemu-img create -q -f qcow2 -o cluster_size=512 small.qcow2 10M
qemu-img create -q -f qcow2 -b image.qcow2 -F qcow2 relative.qcow2 20M
qemu-img create -q -f qcow2 -b "$pool/image.raw" -F raw absolute.qcow2 20M
qemu-img create -q -u -f qcow2 -b /nowhere/base -F raw lost.qcow2 20M
qemu-img create -q -f qed -b image.raw -F raw overlay.qed 20M
qemu-img create -q -f vmdk -b image.vmdk -F vmdk overlay.vmdk 10M
# No encrypted ones: this libvirtd has no driver for secrets, and fails where it would look for theirs.
printf 'CD001' | dd of=image.iso bs=1 seek=32769 status=none
truncate -s 1000001 sparse
truncate -s 0 empty
printf 'OOOM\0\0\0\2' | dd of=cow status=none
truncate -s 4096 cow
mkdir -m 711 directory
chmod 640 image.raw
mkfifo fifo
ln -s nowhere nowhere-link
sleep 0.05
mkdir "$tmp/ours" "$tmp/theirs"
refresh

v vol-list p | awk 'NF { print $1 }' | sort >"$tmp/theirs.list"
while read -r name; do
    v vol-dumpxml "$name" p >"$tmp/theirs/$name"
done <"$tmp/theirs.list"
"$DESCRIBE" "$pool" "$tmp/ours"
ls "$tmp/ours" | sort >"$tmp/ours.list"
diff "$tmp/theirs.list" "$tmp/ours.list" || die "not the same volumes"

while read -r name; do
    # Looking reads, and reading may move the time of the last access.
    diff <(sed '/<atime>/d' "$tmp/theirs/$name") <(sed '/<atime>/d' "$tmp/ours/$name") >"$tmp/diff" && continue
    echo "$name:"
    cat "$tmp/diff"
    touch "$tmp/differs"
done <"$tmp/ours.list"
[ ! -e "$tmp/differs" ] || die "described otherwise than libvirt does"
echo "ok $(wc -l <"$tmp/ours.list") volumes"
