#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The part of demo.sh about pools: volumes of three formats made, copied, filled, read back, snapshot and listed by
# ploopctl, with a state of its own and no daemon. Runs in the directory of the tale; $PLOOPCTL is the program.
set -euo pipefail
export LC_ALL=C

told() {
    printf '  %-58s %s\n' "$1" "$2"
}
ctl() {
    "$PLOOPCTL" --state-dir "$PWD/state" -q "$@"
}
seconds() {
    local before=$EPOCHREALTIME
    "$@"
    awk -v a="$before" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f s", b - a }'
}

ctl pool define-as disks dir --target "$PWD/disks"
ctl pool build disks
ctl pool start disks
told "a directory pool, defined, built and started" "$(ctl pool list --name)"

took=$(seconds ctl vol create-as disks web 100G --format ploop)
told "a ploop volume of 100 GiB with ext4" "$took, $(du -sh disks/web | cut -f1) on the host"
ctl vol create-as disks data 64M --allocation 0
ctl vol create-as disks cow 1G --format qcow2 --allocation 0
told "a raw and a qcow2 volume" "$(ctl vol list disks --name | wc -l) volumes"

head -c 16M /dev/urandom >bytes
ctl vol upload disks/data bytes
ctl vol download disks/data back --length 16777216
cmp bytes back
told "16 MiB uploaded and downloaded again" "the same"

ctl vol clone disks/data data-copy
ctl vol clone disks/data as-ploop --format ploop
ctl vol clone disks/web web-copy
ctl export disks/as-ploop as-ploop.raw
cmp -n 67108864 as-ploop.raw disks/data
cmp disks/data disks/data-copy
told "cloned, raw to raw and raw to ploop, and compared" "the same"

guid=$(ctl snapshot create disks/as-ploop)
ctl vol clone disks/as-ploop before --snapshot "$guid" --format raw
cmp disks/before disks/data
told "a snapshot, and a clone of what it froze" "the same"

ctl export disks/cow cow.raw
ctl import disks from-file bytes --format qcow2
told "exported to raw, imported to qcow2" "$(ctl vol list disks --name | wc -l) volumes"

"$PLOOPCTL" --state-dir "$PWD/state" vol list disks | sed 's/^/  /'
"$PLOOPCTL" --state-dir "$PWD/state" pool list | sed 's/^/  /'
told "ploopctl doctor" "$(ctl doctor >/dev/null && echo 'nothing wants mending')"
ctl pool destroy disks
rm -f bytes back as-ploop.raw cow.raw
