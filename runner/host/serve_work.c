#include "runner/host/serve_work.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/work.h"

#define WORKS_MAX 16 /* at once for one connection */

struct serve_work *
serve_work_new(struct serve *s, uint64_t id)
{
    struct serve_work *w = xcalloc(1, sizeof *w);

    w->serve = s;
    w->id = id;
    return w;
}

void
serve_work_free(struct serve_work *w)
{
    rec_free(w->reply);
    serve_pace_close(w->pace);
    free(w->name);
    free(w->path);
    free(w->only);
    strings_free(&w->env);
    free(w);
}

static void
work_done(void *ctx, int rc, const struct err *why)
{
    struct serve_work *w = ctx;
    struct serve *s = w->serve;

    s->n_works--;
    if (s->mux != NULL) {
        if (rc != 0) {
            serve_fail(s, w->id, why);
        } else {
            w->answer(w);
        }
    }
    serve_work_free(w);
}

void
serve_work_start(struct serve_work *w)
{
    struct serve *s = w->serve;
    struct err e;

    if (s->n_works >= WORKS_MAX) {
        err_set(&e, ERR_BUSY, "too much is being done for this connection");
    } else if ((w->only_looks || serve_hold(s, &e) == 0) &&
               work_start(s->loop, w->run, work_done, w, &e) == 0) {
        s->n_works++;
        return;
    }
    serve_fail(s, w->id, &e);
    serve_work_free(w);
}

static bool
works_are_done(void *ctx)
{
    const struct serve *s = ctx;

    return s->n_works == 0;
}

void
serve_data_finish(struct serve *s)
{
    (void)loop_run_until(s->loop, works_are_done, s, -1);
}

int
serve_need_id(const struct rec *req, const char *key, enum id_kind kind,
              char to[JOB_ID_LEN + 1], struct err *e)
{
    const char *text;

    if (rec_need_str(req, key, &text, e) != 0 || id_check(kind, text, e) != 0) {
        return -1;
    }
    memcpy(to, text, JOB_ID_LEN + 1);
    return 0;
}
