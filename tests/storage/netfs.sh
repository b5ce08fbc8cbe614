#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Network pools: what a server offers is found, and a GlusterFS volume of this machine is mounted over FUSE. All in
# namespaces of the test's own.
if [ -z "${_PRIVATE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
    _namespaces=(--mount --propagation private --pid --net --fork --kill-child --mount-proc)
    unshare "${_namespaces[@]}" true 2>/dev/null || { echo "skipped: needs mount, PID and network namespaces"; exit 77; }
    _PRIVATE=1 exec unshare "${_namespaces[@]}" bash "$0" "$@"
fi
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"

source_of() {
    echo "<source><host name='$1'/></source>"
}

try "exports of a host, as libvirt prints them"
mkdir fake
cat >fake/showmount <<'END'
#!/bin/bash
[ "$*" = "--no-headers --exports -- nas.example" ] || { echo "clnt_create: RPC: $4 is unknown" >&2; exit 1; }
echo "warning: something" >&2
printf '/export/one        *\n/export/a dir with spaces   10.0.0.0/8,other.example\n\nodd line\n'
END
chmod +x fake/showmount
if mount -t overlay -o "lowerdir=$tmp/fake:/usr/sbin" none /usr/sbin 2>/dev/null; then
    source_of nas.example | ctl pool find-sources netfs - >found
    cat >wanted <<'END'
<sources>
  <source>
    <host name='nas.example'/>
    <dir path='/export/one'/>
    <format type='nfs'/>
  </source>
  <source>
    <host name='nas.example'/>
    <dir path='/export/a dir with spaces'/>
    <format type='nfs'/>
  </source>
</sources>
END
    diff wanted found
    source_of other.example >spec
    refuses 4 "other.example is unknown" pool find-sources netfs spec
    umount /usr/sbin
else
    echo "not tried: no overlay here"
fi

try "a helper that is missing is named with its package"
mkdir none
mount --bind none /usr/sbin
mount --bind none /sbin
ctl -q pool define-as nas netfs --source-host nas.example --source-path /export --source-format glusterfs \
    --target "$tmp/nas"
says 1 "glusterfs-client" ctl pool start nas
umount /sbin /usr/sbin

command -v glusterd gluster mount.glusterfs >/dev/null && [ -c /dev/fuse ] ||
    { echo "ok $_trying"; _trying=; echo "not tried: GlusterFS, which is not installed (glusterfs-server, FUSE)"; exit 0; }

try "a GlusterFS volume is mounted, used and let go"
host=192.0.2.1 # it takes no loopback address
ip link set lo up
ip address add $host/32 dev lo
for dir in /var/lib/glusterd /var/log/glusterfs /run; do
    mkdir -p "$dir"
    mount -t tmpfs none "$dir"
done
mkdir -p /run/gluster
glusterd >gluster.log 2>&1 || { cat gluster.log; skip "glusterd does not start"; }
for ((i = 0; i < 100; i++)); do
    ! gluster --mode=script volume info >/dev/null 2>&1 || break
    sleep 0.1
done
mkdir brick
gluster --mode=script volume create vol "$host:$tmp/brick" force >>gluster.log 2>&1 ||
    { cat gluster.log; die "no volume can be made"; }
gluster --mode=script volume start vol >>gluster.log 2>&1 || { cat gluster.log; die "the volume does not start"; }
ctl -q pool define-as g netfs --source-host $host --source-path vol --source-format glusterfs --target "$tmp/g"
ctl -q pool build g
ctl -q pool start g
grep -q " $tmp/g .* fuse.glusterfs " /proc/self/mountinfo || die "not mounted"
ctl -q vol create-as g raw 1M
ctl -q vol create-as g disk 32M --format ploop --empty
prints "disk" ctl vol list g
ctl -q pool destroy g
! grep -q " $tmp/g " /proc/self/mountinfo || die "still mounted"
ctl -q pool start g
prints "raw" ctl vol list g
ctl -q pool destroy g
