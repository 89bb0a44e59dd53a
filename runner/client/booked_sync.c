#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "meter/ledger.h"
#include "runner/client/booked_internal.h"
#include "runner/client/counter.h"
#include "runner/client/purse_internal.h"
#include "runner/client/wallet.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define ASK_NS ((int64_t)60 * 1000000000)

/* ---- books ---- */

static int
post_own(const struct home *home, const struct reservation *r, struct err *e)
{
    struct ledger *l = NULL;
    int rc = wallet_open(&l, home, false, e);

    if (rc == 0 && l != NULL) {
        rc = ledger_reservation(l, r, 0, clock_wall_ns(), e);
    }
    ledger_close(l);
    return rc;
}

static int
tell_book(struct client *cl, const struct sign_public *book, const struct reservation *r,
          struct err *e)
{
    struct refusal thing = purse_thing(REFUSAL_RESERVATION, r->id, "", book);
    struct rec *req;
    struct counter *c = NULL;
    struct rec *resp = NULL;
    int rc = -1;

    sha256_format(&r->head, thing.state); /* it goes on */
    if (purse_is_refused(cl->home, &thing)) {
        return 0;
    }
    req = msg_request_new(VERB_BOOK_RESERVED);
    rec_add_bytes(req, "reservation", r->bytes.data, r->bytes.len);
    if (purse_open_book(cl, book, &c, e) == 0) {
        rc = counter_call(c, req, &resp, e);
        if (rc == 0) {
            purse_taken(cl->home, &thing);
        } else {
            rc = purse_failed(cl->home, c, &thing, e);
        }
    }
    counter_close(c);
    rec_free(req);
    rec_free(resp);
    return rc;
}

static bool
told_before(const struct reservation *r, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (memcmp(r->payments[k].book.b, r->payments[i].book.b,
                   sizeof r->payments[i].book.b) == 0) {
            return true;
        }
    }
    return false;
}

