#ifndef RUNNER_CLI_PLAN_H
#define RUNNER_CLI_PLAN_H

#include "base/buf.h"
#include "runner/cli/request.h"
#include "runner/client/place.h"
#include "storage/build.h"

/*
 * What a run will do and cost, put together before anything is spent: the renter reads it
 * as a page (`plan`), as a few remarks (`run`) or as JSON.
 */
struct plan {
    const struct run_request *request;
    const struct place *place;
    const struct candidate *chosen;
    const struct host *host;
    const struct host_info *info;
    const struct offer *offer;
    const struct transport_info *transport;
    const struct grant *grant;
    int64_t can_run_s;
    const struct build_report *ship; /* NULL: nothing is shipped */
    int64_t keep_bytes;
    bool setup_ready; /* with --setup: the host has its result */
    bool asks;        /* on a terminal a run asks first: config's ask-above */
    bool needs_word;  /* off a terminal it is refused without --max-cost or -y */
};

void plan_page(const struct plan *p, struct buf *out);
void plan_json(const struct plan *p, struct buf *out);
/* What is to be said of `asks` and `needs_word`; NULL: nothing. */
const char *plan_question(bool asks, bool needs_word);
/* A few lines, one per call of say(). */
void plan_remarks(const struct cli *c, const struct plan *p);

/* "1x 4090 (NVIDIA GeForce RTX 4090)", "4 cores". malloc'ed. */
char *plan_device(const struct plan *p);

#endif
