#include "runner/client/errand.h"

void
errand_done(struct errand *x)
{
    x->over = true;
}

void
errand_fail(struct errand *x, const struct err *why)
{
    if (!x->over) {
        x->over = true;
        x->failed = true;
        x->why = *why;
    }
}

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    struct errand *x = ctx;
    struct err e;

    (void)s;
    (void)c;
    (void)first;
    if (!x->over && x->begin(x->ctx, &e) != 0 && e.code != ERR_LINK) {
        errand_fail(x, &e);
    }
}

static void
on_failed(void *ctx, struct session *s, const struct failure *why)
{
    (void)s;
    errand_fail(ctx, &why->err);
}

static const struct session_events events = {.up = on_up, .failed = on_failed};

int
errand_open(struct errand *x, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        struct session *s = x->sessions[i];

        if (s != NULL && session_state(s) == SESSION_FAILED) {
            *e = session_why(s)->err;
            return -1;
        }
    }
    x->open = true;
    for (int i = 0; i < 2 && x->sessions[i] != NULL; i++) {
        x->guests[i] = (struct session_guest){.events = &events, .ctx = x};
        session_add_guest(x->sessions[i], &x->guests[i]);
    }
    if (x->begin(x->ctx, e) != 0) {
        errand_close(x);
        return -1;
    }
    return 0;
}

void
errand_close(struct errand *x)
{
    for (int i = 0; i < 2 && x->open && x->sessions[i] != NULL; i++) {
        session_remove_guest(x->sessions[i], &x->guests[i]);
    }
    x->open = false;
}

int
errand_result(const struct errand *x, const char *unfinished, struct err *e)
{
    if (!x->over) {
        return err_set(e, ERR_LINK, "%s", unfinished);
    }
    if (x->failed) {
        *e = x->why;
        return -1;
    }
    return 0;
}
