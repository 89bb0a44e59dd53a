/*
 * What accounts stand at, in memory while a transaction goes on, so that a group of
 * entries that move the same accounts reads and writes each once. What is remembered
 * between transactions is true as long as the last entry is the one that was last seen
 * (ledger_enter looks): no account changes without an entry.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"
#include "meter/refuse.h"

#define NONE UINT32_MAX

void
ledger_name_copy(char out[LEDGER_ACCOUNT_MAX], const char *name)
{
    size_t n = strnlen(name, LEDGER_ACCOUNT_MAX - 1);

    memcpy(out, name, n);
    out[n] = '\0';
}

/* FNV-1a; a renter that makes names collide makes its own entries slower, of one group.
 */
static size_t
head_of(const char *name)
{
    uint64_t h = 14695981039346656037U;

    for (const char *c = name; *c != '\0'; c++) {
        h = (h ^ (uint8_t)*c) * 1099511628211U;
    }
    return (size_t)(h >> 32) % LEDGER_ACCOUNT_HEADS;
}

void
ledger_accounts_forget(struct ledger_accounts *a)
{
    memset(a->heads, 0xff, sizeof a->heads);
    a->n = 0;
    a->n_dirty = 0;
    a->vouchers_dirty = false;
}

int
ledger_accounts_open(struct ledger_accounts *a, sqlite3 *db, const char *get,
                     const char *put, struct err *e)
{
    a->db = db;
    ledger_accounts_forget(a);
    return db_prepare(db, get, &a->get, e) == 0 ? db_prepare(db, put, &a->put, e) : -1;
}

void
ledger_accounts_close(struct ledger_accounts *a)
{
    (void)sqlite3_finalize(a->get);
    (void)sqlite3_finalize(a->put);
    free(a->v);
    a->get = NULL;
    a->put = NULL;
    a->v = NULL;
}

static int
read_row(struct ledger_accounts *a, const char *name, struct ledger_standing *out,
         struct err *e)
{
    bool row = false;

    memset(out, 0, sizeof *out);
    (void)sqlite3_bind_text(a->get, 1, name, -1, SQLITE_STATIC);
    if (db_step(a->db, a->get, &row, e) != 0) {
        return -1;
    }
    if (row) {
        out->debit_fen = sqlite3_column_int64(a->get, 0);
        out->credit_fen = sqlite3_column_int64(a->get, 1);
        out->held_fen = sqlite3_column_int64(a->get, 2);
        out->there = true;
    }
    (void)sqlite3_reset(a->get);
    return 0;
}

int
ledger_accounts_find(struct ledger_accounts *a, const char *name, size_t *at,
                     struct err *e)
{
    size_t head = head_of(name);
    struct ledger_account_kept *k;

    for (uint32_t i = a->heads[head]; i != NONE; i = a->v[i].next) {
        if (strcmp(a->v[i].name, name) == 0) {
            *at = i;
            return 0;
        }
    }
    if (a->n == a->cap) {
        a->cap = a->cap == 0 ? 32 : 2 * a->cap;
        a->v = xrealloc(a->v, a->cap * sizeof *a->v);
    }
    k = &a->v[a->n];
    if (read_row(a, name, &k->is, e) != 0) {
        return -1;
    }
    ledger_name_copy(k->name, name);
    k->dirty = false;
    k->next = a->heads[head];
    a->heads[head] = (uint32_t)a->n;
    *at = a->n++;
    return 0;
}

struct ledger_standing *
ledger_accounts_change(struct ledger_accounts *a, size_t at)
{
    struct ledger_account_kept *k = &a->v[at];

    if (!k->dirty) {
        k->dirty = true;
        a->n_dirty++;
        a->vouchers_dirty = a->vouchers_dirty || ledger_is_of_vouchers(k->name);
    }
    return &k->is;
}

int
ledger_accounts_write(struct ledger_accounts *a, struct err *e)
{
    for (size_t i = 0; i < a->n && a->n_dirty > 0; i++) {
        struct ledger_account_kept *k = &a->v[i];
        bool row = false;

        if (!k->dirty) {
            continue;
        }
        (void)sqlite3_bind_text(a->put, 1, k->name, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(a->put, 2, k->is.debit_fen);
        (void)sqlite3_bind_int64(a->put, 3, k->is.credit_fen);
        (void)sqlite3_bind_int64(a->put, 4, k->is.held_fen);
        if (db_step(a->db, a->put, &row, e) != 0) {
            return -1;
        }
        k->is.there = true;
        k->dirty = false;
        a->n_dirty--;
    }
    a->vouchers_dirty = false;
    return 0;
}

int
ledger_accounts_bear(struct ledger_accounts *a, struct ledger_post *p, size_t n,
                     struct err *e)
{
    int64_t room_fen = LEDGER_ACCOUNT_FEN_MAX; /* what the fullest has left */

    for (size_t i = 0; i < n; i++) {
        int64_t debit_fen;
        int64_t credit_fen;

        if (ledger_accounts_find(a, p[i].dr, &p[i].dr_at, e) != 0 ||
            ledger_accounts_find(a, p[i].cr, &p[i].cr_at, e) != 0) {
            return -1;
        }
        debit_fen = LEDGER_ACCOUNT_FEN_MAX - a->v[p[i].dr_at].is.debit_fen;
        credit_fen = LEDGER_ACCOUNT_FEN_MAX - a->v[p[i].cr_at].is.credit_fen;
        room_fen = debit_fen < room_fen ? debit_fen : room_fen;
        room_fen = credit_fen < room_fen ? credit_fen : room_fen;
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i].fen > room_fen) {
            return refuse(e, REFUSE_RANGE, "an account would count more than it can");
        }
        room_fen -= p[i].fen;
    }
    return 0;
}

int
ledger_accounts_room(struct ledger_accounts *a, struct err *e)
{
    if (a->n < LEDGER_ACCOUNTS_KEPT) {
        return 0;
    }
    if (ledger_accounts_write(a, e) != 0) {
        return -1;
    }
    ledger_accounts_forget(a);
    return 0;
}
