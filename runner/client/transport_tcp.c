#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_internal.h"

/*
 * TCP to the host, by ourselves rather than by libssh: so that every cause has its name,
 * several addresses are tried side by side (RFC 8305), and the banner can be
 * looked at before libssh takes it.
 */

#define ADDRESSES_MAX 8   /* tried of one name */
#define STAGGER_MS    250 /* between two addresses of it, while none has answered */
#define BANNER_MAX    1024
#define SAID_MAX      120

struct attempt {
    int fd;
    int error; /* errno once it has failed */
};

static int
resolve(struct transport *t, struct addrinfo **out, struct failure *f)
{
    struct addrinfo hints = {
        .ai_family = t->config.address_family,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
    };
    char shown[100];
    char port[8];
    int rc;

    (void)snprintf(port, sizeof port, "%d", t->config.port);
    rc = getaddrinfo(t->config.host_name, port, &hints, out);
    if (rc == EAI_NONAME) { /* no address: ask for the name */
        hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
        rc = getaddrinfo(t->config.host_name, port, &hints, out);
    }
    if (rc == 0) {
        return 0;
    }
    (void)text_escape_to(shown, sizeof shown, t->config.host_name);
    return failure_set(
        f, CAUSE_NAME,
        _("cannot find the host '%s': %s; its address is USER@HOST[:PORT], or a Host of "
          "~/.ssh/config"),
        shown, err_words(gai_strerror(rc)));
}

static int
bind_to(struct transport *t, int fd, int family)
{
    struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *a = NULL;
    int rc = -1;

    if (t->config.bind_address == NULL) {
        return 0;
    }
    if (getaddrinfo(t->config.bind_address, NULL, &hints, &a) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    rc = bind(fd, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(a);
    return rc;
}

/* Begin to connect to one address. */
static void
start(struct transport *t, const struct addrinfo *to, struct attempt *a)
{
    const int on = 1;

    a->error = 0;
    a->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->fd == -1) {
        a->error = errno;
        return;
    }
    (void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(a->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (bind_to(t, a->fd, to->ai_family) == -1 ||
        (connect(a->fd, to->ai_addr, to->ai_addrlen) == -1 && errno != EINPROGRESS)) {
        a->error = errno;
        (void)fd_close(&a->fd);
    }
}

/* Which attempt got through, or -1. Failed ones are closed. */
static int
look(struct attempt *v, int n, const struct pollfd *p)
{
    for (int i = 0; i < n; i++) {
        socklen_t len = sizeof v[i].error;

        if (v[i].fd == -1 || p[i].revents == 0) {
            continue;
        }
        if (getsockopt(v[i].fd, SOL_SOCKET, SO_ERROR, &v[i].error, &len) == -1) {
            v[i].error = errno;
        }
        if (v[i].error == 0) {
            return i;
        }
        (void)fd_close(&v[i].fd);
    }
    return -1;
}

static int
n_open(const struct attempt *v, int n)
{
    int count = 0;

    for (int i = 0; i < n; i++) {
        count += v[i].fd != -1 ? 1 : 0;
    }
    return count;
}

/* Start addresses one after the other until one answers. Index of it; -1: none. */
static int
race(struct transport *t, const struct addrinfo *list, struct attempt *v, int *n)
{
    int64_t end_ns = transport_deadline(transport_connect_ms(t));
    int64_t next_ns = 0;

    for (;;) {
        struct pollfd p[ADDRESSES_MAX + 1];
        int wait_ms;
        int won;

        if (list != NULL && *n < ADDRESSES_MAX &&
            (n_open(v, *n) == 0 || clock_boot_ns() >= next_ns)) {
            start(t, list, &v[(*n)++]);
            list = list->ai_next;
            next_ns = transport_deadline(STAGGER_MS);
            continue;
        }
        if (n_open(v, *n) == 0) {
            return -1;
        }
        wait_ms = transport_poll_left(
            list != NULL && *n < ADDRESSES_MAX && next_ns < end_ns ? next_ns : end_ns);
        for (int i = 0; i < *n; i++) {
            p[i] = (struct pollfd){.fd = v[i].fd, .events = POLLOUT};
        }
        p[*n] = (struct pollfd){.fd = t->cancel_fd, .events = POLLIN};
        (void)poll(p, (nfds_t)*n + 1, wait_ms);
        won = look(v, *n, p);
        if (won >= 0) {
            return won;
        }
        if (p[*n].revents != 0 || clock_boot_ns() >= end_ns) {
            return -1;
        }
    }
}

static int
say_why(struct transport *t, const struct attempt *v, int n, struct failure *f)
{
    char where[WHERE_MAX];
    int error = ETIMEDOUT;

    (void)transport_where(t, where);
    if (transport_is_cancelled(t)) {
        return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
    }
    for (int i = 0; i < n; i++) {
        if (v[i].error != 0 && (error == ETIMEDOUT || v[i].error == ECONNREFUSED)) {
            error = v[i].error;
        }
    }
    switch (error) {
    case ECONNREFUSED:
        return failure_set(f, CAUSE_REFUSED,
                           _("%s refuses the connection: no sshd on that port, or the "
                             "machine is still starting"),
                           where);
    case ETIMEDOUT:
        return failure_set(f, CAUSE_TIMEOUT, _("%s does not answer (no TCP connection)"),
                           where);
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
        return failure_set_sys(f, CAUSE_UNREACHABLE, error, _("cannot reach %s"), where);
    default:
        return failure_set_sys(f, CAUSE_CONFIG, error, _("cannot connect to %s"), where);
    }
}

static void
note_peer(struct transport *t, int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    char host[48];
    char port[8];

    if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0 &&
        getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        (void)snprintf(t->info.peer, sizeof t->info.peer,
                       strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    }
}

int
transport_tcp_connect(struct transport *t, int *fd, struct failure *f)
{
    struct attempt v[ADDRESSES_MAX];
    struct addrinfo *list = NULL;
    int n = 0;
    int won;
    int rc = -1;

    if (resolve(t, &list, f) != 0) {
        return -1;
    }
    won = race(t, list, v, &n);
    if (won >= 0) {
        *fd = v[won].fd;
        v[won].fd = -1;
        note_peer(t, *fd);
        rc = 0;
    } else {
        (void)say_why(t, v, n, f);
    }
    for (int i = 0; i < n; i++) {
        (void)fd_close(&v[i].fd);
    }
    freeaddrinfo(list);
    return rc;
}

/* ---- the banner ---- */

/* Wait until more than have bytes are there to be looked at, or the end. */
static int
wait_more(struct transport *t, int fd, int have, int64_t end_ns, struct failure *f)
{
    const int want = have + 1; /* poll reports no less than SO_RCVLOWAT */
    char where[WHERE_MAX];

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &want, sizeof want);
    for (;;) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = t->cancel_fd, .events = POLLIN}};
        int n = poll(p, 2, transport_poll_left(end_ns));

        if (p[1].revents != 0) {
            return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
        }
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return failure_set(f, CAUSE_TIMEOUT,
                               _("%s accepts connections, but says nothing: not an SSH "
                                 "server, or a machine that hangs"),
                               transport_where(t, where));
        }
    }
}

