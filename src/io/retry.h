/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A signal interrupted the call before it did anything: again. Local filesystems seldom do that, others do. */
#pragma once

#include <errno.h>

#define PLK_UNINTERRUPTED(call)                                                                              \
    ({                                                                                                       \
        int result_;                                                                                         \
        do                                                                                                   \
            result_ = (call);                                                                                \
        while (result_ == -EINTR);                                                                           \
        result_;                                                                                             \
    })
