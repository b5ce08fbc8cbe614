#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Three servers for wire.py: PLOOP=... PLOOPD=... STUB=... CLIENTS=... wire.sh LARGE MANY VOLUMES BYTES. The pools "large" and
# "many" stand on those directories, in a private libvirtd, in ploopd and, in a way, in the stub. It says "ready"; then each line
# of standard input is "libvirtd", "ploopd" or "stub" and a command of virsh's, each line of output its seconds, as virsh
# times them (without its own start). After the word "raw" stand the arguments of bench/clients.c instead; its numbers are the answer.
. "${0%/*}/../tests/lib/libvirt.sh"
. "${0%/*}/../tests/lib/functions.sh"
libvirt_start
cd "$tmp"
mkdir state
"$PLOOPD" --foreground --socket "$tmp/ploopd" --state-dir "$tmp/state" 2>ploopd.log &
"$STUB" "$tmp/stub" "$3" "$4" &
for ((i = 0; i < 100; i++)); do
    { [ ! -S ploopd ] || [ ! -S stub ]; } || break
    sleep 0.05
done
declare -A uri=([libvirtd]=storage:///system [ploopd]="storage:///system?socket=$tmp/ploopd"
                [stub]="storage:///system?socket=$tmp/stub")
declare -A socket=([libvirtd]=/run/libvirt/libvirt-sock [ploopd]=$tmp/ploopd [stub]=$tmp/stub)
for server in libvirtd ploopd; do
    virsh -q -c "${uri[$server]}" pool-create-as large dir --target "$1" >/dev/null
    virsh -q -c "${uri[$server]}" pool-create-as many dir --target "$2" >/dev/null
done

echo ready
while read -r server words; do
    # shellcheck disable=SC2086 # words
    case $words in raw\ *)
        "$CLIENTS" "${socket[$server]}" ${words#raw } 2>&1 </dev/null
        continue
        ;;
    esac
    # shellcheck disable=SC2086 # words
    virsh -t -c "${uri[$server]}" $words </dev/null 2>&1 >out | cat >err
    seconds=$(sed -nE 's/.*\(Time: ([0-9.]+) ms\).*/\1/p' out err | tail -1)
    awk -v ms="${seconds:-nan}" 'BEGIN { print ms / 1000 }'
done
