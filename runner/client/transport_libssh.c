#include "runner/client/transport_libssh.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"

/*
 * The default way: one libssh session, driven from the link's thread without ever
 * blocking in it. Facts about libssh 0.10 that shaped this:
 *
 *   - After connecting it makes the socket blocking again, also one it was given.
 *   - Its default cipher is chacha20; AES-GCM is twice as fast on today's machines.
 *   - sshd answers with two small writes; Nagle there and delayed ACKs here cost 40 ms a
 *     request, unless every wake-up asks for quick ACKs until the command runs.
 *   - Written bytes are queued without limit and read ones up to the channel's window:
 *     we write only when nothing is queued, and read only what can be passed on.
 */

#define CIPHERS                                                                          \
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"       \
    "aes256-ctr,aes192-ctr,aes128-ctr"
#define SAID_MAX    200
#define SOCKET_SIZE (1 << 20) /* asked for; the kernel gives what wmem_max allows */

/* ---- waiting and failing ---- */

int
lib_wait(struct transport *t, struct lib *l, int64_t end_ns, const char *doing,
         struct failure *f)
{
    const int on = 1;
    bool more = (ssh_get_poll_flags(l->s) & SSH_WRITE_PENDING) != 0;
    struct pollfd p[2] = {
        {.fd = l->sock, .events = (short)(POLLIN | (more ? POLLOUT : 0))},
        {.fd = t->cancel_fd, .events = POLLIN},
    };
    int n = poll(p, 2, transport_poll_left(end_ns));
    char where[WHERE_MAX];

    if (n > 0 && p[1].revents != 0) {
        return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
    }
    if (n == 0) {
        return failure_set(f, CAUSE_TIMEOUT, _("%s does not answer (%s)"),
                           transport_where(t, where), doing);
    }
    if (l->quick) { /* the kernel forgets it at will, so say it every time */
        (void)setsockopt(l->sock, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }
    return 0;
}

int
lib_session_failed(struct transport *t, struct lib *l, const char *doing,
                   struct failure *f)
{
    const char *said = ssh_get_error(l->s);
    enum cause cause = CAUSE_CUT;
    char where[WHERE_MAX];
    char shown[SAID_MAX];

