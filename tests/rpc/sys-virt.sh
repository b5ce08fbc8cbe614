#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sys::Virt, the binding for Perl, at a private libvirtd and at ploopd.
. "${0%/*}/both.sh"
requires /usr/bin/perl -MSys::Virt -e 1
both_start

try "Sys::Virt: every storage method and stream, every refusal"
transcript perl /usr/bin/perl "$here/sys-virt.pl"

try "it ends when it is told, and had nothing to complain of"
both_stop
