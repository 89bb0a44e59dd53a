#ifndef RUNNER_CLI_OUTS_H
#define RUNNER_CLI_OUTS_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/jobs.h"
#include "runner/client/session.h"

/*
 * --out: bring paths of the job's last snapshot back to where they belong here. What is
 * there already is merged with, file by file; but where a file changed here since the
 * job's files were read for shipping, nothing of that path is touched, and it comes as
 * PATH.from-JOB beside it.
 */

/*
 * The path as typed, relative to the shipped root (malloc'ed). ERR_INVALID: it leads out
 * of it. cwd: where the job starts, relative to root.
 */
int out_normalize(const char *root, const char *cwd, const char *typed, char **out,
                  struct err *e) MUST_USE;

/* All of record->outs. Each failure is said; returns how many failed. */
int outs_bring(struct cli *c, struct client *cl, struct session *s,
               const struct job_record *record, const char *snapshot);

#endif
