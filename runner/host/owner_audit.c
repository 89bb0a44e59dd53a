/*
 * `gpurun-agent audit`: every second of every device in one state, every fen of every
 * session in the owner's ledger, and whatever does not agree by name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/lang.h"
#include "base/num.h"
#include "base/text.h"
#include "meter/audit.h"
#include "meter/bill.h"
#include "meter/calendar.h"
#include "meter/money.h"
#include "runner/host/commands.h"
#include "runner/host/earned.h"
#include "runner/host/owner_json.h"
#include "runner/host/seen.h"

#define NS_PER_S  INT64_C(1000000000)
#define GAPS_TEXT 20 /* lines per device for people; JSON has them all */

/* One session's money. */
struct audit_row {
    char lease[GRANT_ID_MAX + 1];
    char job[GRANT_ID_MAX + 1];
    char renter[SIGN_ID_LEN + 1];
    char book[SIGN_ID_LEN + 1];
    char receipt[SHA256_HEX_LEN + 1]; /* "" not ended */
    int64_t charge_fen;               /* of the month; so far, where it goes on */
    int64_t keeping_fen;              /* of the month */
    bool open;
    bool lost;
};

struct look {
    const char *month; /* NULL: all time */
    int64_t from_ns;   /* of the month, by the wall clock */
    int64_t to_ns;
    const struct agent *agent;
    struct ledger *ledger;
    struct audit *audit;
    struct audit_row *rows;
    size_t n_rows;
    int64_t ns[USAGE_STATE_COUNT]; /* of all sessions */
    int64_t charge_fen;            /* of ended ones */
    int64_t keeping_fen;
    int64_t open_fen;     /* so far, of those that go on */
    int64_t due_fen;      /* by the ledger, of all time */
    int64_t reserved_fen; /* paid in front, less what went back; of all time */
    size_t n_reserved;
    struct strings problems;
};

static void
problem(struct look *k, char *text)
{
    strings_add(&k->problems, text);
    free(text);
}

/* ---- one session ---- */

static void
check_states(struct look *k, const struct receipt *r)
{
    struct usage_totals sum = {{0}};

    for (size_t i = 0; i < r->n_intervals; i++) {
        for (int s = 0; s < USAGE_STATE_COUNT; s++) {
            sum.ns[s] += r->intervals[i].spent.ns[s];
        }
    }
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        k->ns[s] += receipt_state_ns(r, (enum usage_state)s, k->from_ns, k->to_ns);
        if (sum.ns[s] != r->last.total.ns[s]) {
            problem(k,
                    xasprintf(_("job %s: time in state %s is not that of its intervals"),
                              r->job, err_words(usage_state_name((enum usage_state)s))));
        }
    }
}

/* What of it belongs to the month looked at, from its lines, which must be its charge. */
static struct bill_part
part_of(struct look *k, const struct renter *renter, const struct receipt *r)
{
    struct bill_part part = {0};
    struct keeping line;
    bool there = false;
    struct bill b;
    struct err e;

    if (bill_from_receipt(&b, r, &e) != 0) {
        problem(k, xasprintf(_("job %s: %s"), r->job, e.msg));
        return part;
    }
    if (bill_part_of(&b, NULL).charge_fen != r->charge_fen) {
        problem(k,
                xasprintf(_("job %s: its lines are %" PRId64 " fen, its charge %" PRId64),
                          r->job, bill_part_of(&b, NULL).charge_fen, r->charge_fen));
    }
    if (earned_keeping(k->agent, renter, r, &line, &there, &e) != 0 ||
        (there && bill_add_keeping(&b, &line, r, &e) != 0)) {
        problem(k, xasprintf(_("job %s: its line of keeping: %s"), r->job, e.msg));
    }
    part = bill_part_of(&b, k->month);
    keeping_clear(&line);
    bill_clear(&b);
    return part;
}

/* The record that listings read says what the receipt says. */
static void
check_record(struct look *k, const struct job_state *st, const struct receipt *r)
{
    if (!job_phase_is_final(st->phase)) {
        return;
    }
    if (r->open) {
        problem(k,
                xasprintf(_("job %s: it has ended, and there is no receipt"), st->job));
    } else if (st->charge_fen != r->charge_fen) {
        problem(k, xasprintf(
                       _("job %s: its record says %" PRId64 " fen, its receipt %" PRId64),
                       st->job, st->charge_fen, r->charge_fen));
    }
}

