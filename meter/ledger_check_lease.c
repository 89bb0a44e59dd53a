/*
 * What the entries make of each lease: its row beside them has to be that, and no row may
 * be missing or too many. What was asked stands in an entry's body, so the same rules as
 * in ledger.c and ledger_end.c are followed from there, not from rows. Entries are gone
 * through in the order of leases, beside the rows in theirs: SQLite sorts them in files,
 * so memory does not grow with their number.
 */
#include <inttypes.h>
#include <string.h>

#include "meter/ledger_internal.h"
#include "meter/words.h"

/* What an entry does to its lease; less than nothing: it stays as it was. */
struct turn {
    int64_t state;
    int64_t charge_fen; /* more, or less */
    int64_t total_fen;
    int64_t fee_bps;
    char host[LEDGER_TEXT_MAX + 1];
    bool names_host;
};

/* ---- what was asked ---- */

/* The first line "key=…" of a body; NULL: there is none. */
static const char *
line_of(const struct ledger_link *k, const char *key, size_t *len)
{
    const char *at = k->body;
    size_t left = k->body_len;
    size_t n = strlen(key);

    while (left > 0) {
        const char *end = memchr(at, '\n', left);
        size_t line = end != NULL ? (size_t)(end - at) : left;

        if (line > n && memcmp(at, key, n) == 0 && at[n] == '=') {
            *len = line - n - 1;
            return at + n + 1;
        }
        at += end != NULL ? line + 1 : line;
        left -= end != NULL ? line + 1 : line;
    }
    return NULL;
}

static int
number_of(const struct ledger_link *k, const char *key, int64_t *out, struct err *e)
{
    size_t len = 0;
    const char *at = line_of(k, key, &len);

    return at != NULL && words_parse_int(at, len, out) && *out >= 0 &&
                   *out <= LEDGER_FEN_MAX
               ? 0
               : err_set(e, ERR_CORRUPT, "entry %" PRId64 " does not say what was asked",
                         k->n);
}

static int
host_of(const struct ledger_link *k, bool needed, struct turn *t, struct err *e)
{
    size_t len = 0;
    const char *at = line_of(k, "host", &len);

    if ((at == NULL && needed) || len > LEDGER_TEXT_MAX) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " does not say what was asked",
                       k->n);
    }
    t->names_host = at != NULL;
    if (at != NULL) {
        memcpy(t->host, at, len);
        t->host[len] = '\0';
    }
    return 0;
}

/* ---- what that does ---- */

static int
take_hold(const struct ledger_link *k, struct turn *t, struct err *e)
{
    t->state = LEDGER_HOLD_OPEN;
    return number_of(k, "fen", &t->total_fen, e) == 0 ? host_of(k, false, t, e) : -1;
}

static int
take_release(const struct ledger_link *k, struct turn *t, struct err *e)
{
    (void)k;
    (void)e;
    t->state = LEDGER_HOLD_DONE;
    t->total_fen = 0;
    return 0;
}

static int
take_settle(const struct ledger_link *k, struct turn *t, struct err *e)
{
    if (number_of(k, "charge", &t->charge_fen, e) != 0 ||
        number_of(k, "keep", &t->total_fen, e) != 0 ||
        number_of(k, "fee", &t->fee_bps, e) != 0) {
        return -1;
    }
    t->state = t->total_fen > 0 ? LEDGER_HOLD_KEEPING : LEDGER_HOLD_DONE;
    return host_of(k, true, t, e);
}

static int
take_keeping(const struct ledger_link *k, struct turn *t, struct err *e)
{
    t->state = LEDGER_HOLD_DONE;
    t->total_fen = 0;
    return number_of(k, "charge", &t->charge_fen, e);
}

static int
take_correct(const struct ledger_link *k, struct turn *t, struct err *e)
{
    int64_t fen = 0;

    if (number_of(k, "fen", &fen, e) != 0) {
        return -1;
    }
    t->charge_fen = -fen;
    return 0;
}

static const struct {
    const char *name;
    int (*take)(const struct ledger_link *k, struct turn *t, struct err *e);
} kinds[] = {
    {"hold", take_hold},       {"release", take_release}, {"settle", take_settle},
    {"keeping", take_keeping}, {"correct", take_correct},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* *of_lease: it is about one. */
static int
turn_of(const struct ledger_link *k, struct turn *t, bool *of_lease, struct err *e)
{
    size_t i = 0;

    *t = (struct turn){.state = -1, .total_fen = -1, .fee_bps = -1};
    while (i < KIND_COUNT && strcmp(kinds[i].name, k->kind) != 0) {
        i++;
    }
    *of_lease = i < KIND_COUNT;
    if (*of_lease != (k->lease[0] != '\0') || strlen(k->lease) > LEDGER_TEXT_MAX) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is of a lease as none can be",
                       k->n);
    }
    return *of_lease ? kinds[i].take(k, t, e) : 0;
}

int
ledger_lease_entry(const struct ledger_link *k, int64_t cleared_fen, struct err *e)
{
    struct turn t;
    bool of_lease = false;

    if (turn_of(k, &t, &of_lease, e) != 0) {
        return -1;
    }
    return cleared_fen == (t.charge_fen < 0 ? -t.charge_fen : t.charge_fen)
               ? 0
               : err_set(e, ERR_CORRUPT, "entry %" PRId64 " posts not what was asked",
                         k->n);
}

