/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DiskDescriptor.xml from anybody: parsed, printed, edited.
 *
 * What must hold for a text that is accepted:
 *  - what is printed is accepted, means the same, and prints as the same text again; also after each edit;
 *  - it has no document type;
 *  - every chain ends, within its bound, at a base, and holds no image twice;
 *  - the name of an image opens nothing outside of the disk's directory, judged by a second reader of names.
 * One that is refused is refused with one line that says why.
 */
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlerror.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>

#include "base/cleanup.h"
#include "format/descriptor.h"
#include "format/header.h"
#include "fuzz.h"
#include "io/dir.h"
#include "io/path.h"

#define CHAIN_MAX 128
#define DIRECTORY "/pool/disk"

static PlkDir *dir;

/* ---- the same disk? ---- */

static void compare(const PlkDescriptor *a, const PlkDescriptor *b)
{
    FUZZ_CHECK(a->size_sectors == b->size_sectors && a->cluster_sectors == b->cluster_sectors &&
                   a->preallocated == b->preallocated && a->max_delta_size == b->max_delta_size &&
                   plk_guid_equal(&a->top, &b->top) && a->n_images == b->n_images && a->n_shots == b->n_shots,
               "what is printed is another disk");
    for (size_t i = 0; i < a->n_images; i++)
        FUZZ_CHECK(plk_guid_equal(&a->images[i].guid, &b->images[i].guid) &&
                       a->images[i].plain == b->images[i].plain &&
                       strcmp(a->images[i].file, b->images[i].file) == 0,
                   "image %zu is printed as another one", i);
    for (size_t i = 0; i < a->n_shots; i++)
        FUZZ_CHECK(plk_guid_equal(&a->shots[i].guid, &b->shots[i].guid) &&
                       plk_guid_equal(&a->shots[i].parent, &b->shots[i].parent) &&
                       a->shots[i].temporary == b->shots[i].temporary,
                   "shot %zu is printed as another one", i);
}

static void check_fixpoint(const PlkDescriptor *desc)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor again = {0};
    PLK_FREE char *text = NULL, *second = NULL;
    size_t len, second_len;
    PlkError err;

    if (plk_descriptor_print(desc, &text, &len, &err) != 0) {
        FUZZ_CHECK(err.code != PLK_ERROR_INTERNAL && err.message[0], "cannot print: %s", err.message);
        return;
    }
    FUZZ_CHECK(strlen(text) == len, "a NUL is printed");
    if (len > PLK_DESC_TEXT_MAX)
        return;
    FUZZ_CHECK(plk_descriptor_parse(text, len, "printed", &again, &err) == 0, "what is printed is refused: %s",
               err.message);
    compare(desc, &again);
    FUZZ_CHECK(plk_descriptor_print(&again, &second, &second_len, &err) == 0, "cannot print: %s", err.message);
    FUZZ_CHECK(len == second_len && memcmp(text, second, len) == 0, "it is printed differently: %s",
               second);
}

/* ---- names ---- */

/* A name as its parts: does it go above the directory, or end at it? */
static bool leaves_directory(const char *name)
{
    int depth = 0;
    bool root = name[0] == '/';

    if (root) { /* absolute: all but the directory itself is outside; its own name is too rare to follow */
        if (strncmp(name, DIRECTORY "/", sizeof DIRECTORY) != 0)
            return !strstr(name, "pool");
        name += sizeof DIRECTORY;
    }
    while (*name) {
        size_t n = strcspn(name, "/");

        if (n == 2 && memcmp(name, "..", 2) == 0) {
            if (--depth < 0)
                return !strstr(name, "pool"); /* out, and perhaps back in */
        } else if (n > 0 && !(n == 1 && name[0] == '.')) {
            depth++;
        }
        name += n + (name[n] == '/');
    }
    return depth == 0;
}

static void check_name(const char *name)
{
    PLK_FREE char *path = NULL;
    int r = plk_path_resolve(dir, name, &path);

    FUZZ_CHECK(name[0], "an image without a name");
    if (r == 0)
        FUZZ_CHECK(strncmp(path, DIRECTORY "/", sizeof DIRECTORY) == 0 && !strstr(path, "/../") &&
                       !strstr(path, "//"),
                   "'%s' is opened as '%s'", name, path);
    FUZZ_CHECK(r < 0 || !leaves_directory(name), "'%s' may be opened", name);
}

/* ---- chains ---- */

