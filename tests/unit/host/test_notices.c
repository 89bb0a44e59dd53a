#include "tests/unit/unit.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/host/notices.h"

#define NOBODY 65534

static const char *const names[] = {"LOGIN=login", "OURS=login", "KEY=login", NULL};

static void
fill(struct strings *s, const char *const *v)
{
    for (; *v != NULL; v++) {
        strings_add(s, *v);
    }
}

/* What the command wrote into the log, or what was written there of it. */
static void
told(const char *command, const struct strings *secrets, bool start, char text[512])
{
    const char *const env[] = {"OURS=env", "KEY=env", NULL};
    const struct rlimit none = {0, 0};
    struct strings login = {NULL, 0};
    struct job_spec spec;
    struct job_state st;
    struct notice n = {.spec = &spec,
                       .login = &login,
                       .secrets = secrets,
                       .event = "ended",
                       .state = &st};
    int fds[2];
    int status;
    ssize_t len;
    pid_t pid;

    spec_init(&spec);
    state_init(&st);
    spec.notify_host = xstrdup(command);
    fill(&login, names);
    fill(&spec.env, env);
    assert_int_equal(pipe(fds), 0);
    n.log_fd = fds[1];
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pid_t it = -1;

        (void)dup2(fds[1], STDERR_FILENO);
        /* Root may have as many as it likes. */
        if (!start && (setrlimit(RLIMIT_NPROC, &none) != 0 ||
                       (geteuid() == 0 && setuid(NOBODY) != 0))) {
            _exit(2);
        }
        notices_start(&n, &it);
        _exit((it != -1) == start && (it == -1 || waitpid(it, NULL, 0) == it) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(fds[1]);
    len = fd_read_full(fds[0], text, 511);
    assert_true(len > 0);
    text[len] = '\0';
    (void)close(fds[0]);
    strings_free(&login);
    state_free(&st);
    spec_free(&spec);
}

static void
notice__finds_login_then_env_then_secrets(void **state)
{
    const char *const known[] = {"KEY=secret", NULL};
    struct strings secrets = {NULL, 0};
    char text[512];

    (void)state;
    fill(&secrets, known);
    told("echo $LOGIN $OURS $KEY $GPURUN_EVENT", &secrets, true, text);
    assert_string_equal(text, "login env secret ended\n");
    told("echo $LOGIN $OURS $KEY $GPURUN_EVENT", NULL, true, text);
    assert_string_equal(text, "login env env ended\n");
    strings_free(&secrets);
}

static void
notice__that_cannot_be_started_says_so(void **state)
{
    char text[512];
    const char *line;

    (void)state;
    told("true", NULL, false, text);
    line = strstr(text, "Z --notify-host (ended) failed: 'true': no process for the "
                        "notification: ");
    assert_non_null(line);
    /* Not the text's last byte: what measures coverage may complain behind it. */
    assert_non_null(strchr(line, '\n'));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notice__finds_login_then_env_then_secrets),
        cmocka_unit_test(notice__that_cannot_be_started_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