    (void)transport_where(t, where);
    (void)text_escape_to(shown, sizeof shown, said);
    if (strstr(said, "kex error") != NULL ||
        strstr(said, "no match for method") != NULL ||
        strstr(said, "No version of SSH") != NULL) {
        cause = CAUSE_CRYPTO;
    } else if (strstr(said, "Too many authentication failures") != NULL) {
        cause = CAUSE_AUTH;
    }
    return failure_set(f, cause, _("%s: the connection ended (%s): %s"), where, doing,
                       shown[0] != '\0' ? shown : _("closed by the host"));
}

static int
set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags == -1 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* ---- connecting ---- */

static char *
key_name(const struct transport *t)
{
    if (t->config.host_key_alias != NULL) {
        return xstrdup(t->config.host_key_alias);
    }
    return known_hosts_name(t->config.host_name, t->config.port);
}

static const char *
plain_name(const struct transport *t)
{
    return t->config.host_key_alias == NULL && t->config.port != 22 ? t->config.host_name
                                                                    : NULL;
}

static int
load_known(struct transport *t, struct known_hosts **out, struct failure *f)
{
    const char *files[TRANSPORT_HOSTKEY_FILES];
    char *own;
    char *name = key_name(t);
    size_t n = transport_hostkey_files(t, &own, files);
    int rc = known_hosts_load(files, n, name, plain_name(t), out, &f->err);

    if (rc != 0) {
        f->cause = CAUSE_CONFIG;
    }
    free(own);
    free(name);
    return rc;
}

/* Ask for the types of key on record first, or a host with several would look changed. */
static void
host_key_order(const struct known_hosts *k, struct buf *out)
{
    static const struct {
        const char *type;
        const char *algorithms;
    } types[] = {
        {"ssh-ed25519", "ssh-ed25519"},
        {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
        {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
        {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
        {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256"},
    };

    for (int known = 1; known >= 0; known--) {
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            if (known_hosts_has_type(k, types[i].type) == (known == 1)) {
                buf_printf(out, "%s%s", out->len > 0 ? "," : "", types[i].algorithms);
            }
        }
    }
}

static bool
set_algorithms(struct transport *t, ssh_session s, const struct known_hosts *k)
{
    const struct ssh_config *c = &t->config;
    struct buf keys = BUF_INIT;
    const char *ciphers = c->ciphers != NULL ? c->ciphers : CIPHERS;
    bool ok;

    host_key_order(k, &keys);
    ok = ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, ciphers) == 0 &&
         ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, ciphers) == 0 &&
         ssh_options_set(s, SSH_OPTIONS_HOSTKEYS,
                         c->host_key_algorithms != NULL ? c->host_key_algorithms
                                                        : buf_str(&keys)) == 0 &&
         (c->kex == NULL || ssh_options_set(s, SSH_OPTIONS_KEY_EXCHANGE, c->kex) == 0) &&
         (c->macs == NULL || (ssh_options_set(s, SSH_OPTIONS_HMAC_C_S, c->macs) == 0 &&
                              ssh_options_set(s, SSH_OPTIONS_HMAC_S_C, c->macs) == 0)) &&
         (c->pubkey_algorithms == NULL ||
          ssh_options_set(s, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES,
                          c->pubkey_algorithms) == 0);
    buf_free(&keys);
    return ok;
}

/* A session with nothing but what we say: no files read by libssh itself. */
static int
make_session(struct transport *t, struct lib *l, struct failure *f)
{
    const struct ssh_config *c = &t->config;
    struct known_hosts *k = NULL;
    const bool no = false;
    unsigned port = (unsigned)c->port;
    int quiet = SSH_LOG_NOLOG;
    int rc = -1;

    if (load_known(t, &k, f) != 0) {
        return -1;
    }
    l->s = ssh_new();
    if (l->s == NULL) {
        (void)failure_set(f, CAUSE_CONFIG, _("libssh has no memory"));
        goto out;
    }
    if (ssh_options_set(l->s, SSH_OPTIONS_PROCESS_CONFIG, &no) != 0 ||
        ssh_options_set(l->s, SSH_OPTIONS_LOG_VERBOSITY, &quiet) != 0 ||
        ssh_options_set(l->s, SSH_OPTIONS_HOST, c->host_name) != 0 ||
        ssh_options_set(l->s, SSH_OPTIONS_PORT, &port) != 0 ||
        ssh_options_set(l->s, SSH_OPTIONS_USER, c->user) != 0 ||
        (c->identity_agent != NULL &&
         ssh_options_set(l->s, SSH_OPTIONS_IDENTITY_AGENT, c->identity_agent) != 0)) {
        (void)failure_set(f, CAUSE_CONFIG, "libssh: %s", ssh_get_error(l->s));
        goto out;
    }
    if (!set_algorithms(t, l->s, k)) {
        /* Only algorithms that libssh does not have: the binary may have them. */
        (void)snprintf(t->config.needs_binary, sizeof t->config.needs_binary, "%s",
                       _("algorithms of ssh_config"));
        (void)failure_set(f, CAUSE_CONFIG, "libssh: %s", ssh_get_error(l->s));
        goto out;
    }
    ssh_set_blocking(l->s, 0);
    ssh_set_counters(l->s, &l->raw, NULL);
    rc = 0;

out:
    known_hosts_free(k);
    return rc;
}

/* TCP and banner, again where the host drops connections before that. */
static int
reach(struct transport *t, int *fd, struct failure *f)
{
    for (int n = 1;; n++) {
        if (transport_tcp_connect(t, fd, f) != 0) {
            return -1;
        }
        if (transport_tcp_banner(t, *fd, f) == 0) {
            return 0;
        }
        (void)fd_close(fd);
        if (f->cause != CAUSE_DROPPED || n == TRANSPORT_TRIES) {
            return -1;
        }
        if (!transport_back_off(t, n)) {
            return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
        }
    }
}

static int
key_exchange(struct transport *t, struct lib *l, struct failure *f)
{
    int64_t end_ns = transport_deadline(transport_connect_ms(t));

    for (;;) {
        int rc = ssh_connect(l->s);

        if (set_nonblock(l->sock) == -1) {
            return failure_set_sys(f, CAUSE_CONFIG, errno, "fcntl");
        }
        if (rc == SSH_OK) {
            return 0;
        }
        if (rc != SSH_AGAIN) {
            return lib_session_failed(t, l, _("key exchange"), f);
        }
        if (lib_wait(t, l, end_ns, _("key exchange"), f) != 0) {
            return -1;
        }
    }
}

static int
check_host_key(struct transport *t, struct lib *l, struct failure *f)
{
    struct ssh_pubkey key = {0};
    ssh_key shown = NULL;
    char *b64 = NULL;
    char *name = key_name(t);
    int rc = -1;

    if (ssh_get_server_publickey(l->s, &shown) != SSH_OK ||
        ssh_pki_export_pubkey_base64(shown, &b64) != SSH_OK ||
        ssh_pubkey_parse(b64, strlen(b64), &key, &f->err) != 0) {
        (void)failure_set(f, CAUSE_CRYPTO, _("the host shows no usable host key"));
        goto out;
    }
    ssh_pubkey_fingerprint(&key, t->info.host_key);
    rc = transport_hostkey_check(t, name, plain_name(t), &key, f);

out:
    ssh_pubkey_free(&key);
    SSH_KEY_FREE(shown);
    SSH_STRING_FREE_CHAR(b64);
    free(name);
    return rc;
}

static bool
only_ca_known(struct transport *t, bool *yes, struct failure *f)
{
    struct known_hosts *k = NULL;

    if (load_known(t, &k, f) != 0) {
        return false;
    }
    *yes = known_hosts_has_ca(k) && known_hosts_count(k) == 0;
    known_hosts_free(k);
    return true;
}

static int
libssh_open(struct transport *t, struct failure *f)
{
    struct lib *l = xcalloc(1, sizeof *l);
    socket_t fd = -1;
    bool ca = false;

    l->sock = -1;
    l->pump_fd = -1;
    t->impl = l;
    t->info.kind = TRANSPORT_LIBSSH;
    if (!only_ca_known(t, &ca, f)) {
        return -1;
    }
    if (ca) {
        (void)snprintf(t->config.needs_binary, sizeof t->config.needs_binary, "%s",
                       "@cert-authority");
        return failure_set(f, CAUSE_CONFIG, "libssh knows no host certificates");
    }
    if (lib_login_needs_binary(t)) {
        return failure_set(f, CAUSE_CONFIG, "libssh cannot log in that way");
    }
    if (make_session(t, l, f) != 0 || reach(t, &fd, f) != 0) {
        return -1;
    }
    l->sock = fd;
    l->quick = true;
    if (ssh_options_set(l->s, SSH_OPTIONS_FD, &fd) != 0) {
        (void)close(fd);
        return failure_set(f, CAUSE_CONFIG, "libssh: %s", ssh_get_error(l->s));
    }
    if (key_exchange(t, l, f) != 0 || check_host_key(t, l, f) != 0) {
        return -1;
    }
    return lib_login(t, l, f);
}

/* ---- commands ---- */

static void
on_exit_status(ssh_session s, ssh_channel ch, int status, void *user)
{
    struct lib *l = user;

    (void)s;
    (void)ch;
    l->exited = true;
    l->exit_code = status;
}

/* RFC 4254, 6.10: names without SIG. Others have "@" and mean nothing here. */
static int
signal_number(const char *name)
{
    static const struct {
        const char *name;
        int signo;
    } names[] = {
        {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},
        {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE},
        {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
        {"USR2", SIGUSR2},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, name) == 0) {
            return names[i].signo;
        }
    }
    return 0;
}

static void
on_exit_signal(ssh_session s, ssh_channel ch, const char *signal, int core,
               const char *errmsg, const char *lang, void *user)
{
    struct lib *l = user;

    (void)s;
    (void)ch;
    (void)core;
    (void)errmsg;
    (void)lang;
    l->exited = true;
    l->exit_signal = signal_number(signal);
}

static void
end_channel(struct lib *l)
{
    if (l->ch != NULL) {
        if (ssh_channel_is_open(l->ch) != 0) {
            (void)ssh_channel_close(l->ch);
        }
        ssh_channel_free(l->ch);
        l->ch = NULL;
    }
    (void)fd_close(&l->pump_fd);
}

static int
new_channel(struct transport *t, struct lib *l, struct failure *f)
{
    end_channel(l);
    l->exited = false;
    l->exit_code = 0;
    l->exit_signal = -1;
    l->ch = ssh_channel_new(l->s);
    if (l->ch == NULL) {
        return lib_session_failed(t, l, _("starting the agent"), f);
    }
    l->cb = (struct ssh_channel_callbacks_struct){
        .userdata = l,
        .channel_exit_status_function = on_exit_status,
        .channel_exit_signal_function = on_exit_signal,
    };
    ssh_callbacks_init(&l->cb);
    if (ssh_set_channel_callbacks(l->ch, &l->cb) != SSH_OK) {
        return failure_set(f, CAUSE_CONFIG, "libssh: %s", ssh_get_error(l->s));
    }
    return 0;
}

/* One of the two requests a command takes, until it is answered. */
static int
request(struct transport *t, struct lib *l, const char *command, struct failure *f)
{
    int64_t end_ns = transport_deadline(LOGIN_TIMEOUT_MS);
    char where[WHERE_MAX];
    char shown[SAID_MAX];

    for (;;) {
        int rc = command == NULL ? ssh_channel_open_session(l->ch)
                                 : ssh_channel_request_exec(l->ch, command);

        if (rc == SSH_OK) {
            return 0;
        }
        if (rc != SSH_AGAIN && ssh_is_connected(l->s) != 0) {
            (void)text_escape_to(shown, sizeof shown, ssh_get_error(l->s));
            return failure_set(f, CAUSE_NO_EXEC,
                               _("%s: logged in, but the host starts no commands: %s%s"),
                               transport_where(t, where), shown,
                               transport_no_exec_hint(t, shown));
        }
        if (rc != SSH_AGAIN) {
            return lib_session_failed(t, l, _("starting the agent"), f);
        }
        if (lib_wait(t, l, end_ns, _("starting the agent"), f) != 0) {
            return -1;
        }
    }
}

static int
libssh_exec(struct transport *t, const char *command, struct failure *f)
{
    struct lib *l = t->impl;

    if (new_channel(t, l, f) != 0 || request(t, l, NULL, f) != 0 ||
        request(t, l, command, f) != 0) {
        return -1;
    }
    return 0;
}

static int
libssh_read(struct transport *t, void *data, size_t cap, int64_t end_ns, size_t *n,
            struct failure *f)
{
    struct lib *l = t->impl;
    uint32_t want =
        cap > TRANSPORT_IO_BYTES ? (uint32_t)TRANSPORT_IO_BYTES : (uint32_t)cap;

