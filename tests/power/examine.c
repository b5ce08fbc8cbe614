/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After a cut: does the disk keep every promise of the model? Looked at as it is first, then written to again,
 * which is the recovery, then looked at once more: now every image must be sound and no name unknown. What is
 * there becomes the model of the next round.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/snapshot.h>

#include "disk/store.h"
#include "image/check.h"
#include "model.h"

static Model *m;
static char *what;
static size_t what_len;

static __attribute__((format(printf, 1, 2))) bool wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, what_len, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- contents ---- */

#define NOT_A_STAMP UINT32_MAX

/* The stamp of a sector that is whole; NOT_A_STAMP for bytes nobody wrote there. */
static uint32_t stamp_of(const uint32_t *words, uint32_t sector)
{
    uint32_t stamp = words[0] / 8192u;

    if (words[0] != 0 && words[0] % 8192u != sector)
        return NOT_A_STAMP;
    for (unsigned i = 1; i < 128; i++)
        if (words[i] != words[0])
            return NOT_A_STAMP;
    return stamp;
}

static bool take_content(const uint32_t *words, uint64_t bytes, const char *name, Content *ret)
{
    ret->sectors = (uint32_t)(bytes / 512);
    memset(ret->stamp, 0, sizeof ret->stamp);
    if (bytes % 512 || ret->sectors > SECTORS_MAX)
        return wrong("%s has %llu bytes", name, (unsigned long long)bytes);
    for (uint32_t i = 0; i < ret->sectors; i++) {
        ret->stamp[i] = stamp_of(words + i * 128, i);
        if (ret->stamp[i] == NOT_A_STAMP)
            return wrong("%s: sector %u holds %08x, which nobody wrote there", name, i, words[i * 128]);
    }
    return true;
}

static uint32_t words_buffer[SECTORS_MAX * 128];

static bool read_disk(const char *guid, Content *ret)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .snapshot = guid};
    PlkDisk *disk;
    PlkError err;
    int r = -1;

    if (plk_disk_open(m->xml, &o, &disk, &err) < 0)
        return wrong("does not open: %s", err.message);
    if (plk_disk_size(disk) <= sizeof words_buffer)
        r = plk_disk_read(disk, words_buffer, plk_disk_size(disk), 0);
    if (r < 0)
        wrong("cannot be read: %d", r);
    else if (!take_content(words_buffer, plk_disk_size(disk), guid ? guid : "the disk", ret))
        r = -1;
    plk_disk_close(disk, NULL);
    return r == 0;
}

static bool same_content(const Content *a, const Content *b, uint32_t *ret_where)
{
    if (a->sectors != b->sectors) {
        *ret_where = a->sectors;
        return false;
    }
    for (uint32_t i = 0; i < a->sectors; i++)
        if (a->stamp[i] != b->stamp[i]) {
            *ret_where = i;
            return false;
        }
    return true;
}

static bool promised(uint32_t sector, uint32_t stamp)
{
    if (stamp == m->acked.stamp[sector])
        return true;
    for (unsigned i = 0; i < m->n_pending[sector]; i++)
        if (stamp == m->pending[sector][i])
            return true;
    return false;
}

static bool check_disk_content(const Content *c)
{
    uint32_t where;

    if (m->changing && same_content(c, &m->other, &where))
        return true;
    if (c->sectors != m->acked.sectors)
        return wrong("the disk has %u sectors, not %u", c->sectors, m->acked.sectors);
    for (uint32_t i = 0; i < c->sectors; i++)
        if (!promised(i, c->stamp[i]))
            return wrong("lost: sector %u holds stamp %u; %u was acknowledged, %u written later", i, c->stamp[i],
                         m->acked.stamp[i], m->n_pending[i]);
    return true;
}

static bool check_shot(const Shot *s, bool listed)
{
    static Content c;
    uint32_t where;

    if (!listed)
        return s->state != SHOT_HERE || wrong("lost: snapshot %s is gone", s->guid);
    if (s->state == SHOT_GOING)
        return true;
    if (!read_disk(s->guid, &c))
        return false;
    return same_content(&c, &s->content, &where) || wrong("snapshot %s changed at sector %u", s->guid, where);
}

