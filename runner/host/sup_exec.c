#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/file.h"
#include "runner/host/bridge.h"
#include "runner/host/loginenv.h"
#include "runner/host/supervise_internal.h"
#include "runner/job/verbs.h"
#include "runner/loop/fdio.h"
#include "runner/wire/msg.h"

#define EXECS_MAX 64
/* Of those that ended, how many wait for a client that may come back for what it has not
 * heard of them. */
#define EXECS_KEPT_MAX ((size_t)4 * EXECS_MAX)
#define EXEC_ARGS_MAX  SPEC_ARGS_MAX
#define LINGER_NS      ((int64_t)300000000)        /* for output after its exit */
#define ORPHAN_NS      ((int64_t)600 * 1000000000) /* for its client to come back */
#define PTY_EOF        "\x04"
#define NO_PROGRAM     127 /* as a shell exits where there is none, */
#define NO_START       126 /* and where it cannot be run */

/* A command that a client runs beside the job's own, in the same walls and environment.
 */
struct sup_exec {
    struct sup *sup;
    struct sup_exec *next;
    char id[JOB_ID_LEN + 1];
    uint32_t command;
    bool tty;
    int pty_fd; /* for window sizes; -1 */
    struct bridge *main;
    struct bridge *err; /* once its channel was opened */
    int err_fd;         /* until then */
    bool exited;
    bool out_ended;
    bool said; /* the exit was told */
    bool main_over, err_over;
    int status;
    struct timer *linger;
    struct timer *orphan;
};

/* ---- the end of one ---- */

static void
exec_free(struct sup_exec *x, const struct err *why)
{
    struct sup *s = x->sup;
    struct sup_exec **at = &s->execs;

    while (*at != NULL && *at != x) {
        at = &(*at)->next;
    }
    if (*at == x) {
        *at = x->next;
    }
    timer_free(x->linger);
    timer_free(x->orphan);
    bridge_free(x->main, why);
    bridge_free(x->err, why);
    (void)fd_close(&x->err_fd);
    (void)fd_close(&x->pty_fd);
    free(x);
}

static void
free_later(void *ctx)
{
    exec_free(ctx, NULL);
}

static void
hang_up(struct sup_exec *x)
{
    struct err e;

    if (!x->exited && x->sup->guard != NULL &&
        guard_signal(x->sup->guard, x->command, SIGHUP, &e) != 0) {
        sup_say(x->sup, "%s", e.msg);
    }
}

/* Its client has all of it, or will not come back: not from the channel's own callback.
 */
static void
over(struct sup_exec *x)
{
    loop_undefer(x->sup->loop, free_later, x);
    loop_defer(x->sup->loop, free_later, x);
}

/* Of stderr the client may have to hear the end yet, or it would wait for that for ever.
 */
static void
main_over(void *ctx)
{
    struct sup_exec *x = ctx;

    hang_up(x);
    x->main_over = true;
    if (x->tty || x->err_over) {
        over(x);
    } else {
        timer_after(x->orphan, ORPHAN_NS);
    }
}

static void
err_over(void *ctx)
{
    struct sup_exec *x = ctx;

    x->err_over = true;
    if (x->main_over) {
        over(x);
    }
}

static void
say_exit(struct sup_exec *x)
{
    uint8_t how[2];
    struct err e;

    if (!x->exited || !x->out_ended || x->said) {
        return;
    }
    x->said = true;
    how[0] = WIFEXITED(x->status) ? NOTE_EXEC_EXITED : NOTE_EXEC_SIGNALLED;
    how[1] =
        (uint8_t)(WIFEXITED(x->status) ? WEXITSTATUS(x->status) : WTERMSIG(x->status));
    if (bridge_send_note(x->main, NOTE_EXEC_EXIT, how, sizeof how, &e) != 0) {
        sup_say(x->sup, "exec: %s", e.msg);
    }
    bridge_send_eof(x->main);
}

static void
out_ended(void *ctx)
{
    struct sup_exec *x = ctx;

    x->out_ended = true;
    say_exit(x);
}

