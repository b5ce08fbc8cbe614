/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in the directory. Every file is opened read-only, images under a shared lock; nothing is written,
 * not even a lock file.
 */
#include "rescue/rescue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/intent.h"
#include "image/check.h"

#define LOCK_TEXT_MAX 65536
#define LOOK_CACHE (1u << 20)
#define NAMES_MAX 4096 /* a directory with more is not a disk's */

/* ---- the names ---- */

static int add_name(void *arg, const char *name)
{
    PlkRescue *r = arg;
    PlkRescueFile *f;

    if (r->n_files == NAMES_MAX)
        return -E2BIG;
    f = plk_rescue_append(r, &r->files, &r->n_files, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->name = plk_rescue_text(r, "%s", name);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const PlkRescueFile *)a)->name, ((const PlkRescueFile *)b)->name);
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

/* "NAME.rescued-3" */
static bool is_kept(const char *name)
{
    const char *at = strstr(name, ".rescued-");

    return at && at[9] && at[9 + strspn(at + 9, "0123456789")] == '\0';
}

/* What the name alone says; images are told by their contents. */
static PlkRescueRole role_of(PlkRescue *r, const char *name)
{
    const char *xml = r->store->name;
    size_t n = strlen(xml);

    if (is_kept(name))
        return PLK_RESCUE_KEPT;
    if (strncmp(name, "rescue-try.", 11) == 0)
        return PLK_RESCUE_TRY;
    if (strcmp(name, xml) == 0)
        return PLK_RESCUE_DESCRIPTOR;
    if (strncmp(name, xml, n) == 0 && strcmp(name + n, ".lck") == 0)
        return PLK_RESCUE_LOCK;
    if (strncmp(name, xml, n) == 0 && (strcmp(name + n, ".tmp") == 0 || strcmp(name + n, ".tmp.tmp") == 0))
        return PLK_RESCUE_FUTURE;
    return ends_in(name, ".idx") ? PLK_RESCUE_INDEX : PLK_RESCUE_OTHER;
}

static int list_files(PlkRescue *r, PlkError *err)
{
    int n = plk_dir_list(r->store->dir, add_name, r);

    if (n == -E2BIG)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' holds more than %d files; that is no disk's directory",
                        r->store->dir->path, NAMES_MAX);
    if (n < 0)
        return plk_fail_io(err, PLK_ERROR_READ, n, "cannot list '%s'", r->store->dir->path);
    if (r->n_files)
        qsort(r->files, r->n_files, sizeof *r->files, compare_names);
    for (size_t i = 0; i < r->n_files; i++) {
        r->files[i].role = role_of(r, r->files[i].name);
        r->trying |= strcmp(r->files[i].name, PLK_RESCUE_TRY_NAME) == 0;
    }
    return 0;
}

/* ---- descriptors ---- */

static void read_document(PlkRescue *r, const char *name, PlkRescueDocument *doc)
{
    PLK_FREE char *text = NULL;
    PlkError why = {0};
    size_t len;
    int n = plk_rescue_note(r, plk_dir_read_file(r->store->dir, name, PLK_DESC_TEXT_MAX, &text, &len));

    doc->name = plk_rescue_text(r, "%s", name);
    doc->there = n != -ENOENT;
    if (n < 0) {
        doc->fault = plk_rescue_text(r, "%s", strerror(-n));
        return;
    }
    plk_digest_text(text, len, doc->digest);
    doc->parsed = plk_descriptor_parse(text, len, name, &doc->desc, &why) == 0;
    plk_rescue_note_words(r, &why);
    doc->fault = doc->parsed ? NULL : plk_rescue_text(r, "%s", why.message);
}

/* ".tmp.tmp" is what ".tmp" is made from: the older tools write one by way of the other. */
static void read_documents(PlkRescue *r)
{
    PLK_FREE char *tmp = plk_printf("%s.tmp", r->store->name),
                  *tmp2 = plk_printf("%s.tmp.tmp", r->store->name);
    PLK_FREE char *lck = plk_printf("%s.lck", r->store->name);

    if (!tmp || !tmp2 || !lck) {
        r->starved = true;
        return;
    }
    read_document(r, r->store->name, &r->present);
    read_document(r, tmp, &r->future);
    if (!r->future.parsed) {
        PlkRescueDocument second = {0};

        read_document(r, tmp2, &second);
        if (second.parsed)
            r->future = second;
    }
    (void)plk_rescue_note(r, plk_dir_read_file(r->store->dir, lck, LOCK_TEXT_MAX, &r->intent, NULL));
}

