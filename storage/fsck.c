#include "storage/fsck.h"

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
#include "storage/fsck_internal.h"
#include "storage/pack.h"
#include "storage/rebuild.h"
#include "storage/snap_internal.h"

#define ROWS_BATCH ((size_t)8192)

void
fsck_tell(const struct fsck *f, const struct err *line)
{
    if (f->o->say != NULL) {
        f->o->say(f->o->arg, line);
    }
}

void
fsck_say(const struct fsck *f, const char *fmt, ...)
{
    struct err line;
    va_list ap;

    if (f->o->say == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)err_vset(&line, ERR_NONE, fmt, ap);
    va_end(ap);
    f->o->say(f->o->arg, &line);
}

void
fsck_care(const struct fsck *f, enum care_step step, uint64_t done, uint64_t all)
{
    if (f->o->progress != NULL) {
        f->o->progress(f->o->arg, step, done, all);
    }
}

bool
fsck_clean(const struct fsck_result *r)
{
    return r->n_bad_chunks == 0 && r->n_snaps_damaged == 0 && r->n_manifests_lost == 0 &&
           (r->n_index_errors == 0 || r->index_rebuilt);
}

/* ---- the index ---- */

/*
 * Our statements are right: if SQLite takes offence at one, the schema is not ours. What
 * the disk does not give back of the index is in the packs.
 */
static bool
is_index_damage(const struct err *e)
{
    return pack_is_damage(e) || (e->code == ERR_SYSTEM && e->sys_errno == 0);
}

static int
cmp_pack_no(const void *key, const void *p)
{
    uint32_t no = *(const uint32_t *)key;
    uint32_t of = ((const struct fsck_pack *)p)->row.no;

    return (no > of) - (no < of);
}

/* Numbers of packs that rows name and that were not there when packs were looked at. */
struct later_packs {
    uint32_t *v;
    size_t n;
};

/* A row names a pack: one that was looked at, maybe one made since, or none. */
static void
count_row(struct fsck *f, const struct index_row *r, struct later_packs *later)
{
    uint32_t last = f->n_packs == 0 ? 0 : f->packs[f->n_packs - 1].row.no;
    struct fsck_pack *p = f->n_packs == 0 ? NULL
                                          : bsearch(&r->pack, f->packs, f->n_packs,
                                                    sizeof *f->packs, cmp_pack_no);

    if (p != NULL) {
        p->n_in_index++;
        return;
    }
    if (r->pack <= last) {
        f->r->n_index_errors++;
        return;
    }
    for (size_t i = 0; i < later->n; i++) {
        if (later->v[i] == r->pack) {
            return;
        }
    }
    later->v = xrealloc(later->v, (later->n + 1) * sizeof *later->v);
    later->v[later->n++] = r->pack;
}

/* Packs are known with their rows or not at all, and none goes while fsck looks. */
static int
check_later(struct fsck *f, const struct later_packs *later, struct err *e)
{
    struct index_pack_row *packs = NULL;
    size_t n_packs = 0;

    if (later->n == 0) {
        return 0;
    }
    if (index_packs(f->s->ix, &packs, &n_packs, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < later->n; i++) {
        bool there = false;

        for (size_t k = 0; k < n_packs && !there; k++) {
            there = packs[k].no == later->v[i];
        }
        if (!there) {
            fsck_say(f, "the index names a pack that it does not know");
            f->r->n_index_errors++;
        }
    }
    free(packs);
    return 0;
}

static int
count_rows(struct fsck *f, struct err *e)
{
    struct index_row *rows = xmalloc(ROWS_BATCH * sizeof *rows);
    struct later_packs later = {NULL, 0};
    struct sha256 after = {{0}};
    size_t n = ROWS_BATCH;
    int rc = 0;

    while (n == ROWS_BATCH && rc == 0) {
        rc = index_rows_after(f->s->ix, &after, ROWS_BATCH, rows, &n, e);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            count_row(f, &rows[i], &later);
            after = rows[i].id;
        }
    }
    if (rc == 0) {
        rc = check_later(f, &later, e);
    }
    free(later.v);
    free(rows);
    return rc;
}

int
fsck_index(struct fsck *f, struct err *e)
{
    bool sound = false;

    fsck_care(f, CARE_INDEX, 0, 0);
    if (index_check_file(f->s->ix, &sound, e) == -1) {
        return -1;
    }
    if (!sound) {
        fsck_say(f, "the index file is damaged");
        f->r->n_index_errors++;
        return 0;
    }
    if (count_rows(f, e) == -1) {
        if (!is_index_damage(e)) {
            return -1;
        }
        f->r->n_index_errors++;
        return 0;
    }
    for (size_t i = 0; i < f->n_packs; i++) {
        const struct fsck_pack *p = &f->packs[i];

        if (!p->mended && p->n_in_index != p->n_rows) {
            fsck_say(f,
                     "the index has %" PRIu64 " chunks in a pack where %" PRIu64
                     " are as it says",
                     p->n_in_index, p->n_rows);
            f->r->n_index_errors++;
        }
    }
    return 0;
}

