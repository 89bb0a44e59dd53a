#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/loop/child.h"

/*
 * fork and exec. Between the two only async-signal-safe calls are made: other threads
 * (a transport's) may hold any lock. What goes wrong there comes back through a
 * pipe that a successful exec closes.
 */

extern char **environ;

enum stage {
    STAGE_NONE = 0,
    STAGE_SESSION,
    STAGE_FDS,
    STAGE_CWD,
    STAGE_TTY,
    STAGE_PREPARE,
    STAGE_EXEC,
};

struct failure {
    int stage;
    int errnum;
};

struct start {
    const struct child_options *o;
    const char *path; /* of the program, resolved */
    int report_fd;    /* where a failure goes */
    pid_t parent;
};

/* ---- in the child ---- */

static void
give_up(const struct start *s, enum stage stage, int errnum)
{
    struct failure f = {(int)stage, errnum};

    (void)!write(s->report_fd, &f, sizeof f);
    _exit(127);
}

static void
reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};

    for (int i = 1; i < NSIG; i++) {
        (void)sigaction(i, &dfl, NULL); /* fails for SIGKILL, SIGSTOP: fine */
    }
}

static void
enter_session(const struct start *s)
{
    const struct child_options *o = s->o;

    if (o->new_session ? setsid() == -1 : o->new_group && setpgid(0, 0) == -1) {
        give_up(s, STAGE_SESSION, errno);
    }
    if (o->death_signal != 0) {
        if (prctl(PR_SET_PDEATHSIG, o->death_signal) == -1) {
            give_up(s, STAGE_SESSION, errno);
        }
        if (getppid() != s->parent) {
            _exit(127); /* it died before: nobody is there to be told */
        }
    }
}

static int
open_null(void)
{
    return open("/dev/null", O_RDWR);
}

/*
 * Everything is first moved above the numbers we are to fill, so that no
 * descriptor is overwritten before it was used.
 */
static void
arrange_fds(struct start *s)
{
    const struct child_options *o = s->o;
    int n = o->n_fds < 3 ? 3 : (int)o->n_fds;
    int moved[CHILD_FDS_MAX];

    s->report_fd = fcntl(s->report_fd, F_DUPFD_CLOEXEC, n);
    if (s->report_fd == -1) {
        _exit(127);
    }
    for (int i = 0; i < n; i++) {
        int fd = i < (int)o->n_fds ? o->fds[i] : -1;

        moved[i] = -1;
        if (fd != -1) {
            moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, n);
            if (moved[i] == -1) {
                give_up(s, STAGE_FDS, errno);
            }
        }
    }
    for (int i = 0; i < n; i++) {
        if (moved[i] != -1) {
            if (dup2(moved[i], i) == -1) {
                give_up(s, STAGE_FDS, errno);
            }
        } else {
            (void)close(i);
            if (i < 3 && open_null() != i) {
                give_up(s, STAGE_FDS, errno);
            }
        }
    }
}

