#ifndef RUNNER_CLIENT_COPIES_H
#define RUNNER_CLIENT_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/home.h"
#include "runner/client/session.h"
#include "runner/job/ids.h"

/*
 * Second copies that are due (client/mirror.h): of what a job leaves, or of a snapshot
 * that was taken by hand. Noted as <home>/copies/<id> before there can be anything to
 * copy, so it does not matter whether a client sees the end; taken away when the copy is
 * made, or nothing is left of which one is wanted. Whoever talks to the host next pays
 * (cli/due.h).
 */
struct copy_due {
    char id[JOB_ID_LEN + 1];       /* of the job whose data it is, or of the snapshot */
    char *host;                    /* that has it; our name for it */
    char *name;                    /* what people call it, or NULL */
    bool outs;                     /* its job has --out paths */
    bool live;                     /* its job takes snapshots on the way (--snap-every) */
    char snapshot[JOB_ID_LEN + 1]; /* what the job left; "": nothing that is known yet */
    int64_t stored_bytes;          /* of that; -1: not known */
    int64_t made_wall_ns;          /* of this note */
    int64_t expires_wall_ns;       /* of the snapshot; 0: not known */
    /* The last one on the way of which a copy is there, and where; "" and NULL: none. */
    char copied[JOB_ID_LEN + 1];
    char *copied_to;
    /* Attempts in a row that failed, when the last one did, and why. */
    int64_t n_failed;
    int64_t tried_wall_ns;
    char *why;              /* in the words of who tried it, */
    enum err_code why_code; /* and for programs */
};
#define COPIES_MAX 100000 /* more are not listed */

void copy_due_init(struct copy_due *d);
void copy_due_free(struct copy_due *d);

/*
 * Note it, in place of what was noted under its id. durable: a power cut does not take it
 * away any more, for what nobody will watch; else it may for as long as the kernel takes
 * to write (a client that lives copies all the same).
 */
int copies_save(const struct home *home, const struct copy_due *d, bool durable,
                struct err *e) MUST_USE;
/* ERR_NOT_FOUND: nothing is due under that id. */
int copies_load(const struct home *home, const char *id, struct copy_due *out,
                struct err *e) MUST_USE;
void copies_forget(const struct home *home, const char *id);
/* A second copy of that snapshot is there now, or its data has been given up. */
void copies_settle(const struct home *home, const char *snapshot);

struct copies {
    struct copy_due *v; /* newest first */
    size_t n;
};
/*
 * All that can be read. What is long past its end, or so old that its host will not come
 * back, is forgotten meanwhile.
 */
int copies_list(const struct home *home, struct copies *out, struct err *e) MUST_USE;
void copies_free(struct copies *l);

/* An attempt failed; said in *d, for copies_save. */
void copies_failed(struct copy_due *d, const struct err *why);

/*
 * Be the one who makes this copy until *fd is given to copies_let_go, or this process
 * dies. false: somebody else is at it. Where it cannot be told (a full disk) two may be
 * at it, which costs time only.
 */
bool copies_take(const struct home *home, const char *id, int *fd);
void copies_let_go(const struct home *home, const char *id, int *fd);

enum copy_answer {
    COPY_NONE = 0, /* not asked */
    COPY_OVER,     /* nothing is left of which a copy would be wanted */
    COPY_WAITS,    /* not there yet */
    COPY_THERE,
};

/* What there is to copy now. */
struct copy_source {
    char snapshot[JOB_ID_LEN + 1];
    int64_t stored_bytes;
    bool live; /* taken on the way: its job goes on, and a later one will replace it */
};

/*
 * Ask the host of s, which is d's, what has become of it; d learns of the snapshot that
 * was left. Fails only where the host could not be asked.
 */
int copies_ask(struct session *s, struct copy_due *d, enum copy_answer *answer,
               struct copy_source *src, struct err *e) MUST_USE;

/*
 * Take back the copy of an older snapshot that `at` has, if s, the host that made it, has
 * replaced it by now. Goes on whenever the loop runs, over both sessions, which are up
 * and outlive it; a link that is cut is not waited for. What cannot be asked stays as it
 * is, to its end.
 */
struct copies_drop;
int copies_drop_start(struct copies_drop **out, struct session *s, struct session *at,
                      const char *snapshot, struct err *e) MUST_USE;
bool copies_drop_is_over(const struct copies_drop *d);
/* 0: it is gone there, or is kept still. d is gone; before it is over: ERR_LINK. */
int copies_drop_finish(struct copies_drop *d, struct err *e) MUST_USE;
/* Is there one, now that the data of d is on host `to`? */
bool copies_has_older(const struct copy_due *d, const char *to);

#endif
