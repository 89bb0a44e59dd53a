#ifndef RUNNER_CLI_DUE_INTERNAL_H
#define RUNNER_CLI_DUE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/due.h"
#include "runner/cli/progress.h"
#include "runner/client/forward.h"

/* Shared by the parts of due. */

#define DUE_SIGNALS 3

/* One command's copying. */
struct payer {
    struct cli *c;
    struct client *cl;
    bool quick;
    int64_t deadline_boot_ns; /* of quick */
    int64_t bytes_left;
    bool stop; /* told to go */
    struct signal_watch *watches[DUE_SIGNALS];
    struct session *to; /* where the last copy went; NULL: none */
    char *dead_to;      /* a host that did not answer, not asked again, */
    struct err why;     /* and what was wrong with it */
    struct progress *progress;
    const struct copy_due *due; /* on its way */
    const char *to_name;
    int64_t total_bytes;
    struct forward_progress st;
};

/* What became of one that was due. */
enum paid {
    PAID_NOT = 0, /* still due: there is data, and no copy */
    PAID_WAITS,   /* still due: there is no data, or nobody to ask */
    PAID_OVER,    /* nothing is due any more */
    PAID_DONE,    /* copied now */
};

/* due_copy.c. payer_open looks out for ^C and its like, until payer_close. */
void payer_open(struct payer *p, struct cli *c, struct client *cl, bool quick);
void payer_close(struct payer *p);
bool payer_is_over(const struct payer *p); /* told to go, or no time is left */
/*
 * Make one copy, with the right to it in hand (copies_take), and put down how it went.
 * PAID_DONE; PAID_NOT: *e says why; PAID_WAITS: what was taken on the way was replaced
 * before it could be read, which is no failure.
 */
enum paid payer_copy(struct payer *p, struct copy_due *d, const struct copy_source *src,
                     struct session *from, const char *to, struct err *e) MUST_USE;

/* Put d down as it is now. */
void payer_note(const struct payer *p, const struct copy_due *d);

/* due.c: ask d's host, and make the copy if there is something to copy. */
enum paid payer_pay(struct payer *p, struct copy_due *d, struct session *from);
/* Of those, the one with that host, if it is up; NULL. */
struct session *due_session(struct session *const *v, size_t n, const char *host);

/* due_note.c */
/* A copy of what the job kept on the way is there now. */
void due_copied_live(const struct cli *c, const struct client *cl, struct copy_due *d,
                     const char *snapshot, const char *to);
/* The one before it could not be taken back from there. */
void due_say_older(const struct cli *c, const char *to, const struct err *why);
const char *due_place(const char *host);        /* "laptop", or its name */
const char *due_word(const struct copy_due *d); /* what to call it */
bool due_is_left(const struct copy_due *d); /* there is data, as far as is known here */
bool due_is_known_host(const struct home *home, const char *name);
void due_json_one(struct json_writer *j, const struct copy_due *d);

#endif
