/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From argv to a verb and its checked arguments. getopt_long is fed from the tables, so what --help shows is
 * what is accepted. A mistake here ends in the exit code of bad usage and nothing has been touched.
 */
#include "command.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/guid.h"
#include "base/units.h"

/* ---- getopt's tables from ours ---- */

typedef struct Getopt {
    char letters[2 * PLK_MAX_OPTIONS + 5];
    struct option names[PLK_MAX_OPTIONS + 2];
} Getopt;

/* "[=N]" may be left out. */
static int argument_of(const PlkOption *o)
{
    if (!o->argument)
        return no_argument;
    return *o->argument == '[' ? optional_argument : required_argument;
}

static void add_options(const PlkOption *o, char **letter, struct option **name)
{
    for (; o && o->id; o++) {
        if (o->id < PLK_LONG_ONLY) {
            *(*letter)++ = (char)o->id;
            if (o->argument)
                *(*letter)++ = ':';
        }
        if (o->name)
            *(*name)++ = (struct option){o->name, argument_of(o), NULL, o->id};
    }
}

static size_t count_options(const PlkOption *options)
{
    size_t n = 0;

    while (options && options[n].id)
        n++;
    return n;
}

/* verb NULL: the program's own alone, up to the first word that is none. */
static void getopt_tables(const PlkVerb *verb, Getopt *ret)
{
    char *letter = ret->letters;
    struct option *name = ret->names;

    assert((verb ? count_options(verb->options) : 0) + count_options(plk_program.options) <= PLK_MAX_OPTIONS);
    if (!verb)
        *letter++ = '+';
    *letter++ = ':'; /* tell a missing argument from an unknown option */
    if (verb)
        add_options(verb->options, &letter, &name);
    add_options(plk_program.options, &letter, &name);
    *letter++ = 'h';
    *letter = '\0';
    *name++ = (struct option){"help", no_argument, NULL, 'h'};
    *name = (struct option){0};
}

static int option_index(const PlkVerb *verb, int id)
{
    int i = 0;

    while (verb->options && verb->options[i].id && verb->options[i].id != id)
        i++;
    return verb->options && verb->options[i].id ? i : -1;
}

static void usage_hint(const char *prefix, const PlkVerb *verb)
{
    plk_verb_help(verb, prefix, NULL);
    fprintf(stderr, "Try '%s %s --help'.\n", prefix, verb->name);
}

static void complain_option(int c, char **argv, const char *where)
{
    const char *what = c == ':' ? "lacks its argument" : "is not known";

    if (optopt && optopt < PLK_LONG_ONLY && strncmp(argv[optind - 1], "--", 2) != 0)
        plk_complain("%soption -%c %s", where, optopt, what);
    else
        plk_complain("%soption %s %s", where, argv[optind - 1], what);
}

static int bad_option(int c, char **argv, const char *prefix, const PlkVerb *verb)
{
    char where[64];

    snprintf(where, sizeof(where), "%s: ", verb->name);
    complain_option(c, argv, where);
    usage_hint(prefix, verb);
    return plk_program.usage_exit;
}

/* -1 when the verb shall run, else the exit code. */
static int parse_options(const PlkVerb *verb, const char *prefix, int argc, char **argv, PlkArgs *ret)
{
    Getopt tables;
    int c, i, rc;

    getopt_tables(verb, &tables);
    opterr = 0;
    optind = 0; /* start over */
    while ((c = getopt_long(argc, argv, tables.letters, tables.names, NULL)) != -1) {
        if (c == '?' || c == ':')
            return bad_option(c, argv, prefix, verb);
        if (c == 'h') {
            plk_verb_help(verb, prefix, stdout);
            return 0;
        }
        i = option_index(verb, c);
        if (i >= 0) {
            ret->value[i] = optarg ? optarg : "";
            continue;
        }
        rc = plk_program.option(c, optarg);
        if (rc >= 0)
            return rc;
    }
    ret->operands = argv + optind;
    ret->n = argc - optind;
    return -1;
}

int plk_program_options(int argc, char **argv, int *ret_at)
{
    Getopt tables;
    int c, rc;

    getopt_tables(NULL, &tables);
    opterr = 0;
    optind = 0;
    while ((c = getopt_long(argc, argv, tables.letters, tables.names, NULL)) != -1) {
        if (c == 'h') {
            plk_verbs_help(plk_program.verbs, plk_program.name, stdout);
            return 0;
        }
        if (c == '?' || c == ':') {
            complain_option(c, argv, "");
            fprintf(stderr, "Try '%s --help'.\n", plk_program.name);
            return plk_program.usage_exit;
        }
        rc = plk_program.option(c, optarg);
        if (rc >= 0)
            return rc;
    }
    *ret_at = optind;
    return -1;
}

/* What stands alone goes to the options that may be given so, first come, first served. */
static void fill_operands(const PlkVerb *verb, PlkArgs *args)
{
    for (int i = 0; args->n && verb->options && verb->options[i].id; i++) {
        if (!verb->options[i].operand || args->value[i])
            continue;
        args->value[i] = *args->operands++;
        args->n--;
    }
}

static void complain_missing(const PlkVerb *verb, const PlkOption *o)
{
    if (o->operand)
        plk_complain("%s: %s is missing", verb->name, o->argument);
    else if (o->id < PLK_LONG_ONLY)
        plk_complain("%s: option -%c is missing", verb->name, o->id);
    else
        plk_complain("%s: option --%s is missing", verb->name, o->name);
}

