#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/cli/request.h"
#include "runner/cli/setupkey.h"
#include "runner/client/i18n.h"

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

static bool
is_in(const char *root, const char *dir, const char *name)
{
    char *in = path_join(root, dir);
    char *path = path_join(in, name);
    bool there = file_exists(path);

    free(path);
    free(in);
    return there;
}

/* The folder of the script relative to the root; of a command's first word, if that is a
 * file that is shipped. malloc'ed; NULL: there is none. */
static char *
script_dir(const struct run_request *r)
{
    const char *word = r->spec.args.n > 0 ? r->spec.args.v[0] : "";
    char *way = path_join(r->spec.cwd, word);
    char *full = path_join(r->script.root, way);
    char *dir = strchr(word, '/') != NULL ? realpath(full, NULL) : NULL;
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

/* "uv.lock" in `dir` of what is shipped: how that is named to people. malloc'ed */
static char *
shown_path(const char *dir, const char *name)
{
    return dir[0] == '\0' ? xstrdup(name) : path_join(dir, name);
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

static int
find_automatic(struct run_request *r, struct err *e)
{
    struct strings places = {NULL, 0};
    struct buf looked = BUF_INIT;
    char shown[400];

    places_of(r, &places);
    for (size_t i = 0; i < places.n && r->spec.setup == NULL; i++) {
        for (size_t k = 0; k < N_AUTOMATIC && r->spec.setup == NULL; k++) {
            if (is_in(r->script.root, places.v[i], automatic[k].file)) {
                use_automatic(r, places.v[i], k);
            }
        }
        buf_printf(&looked, "%s'%s%s%s'", i == 0 ? "" : ", ", r->script.root,
                   places.v[i][0] == '\0' ? "" : "/", places.v[i]);
    }
    (void)text_escape_to(shown, sizeof shown, buf_str(&looked));
    buf_free(&looked);
    strings_free(&places);
    return r->spec.setup != NULL
               ? 0
               : err_set(e, ERR_NOT_FOUND,
                         _("--setup auto: there is no uv.lock, requirements.txt or "
                           "environment.yml in %s; write one, or the command: --setup "
                           "'pip install PACKAGE'"),
                         shown);
}

static int
make_key(struct run_request *r, const struct run_options *ro, struct err *e)
{
    const struct setupkey_options o = {
        .root = r->script.root, .with = &r->with, .with_git = ro->with_git};
    char key[SHA256_HEX_LEN + 1];

    if (setupkey_make(&o, &r->spec, key, e) != 0) {
        return -1;
    }
    r->spec.setup_key = xstrdup(key);
    return 0;
}

int
request_fill_setup(struct run_request *r, const struct run_options *o, struct err *e)
{
    const char *command = o->setup;

    if (command == NULL) {
        return 0;
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
    if (strcmp(command, "auto") != 0) {
        r->spec.setup = xstrdup(command);
    } else if (find_automatic(r, e) != 0) {
        return -1;
    }
    return make_key(r, o, e);
}
