/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state on disk, in libvirt's layout and libvirt's bytes: config/NAME.xml and runtime/NAME.xml. A file is
 * written beside its name, synced, renamed, and its directory synced: after a crash there is the old one or the new one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "pool/pool.h"

#define STATE_FILE_MAX (1 << 20)

static bool is_safe_in_comment(const char *text)
{
    return !strpbrk(text, "\r\t\n !\"#$&'()*;<>?[\\]^`{|}~") && !strstr(text, "--");
}

static GString *start_file(const PlkPoolDef *def)
{
    char uuid[PLK_UUID_CHARS + 1];
    GString *text = g_string_new(NULL);

    plk_uuid_format(def->uuid, uuid);
    g_string_append_printf(text,
                           "<!--\n"
                           "WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
                           "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n"
                           "  virsh pool-edit %s\n"
                           "or other application using the libvirt API.\n"
                           "-->\n\n",
                           is_safe_in_comment(def->name) ? def->name : uuid);
    return text;
}

static int write_whole(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        text += n;
        length -= n;
    }
    return fsync(fd);
}

int plk_state_sync_dir(const char *dir, PlkError *err)
{
    PLK_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot sync '%s'", dir);
    return 0;
}

static int replace_file(const char *dir, const char *name, const GString *text, PlkError *err)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", dir, name);
    g_autofree char *temporary = g_strdup_printf("%s/.%s.XXXXXX", dir, "ploopkit");
    PLK_CLOSE int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create a file in '%s'", dir);
    if (write_whole(fd, text->str, text->len) != 0 || rename(temporary, path) != 0) {
        int errnum = errno;

        unlink(temporary);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errnum, "cannot write '%s'", path);
    }
    return plk_state_sync_dir(dir, err);
}

static int remove_file(const char *dir, const char *name, PlkError *err)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", dir, name);

    if (unlink(path) != 0)
        return errno == ENOENT ? 0 : plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove '%s'", path);
    return plk_state_sync_dir(dir, err);
}

/* The files say no sizes: they are true for the moment of asking only. */
char *plk_state_text(const PlkPoolDef *def)
{
    PlkPoolDef bare = *def;

    bare.capacity = bare.allocation = bare.available = 0;
    return plk_pool_def_format(&bare);
}

int plk_state_save_config(PlkStorage *storage, const PlkPoolDef *def, PlkError *err)
{
    g_autofree char *xml = plk_state_text(def);
    g_autoptr(GString) text = start_file(def);

    g_string_append(text, xml);
    return replace_file(storage->config_dir, def->name, text, err);
}

int plk_state_remove_config(PlkStorage *storage, const char *name, PlkError *err)
{
    return remove_file(storage->config_dir, name, err);
}

int plk_state_save_running(PlkStorage *storage, const PlkPoolDef *def, PlkError *err)
{
    g_autofree char *xml = plk_state_text(def);
    g_autoptr(GString) text = start_file(def);
    const char *line = xml;

    g_string_append(text, "<poolstate>\n");
    while (*line) {
        const char *end = strchr(line, '\n');

        end = end ? end + 1 : line + strlen(line);
        g_string_append(text, "  ");
        g_string_append_len(text, line, end - line);
        line = end;
    }
    g_string_append(text, "</poolstate>\n");
    return replace_file(storage->runtime_dir, def->name, text, err);
}

int plk_state_remove_running(PlkStorage *storage, const char *name, PlkError *err)
{
    return remove_file(storage->runtime_dir, name, err);
}

static int slurp(const char *path, char **ret, PlkError *err)
{
    PLK_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    g_autofree char *text = NULL;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot read '%s'", path);
    if (!S_ISREG(st.st_mode) || st.st_size > STATE_FILE_MAX)
        return plk_fail(err, PLK_ERROR_XML, "'%s' is no file of a pool", path);
    text = g_malloc0(st.st_size + 1);
    n = pread(fd, text, st.st_size, 0);
    if (n != st.st_size)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, n < 0 ? errno : EIO, "cannot read '%s'", path);
    *ret = g_steal_pointer(&text);
    return 0;
}

/* Takes the <poolstate> off: what we and libvirt write there is the pool's document, indented. */
static char *unwrap(char *text)
{
    char *start = strstr(text, "<poolstate>"), *end = start ? g_strrstr(start, "</poolstate>") : NULL;

    if (!end)
        return text;
    *end = '\0';
    return start + strlen("<poolstate>");
}

static int read_one(const char *path, const char *name, bool running, PlkPoolDef **ret, PlkError *err)
{
    g_autofree char *text = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;

    if (slurp(path, &text, err) != 0 || plk_pool_def_parse(running ? unwrap(text) : text, 0, &def, err) != 0)
        return -1;
    if (strcmp(def->name, name) != 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "'%s' describes a pool named '%s'", path, def->name);
    *ret = PLK_TAKE(def);
    return 0;
}

/* One entry a file, the latest. */
static void note_broken(PlkStorage *storage, const char *path, const char *why)
{
    PlkBrokenState broken = {g_strdup(path), g_strdup(why)};
    PLK_LOCKED(&storage->lock);

    for (guint i = 0; i < storage->broken->len; i++)
        if (strcmp(g_array_index(storage->broken, PlkBrokenState, i).path, path) == 0) {
            g_array_remove_index(storage->broken, i);
            break;
        }
    g_array_append_val(storage->broken, broken);
}

static void note_foreign(PlkStorage *storage, PlkPoolDef *def)
{
    PLK_LOCKED(&storage->lock);

    for (guint i = 0; i < storage->foreign->len; i++)
        if (strcmp(((PlkPoolDef *)storage->foreign->pdata[i])->name, def->name) == 0) {
            g_ptr_array_remove_index(storage->foreign, i);
            break;
        }
    g_ptr_array_add(storage->foreign, def);
}

PlkPoolDef *plk_state_read(PlkStorage *storage, bool running, const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", running ? storage->runtime_dir : storage->config_dir, name);
    PlkPoolDef *def;
    PlkError err;

    if (read_one(path, name, running, &def, &err) != 0) {
        if (err.errnum != ENOENT)
            note_broken(storage, path, err.message);
        return NULL;
    }
    if (plk_backend(def->type, &err))
        return def;
    note_broken(storage, path, err.message);
    note_foreign(storage, def);
    return NULL;
}

bool plk_state_has_config(PlkStorage *storage, const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", storage->config_dir, name);
    struct stat st;

    return lstat(path, &st) == 0;
}

int plk_state_names(PlkStorage *storage, bool running, GHashTable *names, PlkError *err)
{
    const char *path = running ? storage->runtime_dir : storage->config_dir;
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT ? 0 : plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot read directory '%s'", path);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, ".xml"))
            g_hash_table_add(names, g_strndup(entry->d_name, strlen(entry->d_name) - strlen(".xml")));
    closedir(dir);
    return 0;
}

int plk_state_make_dirs(PlkStorage *storage, PlkError *err)
{
    const char *dirs[] = {storage->config_dir, storage->runtime_dir, storage->private_dir, storage->jobs_dir};

    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
        if (g_mkdir_with_parents(dirs[i], i < 2 ? 0777 : 0700) != 0)
            return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", dirs[i]);
    return 0;
}
