#include "base/db.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

#define BUSY_TIMEOUT_MS 30000

static enum err_code
code_of(int extended)
{
    if (extended == SQLITE_CONSTRAINT_UNIQUE ||
        extended == SQLITE_CONSTRAINT_PRIMARYKEY) {
        return ERR_EXISTS;
    }
    switch (extended & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_FULL:
        return ERR_SPACE;
    default:
        return ERR_SYSTEM;
    }
}

int
db_fail(sqlite3 *db, const char *doing, struct err *e)
{
    enum err_code code = code_of(sqlite3_extended_errcode(db));
    int sys_errno = sqlite3_system_errno(db);

    if (code == ERR_SYSTEM && (sys_errno == ENOSPC || sys_errno == EDQUOT)) {
        code = ERR_SPACE; /* reported as an I/O error where it is met in fsync */
    }
    (void)err_set(e, code, "%s: %s", doing, sqlite3_errmsg(db));
    e->sys_errno = code == ERR_SYSTEM || code == ERR_SPACE ? sys_errno : 0;
    return -1;
}

int
db_exec(sqlite3 *db, const char *sql, struct err *e)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return db_fail(db, "SQLite", e);
    }
    return 0;
}

int
db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *e)
{
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) !=
        SQLITE_OK) {
        return db_fail(db, "SQLite", e);
    }
    *out = s;
    return 0;
}

int
db_step(sqlite3 *db, sqlite3_stmt *s, bool *row, struct err *e)
{
    int rc = sqlite3_step(s);
    int result = 0;

    if (rc == SQLITE_ROW) {
        *row = true;
        return 0;
    }
    if (rc == SQLITE_DONE) {
        *row = false;
    } else {
        result = db_fail(db, "SQLite", e);
    }
    (void)sqlite3_reset(s); /* repeats the error, which is told already */
    return result;
}

/* The single integer that sql answers. */
static int
query_int(sqlite3 *db, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = -1;

    if (db_prepare(db, sql, &s, e) == 0 && db_step(db, s, &row, e) == 0) {
        *out = row ? sqlite3_column_int64(s, 0) : 0;
        rc = 0;
    }
    (void)sqlite3_finalize(s);
    return rc;
}

/* The journal mode is a request: the answer tells what it became. */
static int
set_journal_mode(sqlite3 *db, struct err *e)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = -1;

    if (db_prepare(db, "PRAGMA journal_mode=TRUNCATE", &s, e) == 0 &&
        db_step(db, s, &row, e) == 0) {
        const char *mode = row ? (const char *)sqlite3_column_text(s, 0) : NULL;

        rc = mode != NULL && strcmp(mode, "truncate") == 0
                 ? 0
                 : err_set(e, ERR_SYSTEM, "no rollback journal to be had");
    }
    (void)sqlite3_finalize(s);
    return rc;
}

static int
configure(sqlite3 *db, const struct db_options *o, struct err *e)
{
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (db_exec(db,
                "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON;"
                "PRAGMA synchronous=FULL; PRAGMA cell_size_check=ON",
                e) != 0) {
        return -1;
    }
    return o->read_only ? 0 : set_journal_mode(db, e);
}

enum found { FOUND_EMPTY, FOUND_OLD, FOUND_RIGHT };

static int
check_header(sqlite3 *db, const struct db_options *o, enum found *found, int64_t *from,
             struct err *e)
{
    int64_t id;
    int64_t version;
    int64_t n_tables;

    if (query_int(db, "PRAGMA application_id", &id, e) != 0 ||
        query_int(db, "PRAGMA user_version", &version, e) != 0 ||
        query_int(db, "SELECT count(*) FROM sqlite_schema", &n_tables, e) != 0) {
        return -1;
    }
    *found = FOUND_EMPTY;
    if (id == 0 && version == 0 && n_tables == 0) {
        return 0;
    }
    if (id != o->application_id) {
        return err_set(e, ERR_CORRUPT, "application id %" PRId64 " instead of %" PRId64,
                       id, o->application_id);
    }
    *found = version == o->version ? FOUND_RIGHT : FOUND_OLD;
    if (version > o->version) {
        return err_set(e, ERR_VERSION,
                       "made by a newer gpurun (version %" PRId64
                       "; this program knows %" PRId64 "): update this one",
                       version, o->version);
    }
    if (version < o->version && (version < 1 || o->upgrades == NULL)) {
        return err_set(e, ERR_VERSION,
                       "made by an older gpurun (version %" PRId64
                       "; this program knows %" PRId64 "): open it with that one",
                       version, o->version);
    }
    *from = version;
    return 0;
}

