#include "runner/client/wallet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "meter/keeping.h"
#include "runner/client/jobs.h"
#include "runner/client/keepings.h"
#include "runner/client/receipts.h"

/* A top-up that was refused or killed leaves a ledger of no entry: that is no wallet. */
static int
drop_empty(struct ledger **l, struct err *e)
{
    struct ledger_funds f;

    if (ledger_funds(*l, &f, e) != 0) {
        return -1;
    }
    if (f.n_entries == 0) {
        ledger_close(*l);
        *l = NULL;
    }
    return 0;
}

int
wallet_open(struct ledger **out, const struct home *home, bool make, struct err *e)
{
    char *path = home_path(home, "ledger", NULL);
    struct ledger *l = NULL;
    int rc = 0;

    if (make) {
        rc = file_mkdirs(home_dir(home), 0700, e);
    }
    if (rc == 0 && (make || file_exists(path))) {
        rc = ledger_open(&l, path, e);
    }
    if (rc == 0 && l != NULL && !make) {
        rc = drop_empty(&l, e);
    }
    if (rc != 0) {
        ledger_close(l);
        l = NULL;
    }
    *out = l;
    free(path);
    return rc;
}

int
wallet_begin(const struct home *home, int *guard, struct err *e)
{
    char *ledger = home_path(home, "ledger", NULL);
    char *path = home_path(home, "ledger.runs", NULL);
    int rc = 0;

    if (file_exists(ledger)) {
        rc = file_lock(path, false, true, guard, e);
    }
    free(path);
    free(ledger);
    return rc;
}

static int
settle(struct ledger *l, const struct receipt *r, struct err *e)
{
    char host[SIGN_ID_LEN + 1];
    struct ledger_lease h;
    const struct ledger_close c = {
        .lease = r->lease,
        .host = host,
        .charge_fen = r->charge_fen,
        .keep_fen = r->keep_hold_fen,
        .receipt = r->last.hash,
    };

    sign_public_id(&r->host, host);
    if (ledger_lease(l, r->lease, &h, e) != 0) {
        return -1;
    }
    /* A run from before there was a wallet holds nothing, and costs it nothing. */
    return h.state == LEDGER_HOLD_OPEN ? ledger_settle(l, &c, clock_wall_ns(), NULL, e)
                                       : 0;
}

/*
 * Data that has gone cost what the host's line says; whose time is over, what the storage
 * rule says, at most what is held.
 */
static int
post_keeping(const struct home *home, struct ledger *l, const struct receipt *r,
             struct err *e)
{
    int64_t now_ns = clock_wall_ns();
    int64_t fen = 0;

    struct keeping k;
    bool there = false;

    if (keepings_load(home, r, &there, &k, e) != 0) {
        return -1;
    }
    fen = k.charge_fen;
    keeping_clear(&k);
    if (!there && now_ns < r->keep_until_wall_ns) {
        return 0;
    }
    if (!there && keeping_charge_at(r, r->keep_until_wall_ns, &fen, e) != 0) {
        return -1;
    }
    return ledger_keeping(l, r->lease, fen, now_ns, e);
}

/* What ledger_each_hold tells, kept aside: nothing is changed while it is read. */
struct held {
    char lease[GRANT_ID_MAX + 1];
    enum ledger_hold_state state;
};

struct holds {
    struct held *v;
    size_t n;
};

static int
note_hold(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    struct holds *l = ctx;

    (void)e;
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    (void)snprintf(l->v[l->n].lease, sizeof l->v[l->n].lease, "%s", lease);
    l->v[l->n++].state = h->state;
    return 0;
}

static const struct job_record *
job_of(const struct job_list *jobs, const char *lease)
{
    for (size_t i = 0; i < jobs->n; i++) {
        if (strcmp(jobs->v[i].lease, lease) == 0) {
            return &jobs->v[i];
        }
    }
    return NULL;
}

/*
 * The run was killed between its hold and its submit: no host has heard of it. Not while
 * another run is just there, and not across a boot, where the record may be older than
 * what was done.
 */
