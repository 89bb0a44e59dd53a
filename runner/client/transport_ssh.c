#include "runner/client/transport_ssh.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
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
 * The system's ssh binary as transport. It is run with a configuration of ours on top of
 * the user's (ssh_config_copy), which holds for jump hosts too, as they are reached with
 * the same -F: known hosts strict, nothing forwarded, nothing shared, no terminal.
 *
 *   Host keys   a KnownHostsCommand tells us every key that is shown. Where ssh then
 * refuses, the same code as for libssh decides, asks, pins or words the refusal, and ssh
 * is run once more. Prompts     come through SSH_ASKPASS to us (transport_askpass.c), so
 * they queue up with those of other links and are never asked behind anybody's back.
 */

#define HOPS_MAX       8 /* host keys accepted in one exec: jump hosts and the host */
#define SSH_FAILED     255
#define SEEN_MAX       ((size_t)256 << 10)
#define LINE_SAID      160
#define PASSWORD_TRIES "3"

/* ---- the configuration ---- */

static void
add_known_hosts(struct transport *t, struct buf *b)
{
    char *own = home_path(t->o.home, "known_hosts", NULL);

    buf_add_str(b, "UserKnownHostsFile ");
    ssh_word_quote(b, own);
    for (size_t i = 0; i < t->config.n_user_known_hosts; i++) {
        buf_add_u8(b, ' ');
        ssh_word_quote(b, t->config.user_known_hosts[i]);
    }
    buf_add_u8(b, '\n');
    free(own);
}

/*
 * Tells us each key a host shows; never accepts one: that is for known hosts files. Runs
 * with "ORDER" too, before there is a key, to no effect.
 */
static void
add_witness(const struct ssh_way *w, struct buf *b)
{
    buf_printf(
        b,
        "KnownHostsCommand /bin/sh -c 'echo \"$1 $2 $3 $4\" >>%s' sh %%I %%H %%t %%K\n",
        w->seen_path);
}

static char *
config_head(struct transport *t, const struct ssh_way *w)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "StrictHostKeyChecking yes\nUpdateHostKeys no\nVerifyHostKeyDNS no\n"
                    "CheckHostIP no\nNoHostAuthenticationForLocalhost no\n"
                    "HashKnownHosts no\nVisualHostKey no\n"
                    "ControlMaster no\nControlPath none\nForwardAgent no\nForwardX11 no\n"
                    "ClearAllForwardings yes\nPermitLocalCommand no\nRemoteCommand none\n"
                    "RequestTTY no\nEscapeChar none\nLogLevel ERROR\n"
                    "NumberOfPasswordPrompts " PASSWORD_TRIES "\n"
                    "IgnoreUnknown KnownHostsCommand\n");
    add_known_hosts(t, &b);
    add_witness(w, &b);
    buf_printf(&b, "ConnectTimeout %d\n", (int)((transport_connect_ms(t) + 999) / 1000));
    buf_printf(&b, "BatchMode %s\n", ask_can_get_secret(t->o.ask) ? "no" : "yes");
    return buf_steal(&b);
}

static void
add_identity(struct buf *b, const char *path)
{
    if (file_exists(path)) {
        buf_add_str(b, "IdentityFile ");
        ssh_word_quote(b, path);
        buf_add_u8(b, '\n');
    }
}

/* What counts where no file says otherwise. The default keys are said by name, as ssh
 * would look for them in the passwd entry's home. */
static char *
config_tail(struct transport *t)
{
    struct buf b = BUF_INIT;
    char *own = transport_own_key(t);

    buf_add_str(&b, "SendEnv -*\n"
                    "Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com\n");
    for (size_t i = 0; t->config.n_identity == 0 && ssh_config_default_keys[i] != NULL;
         i++) {
        char *path = xasprintf("%s/.ssh/%s", t->home_dir, ssh_config_default_keys[i]);

        add_identity(&b, path);
        free(path);
    }
    add_identity(&b, own);
    buf_add_str(&b, "IdentityFile none\n");
    free(own);
    return buf_steal(&b);
}

