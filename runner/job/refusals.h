#ifndef RUNNER_JOB_REFUSALS_H
#define RUNNER_JOB_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/sign.h"
#include "runner/job/ids.h"

/*
 * What an operator's book has refused for good: the same bytes would be refused again, so
 * they are not sent again. Each is a file <agent's home>/told/<lease or reservation>.<id
 * of the book>.no ("gpurun.refusal.v1"), durable before anything else is sent. A file
 * that cannot be read is none: the thing is sent, and refused, again. Who changes one
 * holds that directory by flock for as long as that takes, never while a book is asked.
 */
#define REFUSAL_WORD_MAX 16

struct refusal {
    char id[JOB_ID_LEN + 1];         /* of the lease, or the reservation */
    char book[SIGN_ID_LEN + 1];      /* id of its key */
    char what[REFUSAL_WORD_MAX + 1]; /* REFUSAL_* */
    char job[JOB_ID_LEN + 1];        /* "" none */
    char state[SHA256_HEX_LEN + 1]; /* of the thing, where that goes on; "" it does not */
    struct err why;                 /* as kept: refusal_words says it */
    int64_t wall_ns;
    bool told; /* to whoever is concerned */
};

#define REFUSAL_RECEIPT     "receipt"
#define REFUSAL_KEEPING     "keeping"
#define REFUSAL_DECLINE     "decline"
#define REFUSAL_RESERVATION "reservation"
#define REFUSAL_CHECKPOINT  "checkpoint"

/*
 * Is a book's answer of that code its last word on what it was sent? Not what may pass: a
 * disk of its that is full or fails, a lock, a limit, a version, a connection.
 */
bool refusal_is_final(enum err_code code);

/*
 * A lease that was declined, and a book that knows nothing of it: the record does not say
 * whose grant it was, so each book is asked, and all but one say that. Nothing to tell or
 * to list, but sent no more either, and sent again as all the rest.
 */
bool refusal_is_another_books(const struct refusal *r);

/*
 * told_fd: of DIR, which is <agent's home>/told at a host, and <home>/pending at a
 * renter. Was this very thing refused, in this state of it?
 */
bool refusals_has(int told_fd, const struct refusal *r);
/* Instead of what was noted of that lease or reservation, and that book, before. */
int refusals_note(int told_fd, const struct refusal *r, struct err *e) MUST_USE;
/* That book (id of its key) has taken what there is of it: what it refused before is
 * over. */
int refusals_taken(int told_fd, const char *id, const char *book, struct err *e) MUST_USE;

struct refusals {
    struct refusal *v; /* by time */
    size_t n;
};
/* book NULL: of all. refusals_free in any case of success. */
int refusals_list(int told_fd, const struct sign_public *book, struct refusals *out,
                  struct err *e) MUST_USE;
void refusals_free(struct refusals *l);

/*
 * say each that was not told yet, once; *n_told of them. A crash in the middle, or two at
 * once, tells one twice, none never.
 */
int refusals_tell(int told_fd, void (*say)(void *ctx, const struct refusal *r), void *ctx,
                  size_t *n_told, struct err *e) MUST_USE;

/* Forget those of that book, NULL: of all: what it has refused is sent again. */
int refusals_forget(int told_fd, const struct sign_public *book, struct err *e) MUST_USE;

/* Why, in the user's words, fit for a terminal; returns out. */
const char *refusal_words(const struct refusal *r, char *out, size_t size);
/* The member "refused", an array, of all but those that are another book's. */
void refusals_json(struct json_writer *j, const struct refusals *l);

#endif
