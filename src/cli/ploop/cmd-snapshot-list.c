/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop snapshot-list. Layout to the byte, since scripts cut it up, and stock libvirt asks it two things
 * before it lets anybody upload into a volume: the exit code must be non-zero while somebody writes to the
 * disk (23 here), and the text "root.hds." somewhere in the output means that there are snapshots. Where the
 * deltas have other names, the header says that text, never a row, so that what follows the header stays
 * parseable.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli/common/json.h"
#include "look.h"
#include "table.h"

#define LIBVIRT_SIGN "root.hds."

enum { OPT_ID = PLK_LONG_ONLY, OPT_JSON };
enum { COLUMN_PARENT, COLUMN_CURRENT, COLUMN_GUID, COLUMN_FILE, N_COLUMNS };

static const PlkColumn columns[N_COLUMNS] = {
    [COLUMN_PARENT] = {"parent_uuid", "PARENT_UUID", 38},
    [COLUMN_CURRENT] = {"current", "C", 1},
    [COLUMN_GUID] = {"uuid", "UUID", 38},
    [COLUMN_FILE] = {"fname", "FNAME", 32},
};

typedef struct Listing {
    PlkLook look;
    const PlkSnapshot **rows;
    size_t n;
    const PlkSnapshot *current; /* the row with the star */
} Listing;

/* With -u: from that snapshot down to the base. */
static int pick_chain(Listing *l, const char *guid)
{
    const PlkSnapshot *s = plk_look_find(&l->look, guid);

    if (!s) {
        plk_complain("Can't find snapshot by uuid %s", guid);
        return PLK_EXIT_CREATE; /* 1: what the original says here */
    }
    for (; s && l->n < l->look.list.n; s = plk_look_parent(&l->look, s))
        l->rows[l->n++] = s;
    return 0;
}

/* With -s the active state is no snapshot: it is left out, and the star stands at the one it began from. */
static void hide_active(Listing *l)
{
    const PlkSnapshot *active = l->current;
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++)
        if (l->rows[i] != active)
            l->rows[kept++] = l->rows[i];
    l->n = kept;
    l->current = active ? plk_look_parent(&l->look, active) : NULL;
}

static int pick_rows(const PlkArgs *args, Listing *l)
{
    char guid[39] = "";
    int rc;

    if (plk_arg_guid(args, 'u', guid) || (!guid[0] && plk_arg_guid(args, OPT_ID, guid)))
        return PLK_EXIT_PARAM;
    l->current = plk_look_active(&l->look);
    if (guid[0]) {
        rc = pick_chain(l, guid);
        if (rc)
            return rc;
    } else {
        for (size_t i = 0; i < l->look.list.n; i++)
            l->rows[l->n++] = &l->look.list.items[i];
    }
    if (plk_arg_given(args, 's'))
        hide_active(l);
    return 0;
}

static bool sign_in_rows(const Listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (strstr(l->rows[i]->path, LIBVIRT_SIGN))
            return true;
    return false;
}

static void print_rows(const PlkArgs *args, const Listing *l, PlkTable *table)
{
    PlkColumn adapted[N_COLUMNS];

    memcpy(adapted, columns, sizeof(columns));
    if (l->look.list.n > 1 && !plk_arg_given(args, 'o') && !sign_in_rows(l))
        adapted[COLUMN_FILE].title = "FNAME (snapshots not named " LIBVIRT_SIGN "{UUID})";
    table->columns = adapted;
    if (!plk_arg_given(args, 'H'))
        plk_table_header(table);
    for (size_t i = 0; i < l->n; i++) {
        const PlkSnapshot *s = l->rows[i];

        plk_table_row(table, (const char *const[N_COLUMNS]){
                                 [COLUMN_PARENT] = s->parent,
                                 [COLUMN_CURRENT] = s == l->current ? "*" : " ",
                                 [COLUMN_GUID] = s->guid,
                                 [COLUMN_FILE] = s->path,
                             });
    }
    table->columns = columns;
}

static void print_json(const Listing *l)
{
    PlkJson j = {.out = stdout};

    plk_json_open(&j, NULL, '[');
    for (size_t i = 0; i < l->n; i++) {
        const PlkSnapshot *s = l->rows[i];

        plk_json_open(&j, NULL, '{');
        plk_json_string(&j, "parent_uuid", s->parent);
        plk_json_bool(&j, "current", s == l->current);
        plk_json_string(&j, "uuid", s->guid);
        plk_json_bool(&j, "temporary", s->temporary);
        plk_json_string(&j, "fname", s->path);
        plk_json_close(&j, '}');
    }
    plk_json_close(&j, ']');
}

static int list(const PlkArgs *args, Listing *l, PlkTable *table)
{
    int rc;

    l->rows = calloc(l->look.list.n + 1, sizeof(*l->rows));
    if (!l->rows) {
        plk_complain("out of memory");
        return PLK_EXIT_MALLOC;
    }
    rc = pick_rows(args, l);
    if (rc == 0 && plk_arg_given(args, OPT_JSON))
        print_json(l);
    else if (rc == 0)
        print_rows(args, l, table);
    free(l->rows);
    return rc;
}

static int run(const PlkArgs *args)
{
    const char *path = args->operands[0];
    PlkTable table = {.columns = columns, .n_columns = N_COLUMNS};
    Listing listing = {0};
    char bad[64];
    PlkError err;
    int rc;

    if (plk_table_pick(&table, plk_arg(args, 'o'), bad, sizeof(bad)) < 0) {
        plk_complain("Unknown field: %s (parent_uuid, current, uuid, fname)", bad);
        return PLK_EXIT_CREATE;
    }
    if (plk_look(path, &listing.look, &err) < 0) {
        plk_complain("failed to read %s: %s", path, err.message);
        return PLK_EXIT_CREATE;
    }
    if (plk_snapshot_writer(path, plk_root, &err) == 0)
        rc = list(args, &listing, &table);
    else
        rc = plk_cli_fail(&err) == PLK_EXIT_LOCKED ? PLK_EXIT_LOCKED : PLK_EXIT_CREATE;
    plk_look_clear(&listing.look);
    return rc;
}

static const PlkOption options[] = {
    {'H', "no-header", NULL, "leave the header line out"},
    {'o', "output", "FIELD,...", "columns: parent_uuid, current, uuid, fname"},
    {'s', "snapshot", NULL, "leave the active state out, mark the one it began from"},
    {'u', "uuid", "UUID", "only this snapshot and those below it"},
    {OPT_ID, "id", "UUID", NULL},
    {OPT_JSON, "json", NULL, "the list as JSON"},
    {0},
};

static const char *const notes[] = {
    "Exit code 23 when a program has the disk open for writing.",
    NULL,
};

const PlkVerb plk_verb_snapshot_list = {
    .name = "snapshot-list",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "list the states of a disk",
    .notes = notes,
};
