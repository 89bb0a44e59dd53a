/* Vouchers: the operator's money that pays for a renter's runs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/money.h"
#include "runner/book/commands.h"
#include "runner/book/desk.h"

#define REF_LEN 13

/* ---- giving ---- */

static int
fill(struct ledger_voucher *v, const struct command_options *o, const char *yuan,
     struct err *e)
{
    char made[REF_LEN + 1];

    memset(v, 0, sizeof *v);
    if (money_parse_fen(yuan, strlen(yuan), &v->given_fen, e) != 0 ||
        (o->min_spend != NULL && money_parse_fen(o->min_spend, strlen(o->min_spend),
                                                 &v->min_spend_fen, e) != 0)) {
        return -1;
    }
    if (v->given_fen == 0) {
        return err_set(e, ERR_INVALID, "an amount is more than nothing");
    }
    if (o->ref != NULL && strlen(o->ref) > LEDGER_VOUCHER_ID_MAX) {
        return err_set(e, ERR_INVALID, "a voucher's id has at most %d characters",
                       LEDGER_VOUCHER_ID_MAX);
    }
    if (o->until != NULL && strlen(o->until) != LEDGER_DATE_LEN) {
        return err_set(e, ERR_INVALID, "'%s' is no date (2026-12-31)", o->until);
    }
    random_id("c", made);
    (void)snprintf(v->id, sizeof v->id, "%s", o->ref != NULL ? o->ref : made);
    (void)snprintf(v->expires, sizeof v->expires, "%s", o->until != NULL ? o->until : "");
    return 0;
}

static int
add(struct book *b, const struct command_options *o, const char *name, const char *yuan,
    struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct ledger_voucher v;
    struct account a;
    bool repeated = false;
    size_t n_posted = 0;
    int rc = -1;

    if (fill(&v, o, yuan, e) != 0 || account_find(b, name, &a, e) != 0) {
        return -1;
    }
    /* Those that are over make room. */
    if (desk_tick(b, a.id, &n_posted, e) != 0) {
        account_free(&a);
        return -1;
    }
    ledger_use(b->ledger, a.id);
    rc = ledger_voucher(b->ledger, &v, clock_wall_ns(), &repeated, e);
    if (rc == 0 && !o->json) {
        (void)printf("%s%s\n", v.id, repeated ? _(" (was there already)") : "");
    } else if (rc == 0) {
        json_obj(&j);
        json_kstr(&j, "id", v.id);
        json_kstr(&j, "account", a.id);
        json_kint(&j, "fen", v.given_fen);
        json_kbool(&j, "repeated", repeated);
        json_obj_end(&j);
        rc = program_print_json(&out, e);
    }
    account_free(&a);
    buf_free(&out);
    return rc;
}

/* ---- listing ---- */

struct listing {
    const struct account *of;
    struct json_writer *json; /* or */
    struct columns *columns;
};

static const char *
state_of(const struct ledger_voucher *v)
{
    return v->expired                           ? N_("expired")
           : v->free_fen + v->promised_fen == 0 ? N_("used up")
                                                : N_("open");
}

static int
voucher_row(void *ctx, const struct ledger_voucher *v, struct err *e)
{
    struct listing *l = ctx;
    const struct account *a = l->of;
    const int64_t fen[] = {v->given_fen, v->free_fen, v->promised_fen, v->min_spend_fen};
    char money[MONEY_TEXT_MAX];

    (void)e;
    if (l->json != NULL) {
        json_obj(l->json);
        json_kstr(l->json, "id", v->id);
        json_kstr(l->json, "account", a->id);
        json_kstr(l->json, "name", a->name);
        json_kstr(l->json, "state", state_of(v));
        json_kint(l->json, "given_fen", v->given_fen);
        json_kint(l->json, "free_fen", v->free_fen);
        json_kint(l->json, "promised_fen", v->promised_fen);
        json_kint(l->json, "min_spend_fen", v->min_spend_fen);
        json_kstr(l->json, "until", v->expires[0] != '\0' ? v->expires : NULL);
        json_obj_end(l->json);
        return 0;
    }
    columns_add(l->columns, v->id);
    columns_add(l->columns, a->name[0] != '\0' ? a->name : a->id);
    columns_add(l->columns, err_words(state_of(v)));
    for (size_t i = 0; i < sizeof fen / sizeof *fen; i++) {
        money_format_fen(fen[i], money);
        columns_add(l->columns, money);
    }
    columns_add(l->columns, v->expires[0] != '\0' ? v->expires : "-");
    return 0;
}

static int
list_one(struct book *b, const char *id, struct listing *l, struct err *e)
{
    struct account a;
    int rc;

    if (account_load(b, id, &a, e) != 0) {
        return -1;
    }
    l->of = &a;
    ledger_use(b->ledger, a.id);
    rc = ledger_each_voucher(b->ledger, clock_wall_ns(), voucher_row, l, e);
    account_free(&a);
    return rc;
}

/* only: an account's id; NULL: all. */
static int
list(struct book *b, const char *only, bool as_json, struct err *e)
{
    static const char *const titles[] = {N_("VOUCHER"),   N_("ACCOUNT"), N_("IS"),
                                         N_("GIVEN"),     N_("FREE"),    N_("PROMISED"),
                                         N_("MIN SPEND"), N_("UNTIL")};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct listing l = {.json = as_json ? &j : NULL,
                        .columns = as_json ? NULL : columns_new(8, titles)};
    struct book_ids ids = {NULL, 0};
    int rc = book_list(b, "accounts", &ids, e);

    json_obj(&j);
    json_key(&j, "vouchers");
    json_arr(&j);
    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        if (only == NULL || strcmp(only, ids.v[i]) == 0) {
            rc = list_one(b, ids.v[i], &l, e);
        }
    }
    json_arr_end(&j);
    json_obj_end(&j);
    if (!as_json) {
        columns_print_free(l.columns);
    } else if (rc == 0) {
        rc = program_print_json(&out, e);
    }
    free(ids.v);
    buf_free(&out);
    return rc;
}

static int
list_of(struct book *b, const char *name, bool as_json, struct err *e)
{
    struct account a;
    size_t n = 0;
    int rc = -1;

    if (name == NULL) {
        return desk_tick(b, NULL, &n, e) == 0 ? list(b, NULL, as_json, e) : -1;
    }
    if (account_find(b, name, &a, e) != 0) {
        return -1;
    }
    if (desk_tick(b, a.id, &n, e) == 0) {
        rc = list(b, a.id, as_json, e);
    }
    account_free(&a);
    return rc;
}

int
book_cmd_voucher(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool lists = strcmp(argv[0], "ls") == 0 && argc <= 2;
    bool adds = strcmp(argv[0], "add") == 0 && argc == 3;
    bool gives = o->ref != NULL || o->until != NULL || o->min_spend != NULL;
    struct book *b = NULL;
    int rc = -1;

    if ((!lists && !adds) || (lists && gives)) {
        return err_set(e, ERR_INVALID,
                       "it is `voucher ls [NAME]` or `voucher add NAME YUAN [--ref ID] "
                       "[--until YYYY-MM-DD] [--min-spend YUAN]`");
    }
    if (book_open(&b, e) == 0) {
        rc = adds ? add(b, o, argv[1], argv[2], e)
                  : list_of(b, argc > 1 ? argv[1] : NULL, o->json, e);
    }
    book_close(b);
    return rc;
}
