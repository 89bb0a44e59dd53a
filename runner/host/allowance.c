#include "runner/host/allowance.h"

#include "runner/host/jobdir.h"
#include "runner/host/reservations.h"
#include "runner/job/state.h"

static void
add(int64_t *total, int64_t fen)
{
    *total = fen > INT64_MAX - *total ? INT64_MAX : *total + fen;
}

static int
add_jobs(const struct renter *r, int64_t *total, struct err *e)
{
    struct job_ids ids;

    if (jobdir_list(r, &ids, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ids.n; i++) {
        struct jobdir d;
        struct job_state st;
        struct err skip;

        state_init(&st);
        if (jobdir_open(&d, r, ids.v[i], &skip) != 0) {
            continue;
        }
        if (jobdir_state(&d, &st, &skip) == 0) {
            bool final = job_phase_is_final(st.phase) && st.charge_fen != JOB_NOT_SET;

            add(total, final                       ? st.charge_fen
                       : st.cap_fen == JOB_NOT_SET ? 0
                                                   : st.cap_fen);
        }
        state_free(&st);
        jobdir_close(&d);
    }
    job_ids_free(&ids);
    return 0;
}

static int
add_reservations(const struct agent *a, const struct renter *r, int64_t *total,
                 struct err *e)
{
    struct reservation_list l = {NULL, 0};

    if (reservations_list(&l, a, r->has_key ? &r->key : NULL, e) != 0) {
        return -1;
    }
    for (size_t i = 0; r->has_key && i < l.n; i++) {
        add(total, reservation_paid_fen(l.v[i]));
    }
    reservations_free(&l);
    return 0;
}

int
allowance_check(const struct agent *a, const struct renter *r, int64_t fen, struct err *e)
{
    int64_t total = 0;

    if (r->max_cost_fen == RENTER_NO_CAP) {
        return 0;
    }
    if (add_jobs(r, &total, e) != 0 || add_reservations(a, r, &total, e) != 0) {
        return -1;
    }
    if (fen > r->max_cost_fen - total) {
        return err_set(e, ERR_LIMIT,
                       "the owner allows this renter %lld.%02lld yuan in all; "
                       "%lld.%02lld of it are used or held",
                       (long long)(r->max_cost_fen / 100),
                       (long long)(r->max_cost_fen % 100), (long long)(total / 100),
                       (long long)(total % 100));
    }
    return 0;
}