/* ---- the rows ---- */

/* As the entries so far make it. */
struct made {
    char lease[LEDGER_TEXT_MAX + 1]; /* "" none yet */
    char wallet[LEDGER_TEXT_MAX + 1];
    char host[LEDGER_TEXT_MAX + 1];
    bool of_many; /* wallets, as none can be */
    int64_t state;
    int64_t held_fen;
    int64_t total_fen;
    int64_t charge_fen;
    int64_t fee_bps;
};

struct beside {
    struct ledger *l;
    sqlite3_stmt *rows; /* of leases, in order */
    bool row;           /* there is one at hand */
    struct made made;
};

static int
wrong(const char *lease, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "lease %s is not what its entries make it: %s", lease,
                   what);
}

static int
compare_row(const struct made *m, sqlite3_stmt *s, struct err *e)
{
    const char *what = m->of_many || strcmp(ledger_text_at(s, 1), m->wallet) != 0
                           ? "its wallet"
                       : sqlite3_column_int64(s, 2) != m->state      ? "its state"
                       : sqlite3_column_int64(s, 3) != m->held_fen   ? "what is held"
                       : sqlite3_column_int64(s, 4) != m->total_fen  ? "its total"
                       : sqlite3_column_int64(s, 5) != m->charge_fen ? "its charge"
                       : strcmp(ledger_text_at(s, 6), m->host) != 0  ? "its host"
                       : sqlite3_column_int64(s, 7) != m->fee_bps    ? "its fee"
                                                                     : NULL;

    return what == NULL ? 0 : wrong(m->lease, what, e);
}

/* All entries of a lease are through: its row is the next one. */
static int
end_lease(struct beside *b, struct err *e)
{
    int order = b->row ? strcmp(ledger_text_at(b->rows, 0), b->made.lease) : 1;

    if (order != 0) {
        return order < 0 ? wrong(ledger_text_at(b->rows, 0), "no entry is of it", e)
                         : wrong(b->made.lease, "it is missing", e);
    }
    return compare_row(&b->made, b->rows, e) == 0 ? db_step(b->l->db, b->rows, &b->row, e)
                                                  : -1;
}

static void
text_to(char out[LEDGER_TEXT_MAX + 1], const char *text)
{
    size_t n = strnlen(text, LEDGER_TEXT_MAX);

    memcpy(out, text, n);
    out[n] = '\0';
}

/* One entry holds no more than a wallet has, but any number may, of one lease. */
static int
add_turn(struct made *m, const struct ledger_link *k, const struct turn *t, struct err *e)
{
    m->of_many = m->of_many || strcmp(m->wallet, k->wallet) != 0;
    if (__builtin_add_overflow(m->held_fen, k->held_fen, &m->held_fen)) {
        return wrong(m->lease, "what is held", e);
    }
    m->charge_fen += t->charge_fen; /* in all no more than its clearing account counts */
    m->state = t->state >= 0 ? t->state : m->state;
    m->total_fen = t->total_fen >= 0 ? t->total_fen : m->total_fen;
    m->fee_bps = t->fee_bps >= 0 ? t->fee_bps : m->fee_bps;
    if (t->names_host) {
        text_to(m->host, t->host);
    }
    return 0;
}

static int
take_entry(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct beside *b = ctx;
    const struct ledger_link k = {.lease = ledger_text_at(s, 0),
                                  .n = sqlite3_column_int64(s, 1),
                                  .kind = ledger_text_at(s, 2),
                                  .wallet = ledger_text_at(s, 3),
                                  .held_fen = sqlite3_column_int64(s, 4),
                                  .body = sqlite3_column_blob(s, 5),
                                  .body_len = (size_t)sqlite3_column_bytes(s, 5)};
    struct turn t;
    bool of_lease = false;

    if (turn_of(&k, &t, &of_lease, e) != 0) {
        return -1;
    }
    if (strcmp(b->made.lease, k.lease) != 0) {
        if (b->made.lease[0] != '\0' && end_lease(b, e) != 0) {
            return -1;
        }
        b->made = (struct made){.state = 0};
        text_to(b->made.lease, k.lease);
        text_to(b->made.wallet, k.wallet);
    }
    return add_turn(&b->made, &k, &t, e);
}

int
ledger_leases_compare(struct ledger *l, struct err *e)
{
    struct beside b = {.l = l};
    int rc = -1;

    if (db_prepare(l->db,
                   "SELECT lease, wallet, state, held, total, charge, host, fee_bps"
                   " FROM lease ORDER BY lease",
                   &b.rows, e) != 0 ||
        db_step(l->db, b.rows, &b.row, e) != 0 ||
        ledger_each_row(l,
                        "SELECT lease, n, kind, wallet, held, body FROM entry"
                        " WHERE lease <> '' ORDER BY lease, n",
                        0, 0, take_entry, &b, e) != 0 ||
        (b.made.lease[0] != '\0' && end_lease(&b, e) != 0)) {
        goto out;
    }
    rc = b.row ? wrong(ledger_text_at(b.rows, 0), "no entry is of it", e) : 0;

out:
    (void)sqlite3_finalize(b.rows);
    return rc;
}
