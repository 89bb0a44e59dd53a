#ifndef RUNNER_CLIENT_NEAR_H
#define RUNNER_CLIENT_NEAR_H

#include <stdbool.h>

#include "runner/client/session.h"
#include "storage/store.h"

/*
 * The store of the host `local`, opened here too: it lies on our disk and is ours, so
 * what is put there or read from there need not pass through another process. s is up;
 * runs the loop. *out is for store_close; NULL where the store is not to be had like that
 * (another machine, an agent that cannot say or does not want it): then all goes over the
 * session.
 */
void near_store(struct session *s, bool to_put, struct store **out);

#endif
