#include "meter/offer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meter/card_internal.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "meter/tariff.h"
#include "meter/words.h"

#define OFFER_TYPE       "gpurun.offer.v1"
#define OFFER_PRICES_MAX 4096
#define UNITS_MAX        1000000

struct offer *
offer_new(void)
{
    struct offer *o = xcalloc(1, sizeof *o);

    o->free = true;
    o->window_s = OFFER_WINDOW_S;
    o->window_max_s = OFFER_WINDOW_MAX_S;
    o->free_preempt_s = USAGE_FREE_PREEMPT_S;
    o->keep_days = OFFER_KEEP_DAYS;
    o->level_bps = TARIFF_BPS_ONE;
    o->level_until_s = CARD_FOREVER;
    o->own_book = true;
    return o;
}

void
offer_free(struct offer *o)
{
    if (o != NULL) {
        free(o->devices);
        free(o->prices);
        free(o->plans);
        free(o->books);
        buf_free(&o->bytes);
        free(o);
    }
}

void
offer_add_device(struct offer *o, const struct offer_device *d)
{
    *(struct offer_device *)CARD_GROW(o->devices, o->n_devices) = *d;
}

void
offer_add_book(struct offer *o, const struct sign_public *book)
{
    *(struct sign_public *)CARD_GROW(o->books, o->n_books) = *book;
}

static bool
in_force(int64_t from_s, int64_t to_s, int64_t at_s)
{
    return from_s <= at_s && (at_s < to_s || to_s == CARD_FOREVER);
}

static int
add_price(struct offer *o, const struct card_price *p, struct err *e)
{
    struct offer_price row = {.list_uyuan_per_h = p->price_uyuan};

    if (tariff_eff_price(p->price_uyuan, o->level_bps, &row.uyuan_per_h, e) != 0) {
        return -1;
    }
    memcpy(row.class_name, p->class_name, sizeof row.class_name);
    memcpy(row.type, p->type, sizeof row.type);
    *(struct offer_price *)CARD_GROW(o->prices, o->n_prices) = row;
    return 0;
}

static int
set_level(struct offer *o, const struct card *c, const struct card_member *member,
          struct err *e)
{
    const struct card_level *l = card_find_level(c, member->level);

    if (l == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the rate card has no level '%.32s'",
                       member->level);
    }
    memcpy(o->level, l->name, sizeof o->level);
    memcpy(o->renter, member->renter, sizeof member->renter);
    o->level_bps = l->bps;
    o->level_until_s = member->to_s;
    return 0;
}

