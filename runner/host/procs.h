#ifndef RUNNER_HOST_PROCS_H
#define RUNNER_HOST_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Processes as /proc tells. A pid is only a number that may be somebody else's by
 * the time it is used: where it matters, compare start times, or ask the parent to act.
 */
struct proc_stat {
    pid_t pid;
    pid_t ppid;
    char state;           /* 'R', 'S', 'Z', … */
    uint64_t start;       /* clock ticks after boot */
    uint64_t cpu_ticks;   /* user + system, without children */
    uint64_t child_ticks; /* of descendants that were waited for */
    uint64_t rss_bytes;
};

/* The pid a directory of /proc is named after; 0: it is no process's. */
pid_t proc_pid_named(const char *name);
/* false: there is no such process (any more). */
bool proc_read_stat(pid_t pid, struct proc_stat *out);
/* Start time of a process; 0: gone. With the pid it names one process of this boot. */
uint64_t proc_start(pid_t pid);

struct proc_list {
    struct proc_stat *v;
    size_t n;
};
void proc_list_free(struct proc_list *l);

/* All descendants of root (not root itself), zombies included. */
int proc_descendants(pid_t root, struct proc_list *out, struct err *e) MUST_USE;

/* The value of a variable in the environment a process was started with; malloc'ed or
 * NULL. */
char *proc_environ(pid_t pid, const char *name);

/*
 * Which of the processes of l listens on that TCP port of a loopback or wildcard address:
 * *v6 for the address to connect to, *inode names the socket. false: none does.
 */
bool proc_listens(const struct proc_list *l, unsigned port, bool *v6, uint64_t *inode);

#endif
