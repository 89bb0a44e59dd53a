#include "meter/wallet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/calendar.h"
#include "meter/refuse.h"
#include "meter/tariff.h"
#include "meter/wide.h"

enum wallet_type
wallet_type_from_name(const char *name)
{
    if (strcmp(name, "voucher") == 0) {
        return WALLET_VOUCHER;
    }
    if (strcmp(name, "gift") == 0) {
        return WALLET_GIFT;
    }
    return strcmp(name, "cash") == 0 ? WALLET_CASH : WALLET_NONE;
}

/* A bucket in the order of paying. */
struct ranked {
    const struct wallet_bucket *b;
    size_t i;
    int64_t gives_fen; /* min(balance, whole charge) */
    enum expiry { EXPIRY_MOMENT, EXPIRY_WORD, EXPIRY_NEVER } expiry;
    int64_t expires_s; /* of a moment */
};

/*
 * When a bucket's money ends: a moment with the offset it is written in, or a date, which
 * ends with its day in Shanghai. Texts of both kinds do not compare as they stand.
 */
static void
read_expiry(struct ranked *r, const char *expires)
{
    char day_end[] = "2026-12-31T23:59:59+08:00";
    struct calendar_time t;
    struct err e;

    if (expires == NULL) {
        r->expiry = EXPIRY_NEVER;
        return;
    }
    if (strlen(expires) == CALENDAR_DATE_LEN) {
        memcpy(day_end, expires, CALENDAR_DATE_LEN);
        expires = day_end;
    }
    if (calendar_parse(expires, strlen(expires), &t, &e) != 0) {
        r->expiry = EXPIRY_WORD; /* neither: by its letters, behind those that are */
        return;
    }
    r->expiry = EXPIRY_MOMENT;
    r->expires_s = t.unix_s;
}

static int
by_expiry(const struct ranked *x, const struct ranked *y)
{
    if (x->expiry != y->expiry) {
        return (int)x->expiry - (int)y->expiry;
    }
    return x->expiry == EXPIRY_WORD ? strcmp(x->b->expires, y->b->expires)
                                    : i64_cmp(x->expires_s, y->expires_s);
}

static int
by_rank(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    int c = (int)x->b->type - (int)y->b->type; /* vouchers, gifts, cash */

    if (c == 0 && x->b->type != WALLET_CASH) {
        c = by_expiry(x, y);
    }
    if (c == 0 && x->b->type == WALLET_VOUCHER) {
        c = i64_cmp(y->gives_fen, x->gives_fen);
    }
    if (c == 0 && x->b->type == WALLET_VOUCHER) {
        c = i64_cmp(x->b->balance_fen, y->b->balance_fen);
    }
    if (c == 0 && x->b->type != WALLET_CASH) {
        c = strcmp(x->b->id, y->b->id);
    }
    return c != 0 ? c : i64_cmp((int64_t)x->i, (int64_t)y->i);
}

/* All buckets that may pay for the charge, ranked; the caller frees. */
static struct ranked *
rank(int64_t charge_fen, const struct wallet_bucket *buckets, size_t n, size_t *n_ranked)
{
    struct ranked *r = xcalloc(n, sizeof *r);
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t balance = buckets[i].balance_fen;

        if (buckets[i].type == WALLET_VOUCHER && buckets[i].min_spend_fen > charge_fen) {
            continue;
        }
        r[k] = (struct ranked){
            .b = &buckets[i], .i = i, .gives_fen = i64_min(balance, charge_fen)};
        read_expiry(&r[k++], buckets[i].expires);
    }
    qsort(r, k, sizeof *r, by_rank);
    *n_ranked = k;
    return r;
}

size_t
wallet_voucher_order(int64_t charge_fen, const struct wallet_bucket *buckets, size_t n,
                     size_t *order)
{
    size_t n_ranked;
    size_t n_order = 0;
    struct ranked *r = rank(charge_fen, buckets, n, &n_ranked);

    for (size_t i = 0; i < n_ranked && r[i].b->type == WALLET_VOUCHER; i++) {
        order[n_order++] = r[i].i;
    }
    free(r);
    return n_order;
}

int
wallet_deduct(int64_t charge_fen, const struct wallet_bucket *buckets, size_t n,
              struct wallet_share *taken, size_t *n_taken, int64_t *unpaid_fen,
              struct err *e)
{
    int64_t left = charge_fen;
    struct ranked *r;
    size_t n_ranked;
    size_t k = 0;

