#include "runner/client/git_config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/file.h"
#include "runner/client/home.h"
#include "storage/ignore.h"

#define CONFIG_MAX_BYTES ((size_t)1 << 20)
#define DEPTH_MAX        10 /* of includes, as in git */
#define WORD_MAX         64

/* ---- the text ---- */

static const char *
skip_blank(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

static const char *
skip_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at == '\n' ? at + 1 : at;
}

/* A section's or key's name, cut where it is too long to be one that is asked for. */
static const char *
read_word(const char *at, char word[WORD_MAX])
{
    size_t n = 0;

    while (isalnum((unsigned char)*at) || *at == '-' || *at == '.') {
        if (n + 1 < WORD_MAX) {
            word[n++] = *at;
        }
        at++;
    }
    word[n] = '\0';
    return at;
}

/* "[core]" or "[x "sub"]" (whose name is then none that is asked for). */
static const char *
read_section(const char *at, char section[WORD_MAX])
{
    at = skip_blank(read_word(skip_blank(at + 1), section));
    if (*at == '"') {
        section[0] = '\0';
        for (at++; *at != '\0' && *at != '"' && *at != '\n'; at++) {
            at += at[0] == '\\' && at[1] != '\0' && at[1] != '\n';
        }
    }
    at += strcspn(at, "]\n");
    return *at == ']' ? at + 1 : at;
}

static char
unescaped(char c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'b' ? '\b' : c;
}

/* A value up to its line's end: quotes, escapes, comments, lines that go on. */
static const char *
read_value(const char *at, struct buf *out)
{
    bool quoted = false;
    size_t end = 0; /* without blanks behind the last word */

    buf_reset(out);
    for (at = skip_blank(at); *at != '\0' && *at != '\n'; at++) {
        if (*at == '"') {
            quoted = !quoted;
            end = out->len;
        } else if (*at == '\\' && at[1] == '\n') {
            at++;
        } else if (*at == '\\' && at[1] != '\0') {
            buf_add_u8(out, (uint8_t)unescaped(*++at));
            end = out->len;
        } else if (!quoted && (*at == '#' || *at == ';')) {
            break;
        } else if (*at != '\r') {
            buf_add_u8(out, (uint8_t)*at);
            end = quoted || (*at != ' ' && *at != '\t') ? out->len : end;
        }
    }
    out->len = end;
    buf_add_u8(out, '\0');
    return skip_line(at);
}

void
git_config_excludes(const char *text, char **value,
                    void (*include)(void *ctx, const char *path, char **value), void *ctx)
{
    char section[WORD_MAX] = "";
    char key[WORD_MAX];
    struct buf b = BUF_INIT;
    const char *at = text;

    while (*(at = skip_blank(at)) != '\0') {
        if (*at == '[') {
            at = read_section(at, section);
            continue;
        }
        if (!isalpha((unsigned char)*at)) {
            at = skip_line(at);
            continue;
        }
        at = skip_blank(read_word(at, key));
        if (*at != '=') {
            at = skip_line(at);
            continue;
        }
        at = read_value(at + 1, &b);
        if (strcasecmp(section, "core") == 0 && strcasecmp(key, "excludesfile") == 0) {
            free(*value);
            *value = xstrdup((const char *)b.data);
        } else if (strcasecmp(section, "include") == 0 && strcasecmp(key, "path") == 0) {
            include(ctx, (const char *)b.data, value);
        }
    }
    buf_free(&b);
}

/* ---- the files ---- */

/* One file being read, in the folder that what it includes is relative to. */
struct from {
    const char *dir;
    int depth;
};

static void read_config(const char *path, int depth, char **value);

static void
read_included(void *ctx, const char *path, char **value)
{
    const struct from *f = ctx;
    char *expanded = home_expand_tilde(path);
    char *whole = expanded[0] == '/' ? xstrdup(expanded) : path_join(f->dir, expanded);

    if (f->depth < DEPTH_MAX) {
        read_config(whole, f->depth + 1, value);
    }
    free(whole);
    free(expanded);
}

static void
read_config(const char *path, int depth, char **value)
{
    struct buf b = BUF_INIT;
    struct err ignored;
    char *dir = path_parent(path);
    struct from f = {.dir = dir, .depth = depth};

    if (file_read(path, CONFIG_MAX_BYTES, &b, &ignored) == 0) {
        git_config_excludes(buf_str(&b), value, read_included, &f);
    }
    free(dir);
    buf_free(&b);
}

/* A file of git's in the user's folder for settings; malloc'ed, NULL: no such folder. */
static char *
user_file(const char *name)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    if (xdg != NULL && xdg[0] != '\0') {
        return path_join(xdg, name);
    }
    return home != NULL ? xasprintf("%s/.config/%s", home, name) : NULL;
}

static void
read_global(char **value)
{
    const char *given = getenv("GIT_CONFIG_GLOBAL");
    char *xdg = user_file("git/config");
    char *own = home_expand_tilde("~/.gitconfig");

    if (given != NULL) {
        read_config(given, 0, value);
    } else {
        if (xdg != NULL) {
            read_config(xdg, 0, value);
        }
        read_config(own, 0, value);
    }
    free(own);
    free(xdg);
}

void
git_user_excludes(struct buf *out)
{
    const char *system = getenv("GIT_CONFIG_SYSTEM");
    const char *no_system = getenv("GIT_CONFIG_NOSYSTEM");
    char *value = NULL;
    char *path;
    struct err ignored;

    if (no_system == NULL || no_system[0] == '\0' || strcmp(no_system, "0") == 0) {
        read_config(system != NULL ? system : "/etc/gitconfig", 0, &value);
    }
    read_global(&value);
    path = value != NULL ? home_expand_tilde(value) : user_file("git/ignore");
    if (path != NULL && path[0] != '\0' &&
        file_read(path, IGNORE_FILE_MAX_BYTES, out, &ignored) != 0) {
        buf_reset(out);
    }
    free(path);
    free(value);
}
