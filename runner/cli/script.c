#include "runner/cli/script.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"

#define SHEBANG_MAX 256 /* what Linux looks at, too */
#define STEM_MAX    48

void
script_free(struct script *s)
{
    free(s->root);
    free(s->cwd);
    free(s->stem);
    strings_free(&s->args);
    memset(s, 0, sizeof *s);
}

/* ---- paths ---- */

static int
real_dir(const char *dir, char **out, struct err *e)
{
    char shown[200];
    struct stat st;

    *out = realpath(dir, NULL);
    if (*out == NULL) {
        return err_set(e,
                       errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_DENIED,
                       _("no directory '%s': %s"),
                       text_escape_to(shown, sizeof shown, dir), strerror(errno));
    }
    if (stat(*out, &st) == 0 && !S_ISDIR(st.st_mode)) {
        free(*out);
        *out = NULL;
        return err_set(e, ERR_INVALID, _("no directory '%s': %s"),
                       text_escape_to(shown, sizeof shown, dir), strerror(ENOTDIR));
    }
    return 0;
}

char *
script_git_root(const char *dir)
{
    char *at = xstrdup(dir);

    for (;;) {
        char *git = path_join(at, ".git");
        bool found = file_exists(git);
        char *slash;

        free(git);
        if (found) {
            return at;
        }
        slash = strrchr(at, '/');
        if (slash == NULL || at[1] == '\0') {
            free(at);
            return NULL;
        }
        slash[slash == at ? 1 : 0] = '\0';
    }
}

const char *
script_beneath(const char *root, const char *path)
{
    size_t len = strlen(root);

    if (strcmp(root, "/") == 0) {
        return path + 1;
    }
    if (strncmp(path, root, len) != 0) {
        return NULL;
    }
    if (path[len] == '\0') {
        return path + len;
    }
    return path[len] == '/' ? path + len + 1 : NULL;
}

char *
script_way(const char *from, const char *to)
{
    struct buf b = BUF_INIT;
    size_t common = 0;

    /* Skip the components both begin with. */
    for (size_t i = 0;; i++) {
        bool end_from = from[i] == '\0' || from[i] == '/';
        bool end_to = to[i] == '\0' || to[i] == '/';

        if (end_from && end_to) {
            common = i;
        }
        if (from[i] != to[i] || from[i] == '\0') {
            break;
        }
    }
    from += common;
    to += common;
    from += *from == '/';
    to += *to == '/';
    for (bool more = *from != '\0'; more;) {
        const char *slash = strchr(from, '/');

        buf_add_str(&b, "../");
        more = slash != NULL;
        from = more ? slash + 1 : from;
    }
    buf_add_str(&b, *to != '\0' ? to : ".");
    return buf_steal(&b);
}

/* ---- how to run it ---- */

