/*
 * Vouchers and leases: what of them is promised, which pay, what goes back. The law of it
 * is wallet.h; here it meets accounts.
 *
 * What is promised must do whatever the charge will be. Of a charge x only vouchers pay
 * whose least spending is at most x; so the cash to be held is the largest
 * x - (what those give) for all x up to the whole. Vouchers of a small least spending are
 * promised first, so that no promise makes that larger.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "meter/calendar.h"
#include "meter/ledger_internal.h"
#include "meter/wallet.h"
#include "meter/wide.h"

#define NS_PER_S ((int64_t)1000000000)

void
ledger_voucher_name(char out[LEDGER_ACCOUNT_MAX], bool promised, const char *wallet,
                    const char *id)
{
    (void)snprintf(out, LEDGER_ACCOUNT_MAX, "%s:%.64s:%s",
                   promised ? LEDGER_PROMISED : LEDGER_VOUCHER, wallet, id);
}

static const char *const kinds[] = {LEDGER_VOUCHER ":", LEDGER_PROMISED ":"};

/* What follows the kind in the name of a voucher's account; NULL: it is none. */
static const char *
after_kind(const char *account)
{
    for (size_t i = 0; i < 2; i++) {
        size_t k = strlen(kinds[i]);

        if (strncmp(account, kinds[i], k) == 0) {
            return account + k;
        }
    }
    return NULL;
}

bool
ledger_is_of_vouchers(const char *account)
{
    return after_kind(account) != NULL;
}

bool
ledger_is_voucher(const char *account, const char *wallet)
{
    const char *of = after_kind(account);
    size_t len = strlen(wallet);

    return of != NULL && strncmp(of, wallet, len) == 0 && of[len] == ':';
}

void
ledger_covers_free(struct ledger_covers *s)
{
    free(s->c);
    free(s->order);
    memset(s, 0, sizeof *s);
}

/* ---- reading ---- */

/* "key=" at the begin of a line of what was asked; "" where there is none. */
static void
line_of(const char *body, const char *key, char *out, size_t size)
{
    const char *at = strstr(body, key);
    size_t n = at != NULL ? strcspn(at + strlen(key), "\n") : 0;

    (void)snprintf(out, size, "%.*s", (int)n, at != NULL ? at + strlen(key) : "");
}

int
ledger_voucher_terms(struct ledger *l, int64_t wall_ns, struct ledger_voucher *v,
                     struct err *e)
{
    struct buf body = BUF_INIT;
    char id[LEDGER_VOUCHER_ID_MAX + 16];
    char today[CALENDAR_MONTH_MAX];
    char text[32];
    int rc = -1;

    (void)snprintf(id, sizeof id, "voucher:%s", v->id);
    if (ledger_body(l, id, &body, e) != 0) {
        goto out;
    }
    line_of(buf_str(&body), "fen=", text, sizeof text);
    if (text_parse_int(text, 1, LEDGER_FEN_MAX, "fen", &v->given_fen, e) != 0) {
        goto out;
    }
    line_of(buf_str(&body), "least=", text, sizeof text);
    if (text_parse_int(text, 0, LEDGER_FEN_MAX, "fen", &v->min_spend_fen, e) != 0) {
        goto out;
    }
    line_of(buf_str(&body), "expires=", v->expires, sizeof v->expires);
    calendar_day(wall_ns / NS_PER_S, today);
    v->expired = v->expires[0] != '\0' && strcmp(today, v->expires) > 0;
    rc = 0;

out:
    buf_free(&body);
    return rc;
}

static struct ledger_covering *
find_cover(struct ledger_covers *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->c[i].v.id, id) == 0) {
            return &s->c[i];
        }
    }
    return NULL;
}

/* Its place may change with the next. */
static struct ledger_covering *
add_cover(struct ledger_covers *s, const char *id)
{
    struct ledger_covering *c = find_cover(s, id);

    if (c == NULL) {
        if (s->n == s->cap) {
            s->cap = s->cap == 0 ? LEDGER_VOUCHERS_MAX : 2 * s->cap;
            s->c = xrealloc(s->c, s->cap * sizeof *s->c);
        }
        c = &s->c[s->n++];
        memset(c, 0, sizeof *c);
        (void)snprintf(c->v.id, sizeof c->v.id, "%s", id);
    }
    return c;
}

static int
load_own(struct ledger *l, const char *lease, struct ledger_covers *out, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_COVERS];
    bool row = true;

    (void)sqlite3_bind_text(s, 1, lease, -1, SQLITE_STATIC);
    while (row) {
        struct ledger_covering *c;

        if (db_step(l->db, s, &row, e) != 0) {
            return -1;
        }
        c = row ? add_cover(out, (const char *)sqlite3_column_text(s, 0)) : NULL;
        if (c != NULL) {
            c->own_fen = sqlite3_column_int64(s, 1);
            c->spent_fen = sqlite3_column_int64(s, 2);
            c->seq = sqlite3_column_int64(s, 3);
        }
    }
    (void)sqlite3_reset(s);
    return 0;
}

