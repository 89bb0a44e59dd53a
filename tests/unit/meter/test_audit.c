#include "meter/audit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#define S INT64_C(1000000000)
/* 2026-11-23T12:00:00Z */
#define WALL (1795435200 * S)

static const struct journal_device gpu = {"gpu", "4090", "GPU-1"};
static const struct journal_device cores = {"cpu", "", "cpu"};

static void
set_boot(char out[BOOT_ID_LEN + 1], char name)
{
    memset(out, name, BOOT_ID_LEN);
    out[BOOT_ID_LEN] = '\0';
}

/* A session with one interval of ns in that state, the boot's clock then, and its label.
 */
static void
add(struct audit *a, const char *job, const struct journal_device *d, char boot,
    enum usage_state state, int64_t from_s, int64_t wall_s, struct usage_totals spent)
{
    struct receipt_interval v = {.state = state,
                                 .from_wall_ns = WALL + wall_s * S,
                                 .from_boot_ns = from_s * S,
                                 .spent = spent};
    struct journal_device device = *d;
    struct receipt r = {
        .devices = &device, .n_devices = 1, .intervals = &v, .n_intervals = 1};

    set_boot(v.boot, boot);
    (void)strcpy(r.job, job);
    (void)strcpy(r.lease, job);
    r.grant.n_rows = 1;
    r.grant.rows[0].n_units = 3;
    audit_add(a, &r);
}

static struct usage_totals
running(int64_t seconds)
{
    struct usage_totals t = {{0}};

    t.ns[USAGE_RUNNING] = seconds * S;
    return t;
}

static void
see(struct audit *a, char boot, int64_t from_s, int64_t to_s, int64_t wall_s)
{
    struct audit_sight s = {.device = gpu,
                            .from_boot_ns = from_s * S,
                            .to_boot_ns = to_s * S,
                            .from_wall_ns = WALL + wall_s * S};

    set_boot(s.boot, boot);
    audit_see(a, &s);
}

static const struct audit_device *
close_at(struct audit *a, char boot, int64_t boot_s, int64_t wall_s)
{
    struct usage_moment now = {.boot_ns = boot_s * S, .wall_ns = WALL + wall_s * S};
    const struct audit_device *d;
    size_t n;

    set_boot(now.boot, boot);
    audit_close(a, &now);
    d = audit_devices(a, &n);
    assert_int_equal(n, 1);
    return d;
}

static void
assert_gap(const struct audit_device *d, size_t i, enum audit_what what, int64_t from_s,
           int64_t seconds)
{
    assert_in_range(i, 0, d->n_gaps - 1);
    assert_int_equal(d->gaps[i].what, what);
    assert_int_equal(d->gaps[i].from_wall_ns, WALL + from_s * S);
    assert_int_equal(d->gaps[i].ns, seconds * S);
}

static void
audit__puts_each_second_into_one_state(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    struct usage_totals t = running(50);
    const struct audit_device *d;

    (void)state;
    add(a, "j1", &gpu, 'a', USAGE_RUNNING, 100, 0, running(60));
    t.ns[USAGE_FAULT] = 40 * S;
    t.ns[USAGE_SUSPENDED] = 10 * S;
    see(a, 'a', 170, 180, 70);
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 200, 100, t);
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 200, 100, t); /* a second time: nothing */
    d = close_at(a, 'a', 330, 230);
    assert_int_equal(d->sold_ns, 110 * S);
    assert_int_equal(d->fault_ns, 40 * S);
    assert_int_equal(d->free_ns[USAGE_SUSPENDED], 10 * S);
    assert_int_equal(d->idle_ns, 10 * S);
    assert_int_equal(d->unobserved_ns, 60 * S);
    assert_int_equal(d->ns, 230 * S);
    assert_int_equal(d->from_wall_ns, WALL);
    assert_int_equal(d->to_wall_ns, WALL + 230 * S);
    assert_int_equal(d->n_gaps, 5);
    assert_gap(d, 0, AUDIT_UNOBSERVED, 60, 10);
    assert_gap(d, 1, AUDIT_IDLE, 70, 10);
    assert_gap(d, 2, AUDIT_UNOBSERVED, 80, 20);
    assert_string_equal(d->gaps[2].before, "j1");
    assert_string_equal(d->gaps[2].after, "j2");
    assert_gap(d, 3, AUDIT_FAULT, 100, 40);
    assert_gap(d, 4, AUDIT_UNOBSERVED, 200, 30);
    assert_int_equal(d->n_overlaps, 0);
    audit_free(a);
}