/* The ledger has it, to the fen. */
static void
check_ledger(struct look *k, const struct renter *renter, const struct receipt *r)
{
    struct ledger_lease h;
    int64_t kept_fen;
    struct err e;

    if (earned_enter(k->ledger, k->agent, renter, r, &e) != 0 ||
        ledger_lease(k->ledger, r->lease, &h, &e) != 0) {
        problem(k, xasprintf(_("job %s: the ledger: %s"), r->job, e.msg));
        return;
    }
    kept_fen = h.charge_fen - r->charge_fen;
    if (kept_fen < 0 || kept_fen > r->keep_hold_fen ||
        (h.state == LEDGER_HOLD_KEEPING && kept_fen != 0)) {
        problem(k, xasprintf(
                       _("job %s: the ledger has %" PRId64 " fen, the receipt %" PRId64),
                       r->job, h.charge_fen, r->charge_fen));
    }
}

/* Does any of it lie in the month? */
static bool
in_month(const struct look *k, const struct receipt *r)
{
    return r->n_intervals > 0 && r->last.at.wall_ns >= k->from_ns &&
           r->intervals[0].from_wall_ns < k->to_ns;
}

static struct audit_row *
add_row(struct look *k, const struct renter *renter, const struct receipt *r)
{
    struct audit_row *row;

    k->rows = xrealloc(k->rows, (k->n_rows + 1) * sizeof *k->rows);
    row = &k->rows[k->n_rows++];
    memset(row, 0, sizeof *row);
    (void)strcpy(row->lease, r->lease);
    (void)strcpy(row->job, r->job);
    (void)strcpy(row->renter, renter->id);
    sign_public_id(&r->grant.book, row->book);
    row->open = r->open;
    row->lost = r->lost;
    return row;
}

static void
take_ended(struct look *k, const struct renter *renter, const struct receipt *r)
{
    struct bill_part part = part_of(k, renter, r);
    struct audit_row *row;

    if (k->month != NULL && part.n_lines == 0) {
        return;
    }
    row = add_row(k, renter, r);
    row->charge_fen = part.charge_fen;
    row->keeping_fen = part.keeping_fen;
    sha256_format(&r->last.hash, row->receipt);
    k->charge_fen += part.charge_fen;
    k->keeping_fen += part.keeping_fen;
    check_states(k, r);
    check_ledger(k, renter, r);
}

static int
take(void *ctx, const struct renter *renter, const struct job_state *st,
     const struct receipt *r, const struct err *why, struct err *e)
{
    struct look *k = ctx;

    (void)e;
    if (r == NULL) {
        problem(k, xasprintf(_("job %s: its journal: %s"), st->job, why->msg));
        return 0;
    }
    audit_add(k->audit, r);
    if (in_month(k, r)) {
        check_record(k, st, r);
    }
    if (!r->open) {
        take_ended(k, renter, r);
    } else if (in_month(k, r)) {
        add_row(k, renter, r)->charge_fen = r->charge_fen;
        check_states(k, r);
        k->open_fen += r->charge_fen;
    }
    return 0;
}

/* ---- one reservation ---- */

/* From one event to the next it holds the same devices; some of that time is paid. */
static void
put_reserved(struct look *k, const struct reservation *r, size_t i)
{
    const struct reservation_event *ev = &r->events[i];
    int64_t from_s = ev->wall_ns / NS_PER_S;
    int64_t to_s =
        i + 1 < r->n_events ? r->events[i + 1].wall_ns / NS_PER_S : INT64_MAX / NS_PER_S;

    for (size_t n = 0; n < ev->n_devices; n++) {
        struct journal_device d;

        memset(&d, 0, sizeof d);
        (void)snprintf(d.class_name, sizeof d.class_name, "%s", ev->class_name);
        (void)snprintf(d.type, sizeof d.type, "%s", ev->type);
        (void)snprintf(d.uuid, sizeof d.uuid, "%s", ev->devices[n]);
        for (size_t s = 0; s < r->n_stretches; s++) {
            const struct reservation_stretch *x = &r->stretches[s];

            audit_reserve(k->audit, &d, i64_max(x->from_s, from_s) * NS_PER_S,
                          i64_min(x->to_s, to_s) * NS_PER_S);
        }
    }
}