static int
load_open(struct ledger *l, const char *wallet, struct ledger_covers *out, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_OPEN_VOUCHERS];
    char from[LEDGER_ACCOUNT_MAX];
    char to[LEDGER_ACCOUNT_MAX];
    bool row = true;

    if (l->accounts.vouchers_dirty && ledger_settle_accounts(l, e) != 0) {
        return -1;
    }
    ledger_voucher_name(from, false, wallet, "");
    (void)snprintf(to, sizeof to, "%s", from);
    to[strlen(to) - 1] = ';'; /* what follows ':' */
    (void)sqlite3_bind_text(s, 1, from, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 2, to, -1, SQLITE_STATIC);
    while (row) {
        struct ledger_covering *c;

        if (db_step(l->db, s, &row, e) != 0) {
            return -1;
        }
        c = row ? add_cover(out, (const char *)sqlite3_column_text(s, 0)) : NULL;
        if (c != NULL) {
            c->v.free_fen = sqlite3_column_int64(s, 1);
        }
    }
    (void)sqlite3_reset(s);
    return 0;
}

int
ledger_covers_load(struct ledger *l, const char *wallet, const char *lease,
                   int64_t wall_ns, struct ledger_covers *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (wallet[0] == '\0') {
        return 0; /* a budget of one's own has no vouchers */
    }
    if ((lease[0] != '\0' && load_own(l, lease, out, e) != 0) ||
        load_open(l, wallet, out, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < out->n; i++) {
        if (ledger_voucher_terms(l, wall_ns, &out->c[i].v, e) != 0) {
            return -1;
        }
        out->c[i].next_fen = out->c[i].own_fen;
    }
    return 0;
}

/* ---- paying ---- */

/* What a lease may have of it: an expired one only what was promised in time. */
static int64_t
available(const struct ledger_covering *c)
{
    return c->own_fen + (c->v.expired ? 0 : c->v.free_fen) - c->take_fen;
}

/* How much more has to be charged until it may pay. */
static int64_t
least(const struct ledger_covering *c, int64_t before_fen)
{
    return i64_max(c->v.min_spend_fen - before_fen, 0);
}

int
ledger_covers_pay(struct ledger_covers *s, int64_t charge_fen, int64_t before_fen,
                  int64_t *paid_fen, struct err *e)
{
    struct wallet_bucket *b = NULL;
    struct wallet_share *taken = NULL;
    int64_t unpaid_fen = 0;
    int rc = -1;

    if (s->n == 0 && charge_fen >= 0) {
        *paid_fen = 0;
        return 0;
    }
    b = xcalloc(s->n, sizeof *b);
    taken = xcalloc(s->n, sizeof *taken);
    for (size_t i = 0; i < s->n; i++) {
        const struct ledger_voucher *v = &s->c[i].v;

        b[i] =
            (struct wallet_bucket){.id = v->id,
                                   .type = WALLET_VOUCHER,
                                   .balance_fen = available(&s->c[i]),
                                   .expires = v->expires[0] != '\0' ? v->expires : NULL,
                                   .min_spend_fen = least(&s->c[i], before_fen)};
    }
    if (wallet_deduct(charge_fen, b, s->n, taken, &s->n_order, &unpaid_fen, e) != 0) {
        goto out;
    }
    s->order = xrealloc(s->order, s->n * sizeof *s->order);
    for (size_t i = 0; i < s->n_order; i++) {
        s->order[i] = taken[i].i;
        s->c[taken[i].i].take_fen = taken[i].fen;
    }
    *paid_fen = charge_fen - unpaid_fen;
    rc = 0;

out:
    free(b);
    free(taken);
    return rc;
}

struct reserve {
    size_t i;
    int64_t least_fen;
    const char *expires;
};

static int
by_least(const void *a, const void *b)
{
    const struct reserve *x = a;
    const struct reserve *y = b;
    int c = i64_cmp(x->least_fen, y->least_fen);

    if (c == 0 && (x->expires[0] == '\0' || y->expires[0] == '\0')) {
        c = (x->expires[0] == '\0') - (y->expires[0] == '\0');
    } else if (c == 0) {
        c = strcmp(x->expires, y->expires);
    }
    return c != 0 ? c : i64_cmp((int64_t)x->i, (int64_t)y->i);
}

/* In the order of their least spending; the caller frees. */
static struct reserve *
rank(const struct ledger_covers *s, int64_t before_fen)
{
    struct reserve *out = xcalloc(s->n + 1, sizeof *out);

    for (size_t i = 0; i < s->n; i++) {
        out[i] = (struct reserve){i, least(&s->c[i], before_fen), s->c[i].v.expires};
    }
    if (s->n > 1) {
        qsort(out, s->n, sizeof *out, by_least);
    }
    return out;
}

int64_t
ledger_covers_promise(struct ledger_covers *s, int64_t total_fen, int64_t before_fen)
{
    struct reserve *r = rank(s, before_fen);
    int64_t given_fen = 0;
    int64_t cash_fen = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct ledger_covering *c = &s->c[r[i].i];

        c->next_fen = 0;
        if (r[i].least_fen <= total_fen) {
            /* A charge just below its least spending is paid by those before it. */
            cash_fen = i64_max(cash_fen, r[i].least_fen - 1 - given_fen);
            c->next_fen = i64_min(available(c), total_fen - given_fen);
            given_fen += c->next_fen;
        }
    }
    free(r);
    return i64_max(cash_fen, total_fen - given_fen);
}

