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

/* All of record->outs; runs the loop. Each failure is said; returns how many failed. */
int outs_bring(struct cli *c, struct client *cl, struct session *s,
               const struct job_record *record, const char *snapshot);

/*
 * The same beside all else on the loop and the session. Everything outlives it.
 * outs_step puts what came in its place and begins the next, where outs_is_due; true: all
 * are through. outs_end, at any time: how many failed; what is under way is given up.
 */
struct outs;
struct outs *outs_start(struct cli *c, struct client *cl, struct session *s,
                        const struct job_record *record, const char *snapshot);
bool outs_is_due(const struct outs *o);
bool outs_step(struct outs *o);
int outs_end(struct outs *o);

#endif