static int
take_reserved(void *ctx, const struct renter *renter, const struct reservation *r,
              struct err *e)
{
    struct look *k = ctx;
    struct err why;

    (void)e;
    for (size_t i = 0; i < r->n_events; i++) {
        put_reserved(k, r, i);
    }
    k->n_reserved++;
    k->reserved_fen += reservation_paid_fen(r);
    if (earned_reservation(k->ledger, renter, r, &why) != 0) {
        problem(k, xasprintf(_("the ledger: %s"), why.msg));
    }
    for (size_t i = 0; i < r->n_payments; i++) {
        struct ledger_lease h;

        if (ledger_lease(k->ledger, r->payments[i].lease, &h, &why) != 0 ||
            h.charge_fen != r->payments[i].left_fen) {
            problem(
                k, xasprintf(_("reservation %s: the ledger has another sum for lease %s"),
                             r->id, r->payments[i].lease));
        }
    }
    return 0;
}

/* ---- all of them ---- */

static int
sum_due(void *ctx, const struct ledger_account *acc, struct err *e)
{
    struct look *k = ctx;

    (void)e;
    if (strncmp(acc->name, "owner:payable:", strlen("owner:payable:")) == 0) {
        k->due_fen += acc->credit_fen - acc->debit_fen;
    }
    return 0;
}

static int
look(struct look *k, const struct agent *a, struct err *e)
{
    struct usage_moment now;
    size_t n;
    struct err why;

    k->from_ns = INT64_MIN;
    k->to_ns = INT64_MAX;
    if (k->month != NULL &&
        calendar_parse_month_ns(k->month, &k->from_ns, &k->to_ns, e) != 0) {
        return err_wrap(e, "--month");
    }
    k->agent = a;
    k->audit = audit_new(k->from_ns, k->to_ns);
    usage_now(&now); /* the look comes after, so it covers all until now */
    if (earned_open(&k->ledger, a, e) != 0 || seen_note(a, e) != 0 ||
        seen_put(a, k->audit, e) != 0 || earned_each(a, take, k, e) != 0 ||
        earned_each_reservation(a, take_reserved, k, e) != 0) {
        return -1;
    }
    audit_close(k->audit, &now);
    if (ledger_check(k->ledger, &why) != 0) {
        problem(k, xasprintf(_("the ledger: %s"), why.msg));
    }
    if (ledger_each_account(k->ledger, sum_due, k, e) != 0) {
        return -1;
    }
    if (k->month == NULL &&
        k->due_fen != k->charge_fen + k->keeping_fen + k->reserved_fen) {
        problem(k,
                xasprintf(_("the ledger has %" PRId64
                            " fen earned, the receipts here %" PRId64),
                          k->due_fen, k->charge_fen + k->keeping_fen + k->reserved_fen));
    }
    for (size_t i = 0; i < (audit_devices(k->audit, &n), n); i++) {
        const struct audit_device *d = &audit_devices(k->audit, &n)[i];

        for (size_t g = 0; g < d->n_gaps; g++) {
            if (d->gaps[g].what == AUDIT_OVERLAP) {
                problem(k, xasprintf(_("jobs %s and %s both had device %s, for %" PRId64
                                       ".%03d s"),
                                     d->gaps[g].before, d->gaps[g].after, d->device.uuid,
                                     d->gaps[g].ns / NS_PER_S,
                                     (int)(d->gaps[g].ns % NS_PER_S / 1000000)));
            }
        }
    }
    return 0;
}

/* ---- telling ---- */

static void
add_seconds(struct columns *c, int64_t ns)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRId64 ".%03d", ns / NS_PER_S,
                   (int)(ns % NS_PER_S / 1000000));
    columns_add(c, text);
}

static int64_t
free_ns(const struct audit_device *d)
{
    int64_t ns = 0;

    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        ns += d->free_ns[s];
    }
    return ns;
}

