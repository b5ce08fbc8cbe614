/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For programs that have libvirt's URIs built in (libvirt-dbus): preloaded, whatever they open as qemu:///system is
 * $OPEN_URI. Nothing else of libvirt is touched; its headers are not needed.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *virConnectOpen(const char *uri);
EXPORTED void *virConnectOpenReadOnly(const char *uri);
EXPORTED void *virConnectOpenAuth(const char *uri, void *auth, unsigned flags);

static const char *meant(const char *uri)
{
    const char *instead = getenv("OPEN_URI");

    return instead && uri && strcmp(uri, "qemu:///system") == 0 ? instead : uri;
}

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (!function)
        abort();
    return function;
}

void *virConnectOpen(const char *uri)
{
    void *(*open)(const char *) = real("virConnectOpen");

    return open(meant(uri));
}

void *virConnectOpenReadOnly(const char *uri)
{
    void *(*open)(const char *) = real("virConnectOpenReadOnly");

    return open(meant(uri));
}

void *virConnectOpenAuth(const char *uri, void *auth, unsigned flags)
{
    void *(*open)(const char *, void *, unsigned) = real("virConnectOpenAuth");

    return open(meant(uri), auth, flags);
}
