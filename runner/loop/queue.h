#ifndef RUNNER_LOOP_QUEUE_H
#define RUNNER_LOOP_QUEUE_H

/*
 * A bounded byte queue between two threads: one writes, one reads, neither ever
 * waits here. A side that found it full (or empty) is woken once, by its own wake
 * function, when that changes. Used between the loop and a transport's thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/err.h"

struct queue;

/* cap_bytes is rounded up to a power of two. Freed when both sides have let go. */
struct queue *queue_new(size_t cap_bytes);

/*
 * Before the threads start: how to wake the writer (room came) and the reader (bytes
 * or the end came). Called from the other side's thread: waker_wake, or an eventfd.
 */
void queue_on_room(struct queue *q, void (*wake)(void *ctx), void *ctx);
void queue_on_data(struct queue *q, void (*wake)(void *ctx), void *ctx);

/* ---- the writer's thread ---- */

/* How many bytes were taken; fewer than n: full, you will be woken. 0 if the reader let
 * go. */
size_t queue_write(struct queue *q, const void *data, size_t n);
/* Room to fill in place (0 slices: full, you will be woken), then how much was filled. */
int queue_room(struct queue *q, struct iovec iov[2]);
void queue_filled(struct queue *q, size_t n);
/* No more bytes: why NULL is an orderly end. The writer must not touch q afterwards. */
void queue_close(struct queue *q, const struct err *why);
bool queue_reader_gone(const struct queue *q);

/* ---- the reader's thread ---- */

/* Bytes to read in place (0 slices: empty, you will be woken), then how many were used.
 */
int queue_data(struct queue *q, struct iovec iov[2]);
void queue_used(struct queue *q, size_t n);
/* The writer closed and everything was read; *why then holds the reason, if one was
 * given. */
bool queue_ended(struct queue *q, bool *failed, struct err *why);
/* Will read no more. The reader must not touch q afterwards. */
void queue_abandon(struct queue *q);

/* For a thread without a loop: an eventfd to poll for reading. */
int queue_eventfd_new(int *fd, struct err *e) MUST_USE;
void queue_eventfd_wake(void *fd_ptr); /* a wake function; ctx is int * */
void queue_eventfd_clear(int fd);

#endif
