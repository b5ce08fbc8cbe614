#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# `ploopd --libvirt` in the place of libvirt's own daemon, on libvirt's paths, and libvirtd after it again: who runs owns the
# state, and nobody loses a pool, a volume or a letter of a definition. tests/storage/takeover.sh has ploopctl in between.
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
PLOOPD=$(readlink -f "${PLOOPD:-$_tests/../build/src/daemon/ploopd}")
sockets=/run/libvirt/virtstoraged-sock

ploopd_run() {
    local i
    "$PLOOPD" --libvirt --foreground 2>>ploopd.log &
    daemon=$!
    for ((i = 0; i < 200; i++)); do
        ! grep -q ready ploopd.log 2>/dev/null || return 0
        kill -0 $daemon 2>/dev/null || die "ploopd ended: $(cat ploopd.log)"
        sleep 0.05
    done
    die "ploopd is not ready: $(cat ploopd.log)"
}

ploopd_stop() {
    kill $daemon
    wait $daemon || die "ploopd ended with $?: $(cat ploopd.log)"
    rm ploopd.log
}

# Where volumes are made is kept for a moment after the last one; a libvirtd that came now would show it as a directory.
nothing_in_the_making() {
    local i
    for ((i = 0; i < 100; i++)); do
        [ -e late.d/.ploopkit ] || return 0
        sleep 0.1
    done
    die "late.d/.ploopkit is kept"
}

ploopd_kill() {
    kill -9 $daemon
    wait $daemon 2>/dev/null || true
    rm ploopd.log
}

# What the next start of a pool takes. libvirtd puts the permissions it has found in there, but only until it is started anew.
inactive() {
    if [ "$(v pool-info "$1" | sed -n 's/^State: *//p')" = running ]; then
        v pool-dumpxml "$1" --inactive | sed '/<permissions>/,/<\/permissions>/d'
    else
        v pool-dumpxml "$1" --inactive
    fi
}

# What a client sees: of pools their kinds, of each its definition and, while it runs, its volumes. Sizes that change by
# themselves are no part of it.
described() {
    local name kind
    for kind in --all --inactive --persistent --transient --autostart; do
        echo "$kind: $(v pool-list --name $kind | sed '/^$/d' | sort | xargs)"
    done
    for name in $(v pool-list --name --all | sed '/^$/d' | sort); do
        v pool-dumpxml "$name"
        inactive "$name"
        v vol-list "$name" 2>/dev/null | sed '/^ *$/d; s/ *$//' || echo "$name does not run"
    done | sed -E 's/<(capacity|allocation|available) .*/<\1>/'
}

# Bytes of every file of the state that both daemons read, and where the links lead.
files() {
    (cd /etc/libvirt/storage && find . -name '*.xml' -type f -exec sha256sum {} + | sort -k2
        find . -type l -printf '%p -> %l\n' | sort)
}

# Defined, without its directory: both daemons take a pool for running whose directory they find when they start.
pool_of() {
    v pool-define-as "$1" dir --target "$tmp/$1.d" >/dev/null
}

running_pool_of() {
    pool_of "$1"
    mkdir "$1.d"
    v pool-start "$1" >/dev/null
}

try "beside libvirtd it refuses to start, and names the process"
libvirt_start
pool_of idle
pool_of gone
for name in run auto; do
    running_pool_of $name
    v vol-create-as $name raw 1M >/dev/null
done
v vol-create-as run cow 2M --format qcow2 >/dev/null
v pool-autostart auto >/dev/null
v pool-autostart gone >/dev/null
cat >odd.xml <<END
<pool type='netfs'><name>odd&amp;even</name><source><host name='nowhere.invalid'/><dir path='/x &lt;y&gt;'/><format type='nfs'/></source>
<target><path>$tmp/odd.d</path><permissions><mode>0750</mode><owner>7</owner><group>8</group></permissions></target></pool>
END
v pool-define odd.xml >/dev/null
fails 1 "$PLOOPD" --libvirt --foreground
grep -qE "pid $(cat /run/libvirtd.pid)$" "$tmp.out" || die "it does not name libvirtd: $(cat "$tmp.out")"
equals "$(wc -l <"$tmp.out")" 1
[ ! -e $sockets ] || die "it left a socket"
equals "$(v pool-list --name | sed '/^$/d' | sort | xargs)" "auto p run"

try "when libvirtd has ended it has all of its pools and volumes, and virsh finds it by itself"
described >theirs
files >files.theirs
libvirt_stop
ploopd_run
for socket in $sockets $sockets-ro; do
    [ -S $socket ] || die "no $socket"
