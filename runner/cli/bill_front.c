#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/reservation.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"
#include "runner/cli/reserveview.h"
#include "runner/client/booked.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- what was paid in front ---- */

static void
add(struct bill_entries *l, const struct reservation *r, size_t i)
{
    const struct reservation_event *ev = &r->events[i];
    struct bill_front *f;

    if (ev->charge_fen == 0 && ev->refund_fen == 0) {
        return;
    }
    l->front = xrealloc(l->front, (l->n_front + 1) * sizeof *l->front);
    f = &l->front[l->n_front++];
    memset(f, 0, sizeof *f);
    (void)snprintf(f->id, sizeof f->id, "%s", r->id);
    (void)snprintf(f->class_name, sizeof f->class_name, "%s", ev->class_name);
    (void)snprintf(f->type, sizeof f->type, "%s", ev->type);
    f->act = ev->act;
    f->host = r->host;
    f->n_devices = (int64_t)ev->n_devices;
    f->wall_ns = ev->wall_ns;
    f->fen = ev->charge_fen - ev->refund_fen;
    calendar_month(ev->wall_ns / NS_PER_S, f->month);
}

void
bill_front_take(struct bill_entries *l, const struct booked_list *booked)
{
    for (size_t i = 0; i < booked->n; i++) {
        for (size_t k = 0; k < booked->v[i]->n_events; k++) {
            add(l, booked->v[i], k);
        }
    }
}

int
bill_front_all(const struct cli *c, struct bill_entries *l, struct err *e)
{
    struct booked_list booked = {.v = NULL};
    int rc;

    if (booked_list(c->home, &booked, e) != 0) {
        return -1;
    }
    bill_front_take(l, &booked);
    rc = booked_check(&booked, e);
    booked_free(&booked);
    return rc;
}

bool
bill_front_in(const struct bill_front *f, const char *month)
{
    return month == NULL || strcmp(f->month, month) == 0;
}

bool
bill_front_has(const struct bill_entries *l, const char *id, const char *month)
{
    for (size_t i = 0; i < l->n_front; i++) {
        if (strcmp(l->front[i].id, id) == 0 && bill_front_in(&l->front[i], month)) {
            return true;
        }
    }
    return false;
}

int64_t
bill_front_sum(const struct bill_entries *l, const char *month)
{
    int64_t fen = 0;

    for (size_t i = 0; i < l->n_front; i++) {
        fen += bill_front_in(&l->front[i], month) ? l->front[i].fen : 0;
    }
    return fen;
}

/* ---- telling ---- */

static const char *
host_of(const struct bill_front *f, char id[SIGN_ID_LEN + 1])
{
    sign_public_id(&f->host, id);
    return id;
}

void
bill_front_rows(const struct bill_entries *l, const char *month, struct table *t)
{
    for (size_t i = 0; i < l->n_front; i++) {
        const struct bill_front *f = &l->front[i];
        char money[OUT_MONEY_MAX];
        char when[OUT_TIME_MAX];

        if (!bill_front_in(f, month)) {
            continue;
        }
        table_cell(t, f->id);
        table_cellf(t, "%" PRId64 "x %s", f->n_devices, f->type);
        table_cell(t, NULL);
        table_cell(t, out_time(f->wall_ns, when));
        table_cell(t, f->act == ORDER_BREAK ? reserveview_act(f->act)
                      : f->fen < 0          ? _("given back")
                                            : _("reserved"));
        table_cell(t, NULL);
        table_cell(t, out_fen(f->fen, money));
    }
}

void
bill_front_json(const struct bill_entries *l, const char *month, struct json_writer *j)
{
    char id[SIGN_ID_LEN + 1];

    json_key(j, "reservations");
    json_arr(j);
    for (size_t i = 0; i < l->n_front; i++) {
        const struct bill_front *f = &l->front[i];

        if (!bill_front_in(f, month)) {
            continue;
        }
        json_obj(j);
        json_kstr(j, "id", f->id);
        json_kstr(j, "host_id", host_of(f, id));
        json_kstr(j, "act", order_act_name(f->act));
        json_kstr(j, "class", f->class_name);
        json_kstr(j, "type", f->type);
        json_kint(j, "count", f->n_devices);
        json_ktime(j, "at", f->wall_ns);
        json_kint(j, "fen", f->fen);
        json_obj_end(j);
    }
    json_arr_end(j);
}

/* In the columns of bill_csv. */
void
bill_front_csv(const struct bill_entries *l, const char *month, struct buf *out)
{
    for (size_t i = 0; i < l->n_front; i++) {
        const struct bill_front *f = &l->front[i];
        char at[CLOCK_TEXT_MAX];

        if (!bill_front_in(f, month)) {
            continue;
        }
        clock_format_utc(f->wall_ns, 0, at);
        buf_printf(out, "%s,%s,reserved,,%s,%s,%" PRId64 ",,,%" PRId64 ",%s,%s,%s\n",
                   f->id, f->month, f->class_name, f->type, f->n_devices, f->fen, at, at,
                   order_act_name(f->act));
    }
}

/* ---- verifying ---- */

static void
verified_json(const struct reservation *r, const char *host, struct buf *out)
{
    struct json_writer j = json_to(out);

    json_obj(&j);
    json_kstr(&j, "reservation", r->id);
    json_kbool(&j, "verified", true);
    json_kbool(&j, "host_key_pinned", host != NULL);
    json_kstr(&j, "host", host);
    json_kint(&j, "paid_fen", reservation_paid_fen(r));
    json_obj_end(&j);
    buf_add_str(out, "\n");
}

static int
verified_print(const struct cli *c, const struct reservation *r, struct err *e)
{
    struct buf out = BUF_INIT;
    struct host h = {.name = NULL};
    char money[OUT_MONEY_MAX];
    struct err none;
    bool pinned = hosts_by_key(c->home, &r->host, &h, &none) == 0;
    int rc;

    if (c->g.json) {
        verified_json(r, h.name, &out);
    } else if (pinned) {
        buf_printf(&out, _("%s: right, %s, signed by %s\n"), r->id,
                   out_fen(reservation_paid_fen(r), money), h.name);
    } else {
        buf_printf(&out,
                   _("%s: right, %s, but no host is pinned here to compare its "
                     "signature with\n"),
                   r->id, out_fen(reservation_paid_fen(r), money));
    }
    rc = out_write(&out, e);
    if (pinned) {
        host_free(&h);
    }
    buf_free(&out);
    return rc;
}

/* *taken: what is a reservation, kept here or in a file; then it was looked at. */
int
bill_front_verify(const struct cli *c, const char *what, bool *taken, struct err *e)
{
    struct reservation *r = NULL;
    struct buf data = BUF_INIT;
    struct err none;
    int rc = -1;

    *taken = false;
    if (strchr(what, '/') == NULL && id_is(ID_RESERVATION, what)) {
        *taken = true;
        if (booked_find(c->home, what, &r, e) != 0) {
            return -1;
        }
    } else if (file_read(what, RESERVATION_MAX_BYTES, &data, &none) == 0 &&
               strncmp(buf_str(&data), RESERVATION_TYPE "\n",
                       strlen(RESERVATION_TYPE "\n")) == 0) {
        *taken = true;
        if (reservation_parse(&r, data.data, data.len, NULL, NULL, e) != 0) {
            err_wrap(e, "%s", what);
        }
    }
    if (r != NULL) {
        rc = verified_print(c, r, e);
    }
    buf_free(&data);
    reservation_free(r);
    return rc;
}
