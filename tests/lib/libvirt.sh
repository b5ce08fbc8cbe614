# SPDX-License-Identifier: LGPL-2.1-or-later
# A libvirtd that nobody else can see. Source this before functions.sh:
#
#     . "${0%/*}/../lib/libvirt.sh"
#     . "${0%/*}/../lib/functions.sh"
#     libvirt_start
#
# The script is started again in mount and PID namespaces of its own. Every directory libvirtd keeps state in
# is an empty tmpfs there, so the machine's own libvirtd and its files are out of reach; when the script ends,
# the kernel ends all that it started. Afterwards:
#
#     v ARGS...          virsh on the private storage:///system; a dir pool named "p" stands on $pool
#     $calls             what libvirtd called `ploop` with, one call a line; $tmp/ended: those that have ended
#     upload VOL FILE    vol-upload, and wait for what libvirtd does after it has answered
#     libvirt_stop, libvirt_run   it ends, it begins again
#     refresh            pool-refresh, which is refused while a job on a volume runs
#     fail_verb VERB     from now on `ploop VERB` fails when libvirtd calls it; no argument: nothing fails

if [ -z "${_PRIVATE:-}" ]; then
    command -v libvirtd virsh >/dev/null || { echo "skipped: needs libvirtd and virsh"; exit 77; }
    _as_root=()
    [ "$(id -u)" = 0 ] || _as_root=(--user --map-root-user)
    _namespaces=("${_as_root[@]}" --mount --propagation private --pid --fork --kill-child --mount-proc)
    unshare "${_namespaces[@]}" mount -t tmpfs none /run 2>/dev/null ||
        { echo "skipped: needs mount namespaces (root, or unprivileged user namespaces)"; exit 77; }
    _PRIVATE=1 exec unshare "${_namespaces[@]}" bash "$0" "$@"
fi

# An empty directory of our own at $1. Where the path does not exist, its parent is overlaid: nothing is made
# outside.
_private_dir() {
    if [ ! -d "$1" ]; then
        local layer=/run/overlay${1//\//-}
        mkdir -p "$layer/upper" "$layer/work"
        mount -t overlay -o "lowerdir=${1%/*},upperdir=$layer/upper,workdir=$layer/work" none "${1%/*}"
        mkdir "$1"
    fi
    mount -t tmpfs -o mode=755 none "$1"
}

# What libvirtd finds as `ploop`: it notes the call, fails it if asked to, and runs the program under test.
_libvirt_make_ploop() {
    calls=$tmp/calls
    mkdir bin
    : >"$calls"
    : >"$tmp/ended"
    cat >bin/ploop <<END
#!/bin/bash
printf '%s\n' "\$*" >>'$calls'
if [ "\$(cat '$tmp/fail-verb' 2>/dev/null)" = "\$1" ]; then
    echo 'made to fail' >&2
    rc=1
else
    '$PLOOP' "\$@"
    rc=\$?
fi
printf '%s\n' "\$*" >>'$tmp/ended'
exit \$rc
END
    chmod +x bin/ploop
}

libvirt_run() {
    local i
    env -i PATH="$tmp/bin:/usr/sbin:/usr/bin:/sbin:/bin" LIBVIRT_DRIVER_DIR="$tmp/drivers" \
        libvirtd --daemon --pid-file /run/libvirtd.pid --config /etc/libvirt/libvirtd.conf
    for ((i = 0; i < 100; i++)); do
        [ ! -S /run/libvirt/libvirt-sock ] || break
        sleep 0.05
    done
}

# Pools that run stay so, as its state files tell.
libvirt_stop() {
    local i
    kill "$(cat /run/libvirtd.pid)"
    for ((i = 0; i < 200; i++)); do
        [ -e /run/libvirtd.pid ] || break
        sleep 0.05
    done
    rm -f /run/libvirt/libvirt-sock
}

libvirt_start() {
    local dir
    for dir in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
        _private_dir "$dir"
    done
    _libvirt_make_ploop
    mkdir -p /run/libvirt /etc/libvirt/storage
    cat >/etc/libvirt/libvirtd.conf <<END
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "3:file:$tmp/libvirtd.log"
END
    # Storage is all it is asked for. Its QEMU driver would want a user that only a package with a system
    # service makes.
    mkdir drivers
    ln -s /usr/lib/*/libvirt/connection-driver/libvirt_driver_storage.so drivers
    libvirt_run
    pool=$tmp/pool
    mkdir "$pool"
    v pool-create-as p dir --target "$pool" >/dev/null
}

v() {
    virsh -q -c storage:///system "$@"
}

upload() {
    local before now i
    before=$(grep -c ^restore-descriptor "$tmp/ended" || true)
    v vol-upload "$1" "$2" p
    for ((i = 0; i < 200; i++)); do
        now=$(grep -c ^restore-descriptor "$tmp/ended" || true)
        [ "$now" = "$before" ] || break
        sleep 0.05
    done
    [ "$now" != "$before" ] || die "libvirtd did not call restore-descriptor"
    refresh
}

refresh() {
    local i
    for ((i = 0; i < 200; i++)); do
        ! v pool-refresh p >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    die "the pool can not be refreshed"
}

fail_verb() {
    echo "${1:-}" >"$tmp/fail-verb"
}
