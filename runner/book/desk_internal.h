#ifndef RUNNER_BOOK_DESK_INTERNAL_H
#define RUNNER_BOOK_DESK_INTERNAL_H

#include "runner/book/desk.h"

#define DESK_NAME_MAX (GRANT_ID_MAX + 40) /* of a file, or an entry's id */

/* Leases become names of files. */
int desk_check_lease(const char *lease, struct err *e) MUST_USE;

/* The lease as the ledger has it; it must be one of that host. */
int desk_lease_of(struct book *b, const char *lease, const struct sign_public *host,
                  struct ledger_lease *out, struct err *e) MUST_USE;

/*
 * What failed is something of the book's own, not what it was asked: nobody is to take
 * that for the last word on it. ERR_SYSTEM where the code says nothing of the kind. -1.
 */
int desk_own_trouble(struct err *e);
/* After a call of the ledger, which finds nothing corrupt but itself. */
int desk_from_ledger(int rc, struct err *e) MUST_USE;

#endif
