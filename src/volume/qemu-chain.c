/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files behind an image, found by us and handed to qemu-img as a closed list. An image may come from
 * anybody: its backing file could be a fifo that never answers, an address on the network, itself. So each
 * layer is opened without waiting, must be a file or block device, and there is an end to how many there may
 * be.
 */
#include "volume/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "volume/plain.h"
#include "volume/probe.h"

#define LAYERS_MAX 64

typedef struct Layer {
    char *path; /* for messages, and for names relative to it */
    PlkFileFormat format;
    uint64_t capacity;
    bool is_device;
} Layer;

struct PlkQemuChain {
    Layer layers[LAYERS_MAX]; /* top first */
    int fds[LAYERS_MAX];
    size_t n;
    bool borrowed;
};

void plk_qemu_chain_free(PlkQemuChain *chain)
{
    for (size_t i = 0; i < chain->n; i++) {
        if (!chain->borrowed)
            close(chain->fds[i]);
        g_free(chain->layers[i].path);
    }
    g_free(chain);
}

uint64_t plk_qemu_chain_capacity(const PlkQemuChain *chain)
{
    return chain->layers[0].capacity;
}

int plk_qemu_chain_top(const PlkQemuChain *chain)
{
    return chain->fds[0];
}

const int *plk_qemu_chain_fds(const PlkQemuChain *chain, size_t *ret_n)
{
    *ret_n = chain->n;
    return chain->fds;
}

const char *plk_qemu_format(PlkFileFormat format)
{
    switch (format) {
    case PLK_FILE_RAW:
    case PLK_FILE_ISO:
        return "raw";
    case PLK_FILE_BOCHS:
    case PLK_FILE_CLOOP:
    case PLK_FILE_DMG:
    case PLK_FILE_VPC:
    case PLK_FILE_VDI:
    case PLK_FILE_QCOW:
    case PLK_FILE_QCOW2:
    case PLK_FILE_QED:
    case PLK_FILE_VMDK:
        return plk_file_format_names[format];
    default:
        return NULL;
    }
}

char *plk_backing_path(const char *path, const char *backing)
{
    const char *colon = strchr(backing, ':'), *slash = strchr(backing, '/');
    g_autofree char *dir = g_path_get_dirname(path);

    if (colon && (!slash || colon < slash))
        return NULL; /* libvirt's and QEMU's rule: that is a protocol */
    return *backing == '/' ? g_strdup(backing) : g_strconcat(dir, "/", backing, NULL);
}

/* ---- finding ---- */

/* Looked at before it is opened: to open a device may already do something. */
static int open_path(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return -ENXIO;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int measure(Layer *layer, int fd, PlkError *err)
{
    struct stat st;
    off_t end = lseek(fd, 0, SEEK_END);

    if (fstat(fd, &st) < 0 || end < 0)
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "'%s'", layer->path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return plk_fail(err, PLK_ERROR_REFUSED, "'%s' is not a file", layer->path);
    layer->is_device = S_ISBLK(st.st_mode);
    layer->capacity = (uint64_t)end;
    return 0;
}

/* Takes what the header says, if this layer has one. *probe points into header. */
static int read_layer(Layer *layer, int fd, unsigned char *header, PlkProbe *probe, PlkError *err)
{
    ssize_t n = pread(fd, header, PLK_PROBE_BYTES, 0);

    *probe = (PlkProbe){.format = PLK_FILE_RAW, .encryption = PLK_ENCRYPTION_NONE};
    if (n < 0)
        return plk_fail_io(err, PLK_ERROR_READ, -errno, "cannot read the header of '%s'", layer->path);
    if (layer->format != PLK_FILE_RAW && layer->format != PLK_FILE_ISO)
        plk_probe_header(header, (size_t)n, layer->capacity, probe);
    if (layer->format == PLK_FILE_AUTO)
        layer->format = probe->format;
    if (probe->fault)
        return plk_fail(err, PLK_ERROR_FORMAT, "'%s' cannot be used: %s", layer->path, probe->fault);
    if (probe->encryption != PLK_ENCRYPTION_NONE)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s' is encrypted; there is no store of secrets here",
                        layer->path);
    if (probe->data_file)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s' keeps its data in another file", layer->path);
    if (!plk_qemu_format(layer->format))
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s' is of a format that qemu-img cannot read",
                        layer->path);
    if (probe->format != PLK_FILE_RAW)
        layer->capacity = probe->capacity;
    return 0;
}

