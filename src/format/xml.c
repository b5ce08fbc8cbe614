/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "format/xml.h"

#include <libxml/globals.h>

static void note_error(void *arg, xmlError *error)
{
    PlkXmlWatch *watch = arg;

    watch->nomem |= error->code == XML_ERR_NO_MEMORY;
}

void plk_xml_watch(PlkXmlWatch *watch)
{
    watch->nomem = false;
    watch->handler = xmlStructuredError;
    watch->arg = xmlStructuredErrorContext;
    xmlSetStructuredErrorFunc(watch, note_error);
}

bool plk_xml_unwatch(PlkXmlWatch *watch)
{
    xmlSetStructuredErrorFunc(watch->arg, watch->handler);
    return !watch->nomem;
}