static void
print_devices(const struct audit_device *v, size_t n)
{
    const char *const titles[] = {
        N_("DEVICE"), N_("TYPE"), N_("SOLD"),       lang_in("audit", "FREE"),
        N_("FAULT"),  N_("IDLE"), N_("UNOBSERVED"), N_("SECONDS")};
    struct columns *c = columns_new(8, titles);

    for (size_t i = 0; i < n; i++) {
        columns_add(c, v[i].device.uuid[0] != '\0' ? v[i].device.uuid
                                                   : v[i].device.class_name);
        columns_add(c, v[i].device.type);
        add_seconds(c, v[i].sold_ns);
        add_seconds(c, free_ns(&v[i]));
        add_seconds(c, v[i].fault_ns);
        add_seconds(c, v[i].idle_ns);
        add_seconds(c, v[i].unobserved_ns);
        add_seconds(c, v[i].ns);
    }
    columns_print_free(c);
}

static void
print_gaps(const struct audit_device *d)
{
    char at[CLOCK_TEXT_MAX];

    for (size_t g = 0; g < d->n_gaps && g < GAPS_TEXT; g++) {
        const struct audit_gap *p = &d->gaps[g];

        clock_format_local(p->from_wall_ns, at);
        (void)printf(_("%s  %s  %s for %" PRId64 ".%03d s%s%s%s%s\n"), d->device.uuid, at,
                     err_words(audit_what_name(p->what)), p->ns / NS_PER_S,
                     (int)(p->ns % NS_PER_S / 1000000),
                     p->before[0] != '\0' ? _(", after ") : "", p->before,
                     p->after[0] != '\0' ? _(", before ") : "", p->after);
    }
    if (d->n_gaps > GAPS_TEXT) {
        (void)printf(_("%s  %zu more: --json lists all\n"), d->device.uuid,
                     d->n_gaps - GAPS_TEXT);
    }
}

static void
print_text(const struct look *k)
{
    static const char *const titles[] = {N_("STATE"), N_("SECONDS"), N_("WHY FREE")};
    struct columns *c = columns_new(3, titles);
    size_t n;
    const struct audit_device *v = audit_devices(k->audit, &n);
    char money[MONEY_TEXT_MAX];
    size_t open = 0;

    for (int s = USAGE_SHIPPING; s < USAGE_ENDED; s++) {
        if (k->ns[s] > 0) {
            columns_add(c, err_words(usage_state_name((enum usage_state)s)));
            add_seconds(c, k->ns[s]);
            columns_add(c, err_words(usage_state_why((enum usage_state)s)));
        }
    }
    columns_print_free(c);
    print_devices(v, n);
    for (size_t i = 0; i < n; i++) {
        print_gaps(&v[i]);
    }
    for (size_t i = 0; i < k->n_rows; i++) {
        open += k->rows[i].open ? 1 : 0;
    }
    money_format_fen(k->charge_fen, money);
    (void)printf(NP_("%zu session ended, charged %s yuan",
                     "%zu sessions ended, charged %s yuan", k->n_rows - open),
                 k->n_rows - open, money);
    money_format_fen(k->keeping_fen, money);
    (void)printf(_(", for keeping %s yuan; %zu go on"), money, open);
    money_format_fen(k->open_fen, money);
    (void)printf(_(", %s yuan so far\n"), money);
    if (k->n_reserved > 0) {
        money_format_fen(k->reserved_fen, money);
        (void)printf(NP_("%zu reservation, paid in front %s yuan\n",
                         "%zu reservations, paid in front %s yuan\n", k->n_reserved),
                     k->n_reserved, money);
    }
    money_format_fen(k->due_fen, money);
    (void)printf(_("the ledger has %s yuan earned in all\n"), money);
    for (size_t i = 0; i < k->problems.n; i++) {
        (void)printf(_("WRONG: %s\n"), k->problems.v[i]);
    }
    if (k->problems.n == 0) {
        (void)printf(_("journals, receipts and the ledger agree to the fen\n"));
    }
}

