# SPDX-License-Identifier: LGPL-2.1-or-later
# What every shell test starts with; documented in README.md beside it.
#
#     . "${0%/*}/../lib/functions.sh"
#
# Afterwards the shell runs with errexit, nounset and pipefail; $PLOOP is the program under test and $tmp an
# empty directory of this test's own, which is the current one and is removed at the end. A script prints `ok
# NAME` for each behaviour it has shown. Whatever fails ends it with `FAILED NAME`, NAME being the behaviour
# that was announced last with `try`.

set -euo pipefail
export LC_ALL=C

# The whole test can not run here: say why, and let the runner count it as skipped.
skip() {
    echo "skipped: $*"
    exit 77
}

# requires CMD ARGS...: skip the test unless the command succeeds.
requires() {
    "$@" >/dev/null 2>&1 || skip "needs: $*"
}

# cleanup_fn CMD ARGS...: run at exit, whatever the reason, the last registered first.
_cleanups=()
cleanup_fn() {
    _cleanups+=("$(printf '%q ' "$@")")
}

_trying=
# try NAME: what follows shows behaviour NAME; the one before it has been shown.
try() {
    [ -z "$_trying" ] || echo "ok $_trying"
    _trying=$*
}

# die TEXT: the behaviour is not as it should be.
die() {
    echo "$*" >&2
    exit 1
}

# fails CODE CMD ARGS...: the command must end with this exit code. What it printed is in $tmp.out (both
# streams).
fails() {
    local wanted=$1 got=0
    shift
    "$@" >"$tmp.out" 2>&1 || got=$?
    [ "$got" = "$wanted" ] && return 0
    cat "$tmp.out" >&2
    die "exit $got, not $wanted: $*"
}

# prints TEXT CMD ARGS...: the command must succeed and its output (both streams) hold TEXT.
prints() {
    local text=$1 rc=0
    shift
    "$@" >"$tmp.out" 2>&1 || rc=$?
    [ $rc = 0 ] && grep -qF -e "$text" "$tmp.out" && return 0
    cat "$tmp.out" >&2
    die "exit $rc, or no '$text' in the output of: $*"
}

# same A B: two files hold the same bytes.
same() {
    cmp "$1" "$2" || die "$1 and $2 differ"
}

# equals GOT WANTED: two texts are the same.
equals() {
    [ "$1" = "$2" ] || die "got '$1', wanted '$2'"
}

_at_exit() {
    local rc=$? i
    trap - EXIT
    set +e
    for ((i = ${#_cleanups[@]} - 1; i >= 0; i--)); do
        eval "${_cleanups[i]}"
    done
    cd / && rm -rf "$tmp" "$tmp.out"
    if [ $rc = 0 ]; then
        [ -z "$_trying" ] || echo "ok $_trying"
    elif [ $rc != 77 ]; then
        echo "FAILED ${_trying:-before the first behaviour} (exit $rc)"
    fi
    exit $rc
}

_tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PLOOP=${PLOOP:-$_tests/../build/src/cli/ploop/ploop}
[ -x "$PLOOP" ] || { echo "no program at $PLOOP: build first, or set PLOOP" >&2; exit 1; }
PLOOP=$(readlink -f "$PLOOP")
export PLOOP
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ploopkit-test.XXXXXX")
trap _at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$tmp"