static int
make_config(struct transport *t, struct ssh_way *w, struct failure *f)
{
    char *head = config_head(t, w);
    char *tail = config_tail(t);
    char *user_file = xasprintf("%s/.ssh/config", t->home_dir);
    int rc = ssh_config_copy_make(head, t->home_dir, user_file, "/etc/ssh/ssh_config",
                                  tail, &w->config, &f->err);

    f->cause = CAUSE_CONFIG;
    free(head);
    free(tail);
    free(user_file);
    return rc;
}

/* ---- the command line ---- */

#define ARGS_MAX 24

static void
build_argv(struct transport *t, struct ssh_way *w, const char *command,
           const char *argv[ARGS_MAX])
{
    const struct host *h = &t->host;
    size_t n = 0;

    (void)snprintf(w->port, sizeof w->port, "%d", h->port);
    argv[n++] = w->program;
    argv[n++] = "-F";
    argv[n++] = w->config.path;
    argv[n++] = "-T";
    if (h->port != 0) {
        argv[n++] = "-p";
        argv[n++] = w->port;
    }
    if (h->user != NULL) {
        argv[n++] = "-l";
        argv[n++] = h->user;
    }
    if (h->identity != NULL) {
        argv[n++] = "-i";
        argv[n++] = t->config.identity[0]; /* the same, with ~ expanded */
    }
    if (h->jump != NULL) {
        argv[n++] = "-J";
        argv[n++] = h->jump;
    }
    argv[n++] = "--";
    argv[n++] = h->address;
    argv[n++] = command;
    argv[n] = NULL;
}

static int
start(struct transport *t, struct ssh_way *w, const char *command, struct failure *f)
{
    const char *argv[ARGS_MAX];
    char **envp;
    int rc;

    transport_child_end(&w->child);
    transport_tail_clear(t);
    build_argv(t, w, command, argv);
    envp = askpass_environ(&w->askpass);
    rc = transport_child_start(&w->child, w->program, (char *const *)(uintptr_t)argv,
                               envp, true, f);
    free(envp);
    if (rc != 0) {
        char shown[120];

        (void)text_escape_to(shown, sizeof shown, w->program);
        (void)err_wrap(&f->err, _("cannot run the ssh binary '%s'"), shown);
        f->cause = CAUSE_CONFIG;
    }
    return rc;
}

/* ---- what ssh said ---- */

struct saying {
    const char *text;
    enum cause cause;
};

/* The first that occurs counts: what a jump host meets comes before what follows from it.
 */
static const struct saying sayings[] = {
    {"Could not resolve hostname", CAUSE_NAME},
    {"REVOKED HOST KEY", CAUSE_HOST_KEY_REVOKED},
    {"HOST IDENTIFICATION HAS CHANGED", CAUSE_HOST_KEY_CHANGED},
    {"Host key verification failed", CAUSE_HOST_KEY_UNKNOWN},
    {"host key is known for", CAUSE_HOST_KEY_UNKNOWN},
    {"Too many authentication failures", CAUSE_AUTH},
    {"Permission denied (", CAUSE_AUTH},
    {"Connection refused", CAUSE_REFUSED},
    {"No route to host", CAUSE_UNREACHABLE},
    {"Network is unreachable", CAUSE_UNREACHABLE},
    {"Host is down", CAUSE_UNREACHABLE},
    {"timed out", CAUSE_TIMEOUT},
    {"Unable to negotiate", CAUSE_CRYPTO},
    {"configuration option", CAUSE_CONFIG},
    {"Bad owner or permissions", CAUSE_CONFIG},
    {"banner line contains invalid", CAUSE_NOT_SSH},
    {"banner exchange: Connection to", CAUSE_NOT_SSH},
    {"Exceeded MaxStartups", CAUSE_DROPPED},
    {"Not allowed at this time", CAUSE_DROPPED},
    {"kex_exchange_identification", CAUSE_DROPPED},
    {"closed by remote host", CAUSE_CUT},
    {"Connection closed by", CAUSE_CUT},
    {"Connection reset by", CAUSE_CUT},
    {"Broken pipe", CAUSE_CUT},
    {"Timeout, server", CAUSE_CUT},
    {"Bad packet length", CAUSE_CUT},
    {"Corrupted MAC", CAUSE_CUT},
};

