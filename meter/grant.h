#ifndef METER_GRANT_H
#define METER_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/card.h"
#include "meter/offer.h"

/*
 * A grant: a book (the renter's own key, or an operator's) says that up to cap_fen
 * may be spent on one lease of one host at frozen prices. The host enforces it
 * with nobody connected. It exists for a free host too, with prices and cap 0.
 *
 * An extension is a new grant of the same lease with a higher seq; its cap and end
 * are totals, not additions, and nothing else may differ.
 */
#define GRANT_MAX_BYTES      ((size_t)256 << 10)
#define GRANT_ROWS_MAX       16
#define GRANT_ID_MAX         64
#define GRANT_NO_END         INT64_MAX
#define GRANT_MAX_S          ((int64_t)1 << 36)  /* two thousand years */
#define GRANT_BURN_MAX_UYUAN 1000000000000000000 /* a trillion yuan an hour */

/* Why the cap or the end is where it is: the reason an end is reported with. */
enum grant_limit {
    GRANT_LIMIT_NONE = 0,
    GRANT_LIMIT_COST,    /* --max-cost */
    GRANT_LIMIT_BALANCE, /* all that the book had */
    GRANT_LIMIT_TIME,    /* --max-time */
    GRANT_LIMIT_LEASE,   /* the end of what was leased */
    GRANT_LIMIT_COUNT
};
const char *grant_limit_name(enum grant_limit l); /* "cost", "balance", "time", "lease" */

/* Devices of one kind held together. */
struct grant_row {
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    int64_t n_units;     /* devices; cores for cpu */
    int64_t uyuan_per_h; /* per unit, frozen */
};

struct grant {
    char lease[GRANT_ID_MAX + 1]; /* made by the client; also the nonce */
    int64_t seq;                  /* 1, then higher with each extension */
    char job[GRANT_ID_MAX + 1];
    struct sign_public renter;
    struct sign_public host;
    struct sha256 offer;
    struct grant_row rows[GRANT_ROWS_MAX];
    size_t n_rows;
    int64_t job_uyuan;
    int64_t nocard_uyuan_per_h;
    int64_t keep_uyuan_per_gb_day;
    int64_t keep_free_bytes; /* quota not yet used by the renter's other data */
    int64_t keep_days;       /* the landing reserve covers keeping for so long */
    int64_t window_s; /* stop window; beyond USAGE_FREE_STOP_S billed and reserved */
    int64_t cap_fen;  /* all of it: use, window and keeping. Never a fen above */
    enum grant_limit cap_why;
    int64_t max_s; /* boot-clock seconds from ready (and of set-up); GRANT_NO_END */
    enum grant_limit end_why;
    int64_t until_wall_ns;              /* the host refuses to start it after (a label) */
    char reservation[GRANT_ID_MAX + 1]; /* paid in front: rows may be 0; "" none */
    int64_t made_wall_ns;

    struct sign_public book; /* the signer */
    struct buf bytes;
    struct sha256 hash;
};

void grant_init(struct grant *g); /* all empty, defaults of the stop and the end */
void grant_clear(struct grant *g);
/* to is overwritten, and the caller's to grant_clear. */
void grant_copy(struct grant *to, const struct grant *from);

/*
 * Add a row for n_units of class/type, and take host, prices and window from the offer.
 * ERR_NOT_FOUND if the offer has no price for it.
 */
int grant_set_offer(struct grant *g, const struct offer *o, const char *class_name,
                    const char *type, int64_t n_units, struct err *e) MUST_USE;

/* Fills book, bytes and hash. */
int grant_sign(struct grant *g, const struct sign_key *book, struct err *e) MUST_USE;
/* Parse and check signature and every rule that needs nothing else. */
int grant_parse(struct grant *out, const void *data, size_t len, struct err *e) MUST_USE;
/* The same but for computing the signature (sign_rec_signer says when). */
int grant_parse_known(struct grant *out, const void *data, size_t len,
                      struct err *e) MUST_USE;

/*
 * The host's check. o is the offer of that hash that the host made; renter_key is
 * the key the renter is known by here. ERR_DENIED says which rule failed: other host,
 * other offer, a price that is not the offer's, a book not accepted, another renter,
 * expired (now_wall_ns), a window longer than the offer allows.
 */
int grant_check(const struct grant *g, const struct offer *o,
                const struct sign_public *renter_key, int64_t now_wall_ns,
                struct err *e) MUST_USE;
/* The part of it that holds for ever: host, offer, prices, book. */
int grant_check_terms(const struct grant *g, const struct offer *o,
                      struct err *e) MUST_USE;
/* Is next an extension of g? ERR_DENIED says what differs or falls. */
int grant_check_extends(const struct grant *g, const struct grant *next,
                        struct err *e) MUST_USE;

/* Hash of what no extension may change: two grants of one lease must have the same. */
void grant_terms(const struct grant *g, struct sha256 *out);

/* Summed price of all rows, micro-yuan per hour. */
int64_t grant_burn_uyuan_per_h(const struct grant *g);
/* Seconds of the stop window that are billed. */
int64_t grant_billed_window_s(const struct grant *g);

/*
 * The one sum behind bill, cap and stop. Exact cost of set-up and device seconds, in
 * TARIFF_COST_PER_FEN; the charge is its floor, at least TARIFF_MIN_FEN if it is above
 * zero, never above the cap. Which seconds of a session are charged, its records say:
 * none of set-up or running beyond max_s, as a host that stops late bears them.
 */
__int128 grant_cost(const struct grant *g, int64_t setup_s, int64_t device_s);
int64_t grant_charge(const struct grant *g, int64_t setup_s, int64_t device_s);
/* What keeping held_bytes for keep_days may cost: reserved, and held at the end. */
int64_t grant_keep_hold(const struct grant *g, int64_t held_bytes);
/*
 * The last whole device second at which exact cost, billed window and keep_fen still
 * fit the cap: the stop is ordered in it. INT64_MAX if nothing is paid by time.
 */
int64_t grant_max_device_s(const struct grant *g, int64_t setup_s, int64_t keep_fen);
/*
 * The cap that lets the lease run max_s seconds with reserve: price x time, the billed
 * window, per-job price, and keeping of keep_bytes for keep_days, rounded up.
 */
int grant_default_cap(const struct grant *g, int64_t keep_bytes, int64_t *cap_fen,
                      struct err *e) MUST_USE;

#endif
