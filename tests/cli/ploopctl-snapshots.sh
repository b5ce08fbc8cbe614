#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Snapshots of a ploop volume through ploopctl.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
a_pool
ctl -q vol create-as p disk 8M --format ploop --empty
ctl -q vol create-as p raw 1M --allocation 0
head -c 8M /dev/urandom >one
head -c 8M /dev/urandom >two

# contents: the disk's bytes, in a file.
contents() {
    ctl export p/disk "$1" --force
    truncate -s 8M "$1"
}
uuids() {
    ctl snapshot list p/disk --json | json '" ".join(s["uuid"] for s in j if not s["active"])'
}

try "a volume without snapshots has one state"
equals "$(ctl snapshot list p/disk --json | json '[(s["active"], s["temporary"]) for s in j]')" "[(True, False)]"
equals "$(ctl -q snapshot list disk p | awk '{ print $3 }')" active

try "a snapshot is made and printed"
ctl vol upload p/disk one --disk
first=$(ctl snapshot create p/disk)
equals "$(uuids)" "$first"
second=$(ctl snapshot create p/disk --uuid aaaaaaaa-0000-4000-8000-000000000001)
equals "$second" "{aaaaaaaa-0000-4000-8000-000000000001}"
equals "$(ctl snapshot create p/disk --json | json 'list(j)')" "['uuid']"
equals "$(ctl vol info p/disk --json | json 'j["snapshots"]')" 3
contents now
same now one

try "a name that is taken, or is none, is refused"
! ctl snapshot create p/disk --uuid "$second" 2>err || die "twice the same"
refuses 2 "frob" snapshot create p/disk --uuid frob
refuses 3 "" snapshot switch p/disk 11111111-1111-1111-1111-111111111111
refuses 3 "" snapshot delete p/disk 11111111-1111-1111-1111-111111111111
refuses 4 "raw" snapshot create p/raw
refuses 3 "nosuch" snapshot list p/nosuch

try "going back to a snapshot"
prints "$first" ctl snapshot switch p/disk "$first"
contents now
same now one

try "snapshots are deleted and merged, the disk stays the same"
prints "deleted" ctl snapshot delete p/disk "$second"
for guid in $(uuids); do
    ctl -q snapshot delete p/disk "$guid"
done
equals "$(ctl vol info p/disk --json | json 'j["snapshots"]')" 0
contents now
same now one
ctl -q snapshot create p/disk
prints "merged" ctl snapshot merge p/disk
equals "$(ctl vol info p/disk --json | json 'j["snapshots"]')" 0
contents now
same now one
"$PLOOP" check p/disk/DiskDescriptor.xml >/dev/null

try "a clone is of the state it is asked of"
ctl vol upload p/disk two --disk
guid=$(ctl snapshot create p/disk)
ctl -q vol clone p/disk then --snapshot "$guid"
ctl -q vol clone p/disk whole --keep-snapshots
equals "$(ctl vol info p/then --json | json 'j["snapshots"]')" 0
equals "$(ctl vol info p/whole --json | json 'j["snapshots"]')" 1
ctl export p/then then.raw
cmp -n 8388608 then.raw two
