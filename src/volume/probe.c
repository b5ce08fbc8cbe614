/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Marks first: a table, walked in the order of the formats; the first whose mark and version fit wins, and a
 * format without a fitting mark is raw. Then what this format's header says.
 *
 * Every number comes from a file anybody may have written: fields behind the end of the buffer read as zero,
 * offsets are checked before use, a size beyond 2^63 - 1 is a fault and not a size.
 */
#include "volume/probe.h"

#include <endian.h>
#include <string.h>

#include "base/math.h"

#define QCOW2_HEADER_V2 72
#define QCOW2_HEADER_V3 104
#define QCOW2_BACKING_MAX 1023
#define QCOW2_CLUSTER_BITS_MIN 9
#define QCOW2_CLUSTER_BITS_MAX 21
#define QCOW2_EXTENSION_END 0
#define QCOW2_EXTENSION_BACKING_FORMAT 0xE2792ACA
#define QCOW2_CORRUPT (1u << 1)
#define QCOW2_DATA_FILE (1u << 2)
#define QCOW2_EXTENDED_L2 (1u << 4)
#define QCOW2_LAZY_REFCOUNTS (1u << 0)
#define QED_BACKING (1u << 0)
#define QED_BACKING_IS_RAW (1u << 2)
#define COW_BACKING_MAX 1024
#define VMDK_TEXT 512

typedef struct Header {
    const unsigned char *bytes;
    size_t len;
    uint64_t file_size;
} Header;

/* ---- fields ---- */

static void field(const Header *h, uint64_t at, void *ret, size_t size)
{
    memset(ret, 0, size);
    if (at <= h->len && h->len - at >= size)
        memcpy(ret, h->bytes + at, size);
}

static uint16_t be16(const Header *h, uint64_t at)
{
    uint16_t v;

    field(h, at, &v, sizeof v);
    return be16toh(v);
}

static uint32_t be32(const Header *h, uint64_t at)
{
    uint32_t v;

    field(h, at, &v, sizeof v);
    return be32toh(v);
}

static uint64_t be64(const Header *h, uint64_t at)
{
    uint64_t v;

    field(h, at, &v, sizeof v);
    return be64toh(v);
}

static uint32_t le32(const Header *h, uint64_t at)
{
    uint32_t v;

    field(h, at, &v, sizeof v);
    return le32toh(v);
}

static uint64_t le64(const Header *h, uint64_t at)
{
    uint64_t v;

    field(h, at, &v, sizeof v);
    return le64toh(v);
}

static void set_fault(PlkProbe *p, const char *fault)
{
    if (!p->fault)
        p->fault = fault;
}

static void set_capacity(PlkProbe *p, uint64_t count, uint64_t unit)
{
    uint64_t bytes;

    if (PLK_MUL_OVERFLOW(count, unit, &bytes) || bytes > INT64_MAX)
        set_fault(p, "its header claims an impossible size");
    else
        p->capacity = bytes;
}

/* A name at most as long as it says, and that ends before its first NUL. */
static void set_backing(PlkProbe *p, const Header *h, uint64_t at, uint64_t len, PlkFileFormat format)
{
    if (at > h->len || len > h->len - at) {
        set_fault(p, "the name of its backing file lies outside of its header");
        return;
    }
    p->backing_len = strnlen((const char *)h->bytes + at, len);
    p->backing = p->backing_len ? (const char *)h->bytes + at : NULL;
    p->backing_format = format;
}

/* ---- one format each ---- */

static void read_vpc(const Header *h, PlkProbe *p)
{
    set_capacity(p, be64(h, 40), 1);
}

static void read_vdi(const Header *h, PlkProbe *p)
{
    set_capacity(p, le64(h, 368), 1);
}

/* A volume in ploop's format is a directory; this is only one image of it. */
static void read_ploop(const Header *h, PlkProbe *p)
{
    set_capacity(p, le64(h, 36), PLK_SECTOR);
    set_fault(p, "it is an image of a ploop disk without its directory and descriptor");
}

