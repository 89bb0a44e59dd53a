#ifndef RUNNER_HOST_GUARD_INTERNAL_H
#define RUNNER_HOST_GUARD_INTERNAL_H

#include "runner/host/guard.h"

/* Orders, as they go over the socket pair between two halves of one binary. */
enum guard_order_kind {
    GUARD_OR_NONE = 0,
    GUARD_OR_WALLS, /* memfd: record */
    GUARD_OR_HOLD,  /* descriptors */
    GUARD_OR_JOIN,  /* descriptors */
    GUARD_OR_SPAWN, /* memfd: record; in, out, err */
    GUARD_OR_SIGNAL,
};

struct guard_order {
    enum guard_order_kind kind;
    uint32_t id;
    int signo;
    bool tty;
};

#define GUARD_RECORD_MAX ((size_t)16 << 20)

/* Be the guard. Never returns. sock is all it keeps. */
_Noreturn void guard_main(int sock, enum sandbox_spaces spaces);

/* In the child of a fork: become the command. Only returns on failure: an errno. */
int guard_exec(char **argv, char **envp);

#endif
