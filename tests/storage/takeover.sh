#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A state directory goes from libvirtd to ploopctl and ploopd, and back: nobody loses a pool.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
PLOOPD=$(readlink -f "${PLOOPD:-$_tests/../build/src/daemon/ploopd}")

# ploopctl on the system's directories, which are this test's own here.
sys() {
    "$PLOOPCTL" "$@"
}

# names of pools, sorted: those of libvirt, those of ours
theirs() {
    v pool-list --name "$@" | sed '/^$/d' | sort | xargs
}
ours() {
    sys pool list --name "$@" | sed '/^$/d' | sort | xargs
}

try "beside libvirtd one may look"
libvirt_start
for dir in run idle auto; do
    mkdir "$dir.d"
    v pool-define-as "$dir" dir --target "$tmp/$dir.d" >/dev/null
done
v pool-define-as none dir --target "$tmp/none.d" >/dev/null
v pool-start run >/dev/null
v pool-autostart auto >/dev/null
v vol-create-as run raw 1M >/dev/null
equals "$(ours --all)" "$(theirs --all)"
prints "raw" sys vol list run
fails 4 sys pool start idle
grep -q "$(cat /run/libvirtd.pid)" "$tmp.out" || die "it does not name the owner"
fails 4 sys pool define-as new dir --target "$tmp/new.d"

try "ploopctl goes on where libvirtd stopped"
libvirt_stop
equals "$(ours --all)" "auto idle none p run"
equals "$(ours --inactive)" "auto idle none"
sys -q vol create-as run more 1M
sys -q pool destroy p
sys -q pool undefine none
sys -q pool autostart run
sys -q pool define-as new dir --target "$tmp/new.d"
sys -q pool create-as brief dir --target "$tmp/idle.d/x" --build
sys pool dumpxml run --inactive >inactive.xml

try "ploopd goes on where ploopctl stopped, and finds up what is there"
"$PLOOPD" --libvirt --foreground --socket "$tmp/socket" 2>ploopd.log &
daemon=$!
for ((i = 0; i < 100; i++)); do
    [ ! -S socket ] || break
    sleep 0.05
done
d() {
    virsh -q -c "storage:///system?socket=$tmp/socket" "$@"
}
equals "$(d pool-list --name --all | sed '/^$/d' | sort | xargs)" "auto brief idle new run"
equals "$(d pool-list --name | sed '/^$/d' | sort | xargs)" "auto brief idle run"
d pool-define-as late dir --target "$tmp/late.d" >/dev/null
d pool-destroy idle >/dev/null
sys -q pool autostart late # as its client
equals "$(d pool-list --name --all --autostart | sed '/^$/d' | sort | xargs)" "auto late run"
kill $daemon
wait $daemon || true
equals "$(ours --inactive)" "idle late new"

try "libvirtd goes on where they stopped"
libvirt_run
equals "$(theirs --all)" "auto brief idle late new run"
equals "$(theirs --autostart --all)" "auto late run"
equals "$(theirs --transient)" "brief"
v vol-list run | grep -q more || die "the volume is not there"
v pool-dumpxml run --inactive >theirs.xml
diff <(grep -v '<\(capacity\|allocation\|available\|mode\|owner\|group\|/\?permissions\)' inactive.xml) \
    <(grep -v '<\(capacity\|allocation\|available\|mode\|owner\|group\|/\?permissions\)' theirs.xml)

try "files that were rewritten are the same to the byte"
cp -r /etc/libvirt/storage before
libvirt_stop
for name in auto idle new run; do
    sys pool dumpxml "$name" --inactive >"$name.xml"
    cp "/etc/libvirt/storage/$name.xml" was.xml
    sed '/<permissions>/,/<\/permissions>/d' "$name.xml" | sys -q pool define -
    same was.xml "/etc/libvirt/storage/$name.xml"
done
