#include "meter/journal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "meter/calendar.h"
#include "meter/journal_internal.h"
#include "meter/wide.h"

struct journal_reader *
journal_reader_new(const struct sign_public *host, const char *lease)
{
    struct journal_reader *r = xcalloc(1, sizeof *r);

    if (host != NULL) {
        r->host = *host;
        r->host_known = true;
    }
    r->lease = lease != NULL ? xstrdup(lease) : NULL;
    r->hasher = sha256_new();
    grant_init(&r->grant);
    return r;
}

void
journal_reader_free(struct journal_reader *r)
{
    if (r == NULL) {
        return;
    }
    free(r->lease);
    buf_free(&r->waiting);
    buf_free(&r->last_signed);
    buf_free(&r->unchecked);
    for (size_t i = 0; i < sizeof r->unchecked_cosign / sizeof *r->unchecked_cosign;
         i++) {
        buf_free(&r->unchecked_cosign[i]);
    }
    sha256_free(r->hasher);
    offer_free(r->offer);
    grant_clear(&r->grant);
    free(r->devices);
    free(r->intervals);
    free(r->months);
    free(r);
}

void
journal_reader_check_all(struct journal_reader *r, bool all)
{
    r->check_all = all;
}

void
journal_reader_known(struct journal_reader *r, bool known)
{
    r->known = known;
}

/* Beginning ----------------------------------------------------------------- */

static int
take_open(struct journal_reader *r, const struct journal_entry *x, struct err *e)
{
    struct offer *o = NULL;
    struct grant g;
    int rc = -1;

    grant_init(&g);
    if (journal_take_offer(r, &o, &x->offer, e) != 0 ||
        journal_take_grant(r, &g, &x->grant, e) != 0 ||
        grant_check_terms(&g, o, e) != 0) {
        goto out;
    }
    if (strcmp(g.lease, x->lease) != 0 || strcmp(g.job, x->job) != 0) {
        err_set(e, ERR_CORRUPT, "the grant is for another lease or job");
        goto out;
    }
    if (r->lease != NULL && strcmp(r->lease, x->lease) != 0) {
        err_set(e, ERR_DENIED, "the journal of another lease");
        goto out;
    }
    r->host = o->host;
    r->host_known = true;
    r->offer = o;
    r->grant = g;
    (void)strcpy(r->job, x->job);
    o = NULL;
    grant_init(&g);
    rc = 0;

out:
    offer_free(o);
    grant_clear(&g);
    return rc;
}

/* One kind after another ---------------------------------------------------- */

static int
take_state(struct journal_reader *r, struct usage_track *t, const struct journal_entry *x,
           struct err *e)
{
    enum usage_state to = x->r.state;
    int64_t free_ns = r->offer->free_preempt_s * USAGE_NS_PER_S;
    int64_t moved = 0;

    if (x->moved_ns != 0) {
        moved = usage_preempt(t, free_ns);
    }
    if (moved != x->moved_ns || (moved != 0 && to != USAGE_STOPPING)) {
        return err_set(e, ERR_CORRUPT, "a preemption that moves what it may not");
    }
    if (to == USAGE_ENDED || !usage_may_enter(t->state, to)) {
        return err_set(e, ERR_CORRUPT, "%s cannot follow %s", usage_state_name(to),
                       usage_state_name(t->state));
    }
    usage_enter(t, to);
    return 0;
}

static int
take_extend(struct journal_reader *r, const struct journal_entry *x, struct err *e)
{
    struct grant g;

    grant_init(&g);
    if (journal_take_grant(r, &g, &x->grant, e) != 0 ||
        grant_check_extends(&r->grant, &g, e) != 0) {
        grant_clear(&g);
        return -1;
    }
    grant_clear(&r->grant);
    r->grant = g;
    return 0;
}

static int
take_special(struct journal_reader *r, struct usage_track *t,
             const struct journal_entry *x, struct err *e)
{
    enum usage_state before = t->state;

    switch (x->r.kind) {
    case JOURNAL_OPEN:
        usage_enter(t, x->r.state);
        before = USAGE_SHIPPING;
        break;
    case JOURNAL_STATE:
        return take_state(r, t, x, e);
    case JOURNAL_REOPEN:
        usage_enter(t, USAGE_FAULT);
        before = USAGE_FAULT;
        break;
    case JOURNAL_RECEIPT:
        if (x->r.state != USAGE_ENDED) {
            break;
        }
        return journal_take_receipt(r, t, x, e);
    case JOURNAL_EXTEND:
        if (take_extend(r, x, e) != 0) {
            return -1;
        }
        break;
    case JOURNAL_COSIGN:
        if (journal_take_cosign(r, x, e) != 0) {
            return -1;
        }
        break;
    case JOURNAL_NONE:
    case JOURNAL_TICK:
    case JOURNAL_CHECKPOINT:
    case JOURNAL_KIND_COUNT:
        break;
    }
    if (x->r.state != before || x->r.kind == JOURNAL_RECEIPT) {
        return err_set(e, ERR_CORRUPT, "a %s record cannot change the state to %s",
                       journal_kind_name(x->r.kind), usage_state_name(x->r.state));
    }
    return 0;
}

