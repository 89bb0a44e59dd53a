/* A ledger's rows: its file, its transactions, and how an entry is put into it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"
#include "meter/refuse.h"

#define APPLICATION_ID 0x67704c31 /* "gpL1" */

static int
prepare_all(struct ledger *l, struct err *e)
{
    for (int i = 0; i < LEDGER_STATEMENT_COUNT; i++) {
        if (db_prepare(l->db, ledger_statements[i], &l->s[i], e) != 0) {
            return -1;
        }
    }
    return ledger_accounts_open(
        &l->accounts, l->db, "SELECT debit, credit, held FROM account WHERE name = ?1",
        "INSERT OR REPLACE INTO account VALUES(?1, ?2, ?3, ?4)", e);
}

int
ledger_open(struct ledger **out, const char *path, struct err *e)
{
    const struct db_options o = {.application_id = APPLICATION_ID,
                                 .version = LEDGER_VERSION,
                                 .schema = ledger_schema,
                                 .upgrades = ledger_upgrades};
    struct ledger *l = xcalloc(1, sizeof *l);

    if (db_open(&l->db, path, &o, e) != 0) {
        ledger_close(l);
        return -1;
    }
    if (prepare_all(l, e) != 0) {
        ledger_close(l);
        return err_wrap(e, "the ledger %s", path);
    }
    *out = l;
    return 0;
}

void
ledger_close(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    for (int i = 0; i < LEDGER_STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(l->s[i]);
    }
    ledger_accounts_close(&l->accounts);
    db_close(l->db);
    free(l->posts);
    buf_free(&l->body);
    buf_free(&l->post_lines);
    buf_free(&l->text);
    free(l);
}

/* ---- rows ---- */

static void
bind_text(sqlite3_stmt *s, int at, const char *text)
{
    (void)sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* Step a statement that gives no row, ready for the next use. */
static int
run(struct ledger *l, enum ledger_statement which, struct err *e)
{
    bool row = false;

    return db_step(l->db, l->s[which], &row, e);
}

/* ---- transactions ---- */

static void
forget(struct ledger *l)
{
    ledger_accounts_forget(&l->accounts);
    l->last_n = -1;
}

/*
 * Under the write lock: which is the last entry. Another than the one that was seen last
 * is another process's, and what is remembered of accounts is of no use.
 */
static int
look_at_last(struct ledger *l, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_LAST];
    struct sha256 chain = {{0}};
    int64_t n = 0;
    bool row = false;
    int rc = 0;

    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        n = sqlite3_column_int64(s, 0);
        if ((size_t)sqlite3_column_bytes(s, 1) == sizeof chain.b) {
            memcpy(chain.b, sqlite3_column_blob(s, 1), sizeof chain.b);
        } else {
            rc = err_set(e, ERR_CORRUPT, "entry %" PRId64 ": no hash", n);
        }
    }
    (void)sqlite3_reset(s);
    if (rc == 0 && (n != l->last_n || !sha256_equal(&chain, &l->last_chain))) {
        forget(l);
        l->last_n = n;
        l->last_chain = chain;
    }
    return rc;
}

