#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/loop/loop_internal.h"

/*
 * Timers on CLOCK_BOOTTIME: libuv's own stand still while the machine sleeps. One
 * timerfd is set to the earliest of a binary heap.
 */

#define NOT_SET SIZE_MAX

struct timer {
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    int64_t at_ns;
    size_t place; /* in the heap, or NOT_SET */
    bool idle;
};

static void
put(struct loop *l, size_t i, struct timer *t)
{
    l->heap[i] = t;
    t->place = i;
}

static void
sift_up(struct loop *l, size_t i)
{
    struct timer *t = l->heap[i];

    while (i > 0 && l->heap[(i - 1) / 2]->at_ns > t->at_ns) {
        put(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(l, i, t);
}

static void
sift_down(struct loop *l, size_t i)
{
    struct timer *t = l->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < l->n_heap && l->heap[child + 1]->at_ns < l->heap[child]->at_ns) {
            child++;
        }
        if (child >= l->n_heap || l->heap[child]->at_ns >= t->at_ns) {
            break;
        }
        put(l, i, l->heap[child]);
        i = child;
    }
    put(l, i, t);
}

/* Does anything set keep the loop running? */
static void
update_ref(struct loop *l)
{
    if (l->n_busy_timers > 0) {
        uv_ref((uv_handle_t *)&l->timer_poll);
    } else {
        uv_unref((uv_handle_t *)&l->timer_poll);
    }
}

static void
remove_from_heap(struct timer *t)
{
    struct loop *l = t->loop;
    size_t i = t->place;
    struct timer *last;

    if (i == NOT_SET) {
        return;
    }
    last = l->heap[--l->n_heap];
    t->place = NOT_SET;
    if (last != t) {
        put(l, i, last);
        sift_down(l, i);
        sift_up(l, last->place);
    }
    l->n_busy_timers -= t->idle ? 0 : 1;
    update_ref(l);
}

/*
 * Set the timerfd to the earliest. It is left alone when it is set to an earlier time:
 * waking once for nothing costs less than setting it at every change.
 */
static void
arm(struct loop *l)
{
    struct itimerspec spec = {0};
    int64_t at = l->n_heap == 0 ? INT64_MAX : l->heap[0]->at_ns;
    int64_t delay;

    if (at >= l->timer_set_ns) {
        return;
    }
    delay = at - clock_boot_ns();
    if (delay < 1) {
        delay = 1; /* 0 would switch it off */
    }
    spec.it_value.tv_sec = (time_t)(delay / 1000000000);
    spec.it_value.tv_nsec = (long)(delay % 1000000000);
    (void)timerfd_settime(l->timer_fd, 0, &spec, NULL);
    l->timer_set_ns = at;
}

static void
on_timerfd(uv_poll_t *h, int status, int events)
{
    struct loop *l = h->data;
    uint64_t n;
    int64_t now = clock_boot_ns();

    (void)status;
    (void)events;
    (void)!read(l->timer_fd, &n, sizeof n);
    l->timer_set_ns = INT64_MAX;
    /* What a callback sets is later than now: it waits for the next round. */
    while (l->n_heap > 0 && l->heap[0]->at_ns <= now) {
        struct timer *t = l->heap[0];

        remove_from_heap(t);
        t->fn(t->ctx);
    }
    arm(l);
}

int
timer_setup(struct loop *l, struct err *e)
{
    int rc;

    l->timer_set_ns = INT64_MAX;
    l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd == -1) {
        return err_set_sys(e, errno, "cannot make a timer");
    }
    rc = uv_poll_init(&l->uv, &l->timer_poll, l->timer_fd);
    if (rc < 0) {
        (void)fd_close(&l->timer_fd);
        return loop_fail_uv(e, rc, "cannot make a timer");
    }
    l->timer_poll.data = l;
    (void)uv_poll_start(&l->timer_poll, UV_READABLE, on_timerfd);
    uv_unref((uv_handle_t *)&l->timer_poll);
    return 0;
}

void
timer_teardown(struct loop *l)
{
    if (l->timer_fd != -1) {
        uv_close((uv_handle_t *)&l->timer_poll, NULL);
        (void)fd_close(&l->timer_fd);
    }
}

struct timer *
timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct timer *t = xcalloc(1, sizeof *t);

    t->loop = l;
    t->fn = fn;
    t->ctx = ctx;
    t->place = NOT_SET;
    l->n_objects++;
    return t;
}

void
timer_free(struct timer *t)
{
    if (t != NULL) {
        remove_from_heap(t);
        t->loop->n_objects--;
        free(t);
    }
}

void
timer_at(struct timer *t, int64_t boot_ns)
{
    struct loop *l = t->loop;
    int64_t now = clock_boot_ns();

    remove_from_heap(t);
    if (l->n_heap == l->cap_heap) {
        l->cap_heap = l->cap_heap == 0 ? 8 : 2 * l->cap_heap;
        l->heap = xrealloc(l->heap, l->cap_heap * sizeof(struct timer *));
    }
    t->at_ns = boot_ns > now ? boot_ns : now + 1;
    put(l, l->n_heap++, t);
    sift_up(l, l->n_heap - 1);
    l->n_busy_timers += t->idle ? 0 : 1;
    update_ref(l);
    arm(l);
}

void
timer_after(struct timer *t, int64_t delay_ns)
{
    int64_t now = clock_boot_ns();

    timer_at(t, delay_ns > INT64_MAX - now ? INT64_MAX - 1 : now + delay_ns);
}

void
timer_cancel(struct timer *t)
{
    remove_from_heap(t);
}

bool
timer_is_set(const struct timer *t)
{
    return t->place != NOT_SET;
}

void
timer_set_idle(struct timer *t, bool idle)
{
    if (t->idle != idle && t->place != NOT_SET) {
        t->loop->n_busy_timers += idle ? (size_t)-1 : 1;
        update_ref(t->loop);
    }
    t->idle = idle;
}
