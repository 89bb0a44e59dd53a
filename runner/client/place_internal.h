#ifndef RUNNER_CLIENT_PLACE_INTERNAL_H
#define RUNNER_CLIENT_PLACE_INTERNAL_H

#include "meter/offer.h"
#include "meter/reservation.h"
#include "runner/client/place.h"
#include "runner/job/hostinfo.h"

/*
 * Shared by place.c (which host), place_judge.c (what a host has) and place_booked.c
 * (what was paid for in front). No link is needed to judge.
 */

bool place_wants_cpu(const struct place_want *w);

/* How many of those wanted have to be such as somebody computes on (of n_free, n_shared).
 */
int64_t place_need_shared(const struct place_want *w, int64_t n_free, int64_t n_shared);

/* By what the host h says of itself (offer NULL: it makes none): fit, type, price, why.
 */
void place_judge(struct candidate *c, const struct place_want *w, const struct host *h,
                 const struct host_info *info, const struct offer *offer);

/*
 * Does the reservation serve on the candidate's host? Then it comes first, as it costs
 * nothing more.
 */
void place_judge_reserved(struct candidate *c, const struct place_want *w,
                          const struct host_info *info, const struct reservation *r);

#endif
