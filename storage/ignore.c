#include "storage/ignore.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct rule {
    const char *text; /* within its list's bytes; no '!', no trailing slash */
    uint32_t len;
    uint32_t literal; /* leading bytes without wildcards */
    bool negative;
    bool dir_only;
    bool name_only; /* no slash: matched against the last component */
    bool suffix;    /* '*' and then no wildcard */
};

struct rule_list {
    char *bytes;
    struct rule *rules;
    size_t n;
    size_t cap;
};

struct ignore_dir {
    const struct ignore_dir *parent;
    char *path;
    size_t path_len;
    struct rule_list git;
    struct rule_list own;
};

enum verdict { VERDICT_NONE = 0, VERDICT_IN, VERDICT_OUT };

const char *
ignore_why_name(enum ignore_why why)
{
    static const char *const names[IGNORE_WHY_COUNT] = {
        [IGNORE_NOT] = "not",       [IGNORE_GIT] = "gitignore",
        [IGNORE_VCS] = "vcs",       [IGNORE_GPURUN] = "gpurunignore",
        [IGNORE_VENV] = "venv",     [IGNORE_CACHE] = "cache",
        [IGNORE_SECRET] = "secret",
    };

    return (unsigned)why < IGNORE_WHY_COUNT ? names[why] : "unknown";
}

/* ---- reading a file of rules ---- */

static size_t
literal_len(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && strchr("*?[\\", s[n]) == NULL) {
        n++;
    }
    return n;
}

/* Spaces at the end go, unless a backslash holds them. */
static size_t
without_trailing_spaces(const char *s, size_t len)
{
    size_t keep = 0;

    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\\') {
            i++;
            keep = i < len ? i + 1 : len;
        } else if (s[i] != ' ') {
            keep = i + 1;
        }
    }
    return keep;
}

static void
add_rule(struct rule_list *l, const char *s, size_t len)
{
    struct rule r = {0};

    if (len > 0 && s[0] == '!') {
        r.negative = true;
        s++;
        len--;
    }
    if (len > 0 && s[len - 1] == '/') {
        r.dir_only = true;
        len--;
    }
    if (len == 0) {
        return; /* matches nothing */
    }
    r.text = s;
    r.len = (uint32_t)len;
    r.literal = (uint32_t)literal_len(s, len);
    r.name_only = memchr(s, '/', len) == NULL;
    r.suffix = s[0] == '*' && literal_len(s + 1, len - 1) == len - 1;
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 16 : 2 * l->cap;
        l->rules = xrealloc(l->rules, l->cap * sizeof *l->rules);
    }
    l->rules[l->n++] = r;
}

static void
add_line(struct rule_list *l, const char *s, size_t len)
{
    const char *nul;

    if (len == 0 || s[0] == '#') {
        return;
    }
    if (s[len - 1] == '\r') {
        len--;
    }
    nul = memchr(s, 0, len);
    len = nul != NULL ? (size_t)(nul - s) : len;
    add_rule(l, s, without_trailing_spaces(s, len));
}

static void
parse_rules(struct rule_list *l, const void *data, size_t len)
{
    const char *at;
    const char *end;

    if (data == NULL || len == 0) {
        return;
    }
    len = len < IGNORE_FILE_MAX_BYTES ? len : IGNORE_FILE_MAX_BYTES;
    l->bytes = xmemdup(data, len);
    at = l->bytes;
    end = at + len;
    if (len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3; /* a UTF-8 byte order mark */
    }
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((eol != NULL ? eol : end) - at);

        /* git takes '\r' off only before a newline; it adds one to the last line */
        add_line(l, at, n);
        at += n + 1;
    }
}

struct ignore_dir *
ignore_dir_new(const struct ignore_dir *parent, const char *path, const void *gitignore,
               size_t gitignore_len, const void *gpurunignore, size_t gpurunignore_len)
{
    struct ignore_dir *d = xcalloc(1, sizeof *d);

    d->parent = parent;
    d->path = xstrdup(path);
    d->path_len = strlen(path);
    parse_rules(&d->git, gitignore, gitignore_len);
    parse_rules(&d->own, gpurunignore, gpurunignore_len);
    return d;
}

void
ignore_dir_free(struct ignore_dir *d)
{
    if (d == NULL) {
        return;
    }
    free(d->git.bytes);
    free(d->git.rules);
    free(d->own.bytes);
    free(d->own.rules);
    free(d->path);
    free(d);
}

/* ---- matching ---- */

