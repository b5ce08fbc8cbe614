/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configuration: one table for the file, one for the command line. */
#include "daemon/config.h"

#include <getopt.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

typedef enum Kind { KIND_TEXT, KIND_FLAG, KIND_LIST, KIND_DIRS, KIND_MODE, KIND_AUTH, KIND_NUMBER, KIND_USERS } Kind;

typedef struct Key {
    const char *group, *name;
    Kind kind;
    size_t offset;
} Key;

#define KEY(group, name, kind, field) {group, name, kind, offsetof(PlkConfig, field)}

static const Key keys[] = {
    KEY("daemon", "libvirt", KIND_FLAG, libvirt),
    KEY("daemon", "socket", KIND_TEXT, socket),
    KEY("daemon", "state_dir", KIND_TEXT, state_dir),
    KEY("daemon", "socket_mode", KIND_MODE, socket_mode),
    KEY("daemon", "socket_group", KIND_TEXT, socket_group),
    KEY("daemon", "auth", KIND_AUTH, auth),
    KEY("daemon", "users", KIND_USERS, users),
    KEY("daemon", "access_polkit", KIND_FLAG, access_polkit),
    KEY("daemon", "max_clients", KIND_NUMBER, max_clients),
    KEY("daemon", "metrics", KIND_TEXT, metrics),
    KEY("daemon", "verbose", KIND_FLAG, verbose),
    KEY("daemon", "roots", KIND_DIRS, roots),
    KEY("tcp", "listen", KIND_TEXT, tcp),
    KEY("tcp", "auth", KIND_AUTH, tcp_auth),
    KEY("tls", "listen", KIND_TEXT, tls),
    KEY("tls", "auth", KIND_AUTH, tls_auth),
    KEY("tls", "ca", KIND_TEXT, ca),
    KEY("tls", "crl", KIND_TEXT, crl),
    KEY("tls", "cert", KIND_TEXT, cert),
    KEY("tls", "key", KIND_TEXT, key),
    KEY("tls", "priority", KIND_TEXT, tls_priority),
    KEY("tls", "names", KIND_LIST, tls_names),
    KEY("tls", "trust_anybody", KIND_FLAG, tls_trust_anybody),
    KEY("sasl", "users", KIND_LIST, sasl_users),
};

void plk_config_init(PlkConfig *config)
{
    *config = (PlkConfig){
        .socket_mode = -1,
        .tcp_auth = PLK_AUTH_SASL,
        .ca = g_strdup("/etc/pki/CA/cacert.pem"),
        .cert = g_strdup("/etc/pki/libvirt/servercert.pem"),
        .key = g_strdup("/etc/pki/libvirt/private/serverkey.pem"),
    };
}

void plk_config_clear(PlkConfig *config)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        void *field = (char *)config + keys[i].offset;

        if (keys[i].kind == KIND_TEXT)
            g_free(*(char **)field);
        else if (keys[i].kind == KIND_LIST || keys[i].kind == KIND_DIRS)
            g_strfreev(*(char ***)field);
    }
    g_free(config->users);
}

/* ---- values ---- */

static int set_auth(const char *text, PlkAuth *ret)
{
    static const char *const names[] = {"none", "sasl", "polkit", NULL};
    int i = plk_name_index(names, text);

    if (i < 0)
        return -1;
    *ret = (PlkAuth)i;
    return 0;
}

static int set_number(const char *text, int base, guint64 max, guint64 *ret)
{
    return g_ascii_string_to_unsigned(text, (guint)base, 0, max, ret, NULL) ? 0 : -1;
}

/* "none": only root and ourselves. */
static int set_users(const char *text, PlkConfig *config)
{
    g_auto(GStrv) list = g_strsplit_set(text, " ,;", -1);
    guint64 id;

    g_free(config->users);
    config->users = g_new0(int64_t, g_strv_length(list) + 1);
    config->n_users = 0;
    for (char **p = list; *p; p++) {
        if (!**p || strcmp(*p, "none") == 0)
            continue;
        if (set_number(*p, 10, UINT32_MAX - 1, &id) < 0)
            return -1;
        config->users[config->n_users++] = (int64_t)id;
    }
    return 0;
}

