#include "tests/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "storage/recent.h"

#define MANY     20000
#define N_TAKERS 3

/* A chunk of len bytes, all of them of n. */
static struct sha256
put(struct recent *r, unsigned n, size_t len)
{
    struct buf b = BUF_INIT;
    struct sha256 id;

    buf_reserve(&b, len);
    memset(b.data, (int)(n % 251), len);
    b.len = len;
    sha256_of(&n, sizeof n, &id);
    recent_put(r, &id, &b);
    buf_free(&b);
    return id;
}

static bool
take(struct recent *r, unsigned n, struct buf *out)
{
    struct sha256 id;

    sha256_of(&n, sizeof n, &id);
    return recent_take(r, &id, out);
}

static void
recent__gives_each_chunk_once_and_appends(void **state)
{
    struct recent *r = recent_new(1 << 20);
    struct buf out = BUF_INIT;

    (void)state;
    (void)put(r, 1, 1000);
    (void)put(r, 2, 10);
    (void)put(r, 2, 10); /* again */
    assert_false(take(r, 3, &out));
    assert_true(take(r, 2, &out));
    assert_false(take(r, 2, &out));
    assert_true(take(r, 1, &out));
    assert_int_equal(out.len, 1010);
    assert_int_equal(out.data[9], 2);
    assert_int_equal(out.data[10], 1);
    (void)put(r, 2, 10);
    buf_reset(&out);
    assert_true(take(r, 2, &out));
    assert_int_equal(out.len, 10);
    buf_free(&out);
    recent_free(r);
}

static void
recent__lets_the_oldest_go(void **state)
{
    struct recent *r = recent_new(1 << 20);
    struct buf out = BUF_INIT;
    struct buf empty = BUF_INIT;
    struct sha256 id = {{0}};

    (void)state;
    (void)put(r, 0, (1 << 20) + 1); /* more than there is room for */
    assert_false(take(r, 0, &out));
    recent_put(r, &id, &empty);
    assert_false(recent_take(r, &id, &out));
    for (unsigned i = 1; i <= 30; i++) {
        (void)put(r, i, 60000); /* 64 KiB of memory each: sixteen have room */
    }
    assert_false(take(r, 14, &out));
    for (unsigned i = 15; i <= 30; i++) {
        buf_reset(&out);
        assert_true(take(r, i, &out));
        assert_int_equal(out.len, 60000);
        assert_int_equal(out.data[59999], i);
    }
    /* However small: there is no end of places either. */
    for (unsigned i = 0; i < MANY; i++) {
        (void)put(r, i, 1);
    }
    assert_false(take(r, 0, &out));
    buf_reset(&out);
    assert_true(take(r, MANY - 1, &out));
    /* Of which nobody wants any: keeping them costs, and is given up. */
    for (unsigned i = 1; i <= 30; i++) {
        (void)put(r, MANY + i, 60000);
    }
    assert_true(take(r, MANY + 30, &out));
    for (unsigned i = 31; i <= 100; i++) {
        (void)put(r, MANY + i, 60000);
    }
    assert_false(take(r, MANY + 100, &out));
    buf_free(&out);
    recent_free(r);
}

static void
recent__does_not_bind_memory_that_it_does_not_use(void **state)
{
    struct recent *r = recent_new(1 << 20);
    struct buf out = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        struct buf b = BUF_INIT;
        struct sha256 id;

        buf_reserve(&b, 512 << 10); /* was once for a larger one */
        buf_add(&b, "x", 1);
        sha256_of(&i, sizeof i, &id);
        recent_put(r, &id, &b);
        assert_non_null(b.data); /* left to who had it */
        buf_free(&b);
    }
    for (unsigned i = 0; i < 100; i++) {
        assert_true(take(r, i, &out));
    }
    assert_int_equal(out.len, 100);
    buf_free(&out);
    recent_free(r);
}

/* ---- threads ---- */

struct crowd {
    struct recent *r;
    atomic_uint n_put;
    atomic_uint n_taken;
};

static void *
taker(void *ctx)
{
    struct crowd *c = ctx;
    struct buf out = BUF_INIT;

    for (unsigned i = 0; i < MANY; i++) {
        while (atomic_load(&c->n_put) <= i) {
            (void)sched_yield();
        }
        buf_reset(&out);
        if (take(c->r, i, &out)) {
            assert_int_equal(out.len, 1 + i % 3000);
            assert_int_equal(out.data[out.len - 1], i % 251);
            atomic_fetch_add(&c->n_taken, 1);
        }
    }
    buf_free(&out);
    return NULL;
}

static void
recent__gives_a_chunk_to_one_of_many(void **state)
{
    struct crowd c = {.r = recent_new(1 << 20)};
    pthread_t takers[N_TAKERS];

    (void)state;
    for (size_t i = 0; i < N_TAKERS; i++) {
        assert_int_equal(pthread_create(&takers[i], NULL, taker, &c), 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        (void)put(c.r, i, 1 + i % 3000);
        atomic_store(&c.n_put, i + 1);
    }
    for (size_t i = 0; i < N_TAKERS; i++) {
        assert_int_equal(pthread_join(takers[i], NULL), 0);
    }
    assert_true(atomic_load(&c.n_taken) > 0 && atomic_load(&c.n_taken) <= MANY);
    recent_free(c.r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recent__gives_each_chunk_once_and_appends),
        cmocka_unit_test(recent__lets_the_oldest_go),
        cmocka_unit_test(recent__does_not_bind_memory_that_it_does_not_use),
        cmocka_unit_test(recent__gives_a_chunk_to_one_of_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
