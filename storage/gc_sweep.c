#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/gc_internal.h"
#include "storage/packs.h"
#include "storage/reserve.h"

/* A pack is rewritten when a quarter of it may go ... */
#define REWRITE_PART 4
/* ... or when there are so many small ones that joining them is worth it. */
#define SMALL_BYTES ((uint64_t)8 << 20)
#define SMALL_MANY  16
/* Rows that are looked up in one. */
#define LOOK_BATCH ((size_t)8192)
/* Old packs that are replaced in one transaction. */
#define GROUP_PACKS 64

/* Is a chunk where the index has it? A damaged row must not cost its only copy. */
static bool
is_read(const struct gc *g, const struct sha256 *id)
{
    struct buf bytes = BUF_INIT;
    struct err why;
    bool read = store_get(g->s, id, &bytes, &why) == 0;

    buf_free(&bytes);
    return read;
}

/* A pack stays as it is: what lies in it is for fsck to say. */
static void
say_spoilt(struct gc *g, const struct pack_name *name)
{
    char file[PACK_FILE_NAME_BYTES];

    pack_file_name(name, file);
    gc_say(g,
           "pack %s is left alone, as a chunk in it is not where the index has it: see "
           "gpurun fsck",
           file);
    g->r->n_unreadable++;
}

/* ---- packs nobody knows ---- */

enum orphan { ORPHAN_RUBBISH, ORPHAN_NEEDED, ORPHAN_SPOILS, ORPHAN_UNREADABLE };

/* What the index says of a claimed chunk that lies in a pack which it does not know. */
static int
judge_live(struct gc *g, const struct sha256 *id, enum orphan *what, struct err *e)
{
    struct pack_name name;
    struct store_loc loc;
    uint64_t gen;
    bool known = false;

    if (index_row(g->s->ix, id, &loc, &gen, e) == -1 ||
        (loc.pack != 0 && index_pack_name(g->s->ix, loc.pack, &name, &known, e) == -1)) {
        return -1;
    }
    *what = !known ? ORPHAN_NEEDED : is_read(g, id) ? ORPHAN_RUBBISH : ORPHAN_SPOILS;
    return 0;
}

/*
 * Does a claimed chunk lie in the pack alone? A dead writer's pack holds none; if one
 * does, the index has forgotten the pack, or has the chunk where it is not, and the pack
 * must not go; nor where a part of it cannot be read (*why): who knows what lies there.
 */
static int
judge_orphan(struct gc *g, int fd, enum orphan *what, struct err *why, struct err *e)
{
    struct pack_list list = {0};
    bool whole;
    int rc = 0;

    *what = ORPHAN_RUBBISH;
    if (pack_read_table(fd, &list, why) == -1) {
        if (pack_check_readable(fd, why) == -1) {
            *what = ORPHAN_UNREADABLE;
            *e = *why;
            return pack_is_damage(why) ? 0 : -1;
        }
        rc = pack_scan(fd, &list, &whole, e);
    }
    for (size_t i = 0; rc == 0 && *what == ORPHAN_RUBBISH && i < list.n; i++) {
        if (live_has(&g->live, &list.v[i].id)) {
            rc = judge_live(g, &list.v[i].id, what, e);
        }
    }
    pack_list_free(&list);
    return rc;
}

static int
forgotten(const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];

    pack_file_name(name, file);
    return err_set(e, ERR_CORRUPT, "the index has forgotten pack %s: see gpurun fsck",
                   file);
}

static int
take_orphan(struct gc *g, int fd, const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];
    enum orphan what;
    struct err why;

    pack_file_name(name, file);
    if (judge_orphan(g, fd, &what, &why, e) == -1) {
        return err_wrap(e, "pack %s, which the index does not know", file);
    }
    switch (what) {
    case ORPHAN_NEEDED:
        return forgotten(name, e);
    case ORPHAN_SPOILS:
        say_spoilt(g, name);
        return 0;
    case ORPHAN_UNREADABLE:
        err_wrap(&why, "pack %s, which the index does not know, is left alone", file);
        gc_tell(g, &why);
        g->r->n_unreadable++;
        return 0;
    case ORPHAN_RUBBISH:
        break;
    }
    gc_say(g, "pack %s was left by a writer that died", file);
    g->r->n_orphans++;
    if (!g->o->dry_run && unlinkat(g->s->packs_fd, file, 0) == -1 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove '%s'", file);
    }
    return 0;
}

