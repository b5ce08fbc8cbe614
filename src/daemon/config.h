/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ploopd is told: a file of groups with key=value, and the command line, which wins. man/ploopd.8 has all keys.
 * Strings are the config's.
 */
#pragma once

#include "daemon/daemon.h"

typedef struct PlkConfig {
    /* [daemon] */
    bool libvirt;         /* stand in for virtstoraged: its sockets, libvirt's directories and lock */
    char *socket;         /* read-only clients: the same with "-ro" behind it */
    char *state_dir;      /* config/ and run/ in it; NULL: libvirt's directories */
    int socket_mode;      /* 0700; with polkit 0777 */
    char *socket_group;
    PlkAuth auth;         /* of the unix sockets */
    int64_t *users;       /* without SASL or polkit: who may connect besides root and ourselves; NULL = whom the mode lets */
    size_t n_users;
    bool access_polkit;   /* each right is asked for */
    unsigned max_clients;
    char *metrics;        /* socket of the figures; NULL = none */
    bool verbose;
    char **roots;         /* pools must lie beneath one of these; NULL = anywhere that is not the system's */
    /* [tcp], [tls] */
    char *tcp, *tls;      /* "host:port", "[v6]:port"; NULL = do not */
    PlkAuth tcp_auth, tls_auth;
    char *ca, *crl, *cert, *key, *tls_priority;
    char **tls_names;     /* patterns of distinguished names */
    bool tls_trust_anybody;
    /* [sasl] */
    char **sasl_users;
} PlkConfig;

void plk_config_init(PlkConfig *config);
/* CONFIG naming file, line, key and what is allowed. An unknown key is an error, and one that stands twice. */
int plk_config_load(PlkConfig *config, const char *path, PlkError *err);
/* Argument by argument; exits for --help and --version. */
int plk_config_parse(PlkConfig *config, int argc, char **argv, PlkError *err);
void plk_config_clear(PlkConfig *config);
