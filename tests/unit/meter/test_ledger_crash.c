/*
 * A ledger whose writer is killed at every write, whose disk is full, or that another
 * process writes to: it stands, whole.
 */
#include <sys/wait.h>

#include "meter/ledger_internal.h"
#include "tests/unit/meter/ledger_old.h"

/* A whole little life; asked again, each step is answered as the first time. */
static int
live(struct ledger *l, struct err *e)
{
    return ledger_topup(l, "t", 1000, 1, NULL, e) == 0 &&
                   ledger_hold(l, "l1", 1, 500, 2, e) == 0 &&
                   settle(l, "l1", 300, 20, 500, NULL, e) == 0 &&
                   ledger_keeping(l, "l1", 7, 3, e) == 0 &&
                   ledger_correct(l, "c", "l1", 100, 4, e) == 0
               ? 0
               : -1;
}

/* The same as one group. */
static int
live_grouped(struct ledger *l, struct err *e)
{
    return ledger_begin(l, e) == 0 && live(l, e) == 0 ? ledger_commit(l, e) : -1;
}

/*
 * SQLite's file system with a fuse: the process is gone at the n-th write, sync or
 * truncation; what was written stays, as after a kill. 0: it never burns.
 */
static int fuse;

static int
burn(void)
{
    if (fuse > 0 && --fuse == 0) {
        _exit(99);
    }
    return SQLITE_OK;
}

/* The disk takes no further write. */
static bool full;

/* What is read of the database is worn out. */
static bool worn;

/* Files that are locked and files that are not have methods of their own. */
static struct {
    sqlite3_io_methods fused;
    const sqlite3_io_methods *real;
} kinds[2];
static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);

static const sqlite3_io_methods *
real_of(const sqlite3_file *f)
{
    return kinds[f->pMethods == &kinds[1].fused].real;
}

static int
fused_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    (void)burn();
    return full ? SQLITE_FULL : real_of(f)->xWrite(f, data, n, at);
}

static int
fused_read(sqlite3_file *f, void *out, int n, sqlite3_int64 at)
{
    return worn && f->pMethods == &kinds[1].fused ? SQLITE_IOERR_READ
                                                  : real_of(f)->xRead(f, out, n, at);
}

static int
fused_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    return burn(); /* a killed process loses nothing that it wrote: no need to wait */
}

static int
fused_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    (void)burn();
    return real_of(f)->xTruncate(f, size);
}

static int
fused_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    int rc = real_open(v, name, f, flags, out);

    if (rc == SQLITE_OK && f->pMethods != NULL) {
        size_t kind = (flags & SQLITE_OPEN_MAIN_DB) != 0;

        kinds[kind].real = f->pMethods;
        kinds[kind].fused = *f->pMethods;
        kinds[kind].fused.xRead = fused_read;
        kinds[kind].fused.xWrite = fused_write;
        kinds[kind].fused.xSync = fused_sync;
        kinds[kind].fused.xTruncate = fused_truncate;
        f->pMethods = &kinds[kind].fused;
    }
    return rc;
}

