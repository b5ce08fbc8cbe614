/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxml2 without memory: each of its allocations fails in turn while a descriptor is read, copied, changed and
 * printed. Whatever it makes of that, the engine has the whole descriptor, with all that it does not understand,
 * or an error.
 */
#include <libxml/parser.h>
#include <libxml/xmlmemory.h>

#include "format/descriptor.h"
#include "test.h"

static const char text[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!-- made elsewhere -->\n"
    "<Parallels_disk_image Version=\"1.0\" odd='\"'>\n"
    "  <Disk_Parameters>\n"
    "    <Disk_size>16384</Disk_size>\n"
    "    <Cylinders>16</Cylinders><Heads>16</Heads><Sectors>64</Sectors>\n"
    "    <Padding>0</Padding>\n"
    "    <Unknown kept=\"yes\">&lt;as it is&gt;<Deeper a=\"1\" b=\"2\"/></Unknown>\n"
    "  </Disk_Parameters>\n"
    "  <StorageData>\n"
    "    <Storage>\n"
    "      <Start>0</Start><End>16384</End><Blocksize>64</Blocksize>\n"
    "      <Image><GUID>{11111111-1111-4111-8111-111111111111}</GUID><Type>Compressed</Type><File>a</File></Image>\n"
    "      <Image>\n"
    "        <GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>\n"
    "        <Type>Compressed</Type><!-- why not --><File>b</File>\n"
    "      </Image>\n"
    "    </Storage>\n"
    "  </StorageData>\n"
    "  <Snapshots>\n"
    "    <TopGUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</TopGUID>\n"
    "    <Shot><GUID>{11111111-1111-4111-8111-111111111111}</GUID>\n"
    "      <ParentGUID>{00000000-0000-0000-0000-000000000000}</ParentGUID><Name lang=\"en\">first</Name></Shot>\n"
    "    <Shot><GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>\n"
    "      <ParentGUID>{11111111-1111-4111-8111-111111111111}</ParentGUID></Shot>\n"
    "  </Snapshots>\n"
    "</Parallels_disk_image>\n";

static long left; /* allocations until the one that fails; 0 = none does */
static bool sticky, starved;

static bool starves(void)
{
    if (left == 0 || --left > 0)
        return false;
    left = sticky;
    starved = true;
    return true;
}

static void *starving_malloc(size_t size)
{
    return starves() ? NULL : malloc(size);
}

static void *starving_realloc(void *p, size_t size)
{
    return starves() ? NULL : realloc(p, size);
}

static char *starving_strdup(const char *s)
{
    return starves() ? NULL : strdup(s);
}

__attribute__((constructor)) static void take_over(void)
{
    xmlMemSetup(free, starving_malloc, starving_realloc, starving_strdup);
    xmlInitParser();
}

#ifdef __SANITIZE_ADDRESS__
/* Of a tree it had no memory to copy, libxml2 forgets the beginning. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libxml2.so";
}
#endif

/* Read, copied, one state added and one renamed, printed: the text, or NULL with an error. */
static char *go_through(PlkError *err)
{
    static const PlkGuid one = {"{11111111-1111-4111-8111-111111111111}"};
    static const PlkGuid two = {"{22222222-2222-4222-8222-222222222222}"};
    PlkDescriptor desc, copy;
    char *printed = NULL;
    size_t len;

    if (plk_descriptor_parse(text, sizeof text - 1, "D.xml", &desc, err) < 0)
        return NULL;
    if (plk_descriptor_copy(&desc, &copy, err) == 0) {
        plk_descriptor_rename(&copy, &PLK_GUID_TOP, &two);
        copy.top = PLK_GUID_TOP;
        copy.shots[plk_descriptor_find_shot(&copy, &one)].temporary = true;
        if (plk_descriptor_add(&copy, &PLK_GUID_TOP, &two, "c", err) == 0)
            (void)plk_descriptor_print(&copy, &printed, &len, err);
        plk_descriptor_clear(&copy);
    }
    plk_descriptor_clear(&desc);
    return printed;
}

static void starve_in_turn(bool for_good)
{
    PlkError err = {0};
    char *whole = go_through(&err);
    long n = 0;

    CHECK(whole && strstr(whole, "<Deeper a=\"1\" b=\"2\"/>") && strstr(whole, "<Temporary/>"));
    for (starved = true; starved;) {
        char *printed;

        starved = false;
        sticky = for_good;
        left = ++n;
        err = (PlkError){0};
        printed = go_through(&err);
        left = 0;
        if (printed && strcmp(printed, whole) != 0)
            test_fail(__FILE__, __LINE__, "allocation %ld failed, and this was printed:\n%s", n, printed);
        if (!printed && err.code != PLK_ERROR_NO_MEMORY)
            test_fail(__FILE__, __LINE__, "allocation %ld failed: told as: %s", n, err.message);
        free(printed);
    }
    free(whole);
    CHECK(n > 200);
    printf("%ld allocations of libxml2\n", n - 1);
}

TEST(a_descriptor_is_whole_or_there_is_an_error_when_one_allocation_fails)
{
    starve_in_turn(false);
}

TEST(a_descriptor_is_whole_or_there_is_an_error_when_memory_has_run_out)
{
    starve_in_turn(true);
}

TEST_MAIN()
