/* What of a session's journal is beyond a power cut's reach, and when. */
#include <sys/stat.h>

#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"
#include "tests/unit/syncs.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

/* The last call synced all of the file, once, and the session counts just that. */
static void
assert_synced(const struct meter_session *s, const struct fixture *f)
{
    struct stat st;

    assert_int_equal(fstatat(f->dir_fd, "usage", &st, 0), 0);
    assert_int_equal(syncs.n_files, 1);
    assert_int_equal(syncs.bytes[0], st.st_size);
    assert_int_equal(meter_session_bytes(s), st.st_size);
    syncs_reset();
}

static bool
is_there(const struct fixture *f, const char *name)
{
    return faccessat(f->dir_fd, name, F_OK, 0) == 0;
}

static void
file__is_durable_when_a_call_returns(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct grant next;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    syncs_reset();
    s = fixture_start(&f);
    assert_int_equal(syncs.n_dirs, 1); /* the name, too */
    assert_synced(s, &f);
    fixture_state(s, USAGE_RUNNING, "ready");
    assert_synced(s, &f);
    /* Records are due within 10 s of each other, and not before 9. */
    assert_int_equal(meter_session_next_ns(s), 9 * NS_PER_S);
    fixture_pass(9 * NS_PER_S - 1);
    assert_int_equal(meter_session_next_ns(s), 1);
    assert_ok(meter_session_tick(s, &e));
    assert_int_equal(syncs.n_files, 0);
    fixture_pass(1);
    assert_int_equal(meter_session_next_ns(s), 0);
    assert_ok(meter_session_tick(s, &e));
    assert_synced(s, &f);
    assert_ok(meter_session_checkpoint(s, &e));
    assert_synced(s, &f);
    grant_init(&next);
    grant_copy(&next, &f.grant);
    next.seq++;
    next.cap_fen++;
    assert_ok(grant_sign(&next, f.renter, &e));
    assert_ok(meter_session_extend(s, &next, &e));
    assert_synced(s, &f);
    assert_ok(meter_session_preempt(s, "owner", &e));
    assert_synced(s, &f);
    fixture_end(s, "stopped");
    assert_synced(s, &f);
    assert_int_equal(syncs.n_dirs, 0);
    meter_session_free(s);
    grant_clear(&next);
    fixture_close(&f);
}

static void
file__that_cannot_be_synced_starts_no_session(void **state)
{
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct fixture f;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    o = fixture_options(&f);
    for (int nth = 1; nth <= 2; nth++) { /* the file, its name */
        syncs_fail(nth, EIO);
        assert_refused(meter_session_start(&s, &o, &e), ERR_SYSTEM);
        assert_int_equal(e.sys_errno, EIO);
        assert_int_equal(syncs.n, nth);
        assert_null(s);
        assert_false(is_there(&f, "usage"));
    }
    syncs_reset();
    s = fixture_start(&f);
    assert_refused(meter_session_start(&(struct meter_session *){NULL}, &o, &e),
                   ERR_EXISTS);
    assert_true(is_there(&f, "usage")); /* the one that runs stays */
    meter_session_free(s);
    fixture_close(&f);
}

/* A record that was written, but perhaps is not there, is written again. */
static void
file__counts_nothing_that_was_not_synced(void **state)
{
    struct meter_session *s;
    struct receipt *r;
    struct fixture f;
    struct err e = {0};
    uint64_t bytes;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    syncs_reset();
    s = fixture_start(&f);
    bytes = meter_session_bytes(s);
    syncs_fail(1, EIO);
    assert_refused(meter_session_state(s, USAGE_RUNNING, "ready", &e), ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EIO);
    assert_int_equal(meter_session_bytes(s), bytes);
    assert_int_equal(meter_session_next_ns(s), NS_PER_S);
    syncs_reset();
    assert_ok(meter_session_tick(s, &e));
    assert_true(meter_session_bytes(s) > bytes);
    assert_synced(s, &f);
    assert_ok(meter_session_tick(s, &e)); /* nothing is left to write */
    assert_int_equal(syncs.n_files, 0);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    receipt_free(r);
    fixture_close(&f);
}

