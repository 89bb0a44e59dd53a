#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/client/ssh_config_internal.h"

#define VALUE_LEN_MAX 4096 /* an expanded value; longer ones are not paths */

/* One word from *p on. False: a quote was left open. */
static bool
take_word(const char **at, const char *end, bool keyword, struct buf *w)
{
    const char *p = *at;
    char quote = '\0';

    buf_reserve(w, 1);
    for (; p < end; p++) {
        if (quote == '\0' && (isspace((unsigned char)*p) || (keyword && *p == '='))) {
            break;
        }
        if (*p == '\\' && p + 1 < end &&
            (strchr("\"'\\", p[1]) != NULL || (quote == '\0' && p[1] == ' '))) {
            buf_add_u8(w, (uint8_t) * ++p);
        } else if (quote != '\0' ? *p == quote : (*p == '"' || *p == '\'')) {
            quote = quote == '\0' ? *p : '\0';
        } else {
            buf_add_u8(w, (uint8_t)*p);
        }
    }
    *at = p;
    return quote == '\0';
}

static void
skip_space(const char **p, const char *end)
{
    while (*p < end && isspace((unsigned char)**p)) {
        (*p)++;
    }
}

int
ssh_words_split(const char *line, size_t len, struct ssh_words *out, struct err *e)
{
    const char *p = line;
    const char *end = line + len;

    out->n = 0;
    for (;;) {
        struct buf w = BUF_INIT;
        bool closed;

        skip_space(&p, end);
        if (out->n == 1 && p < end && *p == '=') {
            p++; /* "Keyword = value" */
            skip_space(&p, end);
        }
        if (p == end || *p == '#') {
            return 0;
        }
        if (out->n == SSH_WORDS_MAX || memchr(p, '\0', (size_t)(end - p)) != NULL) {
            ssh_words_free(out);
            return err_set(e, ERR_INVALID, "too many words, or a NUL byte");
        }
        closed = take_word(&p, end, out->n == 0, &w);
        out->v[out->n++] = buf_steal(&w);
        if (!closed) {
            ssh_words_free(out);
            return err_set(e, ERR_INVALID, "a quote is left open");
        }
    }
}

void
ssh_words_free(struct ssh_words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->v[i]);
    }
    w->n = 0;
}

void
ssh_word_quote(struct buf *out, const char *value)
{
    bool plain = value[0] != '\0' && strpbrk(value, " \t\"'\\#=") == NULL;

    if (plain) {
        buf_add_str(out, value);
        return;
    }
    buf_add_u8(out, '"');
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            buf_add_u8(out, '\\');
        }
        buf_add_u8(out, (uint8_t)*p);
    }
    buf_add_u8(out, '"');
}

/* "~" and "~/…" only: "~user" is another user's business and stays as it is. */
static const char *
after_tilde(const char *value)
{
    return value[0] == '~' && (value[1] == '\0' || value[1] == '/') ? value + 1 : NULL;
}

char *
ssh_word_at_home(const char *value, const char *home)
{
    struct buf b = BUF_INIT;
    const char *rest = after_tilde(value);

    if (rest != NULL) {
        buf_add_str(&b, home);
        value = rest;
    }
    for (; *value != '\0'; value++) {
        if (value[0] == '%' && value[1] == 'd') {
            buf_add_str(&b, home);
            value++;
        } else {
            buf_add_u8(&b, (uint8_t)*value);
            if (value[0] == '%' && value[1] == '%') {
                buf_add_u8(&b, (uint8_t) * ++value); /* %%d is no token */
            }
        }
    }
    buf_reserve(&b, 1);
    return buf_steal(&b);
}

static bool
add_host_name(struct buf *b, bool first_part)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof name - 1) != 0) {
        return false;
    }
    if (first_part) {
        name[strcspn(name, ".")] = '\0';
    }
    buf_add_str(b, name);
    return true;
}

static bool
add_token(struct buf *b, char token, const struct ssh_tokens *t)
{
    const char *s = NULL;

    switch (token) {
    case '%':
        s = "%";
        break;
    case 'd':
        s = t->home;
        break;
    case 'h':
        s = t->host;
        break;
    case 'n':
        s = t->original;
        break;
    case 'k':
        s = t->key_alias;
        break;
    case 'r':
        s = t->user;
        break;
    case 'u':
        s = t->local_user;
        break;
    case 'p':
        buf_printf(b, "%d", t->port);
        return true;
    case 'i':
        buf_printf(b, "%u", (unsigned)getuid());
        return true;
    case 'l':
    case 'L':
        return add_host_name(b, token == 'L');
    default:
        break;
    }
    if (s == NULL) {
        return false;
    }
    buf_add_str(b, s);
    return true;
}

/* "${NAME}" at p; returns what follows it, or NULL. */
static const char *
add_variable(struct buf *b, const char *p)
{
    const char *close = strchr(p, '}');
    char name[256];
    const char *value;
    size_t n = close == NULL ? 0 : (size_t)(close - p - 2);

    if (n == 0 || n >= sizeof name) {
        return NULL;
    }
    memcpy(name, p + 2, n);
    name[n] = '\0';
    value = getenv(name);
    if (value == NULL) {
        return NULL;
    }
    buf_add_str(b, value);
    return close + 1;
}

char *
ssh_word_expand(const char *value, const struct ssh_tokens *t)
{
    struct buf b = BUF_INIT;
    const char *rest = after_tilde(value);

    buf_reserve(&b, 1);
    if (rest != NULL) {
        buf_add_str(&b, t->home);
        value = rest;
    }
    while (*value != '\0' && b.len <= VALUE_LEN_MAX) {
        if (value[0] == '%') {
            if (!add_token(&b, value[1], t)) {
                goto fail;
            }
            value += 2;
        } else if (value[0] == '$' && value[1] == '{') {
            value = add_variable(&b, value);
            if (value == NULL) {
                goto fail;
            }
        } else {
            buf_add_u8(&b, (uint8_t)*value++);
        }
    }
    if (b.len <= VALUE_LEN_MAX) {
        return buf_steal(&b);
    }

fail:
    buf_free(&b);
    return NULL;
}

bool
ssh_pattern_match(const char *p, size_t n, const char *name)
{
    const char *end = p + n;
    const char *star = NULL;
    const char *back = NULL;

    while (*name != '\0') {
        if (p < end && *p == '*') {
            star = p++;
            back = name;
        } else if (p < end && (*p == '?' || tolower((unsigned char)*p) ==
                                                tolower((unsigned char)*name))) {
            p++;
            name++;
        } else if (star != NULL) {
            p = star + 1; /* let the star eat one more */
            name = ++back;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*') {
        p++;
    }
    return p == end;
}

bool
ssh_patterns_match(const char *const *patterns, size_t n, const char *name)
{
    bool found = false;

    for (size_t i = 0; i < n; i++) {
        bool no = patterns[i][0] == '!';
        const char *p = patterns[i] + (no ? 1 : 0);

        if (ssh_pattern_match(p, strlen(p), name)) {
            if (no) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

char *
ssh_include_path(const char *value, const char *home, const char *dir)
{
    char *s = ssh_word_at_home(value, home);
    char *joined;

    if (s[0] == '/') {
        return s;
    }
    joined = xasprintf("%s/%s", dir, s);
    free(s);
    return joined;
}
