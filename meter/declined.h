#ifndef METER_DECLINED_H
#define METER_DECLINED_H

#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/grant.h"

/*
 * "Nothing ever began under this lease here, and nothing will": a record
 * "gpurun.declined.v1" that the host signs when a renter gives a grant back unused. It is
 * what a book frees the hold for: a renter's own word would not do, as the grant may be
 * with the host already.
 */
#define DECLINED_MAX_BYTES 4096

struct declined {
    struct sign_public host;
    char lease[GRANT_ID_MAX + 1];
    char job[GRANT_ID_MAX + 1];
    struct sign_public renter;
    int64_t wall_ns;

    struct buf bytes;
};

void declined_init(struct declined *d);
void declined_clear(struct declined *d);
/* Of the grant's lease. Fills host and bytes. */
void declined_make(struct declined *d, const struct grant *g, int64_t wall_ns,
                   const struct sign_key *host);
/* Form and signature; whose it is and of which lease the caller compares. */
int declined_parse(struct declined *out, const void *data, size_t len,
                   struct err *e) MUST_USE;

#endif
