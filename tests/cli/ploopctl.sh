# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests of ploopctl share. Sourced after functions.sh; $PLOOPCTL is the program under test.

PLOOPCTL=$(readlink -f "${PLOOPCTL:-$_tests/../build/src/cli/ploopctl/ploopctl}")
[ -x "$PLOOPCTL" ] || { echo "no program at $PLOOPCTL: build first, or set PLOOPCTL" >&2; exit 1; }

# ctl ARGS...: ploopctl on a state of this test's own.
ctl() {
    "$PLOOPCTL" --state-dir "$tmp/state" "$@"
}

# a_pool [NAME]: a running dir pool on $tmp/NAME ("p").
a_pool() {
    local name=${1:-p}
    mkdir -p "$tmp/$name"
    ctl -q pool define-as "$name" dir --target "$tmp/$name"
    ctl -q pool start "$name"
}

# says CODE TEXT CMD ARGS...: the command ends with this exit code, with one line of error that holds TEXT, and nothing on
# stdout.
says() {
    local code=$1 text=$2 got=0
    shift 2
    "$@" >"$tmp.out" 2>"$tmp.err" || got=$?
    if [ "$got" != "$code" ] || [ -s "$tmp.out" ] || ! grep -qF -e "$text" "$tmp.err" ||
        [ "$(grep -c '^Error: ' "$tmp.err")" != 1 ]; then
        cat "$tmp.out" "$tmp.err" >&2
        die "exit $got, not $code, or not one error with '$text': $*"
    fi
    rm -f "$tmp.err"
}

# refuses CODE TEXT ARGS...: the same of ctl, whose refusals are one line.
refuses() {
    says "$1" "$2" ctl "${@:3}"
}

# json FILTER: the value of a Python expression on the JSON of stdin, called j.
json() {
    python3 -c 'import json, sys; j = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}

# state_of VOLUME: good, broken, ...
state_of() {
    ctl vol info "p/$1" --json | json 'j["state"]'
}
