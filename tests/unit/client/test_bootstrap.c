#include "tests/unit/unit.h"

#include "runner/client/bootstrap.h"
#include "runner/client/transport.h"
#include "runner/wire/preamble.h"

static struct bootstrap_agents
two_archs(void)
{
    struct bootstrap_agents a = {.n = 2};

    (void)snprintf(a.v[0].arch, sizeof a.v[0].arch, "x86_64");
    (void)snprintf(a.v[1].arch, sizeof a.v[1].arch, "aarch64");
    memset(a.v[0].hash.b, 0x11, sizeof a.v[0].hash.b);
    memset(a.v[1].hash.b, 0x22, sizeof a.v[1].hash.b);
    return a;
}

/*
 * The command stands between single quotes for whatever login shell there is: no quote,
 * backslash (fish), '!' or newline (tcsh) inside.
 */
static void
assert_quiet_for_shells(const char *command)
{
    const char *inner = strchr(command, '\'');
    size_t len = strlen(command);

    assert_int_equal(strncmp(command, "exec sh -c '", 12), 0);
    assert_int_equal(command[len - 1], '\'');
    assert_int_equal(strcspn(inner + 1, "'\\!\n") + 2, strlen(inner));
    assert_true(len <= BOOTSTRAP_COMMAND_MAX);
}

static void
bootstrap_command__is_one_word_to_every_shell(void **state)
{
    struct bootstrap_agents a = two_archs();
    struct buf b = BUF_INIT;
    struct err e;

    (void)state;
    assert_ok(bootstrap_command(&a, NULL, &b, &e));
    assert_quiet_for_shells(buf_str(&b));
    assert_non_null(strstr(buf_str(&b), "aarch64) H=2222"));
    buf_reset(&b);
    a.n = 1;
    assert_ok(bootstrap_command(&a, "~/my agent", &b, &e));
    assert_quiet_for_shells(buf_str(&b));
    assert_non_null(strstr(buf_str(&b), "GPURUN_AGENT_HOME=\"$HOME/my agent\";"));
    /* One architecture: no process is spent on asking. */
    assert_null(strstr(buf_str(&b), "case"));
    buf_free(&b);
}

/* A shell that echoes what it is given must not answer for the agent. */
static void
bootstrap_command__does_not_hold_the_magic_it_prints(void **state)
{
    struct bootstrap_agents a = two_archs();
    struct buf b = BUF_INIT;
    struct err e;
    FILE *p;
    char line[128] = "";

    (void)state;
    assert_ok(bootstrap_command(&a, "/nonexistent", &b, &e));
    assert_null(strstr(buf_str(&b), "~gpurun-agent-missing"));
    p = popen(buf_str(&b), "r"); /* stdin is the test's: what it reads does not matter */
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof line, p));
    assert_string_equal(line, PREAMBLE_MISSING);
    (void)pclose(p);
    buf_free(&b);
}

static void
bootstrap_command__refuses_what_a_shell_would_read(void **state)
{
    static const char *const bad[] = {"a'b", "a\\b", "a!b", "a\"b", "a$b", "a`b", "a\nb"};
    struct bootstrap_agents a = two_archs();
    struct buf b = BUF_INIT;
    char long_dir[BOOTSTRAP_COMMAND_MAX];
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused(bootstrap_command(&a, bad[i], &b, &e), ERR_INVALID);
    }
    memset(long_dir, 'a', sizeof long_dir - 1);
    long_dir[sizeof long_dir - 1] = '\0';
    assert_refused(bootstrap_command(&a, long_dir, &b, &e), ERR_INVALID);
    assert_int_equal(b.len, 0); /* untouched */
    buf_free(&b);
}

static void
cause__names_are_stable_and_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        assert_true(cause_name((enum cause)i)[0] != '\0');
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(cause_name((enum cause)i), cause_name((enum cause)j));
        }
    }
    assert_string_equal(cause_name(CAUSE_HOST_KEY_CHANGED), "host_key_changed");
    assert_string_equal(cause_name(CAUSE_CANCELLED), "cancelled");
    assert_string_equal(cause_name((enum cause)1000), "none");
}

static void
cause__only_what_may_pass_is_tried_again(void **state)
{
    (void)state;
    assert_true(cause_may_pass(CAUSE_REFUSED));
    assert_true(cause_may_pass(CAUSE_CUT));
    assert_true(cause_may_pass(CAUSE_TIMEOUT));
    assert_false(cause_may_pass(CAUSE_AUTH));
    assert_false(cause_may_pass(CAUSE_HOST_KEY_CHANGED));
    assert_false(cause_may_pass(CAUSE_NO_AGENT));
    assert_false(cause_may_pass(CAUSE_CANCELLED));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bootstrap_command__is_one_word_to_every_shell),
        cmocka_unit_test(bootstrap_command__does_not_hold_the_magic_it_prints),
        cmocka_unit_test(bootstrap_command__refuses_what_a_shell_would_read),
        cmocka_unit_test(cause__names_are_stable_and_distinct),
        cmocka_unit_test(cause__only_what_may_pass_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
