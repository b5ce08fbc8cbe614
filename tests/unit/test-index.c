/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index against a sorted array that is changed by hand: same names, same order, old lists untouched. */
#include <glib.h>

#include "pool/index.h"
#include "test.h"

#define NAMES 5000

static PlkVolume *record(unsigned number)
{
    PlkVolumeFacts facts = {.capacity = number};

    return plk_volume_new(g_strdup_printf("v%05u", number), number % 5, NULL, &facts); /* in all states */
}

static PlkVolumeList *build(unsigned n, unsigned step)
{
    PlkVolume **sorted = g_new(PlkVolume *, n + 1);
    PlkVolumeList *list;

    for (unsigned i = 0; i < n; i++)
        sorted[i] = record(i * step);
    list = plk_index_build(sorted, n);
    g_free(sorted);
    return list;
}

/* Every name that should be there is, in order, and nothing else. */
static void check_list(const PlkVolumeList *list, const bool present[NAMES])
{
    size_t at = 0, bad = 0;
    char name[16];

    for (unsigned i = 0; i < NAMES; i++) {
        PlkVolume *found;

        snprintf(name, sizeof name, "v%05u", i);
        found = plk_index_find(list, name);
        CHECK((found != NULL) == present[i]);
        CHECK_INT(plk_index_seek(list, name), at);
        if (found) {
            CHECK_STR(plk_volume_list_at(list, at)->name, name);
            CHECK_INT(found->facts.capacity, i);
            bad += found->state == PLK_STATE_BROKEN || found->state == PLK_STATE_INCOMPLETE;
            at++;
        }
    }
    CHECK_INT(plk_volume_list_count(list), at);
    CHECK_INT(plk_index_count_bad(list), bad);
}

TEST(an_empty_list_has_nothing_in_it)
{
    PlkVolumeList *list = plk_index_build(NULL, 0), *one, *none;

    CHECK_INT(plk_volume_list_count(list), 0);
    CHECK(!plk_index_find(list, "x"));
    none = plk_index_without(list, "x");
    CHECK(none == list);
    plk_volume_list_unref(none);
    one = plk_index_with(list, record(7));
    CHECK_INT(plk_volume_list_count(one), 1);
    CHECK_INT(plk_volume_list_count(list), 0);
    none = plk_index_without(one, "v00007");
    CHECK_INT(plk_volume_list_count(none), 0);
    plk_volume_list_unref(none);
    plk_volume_list_unref(one);
    plk_volume_list_unref(list);
}

TEST(records_come_and_go_in_any_order)
{
    static bool present[NAMES], was[NAMES];
    PlkVolumeList *list = build(NAMES / 4, 4), *before;
    GRand *chance = g_rand_new_with_seed(1);
    char name[16];

    for (unsigned i = 0; i < NAMES; i++)
        present[i] = i % 4 == 0;
    check_list(list, present);
    for (int round = 0; round < 20; round++) {
        before = plk_volume_list_ref(list);
        memcpy(was, present, sizeof was);
        for (int i = 0; i < 400; i++) {
            unsigned number = (unsigned)g_rand_int_range(chance, 0, NAMES);
            bool add = g_rand_boolean(chance);
            PlkVolumeList *next;

            snprintf(name, sizeof name, "v%05u", number);
            next = add ? plk_index_with(list, record(number)) : plk_index_without(list, name);
            plk_volume_list_unref(list);
            list = next;
            present[number] = add;
        }
        check_list(list, present);
        check_list(before, was);
        plk_volume_list_unref(before);
    }
    g_rand_free(chance);
    plk_volume_list_unref(list);
}

TEST(a_change_copies_a_part_not_all)
{
    PlkVolumeList *list = build(100000, 1), *next;
    size_t shared = 0;

    next = plk_index_with(list, record(50000));
    for (size_t i = 0; i < 100000; i++)
        shared += plk_volume_list_at(list, i) == plk_volume_list_at(next, i);
    CHECK_INT(shared, 99999);
    plk_volume_list_unref(list);
    CHECK_INT(plk_index_find(next, "v99999")->facts.capacity, 99999);
    plk_volume_list_unref(next);
}

TEST_MAIN()
