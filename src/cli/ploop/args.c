/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From argv to a verb and its checked arguments. getopt_long is fed from the verb's table, so what --help
 * shows is what is accepted. Every mistake here ends in exit 38 and leaves the disk untouched.
 */
#include "cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/guid.h"
#include "base/units.h"

/* ---- getopt's tables from ours ---- */

typedef struct Getopt {
    char letters[2 * PLK_MAX_OPTIONS + 4];
    struct option names[PLK_MAX_OPTIONS + 2];
} Getopt;

/* "[=N]" may be left out. */
static int argument_of(const PlkOption *o)
{
    if (!o->argument)
        return no_argument;
    return *o->argument == '[' ? optional_argument : required_argument;
}

static void getopt_tables(const PlkOption *options, Getopt *ret)
{
    char *letter = ret->letters;
    struct option *name = ret->names;
    const PlkOption *o = options;

    *letter++ = ':'; /* tell a missing argument from an unknown option */
    for (; o && o->id; o++) {
        assert(o - options < PLK_MAX_OPTIONS);
        if (o->id < PLK_LONG_ONLY) {
            *letter++ = (char)o->id;
            if (o->argument)
                *letter++ = ':';
        }
        if (o->name)
            *name++ = (struct option){o->name, argument_of(o), NULL, o->id};
    }
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

static int complain_option(int c, char **argv, const char *prefix, const PlkVerb *verb)
{
    const char *what = c == ':' ? "lacks its argument" : "is not known";

    if (optopt && optopt < PLK_LONG_ONLY && strncmp(argv[optind - 1], "--", 2) != 0)
        plk_complain("%s: option -%c %s", verb->name, optopt, what);
    else
        plk_complain("%s: option %s %s", verb->name, argv[optind - 1], what);
    usage_hint(prefix, verb);
    return PLK_EXIT_PARAM;
}

/* -1 when the verb shall run, else the exit code. */
static int parse_options(const PlkVerb *verb, const char *prefix, int argc, char **argv, PlkArgs *ret)
{
    Getopt tables;
    int c;

    getopt_tables(verb->options, &tables);
    opterr = 0;
    optind = 0; /* start over */
    while ((c = getopt_long(argc, argv, tables.letters, tables.names, NULL)) != -1) {
        if (c == '?' || c == ':')
            return complain_option(c, argv, prefix, verb);
        if (c == 'h') {
            plk_verb_help(verb, prefix, stdout);
            return PLK_EXIT_OK;
        }
        ret->value[option_index(verb, c)] = optarg ? optarg : "";
    }
    ret->operands = argv + optind;
    ret->n = argc - optind;
    return -1;
}

static int check_counts(const PlkVerb *verb, const char *prefix, const PlkArgs *args)
{
    for (int i = 0; verb->options && verb->options[i].id; i++) {
        if (!verb->options[i].required || args->value[i])
            continue;
        plk_complain("%s: option -%c is missing", verb->name, verb->options[i].id);
        usage_hint(prefix, verb);
        return PLK_EXIT_PARAM;
    }
    if (args->n < verb->min)
        plk_complain("%s: %s is missing", verb->name, args->n ? "an argument" : verb->operands);
    else if (verb->max >= 0 && args->n > verb->max)
        plk_complain("%s: unexpected argument '%s'", verb->name, args->operands[verb->max]);
    else
        return -1;
    usage_hint(prefix, verb);
    return PLK_EXIT_PARAM;
}

static int verb_run(const PlkVerb *verb, const char *prefix, int argc, char **argv)
{
    PlkArgs args = {.verb = verb, .name = verb->name};
    char longer[64];
    int rc;

    if (verb->sub) {
        snprintf(longer, sizeof(longer), "%s %s", prefix, verb->name);
        return plk_verb_dispatch(verb->sub, longer, argc - 1, argv + 1);
    }
    rc = parse_options(verb, prefix, argc, argv, &args);
    if (rc < 0)
        rc = check_counts(verb, prefix, &args);
    return rc < 0 ? verb->run(&args) : rc;
}

static const char *present_name(const char *name)
{
    for (const PlkVerbAlias *a = plk_verb_aliases; a->old; a++) {
        if (strcmp(a->old, name) != 0)
            continue;
        plk_warn("'%s' is an old name of '%s'", a->old, a->now);
        return a->now;
    }
    return name;
}

int plk_verb_dispatch(const PlkVerb *const *verbs, const char *prefix, int argc, char **argv)
{
    const char *name;

    if (argc < 1) {
        plk_verbs_help(verbs, prefix, stderr);
        return PLK_EXIT_PARAM;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        plk_verbs_help(verbs, prefix, stdout);
        return PLK_EXIT_OK;
    }
    name = present_name(argv[0]);
    for (; *verbs; verbs++)
        if (strcmp((*verbs)->name, name) == 0)
            return verb_run(*verbs, prefix, argc, argv);
    plk_complain("unknown %s '%s'; '%s --help' lists what there is", argv[0][0] == '-' ? "option" : "command",
                 argv[0], prefix);
    return PLK_EXIT_PARAM;
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

static int bad_value(const PlkArgs *args, int id, const char *why)
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
        return bad_value(args, id, "too large");
    default:
        return bad_value(args, id, "a size is NUMBER[KMGT]; without a letter it counts sectors");
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
        return bad_value(args, id, "not a number");
    if (errno || v > max)
        return bad_value(args, id, "too large");
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

bool plk_is_descriptor(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && strcmp(dot, ".xml") == 0;
}

int plk_need_descriptor(const char *path)
{
    if (plk_is_descriptor(path))
        return 0;
    return plk_cli_param("%s: this needs the disk's DiskDescriptor.xml, not an image", path);
}
