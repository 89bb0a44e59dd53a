#ifndef METER_SHARE_H
#define METER_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Dividing money so that the parts always sum to the whole: platform and owner,
 * net and tax, several payers, and the double entries of a session. Pure
 * functions; refusals by name (refuse.h), "range" for all that cannot be.
 */

/* platform = floor(charge x bps / 10000), the owner gets the rest. */
int share_split(int64_t charge_fen, int64_t fee_bps, int64_t *platform_fen,
                int64_t *owner_fen, struct err *e) MUST_USE;

/*
 * share_split of the running total: line i is the difference to the one before, so
 * that small lines pay their fee too. Both arrays have n entries.
 */
int share_split_lines(const int64_t *lines_fen, size_t n, int64_t fee_bps,
                      int64_t *platform_lines, int64_t *owner_lines,
                      int64_t *platform_fen, int64_t *owner_fen, struct err *e) MUST_USE;

/* The platform bears its voucher: the owner's share is of the full charge. */
int share_split_voucher(int64_t charge_fen, int64_t fee_bps, int64_t voucher_fen,
                        int64_t *owner_fen, int64_t *platform_fee_fen,
                        int64_t *renter_cash_fen, struct err *e) MUST_USE;

/*
 * floor(amount x weight / sum of weights) each; the fen left over go one each to the
 * largest remainders, ties to the earlier part. Weights >= 0, not all 0.
 */
int share_prorata(int64_t amount_fen, const int64_t *weights, size_t n,
                  int64_t *parts_fen, struct err *e) MUST_USE;

/* net = gross x 10000 / (10000 + rate), half-up; tax = gross - net. */
int share_vat(int64_t gross_fen, int64_t rate_bps, int64_t *net_fen, int64_t *tax_fen,
              struct err *e) MUST_USE;
/* share_vat of the sum, once. */
int share_vat_invoice(const int64_t *lines_gross_fen, size_t n, int64_t rate_bps,
                      int64_t *net_fen, int64_t *tax_fen, struct err *e) MUST_USE;

/* Who can stand in a posting; the ledger gives them their full names. */
enum share_account {
    SHARE_NONE = 0,
    SHARE_CLEARING, /* of the session: zero when it is closed */
    SHARE_RENTER_CASH,
    SHARE_RENTER_VOUCHER,
    SHARE_PLATFORM_FEE,
    SHARE_OWNER_PAYABLE,
    SHARE_ACCOUNT_COUNT
};
/* "clearing", "renter:cash", …; the session's id is appended to clearing by the user. */
const char *share_account_name(enum share_account a);

struct share_posting {
    enum share_account dr;
    enum share_account cr;
    int64_t fen;
};
#define SHARE_POSTINGS_MAX 4

/* Double entries of a closed session, none of 0 fen; out has SHARE_POSTINGS_MAX. */
int share_post_session(int64_t charge_fen, int64_t voucher_fen, int64_t fee_bps,
                       struct share_posting *out, size_t *n, struct err *e) MUST_USE;
/* What takes overcharge_fen of prior_fen back from whoever got it. */
int share_post_correction(int64_t prior_fen, int64_t overcharge_fen, int64_t fee_bps,
                          struct share_posting *out, size_t *n, struct err *e) MUST_USE;
/* Debits minus credits of one account (SHARE_NONE: of all). */
int64_t share_balance(const struct share_posting *p, size_t n, enum share_account a);

#endif