/*
 * Neither by its name nor in any row: one damaged bit in the tree of names, and a pack
 * that is needed would be taken for nobody's.
 */
static int
is_unknown(struct gc *g, const struct pack_name *name, bool *unknown, struct err *e)
{
    uint32_t no = 0;

    *unknown = false;
    if (index_pack_no(g->s->ix, name, &no, e) == -1) {
        return -1;
    }
    if (no != 0) {
        return 0;
    }
    if (index_pack_no_walk(g->s->ix, name, &no, e) == -1) {
        return -1;
    }
    *unknown = no == 0;
    return no == 0 ? 0 : forgotten(name, e);
}

static int
remove_orphan(struct gc *g, const struct pack_name *name, struct err *e)
{
    bool unknown;
    int fd = -1;
    int rc;

    if (packs_lock(g->s->packs_fd, name, &fd, e) == -1) {
        return -1;
    }
    if (fd == -1) {
        return 0; /* its writer lives */
    }
    /* The lock is given up only after the index knows the pack: ask once more. */
    rc = is_unknown(g, name, &unknown, e);
    if (rc == 0 && unknown) {
        rc = take_orphan(g, fd, name, e);
    }
    (void)fd_close(&fd);
    return rc;
}

int
gc_sweep_orphans(struct gc *g, struct err *e)
{
    struct packs_names names;
    int rc = -1;

    if (packs_list(g->s->packs_fd, &names, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < names.n; i++) {
        uint32_t no;

        if (index_pack_no(g->s->ix, &names.v[i], &no, e) == -1 ||
            (no == 0 && remove_orphan(g, &names.v[i], e) == -1)) {
            goto out;
        }
    }
    rc = 0;

out:
    free(names.v);
    return rc;
}

/* ---- rewriting ---- */

struct group {
    struct pack_use *old[GROUP_PACKS];
    size_t n_old;
    struct pack_writer *w; /* NULL until something is to be kept */
    struct index_moved *moved;
    size_t n_moved;
    struct index_dead *dead;
    size_t n_dead;
    uint64_t dead_bytes;
};

static void
group_reset(struct gc *g, struct group *gr, bool discard)
{
    pack_writer_free(gr->w, g->s->packs_fd, discard);
    free(gr->moved);
    free(gr->dead);
    memset(gr, 0, sizeof *gr);
}

/* What becomes of one entry of a pack that is to go. */
enum fate { FATE_KEEP, FATE_DEAD, FATE_STALE, FATE_SPOILS };

static enum fate
fate_of(const struct gc *g, const struct pack_use *p, const struct index_look *row)
{
    bool live = live_has(&g->live, &row->id);

    if (row->loc.pack == p->row.no) {
        return row->doomed_gen != 0 && row->doomed_gen <= g->gen_ok && !live ? FATE_DEAD
                                                                             : FATE_KEEP;
    }
    /* The index has lost it, or it was set aside: fsck's. Else another copy counts. */
    return live && (row->loc.pack == 0 || !is_read(g, &row->id)) ? FATE_SPOILS
                                                                 : FATE_STALE;
}

/* *unreadable: it is the old pack's fault that it fails. */
static int
keep_entry(struct gc *g, struct group *gr, const struct pack_use *p, int fd,
           const struct pack_entry *en, bool *unreadable, struct err *e)
{
    struct index_moved m = {.en = *en, .from = p->row.no};
    uint8_t *bytes;
    int rc = -1;

    if (gr->w == NULL && pack_create(&gr->w, g->s->packs_fd, e) == -1) {
        return -1;
    }
    bytes = xmalloc(PACK_ENTRY_LEN + (size_t)en->stored_len);
    if (pack_read_entry(fd, en, bytes, e) == -1) {
        *unreadable = pack_is_damage(e);
    } else {
        pack_reserve(gr->w, &m.en);
        rc = pack_write_entry(gr->w, &m.en, bytes + PACK_ENTRY_LEN, e);
    }
    free(bytes);
    if (rc == 0) {
        gr->moved = xgrow(gr->moved, gr->n_moved, sizeof *gr->moved);
        gr->moved[gr->n_moved++] = m;
    }
    return rc;
}

struct entry_place {
    struct sha256 id;
    size_t at; /* in the pack's list */
};

static int
cmp_places(const void *a, const void *b)
{
    return sha256_cmp(&((const struct entry_place *)a)->id,
                      &((const struct entry_place *)b)->id);
}

/* The entries that count, in order of ids, as the rows of the index are. */
static struct entry_place *
sort_entries(const struct pack_list *list, size_t *n)
{
    struct entry_place *v = xcalloc(list->n, sizeof *v);

    *n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (!list->v[i].second) {
            v[(*n)++] = (struct entry_place){list->v[i].id, i};
        }
    }
    if (*n > 0) {
        qsort(v, *n, sizeof *v, cmp_places);
    }
    return v;
}

