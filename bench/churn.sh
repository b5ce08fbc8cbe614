#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# churn.sh MOUNTPOINT FILES: a day of a busy server on the ext4 shown at $VIEW: files of many sizes made and deleted at
# random, so that free space ends up scattered. Leaves about half of the files.
set -eu
loop=$(losetup --show -f "$VIEW")
trap 'umount "$1" 2>/dev/null || :; losetup -d "$loop"' EXIT
mount -t ext4 "$loop" "$1"
python3 - "$1" "$2" <<'PY'
import os, random, sys
where, n = sys.argv[1], int(sys.argv[2])
rnd = random.Random(4711)
block = rnd.randbytes(1 << 20)
live = []
for i in range(n):
    if live and rnd.random() < 0.47:
        os.unlink(live.pop(rnd.randrange(len(live))))
    else:
        name = os.path.join(where, "f%d" % i)
        with open(name, "wb") as f:
            f.write(block[: int(4096 * 2 ** rnd.uniform(0, 7))])
        live.append(name)
    if i % 500 == 499:
        os.sync()
# the evening: two thirds of what is left go
for name in rnd.sample(live, len(live) * 2 // 3):
    os.unlink(name)
PY
umount "$1"
losetup -d "$loop"
trap - EXIT
