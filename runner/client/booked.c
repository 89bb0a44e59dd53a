#include "runner/client/booked.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "meter/ledger.h"
#include "meter/money.h"
#include "runner/client/booked_internal.h"
#include "runner/client/purse_internal.h"
#include "runner/client/wallet.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define ASK_NS   ((int64_t)60 * 1000000000)
#define NS_PER_S ((int64_t)1000000000)
#define START_S  600 /* what is bought is bought at once */

/* ---- what is kept ---- */

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct naming {
    const char *suffix;
    struct strings *to;
};

static int
name_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    const struct naming *n = ctx;
    char id[JOB_ID_LEN + 1];

    (void)dir_fd;
    (void)e;
    (void)snprintf(id, sizeof id, "%.13s", name);
    if (strlen(name) >= JOB_ID_LEN && id_is(ID_RESERVATION, id) &&
        strcmp(name + JOB_ID_LEN, n->suffix) == 0) {
        strings_add(n->to, id);
    }
    return 0;
}

int
booked_names(const struct home *home, const char *suffix, struct strings *out,
             struct err *e)
{
    struct naming n = {.suffix = suffix, .to = out};

    if (home_each_name(home, BOOKED_DIR, name_one, &n, e) != 0) {
        strings_free(out);
        return -1;
    }
    if (out->n > 1) {
        qsort(out->v, out->n, sizeof *out->v, by_name);
    }
    return 0;
}

int
booked_load(const struct home *home, const char *id, struct reservation **out,
            struct err *e)
{
    char *path = home_path(home, BOOKED_DIR, id);
    struct reservation *r = NULL;
    struct buf b = BUF_INIT;
    int rc = -1;

    if (file_read(path, RESERVATION_MAX_BYTES, &b, e) == 0 &&
        reservation_parse(&r, b.data, b.len, NULL, NULL, e) == 0) {
        rc = strcmp(r->id, id) == 0
                 ? 0
                 : err_set(e, ERR_CORRUPT, _("its file holds another one, %s"), r->id);
    }
    if (rc == 0) {
        *out = r;
    } else {
        reservation_free(r);
        err_wrap(e, _("reservation %s"), id);
    }
    buf_free(&b);
    free(path);
    return rc;
}

int
booked_list(const struct home *home, struct booked_list *out, struct err *e)
{
    struct strings names = {NULL, 0};
    struct booked_list l = {NULL, 0, {NULL, 0}};

    if (booked_names(home, "", &names, e) != 0) {
        return -1;
    }
    l.v = xcalloc(names.n + 1, sizeof(struct reservation *));
    for (size_t i = 0; i < names.n; i++) {
        struct err why;

        if (booked_load(home, names.v[i], &l.v[l.n], &why) == 0) {
            l.n++;
        } else {
            strings_add(&l.wrong, why.msg);
        }
    }
    strings_free(&names);
    *out = l;
    return 0;
}

void
booked_free(struct booked_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        reservation_free(l->v[i]);
    }
    free(l->v);
    strings_free(&l->wrong);
    *l = (struct booked_list){NULL, 0, {NULL, 0}};
}

int
booked_check(const struct booked_list *l, struct err *e)
{
    return l->wrong.n == 0
               ? 0
               : err_set(e, ERR_CORRUPT,
                         _("%s: it cannot be read; `gpurun reserve ls` asks its "
                           "host for it again, `gpurun reserve forget ID` leaves it out "
                           "where that host is gone for ever"),
                         l->wrong.v[0]);
}

/* The one whose id begins so. */
static int
find_id(const struct home *home, const char *what, char id[JOB_ID_LEN + 1], struct err *e)
{
    struct strings names = {NULL, 0};
    size_t n = 0;
    int rc = booked_names(home, "", &names, e);

    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        if (what[0] != '\0' && strncmp(names.v[i], what, strlen(what)) == 0) {
            (void)snprintf(id, JOB_ID_LEN + 1, "%s", names.v[i]);
            n++;
        }
    }
    if (rc == 0 && n != 1) {
        rc = err_set(e, ERR_NOT_FOUND,
                     n == 0 ? _("no reservation '%s' (`gpurun reserve ls` lists them)")
                            : _("'%s' is the beginning of several reservations; `gpurun "
                                "reserve ls` lists them"),
                     what);
    }
    strings_free(&names);
    return rc;
}

int
booked_find(const struct home *home, const char *what, struct reservation **out,
            struct err *e)
{
    char id[JOB_ID_LEN + 1];

    return find_id(home, what, id, e) == 0 ? booked_load(home, id, out, e) : -1;
}

int
booked_forget(const struct home *home, const char *what, char id[JOB_ID_LEN + 1],
              struct err *e)
{
    struct reservation *r = NULL;
    char *path = NULL;
    char *aside = NULL;
    char *dir = NULL;
    struct err why;
    int rc = -1;

