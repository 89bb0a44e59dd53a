#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_auth.h"

/*
 * Logging in. sshd delays every request, so none is sent without need: a key that can be
 * used is offered with its signature at once, no "none" and no probe before. Order: keys
 * in files, the agent's keys, keys that want a passphrase (probed first, so that nobody
 * types one in vain), keyboard-interactive, password.
 */

#define CERT_SUFFIX "-cert.pub"

/* ---- key files ---- */

static int
note_passphrase_wanted(const char *prompt, char *buf, size_t len, int echo, int verify,
                       void *user)
{
    (void)prompt;
    (void)buf;
    (void)len;
    (void)echo;
    (void)verify;
    *(bool *)user = true;
    return -1;
}

static enum key_state
key_load(const char *path, ssh_key *key)
{
    struct stat st;
    bool wanted = false;

    if (stat(path, &st) == -1) {
        return errno == ENOENT ? KEY_NONE : KEY_BAD;
    }
    /* As ssh: a key others can read is no secret. */
    if (st.st_uid == getuid() && (st.st_mode & 077) != 0) {
        return KEY_UNSAFE;
    }
    if (ssh_pki_import_privkey_file(path, NULL, note_passphrase_wanted, &wanted, key) ==
        SSH_OK) {
        return KEY_USABLE;
    }
    return wanted ? KEY_ENCRYPTED : KEY_BAD;
}

static void
add_file(struct login *g, char *path, bool said)
{
    struct key_file *k = &g->v[g->n];

    if (g->n == KEY_FILES_MAX || strcasecmp(path, "none") == 0) {
        free(path);
        return;
    }
    *k = (struct key_file){.path = path, .said = said};
    k->state = key_load(path, &k->key);
    if (k->state == KEY_NONE && !said) {
        free(path);
        return;
    }
    g->n++;
}

static void
find_keys(struct login *g)
{
    const struct transport *t = g->t;

    for (size_t i = 0; i < t->config.n_identity; i++) {
        add_file(g, xstrdup(t->config.identity[i]), true);
    }
    for (size_t i = 0; t->config.n_identity == 0 && ssh_config_default_keys[i] != NULL;
         i++) {
        add_file(g, xasprintf("%s/.ssh/%s", t->home_dir, ssh_config_default_keys[i]),
                 false);
    }
    add_file(g, transport_own_key(t), false);
}

static void
free_keys(struct login *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->v[i].path);
        SSH_KEY_FREE(g->v[i].key);
    }
    g->n = 0;
}

static bool
has_agent(const struct transport *t)
{
    const char *sock = t->config.identity_agent;

    if (sock == NULL || strcmp(sock, "SSH_AUTH_SOCK") == 0) {
        sock = getenv("SSH_AUTH_SOCK");
    }
    return sock != NULL && sock[0] != '\0' && strcasecmp(sock, "none") != 0;
}

/* Keys on security tokens: their "private" file names the type in clear. */
static bool
is_token_key(const char *path)
{
    char *pub = xasprintf("%s.pub", path);
    struct buf b = BUF_INIT;
    struct err e;
    bool yes = file_read(pub, KNOWN_HOSTS_KEY_MAX, &b, &e) == 0 &&
               strncmp(buf_str(&b), "sk-", 3) == 0;

    buf_free(&b);
    free(pub);
    return yes;
}

bool
lib_login_needs_binary(struct transport *t)
{
    struct login g = {.t = t};
    const char *why = NULL;

    find_keys(&g);
    for (size_t i = 0; i < g.n && why == NULL; i++) {
        bool usable = g.v[i].state == KEY_USABLE;

        if (!usable && is_token_key(g.v[i].path)) {
            why = _("a key on a security token");
        } else if (!usable && t->config.identities_only && has_agent(t)) {
            /* libssh offers all of an agent's keys or none. */
            why = "IdentitiesOnly";
        }
    }
    free_keys(&g);
    if (why != NULL) {
        (void)snprintf(t->config.needs_binary, sizeof t->config.needs_binary, "%s", why);
    }
    return why != NULL;
}

/* ---- requests ---- */

void
login_note(struct login *g, const char *what, const char *result)
{
    char shown[160];

    buf_printf(&g->tried, "%s%s (%s)", g->tried.len > 0 ? ", " : "",
               text_escape_to(shown, sizeof shown, what), result);
}

void
login_done(struct login *g, const char *how, const char *what)
{
    (void)snprintf(g->t->info.login, sizeof g->t->info.login, "%s%s%s", how,
                   what[0] != '\0' ? " " : "", what);
}

static int
ask_sign(struct login *g, const struct attempt *a)
{
    return ssh_userauth_publickey(g->l->s, NULL, a->key);
}

static int
ask_probe(struct login *g, const struct attempt *a)
{
    return ssh_userauth_try_publickey(g->l->s, NULL, a->key);
}

