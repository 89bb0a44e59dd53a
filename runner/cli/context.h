#ifndef RUNNER_CLI_CONTEXT_H
#define RUNNER_CLI_CONTEXT_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/config.h"
#include "runner/client/jobs.h"
#include "runner/client/session.h"

/* What commands that talk to hosts have in common. */

/* Make the loop, links and prompts. context_close in any case. */
int context_open(struct client *cl, const struct cli *c, struct err *e) MUST_USE;
void context_close(struct client *cl);

/* Open a session with the named host and wait until it is up. */
int context_session(struct client *cl, const char *host, int64_t patience_ns,
                    struct session **out, struct err *e) MUST_USE;

/* What is dealt for now is that host's: the key it has shown is pinned, where none was
 * yet. */
void context_pin_host(const struct cli *c, const struct client *cl,
                      const struct session *s);

/*
 * Some hosts of p (silent: their names) could not be asked: that is what failed, and the
 * reason of the first. ERR_LINK; -1.
 */
struct place;
int context_silent(const struct place *p, const char *silent, struct err *e);

/*
 * The job a word means: from what was run here, else from every host that answers.
 * ERR_NOT_FOUND; ERR_LINK: nor there, and some could not be asked, which may have it.
 */
int context_find_job(struct client *cl, const char *what, struct job_record *out,
                     struct err *e) MUST_USE;

/* The job and a session with its host, up. */
int context_job(struct cli *c, struct client *cl, const char *what, int64_t patience_ns,
                struct job_record *job, struct session **s, struct err *e) MUST_USE;

/* What its host has on record of the job: spec, grant, state (job.show); rec_free. */
int context_show_job(struct session *s, const char *job, struct rec **resp,
                     struct err *e) MUST_USE;
/* The same of one that has not ended: else ERR_NOT_FOUND. */
int context_show_live(struct session *s, const char *job, struct rec **resp,
                      struct err *e) MUST_USE;

/* How long commands that do one thing go on trying after a cut link. */
#define CONTEXT_PATIENCE_NS ((int64_t)30 * 1000000000)
/* And how long they wait for an answer. */
#define CONTEXT_ANSWER_NS ((int64_t)60 * 1000000000)

#endif