/* In a child: live with a fuse of that length. Its exit status: 99 burnt, 0 lived. */
static int
live_in_child(const char *path, int length, int (*life)(struct ledger *, struct err *))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        struct ledger *l = NULL;
        struct err e;

        fuse = length;
        _exit(ledger_open(&l, path, &e) == 0 && life(l, &e) == 0 ? 0 : 1);
    }
    assert_int_not_equal(pid, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Killed at its first write, its second, … until it lives; how many there were. */
static int
kill_everywhere(const char *dir, int (*life)(struct ledger *, struct err *), bool whole)
{
    char *path = ledger_path(dir, "killed");
    char *journal = ledger_path(dir, "killed-journal");
    int n = 0;
    int status = 99;

    while (status == 99) {
        struct ledger *l = NULL;
        struct ledger_funds f;
        struct err e = {0};

        n++;
        (void)unlink(path);
        (void)unlink(journal);
        status = live_in_child(path, n, life);
        assert_true(status == 99 || status == 0);
        assert_ok(ledger_open(&l, path, &e));
        assert_ok(ledger_check(l, &e));
        assert_ok(ledger_funds(l, &f, &e));
        if (whole) {
            assert_true(f.n_entries == 0 || f.n_entries == 5);
        }
        assert_ok(life(l, &e)); /* who asked asks again */
        assert_funds(l, 793, 0);
        assert_ok(ledger_check(l, &e));
        ledger_close(l);
    }
    free(path);
    free(journal);
    return n;
}

static void
ledger__stands_wherever_its_writer_is_killed(void **state)
{
    assert_true(kill_everywhere(*state, live, false) > 30); /* so many writes at least */
}

static void
ledger__has_all_of_a_group_or_nothing(void **state)
{
    assert_true(kill_everywhere(*state, live_grouped, true) > 10);
}

/* ---- taking over an older one ---- */

static int
only_open(struct ledger *l, struct err *e)
{
    (void)l;
    (void)e;
    return 0;
}

/* All that is in the file, in whatever pages it lies. */
static void
dump_all(const char *path, struct buf *out)
{
    static const char *const queries[] = {
        "PRAGMA user_version",
        "PRAGMA application_id",
        "PRAGMA integrity_check",
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY name",
        "SELECT n, id, kind, lease, wallet, wall_ns, held, cash, voucher, posts,"
        " hex(body), hex(chain) FROM entry ORDER BY n",
        "SELECT name, debit, credit, held FROM account ORDER BY name",
        "SELECT lease, state, held, charge, host, fee_bps, wallet, total FROM lease"
        " ORDER BY lease",
        "SELECT lease, voucher, seq, promised, spent FROM cover ORDER BY lease, voucher",
        "SELECT block, lo, hi FROM span ORDER BY block",
    };

    buf_reset(out);
    dump(path, queries, sizeof queries / sizeof *queries, out);
}

/* Killed at its first write, its second, …: who opens it next finds what one that was not
 * killed has made of it. */
static void
ledger__is_taken_over_wherever_that_is_killed(void **state)
{
    char *path = ledger_path(*state, "taken");
    char *journal = ledger_path(*state, "taken-journal");
    struct buf whole = BUF_INIT;
    struct buf is = BUF_INIT;

    for (int version = 1; version <= 4; version++) {
        int status = 99;
        int n = 0;

        make_old(path, version);
        assert_int_equal(live_in_child(path, 0, only_open), 0);
        dump_all(path, &whole);
        while (status == 99) {
            struct ledger *l = NULL;
            struct err e = {0};

            n++;
            (void)unlink(path);
            (void)unlink(journal);
            make_old(path, version);
            status = live_in_child(path, n, only_open);
            assert_true(status == 99 || status == 0);
            assert_ok(ledger_open(&l, path, &e));
            assert_ok(ledger_check(l, &e));
            ledger_close(l);
            dump_all(path, &is);
            assert_string_equal(buf_str(&is), buf_str(&whole));
        }
        assert_true(n > (version < 4 ? 20 : 6)); /* so many writes at least */
        (void)unlink(path);
    }
    buf_free(&whole);
    buf_free(&is);
    free(path);
    free(journal);
}

/* A disk that fills up in the middle of a group, or at its end, undoes all of it. */
static void
ledger__loses_a_group_that_the_disk_refuses(void **state)
{
    struct ledger *l = open_new(*state, "full");
    struct err e = {0};
    char id[16];
    int i = 0;

    assert_ok(ledger_topup(l, "first", 7, 1, NULL, &e));
    assert_ok(ledger_begin(l, &e));
    assert_ok(ledger_topup(l, "lost", 100, 1, NULL, &e));
    full = true;
    assert_refused(ledger_commit(l, &e), ERR_SPACE);
    assert_funds(l, 7, 0);
    assert_refused(ledger_topup(l, "no", 100, 1, NULL, &e), ERR_SPACE);
    assert_ok(ledger_begin(l, &e));
    do { /* until SQLite's memory is full of what is not written */
        (void)snprintf(id, sizeof id, "i%d", i++);
    } while (i < 1000000 && ledger_topup(l, id, 1, 1, NULL, &e) == 0);
    assert_int_equal(e.code, ERR_SPACE);
    full = false;
    assert_refused(ledger_topup(l, "later", 1, 1, NULL, &e), ERR_SPACE);
    assert_refused(ledger_commit(l, &e), ERR_SPACE);
    assert_funds(l, 7, 0);
    assert_ok(ledger_topup(l, "lost", 100, 1, NULL, &e));
    assert_funds(l, 107, 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* ---- reads that fail in a group ---- */

static int
read_lease(struct ledger *l, struct err *e)
{
    struct ledger_lease h;

    return ledger_lease(l, "l1", &h, e);
}

static int
read_body(struct ledger *l, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc = ledger_body(l, "hold:l1:1", &out, e);

    buf_free(&out);
    return rc;
}

static int
ignore_hold(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    (void)ctx;
    (void)lease;
    (void)h;
    (void)e;
    return 0;
}

static int
read_holds(struct ledger *l, struct err *e)
{
    return ledger_each_hold(l, ignore_hold, NULL, e);
}

static int
read_accounts(struct ledger *l, struct err *e)
{
    struct found f = {"funding", 0};

    return ledger_each_account(l, find_account, &f, e);
}

static int
read_another_wallet(struct ledger *l, struct err *e)
{
    struct ledger_funds f;
    int rc;

    ledger_use(l, "bob");
    rc = ledger_funds(l, &f, e);
    ledger_use(l, "");
    return rc;
}

static int
read_vouchers(struct ledger *l, struct err *e)
{
    size_t n = 0;
    int rc;

    ledger_use(l, "bob");
    rc = ledger_lapse(l, 1, &n, e);
    ledger_use(l, "");
    return rc;
}

static int
read_reach(struct ledger *l, struct err *e)
{
    int64_t fen = 0;
    int rc;

    ledger_use(l, "bob");
    rc = ledger_reach(l, 1, &fen, e);
    ledger_use(l, "");
    return rc;
}

/* A hold whose body is more than the page that its entry stands on. */
static void
hold_with_long_note(struct ledger *l)
{
    char note[20000];
    const struct ledger_promise p = {
        .lease = "l1", .seq = 1, .total_fen = 10, .note = note};
    struct err e = {0};

    memset(note, 'x', sizeof note - 1);
    note[sizeof note - 1] = '\0';
    assert_ok(ledger_promise(l, &p, 1, NULL, &e));
}

static void
assert_entries(struct ledger *l, int64_t n)
{
    struct ledger_funds f;
    struct err e = {0};

    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.n_entries, n);
}

/* Pages that nobody changed are read from the disk again. */
static void
forget_pages(struct ledger *l)
{
    (void)sqlite3_db_release_memory(l->db);
}

/* SQLite takes the whole group back when a read of it fails: so does the ledger. */
static void
ledger__loses_a_group_in_which_it_cannot_read(void **state)
{
    static int (*const reads[])(struct ledger *, struct err *) = {
        read_lease,          read_body,     read_holds, read_accounts,
        read_another_wallet, read_vouchers, read_reach, ledger_check};

    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        for (int entered = 0; entered < 2; entered++) {
            struct ledger *l = open_new(*state, "worn");
            struct err e = {0};

            assert_ok(ledger_topup(l, "first", 100, 1, NULL, &e));
            hold_with_long_note(l);
            assert_ok(ledger_begin(l, &e));
            assert_ok(ledger_topup(l, "lost", 50, 1, NULL, &e));
            forget_pages(l);
            worn = true;
            assert_refused(reads[i](l, &e), ERR_SYSTEM);
            worn = false;
            assert_int_not_equal(sqlite3_get_autocommit(l->db), 0);
            if (entered == 1) {
                assert_refused(ledger_topup(l, "later", 1, 1, NULL, &e), ERR_SYSTEM);
                assert_refused(read_accounts(l, &e), ERR_SYSTEM);
                assert_refused(read_another_wallet(l, &e), ERR_SYSTEM);
            }
            assert_refused(ledger_commit(l, &e), ERR_SYSTEM);
            assert_funds(l, 100, 10);
            assert_entries(l, 2);
            assert_ok(ledger_check(l, &e));
            assert_ok(ledger_begin(l, &e)); /* all of it again */
            assert_ok(ledger_topup(l, "lost", 50, 1, NULL, &e));
            assert_ok(ledger_topup(l, "later", 1, 1, NULL, &e));
            assert_ok(ledger_commit(l, &e));
            assert_funds(l, 151, 10);
            assert_entries(l, 4);
            assert_ok(ledger_check(l, &e));
            ledger_close(l);
        }
    }
}

/* What one remembers of accounts is of no use once another has entered something. */
static void
ledger__of_two_processes_sees_what_the_other_entered(void **state)
{
    char *path = ledger_path(*state, "two");
    struct ledger *a = open_new(*state, "two");
    struct ledger *b = NULL;
    struct err e = {0};

    assert_ok(ledger_open(&b, path, &e));
    assert_ok(ledger_topup(a, "a1", 100, 1, NULL, &e));
    assert_ok(ledger_topup(b, "b1", 50, 1, NULL, &e));
    assert_ok(ledger_hold(a, "l1", 1, 120, 1, &e));
    assert_refused(ledger_hold(b, "l2", 1, 31, 1, &e), ERR_LIMIT);
    assert_ok(ledger_hold(b, "l2", 1, 30, 1, &e));
    assert_refused(ledger_refund(a, "r", 1, 1, NULL, &e), ERR_LIMIT);
    assert_funds(a, 150, 150);
    assert_ok(ledger_begin(b, &e));
    assert_ok(settle(b, "l1", 70, 0, 0, NULL, &e));
    assert_funds(a, 150, 150);
    assert_funds(b, 80, 30);
    assert_ok(ledger_commit(b, &e));
    assert_funds(a, 80, 30);
    assert_ok(ledger_payout(a, "p", "h1", 70, 1, NULL, &e));
    assert_refused(ledger_payout(b, "q", "h1", 1, 1, NULL, &e), ERR_LIMIT);
    assert_ok(ledger_check(a, &e));
    assert_ok(ledger_check(b, &e));
    ledger_close(a);
    ledger_close(b);
    free(path);
}

static int
light_fuse(void **state)
{
    sqlite3_vfs *v = sqlite3_vfs_find(NULL);

    (void)state;
    real_open = v->xOpen;
    v->xOpen = fused_open;
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__stands_wherever_its_writer_is_killed),
        unit_test_in_dir(ledger__has_all_of_a_group_or_nothing),
        unit_test_in_dir(ledger__is_taken_over_wherever_that_is_killed),
        unit_test_in_dir(ledger__loses_a_group_that_the_disk_refuses),
        unit_test_in_dir(ledger__loses_a_group_in_which_it_cannot_read),
        unit_test_in_dir(ledger__of_two_processes_sees_what_the_other_entered),
    };

    return cmocka_run_group_tests(tests, light_fuse, NULL);
}
