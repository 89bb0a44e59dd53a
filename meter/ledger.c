#include "meter/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"
#include "meter/refuse.h"

int
ledger_check_text(const char *what, const char *text, struct err *e)
{
    size_t len = strlen(text);

    if (len == 0 || len > LEDGER_TEXT_MAX) {
        return err_set(e, ERR_INVALID, "%s: 1 to %d characters", what, LEDGER_TEXT_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= 0x20 || text[i] == 0x7f) {
            return err_set(e, ERR_INVALID, "%s: no blanks or control characters", what);
        }
    }
    return 0;
}

int
ledger_check_fen(int64_t fen, int64_t least, struct err *e)
{
    if (fen < least || fen > LEDGER_FEN_MAX) {
        return refuse(e, REFUSE_RANGE, "%" PRId64 " fen", fen);
    }
    return 0;
}

void
ledger_post(struct ledger_draft *d, const char *dr, const char *cr, int64_t fen)
{
    struct ledger_post *p = &d->posts[d->n_posts++];

    (void)snprintf(p->dr, sizeof p->dr, "%s", dr);
    (void)snprintf(p->cr, sizeof p->cr, "%s", cr);
    p->fen = fen;
}

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

/* Whose the entry is: the wallet's in use, or of the lease that it is about. */
static int
choose_wallet(const struct ledger *l, struct ledger_draft *d, struct ledger_lease *h,
              struct err *e)
{
    const char *of = h->state != LEDGER_HOLD_NONE ? h->wallet : l->wallet;

    if (d->of_wallet && strcmp(of, d->wallet) != 0) {
        return err_set(e, ERR_DENIED, "lease %s is of another wallet", d->lease);
    }
    if (!d->of_wallet) {
        (void)snprintf(d->wallet, sizeof d->wallet, "%s", of);
    }
    (void)snprintf(h->wallet, sizeof h->wallet, "%s", d->wallet);
    return 0;
}

/* Find or make the entry, all in one transaction. Frees the draft's body. */
int
ledger_carry_out(struct ledger *l, struct ledger_draft *d, struct ledger_order *o,
                 bool *repeated, struct err *e)
{
    struct ledger_lease h;
    int64_t fee_bps = 0;
    bool found = false;
    bool nothing = false;
    int rc = -1;

    if (ledger_enter(l, e) != 0) {
        buf_free(&d->body);
        return -1;
    }
    if (ledger_find(l, d, &found, e) != 0) {
        goto out;
    }
    if (!found) {
        if (ledger_get_lease(l, d->lease, &h, &fee_bps, e) != 0 ||
            choose_wallet(l, d, &h, e) != 0 ||
            (o->needs_due && ledger_due(l, o->host, &o->due_fen, e) != 0) ||
            (o->covered && ledger_covers_load(l, d->wallet, d->lease, d->wall_ns,
                                              &o->covers, e) != 0) ||
            o->effect(o, d, &h, &fee_bps, &nothing, e) != 0) {
            goto out;
        }
        if (!nothing && (ledger_append(l, d, e) != 0 ||
                         (d->lease[0] != '\0' &&
                          (ledger_set_lease(l, d->lease, &h, fee_bps, e) != 0 ||
                           ledger_covers_save(l, d->lease, &o->covers, e) != 0)))) {
            goto out;
        }
    }
    if (ledger_leave(l, e) != 0) {
        goto out;
    }
    if (repeated != NULL) {
        *repeated = found;
    }
    rc = 0;

out:
    if (rc != 0) {
        ledger_undo(l);
    }
    buf_free(&d->body);
    return rc;
}

/* ---- money in ---- */

static int
topup_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
             int64_t *fee_bps, bool *nothing, struct err *e)
{
    char cash[LEDGER_ACCOUNT_MAX];

    (void)h;
    (void)fee_bps;
    (void)nothing;
    (void)e;
    ledger_cash_name(cash, d->wallet);
    ledger_post(d, "funding", cash, o->fen);
    return 0;
}