static bool is_listed(const PlkSnapshotList *list, const char *guid)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].guid, guid) == 0)
            return true;
    return false;
}

static bool check_shots(void)
{
    PlkSnapshotList list;
    PlkError err;
    bool good = true;

    if (plk_snapshot_list(m->xml, NULL, &list, &err) < 0)
        return wrong("snapshots cannot be listed: %s", err.message);
    for (unsigned i = 0; good && i < SHOTS_MAX; i++)
        if (m->shots[i].state != SHOT_NONE)
            good = check_shot(&m->shots[i], is_listed(&list, m->shots[i].guid));
    plk_snapshot_list_clear(&list);
    return good;
}

/* The file an export replaces: the old one whole, or the new one. */
static bool check_export(void)
{
    static Content c;
    uint32_t where = 0;
    struct stat st;
    int fd = open(m->out, O_RDONLY | O_CLOEXEC);
    bool good;

    if (fd < 0)
        return !m->exported || wrong("lost: the exported file is gone");
    if (fstat(fd, &st) < 0 || st.st_size > (off_t)sizeof words_buffer ||
        read(fd, words_buffer, (size_t)st.st_size) != st.st_size)
        st.st_size = -1;
    close(fd);
    if (!take_content(words_buffer, (uint64_t)st.st_size, "the exported file", &c))
        return false;
    good = (m->exported && same_content(&c, &m->out_old, &where)) ||
           (m->exporting && same_content(&c, &m->out_new, &where));
    m->out_old = c;
    m->exported = true;
    return good || wrong("the exported file is neither the old nor the new one: it has %u sectors, and differs at sector %u",
                         c.sectors, where);
}

/* ---- recovery ---- */

/* Sectors here and there, written and flushed: nothing may be hit but they. */
static bool write_again(Content *c)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    uint32_t words[128];
    PlkDisk *disk;
    PlkError err;
    int r = 0;

    if (plk_disk_open(m->xml, &o, &disk, &err) < 0)
        return wrong("does not open for writing: %s", err.message);
    m->stamp++;
    for (uint32_t i = m->stamp % 40; r == 0 && i < c->sectors; i += 3 * CLUSTER_SECTORS) {
        model_render(words, i, m->stamp);
        c->stamp[i] = m->stamp;
        r = plk_disk_write(disk, words, sizeof words, i * 512ull);
    }
    if (r < 0) {
        plk_disk_explain(disk, r, &err);
        plk_disk_close(disk, NULL);
        return wrong("cannot be written to: %s", err.message);
    }
    return plk_disk_close(disk, &err) == 0 || wrong("does not close: %s", err.message);
}

static int note_finding(void *arg, const PlkFinding *f)
{
    if (f->rank != PLK_FINDING_INFO)
        wrong("check finds %s (value %llu) in %s: %s", plk_finding_name(f->kind), (unsigned long long)f->value,
              f->image, f->meaning);
    return 0;
}

static bool check_image(PlkStore *store, int i)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .cluster_sectors = CLUSTER_SECTORS};
    PlkCheckResult result = {0};
    PlkError err;
    PlkIo *io;
    int r;

    o.raw = plk_store_is_raw(&store->desc, i);
    if (plk_store_settle(store, i, &err) < 0)
        return wrong("does not settle: %s", err.message);
    if (plk_dir_open_file(store->dir, store->desc.images[i].file, 0, 0, &io) < 0)
        return wrong("image %s is gone", store->desc.images[i].file);
    r = plk_image_check(io, 0, &o, note_finding, NULL, NULL, &result, NULL, &err);
    plk_io_close(io);
    if (r < 0)
        return wrong("check: %s", err.message);
    return result.left == 0;
}

/* ---- what lies about ---- */

