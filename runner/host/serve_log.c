#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/serve_internal.h"

/*
 * A stream of a job's log on its way to the client: read from the segments on disk, at
 * the log's own offsets, so there is nothing to be kept for a resumption.
 */
struct serve_log {
    struct serve *serve;
    struct serve_log *next;
    struct serve_link *link;
    enum logseg_stream stream; /* LOGSEG_NONE: the index, which tells times */
    struct logr *reader;
    struct channel *channel;
    struct channel_source source;
    uint64_t held; /* the client has so much, which is more than is left here */
    bool follow;
    bool ended;         /* EOF was sent */
    struct timer *poll; /* the index grows without a word; NULL: not looked at */
    /* Of an index that is not followed: */
    uint64_t want[LOGSEG_STREAMS]; /* it should reach what its client is shown */
    uint64_t n_read;               /* entries, of which it is known: */
    uint64_t reach[LOGSEG_STREAMS];
    int64_t give_up_ns; /* CLOCK_BOOTTIME */
};

#define POLL_NS      ((int64_t)500000000)
#define POLL_SOON_NS ((int64_t)50000000)
/* The supervisor writes the index once a second, and later where the disk is slow. */
#define REACH_NS      ((int64_t)5000000000)
#define ENTRIES_BLOCK 256

static void
log_free(struct serve_log *g)
{
    struct serve_log **at = &g->serve->logs;

    while (*at != NULL && *at != g) {
        at = &(*at)->next;
    }
    if (*at == g) {
        *at = g->next;
    }
    timer_free(g->poll);
    channel_free(g->channel);
    logr_close(g->reader);
    free(g);
}

static void
free_later(void *ctx)
{
    log_free(ctx);
}

static void
over(struct serve_log *g)
{
    loop_undefer(g->serve->loop, free_later, g);
    loop_defer(g->serve->loop, free_later, g);
}

static int
source_read(void *ctx, uint64_t offset, void *to, size_t n, size_t *got,
            uint64_t *skip_to, struct err *e)
{
    struct serve_log *g = ctx;

    if (g->stream == LOGSEG_NONE) {
        *skip_to = offset;
        return logr_index_bytes(g->reader, offset, to, n, got, e);
    }
    return logr_read(g->reader, g->stream, offset, g->link->end[g->stream], to, n, got,
                     skip_to, e);
}

static uint64_t
end_of(const struct serve_log *g)
{
    uint64_t end = 0;
    struct err none;

    if (g->stream != LOGSEG_NONE) {
        end = g->link->end[g->stream];
    } else if (logr_index_end(g->reader, &end, &none) != 0) {
        end = 0; /* an index that cannot be read is one that tells nothing */
    }
    return end > g->held ? end : g->held;
}

/* Does the index tell the times of all that was there when it was asked for? */
static bool
reaches(struct serve_log *g)
{
    struct logseg_entry some[ENTRIES_BLOCK];
    struct err none;
    size_t n;

    do {
        n = 0;
        if (logr_index(g->reader, g->n_read, some, ENTRIES_BLOCK, &n, &none) != 0) {
            return true; /* nothing better will come of it */
        }
        for (size_t i = 0; i < n; i++) {
            if (some[i].stream < LOGSEG_STREAMS) {
                g->reach[some[i].stream] = some[i].end;
            }
        }
        g->n_read += n;
    } while (n == ENTRIES_BLOCK);
    return g->reach[LOGSEG_OUT] >= g->want[LOGSEG_OUT] &&
           g->reach[LOGSEG_ERR] >= g->want[LOGSEG_ERR];
}

/* The index comes later than the bytes: a line just written would have no time. */
static bool
must_wait(struct serve_log *g)
{
    return g->stream == LOGSEG_NONE && !g->follow && g->link->conn != NULL &&
           !serve_link_is_final(g->link) && clock_boot_ns() < g->give_up_ns &&
           !reaches(g);
}

/* Tell the channel how far the log goes, and when that was all. */
static void
grow(struct serve_log *g)
{
    bool wait;

    if (g->ended) {
        return;
    }
    wait = must_wait(g); /* looked at before its end is: what it reaches is sent */
    channel_source_grow(g->channel, end_of(g));
    if (wait) {
        return;
    }
    if (!g->follow || serve_link_is_final(g->link)) {
        g->ended = true;
        channel_send_eof(g->channel);
    }
}

static void
poll_index(void *ctx)
{
    struct serve_log *g = ctx;

    grow(g);
    if (!g->ended) {
        timer_after(g->poll, g->follow ? POLL_NS : POLL_SOON_NS);
    }
}

void
serve_log_grown(struct serve_link *l)
{
    for (struct serve_log *g = l->serve->logs; g != NULL; g = g->next) {
        if (g->link == l && (g->stream != LOGSEG_NONE || serve_link_is_final(l))) {
            grow(g);
        }
    }
}

