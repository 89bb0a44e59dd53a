#ifndef RUNNER_CLI_ENDING_H
#define RUNNER_CLI_ENDING_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/follow.h"
#include "runner/client/jobs.h"
#include "runner/client/receipts.h"

/*
 * How a command that watched a job ends: receipt kept, last line said, exit code chosen.
 * Shared by run, attach, logs -f, wait and stop.
 */
struct ending {
    struct cli *c;
    struct client *cl;
    struct session *session;
    struct fetch *fetch;       /* NULL: no receipt is wanted */
    struct job_record *record; /* updated and saved */
    bool bring;                /* --out paths, if the end was not seen before */
    bool as_json;              /* the job as one object on stdout (wait, stop) */
    bool for_data;             /* its data is for a data set: no word of it, no copy */
    bool known;                /* the job is known to exist on the host */
    bool said_dispute;         /* ending_say_dispute has */
};

/* The exit code, or -1 with *e for main to print. */
int ending_of(struct ending *en, const struct follow_result *r, struct err *e) MUST_USE;

/* The end, put down in the job's record here (-1: what it costs is not known). */
void ending_record(const struct cli *c, struct job_record *record,
                   const struct job_state *st, int64_t charge_fen);

/* A job's state as a JSON object, with what our own clock says of its seconds. */
struct json_writer;
void ending_json_state(struct json_writer *j, const struct home *home,
                       const struct job_state *st, const char *host);

/* Remarks on a link that went and came back; `what` goes on meanwhile. */
void ending_say_down(const struct cli *c, const char *host, const struct failure *why);
void ending_say_back(const struct cli *c, const char *host);
/* A job that is over but for a disk there that refuses its bill: said once (*said). */
void ending_say_unbilled(const struct cli *c, const struct job_state *st, bool *said);
/* The job's receipt is not here: refused, or still to be fetched. why is fetch_wait's. */
void ending_say_no_receipt(const struct cli *c, const struct fetch *f,
                           const struct job_record *job, const struct job_state *st,
                           struct err *why);
/* A host that counts more seconds than can have passed; said once. claim NULL: none. */
void ending_say_dispute(const struct cli *c, const struct stopwatch *claim,
                        const char *job, const char *host, bool *said);

#endif
