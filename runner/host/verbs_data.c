#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/notices.h"
#include "runner/host/serve_internal.h"
#include "runner/host/serve_work.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"
#include "storage/beneath.h"
#include "storage/extract.h"
#include "storage/manifest.h"
#include "storage/store.h"

/* ---- snap.take ---- */

/* The request may be one that was answered before the link broke. */
static int
is_taken(const struct renter *r, const char *snapshot, bool *taken, struct err *e)
{
    struct manifest *m = NULL;
    struct store *st = NULL;
    struct err why;
    int rc = -1;

    if (workdirs_open_store(r, &st, e) != 0) {
        return -1;
    }
    *taken = manifest_read(st, snapshot, &m, &why) == 0;
    if (*taken || why.code == ERR_NOT_FOUND) {
        rc = 0;
    } else {
        *e = why;
    }
    manifest_free(m);
    store_close(st);
    return rc;
}

/* The end had no room for a snapshot, or could not write it; this one is that now. */
static int
take_over_from_end(struct jobdir *d, struct job_state *st, const char *id,
                   const struct workdirs_snapshot *taken, struct err *e)
{
    bool got;

    if (jobdir_try_lock(d, &got, e) != 0) {
        return -1;
    }
    if (!got) {
        return 0; /* its supervisor is just going */
    }
    memcpy(st->snapshot, id, sizeof st->snapshot);
    st->kept = taken->partial ? JOB_KEPT_PARTIAL : JOB_KEPT_WHOLE;
    st->kept_bytes = taken->stored_bytes;
    st->expires_wall_ns = taken->expires_wall_ns;
    state_tell(&st->kept_why, &st->kept_form, NULL);
    st->seq++;
    return jobdir_set_state(d, st, true, e);
}

static int
take_job(struct serve_work *w, struct err *e)
{
    const struct renter *r = w->serve->renter;
    struct workdirs_snapshot taken;
    struct workdirs_end end = {.live = true, .id = w->snapshot, .name = w->name};
    struct job_spec spec;
    struct job_state st;
    struct jobdir d;
    int fd = -1;
    int rc = -1;

    if (workdirs_open_live(r, w->job, &fd, e) != 0) {
        return -1;
    }
    (void)fd_close(&fd);
    if (jobdir_open(&d, r, w->job, e) != 0) {
        return -1;
    }
    spec_init(&spec);
    state_init(&st);
    if (jobdir_spec(&d, &spec, e) == 0 && jobdir_state(&d, &st, e) == 0) {
        end.spec = &spec;
        end.state = &st;
        end.live = !job_phase_is_final(st.phase);
        rc = workdirs_snapshot(w->serve->agent, r, &end, &taken, e);
    }
    if (rc == 0) {
        notices_expect(r, &spec);
    }
    if (rc == 0 && !end.live) {
        rc = take_over_from_end(&d, &st, w->snapshot, &taken, e);
    }
    state_free(&st);
    spec_free(&spec);
    jobdir_close(&d);
    return rc;
}

static int
take_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    bool taken;

    if (is_taken(w->serve->renter, w->snapshot, &taken, e) != 0) {
        return -1;
    }
    if (taken) {
        return 0;
    }
    return w->has_job ? take_job(w, e)
                      : workdirs_keep_tree(w->serve->agent, w->serve->renter, w->snapshot,
                                           w->name, &w->tree, e);
}

static void
take_answer(struct serve_work *w)
{
    struct store *st = NULL;
    struct err e;

    if (workdirs_open_store(w->serve->renter, &st, &e) != 0 ||
        serve_answer_snap(w->serve, w->id, VERB_SNAP_TAKE, st, w->snapshot, false, &e) !=
            0) {
        serve_fail(w->serve, w->id, &e);
    }
    store_close(st);
}

/* A tree is kept only while its shipping holds it: true once it is here, or refused. */
bool
serve_tree_is_here(struct serve *s, uint64_t id, const struct rec *req,
                   const struct sha256 *tree)
{
    struct serve_wait **wait = NULL;
    struct err e;

    if (serve_ship_has(s, tree, &wait)) {
        return true;
    }
    if (wait != NULL) {
        (void)serve_wait_request(s, wait, id, req);
    } else {
        err_set(&e, ERR_NOT_FOUND, "the tree was not shipped here");
        serve_fail(s, id, &e);
    }
    return false;
}

