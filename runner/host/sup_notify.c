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
    struct strings own = {NULL, 0};
    struct notice n = {.spec = &s->spec,
                       .login = &s->user_env,
                       .secrets = &s->secrets,
                       .event = event,
                       .state = &s->state,
                       .log_fd = jobdir_open_log(&s->dir)};
    pid_t pid;

    if (s->user_env.n == 0) { /* it failed before the login shell was asked */
        for (char **v = environ; *v != NULL; v++) {
            strings_add(&own, *v);
        }
        n.login = &own;
    }
    notices_start(&n, &pid);
    if (pid != -1) {
        sup_say(s, "told: %s", event);
    }
    strings_free(&own);
    (void)fd_close(&n.log_fd);
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
