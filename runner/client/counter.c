#include "runner/client/counter.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/lang.h"
#include "runner/client/link.h"
#include "runner/wire/hello.h"

#define TRIES 2

struct counter {
    struct client *client;
    struct host host;
    char *host_key;
    struct link *link;
    struct hello hello; /* ours */
    bool ready;
    bool was_ready;
    bool failed;
    bool answered; /* the last call was, well or not */
    struct err why;
    struct sign_public key;
    int64_t fee_bps;
};

static int
take_hello(struct counter *c, const struct hello *peer, struct err *e)
{
    if (peer->role != HELLO_ROLE_BOOK || !peer->has_key) {
        return err_set(e, ERR_DENIED, "%s", _("what answers there is not a gpurun-book"));
    }
    if (c->host.pinned && memcmp(peer->key.b, c->host.key.b, sizeof peer->key.b) != 0) {
        return err_set(e, ERR_DENIED, "%s",
                       _("the book there has another key than the one pinned by `gpurun "
                         "wallet use`"));
    }
    c->key = peer->key;
    return peer->extra != NULL
               ? rec_opt_int(peer->extra, "fee_bps", 0, 10000, 0, &c->fee_bps, e)
               : 0;
}

static void
fail(struct counter *c, const struct err *why)
{
    if (!c->failed) {
        c->failed = true;
        c->why = *why;
    }
    c->ready = false;
}

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct counter *c = ctx;
    struct err e;

    (void)m;
    if (take_hello(c, peer, &e) != 0) {
        fail(c, &e);
    } else {
        c->ready = true;
        c->was_ready = true;
    }
}

static void
on_up(void *ctx, struct link *l, struct conn *conn)
{
    (void)ctx;
    (void)l;
    (void)conn;
}

static void
on_lost(void *ctx, struct link *l, const struct failure *why)
{
    struct counter *c = ctx;
    struct err e = why->err;

    (void)l;
    if (why->cause == CAUSE_NONE) {
        err_set(&e, ERR_LINK, "%s", _("it has hung up"));
    }
    fail(c, &e);
}

static const struct mux_events mux_events = {.on_hello = on_hello};
static const struct link_callbacks link_callbacks = {.up = on_up, .lost = on_lost};

static int
open_link(struct counter *c, struct err *e)
{
    struct link_options o = {
        .transport = {.home = c->client->home,
                      .ssh_program = c->client->ssh_program,
                      .host_key = c->host_key,
                      .host_key_ask = true,
                      .ask = c->client->ask},
        .mux = {.hello = &c->hello, .events = &mux_events, .ctx = c},
        .cb = &link_callbacks,
        .ctx = c,
    };

    link_close(c->link);
    c->link = NULL;
    c->ready = false;
    c->failed = false;
    random_bytes(c->hello.nonce, sizeof c->hello.nonce);
    return link_open(&c->link, c->client->links, &c->host, &o, e);
}

int
counter_open(struct counter **out, struct client *cl, const struct host *h,
             const char *host_key, struct err *e)
{
    struct counter *c = xcalloc(1, sizeof *c);
    const struct sign_key *key;

    c->client = cl;
    c->host_key = host_key != NULL ? xstrdup(host_key) : NULL;
    host_copy(&c->host, h);
    hello_init(&c->hello, HELLO_ROLE_CLIENT, GPURUN_VERSION);
    if (home_key(cl->home, &key, e) != 0) {
        counter_close(c);
        return -1;
    }
    sign_key_public(key, &c->hello.key);
    c->hello.has_key = true;
    sign_public_id(&c->hello.key, c->hello.renter);
    if (open_link(c, e) != 0) {
        counter_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void
counter_close(struct counter *c)
{
    if (c == NULL) {
        return;
    }
    link_close(c->link);
    hello_clear(&c->hello);
    host_free(&c->host);
    free(c->host_key);
    free(c);
}

static bool
is_settled(void *ctx)
{
    const struct counter *c = ctx;

    return c->ready || c->failed;
}

static int
explain(const struct counter *c, const struct err *why, struct err *e)
{
    char *where = host_where(&c->host);

    *e = *why;
    e->code = why->code == ERR_DENIED ? ERR_DENIED : ERR_LINK;
    (void)err_wrap(e, _("the book at %s cannot be reached"), where);
    free(where);
    return -1;
}

int
counter_wait(struct counter *c, struct err *e)
{
    if (!loop_run_until(c->client->loop, is_settled, c, -1)) {
        return err_set(e, ERR_LINK, "%s", _("interrupted while connecting to the book"));
    }
    return c->ready ? 0 : explain(c, &c->why, e);
}

const struct sign_public *
counter_key(const struct counter *c)
{
    return &c->key;
}

int64_t
counter_fee_bps(const struct counter *c)
{
    return c->fee_bps;
}

struct conn *
counter_conn(const struct counter *c)
{
    struct conn *conn = c->ready && c->link != NULL ? link_conn(c->link) : NULL;

    return conn != NULL && conn_is_open(conn) ? conn : NULL;
}

bool
counter_answered(const struct counter *c)
{
    return c->answered;
}

int
counter_call(struct counter *c, const struct rec *req, struct rec **resp, struct err *e)
{
    char hint[MUX_HINT_MAX + 1] = "";
    struct err why;

    err_set(&why, ERR_LINK, "%s", _("it does not answer"));
    c->answered = false;
    for (int i = 0; i < TRIES; i++) {
        struct conn *conn;

        /* It was there, and has gone since: once more. */
        if (c->failed && c->was_ready && open_link(c, e) != 0) {
            return -1;
        }
        if (counter_wait(c, e) != 0) {
            return -1;
        }
        conn = counter_conn(c);
        if (conn != NULL &&
            call_wait(conn, req, COUNTER_ANSWER_NS, resp, hint, &why) == 0) {
            c->answered = true;
            return 0;
        }
        if (conn != NULL && why.code != ERR_LINK) {
            c->answered = true;
            (void)session_peer_error(&why, hint, e);
            return err_wrap(e, "%s", _("the book"));
        }
        fail(c, &why);
    }
    return explain(c, &why, e);
}
