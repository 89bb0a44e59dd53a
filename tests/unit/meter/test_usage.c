#include <limits.h>

#include "meter/refuse.h"
#include "meter/usage.h"
#include "tests/unit/unit.h"

#define S USAGE_NS_PER_S

static struct usage_moment
at(const char *boot, int64_t mono_ns, int64_t boot_ns)
{
    struct usage_moment m = {.mono_ns = mono_ns, .boot_ns = boot_ns, .wall_ns = 0};

    (void)strcpy(m.boot, boot);
    return m;
}

static int64_t
booked(enum usage_state state, int64_t mono_ns, int64_t boot_ns, int64_t window_ns,
       enum usage_state look)
{
    const struct usage_moment from = at("a", 10, 20);
    const struct usage_moment to = at("a", 10 + mono_ns, 20 + boot_ns);
    struct usage_track t = {.state = state};
    struct err e = {0};

    assert_ok(usage_book(&t, &from, &to, window_ns, &e));
    return t.total.ns[look];
}

static void
usage_book__books_time_to_the_state_it_was_spent_in(void **state)
{
    (void)state;
    assert_int_equal(booked(USAGE_RUNNING, 7, 7, 0, USAGE_RUNNING), 7);
    assert_int_equal(booked(USAGE_SETUP, 30 * S, 30 * S, 0, USAGE_SETUP), 30 * S);
    assert_int_equal(booked(USAGE_ENDED, 30 * S, 30 * S, 0, USAGE_ENDED), 0);
    assert_int_equal(booked(USAGE_RUNNING, 0, 0, 0, USAGE_RUNNING), 0);
}

static void
usage_book__a_gap_is_the_hosts_fault(void **state)
{
    (void)state;
    assert_int_equal(booked(USAGE_RUNNING, 30 * S, 30 * S, 0, USAGE_FAULT), 0);
    assert_int_equal(booked(USAGE_RUNNING, 30 * S + 1, 30 * S + 1, 0, USAGE_RUNNING), 0);
    assert_int_equal(booked(USAGE_RUNNING, 30 * S + 1, 30 * S + 1, 0, USAGE_FAULT),
                     30 * S + 1);
    assert_int_equal(booked(USAGE_STOPPING, 31 * S, 31 * S, 0, USAGE_FAULT), 31 * S);
}

static void
usage_book__sleep_is_free_and_noise_is_not_sleep(void **state)
{
    (void)state;
    assert_int_equal(booked(USAGE_RUNNING, 5 * S, 905 * S, 0, USAGE_SUSPENDED), 900 * S);
    assert_int_equal(booked(USAGE_RUNNING, 5 * S, 905 * S, 0, USAGE_RUNNING), 5 * S);
    assert_int_equal(booked(USAGE_RUNNING, 5, 5 + 100000000, 0, USAGE_SUSPENDED),
                     100000000);
    assert_int_equal(booked(USAGE_RUNNING, 5, 5 + 99999999, 0, USAGE_SUSPENDED), 0);
}

static void
usage_book__another_boot_books_nothing(void **state)
{
    const struct usage_moment from = at("a", 100 * S, 100 * S);
    const struct usage_moment to = at("b", 5 * S, 5 * S);
    struct usage_track t = {.state = USAGE_RUNNING};
    struct err e = {0};

    (void)state;
    assert_ok(usage_book(&t, &from, &to, 0, &e));
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        assert_int_equal(t.total.ns[s], 0);
    }
}

