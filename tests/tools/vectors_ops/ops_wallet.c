/* Operations of wallet, budget and holds. */
#include <string.h>

#include "meter/refuse.h"
#include "meter/wallet.h"
#include "tests/tools/vectors_ops/call.h"

static struct wallet_bucket *
read_buckets(struct call *c, size_t *n)
{
    const struct json *a = call_arr(c, "buckets", n);
    struct wallet_bucket *b = call_alloc(c, *n, sizeof *b);

    for (size_t i = 0; i < *n; i++) {
        const struct json *v = json_at(a, i);

        b[i].id = call_str_of(c, v, "id");
        b[i].type = wallet_type_from_name(call_str_of(c, v, "type"));
        b[i].balance_fen = call_int_of(c, v, "balance");
        b[i].min_spend_fen = call_int_or_of(c, v, "min_spend", 0);
        if (b[i].type == WALLET_NONE) {
            c->bad = true;
        }
        if (!c->bad && json_kind(json_get(v, "expires")) == JSON_STR) {
            b[i].expires = call_str_of(c, v, "expires");
        }
    }
    return b;
}

static void
put_shares(struct call *c, const char *key, const struct wallet_share *s, size_t n,
           const char *const *names)
{
    json_key(&c->out, key);
    json_arr(&c->out);
    for (size_t i = 0; i < n; i++) {
        json_obj(&c->out);
        json_kstr(&c->out, "bucket", names[s[i].i]);
        json_kint(&c->out, "fen", s[i].fen);
        json_obj_end(&c->out);
    }
    json_arr_end(&c->out);
}

