#include "runner/host/park.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/ofdlock.h"
#include "runner/host/park_internal.h"
#include "runner/loop/child.h"

#define ASKED_NAME "park"
#define STATE_NAME "park.state"
#define HOLD_NAME  "park.hold"
#define TIMER_NAME "park.timer"
#define STATE_TYPE "gpurun.park.state.v1"
#define FILE_MAX   ((size_t)32 * 1024)
#define NS_PER_S   ((int64_t)1000000000)

/* Bytes of the lock file, which is empty: users of the machine lock all of it. */
#define BYTE_OF_USERS   ((off_t)0)
#define BYTE_OF_ERRANDS ((off_t)1)

/* ---- the lock ---- */

int
park_hold_open(const struct agent *a)
{
    return openat(a->home_fd, HOLD_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int64_t
park_hold_time(int fd)
{
    struct stat sb;

    if (fd == -1 || fstat(fd, &sb) != 0) {
        return 0;
    }
    return (int64_t)sb.st_mtim.tv_sec * NS_PER_S + sb.st_mtim.tv_nsec;
}

bool
park_is_held(int fd)
{
    return fd != -1 && ofdlock_byte_is_held(fd, BYTE_OF_USERS);
}

bool
park_take_alone(int fd)
{
    return fd == -1 || ofdlock_take(fd, true) != EAGAIN;
}

void
park_give_up(int fd)
{
    if (fd != -1) {
        ofdlock_give_up(fd);
    }
}

static int
hold(const struct agent *a, bool counts, int *fd, struct err *e)
{
    int held = park_hold_open(a);
    int why;

    *fd = -1;
    if (held == -1) {
        return 0;
    }
    why = counts ? ofdlock_take(held, false)
                 : ofdlock_take_byte(held, BYTE_OF_ERRANDS, false);
    if (why == EAGAIN) {
        (void)fd_close(&held);
        return err_set(e, ERR_BUSY,
                       "this host is being parked: its park command runs now; start the "
                       "machine again, then the job");
    }
    if (counts) {
        (void)futimens(held, NULL);
    }
    *fd = held;
    return 0;
}

int
park_hold(const struct agent *a, int *fd, struct err *e)
{
    return hold(a, true, fd, e);
}

int
park_keep_off(const struct agent *a, int *fd, struct err *e)
{
    return hold(a, false, fd, e);
}

void
park_release(int *fd)
{
    if (*fd != -1) {
        (void)futimens(*fd, NULL);
        (void)fd_close(fd);
    }
}

/* ---- what was asked for ---- */

int
park_asked(const struct agent *a, bool *asked, struct park *out, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err why;
    int rc = -1;

    if (file_read_at(a->home_fd, ASKED_NAME, FILE_MAX, &b, &why) != 0) {
        *asked = false;
        if (why.code == ERR_NOT_FOUND) {
            return 0;
        }
        *e = why;
        return -1;
    }
    if (rec_parse(&r, b.data, b.len, PARK_TYPE, e) == 0 && park_parse(out, r, e) == 0) {
        *asked = out->command != NULL;
        if (!*asked) {
            park_free(out);
        }
        rc = 0;
    }
    rec_free(r);
    buf_free(&b);
    return rc == 0 ? 0 : err_wrap(e, "%s/%s", a->home, ASKED_NAME);
}

static int
forget(const struct agent *a, struct err *e)
{
    if (unlinkat(a->home_fd, ASKED_NAME, 0) != 0 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove '%s/%s'", a->home, ASKED_NAME);
    }
    return fsync(a->home_fd) == 0
               ? 0
               : err_set_sys(e, errno, "cannot sync the agent's home '%s'", a->home);
}

int
park_set(const struct agent *a, const char *command, int64_t after_s, struct err *e)
{
    struct park p = {.after_s = after_s};
    struct buf b = BUF_INIT;
    struct rec *r;
    int fd = -1;
    int rc;

    if (command == NULL) {
        rc = forget(a, e);
    } else if (park_check(command, strlen(command), after_s, e) != 0) {
        return -1;
    } else {
        p.command = xstrdup(command);
        r = park_encode(&p);
        rec_encode(r, &b);
        rec_free(r);
        park_free(&p);
        rc = file_replace_at(a->home_fd, ASKED_NAME, b.data, b.len, e);
        buf_free(&b);
    }
    if (rc == 0) {
        /* What came of the former command says nothing of this one; time begins anew. */
        (void)unlinkat(a->home_fd, STATE_NAME, 0);
        fd = park_hold_open(a);
        park_release(&fd);
        park_ensure(a);
    }
    return rc;
}

/* ---- how it stands ---- */

void
park_state_load(const struct agent *a, struct park_state *out)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    const char *boot;
    const char *why;
    const char *form;
    int64_t phase = 0;
    struct err none;

    memset(out, 0, sizeof *out);
    if (file_read_at(a->home_fd, STATE_NAME, FILE_MAX, &b, &none) == 0 &&
        rec_parse(&r, b.data, b.len, STATE_TYPE, &none) == 0 &&
        rec_need_int(r, "phase", 0, PARK_FAILED, &phase, &none) == 0 &&
        rec_need_int(r, "idle_since_ns", INT64_MIN, INT64_MAX, &out->idle_since_ns,
                     &none) == 0 &&
        rec_need_int(r, "hold_ns", INT64_MIN, INT64_MAX, &out->hold_ns, &none) == 0 &&
        rec_need_int(r, "at_wall_ns", 0, INT64_MAX, &out->at_wall_ns, &none) == 0 &&
        rec_need_int(r, "n_failed", 0, INT32_MAX, &out->n_failed, &none) == 0) {
        boot = rec_get(r, "boot");
        why = rec_get(r, "why");
        form = rec_get(r, "why_form");
        (void)snprintf(out->boot, sizeof out->boot, "%s", boot != NULL ? boot : "");
        err_told(&out->why, ERR_NONE, why != NULL ? why : "", form);
        out->phase = (enum park_phase)phase;
    } else {
        memset(out, 0, sizeof *out);
    }
    rec_free(r);
    buf_free(&b);
}

int
park_state_save(const struct agent *a, const struct park_state *st, struct err *e)
{
    struct rec *r = rec_new(STATE_TYPE);
    struct buf b = BUF_INIT;
    int rc;

    rec_add_int(r, "phase", st->phase);
    rec_add(r, "boot", st->boot);
    rec_add_int(r, "idle_since_ns", st->idle_since_ns);
    rec_add_int(r, "hold_ns", st->hold_ns);
    rec_add_int(r, "at_wall_ns", st->at_wall_ns);
    rec_add_int(r, "n_failed", st->n_failed);
    rec_add(r, "why", st->why.msg);
    rec_add(r, "why_form", st->why.form);
    rec_encode(r, &b);
    rec_free(r);
    rc = file_replace_at(a->home_fd, STATE_NAME, b.data, b.len, e);
    buf_free(&b);
    return rc;
}

/* The timer looks now and then only; what has changed since is seen by the lock. */
static void
stand(const struct agent *a, struct park *p)
{
    int fd = park_hold_open(a);
    int64_t now_ns = clock_boot_ns();
    char boot[BOOT_ID_LEN + 1];
    struct park_state st;
    bool current;

    park_state_load(a, &st);
    clock_boot_id(boot);
    current = strcmp(st.boot, boot) == 0 && st.hold_ns == park_hold_time(fd);
    if (st.phase == PARK_RUNNING && current) {
        p->phase = PARK_RUNNING;
        p->at_wall_ns = st.at_wall_ns;
    } else if (park_is_held(fd)) {
        p->phase = PARK_WAITING;
    } else if (!current || st.phase == PARK_NONE || st.phase == PARK_WAITING) {
        p->phase = st.phase == PARK_WAITING && current ? PARK_WAITING : PARK_COUNTING;
        p->at_wall_ns = clock_wall_ns() + p->after_s * NS_PER_S;
    } else {
        p->phase = st.phase;
        p->at_wall_ns =
            st.phase == PARK_COUNTING
                ? clock_wall_ns() + p->after_s * NS_PER_S - (now_ns - st.idle_since_ns)
                : st.at_wall_ns;
    }
    if (p->phase == PARK_WAITING) {
        p->at_wall_ns = 0;
    }
    if (p->phase == st.phase && st.why.msg[0] != '\0') {
        park_set_why(p, &st.why);
    }
    (void)fd_close(&fd);
}

int
park_look(const struct agent *a, struct park *out, struct err *e)
{
    struct park p;
    bool asked;

    park_init(&p);
    if (park_asked(a, &asked, &p, e) != 0) {
        return -1;
    }
    if (asked) {
        stand(a, &p);
    }
    *out = p;
    return 0;
}

/* ---- the timer ---- */

void
park_ensure(const struct agent *a)
{
    char *argv[] = {(char *)(uintptr_t) "gpurun-agent", (char *)(uintptr_t) "park-timer",
                    NULL};
    int fds[3] = {-1, -1, -1};
    struct child_options o = {.file = "/proc/self/exe",
                              .argv = argv,
                              .fds = fds,
                              .n_fds = 3,
                              .new_session = true};
    char *path;
    int lock_fd = -1;
    struct err none;
    pid_t pid;

    if (faccessat(a->home_fd, ASKED_NAME, F_OK, 0) != 0) {
        return;
    }
    path = agent_path(a, TIMER_NAME);
    if (file_lock(path, true, false, &lock_fd, &none) == 0) {
        (void)fd_close(&lock_fd);
        /* It leaves us at once by itself, and only the first of several stays. */
        if (child_spawn(&pid, &o, &none) == 0) {
            while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
            }
        }
    }
    free(path);
}