static void
roll_back(struct ledger *l)
{
    forget(l);
    l->writing = false;
    (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
}

static int
begin(struct ledger *l, struct err *e)
{
    if (run(l, LEDGER_BEGIN, e) != 0) {
        return -1;
    }
    if (look_at_last(l, e) != 0) {
        roll_back(l);
        return -1;
    }
    return 0;
}

static int
commit(struct ledger *l, struct err *e)
{
    if (ledger_accounts_write(&l->accounts, e) == 0 && run(l, LEDGER_COMMIT, e) == 0) {
        l->writing = false;
        return 0;
    }
    roll_back(l);
    return -1;
}

/*
 * SQLite ends a transaction by itself when the disk is full or cannot be read, or memory
 * is short, even if what failed there only read. What is left of the group must not be
 * written then: each row would be durable by itself.
 */
static bool
is_lost(struct ledger *l)
{
    if (l->grouped && !l->failed && sqlite3_get_autocommit(l->db) != 0) {
        l->failed = true;
        (void)err_set(&l->why, ERR_SYSTEM, "SQLite gave the transaction up");
        forget(l);
    }
    return l->grouped && l->failed;
}

static int
say_lost(const struct ledger *l, struct err *e)
{
    *e = l->why;
    return err_wrap(e, "none of the entries was made");
}

int
ledger_begin(struct ledger *l, struct err *e)
{
    if (begin(l, e) != 0) {
        return -1;
    }
    l->grouped = true;
    l->failed = false;
    return 0;
}

int
ledger_commit(struct ledger *l, struct err *e)
{
    bool lost = is_lost(l);

    l->grouped = false;
    l->failed = false;
    if (lost) {
        roll_back(l);
        return say_lost(l, e);
    }
    return commit(l, e);
}

int
ledger_enter(struct ledger *l, struct err *e)
{
    if (!l->grouped) {
        return begin(l, e);
    }
    return is_lost(l) ? say_lost(l, e) : 0;
}

int
ledger_leave(struct ledger *l, struct err *e)
{
    if (!l->grouped) {
        return commit(l, e);
    }
    l->writing = false;
    return 0;
}

void
ledger_undo(struct ledger *l, const struct err *why)
{
    if (!l->grouped) {
        roll_back(l);
    } else if (!l->failed && (l->writing || sqlite3_get_autocommit(l->db) != 0)) {
        /* SQLite itself ends a transaction when the disk is full. */
        l->failed = true;
        l->why = *why;
        forget(l);
    }
}

int
ledger_settle_accounts(struct ledger *l, struct err *e)
{
    return is_lost(l) ? say_lost(l, e) : ledger_accounts_write(&l->accounts, e);
}

int
ledger_find(struct ledger *l, const struct ledger_draft *d, bool *found, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_FIND];
    bool row = false;
    bool same = false;

    bind_text(s, 1, d->id);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        size_t len = (size_t)sqlite3_column_bytes(s, 2);

        same = strcmp((const char *)sqlite3_column_text(s, 0), d->kind) == 0 &&
               strcmp((const char *)sqlite3_column_text(s, 1), d->lease) == 0 &&
               len == l->body.len &&
               (len == 0 || memcmp(sqlite3_column_blob(s, 2), l->body.data, len) == 0) &&
               (!d->of_wallet ||
                strcmp((const char *)sqlite3_column_text(s, 3), d->wallet) == 0);
    }
    (void)sqlite3_reset(s);
    if (row && !same) {
        return refuse(e, REFUSE_KEY_MISMATCH, "'%s' was used for something else", d->id);
    }
    *found = row;
    return 0;
}

/* ---- what an entry is ---- */

/* name[:of] */
static void
join_name(char out[LEDGER_ACCOUNT_MAX], const char *name, const char *of)
{
    size_t k = strlen(name);
    size_t n = strnlen(of, LEDGER_ACCOUNT_MAX - k - 2);

    memcpy(out, name, k);
    out[k] = '\0';
    if (n > 0) {
        out[k] = ':';
        memcpy(out + k + 1, of, n);
        out[k + 1 + n] = '\0';
    }
}

void
ledger_cash_name(char out[LEDGER_ACCOUNT_MAX], const char *wallet)
{
    join_name(out, LEDGER_CASH, wallet);
}

void
ledger_payable_name(char out[LEDGER_ACCOUNT_MAX], const char *host)
{
    join_name(out, share_account_name(SHARE_OWNER_PAYABLE), host);
}

static void
add_line(struct buf *b, const char *text)
{
    buf_add_str(b, text);
    buf_add(b, "\n", 1);
}

void
ledger_chain(struct sha256 *chain, const struct ledger_link *k, struct buf *scratch)
{
    struct buf *b = scratch;

    buf_reset(b);
    buf_reserve(b, 512 + k->body_len + k->posts_len);
    buf_add(b, chain->b, sizeof chain->b);
    buf_add_int(b, k->n);
    buf_add(b, "\n", 1);
    add_line(b, k->id);
    buf_add_str(b, k->kind);
    if (k->wallet[0] != '\0') {
        buf_add(b, " ", 1);
        buf_add_str(b, k->wallet);
    }
    buf_add(b, "\n", 1);
    add_line(b, k->lease);
    buf_add_int(b, k->wall_ns);
    buf_add(b, " ", 1);
    buf_add_int(b, k->held_fen);
    buf_add(b, " ", 1);
    buf_add_int(b, (int64_t)k->body_len);
    buf_add(b, "\n", 1);
    buf_add(b, k->body, k->body_len);
    buf_add(b, k->posts, k->posts_len);
    sha256_of(b->data, b->len, chain);
}

/* What an entry changes in its wallet, and where that stands. */
struct change {
    size_t cash; /* the account's place */
    int64_t cash_fen;
    int64_t voucher_fen;
};

static int64_t
vouchers_of(const struct ledger_draft *d)
{
    const struct ledger_post *p = d->l->posts;
    int64_t fen = 0;

    for (size_t i = 0; i < d->n_posts; i++) {
        fen += ledger_is_voucher(p[i].cr, d->wallet) ? p[i].fen : 0;
        fen -= ledger_is_voucher(p[i].dr, d->wallet) ? p[i].fen : 0;
    }
    return fen;
}