/* Kernels before 5.11: mark what /proc lists. */
static void
mark_by_proc(int from)
{
    char entries[2048];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long n;

    while (dir != -1 && (n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0) {
        for (long at = 0; at < n;) {
            /* struct linux_dirent64: u64 inode, i64 offset, u16 length, u8 type, name */
            uint16_t len;
            const char *name = entries + at + 19;
            int fd = 0;

            memcpy(&len, entries + at + 16, sizeof len);
            for (; *name >= '0' && *name <= '9'; name++) {
                fd = fd * 10 + (*name - '0');
            }
            if (fd >= from) {
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
            }
            at += len;
        }
    }
}

/* Not closed but marked: o->prepare may still need what its caller opened. */
static void
mark_others(const struct child_options *o)
{
    unsigned from = o->n_fds < 3 ? 3 : (unsigned)o->n_fds;

    if (syscall(SYS_close_range, from, ~0u, CLOSE_RANGE_CLOEXEC) == -1) {
        mark_by_proc((int)from);
    }
}

static void
run_child(struct start *s)
{
    const struct child_options *o = s->o;
    sigset_t none;
    int rc;

    reset_signals();
    enter_session(s);
    arrange_fds(s);
    if (o->controlling_tty && ioctl(0, TIOCSCTTY, 0) == -1) {
        give_up(s, STAGE_TTY, errno);
    }
    if (o->cwd != NULL && chdir(o->cwd) == -1) {
        give_up(s, STAGE_CWD, errno);
    }
    mark_others(o);
    rc = o->prepare == NULL ? 0 : o->prepare(o->prepare_ctx);
    if (rc != 0) {
        give_up(s, STAGE_PREPARE, rc);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(s->path, o->argv, o->envp != NULL ? o->envp : environ);
    give_up(s, STAGE_EXEC, errno);
}

/* ---- in the parent ---- */

static bool
is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The program's path, malloc'ed; NULL if $PATH leads nowhere. */
static char *
find_program(const char *file)
{
    const char *path = getenv("PATH");

    if (strchr(file, '/') != NULL) {
        return xstrdup(file);
    }
    for (const char *at = path == NULL ? "/usr/bin:/bin" : path; file[0] != '\0';) {
        size_t len = strcspn(at, ":");
        char *candidate =
            len == 0 ? xasprintf("./%s", file) : xasprintf("%.*s/%s", (int)len, at, file);

        if (is_program(candidate)) {
            return candidate;
        }
        free(candidate);
        if (at[len] == '\0') {
            break;
        }
        at += len + 1;
    }
    return NULL;
}

static int
fail_start(const struct child_options *o, const struct failure *f, struct err *e)
{
    switch ((enum stage)f->stage) {
    case STAGE_CWD:
        return err_set_sys(e, f->errnum, "cannot enter the directory '%s'", o->cwd);
    case STAGE_PREPARE:
        return err_set_sys(e, f->errnum, "cannot prepare to run '%s'", o->file);
    case STAGE_EXEC:
        if (f->errnum == ENOENT || f->errnum == ENOTDIR) {
            return err_set(e, ERR_NOT_FOUND, "cannot run '%s': %s", o->file,
                           strerror(f->errnum));
        }
        if (f->errnum == EACCES || f->errnum == EPERM) {
            return err_set(e, ERR_DENIED, "cannot run '%s': %s", o->file,
                           strerror(f->errnum));
        }
        return err_set_sys(e, f->errnum, "cannot run '%s'", o->file);
    case STAGE_NONE:
    case STAGE_SESSION:
    case STAGE_FDS:
    case STAGE_TTY:
        break;
    }
    return err_set_sys(e, f->errnum, "cannot set up the process for '%s'", o->file);
}

/* fork with every signal blocked, so that no handler of ours runs in the child. */
static pid_t
fork_blocked(struct start *s)
{
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int saved;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    s->parent = getpid();
    pid = fork();
    if (pid == 0) {
        run_child(s);
    }
    saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

int
child_spawn(pid_t *pid, const struct child_options *o, struct err *e)
{
    char *path = find_program(o->file);
    int report[2] = {-1, -1};
    struct failure f;
    struct start s = {.o = o, .path = path};
    pid_t child;
    ssize_t n;
    int rc = -1;

    assert(o->n_fds <= CHILD_FDS_MAX);
    if (path == NULL) {
        err_set(e, ERR_NOT_FOUND, "there is no program '%s'", o->file);
        goto out;
    }
    if (pipe2(report, O_CLOEXEC) == -1) {
        err_set_sys(e, errno, "cannot run '%s'", o->file);
        goto out;
    }
    s.report_fd = report[1];
    child = fork_blocked(&s);
    if (child == -1) {
        err_set_sys(e, errno, "cannot make a process for '%s'", o->file);
        goto out;
    }
    (void)fd_close(&report[1]);
    n = fd_read_full(report[0], &f, sizeof f);
    if (n == (ssize_t)sizeof f) {
        (void)waitpid(child, NULL, 0);
        fail_start(o, &f, e);
        goto out;
    }
    *pid = child;
    rc = 0;

out:
    (void)fd_close(&report[0]);
    (void)fd_close(&report[1]);
    free(path);
    return rc;
}
