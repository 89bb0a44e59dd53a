#include "runner/client/keepings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/client/purse_internal.h"
#include "runner/client/receipts.h"
#include "runner/client/wallet.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define ASK_NS ((int64_t)60 * 1000000000)

int
keepings_load(const struct home *home, const struct receipt *r, bool *there,
              struct keeping *out, struct err *e)
{
    char *path = home_path(home, "keepings", r->job);
    struct buf b = BUF_INIT;
    int rc = 0;

    keeping_init(out);
    *there = file_exists(path);
    if (*there) {
        rc = file_read(path, KEEPING_MAX_BYTES, &b, e) == 0 &&
                     keeping_parse(out, b.data, b.len, &r->host, e) == 0
                 ? keeping_check(out, r, e)
                 : -1;
        if (rc != 0) {
            (void)err_wrap(e, "%s", path);
            keeping_clear(out);
        }
    }
    buf_free(&b);
    free(path);
    return rc;
}

/* Posted out of what is held; or, where it was posted to its end before the line came (it
 * came late, or the clock here was ahead), what that was too much comes back. */
static int
post_line(struct ledger *l, const struct receipt *r, const struct keeping *k,
          struct err *e)
{
    struct ledger_lease h;
    char id[sizeof "keeping:" + GRANT_ID_MAX];
    int64_t over_fen;

    if (ledger_lease(l, k->lease, &h, e) != 0) {
        return -1;
    }
    if (h.state == LEDGER_HOLD_KEEPING) {
        return ledger_keeping(l, k->lease, k->charge_fen, clock_wall_ns(), e);
    }
    over_fen = h.charge_fen - r->charge_fen - k->charge_fen;
    if (h.state != LEDGER_HOLD_DONE || over_fen <= 0) {
        return 0;
    }
    (void)snprintf(id, sizeof id, "keeping:%s", k->lease);
    return ledger_correct(l, id, k->lease, over_fen, clock_wall_ns(), e);
}

static int
post_own(const struct home *home, const struct receipt *r, const struct keeping *k,
         struct err *e)
{
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL) {
        rc = post_line(l, r, k, e);
    }
    ledger_close(l);
    return rc;
}

static int
post_operators(struct client *cl, const struct receipt *r, const struct keeping *k,
               struct err *e)
{
    struct counter *c = NULL;
    struct rec *req = NULL;
    struct rec *resp = NULL;
    int rc = purse_open_book(cl, &r->grant.book, &c, e);

    if (rc == 0) {
        req = msg_request_new(VERB_BOOK_KEEPING);
        rec_add_bytes(req, "keeping", k->bytes.data, k->bytes.len);
        rc = counter_call(c, req, &resp, e);
    }
    rec_free(req);
    rec_free(resp);
    counter_close(c);
    return rc;
}

static int
keep_and_post(struct client *cl, const struct receipt *r, const struct keeping *k,
              struct err *e)
{
    bool own = memcmp(r->grant.book.b, r->grant.renter.b, sizeof r->grant.book.b) == 0;
    char *path = NULL;
    int rc = -1;

    if (home_make(cl->home, "keepings", r->job, &path, e) == 0 &&
        file_replace(path, k->bytes.data, k->bytes.len, e) == 0) {
        rc = own ? post_own(cl->home, r, k, e) : post_operators(cl, r, k, e);
    }
    free(path);
    return rc;
}

/* *line NULL: the host has none, or knows no such thing. */
static int
ask(struct session *s, const char *job, struct rec **line, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_KEEPING);
    int rc;

    *line = NULL;
    rec_add(req, "job", job);
    rc = session_call(s, req, ASK_NS, line, e);
    rec_free(req);
    if (rc != 0 && (e->code == ERR_NOT_FOUND || e->code == ERR_VERSION)) {
        *line = NULL;
        return 0;
    }
    return rc;
}

int
keepings_fetch(struct client *cl, struct session *s, const char *job, bool *there,
               struct err *e)
{
    struct receipt *r = NULL;
    struct rec *line = NULL;
    struct keeping k;
    const char *text;
    size_t len = 0;
    int rc = -1;

    *there = false;
    if (!receipts_kept(cl->home, job)) {
        return 0;
    }
    keeping_init(&k);
    if (receipts_load(cl->home, job, NULL, &r, e) != 0) {
        goto out;
    }
    /* Another host's copy of the data is nothing that is paid for here. */
    if (r->keep_hold_fen == 0 ||
        memcmp(session_info(s)->key.b, r->host.b, sizeof r->host.b) != 0) {
        rc = 0;
        goto out;
    }
    if (ask(s, job, &line, e) != 0) {
        goto out;
    }
    if (line == NULL) {
        rc = 0;
        goto out;
    }
    text = rec_get_bytes(line, "keeping", &len);
    if (text == NULL) {
        err_set(e, ERR_CORRUPT, "%s", _("the host has sent no line of keeping"));
    } else if (keeping_parse(&k, text, len, &r->host, e) == 0 &&
               keeping_check(&k, r, e) == 0) {
        *there = true;
        rc = keep_and_post(cl, r, &k, e);
    }

out:
    rec_free(line);
    keeping_clear(&k);
    receipt_free(r);
    return rc;
}
