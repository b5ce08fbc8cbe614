/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the verbs of `ploopctl` share. The storage driver is embedded: a command opens the state directory,
 * does one thing and closes it; what two commands do at the same time is the driver's business
 * (pool/storage.h).
 *
 * One file a noun or a part of one; a verb is a `const PlkVerb` whose option names are virsh's wherever virsh
 * has the same verb. Called in virsh's own words ("pool-list") it also prints virsh's own columns.
 */
#pragma once

#include "cli/common/command.h"
#include "cli/common/json.h"
#include "pool/volumes.h"

/* ---- exit codes: ploopctl(1) ---- */

enum {
    PLK_EXIT_OK = 0,
    PLK_EXIT_FAILED = 1,    /* the machine: a system call, a device, a helper program */
    PLK_EXIT_USAGE = 2,     /* the command line, a size or a definition makes no sense */
    PLK_EXIT_NOT_FOUND = 3, /* no such pool, volume, snapshot, job or file */
    PLK_EXIT_REFUSED = 4,   /* not in this state, or it collides with something that is there */
    PLK_EXIT_IN_USE = 5,    /* somebody works on it: try again later */
    PLK_EXIT_NO_SPACE = 6,
    PLK_EXIT_DAMAGED = 7, /* an image or descriptor is damaged; doctor: something wants mending */
    PLK_EXIT_CANCELLED = 8,
};
int plk_ctl_exit_code(PlkErrorCode code);

/* ---- options ---- */

/* Ids of options that several verbs have; a verb's own begin at OPT_OWN. */
enum {
    OPT_POOL = PLK_LONG_ONLY,
    OPT_VOL,
    OPT_NAME,
    OPT_FILE,
    OPT_BYTES,
    OPT_VALIDATE,
    OPT_PRINT_XML,
    OPT_BUILD,
    OPT_OVERWRITE,
    OPT_NO_OVERWRITE,
    OPT_PREALLOC,
    OPT_REFLINK,
    OPT_FORMAT,
    OPT_CAPACITY,
    OPT_ALLOCATION,
    OPT_OFFSET,
    OPT_LENGTH,
    OPT_SPARSE,
    OPT_DISK,
    OPT_SNAPSHOT,
    OPT_XPATH,
    OPT_WRAP,
    OPT_FORCE,
    OPT_OWN
};

/* Rows of option tables. The last two columns: must be given; may be given without its name. */
#define PLK_THE_POOL                                                                                         \
    {                                                                                                        \
        OPT_POOL, "pool", "POOL", "its name or UUID", true, true                                             \
    }
#define PLK_THE_VOLUME                                                                                       \
    {                                                                                                        \
        OPT_VOL, "vol", "VOLUME", "its name, POOL/NAME or path", true, true                                  \
    }
#define PLK_ITS_POOL                                                                                         \
    {                                                                                                        \
        OPT_POOL, "pool", "POOL", "the pool the volume is in", false, true                                   \
    }

typedef struct PlkSettings {
    const char *config_dir, *runtime_dir; /* NULL = libvirt's own */
    bool json;
} PlkSettings;
extern PlkSettings plk_settings;

extern const PlkVerb plk_verb_pool, plk_verb_vol, plk_verb_snapshot, plk_verb_job, plk_verb_export,
    plk_verb_import, plk_verb_doctor;

/* ---- what a verb works on ---- */

PlkStorageOptions plk_storage_options(PlkStorageRole role); /* as the settings say */

typedef struct PlkSession {
    PlkStorage *storage;
    PlkPool *pool;
    char *volume; /* its name */
} PlkSession;
void plk_session_end(PlkSession *session);
#define PLK_SESSION __attribute__((cleanup(plk_session_end))) PlkSession

/* 0, or the exit code after an error on stderr. Each does what the one before it does, and more. */
int plk_need_storage(PlkStorageRole role, PlkSession *ret);
int plk_need_pool(const PlkArgs *args, PlkStorageRole role, PlkSession *ret); /* --pool */
int plk_need_volume(const PlkArgs *args, PlkStorageRole role,
                    PlkSession *ret); /* --vol, with --pool or not */

PlkPool *plk_find_pool(PlkStorage *storage, const char *name_or_uuid, PlkError *err); /* a reference */
/* A volume by name in `pool`, or as POOL/NAME, or by path. *ret_pool is a reference, *ret_name g_free. */
int plk_find_volume(PlkStorage *storage, const char *pool, const char *volume, PlkPool **ret_pool,
                    char **ret_name, PlkError *err);

/* ---- values ---- */

/* "10G", "512KiB", "4096": virsh's sizes; 0 or the exit code. Not given: *ret is left alone. */
int plk_arg_size(const PlkArgs *args, int id, uint64_t *ret);
/* "1.50 GiB", as virsh writes it. */
#define PLK_SIZE_ROOM 32
const char *plk_pretty_size(uint64_t bytes, char buf[PLK_SIZE_ROOM]);
const char *plk_show_size(uint64_t bytes, bool exact, char buf[PLK_SIZE_ROOM]); /* exact: "4096 bytes" */
/* The whole of a file ("-" = standard input), at most 1 MiB. g_free */
int plk_read_text(const char *file, char **ret, PlkError *err);
/* START_* flags from --build, --overwrite and --no-overwrite, and CREATE_* ones from --prealloc-metadata etc.
 */
unsigned plk_start_flags(const PlkArgs *args);
unsigned plk_create_flags(const PlkArgs *args);

/* ---- showing ---- */

const char *plk_yes_no(bool yes);
int plk_ask_pool(PlkPool *pool, PlkPoolInfo *ret,
                 PlkError *err); /* plk_pool_info() with its volumes counted */
const char *plk_volume_format_name(const PlkVolume *volume);
const char *plk_volume_state_name(PlkVolumeState state); /* "good", "broken", ... */
char *plk_volume_status(const PlkVolume *volume);        /* "broken: its header is damaged"; g_free */
/* One pool or volume as JSON, alone or in an open array or object. */
void plk_pool_json(PlkJson *j, const char *key, PlkPool *pool, const PlkPoolInfo *info);
void plk_volume_json(PlkJson *j, const char *key, PlkPool *pool, const PlkVolume *volume);
int plk_print_pool_json(PlkPool *pool);                       /* exit code */
int plk_print_volume_json(PlkPool *pool, const char *volume); /* exit code */
/* XML, or what --xpath picks of it; exit code. */
int plk_print_xml(const PlkArgs *args, const char *xml);
