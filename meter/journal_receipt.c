/* What the last record of a journal says beyond the others, held against them. */
#include <inttypes.h>
#include <string.h>

#include "meter/journal_internal.h"
#include "meter/tariff.h"
#include "meter/wide.h"

int64_t
journal_keep_until_max(const struct grant *g, int64_t made_wall_ns)
{
    __int128 keep_ns = (__int128)g->keep_days * TARIFF_S_PER_DAY * USAGE_NS_PER_S;

    return wide_clamp64(wide_max(made_wall_ns + keep_ns, 0));
}

/*
 * What is held for keeping stays held until a line of keeping posts it, and that needs a
 * snapshot, and an end that comes.
 */
static int
check_kept(const struct journal_reader *r, const struct journal_receipt *p,
           int64_t made_wall_ns, struct err *e)
{
    if (p->keep_until_wall_ns > journal_keep_until_max(&r->grant, made_wall_ns)) {
        return err_set(e, ERR_CORRUPT,
                       "its data is kept for more than the %" PRId64 " days granted",
                       r->grant.keep_days);
    }
    if (p->keep_until_wall_ns > 0 && p->snapshot[0] == '\0') {
        return err_set(e, ERR_CORRUPT, "data is kept of no snapshot");
    }
    return 0;
}

int
journal_check_receipt(const struct journal_reader *r, const struct usage_totals *t,
                      const struct journal_entry *x, struct err *e)
{
    const struct journal_receipt *p = &x->receipt;
    int64_t hold = 0;

    if (p->keep_until_wall_ns > 0) {
        int64_t left = r->grant.cap_fen - p->charge_fen;

        hold = i64_min(grant_keep_hold(&r->grant, p->kept_bytes), left);
    }
    if (strcmp(x->job, r->job) != 0 || !sha256_equal(&p->offer, &r->offer->hash) ||
        !sha256_equal(&p->grant, &r->grant.hash) ||
        !sha256_equal(&p->card, &r->offer->card) ||
        memcmp(p->renter.b, r->grant.renter.b, sizeof p->renter.b) != 0) {
        return err_set(e, ERR_CORRUPT,
                       "the receipt names other terms than the session's");
    }
    if (p->setup_s != usage_setup_s(t) || p->device_s != usage_device_s(t) ||
        p->charge_fen != x->r.cost_fen || p->keep_hold_fen != hold) {
        return err_set(e, ERR_CORRUPT, "the receipt's sums are not the session's");
    }
    return check_kept(r, p, x->r.at.wall_ns, e);
}

int
journal_take_receipt(struct journal_reader *r, struct usage_track *t,
                     const struct journal_entry *x, struct err *e)
{
    usage_enter(t, USAGE_ENDED);
    if (journal_check_receipt(r, &t->total, x, e) != 0) {
        return -1;
    }
    r->receipt = x->receipt;
    return 0;
}
