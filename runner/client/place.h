#ifndef RUNNER_CLIENT_PLACE_H
#define RUNNER_CLIENT_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/client/hosts.h"
#include "runner/client/session.h"
#include "runner/job/device.h"

/*
 * Where to run: all hosts that may serve are asked at once, and the cheapest free one
 * that fits is taken. place_open begins to connect; place_wait waits until the answer
 * is certain, or as good as it will get: once a host fits, the others have
 * PLACE_GRACE_NS to answer.
 */
#define PLACE_GRACE_NS ((int64_t)2000000000)

struct place_want {
    struct device_want device;
    char arch[DEVICE_TEXT_MAX + 1]; /* "" any */
    int64_t max_price_uyuan;        /* per unit-hour; < 0: any */
    int64_t time_s; /* a reservation that ends before is of no use; 0: any is */
};

enum place_fit {
    PLACE_NONE = 0,  /* has not answered yet */
    PLACE_FITS,      /* free now */
    PLACE_BUSY,      /* has it, but not free */
    PLACE_UNFIT,     /* has no such device, or asks too much */
    PLACE_UNREACHED, /* did not answer, or not as it should */
};

struct candidate {
    const char *host; /* its name */
    struct session *session;
    enum place_fit fit;
    char type[CARD_WORD_MAX + 1]; /* of the devices, as the host's prices call it */
    char device_name[DEVICE_TEXT_MAX + 1];
    int64_t uyuan_per_h; /* per unit, as the host asks */
    bool own_estimate;   /* the host asks nothing; estimate_uyuan is what was typed */
    int64_t estimate_uyuan;
    int64_t n_free;
    int64_t n_shared; /* of those wanted: it has no other left than such as somebody
                         computes on without gpurun */
    char reservation[GRANT_ID_MAX + 1]; /* paid in front: then it costs nothing more */
    int64_t reserved_s;                 /* how long that one holds yet */
    char why[512];                      /* why it does not fit */
};

struct place;

/*
 * Connect to all hosts of the list (copied) at once. More than one host: each gets
 * PLACE_CONNECT_MS only. want may be filled later (place_set_want), so connecting comes
 * first.
 */
int place_open(struct place **out, struct client *cl, const struct host_list *hosts,
               struct err *e) MUST_USE;
void place_set_want(struct place *p, const struct place_want *w);
/* Sessions of candidates that were not taken are closed. NULL allowed. */
void place_free(struct place *p);

/* Run the loop as said above. Not finding any is no failure. */
int place_wait(struct place *p, struct err *e) MUST_USE;
/*
 * Have hosts that are up say how the reservations kept here stand, and keep what they
 * sign. news gets a line for each that has ended otherwise than was known, or that cannot
 * be believed; then the want is to be set anew.
 */
void place_ask_booked(struct client *cl, const struct place *p, struct strings *news);
/* Run the loop until each host has answered or failed, want or not (listings). */
int place_ask_all(struct place *p, struct err *e) MUST_USE;
/* Run the loop for so long (or until it is stopped). */
int place_nap(struct place *p, int64_t ns, struct err *e) MUST_USE;
/* Ask those that answered again (for --wait). */
int place_refresh(struct place *p, struct err *e) MUST_USE;

size_t place_n(const struct place *p);
const struct candidate *place_at(const struct place *p, size_t i);
/* The one to take, or NULL; `not_these` hosts have said no since (a lost race). */
const struct candidate *place_best(const struct place *p);
/* Before others that fit, whatever they ask: it has what else would have to be sent. */
void place_prefer(struct place *p, const char *host);
/* Do not offer this one again. */
void place_exclude(struct place *p, const char *host, const char *why);
/*
 * May it be run on at that price? ERR_CORRUPT: it costs something, and a reservation that
 * might have paid cannot be read.
 */
int place_check_paid(const struct place *p, const struct candidate *c,
                     struct err *e) MUST_USE;
/* Its session, from now on the caller's; the candidate stays listed. */
struct session *place_take(struct place *p, const struct candidate *c);
/*
 * Nothing fits: says what was wanted, and of each host why not. ERR_LINK: none of them
 * could be asked; ERR_BUSY: it is there, but not free; ERR_NOT_FOUND.
 */
int place_explain(const struct place *p, struct err *e);

#endif
