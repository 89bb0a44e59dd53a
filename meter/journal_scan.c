/*
 * One record of the journal, read. Ticks are nearly all of a journal, so this is one
 * strict walk over the fields in their order, without a struct rec; what it accepts is
 * exactly what journal_entry_encode writes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rec.h"
#include "meter/journal_internal.h"
#include "meter/words.h"

struct scan {
    const char *from;
    const char *at;
    const char *end;
    bool bad;
};

/*
 * Does the next line begin with this key? Inlined with keys that are constants, as this
 * is asked of every line, and of every field that a record may leave out.
 */
static ALWAYS_INLINE bool
key_is_next(const struct scan *s, const char *key, size_t key_len)
{
    return !s->bad && (size_t)(s->end - s->at) >= key_len + 2 && s->at[key_len] == '=' &&
           memcmp(s->at, key, key_len) == 0;
}

/* The value of the next line, whose key is so long; the line is then behind. */
static const char *
take_value(struct scan *s, size_t key_len, size_t *len)
{
    const char *value = s->at + key_len + 1;
    const char *lf = memchr(value, '\n', (size_t)(s->end - value));

    if (lf == NULL) {
        s->bad = true;
        return NULL;
    }
    *len = (size_t)(lf - value);
    s->at = lf + 1;
    return value;
}

static const char *
take(struct scan *s, const char *key, size_t key_len, size_t *len)
{
    return key_is_next(s, key, key_len) ? take_value(s, key_len, len) : NULL;
}

#define TAKE(s, key, len)                                                                \
    (key_is_next(s, key, sizeof(key) - 1) ? take_value(s, sizeof(key) - 1, len) : NULL)

static int64_t
to_int(struct scan *s, const char *v, size_t len, int64_t min)
{
    int64_t n = 0;

    if (v == NULL || !words_parse_int(v, len, &n) || n < min) {
        s->bad = true;
        return 0;
    }
    return n;
}

/* The number that is the next line's value. */
static int64_t
take_int(struct scan *s, size_t key_len, int64_t min)
{
    const char *value = s->at + key_len + 1;
    size_t left = (size_t)(s->end - value);
    size_t len = 0;
    int64_t n = 0;

    len = words_digits(value, left, &n);
    if (len > 0 && len < left && value[len] == '\n' && n >= min) {
        s->at = value + len + 1;
        return n;
    }
    value = take_value(s, key_len, &len);
    return to_int(s, value, len, min);
}

#define NEED_INT(s, key, min) need_int(s, key, sizeof(key) - 1, min)
/* Absent is nothing; present must be more than `nothing`. */
#define OPT_INT(s, key, nothing) opt_int(s, key, sizeof(key) - 1, nothing)

static ALWAYS_INLINE int64_t
need_int(struct scan *s, const char *key, size_t key_len, int64_t min)
{
    if (!key_is_next(s, key, key_len)) {
        s->bad = true;
        return 0;
    }
    return take_int(s, key_len, min);
}

static ALWAYS_INLINE int64_t
opt_int(struct scan *s, const char *key, size_t key_len, int64_t nothing)
{
    return key_is_next(s, key, key_len) ? take_int(s, key_len, nothing + 1) : nothing;
}

/* One word of text; with `must` it has to be there. */
static void
text_field(struct scan *s, const char *key, bool must, char *out, size_t size)
{
    size_t len = 0;
    const char *v = take(s, key, strlen(key), &len);
    struct words w;

    out[0] = '\0';
    if (v == NULL) {
        s->bad = s->bad || must;
        return;
    }
    w = words_of(v, len);
    words_text(&w, out, size);
    s->bad = !words_done(&w) || out[0] == '\0';
}

static void
hex_field(struct scan *s, const char *key, void *out, size_t n)
{
    size_t len = 0;
    const char *v = take(s, key, strlen(key), &len);

    s->bad = s->bad || v == NULL || !hex_parse(v, len, out, n);
}

static enum journal_kind
kind_of(const char *v, size_t len)
{
    for (int k = JOURNAL_NONE + 1; k < JOURNAL_KIND_COUNT; k++) {
        const char *name = journal_kind_name((enum journal_kind)k);

        if (name[0] == v[0] && strlen(name) == len && memcmp(name, v, len) == 0) {
            return (enum journal_kind)k;
        }
    }
    return JOURNAL_NONE;
}

static void
scan_type(struct scan *s, struct journal_record *r)
{
    static const char usage[] = JOURNAL_USAGE_TYPE "\n";
    static const char receipt[] = JOURNAL_RECEIPT_TYPE "\n";
    size_t left = (size_t)(s->end - s->at);
    size_t len = 0;
    const char *v;
    bool is_receipt = false;

    if (left > sizeof usage && memcmp(s->at, usage, sizeof usage - 1) == 0) {
        s->at += sizeof usage - 1;
    } else if (left > sizeof receipt && memcmp(s->at, receipt, sizeof receipt - 1) == 0) {
        s->at += sizeof receipt - 1;
        is_receipt = true;
    } else {
        s->bad = true;
    }
    v = TAKE(s, "kind", &len);
    r->kind = v == NULL ? JOURNAL_NONE : kind_of(v, len);
    s->bad =
        s->bad || r->kind == JOURNAL_NONE || (r->kind == JOURNAL_RECEIPT) != is_receipt;
}