    if (find_id(home, what, id, e) != 0) {
        return -1;
    }
    if (booked_load(home, id, &r, &why) == 0) {
        reservation_free(r);
        return err_set(e, ERR_DENIED,
                       _("reservation %s is sound: there is nothing to forget"), id);
    }
    path = home_path(home, BOOKED_DIR, id);
    aside = xasprintf("%s.damaged", path);
    dir = home_path(home, BOOKED_DIR, NULL);
    if (rename(path, aside) != 0) {
        err_set_sys(e, errno, "'%s'", path);
    } else if (file_sync_dir(dir, e) == 0) {
        booked_drop(home, id, BOOKED_TELL);
        rc = 0;
    }
    free(path);
    free(aside);
    free(dir);
    return rc;
}

/* ---- what it costs ---- */

int
booked_quote(struct booking *b, const struct reservation *was, const struct offer *offer,
             int64_t at_s, struct err *e)
{
    struct reservation *none = was == NULL ? reservation_new() : NULL;
    struct order *o = &b->order;
    bool names = o->act == ORDER_BUY || o->act == ORDER_CHANGE;
    int rc;

    if (was != NULL) {
        memcpy(o->reservation, was->id, sizeof o->reservation);
        o->host = was->host;
        o->prev = was->head;
    } else {
        random_id("v", o->reservation);
        o->host = offer->host;
    }
    if (offer != NULL) {
        o->offer = offer->hash;
    }
    (void)snprintf(b->class_name, sizeof b->class_name, "%s",
                   names || was == NULL ? o->class_name : was->class_name);
    (void)snprintf(b->type, sizeof b->type, "%s",
                   names || was == NULL ? o->type : was->type);
    b->n_devices = names || was == NULL ? o->n_devices : (int64_t)was->n_devices;
    b->at_s = at_s;
    rc = reservation_quote(was != NULL ? was : none, o, offer, at_s, &b->fen, e);
    reservation_free(none);
    return rc;
}

/* ---- ordering ---- */

static int
make_grant(struct grant *g, struct purse *p, const struct booking *b,
           const struct offer *o, struct err *e)
{
    random_id("l", g->lease);
    (void)snprintf(g->job, sizeof g->job, "%s", b->order.reservation);
    g->renter = b->order.by;
    g->made_wall_ns = clock_wall_ns();
    g->until_wall_ns = g->made_wall_ns + START_S * NS_PER_S;
    if (grant_set_offer(g, o, b->class_name, b->type, b->n_devices, e) != 0) {
        return -1;
    }
    g->cap_fen = b->fen;
    return purse_sign(p, g, o, e);
}

/* Is there so much? An own book that was never topped up bounds nothing. */
static int
check_purse(struct purse *p, int64_t fen, struct err *e)
{
    int64_t free_fen = 0;
    bool bounded = false;
    char have[MONEY_TEXT_MAX];
    char need[MONEY_TEXT_MAX];

    if (purse_free_fen(p, &bounded, &free_fen, e) != 0) {
        return -1;
    }
    if (bounded && fen > free_fen) {
        money_format_fen(free_fen, have);
        money_format_fen(fen, need);
        return err_set(e, ERR_LIMIT,
                       purse_book(p) != NULL
                           ? _("the book has %s yuan free for you, the reservation costs "
                               "%s: its operator takes deposits")
                           : _("the wallet has %s yuan free, the reservation costs %s: "
                               "`gpurun wallet topup YUAN`"),
                       have, need);
    }
    return 0;
}

static int
save_order(const struct home *home, const struct booking *b, const struct grant *g,
           struct err *e)
{
    struct rec *r = rec_new(BOOKED_ORDER_TYPE);
    char *name = xasprintf("%s" BOOKED_ORDER, b->order.reservation);
    char *path = NULL;
    int rc = -1;

    rec_add_bytes(r, "order", b->order.bytes.data, b->order.bytes.len);
    if (g != NULL) {
        rec_add_bytes(r, "grant", g->bytes.data, g->bytes.len);
    }
    if (home_make(home, BOOKED_DIR, name, &path, e) == 0) {
        rc = rec_save(r, path, e);
    }
    rec_free(r);
    free(name);
    free(path);
    return rc;
}

/* Never older than what is kept: a host cannot take back what it signed. */
static int
check_newer(const struct home *home, const struct reservation *r, struct err *e)
{
    struct reservation *was = NULL;
    struct err why;
    int rc = 0;

    if (booked_load(home, r->id, &was, &why) != 0) {
        return 0;
    }
    if (!reservation_continues(r, was)) {
        rc = err_set(e, ERR_CORRUPT,
                     _("the host has signed another history of reservation %s than the "
                       "one kept here"),
                     r->id);
    }
    reservation_free(was);
    return rc;
}

int
booked_untold(const struct home *home, const char *id, struct err *e)
{
    char *name = xasprintf("%s" BOOKED_TELL, id);
    char *path = NULL;
    int rc = home_make(home, BOOKED_DIR, name, &path, e) == 0
                 ? file_replace(path, "", 0, e)
                 : -1;

    free(path);
    free(name);
    return rc;
}

int
booked_keep(const struct home *home, const struct reservation *r, struct err *e)
{
    char *path = NULL;
    int rc = -1;

    /* Books are told of it whatever happens next. */
    if (check_newer(home, r, e) == 0 && booked_untold(home, r->id, e) == 0 &&
        home_make(home, BOOKED_DIR, r->id, &path, e) == 0) {
        rc = file_replace(path, r->bytes.data, r->bytes.len, e);
    }
    free(path);
    return rc;
}

