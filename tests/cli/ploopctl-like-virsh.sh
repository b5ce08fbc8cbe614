#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# In virsh's words ploopctl prints what virsh prints: both on the same directory, virsh through a private libvirtd.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
requires command -v qemu-img
libvirt_start

vv() {
    virsh -c storage:///system "$@"
}
# Without the empty line that virsh ends its words with.
trimmed() {
    sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' -e 's/ *$//'
}
# alike ARGS...: both succeed and print the same.
alike() {
    vv "$@" >virsh.out
    ctl "$@" >ctl.out
    diff <(trimmed <virsh.out) <(trimmed <ctl.out) || die "not as virsh: $*"
}
# both_fail ARGS...: both refuse, and virsh's reason is in our sentence's code.
both_fail() {
    ! vv "$@" >/dev/null 2>&1 || die "virsh does not refuse: $*"
    ! ctl "$@" >/dev/null 2>err || die "ploopctl does not refuse: $*"
    equals "$(grep -c '^Error: ' err)" 1
}

v vol-create-as p raw 10M
v vol-create-as p a-longer-name 1G --format qcow2 --allocation 0
v vol-create-as p above 1G --format qcow2 --backing-vol a-longer-name --backing-vol-format qcow2
mkdir "$pool/directory" "$tmp/q"
v pool-refresh p
v pool-define-as q dir --target "$tmp/q"
v pool-dumpxml p >p.xml
v pool-dumpxml q >q.xml
ctl -q pool-create p.xml
ctl -q pool-define q.xml

try "lists of pools"
alike pool-list
alike pool-list --all
alike pool-list --inactive
alike pool-list --all --name
alike pool-list --all --type dir
alike pool-list --transient
alike pool-list --all --persistent
alike -q pool-list --all

try "lists of volumes"
alike vol-list p
alike vol-list --pool p
alike vol-list p --details
alike -q vol-list p

try "one pool"
alike pool-uuid p
alike pool-name "$(v pool-uuid p)"
alike pool-info q
alike pool-dumpxml q
alike pool-dumpxml p --xpath /pool/target
alike pool-dumpxml p --xpath '/pool/*[self::name or self::uuid]' --wrap
diff <(v pool-info p | grep -v 'Allo\|Avail') <(ctl pool-info p | grep -v 'Allo\|Avail' | trimmed)

try "one volume"
for volume in raw a-longer-name above directory; do
    alike vol-info $volume p
    alike vol-info $volume --pool p --bytes
    alike vol-info --vol $volume p --physical
    alike vol-dumpxml $volume p
    alike vol-path $volume p
    alike vol-key $volume p
    alike vol-pool "$pool/$volume"
    alike vol-pool "$pool/$volume" --uuid
    alike vol-name "$pool/$volume"
done

try "definitions made of options"
alike vol-create-as p v 1M --print-xml
alike vol-create-as p v 1MB 512KiB qcow2 --print-xml
alike vol-create-as p v 1M --format qcow2 --backing-vol a-longer-name --backing-vol-format qcow2 --print-xml
alike pool-define-as n netfs --source-host h --source-path /x --target /mnt/n --source-format nfs \
    --source-protocol-ver 4 --print-xml
alike pool-create-as n dir - - - - /mnt/n --print-xml
alike pool-define-as n fs --source-dev /dev/x --source-format ext4 --target /mnt/n --print-xml

try "what changes says the same"
diff <(vv pool-autostart q | trimmed) <(ctl pool-autostart q)
v pool-autostart q --disable
ctl -q pool-autostart q --disable
vv vol-resize raw 20M p >virsh.out
ctl -q vol-resize raw 10M p --shrink
diff <(trimmed <virsh.out) <(ctl vol-resize raw 20M p)
vv vol-create-as p new 1M >virsh.out
v vol-delete new p
diff <(trimmed <virsh.out) <(ctl vol-create-as p new 1M)
refresh
vv vol-clone new copy p >virsh.out
v vol-delete copy p
diff <(trimmed <virsh.out) <(ctl vol-clone new copy p)
refresh
vv vol-wipe new p >virsh.out
diff <(trimmed <virsh.out) <(ctl vol-wipe new p)
vv vol-delete new p >virsh.out
v vol-create-as p new 1M
diff <(trimmed <virsh.out) <(ctl vol-delete new p)
refresh

try "what one makes the other sees"
ctl -q vol-create-as p ours 3M --format qcow2
refresh
alike vol-dumpxml ours p
v vol-create-as p theirs 3M --format qcow2
refresh # until then virsh tells what was asked for
alike vol-dumpxml theirs p
head -c 1M /dev/urandom >bytes
ctl vol-upload ours bytes p
v vol-download ours back p
cmp -n 1048576 back bytes
v vol-upload theirs bytes p
ctl vol-download theirs back2 p
cmp -n 1048576 back2 bytes

try "what one refuses the other does"
both_fail vol-info nosuch p
both_fail vol-info raw
both_fail pool-info nosuch
both_fail pool-start p
both_fail pool-undefine p
both_fail pool-destroy q
both_fail vol-list q
both_fail vol-create-as p raw 1M
both_fail vol-create-as p x 1Q
both_fail vol-create-as p x 1M --format frob
both_fail vol-clone raw above p
both_fail vol-resize raw 1M p
both_fail vol-wipe raw p --algorithm frob
both_fail vol-list p --frob
both_fail pool-define-as x nosuch
both_fail pool-define-as q dir --target "$tmp/p"
both_fail vol-delete nosuch p
