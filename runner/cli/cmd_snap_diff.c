#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/client/bring.h"
#include "runner/job/change.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/*
 * `snap diff`: where one host has both, it compares them and tells what differs; else
 * both come into a scratch store here (what they share comes once).
 */

struct found {
    struct change *v;
    size_t n;
    struct diff_result sums;
};

static void
found_free(struct found *f)
{
    for (size_t i = 0; i < f->n; i++) {
        change_free(&f->v[i]);
    }
    free(f->v);
}

static struct change *
found_next(struct found *f)
{
    f->v = xgrow(f->v, f->n, sizeof *f->v);
    return &f->v[f->n];
}

/* ---- asking ---- */

static int
take_number(const struct rec *r, const char *key, uint64_t *to, struct err *e)
{
    int64_t v;

    if (rec_opt_int(r, key, 0, INT64_MAX, 0, &v, e) != 0) {
        return -1;
    }
    *to = (uint64_t)v;
    return 0;
}

static int
diff_there(struct session *s, const char *before, const char *after, struct found *f,
           struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_DIFF);
    struct rec *resp = NULL;
    size_t n;
    int rc;

    rec_add(req, "snapshot", before);
    rec_add(req, "other", after);
    rc = session_call(s, req, -1, &resp, e);
    rec_free(req);
    if (rc != 0) {
        return -1;
    }
    n = rec_count(resp, "change");
    for (size_t i = 0; i < n && i < CHANGES_MAX && rc == 0; i++) {
        size_t len;
        const char *bytes = rec_get_nth(resp, "change", i, &len);

        rc = change_parse(found_next(f), bytes, len, e);
        f->n += rc == 0;
    }
    if (rc == 0 && (take_number(resp, "n_added", &f->sums.n_added, e) != 0 ||
                    take_number(resp, "n_removed", &f->sums.n_removed, e) != 0 ||
                    take_number(resp, "n_changed", &f->sums.n_changed, e) != 0 ||
                    take_number(resp, "n_touched", &f->sums.n_touched, e) != 0)) {
        rc = -1;
    }
    rec_free(resp);
    return rc;
}

static int
add_found(void *ctx, const struct diff_change *d, struct err *e)
{
    struct found *f = ctx;

    (void)e;
    if (d->what != DIFF_TIME && f->n < CHANGES_MAX) {
        change_of(d, found_next(f));
        f->n++;
    }
    return 0;
}

struct shown {
    struct progress *progress;
    uint64_t before_bytes; /* of the first one */
    uint64_t bytes;
    int64_t stored_bytes; /* of both; what they share comes once */
};

static void
progress_line(void *ctx, struct buf *out)
{
    struct shown *s = ctx;

    buf_add_str(out, _("fetching: "));
    progress_at_most(out, s->before_bytes + s->bytes, s->stored_bytes,
                     progress_elapsed_ns(s->progress));
}

static void
on_progress(void *ctx, const struct sync_stats *st)
{
    struct shown *s = ctx;

    s->bytes = st->wire_bytes;
}

static int
bring(struct client *cl, struct data_ref *ref, struct scratch *to, struct shown *shown,
      struct brought *got, struct err *e)
{
    struct bring_want want = {
        .snapshot = ref->snapshot, .progress = on_progress, .ctx = shown};

    shown->before_bytes += shown->bytes;
    shown->bytes = 0;
    return bring_tree(cl, ref->session, to, &want, got, e);
}

static int
diff_here(struct cli *c, struct client *cl, struct data_ref *before,
          struct data_ref *after, struct found *f, struct err *e)
{
    struct shown shown = {.stored_bytes =
                              before->info.stored_bytes + after->info.stored_bytes};
    struct scratch *scratch = NULL;
    struct tree_source source;
    struct brought a;
    struct brought b;
    int rc = -1;

    shown.progress = progress_start(c, cl->loop, progress_line, &shown);
    if (scratch_new(&scratch, cl->home, e) == 0 &&
        bring(cl, before, scratch, &shown, &a, e) == 0 &&
        bring(cl, after, scratch, &shown, &b, e) == 0) {
        source = tree_source_store(scratch_store(scratch));
        rc = diff_trees(&a.tree, &source, &b.tree, &source, add_found, f, &f->sums, e);
    }
    progress_end(shown.progress);
    scratch_free(scratch);
    return rc;
}

/* ---- showing ---- */

#define DETAIL_MAX 80

/* One letter, as git has them; what differs in the second column. */
static const char *
letter(const struct change *c)
{
    if (c->before.type == TREE_NONE) {
        return "A";
    }
    if (c->after.type == TREE_NONE) {
        return "D";
    }
    if ((c->what & DIFF_TYPE) != 0) {
        return "T";
    }
    return (c->what & DIFF_CONTENTS) != 0 ? "M" : "m";
}

static void
size_text(const struct change_side *s, char out[TEXT_SIZE_MAX])
{
    if (s->type == TREE_FILE) {
        text_format_size((uint64_t)s->bytes, out);
    } else {
        (void)snprintf(out, TEXT_SIZE_MAX, "%s", change_type_name(s->type));
    }
}

