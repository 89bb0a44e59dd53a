/*
 * --notify-host: what the renter wants to be told is told by a command of theirs, run
 * here by the supervisor with nobody connected. Outside of the job's walls, hence only
 * for the login user's own jobs (sup_accept refuses it else).
 */
#include <unistd.h>

#include "base/file.h"
#include "runner/host/notices.h"
#include "runner/host/supervise_internal.h"

static void
tell(struct sup *s, const char *event)
{
    int log_fd = jobdir_open_log(&s->dir);
    struct strings env = {NULL, 0};
    pid_t pid;
    struct err e;

    strings_add_all(&env, &s->env);
    if (s->env.n == 0) { /* it failed before it had an environment */
        for (char **v = environ; *v != NULL; v++) {
            strings_add(&env, *v);
        }
    }
    if (notices_start(log_fd, s->spec.notify_host, event, &s->state, &env, &pid, &e) !=
        0) {
        sup_say(s, "%s", e.msg);
    } else {
        sup_say(s, "told: %s", event);
    }
    strings_free(&env);
    (void)fd_close(&log_fd);
}

void
sup_notify(struct sup *s)
{
    const char *event;

    if (s->spec.notify_host == NULL) {
        return;
    }
    while ((event = notify_next(&s->notified, &s->state)) != NULL) {
        tell(s, event);
    }
}
