#include "runner/client/lease.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lang.h"
#include "meter/money.h"
#include "meter/tariff.h"

#define NS_PER_S ((int64_t)1000000000)
#define START_S  ((int64_t)7 * 86400) /* shipping may take long */

#define RESERVED_KEEP_BYTES ((int64_t)50 * 1000000000)
#define RESERVED_SETUP_S    3600

/* The least a run may be allowed to cost: its first second, its landing, and keeping. */
static int64_t
least_fen(const struct grant *g, int64_t keep_bytes)
{
    __int128 cost = grant_cost(g, 0, 1 + grant_billed_window_s(g));

    return (int64_t)((cost + TARIFF_COST_PER_FEN - 1) / TARIFF_COST_PER_FEN) +
           grant_keep_hold(g, keep_bytes);
}

static bool
costs_anything(const struct grant *g)
{
    return grant_burn_uyuan_per_h(g) > 0 || g->job_uyuan > 0 ||
           g->nocard_uyuan_per_h > 0 || g->keep_uyuan_per_gb_day > 0;
}

/* A cap that was asked for must be there; the default one is all there is, if that is
 * less. */
static int
fit_purse(struct grant *g, struct purse *p, const struct lease_want *w, struct err *e)
{
    int64_t free_fen = 0;
    bool used = false;
    char have[MONEY_TEXT_MAX];

    if (purse_free_fen(p, &used, &free_fen, e) != 0) {
        return -1;
    }
    if (!used || g->cap_fen <= free_fen) {
        return 0;
    }
    money_format_fen(free_fen, have);
    if (w->max_cost_fen >= 0 && !w->ceiling && purse_book(p) != NULL) {
        return err_set(e, ERR_LIMIT,
                       _("the book has %s yuan free for you, less than --max-cost: its "
                         "operator takes deposits"),
                       have);
    }
    if (w->max_cost_fen >= 0 && !w->ceiling) {
        return err_set(e, ERR_LIMIT,
                       _("the wallet has %s yuan free, less than --max-cost: `gpurun "
                         "wallet topup YUAN`"),
                       have);
    }
    g->cap_fen = free_fen;
    g->cap_why = GRANT_LIMIT_BALANCE;
    return 0;
}

/*
 * Where the device is paid for, there is no price of its time that set-up and keeping
 * could be drawn from as well: so room for them is asked for.
 */
static int
default_cap(const struct grant *g, const struct lease_want *w, int64_t *cap_fen,
            struct err *e)
{
    int64_t keep = w->keep_bytes;
    __int128 setup = 0;

    if (g->reservation[0] != '\0') {
        keep += RESERVED_KEEP_BYTES;
        setup =
            grant_cost(g, g->max_s < RESERVED_SETUP_S ? g->max_s : RESERVED_SETUP_S, 0);
    }
    if (grant_default_cap(g, keep, cap_fen, e) != 0) {
        return -1;
    }
    *cap_fen += (int64_t)((setup + TARIFF_COST_PER_FEN - 1) / TARIFF_COST_PER_FEN);
    return 0;
}

/* Before it is seen whether there is that much. */
static int
asked_cap(struct grant *g, const struct lease_want *w, struct err *e)
{
    if (w->max_cost_fen >= 0 && !w->ceiling) {
        g->cap_fen = w->max_cost_fen;
        return 0;
    }
    if (default_cap(g, w, &g->cap_fen, e) != 0) {
        return -1;
    }
    if (w->max_cost_fen >= 0 && w->max_cost_fen < g->cap_fen) {
        g->cap_fen = w->max_cost_fen;
    }
    return 0;
}

/* The time was paid for in front; the job ends with it at the latest. */
static void
use_reservation(struct grant *g, const struct candidate *c)
{
    (void)snprintf(g->reservation, sizeof g->reservation, "%s", c->reservation);
    g->rows[0].uyuan_per_h = 0;
    if (g->max_s > c->reserved_s) {
        g->max_s = c->reserved_s;
        g->end_why = GRANT_LIMIT_LEASE;
    }
}

