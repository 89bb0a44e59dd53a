#ifndef RUNNER_LOOP_LOOP_H
#define RUNNER_LOOP_LOOP_H

/*
 * The event loop: the one place in gpurun that knows libuv. A struct loop and all
 * that hangs on it belong to one thread; only waker_wake (and queue.h) may be called
 * from others.
 *
 * Objects may be freed from inside any callback, their own included. Each keeps the
 * loop running (loop_run) only as its comment says. loop_free wants everything that was
 * made on the loop to be freed before it (asserted).
 *
 * Times are CLOCK_BOOTTIME in nanoseconds (base/clock.h): a laptop that slept for an
 * hour finds its timers due, not an hour late.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

struct loop;

/* Also ignores SIGPIPE, for the whole process: a closed pipe shows as EPIPE. */
int loop_new(struct loop **out, struct err *e) MUST_USE;
void loop_free(struct loop *l); /* NULL allowed */

/* Run until loop_stop, or until nothing is left that keeps the loop running. */
void loop_run(struct loop *l);
/* Make loop_run or loop_run_until return; from a callback. */
void loop_stop(struct loop *l);

/*
 * Run until cond(ctx), which is looked at after every round, or for at most
 * timeout_ns (< 0: no limit). Returns whether cond held at the end. false also when
 * nothing is left that could make it true, or on loop_stop. May be nested (a callback
 * that waits), within reason.
 */
bool loop_run_until(struct loop *l, bool (*cond)(void *ctx), void *ctx,
                    int64_t timeout_ns);

/* clock_boot_ns(), for symmetry with timer_at. */
int64_t loop_now_ns(const struct loop *l);

/*
 * Run fn once from the loop, before it next waits for anything (never from inside
 * this call). Keeps the loop running.
 */
void loop_defer(struct loop *l, void (*fn)(void *ctx), void *ctx);
/* Take back what loop_defer was told with the same fn and ctx, all of it. */
void loop_undefer(struct loop *l, void (*fn)(void *ctx), void *ctx);

/*
 * The same in the caller's memory, for what should happen once after many small causes:
 * queued again before it ran, it still runs once. Runs before what is queued later.
 */
struct loop_task {
    void (*fn)(void *ctx);
    void *ctx;
    struct loop_task *prev; /* NULL: not queued */
    struct loop_task *next;
};
void loop_task_queue(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop *l, struct loop_task *t); /* queued or not */

/* ---- timers: keep the loop running while set ---- */

struct timer;
struct timer *timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx);
void timer_free(struct timer *t); /* NULL allowed */
/* Once, at that time (past: soon). Setting again replaces. */
void timer_at(struct timer *t, int64_t boot_ns);
void timer_after(struct timer *t, int64_t delay_ns);
void timer_cancel(struct timer *t);
bool timer_is_set(const struct timer *t);
/* An idle timer does not keep the loop running. */
void timer_set_idle(struct timer *t, bool idle);

/* ---- signals: do not keep the loop running ---- */

struct signal_watch;
/* All watches of a signal are told. The handler is process-wide while one lives. */
int signal_watch_new(struct signal_watch **out, struct loop *l, int signo,
                     void (*fn)(void *ctx, int signo), void *ctx, struct err *e) MUST_USE;
void signal_watch_free(struct signal_watch *w); /* NULL allowed */

/* ---- descriptors: keep the loop running while armed ---- */

enum watch_events { WATCH_NONE = 0, WATCH_READ = 1, WATCH_WRITE = 2 };

struct watch;
/*
 * Call fn while fd is ready for what is armed (level-triggered). fd stays the caller's,
 * and must be freed from the watch before it is closed; one watch per descriptor. It is
 * made non-blocking (a description shared with others: see fdio.h), and readiness may be
 * false: EAGAIN is normal. Errors and hang-up come as whatever is armed. Descriptors
 * that epoll refuses (regular files, /dev/null) are always ready.
 */
int watch_new(struct watch **out, struct loop *l, int fd,
              void (*fn)(void *ctx, int events), void *ctx, struct err *e) MUST_USE;
void watch_free(struct watch *w);            /* NULL allowed */
void watch_arm(struct watch *w, int events); /* replaces what was armed */
int watch_armed(const struct watch *w);

/* ---- wake-up from another thread: keeps the loop running while it exists ---- */

struct waker;
/* fn runs on the loop, at least once after the last waker_wake; many may become one. */
int waker_new(struct waker **out, struct loop *l, void (*fn)(void *ctx), void *ctx,
              struct err *e) MUST_USE;
void waker_free(struct waker *w);
void waker_wake(struct waker *w); /* any thread; async-signal-safe */
void waker_set_idle(struct waker *w,
                    bool idle); /* idle: does not keep the loop running */

#endif
