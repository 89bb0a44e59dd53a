#include "meter/session.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "meter/journal_internal.h"
#include "meter/refuse.h"
#include "meter/session_internal.h"
#include "meter/tariff.h"
#include "meter/wide.h"
#include "meter/words.h"

/* A little early, so that a timer that fires late still keeps the promise. */
#define TICK_DUE_NS       ((JOURNAL_TICK_S - 1) * USAGE_NS_PER_S)
#define CHECKPOINT_DUE_NS ((JOURNAL_CHECKPOINT_S - 10) * USAGE_NS_PER_S)
/* Leaves room for what must still be said after a job that changes state madly. */
#define STATES_MAX (JOURNAL_INTERVALS_MAX - 16)

void
meter_session_free(struct meter_session *s)
{
    if (s != NULL) {
        session_file_close(s);
        journal_reader_free(s->r);
        buf_free(&s->unwritten);
        free(s->name);
        free(s->devices);
        free(s);
    }
}

void
session_now(const struct meter_session *s, struct usage_moment *m)
{
    memcpy(m->boot, s->boot, sizeof m->boot);
    usage_read_clocks(m);
}

/* The track as it would stand at m in a record of this kind. */
static int
look_ahead(const struct meter_session *s, enum journal_kind kind,
           const struct usage_moment *m, struct usage_track *t, struct err *e)
{
    *t = s->r->track;
    return journal_book(s->r, t, kind, m, e);
}

/* Everything of a record that follows from clocks and terms, before its own change. */
int
session_prepare(const struct meter_session *s, enum journal_kind kind,
                struct journal_entry *x, struct usage_track *t, struct err *e)
{
    memset(x, 0, sizeof *x);
    x->r.kind = kind;
    x->r.seq = s->r->last.seq + 1;
    x->r.prev = s->r->last.hash;
    session_now(s, &x->r.at);
    if (look_ahead(s, kind, &x->r.at, t, e) != 0) {
        return -1;
    }
    x->r.busy_ns = s->busy_ns;
    x->r.held_bytes = s->held_bytes;
    (void)strcpy(x->lease, s->r->grant.lease);
    (void)strcpy(x->job, s->r->job);
    return 0;
}

/*
 * Fill in state and money, write the record and take it, as a reader would: what a
 * verifier would refuse is never written.
 */
int
session_put(struct meter_session *s, struct journal_entry *x, const struct usage_track *t,
            const struct grant *g, struct err *e)
{
    struct buf record = BUF_INIT;
    char head[JOURNAL_FRAME_HEAD + 1];
    int rc;

    x->r.state = t->state;
    x->r.total = t->total;
    x->r.keep_fen = grant_keep_hold(g, x->r.held_bytes);
    x->r.drawn_fen = journal_drawn(g, t, x->r.keep_fen, s->r->last.drawn_fen);
    x->r.cost_fen = journal_cost(g, &t->total);
    journal_entry_encode(x, s->key, &record);
    rc = record.len > JOURNAL_RECORD_MAX
             ? err_set(e, ERR_INVALID, "a usage record of %zu bytes", record.len)
             : journal_take(s->r, record.data, record.len, e);
    if (rc == 0) {
        journal_frame_head(head, record.data, record.len);
        buf_add(&s->unwritten, head, JOURNAL_FRAME_HEAD);
        buf_add(&s->unwritten, record.data, record.len);
        rc = session_flush(s, e);
    }
    buf_free(&record);
    return rc;
}

/* A record that changes nothing. */
static int
put_plain(struct meter_session *s, enum journal_kind kind, struct err *e)
{
    struct journal_entry x;
    struct usage_track t;
    int rc;

    if (s->unwritten.len > SESSION_UNWRITTEN_MAX && kind == JOURNAL_TICK) {
        return session_flush(s, e); /* a full disk must not fill memory, too */
    }
    rc = session_prepare(s, kind, &x, &t, e);
    if (rc == 0) {
        rc = session_put(s, &x, &t, &s->r->grant, e);
    }
    journal_entry_clear(&x);
    return rc;
}

