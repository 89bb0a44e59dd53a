#include "runner/cli/notify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "runner/cli/out.h"
#include "runner/client/i18n.h"
#include "runner/loop/child.h"

extern char **environ;

#define OURS "GPURUN_"

/* Our environment with these said instead of what we may have been told. */
static char **
make_environ(char **said, size_t n_said)
{
    size_t n = 0;
    size_t at = 0;
    char **v;

    while (environ[n] != NULL) {
        n++;
    }
    v = xcalloc(n + n_said + 1, sizeof *v);
    for (size_t i = 0; i < n_said; i++) {
        v[at++] = said[i];
    }
    for (size_t i = 0; i < n; i++) {
        bool again = false;

        for (size_t k = 0; k < n_said; k++) {
            size_t len = strcspn(said[k], "=") + 1;

            again = again || strncmp(environ[i], said[k], len) == 0;
        }
        if (!again) {
            v[at++] = environ[i];
        }
    }
    return v;
}

void
notify_run(struct cli *c, const char *command, const char *event,
           const struct job_state *st)
{
    char *said[] = {
        xasprintf(OURS "EVENT=%s", event),
        xasprintf(OURS "JOB=%s", st->job),
        xasprintf(OURS "NAME=%s", st->name != NULL ? st->name : ""),
        xasprintf(OURS "STATE=%s", job_phase_name(st->phase)),
        xasprintf(OURS "REASON=%s", job_reason_name(st->reason)),
        xasprintf(OURS "COST_FEN=%" PRId64,
                  st->charge_fen != JOB_NOT_SET ? st->charge_fen : st->cost_fen),
        xasprintf(OURS "CAP_FEN=%" PRId64, st->cap_fen != JOB_NOT_SET ? st->cap_fen : 0),
    };
    size_t n_said = sizeof said / sizeof said[0];
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t)command, NULL};
    int fds[] = {-1, STDERR_FILENO, STDERR_FILENO};
    char **envp = make_environ(said, n_said);
    struct child_options o = {.file = "/bin/sh",
                              .argv = argv,
                              .envp = envp,
                              .fds = fds,
                              .n_fds = 3,
                              .new_session = true};
    pid_t pid;
    struct err e;

    if (child_spawn(&pid, &o, &e) != 0) {
        say(c, _("--notify: %s"), e.msg);
    }
    free(envp);
    for (size_t i = 0; i < n_said; i++) {
        free(said[i]);
    }
}
