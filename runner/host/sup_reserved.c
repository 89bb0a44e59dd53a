#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "runner/host/reservations.h"
#include "runner/host/supervise_internal.h"

/*
 * A job that began at a price per hour, and whose devices its renter has paid for in
 * front since: its time is booked as reserved while that holds, and costs again after.
 */
#define NS_PER_S ((int64_t)1000000000)
#define LOOK_NS  (10 * NS_PER_S) /* it may be renewed, or broken; clocks are set */

static bool
covers(const struct sup *s, const struct reservation *r)
{
    bool all = s->n_picked > 0 &&
               memcmp(r->renter.b, s->grant.renter.b, sizeof r->renter.b) == 0;

    for (size_t i = 0; i < s->n_picked && all; i++) {
        all = reservation_has_device(r, s->devices.v[s->picked[i]].uuid);
    }
    return all;
}

static void
look_again_later(struct sup *s)
{
    __int128 left = (__int128)s->reserved_to_s * NS_PER_S - clock_wall_ns();

    timer_after(s->reserved_timer, left < 0         ? 0
                                   : left < LOOK_NS ? (int64_t)left
                                                    : LOOK_NS);
}

/* What cannot be read now holds as it was read last. */
static void
look(void *ctx)
{
    struct sup *s = ctx;
    struct reservation *r = NULL;
    struct meter_status m;
    struct err none;

    if (s->main_exited || s->ending || s->stop_reason != JOB_REASON_NONE) {
        return;
    }
    if (reservations_load(&r, s->agent, s->reserved, &none) == 0) {
        s->reserved_to_s = covers(s, r) ? r->to_s : 0;
    }
    reservation_free(r);
    if (clock_wall_ns() / NS_PER_S < s->reserved_to_s) {
        look_again_later(s);
        return;
    }
    sup_meter(s, USAGE_RUNNING, "reservation_over");
    meter_session_status(s->meter, &m);
    if (m.state == USAGE_RESERVED) { /* the journal could not be written */
        timer_after(s->reserved_timer, LOOK_NS);
        return;
    }
    s->reserved[0] = '\0';
    sup_refresh(s);
}

int
sup_reserved_begin(struct sup *s, const char *id, struct err *e)
{
    struct reservation *r = NULL;
    struct meter_status m;
    int rc = -1;

    if (!s->started || s->main_exited || s->ending || s->stop_reason != JOB_REASON_NONE) {
        return err_set(e, ERR_NOT_FOUND, "the job is not running");
    }
    if (strcmp(s->grant.reservation, id) == 0) {
        return 0; /* it began on it */
    }
    if (s->grant.reservation[0] != '\0') {
        return err_set(e, ERR_EXISTS, "the job is on reservation %s already",
                       s->grant.reservation);
    }
    if (reservations_load(&r, s->agent, id, e) != 0) {
        return -1;
    }
    if (!reservation_holds(r, clock_wall_ns() / NS_PER_S) || !covers(s, r)) {
        err_set(e, ERR_DENIED,
                "reservation %s is not one of this job's devices, in force", id);
        goto out;
    }
    sup_meter(s, USAGE_RESERVED, r->id);
    meter_session_status(s->meter, &m);
    if (m.state != USAGE_RESERVED) {
        const char *is = usage_state_name(m.state);

        err_told(e, ERR_INVALID, is, is); /* a word that readers have of their own */
        err_wrap(e, "a job in this state cannot go over to a reservation");
        goto out;
    }
    memcpy(s->reserved, r->id, sizeof s->reserved);
    s->reserved_to_s = r->to_s;
    if (s->reserved_timer == NULL) {
        s->reserved_timer = timer_new(s->loop, look, s);
    }
    look_again_later(s);
    sup_refresh(s);
    rc = 0;

out:
    reservation_free(r);
    return rc;
}
