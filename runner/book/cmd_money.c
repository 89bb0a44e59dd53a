#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/keeping.h"
#include "meter/money.h"
#include "meter/receipt.h"
#include "runner/book/commands.h"
#include "runner/book/desk.h"

#define REF_LEN 13

/* ---- in and out ---- */

typedef int move_fn(struct book *b, const char *ref, const char *whom, int64_t fen,
                    bool *repeated, struct err *e);

static int
into(struct book *b, const char *ref, const char *whom, int64_t fen, bool *repeated,
     struct err *e)
{
    ledger_use(b->ledger, whom);
    return ledger_topup(b->ledger, ref, fen, clock_wall_ns(), repeated, e);
}

static int
back(struct book *b, const char *ref, const char *whom, int64_t fen, bool *repeated,
     struct err *e)
{
    ledger_use(b->ledger, whom);
    return ledger_refund(b->ledger, ref, fen, clock_wall_ns(), repeated, e);
}

static int
out_to(struct book *b, const char *ref, const char *whom, int64_t fen, bool *repeated,
       struct err *e)
{
    ledger_use(b->ledger, "");
    return ledger_payout(b->ledger, ref, whom, fen, clock_wall_ns(), repeated, e);
}

/* An account's or a host's id. */
static int
find_id(struct book *b, const char *what, bool host, char id[SIGN_ID_LEN + 1],
        struct err *e)
{
    struct account a;
    struct book_host h;

    if (host) {
        if (book_host_find(b, what, &h, e) != 0) {
            return -1;
        }
        memcpy(id, h.id, sizeof h.id);
        return 0;
    }
    if (account_find(b, what, &a, e) != 0) {
        return -1;
    }
    memcpy(id, a.id, sizeof a.id);
    account_free(&a);
    return 0;
}

