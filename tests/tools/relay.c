/*
 * A TCP relay on loopback that can be a bad network:
 *
 *   relay LISTEN_PORT TARGET_PORT [OPTION...]
 *     --drop N        close the first N connections at once, without a word
 *     --say TEXT      to every connection, then close it
 *     --silent        accept, and never say anything
 *     --delay MS      one way, both ways
 *     --rate KB       so many kilobytes a second, each way, with a router's patience: up
 * to 4 MiB wait their turn
 *     --cut-after N   close a connection after N bytes from the client
 *
 * SIGUSR1: freeze (nothing passes, nothing is closed); SIGUSR2: go on; SIGHUP: cut all.
 * Prints "ready" once it listens, "frozen" once it is, and "passed N" (bytes from the
 * client) when a connection is over.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#define CONNECTIONS_MAX 512
#define STEP            ((size_t)64 << 10)
#define SLOW_STEP       ((size_t)4 << 10)
#define HELD_MAX        ((size_t)4 << 20)
#define PIECES_MAX      4096

/* Bytes on their way, with the time at which they are due. */
struct piece {
    int64_t due_ns;
    size_t len;
};

struct way {
    int from;
    int to;
    struct buf held;
    struct piece pieces[PIECES_MAX]; /* a ring */
    size_t first;
    size_t n;
    uint64_t passed;
    int64_t busy_until_ns; /* with a rate: when the last piece will be through */
    bool ended;            /* from has; to is told when all is through */
    bool told;
};

struct connection {
    struct way up; /* client to target */
    struct way down;
};

static volatile sig_atomic_t frozen; /* SIGUSR1 came, SIGUSR2 did not yet */
static volatile sig_atomic_t to_cut; /* SIGHUP came */

static struct {
    uint16_t port;
    uint16_t target;
    int drop;
    const char *say;
    bool silent;
    int64_t delay_ns;
    int64_t rate; /* bytes a second; 0: as fast as it goes */
    uint64_t cut_after;
} opt;

static void
on_signal(int signo)
{
    if (signo == SIGHUP) {
        to_cut = 1;
    } else {
        frozen = signo == SIGUSR1;
    }
}

