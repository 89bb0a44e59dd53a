/* The end of a session: who gets what of its charge, and what goes back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"
#include "meter/refuse.h"

/* The shares' accounts with the session and the owner they are of. */
static void
name_account(char out[LEDGER_ACCOUNT_MAX], enum share_account a,
             const struct ledger_draft *d, const char *host)
{
    const char *of = a == SHARE_CLEARING                              ? d->lease
                     : a == SHARE_OWNER_PAYABLE                       ? host
                     : a == SHARE_RENTER_CASH && d->wallet[0] != '\0' ? d->wallet
                                                                      : NULL;

    (void)snprintf(out, LEDGER_ACCOUNT_MAX, "%s%s%s", share_account_name(a),
                   of != NULL ? ":" : "", of != NULL ? of : "");
}

/* What vouchers pay, one by one. */
static void
post_vouchers(struct ledger_draft *d, const struct ledger_covers *s, const char *cr)
{
    char voucher[LEDGER_ACCOUNT_MAX];

    for (size_t i = 0; i < s->n_order; i++) {
        const struct ledger_covering *c = &s->c[s->order[i]];

        ledger_voucher_name(voucher, false, d->wallet, c->v.id);
        ledger_post(d, voucher, cr, c->take_fen);
    }
}

/* What goes back: to cash, to vouchers, and of one that has expired to who gave it. */
static void
post_back(struct ledger_draft *d, const struct ledger_covers *s, const char *dr,
          int64_t cash_fen)
{
    char to[LEDGER_ACCOUNT_MAX];

    if (cash_fen > 0) {
        ledger_cash_name(to, d->wallet);
        ledger_post(d, dr, to, cash_fen);
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct ledger_covering *c = &s->c[i];

        if (c->back_fen > 0) {
            ledger_voucher_name(to, false, d->wallet, c->v.id);
            ledger_post(d, dr, to, c->back_fen);
            if (c->v.expired) {
                ledger_post(d, to, LEDGER_FUNDER, c->back_fen);
            }
        }
    }
}

static void
post_shares(struct ledger_draft *d, const struct share_posting *p, size_t n,
            const char *host, const struct ledger_covers *s, int64_t cash_back_fen)
{
    char dr[LEDGER_ACCOUNT_MAX];
    char cr[LEDGER_ACCOUNT_MAX];

    for (size_t i = 0; i < n; i++) {
        name_account(dr, p[i].dr, d, host);
        name_account(cr, p[i].cr, d, host);
        if (p[i].dr == SHARE_RENTER_VOUCHER) {
            post_vouchers(d, s, cr);
        } else if (p[i].cr == SHARE_RENTER_CASH) {
            post_back(d, s, dr, cash_back_fen);
        } else {
            ledger_post(d, dr, cr, p[i].fen);
        }
    }
}

/* ---- what is asked ---- */

static int
settle_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
              int64_t *fee_bps, bool *nothing, struct err *e)
{
    struct share_posting p[SHARE_POSTINGS_MAX];
    int64_t voucher_fen = 0;
    int64_t cash_fen;
    size_t n = 0;

    (void)nothing;
    if (h->state > LEDGER_HOLD_OPEN) {
        return err_set(e, ERR_EXISTS, "lease %s is settled already", d->lease);
    }
    if (h->state == LEDGER_HOLD_OPEN && o->fen + o->keep_fen > h->total_fen) {
        return refuse(e, REFUSE_EXCEEDS,
                      "a charge of %" PRId64 " and %" PRId64
                      " fen for keeping, of %" PRId64 " held",
                      o->fen, o->keep_fen, h->total_fen);
    }
    if (ledger_covers_pay(&o->covers, o->fen, 0, &voucher_fen, e) != 0 ||
        share_post_session(o->fen, voucher_fen, o->fee_bps, p, &n, e) != 0) {
        return -1;
    }
    cash_fen = ledger_covers_promise(&o->covers, o->keep_fen, o->fen);
    ledger_covers_post(&o->covers, d);
    post_shares(d, p, n, o->host, &o->covers, 0);
    d->held_fen = cash_fen - h->held_fen;
    h->held_fen = cash_fen;
    h->total_fen = o->keep_fen;
    h->charge_fen = o->fen;
    h->state = o->keep_fen > 0 ? LEDGER_HOLD_KEEPING : LEDGER_HOLD_DONE;
    (void)snprintf(h->host, sizeof h->host, "%s", o->host);
    *fee_bps = o->fee_bps;
    return 0;
}