/* A session whose supervisor is gone, and n bytes behind it that are no record. */
static off_t
abandon(struct fixture *f, const char *dir, size_t n)
{
    struct buf tail = BUF_INIT;
    struct meter_session *s;
    off_t good;
    int fd;

    fixture_open(f, dir);
    fixture_terms(f, 500, 86400, 60);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    good = (off_t)meter_session_bytes(s);
    meter_session_free(s);
    buf_reserve(&tail, n);
    memset(tail.data, '?', n);
    fd = openat(f->dir_fd, "usage", O_WRONLY | O_CLOEXEC);
    assert_int_not_equal(fd, -1);
    assert_int_equal(fd_pwrite_all(fd, tail.data, n, good), 0);
    assert_int_equal(close(fd), 0);
    buf_free(&tail);
    return good;
}

static struct meter_session *
reopen(const struct fixture *f)
{
    struct meter_session_options o = fixture_options(f);
    struct meter_session *s = NULL;
    struct err e = {0};

    assert_ok(meter_session_reopen(&s, &o, &e));
    return s;
}

/* The cut is durable before anything is written in its place. */
static void
file__is_cut_for_good_before_it_goes_on(void **state)
{
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct fixture f;
    struct err e = {0};
    off_t good = abandon(&f, *state, 100);
    struct stat st;

    o = fixture_options(&f);
    syncs_fail(1, EIO);
    assert_refused(meter_session_reopen(&s, &o, &e), ERR_SYSTEM);
    assert_int_equal(fstatat(f.dir_fd, "usage", &st, 0), 0);
    assert_int_equal(st.st_size, good); /* nothing written behind a cut that may fail */
    assert_null(s);
    meter_session_free(reopen(&f));
    assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
    fixture_close(&f);

    good = abandon(&f, *state, 100);
    syncs_reset();
    s = reopen(&f);
    assert_int_equal(syncs.n_files, 2);
    assert_int_equal(syncs.bytes[0], good);
    assert_int_equal(syncs.bytes[1], meter_session_bytes(s));
    assert_true(syncs.bytes[1] > good);
    meter_session_free(s);
    fixture_close(&f);
}

/* A whole tail needs no cut, and a long one that is no record is kept, synced, first. */
static void
file__keeps_what_is_more_than_a_torn_record(void **state)
{
    static const struct {
        size_t n;
        bool kept;
    } cases[] = {{0, false}, {1, false}, {4096, false}, {4097, true}, {100000, true}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct meter_session *s;
        struct buf b = BUF_INIT;
        struct err e = {0};
        off_t good = abandon(&f, *state, cases[i].n);
        int at = 0;

        syncs_reset();
        s = reopen(&f);
        assert_int_equal(is_there(&f, "usage.damaged"), cases[i].kept);
        if (cases[i].kept) {
            assert_int_equal(syncs.bytes[at++], cases[i].n);
            assert_ok(file_read_at(f.dir_fd, "usage.damaged", 1 << 20, &b, &e));
            assert_int_equal(b.len, cases[i].n);
            assert_int_equal(b.data[0], '?');
            assert_int_equal(b.data[b.len - 1], '?');
            assert_int_equal(unlinkat(f.dir_fd, "usage.damaged", 0), 0);
        }
        if (cases[i].n > 0) {
            assert_int_equal(syncs.bytes[at++], good);
        }
        assert_int_equal(syncs.bytes[at++], meter_session_bytes(s));
        assert_int_equal(syncs.n_files, at);
        meter_session_free(s);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        buf_free(&b);
        fixture_close(&f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(file__is_durable_when_a_call_returns),
        fixture_test(file__that_cannot_be_synced_starts_no_session),
        fixture_test(file__counts_nothing_that_was_not_synced),
        fixture_test(file__is_cut_for_good_before_it_goes_on),
        fixture_test(file__keeps_what_is_more_than_a_torn_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
