#ifndef STORAGE_INDEX_INTERNAL_H
#define STORAGE_INDEX_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "storage/index.h"

/* Statements that are kept, prepared when first used. */
enum index_sql {
    SQL_BEGIN = 0,
    SQL_BEGIN_WRITE,
    SQL_COMMIT,
    SQL_GENERATION,
    SQL_ANY_DOOMED,
    SQL_FIND,
    SQL_FIND_DOOMED,
    SQL_SCAN,
    SQL_PARDON,
    SQL_ADD_PACK,
    SQL_ADD_CHUNK,
    SQL_UNBAD,
    SQL_PACK_NAME,
    SQL_PACK_NO,
    SQL_PACK_NO_WALK,
    SQL_TOTALS,
    SQL_FORGET,
    SQL_BAD,
    SQL_GC_ROWS,
    SQL_GC_ROW,
    SQL_GC_CONDEMN,
    SQL_GC_AGAIN,
    SQL_GC_AGAIN_ALL,
    SQL_GC_BUMP,
    SQL_GC_DELETE,
    SQL_GC_MOVE,
    SQL_GC_DROP_PACK,
    SQL_GC_PACKS,
    SQL_GC_GONE,
    SQL_GC_ADD_GONE,
    SQL_GC_UNGONE,
    SQL_COUNT
};

struct index {
    pthread_mutex_t mu; /* guards all below: the connection has no lock of its own */
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
};

/* The prepared statement, reset. */
int index_sql(struct index *ix, enum index_sql which, sqlite3_stmt **out,
              struct err *e) MUST_USE;
/* Run a statement that gives no rows. */
int index_run(struct index *ix, enum index_sql which, struct err *e) MUST_USE;
void index_bind_id(sqlite3_stmt *s, int at, const struct sha256 *id);
/* Parts of a write transaction: the caller has mu and has begun one. */
int index_insert_pack(struct index *ix, const struct index_pack *p, uint32_t *no,
                      struct err *e) MUST_USE;
/* Nothing happens if the chunk is there already. */
int index_insert_row(struct index *ix, const struct pack_entry *en, uint32_t pack,
                     struct err *e) MUST_USE;
int index_insert_bad(struct index *ix, const struct sha256 *id, const char *why,
                     struct err *e) MUST_USE;
/* Numbers of a row as far as a damaged index may be trusted: in range, or 0. */
uint32_t index_column_u32(sqlite3_stmt *s, int at);
uint64_t index_column_count(sqlite3_stmt *s, int at);
/* Roll back whatever is open; keeps *e. */
void index_rollback(struct index *ix);

#endif
