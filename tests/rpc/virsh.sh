#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every pool-* and vol-* command of virsh with every option that reaches the server, as a text.
#
#     virsh.sh URI DIR
#
# does the same in the empty directory DIR, whoever serves URI: prints each command, what it printed and its exit code.
# What no two runs have in common is masked.
set -u
uri=$1 base=$2
cd "$base" || exit 1
mkdir pool other

mask() {
    sed -E -e "s|$base|BASE|g" -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g' -e 's/ +$//' \
        -e 's/<([abcm]time)>[^<]*</<\1>TIME</' -e "s/<(available|allocation) unit='bytes'>[0-9]+</<\1>N</" \
        -e 's/^((Capacity|Allocation|Available|Physical): +).*( [KMGT]iB| B)?$/\1N/' \
        -e 's/[0-9]+\.[0-9]+ [KMGT]iB/N/g' -e 's/ +/ /g' -e 's/-{4,}/----/'
}

# run COMMAND ARGS...
run() {
    local rc
    echo "\$ $*" | mask
    timeout 60 virsh -c "$uri" "$@" </dev/null >out 2>err
    rc=$?
    mask <out | grep .
    # Of an error the kind counts; the words are each server's own.
    # When an upload is too long, it is told while it is sent or at its end, whichever comes first.
    grep -v '^ *$' err | sed -E -e 's/^(error: [^:]*):.*/\1/' -e 's/cannot (send data to|close) volume/cannot send to volume/' | mask
    echo "= $rc"
}

cat >pool.xml <<END
<pool type='dir'><name>defined</name><uuid>11111111-2222-3333-4444-000000000001</uuid>
<target><path>$base/pool</path></target></pool>
END
sed "s/defined/created/; s/0001</0002</; s|/pool<|/other<|" pool.xml >transient.xml
cat >vol.xml <<END
<volume><name>from-xml</name><capacity unit='MiB'>3</capacity><allocation>0</allocation>
<target><format type='raw'/><permissions><mode>0640</mode></permissions></target></volume>
END
sed 's/from-xml/copy-xml/' vol.xml >copy.xml

# ---- pools ----
run pool-define pool.xml
run pool-define pool.xml --validate
run pool-define-as asdir dir --target "$base/asdir" --print-xml
run pool-define-as asdir dir --target "$base/asdir"
run pool-define-as asfs fs --source-dev /dev/nowhere --target "$base/asfs" --source-format ext4
run pool-define-as asnet netfs --source-host nowhere.invalid --source-path /x --target "$base/asnet" --source-format nfs
run pool-dumpxml asfs
run pool-dumpxml asnet
run pool-list --all
run pool-list --inactive --type dir
run pool-list --all --uuid
run pool-list --all --name
run pool-list --all --details
run pool-info defined
run pool-start asdir
run pool-build asdir
run pool-build asdir --overwrite
run pool-start asdir --build
run pool-start defined
run pool-start defined
run pool-autostart defined
run pool-info defined
run pool-info defined --bytes
run pool-list --autostart
run pool-list --no-autostart --all
run pool-autostart defined --disable
run pool-uuid defined
run pool-name 11111111-2222-3333-4444-000000000001
run pool-dumpxml defined
run pool-dumpxml defined --inactive
run pool-create transient.xml
run pool-create-as crdir dir --target "$base/crdir" --build
run pool-create-as again dir --target "$base/crdir"
run pool-list --transient
run pool-list --persistent --all
run pool-refresh defined
run pool-refresh asfs
run pool-capabilities
run find-storage-pool-sources-as dir
run find-storage-pool-sources-as netfs

# ---- volumes ----
run vol-create defined vol.xml
run vol-create defined vol.xml
run vol-create defined vol.xml --prealloc-metadata
run vol-create-as defined raw 4M --allocation 4M --format raw
run vol-create-as defined cow 5M --format qcow2
run vol-create-as defined over 5M --format qcow2 --backing-vol cow --backing-vol-format qcow2
run vol-create-as defined pre 5M --format qcow2 --prealloc-metadata
run vol-create-as defined directory 0 --format dir
run vol-create-as defined printed 1M --print-xml
run vol-create-as defined wrong 1M --format wrong
run vol-create-as nowhere raw 1M
run vol-create-from defined copy.xml from-xml
run vol-create-from defined copy.xml from-xml --inputpool defined
run vol-clone raw raw2 --pool defined
run vol-clone raw raw2 --pool defined
run vol-clone raw raw3 --pool defined --reflink
run vol-clone cow cow2 defined
run vol-list defined
run vol-list defined --details
for volume in from-xml raw cow over directory; do
    run vol-info $volume defined
    run vol-info $volume defined --bytes
    run vol-info $volume --pool defined --physical
    run vol-dumpxml $volume defined
    run vol-key $volume defined
    run vol-path $volume defined
    run vol-pool "$base/pool/$volume"
    run vol-pool "$base/pool/$volume" --uuid
    run vol-name "$base/pool/$volume"
done
run vol-info nosuch defined
run vol-info "$base/pool/nosuch"
run vol-resize raw 6M defined
run vol-resize raw 2M defined --delta
run vol-resize raw 1M defined
run vol-resize raw 1M defined --shrink
run vol-resize raw 512K defined --shrink --delta
run vol-resize raw 3M defined --allocate
run vol-resize cow 8M defined
run vol-resize cow 9M defined --allocate
run vol-resize directory 9M defined
head -c 1000000 /dev/urandom >bytes
run vol-upload raw bytes defined
sleep 0.3 # libvirtd looks at it anew when it has answered
run vol-download raw back defined
cmp -n 1000000 bytes back && echo same
head -c 1000 bytes >few
run vol-upload raw few defined --offset 4096 --length 1000
sleep 0.3
run vol-download raw part defined --offset 4096 --length 1000
cmp part few && echo same
run vol-upload raw bytes defined --offset 4096 --length 1000
truncate -s 3M holes
run vol-upload raw holes defined --sparse
sleep 0.3
run vol-download raw sparse defined --sparse
cmp holes sparse && echo same
run vol-upload nosuch bytes defined
run vol-upload raw nosuch defined
run vol-download nosuch back defined
run vol-upload directory bytes defined
run vol-wipe raw defined
run vol-wipe raw2 defined --algorithm zero
run vol-wipe raw2 defined --algorithm wrong
run vol-wipe directory defined
run vol-delete over defined
run vol-delete raw2 defined --delete-snapshots
run vol-delete nosuch defined
run vol-delete "$base/pool/copy-xml"

# ---- the end ----
run pool-delete defined
run pool-undefine defined
run pool-destroy defined
run pool-destroy defined
run vol-list defined
run pool-destroy created
run pool-destroy crdir
run pool-delete asfs
run pool-undefine asfs
run pool-undefine asnet
run pool-destroy asdir
run pool-delete asdir
run pool-undefine asdir
run pool-delete defined
run pool-undefine defined
run pool-undefine defined
run pool-list --all