static int
refund_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
              int64_t *fee_bps, bool *nothing, struct err *e)
{
    char cash[LEDGER_ACCOUNT_MAX];

    (void)h;
    (void)fee_bps;
    (void)nothing;
    (void)e;
    ledger_cash_name(cash, d->wallet);
    ledger_post(d, cash, "funding", o->fen);
    return 0;
}

static int
payout_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
              int64_t *fee_bps, bool *nothing, struct err *e)
{
    char payable[LEDGER_ACCOUNT_MAX];

    (void)h;
    (void)fee_bps;
    (void)nothing;
    if (o->fen > o->due_fen) {
        return err_set(e, ERR_LIMIT, "%" PRId64 " fen are due to host %s, not %" PRId64,
                       o->due_fen, o->host, o->fen);
    }
    name_account(payable, SHARE_OWNER_PAYABLE, d, o->host);
    ledger_post(d, payable, "funding", o->fen);
    return 0;
}

/* kind and id of an entry that moves money in or out of the wallet in use. */
static int
move_money(struct ledger *l, const char *kind, const char *id, struct ledger_order *o,
           int64_t wall_ns, bool *repeated, struct err *e)
{
    char key[LEDGER_TEXT_MAX + 16];
    struct ledger_draft d = {
        .id = key, .kind = kind, .lease = "", .of_wallet = true, .wall_ns = wall_ns};

    if (ledger_check_text("the reference", id, e) != 0 ||
        ledger_check_fen(o->fen, 1, e) != 0) {
        return -1;
    }
    (void)snprintf(d.wallet, sizeof d.wallet, "%s", l->wallet);
    (void)snprintf(key, sizeof key, "%s:%s", kind, id);
    if (o->host != NULL) {
        buf_printf(&d.body, "host=%s\n", o->host);
    }
    buf_printf(&d.body, "fen=%" PRId64 "\n", o->fen);
    return ledger_carry_out(l, &d, o, repeated, e);
}

int
ledger_topup(struct ledger *l, const char *id, int64_t fen, int64_t wall_ns,
             bool *repeated, struct err *e)
{
    struct ledger_order o = {.effect = topup_effect, .fen = fen};

    return move_money(l, "topup", id, &o, wall_ns, repeated, e);
}

int
ledger_refund(struct ledger *l, const char *id, int64_t fen, int64_t wall_ns,
              bool *repeated, struct err *e)
{
    struct ledger_order o = {.effect = refund_effect, .fen = fen};

    return move_money(l, "refund", id, &o, wall_ns, repeated, e);
}

int
ledger_payout(struct ledger *l, const char *id, const char *host, int64_t fen,
              int64_t wall_ns, bool *repeated, struct err *e)
{
    struct ledger_order o = {
        .effect = payout_effect, .fen = fen, .host = host, .needs_due = true};

    if (ledger_check_text("the host", host, e) != 0) {
        return -1;
    }
    return move_money(l, "payout", id, &o, wall_ns, repeated, e);
}

/* ---- holds ---- */

static int
hold_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
            int64_t *fee_bps, bool *nothing, struct err *e)
{
    int64_t cash_fen;

    (void)fee_bps;
    if (h->state > LEDGER_HOLD_OPEN) {
        return err_set(e, ERR_EXISTS, "lease %s is settled already", d->lease);
    }
    if (o->fen < h->total_fen) {
        return refuse(e, REFUSE_RANGE, "a hold is raised, not lowered");
    }
    *nothing = o->fen == h->total_fen && h->state == LEDGER_HOLD_OPEN;
    cash_fen = ledger_covers_promise(&o->covers, o->fen, 0);
    ledger_covers_post(&o->covers, d);
    d->held_fen = cash_fen - h->held_fen;
    h->held_fen = cash_fen;
    h->total_fen = o->fen;
    h->state = LEDGER_HOLD_OPEN;
    if (o->host != NULL) {
        (void)snprintf(h->host, sizeof h->host, "%s", o->host);
    }
    return 0;
}