static void
detail(const struct change *c, char out[DETAIL_MAX])
{
    char before[TEXT_SIZE_MAX];
    char after[TEXT_SIZE_MAX];

    size_text(&c->before, before);
    size_text(&c->after, after);
    if (c->before.type == TREE_NONE || c->after.type == TREE_NONE) {
        (void)snprintf(out, DETAIL_MAX, "%s",
                       c->before.type == TREE_NONE ? after : before);
    } else if ((c->what & (DIFF_TYPE | DIFF_CONTENTS)) != 0) {
        (void)snprintf(out, DETAIL_MAX, strcmp(before, after) == 0 ? "%s" : "%s -> %s",
                       before, after);
    } else if ((c->what & DIFF_MODE) != 0) {
        (void)snprintf(out, DETAIL_MAX, "%04" PRIo64 " -> %04" PRIo64, c->before.mode,
                       c->after.mode);
    } else {
        (void)snprintf(out, DETAIL_MAX, "%s",
                       (c->what & DIFF_OWNER) != 0 ? lang_in("file", "owner")
                                                   : _("attributes"));
    }
}

static uint64_t
untold(const struct found *f)
{
    uint64_t all = f->sums.n_added + f->sums.n_removed + f->sums.n_changed;

    return all > f->n ? all - f->n : 0;
}

static void
show(const struct found *f, struct buf *out)
{
    const char *headers[] = {"", ">", "", NULL};
    struct table *t = table_new(headers);
    char text[DETAIL_MAX];

    for (size_t i = 0; i < f->n; i++) {
        const struct change *c = &f->v[i];
        bool dir = c->after.type == TREE_DIR ||
                   (c->after.type == TREE_NONE && c->before.type == TREE_DIR);
        char *path = xasprintf("%s%s", c->path, dir ? "/" : "");

        detail(c, text);
        table_cell(t, letter(c));
        table_cell(t, text);
        table_cell(t, path);
        free(path);
    }
    if (f->n > 0) {
        struct buf all = BUF_INIT;
        const char *first;

        table_print(t, &all);
        first = strchr(buf_str(&all), '\n'); /* no headers: git has none either */
        buf_add_str(out, first != NULL ? first + 1 : "");
        buf_free(&all);
    }
    if (untold(f) > 0) {
        buf_printf(out, _("… and %" PRIu64 " more\n"), untold(f));
    }
    buf_printf(out,
               _("%" PRIu64 " added, %" PRIu64 " removed, %" PRIu64 " changed; %" PRIu64
                 " with another time only\n"),
               f->sums.n_added, f->sums.n_removed, f->sums.n_changed, f->sums.n_touched);
    table_free(t);
}

static void
side_json(struct json_writer *j, const char *key, const struct change_side *s)
{
    json_key(j, key);
    if (s->type == TREE_NONE) {
        json_nil(j);
        return;
    }
    json_obj(j);
    json_kstr(j, "type", change_type_name(s->type));
    json_kint(j, "bytes", s->bytes);
    json_kint(j, "mode", s->mode);
    json_kint(j, "mtime_ns", s->mtime_ns);
    json_obj_end(j);
}

static void
show_json(const struct found *f, const char *before, const char *after, struct buf *out)
{
    static const char *const names[] = {"type",  "contents", "mode",
                                        "owner", "xattrs",   "time"};
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_kstr(j, "before", before);
    json_kstr(j, "after", after);
    json_kint(j, "added", (int64_t)f->sums.n_added);
    json_kint(j, "removed", (int64_t)f->sums.n_removed);
    json_kint(j, "changed", (int64_t)f->sums.n_changed);
    json_kint(j, "touched", (int64_t)f->sums.n_touched);
    json_kint(j, "not_listed", (int64_t)untold(f));
    json_key(j, "changes");
    json_arr(j);
    for (size_t i = 0; i < f->n; i++) {
        const struct change *c = &f->v[i];

        json_obj(j);
        json_kname(j, "name", c->path, c->path_len);
        json_key(j, "what");
        json_arr(j);
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            if ((c->what & (int64_t)1 << k) != 0) {
                json_str(j, names[k]);
            }
        }
        json_arr_end(j);
        side_json(j, "before", &c->before);
        side_json(j, "after", &c->after);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

static int
run_diff(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct data_ref a = {.session = NULL};
    struct data_ref b = {.session = NULL};
    struct found f = {.v = NULL};
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)options;
    if (context_open(&cl, c, e) != 0 || find_data(c, &cl, w->v[0], false, &a, e) != 0 ||
        find_data(c, &cl, w->v[1], false, &b, e) != 0) {
        goto out;
    }
    rc = strcmp(session_host(a.session)->name, session_host(b.session)->name) == 0
             ? diff_there(a.session, a.snapshot, b.snapshot, &f, e)
             : diff_here(c, &cl, &a, &b, &f, e);
    if (rc == 0) {
        if (c->g.json) {
            show_json(&f, a.snapshot, b.snapshot, &out);
        } else {
            show(&f, &out);
        }
        rc = out_write(&out, e);
    }

out:
    found_free(&f);
    buf_free(&out);
    data_ref_close(&a);
    data_ref_close(&b);
    context_close(&cl);
    return rc;
}

const struct command sub_snap_diff = {
    .name = "diff",
    .usage = N_("SNAPSHOT SNAPSHOT"),
    .help = N_("what differs between two snapshots, on whatever hosts they are"),
    .min_words = 2,
    .max_words = 2,
    .word = WORD_JOB_OR_SNAPSHOT,
    .next = WORD_JOB_OR_SNAPSHOT,
    .run = run_diff,
};
