/*
 * A small client of gpurun-agent, over a pipe: for tests of the host side that need to
 * see what the real client hides.
 *
 *   agentdrive [OPTIONS] AGENT info | list
 *   agentdrive [OPTIONS] AGENT run [--] COMMAND…         prints the job's id on stderr
 *   agentdrive [OPTIONS] AGENT follow|stop|show|usage JOB
 *   agentdrive [OPTIONS] AGENT signal JOB N              exec JOB COMMAND…
 *
 * Exits with the job's exit code (job_exit_code). The key is $GPURUN_HOME/key.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "meter/receipt.h"
#include "runner/job/hostinfo.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/loop/child.h"
#include "runner/loop/conn.h"
#include "runner/wire/msg.h"
#include "storage/sync.h"

#define ANSWER_NS ((int64_t)60 * 1000000000)

struct drive {
    struct loop *loop;
    struct conn *conn;
    struct sign_key *key;
    struct sign_public pub;
    char renter[SIGN_ID_LEN + 1];
    struct host_info info;
    struct job_state state;
    bool has_state;
    int open_streams; /* out and err that have not ended */
    struct channel *in;
    struct watch *in_watch;
    struct sync_send *send;
    struct channel *ship;
    struct waker *ship_waker;
    int exec_status; /* -1: not told */
    /* options */
    const char *dir;
    const char *env;
    const char *secret;
    const char *from;
    const char *setup;
    const char *kind;
    const char *want;
    const char *class_name;
    bool use_stdin, detach, now, no_snapshot, quiet, tty;
    bool lease, balance; /* what an operator's book would call the end and the cap */
    int64_t mem, max_time, window, cap, idle, cores, skip_out;
};

static _Noreturn void
die(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "agentdrive: %s: %s (%s)\n", what, e->msg,
                  err_code_name(e->code));
    exit(101);
}

static void
take_state(struct drive *d, const struct rec *r)
{
    size_t len;
    const char *text = rec_get_bytes(r, "state", &len);
    struct rec *sub = NULL;
    struct job_state st;
    struct err e;
    char phrase[JOB_PHRASE_MAX];

    if (text == NULL || rec_parse(&sub, text, len, STATE_TYPE, &e) != 0 ||
        state_parse(&st, sub, &e) != 0) {
        die("state", &e);
    }
    rec_free(sub);
    state_free(&d->state);
    d->state = st;
    d->has_state = true;
    job_phrase(&st, phrase);
    if (!d->quiet) {
        (void)fprintf(stderr, "state: %s%s%s\n", phrase, st.detail != NULL ? ": " : "",
                      st.detail != NULL ? st.detail : "");
    }
}

static void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    (void)m;
    if (strcmp(rec_type(event), EVENT_STATE) == 0) {
        take_state(ctx, event);
    }
}

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    (void)ctx;
    (void)c;
    if (why != NULL) {
        die("connection", why);
    }
    (void)fprintf(stderr, "agentdrive: the agent left\n");
    exit(103);
}

static struct rec *
ask(struct drive *d, struct rec *req)
{
    struct rec *resp = NULL;
    struct err e;

    if (call_wait(d->conn, req, ANSWER_NS, &resp, NULL, &e) != 0) {
        die("refused", &e);
    }
    rec_free(req);
    return resp;
}

static struct rec *
job_request(const char *verb, const char *job)
{
    struct rec *r = msg_request_new(verb);

    rec_add(r, "job", job);
    return r;
}

