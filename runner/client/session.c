#include "runner/client/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lang.h"
#include "base/sign.h"
#include "base/text.h"
#include "meter/refuse.h"
#include "runner/job/verbs.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"

#define NS_PER_MS    ((int64_t)1000000)
#define BACKOFF_MIN  (250 * NS_PER_MS)
#define BACKOFF_MAX  (15000 * NS_PER_MS)
#define STEADY_NS    (10000 * NS_PER_MS) /* up for so long: the next cut begins anew */
#define INFO_WAIT_NS (30000 * NS_PER_MS)
#define GREET_NS     (5000 * NS_PER_MS)

struct session {
    struct client *client;
    struct host host;
    struct session_options o;
    char *host_key;
    struct link *link;
    struct timer *retry;
    enum session_state state;
    bool was_up;
    unsigned attempt;
    int64_t up_since_ns;
    int64_t down_since_ns;
    struct host_info info;
    struct offer *offer;
    struct failure why;
    struct failure refusal; /* of a HELLO, until refuse_now */
    struct hello hello;     /* ours */
    struct session_guest *guests;
};

/* To the guests first: the owner may close the session. */
#define TELL(s, what, ...)                                                               \
    do {                                                                                 \
        for (struct session_guest *g_ = (s)->guests; g_ != NULL; g_ = g_->next) {        \
            if (g_->events->what != NULL) {                                              \
                g_->events->what(g_->ctx, __VA_ARGS__);                                  \
            }                                                                            \
        }                                                                                \
        if ((s)->o.events != NULL && (s)->o.events->what != NULL) {                      \
            (s)->o.events->what((s)->o.ctx, __VA_ARGS__);                                \
        }                                                                                \
    } while (0)

int64_t
session_backoff_ns(unsigned attempt)
{
    int64_t base = attempt >= 6 ? BACKOFF_MAX : BACKOFF_MIN << attempt;
    uint32_t r;

    base = base > BACKOFF_MAX ? BACKOFF_MAX : base;
    random_bytes(&r, sizeof r);
    return base - base / 4 + (int64_t)(r % 1024) * (base / 2) / 1024;
}

static void
fail(struct session *s, const struct failure *why)
{
    s->why = *why;
    s->state = SESSION_FAILED;
    TELL(s, failed, s, &s->why);
}

static bool
patient(const struct session *s, const struct failure *why)
{
    if (!s->was_up || s->o.patience_ns == 0 || !cause_may_pass(why->cause)) {
        return false;
    }
    return s->o.patience_ns < 0 || clock_boot_ns() - s->down_since_ns < s->o.patience_ns;
}

static void
link_is_lost(struct session *s, const struct failure *why)
{
    int64_t now = clock_boot_ns();
    int64_t wait;

    link_close(s->link);
    s->link = NULL;
    if (s->state == SESSION_UP) {
        s->down_since_ns = now;
        s->attempt = now - s->up_since_ns > STEADY_NS ? 0 : s->attempt;
    }
    if (!patient(s, why)) {
        fail(s, why);
        return;
    }
    wait = session_backoff_ns(s->attempt++);
    s->why = *why;
    s->state = SESSION_DOWN;
    timer_after(s->retry, wait);
    TELL(s, down, s, &s->why, wait);
}

/* ---- what the host says of itself ---- */

static int
take_offer(struct session *s, struct host_info *info, struct err *e)
{
    struct offer *offer = NULL;

    if (info->offer != NULL &&
        offer_parse(&offer, info->offer, info->offer_len, &info->key, e) != 0) {
        return err_wrap(e, _("the offer of host '%s' is not right"), s->host.name);
    }
    offer_free(s->offer);
    s->offer = offer;
    return 0;
}

static int
check_key(const struct session *s, const struct host_info *info, struct err *e)
{
    if (s->o.any_agent_key || !s->host.pinned ||
        memcmp(info->key.b, s->host.key.b, sizeof info->key.b) == 0) {
        return 0;
    }
    return err_set(
        e, ERR_DENIED,
        _("the agent on host '%s' has another key than the one pinned when the "
          "host was added: its bills could not be checked. If the owner made "
          "it anew: `gpurun host rm %s`, then `gpurun host add`"),
        s->host.name, s->host.name);
}

static int
take_info(struct session *s, const struct rec *r, struct err *e)
{
    struct host_info info;

    hostinfo_init(&info);
    if (hostinfo_parse(&info, r, e) != 0) {
        return err_wrap(e, _("what host '%s' says of itself"), s->host.name);
    }
    if (check_key(s, &info, e) != 0 || take_offer(s, &info, e) != 0) {
        hostinfo_free(&info);
        return -1;
    }
    hostinfo_free(&s->info);
    s->info = info;
    return 0;
}

static int
take_hello(struct session *s, const struct hello *peer, struct err *e)
{
    struct rec *r = NULL;
    const char *bytes;
    size_t len;
    int rc;

    bytes = peer->extra != NULL ? rec_get_bytes(peer->extra, "host", &len) : NULL;
    if (bytes == NULL || len > HOSTINFO_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, _("host '%s' does not say what it is"),
                       s->host.name);
    }
    if (rec_parse(&r, bytes, len, HOSTINFO_TYPE, e) != 0) {
        return err_wrap(e, _("what host '%s' says of itself"), s->host.name);
    }
    rc = take_info(s, r, e);
    rec_free(r);
    return rc;
}

