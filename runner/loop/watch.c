#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "runner/loop/loop_internal.h"

struct watch {
    struct loop *loop;
    void (*fn)(void *ctx, int events);
    void *ctx;
    int armed;
    bool always; /* epoll refuses it: ready at all times */
    union {
        uv_poll_t poll;
        uv_idle_t idle;
    } h;
};

static void
on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_poll(uv_poll_t *h, int status, int events);

static void
start(struct watch *w)
{
    int events = ((w->armed & WATCH_READ) != 0 ? UV_READABLE : 0) |
                 ((w->armed & WATCH_WRITE) != 0 ? UV_WRITABLE : 0);

    if (events == 0) {
        (void)uv_poll_stop(&w->h.poll);
    } else {
        (void)uv_poll_start(&w->h.poll, events, on_poll);
    }
}

static void
call(struct watch *w, int events)
{
    events &= w->armed;
    if (events != 0) {
        w->fn(w->ctx, events);
    }
}

static void
on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;

    if (status < 0) {
        /*
         * libuv reports POLLERR so (a pipe nobody reads any more) and has stopped the
         * handle. The next read or write tells what is the matter.
         */
        start(w);
        call(w, WATCH_READ | WATCH_WRITE);
        return;
    }
    call(w, ((events & UV_READABLE) != 0 ? WATCH_READ : 0) |
                ((events & UV_WRITABLE) != 0 ? WATCH_WRITE : 0));
}

static void
on_idle(uv_idle_t *h)
{
    struct watch *w = h->data;

    call(w, w->armed);
}

int
watch_new(struct watch **out, struct loop *l, int fd, void (*fn)(void *ctx, int events),
          void *ctx, struct err *e)
{
    struct watch *w = xcalloc(1, sizeof *w);
    int rc = uv_poll_init(&l->uv, &w->h.poll, fd);

    if (rc == UV_EPERM) {
        w->always = true;
        rc = uv_idle_init(&l->uv, &w->h.idle);
    }
    if (rc < 0) {
        free(w);
        return loop_fail_uv(e, rc, "cannot watch a descriptor");
    }
    w->loop = l;
    w->fn = fn;
    w->ctx = ctx;
    w->h.poll.data = w; /* data is first in every handle */
    l->n_objects++;
    *out = w;
    return 0;
}

void
watch_free(struct watch *w)
{
    if (w == NULL) {
        return;
    }
    w->loop->n_objects--;
    /* Takes the descriptor out of epoll at once; the memory goes at the end of the round.
     */
    uv_close(w->always ? (uv_handle_t *)&w->h.idle : (uv_handle_t *)&w->h.poll,
             on_closed);
}

void
watch_arm(struct watch *w, int events)
{
    if (w->armed == events) {
        return;
    }
    w->armed = events;
    if (!w->always) {
        start(w);
    } else if (events != 0) {
        (void)uv_idle_start(&w->h.idle, on_idle);
    } else {
        (void)uv_idle_stop(&w->h.idle);
    }
}

int
watch_armed(const struct watch *w)
{
    return w->armed;
}
