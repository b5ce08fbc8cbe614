#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The manual page knows every verb and every option that --help shows.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/verbs.sh"

man=$_tests/../man/ploop.8

# section VERB: its part of COMMANDS.
section() {
    awk -v verb="$1" '/^\.S[hs] / { on = $0 == ".Ss " verb } on' "$man"
}

try "every verb has its place in the manual"
for verb in $(verb_names) $(verb_names balloon); do
    grep -qE "^\.Ss $verb\$|^\.?(Cm )?.*\b$verb\b" "$man" || die "ploop.8 lacks $verb"
done

try "every option is in its verb's section"
while read -r command; do
    # shellcheck disable=SC2086 # "balloon discard" is two words
    for option in $(option_names $command); do
        case $option in -h | --help) continue ;; esac
        # mdoc writes "-s" as an argument of Fl without its dash.
        section "${command%% *}" | grep -E '(^\.|\b)(Fl|It|Op)\b' | grep -E -- "(Fl|,) ${option#-}( |\$)" >/dev/null ||
            die "ploop.8 lacks $command $option"
    done
done < <(all_commands)

try "the page has no formatting errors"
command -v groff >/dev/null || exit 0
equals "$(groff -mandoc -Tascii -ww -z "$man" 2>&1)" ""
