#include "meter/card.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "meter/card_internal.h"
#include "meter/money.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "meter/tariff.h"
#include "meter/wide.h"
#include "meter/words.h"

#define TITLE_MAX 256

struct card *
card_new(void)
{
    struct card *c = xcalloc(1, sizeof *c);

    c->title = xstrdup("");
    c->tax_number = xstrdup("");
    return c;
}

void
card_free(struct card *c)
{
    if (c != NULL) {
        free(c->prices);
        free(c->plans);
        free(c->levels);
        free(c->title);
        free(c->tax_number);
        free(c);
    }
}

static struct card *
card_copy(const struct card *c)
{
    struct card *d = card_new();

    d->prices = xmemdup(c->prices, c->n_prices * sizeof *c->prices);
    d->plans = xmemdup(c->plans, c->n_plans * sizeof *c->plans);
    d->levels = xmemdup(c->levels, c->n_levels * sizeof *c->levels);
    d->n_prices = c->n_prices;
    d->n_plans = c->n_plans;
    d->n_levels = c->n_levels;
    d->quota_bytes = c->quota_bytes;
    d->vat_bps = c->vat_bps;
    free(d->title);
    free(d->tax_number);
    d->title = xstrdup(c->title);
    d->tax_number = xstrdup(c->tax_number);
    return d;
}

/* The changed copy takes the card's place: a change is whole or none. */
static void
card_become(struct card *c, struct card *changed)
{
    struct card old = *c;

    *c = *changed;
    *changed = old;
    card_free(changed);
}

enum card_unit
card_unit_of(const char *class_name)
{
    if (strcmp(class_name, "disk") == 0) {
        return CARD_UNIT_GB_DAY;
    }
    return strcmp(class_name, "job") == 0 ? CARD_UNIT_JOB : CARD_UNIT_HOUR;
}

static int
by_key(const struct card_price *x, const struct card_price *y)
{
    int c = strcmp(x->class_name, y->class_name);

    return c != 0 ? c : strcmp(x->type, y->type);
}

int
card_by_key_and_time(const void *a, const void *b)
{
    const struct card_price *x = a;
    const struct card_price *y = b;
    int c = by_key(x, y);

    return c != 0 ? c : i64_cmp(x->from_s, y->from_s);
}

/* Room for one more entry of an array of n; returns the new, zeroed entry. */
void *
card_grow(void **array, size_t *n, size_t size)
{
    uint8_t *a = xrealloc(*array, (*n + 1) * size);

    *array = a;
    memset(a + *n * size, 0, size);
    return a + (*n)++ * size;
}

/* Rules --------------------------------------------------------------------- */

/* "4090", and of what has no types "cpu". */
static const char *
name_of(const struct card_price *p)
{
    return p->type[0] != '\0' ? p->type : p->class_name;
}

static int
check_price(const struct card_price *p, struct err *e)
{
    bool bare = p->unit != CARD_UNIT_HOUR;
    char most[MONEY_TEXT_MAX];

    if (!words_is_name(p->class_name) || !words_is_name_or_none(p->type) ||
        p->unit != card_unit_of(p->class_name) || (bare && p->type[0] != '\0')) {
        return err_set(e, ERR_INVALID, "a price for something that cannot be priced");
    }
    if (p->price_uyuan != CARD_WITHDRAWN &&
        (p->price_uyuan < 0 || p->price_uyuan > CARD_PRICE_MAX_UYUAN)) {
        money_format_uyuan(CARD_PRICE_MAX_UYUAN, most);
        return refuse(e, REFUSE_RANGE, "the price of %s is not from 0 to %s yuan",
                      name_of(p), most);
    }
    if (p->from_s >= p->to_s) {
        return err_set(e, ERR_INVALID, "a price of %s that ends before it begins",
                       name_of(p));
    }
    return 0;
}

/* A level must come out whole on everything it applies to, now and for ever. */
static int
check_levels(const struct card *c, struct err *e)
{
    int64_t eff = 0;

    for (size_t l = 0; l < c->n_levels; l++) {
        if (card_find_level(c, c->levels[l].name) != &c->levels[l]) {
            return err_set(e, ERR_INVALID, "two levels called %s", c->levels[l].name);
        }
        for (size_t i = 0; i < c->n_prices; i++) {
            const struct card_price *p = &c->prices[i];

            if (p->unit == CARD_UNIT_HOUR && p->price_uyuan != CARD_WITHDRAWN &&
                tariff_eff_price(p->price_uyuan, c->levels[l].bps, &eff, e) != 0) {
                return err_wrap(e, "level %s on %s%s%s", c->levels[l].name, p->class_name,
                                p->type[0] != '\0' ? " " : "", p->type);
            }
        }
    }
    return 0;
}

