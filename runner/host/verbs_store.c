#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/serve_work.h"
#include "runner/host/upkeep.h"
#include "runner/host/workdirs.h"
#include "runner/job/change.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"
#include "storage/diff.h"
#include "storage/fsck.h"
#include "storage/manifest.h"
#include "storage/store.h"
#include "storage/verify.h"

/*
 * What one answer names of what is damaged. Who wants the rest asks again, and is told
 * that there is more: all of it is read again, and what was named before is passed over.
 * Explanations are for people: the first ones, in the first answer only.
 */
#define DAMAGED_MAX       50000
#define DAMAGED_MAX_BYTES ((size_t)8 << 20)
#define LINES_MAX         1000

struct lines {
    struct rec *to;
    struct serve_pace *pace;
    size_t n; /* explanations */
    size_t n_damaged;
    size_t n_bytes;
    int64_t named; /* before, by other answers */
    int64_t passed;
    bool more;
};

static void
add_line(void *arg, const struct err *line)
{
    struct lines *l = arg;

    if (l->n < LINES_MAX && l->named == 0) {
        rec_add(l->to, "line", line->msg);
        rec_add(l->to, "line_form", line->form);
        l->n++;
    }
}

/* One more that is damaged, of so many bytes: is it for this answer? */
static bool
takes_damaged(struct lines *l, size_t n_bytes)
{
    if (l->passed < l->named) {
        l->passed++;
        return false;
    }
    l->more = l->more || l->n_damaged == DAMAGED_MAX ||
              n_bytes > DAMAGED_MAX_BYTES - l->n_bytes;
    if (l->more) {
        return false;
    }
    l->n_damaged++;
    l->n_bytes += n_bytes;
    return true;
}

static void
end_damaged(const struct lines *l)
{
    rec_add_int(l->to, "n_named", (int64_t)l->n_damaged);
    if (l->more) {
        rec_add_int(l->to, "more", 1);
    }
}

static void
on_progress(void *arg, enum care_step step, uint64_t done, uint64_t all)
{
    const struct lines *l = arg;

    serve_pace_tell(l->pace, step, done, all);
}

static int
named_before(const struct rec *req, int64_t *out, struct err *e)
{
    return rec_opt_int(req, "named", 0, INT64_MAX, 0, out, e);
}

static void
answer_reply(struct serve_work *w)
{
    mux_respond(w->serve->mux, w->id, w->reply);
}

/* ---- snap.verify ---- */

static void
add_damaged(void *arg, const char *path, size_t path_len, const struct err *why)
{
    struct lines *l = arg;

    if (takes_damaged(l, path_len + strlen(why->msg) + strlen(why->form))) {
        rec_add_bytes(l->to, "damaged", path, path_len);
        rec_add(l->to, "damaged_why", why->msg);
        rec_add(l->to, "damaged_form", why->form);
    }
}

static int
verify_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct lines l = {.to = w->reply, .pace = w->pace, .named = w->named};
    const struct verify_options o = {
        .damaged = add_damaged, .progress = on_progress, .arg = &l};
    struct verify_result sums = {0};
    struct manifest *m = NULL;
    struct store *s = NULL;
    int rc = -1;

    if (workdirs_open_store(w->serve->renter, &s, e) == 0 &&
        workdirs_kept_tree(s, w->snapshot, &m, e) == 0 &&
        verify_tree(s, &m->tree, &o, &sums, e) == 0) {
        rec_add_int(w->reply, "n_entries", (int64_t)sums.n_entries);
        rec_add_int(w->reply, "n_chunks", (int64_t)sums.n_chunks);
        rec_add_int(w->reply, "bytes", (int64_t)sums.bytes);
        rec_add_int(w->reply, "n_damaged", (int64_t)sums.n_damaged);
        end_damaged(&l);
        rc = 0;
    }
    manifest_free(m);
    store_close(s);
    return rc;
}