/* States -------------------------------------------------------------------- */

/* Which moment the time limit counts from: that of ready, or of the set-up's begin. */
static void
note_entered(struct meter_session *s, enum usage_state before)
{
    enum usage_state now = s->r->track.state;

    if (now == USAGE_SETUP && before != USAGE_SETUP) {
        s->setup_boot_ns = s->r->last.at.boot_ns;
    }
    if (now == USAGE_RUNNING && s->ready_boot_ns < 0) {
        s->ready_boot_ns = s->r->last.at.boot_ns;
    }
}

static int
put_state(struct meter_session *s, enum usage_state state, const char *reason,
          bool preempt, struct err *e)
{
    enum usage_state before = s->r->track.state;
    struct journal_entry x;
    struct usage_track t;
    int64_t seq = s->r->last.seq;
    int rc = session_prepare(s, JOURNAL_STATE, &x, &t, e);

    if (rc == 0) {
        (void)strcpy(x.r.reason, reason);
        if (preempt) {
            x.moved_ns = usage_preempt(&t, s->r->offer->free_preempt_s * USAGE_NS_PER_S);
        }
        usage_enter(&t, state);
        x.devices = s->devices;
        x.n_devices = s->n_devices;
        rc = session_put(s, &x, &t, &s->r->grant, e);
        x.devices = NULL;
        x.n_devices = 0;
    }
    if (s->r->last.seq > seq) { /* taken, if perhaps not on the disk yet */
        free(s->devices);
        s->devices = NULL;
        s->n_devices = 0;
        note_entered(s, before);
    }
    journal_entry_clear(&x);
    return rc;
}

static bool
may_order(enum usage_state state)
{
    return state != USAGE_NONE && state != USAGE_WINDOW && state != USAGE_PREEMPTED &&
           state != USAGE_LOST && state != USAGE_ENDED && state != USAGE_STATE_COUNT;
}

int
meter_session_state(struct meter_session *s, enum usage_state state, const char *reason,
                    struct err *e)
{
    if (!may_order(state) || !usage_may_enter(s->r->track.state, state)) {
        return err_set(e, ERR_INVALID, "a session that is %s cannot become %s",
                       usage_state_name(s->r->track.state), usage_state_name(state));
    }
    if (!words_is_text_or_none(reason)) {
        return err_set(e, ERR_INVALID, "a reason that is not one word");
    }
    if (state == s->r->track.state) {
        return session_flush(s, e);
    }
    if (s->r->n_intervals >= STATES_MAX && state != USAGE_STOPPING &&
        state != USAGE_SNAPSHOTTING && state != USAGE_FAULT) {
        return err_set(e, ERR_LIMIT, "the session changed its state too often");
    }
    return put_state(s, state, reason, false, e);
}

int
meter_session_preempt(struct meter_session *s, const char *reason, struct err *e)
{
    if (!usage_may_enter(s->r->track.state, USAGE_STOPPING) ||
        !words_is_text_or_none(reason)) {
        return err_set(e, ERR_INVALID, "a session that is %s cannot be taken back",
                       usage_state_name(s->r->track.state));
    }
    return put_state(s, USAGE_STOPPING, reason, true, e);
}

int
meter_session_devices(struct meter_session *s, const struct journal_device *devices,
                      size_t n, struct err *e)
{
    if (n > JOURNAL_DEVICES_MAX) {
        return err_set(e, ERR_INVALID, "%zu devices in one session", n);
    }
    for (size_t i = 0; i < n; i++) {
        if (!words_is_name(devices[i].class_name) ||
            !words_is_name_or_none(devices[i].type) || !words_is_text(devices[i].uuid)) {
            return err_set(e, ERR_INVALID, "a device without a readable name");
        }
    }
    free(s->devices);
    s->devices = xmemdup(devices, n * sizeof *devices);
    s->n_devices = n;
    return 0;
}

/* Time ---------------------------------------------------------------------- */

static int64_t
since_record_ns(const struct meter_session *s)
{
    return clock_boot_ns() - s->r->last.at.boot_ns;
}

