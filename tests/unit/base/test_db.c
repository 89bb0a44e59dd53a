#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/db.h"
#include "tests/unit/unit.h"

static const struct db_options options = {
    .application_id = 0x67707572,
    .version = 3,
    .schema = "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT UNIQUE);"
              "CREATE TABLE u (k INTEGER REFERENCES t(k))",
};

static int64_t
query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    int64_t v;
    struct err e;

    assert_ok(db_prepare(db, sql, &s, &e));
    assert_ok(db_step(db, s, &row, &e));
    assert_true(row);
    v = sqlite3_column_int64(s, 0);
    assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
    return v;
}

static void
open__makes_a_database_and_finds_it_again(void **state)
{
    char *path = path_join(*state, "db");
    sqlite3 *db = NULL;
    struct stat st;
    struct err e;

    assert_ok(db_open(&db, path, &options, &e));
    assert_ok(db_exec(db, "INSERT INTO t VALUES (1, 'a')", &e));
    assert_int_equal(query(db, "PRAGMA application_id"), 0x67707572);
    assert_int_equal(query(db, "PRAGMA user_version"), 3);
    assert_int_equal(query(db, "PRAGMA synchronous"), 2);
    assert_int_equal(query(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(query(db, "PRAGMA trusted_schema"), 0);
    db_close(db);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(db_open(&db, path, &options, &e));
    assert_int_equal(query(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
    db_close(NULL);
    free(path);
}

static void
open__uses_a_truncated_journal(void **state)
{
    char *path = path_join(*state, "db");
    char *journal = path_join(*state, "db-journal");
    char *wal = path_join(*state, "db-wal");
    sqlite3 *db = NULL;
    struct stat st;
    struct err e;

    assert_ok(db_open(&db, path, &options, &e));
    assert_ok(db_exec(db, "INSERT INTO t VALUES (1, 'a')", &e));
    assert_int_equal(stat(journal, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(file_exists(wal));
    db_close(db);
    free(path);
    free(journal);
    free(wal);
}

static void
open__refuses_what_is_not_ours(void **state)
{
    char *path = path_join(*state, "db");
    struct db_options other = options;
    sqlite3 *db = NULL;
    char junk[4096];
    struct buf b = BUF_INIT;
    struct err e;

    assert_ok(db_open(&db, path, &options, &e));
    db_close(db);
    db = NULL;
    other.application_id = 1;
    assert_refused(db_open(&db, path, &other, &e), ERR_CORRUPT);
    other = options;
    other.version = 2;
    assert_refused(db_open(&db, path, &other, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "update this one"));
    other.version = 4;
    assert_refused(db_open(&db, path, &other, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "open it with that one"));
    assert_null(db);
    assert_non_null(strstr(e.msg, path));

    memset(junk, 'j', sizeof junk);
    assert_ok(file_replace(path, junk, sizeof junk, &e));
    assert_refused(db_open(&db, path, &options, &e), ERR_CORRUPT);
    assert_ok(file_read(path, sizeof junk, &b, &e));
    assert_memory_equal(b.data, junk, sizeof junk); /* and was left as it was */
    buf_free(&b);
    free(path);
}

static void
open__of_a_foreign_database_leaves_it(void **state)
{
    char *path = path_join(*state, "db");
    sqlite3 *db = NULL;
    struct err e;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, "CREATE TABLE foreign_one (x)", &e));
    db_close(db);
    db = NULL;
    assert_refused(db_open(&db, path, &options, &e), ERR_CORRUPT);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(query(db, "SELECT count(*) FROM sqlite_schema"), 1);
    db_close(db);
    free(path);
}

static void
read_only__makes_and_changes_nothing(void **state)
{
    char *path = path_join(*state, "db");
    struct db_options ro = options;
    sqlite3 *db = NULL;
    struct err e;

    ro.read_only = true;
    assert_refused(db_open(&db, path, &ro, &e), ERR_NOT_FOUND);
    assert_false(file_exists(path));
    assert_ok(file_replace(path, "", 0, &e));
    assert_refused(db_open(&db, path, &ro, &e), ERR_NOT_FOUND);
    assert_ok(db_open(&db, path, &options, &e));
    db_close(db);
    assert_ok(db_open(&db, path, &ro, &e));
    assert_refused(db_exec(db, "INSERT INTO t VALUES (1, 'a')", &e), ERR_SYSTEM);
    db_close(db);
    free(path);
}

static void
open__without_a_directory_is_refused(void **state)
{
    sqlite3 *db = NULL;
    struct err e;

    (void)state;
    assert_refused(db_open(&db, "/nonexistent/db", &options, &e), ERR_SYSTEM);
    assert_string_equal(e.msg, "database '/nonexistent/db': cannot create it: "
                               "No such file or directory");
    assert_null(db);
}

static void
bad_schema__leaves_no_half_database(void **state)
{
    char *path = path_join(*state, "db");
    struct db_options bad = options;
    sqlite3 *db = NULL;
    struct err e;

    bad.schema = "CREATE TABLE t (k); CREATE NONSENSE";
    assert_refused(db_open(&db, path, &bad, &e), ERR_SYSTEM);
    assert_ok(db_open(&db, path, &options, &e)); /* still empty */
    assert_int_equal(query(db, "SELECT count(*) FROM t"), 0);
    db_close(db);
    free(path);
}

static void
many_at_once__make_one_schema(void **state)
{
    char *path = path_join(*state, "db");
    sqlite3 *db = NULL;
    struct err e;

    for (int i = 0; i < 8; i++) {
        pid_t child = fork();

        assert_true(child != -1);
        if (child == 0) {
            if (db_open(&db, path, &options, &e) != 0 ||
                db_exec(db, "INSERT INTO t (v) VALUES (NULL)", &e) != 0) {
                (void)fprintf(stderr, "%s\n", e.msg);
                _exit(1);
            }
            db_close(db);
            _exit(0);
        }
    }
    for (int i = 0; i < 8; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_ok(db_open(&db, path, &options, &e));
    assert_int_equal(query(db, "SELECT count(*) FROM t"), 8);
    db_close(db);
    free(path);
}

static void
failures__have_codes(void **state)
{
    char *path = path_join(*state, "db");
    sqlite3 *db = NULL;
    sqlite3 *other = NULL;
    sqlite3_stmt *s = NULL;
    bool row = true;
    struct err e;

    assert_ok(db_open(&db, path, &options, &e));
    assert_ok(db_exec(db, "INSERT INTO t VALUES (1, 'a')", &e));
    assert_refused(db_exec(db, "INSERT INTO t VALUES (1, 'b')", &e), ERR_EXISTS);
    assert_refused(db_exec(db, "INSERT INTO t VALUES (2, 'a')", &e), ERR_EXISTS);
    assert_refused(db_exec(db, "INSERT INTO u VALUES (9)", &e), ERR_SYSTEM);
    assert_refused(db_exec(db, "nonsense", &e), ERR_SYSTEM);
    assert_refused(db_prepare(db, "SELECT nothing", &s, &e), ERR_SYSTEM);
    assert_null(s);
    /* A step that fails leaves the statement fit for the next try. */
    assert_ok(db_prepare(db, "INSERT INTO t VALUES (?1, NULL)", &s, &e));
    assert_int_equal(sqlite3_bind_int(s, 1, 1), SQLITE_OK);
    assert_refused(db_step(db, s, &row, &e), ERR_EXISTS);
    assert_true(row);
    assert_int_equal(sqlite3_bind_int(s, 1, 5), SQLITE_OK);
    assert_ok(db_step(db, s, &row, &e));
    assert_false(row);
    assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
    /* Another connection holds the lock. */
    assert_ok(db_open(&other, path, &options, &e));
    assert_ok(db_exec(other, "BEGIN IMMEDIATE", &e));
    assert_int_equal(sqlite3_busy_timeout(db, 0), SQLITE_OK);
    assert_refused(db_exec(db, "BEGIN IMMEDIATE", &e), ERR_BUSY);
    assert_ok(db_exec(other, "ROLLBACK", &e));
    /* As if the disk were full. */
    assert_ok(db_exec(db, "PRAGMA max_page_count=1", &e));
    assert_refused(
        db_exec(db,
                "WITH RECURSIVE c(x) AS (SELECT 10 UNION ALL SELECT x+1 FROM c "
                "LIMIT 10000) INSERT INTO t SELECT x, x FROM c",
                &e),
        ERR_SPACE);
    db_close(other);
    db_close(db);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(open__makes_a_database_and_finds_it_again),
        unit_test_in_dir(open__uses_a_truncated_journal),
        unit_test_in_dir(open__refuses_what_is_not_ours),
        unit_test_in_dir(open__of_a_foreign_database_leaves_it),
        unit_test_in_dir(read_only__makes_and_changes_nothing),
        cmocka_unit_test(open__without_a_directory_is_refused),
        unit_test_in_dir(bad_schema__leaves_no_half_database),
        unit_test_in_dir(many_at_once__make_one_schema),
        unit_test_in_dir(failures__have_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
