#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Help is there for every verb, goes to stdout, fits a terminal; mistakes go to stderr and end with 38.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/verbs.sh"

# help_of COMMAND...: what --help prints, which must be all on stdout.
help_of() {
    "$PLOOP" "$@" --help 2>err || die "$* --help fails"
    [ ! -s err ] || die "$* --help writes to stderr"
}

check_width() {
    local wide
    wide=$(awk 'length > 80 || / $/' help)
    [ -s help ] || die "$*: no help"
    equals "$wide" ""
}

try "every verb has help of at most 80 columns, on stdout"
help_of >help
check_width ploop
while read -r command; do
    # shellcheck disable=SC2086 # "balloon discard" is two words
    help_of $command >help
    check_width "$command"
    grep -q "^Usage: ploop $command" help || die "$command: no usage line"
done < <(all_commands)

try "an unknown option is told on stderr with exit 38"
while read -r command; do
    rc=0
    # shellcheck disable=SC2086
    "$PLOOP" $command --no-such-option >out 2>err || rc=$?
    equals "$command $rc" "$command 38"
    [ ! -s out ] || die "$command: an error on stdout"
    grep -q '^Error: ' err || die "$command: no error text"
done < <(all_commands)

try "an unknown verb is told on stderr with exit 38"
fails 38 "$PLOOP" no-such-verb
fails 38 "$PLOOP"
fails 38 "$PLOOP" -z
equals "$("$PLOOP" no-such-verb 2>/dev/null || true)" ""

try "the version is one line"
equals "$("$PLOOP" --version | wc -l)" 1

try "a full stdout is an error"
[ ! -e /dev/full ] || fails 7 bash -c '"$PLOOP" --help >/dev/full'
