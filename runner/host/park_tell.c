/*
 * Who is told that this machine is parked: nobody's job lives then, so it is whoever
 * wanted to be told of the last one that did.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/jobdir.h"
#include "runner/host/notices.h"
#include "runner/host/park_internal.h"
#include "runner/job/notify.h"

#define GRACE_S  5 /* the alarm of its own comes first */
#define NS_PER_S ((int64_t)1000000000)
#define LOOK_NS  (NS_PER_S / 20)

struct last {
    struct job_spec spec; /* without a notify_host: none yet */
    struct job_state state;
    int log_fd; /* of that job, or -1 */
};

static void
take_later(void *ctx, const struct renter *r, const struct job_state *st)
{
    struct last *last = ctx;
    struct job_spec spec;
    struct jobdir d;
    struct err none;

    if (r->confined || !job_phase_is_final(st->phase) ||
        (last->spec.notify_host != NULL &&
         st->ended_wall_ns <= last->state.ended_wall_ns) ||
        jobdir_open(&d, r, st->job, &none) != 0) {
        return;
    }
    spec_init(&spec);
    if (jobdir_spec(&d, &spec, &none) == 0 && spec.notify_host != NULL) {
        spec_free(&last->spec);
        last->spec = spec;
        spec_init(&spec);
        (void)fd_close(&last->log_fd);
        last->log_fd = jobdir_open_log(&d);
        state_copy(&last->state, st);
    }
    spec_free(&spec);
    jobdir_close(&d);
}

void
park_reap(pid_t pid, int64_t limit_ns)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int64_t until_ns = clock_boot_ns() + limit_ns;
    pid_t got = 0;

    while ((got = waitpid(pid, NULL, WNOHANG)) == 0 && clock_boot_ns() < until_ns) {
        (void)nanosleep(&look, NULL);
    }
    if (got == 0) { /* not reaped, so these numbers are nobody else's */
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
}

void
park_tell(const struct agent *a, const char *event, const char *why)
{
    struct last last = {.log_fd = -1};
    struct notice n = {.spec = &last.spec, .event = event, .state = &last.state};
    struct err none;
    pid_t pid;

    spec_init(&last.spec);
    state_init(&last.state);
    if (jobdir_each(a, true, take_later, &last, &none) == 0 &&
        last.spec.notify_host != NULL) {
        if (why != NULL) {
            state_set_text(&last.state.detail, why);
        }
        n.log_fd = last.log_fd;
        notices_tell(a, &n, &pid);
        if (pid > 0) {
            park_reap(pid, (NOTIFY_TIME_S + GRACE_S) * NS_PER_S);
        }
    }
    (void)fd_close(&last.log_fd);
    spec_free(&last.spec);
    state_free(&last.state);
}
