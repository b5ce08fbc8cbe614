/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a target over inputs that are kept: `fuzz-NAME FILE|ARCHIVE.tar.xz|DIRECTORY...`. An archive is read in
 * memory. The name of what runs goes to stderr when it fails.
 */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX (2u << 20)

static uint8_t bytes[INPUT_MAX];
static char running[400];
static unsigned n_run;

/* At abort(): which one it was. */
static void name_it(int sig)
{
    (void)sig;
    if (write(STDERR_FILENO, running, strlen(running)) < 0)
        _exit(1);
}

static void run_one(const char *archive, const char *name, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* its own allocation: AddressSanitizer sees where it ends */

    FUZZ_CHECK(copy, "out of memory");
    memcpy(copy, bytes, size);
    snprintf(running, sizeof running, "while running %s %s\n", archive, name);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_run++;
}

static bool run_file(const char *path)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int r;

    archive_read_support_filter_xz(a);
    archive_read_support_format_tar(a);
    archive_read_support_format_raw(a); /* anything else is an input itself */
    r = archive_read_open_filename(a, path, 65536);
    while (r == ARCHIVE_OK && (r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
        la_ssize_t n;

        if (archive_entry_filetype(entry) == AE_IFDIR)
            continue;
        n = archive_read_data(a, bytes, sizeof bytes);
        if (n < 0)
            r = ARCHIVE_FATAL;
        else
            run_one(path, archive_entry_pathname(entry), (size_t)n);
    }
    if (r != ARCHIVE_EOF)
        dprintf(STDERR_FILENO, "%s: %s\n", path, archive_error_string(a));
    archive_read_free(a);
    return r == ARCHIVE_EOF;
}

static bool run_directory(const char *path, struct dirent **names, int n)
{
    bool good = true;

    for (int i = 0; i < n; i++) {
        char file[400];

        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            good = run_file(file) && good;
        free(names[i]);
    }
    free(names);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    struct sigaction act = {.sa_handler = name_it, .sa_flags = SA_RESETHAND};

    sigaction(SIGABRT, &act, NULL);
    LLVMFuzzerInitialize(&argc, &argv);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct dirent **names;
        int n = scandir(argv[i], &names, NULL, alphasort);

        good = (n < 0 ? run_file(argv[i]) : run_directory(argv[i], names, n)) && good;
    }
    dprintf(STDOUT_FILENO, "%u inputs\n", n_run);
    return good ? 0 : 1;
}
