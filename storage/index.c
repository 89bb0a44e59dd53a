#include "storage/index.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/db.h"
#include "base/file.h"
#include "storage/index_internal.h"

#define INDEX_APPLICATION_ID 0x67707278 /* "gprx" */
#define INDEX_VERSION        1

/* One walk over R rows costs about as much as looking up R / 3 of them. */
#define SCAN_PART     3
#define ROWS_PER_PAGE 65

/*
 * chunk has no rowid, so a chunk is one row in one tree, found by one descent. Its
 * columns are small integers: 54 to 63 bytes a chunk in all. Pack numbers are never
 * given twice: a location read long ago names the pack it named then, or none.
 */
static const char schema[] =
    "CREATE TABLE pack(no INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE,"
    "  bytes INTEGER NOT NULL, n INTEGER NOT NULL, raw INTEGER NOT NULL,"
    "  stored INTEGER NOT NULL);"
    "CREATE TABLE chunk(id BLOB PRIMARY KEY, pack INTEGER NOT NULL, off INTEGER NOT NULL,"
    "  stored INTEGER NOT NULL, raw INTEGER NOT NULL, codec INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE TABLE doomed(id BLOB PRIMARY KEY, gen INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE bad(id BLOB PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE gone(id TEXT PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE generation(gen INTEGER NOT NULL);"
    "INSERT INTO generation VALUES(1);";

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN",
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_GENERATION] = "SELECT gen FROM generation",
    [SQL_ANY_DOOMED] = "SELECT EXISTS(SELECT 1 FROM doomed)",
    [SQL_FIND] = "SELECT pack, off, stored, raw, codec FROM chunk WHERE id = ?1",
    [SQL_FIND_DOOMED] = "SELECT 1 FROM doomed WHERE id = ?1",
    [SQL_SCAN] = "SELECT pack, off, stored, raw, codec, id FROM chunk WHERE id >= ?1"
                 " ORDER BY id",
    [SQL_PARDON] = "DELETE FROM doomed WHERE id = ?1",
    [SQL_ADD_PACK] =
        "INSERT INTO pack(name, bytes, n, raw, stored) VALUES(?1,?2,?3,?4,?5)",
    [SQL_ADD_CHUNK] = "INSERT OR IGNORE INTO chunk VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_UNBAD] = "DELETE FROM bad WHERE EXISTS"
                  " (SELECT 1 FROM chunk WHERE chunk.id = bad.id)",
    [SQL_PACK_NAME] = "SELECT name FROM pack WHERE no = ?1",
    [SQL_PACK_NO] = "SELECT no FROM pack WHERE name = ?1",
    [SQL_PACK_NO_WALK] = "SELECT no FROM pack NOT INDEXED WHERE name = ?1",
    [SQL_TOTALS] = "SELECT count(*), ifnull(sum(n), 0), ifnull(sum(raw), 0),"
                   " ifnull(sum(stored), 0), ifnull(sum(bytes), 0),"
                   " (SELECT count(*) FROM doomed), (SELECT count(*) FROM bad) FROM pack",
    [SQL_FORGET] = "DELETE FROM chunk WHERE id = ?1 AND pack = ?2 AND off = ?3",
    [SQL_BAD] = "INSERT OR REPLACE INTO bad VALUES(?1, ?2)",
    [SQL_GC_ROWS] = "SELECT chunk.id, pack, stored, ifnull(gen, 0) FROM chunk"
                    " LEFT JOIN doomed ON doomed.id = chunk.id"
                    " WHERE chunk.id > ?1 ORDER BY chunk.id LIMIT ?2",
    [SQL_GC_ROW] = "SELECT pack, off, stored, raw, codec,"
                   " ifnull((SELECT gen FROM doomed WHERE doomed.id = chunk.id), 0)"
                   " FROM chunk WHERE id = ?1",
    [SQL_GC_CONDEMN] = "INSERT OR IGNORE INTO doomed VALUES(?1, ?2)",
    [SQL_GC_AGAIN] = "UPDATE doomed SET gen = ?2 WHERE id = ?1",
    [SQL_GC_AGAIN_ALL] = "UPDATE doomed SET gen = ?1",
    [SQL_GC_BUMP] = "UPDATE generation SET gen = gen + 1",
    [SQL_GC_DELETE] = "DELETE FROM chunk WHERE id = ?1 AND pack = ?2",
    [SQL_GC_MOVE] = "UPDATE chunk SET pack = ?2, off = ?3 WHERE id = ?1 AND pack = ?4",
    [SQL_GC_DROP_PACK] = "DELETE FROM pack WHERE no = ?1",
    [SQL_GC_PACKS] = "SELECT no, name, bytes, n, raw, stored FROM pack ORDER BY no",
    [SQL_GC_GONE] = "SELECT 1 FROM gone WHERE id = ?1",
    [SQL_GC_ADD_GONE] = "INSERT OR IGNORE INTO gone VALUES(?1)",
    [SQL_GC_UNGONE] = "DELETE FROM gone WHERE id = ?1",
};