/* A part that is empty, as behind a last semicolon, is none: as a root it would be the beginning of every path. */
static void set_list(const char *text, char ***ret)
{
    g_auto(GStrv) parts = g_strsplit(text, ";", -1);
    char **list = g_new0(char *, g_strv_length(parts) + 1);
    size_t n = 0;

    for (char **p = parts; *p; p++)
        if (*g_strstrip(*p))
            list[n++] = g_strdup(*p);
    g_strfreev(*ret);
    *ret = list;
}

/* Without slashes at their ends. */
static int set_dirs(const char *text, char ***ret)
{
    set_list(text, ret);
    for (char **p = *ret; *p; p++) {
        if (**p != '/')
            return -1;
        for (size_t i = strlen(*p) - 1; i && (*p)[i] == '/'; i--)
            (*p)[i] = '\0';
    }
    return 0;
}

static int set(PlkConfig *config, const Key *key, const char *text)
{
    void *field = (char *)config + key->offset;
    guint64 number = 0;

    switch (key->kind) {
    case KIND_TEXT:
        g_free(*(char **)field);
        *(char **)field = g_strdup(text);
        return *text ? 0 : -1;
    case KIND_LIST:
        set_list(text, field);
        return 0;
    case KIND_DIRS:
        return set_dirs(text, field);
    case KIND_FLAG:
        *(bool *)field = strcmp(text, "true") == 0;
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ? 0 : -1;
    case KIND_MODE:
        if (set_number(text, 8, 0777, &number) < 0)
            return -1;
        *(int *)field = (int)number;
        return 0;
    case KIND_NUMBER:
        if (set_number(text, 10, 1000000, &number) < 0 || number == 0)
            return -1;
        *(unsigned *)field = (unsigned)number;
        return 0;
    case KIND_AUTH:
        return set_auth(text, field);
    case KIND_USERS:
        return set_users(text, config);
    }
    return -1;
}

/* What a value of that kind looks like. */
static const char *const shapes[] = {
    [KIND_TEXT] = "a text", [KIND_FLAG] = "true or false", [KIND_LIST] = "a list with ; between",
    [KIND_DIRS] = "a list of absolute paths with ; between", [KIND_MODE] = "an octal mode, 0700",
    [KIND_AUTH] = "none, sasl or polkit", [KIND_NUMBER] = "a number from 1 to 1000000", [KIND_USERS] = "a list of numeric user ids, or none",
};

/* ---- the file ---- */

/* Where in the file we are. */
typedef struct Reader {
    const char *path;
    unsigned line;
    const char *group; /* NULL before the first */
    bool seen[G_N_ELEMENTS(keys)];
} Reader;

static const Key *find_key(const char *group, const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        if (strcmp(keys[i].group, group) == 0 && (!name || strcmp(keys[i].name, name) == 0))
            return &keys[i];
    return NULL;
}

static int take_group(Reader *r, char *text, PlkError *err)
{
    size_t length = strlen(text);
    const Key *first;

    if (text[length - 1] != ']')
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: '%s' does not end in ]", r->path, r->line, text);
    text[length - 1] = '\0';
    first = find_key(text + 1, NULL);
    if (!first)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: unknown group [%s]; see ploopd(8)", r->path, r->line, text + 1);
    r->group = first->group;
    return 0;
}

static int take_key(PlkConfig *config, Reader *r, char *text, PlkError *err)
{
    char *value = strchr(text, '=');
    const Key *key;

    if (!value)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: '%s' is no [group], no key=value and no # comment", r->path, r->line, text);
    *value++ = '\0';
    g_strchomp(text);
    g_strchug(value);
    if (!r->group)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: key '%s' stands before the first [group]", r->path, r->line, text);
    key = find_key(r->group, text);
    if (!key)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: unknown key '%s' in [%s]; see ploopd(8)", r->path, r->line, text, r->group);
    if (r->seen[key - keys])
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: [%s] %s stands in the file twice", r->path, r->line, r->group, text);
    if (set(config, key, value) < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: [%s] %s is to be %s, not '%s'", r->path, r->line, r->group, text,
                        shapes[key->kind], value);
    r->seen[key - keys] = true;
    return 0;
}

