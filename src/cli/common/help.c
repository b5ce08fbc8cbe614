/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Usage and help, printed from the verb tables; no line is longer than 80 columns. */
#include "command.h"

#include <string.h>

#define LINE_WIDTH 80
#define TEXT_COLUMN 26

/* A word of the usage line, wrapped under the first word after the command's name. */
static void put_word(FILE *out, const char *word, size_t indent, size_t *column)
{
    if (*column + 1 + strlen(word) > LINE_WIDTH) {
        fprintf(out, "\n%*s", (int)indent, "");
        *column = indent;
    }
    *column += (size_t)fprintf(out, " %s", word);
}

/* "-s SIZE", "[--json]"; what may stand alone and must be there is just "POOL". */
static void usage_word(const PlkOption *o, char *word, size_t size)
{
    const char *argument = o->argument ? o->argument : "";
    char flag[40];

    if (o->id < PLK_LONG_ONLY)
        snprintf(flag, sizeof(flag), "-%c", o->id);
    else
        snprintf(flag, sizeof(flag), "--%s", o->name);
    if (o->operand && o->required)
        snprintf(word, size, "%s", argument);
    else
        snprintf(word, size, "%s%s%s%s%s", o->required ? "" : "[", flag,
                 *argument && *argument != '[' ? " " : "", argument, o->required ? "" : "]");
}

static void print_usage(const PlkVerb *verb, const char *prefix, FILE *out)
{
    size_t indent = (size_t)fprintf(out, "Usage: %s %s", prefix, verb->name), column = indent;
    char word[80];

    for (const PlkOption *o = verb->options; o && o->id; o++) {
        if (!o->help)
            continue;
        usage_word(o, word, sizeof(word));
        put_word(out, word, indent, &column);
    }
    if (verb->operands)
        put_word(out, verb->operands, indent, &column);
    fputc('\n', out);
}

/* Words from `column` on, continued at `indent` on the next line. */
static void put_text(FILE *out, const char *text, size_t column, size_t indent)
{
    bool first = true;

    while (*text) {
        size_t len = strcspn(text, " ");

        if (column + !first + len > LINE_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        column += (size_t)fprintf(out, "%s%.*s", first ? "" : " ", (int)len, text);
        first = false;
        text += len + (text[len] == ' ');
    }
    fputc('\n', out);
}

static void put_entry(FILE *out, const char *left, const char *text)
{
    fprintf(out, "  %-*s", TEXT_COLUMN - 2, left);
    if (strlen(left) > TEXT_COLUMN - 3) /* no blank left between the two */
        fprintf(out, "\n%*s", TEXT_COLUMN, "");
    put_text(out, text, TEXT_COLUMN, TEXT_COLUMN);
}

static void print_option(const PlkOption *o, FILE *out)
{
    char left[80] = "";
    size_t n = 0;

    if (o->id < PLK_LONG_ONLY)
        n = (size_t)snprintf(left, sizeof(left), "-%c%s", o->id, o->name ? ", " : "");
    if (o->name)
        n += (size_t)snprintf(left + n, sizeof(left) - n, "--%s", o->name);
    if (o->argument)
        snprintf(left + n, sizeof(left) - n, "%s%s", *o->argument == '[' ? "" : " ", o->argument);
    put_entry(out, left, o->help);
}

/* out NULL: only the usage line, on stderr. */
void plk_verb_help(const PlkVerb *verb, const char *prefix, FILE *out)
{
    size_t column = 0;

    print_usage(verb, prefix, out ? out : stderr);
    if (!out)
        return;
    if (verb->flags & PLK_VERB_REFUSED)
        column = (size_t)fprintf(out, "This %s and is refused: ", plk_program.refused);
    put_text(out, verb->help, column, 0);
    fputc('\n', out);
    for (const PlkOption *o = verb->options; o && o->id; o++)
        if (o->help)
            print_option(o, out);
    put_entry(out, "-h, --help", "this text");
    if (verb->notes)
        fputc('\n', out);
    for (const char *const *note = verb->notes; note && *note; note++)
        fprintf(out, "%s\n", *note);
}

/* Named for the sake of those who look for them, without a line each. */
static void print_refused_verbs(const PlkVerb *const *verbs, FILE *out)
{
    size_t column = (size_t)fprintf(out, "\nRefused, since they %s:", plk_program.refused_all);

    for (; *verbs; verbs++)
        if ((*verbs)->flags & PLK_VERB_REFUSED)
            put_word(out, (*verbs)->name, 1, &column);
    fputc('\n', out);
}

void plk_verbs_help(const PlkVerb *const *verbs, const char *prefix, FILE *out)
{
    bool top = strcmp(prefix, plk_program.name) == 0;

    fprintf(out, "Usage: %s %sCOMMAND [ARGUMENT...]\n\n", prefix, top ? plk_program.usage : "");
    for (const PlkVerb *const *v = verbs; *v; v++)
        if (!((*v)->flags & PLK_VERB_REFUSED))
            put_entry(out, (*v)->name, (*v)->help);
    if (plk_program.refused)
        print_refused_verbs(verbs, out);
    fprintf(out, "\n'%s COMMAND --help' tells about one of them.\n", prefix);
    if (!top)
        return;
    if (plk_program.options)
        fputc('\n', out);
    for (const PlkOption *o = plk_program.options; o && o->id; o++)
        print_option(o, out);
    for (const char *const *note = plk_program.notes; *note; note++)
        fprintf(out, "%s\n", *note);
}
