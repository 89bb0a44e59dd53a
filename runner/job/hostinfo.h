#ifndef RUNNER_JOB_HOSTINFO_H
#define RUNNER_JOB_HOSTINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "base/sign.h"
#include "runner/job/device.h"
#include "runner/job/park.h"

/*
 * What a host says of itself: record gpurun.host.v1, in the field `host` of the agent's
 * HELLO and as the answer to host.info. Everything in it is the host's own claim;
 * what costs money is in the offer, which is signed.
 */
#define HOSTINFO_TYPE      "gpurun.host.v1"
#define HOSTINFO_MAX_BYTES ((size_t)128 * 1024)
#define HOSTINFO_OFFER_MAX ((size_t)64 * 1024)

/* How well the agent's own files are guarded against a job (DESIGN §5). */
enum host_protection {
    HOST_PROTECTION_NONE = 0, /* "no protection from the job" */
    HOST_PROTECTION_PARTIAL,  /* hidden and undumpable, but a job that is root may get
                                 there */
    HOST_PROTECTION_FULL,     /* no_new_privs, Landlock, hidden home, pid namespace */
};

struct host_info {
    struct sign_public key; /* the agent's */
    char *version;
    char *hostname; /* label */
    char *arch;     /* uname -m */
    char *os;       /* "Linux 6.1.0-13-amd64", label */
    int64_t cores;
    int64_t cores_free; /* that no running --cpu job asked for; a hint, never a lock */
    int64_t mem_bytes;
    int64_t disk_free_bytes;
    int64_t wall_ns;
    int64_t boot_ns;
    bool root; /* the agent runs as root */
    enum host_protection protection;
    char *protection_why;         /* what is missing, or NULL */
    char *confine;                /* "pidns", "userns" or "subreaper" */
    char *memory_by;              /* how --mem is kept: "cgroup2", "cgroup1", "rlimit" */
    char renter[SIGN_ID_LEN + 1]; /* as whom this connection is taken; "" unknown yet */
    char *renter_name;            /* as the owner calls it, or NULL */
    bool has_store;               /* something of this renter's is here */
    uint8_t *offer;               /* signed record, encoded; NULL: no prices published */
    size_t offer_len;
    struct park park;           /* phase PARK_NONE: not asked for */
    struct device_list devices; /* the cpu is one of them */
};

void hostinfo_init(struct host_info *h);
void hostinfo_free(struct host_info *h);
struct rec *hostinfo_encode(const struct host_info *h);
/* Unknown fields are ignored. ERR_CORRUPT, ERR_INVALID, ERR_RANGE. Written on success. */
int hostinfo_parse(struct host_info *out, const struct rec *r, struct err *e) MUST_USE;
const char *host_protection_name(enum host_protection p); /* "none", "partial", "full" */

/* How many devices of that class and type are free now (for cpu: all cores). */
int64_t hostinfo_count_free(const struct host_info *h, const char *device_class,
                            const char *wanted);

#endif