struct subject {
    const char *path;
    size_t len;
    const char *name; /* last component */
    size_t name_len;
    bool is_dir;
};

static bool
name_matches(const struct rule *r, const struct subject *s)
{
    if (r->literal == r->len) {
        return r->len == s->name_len && memcmp(r->text, s->name, r->len) == 0;
    }
    if (r->suffix) {
        size_t n = r->len - 1;

        return n <= s->name_len && memcmp(r->text + 1, s->name + s->name_len - n, n) == 0;
    }
    return ignore_wildmatch(r->text, r->len, s->name, s->name_len, false);
}

static bool
path_matches(const struct rule *r, const struct ignore_dir *d, const struct subject *s)
{
    const char *pattern = r->text;
    size_t len = r->len;
    size_t literal = r->literal;
    const char *name = s->path;
    size_t name_len = s->len;

    if (d->path_len > 0) {
        name += d->path_len + 1;
        name_len -= d->path_len + 1;
    }
    if (pattern[0] == '/') { /* there is no empty rule */
        pattern++;
        len--;
        literal--;
    }
    if (literal > name_len || memcmp(pattern, name, literal) != 0) {
        return false;
    }
    /*
     * The rest is matched as a pattern of its own, as git does it: in "foo**" + "/bar"
     * the two stars then stand at the start and cross slashes.
     */
    return ignore_wildmatch(pattern + literal, len - literal, name + literal,
                            name_len - literal, true);
}

static enum verdict
ask_list(const struct rule_list *l, const struct ignore_dir *d, const struct subject *s)
{
    for (size_t i = l->n; i-- > 0;) {
        const struct rule *r = &l->rules[i];

        if (r->dir_only && !s->is_dir) {
            continue;
        }
        if (r->name_only ? name_matches(r, s) : path_matches(r, d, s)) {
            return r->negative ? VERDICT_IN : VERDICT_OUT;
        }
    }
    return VERDICT_NONE;
}

static bool
is_below(const struct subject *s, const struct ignore_dir *d)
{
    return d->path_len == 0 || (s->len > d->path_len && s->path[d->path_len] == '/' &&
                                memcmp(s->path, d->path, d->path_len) == 0);
}

enum ignore_why
ignore_match(const struct ignore_dir *d, const char *path, size_t path_len, bool is_dir)
{
    struct subject s = {.path = path, .len = path_len, .is_dir = is_dir};
    const char *slash = memrchr(path, '/', path_len);
    enum verdict v = VERDICT_NONE;

    s.name = slash != NULL ? slash + 1 : path;
    s.name_len = path_len - (size_t)(s.name - path);
    for (const struct ignore_dir *at = d; at != NULL && v == VERDICT_NONE;
         at = at->parent) {
        v = is_below(&s, at) ? ask_list(&at->own, at, &s) : VERDICT_NONE;
    }
    if (v != VERDICT_NONE) {
        return v == VERDICT_OUT ? IGNORE_GPURUN : IGNORE_NOT;
    }
    for (const struct ignore_dir *at = d; at != NULL && v == VERDICT_NONE;
         at = at->parent) {
        v = is_below(&s, at) ? ask_list(&at->git, at, &s) : VERDICT_NONE;
    }
    return v == VERDICT_OUT ? IGNORE_GIT : IGNORE_NOT;
}

/* ---- built-in ---- */

static bool
name_is(const char *name, size_t len, const char *want)
{
    return strlen(want) == len && memcmp(name, want, len) == 0;
}

static bool
name_ends(const char *name, size_t len, const char *want)
{
    size_t n = strlen(want);

    return len >= n && memcmp(name + len - n, want, n) == 0;
}

enum ignore_why
ignore_builtin(const char *name, size_t len, bool is_dir, bool with_git)
{
    static const char *const secrets[] = {".env", ".ssh", ".aws", ".netrc", ".gnupg"};

    if (name_is(name, len, ".git")) {
        return with_git ? IGNORE_NOT : IGNORE_VCS;
    }
    if (is_dir &&
        (name_is(name, len, "__pycache__") || name_is(name, len, ".ipynb_checkpoints"))) {
        return IGNORE_CACHE;
    }
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (name_is(name, len, secrets[i])) {
            return IGNORE_SECRET;
        }
    }
    if (!is_dir && ((len >= 3 && memcmp(name, "id_", 3) == 0) ||
                    name_ends(name, len, ".pem") || name_ends(name, len, ".key"))) {
        return IGNORE_SECRET;
    }
    return IGNORE_NOT;
}