static int take_line(PlkConfig *config, Reader *r, char *text, PlkError *err)
{
    r->line++;
    if (!g_utf8_validate(text, -1, NULL))
        return plk_fail(err, PLK_ERROR_CONFIG, "%s:%u: this line is not UTF-8", r->path, r->line);
    g_strstrip(text);
    if (!*text || *text == '#')
        return 0;
    return *text == '[' ? take_group(r, text, err) : take_key(config, r, text, err);
}

/* Not GKeyFile, which tells no lines, lets key[en]= pass and takes the last of two. */
int plk_config_load(PlkConfig *config, const char *path, PlkError *err)
{
    Reader reader = {.path = path};
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t length;

    if (!g_file_get_contents(path, &text, &length, &error))
        return plk_fail(err, PLK_ERROR_CONFIG, "%s: %s", path, error->message);
    if (strlen(text) != length)
        return plk_fail(err, PLK_ERROR_CONFIG, "%s: byte %zu is zero", path, strlen(text));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (take_line(config, &reader, *line, err) < 0)
            return -1;
    return 0;
}

/* ---- the command line ---- */

static const char usage[] =
    "Usage: ploopd [OPTION]...\n"
    "Serves storage pools and volumes, ploop among them, over libvirt's protocol.\n"
    "\n"
    "  --config FILE      read FILE; see ploopd(8) for what it may say\n"
    "  --socket PATH      listen on PATH, and for read-only clients on PATH-ro\n"
    "  --state-dir DIR    keep definitions in DIR/config and what runs in DIR/run\n"
    "  --libvirt          stand in for virtstoraged: its sockets, libvirt's directories\n"
    "  --metrics PATH     serve figures for OpenMetrics on the socket PATH\n"
    "  --foreground       for scripts that say so: ploopd always stays in the foreground\n"
    "  --verbose          tell more of what is going on\n"
    "  --help, --version\n"
    "\n"
    "Talk to it with: virsh -c 'storage:///system?socket=PATH' pool-list --all\n";

enum { CONFIG = 1, SOCKET, STATE_DIR, LIBVIRT, METRICS, FOREGROUND, VERBOSE, HELP, VERSION };

static const struct option options[] = {
    {"config", required_argument, NULL, CONFIG},   {"socket", required_argument, NULL, SOCKET},
    {"state-dir", required_argument, NULL, STATE_DIR}, {"libvirt", no_argument, NULL, LIBVIRT},
    {"metrics", required_argument, NULL, METRICS}, {"foreground", no_argument, NULL, FOREGROUND},
    {"verbose", no_argument, NULL, VERBOSE},       {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},       {NULL, 0, NULL, 0},
};

static void take_text(char **to, const char *text)
{
    g_free(*to);
    *to = g_strdup(text);
}

static int take_option(PlkConfig *config, int option, PlkError *err)
{
    switch (option) {
    case CONFIG:
        return plk_config_load(config, optarg, err);
    case SOCKET:
        take_text(&config->socket, optarg);
        return 0;
    case STATE_DIR:
        take_text(&config->state_dir, optarg);
        return 0;
    case METRICS:
        take_text(&config->metrics, optarg);
        return 0;
    case LIBVIRT:
        config->libvirt = true;
        return 0;
    case VERBOSE:
        config->verbose = true;
        return 0;
    case FOREGROUND:
        return 0;
    case HELP:
        fputs(usage, stdout);
        exit(EXIT_SUCCESS);
    case VERSION:
        puts("ploopd " PLK_VERSION);
        exit(EXIT_SUCCESS);
    default:
        return plk_fail(err, PLK_ERROR_ARGUMENT, "see ploopd --help");
    }
}

int plk_config_parse(PlkConfig *config, int argc, char **argv, PlkError *err)
{
    int option;

    /* The file first, wherever it stands: the rest of the command line wins. */
    for (int pass = 0; pass < 2; pass++) {
        optind = 1;
        opterr = pass;
        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
            if ((pass == 1 ? option != CONFIG : option == CONFIG) && take_option(config, option, err) < 0)
                return -1;
    }
    if (optind < argc)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is not an option; see ploopd --help", argv[optind]);
    return 0;
}
