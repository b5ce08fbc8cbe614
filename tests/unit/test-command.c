/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tables of a command make of a command line. */
#include "cli/common/command.h"

#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "test.h"

enum { OPT_POOL = PLK_LONG_ONLY, OPT_SIZE, OPT_FORMAT, OPT_LOUD, OPT_WHERE = PLK_GLOBAL };

static PlkArgs seen;
static const char *where;

static int run(const PlkArgs *args)
{
    seen = *args;
    return 0;
}

static int set_where(int id, const char *value)
{
    where = value;
    return strcmp(value, "nowhere") == 0 ? 3 : -1;
}

static int exit_one(PlkErrorCode code)
{
    return 1;
}

static const PlkOption make_options[] = {
    {OPT_POOL, "pool", "POOL", "the pool", true, true},
    {OPT_SIZE, "size", "SIZE", "its size", true, true},
    {OPT_FORMAT, "format", "FORMAT", "its format", false, true},
    {OPT_LOUD, "loud", NULL, "say more"},
    {0},
};
static const PlkVerb make = {.name = "make", .options = make_options, .run = run, .help = "make one"};
static const PlkVerb free_words = {.name = "words", .min = 1, .max = 2, .operands = "WORD", .run = run, .help = "words"};
static const PlkVerb *const nouns_verbs[] = {&make, &free_words, NULL};
static const PlkVerb noun = {.name = "noun", .sub = nouns_verbs, .help = "a noun"};
static const PlkVerb *const verbs[] = {&noun, NULL};
static const PlkOption globals[] = {{OPT_WHERE, "where", "PLACE", "a place"}, {0}};
static const char *const notes[] = {NULL};

const PlkProgram plk_program = {
    .name = "program",
    .verbs = verbs,
    .joined = true,
    .usage = "",
    .notes = notes,
    .options = globals,
    .option = set_where,
    .usage_exit = 2,
    .exit_code = exit_one,
};

static int saved;

/* Complaints are looked at by the tests of the commands. */
static void hush(void)
{
    int null = open("/dev/null", O_WRONLY);

    if (!saved)
        saved = dup(STDERR_FILENO);
    dup2(null, STDERR_FILENO);
    close(null);
}

/* The whole command, as main() has it. */
static int command(const char *first, ...)
{
    char *argv[16] = {(char *)"program"};
    int argc = 1, at = 1, rc;
    va_list ap;

    va_start(ap, first);
    for (const char *word = first; word; word = va_arg(ap, const char *))
        argv[argc++] = (char *)word;
    va_end(ap);
    seen = (PlkArgs){0};
    where = NULL;
    hush();
    rc = plk_program_options(argc, argv, &at);
    if (rc < 0)
        rc = plk_verb_dispatch(verbs, "program", argc - at, argv + at);
    dup2(saved, STDERR_FILENO);
    return rc;
}

TEST(words_that_stand_alone_fill_options_in_the_tables_order)
{
    CHECK_INT(command("noun", "make", "p", "10G", "raw", NULL), 0);
    CHECK_STR(plk_arg(&seen, OPT_POOL), "p");
    CHECK_STR(plk_arg(&seen, OPT_SIZE), "10G");
    CHECK_STR(plk_arg(&seen, OPT_FORMAT), "raw");
    CHECK(!plk_arg_given(&seen, OPT_LOUD) && !seen.joined);
}

TEST(what_has_been_named_is_not_filled)
{
    CHECK_INT(command("noun", "make", "10G", "--loud", "--pool", "p", "raw", NULL), 0);
    CHECK_STR(plk_arg(&seen, OPT_POOL), "p");
    CHECK_STR(plk_arg(&seen, OPT_SIZE), "10G");
    CHECK_STR(plk_arg(&seen, OPT_FORMAT), "raw");
    CHECK(plk_arg_given(&seen, OPT_LOUD));
    CHECK(plk_arg_if_any(&seen, OPT_WHERE) == NULL);
}

TEST(too_few_and_too_many_words_end_with_the_programs_code)
{
    CHECK_INT(command("noun", "make", "p", NULL), 2);
    CHECK_INT(command("noun", "make", "p", "1G", "raw", "more", NULL), 2);
    CHECK_INT(command("noun", "words", NULL), 2);
    CHECK_INT(command("noun", "words", "a", "b", "c", NULL), 2);
    CHECK_INT(command("noun", "make", "p", "1G", "--frob", NULL), 2);
    CHECK_INT(command("noun", "make", "p", "1G", "--format", NULL), 2);
    CHECK_INT(command("frob", NULL), 2);
    CHECK(!seen.verb);
}

TEST(noun_and_verb_may_be_one_word)
{
    CHECK_INT(command("noun-make", "p", "1G", NULL), 0);
    CHECK(seen.verb == &make && seen.joined);
    CHECK_INT(command("noun-frob", NULL), 2);
    CHECK_INT(command("noun-", NULL), 2);
    CHECK_INT(command("nounmake", NULL), 2);
}

TEST(the_programs_options_stand_in_front_and_behind)
{
    CHECK_INT(command("--where", "here", "noun", "make", "p", "1G", NULL), 0);
    CHECK_STR(where, "here");
    CHECK_INT(command("noun", "make", "p", "--where=there", "1G", NULL), 0);
    CHECK_STR(where, "there");
    CHECK_INT(command("--where", "nowhere", "noun", "make", "p", "1G", NULL), 3);
    CHECK_INT(command("noun", "make", "--where", "nowhere", "p", "1G", NULL), 3);
    CHECK(!seen.verb);
}

TEST(two_dashes_end_the_options)
{
    CHECK_INT(command("noun", "words", "--", "--loud", "-x", NULL), 0);
    CHECK_INT(seen.n, 2);
    CHECK_STR(seen.operands[1], "-x");
    CHECK_INT(command("noun", "make", "--", "--pool", "-1G", NULL), 0);
    CHECK_STR(plk_arg(&seen, OPT_POOL), "--pool");
}

TEST_MAIN()
