/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command line of `ploop`, one argument a line, and everything its parser does with one; no verb runs: the
 * target works on copies of the verbs' tables that run a look at the parsed arguments instead.
 *
 * What must hold:
 *  - it ends in 0 or 38, and 38 comes with an error; what is printed moves no cursor and is bounded;
 *  - a verb runs only with all it requires, and never with more operands than it takes;
 *  - a size means what its letters say, compared with a second reader of sizes.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/guid.h"
#include "base/units.h"
#include "cli.h"
#include "fuzz.h"

#define ARGUMENTS_MAX 64
#define TEXT_MAX 8192
#define VERBS_MAX 64

/* ---- what is printed ---- */

static char printed[1u << 20];
static size_t n_printed;

static ssize_t keep_printed(void *cookie, const char *text, size_t len)
{
    FUZZ_CHECK(n_printed + len < sizeof printed, "a megabyte is printed");
    memcpy(printed + n_printed, text, len);
    n_printed += len;
    return (ssize_t)len;
}

static FILE *open_sink(void)
{
    FILE *sink = fopencookie(NULL, "w", (cookie_io_functions_t){.write = keep_printed});

    FUZZ_CHECK(sink, "out of memory");
    setvbuf(sink, NULL, _IOFBF, 65536);
    return sink;
}

static void check_printed(int rc)
{
    fflush(stdout);
    fflush(stderr);
    printed[n_printed] = '\0';
    for (size_t i = 0; i < n_printed; i++)
        FUZZ_CHECK((unsigned char)printed[i] >= ' ' || printed[i] == '\n', "control character %d is printed",
                   printed[i]);
    FUZZ_CHECK(rc != PLK_EXIT_PARAM || strstr(printed, "Error: ") || strstr(printed, "Usage: "),
               "38 without a word");
}

/* ---- sizes, read a second time ---- */

/* Digits in the base their head asks for; *ret is -1 when they are more than 64 bits. */
static const char *read_digits(const char *text, __int128 *ret)
{
    unsigned base = text[0] != '0' ? 10 : (text[1] | 32) == 'x' && strspn(text + 2, "0123456789abcdefABCDEF") ? 16 : 8;
    __int128 v = 0;

    for (text += base == 16 ? 2 : 0;; text++) {
        unsigned digit = *text >= '0' && *text <= '9'                 ? (unsigned)(*text - '0')
                         : (*text | 32) >= 'a' && (*text | 32) <= 'f' ? (unsigned)((*text | 32) - 'a') + 10
                                                                      : 99;
        if (digit >= base)
            break;
        v = v > UINT64_MAX ? v : v * base + digit;
    }
    *ret = v > UINT64_MAX ? -1 : v;
    return text;
}

static void check_size(const char *text)
{
    static const char letters[] = "KMGT";
    uint64_t got;
    __int128 want;
    int r = plk_parse_sectors(text, &got);
    const char *end, *letter;

    if (text[0] < '0' || text[0] > '9') {
        FUZZ_CHECK(r == -EINVAL, "size '%s' gives %d", text, r);
        return;
    }
    end = read_digits(text, &want);
    letter = memchr(letters, *end & ~32, sizeof letters - 1);
    if (letter)
        want = want < 0 ? want : want << (10 * (letter - letters) + 1);
    if (r == 0)
        FUZZ_CHECK(want >= 0 && (__int128)got == want && (!*end || (letter && !end[1])), "size '%s' gives %llu",
                   text, (unsigned long long)got);
    else if (want >= 0 && want < (__int128)0xffffffff * 512)
        FUZZ_CHECK(*end && (!letter || end[1]), "size '%s' is refused", text);
}

/* ---- instead of running ---- */

static bool has_run;

static void check_value(const PlkArgs *args, const PlkOption *o)
{
    const char *text = plk_arg(args, o->id);
    uint64_t number = 0, sectors = 0;
    char guid[39];
    PlkGuid unused;

    FUZZ_CHECK(plk_arg_given(args, o->id) == (text != NULL), "given or not?");
    if (!text || !o->argument)
        return;
    check_size(text);
    FUZZ_CHECK((plk_arg_sectors(args, o->id, &sectors) == 0) == (plk_parse_sectors(text, &number) == 0),
               "two opinions of size '%s'", text);
    number = 0;
    if (plk_arg_uint(args, o->id, 1000, &number) == 0)
        FUZZ_CHECK(number <= 1000, "%llu is more than 1000", (unsigned long long)number);
    if (plk_arg_guid(args, o->id, guid) == 0)
        FUZZ_CHECK(strlen(guid) == PLK_GUID_LEN && plk_guid_parse(guid, &unused), "bad GUID '%s'", guid);
}

static int look_at(const PlkArgs *args)
{
    const PlkVerb *verb = args->verb;

    has_run = true;
    FUZZ_CHECK(args->n >= verb->min && (verb->max < 0 || args->n <= verb->max), "%s runs with %d operands",
               args->name, args->n);
    for (const PlkOption *o = verb->options; o && o->id; o++) {
        FUZZ_CHECK(!o->required || plk_arg_given(args, o->id), "%s runs without -%c", args->name, o->id);
        check_value(args, o);
    }
    for (int i = 0; i < args->n; i++)
        (void)plk_need_descriptor(args->operands[i]);
    n_printed = 0; /* complaints about values that another kind of option would take */
    return PLK_EXIT_OK;
}

static PlkVerb copies[VERBS_MAX];
static const PlkVerb *lists[2 * VERBS_MAX];
static unsigned n_copies, n_lists;

static const PlkVerb *const *copy_verbs(const PlkVerb *const *verbs)
{
    const PlkVerb **list;
    unsigned n = 0;

    while (verbs[n])
        n++;
    list = lists + n_lists;
    n_lists += n + 1;
    for (unsigned i = 0; i < n; i++) {
        PlkVerb *copy = &copies[n_copies++];

        FUZZ_CHECK(n_copies <= VERBS_MAX, "more than %d verbs", VERBS_MAX);
        *copy = *verbs[i];
        if (copy->sub)
            copy->sub = copy_verbs(copy->sub);
        copy->run = look_at;
        list[i] = copy;
    }
    return list;
}

static const PlkVerb *const *table;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    stdout = open_sink();
    stderr = open_sink();
    table = copy_verbs(plk_verbs);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_MAX];
    char *argv[ARGUMENTS_MAX + 1];
    int argc = 0, rc;

    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text, *next = text; next && argc < ARGUMENTS_MAX; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        argv[argc++] = at;
    }
    argv[argc] = NULL;
    n_printed = 0;
    has_run = false;
    rc = plk_verb_dispatch(table, "ploop", argc, argv);
    FUZZ_CHECK(rc == PLK_EXIT_OK || rc == PLK_EXIT_PARAM, "exit code %d", rc);
    FUZZ_CHECK(!has_run || rc == PLK_EXIT_OK, "it ran, and ended in %d", rc);
    check_printed(rc);
    return 0;
}
