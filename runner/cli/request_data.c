#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/outs.h"
#include "runner/cli/request.h"
#include "runner/client/datasets.h"

/* --data: what was asked for, before any host is. */

void
request_clear_data(struct data_want *d)
{
    free(d->id);
    free(d->tree);
    free(d->from);
    d->id = d->tree = d->from = NULL;
}

bool
request_has_data(const struct run_request *r, const struct snap_infos *l,
                 const char *host)
{
    for (size_t i = 0; i < r->n_data; i++) {
        if (datasets_called(l, host, r->data[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

static int
check_agreed(const struct snap_infos *l, const char *name, struct err *e)
{
    const struct snap_info *first = datasets_called(l, NULL, name);

    for (size_t i = 0; i < l->n; i++) {
        const struct snap_info *o = &l->v[i];

        if (strcmp(o->name, name) == 0 && strcmp(o->tree, first->tree) != 0) {
            return err_set(
                e, ERR_INVALID,
                _("--data %s is one thing on %s and another on %s: --host says which"),
                name, first->host, o->host);
        }
    }
    return 0;
}

int
request_check_data(const struct run_request *r, const struct snap_infos *l, struct err *e)
{
    for (size_t i = 0; i < r->n_data; i++) {
        if (check_agreed(l, r->data[i].name, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static void
take(struct data_want *d, const struct snap_info *s, bool here)
{
    request_clear_data(d);
    d->id = xstrdup(s->id);
    d->tree = xstrdup(s->tree);
    d->from = here ? NULL : xstrdup(s->host);
    d->n_files = s->n_files;
    d->bytes = s->content_bytes;
    d->stored_bytes = s->stored_bytes;
}

int
request_choose_data(struct run_request *r, const struct snap_infos *l, const char *host,
                    struct err *e)
{
    for (size_t i = 0; i < r->n_data; i++) {
        struct data_want *d = &r->data[i];
        const struct snap_info *here = datasets_called(l, host, d->name);
        const struct snap_info *any = datasets_called(l, NULL, d->name);

        if (any == NULL) {
            return err_set(
                e, ERR_NOT_FOUND,
                _("no host has a data set '%s' (`gpurun data put %s PATH` makes "
                  "one, `gpurun data ls` lists them)"),
                d->name, d->name);
        }
        if (here == NULL && check_agreed(l, d->name, e) != 0) {
            return -1;
        }
        take(d, here != NULL ? here : any, here != NULL);
    }
    return 0;
}

void
request_name_data(struct run_request *r)
{
    strings_free(&r->spec.data);
    for (size_t i = 0; i < r->n_data; i++) {
        const struct data_want *d = &r->data[i];
        char *text = xasprintf("%s %s %s", d->tree, d->name, d->path);

        strings_add(&r->spec.data, text);
        free(text);
    }
}

static int
refuse_place(const char *cwd, const char *name, const char *path, struct err *e)
{
    char *within = path_join(path, "x");
    char *normal = NULL;
    char shown[200];
    struct err none;
    bool itself = out_normalize("", cwd, within, &normal, &none) == 0;

    (void)text_escape_to(shown, sizeof shown, path);
    free(within);
    free(normal);
    return itself ? err_set(e, ERR_INVALID,
                            _("--data %s: '%s' is the job's directory itself; name a "
                              "place in it, as %s:data"),
                            name, shown, name)
                  : err_set(e, ERR_INVALID,
                            _("--data %s: '%s' leaves the job's directory"), name, shown);
}

int
request_add_data(struct run_request *r, const char *cwd, const char *name,
                 const char *path, struct err *e)
{
    struct data_want d = {.name = NULL};
    char shown[200];

    if (data_name_check(name, e) != 0) {
        return err_wrap(e, "--data");
    }
    if (path != NULL && (path[0] == '/' || path[0] == '\0')) {
        return err_set(e, ERR_INVALID,
                       _("--data %s: PATH is a place in the job's directory, and '%s' is "
                         "not"),
                       name, text_escape_to(shown, sizeof shown, path));
    }
    if (out_normalize("", cwd, path != NULL ? path : name, &d.path, e) != 0) {
        return refuse_place(cwd, name, path != NULL ? path : name, e);
    }
    for (size_t i = 0; i < r->n_data; i++) {
        const char *was = r->data[i].path;
        size_t n = strlen(was);
        size_t own = strlen(d.path);

        if ((strncmp(was, d.path, n) == 0 && (d.path[n] == '\0' || d.path[n] == '/')) ||
            (strncmp(was, d.path, own) == 0 && was[own] == '/')) {
            err_set(e, ERR_INVALID,
                    _("--data: %s at '%s' and %s at '%s' would lie in each other: give "
                      "each a place of its own (NAME:PATH)"),
                    r->data[i].name, was, name, d.path);
            free(d.path);
            return -1;
        }
    }
    d.name = xstrdup(name);
    r->data = xrealloc(r->data, (r->n_data + 1) * sizeof *r->data);
    r->data[r->n_data++] = d;
    return 0;
}

/* NAME, or NAME:PATH. */
int
request_fill_data(struct run_request *r, const struct run_options *o, struct err *e)
{
    if (o->data.n > SPEC_DATA_MAX) {
        return err_set(e, ERR_INVALID, _("--data: %d sets at most"), SPEC_DATA_MAX);
    }
    for (size_t i = 0; i < o->data.n; i++) {
        const char *colon = strchr(o->data.v[i], ':');
        char *name = colon != NULL
                         ? xasprintf("%.*s", (int)(colon - o->data.v[i]), o->data.v[i])
                         : xstrdup(o->data.v[i]);
        int rc = request_add_data(r, r->script.cwd != NULL ? r->script.cwd : "", name,
                                  colon != NULL ? colon + 1 : NULL, e);

        free(name);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}
