#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/calendar.h"
#include "meter/money.h"
#include "runner/book/commands.h"
#include "runner/book/desk.h"

#define NS_PER_S ((int64_t)1000000000)

/* What happened, by the day on which it was posted: a line an entry. */

struct listing {
    struct json_writer *json; /* or */
    struct columns *columns;
};

static int
entry_row(void *ctx, const struct ledger_entry *en, struct err *e)
{
    const struct listing *l = ctx;
    char text[CLOCK_TEXT_MAX > MONEY_TEXT_MAX ? CLOCK_TEXT_MAX : MONEY_TEXT_MAX];

    (void)e;
    if (l->json != NULL) {
        json_obj(l->json);
        json_kint(l->json, "n", en->n);
        json_kstr(l->json, "id", en->id);
        json_kstr(l->json, "kind", en->kind);
        json_kstr(l->json, "account", en->wallet[0] != '\0' ? en->wallet : NULL);
        json_kstr(l->json, "lease", en->lease[0] != '\0' ? en->lease : NULL);
        json_ktime(l->json, "at", en->wall_ns);
        json_kint(l->json, "balance_change_fen", en->cash_fen);
        json_kint(l->json, "held_change_fen", en->held_fen);
        json_kint(l->json, "voucher_change_fen", en->voucher_fen);
        json_obj_end(l->json);
        return 0;
    }
    (void)snprintf(text, sizeof text, "%" PRId64, en->n);
    columns_add(l->columns, text);
    clock_format_local(en->wall_ns, text);
    columns_add(l->columns, text);
    columns_add(l->columns, en->id);
    columns_add(l->columns, en->wallet);
    money_format_fen(en->cash_fen, text);
    columns_add(l->columns, text);
    money_format_fen(en->held_fen, text);
    columns_add(l->columns, text);
    money_format_fen(en->voucher_fen, text);
    columns_add(l->columns, text);
    return 0;
}

/* What there was when the time began, and what there is at its end. */
struct sums {
    int64_t from_ns;
    struct listing *rows;
    int64_t cash_fen[2];
    int64_t held_fen[2];
    int64_t voucher_fen[2];
};

static int
add_entry(void *ctx, const struct ledger_entry *en, struct err *e)
{
    struct sums *s = ctx;
    bool before = en->wall_ns < s->from_ns;

    for (int k = before ? 0 : 1; k < 2; k++) {
        s->cash_fen[k] += en->cash_fen;
        s->held_fen[k] += en->held_fen;
        s->voucher_fen[k] += en->voucher_fen;
    }
    return before ? 0 : entry_row(s->rows, en, e);
}

static void
put_sums(const struct sums *s, int k, const char *what, struct json_writer *j)
{
    char balance[MONEY_TEXT_MAX];
    char held[MONEY_TEXT_MAX];
    char vouchers[MONEY_TEXT_MAX];

    if (j != NULL) {
        json_key(j, what);
        json_obj(j);
        json_kint(j, "balance_fen", s->cash_fen[k]);
        json_kint(j, "held_fen", s->held_fen[k]);
        json_kint(j, "voucher_fen", s->voucher_fen[k]);
        json_obj_end(j);
        return;
    }
    money_format_fen(s->cash_fen[k], balance);
    money_format_fen(s->held_fen[k], held);
    money_format_fen(s->voucher_fen[k], vouchers);
    (void)printf(_("%s: balance %s, of it held %s; vouchers %s\n"), err_words(what),
                 balance, held, vouchers);
}

static int
show_statement(struct book *b, int64_t from_s, int64_t to_s, bool as_json, struct err *e)
{
    static const char *const titles[] = {N_("N"),       N_("WHEN"),    N_("WHAT"),
                                         N_("ACCOUNT"), N_("BALANCE"), N_("HELD"),
                                         N_("VOUCHERS")};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct listing l = {.json = as_json ? &j : NULL};
    struct sums s = {.from_ns = from_s * NS_PER_S, .rows = &l};
    int rc;

    l.columns = as_json ? NULL : columns_new(7, titles);
    json_obj(&j);
    json_key(&j, "entries");
    json_arr(&j);
    rc = ledger_each(b->ledger, INT64_MIN, to_s * NS_PER_S, add_entry, &s, e);
    json_arr_end(&j);
    put_sums(&s, 0, "opening", &j);
    put_sums(&s, 1, "closing", &j);
    json_obj_end(&j);
    if (!as_json) {
        put_sums(&s, 0, N_("opening"), NULL);
        columns_print_free(l.columns);
        put_sums(&s, 1, N_("closing"), NULL);
    } else if (rc == 0) {
        rc = program_print_json(&out, e);
    }
    buf_free(&out);
    return rc;
}

int
book_cmd_statement(const struct command_options *o, int argc, char **argv, struct err *e)
{
    int64_t from_s = INT64_MIN / NS_PER_S;
    int64_t to_s = INT64_MAX / NS_PER_S;
    struct account a = {.ssh_key = NULL};
    struct book *b = NULL;
    size_t n = 0;
    int rc = -1;

    if (o->month != NULL && calendar_parse_month(o->month, &from_s, &to_s, e) != 0) {
        return -1;
    }
    if (book_open(&b, e) == 0 && (argc == 0 || account_find(b, argv[0], &a, e) == 0) &&
        desk_tick(b, argc > 0 ? a.id : NULL, &n, e) == 0) {
        ledger_use(b->ledger, argc > 0 ? a.id : NULL);
        rc = show_statement(b, from_s, to_s, o->json, e);
    }
    account_free(&a);
    book_close(b);
    return rc;
}