static void
connect_agent(struct drive *d, const char *agent, const char *renter)
{
    static const struct mux_events events = {.on_event = on_event};
    char *argv[] = {(char *)(uintptr_t)agent, (char *)(uintptr_t) "serve",
                    (char *)(uintptr_t) "--renter", (char *)(uintptr_t)renter, NULL};
    struct hello h;
    struct conn_options o = {
        .mux = {.initiator = true, .hello = &h, .events = &events, .ctx = d},
        .on_closed = on_closed,
        .ctx = d};
    int pair[2];
    int fds[3];
    struct child_options co = {.file = agent, .argv = argv, .fds = fds, .n_fds = 3};
    const struct rec *extra;
    struct rec *r = NULL;
    struct err e;
    const char *text;
    size_t len;
    pid_t pid;

    if (renter == NULL) {
        argv[2] = NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        exit(101);
    }
    fds[0] = fds[1] = pair[1];
    fds[2] = 2;
    if (child_spawn(&pid, &co, &e) != 0) {
        die("start", &e);
    }
    (void)close(pair[1]);
    hello_init(&h, HELLO_ROLE_CLIENT, GPURUN_VERSION);
    h.has_key = true;
    h.key = d->pub;
    memcpy(h.renter, d->renter, sizeof d->renter);
    if (conn_new(&d->conn, d->loop, pair[0], pair[0], &o, &e) != 0 ||
        conn_wait_ready(d->conn, ANSWER_NS, &e) != 0) {
        die("connect", &e);
    }
    hello_clear(&h);
    extra = mux_peer(conn_mux(d->conn))->extra;
    text = extra == NULL ? NULL : rec_get_bytes(extra, "host", &len);
    if (text == NULL || rec_parse(&r, text, len, HOSTINFO_TYPE, &e) != 0 ||
        hostinfo_parse(&d->info, r, &e) != 0) {
        die("host record", &e);
    }
    rec_free(r);
}

/* ---- shipping ---- */

static void
ship_push(struct drive *d)
{
    const uint8_t *data;
    size_t len;
    struct err e;

    if (d->ship == NULL) {
        return;
    }
    while ((data = sync_send_output(d->send, &len)) != NULL && len > 0) {
        size_t n = channel_send(d->ship, data, len);

        sync_send_sent(d->send, n);
        if (n < len) {
            return;
        }
    }
    if (sync_send_state(d->send, &e) == SYNC_FAILED) {
        die("ship", &e);
    }
}

static void
ship_woken(void *ctx)
{
    ship_push(ctx);
}

static void
ship_wake(void *ctx)
{
    struct drive *d = ctx;

    waker_wake(d->ship_waker);
}

static size_t
ship_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct drive *d = ctx;
    struct err e;

    (void)c;
    if (sync_send_input(d->send, data, n, &e) != 0) {
        die("ship", &e);
    }
    ship_push(d);
    return n;
}

static void
ship_writable(void *ctx, struct channel *c)
{
    (void)c;
    ship_push(ctx);
}

static void
ship_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)ctx;
    (void)c;
    die("ship", why);
}

static bool
ship_built(void *ctx)
{
    struct drive *d = ctx;
    const struct build_report *r;
    struct err e;

    if (sync_send_built(d->send, &r, &e) != 0) {
        die("scan", &e);
    }
    return r != NULL;
}

static void
ship(struct drive *d, struct sha256 *tree)
{
    static const struct channel_events events = {
        .on_data = ship_data, .on_writable = ship_writable, .on_reset = ship_reset};
    struct build_options b = {.policy = BUILD_SHIP};
    struct sync_send_options so = {.wake = ship_wake, .wake_ctx = d};
    struct channel_options co = {.cls = CHANNEL_BULK, .events = &events, .ctx = d};
    const struct build_report *report = NULL;
    struct rec *open_rec = rec_new(OPEN_SHIP);
    struct err e;
    int fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1 || waker_new(&d->ship_waker, d->loop, ship_woken, d, &e) != 0 ||
        sync_send_dir(&d->send, fd, &b, &so, &e) != 0) {
        die("ship", &e);
    }
    (void)loop_run_until(d->loop, ship_built, d, -1);
    if (sync_send_built(d->send, &report, &e) != 0) {
        die("scan", &e);
    }
    *tree = report->tree;
    rec_add_hex(open_rec, "tree", tree->b, sizeof tree->b);
    d->ship = channel_new(&co);
    if (mux_open(conn_mux(d->conn), d->ship, open_rec, &e) != 0) {
        die("ship", &e);
    }
    rec_free(open_rec);
    sync_send_begin(d->send, NULL);
    ship_push(d);
}