static void
audit__names_two_who_had_a_device_at_once(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    const struct audit_device *d;

    (void)state;
    add(a, "j1", &gpu, 'a', USAGE_RUNNING, 100, 0, running(60));
    /* The wall clock was set back an hour: what counts is the boot's clock. */
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 160, 60 - 3600, running(40));
    add(a, "j3", &gpu, 'a', USAGE_RUNNING, 190, 90, running(40));
    d = close_at(a, 'a', 230, 130);
    assert_int_equal(d->n_overlaps, 1);
    assert_gap(d, 0, AUDIT_OVERLAP, 90, 10);
    assert_string_equal(d->gaps[0].before, "j2");
    assert_string_equal(d->gaps[0].after, "j3");
    assert_int_equal(d->ns, 130 * S);
    assert_int_equal(d->sold_ns, 130 * S);
    audit_free(a);
}

/* Lost at its last record; another had the device before that was found out. */
static void
audit__gives_a_lost_tail_to_who_had_the_device(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    struct usage_totals t = running(60);
    const struct audit_device *d;

    (void)state;
    t.ns[USAGE_LOST] = 100 * S;
    add(a, "j1", &gpu, 'a', USAGE_RUNNING, 100, 0, t);
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 180, 80, running(20));
    d = close_at(a, 'a', 300, 200);
    assert_int_equal(d->sold_ns, 80 * S);
    assert_int_equal(d->fault_ns, 80 * S);
    assert_int_equal(d->unobserved_ns, 40 * S);
    assert_int_equal(d->ns, 200 * S);
    assert_int_equal(d->n_overlaps, 0);
    audit_free(a);
}

static void
audit__knows_nothing_between_two_boots(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    const struct audit_device *d;

    (void)state;
    add(a, "j2", &gpu, 'b', USAGE_RUNNING, 50, 1000, running(10));
    add(a, "j1", &gpu, 'z', USAGE_RUNNING, 9000, 0, running(60));
    d = close_at(a, 'c', 5, 2000);
    assert_int_equal(d->sold_ns, 70 * S);
    assert_int_equal(d->unobserved_ns, (940 + 990) * S);
    assert_int_equal(d->ns, 2000 * S);
    assert_int_equal(d->n_gaps, 2);
    assert_gap(d, 0, AUDIT_UNOBSERVED, 60, 940);
    assert_gap(d, 1, AUDIT_UNOBSERVED, 1010, 990);
    audit_free(a);
}

static void
audit__sums_cores_and_lists_no_gaps_of_them(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    const struct audit_device *d;

    (void)state;
    add(a, "j1", &cores, 'a', USAGE_RUNNING, 100, 0, running(60));
    add(a, "j2", &cores, 'a', USAGE_RUNNING, 120, 20, running(60));
    add(a, "j3", &cores, 'a', USAGE_RUNNING, 130, 30, running(0)); /* not a moment */
    d = close_at(a, 'a', 300, 200);
    assert_true(d->shared);
    assert_int_equal(d->sold_ns, 360 * S);
    assert_int_equal(d->ns, 360 * S);
    assert_int_equal(d->n_gaps, 0);
    audit_free(a);
}

/* What is of one device is not of the next. */
static void
audit__keeps_cores_and_devices_apart(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    struct usage_moment now = {.boot_ns = 300 * S, .wall_ns = WALL + 200 * S};
    const struct audit_device *d;
    size_t n;

    (void)state;
    set_boot(now.boot, 'a');
    add(a, "j1", &cores, 'a', USAGE_RUNNING, 100, 0, running(60));
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 100, 0, running(60));
    audit_close(a, &now);
    d = audit_devices(a, &n);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(d[i].sold_ns, d[i].shared ? 180 * S : 60 * S);
        assert_int_equal(d[i].ns, d[i].shared ? 180 * S : 200 * S);
    }
    assert_true(d[0].shared != d[1].shared);
    audit_free(a);
}

