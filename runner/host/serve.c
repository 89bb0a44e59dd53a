#include "runner/host/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "runner/host/facts.h"
#include "runner/host/notices.h"
#include "runner/host/park.h"
#include "runner/host/serve_internal.h"
#include "runner/host/upkeep.h"
#include "runner/job/verbs.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"
#include "runner/wire/relay.h"

#define FINISH_NS ((int64_t)2000000000)

/* ---- small things ---- */

void
serve_fail(struct serve *s, uint64_t id, const struct err *why)
{
    if (s->mux != NULL) {
        mux_respond_error(s->mux, id, why, NULL);
    }
}

int
serve_hold(struct serve *s, struct err *e)
{
    return s->hold_fd == -1 ? park_hold(s->agent, &s->hold_fd, e) : 0;
}

int
serve_flag(const struct rec *req, const char *key, bool *out, struct err *e)
{
    int64_t v;

    if (rec_opt_int(req, key, 0, 1, 0, &v, e) != 0) {
        return -1;
    }
    *out = v == 1;
    return 0;
}

int
serve_job(const struct rec *req, const char **job, struct err *e)
{
    const char *text;

    if (rec_need_str(req, "job", &text, e) != 0 || id_check(ID_JOB, text, e) != 0) {
        return -1;
    }
    *job = text;
    return 0;
}

/* ---- waiting ---- */

static struct rec *
copy(const struct rec *r)
{
    struct buf b = BUF_INIT;
    struct rec *c = NULL;
    struct err none;

    rec_encode(r, &b);
    if (rec_parse(&c, b.data, b.len, NULL, &none) != 0) {
        c = NULL; /* cannot be: it was encoded just now */
    }
    explicit_bzero(b.data, b.len); /* it may hold secrets */
    buf_free(&b);
    return c;
}

static struct serve_wait *
wait_new(struct serve *s, struct serve_wait **list, const struct rec *r)
{
    struct serve_wait *w = xcalloc(1, sizeof *w);

    while (*list != NULL) {
        list = &(*list)->next;
    }
    w->rec = copy(r);
    *list = w;
    s->n_waits++;
    return w;
}

bool
serve_wait_request(struct serve *s, struct serve_wait **list, uint64_t id,
                   const struct rec *req)
{
    struct err e;

    if (s->n_waits >= SERVE_WAITS_MAX) {
        err_set(&e, ERR_BUSY, "too many requests wait on this connection");
        serve_fail(s, id, &e);
        return false;
    }
    wait_new(s, list, req)->id = id;
    return true;
}

bool
serve_wait_open(struct serve *s, struct serve_wait **list, const struct mux_offer *offer)
{
    struct serve_wait *w;
    struct err e;

    if (s->n_waits >= SERVE_WAITS_MAX) {
        err_set(&e, ERR_BUSY, "too many requests wait on this connection");
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return false;
    }
    w = wait_new(s, list, offer->rec);
    w->is_open = true;
    w->stream = offer->stream;
    w->cls = offer->cls;
    memcpy(w->token, offer->token, sizeof w->token);
    w->recv_start = offer->recv_start;
    w->send_start = offer->send_start;
    w->recv_gaps = offer->recv_gaps;
    return true;
}

static void
wait_one(struct serve *s, struct serve_wait *w, const struct err *why)
{
    if (s->mux != NULL && why != NULL) {
        if (w->is_open) {
            mux_refuse(s->mux, w->stream, why, NULL);
        } else if (!serve_submit_fail(s, w->id, why)) {
            mux_respond_error(s->mux, w->id, why, NULL);
        }
    } else if (s->mux != NULL && w->is_open) {
        struct mux_offer o = {.stream = w->stream,
                              .cls = w->cls,
                              .token = w->token,
                              .recv_start = w->recv_start,
                              .send_start = w->send_start,
                              .recv_gaps = w->recv_gaps,
                              .rec = w->rec};

        serve_open(s, &o);
    } else if (s->mux != NULL) {
        serve_request(s, w->id, w->rec);
    }
    rec_free(w->rec);
    free(w);
}

void
serve_wait_go(struct serve *s, struct serve_wait **list, const struct err *why)
{
    struct serve_wait *w = *list;

    *list = NULL; /* what is handed in again may wait again */
    while (w != NULL) {
        struct serve_wait *next = w->next;

        s->n_waits--;
        wait_one(s, w, why);
        w = next;
    }
}

/* ---- requests ---- */

