#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "storage/fsck.h"
#include "storage/gc.h"
#include "storage/snap.h"
#include "storage/tree.h"
#include "tests/tools/model/model.h"

static const char *const op_names[OPS] = {"make",   "copy",   "verify", "drop", "keep",
                                          "regain", "expire", "gc",     "fsck", "list"};
static const int op_weights[OPS] = {22, 10, 28, 8, 6, 12, 6, 7, 1, 2};

const char *
op_name(enum op op)
{
    return op_names[op];
}

static int64_t
some_expiry(void)
{
    return rnd() % 4 == 0 ? 0
                          : clock_wall_ns() + (int64_t)(rnd() % (uint64_t)KEEP_MAX_NS);
}

static void
write_manifest(struct store *st, struct slot *s)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct err e;

    manifest_set(&m->id, s->id);
    m->tree = s->tree;
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = s->expires_ns;
    if (manifest_write(st, m, me.key, &e) != 0) {
        wrong("%s: cannot write its manifest: %s", s->id, e.msg);
    }
    manifest_free(m);
}

/* Whose slot is free; what it held is given up for certain. */
static bool
new_id(struct store *st, struct slot *s)
{
    if (look(st, s) || atomic_fetch_add(&me.g->n_ids, 1) >= IDS_MAX) {
        return false;
    }
    atomic_store(&s->what, W_EMPTY); /* who dies now leaves no half of a name */
    random_id("s", s->id);
    s->expires_ns = some_expiry();
    return true;
}

static void
op_make(struct slot *s)
{
    struct store *st;
    struct err e;

    st = open_store();
    if (!new_id(st, s)) {
        store_close(st);
        return;
    }
    s->first = below(PIECES);
    s->n = 1 + below(12);
    if (put_tree(st, s->first, s->n, &s->tree, &e) != 0) {
        wrong("cannot put: %s", e.msg);
    }
    atomic_store(&s->what, W_MAKING);
    write_manifest(st, s);
    atomic_store(&s->what, W_KEPT);
    store_close(st);
}

static void
one_gc(bool wait)
{
    const struct gc_options o = {.walk = gc_walk_tree, .wait = wait};
    struct store *st = open_store();
    struct gc_result r = {0};
    struct err e;

    if (gc_run(st, &o, &r, &e) != 0 && e.code != ERR_BUSY) {
        wrong("%s", e.msg);
    }
    atomic_fetch_add(&me.g->n_freed, (long long)r.n_deleted);
    store_close(st);
}

/* The worst that can come between: its data is given up, and collected twice. */
static void
pull_away(struct slot *from)
{
    int nobody = 0;
    struct store *st;
    struct err e;

    if (!atomic_compare_exchange_strong(&from->owner, &nobody, (int)getpid())) {
        return;
    }
    st = open_store();
    if (look(st, from)) {
        atomic_store(&from->what, W_MAY_GO);
        if (snap_drop(st, from->id, "removed", &e) != 0) {
            wrong("%s: cannot drop: %s", from->id, e.msg);
        }
    }
    store_close(st);
    give_slot(from);
    one_gc(true);
    one_gc(true);
}

/* A new snapshot from one that was read: nothing is put or asked for. */
static void
op_copy(struct slot *to)
{
    struct slot *from = &me.g->slots[below(SLOTS)];
    char id[MANIFEST_ID_MAX + 1];
    struct store *st;
    struct manifest *m = NULL;
    struct snap_claim c;
    struct err e;

    memcpy(id, from->id, sizeof id); /* not locked: may be torn, or gone meanwhile */
    id[MANIFEST_ID_MAX] = '\0';
    if (from == to || !manifest_id_valid(id)) {
        return;
    }
    st = open_store();
    if (manifest_read(st, id, &m, &e) == 0 && snap_claim_get(st, id, &c, &e) == 0 &&
        c.data == SNAP_DATA_KEPT && new_id(st, to)) {
        to->tree = m->tree;
        to->n = 0;
        switch (below(3)) {
        case 0:
            pull_away(from);
            break;
        case 1:
            (void)usleep((useconds_t)below(30000)); /* others may do that */
            break;
        default:
            break;
        }
        atomic_store(&to->what, W_MAKING);
        write_manifest(st, to);
        atomic_store(&to->what, W_KEPT);
    }
    manifest_free(m);
    store_close(st);
}

static void
op_verify(struct slot *s)
{
    struct store *st = open_store();

    (void)look(st, s);
    store_close(st);
}

static void
op_drop(struct slot *s)
{
    struct store *st = open_store();
    struct err e;

    if (look(st, s)) {
        atomic_store(&s->what, W_MAY_GO);
        if (snap_drop(st, s->id, "removed", &e) != 0) {
            wrong("%s: cannot drop: %s", s->id, e.msg);
        }
    }
    store_close(st);
}

