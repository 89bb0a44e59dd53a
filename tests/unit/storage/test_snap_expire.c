#include "tests/unit/storage/snap_clock.h"

#include <sys/stat.h>

static void
count(void *arg, const struct snap *sn)
{
    assert_int_equal(sn->claim.data, SNAP_DATA_KEPT);
    ++*(size_t *)arg;
}

/*
 * Expire, and say how many went; doubt: whether the clock was not believed. Whoever asks
 * before is told the same.
 */
static size_t
expire(struct store *s, bool *doubt)
{
    struct snap_expiry would;
    struct snap_expiry x;
    size_t n_would = 0;

    OK(snap_would_expire(s, &would, count, &n_would, e));
    OK(snap_expire(s, &x, NULL, NULL, e));
    assert_int_equal(would.n_expired, x.n_expired);
    assert_int_equal(n_would, x.n_expired);
    assert_string_equal(would.clock_doubt.msg, x.clock_doubt.msg);
    *doubt = x.clock_doubt.msg[0] != '\0';
    return x.n_expired;
}

/* Let the store come to believe the clock. */
static void
get_to_know(struct store *s)
{
    bool doubt;

    assert_int_equal(expire(s, &doubt), 0);
    assert_true(doubt);
    pass(DAY - 1);
    assert_int_equal(expire(s, &doubt), 0);
    assert_true(doubt);
    pass(1);
    assert_int_equal(expire(s, &doubt), 0);
    assert_false(doubt);
}

static void
expire__takes_what_is_due_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct snap_claim c;
    char *clock = path_join(f->dir, "clock");
    struct stat seen;
    struct stat again;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", T0, T0 + 15 * DAY);
    add_snap(f->s, "saa3333333333", "x", T0, 0);
    OK(snap_keep(f->s, "saa2222222222", T0 + 16 * DAY, e));
    get_to_know(f->s);
    pass(14 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
    assert_int_equal(stat(clock, &seen), 0);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_int_equal(stat(clock, &again), 0);
    assert_true(seen.st_ino == again.st_ino); /* nothing new to be remembered */
    OK(snap_claim_get(f->s, "saa1111111111", &c, e));
    assert_string_equal(c.why, "expired");
    assert_int_equal(c.expires_wall_ns, T0 + 15 * DAY);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(30 * DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    free(clock);
}

static void
expire__does_not_believe_a_clock_that_jumps(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    get_to_know(f->s);
    wall_ns += 20 * DAY; /* forward, while the boot clock stands */
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    wall_ns -= 20 * DAY; /* and back: seen as a jump too */
    pass(1000);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(13 * DAY);
    assert_int_equal(expire(f->s, &doubt), 1);
    assert_false(doubt);
}

/* To the nanosecond: what is drift yet, and what is a jump. */
static void
expire__takes_drift_for_what_it_is(void **state)
{
    const int64_t drift = (int64_t)600 * 1000000000;
    struct fixture *f = *state;
    bool doubt;

    for (int back = 0; back < 2; back++) {
        int64_t sign = back == 0 ? 1 : -1;

        pass(DAY);
        (void)expire(f->s, &doubt);
        pass(DAY);
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_false(doubt);
        pass(1000000);
        wall_ns += sign * (drift + 1000); /* and a thousandth of what ran */
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_false(doubt);
        pass(1000000);
        wall_ns += sign * (drift + 1001);
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_true(doubt);
    }
}

/* Off, and on again: the clock has moved by so much, of which this boot ran so much. */
static void
reboot(const struct fixture *f, int64_t moved_ns, int64_t ran_ns)
{
    char *path = path_join(f->dir, "clock");
    struct buf text = BUF_INIT;
    char *boot;

    OK(file_read(path, 4096, &text, e));
    boot = strstr(buf_str(&text), "\nboot=") + 6;
    boot[0] = boot[0] == 'f' ? 'e' : 'f';
    OK(file_replace(path, text.data, text.len, e));
    wall_ns += moved_ns;
    boot_ns = ran_ns;
    buf_free(&text);
    free(path);
}

/* After a reboot: not back by more than drift, nor forward by 8 days more than has run.
 */
static void
expire__judges_the_clock_of_another_boot(void **state)
{
    static const struct {
        int64_t moved_ns;
        bool doubt;
    } cases[] = {
        {(int64_t)-600 * 1000000000, false},
        {(int64_t)-600 * 1000000000 - 1, true},
        {8 * DAY + 1000, false},
        {8 * DAY + 1000 + 1, true}, /* of which 1000 ns ran */
        {20 * DAY, true},
    };
    struct fixture *f = *state;
    bool doubt;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pass(DAY);
        (void)expire(f->s, &doubt);
        pass(DAY);
        (void)expire(f->s, &doubt);
        assert_false(doubt);
        reboot(f, cases[i].moved_ns, 1000);
        (void)expire(f->s, &doubt);
        assert_int_equal(doubt, cases[i].doubt);
    }
}

