/*
 * How fast the wire is between two processes over a pipe pair and over a socket:
 *
 *   bench_wire [SECONDS]
 *
 *   bulk         one bulk channel, bytes copied in by channel_send, dropped at the end
 *   source       the same read from a file in the page cache (log segments)
 *   call         round trip of a small request, idle: p50, p99
 *   call+bulk    the same while bulk runs: what "control is never behind bulk" means
 *   cat          the floor: plain write and read of 64 KiB over the same descriptors
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/loop/conn.h"
#include "runner/loop/fdio.h"
#include "runner/loop/unix.h"
#include "runner/wire/msg.h"

#define SECOND  ((int64_t)1000000000)
#define SAMPLES 200000

struct ends {
    int a_in, a_out, b_in, b_out;
};

static struct ends
make_ends(bool socket)
{
    struct ends x;
    int p[2];
    int q[2];
    struct err e;

    if (socket) {
        if (unix_pair(p, &e) == -1) {
            exit(1);
        }
        return (struct ends){p[0], p[0], p[1], p[1]};
    }
    if (fdio_pipe(p, true, &e) == -1 || fdio_pipe(q, true, &e) == -1) {
        exit(1);
    }
    fdio_pipe_widen(p[0], (size_t)1 << 20);
    fdio_pipe_widen(q[0], (size_t)1 << 20);
    x = (struct ends){q[0], p[1], p[0], q[1]};
    return x;
}

static void
close_side(int in, int out)
{
    (void)close(in);
    if (out != in) {
        (void)close(out);
    }
}

/* ---- the far process ---- */

struct far {
    struct loop *l;
    struct channel *c[8];
    int n;
};

static size_t
drop_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    (void)ctx;
    (void)c;
    (void)data;
    return n;
}

static void
end_too(void *ctx, struct channel *c)
{
    (void)ctx;
    channel_send_eof(c);
}

static const struct channel_events far_channel = {.on_data = drop_data,
                                                  .on_eof = end_too};

static void
far_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct far *f = ctx;
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &far_channel};
    struct err e;

    f->c[f->n] = channel_new(&o);
    if (mux_accept(m, offer->stream, f->c[f->n++], NULL, &e) == -1) {
        exit(1);
    }
}

static void
far_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct rec *r = msg_answer_new("ping");

    (void)ctx;
    (void)req;
    mux_respond(m, id, r);
    rec_free(r);
}

static void
far_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct far *f = ctx;

    (void)c;
    (void)why;
    loop_stop(f->l);
}

static void
run_far(int in, int out)
{
    static const struct mux_events ev = {.on_open = far_open, .on_request = far_request};
    struct far f = {0};
    struct hello h;
    struct conn_options o = {.on_closed = far_closed, .ctx = &f};
    struct conn *c;
    struct err e;

    hello_init(&h, HELLO_ROLE_SERVE, "bench");
    o.mux = (struct mux_options){.hello = &h, .events = &ev, .ctx = &f};
    if (loop_new(&f.l, &e) == -1 || conn_new(&c, f.l, in, out, &o, &e) == -1) {
        _exit(1);
    }
    loop_run(f.l);
    _exit(0);
}

/* ---- the near process ---- */

struct near {
    struct loop *l;
    struct conn *c;
    pid_t pid;
    struct channel *bulk;
    uint64_t sent;
    int64_t stop_ns;
    bool done;
    int file;
    int64_t *samples;
    size_t n_samples;
    int64_t asked_ns;
};

static uint8_t block[1 << 20];

static void
push_bulk(void *ctx, struct channel *c)
{
    struct near *x = ctx;

    while (clock_boot_ns() < x->stop_ns) {
        size_t n = channel_send(c, block, sizeof block);

        x->sent += n;
        if (n < sizeof block) {
            return;
        }
    }
    channel_send_eof(c);
}

static void
bulk_done(void *ctx, struct channel *c)
{
    struct near *x = ctx;

    (void)c;
    x->done = true;
}

