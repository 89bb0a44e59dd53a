#include "runner/host/earned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/keeping.h"
#include "runner/host/jobdir.h"
#include "runner/host/keepline.h"
#include "runner/host/reservations.h"

int
earned_open(struct ledger **out, const struct agent *a, struct err *e)
{
    char *path = agent_path(a, "ledger");
    int rc = ledger_open(out, path, e);

    free(path);
    return rc;
}

int
earned_keeping(const struct agent *a, const struct renter *renter,
               const struct receipt *r, struct keeping *k, bool *there, struct err *e)
{
    struct buf line = BUF_INIT;
    int rc;

    keeping_init(k);
    *there = false;
    rc = keepline_get(a, renter, r->job, &line, e);
    if (rc == 0) {
        rc = keeping_parse(k, line.data, line.len, &a->pub, e) == 0
                 ? keeping_check(k, r, e)
                 : -1;
        *there = rc == 0;
    } else if (e->code == ERR_BUSY || e->code == ERR_NOT_FOUND) {
        rc = 0; /* it is kept still, or nothing was held for it */
    }
    buf_free(&line);
    return rc;
}

/* The data went: what keeping it cost is earned, the rest of what was held for it is the
 * renter's again. */
static int
enter_keeping(struct ledger *l, const struct agent *a, const struct renter *renter,
              const struct receipt *r, struct err *e)
{
    struct keeping k;
    bool there;
    int rc = earned_keeping(a, renter, r, &k, &there, e);

    if (rc == 0 && there) {
        rc = ledger_keeping(l, r->lease, k.charge_fen, k.to_wall_ns, e);
    }
    if (rc == 0 && there && k.charge_fen != r->keep_hold_fen) {
        rc = ledger_refund(l, r->lease, r->keep_hold_fen - k.charge_fen, k.to_wall_ns,
                           NULL, e);
    }
    keeping_clear(&k);
    return rc;
}

static int
enter(struct ledger *l, const struct agent *a, const struct renter *renter,
      const struct receipt *r, struct err *e)
{
    char host[SIGN_ID_LEN + 1];
    const struct ledger_close c = {.lease = r->lease,
                                   .host = host,
                                   .charge_fen = r->charge_fen,
                                   .keep_fen = r->keep_hold_fen,
                                   .receipt = r->last.hash};
    struct ledger_lease is;

    sign_public_id(&r->host, host);
    if (r->charge_fen + r->keep_hold_fen > 0 &&
        ledger_topup(l, r->lease, r->charge_fen + r->keep_hold_fen, r->made_wall_ns, NULL,
                     e) != 0) {
        return -1;
    }
    if (ledger_settle(l, &c, r->made_wall_ns, NULL, e) != 0 ||
        ledger_lease(l, r->lease, &is, e) != 0) {
        return -1;
    }
    return is.state == LEDGER_HOLD_KEEPING ? enter_keeping(l, a, renter, r, e) : 0;
}

int
earned_enter(struct ledger *l, const struct agent *a, const struct renter *renter,
             const struct receipt *r, struct err *e)
{
    struct err none;

    ledger_use(l, renter->id);
    if (ledger_begin(l, e) != 0) {
        return -1;
    }
    if (enter(l, a, renter, r, e) != 0) {
        /* What did succeed is right, and is found again the next time. */
        (void)!ledger_commit(l, &none);
        e->code = e->code == ERR_INVALID ? ERR_CORRUPT : e->code;
        return err_wrap(e, "lease %s", r->lease);
    }
    return ledger_commit(l, e);
}