/* The words of a "#! interpreter [one argument]" line, as the kernel splits it. */
static bool
read_shebang(const char *path, struct strings *words, struct err *e)
{
    char line[SHEBANG_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : fd_read_full(fd, line, SHEBANG_MAX);
    char *at = line + 2;
    char *end;

    (void)e;
    (void)fd_close(&fd);
    if (n < 3 || line[0] != '#' || line[1] != '!') {
        return false;
    }
    line[n] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    at += strspn(at, " \t");
    end = at + strcspn(at, " \t");
    if (*at == '\0') {
        return false;
    }
    if (*end != '\0') {
        char *rest = end + strspn(end, " \t");
        size_t len;

        *end = '\0';
        strings_add(words, at);
        len = strlen(rest);
        while (len > 0 && (rest[len - 1] == ' ' || rest[len - 1] == '\t')) {
            rest[--len] = '\0';
        }
        if (len > 0) {
            strings_add(words, rest);
        }
        return true;
    }
    strings_add(words, at);
    return true;
}

/* Looked up in $PATH unless it has a slash. */
static char *
as_path(const char *way)
{
    return strchr(way, '/') != NULL ? xstrdup(way) : xasprintf("./%s", way);
}

/*
 * Appends the command to s->args: interpreter words, then the script's way. A shebang
 * wins over the name; where the script is not executable it is taken apart here.
 */
static int
how_to_run(struct script *s, const char *path, const char *way, bool wants_python,
           struct err *e)
{
    struct strings words = {NULL, 0};
    struct stat st;
    char shown[200];
    char *name = as_path(way);
    bool py = text_ends_with(path, ".py");
    int rc = 0;

    s->kind = SPEC_KIND_EXEC;
    if (stat(path, &st) == -1) {
        rc = err_set_sys(e, errno, "cannot look at '%s'",
                         text_escape_to(shown, sizeof shown, path));
    } else if (py && wants_python) {
        s->kind = SPEC_KIND_PYTHON;
        strings_add(&s->args, way);
    } else if (read_shebang(path, &words, e)) {
        for (size_t i = 0; (st.st_mode & 0111) == 0 && i < words.n; i++) {
            strings_add(&s->args, words.v[i]);
        }
        strings_add(&s->args, name);
    } else if (py || text_ends_with(path, ".sh")) {
        s->kind = py ? SPEC_KIND_PYTHON : SPEC_KIND_SH;
        strings_add(&s->args, way);
    } else if ((st.st_mode & 0111) != 0) {
        strings_add(&s->args, name);
    } else {
        rc = err_set(
            e, ERR_INVALID,
            _("'%s' is neither executable, nor has it a #! line, nor a name in .py "
              "or .sh: `gpurun run -- INTERPRETER %s`, or chmod +x"),
            text_escape_to(shown, sizeof shown, path), way);
    }
    strings_free(&words);
    free(name);
    return rc;
}

/* ---- putting it together ---- */

static void
set_stem(struct script *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    size_t len = 0;

    s->stem = xmalloc(STEM_MAX + 1);
    for (; *base != '\0' && *base != '.' && len < STEM_MAX; base++) {
        bool plain = (*base >= 'a' && *base <= 'z') || (*base >= 'A' && *base <= 'Z') ||
                     (*base >= '0' && *base <= '9') || (len > 0 && strchr("_-", *base));

        s->stem[len++] = (char)(plain ? *base : '_');
    }
    s->stem[len] = '\0';
    if (len == 0) {
        memcpy(s->stem, "job", 4);
    }
}

/* The script's own path: its folder with links resolved, its name as it is. */
static int
locate(const char *script, char **dir, char **path, struct err *e)
{
    char *copy = xstrdup(script);
    char *base_copy = xstrdup(script);
    const char *base = basename(base_copy);
    char shown[200];
    struct stat st;
    int rc = -1;

    *path = NULL;
    *dir = realpath(dirname(copy), NULL);
    (void)text_escape_to(shown, sizeof shown, script);
    if (script[0] == '\0') {
        errno = ENOENT;
    } else if (*dir != NULL) {
        *path = path_join(*dir, base);
    }
    if (*path == NULL || stat(*path, &st) == -1) {
        err_set(e, errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND,
                _("no script '%s': %s (`gpurun help` lists the commands)"), shown,
                strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(e, ERR_INVALID,
                S_ISDIR(st.st_mode)
                    ? _("'%s' is a folder: name the script in it that is to run")
                    : _("'%s' is no file that could be run"),
                shown);
        goto out;
    }
    if (access(*path, R_OK) == -1) {
        err_set(e, ERR_DENIED, _("cannot read the script '%s': %s"), shown,
                strerror(errno));
        goto out;
    }
    rc = 0;

out:
    free(copy);
    free(base_copy);
    return rc;
}

static int
choose_root(struct script *s, const char *named, const char *around, struct err *e)
{
    s->named = named != NULL;
    if (named != NULL) {
        return real_dir(named, &s->root, e);
    }
    s->root = script_git_root(around);
    if (s->root == NULL) {
        s->root = xstrdup(around);
    }
    return 0;
}

static int
place_script(struct script *s, const struct script_options *o, const char *here,
             struct err *e)
{
    char *dir = NULL;
    char *path = NULL;
    char *way = NULL;
    const char *inside;
    char shown[200];
    int rc = -1;

    if (locate(o->script, &dir, &path, e) != 0 || choose_root(s, o->dir, dir, e) != 0) {
        goto out;
    }
    inside = script_beneath(s->root, path);
    if (inside == NULL) {
        err_set(e, ERR_INVALID, _("the script '%s' lies outside of --dir '%s'"),
                text_escape_to(shown, sizeof shown, o->script), o->dir);
        goto out;
    }
    s->cwd = xstrdup(script_beneath(s->root, here) != NULL ? script_beneath(s->root, here)
                                                           : "");
    way = script_way(s->cwd, inside);
    set_stem(s, path);
    rc = how_to_run(s, path, way, o->wants_python, e);

out:
    free(way);
    free(path);
    free(dir);
    return rc;
}

static int
place_command(struct script *s, const struct script_options *o, const char *here,
              struct err *e)
{
    const char *inside;

    if (o->n_args == 0 || o->args[0][0] == '\0') {
        return err_set(e, ERR_INVALID, "%s", _("no command follows '--'"));
    }
    if (choose_root(s, o->dir, here, e) != 0) {
        return -1;
    }
    inside = script_beneath(s->root, here);
    s->cwd = xstrdup(inside != NULL ? inside : "");
    s->kind = SPEC_KIND_EXEC;
    set_stem(s, o->args[0]);
    return 0;
}

int
script_resolve(struct script *out, const struct script_options *o, struct err *e)
{
    struct script s = {0};
    char *here = NULL;
    int rc = real_dir(".", &here, e);

    if (rc == 0) {
        rc = o->script != NULL ? place_script(&s, o, here, e)
                               : place_command(&s, o, here, e);
    }
    free(here);
    if (rc != 0) {
        script_free(&s);
        return -1;
    }
    for (int i = 0; i < o->n_args; i++) {
        strings_add(&s.args, o->args[i]);
    }
    *out = s;
    return 0;
}
