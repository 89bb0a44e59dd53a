#include "meter/keeping.h"

#include <inttypes.h>
#include <string.h>

#include "base/rec.h"
#include "meter/tariff.h"
#include "meter/wide.h"
#include "meter/words.h"

#define KEEPING_TYPE "gpurun.keeping.v1"

void
keeping_init(struct keeping *k)
{
    memset(k, 0, sizeof *k);
}

void
keeping_clear(struct keeping *k)
{
    buf_free(&k->bytes);
    keeping_init(k);
}

static int
price(struct keeping *k, struct err *e)
{
    const struct tariff_keeping s = {.paid_bytes = k->paid_bytes, .kept_s = k->kept_s};
    int64_t fen = 0;

    if (tariff_keeping(k->uyuan_per_gb_day, &s, 1, 0, &fen, e) != 0) {
        return -1;
    }
    k->charge_fen = i64_min(fen, k->hold_fen);
    return 0;
}

static int64_t
whole_seconds(int64_t from_ns, int64_t to_ns)
{
    __int128 ns = (__int128)to_ns - from_ns;

    return (int64_t)(wide_max(ns, 0) / USAGE_NS_PER_S);
}

static int
fill(struct keeping *k, const struct receipt *r, int64_t to_wall_ns, const char *reason,
     struct err *e)
{
    const struct grant *g = &r->grant;
    int64_t paid = r->kept_bytes - g->keep_free_bytes;

    if (r->keep_until_wall_ns == 0 || r->snapshot[0] == '\0') {
        return err_set(e, ERR_NOT_FOUND, "job %s left no data to keep", r->job);
    }
    keeping_init(k);
    k->host = r->host;
    k->renter = g->renter;
    (void)strcpy(k->lease, r->lease);
    (void)strcpy(k->job, r->job);
    (void)strcpy(k->snapshot, r->snapshot);
    k->receipt = r->last.hash;
    k->paid_bytes = i64_max(paid, 0);
    k->uyuan_per_gb_day = g->keep_uyuan_per_gb_day;
    k->from_wall_ns = r->made_wall_ns;
    k->to_wall_ns = i64_max(i64_min(to_wall_ns, r->keep_until_wall_ns), k->from_wall_ns);
    k->kept_s = whole_seconds(k->from_wall_ns, k->to_wall_ns);
    k->hold_fen = r->keep_hold_fen;
    (void)strcpy(k->reason, reason);
    return price(k, e);
}

static void
encode(struct rec *r, const struct keeping *k)
{
    rec_add_hex(r, "host", k->host.b, sizeof k->host.b);
    rec_add_hex(r, "renter", k->renter.b, sizeof k->renter.b);
    rec_add(r, "lease", k->lease);
    rec_add(r, "job", k->job);
    rec_add(r, "snapshot", k->snapshot);
    rec_add_hex(r, "receipt", k->receipt.b, sizeof k->receipt.b);
    rec_add_int(r, "paid", k->paid_bytes);
    rec_add_int(r, "price", k->uyuan_per_gb_day);
    rec_add_int(r, "from", k->from_wall_ns);
    rec_add_int(r, "to", k->to_wall_ns);
    rec_add_int(r, "kept", k->kept_s);
    rec_add_int(r, "hold", k->hold_fen);
    rec_add_int(r, "charge", k->charge_fen);
    rec_add(r, "why", k->reason);
}

int
keeping_make(struct keeping *k, const struct receipt *r, int64_t to_wall_ns,
             const char *reason, const struct sign_key *host, struct err *e)
{
    struct sign_public signer;
    struct rec *rec;

    if (!words_is_text(reason)) {
        return err_set(e, ERR_INVALID, "a reason that is not one word");
    }
    if (fill(k, r, to_wall_ns, reason, e) != 0) {
        return -1;
    }
    sign_key_public(host, &signer);
    if (memcmp(signer.b, k->host.b, sizeof signer.b) != 0) {
        return err_set(e, ERR_DENIED, "the receipt is another host's");
    }
    rec = rec_new(KEEPING_TYPE);
    encode(rec, k);
    sign_rec(rec, host);
    rec_encode(rec, &k->bytes);
    rec_free(rec);
    return 0;
}

int
keeping_charge_at(const struct receipt *r, int64_t to_wall_ns, int64_t *charge_fen,
                  struct err *e)
{
    struct keeping k;

    keeping_init(&k);
    if (fill(&k, r, to_wall_ns, "expired", e) != 0) {
        return -1;
    }
    *charge_fen = k.charge_fen;
    return 0;
}

