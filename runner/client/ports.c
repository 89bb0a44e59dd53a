#include "runner/client/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/client/hosts.h"
#include "runner/client/pump.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/mux.h"

#define BACKLOG       64
#define TUNNELS_MAX   256 /* at a time */
#define SAME_START_NS ((int64_t)5 * 1000000000)

struct tunnel {
    struct port_forward *forward;
    struct tunnel *next;
    int fd;
    struct channel *channel;
    struct sink *sink;
    struct source *source;
    bool over;
};

struct port_forward {
    struct client *client;
    struct session *session;
    char job[JOB_ID_LEN + 1];
    uint16_t remote;
    uint16_t local;
    int fd;
    struct watch *watch;
    struct tunnel *tunnels;
    size_t n_tunnels;
    void (*on_refused)(void *ctx, const struct err *why);
    void *refused_ctx;
};

static void
tunnel_free(struct tunnel *t)
{
    sink_free(t->sink);
    source_free(t->source);
    channel_free(t->channel);
    (void)fd_close(&t->fd);
    free(t);
}

/* Later, since a channel cannot be freed from its own callback. */
static void
sweep(void *ctx)
{
    struct port_forward *p = ctx;

    for (struct tunnel **at = &p->tunnels; *at != NULL;) {
        struct tunnel *t = *at;

        if (t->over) {
            *at = t->next;
            p->n_tunnels--;
            tunnel_free(t);
        } else {
            at = &t->next;
        }
    }
}

static void
end_tunnel(struct tunnel *t)
{
    if (!t->over) {
        t->over = true;
        loop_defer(t->forward->client->loop, sweep, t->forward);
    }
}

/* ---- the channel's side ---- */

static void
on_accepted(void *ctx, struct channel *c, const struct rec *rec)
{
    struct tunnel *t = ctx;

    (void)rec;
    source_start(t->source, c);
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct tunnel *t = ctx;

    return sink_take(t->sink, c, data, n);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct tunnel *t = ctx;

    (void)c;
    (void)shutdown(t->fd, SHUT_WR);
}

static void
on_writable(void *ctx, struct channel *c)
{
    struct tunnel *t = ctx;

    (void)c;
    source_go_on(t->source);
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    end_tunnel(ctx);
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct tunnel *t = ctx;
    struct err e;

    (void)c;
    if (t->forward->on_refused != NULL) {
        session_peer_error(why, NULL, &e);
        t->forward->on_refused(t->forward->refused_ctx, &e);
    }
    end_tunnel(t);
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    end_tunnel(ctx);
}

static const struct channel_events channel_events = {
    .on_accepted = on_accepted,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_detached = on_detached,
    .on_reset = on_reset,
    .on_done = on_done,
};

/* ---- the local side ---- */

static void
on_broken(void *ctx, struct sink *s, const struct err *why)
{
    struct tunnel *t = ctx;

    (void)s;
    channel_reset(t->channel, why);
    end_tunnel(t);
}

static int
open_tunnel(struct tunnel *t, struct conn *c, struct err *e)
{
    struct port_forward *p = t->forward;
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &channel_events, .ctx = t};
    struct sink_events ev = {.broken = on_broken, .ctx = t};
    struct rec *r;
    int rc;

    t->channel = channel_new(&o);
    if (sink_new(&t->sink, p->client->loop, t->fd, NULL, &ev, e) != 0 ||
        source_new(&t->source, p->client->loop, t->fd, e) != 0) {
        return -1;
    }
    r = rec_new(OPEN_PORT);
    rec_add(r, "job", p->job);
    rec_add_int(r, "port", p->remote);
    rc = mux_open(conn_mux(c), t->channel, r, e);
    rec_free(r);
    return rc;
}

