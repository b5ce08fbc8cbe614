#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ploopctl's help is there for every verb and fits a terminal; the manual page knows all of it; mistakes end with 2.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
. "$_tests/cli/ploopctl-verbs.sh"
man=$_tests/../man/ploopctl.1

# help_of COMMAND...: what --help prints, which must be all on stdout and narrow.
help_of() {
    "$PLOOPCTL" "$@" --help >help 2>err || die "$* --help fails"
    [ ! -s err ] || die "$* --help writes to stderr"
    [ -s help ] || die "$*: no help"
    equals "$(awk 'length > 80 || / $/' help)" ""
}

# section COMMAND: its part of the manual page.
section() {
    awk -v verb="$1" '/^\.S[hs] / { on = $0 == ".Ss " verb } on' "$man"
}

try "every verb has help of at most 80 columns, on stdout"
help_of
for noun in $(ctl_verbs); do
    help_of "$noun"
done
while read -r command; do
    # shellcheck disable=SC2086 # "pool list" is two words
    help_of $command
    grep -q "^Usage: ploopctl $command" help || die "$command: no usage line"
done < <(ctl_commands)

try "a verb may be written as one word"
equals "$("$PLOOPCTL" vol-resize --help)" "$("$PLOOPCTL" vol resize --help)"

try "an unknown option is told on stderr with exit 2"
while read -r command; do
    # shellcheck disable=SC2086
    says 2 "--no-such-option is not known" "$PLOOPCTL" $command --no-such-option
done < <(ctl_commands)
says 2 "--no-such-option is not known" "$PLOOPCTL" --no-such-option

try "an unknown word is told on stderr with exit 2"
says 2 "unknown command 'frob'" "$PLOOPCTL" frob
says 2 "unknown command 'frob'" "$PLOOPCTL" pool frob
says 2 "unknown command 'pool-frob'" "$PLOOPCTL" pool-frob
says 2 "unexpected argument 'b'" "$PLOOPCTL" pool info a b
says 2 "POOL is missing" "$PLOOPCTL" pool info
says 2 "SIZE is missing" "$PLOOPCTL" vol create-as p v
says 2 "lacks its argument" "$PLOOPCTL" pool info --pool
fails 2 "$PLOOPCTL"
fails 2 "$PLOOPCTL" pool

try "a size that makes no sense is told with exit 2"
says 2 "NUMBER[UNIT]" "$PLOOPCTL" --state-dir s vol create-as p v much
says 2 "--capacity: 3Q" "$PLOOPCTL" --state-dir s vol create-as p v 3Q
says 2 "--capacity: 99999999P" "$PLOOPCTL" --state-dir s vol resize p/v 99999999P
[ ! -e s ] || die "a wrong command line made a state directory"

try "the version is one line"
equals "$("$PLOOPCTL" --version | wc -l)" 1

try "a full stdout is an error"
[ ! -e /dev/full ] || fails 1 bash -c "'$PLOOPCTL' --help >/dev/full"

try "every verb and option is in the manual page"
while read -r command; do
    [ -n "$(section "$command")" ] || die "ploopctl.1 lacks $command"
    # shellcheck disable=SC2086
    for option in $(ctl_options $command); do
        case $option in -h | --help) continue ;; esac
        section "$command" | grep -E -- "^\.It (Fl . , )?(Fl )?${option#-}( |\$)" >/dev/null ||
            die "ploopctl.1 lacks $command $option"
    done
done < <(ctl_commands)
for option in $(ctl_options); do
    grep -qE -- "^\.It (Fl )?(. , )?(Fl )?${option#-}( |\$)" "$man" || grep -E -- "^\.It Fl ${option#-} , " "$man" >/dev/null ||
        die "ploopctl.1 lacks $option"
done

try "the page has no formatting errors"
! command -v groff >/dev/null || equals "$(groff -mandoc -Tascii -ww -z "$man" 2>&1)" ""

try "every option of virsh's is known to the same verb"
command -v virsh >/dev/null || exit 0
while read -r command; do
    # Those of SCSI adapters are for pools that cannot be here.
    virsh help "${command/ /-}" 2>/dev/null | grep -oE '^    \[?--[a-z-]+' | tr -d ' []' | grep -v -- --adapter- >options || continue
    while read -r option; do
        # shellcheck disable=SC2086
        ctl_options $command | grep -qx -- "$option" || die "$command lacks virsh's $option"
    done <options
done < <(ctl_commands | grep -E "^(pool|vol) ")
