/* What a renter's clock says of a job, on disk: found by later clients, lost to none. */
#include "base/clock.h"
#include "runner/client/dispute.h"
#include "runner/client/jobs.h"
#include "tests/unit/job/spec_util.h"
#include "tests/unit/unit.h"

#define NS_PER_S ((int64_t)1000000000)
#define JOB      "j06sndwmq0182"

static int64_t now_ns;

static int64_t
test_clock(enum clock_kind kind)
{
    (void)kind;
    return now_ns;
}

static struct home *
open_home(const char *dir)
{
    struct home *home = NULL;
    struct err e = {0};

    clock_set_source(test_clock);
    now_ns = 1000 * NS_PER_S;
    assert_ok(home_open(&home, dir, &e));
    return home;
}

static void
close_home(struct home *home)
{
    clock_set_source(NULL);
    home_free(home);
}

static void
dispute__is_kept_for_the_clients_that_come_later(void **state)
{
    struct home *home = open_home(*state);
    struct dispute *d = dispute_open(home, JOB);
    struct stopwatch w;

    dispute_begin(d);
    dispute_close(d);
    assert_false(dispute_load(home, JOB, &w));
    now_ns += 100 * NS_PER_S;
    d = dispute_open(home, JOB);
    dispute_begin(d); /* it began long ago */
    assert_true(dispute_holds(d, 5, 0, 130));
    assert_null(dispute_claim(d));
    assert_false(dispute_holds(d, 6, 0, 131));
    assert_int_equal(dispute_claim(d)->passed_s, 100);
    dispute_end(d);
    dispute_close(d);
    assert_true(dispute_load(home, JOB, &w));
    assert_int_equal(w.host_s, 131);
    assert_int_equal(w.seq, 6);
    close_home(home);
}

static void
dispute__of_one_client_stands_for_all(void **state)
{
    struct home *home = open_home(*state);
    struct dispute *first = dispute_open(home, JOB);
    struct dispute *other;
    struct stopwatch w;

    dispute_begin(first);
    other = dispute_open(home, JOB);
    assert_false(dispute_holds(first, 6, 0, 500));
    now_ns += 600 * NS_PER_S; /* it looks when it is too late to tell */
    assert_true(dispute_holds(other, 6, 0, 500));
    dispute_end(other);
    assert_true(dispute_load(home, JOB, &w));
    assert_int_equal(w.host_s, 500);
    assert_int_equal(w.passed_s, 0);
    dispute_close(first);
    dispute_close(other);
    close_home(home);
}

static void
dispute__leaves_nothing_where_all_held(void **state)
{
    static const char *const wrong[] = {("../jobs/" JOB), "", "x", "j06sndwmq018/"};
    struct home *home = open_home(*state);
    struct dispute *d = dispute_open(home, JOB);
    char *path = home_path(home, "evidence", JOB);
    struct stopwatch w;
    struct err e = {0};

    dispute_begin(d);
    assert_true(file_exists(path));
    assert_true(dispute_holds(d, 6, 0, 30));
    dispute_end(d);
    assert_false(file_exists(path));
    dispute_close(d);
    /* A file that is none is as good as none. */
    assert_ok(file_replace(path, "gpurun", 6, &e));
    d = dispute_open(home, JOB);
    assert_true(dispute_holds(d, 6, 0, INT64_MAX));
    dispute_close(d);
    assert_false(dispute_load(home, JOB, &w));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(dispute_load(home, wrong[i], &w));
    }
    free(path);
    close_home(home);
}

/* A record as of a job that was sent with that set-up, or without one. */
static void
send_job(const struct home *home, const char *setup)
{
    struct rec *r = small_spec(JOB);
    struct job_record j;
    struct err e = {0};

    job_record_init(&j);
    (void)strcpy(j.id, JOB);
    j.host = xstrdup("h1");
    if (setup != NULL) {
        rec_add(r, "setup", setup);
        rec_addf(r, "setup_key", "%064d", 7);
    }
    rec_encode(r, &j.spec);
    rec_free(r);
    assert_ok(jobs_save(home, &j, &e));
    job_record_free(&j);
}

static void
dispute__knows_which_job_was_sent_without_a_set_up(void **state)
{
    struct home *home = open_home(*state);
    struct dispute *d = dispute_open(home, JOB);
    struct stopwatch w;

    dispute_begin(d);
    now_ns += 100 * NS_PER_S;
    assert_true(dispute_holds(d, 4, 10, 50)); /* not sent from here */
    send_job(home, "make");
    assert_true(dispute_holds(d, 5, 10, 50));
    dispute_close(d); /* what it once found sent it keeps */
    d = dispute_open(home, JOB);
    send_job(home, NULL);
    assert_true(dispute_holds(d, 6, 0, 60));
    assert_false(dispute_holds(d, 7, 10, 50));
    assert_true(dispute_load(home, JOB, &w));
    assert_true(w.no_setup);
    assert_int_equal(w.host_s, 60);
    assert_int_equal(w.passed_s, 50);
    assert_int_equal(w.unasked_s, 10);
    dispute_close(d);
    close_home(home);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(dispute__is_kept_for_the_clients_that_come_later),
        unit_test_in_dir(dispute__of_one_client_stands_for_all),
        unit_test_in_dir(dispute__knows_which_job_was_sent_without_a_set_up),
        unit_test_in_dir(dispute__leaves_nothing_where_all_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
