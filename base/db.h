#ifndef BASE_DB_H
#define BASE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Opening SQLite the one way we use it. SQLite types are used directly by the
 * two modules that keep a database (storage's index, meter's ledger); opening,
 * error translation and transactions live here.
 *
 * Journal mode is TRUNCATE with synchronous=FULL (not WAL: SQLite 3.40.1 of
 * Debian 12 has the WAL-reset bug with two checkpointing connections);
 * foreign keys on, trusted_schema off, 30 s busy handler.
 */
struct db_options {
    int64_t application_id; /* PRAGMA application_id; another one is ERR_CORRUPT */
    int64_t version;        /* PRAGMA user_version; a newer one is ERR_VERSION */
    const char *schema;     /* SQL that makes an empty database version `version` */
    /* [v - 1]: SQL from version v to the next, for each v before this one; NULL: an older
     * file is refused */
    const char *const *upgrades;
    bool read_only;
};

int db_open(sqlite3 **out, const char *path, const struct db_options *o,
            struct err *e) MUST_USE;
void db_close(sqlite3 *db);
/* Fill *e from the connection's last error: ERR_BUSY, ERR_CORRUPT, ERR_SPACE, ERR_SYSTEM.
 */
int db_fail(sqlite3 *db, const char *doing, struct err *e);
int db_exec(sqlite3 *db, const char *sql, struct err *e) MUST_USE;
int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *e) MUST_USE;
/* Step: *row is whether there is a row. Resets on done. */
int db_step(sqlite3 *db, sqlite3_stmt *s, bool *row, struct err *e) MUST_USE;

#endif
