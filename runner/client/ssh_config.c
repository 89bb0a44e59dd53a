#include "runner/client/ssh_config.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/ssh_config_internal.h"

#define PASSWD_BUF_MAX 16384
#define KEYWORDS_MAX   64

const char *const ssh_config_default_keys[] = {
    "id_ed25519", "id_ecdsa", "id_rsa", "id_ecdsa_sk", "id_ed25519_sk", NULL,
};

/* One reading: what was asked for, what is known so far. */
struct scan {
    const struct ssh_config_want *want;
    const char *home;
    char *local_user;
    struct ssh_config *out;
    bool said[KEYWORDS_MAX]; /* by row of the table: the first value counts */
    bool proxy_said;
    bool gssapi;
    bool hostbased;
    int n_files;
};

/* Where we are in it. */
struct place {
    const char *file;
    int line;
    const char *dir; /* what relative Includes count from */
    bool users;      /* the user's own: others must not be able to write to it */
    int depth;
};

static int
bad_line(const struct place *at, const char *why, struct err *e)
{
    return err_set(e, ERR_INVALID, "%s:%d: %s", at->file, at->line, why);
}

static void
need_binary(struct scan *s, const char *what)
{
    if (s->out->needs_binary[0] == '\0') {
        (void)snprintf(s->out->needs_binary, sizeof s->out->needs_binary, "%s", what);
    }
}

/* ---- keywords ---- */

enum kind {
    KIND_NONE = 0,
    KIND_STR,     /* char *, the first counts */
    KIND_LIST,    /* lines add up */
    KIND_FILES,   /* one line with several, the first line counts */
    KIND_YES,     /* bool */
    KIND_BINARY,  /* any value but "none" and "no" wants the binary */
    KIND_SPECIAL, /* by name, in take_special */
};

struct keyword {
    const char *name; /* lower case */
    enum kind kind;
    size_t at; /* in struct ssh_config */
    size_t n_at;
};

#define STR(name, field)                                                                 \
    {                                                                                    \
        name, KIND_STR, offsetof(struct ssh_config, field), 0                            \
    }
#define YES(name, field)                                                                 \
    {                                                                                    \
        name, KIND_YES, offsetof(struct ssh_config, field), 0                            \
    }
#define MANY(name, k, field)                                                             \
    {                                                                                    \
        name, k, offsetof(struct ssh_config, field),                                     \
            offsetof(struct ssh_config, n_##field)                                       \
    }
#define ONLY(name, k)                                                                    \
    {                                                                                    \
        name, k, 0, 0                                                                    \
    }

static const struct keyword keywords[] = {
    STR("hostname", host_name),
    STR("user", user),
    STR("hostkeyalias", host_key_alias),
    STR("identityagent", identity_agent),
    STR("bindaddress", bind_address),
    STR("ciphers", ciphers),
    STR("kexalgorithms", kex),
    STR("macs", macs),
    STR("hostkeyalgorithms", host_key_algorithms),
    STR("pubkeyacceptedalgorithms", pubkey_algorithms),
    STR("pubkeyacceptedkeytypes", pubkey_algorithms),
    STR("preferredauthentications", preferred_auth),
    MANY("identityfile", KIND_LIST, identity),
    MANY("userknownhostsfile", KIND_FILES, user_known_hosts),
    MANY("globalknownhostsfile", KIND_FILES, global_known_hosts),
    YES("identitiesonly", identities_only),
    YES("passwordauthentication", password_auth),
    YES("kbdinteractiveauthentication", kbdint_auth),
    YES("challengeresponseauthentication", kbdint_auth),
    YES("pubkeyauthentication", pubkey_auth),
    ONLY("proxyusefdpass", KIND_BINARY),
    ONLY("certificatefile", KIND_BINARY),
    ONLY("pkcs11provider", KIND_BINARY),
    ONLY("securitykeyprovider", KIND_BINARY),
    ONLY("bindinterface", KIND_BINARY),
    ONLY("canonicalizehostname", KIND_BINARY),
    ONLY("revokedhostkeys", KIND_BINARY),
    ONLY("port", KIND_SPECIAL),
    ONLY("connecttimeout", KIND_SPECIAL),
    ONLY("addressfamily", KIND_SPECIAL),
    ONLY("proxyjump", KIND_SPECIAL),
    ONLY("proxycommand", KIND_SPECIAL),
    ONLY("gssapiauthentication", KIND_SPECIAL),
    ONLY("hostbasedauthentication", KIND_SPECIAL),
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])
_Static_assert(N_KEYWORDS <= KEYWORDS_MAX, "scan.said has a place for each keyword");