/* The fates of all entries; *spoilt: the pack is to be left alone. */
static int
judge_pack(struct gc *g, const struct pack_use *p, const struct pack_list *list,
           uint8_t *fates, bool *spoilt, struct err *e)
{
    struct index_look *rows = xcalloc(LOOK_BATCH, sizeof *rows);
    struct entry_place *v;
    size_t n_v;
    int rc = 0;

    memset(fates, FATE_STALE, list->n);
    v = sort_entries(list, &n_v);
    for (size_t at = 0, n; at < n_v && rc == 0 && !*spoilt; at += n) {
        n = n_v - at < LOOK_BATCH ? n_v - at : LOOK_BATCH;
        for (size_t i = 0; i < n; i++) {
            rows[i].id = v[at + i].id;
        }
        rc = index_look(g->s->ix, rows, n, e);
        for (size_t i = 0; i < n && rc == 0; i++) {
            fates[v[at + i].at] = (uint8_t)fate_of(g, p, &rows[i]);
            *spoilt = *spoilt || fates[v[at + i].at] == FATE_SPOILS;
        }
    }
    free(v);
    free(rows);
    return rc;
}

static void
add_dead(struct group *gr, const struct pack_use *p, const struct pack_entry *en)
{
    gr->dead = xgrow(gr->dead, gr->n_dead, sizeof *gr->dead);
    gr->dead[gr->n_dead++] = (struct index_dead){en->id, p->row.no};
    gr->dead_bytes += en->stored_len;
}

/* Copy what is to be kept, list what goes. */
static int
copy_pack(struct gc *g, struct group *gr, const struct pack_use *p, int fd,
          const struct pack_list *list, const uint8_t *fates, bool *unreadable,
          struct err *e)
{
    for (size_t i = 0; i < list->n; i++) {
        if (fates[i] == FATE_KEEP &&
            keep_entry(g, gr, p, fd, &list->v[i], unreadable, e) == -1) {
            return -1;
        }
        if (fates[i] == FATE_DEAD) {
            add_dead(gr, p, &list->v[i]);
        }
    }
    return 0;
}

/* Make the group what it was: the pack that was being taken in stays where it is. */
static int
take_back(struct gc *g, struct group *gr, const struct group *was, struct err *e)
{
    gr->n_moved = was->n_moved;
    gr->n_dead = was->n_dead;
    gr->dead_bytes = was->dead_bytes;
    if (was->w != NULL) {
        return pack_rewind(gr->w, was->n_moved, e);
    }
    pack_writer_free(gr->w, g->s->packs_fd, true);
    gr->w = NULL;
    return 0;
}

static void
say_left(struct gc *g, const struct err *why)
{
    struct err line = *why;

    err_wrap(&line, "a pack is left alone");
    gc_tell(g, &line);
    g->r->n_unreadable++;
}

/*
 * Take a pack into the group: what is to be kept is copied. A pack that cannot be read
 * through is left alone, without an error: fsck is there for it.
 */
