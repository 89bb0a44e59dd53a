#ifndef RUNNER_CLIENT_BOOTSTRAP_H
#define RUNNER_CLIENT_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/client/transport.h"

/*
 * From a login to a running `gpurun-agent serve`, on a host that has nothing but sshd
 * and a POSIX shell.
 *
 * One command is started, once. It looks for <agent home>/bin/<sha256>/gpurun-agent and
 * becomes it (`serve`). Where that is missing it says so with PREAMBLE_MISSING, os and
 * architecture, and reads one more line of shell from its stdin; that line takes the
 * agent and the probe from the same stdin into a new directory beside, checks sizes and
 * (where the host has a tool) hashes, lets the new agent check itself and move its
 * directory into place (`gpurun-agent install-self --sha256 HEX`: own hash, fsync,
 * rename, fsync; an equal directory that is there already is fine), and becomes it. So it
 * is one login, one channel and one round trip more, also where a password was typed or
 * MaxSessions is 1. A transfer that ends early leaves nothing under a name that is ever
 * executed. A forced command (`allow`) ignores all of this and simply serves.
 */
#define BOOTSTRAP_AGENT_MAX   ((uint64_t)256 << 20) /* bytes of a program we send */
#define BOOTSTRAP_ARCHS_MAX   16
#define BOOTSTRAP_STAMP_MAX   160
#define BOOTSTRAP_COMMAND_MAX 2048 /* what a login shell, tcsh too, takes as one word */

/* The agents this installation carries, by architecture. */
struct bootstrap_agent {
    char arch[32];
    char *path;
    char *probe_path; /* NULL: none */
    struct sha256 hash;
    char stamp[BOOTSTRAP_STAMP_MAX]; /* of the file that was hashed */
    bool remembered;                 /* the cache has it */
};
struct bootstrap_agents {
    struct bootstrap_agent v[BOOTSTRAP_ARCHS_MAX];
    size_t n;
};

/*
 * Find them, with their hashes: from <home>/cache where size and times are still the
 * same, as hashing takes longer than logging in. Writes nothing. ERR_NOT_FOUND: there are
 * none.
 */
int bootstrap_find_agents(const struct home *home, struct bootstrap_agents *out,
                          struct err *e) MUST_USE;
/* Put into the cache what is not there. Only once a host has answered: who reaches none
 * leaves nothing behind. */
void bootstrap_remember(struct bootstrap_agents *a, const struct home *home);
void bootstrap_free_agents(struct bootstrap_agents *a);

/*
 * The command: one line for sh, bash, dash, zsh, fish, tcsh as login shell. agent_home
 * NULL: the host's default. ERR_INVALID: an agent_home with characters that some shell
 * would read.
 */
int bootstrap_command(const struct bootstrap_agents *agents, const char *agent_home,
                      struct buf *out, struct err *e) MUST_USE;

struct bootstrap {
    struct transport *transport;           /* open */
    const struct bootstrap_agents *agents; /* NULL: the pipe, which has its own */
    const char *command; /* start this instead, and put nothing there; NULL */
    const char *agent_home;
    int64_t start_timeout_ms; /* to the first answer; an upload may take as long as it
                                 moves */
    /* Called with what has gone out of total; NULL allowed. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *ctx;
};

/*
 * Do it all. On success the stream stands right behind PREAMBLE_READY; *rest (BUF_INIT
 * before) holds bytes that came with it.
 */
int bootstrap_run(const struct bootstrap *b, struct buf *rest,
                  struct failure *f) MUST_USE;

#endif
