#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ploopctl doctor tells what is wrong and what mends it; its exit code does so too.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
a_pool
ctl -q vol create-as p disk 8M --format ploop --empty
ctl -q vol create-as p raw 1M --allocation 0

try "a pool in good health"
prints "Nothing wants mending" ctl doctor p
prints "Nothing wants mending" ctl doctor
equals "$(ctl doctor --json)" "[]"
refuses 3 "nosuch" doctor nosuch

try "a damaged image is named with what mends it"
cp p/disk/DiskDescriptor.xml saved
rm p/disk/DiskDescriptor.xml
fails 7 ctl doctor p
grep -q '^bad: .*p/disk' "$tmp.out" || die "the volume is not named"
fails 7 ctl doctor p --json
json 'all(set(a) == {"pool", "object", "what", "remedy", "harmless"} for a in j)' <"$tmp.out" | grep -x True >/dev/null
equals "$(json '[a["object"] for a in j if not a["harmless"]]' <"$tmp.out")" "['disk']"
mv saved p/disk/DiskDescriptor.xml
prints "Nothing wants mending" ctl doctor p

try "an upload that did not end is named"
(head -c 100K /dev/zero; sleep 20) | "$PLOOPCTL" --state-dir "$tmp/state" vol upload p/raw - &
for ((i = 0; i < 200; i++)); do
    [ "$(ctl job list --json)" = "[]" ] || break
    sleep 0.05
done
kill -KILL $!
wait $! || true
fails 7 ctl doctor p
grep -q 'p/raw' "$tmp.out" || die "the volume is not named"
grep -q 'accept\|wipe\|upload' "$tmp.out" || die "no way out"
ctl -q vol accept p/raw
prints "Nothing wants mending" ctl doctor p

try "what dead processes left is harmless, and swept on demand"
ctl -q doctor p --sweep
equals "$(ctl doctor p --json)" "[]"
