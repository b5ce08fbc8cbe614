/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Capabilities; the whole texts are compared with libvirt's in tests/conf. */
#include <glib.h>

#include "conf/pool-def.h"
#include "test.h"

TEST(every_type_is_listed_with_what_it_is)
{
    bool supported[PLK_POOL_TYPES] = {[PLK_POOL_DIR] = true};
    g_autofree char *text = plk_pool_capabilities_format(supported);

    CHECK(g_str_has_prefix(text, "<storagepoolCapabilities>\n  <pool type='dir' supported='yes'>\n"));
    for (int type = 1; type < PLK_POOL_TYPES; type++) {
        g_autofree char *line = g_strdup_printf("  <pool type='%s' supported='no'>\n", plk_pool_type_names[type]);
        CHECK(strstr(text, line));
    }
}

TEST(a_driver_lists_only_what_it_has)
{
    bool supported[PLK_POOL_TYPES] = {[PLK_POOL_DISK] = true, [PLK_POOL_DIR] = true, [PLK_POOL_SCSI] = true};
    g_autofree char *text = plk_capabilities_format(supported);

    CHECK_STR(text, "<capabilities>\n\n  <pool>\n    <enum name='type'>\n      <value>dir</value>\n"
                    "      <value>scsi</value>\n      <value>disk</value>\n    </enum>\n  </pool>\n\n"
                    "</capabilities>\n");
}

TEST_MAIN()
