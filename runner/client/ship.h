#ifndef RUNNER_CLIENT_SHIP_H
#define RUNNER_CLIENT_SHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/client/session.h"
#include "storage/build.h"
#include "storage/sync.h"

/*
 * Shipping a directory: it is scanned and hashed from ship_start on, in threads of
 * storage's, while hosts are still being reached; what a host lacks goes over a bulk
 * channel of the connection once ship_send was called.
 *
 * A cut link ends the channel. ship_send on the next connection begins anew (a quick
 * scan by the cache, and the host asks only for what has not arrived).
 */
struct ship;

struct ship_options {
    const char *dir; /* absolute */
    bool everything; /* no ignore rules (snap take) */
    bool with_git;
    bool allow_home;         /* --dir named it */
    bool measure;            /* count what is left out (plan) */
    bool for_job;            /* one starts with just this tree */
    struct store *into;      /* sync_send_options.into; outlives the ship */
    const char *const *with; /* relative to dir */
    size_t n_with;
    /* Something changed: built, failed, sent. On the loop's thread. */
    void (*changed)(void *ctx);
    void *ctx;
};

/*
 * Instead of a directory: tree out of store, which must outlive the ship, and with it the
 * manifest (bytes, copied) of the snapshot it belongs to. There is nothing to build.
 */
int ship_start_stored(struct ship **out, struct client *cl, struct store *store,
                      const struct sha256 *tree, const struct buf *manifest,
                      void (*changed)(void *ctx), void *ctx, struct err *e) MUST_USE;

/* Strings are copied. ERR_DENIED: not to be shipped without --dir; ERR_NOT_FOUND. */
int ship_start(struct ship **out, struct client *cl, const struct ship_options *o,
               struct err *e) MUST_USE;
void ship_free(struct ship *s); /* NULL allowed; ends its channel */

/* The tree is known: *r stays the ship's, NULL while it is being made. */
int ship_built(struct ship *s, const struct build_report **r, struct err *e) MUST_USE;
/* Run the loop until it is. */
int ship_wait_built(struct ship *s, const struct build_report **r,
                    struct err *e) MUST_USE;

/* How far the scan has come. */
struct ship_scanned {
    uint64_t n_entries, bytes;
    uint64_t n_before; /* entries, when it was read last; 0: nobody knows */
};
void ship_scanned(const struct ship *s, struct ship_scanned *out);

/*
 * Begin to send to the host at the other end of c, built or not: what is read goes out at
 * once. Nothing is done if it was sent through this session before, or is on its way
 * through c.
 */
int ship_send(struct ship *s, struct session *to, struct conn *c, struct err *e) MUST_USE;

enum ship_state {
    SHIP_NONE = 0,
    SHIP_BUILDING,
    SHIP_BUILT,
    SHIP_SENDING,
    SHIP_DONE,
    SHIP_FAILED
};
/* SHIP_FAILED fills *e (not the link's going: then it is SHIP_BUILT again). */
enum ship_state ship_state(struct ship *s, struct err *e);
/*
 * It failed because the directory is not what was read of it (*e names what changed): a
 * new ship may do better.
 */
bool ship_has_changed(const struct ship *s);
/* It failed because the host takes nothing now: another host may take a new ship. */
bool ship_was_put_off(const struct ship *s);
void ship_stats(struct ship *s, struct sync_stats *out);

/* "<home>/scan/<hash of dir>"; malloc'ed. */
char *ship_cache_path(const struct home *home, const char *dir);

#endif
