#include "runner/cli/compare.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/card.h"
#include "meter/tariff.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/install.h"
#include "runner/client/place.h"

#define CARD_SUFFIX ".card"
#define S_PER_H     3600

enum row_source { ROW_NONE = 0, ROW_HOST, ROW_ESTIMATE, ROW_MARKET };

struct row {
    enum row_source source;
    char *where; /* a host's name, a card's title */
    char *type;  /* "" for cpu */
    int64_t uyuan_per_h;
    int64_t n, n_free; /* devices there; of a host */
    int64_t since_s;   /* of a card's price; CARD_ALWAYS: not said */
};

struct rows {
    struct row *v;
    size_t n;
};

static struct row *
add_row(struct rows *l, enum row_source source, const char *where, const char *type)
{
    struct row *r;

    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    r = &l->v[l->n++];
    *r = (struct row){.source = source,
                      .where = xstrdup(where),
                      .type = xstrdup(type),
                      .since_s = CARD_ALWAYS};
    return r;
}

static void
rows_free(struct rows *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].where);
        free(l->v[i].type);
    }
    free(l->v);
}

static int
row_cmp(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;

    if (x->uyuan_per_h != y->uyuan_per_h) {
        return x->uyuan_per_h < y->uyuan_per_h ? -1 : 1;
    }
    if (x->source != y->source) {
        return x->source < y->source ? -1 : 1;
    }
    return strcmp(x->where, y->where);
}

/* ---- what hosts offer ---- */

static bool
find_estimate(const struct host *h, const struct device *d, const char *type,
              int64_t *uyuan)
{
    for (size_t i = 0; i < h->n_prices; i++) {
        const char *named = h->prices[i].type;

        if (type[0] == '\0'
                ? strcmp(named, d->device_class) == 0
                : device_type_matches(named, d->name, d->type, d->memory_bytes)) {
            *uyuan = h->prices[i].uyuan;
            return true;
        }
    }
    return false;
}

/* The row of this host for such devices, made when it has a price; NULL: not offered. */
static struct row *
row_of(struct rows *l, size_t first, const struct host *h, const struct offer *offer,
       const struct device *d, const char *type)
{
    const struct offer_price *price;
    struct row *r;

    for (size_t i = first; i < l->n; i++) {
        if (strcmp(l->v[i].type, type) == 0) {
            return &l->v[i];
        }
    }
    price = offer != NULL ? offer_find_price(offer, d->device_class, type) : NULL;
    if (price == NULL) {
        return NULL;
    }
    r = add_row(l, ROW_HOST, h->name, type);
    r->uyuan_per_h = price->uyuan_per_h;
    if (r->uyuan_per_h == 0 && find_estimate(h, d, type, &r->uyuan_per_h)) {
        r->source = ROW_ESTIMATE;
    }
    return r;
}

static void
add_host(struct rows *l, const struct session *s, const char *device_class)
{
    const struct host_info *info = session_info(s);
    const struct offer *offer = session_offer(s);
    size_t first = l->n;

    for (size_t i = 0; info != NULL && i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];
        bool cpu = strcmp(d->device_class, "cpu") == 0;
        struct row *r;

        if (strcmp(d->device_class, device_class) != 0) {
            continue;
        }
        r = row_of(l, first, session_host(s), offer, d, cpu ? "" : d->type);
        if (r != NULL) {
            r->n += cpu ? info->cores : 1;
            r->n_free += cpu ? info->cores_free : d->usable && d->state == DEVICE_FREE;
        }
    }
}

/* ---- what cards say ---- */

static int
add_card(struct rows *l, const char *path, const char *device_class, int64_t now_s,
         struct err *e)
{
    struct card *card;
    const struct card_price *p;
    size_t n;

    if (card_load(&card, path, e) != 0) {
        return -1;
    }
    p = card_prices(card, &n);
    for (size_t i = 0; i < n; i++) {
        struct row *r;

        if (strcmp(p[i].class_name, device_class) != 0 || p[i].unit != CARD_UNIT_HOUR ||
            p[i].price_uyuan == CARD_WITHDRAWN || p[i].from_s > now_s ||
            p[i].to_s <= now_s) {
            continue;
        }
        r = add_row(l, ROW_MARKET, card_title(card), p[i].type);
        r->uyuan_per_h = p[i].price_uyuan;
        r->since_s = p[i].from_s;
    }
    card_free(card);
    return 0;
}

static int
add_cards(struct rows *l, const char *device_class, struct err *e)
{
    char *dir = install_find_share("gpurun/cards");
    DIR *d = dir == NULL ? NULL : opendir(dir);
    struct dirent *de;
    int rc = 0;

    while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
        size_t n = strlen(de->d_name);
        char *path;

        if (n <= strlen(CARD_SUFFIX) ||
            strcmp(de->d_name + n - strlen(CARD_SUFFIX), CARD_SUFFIX) != 0) {
            continue;
        }
        path = path_join(dir, de->d_name);
        rc = add_card(l, path, device_class, clock_wall_ns() / 1000000000, e);
        free(path);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(dir);
    return rc;
}

/* ---- showing ---- */

static int64_t
cost_of(const struct row *r, const struct job_spec *s)
{
    struct tariff_segment seg = {.price_uyuan_per_h = r->uyuan_per_h,
                                 .n_units = s->count,
                                 .used_s = s->max_time_s,
                                 .discount_bps = TARIFF_BPS_ONE};
    int64_t fen;
    struct err none;

    return tariff_charge(&seg, 1, TARIFF_MIN_FEN, &fen, &none) == 0 ? fen : INT64_MAX;
}

static int64_t
runs_for(const struct row *r, const struct run_request *q)
{
    int64_t s;
    struct err none;

    return q->max_cost_fen < 0 || tariff_max_seconds(q->max_cost_fen, r->uyuan_per_h,
                                                     q->spec.count, &s, &none) != 0
               ? INT64_MAX
               : s;
}

