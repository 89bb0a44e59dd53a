#include "base/lang.h"
#include "runner/client/hosts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

#define PORT_MAX       65535
#define LINE_WORDS_MAX 64

/* What a target says, before it goes into a host. Strings are malloc'ed. */
struct target {
    char *user;
    char *address;
    int port;
    char *identity;
    char *jump;
    char *real_name; /* -o HostName=: where the address only is a label */
    bool had_extra;  /* options that do not matter here */
};

static void
target_free(struct target *t)
{
    free(t->user);
    free(t->address);
    free(t->identity);
    free(t->jump);
    free(t->real_name);
}

static int
bad(const char *text, const char *why, struct err *e)
{
    char shown[120];

    return err_set(e, ERR_INVALID, _("'%s' is not an SSH address: %s"),
                   text_escape_to(shown, sizeof shown, text), why);
}

/* Names go to ssh's command line and into ssh_config's matching: nothing odd. */
static int
check_word(const char *word, const char *text, struct err *e)
{
    if (word[0] == '\0') {
        return bad(text, _("a part of it is empty"), e);
    }
    if (word[0] == '-') {
        return bad(text, _("no part of it may begin with '-'"), e);
    }
    if (strlen(word) > HOST_FIELD_LEN_MAX) {
        return bad(text, _("it is too long"), e);
    }
    for (const unsigned char *p = (const unsigned char *)word; *p != '\0'; p++) {
        if (*p <= 0x20 || *p >= 0x7f || strchr("'\"`\\;&|<>()$*?", *p) != NULL) {
            return bad(text, _("it holds a character no host or user name has"), e);
        }
    }
    return 0;
}

static int
parse_port(const char *s, const char *text, int *port, struct err *e)
{
    int64_t v;
    struct err why;

    if (text_parse_int(s, 1, PORT_MAX, "port", &v, &why) != 0) {
        return bad(text, _("a port is a number from 1 to 65535"), e);
    }
    *port = (int)v;
    return 0;
}

static void
set_str(char **at, const char *s, size_t len)
{
    free(*at);
    *at = xmalloc(len + 1);
    memcpy(*at, s, len);
    (*at)[len] = '\0';
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT. A bare V6 address has several colons and no port.
 */
static int
parse_host_port(const char *s, const char *text, struct target *t, struct err *e)
{
    const char *colon;

    if (s[0] == '[') {
        const char *close = strchr(s, ']');

        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return bad(text, _("an IPv6 address with a port is written [ADDR]:PORT"), e);
        }
        set_str(&t->address, s + 1, (size_t)(close - s - 1));
        return close[1] == ':' ? parse_port(close + 2, text, &t->port, e) : 0;
    }
    colon = strchr(s, ':');
    if (colon == NULL || strchr(colon + 1, ':') != NULL) {
        set_str(&t->address, s, strlen(s));
        return 0;
    }
    set_str(&t->address, s, (size_t)(colon - s));
    return parse_port(colon + 1, text, &t->port, e);
}

static int
parse_destination(const char *s, const char *text, struct target *t, struct err *e)
{
    const char *at;

    if (strncmp(s, "ssh://", 6) == 0) {
        s += 6;
    }
    at = strrchr(s, '@');
    if (at != NULL) {
        set_str(&t->user, s, (size_t)(at - s));
        s = at + 1;
    }
    return parse_host_port(s, text, t, e);
}

/* ---- a whole "ssh …" line ---- */

/* Split at blanks, quotes as in a shell; words are malloc'ed into v. */
static int
split_line(const char *text, char **v, size_t *n, struct err *e)
{
    const char *p = text;

    *n = 0;
    for (;;) {
        struct buf w = BUF_INIT;

        while (isspace((unsigned char)*p)) {
            p++;
        }
        if (*p == '\0') {
            return 0;
        }
        if (*n == LINE_WORDS_MAX) {
            return bad(text, _("it is too long"), e);
        }
        while (*p != '\0' && !isspace((unsigned char)*p)) {
            char quote = *p == '\'' || *p == '"' ? *p : '\0';

            if (quote == '\0') {
                buf_add(&w, p++, 1);
                continue;
            }
            for (p++; *p != '\0' && *p != quote; p++) {
                buf_add(&w, p, 1);
            }
            if (*p != quote) {
                buf_free(&w);
                return bad(text, _("a quote is not closed"), e);
            }
            p++;
        }
        v[(*n)++] = w.len > 0 ? buf_steal(&w) : xstrdup("");
    }
}

