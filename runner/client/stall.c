#include "runner/client/stall.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/lang.h"
#include "storage/sync.h"

/* A program that was asleep finds one tick due, however long it slept. */
#define TICKS 4

struct stall {
    struct timer *tick;
    int64_t tick_ns;
    int n_quiet; /* ticks */
    const struct stall_events *events;
    void *ctx;
    const struct channel *channel;
    struct sync_place place;
    uint64_t moved; /* at the last tick: offsets of the channel, added up */
};

/* How many times the usual silence it is waited for; 0: it owes nothing. */
static int
patience(const struct stall *s)
{
    size_t kept = 0;

    /* What is kept here waits for us, or for whom it goes on to. */
    (void)channel_rx(s->channel, &kept);
    if ((kept == 0 && sync_place_is_inside(&s->place)) ||
        channel_send_acked(s->channel) < channel_send_end(s->channel)) {
        return 1;
    }
    return kept == 0 && s->events->owes != NULL ? s->events->owes(s->ctx) : 0;
}

static void
on_tick(void *ctx)
{
    struct stall *s = ctx;
    uint64_t moved = channel_recv_next(s->channel) + channel_send_acked(s->channel);

    int times = patience(s);

    s->n_quiet = moved == s->moved && times > 0 ? s->n_quiet + 1 : 0;
    s->moved = moved;
    if (times == 0 || s->n_quiet < TICKS * times) {
        timer_after(s->tick, s->tick_ns);
    } else {
        s->events->over(s->ctx);
    }
}

struct stall *
stall_new(struct loop *l, int64_t quiet_ns, const struct stall_events *ev, void *ctx)
{
    struct stall *s = xcalloc(1, sizeof *s);

    s->events = ev;
    s->ctx = ctx;
    s->tick_ns = quiet_ns / TICKS;
    s->tick = timer_new(l, on_tick, s);
    timer_set_idle(s->tick, true);
    return s;
}

void
stall_free(struct stall *s)
{
    if (s != NULL) {
        timer_free(s->tick);
        free(s);
    }
}

void
stall_watch(struct stall *s, const struct channel *c)
{
    s->channel = c;
    s->place = (struct sync_place){.left = 0};
    s->moved = 0;
    s->n_quiet = 0;
    if (c != NULL) {
        timer_after(s->tick, s->tick_ns);
    } else {
        timer_cancel(s->tick);
    }
}

void
stall_took(struct stall *s, const void *data, size_t n)
{
    sync_place_pass(&s->place, data, n);
}

uint64_t
stall_stored_bytes(const struct stall *s)
{
    return s->place.stored_bytes;
}

bool
stall_is_asked(const struct stall *sender, const struct stall *receiver)
{
    return sync_place_is_asked(&sender->place, &receiver->place);
}

int
stall_error(const char *host, struct err *e)
{
    return err_set(
        e, ERR_LINK,
        _("host '%s' fell silent in the middle of a transfer, though its agent "
          "is there: the same command again goes on where this one was, "
          "`gpurun host doctor %s` looks at the host"),
        host, host);
}
