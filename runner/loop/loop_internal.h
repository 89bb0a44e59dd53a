#ifndef RUNNER_LOOP_LOOP_INTERNAL_H
#define RUNNER_LOOP_LOOP_INTERNAL_H

/* What the files of this folder share; nobody else sees libuv. */

#include <uv.h>

#include "runner/loop/child.h"
#include "runner/loop/loop.h"

struct loop {
    uv_loop_t uv;
    bool running;
    bool stopped;
    int n_objects; /* made on this loop and not freed */

    uv_prepare_t prepare;   /* runs the tasks; referenced while there are some */
    uv_idle_t again;        /* active while tasks were queued by tasks */
    struct loop_task tasks; /* head of the circle */

    struct timer **heap; /* the earliest first */
    size_t n_heap;
    size_t cap_heap;
    size_t n_busy_timers; /* that keep the loop running */
    int timer_fd;
    uv_poll_t timer_poll;
    int64_t timer_set_ns; /* what timer_fd is set to; INT64_MAX: nothing */

    bool no_pidfd; /* this kernel has none (or a test says so) */
    struct signal_watch *sigchld;
    struct child *children; /* those watched by SIGCHLD */
};

/* Fill *e from libuv's code rc (< 0). Returns -1. */
int loop_fail_uv(struct err *e, int rc, const char *doing);

/* timer.c: the heap lives in the loop. */
int timer_setup(struct loop *l, struct err *e) MUST_USE;
void timer_teardown(struct loop *l);

/* signal_watch.c: let it keep the loop running after all. */
void signal_watch_hold(struct signal_watch *w);

/* child.c: look at all children watched by SIGCHLD. */
void child_reap_all(struct loop *l);

#endif
