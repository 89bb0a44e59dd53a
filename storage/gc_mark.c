#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/gc_internal.h"

/* Ids that are condemned again in one transaction. */
#define AGAIN_BATCH ((size_t)16384)

/* ---- what was given up since the last run ---- */

/* A snapshot as it was when gc began: no later change of its claim is looked at. */
struct seen_snap {
    char id[MANIFEST_ID_MAX + 1];
    bool gone;
};

struct again {
    struct gc *g;
    struct sha256 *ids;
    size_t n;
};

static int
again_flush(struct again *a, struct err *e)
{
    int rc = a->n == 0 ? 0 : index_condemn_again(a->g->s->ix, a->ids, a->n, e);

    a->n = 0;
    return rc;
}

static int
again_chunk(void *arg, const struct sha256 *id, struct err *e)
{
    struct again *a = arg;

    a->ids[a->n++] = *id;
    return a->n == AGAIN_BATCH ? again_flush(a, e) : 0;
}

static bool
has_tree(const struct manifest *m)
{
    static const struct sha256 none;

    return !sha256_equal(&m->tree, &none);
}

/*
 * The data of a snapshot has been given up since the last run. Until then a handle
 * may have come to rely on its chunks without asking for each, also on one that was
 * condemned already (by a gc that did not see the snapshot yet). So those chunks
 * count as condemned from now on only.
 */
static int
newly_gone(struct gc *g, const char *id, struct err *e)
{
    struct again a = {.g = g, .ids = xmalloc(AGAIN_BATCH * sizeof *a.ids)};
    struct manifest *m = NULL;
    struct err why;
    int rc;

    rc = manifest_read(g->s, id, &m, &why);
    if (rc == 0 && has_tree(m)) {
        rc = g->o->walk(g->s, &m->tree, again_chunk, &a, &why);
    }
    if (rc == 0) {
        rc = again_flush(&a, e);
    } else {
        rc = index_condemn_again(g->s->ix, NULL, 0, e); /* which ones is unknown: all */
    }
    free(a.ids);
    manifest_free(m);
    if (rc == 0) {
        rc = index_gone_add(g->s->ix, id, e);
    }
    return rc;
}

/*
 * What one claim says; deal with it if it is newly gone. Under the lock of claims: one
 * that is regained meanwhile must not be noted as gone, or its next loss would be none.
 */
static int
look_at_claim(struct gc *g, struct seen_snap *sn, bool any_condemned, struct err *e)
{
    bool known;
    int rc = -1;

    if (snap_claims_lock(g->s, e) == -1) {
        return -1;
    }
    if (snap_is_gone(g->s, sn->id, &sn->gone, e) == -1 ||
        index_gone_known(g->s->ix, sn->id, &known, e) == -1) {
        goto out;
    }
    if (g->o->dry_run) {
        sn->gone = sn->gone ||
                   (g->o->given_up != NULL && g->o->given_up(g->o->given_up_arg, sn->id));
        rc = 0;
    } else if (sn->gone == known) {
        rc = 0;
    } else if (!sn->gone) {
        rc = index_gone_forget(g->s->ix, sn->id, e);
    } else {
        rc = any_condemned ? newly_gone(g, sn->id, e)
                           : index_gone_add(g->s->ix, sn->id, e);
    }

out:
    snap_claims_unlock(g->s);
    return rc;
}

/* What claims say at the start, in order of ids. */
static int
look_at_claims(struct gc *g, struct seen_snap **out, size_t *n, struct err *e)
{
    struct snap_ids ids;
    struct seen_snap *v;
    struct index_totals totals;
    int rc = -1;

    if (index_totals(g->s->ix, &totals, e) == -1 || snap_ids(g->s, &ids, e) == -1) {
        return -1;
    }
    v = xcalloc(ids.n, sizeof *v);
    for (size_t i = 0; i < ids.n; i++) {
        memcpy(v[i].id, ids.v[i], sizeof v[i].id);
        if (look_at_claim(g, &v[i], totals.n_condemned > 0, e) == -1) {
            goto out;
        }
    }
    *out = v;
    *n = ids.n;
    v = NULL;
    rc = 0;

out:
    free(v);
    free(ids.v);
    return rc;
}

/* ---- which generations are safe to delete ---- */

/*
 * The highest generation such that no handle that is open now was opened before it:
 * whatever was condemned then or earlier has been seen as condemned by all of them.
 */
static int
find_safe_generation(struct gc *g, struct err *e)
{
    uint64_t gen;

    if (index_generation(g->s->ix, &gen, e) == -1) {
        return -1;
    }
    for (;;) {
        uint64_t lowest;
        bool held;

        if (store_leases_below(g->lock_fd, gen, &held, &lowest, e) == -1) {
            return -1;
        }
        if (!held) {
            g->gen_ok = gen;
            return 0;
        }
        gen = lowest; /* some lease, not always the lowest: ask again */
    }
}