/* Files that lie elsewhere, or that no listing shows. */
static void add_described(PlkRescue *r, const PlkRescueDocument *doc)
{
    for (size_t i = 0; i < doc->desc.n_images; i++) {
        const char *file = doc->desc.images[i].file;
        PlkRescueFile *f = plk_rescue_find(r, file);

        if (!f && plk_rescue_note(r, plk_dir_exists(r->store->dir, file)) > 0) {
            PLK_FREE char *path = NULL;

            f = plk_rescue_append(r, &r->files, &r->n_files, sizeof *f);
            if (f)
                *f = (PlkRescueFile){.name = plk_rescue_text(r, "%s", plk_rescue_name(r, file, &path)),
                                     .role = PLK_RESCUE_OTHER};
        }
        if (!f)
            continue;
        f->described |= doc == &r->present;
        f->in_future |= doc == &r->future;
    }
}

/* ---- images ---- */

typedef struct Finding {
    PlkRescue *rescue;
    PlkRescueFile *file;
    PlkFindingRank worst;
} Finding;

static int take_finding(void *arg, const PlkFinding *f)
{
    Finding *to = arg;
    PlkRescue *r = to->rescue;

    if (f->rank == PLK_FINDING_INFO || (to->file->fault && f->rank <= to->worst))
        return 0;
    to->worst = f->rank;
    to->file->kind = f->kind;
    to->file->fault = plk_rescue_text(r, "%s", f->meaning);
    to->file->way_out = f->proposal ? plk_rescue_text(r, "%s", f->proposal) : NULL;
    to->file->loss = f->loss ? plk_rescue_text(r, "%s", f->loss) : NULL;
    return 0;
}

static int count_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    PlkRescueFile *f = arg;

    (void)page;
    for (size_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++)
        f->clusters += slots[i] != PLK_SLOT_NONE;
    return 0;
}

/* How many entries are set, where the image can be opened at all. */
static void count_clusters(PlkRescue *r, PlkRescueFile *f)
{
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    PlkError why = {0};

    if (plk_chain_open_image(r->store->dir, f->name, 0, false, 0, &img, &why) < 0)
        plk_rescue_note_words(r, &why);
    else if (plk_rescue_note(r, plk_image_walk_bat(img, count_page, f)) < 0)
        f->clusters = 0;
}

/* A check that stops early gives no header, though this may be as it should. */
static bool read_header(PlkIo *io, PlkHeader *ret)
{
    uint8_t buf[PLK_HEADER_BYTES];
    size_t got;

    return plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ) == 0 &&
           plk_header_decode(buf, got, io->name, PLK_HEADER_STRICT, ret, NULL) == 0;
}

/*
 * No entry, and clusters of data all the same. What was never closed after its birth may be so, as its first
 * writer died; what was, lost its table: that data is no tail to be cut off.
 */
static bool is_emptied(const PlkRescueFile *f, const PlkHeader *header)
{
    uint64_t first = header->first_block_sectors + (uint64_t)header->cluster_sectors;

    return f->clusters == 0 && f->bytes >= first * PLK_SECTOR &&
           (!f->in_use || !(header->flags & PLK_FLAG_EMPTY));
}

/* A rescue kept its table and its end, and was cut short when entries that name nothing were cleared. */
static bool has_kept_end(PlkRescue *r, const PlkRescueFile *f, uint64_t cluster)
{
    for (unsigned n = 1;; n++) {
        PLK_FREE char *name = plk_printf("%s.table.rescued-%u", f->name, n);
        plk_cleanup(plk_io_closep) PlkIo *io = NULL;
        uint64_t size;

        r->starved |= !name;
        if (!name || plk_dir_open_file(r->store->dir, name, 0, 0, &io) < 0 || plk_io_size(io, &size) < 0)
            return false;
        if (size + cluster > f->bytes)
            return true;
    }
}

/* Every repair is asked for and none made: so the findings say what each would do and lose. */
static int check_image(PlkRescue *r, PlkRescueFile *f, PlkIo *io, PlkError *err)
{
    PlkCheckOptions options = {
        .struct_size = sizeof options,
        .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE,
        .dry_run = true,
    };
    Finding to = {.rescue = r, .file = f};
    PlkCheckResult result = {0};
    PlkHeader header = {0};

    if (plk_image_check(io, 0, &options, take_finding, &to, r->progress, &result, &header, err) < 0)
        return -1;
    memcpy(f->found, result.found, sizeof f->found);
    if (header.cluster_sectors == 0 && !read_header(io, &header)) {
        f->role = PLK_RESCUE_DAMAGED;
        return 0;
    }
    f->version = header.version;
    f->cluster_sectors = header.cluster_sectors;
    f->size_sectors = header.size_sectors;
    f->in_use = !plk_checker_is_closed(&header);
    count_clusters(r, f);
    f->emptied = is_emptied(f, &header) && !has_kept_end(r, f, (uint64_t)header.cluster_sectors * PLK_SECTOR);
    return 0;
}

