#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/host/cgroup.h"

/*
 * A process that moves as a whole is moved under a lock that every fork and exit on the
 * machine takes for reading, and whose writer waits for a grace period of RCU. A child
 * that is born in its group needs none of that (version 2), nor does a thread that moves
 * itself alone (version 1's "tasks"; after a fork there is only one).
 */

static bool
is_directory(int fd)
{
    struct stat sb;

    return fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode);
}

static int
write_zero(int fd)
{
    return write(fd, "0", 1) == 1 ? 0 : errno;
}

static int
join(int fd)
{
    int list;
    int failed;

    if (!is_directory(fd)) {
        return write_zero(fd);
    }
    list = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (list == -1) {
        return errno;
    }
    failed = write_zero(list);
    (void)close(list);
    return failed;
}

/* -1: not possible here (a kernel before 5.7, a filter of system calls). */
static pid_t
fork_into(int dir_fd)
{
#ifdef CLONE_INTO_CGROUP
    struct clone_args a = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)dir_fd};

    return (pid_t)syscall(SYS_clone3, &a, sizeof a);
#else
    (void)dir_fd;
    return -1;
#endif
}

pid_t
cgroup_fork(const int *fds, size_t n, int *failed)
{
    size_t first = n > 0 && is_directory(fds[0]) ? 1 : 0;
    pid_t pid = first == 1 ? fork_into(fds[0]) : -1;

    if (pid == -1) {
        first = 0;
        pid = _Fork();
    }
    *failed = 0;
    for (size_t i = first; pid == 0 && i < n && *failed == 0; i++) {
        *failed = join(fds[i]);
    }
    return pid;
}
