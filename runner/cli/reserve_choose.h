#ifndef RUNNER_CLI_RESERVE_CHOOSE_H
#define RUNNER_CLI_RESERVE_CHOOSE_H

#include "base/attr.h"
#include "base/err.h"
#include "meter/order.h"
#include "meter/reserve.h"
#include "runner/cli/cli.h"
#include "runner/client/session.h"
#include "runner/job/device.h"

/* Where to buy: of all hosts, or the one that is named, the cheapest that sells it. */
struct reserve_choice {
    struct order *order;     /* gets what is bought, but for how long */
    struct session *session; /* with the host; the caller's */
    bool reached;            /* after a failure: hosts were asked, and said no */
};

/*
 * The cheapest plan of that unit for devices that are meant, and free. ERR_BUSY: sold,
 * but not free now; ERR_NOT_FOUND: nobody that could be asked sells it; ERR_LINK: nobody
 * could be asked. Hosts that could not be are named.
 */
int reserve_choose(const struct cli *c, struct client *cl, const char *host,
                   const struct device_want *want, enum reserve_unit unit,
                   struct reserve_choice *out, struct err *e) MUST_USE;

#endif
