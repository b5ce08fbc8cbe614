#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The exit codes that ploop(8) promises.
. "${0%/*}/../lib/functions.sh"

mkdir v
"$PLOOP" init -s 8M -t none v/root.hds >/dev/null
xml=v/DiskDescriptor.xml

try "38 for a mistake in the arguments"
fails 38 "$PLOOP" init v/x
fails 38 "$PLOOP" init -s 1Q -t none v/x
fails 38 "$PLOOP" init -s 1.5G -t none v/x
fails 38 "$PLOOP" init -s 8M -t xfs w/x
fails 38 "$PLOOP" info v/root.hds
fails 38 "$PLOOP" snapshot -u junk $xml
fails 38 "$PLOOP" convert $xml
fails 38 "$PLOOP" convert -f raw -v 1 $xml
fails 38 "$PLOOP" grow -s 31001 v/root.hds
fails 38 "$PLOOP" grow -s 1M $xml
fails 38 "$PLOOP" init -s 0M -t none v/y/root.hds

try "38 and nothing touched where something exists"
before=$(sha256sum v/root.hds)
fails 38 "$PLOOP" init -s 16M -t none v/root.hds
rm $xml
fails 38 "$PLOOP" init -s 16M -t none v/root.hds
equals "$(sha256sum v/root.hds)" "$before"
[ ! -e $xml ] || die "a failed init left a descriptor"

try "restore-descriptor brings it back, but not twice"
"$PLOOP" restore-descriptor v v/root.hds >/dev/null
fails 38 "$PLOOP" restore-descriptor v v/root.hds

try "39 for a descriptor that is not there, 1 from snapshot-list"
fails 39 "$PLOOP" info v/none.xml
fails 1 "$PLOOP" snapshot-list v/none.xml
fails 1 "$PLOOP" snapshot-list -o junk $xml

try "40 for what takes the OpenVZ kernel"
for verb in mount umount start stop clear delete rm getdev stat tsnapshot; do
    fails 40 "$PLOOP" $verb
done
fails 40 "$PLOOP" snapshot -d ploop0 v/x
fails 40 "$PLOOP" balloon change -s 1G $xml
fails 40 "$PLOOP" merge -d ploop0

try "43 for a snapshot that is not there"
fails 43 "$PLOOP" snapshot-delete -u 11111111-1111-1111-1111-111111111111 $xml

try "11 for an image that is none"
mkdir w
head -c 1M /dev/zero >w/root.hds
fails 11 "$PLOOP" restore-descriptor w w/root.hds

try "the geometry of a wiped disk comes back with -s 0M"
rm v/root.hds $xml
prints "size=16384 sectors v2" "$PLOOP" init -s 0M -t none v/root.hds

try "closed standard streams do no harm"
rc=0
"$PLOOP" snapshot $xml >&- 2>&- <&- || rc=$?
"$PLOOP" check -f -r v/root.hds >/dev/null