static void
op_keep(struct slot *s)
{
    struct store *st = open_store();
    int64_t until = some_expiry();
    struct err e;

    if (look(st, s)) {
        int64_t was = s->expires_ns;

        if (was == 0 || (until != 0 && until < was)) {
            s->expires_ns = until; /* from now on it may count */
        }
        if (snap_keep(st, s->id, until, &e) == 0) {
            s->expires_ns = until;
        } else if (e.code != ERR_NOT_FOUND || !may_have_expired(s)) {
            wrong("%s: cannot keep: %s", s->id, e.msg);
        }
    }
    store_close(st);
}

static void
op_regain(struct slot *s)
{
    struct store *st = open_store();
    struct sha256 tree;
    struct err e;

    if (!look(st, s) && atomic_load(&s->what) == W_MAY_GO && s->n > 0) {
        int64_t until = some_expiry();

        if (put_tree(st, s->first, s->n, &tree, &e) != 0 || store_commit(st, &e) != 0) {
            wrong("cannot put again: %s", e.msg);
        }
        if (!sha256_equal(&tree, &s->tree)) {
            wrong("%s: the same again is another tree", s->id);
        }
        s->expires_ns = until;
        atomic_store(&s->what, W_COMING);
        if (snap_regain(st, s->id, until, &e) != 0) {
            wrong("%s: cannot regain: %s", s->id, e.msg);
        }
        atomic_store(&s->what, W_KEPT);
    }
    store_close(st);
}

static void
op_expire(void)
{
    struct store *st = open_store();
    int jumps = atomic_load(&me.g->jumps);
    int64_t boot_ns;
    struct snap_expiry x;
    struct err e;

    if (snap_expire(st, &x, NULL, NULL, &e) != 0) {
        wrong("%s", e.msg);
    }
    boot_ns = clock_boot_ns(); /* at least as late as it looked */
    if (x.n_expired > 0 && jumps > 0 && jumps == atomic_load(&me.g->jumps) &&
        boot_ns - atomic_load(&me.g->jump_boot) < SNAP_CLOCK_STEADY_S * S - TICK_NS) {
        wrong("%zu expired %" PRId64 " s after the clock had jumped", x.n_expired,
              (boot_ns - (int64_t)atomic_load(&me.g->jump_boot)) / S);
    }
    atomic_fetch_add(&me.g->n_expired, (long long)x.n_expired);
    atomic_fetch_add(&me.g->n_doubts, x.clock_doubt.msg[0] != '\0');
    store_close(st);
}

static void
op_gc(void)
{
    one_gc(rnd() % 2 == 0);
}

static void
fsck_says(void *arg, const struct err *line)
{
    (void)arg;
    (void)fprintf(stderr, "model_store: fsck: %s\n", line->msg);
}

void
op_fsck(bool loud)
{
    const struct fsck_options o = {
        .walk = gc_walk_tree, .files = fsck_files_tree, .say = loud ? fsck_says : NULL};
    struct fsck_result r = {0};
    struct err e;

    if (fsck_run(me.dir, &o, &r, &e) != 0) {
        if (e.code != ERR_BUSY || loud) {
            wrong("%s", e.msg);
        }
    } else if (r.n_bad_chunks > 0 || r.n_snaps_damaged > 0 || r.n_manifests_lost > 0) {
        wrong("%" PRIu64 " bad chunks, %" PRIu64 " damaged snapshots, %" PRIu64
              " manifests lost",
              r.n_bad_chunks, r.n_snaps_damaged, r.n_manifests_lost);
    }
}

static void
op_list(void)
{
    struct store *st = open_store();
    struct snap_list l = {NULL, 0};
    struct err e;

    if (snap_list(st, &l, &e) != 0) {
        wrong("%s", e.msg);
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].m == NULL) {
            wrong("%s: %s", l.v[i].id, l.v[i].error);
        }
    }
    snap_list_free(&l);
    store_close(st);
}

void
one_op(void)
{
    int all = 0;
    int at;
    int op = 0;
    struct slot *s = NULL;

    for (int i = 0; i < OPS; i++) {
        all += op_weights[i];
    }
    at = (int)below((uint32_t)all);
    while (at >= op_weights[op]) {
        at -= op_weights[op++];
    }
    me.doing = op_names[op];
    if (op < OP_EXPIRE && (s = take_slot()) == NULL) {
        return;
    }
    switch ((enum op)op) {
    case OP_MAKE:
        op_make(s);
        break;
    case OP_COPY:
        op_copy(s);
        break;
    case OP_VERIFY:
        op_verify(s);
        break;
    case OP_DROP:
        op_drop(s);
        break;
    case OP_KEEP:
        op_keep(s);
        break;
    case OP_REGAIN:
        op_regain(s);
        break;
    case OP_EXPIRE:
        op_expire();
        break;
    case OP_GC:
        op_gc();
        break;
    case OP_FSCK:
        op_fsck(false);
        break;
    case OP_LIST:
        op_list();
        break;
    case OPS:
        break;
    }
    if (s != NULL) {
        give_slot(s);
    }
    atomic_fetch_add(&me.g->n_ops[op], 1);
}
