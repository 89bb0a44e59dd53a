#include "storage/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/gc_internal.h"
#include "storage/reserve.h"

/* Rows of the index that are judged at a time. */
#define JUDGE_BATCH ((size_t)8192)
/* Gathered before they are condemned, each time in a transaction and a generation. */
#define CONDEMN_BATCH ((size_t)8192)

void
gc_say(struct gc *g, const char *fmt, ...)
{
    struct err line;
    va_list ap;

    if (g->o->say == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)err_vset(&line, ERR_NONE, fmt, ap);
    va_end(ap);
    g->o->say(g->o->say_arg, &line);
}

void
gc_tell(const struct gc *g, const struct err *line)
{
    if (g->o->say != NULL) {
        g->o->say(g->o->say_arg, line);
    }
}

void
gc_care(const struct gc *g, enum care_step step, uint64_t done, uint64_t all)
{
    if (g->o->progress != NULL) {
        g->o->progress(g->o->progress_arg, step, done, all);
    }
}

/* An index that names packs which are not there is not one to delete by. */
static int
check_packs(struct gc *g, struct err *e)
{
    for (size_t i = 0; i < g->n_packs; i++) {
        char file[PACK_FILE_NAME_BYTES];

        pack_file_name(&g->packs[i].row.name, file);
        if (faccessat(g->s->packs_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == -1) {
            return err_set(e, ERR_CORRUPT, "gc: pack %s is missing: see gpurun fsck",
                           file);
        }
    }
    return 0;
}

static int
load_packs(struct gc *g, struct err *e)
{
    struct index_pack_row *rows;

    if (index_packs(g->s->ix, &rows, &g->n_packs, e) == -1) {
        return -1;
    }
    g->packs = xcalloc(g->n_packs, sizeof *g->packs);
    for (size_t i = 0; i < g->n_packs; i++) {
        g->packs[i].row = rows[i];
    }
    free(rows);
    return check_packs(g, e);
}

static int
cmp_pack_no(const void *key, const void *p)
{
    uint32_t no = *(const uint32_t *)key;
    uint32_t of = ((const struct pack_use *)p)->row.no;

    return (no > of) - (no < of);
}

/* It may go: to be found when the packs are chosen. */
static void
count_dead(struct gc *g, const struct index_row *r)
{
    struct pack_use *p = g->n_packs == 0 ? NULL
                                         : bsearch(&r->pack, g->packs, g->n_packs,
                                                   sizeof *g->packs, cmp_pack_no);

    if (p != NULL) {
        p->n_dead++;
        p->dead_bytes += PACK_ENTRY_LEN + (uint64_t)r->stored_len;
    }
}

struct verdicts {
    struct sha256 *condemn;
    size_t n_condemn;
    uint64_t condemn_bytes;
    struct sha256 *pardon;
    size_t n_pardon;
};

static void
judge_row(struct gc *g, const struct index_row *r, bool live, struct verdicts *v)
{
    if (live) {
        g->r->n_live++;
        g->r->live_bytes += r->stored_len;
        if (r->doomed_gen != 0) {
            v->pardon[v->n_pardon++] = r->id;
        }
    } else if (r->doomed_gen == 0) {
        v->condemn[v->n_condemn++] = r->id;
        v->condemn_bytes += r->stored_len;
        if (g->o->dry_run) {
            count_dead(g, r); /* by the second run */
        }
    } else if (r->doomed_gen <= g->gen_ok) {
        count_dead(g, r);
    } else {
        g->r->n_held++;
    }
}

/*
 * What has been gathered. Where room ran out, what there still is serves to take away
 * what was condemned.
 */
static int
condemn(struct gc *g, struct verdicts *v, struct err *e)
{
    size_t n = v->n_condemn;
    struct err why;

    v->n_condemn = 0;
    if (n == 0 || g->condemns_not) {
        return 0;
    }
    if (!g->o->dry_run && index_condemn(g->s->ix, v->condemn, n, &why) == -1) {
        g->condemns_not = gc_does_without(g, &why);
        *e = why;
        return g->condemns_not ? 0 : -1;
    }
    g->r->n_condemned += n;
    g->r->condemned_bytes += v->condemn_bytes;
    v->condemn_bytes = 0;
    return 0;
}

static int
judge_batch(struct gc *g, const struct index_row *rows, size_t n, size_t *live_at,
            struct verdicts *v, struct err *e)
{
    v->n_pardon = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = live_key(&rows[i].id);

        while (*live_at < g->live.n && g->live.v[*live_at] < key) {
            ++*live_at;
        }
        judge_row(g, &rows[i], *live_at < g->live.n && g->live.v[*live_at] == key, v);
    }
    if (v->n_condemn >= CONDEMN_BATCH && condemn(g, v, e) == -1) {
        return -1;
    }
    if (!g->o->dry_run && v->n_pardon != 0 &&
        index_pardon(g->s->ix, v->pardon, v->n_pardon, e) == -1) {
        return -1;
    }
    g->r->n_pardoned += v->n_pardon;
    return 0;
}