/* What holds for every kind ------------------------------------------------- */

static int
check_place(const struct journal_reader *r, const struct journal_entry *x, struct err *e)
{
    static const struct sha256 zeros;
    const struct sha256 *prev = r->last.seq == 0 ? &zeros : &r->last.hash;

    if (r->ended) {
        return err_set(e, ERR_CORRUPT, "a record after the receipt");
    }
    if ((x->r.kind == JOURNAL_OPEN) != (r->last.seq == 0)) {
        return err_set(e, ERR_CORRUPT, "a journal begins with one open record");
    }
    if (x->r.seq != r->last.seq + 1) {
        return err_set(e, ERR_CORRUPT, "numbered %" PRId64 " after %" PRId64, x->r.seq,
                       r->last.seq);
    }
    if (!sha256_equal(&x->r.prev, prev)) {
        return err_set(e, ERR_CORRUPT, "prev is not the hash of the record before");
    }
    if (x->lease[0] != '\0' && r->last.seq != 0 &&
        strcmp(x->lease, r->grant.lease) != 0) {
        return err_set(e, ERR_CORRUPT, "a record of another lease");
    }
    return 0;
}

/* Records without a boot id are of the boot before. */
static int
settle_boot(const struct journal_reader *r, struct journal_entry *x, struct err *e)
{
    if (x->r.kind == JOURNAL_OPEN || x->r.kind == JOURNAL_REOPEN) {
        return 0;
    }
    if (x->r.at.boot[0] == '\0') {
        (void)strcpy(x->r.at.boot, r->last.at.boot);
    } else if (strcmp(x->r.at.boot, r->last.at.boot) != 0) {
        return err_set(e, ERR_CORRUPT, "another boot without a reopening");
    }
    return 0;
}

static int
check_money(const struct journal_reader *r, const struct usage_track *t,
            const struct journal_record *c, struct err *e)
{
    if (memcmp(&t->total, &c->total, sizeof t->total) != 0) {
        return err_set(e, ERR_CORRUPT, "times that are not what the clocks say");
    }
    if (c->keep_fen != grant_keep_hold(&r->grant, c->held_bytes)) {
        return err_set(e, ERR_CORRUPT, "a reserve that is not what keeping costs");
    }
    if (c->drawn_fen != journal_drawn(&r->grant, t, c->keep_fen, r->last.drawn_fen)) {
        return err_set(e, ERR_CORRUPT,
                       "drawn %" PRId64 " fen, which is not the stretch's", c->drawn_fen);
    }
    if (c->cost_fen != journal_cost(&r->grant, &t->total)) {
        return err_set(e, ERR_CORRUPT,
                       "a cost of %" PRId64 " fen, which should be %" PRId64, c->cost_fen,
                       journal_cost(&r->grant, &t->total));
    }
    if (c->busy_ns < r->last.busy_ns && r->last.seq != 0) {
        return err_set(e, ERR_CORRUPT, "a device that was less busy than before");
    }
    return 0;
}

static int
check_signature(struct journal_reader *r, const struct journal_entry *x,
                const void *record, size_t len, struct err *e)
{
    if (memcmp(x->signer.b, r->host.b, sizeof r->host.b) != 0) {
        return err_set(e, ERR_CORRUPT, "signed by another key than the host's");
    }
    buf_reset(&r->last_signed);
    buf_add(&r->last_signed, record, len);
    buf_reset(&r->unchecked);
    if (r->known) {
        return 0;
    }
    if (r->check_all || x->r.kind == JOURNAL_RECEIPT) {
        return journal_entry_check_sig(x, record, &r->host, e);
    }
    buf_add(&r->unchecked, record, len);
    return 0;
}

/* Remembering --------------------------------------------------------------- */