static bool
is_done(void *ctx)
{
    return ((const struct near *)ctx)->done;
}

static void
start(struct near *x, bool socket)
{
    static struct hello h;
    struct ends ends = make_ends(socket);
    struct conn_options o = {0};
    struct err e;

    *x = (struct near){.file = -1};
    x->pid = fork();
    if (x->pid == 0) {
        close_side(ends.a_in, ends.a_out);
        run_far(ends.b_in, ends.b_out);
    }
    close_side(ends.b_in, ends.b_out);
    hello_init(&h, HELLO_ROLE_CLIENT, "bench");
    o.mux = (struct mux_options){.initiator = true, .hello = &h, .ctx = x};
    if (loop_new(&x->l, &e) == -1 ||
        conn_new(&x->c, x->l, ends.a_in, ends.a_out, &o, &e) == -1 ||
        conn_wait_ready(x->c, 10 * SECOND, &e) == -1) {
        exit(1);
    }
}

static void
stop(struct near *x)
{
    conn_free(x->c);
    channel_free(x->bulk);
    loop_free(x->l);
    (void)waitpid(x->pid, NULL, 0);
}

static void
open_bulk(struct near *x, int64_t run_ns)
{
    static const struct channel_events ev = {.on_writable = push_bulk,
                                             .on_done = bulk_done};
    struct channel_options o = {.cls = CHANNEL_BULK, .events = &ev, .ctx = x};
    struct rec *what = rec_new("gpurun.open.bench.v1");
    struct err e;

    x->stop_ns = clock_boot_ns() + run_ns;
    x->bulk = channel_new(&o);
    if (mux_open(conn_mux(x->c), x->bulk, what, &e) == -1) {
        exit(1);
    }
    rec_free(what);
    push_bulk(x, x->bulk);
}

static void report(const char *what, const char *over, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void
report(const char *what, const char *over, const char *fmt, ...)
{
    va_list ap;

    (void)printf("%-10s %-7s ", what, over);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)printf("\n");
    (void)fflush(stdout);
}

static void
bench_bulk(bool socket, int64_t run_ns)
{
    struct near x;
    int64_t from;

    start(&x, socket);
    from = clock_boot_ns();
    open_bulk(&x, run_ns);
    (void)loop_run_until(x.l, is_done, &x, -1);
    report("bulk", socket ? "socket" : "pipe", "%.2f GB/s",
           (double)x.sent / (double)(clock_boot_ns() - from));
    stop(&x);
}

static int
read_file(void *ctx, uint64_t offset, void *to, size_t n, size_t *got, uint64_t *skip_to,
          struct err *e)
{
    struct near *x = ctx;
    ssize_t r = pread(x->file, to, n, (off_t)(offset % (32u << 20)));

    (void)skip_to;
    if (r <= 0) {
        return err_set_sys(e, errno, "cannot read");
    }
    *got = (size_t)r;
    return 0;
}

static void
bench_source(bool socket, int64_t run_ns)
{
    static const struct channel_events ev = {.on_done = bulk_done};
    struct near x;
    struct channel_source src = {read_file, &x};
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &ev, .source = &src};
    struct rec *what = rec_new("gpurun.open.bench.v1");
    char path[] = "/tmp/bench_wire.XXXXXX";
    uint64_t total = 0;
    int64_t from;
    struct err e;

    start(&x, socket);
    o.ctx = &x;
    x.file = mkstemp(path);
    (void)unlink(path);
    for (int i = 0; i < 33; i++) {
        (void)!write(x.file, block, sizeof block);
    }
    x.bulk = channel_new(&o);
    if (mux_open(conn_mux(x.c), x.bulk, what, &e) == -1) {
        exit(1);
    }
    from = clock_boot_ns();
    while (clock_boot_ns() - from < run_ns) {
        total += (uint64_t)256 << 20;
        channel_source_grow(x.bulk, total);
        while (channel_send_acked(x.bulk) + ((uint64_t)1 << 20) < total) {
            x.done = false;
            (void)loop_run_until(x.l, is_done, &x, SECOND / 1000);
        }
    }
    report("source", socket ? "socket" : "pipe", "%.2f GB/s",
           (double)channel_send_acked(x.bulk) / (double)(clock_boot_ns() - from));
    (void)close(x.file);
    rec_free(what);
    stop(&x);
}