/* CAUSE_NONE: nothing that we know. */
static enum cause
what_cause(const char *said)
{
    for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++) {
        if (strstr(said, sayings[i].text) != NULL) {
            return sayings[i].cause;
        }
    }
    return CAUSE_NONE;
}

/* The line of stderr that says why, escaped; the last one if none is known. */
static void
line_that_says(const char *said, enum cause cause, char out[LINE_SAID])
{
    const char *from = said;
    struct buf line = BUF_INIT;
    size_t end = strlen(said);

    for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++) {
        const char *at = sayings[i].cause == cause ? strstr(said, sayings[i].text) : NULL;

        if (at != NULL) {
            end = (size_t)(at - said) + strcspn(at, "\r\n");
            break;
        }
    }
    while (end > 0 && strchr("\r\n ", said[end - 1]) != NULL) {
        end--;
    }
    for (size_t i = 0; i < end; i++) {
        if (said[i] == '\n') {
            from = said + i + 1;
        }
    }
    /* ssh begins some lines with its name, and so do we, all. */
    if (end - (size_t)(from - said) >= 5 && memcmp(from, "ssh: ", 5) == 0) {
        from += 5;
    }
    buf_add(&line, from, end - (size_t)(from - said));
    (void)text_escape_to(out, LINE_SAID, buf_str(&line));
    buf_free(&line);
}

static bool
ssh_complains(struct transport *t)
{
    struct buf b = BUF_INIT;
    bool yes;

    transport_stderr(t, &b);
    yes = what_cause(buf_str(&b)) != CAUSE_NONE;
    buf_free(&b);
    return yes;
}

static bool
anything_said(struct transport *t)
{
    struct buf b = BUF_INIT;
    bool yes;

    transport_stderr(t, &b);
    yes = b.len > 0;
    buf_free(&b);
    return yes;
}

/* ssh itself ended with 255, or by a signal. */
static void
explain(struct transport *t, struct failure *f)
{
    struct buf b = BUF_INIT;
    char where[WHERE_MAX];
    char said[LINE_SAID];
    const char *hint = "";
    enum cause cause;

    transport_stderr(t, &b);
    cause = what_cause(buf_str(&b));
    line_that_says(buf_str(&b), cause, said);
    cause = cause == CAUSE_NONE ? CAUSE_CUT : cause;
    if (cause == CAUSE_AUTH && !ask_can_get_secret(t->o.ask) &&
        (strstr(said, "password") != NULL || strstr(said, "keyboard") != NULL)) {
        hint = _(". It takes a password, but there is no terminal to ask at");
    } else if (cause == CAUSE_AUTH) {
        hint = _(" Is your key in its ~/.ssh/authorized_keys, and the user name right?");
    } else if (cause == CAUSE_REFUSED) {
        hint = _(": no sshd on that port, or the machine is still starting");
    }
    (void)failure_set(f, cause, "%s: ssh: %s%s", transport_where(t, where),
                      said[0] != '\0' ? said : _("ended without a word"), hint);
    buf_free(&b);
}

/* ---- host keys that ssh refused ---- */