static int
parse_word(const struct rec *r, const char *key, char *out, struct err *e)
{
    const char *v;

    if (rec_need_str(r, key, &v, e) != 0) {
        return -1;
    }
    if (!words_is_text(v)) {
        return err_set(e, ERR_CORRUPT, "a keeping line with an unreadable %s", key);
    }
    (void)strcpy(out, v);
    return 0;
}

static int
parse_fields(struct keeping *k, const struct rec *r, struct err *e)
{
    if (rec_need_hex(r, "host", k->host.b, sizeof k->host.b, e) != 0 ||
        rec_need_hex(r, "renter", k->renter.b, sizeof k->renter.b, e) != 0 ||
        parse_word(r, "lease", k->lease, e) != 0 ||
        parse_word(r, "job", k->job, e) != 0 ||
        parse_word(r, "snapshot", k->snapshot, e) != 0 ||
        rec_need_hex(r, "receipt", k->receipt.b, sizeof k->receipt.b, e) != 0 ||
        rec_need_count(r, "paid", &k->paid_bytes, e) != 0 ||
        rec_need_int(r, "price", 0, CARD_PRICE_MAX_UYUAN, &k->uyuan_per_gb_day, e) != 0 ||
        rec_need_int(r, "from", INT64_MIN, INT64_MAX, &k->from_wall_ns, e) != 0 ||
        rec_need_int(r, "to", INT64_MIN, INT64_MAX, &k->to_wall_ns, e) != 0 ||
        rec_need_count(r, "kept", &k->kept_s, e) != 0 ||
        rec_need_count(r, "hold", &k->hold_fen, e) != 0 ||
        rec_need_count(r, "charge", &k->charge_fen, e) != 0) {
        return -1;
    }
    return parse_word(r, "why", k->reason, e);
}

static int
check_sums(const struct keeping *k, struct err *e)
{
    struct keeping again = *k;

    if (price(&again, e) != 0) {
        return -1;
    }
    if (again.charge_fen != k->charge_fen ||
        k->kept_s != whole_seconds(k->from_wall_ns, k->to_wall_ns)) {
        return err_set(e, ERR_CORRUPT,
                       "a keeping line of %" PRId64 " fen, which should be %" PRId64,
                       k->charge_fen, again.charge_fen);
    }
    return 0;
}

int
keeping_parse(struct keeping *out, const void *data, size_t len,
              const struct sign_public *host, struct err *e)
{
    struct keeping k;
    struct sign_public signer;
    struct rec *r = NULL;
    struct rec *again = NULL;
    int rc = -1;

    keeping_init(&k);
    if (len > KEEPING_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, "a keeping line of %zu bytes", len);
    }
    if (rec_parse(&r, data, len, KEEPING_TYPE, e) != 0 ||
        sign_rec_check(r, &signer, e) != 0 || parse_fields(&k, r, e) != 0 ||
        check_sums(&k, e) != 0) {
        goto out;
    }
    again = rec_new(KEEPING_TYPE);
    encode(again, &k);
    if (!sign_rec_says(r, again) || memcmp(signer.b, k.host.b, sizeof signer.b) != 0) {
        err_set(e, ERR_CORRUPT, "a keeping line that is not written as one");
        goto out;
    }
    if (host != NULL && memcmp(host->b, k.host.b, sizeof host->b) != 0) {
        err_set(e, ERR_DENIED, "a keeping line of another host");
        goto out;
    }
    buf_add(&k.bytes, data, len);
    *out = k;
    rc = 0;

out:
    rec_free(r);
    rec_free(again);
    return rc;
}

int
keeping_check(const struct keeping *k, const struct receipt *r, struct err *e)
{
    struct keeping want;

    if (fill(&want, r, k->to_wall_ns, k->reason, e) != 0) {
        return -1;
    }
    if (!sha256_equal(&k->receipt, &want.receipt) ||
        memcmp(k->host.b, want.host.b, sizeof k->host.b) != 0 ||
        memcmp(k->renter.b, want.renter.b, sizeof k->renter.b) != 0 ||
        strcmp(k->lease, want.lease) != 0 || strcmp(k->job, want.job) != 0 ||
        strcmp(k->snapshot, want.snapshot) != 0) {
        return err_set(e, ERR_DENIED, "a keeping line of another receipt");
    }
    if (k->paid_bytes != want.paid_bytes || k->hold_fen != want.hold_fen ||
        k->uyuan_per_gb_day != want.uyuan_per_gb_day ||
        k->from_wall_ns != want.from_wall_ns || k->to_wall_ns != want.to_wall_ns ||
        k->charge_fen != want.charge_fen) {
        return err_set(e, ERR_DENIED, "a keeping line on other terms than the receipt's");
    }
    return 0;
}