/* -1: nothing that could be a banner; 0: could still become one; 1: there it is. */
static int
judge(const char *said, size_t n)
{
    const char *at = said;
    size_t left = n;

    /* RFC 4253, 4.2: other lines may come first. */
    for (;;) {
        const char *nl;

        if (left >= 4 && memcmp(at, "SSH-", 4) == 0) {
            return 1;
        }
        nl = memchr(at, '\n', left);
        if (nl == NULL) {
            return n < BANNER_MAX && memchr(said, '\0', n) == NULL ? 0 : -1;
        }
        left -= (size_t)(nl + 1 - at);
        at = nl + 1;
    }
}

/* What an sshd says that has too many logins under way, or does not like us just now. */
static bool
turned_away(const char *said)
{
    return strstr(said, "MaxStartups") != NULL ||
           strstr(said, "Not allowed at this time") != NULL;
}

static int
no_banner(struct transport *t, const char *said, struct failure *f)
{
    char where[WHERE_MAX];
    char shown[SAID_MAX];

    (void)transport_where(t, where);
    (void)text_escape_to(shown, sizeof shown, said);
    if (said[0] == '\0' || turned_away(said)) {
        return failure_set(
            f, CAUSE_DROPPED,
            _("%s closes connections before SSH begins%s%s (too many logins "
              "at once, or this address is blocked)"),
            where, said[0] != '\0' ? ": " : "", shown);
    }
    return failure_set(f, CAUSE_NOT_SSH, _("%s is not an SSH server; it says: %s"), where,
                       shown);
}

int
transport_tcp_banner(struct transport *t, int fd, struct failure *f)
{
    int64_t end_ns = transport_deadline(transport_connect_ms(t));
    const int one = 1;
    char said[BANNER_MAX + 1] = "";
    ssize_t n = 0;
    int verdict = 0;

    while (verdict == 0) {
        ssize_t had = n;

        if (wait_more(t, fd, (int)had, end_ns, f) != 0) {
            return -1;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
        n = recv(fd, said, BANNER_MAX, MSG_PEEK | MSG_DONTWAIT);
        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            n = had;
            continue;
        }
        said[n > 0 ? n : had] = '\0';
        /* The end, or a reset: nothing more will come. */
        verdict = n <= had ? -1 : judge(said, (size_t)n);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
    return verdict == 1 ? 0 : no_banner(t, said, f);
}