static void
snap_verify(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    struct err e;

    w->run = verify_run;
    w->answer = answer_reply;
    w->reply = msg_answer_new(VERB_SNAP_VERIFY);
    if (serve_need_id(req, "snapshot", ID_SNAPSHOT, w->snapshot, &e) != 0 ||
        named_before(req, &w->named, &e) != 0 ||
        serve_pace_open(&w->pace, s, req, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- snap.diff ---- */

struct changes {
    struct rec *to;
    size_t n;
    size_t n_bytes;
};

/* Times alone are counted; they are told of nowhere else. */
static int
add_change(void *ctx, const struct diff_change *d, struct err *e)
{
    struct changes *l = ctx;
    struct buf b = BUF_INIT;
    struct change c;
    struct rec *r;

    (void)e;
    if (d->what == DIFF_TIME || l->n >= CHANGES_MAX || l->n_bytes >= CHANGES_MAX_BYTES) {
        return 0;
    }
    change_of(d, &c);
    r = change_rec(&c);
    rec_encode(r, &b);
    rec_add_bytes(l->to, "change", b.data, b.len);
    l->n++;
    l->n_bytes += b.len;
    buf_free(&b);
    rec_free(r);
    change_free(&c);
    return 0;
}

static int
diff_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct changes l = {.to = w->reply};
    struct diff_result sums = {0};
    struct manifest *before = NULL;
    struct manifest *after = NULL;
    struct store *s = NULL;
    struct tree_source source;
    int rc = -1;

    if (workdirs_open_store(w->serve->renter, &s, e) != 0 ||
        workdirs_listed_tree(s, w->snapshot, &before, e) != 0 ||
        workdirs_listed_tree(s, w->other, &after, e) != 0) {
        goto out;
    }
    source = tree_source_store(s);
    if (diff_trees(&before->tree, &source, &after->tree, &source, add_change, &l, &sums,
                   e) == 0) {
        rec_add_int(w->reply, "n_added", (int64_t)sums.n_added);
        rec_add_int(w->reply, "n_removed", (int64_t)sums.n_removed);
        rec_add_int(w->reply, "n_changed", (int64_t)sums.n_changed);
        rec_add_int(w->reply, "n_touched", (int64_t)sums.n_touched);
        rc = 0;
    }

out:
    manifest_free(before);
    manifest_free(after);
    store_close(s);
    return rc;
}

static void
snap_diff(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    struct err e;

    w->run = diff_run;
    w->answer = answer_reply;
    w->reply = msg_answer_new(VERB_SNAP_DIFF);
    if (serve_need_id(req, "snapshot", ID_SNAPSHOT, w->snapshot, &e) != 0 ||
        serve_need_id(req, "other", ID_SNAPSHOT, w->other, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- store.where ---- */

/* For a client on this machine; where what comes in is counted it has to come by us. */
static void
store_where(struct serve *s, uint64_t id, const struct rec *req)
{
    const struct renter *r = s->renter;
    struct rec *reply;
    bool puts = false;
    struct err e;
    char *path;

    if (serve_flag(req, "puts", &puts, &e) != 0 || renter_check_admitted(r, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    if (r->confined || (puts && r->quota_bytes != 0)) {
        err_set(&e, ERR_DENIED, "this store is not opened but by the agent");
        serve_fail(s, id, &e);
        return;
    }
    reply = msg_answer_new(VERB_STORE_WHERE);
    path = workdirs_store_path(r);
    rec_add(reply, "path", path);
    mux_respond(s->mux, id, reply);
    rec_free(reply);
    free(path);
}

/* ---- store.gc ---- */

static int
gc_run_work(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct lines l = {.to = w->reply, .pace = w->pace};
    const struct upkeep_told told = {
        .say = w->dry_run ? add_line : NULL, .progress = on_progress, .arg = &l};
    struct upkeep_gc sums = {0};
    char size[TEXT_SIZE_MAX];

    if (upkeep_gc(w->serve->renter, w->dry_run, &told, &sums, e) != 0) {
        text_format_size(sums.freed_bytes, size);
        return w->dry_run ? -1 : err_wrap(e, "%s freed, but not all was done", size);
    }
    rec_add_int(w->reply, "freed_bytes", (int64_t)sums.freed_bytes);
    rec_add_int(w->reply, "n_expired", (int64_t)sums.n_expired);
    rec_add_int(w->reply, "n_unreadable", (int64_t)sums.n_unreadable);
    rec_add_int(w->reply, "n_no_room", (int64_t)sums.n_no_room);
    if (sums.clock_doubt.code != ERR_NONE) {
        rec_add(w->reply, "clock_doubt", sums.clock_doubt.msg);
        rec_add(w->reply, "clock_doubt_form", sums.clock_doubt.form);
    }
    return 0;
}

static void
store_gc(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    struct err e;

    w->run = gc_run_work;
    w->answer = answer_reply;
    w->reply = msg_answer_new(VERB_STORE_GC);
    if (serve_flag(req, "dry_run", &w->dry_run, &e) != 0 ||
        serve_pace_open(&w->pace, s, req, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- store.fsck ---- */

static void
say_damaged(void *arg, const char *snap_id, const char *path, size_t path_len,
            const struct err *why)
{
    struct lines *l = arg;
    struct buf name = BUF_INIT;
    struct buf b = BUF_INIT;
    struct err line = *why;

    if (path != NULL) {
        text_escape(&name, path, path_len);
        err_wrap(&line, "%s", buf_str(&name));
    }
    err_wrap(&line, "snapshot %s", snap_id);
    /* A path may be longer than an error. */
    buf_printf(&b, "snapshot %s: %s%s%s", snap_id, buf_str(&name),
               path == NULL ? "" : ": ", why->msg);
    if (takes_damaged(l, b.len + strlen(line.form))) {
        rec_add(l->to, "line", buf_str(&b));
        rec_add(l->to, "line_form", line.form);
    }
    buf_free(&name);
    buf_free(&b);
}

static int
fsck_run_work(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct lines l = {.to = w->reply, .pace = w->pace, .named = w->named};
    struct fsck_options o = {.walk = gc_walk_tree,
                             .files = fsck_files_tree,
                             .damaged = say_damaged,
                             .say = add_line,
                             .progress = on_progress,
                             .arg = &l};
    char *path = workdirs_store_path(w->serve->renter);
    struct fsck_result res = {0};
    int rc = file_exists(path) ? fsck_run(path, &o, &res, e) : 0;

    if (rc == 0) {
        rec_add_int(w->reply, "clean", fsck_clean(&res) ? 1 : 0);
        rec_add_int(w->reply, "n_chunks", (int64_t)res.n_chunks);
        rec_add_int(w->reply, "bytes", (int64_t)res.bytes);
        rec_add_int(w->reply, "n_snaps", (int64_t)res.n_snaps);
        rec_add_int(w->reply, "n_snaps_damaged",
                    (int64_t)(res.n_snaps_damaged + res.n_manifests_lost));
        rec_add_int(w->reply, "n_files_damaged", (int64_t)res.n_files_damaged);
        end_damaged(&l);
    }
    free(path);
    return rc;
}

static void
store_fsck(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    struct err e;

    w->run = fsck_run_work;
    w->answer = answer_reply;
    w->reply = msg_answer_new(VERB_STORE_FSCK);
    if (named_before(req, &w->named, &e) != 0 ||
        serve_pace_open(&w->pace, s, req, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

const struct serve_verb serve_verbs_store[] = {
    {VERB_SNAP_VERIFY, snap_verify}, {VERB_SNAP_DIFF, snap_diff},
    {VERB_STORE_WHERE, store_where}, {VERB_STORE_GC, store_gc},
    {VERB_STORE_FSCK, store_fsck},   {NULL, NULL},
};
