#ifndef RUNNER_HOST_DEVICES_H
#define RUNNER_HOST_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/device.h"

/*
 * The devices of this machine: the cpu, what gpurun-gpuprobe tells, and what other rows
 * of device classes find in /sys and /dev. Devices are taken by locks, one file per
 * uuid; the cpu is shared and has none.
 */

/*
 * List them. fresh: ask the probe now; else what it said is good for
 * DEVICES_PROBE_AGE_NS in one boot, since starting a driver takes its time. A probe that
 * fails is no failure here: *why (DEVICES_WHY_MAX, NULL allowed) then says so.
 */
#define DEVICES_PROBE_AGE_NS ((int64_t)600 * 1000000000)
#define DEVICES_PROBE_NS     ((int64_t)5 * 1000000000)
#define DEVICES_WHY_MAX      256
int devices_list(const struct agent *a, bool fresh, struct device_list *out, char *why,
                 struct err *e) MUST_USE;

/* Fill in each device's state (free, busy, broken) from locks. */
void devices_look(const struct agent *a, struct device_list *l);

/* Where the locks are; shared: other users of this machine lock there too. malloc'ed. */
char *devices_lock_dir(const struct agent *a, bool *shared);

/* Which devices may be taken: NULL all. A device that may not counts as not free. */
struct devices_filter {
    bool (*may)(void *ctx, const struct device *d);
    void *ctx;
};

/*
 * Take count free devices of that class whose type is type (as prices call it; NULL: any)
 * and that wanted, as people write it, means: indices into l in picked, the locks in
 * fds (count each). Those that others compute on without us come last. The locks go with
 * their open files, so a process that was passed them holds them too. ERR_NOT_FOUND:
 * there are not that many here, whoever has them; ERR_BUSY: there are, but not free.
 * Nothing is held then. Class cpu: the one row, no lock (fds[0] is -1); ERR_NOT_FOUND if
 * it has fewer than count cores.
 */
int devices_take(const struct agent *a, const struct device_list *l,
                 const char *device_class, const char *type, const char *wanted,
                 int64_t count, const struct devices_filter *filter, size_t *picked,
                 int *fds, size_t *n_picked, struct err *e) MUST_USE;

/*
 * Variables that show a job only its own devices, of every class the machine has: its
 * own by name, the others as none.
 */
void devices_env(const struct agent *a, const struct device_list *l, const size_t *picked,
                 size_t n_picked, struct strings *env);
/* Device nodes a confined job on these devices needs, as paths. */
void devices_nodes(const struct agent *a, const struct device_list *l,
                   const size_t *picked, size_t n_picked, struct strings *out);

int64_t devices_cores(void);     /* of this process's affinity */
int64_t devices_mem_bytes(void); /* of the machine */

#endif
