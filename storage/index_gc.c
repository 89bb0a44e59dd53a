#include "storage/index_gc.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/db.h"
#include "storage/index_internal.h"

/* End what index_begin began: commit if all went well (rc 0), else undo. */
static int
end(struct index *ix, int rc, struct err *e)
{
    if (rc == 0) {
        rc = index_run(ix, SQL_COMMIT, e);
    }
    if (rc == -1) {
        index_rollback(ix);
        err_wrap(e, "the store's index");
    }
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

static int
begin(struct index *ix, enum index_sql how, struct err *e)
{
    (void)pthread_mutex_lock(&ix->mu);
    if (index_run(ix, how, e) == -1) {
        index_rollback(ix);
        (void)pthread_mutex_unlock(&ix->mu);
        return err_wrap(e, "the store's index");
    }
    return 0;
}

int
index_rows_after(struct index *ix, const struct sha256 *after, size_t max,
                 struct index_row *out, size_t *n, struct err *e)
{
    sqlite3_stmt *s;
    bool row = true;
    int rc = -1;

    if (begin(ix, SQL_BEGIN, e) == -1) {
        return -1;
    }
    *n = 0;
    if (index_sql(ix, SQL_GC_ROWS, &s, e) == -1) {
        goto out;
    }
    index_bind_id(s, 1, after);
    (void)sqlite3_bind_int64(s, 2, (int64_t)max);
    while (row && *n < max) {
        struct index_row *r = &out[*n];

        if (db_step(ix->db, s, &row, e) == -1) {
            goto out;
        }
        if (!row) {
            break;
        }
        if (sqlite3_column_bytes(s, 0) != SHA256_LEN) {
            err_set(e, ERR_CORRUPT, "a row without a proper id");
            goto out;
        }
        memcpy(r->id.b, sqlite3_column_blob(s, 0), SHA256_LEN);
        r->pack = index_column_u32(s, 1);
        r->stored_len = index_column_u32(s, 2);
        r->doomed_gen = index_column_count(s, 3);
        ++*n;
    }
    (void)sqlite3_reset(s);
    rc = 0;

out:
    return end(ix, rc, e);
}

static int
get_row(struct index *ix, const struct sha256 *id, struct store_loc *loc, uint64_t *gen,
        struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_GC_ROW, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, id);
    if (db_step(ix->db, s, &row, e) == -1) {
        return -1;
    }
    memset(loc, 0, sizeof *loc);
    *gen = 0;
    if (row) {
        loc->pack = index_column_u32(s, 0);
        loc->offset = index_column_u32(s, 1);
        loc->stored_len = index_column_u32(s, 2);
        loc->raw_len = index_column_u32(s, 3);
        loc->codec = (uint8_t)index_column_u32(s, 4);
        *gen = index_column_count(s, 5);
    }
    (void)sqlite3_reset(s);
    return 0;
}

int
index_row(struct index *ix, const struct sha256 *id, struct store_loc *loc, uint64_t *gen,
          struct err *e)
{
    int rc;

