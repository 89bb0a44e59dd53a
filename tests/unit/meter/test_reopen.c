/* Sessions that a crash interrupted, at every byte, and what the next process makes of
 * them. */
#include <sys/stat.h>

#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static void
write_file(const struct fixture *f, const void *data, size_t len)
{
    int fd = openat(f->dir_fd, "usage", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(fd_write_all(fd, data, len), 0);
    assert_int_equal(close(fd), 0);
}

/* Setting the table: a session that ran 100 s and whose supervisor is gone. */
static void
abandon(struct fixture *f, const char *dir, struct buf *journal)
{
    struct meter_session *s;

    fixture_open(f, dir);
    fixture_terms(f, 5000, 86400, 60);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 100 * NS_PER_S);
    meter_session_free(s);
    fixture_read(f, journal);
}

static void
end_lost(struct meter_session *s)
{
    const struct meter_end end = {.reason = "lost", .exit_code = -1, .lost = true};
    struct err e = {0};

    assert_ok(meter_session_end(s, &end, &e));
}

static void
reopen__bills_to_the_last_record_and_not_further(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct receipt *r;
    struct err e = {0};

    abandon(&f, *state, &b);
    fixture_pass(20 * NS_PER_S); /* less than a gap: nobody saw it all the same */
    o = fixture_options(&f);
    assert_ok(meter_session_reopen(&s, &o, &e));
    fixture_run(s, 40 * NS_PER_S);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    fixture_run(s, 3 * NS_PER_S);
    end_lost(s);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 99); /* ticks at 9, 18, … 99 s */
    assert_int_equal(r->last.total.ns[USAGE_LOST], 21 * NS_PER_S);
    assert_int_equal(r->last.total.ns[USAGE_FAULT], 40 * NS_PER_S);
    assert_int_equal(r->charge_fen, 5);
    assert_true(r->lost);
    assert_int_equal(r->exit_code, -1);
    receipt_free(r);
    buf_free(&b);
    fixture_close(&f);
}

/* Cut at every byte: whole records stand, the rest goes, and the chain goes on. */
static void
reopen__stands_wherever_the_tail_is_torn(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    size_t offsets[64];
    size_t n;
    size_t whole = 0;

    abandon(&f, *state, &b);
    n = forge_frames(&b, offsets, 63);
    for (size_t len = 0; len <= b.len; len++) {
        struct meter_session_options o = fixture_options(&f);
        struct meter_session *s = NULL;
        struct stat st;
        struct err e = {0};

        while (whole < n && offsets[whole + 1] <= len) {
            whole++;
        }
        write_file(&f, b.data, len);
        if (whole == 0) {
            assert_refused(meter_session_reopen(&s, &o, &e), ERR_CORRUPT);
            assert_int_equal(fstatat(f.dir_fd, "usage", &st, 0), 0);
            assert_int_equal(st.st_size, len);
            continue;
        }
        assert_ok(meter_session_reopen(&s, &o, &e));
        end_lost(s);
        meter_session_free(s);
        {
            struct receipt *r = fixture_receipt(&f);

            assert_int_equal(r->last.seq, whole + 2);
            receipt_free(r);
        }
    }
    assert_int_equal(faccessat(f.dir_fd, "usage.damaged", F_OK, 0), -1);
    buf_free(&b);
    fixture_close(&f);
}

/* A tail of other bytes than were written: zeros, rubbish, an old record. */
static void
reopen__cuts_a_tail_that_is_not_a_record(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct buf dirty = BUF_INIT;
    size_t offsets[64];
    size_t n;

    abandon(&f, *state, &b);
    n = forge_frames(&b, offsets, 63);
    for (int kind = 0; kind < 3; kind++) {
        struct meter_session_options o = fixture_options(&f);
        struct meter_session *s = NULL;
        struct receipt *r;
        struct err e = {0};
        uint8_t rubbish[500];

        memset(rubbish, kind == 0 ? 0 : 0xa5, sizeof rubbish);
        buf_reset(&dirty);
        buf_add(&dirty, b.data, b.len);
        if (kind < 2) {
            buf_add(&dirty, rubbish, sizeof rubbish);
        } else {
            buf_add(&dirty, b.data + offsets[3], offsets[4] - offsets[3]);
        }
        write_file(&f, dirty.data, dirty.len);
        assert_ok(meter_session_reopen(&s, &o, &e));
        end_lost(s);
        meter_session_free(s);
        r = fixture_receipt(&f);
        assert_int_equal(r->last.seq, n + 2);
        assert_int_equal(r->device_s, 99);
        receipt_free(r);
    }
    buf_free(&b);
    buf_free(&dirty);
    fixture_close(&f);
}

/* Damage in the middle: billed to the last good record, the rest kept as evidence. */
static void
reopen__keeps_what_damage_it_cuts(void **state)
{
    struct fixture f;
    struct meter_session_options o;
    struct meter_session *s;
    struct receipt *r;
    struct buf b = BUF_INIT;
    struct buf kept = BUF_INIT;
    size_t offsets[64];
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 5000, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 300 * NS_PER_S);
    meter_session_free(s);
    fixture_read(&f, &b);
    (void)forge_frames(&b, offsets, 63);
    b.data[offsets[5] + 100] ^= 4;
    write_file(&f, b.data, b.len);
    o = fixture_options(&f);
    assert_ok(meter_session_reopen(&s, &o, &e));
    end_lost(s);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 27);
    receipt_free(r);
    assert_ok(file_read_at(f.dir_fd, "usage.damaged", 1 << 20, &kept, &e));
    assert_int_equal(kept.len, b.len - offsets[5]);
    assert_memory_equal(kept.data, b.data + offsets[5], kept.len);
    buf_free(&b);
    buf_free(&kept);
    fixture_close(&f);
}