static void
cell_state(struct table *t, const struct row *r)
{
    char day[CLOCK_TEXT_MAX];

    if (r->source == ROW_MARKET) {
        if (r->since_s == CARD_ALWAYS) {
            table_cell(t, NULL);
            return;
        }
        clock_format_utc(r->since_s * 1000000000, 0, day);
        day[10] = '\0'; /* the date */
        table_cellf(t, _("price of %s"), day);
    } else {
        table_cellf(t, _("%" PRId64 " of %" PRId64 " free"), r->n_free, r->n);
    }
}

static void
print_table(const struct rows *l, const struct run_request *q, struct buf *out)
{
    bool capped = q->max_cost_fen >= 0;
    char money[OUT_MONEY_MAX];
    char span[TEXT_DURATION_MAX];
    char *cost_head;
    struct table *t;

    text_format_duration(q->spec.max_time_s, span);
    cost_head = xasprintf(_(">%" PRId64 "x FOR %s"), q->spec.count, span);
    t = table_new((const char *const[]){_("CARD"), _(">PRICE"), cost_head, _("WHERE"),
                                        _("STATE"),
                                        capped ? _("RUNS FOR --max-cost") : NULL, NULL});
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->v[i];

        table_cell(t, r->type[0] != '\0' ? r->type : q->spec.device_class);
        table_cell(t, r->uyuan_per_h == 0 ? _("free")
                                          : out_price(r->uyuan_per_h, _("h"), money));
        table_cell(t, out_fen(cost_of(r, &q->spec), money));
        table_cellf(t, r->source == ROW_ESTIMATE ? _("%s (own estimate)") : "%s",
                    r->where);
        cell_state(t, r);
        if (capped && runs_for(r, q) < q->spec.max_time_s) {
            text_format_duration(runs_for(r, q), span);
            table_cell(t, span);
        } else if (capped) {
            table_cell(t, _("all of it"));
        }
    }
    table_print(t, out);
    table_free(t);
    free(cost_head);
}

/* Of nothing at all there is no need to say more. */
static bool
type_known(const struct rows *l, const struct job_spec *s)
{
    for (size_t i = 0; i < l->n; i++) {
        const char *type = l->v[i].type;

        /* "a100" is the short name a100-80g, too; "RTX 4090" has the short name 4090 */
        if (device_type_matches(s->device_type, type, type, 0) ||
            device_type_matches(type, s->device_type, s->device_type, 0)) {
            return true;
        }
    }
    return l->n == 0;
}

static void
print_json(const struct rows *l, const struct run_request *q, struct buf *out)
{
    static const char *const sources[] = {"", "host", "estimate", "market"};
    struct json_writer j = json_to(out);

    json_obj(&j);
    json_kstr(&j, "device_class", q->spec.device_class);
    json_kstr(&j, "device_type", q->spec.device_type);
    json_kbool(&j, "type_known", type_known(l, &q->spec));
    json_kint(&j, "count", q->spec.count);
    json_kint(&j, "max_time_s", q->spec.max_time_s);
    json_key(&j, "cards");
    json_arr(&j);
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->v[i];

        json_obj(&j);
        json_kstr(&j, "source", sources[r->source]);
        json_kstr(&j, "where", r->where);
        json_kstr(&j, "type", r->type);
        json_kint(&j, "price_uyuan_per_h", r->uyuan_per_h);
        json_kint(&j, "cost_fen", cost_of(r, &q->spec));
        if (r->source != ROW_MARKET) {
            json_kint(&j, "devices", r->n);
            json_kint(&j, "devices_free", r->n_free);
        }
        if (q->max_cost_fen >= 0) {
            int64_t s = runs_for(r, q);

            json_kint(&j, "can_run_s", s < q->spec.max_time_s ? s : q->spec.max_time_s);
        }
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    buf_add_str(out, "\n");
}

static void
say_silent(struct cli *c, const struct place *p)
{
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *k = place_at(p, i);

        if (session_info(k->session) == NULL) {
            say(c, _("host '%s' did not answer: %s"), k->host,
                session_why(k->session) != NULL ? session_why(k->session)->err.msg : "");
        }
    }
}

int
compare_run(struct cli *c, struct client *cl, struct run_request *r, struct err *e)
{
    struct launch l = {.c = c, .cl = cl, .r = r, .seen_lock = -1};
    struct host_list hosts = {NULL, 0};
    struct rows rows = {NULL, 0};
    struct buf out = BUF_INIT;
    int rc = -1;

    if (launch_list_hosts(&l, &hosts, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (place_open(&l.place, cl, &hosts, e) != 0 || place_ask_all(l.place, e) != 0 ||
        add_cards(&rows, r->spec.device_class, e) != 0) {
        goto out;
    }
    say_silent(c, l.place);
    for (size_t i = 0; i < place_n(l.place); i++) {
        add_host(&rows, place_at(l.place, i)->session, r->spec.device_class);
    }
    if (rows.n > 0) {
        qsort(rows.v, rows.n, sizeof *rows.v, row_cmp);
    }
    if (!type_known(&rows, &r->spec)) {
        say(c, _("no price of any %s '%s' is known; these are of all that there are"),
            r->spec.device_class, r->spec.device_type);
    }
    if (c->g.json) {
        print_json(&rows, r, &out);
    } else if (rows.n > 0) {
        print_table(&rows, r, &out);
    } else {
        say(c, _("no price of any %s is known"), r->spec.device_class);
    }
    rc = out_write(&out, e);

out:
    place_free(l.place);
    host_list_free(&hosts);
    rows_free(&rows);
    buf_free(&out);
    return rc;
}
