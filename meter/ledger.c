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
        return refuse(e, REFUSE_RANGE,
                      "%" PRId64 " fen, where %" PRId64 " to %" PRId64 " are taken", fen,
                      least, LEDGER_FEN_MAX);
    }
    return 0;
}

void
ledger_post(struct ledger_draft *d, const char *dr, const char *cr, int64_t fen)
{
    struct ledger *l = d->l;
    struct ledger_post *p;

    if (d->n_posts == l->cap_posts) {
        l->cap_posts = l->cap_posts == 0 ? 8 : 2 * l->cap_posts;
        l->posts = xrealloc(l->posts, l->cap_posts * sizeof *l->posts);
    }
    p = &l->posts[d->n_posts++];
    ledger_name_copy(p->dr, dr);
    ledger_name_copy(p->cr, cr);
    p->fen = fen;
}

/* Not printf: it costs as much as all else that an entry does in memory. */
void
ledger_id(char out[LEDGER_ID_MAX], const char *kind, const char *what)
{
    size_t k = strlen(kind);
    size_t n = strnlen(what, LEDGER_ID_MAX - k - 2);

    memcpy(out, kind, k);
    out[k] = ':';
    memcpy(out + k + 1, what, n);
    out[k + 1 + n] = '\0';
}

void
ledger_ask_text(struct ledger *l, const char *key, const char *text)
{
    buf_add_str(&l->body, key);
    buf_add(&l->body, "=", 1);
    buf_add_str(&l->body, text);
    buf_add(&l->body, "\n", 1);
}

void
ledger_ask(struct ledger *l, const char *key, int64_t fen)
{
    buf_add_str(&l->body, key);
    buf_add(&l->body, "=", 1);
    buf_add_int(&l->body, fen);
    buf_add(&l->body, "\n", 1);
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
        memcpy(d->wallet, of, sizeof d->wallet);
    }
    memcpy(h->wallet, d->wallet, sizeof h->wallet);
    return 0;
}

/* *nothing: there was nothing to enter. */
static int
make_entry(struct ledger *l, struct ledger_draft *d, struct ledger_order *o,
           bool *nothing, struct err *e)
{
    struct ledger_lease h;
    int64_t fee_bps = 0;

    if (ledger_get_lease(l, d->lease, &h, &fee_bps, e) != 0 ||
        choose_wallet(l, d, &h, e) != 0 ||
        (o->needs_due && ledger_due(l, o->host, &o->due_fen, e) != 0) ||
        (o->covered &&
         ledger_covers_load(l, d->wallet, d->lease, d->wall_ns, &o->covers, e) != 0) ||
        o->effect(o, d, &h, &fee_bps, nothing, e) != 0) {
        return -1;
    }
    if (*nothing) {
        return 0;
    }
    if (ledger_append(l, d, e) != 0) {
        return -1;
    }
    return d->lease[0] != '\0' && (ledger_set_lease(l, d->lease, &h, fee_bps, e) != 0 ||
                                   ledger_covers_save(l, d->lease, &o->covers, e) != 0)
               ? -1
               : 0;
}

/*
 * Find or make the entry, all in one transaction. Nearly every id is new, and one that is
 * not shows when it is put in. So it is looked for only where no entry was made, and
 * comes before any other reason for that: what was answered once is answered again.
 */
int
ledger_carry_out(struct ledger *l, struct ledger_draft *d, struct ledger_order *o,
                 bool *repeated, struct err *e)
{
    bool found = false;
    bool nothing = false;
    struct err why; /* why no entry was made, which is no error where there is one */
    int rc;

    if (ledger_enter(l, e) != 0) {
        return -1;
    }
    rc = make_entry(l, d, o, &nothing, &why);
    if ((rc != 0 || nothing) && !l->writing && sqlite3_get_autocommit(l->db) == 0) {
        if (ledger_find(l, d, &found, &why) != 0) {
            rc = -1;
        } else if (found) {
            rc = 0;
        }
    }
    if (rc != 0) {
        *e = why;
    }
    if (rc == 0) {
        rc = ledger_leave(l, e);
    }
    if (rc != 0) {
        ledger_undo(l, e);
    } else if (repeated != NULL) {
        *repeated = found;
    }
    ledger_covers_free(&o->covers);
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
    ledger_payable_name(payable, o->host);
    ledger_post(d, payable, "funding", o->fen);
    return 0;
}

/* kind and id of an entry that moves money in or out of the wallet in use. */
static int
move_money(struct ledger *l, const char *kind, const char *id, struct ledger_order *o,
           int64_t wall_ns, bool *repeated, struct err *e)
{
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {.l = l,
                             .id = key,
                             .kind = kind,
                             .lease = "",
                             .of_wallet = true,
                             .wall_ns = wall_ns};

    if (ledger_check_text("the reference", id, e) != 0 ||
        ledger_check_fen(o->fen, 1, e) != 0) {
        return -1;
    }
    memcpy(d.wallet, l->wallet, sizeof d.wallet);
    ledger_id(key, kind, id);
    buf_reset(&l->body);
    if (o->host != NULL) {
        ledger_ask_text(l, "host", o->host);
    }
    ledger_ask(l, "fen", o->fen);
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
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {.l = l,
                             .id = key,
                             .kind = "hold",
                             .lease = p->lease,
                             .of_wallet = true,
                             .wall_ns = wall_ns};

    if (ledger_check_text("the lease", p->lease, e) != 0 ||
        ledger_check_fen(p->total_fen, 0, e) != 0 ||
        (p->host != NULL && ledger_check_text("the host", p->host, e) != 0)) {
        return -1;
    }
    memcpy(d.wallet, l->wallet, sizeof d.wallet);
    (void)snprintf(key, sizeof key, "hold:%s:%" PRId64, p->lease, p->seq);
    buf_reset(&l->body);
    ledger_ask(l, "fen", p->total_fen);
    if (p->host != NULL) {
        ledger_ask_text(l, "host", p->host);
    }
    buf_add_str(&l->body, p->note != NULL ? p->note : "");
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
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {
        .l = l, .id = key, .kind = "release", .lease = lease, .wall_ns = wall_ns};

    if (ledger_check_text("the lease", lease, e) != 0) {
        return -1;
    }
    ledger_id(key, "release", lease);
    buf_reset(&l->body);
    return ledger_carry_out(l, &d, &o, NULL, e);
}
