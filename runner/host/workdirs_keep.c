#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/workdirs.h"
#include "storage/build.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/workdir.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- keeping ---- */

/* "name=digest" of what it saw but has not kept. */
static void
describe_data(struct manifest *m, const struct job_spec *spec)
{
    for (size_t i = 0; i < spec->data.n; i++) {
        char hex[SHA256_HEX_LEN + 1];
        struct spec_data d;
        struct err none;
        char *text;

        if (spec_data_parse(&d, spec->data.v[i], &none) == 0) {
            sha256_format(&d.tree, hex);
            text = xasprintf("%s=%s", d.name, hex);
            manifest_list_add(&m->data, text);
            free(text);
        }
    }
}

static void
describe(struct manifest *m, const struct workdirs_end *end)
{
    const struct job_spec *spec = end->spec;
    const struct job_state *st = end->state;
    struct utsname u;

    manifest_set(&m->id, end->id);
    manifest_set(&m->name,
                 end->name != NULL && end->name[0] != '\0' ? end->name : spec->name);
    manifest_set(&m->job, spec->job);
    manifest_set(&m->parent, spec->from[0] == '\0' ? NULL : spec->from);
    manifest_set(&m->renter, st->renter);
    manifest_set(&m->cwd, spec->cwd);
    manifest_set(&m->arch, uname(&u) == 0 ? u.machine : NULL);
    for (size_t i = 0; i < spec->args.n; i++) {
        manifest_list_add(&m->arg, spec->args.v[i]);
    }
    for (size_t i = 0; i < spec->env.n; i++) {
        manifest_list_add(&m->env, spec->env.v[i]);
    }
    manifest_set(&m->setup, spec->setup_key);
    describe_data(m, spec);
    m->made_wall_ns = clock_wall_ns();
    if (!end->live) {
        manifest_set(&m->reason, st->reason == JOB_REASON_NONE
                                     ? "lost"
                                     : job_reason_name(st->reason));
        manifest_set(&m->detail, st->detail);
        manifest_set(&m->detail_form, st->detail_form);
        m->has_exit_code = st->exit_code != JOB_NOT_SET;
        m->exit_code = m->has_exit_code ? (int32_t)st->exit_code : 0;
        m->signal = st->signal != JOB_NOT_SET ? (int32_t)st->signal : 0;
        m->ended_wall_ns = st->ended_wall_ns;
    }
    if (end->bill != NULL) {
        m->bill = *end->bill;
        m->has_bill = true;
    }
    m->expires_wall_ns = (end->live ? m->made_wall_ns : st->ended_wall_ns) +
                         SNAP_KEEP_DEFAULT_S * NS_PER_S;
}

static void
take_report(struct manifest *m, const struct build_report *b)
{
    m->tree = b->tree;
    m->n_files = b->totals.n_files;
    m->content_bytes = b->totals.bytes;
    m->n_other = b->totals.n_entries - b->totals.n_files;
    for (size_t i = 0; i < b->n_damaged; i++) {
        manifest_add_damage(m, b->damaged[i].path,
                            b->damaged[i].sys_errno != 0
                                ? strerror(b->damaged[i].sys_errno)
                                : "changed while it was read");
    }
    /* Only the first ones are named; all of them count. */
    if (b->totals.n_damaged + b->totals.n_changed > m->n_damaged) {
        m->n_damaged = b->totals.n_damaged + b->totals.n_changed;
    }
    m->partial = m->n_damaged > 0;
}

/* ---- what keeping it takes ---- */

struct ids {
    struct sha256 *v;
    size_t n;
    size_t cap;
};

static int
add_id(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    struct ids *l = ctx;

    (void)kind;
    if (l->n == STORE_BATCH_MAX) {
        return err_set(e, ERR_RANGE, "the snapshot has too many chunks");
    }
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 1024 : 2 * l->cap;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = c->id;
    return 0;
}

static int
id_cmp(const void *a, const void *b)
{
    return sha256_cmp(a, b);
}

int
workdirs_measure(struct store *s, struct manifest *m, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct store_loc *locs = NULL;
    struct ids l = {NULL, 0, 0};
    size_t n = 0;
    int rc = -1;

    if (tree_walk_chunks(&m->tree, &source, add_id, &l, e) != 0) {
        goto out;
    }
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, id_cmp);
    }
    for (size_t i = 0; i < l.n; i++) {
        if (n == 0 || !sha256_equal(&l.v[n - 1], &l.v[i])) {
            l.v[n++] = l.v[i];
        }
    }
    locs = xcalloc(n + 1, sizeof *locs);
    if (store_locate(s, l.v, n, locs, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        m->stored_bytes += locs[i].stored_len;
    }
    m->n_chunks = n;
    rc = 0;

out:
    free(locs);
    free(l.v);
    return rc;
}

int
workdirs_snapshot(const struct agent *a, const struct renter *r,
                  const struct workdirs_end *end, struct workdirs_snapshot *out,
                  struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct build_report report = {0};
    struct store *s = NULL;
    int work_fd = -1;
    int rc = -1;

    memset(out, 0, sizeof *out);
    if (renter_dir(r, "work", &work_fd, e) != 0 || workdirs_open_store(r, &s, e) != 0 ||
        workdir_snapshot(work_fd, end->spec->job, s, end->live, &report, e) != 0) {
        goto out;
    }
    snap_clock_note(s);
    describe(m, end);
    take_report(m, &report);
    if (store_commit(s, e) != 0 || workdirs_measure(s, m, e) != 0 ||
        manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    out->partial = m->partial;
    out->as_shipped = end->spec->has_tree && end->spec->from[0] == '\0' &&
                      sha256_equal(&end->spec->tree, &m->tree);
    out->n_damaged = m->n_damaged;
    out->stored_bytes = (int64_t)m->stored_bytes;
    out->expires_wall_ns = m->expires_wall_ns;
    if (m->n_damage > 0) {
        (void)text_escape_to(out->first_damaged, sizeof out->first_damaged,
                             m->damage[0].path);
    }
    rc = 0;

out:
    build_report_free(&report);
    manifest_free(m);
    store_close(s);
    (void)fd_close(&work_fd);
    return rc;
}

int
workdirs_keep_tree(const struct agent *a, const struct renter *r, const char *id,
                   const char *name, const struct sha256 *tree, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct tree_source source;
    struct tree_reader *reader = NULL;
    struct build_report report = {.tree = *tree};
    struct store *s = NULL;
    int rc = -1;

    if (workdirs_open_store(r, &s, e) != 0) {
        goto out;
    }
    source = tree_source_store(s);
    if (tree_open(&reader, tree, &source, e) != 0) {
        goto out;
    }
    report.totals = *tree_totals(reader);
    manifest_set(&m->id, id);
    manifest_set(&m->name, name);
    manifest_set(&m->renter, r->id);
    snap_clock_note(s);
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = m->made_wall_ns + SNAP_KEEP_DEFAULT_S * NS_PER_S;
    take_report(m, &report);
    if (workdirs_measure(s, m, e) != 0 || manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    rc = 0;

out:
    tree_close(reader);
    manifest_free(m);
    store_close(s);
    return rc;
}
