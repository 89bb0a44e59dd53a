/* Lines of snapshots: whose end is worth telling. */
#include "runner/job/line.h"

#include <string.h>

#include "tests/unit/unit.h"

#define N(v) (sizeof(v) / sizeof(v)[0])

static void
last__is_the_newest_that_is_kept_and_whole(void **state)
{
    const struct line_snap v[] = {
        {.id = "s1", .job = "j1", .made_wall_ns = 1, .kept = true, .whole = true},
        {.id = "s2", .job = "j1", .made_wall_ns = 3, .kept = true, .whole = true},
        {.id = "s3", .job = "j1", .made_wall_ns = 4, .kept = true, .whole = false},
        {.id = "s4", .job = "j1", .made_wall_ns = 5, .kept = false, .whole = true},
        {.id = "s5", .job = "j2", .made_wall_ns = 6, .kept = true, .whole = true},
        {.id = "s6", .made_wall_ns = 7, .kept = true, .whole = true},
        {.id = "s7", .job = "j3", .made_wall_ns = 1, .kept = true, .whole = false},
        {.id = "s8", .job = "j3", .made_wall_ns = 2, .kept = true, .whole = false},
    };

    (void)state;
    assert_string_equal(line_last(v, N(v), "j1")->id, "s2");
    assert_string_equal(line_last(v, 1, "j1")->id, "s1");
    assert_string_equal(line_last(v, N(v), "j2")->id, "s5");
    assert_string_equal(line_last(v, N(v), "j3")->id, "s8");
    assert_null(line_last(v, N(v), "j4"));
    assert_null(line_last(NULL, 0, "j1"));
}

/* s1 and s2 of a job, s3 of one that was resumed from s2, s4 of one from s3. */
static void
carried_on__by_what_went_on_from_it_and_is_kept_longer(void **state)
{
    static const struct {
        int64_t expires[4]; /* -1: its data has gone; 0: no end */
        bool whole[4];
        bool carried[4];
    } cases[] = {
        {{10, 11, 12, 13}, {1, 1, 1, 1}, {1, 1, 1, 0}},
        {{10, 11, 12, 13}, {1, 1, 1, 0}, {1, 1, 0, 0}},
        {{10, 11, 12, 13}, {1, 0, 0, 0}, {0, 0, 0, 0}},
        {{10, 11, -1, 13}, {1, 1, 1, 1}, {1, 1, 0, 0}}, /* s3 is a link all the same */
        {{10, -1, -1, 13}, {1, 1, 1, 1}, {1, 0, 0, 0}},
        {{10, 11, -1, -1}, {1, 1, 1, 1}, {1, 0, 0, 0}},
        {{20, 11, 12, 13}, {1, 1, 1, 1}, {0, 1, 1, 0}}, /* s1 was kept longer */
        {{10, 10, 10, 10}, {1, 1, 1, 1}, {0, 0, 0, 0}},
        {{10, 11, 12, 0}, {1, 1, 1, 1}, {1, 1, 1, 0}},
        {{0, 11, 12, 13}, {1, 1, 1, 1}, {0, 1, 1, 0}},
    };
    static const char *const jobs[] = {"j1", "j1", "j2", "j3"};
    static const char *const parents[] = {"s0", "s0", "s2", "s3"};
    static const char *const ids[] = {"s1", "s2", "s3", "s4"};

    (void)state;
    for (size_t i = 0; i < N(cases); i++) {
        struct line_snap v[4];

        for (size_t k = 0; k < 4; k++) {
            v[k] = (struct line_snap){.id = ids[k],
                                      .job = jobs[k],
                                      .parent = parents[k],
                                      .made_wall_ns = (int64_t)k,
                                      .expires_wall_ns = cases[i].expires[k],
                                      .kept = cases[i].expires[k] != -1,
                                      .whole = cases[i].whole[k]};
        }
        for (size_t k = 0; k < 4; k++) {
            if (v[k].kept) {
                assert_int_equal(line_is_carried_on(v, 4, &v[k]), cases[i].carried[k]);
            }
        }
    }
}

static void
carried_on__not_by_the_earlier_the_others_or_a_ring(void **state)
{
    struct line_snap v[] = {
        {"s5", "j5", "s6", 5, 99, true, true}, {"s6", "j6", "s5", 6, 99, true, true},
        {"s2", "j1", NULL, 2, 50, true, true}, {"s1", "j1", NULL, 1, 90, true, true},
        {"s8", NULL, NULL, 9, 99, true, true}, {"s7", NULL, NULL, 7, 60, true, true},
    };
    size_t n = N(v);

    (void)state;
    line_sort(v, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || strcmp(v[i - 1].id, v[i].id) < 0);
        assert_false(line_is_carried_on(v, n, &v[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last__is_the_newest_that_is_kept_and_whole),
        cmocka_unit_test(carried_on__by_what_went_on_from_it_and_is_kept_longer),
        cmocka_unit_test(carried_on__not_by_the_earlier_the_others_or_a_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