static int
group_add(struct gc *g, struct group *gr, struct pack_use *p, struct err *e)
{
    const struct group was = *gr;
    struct pack_list list = {0};
    struct err why;
    uint8_t *fates = NULL;
    bool spoilt = false;
    bool unreadable = false;
    int fd = -1;
    int rc = -1;

    if (pack_open(g->s->packs_fd, &p->row.name, &fd, &why) == -1 ||
        pack_read_table(fd, &list, &why) == -1) {
        say_left(g, &why);
        rc = pack_is_damage(&why) || why.code == ERR_NOT_FOUND ? 0 : -1;
        *e = why;
        goto out;
    }
    fates = xcalloc(list.n, 1);
    if (judge_pack(g, p, &list, fates, &spoilt, e) == -1) {
        goto out;
    }
    if (spoilt) {
        say_spoilt(g, &p->row.name);
        rc = 0;
        goto out;
    }
    if (copy_pack(g, gr, p, fd, &list, fates, &unreadable, &why) == -1) {
        if (unreadable) {
            say_left(g, &why);
            rc = take_back(g, gr, &was, e);
        } else {
            *e = why;
        }
        goto out;
    }
    gr->old[gr->n_old++] = p;
    rc = 0;

out:
    free(fates);
    pack_list_free(&list);
    (void)fd_close(&fd);
    return rc;
}

static int
remove_old(struct gc *g, const struct group *gr, struct err *e)
{
    for (size_t i = 0; i < gr->n_old; i++) {
        char file[PACK_FILE_NAME_BYTES];

        pack_file_name(&gr->old[i]->row.name, file);
        if (unlinkat(g->s->packs_fd, file, 0) == -1 && errno != ENOENT) {
            return err_set_sys(e, errno, "cannot remove '%s'", file);
        }
        g->r->freed_bytes += gr->old[i]->row.bytes;
    }
    return 0;
}

/*
 * A transaction that failed may have been committed. One for want of room was not, if the
 * index says so: then the new pack, which takes of what little room there is, can go.
 */
static bool
is_undone(struct gc *g, const struct group *gr, const struct err *why)
{
    struct err ignored;
    uint32_t no = 0;

    return reserve_may_help(why) &&
           index_pack_no(g->s->ix, &gr->old[0]->row.name, &no, &ignored) == 0 &&
           no == gr->old[0]->row.no;
}

static int
group_finish(struct gc *g, struct group *gr, struct err *e)
{
    uint32_t old[GROUP_PACKS];
    struct index_pack fresh = {0};
    struct index_swap sw = {.old = old,
                            .n_old = gr->n_old,
                            .fresh = &fresh,
                            .moved = gr->moved,
                            .n_moved = gr->n_moved,
                            .dead = gr->dead,
                            .n_dead = gr->n_dead,
                            .gen = g->gen_ok};
    bool done = false;

    if (gr->n_old == 0) {
        group_reset(g, gr, true);
        return 0;
    }
    for (size_t i = 0; i < gr->n_old; i++) {
        old[i] = gr->old[i]->row.no;
    }
    if (gr->w != NULL) {
        if (pack_seal(gr->w, e) == -1) {
            group_reset(g, gr, true);
            return -1;
        }
        if (fsync(g->s->packs_fd) == -1) {
            err_set_sys(e, errno, "cannot sync '%s/packs'", g->s->dir);
            group_reset(g, gr, true);
            return -1;
        }
        fresh = (struct index_pack){gr->w->name, gr->w->entries.v, gr->w->entries.n,
                                    gr->w->end};
        sw.n_fresh = 1;
    }
    if (index_swap(g->s->ix, &sw, &done, e) == -1) {
        group_reset(g, gr, is_undone(g, gr, e)); /* else a later gc will see */
        return -1;
    }
    if (!done) {
        gc_say(g, "packs that stay for now, as a chunk in them was asked for: %zu",
               gr->n_old);
        group_reset(g, gr, true);
        return 0;
    }
    g->r->n_deleted += gr->n_dead;
    g->r->deleted_bytes += gr->dead_bytes;
    g->r->n_packs_removed += gr->n_old;
    g->r->n_packs_rewritten += gr->n_moved > 0 ? 1 : 0;
    g->r->freed_bytes -= gr->w == NULL ? 0 : gr->w->end;
    if (remove_old(g, gr, e) == -1) {
        group_reset(g, gr, false);
        return -1;
    }
    group_reset(g, gr, false);
    return 0;
}

