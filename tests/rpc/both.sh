# SPDX-License-Identifier: LGPL-2.1-or-later
# A private libvirtd and a ploopd side by side, both without pools. Source this first of all:
#
#     . "${0%/*}/both.sh"
#     both_start
#     try "..."
#     transcript NAME PROGRAM ARGS...
#     both_stop
#
#     $theirs, $ours      the URIs of libvirtd and of ploopd
#     transcript          runs PROGRAM ARGS... URI DIR at both, DIR being empty. What it prints may differ where
#                         differences-NAME.txt says so and nowhere else; docs/protocol/differences.md has the reasons.
#                         `REWRITE=1` writes the list anew, to be looked at; `KEEP=DIR` keeps both texts.
#     $least              fewer lines than that are a text that broke off: 200
#     libvirt_afresh      libvirtd begins again, without pools
. "${0%/*}/../lib/libvirt.sh"
. "${0%/*}/../lib/functions.sh"
here=$_tests/rpc
PLOOPD=$(readlink -f "${PLOOPD:-$_tests/../build/src/daemon/ploopd}")
least=200
theirs=storage:///system

both_start() {
    local i
    libvirt_start
    v pool-destroy p >/dev/null
    mkdir state
    "$PLOOPD" --foreground --socket "$tmp/socket" --state-dir "$tmp/state" 2>"$tmp/ploopd.log" &
    daemon=$!
    ours="storage:///system?socket=$tmp/socket"
    for ((i = 0; i < 100; i++)); do
        [ ! -S "$tmp/socket" ] || break
        sleep 0.05
    done
}

# ploopd ends when it is told, and had nothing to complain of.
both_stop() {
    kill $daemon
    wait $daemon || die "exit code $?: $(cat ploopd.log)"
    ! grep -qE 'ERROR|assert|Sanitizer' ploopd.log || die "$(cat ploopd.log)"
}

libvirt_afresh() {
    libvirt_stop
    rm -rf /run/libvirt/storage /etc/libvirt/storage
    mkdir -p /etc/libvirt/storage
    libvirt_run
}

# at_libvirtd NAME PROGRAM...: its transcript. Now and then libvirtd 9.0 closes a connection on which an upload has failed, in the
# middle of the next call; then all of it is done again.
at_libvirtd() {
    local name=$1 i
    shift
    for ((i = 0; i < 6; i++)); do
        [ $i = 0 ] || libvirt_afresh
        rm -rf theirs
        mkdir theirs
        ! "$@" "$theirs" "$tmp/theirs" >"$name.theirs" 2>"$name.err" || return 0
        grep -q 'client socket is closed\|End of file' "$name.err" || break
    done
    die "$name fails at libvirtd: $(tail -1 "$name.err")"
}

transcript() {
    local name=$1
    shift
    [ -z "${KEEP:-}" ] || cleanup_fn eval "cp $tmp/$name.* $KEEP"
    mkdir ours
    at_libvirtd "$name" "$@"
    "$@" "$ours" "$tmp/ours" 2>"$name.err" |
        sed 's|storage:///system?socket=[^ ]*|storage:///system|' >"$name.ours" || die "$name fails at ploopd: $(tail -1 "$name.err")"
    rm -rf theirs ours
    diff --unchanged-line-format= --old-line-format="libvirtd: %L" --new-line-format="ploopd:   %L" \
        "$name.theirs" "$name.ours" >"$name.differs" || true
    [ -z "${REWRITE:-}" ] || cp "$name.differs" "$here/differences-$name.txt"
    diff "$here/differences-$name.txt" "$name.differs" || die "$name: other differences than those that are known"
    [ "$(wc -l <"$name.ours")" -gt "$least" ] || die "$name: $(wc -l <"$name.ours") lines are not all"
}