int
booked_take(const struct home *home, const struct order *o, const struct rec *resp,
            struct reservation **out, struct err *e)
{
    struct reservation *r = NULL;
    size_t len = 0;
    const char *bytes = rec_get_bytes(resp, "reservation", &len);
    int rc = -1;

    if (bytes == NULL) {
        return err_set(e, ERR_CORRUPT, "%s", _("the host has sent no reservation"));
    }
    if (reservation_parse(&r, bytes, len, &o->host, &o->by, e) != 0 ||
        check_newer(home, r, e) != 0) {
        goto out;
    }
    if (strcmp(r->id, o->reservation) != 0 || reservation_find(r, &o->hash) == NULL) {
        err_set(e, ERR_NOT_FOUND, "%s", _("the host has not carried the order out"));
        goto out;
    }
    if (booked_keep(home, r, e) != 0) {
        goto out;
    }
    booked_drop(home, r->id, BOOKED_ORDER);
    *out = r;
    r = NULL;
    rc = 0;

out:
    reservation_free(r);
    return rc;
}

bool
booked_is_left(const struct home *home, const char *id)
{
    char *name = xasprintf("%s" BOOKED_ORDER, id);
    char *path = home_path(home, BOOKED_DIR, name);
    bool yes = file_exists(path);

    free(path);
    free(name);
    return yes;
}

void
booked_drop(const struct home *home, const char *id, const char *suffix)
{
    char *name = xasprintf("%s%s", id, suffix);
    char *path = home_path(home, BOOKED_DIR, name);

    (void)unlink(path);
    free(path);
    free(name);
}

/* Ask. The host's own no is told from a link that was lost by the code. */
static int
submit(struct client *cl, struct session *s, struct booking *b, const struct grant *g,
       struct reservation **out, struct err *e)
{
    struct rec *req = msg_request_new(VERB_RESERVE_ORDER);
    struct rec *resp = NULL;
    int rc;

    rec_add_bytes(req, "order", b->order.bytes.data, b->order.bytes.len);
    if (g != NULL) {
        rec_add_bytes(req, "grant", g->bytes.data, g->bytes.len);
    }
    if (b->job[0] != '\0') {
        rec_add(req, "job", b->job);
    }
    b->sent = true;
    rc = session_call(s, req, ASK_NS, &resp, e);
    if (rc == 0) {
        rc = booked_take(cl->home, &b->order, resp, out, e);
    }
    rec_free(req);
    rec_free(resp);
    return rc;
}

static int
order_paid(struct client *cl, struct purse *p, struct session *s, struct booking *b,
           struct reservation **out, struct err *e)
{
    const struct offer *o = session_offer(s);
    struct grant g;
    int rc = -1;

    grant_init(&g);
    if (check_purse(p, b->fen, e) != 0 || make_grant(&g, p, b, o, e) != 0 ||
        save_order(cl->home, b, &g, e) != 0) {
        goto out;
    }
    if (purse_hold(p, &g, o, e) != 0) {
        if (e->code != ERR_LINK) {
            booked_drop(cl->home, b->order.reservation, BOOKED_ORDER);
        }
        goto out;
    }
    if (save_order(cl->home, b, &g, e) != 0) { /* now as the book has signed it */
        goto out;
    }
    rc = submit(cl, s, b, &g, out, e);

out:
    grant_clear(&g);
    return rc;
}

int
booked_order(struct client *cl, struct purse *p, struct session *s, struct booking *b,
             struct reservation **out, struct err *e)
{
    const struct sign_key *key;
    struct err why;
    int rc = -1;

    if (booked_is_left(cl->home, b->order.reservation)) {
        return err_set(e, ERR_BUSY,
                       _("an earlier order for reservation %s is not settled yet: "
                         "`gpurun reserve ls` asks the host again"),
                       b->order.reservation);
    }
    if (home_key(cl->home, &key, e) != 0) {
        return -1;
    }
    /* Other devices are paid for from the second that was reckoned with (a host takes
     * that for the order's), so the way to book and host may take its time. */
    b->order.made_wall_ns =
        b->order.act == ORDER_CHANGE && b->fen > 0 ? b->at_s * NS_PER_S : clock_wall_ns();
    if (order_sign(&b->order, key, e) != 0) {
        return -1;
    }
    if (b->fen > 0) {
        rc = order_paid(cl, p, s, b, out, e);
    } else if (save_order(cl->home, b, NULL, e) == 0) {
        rc = submit(cl, s, b, NULL, out, e);
    }
    /* It said no, or what it said could not be kept: only the host knows which. */
    if (rc != 0 && b->sent && e->code != ERR_LINK &&
        booked_settle(cl, s, b->order.reservation, out, &why) == 0 && *out != NULL) {
        rc = 0;
    }
    /* A book that cannot be told now is told by the next booked_sync. */
    if (rc == 0) {
        (void)!booked_tell(cl, *out, &why);
    }
    return rc;
}