static int
ask_agent(struct login *g, const struct attempt *a)
{
    (void)a;
    return ssh_userauth_agent(g->l->s, NULL);
}

static int
ask_none(struct login *g, const struct attempt *a)
{
    (void)a;
    return ssh_userauth_none(g->l->s, NULL);
}

int
login_attempt(struct login *g, const struct attempt *a, int *answer, struct failure *f)
{
    int64_t end_ns = transport_deadline(LOGIN_TIMEOUT_MS);

    for (;;) {
        int rc = a->ask(g, a);

        if (rc == SSH_AUTH_ERROR) {
            return lib_session_failed(g->t, g->l, _("login"), f);
        }
        if (rc != SSH_AUTH_AGAIN) {
            g->denied_once = g->denied_once || rc == SSH_AUTH_DENIED;
            *answer = rc;
            return 0;
        }
        if (lib_wait(g->t, g->l, end_ns, _("login"), f) != 0) {
            return -1;
        }
    }
}

/* ---- public keys ---- */

/* A certificate beside the key goes first, as in ssh. 1: in; 0: not; -1: failed. */
static int
try_certificate(struct login *g, struct key_file *k, struct failure *f)
{
    char *path = xasprintf("%s" CERT_SUFFIX, k->path);
    ssh_key cert = NULL;
    ssh_key both = NULL;
    int answer = SSH_AUTH_DENIED;
    int rc = 0;

    if (!file_exists(path) || ssh_pki_import_cert_file(path, &cert) != SSH_OK) {
        goto out;
    }
    both = ssh_key_dup(k->key);
    if (both != NULL && ssh_pki_copy_cert_to_privkey(cert, both) == SSH_OK) {
        const struct attempt a = {.ask = ask_sign, .key = both};

        rc = login_attempt(g, &a, &answer, f);
        if (rc == 0 && answer == SSH_AUTH_SUCCESS) {
            login_done(g, "certificate", path);
            rc = 1;
        } else if (rc == 0) {
            login_note(g, path, _("refused"));
        }
    }

out:
    SSH_KEY_FREE(cert);
    SSH_KEY_FREE(both);
    free(path);
    return rc;
}

static int
try_key(struct login *g, struct key_file *k, struct failure *f)
{
    const struct attempt a = {.ask = ask_sign, .key = k->key};
    int answer = SSH_AUTH_DENIED;
    int rc = try_certificate(g, k, f);

    if (rc != 0) {
        return rc;
    }
    if (login_attempt(g, &a, &answer, f) != 0) {
        return -1;
    }
    if (answer == SSH_AUTH_SUCCESS) {
        login_done(g, "key", k->path);
        return 1;
    }
    login_note(g, k->path,
               answer == SSH_AUTH_PARTIAL ? _("accepted, but more is wanted")
                                          : _("refused"));
    return 0;
}

