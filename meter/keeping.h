#ifndef METER_KEEPING_H
#define METER_KEEPING_H

#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/sign.h"
#include "meter/receipt.h"

/*
 * What keeping a job's data cost: a line of its own, signed by the host when the data
 * goes (it expired, the renter removed it), by the storage rule: price x paid bytes x
 * seconds, floored once, never more than the receipt still holds for it. Days pass by
 * the wall clock here, as reboots and sleep lie between; what that can do is bounded
 * by the hold.
 */
#define KEEPING_MAX_BYTES 8192

struct keeping {
    struct sign_public host;
    struct sign_public renter;
    char lease[GRANT_ID_MAX + 1];
    char job[GRANT_ID_MAX + 1];
    char snapshot[GRANT_ID_MAX + 1];
    struct sha256 receipt; /* hash of the receipt's record */
    int64_t paid_bytes;    /* kept, less the free quota */
    int64_t uyuan_per_gb_day;
    int64_t from_wall_ns; /* the recorded end */
    int64_t to_wall_ns;
    int64_t kept_s;
    int64_t hold_fen;
    int64_t charge_fen;
    char reason[JOURNAL_WORD_MAX + 1]; /* "expired", "removed" */

    struct buf bytes;
};

void keeping_init(struct keeping *k);
void keeping_clear(struct keeping *k);

/*
 * The line of a receipt whose data went at to_wall_ns. A clock before the end counts
 * nothing; one after keep_until counts to keep_until. ERR_NOT_FOUND if nothing was kept.
 */
int keeping_make(struct keeping *k, const struct receipt *r, int64_t to_wall_ns,
                 const char *reason, const struct sign_key *host, struct err *e) MUST_USE;
/*
 * What that line would charge, for who has only the receipt: the data of an ended keeping
 * went at keep_until at the latest. ERR_NOT_FOUND if nothing was kept.
 */
int keeping_charge_at(const struct receipt *r, int64_t to_wall_ns, int64_t *charge_fen,
                      struct err *e) MUST_USE;
/* Signature, form and sums. host NULL: any signer; ERR_DENIED for another than host. */
int keeping_parse(struct keeping *out, const void *data, size_t len,
                  const struct sign_public *host, struct err *e) MUST_USE;
/* Is it the line of this receipt? ERR_DENIED says what differs. */
int keeping_check(const struct keeping *k, const struct receipt *r,
                  struct err *e) MUST_USE;

#endif