/* ---- streams ---- */

struct sink {
    struct drive *d;
    int fd;
};

static size_t
sink_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct sink *k = ctx;

    (void)c;
    if (fd_write_all(k->fd, data, n) != 0) {
        exit(141);
    }
    return n;
}

static void
sink_gap(void *ctx, struct channel *c, uint64_t from, uint64_t to)
{
    (void)ctx;
    (void)c;
    (void)fprintf(stderr, "gap: %llu to %llu\n", (unsigned long long)from,
                  (unsigned long long)to);
}

static void
sink_eof(void *ctx, struct channel *c)
{
    struct sink *k = ctx;

    (void)c;
    k->d->open_streams--;
}

static void
sink_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)ctx;
    (void)c;
    die("stream", why);
}

static void
sink_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
          size_t n)
{
    struct sink *k = ctx;

    (void)c;
    (void)at;
    if (kind == NOTE_EXEC_EXIT && n == 2) {
        k->d->exec_status = data[0] == NOTE_EXEC_EXITED ? data[1] : 128 + data[1];
    }
}

static const struct channel_events sink_events = {.on_data = sink_data,
                                                  .on_gap = sink_gap,
                                                  .on_eof = sink_eof,
                                                  .on_note = sink_note,
                                                  .on_reset = sink_reset};

static struct channel *
open_sink(struct drive *d, struct rec *r, int fd, int64_t start, bool both)
{
    struct sink *k = xmalloc(sizeof *k);
    struct channel_options o = {.cls = CHANNEL_INTERACTIVE,
                                .recv_start = (uint64_t)start,
                                .recv_gaps = true,
                                .events = &sink_events,
                                .ctx = k};
    struct channel *c;
    struct err e;

    *k = (struct sink){d, fd};
    c = channel_new(&o);
    if (!both) {
        channel_send_eof(c);
    }
    if (mux_open(conn_mux(d->conn), c, r, &e) != 0) {
        die("open", &e);
    }
    rec_free(r);
    d->open_streams++;
    return c;
}