    (void)pthread_mutex_lock(&ix->mu);
    rc = get_row(ix, id, loc, gen, e);
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

int
index_look(struct index *ix, struct index_look *v, size_t n, struct err *e)
{
    int rc = 0;

    if (begin(ix, SQL_BEGIN, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = get_row(ix, &v[i].id, &v[i].loc, &v[i].doomed_gen, e);
    }
    return end(ix, rc, e);
}

int
index_packs(struct index *ix, struct index_pack_row **out, size_t *n, struct err *e)
{
    struct index_pack_row *v = NULL;
    size_t used = 0;
    size_t cap = 0;
    sqlite3_stmt *s;
    bool row = true;
    int rc = -1;

    if (begin(ix, SQL_BEGIN, e) == -1) {
        return -1;
    }
    if (index_sql(ix, SQL_GC_PACKS, &s, e) == -1) {
        goto out;
    }
    while (row) {
        if (db_step(ix->db, s, &row, e) == -1) {
            goto out;
        }
        if (!row) {
            break;
        }
        if (used == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            v = xrealloc(v, cap * sizeof *v);
        }
        if (sqlite3_column_bytes(s, 1) != PACK_NAME_LEN) {
            err_set(e, ERR_CORRUPT, "a pack without a proper name");
            goto out;
        }
        v[used].no = index_column_u32(s, 0);
        memcpy(v[used].name.b, sqlite3_column_blob(s, 1), PACK_NAME_LEN);
        v[used].bytes = index_column_count(s, 2);
        v[used].sums = (struct pack_sums){
            index_column_count(s, 3), index_column_count(s, 4), index_column_count(s, 5)};
        used++;
    }
    rc = 0;

out:
    rc = end(ix, rc, e);
    if (rc == -1) {
        free(v);
        return -1;
    }
    *out = v;
    *n = used;
    return 0;
}

static int
pack_no(struct index *ix, enum index_sql how, const struct pack_name *name, uint32_t *no,
        struct err *e)
{
    sqlite3_stmt *s;
    bool row = false;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_sql(ix, how, &s, e) == 0) {
        (void)sqlite3_bind_blob(s, 1, name->b, PACK_NAME_LEN, SQLITE_STATIC);
        rc = db_step(ix->db, s, &row, e);
        *no = rc == 0 && row ? index_column_u32(s, 0) : 0;
        (void)sqlite3_reset(s);
    }
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

int
index_pack_no(struct index *ix, const struct pack_name *name, uint32_t *no, struct err *e)
{
    return pack_no(ix, SQL_PACK_NO, name, no, e);
}

int
index_pack_no_walk(struct index *ix, const struct pack_name *name, uint32_t *no,
                   struct err *e)
{
    return pack_no(ix, SQL_PACK_NO_WALK, name, no, e);
}

/* ---- condemning ---- */

static int
bump(struct index *ix, int64_t *gen, struct err *e)
{
    sqlite3_stmt *s;
    bool row = false;

    if (index_run(ix, SQL_GC_BUMP, e) == -1 ||
        index_sql(ix, SQL_GENERATION, &s, e) == -1 || db_step(ix->db, s, &row, e) == -1) {
        return -1;
    }
    if (!row) {
        return err_set(e, ERR_CORRUPT, "the index has no generation");
    }
    *gen = sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return 0;
}

/* A statement with an id, and a generation where it takes one, for each id. */
static int
for_each(struct index *ix, enum index_sql which, const struct sha256 *ids, size_t n,
         int64_t gen, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *s;
        bool row;

        if (index_sql(ix, which, &s, e) == -1) {
            return -1;
        }
        index_bind_id(s, 1, &ids[i]);
        if (gen != 0) {
            (void)sqlite3_bind_int64(s, 2, gen);
        }
        if (db_step(ix->db, s, &row, e) == -1) {
            return -1;
        }
    }
    return 0;
}

int
index_condemn(struct index *ix, const struct sha256 *ids, size_t n, struct err *e)
{
    int64_t gen;
    int rc = -1;

    if (begin(ix, SQL_BEGIN_WRITE, e) == -1) {
        return -1;
    }
    if (bump(ix, &gen, e) == 0) {
        rc = for_each(ix, SQL_GC_CONDEMN, ids, n, gen, e);
    }
    return end(ix, rc, e);
}

int
index_condemn_again(struct index *ix, const struct sha256 *ids, size_t n, struct err *e)
{
    sqlite3_stmt *s;
    int64_t gen;
    bool row;
    int rc = -1;

    if (begin(ix, SQL_BEGIN_WRITE, e) == -1) {
        return -1;
    }
    if (bump(ix, &gen, e) == -1) {
        goto out;
    }
    if (ids != NULL) {
        rc = for_each(ix, SQL_GC_AGAIN, ids, n, gen, e);
        goto out;
    }
    if (index_sql(ix, SQL_GC_AGAIN_ALL, &s, e) == 0) {
        (void)sqlite3_bind_int64(s, 1, gen);
        rc = db_step(ix->db, s, &row, e);
    }

out:
    return end(ix, rc, e);
}

int
index_pardon(struct index *ix, const struct sha256 *ids, size_t n, struct err *e)
{
    int rc;

    if (begin(ix, SQL_BEGIN_WRITE, e) == -1) {
        return -1;
    }
    rc = for_each(ix, SQL_PARDON, ids, n, 0, e);
    return end(ix, rc, e);
}

/* ---- snapshots that are gone ---- */

static int
gone_statement(struct index *ix, enum index_sql which, const char *snap_id, bool *row,
               struct err *e)
{
    sqlite3_stmt *s;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_sql(ix, which, &s, e) == 0) {
        (void)sqlite3_bind_text(s, 1, snap_id, -1, SQLITE_TRANSIENT);
        rc = db_step(ix->db, s, row, e);
        (void)sqlite3_reset(s);
    }
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

int
index_gone_known(struct index *ix, const char *snap_id, bool *known, struct err *e)
{
    return gone_statement(ix, SQL_GC_GONE, snap_id, known, e);
}

int
index_gone_add(struct index *ix, const char *snap_id, struct err *e)
{
    bool row;

    return gone_statement(ix, SQL_GC_ADD_GONE, snap_id, &row, e);
}

int
index_gone_forget(struct index *ix, const char *snap_id, struct err *e)
{
    bool row;

    return gone_statement(ix, SQL_GC_UNGONE, snap_id, &row, e);
}

/* ---- swapping packs ---- */

/* Is every one of dead condemned still, and in its old pack? */
static int
still_dead(struct index *ix, const struct index_swap *sw, bool *all, struct err *e)
{
    *all = true;
    for (size_t i = 0; sw->bad_why == NULL && i < sw->n_dead && *all; i++) {
        struct store_loc loc;
        uint64_t gen;

        if (get_row(ix, &sw->dead[i].id, &loc, &gen, e) == -1) {
            return -1;
        }
        *all = loc.pack == sw->dead[i].pack && gen != 0 && gen <= sw->gen;
    }
    return 0;
}

static int
delete_dead(struct index *ix, const struct index_swap *sw, struct err *e)
{
    for (size_t i = 0; i < sw->n_dead; i++) {
        sqlite3_stmt *s;
        bool row;

        if (for_each(ix, SQL_PARDON, &sw->dead[i].id, 1, 0, e) == -1 ||
            index_sql(ix, SQL_GC_DELETE, &s, e) == -1) {
            return -1;
        }
        index_bind_id(s, 1, &sw->dead[i].id);
        (void)sqlite3_bind_int64(s, 2, sw->dead[i].pack);
        if (db_step(ix->db, s, &row, e) == -1 ||
            (sw->bad_why != NULL && sqlite3_changes(ix->db) > 0 &&
             index_insert_bad(ix, &sw->dead[i].id, sw->bad_why, e) == -1)) {
            return -1;
        }
    }
    return 0;
}

static int
move_rows(struct index *ix, const struct index_swap *sw, const uint32_t *nos,
          struct err *e)
{
    for (size_t i = 0; i < sw->n_moved; i++) {
        const struct index_moved *m = &sw->moved[i];
        sqlite3_stmt *s;
        bool row;

        if (index_sql(ix, SQL_GC_MOVE, &s, e) == -1) {
            return -1;
        }
        index_bind_id(s, 1, &m->en.id);
        (void)sqlite3_bind_int64(s, 2, nos[m->to]);
        (void)sqlite3_bind_int64(s, 3, m->en.offset);
        (void)sqlite3_bind_int64(s, 4, m->from);
        if (db_step(ix->db, s, &row, e) == -1 ||
            (sw->bad_why != NULL && index_insert_row(ix, &m->en, nos[m->to], e) == -1)) {
            return -1;
        }
    }
    return 0;
}

static int
drop_packs(struct index *ix, const struct index_swap *sw, struct err *e)
{
    for (size_t i = 0; i < sw->n_old; i++) {
        sqlite3_stmt *s;
        bool row;

        if (index_sql(ix, SQL_GC_DROP_PACK, &s, e) == -1) {
            return -1;
        }
        (void)sqlite3_bind_int64(s, 1, sw->old[i]);
        if (db_step(ix->db, s, &row, e) == -1) {
            return -1;
        }
    }
    return 0;
}

static int
cmp_moved(const void *a, const void *b)
{
    return sha256_cmp(&((const struct index_moved *)a)->en.id,
                      &((const struct index_moved *)b)->en.id);
}

static int
cmp_dead(const void *a, const void *b)
{
    return sha256_cmp(&((const struct index_dead *)a)->id,
                      &((const struct index_dead *)b)->id);
}

static void
sort_rows(const struct index_swap *sw)
{
    if (sw->n_moved > 0) {
        qsort(sw->moved, sw->n_moved, sizeof *sw->moved, cmp_moved);
    }
    if (sw->n_dead > 0) {
        qsort(sw->dead, sw->n_dead, sizeof *sw->dead, cmp_dead);
    }
}

int
index_swap(struct index *ix, const struct index_swap *sw, bool *done, struct err *e)
{
    uint32_t *nos = xcalloc(sw->n_fresh, sizeof *nos);
    bool all = false;
    int rc = -1;

    sort_rows(sw);
    if (begin(ix, SQL_BEGIN_WRITE, e) == -1) {
        free(nos);
        return -1;
    }
    if (still_dead(ix, sw, &all, e) == -1) {
        goto out;
    }
    if (all) {
        for (size_t i = 0; i < sw->n_fresh; i++) {
            if (index_insert_pack(ix, &sw->fresh[i], &nos[i], e) == -1) {
                goto out;
            }
        }
        if (delete_dead(ix, sw, e) == -1 || move_rows(ix, sw, nos, e) == -1 ||
            drop_packs(ix, sw, e) == -1) {
            goto out;
        }
    }
    rc = 0;

out:
    free(nos);
    rc = end(ix, rc, e);
    if (rc == 0) {
        *done = all;
    }
    return rc;
}

/* The caller holds the lock. */
static int
ask_pragma(struct index *ix, const char *sql, bool *sound, struct err *e)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = -1;

    if (db_prepare(ix->db, sql, &s, e) == 0 && db_step(ix->db, s, &row, e) == 0) {
        const char *text = row ? (const char *)sqlite3_column_text(s, 0) : NULL;

        *sound = text != NULL && strcmp(text, "ok") == 0;
        rc = 0;
    } else if (e->code == ERR_CORRUPT) {
        *sound = false;
        rc = 0;
    }
    (void)sqlite3_finalize(s);
    return rc;
}

int
index_check_file(struct index *ix, bool *sound, struct err *e)
{
    int rc;

    (void)pthread_mutex_lock(&ix->mu);
    rc = ask_pragma(ix, "PRAGMA quick_check(1)", sound, e);
    /* Which does not compare a table with its indexes; only that of packs has one. */
    if (rc == 0 && *sound) {
        rc = ask_pragma(ix, "PRAGMA integrity_check(pack)", sound, e);
    }
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}
