/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a volume is encrypted, as its definition says it. Secrets are named here, never held. */
#include "conf/encryption.h"

#include <string.h>

#include "base/error.h"
#include "conf/document.h"
#include "conf/number.h"
#include "conf/secret.h"

static const char *const format_names[] = {"default", "qcow", "luks", "luks2", NULL};
static const char *const engine_names[] = {"qemu", "librbd", NULL};
static const char *const secret_names[] = {"passphrase", NULL};

/* ---- parsing ---- */

static int parse_secret(const xmlNode *node, struct PlkSecret *secret, PlkError *err)
{
    secret->type = plk_element_attribute(node, "type");
    if (!secret->type)
        return plk_fail(err, PLK_ERROR_XML, "a <secret> of an encryption has no type: passphrase");
    if (plk_name_index(secret_names, secret->type) < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "the type '%s' of an encryption's <secret> is not passphrase",
                        secret->type);
    return plk_secret_parse(node, &secret->uuid, &secret->usage, err);
}

static int parse_secrets(const xmlNode *node, PlkEncryptionDef *def, PlkError *err)
{
    for (const xmlNode *at = NULL; (at = plk_element_next(node, at, "secret"));) {
        def->secrets = g_renew(struct PlkSecret, def->secrets, def->n_secrets + 1);
        struct PlkSecret *secret = &def->secrets[def->n_secrets++];
        *secret = (struct PlkSecret){0};
        if (parse_secret(at, secret, err) != 0)
            return -1;
    }
    return 0;
}

static int parse_cipher(const xmlNode *node, PlkEncryptionDef *def, PlkError *err)
{
    g_autofree char *text = plk_element_attribute(node, "size");
    uint64_t size;

    def->cipher_name = plk_element_attribute(node, "name");
    def->cipher_mode = plk_element_attribute(node, "mode");
    def->cipher_hash = plk_element_attribute(node, "hash");
    if (!def->cipher_name)
        return plk_fail(err, PLK_ERROR_XML, "the <cipher> of an encryption has no name");
    if (!text || !plk_number_parse_unsigned(text, 10, &size) || size > UINT32_MAX)
        return plk_fail(err, PLK_ERROR_XML, "the size '%s' of cipher '%s' is not a number of bits", text ? text : "",
                        def->cipher_name);
    def->cipher_size = size;
    return 0;
}

static int parse_ivgen(const xmlNode *node, PlkEncryptionDef *def, PlkError *err)
{
    if (!def->cipher_name)
        return plk_fail(err, PLK_ERROR_XML, "an encryption has an <ivgen> but no <cipher>");
    def->ivgen_name = plk_element_attribute(node, "name");
    def->ivgen_hash = plk_element_attribute(node, "hash");
    if (!def->ivgen_name)
        return plk_fail(err, PLK_ERROR_XML, "the <ivgen> of an encryption has no name");
    return 0;
}

static int parse_engine(const xmlNode *node, PlkEncryptionDef *def, PlkError *err)
{
    def->engine = plk_element_attribute(node, "engine");
    if (def->engine && plk_name_index(engine_names, def->engine) < 0)
        return plk_fail(err, PLK_ERROR_XML, "the engine '%s' of an encryption is neither qemu nor librbd",
                        def->engine);
    return 0;
}

static int parse(const xmlNode *node, PlkEncryptionDef *def, PlkError *err)
{
    g_autofree char *format = plk_element_text(node, "@format");
    const xmlNode *cipher = plk_element_find(node, "cipher"), *ivgen = plk_element_find(node, "ivgen");

    if (!format)
        return plk_fail(err, PLK_ERROR_XML, "an <encryption> has no format");
    int index = plk_name_index(format_names, format);
    if (index < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "'%s' is not a format of encryption", format);
    def->format = index;
    if (parse_engine(node, def, err) != 0 || parse_secrets(node, def, err) != 0)
        return -1;
    if (def->format < PLK_ENCRYPTION_LUKS)
        return 0;
    if (cipher && parse_cipher(cipher, def, err) != 0)
        return -1;
    return ivgen ? parse_ivgen(ivgen, def, err) : 0;
}

int plk_encryption_parse(const xmlNode *node, PlkEncryptionDef **ret, PlkError *err)
{
    PlkEncryptionDef *def = g_new0(PlkEncryptionDef, 1);

    if (parse(node, def, err) != 0) {
        plk_encryption_free(def);
        return -1;
    }
    *ret = def;
    return 0;
}

/* ---- printing ---- */

static void write_cipher(PlkWriter *writer, const PlkEncryptionDef *def)
{
    plk_write_start(writer, "cipher");
    plk_write_attribute(writer, "name", def->cipher_name);
    plk_write_attribute_format(writer, "size", "%u", def->cipher_size);
    plk_write_attribute(writer, "mode", def->cipher_mode);
    plk_write_attribute(writer, "hash", def->cipher_hash);
    plk_write_empty(writer);
    if (!def->ivgen_name)
        return;
    plk_write_start(writer, "ivgen");
    plk_write_attribute(writer, "name", def->ivgen_name);
    plk_write_attribute(writer, "hash", def->ivgen_hash);
    plk_write_empty(writer);
}

void plk_encryption_write(PlkWriter *writer, const PlkEncryptionDef *def)
{
    if (def->format == PLK_ENCRYPTION_NONE)
        return;
    plk_write_start(writer, "encryption");
    plk_write_attribute(writer, "format", format_names[def->format]);
    plk_write_attribute(writer, "engine", def->engine);
    plk_write_open(writer);
    for (size_t i = 0; i < def->n_secrets; i++)
        plk_secret_write(writer, def->secrets[i].type, def->secrets[i].uuid, def->secrets[i].usage);
    if (def->cipher_name)
        write_cipher(writer, def);
    plk_write_close(writer, "encryption");
}

/* ---- copying, freeing ---- */

PlkEncryptionDef *plk_encryption_copy(const PlkEncryptionDef *def)
{
    PlkEncryptionDef *copy = g_memdup2(def, sizeof(*def));

    if (!copy)
        return NULL;
    copy->engine = g_strdup(def->engine);
    copy->secrets = g_memdup2(def->secrets, def->n_secrets * sizeof(*def->secrets));
    for (size_t i = 0; i < def->n_secrets; i++) {
        copy->secrets[i].type = g_strdup(def->secrets[i].type);
        copy->secrets[i].uuid = g_strdup(def->secrets[i].uuid);
        copy->secrets[i].usage = g_strdup(def->secrets[i].usage);
    }
    copy->cipher_name = g_strdup(def->cipher_name);
    copy->cipher_mode = g_strdup(def->cipher_mode);
    copy->cipher_hash = g_strdup(def->cipher_hash);
    copy->ivgen_name = g_strdup(def->ivgen_name);
    copy->ivgen_hash = g_strdup(def->ivgen_hash);
    return copy;
}

void plk_encryption_free(PlkEncryptionDef *def)
{
    if (!def)
        return;
    for (size_t i = 0; i < def->n_secrets; i++) {
        g_free(def->secrets[i].type);
        g_free(def->secrets[i].uuid);
        g_free(def->secrets[i].usage);
    }
    g_free(def->secrets);
    g_free(def->engine);
    g_free(def->cipher_name);
    g_free(def->cipher_mode);
    g_free(def->cipher_hash);
    g_free(def->ivgen_name);
    g_free(def->ivgen_hash);
    g_free(def);
}
