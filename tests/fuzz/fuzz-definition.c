/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Definitions of pools and volumes from anybody: the first byte chooses what it is to be, the rest is the text.
 *
 * What must hold for a definition that is accepted: its copy prints the same text, and that text is accepted and
 * prints as itself. One that is refused is refused with one line that says why, and has a number of libvirt's.
 */
#include <glib.h>

#include "conf/libvirt-error.h"
#include "conf/volume-def.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

static void check_refusal(const PlkError *err)
{
    FUZZ_CHECK(err->message[0] && !strchr(err->message, '\n'), "refused with '%s'", err->message);
    FUZZ_CHECK(plk_libvirt_error(err).code > 1, "no number for error %d: %s", err->code, err->message);
}

static char *print_pool(const char *xml, unsigned flags, PlkError *err)
{
    PlkPoolDef *def = NULL;

    if (plk_pool_def_parse(xml, flags, &def, err) != 0)
        return NULL;
    PlkPoolDef *copy = plk_pool_def_copy(def);
    g_autofree char *text = plk_pool_def_format(def);
    char *again = plk_pool_def_format(copy);
    FUZZ_CHECK(strcmp(text, again) == 0, "the copy is another pool: %s", again);
    plk_pool_def_free(def);
    plk_pool_def_free(copy);
    return again;
}

static char *print_volume(const char *xml, PlkPoolType pool, unsigned flags, PlkError *err)
{
    PlkVolumeDef *def = NULL;

    if (plk_volume_def_parse(xml, pool, flags, &def, err) != 0)
        return NULL;
    PlkVolumeDef *copy = plk_volume_def_copy(def);
    g_autofree char *text = plk_volume_def_format(def, pool);
    char *again = plk_volume_def_format(copy, pool);
    FUZZ_CHECK(strcmp(text, again) == 0, "the copy is another volume: %s", again);
    plk_volume_def_free(def);
    plk_volume_def_free(copy);
    return again;
}

/* choice: 0 to 13 is a volume of that type of pool, anything else a pool; its high bit asks for the schema. */
static char *print(uint8_t choice, const char *xml, unsigned flags, PlkError *err)
{
    uint8_t type = choice & 0x7f;

    return type < PLK_POOL_TYPES ? print_volume(xml, type, flags, err) : print_pool(xml, flags, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PlkError err = {0};

    if (size == 0)
        return 0;
    g_autofree char *xml = g_strndup((const char *)data + 1, size - 1);
    g_autofree char *text = print(data[0], xml, data[0] & 0x80 ? PLK_PARSE_VALIDATE : 0, &err);
    if (!text) {
        check_refusal(&err);
        return 0;
    }
    g_autofree char *again = print(data[0], text, PLK_PARSE_OPT_CAPACITY, &err);
    FUZZ_CHECK(again, "what is printed is refused: %s\n%s", err.message, text);
    FUZZ_CHECK(strcmp(text, again) == 0, "what is printed is another text:\n%s%s", text, again);
    return 0;
}
