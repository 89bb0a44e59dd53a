#include "runner/cli/notifycmd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/out.h"
#include "runner/job/notify.h"

#define SHOWN_BYTES 120 /* of a command */
#define AWAIT_NS    ((int64_t)1000000000)
#define LOOK_NS     10000000

static void
reap(struct notifycmds *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (waitpid(l->v[i], NULL, WNOHANG) == 0) {
            l->v[n++] = l->v[i];
        }
    }
    l->n = n;
}

static void
count(const struct cli *c, pid_t pid)
{
    struct notifycmds *l = c->notifycmds;

    if (l != NULL) {
        reap(l);
        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = pid;
    }
}

static void
start(const struct cli *c, const char *command, const char *event,
      const struct strings *env)
{
    const char *more = strlen(command) > SHOWN_BYTES ? "..." : "";
    char *code = say_later(_("--notify (%s) failed: '%.*s%s' ended with exit code "),
                           event, SHOWN_BYTES, command, more);
    char *late = say_later(_("--notify (%s) failed: '%.*s%s' took more than %d s and was "
                             "ended"),
                           event, SHOWN_BYTES, command, more, NOTIFY_TIME_S);
    const struct notify_report report = {.fd = STDERR_FILENO, .code = code, .late = late};
    struct err e;
    pid_t pid;

    if (notify_start(command, env, c->g.quiet ? NULL : &report, &pid, &e) == 0) {
        count(c, pid);
    } else {
        say(c, "%s", e.msg);
    }
    free(code);
    free(late);
}

void
notifycmd_run(const struct cli *c, const char *command, const char *event,
              const struct job_state *st, const char *host)
{
    struct strings env = {NULL, 0};

    for (char **v = environ; *v != NULL; v++) {
        strings_add(&env, *v);
    }
    notify_facts(&env, event, st, host);
    start(c, command, event, &env);
    strings_free(&env);
}

void
notifycmd_state(const struct cli *c, const char *command, uint64_t *told,
                const struct job_state *st, const char *host)
{
    struct notify_seen seen = notify_seen_unpack(*told);
    const char *event;

    while (command != NULL && (event = notify_next(&seen, st)) != NULL) {
        notifycmd_run(c, command, event, st, host);
    }
    *told = notify_seen_pack(&seen);
}

void
notifycmd_await(struct notifycmds *l)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int64_t until_ns = clock_boot_ns() + AWAIT_NS;

    reap(l);
    while (l->n > 0 && clock_boot_ns() < until_ns) {
        (void)nanosleep(&look, NULL);
        reap(l);
    }
    free(l->v);
    *l = (struct notifycmds){NULL, 0};
}
