#ifndef RUNNER_HOST_CGROUP_H
#define RUNNER_HOST_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A control group per job where we may have one: memory limit and out-of-memory evidence,
 * a cpu quota, and a sure way to kill everything. Version 2, version 1, or the two mixed
 * ("hybrid"); below our own group, or as root below the top. Where none of this is
 * allowed there is simply no group: nothing here fails a job.
 */
struct cgroup;

enum cgroup_kind { CGROUP_NONE = 0, CGROUP_V1, CGROUP_V2 };
const char *cgroup_kind_name(enum cgroup_kind k); /* "none", "cgroup1", "cgroup2" */

/* What a job could have here; makes and removes a group to find out. */
enum cgroup_kind cgroup_probe(void);

struct cgroup_limits {
    int64_t mem_bytes; /* 0: none */
    int64_t cpu_cores; /* 0: none */
};

/*
 * Make the job's group. *out NULL: none can be had here, which is no failure. A memory
 * limit that could not be set is one (ERR_SYSTEM); nothing was made then.
 */
int cgroup_make(struct cgroup **out, const char *job, const struct cgroup_limits *l,
                struct err *e) MUST_USE;
enum cgroup_kind cgroup_kind(const struct cgroup *g); /* NULL: CGROUP_NONE */
bool cgroup_limits_memory(const struct cgroup *g);
bool cgroup_limits_cpu(const struct cgroup *g);

/*
 * Descriptors for those who start processes in it; they stay g's. Version 2: the group's
 * directory; version 1: files. Moving a process that lives already makes the kernel wait
 * until every CPU has passed a quiet point (10 to 20 ms), so none is moved by its pid:
 * see cgroup_fork.
 */
#define CGROUP_JOIN_MAX 2
size_t cgroup_join_fds(const struct cgroup *g, int fds[CGROUP_JOIN_MAX]);

/*
 * As _Fork, for a process with one thread: the child is in the groups of those
 * descriptors from its first instruction, or puts itself there before this returns in it.
 * -1 with errno: there is no child. In a child that could not join, *failed is an errno,
 * else 0.
 */
pid_t cgroup_fork(const int *fds, size_t n, int *failed);

/* Processes the kernel killed in it for want of memory. -1: not told. */
int64_t cgroup_oom_kills(const struct cgroup *g);
int64_t cgroup_mem_bytes(const struct cgroup *g); /* in use; -1: not told */

/* SIGKILL to all in it. */
void cgroup_kill(const struct cgroup *g);
/* Remove it (its processes are gone) and free g. NULL allowed. */
void cgroup_remove(struct cgroup *g);

/* Kill and remove what a dead supervisor left for that job. */
void cgroup_sweep(const char *job);

#endif