/* What goes back to the renter's book leaves the renter's wallet here again. */
static int
enter_back(struct ledger *l, const struct reservation *r, struct err *e)
{
    for (size_t i = 0; i < r->n_events; i++) {
        const struct reservation_event *ev = &r->events[i];

        for (size_t k = 0; k < ev->n_back; k++) {
            char id[LEDGER_TEXT_MAX + 1];

            (void)snprintf(id, sizeof id, "%.32s:%zu:%.32s", r->id, i + 1,
                           ev->back[k].lease);
            if (ledger_refund(l, id, ev->back[k].fen, ev->wall_ns, NULL, e) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int
enter_paid(struct ledger *l, const struct reservation *r, struct err *e)
{
    for (size_t i = 0; i < r->n_events; i++) {
        const struct reservation_event *ev = &r->events[i];

        if (ev->charge_fen > 0 &&
            (ledger_topup(l, ev->lease, ev->charge_fen, ev->wall_ns, NULL, e) != 0 ||
             ledger_hold(l, ev->lease, 1, ev->charge_fen, ev->wall_ns, e) != 0)) {
            return -1;
        }
    }
    return ledger_reservation(l, r, 0, 0, e);
}

int
earned_reservation(struct ledger *l, const struct renter *renter,
                   const struct reservation *r, struct err *e)
{
    struct err none;

    ledger_use(l, renter->id);
    if (ledger_begin(l, e) != 0) {
        return -1;
    }
    if (enter_paid(l, r, e) != 0 || enter_back(l, r, e) != 0) {
        (void)!ledger_commit(l, &none);
        e->code = e->code == ERR_INVALID ? ERR_CORRUPT : e->code;
        return err_wrap(e, "reservation %s", r->id);
    }
    return ledger_commit(l, e);
}

int
earned_each_reservation(const struct agent *a, earned_reserved_fn *fn, void *ctx,
                        struct err *e)
{
    struct renter_ids ids;
    int rc = 0;

    if (renter_list(a, &ids, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        struct reservation_list l = {NULL, 0};
        struct renter *r = NULL;

        rc = renter_open(&r, a, ids.v[i], false, e);
        if (rc == 0 && r->has_key) {
            rc = reservations_list(&l, a, &r->key, e);
        }
        for (size_t k = 0; rc == 0 && k < l.n; k++) {
            rc = fn(ctx, r, l.v[k], e);
        }
        reservations_free(&l);
        renter_close(r);
    }
    renter_ids_free(&ids);
    return rc;
}

static int
each_of_job(const struct agent *a, const struct renter *r, const char *job, earned_fn *fn,
            void *ctx, struct err *e)
{
    const struct receipt_pins pins = {.host = &a->pub, .job = job, .open = true};
    char *path = xasprintf("%s/jobs/%s/usage", r->path, job);
    struct receipt *receipt = NULL;
    struct job_state st;
    struct jobdir d;
    struct err why = {0};
    int rc = 0;

    state_init(&st);
    if (jobdir_open(&d, r, job, &why) == 0) {
        (void)!jobdir_state(&d, &st, &why);
        memcpy(st.job, d.job, sizeof st.job); /* also of a record that is gone */
        if (receipt_verify_file(&receipt, path, &pins, &why) != 0) {
            receipt = NULL;
        }
        rc = fn(ctx, r, &st, receipt, &why, e);
        jobdir_close(&d);
    }
    receipt_free(receipt);
    state_free(&st);
    free(path);
    return rc;
}

int
earned_each(const struct agent *a, earned_fn *fn, void *ctx, struct err *e)
{
    struct renter_ids l;
    int rc = 0;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        struct renter *r = NULL;
        struct job_ids ids = {NULL, 0};

        rc = renter_open(&r, a, l.v[i], false, e);
        if (rc == 0) {
            rc = jobdir_list(r, &ids, e);
        }
        for (size_t k = 0; rc == 0 && k < ids.n; k++) {
            rc = each_of_job(a, r, ids.v[k], fn, ctx, e);
        }
        job_ids_free(&ids);
        renter_close(r);
    }
    renter_ids_free(&l);
    return rc;
}

struct sync {
    const struct agent *agent;
    struct ledger *ledger;
    struct err first;
    bool failed;
};

static int
sync_one(void *ctx, const struct renter *r, const struct job_state *st,
         const struct receipt *receipt, const struct err *why, struct err *e)
{
    struct sync *s = ctx;
    struct err bad;

    (void)st;
    (void)why;
    (void)e;
    if (receipt != NULL && !receipt->open &&
        earned_enter(s->ledger, s->agent, r, receipt, &bad) != 0 && !s->failed) {
        s->failed = true;
        s->first = bad;
    }
    return 0;
}

static int
sync_reserved(void *ctx, const struct renter *renter, const struct reservation *r,
              struct err *e)
{
    struct sync *s = ctx;
    struct err bad;

    (void)e;
    if (earned_reservation(s->ledger, renter, r, &bad) != 0 && !s->failed) {
        s->failed = true;
        s->first = bad;
    }
    return 0;
}

int
earned_sync(struct ledger *l, const struct agent *a, struct err *e)
{
    struct sync s = {.agent = a, .ledger = l};

    if (earned_each(a, sync_one, &s, e) != 0 ||
        earned_each_reservation(a, sync_reserved, &s, e) != 0) {
        return -1;
    }
    if (s.failed) {
        *e = s.first;
        return -1;
    }
    return 0;
}
