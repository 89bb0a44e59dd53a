#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/host/quota_holds.h"

static char dir[] = "/tmp/test_quota_holds.XXXXXX";
static struct renter renter;

static int
make_renter(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    renter.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return renter.fd == -1 ? -1 : 0;
}

static int
remove_renter(void **state)
{
    struct err e;

    (void)state;
    (void)close(renter.fd);
    return file_remove_tree(dir, &e);
}

static struct quota_hold *
open_hold(void)
{
    struct quota_hold *h = NULL;
    struct err e = {0};

    assert_int_equal(quota_hold_open(&h, &renter, &e), 0);
    return h;
}

static int64_t
draw(struct quota_hold *h, int64_t bytes, int64_t want)
{
    int64_t got = -1;
    struct err e = {0};

    assert_int_equal(quota_hold_draw(h, bytes, want, 1000, 2000, &got, &e), 0);
    return got;
}

static void
what_is_drawn__is_nobody_elses(void **state)
{
    struct quota_hold *a = open_hold();
    struct quota_hold *b = open_hold();
    int64_t others = -1;
    struct err e = {0};

    (void)state;
    assert_int_equal(draw(a, 0, 600), 600);
    assert_int_equal(draw(b, 0, 600), 400);
    assert_int_equal(draw(b, 400, 600), 0);
    assert_int_equal(draw(a, 600, 1), 0);
    assert_int_equal(quota_hold_set(b, 300, &others, &e), 0);
    assert_int_equal(others, 600);
    assert_int_equal(draw(a, 600, 1000), 100);
    quota_hold_close(b); /* given back */
    assert_int_equal(draw(a, 600, 1000), 400);
    quota_hold_close(a);
}

static void
a_process_that_dies__gives_back(void **state)
{
    struct quota_hold *a = open_hold();
    int pipes[2];
    char c = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        (void)draw(open_hold(), 0, 1000);
        (void)!write(pipes[1], "x", 1);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(pipes[0], &c, 1), 1);
    assert_int_equal(draw(a, 0, 1000), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(draw(a, 0, 1000), 1000);
    quota_hold_close(a);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_drawn__is_nobody_elses, make_renter,
                                        remove_renter),
        cmocka_unit_test_setup_teardown(a_process_that_dies__gives_back, make_renter,
                                        remove_renter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