static void
json_device(struct json_writer *j, const struct audit_device *d)
{
    json_obj(j);
    json_kstr(j, "class", d->device.class_name);
    json_kstr(j, "type", d->device.type);
    json_kstr(j, "uuid", d->device.uuid);
    json_kbool(j, "shared", d->shared);
    json_ktime(j, "from", d->from_wall_ns);
    json_ktime(j, "to", d->to_wall_ns);
    json_kint(j, "ns", d->ns);
    json_kint(j, "sold_ns", d->sold_ns);
    json_key(j, "free_ns");
    json_obj(j);
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        if (d->free_ns[s] > 0) {
            json_kint(j, usage_state_name((enum usage_state)s), d->free_ns[s]);
        }
    }
    json_obj_end(j);
    json_kint(j, "fault_ns", d->fault_ns);
    json_kint(j, "idle_ns", d->idle_ns);
    json_kint(j, "unobserved_ns", d->unobserved_ns);
    json_key(j, "gaps");
    json_arr(j);
    for (size_t g = 0; g < d->n_gaps; g++) {
        json_obj(j);
        json_kstr(j, "is", audit_what_name(d->gaps[g].what));
        json_ktime(j, "from", d->gaps[g].from_wall_ns);
        json_kint(j, "ns", d->gaps[g].ns);
        json_kstr(j, "before", d->gaps[g].before[0] != '\0' ? d->gaps[g].before : NULL);
        json_kstr(j, "after", d->gaps[g].after[0] != '\0' ? d->gaps[g].after : NULL);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_obj_end(j);
}

static void
json_row(struct json_writer *j, const struct audit_row *r)
{
    json_obj(j);
    json_kstr(j, "lease", r->lease);
    json_kstr(j, "job", r->job);
    json_kstr(j, "renter", r->renter);
    json_kstr(j, "book", r->book);
    json_kstr(j, "receipt", r->receipt[0] != '\0' ? r->receipt : NULL);
    json_kbool(j, "open", r->open);
    json_kbool(j, "lost", r->lost);
    json_kint(j, "charge_fen", r->charge_fen);
    json_kint(j, "keeping_fen", r->keeping_fen);
    json_obj_end(j);
}

static int
print_json(const struct look *k, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    size_t n;
    const struct audit_device *v = audit_devices(k->audit, &n);

    json_obj(&j);
    json_kstr(&j, "month", k->month);
    json_kbool(&j, "right", k->problems.n == 0);
    json_kint(&j, "charge_fen", k->charge_fen);
    json_kint(&j, "keeping_fen", k->keeping_fen);
    json_kint(&j, "open_fen", k->open_fen);
    json_kint(&j, "earned_fen", k->due_fen);
    json_kint(&j, "reservations", (int64_t)k->n_reserved);
    json_kint(&j, "reserved_fen", k->reserved_fen);
    json_key(&j, "ns");
    json_obj(&j);
    for (int s = USAGE_SHIPPING; s < USAGE_ENDED; s++) {
        if (k->ns[s] > 0) {
            json_kint(&j, usage_state_name((enum usage_state)s), k->ns[s]);
        }
    }
    json_obj_end(&j);
    json_key(&j, "devices");
    json_arr(&j);
    for (size_t i = 0; i < n; i++) {
        json_device(&j, &v[i]);
    }
    json_arr_end(&j);
    json_key(&j, "sessions");
    json_arr(&j);
    for (size_t i = 0; i < k->n_rows; i++) {
        json_row(&j, &k->rows[i]);
    }
    json_arr_end(&j);
    json_key(&j, "problems");
    json_arr(&j);
    for (size_t i = 0; i < k->problems.n; i++) {
        json_str(&j, k->problems.v[i]);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

int
owner_audit(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct look k = {.month = o->month};
    struct agent *a = NULL;
    int rc = -1;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (look(&k, a, e) == 0) {
        rc = 0;
        if (o->json) {
            rc = print_json(&k, e);
        } else {
            print_text(&k);
        }
        rc = rc == 0 && k.problems.n > 0 ? 1 : rc;
    }
    ledger_close(k.ledger);
    audit_free(k.audit);
    strings_free(&k.problems);
    free(k.rows);
    agent_close(a);
    return rc;
}
