#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "runner/cli/request.h"
#include "runner/client/i18n.h"

/*
 * --setup: its command, and the key by which hosts know whether it was run before: a hash
 * of the command, of where it runs, of the interpreter asked for, and of every file the
 * command names.
 */

#define KEY_FILE_MAX ((size_t)64 << 20)
#define NAME_LETTERS                                                                     \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@"

/* What `auto` runs, by what lies where the job starts; the first that is there. */
static const struct {
    const char *file;
    const char *command;
} automatic[] = {
    {"uv.lock", "uv sync --frozen --no-install-project # uv.lock pyproject.toml"},
    {"requirements.txt", "python3 -m pip install -r requirements.txt"},
    {"environment.yml",
     "conda env create --prefix \"$GPURUN_SETUP_DIR/env\" --file environment.yml"},
};

static void
add_text(struct sha256_ctx *h, const char *text)
{
    sha256_update(h, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    sha256_update(h, "", 1);
}

/* A word of the command that is a file where it runs counts with what is in it. */
static int
add_file(struct sha256_ctx *h, const char *dir, const char *word, struct err *e)
{
    char *path = path_join(dir, word);
    struct buf b = BUF_INIT;
    struct sha256 sum;
    struct stat st;
    int rc = 0;

    if (word[0] != '/' && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        rc = file_read(path, KEY_FILE_MAX, &b, e);
        if (rc == 0) {
            sha256_of(b.data, b.len, &sum);
            add_text(h, word);
            sha256_update(h, sum.b, sizeof sum.b);
        } else {
            (void)err_wrap(e, "--setup");
        }
    }
    buf_free(&b);
    free(path);
    return rc;
}

static int
add_named_files(struct sha256_ctx *h, const char *dir, const char *command, struct err *e)
{
    const char *p = command;
    int rc = 0;

    while (rc == 0 && *p != '\0') {
        size_t n = strspn(p, NAME_LETTERS);
        char *word = xasprintf("%.*s", (int)n, p);

        rc = n > 0 ? add_file(h, dir, word, e) : 0;
        free(word);
        p += n;
        p += *p != '\0' ? 1 : 0;
    }
    return rc;
}

static int
make_key(struct job_spec *s, const char *dir, struct err *e)
{
    struct sha256_ctx *h = sha256_new();
    char hex[SHA256_HEX_LEN + 1];
    struct sha256 key;
    int rc;

    add_text(h, "gpurun.setup.v1");
    add_text(h, s->setup);
    add_text(h, s->cwd);
    add_text(h, s->python);
    add_text(h, s->conda);
    rc = add_named_files(h, dir, s->setup, e);
    sha256_final(h, &key);
    sha256_free(h);
    sha256_format(&key, hex);
    s->setup_key = xstrdup(hex);
    return rc;
}

static const char *
find_automatic(const char *dir)
{
    for (size_t i = 0; i < sizeof automatic / sizeof automatic[0]; i++) {
        char *path = path_join(dir, automatic[i].file);
        bool there = file_exists(path);

        free(path);
        if (there) {
            return automatic[i].command;
        }
    }
    return NULL;
}

int
request_fill_setup(struct run_request *r, const struct run_options *o, struct err *e)
{
    const char *command = o->setup;
    char *dir;
    char shown[200];
    int rc;

    if (o->setup == NULL) {
        return 0;
    }
    if (r->script.root == NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--setup goes with what is shipped: a job that is resumed has the "
              "set-up it had"));
    }
    if (o->venv != NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--setup installs beside the host's own Python, and --venv has a "
              "Python of its own: they exclude each other"));
    }
    if (command[0] == '\0' || strlen(command) >= SPEC_STRING_MAX) {
        return err_set(e, ERR_INVALID, "%s", _("--setup wants a command, or `auto`"));
    }
    dir = path_join(r->script.root, r->spec.cwd);
    if (strcmp(command, "auto") == 0) {
        command = find_automatic(dir);
    }
    if (command == NULL) {
        rc = err_set(e, ERR_NOT_FOUND,
                     _("--setup auto: there is no uv.lock, requirements.txt or "
                       "environment.yml in '%s'"),
                     text_escape_to(shown, sizeof shown, dir));
    } else {
        r->spec.setup = xstrdup(command);
        rc = make_key(&r->spec, dir, e);
    }
    free(dir);
    return rc;
}
