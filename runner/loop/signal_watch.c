#include <stdlib.h>

#include "base/buf.h"
#include "runner/loop/loop_internal.h"

struct signal_watch {
    struct loop *loop;
    void (*fn)(void *ctx, int signo);
    void *ctx;
    uv_signal_t sig;
};

static void
on_signal(uv_signal_t *h, int signo)
{
    struct signal_watch *w = h->data;

    w->fn(w->ctx, signo);
}

static void
on_closed(uv_handle_t *h)
{
    free(h->data);
}

int
signal_watch_new(struct signal_watch **out, struct loop *l, int signo,
                 void (*fn)(void *ctx, int signo), void *ctx, struct err *e)
{
    struct signal_watch *w = xcalloc(1, sizeof *w);
    int rc = uv_signal_init(&l->uv, &w->sig);

    if (rc < 0) {
        free(w);
        return loop_fail_uv(e, rc, "cannot watch for signals");
    }
    w->loop = l;
    w->fn = fn;
    w->ctx = ctx;
    w->sig.data = w;
    rc = uv_signal_start(&w->sig, on_signal, signo);
    if (rc < 0) {
        uv_close((uv_handle_t *)&w->sig, on_closed);
        return loop_fail_uv(e, rc, "cannot watch for a signal");
    }
    uv_unref((uv_handle_t *)&w->sig);
    l->n_objects++;
    *out = w;
    return 0;
}

void
signal_watch_free(struct signal_watch *w)
{
    if (w != NULL) {
        w->loop->n_objects--;
        uv_close((uv_handle_t *)&w->sig, on_closed);
    }
}

void
signal_watch_hold(struct signal_watch *w)
{
    uv_ref((uv_handle_t *)&w->sig);
}
