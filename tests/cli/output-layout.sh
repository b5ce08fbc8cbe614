#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What scripts parse is byte for byte what ploop 1.15 prints.
. "${0%/*}/../lib/functions.sh"

top='{5fbaabe3-6958-40ff-92a7-860e329aab41}'
one='{11111111-1111-1111-1111-111111111111}'
none='{00000000-0000-0000-0000-000000000000}'

try "init says what it makes"
mkdir v
equals "$("$PLOOP" init -s 100M -t none v/root.hds)" \
    "Creating delta v/root.hds bs=2048 size=204800 sectors v2
Adding snapshot $top
Storing v/DiskDescriptor.xml"

try "info -s has tabs and sectors"
printf 'Opening delta %s/v/root.hds\nsize:\t\t204800\nblocksize:\t2048\nfmt_version:\t2\n' "$tmp" >wanted
"$PLOOP" info -s v/DiskDescriptor.xml >got
same got wanted

try "info -d has an empty device"
printf 'device:\t\t\n' >wanted
"$PLOOP" info -d v/DiskDescriptor.xml >got
same got wanted

try "-v-1 leaves only the payload"
equals "$("$PLOOP" -v-1 info -s v/DiskDescriptor.xml | head -1)" "size:		204800"

try "-v4 puts the time in front"
"$PLOOP" -v4 info -s v/DiskDescriptor.xml | grep -E '^\[ [0-9.]+\] Opening delta ' >/dev/null

try "snapshot ends with its success line"
equals "$("$PLOOP" snapshot -u "$one" v/DiskDescriptor.xml | tail -1)" \
    "ploop snapshot $one has been successfully created"

try "snapshot-list pads its columns"
delta=$(ls v/root.hds.*)
{
    printf 'PARENT_UUID%27s C UUID%34s FNAME%27s \n' '' '' ''
    printf '%s   %s %s\n' "$none" "$one" "$tmp/v/root.hds"
    printf '%s * %s %s\n' "$one" "$top" "$tmp/$delta"
} >wanted
"$PLOOP" snapshot-list v/DiskDescriptor.xml >got
same got wanted

try "snapshot-list -o picks columns, -H drops the header"
equals "$("$PLOOP" snapshot-list -H -o uuid v/DiskDescriptor.xml)" "$one
$top"

try "snapshot-list -s hides the active state"
equals "$("$PLOOP" snapshot-list -s -H -o current,uuid v/DiskDescriptor.xml)" "* $one"

try "snapshot-list -u goes from there down to the base"
equals "$("$PLOOP" snapshot-list -H -o uuid -u "${top//[{\}]/}" v/DiskDescriptor.xml)" "$top
$one"

try "snapshot-list names root.hds. for deltas of any name, in the header only"
sed -i "s/${delta#v/}/other/" v/DiskDescriptor.xml
mv "$delta" v/other
"$PLOOP" snapshot-list v/DiskDescriptor.xml | head -1 | grep -F root.hds. >/dev/null
equals "$("$PLOOP" snapshot-list -H v/DiskDescriptor.xml | grep -cF root.hds. || true)" 0

try "JSON is JSON"
if command -v python3 >/dev/null; then
    "$PLOOP" snapshot-list --json v/DiskDescriptor.xml | python3 -c 'import json, sys; assert len(json.load(sys.stdin)) == 2'
    "$PLOOP" info --json v/DiskDescriptor.xml | python3 -c 'import json, sys; assert json.load(sys.stdin)["size"] == 104857600'
fi
