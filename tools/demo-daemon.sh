#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The end of demo.sh: ploopd on a socket and a state of its own, asked by virsh. It stays; demo-daemon.sh stop ends it.
# Runs in the directory of the tale; $PLOOPD is the program.
set -euo pipefail
export LC_ALL=C
pid_file=$PWD/ploopd.pid

running() {
    [ -s "$pid_file" ] && [ "$(readlink "/proc/$(cat "$pid_file")/exe" 2>/dev/null)" = "$(readlink -f "$PLOOPD")" ]
}
stop() {
    ! running || kill "$(cat "$pid_file")"
    for _ in {1..100}; do
        running || break
        sleep 0.05
    done
    ! running
    rm -f "$pid_file"
}

if [ "${1:-}" = stop ]; then
    running || { echo "No ploopd of make run is running."; rm -f "$pid_file"; exit 0; }
    stop
    echo "ploopd has ended."
    exit
fi

stop
socket=$PWD/socket
uri="storage:///system?socket=$socket"
# The path of a socket may have 107 bytes.
[ ${#socket} -le 100 ] || { echo "  left out: the path of a socket may have 107 bytes, $socket-ro is longer"; exit 0; }
"$PLOOPD" --foreground --socket "$socket" --state-dir "$PWD/state" </dev/null >"$PWD/ploopd.log" 2>&1 &
echo $! >"$pid_file"
for _ in {1..100}; do
    [ ! -S "$socket" ] || break
    sleep 0.05
done
[ -S "$socket" ] || { cat "$PWD/ploopd.log" >&2; exit 1; }
if ! command -v virsh >/dev/null; then
    echo "  virsh is not installed; ploopd waits at $uri"
    exit 0
fi
show() {
    echo "  \$ virsh -c '$uri' $*"
    virsh -q -c "$uri" "$@" | grep . | sed 's/^/    /' || true
}
virsh -q -c "$uri" pool-start disks >/dev/null 2>&1 || true # since `make run` it may run already
show pool-list --all
show vol-list disks --details
show vol-create-as disks made-by-virsh 10G --format ploop
show vol-info made-by-virsh disks
