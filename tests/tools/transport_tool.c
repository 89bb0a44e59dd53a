/*
 * Drives one transport from the command line, for scenarios and measurements:
 *
 *   transport_tool [OPTION…] HOST DO…
 *
 *   HOST   local, or an ssh address (user, port: -l, -p)
 *   DO     "up" (only come up), "info", "say LINE" (a line to echo_agent, its answer line
 *          printed), "eof", "sink N", "source N", "wait", "time N" (come up N times, ms
 * each)
 *
 * Prints what happened, one line each; a failure as "cause: message", exit 1.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/client/bootstrap.h"
#include "runner/client/transport.h"
#include "runner/client/transport_internal.h"

#define STEP ((size_t)64 << 10)

struct tool {
    struct home *home;
    struct host host;
    struct transport_options o;
    struct transport *t;
    struct bootstrap_agents agents;
    pthread_t waiter;
    bool waiting;
    struct transport_status status;
    int fd;
    struct buf rest;
};

static int
report(const struct failure *f)
{
    (void)printf("%s: %s\n", cause_name(f->cause), f->err.msg);
    return -1;
}

static void *
wait_thread(void *arg)
{
    struct tool *g = arg;

    transport_wait(g->t, &g->status);
    return NULL;
}

static void
on_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    if (done == total) {
        (void)printf("uploaded %llu\n", (unsigned long long)total);
    }
}

static int
come_up(struct tool *g)
{
    struct failure f = {0};
    struct bootstrap b = {.agents = g->host.local ? NULL : &g->agents,
                          .agent_home = g->host.agent_home,
                          .progress = on_progress};

    g->t = transport_new(&g->host, &g->o);
    b.transport = g->t;
    if (transport_open(g->t, &f) != 0) {
        return report(&f);
    }
    transport_offer_key(g->t);
    if (bootstrap_run(&b, &g->rest, &f) != 0) {
        return report(&f);
    }
    if (transport_stream(g->t, &g->fd, &f) != 0) {
        return report(&f);
    }
    if (pthread_create(&g->waiter, NULL, wait_thread, g) != 0) {
        return -1;
    }
    g->waiting = true;
    return 0;
}

static void
go_down(struct tool *g, bool cancel)
{
    if (g->waiting) {
        if (cancel) {
            transport_cancel(g->t);
        }
        (void)fd_close(&g->fd);
        (void)pthread_join(g->waiter, NULL);
        g->waiting = false;
    }
    (void)fd_close(&g->fd);
    transport_free(g->t);
    g->t = NULL;
    buf_reset(&g->rest);
}

static int
wait_fd(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};

    return poll(&p, 1, 60000) == 1 ? 0 : -1;
}

static int
send_all(struct tool *g, const void *data, size_t n)
{
    const char *at = data;

    while (n > 0) {
        ssize_t put = send(g->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (put == -1 && (errno == EAGAIN || errno == EINTR)) {
            if (wait_fd(g->fd, POLLOUT) != 0) {
                return -1;
            }
            continue;
        }
        if (put == -1) {
            return -1;
        }
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

static ssize_t
receive(struct tool *g, void *data, size_t cap)
{
    for (;;) {
        ssize_t n = recv(g->fd, data, cap, MSG_DONTWAIT);

        if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
            return n;
        }
        if (wait_fd(g->fd, POLLIN) != 0) {
            return -1;
        }
    }
}

static int
answer(struct tool *g)
{
    char c;

    for (;;) {
        ssize_t n = receive(g, &c, 1);

        if (n <= 0) {
            (void)printf("end\n");
            return 0;
        }
        (void)putchar(c);
        if (c == '\n') {
            return 0;
        }
    }
}

static int
say(struct tool *g, const char *text)
{
    char *line = xasprintf("%s\n", text);
    int rc = send_all(g, line, strlen(line));

    free(line);
    return rc;
}

static void
pattern(uint8_t *to, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)((at + i) * 2654435761U >> 13);
    }
}

/* N bytes to the host, and whether it saw the same. */
static int
do_sink(struct tool *g, uint64_t total)
{
    static uint8_t data[4 * STEP];
    struct sha256_ctx *c = sha256_new();
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];
    char *line = xasprintf("sink %llu", (unsigned long long)total);
    int rc = say(g, line);

    free(line);
    pattern(data, sizeof data, 0);
    for (uint64_t at = 0; at < total && rc == 0;) {
        size_t n = total - at < sizeof data ? (size_t)(total - at) : sizeof data;

        sha256_update(c, data, n);
        rc = send_all(g, data, n);
        at += n;
    }
    sha256_final(c, &h);
    sha256_free(c);
    sha256_format(&h, hex);
    (void)printf("%s\n", hex);
    return rc == 0 ? answer(g) : -1;
}

