#ifndef RUNNER_LOOP_CHILD_H
#define RUNNER_LOOP_CHILD_H

/*
 * Child processes. A child starts with exactly the descriptors it is given, no signal
 * blocked, every disposition default, and its end is told once with what waitid saw:
 * by pidfd where the kernel has it, else by SIGCHLD.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"

#define CHILD_FDS_MAX 64

struct child_options {
    const char *file; /* looked up in $PATH of this process unless it has a slash */
    char *const *argv;
    char *const *envp; /* NULL: ours */
    const char *cwd;   /* NULL: ours */
    const int *fds; /* fds[i] becomes descriptor i; -1: /dev/null for 0-2, else closed */
    size_t n_fds;
    bool new_session;     /* setsid */
    bool new_group;       /* setpgid(0, 0) */
    int death_signal;     /* PR_SET_PDEATHSIG, 0: none; of the *thread* that starts it */
    bool controlling_tty; /* with new_session: descriptor 0 becomes it */
    /*
     * Run in the child after all of the above, just before exec. Only async-signal-safe
     * calls; returns 0 or an errno, which fails the start.
     */
    int (*prepare)(void *ctx);
    void *prepare_ctx;
};

struct child_end {
    bool signalled; /* else exited */
    int status;     /* exit code or signal number */
    bool core_dumped;
    struct rusage usage; /* of it and the children it waited for */
};

struct child; /* keeps the loop running until its end was told */

/*
 * Start it. fn is called once when it ended (and was reaped). A failure to exec is a
 * failure of this call: ERR_NOT_FOUND (no such program), ERR_DENIED, ERR_SYSTEM.
 */
int child_start(struct child **out, struct loop *l, const struct child_options *o,
                void (*fn)(void *ctx, const struct child_end *end), void *ctx,
                struct err *e) MUST_USE;
/* Start without a loop: *pid is the caller's to wait for. */
int child_spawn(pid_t *pid, const struct child_options *o, struct err *e) MUST_USE;
/* Watch a child somebody else started (child_spawn, clone). Reaped here then. */
int child_adopt(struct child **out, struct loop *l, pid_t pid,
                void (*fn)(void *ctx, const struct child_end *end), void *ctx,
                struct err *e) MUST_USE;
/* Watch no more. A child that still runs goes on, and is the caller's to reap. */
void child_free(struct child *c); /* NULL allowed */
pid_t child_pid(const struct child *c);
int child_pidfd(const struct child *c); /* -1 where there is none */
/* Never hits another process: by pidfd, or while not yet reaped. ERR_NOT_FOUND: gone. */
int child_kill(struct child *c, int signo, struct err *e) MUST_USE;

#endif