static int
say_moved(const struct command_options *o, const char *ref, int64_t fen, bool repeated,
          struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    if (!o->json) {
        (void)printf("%s%s\n", ref, repeated ? _(" (was there already)") : "");
        return 0;
    }
    json_obj(&j);
    json_kstr(&j, "id", ref);
    json_kint(&j, "fen", fen);
    json_kbool(&j, "repeated", repeated);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
move(const struct command_options *o, char **argv, bool host, move_fn *fn, struct err *e)
{
    struct book *b = NULL;
    char id[SIGN_ID_LEN + 1];
    char made[REF_LEN + 1];
    const char *ref = o->ref;
    bool repeated = false;
    int64_t fen;
    int rc = -1;

    if (money_parse_fen(argv[1], strlen(argv[1]), &fen, e) != 0) {
        return -1;
    }
    if (fen == 0) {
        return err_set(e, ERR_INVALID, "an amount is more than nothing");
    }
    if (ref == NULL) {
        random_id("t", made);
        ref = made;
    }
    if (book_open(&b, e) == 0 && find_id(b, argv[0], host, id, e) == 0 &&
        fn(b, ref, id, fen, &repeated, e) == 0) {
        rc = say_moved(o, ref, fen, repeated, e);
    }
    book_close(b);
    return rc;
}

int
book_cmd_deposit(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    return move(o, argv, false, into, e);
}

int
book_cmd_refund(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    return move(o, argv, false, back, e);
}

int
book_cmd_payout(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    return move(o, argv, true, out_to, e);
}

/* ---- what there is ---- */

static void
print_funds(const char *what, const struct ledger_funds *f, int64_t reach_fen)
{
    char balance[MONEY_TEXT_MAX];
    char held[MONEY_TEXT_MAX];
    char free_text[MONEY_TEXT_MAX];

    money_format_fen(f->balance_fen, balance);
    money_format_fen(f->held_fen, held);
    money_format_fen(f->free_fen, free_text);
    (void)printf(_("%s: balance %s, of it held %s, free %s"), what, balance, held,
                 free_text);
    if (reach_fen > f->free_fen) {
        money_format_fen(reach_fen, free_text);
        (void)printf(_("; with vouchers a run may hold %s"), free_text);
    }
    (void)printf("\n");
}

static void
put_funds(struct json_writer *j, const struct ledger_funds *f, int64_t reach_fen)
{
    json_kint(j, "balance_fen", f->balance_fen);
    json_kint(j, "held_fen", f->held_fen);
    json_kint(j, "free_fen", f->free_fen);
    json_kint(j, "reach_fen", reach_fen);
}

struct listing {
    struct json_writer *json; /* or */
    struct columns *columns;
    const char *wallet; /* NULL: all */
};

static int
hold_row(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    struct listing *l = ctx;
    bool keeping = h->state == LEDGER_HOLD_KEEPING;
    char money[MONEY_TEXT_MAX];

    (void)e;
    if (l->wallet != NULL && strcmp(l->wallet, h->wallet) != 0) {
        return 0;
    }
    if (l->json != NULL) {
        json_obj(l->json);
        json_kstr(l->json, "lease", lease);
        json_kstr(l->json, "account", h->wallet);
        json_kstr(l->json, "host", h->host);
        json_kstr(l->json, "for", keeping ? "keeping" : "run");
        json_kint(l->json, "held_fen", h->held_fen);
        json_kint(l->json, "total_fen", h->total_fen);
        json_obj_end(l->json);
        return 0;
    }
    money_format_fen(h->held_fen, money);
    columns_add(l->columns, lease);
    columns_add(l->columns, h->wallet);
    columns_add(l->columns, h->host);
    columns_add(l->columns, keeping ? _("keeping") : _("run"));
    columns_add(l->columns, money);
    return 0;
}

static int
account_row(void *ctx, const struct ledger_account *a, struct err *e)
{
    struct listing *l = ctx;
    char money[MONEY_TEXT_MAX];
    int64_t fen = a->credit_fen - a->debit_fen;

    (void)e;
    if (strncmp(a->name, "clearing:", 9) == 0) {
        return 0;
    }
    if (l->json != NULL) {
        json_obj(l->json);
        json_kstr(l->json, "account", a->name);
        json_kint(l->json, "fen", fen);
        json_obj_end(l->json);
        return 0;
    }
    money_format_fen(fen, money);
    columns_add(l->columns, a->name);
    columns_add(l->columns, money);
    return 0;
}

/* One renter: funds and holds. All: what every account of the ledger stands at. */
static int
show_balance(struct book *b, const char *wallet, bool as_json, struct err *e)
{
    static const char *const hold_titles[] = {N_("LEASE"), N_("ACCOUNT"), N_("HOST"),
                                              N_("FOR"), N_("HELD")};
    static const char *const titles[] = {N_("OF THE LEDGER"), N_("YUAN")};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct listing l = {.wallet = wallet};
    struct ledger_funds f;
    int64_t reach_fen = 0;
    int rc = 0;

    l.json = as_json ? &j : NULL;
    json_obj(&j);
    if (wallet != NULL) {
        ledger_use(b->ledger, wallet);
        rc = ledger_funds(b->ledger, &f, e) == 0
                 ? ledger_reach(b->ledger, clock_wall_ns(), &reach_fen, e)
                 : -1;
    }
    if (rc == 0 && wallet != NULL && !as_json) {
        print_funds(wallet, &f, reach_fen);
    } else if (rc == 0 && wallet != NULL) {
        json_kstr(&j, "account", wallet);
        put_funds(&j, &f, reach_fen);
    }
    if (rc == 0 && wallet == NULL) {
        l.columns = as_json ? NULL : columns_new(2, titles);
        json_key(&j, "accounts");
        json_arr(&j);
        rc = ledger_each_account(b->ledger, account_row, &l, e);
        json_arr_end(&j);
        if (!as_json) {
            columns_print_free(l.columns);
        }
    }
    if (rc == 0) {
        l.columns = as_json ? NULL : columns_new(5, hold_titles);
        json_key(&j, "holds");
        json_arr(&j);
        rc = ledger_each_hold(b->ledger, hold_row, &l, e);
        json_arr_end(&j);
        if (!as_json) {
            columns_print_free(l.columns);
        }
    }
    json_obj_end(&j);
    if (rc == 0 && as_json) {
        rc = program_print_json(&out, e);
    }
    buf_free(&out);
    return rc;
}

int
book_cmd_balance(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct book *b = NULL;
    char id[SIGN_ID_LEN + 1];
    size_t n = 0;
    int rc = -1;

    if (book_open(&b, e) == 0 && (argc == 0 || find_id(b, argv[0], false, id, e) == 0) &&
        desk_tick(b, argc > 0 ? id : NULL, &n, e) == 0) {
        rc = show_balance(b, argc > 0 ? id : NULL, o->json, e);
    }
    book_close(b);
    return rc;
}

/* ---- receipts by hand ---- */

/* A copy: what is settled is taken over. */
static int
copy_in(struct book *b, const struct buf *data, char **path, struct err *e)
{
    char name[REF_LEN + 1];

    random_id("r", name);
    if (book_path(b, "incoming", name, path, e) != 0) {
        return -1;
    }
    return file_replace(*path, data->data, data->len, e);
}

static int
receive(struct book *b, const char *file, struct desk_closed *c, struct err *e)
{
    struct buf data = BUF_INIT;
    char *path = NULL;
    int rc = -1;

    if (file_read(file, (size_t)1 << 30, &data, e) != 0) {
        goto out;
    }
    if (data.len > 0 && data.data[0] != '#') {
        rc = desk_keeping(b, data.data, data.len, c, e);
    } else if (copy_in(b, &data, &path, e) == 0) {
        rc = desk_receipt(b, path, c, e);
        if (rc != 0) {
            (void)remove(path);
        }
    }

out:
    buf_free(&data);
    free(path);
    return rc;
}

int
book_cmd_receive(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct book *b = NULL;
    char money[MONEY_TEXT_MAX];
    int rc = book_open(&b, e);

    json_obj(&j);
    json_key(&j, "closed");
    json_arr(&j);
    for (int i = 0; i < argc && rc == 0; i++) {
        struct desk_closed c = {.charge_fen = 0};

        rc = receive(b, argv[i], &c, e);
        if (rc != 0) {
            rc = err_wrap(e, "%s", argv[i]);
            break;
        }
        json_obj(&j);
        json_kstr(&j, "lease", c.lease);
        json_kint(&j, "charge_fen", c.charge_fen);
        json_kint(&j, "keep_fen", c.keep_fen);
        json_kbool(&j, "repeated", c.repeated);
        json_obj_end(&j);
        if (!o->json) {
            money_format_fen(c.charge_fen, money);
            (void)printf("%s: %s%s\n", c.lease, money,
                         c.repeated ? _(" (was there already)") : "");
        }
    }
    json_arr_end(&j);
    json_obj_end(&j);
    if (o->json && rc == 0) {
        rc = program_print_json(&out, e);
    }
    buf_free(&out);
    book_close(b);
    return rc;
}

int
book_cmd_release(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct ledger_lease h;
    struct book *b = NULL;
    int rc = -1;

    (void)argc;
    if (book_open(&b, e) != 0 || ledger_lease(b->ledger, argv[0], &h, e) != 0) {
        goto out;
    }
    if (h.state == LEDGER_HOLD_NONE) {
        err_set(e, ERR_NOT_FOUND, "this book has signed no grant of lease %s", argv[0]);
        goto out;
    }
    rc = ledger_release(b->ledger, argv[0], clock_wall_ns(), e);
    if (rc == 0 && o->json) {
        json_obj(&j);
        json_kstr(&j, "lease", argv[0]);
        json_kint(&j, "freed_fen", h.held_fen);
        json_obj_end(&j);
        rc = program_print_json(&out, e);
    }

out:
    buf_free(&out);
    book_close(b);
    return rc;
}

int
book_cmd_tick(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct book *b = NULL;
    size_t n = 0;
    int rc = -1;

    (void)argc;
    (void)argv;
    if (book_open(&b, e) == 0 && desk_tick(b, NULL, &n, e) == 0) {
        rc = 0;
        if (o->json) {
            json_obj(&j);
            json_kint(&j, "posted", (int64_t)n);
            json_obj_end(&j);
            rc = program_print_json(&out, e);
        } else {
            (void)printf(_("%zu posted\n"), n);
        }
    }
    buf_free(&out);
    book_close(b);
    return rc;
}
