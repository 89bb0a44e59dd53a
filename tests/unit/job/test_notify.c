#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runner/job/notify.h"

#define DAY_NS ((int64_t)86400 * 1000000000)
#define END_NS (100 * DAY_NS)

static void
expiry__is_told_at_three_days_and_at_one_each_once(void **state)
{
    static const struct {
        int64_t left_ns;
        const char *event; /* NULL: nothing */
    } looks[] = {
        {15 * DAY_NS, NULL},
        {3 * DAY_NS + 1, NULL},
        {3 * DAY_NS, "expires-3d"},
        {3 * DAY_NS, NULL},
        {2 * DAY_NS, NULL},
        {1 * DAY_NS + 1, NULL},
        {1 * DAY_NS, "expires-1d"},
        {1, NULL},
        {0, NULL},
        {-DAY_NS, NULL},
    };
    struct notify_expiry seen = {0, 0};

    (void)state;
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        const char *event = notify_expiry(&seen, END_NS, END_NS - looks[i].left_ns);

        if (looks[i].event == NULL) {
            assert_null(event);
        } else {
            assert_non_null(event);
            assert_string_equal(event, looks[i].event);
        }
    }
}

/* Whoever looks first late is told of the nearer moment alone; too late: of nothing. */
static void
expiry__told_late_speaks_once(void **state)
{
    struct notify_expiry seen = {0, 0};
    struct notify_expiry over = {0, 0};

    (void)state;
    assert_string_equal(notify_expiry(&seen, END_NS, END_NS - DAY_NS / 2), "expires-1d");
    assert_null(notify_expiry(&seen, END_NS, END_NS - DAY_NS / 2));
    /* The clock went back: what was told was told. */
    assert_null(notify_expiry(&seen, END_NS, END_NS - 2 * DAY_NS));
    assert_null(notify_expiry(&over, END_NS, END_NS));
}

static void
expiry__of_data_kept_longer_has_moments_of_its_own(void **state)
{
    struct notify_expiry seen = {0, 0};
    int64_t now_ns = END_NS - DAY_NS;

    (void)state;
    assert_string_equal(notify_expiry(&seen, END_NS, now_ns), "expires-1d");
    assert_null(notify_expiry(&seen, 0, now_ns)); /* no end */
    assert_null(notify_expiry(&seen, END_NS + 5 * DAY_NS, now_ns));
    assert_string_equal(notify_expiry(&seen, END_NS + 5 * DAY_NS, now_ns + 4 * DAY_NS),
                        "expires-3d");
    /* Back at the first end: it is another one than was told of last. */
    assert_string_equal(notify_expiry(&seen, END_NS, now_ns), "expires-1d");
}

static void
expiry__record_comes_back_and_nonsense_does_not(void **state)
{
    static const char *const bad[][2] = {{"told_days", "-1"},
                                         {"told_days", "4"},
                                         {"told_days", "soon"},
                                         {"expires_wall_ns", "-1"}};
    const struct notify_expiry seen = {END_NS, 3};
    struct notify_expiry back = {1, 1};
    struct rec *r = notify_expiry_encode(&seen);
    struct err e;

    (void)state;
    assert_int_equal(notify_expiry_parse(&back, r, &e), 0);
    assert_int_equal(back.expires_wall_ns, END_NS);
    assert_int_equal(back.told_days, 3);
    rec_free(r);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        r = rec_new(NOTIFY_EXPIRY_TYPE);
        rec_add(r, bad[i][0], bad[i][1]);
        rec_add(r, bad[i][0][0] == 't' ? "expires_wall_ns" : "told_days", "1");
        assert_int_equal(notify_expiry_parse(&back, r, &e), -1);
        assert_int_equal(back.told_days, 3);
        rec_free(r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expiry__is_told_at_three_days_and_at_one_each_once),
        cmocka_unit_test(expiry__told_late_speaks_once),
        cmocka_unit_test(expiry__of_data_kept_longer_has_moments_of_its_own),
        cmocka_unit_test(expiry__record_comes_back_and_nonsense_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
