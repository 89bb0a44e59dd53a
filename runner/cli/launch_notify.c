#include <sys/wait.h>
#include <unistd.h>

#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"

void
launch_notify(const struct cli *c, const char *command, struct notify_seen *seen,
              const struct job_state *st, const char *host)
{
    const char *event;

    while (command != NULL && (event = notify_next(seen, st)) != NULL) {
        struct strings env = {NULL, 0};
        pid_t pid;
        struct err e;

        for (char **v = environ; *v != NULL; v++) {
            strings_add(&env, *v);
        }
        notify_facts(&env, event, st, host);
        /* It goes on by itself, however soon we end. */
        if (notify_start(command, &env, &pid, &e) != 0) {
            say(c, "%s", e.msg);
        }
        strings_free(&env);
    }
}
