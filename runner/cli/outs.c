#include "runner/cli/outs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/landed.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/cli/script.h"
#include "runner/client/bring.h"
#include "runner/client/room.h"
#include "storage/extract.h"
#include "storage/tree.h"
#include "storage/verify.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- names ---- */

/* Add the components of path to b, with "." and ".." worked off; false: above the top. */
static bool
add_components(struct buf *b, const char *path)
{
    while (*path != '\0') {
        size_t len = strcspn(path, "/");

        if (len == 2 && path[0] == '.' && path[1] == '.') {
            if (b->len == 0) {
                return false;
            }
            while (b->len > 0 && b->data[b->len - 1] != '/') {
                b->len--;
            }
            b->len -= b->len > 0; /* the slash */
        } else if (len > 0 && !(len == 1 && path[0] == '.')) {
            if (b->len > 0) {
                buf_add_str(b, "/");
            }
            buf_add(b, path, len);
        }
        path += len;
        path += *path == '/';
    }
    return true;
}

int
out_normalize(const char *root, const char *cwd, const char *typed, char **out,
              struct err *e)
{
    struct buf b = BUF_INIT;
    const char *rel = typed;
    char shown[200];
    bool ok = true;

    if (typed[0] == '/') {
        rel = script_beneath(root, typed);
        ok = rel != NULL;
    } else {
        ok = add_components(&b, cwd);
    }
    ok = ok && add_components(&b, rel);
    if (!ok || b.len == 0) {
        buf_free(&b);
        return err_set(e, ERR_INVALID, _("--out '%s' does not lie in '%s'"),
                       text_escape_to(shown, sizeof shown, typed), root);
    }
    *out = xmemdup(b.data, b.len + 1);
    (*out)[b.len] = '\0';
    buf_free(&b);
    return 0;
}

/* ---- bringing one ---- */

struct one {
    struct cli *c;
    const struct job_record *record;
    char *parent; /* the folder here it goes to */
    int parent_fd;
    char *name; /* its last name */
};

static int64_t
ctime_ns(const struct stat *st)
{
    return st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec;
}

