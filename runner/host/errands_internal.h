#ifndef RUNNER_HOST_ERRANDS_INTERNAL_H
#define RUNNER_HOST_ERRANDS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/host/books.h"
#include "runner/host/errands.h"
#include "runner/host/jobdir.h"

#define ERRANDS_SUFFIX_MAX 16
#define ERRANDS_NAME_MAX   (sizeof ERRANDS_TOLD_DIR + SIGN_ID_LEN + ERRANDS_SUFFIX_MAX + 1)

struct bookline;

/* At one book. */
struct errand {
    const struct agent *agent;
    const struct host_book *book;
    struct bookline *line; /* once there was something to say */
    int hold_fd;           /* keeps parking off meanwhile; -1 */
    bool parking;          /* the machine goes down now: all waits until it is back */
    int64_t until_ns; /* CLOCK_BOOTTIME: what is left then waits; 0: not called yet */
    bool gone;        /* it does not answer, or is not called: why */
    struct err why;
    bool refused; /* for good, by the last question since errand_begin */
    int told_fd;  /* of the directory of notes */
    struct errands *sums;
    struct err first; /* failure of all, ERR_NONE: none */
};

/* Call the book if that was not done yet, and ask. Once it does not answer, no more. */
int errand_ask(struct errand *x, const struct rec *req, struct rec **resp,
               struct err *e) MUST_USE;

/*
 * One thing that a book is to hear. false: that book has refused it, as it stands, for
 * good, so it is not sent. x's book and time are filled in.
 */
struct refusal;
bool errand_begin(struct errand *x, struct refusal *thing);
/*
 * It could not be told, for *e. Where the book has refused it for good that is noted, and
 * 0 returned: it is over. Else -1, *e as it was.
 */
int errand_failed(struct errand *x, struct refusal *thing, struct err *e) MUST_USE;

/*
 * The book has taken it: note text of that lease or reservation. What it has refused of
 * it before, such as a checkpoint of a lease whose receipt it takes, is over.
 */
int errand_taken(struct errand *x, const char *id, const char *text,
                 struct err *e) MUST_USE;

/* Is any of them called from here? */
bool errands_call_any(const struct host_books *l);

/* "told.<id of the book><suffix>" in the agent's home; the second is malloc'ed. */
void errands_name(const struct sign_public *book, const char *suffix,
                  char out[ERRANDS_NAME_MAX]);
char *errands_file(const struct agent *a, const struct sign_public *book,
                   const char *suffix);

/*
 * One at a time at each book. *mine: it is our turn, until *lock is closed. Not mine
 * where one waits already and we are not patient. ERR_BUSY: another had it for all of
 * limit_ns.
 */
int errands_turn(const struct agent *a, const struct sign_public *book, bool patient,
                 int64_t limit_ns, bool *mine, int *lock, struct err *e) MUST_USE;

/* All that this book is to hear; the line is closed then. The first failure is told. */
int errand_book(struct errand *x, struct err *e) MUST_USE;

/* errands_run; only NULL: all books; says_when: each visit is one of errands_done. */
int errands_go(const struct agent *a, const struct sign_public *only, bool patient,
               bool says_when, struct errands *out, struct err *e) MUST_USE;

/*
 * Of a job that runs: the last checkpoint that was signed, if the chain does not have the
 * book's acknowledgement of it already; what the book answers goes to the supervisor.
 */
int errand_point(struct errand *x, const struct jobdir *d, const char *lease,
                 struct err *e) MUST_USE;

#endif