static void *
field(struct ssh_config *c, size_t offset)
{
    return (char *)c + offset;
}

static bool
is_yes(const char *v)
{
    return strcasecmp(v, "yes") == 0 || strcasecmp(v, "true") == 0 ||
           strcasecmp(v, "always") == 0;
}

static int
add_to_list(struct scan *s, const struct keyword *k, const char *value,
            const struct place *at, struct err *e)
{
    char **list = field(s->out, k->at);
    size_t *n = field(s->out, k->n_at);

    for (size_t i = 0; i < *n; i++) {
        if (strcmp(list[i], value) == 0) {
            return 0;
        }
    }
    if (*n == SSH_CONFIG_LIST_MAX) {
        return bad_line(at, _("too many files of one kind"), e);
    }
    list[(*n)++] = xstrdup(value);
    return 0;
}

static int
take_number(const char *v, int max, int *out, const struct place *at, struct err *e)
{
    int64_t n;
    struct err why;

    if (text_parse_int(v, 1, max, "number", &n, &why) != 0) {
        return bad_line(at, why.msg, e);
    }
    *out = (int)n;
    return 0;
}

static int
take_special(struct scan *s, const char *name, const char *v, const struct place *at,
             struct err *e)
{
    if (strcmp(name, "port") == 0) {
        return s->want->port != 0 ? 0 : take_number(v, 65535, &s->out->port, at, e);
    }
    if (strcmp(name, "connecttimeout") == 0) {
        if (strcasecmp(v, "none") == 0) {
            return 0;
        }
        return take_number(v, SSH_CONFIG_TIMEOUT_MAX, &s->out->connect_timeout_s, at, e);
    }
    if (strcmp(name, "addressfamily") == 0) {
        s->out->address_family = strcasecmp(v, "inet") == 0    ? AF_INET
                                 : strcasecmp(v, "inet6") == 0 ? AF_INET6
                                                               : AF_UNSPEC;
    } else if (strcmp(name, "gssapiauthentication") == 0) {
        s->gssapi = is_yes(v);
    } else if (strcmp(name, "hostbasedauthentication") == 0) {
        s->hostbased = is_yes(v);
    } else if (!s->proxy_said) { /* of ProxyJump and ProxyCommand the first counts */
        s->proxy_said = true;
        if (strcasecmp(v, "none") != 0) {
            need_binary(s, name[5] == 'j' ? "ProxyJump" : "ProxyCommand");
        }
    }
    return 0;
}

