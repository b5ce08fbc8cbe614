/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One row a code of ours. Clients branch on libvirt's number: where two of ours become one of libvirt's, the message
 * tells them apart for people.
 */
#include "conf/libvirt-error.h"

#include <stddef.h>

/* Domains: who reports. */
enum { NOBODY = 0, XML = 5, RPC = 7, STORAGE = 18, AUTH = 46, ACCESS = 55, POLKIT = 60 };

#define INTERNAL {1, STORAGE, "internal error"}
#define UNSUPPORTED {84, STORAGE, "Operation not supported"}
#define INVALID {55, STORAGE, "Requested operation is not valid"}
#define FAILED {9, STORAGE, "operation failed"}
#define SYSTEM {38, STORAGE, NULL}

static const PlkLibvirtError rows[] = {
    [PLK_ERROR_ARGUMENT] = {8, STORAGE, "invalid argument"},
    [PLK_ERROR_UNSUPPORTED] = UNSUPPORTED,
    [PLK_ERROR_FORMAT] = INTERNAL,
    [PLK_ERROR_DESCRIPTOR] = INTERNAL,
    [PLK_ERROR_DIRTY] = INVALID,
    [PLK_ERROR_LOCKED] = INVALID,
    [PLK_ERROR_BUSY] = INVALID,
    [PLK_ERROR_EXISTS] = INVALID,
    [PLK_ERROR_NOT_FOUND] = SYSTEM,
    [PLK_ERROR_NO_SNAPSHOT] = {8, STORAGE, "invalid argument"},
    [PLK_ERROR_NO_SPACE] = FAILED,
    [PLK_ERROR_NO_MEMORY] = {2, STORAGE, "out of memory"},
    [PLK_ERROR_CANCELLED] = {78, STORAGE, "operation aborted"},
    [PLK_ERROR_OPEN] = SYSTEM,
    [PLK_ERROR_CREATE] = SYSTEM,
    [PLK_ERROR_READ] = SYSTEM,
    [PLK_ERROR_WRITE] = SYSTEM,
    [PLK_ERROR_SYNC] = SYSTEM,
    [PLK_ERROR_TRUNCATE] = SYSTEM,
    [PLK_ERROR_ALLOCATE] = SYSTEM,
    [PLK_ERROR_STAT] = SYSTEM,
    [PLK_ERROR_RENAME] = SYSTEM,
    [PLK_ERROR_UNLINK] = SYSTEM,
    [PLK_ERROR_LOCK_CALL] = SYSTEM,
    [PLK_ERROR_HELPER] = INTERNAL,
    [PLK_ERROR_MKFS] = INTERNAL,
    [PLK_ERROR_FSCK] = INTERNAL,
    [PLK_ERROR_RESIZE_FS] = INTERNAL,
    [PLK_ERROR_PARTITION] = INTERNAL,
    [PLK_ERROR_INTERNAL] = INTERNAL,
    [PLK_ERROR_XML] = {27, STORAGE, "XML error"},
    [PLK_ERROR_XML_SYNTAX] = {35, STORAGE, NULL},
    [PLK_ERROR_XML_SCHEMA] = {92, XML, "XML document failed to validate against schema"},
    [PLK_ERROR_UNIT] = {8, NOBODY, "invalid argument"},
    [PLK_ERROR_OVERFLOW] = {82, NOBODY, "numerical overflow"},
    [PLK_ERROR_CONFIG] = {67, STORAGE, "unsupported configuration"},
    [PLK_ERROR_NO_POOL] = {49, STORAGE, "Storage pool not found"},
    [PLK_ERROR_NO_VOLUME] = {50, STORAGE, "Storage volume not found"},
    [PLK_ERROR_VOLUME_EXISTS] = {90, STORAGE, "storage volume exists already"},
    [PLK_ERROR_STATE] = INVALID,
    [PLK_ERROR_REFUSED] = FAILED,
    [PLK_ERROR_NO_SUPPORT] = {3, STORAGE, "this function is not supported by the connection driver"},
    [PLK_ERROR_NO_ALGORITHM] = {74, STORAGE, "argument unsupported"},
    [PLK_ERROR_NOT_THIS_FORMAT] = UNSUPPORTED,
    [PLK_ERROR_PROBE] = {75, STORAGE, "Storage pool probe failed"},
    [PLK_ERROR_BUILT] = {76, STORAGE, "Storage pool already built"},
    [PLK_ERROR_READ_ONLY] = {29, STORAGE, "operation forbidden"},
    [PLK_ERROR_SYSTEM] = SYSTEM,
    [PLK_ERROR_RPC] = {39, RPC, NULL}, /* clients look for "unknown procedure" at the very beginning */
    [PLK_ERROR_AUTH] = {45, AUTH, "authentication failed"},
    [PLK_ERROR_AUTH_UNAVAILABLE] = {94, POLKIT, "authentication unavailable"}, /* with both numbers virsh starts an agent */
    [PLK_ERROR_DENIED] = {88, ACCESS, "access denied"},
};

PlkLibvirtError plk_libvirt_error(const PlkError *err)
{
    static const PlkLibvirtError internal = INTERNAL, system = SYSTEM;
    size_t code = err->code;

    if (code >= sizeof(rows) / sizeof(rows[0]) || rows[code].code == 0)
        return err->errnum ? system : internal;
    if (err->errnum && (code == PLK_ERROR_NO_SPACE || rows[code].code == internal.code))
        return system;
    return rows[code];
}