int
card_check_plan(const struct card_plan *p, struct err *e)
{
    enum reserve_unit u = RESERVE_NONE;

    if (!words_is_name(p->class_name) || !words_is_name_or_none(p->type) ||
        card_unit_of(p->class_name) != CARD_UNIT_HOUR || p->from_s >= p->to_s) {
        return err_set(e, ERR_INVALID, "a plan for something that cannot be planned");
    }
    if (p->price_fen < 0 || p->price_fen > CARD_PRICE_MAX_UYUAN ||
        p->refund_fee_bps < 0 || p->refund_fee_bps > TARIFF_BPS_ONE) {
        return refuse(e, REFUSE_RANGE, "the plan of %s %s", p->class_name, p->type);
    }
    return reserve_unit_parse(p->unit, &u, e);
}

int
card_check(const struct card *c, struct err *e)
{
    if (c->n_prices + c->n_plans + c->n_levels > CARD_ROWS_MAX) {
        return err_set(e, ERR_LIMIT, "a rate card of more than %d rows", CARD_ROWS_MAX);
    }
    for (size_t i = 0; i < c->n_prices; i++) {
        const struct card_price *p = &c->prices[i];
        const struct card_price *before = i > 0 ? &c->prices[i - 1] : NULL;

        if (check_price(p, e) != 0) {
            return -1;
        }
        if (before != NULL && by_key(before, p) == 0 && before->to_s != p->from_s) {
            return before->to_s < p->from_s
                       ? err_set(e, ERR_INVALID, "the prices of %s leave a gap",
                                 name_of(p))
                       : err_set(e, ERR_INVALID, "the prices of %s overlap", name_of(p));
        }
    }
    for (size_t i = 0; i < c->n_plans; i++) {
        if (card_check_plan(&c->plans[i], e) != 0) {
            return -1;
        }
    }
    return check_levels(c, e);
}

/* Changing ------------------------------------------------------------------ */

int
card_parse_type(const char *word, size_t len, char class_name[CARD_WORD_MAX + 1],
                char type[CARD_WORD_MAX + 1], struct err *e)
{
    char lower[2 * CARD_WORD_MAX + 2] = "";
    char *colon;
    const char *c = "gpu";
    const char *t = lower;

    if (len < sizeof lower) {
        for (size_t i = 0; i < len; i++) {
            lower[i] =
                word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] - 'A' + 'a') : word[i];
        }
    }
    colon = strchr(lower, ':');
    if (colon != NULL) {
        *colon = '\0';
        c = lower;
        t = colon + 1;
    } else if (strcmp(lower, "cpu") == 0 || strcmp(lower, "disk") == 0 ||
               strcmp(lower, "job") == 0) {
        c = lower;
        t = "";
    }
    if (!words_is_name(c) || (!words_is_name(t) && !(c == lower && colon == NULL))) {
        return err_set(e, ERR_INVALID, "not a device type like 4090, npu:910b or cpu");
    }
    (void)strcpy(class_name, c);
    (void)strcpy(type, t);
    return 0;
}

/* End what is in force for the row's key at its start, drop what begins later, add it. */
static void
put_price(struct card *c, const struct card_price *row)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_prices; i++) {
        struct card_price p = c->prices[i];

        if (by_key(&p, row) == 0) {
            if (p.from_s >= row->from_s) {
                continue;
            }
            p.to_s =
                p.to_s == CARD_FOREVER || p.to_s > row->from_s ? row->from_s : p.to_s;
        }
        c->prices[n++] = p;
    }
    c->n_prices = n;
    *(struct card_price *)CARD_GROW(c->prices, c->n_prices) = *row;
    qsort(c->prices, c->n_prices, sizeof *c->prices, card_by_key_and_time);
}

static int
set_row(struct card *c, const struct card_price *row, struct err *e)
{
    struct card *changed = card_copy(c);

    put_price(changed, row);
    if (card_check(changed, e) != 0) {
        card_free(changed);
        return -1;
    }
    card_become(c, changed);
    return 0;
}

int
card_set(struct card *c, const char *type_and_yuan, int64_t from_s, struct err *e)
{
    struct card_price row = {.from_s = from_s, .to_s = CARD_FOREVER};
    const char *eq = strchr(type_and_yuan, '=');

    if (eq == NULL) {
        return err_set(e, ERR_INVALID, "a price is written TYPE=YUAN, like 4090=1.88");
    }
    if (card_parse_type(type_and_yuan, (size_t)(eq - type_and_yuan), row.class_name,
                        row.type, e) != 0 ||
        money_parse_uyuan(eq + 1, strlen(eq + 1), &row.price_uyuan, e) != 0) {
        return -1;
    }
    row.unit = card_unit_of(row.class_name);
    return set_row(c, &row, e);
}

