#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ploopctl where ploopd owns the state: the same words. Pools are changed by the daemon, volumes by the command; each
# sees what the other did.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
requires command -v virsh
PLOOPD=$(readlink -f "${PLOOPD:-$_tests/../build/src/daemon/ploopd}")
uri="storage:///system?socket=$tmp/socket"

start_daemon() {
    "$PLOOPD" --foreground --socket "$tmp/socket" --state-dir "$tmp/state" 2>>ploopd.log &
    daemon=$!
    for ((i = 0; i < 100; i++)); do
        ! virsh -q -c "$uri" pool-list >/dev/null 2>&1 || break
        sleep 0.05
    done
}
v() {
    virsh -q -c "$uri" "$@"
}
# soon COMMAND...: it succeeds within a second.
soon() {
    for ((i = 0; i < 20; i++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    die "not within a second: $*"
}
gone() {
    ! "$@"
}

mkdir state pool
start_daemon

try "pools are defined, started and marked by the daemon"
prints "defined" ctl pool define-as p dir --target "$tmp/pool"
v pool-info p >/dev/null
prints "started" ctl pool start p
[ "$(v pool-info p | awk '/^State/ { print $2 }')" = running ] || die "virsh does not see it run"
prints "marked" ctl pool autostart p
[ -L state/config/autostart/p.xml ] || [ -L state/autostart/p.xml ] || die "no link"
refuses 4 "active" pool build p
prints "refreshed" ctl pool refresh p
refuses 4 "" pool start p

try "the daemon's refusals are the same words and exit codes"
refuses 3 "nosuch" pool start nosuch
refuses 4 "" pool undefine p

try "volumes that the command makes the daemon lists, and the other way round"
ctl -q vol create-as p ours 8M --format ploop --empty
soon v vol-info ours p
[ "$(v vol-info ours p | awk '/^Capacity/ { print $2, $3 }')" = "8.00 MiB" ] || die "another size"
v vol-create-as p theirs 4M >/dev/null
equals "$(state_of theirs)" good
head -c 4M /dev/urandom >bytes
ctl vol upload p/theirs bytes
v vol-download theirs back p
same back bytes
ctl -q snapshot create p/ours >/dev/null
v vol-clone theirs copy p
ctl -q vol delete p/copy
soon gone v vol-info copy p
v vol-delete theirs p
refuses 3 theirs vol info p/theirs

try "what one works on the other leaves alone"
mkfifo fifo
ctl vol upload p/ours - --disk <fifo &
exec 7>fifo
head -c 1M bytes >&7
soon eval '[ "$(ctl job list --json)" != "[]" ]'
! v vol-delete ours p 2>err || die "deleted under an upload"
exec 7>&-
wait $!

try "the daemon dies, and the command does it all by itself again"
kill -9 $daemon
wait $daemon || true
ctl -q pool refresh p
ctl -q vol create-as p alone 1M --format raw
start_daemon
[ "$(v pool-info p | awk '/^State/ { print $2 }')" = running ] || die "it does not run any more"
soon v vol-info alone p

try "and ends what it began"
ctl -q pool destroy p
[ "$(v pool-info p | awk '/^State/ { print $2 }')" = inactive ] || die "still running"
ctl -q pool undefine p
! v pool-info p 2>/dev/null || die "still defined"
kill $daemon
wait $daemon || die "exit code $?"
[ ! -e state/run/ploopkit/socket ] || die "the socket is still announced"
