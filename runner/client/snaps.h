#ifndef RUNNER_CLIENT_SNAPS_H
#define RUNNER_CLIENT_SNAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/client/session.h"
#include "runner/job/ids.h"

/* Snapshots as hosts list them: record gpurun.snap.v1 (runner/DESIGN.md, "Verbs"). */
#define SNAP_TYPE      "gpurun.snap.v1"
#define SNAP_LIST_MAX  1000000
#define SNAP_ANSWER_NS ((int64_t)60 * 1000000000)

struct snap_info {
    char id[JOB_ID_LEN + 1];
    char *host; /* where this copy is; our name for it */
    char *kind;
    char *name;
    char *job;
    char *parent;
    char *command;
    char *reason;
    char *tree;        /* of data sets */
    char *damaged;     /* not NULL: what it was cannot be read, for this reason; nor is it
                        * counted as kept, though its host does so */
    int64_t exit_code; /* -1: none */
    int64_t signal;    /* 0: none */
    int64_t made_wall_ns, ended_wall_ns, expires_wall_ns; /* 0: none */
    bool kept;
    bool partial;
    int64_t n_files, content_bytes, stored_bytes;
};

void snap_info_init(struct snap_info *s);
void snap_info_free(struct snap_info *s);
/* The snap field (bytes) of an answer. */
int snap_info_parse(struct snap_info *out, const char *host, const void *data, size_t len,
                    struct err *e) MUST_USE;

struct snap_infos {
    struct snap_info *v;
    size_t n;
};
void snap_infos_free(struct snap_infos *l);
/*
 * Append what the host of s has; all: also those whose data is gone. Where the host does
 * not believe its clock, so that nothing expires there, a line says so in doubts (NULL:
 * not wanted).
 */
int snaps_list(struct session *s, bool all, struct snap_infos *l, struct buf *doubts,
               struct err *e) MUST_USE;
/* The same of an answer to VERB_SNAP_LIST that the caller has asked for itself. */
int snaps_take_list(const struct rec *resp, const char *host, struct snap_infos *l,
                    struct err *e) MUST_USE;
/* Newest first. */
void snaps_sort(struct snap_infos *l);
/* Of those, the newest kept one of that job; NULL: none. */
const struct snap_info *snaps_newest_of_job(const struct snap_infos *l, const char *job);

/*
 * Which of l a word means: an id, "@last", a unique prefix of an id, or the newest of a
 * name or of a job's id. Several copies of one snapshot are one. ERR_NOT_FOUND /
 * ERR_INVALID.
 */
int snaps_find(const struct snap_infos *l, const char *what, const struct snap_info **out,
               struct err *e) MUST_USE;

/* Ask for one: its info, and its manifest as signed (appended; NULL: not wanted). */
int snaps_show(struct session *s, const char *id, struct snap_info *out,
               struct buf *manifest, struct err *e) MUST_USE;
/* The same of an answer to VERB_SNAP_SHOW that the caller has asked for itself. */
int snaps_take_shown(const struct rec *resp, const char *host, const char *id,
                     struct snap_info *out, struct buf *manifest, struct err *e) MUST_USE;

#endif