/* Refused, before anything is written, if less than nothing would be free. */
static int
weigh(struct ledger *l, const struct ledger_draft *d, struct change *c, struct err *e)
{
    const struct ledger_post *p = l->posts;
    const struct ledger_standing *is;
    char cash[LEDGER_ACCOUNT_MAX];
    int64_t balance_fen;
    int64_t held_fen;

    if (ledger_accounts_bear(&l->accounts, l->posts, d->n_posts, e) != 0) {
        return -1;
    }
    ledger_cash_name(cash, d->wallet);
    if (ledger_accounts_find(&l->accounts, cash, &c->cash, e) != 0) {
        return -1;
    }
    c->cash_fen = 0;
    for (size_t i = 0; i < d->n_posts; i++) {
        c->cash_fen += p[i].cr_at == c->cash ? p[i].fen : 0;
        c->cash_fen -= p[i].dr_at == c->cash ? p[i].fen : 0;
    }
    c->voucher_fen = vouchers_of(d);
    is = &l->accounts.v[c->cash].is;
    balance_fen = is->credit_fen - is->debit_fen + c->cash_fen;
    held_fen = is->held_fen + d->held_fen;
    return held_fen < 0 || balance_fen < held_fen
               ? err_set(e, ERR_LIMIT,
                         "the balance does not cover it: %" PRId64 " fen are missing",
                         held_fen < 0 ? -held_fen : held_fen - balance_fen)
               : 0;
}

/* ERR_EXISTS: an entry of that id is there, and nothing was written. */
static int
add_entry(struct ledger *l, const struct ledger_draft *d, const struct change *c,
          struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_ADD];

    bind_text(s, 1, d->id);
    bind_text(s, 2, d->kind);
    bind_text(s, 3, d->lease);
    bind_text(s, 4, d->wallet);
    (void)sqlite3_bind_int64(s, 5, d->wall_ns);
    (void)sqlite3_bind_int64(s, 6, d->held_fen);
    (void)sqlite3_bind_int64(s, 7, c->cash_fen);
    (void)sqlite3_bind_int64(s, 8, c->voucher_fen);
    (void)sqlite3_bind_text(s, 9, buf_str(&l->post_lines), (int)l->post_lines.len,
                            SQLITE_STATIC);
    (void)sqlite3_bind_blob64(s, 10, buf_str(&l->body), l->body.len, SQLITE_STATIC);
    (void)sqlite3_bind_blob(s, 11, l->last_chain.b, (int)sizeof l->last_chain.b,
                            SQLITE_STATIC);
    if (run(l, LEDGER_ADD, e) != 0) {
        return -1;
    }
    return sqlite3_last_insert_rowid(l->db) == l->last_n
               ? 0
               : err_set(e, ERR_CORRUPT, "an entry got another number than the next");
}

/* The last entry may have been the last of its span. */
static int
close_span(struct ledger *l, struct err *e)
{
    if (l->last_n % LEDGER_SPAN != 0) {
        return 0;
    }
    (void)sqlite3_bind_int64(l->s[LEDGER_CLOSE_SPAN], 1, l->last_n);
    if (run(l, LEDGER_CLOSE_SPAN, e) == 0) {
        return 0;
    }
    if (e->code == ERR_EXISTS) { /* of the entry's id that would be no failure */
        err_set(e, ERR_CORRUPT, "a span is kept of entries that were not there");
    }
    return -1;
}

static void
move_accounts(struct ledger *l, const struct ledger_draft *d, const struct change *c)
{
    for (size_t i = 0; i < d->n_posts; i++) {
        const struct ledger_post *p = &l->posts[i];

        ledger_accounts_change(&l->accounts, p->dr_at)->debit_fen += p->fen;
        ledger_accounts_change(&l->accounts, p->cr_at)->credit_fen += p->fen;
    }
    if (d->held_fen != 0) {
        ledger_accounts_change(&l->accounts, c->cash)->held_fen += d->held_fen;
    }
}