int
card_unset(struct card *c, const char *type, int64_t from_s, struct err *e)
{
    struct card_price row = {
        .from_s = from_s, .to_s = CARD_FOREVER, .price_uyuan = CARD_WITHDRAWN};

    if (card_parse_type(type, strlen(type), row.class_name, row.type, e) != 0) {
        return -1;
    }
    row.unit = card_unit_of(row.class_name);
    if (card_price_at(c, row.class_name, row.type, from_s) == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the rate card has no price of %s %s",
                       row.class_name, row.type);
    }
    return set_row(c, &row, e);
}

int
card_set_level(struct card *c, const char *name, int64_t bps, struct err *e)
{
    struct card *changed;
    struct card_level *l = NULL;

    if (!words_is_name(name)) {
        return err_set(e, ERR_INVALID, "a level needs a name like member");
    }
    changed = card_copy(c);
    for (size_t i = 0; i < changed->n_levels; i++) {
        if (strcmp(changed->levels[i].name, name) == 0) {
            l = &changed->levels[i];
        }
    }
    if (l == NULL) {
        l = CARD_GROW(changed->levels, changed->n_levels);
        (void)strcpy(l->name, name);
    }
    l->bps = bps;
    if (bps < 0 || bps > TARIFF_BPS_ONE) {
        (void)refuse(e, REFUSE_RANGE, "a level pays from 0 to 100 per cent");
    } else if (card_check(changed, e) == 0) {
        card_become(c, changed);
        return 0;
    }
    card_free(changed);
    return -1;
}

int
card_set_plan(struct card *c, const struct card_plan *plan, struct err *e)
{
    struct card *changed = card_copy(c);
    struct card_plan *at = NULL;

    for (size_t i = 0; i < changed->n_plans; i++) {
        struct card_plan *p = &changed->plans[i];

        if (strcmp(p->class_name, plan->class_name) == 0 &&
            strcmp(p->type, plan->type) == 0 && strcmp(p->unit, plan->unit) == 0) {
            at = p;
        }
    }
    at = at != NULL ? at : CARD_GROW(changed->plans, changed->n_plans);
    *at = *plan;
    if (card_check(changed, e) != 0) {
        card_free(changed);
        return -1;
    }
    card_become(c, changed);
    return 0;
}

int
card_set_quota(struct card *c, int64_t free_bytes, struct err *e)
{
    if (free_bytes < 0) {
        return refuse(e, REFUSE_RANGE, "a negative quota");
    }
    c->quota_bytes = free_bytes;
    return 0;
}

int
card_set_title(struct card *c, const char *title, const char *tax_number, int64_t vat_bps,
               struct err *e)
{
    if (strlen(title) > TITLE_MAX || strlen(tax_number) > TITLE_MAX || vat_bps < 0 ||
        vat_bps > TARIFF_BPS_ONE) {
        return refuse(e, REFUSE_RANGE, "a title, tax number or tax rate");
    }
    free(c->title);
    free(c->tax_number);
    c->title = xstrdup(title);
    c->tax_number = xstrdup(tax_number);
    c->vat_bps = vat_bps;
    return 0;
}

/* Reading ------------------------------------------------------------------- */

bool
card_is_free(const struct card *c)
{
    return c->n_prices == 0;
}

const struct card_price *
card_price_at(const struct card *c, const char *class_name, const char *type,
              int64_t at_s)
{
    for (size_t i = 0; i < c->n_prices; i++) {
        const struct card_price *p = &c->prices[i];

        if (strcmp(p->class_name, class_name) == 0 && strcmp(p->type, type) == 0 &&
            p->from_s <= at_s && (at_s < p->to_s || p->to_s == CARD_FOREVER)) {
            return p->price_uyuan == CARD_WITHDRAWN ? NULL : p;
        }
    }
    return NULL;
}

const struct card_price *
card_prices(const struct card *c, size_t *n)
{
    *n = c->n_prices;
    return c->prices;
}

const struct card_plan *
card_plans(const struct card *c, size_t *n)
{
    *n = c->n_plans;
    return c->plans;
}

const struct card_level *
card_levels(const struct card *c, size_t *n)
{
    *n = c->n_levels;
    return c->levels;
}

const struct card_level *
card_find_level(const struct card *c, const char *name)
{
    for (size_t i = 0; i < c->n_levels; i++) {
        if (strcmp(c->levels[i].name, name) == 0) {
            return &c->levels[i];
        }
    }
    return NULL;
}

int64_t
card_quota(const struct card *c)
{
    return c->quota_bytes;
}

const char *
card_title(const struct card *c)
{
    return c->title;
}

const char *
card_tax_number(const struct card *c)
{
    return c->tax_number;
}

int64_t
card_vat_bps(const struct card *c)
{
    return c->vat_bps;
}
