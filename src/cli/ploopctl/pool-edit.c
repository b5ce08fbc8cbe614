/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl pool edit: the definition in the user's editor. What comes back is held against the rules of a
 * definition; if it breaks one, the same text may be edited again, so that no typing is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "pool.h"
#include "state.h"

extern char **environ;

/* $VISUAL or $EDITOR, cut at blanks: "code -w". No shell reads it. */
static char **editor_words(const char *file)
{
    const char *editor = getenv("VISUAL");
    g_auto(GStrv) words = NULL;
    GPtrArray *argv = g_ptr_array_new();

    if (!editor || !*editor)
        editor = getenv("EDITOR");
    words = g_strsplit_set(editor && *editor ? editor : "vi", " \t", -1);
    for (char **word = words; *word; word++)
        if (**word)
            g_ptr_array_add(argv, g_strdup(*word));
    g_ptr_array_add(argv, g_strdup(file));
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* The one program that is looked for in $PATH: which one it is, is the user's to say. */
static int start_editor(char **argv, pid_t *ret)
{
    posix_spawnattr_t attributes;
    sigset_t usual;
    int rc;

    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGQUIT);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawnp(ret, argv[0], NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static int wait_for(pid_t pid, const char *editor, PlkError *err)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return plk_fail_errno(err, PLK_ERROR_HELPER, errno, "cannot wait for the editor '%s'", editor);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return plk_fail(err, PLK_ERROR_HELPER, "the editor '%s' failed; nothing was changed", editor);
    return 0;
}

/* Ctrl-C in an editor is the editor's, not ours. */
static int run_editor(const char *file, PlkError *err)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
    g_auto(GStrv) argv = editor_words(file);
    pid_t pid;
    int rc;

    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    rc = start_editor(argv, &pid);
    if (rc)
        plk_fail_errno(err, PLK_ERROR_HELPER, rc, "cannot run the editor '%s'; set EDITOR", argv[0]);
    else
        rc = wait_for(pid, argv[0], err);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    return rc ? -1 : 0;
}

static int write_text(int fd, const char *file, const char *text, PlkError *err)
{
    size_t len = strlen(text);

    for (ssize_t n; len; text += n, len -= (size_t)n) {
        n = write(fd, text, len);
        if (n < 0)
            return plk_fail_errno(err, PLK_ERROR_WRITE, errno, "cannot write '%s'", file);
    }
    return 0;
}

/* Only a person at a terminal can be asked. */
static bool edit_again(const PlkError *err)
{
    char answer[16];

    plk_complain("%s", err->message);
    if (!isatty(STDIN_FILENO) || plk_cancelled())
        return false;
    fputs("Edit again? [Y/n] ", stderr);
    return fgets(answer, sizeof(answer), stdin) && *answer != 'n' && *answer != 'N';
}

/* 1: it is as it was. */
static int edit_once(const char *name, const char *file, const char *before, PlkPoolDef **ret, PlkError *err)
{
    g_autofree char *after = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;

    if (run_editor(file, err) < 0 || plk_read_text(file, &after, err) < 0)
        return -1;
    if (strcmp(before, after) == 0)
        return 1;
    if (plk_pool_def_parse(after, PLK_PARSE_DEFINE, &def, err) < 0)
        return -1;
    if (strcmp(def->name, name) != 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "the name of pool '%s' cannot be edited; define another one",
                        name);
    *ret = PLK_TAKE(def);
    return 0;
}

/* The state is opened for the moment of the change alone: nobody waits for a person who types. */
static int define(PlkPoolDef *def, PlkError *err)
{
    PlkStorageOptions options = plk_storage_options(PLK_STORAGE_COMMAND);
    PLK_SESSION s = {0};

    if (plk_storage_open(&options, &s.storage, err) < 0) {
        plk_pool_def_free(def);
        return -1;
    }
    return plk_state_define(&s, def, err);
}

static int edit(const char *name, const char *file, const char *before)
{
    PlkPoolDef *def;
    PlkError err;
    int rc;

    for (;;) {
        rc = edit_once(name, file, before, &def, &err);
        if (rc == 0)
            rc = define(def, &err);
        if (rc == 1)
            plk_say(1, "Pool %s XML configuration not changed.", name);
        else if (rc == 0)
            plk_say(1, "Pool %s XML configuration edited.", name);
        else if (edit_again(&err))
            continue;
        return rc < 0 ? plk_ctl_exit_code(err.code) : PLK_EXIT_OK;
    }
}

/* What the next start takes, as text. 0 or the exit code. */
static int definition_of(const PlkArgs *args, char **ret_name, char **ret_xml)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    PLK_SESSION s = {0};
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    def = plk_pool_definition(s.pool, true);
    *ret_name = g_strdup(def->name);
    *ret_xml = plk_pool_def_format(def);
    return 0;
}

static int run(const PlkArgs *args)
{
    const char *tmp = getenv("TMPDIR");
    g_autofree char *file = g_build_filename(tmp && *tmp ? tmp : "/tmp", "ploopctl-XXXXXX.xml", NULL);
    g_autofree char *name = NULL, *before = NULL;
    PLK_CLOSE int fd = -1;
    PlkError err;
    int rc = definition_of(args, &name, &before);

    if (rc)
        return rc;
    fd = mkostemps(file, strlen(".xml"), O_CLOEXEC);
    if (fd < 0) {
        plk_fail_errno(&err, PLK_ERROR_CREATE, errno, "cannot make '%s'", file);
        return plk_cli_fail(&err);
    }
    rc = write_text(fd, file, before, &err) < 0 ? plk_cli_fail(&err) : edit(name, file, before);
    unlink(file);
    return rc;
}

static const PlkOption options[] = {PLK_THE_POOL, {0}};

static const char *const notes[] = {
    "VISUAL, else EDITOR, else vi. A running pool takes it at its next start.", NULL};

const PlkVerb plk_verb_pool_edit = {
    .name = "edit",
    .options = options,
    .run = run,
    .help = "change a pool's definition in an editor",
    .notes = notes,
};