static bool is_named(const PlkStore *store, const char *name)
{
    for (size_t i = 0; i < store->desc.n_images; i++) {
        const char *file = strrchr(store->desc.images[i].file, '/');

        if (strcmp(file ? file + 1 : store->desc.images[i].file, name) == 0)
            return true;
    }
    return strcmp(name, store->name) == 0 || strcmp(name, "DiskDescriptor.xml.lck") == 0;
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/*
 * docs/crash-safety.md, "What may be left": after a first change one name at most, and only of an operation that
 * was cut. It is one that a person has chosen, which nothing takes off by itself: the new file or the old base.
 */
static bool is_allowed_stray(const char *name)
{
    bool is_base = strcmp(name, "root.hds") == 0 || (begins(name, "merged-") && !strchr(name, '{'));

    if (m->act == ACT_FORMAT || m->act == ACT_MERGE)
        return is_base;
    return m->act == ACT_EXPORT && begins(name, "out.raw.");
}

/*
 * The names in a directory are known. The user's to remove are removed here; the next descriptor that is not
 * yet one stays, for the next change.
 */
static bool sweep(const char *path, const PlkStore *store)
{
    const char *keep = strrchr(m->out, '/') + 1;
    unsigned strays = 0;
    DIR *d = opendir(path);
    bool good = d || wrong("'%s' cannot be listed", path);

    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_type == DT_DIR || (store ? is_named(store, e->d_name) : strcmp(e->d_name, keep) == 0) ||
            (store && strcmp(e->d_name, "DiskDescriptor.xml.tmp") == 0))
            continue;
        if (!is_allowed_stray(e->d_name) || ++strays > 1)
            good = wrong("stray file %s after %s", e->d_name, act_name(m->act));
        unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    return good;
}

static bool settle_all(void)
{
    PlkStore *store;
    PlkError err;
    bool good = true;

    if (plk_store_open_locked(m->xml, NULL, &store, &err) < 0)
        return wrong("descriptor: %s", err.message);
    for (size_t i = 0; good && i < store->desc.n_images; i++)
        good = check_image(store, (int)i);
    good = good && sweep(m->vol, store);
    plk_store_close(store);
    return good;
}

/* ---- the next round's model ---- */

/* An interrupted deletion or merge is asked for again. */
static bool finish_deletions(void)
{
    PlkSnapshotList list;
    PlkDeleteResult result;
    PlkError err;
    bool good = true;

    if (plk_snapshot_list(m->xml, NULL, &list, &err) < 0)
        return wrong("snapshots cannot be listed: %s", err.message);
    for (unsigned i = 0; good && i < SHOTS_MAX; i++) {
        Shot *s = &m->shots[i];
        bool listed = s->state != SHOT_NONE && is_listed(&list, s->guid);

        if (s->state == SHOT_GOING && listed &&
            plk_snapshot_delete(m->xml, NULL, s->guid, &result, NULL, &err) < 0)
            good = wrong("an interrupted deletion cannot be finished: %s", err.message);
        s->state = listed && s->state != SHOT_GOING ? SHOT_HERE : SHOT_NONE;
    }
    plk_snapshot_list_clear(&list);
    return good;
}

static void adopt(const Content *c)
{
    m->acked = *c;
    memset(m->n_pending, 0, sizeof m->n_pending);
    m->changing = m->exporting = m->helper = false;
}

/* A disk in the middle of a version conversion has to be opened for a change before it can be read. */
static bool undo_conversion(void)
{
    PlkStore *store;
    PlkError err;

    if (m->act != ACT_VERSION)
        return true;
    if (plk_store_open_locked(m->xml, NULL, &store, &err) < 0)
        return wrong("a version conversion is not undone: %s", err.message);
    plk_store_close(store);
    return true;
}

bool examine(Model *model, char *ret_what, size_t len)
{
    static Content before, after;
    uint32_t where;

    m = model;
    what = ret_what;
    what_len = len;
    if (!undo_conversion() || !read_disk(NULL, &before) || !check_disk_content(&before) || !check_shots() ||
        !check_export())
        return false;
    if (!write_again(&before) || !settle_all() || !sweep(m->top, NULL))
        return false;
    adopt(&before);
    if (!finish_deletions() || !read_disk(NULL, &after) || !check_shots())
        return false;
    return same_content(&before, &after, &where) ||
           wrong("after the recovery sector %u is stamp %u, not %u", where, after.stamp[where],
                 before.stamp[where]);
}