int
index_open(struct index **out, const char *path, bool create, struct err *e)
{
    const struct db_options o = {.application_id = INDEX_APPLICATION_ID,
                                 .version = INDEX_VERSION,
                                 .schema = schema};
    struct index *ix;
    sqlite3 *db;

    if (!create && !file_exists(path)) {
        return err_set(e, ERR_NOT_FOUND, "no index '%s'", path);
    }
    if (db_open(&db, path, &o, e) == -1) {
        return -1;
    }
    ix = xcalloc(1, sizeof *ix);
    ix->db = db;
    (void)pthread_mutex_init(&ix->mu, NULL);
    *out = ix;
    return 0;
}

void
index_close(struct index *ix)
{
    sqlite3_stmt *s;

    if (ix == NULL) {
        return;
    }
    while ((s = sqlite3_next_stmt(ix->db, NULL)) != NULL) {
        (void)sqlite3_finalize(s);
    }
    db_close(ix->db);
    (void)pthread_mutex_destroy(&ix->mu);
    free(ix);
}

int
index_sql(struct index *ix, enum index_sql which, sqlite3_stmt **out, struct err *e)
{
    if (ix->sql[which] == NULL &&
        db_prepare(ix->db, sql_text[which], &ix->sql[which], e) == -1) {
        if (sqlite3_errcode(ix->db) == SQLITE_ERROR) {
            e->code = ERR_CORRUPT; /* it fits the schema: so the schema is damaged */
        }
        return -1;
    }
    (void)sqlite3_reset(ix->sql[which]);
    *out = ix->sql[which];
    return 0;
}

int
index_run(struct index *ix, enum index_sql which, struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    return index_sql(ix, which, &s, e) == -1 ? -1 : db_step(ix->db, s, &row, e);
}

void
index_bind_id(sqlite3_stmt *s, int at, const struct sha256 *id)
{
    (void)sqlite3_bind_blob(s, at, id->b, SHA256_LEN, SQLITE_STATIC);
}

