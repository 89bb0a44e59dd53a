#ifndef RUNNER_CLIENT_JOBS_H
#define RUNNER_CLIENT_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "runner/client/home.h"
#include "runner/job/ids.h"
#include "runner/job/notify.h"
#include "runner/job/spec.h"

/*
 * What the client remembers of its jobs: one record per job under <home>/jobs, and
 * beside it how much of its output this client has written. A convenience, never the
 * truth: the host's records are. So nothing here is synced to the disk, and a record
 * that a power cut spoiled is one that is not there.
 */
#define JOBS_ENTRIES_MAX 1000000

struct job_record {
    char id[JOB_ID_LEN + 1];
    char *name;
    char *host;
    char *command;           /* for listings */
    char *dir;               /* what was shipped, absolute; NULL: nothing */
    struct strings outs;     /* --out, relative to dir */
    int64_t shipped_wall_ns; /* before the first of its files was read */
    char *tree;              /* hex id of what was shipped, or NULL */
    char lease[JOB_ID_LEN + 1];
    char
        unsent[BOOT_ID_LEN + 1]; /* since that boot, not submitted to the host; "" sent */
    int64_t made_wall_ns;
    int64_t cap_fen;
    char
        *mirror; /* the host that has a copy of what it left, or NULL (client/copies.h) */
    bool final;  /* the end was seen here: */
    int exit_code;
    char *phrase;       /* "ended: exited 3" */
    int64_t charge_fen; /* -1: not known */
    char snapshot[JOB_ID_LEN + 1];
    int64_t expires_wall_ns;
    bool outs_due; /* its end is known, but what --out names has yet to come */
    char *notify;  /* --notify of the run, or NULL */
    struct notify_expiry told; /* by it, of the end of that snapshot's data */
    struct buf spec; /* encoded, as submitted: should the host be gone; may be empty */
};

void job_record_init(struct job_record *r);
void job_record_free(struct job_record *r);

int jobs_save(const struct home *home, const struct job_record *j,
              struct err *e) MUST_USE;
int jobs_load(const struct home *home, const char *id, struct job_record *out,
              struct err *e) MUST_USE;

/* What was submitted, by the record. ERR_NOT_FOUND: it does not say. */
int job_record_spec(const struct job_record *j, struct job_spec *out,
                    struct err *e) MUST_USE;

/* Take a record away again, and that a copy is due (the job was never accepted). */
void jobs_forget(const struct home *home, const char *id);

struct job_list {
    struct job_record *v; /* newest first */
    size_t n;
};
/* All that can be read. */
int jobs_list(const struct home *home, struct job_list *out, struct err *e) MUST_USE;
void job_list_free(struct job_list *l);

/*
 * The record that a user's word means: an id, "@last", a name (the newest so called), or
 * a unique prefix of an id. ERR_NOT_FOUND: none known here (a host may know more);
 * ERR_INVALID: a prefix of several, some of them named.
 */
int jobs_find(const struct home *home, const char *what, struct job_record *out,
              struct err *e) MUST_USE;

/*
 * How far this client has written a job's output (offsets), and what --notify was told
 * of (notify_seen_pack): in a file mapped into memory, so that it is right even if the
 * client is killed at any instant.
 */
struct job_seen {
    uint64_t out;
    uint64_t err;
    uint64_t told;
};
/*
 * Map it (made with zeros if missing). jobs_seen_close unmaps. Only one client at a time
 * keeps count: a second one that watches the same job gets a copy of its own. *lock, -1
 * before, is what makes the first one the first; the mapping does not hold it by itself,
 * since overlayfs (a container's root) maps another file than the one that was opened.
 * *tells: it is also the one that tells --notify.
 */
int jobs_seen_open(const struct home *home, const char *id, struct job_seen **out,
                   int *lock, bool *tells, struct err *e) MUST_USE;
/*
 * For who tells --notify and shows no output (a batch): the count is left to others. A
 * copy of its own, and *lock stays -1, where another tells already.
 */
int jobs_seen_open_to_tell(const struct home *home, const char *id, struct job_seen **out,
                           int *lock, struct err *e) MUST_USE;
void jobs_seen_close(struct job_seen *s, int *lock); /* NULL, -1 allowed */

#endif