/* Is it named as if it should be an image? Then what does not look like one is damaged, or raw. */
static bool is_meant_as_image(PlkRescue *r, const PlkRescueFile *f)
{
    return f->described || f->in_future || ends_in(f->name, ".hds") || plk_rescue_stem(f->name) ||
           (r->present.desc.n_images == 0 && strcmp(f->name, "root.hds") == 0);
}

static bool is_described_plain(PlkRescue *r, const PlkRescueFile *f)
{
    const PlkDescriptor *descs[] = {&r->present.desc, &r->future.desc};

    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < descs[d]->n_images; i++)
            if (plk_store_is_raw(descs[d], (int)i) && plk_rescue_find(r, descs[d]->images[i].file) == f)
                return true;
    return false;
}

/* It is just as long as the disk that a descriptor speaks of, which no image with a header is. */
static bool has_described_size(PlkRescue *r, const PlkRescueFile *f)
{
    const PlkDescriptor *descs[] = {&r->present.desc, &r->future.desc};

    for (size_t d = 0; d < 2; d++)
        if (descs[d]->n_images && f->bytes && f->bytes == descs[d]->size_sectors * PLK_SECTOR)
            return true;
    return false;
}

/* The largest ordinary cluster that divides the file, as ploop chooses it, unless a descriptor says one. */
static uint32_t cluster_of_raw(PlkRescue *r, uint64_t sectors)
{
    const PlkDescriptor *desc = r->present.parsed ? &r->present.desc : &r->future.desc;

    if (desc->n_images && sectors % desc->cluster_sectors == 0)
        return desc->cluster_sectors;
    for (uint32_t c = PLK_CLUSTER_SECTORS_DEFAULT; c >= PLK_CLUSTER_SECTORS_MIN; c /= 2)
        if (sectors && sectors % c == 0)
            return c;
    return 0;
}

/* No header that makes sense: a raw disk, if something says so, else an image whose header is gone. */
static void look_at_headless(PlkRescue *r, PlkRescueFile *f)
{
    PlkRescueContent content = {0};
    PlkRescueRole was = f->role;

    f->role = PLK_RESCUE_RAW;
    f->size_sectors = f->bytes / PLK_SECTOR;
    f->cluster_sectors = cluster_of_raw(r, f->size_sectors);
    if (f->cluster_sectors && f->bytes % PLK_SECTOR == 0 &&
        ((plk_rescue_look_inside(r, &f->name, 1, &content, NULL) && (content.table || *content.type)) ||
         is_described_plain(r, f) || has_described_size(r, f))) {
        memset(f->found, 0, sizeof f->found);
        f->fault = f->way_out = f->loss = NULL;
        return;
    }
    f->role = was == PLK_RESCUE_OTHER ? PLK_RESCUE_DAMAGED : was;
    f->size_sectors = 0;
    f->cluster_sectors = 0;
}

static bool has_signature(PlkIo *io, int *ret_error)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    size_t got;

    *ret_error = plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ);
    return *ret_error == 0 && plk_header_decode(buf, got, io->name, PLK_HEADER_LOOSE, &header, NULL) == 0;
}

static int64_t changed_at(PlkIo *io)
{
    struct stat st;
    int fd = plk_io_fd(io);

    return fd >= 0 && fstat(fd, &st) == 0 ? (int64_t)st.st_mtime : 0;
}

static int look_at_file(PlkRescue *r, PlkRescueFile *f, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    bool known;
    int n = plk_rescue_note(r, plk_dir_open_file(r->store->dir, f->name, 0, 0, &io));

    if (n == -EIO || n == -EMFILE || n == -ENFILE)
        return plk_fail_io(err, PLK_ERROR_OPEN, n, "cannot look at '%s' of '%s'", f->name,
                           r->store->dir->path);
    if (n < 0) {
        f->fault = plk_rescue_text(r, "%s", n == -EINVAL ? "not a regular file" : strerror(-n));
        return 0;
    }
    n = plk_io_size(io, &f->bytes);
    if (n < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, n, "'%s'", io->name);
    f->changed = changed_at(io);
    if (f->role != PLK_RESCUE_OTHER)
        return 0;
    known = has_signature(io, &n);
    if (n < 0)
        return plk_fail_io(err, PLK_ERROR_READ, n, "'%s'", io->name);
    if (!known && !is_meant_as_image(r, f))
        return 0;
    n = plk_io_lock(io, PLK_IO_LOCK_SHARED);
    if (n < 0)
        return plk_fail_locked(err, io, n);
    f->role = PLK_RESCUE_IMAGE;
    if (check_image(r, f, io, err) < 0)
        return -1;
    if (!known) {
        f->role = PLK_RESCUE_DAMAGED;
        look_at_headless(r, f);
    }
    return 0;
}

