/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runtime directory is volatile where libvirt has it, below /run. A state directory of one's own may lie on a disk and
 * keep it: so the boot it is about is written down in it, and what is left of an earlier one is forgotten, as
 * /run would have done. Pools ran then, and nothing of that is mounted now.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/pool.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int forget_file(const char *dir, const char *name, PlkError *err)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove '%s', which is of an earlier boot", path);
}

static int forget_all(PlkStorage *storage, PlkError *err)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer name;

    if (plk_state_names(storage, true, names, err) != 0)
        return -1;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *file = g_strconcat(name, ".xml", NULL);

        if (forget_file(storage->runtime_dir, file, err) != 0)
            return -1;
    }
    return forget_file(storage->runtime_dir, "autostarted", err);
}

/* The state lock is held. */
static int compare(PlkStorage *storage, const char *boot, PlkError *err)
{
    g_autofree char *path = g_build_filename(storage->private_dir, "boot", NULL), *last = NULL;
    g_autoptr(GError) why = NULL;

    if (g_file_get_contents(path, &last, NULL, NULL)) {
        if (strcmp(last, boot) == 0)
            return 0;
        if (forget_all(storage, err) != 0)
            return -1;
    }
    if (g_file_set_contents(path, boot, -1, &why))
        return 0;
    return plk_fail(err, PLK_ERROR_SYSTEM, "%s", why->message);
}

int plk_boot_begin(PlkStorage *storage, PlkError *err)
{
    g_autofree char *boot = NULL;
    int r;

    /* Somebody else's state, or a system that does not tell: then it is as it is. */
    if (storage->owner_fd < 0 || !g_file_get_contents(BOOT_ID, &boot, NULL, NULL))
        return 0;
    if (plk_state_lock(storage, err) != 0)
        return -1;
    r = compare(storage, boot, err);
    plk_state_unlock(storage);
    return r;
}
