#include "runner/client/transport.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_internal.h"

#define NS_PER_MS         1000000
#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MAX_MS   2000
#define SAID_MAX          160 /* of what a host said, in a message */

/* ---- failures ---- */

const char *
cause_name(enum cause c)
{
    static const char *const names[CAUSE_COUNT] = {
        "none",
        "name",
        "refused",
        "unreachable",
        "timeout",
        "dropped",
        "not_ssh",
        "crypto",
        "host_key_unknown",
        "host_key_changed",
        "host_key_revoked",
        "auth",
        "no_exec",
        "no_agent",
        "agent_failed",
        "garbage",
        "version",
        "cut",
        "config",
        "cancelled",
    };

    return (unsigned)c < CAUSE_COUNT && names[c] != NULL ? names[c] : "none";
}

bool
cause_may_pass(enum cause c)
{
    switch (c) {
    case CAUSE_NAME: /* a laptop without network cannot look names up */
    case CAUSE_REFUSED:
    case CAUSE_UNREACHABLE:
    case CAUSE_TIMEOUT:
    case CAUSE_DROPPED:
    case CAUSE_CUT:
        return true;
    default:
        return false;
    }
}

int
failure_set(struct failure *f, enum cause cause, const char *fmt, ...)
{
    char text[sizeof f->err.msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, err_words(fmt), ap);
    va_end(ap);
    f->cause = cause;
    return err_set(&f->err, ERR_LINK, "%s", text);
}

int
failure_set_sys(struct failure *f, enum cause cause, int sys_errno, const char *fmt, ...)
{
    char text[sizeof f->err.msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, err_words(fmt), ap);
    va_end(ap);
    f->cause = cause;
    return err_set_sys(&f->err, sys_errno, "%s", text);
}

/* ---- the object ---- */

static char *
copy(const char *s)
{
    return s == NULL ? NULL : xstrdup(s);
}

struct transport *
transport_new(const struct host *h, const struct transport_options *o)
{
    struct transport *t = xcalloc(1, sizeof *t);
    const char *home = getenv("HOME");

    t->host.name = copy(h->name);
    t->host.local = h->local;
    t->host.address = copy(h->address);
    t->host.user = copy(h->user);
    t->host.port = h->port;
    t->host.identity = copy(h->identity);
    t->host.jump = copy(h->jump);
    t->host.agent_home = copy(h->agent_home);
    t->o = *o;
    t->o.ssh_program = copy(o->ssh_program);
    t->o.host_key = copy(o->host_key);
    t->home_dir = xstrdup(home != NULL && home[0] == '/' ? home : "/");
    t->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&t->m, NULL);
    return t;
}

void
transport_free(struct transport *t)
{
    if (t == NULL) {
        return;
    }
    if (t->ops != NULL) {
        t->ops->free(t);
    }
    host_free(&t->host);
    free((char *)(uintptr_t)t->o.ssh_program);
    free((char *)(uintptr_t)t->o.host_key);
    free(t->home_dir);
    ssh_config_free(&t->config);
    (void)fd_close(&t->cancel_fd);
    (void)pthread_mutex_destroy(&t->m);
    free(t);
}

const char *
transport_where(const struct transport *t, char out[WHERE_MAX])
{
    char user[80];
    char address[100];

    if (t->host.local) {
        (void)snprintf(out, WHERE_MAX, "%s", _("this machine"));
        return out;
    }
    (void)text_escape_to(user, sizeof user, t->config.user ? t->config.user : "");
    (void)text_escape_to(address, sizeof address,
                         t->config.host_name ? t->config.host_name : t->host.address);
    if (t->config.host_name == NULL) {
        (void)snprintf(out, WHERE_MAX, "%s", address);
    } else if (strchr(address, ':') != NULL) {
        (void)snprintf(out, WHERE_MAX, "%s@[%s]:%d", user, address, t->config.port);
    } else {
        (void)snprintf(out, WHERE_MAX, "%s@%s:%d", user, address, t->config.port);
    }
    return out;
}

const struct transport_info *
transport_info(const struct transport *t)
{
    return &t->info;
}

/* ---- time, and being told to stop ---- */

void
transport_cancel(struct transport *t)
{
    const uint64_t one = 1;

    (void)fd_write_all(t->cancel_fd, &one, sizeof one);
}

bool
transport_is_cancelled(const struct transport *t)
{
    return !transport_sleep(t, 0);
}

bool
transport_sleep(const struct transport *t, int64_t ms)
{
    int64_t end_ns = transport_deadline(ms);

    for (;;) {
        struct pollfd p = {.fd = t->cancel_fd, .events = POLLIN};
        int n = poll(&p, 1, transport_poll_left(end_ns));

        if (n > 0) {
            return false;
        }
        if (n == 0) {
            return true;
        }
    }
}

