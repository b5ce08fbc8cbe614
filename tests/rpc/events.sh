#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs events.py beside both servers.
. "${0%/*}/both.sh"
requires /usr/bin/python3 -c 'import libvirt'
both_start
THEIRS=$theirs OURS=$ours SERVER=$daemon /usr/bin/python3 "$here/events.py" "$@"
both_stop