int
ledger_promise(struct ledger *l, const struct ledger_promise *p, int64_t wall_ns,
               bool *repeated, struct err *e)
{
    struct ledger_order o = {
        .effect = hold_effect, .fen = p->total_fen, .host = p->host, .covered = true};
    char key[LEDGER_TEXT_MAX + 40];
    struct ledger_draft d = {.id = key,
                             .kind = "hold",
                             .lease = p->lease,
                             .of_wallet = true,
                             .wall_ns = wall_ns};

    if (ledger_check_text("the lease", p->lease, e) != 0 ||
        ledger_check_fen(p->total_fen, 0, e) != 0 ||
        (p->host != NULL && ledger_check_text("the host", p->host, e) != 0)) {
        return -1;
    }
    (void)snprintf(d.wallet, sizeof d.wallet, "%s", l->wallet);
    (void)snprintf(key, sizeof key, "hold:%s:%" PRId64, p->lease, p->seq);
    buf_printf(&d.body, "fen=%" PRId64 "\n", p->total_fen);
    if (p->host != NULL) {
        buf_printf(&d.body, "host=%s\n", p->host);
    }
    buf_add_str(&d.body, p->note != NULL ? p->note : "");
    return ledger_carry_out(l, &d, &o, repeated, e);
}

int
ledger_hold(struct ledger *l, const char *lease, int64_t seq, int64_t total_fen,
            int64_t wall_ns, struct err *e)
{
    const struct ledger_promise p = {.lease = lease, .seq = seq, .total_fen = total_fen};

    return ledger_promise(l, &p, wall_ns, NULL, e);
}

static int
release_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
               int64_t *fee_bps, bool *nothing, struct err *e)
{
    (void)fee_bps;
    if (h->state > LEDGER_HOLD_OPEN) {
        return err_set(e, ERR_EXISTS, "lease %s is settled already", d->lease);
    }
    *nothing = h->state == LEDGER_HOLD_NONE;
    (void)ledger_covers_promise(&o->covers, 0, 0);
    ledger_covers_post(&o->covers, d);
    d->held_fen = -h->held_fen;
    h->held_fen = 0;
    h->total_fen = 0;
    h->state = LEDGER_HOLD_DONE;
    return 0;
}

int
ledger_release(struct ledger *l, const char *lease, int64_t wall_ns, struct err *e)
{
    struct ledger_order o = {.effect = release_effect, .covered = true};
    char key[LEDGER_TEXT_MAX + 16];
    struct ledger_draft d = {
        .id = key, .kind = "release", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", lease, e) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "release:%s", lease);
    return ledger_carry_out(l, &d, &o, NULL, e);
}

/* ---- the end of a session ---- */

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
    char key[LEDGER_TEXT_MAX + 16];
    char hex[SHA256_HEX_LEN + 1];
    struct ledger_draft d = {
        .id = key, .kind = "settle", .lease = c->lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", c->lease, e) != 0 ||
        ledger_check_text("the host", c->host, e) != 0 ||
        ledger_check_fen(c->charge_fen, 0, e) != 0 ||
        ledger_check_fen(c->keep_fen, 0, e) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "settle:%s", c->lease);
    sha256_format(&c->receipt, hex);
    buf_printf(&d.body,
               "host=%s\ncharge=%" PRId64 "\nkeep=%" PRId64 "\nfee=%" PRId64
               "\nreceipt=%s\n",
               c->host, c->charge_fen, c->keep_fen, c->fee_bps, hex);
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
    char key[LEDGER_TEXT_MAX + 16];
    struct ledger_draft d = {
        .id = key, .kind = "keeping", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", lease, e) != 0 ||
        ledger_check_fen(charge_fen, 0, e) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "keeping:%s", lease);
    buf_printf(&d.body, "charge=%" PRId64 "\n", charge_fen);
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
    char key[LEDGER_TEXT_MAX + 16];
    struct ledger_draft d = {
        .id = key, .kind = "correct", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the id", id, e) != 0 ||
        ledger_check_text("the lease", lease, e) != 0 ||
        ledger_check_fen(overcharge_fen, 1, e) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "correct:%s", id);
    buf_printf(&d.body, "fen=%" PRId64 "\n", overcharge_fen);
    return ledger_carry_out(l, &d, &o, NULL, e);
}