int64_t
transport_deadline(int64_t timeout_ms)
{
    return clock_boot_ns() + timeout_ms * NS_PER_MS;
}

int
transport_poll_left(int64_t end_ns)
{
    int64_t left = end_ns - clock_boot_ns();

    /* Rounded up, or the last millisecond would be spent spinning. */
    return left <= 0 ? 0 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

int64_t
transport_connect_ms(const struct transport *t)
{
    if (t->o.connect_timeout_ms > 0) {
        return t->o.connect_timeout_ms;
    }
    return t->config.connect_timeout_s > 0 ? t->config.connect_timeout_s * INT64_C(1000)
                                           : CONNECT_TIMEOUT_MS;
}

bool
transport_back_off(const struct transport *t, int n)
{
    int64_t ms = BACK_OFF_FIRST_MS;
    uint32_t r;

    for (int i = 1; i < n && ms < BACK_OFF_MAX_MS; i++) {
        ms *= 2;
    }
    ms = ms > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : ms;
    random_bytes(&r, sizeof r);
    /* Half to one and a half of it: a crowd that was turned away must not come back as
     * one. */
    return transport_sleep(t, ms / 2 + (int64_t)(r % (uint32_t)ms));
}

/* ---- stderr ---- */

void
transport_tail_add(struct transport *t, const char *data, size_t n)
{
    (void)pthread_mutex_lock(&t->m);
    if (n > sizeof t->tail) {
        data += n - sizeof t->tail;
        n = sizeof t->tail;
    }
    if (t->tail_len + n > sizeof t->tail) {
        size_t drop = t->tail_len + n - sizeof t->tail;

        memmove(t->tail, t->tail + drop, t->tail_len - drop);
        t->tail_len -= drop;
    }
    memcpy(t->tail + t->tail_len, data, n);
    t->tail_len += n;
    (void)pthread_mutex_unlock(&t->m);
}

void
transport_tail_clear(struct transport *t)
{
    (void)pthread_mutex_lock(&t->m);
    t->tail_len = 0;
    (void)pthread_mutex_unlock(&t->m);
}

void
transport_stderr(struct transport *t, struct buf *out)
{
    (void)pthread_mutex_lock(&t->m);
    buf_add(out, t->tail, t->tail_len);
    (void)pthread_mutex_unlock(&t->m);
}

/* The last line that says something, escaped and cut. "" if there is none. */
static void
last_line(const uint8_t *data, size_t len, char out[SAID_MAX])
{
    struct buf b = BUF_INIT;
    size_t from;

    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r' ||
                       data[len - 1] == ' ' || data[len - 1] == '\0')) {
        len--;
    }
    from = len;
    while (from > 0 && data[from - 1] != '\n') {
        from--;
    }
    for (size_t i = from; i < len; i++) {
        if (data[i] != '\0') {
            buf_add_u8(&b, data[i]);
        }
    }
    (void)text_escape_to(out, SAID_MAX, buf_str(&b));
    buf_free(&b);
}

/* What the host said last, on stderr or else instead of the magic. */
static void
what_was_said(struct transport *t, const struct preamble *p, char out[SAID_MAX])
{
    struct buf b = BUF_INIT;
    const uint8_t *noise;
    size_t n = 0;

    transport_stderr(t, &b);
    last_line(b.data, b.len, out);
    buf_free(&b);
    if (out[0] == '\0' && p != NULL) {
        noise = preamble_noise(p, &n);
        last_line(noise, n, out);
    }
}

/*
 * Some providers lead logins through a proxy of their own that passes on a terminal and
 * nothing else: no command, no file. RunPod's (ssh.runpod.io) says so in these words.
 */
const char *
transport_no_exec_hint(const struct transport *t, const char *said)
{
    const char *address = t->host.address != NULL ? t->host.address : "";

    if (strcasecmp(address, "ssh.runpod.io") != 0 &&
        strstr(said, "doesn't support PTY") == NULL) {
        return "";
    }
    return _("; only terminals get through this proxy: take the line that the provider's "
             "console gives for SSH over exposed TCP, `gpurun host add NAME 'ssh "
             "root@ADDRESS -p PORT'` (the pod needs a public address)");
}

static void
how_it_ended(const struct transport_status *s, char out[64])
{
    if (s->end == TRANSPORT_END_SIGNAL) {
        (void)snprintf(out, 64, _("signal %d"), s->code);
    } else {
        (void)snprintf(out, 64, _("exit status %d"), s->code);
    }
}

