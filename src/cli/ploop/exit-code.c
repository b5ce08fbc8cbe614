/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the library's error codes to the exit codes that ploop(8) documents. Scripts compare the numbers,
 * so a code never changes its meaning; what the original had no number for gets the nearest one.
 */
#include "cli.h"

static const unsigned char exit_codes[] = {
    [PLK_OK] = PLK_EXIT_OK,
    [PLK_ERROR_ARGUMENT] = PLK_EXIT_PARAM,
    [PLK_ERROR_UNSUPPORTED] = PLK_EXIT_PARAM,
    [PLK_ERROR_FORMAT] = PLK_EXIT_FORMAT,
    [PLK_ERROR_DESCRIPTOR] = PLK_EXIT_DESCRIPTOR,
    [PLK_ERROR_DIRTY] = PLK_EXIT_DIRTY,
    [PLK_ERROR_LOCKED] = PLK_EXIT_LOCKED,
    [PLK_ERROR_BUSY] = PLK_EXIT_BUSY,
    [PLK_ERROR_EXISTS] = PLK_EXIT_PARAM,
    [PLK_ERROR_NOT_FOUND] = PLK_EXIT_OPEN,
    [PLK_ERROR_NO_SNAPSHOT] = PLK_EXIT_NO_SNAPSHOT,
    [PLK_ERROR_NO_SPACE] = PLK_EXIT_WRITE,
    [PLK_ERROR_NO_MEMORY] = PLK_EXIT_MALLOC,
    [PLK_ERROR_CANCELLED] = PLK_EXIT_ABORT,
    [PLK_ERROR_OPEN] = PLK_EXIT_OPEN,
    [PLK_ERROR_CREATE] = PLK_EXIT_CREATE,
    [PLK_ERROR_READ] = PLK_EXIT_READ,
    [PLK_ERROR_WRITE] = PLK_EXIT_WRITE,
    [PLK_ERROR_SYNC] = PLK_EXIT_FSYNC,
    [PLK_ERROR_TRUNCATE] = PLK_EXIT_TRUNCATE,
    [PLK_ERROR_ALLOCATE] = PLK_EXIT_FALLOCATE,
    [PLK_ERROR_STAT] = PLK_EXIT_STAT,
    [PLK_ERROR_RENAME] = PLK_EXIT_RENAME,
    [PLK_ERROR_UNLINK] = PLK_EXIT_UNLINK,
    [PLK_ERROR_LOCK_CALL] = PLK_EXIT_FLOCK,
    [PLK_ERROR_HELPER] = PLK_EXIT_SYS,
    [PLK_ERROR_MKFS] = PLK_EXIT_MKFS,
    [PLK_ERROR_FSCK] = PLK_EXIT_FSCK,
    [PLK_ERROR_RESIZE_FS] = PLK_EXIT_RESIZE_FS,
    [PLK_ERROR_PARTITION] = PLK_EXIT_GPT,
    [PLK_ERROR_INTERNAL] = PLK_EXIT_SYS,
};

int plk_exit_code(PlkErrorCode code)
{
    if ((size_t)code >= sizeof(exit_codes))
        return PLK_EXIT_SYS;
    return exit_codes[code];
}