static int
take_files(struct scan *s, const struct keyword *k, const struct ssh_words *w,
           const struct place *at, struct err *e)
{
    for (size_t i = 1; i < w->n; i++) {
        if (strcasecmp(w->v[i], "none") != 0 && add_to_list(s, k, w->v[i], at, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
take_value(struct scan *s, const struct keyword *k, const struct ssh_words *w,
           const struct place *at, struct err *e)
{
    const char *v = w->v[1];
    char **str = field(s->out, k->at);

    switch (k->kind) {
    case KIND_STR:
        if (*str == NULL) { /* two spellings may share a field */
            *str = xstrdup(v);
        }
        return 0;
    case KIND_LIST:
        return add_to_list(s, k, v, at, e);
    case KIND_FILES:
        return take_files(s, k, w, at, e);
    case KIND_YES:
        *(bool *)field(s->out, k->at) = is_yes(v);
        return 0;
    case KIND_BINARY:
        if (strcasecmp(v, "none") != 0 && strcasecmp(v, "no") != 0) {
            need_binary(s, w->v[0]);
        }
        return 0;
    case KIND_SPECIAL:
        return take_special(s, k->name, v, at, e);
    case KIND_NONE:
        break;
    }
    return 0;
}

static int
take_keyword(struct scan *s, const struct ssh_words *w, const struct place *at,
             struct err *e)
{
    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (strcasecmp(keywords[i].name, w->v[0]) != 0) {
            continue;
        }
        if (w->n < 2) {
            return bad_line(at, _("a keyword without a value"), e);
        }
        if (s->said[i] && keywords[i].kind != KIND_LIST) {
            return 0;
        }
        s->said[i] = true;
        return take_value(s, &keywords[i], w, at, e);
    }
    return 0; /* one that does not matter to us, or is not allowed to */
}

/* ---- which lines are about our host ---- */

static const char *
match_subject(const struct scan *s, const char *what)
{
    if (strcasecmp(what, "originalhost") == 0) {
        return s->want->host;
    }
    if (strcasecmp(what, "host") == 0) {
        return s->out->host_name != NULL ? s->out->host_name : s->want->host;
    }
    if (strcasecmp(what, "user") == 0) {
        return s->out->user != NULL ? s->out->user : s->local_user;
    }
    return strcasecmp(what, "localuser") == 0 ? s->local_user : NULL;
}

/* "a,b,!c" of a Match line. */
static bool
match_list(char *list, const char *subject)
{
    const char *v[SSH_WORDS_MAX];
    size_t n = 0;
    char *save = NULL;

    for (char *p = strtok_r(list, ",", &save); p != NULL && n < SSH_WORDS_MAX;
         p = strtok_r(NULL, ",", &save)) {
        v[n++] = p;
    }
    return ssh_patterns_match(v, n, subject);
}

/* Criteria are looked at in order; once one failed, the rest cannot matter. */
static int
eval_match(struct scan *s, const struct ssh_words *w, bool *active,
           const struct place *at, struct err *e)
{
    *active = false;
    if (w->n < 2) {
        return bad_line(at, _("Match without a condition"), e);
    }
    for (size_t i = 1; i < w->n; i++) {
        bool no = w->v[i][0] == '!';
        const char *what = w->v[i] + (no ? 1 : 0);
        const char *subject;

        if (strcasecmp(what, "all") == 0) {
            continue;
        }
        subject = match_subject(s, what);
        if (subject == NULL) { /* exec, canonical, final, localnetwork, … */
            char name[64];

            (void)snprintf(name, sizeof name, "Match %s", what);
            need_binary(s, name);
            return 0;
        }
        if (++i == w->n) {
            return bad_line(at, _("a Match condition without a value"), e);
        }
        if (match_list(w->v[i], subject) == no) {
            return 0;
        }
    }
    *active = true;
    return 0;
}

/* ---- files ---- */

static int scan_file(struct scan *s, const struct place *from, const char *path,
                     struct err *e);

static int
include(struct scan *s, const struct ssh_words *w, const struct place *at, struct err *e)
{
    int rc = 0;

    for (size_t i = 1; i < w->n && rc == 0; i++) {
        char *path = ssh_include_path(w->v[i], s->home, at->dir);
        glob_t g;

        if (glob(path, 0, NULL, &g) == 0) {
            for (size_t j = 0; j < g.gl_pathc && rc == 0; j++) {
                rc = scan_file(s, at, g.gl_pathv[j], e);
            }
            globfree(&g);
        }
        free(path);
    }
    return rc;
}

static int
scan_line(struct scan *s, const struct ssh_words *w, bool *active, const struct place *at,
          struct err *e)
{
    if (w->n == 0) {
        return 0;
    }
    if (strcasecmp(w->v[0], "host") == 0) {
        *active =
            ssh_patterns_match((const char *const *)w->v + 1, w->n - 1, s->want->host);
        return 0;
    }
    if (strcasecmp(w->v[0], "match") == 0) {
        return eval_match(s, w, active, at, e);
    }
    if (!*active) {
        return 0;
    }
    if (strcasecmp(w->v[0], "include") == 0) {
        return include(s, w, at, e);
    }
    return take_keyword(s, w, at, e);
}

static int
scan_text(struct scan *s, struct place *at, const char *text, size_t len, struct err *e)
{
    bool active = true;

    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl == NULL ? len : (size_t)(nl - text);
        struct ssh_words w;
        struct err why;
        int rc;

        at->line++;
        if (ssh_words_split(text, n, &w, &why) != 0) {
            return bad_line(at, why.msg, e);
        }
        rc = scan_line(s, &w, &active, at, e);
        ssh_words_free(&w);
        if (rc != 0) {
            return -1;
        }
        text += nl == NULL ? n : n + 1;
        len -= nl == NULL ? n : n + 1;
    }
    return 0;
}

int
ssh_config_read_file(const char *path, bool users, struct buf *out, struct err *e)
{
    struct stat st;
    struct err why;

    if (file_read(path, SSH_CONFIG_FILE_MAX, out, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            return 0;
        }
        *e = why;
        return -1;
    }
    /* As ssh: who else can write it could have commands run as us. */
    if (users && stat(path, &st) == 0 &&
        ((st.st_uid != 0 && st.st_uid != getuid()) || (st.st_mode & 022) != 0)) {
        return err_set(
            e, ERR_DENIED,
            _("%s can be written by others; make it yours alone: chmod go-w %s"), path,
            path);
    }
    return 0;
}

static int
scan_file(struct scan *s, const struct place *from, const char *path, struct err *e)
{
    struct place at = *from;
    struct buf text = BUF_INIT;
    int rc = -1;

    at.file = path;
    at.line = 0;
    at.depth++;
    if (at.depth > SSH_CONFIG_DEPTH_MAX || ++s->n_files > SSH_CONFIG_FILES_MAX) {
        return err_set(e, ERR_INVALID, _("%s: too many Includes"), path);
    }
    if (ssh_config_read_file(path, at.users, &text, e) == 0) {
        rc = scan_text(s, &at, buf_str(&text), text.len, e);
    }
    buf_free(&text);
    return rc;
}

/* ---- the result ---- */

static char *
login_name(void)
{
    struct passwd pw;
    struct passwd *found = NULL;
    char buf[PASSWD_BUF_MAX];
    const char *user;

    if (getpwuid_r(getuid(), &pw, buf, sizeof buf, &found) == 0 && found != NULL) {
        return xstrdup(pw.pw_name);
    }
    user = getenv("USER");
    return xstrdup(user != NULL && user[0] != '\0' ? user : "root");
}

static void
expand(struct scan *s, char **at, const char *keyword, const struct ssh_tokens *t)
{
    char *v = *at == NULL ? NULL : ssh_word_expand(*at, t);

    if (*at != NULL && v == NULL) {
        char what[80];

        (void)snprintf(what, sizeof what, "%s %.40s", keyword, *at);
        need_binary(s, what);
        return;
    }
    free(*at);
    *at = v;
}

static void
expand_list(struct scan *s, char **list, size_t n, const char *keyword,
            const struct ssh_tokens *t)
{
    for (size_t i = 0; i < n; i++) {
        expand(s, &list[i], keyword, t);
    }
}

static int
check_name(const char *what, const char *v, struct err *e)
{
    char shown[120];

    if (v[0] == '-' || v[0] == '\0') {
        return err_set(e, ERR_INVALID, _("the %s '%s' is refused: it %s"), what,
                       text_escape_to(shown, sizeof shown, v),
                       v[0] == '\0' ? _("is empty") : _("begins with '-'"));
    }
    for (const char *p = v; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("'\"`\\;&|<>()$", *p)) {
            return err_set(e, ERR_INVALID, _("the %s '%s' holds a character no %s has"),
                           what, text_escape_to(shown, sizeof shown, v), what);
        }
    }
    return 0;
}

static void
known_hosts_defaults(struct scan *s)
{
    struct ssh_config *c = s->out;

    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (strcmp(keywords[i].name, "userknownhostsfile") == 0 && !s->said[i]) {
            c->user_known_hosts[0] = xasprintf("%s/.ssh/known_hosts", s->home);
            c->user_known_hosts[1] = xasprintf("%s/.ssh/known_hosts2", s->home);
            c->n_user_known_hosts = 2;
        }
        if (strcmp(keywords[i].name, "globalknownhostsfile") == 0 && !s->said[i]) {
            c->global_known_hosts[0] = xstrdup("/etc/ssh/ssh_known_hosts");
            c->global_known_hosts[1] = xstrdup("/etc/ssh/ssh_known_hosts2");
            c->n_global_known_hosts = 2;
        }
    }
}