static void
err_ended(void *ctx)
{
    struct sup_exec *x = ctx;

    bridge_send_eof(x->err);
}

/* What it left running may hold its output open for ever. */
static void
linger_over(void *ctx)
{
    struct sup_exec *x = ctx;

    bridge_end_reading(x->main);
    if (x->err != NULL) {
        bridge_end_reading(x->err);
    }
}

static void
exited(struct sup_exec *x, int status)
{
    x->exited = true;
    x->status = status;
    timer_after(x->linger, LINGER_NS);
    say_exit(x);
}

/* Its end is that of a shell that could not start it; why goes ahead. */
static void
not_started(struct sup_exec *x, const struct err *why)
{
    bool missing = why->sys_errno == ENOENT || why->sys_errno == ENOTDIR;
    struct err told = *why;
    struct buf b = BUF_INIT;
    struct rec *r;
    struct err e;

    told.code = missing ? ERR_NOT_FOUND : ERR_SYSTEM;
    r = msg_error_new(&told, NULL);
    rec_encode(r, &b);
    rec_free(r);
    if (bridge_send_note(x->main, NOTE_EXEC_NOT_STARTED, b.data, b.len, &e) != 0) {
        sup_say(x->sup, "exec: %s", e.msg);
    }
    buf_free(&b);
    exited(x, W_EXITCODE(missing ? NO_PROGRAM : NO_START, 0));
}

/* ---- the client's side ---- */

static void
detached(void *ctx)
{
    struct sup_exec *x = ctx;

    timer_after(x->orphan, ORPHAN_NS);
}

static void
attached(void *ctx)
{
    struct sup_exec *x = ctx;

    timer_cancel(x->orphan);
}

static void
orphaned(void *ctx)
{
    struct sup_exec *x = ctx;

    hang_up(x);
    exec_free(x, NULL);
}

static void
note(void *ctx, int kind, const uint8_t *data, size_t n)
{
    struct sup_exec *x = ctx;
    struct err e;

    if (kind == CHANNEL_NOTE_RESIZE && n == 4 && x->pty_fd != -1) {
        struct winsize size = {.ws_col = get_u16(data), .ws_row = get_u16(data + 2)};

        (void)ioctl(x->pty_fd, TIOCSWINSZ, &size);
    } else if (kind == CHANNEL_NOTE_SIGNAL && n == 1 && data[0] >= 1 && data[0] <= 64 &&
               !x->exited && x->sup->guard != NULL &&
               guard_signal(x->sup->guard, x->command, data[0], &e) != 0) {
        sup_say(x->sup, "%s", e.msg);
    }
}

static void
tty_eof(void *ctx)
{
    struct sup_exec *x = ctx;

    (void)bridge_write(x->main, PTY_EOF, 1);
}

/* ---- starting one ---- */

struct exec_fds {
    int child[3];
    int ours_in, ours_out, ours_err;
};

