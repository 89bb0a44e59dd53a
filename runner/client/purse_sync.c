#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "base/rec.h"
#include "runner/client/jobs.h"
#include "runner/client/purse_internal.h"
#include "runner/client/receipts.h"
#include "runner/client/wallet.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define PENDING_TYPE "gpurun.pending.v1"
#define ASK_NS       ((int64_t)60 * 1000000000)

/* ---- <home>/pending ---- */

int
purse_pending_begin(const struct home *home, int *guard, struct err *e)
{
    char *path = NULL;
    int rc = -1;

    if (home_make(home, PURSE_PENDING_DIR, "runs.lock", &path, e) == 0) {
        rc = file_lock(path, false, true, guard, e);
    }
    free(path);
    return rc;
}

int
purse_pending_add(const struct home *home, const struct grant *g,
                  const struct sign_public *book, struct err *e)
{
    struct rec *r = rec_new(PENDING_TYPE);
    char *path = NULL;
    int rc = -1;

    rec_add(r, "lease", g->lease);
    rec_add_hex(r, "book", book->b, sizeof book->b);
    rec_add_bytes(r, "grant", g->bytes.data, g->bytes.len);
    if (home_make(home, PURSE_PENDING_DIR, g->job, &path, e) == 0) {
        rc = rec_save(r, path, e);
    }
    rec_free(r);
    free(path);
    return rc;
}

void
purse_pending_drop(const struct home *home, const char *job)
{
    char *path = home_path(home, PURSE_PENDING_DIR, job);

    (void)unlink(path);
    free(path);
}

bool
purse_pending_has(const struct home *home, const char *job)
{
    char *path = home_path(home, PURSE_PENDING_DIR, job);
    bool has = file_exists(path);

    free(path);
    return has;
}

struct pending {
    char job[JOB_ID_LEN + 1];
    char lease[JOB_ID_LEN + 1];
    struct sign_public book;
    struct buf grant;
};

static int
load_pending(const struct home *home, const char *job, struct pending *out, struct err *e)
{
    char *path = home_path(home, PURSE_PENDING_DIR, job);
    struct rec *r = NULL;
    const char *lease;
    const char *grant;
    size_t len;
    int rc = -1;

    memset(out, 0, sizeof *out);
    (void)snprintf(out->job, sizeof out->job, "%s", job);
    if (rec_load(&r, path, PENDING_TYPE, e) == 0 &&
        rec_need_str(r, "lease", &lease, e) == 0 && id_check(ID_LEASE, lease, e) == 0 &&
        rec_need_hex(r, "book", out->book.b, sizeof out->book.b, e) == 0) {
        grant = rec_get_bytes(r, "grant", &len);
        if (grant == NULL) {
            err_set(e, ERR_CORRUPT, "%s: no grant", path);
        } else {
            (void)snprintf(out->lease, sizeof out->lease, "%s", lease);
            buf_add(&out->grant, grant, len);
            rc = 0;
        }
    }
    rec_free(r);
    free(path);
    return rc;
}

int
purse_pending_book(const struct home *home, const char *job, struct sign_public *book,
                   struct err *e)
{
    struct pending p;
    int rc = load_pending(home, job, &p, e);

    if (rc == 0) {
        *book = p.book;
    }
    buf_free(&p.grant);
    return rc;
}

/* ---- what the books wait for ---- */

static int
send_receipt(struct counter *c, const char *lease, const struct buf *data, struct err *e)
{
    for (size_t at = 0;;) {
        size_t n = data->len - at < BOOK_CHUNK_MAX ? data->len - at : BOOK_CHUNK_MAX;
        bool last = at + n == data->len;
        struct rec *req = msg_request_new(VERB_BOOK_RECEIPT);
        struct rec *resp = NULL;
        int rc;

        rec_add(req, "lease", lease);
        rec_add_int(req, "from", (int64_t)at);
        rec_add_bytes(req, "data", data->data + at, n);
        rec_add_int(req, "end", last ? 1 : 0);
        rc = counter_call(c, req, &resp, e);
        rec_free(req);
        rec_free(resp);
        if (rc != 0 || last) {
            return rc;
        }
        at += n;
    }
}

/* The host's word, to the book. A refusal for good is noted, and fails all the same: what
 * is held is not free. */
