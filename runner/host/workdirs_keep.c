#include <errno.h>
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
#include "storage/tree.h"
#include "storage/workdir.h"

#define NS_PER_S ((int64_t)1000000000)
/* What the store has of it may prove damaged while it is taken, and is put again. */
#define TAKE_TRIES 3

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
    m->expires_wall_ns =
        (end->live ? m->made_wall_ns
                   : snap_kept_from_ns(m->made_wall_ns, end->state->ended_wall_ns)) +
        SNAP_KEEP_DEFAULT_S * NS_PER_S;
}

/* Only the first damaged ones may have been named; all of them count. */
static void
take_totals(struct manifest *m, const struct sha256 *tree, const struct tree_totals *t)
{
    m->tree = *tree;
    m->n_files = t->n_files;
    m->content_bytes = t->bytes;
    m->n_other = t->n_entries - t->n_files;
    if (t->n_damaged + t->n_changed > m->n_damaged) {
        m->n_damaged = t->n_damaged + t->n_changed;
    }
    m->partial = m->n_damaged > 0;
}

static const char *
damage_words(enum tree_damage damage, int sys_errno)
{
    static const int errnos[] = {
        [TREE_UNREADABLE] = EACCES, [TREE_VANISHED] = ENOENT, [TREE_IO_ERROR] = EIO};

    if (damage == TREE_CHANGED) {
        return N_("changed while it was read");
    }
    if (damage == TREE_WHOLE) {
        return N_("not all of its attributes could be kept");
    }
    return strerror(sys_errno != 0 ? sys_errno : errnos[damage]);
}

/* A tree does not say why; no disk need be suspected of a path that grew too long. */
static int
likely_errno(const struct tree_entry *entry)
{
    return entry->type == TREE_DIR && entry->damage == TREE_IO_ERROR &&
                   entry->path_len + 1 + TREE_NAME_MAX_BYTES > TREE_PATH_MAX_BYTES
               ? ENAMETOOLONG
               : 0;
}

static void
take_report(struct manifest *m, const struct build_report *b)
{
    for (size_t i = 0; i < b->n_damaged; i++) {
        manifest_add_damage(m, b->damaged[i].path,
                            damage_words(b->damaged[i].damage, b->damaged[i].sys_errno));
    }
    take_totals(m, &b->tree, &b->totals);
}

static int
name_damaged(struct manifest *m, struct tree_reader *r, uint64_t n, struct err *e)
{
    const struct tree_group *g;

    while (m->n_damaged < n) {
        if (tree_next(r, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            const struct tree_entry *entry = &g->entries[i];

            if (entry->damage != TREE_WHOLE) {
                manifest_add_damage(m, entry->path,
                                    damage_words(entry->damage, likely_errno(entry)));
            }
        }
    }
    return 0;
}

int
workdirs_describe(struct store *s, const struct sha256 *tree, struct manifest *m,
                  struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct tree_reader *r = NULL;
    const struct tree_totals *t;
    int rc = -1;

    if (tree_open(&r, tree, &source, e) != 0) {
        return -1;
    }
    t = tree_totals(r);
    if (name_damaged(m, r, t->n_damaged + t->n_changed, e) == 0) {
        take_totals(m, tree, t);
        rc = workdirs_measure(s, m, e);
    }
    tree_close(r);
    return rc;
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

/* Nothing is said to be kept of which something is missing. */
static int
sum_up(struct manifest *m, const struct store_loc *locs, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (locs[i].pack == 0) {
            return err_set(e, ERR_NOT_FOUND,
                           "a part of what is to be kept is not in the store");
        }
        m->stored_bytes += locs[i].stored_len;
    }
    m->n_chunks = n;
    return 0;
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
    if (store_locate(s, l.v, n, locs, e) == 0) {
        rc = sum_up(m, locs, n, e);
    }

out:
    free(locs);
    free(l.v);
    return rc;
}

int
workdirs_drop_shipped(struct store *s, const struct sha256 *tree, struct err *e)
{
    struct snap_list l = {NULL, 0};
    int rc = snap_list(s, &l, e);

    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        const struct snap *n = &l.v[i];

        if (n->m != NULL && n->m->kind == MANIFEST_SHIPPED &&
            n->claim.data == SNAP_DATA_KEPT && sha256_equal(&n->m->tree, tree)) {
            rc = snap_drop(s, n->id, "kept for its own sake", e);
        }
    }
    snap_list_free(&l);
    return rc;
}

/* *m is the caller's; all that it tells of is in the store, and committed. */
static int
take_once(int work_fd, struct store *s, const struct workdirs_end *end,
          struct manifest **m, struct err *e)
{
    struct build_report report = {0};

    if (workdir_snapshot(work_fd, end->spec->job, s, end->live, &report, e) != 0) {
        return -1;
    }
    *m = manifest_new(MANIFEST_SNAPSHOT);
    snap_clock_note(s);
    describe(*m, end);
    take_report(*m, &report);
    build_report_free(&report);
    if (store_commit(s, e) == 0 && workdirs_measure(s, *m, e) == 0) {
        return 0;
    }
    manifest_free(*m);
    *m = NULL;
    return -1;
}

static int
take(int work_fd, struct store *s, const struct workdirs_end *end, struct manifest **m,
     struct err *e)
{
    int rc = -1;

    for (int i = 0; i < TAKE_TRIES; i++) {
        rc = take_once(work_fd, s, end, m, e);
        if (rc == 0 || (e->code != ERR_CORRUPT && e->code != ERR_NOT_FOUND)) {
            break;
        }
    }
    return rc;
}

static void
tell_taken(const struct manifest *m, const struct job_spec *spec,
           struct workdirs_snapshot *out)
{
    out->partial = m->partial;
    out->as_shipped =
        spec->has_tree && spec->from[0] == '\0' && sha256_equal(&spec->tree, &m->tree);
    out->n_damaged = m->n_damaged;
    out->stored_bytes = (int64_t)m->stored_bytes;
    out->expires_wall_ns = m->expires_wall_ns;
    if (m->n_damage > 0) {
        (void)text_escape_to(out->first_damaged, sizeof out->first_damaged,
                             m->damage[0].path);
    }
}

int
workdirs_snapshot(const struct agent *a, const struct renter *r,
                  const struct workdirs_end *end, struct workdirs_snapshot *out,
                  struct err *e)
{
    struct manifest *m = NULL;
    struct store *s = NULL;
    int work_fd = -1;
    int rc = -1;

    memset(out, 0, sizeof *out);
    if (renter_dir(r, "work", &work_fd, e) != 0 || workdirs_open_store(r, &s, e) != 0 ||
        take(work_fd, s, end, &m, e) != 0 || manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    tell_taken(m, end->spec, out);
    rc = 0;

out:
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
    struct store *s = NULL;
    struct err ignored;
    int rc = -1;

    if (workdirs_open_store(r, &s, e) != 0) {
        goto out;
    }
    manifest_set(&m->id, id);
    manifest_set(&m->name, name);
    manifest_set(&m->renter, r->id);
    snap_clock_note(s);
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = m->made_wall_ns + SNAP_KEEP_DEFAULT_S * NS_PER_S;
    if (workdirs_describe(s, tree, m, e) != 0 || manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    rc = 0;
    (void)!workdirs_drop_shipped(s, tree, &ignored); /* else it expires */

out:
    manifest_free(m);
    store_close(s);
    return rc;
}
