#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ploop volumes for libvirt's clients, as ploopd has them: with their size, their files and their limits.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
requires command -v virsh
PLOOPD=$(readlink -f "${PLOOPD:-$_tests/../build/src/daemon/ploopd}")
uri="storage:///system?socket=$tmp/socket"
v() {
    virsh -q -c "$uri" "$@"
}
field() {
    v vol-info "$1" p --bytes | awk -v name="$2:" '$1 == name { print $2 }'
}
# refused TEXT ARGS...: virsh fails and says so.
refused() {
    local text=$1
    shift
    ! v "$@" >out 2>err || die "not refused: $*"
    grep -qF -- "$text" err || die "not '$text': $(cat err)"
}

mkdir state pool
"$PLOOPD" --foreground --socket "$tmp/socket" --state-dir "$tmp/state" 2>ploopd.log &
daemon=$!
for ((i = 0; i < 100; i++)); do
    [ ! -S socket ] || break
    sleep 0.05
done
v pool-create-as p dir --target "$tmp/pool" >/dev/null

try "a volume is made with a filesystem, and its size is told"
v vol-create-as p web 100M --format ploop >/dev/null
equals "$(field web Type) $(field web Capacity)" "ploop 104857600"
[ "$(field web Allocation)" -gt 100000 ] || die "allocation $(field web Allocation)"
equals "$(v vol-dumpxml web p | sed -n "s/.*<format type='\(.*\)'.*/\1/p")" ploop
"$PLOOP" check pool/web/DiskDescriptor.xml >/dev/null

try "its image goes out and into another one"
v vol-download web image p
v vol-create-as p copy 50M --format ploop >/dev/null
v vol-upload copy image p
equals "$(field copy Capacity)" 104857600
"$PLOOP" check pool/copy/DiskDescriptor.xml >/dev/null
same image pool/copy/root.hds

try "what is no image is refused at the end, and the volume is known not to be whole"
head -c 1M /dev/urandom >noise
refused "not a ploop image" vol-upload copy noise p
equals "$(state_of copy)" incomplete
v vol-upload copy image p
equals "$(state_of copy)" good

try "it is cloned, to raw and back too"
v vol-clone web clone p >/dev/null
equals "$(field clone Capacity)" 104857600
v vol-dumpxml web p >web.xml
sed -e 's/<name>.*/<name>as-raw<\/name>/' -e "s/type='ploop'/type='file'/" -e "s/<format type='.*'/<format type='raw'/" \
    -e '/<key>/d' -e '/<path>/d' web.xml >raw.xml
v vol-create-from p raw.xml web --inputpool p >/dev/null
equals "$(stat -c %s pool/as-raw)" 104857600
"$PLOOP" export pool/web/DiskDescriptor.xml web.raw
same web.raw pool/as-raw

try "it grows and shrinks with its filesystem"
v vol-resize web 200M p
equals "$(field web Capacity)" 209715200
refused "shrink" vol-resize web 100M p
v vol-resize web 150M p --shrink
equals "$(field web Capacity)" 157286400
"$PLOOP" check pool/web/DiskDescriptor.xml >/dev/null

try "with snapshots it is neither uploaded nor downloaded, and not made smaller"
ctl snapshot create p/web >guid
refused "snapshots" vol-download web out p
refused "snapshots" vol-upload web image p
refused "snapshots" vol-resize web 100M p --shrink
ctl -q snapshot merge p/web
v vol-download web out p

try "a wiped one is empty and as large"
v vol-wipe web p
equals "$(field web Capacity)" 157286400
"$PLOOP" check pool/web/DiskDescriptor.xml >/dev/null
equals "$(state_of web)" good

try "a deleted one leaves nothing"
for volume in web copy clone as-raw; do
    v vol-delete "$volume" p
done
equals "$(ls -A pool)" ""
v pool-destroy p
kill $daemon
wait $daemon