static void read_cow(const Header *h, PlkProbe *p)
{
    set_capacity(p, be64(h, 1036), 1);
    set_backing(p, h, 8, COW_BACKING_MAX, PLK_FILE_AUTO);
}

/* The same fields in both qcow formats. Zero at either means: none. */
static void read_qcow_backing(const Header *h, PlkProbe *p, PlkFileFormat format)
{
    uint64_t at = be64(h, 8);
    uint32_t len = be32(h, 16);

    if (at && len > QCOW2_BACKING_MAX)
        set_fault(p, "the name of its backing file is too long");
    else if (at && len)
        set_backing(p, h, at, len, format);
}

static void read_qcow(const Header *h, PlkProbe *p)
{
    set_capacity(p, be64(h, 24), 1);
    if (be32(h, 36))
        p->encryption = PLK_ENCRYPTION_QCOW;
    read_qcow_backing(h, p, PLK_FILE_AUTO);
}

static PlkFileFormat format_named(const unsigned char *name, size_t len)
{
    for (int f = PLK_FILE_RAW; f < PLK_FILE_FORMATS; f++)
        if (strlen(plk_file_format_names[f]) == len && memcmp(plk_file_format_names[f], name, len) == 0)
            return f;
    return PLK_FILE_AUTO;
}

/* From behind the header to the mark of the end, or to the backing file's name. */
static PlkFileFormat qcow2_backing_format(const Header *h, uint64_t start)
{
    uint64_t end = PLK_MIN(h->len, be64(h, 8)), at = start;

    while (at <= end && end - at >= 8) {
        uint32_t kind = be32(h, at), len = be32(h, at + 4);

        at += 8;
        if (kind == QCOW2_EXTENSION_END || len > end - at)
            break;
        if (kind == QCOW2_EXTENSION_BACKING_FORMAT)
            return format_named(h->bytes + at, len);
        at += plk_round_up(len, 8);
    }
    return PLK_FILE_AUTO;
}

static void read_qcow2_features(const Header *h, PlkProbe *p)
{
    uint64_t incompatible = be64(h, 72);

    p->compat_1_1 = true;
    p->lazy_refcounts = be64(h, 80) & QCOW2_LAZY_REFCOUNTS;
    p->extended_l2 = incompatible & QCOW2_EXTENDED_L2;
    p->data_file = incompatible & QCOW2_DATA_FILE;
    if (incompatible & QCOW2_CORRUPT)
        set_fault(p, "it is marked as corrupt; 'qemu-img check -r all' repairs it");
}

static void read_qcow2(const Header *h, PlkProbe *p)
{
    bool v3 = be32(h, 4) == 3;
    uint64_t header = v3 ? be32(h, 100) : QCOW2_HEADER_V2;
    uint32_t bits = be32(h, 20), crypt = be32(h, 32);

    if (h->len < (v3 ? QCOW2_HEADER_V3 : QCOW2_HEADER_V2) || (v3 && header < QCOW2_HEADER_V3))
        set_fault(p, "its header is cut short");
    set_capacity(p, be64(h, 24), 1);
    if (bits >= QCOW2_CLUSTER_BITS_MIN && bits <= QCOW2_CLUSTER_BITS_MAX)
        p->cluster = 1u << bits;
    else
        set_fault(p, "its header claims an impossible cluster size");
    if (crypt)
        p->encryption = crypt == 2 ? PLK_ENCRYPTION_LUKS : PLK_ENCRYPTION_QCOW;
    if (v3)
        read_qcow2_features(h, p);
    read_qcow_backing(h, p, qcow2_backing_format(h, header));
}

static void read_qed(const Header *h, PlkProbe *p)
{
    uint64_t features = le64(h, 16);

    set_capacity(p, le64(h, 48), 1);
    if (features & QED_BACKING)
        set_backing(p, h, le32(h, 56), le32(h, 60),
                    features & QED_BACKING_IS_RAW ? PLK_FILE_RAW : PLK_FILE_AUTO);
}