static int check_counts(const PlkVerb *verb, const char *prefix, const PlkArgs *args)
{
    for (int i = 0; verb->options && verb->options[i].id; i++) {
        if (!verb->options[i].required || args->value[i])
            continue;
        complain_missing(verb, &verb->options[i]);
        usage_hint(prefix, verb);
        return plk_program.usage_exit;
    }
    if (args->n < verb->min)
        plk_complain("%s: %s is missing", verb->name, args->n ? "an argument" : verb->operands);
    else if (verb->max >= 0 && args->n > verb->max)
        plk_complain("%s: unexpected argument '%s'", verb->name, args->operands[verb->max]);
    else
        return -1;
    usage_hint(prefix, verb);
    return plk_program.usage_exit;
}

static int verb_run(const PlkVerb *verb, const char *prefix, bool joined, int argc, char **argv)
{
    PlkArgs args = {.verb = verb, .name = verb->name, .joined = joined};
    char longer[64];
    int rc;

    if (verb->sub) {
        snprintf(longer, sizeof(longer), "%s %s", prefix, verb->name);
        return plk_verb_dispatch(verb->sub, longer, argc - 1, argv + 1);
    }
    rc = parse_options(verb, prefix, argc, argv, &args);
    if (rc >= 0)
        return rc;
    fill_operands(verb, &args);
    rc = check_counts(verb, prefix, &args);
    return rc < 0 ? verb->run(&args) : rc;
}

static const char *present_name(const char *name)
{
    for (const PlkVerbAlias *a = plk_program.aliases; a && a->old; a++) {
        if (strcmp(a->old, name) != 0)
            continue;
        plk_warn("'%s' is an old name of '%s'", a->old, a->now);
        return a->now;
    }
    return name;
}

static const PlkVerb *find_verb(const PlkVerb *const *verbs, const char *name)
{
    while (*verbs && strcmp((*verbs)->name, name) != 0)
        verbs++;
    return *verbs;
}

/* "pool-list": the verb "list" of "pool", whose name goes to *ret_noun. */
static const PlkVerb *find_joined(const PlkVerb *const *verbs, const char *name, const PlkVerb **ret_noun)
{
    for (; *verbs; verbs++) {
        size_t len = strlen((*verbs)->name);

        if (!(*verbs)->sub || strncmp((*verbs)->name, name, len) != 0 || name[len] != '-')
            continue;
        *ret_noun = *verbs;
        return find_verb((*verbs)->sub, name + len + 1);
    }
    return NULL;
}

static int run_joined(const PlkVerb *verb, const PlkVerb *noun, const char *prefix, int argc, char **argv)
{
    char longer[64];

    snprintf(longer, sizeof(longer), "%s %s", prefix, noun->name);
    return verb_run(verb, longer, true, argc, argv);
}

int plk_verb_dispatch(const PlkVerb *const *verbs, const char *prefix, int argc, char **argv)
{
    const PlkVerb *verb, *noun;

    if (argc < 1) {
        plk_verbs_help(verbs, prefix, stderr);
        return plk_program.usage_exit;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        plk_verbs_help(verbs, prefix, stdout);
        return 0;
    }
    verb = find_verb(verbs, present_name(argv[0]));
    if (verb)
        return verb_run(verb, prefix, false, argc, argv);
    verb = plk_program.joined ? find_joined(verbs, argv[0], &noun) : NULL;
    if (verb)
        return run_joined(verb, noun, prefix, argc, argv);
    plk_complain("unknown %s '%s'; '%s --help' lists what there is", argv[0][0] == '-' ? "option" : "command",
                 argv[0], prefix);
    return plk_program.usage_exit;
}

/* ---- values ---- */

bool plk_arg_given(const PlkArgs *args, int id)
{
    return plk_arg(args, id) != NULL;
}

const char *plk_arg(const PlkArgs *args, int id)
{
    int i = option_index(args->verb, id);

    assert(i >= 0); /* a verb asks only for options of its own table */
    return args->value[i];
}

const char *plk_arg_if_any(const PlkArgs *args, int id)
{
    return option_index(args->verb, id) >= 0 ? plk_arg(args, id) : NULL;
}

int plk_arg_bad(const PlkArgs *args, int id, const char *why)
{
    const PlkOption *o = &args->verb->options[option_index(args->verb, id)];

    if (id < PLK_LONG_ONLY)
        return plk_cli_param("Invalid argument for option -%c: %s (%s)", id, plk_arg(args, id), why);
    return plk_cli_param("Invalid argument for option --%s: %s (%s)", o->name, plk_arg(args, id), why);
}

int plk_arg_sectors(const PlkArgs *args, int id, uint64_t *ret)
{
    const char *text = plk_arg(args, id);

    if (!text)
        return 0;
    switch (plk_parse_sectors(text, ret)) {
    case 0:
        return 0;
    case -ERANGE:
        return plk_arg_bad(args, id, "too large");
    default:
        return plk_arg_bad(args, id, "a size is NUMBER[KMGT]; without a letter it counts sectors");
    }
}

int plk_arg_uint(const PlkArgs *args, int id, uint64_t max, uint64_t *ret)
{
    const char *text = plk_arg(args, id);
    unsigned long long v;
    char *end;

    if (!text)
        return 0;
    errno = 0;
    v = strtoull(text, &end, 0);
    if (text[0] < '0' || text[0] > '9' || *end)
        return plk_arg_bad(args, id, "not a number");
    if (errno || v > max)
        return plk_arg_bad(args, id, "too large");
    *ret = v;
    return 0;
}

int plk_arg_guid(const PlkArgs *args, int id, char ret[39])
{
    const char *text = plk_arg(args, id);
    PlkGuid guid;

    if (!text)
        return 0;
    if (!plk_guid_parse(text, &guid))
        return plk_cli_param("Incorrect uuid specified: %s", text);
    memcpy(ret, guid.text, sizeof(guid.text));
    return 0;
}