static int
set_cap(struct grant *g, struct purse *p, const struct candidate *c,
        const struct lease_want *w, struct err *e)
{
    int64_t estimate_s;

    g->cap_why = GRANT_LIMIT_COST;
    if (!costs_anything(g)) {
        g->cap_fen = 0;
        /* Nothing is billed, but the renter has said what it costs: keep to that. */
        if (c->own_estimate && w->max_cost_fen >= 0 && c->estimate_uyuan > 0) {
            if (tariff_max_seconds(w->max_cost_fen, c->estimate_uyuan, g->rows[0].n_units,
                                   &estimate_s, e) != 0) {
                return -1;
            }
            if (estimate_s < g->max_s) {
                g->max_s = estimate_s > 0 ? estimate_s : 1;
                g->end_why = GRANT_LIMIT_TIME;
            }
        }
        return 0;
    }
    if (asked_cap(g, w, e) != 0 || fit_purse(g, p, w, e) != 0) {
        return -1;
    }
    if (grant_burn_uyuan_per_h(g) > 0 &&
        grant_max_device_s(g, 0, grant_keep_hold(g, w->keep_bytes)) < 1) {
        char need[MONEY_TEXT_MAX];
        char have[MONEY_TEXT_MAX];

        money_format_fen(least_fen(g, w->keep_bytes), need);
        money_format_fen(g->cap_fen, have);
        return err_set(
            e, ERR_INVALID,
            g->cap_why == GRANT_LIMIT_BALANCE
                ? _("the %s yuan that are free in the wallet are less than what one "
                    "second, stopping and keeping the data would cost on host '%s' (%s "
                    "yuan): `gpurun wallet topup YUAN`")
                : _("--max-cost %s is less than what one second, stopping and keeping "
                    "the data would cost on host '%s' (%s yuan)"),
            have, c->host, need);
    }
    return 0;
}

static int
set_window(struct grant *g, const struct offer *o, struct job_spec *spec,
           const struct lease_want *w, struct err *e)
{
    if (spec->window_s > o->window_max_s) {
        if (w->has_window) {
            return err_set(e, ERR_INVALID, _("--window: this host allows at most %lld s"),
                           (long long)o->window_max_s);
        }
        spec->window_s = o->window_max_s;
    }
    g->window_s = spec->window_s;
    return 0;
}

int
lease_make(struct grant *g, struct client *cl, struct purse *p, const struct offer *o,
           const struct candidate *c, struct job_spec *spec, const struct lease_want *w,
           struct err *e)
{
    const struct sign_key *key;

    grant_init(g);
    if (home_key(cl->home, &key, e) != 0) {
        return -1;
    }
    random_id("l", g->lease);
    (void)snprintf(g->job, sizeof g->job, "%s", spec->job);
    g->seq = 1;
    sign_key_public(key, &g->renter);
    g->made_wall_ns = clock_wall_ns();
    g->until_wall_ns = g->made_wall_ns + START_S * NS_PER_S;
    if (grant_set_offer(g, o, spec->device_class, c->type, spec->count, e) != 0 ||
        set_window(g, o, spec, w, e) != 0) {
        return -1;
    }
    g->keep_days = o->keep_days;
    g->max_s = spec->max_time_s;
    g->end_why = GRANT_LIMIT_TIME;
    if (c->reservation[0] != '\0') {
        use_reservation(g, c);
    }
    if (set_cap(g, p, c, w, e) != 0) {
        return -1;
    }
    spec->cap_fen = costs_anything(g) ? g->cap_fen : -1;
    spec->max_time_s = g->max_s;
    return purse_sign(p, g, o, e);
}

int64_t
lease_can_run_s(const struct grant *g, int64_t keep_bytes)
{
    int64_t by_cost = grant_max_device_s(g, 0, grant_keep_hold(g, keep_bytes));

    return by_cost < g->max_s ? by_cost : g->max_s;
}

int
lease_extend(struct grant *next, struct home *home, const struct grant *g,
             int64_t cap_fen, int64_t max_s, struct err *e)
{
    const struct sign_key *key;
    struct grant n = *g;

    memset(&n.bytes, 0, sizeof n.bytes); /* g's own */
    if (home_key(home, &key, e) != 0) {
        return -1;
    }
    n.seq = g->seq + 1;
    n.cap_fen = cap_fen >= 0 ? cap_fen : g->cap_fen;
    n.max_s = max_s >= 0 ? max_s : g->max_s;
    n.made_wall_ns = clock_wall_ns();
    n.until_wall_ns = n.made_wall_ns + START_S * NS_PER_S;
    if (n.cap_fen < g->cap_fen || (n.max_s < g->max_s && g->max_s != GRANT_NO_END)) {
        return err_set(e, ERR_INVALID, "%s",
                       _("extend can only raise a limit; to end the job earlier, "
                         "`gpurun stop` it"));
    }
    if (grant_sign(&n, key, e) != 0) {
        return -1;
    }
    *next = n;
    return 0;
}