static void
snap_take(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    const char *name = rec_get(req, "name");
    struct err e;

    w->run = take_run;
    w->answer = take_answer;
    w->has_job = rec_has(req, "job");
    w->name = xstrdup(name != NULL ? name : "");
    if (serve_need_id(req, "snapshot", ID_SNAPSHOT, w->snapshot, &e) != 0 ||
        (w->has_job ? serve_need_id(req, "job", ID_JOB, w->job, &e)
                    : rec_need_hex(req, "tree", w->tree.b, sizeof w->tree.b, &e)) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    if (!w->has_job && !serve_tree_is_here(s, id, req, &w->tree)) {
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- job.put ---- */

static int
put_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct extract_options o = {.overwrite = true, .only = w->only};
    struct extract_report report;
    struct tree_source source;
    struct store *st = NULL;
    int top = -1;
    int fd = -1;
    int rc = -1;

    if (workdirs_open_live(w->serve->renter, w->job, &top, e) != 0) {
        return -1;
    }
    if (w->path[0] != '\0' && file_mkdirs_beneath(top, w->path, 0777, &fd, e) != 0) {
        goto out;
    }
    if (workdirs_open_store(w->serve->renter, &st, e) != 0) {
        goto out;
    }
    source = tree_source_store(st);
    rc = extract_tree(fd != -1 ? fd : top, &w->tree, &source, &o, &report, e);

out:
    store_close(st);
    (void)fd_close(&fd);
    (void)fd_close(&top);
    return rc;
}

static void
put_answer(struct serve_work *w)
{
    struct rec *r = msg_answer_new(VERB_JOB_PUT);

    mux_respond(w->serve->mux, w->id, r);
    rec_free(r);
}

/* A path in a job's directory; "" is the directory itself. */
static int
need_path(const struct rec *req, const char **path, struct err *e)
{
    const char *text = rec_get(req, "path");

    *path = text != NULL ? text : "";
    if (!tree_path_ok(*path, strlen(*path))) {
        return err_set(e, ERR_INVALID, "'%s' is no path in a job's directory", *path);
    }
    return 0;
}

static void
job_put(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    const char *only = rec_get(req, "only");
    const char *path = "";
    struct err e;

    w->run = put_run;
    w->answer = put_answer;
    if (serve_need_id(req, "job", ID_JOB, w->job, &e) != 0 ||
        need_path(req, &path, &e) != 0 ||
        rec_need_hex(req, "tree", w->tree.b, sizeof w->tree.b, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    w->path = xstrdup(path);
    w->only = only != NULL ? xstrdup(only) : NULL;
    if (!serve_tree_is_here(s, id, req, &w->tree)) {
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- job.stat ---- */

static const char *
type_word(mode_t mode)
{
    return S_ISDIR(mode)   ? "dir"
           : S_ISREG(mode) ? "file"
           : S_ISLNK(mode) ? "link"
                           : "other";
}

static int
look(int top, const char *path, struct rec *answer, struct err *e)
{
    struct stat st;
    int fd = beneath_open(top, path, O_PATH | O_NOFOLLOW, 0);
    int rc = 0;

    if (fd == -ENOENT || fd == -ENOTDIR) {
        return 0; /* nothing there: the answer says no type */
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = err_set_sys(e, fd < 0 ? -fd : errno, "cannot look at '%s'", path);
    } else {
        rec_add(answer, "type", type_word(st.st_mode));
        rec_add_int(answer, "mode", (int64_t)(st.st_mode & 07777));
        rec_add_int(answer, "bytes", (int64_t)st.st_size);
    }
    (void)fd_close(&fd);
    return rc;
}

static void
job_stat(struct serve *s, uint64_t id, const struct rec *req)
{
    struct rec *r = msg_answer_new(VERB_JOB_STAT);
    const char *path = "";
    const char *job;
    int top = -1;
    struct err e;

    if (serve_job(req, &job, &e) != 0 || need_path(req, &path, &e) != 0 ||
        workdirs_open_live(s->renter, job, &top, &e) != 0 ||
        look(top, path, r, &e) != 0) {
        serve_fail(s, id, &e);
    } else {
        mux_respond(s->mux, id, r);
    }
    (void)fd_close(&top);
    rec_free(r);
}

const struct serve_verb serve_verbs_data[] = {
    {VERB_SNAP_TAKE, snap_take},
    {VERB_JOB_PUT, job_put},
    {VERB_JOB_STAT, job_stat},
    {NULL, NULL},
};
