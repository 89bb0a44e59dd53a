#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "runner/job/state.h"

static void
state__comes_back_as_it_was(void **state)
{
    struct job_state s;
    struct job_state got;
    struct err e = {0};
    struct rec *r;

    (void)state;
    state_init(&s);
    memcpy(s.job, "j0123456789ab", JOB_ID_LEN + 1);
    memcpy(s.renter, "0123456789abcdef", SIGN_ID_LEN + 1);
    s.phase = JOB_ENDED;
    s.reason = JOB_SIGNALLED;
    s.signal = 9;
    s.seq = 12;
    s.out_end = 0;
    s.kept = JOB_KEPT_PARTIAL;
    state_set_text(&s.name, "fox");
    state_set_text(&s.detail, "two\nlines");
    err_set(&e, ERR_CORRUPT, "%d entries", 3);
    state_tell(&s.kept_why, &s.kept_form, &e);
    s.devices = xcalloc(1, sizeof *s.devices);
    s.n_devices = 1;
    s.devices[0].device_class = xstrdup("gpu");
    s.devices[0].type = xstrdup("4090");
    s.devices[0].uuid = xstrdup("GPU-1");
    r = state_encode(&s);
    assert_int_equal(state_parse(&got, r, &e), 0);
    assert_int_equal(got.phase, JOB_ENDED);
    assert_int_equal(got.reason, JOB_SIGNALLED);
    assert_int_equal(got.exit_code, JOB_NOT_SET);
    assert_int_equal(got.signal, 9);
    assert_int_equal(got.out_end, 0);
    assert_int_equal(got.err_end, JOB_NOT_SET);
    assert_int_equal(got.kept, JOB_KEPT_PARTIAL);
    assert_string_equal(got.detail, "two\nlines");
    assert_null(got.detail_form);
    assert_string_equal(got.kept_why, "3 entries");
    assert_string_equal(got.kept_form, "%d entries\x1f"
                                       "3");
    state_tell(&got.kept_why, &got.kept_form, NULL);
    assert_null(got.kept_why);
    assert_null(got.kept_form);
    assert_string_equal(got.devices[0].uuid, "GPU-1");
    rec_add(r, "invented", "by a newer agent");
    state_free(&got);
    assert_int_equal(state_parse(&got, r, &e), 0);
    rec_free(r);
    state_free(&got);
    state_free(&s);
}

static void
state_get__is_what_state_put_made_and_refuses_the_rest(void **state)
{
    struct rec *r = rec_new("gpurun.answer.v1");
    struct job_state s;
    struct job_state got;
    char *too_long = xcalloc(1, STATE_MAX_BYTES + 2);
    struct err e = {0};

    (void)state;
    memset(too_long, 'x', STATE_MAX_BYTES + 1);
    state_init(&s);
    memcpy(s.job, "j0123456789ab", JOB_ID_LEN + 1);
    memcpy(s.renter, "0123456789abcdef", SIGN_ID_LEN + 1);
    s.phase = JOB_RUNNING;
    for (int seq = 0; seq < 2; seq++) {
        s.seq = seq;
        state_put(r, &s);
    }
    rec_add(r, "state", "gpurun.other.v1\n");
    rec_add(r, "state", too_long);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_get(r, i, &got, &e), 0);
        assert_int_equal(got.seq, (int64_t)i);
        assert_int_equal(got.phase, JOB_RUNNING);
        state_free(&got);
    }
    assert_refused(state_get(r, 2, &got, &e), ERR_VERSION);
    assert_refused(state_get(r, 3, &got, &e), ERR_CORRUPT);
    assert_refused(state_get(r, 4, &got, &e), ERR_CORRUPT); /* there is none */
    rec_free(r);
    state_free(&s);
    free(too_long);
}

struct exit_case {
    enum job_phase phase;
    enum job_reason reason;
    int64_t exit_code;
    int64_t signal;
    int expected;
};