static void
audit__of_a_time_without_anything_is_empty(void **state)
{
    struct audit *a = audit_new(WALL + 5000 * S, WALL + 6000 * S);
    struct usage_totals prep = {{0}};
    const struct audit_device *d;
    size_t n;

    (void)state;
    prep.ns[USAGE_PREPARING] = 10 * S;
    add(a, "j1", &gpu, 'a', USAGE_PREPARING, 90, -10, prep); /* holds nothing */
    add(a, "j2", &gpu, 'a', USAGE_RUNNING, 100, 0, running(60));
    d = close_at(a, 'a', 400, 300);
    assert_int_equal(d->ns, 0);
    audit_free(a);
    for (int after = 0; after < 2; after++) { /* what touches it has no part in it */
        a = after ? audit_new(WALL + 300 * S, WALL + 310 * S)
                  : audit_new(WALL - 10 * S, WALL);
        add(a, "j2", &gpu, 'a', USAGE_RUNNING, 100, 0, running(60));
        d = close_at(a, 'a', 400, 300);
        assert_int_equal(d->ns, 0);
        assert_int_equal(d->from_wall_ns, 0);
        assert_int_equal(d->to_wall_ns, 0);
        audit_free(a);
    }
    a = audit_new(INT64_MIN, INT64_MAX);
    audit_close(a, &(struct usage_moment){.boot_ns = 1});
    (void)audit_devices(a, &n);
    assert_int_equal(n, 0);
    audit_free(a);
}

/* ---- any history ---- */

static uint64_t seed = 20261123;

static int64_t
random_to(int64_t n)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

/* A history without overlaps over some boots, all of it put into n audits. */
static int64_t
random_history(struct audit **a, size_t n, int64_t *sold_ns, struct usage_moment *now)
{
    int64_t wall_ns = WALL;
    int64_t first_ns = -1;

    *sold_ns = 0;
    for (int64_t boots = 1 + random_to(3), b = 0; b < boots; b++) {
        int64_t at_ns = random_to(1000 * S);
        int64_t wall_zero = wall_ns - at_ns;

        for (int64_t k = random_to(5); k >= 0; k--) {
            int64_t gap_ns = random_to(3) == 0 ? 0 : random_to(500 * S);
            struct usage_totals t = {{0}};
            struct audit_sight seen = {.device = gpu,
                                       .from_boot_ns = at_ns,
                                       .to_boot_ns = at_ns + gap_ns,
                                       .from_wall_ns = wall_zero + at_ns};
            struct receipt_interval v = {.state = USAGE_RUNNING};
            struct journal_device device = gpu;
            struct receipt r = {
                .devices = &device, .n_devices = 1, .intervals = &v, .n_intervals = 1};

            if (first_ns < 0 || gap_ns == 0) {
                gap_ns = 0;
            } else if (random_to(2) == 0) {
                set_boot(seen.boot, (char)('a' + b));
                for (size_t i = 0; i < n; i++) {
                    audit_see(a[i], &seen);
                }
            }
            at_ns += gap_ns;
            first_ns = first_ns < 0 ? wall_zero + at_ns : first_ns;
            t.ns[USAGE_RUNNING] = 1 + random_to(700 * S);
            t.ns[USAGE_FAULT] = random_to(2) * random_to(90 * S);
            t.ns[USAGE_SUSPENDED] = random_to(2) * random_to(90 * S);
            *sold_ns += t.ns[USAGE_RUNNING];
            v.spent = t;
            v.from_boot_ns = at_ns;
            v.from_wall_ns = wall_zero + at_ns;
            set_boot(v.boot, (char)('a' + b));
            (void)snprintf(r.lease, sizeof r.lease, "l%d-%d", (int)b, (int)k);
            (void)strcpy(r.job, r.lease);
            for (size_t i = 0; i < n; i++) {
                audit_add(a[i], &r);
            }
            at_ns += t.ns[USAGE_RUNNING] + t.ns[USAGE_FAULT] + t.ns[USAGE_SUSPENDED];
        }
        at_ns += random_to(100 * S);
        now->boot_ns = at_ns;
        now->wall_ns = wall_zero + at_ns;
        set_boot(now->boot, (char)('a' + b));
        wall_ns = now->wall_ns + random_to(1000 * S);
    }
    return now->wall_ns - first_ns;
}

