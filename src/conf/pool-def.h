/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A storage pool as its XML describes it. Pure: parse, check, print; nothing is opened.
 *
 * What plk_pool_def_format() prints is, byte for byte, what libvirt 9.0 prints for the same definition.
 * Strings are GLib's (g_free); a def owns all it points to.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <ploopkit/error.h>

#include "conf/format.h"

#define PLK_UUID_BYTES 16
#define PLK_UUID_CHARS 36

typedef struct PlkPermissions {
    int mode;         /* -1 = not given */
    int64_t uid, gid; /* -1 = not given */
    char *label;      /* SELinux; NULL */
} PlkPermissions;

typedef struct PlkPoolHost {
    char *name;
    int port; /* 0 = none */
} PlkPoolHost;

typedef struct PlkPoolDevice {
    char *path;
    int part_separator; /* -1 = not given, 0 = no, 1 = yes */
} PlkPoolDevice;

typedef struct PlkPoolAuth {
    char *type; /* "chap", "ceph" */
    char *username;
    char *secret_type, *secret_uuid, *secret_usage; /* of the last two exactly one is given */
} PlkPoolAuth;

/* name and value of a mount option (value NULL) or an rbd option. */
typedef struct PlkPoolOption {
    char *name, *value;
} PlkPoolOption;

typedef struct PlkPoolSource {
    PlkPoolHost *hosts;
    size_t n_hosts;
    PlkPoolDevice *devices;
    size_t n_devices;
    char *dir, *name, *initiator, *vendor, *product, *protocol_ver;
    struct PlkPoolAdapter *adapter; /* scsi; adapter.h knows what is in it */
    PlkPoolAuth *auth;
    int format; /* index into plk_pool_source_formats() */
} PlkPoolSource;

typedef struct PlkPoolDef {
    PlkPoolType type;
    char *name;
    unsigned char uuid[PLK_UUID_BYTES];
    uint64_t capacity, allocation, available; /* bytes; printed, never parsed */
    int cow;                                  /* features/cow: -1 = not given, 0 = no, 1 = yes */
    PlkPoolSource source;
    char *target; /* plk_path_sanitise()d; NULL where the type has none */
    PlkPermissions permissions;
    char *refresh_allocation; /* refresh/volume/@allocation: "default", "capacity" or NULL */
    PlkPoolOption *options;   /* fs:mount_opts or rbd:config_opts */
    size_t n_options;
    /*
     * Ours, in a namespace of its own (xmlns:ploopkit, printed only when given): what new volumes of this pool
     * get when their own definition does not say. libvirt ignores and drops it.
     */
    PlkPermissions volume_defaults;
} PlkPoolDef;

#define PLK_PARSE_VALIDATE 1u /* hold it against the schema as well: XML_SCHEMA */
#define PLK_PARSE_DEFINE 2u   /* for a configuration that is kept: the name is one line */

/*
 * XML_SYNTAX, XML, XML_SCHEMA, CONFIG, NO_SUPPORT, UNIT as libvirt has them. At most 1 MiB of text, 64 attributes an element, depth 64,
 * no DTD. A uuid that is missing is made up. *ret is to be freed with plk_pool_def_free().
 */
int plk_pool_def_parse(const char *xml, unsigned flags, PlkPoolDef **ret, PlkError *err);
char *plk_pool_def_format(const PlkPoolDef *def); /* with its last newline; g_free */
PlkPoolDef *plk_pool_def_copy(const PlkPoolDef *def);
void plk_pool_def_free(PlkPoolDef *def); /* NULL is fine */
static inline void plk_pool_def_freep(PlkPoolDef **def)
{
    plk_pool_def_free(*def);
}

/* The <sources> document of a discovery, and the <source> a discovery is asked with. */
char *plk_pool_sources_format(PlkPoolType type, const PlkPoolSource *sources, size_t n);
int plk_pool_source_parse(const char *xml, PlkPoolType type, PlkPoolSource *ret, PlkError *err);
void plk_pool_source_clear(PlkPoolSource *source);

/* virsh's pool-capabilities. supported: one bool for each PlkPoolType. */
char *plk_pool_capabilities_format(const bool supported[PLK_POOL_TYPES]);
/* virConnectGetCapabilities of a storage driver. */
char *plk_capabilities_format(const bool supported[PLK_POOL_TYPES]);

/* Collapses slashes and takes the last one off, as libvirt does; "/" stays, and two in front. g_free */
char *plk_path_sanitise(const char *path);
void plk_uuid_format(const unsigned char uuid[PLK_UUID_BYTES], char ret[PLK_UUID_CHARS + 1]);
bool plk_uuid_parse(const char *text, unsigned char ret[PLK_UUID_BYTES]); /* spaces and dashes anywhere */
void plk_permissions_clear(PlkPermissions *permissions);
