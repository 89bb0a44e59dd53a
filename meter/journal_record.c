/* One record of the journal and its frame, written; journal_scan.c reads it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rec.h"
#include "meter/journal_internal.h"
#include "meter/words.h"

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
journal_entry_release(struct journal_entry *x)
{
    buf_free(&x->offer);
    buf_free(&x->grant);
    buf_free(&x->cosign);
    free(x->devices);
}

void
journal_entry_clear(struct journal_entry *x)
{
    journal_entry_release(x);
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
    struct rec *r =
        rec_new(x->r.kind == JOURNAL_RECEIPT ? JOURNAL_RECEIPT_TYPE : JOURNAL_USAGE_TYPE);
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

int
journal_entry_check_sig(const struct journal_entry *x, const void *data,
                        const struct sign_public *host, struct err *e)
{
    return sign_check(host, data, x->signed_len, x->sig, e);
}