static void
on_acked(void *ctx, struct channel *c, uint64_t offset)
{
    struct serve_log *g = ctx;

    (void)c;
    if (g->stream != LOGSEG_NONE) {
        serve_link_acked(g->link, g->stream, offset);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    over(ctx);
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    over(ctx);
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    over(ctx);
}

static int
open_reader(struct serve_link *l, struct logr **out, struct err *e)
{
    int fd = openat(l->dir.fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc;

    if (fd == -1) {
        return err_set(e, ERR_NOT_FOUND, "the log of job %s is not here", l->job);
    }
    rc = logr_open(out, fd, e);
    (void)fd_close(&fd);
    return rc;
}

/* What a client that holds nothing yet wants of the log: OPEN's lines and since. */
static int
find_start(const struct serve_log *g, const struct mux_offer *offer, uint64_t *start,
           struct err *e)
{
    uint64_t end = g->link->end[g->stream];
    uint64_t since = 0;
    int64_t lines = -1;
    int64_t wall_ns = 0;

    *start = CHANNEL_ANY;
    if (offer->recv_start != CHANNEL_ANY || g->stream == LOGSEG_NONE) {
        return 0;
    }
    if ((rec_get(offer->rec, "lines") != NULL &&
         rec_need_int(offer->rec, "lines", 0, INT64_MAX, &lines, e) != 0) ||
        (rec_get(offer->rec, "since_wall_ns") != NULL &&
         rec_need_int(offer->rec, "since_wall_ns", INT64_MIN, INT64_MAX, &wall_ns, e) !=
             0)) {
        return -1;
    }
    *start = lines == 0 ? end : 0;
    if (lines > 0 && logr_tail(g->reader, g->stream, end, lines, start, e) != 0) {
        return -1;
    }
    if (wall_ns != 0 && logr_since(g->reader, g->stream, wall_ns, &since, e) != 0) {
        return -1;
    }
    if (since > *start) {
        *start = since < end ? since : end;
    }
    return 0;
}

/* No supervisor, and nothing final: what is on the disk is all that there will be. */
static void
take_disk_end(struct serve_log *g)
{
    struct serve_link *l = g->link;
    uint64_t end;
    struct err none;

    if (l->conn == NULL && !serve_link_is_final(l) && g->stream != LOGSEG_NONE &&
        logr_end(g->reader, g->stream, &end, &none) == 0 && end > l->end[g->stream]) {
        l->end[g->stream] = end;
    }
}

/*
 * The client has more than there is. It may: a machine that went down takes the log's
 * last second with it, and what was sent is not taken back. Then its stream ends where
 * the client is, as soon as it is known that the job is lost. true: that has to be waited
 * for.
 */
static bool
has_more(struct serve_log *g, const struct mux_offer *offer)
{
    struct serve_link *l = g->link;

    if (offer->recv_start == CHANNEL_ANY || offer->recv_start <= end_of(g)) {
        return false;
    }
    if (serve_link_is_final(l) && l->state.phase == JOB_LOST) {
        g->held = offer->recv_start;
    }
    return l->conn == NULL && !serve_link_is_final(l);
}

static int
make(struct serve *s, struct serve_link *l, const struct mux_offer *offer,
     enum logseg_stream stream, bool follow, struct err *e)
{
    static const struct channel_events events = {.on_acked = on_acked,
                                                 .on_reset = on_reset,
                                                 .on_detached = on_detached,
                                                 .on_done = on_done};
    struct serve_log *g = xcalloc(1, sizeof *g);
    struct channel_options o = {.cls = offer->cls,
                                .token = offer->token,
                                .send_start = CHANNEL_ANY,
                                .recv_start = CHANNEL_ANY,
                                .events = &events,
                                .ctx = g};

    g->serve = s;
    g->link = l;
    g->stream = stream;
    g->follow = follow;
    memcpy(g->want, l->end, sizeof g->want);
    g->give_up_ns = clock_boot_ns() + REACH_NS;
    if (open_reader(l, &g->reader, e) == 0) {
        take_disk_end(g);
        if (has_more(g, offer)) {
            logr_close(g->reader);
            free(g);
            (void)serve_wait_open(s, &l->follow_waits, offer);
            return 0;
        }
    }
    if (g->reader == NULL || find_start(g, offer, &o.send_start, e) != 0) {
        logr_close(g->reader);
        free(g);
        mux_refuse(s->mux, offer->stream, e, NULL);
        return -1;
    }
    g->source = (struct channel_source){source_read, g};
    o.source = &g->source;
    g->channel = channel_new(&o);
    g->next = s->logs;
    s->logs = g;
    /* The client may hold bytes already: only below the end is that believed. */
    channel_source_grow(g->channel, end_of(g));
    if (mux_accept(s->mux, offer->stream, g->channel, NULL, e) != 0) {
        log_free(g);
        return -1;
    }
    grow(g);
    if (stream == LOGSEG_NONE && !g->ended) {
        g->poll = timer_new(s->loop, poll_index, g);
        timer_set_idle(g->poll, true);
        timer_after(g->poll, g->follow ? POLL_NS : POLL_SOON_NS);
    }
    return 0;
}

void
serve_log_open(struct serve *s, const struct mux_offer *offer, enum logseg_stream stream)
{
    struct serve_link *l;
    const char *job;
    bool follow;
    size_t n = 0;
    struct err e;

    if (serve_job(offer->rec, &job, &e) != 0 ||
        serve_flag(offer->rec, "follow", &follow, &e) != 0) {
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return;
    }
    l = serve_link_find(s, job);
    if (l != NULL && l->submitting) {
        (void)serve_wait_open(s, &l->waits, offer);
        return;
    }
    for (struct serve_log *g = s->logs; g != NULL; g = g->next) {
        n++;
    }
    if (n >= SERVE_LOGS_MAX) {
        err_set(&e, ERR_BUSY, "too many logs are followed on this connection");
        mux_refuse(s->mux, offer->stream, &e, NULL);
    } else if (serve_link_get(s, job, &l, &e) != 0) {
        mux_refuse(s->mux, offer->stream, &e, NULL);
    } else if (l->conn != NULL && !l->followed) {
        /* How far it goes is not known before the supervisor has said so. */
        (void)serve_wait_open(s, &l->follow_waits, offer);
    } else {
        (void)!make(s, l, offer, stream, follow, &e); /* refused with its reason */
    }
}

void
serve_logs_free(struct serve *s)
{
    while (s->logs != NULL) {
        struct serve_log *g = s->logs;

        s->logs = g->next;
        loop_undefer(s->loop, free_later, g);
        log_free(g);
    }
}