int
booked_tell(struct client *cl, const struct reservation *r, struct err *e)
{
    if (post_own(cl->home, r, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < r->n_payments; i++) {
        const struct sign_public *book = &r->payments[i].book;

        if (memcmp(book->b, r->renter.b, sizeof book->b) != 0 && !told_before(r, i) &&
            tell_book(cl, book, r, e) != 0) {
            return -1;
        }
    }
    purse_pending_drop(cl->home, r->id);
    booked_drop(cl->home, r->id, BOOKED_TELL);
    return 0;
}

/* ---- as the host has it ---- */

static int
parse_shown(struct client *cl, struct session *s, const char *id, const struct rec *resp,
            struct reservation **out, struct err *e)
{
    struct reservation *r = NULL;
    const struct sign_key *key;
    struct sign_public own;
    size_t len = 0;
    const char *bytes = rec_get_bytes(resp, "reservation", &len);

    if (bytes == NULL) {
        return err_set(e, ERR_CORRUPT, "%s", _("the host has sent no reservation"));
    }
    if (home_key(cl->home, &key, e) != 0) {
        return -1;
    }
    sign_key_public(key, &own);
    if (reservation_parse(&r, bytes, len, &session_info(s)->key, &own, e) != 0) {
        return -1;
    }
    if (strcmp(r->id, id) != 0) {
        reservation_free(r);
        return err_set(e, ERR_CORRUPT, "%s", _("the host has sent no reservation"));
    }
    *out = r;
    return 0;
}

static bool
is_kept(const struct home *home, const struct reservation *r)
{
    struct reservation *was = NULL;
    struct err none;
    bool same =
        booked_load(home, r->id, &was, &none) == 0 && sha256_equal(&was->head, &r->head);

    reservation_free(was);
    return same;
}

/* A book that cannot be told now is told by the next booked_sync. */
static int
keep_news(struct client *cl, const struct reservation *r, struct err *e)
{
    struct err why;

    if (is_kept(cl->home, r)) {
        return 0;
    }
    if (booked_keep(cl->home, r, e) != 0) {
        return -1;
    }
    if (!booked_is_left(cl->home, r->id)) {
        (void)!booked_tell(cl, r, &why);
    }
    return 0;
}

int
booked_fetch(struct client *cl, struct session *s, const char *id,
             struct reservation **out, struct err *e)
{
    struct rec *req = msg_request_new(VERB_RESERVE_SHOW);
    struct rec *resp = NULL;
    struct reservation *r = NULL;
    int rc;

    rec_add(req, "id", id);
    rc = session_call(s, req, ASK_NS, &resp, e) == 0 ? parse_shown(cl, s, id, resp, &r, e)
                                                     : -1;
    if (rc == 0) {
        rc = keep_news(cl, r, e);
    }
    if (rc == 0) {
        *out = r;
    } else {
        reservation_free(r);
    }
    rec_free(req);
    rec_free(resp);
    return rc;
}

/* The file of a chain is damaged: whichever host signed it has it, too. */
static int
regain(struct client *cl, const char *id, struct err *e)
{
    struct session_options so = {.patience_ns = 0, .host_key_ask = true};
    struct host_list hosts = {NULL, 0};
    struct reservation *r = NULL;
    struct err why;
    int rc = booked_load(cl->home, id, &r, e);

    reservation_free(r);
    if (rc == 0) {
        return 0;
    }
    if (hosts_list(cl->home, true, &hosts, &why) != 0) {
        return -1;
    }
    for (size_t i = 0; rc != 0 && i < hosts.n; i++) {
        struct session *s = NULL;

        r = NULL;
        if (hosts.v[i].pinned && session_open(&s, cl, &hosts.v[i], &so, &why) == 0 &&
            session_wait_up(s, &why) == 0) {
            rc = booked_fetch(cl, s, id, &r, &why);
        }
        reservation_free(r);
        session_close(s);
    }
    host_list_free(&hosts);
    return rc;
}

/* ---- orders nobody has heard of ---- */

struct left {
    struct order order;
    struct grant grant;
    bool has_grant;
};

static int
load_left(const struct home *home, const char *id, struct left *l, struct err *e)
{
    char *name = xasprintf("%s" BOOKED_ORDER, id);
    char *path = home_path(home, BOOKED_DIR, name);
    struct rec *r = NULL;
    const char *order = NULL;
    const char *grant = NULL;
    size_t order_len = 0;
    size_t grant_len = 0;
    int rc = rec_load(&r, path, BOOKED_ORDER_TYPE, e);

    if (rc == 0) {
        order = rec_get_bytes(r, "order", &order_len);
        grant = rec_get_bytes(r, "grant", &grant_len);
        l->has_grant = grant != NULL;
        rc = order != NULL ? order_parse(&l->order, order, order_len, e)
                           : err_set(e, ERR_CORRUPT, "%s: no order", path);
    }
    if (rc == 0 && grant != NULL) {
        rc = grant_parse(&l->grant, grant, grant_len, e);
    }
    rec_free(r);
    free(name);
    free(path);
    return rc;
}

/* The host is asked to sign that it will never carry it out; then the money is free. */
static int
free_money(struct client *cl, struct session *s, const struct left *l, struct err *e)
{
    struct counter *c = NULL;
    struct rec *req;
    struct rec *resp = NULL;
    int rc;

    if (purse_pending_has(cl->home, l->grant.job)) {
        struct sign_public book;

        rc = purse_pending_book(cl->home, l->grant.job, &book, e) == 0 &&
                     purse_open_book(cl, &book, &c, e) == 0
                 ? purse_decline(cl->home, c, s, l->grant.job, &l->grant.bytes, e)
                 : -1;
        counter_close(c);
        return rc;
    }
    req = msg_request_new(VERB_LEASE_DECLINE);
    rec_add_bytes(req, "grant", l->grant.bytes.data, l->grant.bytes.len);
    rc = session_call(s, req, ASK_NS, &resp, e);
    if (rc == 0) {
        rc = wallet_release(cl->home, l->grant.lease, e);
    }
    rec_free(req);
    rec_free(resp);
    return rc;
}

/* *out: as it is now that the order was carried out; NULL: it never will be. */
static int
ask_host(struct client *cl, struct session *s, const char *id, const struct left *l,
         struct reservation **out, struct err *e)
{
    struct rec *req = msg_request_new(VERB_RESERVE_SHOW);
    struct rec *resp = NULL;
    int rc;

    *out = NULL;
    rec_add(req, "id", id);
    rc = session_call(s, req, ASK_NS, &resp, e);
    if (rc == 0) {
        rc = booked_take(cl->home, &l->order, resp, out, e);
    }
    if (rc != 0 && e->code == ERR_NOT_FOUND) {
        rc = l->has_grant ? free_money(cl, s, l, e) : 0;
        if (rc == 0) {
            booked_drop(cl->home, id, BOOKED_ORDER);
        }
    }
    rec_free(req);
    rec_free(resp);
    return rc;
}

int
booked_settle(struct client *cl, struct session *s, const char *id,
              struct reservation **out, struct err *e)
{
    struct left l = {.has_grant = false};
    int rc;

    *out = NULL;
    order_init(&l.order);
    grant_init(&l.grant);
    rc = load_left(cl->home, id, &l, e) == 0 ? ask_host(cl, s, id, &l, out, e) : -1;
    order_clear(&l.order);
    grant_clear(&l.grant);
    return rc;
}

static int
find_out(struct client *cl, const char *id, struct err *e)
{
    struct session *s = NULL;
    struct left l = {.has_grant = false};
    struct reservation *r = NULL;
    int rc = -1;

    order_init(&l.order);
    grant_init(&l.grant);
    if (load_left(cl->home, id, &l, e) == 0 &&
        session_open_by_key(&s, cl, &l.order.host, 0, e) == 0) {
        rc = ask_host(cl, s, id, &l, &r, e);
        reservation_free(r);
        session_close(s);
    }
    order_clear(&l.order);
    grant_clear(&l.grant);
    return rc;
}

static int
tell_again(struct client *cl, const char *id, struct err *e)
{
    struct reservation *r = NULL;
    int rc;

    /* What is known of its money is needed until the order has come to its end. */
    if (booked_is_left(cl->home, id)) {
        return err_set(e, ERR_BUSY, "%s", _("an order for it is not settled yet"));
    }
    rc = booked_load(cl->home, id, &r, e) == 0 ? booked_tell(cl, r, e) : -1;
    reservation_free(r);
    return rc;
}

int
booked_sync(struct client *cl, size_t *n_waiting, struct err *e)
{
    static const struct {
        const char *suffix;
        int (*end)(struct client *cl, const char *id, struct err *e);
    } steps[] = {{"", regain}, {BOOKED_ORDER, find_out}, {BOOKED_TELL, tell_again}};
    int rc = 0;

    *n_waiting = 0;
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        struct strings names = {NULL, 0};
        struct err why;

        if (booked_names(cl->home, steps[k].suffix, &names, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < names.n; i++) {
            if (steps[k].end(cl, names.v[i], &why) != 0) {
                ++*n_waiting;
                if (rc == 0) {
                    *e = why;
                    rc = k == 0 ? -1 : err_wrap(e, _("reservation %s"), names.v[i]);
                }
            }
        }
        strings_free(&names);
    }
    return rc;
}
