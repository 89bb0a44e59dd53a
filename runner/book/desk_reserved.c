#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "meter/reservation.h"
#include "runner/book/desk_internal.h"
#include "runner/job/ids.h"

/* What was paid in front: chains of reservations, and what they say of this book's money.
 */

/* Each lease of this book that has paid for it was promised to this very host. */
static int
check_leases(struct book *b, const struct reservation *r, struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_payments; i++) {
        const struct reservation_payment *p = &r->payments[i];
        struct ledger_lease h;

        if (memcmp(p->book.b, b->pub.b, sizeof b->pub.b) == 0) {
            n++;
            if (desk_lease_of(b, p->lease, &r->host, &h, e) != 0) {
                return -1;
            }
        }
    }
    return n > 0 ? 0
                 : err_set(e, ERR_DENIED, "this book has paid nothing for reservation %s",
                           r->id);
}

/* Two histories of one reservation: the second goes beside the first, as proof. */
static int
keep_other_chain(struct book *b, const struct reservation *r, struct err *e)
{
    char name[DESK_NAME_MAX];
    char *path = NULL;
    int rc = -1;

    (void)snprintf(name, sizeof name, "%s.%zu", r->id, r->n_events);
    if (book_path(b, "forks", name, &path, e) == 0 &&
        file_replace(path, r->bytes.data, r->bytes.len, e) == 0) {
        rc = err_set(e, ERR_CORRUPT,
                     "the host has signed another history of reservation %s before: both "
                     "are kept as proof",
                     r->id);
    }
    free(path);
    return rc;
}

/*
 * An older chain than the one that is kept brings nothing; so it does not take its place.
 * Of a file that cannot be read the ledger still knows every sum that was posted.
 */
static int
keep_chain(struct book *b, const struct reservation *r, struct err *e)
{
    struct reservation *was = NULL;
    struct buf old = BUF_INIT;
    char *path = NULL;
    struct err why;
    int rc = -1;

    if (book_path(b, "reservations", r->id, &path, e) != 0) {
        return -1;
    }
    if (file_read(path, RESERVATION_MAX_BYTES, &old, &why) != 0 ||
        reservation_parse(&was, old.data, old.len, NULL, NULL, &why) != 0 ||
        reservation_continues(r, was)) {
        rc = file_replace(path, r->bytes.data, r->bytes.len, e);
    } else {
        rc = reservation_continues(was, r) ? 0 : keep_other_chain(b, r, e);
    }
    reservation_free(was);
    buf_free(&old);
    free(path);
    return rc;
}

int
desk_reserved(struct book *b, const void *data, size_t len, struct err *e)
{
    char *lock_path = path_join(b->home, "receipts.lock");
    struct reservation *r = NULL;
    int lock = -1;
    int rc = -1;

    if (reservation_parse(&r, data, len, NULL, NULL, e) == 0 &&
        id_check(ID_RESERVATION, r->id, e) == 0 && check_leases(b, r, e) == 0 &&
        file_lock(lock_path, true, true, &lock, e) == 0 && keep_chain(b, r, e) == 0) {
        rc = desk_from_ledger(
            ledger_reservation(b->ledger, r, b->fee_bps, clock_wall_ns(), e), e);
    }
    (void)fd_close(&lock);
    free(lock_path);
    reservation_free(r);
    return rc;
}
