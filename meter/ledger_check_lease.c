/*
 * What the entries make of each lease, in a temporary table: its row beside them has to
 * be that, and no row may be missing or too many. What was asked stands in an entry's
 * body, so the same rules as in ledger.c and ledger_end.c are followed from there, not
 * from rows.
 */
#include <inttypes.h>
#include <string.h>

#include "meter/ledger_internal.h"
#include "meter/words.h"

#define LEASE_COLUMNS                                                                    \
    "(lease TEXT PRIMARY KEY, state INTEGER, held INTEGER, charge INTEGER, host TEXT,"   \
    " fee_bps INTEGER, wallet TEXT, total INTEGER) WITHOUT ROWID"

/* What an entry does to its lease; NULL, or less than nothing: it stays as it was. */
struct turn {
    int64_t state;
    int64_t charge_fen; /* more, or less */
    int64_t total_fen;
    int64_t fee_bps;
    char host[LEDGER_TEXT_MAX + 1];
    bool names_host;
};

int
ledger_leases_open(struct ledger_leases *s, sqlite3 *db, struct err *e)
{
    s->db = db;
    return db_exec(db,
                   "DROP TABLE IF EXISTS temp.made_lease;"
                   "CREATE TEMP TABLE made_lease" LEASE_COLUMNS,
                   e) == 0
               ? db_prepare(db,
                            "INSERT INTO temp.made_lease VALUES(?1, ?2, ?3, ?4,"
                            " coalesce(?5, ''), coalesce(?6, 0), ?7, coalesce(?8, 0))"
                            " ON CONFLICT DO UPDATE SET state = coalesce(?2, state),"
                            " held = held + ?3, charge = charge + ?4,"
                            " host = coalesce(?5, host), fee_bps = coalesce(?6, fee_bps),"
                            " wallet = iif(wallet = ?7, wallet, NULL),"
                            " total = coalesce(?8, total)",
                            &s->put, e)
               : -1;
}

void
ledger_leases_close(struct ledger_leases *s)
{
    (void)sqlite3_finalize(s->put);
    s->put = NULL;
    if (s->db != NULL) {
        (void)sqlite3_exec(s->db, "DROP TABLE IF EXISTS temp.made_lease", NULL, NULL,
                           NULL);
    }
}

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

static void
bind_or_null(sqlite3_stmt *s, int at, int64_t n)
{
    (void)(n < 0 ? sqlite3_bind_null(s, at) : sqlite3_bind_int64(s, at, n));
}

int
ledger_leases_take(struct ledger_leases *s, const struct ledger_link *k,
                   int64_t cleared_fen, struct err *e)
{
    struct turn t = {.state = -1, .total_fen = -1, .fee_bps = -1};
    bool row = false;
    size_t i = 0;

    while (i < KIND_COUNT && strcmp(kinds[i].name, k->kind) != 0) {
        i++;
    }
    if ((i < KIND_COUNT) != (k->lease[0] != '\0')) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is of a lease as none can be",
                       k->n);
    }
    if (i < KIND_COUNT && kinds[i].take(k, &t, e) != 0) {
        return -1;
    }
    if (cleared_fen != (t.charge_fen < 0 ? -t.charge_fen : t.charge_fen)) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " posts not what was asked",
                       k->n);
    }
    if (i == KIND_COUNT) {
        return 0;
    }
    (void)sqlite3_bind_text(s->put, 1, k->lease, -1, SQLITE_STATIC);
    bind_or_null(s->put, 2, t.state);
    (void)sqlite3_bind_int64(s->put, 3, k->held_fen);
    (void)sqlite3_bind_int64(s->put, 4, t.charge_fen);
    (void)sqlite3_bind_text(s->put, 5, t.names_host ? t.host : NULL, -1, SQLITE_STATIC);
    bind_or_null(s->put, 6, t.fee_bps);
    (void)sqlite3_bind_text(s->put, 7, k->wallet, -1, SQLITE_STATIC);
    bind_or_null(s->put, 8, t.total_fen);
    return db_step(s->db, s->put, &row, e);
}

/* ---- the rows ---- */

static int
wrong_lease(void *ctx, sqlite3_stmt *s, struct err *e)
{
    (void)ctx;
    return err_set(e, ERR_CORRUPT, "lease %s is not what its entries make it: %s",
                   ledger_text_at(s, 0), ledger_text_at(s, 1));
}

int
ledger_leases_compare(struct ledger *l, struct err *e)
{
    static const char rows[] =
        "SELECT l.lease, CASE WHEN m.lease IS NULL THEN 'no entry is of it'"
        " WHEN l.wallet IS NOT m.wallet THEN 'its wallet'"
        " WHEN l.state IS NOT m.state THEN 'its state'"
        " WHEN l.held IS NOT m.held THEN 'what is held'"
        " WHEN l.total IS NOT m.total THEN 'its total'"
        " WHEN l.charge IS NOT m.charge THEN 'its charge'"
        " WHEN l.host IS NOT m.host THEN 'its host' ELSE 'its fee' END"
        " FROM lease l LEFT JOIN temp.made_lease m ON m.lease = l.lease"
        " WHERE l.wallet IS NOT m.wallet OR l.state IS NOT m.state"
        " OR l.held IS NOT m.held OR l.total IS NOT m.total OR l.charge IS NOT m.charge"
        " OR l.host IS NOT m.host OR l.fee_bps IS NOT m.fee_bps LIMIT 1";
    static const char missing[] =
        "SELECT m.lease, 'it is missing' FROM temp.made_lease m"
        " LEFT JOIN lease l ON l.lease = m.lease WHERE l.lease IS NULL LIMIT 1";

    return ledger_each_row(l, rows, 0, 0, wrong_lease, NULL, e) == 0
               ? ledger_each_row(l, missing, 0, 0, wrong_lease, NULL, e)
               : -1;
}