/* Changed since its content was read for shipping: content, name or mode (ctime). */
static bool
changed_here(const struct one *o, const char *path)
{
    struct stat st;

    return fstatat(o->parent_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           !S_ISDIR(st.st_mode) && ctime_ns(&st) >= o->record->shipped_wall_ns;
}

static int
may_replace(void *ctx, const char *path, struct err *e)
{
    const struct one *o = ctx;
    char shown[200];

    if (changed_here(o, path)) {
        return err_set(e, ERR_EXISTS, _("'%s' changed here since it was shipped"),
                       text_escape_to(shown, sizeof shown, path));
    }
    return 0;
}

/* The first entry of the tree that would replace something changed, or NULL. */
static int
find_conflict(const struct one *o, struct scratch *from, const struct brought *got,
              char **path, struct err *e)
{
    struct tree_source source = tree_source_store(scratch_store(from));
    struct tree_reader *r = NULL;
    const struct tree_group *g = NULL;
    const char *slash = strrchr(got->only, '/');
    size_t skip = slash != NULL ? (size_t)(slash + 1 - got->only) : 0;
    int rc = -1;

    *path = NULL;
    if (tree_open(&r, &got->tree, &source, e) != 0) {
        return -1;
    }
    while ((rc = tree_next(r, &g, e)) == 0 && g != NULL && *path == NULL) {
        for (size_t i = 0; i < g->n_entries && *path == NULL; i++) {
            const struct tree_entry *en = &g->entries[i];

            if (en->type != TREE_DIR &&
                tree_path_beneath(en->path, en->path_len, got->only, strlen(got->only)) &&
                changed_here(o, en->path + skip)) {
                *path = xstrdup(en->path);
            }
        }
    }
    tree_close(r);
    return rc;
}

static int
put_in_place(const struct one *o, struct scratch *from, const struct brought *got,
             struct err *e)
{
    struct tree_source source = tree_source_store(scratch_store(from));
    struct extract_options xo = {.only = got->only,
                                 .overwrite = true,
                                 .may_replace = may_replace,
                                 .may_replace_ctx = (void *)(uintptr_t)o};
    struct extract_report report;

    if (extract_tree(o->parent_fd, &got->tree, &source, &xo, &report, e) != 0) {
        verify_name_damaged(scratch_store(from), &got->tree, got->only, e);
        return room_full_dir(o->parent, NULL, e);
    }
    return landed_tell(o->c, &report, o->name, false, e);
}

static int
put_beside(const struct one *o, struct scratch *from, const struct brought *got,
           const char *conflict, struct err *e)
{
    struct extract_report report = {.n_lost_metadata = 0};
    struct land_options lo = {.replace = false, .report = &report};
    char *shown = xasprintf("%s/%s.from-%s", o->parent, o->name, o->record->id);
    char *target =
        xasprintf("/proc/self/fd/%d/%s.from-%s", o->parent_fd, o->name, o->record->id);
    int rc = land_tree(from, got, target, &lo, e);

    if (rc == 0) {
        say(o->c,
            _("'%s' changed here since it was shipped, and stays; the job's comes as "
              "'%s'"),
            conflict, shown);
        rc = landed_tell(o->c, &report, shown, false, e);
    }
    free(target);
    free(shown);
    return rc;
}

/*
 * No link is followed on the way, not even one of ours: it may be one that an earlier job
 * had brought back.
 */
static int
open_parent(struct one *o, const char *rel, struct err *e)
{
    char *parent = path_parent(rel);
    const char *slash = strrchr(rel, '/');
    int root = open(o->record->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    o->name = xstrdup(slash != NULL ? slash + 1 : rel);
    o->parent = strcmp(parent, ".") == 0 ? xstrdup(o->record->dir)
                                         : path_join(o->record->dir, parent);
    if (root == -1) {
        rc = err_set_sys(e, errno, _("cannot open '%s'"), o->record->dir);
    } else if (strcmp(parent, ".") == 0) {
        o->parent_fd = root;
        root = -1;
        rc = 0;
    } else {
        rc = file_mkdirs_beneath(root, parent, 0777, &o->parent_fd, e);
    }
    (void)fd_close(&root);
    free(parent);
    return rc;
}

/* ---- all of them ---- */

struct outs {
    struct cli *c;
    struct client *cl;
    struct session *session;
    const struct job_record *record;
    const char *snapshot;
    size_t at; /* of record->outs */
    int n_failed;
    struct scratch *scratch; /* for the one on its way */
    struct bring *bring;
    struct sync_stats st;
};

static void
on_progress(void *ctx, const struct sync_stats *st)
{
    struct outs *o = ctx;

    o->st = *st;
}

static int
start_one(struct outs *o, struct err *e)
{
    struct bring_want want = {.snapshot = o->snapshot,
                              .path = o->record->outs.v[o->at],
                              .progress = on_progress,
                              .ctx = o};

    memset(&o->st, 0, sizeof o->st);
    if (o->snapshot[0] == '\0') {
        return err_set(e, ERR_NOT_FOUND, _("--out %s: the job left no snapshot"),
                       o->record->outs.v[o->at]);
    }
    if (scratch_new(&o->scratch, o->cl->home, e) != 0 ||
        bring_start(&o->bring, o->cl, o->session, o->scratch, &want, e) != 0) {
        return err_wrap(e, "--out %s", o->record->outs.v[o->at]);
    }
    return 0;
}

static int
place_one(struct outs *outs, const struct brought *got, struct err *e)
{
    struct one o = {.c = outs->c, .record = outs->record, .parent_fd = -1};
    char *conflict = NULL;
    int rc = -1;

    if (open_parent(&o, outs->record->outs.v[outs->at], e) == 0 &&
        find_conflict(&o, outs->scratch, got, &conflict, e) == 0) {
        rc = conflict != NULL ? put_beside(&o, outs->scratch, got, conflict, e)
                              : put_in_place(&o, outs->scratch, got, e);
    }
    (void)fd_close(&o.parent_fd);
    free(conflict);
    free(o.parent);
    free(o.name);
    return rc;
}

/* The one at `at` is through, well or not. */
static void
next(struct outs *o, const struct err *why)
{
    if (why != NULL) {
        say_error(o->c, why, CLI_CHANGED);
        o->n_failed++;
    } else {
        say_more(o->c, _("brought back %s"), o->record->outs.v[o->at]);
    }
    scratch_free(o->scratch);
    o->scratch = NULL;
    o->at++;
}

static void
end_one(struct outs *o)
{
    struct bring *b = o->bring;
    struct brought got;
    struct err e;

    o->bring = NULL;
    if (bring_finish(b, &got, &e) != 0 || place_one(o, &got, &e) != 0) {
        err_wrap(&e, "--out %s", o->record->outs.v[o->at]);
        next(o, &e);
    } else {
        next(o, NULL);
    }
}

bool
outs_is_due(const struct outs *o)
{
    return o->bring == NULL || bring_is_over(o->bring);
}

bool
outs_step(struct outs *o)
{
    struct err e;

    if (o->bring != NULL && bring_is_over(o->bring)) {
        end_one(o);
    }
    while (o->bring == NULL && o->at < o->record->outs.n) {
        if (start_one(o, &e) != 0) {
            next(o, &e);
        }
    }
    return o->bring == NULL;
}

struct outs *
outs_start(struct cli *c, struct client *cl, struct session *s,
           const struct job_record *record, const char *snapshot)
{
    struct outs *o = xcalloc(1, sizeof *o);

    o->c = c;
    o->cl = cl;
    o->session = s;
    o->record = record;
    o->snapshot = snapshot;
    return o;
}

int
outs_end(struct outs *o)
{
    int n_failed = o->n_failed;
    struct brought got;
    struct err e;

    if (o->bring != NULL) {
        (void)!bring_finish(o->bring, &got, &e);
    }
    scratch_free(o->scratch);
    free(o);
    return n_failed;
}

/* ---- and nothing else meanwhile ---- */

struct shown {
    struct outs *outs;
    struct progress *progress;
};

static void
progress_line(void *ctx, struct buf *out)
{
    const struct shown *s = ctx;
    const struct outs *o = s->outs;

    if (o->bring != NULL) {
        buf_printf(out, _("bringing back %s: "), o->record->outs.v[o->at]);
        progress_fetched(out, &o->st, 0, progress_elapsed_ns(s->progress));
    }
}

static bool
is_due(void *ctx)
{
    return outs_is_due(ctx);
}

int
outs_bring(struct cli *c, struct client *cl, struct session *s,
           const struct job_record *record, const char *snapshot)
{
    struct shown shown = {.outs = outs_start(c, cl, s, record, snapshot)};

    while (!outs_step(shown.outs)) {
        shown.progress = progress_start(c, cl->loop, progress_line, &shown);
        if (!loop_run_until(cl->loop, is_due, shown.outs, -1)) {
            end_one(shown.outs); /* interrupted */
        }
        progress_end(shown.progress);
        shown.progress = NULL;
    }
    return outs_end(shown.outs);
}
