# SPDX-License-Identifier: LGPL-2.1-or-later
# What is on a ploop volume, seen through nothing but its bytes. $1 is a volume directory throughout.

# All bytes of the disk into a sparse file.
disk_bytes() {
    rm -f "$2"
    "$PLOOP" -v-1 export --to raw "$1/DiskDescriptor.xml" "$2" >/dev/null
}

device_sectors() {
    "$PLOOP" info -s "$1/DiskDescriptor.xml" | sed -n 's/^size:[[:space:]]*//p'
}

# raw file -> FILE?offset=N, as e2fsprogs names a file system inside a file.
first_partition() {
    echo "$1?offset=$(($(partx --raw --noheadings --output START --nr 1 "$1") * 512))"
}

# The volume is whole: ploop's check, its partition table, e2fsck. The e2fsck exit code is the judge.
volume_is_clean() {
    local raw=$tmp/clean.raw
    fails 0 "$PLOOP" check "$1/DiskDescriptor.xml"
    disk_bytes "$1" "$raw"
    fails 0 e2fsck -fn "$(first_partition "$raw")"
    rm "$raw"
}

# Copy file $3 out of the volume's root directory to $2.
take_file() {
    local raw=$tmp/take.raw
    disk_bytes "$1" "$raw"
    debugfs -R "dump /$3 $2" "$(first_partition "$raw")" 2>/dev/null
    rm "$raw"
}

# An image of this volume with file $2 put into its file system as /$3, made without our own writing code: $4.
image_with_file() {
    local raw=$tmp/with.raw
    disk_bytes "$1" "$raw"
    debugfs -w -R "write $2 /$3" "$(first_partition "$raw")" >/dev/null 2>&1
    qemu-img convert -O parallels "$raw" "$4"
    rm "$raw"
}

has_old_text() {
    disk_bytes "$1" "$tmp/old.raw"
    grep -qa "$2" "$tmp/old.raw"
}
