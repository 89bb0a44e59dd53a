#include "runner/cli/reserveview.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/out.h"

#define NS_PER_S ((int64_t)1000000000)
#define LABEL    9

static const char *
unit_word(enum reserve_unit u, int64_t n)
{
    switch (u) {
    case RESERVE_DAY:
        return n == 1 ? _("day") : _("days");
    case RESERVE_WEEK:
        return n == 1 ? _("week") : _("weeks");
    case RESERVE_MONTH:
        return n == 1 ? _("month of 30 days") : _("months of 30 days");
    case RESERVE_YEAR:
        return n == 1 ? _("year of 365 days") : _("years of 365 days");
    case RESERVE_NONE:
    case RESERVE_UNIT_COUNT:
        break;
    }
    return "";
}

const char *
reserveview_act(enum order_act act)
{
    static const char *const words[ORDER_ACT_COUNT] = {
        [ORDER_BUY] = N_("bought"),
        [ORDER_RENEW] = N_("renewed"),
        [ORDER_CHANGE] = N_("switched"),
        [ORDER_REFUND] = N_("given back"),
        [ORDER_BREAK] = N_("broken by the owner"),
    };

    return words[act] != NULL ? _(words[act]) : "";
}

/* How it ended before its time, or NULL. */
static const struct reservation_event *
early_end(const struct reservation *r)
{
    return r->given_back ? &r->events[r->n_events - 1] : NULL;
}

int
reserveview_type(const struct host_info *info, const struct device_want *want,
                 char type[CARD_WORD_MAX + 1], struct err *e)
{
    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];

        if (device_matches(d, want->device_class, want->type) &&
            strlen(d->type) <= CARD_WORD_MAX) {
            (void)snprintf(type, CARD_WORD_MAX + 1, "%.32s", d->type);
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, _("that host has no %s %s"), want->device_class,
                   want->type);
}

/* ---- before ---- */

void
reserveview_quote(const struct cli *c, const struct booking *b,
                  const struct reservation *was, const char *host)
{
    char money[OUT_MONEY_MAX];
    enum reserve_unit unit = was != NULL ? was->unit : RESERVE_NONE;
    struct err none;

    if (b->order.act == ORDER_BUY) {
        (void)!reserve_unit_parse(b->order.unit, &unit, &none);
    }
    (void)out_fen(b->fen < 0 ? -b->fen : b->fen, money);
    switch (b->order.act) {
    case ORDER_BUY:
        say(c, _("%s: %lldx %s for %lld %s, used or not: %s, paid now"), host,
            (long long)b->n_devices, b->type, (long long)b->order.n,
            unit_word(unit, b->order.n), money);
        break;
    case ORDER_RENEW:
        say(c, _("%s: %lld %s more: %s, paid now"), host, (long long)b->order.n,
            unit_word(unit, b->order.n), money);
        break;
    case ORDER_CHANGE:
        say(c,
            b->fen < 0 ? _("%s: %lldx %s for the rest of the time: %s comes back")
                       : _("%s: %lldx %s for the rest of the time: %s, paid now"),
            host, (long long)b->n_devices, b->type, money);
        break;
    case ORDER_REFUND:
        say(c, _("%s: given back now: %s comes back"), host, money);
        break;
    case ORDER_NONE:
    case ORDER_BREAK:
    case ORDER_ACT_COUNT:
        break;
    }
}

