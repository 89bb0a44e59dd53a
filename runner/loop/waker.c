#include <stdlib.h>

#include "base/buf.h"
#include "runner/loop/loop_internal.h"

struct waker {
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    uv_async_t async;
};

static void
on_async(uv_async_t *h)
{
    struct waker *w = h->data;

    w->fn(w->ctx);
}

int
waker_new(struct waker **out, struct loop *l, void (*fn)(void *ctx), void *ctx,
          struct err *e)
{
    struct waker *w = xcalloc(1, sizeof *w);
    int rc = uv_async_init(&l->uv, &w->async, on_async);

    if (rc < 0) {
        free(w);
        return loop_fail_uv(e, rc, "cannot make a wake-up between threads");
    }
    w->loop = l;
    w->fn = fn;
    w->ctx = ctx;
    w->async.data = w;
    l->n_objects++;
    *out = w;
    return 0;
}

static void
on_closed(uv_handle_t *h)
{
    free(h->data);
}

void
waker_free(struct waker *w)
{
    if (w != NULL) {
        w->loop->n_objects--;
        uv_close((uv_handle_t *)&w->async, on_closed);
    }
}

void
waker_wake(struct waker *w)
{
    (void)uv_async_send(&w->async);
}

void
waker_set_idle(struct waker *w, bool idle)
{
    if (idle) {
        uv_unref((uv_handle_t *)&w->async);
    } else {
        uv_ref((uv_handle_t *)&w->async);
    }
}
