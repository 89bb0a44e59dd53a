#include "tests/unit/client/home_util.h"

#include "base/clock.h"
#include "runner/client/copies.h"
#include "runner/client/jobs.h"

#define NS_PER_DAY ((int64_t)86400 * 1000000000)

static void
put(const struct home *home, const char *id, const char *snapshot, int64_t made_ago_ns,
    int64_t expires_in_ns)
{
    struct copy_due d;
    struct err e = {0};

    copy_due_init(&d);
    (void)snprintf(d.id, sizeof d.id, "%s", id);
    (void)snprintf(d.snapshot, sizeof d.snapshot, "%s", snapshot);
    d.host = xstrdup("h1");
    d.made_wall_ns = clock_wall_ns() - made_ago_ns;
    d.expires_wall_ns = expires_in_ns != 0 ? clock_wall_ns() + expires_in_ns : 0;
    assert_int_equal(copies_save(home, &d, false, &e), 0);
    copy_due_free(&d);
}

static bool
is_due(const struct home *home, const char *id)
{
    struct copy_due d;
    struct err e;

    if (copies_load(home, id, &d, &e) != 0) {
        assert_int_equal(e.code, ERR_NOT_FOUND);
        return false;
    }
    copy_due_free(&d);
    return true;
}

static void
a_note__comes_back_as_it_was(void **state)
{
    const struct home *home = *state;
    struct copy_due d;
    struct copy_due got;
    struct err e = {0};

    copy_due_init(&d);
    memcpy(d.id, "jaaaaaaaaaaaa", sizeof d.id);
    memcpy(d.snapshot, "sbbbbbbbbbbbb", sizeof d.snapshot);
    memcpy(d.copied, "scccccccccccc", sizeof d.copied);
    d.host = xstrdup("h1");
    d.name = xstrdup("train");
    d.copied_to = xstrdup("h2");
    d.why = xstrdup("it does not answer\nat all");
    d.outs = true;
    d.live = true;
    d.stored_bytes = 5;
    d.made_wall_ns = 6;
    d.expires_wall_ns = 7;
    d.n_failed = 8;
    d.tried_wall_ns = 9;
    d.why_code = ERR_SPACE;
    assert_int_equal(copies_save(home, &d, true, &e), 0);
    assert_int_equal(copies_load(home, d.id, &got, &e), 0);
    assert_string_equal(got.id, d.id);
    assert_string_equal(got.snapshot, d.snapshot);
    assert_string_equal(got.copied, d.copied);
    assert_string_equal(got.host, d.host);
    assert_string_equal(got.name, d.name);
    assert_string_equal(got.copied_to, d.copied_to);
    assert_string_equal(got.why, d.why);
    assert_true(got.outs && got.live);
    assert_int_equal(got.stored_bytes, 5);
    assert_int_equal(got.made_wall_ns, 6);
    assert_int_equal(got.expires_wall_ns, 7);
    assert_int_equal(got.n_failed, 8);
    assert_int_equal(got.tried_wall_ns, 9);
    assert_int_equal(got.why_code, ERR_SPACE);
    copy_due_free(&got);
    copy_due_free(&d);
}

static void
a_list__is_newest_first_and_forgets_what_is_long_gone(void **state)
{
    const struct home *home = *state;
    struct copies l;
    struct err e = {0};
    char *spoiled = home_path(home, "copies", "jffffffffffff");

    assert_int_equal(copies_list(home, &l, &e), 0);
    assert_int_equal(l.n, 0);
    put(home, "jaaaaaaaaaaaa", "", 3 * NS_PER_DAY, 0);
    put(home, "sbbbbbbbbbbbb", "", 1 * NS_PER_DAY, NS_PER_DAY);
    put(home, "jcccccccccccc", "", 2 * NS_PER_DAY, -29 * NS_PER_DAY);
    put(home, "jdddddddddddd", "", 60 * NS_PER_DAY, -31 * NS_PER_DAY);
    put(home, "jeeeeeeeeeeee", "", 401 * NS_PER_DAY, 0);
    assert_int_equal(file_replace(spoiled, "no record", 9, &e), 0);
    assert_int_equal(copies_list(home, &l, &e), 0);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[0].id, "sbbbbbbbbbbbb");
    assert_string_equal(l.v[1].id, "jcccccccccccc");
    assert_string_equal(l.v[2].id, "jaaaaaaaaaaaa");
    copies_free(&l);
    assert_false(is_due(home, "jdddddddddddd"));
    assert_false(is_due(home, "jeeeeeeeeeeee"));
    free(spoiled);
}

static void
what_is_settled__is_forgotten_under_its_jobs_id_too(void **state)
{
    const struct home *home = *state;

    put(home, "jaaaaaaaaaaaa", "sbbbbbbbbbbbb", 0, 0);
    put(home, "sbbbbbbbbbbbb", "", 0, 0);
    put(home, "jcccccccccccc", "sdddddddddddd", 0, 0);
    put(home, "jeeeeeeeeeeee", "", 0, 0);
    copies_settle(home, "sbbbbbbbbbbbb");
    assert_false(is_due(home, "jaaaaaaaaaaaa"));
    assert_false(is_due(home, "sbbbbbbbbbbbb"));
    assert_true(is_due(home, "jcccccccccccc"));
    assert_true(is_due(home, "jeeeeeeeeeeee"));
    jobs_forget(home, "jeeeeeeeeeeee"); /* it was never accepted */
    assert_false(is_due(home, "jeeeeeeeeeeee"));
}

static void
a_copy__is_made_by_one_at_a_time(void **state)
{
    const struct home *home = *state;
    struct copies l;
    struct err e = {0};
    int first = -1;
    int second = -1;

    put(home, "jaaaaaaaaaaaa", "", 0, 0);
    assert_true(copies_take(home, "jaaaaaaaaaaaa", &first));
    assert_false(copies_take(home, "jaaaaaaaaaaaa", &second));
    assert_true(copies_take(home, "jbbbbbbbbbbbb", &second));
    copies_let_go(home, "jbbbbbbbbbbbb", &second);
    assert_int_equal(copies_list(home, &l, &e), 0);
    assert_int_equal(l.n, 1); /* what says so is none of them */
    copies_free(&l);
    copies_let_go(home, "jaaaaaaaaaaaa", &first);
    assert_true(copies_take(home, "jaaaaaaaaaaaa", &second));
    copies_let_go(home, "jaaaaaaaaaaaa", &second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_note__comes_back_as_it_was, home_setup,
                                        home_teardown),
        cmocka_unit_test_setup_teardown(
            a_list__is_newest_first_and_forgets_what_is_long_gone, home_setup,
            home_teardown),
        cmocka_unit_test_setup_teardown(
            what_is_settled__is_forgotten_under_its_jobs_id_too, home_setup,
            home_teardown),
        cmocka_unit_test_setup_teardown(a_copy__is_made_by_one_at_a_time, home_setup,
                                        home_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