static bool
checkpoint_due(const struct meter_session *s)
{
    return clock_boot_ns() - s->checkpoint_boot_ns >= CHECKPOINT_DUE_NS;
}

int
meter_session_tick(struct meter_session *s, struct err *e)
{
    int64_t seq = s->r->last.seq;
    int rc;

    if (s->r->ended || since_record_ns(s) < TICK_DUE_NS) {
        return session_flush(s, e);
    }
    if (!checkpoint_due(s)) {
        return put_plain(s, JOURNAL_TICK, e);
    }
    rc = put_plain(s, JOURNAL_CHECKPOINT, e);
    if (s->r->last.seq > seq) {
        s->checkpoint_boot_ns = s->r->last.at.boot_ns;
    }
    return rc;
}

int64_t
meter_session_next_ns(const struct meter_session *s)
{
    int64_t left = TICK_DUE_NS - since_record_ns(s);

    if (s->r->ended) {
        return s->unwritten.len > 0 ? USAGE_NS_PER_S : TICK_DUE_NS;
    }
    if (s->unwritten.len > 0 && left > USAGE_NS_PER_S) {
        return USAGE_NS_PER_S; /* the disk refused: again in a second */
    }
    return i64_max(left, 0);
}

int
meter_session_checkpoint(struct meter_session *s, struct err *e)
{
    int64_t seq = s->r->last.seq;
    int rc;

    if (s->r->ended) {
        return session_flush(s, e);
    }
    rc = put_plain(s, JOURNAL_CHECKPOINT, e);
    if (s->r->last.seq > seq) {
        s->checkpoint_boot_ns = s->r->last.at.boot_ns;
    }
    return rc;
}

void
meter_session_held(struct meter_session *s, int64_t held_bytes)
{
    s->held_bytes = i64_max(held_bytes, 0);
}

void
meter_session_busy(struct meter_session *s, int64_t busy_ns)
{
    /* Never less than was said: a card that lost its counter is not un-busy. */
    s->busy_ns = i64_max(busy_ns, s->busy_ns);
}

int
meter_session_extend(struct meter_session *s, const struct grant *next, struct err *e)
{
    struct journal_entry x;
    struct usage_track t;
    int rc;

    if (s->r->ended) {
        return err_set(e, ERR_INVALID, "the session has ended");
    }
    if (sha256_equal(&next->hash, &s->r->grant.hash)) {
        return session_flush(s, e); /* the same one again */
    }
    if (clock_wall_ns() > next->until_wall_ns) {
        return err_set(e, ERR_DENIED, "the grant has expired");
    }
    if (grant_check_extends(&s->r->grant, next, e) != 0) {
        return -1;
    }
    rc = session_prepare(s, JOURNAL_EXTEND, &x, &t, e);
    if (rc == 0) {
        buf_add(&x.grant, next->bytes.data, next->bytes.len);
        rc = session_put(s, &x, &t, next, e);
    }
    journal_entry_clear(&x);
    return rc;
}

int
meter_session_cosign(struct meter_session *s, const void *data, size_t len, struct err *e)
{
    struct journal_entry x;
    struct journal_cosign c;
    struct usage_track t;
    int rc;

    if (journal_cosign_parse(&c, data, len, e) != 0 ||
        journal_check_cosign(s->r, &c, e) != 0) {
        return -1;
    }
    if (s->r->ended || c.seq <= s->cosigned_seq[c.by]) {
        return session_flush(s, e);
    }
    rc = session_prepare(s, JOURNAL_COSIGN, &x, &t, e);
    if (rc == 0) {
        buf_add(&x.cosign, data, len);
        rc = session_put(s, &x, &t, &s->r->grant, e);
        s->cosigned_seq[c.by] = c.seq;
    }
    journal_entry_clear(&x);
    return rc;
}

/* Where it stands ----------------------------------------------------------- */

static int64_t
not_negative(__int128 v)
{
    return wide_clamp64(wide_max(v, 0));
}

