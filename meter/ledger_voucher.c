/* Vouchers as they are given, looked at, and taken back when they have expired. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "meter/calendar.h"
#include "meter/ledger_internal.h"

#define NS_PER_S        ((int64_t)1000000000)
#define WALLET_NAME_MAX 64 /* of wallets that get vouchers */

static int
voucher_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
               int64_t *fee_bps, bool *nothing, struct err *e)
{
    char today[CALENDAR_MONTH_MAX];
    char to[LEDGER_ACCOUNT_MAX];

    (void)h;
    (void)fee_bps;
    (void)nothing;
    calendar_day(d->wall_ns / NS_PER_S, today);
    if (o->voucher->expires[0] != '\0' && strcmp(today, o->voucher->expires) > 0) {
        return err_set(e, ERR_INVALID, "it would have expired on %s",
                       o->voucher->expires);
    }
    if (o->covers.n >= LEDGER_VOUCHERS_MAX) {
        return err_set(e, ERR_LIMIT, "%d vouchers that are not used up are the most",
                       LEDGER_VOUCHERS_MAX);
    }
    ledger_voucher_name(to, false, d->wallet, o->voucher->id);
    ledger_post(d, LEDGER_FUNDER, to, o->fen);
    return 0;
}

static int
check_voucher(const struct ledger *l, const struct ledger_voucher *v, struct err *e)
{
    struct calendar_time t;
    char text[sizeof v->expires + sizeof "T00:00:00Z"];
    struct err why;

    if (l->wallet[0] == '\0' || strlen(l->wallet) > WALLET_NAME_MAX) {
        return err_set(e, ERR_INVALID, "a voucher is for a renter of an operator's book");
    }
    if (ledger_check_text("the voucher's id", v->id, e) != 0 ||
        ledger_check_fen(v->given_fen, 1, e) != 0 ||
        ledger_check_fen(v->min_spend_fen, 0, e) != 0) {
        return -1;
    }
    if (strpbrk(v->id, ":;") != NULL) {
        return err_set(e, ERR_INVALID, "the voucher's id: no ':' or ';'");
    }
    (void)snprintf(text, sizeof text, "%sT00:00:00Z", v->expires);
    return v->expires[0] == '\0' || (strlen(v->expires) == LEDGER_DATE_LEN &&
                                     calendar_parse(text, strlen(text), &t, &why) == 0)
               ? 0
               : err_set(e, ERR_INVALID, "'%s' is no date (2026-12-31)", v->expires);
}

int
ledger_voucher(struct ledger *l, const struct ledger_voucher *v, int64_t wall_ns,
               bool *repeated, struct err *e)
{
    struct ledger_order o = {
        .effect = voucher_effect, .fen = v->given_fen, .covered = true, .voucher = v};
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {.l = l,
                             .id = key,
                             .kind = "voucher",
                             .lease = "",
                             .of_wallet = true,
                             .wall_ns = wall_ns};

    if (check_voucher(l, v, e) != 0) {
        return -1;
    }
    memcpy(d.wallet, l->wallet, sizeof d.wallet);
    ledger_id(key, "voucher", v->id);
    buf_reset(&l->body);
    ledger_ask(l, "fen", v->given_fen);
    ledger_ask(l, "least", v->min_spend_fen);
    ledger_ask_text(l, "expires", v->expires);
    return ledger_carry_out(l, &d, &o, repeated, e);
}

static int
lapse_effect(struct ledger_order *o, struct ledger_draft *d, struct ledger_lease *h,
             int64_t *fee_bps, bool *nothing, struct err *e)
{
    char from[LEDGER_ACCOUNT_MAX];

    (void)h;
    (void)fee_bps;
    (void)e;
    *nothing = true;
    for (size_t i = 0; i < o->covers.n; i++) {
        const struct ledger_voucher *v = &o->covers.c[i].v;

        if (strcmp(v->id, o->voucher->id) == 0 && v->expired && v->free_fen > 0) {
            ledger_voucher_name(from, false, d->wallet, v->id);
            ledger_post(d, from, LEDGER_FUNDER, v->free_fen);
            *nothing = false;
        }
    }
    return 0;
}

static int
lapse_one(struct ledger *l, const struct ledger_voucher *v, int64_t wall_ns,
          struct err *e)
{
    struct ledger_order o = {.effect = lapse_effect, .covered = true, .voucher = v};
    char key[LEDGER_ID_MAX];
    struct ledger_draft d = {.l = l,
                             .id = key,
                             .kind = "lapse",
                             .lease = "",
                             .of_wallet = true,
                             .wall_ns = wall_ns};

    memcpy(d.wallet, l->wallet, sizeof d.wallet);
    buf_reset(&l->body);
    /* It may lapse again: what is heard late of a lease can come back to it after. */
    (void)snprintf(key, sizeof key, "lapse:%s:%" PRId64, v->id, wall_ns);
    return ledger_carry_out(l, &d, &o, NULL, e);
}

int
ledger_lapse(struct ledger *l, int64_t wall_ns, size_t *n_lapsed, struct err *e)
{
    struct ledger_covers s = {.n = 0};
    int rc = ledger_covers_load(l, l->wallet, "", wall_ns, &s, e);

    for (size_t i = 0; rc == 0 && i < s.n; i++) {
        const struct ledger_voucher *v = &s.c[i].v;

        if (v->expired && v->free_fen > 0) {
            rc = lapse_one(l, v, wall_ns, e);
            *n_lapsed += rc == 0 ? 1 : 0;
        }
    }
    ledger_covers_free(&s);
    return rc;
}

/* ---- looking ---- */

int
ledger_each_voucher(struct ledger *l, int64_t wall_ns,
                    int (*fn)(void *ctx, const struct ledger_voucher *v, struct err *e),
                    void *ctx, struct err *e)
{
    char from[LEDGER_ACCOUNT_MAX];
    char to[LEDGER_ACCOUNT_MAX];
    sqlite3_stmt *s = NULL;
    bool row = true;
    int rc = -1;

    if (ledger_settle_accounts(l, e) != 0) {
        return -1;
    }
    ledger_voucher_name(from, false, l->wallet, "");
    (void)snprintf(to, sizeof to, "%s", from);
    to[strlen(to) - 1] = ';';
    if (db_prepare(l->db,
                   "SELECT substr(v.name, length(?1) + 1), v.credit - v.debit,"
                   " coalesce(p.credit - p.debit, 0) FROM account v LEFT JOIN account p"
                   " ON p.name = '" LEDGER_PROMISED
                   "' || substr(v.name, length('" LEDGER_VOUCHER "') + 1)"
                   " WHERE v.name > ?1 AND v.name < ?2 ORDER BY v.name",
                   &s, e) != 0) {
        return -1;
    }
    (void)sqlite3_bind_text(s, 1, from, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 2, to, -1, SQLITE_STATIC);
    while (row) {
        struct ledger_voucher v = {.free_fen = 0};

        if (db_step(l->db, s, &row, e) != 0) {
            goto out;
        }
        if (!row) {
            break;
        }
        (void)snprintf(v.id, sizeof v.id, "%s", (const char *)sqlite3_column_text(s, 0));
        v.free_fen = sqlite3_column_int64(s, 1);
        v.promised_fen = sqlite3_column_int64(s, 2);
        if (ledger_voucher_terms(l, wall_ns, &v, e) != 0 || fn(ctx, &v, e) != 0) {
            goto out;
        }
    }
    rc = 0;

out:
    (void)sqlite3_finalize(s);
    return rc;
}