static int
deduct(struct call *c, const struct wallet_bucket *b, size_t n)
{
    struct wallet_share *taken = call_alloc(c, n, sizeof *taken);
    const char **names = call_alloc(c, n, sizeof *names);
    size_t n_taken = 0;
    int64_t unpaid = 0;

    if (c->bad || wallet_deduct(call_int(c, "charge_fen"), b, n, taken, &n_taken, &unpaid,
                                &c->e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = b[i].id;
    }
    put_shares(c, "taken", taken, n_taken, names);
    json_kint(&c->out, "unpaid_fen", unpaid);
    return c->bad ? -1 : 0;
}

static int
op_deduct(struct call *c)
{
    size_t n;
    struct wallet_bucket *b = read_buckets(c, &n);

    return deduct(c, b, n);
}

static int
op_voucher_order(struct call *c)
{
    size_t n;
    struct wallet_bucket *b = read_buckets(c, &n);
    size_t *order = call_alloc(c, n, sizeof *order);
    int64_t charge = call_int(c, "charge_fen");
    size_t n_order;

    if (c->bad) {
        return -1;
    }
    n_order = wallet_voucher_order(charge, b, n, order);
    json_key(&c->out, "order");
    json_arr(&c->out);
    for (size_t i = 0; i < n_order; i++) {
        json_str(&c->out, b[order[i]].id);
    }
    json_arr_end(&c->out);
    return deduct(c, b, n);
}

static bool
is_listed(const struct json *list, const char *id)
{
    for (size_t i = 0; i < json_len(list); i++) {
        if (json_kind(json_at(list, i)) == JSON_STR &&
            strcmp(json_as_str(json_at(list, i)), id) == 0) {
            return true;
        }
    }
    return false;
}

static int
op_refund_back(struct call *c)
{
    size_t n;
    size_t n_expired = 0;
    const struct json *a = call_arr(c, "taken", &n);
    const struct json *x =
        call_has(c, "expired") ? call_arr(c, "expired", &n_expired) : NULL;
    struct wallet_share *taken = call_alloc(c, n, sizeof *taken);
    struct wallet_share *back = call_alloc(c, n, sizeof *back);
    const char **names = call_alloc(c, n, sizeof *names);
    bool *expired = call_alloc(c, n, sizeof *expired);
    size_t n_back = 0;
    int64_t forfeited = 0;

    for (size_t i = 0; i < n; i++) {
        names[i] = call_str_of(c, json_at(a, i), "bucket");
        taken[i] = (struct wallet_share){i, call_int_of(c, json_at(a, i), "fen")};
        expired[i] = x != NULL && is_listed(x, names[i]);
    }
    if (c->bad || wallet_refund(call_int(c, "refund_fen"), taken, expired, n, back,
                                &n_back, &forfeited, &c->e) != 0) {
        return -1;
    }
    put_shares(c, "returned", back, n_back, names);
    json_kint(&c->out, "forfeited_fen", forfeited);
    return c->bad ? -1 : 0;
}

static int
op_topup(struct call *c)
{
    int64_t arrears = call_int(c, "arrears_fen");
    int64_t cleared = 0;
    int64_t cash = 0;

    if (c->bad ||
        wallet_topup(arrears, call_int(c, "topup_fen"), &cleared, &cash, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "arrears_fen", arrears - cleared);
    json_kint(&c->out, "cash_fen", cash);
    call_put_ints(c, "lines_fen", (int64_t[]){-cleared, cash}, 2);
    return c->bad ? -1 : 0;
}

/* max_seconds and runway: one rule. */
static int
op_max_seconds(struct call *c)
{
    struct tariff_segment s = {.price_uyuan_per_h = call_int(c, "price_uyh"),
                               .n_units = call_int_or(c, "gpus", 1),
                               .discount_bps = TARIFF_BPS_ONE};
    int64_t budget = call_int(c, "budget_fen");
    int64_t fen = 0;

    if (c->bad ||
        tariff_max_seconds(budget, s.price_uyuan_per_h, s.n_units, &s.used_s, &c->e) !=
            0 ||
        tariff_charge(&s, 1, TARIFF_MIN_FEN, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "seconds", s.used_s);
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
op_runway(struct call *c)
{
    int64_t available = call_int(c, "available_fen");
    int64_t burn = call_int(c, "burn_uyh");
    int64_t s = 0;

    if (c->bad || tariff_max_seconds(available, burn, 1, &s, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "seconds", s);
    return 0;
}

static int
op_alerts(struct call *c)
{
    size_t n;
    int64_t *levels = call_ints(c, "levels_pct", &n);
    int64_t *at = call_alloc(c, n, sizeof *at);
    int64_t budget = call_int(c, "budget_fen");
    int64_t price = call_int(c, "price_uyh");

    for (size_t i = 0; i < n && !c->bad; i++) {
        if (tariff_alert_second(budget, price, levels[i], &at[i], &c->e) != 0) {
            return -1;
        }
    }
    call_put_ints(c, "fire_at_s", at, n);
    return c->bad ? -1 : 0;
}

static int
op_hold_check(struct call *c)
{
    int64_t credits = call_int(c, "credits_posted");
    int64_t debits = call_int(c, "debits_posted");
    int64_t pending = call_int_or(c, "debits_pending", 0);
    int64_t wanted = call_int(c, "new_pending");
    int64_t available = 0;
    bool accepted = false;

    if (c->bad || wallet_hold_check(credits, debits, pending, wanted, &accepted,
                                    &available, &c->e) != 0) {
        return -1;
    }
    json_kbool(&c->out, "accepted", accepted);
    json_kint(&c->out, "available", available);
    return 0;
}

static int
op_hold_post(struct call *c)
{
    int64_t hold = call_int(c, "hold_fen");
    int64_t post = call_int(c, "post_fen");
    int64_t released = 0;

    if (c->bad || wallet_hold_post(hold, post, &released, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "posted_fen", post);
    json_kint(&c->out, "released_fen", released);
    return 0;
}

static void
put_jobs(struct call *c, const struct wallet_job *jobs, const char *const *ids, size_t n)
{
    json_key(&c->out, "jobs");
    json_obj(&c->out);
    for (size_t i = 0; i < n; i++) {
        json_key(&c->out, ids[i]);
        json_obj(&c->out);
        json_kint(&c->out, "stop_s", jobs[i].stop_s);
        json_kint(&c->out, "charge_fen", jobs[i].charge_fen);
        json_obj_end(&c->out);
    }
    json_obj_end(&c->out);
}

static int
op_lease_sim(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "jobs", &n);
    struct wallet_job *jobs = call_alloc(c, n, sizeof *jobs);
    const char **ids = call_alloc(c, n, sizeof *ids);
    int64_t balance = call_int(c, "balance_fen");
    int64_t lease_s = call_int(c, "lease_s");
    struct wallet_replay w;

    for (size_t i = 0; i < n; i++) {
        ids[i] = call_str_of(c, json_at(a, i), "id");
        jobs[i].price_uyuan_per_h = call_int_of(c, json_at(a, i), "price_uyh");
        jobs[i].n_units = call_int_or_of(c, json_at(a, i), "gpus", 1);
        jobs[i].start_s = call_int_or_of(c, json_at(a, i), "start", 0);
    }
    if (c->bad || wallet_replay(balance, lease_s, jobs, n, &w, &c->e) != 0) {
        return -1;
    }
    put_jobs(c, jobs, ids, n);
    json_kint(&c->out, "balance_fen", w.balance_fen);
    json_kint(&c->out, "leases", w.n_leases);
    json_kint(&c->out, "first_hold_fen", w.first_hold_fen);
    json_kint(&c->out, "last_lease_s", w.last_lease_s);
    return 0;
}

const struct op ops_wallet[] = {
    {"deduct", op_deduct},
    {"voucher_order", op_voucher_order},
    {"refund_back", op_refund_back},
    {"topup", op_topup},
    {"max_seconds", op_max_seconds},
    {"runway", op_runway},
    {"alerts", op_alerts},
    {"hold_check", op_hold_check},
    {"hold_post", op_hold_post},
    {"lease_sim", op_lease_sim},
    {NULL, NULL},
};
