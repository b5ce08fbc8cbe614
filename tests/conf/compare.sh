#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# compare.py with a libvirtd that nobody else can see. Without arguments every definition here is printed by it and
# by us; `compare.sh capture` keeps what it prints as what is wanted from now on.
PLOOP=${PLOOP:-/bin/false}
. "${0%/*}/../lib/libvirt.sh"
here=$(realpath "${0%/*}")
. "${0%/*}/../lib/functions.sh"
requires python3 -c 'import ctypes; ctypes.CDLL("libvirt.so.0")'
libvirt_start
v pool-destroy p
python3 "$here/compare.py" "${1:-live}"