static void
expand_all(struct scan *s)
{
    struct ssh_config *c = s->out;
    struct ssh_tokens t = {
        .home = s->home,
        .host = s->want->host,
        .original = s->want->host,
        .local_user = s->local_user,
        .port = c->port,
    };

    if (c->host_name == NULL) {
        c->host_name = xstrdup(s->want->host); /* no tokens: "fe80::1%eth0" */
    } else {
        expand(s, &c->host_name, "HostName", &t);
    }
    for (char *p = c->host_name; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    t.host = c->host_name;
    t.user = c->user;
    t.key_alias = c->host_key_alias != NULL ? c->host_key_alias : s->want->host;
    expand(s, &c->identity_agent, "IdentityAgent", &t);
    expand_list(s, c->identity, c->n_identity, "IdentityFile", &t);
    expand_list(s, c->user_known_hosts, c->n_user_known_hosts, "UserKnownHostsFile", &t);
    expand_list(s, c->global_known_hosts, c->n_global_known_hosts, "GlobalKnownHostsFile",
                &t);
}

static int
finish(struct scan *s, struct err *e)
{
    struct ssh_config *c = s->out;

    if (c->user == NULL) {
        c->user = xstrdup(s->local_user);
    }
    if (c->port == 0) {
        c->port = 22;
    }
    known_hosts_defaults(s);
    expand_all(s);
    if (s->hostbased) {
        need_binary(s, "HostbasedAuthentication");
    }
    if (s->gssapi && c->preferred_auth != NULL &&
        strstr(c->preferred_auth, "gssapi") != NULL) {
        need_binary(s, "GSSAPIAuthentication");
    }
    if (check_name(_("host name"), c->host_name, e) != 0) {
        return -1;
    }
    return check_name(_("user name"), c->user, e);
}

static int
scan_both(struct scan *s, const char *user_file, const char *system_file, struct err *e)
{
    char *ssh_dir = xasprintf("%s/.ssh", s->home);
    struct place users = {.dir = ssh_dir, .users = true};
    struct place systems = {.dir = "/etc/ssh"};
    int rc = -1;

    if ((user_file == NULL || scan_file(s, &users, user_file, e) == 0) &&
        (system_file == NULL || scan_file(s, &systems, system_file, e) == 0)) {
        rc = finish(s, e);
    }
    free(ssh_dir);
    return rc;
}

int
ssh_config_load(const struct ssh_config_want *want, const char *home,
                const char *user_file, const char *system_file, struct ssh_config *out,
                struct err *e)
{
    struct ssh_config c = {
        .password_auth = true, .kbdint_auth = true, .pubkey_auth = true};
    struct scan s = {.want = want, .home = home, .out = &c};
    int rc = -1;

    if (check_name(_("host name"), want->host, e) != 0 ||
        (want->user != NULL && check_name(_("user name"), want->user, e) != 0)) {
        return -1;
    }
    s.local_user = login_name();
    c.user = want->user == NULL ? NULL : xstrdup(want->user);
    c.port = want->port;
    if (want->identity != NULL) {
        c.identity[c.n_identity++] = ssh_word_at_home(want->identity, home);
    }
    if (want->jump != NULL && strcasecmp(want->jump, "none") != 0) {
        s.proxy_said = true;
        need_binary(&s, "ProxyJump");
    }
    if (scan_both(&s, user_file, system_file, e) == 0) {
        *out = c;
        c = (struct ssh_config){0};
        rc = 0;
    }
    ssh_config_free(&c);
    free(s.local_user);
    return rc;
}

static void
free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i]);
    }
}

void
ssh_config_free(struct ssh_config *c)
{
    free(c->host_name);
    free(c->user);
    free(c->host_key_alias);
    free(c->identity_agent);
    free(c->bind_address);
    free(c->ciphers);
    free(c->kex);
    free(c->macs);
    free(c->host_key_algorithms);
    free(c->pubkey_algorithms);
    free(c->preferred_auth);
    free_list(c->identity, c->n_identity);
    free_list(c->user_known_hosts, c->n_user_known_hosts);
    free_list(c->global_known_hosts, c->n_global_known_hosts);
    *c = (struct ssh_config){0};
}