/* ---- events of the mux and the link ---- */

/* Later, not from inside the mux's callback: it would free what is calling. */
static void
refuse_now(void *ctx)
{
    struct session *s = ctx;
    struct failure why = s->refusal;

    link_close(s->link);
    s->link = NULL;
    fail(s, &why);
}

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct session *s = ctx;
    bool first = !s->was_up;
    struct err e;

    (void)m;
    if (take_hello(s, peer, &e) != 0) {
        s->refusal = (struct failure){.cause = CAUSE_GARBAGE, .err = e};
        loop_defer(s->client->loop, refuse_now, s);
        return;
    }
    s->state = SESSION_UP;
    s->was_up = true;
    s->up_since_ns = clock_boot_ns();
    TELL(s, up, s, link_conn(s->link), first);
}

static void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct session *s = ctx;

    (void)m;
    if (s->state == SESSION_UP) {
        TELL(s, event, s, event);
    }
}

static void
on_stage(void *ctx, struct link *l, enum link_stage stage, uint64_t done_bytes,
         uint64_t total_bytes)
{
    struct session *s = ctx;

    (void)l;
    TELL(s, stage, s, stage, done_bytes, total_bytes);
}

/* What is asked depends on what the host says of itself: nothing before its HELLO. */
static void
on_link_up(void *ctx, struct link *l, struct conn *c)
{
    (void)ctx;
    (void)l;
    (void)c;
}

static void
on_lost(void *ctx, struct link *l, const struct failure *why)
{
    struct failure copy = *why;

    (void)l;
    link_is_lost(ctx, &copy);
}

static const struct mux_events mux_events = {.on_hello = on_hello, .on_event = on_event};
static const struct link_callbacks link_callbacks = {
    .stage = on_stage, .up = on_link_up, .lost = on_lost};

static int
open_link(struct session *s, struct err *e)
{
    struct link_options o = {
        .transport = {.home = s->client->home,
                      .ssh_program = s->client->ssh_program,
                      .host_key = s->host_key,
                      .host_key_ask = s->o.host_key_ask,
                      .ask = s->client->ask,
                      .connect_timeout_ms = s->o.connect_timeout_ms},
        .mux = {.hello = &s->hello, .events = &mux_events, .ctx = s},
        .cb = &link_callbacks,
        .ctx = s,
    };

    s->state = SESSION_CONNECTING;
    random_bytes(s->hello.nonce, sizeof s->hello.nonce);
    return link_open(&s->link, s->client->links, &s->host, &o, e);
}

static void
connect_again(void *ctx)
{
    struct session *s = ctx;
    struct failure why = {.cause = CAUSE_CONFIG};

    if (open_link(s, &why.err) != 0) {
        s->link = NULL;
        fail(s, &why);
    }
}

/* ---- life ---- */

static int
make_hello(struct session *s, struct err *e)
{
    const struct sign_key *key;

    if (home_key(s->client->home, &key, e) != 0) {
        return -1;
    }
    sign_key_public(key, &s->hello.key);
    s->hello.has_key = true;
    sign_public_id(&s->hello.key, s->hello.renter);
    return 0;
}