int
reserveview_print_quote(const struct cli *c, const struct booking *b, const char *host,
                        struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    char money[OUT_MONEY_MAX];
    int rc;

    if (c->g.json) {
        json_obj(&j);
        json_kstr(&j, "host", host);
        json_kstr(&j, "act", order_act_name(b->order.act));
        json_kstr(&j, "class", b->class_name);
        json_kstr(&j, "type", b->type);
        json_kint(&j, "count", b->n_devices);
        json_kint(&j, "fen", b->fen);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "%s\n", out_fen(b->fen, money));
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* ---- afterwards ---- */

static const char *
state_of(const struct reservation *r)
{
    const struct reservation_event *end = early_end(r);

    return end != NULL && end->act == ORDER_BREAK             ? "broken"
           : end != NULL                                      ? "given_back"
           : reservation_holds(r, clock_wall_ns() / NS_PER_S) ? "active"
                                                              : "over";
}

/* The host's name here, or its id. malloc'ed. */
static char *
host_name(const struct cli *c, const struct reservation *r)
{
    char id[SIGN_ID_LEN + 1];
    struct host h;
    struct err none;
    char *name;

    if (hosts_by_key(c->home, &r->host, &h, &none) != 0) {
        sign_public_id(&r->host, id);
        return xstrdup(id);
    }
    name = xstrdup(h.name);
    host_free(&h);
    return name;
}

static void
json_events(struct json_writer *j, const struct reservation *r)
{
    json_key(j, "events");
    json_arr(j);
    for (size_t i = 0; i < r->n_events; i++) {
        const struct reservation_event *ev = &r->events[i];

        json_obj(j);
        json_kstr(j, "act", order_act_name(ev->act));
        json_ktime(j, "at", ev->wall_ns);
        json_kint(j, "charge_fen", ev->charge_fen);
        json_kint(j, "refund_fen", ev->refund_fen);
        json_kstr(j, "lease", ev->lease[0] != '\0' ? ev->lease : NULL);
        json_obj_end(j);
    }
    json_arr_end(j);
}

static void
json_one(const struct cli *c, struct json_writer *j, const struct reservation *r)
{
    char *host = host_name(c, r);

    json_obj(j);
    json_kstr(j, "id", r->id);
    json_kstr(j, "host", host);
    json_kstr(j, "class", r->class_name);
    json_kstr(j, "type", r->type);
    json_kint(j, "count", (int64_t)r->n_devices);
    json_key(j, "devices");
    json_arr(j);
    for (size_t i = 0; i < r->n_devices; i++) {
        json_str(j, r->devices[i]);
    }
    json_arr_end(j);
    json_kstr(j, "unit", reserve_unit_name(r->unit));
    json_kstr(j, "state", state_of(r));
    json_ktime(j, "from", r->from_s * NS_PER_S);
    json_ktime(j, "to", r->to_s * NS_PER_S);
    json_kint(j, "paid_fen", reservation_paid_fen(r));
    json_kint(j, "refund_fee_bps", r->fee_bps);
    json_events(j, r);
    json_obj_end(j);
    free(host);
}

int
reserveview_made(const struct cli *c, const struct reservation *r, const char *host,
                 struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    char when[OUT_TIME_MAX];
    int rc;

    if (c->g.json) {
        json_one(c, &j, r);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "%s\n", r->id);
    }
    say(c,
        r->given_back ? _("reservation %s on %s ended at %s")
                      : _("reservation %s on %s holds until %s"),
        r->id, host, out_time(r->to_s * NS_PER_S, when));
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

int
reserveview_list(const struct cli *c, const struct booked_list *l, struct err *e)
{
    const char *headers[] = {_("ID"),    _("HOST"),  _("DEVICES"), _("STATE"),
                             _("UNTIL"), _(">PAID"), NULL};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct table *t = table_new(headers);
    int rc;

    if (c->g.json) {
        json_obj(&j);
        json_key(&j, "reservations");
        json_arr(&j);
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct reservation *r = l->v[i];
        char when[OUT_TIME_MAX];
        char money[OUT_MONEY_MAX];
        const struct reservation_event *end = early_end(r);
        char *host;

        if (c->g.json) {
            json_one(c, &j, r);
            continue;
        }
        host = host_name(c, r);
        table_cell(t, r->id);
        table_cell(t, host);
        table_cellf(t, "%zux %s", r->n_devices, r->type);
        table_cell(t, end != NULL ? reserveview_act(end->act)
                      : reservation_holds(r, clock_wall_ns() / NS_PER_S) ? _("active")
                                                                         : _("over"));
        table_cell(t, out_time(r->to_s * NS_PER_S, when));
        table_cell(t, out_fen(reservation_paid_fen(r), money));
        free(host);
    }
    if (c->g.json) {
        json_arr_end(&j);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else if (l->n > 0) {
        table_print(t, &out);
    } else {
        say(c, "%s", _("no reservations"));
    }
    rc = out_write(&out, e);
    table_free(t);
    buf_free(&out);
    return rc;
}

int
reserveview_show(const struct cli *c, const struct reservation *r, struct err *e)
{
    const char *headers[] = {_("WHEN"), _("WHAT"), _(">PAID"), _(">BACK"), NULL};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct table *t = table_new(headers);
    char when[OUT_TIME_MAX];
    char money[OUT_MONEY_MAX];
    char *host = host_name(c, r);
    int rc;

    if (c->g.json) {
        json_one(c, &j, r);
        buf_add_str(&out, "\n");
    } else {
        struct buf b = BUF_INIT;

        out_page_row(&out, LABEL, _("host"), host);
        for (size_t i = 0; i < r->n_devices; i++) {
            buf_printf(&b, "%s%s", i > 0 ? ", " : "", r->devices[i]);
        }
        out_page_row(&out, LABEL, _("devices"), buf_str(&b));
        out_page_row(&out, LABEL, _("type"), r->type);
        out_page_row(&out, LABEL, _("from"), out_time(r->from_s * NS_PER_S, when));
        out_page_row(&out, LABEL, _("until"), out_time(r->to_s * NS_PER_S, when));
        out_page_row(&out, LABEL, _("paid"), out_fen(reservation_paid_fen(r), money));
        buf_free(&b);
        for (size_t i = 0; i < r->n_events; i++) {
            const struct reservation_event *ev = &r->events[i];

            table_cell(t, out_time(ev->wall_ns, when));
            table_cell(t, reserveview_act(ev->act));
            table_cell(t, out_fen(ev->charge_fen, money));
            table_cell(t, out_fen(ev->refund_fen, money));
        }
        table_print(t, &out);
    }
    rc = out_write(&out, e);
    table_free(t);
    free(host);
    buf_free(&out);
    return rc;
}
