/* Where in time a ledger's entries lie: a month's are found, all of them and no others.
 */
#include "tests/unit/meter/ledger_old.h"

#define N 2600 /* twice as many entries: five spans and a rest */

static const char *const spans[] = {"SELECT block, lo, hi FROM span ORDER BY block"};

struct seen {
    int64_t n;
    int64_t last;
    int64_t from;
    int64_t to;
};

static int
see(void *ctx, const struct ledger_entry *en, struct err *e)
{
    struct seen *s = ctx;

    (void)e;
    assert_true(en->n > s->last);
    assert_true(en->wall_ns >= s->from && en->wall_ns < s->to);
    s->last = en->n;
    s->n++;
    return 0;
}

static int64_t
count_by_hand(const char *path, int64_t from, int64_t to)
{
    char *sql = xasprintf("SELECT count(*) FROM entry WHERE wall_ns >= %lld AND"
                          " wall_ns < %lld",
                          (long long)from, (long long)to);
    const char *queries[] = {sql};
    struct buf out = BUF_INIT;
    int64_t n;

    dump(path, queries, 1, &out);
    n = strtoll(strchr(buf_str(&out), '\n'), NULL, 10); /* behind the query's heading */
    buf_free(&out);
    free(sql);
    return n;
}

static struct ledger *
open_with_many(const char *path)
{
    struct ledger *l = NULL;
    struct err e = {0};

    (void)unlink(path);
    assert_ok(ledger_open(&l, path, &e));
    assert_ok(ledger_topup(l, "first", 5, 0, NULL, &e));
    add_many(l, N);
    return l;
}

static void
ledger_each__has_all_of_a_time_and_no_others(void **state)
{
    static const int64_t times[] = {INT64_MIN, -1,   0,    1,    300,  999,
                                    1000,      1001, 1511, 1512, 2000, 2047,
                                    2500,      3298, 3599, 3600, 9999, INT64_MAX};
    enum { N_TIMES = sizeof times / sizeof *times };
    char *path = ledger_path(*state, "spans");
    struct ledger *l = open_with_many(path);
    struct err e = {0};

    for (size_t i = 0; i < N_TIMES; i++) {
        for (size_t k = i; k < N_TIMES; k++) {
            struct seen s = {.from = times[i], .to = times[k]};

            assert_ok(ledger_each(l, s.from, s.to, see, &s, &e));
            assert_int_equal(s.n, count_by_hand(path, s.from, s.to));
        }
    }
    ledger_use(l, "nobody");
    struct seen none = {.from = INT64_MIN, .to = INT64_MAX};
    assert_ok(ledger_each(l, none.from, none.to, see, &none, &e));
    assert_int_equal(none.n, 0);
    ledger_close(l);
    free(path);
}

/* Entries until the next span is whole, all at one time. */
static void
fill_span(struct ledger *l, const char *name, int64_t wall_ns)
{
    struct err e = {0};
    char id[32];

    assert_ok(ledger_begin(l, &e));
    for (int i = 0; i < 1024; i++) {
        (void)snprintf(id, sizeof id, "%s-%d", name, i);
        assert_ok(ledger_topup(l, id, 1, wall_ns, NULL, &e));
    }
    assert_ok(ledger_commit(l, &e));
}

struct growing {
    struct ledger *l;
    struct seen seen;
};

static int
see_and_add(void *ctx, const struct ledger_entry *en, struct err *e)
{
    struct growing *g = ctx;

    if (g->seen.n == 0) {
        fill_span(g->l, "meanwhile", 10);
    }
    return see(&g->seen, en, e);
}

/* A span that is whole only once the walk has begun has no entry told twice. */
static void
ledger_each__tells_none_twice_that_came_meanwhile(void **state)
{
    char *path = ledger_path(*state, "meanwhile");
    struct growing g = {.seen = {.from = 0, .to = 50}};
    struct err e = {0};

    assert_ok(ledger_open(&g.l, path, &e));
    fill_span(g.l, "first", 10);
    fill_span(g.l, "apart", 100);
    fill_span(g.l, "second", 10);
    assert_ok(ledger_each(g.l, g.seen.from, g.seen.to, see_and_add, &g, &e));
    assert_int_equal(g.seen.n, 3 * 1024);
    assert_ok(ledger_check(g.l, &e));
    ledger_close(g.l);
    free(path);
}

/* A group that is undone leaves no span behind. */
static void
ledger__undoes_a_span_with_its_entries(void **state)
{
    char *path = ledger_path(*state, "undone");
    struct ledger *l = open_with_many(path);
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    struct err e = {0};
    char id[16];

    dump(path, spans, 1, &before);
    assert_ok(ledger_begin(l, &e));
    for (int i = 0; i < 1024; i++) {
        (void)snprintf(id, sizeof id, "more-%d", i);
        assert_ok(ledger_topup(l, id, 1, 1, NULL, &e));
    }
    ledger_close(l); /* not committed */
    dump(path, spans, 1, &after);
    assert_string_equal(buf_str(&before), buf_str(&after));
    assert_ok(ledger_open(&l, path, &e));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
    buf_free(&before);
    buf_free(&after);
    free(path);
}

static void
ledger_check__sees_a_span_that_is_wrong(void **state)
{
    static const char *const wrong[] = {
        "UPDATE span SET hi = hi - 1 WHERE block = 1",
        "UPDATE span SET lo = lo + 1 WHERE block = 0",
        "DELETE FROM span WHERE block = 4",
        "INSERT INTO span VALUES(5, 1, 2)",
        "INSERT INTO span VALUES(-1, 1, 2)",
    };
    char *path = ledger_path(*state, "wrong");

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ledger *l = open_with_many(path);
        struct err e = {0};

        assert_ok(ledger_check(l, &e));
        ledger_close(l);
        make_back(path, wrong[i]);
        assert_ok(ledger_open(&l, path, &e));
        assert_refused(ledger_check(l, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, "span"));
        ledger_close(l);
    }
    free(path);
}

/* One that was taken over has the spans that it would have had. */
static void
ledger__has_the_same_spans_once_taken_over(void **state)
{
    char *path = ledger_path(*state, "over");
    struct ledger *l = open_with_many(path);
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    struct err e = {0};

    ledger_close(l);
    dump(path, spans, 1, &before);
    assert_non_null(strstr(buf_str(&before), "4"));
    make_back(path, ledger_back_to_4);
    assert_ok(ledger_open(&l, path, &e));
    ledger_close(l);
    dump(path, spans, 1, &after);
    assert_string_equal(buf_str(&before), buf_str(&after));
    buf_free(&before);
    buf_free(&after);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger_each__has_all_of_a_time_and_no_others),
        unit_test_in_dir(ledger_each__tells_none_twice_that_came_meanwhile),
        unit_test_in_dir(ledger__undoes_a_span_with_its_entries),
        unit_test_in_dir(ledger_check__sees_a_span_that_is_wrong),
        unit_test_in_dir(ledger__has_the_same_spans_once_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
