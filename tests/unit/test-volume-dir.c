/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories as volumes. */
#include "pool-dir.h"

TEST(a_directory_is_made_as_asked_and_goes_when_empty)
{
    PlkPlace at;
    PlkVolumeDef def = pool_def("d", PLK_FILE_DIR, 0);
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    at = pool_at("d");
    def.target.permissions.mode = 0750;
    CHECK_OK(plk_driver_dir.create(&at, &def, 0, NULL, &err), err);
    f = pool_probe("d");
    CHECK_INT(f.mode, 0750);
    CHECK_INT(f.type, PLK_VOLUME_DIR);
    CHECK_FAILS(plk_driver_dir.create(&at, &def, 0, NULL, &err), err, PLK_ERROR_EXISTS);
    pool_fill("d/precious", 'x', 10, 0);
    CHECK_FAILS(plk_driver_dir.remove(&at, &f, &err), err, PLK_ERROR_SYSTEM);
    CHECK_INT(pool_size("d/precious"), 10);
    CHECK(unlink("d/precious") == 0);
    CHECK_OK(plk_driver_dir.remove(&at, &f, &err), err);
    CHECK_INT(pool_count(), 0);
    CHECK_OK(plk_driver_dir.remove(&at, &f, &err), err); /* gone is gone */
    plk_volume_facts_clear(&f);
}

TEST(a_link_to_a_directory_is_not_removed_as_one)
{
    PlkPlace at;
    PlkVolumeFacts f = {.type = PLK_VOLUME_DIR};
    PlkError err;

    pool_make();
    at = pool_at("link");
    CHECK(mkdir("d", 0700) == 0 && symlink("d", "link") == 0);
    CHECK_FAILS(plk_driver_dir.remove(&at, &f, &err), err, PLK_ERROR_UNLINK);
    CHECK_INT(pool_count(), 2);
}

TEST(what_a_directory_cannot_be_is_refused)
{
    PlkVolumeDef def = pool_def("d", PLK_FILE_DIR, 0);
    PlkVolumeTarget backing = {.path = (char *)"x"};
    PlkError err;

    def.backing = &backing;
    CHECK_FAILS(plk_driver_dir.check(&def, 0, &err), err, PLK_ERROR_NO_SUPPORT);
    def.backing = NULL;
    CHECK_FAILS(plk_driver_dir.check(&def, PLK_CREATE_PREALLOC_METADATA, &err), err, PLK_ERROR_CONFIG);
    CHECK(!plk_driver_dir.resize && !plk_driver_dir.wipe && !plk_driver_dir.open && !plk_driver_dir.clone);
}

TEST_MAIN()