int
ledger_append(struct ledger *l, const struct ledger_draft *d, struct err *e)
{
    struct ledger_link k = {.n = l->last_n + 1,
                            .id = d->id,
                            .kind = d->kind,
                            .wallet = d->wallet,
                            .lease = d->lease,
                            .wall_ns = d->wall_ns,
                            .held_fen = d->held_fen};
    const struct sha256 before = l->last_chain;
    struct change c;

    if (ledger_accounts_room(&l->accounts, e) != 0 || weigh(l, d, &c, e) != 0) {
        return -1;
    }
    l->writing = true; /* nothing is refused from here on but an id that is there */
    buf_reset(&l->post_lines);
    for (size_t i = 0; i < d->n_posts; i++) {
        buf_add_str(&l->post_lines, l->posts[i].dr);
        buf_add(&l->post_lines, " ", 1);
        buf_add_str(&l->post_lines, l->posts[i].cr);
        buf_add(&l->post_lines, " ", 1);
        buf_add_int(&l->post_lines, l->posts[i].fen);
        buf_add(&l->post_lines, "\n", 1);
    }
    k.body = l->body.data;
    k.body_len = l->body.len;
    k.posts = l->post_lines.data;
    k.posts_len = l->post_lines.len;
    ledger_chain(&l->last_chain, &k, &l->text);
    l->last_n = k.n;
    if (add_entry(l, d, &c, e) == 0) {
        move_accounts(l, d, &c);
        return close_span(l, e);
    }
    if (e->code == ERR_EXISTS) {
        l->last_n = k.n - 1;
        l->last_chain = before;
        l->writing = false;
    }
    return -1;
}

/* ---- what there is ---- */

/*
 * As the account stands: within a transaction as this one will leave it, else as it is
 * on disk now, whoever wrote it.
 */
static int
standing(struct ledger *l, const char *name, struct ledger_standing *out, struct err *e)
{
    size_t at = 0;

    if (!l->grouped && sqlite3_get_autocommit(l->db) != 0) {
        forget(l);
    }
    if (is_lost(l)) {
        return say_lost(l, e);
    }
    if (ledger_accounts_find(&l->accounts, name, &at, e) != 0) {
        return -1;
    }
    *out = l->accounts.v[at].is;
    return 0;
}

int
ledger_totals(struct ledger *l, const char *wallet, int64_t *balance_fen,
              int64_t *held_fen, struct err *e)
{
    struct ledger_standing is;
    char cash[LEDGER_ACCOUNT_MAX];

    ledger_cash_name(cash, wallet);
    if (standing(l, cash, &is, e) != 0) {
        return -1;
    }
    *balance_fen = is.credit_fen - is.debit_fen;
    *held_fen = is.held_fen;
    return 0;
}

int
ledger_due(struct ledger *l, const char *host, int64_t *fen, struct err *e)
{
    struct ledger_standing is;
    char name[LEDGER_ACCOUNT_MAX];

    ledger_payable_name(name, host);
    if (standing(l, name, &is, e) != 0) {
        return -1;
    }
    *fen = is.credit_fen - is.debit_fen;
    return 0;
}

int
ledger_body(struct ledger *l, const char *id, struct buf *out, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_BODY];
    bool row = false;

    bind_text(s, 1, id);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        buf_add(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    }
    (void)sqlite3_reset(s);
    return row ? 0 : err_set(e, ERR_NOT_FOUND, "no entry '%s'", id);
}

void
ledger_use(struct ledger *l, const char *wallet)
{
    l->all = wallet == NULL;
    (void)snprintf(l->wallet, sizeof l->wallet, "%s", wallet != NULL ? wallet : "");
}

int
ledger_get_lease(struct ledger *l, const char *lease, struct ledger_lease *out,
                 int64_t *fee_bps, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_LEASE];
    bool row = false;

    memset(out, 0, sizeof *out);
    *fee_bps = 0;
    if (lease[0] == '\0') {
        return 0;
    }
    bind_text(s, 1, lease);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        out->state = (enum ledger_hold_state)sqlite3_column_int64(s, 0);
        out->held_fen = sqlite3_column_int64(s, 1);
        out->charge_fen = sqlite3_column_int64(s, 2);
        (void)snprintf(out->host, sizeof out->host, "%s",
                       (const char *)sqlite3_column_text(s, 3));
        *fee_bps = sqlite3_column_int64(s, 4);
        (void)snprintf(out->wallet, sizeof out->wallet, "%s",
                       (const char *)sqlite3_column_text(s, 5));
        out->total_fen = sqlite3_column_int64(s, 6);
    }
    (void)sqlite3_reset(s);
    return 0;
}

int
ledger_set_lease(struct ledger *l, const char *lease, const struct ledger_lease *h,
                 int64_t fee_bps, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_SET_LEASE];

    bind_text(s, 1, lease);
    (void)sqlite3_bind_int64(s, 2, (int64_t)h->state);
    (void)sqlite3_bind_int64(s, 3, h->held_fen);
    (void)sqlite3_bind_int64(s, 4, h->charge_fen);
    bind_text(s, 5, h->host);
    (void)sqlite3_bind_int64(s, 6, fee_bps);
    bind_text(s, 7, h->wallet);
    (void)sqlite3_bind_int64(s, 8, h->total_fen);
    return run(l, LEDGER_SET_LEASE, e);
}
