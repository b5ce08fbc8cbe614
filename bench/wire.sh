#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Three servers for wire.py: PLOOP=... PLOOPD=... PLOOPCTL=... STUB=... CLIENTS=... wire.sh DIRECTORY VOLUMES BYTES. The pools
# "large", "many", "some", "crowded" and "memory" stand on directories there, the last one a tmpfs, in a private libvirtd, in
# ploopd and, in a way, in the stub. It says "ready"; then each line of standard input is "libvirtd", "ploopd" or "stub" and a
# command of virsh's, each line of output its seconds, as virsh times them (without its own start). After the word
#
#     raw ARGUMENTS        those of bench/clients.c; its numbers are the answer
#     crowd N ARGUMENTS    N times virsh at the same moment; seconds until all have ended
#     ctl ARGUMENTS        ploopctl, on ploopd's state; its seconds
. "${0%/*}/../tests/lib/libvirt.sh"
. "${0%/*}/../tests/lib/functions.sh"
libvirt_start
cd "$tmp"
"$PLOOPD" --foreground --socket "$tmp/ploopd" --state-dir /run/ploopd 2>ploopd.log &
"$STUB" "$tmp/stub" "$2" "$3" &
for ((i = 0; i < 100; i++)); do
    { [ ! -S ploopd ] || [ ! -S stub ]; } || break
    sleep 0.05
done
declare -A uri=([libvirtd]=storage:///system [ploopd]="storage:///system?socket=$tmp/ploopd"
                [stub]="storage:///system?socket=$tmp/stub")
declare -A socket=([libvirtd]=/run/libvirt/libvirt-sock [ploopd]=$tmp/ploopd [stub]=$tmp/stub)
mount -t tmpfs -o size=12g none "$1/memory"
for volume in target:"$3" dense:0 sparse:0; do
    truncate -s "${volume#*:}" "$1/memory/${volume%:*}"
done
for server in libvirtd ploopd; do
    for pool in large many some crowded memory; do
        virsh -q -c "${uri[$server]}" pool-create-as "$pool" dir --target "$1/$pool" >/dev/null
    done
done

seconds_of() {
    local begin=$EPOCHREALTIME
    "$@"
    echo "$begin $EPOCHREALTIME" | awk '{ print $2 - $1 }'
}

# crowd URI N WORDS...
crowd() {
    local uri=$1 n=$2 clients=()
    shift 2
    for ((i = 0; i < n; i++)); do
        virsh -c "$uri" "$@" >/dev/null </dev/null &
        clients+=($!)
    done
    wait "${clients[@]}"
}

ctl() {
    "$PLOOPCTL" --state-dir /run/ploopd "$@" >/dev/null
}

echo ready
while read -r server words; do
    # shellcheck disable=SC2086 # words
    case $words in raw\ *)
        "$CLIENTS" "${socket[$server]}" ${words#raw } 2>&1 </dev/null
        continue
        ;;
    crowd\ *)
        seconds_of crowd "${uri[$server]}" ${words#crowd }
        continue
        ;;
    ctl\ *)
        seconds_of ctl ${words#ctl }
        continue
        ;;
    esac
    # shellcheck disable=SC2086 # words
    virsh -t -c "${uri[$server]}" $words </dev/null 2>&1 >out | cat >err
    seconds=$(sed -nE 's/.*\(Time: ([0-9.]+) ms\).*/\1/p' out err | tail -1)
    awk -v ms="${seconds:-nan}" 'BEGIN { print ms / 1000 }'
done
