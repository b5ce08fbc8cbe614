/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the library's error codes to those of ploopctl(1): one for each thing a script would do about it. */
#include "ctl.h"

static const unsigned char exit_codes[] = {
    [PLK_OK] = PLK_EXIT_OK,
    [PLK_ERROR_ARGUMENT] = PLK_EXIT_USAGE,
    [PLK_ERROR_UNSUPPORTED] = PLK_EXIT_REFUSED,
    [PLK_ERROR_FORMAT] = PLK_EXIT_DAMAGED,
    [PLK_ERROR_DESCRIPTOR] = PLK_EXIT_DAMAGED,
    [PLK_ERROR_DIRTY] = PLK_EXIT_DAMAGED,
    [PLK_ERROR_LOCKED] = PLK_EXIT_IN_USE,
    [PLK_ERROR_BUSY] = PLK_EXIT_IN_USE,
    [PLK_ERROR_EXISTS] = PLK_EXIT_REFUSED,
    [PLK_ERROR_NOT_FOUND] = PLK_EXIT_NOT_FOUND,
    [PLK_ERROR_NO_SNAPSHOT] = PLK_EXIT_NOT_FOUND,
    [PLK_ERROR_NO_SPACE] = PLK_EXIT_NO_SPACE,
    [PLK_ERROR_CANCELLED] = PLK_EXIT_CANCELLED,
    [PLK_ERROR_XML] = PLK_EXIT_USAGE,
    [PLK_ERROR_XML_SYNTAX] = PLK_EXIT_USAGE,
    [PLK_ERROR_XML_SCHEMA] = PLK_EXIT_USAGE,
    [PLK_ERROR_UNIT] = PLK_EXIT_USAGE,
    [PLK_ERROR_OVERFLOW] = PLK_EXIT_USAGE,
    [PLK_ERROR_CONFIG] = PLK_EXIT_USAGE,
    [PLK_ERROR_NO_POOL] = PLK_EXIT_NOT_FOUND,
    [PLK_ERROR_NO_VOLUME] = PLK_EXIT_NOT_FOUND,
    [PLK_ERROR_VOLUME_EXISTS] = PLK_EXIT_REFUSED,
    [PLK_ERROR_STATE] = PLK_EXIT_REFUSED,
    [PLK_ERROR_REFUSED] = PLK_EXIT_REFUSED,
    [PLK_ERROR_NO_SUPPORT] = PLK_EXIT_REFUSED,
    [PLK_ERROR_NO_ALGORITHM] = PLK_EXIT_REFUSED,
    [PLK_ERROR_NOT_THIS_FORMAT] = PLK_EXIT_REFUSED,
    [PLK_ERROR_BUILT] = PLK_EXIT_REFUSED,
    [PLK_ERROR_READ_ONLY] = PLK_EXIT_REFUSED,
    [PLK_ERROR_SYSTEM] = PLK_EXIT_FAILED,
};

/* What is not in the table failed for a reason of the machine's. */
int plk_ctl_exit_code(PlkErrorCode code)
{
    if (code == PLK_OK || (size_t)code >= sizeof(exit_codes))
        return PLK_EXIT_FAILED;
    return exit_codes[code] ? exit_codes[code] : PLK_EXIT_FAILED;
}
