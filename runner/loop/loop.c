#include "runner/loop/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/loop/loop_internal.h"

int
loop_fail_uv(struct err *e, int rc, const char *doing)
{
    /* On Linux libuv's codes are negated errno values. */
    return err_set_sys(e, -rc, "%s", doing);
}

/* ---- tasks ---- */

/*
 * Only those queued by now: a task that queues itself again must not starve the rest.
 * A marker at the end of the list says where to stop.
 */
static void
run_tasks(struct loop *l)
{
    struct loop_task marker = {0};
    struct loop_task *t;

    if (l->tasks.next == &l->tasks) {
        return;
    }
    loop_task_queue(l, &marker);
    while ((t = l->tasks.next) != &marker) {
        loop_task_cancel(l, t);
        t->fn(t->ctx);
    }
    loop_task_cancel(l, &marker);
}

static void
on_again(uv_idle_t *h)
{
    (void)h; /* being active is all it is for: the loop does not wait */
}

static void
update_tasks(struct loop *l)
{
    if (l->tasks.next == &l->tasks) {
        uv_unref((uv_handle_t *)&l->prepare);
        (void)uv_idle_stop(&l->again);
    } else {
        uv_ref((uv_handle_t *)&l->prepare);
    }
}

static void
on_prepare(uv_prepare_t *h)
{
    struct loop *l = h->data;

    run_tasks(l);
    update_tasks(l);
    if (l->tasks.next != &l->tasks) {
        (void)uv_idle_start(&l->again, on_again);
    }
}

void
loop_task_queue(struct loop *l, struct loop_task *t)
{
    if (t->prev != NULL) {
        return;
    }
    t->next = &l->tasks;
    t->prev = l->tasks.prev;
    t->prev->next = t;
    l->tasks.prev = t;
    update_tasks(l);
}

void
loop_task_cancel(struct loop *l, struct loop_task *t)
{
    if (t->prev == NULL) {
        return;
    }
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
    update_tasks(l);
}

/* A task that was allocated here, and is found again by what it does. */
struct deferred {
    struct loop_task task;
    void (*fn)(void *ctx);
    void *ctx;
};

static void
run_deferred(void *ctx)
{
    struct deferred d = *(struct deferred *)ctx;

    free(ctx);
    d.fn(d.ctx);
}

void
loop_defer(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct deferred *d = xcalloc(1, sizeof *d);

    *d = (struct deferred){.fn = fn, .ctx = ctx};
    d->task = (struct loop_task){.fn = run_deferred, .ctx = d};
    loop_task_queue(l, &d->task);
}

void
loop_undefer(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct loop_task *next;

    for (struct loop_task *t = l->tasks.next; t != &l->tasks; t = next) {
        struct deferred *d = t->ctx;

        next = t->next;
        if (t->fn == run_deferred && d->fn == fn && d->ctx == ctx) {
            loop_task_cancel(l, t);
            free(d);
        }
    }
}

int64_t
loop_now_ns(const struct loop *l)
{
    (void)l;
    return clock_boot_ns();
}

/* ---- life ---- */

int
loop_new(struct loop **out, struct err *e)
{
    struct loop *l = xcalloc(1, sizeof *l);
    int rc = uv_loop_init(&l->uv);

    if (rc < 0) {
        free(l);
        return loop_fail_uv(e, rc, "cannot make an event loop");
    }
    (void)signal(SIGPIPE, SIG_IGN);
    l->tasks.prev = l->tasks.next = &l->tasks;
    l->timer_fd = -1;
    (void)uv_prepare_init(&l->uv, &l->prepare);
    (void)uv_idle_init(&l->uv, &l->again);
    l->prepare.data = l->again.data = l;
    (void)uv_prepare_start(&l->prepare, on_prepare);
    uv_unref((uv_handle_t *)&l->prepare);
    uv_unref((uv_handle_t *)&l->again);
    if (timer_setup(l, e) == -1) {
        loop_free(l);
        return -1;
    }
    *out = l;
    return 0;
}

void
loop_free(struct loop *l)
{
    int rc;

    if (l == NULL) {
        return;
    }
    assert(!l->running && l->n_objects == 0);
    for (struct loop_task *t = l->tasks.next; t != &l->tasks; t = l->tasks.next) {
        loop_task_cancel(l, t);
        assert(l->tasks.next != t);
        if (t->fn == run_deferred) {
            free(t->ctx);
        }
    }
    timer_teardown(l);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->again, NULL);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* lets what was closed go */
    rc = uv_loop_close(&l->uv);
    assert(rc == 0);
    (void)rc;
    free(l->heap);
    free(l);
}

/* ---- running ---- */

void
loop_run(struct loop *l)
{
    assert(!l->running);
    l->running = true;
    l->stopped = false;
    while (!l->stopped && uv_run(&l->uv, UV_RUN_ONCE) != 0) {
    }
    l->running = false;
}

void
loop_stop(struct loop *l)
{
    l->stopped = true;
    uv_stop(&l->uv);
}

static void
on_timeout(void *ctx)
{
    *(bool *)ctx = true;
}

bool
loop_run_until(struct loop *l, bool (*cond)(void *ctx), void *ctx, int64_t timeout_ns)
{
    bool late = false;
    bool alive = true;
    struct timer *t = NULL;

    assert(!l->running);
    l->running = true;
    l->stopped = false;
    if (timeout_ns >= 0) {
        t = timer_new(l, on_timeout, &late);
        timer_set_idle(t, true);
        timer_after(t, timeout_ns);
    }
    while (!cond(ctx) && !late && !l->stopped && alive) {
        alive = uv_run(&l->uv, UV_RUN_ONCE) != 0;
    }
    timer_free(t);
    l->running = false;
    return cond(ctx);
}
