/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxml2 that has no memory goes on and leaves out what it had none for: a copied tree lacks an element, a printed
 * text ends early, and whoever called it is told nothing. It does raise an error, which goes to a handler of the
 * thread. Between these two calls that handler is ours:
 *
 *     plk_xml_watch(&watch);
 *     ... calls of libxml2 ...
 *     if (!plk_xml_unwatch(&watch))
 *         what was made must not be used
 */
#pragma once

#include <libxml/xmlerror.h>
#include <stdbool.h>

typedef struct PlkXmlWatch {
    bool nomem;
    xmlStructuredErrorFunc handler; /* as it was */
    void *arg;
} PlkXmlWatch;

void plk_xml_watch(PlkXmlWatch *watch); /* the struct stays where it is meanwhile */
bool plk_xml_unwatch(PlkXmlWatch *watch);
