#ifndef RUNNER_CLI_DUE_H
#define RUNNER_CLI_DUE_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/copies.h"
#include "runner/client/jobs.h"
#include "runner/client/session.h"
#include "runner/job/state.h"

/*
 * Second copies that are due (client/copies.h), and who makes them: whoever watches a job
 * end its own; any command that has talked to a host, after it has said what it had to
 * say, those of that host that are small (DUE_QUICK_NS and DUE_QUICK_BYTES in all), the
 * newest first; `snap mirror` without a name all of them. What is left is told in a line.
 * ^C, SIGTERM and SIGHUP end the copying, not the command: what is not copied stays due.
 */
#define DUE_QUICK_NS    ((int64_t)5 * 1000000000)
#define DUE_QUICK_BYTES ((int64_t)16 * 1000 * 1000)

/*
 * Note, before the host is asked to run it, that what this job will leave is to be
 * copied; nothing where no copy of it can be wanted. What cannot be noted is said.
 */
struct job_spec;
void due_expect(const struct cli *c, const struct client *cl, const struct host *h,
                const struct job_record *r, const struct job_spec *spec, bool durable);
/* The same of a snapshot that is about to be taken by hand; name may be NULL. */
void due_expect_snapshot(const struct cli *c, const struct client *cl,
                         const struct host *h, const char *id, const char *name);

/*
 * The copy of what a job left that has just been seen to end, whatever it takes; first:
 * by this client, for the first time (so it is wanted though nobody noted it). r learns
 * where the copy is, and so does the record on disk.
 */
void due_pay_job(struct cli *c, struct client *cl, struct session *from,
                 struct job_record *r, const struct job_state *st, bool first);
/* And of a snapshot that was taken by hand. */
void due_pay_snapshot(struct cli *c, struct client *cl, struct session *from,
                      const char *id);

/*
 * While the loop runs: copies of what jobs of one host keep on the way, one after
 * another, every so many seconds at the most; nothing of a job that keeps nothing. from
 * outlives it. due_live_remove, before the job's own copy is made, gives up what of it is
 * on its way; due_live_end does so for all, and waits for a moment until older copies are
 * gone.
 */
struct due_live;
struct due_live *due_live_new(struct cli *c, struct client *cl, struct session *from);
void due_live_add(struct due_live *v, const char *job, int64_t every_s);
void due_live_remove(struct due_live *v, const char *job); /* one that is not there: no */
void due_live_end(struct due_live *v);                     /* NULL allowed */

/* What these sessions' hosts have, within the limits of a command that does other things.
 */
void due_pay_some(struct cli *c, struct client *cl, struct session *const *from,
                  size_t n);
/* The same of all hosts of a place. */
struct place;
void due_pay_place(struct cli *c, struct client *cl, const struct place *p);

/* Everything, from every host; the ids of what was copied go to stdout. */
int due_pay_all(struct cli *c, struct client *cl, struct err *e) MUST_USE;

/* "copies_due": what is noted, with the data known to be there, or tried in vain. */
struct json_writer;
void due_json(struct json_writer *j, const struct home *home);

#endif