static int
note_interval(struct journal_reader *r, const struct journal_entry *x, struct err *e)
{
    struct journal_interval *i;

    if (x->r.state == r->last.state && x->r.kind != JOURNAL_REOPEN) {
        return 0;
    }
    if (r->n_intervals == JOURNAL_INTERVALS_MAX) {
        return err_set(e, ERR_CORRUPT, "more than %d changes of state",
                       JOURNAL_INTERVALS_MAX);
    }
    /* Room doubles: n is 0 or a power of two whenever the array is full. */
    if ((r->n_intervals & (r->n_intervals - 1)) == 0) {
        size_t room = r->n_intervals == 0 ? 1 : r->n_intervals * 2;

        r->intervals = xrealloc(r->intervals, room * sizeof *r->intervals);
    }
    i = &r->intervals[r->n_intervals++];
    i->state = x->r.state;
    memcpy(i->reason, x->r.reason, sizeof i->reason);
    i->from = x->r.at;
    i->before = x->r.total;
    return 0;
}

static void
note_devices(struct journal_reader *r, struct journal_entry *x)
{
    if (x->n_devices > 0) {
        free(r->devices);
        r->devices = x->devices;
        r->n_devices = x->n_devices;
        x->devices = NULL;
        x->n_devices = 0;
    }
}

static void
note_point(struct journal_reader *r, const struct journal_record *c, size_t frame_len)
{
    r->points[r->n_points++ % JOURNAL_POINTS] = (struct journal_point){
        .seq = c->seq,
        .hash = c->hash,
        .end_bytes = r->good_bytes + frame_len,
        .device_s = usage_device_s(&c->total),
        .setup_s = usage_setup_s(&c->total),
        .cost_fen = c->cost_fen,
    };
}

static int
take_entry(struct journal_reader *r, struct journal_entry *x, const uint8_t *record,
           size_t len, struct err *e)
{
    struct usage_track t = r->track;

    if (check_place(r, x, e) != 0 || settle_boot(r, x, e) != 0) {
        return -1;
    }
    if (x->r.kind == JOURNAL_OPEN && take_open(r, x, e) != 0) {
        return -1;
    }
    if (journal_book(r, &t, x->r.kind, &x->r.at, e) != 0 ||
        take_special(r, &t, x, e) != 0 || check_money(r, &t, &x->r, e) != 0 ||
        note_interval(r, x, e) != 0) {
        return -1;
    }
    if (journal_kind_is_signed(x->r.kind)) {
        if (check_signature(r, x, record, len, e) != 0) {
            return -1;
        }
        note_point(r, &x->r, JOURNAL_FRAME_HEAD + len);
    }
    if (x->r.kind == JOURNAL_OPEN) {
        int64_t s = (int64_t)wide_floor_div(x->r.at.wall_ns, USAGE_NS_PER_S);

        r->months = xcalloc(1, sizeof *r->months);
        r->months[r->n_months++] =
            (struct journal_month){.from_wall_s = s, .end_wall_s = calendar_month_end(s)};
    } else {
        journal_note_month(r, &r->last, &x->r);
    }
    note_devices(r, x);
    r->track = t;
    r->last = x->r;
    r->ended = x->r.kind == JOURNAL_RECEIPT;
    r->good_bytes += JOURNAL_FRAME_HEAD + len;
    return 0;
}

int
journal_take(struct journal_reader *r, const uint8_t *record, size_t len, struct err *e)
{
    struct journal_entry x;
    int rc;

    if (journal_entry_parse(&x, record, len, r->hasher, e) != 0) {
        return err_wrap(e, "record %" PRId64, r->last.seq + 1);
    }
    rc = take_entry(r, &x, record, len, e);
    if (rc != 0 && e->code != ERR_DENIED) {
        e->code =
            ERR_CORRUPT; /* what the parts of a record call invalid is a bad record */
    }
    if (rc != 0) {
        (void)err_wrap(e, "record %" PRId64 " (%s)", r->last.seq + 1,
                       journal_kind_name(x.r.kind));
    }
    journal_entry_release(&x);
    return rc;
}

/* Bytes --------------------------------------------------------------------- */

/*
 * Length of the whole frame at data, 0 if more bytes are needed to know or to have it,
 * -1 if it is wrong. *need is how many bytes make it whole.
 */
static ssize_t
frame_at(const uint8_t *data, size_t len, size_t *need, struct err *e)
{
    size_t n;
    uint32_t crc;

    *need = JOURNAL_FRAME_HEAD;
    if (len < JOURNAL_FRAME_HEAD) {
        return 0;
    }
    if (journal_frame_parse(data, &n, &crc, e) != 0) {
        return -1;
    }
    *need = JOURNAL_FRAME_HEAD + n;
    if (len < *need) {
        return 0;
    }
    if (crc32c(0, data + JOURNAL_FRAME_HEAD, n) != crc) {
        return err_set(e, ERR_CORRUPT, "its bytes do not match its checksum");
    }
    return (ssize_t)*need;
}