static int
nonblock(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int
loopback(uint16_t port, bool listening)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    int rc;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd == -1) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    rc = listening ? bind(fd, (struct sockaddr *)&sa, sizeof sa)
                   : connect(fd, (struct sockaddr *)&sa, sizeof sa);
    if (rc == -1 || (listening && listen(fd, 256) == -1)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void
end(struct connection **c)
{
    (void)printf("passed %llu\n", (unsigned long long)(*c)->up.passed);
    (void)fflush(stdout);
    (void)close((*c)->up.from);
    if ((*c)->up.to != -1) {
        (void)close((*c)->up.to);
    }
    buf_free(&(*c)->up.held);
    buf_free(&(*c)->down.held);
    free(*c);
    *c = NULL;
}

static struct connection *
begin(int listener)
{
    struct connection *c;
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int target = -1;

    if (client == -1) {
        return NULL;
    }
    if (opt.drop > 0 || opt.say != NULL) {
        opt.drop -= opt.drop > 0 ? 1 : 0;
        if (opt.say != NULL) {
            (void)fd_write_all(client, opt.say, strlen(opt.say));
            (void)shutdown(client, SHUT_WR);
        }
        (void)close(client);
        return NULL;
    }
    if (!opt.silent) {
        target = loopback(opt.target, false);
        if (target == -1) {
            (void)close(client);
            return NULL;
        }
        (void)nonblock(target);
    }
    (void)nonblock(client);
    c = xcalloc(1, sizeof *c);
    c->up = (struct way){.from = client, .to = target};
    c->down = (struct way){.from = target, .to = client};
    return c;
}

static bool
may_take(const struct way *w)
{
    return w->from != -1 && !w->ended && w->held.len < HELD_MAX && w->n < PIECES_MAX;
}

/* False: the connection is broken. */
static bool
take(struct way *w)
{
    uint8_t data[STEP];
    ssize_t n = recv(w->from, data, opt.rate > 0 ? SLOW_STEP : STEP, MSG_DONTWAIT);
    int64_t due_ns = clock_mono_ns();

    if (n == -1) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (n == 0) {
        w->ended = true;
        return true;
    }
    buf_add(&w->held, data, (size_t)n);
    if (opt.rate > 0) {
        int64_t now_ns = clock_mono_ns();

        w->busy_until_ns = (w->busy_until_ns > now_ns ? w->busy_until_ns : now_ns) +
                           n * 1000000000 / opt.rate;
        due_ns = w->busy_until_ns;
    }
    w->pieces[(w->first + w->n++) % PIECES_MAX] =
        (struct piece){.due_ns = due_ns + opt.delay_ns, .len = (size_t)n};
    return true;
}

static bool
give(struct way *w)
{
    while (w->n > 0 && w->pieces[w->first].due_ns <= clock_mono_ns()) {
        struct piece *p = &w->pieces[w->first];
        ssize_t n = send(w->to, w->held.data, p->len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == -1) {
            return errno == EAGAIN || errno == EINTR;
        }
        buf_drop_front(&w->held, (size_t)n);
        w->passed += (uint64_t)n;
        p->len -= (size_t)n;
        if (p->len > 0) {
            return true;
        }
        w->first = (w->first + 1) % PIECES_MAX;
        w->n--;
    }
    if (w->ended && w->n == 0 && !w->told) {
        w->told = true;
        (void)shutdown(w->to, SHUT_WR);
    }
    return true;
}

static int
next_ms(struct connection *const *v, int n)
{
    int64_t now_ns = clock_mono_ns();
    int64_t due_ns = now_ns + 1000000000;

    for (int i = 0; i < n; i++) {
        const struct way *ways[] = {&v[i]->up, &v[i]->down};

        for (int j = 0; j < 2; j++) {
            if (ways[j]->n > 0 && ways[j]->pieces[ways[j]->first].due_ns < due_ns) {
                due_ns = ways[j]->pieces[ways[j]->first].due_ns;
            }
        }
    }
    return due_ns <= now_ns ? 1 : (int)((due_ns - now_ns + 999999) / 1000000);
}

static short
interest(const struct way *in, const struct way *out)
{
    return (short)((may_take(in) ? POLLIN : 0) |
                   (out->n > 0 && out->pieces[out->first].due_ns <= clock_mono_ns()
                        ? POLLOUT
                        : 0));
}

static bool
move(struct connection *c)
{
    if (c->up.to == -1) {
        return take(&c->up) && !c->up.ended;
    }
    if (!(may_take(&c->up) ? take(&c->up) : true) ||
        !(may_take(&c->down) ? take(&c->down) : true) || !give(&c->up) ||
        !give(&c->down)) {
        return false;
    }
    if (opt.cut_after > 0 && c->up.passed >= opt.cut_after) {
        return false;
    }
    return !(c->up.told && c->down.told);
}

static void
serve(int listener)
{
    static struct connection *v[CONNECTIONS_MAX];
    static struct pollfd p[2 * CONNECTIONS_MAX + 1];
    bool stood = false;
    int n = 0;

    for (;;) {
        nfds_t n_p = 1;
        bool stands = frozen != 0; /* the same for a whole round */

        if (stands && !stood) {
            (void)printf("frozen\n");
            (void)fflush(stdout);
        }
        stood = stands;

        if (to_cut) {
            to_cut = 0; /* first: the next one may follow the first "passed" */
            for (; n > 0; n--) {
                end(&v[n - 1]);
            }
        }
        p[0] =
            (struct pollfd){.fd = n < CONNECTIONS_MAX ? listener : -1, .events = POLLIN};
        for (int i = 0; i < n && !stands; i++) {
            p[n_p++] = (struct pollfd){.fd = v[i]->up.from,
                                       .events = interest(&v[i]->up, &v[i]->down)};
            p[n_p++] = (struct pollfd){.fd = v[i]->up.to,
                                       .events = interest(&v[i]->down, &v[i]->up)};
        }
        if (poll(p, n_p, stands ? 1000 : next_ms(v, n)) == -1) {
            continue;
        }
        for (int i = 0; i < n && !stands; i++) {
            if (!move(v[i])) {
                end(&v[i]);
                v[i--] = v[--n];
            }
        }
        if ((p[0].revents & POLLIN) != 0 && !stands) {
            struct connection *c = begin(listener);

            if (c != NULL) {
                v[n++] = c;
            }
        }
    }
}

static int
parse(int argc, char **argv)
{
    if (argc < 3) {
        return -1;
    }
    opt.port = (uint16_t)strtol(argv[1], NULL, 10);
    opt.target = (uint16_t)strtol(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--silent") == 0) {
            opt.silent = true;
            continue;
        }
        if (strcmp(argv[i], "--drop") == 0) {
            opt.drop = (int)strtol(value, NULL, 10);
        } else if (strcmp(argv[i], "--say") == 0) {
            opt.say = value;
        } else if (strcmp(argv[i], "--delay") == 0) {
            opt.delay_ns = (int)strtol(value, NULL, 10) * INT64_C(1000000);
        } else if (strcmp(argv[i], "--rate") == 0) {
            opt.rate = (int)strtol(value, NULL, 10) * INT64_C(1000);
        } else if (strcmp(argv[i], "--cut-after") == 0) {
            opt.cut_after = strtoull(value, NULL, 10);
        } else {
            return -1;
        }
        i++;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal};
    int listener;

    if (parse(argc, argv) != 0) {
        (void)fprintf(stderr, "usage: relay LISTEN_PORT TARGET_PORT [OPTION...]\n");
        return 2;
    }
    (void)sigaction(SIGUSR1, &sa, NULL);
    (void)sigaction(SIGUSR2, &sa, NULL);
    (void)sigaction(SIGHUP, &sa, NULL);
    listener = loopback(opt.port, true);
    if (listener == -1) {
        perror("relay");
        return 1;
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    serve(listener);
}