int
ledger_settle(struct ledger *l, const struct ledger_close *c, int64_t wall_ns,
              bool *repeated, struct err *e)
{
    struct ledger_order o = {.effect = settle_effect,
                             .fen = c->charge_fen,
                             .keep_fen = c->keep_fen,
                             .fee_bps = c->fee_bps,
                             .host = c->host,
                             .covered = true};
    char key[LEDGER_ID_MAX];
    char hex[SHA256_HEX_LEN + 1];
    struct ledger_draft d = {
        .l = l, .id = key, .kind = "settle", .lease = c->lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", c->lease, e) != 0 ||
        ledger_check_text("the host", c->host, e) != 0 ||
        ledger_check_fen(c->charge_fen, 0, e) != 0 ||
        ledger_check_fen(c->keep_fen, 0, e) != 0) {
        return -1;
    }
    ledger_id(key, "settle", c->lease);
    sha256_format(&c->receipt, hex);
    buf_reset(&l->body);
    ledger_ask_text(l, "host", c->host);
    ledger_ask(l, "charge", c->charge_fen);
    ledger_ask(l, "keep", c->keep_fen);
    ledger_ask(l, "fee", c->fee_bps);
    ledger_ask_text(l, "receipt", hex);
    return ledger_carry_out(l, &d, &o, repeated, e);
}

static int
keeping_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
               int64_t *fee_bps, bool *nothing, struct err *e)
{
    struct share_posting p[SHARE_POSTINGS_MAX];
    int64_t voucher_fen = 0;
    size_t n = 0;

    (void)nothing;
    if (h->state != LEDGER_HOLD_KEEPING) {
        return err_set(e, ERR_EXISTS, "nothing is held for the data of lease %s",
                       d->lease);
    }
    if (o->fen > h->total_fen) {
        return refuse(e, REFUSE_EXCEEDS,
                      "%" PRId64 " fen for keeping, of %" PRId64 " held", o->fen,
                      h->total_fen);
    }
    if (ledger_covers_pay(&o->covers, o->fen, h->charge_fen, &voucher_fen, e) != 0 ||
        share_post_session(o->fen, voucher_fen, *fee_bps, p, &n, e) != 0) {
        return -1;
    }
    (void)ledger_covers_promise(&o->covers, 0, 0);
    ledger_covers_post(&o->covers, d);
    post_shares(d, p, n, h->host, &o->covers, 0);
    d->held_fen = -h->held_fen;
    h->held_fen = 0;
    h->total_fen = 0;
    h->charge_fen += o->fen;
    h->state = LEDGER_HOLD_DONE;
    return 0;
}

int
ledger_keeping(struct ledger *l, const char *lease, int64_t charge_fen, int64_t wall_ns,
               struct err *e)
{
    struct ledger_order o = {
        .effect = keeping_effect, .fen = charge_fen, .covered = true};
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {
        .l = l, .id = key, .kind = "keeping", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", lease, e) != 0 ||
        ledger_check_fen(charge_fen, 0, e) != 0) {
        return -1;
    }
    ledger_id(key, "keeping", lease);
    buf_reset(&l->body);
    ledger_ask(l, "charge", charge_fen);
    return ledger_carry_out(l, &d, &o, NULL, e);
}

static int
correct_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
               int64_t *fee_bps, bool *nothing, struct err *e)
{
    struct share_posting p[SHARE_POSTINGS_MAX];
    int64_t paid_fen = h->charge_fen; /* in cash */
    int64_t cash_fen = 0;
    size_t n = 0;

    (void)nothing;
    for (size_t i = 0; i < o->covers.n; i++) {
        paid_fen -= o->covers.c[i].spent_fen;
    }
    if (h->state < LEDGER_HOLD_KEEPING) {
        return err_set(e, ERR_NOT_FOUND, "lease %s has not been settled", d->lease);
    }
    if (share_post_correction(h->charge_fen, o->fen, *fee_bps, p, &n, e) != 0 ||
        ledger_covers_refund(&o->covers, o->fen, paid_fen, &cash_fen, e) != 0) {
        return -1;
    }
    post_shares(d, p, n, h->host, &o->covers, cash_fen);
    h->charge_fen -= o->fen;
    return 0;
}

int
ledger_correct(struct ledger *l, const char *id, const char *lease,
               int64_t overcharge_fen, int64_t wall_ns, struct err *e)
{
    struct ledger_order o = {
        .effect = correct_effect, .fen = overcharge_fen, .covered = true};
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {
        .l = l, .id = key, .kind = "correct", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the id", id, e) != 0 ||
        ledger_check_text("the lease", lease, e) != 0 ||
        ledger_check_fen(overcharge_fen, 1, e) != 0) {
        return -1;
    }
    ledger_id(key, "correct", id);
    buf_reset(&l->body);
    ledger_ask(l, "fen", overcharge_fen);
    return ledger_carry_out(l, &d, &o, NULL, e);
}