static int
release_unsent(const struct home *home, struct ledger *l, const char *job, bool *waits,
               struct err *e)
{
    char *path = home_path(home, "ledger.runs", NULL);
    char boot[BOOT_ID_LEN + 1];
    struct job_record now;
    struct err none;
    int lock = -1;
    int rc = 0;

    job_record_init(&now);
    clock_boot_id(boot);
    if (file_lock(path, true, false, &lock, &none) == 0 &&
        jobs_load(home, job, &now, &none) == 0 && strcmp(now.unsent, boot) == 0) {
        rc = ledger_release(l, now.lease, clock_wall_ns(), e);
        if (rc == 0) {
            jobs_forget(home, job);
            *waits = false;
        }
    }
    (void)fd_close(&lock);
    job_record_free(&now);
    free(path);
    return rc;
}

static int
sync_one(const struct home *home, struct ledger *l, const struct held *h,
         const struct job_record *j, bool *waits, struct err *e)
{
    const char *job = j->id;
    struct receipt *r = NULL;
    int rc = 0;

    *waits = h->state == LEDGER_HOLD_OPEN;
    if (!receipts_kept(home, job)) {
        return *waits && j->unsent[0] != '\0' ? release_unsent(home, l, job, waits, e)
                                              : 0;
    }
    if (receipts_load(home, job, NULL, &r, e) != 0) {
        return err_wrap(e, "the receipt of job %s", job);
    }
    if (strcmp(r->lease, h->lease) == 0) {
        rc = h->state == LEDGER_HOLD_OPEN ? settle(l, r, e) : post_keeping(home, l, r, e);
        *waits = false;
    }
    receipt_free(r);
    return rc;
}

int
wallet_sync(const struct home *home, struct ledger *l, size_t *n_waiting, struct err *e)
{
    struct holds holds = {NULL, 0};
    struct job_list jobs = {NULL, 0};
    size_t n = 0;
    int rc = ledger_each_hold(l, note_hold, &holds, e);

    if (rc == 0 && holds.n > 0) {
        rc = jobs_list(home, &jobs, e);
    }
    for (size_t i = 0; rc == 0 && i < holds.n; i++) {
        const struct job_record *job = job_of(&jobs, holds.v[i].lease);
        bool waits = holds.v[i].state == LEDGER_HOLD_OPEN;

        if (job != NULL) {
            rc = sync_one(home, l, &holds.v[i], job, &waits, e);
        }
        n += waits ? 1 : 0;
    }
    job_list_free(&jobs);
    free(holds.v);
    if (rc == 0 && n_waiting != NULL) {
        *n_waiting = n;
    }
    return rc;
}

int
wallet_free(const struct home *home, bool *used, int64_t *free_fen, struct err *e)
{
    struct ledger *l = NULL;
    struct ledger_funds f = {0};
    int rc = wallet_open(&l, home, false, e);

    *used = l != NULL;
    if (rc == 0 && l != NULL) {
        rc = wallet_sync(home, l, NULL, e) == 0 && ledger_funds(l, &f, e) == 0 ? 0 : -1;
    }
    ledger_close(l);
    *free_fen = f.free_fen;
    return rc;
}

int
wallet_hold(const struct home *home, const struct grant *g, struct err *e)
{
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL && g->cap_fen > 0) {
        rc = ledger_hold(l, g->lease, g->seq, g->cap_fen, clock_wall_ns(), e);
    }
    if (rc != 0 && e->code == ERR_LIMIT) {
        const struct err why = *e;

        err_set(e, ERR_LIMIT, _("%s (`gpurun wallet topup YUAN`)"), why.msg);
    }
    ledger_close(l);
    return rc;
}

int
wallet_release(const struct home *home, const char *lease, struct err *e)
{
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL) {
        rc = ledger_release(l, lease, clock_wall_ns(), e);
    }
    ledger_close(l);
    return rc;
}

int
wallet_settle(const struct home *home, const struct receipt *r, struct err *e)
{
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL) {
        rc = settle(l, r, e);
    }
    ledger_close(l);
    return rc;
}