/* -o KEY=VALUE: what names a place is taken, the rest does not matter here. */
static int
take_ssh_setting(const char *setting, const char *text, struct target *t, struct err *e)
{
    const char *eq = strpbrk(setting, "= ");
    size_t key_len = eq != NULL ? (size_t)(eq - setting) : strlen(setting);
    const char *value = eq != NULL ? eq + 1 : "";

    if (key_len == 4 && strncasecmp(setting, "port", 4) == 0) {
        return parse_port(value, text, &t->port, e);
    }
    if (key_len == 4 && strncasecmp(setting, "user", 4) == 0) {
        set_str(&t->user, value, strlen(value));
    } else if (key_len == 8 && strncasecmp(setting, "hostname", 8) == 0) {
        set_str(&t->real_name, value, strlen(value));
    } else if (key_len == 12 && strncasecmp(setting, "identityfile", 12) == 0) {
        set_str(&t->identity, value, strlen(value));
    } else if (key_len == 9 && strncasecmp(setting, "proxyjump", 9) == 0) {
        set_str(&t->jump, value, strlen(value));
    } else if (key_len == 12 && strncasecmp(setting, "proxycommand", 12) == 0) {
        return bad(text,
                   _("ProxyCommand cannot be taken from a line; put the host into "
                     "~/.ssh/config and give its name here"),
                   e);
    } else {
        t->had_extra = true;
    }
    return 0;
}

static int
take_option(char letter, const char *value, const char *text, struct target *t,
            struct err *e)
{
    switch (letter) {
    case 'p':
        return parse_port(value, text, &t->port, e);
    case 'l':
        set_str(&t->user, value, strlen(value));
        return 0;
    case 'i':
        set_str(&t->identity, value, strlen(value));
        return 0;
    case 'J':
        set_str(&t->jump, value, strlen(value));
        return 0;
    case 'o':
        return take_ssh_setting(value, text, t, e);
    default:
        t->had_extra = true; /* forwards, ciphers, … */
        return 0;
    }
}

/* ssh(1)'s letters: those without a value, and those with one. */
#define SSH_FLAGS  "46AaCfGgKkMNnqsTtVvXxYy"
#define SSH_VALUES "BbcDEeFIiJLlmOopQRSWw"

static int
parse_words(char **w, size_t n, const char *text, struct target *t, struct err *e)
{
    const char *destination = NULL;
    int port_option = 0;
    bool options = true; /* until a "--" */

    for (size_t i = 1; i < n; i++) {
        const char *p = w[i];

        if (strcmp(p, "--") == 0) {
            options = false;
            continue;
        }
        if (!options || p[0] != '-' || p[1] == '\0') {
            if (destination != NULL) {
                return bad(text, _("a command after the address cannot be taken"), e);
            }
            destination = p;
            continue;
        }
        for (p++; *p != '\0'; p++) {
            const char *value;

            if (strchr(SSH_FLAGS, *p) != NULL) {
                t->had_extra = true;
                continue;
            }
            if (strchr(SSH_VALUES, *p) == NULL) {
                return bad(text, _("ssh has no such option"), e);
            }
            value = p[1] != '\0' ? p + 1 : (i + 1 < n ? w[++i] : NULL);
            if (value == NULL) {
                return bad(text, _("an option lacks its value"), e);
            }
            if (take_option(*p, value, text, t, e) != 0) {
                return -1;
            }
            break;
        }
    }
    if (destination == NULL) {
        return bad(text, _("it names no host"), e);
    }
    port_option = t->port;
    if (parse_destination(destination, text, t, e) != 0) {
        return -1;
    }
    t->port = port_option != 0 ? port_option : t->port;
    if (t->real_name != NULL) {
        set_str(&t->address, t->real_name, strlen(t->real_name));
    }
    return 0;
}

