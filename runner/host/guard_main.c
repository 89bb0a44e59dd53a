#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/cgroup.h"
#include "runner/host/guard_internal.h"
#include "runner/host/procs.h"

#define COMMANDS_MAX 1024
#define END_PAUSE_MS 5

struct command {
    uint32_t id;
    pid_t pid;
};

struct warden {
    int sock;
    int signals;
    enum sandbox_spaces spaces;
    struct sandbox *walls;
    struct command commands[COMMANDS_MAX];
    size_t n_commands;
    int join[CGROUP_JOIN_MAX];
    size_t n_join;
    bool had_children;
};

static void
say(const struct warden *w, const struct guard_event *ev)
{
    ssize_t n;

    do {
        n = send(w->sock, ev, sizeof *ev, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);
}

static void
say_failed(const struct warden *w, enum guard_event_kind kind, uint32_t id,
           const struct err *why)
{
    struct guard_event ev = {.kind = kind, .id = id, .why = *why};

    (void)text_escape_to(ev.why.msg, sizeof ev.why.msg, why->msg);
    say(w, &ev);
}

/* ---- killing ---- */

static void
signal_all(const struct warden *w, int signo)
{
    struct proc_list l = {NULL, 0};
    struct err none;

    if (w->spaces != SANDBOX_SPACES_NONE) {
        (void)kill(-1, signo); /* all of the name space but us */
        return;
    }
    if (proc_descendants(getpid(), &l, &none) == 0) {
        for (size_t i = 0; i < l.n; i++) {
            (void)kill(l.v[i].pid, signo);
        }
        proc_list_free(&l);
    }
}

/* Everything dies, and we after it: the locks we hold are free only then. */
static _Noreturn void
end(const struct warden *w)
{
    for (;;) {
        pid_t pid;

        signal_all(w, SIGKILL);
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        }
        if (pid == -1 && errno == ECHILD) {
            _exit(0);
        }
        (void)poll(NULL, 0, END_PAUSE_MS);
    }
}

static void
give_signal(struct warden *w, const struct guard_order *o)
{
    if (o->id == 0) {
        signal_all(w, o->signo);
        return;
    }
    for (size_t i = 0; i < w->n_commands; i++) {
        if (w->commands[i].id == o->id) {
            (void)kill(-w->commands[i].pid, o->signo);
        }
    }
}

/* ---- reaping ---- */

static void
tell_exit(struct warden *w, pid_t pid, int status)
{
    for (size_t i = 0; i < w->n_commands; i++) {
        if (w->commands[i].pid == pid) {
            struct guard_event ev = {
                .kind = GUARD_EV_EXITED, .id = w->commands[i].id, .status = status};

            w->commands[i] = w->commands[--w->n_commands];
            say(w, &ev);
            return;
        }
    }
}

static void
reap(struct warden *w)
{
    struct signalfd_siginfo drop[8];
    pid_t pid;
    int status;

    while (read(w->signals, drop, sizeof drop) > 0) {
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        tell_exit(w, pid, status);
    }
    if (pid == -1 && errno == ECHILD && w->had_children) {
        struct guard_event ev = {.kind = GUARD_EV_EMPTY};

        w->had_children = false;
        say(w, &ev);
    }
}

/* ---- walls ---- */

static void
take_strings(struct strings *to, const struct rec *r, const char *key)
{
    for (size_t i = 0; i < rec_count(r, key); i++) {
        strings_add(to, rec_get_nth(r, key, i, NULL));
    }
}

static bool
is_confined(const struct rec *walls)
{
    const char *confined = rec_get(walls, "confined");

    return confined != NULL && strcmp(confined, "1") == 0;
}

static int
hide(const struct warden *w, const struct rec *r, struct err *e)
{
    const char *home = rec_get(r, "hide");
    const char *tmp = rec_get(r, "tmp");
    size_t n_rw = rec_count(r, "show");
    size_t n_ro = rec_count(r, "show_ro");
    struct sandbox_bind *binds;
    int rc;

    if (w->spaces == SANDBOX_SPACES_NONE) {
        return 0;
    }
    if (is_confined(r) && geteuid() == 0 && sandbox_mask_private("/etc", e) != 0) {
        return -1;
    }
    if (home == NULL) {
        return 0;
    }
    binds = xcalloc(n_rw + n_ro + 1, sizeof *binds);
    for (size_t i = 0; i < n_rw + n_ro; i++) {
        binds[i].read_only = i >= n_rw;
        binds[i].path = i < n_rw ? rec_get_nth(r, "show", i, NULL)
                                 : rec_get_nth(r, "show_ro", i - n_rw, NULL);
    }
    rc = sandbox_hide(home, tmp, binds, n_rw + n_ro, e);
    free(binds);
    return rc;
}