static void check_chain(const PlkDescriptor *desc, const PlkGuid *guid)
{
    PLK_FREE int *chain = NULL;
    size_t n;
    PlkError err = {0};

    if (plk_descriptor_chain(desc, guid, "input", &chain, &n, &err) != 0) {
        FUZZ_CHECK(err.code == PLK_ERROR_DESCRIPTOR && err.message[0], "a bad chain is called %d", err.code);
        return;
    }
    FUZZ_CHECK(n > 0 && n <= CHAIN_MAX && n <= desc->n_images, "a chain of %zu", n);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(chain[i] >= 0 && (size_t)chain[i] < desc->n_images, "image %d", chain[i]);
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(chain[i] != chain[j], "image %d is there twice", chain[i]);
    }
    FUZZ_CHECK(plk_guid_equal(&desc->images[chain[n - 1]].guid, guid), "the chain ends elsewhere");
}

/* ---- edits, as the operations make them ---- */

static void edit(PlkDescriptor *desc, size_t choice)
{
    PlkGuid fresh = {"{0badcafe-0bad-4bad-8bad-0badcafe0bad}"}, some = desc->images[choice % desc->n_images].guid;

    switch (choice % 4) {
    case 0: /* a snapshot */
        if (plk_descriptor_find_shot(desc, &fresh) >= 0 || plk_descriptor_find_image(desc, &fresh) >= 0)
            return;
        plk_descriptor_rename(desc, &desc->top, &fresh);
        if (plk_descriptor_add(desc, &PLK_GUID_TOP, &fresh, "root.hds.{0badcafe}", NULL) == 0)
            desc->top = PLK_GUID_TOP;
        break;
    case 1: /* a deletion */
        if (!plk_guid_equal(&some, &desc->top) && desc->n_images > 1)
            plk_descriptor_remove(desc, &some);
        break;
    case 2:
        plk_descriptor_set_size(desc, 64 * (uint64_t)choice * 1001 % (1ull << 40) + 64);
        break;
    default: /* a merge: the top takes the name of another file */
        plk_descriptor_remove(desc, &some);
        plk_descriptor_rename(desc, &desc->top, &some);
    }
}

/* An edit may make a disk that no operation makes, such as one without a top; that one may be refused. */
static bool is_sound(const PlkDescriptor *desc)
{
    return desc->n_images > 0 && desc->n_images == desc->n_shots && plk_descriptor_find_shot(desc, &desc->top) >= 0 &&
           !desc->shots[plk_descriptor_find_shot(desc, &desc->top)].temporary;
}

static bool has_file_twice(const PlkDescriptor *desc)
{
    for (size_t i = 0; i < desc->n_images; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(desc->images[i].file, desc->images[j].file) == 0)
                return true;
    return false;
}

static void check_edit(const PlkDescriptor *desc, size_t choice)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor copy = {0};
    PlkError err;

    FUZZ_CHECK(plk_descriptor_copy(desc, &copy, &err) == 0, "cannot copy: %s", err.message);
    edit(&copy, choice);
    if (is_sound(&copy) && !has_file_twice(&copy))
        check_fixpoint(&copy);
}

/* ---- one text ---- */

static void check_accepted(const PlkDescriptor *desc, size_t choice)
{
    FUZZ_CHECK(!((xmlDoc *)desc->tree)->intSubset, "a document type is accepted");
    FUZZ_CHECK(plk_cluster_is_valid(desc->cluster_sectors) && desc->n_images <= PLK_DESC_IMAGES_MAX &&
                   desc->n_images == desc->n_shots,
               "out of bounds");
    for (size_t i = 0; i < desc->n_images && i < 16; i++) {
        check_name(desc->images[i].file);
        check_chain(desc, &desc->shots[i].guid);
    }
    check_fixpoint(desc);
    check_edit(desc, choice);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    FUZZ_CHECK(plk_dir_open_memory(DIRECTORY, &dir) == 0, "out of memory");
    xmlInitParser();
    return 0;
}

/* What kind of edit follows: anything that a mutation changes. */
static size_t choose(const uint8_t *data, size_t size)
{
    size_t sum = size;

    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PlkError err = {0};

    if (plk_descriptor_parse((const char *)data, size, "input", &desc, &err) != 0) {
        FUZZ_CHECK(err.code == PLK_ERROR_DESCRIPTOR && err.message[0] && !strchr(err.message, '\n'),
                   "refused with %d '%s'", err.code, err.message);
        return 0;
    }
    check_accepted(&desc, choose(data, size));
    return 0;
}