static const struct serve_verb *
find_verb(const char *name)
{
    const struct serve_verb *tables[] = {
        serve_verbs_job, serve_verbs_snap,  serve_verbs_host,    serve_verbs_data,
        serve_verbs_top, serve_verbs_store, serve_verbs_reserve, serve_verbs_datasets};

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct serve_verb *v = tables[t]; v->name != NULL; v++) {
            if (strcmp(v->name, name) == 0) {
                return v;
            }
        }
    }
    return NULL;
}

void
serve_request(struct serve *s, uint64_t id, const struct rec *req)
{
    char name[MSG_VERB_MAX + 1];
    const struct serve_verb *v;
    struct err e;
    int version;

    if (msg_verb(req, name, &version, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    v = find_verb(name);
    if (v == NULL || version != 1) {
        err_set(&e, ERR_VERSION, "gpurun-agent %s does not know '%s.v%d'", GPURUN_VERSION,
                name, version);
        mux_respond_error(s->mux, id, &e, N_("update the agent on the host"));
        return;
    }
    v->run(s, id, req);
}

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct serve *s = ctx;

    (void)m;
    serve_request(s, id, req);
}

/* ---- channels ---- */

/* Streams of a running job go to its supervisor as they are. */
static void
relay(struct serve *s, const struct mux_offer *offer)
{
    struct serve_link *l;
    const char *job;
    struct err e;

    if (serve_job(offer->rec, &job, &e) != 0) {
        goto refuse;
    }
    l = serve_link_find(s, job);
    if (l != NULL && l->submitting) {
        (void)serve_wait_open(s, &l->waits, offer);
        return;
    }
    if (serve_link_get(s, job, &l, &e) != 0) {
        goto refuse;
    }
    if (l->conn == NULL || conn_mux(l->conn) == NULL) {
        err_set(
            &e, ERR_NOT_FOUND,
            "job %s is not running; `gpurun cp` and `gpurun logs` get at what it left",
            job);
        goto refuse;
    }
    if (relay_join(s->mux, offer->stream, conn_mux(l->conn), NULL, &e) != 0) {
        goto refuse;
    }
    return;

refuse:
    mux_refuse(s->mux, offer->stream, &e, NULL);
}

void
serve_open(struct serve *s, const struct mux_offer *offer)
{
    const char *type = rec_type(offer->rec);
    struct err e;

    if ((strcmp(type, OPEN_SHIP) == 0 || strcmp(type, OPEN_GET) == 0 ||
         strcmp(type, OPEN_FILES) == 0) &&
        serve_hold(s, &e) != 0) {
        mux_refuse(s->mux, offer->stream, &e, NULL);
    } else if (strcmp(type, OPEN_SHIP) == 0) {
        serve_ship_open(s, offer);
    } else if (strcmp(type, OPEN_OUT) == 0) {
        serve_log_open(s, offer, LOGSEG_OUT);
    } else if (strcmp(type, OPEN_ERR) == 0) {
        serve_log_open(s, offer, LOGSEG_ERR);
    } else if (strcmp(type, OPEN_TIMES) == 0) {
        serve_log_open(s, offer, LOGSEG_NONE);
    } else if (strcmp(type, OPEN_STDIN) == 0 || strcmp(type, OPEN_EXEC) == 0 ||
               strcmp(type, OPEN_EXEC_ERR) == 0 || strcmp(type, OPEN_PORT) == 0) {
        relay(s, offer);
    } else if (strcmp(type, OPEN_GET) == 0) {
        serve_get_open(s, offer);
    } else if (strcmp(type, OPEN_FILES) == 0) {
        serve_files_open(s, offer);
    } else {
        err_set(&e, ERR_VERSION, "gpurun-agent %s does not know '%s'", GPURUN_VERSION,
                type);
        mux_refuse(s->mux, offer->stream, &e, N_("update the agent on the host"));
    }
}

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct serve *s = ctx;

    (void)m;
    serve_open(s, offer);
}

/* ---- the connection ---- */

/* As whom the client is taken. The login user owns all of it; `allow` fixes one. */
static int
admit(struct serve *s, const struct hello *peer, struct err *e)
{
    char own[SIGN_ID_LEN + 1];
    const char *id = s->forced != NULL ? s->forced : peer->renter;

    if (s->forced == NULL) {
        if (!peer->has_key) {
            return err_set(e, ERR_DENIED, "the client shows no key");
        }
        sign_public_id(&peer->key, own);
        if (strcmp(own, id) != 0) {
            return err_set(e, ERR_DENIED, "the client's id is not that of its key");
        }
    }
    if (renter_open(&s->renter, s->agent, id, s->forced == NULL, e) != 0) {
        return -1;
    }
    if (s->renter->revoked || (s->forced == NULL && s->renter->confined)) {
        return err_set(e, ERR_DENIED,
                       "the owner of this host has not admitted this renter: ask "
                       "for it (`gpurun-agent allow`)");
    }
    return peer->has_key ? renter_pin_key(s->renter, &peer->key, e) : 0;
}