static void
build_walls(struct warden *w, const struct rec *r)
{
    struct sandbox_options o = {.own_pids = w->spaces != SANDBOX_SPACES_NONE};
    struct strings rw = {NULL, 0};
    struct strings ro = {NULL, 0};
    struct guard_event ev = {.kind = GUARD_EV_DONE};
    struct err e = {0};

    o.confined = is_confined(r);
    take_strings(&rw, r, "rw");
    take_strings(&ro, r, "ro");
    o.rw = &rw;
    o.ro = &ro;
    sandbox_free(w->walls);
    w->walls = NULL;
    if (hide(w, r, &e) != 0 || sandbox_new(&w->walls, &o, &e) != 0) {
        say_failed(w, GUARD_EV_FAILED, 0, &e);
    } else {
        ev.landlock = sandbox_has_landlock(w->walls);
        say(w, &ev);
    }
    strings_free(&rw);
    strings_free(&ro);
}

/* ---- commands ---- */

static char **
vector(const struct rec *r, const char *key)
{
    size_t n = rec_count(r, key);
    char **v = xcalloc(n + 1, sizeof *v);

    for (size_t i = 0; i < n; i++) {
        v[i] = xstrdup(rec_get_nth(r, key, i, NULL));
    }
    return v;
}

static void
default_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++) {
        (void)signal(s, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void
become(const struct warden *w, const struct guard_order *o, const struct rec *r,
       const int fds[3], int report_fd, int failed)
{
    char **argv = vector(r, "arg");
    char **envp = vector(r, "env");
    const char *cwd = rec_get(r, "cwd");

    (void)setsid();
    if (w->spaces == SANDBOX_SPACES_NONE) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    }
    for (int i = 0; i < 3 && failed == 0; i++) {
        failed = dup2(fds[i], i) == -1 ? errno : 0;
    }
    if (failed == 0 && o->tty && ioctl(0, TIOCSCTTY, 0) != 0) {
        failed = errno;
    }
    if (failed == 0 && chdir(cwd) != 0) {
        failed = errno;
    }
    default_signals();
    if (failed == 0 && w->walls != NULL) {
        failed = sandbox_enter(w->walls);
    }
    if (failed == 0) {
        failed = guard_exec(argv, envp);
    }
    (void)!write(report_fd, &failed, sizeof failed);
    _exit(127);
}

/* What people type who think of a script: it is there, but a command is looked for in
 * PATH. */
static bool
is_in_directory(const struct rec *r, const char *what)
{
    char *path;
    bool there;

    if (r == NULL || what == NULL || strchr(what, '/') != NULL ||
        rec_get(r, "cwd") == NULL) {
        return false;
    }
    path = xasprintf("%s/%s", rec_get(r, "cwd"), what);
    there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void
start_failed(const struct warden *w, uint32_t id, int sys_errno, const struct rec *r)
{
    const char *what = r == NULL ? NULL : rec_get(r, "arg");
    struct err why;

    if (sys_errno == ENOENT && is_in_directory(r, what)) {
        err_set(&why, ERR_NOT_FOUND,
                "'%.99s' is no command but a file: say ./%.99s, or python3 %.99s", what,
                what, what);
        why.sys_errno = sys_errno;
    } else {
        err_set_sys(&why, sys_errno, "cannot run '%.200s'", what == NULL ? "?" : what);
    }
    say_failed(w, GUARD_EV_NOT_STARTED, id, &why);
}

static void
spawn(struct warden *w, const struct guard_order *o, const struct rec *r,
      const int fds[3])
{
    int report[2] = {-1, -1};
    int failed = 0;
    pid_t pid = -1;

    if (w->n_commands == COMMANDS_MAX) {
        start_failed(w, o->id, EAGAIN, r);
        return;
    }
    if (pipe2(report, O_CLOEXEC) == 0) {
        /* No handlers of libraries: their descriptors are gone. */
        pid = cgroup_fork(w->join, w->n_join, &failed);
    }
    if (pid == 0) {
        become(w, o, r, fds, report[1], failed);
    }
    failed = pid == -1 ? errno : 0;
    (void)fd_close(&report[1]);
    if (pid > 0) {
        w->had_children = true;
        w->commands[w->n_commands++] = (struct command){o->id, pid};
        /* The end of the pipe without a word is a successful exec. */
        if (fd_read_full(report[0], &failed, sizeof failed) != (ssize_t)sizeof failed) {
            failed = 0;
        }
    }
    (void)fd_close(&report[0]);
    if (failed != 0) {
        if (pid > 0) {
            w->n_commands--; /* its exit is not that of the command */
        }
        start_failed(w, o->id, failed, r);
    } else {
        struct guard_event ev = {.kind = GUARD_EV_STARTED, .id = o->id};

        say(w, &ev);
    }
}

/* ---- orders ---- */

static struct rec *
read_record(int fd)
{
    struct stat sb;
    struct rec *r = NULL;
    struct err none;
    char *text;

    if (fstat(fd, &sb) != 0 || sb.st_size < 0 || (size_t)sb.st_size > GUARD_RECORD_MAX) {
        return NULL;
    }
    text = xmalloc((size_t)sb.st_size + 1);
    if (fd_pread_full(fd, text, (size_t)sb.st_size, 0) == (ssize_t)sb.st_size &&
        rec_parse(&r, text, (size_t)sb.st_size, NULL, &none) != 0) {
        r = NULL;
    }
    explicit_bzero(text, (size_t)sb.st_size);
    free(text);
    return r;
}

static void
obey(struct warden *w, const struct guard_order *o, int *fds, size_t n)
{
    struct rec *r = NULL;
    struct err why;

    switch (o->kind) {
    case GUARD_OR_WALLS:
    case GUARD_OR_SPAWN:
        r = n > 0 ? read_record(fds[0]) : NULL;
        if (r == NULL || (o->kind == GUARD_OR_SPAWN && n != 4)) {
            err_set(&why, ERR_CORRUPT, "an order could not be read");
            why.sys_errno = EPROTO;
            say_failed(w,
                       o->kind == GUARD_OR_WALLS ? GUARD_EV_FAILED : GUARD_EV_NOT_STARTED,
                       o->id, &why);
        } else if (o->kind == GUARD_OR_WALLS) {
            build_walls(w, r);
        } else {
            spawn(w, o, r, fds + 1);
        }
        rec_free(r);
        break;
    case GUARD_OR_HOLD: /* just never closed */
        for (size_t i = 0; i < n; i++) {
            fds[i] = -1;
        }
        break;
    case GUARD_OR_JOIN:
        while (w->n_join > 0) {
            (void)fd_close(&w->join[--w->n_join]);
        }
        for (size_t i = 0; i < n && w->n_join < CGROUP_JOIN_MAX; i++) {
            w->join[w->n_join++] = fds[i];
            fds[i] = -1;
        }
        break;
    case GUARD_OR_SIGNAL:
        give_signal(w, o);
        break;
    case GUARD_OR_NONE:
        break;
    }
    for (size_t i = 0; i < n; i++) {
        (void)fd_close(&fds[i]);
    }
}

/* One order; false: the supervisor is gone. */
static bool
hear(struct warden *w)
{
    union {
        char raw[CMSG_SPACE(GUARD_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct guard_order o;
    struct iovec iov = {&o, sizeof o};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.raw,
                       .msg_controllen = sizeof control.raw};
    int fds[GUARD_FDS_MAX];
    size_t n = 0;
    ssize_t got;

    do {
        got = recvmsg(w->sock, &m, MSG_CMSG_CLOEXEC);
    } while (got == -1 && errno == EINTR);
    if (got <= 0) {
        return false;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(c), n * sizeof(int));
        }
    }
    if (got == (ssize_t)sizeof o) {
        obey(w, &o, fds, n);
    }
    return true;
}

/* Keep nothing of the supervisor but the socket. */
static int
clean_up(int *sock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int failed = null == -1 ? errno : 0;

    for (int i = 0; i < 3 && failed == 0; i++) {
        failed = dup2(null, i) == -1 ? errno : 0;
    }
    if (failed == 0 && *sock != 3) {
        failed = dup2(*sock, 3) == -1 ? errno : 0;
        *sock = 3;
    }
    if (failed == 0) {
        (void)fcntl(3, F_SETFD, FD_CLOEXEC);
        fd_close_from(4);
    }
    return failed;
}

_Noreturn void
guard_main(int sock, enum sandbox_spaces spaces)
{
    static struct warden w; /* too large for a stack, and we are a process of our own */
    struct guard_event ev = {.kind = GUARD_EV_DONE};
    sigset_t all;
    struct err why;
    int failed;

    w.spaces = spaces;
    failed = clean_up(&sock);
    w.sock = sock;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setsid();
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "gpurun-guard", 0, 0, 0);
    if (failed == 0 && spaces != SANDBOX_SPACES_NONE) {
        failed = sandbox_own_mounts();
    } else if (failed == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        failed = errno;
    }
    (void)sigemptyset(&all);
    (void)sigaddset(&all, SIGCHLD);
    w.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (failed == 0 && w.signals == -1) {
        failed = errno;
    }
    if (failed != 0) {
        err_set_sys(&why, failed, "cannot start the job's guard");
        say_failed(&w, GUARD_EV_FAILED, 0, &why);
        _exit(1);
    }
    say(&w, &ev);
    for (;;) {
        struct pollfd p[2] = {{w.sock, POLLIN, 0}, {w.signals, POLLIN, 0}};

        if (poll(p, 2, -1) == -1 && errno != EINTR) {
            end(&w);
        }
        if (p[1].revents != 0) {
            reap(&w);
        }
        if (p[0].revents != 0 && !hear(&w)) {
            end(&w);
        }
    }
}
