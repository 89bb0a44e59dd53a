/* How a rate card is written, and read again: see DESIGN.md. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rec.h"
#include "meter/card.h"
#include "meter/card_internal.h"
#include "meter/tariff.h"
#include "meter/words.h"

#define CARD_TYPE      "gpurun.card.v1"
#define CARD_MAX_BYTES ((size_t)4 << 20)

static const char *const unit_names[CARD_UNIT_COUNT] = {
    [CARD_UNIT_NONE] = "",
    [CARD_UNIT_HOUR] = "hour",
    [CARD_UNIT_GB_DAY] = "gb_day",
    [CARD_UNIT_JOB] = "job",
};

static void
add_words(struct rec *r, const char *key, struct buf *b)
{
    rec_add_bytes(r, key, b->data, b->len);
    buf_free(b);
}

static void
add_price(struct rec *r, const struct card_price *p)
{
    struct buf b = BUF_INIT;

    words_add(&b, p->class_name);
    words_add(&b, p->type);
    words_add(&b, unit_names[p->unit]);
    words_add_int_or(&b, p->price_uyuan, CARD_WITHDRAWN);
    words_add_int_or(&b, p->from_s, CARD_ALWAYS);
    words_add_int_or(&b, p->to_s, CARD_FOREVER);
    add_words(r, "price", &b);
}

void
card_encode_plan(struct rec *r, const struct card_plan *p)
{
    struct buf b = BUF_INIT;

    words_add(&b, p->class_name);
    words_add(&b, p->type);
    words_add(&b, p->unit);
    words_add_int(&b, p->price_fen);
    words_add_int(&b, p->refund_fee_bps);
    words_add_int_or(&b, p->from_s, CARD_ALWAYS);
    words_add_int_or(&b, p->to_s, CARD_FOREVER);
    add_words(r, "plan", &b);
}

void
card_encode(const struct card *c, struct buf *out)
{
    struct rec *r = rec_new(CARD_TYPE);

    if (c->title[0] != '\0') {
        rec_add(r, "title", c->title);
    }
    if (c->tax_number[0] != '\0') {
        rec_add(r, "tax_number", c->tax_number);
    }
    if (c->vat_bps != 0) {
        rec_add_int(r, "vat_bps", c->vat_bps);
    }
    if (c->quota_bytes != 0) {
        rec_add_int(r, "quota", c->quota_bytes);
    }
    for (size_t i = 0; i < c->n_prices; i++) {
        add_price(r, &c->prices[i]);
    }
    for (size_t i = 0; i < c->n_levels; i++) {
        rec_addf(r, "level", "%s %" PRId64, c->levels[i].name, c->levels[i].bps);
    }
    for (size_t i = 0; i < c->n_plans; i++) {
        card_encode_plan(r, &c->plans[i]);
    }
    rec_encode(r, out);
    rec_free(r);
}

void
card_hash(const struct card *c, struct sha256 *out)
{
    struct buf b = BUF_INIT;

    card_encode(c, &b);
    sha256_of(b.data, b.len, out);
    buf_free(&b);
}

static bool
parse_price(const char *v, size_t len, struct card_price *p)
{
    struct words w = words_of(v, len);
    char unit[CARD_WORD_MAX + 1];

    memset(p, 0, sizeof *p);
    words_name(&w, p->class_name, sizeof p->class_name);
    words_name(&w, p->type, sizeof p->type);
    words_name(&w, unit, sizeof unit);
    p->price_uyuan = words_int_or(&w, CARD_WITHDRAWN);
    p->from_s = words_int_or(&w, CARD_ALWAYS);
    p->to_s = words_int_or(&w, CARD_FOREVER);
    p->unit = card_unit_of(p->class_name);
    return words_done(&w) && strcmp(unit, unit_names[p->unit]) == 0;
}

bool
card_parse_plan(const char *v, size_t len, struct card_plan *p)
{
    struct words w = words_of(v, len);
    struct err e;

    memset(p, 0, sizeof *p);
    words_name(&w, p->class_name, sizeof p->class_name);
    words_name(&w, p->type, sizeof p->type);
    words_name(&w, p->unit, sizeof p->unit);
    p->price_fen = words_count(&w);
    p->refund_fee_bps = words_count(&w);
    p->from_s = words_int_or(&w, CARD_ALWAYS);
    p->to_s = words_int_or(&w, CARD_FOREVER);
    return words_done(&w) && card_check_plan(p, &e) == 0;
}

static bool
parse_level(const char *v, size_t len, struct card_level *l)
{
    struct words w = words_of(v, len);

    memset(l, 0, sizeof *l);
    words_name(&w, l->name, sizeof l->name);
    l->bps = words_int(&w, 0, TARIFF_BPS_ONE);
    return words_done(&w) && l->name[0] != '\0';
}

static int
parse_rows(struct card *c, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *v;
        size_t len;
        const char *key = rec_field(r, i, &v, &len);
        bool ok = true;

        if (strcmp(key, "price") == 0) {
            ok = parse_price(v, len, CARD_GROW(c->prices, c->n_prices));
        } else if (strcmp(key, "level") == 0) {
            ok = parse_level(v, len, CARD_GROW(c->levels, c->n_levels));
        } else if (strcmp(key, "plan") == 0) {
            ok = card_parse_plan(v, len, CARD_GROW(c->plans, c->n_plans));
        }
        if (!ok) {
            return err_set(e, ERR_CORRUPT, "a rate card with an unreadable %s", key);
        }
    }
    return 0;
}

static int
parse_rec(struct card *c, const struct rec *r, struct err *e)
{
    const char *title = rec_get(r, "title");
    const char *tax = rec_get(r, "tax_number");

    if (rec_opt_int(r, "vat_bps", 1, TARIFF_BPS_ONE, 0, &c->vat_bps, e) != 0 ||
        rec_opt_int(r, "quota", 1, INT64_MAX, 0, &c->quota_bytes, e) != 0) {
        return -1;
    }
    if (title != NULL) {
        free(c->title);
        c->title = xstrdup(title);
    }
    if (tax != NULL) {
        free(c->tax_number);
        c->tax_number = xstrdup(tax);
    }
    if (parse_rows(c, r, e) != 0) {
        return -1;
    }
    if (c->n_prices > 0) {
        qsort(c->prices, c->n_prices, sizeof *c->prices, card_by_key_and_time);
    }
    return 0;
}

int
card_parse(struct card **out, const void *data, size_t len, struct err *e)
{
    struct card *c = card_new();
    struct rec *r = NULL;
    struct buf again = BUF_INIT;
    int rc = -1;

    if (rec_parse(&r, data, len, CARD_TYPE, e) != 0 || parse_rec(c, r, e) != 0 ||
        card_check(c, e) != 0) {
        goto out;
    }
    /* One meaning, one spelling: order, repeats and unknown fields are all caught here.
     */
    card_encode(c, &again);
    if (again.len != len || memcmp(again.data, data, len) != 0) {
        err_set(e, ERR_CORRUPT, "a rate card that is not written as one");
        goto out;
    }
    *out = c;
    c = NULL;
    rc = 0;

out:
    card_free(c);
    rec_free(r);
    buf_free(&again);
    return rc;
}

int
card_load(struct card **out, const char *path, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = -1;

    if (file_read(path, CARD_MAX_BYTES, &b, e) != 0) {
        if (e->code == ERR_NOT_FOUND) {
            *out = card_new();
            rc = 0;
        }
    } else if (card_parse(out, b.data, b.len, e) != 0) {
        (void)err_wrap(e, "rate card '%s'", path);
    } else {
        rc = 0;
    }
    buf_free(&b);
    return rc;
}

int
card_save(const struct card *c, const char *path, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc;

    card_encode(c, &b);
    rc = file_replace(path, b.data, b.len, e);
    buf_free(&b);
    return rc;
}
