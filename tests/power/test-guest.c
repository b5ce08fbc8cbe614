/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the rig for guest.py, which boots a guest and kills it. The model is a file of the host, and in the
 * guest a piece of memory on its PCI bus: what the writer notes is there at once, whatever becomes of the guest.
 *
 *     test-guest make MODEL DIRECTORY SEED   a disk, and its model
 *     test-guest write MODEL PLOOP SEED      in the guest: the history, without an end
 *     test-guest examine MODEL               after the cut; prints what is wrong
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

static Model *map_model(const char *path, bool create)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    Model *m = MAP_FAILED;

    /* As big as the guest's piece of memory, which is a power of two. */
    if (fd >= 0 && (!create || ftruncate(fd, MODEL_FILE_BYTES) == 0))
        m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    return m;
}

static int report(Model *m)
{
    bool in_operation = m->act != ACT_WRITING;
    const char *act = act_name(m->act);
    char what[512];

    if (m->failed[0]) {
        printf("before the cut: %s\n", m->failed);
        return 1;
    }
    if (!examine(m, what, sizeof what)) {
        printf("while %s: %s\n", act, what);
        return 1;
    }
    printf("%s, %lu acknowledgements, cut while %s\n", in_operation ? "operation" : "session", m->n_acks, act);
    m->n_acks = 0;
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    Model *m;

    if (strcmp(verb, "make") == 0 && argc == 5) {
        unsigned seed = (unsigned)atoi(argv[4]);

        m = map_model(argv[2], true);
        memset(m, 0, sizeof *m);
        return !model_make_disk(m, argv[3], 1 + (int)(seed % 2), (PlkFormat)(seed / 2 % 3));
    }
    if (strcmp(verb, "write") == 0 && argc == 5) {
        m = map_model(argv[2], false);
        snprintf(m->ploop, sizeof m->ploop, "%s", argv[3]);
        printf("writing\n");
        fflush(stdout);
        writer_run(m, (uint32_t)atol(argv[4]));
    }
    if (strcmp(verb, "examine") == 0 && argc == 3)
        return report(map_model(argv[2], false));
    fprintf(stderr, "usage: test-guest make|write|examine MODEL ...\n");
    return 2;
}
