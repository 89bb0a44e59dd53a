#include "meter/grant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rec.h"
#include "meter/refuse.h"
#include "meter/tariff.h"
#include "meter/usage.h"
#include "meter/wide.h"
#include "meter/words.h"

#define GRANT_TYPE "gpurun.grant.v1"
#define UNITS_MAX  1000000

static const char *const limit_names[GRANT_LIMIT_COUNT] = {
    [GRANT_LIMIT_NONE] = "none",       [GRANT_LIMIT_COST] = "cost",
    [GRANT_LIMIT_BALANCE] = "balance", [GRANT_LIMIT_TIME] = "time",
    [GRANT_LIMIT_LEASE] = "lease",
};

const char *
grant_limit_name(enum grant_limit l)
{
    return limit_names[l];
}

static bool
limit_from_name(const char *name, enum grant_limit a, enum grant_limit b,
                enum grant_limit *out)
{
    *out = strcmp(name, limit_names[a]) == 0 ? a : b;
    return strcmp(name, limit_names[*out]) == 0;
}

void
grant_init(struct grant *g)
{
    memset(g, 0, sizeof *g);
    g->seq = 1;
    g->max_s = GRANT_NO_END;
    g->cap_why = GRANT_LIMIT_COST;
    g->end_why = GRANT_LIMIT_TIME;
    g->window_s = OFFER_WINDOW_S;
    g->keep_days = OFFER_KEEP_DAYS;
}

void
grant_clear(struct grant *g)
{
    buf_free(&g->bytes);
    grant_init(g);
}

void
grant_copy(struct grant *to, const struct grant *from)
{
    struct buf bytes = BUF_INIT;

    buf_add(&bytes, from->bytes.data, from->bytes.len);
    *to = *from;
    to->bytes = bytes;
}

int
grant_set_offer(struct grant *g, const struct offer *o, const char *class_name,
                const char *type, int64_t n_units, struct err *e)
{
    const struct offer_price *p = offer_find_price(o, class_name, type);
    struct grant_row *row;

    if (p == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the host does not offer %s %s", class_name,
                       type);
    }
    if (n_units < 1 || n_units > UNITS_MAX || g->n_rows == GRANT_ROWS_MAX) {
        return refuse(e, REFUSE_RANGE, "%" PRId64 " of %s %s", n_units, class_name, type);
    }
    row = &g->rows[g->n_rows++];
    memcpy(row->class_name, p->class_name, sizeof row->class_name);
    memcpy(row->type, p->type, sizeof row->type);
    row->n_units = n_units;
    row->uyuan_per_h = p->uyuan_per_h;
    g->host = o->host;
    g->offer = o->hash;
    g->job_uyuan = o->job_uyuan;
    g->nocard_uyuan_per_h = o->nocard_uyuan_per_h;
    g->keep_uyuan_per_gb_day = o->keep_uyuan_per_gb_day;
    g->keep_free_bytes = o->keep_free_bytes;
    g->keep_days = o->keep_days;
    g->window_s = o->window_s;
    return 0;
}

/* Rules --------------------------------------------------------------------- */

static bool
between(int64_t v, int64_t min, int64_t max)
{
    return v >= min && v <= max;
}

static __int128
burn_of(const struct grant *g)
{
    __int128 sum = 0;

    for (size_t i = 0; i < g->n_rows; i++) {
        sum += (__int128)g->rows[i].n_units * g->rows[i].uyuan_per_h;
    }
    return sum;
}

