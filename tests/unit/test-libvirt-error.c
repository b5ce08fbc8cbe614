/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The numbers clients branch on. */
#include <errno.h>

#include "conf/libvirt-error.h"
#include "test.h"

static int code_of(PlkErrorCode code, int errnum)
{
    return plk_libvirt_error(&(PlkError){.code = code, .errnum = errnum}).code;
}

TEST(codes_of_ours_have_numbers_of_libvirts)
{
    static const struct { PlkErrorCode ours; int theirs; } pairs[] = {
        {PLK_ERROR_XML, 27}, {PLK_ERROR_XML_SYNTAX, 35}, {PLK_ERROR_XML_SCHEMA, 92}, {PLK_ERROR_UNIT, 8},
        {PLK_ERROR_OVERFLOW, 82}, {PLK_ERROR_CONFIG, 67}, {PLK_ERROR_NO_POOL, 49}, {PLK_ERROR_NO_VOLUME, 50},
        {PLK_ERROR_VOLUME_EXISTS, 90}, {PLK_ERROR_STATE, 55}, {PLK_ERROR_REFUSED, 9}, {PLK_ERROR_NO_SUPPORT, 3},
        {PLK_ERROR_NO_ALGORITHM, 74}, {PLK_ERROR_NOT_THIS_FORMAT, 84}, {PLK_ERROR_PROBE, 75}, {PLK_ERROR_BUILT, 76},
        {PLK_ERROR_READ_ONLY, 29}, {PLK_ERROR_SYSTEM, 38}, {PLK_ERROR_RPC, 39}, {PLK_ERROR_AUTH, 45}, {PLK_ERROR_AUTH_UNAVAILABLE, 94},
        {PLK_ERROR_DENIED, 88}, {PLK_ERROR_ARGUMENT, 8}, {PLK_ERROR_CANCELLED, 78}, {PLK_ERROR_LOCKED, 55}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        CHECK_INT(code_of(pairs[i].ours, 0), pairs[i].theirs);
}

TEST(an_errno_makes_a_system_error_of_what_has_no_number)
{
    CHECK_INT(code_of(PLK_ERROR_INTERNAL, 0), 1);
    CHECK_INT(code_of(PLK_ERROR_HELPER, EIO), 38);
    CHECK_INT(code_of(PLK_ERROR_NO_SPACE, 0), 9);
    CHECK_INT(code_of(PLK_ERROR_NO_SPACE, ENOSPC), 38);
    CHECK_INT(code_of(9999, 0), 1);
    CHECK_INT(code_of(PLK_OK, EIO), 38);
}

TEST_MAIN()