/* Three numbers on a line; before 1970 the wall's is negative, and the slow way reads it.
 */
static void
scan_moment(struct scan *s, struct usage_moment *m)
{
    int64_t *const to[] = {&m->mono_ns, &m->boot_ns, &m->wall_ns};
    static const char ends[] = "  \n";
    const char *at;
    const char *v;
    struct words w;
    size_t len = 0;

    if (!key_is_next(s, "at", 2)) {
        s->bad = true;
        return;
    }
    at = s->at + 3;
    for (size_t i = 0; i < 3; i++) {
        size_t left = (size_t)(s->end - at);

        len = words_digits(at, left, to[i]);
        if (len == 0 || len == left || at[len] != ends[i]) {
            break;
        }
        at += len + 1;
        if (ends[i] == '\n') {
            s->at = at;
            return;
        }
    }
    v = take_value(s, 2, &len);
    w = words_of(v != NULL ? v : "", len);
    m->mono_ns = words_count(&w);
    m->boot_ns = words_count(&w);
    m->wall_ns = words_int(&w, INT64_MIN, INT64_MAX);
    s->bad = s->bad || v == NULL || !words_done(&w);
}

/* "shipping:12 running:345": states in their order, none of nothing. */
static void
scan_totals(struct scan *s, struct usage_totals *t)
{
    size_t len = 0;
    const char *v = TAKE(s, "ns", &len);
    const char *end;
    int before = USAGE_NONE;

    if (v == NULL) {
        return;
    }
    end = v + len;
    for (; !s->bad && v <= end; v++) { /* over the space, or past the end */
        const char *space = memchr(v, ' ', (size_t)(end - v));
        const char *word_end = space != NULL ? space : end;
        const char *colon = memchr(v, ':', (size_t)(word_end - v));
        enum usage_state state;

        if (colon == NULL) {
            s->bad = true;
            break;
        }
        state = usage_state_from_name(v, (size_t)(colon - v));
        s->bad = (int)state <= before; /* also USAGE_NONE: no such state */
        before = (int)state;
        t->ns[state] = to_int(s, colon + 1, (size_t)(word_end - colon - 1), 1);
        v = word_end;
    }
}

static void
scan_common(struct scan *s, struct journal_record *r)
{
    size_t len = 0;
    const char *v;

    scan_type(s, r);
    r->seq = NEED_INT(s, "seq", 1);
    scan_moment(s, &r->at);
    v = TAKE(s, "state", &len);
    r->state = v == NULL ? USAGE_NONE : usage_state_from_name(v, len);
    s->bad = s->bad || r->state == USAGE_NONE;
    scan_totals(s, &r->total);
    r->busy_ns = OPT_INT(s, "busy", -1);
    r->held_bytes = OPT_INT(s, "held", 0);
    r->keep_fen = OPT_INT(s, "keep", 0);
    r->drawn_fen = OPT_INT(s, "drawn", 0);
    r->cost_fen = NEED_INT(s, "cost", 0);
    v = TAKE(s, "prev", &len);
    s->bad = s->bad || v == NULL || !hex_parse(v, len, r->prev.b, sizeof r->prev.b);
}

static bool
scan_device(struct scan *s, struct journal_entry *x)
{
    size_t len = 0;
    const char *v = TAKE(s, "device", &len);
    struct journal_device *d;
    struct words w;

    if (v == NULL || s->bad) {
        return false;
    }
    if (x->n_devices == JOURNAL_DEVICES_MAX) {
        s->bad = true;
        return false;
    }
    x->devices = xrealloc(x->devices, (x->n_devices + 1) * sizeof *x->devices);
    d = &x->devices[x->n_devices++];
    memset(d, 0, sizeof *d);
    w = words_of(v, len);
    words_name(&w, d->class_name, sizeof d->class_name);
    words_name(&w, d->type, sizeof d->type);
    words_text(&w, d->uuid, sizeof d->uuid);
    s->bad = !words_done(&w) || d->class_name[0] == '\0' || d->uuid[0] == '\0';
    return !s->bad;
}

static bool
scan_flag(struct scan *s, const char *key)
{
    int64_t v = need_int(s, key, strlen(key), 0);

    s->bad = s->bad || v > 1;
    return v == 1;
}

