# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What --help says there is, one name a line. Sourced after functions.sh by the check-*.sh tests.

# verb_names [VERB]: the verbs, refused ones too; with VERB its sub verbs.
verb_names() {
    "$PLOOP" "$@" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
    "$PLOOP" "$@" --help | sed -n '/^Refused/,/^$/p' | sed 's/.*kernel://' | xargs -n1
}

# all_commands: "init", ..., "balloon discard", ...: everything with options of its own.
all_commands() {
    local verb
    for verb in $(verb_names); do
        [ "$verb" = balloon ] || echo "$verb"
    done
    verb_names balloon | sed 's/^/balloon /'
}

# option_names COMMAND...: -s, --json, ...
option_names() {
    "$PLOOP" "$@" --help | grep -oE '^  -[^] ,[]+(, --[a-z-]+)?' | tr -s ', ' '\n' | grep .
}