/* ---- which packs ---- */

static bool
worth_it(const struct pack_use *p, bool join_small)
{
    return p->dead_bytes >= p->row.bytes / REWRITE_PART ||
           (join_small && p->row.bytes < SMALL_BYTES);
}

/* Those with most to gain per byte copied come first: a full disk gets room at once. */
static int
cmp_gain(const void *a, const void *b)
{
    const struct pack_use *const *x = a;
    const struct pack_use *const *y = b;
    uint64_t keep_x = (*x)->row.bytes - (*x)->dead_bytes;
    uint64_t keep_y = (*y)->row.bytes - (*y)->dead_bytes;

    return keep_x != keep_y
               ? (keep_x > keep_y) - (keep_x < keep_y)
               : ((*x)->row.no > (*y)->row.no) - ((*x)->row.no < (*y)->row.no);
}

static struct pack_use **
choose(struct gc *g, size_t *n)
{
    struct pack_use **v = xcalloc(g->n_packs, sizeof *v);
    size_t n_small = 0;

    *n = 0;
    for (size_t i = 0; i < g->n_packs; i++) {
        n_small += g->packs[i].row.bytes < SMALL_BYTES ? 1 : 0;
    }
    for (size_t i = 0; i < g->n_packs; i++) {
        if (worth_it(&g->packs[i], n_small > SMALL_MANY && !g->tight)) {
            v[(*n)++] = &g->packs[i];
        }
    }
    qsort(v, *n, sizeof(struct pack_use *), cmp_gain);
    return v;
}

static void
say_choice(struct gc *g, const struct pack_use *p)
{
    char file[PACK_FILE_NAME_BYTES];

    pack_file_name(&p->row.name, file);
    gc_say(g,
           "pack %s of %" PRIu64 " bytes: %" PRIu64 " chunks of %" PRIu64 " bytes may go",
           file, p->row.bytes, p->n_dead, p->dead_bytes);
    if (g->o->dry_run) {
        g->r->n_deleted += p->n_dead;
        g->r->deleted_bytes += p->dead_bytes;
        g->r->n_packs_removed++;
        g->r->freed_bytes += p->dead_bytes;
    }
}

/* Take it in; where room is short each pack is a group of its own, and may stay. */
static int
sweep_one(struct gc *g, struct group *gr, struct pack_use *p, struct err *e)
{
    struct err why;

    if (group_add(g, gr, p, &why) == 0 &&
        ((!g->tight && gr->n_old < GROUP_PACKS && (gr->w == NULL || !pack_full(gr->w))) ||
         group_finish(g, gr, &why) == 0)) {
        return 0;
    }
    if (!g->last_try || !gc_does_without(g, &why)) {
        *e = why;
        return -1;
    }
    group_reset(g, gr, true);
    g->r->n_no_room++;
    return 0;
}

int
gc_sweep(struct gc *g, struct err *e)
{
    struct group gr = {0};
    size_t n;
    struct pack_use **v = choose(g, &n);
    uint64_t all_bytes = 0;
    uint64_t done_bytes = 0;
    int rc = -1;

    for (size_t i = 0; i < n; i++) {
        all_bytes += v[i]->row.bytes;
    }
    for (size_t i = 0; i < n; i++) {
        gc_care(g, CARE_SWEEP, done_bytes, all_bytes);
        say_choice(g, v[i]);
        if (!g->o->dry_run && sweep_one(g, &gr, v[i], e) == -1) {
            goto out;
        }
        done_bytes += v[i]->row.bytes;
    }
    rc = group_finish(g, &gr, e);

out:
    group_reset(g, &gr, true);
    free(v);
    return rc;
}