/* From an older version, one after the other. */
static int
run_upgrades(sqlite3 *db, const struct db_options *o, int64_t from, struct err *e)
{
    for (int64_t v = from; v < o->version; v++) {
        if (db_exec(db, o->upgrades[v - 1], e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* At one moment: another process may be making the schema just now. */
static int
look_at_header(sqlite3 *db, const struct db_options *o, enum found *found, struct err *e)
{
    int64_t from = 0;
    int rc = db_exec(db, "BEGIN", e);

    if (rc == 0) {
        rc = check_header(db, o, found, &from, e);
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

/* Under the write lock: of two that come at once the second finds it made. */
static int
make_schema(sqlite3 *db, const struct db_options *o, struct err *e)
{
    char header[128];
    enum found found;
    int64_t from = 0;

    (void)snprintf(header, sizeof header,
                   "PRAGMA application_id=%" PRId64 "; PRAGMA user_version=%" PRId64,
                   o->application_id, o->version);
    if (db_exec(db, "BEGIN IMMEDIATE", e) != 0) {
        return -1;
    }
    if (check_header(db, o, &found, &from, e) != 0 ||
        (found == FOUND_EMPTY && db_exec(db, o->schema, e) != 0) ||
        (found == FOUND_OLD && run_upgrades(db, o, from, e) != 0) ||
        (found != FOUND_RIGHT && db_exec(db, header, e) != 0) ||
        db_exec(db, "COMMIT", e) != 0) {
        goto undo;
    }
    return 0;

undo:
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

/* SQLite would make the file readable by others, and not sync its name. */
static int
make_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char *dir;
    int rc;

    if (fd == -1) {
        return errno == EEXIST ? 0 : err_set_sys(e, errno, "cannot create it");
    }
    (void)fd_close(&fd);
    dir = path_parent(path);
    rc = file_sync_dir(dir, e);
    free(dir);
    return rc;
}

static int
open_checked(sqlite3 **db, const char *path, const struct db_options *o, struct err *e)
{
    int flags = SQLITE_OPEN_NOMUTEX |
                (o->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    enum found found;

    if (!file_exists(path) && o->read_only) {
        return err_set(e, ERR_NOT_FOUND, "it does not exist");
    }
    if (!o->read_only && make_file(path, e) != 0) {
        return -1;
    }
    if (sqlite3_open_v2(path, db, flags, NULL) != SQLITE_OK) {
        return *db != NULL ? db_fail(*db, "cannot open it", e)
                           : err_set(e, ERR_SYSTEM, "cannot open it: out of memory");
    }
    if (configure(*db, o, e) != 0 || look_at_header(*db, o, &found, e) != 0) {
        return -1;
    }
    if (found == FOUND_RIGHT) {
        return 0;
    }
    if (o->read_only) {
        return found == FOUND_EMPTY
                   ? err_set(e, ERR_NOT_FOUND, "it is empty")
                   : err_set(e, ERR_VERSION,
                             "made by an older gpurun: what writes to it brings it up to "
                             "date first");
    }
    return make_schema(*db, o, e);
}

int
db_open(sqlite3 **out, const char *path, const struct db_options *o, struct err *e)
{
    sqlite3 *db = NULL;

    if (open_checked(&db, path, o, e) != 0) {
        db_close(db);
        return err_wrap(e, "database '%s'", path);
    }
    *out = db;
    return 0;
}

void
db_close(sqlite3 *db)
{
    /* v2: a statement that was forgotten keeps memory, not the caller. */
    (void)sqlite3_close_v2(db);
}