/* ---- one run ---- */

/*
 * Open the store; an index that cannot even be opened is made anew first. A directory
 * that is no store is one that another is making, or died making, or whose format file is
 * lost: as whoever opens it we wait, or make what is missing.
 */
static int
open_store(const char *dir, const struct fsck_options *o, struct fsck_result *r,
           struct store **s, struct err *e)
{
    const struct store_options must = {.must_exist = true};
    const struct store_options first = {.must_exist = o->check_only || !file_exists(dir)};
    struct err none;

    if (store_open(s, dir, &first, e) == 0) {
        return 0;
    }
    /* A strange version, too, may be one flipped bit; the format file decides. */
    if ((!is_index_damage(e) && e->code != ERR_VERSION) || o->check_only ||
        store_check_format(dir, &none) == -1) {
        return -1;
    }
    r->n_index_errors++;
    if (store_rebuild(dir, NULL, e) == -1) {
        return -1;
    }
    r->index_rebuilt = true;
    return store_open(s, dir, &must, e);
}

/* Make the index anew if need be and nobody else is there. The store is reopened. */
static int
mend_index(struct fsck *f, const char *dir, struct err *e)
{
    const struct store_options must = {.must_exist = true};
    int rc;

    if (f->r->n_index_errors == 0 || f->r->index_rebuilt || f->o->check_only) {
        return 0;
    }
    store_close(f->s);
    f->s = NULL;
    rc = store_rebuild(dir, NULL, e);
    if (rc == 0) {
        f->r->index_rebuilt = true;
        fsck_say(f, "the index was made anew from the packs");
    } else if (e->code == ERR_BUSY) {
        fsck_say(f, "the index is to be made anew, but the store is in use");
    } else {
        return -1;
    }
    return store_open(&f->s, dir, &must, e);
}

/* Packs and index; a damaged index may end it early: *done false. */
static int
check_store(struct fsck *f, bool *done, struct err *e)
{
    struct err line;

    if (fsck_packs(f, e) == 0 && fsck_index(f, e) == 0 && fsck_orphans(f, e) == 0) {
        *done = true;
        return 0;
    }
    if (!is_index_damage(e)) { /* what is wrong with packs is not told that way */
        return -1;
    }
    line = *e;
    err_wrap(&line, "the index is damaged");
    fsck_tell(f, &line);
    f->r->n_index_errors++;
    *done = false;
    return 0;
}

static int
check(struct fsck *f, const char *dir, struct err *e)
{
    bool done;

    if (check_store(f, &done, e) == -1 || mend_index(f, dir, e) == -1) {
        return -1;
    }
    if (!done) {
        if (!f->r->index_rebuilt) {
            return err_set(e, ERR_CORRUPT,
                           "the index is damaged, and cannot be made anew "
                           "while the store is in use");
        }
        *f->r = (struct fsck_result){.n_bad_packs = f->r->n_bad_packs,
                                     .n_bad_chunks = f->r->n_bad_chunks,
                                     .n_healed = f->r->n_healed,
                                     .index_rebuilt = true};
        if (check_store(f, &done, e) == -1) {
            return -1;
        }
        if (!done) {
            return err_set(e, ERR_CORRUPT,
                           "the index was made anew, and is damaged again");
        }
        f->r->n_index_errors++;
    }
    return fsck_snaps(f, e);
}

int
fsck_run(const char *dir, const struct fsck_options *o, struct fsck_result *out,
         struct err *e)
{
    struct fsck_result r = {0};
    struct fsck f = {.o = o, .r = &r};
    int lock_fd = -1;
    int rc = -1;

    if (open_store(dir, o, &r, &f.s, e) == -1) {
        return err_wrap(e, "fsck");
    }
    lock_fd = openat(f.s->dir_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (lock_fd == -1) {
        err_set_sys(e, errno, "cannot open '%s/lock'", dir);
        goto out;
    }
    if (store_lock(lock_fd, STORE_LOCK_GC, true, true, e) == -1) {
        goto out;
    }
    rc = check(&f, dir, e);
    if (rc == 0) {
        *out = r;
    }

out:
    store_close(f.s);
    (void)fd_close(&lock_fd);
    free(f.packs);
    return rc == -1 ? err_wrap(e, "fsck") : 0;
}