int
gc_judge(struct gc *g, struct err *e)
{
    struct index_row *rows = xmalloc(JUDGE_BATCH * sizeof *rows);
    struct verdicts v = {.condemn =
                             xmalloc((CONDEMN_BATCH + JUDGE_BATCH) * sizeof *v.condemn),
                         .pardon = xmalloc(JUDGE_BATCH * sizeof *v.pardon)};
    struct sha256 after = {{0}};
    size_t live_at = 0;
    size_t n = JUDGE_BATCH;
    int rc = -1;

    gc_care(g, CARE_INDEX, 0, 0);
    while (n == JUDGE_BATCH) {
        if (index_rows_after(g->s->ix, &after, JUDGE_BATCH, rows, &n, e) == -1 ||
            judge_batch(g, rows, n, &live_at, &v, e) == -1) {
            goto out;
        }
        after = n > 0 ? rows[n - 1].id : after;
    }
    rc = condemn(g, &v, e);

out:
    free(rows);
    free(v.condemn);
    free(v.pardon);
    return rc;
}

static void
say_result(struct gc *g)
{
    const struct gc_result *r = g->r;

    gc_say(g, "%" PRIu64 " chunks (%" PRIu64 " bytes) are claimed; snapshots: %" PRIu64,
           r->n_live, r->live_bytes, r->n_manifests);
    if (r->n_condemned > 0 && g->o->dry_run) {
        gc_say(g, "%" PRIu64 " chunks (%" PRIu64 " bytes) are claimed by none",
               r->n_condemned, r->condemned_bytes);
    } else if (r->n_condemned > 0) {
        gc_say(g,
               "%" PRIu64 " chunks (%" PRIu64
               " bytes) are claimed by none: condemned, to "
               "be deleted by a later gc",
               r->n_condemned, r->condemned_bytes);
    } else {
        gc_say(g, "0 chunks (0 bytes) are claimed by none");
    }
    if (r->n_pardoned != 0) {
        gc_say(g, "%" PRIu64 " condemned chunks are claimed again", r->n_pardoned);
    }
    if (r->n_held != 0) {
        gc_say(g, "%" PRIu64 " condemned chunks wait for sessions that are open",
               r->n_held);
    }
    if (g->o->dry_run) {
        gc_say(g, "%" PRIu64 " chunks (%" PRIu64 " bytes) would be deleted", r->n_deleted,
               r->deleted_bytes);
    } else {
        gc_say(g, "%" PRIu64 " chunks (%" PRIu64 " bytes) deleted", r->n_deleted,
               r->deleted_bytes);
    }
    if (r->n_no_room != 0) {
        gc_say(g,
               "packs that stay, as the disk has no room to write anew what is kept: "
               "%" PRIu64,
               r->n_no_room);
    }
}

/* ---- room on the disk ---- */

bool
gc_does_without(struct gc *g, const struct err *why)
{
    if (!g->tight || !reserve_may_help(why)) {
        return false;
    }
    g->short_of = *why;
    return true;
}

/*
 * A disk may be full without looking so: by a quota, or because others filled it
 * meanwhile. A third of the reserve lets gc condemn; the rest is there for taking packs
 * away alone. Is it worth another try?
 */
static bool
make_room(struct gc *g)
{
    if (g->last_try || g->o->dry_run) {
        return false;
    }
    g->tight = true;
    g->last_try = !reserve_release(g->s->dir_fd, &g->reserve_fd);
    return true;
}

typedef int gc_step(struct gc *g, struct err *e);

static int
with_room(struct gc *g, gc_step *step, struct err *e)
{
    struct err why;

    while (step(g, &why) == -1) {
        if (!reserve_may_help(&why) || !make_room(g)) {
            *e = why;
            return -1;
        }
    }
    return 0;
}

static int
mark(struct gc *g, struct err *e)
{
    live_free(&g->live);
    g->r->n_manifests = 0;
    return gc_mark(g, e);
}

static int
judge_and_sweep(struct gc *g, struct err *e)
{
    free(g->packs);
    g->packs = NULL;
    g->n_packs = 0;
    g->r->n_live = g->r->live_bytes = g->r->n_held = g->r->n_no_room = 0;
    if (load_packs(g, e) == -1 || gc_judge(g, e) == -1 || gc_sweep(g, e) == -1) {
        return -1;
    }
    if (g->short_of.code != ERR_NONE && g->r->n_condemned == 0 &&
        g->r->n_packs_removed == 0) {
        *e = g->short_of;
        return -1;
    }
    return 0;
}

static int
run(struct gc *g, struct err *e)
{
    if (with_room(g, mark, e) == -1 || gc_sweep_left(g, e) == -1 ||
        gc_sweep_orphans(g, e) == -1 || with_room(g, judge_and_sweep, e) == -1) {
        return -1;
    }
    say_result(g);
    return 0;
}

int
gc_run(struct store *s, const struct gc_options *o, struct gc_result *out, struct err *e)
{
    struct gc_result r = {0};
    struct gc g = {.s = s, .o = o, .r = &r, .lock_fd = -1, .reserve_fd = -1};
    int rc = -1;

    g.lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (g.lock_fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s/lock'", s->dir);
    }
    if (store_lock(g.lock_fd, STORE_LOCK_GC, true, o->wait, e) == -1) {
        goto out;
    }
    rc = run(&g, e);
    (void)fd_close(&g.reserve_fd);
    if (!o->dry_run) {
        reserve_hold(s->dir_fd);
    }
    if (rc == 0) {
        *out = r;
    }

out:
    (void)fd_close(&g.lock_fd);
    live_free(&g.live);
    free(g.packs);
    return rc;
}