static int
open_pipes(struct exec_fds *f, struct err *e)
{
    int *ours[3] = {&f->ours_in, &f->ours_out, &f->ours_err};

    for (int i = 0; i < 3; i++) {
        int p[2];

        if (fdio_pipe(p, false, e) != 0) {
            return -1;
        }
        f->child[i] = p[i == 0 ? 0 : 1];
        *ours[i] = p[i == 0 ? 1 : 0];
        if (fdio_set_nonblock(*ours[i], true, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
open_terminal(struct sup_exec *x, struct exec_fds *f, const struct rec *r, struct err *e)
{
    struct winsize size = {0};
    int64_t cols;
    int64_t rows;
    int unlock = 0;

    if (rec_opt_int(r, "cols", 0, 65535, 0, &cols, e) != 0 ||
        rec_opt_int(r, "rows", 0, 65535, 0, &rows, e) != 0) {
        return -1;
    }
    x->pty_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (x->pty_fd == -1 || ioctl(x->pty_fd, TIOCSPTLCK, &unlock) != 0) {
        return err_set_sys(e, errno, "cannot open a terminal");
    }
    for (int i = 0; i < 3; i++) {
        f->child[i] = ioctl(x->pty_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    f->ours_in = fcntl(x->pty_fd, F_DUPFD_CLOEXEC, 3);
    f->ours_out = fcntl(x->pty_fd, F_DUPFD_CLOEXEC, 3);
    if (f->child[0] == -1 || f->child[1] == -1 || f->child[2] == -1 || f->ours_in == -1 ||
        f->ours_out == -1) {
        return err_set_sys(e, errno, "cannot open the command's end of its terminal");
    }
    size.ws_col = (unsigned short)cols;
    size.ws_row = (unsigned short)rows;
    if (cols != 0 && rows != 0) {
        (void)ioctl(x->pty_fd, TIOCSWINSZ, &size);
    }
    return 0;
}

static int
take_args(const struct rec *r, struct strings *args, struct err *e)
{
    size_t n = rec_count(r, "arg");

    if (n == 0 || n > EXEC_ARGS_MAX) {
        return err_set(e, ERR_INVALID, "no command, or one with too many words");
    }
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *v = rec_get_nth(r, "arg", i, &len);

        if (len >= SPEC_STRING_MAX || strlen(v) != len) {
            return err_set(e, ERR_INVALID,
                           "a word of the command is too long or holds a NUL");
        }
        strings_add(args, v);
    }
    return 0;
}

static int
spawn(struct sup_exec *x, const struct rec *r, const struct exec_fds *f, struct err *e)
{
    struct sup *s = x->sup;
    struct strings args = {NULL, 0};
    struct strings env = {NULL, 0};
    const char *term = rec_get(r, "term");
    char *cwd = path_join(s->workdir, s->spec.cwd);
    int rc = -1;

    strings_add_all(&env, &s->env);
    if (x->tty) {
        env_set(&env, "TERM",
                term == NULL || strlen(term) > SPEC_WORD_MAX ? "xterm-256color" : term);
    }
    if (take_args(r, &args, e) == 0) {
        struct guard_command g = {.id = x->command,
                                  .args = &args,
                                  .env = &env,
                                  .cwd = cwd,
                                  .in_fd = f->child[0],
                                  .out_fd = f->child[1],
                                  .err_fd = f->child[2],
                                  .tty = x->tty};

        rc = guard_spawn(s->guard, &g, e);
    }
    strings_free(&args);
    for (size_t i = 0; i < env.n; i++) {
        explicit_bzero(env.v[i], strlen(env.v[i])); /* secrets are among them */
    }
    strings_free(&env);
    free(cwd);
    return rc;
}

static int
start(struct sup_exec *x, const struct rec *r, struct err *e)
{
    static const struct bridge_events events = {.ended = out_ended,
                                                .detached = detached,
                                                .attached = attached,
                                                .over = main_over,
                                                .note = note};
    struct bridge_events ev = events;
    struct exec_fds f = {{-1, -1, -1}, -1, -1, -1};
    int64_t tty;
    int rc = -1;

    if (rec_opt_int(r, "tty", 0, 1, 0, &tty, e) != 0) {
        return -1;
    }
    x->tty = tty == 1;
    ev.peer_eof = x->tty ? tty_eof : NULL;
    if ((x->tty ? open_terminal(x, &f, r, e) : open_pipes(&f, e)) != 0 ||
        spawn(x, r, &f, e) != 0) {
        goto out;
    }
    x->err_fd = f.ours_err;
    f.ours_err = -1;
    rc = bridge_new(&x->main, x->sup->loop, f.ours_out, f.ours_in, &ev, x, e);
    f.ours_out = f.ours_in = -1;

out:
    for (int i = 0; i < 3; i++) {
        (void)fd_close(&f.child[i]);
    }
    (void)fd_close(&f.ours_in);
    (void)fd_close(&f.ours_out);
    (void)fd_close(&f.ours_err);
    return rc;
}

static struct sup_exec *
find(const struct sup *s, const char *id)
{
    struct sup_exec *x = s->execs;

    while (x != NULL && strcmp(x->id, id) != 0) {
        x = x->next;
    }
    return x;
}

/* How many run; of those that ended the oldest goes where too many wait. */
static size_t
count_running(struct sup *s)
{
    struct sup_exec *oldest = NULL; /* new ones come first in the list */
    size_t n_ended = 0;
    size_t n = 0;

    for (struct sup_exec *x = s->execs; x != NULL; x = x->next) {
        if (x->said) {
            oldest = x;
            n_ended++;
        } else {
            n++;
        }
    }
    if (n_ended >= EXECS_KEPT_MAX) {
        over(oldest);
    }
    return n;
}

static int
make(struct sup *s, const char *id, const struct rec *r, struct sup_exec **out,
     struct err *e)
{
    struct sup_exec *x;
    size_t n = count_running(s);

    if (!s->started || s->main_exited || !s->walls_stand) {
        return err_set(e, ERR_NOT_FOUND, "the job's command is not running");
    }
    if (n >= EXECS_MAX) {
        return err_set(e, ERR_BUSY, "%d commands run beside this job already", EXECS_MAX);
    }
    x = xcalloc(1, sizeof *x);
    x->sup = s;
    x->err_fd = x->pty_fd = -1;
    x->command = s->next_command++;
    memcpy(x->id, id, JOB_ID_LEN + 1);
    x->linger = timer_new(s->loop, linger_over, x);
    x->orphan = timer_new(s->loop, orphaned, x);
    if (start(x, r, e) != 0) {
        exec_free(x, NULL);
        return -1;
    }
    x->next = s->execs;
    s->execs = x;
    *out = x;
    return 0;
}

static int
open_err(struct sup_exec *x, struct mux *m, const struct mux_offer *offer, struct err *e)
{
    static const struct bridge_events events = {.ended = err_ended, .over = err_over};

    if (x->err == NULL) {
        int fd = x->err_fd;

        x->err_fd = -1;
        if (bridge_new(&x->err, x->sup->loop, fd, -1, &events, x, e) != 0) {
            mux_refuse(m, offer->stream, e, NULL);
            return -1;
        }
    }
    return bridge_accept(x->err, m, offer, e);
}

void
sup_exec_open(struct sup *s, struct mux *m, const struct mux_offer *offer)
{
    const char *id = rec_get(offer->rec, "exec");
    bool is_err = strcmp(rec_type(offer->rec), OPEN_EXEC_ERR) == 0;
    struct sup_exec *x;
    struct err e;

    if (id == NULL || id_check(ID_EXEC, id, &e) != 0) {
        err_set(&e, ERR_INVALID, "the command to run has no proper id");
        mux_refuse(m, offer->stream, &e, NULL);
        return;
    }
    x = find(s, id);
    if (x == NULL && is_err) {
        err_set(&e, ERR_NOT_FOUND, "there is no command %s beside this job", id);
        mux_refuse(m, offer->stream, &e, NULL);
        return;
    }
    if (x == NULL && make(s, id, offer->rec, &x, &e) != 0) {
        mux_refuse(m, offer->stream, &e, NULL);
        return;
    }
    if ((is_err ? open_err(x, m, offer, &e) : bridge_accept(x->main, m, offer, &e)) !=
        0) {
        sup_say(s, "exec: %s", e.msg);
    }
}

bool
sup_exec_guard_event(struct sup *s, const struct guard_event *ev)
{
    struct sup_exec *x;

    if (ev->id < SUP_COMMAND_EXEC) {
        return false;
    }
    for (x = s->execs; x != NULL && x->command != ev->id; x = x->next) {
    }
    if (x != NULL && ev->kind == GUARD_EV_EXITED) {
        exited(x, ev->status);
    } else if (x != NULL && ev->kind == GUARD_EV_NOT_STARTED) {
        not_started(x, &ev->why);
    }
    return true;
}

void
sup_exec_free_all(struct sup *s)
{
    struct err e;

    err_set(&e, ERR_NOT_FOUND, "the job has ended");
    while (s->execs != NULL) {
        struct sup_exec *x = s->execs;

        s->execs = x->next;
        loop_undefer(s->loop, free_later, x);
        exec_free(x, &e);
    }
}
