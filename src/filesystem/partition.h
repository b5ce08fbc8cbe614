/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where in a disk the filesystem is: a GPT with one partition named "primary", as `ploop init` makes it, or
 * the whole disk when it has no table.
 *
 * Layout of a new table, in sectors, c = cluster: the partition runs from c to
 * ((size - c) rounded down to c) - 1; header at 1, 128 entries at 2..33, copies of both in the last 33
 * sectors.
 */
#pragma once

#include <ploopkit/disk.h>

typedef struct PlkPartition {
    uint64_t offset, length; /* bytes */
    bool in_table;           /* false: no table, this is the whole disk */
} PlkPartition;

/* Where the partition of a new disk would be; false if there is no room for one. */
bool plk_partition_layout(uint64_t disk_bytes, uint32_t cluster_bytes, PlkPartition *ret);

/* Writes a new table. ARGUMENT if the disk is too small for one. */
int plk_partition_create(PlkDisk *disk, PlkPartition *ret, PlkError *err);

/*
 * The first partition. Checksums are verified; where the first copy of the table is damaged the second one
 * counts. PARTITION error when both are, or when the partition does not lie inside the disk.
 */
int plk_partition_find(PlkDisk *disk, PlkPartition *ret, PlkError *err);

/*
 * Rewrites both copies for a disk of disk_bytes (at most its present size) and ends the partition where a new
 * table would. GUIDs, names, attributes and other partitions stay. PARTITION error, nothing changed, if
 * another partition lies behind. Without a table only *ret is computed.
 */
int plk_partition_fit(PlkDisk *disk, uint64_t disk_bytes, PlkPartition *ret, PlkError *err);
