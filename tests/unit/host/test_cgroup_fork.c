#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/cgroup.h"

/* Exit status of a child started in those groups: 0 when it finds itself in `name`. */
static int
child_in(const int *fds, size_t n, const char *name)
{
    int failed = -1;
    int status;
    pid_t pid = cgroup_fork(fds, n, &failed);

    if (pid == 0) {
        struct buf own = BUF_INIT;
        struct err e;

        if (failed != 0) {
            _exit(2);
        }
        if (file_read("/proc/self/cgroup", 1 << 16, &own, &e) != 0) {
            _exit(3);
        }
        _exit(strstr(buf_str(&own), name) != NULL ? 0 : 1);
    }
    assert_true(pid > 0);
    assert_int_equal(failed, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void
cgroup_fork__child_is_in_the_jobs_group(void **state)
{
    struct cgroup_limits none = {0, 0};
    struct cgroup *g = NULL;
    char job[32];
    char name[64];
    int fds[CGROUP_JOIN_MAX];
    struct err e;

    (void)state;
    (void)snprintf(job, sizeof job, "test-%d", (int)getpid());
    (void)snprintf(name, sizeof name, "/gpurun-%s", job);
    assert_int_equal(cgroup_make(&g, job, &none, &e), 0);
    if (g == NULL) {
        skip();
    }
    assert_int_equal(child_in(fds, cgroup_join_fds(g, fds), name), 0);
    cgroup_remove(g);
}

/* A group of version 2 without controllers: any mount of it will do. */
static void
cgroup_fork__child_is_born_in_a_directory(void **state)
{
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    char path[128] = "";
    int fd = -1;

    (void)state;
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0] && fd == -1; i++) {
        (void)snprintf(path, sizeof path, "%s/gpurun-born-%d", mounts[i], (int)getpid());
        fd = mkdir(path, 0755) == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    }
    if (fd == -1) {
        skip();
    }
    assert_int_equal(child_in(&fd, 1, strrchr(path, '/')), 0);
    (void)close(fd);
    assert_int_equal(rmdir(path), 0);
}

static void
cgroup_fork__what_cannot_be_joined_is_said_in_the_child(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int failed = -1;
    int status;
    pid_t pid = cgroup_fork(&fd, 1, &failed);

    (void)state;
    if (pid == 0) {
        _exit(failed == EBADF ? 7 : 8); /* not open for writing */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    (void)close(fd);
}

static void
cgroup_fork__without_groups_is_a_fork(void **state)
{
    (void)state;
    assert_int_equal(child_in(NULL, 0, "/"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cgroup_fork__child_is_in_the_jobs_group),
        cmocka_unit_test(cgroup_fork__child_is_born_in_a_directory),
        cmocka_unit_test(cgroup_fork__what_cannot_be_joined_is_said_in_the_child),
        cmocka_unit_test(cgroup_fork__without_groups_is_a_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
