#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

static int64_t
told(enum clock_kind kind)
{
    return 1000 + (int64_t)kind;
}

static void
clocks__can_be_owned_by_a_test(void **state)
{
    (void)state;
    clock_set_source(told);
    assert_int_equal(clock_mono_ns(), 1000 + CLOCK_KIND_MONO);
    assert_int_equal(clock_boot_ns(), 1000 + CLOCK_KIND_BOOT);
    assert_int_equal(clock_wall_ns(), 1000 + CLOCK_KIND_WALL);
    clock_set_source(NULL);
    assert_true(clock_wall_ns() > INT64_C(1700000000) * 1000000000);
}

static void
clocks__are_the_kernels(void **state)
{
    static const struct {
        int64_t (*read)(void);
        clockid_t id;
    } cases[] = {{clock_mono_ns, CLOCK_MONOTONIC},
                 {clock_boot_ns, CLOCK_BOOTTIME},
                 {clock_wall_ns, CLOCK_REALTIME}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct timespec before;
        struct timespec after;
        int64_t now;

        assert_int_equal(clock_gettime(cases[i].id, &before), 0);
        now = cases[i].read();
        assert_int_equal(clock_gettime(cases[i].id, &after), 0);
        assert_true(now >= before.tv_sec * INT64_C(1000000000) + before.tv_nsec);
        assert_true(now <= after.tv_sec * INT64_C(1000000000) + after.tv_nsec);
    }
}

static void
boot_id__is_the_same_twice(void **state)
{
    char a[BOOT_ID_LEN + 1];
    char b[BOOT_ID_LEN + 1];

    (void)state;
    clock_boot_id(a);
    clock_boot_id(b);
    assert_int_equal(strlen(a), BOOT_ID_LEN);
    assert_string_equal(a, b);
}

static void
utc__is_formatted_at_the_edges(void **state)
{
    static const struct {
        int64_t ns;
        int digits;
        const char *want;
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00Z"},
        {0, 9, "1970-01-01T00:00:00.000000000Z"},
        {1, 9, "1970-01-01T00:00:00.000000001Z"},
        {999999999, 3, "1970-01-01T00:00:00.999Z"}, /* cut, not rounded */
        {999999999, 6, "1970-01-01T00:00:00.999999Z"},
        {999999999, 0, "1970-01-01T00:00:00Z"},
        {-1, 9, "1969-12-31T23:59:59.999999999Z"},
        {-1, 0, "1969-12-31T23:59:59Z"},
        {-1000000000, 3, "1969-12-31T23:59:59.000Z"},
        {INT64_C(1795473755123456789), 9, "2026-11-23T22:42:35.123456789Z"},
        {INT64_C(951782400000000000), 0, "2000-02-29T00:00:00Z"},
        {INT64_MAX, 9, "2262-04-11T23:47:16.854775807Z"},
        {INT64_MIN, 9, "1677-09-21T00:12:43.145224192Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[CLOCK_TEXT_MAX];

        clock_format_utc(cases[i].ns, cases[i].digits, text);
        assert_string_equal(text, cases[i].want);
    }
}

/* Every day there is, against libc. */
static void
utc__has_the_days_of_the_calendar(void **state)
{
    const int64_t day_ns = INT64_C(86400) * 1000000000;

    (void)state;
    for (int64_t d = INT64_MIN / day_ns; d <= INT64_MAX / day_ns; d++) {
        time_t s = (time_t)(d * 86400);
        char want[CLOCK_TEXT_MAX];
        char text[CLOCK_TEXT_MAX];
        struct tm tm;

        assert_non_null(gmtime_r(&s, &tm));
        assert_true(strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
        clock_format_utc(d * day_ns, 0, text);
        assert_string_equal(text, want);
    }
}

static void
local__shows_the_offset(void **state)
{
    char text[CLOCK_TEXT_MAX];

    (void)state;
    assert_int_equal(setenv("TZ", "CST-8", 1), 0);
    tzset();
    clock_format_local(INT64_C(1795473755123456789), text);
    assert_string_equal(text, "2026-11-24 06:42:35 +0800");
    clock_format_local_ms(INT64_C(1795473755123456789), text);
    assert_string_equal(text, "2026-11-24 06:42:35.123 +0800");
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    tzset();
    clock_format_local(-1, text);
    assert_string_equal(text, "1969-12-31 23:59:59 +0000");
    clock_format_local_ms(-1, text);
    assert_string_equal(text, "1969-12-31 23:59:59.999 +0000");
}

#define S INT64_C(1000000000)

/* 2026-11-28 12:00:00 +0000 */
static int64_t
noon(enum clock_kind kind)
{
    (void)kind;
    return INT64_C(1795867200) * S;
}

static void
moments__are_read_as_people_type_them(void **state)
{
    static const struct {
        const char *text;
        bool ahead;
        int64_t want_ns;
    } cases[] = {
        {"2026-11-28T12:00:00Z", false, INT64_C(1795867200) * S},
        {"2026-11-28T12:00:00.25Z", true, INT64_C(1795867200) * S + S / 4},
        {"2026-11-28T12:00:00.123456789Z", true, INT64_C(1795867200) * S + 123456789},
        {"2026-11-28 20:00:00 +0800", false, INT64_C(1795867200) * S},
        {"2026-11-28 20:00:00 +08:00", false, INT64_C(1795867200) * S},
        {"2026-11-28 12:00", false, INT64_C(1795867200) * S},
        {"2026-11-28", false, (INT64_C(1795867200) - 43200) * S},
        {"2026-11-28", true, (INT64_C(1795867200) + 43200) * S},
        {"2026-12-31", true, INT64_C(1798761600) * S},
        {"11:30", false, (INT64_C(1795867200) - 1800) * S},
        {"11:30:05", false, (INT64_C(1795867200) - 1795) * S},
        {"10m", false, (INT64_C(1795867200) - 600) * S},
        {"10m", true, (INT64_C(1795867200) + 600) * S},
        {"1969-12-31T23:59:59Z", false, -S},
    };
    static const char *const refused[] = {"",
                                          "yesterday",
                                          "2026-11-28T",
                                          "2026-02-31",
                                          "2026-13-01",
                                          "2026-11-28T25:00:00",
                                          "2026-11-28T12:00:00Zx",
                                          "2026-11-28x12:00",
                                          "9999-01-01",
                                          "12:00 noon",
                                          "2026-11-28 12:00 +99:99:9"};
    struct err e = {0};

    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    clock_set_source(noon);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got = 0;

        if (clock_parse_moment(cases[i].text, cases[i].ahead, &got, &e) != 0) {
            fail_msg("%s", e.msg);
        }
        if (got != cases[i].want_ns) {
            fail_msg("%s: %lld instead of %lld", cases[i].text, (long long)got,
                     (long long)cases[i].want_ns);
        }
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int64_t got = 7;

        if (clock_parse_moment(refused[i], false, &got, &e) == 0) {
            fail_msg("'%s' was taken", refused[i]);
        }
        assert_true(e.code == ERR_INVALID);
    }
    clock_set_source(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks__can_be_owned_by_a_test),
        cmocka_unit_test(clocks__are_the_kernels),
        cmocka_unit_test(moments__are_read_as_people_type_them),
        cmocka_unit_test(boot_id__is_the_same_twice),
        cmocka_unit_test(utc__is_formatted_at_the_edges),
        cmocka_unit_test(utc__has_the_days_of_the_calendar),
        cmocka_unit_test(local__shows_the_offset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