/* ---- chains ---- */

static int open_chain(PlkRescue *r, const char *const *files, size_t n, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .cache_bytes = LOOK_CACHE};
    const PlkRescueFile *base = plk_rescue_find(r, files[0]);
    bool raw = base && base->role == PLK_RESCUE_RAW;
    PlkChainFile chain[PLK_CHAIN_SLOTS];

    if (n > PLK_CHAIN_SLOTS)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "a chain of %zu images is too long", n);
    for (size_t i = 0; i < n; i++)
        chain[i] = (PlkChainFile){.path = files[i], .raw = i == 0 && raw};
    return plk_disk_open_chain(r->store->dir, chain, n, raw ? base->cluster_sectors : 0, &options, ret, err);
}

bool plk_rescue_look_inside(PlkRescue *r, const char *const *files, size_t n, PlkRescueContent *ret,
                            const char **ret_why)
{
    PlkError why = {0};
    PlkDisk *disk;

    if (open_chain(r, files, n, &disk, &why) < 0) {
        plk_rescue_note_words(r, &why);
        if (ret_why)
            *ret_why = plk_rescue_text(r, "%s", why.message);
        return false;
    }
    *ret = (PlkRescueContent){0};
    if (r->evidence && r->evidence->look)
        r->evidence->look(r->evidence->arg, disk, ret);
    plk_disk_drop(disk);
    return true;
}

/* Files of the active state, base first; 0 if there is no such chain, *ret_why says why. */
static size_t list_files_of(PlkRescue *r, const PlkDescriptor *desc, const char *ret[], const char **ret_why)
{
    PLK_FREE int *chain = NULL;
    PlkError why = {0};
    size_t n;

    if (plk_descriptor_chain(desc, &desc->top, r->store->name, &chain, &n, &why) < 0) {
        plk_rescue_note_words(r, &why);
        if (ret_why)
            *ret_why = plk_rescue_text(r, "%s", why.message);
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        ret[i] = desc->images[chain[i]].file;
    return n;
}

bool plk_rescue_look_into(PlkRescue *r, const PlkDescriptor *desc, PlkRescueContent *ret,
                          const char **ret_why)
{
    const char *files[PLK_CHAIN_SLOTS];
    size_t n = list_files_of(r, desc, files, ret_why);

    return n && plk_rescue_look_inside(r, files, n, ret, ret_why);
}

PlkDisk *plk_rescue_open(PlkRescue *r, const PlkDescriptor *desc)
{
    const char *files[PLK_CHAIN_SLOTS];
    size_t n = list_files_of(r, desc, files, NULL);
    PlkError why = {0};
    PlkDisk *disk;

    if (n && open_chain(r, files, n, &disk, &why) == 0)
        return disk;
    plk_rescue_note_words(r, &why);
    return NULL;
}

/* ---- the whole ---- */

static bool is_cancelled(PlkRescue *r, size_t done)
{
    return r->progress && r->progress->update(r->progress->arg, "Looking at files", done, r->n_files);
}

/* What an operation that was cut short said that it would take away again. */
static void find_deserted(PlkRescue *r)
{
    for (size_t i = 0; r->intent && r->present.parsed && i < r->n_files; i++)
        r->files[i].deserted = plk_intent_leaves(r->intent, r->present.digest, r->files[i].name);
}

int plk_rescue_look_at_files(PlkRescue *r, PlkError *err)
{
    if (list_files(r, err) < 0)
        return -1;
    read_documents(r);
    add_described(r, &r->present);
    add_described(r, &r->future);
    for (size_t i = 0; i < r->n_files; i++) {
        if (is_cancelled(r, i))
            return plk_fail(err, PLK_ERROR_CANCELLED, "'%s': the survey was stopped; nothing was changed",
                            r->store->dir->path);
        if (look_at_file(r, &r->files[i], err) < 0)
            return -1;
    }
    find_deserted(r);
    return 0;
}
