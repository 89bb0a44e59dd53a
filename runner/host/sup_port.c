#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/bridge.h"
#include "runner/host/procs.h"
#include "runner/host/supervise_internal.h"

#define PORTS_MAX 256

/* One TCP connection of a client to a listener of the job. */
struct sup_port {
    struct sup *sup;
    struct sup_port *next;
    struct bridge *bridge;
};

static void
port_free(struct sup_port *p, const struct err *why)
{
    struct sup_port **at = &p->sup->ports;

    while (*at != NULL && *at != p) {
        at = &(*at)->next;
    }
    if (*at == p) {
        *at = p->next;
    }
    bridge_free(p->bridge, why);
    free(p);
}

static void
free_later(void *ctx)
{
    port_free(ctx, NULL);
}

/* Also when the connection goes: TCP bytes are not kept for later. */
static void
over(void *ctx)
{
    struct sup_port *p = ctx;

    loop_undefer(p->sup->loop, free_later, p);
    loop_defer(p->sup->loop, free_later, p);
}

static void
ended(void *ctx)
{
    struct sup_port *p = ctx;

    bridge_send_eof(p->bridge);
}

/* Half-closed: the listener hears the end, and may still answer. */
static void
peer_eof(void *ctx)
{
    struct sup_port *p = ctx;

    bridge_shutdown_write(p->bridge);
}

/* Who listens there now, if it is one of the job's own processes. */
static int
find_listener(const struct sup *s, unsigned port, bool *v6, uint64_t *inode,
              struct err *e)
{
    struct proc_list l = {NULL, 0};
    bool found;

    if (proc_descendants(guard_pid(s->guard), &l, e) != 0) {
        return -1;
    }
    found = proc_listens(&l, port, v6, inode);
    proc_list_free(&l);
    if (!found) {
        return err_set(e, ERR_NOT_FOUND, "the job does not listen on port %u (yet)",
                       port);
    }
    return 0;
}

static int
connect_to(unsigned port, bool v6, int *out, struct err *e)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port)};
    int one = 1;
    int fd =
        socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot make a socket");
    }
    a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a6.sin6_addr = in6addr_loopback;
    /* On loopback this ends at once, or the listener's backlog is full and bytes wait. */
    rc = v6 ? connect(fd, (struct sockaddr *)&a6, sizeof a6)
            : connect(fd, (struct sockaddr *)&a4, sizeof a4);
    if (rc != 0 && errno != EINPROGRESS) {
        err_set_sys(e, errno, "cannot connect to port %u of the job", port);
        e->code = ERR_NOT_FOUND;
        e->sys_errno = 0;
        (void)fd_close(&fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out = fd;
    return 0;
}

static int
make(struct sup *s, unsigned port, struct sup_port **out, struct err *e)
{
    static const struct bridge_events events = {
        .ended = ended, .detached = over, .over = over, .peer_eof = peer_eof};
    struct sup_port *p;
    uint64_t before;
    uint64_t after;
    bool v6;
    int fd = -1;
    int copy;

    if (find_listener(s, port, &v6, &before, e) != 0 ||
        connect_to(port, v6, &fd, e) != 0) {
        return -1;
    }
    /* Still the same one: nobody else took the port between looking and connecting. */
    if (find_listener(s, port, &v6, &after, e) != 0 || before != after) {
        (void)fd_close(&fd);
        return err_set(e, ERR_NOT_FOUND, "the job does not listen on port %u any more",
                       port);
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    p = xcalloc(1, sizeof *p);
    p->sup = s;
    if (bridge_new(&p->bridge, s->loop, fd, copy, &events, p, e) != 0) {
        free(p);
        return -1;
    }
    p->next = s->ports;
    s->ports = p;
    *out = p;
    return 0;
}

void
sup_port_open(struct sup *s, struct mux *m, const struct mux_offer *offer)
{
    struct sup_port *p;
    int64_t port;
    size_t n = 0;
    struct err e;

    for (p = s->ports; p != NULL; p = p->next) {
        n++;
    }
    if (n >= PORTS_MAX) {
        err_set(&e, ERR_BUSY, "%d connections to this job are open already", PORTS_MAX);
    } else if (s->guard == NULL || !s->started || s->main_exited) {
        err_set(&e, ERR_NOT_FOUND, "the job's command is not running");
    } else if (rec_need_int(offer->rec, "port", 1, 65535, &port, &e) == 0 &&
               make(s, (unsigned)port, &p, &e) == 0) {
        if (bridge_accept(p->bridge, m, offer, &e) != 0) {
            port_free(p, NULL);
        }
        return;
    }
    mux_refuse(m, offer->stream, &e, NULL);
}

void
sup_port_free_all(struct sup *s)
{
    struct err e;

    err_set(&e, ERR_NOT_FOUND, "the job has ended");
    while (s->ports != NULL) {
        struct sup_port *p = s->ports;

        s->ports = p->next;
        loop_undefer(s->loop, free_later, p);
        port_free(p, &e);
    }
}
