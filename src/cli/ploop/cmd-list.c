/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop list: the kernel's ploop devices, "DEVICE IMAGE" a line. Under an ordinary kernel there are none, and
 * then nothing is printed; under OpenVZ's the devices of its own tools show.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static void print_device(const char *name)
{
    char path[PATH_MAX], image[PATH_MAX];
    FILE *f;

    snprintf(path, sizeof(path), "/sys/block/%s/pdelta/0/image", name);
    f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(image, sizeof(image), f)) {
        image[strcspn(image, "\n")] = '\0';
        printf("%-12s %s\n", name, image);
    }
    fclose(f);
}

static int run(const PlkArgs *args)
{
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;

    if (!dir)
        return PLK_EXIT_OK;
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, "ploop", 5) == 0)
            print_device(entry->d_name);
    closedir(dir);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    {'a', NULL, NULL, "accepted for the original's sake"},
    {0},
};

const PlkVerb plk_verb_list = {
    .name = "list",
    .options = options,
    .run = run,
    .help = "list the kernel's ploop devices",
};
