#include "tests/unit/client/home_util.h"

#include "runner/client/jobs.h"

static void
save(const struct home *home, const char *id, const char *name, int64_t made_wall_ns)
{
    struct job_record r;
    struct err e = {0};

    job_record_init(&r);
    (void)snprintf(r.id, sizeof r.id, "%s", id);
    r.name = name != NULL ? xstrdup(name) : NULL;
    r.host = xstrdup("h");
    r.made_wall_ns = made_wall_ns;
    strings_add(&r.outs, "out dir");
    assert_int_equal(jobs_save(home, &r, &e), 0);
    job_record_free(&r);
}

static void
check_find(const struct home *home, const char *what, const char *id, enum err_code code)
{
    struct job_record r;
    struct err e = {0};
    int rc = jobs_find(home, what, &r, &e);

    if (id == NULL) {
        assert_int_equal(rc, -1);
        assert_int_equal(e.code, code);
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(r.id, id);
    assert_string_equal(r.outs.v[0], "out dir");
    job_record_free(&r);
}

static void
jobs_find__takes_ids_names_prefixes_and_last(void **state)
{
    const struct home *home = *state;

    check_find(home, "@last", NULL, ERR_NOT_FOUND);
    save(home, "jaaaaaaaaaaaa", "train", 1000);
    save(home, "jaaaaaaaaaaab", "train", 3000);
    save(home, "jbbbbbbbbbbbb", "other", 2000);
    check_find(home, "jaaaaaaaaaaaa", "jaaaaaaaaaaaa", ERR_NONE);
    check_find(home, "train", "jaaaaaaaaaaab", ERR_NONE); /* the newest so called */
    check_find(home, "other", "jbbbbbbbbbbbb", ERR_NONE);
    check_find(home, "jb", "jbbbbbbbbbbbb", ERR_NONE);
    check_find(home, "@last", "jaaaaaaaaaaab", ERR_NONE);
    check_find(home, "ja", NULL, ERR_INVALID);
    check_find(home, "", NULL, ERR_NOT_FOUND);
    check_find(home, "jz", NULL, ERR_NOT_FOUND);
    check_find(home, "../jobs", NULL, ERR_NOT_FOUND);
}

static void
jobs_list__passes_over_what_a_power_cut_spoiled(void **state)
{
    const struct home *home = *state;
    struct job_list l;
    struct err e = {0};
    char *path = home_path(home, "jobs", "jccccccccccca");

    save(home, "jaaaaaaaaaaaa", NULL, 1000);
    assert_int_equal(file_replace(path, "", 0, &e), 0);
    assert_int_equal(jobs_list(home, &l, &e), 0);
    assert_int_equal(l.n, 1);
    job_list_free(&l);
    jobs_forget(home, "jaaaaaaaaaaaa");
    assert_int_equal(jobs_list(home, &l, &e), 0);
    assert_int_equal(l.n, 0);
    job_list_free(&l);
    free(path);
}

static void
jobs_seen__outlives_its_mapping(void **state)
{
    struct job_seen *seen = NULL;
    int seen_lock = -1;
    bool tells;
    struct err e = {0};

    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &seen, &seen_lock, &tells, &e), 0);
    assert_int_equal(seen->out, 0);
    seen->out = 12345678901;
    seen->err = 7;
    jobs_seen_close(seen, &seen_lock);
    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &seen, &seen_lock, &tells, &e), 0);
    assert_int_equal(seen->out, 12345678901);
    assert_int_equal(seen->err, 7);
    jobs_seen_close(seen, &seen_lock);
}

static void
jobs_seen__is_counted_by_one_client_only(void **state)
{
    struct job_seen *first = NULL;
    int first_lock = -1;
    struct job_seen *second = NULL;
    int second_lock = -1;
    bool tells = false;
    struct err e = {0};

    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &first, &first_lock, &tells, &e), 0);
    first->out = 100;
    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &second, &second_lock, &tells, &e), 0);
    assert_int_equal(second->out, 100);
    second->out += 50;
    assert_int_equal(first->out, 100);
    jobs_seen_close(first, &first_lock);
    jobs_seen_close(second, &second_lock);
    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &first, &first_lock, &tells, &e), 0);
    assert_int_equal(first->out, 100);
    first->out = 101;
    jobs_seen_close(first, &first_lock);
    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &first, &first_lock, &tells, &e), 0);
    assert_int_equal(first->out, 101); /* the lock went with the mapping */
    jobs_seen_close(first, &first_lock);
}

static void
jobs_seen__is_told_by_one_client_only(void **state)
{
    struct job_seen *batch = NULL;
    int batch_lock = -1;
    struct job_seen *second = NULL;
    int second_lock = -1;
    struct job_seen *attached = NULL;
    int attached_lock = -1;
    bool tells = true;
    struct err e = {0};

    assert_int_equal(
        jobs_seen_open_to_tell(*state, "jaaaaaaaaaaaa", &batch, &batch_lock, &e), 0);
    batch->told = 3;
    assert_int_equal(
        jobs_seen_open_to_tell(*state, "jaaaaaaaaaaaa", &second, &second_lock, &e), 0);
    assert_int_equal(second_lock, -1);
    second->told = 4; /* a copy of its own */
    jobs_seen_close(second, &second_lock);

    /* It counts what it shows, beside that. */
    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &attached, &attached_lock, &tells, &e),
        0);
    assert_false(tells);
    attached->out = 5;
    jobs_seen_close(attached, &attached_lock);
    assert_int_equal(batch->out, 5);
    jobs_seen_close(batch, &batch_lock);

    assert_int_equal(
        jobs_seen_open(*state, "jaaaaaaaaaaaa", &attached, &attached_lock, &tells, &e),
        0);
    assert_true(tells);
    assert_int_equal(attached->told, 3);
    jobs_seen_close(attached, &attached_lock);
}

static void
jobs_save__keeps_the_end(void **state)
{
    struct job_record r;
    struct job_record got;
    struct err e = {0};

    job_record_init(&r);
    (void)snprintf(r.id, sizeof r.id, "jaaaaaaaaaaaa");
    r.host = xstrdup("h");
    r.final = true;
    r.exit_code = 137;
    r.outs_due = true;
    r.charge_fen = 55;
    r.phrase = xstrdup("ended: killed");
    (void)snprintf(r.snapshot, sizeof r.snapshot, "saaaaaaaaaaaa");
    assert_int_equal(jobs_save(*state, &r, &e), 0);
    assert_int_equal(jobs_load(*state, r.id, &got, &e), 0);
    assert_true(got.final);
    assert_int_equal(got.exit_code, 137);
    assert_true(got.outs_due);
    assert_int_equal(got.charge_fen, 55);
    assert_string_equal(got.phrase, "ended: killed");
    assert_string_equal(got.snapshot, "saaaaaaaaaaaa");
    job_record_free(&got);
    job_record_free(&r);
}

int
main(void)
{
#define WITH_HOME(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)
    const struct CMUnitTest tests[] = {
        WITH_HOME(jobs_find__takes_ids_names_prefixes_and_last),
        WITH_HOME(jobs_list__passes_over_what_a_power_cut_spoiled),
        WITH_HOME(jobs_seen__outlives_its_mapping),
        WITH_HOME(jobs_seen__is_counted_by_one_client_only),
        WITH_HOME(jobs_seen__is_told_by_one_client_only),
        WITH_HOME(jobs_save__keeps_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
