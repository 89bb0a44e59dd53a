#ifndef RUNNER_CLIENT_LINK_INTERNAL_H
#define RUNNER_CLIENT_LINK_INTERNAL_H

#include "runner/client/link.h"

/*
 * A link has two halves: struct link belongs to the loop, struct work is shared with the
 * link's thread. The thread goes through everything that blocks and leaves mail; the
 * loop takes it when woken.
 */

/* ---- what all links share (links.c); from any thread ---- */

struct loop *links_loop(const struct links *s);
/* A thread is about to be started: s lives at least as long. */
void links_thread_begins(struct links *s);
/* It could not be started. */
void links_thread_failed(struct links *s);
/* The last thing a thread does. */
void links_thread_ends(struct links *s);
/* Join the threads that have ended. */
void links_join(struct links *s);

/* The gate of that server, "address:port", through which LINKS_HANDSHAKES may be at a
 * time; -1: no more descriptors, then nobody is held up. It stays s's. */
int links_gate(struct links *s, const char *key);
/* Wait at the gate; false: cancelled (cancel_fd became readable) before it opened. */
bool gate_enter(int fd, int cancel_fd);
void gate_leave(int fd);

/* ---- the thread (link_work.c); the loop's thread calls these ---- */

struct work;

struct work_options {
    struct links *links;
    const struct host *host;         /* copied */
    const struct link_options *link; /* transport and start_timeout_ms are looked at */
    struct waker *waker;             /* woken when there is mail; until work_leave */
};

/* Start the thread. *out is the caller's, to be given up by work_leave. */
int work_start(struct work **out, const struct work_options *o, struct err *e) MUST_USE;

/* The loop may cancel it, and ask it who is at the other end. It stays w's. */
struct transport *work_transport(const struct work *w);

/* What happened since the last time. */
struct work_mail {
    bool stage_new; /* the next three are news */
    enum link_stage stage;
    uint64_t done_bytes;
    uint64_t total_bytes;
    int fd;                     /* != -1: it is up; the caller's */
    struct buf rest;            /* with fd: bytes that came behind the magic line; the
                                   caller's */
    struct transport_info info; /* with fd */
    bool over;                  /* the thread is through */
};
void work_take_mail(struct work *w, struct work_mail *m);

/* Why it never came up, or how it ended; zeroes while it is neither. */
void work_last_words(struct work *w, struct failure *why,
                     struct transport_status *status);

/* Cancel what the thread does and think no more of it. */
void work_leave(struct work *w);

#endif
