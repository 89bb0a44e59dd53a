/* Which sessions had one device at once, however many there are. */
#include "runner/cli/overlap.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define NS_PER_S ((int64_t)1000000000)

static struct journal_device gpus[] = {{"gpu", "4090", "GPU-1"},
                                       {"gpu", "4090", "GPU-2"}};
static struct journal_device cores[] = {{"cpu", "", "cpu"}};

/* A session that was billed for n devices from then to then; v is room for its time. */
static struct receipt
session(struct receipt_interval *v, struct journal_device *devices, size_t n,
        uint8_t host, int64_t from_s, int64_t to_s)
{
    struct receipt r = {.devices = devices,
                        .n_devices = n,
                        .intervals = v,
                        .n_intervals = 1,
                        .host = {{host}}};

    *v = (struct receipt_interval){.from_wall_ns = from_s * NS_PER_S,
                                   .to_wall_ns = to_s * NS_PER_S};
    v->spent.ns[USAGE_RUNNING] = 1;
    return r;
}

static void
overlaps__are_told_once_a_pair_in_order(void **state)
{
    struct receipt_interval v[7];
    const struct receipt s[] = {
        session(&v[0], gpus, 2, 1, 100, 200),
        session(&v[1], gpus, 1, 1, 200, 300),     /* right behind it */
        session(&v[2], &gpus[1], 1, 1, 200, 300), /* beside it */
        session(&v[3], gpus, 2, 2, 100, 300),     /* at another host */
        session(&v[4], cores, 1, 1, 100, 300),    /* cores are shared */
        session(&v[5], gpus, 2, 1, 50, 250),      /* over the first three */
        session(&v[6], gpus, 1, 1, 400, 390),     /* its clock went back */
    };
    const struct receipt *r[7];
    struct overlaps o;

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        r[i] = &s[i];
    }
    overlaps_find(r, 7, &o);
    assert_int_equal(o.n, 3);
    for (size_t i = 0; i < o.n; i++) {
        assert_int_equal(o.v[i].first, i);
        assert_int_equal(o.v[i].second, 5);
    }
    assert_string_equal(o.v[0].uuid, "GPU-1");
    assert_string_equal(o.v[2].uuid, "GPU-2");
    overlaps_free(&o);
    overlaps_find(r, 0, &o);
    assert_int_equal(o.n, 0);
    overlaps_free(&o);
}

/* Each held against each other would be 200 million comparisons. */
static void
overlaps__of_many_sessions_are_found(void **state)
{
    enum { N = 20000 };
    struct receipt_interval *v = calloc(N, sizeof *v);
    struct receipt *s = calloc(N, sizeof *s);
    const struct receipt **r = calloc(N, sizeof *r);
    struct overlaps o;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        s[i] = session(&v[i], gpus, 1, 1, (int64_t)i * 10, (int64_t)i * 10 + 10);
        r[i] = &s[i];
    }
    v[N - 1].from_wall_ns = v[N - 3].from_wall_ns;
    overlaps_find(r, N, &o);
    assert_int_equal(o.n, 2);
    assert_int_equal(o.v[0].first, N - 3);
    assert_int_equal(o.v[1].first, N - 2);
    overlaps_free(&o);
    free(v);
    free(s);
    free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps__are_told_once_a_pair_in_order),
        cmocka_unit_test(overlaps__of_many_sessions_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