static void
upkeep_done(void *ctx, const struct child_end *end)
{
    struct serve *s = ctx;

    (void)end;
    child_free(s->upkeep);
    s->upkeep = NULL;
}

/* No process of ours waits on an idle host: what is due is done when somebody comes. */
static void
look_after(struct serve *s)
{
    char *argv[] = {(char *)(uintptr_t) "gpurun-agent", NULL, s->renter->id, NULL};
    struct child_options o = {
        .file = "/proc/self/exe", .argv = argv, .new_session = true};
    struct err e;

    park_ensure(s->agent);
    if (upkeep_is_due(s->renter)) {
        argv[1] = (char *)(uintptr_t) "upkeep";
    } else if (notices_are_due(s->renter)) {
        argv[1] = (char *)(uintptr_t) "notices";
    }
    if (argv[1] != NULL &&
        child_start(&s->upkeep, s->loop, &o, upkeep_done, s, &e) != 0) {
        s->upkeep = NULL; /* another time, then */
    }
}

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct serve *s = ctx;
    struct err e;

    s->mux = m;
    if (admit(s, peer, &e) != 0) {
        renter_close(s->renter);
        s->renter = NULL;
        conn_finish(s->conn, &e, NULL, FINISH_NS);
        return;
    }
    look_after(s);
}

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct serve *s = ctx;

    (void)c;
    s->mux = NULL;
    if (why != NULL) {
        s->failed = true;
        s->why = *why;
    }
    loop_stop(s->loop);
}

static int
make_hello(struct serve *s, struct hello *h, struct err *e)
{
    struct host_info info;
    struct renter *forced = NULL;
    struct buf b = BUF_INIT;
    struct rec *r;

    if (s->forced != NULL && renter_open(&forced, s->agent, s->forced, false, e) != 0) {
        return -1;
    }
    if (facts_fill(&info, s->agent, forced, false, e) != 0) {
        renter_close(forced);
        return -1;
    }
    renter_close(forced);
    hello_init(h, HELLO_ROLE_SERVE, GPURUN_VERSION);
    h->has_key = true;
    h->key = s->agent->pub;
    r = hostinfo_encode(&info);
    rec_encode(r, &b);
    h->extra = rec_new(HELLO_TYPE);
    rec_add_bytes(h->extra, "host", b.data, b.len);
    rec_free(r);
    buf_free(&b);
    hostinfo_free(&info);
    return 0;
}

static int
connect_client(struct serve *s, struct err *e)
{
    static const struct mux_events events = {
        .on_hello = on_hello, .on_request = on_request, .on_open = on_open};
    struct hello h;
    struct conn_options o = {.mux = {.hello = &h, .events = &events, .ctx = s},
                             .on_closed = on_closed,
                             .ctx = s};
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool unfit = false;
    struct err why;
    int rc;

    /* Nothing else may speak on the wire, not even by mistake. */
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)close(null);
    if (make_hello(s, &h, &why) != 0) {
        hello_init(&h, HELLO_ROLE_SERVE,
                   GPURUN_VERSION); /* to say why, where it is read */
        unfit = true;
    }
    rc = conn_new(&s->conn, s->loop, in, out, &o, e);
    hello_clear(&h);
    if (rc == 0) {
        s->mux = conn_mux(s->conn);
    }
    if (rc == 0 && unfit) {
        conn_finish(s->conn, &why, NULL, FINISH_NS);
    }
    return rc;
}

int
serve_main(const char *renter_id)
{
    struct serve s = {.forced = renter_id, .hold_fd = -1};
    struct err e;
    int status = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    if (agent_open(&s.agent, &e) != 0 || loop_new(&s.loop, &e) != 0 ||
        connect_client(&s, &e) != 0) {
        (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
        goto out;
    }
    loop_run(s.loop);
    serve_ships_stop(&s);
    serve_data_finish(&s);
    status = s.failed ? 1 : 0;

out:
    conn_free(s.conn);
    s.mux = NULL;
    child_free(s.upkeep);
    serve_gets_free(&s);
    serve_files_free(&s);
    serve_logs_free(&s);
    serve_ships_free(&s);
    serve_links_free(&s);
    park_release(&s.hold_fd);
    renter_close(s.renter);
    loop_free(s.loop);
    agent_close(s.agent);
    return status;
}
