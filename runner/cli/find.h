#ifndef RUNNER_CLI_FIND_H
#define RUNNER_CLI_FIND_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/session.h"
#include "runner/client/snaps.h"
#include "runner/job/spec.h"

/*
 * Data by name: a snapshot (wherever a copy of it is) or what a job's directory holds
 * now, and a session with the host that has it.
 */
struct data_ref {
    struct session *session;
    char snapshot[JOB_ID_LEN + 1]; /* "" when it is a job's directory */
    char job[JOB_ID_LEN + 1];
    struct snap_info info;  /* of a snapshot */
    struct strings silent;  /* hosts that do not answer, and that was said */
    struct strings damaged; /* hosts whose copy of it is damaged, and that was said */
};

/*
 * what: a snapshot, or a job: that is its last snapshot, or with live its directory while
 * it runs. ERR_NOT_FOUND; where a host could not be asked who may have it, that failure.
 */
int find_data(struct cli *c, struct client *cl, const char *what, bool live,
              struct data_ref *out, struct err *e) MUST_USE;
/* The same of what is to be given up: also one of which nothing but its id can be read.
 */
int find_to_remove(struct cli *c, struct client *cl, const char *what,
                   struct data_ref *out, struct err *e) MUST_USE;
void data_ref_close(struct data_ref *r);

/*
 * r is a kept copy of its snapshot on another host from now on: none that was found
 * damaged, nor except (may be NULL). false: there is none. Asks all hosts.
 */
bool find_other(struct cli *c, struct client *cl, struct data_ref *r, const char *except);

/*
 * Reading r's snapshot failed with why: if that is damage, and there is a copy that was
 * not read from yet, r is that one, and it is said. to: the host it was sent to, whose
 * failure it may be; NULL: none.
 */
bool find_sound(struct cli *c, struct client *cl, struct data_ref *r, const char *to,
                const struct err *why);

/*
 * Every snapshot of every host that answers; silent hosts are appended to silent, and why
 * they are is said, but of those in said, which are all of them then.
 */
int find_all_snapshots(struct cli *c, struct client *cl, bool all, struct strings *said,
                       struct snap_infos *out, struct buf *silent,
                       struct err *e) MUST_USE;

/*
 * The same in two steps, for who goes on with the hosts (place_free). doubts: why nothing
 * expires where a clock is not believed. said and doubts may be NULL.
 */
struct place;
int find_ask_hosts(struct client *cl, struct place **out, struct err *e) MUST_USE;
void find_snapshots_at(struct cli *c, const struct place *p, bool all,
                       struct strings *said, struct snap_infos *out, struct buf *silent,
                       struct buf *doubts);

#endif
