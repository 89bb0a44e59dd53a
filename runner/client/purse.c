#include "runner/client/purse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/client/purse_internal.h"
#include "runner/client/wallet.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define BOOK_USE_TYPE "gpurun.bookuse.v1"

/* ---- which book ---- */

static int
load_use(const struct home *home, bool *used, struct sign_public *key, struct err *e)
{
    char *path = home_path(home, "book", NULL);
    struct rec *r = NULL;
    int rc = 0;

    *used = file_exists(path);
    if (*used) {
        rc = rec_load(&r, path, BOOK_USE_TYPE, e) == 0
                 ? rec_need_hex(r, "key", key->b, sizeof key->b, e)
                 : -1;
    }
    rec_free(r);
    free(path);
    return rc;
}

static int
load_book(const struct home *home, const struct sign_public *key, struct host *out,
          struct err *e)
{
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    char *path;
    int rc;

    sign_public_format(key, hex);
    path = home_path(home, "books", hex);
    rc = hosts_load_file(path, out, e);
    free(path);
    return rc;
}

int
purse_open_book(struct client *cl, const struct sign_public *key, struct counter **out,
                struct err *e)
{
    struct host h;
    int rc;

    if (load_book(cl->home, key, &h, e) != 0) {
        return -1;
    }
    rc = counter_open(out, cl, &h, NULL, e);
    host_free(&h);
    return rc;
}

int
purse_in_use(const struct home *home, bool *used, struct host *out, struct err *e)
{
    struct sign_public key;

    if (load_use(home, used, &key, e) != 0) {
        return -1;
    }
    return *used ? load_book(home, &key, out, e) : 0;
}

static int
save_use(const struct home *home, const struct host *h, struct err *e)
{
    struct rec *r = rec_new(BOOK_USE_TYPE);
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    char *use = home_path(home, "book", NULL);
    char *path = NULL;
    int rc = -1;

    sign_public_format(&h->key, hex);
    rec_add_hex(r, "key", h->key.b, sizeof h->key.b);
    if (home_make(home, "books", hex, &path, e) == 0 &&
        hosts_save_file(path, h, e) == 0) {
        rc = rec_save(r, use, e);
    }
    rec_free(r);
    free(path);
    free(use);
    return rc;
}

int
purse_use(struct client *cl, struct host *h, const char *host_key, struct err *e)
{
    struct counter *c = NULL;
    int rc = -1;

    if (counter_open(&c, cl, h, host_key, e) == 0 && counter_wait(c, e) == 0) {
        h->pinned = true;
        h->key = *counter_key(c);
        rc = save_use(cl->home, h, e);
    }
    counter_close(c);
    return rc;
}

int
purse_use_own(const struct home *home, struct err *e)
{
    char *path = home_path(home, "book", NULL);
    int rc = unlink(path) == 0 || errno == ENOENT
                 ? 0
                 : err_set_sys(e, errno, "cannot remove '%s'", path);

    free(path);
    return rc;
}

/* ---- life ---- */

struct purse {
    struct client *client;
    struct counter *counter; /* NULL: the own book */
    struct sign_public book;
};