    if (charge_fen < 0) {
        return refuse(e, REFUSE_RANGE, "a charge of %" PRId64 " fen is negative",
                      charge_fen);
    }
    r = rank(charge_fen, buckets, n, &n_ranked);
    for (size_t i = 0; i < n_ranked; i++) {
        int64_t fen = i64_min(r[i].b->balance_fen, left);

        if (fen > 0) {
            taken[k++] = (struct wallet_share){.i = r[i].i, .fen = fen};
            left -= fen;
        }
    }
    free(r);
    *n_taken = k;
    *unpaid_fen = left;
    return 0;
}

int
wallet_refund(int64_t refund_fen, const struct wallet_share *taken, const bool *expired,
              size_t n_taken, struct wallet_share *returned, size_t *n_returned,
              int64_t *forfeited_fen, struct err *e)
{
    int64_t left = refund_fen;
    int64_t forfeited = 0;
    size_t k = 0;

    if (refund_fen < 0) {
        return refuse(e, REFUSE_RANGE, "a refund of %" PRId64 " fen is negative",
                      refund_fen);
    }
    for (size_t i = n_taken; i-- > 0;) {
        int64_t fen = i64_min(taken[i].fen, left);

        if (fen <= 0) {
            continue;
        }
        left -= fen;
        if (expired[i]) {
            forfeited += fen;
        } else {
            returned[k++] = (struct wallet_share){.i = taken[i].i, .fen = fen};
        }
    }
    *n_returned = k;
    *forfeited_fen = forfeited;
    return 0;
}

int
wallet_topup(int64_t arrears_fen, int64_t topup_fen, int64_t *cleared_fen,
             int64_t *cash_fen, struct err *e)
{
    int64_t cleared = i64_min(arrears_fen, topup_fen);

    if (arrears_fen < 0 || topup_fen < 0) {
        return refuse(e, REFUSE_RANGE, "negative arrears or top-up");
    }
    *cleared_fen = cleared;
    *cash_fen = topup_fen - cleared;
    return 0;
}

int
wallet_hold_check(int64_t credits_fen, int64_t debits_fen, int64_t pending_fen,
                  int64_t new_fen, bool *accepted, int64_t *available_fen, struct err *e)
{
    __int128 available = (__int128)credits_fen - debits_fen - pending_fen;

    if (new_fen < 0 || !wide_fits64(available)) {
        return refuse(e, REFUSE_RANGE, "a hold of %" PRId64 " fen on such a balance",
                      new_fen);
    }
    *available_fen = (int64_t)available;
    *accepted = new_fen <= available;
    return 0;
}

int
wallet_hold_post(int64_t hold_fen, int64_t post_fen, int64_t *released_fen, struct err *e)
{
    if (hold_fen < 0 || post_fen < 0) {
        return refuse(e, REFUSE_RANGE, "a negative hold or posting");
    }
    if (post_fen > hold_fen) {
        return refuse(e, REFUSE_EXCEEDS, "%" PRId64 " fen of a hold of %" PRId64,
                      post_fen, hold_fen);
    }
    *released_fen = hold_fen - post_fen;
    return 0;
}

int64_t
wallet_payment(int64_t total_due_fen, int64_t paid_fen)
{
    return wide_clamp64(wide_max((__int128)total_due_fen - paid_fen, 0));
}

int
wallet_stretch(int64_t price_uyuan_per_h, int64_t n_units, int64_t ran_s,
               int64_t posted_fen, int64_t available_fen, int64_t max_s, int64_t *len_s,
               int64_t *need_fen, struct err *e)
{
    __int128 rate = (__int128)price_uyuan_per_h * n_units;
    __int128 budget = (__int128)available_fen + posted_fen; /* in all, since the start */
    __int128 len;
    __int128 cost;

    if (price_uyuan_per_h < 0 || n_units < 0 || ran_s < 0 || max_s < 0) {
        return refuse(e, REFUSE_RANGE, "a negative price or time");
    }
    if (rate == 0) {
        len = max_s;
    } else {
        len = wide_max(budget, 0) * TARIFF_COST_PER_FEN / rate - ran_s;
    }
    len = wide_min(wide_max(len, 0), max_s);
    if (!wide_mul(rate, ran_s + len, &cost)) {
        return refuse(e, REFUSE_RANGE, "the cost is too large to count");
    }
    *len_s = (int64_t)len;
    *need_fen = wide_clamp64(wide_ceil_div(cost, TARIFF_COST_PER_FEN)) - posted_fen;
    return 0;
}