void
index_rollback(struct index *ix)
{
    sqlite3_stmt *s = NULL;

    while ((s = sqlite3_next_stmt(ix->db, s)) != NULL) {
        (void)sqlite3_reset(s);
    }
    if (sqlite3_get_autocommit(ix->db) == 0) {
        (void)sqlite3_exec(ix->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

int
index_generation(struct index *ix, uint64_t *gen, struct err *e)
{
    sqlite3_stmt *s;
    bool row = false;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_sql(ix, SQL_GENERATION, &s, e) == -1 || db_step(ix->db, s, &row, e) == -1) {
        goto out;
    }
    if (!row || sqlite3_column_int64(s, 0) < 1) {
        err_set(e, ERR_CORRUPT, "the index has no generation");
        goto out;
    }
    *gen = (uint64_t)sqlite3_column_int64(s, 0);
    rc = 0;

out:
    index_rollback(ix);
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

uint32_t
index_column_u32(sqlite3_stmt *s, int at)
{
    int64_t v = sqlite3_column_int64(s, at);

    return v >= 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

/* pack, off, stored, raw, codec of the row s stands on. Impossible: not there. */
static struct store_loc
row_loc(sqlite3_stmt *s)
{
    struct store_loc l = {.pack = index_column_u32(s, 0),
                          .offset = index_column_u32(s, 1),
                          .stored_len = index_column_u32(s, 2),
                          .raw_len = index_column_u32(s, 3),
                          .codec = (uint8_t)index_column_u32(s, 4)};

    if (l.pack > INT32_MAX || l.stored_len > STORE_CHUNK_MAX_BYTES ||
        l.raw_len > STORE_CHUNK_MAX_BYTES || l.offset < PACK_HEADER_LEN) {
        l.pack = 0;
    }
    return l;
}

static int
find_one(struct index *ix, const struct sha256 *id, struct store_loc *loc, struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_FIND, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, id);
    if (db_step(ix->db, s, &row, e) == -1) {
        return -1;
    }
    if (row) {
        *loc = row_loc(s);
    } else {
        memset(loc, 0, sizeof *loc);
    }
    (void)sqlite3_reset(s); /* a statement left standing would keep the read lock */
    return 0;
}

/* ids in ascending order: order[i] is the place of the i-th, NULL for as given. */
struct sorted_ids {
    const struct sha256 *ids;
    uint32_t *order;
    size_t n;
};

static size_t
sorted_at(const struct sorted_ids *l, size_t i)
{
    return l->order == NULL ? i : l->order[i];
}

/* Ids are hashes: their first bytes nearly always decide, and compare as one number. */
struct sort_key {
    uint64_t head;
    uint32_t at;
};

static uint64_t
head_of(const void *id)
{
    uint64_t head;

    memcpy(&head, id, sizeof head);
    return be64toh(head);
}

static int
cmp_ids(const void *a, const void *b)
{
    uint64_t x = head_of(a);
    uint64_t y = head_of(b);

    return x != y ? (x < y ? -1 : 1) : memcmp(a, b, SHA256_LEN);
}

static int
cmp_keys(const void *a, const void *b, void *ids)
{
    const struct sort_key *x = a;
    const struct sort_key *y = b;
    const struct sha256 *v = ids;

    if (x->head != y->head) {
        return x->head < y->head ? -1 : 1;
    }
    return sha256_cmp(&v[x->at], &v[y->at]);
}

static struct sorted_ids
sort_ids(const struct sha256 *ids, size_t n)
{
    struct sorted_ids l = {ids, NULL, n};
    struct sort_key *keys;
    size_t i = 1;

    while (i < n && sha256_cmp(&ids[i - 1], &ids[i]) <= 0) {
        i++;
    }
    if (i < n) {
        keys = xmalloc(n * sizeof *keys);
        l.order = xmalloc(n * sizeof *l.order);
        for (i = 0; i < n; i++) {
            keys[i] = (struct sort_key){head_of(&ids[i]), (uint32_t)i};
        }
        qsort_r(keys, n, sizeof *keys, cmp_keys, (void *)(uintptr_t)ids);
        for (i = 0; i < n; i++) {
            l.order[i] = keys[i].at;
        }
        free(keys);
    }
    return l;
}

/* Find them by one walk over all rows: cheaper when a good part of the rows is wanted. */
static int
find_by_scan(struct index *ix, const struct sorted_ids *l, struct store_loc *locs,
             struct err *e)
{
    sqlite3_stmt *s;
    size_t i = 0;
    bool row = true;

    memset(locs, 0, l->n * sizeof *locs);
    if (index_sql(ix, SQL_SCAN, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, &l->ids[sorted_at(l, 0)]);
    while (i < l->n) {
        const void *id;

        if (db_step(ix->db, s, &row, e) == -1) {
            return -1;
        }
        if (!row) {
            break;
        }
        id = sqlite3_column_blob(s, 5);
        if (id == NULL || sqlite3_column_bytes(s, 5) != SHA256_LEN) {
            continue; /* a damaged row is nobody's */
        }
        for (; i < l->n; i++) {
            int order = cmp_ids(l->ids[sorted_at(l, i)].b, id);

            if (order > 0) {
                break;
            }
            if (order == 0) {
                locs[sorted_at(l, i)] = row_loc(s);
            }
        }
    }
    (void)sqlite3_reset(s);
    return 0;
}

/* About how many rows the index has, at no cost. */
static int64_t
guess_rows(struct index *ix)
{
    sqlite3_stmt *s = NULL;
    struct err ignored;
    bool row = false;
    int64_t pages = INT64_MAX / ROWS_PER_PAGE;

    if (db_prepare(ix->db, "PRAGMA page_count", &s, &ignored) == 0 &&
        db_step(ix->db, s, &row, &ignored) == 0 && row) {
        pages = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_finalize(s);
    return pages * ROWS_PER_PAGE;
}

static int
find_all(struct index *ix, const struct sorted_ids *l, struct store_loc *locs,
         struct err *e)
{
    if ((int64_t)l->n > guess_rows(ix) / SCAN_PART) {
        return find_by_scan(ix, l, locs, e);
    }
    for (size_t i = 0; i < l->n; i++) {
        size_t at = sorted_at(l, i);

        if (find_one(ix, &l->ids[at], &locs[at], e) == -1) {
            return -1;
        }
    }
    return 0;
}

static int
any_doomed(struct index *ix, bool *any, struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_ANY_DOOMED, &s, e) == -1 || db_step(ix->db, s, &row, e) == -1) {
        return -1;
    }
    *any = row && sqlite3_column_int(s, 0) != 0;
    (void)sqlite3_reset(s);
    return 0;
}

/* Which of the chunks just found are condemned? Their places in l go to *doomed. */
static int
find_doomed(struct index *ix, const struct sorted_ids *l, const struct store_loc *locs,
            uint32_t **doomed, size_t *n_doomed, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t at = sorted_at(l, i);
        sqlite3_stmt *s;
        bool row;

        if (locs[at].pack == 0) {
            continue;
        }
        if (index_sql(ix, SQL_FIND_DOOMED, &s, e) == -1) {
            return -1;
        }
        index_bind_id(s, 1, &l->ids[at]);
        if (db_step(ix->db, s, &row, e) == -1) {
            return -1;
        }
        (void)sqlite3_reset(s);
        if (row) {
            *doomed = *doomed != NULL ? *doomed : xmalloc(l->n * sizeof **doomed);
            (*doomed)[(*n_doomed)++] = (uint32_t)at;
        }
    }
    return 0;
}

static int
pardon(struct index *ix, const struct sha256 *id, struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_PARDON, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, id);
    return db_step(ix->db, s, &row, e);
}

/*
 * Pardon the condemned ones and look again, under the write lock: whoever deletes
 * them does so in a transaction that comes wholly before this one (then they are not
 * here) or wholly after it (then they are not condemned).
 */
static int
pardon_and_find(struct index *ix, const struct sha256 *ids, const uint32_t *doomed,
                size_t n, struct store_loc *locs, struct err *e)
{
    if (index_run(ix, SQL_BEGIN_WRITE, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (pardon(ix, &ids[doomed[i]], e) == -1 ||
            find_one(ix, &ids[doomed[i]], &locs[doomed[i]], e) == -1) {
            return -1;
        }
    }
    return index_run(ix, SQL_COMMIT, e);
}

int
index_lookup(struct index *ix, const struct sha256 *ids, size_t n, struct store_loc *locs,
             struct err *e)
{
    struct sorted_ids l = sort_ids(ids, n);
    uint32_t *doomed = NULL;
    size_t n_doomed = 0;
    bool any;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (n == 0) {
        rc = 0;
        goto out;
    }
    if (index_run(ix, SQL_BEGIN, e) == -1 || find_all(ix, &l, locs, e) == -1 ||
        any_doomed(ix, &any, e) == -1 ||
        (any && find_doomed(ix, &l, locs, &doomed, &n_doomed, e) == -1) ||
        index_run(ix, SQL_COMMIT, e) == -1) {
        goto out;
    }
    if (n_doomed != 0 && pardon_and_find(ix, ids, doomed, n_doomed, locs, e) == -1) {
        goto out;
    }
    rc = 0;

out:
    if (rc == -1) {
        index_rollback(ix);
        err_wrap(e, "the store's index");
    }
    (void)pthread_mutex_unlock(&ix->mu);
    free(doomed);
    free(l.order);
    return rc;
}

/* ---- adding ---- */

struct new_row {
    const struct pack_entry *en;
    uint32_t pack;
};

static int
cmp_new_rows(const void *a, const void *b)
{
    const struct new_row *x = a;
    const struct new_row *y = b;

    return sha256_cmp(&x->en->id, &y->en->id);
}

int
index_insert_pack(struct index *ix, const struct index_pack *p, uint32_t *no,
                  struct err *e)
{
    struct pack_sums sums = pack_sums(p->entries, p->n_entries);
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_ADD_PACK, &s, e) == -1) {
        return -1;
    }
    (void)sqlite3_bind_blob(s, 1, p->name.b, PACK_NAME_LEN, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 2, (int64_t)p->bytes);
    (void)sqlite3_bind_int64(s, 3, (int64_t)sums.n);
    (void)sqlite3_bind_int64(s, 4, (int64_t)sums.raw);
    (void)sqlite3_bind_int64(s, 5, (int64_t)sums.stored);
    if (db_step(ix->db, s, &row, e) == -1) {
        return -1;
    }
    if (sqlite3_last_insert_rowid(ix->db) > INT32_MAX) {
        return err_set(e, ERR_RANGE, "the store has had 2^31 packs");
    }
    *no = (uint32_t)sqlite3_last_insert_rowid(ix->db);
    return 0;
}

