/*
 * A job that runs for long: now and then its operator's book, where that is reached from
 * here, is to acknowledge what was signed, also when no client follows the job. A process
 * of its own asks it (errands.h), and gives us the answer as any peer does.
 */
#include "base/clock.h"
#include "runner/host/errands.h"
#include "runner/host/supervise_internal.h"
#include "runner/loop/child.h"

#define LOOK_NS ((int64_t)60 * 1000000000) /* as often as a checkpoint is signed */

static void
errand_ended(void *ctx, const struct child_end *end)
{
    struct sup *s = ctx;

    (void)end; /* the process says itself when the next is due */
    sup_acks_free(s);
}

void
sup_acks(struct sup *s)
{
    int64_t now_ns = clock_boot_ns();
    struct err e;

    if (s->acks_look_ns == 0) { /* the first checkpoint comes first */
        s->acks_look_ns = now_ns + LOOK_NS;
    }
    if (now_ns < s->acks_look_ns || s->ending || s->errand != NULL) {
        return;
    }
    s->acks_look_ns = now_ns + LOOK_NS;
    if (errands_due(s->agent, &s->grant.book) &&
        errands_start_watched(s->loop, &s->grant.book, &s->errand, errand_ended, s, &e) !=
            0) {
        s->errand = NULL;
        errands_done(s->agent, &s->grant.book, false);
    }
}

void
sup_acks_free(struct sup *s)
{
    child_free(s->errand);
    s->errand = NULL;
}