/* Whatever happened: all of the time is there, once; and so in every way to cut it. */
static void
audit__of_any_history_is_complete_however_it_is_cut(void **state)
{
    enum { PARTS = 4, ROUNDS = 20000 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t cut[PARTS - 1];
        struct audit *a[PARTS + 1];
        struct usage_moment now = {.boot_ns = 0};
        int64_t sold_ns;
        int64_t all_ns;
        int64_t got_ns = 0;
        int64_t got_sold_ns = 0;
        size_t n;

        cut[0] = WALL + random_to(2000 * S);
        cut[1] = cut[0] + random_to(2000 * S);
        cut[2] = cut[1] + random_to(2000 * S);
        a[0] = audit_new(INT64_MIN, INT64_MAX);
        for (int i = 0; i < PARTS; i++) {
            a[i + 1] = audit_new(i == 0 ? INT64_MIN : cut[i - 1],
                                 i == PARTS - 1 ? INT64_MAX : cut[i]);
        }
        all_ns = random_history(a, PARTS + 1, &sold_ns, &now);
        for (int i = 0; i <= PARTS; i++) {
            const struct audit_device *d;

            audit_close(a[i], &now);
            d = audit_devices(a[i], &n);
            assert_int_equal(n, 1);
            assert_int_equal(d->n_overlaps, 0);
            if (i == 0) {
                assert_int_equal(d->ns, all_ns);
                assert_int_equal(d->ns, d->to_wall_ns - d->from_wall_ns);
                assert_int_equal(d->sold_ns, sold_ns);
            } else {
                got_ns += d->ns;
                got_sold_ns += d->sold_ns;
            }
            audit_free(a[i]);
        }
        assert_int_equal(got_ns, all_ns);
        assert_int_equal(got_sold_ns, sold_ns);
    }
}

static void
audit__has_time_paid_in_front_as_sold(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    const struct audit_device *d;

    (void)state;
    see(a, 'a', 0, 100, 0); /* seen free, then not looked at until 300 */
    audit_reserve(a, &gpu, WALL + 50 * S, WALL + 120 * S);
    audit_reserve(a, &gpu, WALL + 110 * S, WALL + 150 * S); /* renewed */
    audit_reserve(a, &gpu, WALL + 200 * S, WALL + 210 * S);
    audit_reserve(a, &gpu, WALL + 290 * S, WALL + 900 * S); /* it goes on */
    audit_reserve(a, &gpu, WALL + 250 * S, WALL + 250 * S); /* given back at once */
    d = close_at(a, 'a', 300, 300);
    assert_int_equal(d->ns, 300 * S);
    assert_int_equal(d->sold_ns, (100 + 10 + 10) * S);
    assert_int_equal(d->idle_ns, 50 * S);
    assert_int_equal(d->unobserved_ns, (50 + 80) * S);
    assert_gap(d, 0, AUDIT_IDLE, 0, 50);
    assert_gap(d, 1, AUDIT_RESERVED, 50, 50);
    audit_free(a);
}

/* Bought, and neither used nor looked at since; a second one was seen only later. */
static void
audit__has_time_paid_in_front_as_sold_of_a_device_that_was_not_seen(void **state)
{
    struct audit *a = audit_new(INT64_MIN, INT64_MAX);
    const struct audit_device *d;

    (void)state;
    audit_reserve(a, &gpu, WALL + 50 * S, WALL + 120 * S);
    d = close_at(a, 'a', 100, 100);
    assert_int_equal(d->sold_ns, 50 * S);
    assert_int_equal(d->ns, 50 * S);
    assert_int_equal(d->from_wall_ns, WALL + 50 * S);
    assert_gap(d, 0, AUDIT_RESERVED, 50, 50);
    audit_free(a);

    a = audit_new(INT64_MIN, INT64_MAX);
    see(a, 'a', 100, 200, 100);
    audit_reserve(a, &gpu, WALL + 50 * S, WALL + 70 * S);
    d = close_at(a, 'a', 200, 200);
    assert_int_equal(d->ns, 150 * S);
    assert_int_equal(d->sold_ns, 20 * S);
    assert_int_equal(d->unobserved_ns, 30 * S);
    assert_int_equal(d->idle_ns, 100 * S);
    audit_free(a);

    a = audit_new(INT64_MIN, INT64_MAX);
    audit_reserve(a, &gpu, WALL + 500 * S, WALL + 600 * S); /* not begun */
    d = close_at(a, 'a', 200, 200);
    assert_int_equal(d->ns, 0);
    audit_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit__puts_each_second_into_one_state),
        cmocka_unit_test(audit__names_two_who_had_a_device_at_once),
        cmocka_unit_test(audit__gives_a_lost_tail_to_who_had_the_device),
        cmocka_unit_test(audit__knows_nothing_between_two_boots),
        cmocka_unit_test(audit__sums_cores_and_lists_no_gaps_of_them),
        cmocka_unit_test(audit__keeps_cores_and_devices_apart),
        cmocka_unit_test(audit__has_time_paid_in_front_as_sold),
        cmocka_unit_test(
            audit__has_time_paid_in_front_as_sold_of_a_device_that_was_not_seen),
        cmocka_unit_test(audit__of_a_time_without_anything_is_empty),
        cmocka_unit_test(audit__of_any_history_is_complete_however_it_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