static int
try_usable(struct login *g, struct failure *f)
{
    for (size_t i = 0; i < g->n; i++) {
        int rc = g->v[i].state == KEY_USABLE ? try_key(g, &g->v[i], f) : 0;

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int
try_agent(struct login *g, struct failure *f)
{
    const struct attempt a = {.ask = ask_agent};
    int answer = SSH_AUTH_DENIED;

    if (!has_agent(g->t) || g->t->config.identities_only) {
        return 0;
    }
    if (login_attempt(g, &a, &answer, f) != 0) {
        return -1;
    }
    if (answer == SSH_AUTH_SUCCESS) {
        login_done(g, "agent", "");
        return 1;
    }
    login_note(g, _("ssh-agent"), _("no key of it accepted"));
    return 0;
}

/* ---- dialogues ---- */

int
login_begin(struct login *g, struct failure *f)
{
    if (!g->in_dialogue && ask_begin(g->t->o.ask, g->t->cancel_fd, &f->err) != 0) {
        f->cause = CAUSE_CANCELLED;
        return -1;
    }
    g->in_dialogue = true;
    return 0;
}

int
login_ask(struct login *g, const char *prompt, bool echo, char answer[ASK_ANSWER_MAX],
          struct failure *f)
{
    if (login_begin(g, f) != 0) {
        return -1;
    }
    if (ask_line(g->t->o.ask, prompt, echo, answer, &f->err) == 0) {
        return 1;
    }
    f->cause = CAUSE_CANCELLED;
    return f->err.code == ERR_BUSY ? -1 : 0;
}

/* Whether the host would take the key at all. Unknown counts as yes. */
static int
probe(struct login *g, const struct key_file *k, bool *wanted, struct failure *f)
{
    char *path = xasprintf("%s.pub", k->path);
    struct attempt a = {.ask = ask_probe};
    int answer = SSH_AUTH_SUCCESS;
    int rc = 0;

    if (file_exists(path) && ssh_pki_import_pubkey_file(path, &a.key) == SSH_OK) {
        rc = login_attempt(g, &a, &answer, f);
    }
    *wanted = answer == SSH_AUTH_SUCCESS;
    SSH_KEY_FREE(a.key);
    free(path);
    return rc;
}

static int
ask_passphrase(struct login *g, struct key_file *k, struct failure *f)
{
    char prompt[PROMPT_MAX];
    char answer[ASK_ANSWER_MAX];
    char shown[200];

    (void)snprintf(prompt, sizeof prompt, _("Passphrase for key '%s': "),
                   text_escape_to(shown, sizeof shown, k->path));
    for (int n = 0; n < LOGIN_TRIES; n++) {
        int rc = login_ask(g, prompt, false, answer, f);

        if (rc <= 0) {
            return rc;
        }
        rc = ssh_pki_import_privkey_file(k->path, answer, NULL, NULL, &k->key);
        ask_wipe(answer);
        if (rc == SSH_OK) {
            k->state = KEY_USABLE;
            return try_key(g, k, f);
        }
    }
    login_note(g, k->path, _("wrong passphrase"));
    return 0;
}

static int
try_encrypted(struct login *g, struct failure *f)
{
    for (size_t i = 0; i < g->n; i++) {
        struct key_file *k = &g->v[i];
        bool wanted = true;
        int rc;

        if (k->state != KEY_ENCRYPTED) {
            continue;
        }
        if (probe(g, k, &wanted, f) != 0) {
            return -1;
        }
        if (!wanted) {
            login_note(g, k->path, _("refused"));
        } else if (!ask_can_get_secret(g->t->o.ask)) {
            login_note(g, k->path, _("wants a passphrase, and nobody is there to ask"));
        } else {
            rc = ask_passphrase(g, k, f);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* ---- all of it ---- */

bool
login_allows(const struct login *g, const char *method, bool by_option)
{
    const char *list = g->t->config.preferred_auth;

    return by_option && (list == NULL || strstr(list, method) != NULL);
}

/* What the host takes: known after a refusal, else it costs a request to learn. */
static int
host_methods(struct login *g, unsigned *methods, struct failure *f)
{
    const struct attempt a = {.ask = ask_none};
    int answer = SSH_AUTH_DENIED;

    if (!g->denied_once && g->tried.len == 0) {
        if (login_attempt(g, &a, &answer, f) != 0) {
            return -1;
        }
        if (answer == SSH_AUTH_SUCCESS) {
            login_done(g, "none", "");
            return 1;
        }
    }
    *methods = (unsigned)ssh_userauth_list(g->l->s, NULL);
    return 0;
}

static int
try_keys(struct login *g, struct failure *f)
{
    int rc;

    if (!login_allows(g, "publickey", g->t->config.pubkey_auth)) {
        return 0;
    }
    rc = try_usable(g, f);
    if (rc == 0) {
        rc = try_agent(g, f);
    }
    return rc != 0 ? rc : try_encrypted(g, f);
}

static int
no_way_in(struct login *g, unsigned methods, struct failure *f)
{
    bool typed =
        (methods & (SSH_AUTH_METHOD_INTERACTIVE | SSH_AUTH_METHOD_PASSWORD)) != 0;
    char where[WHERE_MAX];
    char tried[220];

    for (size_t i = 0; i < g->n; i++) {
        if (g->v[i].state == KEY_UNSAFE) {
            login_note(g, g->v[i].path, _("not used: others can read it; chmod 600"));
        } else if (g->v[i].state == KEY_BAD || g->v[i].state == KEY_NONE) {
            login_note(g, g->v[i].path, _("cannot be read"));
        }
    }
    (void)snprintf(tried, sizeof tried, "%s", buf_str(&g->tried));
    return failure_set(
        f, CAUSE_AUTH, _("%s does not let us in; tried: %s. %s"),
        transport_where(g->t, where),
        tried[0] != '\0' ? tried : _("nothing, as there is no key"),
        typed && !ask_can_get_secret(g->t->o.ask)
            ? _("It takes a password, but there is no terminal to ask at: add your key "
                "to "
                "its ~/.ssh/authorized_keys, or run this once on a terminal")
            : _("Is your key in its ~/.ssh/authorized_keys, and the user name right?"));
}

static int
login(struct login *g, struct failure *f)
{
    unsigned methods = 0;
    int rc = try_keys(g, f);

    if (rc == 0) {
        rc = host_methods(g, &methods, f);
    }
    if (rc == 0 && ask_can_get_secret(g->t->o.ask)) {
        rc = login_typed(g, methods, f);
    }
    return rc == 0 ? no_way_in(g, methods, f) : rc;
}

int
lib_login(struct transport *t, struct lib *l, struct failure *f)
{
    struct login g = {.t = t, .l = l, .tried = BUF_INIT};
    int rc;

    find_keys(&g);
    rc = login(&g, f);
    if (g.in_dialogue) {
        ask_end(t->o.ask);
    }
    free_keys(&g);
    buf_free(&g.tried);
    return rc == 1 ? 0 : -1;
}