int
purse_open(struct purse **out, struct client *cl, struct err *e)
{
    struct purse *p = xcalloc(1, sizeof *p);
    struct host h;
    bool used = false;
    int rc;

    p->client = cl;
    rc = purse_in_use(cl->home, &used, &h, e);
    if (rc == 0 && used) {
        p->book = h.key;
        rc = counter_open(&p->counter, cl, &h, NULL, e);
        host_free(&h);
    }
    if (rc != 0) {
        free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void
purse_close(struct purse *p)
{
    if (p != NULL) {
        counter_close(p->counter);
        free(p);
    }
}

const struct sign_public *
purse_book(const struct purse *p)
{
    return p->counter != NULL ? &p->book : NULL;
}

struct counter *
purse_counter(struct purse *p)
{
    return p->counter;
}

/* ---- money ---- */

int
purse_free_fen(struct purse *p, bool *bounded, int64_t *free_fen, struct err *e)
{
    struct rec *req;
    struct rec *resp = NULL;
    int rc;

    if (p->counter == NULL) {
        return wallet_free(p->client->home, bounded, free_fen, e);
    }
    /* What it waits for first: that may be what is missing. */
    (void)!purse_sync(p->client, NULL, e);
    req = msg_request_new(VERB_BOOK_FUNDS);
    rc = counter_call(p->counter, req, &resp, e);
    rec_free(req);
    if (rc == 0) {
        *bounded = true;
        rc = rec_need_int(resp, rec_has(resp, "reach") ? "reach" : "free", 0, INT64_MAX,
                          free_fen, e);
    }
    rec_free(resp);
    return rc;
}

static bool
takes_book(const struct offer *o, const struct sign_public *book)
{
    for (size_t i = 0; i < o->n_books; i++) {
        if (memcmp(o->books[i].b, book->b, sizeof book->b) == 0) {
            return true;
        }
    }
    return false;
}

/* What costs nothing needs no book, unless the owner takes nobody else's word. */
static bool
by_book(const struct purse *p, const struct grant *g, const struct offer *o)
{
    return p->counter != NULL && (g->cap_fen > 0 || !o->own_book);
}

int
purse_sign(struct purse *p, struct grant *g, const struct offer *o, struct err *e)
{
    const struct sign_key *key;

    if (home_key(p->client->home, &key, e) != 0) {
        return -1;
    }
    if (p->counter != NULL && by_book(p, g, o) && !takes_book(o, &p->book)) {
        return err_set(e, ERR_DENIED, "%s",
                       _("the owner of that host does not take grants of the book in use "
                         "(`gpurun wallet use` names another)"));
    }
    if (!by_book(p, g, o) && !o->own_book) {
        return err_set(e, ERR_DENIED, "%s",
                       _("the owner of that host takes only grants of an operator's book "
                         "(`gpurun wallet use [USER@]HOST`)"));
    }
    return grant_sign(g, key, e);
}

int
purse_begin(struct purse *p, int *guard, struct err *e)
{
    return p->counter == NULL ? wallet_begin(p->client->home, guard, e)
                              : purse_pending_begin(p->client->home, guard, e);
}

/* What comes back is what was asked for, but for who signed. */
static int
take_granted(struct purse *p, struct grant *g, const struct rec *resp, struct err *e)
{
    struct grant signed_g;
    struct sha256 asked;
    struct sha256 got;
    size_t len;
    const char *bytes = rec_get_bytes(resp, "grant", &len);

    grant_init(&signed_g);
    if (bytes == NULL || grant_parse(&signed_g, bytes, len, e) != 0) {
        return err_set(e, ERR_CORRUPT, "%s", _("the book has sent no grant"));
    }
    grant_terms(g, &asked);
    grant_terms(&signed_g, &got);
    if (memcmp(signed_g.book.b, p->book.b, sizeof p->book.b) != 0 ||
        !sha256_equal(&asked, &got) || signed_g.seq != g->seq ||
        signed_g.cap_fen != g->cap_fen || signed_g.max_s != g->max_s) {
        grant_clear(&signed_g);
        return err_set(e, ERR_CORRUPT, "%s",
                       _("the book has signed another grant than it was asked for"));
    }
    grant_clear(g);
    *g = signed_g;
    return 0;
}

int
purse_hold(struct purse *p, struct grant *g, const struct offer *o, struct err *e)
{
    struct rec *req;
    struct rec *resp = NULL;
    int rc;

    if (!by_book(p, g, o)) {
        return wallet_hold(p->client->home, g, e);
    }
    if (g->seq == 1 && purse_pending_add(p->client->home, g, &p->book, e) != 0) {
        return -1;
    }
    req = msg_request_new(VERB_BOOK_GRANT);
    rec_add_bytes(req, "draft", g->bytes.data, g->bytes.len);
    rec_add_bytes(req, "offer", o->bytes.data, o->bytes.len);
    rc = counter_call(p->counter, req, &resp, e);
    rec_free(req);
    if (rc == 0) {
        rc = take_granted(p, g, resp, e);
    } else if (e->code != ERR_LINK && g->seq == 1) {
        purse_pending_drop(p->client->home, g->job); /* it said no: nothing is held */
    }
    rec_free(resp);
    return rc;
}

int
purse_release(struct purse *p, struct session *s, const struct grant *g, struct err *e)
{
    if (p->counter == NULL) {
        return wallet_release(p->client->home, g->lease, e);
    }
    if (!purse_pending_has(p->client->home, g->job) || s == NULL) {
        return 0;
    }
    return purse_decline(p->client->home, p->counter, s, g->job, &g->bytes, e);
}