int
transport_explain_end(struct transport *t, const struct transport_status *s,
                      const struct preamble *p, struct failure *f)
{
    char where[WHERE_MAX];
    char said[SAID_MAX];
    char how[64];
    bool agent;

    if (s->end == TRANSPORT_END_CUT) {
        *f = s->cut;
        return -1;
    }
    (void)transport_where(t, where);
    what_was_said(t, p, said);
    how_it_ended(s, how);
    /* Its own words, or a shell's about it: "…/gpurun-agent: Permission denied". */
    agent = t->host.local || strstr(said, "gpurun-agent") != NULL ||
            s->end == TRANSPORT_END_SIGNAL;
    if (agent) {
        return failure_set(f, CAUSE_AGENT_FAILED,
                           _("%s: the agent did not start (%s)%s%s"), where, how,
                           said[0] != '\0' ? ": " : "", said);
    }
    return failure_set(
        f, CAUSE_NO_EXEC,
        _("%s: logged in, but the host runs no commands for this login (%s)%s%s%s"),
        where, how, said[0] != '\0' ? _("; it says: ") : "", said,
        transport_no_exec_hint(t, said));
}

int
transport_explain_early_end(struct transport *t, const struct transport_status *s,
                            struct failure *f)
{
    char where[WHERE_MAX];
    char said[SAID_MAX];
    char how[64];

    what_was_said(t, NULL, said);
    how_it_ended(s, how);
    return failure_set(f, CAUSE_AGENT_FAILED,
                       _("%s: the agent ended before it had introduced itself (%s)%s%s"),
                       transport_where(t, where), how, said[0] != '\0' ? ": " : "", said);
}

int
transport_explain_silence(struct transport *t, const struct preamble *p,
                          struct failure *f)
{
    char where[WHERE_MAX];
    char said[SAID_MAX];

    (void)transport_where(t, where);
    what_was_said(t, p, said);
    return failure_set(f, CAUSE_TIMEOUT,
                       _("%s: logged in, but the agent does not answer%s%s%s"), where,
                       said[0] != '\0' ? _("; the host says: ") : "", said,
                       transport_no_exec_hint(t, said));
}

/* ---- choosing a way, and going it ---- */

static int
load_config(struct transport *t, struct failure *f)
{
    const struct ssh_config_want want = {
        .host = t->host.address,
        .user = t->host.user,
        .port = t->host.port,
        .identity = t->host.identity,
        .jump = t->host.jump,
    };
    char *user_file;
    int rc;

    if (want.jump != NULL && want.jump[0] == '-') {
        return failure_set(f, CAUSE_CONFIG, _("a jump host may not begin with '-'"));
    }
    user_file = xasprintf("%s/.ssh/config", t->home_dir);
    rc = ssh_config_load(&want, t->home_dir, user_file, "/etc/ssh/ssh_config", &t->config,
                         &f->err);

    free(user_file);
    if (rc != 0) {
        f->cause = CAUSE_CONFIG;
    }
    return rc;
}

static int
open_ssh(struct transport *t, struct failure *f)
{
    if (t->o.host_key != NULL && ssh_fingerprint_check(t->o.host_key, &f->err) != 0) {
        f->cause = CAUSE_CONFIG;
        return -1;
    }
    if (load_config(t, f) != 0) {
        return -1;
    }
    if (t->o.ssh_program == NULL && t->config.needs_binary[0] == '\0') {
        t->ops = &transport_libssh_ops;
        if (transport_libssh_ops.open(t, f) == 0) {
            return 0;
        }
        if (t->config.needs_binary[0] == '\0') {
            return -1;
        }
        /* Only on a closer look it turned out that libssh cannot do it. */
        transport_libssh_ops.free(t);
        t->impl = NULL;
    }
    (void)snprintf(t->info.why_binary, sizeof t->info.why_binary, "%s",
                   t->o.ssh_program != NULL ? "GPURUN_SSH" : t->config.needs_binary);
    t->ops = &transport_ssh_ops;
    return transport_ssh_ops.open(t, f);
}

int
transport_open(struct transport *t, struct failure *f)
{
    if (t->cancel_fd == -1) {
        return failure_set(f, CAUSE_CONFIG, _("out of file descriptors"));
    }
    if (!t->host.local) {
        return open_ssh(t, f);
    }
    t->ops = &transport_pipe_ops;
    return transport_pipe_ops.open(t, f);
}

int
transport_exec(struct transport *t, const char *command, struct failure *f)
{
    transport_tail_clear(t);
    return t->ops->exec(t, command, f);
}

int
transport_read(struct transport *t, void *data, size_t cap, int64_t timeout_ms, size_t *n,
               struct failure *f)
{
    return t->ops->read(t, data, cap, transport_deadline(timeout_ms), n, f);
}

int
transport_write(struct transport *t, const void *data, size_t n, int64_t timeout_ms,
                struct failure *f)
{
    return t->ops->write(t, data, n, timeout_ms, f);
}

int
transport_stream(struct transport *t, int *fd, struct failure *f)
{
    return t->ops->stream(t, fd, f);
}

void
transport_wait(struct transport *t, struct transport_status *s)
{
    *s = (struct transport_status){0};
    t->ops->wait(t, s);
}