int
index_insert_row(struct index *ix, const struct pack_entry *en, uint32_t pack,
                 struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_ADD_CHUNK, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, &en->id);
    (void)sqlite3_bind_int64(s, 2, pack);
    (void)sqlite3_bind_int64(s, 3, en->offset);
    (void)sqlite3_bind_int64(s, 4, en->stored_len);
    (void)sqlite3_bind_int64(s, 5, en->raw_len);
    (void)sqlite3_bind_int64(s, 6, en->codec);
    return db_step(ix->db, s, &row, e);
}

/* In order of ids: neighbours in the tree are written together. */
static int
add_rows(struct index *ix, struct new_row *rows, size_t n, struct err *e)
{
    bool any;

    qsort(rows, n, sizeof *rows, cmp_new_rows);
    if (any_doomed(ix, &any, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (index_insert_row(ix, rows[i].en, rows[i].pack, e) == -1 ||
            (any && pardon(ix, &rows[i].en->id, e) == -1)) {
            return -1;
        }
    }
    return index_run(ix, SQL_UNBAD, e);
}

int
index_add(struct index *ix, const struct index_pack *packs, size_t n, uint32_t *nos,
          struct err *e)
{
    struct new_row *rows = NULL;
    size_t n_rows = 0;
    int rc = -1;

    for (size_t i = 0; i < n; i++) {
        n_rows += packs[i].n_entries;
    }
    rows = xmalloc(n_rows * sizeof *rows);
    n_rows = 0;
    (void)pthread_mutex_lock(&ix->mu);
    if (index_run(ix, SQL_BEGIN_WRITE, e) == -1) {
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t no = 0;

        if (index_insert_pack(ix, &packs[i], &no, e) == -1) {
            goto out;
        }
        if (nos != NULL) {
            nos[i] = no;
        }
        for (size_t k = 0; k < packs[i].n_entries; k++) {
            if (!packs[i].entries[k].second) {
                rows[n_rows++] = (struct new_row){&packs[i].entries[k], no};
            }
        }
    }
    if (add_rows(ix, rows, n_rows, e) == -1 || index_run(ix, SQL_COMMIT, e) == -1) {
        goto out;
    }
    rc = 0;

out:
    if (rc == -1) {
        index_rollback(ix);
        err_wrap(e, "the store's index");
    }
    (void)pthread_mutex_unlock(&ix->mu);
    free(rows);
    return rc;
}

/* ---- the rest ---- */

int
index_pack_name(struct index *ix, uint32_t no, struct pack_name *name, bool *found,
                struct err *e)
{
    sqlite3_stmt *s;
    bool row = false;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_sql(ix, SQL_PACK_NAME, &s, e) == -1) {
        goto out;
    }
    (void)sqlite3_bind_int64(s, 1, no);
    if (db_step(ix->db, s, &row, e) == -1) {
        goto out;
    }
    if (row && sqlite3_column_bytes(s, 0) != PACK_NAME_LEN) {
        err_set(e, ERR_CORRUPT, "the index names a pack wrongly");
        goto out;
    }
    *found = row;
    if (row) {
        memcpy(name->b, sqlite3_column_blob(s, 0), PACK_NAME_LEN);
    }
    rc = 0;

out:
    index_rollback(ix);
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

uint64_t
index_column_count(sqlite3_stmt *s, int at)
{
    int64_t v = sqlite3_column_int64(s, at);

    return v > 0 ? (uint64_t)v : 0;
}

int
index_totals(struct index *ix, struct index_totals *out, struct err *e)
{
    sqlite3_stmt *s;
    bool row = false;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_sql(ix, SQL_TOTALS, &s, e) == 0 && db_step(ix->db, s, &row, e) == 0) {
        *out = (struct index_totals){
            .n_packs = index_column_count(s, 0),
            .n_entries = index_column_count(s, 1),
            .raw_bytes = index_column_count(s, 2),
            .stored_bytes = index_column_count(s, 3),
            .pack_bytes = index_column_count(s, 4),
            .n_condemned = index_column_count(s, 5),
            .n_bad = index_column_count(s, 6),
        };
        rc = 0;
    }
    index_rollback(ix);
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}

