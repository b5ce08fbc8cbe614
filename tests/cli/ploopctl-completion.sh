#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The shell completes ploopctl's verbs and options, and the names of the pools and volumes there are.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
. "$_tests/cli/ploopctl-verbs.sh"
. "$_tests/../data/completions/ploopctl"

# complete_words WORD...: what Tab offers for the last one.
complete_words() {
    COMP_WORDS=("$PLOOPCTL" --state-dir "$tmp/state" "$@")
    COMP_CWORD=$(($# + 2))
    COMPREPLY=()
    _ploopctl
    printf '%s\n' "${COMPREPLY[@]}"
}
offers() {
    local wanted=$1
    shift
    complete_words "$@" | grep -x -- "$wanted" >/dev/null || die "no $wanted for: $*"
}

try "every verb is completed"
while read -r command; do
    # shellcheck disable=SC2086 # "pool list" is two words
    offers "${command##* }" ${command%?}
done < <(ctl_commands)

try "every option is completed"
for command in "pool list" "vol create-as" "export" "doctor"; do
    # shellcheck disable=SC2086
    for option in $(ctl_options $command) --json; do
        offers "$option" $command "$option"
    done
done

try "names of pools and volumes are those there are"
a_pool first
a_pool second
ctl -q vol create-as first disk 1M
offers first pool info ""
offers second pool-start s
offers disk vol info --pool first ""
offers first/disk vol info ""
offers first/disk snapshot list f
offers second vol clone first/disk new --to-pool ""

try "values are completed"
offers qcow2 vol create-as first v 1G --format q
offers gutmann vol wipe first/disk --algorithm ""

try "file names are completed"
touch definition.xml
offers definition.xml vol create first def