static void
set_boot(struct journal_entry *x, size_t i, void *arg)
{
    (void)i;
    if (x->r.at.boot[0] != '\0') {
        (void)strcpy(x->r.at.boot, arg);
    }
}

/* The machine went down: no time passed that anybody could know. */
static void
reopen__after_a_reboot_counts_nothing(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct buf other = BUF_INIT;
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct receipt *r;
    struct err e = {0};

    abandon(&f, *state, &b);
    forge(&b, &other, f.host, set_boot, "00000000-0000-4000-8000-000000000001");
    write_file(&f, other.data, other.len);
    fixture_mono_ns = 30 * NS_PER_S; /* clocks begin anew */
    fixture_boot_ns = 30 * NS_PER_S;
    fixture_wall_ns -= 86400 * NS_PER_S;
    o = fixture_options(&f);
    assert_ok(meter_session_reopen(&s, &o, &e));
    fixture_run(s, 5 * NS_PER_S);
    end_lost(s);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 99);
    assert_int_equal(r->last.total.ns[USAGE_LOST], 0);
    assert_int_equal(r->last.total.ns[USAGE_FAULT], 5 * NS_PER_S);
    receipt_free(r);
    buf_free(&b);
    buf_free(&other);
    fixture_close(&f);
}

/* A machine that does not tell its boots apart: as if each process had its own. */
static void
reopen__without_boot_ids_counts_nothing(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct journal_reader *r;
    struct usage_track t;
    struct usage_moment later;
    struct err e = {0};

    abandon(&f, *state, &b);
    r = journal_reader_new(NULL, NULL);
    assert_ok(journal_reader_feed(r, b.data, b.len, &e));
    later = r->last.at;
    later.mono_ns += 50;
    t = r->track;
    assert_ok(journal_book(r, &t, JOURNAL_REOPEN, &later, &e));
    assert_int_equal(t.total.ns[USAGE_LOST], 50);
    (void)strcpy(r->last.at.boot, "unknown");
    (void)strcpy(later.boot, "unknown");
    t = r->track;
    assert_ok(journal_book(r, &t, JOURNAL_REOPEN, &later, &e));
    assert_int_equal(t.total.ns[USAGE_LOST], 0);
    journal_reader_free(r);
    buf_free(&b);
    fixture_close(&f);
}

static void
reopen__again_and_again_goes_on_with_one_chain(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct receipt *r;
    struct err e = {0};

    abandon(&f, *state, &b);
    o = fixture_options(&f);
    for (int i = 0; i < 5; i++) {
        fixture_pass(NS_PER_S);
        assert_ok(meter_session_reopen(&s, &o, &e));
        meter_session_free(s);
    }
    assert_ok(meter_session_reopen(&s, &o, &e));
    end_lost(s);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 99);
    assert_int_equal(r->last.total.ns[USAGE_LOST], 6 * NS_PER_S);
    receipt_free(r);
    buf_free(&b);
    fixture_close(&f);
}

static void
reopen__refuses_another_hosts_journal(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct err e = {0};

    abandon(&f, *state, &b);
    o = fixture_options(&f);
    o.host_key = f.renter;
    assert_refused(meter_session_reopen(&s, &o, &e), ERR_DENIED);
    o.host_key = f.host;
    o.name = "other";
    assert_refused(meter_session_reopen(&s, &o, &e), ERR_NOT_FOUND);
    buf_free(&b);
    fixture_close(&f);
}

/* The supervisor died between its receipt and its last word: the receipt is all there is.
 */
static void
reopen__of_an_ended_session_leaves_its_receipt_alone(void **state)
{
    struct fixture f;
    struct meter_session_options o;
    struct meter_session *s;
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 100000, GRANT_NO_END, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 25 * NS_PER_S);
    fixture_end(s, "exited");
    fixture_read(&f, &before);
    /* Both: who wrote it goes away later than who looks at it. */
    o = fixture_options(&f);
    for (int i = 0; i < 2; i++) {
        struct meter_session *t = NULL;

        assert_refused(meter_session_reopen(&t, &o, &e), ERR_EXISTS);
        fixture_read(&f, &after);
        assert_int_equal(after.len, before.len);
        assert_memory_equal(after.data, before.data, before.len);
        meter_session_free(s);
        s = NULL;
    }
    receipt_free(fixture_receipt(&f));
    buf_free(&before);
    buf_free(&after);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(reopen__bills_to_the_last_record_and_not_further),
        fixture_test(reopen__stands_wherever_the_tail_is_torn),
        fixture_test(reopen__cuts_a_tail_that_is_not_a_record),
        fixture_test(reopen__keeps_what_damage_it_cuts),
        fixture_test(reopen__after_a_reboot_counts_nothing),
        fixture_test(reopen__without_boot_ids_counts_nothing),
        fixture_test(reopen__again_and_again_goes_on_with_one_chain),
        fixture_test(reopen__refuses_another_hosts_journal),
        fixture_test(reopen__of_an_ended_session_leaves_its_receipt_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