static int
check_form(const struct grant *g, struct err *e)
{
    if (!words_is_text(g->lease) || !words_is_text(g->job) ||
        !words_is_text_or_none(g->reservation)) {
        return err_set(e, ERR_INVALID, "a grant without a readable lease or job");
    }
    if (g->n_rows == 0 || g->n_rows > GRANT_ROWS_MAX) {
        return err_set(e, ERR_INVALID, "a grant of %zu rows", g->n_rows);
    }
    for (size_t i = 0; i < g->n_rows; i++) {
        const struct grant_row *r = &g->rows[i];

        if (!words_is_name(r->class_name) || !words_is_name_or_none(r->type) ||
            !between(r->n_units, 1, UNITS_MAX) ||
            !between(r->uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN)) {
            return err_set(e, ERR_INVALID, "a grant with an impossible row");
        }
    }
    if (g->seq < 1 || g->cap_fen < 0 || g->keep_free_bytes < 0 ||
        !between(g->job_uyuan, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(g->nocard_uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(g->keep_uyuan_per_gb_day, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(g->keep_days, 0, OFFER_KEEP_DAYS_MAX) ||
        !between(g->window_s, 0, OFFER_WINDOW_MAX_S) ||
        (g->max_s != GRANT_NO_END && !between(g->max_s, 1, GRANT_MAX_S)) ||
        burn_of(g) > GRANT_BURN_MAX_UYUAN) {
        return err_set(e, ERR_INVALID, "a grant with a term out of range");
    }
    return 0;
}

static bool
same_key(const struct sign_public *a, const struct sign_public *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

static int
check_rows(const struct grant *g, const struct offer *o, struct err *e)
{
    for (size_t i = 0; i < g->n_rows; i++) {
        const struct grant_row *r = &g->rows[i];
        const struct offer_price *p = offer_find_price(o, r->class_name, r->type);
        bool reserved = g->reservation[0] != '\0' && r->uyuan_per_h == 0;

        if (p == NULL) {
            return err_set(e, ERR_DENIED, "%s %s is not offered", r->class_name, r->type);
        }
        if (p->uyuan_per_h != r->uyuan_per_h && !reserved) {
            return err_set(e, ERR_DENIED,
                           "%s %s at %" PRId64 " micro-yuan, offered at %" PRId64,
                           r->class_name, r->type, r->uyuan_per_h, p->uyuan_per_h);
        }
    }
    if (g->job_uyuan != o->job_uyuan || g->nocard_uyuan_per_h != o->nocard_uyuan_per_h ||
        g->keep_uyuan_per_gb_day != o->keep_uyuan_per_gb_day ||
        g->keep_free_bytes > o->keep_free_bytes || g->keep_days != o->keep_days) {
        return err_set(e, ERR_DENIED, "the grant's prices are not the offer's");
    }
    return 0;
}

static bool
book_accepted(const struct grant *g, const struct offer *o)
{
    if (same_key(&g->book, &g->renter)) {
        return o->own_book;
    }
    for (size_t i = 0; i < o->n_books; i++) {
        if (same_key(&o->books[i], &g->book)) {
            return true;
        }
    }
    return false;
}

int
grant_check_terms(const struct grant *g, const struct offer *o, struct err *e)
{
    char id[SIGN_ID_LEN + 1];

    if (!same_key(&g->host, &o->host)) {
        return err_set(e, ERR_DENIED, "the grant is for another host");
    }
    if (!sha256_equal(&g->offer, &o->hash)) {
        return err_set(e, ERR_DENIED, "the grant is for another offer");
    }
    sign_public_id(&g->renter, id);
    if (o->renter[0] != '\0' && strcmp(o->renter, id) != 0) {
        return err_set(e, ERR_DENIED, "the offer was made for another renter");
    }
    if (!book_accepted(g, o)) {
        return err_set(e, ERR_DENIED, "the owner does not accept the book that signed");
    }
    if (g->window_s > o->window_max_s) {
        return err_set(e, ERR_DENIED, "a stop window of %" PRId64 " s, at most %" PRId64,
                       g->window_s, o->window_max_s);
    }
    return check_rows(g, o, e);
}

int
grant_check(const struct grant *g, const struct offer *o,
            const struct sign_public *renter_key, int64_t now_wall_ns, struct err *e)
{
    if (grant_check_terms(g, o, e) != 0) {
        return -1;
    }
    if (!same_key(&g->renter, renter_key)) {
        return err_set(e, ERR_DENIED, "the grant is another renter's");
    }
    if (now_wall_ns > g->until_wall_ns || now_wall_ns > o->until_wall_ns) {
        return err_set(e, ERR_DENIED, "the grant or its offer has expired");
    }
    return 0;
}

/* Everything that no extension may touch, in one text to compare. */
static void
encode_frozen(struct rec *r, const struct grant *g)
{
    rec_add(r, "lease", g->lease);
    rec_add(r, "job", g->job);
    rec_add_hex(r, "renter", g->renter.b, sizeof g->renter.b);
    rec_add_hex(r, "host", g->host.b, sizeof g->host.b);
    rec_add_hex(r, "offer", g->offer.b, sizeof g->offer.b);
    for (size_t i = 0; i < g->n_rows; i++) {
        struct buf b = BUF_INIT;

        words_add(&b, g->rows[i].class_name);
        words_add(&b, g->rows[i].type);
        words_add_int(&b, g->rows[i].n_units);
        words_add_int(&b, g->rows[i].uyuan_per_h);
        rec_add_bytes(r, "row", b.data, b.len);
        buf_free(&b);
    }
    rec_add_int(r, "job_price", g->job_uyuan);
    rec_add_int(r, "nocard", g->nocard_uyuan_per_h);
    rec_add_int(r, "keep", g->keep_uyuan_per_gb_day);
    rec_add_int(r, "quota", g->keep_free_bytes);
    rec_add_int(r, "keep_days", g->keep_days);
    rec_add_int(r, "window", g->window_s);
    if (g->reservation[0] != '\0') {
        rec_add(r, "reservation", g->reservation);
    }
}

void
grant_terms(const struct grant *g, struct sha256 *out)
{
    struct rec *r = rec_new(GRANT_TYPE);
    struct buf b = BUF_INIT;

    encode_frozen(r, g);
    rec_encode(r, &b);
    sha256_of(b.data, b.len, out);
    rec_free(r);
    buf_free(&b);
}

int
grant_check_extends(const struct grant *g, const struct grant *next, struct err *e)
{
    struct rec *a = rec_new(GRANT_TYPE);
    struct rec *b = rec_new(GRANT_TYPE);
    struct buf x = BUF_INIT;
    struct buf y = BUF_INIT;
    bool same;

    encode_frozen(a, g);
    encode_frozen(b, next);
    rec_encode(a, &x);
    rec_encode(b, &y);
    same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0 &&
           same_key(&g->book, &next->book);
    rec_free(a);
    rec_free(b);
    buf_free(&x);
    buf_free(&y);
    if (!same) {
        return err_set(e, ERR_DENIED, "an extension may change only cap and end");
    }
    if (next->seq <= g->seq) {
        return err_set(e, ERR_DENIED, "an extension numbered %" PRId64 " after %" PRId64,
                       next->seq, g->seq);
    }
    if (next->cap_fen < g->cap_fen || next->max_s < g->max_s) {
        return err_set(e, ERR_DENIED, "an extension that takes away");
    }
    return 0;
}

/* Bytes --------------------------------------------------------------------- */

static void
encode(struct rec *r, const struct grant *g)
{
    rec_add_int(r, "seq", g->seq);
    encode_frozen(r, g);
    rec_add_int(r, "cap", g->cap_fen);
    rec_add(r, "cap_why", limit_names[g->cap_why]);
    if (g->max_s != GRANT_NO_END) {
        rec_add_int(r, "max_s", g->max_s);
    }
    rec_add(r, "end_why", limit_names[g->end_why]);
    rec_add_int(r, "until", g->until_wall_ns);
    rec_add_int(r, "made", g->made_wall_ns);
}

int
grant_sign(struct grant *g, const struct sign_key *book, struct err *e)
{
    struct rec *r;

    if (check_form(g, e) != 0) {
        return -1;
    }
    sign_key_public(book, &g->book);
    r = rec_new(GRANT_TYPE);
    encode(r, g);
    sign_rec(r, book);
    buf_reset(&g->bytes);
    rec_encode(r, &g->bytes);
    rec_free(r);
    sha256_of(g->bytes.data, g->bytes.len, &g->hash);
    return 0;
}

static int
parse_word(const struct rec *r, const char *key, char *out, struct err *e)
{
    const char *v;

    if (rec_need_str(r, key, &v, e) != 0) {
        return -1;
    }
    if (strlen(v) > GRANT_ID_MAX) {
        return err_set(e, ERR_CORRUPT, "a grant with an overlong %s", key);
    }
    (void)strcpy(out, v);
    return 0;
}

static int
parse_rows(struct grant *g, const struct rec *r, struct err *e)
{
    size_t n = rec_count(r, "row");

    if (n > GRANT_ROWS_MAX) {
        return err_set(e, ERR_CORRUPT, "a grant of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *v = rec_get_nth(r, "row", i, &len);
        struct words w = words_of(v, len);
        struct grant_row *row = &g->rows[i];

        words_name(&w, row->class_name, sizeof row->class_name);
        words_name(&w, row->type, sizeof row->type);
        row->n_units = words_count(&w);
        row->uyuan_per_h = words_count(&w);
        if (!words_done(&w)) {
            return err_set(e, ERR_CORRUPT, "a grant with an unreadable row");
        }
    }
    g->n_rows = n;
    return 0;
}

static int
parse_limits(struct grant *g, const struct rec *r, struct err *e)
{
    const char *cap_why;
    const char *end_why;

    if (rec_need_str(r, "cap_why", &cap_why, e) != 0 ||
        rec_need_str(r, "end_why", &end_why, e) != 0) {
        return -1;
    }
    if (!limit_from_name(cap_why, GRANT_LIMIT_COST, GRANT_LIMIT_BALANCE, &g->cap_why) ||
        !limit_from_name(end_why, GRANT_LIMIT_TIME, GRANT_LIMIT_LEASE, &g->end_why)) {
        return err_set(e, ERR_CORRUPT, "a grant with an unknown limit");
    }
    return 0;
}

static int
parse_fields(struct grant *g, const struct rec *r, struct err *e)
{
    if (rec_need_count(r, "seq", &g->seq, e) != 0 ||
        parse_word(r, "lease", g->lease, e) != 0 ||
        parse_word(r, "job", g->job, e) != 0 ||
        rec_need_hex(r, "renter", g->renter.b, sizeof g->renter.b, e) != 0 ||
        rec_need_hex(r, "host", g->host.b, sizeof g->host.b, e) != 0 ||
        rec_need_hex(r, "offer", g->offer.b, sizeof g->offer.b, e) != 0 ||
        parse_rows(g, r, e) != 0 ||
        rec_need_count(r, "job_price", &g->job_uyuan, e) != 0 ||
        rec_need_count(r, "nocard", &g->nocard_uyuan_per_h, e) != 0 ||
        rec_need_count(r, "keep", &g->keep_uyuan_per_gb_day, e) != 0 ||
        rec_need_count(r, "quota", &g->keep_free_bytes, e) != 0 ||
        rec_need_count(r, "keep_days", &g->keep_days, e) != 0 ||
        rec_need_count(r, "window", &g->window_s, e) != 0) {
        return -1;
    }
    if (rec_has(r, "reservation") &&
        parse_word(r, "reservation", g->reservation, e) != 0) {
        return -1;
    }
    if (rec_need_count(r, "cap", &g->cap_fen, e) != 0 ||
        (rec_has(r, "max_s") && rec_need_count(r, "max_s", &g->max_s, e) != 0) ||
        rec_need_count(r, "until", &g->until_wall_ns, e) != 0 ||
        rec_need_count(r, "made", &g->made_wall_ns, e) != 0) {
        return -1;
    }
    return parse_limits(g, r, e);
}

typedef int signer_fn(const struct rec *r, struct sign_public *by, struct err *e);

static int
parse(struct grant *out, const void *data, size_t len, signer_fn *signer_of,
      struct err *e)
{
    struct grant g;
    struct rec *r = NULL;
    struct rec *again = NULL;
    int rc = -1;

    grant_init(&g);
    if (len > GRANT_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "a grant of %zu bytes", len);
        goto out;
    }
    if (rec_parse(&r, data, len, GRANT_TYPE, e) != 0 || signer_of(r, &g.book, e) != 0 ||
        parse_fields(&g, r, e) != 0 || check_form(&g, e) != 0) {
        goto out;
    }
    again = rec_new(GRANT_TYPE);
    encode(again, &g);
    if (!sign_rec_says(r, again)) {
        err_set(e, ERR_CORRUPT, "a grant that is not written as one");
        goto out;
    }
    buf_add(&g.bytes, data, len);
    sha256_of(data, len, &g.hash);
    *out = g;
    rc = 0;

out:
    rec_free(r);
    rec_free(again);
    return rc;
}

int
grant_parse(struct grant *out, const void *data, size_t len, struct err *e)
{
    return parse(out, data, len, sign_rec_check, e);
}

int
grant_parse_known(struct grant *out, const void *data, size_t len, struct err *e)
{
    return parse(out, data, len, sign_rec_signer, e);
}

/* Money --------------------------------------------------------------------- */

int64_t
grant_burn_uyuan_per_h(const struct grant *g)
{
    return (int64_t)burn_of(g); /* check_form has bounded it */
}

int64_t
grant_billed_window_s(const struct grant *g)
{
    return i64_max(g->window_s - USAGE_FREE_STOP_S, 0);
}

__int128
grant_cost(const struct grant *g, int64_t setup_s, int64_t device_s)
{
    __int128 cost = (__int128)g->nocard_uyuan_per_h * setup_s +
                    (__int128)grant_burn_uyuan_per_h(g) * device_s;

    /* The price per job is owed once the job had a whole second of its device. */
    return device_s > 0 ? cost + (__int128)g->job_uyuan * 3600 : cost;
}

int64_t
grant_charge(const struct grant *g, int64_t setup_s, int64_t device_s)
{
    __int128 cost = grant_cost(g, setup_s, device_s);
    __int128 fen = wide_floor_div(cost, TARIFF_COST_PER_FEN);

    fen = cost > 0 ? wide_max(fen, TARIFF_MIN_FEN) : 0;
    return (int64_t)wide_min(fen, g->cap_fen);
}

int64_t
grant_keep_hold(const struct grant *g, int64_t held_bytes)
{
    int64_t paid = i64_max(held_bytes - g->keep_free_bytes, 0);
    int64_t fen = 0;
    struct err e;

    if (tariff_keeping_hold(g->keep_uyuan_per_gb_day, paid,
                            g->keep_days * TARIFF_S_PER_DAY, &fen, &e) != 0) {
        return INT64_MAX; /* more than any cap covers */
    }
    return fen;
}

int64_t
grant_max_device_s(const struct grant *g, int64_t setup_s, int64_t keep_fen)
{
    __int128 budget = (__int128)g->cap_fen - keep_fen;
    __int128 burn = grant_burn_uyuan_per_h(g);
    __int128 left =
        budget * TARIFF_COST_PER_FEN - grant_cost(g, setup_s, grant_billed_window_s(g));

    /* The window may be 0 s long: the price per job is owed all the same. */
    if (grant_billed_window_s(g) == 0) {
        left -= (__int128)g->job_uyuan * 3600;
    }
    if (left < 0) {
        return 0;
    }
    return burn == 0 ? INT64_MAX : wide_clamp64(wide_floor_div(left, burn));
}

int
grant_default_cap(const struct grant *g, int64_t keep_bytes, int64_t *cap_fen,
                  struct err *e)
{
    __int128 fen;

    if (g->max_s == GRANT_NO_END) {
        return err_set(e, ERR_INVALID, "a lease without an end has no price");
    }
    fen = wide_ceil_div(grant_cost(g, 0, g->max_s + grant_billed_window_s(g)),
                        TARIFF_COST_PER_FEN);
    fen += grant_keep_hold(g, keep_bytes);
    if (!wide_fits64(fen)) {
        return refuse(e, REFUSE_RANGE, "the price of the whole lease");
    }
    *cap_fen = (int64_t)fen;
    return 0;
}
