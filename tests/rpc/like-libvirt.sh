#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same clients at a private libvirtd and at ploopd: what they get differs where the lists say so, and nowhere else.
. "${0%/*}/both.sh"
# The distribution's Python: another one has no python3-libvirt.
requires /usr/bin/python3 -c 'import libvirt'
both_start

try "python-libvirt: every method, every refusal"
transcript python /usr/bin/python3 "$here/transcript.py"

try "virsh: every command, every option"
transcript virsh bash "$here/virsh.sh"

try "it ends when it is told, and left nothing running"
both_stop
