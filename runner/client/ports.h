#ifndef RUNNER_CLIENT_PORTS_H
#define RUNNER_CLIENT_PORTS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"

/*
 * A port of a job, reachable here: a listener on 127.0.0.1 whose connections travel as
 * channels of the session. Nothing listens anywhere else. Connections that are open when
 * the link is cut are closed; the listener stays.
 */
struct port_forward;

/*
 * local 0: the same number as remote if that is free here, else any; any, too, where the
 * job runs on this very machine, since the number is its own to listen on. ERR_BUSY: a
 * local port that was asked for is taken, or root's alone.
 */
int port_forward_new(struct port_forward **out, struct client *cl, struct session *s,
                     const char *job, uint16_t remote, uint16_t local,
                     struct err *e) MUST_USE;
void port_forward_free(struct port_forward *p); /* NULL allowed */
uint16_t port_forward_local(const struct port_forward *p);

/* A connection was refused or broken off; for a remark. */
void port_forward_on_refused(struct port_forward *p,
                             void (*fn)(void *ctx, const struct err *why), void *ctx);

#endif