    for (;;) {
        uint64_t seen = l->raw.in_bytes;
        int got = ssh_channel_read_nonblocking(l->ch, data, want, 0);

        lib_drain_stderr(t, l);
        if (got > 0 || got == SSH_EOF || ssh_channel_is_eof(l->ch) != 0) {
            *n = got > 0 ? (size_t)got : 0;
            l->quick = false;
            return 0;
        }
        if (got < 0 || ssh_is_connected(l->s) == 0) {
            return lib_session_failed(t, l, _("waiting for the agent"), f);
        }
        if (l->raw.in_bytes == seen &&
            lib_wait(t, l, end_ns, _("waiting for the agent"), f) != 0) {
            return -1;
        }
    }
}

static int
libssh_write(struct transport *t, const void *data, size_t n, int64_t stall_ms,
             struct failure *f)
{
    struct lib *l = t->impl;
    const uint8_t *at = data;
    int64_t end_ns = transport_deadline(stall_ms);

    while (n > 0) {
        uint32_t window = ssh_channel_window_size(l->ch);
        bool queued = (ssh_get_status(l->s) & SSH_WRITE_PENDING) != 0;
        uint32_t step =
            n < TRANSPORT_IO_BYTES ? (uint32_t)n : (uint32_t)TRANSPORT_IO_BYTES;
        int put;

        if (ssh_channel_is_closed(l->ch) != 0 || ssh_channel_is_eof(l->ch) != 0) {
            return failure_set(f, CAUSE_CUT, _("the command on the host ended early"));
        }
        if (window == 0 || queued) {
            if (lib_wait(t, l, end_ns, _("sending"), f) != 0) {
                return -1;
            }
            if (lib_process(l) != 0) {
                return lib_session_failed(t, l, _("sending"), f);
            }
            lib_drain_stderr(t, l);
            continue;
        }
        put = ssh_channel_write(l->ch, at, step < window ? step : window);
        if (put < 0) {
            return lib_session_failed(t, l, _("sending"), f);
        }
        at += put;
        n -= (size_t)put;
        end_ns = transport_deadline(stall_ms);
    }
    return 0;
}

static int
libssh_stream(struct transport *t, int *fd, struct failure *f)
{
    struct lib *l = t->impl;
    const int size = SOCKET_SIZE;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == -1) {
        return failure_set_sys(f, CAUSE_CONFIG, errno, _("out of descriptors"));
    }
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    l->pump_fd = pair[0];
    *fd = pair[1];
    return 0;
}

static void
libssh_wait(struct transport *t, struct transport_status *s)
{
    lib_pump(t, t->impl, s);
}

static void
libssh_free(struct transport *t)
{
    struct lib *l = t->impl;

    if (l == NULL) {
        return;
    }
    end_channel(l);
    if (l->s != NULL) {
        ssh_disconnect(l->s);
        ssh_free(l->s);
    }
    free(l);
    t->impl = NULL;
}

const struct transport_ops transport_libssh_ops = {
    .open = libssh_open,
    .exec = libssh_exec,
    .read = libssh_read,
    .write = libssh_write,
    .stream = libssh_stream,
    .wait = libssh_wait,
    .free = libssh_free,
};