static void
on_connection(void *ctx, int events)
{
    struct port_forward *p = ctx;
    struct conn *c = session_conn(p->session);
    struct tunnel *t;
    struct err e;
    int one = 1;
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd == -1) {
        return;
    }
    if (c == NULL || p->n_tunnels >= TUNNELS_MAX) {
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    t = xcalloc(1, sizeof *t);
    t->forward = p;
    t->fd = fd;
    if (open_tunnel(t, c, &e) != 0) {
        tunnel_free(t);
        return;
    }
    t->next = p->tunnels;
    p->tunnels = t;
    p->n_tunnels++;
}

static int
try_listen(struct port_forward *p, uint16_t port, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int one = 1;

    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd == -1) {
        return err_set_sys(e, errno, "cannot make a socket");
    }
    (void)setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(p->fd, (struct sockaddr *)&a, sizeof a) == -1 ||
        listen(p->fd, BACKLOG) == -1 ||
        getsockname(p->fd, (struct sockaddr *)&a, &len) == -1) {
        int failed = errno;

        (void)fd_close(&p->fd);
        if (failed == EADDRINUSE || failed == EACCES) {
            return err_set(e, ERR_BUSY,
                           failed == EACCES
                               ? _("port %u is for root alone here; give another: "
                                   "REMOTE:LOCAL")
                               : _("port %u is in use here; give another: REMOTE:LOCAL"),
                           port);
        }
        return err_set_sys(e, failed, _("cannot listen on port %u"), port);
    }
    p->local = ntohs(a.sin_port);
    return 0;
}

/*
 * Is the job's machine this one (the host `local`, or one behind loopback)? Then the
 * remote port is the job's own to listen on, and no number for us. Two machines of one
 * name that started in the same seconds would be taken for one, and lose nothing by it.
 */
static bool
is_this_machine(const struct session *s)
{
    const struct host_info *h = session_info(s);
    struct utsname u;
    int64_t apart_ns;

    if (strcmp(session_host(s)->name, HOST_LOCAL) == 0) {
        return true;
    }
    if (h == NULL || h->hostname == NULL || uname(&u) != 0 ||
        strcmp(h->hostname, u.nodename) != 0 || h->wall_ns < h->boot_ns) {
        return false;
    }
    apart_ns = (h->wall_ns - h->boot_ns) - (clock_wall_ns() - clock_boot_ns());
    return llabs(apart_ns) < SAME_START_NS;
}

int
port_forward_new(struct port_forward **out, struct client *cl, struct session *s,
                 const char *job, uint16_t remote, uint16_t local, struct err *e)
{
    struct port_forward *p = xcalloc(1, sizeof *p);
    int rc;

    p->client = cl;
    p->session = s;
    p->remote = remote;
    p->fd = -1;
    (void)snprintf(p->job, sizeof p->job, "%s", job);
    if (local == 0 && is_this_machine(s)) {
        rc = try_listen(p, 0, e);
    } else {
        rc = try_listen(p, local != 0 ? local : remote, e);
    }
    if (rc != 0 && local == 0) {
        rc = try_listen(p, 0, e);
    }
    if (rc != 0 || watch_new(&p->watch, cl->loop, p->fd, on_connection, p, e) != 0) {
        port_forward_free(p);
        return -1;
    }
    watch_arm(p->watch, WATCH_READ);
    *out = p;
    return 0;
}

void
port_forward_free(struct port_forward *p)
{
    if (p == NULL) {
        return;
    }
    loop_undefer(p->client->loop, sweep, p);
    while (p->tunnels != NULL) {
        struct tunnel *t = p->tunnels;

        p->tunnels = t->next;
        tunnel_free(t);
    }
    watch_free(p->watch);
    (void)fd_close(&p->fd);
    free(p);
}

uint16_t
port_forward_local(const struct port_forward *p)
{
    return p->local;
}

void
port_forward_on_refused(struct port_forward *p,
                        void (*fn)(void *ctx, const struct err *why), void *ctx)
{
    p->on_refused = fn;
    p->refused_ctx = ctx;
}
