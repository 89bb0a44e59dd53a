#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/host/serve_internal.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"

#define SNAP_TYPE        "gpurun.snap.v1"
#define COMMAND_TEXT_MAX ((size_t)400)

/* ---- one snapshot as a record ---- */

static void
add_text(struct rec *r, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        rec_add(r, key, value);
    }
}

static void
add_command(struct rec *r, const struct manifest *m)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < m->arg.n && b.len < COMMAND_TEXT_MAX; i++) {
        buf_printf(&b, "%s%s", i == 0 ? "" : " ", m->arg.v[i]);
    }
    if (b.len > 0) {
        rec_add_bytes(r, "command", b.data,
                      b.len < COMMAND_TEXT_MAX ? b.len : COMMAND_TEXT_MAX);
    }
    buf_free(&b);
}

static struct rec *
snap_record(const struct manifest *m, const struct snap_claim *c)
{
    struct rec *r = rec_new(SNAP_TYPE);

    rec_add(r, "id", m->id);
    if (m->kind != MANIFEST_NONE) {
        rec_add(r, "kind", manifest_kind_name(m->kind));
    }
    add_text(r, "name", m->name);
    add_text(r, "job", m->job);
    add_text(r, "parent", m->parent);
    add_command(r, m);
    add_text(r, "reason", m->reason);
    if (m->has_exit_code) {
        rec_add_int(r, "exit_code", m->exit_code);
    }
    if (m->signal != 0) {
        rec_add_int(r, "signal", m->signal);
    }
    rec_add_int(r, "made_wall_ns", m->made_wall_ns);
    rec_add_int(r, "ended_wall_ns", m->ended_wall_ns);
    rec_add_int(r, "expires_wall_ns", c->expires_wall_ns);
    rec_add(r, "data", c->data == SNAP_DATA_GONE ? "gone" : "kept");
    rec_add_int(r, "n_files", (int64_t)m->n_files);
    rec_add_int(r, "content_bytes", (int64_t)m->content_bytes);
    rec_add_int(r, "stored_bytes", (int64_t)m->stored_bytes);
    rec_add_int(r, "partial", m->partial ? 1 : 0);
    if (m->kind == MANIFEST_DATA) {
        rec_add_hex(r, "tree", m->tree.b, sizeof m->tree.b);
    }
    return r;
}

void
serve_add_snap(struct rec *to, const struct manifest *m, const struct snap_claim *c)
{
    struct rec *r = snap_record(m, c);
    struct buf b = BUF_INIT;

    rec_encode(r, &b);
    rec_add_bytes(to, "snap", b.data, b.len);
    buf_free(&b);
    rec_free(r);
}

/* ---- verbs ---- */

/* Is something still kept that should have expired? */
static bool
is_overdue(const struct snap_list *l)
{
    int64_t now_ns = clock_wall_ns();

    for (size_t i = 0; i < l->n; i++) {
        const struct snap_claim *c = &l->v[i].claim;

        if (l->v[i].m != NULL && c->data == SNAP_DATA_KEPT && c->expires_wall_ns != 0 &&
            c->expires_wall_ns <= now_ns) {
            return true;
        }
    }
    return false;
}

static void
snap_ls(struct serve *s, uint64_t id, const struct rec *req)
{
    struct snap_list l = {NULL, 0};
    struct store *st = NULL;
    struct rec *r;
    struct err e;
    struct err doubt;
    bool all;

    if (serve_flag(req, "all", &all, &e) != 0 ||
        workdirs_open_store(s->renter, &st, &e) != 0 || snap_list(st, &l, &e) != 0) {
        serve_fail(s, id, &e);
        store_close(st);
        return;
    }
    r = msg_answer_new(VERB_SNAP_LIST);
    if (is_overdue(&l)) { /* else there is nothing to wonder about */
        snap_clock_doubt(st, &doubt);
        add_text(r, "clock_doubt", doubt.msg);
        add_text(r, "clock_doubt_form", doubt.form);
    }
    for (size_t i = 0; i < l.n; i++) {
        const struct snap *n = &l.v[i];

        if (n->m == NULL && (all || n->claim.data != SNAP_DATA_GONE)) {
            rec_addf(r, "damaged", "%s %s", n->id, n->error);
        } else if (n->m != NULL && n->m->kind == MANIFEST_SNAPSHOT &&
                   (all || n->claim.data != SNAP_DATA_GONE)) {
            serve_add_snap(r, n->m, &n->claim);
        }
    }
    mux_respond(s->mux, id, r);
    rec_free(r);
    snap_list_free(&l);
    store_close(st);
}