/* A job in the replay. */
struct running {
    int64_t wake_s; /* INT64_MAX: it has stopped */
    int64_t posted_fen;
    int64_t hold_fen;
};

static int
charge(const struct wallet_job *j, int64_t ran_s, int64_t min_fen, int64_t *fen,
       struct err *e)
{
    const struct tariff_segment s = {
        .price_uyuan_per_h = j->price_uyuan_per_h,
        .n_units = j->n_units,
        .used_s = ran_s,
        .discount_bps = TARIFF_BPS_ONE,
    };

    return tariff_charge(&s, 1, min_fen, fen, e);
}

/* Post up to `fen` in all for the job, out of the balance. */
static void
post_up_to(struct running *r, struct wallet_replay *w, int64_t fen)
{
    w->balance_fen -= fen - r->posted_fen;
    r->posted_fen = fen;
}

static int
wake(struct wallet_job *j, struct running *r, struct running *all, size_t n,
     int64_t lease_s, struct wallet_replay *w, struct err *e)
{
    int64_t ran_s = r->wake_s - j->start_s;
    __int128 held = 0;
    int64_t fen = 0;
    int64_t len_s = 0;
    int64_t need_fen = 0;

    if (charge(j, ran_s, 0, &fen, e) != 0) {
        return -1;
    }
    post_up_to(r, w, fen);
    r->hold_fen = 0;
    for (size_t i = 0; i < n; i++) {
        held += all[i].hold_fen;
    }
    if (wallet_stretch(j->price_uyuan_per_h, j->n_units, ran_s, r->posted_fen,
                       (int64_t)(w->balance_fen - held), lease_s, &len_s, &need_fen,
                       e) != 0) {
        return -1;
    }
    if (len_s > 0) {
        w->first_hold_fen = w->n_leases == 0 ? need_fen : w->first_hold_fen;
        w->last_lease_s = len_s;
        w->n_leases++;
        r->hold_fen = need_fen;
        if (__builtin_add_overflow(r->wake_s, len_s, &r->wake_s)) {
            return refuse(e, REFUSE_RANGE, "a job that runs for ever");
        }
        return 0;
    }
    if (charge(j, ran_s, TARIFF_MIN_FEN, &fen, e) != 0) {
        return -1;
    }
    post_up_to(r, w, fen);
    r->wake_s = INT64_MAX;
    j->stop_s = ran_s;
    j->charge_fen = fen;
    return 0;
}

/* The job that wakes first, the earlier in the list at a tie; n if none does. */
static size_t
next_to_wake(const struct running *r, size_t n)
{
    size_t best = n;

    for (size_t i = 0; i < n; i++) {
        if (r[i].wake_s != INT64_MAX && (best == n || r[i].wake_s < r[best].wake_s)) {
            best = i;
        }
    }
    return best;
}

int
wallet_replay(int64_t balance_fen, int64_t lease_s, struct wallet_job *jobs, size_t n,
              struct wallet_replay *out, struct err *e)
{
    struct wallet_replay w = {.balance_fen = balance_fen};
    struct running *r = NULL;
    int rc = -1;

    for (size_t i = 0; i < n; i++) {
        if (jobs[i].price_uyuan_per_h <= 0 || jobs[i].n_units <= 0) {
            return refuse(e, REFUSE_RANGE, "a job that costs nothing never stops");
        }
    }
    if (balance_fen < 0 || lease_s < 0) {
        return refuse(e, REFUSE_RANGE, "a negative balance or lease");
    }
    r = xcalloc(n, sizeof *r);
    for (size_t i = 0; i < n; i++) {
        r[i].wake_s = jobs[i].start_s;
    }
    for (size_t i = next_to_wake(r, n); i < n; i = next_to_wake(r, n)) {
        if (wake(&jobs[i], &r[i], r, n, lease_s, &w, e) != 0) {
            goto out;
        }
    }
    *out = w;
    rc = 0;

out:
    free(r);
    return rc;
}
