#ifndef RUNNER_CLIENT_PLACE_INTERNAL_H
#define RUNNER_CLIENT_PLACE_INTERNAL_H

#include "meter/reservation.h"
#include "runner/client/place.h"

/* Shared by place.c (which host) and place_booked.c (what was paid for in front). */

/*
 * Does the reservation serve on the candidate's host, whose session is up? Then it comes
 * first, as it costs nothing more.
 */
void place_judge_reserved(struct candidate *c, const struct place_want *w,
                          const struct reservation *r);

#endif