/* The last key shown by name: "HOSTNAME <name> <type> <base64>". */
static bool
last_seen(struct ssh_way *w, char **name, struct ssh_pubkey *key)
{
    struct buf b = BUF_INIT;
    struct err e;
    char *save = NULL;
    bool found = false;

    if (file_read(w->seen_path, SEEN_MAX, &b, &e) != 0) {
        return false;
    }
    for (char *line = strtok_r((char *)(uintptr_t)buf_str(&b), "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        struct ssh_pubkey k;
        char *words[4] = {NULL};
        char *word_save = NULL;
        size_t n = 0;

        for (char *p = strtok_r(line, " ", &word_save); p != NULL && n < 4;
             p = strtok_r(NULL, " ", &word_save)) {
            words[n++] = p;
        }
        if (n == 4 && strcmp(words[0], "HOSTNAME") == 0 &&
            ssh_pubkey_parse(words[3], strlen(words[3]), &k, &e) == 0) {
            if (found) {
                free(*name);
                ssh_pubkey_free(key);
            }
            *name = xstrdup(words[1]);
            *key = k;
            found = true;
        }
    }
    buf_free(&b);
    return found;
}

/* Ask known hosts (and perhaps a person) about the key that was refused. 0: try again. */
static int
settle_host_key(struct transport *t, struct ssh_way *w, struct failure *f)
{
    struct ssh_pubkey key = {0};
    char *name = NULL;
    int rc;

    if (!last_seen(w, &name, &key)) {
        return -1; /* an old ssh: its own words must do */
    }
    rc = transport_hostkey_check(t, name, NULL, &key, f);
    ssh_pubkey_free(&key);
    free(name);
    return rc;
}

static void
note_host_key(struct transport *t, struct ssh_way *w)
{
    struct ssh_pubkey key = {0};
    char *name = NULL;

    if (last_seen(w, &name, &key)) {
        ssh_pubkey_fingerprint(&key, t->info.host_key);
        ssh_pubkey_free(&key);
        free(name);
    }
}

/* ---- one start, until the host speaks ---- */

enum outcome { OUTCOME_NONE = 0, OUTCOME_SPEAKS, OUTCOME_ENDED, OUTCOME_FAILED };

/* Is there a byte to read, or only the end? */
static enum outcome
peek(const struct transport_child *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return OUTCOME_NONE;
    }
    return n == 1 ? OUTCOME_SPEAKS : OUTCOME_ENDED;
}

static enum outcome
await_start(struct transport *t, struct ssh_way *w, struct failure *f)
{
    int64_t end_ns = transport_deadline(2 * transport_connect_ms(t) + LOGIN_TIMEOUT_MS);
    char where[WHERE_MAX];

    for (;;) {
        enum outcome o = OUTCOME_NONE;
        bool prompt = false;
        int ready = transport_child_poll(t, &w->child, w->askpass.question[0], &prompt,
                                         end_ns, f);

        if (ready < 0) {
            return OUTCOME_FAILED;
        }
        if (prompt) {
            if (askpass_serve(&w->askpass, t, f) != 0) {
                return OUTCOME_FAILED;
            }
            end_ns = transport_deadline(2 * transport_connect_ms(t) + LOGIN_TIMEOUT_MS);
            continue;
        }
        if (ready == 0) {
            (void)failure_set(f, CAUSE_TIMEOUT, _("%s does not answer (ssh still tries)"),
                              transport_where(t, where));
            return OUTCOME_FAILED;
        }
        o = peek(&w->child);
        if (o != OUTCOME_NONE) {
            return o;
        }
    }
}

/* After it ended before a word: 1, try again; 0, leave it to the reader; -1, failed. */
static int
after_end(struct transport *t, struct ssh_way *w, int n_try, int n_key, struct failure *f)
{
    struct transport_status s = {0};

    transport_child_wait(t, &w->child);
    transport_child_status(&w->child, &s);
    if (s.end == TRANSPORT_END_EXIT && (s.code != SSH_FAILED || !anything_said(t))) {
        return 0; /* it was the command that ended: with 255 and no word, by a signal */
    }
    explain(t, f);
    if (f->cause >= CAUSE_HOST_KEY_UNKNOWN && f->cause <= CAUSE_HOST_KEY_REVOKED) {
        return n_key < HOPS_MAX && settle_host_key(t, w, f) == 0 ? 1 : -1;
    }
    if (f->cause == CAUSE_DROPPED && n_try < TRANSPORT_TRIES) {
        if (transport_back_off(t, n_try)) {
            return 1;
        }
        return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
    }
    return -1;
}

