#ifndef RUNNER_HOST_RESERVATIONS_H
#define RUNNER_HOST_RESERVATIONS_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/reservation.h"
#include "runner/host/agent.h"
#include "runner/job/device.h"

/*
 * Devices of this host that were paid for in front (meter/reservation.h): one file each,
 * <agent's home>/reservations/<id>. While one is in force its devices go to jobs of its
 * renter that name it, and to no others.
 */
struct reservation_list {
    struct reservation **v; /* by id */
    size_t n;
};

/*
 * From now on nobody buys or changes (exclusive) or: what is read of them stays true
 * (shared). *fd holds the lock.
 */
int reservations_lock(const struct agent *a, bool exclusive, int *fd,
                      struct err *e) MUST_USE;

/* Those of one renter (NULL: all), over or not. One that cannot be read is an error. */
int reservations_list(struct reservation_list *out, const struct agent *a,
                      const struct sign_public *renter, struct err *e) MUST_USE;
void reservations_free(struct reservation_list *l);
/* ERR_NOT_FOUND: none of that id. */
int reservations_load(struct reservation **out, const struct agent *a, const char *id,
                      struct err *e) MUST_USE;

/* The one that holds that device at wall second at_s, or NULL. */
const struct reservation *reservations_holder(const struct reservation_list *l,
                                              const char *uuid, int64_t at_s);
/* A free device that is held becomes DEVICE_RESERVED. */
int reservations_mark(const struct agent *a, struct device_list *l,
                      struct err *e) MUST_USE;

/*
 * Carry out a renter's order (meter/order.h); grant pays what it costs (NULL: nothing).
 * *out gets the whole chain afterwards. The same order again is answered as the first
 * time. job (NULL: none): buy the very devices that this running job of the renter's has,
 * rather than free ones. ERR_BUSY: not so many devices are free, or a job has them;
 * ERR_DENIED, ERR_LIMIT and what reservation_do says.
 */
int reservations_order(const struct agent *a, const struct renter *r, const void *order,
                       size_t order_len, const void *grant, size_t grant_len,
                       const char *job, struct buf *out, struct err *e) MUST_USE;

/*
 * The owner takes the devices back: from now on no job begins under it or goes on beyond
 * its grant; *refund_fen, its part of the time that is left, goes back to the renter.
 * dry_run: only what it would come to. *out: as it is then, the caller's. ERR_NOT_FOUND;
 * ERR_DENIED: its time is over, or it was given back.
 */
int reservations_break(const struct agent *a, const char *id, bool dry_run,
                       struct reservation **out, int64_t *refund_fen,
                       struct err *e) MUST_USE;

/*
 * May a job under this grant begin now, or go on, having had ran_s already? Under
 * reservations_lock. ERR_DENIED says why not.
 */
int reservations_check(const struct reservation *r, const struct grant *g, int64_t ran_s,
                       struct err *e) MUST_USE;

#endif