static void ask(struct near *x);

static void
on_pong(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct near *x = ctx;

    (void)resp;
    (void)hint;
    if (why != NULL || x->n_samples == SAMPLES || clock_boot_ns() > x->stop_ns) {
        x->done = true;
        return;
    }
    x->samples[x->n_samples++] = clock_boot_ns() - x->asked_ns;
    ask(x);
}

static void
ask(struct near *x)
{
    struct rec *r = msg_request_new("ping");
    struct err e;

    x->asked_ns = clock_boot_ns();
    if (call_start(NULL, x->c, r, -1, on_pong, x, &e) == -1) {
        x->done = true;
    }
    rec_free(r);
}

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void
bench_calls(bool socket, bool bulk, int64_t run_ns)
{
    struct near x;
    size_t n;

    start(&x, socket);
    x.samples = xcalloc(SAMPLES, sizeof *x.samples);
    x.stop_ns = clock_boot_ns() + run_ns;
    if (bulk) {
        open_bulk(&x, run_ns);
    }
    ask(&x);
    (void)loop_run_until(x.l, is_done, &x, 2 * run_ns);
    n = x.n_samples;
    qsort(x.samples, n, sizeof *x.samples, by_value);
    if (n > 0) {
        report(bulk ? "call+bulk" : "call", socket ? "socket" : "pipe",
               "p50 %.1f us, p99 %.1f us, %zu calls%s", (double)x.samples[n / 2] / 1e3,
               (double)x.samples[n * 99 / 100] / 1e3, n, "");
    }
    free(x.samples);
    stop(&x);
}

/* What the kernel itself does with 64 KiB at a time. */
static void
bench_cat(bool socket, int64_t run_ns)
{
    struct ends ends = make_ends(socket);
    int64_t from = clock_boot_ns();
    uint64_t sent = 0;
    pid_t pid = fork();

    if (pid == 0) {
        close_side(ends.a_in, ends.a_out);
        for (;;) {
            struct pollfd p = {.fd = ends.b_in, .events = POLLIN};
            ssize_t n = read(ends.b_in, block, 65536);

            if (n == 0) {
                _exit(0);
            }
            if (n == -1) {
                (void)poll(&p, 1, -1);
            }
        }
    }
    close_side(ends.b_in, ends.b_out);
    while (clock_boot_ns() - from < run_ns) {
        struct pollfd p = {.fd = ends.a_out, .events = POLLOUT};
        ssize_t n = write(ends.a_out, block, 65536);

        if (n > 0) {
            sent += (uint64_t)n;
        } else {
            (void)poll(&p, 1, -1);
        }
    }
    report("cat", socket ? "socket" : "pipe", "%.2f GB/s",
           (double)sent / (double)(clock_boot_ns() - from));
    close_side(ends.a_in, ends.a_out);
    (void)waitpid(pid, NULL, 0);
}

int
main(int argc, char **argv)
{
    int64_t run_ns = (argc > 1 ? atoi(argv[1]) : 1) * SECOND;

    (void)signal(SIGPIPE, SIG_IGN);
    memset(block, 'x', sizeof block);
    for (int socket = 0; socket < 2; socket++) {
        bench_cat(socket == 1, run_ns);
        bench_bulk(socket == 1, run_ns);
        bench_source(socket == 1, run_ns);
        bench_calls(socket == 1, false, run_ns / 2);
        bench_calls(socket == 1, true, run_ns);
    }
    return 0;
}
