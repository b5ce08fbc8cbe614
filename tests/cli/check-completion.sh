#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The shell completes every verb and every option.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/verbs.sh"
requires test -e "$_tests/../data/completions/ploop"
. "$_tests/../data/completions/ploop"

# complete_words WORD...: what Tab offers for the last one.
complete_words() {
    COMP_WORDS=("$PLOOP" "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    _ploop
    printf '%s\n' "${COMPREPLY[@]}"
}

try "every verb is completed"
for verb in $("$PLOOP" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'); do
    complete_words "${verb%?}" | grep -x -- "$verb" >/dev/null || die "no $verb"
done
complete_words balloon d | grep -x discard >/dev/null || die "no balloon discard"

try "every option is completed"
while read -r command; do
    # shellcheck disable=SC2086 # "balloon discard" is two words
    for option in $(option_names $command); do
        complete_words $command "$option" | grep -x -- "$option" >/dev/null || die "no $command $option"
    done
done < <(all_commands)

try "values are completed"
equals "$(complete_words init -t ext | xargs)" "ext3 ext4"
equals "$(complete_words export --to q)" qcow2

try "file names are completed"
touch DiskDescriptor.xml
equals "$(complete_words info Disk)" DiskDescriptor.xml
