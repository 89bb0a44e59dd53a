#ifndef RUNNER_CLIENT_TRANSPORT_SSH_H
#define RUNNER_CLIENT_TRANSPORT_SSH_H

#include <stdbool.h>

#include "base/attr.h"
#include "runner/client/ssh_config_internal.h"
#include "runner/client/transport_internal.h"

/* What transport_ssh.c and transport_askpass.c share. */

/*
 * Prompts of an ssh binary, answered by us: SSH_ASKPASS is a small script in a memory
 * file, which writes the question to one pipe and reads the answer from another; both are
 * opened through /proc/<our pid>/fd, which only our own user can do.
 */
struct askpass {
    int script_fd;
    char script_path[SSH_MEMORY_PATH_MAX];
    char entry[SSH_MEMORY_PATH_MAX + 16]; /* SSH_ASKPASS=<that> */
    int question[2];                      /* we read [0] */
    int answer[2];                        /* we write [1] */
    struct buf asked;                     /* what has come of a question */
    bool in_dialogue;
};

int askpass_open(struct askpass *a, struct failure *f) MUST_USE;
void askpass_close(struct askpass *a);
/* Our environment with SSH_ASKPASS and what belongs to it; free the array only. */
char **askpass_environ(const struct askpass *a);
/* The question pipe is readable: take what is there and answer a whole question. */
int askpass_serve(struct askpass *a, struct transport *t, struct failure *f) MUST_USE;
/* ssh is through, or gone: give the terminal back. */
void askpass_settle(struct askpass *a, struct transport *t);

struct ssh_way {
    char *program;
    struct ssh_config_copy config;
    int seen_fd; /* memory file: the host keys that were shown */
    char seen_path[SSH_MEMORY_PATH_MAX];
    struct askpass askpass;
    struct transport_child child;
    char port[8];
};

#endif
