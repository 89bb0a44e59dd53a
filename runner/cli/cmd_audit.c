#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/calendar.h"
#include "meter/keeping.h"
#include "runner/cli/bill.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/cli/overlap.h"
#include "runner/client/booked.h"
#include "runner/client/keepings.h"
#include "runner/client/wallet.h"

struct audit_options {
    const char *month;
};

static const struct opt options_audit[] = {
    {"month", 0, OPT_STR, offsetof(struct audit_options, month), "YYYY-MM",
     N_("only what belongs to that month (Asia/Shanghai)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* What was found. Problems are lines for people; none: everything agrees. */
struct audit {
    size_t n_reservations;
    int64_t reserved_fen; /* paid in front, less what went back */
    struct strings problems;
    int64_t ns[USAGE_STATE_COUNT]; /* of all sessions, by the state it was booked to */
    int64_t from_ns;               /* what is looked at, by the wall clock */
    int64_t to_ns;
    int64_t charge_fen;
    int64_t keeping_fen;
    size_t n_sessions;
    bool has_wallet;
    size_t n_waiting;
};

static void
problem(struct audit *a, char *text)
{
    strings_add(&a->problems, text);
    free(text);
}

/* Each second in one state: the intervals, one behind the other, are the totals. */
static void
check_states(struct audit *a, const struct receipt *r)
{
    struct usage_totals sum = {{0}};

    for (size_t i = 0; i < r->n_intervals; i++) {
        for (int s = 0; s < USAGE_STATE_COUNT; s++) {
            sum.ns[s] += r->intervals[i].spent.ns[s];
        }
    }
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        if (sum.ns[s] != r->last.total.ns[s]) {
            problem(a,
                    xasprintf(_("job %s: time in state %s is not that of its intervals"),
                              r->job, err_words(usage_state_name((enum usage_state)s))));
        }
        a->ns[s] += receipt_state_ns(r, (enum usage_state)s, a->from_ns, a->to_ns);
    }
}

/* The renter's ledger holds what the host's receipt says, to the fen. */
static int
check_ledger(struct audit *a, const struct home *home, struct ledger *l,
             const struct receipt *r, struct err *e)
{
    struct ledger_lease h;
    struct keeping k;
    bool there = false;
    int64_t kept = 0;
    struct err none;

    if (ledger_lease(l, r->lease, &h, e) != 0) {
        return -1;
    }
    if (h.state == LEDGER_HOLD_NONE) {
        return 0; /* from before there was a wallet, or nothing to hold */
    }
    if (keepings_load(home, r, &there, &k, e) != 0) {
        return -1;
    }
    if (h.state == LEDGER_HOLD_DONE && r->keep_hold_fen > 0 && there) {
        kept = k.charge_fen;
    } else if (h.state == LEDGER_HOLD_DONE && r->keep_hold_fen > 0 &&
               keeping_charge_at(r, r->keep_until_wall_ns, &kept, &none) != 0) {
        kept = 0;
    }
    keeping_clear(&k);
    if (h.state == LEDGER_HOLD_OPEN || h.charge_fen != r->charge_fen + kept) {
        problem(a, xasprintf(_("job %s: the ledger has %" PRId64
                               " fen for it, the host's receipt %" PRId64),
                             r->job, h.charge_fen, r->charge_fen + kept));
    }
    return 0;
}

/* Of a month those whose later session is of it. */
static void
check_overlaps(struct audit *a, const struct bill_entries *l, const char *month)
{
    const struct receipt **r = xcalloc(l->n, sizeof *r);
    struct overlaps found;

    for (size_t i = 0; i < l->n; i++) {
        r[i] = l->v[i].receipt;
    }
    overlaps_find(r, l->n, &found);
    for (size_t i = 0; i < found.n; i++) {
        const struct overlap *o = &found.v[i];

        if (month == NULL || bill_part_of(&l->v[o->second].bill, month).n_lines > 0) {
            problem(a,
                    xasprintf(_("jobs %s and %s were both billed for device %s at once"),
                              r[o->first]->job, r[o->second]->job, o->uuid));
        }
    }
    overlaps_free(&found);
    free(r);
}

static int
check_payments(struct audit *a, struct ledger *l, const struct reservation *r,
               struct err *e)
{
    for (size_t k = 0; k < r->n_payments; k++) {
        const struct reservation_payment *p = &r->payments[k];
        struct ledger_lease h;

        if (ledger_lease(l, p->lease, &h, e) != 0) {
            return -1;
        }
        /* Of another book, or from before there was a wallet. */
        if (h.state != LEDGER_HOLD_NONE && h.charge_fen != p->left_fen) {
            problem(a, xasprintf(_("reservation %s: the ledger has %" PRId64
                                   " fen for lease %s, the host signed %" PRId64),
                                 r->id, h.charge_fen, p->lease, p->left_fen));
        }
    }
    return 0;
}

/*
 * What was paid for time in front, less what went back: of a month, what the bill of that
 * month has of it. The own wallet must have all of each as it now stands.
 */
static int
check_reservations(struct audit *a, const struct booked_list *booked,
                   const struct bill_entries *l, const char *month, struct ledger *ledger,
                   struct err *e)
{
    int rc = 0;

    strings_add_all(&a->problems, &booked->wrong);
    for (size_t i = 0; rc == 0 && i < booked->n; i++) {
        a->n_reservations += bill_front_has(l, booked->v[i]->id, month) ? 1 : 0;
        rc = ledger != NULL ? check_payments(a, ledger, booked->v[i], e) : 0;
    }
    a->reserved_fen = bill_front_sum(l, month);
    return rc;
}

static int
look(struct audit *a, const struct cli *c, const struct bill_entries *l,
     const struct booked_list *booked, const char *month, struct err *e)
{
    struct ledger *ledger = NULL;
    struct err why;
    int rc = wallet_open(&ledger, c->home, false, e);

    a->has_wallet = ledger != NULL;
    if (rc == 0 && ledger != NULL) {
        rc = wallet_sync(c->home, ledger, &a->n_waiting, e);
        if (rc == 0 && ledger_check(ledger, &why) != 0) {
            problem(a, xasprintf(_("the ledger: %s"), why.msg));
        }
    }
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        const struct bill_part part = bill_part_of(&l->v[i].bill, month);

        if (month != NULL && part.n_lines == 0) {
            continue;
        }
        a->n_sessions++;
        a->charge_fen += part.charge_fen;
        a->keeping_fen += part.keeping_fen;
        check_states(a, l->v[i].receipt);
        rc = ledger != NULL ? check_ledger(a, c->home, ledger, l->v[i].receipt, e) : 0;
    }
    if (rc == 0) {
        check_overlaps(a, l, month);
        rc = check_reservations(a, booked, l, month, ledger, e);
    }
    ledger_close(ledger);
    return rc;
}

/* ---- telling ---- */

static void
print_text(const struct audit *a, struct buf *out)
{
    const char *headers[] = {_("STATE"), _(">SECONDS"), "", NULL};
    struct table *t = table_new(headers);
    char money[OUT_MONEY_MAX];

    for (int s = USAGE_SHIPPING; s < USAGE_ENDED; s++) {
        if (a->ns[s] > 0) {
            table_cell(t, err_words(usage_state_name((enum usage_state)s)));
            table_cellf(t, "%" PRId64 ".%03d", (int64_t)(a->ns[s] / USAGE_NS_PER_S),
                        (int)(a->ns[s] % USAGE_NS_PER_S / 1000000));
            table_cell(t, _(usage_state_why((enum usage_state)s)));
        }
    }
    table_print(t, out);
    table_free(t);
    buf_printf(out,
               NP_("%zu session, charged %s", "%zu sessions, charged %s", a->n_sessions),
               a->n_sessions, out_fen(a->charge_fen, money));
    if (a->keeping_fen > 0) {
        buf_printf(out, _(", for keeping %s"), out_fen(a->keeping_fen, money));
    }
    buf_add_str(out, "\n");
    if (a->n_reservations > 0) {
        buf_printf(out,
                   NP_("%zu reservation, paid in front %s\n",
                       "%zu reservations, paid in front %s\n", a->n_reservations),
                   a->n_reservations, out_fen(a->reserved_fen, money));
    }
    if (a->n_waiting > 0) {
        buf_printf(out,
                   NP_("%zu lease holds money and has no receipt here yet\n",
                       "%zu leases hold money and have no receipt here yet\n",
                       a->n_waiting),
                   a->n_waiting);
    }
    for (size_t i = 0; i < a->problems.n; i++) {
        buf_printf(out, _("WRONG: %s\n"), a->problems.v[i]);
    }
    if (a->problems.n == 0) {
        buf_add_str(out,
                    a->has_wallet
                        ? _("receipts, bills and the ledger agree to the fen\n")
                        : _("receipts and bills agree to the fen; there is no wallet\n"));
    }
}

static void
print_json(const struct audit *a, const char *month, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_kstr(j, "month", month);
    json_kbool(j, "right", a->problems.n == 0);
    json_kint(j, "sessions", (int64_t)a->n_sessions);
    json_kint(j, "charge_fen", a->charge_fen);
    json_kint(j, "keeping_fen", a->keeping_fen);
    json_kint(j, "reservations", (int64_t)a->n_reservations);
    json_kint(j, "reserved_fen", a->reserved_fen);
    json_kbool(j, "wallet", a->has_wallet);
    json_kint(j, "waiting", (int64_t)a->n_waiting);
    json_key(j, "ns");
    json_obj(j);
    for (int s = USAGE_SHIPPING; s < USAGE_ENDED; s++) {
        if (a->ns[s] > 0) {
            json_kint(j, usage_state_name((enum usage_state)s), a->ns[s]);
        }
    }
    json_obj_end(j);
    json_key(j, "problems");
    json_arr(j);
    for (size_t i = 0; i < a->problems.n; i++) {
        json_str(j, a->problems.v[i]);
    }
    json_arr_end(j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

static int
run_audit(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct audit_options *o = options;
    struct bill_entries l = {.v = NULL};
    struct booked_list booked = {.v = NULL};
    struct audit a = {.problems = {NULL, 0}, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)w;
    if (o->month != NULL &&
        calendar_parse_month_ns(o->month, &a.from_ns, &a.to_ns, e) != 0) {
        return err_wrap(e, "--month");
    }
    c->stage = STAGE_TRYING;
    if (bill_entries_all(c, &l, true, e) != 0 || booked_list(c->home, &booked, e) != 0) {
        goto out;
    }
    bill_front_take(&l, &booked);
    if (look(&a, c, &l, &booked, o->month, e) != 0) {
        goto out;
    }
    if (c->g.json) {
        print_json(&a, o->month, &out);
    } else {
        print_text(&a, &out);
    }
    if (out_write(&out, e) != 0) {
        goto out;
    }
    rc = a.problems.n == 0 ? CLI_OK : CLI_FAILED;

out:
    strings_free(&a.problems);
    booked_free(&booked);
    bill_entries_free(&l);
    buf_free(&out);
    return rc;
}

const struct command cmd_audit = {
    .name = "audit",
    .usage = N_("[--month YYYY-MM]"),
    .help = N_("prove that receipts, bills and the wallet's ledger agree"),
    .options = options_audit,
    .options_size = sizeof(struct audit_options),
    .run = run_audit,
};
