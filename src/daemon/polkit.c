/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* polkit's CheckAuthorization, by GDBus. */
#include "daemon/polkit.h"

#include <gio/gio.h>

#include "base/error.h"

#define TIMEOUT_MS 30000
#define PERSON_MS 120000 /* somebody types a password */
#define ALLOW_INTERACTION 1u

static GVariant *subject(const PlkIdentity *who)
{
    GVariantBuilder b;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a{sv}"));
    g_variant_builder_add(&b, "{sv}", "pid", g_variant_new_uint32((guint32)who->pid));
    g_variant_builder_add(&b, "{sv}", "start-time", g_variant_new_uint64(who->start_time));
    g_variant_builder_add(&b, "{sv}", "uid", g_variant_new_int32((gint32)who->uid));
    return g_variant_new("(sa{sv})", "unix-process", &b);
}

static GVariant *question(const PlkIdentity *who, const char *action, const PlkPolkitDetail *details, bool ask_person)
{
    GVariantBuilder b;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a{ss}"));
    for (; details && details->name; details++)
        if (details->value)
            g_variant_builder_add(&b, "{ss}", details->name, details->value);
    return g_variant_new("(@(sa{sv})sa{ss}us)", subject(who), action, &b, ask_person ? ALLOW_INTERACTION : 0, "");
}

int plk_polkit_check(const PlkIdentity *who, const char *action, const PlkPolkitDetail *details, bool ask_person, PlkError *err)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &error);
    g_autoptr(GVariant) answer = NULL;
    gboolean yes = false, challenge = false;

    if (who->uid == (uid_t)-1)
        return plk_fail(err, PLK_ERROR_AUTH, "polkit: nothing is known of the process that asks for %s", action);
    if (bus)
        answer = g_dbus_connection_call_sync(
            bus, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization", question(who, action, details, ask_person),
            G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, ask_person ? PERSON_MS : TIMEOUT_MS, NULL, &error);
    if (!answer)
        return plk_fail(err, PLK_ERROR_AUTH, "polkit cannot be asked for %s: %s", action, error->message);
    g_variant_get(answer, "((bba{ss}))", &yes, &challenge, NULL);
    if (yes)
        return 0;
    if (challenge) /* clients know by these words that they are to start an agent */
        return plk_fail(err, PLK_ERROR_AUTH_UNAVAILABLE, "no polkit agent available to authenticate action '%s'", action);
    return plk_fail(err, PLK_ERROR_AUTH, "polkit denies %s", action);
}