int
ledger_covers_refund(struct ledger_covers *s, int64_t refund_fen, int64_t cash_fen,
                     int64_t *cash_back_fen, struct err *e)
{
    struct wallet_share *taken = xcalloc(s->n + 1, sizeof *taken);
    struct wallet_share *back = xcalloc(s->n + 1, sizeof *back);
    bool *none = xcalloc(s->n + 1, sizeof *none);
    int64_t forfeited_fen = 0;
    size_t n_back = 0;
    size_t n = 0;
    int rc = -1;

    /* They stand in the order of their use; cash comes last. */
    for (size_t i = 0; i < s->n; i++) {
        if (s->c[i].spent_fen > 0) {
            taken[n++] = (struct wallet_share){i, s->c[i].spent_fen};
        }
    }
    taken[n++] = (struct wallet_share){s->n, cash_fen};
    /* To whom it would go; what an expired one forfeits is told apart when posted. */
    if (wallet_refund(refund_fen, taken, none, n, back, &n_back, &forfeited_fen, e) !=
        0) {
        goto out;
    }
    *cash_back_fen = 0;
    for (size_t i = 0; i < n_back; i++) {
        if (back[i].i == s->n) {
            *cash_back_fen = back[i].fen;
        } else {
            s->c[back[i].i].back_fen = back[i].fen;
        }
    }
    rc = 0;

out:
    free(taken);
    free(back);
    free(none);
    return rc;
}

/* ---- writing ---- */

static void
post_some(struct ledger_draft *d, const char *dr, const char *cr, int64_t fen)
{
    if (fen > 0) {
        ledger_post(d, dr, cr, fen);
    }
}

void
ledger_covers_post(struct ledger_covers *s, struct ledger_draft *d)
{
    char voucher[LEDGER_ACCOUNT_MAX];
    char promised[LEDGER_ACCOUNT_MAX];

    for (size_t i = 0; i < s->n; i++) {
        struct ledger_covering *c = &s->c[i];
        int64_t freed_fen = c->own_fen - c->next_fen;
        int64_t lapsed_fen = c->v.expired ? i64_max(freed_fen - c->take_fen, 0) : 0;

        ledger_voucher_name(voucher, false, d->wallet, c->v.id);
        ledger_voucher_name(promised, true, d->wallet, c->v.id);
        post_some(d, promised, voucher, freed_fen - lapsed_fen);
        post_some(d, promised, LEDGER_FUNDER, lapsed_fen);
        post_some(d, voucher, promised, -freed_fen);
    }
}

int
ledger_covers_save(struct ledger *l, const char *lease, struct ledger_covers *s,
                   struct err *e)
{
    sqlite3_stmt *st = l->s[LEDGER_SET_COVER];
    int64_t last = 0;

    for (size_t i = 0; i < s->n; i++) {
        last = i64_max(last, s->c[i].seq);
    }
    for (size_t i = 0; i < s->n_order; i++) {
        struct ledger_covering *c = &s->c[s->order[i]];

        c->seq = c->seq == 0 ? ++last : c->seq;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct ledger_covering *c = &s->c[i];
        int64_t spent_fen = c->spent_fen + c->take_fen - c->back_fen;
        bool row = false;
        int rc;

        if (c->next_fen == c->own_fen && spent_fen == c->spent_fen) {
            continue;
        }
        (void)sqlite3_bind_text(st, 1, lease, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, c->v.id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, c->seq);
        (void)sqlite3_bind_int64(st, 4, c->next_fen);
        (void)sqlite3_bind_int64(st, 5, spent_fen);
        rc = db_step(l->db, st, &row, e);
        (void)sqlite3_reset(st);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- looking ---- */

int
ledger_reach(struct ledger *l, int64_t wall_ns, int64_t *fen, struct err *e)
{
    struct reserve *r = NULL;
    struct ledger_covers s = {.n = 0};
    struct ledger_funds f;
    int64_t reach_fen;

    if (ledger_funds(l, &f, e) != 0 ||
        ledger_covers_load(l, l->wallet, "", wall_ns, &s, e) != 0) {
        ledger_covers_free(&s);
        return -1;
    }
    reach_fen = f.free_fen;
    r = rank(&s, 0);
    for (size_t i = 0; i < s.n && r[i].least_fen <= reach_fen + 1; i++) {
        reach_fen += available(&s.c[r[i].i]);
    }
    *fen = reach_fen;
    free(r);
    ledger_covers_free(&s);
    return 0;
}