int
index_insert_bad(struct index *ix, const struct sha256 *id, const char *why,
                 struct err *e)
{
    sqlite3_stmt *s;
    bool row;

    if (index_sql(ix, SQL_BAD, &s, e) == -1) {
        return -1;
    }
    index_bind_id(s, 1, id);
    (void)sqlite3_bind_text(s, 2, why, -1, SQLITE_TRANSIENT);
    return db_step(ix->db, s, &row, e);
}

int
index_set_aside(struct index *ix, const struct sha256 *id, const struct store_loc *loc,
                const char *why, struct err *e)
{
    sqlite3_stmt *s;
    bool row;
    int rc = -1;

    (void)pthread_mutex_lock(&ix->mu);
    if (index_run(ix, SQL_BEGIN_WRITE, e) == -1 ||
        index_sql(ix, SQL_FORGET, &s, e) == -1) {
        goto out;
    }
    index_bind_id(s, 1, id);
    (void)sqlite3_bind_int64(s, 2, loc->pack);
    (void)sqlite3_bind_int64(s, 3, (int64_t)loc->offset);
    if (db_step(ix->db, s, &row, e) == -1) {
        goto out;
    }
    if (sqlite3_changes(ix->db) > 0 && index_insert_bad(ix, id, why, e) == -1) {
        goto out;
    }
    rc = index_run(ix, SQL_COMMIT, e);

out:
    index_rollback(ix);
    (void)pthread_mutex_unlock(&ix->mu);
    return rc;
}
