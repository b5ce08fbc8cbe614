/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Taking and drawing the picture of a disk; see the header. */
#include "picture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/math.h"
#include "base/units.h"
#include "cli.h"
#include "look.h"

#define MAX_ROWS 24
#define SVG_CELL 10
#define SVG_LINE 20

/* ---- taking ---- */

static size_t tally_index(const PlkPicture *p, int owner)
{
    return owner >= 0 ? (size_t)owner : p->levels + (owner == PLK_CELL_UNALLOCATED);
}

static int owner_of(const PlkExtent *x)
{
    if (x->kind == PLK_EXTENT_UNALLOCATED)
        return PLK_CELL_UNALLOCATED;
    return x->kind == PLK_EXTENT_ZERO ? PLK_CELL_ZERO : x->level;
}

/* Data before zeros before nothing, however little of it: a lone cluster in a large cell must show. */
static int winner(const PlkPicture *p, const uint64_t *in_cell)
{
    size_t best = 0;

    for (size_t i = 1; i < p->levels; i++)
        if (in_cell[i] > in_cell[best])
            best = i;
    if (in_cell[best])
        return (int)best;
    return in_cell[p->levels] ? PLK_CELL_ZERO : PLK_CELL_UNALLOCATED;
}

static int take_cell(PlkDisk *disk, PlkPicture *p, size_t i, uint64_t *in_cell, PlkExtent *x, PlkError *err)
{
    uint64_t size = plk_disk_size(disk), at = i * p->cell, end = PLK_MIN(at + p->cell, size);

    memset(in_cell, 0, (p->levels + 2) * sizeof(*in_cell));
    while (at < end) {
        uint64_t part;

        if (!x->length) { /* asked far ahead: one answer serves many cells */
            int rc = plk_disk_status(disk, at, size - at, x);

            if (rc < 0) {
                plk_disk_explain(disk, rc, err);
                return -1;
            }
        }
        part = PLK_MIN(x->length, end - at);
        in_cell[tally_index(p, owner_of(x))] += part;
        x->length -= part;
        at += part;
    }
    for (size_t k = 0; k < p->levels + 2; k++)
        p->bytes[k] += in_cell[k];
    p->owner[i] = winner(p, in_cell);
    return 0;
}

static int take_all(PlkDisk *disk, PlkPicture *p, const PlkProgress *progress, PlkError *err)
{
    uint64_t *in_cell = plk_calloc(p->levels + 2, sizeof(*in_cell));
    PlkExtent x = {0};
    int rc = in_cell ? 0 : plk_fail_nomem(err);

    for (size_t i = 0; rc == 0 && i < p->cells; i++) {
        rc = take_cell(disk, p, i, in_cell, &x, err);
        if (rc == 0 && progress && progress->update(progress->arg, "map", i + 1, p->cells))
            rc = plk_fail(err, PLK_ERROR_CANCELLED, "map: cancelled");
    }
    free(in_cell);
    return rc;
}

int plk_picture_take(PlkDisk *disk, unsigned width, const PlkProgress *progress, PlkPicture *ret,
                     PlkError *err)
{
    uint64_t size = plk_disk_size(disk);
    PlkPicture p = {.width = width};
    PlkDiskInfo info;

    if (plk_disk_info(disk, &info, err) < 0)
        return -1;
    p.levels = info.levels;
    p.cell = plk_round_up(plk_div_up(PLK_MAX(size, 1), (uint64_t)width * MAX_ROWS), info.cluster);
    p.cells = (size_t)plk_div_up(size, p.cell);
    p.rows = (unsigned)plk_div_up(p.cells, width);
    p.owner = plk_calloc(p.cells + 1, sizeof(*p.owner));
    p.bytes = plk_calloc(p.levels + 2, sizeof(*p.bytes));
    if (!p.owner || !p.bytes || take_all(disk, &p, progress, err) < 0) {
        if (!p.owner || !p.bytes)
            plk_fail_nomem(err);
        plk_picture_clear(&p);
        return -1;
    }
    *ret = p;
    return 0;
}

void plk_picture_clear(PlkPicture *p)
{
    free(p->owner);
    free(p->bytes);
    *p = (PlkPicture){0};
}

/* ---- letters and colours ---- */

static char letter(int owner)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    if (owner == PLK_CELL_UNALLOCATED)
        return '.';
    if (owner == PLK_CELL_ZERO)
        return '0';
    return letters[PLK_MIN((size_t)owner, sizeof(letters) - 2)];
}