/* ns until exact cost and reserve no longer fit, at what the present state costs. */
static int64_t
until_cost_ns(const struct grant *g, const struct usage_track *t, int64_t keep_fen)
{
    int64_t setup_s = usage_setup_s(&t->total);
    int64_t device_ns = t->total.ns[USAGE_RUNNING] + t->total.ns[USAGE_WINDOW];
    __int128 max_s;

    if (t->state == USAGE_RUNNING) {
        int64_t s = grant_max_device_s(g, setup_s, keep_fen);

        return s == INT64_MAX ? INT64_MAX
                              : not_negative((__int128)s * USAGE_NS_PER_S - device_ns);
    }
    if (t->state != USAGE_SETUP || g->nocard_uyuan_per_h == 0) {
        return INT64_MAX;
    }
    max_s =
        ((__int128)g->cap_fen - keep_fen) * TARIFF_COST_PER_FEN / g->nocard_uyuan_per_h;
    return not_negative(max_s * USAGE_NS_PER_S - t->total.ns[USAGE_SETUP]);
}

/* ns until the longest time granted is over; boot clock, so the host's sleep counts. */
static int64_t
until_end_ns(const struct meter_session *s, const struct usage_track *t, int64_t boot_ns)
{
    int64_t from = t->state == USAGE_SETUP ? s->setup_boot_ns : s->ready_boot_ns;
    bool counts = t->state == USAGE_SETUP || t->state == USAGE_RUNNING ||
                  t->state == USAGE_RESERVED || t->state == USAGE_SUSPENDED ||
                  t->state == USAGE_HOST_SNAPSHOT || t->state == USAGE_RELEASED;

    if (!counts || from < 0 || s->r->grant.max_s == GRANT_NO_END) {
        return INT64_MAX;
    }
    return not_negative((__int128)s->r->grant.max_s * USAGE_NS_PER_S + from - boot_ns);
}

static int
alert_level(const struct grant *g, const struct usage_track *t, bool at_cost_limit)
{
    static const int levels[] = {100, 80, 50};
    __int128 cost =
        grant_cost(g, usage_setup_s(&t->total), usage_device_s(&t->total)) * 100;

    if (g->cap_fen == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (cost >= (__int128)g->cap_fen * TARIFF_COST_PER_FEN * levels[i] ||
            (levels[i] == 100 && at_cost_limit)) {
            return levels[i];
        }
    }
    return 0;
}

/* How long it can run: what the money covers, and what the lease still has. */
static int64_t
can_run_s(const struct meter_session *s, const struct usage_track *t, int64_t keep_fen,
          int64_t end_ns)
{
    const struct grant *g = &s->r->grant;
    int64_t max_s = grant_max_device_s(g, usage_setup_s(&t->total), keep_fen);
    bool bounded = max_s != INT64_MAX && t->state != USAGE_RESERVED;
    int64_t by_cost = bounded ? max_s - usage_device_s(&t->total) : INT64_MAX;
    int64_t by_end = end_ns != INT64_MAX ? end_ns / USAGE_NS_PER_S : g->max_s;

    return i64_min(i64_max(by_cost, 0), by_end);
}

/*
 * The cap pays for all the time granted, as the default cap does to the second: then it
 * is time that runs out, whichever clock is a microsecond ahead.
 */
static bool
covers_all(const struct grant *g, const struct meter_status *st)
{
    return grant_max_device_s(g, st->setup_s, st->keep_fen) >= g->max_s;
}

