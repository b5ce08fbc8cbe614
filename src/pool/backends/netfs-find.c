/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a file server offers: its exports, as showmount tells them. */
#include <string.h>

#include "base/error.h"
#include "host/run.h"
#include "pool/pool.h"

#define PATIENCE_US (60 * G_USEC_PER_SEC) /* portmappers that are not there are tried for minutes */

static int parse_host(const char *spec, PlkPoolSource *ret, PlkError *err)
{
    if (!spec)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "to find sources of type 'netfs' takes a source with a host");
    if (plk_pool_source_parse(spec, PLK_POOL_NETFS, ret, err) != 0)
        return -1;
    if (ret->n_hosts == 1 && ret->hosts[0].name && ret->hosts[0].name[0] && ret->hosts[0].name[0] != '-')
        return 0;
    plk_pool_source_clear(ret);
    return plk_fail(err, PLK_ERROR_CONFIG, "to find sources of type 'netfs' takes a source with exactly one host");
}

/* A line is "/some dir  client,client": the clients have no spaces, the directory may. NULL: it is another thing. */
static char *directory_of(const char *line)
{
    g_autofree char *text = g_strstrip(g_strdup(line));
    char *clients = strrchr(text, ' ');

    if (text[0] != '/' || !clients)
        return NULL;
    *clients = '\0';
    return g_strdup(g_strchomp(text));
}

static char *format_exports(const char *output, PlkPoolSource *asked)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    g_autoptr(GArray) sources = g_array_new(FALSE, FALSE, sizeof(PlkPoolSource));
    g_autoptr(GPtrArray) dirs = g_ptr_array_new_with_free_func(g_free);
    int fallback, nfs = plk_name_index(plk_pool_source_formats(PLK_POOL_NETFS, &fallback), "nfs");

    for (char **line = lines; *line; line++) {
        char *dir = directory_of(*line);
        PlkPoolSource source = {.hosts = asked->hosts, .n_hosts = 1, .dir = dir, .format = nfs};

        if (!dir)
            continue;
        g_ptr_array_add(dirs, dir);
        g_array_append_val(sources, source);
    }
    return plk_pool_sources_format(PLK_POOL_NETFS, (const PlkPoolSource *)sources->data, sources->len);
}

/* ---- showmount, for as long as it may take ---- */

typedef struct Deadline {
    const PlkProgress *progress;
    gint64 end;
    bool passed;
} Deadline;

static int check_deadline(void *arg, const char *what, uint64_t done, uint64_t total)
{
    Deadline *deadline = arg;

    deadline->passed = g_get_monotonic_time() > deadline->end;
    if (deadline->passed)
        return 1;
    return deadline->progress ? deadline->progress->update(deadline->progress->arg, what, done, total) : 0;
}

static int run_showmount(const char *host, const PlkProgress *progress, PlkRunResult *ret, PlkError *err)
{
    const char *const args[] = {"--no-headers", "--exports", "--", host, NULL};
    Deadline deadline = {.progress = progress, .end = g_get_monotonic_time() + PATIENCE_US};
    PlkProgress watched = {check_deadline, &deadline};
    PlkRun run = {.program = "showmount", .args = args, .progress = &watched};
    int result = plk_run(&run, ret, err);

    if (result != 0 && deadline.passed)
        return plk_fail(err, PLK_ERROR_REFUSED, "host '%s' does not answer showmount", host);
    return result;
}

static int ask(const char *host, const PlkProgress *progress, PlkRunResult *ret, PlkError *err)
{
    char path[PLK_PROGRAM_PATH_MAX];
    PlkError missing;

    if (plk_find_program("showmount", path, &missing) != 0)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "%s", missing.message);
    if (run_showmount(host, progress, ret, err) != 0)
        return -1;
    if (ret->status == 0)
        return 0;
    plk_fail(err, PLK_ERROR_REFUSED, "no sources were found on host '%s': %s", host, g_strchomp(ret->output));
    plk_run_result_clear(ret);
    return -1;
}

int plk_netfs_find(const char *spec, const PlkProgress *progress, char **ret, PlkError *err)
{
    PlkPoolSource asked = {0};
    PlkRunResult result;
    int outcome;

    if (parse_host(spec, &asked, err) != 0)
        return -1;
    outcome = ask(asked.hosts[0].name, progress, &result, err);
    if (outcome == 0) {
        *ret = format_exports(result.output, &asked);
        plk_run_result_clear(&result);
    }
    plk_pool_source_clear(&asked);
    return outcome;
}
