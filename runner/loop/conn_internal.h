#ifndef RUNNER_LOOP_CONN_INTERNAL_H
#define RUNNER_LOOP_CONN_INTERNAL_H

/* A connection and what its bytes go through: descriptors (conn_fd.c) or queues
 * (conn_queue.c). */

#include <sys/types.h>
#include <sys/uio.h>

#include "runner/loop/conn.h"

#define CONN_AGAIN (-1)
#define CONN_ERROR (-2)

struct conn_io {
    /* Bytes moved; 0 (reading): the end; CONN_AGAIN; CONN_ERROR with *e. */
    ssize_t (*read)(struct conn *c, void *to, size_t n, struct err *e);
    ssize_t (*write)(struct conn *c, const struct iovec *iov, int n, struct err *e);
    /* What to be woken for, by conn_readable and conn_writable. */
    void (*want)(struct conn *c, bool readable, bool writable);
    void (*close)(struct conn *c);
};

struct conn {
    struct loop *loop;
    struct mux *mux;
    const struct conn_io *io;
    void (*on_closed)(void *ctx, struct conn *c, const struct err *why);
    void *ctx;

    int in_fd;
    int out_fd;
    struct watch *in_watch;
    struct watch *out_watch; /* NULL: the same descriptor as in_watch's */
    struct queue *in_queue;
    struct queue *out_queue;
    struct waker *waker;

    struct loop_task round; /* writes, and sets up what to wait for next */
    struct timer *tick;
    int64_t tick_at_ns;
    bool blocked;       /* the other side takes no more now */
    bool deaf;          /* writing failed: only read what is left */
    bool finishing;     /* conn_finish: close when all is written */
    int64_t give_up_ns; /* when finishing or deaf */
    bool has_finish_why;
    struct err finish_why;

    bool ended;
    bool has_why;
    struct err why;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int busy; /* depth of calls that may call back */
    bool freed;
};

struct conn *conn_make(struct loop *l, const struct conn_io *io,
                       const struct conn_options *o);
void conn_readable(struct conn *c);
void conn_writable(struct conn *c);

extern const struct conn_io conn_fd_io;
extern const struct conn_io conn_queue_io;

#endif
