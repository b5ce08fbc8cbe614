# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What ploopctl's --help says there is, one name a line. Sourced after ploopctl.sh.

# ctl_verbs [NOUN]: "pool", ...; "list", ...
ctl_verbs() {
    "$PLOOPCTL" "$@" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

# ctl_commands: "pool list", ..., "doctor": everything with options of its own.
ctl_commands() {
    local noun verbs
    for noun in $(ctl_verbs); do
        verbs=$(ctl_verbs "$noun")
        [ -n "$verbs" ] || echo "$noun"
        [ -z "$verbs" ] || sed "s/^/$noun /" <<<"$verbs"
    done
}

# ctl_options COMMAND...: --pool, --json, ...
ctl_options() {
    "$PLOOPCTL" "$@" --help | grep -oE '^  -[^] ,[]+(, --[a-z-]+)?' | tr -s ', ' '\n' | grep .
}