static int
ssh_exec(struct transport *t, const char *command, struct failure *f)
{
    struct ssh_way *w = t->impl;
    int n_try = 1;
    int n_key = 0;
    int rc = -1;

    for (;;) {
        enum outcome o;
        int again;

        if (start(t, w, command, f) != 0) {
            break;
        }
        o = await_start(t, w, f);
        if (o == OUTCOME_SPEAKS) {
            note_host_key(t, w);
            rc = 0;
            break;
        }
        if (o == OUTCOME_FAILED) {
            break;
        }
        again = after_end(t, w, n_try, n_key, f);
        if (again <= 0) {
            rc = again;
            break;
        }
        n_try += f->cause == CAUSE_DROPPED ? 1 : 0;
        n_key += f->cause == CAUSE_DROPPED ? 0 : 1;
    }
    askpass_settle(&w->askpass, t);
    return rc;
}

/* ---- the rest of the way ---- */

static int
ssh_open(struct transport *t, struct failure *f)
{
    struct ssh_way *w = xcalloc(1, sizeof *w);

    w->child = (struct transport_child)TRANSPORT_CHILD_INIT;
    w->seen_fd = -1;
    t->impl = w;
    t->info.kind = TRANSPORT_SSH_BINARY;
    w->program = xstrdup(t->o.ssh_program != NULL ? t->o.ssh_program : "ssh");
    f->cause = CAUSE_CONFIG;
    if (ssh_memory_file("seen", "", 0, 0600, &w->seen_fd, w->seen_path, &f->err) != 0 ||
        make_config(t, w, f) != 0 || askpass_open(&w->askpass, f) != 0) {
        return -1;
    }
    return 0;
}

static int
ssh_read(struct transport *t, void *data, size_t cap, int64_t end_ns, size_t *n,
         struct failure *f)
{
    struct ssh_way *w = t->impl;

    return transport_child_read(t, &w->child, data, cap, end_ns, n, f);
}

static int
ssh_write(struct transport *t, const void *data, size_t n, int64_t stall_ms,
          struct failure *f)
{
    struct ssh_way *w = t->impl;

    return transport_child_write(t, &w->child, data, n, stall_ms, f);
}

static int
ssh_stream(struct transport *t, int *fd, struct failure *f)
{
    struct ssh_way *w = t->impl;

    (void)f;
    *fd = w->child.fd;
    w->child.fd = -1;
    return 0;
}

static void
ssh_wait(struct transport *t, struct transport_status *s)
{
    struct ssh_way *w = t->impl;

    transport_child_wait(t, &w->child);
    transport_child_status(&w->child, s);
    if (s->end == TRANSPORT_END_EXIT && s->code != SSH_FAILED) {
        return;
    }
    if (s->end == TRANSPORT_END_EXIT && !ssh_complains(t)) {
        /* 255 without a word of its own: that is how it passes on a signal. */
        s->end = TRANSPORT_END_SIGNAL;
        s->code = 0;
        return;
    }
    s->end = TRANSPORT_END_CUT;
    explain(t, &s->cut);
    s->cut.cause = transport_is_cancelled(t) ? CAUSE_CANCELLED : CAUSE_CUT;
}

static void
ssh_free(struct transport *t)
{
    struct ssh_way *w = t->impl;

    if (w == NULL) {
        return;
    }
    transport_child_end(&w->child);
    askpass_close(&w->askpass);
    ssh_config_copy_free(&w->config);
    (void)fd_close(&w->seen_fd);
    free(w->program);
    free(w);
    t->impl = NULL;
}

const struct transport_ops transport_ssh_ops = {
    .open = ssh_open,
    .exec = ssh_exec,
    .read = ssh_read,
    .write = ssh_write,
    .stream = ssh_stream,
    .wait = ssh_wait,
    .free = ssh_free,
};
