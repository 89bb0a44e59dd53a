#ifndef METER_IDEM_H
#define METER_IDEM_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Requests that come twice, in memory: a client-made key names one request for
 * good. The ledger keeps the same rule in its database (ledger.h).
 */
struct idem;

struct idem *idem_new(void);
void idem_free(struct idem *t);

/*
 * First use of key: remembered with body and value, *first = value. Same key and body:
 * *first is the value of the first use. Same key, other body:
 * "idempotency_key_mismatch", nothing changes. Key and body are copied.
 */
int idem_use(struct idem *t, const char *key, const char *body, size_t value,
             size_t *first, struct err *e) MUST_USE;

#endif
