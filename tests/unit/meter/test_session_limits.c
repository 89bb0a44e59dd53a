/* A session at its limits: of states, devices, words, and where nothing is limited. */
#include "meter/tariff.h"
#include "tests/unit/meter/fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

/* A host that asks nothing, and a lease without an end. */
static struct meter_session *
start_free(struct fixture *f, const char *dir, int64_t max_s)
{
    fixture_open(f, dir);
    card_free(f->card);
    f->card = card_new();
    fixture_terms(f, 0, max_s, 60);
    return fixture_start(f);
}

static void
session__that_costs_nothing_goes_on_for_ever(void **state)
{
    struct fixture f;
    struct meter_session *s = start_free(&f, *state, GRANT_NO_END);
    struct meter_status st;
    static const enum usage_state states[] = {USAGE_SETUP, USAGE_RUNNING};

    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        fixture_state(s, states[i], "");
        fixture_run(s, 100 * NS_PER_S);
        meter_session_status(s, &st);
        assert_true(st.stop_in_ns == INT64_MAX);
        assert_true(st.can_run_s == INT64_MAX);
        assert_int_equal(st.stop_why, GRANT_LIMIT_NONE);
        assert_int_equal(st.alert_pct, 0);
        assert_int_equal(st.cost_fen, 0);
    }
    meter_session_free(s);
    fixture_close(&f);
}

/* Free, but for so long: time is what ends it, and says so. */
static void
session__that_costs_nothing_ends_with_its_lease(void **state)
{
    struct fixture f;
    struct meter_session *s = start_free(&f, *state, 1000);
    struct meter_status st;

    meter_session_status(s, &st);
    assert_true(st.stop_in_ns == INT64_MAX); /* nothing counts yet */
    assert_int_equal(st.can_run_s, 1000);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 100 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.stop_in_ns, 900 * NS_PER_S);
    assert_int_equal(st.can_run_s, 900);
    assert_int_equal(st.stop_why, GRANT_LIMIT_TIME);
    assert_int_equal(st.since_device_ns, 100 * NS_PER_S);
    fixture_state(s, USAGE_STOPPING, "stopped");
    meter_session_status(s, &st);
    assert_true(st.stop_in_ns == INT64_MAX); /* it is stopping already */
    meter_session_free(s);
    fixture_close(&f);
}

/* Money without an end of time: money is what ends it. */
static void
session__without_an_end_stops_with_its_cap(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;

    fixture_open(&f, *state);
    fixture_terms(&f, 188, GRANT_NO_END, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    meter_session_status(s, &st);
    assert_int_equal(st.can_run_s, 3600);
    assert_int_equal(st.stop_in_ns, 3600 * NS_PER_S);
    assert_int_equal(st.stop_why, GRANT_LIMIT_COST);
    fixture_run(s, 3600 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.can_run_s, 0);
    assert_int_equal(st.stop_in_ns, 0);
    assert_int_equal(st.alert_pct, 100);
    meter_session_free(s);
    fixture_close(&f);
}

static void
session__names_as_many_devices_as_it_may(void **state)
{
    struct journal_device devices[JOURNAL_DEVICES_MAX + 1];
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        devices[i] = (struct journal_device){.class_name = "gpu", .type = "4090"};
        (void)snprintf(devices[i].uuid, sizeof devices[i].uuid, "GPU-%zu", i);
    }
    s = fixture_start(&f);
    assert_refused(meter_session_devices(s, devices, JOURNAL_DEVICES_MAX + 1, &e),
                   ERR_INVALID);
    assert_ok(meter_session_devices(s, devices, JOURNAL_DEVICES_MAX, &e));
    devices[0].type[0] = '\0'; /* a device need not have a type */
    assert_ok(meter_session_devices(s, devices, JOURNAL_DEVICES_MAX, &e));
    (void)strcpy(devices[0].type, "RTX 4090");
    assert_refused(meter_session_devices(s, devices, 1, &e), ERR_INVALID);
    (void)strcpy(devices[0].type, "4090");
    (void)strcpy(devices[0].class_name, "GPU");
    assert_refused(meter_session_devices(s, devices, 1, &e), ERR_INVALID);
    (void)strcpy(devices[0].class_name, "gpu");
    devices[0].uuid[0] = '\0';
    assert_refused(meter_session_devices(s, devices, 1, &e), ERR_INVALID);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->n_devices, JOURNAL_DEVICES_MAX);
    assert_string_equal(r->devices[JOURNAL_DEVICES_MAX - 1].uuid, "GPU-63");
    receipt_free(r);
    fixture_close(&f);
}

/* The record is made but not on the disk: what it says was said, and is said once. */
static void
session__says_its_devices_once_though_the_disk_refused(void **state)
{
    const struct journal_device d = {"gpu", "4090", "GPU-1"};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    assert_ok(meter_session_devices(s, &d, 1, &e));
    /* A clock that went back makes no record: the devices are still to be named. */
    fixture_mono_ns -= NS_PER_S;
    assert_int_equal(meter_session_state(s, USAGE_RUNNING, "ready", &e), -1);
    fixture_mono_ns += NS_PER_S;
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->n_devices, 1);
    receipt_free(r);
    fixture_close(&f);
}

