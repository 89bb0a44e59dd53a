#include "runner/host/bookline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/loop/child.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"
#include "runner/loop/unix.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"

#define COMMAND   "gpurun-book serve"
#define CONNECT_S "20"
#define READY_NS  ((int64_t)40 * 1000000000)
#define ANSWER_NS ((int64_t)60 * 1000000000)
#define LEAVE_NS  ((int64_t)2 * 1000000000)
#define SAID_MAX  1024

struct bookline {
    const struct host_book *book;
    struct loop *loop;
    struct conn *conn;
    struct child *child;
    int said_fd; /* what ssh says; -1: none */
    bool ended;
    bool wrong; /* another book answers: why */
    struct err why;
};

/* ---- ssh ---- */

static void
child_ended(void *ctx, const struct child_end *end)
{
    struct bookline *l = ctx;

    (void)end;
    l->ended = true;
}

static const char *
ssh_program(void)
{
    const char *named = getenv("GPURUN_SSH");

    return named != NULL && *named != '\0' ? named : "ssh";
}

/* What ssh says goes into a pipe of bounded size: who says more than that waits. */
static int
start_ssh(struct bookline *l, int wire_fd, struct err *e)
{
    static const char *const fixed[] = {"-T",
                                        "-oBatchMode=yes",
                                        "-oStrictHostKeyChecking=yes",
                                        "-oClearAllForwardings=yes",
                                        "-oForwardAgent=no",
                                        "-oForwardX11=no",
                                        "-oPermitLocalCommand=no",
                                        "-oControlMaster=no",
                                        "-oControlPath=none",
                                        "-oRemoteCommand=none",
                                        "-oUpdateHostKeys=no",
                                        "-oEscapeChar=none",
                                        "-oLogLevel=ERROR",
                                        ("-oConnectTimeout=" CONNECT_S),
                                        "--"};
    enum { N_FIXED = sizeof fixed / sizeof *fixed };
    const char *argv[N_FIXED + 4];
    char *place = xasprintf("ssh://%s", l->book->where);
    int said[2] = {-1, -1};
    int fds[3];
    struct child_options o = {.file = ssh_program(),
                              .argv = (char *const *)(uintptr_t)argv,
                              .fds = fds,
                              .n_fds = 3,
                              .death_signal = SIGTERM};
    int rc = -1;

    argv[0] = o.file;
    memcpy(argv + 1, fixed, sizeof fixed);
    argv[N_FIXED + 1] = place;
    argv[N_FIXED + 2] = COMMAND;
    argv[N_FIXED + 3] = NULL;
    if (pipe2(said, O_CLOEXEC) != 0) {
        err_set_sys(e, errno, "cannot make a pipe");
        goto out;
    }
    fds[0] = wire_fd;
    fds[1] = wire_fd;
    fds[2] = said[1];
    if (child_start(&l->child, l->loop, &o, child_ended, l, e) != 0) {
        (void)err_wrap(e, "cannot run '%s'", o.file);
        goto out;
    }
    l->said_fd = said[0];
    said[0] = -1;
    (void)fcntl(l->said_fd, F_SETFL, O_NONBLOCK);
    rc = 0;

out:
    (void)fd_close(&said[0]);
    (void)fd_close(&said[1]);
    free(place);
    return rc;
}

/* The last line that ssh, or the login there, has written. */
static void
add_said(const struct bookline *l, struct err *e)
{
    char text[SAID_MAX + 1];
    char shown[200];
    ssize_t n = l->said_fd != -1 ? read(l->said_fd, text, SAID_MAX) : 0;
    char *line = text;

    if (n <= 0) {
        return;
    }
    text[n] = '\0';
    while (n > 0 && strchr("\r\n", text[n - 1]) != NULL) {
        text[--n] = '\0';
    }
    if (strrchr(text, '\n') != NULL) {
        line = strrchr(text, '\n') + 1;
    }
    if (*line != '\0') {
        err_set(e, ERR_LINK, "%s", text_escape_to(shown, sizeof shown, line));
    }
}

/* ---- the wire ---- */

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct bookline *l = ctx;

    (void)m;
    if (peer->role != HELLO_ROLE_BOOK || !peer->has_key) {
        l->wrong = true;
        err_set(&l->why, ERR_DENIED, "what answers there is not a gpurun-book");
    } else if (memcmp(peer->key.b, l->book->key.b, sizeof peer->key.b) != 0) {
        l->wrong = true;
        err_set(&l->why, ERR_DENIED,
                "the book there has another key than the one that was accepted");
    }
}

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    (void)ctx;
    (void)c;
    (void)why;
}