/* ---- what is claimed ---- */

static int
mark_chunk(void *arg, const struct sha256 *id, struct err *e)
{
    struct gc *g = arg;

    (void)e;
    live_add(&g->live, id);
    return 0;
}

static int
cmp_seen(const void *a, const void *b)
{
    return strcmp(a, ((const struct seen_snap *)b)->id);
}

/* Was the data of id given up when gc began? A snapshot made since counts as claimed. */
static bool
was_gone(const struct seen_snap *seen, size_t n, const char *id)
{
    const struct seen_snap *sn =
        n == 0 ? NULL : bsearch(id, seen, n, sizeof *seen, cmp_seen);

    return sn != NULL && sn->gone;
}

static int
mark_snapshot(struct gc *g, const char *id, struct live *trees, struct err *e)
{
    struct manifest *m;
    int rc = 0;

    if (manifest_read(g->s, id, &m, e) == -1) {
        return err_wrap(e, "gc: cannot tell what is claimed");
    }
    g->r->n_manifests++;
    live_sort(trees);
    if (has_tree(m) && !live_has(trees, &m->tree)) {
        rc = g->o->walk(g->s, &m->tree, mark_chunk, g, e);
        live_add(trees, &m->tree);
    }
    if (rc == -1) {
        (void)err_wrap(e, "gc: cannot tell what snapshot %s needs", id);
    } else if (m->kind == MANIFEST_SHIPPED) { /* nobody is charged for it: not measured */
        gc_say(g, "what was shipped is kept as %s, base of what comes next", id);
    } else {
        gc_say(g, "snapshot %s keeps %" PRIu64 " chunks, %" PRIu64 " bytes", id,
               m->n_chunks, m->stored_bytes);
    }
    manifest_free(m);
    return rc;
}

/* One that the index does not have is not kept: it would be missed in each later run. */
static int
mark_if_there(void *arg, const struct sha256 *id, struct err *e)
{
    struct gc *g = arg;
    struct store_loc loc;
    uint64_t gen;

    if (index_row(g->s->ix, id, &loc, &gen, e) == -1) {
        return -1;
    }
    if (loc.pack != 0) {
        live_add(&g->live, id);
    }
    return 0;
}

/*
 * Is it one that people ask about when its data is gone? Those on the way to a job's last
 * come by the hundred, each with names of its own.
 */
static bool
has_names(struct gc *g, const struct manifest *m)
{
    struct snap_claim claim;
    struct err ignored;

    return has_tree(m) && m->kind != MANIFEST_SHIPPED && m->kind != MANIFEST_SETUP &&
           (snap_claim_get(g->s, m->id, &claim, &ignored) != 0 ||
            strcmp(claim.why, SNAP_REPLACED) != 0);
}

/*
 * Of data that is gone the names, sizes and hashes stay. That only keeps more: what of
 * them is lost, or was taken away by a gc that kept none, is none of our business.
 */
static int
mark_names(struct gc *g, const char *id, struct live *trees, struct err *e)
{
    struct manifest *m = NULL;
    struct err why;
    int rc = 0;

    if (g->o->walk_names == NULL) {
        return 0;
    }
    live_sort(trees);
    if ((manifest_read(g->s, id, &m, &why) != 0 ||
         (has_names(g, m) && !live_has(trees, &m->tree) &&
          g->o->walk_names(g->s, &m->tree, mark_if_there, g, &why) != 0)) &&
        why.code != ERR_NOT_FOUND && why.code != ERR_CORRUPT) {
        *e = why;
        rc = err_wrap(e, "gc: cannot tell what stays of snapshot %s", id);
    }
    manifest_free(m);
    return rc;
}

static int
mark_claimed(struct gc *g, const struct seen_snap *seen, size_t n_seen, struct err *e)
{
    struct live trees = {0};
    struct snap_ids ids;
    int rc = -1;

    if (snap_ids(g->s, &ids, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < ids.n; i++) {
        gc_care(g, CARE_SNAPSHOTS, i, ids.n);
        if ((was_gone(seen, n_seen, ids.v[i])
                 ? mark_names(g, ids.v[i], &trees, e)
                 : mark_snapshot(g, ids.v[i], &trees, e)) == -1) {
            goto out;
        }
    }
    live_sort(&g->live);
    rc = 0;

out:
    live_free(&trees);
    free(ids.v);
    return rc;
}

/* The order of the three steps is what makes gc safe: see DESIGN.md. */
int
gc_mark(struct gc *g, struct err *e)
{
    struct seen_snap *seen = NULL;
    size_t n_seen = 0;
    int rc = -1;

    if (look_at_claims(g, &seen, &n_seen, e) == 0 && find_safe_generation(g, e) == 0) {
        rc = mark_claimed(g, seen, n_seen, e);
    }
    free(seen);
    return rc;
}
