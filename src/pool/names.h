/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reservations of names of volumes: .ploopkit/names/NAME, locked for as long as somebody works on the volume. Exclusive
 * for those that change it, shared for those that read it. The file says who. It is removed when the reservation ends;
 * one that nobody has locked belongs to a process that died and means nothing.
 *
 * Holds between threads, processes, and (where the file system's locks do) hosts.
 */
#pragma once

#include <ploopkit/error.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct PlkReservation PlkReservation;

/*
 * STATE naming who holds it. kind: "create", "clone", "upload"... A shared one of a pool that cannot be written to succeeds
 * without a file. pool_dir is borrowed until the release.
 */
int plk_name_reserve(int pool_dir, const char *name, const char *kind, bool exclusive, PlkReservation **ret,
                     PlkError *err);
/* NULL is fine. tidy: names/ goes too if this was the last; else who keeps it has to remove it. */
void plk_name_release(PlkReservation *reservation, bool tidy);

/* Who holds it: "upload by ploopctl (pid 7)"; false: nobody. */
bool plk_name_holder(int pool_dir, const char *name, char *ret, size_t size);
/* Calls each reserved name with its holder. */
void plk_names_each(int pool_dir, void (*each)(void *arg, const char *name, const char *holder), void *arg);