static int
bring_declined(const struct home *home, struct counter *c, const char *job,
               const void *word, size_t len, struct err *e)
{
    struct rec *req = msg_request_new(VERB_BOOK_DECLINE);
    struct rec *resp = NULL;
    struct pending p;
    struct err none;
    int rc;

    rec_add_bytes(req, "declined", word, len);
    rc = counter_call(c, req, &resp, e);
    if (rc != 0 && counter_answered(c) && e->code == ERR_NOT_FOUND) {
        rc = 0; /* the book was never asked: it holds nothing */
    }
    if (load_pending(home, job, &p, &none) == 0) {
        struct refusal thing = purse_thing(REFUSAL_DECLINE, p.lease, job, &p.book);

        if (rc == 0) {
            purse_taken(home, &thing);
        } else {
            (void)!purse_failed(home, c, &thing, e);
        }
        buf_free(&p.grant);
    }
    rec_free(req);
    rec_free(resp);
    return rc;
}

int
purse_decline(const struct home *home, struct counter *c, struct session *s,
              const char *job, const struct buf *grant, struct err *e)
{
    struct rec *req = msg_request_new(VERB_LEASE_DECLINE);
    struct rec *word = NULL;
    const char *text;
    size_t len;
    int rc;

    rec_add_bytes(req, "grant", grant->data, grant->len);
    rc = session_call(s, req, ASK_NS, &word, e);
    rec_free(req);
    if (rc != 0) {
        return -1;
    }
    text = rec_get_bytes(word, "declined", &len);
    if (text == NULL) {
        rec_free(word);
        return err_set(e, ERR_CORRUPT, "%s", _("the host does not say what it declines"));
    }
    rc = bring_declined(home, c, job, text, len, e);
    if (rc == 0) {
        purse_pending_drop(home, job);
    }
    rec_free(word);
    return rc;
}

static int
deliver(struct client *cl, struct counter *c, const struct pending *p, struct err *e)
{
    struct refusal thing = purse_thing(REFUSAL_RECEIPT, p->lease, p->job, &p->book);
    char *path = home_path(cl->home, "receipts", p->job);
    struct buf data = BUF_INIT;
    int rc = file_read(path, (size_t)1 << 30, &data, e);

    if (rc == 0 && send_receipt(c, p->lease, &data, e) == 0) {
        purse_pending_drop(cl->home, p->job);
        purse_taken(cl->home, &thing);
    } else if (rc == 0) {
        rc = purse_failed(cl->home, c, &thing, e);
    }
    buf_free(&data);
    free(path);
    return rc;
}

/* The receipt or, without one, the host's word that there will be none. */
static bool
is_refused(const struct home *home, const struct pending *p, bool has_receipt)
{
    struct refusal thing = purse_thing(has_receipt ? REFUSAL_RECEIPT : REFUSAL_DECLINE,
                                       p->lease, p->job, &p->book);

    return purse_is_refused(home, &thing);
}

int
purse_deliver(struct client *cl, const char *job, struct err *e)
{
    struct counter *c = NULL;
    struct pending p;
    int rc = 0;

    if (!purse_pending_has(cl->home, job)) {
        return 0;
    }
    rc = load_pending(cl->home, job, &p, e);
    if (rc == 0 && !is_refused(cl->home, &p, true)) {
        rc = purse_open_book(cl, &p.book, &c, e) == 0 ? deliver(cl, c, &p, e) : -1;
    }
    counter_close(c);
    buf_free(&p.grant);
    return rc;
}

/*
 * Was the run killed before its host was asked? Not while one is just there, and not
 * across a boot, where the record may be older than what was done. A job whose record is
 * gone was taken back, and only the host's word is missing.
 */
static bool
was_never_sent(const struct home *home, const char *job)
{
    char *path = home_path(home, PURSE_PENDING_DIR, "runs.lock");
    char boot[BOOT_ID_LEN + 1];
    struct job_record r;
    struct err none;
    bool never = false;
    int lock = -1;

    job_record_init(&r);
    clock_boot_id(boot);
    if (file_lock(path, true, false, &lock, &none) == 0) {
        never = jobs_load(home, job, &r, &none) != 0 || strcmp(r.unsent, boot) == 0;
    }
    (void)fd_close(&lock);
    job_record_free(&r);
    free(path);
    return never;
}

/* The host that the grant is for, among those known. */
static int
open_host(struct client *cl, const struct pending *p, struct session **out, struct err *e)
{
    struct grant g;
    int rc;

    grant_init(&g);
    rc = grant_parse(&g, p->grant.data, p->grant.len, e) == 0
             ? session_open_by_key(out, cl, &g.host, 0, e)
             : -1;
    grant_clear(&g);
    return rc;
}

static int
give_back(struct client *cl, struct counter *c, const struct pending *p, bool *waits,
          struct err *e)
{
    struct session *s = NULL;
    int rc = open_host(cl, p, &s, e);

    if (rc == 0) {
        rc = purse_decline(cl->home, c, s, p->job, &p->grant, e);
        if (rc == 0) {
            jobs_forget(cl->home, p->job);
            *waits = false;
        } else if (is_refused(cl->home, p, false)) {
            *waits = false;
            rc = 0;
        } else if (e->code == ERR_EXISTS) {
            rc = 0; /* it did begin: its receipt comes some day */
        }
    }
    session_close(s);
    return rc;
}