/* Its parent stands in a text, quoted. */
static void read_vmdk(const Header *h, PlkProbe *p)
{
    static const char key[] = "parentFileNameHint=\"";
    const char *text = (const char *)h->bytes + PLK_MIN(h->len, VMDK_TEXT),
               *end = (const char *)h->bytes + h->len;
    const char *name, *quote;

    set_capacity(p, le64(h, 12), PLK_SECTOR);
    p->data_file = p->capacity == 0; /* then the text names the files that hold the data */
    end = text + strnlen(text, (size_t)(end - text));
    name = memmem(text, (size_t)(end - text), key, sizeof key - 1);
    if (!name)
        return;
    name += sizeof key - 1;
    quote = memchr(name, '"', (size_t)(end - name));
    if (!quote)
        set_fault(p, "the name of its parent has no end");
    else
        set_backing(p, h, (uint64_t)(name - (const char *)h->bytes), (uint64_t)(quote - name), PLK_FILE_AUTO);
}

static void read_luks(const Header *h, PlkProbe *p)
{
    uint64_t payload = (uint64_t)be32(h, 104) * PLK_SECTOR;

    p->encryption = PLK_ENCRYPTION_LUKS;
    if (payload > h->file_size)
        set_fault(p, "its LUKS header claims more than the file holds");
    else
        p->capacity = h->file_size - payload;
}

/* ---- marks ---- */

typedef enum Version { NO_VERSION, VERSION_BE16, VERSION_BE32, VERSION_LE32 } Version;

static const struct Mark {
    PlkFileFormat format;
    uint32_t at;
    const char *magic;
    Version version;
    uint32_t version_at;
    uint32_t versions[3]; /* 0 = no more */
    void (*read)(const Header *h, PlkProbe *p);
} marks[] = {
    {PLK_FILE_RAW, 0, "LUKS\xba\xbe", VERSION_BE16, 6, {1}, read_luks},
    {PLK_FILE_ISO, 32769, "CD001"},
    {PLK_FILE_VPC, 0, "conectix", VERSION_BE32, 12, {0x10000}, read_vpc},
    {PLK_FILE_VDI, 64, "\x7f\x10\xda\xbe", VERSION_LE32, 68, {0x10001}, read_vdi},
    {PLK_FILE_PLOOP, 0, "WithouFreSpacExt", .read = read_ploop},
    {PLK_FILE_COW, 0, "OOOM", VERSION_BE32, 4, {2}, read_cow},
    {PLK_FILE_QCOW, 0, "QFI", VERSION_BE32, 4, {1}, read_qcow},
    {PLK_FILE_QCOW2, 0, "QFI", VERSION_BE32, 4, {2, 3}, read_qcow2},
    {PLK_FILE_QED, 0, "QED", .read = read_qed},
    {PLK_FILE_VMDK, 0, "KDMV", VERSION_LE32, 4, {1, 2, 3}, read_vmdk},
};

static uint32_t version_of(const Header *h, const struct Mark *m)
{
    if (m->version == VERSION_BE16)
        return be16(h, m->version_at);
    return m->version == VERSION_BE32 ? be32(h, m->version_at) : le32(h, m->version_at);
}

static bool fits(const Header *h, const struct Mark *m)
{
    size_t n = strlen(m->magic);
    uint32_t version;

    if (m->at > h->len || n > h->len - m->at || memcmp(h->bytes + m->at, m->magic, n))
        return false;
    if (m->version == NO_VERSION)
        return true;
    version = version_of(h, m);
    for (size_t i = 0; i < 3 && m->versions[i]; i++)
        if (m->versions[i] == version)
            return true;
    return false;
}

void plk_probe_header(const void *buf, size_t len, uint64_t file_size, PlkProbe *ret)
{
    const Header h = {buf, len, file_size};
    PlkProbe p = {.format = PLK_FILE_RAW, .encryption = PLK_ENCRYPTION_NONE, .backing_format = PLK_FILE_AUTO};

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (!fits(&h, &marks[i]))
            continue;
        p.format = marks[i].format;
        if (marks[i].read)
            marks[i].read(&h, &p);
        break;
    }
    *ret = p;
}
