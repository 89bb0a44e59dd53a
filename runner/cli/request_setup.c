#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/request.h"
#include "runner/cli/setupkey.h"

/* --setup: its command, or what `auto` makes of what lies there, and its key. */

/* What `auto` runs, by what lies in a directory; the first that is there. */
static const struct {
    const char *file;
    const char *command; /* run there; names what it depends on */
} automatic[] = {
    {"uv.lock", "uv sync --frozen --no-install-project # uv.lock pyproject.toml"},
    {"requirements.txt", "python3 -m pip install -r requirements.txt"},
    {"environment.yml", "\"${CONDA_EXE:-conda}\" env create --prefix "
                        "\"$GPURUN_SETUP_DIR/env\" --file environment.yml"},
};
#define N_AUTOMATIC (sizeof automatic / sizeof automatic[0])

/* "uv.lock" in `dir` of what is shipped: how that is named to people. malloc'ed */
static char *
shown_path(const char *dir, const char *name)
{
    return dir[0] == '\0' ? xstrdup(name) : path_join(dir, name);
}

static int
is_in(const struct setupkey_options *o, const char *dir, const char *name, bool *there,
      struct err *e)
{
    char *path = shown_path(dir, name);
    char *found = NULL;
    int rc = setupkey_find(o, path, &found, e);

    *there = found != NULL;
    free(found);
    free(path);
    return rc;
}

/* The folder of the script relative to the root; of a command's first word, if that is a
 * file that is shipped. malloc'ed; NULL: there is none. */
static char *
shipped_script_dir(const struct run_request *r, const char *word)
{
    char *way = path_join(r->spec.cwd, word);
    char *full = path_join(r->script.root, way);
    char *dir = realpath(full, NULL);
    char *slash = dir == NULL ? NULL : strrchr(dir, '/');
    const char *inside = NULL;
    char *found;

    if (slash != NULL && slash != dir) {
        *slash = '\0';
        inside = script_beneath(r->script.root, dir);
    }
    found = inside == NULL ? NULL : xstrdup(inside);
    free(way);
    free(full);
    free(dir);
    return found;
}

/* The same of one that lies in a snapshot, by its name alone. */
static char *
kept_script_dir(const struct run_request *r, const char *word)
{
    char *dir = setupkey_within(r->spec.cwd, word);
    char *slash = dir == NULL ? NULL : strrchr(dir, '/');

    if (dir != NULL) {
        *(slash != NULL ? slash : dir) = '\0';
    }
    return dir;
}

static char *
script_dir(const struct run_request *r)
{
    const char *word = r->spec.args.n > 0 ? r->spec.args.v[0] : "";

    if (strchr(word, '/') == NULL) {
        return NULL;
    }
    return r->ships ? shipped_script_dir(r, word) : kept_script_dir(r, word);
}

/* Where `auto` looks, in this order: where the job starts, beside its script, at the root
 * of what is shipped. */
static void
places_of(const struct run_request *r, struct strings *places)
{
    char *beside = script_dir(r);

    strings_add(places, r->spec.cwd);
    if (beside != NULL) {
        strings_add_once(places, beside);
    }
    strings_add_once(places, "");
    free(beside);
}

static void
use_automatic(struct run_request *r, const char *dir, size_t which)
{
    char *way = script_way(r->spec.cwd, dir);
    struct buf b = BUF_INIT;

    if (strcmp(way, ".") != 0) {
        buf_add_str(&b, "cd ");
        text_shell_quote(&b, way);
        buf_add_str(&b, " && ");
    }
    buf_add_str(&b, automatic[which].command);
    r->spec.setup = buf_steal(&b);
    r->setup_found = shown_path(dir, automatic[which].file);
    free(way);
}

/* What is in one of the places, if anything is. */
static int
look_in(struct run_request *r, const struct setupkey_options *o, const char *place,
        struct err *e)
{
    for (size_t k = 0; k < N_AUTOMATIC && r->spec.setup == NULL; k++) {
        bool there;

        if (is_in(o, place, automatic[k].file, &there, e) != 0) {
            return -1;
        }
        if (there) {
            use_automatic(r, place, k);
        }
    }
    return 0;
}

static int
nothing_found(const char *looked, struct err *e)
{
    char shown[400];

    return err_set(e, ERR_NOT_FOUND,
                   _("--setup auto: there is no uv.lock, requirements.txt or "
                     "environment.yml in %s; write one, or the command: --setup "
                     "'pip install PACKAGE'"),
                   text_escape_to(shown, sizeof shown, looked));
}

static int
find_automatic(struct run_request *r, const struct setupkey_options *o, struct err *e)
{
    const char *root = o->root != NULL ? o->root : r->spec.from;
    struct strings places = {NULL, 0};
    struct buf looked = BUF_INIT;
    int rc = 0;

    places_of(r, &places);
    for (size_t i = 0; i < places.n && r->spec.setup == NULL && rc == 0; i++) {
        rc = look_in(r, o, places.v[i], e);
        buf_printf(&looked, "%s'%s%s%s'", i == 0 ? "" : ", ", root,
                   places.v[i][0] == '\0' ? "" : "/", places.v[i]);
    }
    if (rc == 0 && r->spec.setup == NULL) {
        rc = nothing_found(buf_str(&looked), e);
    }
    buf_free(&looked);
    strings_free(&places);
    return rc;
}

int
request_fill_setup(struct run_request *r, const char *command, struct setupview *under,
                   struct err *e)
{
    const struct setupkey_options o = {.root = r->ships ? r->script.root : NULL,
                                       .with = &r->with,
                                       .with_git = r->with_git,
                                       .under = under};
    char key[SHA256_HEX_LEN + 1];

    if (r->spec.venv != NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--setup installs beside the host's own Python, and --venv has a "
              "Python of its own: they exclude each other"));
    }
    if (command[0] == '\0' || strlen(command) >= SPEC_STRING_MAX) {
        return err_set(e, ERR_INVALID, "%s", _("--setup wants a command, or `auto`"));
    }
    if (strcmp(command, "auto") != 0) {
        r->spec.setup = xstrdup(command);
    } else if (find_automatic(r, &o, e) != 0) {
        return -1;
    }
    if (setupkey_make(&o, &r->spec, key, e) != 0) {
        return -1;
    }
    r->spec.setup_key = xstrdup(key);
    return 0;
}
