#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/host/park_internal.h"

#define NS_PER_MS ((int64_t)1000000)
#define LONG_NS   (60000 * NS_PER_MS)

/*
 * A session of its own, with a child of its own; neither minds the signal that is to end
 * it. What comes out of the pipe after the first byte is its end: both have gone.
 */
static pid_t
stubborn(int *out)
{
    int fds[2];
    char c;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setsid();
        (void)signal(SIGALRM, SIG_IGN);
        if (fork() == 0) {
            (void)!write(fds[1], "x", 1);
        }
        for (;;) {
            (void)pause();
        }
    }
    (void)close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    *out = fds[0];
    return pid;
}

static void
park_reap__ends_who_does_not_mind_its_alarm(void **state)
{
    int fd = -1;
    pid_t pid = stubborn(&fd);
    char c;

    (void)state;
    assert_int_equal(kill(pid, SIGALRM), 0);
    park_reap(pid, 200 * NS_PER_MS);
    assert_int_equal(waitpid(pid, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(read(fd, &c, 1), 0);
    (void)close(fd);
}

static void
park_reap__waits_no_longer_than_it_takes(void **state)
{
    int64_t began_ns = clock_boot_ns();
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(3);
    }
    park_reap(pid, LONG_NS);
    assert_true(clock_boot_ns() - began_ns < LONG_NS / 2);
    assert_int_equal(waitpid(pid, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(park_reap__ends_who_does_not_mind_its_alarm),
        cmocka_unit_test(park_reap__waits_no_longer_than_it_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