/* A job that changes state madly is stopped from it while the end can still be told. */
static void
session__changes_its_state_so_often_and_no_more(void **state)
{
    static const enum usage_state last[] = {USAGE_FAULT, USAGE_STOPPING,
                                            USAGE_SNAPSHOTTING};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct err e = {0};
    bool preparing = false;
    size_t n = 1; /* shipping */

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    while (n < 65520) {
        preparing = !preparing;
        fixture_state(s, preparing ? USAGE_PREPARING : USAGE_SHIPPING, "");
        n++;
    }
    assert_refused(
        meter_session_state(s, preparing ? USAGE_SHIPPING : USAGE_PREPARING, "", &e),
        ERR_LIMIT);
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        fixture_state(s, last[i], "");
    }
    fixture_end(s, "stopped");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->n_intervals, n + 3 + 1); /* and that of its end */
    receipt_free(r);
    fixture_close(&f);
}

static void
session__ends_only_with_what_can_be_written_down(void **state)
{
    char word[JOURNAL_WORD_MAX + 2];
    struct meter_end end;
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    memset(word, 'x', sizeof word);
    word[JOURNAL_WORD_MAX + 1] = '\0';
#define REFUSED(...)                                                                     \
    do {                                                                                 \
        end = (struct meter_end){.reason = "exited", __VA_ARGS__};                       \
        assert_refused(meter_session_end(s, &end, &e), ERR_INVALID);                     \
    } while (0)
    REFUSED(.exit_code = -2);
    REFUSED(.signal = -1);
    REFUSED(.kept_bytes = -1);
    REFUSED(.keep_until_wall_ns = -1);
    REFUSED(.snapshot = "");
    REFUSED(.snapshot = "two words");
    REFUSED(.snapshot = word); /* the longest id is as long as the longest word */
#undef REFUSED
    end = (struct meter_end){.reason = word};
    assert_refused(meter_session_end(s, &end, &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_RUNNING, word, &e), ERR_INVALID);
    word[JOURNAL_WORD_MAX] = '\0';
    fixture_state(s, USAGE_RUNNING, word);
    end = (struct meter_end){.reason = word, .exit_code = -1, .snapshot = word};
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->exit_code, -1);
    assert_string_equal(r->snapshot, word);
    receipt_free(r);
    fixture_close(&f);
}

/* A moment is one at 0, too: the first after a boot. */
static void
session__counts_its_time_from_the_boots_first_moment(void **state)
{
    static const enum usage_state states[] = {USAGE_SETUP, USAGE_RUNNING};

    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        struct fixture f;
        struct meter_session *s;
        struct meter_status st;

        fixture_open(&f, *state);
        fixture_mono_ns = fixture_boot_ns = 0;
        fixture_terms(&f, 100000, 1000, 60);
        s = fixture_start(&f);
        meter_session_status(s, &st);
        assert_int_equal(st.since_device_ns, -1);
        fixture_state(s, states[i], "");
        meter_session_status(s, &st);
        assert_int_equal(st.stop_in_ns, 1000 * NS_PER_S);
        assert_int_equal(st.since_device_ns, states[i] == USAGE_RUNNING ? 0 : -1);
        fixture_run(s, 5 * NS_PER_S);
        fixture_state(s, USAGE_PREPARING, "");
        fixture_run(s, 5 * NS_PER_S);
        fixture_state(s, USAGE_RUNNING, "ready");
        meter_session_status(s, &st); /* a later run does not begin it again */
        assert_int_equal(st.since_device_ns,
                         states[i] == USAGE_RUNNING ? 10 * NS_PER_S : 0);
        meter_session_free(s);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* A month begins in its first second, not in the one after. */
static void
session__that_ends_with_its_month_is_of_two(void **state)
{
    for (int late = -1; late <= 0; late++) {
        struct fixture f;
        struct meter_session *s;
        struct receipt *r;

        fixture_open(&f, *state);
        fixture_terms(&f, 500, 86400, 60);
        /* 2026-12-01 in Shanghai is 1796054400. */
        fixture_wall_ns = (1796054400LL - 9 + late) * NS_PER_S;
        s = fixture_start(&f);
        fixture_state(s, USAGE_RUNNING, "ready");
        fixture_run(s, 9 * NS_PER_S);
        fixture_end(s, "exited");
        meter_session_free(s);
        r = fixture_receipt(&f);
        assert_int_equal(r->n_months, late < 0 ? 1 : 2);
        receipt_free(r);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(session__that_costs_nothing_goes_on_for_ever),
        fixture_test(session__that_costs_nothing_ends_with_its_lease),
        fixture_test(session__without_an_end_stops_with_its_cap),
        fixture_test(session__names_as_many_devices_as_it_may),
        fixture_test(session__says_its_devices_once_though_the_disk_refused),
        fixture_test(session__changes_its_state_so_often_and_no_more),
        fixture_test(session__counts_its_time_from_the_boots_first_moment),
        fixture_test(session__that_ends_with_its_month_is_of_two),
        fixture_test(session__ends_only_with_what_can_be_written_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