/* 256-colour palette, told apart also by those who do not see red and green alike. */
static int ansi_colour(int owner)
{
    static const unsigned char colours[] = {33, 208, 36, 175, 220, 75, 166, 140};

    return owner < 0 ? owner == PLK_CELL_ZERO ? 244 : 236 : colours[(size_t)owner % sizeof(colours)];
}

static void put_cell(int owner, bool colours)
{
    if (colours)
        printf("\033[48;5;%dm \033[0m", ansi_colour(owner));
    else
        putchar(letter(owner));
}

static void print_legend(const PlkPicture *p, int owner, const char *text, bool colours)
{
    char size[32];

    put_cell(owner, colours);
    printf(" %10s", plk_human_size(p->bytes[tally_index(p, owner)], size, sizeof(size)));
    plk_put_name("  ", text, "\n");
}

void plk_picture_draw_text(const PlkPicture *p, PlkDisk *disk, bool colours)
{
    char size[32], cell[32];

    for (size_t i = 0; i < p->cells; i++) {
        put_cell(p->owner[i], colours);
        if ((i + 1) % p->width == 0 || i + 1 == p->cells)
            putchar('\n');
    }
    printf("\n%s, a cell is %s\n", plk_human_size(plk_disk_size(disk), size, sizeof(size)),
           plk_human_size(p->cell, cell, sizeof(cell)));
    for (unsigned i = 0; i < p->levels; i++)
        print_legend(p, (int)i, plk_disk_image_path(disk, i), colours);
    print_legend(p, PLK_CELL_ZERO, "zeros kept as holes", colours);
    print_legend(p, PLK_CELL_UNALLOCATED, "never written", colours);
}

/* ---- SVG ---- */

static const char *svg_colour(int owner)
{
    static const char *const colours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                          "#f0e442", "#56b4e9", "#d55e00", "#999933"};

    if (owner < 0)
        return owner == PLK_CELL_ZERO ? "#bbbbbb" : "#eeeeee";
    return colours[(size_t)owner % (sizeof(colours) / sizeof(*colours))];
}

/* Names come from a descriptor that anybody may have written. */
static void put_xml(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '>' || *text == '&')
            fprintf(out, "&#%d;", *text);
        else if ((unsigned char)*text >= 0x20 && (unsigned char)*text < 0x7f)
            fputc(*text, out);
        else
            fputc('?', out);
    }
}

static void draw_legend_line(const PlkPicture *p, int owner, const char *text, unsigned y, FILE *out)
{
    char size[32];

    fprintf(
        out, "<rect x=\"0\" y=\"%u\" width=\"12\" height=\"12\" fill=\"%s\"/>\n<text x=\"20\" y=\"%u\">%s  ",
        y, svg_colour(owner), y + 11, plk_human_size(p->bytes[tally_index(p, owner)], size, sizeof(size)));
    put_xml(out, text);
    fputs("</text>\n", out);
}

/* Neighbours of one owner in a row become one rectangle. */
static void draw_cells(const PlkPicture *p, FILE *out)
{
    for (size_t i = 0, n; i < p->cells; i += n) {
        size_t column = i % p->width;

        for (n = 1; i + n < p->cells && column + n < p->width && p->owner[i + n] == p->owner[i];)
            n++;
        fprintf(out, "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%d\" fill=\"%s\"/>\n",
                column * SVG_CELL, i / p->width * SVG_CELL, n * SVG_CELL, SVG_CELL, svg_colour(p->owner[i]));
    }
}

void plk_picture_draw_svg(const PlkPicture *p, PlkDisk *disk, FILE *out)
{
    unsigned y = p->rows * SVG_CELL + SVG_LINE, width = PLK_MAX(p->width * SVG_CELL, 640);

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n",
            width, y + (p->levels + 2) * SVG_LINE, width, y + (p->levels + 2) * SVG_LINE);
    draw_cells(p, out);
    for (unsigned i = 0; i < p->levels; i++, y += SVG_LINE)
        draw_legend_line(p, (int)i, plk_last_name(plk_disk_image_path(disk, i)), y, out);
    draw_legend_line(p, PLK_CELL_ZERO, "zeros kept as holes", y, out);
    draw_legend_line(p, PLK_CELL_UNALLOCATED, "never written", y + SVG_LINE, out);
    fputs("</svg>\n", out);
}