int
session_open(struct session **out, struct client *cl, const struct host *h,
             const struct session_options *o, struct err *e)
{
    struct session *s = xcalloc(1, sizeof *s);

    s->client = cl;
    s->o = *o;
    s->host_key = o->host_key != NULL ? xstrdup(o->host_key) : NULL;
    hostinfo_init(&s->info);
    host_copy(&s->host, h);
    s->retry = timer_new(cl->loop, connect_again, s);
    /*
     * The way there is opened first: with the key libcrypto makes itself ready, and the
     * HELLO is read when the host answers, by this thread.
     */
    hello_init(&s->hello, HELLO_ROLE_CLIENT, GPURUN_VERSION);
    if (open_link(s, e) != 0 || make_hello(s, e) != 0) {
        session_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

int
session_open_by_key(struct session **out, struct client *cl,
                    const struct sign_public *key, int64_t patience_ns, struct err *e)
{
    const struct session_options o = {.patience_ns = patience_ns, .host_key_ask = true};
    struct session *s = NULL;
    struct host h;
    int rc;

    *out = NULL;
    if (hosts_by_key(cl->home, key, &h, e) != 0) {
        return -1;
    }
    rc = session_open(&s, cl, &h, &o, e) == 0 ? session_wait_up(s, e) : -1;
    host_free(&h);
    if (rc != 0) {
        session_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
session_close(struct session *s)
{
    if (s == NULL) {
        return;
    }
    loop_undefer(s->client->loop, refuse_now, s);
    link_close(s->link);
    timer_free(s->retry);
    offer_free(s->offer);
    hostinfo_free(&s->info);
    hello_clear(&s->hello);
    host_free(&s->host);
    free(s->host_key);
    free(s);
}

void
session_set_events(struct session *s, const struct session_events *events, void *ctx)
{
    s->o.events = events;
    s->o.ctx = ctx;
}

void
session_add_guest(struct session *s, struct session_guest *g)
{
    g->next = s->guests;
    s->guests = g;
}

void
session_remove_guest(struct session *s, struct session_guest *g)
{
    for (struct session_guest **at = &s->guests; *at != NULL; at = &(*at)->next) {
        if (*at == g) {
            *at = g->next;
            return;
        }
    }
}

void
session_set_patience(struct session *s, int64_t patience_ns)
{
    s->o.patience_ns = patience_ns;
}

enum session_state
session_state(const struct session *s)
{
    /* The conn has ended, and the link still asks its thread why. */
    if (s->state == SESSION_UP && session_conn(s) == NULL) {
        return SESSION_DOWN;
    }
    return s->state;
}

const struct host *
session_host(const struct session *s)
{
    return &s->host;
}

const struct home *
session_home(const struct session *s)
{
    return s->client->home;
}

struct conn *
session_conn(const struct session *s)
{
    struct conn *c = s->state == SESSION_UP ? link_conn(s->link) : NULL;

    return c != NULL && conn_is_open(c) ? c : NULL;
}

const struct host_info *
session_info(const struct session *s)
{
    return &s->info;
}

const struct offer *
session_offer(const struct session *s)
{
    return s->offer;
}

const struct transport_info *
session_transport(const struct session *s)
{
    return s->link != NULL ? link_info(s->link) : NULL;
}

const struct failure *
session_why(const struct session *s)
{
    return &s->why;
}

/* ---- blocking ---- */

static bool
is_settled(void *ctx)
{
    const struct session *s = ctx;

    return session_state(s) == SESSION_UP || s->state == SESSION_FAILED;
}

int
session_wait_up(struct session *s, struct err *e)
{
    if (!loop_run_until(s->client->loop, is_settled, s, -1)) {
        return err_set(e, ERR_LINK, _("interrupted while connecting to host '%s'"),
                       s->host.name);
    }
    if (s->state == SESSION_FAILED) {
        *e = s->why.err;
        return -1;
    }
    return 0;
}

struct greeting {
    struct session *const *v;
    size_t n;
};

static bool
is_greeted(void *ctx)
{
    const struct greeting *g = ctx;

    for (size_t i = 0; i < g->n; i++) {
        struct conn *c = session_conn(g->v[i]);

        if (c != NULL && mux_rtt_ns(conn_mux(c)) < 0) {
            return false;
        }
    }
    return true;
}

void
session_greet(struct client *cl, struct session *const *v, size_t n)
{
    struct greeting g = {.v = v, .n = n};

    for (size_t i = 0; i < n; i++) {
        struct conn *c = session_conn(v[i]);

        if (c != NULL) {
            mux_ping(conn_mux(c));
        }
    }
    (void)loop_run_until(cl->loop, is_greeted, &g, GREET_NS);
}

int
session_peer_error(const struct err *why, const char *hint, struct err *e)
{
    enum refuse_code refusal = refuse_of(why);
    struct buf text = BUF_INIT;

    text_escape(&text, why->msg, refuse_words_len(why->msg));
    if (hint != NULL && hint[0] != '\0') {
        buf_add_str(&text, " (");
        text_escape(&text, hint, strlen(hint));
        buf_add_str(&text, ")");
    }
    err_set(e, why->code, "%s", buf_str(&text));
    e->sys_errno = refusal != REFUSE_NONE ? -(int)refusal : why->sys_errno;
    e->helps = why->helps;
    buf_free(&text);
    return -1;
}

int
session_call(struct session *s, const struct rec *req, int64_t timeout_ns,
             struct rec **resp, struct err *e)
{
    char hint[MUX_HINT_MAX + 1];
    struct err why;

    for (;;) {
        struct conn *c;

        if (session_wait_up(s, e) != 0) {
            return -1;
        }
        c = session_conn(s);
        hint[0] = '\0';
        if (call_wait(c, req, timeout_ns, resp, hint, &why) == 0) {
            return 0;
        }
        /* Still the same link and it is up: the host has answered, or time is over. */
        if (why.code != ERR_LINK || session_conn(s) == c) {
            session_peer_error(&why, hint, e);
            return err_wrap(e, "%s", s->host.name);
        }
    }
}

/* A request whose answer is a host record. */
static int
ask_info(struct session *s, struct rec *req, struct err *e)
{
    struct rec *resp = NULL;
    int rc = session_call(s, req, INFO_WAIT_NS, &resp, e);

    if (rc == 0) {
        rc = take_info(s, resp, e);
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

int
session_refresh(struct session *s, struct err *e)
{
    return ask_info(s, msg_request_new(VERB_HOST_INFO), e);
}

int
session_park(struct session *s, const char *command, int64_t after_s, struct err *e)
{
    struct rec *req = msg_request_new(VERB_HOST_PARK);

    if (command != NULL) {
        rec_add(req, "command", command);
        rec_add_int(req, "after_s", after_s);
    } else {
        rec_add_int(req, "off", 1);
    }
    return ask_info(s, req, e);
}