/*
 * A host that parks itself, woken once a day for twenty minutes: of that it is not in
 * doubt for ever, and what is due goes, also after a holiday.
 */
static void
expire__goes_on_where_no_boot_lasts_a_day(void **state)
{
    const int64_t minute = (int64_t)60 * 1000000000;
    struct fixture *f = *state;
    size_t n = 0;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    for (int hours = 25; hours <= 14 * 25; hours += 25) {
        reboot(f, DAY + DAY / 24, 2 * minute);
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_false(doubt);
    }
    reboot(f, DAY, 2 * minute);
    assert_int_equal(expire(f->s, &doubt), 1);
    add_snap(f->s, "saa2222222222", "x", wall_ns, wall_ns + 15 * DAY);
    reboot(f, 20 * DAY, 2 * minute);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    for (int day = 0; day < 15; day++) {
        reboot(f, DAY, 2 * minute);
        n += expire(f->s, &doubt);
        assert_false(doubt);
        assert_true(n == 0 || day == 14); /* its whole period again */
    }
    assert_int_equal(n, 1);
}

/* Slow by seven days since a boot, and put right before anything was due to be looked at.
 */
static void
expire__keeps_what_was_noted_beside_a_slow_clock(void **state)
{
    struct fixture *f = *state;
    char *clock = path_join(f->dir, "clock");
    bool doubt;

    snap_clock_note(f->s);
    assert_false(file_exists(clock)); /* it begins with an expiry */
    get_to_know(f->s);
    reboot(f, 1000, 1000); /* it was off for seven days */
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    snap_clock_note(f->s);
    wall_ns += 7 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(15 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
    free(clock);
}

/* A leap that is believed, and is none: it takes seven days of what is kept, no more. */
static void
expire__loses_no_more_than_a_leap_that_is_believed(void **state)
{
    struct fixture *f = *state;
    int64_t t;
    bool doubt;

    get_to_know(f->s);
    t = wall_ns;
    add_snap(f->s, "saa1111111111", "x", t - 8 * DAY, t + 7 * DAY);
    add_snap(f->s, "saa2222222222", "x", t - 8 * DAY + 2000, t + 7 * DAY + 2000);
    add_snap(f->s, "saa3333333333", "x", t, t + 15 * DAY);
    reboot(f, 7 * DAY + 1000, 1000);
    assert_int_equal(expire(f->s, &doubt), 1); /* it had seven days left */
    assert_false(doubt);
    wall_ns -= 7 * DAY; /* put right */
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(7 * DAY + 998);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(DAY - 998);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(7 * DAY - 1001);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* A job ends under a slow clock; then it is put right: fifteen days remain to it. */
static void
expire__keeps_what_a_slow_clock_saw_end(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", wall_ns, 0);
    OK(snap_keep(f->s, "saa2222222222", wall_ns + 20 * DAY, e));
    wall_ns += 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(DAY + DAY / 24);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(14 * DAY - DAY / 24 - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(5 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* The same on a new host, where nobody has looked at the clock before. */
static void
expire__keeps_what_ended_before_the_clock_was_seen(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    wall_ns += 5 * 365 * DAY;
    get_to_know(f->s);
    pass(14 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* Slow after a boot, and right again before anybody looked. */
static void
expire__keeps_what_was_made_between_two_looks(void **state)
{
    struct fixture *f = *state;
    int64_t slow = T0 - 5 * 365 * DAY;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", slow, slow + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", T0, T0 + 15 * DAY);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(13 * DAY);
    assert_int_equal(expire(f->s, &doubt), 1); /* the one of the right clock */
    pass(2 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* Back and forth: what was promised by the right clock gains no years. */
static void
expire__gives_no_more_than_the_period_anew(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    wall_ns -= 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    wall_ns += 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(15 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(expire__takes_drift_for_what_it_is),
        T(expire__keeps_what_a_slow_clock_saw_end),
        T(expire__keeps_what_ended_before_the_clock_was_seen),
        T(expire__keeps_what_was_made_between_two_looks),
        T(expire__gives_no_more_than_the_period_anew),
        T(expire__judges_the_clock_of_another_boot),
        T(expire__goes_on_where_no_boot_lasts_a_day),
        T(expire__keeps_what_was_noted_beside_a_slow_clock),
        T(expire__loses_no_more_than_a_leap_that_is_believed),
        T(expire__takes_what_is_due_and_no_more),
        T(expire__does_not_believe_a_clock_that_jumps),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