static void
input_readable(void *ctx, int events)
{
    struct drive *d = ctx;
    size_t room;
    uint8_t *to = channel_send_room(d->in, &room);
    ssize_t n;

    (void)events;
    if (room == 0) {
        watch_arm(d->in_watch, WATCH_NONE);
        return;
    }
    n = read(STDIN_FILENO, to, room);
    if (n > 0) {
        channel_send_filled(d->in, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        channel_send_eof(d->in);
        watch_free(d->in_watch);
        d->in_watch = NULL;
    }
}

static void
input_writable(void *ctx, struct channel *c)
{
    struct drive *d = ctx;

    (void)c;
    if (d->in_watch != NULL) {
        watch_arm(d->in_watch, WATCH_READ);
    }
}

static void
watch_input(struct drive *d)
{
    struct err e;

    if (watch_new(&d->in_watch, d->loop, STDIN_FILENO, input_readable, d, &e) != 0) {
        die("stdin", &e);
    }
    watch_arm(d->in_watch, WATCH_READ);
}

static void
open_stdin(struct drive *d, const char *job)
{
    static const struct channel_events events = {.on_writable = input_writable,
                                                 .on_reset = NULL};
    struct channel_options o = {.cls = CHANNEL_INTERACTIVE,
                                .send_start = CHANNEL_ANY,
                                .events = &events,
                                .ctx = d};
    struct rec *r = rec_new(OPEN_STDIN);
    struct err e;

    rec_add(r, "job", job);
    d->in = channel_new(&o);
    if (mux_open(conn_mux(d->conn), d->in, r, &e) != 0) {
        die("stdin", &e);
    }
    rec_free(r);
    watch_input(d);
}

static struct rec *
log_open(const char *type, const char *job)
{
    struct rec *r = rec_new(type);

    rec_add(r, "job", job);
    rec_add_int(r, "follow", 1);
    return r;
}

static bool
all_done(void *ctx)
{
    struct drive *d = ctx;

    return d->open_streams == 0 && d->has_state && job_phase_is_final(d->state.phase);
}

static int
follow(struct drive *d, const char *job)
{
    struct rec *resp;

    (void)open_sink(d, log_open(OPEN_OUT, job), STDOUT_FILENO, d->skip_out, false);
    (void)open_sink(d, log_open(OPEN_ERR, job), STDERR_FILENO, 0, false);
    if (d->use_stdin) {
        open_stdin(d, job);
    }
    resp = ask(d, job_request(VERB_JOB_FOLLOW, job));
    take_state(d, resp);
    rec_free(resp);
    (void)loop_run_until(d->loop, all_done, d, -1);
    return job_exit_code(&d->state);
}

/* ---- commands ---- */

static struct rec *
make_spec(struct drive *d, const char *job, const struct sha256 *tree, int argc,
          char **argv)
{
    struct job_spec s;
    struct rec *r;

    spec_init(&s);
    memcpy(s.job, job, sizeof s.job);
    memcpy(s.renter, d->renter, sizeof s.renter);
    s.name = xstrdup("drive");
    for (int i = 0; i < argc; i++) {
        strings_add(&s.args, argv[i]);
    }
    s.kind = strcmp(d->kind, "python") == 0 ? SPEC_KIND_PYTHON
             : strcmp(d->kind, "sh") == 0   ? SPEC_KIND_SH
                                            : SPEC_KIND_EXEC;
    s.device_class = xstrdup(d->class_name);
    s.device_type = xstrdup(d->want);
    s.count = d->cores;
    s.max_time_s = d->max_time;
    s.window_s = d->window;
    s.mem_bytes = d->mem;
    s.idle_s = d->idle;
    s.tty = d->tty;
    s.stdin_mode = d->use_stdin ? SPEC_STDIN_OPEN : SPEC_STDIN_NULL;
    if (tree != NULL) {
        s.has_tree = true;
        s.tree = *tree;
    }
    if (d->from != NULL) {
        memcpy(s.from, d->from, JOB_ID_LEN + 1);
    }
    if (d->env != NULL) {
        strings_add(&s.env, d->env);
    }
    if (d->secret != NULL) {
        char *name = xstrdup(d->secret);

        *strchr(name, '=') = '\0';
        strings_add(&s.secrets, name);
        free(name);
    }
    r = spec_encode(&s);
    spec_free(&s);
    return r;
}

static void
make_grant(struct drive *d, const char *job, struct buf *out)
{
    struct offer *o = NULL;
    struct grant g;
    struct err e;
    const char *type = "";

    grant_init(&g);
    if (offer_parse(&o, d->info.offer, d->info.offer_len, &d->info.key, &e) != 0) {
        die("offer", &e);
    }
    for (size_t i = 0; i < d->info.devices.n; i++) {
        const struct device *dev = &d->info.devices.v[i];

        if (strcmp(d->class_name, "cpu") != 0 &&
            device_matches(dev, d->class_name, d->want)) {
            type = dev->type;
        }
    }
    random_id("l", g.lease);
    g.seq = 1;
    (void)strcpy(g.job, job);
    g.renter = d->pub;
    if (grant_set_offer(&g, o, d->class_name, type, d->cores, &e) != 0) {
        die("grant", &e);
    }
    g.window_s = d->window;
    g.max_s = d->max_time;
    g.end_why = d->lease ? GRANT_LIMIT_LEASE : GRANT_LIMIT_TIME;
    g.cap_why = d->balance ? GRANT_LIMIT_BALANCE : GRANT_LIMIT_COST;
    g.made_wall_ns = clock_wall_ns();
    g.until_wall_ns = g.made_wall_ns + (int64_t)3600 * 1000000000;
    g.cap_fen = d->cap;
    if (d->cap < 0 && grant_default_cap(&g, 1 << 20, &g.cap_fen, &e) != 0) {
        die("cap", &e);
    }
    if (grant_sign(&g, d->key, &e) != 0) {
        die("grant", &e);
    }
    buf_add(out, g.bytes.data, g.bytes.len);
    grant_clear(&g);
    offer_free(o);
}

static int
run(struct drive *d, int argc, char **argv)
{
    struct rec *req = msg_request_new(VERB_JOB_SUBMIT);
    struct sha256 tree;
    struct buf b = BUF_INIT;
    struct rec *r;
    char job[JOB_ID_LEN + 1];

    random_id("j", job);
    if (d->dir != NULL) {
        ship(d, &tree);
    }
    r = make_spec(d, job, d->dir == NULL ? NULL : &tree, argc, argv);
    rec_encode(r, &b);
    rec_add_bytes(req, "spec", b.data, b.len);
    rec_free(r);
    buf_reset(&b);
    make_grant(d, job, &b);
    rec_add_bytes(req, "grant", b.data, b.len);
    buf_free(&b);
    if (d->secret != NULL) {
        rec_add(req, "secret", d->secret);
    }
    msg_add_key(req, NULL);
    if (d->detach) {
        r = ask(d, req);
        take_state(d, r);
        rec_free(r);
        (void)printf("%s\n", job);
        return 0;
    }
    {
        struct call *k;
        struct err e;
        extern void submit_answered(void *, const struct rec *, const struct err *,
                                    const char *);

        if (call_start(&k, d->conn, req, -1, submit_answered, d, &e) != 0) {
            die("submit", &e);
        }
        rec_free(req);
    }
    (void)fprintf(stderr, "job: %s\n", job);
    return follow(d, job);
}

void submit_answered(void *ctx, const struct rec *resp, const struct err *why,
                     const char *hint);

void
submit_answered(void *ctx, const struct rec *resp, const struct err *why,
                const char *hint)
{
    (void)ctx;
    (void)resp;
    (void)hint;
    if (why != NULL) {
        die("submit", why);
    }
}

static bool
exec_done(void *ctx)
{
    struct drive *d = ctx;

    return d->open_streams == 0;
}

static int
run_exec(struct drive *d, const char *job, int argc, char **argv)
{
    struct rec *r = rec_new(OPEN_EXEC);
    char id[JOB_ID_LEN + 1];

    random_id("x", id);
    rec_add(r, "job", job);
    rec_add(r, "exec", id);
    for (int i = 0; i < argc; i++) {
        rec_add(r, "arg", argv[i]);
    }
    if (d->tty) {
        rec_add_int(r, "tty", 1);
    }
    d->exec_status = -1;
    d->in = open_sink(d, r, STDOUT_FILENO, 0, true);
    if (!d->tty) {
        r = rec_new(OPEN_EXEC_ERR);
        rec_add(r, "job", job);
        rec_add(r, "exec", id);
        (void)open_sink(d, r, STDERR_FILENO, 0, false);
    }
    if (d->use_stdin) {
        watch_input(d);
    } else {
        channel_send_eof(d->in);
    }
    (void)loop_run_until(d->loop, exec_done, d, -1);
    return d->exec_status == -1 ? 102 : d->exec_status;
}

static int
usage_of(struct drive *d, const char *job)
{
    struct buf all = BUF_INIT;
    struct receipt_pins pins = {.host = &d->info.key, .job = job};
    struct receipt *receipt = NULL;
    struct err e;
    int64_t end = 0;

    while (end == 0) {
        struct rec *req = job_request(VERB_JOB_USAGE, job);
        struct rec *resp;
        const char *part;
        size_t len;

        rec_add_int(req, "from", (int64_t)all.len);
        rec_add_int(req, "wait", 1);
        resp = ask(d, req);
        part = rec_get_bytes(resp, "journal", &len);
        buf_add(&all, part, len);
        if (rec_need_int(resp, "end", 0, 1, &end, &e) != 0) {
            die("usage", &e);
        }
        rec_free(resp);
    }
    if (receipt_verify(&receipt, all.data, all.len, &pins, &e) != 0) {
        die("receipt", &e);
    }
    (void)printf("receipt: %s exit %d signal %d device_s %lld charge %lld fen lost %d "
                 "intervals",
                 receipt->reason, receipt->exit_code, receipt->signal,
                 (long long)receipt->device_s, (long long)receipt->charge_fen,
                 receipt->lost);
    for (size_t i = 0; i < receipt->n_intervals; i++) {
        (void)printf(" %s", usage_state_name(receipt->intervals[i].state));
    }
    (void)printf("\n");
    receipt_free(receipt);
    buf_free(&all);
    return 0;
}

static void
print_states(const struct rec *resp)
{
    for (size_t i = 0; i < rec_count(resp, "state"); i++) {
        size_t len;
        const char *text = rec_get_nth(resp, "state", i, &len);

        (void)fwrite(text, 1, len, stdout);
        (void)putchar('\n');
    }
}

static int
command(struct drive *d, const char *what, int argc, char **argv)
{
    struct rec *req;
    struct rec *resp;

    if (strcmp(what, "run") == 0) {
        bool dashes = argc > 0 && strcmp(argv[0], "--") == 0;

        return dashes ? run(d, argc - 1, argv + 1) : run(d, argc, argv);
    }
    if (strcmp(what, "info") == 0) {
        (void)printf(
            "version %s arch %s cores %lld protection %s%s%s confine %s memory %s "
            "devices",
            d->info.version, d->info.arch, (long long)d->info.cores,
            host_protection_name(d->info.protection),
            d->info.protection_why == NULL ? "" : ": ",
            d->info.protection_why == NULL ? "" : d->info.protection_why, d->info.confine,
            d->info.memory_by);
        for (size_t i = 0; i < d->info.devices.n; i++) {
            (void)printf(" %s:%s:%s", d->info.devices.v[i].device_class,
                         d->info.devices.v[i].type,
                         device_free_name(d->info.devices.v[i].state));
        }
        (void)printf("\n");
        return 0;
    }
    if (strcmp(what, "list") == 0) {
        req = msg_request_new(VERB_JOB_LIST);
        rec_add_int(req, "all", 1);
        resp = ask(d, req);
        print_states(resp);
        rec_free(resp);
        return 0;
    }
    if (argc < 1) {
        (void)fprintf(stderr, "agentdrive: %s needs a job\n", what);
        return 100;
    }
    if (strcmp(what, "follow") == 0) {
        return follow(d, argv[0]);
    }
    if (strcmp(what, "usage") == 0) {
        return usage_of(d, argv[0]);
    }
    if (strcmp(what, "exec") == 0) {
        return run_exec(d, argv[0], argc - 1, argv + 1);
    }
    req = job_request(strcmp(what, "stop") == 0     ? VERB_JOB_STOP
                      : strcmp(what, "signal") == 0 ? VERB_JOB_SIGNAL
                                                    : VERB_JOB_SHOW,
                      argv[0]);
    if (strcmp(what, "signal") == 0) {
        rec_add(req, "signal", argv[1]);
        msg_add_key(req, NULL);
    }
    rec_add_int(req, "now", d->now ? 1 : 0);
    rec_add_int(req, "no_snapshot", d->no_snapshot ? 1 : 0);
    resp = ask(d, req);
    print_states(resp);
    rec_free(resp);
    return 0;
}

enum {
    O_DIR = 256,
    O_ENV,
    O_SECRET,
    O_STDIN,
    O_DETACH,
    O_NOW,
    O_NOSNAP,
    O_QUIET,
    O_TTY,
    O_MEM,
    O_TIME,
    O_WINDOW,
    O_CAP,
    O_IDLE,
    O_CORES,
    O_KIND,
    O_GPU,
    O_FROM,
    O_RENTER,
    O_SKIP,
    O_END_WHY,
    O_CAP_WHY
};

int
main(int argc, char **argv)
{
    static const struct option options[] = {{"dir", 1, NULL, O_DIR},
                                            {"env", 1, NULL, O_ENV},
                                            {"secret", 1, NULL, O_SECRET},
                                            {"stdin", 0, NULL, O_STDIN},
                                            {"detach", 0, NULL, O_DETACH},
                                            {"now", 0, NULL, O_NOW},
                                            {"no-snapshot", 0, NULL, O_NOSNAP},
                                            {"quiet", 0, NULL, O_QUIET},
                                            {"tty", 0, NULL, O_TTY},
                                            {"mem", 1, NULL, O_MEM},
                                            {"max-time", 1, NULL, O_TIME},
                                            {"window", 1, NULL, O_WINDOW},
                                            {"cap", 1, NULL, O_CAP},
                                            {"idle", 1, NULL, O_IDLE},
                                            {"cores", 1, NULL, O_CORES},
                                            {"kind", 1, NULL, O_KIND},
                                            {"gpu", 1, NULL, O_GPU},
                                            {"from", 1, NULL, O_FROM},
                                            {"renter", 1, NULL, O_RENTER},
                                            {"skip-out", 1, NULL, O_SKIP},
                                            {"end-why", 1, NULL, O_END_WHY},
                                            {"cap-why", 1, NULL, O_CAP_WHY},
                                            {NULL, 0, NULL, 0}};
    /* Static: what it holds when the program exits is no leak. */
    static struct drive d = {.kind = "exec",
                             .want = "any",
                             .class_name = "cpu",
                             .cores = 1,
                             .max_time = 3600,
                             .window = 60,
                             .cap = -1};
    const char *renter = NULL;
    const char *home = getenv("GPURUN_HOME");
    char *key;
    struct err e;
    int c;

    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (c) {
        case O_DIR:
            d.dir = optarg;
            break;
        case O_ENV:
            d.env = optarg;
            break;
        case O_SECRET:
            d.secret = optarg;
            break;
        case O_STDIN:
            d.use_stdin = true;
            break;
        case O_DETACH:
            d.detach = true;
            break;
        case O_NOW:
            d.now = true;
            break;
        case O_NOSNAP:
            d.no_snapshot = true;
            break;
        case O_QUIET:
            d.quiet = true;
            break;
        case O_TTY:
            d.tty = true;
            break;
        case O_MEM:
            d.mem = atoll(optarg);
            break;
        case O_TIME:
            d.max_time = atoll(optarg);
            break;
        case O_WINDOW:
            d.window = atoll(optarg);
            break;
        case O_CAP:
            d.cap = atoll(optarg);
            break;
        case O_IDLE:
            d.idle = atoll(optarg);
            break;
        case O_CORES:
            d.cores = atoll(optarg);
            break;
        case O_KIND:
            d.kind = optarg;
            break;
        case O_GPU:
            d.want = optarg;
            d.class_name = "gpu";
            break;
        case O_FROM:
            d.from = optarg;
            break;
        case O_RENTER:
            renter = optarg;
            break;
        case O_SKIP:
            d.skip_out = atoll(optarg);
            break;
        case O_END_WHY:
            d.lease = strcmp(optarg, "lease") == 0;
            break;
        case O_CAP_WHY:
            d.balance = strcmp(optarg, "balance") == 0;
            break;
        default:
            return 100;
        }
    }
    if (argc - optind < 2 || home == NULL) {
        (void)fprintf(stderr,
                      "usage: GPURUN_HOME=DIR agentdrive [OPTIONS] AGENT COMMAND …\n");
        return 100;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    state_init(&d.state);
    key = path_join(home, "key");
    if (file_mkdirs(home, 0700, &e) != 0 || sign_key_open(&d.key, key, &e) != 0 ||
        loop_new(&d.loop, &e) != 0) {
        die("begin", &e);
    }
    free(key);
    sign_key_public(d.key, &d.pub);
    sign_public_id(&d.pub, d.renter);
    connect_agent(&d, argv[optind], renter);
    return command(&d, argv[optind + 1], argc - optind - 2, argv + optind + 2);
}
