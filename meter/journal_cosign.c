#include <inttypes.h>
#include <string.h>

#include "base/rec.h"
#include "meter/journal_internal.h"
#include "meter/words.h"

#define COSIGN_TYPE "gpurun.cosign.v1"

static const char *const by_names[] = {
    [JOURNAL_BY_NONE] = "none",
    [JOURNAL_BY_RENTER] = "renter",
    [JOURNAL_BY_BOOK] = "book",
};

static void
encode(struct rec *r, const struct journal_cosign *c)
{
    rec_add(r, "by", by_names[c->by]);
    rec_add(r, "lease", c->lease);
    rec_add_int(r, "seq", c->seq);
    rec_add_hex(r, "hash", c->hash.b, sizeof c->hash.b);
    rec_add_int(r, "device", c->device_s);
    rec_add_int(r, "setup", c->setup_s);
}

void
journal_cosign_make(struct buf *out, enum journal_signer by, const char *lease,
                    const struct journal_point *point, const struct sign_key *key)
{
    struct journal_cosign c = {.by = by,
                               .seq = point->seq,
                               .hash = point->hash,
                               .device_s = point->device_s,
                               .setup_s = point->setup_s};
    struct rec *r = rec_new(COSIGN_TYPE);

    (void)strncpy(c.lease, lease, sizeof c.lease - 1);
    encode(r, &c);
    sign_rec(r, key);
    rec_encode(r, out);
    rec_free(r);
}

static int
parse_fields(struct journal_cosign *c, const struct rec *r, struct err *e)
{
    const char *by;
    const char *lease;

    if (rec_need_str(r, "by", &by, e) != 0 || rec_need_str(r, "lease", &lease, e) != 0 ||
        rec_need_int(r, "seq", 1, INT64_MAX, &c->seq, e) != 0 ||
        rec_need_hex(r, "hash", c->hash.b, sizeof c->hash.b, e) != 0 ||
        rec_need_count(r, "device", &c->device_s, e) != 0 ||
        rec_need_count(r, "setup", &c->setup_s, e) != 0 ||
        rec_need_hex(r, "signer", c->signer.b, sizeof c->signer.b, e) != 0) {
        return -1;
    }
    c->by = strcmp(by, by_names[JOURNAL_BY_BOOK]) == 0     ? JOURNAL_BY_BOOK
            : strcmp(by, by_names[JOURNAL_BY_RENTER]) == 0 ? JOURNAL_BY_RENTER
                                                           : JOURNAL_BY_NONE;
    if (c->by == JOURNAL_BY_NONE || !words_is_text(lease)) {
        return err_set(e, ERR_CORRUPT, "an unreadable countersignature");
    }
    (void)strcpy(c->lease, lease);
    return 0;
}

int
journal_cosign_read(struct journal_cosign *out, const void *data, size_t len,
                    bool check_signature, struct err *e)
{
    struct journal_cosign c;
    struct rec *r = NULL;
    struct rec *again = NULL;
    int rc = -1;

    memset(&c, 0, sizeof c);
    if (len > JOURNAL_COSIGN_MAX) {
        return err_set(e, ERR_CORRUPT, "a countersignature of %zu bytes", len);
    }
    if (rec_parse(&r, data, len, COSIGN_TYPE, e) != 0 || parse_fields(&c, r, e) != 0 ||
        (check_signature && sign_rec_check(r, &c.signer, e) != 0)) {
        goto out;
    }
    again = rec_new(COSIGN_TYPE);
    encode(again, &c);
    if (!sign_rec_says(r, again)) {
        err_set(e, ERR_CORRUPT, "a countersignature that is not written as one");
        goto out;
    }
    *out = c;
    rc = 0;

out:
    rec_free(r);
    rec_free(again);
    return rc;
}

int
journal_cosign_parse(struct journal_cosign *out, const void *data, size_t len,
                     struct err *e)
{
    return journal_cosign_read(out, data, len, true, e);
}

int
journal_check_cosign(const struct journal_reader *r, const struct journal_cosign *c,
                     struct err *e)
{
    const struct sign_public *want =
        c->by == JOURNAL_BY_BOOK ? &r->grant.book : &r->grant.renter;
    uint64_t n = r->n_points < JOURNAL_POINTS ? r->n_points : JOURNAL_POINTS;

    if (strcmp(c->lease, r->grant.lease) != 0 ||
        memcmp(c->signer.b, want->b, sizeof want->b) != 0) {
        return err_set(e, ERR_DENIED, "a countersignature of another lease or key");
    }
    for (uint64_t i = 0; i < n; i++) {
        const struct journal_point *p = &r->points[i];

        if (p->seq == c->seq) {
            return sha256_equal(&p->hash, &c->hash) && p->device_s == c->device_s &&
                           p->setup_s == c->setup_s
                       ? 0
                       : err_set(e, ERR_DENIED,
                                 "a countersignature of another record %" PRId64, c->seq);
        }
    }
    return err_set(e, ERR_DENIED,
                   "a countersignature of record %" PRId64
                   ", which is no recent signed point",
                   c->seq);
}

int
journal_take_cosign(struct journal_reader *r, const struct journal_entry *x,
                    struct err *e)
{
    struct journal_cosign c;

    if (journal_cosign_read(&c, x->cosign.data, x->cosign.len, r->check_all, e) != 0 ||
        journal_check_cosign(r, &c, e) != 0) {
        return -1;
    }
    /*
     * The one whose seconds count is the one whose signature is checked: not the last,
     * behind which a forged one of more seconds could hide.
     */
    if (!r->check_all && !r->known && c.device_s >= r->cosigned_s[c.by]) {
        struct buf *keep = &r->unchecked_cosign[c.by];

        buf_reset(keep);
        buf_add(keep, x->cosign.data, x->cosign.len);
    }
    if (c.device_s > r->cosigned_s[c.by]) {
        r->cosigned_s[c.by] = c.device_s;
    }
    return 0;
}

int
journal_point_parse(struct journal_point *out, char lease[GRANT_ID_MAX + 1],
                    const void *record, size_t len, const struct sign_public *host,
                    struct err *e)
{
    struct sha256_ctx *hasher = sha256_new();
    struct journal_entry x;
    int rc = -1;

    memset(&x, 0, sizeof x);
    if (len > JOURNAL_RECORD_MAX) {
        err_set(e, ERR_CORRUPT, "a record of %zu bytes", len);
        goto out;
    }
    if (journal_entry_parse(&x, record, len, hasher, e) != 0) {
        goto out;
    }
    if (!journal_kind_is_signed(x.r.kind)) {
        err_set(e, ERR_CORRUPT, "a record of kind %s is no checkpoint",
                journal_kind_name(x.r.kind));
        goto out;
    }
    if (journal_entry_check_sig(&x, record, host, e) != 0) {
        goto out;
    }
    *out = (struct journal_point){
        .seq = x.r.seq,
        .hash = x.r.hash,
        .device_s = usage_device_s(&x.r.total),
        .setup_s = usage_setup_s(&x.r.total),
        .cost_fen = x.r.cost_fen,
    };
    memcpy(lease, x.lease, sizeof x.lease);
    rc = 0;

out:
    journal_entry_clear(&x);
    sha256_free(hasher);
    return rc;
}

const struct buf *
journal_reader_signed(const struct journal_reader *r)
{
    return r->last_signed.len > 0 ? &r->last_signed : NULL;
}
