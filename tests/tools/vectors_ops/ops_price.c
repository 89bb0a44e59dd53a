/* Operations of price, charge, lines, keeping, reservations and money as text. */
#include <string.h>

#include "meter/calendar.h"
#include "meter/money.h"
#include "meter/ratio.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "tests/tools/vectors_ops/call.h"

static int
op_eff_price(struct call *c)
{
    int64_t price = call_int(c, "price_uyh");
    int64_t bps = call_int_or(c, "discount_bps", TARIFF_BPS_ONE);
    int64_t eff = 0;

    if (c->bad || tariff_eff_price(price, bps, &eff, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "eff_uyh", eff);
    return 0;
}

static int
op_charge(struct call *c)
{
    size_t n;
    struct tariff_segment *s = call_segments(c, "segments", &n);
    int64_t min_fen = call_int_or(c, "min_fen", TARIFF_MIN_FEN);
    char text[RATIO_TEXT_MAX];
    struct ratio exact;
    __int128 cost = 0;
    int64_t fen = 0;

    if (c->bad || tariff_cost(s, n, &cost, &c->e) != 0 ||
        tariff_charge(s, n, min_fen, &fen, &c->e) != 0) {
        return -1;
    }
    exact = ratio_of(cost, TARIFF_COST_PER_FEN);
    ratio_format(&exact, text);
    json_kint(&c->out, "charge_fen", fen);
    json_kstr(&c->out, "exact_fen", text);
    json_kbool(&c->out, "fits_int64_numerator", cost <= INT64_MAX);
    return 0;
}

static int
op_sum_sessions(struct call *c)
{
    size_t n;
    struct tariff_segment *s = call_segments(c, "sessions", &n);
    int64_t min_fen = call_int_or(c, "min_fen", TARIFF_MIN_FEN);
    int64_t total = 0;

    for (size_t i = 0; i < n && !c->bad; i++) {
        int64_t fen = 0;

        if (tariff_charge(&s[i], 1, min_fen, &fen, &c->e) != 0) {
            return -1;
        }
        if (__builtin_add_overflow(total, fen, &total)) {
            return refuse(&c->e, REFUSE_RANGE, "the sum");
        }
    }
    json_kint(&c->out, "total_fen", total);
    return c->bad ? -1 : 0;
}

/* The lines of the session between cuts, and their total. */
static int
put_lines(struct call *c, const struct tariff_segment *s, size_t n_s, int64_t *cuts,
          size_t n_cuts, int64_t min_fen)
{
    int64_t *lines = call_alloc(c, n_cuts + 1, sizeof *lines);
    size_t n_lines = 0;
    int64_t total = 0;

    if (tariff_lines(s, n_s, cuts, n_cuts, min_fen, lines, &n_lines, &total, &c->e) !=
        0) {
        return -1;
    }
    call_put_ints(c, "lines_fen", lines, n_lines);
    json_kint(&c->out, "total_fen", total);
    return 0;
}

static int
op_lines(struct call *c)
{
    size_t n_s;
    size_t n_cuts;
    struct tariff_segment *s = call_segments(c, "segments", &n_s);
    int64_t *cuts = call_ints(c, "cuts_s", &n_cuts);
    int64_t min_fen = call_int_or(c, "min_fen", TARIFF_MIN_FEN);

    return c->bad ? -1 : put_lines(c, s, n_s, cuts, n_cuts, min_fen);
}

static int
read_time(struct call *c, const char *key, struct calendar_time *t)
{
    size_t n;
    const char *text = call_bytes(c, key, &n);

    memset(t, 0, sizeof *t);
    return c->bad ? -1 : calendar_parse(text, n, t, &c->e);
}

static int
read_span(struct call *c, int64_t *start_s, int64_t *end_s)
{
    struct calendar_time start;
    struct calendar_time end;

    if (read_time(c, "start", &start) != 0 || read_time(c, "end", &end) != 0 ||
        calendar_check_tz(call_str(c, "tz"), &c->e) != 0) {
        return -1;
    }
    *start_s = start.unix_s;
    *end_s = end.unix_s;
    return 0;
}

static int
put_windows(struct call *c, const char *key, int64_t start_s, int64_t end_s)
{
    int64_t step_s = call_int(c, "step_s");
    int64_t *cuts = NULL;
    int64_t *pieces;
    int64_t from = 0;
    size_t n = 0;

    if (c->bad || calendar_windows(start_s, end_s, step_s, &cuts, &n, &c->e) != 0) {
        return -1;
    }
    (void)call_keep(c, cuts);
    pieces = call_alloc(c, n + 1, sizeof *pieces);
    for (size_t i = 0; i < n; i++) {
        pieces[i] = cuts[i] - from;
        from = cuts[i];
    }
    pieces[n] = end_s - start_s - from;
    call_put_ints(c, key, pieces, end_s > start_s ? n + 1 : 0);
    return 0;
}

static int
op_windows(struct call *c)
{
    int64_t start_s = 0;
    int64_t end_s = 0;

    if (read_span(c, &start_s, &end_s) != 0) {
        return -1;
    }
    return put_windows(c, "seconds", start_s, end_s);
}

static int
op_charge_windows(struct call *c)
{
    struct tariff_segment s = {.n_units = call_int_or(c, "gpus", 1),
                               .price_uyuan_per_h = call_int(c, "price_uyh"),
                               .discount_bps =
                                   call_int_or(c, "discount_bps", TARIFF_BPS_ONE)};
    int64_t start_s = 0;
    int64_t end_s = 0;
    int64_t fen = 0;

    if (read_span(c, &start_s, &end_s) != 0) {
        return -1;
    }
    s.used_s = end_s > start_s ? end_s - start_s : 0;
    if (put_windows(c, "window_seconds", start_s, end_s) != 0 ||
        tariff_charge(&s, 1, TARIFF_MIN_FEN, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
op_month_lines(struct call *c)
{
    size_t n_s;
    size_t n = 0;
    struct tariff_segment *s = call_segments(c, "segments", &n_s);
    int64_t min_fen = call_int_or(c, "min_fen", TARIFF_MIN_FEN);
    int64_t *cuts = NULL;
    int64_t start_s = 0;
    int64_t end_s = 0;

    if (read_span(c, &start_s, &end_s) != 0 || c->bad ||
        calendar_months(start_s, end_s, &cuts, &n, &c->e) != 0) {
        return -1;
    }
    (void)call_keep(c, cuts);
    call_put_ints(c, "cuts_s", cuts, n);
    return put_lines(c, s, n_s, cuts, n, min_fen);
}

static int
op_late_line(struct call *c)
{
    size_t n;
    struct tariff_segment *s = call_segments(c, "session_segments", &n);
    int64_t posted = call_int(c, "posted_before_close_fen");
    int64_t fen = 0;

    if (c->bad || tariff_charge(s, n, TARIFF_MIN_FEN, &fen, &c->e) != 0) {
        return -1;
    }
    if (__builtin_sub_overflow(fen, posted, &fen)) {
        return refuse(&c->e, REFUSE_RANGE, "the adjustment");
    }
    json_kint(&c->out, "adjustment_fen", fen);
    return 0;
}

static int
op_invert(struct call *c)
{
    int64_t fen = call_int(c, "charge_fen");
    int64_t price = call_int(c, "price_uyh");
    int64_t from = 0;
    int64_t to = 0;

    if (c->bad || tariff_invert(fen, price, &from, &to, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "seconds_min", from);
    json_kint(&c->out, "seconds_max", to);
    return 0;
}

static int
op_round_modes(struct call *c)
{
    size_t n;
    const char *text = call_bytes(c, "exact_fen", &n);
    struct ratio r;
    int64_t v[3] = {0};

    if (c->bad || ratio_parse(&r, text, n, &c->e) != 0 ||
        ratio_round(&r, RATIO_FLOOR, &v[0], &c->e) != 0 ||
        ratio_round(&r, RATIO_HALF_UP, &v[1], &c->e) != 0 ||
        ratio_round(&r, RATIO_CEIL, &v[2], &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "floor", v[0]);
    json_kint(&c->out, "half_up", v[1]);
    json_kint(&c->out, "ceil", v[2]);
    return 0;
}

static int
op_storage(struct call *c)
{
    struct tariff_keeping s = {.paid_bytes = call_int(c, "gb"),
                               .kept_s = call_int(c, "seconds")};
    int64_t price = call_int(c, "price_uy_per_gb_day");
    int64_t min_fen = call_int_or(c, "min_fen", 0);
    int64_t fen = 0;

    if (c->bad || tariff_keeping_gb(price, &s, 1, min_fen, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
op_storage_segments(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "segments", &n);
    struct tariff_keeping *s = call_alloc(c, n, sizeof *s);
    int64_t price = call_int(c, "price_uy_per_gb_day");
    int64_t min_fen = call_int_or(c, "min_fen", 0);
    int64_t fen = 0;

    for (size_t i = 0; i < n; i++) {
        s[i].paid_bytes = call_int_of(c, json_at(a, i), "gb");
        s[i].kept_s = call_int_of(c, json_at(a, i), "seconds");
    }
    if (c->bad || tariff_keeping_gb(price, s, n, min_fen, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
put_time_after(struct call *c, const char *from_key, int64_t seconds, const char *key)
{
    char text[CALENDAR_TEXT_MAX];
    struct calendar_time t;

    if (read_time(c, from_key, &t) != 0 || calendar_add(&t, seconds, &t, &c->e) != 0 ||
        calendar_format(&t, text, &c->e) != 0) {
        return -1;
    }
    json_kstr(&c->out, key, text);
    return 0;
}

static int
op_retention(struct call *c)
{
    int64_t seconds = 0;

    if (__builtin_mul_overflow(call_int(c, "days"), (int64_t)TARIFF_S_PER_DAY,
                               &seconds)) {
        return refuse(&c->e, REFUSE_RANGE, "the days");
    }
    return put_time_after(c, "stopped_at", seconds, "release_at");
}

static int
op_reservation(struct call *c)
{
    enum reserve_unit u = RESERVE_NONE;
    int64_t n = call_int_or(c, "n", 1);
    int64_t price = call_int(c, "price_fen_per_unit");
    int64_t fen = 0;
    int64_t seconds = 0;

    if (reserve_unit_parse(call_str(c, "unit"), &u, &c->e) != 0 || c->bad ||
        reserve_price(u, n, price, &fen, &seconds, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "charge_fen", fen);
    json_kint(&c->out, "seconds", seconds);
    return put_time_after(c, "start", seconds, "end");
}

static int
op_reservation_unused(struct call *c)
{
    json_kint(&c->out, "charge_fen", call_int(c, "price_fen"));
    return c->bad ? -1 : 0;
}

static int
op_reservation_end(struct call *c)
{
    int64_t run_s = call_int(c, "run_s");
    int64_t reserved_s = call_int(c, "reserved_s");
    int64_t price = call_int(c, "reserved_price_fen");
    const char *then = call_str(c, "on_expiry");
    int64_t over = 0;
    int64_t sum = 0;

    if (c->bad) {
        return -1;
    }
    if (strcmp(then, "stop") == 0) {
        json_kint(&c->out, "charge_fen", price);
        json_kint(&c->out, "billed_s", reserved_s);
        json_kint(&c->out, "stopped_at_s", reserved_s);
        return 0;
    }
    if (strcmp(then, "payg") != 0) {
        return refuse(&c->e, REFUSE_UNKNOWN, "no such end of a reservation");
    }
    if (reserve_overrun(run_s, reserved_s, call_int(c, "payg_uyh"), &over, &c->e) != 0) {
        return -1;
    }
    if (__builtin_add_overflow(price, over, &sum)) {
        return refuse(&c->e, REFUSE_RANGE, "the sum");
    }
    json_kint(&c->out, "charge_fen", sum);
    call_put_ints(c, "lines_fen", (int64_t[]){price, over}, 2);
    return c->bad ? -1 : 0;
}

static int
op_switch_to_reservation(struct call *c)
{
    int64_t payg_s = call_int(c, "payg_seconds");
    int64_t price = call_int(c, "payg_uyh");
    int64_t reserved = call_int(c, "reservation_fen");
    int64_t so_far = 0;
    int64_t sum = 0;

    /* What ran before the switch is an overrun of a reservation of nothing. */
    if (c->bad || reserve_overrun(payg_s, 0, price, &so_far, &c->e) != 0) {
        return -1;
    }
    if (__builtin_add_overflow(so_far, reserved, &sum)) {
        return refuse(&c->e, REFUSE_RANGE, "the sum");
    }
    call_put_ints(c, "lines_fen", (int64_t[]){so_far, reserved}, 2);
    json_kint(&c->out, "total_fen", sum);
    return 0;
}

static int
op_refund(struct call *c)
{
    int64_t paid = call_int(c, "paid_fen");
    int64_t price = call_int(c, "payg_uyh");
    int64_t n = call_int_or(c, "gpus", 1);
    int64_t used_s = call_int(c, "used_s");
    int64_t bps = call_int_or(c, "fee_bps", 0);
    int64_t fen = 0;

    if (c->bad || reserve_refund(paid, price, n, used_s, bps, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "refund_fen", fen);
    return 0;
}

static int
op_refund_sla(struct call *c)
{
    int64_t paid = call_int(c, "paid_fen");
    int64_t used_s = call_int(c, "used_s");
    int64_t total_s = call_int(c, "total_s");
    int64_t fen = 0;

    if (c->bad || reserve_refund_broken(paid, used_s, total_s, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "refund_fen", fen);
    return 0;
}

static int
op_renew(struct call *c)
{
    int64_t old_end = call_int(c, "old_end");
    int64_t now = call_int(c, "now");
    int64_t period_s = call_int(c, "period_s");
    int64_t end = 0;

    if (c->bad || reserve_renew(old_end, now, period_s, &end, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "new_end", end);
    return 0;
}

static int
change(struct call *c, const char *from_key, const char *to_key, const char *out_key)
{
    int64_t from = call_int(c, from_key);
    int64_t to = call_int(c, to_key);
    int64_t remaining_s = call_int(c, "remaining_s");
    int64_t period_s = call_int(c, "period_s");
    int64_t fen = 0;

    if (c->bad || reserve_change(from, to, remaining_s, period_s, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, out_key, fen);
    return 0;
}

static int
op_upgrade(struct call *c)
{
    return change(c, "old_fen", "new_fen", "charge_fen");
}

static int
op_downgrade(struct call *c)
{
    return change(c, "new_fen", "old_fen", "refund_fen");
}

static int
op_parse(struct call *c)
{
    size_t n;
    const char *text = call_bytes(c, "text", &n);
    int64_t fen = 0;

    if (c->bad || money_parse_fen(text, n, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "fen", fen);
    return 0;
}

static int
op_format(struct call *c)
{
    char text[MONEY_TEXT_MAX];

    money_format_fen(call_int(c, "fen"), text);
    json_kstr(&c->out, "text", text);
    return c->bad ? -1 : 0;
}

const struct op ops_price[] = {
    {"eff_price", op_eff_price},
    {"charge", op_charge},
    {"sum_sessions", op_sum_sessions},
    {"lines", op_lines},
    {"windows", op_windows},
    {"charge_windows", op_charge_windows},
    {"month_lines", op_month_lines},
    {"late_line", op_late_line},
    {"invert", op_invert},
    {"round_modes", op_round_modes},
    {"storage", op_storage},
    {"storage_segments", op_storage_segments},
    {"retention", op_retention},
    {"reservation", op_reservation},
    {"reservation_unused", op_reservation_unused},
    {"reservation_end", op_reservation_end},
    {"switch_to_reservation", op_switch_to_reservation},
    {"refund", op_refund},
    {"refund_sla", op_refund_sla},
    {"renew", op_renew},
    {"upgrade", op_upgrade},
    {"downgrade", op_downgrade},
    {"parse", op_parse},
    {"format", op_format},
    {NULL, NULL},
};