/* Of the own book: any grant of the lease names it, and the host's refusal of it is all
 * that is wanted. */
static int
decline_own(struct client *cl, struct session *s, const char *job, const char *lease,
            struct err *e)
{
    const struct offer *o = session_offer(s);
    const struct sign_key *key;
    struct rec *req = msg_request_new(VERB_LEASE_DECLINE);
    struct rec *resp = NULL;
    struct grant g;
    int rc = -1;

    grant_init(&g);
    if (home_key(cl->home, &key, e) != 0) {
        goto out;
    }
    if (o == NULL || o->n_prices == 0) {
        err_set(e, ERR_NOT_FOUND, "%s", _("the host makes no offer"));
        goto out;
    }
    (void)snprintf(g.lease, sizeof g.lease, "%s", lease);
    (void)snprintf(g.job, sizeof g.job, "%s", job);
    sign_key_public(key, &g.renter);
    g.made_wall_ns = clock_wall_ns();
    g.until_wall_ns = g.made_wall_ns;
    if (grant_set_offer(&g, o, o->prices[0].class_name, o->prices[0].type, 1, e) == 0 &&
        grant_sign(&g, key, e) == 0) {
        rec_add_bytes(req, "grant", g.bytes.data, g.bytes.len);
        rc = session_call(s, req, ASK_NS, &resp, e) == 0
                 ? wallet_release(cl->home, lease, e)
                 : -1;
    }

out:
    grant_clear(&g);
    rec_free(req);
    rec_free(resp);
    return rc;
}

static int
holds_own(const struct home *home, const char *lease, struct err *e)
{
    struct ledger_lease h = {.state = LEDGER_HOLD_NONE};
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL) {
        rc = ledger_lease(l, lease, &h, e);
    }
    ledger_close(l);
    if (rc == 0 && h.state != LEDGER_HOLD_OPEN) {
        rc = err_set(e, ERR_NOT_FOUND, "nothing is held for lease %s", lease);
    }
    return rc;
}

int
purse_unheard(struct client *cl, struct session *s, const char *job, const char *lease,
              struct err *e)
{
    struct counter *c = NULL;
    struct pending p;
    int rc;

    if (!purse_pending_has(cl->home, job)) {
        return holds_own(cl->home, lease, e) == 0 ? decline_own(cl, s, job, lease, e)
                                                  : -1;
    }
    if (load_pending(cl->home, job, &p, e) != 0) {
        return -1;
    }
    rc = purse_open_book(cl, &p.book, &c, e);
    if (rc == 0) {
        rc = purse_decline(cl->home, c, s, job, &p.grant, e);
    }
    counter_close(c);
    buf_free(&p.grant);
    return rc;
}

static int
sync_one(struct client *cl, const char *job, bool *waits, struct err *e)
{
    struct counter *c = NULL;
    struct pending p;
    bool has_receipt = receipts_kept(cl->home, job);
    int rc = 0;

    *waits = true;
    if (!has_receipt && !was_never_sent(cl->home, job)) {
        return 0;
    }
    if (load_pending(cl->home, job, &p, e) != 0) {
        return -1;
    }
    if (is_refused(cl->home, &p, has_receipt)) {
        *waits = false;
        buf_free(&p.grant);
        return 0;
    }
    rc = purse_open_book(cl, &p.book, &c, e);
    if (rc == 0 && has_receipt) {
        rc = deliver(cl, c, &p, e);
        *waits = rc != 0;
    } else if (rc == 0) {
        rc = give_back(cl, c, &p, waits, e);
    }
    counter_close(c);
    buf_free(&p.grant);
    return rc;
}

static int
add_job(void *ctx, int dir_fd, const char *name, struct err *e)
{
    (void)dir_fd;
    (void)e;
    if (id_is(ID_JOB, name)) {
        strings_add(ctx, name);
    }
    return 0;
}

int
purse_sync(struct client *cl, size_t *n_waiting, struct err *e)
{
    struct strings jobs = {NULL, 0};
    size_t n = 0;
    int rc = home_each_name(cl->home, PURSE_PENDING_DIR, add_job, &jobs, e);

    for (size_t i = 0; i < jobs.n; i++) {
        bool waits = false;
        struct err why;

        if (sync_one(cl, jobs.v[i], &waits, &why) != 0 && rc == 0) {
            *e = why;
            rc = err_wrap(e, _("job %s"), jobs.v[i]);
        }
        n += waits ? 1 : 0;
    }
    strings_free(&jobs);
    if (n_waiting != NULL) {
        *n_waiting = n;
    }
    return rc;
}