done
equals "$(ls -A /run/libvirt | grep sock | xargs)" "virtstoraged-sock virtstoraged-sock-ro"
described >ours
diff theirs ours
files >files.ours
diff files.theirs files.ours
equals "$(v uri)" storage:///system
prints raw virsh -r -c storage:///system vol-list run
fails 1 virsh -r -c storage:///system pool-destroy run
prints auto virsh -c 'storage:///system?mode=direct' pool-list --autostart

try "libvirtd does not start beside it, and disturbs nothing"
>libvirtd.log
rc=0
env -i PATH="$PATH" LIBVIRT_DRIVER_DIR="$tmp/drivers" timeout 20 libvirtd --pid-file /run/libvirtd.pid \
    --config /etc/libvirt/libvirtd.conf >libvirtd.out 2>&1 || rc=$?
[ $rc != 124 ] || die "libvirtd runs beside it: $(cat libvirtd.out libvirtd.log)"
grep -q "Failed to acquire pid file '/run/libvirt/storage/driver.pid'" libvirtd.log ||
    die "libvirtd did not end for the lock: $(cat libvirtd.out libvirtd.log)"
equals "$(cat /run/libvirt/storage/driver.pid)" $daemon
fails 1 "$PLOOPD" --libvirt --foreground
grep -qE "pid $daemon$" "$tmp.out" || die "it does not name the first: $(cat "$tmp.out")"
rm -f /run/libvirtd.pid /run/libvirt/libvirt-*sock*
described >ours
diff theirs ours

try "what is made, changed and deleted under it is there when libvirtd runs again"
running_pool_of new
v pool-autostart new >/dev/null
pool_of still
v pool-autostart --disable auto >/dev/null
v pool-undefine gone >/dev/null
v pool-destroy p >/dev/null
mkdir brief.d
v pool-create-as brief dir --target "$tmp/brief.d" >/dev/null
mkdir idle.d
v pool-start idle >/dev/null
sed "s|</target>|<permissions><mode>0711</mode><owner>5</owner><group>6</group></permissions></target>|; s|</name>|</name><uuid>$(v pool-uuid still)</uuid>|" \
    >still.xml <<END
<pool type='dir'><name>still</name><target><path>$tmp/still.d</path></target></pool>
END
v pool-define still.xml >/dev/null
v vol-create-as new made 3M --format raw >/dev/null
v vol-create-as run ploop 16M --format ploop >/dev/null
v vol-resize raw 2M run
v vol-delete cow run >/dev/null
described >ours
files >files.ours
ploopd_stop
[ ! -e $sockets ] && [ ! -e $sockets-ro ] || die "its sockets are left, and clients would ask them"
[ ! -e /run/libvirt/storage/driver.pid ] || die "driver.pid is left"
libvirt_run
described >theirs
diff ours theirs
files >files.theirs
diff files.ours files.theirs
equals "$(v pool-list --name --all | sed '/^$/d' | sort | xargs)" "auto brief idle new odd&even run still"
equals "$(v pool-list --name --transient | sed '/^$/d' | xargs)" brief
equals "$(v pool-list --name --autostart --all | sed '/^$/d' | xargs)" new
equals "$(v vol-info raw run --bytes | sed -n 's/^Capacity: *//p')" "2097152 bytes"

try "killed in the middle of its life it loses nothing, to itself and to libvirtd"
libvirt_stop
ploopd_run
running_pool_of late
v vol-create-as late kept 1M >/dev/null
v pool-autostart late >/dev/null
v pool-destroy brief >/dev/null
nothing_in_the_making
described >before
files >files.before
ploopd_kill
ploopd_run # on the sockets that the dead one left
described >after
diff before after
v pool-autostart run >/dev/null
nothing_in_the_making
described >before
files >files.before
ploopd_kill
rm $sockets $sockets-ro # clients would ask the dead one: nobody but its like removes them
libvirt_run
described >after
diff before after
files >files.after
diff files.before files.after

try "it goes on from a libvirtd that was killed"
v pool-create-as brief dir --target "$tmp/brief.d" >/dev/null
described >before
kill -9 "$(cat /run/libvirtd.pid)"
rm -f /run/libvirtd.pid /run/libvirt/libvirt-*sock*
ploopd_run
described >after
diff before after
ploopd_stop

try "there and back five times, each definition is the same to the letter"
ploopd_run
described >before
files >files.before
ploopd_stop
for _ in 1 2 3 4 5; do
    libvirt_run
    described >after
    diff before after
    libvirt_stop
    ploopd_run
    described >after
    diff before after
    ploopd_stop
done
files >files.after
diff files.before files.after
