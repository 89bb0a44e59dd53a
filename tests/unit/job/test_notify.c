#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <unistd.h>

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

/* What a command reports, and its exit code. */
static int
report_of(const char *command, char text[64])
{
    const struct strings env = {NULL, 0};
    struct notify_report report = {.code = "it exits with ", .late = "it is late"};
    size_t n = 0;
    int fds[2];
    int status;
    ssize_t k;
    pid_t pid;
    struct err e;

    assert_int_equal(pipe(fds), 0);
    report.fd = fds[1];
    assert_int_equal(notify_start(command, &env, &report, &pid, &e), 0);
    (void)close(fds[1]);
    while ((k = read(fds[0], text + n, 63 - n)) > 0) {
        n += (size_t)k;
    }
    text[n] = '\0';
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
command__that_fails_is_reported_and_no_other(void **state)
{
    char text[64];

    (void)state;
    assert_int_equal(report_of("true", text), 0);
    assert_string_equal(text, "");
    assert_int_equal(report_of("exit 7", text), 7);
    assert_string_equal(text, "it exits with 7\n");
    assert_int_equal(report_of("kill -KILL $$", text), 137);
    assert_string_equal(text, "it exits with 137\n");
    /* where it is reported to is nothing of the command's */
    assert_int_equal(report_of("(echo leak >&3) 2>/dev/null && exit 9; exit 10", text),
                     10);
    assert_string_equal(text, "it exits with 10\n");
}

/* By the clock of its end, not of its start. */
static void
command__that_fails_is_reported_with_the_time(void **state)
{
    const struct strings env = {NULL, 0};
    struct notify_report report = {.code = "code ", .stamped = true};
    int64_t began_ns = clock_wall_ns();
    char text[64] = "";
    char soonest[CLOCK_TEXT_MAX];
    char latest[CLOCK_TEXT_MAX];
    int fds[2];
    pid_t pid;
    struct err e;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    report.fd = fds[1];
    assert_int_equal(notify_start("sleep 0.2; exit 7", &env, &report, &pid, &e), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    clock_format_utc(began_ns + 200 * INT64_C(1000000), 3, soonest);
    clock_format_utc(clock_wall_ns(), 3, latest);
    assert_string_equal(text + strlen(soonest), " code 7\n");
    text[strlen(soonest)] = '\0';
    assert_true(strcmp(soonest, text) <= 0 && strcmp(text, latest) <= 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expiry__is_told_at_three_days_and_at_one_each_once),
        cmocka_unit_test(expiry__told_late_speaks_once),
        cmocka_unit_test(expiry__of_data_kept_longer_has_moments_of_its_own),
        cmocka_unit_test(expiry__record_comes_back_and_nonsense_does_not),
        cmocka_unit_test(command__that_fails_is_reported_and_no_other),
        cmocka_unit_test(command__that_fails_is_reported_with_the_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