static void
usage_book__refuses_a_clock_that_went_back(void **state)
{
    const struct usage_moment from = at("a", 100, 100);
    const struct usage_moment mono_back = at("a", 99, 200);
    const struct usage_moment boot_back = at("a", 200, 99);
    struct usage_track t = {.state = USAGE_RUNNING};
    struct err e = {0};

    (void)state;
    assert_refused(usage_book(&t, &from, &mono_back, 0, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_CLOCK_BACK);
    assert_refused(usage_book(&t, &from, &boot_back, 0, &e), ERR_INVALID);
    assert_int_equal(t.total.ns[USAGE_RUNNING], 0);
}

static void
usage_book__counts_no_longer_than_it_can(void **state)
{
    const struct usage_moment from = at("a", 0, 0);
    const struct usage_moment far = at("a", INT64_MAX, INT64_MAX);
    const struct usage_moment slept = at("a", 0, INT64_MAX);
    const struct usage_moment next = at("a", 1, 1);
    struct usage_track t = {.state = USAGE_RUNNING};
    struct err e = {0};

    (void)state;
    assert_refused(usage_book(&t, &from, &far, 0, &e), ERR_INVALID);
    assert_refused(usage_book(&t, &from, &slept, 0, &e), ERR_INVALID);
    t.total.ns[USAGE_SHIPPING] = INT64_MAX / 4;
    t.total.ns[USAGE_RUNNING] = INT64_MAX / 4;
    assert_refused(usage_book(&t, &from, &next, 0, &e), ERR_INVALID);
}

/* 60 s free in all, then the window that was agreed, then the host's lateness. */
static void
usage_book__splits_the_stop_window(void **state)
{
    struct usage_track t = {.state = USAGE_STOPPING};
    struct usage_moment from = at("a", 0, 0);
    struct err e = {0};

    (void)state;
    for (int i = 1; i <= 10; i++) {
        struct usage_moment to = at("a", i * 13 * S, i * 13 * S);

        assert_ok(usage_book(&t, &from, &to, 20 * S, &e));
        from = to;
    }
    assert_int_equal(t.total.ns[USAGE_STOPPING], 60 * S);
    assert_int_equal(t.total.ns[USAGE_WINDOW], 20 * S);
    assert_int_equal(t.total.ns[USAGE_FAULT], 50 * S);
    assert_int_equal(usage_device_s(&t.total), 20);
}

static void
usage_preempt__frees_only_a_young_run(void **state)
{
    struct usage_track t = {.state = USAGE_PREPARING};

    (void)state;
    usage_enter(&t, USAGE_RUNNING);
    usage_add(&t, 100);
    usage_enter(&t, USAGE_SUSPENDED);
    usage_add(&t, 1000);
    usage_enter(&t, USAGE_RUNNING); /* the same run goes on */
    usage_add(&t, 20);
    assert_int_equal(t.run_ns, 120);
    assert_int_equal(usage_preempt(&t, 120), 0);
    assert_int_equal(t.total.ns[USAGE_RUNNING], 120);
    usage_enter(&t, USAGE_PREPARING);
    usage_enter(&t, USAGE_RUNNING); /* another one */
    usage_add(&t, 30);
    assert_int_equal(usage_preempt(&t, 31), 30);
    assert_int_equal(t.total.ns[USAGE_RUNNING], 120);
    assert_int_equal(t.total.ns[USAGE_PREEMPTED], 30);
    assert_int_equal(usage_preempt(&t, 31), 0);
    assert_int_equal(t.total.ns[USAGE_PREEMPTED], 30);
}

static void
usage__seconds_are_made_whole_once(void **state)
{
    struct usage_totals t = {{0}};

    (void)state;
    t.ns[USAGE_RUNNING] = 10 * S + 600000000;
    t.ns[USAGE_WINDOW] = 10 * S + 600000000;
    t.ns[USAGE_SETUP] = 5 * S - 1;
    assert_int_equal(usage_device_s(&t), 21);
    assert_int_equal(usage_setup_s(&t), 4);
}

static void
usage_may_enter__knows_what_follows_what(void **state)
{
    (void)state;
    assert_true(usage_may_enter(USAGE_SHIPPING, USAGE_PREPARING));
    assert_true(usage_may_enter(USAGE_PREPARING, USAGE_SETUP));
    assert_true(usage_may_enter(USAGE_SETUP, USAGE_RUNNING));
    assert_true(usage_may_enter(USAGE_SHIPPING, USAGE_RUNNING));
    assert_true(usage_may_enter(USAGE_RUNNING, USAGE_RUNNING));
    assert_true(usage_may_enter(USAGE_RUNNING, USAGE_SNAPSHOTTING));
    assert_true(usage_may_enter(USAGE_FAULT, USAGE_SNAPSHOTTING));
    assert_false(usage_may_enter(USAGE_RUNNING, USAGE_SETUP));
    assert_false(usage_may_enter(USAGE_STOPPING, USAGE_RUNNING));
    assert_false(usage_may_enter(USAGE_SNAPSHOTTING, USAGE_RUNNING));
    assert_false(usage_may_enter(USAGE_PREPARING, USAGE_SUSPENDED));
    assert_false(usage_may_enter(USAGE_RUNNING, USAGE_WINDOW));
    /* Paid in front meanwhile: only what runs, and it may cost again. */
    assert_true(usage_may_enter(USAGE_RUNNING, USAGE_RESERVED));
    assert_true(usage_may_enter(USAGE_RESERVED, USAGE_RUNNING));
    assert_true(usage_may_enter(USAGE_RESERVED, USAGE_STOPPING));
    assert_false(usage_may_enter(USAGE_PREPARING, USAGE_RESERVED));
    assert_false(usage_may_enter(USAGE_STOPPING, USAGE_RESERVED));
    assert_false(usage_may_enter(USAGE_RUNNING, USAGE_LOST));
    assert_false(usage_may_enter(USAGE_RUNNING, USAGE_PREEMPTED));
    assert_false(usage_may_enter(USAGE_RUNNING, USAGE_NONE));
    for (int s = USAGE_SHIPPING; s < USAGE_ENDED; s++) {
        assert_false(usage_may_enter(USAGE_ENDED, (enum usage_state)s));
    }
}

static void
usage_state__has_a_name_a_price_and_a_reason(void **state)
{
    (void)state;
    for (int s = USAGE_NONE + 1; s < USAGE_STATE_COUNT; s++) {
        const char *name = usage_state_name((enum usage_state)s);

        assert_int_equal(usage_state_from_name(name, strlen(name)), s);
        assert_int_equal(usage_state_from_name(name, strlen(name) - 1), USAGE_NONE);
        if (usage_state_price((enum usage_state)s) == USAGE_FREE && s != USAGE_ENDED) {
            assert_true(usage_state_why((enum usage_state)s)[0] != '\0');
        }
    }
    assert_int_equal(usage_state_price(USAGE_RUNNING), USAGE_DEVICE);
    assert_int_equal(usage_state_price(USAGE_WINDOW), USAGE_DEVICE);
    assert_int_equal(usage_state_price(USAGE_SETUP), USAGE_NOCARD);
    assert_int_equal(usage_state_price(USAGE_STOPPING), USAGE_FREE);
    assert_int_equal(usage_state_from_name("", 0), USAGE_NONE);
}

/* Clocks of a process that is stopped, now and then, between the reading of two. */
static int64_t stopped_mono_ns;
static int n_reads;
static int n_stops;

static int64_t
stopped_clock(enum clock_kind kind)
{
    if (n_reads++ < n_stops) {
        stopped_mono_ns += 5 * S;
    }
    return stopped_mono_ns + (kind == CLOCK_KIND_BOOT ? 1000 * S : 0);
}

static void
usage_read_clocks__is_not_fooled_by_a_stop_between_two(void **state)
{
    struct usage_moment m;

    (void)state;
    clock_set_source(stopped_clock);
    for (n_stops = 0; n_stops < 20; n_stops++) {
        n_reads = 0;
        usage_read_clocks(&m);
        assert_int_equal(m.boot_ns - m.mono_ns, 1000 * S);
        assert_true(m.wall_ns >= m.mono_ns);
    }
    n_stops = INT_MAX; /* none is close: it ends all the same */
    n_reads = 0;
    usage_read_clocks(&m);
    assert_true(m.boot_ns > m.mono_ns);
    clock_set_source(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_book__books_time_to_the_state_it_was_spent_in),
        cmocka_unit_test(usage_book__a_gap_is_the_hosts_fault),
        cmocka_unit_test(usage_book__sleep_is_free_and_noise_is_not_sleep),
        cmocka_unit_test(usage_book__another_boot_books_nothing),
        cmocka_unit_test(usage_book__refuses_a_clock_that_went_back),
        cmocka_unit_test(usage_book__counts_no_longer_than_it_can),
        cmocka_unit_test(usage_book__splits_the_stop_window),
        cmocka_unit_test(usage_preempt__frees_only_a_young_run),
        cmocka_unit_test(usage__seconds_are_made_whole_once),
        cmocka_unit_test(usage_may_enter__knows_what_follows_what),
        cmocka_unit_test(usage_state__has_a_name_a_price_and_a_reason),
        cmocka_unit_test(usage_read_clocks__is_not_fooled_by_a_stop_between_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
