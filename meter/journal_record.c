/*
 * One record of the journal, written and read. Ticks are nearly all of a journal, so
 * reading is one strict walk over the fields in their order, without a struct rec;
 * what it accepts is exactly what journal_entry_encode writes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rec.h"
#include "meter/journal_internal.h"
#include "meter/words.h"

#define USAGE_TYPE   "gpurun.usage.v1"
#define RECEIPT_TYPE "gpurun.receipt.v1"

static const char *const kind_names[JOURNAL_KIND_COUNT] = {
    [JOURNAL_NONE] = "none",
    [JOURNAL_OPEN] = "open",
    [JOURNAL_TICK] = "tick",
    [JOURNAL_STATE] = "state",
    [JOURNAL_CHECKPOINT] = "checkpoint",
    [JOURNAL_EXTEND] = "extend",
    [JOURNAL_COSIGN] = "cosign",
    [JOURNAL_REOPEN] = "reopen",
    [JOURNAL_RECEIPT] = "receipt",
};

const char *
journal_kind_name(enum journal_kind k)
{
    return kind_names[k];
}

bool
journal_kind_is_signed(enum journal_kind k)
{
    return k == JOURNAL_CHECKPOINT || k == JOURNAL_RECEIPT;
}

void
journal_entry_clear(struct journal_entry *x)
{
    buf_free(&x->offer);
    buf_free(&x->grant);
    buf_free(&x->cosign);
    free(x->devices);
    memset(x, 0, sizeof *x);
}

/* Frames -------------------------------------------------------------------- */

void
journal_frame_head(char out[JOURNAL_FRAME_HEAD + 1], const void *record, size_t len)
{
    (void)snprintf(out, JOURNAL_FRAME_HEAD + 1, "#%08zx %08" PRIx32 "\n", len,
                   crc32c(0, record, len));
}

static bool
parse_hex32(const char *s, uint32_t *out)
{
    uint8_t b[4];

    if (!hex_parse(s, 8, b, sizeof b)) {
        return false;
    }
    *out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return true;
}

int
journal_frame_parse(const void *head, size_t *len, uint32_t *crc, struct err *e)
{
    const char *s = head;
    uint32_t n;

    if (s[0] != '#' || s[9] != ' ' || s[18] != '\n' || !parse_hex32(s + 1, &n) ||
        !parse_hex32(s + 10, crc)) {
        return err_set(e, ERR_CORRUPT, "no frame begins here");
    }
    if (n == 0 || n > JOURNAL_RECORD_MAX) {
        return err_set(e, ERR_CORRUPT, "a frame of %" PRIu32 " bytes", n);
    }
    *len = n;
    return 0;
}

/* Writing ------------------------------------------------------------------- */

static void
encode_totals(struct rec *r, const struct usage_totals *t)
{
    struct buf b = BUF_INIT;

    for (int s = USAGE_NONE + 1; s < USAGE_STATE_COUNT; s++) {
        if (t->ns[s] != 0) {
            buf_printf(&b, "%s%s:%" PRId64, b.len > 0 ? " " : "",
                       usage_state_name((enum usage_state)s), t->ns[s]);
        }
    }
    if (b.len > 0) {
        rec_add_bytes(r, "ns", b.data, b.len);
    }
    buf_free(&b);
}

static void
encode_common(struct rec *r, const struct journal_record *c)
{
    rec_add(r, "kind", kind_names[c->kind]);
    rec_add_int(r, "seq", c->seq);
    rec_addf(r, "at", "%" PRId64 " %" PRId64 " %" PRId64, c->at.mono_ns, c->at.boot_ns,
             c->at.wall_ns);
    rec_add(r, "state", usage_state_name(c->state));
    encode_totals(r, &c->total);
    if (c->busy_ns >= 0) {
        rec_add_int(r, "busy", c->busy_ns);
    }
    if (c->held_bytes != 0) {
        rec_add_int(r, "held", c->held_bytes);
    }
    if (c->keep_fen != 0) {
        rec_add_int(r, "keep", c->keep_fen);
    }
    if (c->drawn_fen != 0) {
        rec_add_int(r, "drawn", c->drawn_fen);
    }
    rec_add_int(r, "cost", c->cost_fen);
    rec_add_hex(r, "prev", c->prev.b, sizeof c->prev.b);
}

static void
encode_state(struct rec *r, const struct journal_entry *x)
{
    if (x->r.reason[0] != '\0') {
        rec_add(r, "why", x->r.reason);
    }
    for (size_t i = 0; i < x->n_devices; i++) {
        struct buf b = BUF_INIT;

        words_add(&b, x->devices[i].class_name);
        words_add(&b, x->devices[i].type);
        words_add(&b, x->devices[i].uuid);
        rec_add_bytes(r, "device", b.data, b.len);
        buf_free(&b);
    }
    if (x->moved_ns != 0) {
        rec_add_int(r, "moved", x->moved_ns);
    }
}

static void
encode_receipt(struct rec *r, const struct journal_entry *x)
{
    const struct journal_receipt *p = &x->receipt;

    rec_add(r, "lease", x->lease);
    rec_add(r, "job", x->job);
    rec_add(r, "boot", x->r.at.boot);
    rec_add_hex(r, "renter", p->renter.b, sizeof p->renter.b);
    rec_add_hex(r, "offer", p->offer.b, sizeof p->offer.b);
    rec_add_hex(r, "grant", p->grant.b, sizeof p->grant.b);
    rec_add_hex(r, "card", p->card.b, sizeof p->card.b);
    rec_add(r, "why", x->r.reason);
    rec_add_int(r, "exit", p->exit_code);
    rec_add_int(r, "signal", p->signal);
    rec_add_int(r, "lost", p->lost ? 1 : 0);
    if (p->snapshot[0] != '\0') {
        rec_add(r, "snapshot", p->snapshot);
    }
    rec_add_int(r, "kept", p->kept_bytes);
    rec_add_int(r, "keep_until", p->keep_until_wall_ns);
    rec_add_int(r, "hold", p->keep_hold_fen);
    rec_add_int(r, "setup", p->setup_s);
    rec_add_int(r, "device", p->device_s);
    rec_add_int(r, "charge", p->charge_fen);
}

