#include "runner/client/wishes.h"

#include <stdlib.h>

#include "base/buf.h"
#include "runner/wire/msg.h"

struct wish {
    struct wish *next;
    struct wishes *all;
    struct rec *req;
    struct call *call; /* NULL: not on its way */
};

struct wishes {
    struct wish *first;
    struct wish **end;
};

struct wishes *
wishes_new(void)
{
    struct wishes *w = xcalloc(1, sizeof *w);

    w->end = &w->first;
    return w;
}

static void
wish_free(struct wish *one)
{
    call_cancel(one->call);
    rec_free(one->req);
    free(one);
}

void
wishes_free(struct wishes *w)
{
    struct wish *one;

    if (w == NULL) {
        return;
    }
    while ((one = w->first) != NULL) {
        w->first = one->next;
        wish_free(one);
    }
    free(w);
}

void
wishes_add(struct wishes *w, struct rec *req)
{
    struct wish *one = xcalloc(1, sizeof *one);

    msg_add_key(req, NULL);
    one->all = w;
    one->req = req;
    *w->end = one;
    w->end = &one->next;
}

static void
forget(struct wish *one)
{
    struct wishes *w = one->all;
    struct wish **at = &w->first;

    while (*at != one) {
        at = &(*at)->next;
    }
    *at = one->next;
    if (w->end == &one->next) {
        w->end = at;
    }
    wish_free(one);
}

static void
on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct wish *one = ctx;

    (void)hint;
    one->call = NULL;
    if (resp != NULL || why->code != ERR_LINK) {
        forget(one);
    }
}

void
wishes_send(struct wishes *w, struct conn *c)
{
    struct err e;

    for (struct wish *one = w->first; one != NULL; one = one->next) {
        if (one->call == NULL) {
            /* A refusal here means the link is about to go: it is sent again on the next.
             */
            (void)!call_start(&one->call, c, one->req, -1, on_answer, one, &e);
        }
    }
}