/* N bytes that must be echo_agent's pattern. */
static int
do_take(struct tool *g, uint64_t total)
{
    static uint8_t data[4 * STEP];
    static uint8_t want[4 * STEP];

    for (uint64_t at = 0; at < total;) {
        ssize_t n = receive(
            g, data, total - at < sizeof data ? (size_t)(total - at) : sizeof data);

        if (n <= 0) {
            (void)printf("end after %llu\n", (unsigned long long)at);
            return -1;
        }
        pattern(want, (size_t)n, at);
        if (memcmp(want, data, (size_t)n) != 0) {
            (void)printf("wrong bytes near %llu\n", (unsigned long long)at);
            return -1;
        }
        at += (uint64_t)n;
    }
    (void)printf("got %llu\n", (unsigned long long)total);
    return 0;
}

static int
do_source(struct tool *g, uint64_t total)
{
    char *line = xasprintf("source %llu", (unsigned long long)total);
    int rc = say(g, line);

    free(line);
    return rc == 0 ? do_take(g, total) : -1;
}

/* N bytes to echo_agent while they come back: both directions at once. */
static int
do_echo(struct tool *g, uint64_t total)
{
    static uint8_t out[4 * STEP];
    static uint8_t in[4 * STEP];
    static uint8_t want[4 * STEP];
    uint64_t sent = 0;
    uint64_t back = 0;

    if (say(g, "echo") != 0) {
        return -1;
    }
    while (back < total) {
        struct pollfd p = {.fd = g->fd,
                           .events = (short)(POLLIN | (sent < total ? POLLOUT : 0))};
        ssize_t n;

        if (poll(&p, 1, 60000) != 1) {
            (void)printf("stuck: %llu sent, %llu back\n", (unsigned long long)sent,
                         (unsigned long long)back);
            return -1;
        }
        if ((p.revents & POLLOUT) != 0) {
            size_t len = total - sent < sizeof out ? (size_t)(total - sent) : sizeof out;

            pattern(out, len, sent);
            n = send(g->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += n > 0 ? (uint64_t)n : 0;
        }
        n = recv(g->fd, in, sizeof in, MSG_DONTWAIT);
        if (n == 0) {
            return -1;
        }
        if (n > 0) {
            pattern(want, (size_t)n, back);
            if (memcmp(want, in, (size_t)n) != 0) {
                (void)printf("wrong bytes near %llu\n", (unsigned long long)back);
                return -1;
            }
            back += (uint64_t)n;
        }
    }
    (void)printf("echoed %llu\n", (unsigned long long)total);
    return 0;
}

/* Peak resident memory in KiB. */
static void
print_memory(void)
{
    struct rusage u = {0};

    (void)getrusage(RUSAGE_SELF, &u);
    (void)printf("peak_kib=%ld\n", u.ru_maxrss);
}

static void
print_status(const struct transport_status *s)
{
    switch (s->end) {
    case TRANSPORT_END_EXIT:
        (void)printf("exit %d\n", s->code);
        break;
    case TRANSPORT_END_SIGNAL:
        (void)printf("signal %d\n", s->code);
        break;
    default:
        (void)printf("cut %s: %s\n", cause_name(s->cut.cause), s->cut.err.msg);
        break;
    }
}

static void
print_info(struct tool *g)
{
    static const char *const kinds[] = {"none", "libssh", "ssh", "pipe"};
    const struct transport_info *i = transport_info(g->t);

    (void)printf("kind=%s peer=%s key=%s login=%s why=%s\n", kinds[i->kind], i->peer,
                 i->host_key, i->login, i->why_binary);
}

static void
print_stderr(struct tool *g)
{
    struct buf b = BUF_INIT;

    transport_stderr(g->t, &b);
    (void)printf("%s", buf_str(&b));
    buf_free(&b);
}

static int
do_time(struct tool *g, int n)
{
    for (int i = 0; i < n; i++) {
        int64_t from = clock_mono_ns();

        if (come_up(g) != 0) {
            return -1;
        }
        (void)printf("%.1f\n", (double)(clock_mono_ns() - from) / 1e6);
        go_down(g, false);
    }
    return 0;
}

static int
act(struct tool *g, const char *what)
{
    const char *arg = strchr(what, ' ');

    arg = arg == NULL ? "" : arg + 1;
    if (strncmp(what, "time ", 5) == 0) {
        return do_time(g, atoi(arg));
    }
    if (g->t == NULL && come_up(g) != 0) {
        return -1;
    }
    if (strcmp(what, "info") == 0) {
        print_info(g);
    } else if (strncmp(what, "say ", 4) == 0) {
        return say(g, arg) == 0 ? answer(g) : -1;
    } else if (strncmp(what, "tell ", 5) == 0) {
        return say(g, arg);
    } else if (strncmp(what, "sink ", 5) == 0) {
        return do_sink(g, strtoull(arg, NULL, 10));
    } else if (strncmp(what, "source ", 7) == 0) {
        return do_source(g, strtoull(arg, NULL, 10));
    } else if (strncmp(what, "echo ", 5) == 0) {
        return do_echo(g, strtoull(arg, NULL, 10));
    } else if (strncmp(what, "take ", 5) == 0) {
        return do_take(g, strtoull(arg, NULL, 10));
    } else if (strncmp(what, "pause ", 6) == 0) {
        (void)poll(NULL, 0, atoi(arg)); /* read nothing for so many ms */
    } else if (strcmp(what, "memory") == 0) {
        print_memory();
    } else if (strcmp(what, "answer") == 0) {
        return answer(g);
    } else if (strcmp(what, "eof") == 0) {
        (void)shutdown(g->fd, SHUT_WR);
    } else if (strcmp(what, "cancel") == 0) {
        go_down(g, true);
        print_status(&g->status);
    } else if (strcmp(what, "wait") == 0) {
        (void)pthread_join(g->waiter, NULL);
        g->waiting = false;
        print_status(&g->status);
    } else if (strcmp(what, "stderr") == 0) {
        print_stderr(g);
    } else if (strcmp(what, "up") == 0) {
        (void)printf("up\n");
    } else {
        return -1;
    }
    return 0;
}

static int
options(struct tool *g, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "p:l:i:J:a:S:k:A")) != -1) {
        switch (c) {
        case 'p':
            g->host.port = atoi(optarg);
            break;
        case 'l':
            g->host.user = optarg;
            break;
        case 'i':
            g->host.identity = optarg;
            break;
        case 'J':
            g->host.jump = optarg;
            break;
        case 'a':
            g->host.agent_home = optarg;
            break;
        case 'S':
            g->o.ssh_program = optarg;
            break;
        case 'k':
            g->o.host_key = optarg;
            break;
        case 'A':
            g->o.ask = ask_new(ASK_MODE_AUTO);
            g->o.host_key_ask = true;
            break;
        default:
            return -1;
        }
    }
    return argc - optind >= 2 ? optind : -1;
}

int
main(int argc, char **argv)
{
    struct tool g = {.fd = -1, .rest = BUF_INIT};
    struct err e;
    int at;
    int rc = 0;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    host_init(&g.host);
    at = options(&g, argc, argv);
    if (at == -1 || home_open(&g.home, NULL, &e) != 0) {
        return 2;
    }
    g.o.home = g.home;
    g.o.connect_timeout_ms = 5000;
    g.host.name = argv[at];
    g.host.local = strcmp(argv[at], "local") == 0;
    g.host.address = argv[at];
    if (!g.host.local && bootstrap_find_agents(g.home, &g.agents, &e) != 0) {
        (void)printf("config: %s\n", e.msg);
        return 1;
    }
    for (int i = at + 1; i < argc && rc == 0; i++) {
        rc = act(&g, argv[i]);
    }
    if (g.t != NULL) {
        go_down(&g, false);
    }
    bootstrap_free_agents(&g.agents);
    home_free(g.home);
    ask_free(g.o.ask);
    buf_free(&g.rest);
    return rc == 0 ? 0 : 1;
}