static int
start_wire(struct bookline *l, const struct agent *a, int fd, struct err *e)
{
    static const struct mux_events events = {.on_hello = on_hello};
    struct hello h;
    struct conn_options o = {.mux = {.initiator = true,
                                     .noisy = true,
                                     .hello = &h,
                                     .events = &events,
                                     .ctx = l},
                             .on_closed = on_closed,
                             .ctx = l};
    int rc;

    hello_init(&h, HELLO_ROLE_SERVE, GPURUN_VERSION);
    h.has_key = true;
    h.key = a->pub;
    rc = conn_new(&l->conn, l->loop, fd, fd, &o, e);
    hello_clear(&h);
    return rc;
}

static int
wait_ready(struct bookline *l, struct err *e)
{
    struct err why;
    char shown[300];

    if (conn_wait_ready(l->conn, READY_NS, &why) != 0) {
        err_set(e, ERR_LINK, "%s", text_escape_to(shown, sizeof shown, why.msg));
        add_said(l, e);
        return -1;
    }
    if (l->wrong) {
        *e = l->why;
        return -1;
    }
    return 0;
}

int
bookline_open(struct bookline **out, const struct agent *a, const struct host_book *book,
              struct err *e)
{
    struct bookline *l = xcalloc(1, sizeof *l);
    int pair[2] = {-1, -1};
    int ours;
    int rc = -1;

    l->book = book;
    l->said_fd = -1;
    if (loop_new(&l->loop, e) != 0 || unix_pair(pair, e) != 0) {
        goto out;
    }
    /* ssh's end must block: it is its standard input. */
    (void)fcntl(pair[1], F_SETFL, fcntl(pair[1], F_GETFL) & ~O_NONBLOCK);
    if (start_ssh(l, pair[1], e) != 0) {
        goto out;
    }
    (void)fd_close(&pair[1]); /* or its end would never show */
    ours = pair[0];
    pair[0] = -1;
    if (start_wire(l, a, ours, e) == 0 && wait_ready(l, e) == 0) {
        rc = 0;
    }

out:
    (void)fd_close(&pair[0]);
    (void)fd_close(&pair[1]);
    if (rc != 0) {
        (void)err_wrap(e, "the book '%s' at %s", book->name, book->where);
        bookline_close(l);
        return -1;
    }
    *out = l;
    return 0;
}

static bool
has_ended(void *ctx)
{
    const struct bookline *l = ctx;

    return l->ended;
}

static bool
is_through(void *ctx)
{
    const struct bookline *l = ctx;

    return !conn_is_open(l->conn);
}

/* Goodbye first; an ssh that does not go then is made to. */
void
bookline_close(struct bookline *l)
{
    struct err none;

    if (l == NULL) {
        return;
    }
    if (l->conn != NULL && conn_is_open(l->conn)) {
        conn_finish(l->conn, NULL, NULL, LEAVE_NS);
        (void)loop_run_until(l->loop, is_through, l, LEAVE_NS);
    }
    conn_free(l->conn);
    (void)fd_close(&l->said_fd);
    if (l->child != NULL && !l->ended &&
        !loop_run_until(l->loop, has_ended, l, LEAVE_NS)) {
        (void)!child_kill(l->child, SIGTERM, &none);
        if (!loop_run_until(l->loop, has_ended, l, LEAVE_NS)) {
            (void)!child_kill(l->child, SIGKILL, &none);
            (void)loop_run_until(l->loop, has_ended, l, LEAVE_NS);
        }
    }
    child_free(l->child);
    loop_free(l->loop);
    free(l);
}

int
bookline_call(struct bookline *l, const struct rec *req, struct rec **resp, struct err *e)
{
    char hint[MUX_HINT_MAX + 1] = "";
    struct rec *answer = NULL;
    struct err why;
    char shown[300];

    if (call_wait(l->conn, req, ANSWER_NS, &answer, hint, &why) != 0) {
        /* Why it hung up is no answer to what was asked. */
        err_set(e, conn_is_open(l->conn) ? why.code : ERR_LINK, "%s",
                text_escape_to(shown, sizeof shown, why.msg));
        return err_wrap(e, "the book '%s'", l->book->name);
    }
    if (resp != NULL) {
        *resp = answer;
    } else {
        rec_free(answer);
    }
    return 0;
}