static void
exit_code__is_what_the_command_line_promises(void **state)
{
    static const struct exit_case cases[] = {
        {JOB_ENDED, JOB_EXITED, 0, -1, 0},
        {JOB_ENDED, JOB_EXITED, 3, -1, 3},
        {JOB_ENDED, JOB_EXITED, 255, -1, 255},
        {JOB_ENDED, JOB_SIGNALLED, -1, 9, 137},
        {JOB_ENDED, JOB_STOPPED, -1, 15, 143},
        {JOB_ENDED, JOB_STOPPED, 0, -1, 0},
        {JOB_ENDED, JOB_STOPPED, -1, -1, 102},
        {JOB_ENDED, JOB_COST, 0, -1, 104}, /* even if it then exits 0 */
        {JOB_ENDED, JOB_TIME, -1, 15, 104},
        {JOB_ENDED, JOB_LEASE, -1, 9, 104},
        {JOB_ENDED, JOB_BALANCE, -1, 9, 104},
        {JOB_ENDED, JOB_IDLE, -1, 9, 104},
        {JOB_ENDED, JOB_MEMORY, -1, 9, 104},
        {JOB_ENDED, JOB_FAILED, -1, -1, 102},
        {JOB_ENDED, JOB_FAULT, -1, 9, 102},
        {JOB_ENDED, JOB_OWNER, -1, 15, 102},
        {JOB_ENDED, JOB_OWNER, 0, -1, 102},
        {JOB_ENDED, JOB_EXITED, -1, -1, 102}, /* never invented as 0 */
        {JOB_LOST, JOB_REASON_NONE, -1, -1, 105},
        {JOB_LOST, JOB_EXITED, 0, -1, 105},
        {JOB_RUNNING, JOB_REASON_NONE, -1, -1, 103},
        {JOB_STOPPING, JOB_STOPPED, 0, -1, 103},
        {JOB_PHASE_NONE, JOB_REASON_NONE, 0, -1, 103},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job_state s;

        state_init(&s);
        s.phase = cases[i].phase;
        s.reason = cases[i].reason;
        s.exit_code = cases[i].exit_code;
        s.signal = cases[i].signal;
        if (job_exit_code(&s) != cases[i].expected) {
            fail_msg("case %zu: %d", i, job_exit_code(&s));
        }
    }
}

static void
phrase__says_how_it_is(void **state)
{
    struct job_state s;
    char text[JOB_PHRASE_MAX];

    (void)state;
    state_init(&s);
    s.phase = JOB_RUNNING;
    job_phrase(&s, text);
    assert_string_equal(text, "running");
    s.phase = JOB_STOPPING;
    s.reason = JOB_COST;
    job_phrase(&s, text);
    assert_string_equal(text, "stopping: cost");
    s.phase = JOB_ENDED;
    s.signal = 9;
    job_phrase(&s, text);
    assert_string_equal(text, "ended: cost limit, killed by SIGKILL");
    s.reason = JOB_EXITED;
    s.signal = -1;
    s.exit_code = 3;
    job_phrase(&s, text);
    assert_string_equal(text, "ended: exited 3");
    s.reason = JOB_FAILED;
    s.exit_code = -1;
    job_phrase(&s, text);
    assert_string_equal(text, "ended: failed");
    s.phase = JOB_LOST;
    job_phrase(&s, text);
    assert_string_equal(text, "lost");
}

static void
signal__has_names_and_numbers(void **state)
{
    struct err e = {0};
    int signo = 0;
    char name[16];

    (void)state;
    assert_int_equal(job_signal_parse("TERM", &signo, &e), 0);
    assert_int_equal(signo, 15);
    assert_int_equal(job_signal_parse("SIGKILL", &signo, &e), 0);
    assert_int_equal(signo, 9);
    assert_int_equal(job_signal_parse("64", &signo, &e), 0);
    assert_int_equal(signo, 64);
    assert_int_equal(job_signal_parse("65", &signo, &e), -1);
    assert_int_equal(job_signal_parse("0", &signo, &e), -1);
    assert_int_equal(job_signal_parse("", &signo, &e), -1);
    assert_int_equal(job_signal_parse("9x", &signo, &e), -1);
    assert_string_equal(job_signal_name(15, name), "SIGTERM");
    assert_string_equal(job_signal_name(40, name), "signal 40");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state__comes_back_as_it_was),
        cmocka_unit_test(state_get__is_what_state_put_made_and_refuses_the_rest),
        cmocka_unit_test(exit_code__is_what_the_command_line_promises),
        cmocka_unit_test(phrase__says_how_it_is),
        cmocka_unit_test(signal__has_names_and_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