static void
encode_special(struct rec *r, const struct journal_entry *x)
{
    switch (x->r.kind) {
    case JOURNAL_OPEN:
        rec_add(r, "lease", x->lease);
        rec_add(r, "job", x->job);
        rec_add(r, "boot", x->r.at.boot);
        rec_add_bytes(r, "offer", x->offer.data, x->offer.len);
        rec_add_bytes(r, "grant", x->grant.data, x->grant.len);
        break;
    case JOURNAL_STATE:
        encode_state(r, x);
        break;
    case JOURNAL_CHECKPOINT:
        rec_add(r, "lease", x->lease);
        rec_add(r, "boot", x->r.at.boot);
        break;
    case JOURNAL_EXTEND:
        rec_add_bytes(r, "grant", x->grant.data, x->grant.len);
        break;
    case JOURNAL_COSIGN:
        rec_add_bytes(r, "cosign", x->cosign.data, x->cosign.len);
        break;
    case JOURNAL_REOPEN:
        rec_add(r, "boot", x->r.at.boot);
        rec_add_int(r, "cut", x->cut_bytes);
        break;
    case JOURNAL_RECEIPT:
        encode_receipt(r, x);
        break;
    case JOURNAL_NONE:
    case JOURNAL_TICK:
    case JOURNAL_KIND_COUNT:
        break;
    }
}

void
journal_entry_encode(struct journal_entry *x, const struct sign_key *key, struct buf *out)
{
    struct rec *r = rec_new(x->r.kind == JOURNAL_RECEIPT ? RECEIPT_TYPE : USAGE_TYPE);
    size_t from = out->len;

    encode_common(r, &x->r);
    encode_special(r, x);
    if (journal_kind_is_signed(x->r.kind)) {
        sign_rec(r, key);
    }
    rec_encode(r, out);
    sha256_of(out->data + from, out->len - from, &x->r.hash);
    rec_free(r);
}

/* Reading ------------------------------------------------------------------- */

struct scan {
    const char *from;
    const char *at;
    const char *end;
    bool bad;
};

/* The value of the next line if its key is this one; the line is then behind. */
static const char *
take(struct scan *s, const char *key, size_t key_len, size_t *len)
{
    size_t left = (size_t)(s->end - s->at);
    const char *value;
    const char *lf;

    if (s->bad || left < key_len + 2 || s->at[key_len] != '=' ||
        memcmp(s->at, key, key_len) != 0) {
        return NULL;
    }
    value = s->at + key_len + 1;
    lf = memchr(value, '\n', left - key_len - 1);
    if (lf == NULL) {
        s->bad = true;
        return NULL;
    }
    *len = (size_t)(lf - value);
    s->at = lf + 1;
    return value;
}

#define TAKE(s, key, len) take(s, key, sizeof(key) - 1, len)

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

#define NEED_INT(s, key, min) need_int(s, key, sizeof(key) - 1, min)
/* Absent is nothing; present must be more than `nothing`. */
#define OPT_INT(s, key, nothing) opt_int(s, key, sizeof(key) - 1, nothing)

static int64_t
need_int(struct scan *s, const char *key, size_t key_len, int64_t min)
{
    size_t len = 0;
    const char *v = take(s, key, key_len, &len);

    return to_int(s, v, len, min);
}

static int64_t
opt_int(struct scan *s, const char *key, size_t key_len, int64_t nothing)
{
    size_t len = 0;
    const char *v = take(s, key, key_len, &len);

    return v == NULL ? nothing : to_int(s, v, len, nothing + 1);
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
        if (strlen(kind_names[k]) == len && memcmp(kind_names[k], v, len) == 0) {
            return (enum journal_kind)k;
        }
    }
    return JOURNAL_NONE;
}

static void
scan_type(struct scan *s, struct journal_record *r)
{
    static const char usage[] = USAGE_TYPE "\n";
    static const char receipt[] = RECEIPT_TYPE "\n";
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
    struct words w;

    scan_type(s, r);
    r->seq = NEED_INT(s, "seq", 1);
    v = TAKE(s, "at", &len);
    w = words_of(v != NULL ? v : "", len);
    r->at.mono_ns = words_count(&w);
    r->at.boot_ns = words_count(&w);
    r->at.wall_ns = words_int(&w, INT64_MIN, INT64_MAX);
    s->bad = s->bad || v == NULL || !words_done(&w);
    v = TAKE(s, "state", &len);
    r->state = v == NULL ? USAGE_NONE : usage_state_from_name(v, len);
    s->bad = s->bad || r->state == USAGE_NONE;
    scan_totals(s, &r->total);
    r->busy_ns = OPT_INT(s, "busy", -1);
    r->held_bytes = OPT_INT(s, "held", 0);
    r->keep_fen = OPT_INT(s, "keep", 0);
    r->drawn_fen = OPT_INT(s, "drawn", 0);
    r->cost_fen = NEED_INT(s, "cost", 0);
    hex_field(s, "prev", r->prev.b, sizeof r->prev.b);
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
        rec_parse(&r, s->from, (size_t)(s->end - s->from), USAGE_TYPE, &e) != 0) {
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

int
journal_entry_check_sig(const struct journal_entry *x, const void *data,
                        const struct sign_public *host, struct err *e)
{
    return sign_check(host, data, x->signed_len, x->sig, e);
}