static int
parse_line(const char *text, struct target *t, struct err *e)
{
    char *words[LINE_WORDS_MAX];
    size_t n = 0;
    int rc = split_line(text, words, &n, e);

    if (rc == 0) {
        rc = parse_words(words, n, text, t, e);
    }
    for (size_t i = 0; i < n; i++) {
        free(words[i]);
    }
    return rc;
}

static int
check_target(const struct target *t, const char *text, struct err *e)
{
    if (check_word(t->address, text, e) != 0 ||
        (t->user != NULL && check_word(t->user, text, e) != 0) ||
        (t->jump != NULL && check_word(t->jump, text, e) != 0)) {
        return -1;
    }
    if (t->identity != NULL && t->identity[0] == '\0') {
        return bad(text, _("a part of it is empty"), e);
    }
    return 0;
}

/* Blanks, dashes and quotes as a page or a chat makes them: to plain ones. */
static char *
plain_text(const char *text)
{
    static const struct {
        const char *made;
        char plain;
    } of[] = {{"\xc2\xa0", ' '},      {"\xe3\x80\x80", ' '}, {"\\\n", ' '},
              {"\\\r\n", ' '},        {"\t", ' '},           {"\xe2\x80\x93", '-'},
              {"\xe2\x80\x94", '-'},  {"\xe2\x88\x92", '-'}, {"\xe2\x80\x98", '\''},
              {"\xe2\x80\x99", '\''}, {"\xe2\x80\x9c", '"'}, {"\xe2\x80\x9d", '"'}};
    struct buf b = BUF_INIT;

    while (*text != '\0') {
        size_t n = 0;

        for (size_t i = 0; i < sizeof of / sizeof *of && n == 0; i++) {
            size_t len = strlen(of[i].made);

            if (strncmp(text, of[i].made, len) == 0) {
                n = len;
                buf_add_u8(&b, (uint8_t)of[i].plain);
            }
        }
        if (n == 0) {
            buf_add_u8(&b, (uint8_t)*text);
        }
        text += n > 0 ? n : 1;
    }
    return buf_steal(&b);
}

/*
 * Where the line `ssh …` begins in what was copied with it: a prompt, or a label that
 * ends in a colon. The text itself: there is none.
 */
static char *
find_line(char *text)
{
    static const char *const before[] = {
        ": ", ":", "\xef\xbc\x9a", "$ ", "# ", "% ", "> ", "`", "\""};
    char *at = text;

    while ((at = strstr(at, "ssh ")) != NULL) {
        if (at == text) {
            return at;
        }
        for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
            size_t len = strlen(before[i]);

            if ((size_t)(at - text) >= len && memcmp(at - len, before[i], len) == 0) {
                return at;
            }
        }
        at++;
    }
    return text;
}

/* What was copied, without what surrounds the line; malloc'ed. */
static char *
tidy(const char *copied)
{
    char *text = plain_text(copied);
    char *line = find_line(text + strspn(text, " \r\n"));
    size_t least = strncmp(line, "ssh ", 4) == 0 ? 4 : 0; /* of a line without a host */
    char *remark;
    char *out;
    size_t n;

    if (least > 0 && (remark = strstr(line, " #")) != NULL) {
        *remark = '\0';
    }
    n = strlen(line);
    while (n > least && strchr(" \r\n;`\"", line[n - 1]) != NULL) {
        n--;
    }
    out = xasprintf("%.*s", (int)n, line);
    free(text);
    return out;
}

int
host_parse_target(struct host *h, const char *copied, char **remark, struct err *e)
{
    char *text = tidy(copied);
    struct target t = {0};
    bool line = strncmp(text, "ssh ", 4) == 0;
    int rc = line ? parse_line(text, &t, e) : parse_destination(text, text, &t, e);

    if (rc == 0) {
        rc = check_target(&t, text, e);
    }
    free(text);
    if (rc != 0) {
        target_free(&t);
        return -1;
    }
    free(h->address);
    free(h->user);
    free(h->identity);
    free(h->jump);
    h->address = t.address;
    h->user = t.user;
    h->identity = t.identity;
    h->jump = t.jump;
    h->port = t.port;
    free(t.real_name);
    *remark = t.had_extra ? xstrdup(_("only user, host, port, key and jump host of that "
                                      "line are used; gpurun forwards ports by itself "
                                      "(--port)"))
                          : NULL;
    return 0;
}