static int
need_snapshot(const struct rec *req, const char **out, struct err *e)
{
    const char *text;

    if (rec_need_str(req, "snapshot", &text, e) != 0 ||
        id_check(ID_SNAPSHOT, text, e) != 0) {
        return -1;
    }
    *out = text;
    return 0;
}

int
serve_answer_snap(struct serve *s, uint64_t id, const char *verb, struct store *st,
                  const char *snapshot, bool with_manifest, struct err *e)
{
    struct manifest *m = NULL;
    struct snap_claim c;
    struct buf b = BUF_INIT;
    struct rec *r;
    int rc = -1;

    if (manifest_read(st, snapshot, &m, e) != 0 ||
        snap_claim_get(st, snapshot, &c, e) != 0 ||
        (with_manifest && manifest_read_encoded(st, snapshot, &b, e) != 0)) {
        goto out;
    }
    r = msg_answer_new(verb);
    serve_add_snap(r, m, &c);
    if (with_manifest) {
        rec_add_bytes(r, "manifest", b.data, b.len);
    }
    mux_respond(s->mux, id, r);
    rec_free(r);
    rc = 0;

out:
    buf_free(&b);
    manifest_free(m);
    return rc;
}

/* What each verb does to the store before its answer. */
typedef int snap_change(struct store *st, const char *snapshot, const struct rec *req,
                        struct err *e);

static void
snap_verb(struct serve *s, uint64_t id, const struct rec *req, const char *verb,
          snap_change *change)
{
    struct store *st = NULL;
    const char *snapshot;
    struct err e;

    if (need_snapshot(req, &snapshot, &e) != 0 ||
        workdirs_open_store(s->renter, &st, &e) != 0 ||
        (change != NULL && change(st, snapshot, req, &e) != 0) ||
        serve_answer_snap(s, id, verb, st, snapshot, change == NULL, &e) != 0) {
        serve_fail(s, id, &e);
    }
    store_close(st);
}

static void
snap_show(struct serve *s, uint64_t id, const struct rec *req)
{
    snap_verb(s, id, req, VERB_SNAP_SHOW, NULL);
}

static int
change_keep(struct store *st, const char *snapshot, const struct rec *req, struct err *e)
{
    int64_t until_ns;

    if (rec_need_int(req, "expires_wall_ns", 0, INT64_MAX, &until_ns, e) != 0) {
        return -1;
    }
    return snap_keep(st, snapshot, until_ns, e);
}

static void
snap_keep_verb(struct serve *s, uint64_t id, const struct rec *req)
{
    snap_verb(s, id, req, VERB_SNAP_KEEP, change_keep);
}

/*
 * Give it up. *m: its manifest; of one that cannot be read, which would else be in gc's
 * way for ever, the id alone. The directory that the job left is kept to be taken over,
 * and no copy of the data.
 */
static int
remove_snapshot(const struct renter *r, struct store *st, const char *snapshot,
                struct manifest **m, struct err *e)
{
    struct err why;

    if (snap_drop(st, snapshot, "removed", e) != 0) {
        return -1;
    }
    if (manifest_read(st, snapshot, m, &why) != 0) {
        *m = manifest_new(MANIFEST_NONE);
        manifest_set(&(*m)->id, snapshot);
    }
    return (*m)->job != NULL && id_is(ID_JOB, (*m)->job)
               ? workdirs_forget(r, (*m)->job, e)
               : 0;
}

static void
snap_rm(struct serve *s, uint64_t id, const struct rec *req)
{
    struct manifest *m = NULL;
    struct store *st = NULL;
    struct snap_claim c;
    const char *snapshot;
    struct rec *r;
    struct err e;

    if (need_snapshot(req, &snapshot, &e) != 0 ||
        workdirs_open_store(s->renter, &st, &e) != 0 ||
        remove_snapshot(s->renter, st, snapshot, &m, &e) != 0 ||
        snap_claim_get(st, snapshot, &c, &e) != 0) {
        serve_fail(s, id, &e);
    } else {
        r = msg_answer_new(VERB_SNAP_RM);
        serve_add_snap(r, m, &c);
        mux_respond(s->mux, id, r);
        rec_free(r);
    }
    manifest_free(m);
    store_close(st);
}

const struct serve_verb serve_verbs_snap[] = {
    {VERB_SNAP_LIST, snap_ls},
    {VERB_SNAP_SHOW, snap_show},
    {VERB_SNAP_KEEP, snap_keep_verb},
    {VERB_SNAP_RM, snap_rm},
    {NULL, NULL},
};
