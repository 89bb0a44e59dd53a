#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/host/runout.h"

#define NS_PER_S ((int64_t)1000000000)

static int
run(const char *script, int64_t timeout_ns, size_t max_bytes, struct buf *out,
    int *status, struct err *e)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t)script, NULL};
    char *envp[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL};
    struct runout_options o = {.path = "/bin/sh",
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = timeout_ns,
                               .max_bytes = max_bytes};

    return runout(&o, out, status, e);
}

static void
runout__gives_output_and_status(void **state)
{
    static const struct {
        const char *script;
        const char *out;
        int exit_code; /* negative: a signal */
    } cases[] = {{"echo out; echo err >&2", "out\n", 0},
                 {"exit 7", "", 7},
                 {"cat; echo $HOME.", ".\n", 0}, /* no input, no environment */
                 {"kill -TERM $$", "", -SIGTERM}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;
        struct err e = {0};
        int status = -1;

        assert_ok(run(cases[i].script, 60 * NS_PER_S, 1000, &b, &status, &e));
        assert_string_equal(buf_str(&b), cases[i].out);
        assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
                         cases[i].exit_code);
        buf_free(&b);
    }
}

/* What it was waited for may come in pieces; who stays behind it is not waited for. */
static void
runout__is_content_with_what_it_waits_for(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t) "sleep 1000 & echo $!; printf 'the e'; sleep 0.2;"
                                        " echo nd; wait",
                    NULL};
    struct runout_options o = {.path = "/bin/sh",
                               .argv = argv,
                               .envp = environ,
                               .timeout_ns = 60 * NS_PER_S,
                               .max_bytes = 1000,
                               .until = "the end"};
    struct buf b = BUF_INIT;
    struct err e = {0};
    int status = -1;

    (void)state;
    assert_ok(runout(&o, &b, &status, &e));
    assert_non_null(strstr(buf_str(&b), "\nthe end"));
    assert_true(WIFSIGNALED(status));
    while (kill((pid_t)strtol(buf_str(&b), NULL, 10), 0) == 0) { /* until it is reaped */
        (void)usleep(1000);
    }
    buf_free(&b);
}

/* What hangs, or prints without end, dies with all it started. */
static void
runout__kills_the_whole_group(void **state)
{
    static const struct {
        const char *script;
        int64_t timeout_ns;
        enum err_code code;
    } cases[] = {{"sleep 1000 & echo $!; sleep 1000", NS_PER_S / 5, ERR_LIMIT},
                 {"sleep 1000 & echo $!; while :; do echo xxxxxxxxxxxxxxxx; done",
                  60 * NS_PER_S, ERR_RANGE}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf b = BUF_INIT;
        struct err e = {0};
        int status = 0;
        int64_t began_ns = clock_boot_ns();
        long child;

        assert_refused(run(cases[i].script, cases[i].timeout_ns, 4096, &b, &status, &e),
                       cases[i].code);
        assert_true(clock_boot_ns() - began_ns < 50 * NS_PER_S);
        assert_true(WIFSIGNALED(status));
        child = strtol(buf_str(&b), NULL, 10);
        assert_true(child > 1);
        for (int k = 0; k < 2000 && kill((pid_t)child, 0) == 0; k++) {
            char path[64];
            char text[256] = "";
            FILE *f;

            (void)snprintf(path, sizeof path, "/proc/%ld/stat", child);
            f = fopen(path, "r");
            if (f != NULL) {
                (void)!fread(text, 1, sizeof text - 1, f);
                (void)fclose(f);
            }
            if (strstr(text, ") Z") != NULL) { /* dead; its reaper is slow */
                break;
            }
            assert_true(k < 1999);
            (void)usleep(5000);
        }
        buf_free(&b);
    }
}

static void
runout__says_that_a_program_is_not_there(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "x", NULL};
    struct runout_options o = {.path = "/no/such/program",
                               .argv = argv,
                               .envp = argv + 1,
                               .timeout_ns = 60 * NS_PER_S,
                               .max_bytes = 10};
    struct buf b = BUF_INIT;
    struct err e = {0};
    int status = 0;

    (void)state;
    assert_ok(runout(&o, &b, &status, &e));
    assert_int_equal(WEXITSTATUS(status), 127);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runout__gives_output_and_status),
        cmocka_unit_test(runout__is_content_with_what_it_waits_for),
        cmocka_unit_test(runout__kills_the_whole_group),
        cmocka_unit_test(runout__says_that_a_program_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
