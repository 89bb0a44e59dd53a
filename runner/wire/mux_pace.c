#include <string.h>

#include "base/num.h"
#include "runner/wire/mux_internal.h"

/*
 * How much bulk may be under way. TCP, SSH and the routers between take megabytes
 * that a slow line needs seconds for, and whatever is urgent would wait behind them. So
 * pings go along with bulk; from when they come back we know what has arrived and how
 * long it waited on the way, and keep the wait near PACE_TARGET_NS. (The idea is that of
 * LEDBAT, RFC 6817: yield as soon as delay grows, long before anything is lost.)
 */

#define PACE_WINDOW_MIN   ((size_t)128 * 1024)
#define PACE_WINDOW_START ((size_t)256 * 1024)
#define PACE_WINDOW_MAX   ((size_t)64 << 20)
#define PACE_CALM_NS      ((int64_t)25000000)
#define PACE_TARGET_NS    ((int64_t)50000000)
/* The way itself may have become longer: forget the shortest time after this. */
#define PACE_BASE_NS ((int64_t)600000000000)

void
mux_pace_init(struct mux_pace *p)
{
    memset(p, 0, sizeof *p);
    p->window = PACE_WINDOW_START;
    p->next_seq = 1;
    p->rtt_ns = -1;
    p->base_ns = -1;
}

bool
mux_pace_open(const struct mux_pace *p)
{
    return p->bulk_sent - p->bulk_there < p->window;
}

bool
mux_pace_allows(struct mux_pace *p)
{
    bool open = mux_pace_open(p);

    p->was_limited = p->was_limited || !open;
    return open;
}

void
mux_pace_sent(struct mux_pace *p, size_t n)
{
    p->bulk_sent += n;
}

bool
mux_pace_wants_probe(const struct mux_pace *p)
{
    return p->bulk_sent - p->probed_at >= p->window / 4 && p->n != MUX_PROBES;
}

bool
mux_pace_ping(struct mux_pace *p, int64_t now_ns, uint64_t *seq)
{
    struct mux_probe *probe;

    if (p->n == MUX_PROBES) {
        return false;
    }
    probe = &p->probes[(p->first + p->n) % MUX_PROBES];
    p->n++;
    *seq = p->next_seq++;
    *probe = (struct mux_probe){*seq, p->bulk_sent, now_ns};
    p->probed_at = p->bulk_sent;
    return true;
}

static void
adjust(struct mux_pace *p, int64_t now_ns)
{
    int64_t wait_ns = p->rtt_ns - p->base_ns;

    if (wait_ns > PACE_TARGET_NS) {
        /* Once per round trip: what is under way still shows the old window. */
        if (now_ns - p->changed_ns >= p->rtt_ns) {
            p->window -= p->window / 4;
            p->changed_ns = now_ns;
        }
    } else if (wait_ns < PACE_CALM_NS && p->was_limited) {
        p->window += p->window / 8;
        p->changed_ns = now_ns;
    }
    p->was_limited = false;
    p->window = size_min(size_max(p->window, PACE_WINDOW_MIN), PACE_WINDOW_MAX);
}

bool
mux_pace_pong(struct mux_pace *p, uint64_t seq, int64_t now_ns)
{
    struct mux_probe probe = {0};

    if (p->n == 0 || seq < p->probes[p->first].seq || seq >= p->next_seq) {
        return false;
    }
    /* An answer stands for those before it, too. */
    while (p->n != 0 && p->probes[p->first].seq <= seq) {
        probe = p->probes[p->first];
        p->first = (p->first + 1) % MUX_PROBES;
        p->n--;
    }
    p->bulk_there = probe.bulk_sent;
    p->rtt_ns = i64_max(now_ns - probe.sent_ns, 0);
    if (p->base_ns == -1 || p->rtt_ns <= p->base_ns ||
        now_ns - p->base_since_ns > PACE_BASE_NS) {
        p->base_ns = p->rtt_ns;
        p->base_since_ns = now_ns;
    }
    adjust(p, now_ns);
    return true;
}