void
meter_session_status(const struct meter_session *s, struct meter_status *out)
{
    const struct grant *g = &s->r->grant;
    struct usage_moment m;
    struct usage_track t;
    struct err e;
    int64_t cost_ns;
    int64_t end_ns;

    session_now(s, &m);
    if (look_ahead(s, JOURNAL_TICK, &m, &t, &e) != 0) {
        t = s->r->track; /* the clock went back: what was recorded stands */
    }
    memset(out, 0, sizeof *out);
    out->state = t.state;
    out->setup_s = usage_setup_s(&t.total);
    out->device_s = usage_device_s(&t.total);
    out->cost_fen = journal_cost(g, &t.total);
    out->cap_fen = g->cap_fen;
    out->window_fen = (int64_t)wide_ceil_div((__int128)grant_burn_uyuan_per_h(g) *
                                                 grant_billed_window_s(g),
                                             TARIFF_COST_PER_FEN);
    out->keep_fen = grant_keep_hold(g, s->held_bytes);
    cost_ns = until_cost_ns(g, &t, out->keep_fen);
    end_ns = until_end_ns(s, &t, m.boot_ns);
    out->stop_in_ns = i64_min(cost_ns, end_ns);
    out->stop_why = out->stop_in_ns == INT64_MAX               ? GRANT_LIMIT_NONE
                    : cost_ns <= end_ns && !covers_all(g, out) ? g->cap_why
                                                               : g->end_why;
    out->can_run_s = can_run_s(s, &t, out->keep_fen, end_ns);
    out->alert_pct = alert_level(g, &t, cost_ns == 0);
    out->since_device_ns = s->ready_boot_ns < 0 ? -1 : m.boot_ns - s->ready_boot_ns;
}

const struct journal_point *
meter_session_point(const struct meter_session *s)
{
    return journal_reader_point(s->r);
}

uint64_t
meter_session_bytes(const struct meter_session *s)
{
    return s->on_disk_bytes;
}

const struct grant *
meter_session_grant(const struct meter_session *s)
{
    return &s->r->grant;
}

/* The end ------------------------------------------------------------------- */

static int
check_end(const struct meter_session *s, const struct meter_end *end, struct err *e)
{
    if (!words_is_text(end->reason) || end->exit_code < -1 || end->signal < 0 ||
        end->kept_bytes < 0 || end->keep_until_wall_ns < 0 ||
        (end->snapshot != NULL && !words_is_text(end->snapshot))) {
        return err_set(e, ERR_INVALID, "an end that cannot be written down");
    }
    if (s->r->ended) {
        return err_set(e, ERR_INVALID, "the session has ended");
    }
    return 0;
}

static void
fill_receipt(const struct meter_session *s, const struct meter_end *end,
             const struct usage_track *t, int64_t made_wall_ns, struct journal_receipt *p)
{
    const struct grant *g = &s->r->grant;
    /* A wall clock that was set back since the end: the data stays longer, for nothing.
     */
    int64_t until_max = journal_keep_until_max(g, made_wall_ns);

    p->offer = s->r->offer->hash;
    p->grant = g->hash;
    p->card = s->r->offer->card;
    p->renter = g->renter;
    p->exit_code = end->exit_code;
    p->signal = end->signal;
    p->lost = end->lost;
    if (end->snapshot != NULL) {
        (void)strcpy(p->snapshot, end->snapshot);
    }
    p->kept_bytes = end->kept_bytes;
    p->keep_until_wall_ns =
        end->snapshot == NULL ? 0 : i64_min(end->keep_until_wall_ns, until_max);
    p->setup_s = usage_setup_s(&t->total);
    p->device_s = usage_device_s(&t->total);
    p->charge_fen = journal_cost(g, &t->total);
    if (p->keep_until_wall_ns > 0) {
        p->keep_hold_fen =
            i64_min(grant_keep_hold(g, end->kept_bytes), g->cap_fen - p->charge_fen);
    }
}

int
meter_session_end(struct meter_session *s, const struct meter_end *end, struct err *e)
{
    struct journal_entry x;
    struct usage_track t;
    int rc;

    if (s->r->ended && s->unwritten.len > 0) {
        return session_flush(s, e); /* it was made, and the disk refused it */
    }
    if (check_end(s, end, e) != 0) {
        return -1;
    }
    rc = session_prepare(s, JOURNAL_RECEIPT, &x, &t, e);
    if (rc == 0) {
        usage_enter(&t, USAGE_ENDED);
        (void)strcpy(x.r.reason, end->reason);
        fill_receipt(s, end, &t, x.r.at.wall_ns, &x.receipt);
        rc = session_put(s, &x, &t, &s->r->grant, e);
    }
    journal_entry_clear(&x);
    return rc;
}
