#include "runner/host/serve_pace.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "runner/job/pace.h"
#include "runner/loop/loop.h"

#define TELL_NS ((int64_t)100000000)

struct serve_pace {
    struct serve *serve;
    struct timer *timer;
    pthread_mutex_t lock; /* of the rest */
    struct pace now;
    bool moved; /* since it was told */
};

static void
tell(void *ctx)
{
    struct serve_pace *p = ctx;
    struct pace now;
    bool moved;

    (void)pthread_mutex_lock(&p->lock);
    now = p->now;
    moved = p->moved;
    p->moved = false;
    (void)pthread_mutex_unlock(&p->lock);
    if (moved && p->serve->mux != NULL) {
        struct rec *r = pace_rec(&now);

        mux_event(p->serve->mux, r);
        rec_free(r);
    }
    timer_after(p->timer, TELL_NS);
}

int
serve_pace_open(struct serve_pace **out, struct serve *s, const struct rec *req,
                struct err *e)
{
    struct serve_pace *p;
    int64_t number;

    if (rec_opt_int(req, "progress", 0, INT64_MAX, 0, &number, e) != 0) {
        return -1;
    }
    *out = NULL;
    if (number == 0) {
        return 0;
    }
    p = xcalloc(1, sizeof *p);
    p->serve = s;
    p->now.number = number;
    (void)pthread_mutex_init(&p->lock, NULL);
    p->timer = timer_new(s->loop, tell, p);
    timer_after(p->timer, TELL_NS);
    *out = p;
    return 0;
}

void
serve_pace_close(struct serve_pace *p)
{
    if (p == NULL) {
        return;
    }
    timer_free(p->timer);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

void
serve_pace_tell(struct serve_pace *p, enum care_step step, uint64_t done, uint64_t all)
{
    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    p->now.step = step;
    p->now.done = done;
    p->now.all = all;
    p->moved = true;
    (void)pthread_mutex_unlock(&p->lock);
}