static void
scan_receipt(struct scan *s, struct journal_entry *x)
{
    struct journal_receipt *p = &x->receipt;

    text_field(s, "lease", true, x->lease, sizeof x->lease);
    text_field(s, "job", true, x->job, sizeof x->job);
    text_field(s, "boot", true, x->r.at.boot, sizeof x->r.at.boot);
    hex_field(s, "renter", p->renter.b, sizeof p->renter.b);
    hex_field(s, "offer", p->offer.b, sizeof p->offer.b);
    hex_field(s, "grant", p->grant.b, sizeof p->grant.b);
    hex_field(s, "card", p->card.b, sizeof p->card.b);
    text_field(s, "why", true, x->r.reason, sizeof x->r.reason);
    p->exit_code = NEED_INT(s, "exit", -1);
    p->signal = NEED_INT(s, "signal", 0);
    p->lost = scan_flag(s, "lost");
    text_field(s, "snapshot", false, p->snapshot, sizeof p->snapshot);
    p->kept_bytes = NEED_INT(s, "kept", 0);
    p->keep_until_wall_ns = NEED_INT(s, "keep_until", 0);
    p->keep_hold_fen = NEED_INT(s, "hold", 0);
    p->setup_s = NEED_INT(s, "setup", 0);
    p->device_s = NEED_INT(s, "device", 0);
    p->charge_fen = NEED_INT(s, "charge", 0);
}

/* Bytes that stand escaped in the record: rare kinds, so the general parser serves. */
static void
scan_blobs(struct scan *s, struct journal_entry *x)
{
    struct rec *r = NULL;
    struct err e;
    size_t len = 0;
    const char *v;

    if (s->bad ||
        rec_parse(&r, s->from, (size_t)(s->end - s->from), JOURNAL_USAGE_TYPE, &e) != 0) {
        s->bad = true;
        return;
    }
    v = rec_get_bytes(r, "offer", &len);
    if (v != NULL) {
        buf_add(&x->offer, v, len);
    }
    v = rec_get_bytes(r, "grant", &len);
    if (v != NULL) {
        buf_add(&x->grant, v, len);
    }
    v = rec_get_bytes(r, "cosign", &len);
    if (v != NULL) {
        buf_add(&x->cosign, v, len);
    }
    rec_free(r);
}

static void
need_blob(struct scan *s, const char *key)
{
    size_t len = 0;

    s->bad = s->bad || take(s, key, strlen(key), &len) == NULL || len == 0;
}

static void
scan_special(struct scan *s, struct journal_entry *x)
{
    switch (x->r.kind) {
    case JOURNAL_OPEN:
        text_field(s, "lease", true, x->lease, sizeof x->lease);
        text_field(s, "job", true, x->job, sizeof x->job);
        text_field(s, "boot", true, x->r.at.boot, sizeof x->r.at.boot);
        need_blob(s, "offer");
        need_blob(s, "grant");
        scan_blobs(s, x);
        break;
    case JOURNAL_STATE:
        text_field(s, "why", false, x->r.reason, sizeof x->r.reason);
        while (scan_device(s, x)) {
        }
        x->moved_ns = OPT_INT(s, "moved", 0);
        break;
    case JOURNAL_CHECKPOINT:
        text_field(s, "lease", true, x->lease, sizeof x->lease);
        text_field(s, "boot", true, x->r.at.boot, sizeof x->r.at.boot);
        break;
    case JOURNAL_EXTEND:
        need_blob(s, "grant");
        scan_blobs(s, x);
        break;
    case JOURNAL_COSIGN:
        need_blob(s, "cosign");
        scan_blobs(s, x);
        break;
    case JOURNAL_REOPEN:
        text_field(s, "boot", true, x->r.at.boot, sizeof x->r.at.boot);
        x->cut_bytes = NEED_INT(s, "cut", 0);
        break;
    case JOURNAL_RECEIPT:
        scan_receipt(s, x);
        break;
    case JOURNAL_NONE:
    case JOURNAL_TICK:
    case JOURNAL_KIND_COUNT:
        break;
    }
}

/* The walk stands at the line that is not what it should be. */
static int
unreadable(const struct scan *s, struct err *e)
{
    static const char family[] = "gpurun.usage.v";
    size_t line = 1;

    for (const char *p = s->from; p < s->at; p++) {
        line += *p == '\n' ? 1 : 0;
    }
    if (line == 1 && (size_t)(s->end - s->from) > sizeof family &&
        memcmp(s->from, family, sizeof family - 1) == 0) {
        return err_set(e, ERR_VERSION, "a usage record of a newer gpurun");
    }
    return err_set(e, ERR_CORRUPT, "not written as a usage record in line %zu", line);
}

int
journal_entry_parse(struct journal_entry *x, const void *data, size_t len,
                    struct sha256_ctx *hasher, struct err *e)
{
    const char *from = len > 0 ? data : "";
    struct scan s = {.from = from, .at = from, .end = from + len};

    memset(x, 0, sizeof *x);
    scan_common(&s, &x->r);
    scan_special(&s, x);
    if (journal_kind_is_signed(x->r.kind)) {
        hex_field(&s, "signer", x->signer.b, sizeof x->signer.b);
        x->signed_len = (size_t)(s.at - s.from);
        hex_field(&s, "sig", x->sig, sizeof x->sig);
    }
    if (s.bad || s.at != s.end) {
        journal_entry_clear(x);
        return unreadable(&s, e);
    }
    sha256_update(hasher, data, len);
    sha256_final(hasher, &x->r.hash);
    return 0;
}