/* Adds the layer; fd is the chain's afterwards in any case. The path of the next one in *ret_next, or NULL.
 */
static int add_layer(PlkQemuChain *chain, int fd, const char *path, PlkFileFormat format, char **ret_next,
                     PlkFileFormat *ret_format, PlkError *err)
{
    Layer *layer = &chain->layers[chain->n];
    unsigned char header[PLK_PROBE_BYTES];
    g_autofree char *backing = NULL;
    PlkProbe probe;

    layer->path = g_strdup(path);
    layer->format = format;
    chain->fds[chain->n++] = fd;
    if (measure(layer, fd, err) < 0 || read_layer(layer, fd, header, &probe, err) < 0)
        return -1;
    *ret_next = NULL;
    if (!probe.backing_len)
        return 0;
    backing = g_strndup(probe.backing, probe.backing_len);
    *ret_next = plk_backing_path(path, backing);
    *ret_format = probe.backing_format;
    if (!*ret_next)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s' rests on '%s', which is not a file", path, backing);
    return 0;
}

static int follow(PlkQemuChain *chain, int fd, const char *path, PlkFileFormat format, PlkError *err)
{
    g_autofree char *next = NULL;

    if (add_layer(chain, fd, path, format, &next, &format, err) < 0)
        return -1;
    while (next) {
        g_autofree char *now = g_steal_pointer(&next);

        if (chain->n == LAYERS_MAX)
            return plk_fail(err, PLK_ERROR_FORMAT, "'%s' rests on more than %d images, or on itself", path,
                            LAYERS_MAX - 1);
        fd = open_path(now);
        if (fd < 0)
            return plk_fail_io(err, PLK_ERROR_OPEN, fd, "'%s' rests on '%s', which cannot be opened",
                               chain->layers[chain->n - 1].path, now);
        if (add_layer(chain, fd, now, format, &next, &format, err) < 0)
            return -1;
    }
    return 0;
}

static int chain_from(int fd, const char *path, PlkFileFormat format, PlkQemuChain **ret, PlkError *err)
{
    PlkQemuChain *chain = g_new0(PlkQemuChain, 1);

    if (follow(chain, fd, path, format, err) < 0) {
        plk_qemu_chain_free(chain);
        return -1;
    }
    *ret = chain;
    return 0;
}

int plk_qemu_chain_open(const PlkPlace *at, PlkFileFormat format, PlkQemuChain **ret, PlkError *err)
{
    g_autofree char *path = plk_place_path(at);
    int fd;

    if (plk_plain_open(at, O_RDONLY, PLK_IO_LOCK_NONE, &fd, err) < 0)
        return -1;
    return chain_from(fd, path, format, ret, err);
}

int plk_qemu_chain_open_path(const char *path, PlkFileFormat format, PlkQemuChain **ret, PlkError *err)
{
    int fd = open_path(path);

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, -fd, "cannot open the backing file '%s'", path);
    return chain_from(fd, path, format, ret, err);
}

PlkQemuChain *plk_qemu_chain_of_raw(int fd, uint64_t size)
{
    PlkQemuChain *chain = g_new0(PlkQemuChain, 1);

    chain->layers[0] = (Layer){.path = g_strdup(""), .format = PLK_FILE_RAW, .capacity = size};
    chain->fds[0] = fd;
    chain->n = 1;
    chain->borrowed = true;
    return chain;
}

/* ---- telling qemu-img ---- */

static bool may_have_backing(PlkFileFormat format)
{
    return format == PLK_FILE_QCOW || format == PLK_FILE_QCOW2 || format == PLK_FILE_QED ||
           format == PLK_FILE_VMDK;
}

/* Where an image rests on nothing that is said too, so that qemu-img does not look for itself. */
char *plk_qemu_chain_json(const PlkQemuChain *chain)
{
    GString *text = g_string_new("json:");

    for (size_t i = 0; i < chain->n; i++) {
        const Layer *layer = &chain->layers[i];

        g_string_append_printf(
            text, "{\"driver\":\"%s\",\"file\":{\"driver\":\"%s\",\"filename\":\"/proc/self/fd/%d\"}",
            plk_qemu_format(layer->format), layer->is_device ? "host_device" : "file", chain->fds[i]);
        if (i + 1 < chain->n)
            g_string_append(text, ",\"backing\":");
        else if (may_have_backing(layer->format))
            g_string_append(text, ",\"backing\":null");
    }
    for (size_t i = 0; i < chain->n; i++)
        g_string_append_c(text, '}');
    return g_string_free(text, FALSE);
}