/* Take the frame at data if it is whole: bytes used, or 0, or -1. */
static ssize_t
take_frame(struct journal_reader *r, const uint8_t *data, size_t len, size_t *need,
           struct err *e)
{
    ssize_t n = frame_at(data, len, need, e);

    if (n < 0) {
        (void)err_wrap(e, "record %" PRId64, r->last.seq + 1);
    } else if (n > 0 && journal_take(r, data + JOURNAL_FRAME_HEAD,
                                     (size_t)n - JOURNAL_FRAME_HEAD, e) != 0) {
        n = -1;
    }
    r->failed = r->failed || n < 0;
    return n;
}

int
journal_reader_feed(struct journal_reader *r, const void *data, size_t len, struct err *e)
{
    const uint8_t *at = data;
    size_t need;

    if (r->failed) {
        return err_set(e, ERR_CORRUPT,
                       "record %" PRId64 " was wrong, nothing after it counts",
                       r->last.seq + 1);
    }
    while (len > 0) {
        bool direct = r->waiting.len == 0;
        ssize_t n = direct ? take_frame(r, at, len, &need, e)
                           : take_frame(r, r->waiting.data, r->waiting.len, &need, e);

        if (n < 0) {
            return -1;
        }
        if (n > 0 && direct) {
            at += n;
            len -= (size_t)n;
        } else if (n > 0) {
            buf_reset(&r->waiting);
        } else {
            size_t want = need - r->waiting.len;
            size_t part = want < len ? want : len;

            buf_add(&r->waiting, at, part);
            at += part;
            len -= part;
        }
    }
    /* What was completed by the last byte. */
    if (r->waiting.len > 0) {
        ssize_t n = take_frame(r, r->waiting.data, r->waiting.len, &need, e);

        if (n < 0) {
            return -1;
        }
        if (n > 0) {
            buf_reset(&r->waiting);
        }
    }
    return 0;
}

int
journal_reader_settle(struct journal_reader *r, struct err *e)
{
    struct journal_entry x;
    int rc = 0;

    if (r->unchecked.len > 0) {
        if (journal_entry_parse(&x, r->unchecked.data, r->unchecked.len, r->hasher, e) !=
            0) {
            return -1;
        }
        rc = journal_entry_check_sig(&x, r->unchecked.data, &r->host, e);
        if (rc != 0) {
            (void)err_wrap(e, "record %" PRId64 " (%s)", x.r.seq,
                           journal_kind_name(x.r.kind));
        }
        journal_entry_clear(&x);
        buf_reset(&r->unchecked);
    }
    for (int by = JOURNAL_BY_RENTER; rc == 0 && by <= JOURNAL_BY_BOOK; by++) {
        struct buf *b = &r->unchecked_cosign[by];
        struct journal_cosign c;

        if (b->len > 0) {
            rc = journal_cosign_parse(&c, b->data, b->len, e);
        }
        buf_reset(b);
    }
    r->failed = r->failed || rc != 0;
    return rc;
}

/* Looking ------------------------------------------------------------------- */

uint64_t
journal_reader_good_bytes(const struct journal_reader *r)
{
    return r->good_bytes;
}

size_t
journal_reader_waiting_bytes(const struct journal_reader *r)
{
    return r->waiting.len;
}

const struct journal_record *
journal_reader_last(const struct journal_reader *r)
{
    return r->last.seq == 0 ? NULL : &r->last;
}

const struct offer *
journal_reader_offer(const struct journal_reader *r)
{
    return r->offer;
}

const struct grant *
journal_reader_grant(const struct journal_reader *r)
{
    return r->last.seq == 0 ? NULL : &r->grant;
}

const struct journal_device *
journal_reader_devices(const struct journal_reader *r, size_t *n)
{
    *n = r->n_devices;
    return r->devices;
}

const struct journal_point *
journal_reader_point(const struct journal_reader *r)
{
    return r->n_points == 0 ? NULL : &r->points[(r->n_points - 1) % JOURNAL_POINTS];
}

bool
journal_reader_ended(const struct journal_reader *r)
{
    return r->ended;
}

void
journal_reader_cosigned(const struct journal_reader *r, int64_t *by_renter_s,
                        int64_t *by_book_s)
{
    *by_renter_s = r->cosigned_s[JOURNAL_BY_RENTER];
    *by_book_s = r->cosigned_s[JOURNAL_BY_BOOK];
}
