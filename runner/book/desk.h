#ifndef RUNNER_BOOK_DESK_H
#define RUNNER_BOOK_DESK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/book/book.h"

/*
 * What a book does with money when it is asked. Nothing here trusts who asks: a grant is
 * asked for in the renter's own signature, a session is closed by the host's receipt, a
 * hold is given up by the host's word that nothing began. So it does not matter over
 * which connection a thing comes, nor how often; what is done is durable on return.
 *
 * The same thing again is answered as the first time; another thing under the same id is
 * refused ("idempotency_key_mismatch").
 */

/*
 * draft: the grant as the renter wants it, signed with the renter's key; offer: the
 * host's, that it is for (of an extension not looked at: its terms are the first
 * grant's). Holds its cap in the renter's wallet, then *granted gets the same grant
 * signed by the book. ERR_LIMIT: not so much is free. ERR_DENIED: another account's, a
 * host this book does not know, an offer that does not name this book, terms that are not
 * the offer's, expired.
 */
int desk_grant(struct book *b, const struct account *a, const void *draft,
               size_t draft_len, const void *offer, size_t offer_len, struct buf *granted,
               struct err *e) MUST_USE;

/* What the host declined (meter/declined.h): its hold is free again. */
int desk_decline(struct book *b, const void *data, size_t len, struct err *e) MUST_USE;

/*
 * The receipt (a whole journal) in the file at path closes its lease: the charge is the
 * owner's less the fee, what covers keeping stays held, the rest is free. The file is
 * taken over into receipts/.
 */
struct desk_closed {
    char lease[GRANT_ID_MAX + 1];
    int64_t charge_fen;
    int64_t keep_fen;
    bool repeated;
};
int desk_receipt(struct book *b, const char *path, struct desk_closed *out,
                 struct err *e) MUST_USE;

/*
 * A reservation's chain (meter/reservation.h): what was paid for it by grants of this
 * book is the owner's less the fee, what the host gave back is the renter's again.
 * ERR_DENIED: no grant of this book is in it, or it is of another host than was promised.
 * ERR_CORRUPT: not a chain, or another history than the one kept (both are kept).
 */
int desk_reserved(struct book *b, const void *data, size_t len, struct err *e) MUST_USE;

/*
 * The line of keeping, as the host signed it when the data went. One that comes after
 * desk_tick charged keeping to its end changes nothing, and repeated is true. Another one
 * than the one that was taken is refused.
 */
int desk_keeping(struct book *b, const void *data, size_t len, struct desk_closed *out,
                 struct err *e) MUST_USE;

/*
 * A checkpoint, by itself: *cosign gets the book's acknowledgement. ERR_EXISTS: a later
 * one was acknowledged already; ERR_CORRUPT: the host signed two histories (both are
 * kept).
 */
int desk_ack(struct book *b, const char *lease, const void *record, size_t len,
             struct buf *cosign, struct err *e) MUST_USE;

/*
 * Keeping that is over, and of which no host has sent a line for DESK_GRACE_S: posted to
 * its end by the receipt. of: only that account's; NULL: all, and what is left of
 * receipts that never came in whole is removed. What is left of vouchers that have
 * expired lapses. *n_posted counts both.
 */
#define DESK_GRACE_S ((int64_t)3 * 86400)
int desk_tick(struct book *b, const char *of, size_t *n_posted, struct err *e) MUST_USE;

#endif