int
offer_set_card(struct offer *o, const struct card *c, const struct card_member *member,
               int64_t at_s, struct err *e)
{
    size_t n;
    const struct card_price *p = card_prices(c, &n);
    const struct card_plan *plans;
    const struct offer_price *cpu;

    if (member != NULL && set_level(o, c, member, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (!in_force(p[i].from_s, p[i].to_s, at_s) ||
            p[i].price_uyuan == CARD_WITHDRAWN) {
            continue;
        }
        if (p[i].unit == CARD_UNIT_GB_DAY) {
            o->keep_uyuan_per_gb_day = p[i].price_uyuan;
        } else if (p[i].unit == CARD_UNIT_JOB) {
            o->job_uyuan = p[i].price_uyuan;
        } else if (add_price(o, &p[i], e) != 0) {
            return -1;
        }
    }
    plans = card_plans(c, &n);
    for (size_t i = 0; i < n; i++) {
        if (in_force(plans[i].from_s, plans[i].to_s, at_s)) {
            *(struct card_plan *)CARD_GROW(o->plans, o->n_plans) = plans[i];
        }
    }
    card_hash(c, &o->card);
    o->free = card_is_free(c);
    o->keep_free_bytes = card_quota(c);
    cpu = offer_find_price(o, "cpu", "");
    o->nocard_uyuan_per_h = cpu != NULL ? cpu->uyuan_per_h : 0;
    return 0;
}

const struct offer_price *
offer_find_price(const struct offer *o, const char *class_name, const char *type)
{
    for (size_t i = 0; i < o->n_prices; i++) {
        if (strcmp(o->prices[i].class_name, class_name) == 0 &&
            strcmp(o->prices[i].type, type) == 0) {
            return &o->prices[i];
        }
    }
    return NULL;
}

/* An owner who asks nothing still has a row for each thing, so that all goes one way. */
static void
add_free_prices(struct offer *o)
{
    o->n_prices = 0;
    for (size_t i = 0; i < o->n_devices; i++) {
        const struct offer_device *d = &o->devices[i];

        if (offer_find_price(o, d->class_name, d->type) == NULL) {
            struct offer_price *p = CARD_GROW(o->prices, o->n_prices);

            memcpy(p->class_name, d->class_name, sizeof p->class_name);
            memcpy(p->type, d->type, sizeof p->type);
        }
    }
}

/* Rules --------------------------------------------------------------------- */

static bool
between(int64_t v, int64_t min, int64_t max)
{
    return v >= min && v <= max;
}

static int
check_lists(const struct offer *o, struct err *e)
{
    int64_t eff = 0;

    if (o->n_devices > OFFER_DEVICES_MAX || o->n_prices > OFFER_PRICES_MAX ||
        o->n_plans > CARD_ROWS_MAX || o->n_books > OFFER_BOOKS_MAX) {
        return err_set(e, ERR_INVALID, "an offer of too many rows");
    }
    for (size_t i = 0; i < o->n_devices; i++) {
        const struct offer_device *d = &o->devices[i];

        if (!words_is_name(d->class_name) || !words_is_name_or_none(d->type) ||
            !words_is_text_or_none(d->uuid) || d->mem_bytes < 0 ||
            !between(d->n_units, 1, UNITS_MAX)) {
            return err_set(e, ERR_INVALID, "an offer with an impossible device");
        }
    }
    for (size_t i = 0; i < o->n_prices; i++) {
        const struct offer_price *p = &o->prices[i];

        if (!words_is_name(p->class_name) || !words_is_name_or_none(p->type) ||
            !between(p->list_uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN) ||
            offer_find_price(o, p->class_name, p->type) != p ||
            (o->free && p->list_uyuan_per_h != 0)) {
            return err_set(e, ERR_INVALID, "an offer with an impossible price");
        }
        if (tariff_eff_price(p->list_uyuan_per_h, o->level_bps, &eff, e) != 0) {
            return -1;
        }
        if (eff != p->uyuan_per_h) {
            return err_set(e, ERR_INVALID,
                           "an offer whose price is not list price x level");
        }
    }
    return 0;
}

static int
check(const struct offer *o, struct err *e)
{
    if (!words_is_text_or_none(o->arch) || !words_is_text_or_none(o->isolation) ||
        !words_is_text_or_none(o->renter) || !words_is_name_or_none(o->level)) {
        return err_set(e, ERR_INVALID, "an offer with an unreadable word");
    }
    if (!between(o->window_s, 0, o->window_max_s) ||
        !between(o->window_max_s, 0, OFFER_WINDOW_MAX_S) ||
        !between(o->free_preempt_s, 0, TARIFF_S_PER_DAY) ||
        !between(o->keep_uyuan_per_gb_day, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(o->keep_days, 0, OFFER_KEEP_DAYS_MAX) || o->keep_free_bytes < 0 ||
        !between(o->job_uyuan, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(o->nocard_uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN) ||
        !between(o->level_bps, 0, TARIFF_BPS_ONE) ||
        (o->level[0] == '\0' && o->level_bps != TARIFF_BPS_ONE)) {
        return err_set(e, ERR_INVALID, "an offer with a term out of range");
    }
    return check_lists(o, e);
}

/* Bytes --------------------------------------------------------------------- */

static void
add_word(struct rec *r, const char *key, const char *value)
{
    if (value[0] != '\0') {
        rec_add(r, key, value);
    }
}

static void
add_buf(struct rec *r, const char *key, struct buf *b)
{
    rec_add_bytes(r, key, b->data, b->len);
    buf_free(b);
}

static void
encode_terms(struct rec *r, const struct offer *o)
{
    rec_add_hex(r, "host", o->host.b, sizeof o->host.b);
    rec_add_int(r, "made", o->made_wall_ns);
    rec_add_int(r, "until", o->until_wall_ns);
    rec_add_hex(r, "card", o->card.b, sizeof o->card.b);
    rec_add_int(r, "free", o->free ? 1 : 0);
    add_word(r, "arch", o->arch);
    add_word(r, "isolation", o->isolation);
    rec_add_int(r, "window", o->window_s);
    rec_add_int(r, "window_max", o->window_max_s);
    rec_add_int(r, "free_preempt", o->free_preempt_s);
    rec_add_int(r, "keep", o->keep_uyuan_per_gb_day);
    rec_add_int(r, "quota", o->keep_free_bytes);
    rec_add_int(r, "keep_days", o->keep_days);
    rec_add_int(r, "job", o->job_uyuan);
    rec_add_int(r, "nocard", o->nocard_uyuan_per_h);
    add_word(r, "renter", o->renter);
    if (o->level[0] != '\0') {
        struct buf b = BUF_INIT;

        words_add(&b, o->level);
        words_add_int(&b, o->level_bps);
        words_add_int_or(&b, o->level_until_s, CARD_FOREVER);
        add_buf(r, "level", &b);
    }
    rec_add_int(r, "own_book", o->own_book ? 1 : 0);
}

static void
encode_lists(struct rec *r, const struct offer *o)
{
    for (size_t i = 0; i < o->n_devices; i++) {
        const struct offer_device *d = &o->devices[i];
        struct buf b = BUF_INIT;

        words_add(&b, d->class_name);
        words_add(&b, d->type);
        words_add_int(&b, d->n_units);
        words_add_int(&b, d->mem_bytes);
        words_add(&b, d->uuid);
        add_buf(r, "device", &b);
    }
    for (size_t i = 0; i < o->n_prices; i++) {
        const struct offer_price *p = &o->prices[i];
        struct buf b = BUF_INIT;

        words_add(&b, p->class_name);
        words_add(&b, p->type);
        words_add_int(&b, p->list_uyuan_per_h);
        words_add_int(&b, p->uyuan_per_h);
        add_buf(r, "price", &b);
    }
    for (size_t i = 0; i < o->n_plans; i++) {
        card_encode_plan(r, &o->plans[i]);
    }
    for (size_t i = 0; i < o->n_books; i++) {
        rec_add_hex(r, "book", o->books[i].b, sizeof o->books[i].b);
    }
}

int
offer_sign(struct offer *o, const struct sign_key *host, struct err *e)
{
    struct rec *r;

    sign_key_public(host, &o->host);
    if (o->free) {
        add_free_prices(o);
    }
    if (check(o, e) != 0) {
        return -1;
    }
    r = rec_new(OFFER_TYPE);
    encode_terms(r, o);
    encode_lists(r, o);
    sign_rec(r, host);
    buf_reset(&o->bytes);
    rec_encode(r, &o->bytes);
    rec_free(r);
    if (o->bytes.len > OFFER_MAX_BYTES) {
        buf_reset(&o->bytes);
        return err_set(e, ERR_INVALID, "an offer of more than %zu bytes",
                       OFFER_MAX_BYTES);
    }
    sha256_of(o->bytes.data, o->bytes.len, &o->hash);
    return 0;
}

static void
copy_word(const struct rec *r, const char *key, char *out, size_t size)
{
    const char *v = rec_get(r, key);

    /* Too long is cut here and caught when the whole is written again. */
    (void)snprintf(out, size, "%s", v != NULL ? v : "");
}

static int
parse_level(struct offer *o, const struct rec *r, struct err *e)
{
    size_t len = 0;
    const char *v = rec_get_bytes(r, "level", &len);
    struct words w;

    o->level_bps = TARIFF_BPS_ONE;
    o->level_until_s = CARD_FOREVER;
    if (v == NULL) {
        return 0;
    }
    w = words_of(v, len);
    words_name(&w, o->level, sizeof o->level);
    o->level_bps = words_count(&w);
    o->level_until_s = words_int_or(&w, CARD_FOREVER);
    return words_done(&w) ? 0
                          : err_set(e, ERR_CORRUPT, "an offer with an unreadable level");
}

static int
parse_terms(struct offer *o, const struct rec *r, struct err *e)
{
    const struct {
        const char *key;
        int64_t *to;
    } ints[] = {
        {"made", &o->made_wall_ns},
        {"until", &o->until_wall_ns},
        {"window", &o->window_s},
        {"window_max", &o->window_max_s},
        {"free_preempt", &o->free_preempt_s},
        {"keep", &o->keep_uyuan_per_gb_day},
        {"quota", &o->keep_free_bytes},
        {"keep_days", &o->keep_days},
        {"job", &o->job_uyuan},
        {"nocard", &o->nocard_uyuan_per_h},
    };
    int64_t is_free = 0;
    int64_t own = 0;

    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        if (rec_need_count(r, ints[i].key, ints[i].to, e) != 0) {
            return -1;
        }
    }
    if (rec_need_hex(r, "host", o->host.b, sizeof o->host.b, e) != 0 ||
        rec_need_hex(r, "card", o->card.b, sizeof o->card.b, e) != 0 ||
        rec_need_int(r, "free", 0, 1, &is_free, e) != 0 ||
        rec_need_int(r, "own_book", 0, 1, &own, e) != 0) {
        return -1;
    }
    o->free = is_free == 1;
    o->own_book = own == 1;
    copy_word(r, "arch", o->arch, sizeof o->arch);
    copy_word(r, "isolation", o->isolation, sizeof o->isolation);
    copy_word(r, "renter", o->renter, sizeof o->renter);
    return parse_level(o, r, e);
}

static bool
parse_device(const char *v, size_t len, struct offer_device *d)
{
    struct words w = words_of(v, len);

    words_name(&w, d->class_name, sizeof d->class_name);
    words_name(&w, d->type, sizeof d->type);
    d->n_units = words_count(&w);
    d->mem_bytes = words_count(&w);
    words_text(&w, d->uuid, sizeof d->uuid);
    return words_done(&w);
}

static bool
parse_price(const char *v, size_t len, struct offer_price *p)
{
    struct words w = words_of(v, len);

    words_name(&w, p->class_name, sizeof p->class_name);
    words_name(&w, p->type, sizeof p->type);
    p->list_uyuan_per_h = words_count(&w);
    p->uyuan_per_h = words_count(&w);
    return words_done(&w);
}

static int
parse_lists(struct offer *o, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *v;
        size_t len;
        const char *key = rec_field(r, i, &v, &len);
        bool ok = true;

        if (strcmp(key, "device") == 0) {
            ok = parse_device(v, len, CARD_GROW(o->devices, o->n_devices));
        } else if (strcmp(key, "price") == 0) {
            ok = parse_price(v, len, CARD_GROW(o->prices, o->n_prices));
        } else if (strcmp(key, "plan") == 0) {
            ok = card_parse_plan(v, len, CARD_GROW(o->plans, o->n_plans));
        } else if (strcmp(key, "book") == 0) {
            struct sign_public *b = CARD_GROW(o->books, o->n_books);

            ok = hex_parse(v, len, b->b, sizeof b->b);
        }
        if (!ok) {
            return err_set(e, ERR_CORRUPT, "an offer with an unreadable %s", key);
        }
    }
    return 0;
}

static bool
is_canonical(const struct offer *o, const struct rec *r)
{
    struct rec *again = rec_new(OFFER_TYPE);
    bool same;

    encode_terms(again, o);
    encode_lists(again, o);
    same = sign_rec_says(r, again);
    rec_free(again);
    return same;
}

typedef int signer_fn(const struct rec *r, struct sign_public *by, struct err *e);

static int
parse(struct offer **out, const void *data, size_t len, const struct sign_public *host,
      signer_fn *signer_of, struct err *e)
{
    struct offer *o = xcalloc(1, sizeof *o);
    struct rec *r = NULL;
    struct sign_public signer;
    int rc = -1;

    if (len > OFFER_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "an offer of %zu bytes", len);
        goto out;
    }
    if (rec_parse(&r, data, len, OFFER_TYPE, e) != 0 || signer_of(r, &signer, e) != 0 ||
        parse_terms(o, r, e) != 0 || parse_lists(o, r, e) != 0 || check(o, e) != 0) {
        goto out;
    }
    if (!is_canonical(o, r) || memcmp(signer.b, o->host.b, sizeof signer.b) != 0) {
        err_set(e, ERR_CORRUPT, "an offer that is not written as one");
        goto out;
    }
    if (host != NULL && memcmp(host->b, o->host.b, sizeof host->b) != 0) {
        err_set(e, ERR_DENIED, "an offer signed by another host's key");
        goto out;
    }
    buf_add(&o->bytes, data, len);
    sha256_of(data, len, &o->hash);
    *out = o;
    o = NULL;
    rc = 0;

out:
    offer_free(o);
    rec_free(r);
    return rc;
}

int
offer_parse(struct offer **out, const void *data, size_t len,
            const struct sign_public *host, struct err *e)
{
    return parse(out, data, len, host, sign_rec_check, e);
}

int
offer_parse_known(struct offer **out, const void *data, size_t len,
                  const struct sign_public *host, struct err *e)
{
    return parse(out, data, len, host, sign_rec_signer, e);
}
