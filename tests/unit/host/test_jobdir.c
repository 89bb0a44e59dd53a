#include "tests/unit/unit.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/host/agent.h"
#include "runner/host/jobdir.h"

#define JOB     "j0123456789ab"
#define OTHER   "jzzzzzzzzzzzz"
#define RENTER  "0123456789abcdef"
#define RENTER2 "fedcba9876543210"

struct place {
    struct agent *a;
    struct renter *r;
};

static void
place_open(struct place *p, const char *home)
{
    struct err e = {0};

    assert_int_equal(setenv("GPURUN_AGENT_HOME", home, 1), 0);
    assert_int_equal(chmod(home, 0700), 0);
    assert_ok(agent_open(&p->a, &e));
    assert_ok(renter_open(&p->r, p->a, RENTER, true, &e));
}

static void
place_close(struct place *p)
{
    renter_close(p->r);
    agent_close(p->a);
}

/* ---- the home ---- */

static void
agent__keeps_one_key_and_refuses_a_home_of_others(void **state)
{
    struct agent *a;
    struct agent *b;
    struct err e = {0};
    struct stat sb;
    char *key;

    assert_int_equal(setenv("GPURUN_AGENT_HOME", *state, 1), 0);
    assert_ok(agent_open(&a, &e));
    assert_ok(agent_open(&b, &e));
    assert_memory_equal(a->pub.b, b->pub.b, sizeof a->pub.b);
    key = agent_path(a, "key");
    assert_int_equal(stat(key, &sb), 0);
    assert_int_equal(sb.st_mode & 077, 0);
    free(key);
    agent_close(a);
    agent_close(b);

    assert_int_equal(chmod(*state, 0770), 0);
    assert_refused(agent_open(&a, &e), ERR_DENIED);
    assert_non_null(strstr(e.msg, "chmod"));
    assert_int_equal(chmod(*state, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(*state, 12345, 0), 0);
        assert_refused(agent_open(&a, &e), ERR_DENIED);
        assert_int_equal(chown(*state, 0, 0), 0);
    }
    assert_int_equal(setenv("GPURUN_AGENT_HOME", "", 1), 0);
    assert_int_equal(unsetenv("XDG_DATA_HOME"), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_refused(agent_open(&a, &e), ERR_INVALID);
}

/* ---- renters ---- */

static void
renter__is_made_once_and_its_key_is_pinned(void **state)
{
    struct place p;
    struct renter *r = NULL;
    struct renter_ids l;
    struct sign_public one = {{1}};
    struct sign_public two = {{2}};
    struct err e = {0};

    place_open(&p, *state);
    assert_refused(renter_open(&r, p.a, RENTER2, false, &e), ERR_NOT_FOUND);
    assert_refused(renter_open(&r, p.a, "../0123456789abc", true, &e), ERR_INVALID);
    assert_refused(renter_open(&r, p.a, "0123456789ABCDEF", true, &e), ERR_INVALID);
    assert_refused(renter_open(&r, p.a, "", true, &e), ERR_INVALID);
    assert_null(r);

    assert_false(p.r->has_key);
    assert_ok(renter_open(&r, p.a, RENTER, false, &e));
    assert_ok(renter_pin_key(p.r, &one, &e));
    assert_ok(renter_pin_key(p.r, &one, &e));
    assert_refused(renter_pin_key(p.r, &two, &e), ERR_DENIED);
    /* Another connection, opened before it was pinned. */
    assert_false(r->has_key);
    assert_refused(renter_pin_key(r, &two, &e), ERR_DENIED);
    assert_ok(renter_pin_key(r, &one, &e));
    renter_close(r);

    assert_ok(renter_list(p.a, &l, &e));
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0], RENTER);
    renter_ids_free(&l);
    place_close(&p);
}

static void
renter__record_comes_back_as_it_was(void **state)
{
    struct place p;
    struct renter *r = NULL;
    struct err e = {0};

    place_open(&p, *state);
    (void)snprintf(p.r->name, sizeof p.r->name, "ann");
    p.r->confined = true;
    p.r->until_wall_ns = 4000000000000000000;
    p.r->max_cost_fen = 12345;
    p.r->ssh_key = xstrdup("ssh-ed25519 AAAA");
    assert_ok(renter_save(p.r, &e));
    assert_ok(renter_open(&r, p.a, RENTER, false, &e));
    assert_string_equal(r->name, "ann");
    assert_true(r->confined && !r->revoked && !r->has_key);
    assert_int_equal(r->until_wall_ns, 4000000000000000000);
    assert_int_equal(r->max_cost_fen, 12345);
    assert_string_equal(r->ssh_key, "ssh-ed25519 AAAA");
    assert_ok(renter_check_admitted(r, &e));
    r->until_wall_ns = clock_wall_ns() - 1;
    assert_refused(renter_check_admitted(r, &e), ERR_DENIED);
    r->until_wall_ns = 0;
    r->revoked = true;
    assert_refused(renter_check_admitted(r, &e), ERR_DENIED);
    renter_close(r);
    place_close(&p);
}

static void
renter__damaged_record_is_an_error_not_a_new_one(void **state)
{
    static const char *const texts[] = {"",
                                        "garbage",
                                        "gpurun.renter.v1\n",
                                        "gpurun.renter.v1\nid=" RENTER2 "\nconfined=0\n",
                                        "gpurun.renter.v1\nid=" RENTER "\nconfined=2\n",
                                        "gpurun.renter.v1\nid=" RENTER
                                        "\nconfined=0\nkey=12\n"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct place p;
        struct renter *r = NULL;
        struct err e = {0};

        place_open(&p, *state);
        assert_ok(file_replace_at(p.r->fd, "renter", texts[i], strlen(texts[i]), &e));
        assert_int_equal(renter_open(&r, p.a, RENTER, true, &e), -1);
        assert_null(r);
        assert_int_equal(unlinkat(p.r->fd, "renter", 0), 0);
        place_close(&p);
    }
}

/* ---- jobs ---- */

static void
jobdir__is_there_whole_or_not_at_all(void **state)
{
    struct place p;
    struct jobdir made;
    struct jobdir twin;
    struct jobdir d;
    struct job_ids ids;
    struct err e = {0};
    bool owned = true;
    bool got = true;
    int fd;

    place_open(&p, *state);
    assert_refused(jobdir_make(&made, p.r, "../../etc", &e), ERR_INVALID);
    assert_refused(jobdir_open(&d, p.r, "x", &e), ERR_INVALID);
    assert_ok(jobdir_make(&made, p.r, JOB, &e));
    assert_refused(jobdir_open(&d, p.r, JOB, &e), ERR_NOT_FOUND);
    assert_refused(jobdir_make(&twin, p.r, JOB, &e), ERR_BUSY);
    assert_ok(jobdir_list(p.r, &ids, &e));
    assert_int_equal(ids.n, 0);
    job_ids_free(&ids);

    assert_ok(jobdir_place(&made, &e));
    assert_ok(jobdir_open(&d, p.r, JOB, &e));
    assert_ok(jobdir_is_owned(&d, &owned, &e));
    assert_true(owned);
    assert_ok(jobdir_try_lock(&d, &got, &e));
    assert_false(got);
    /* A second one of that name is dropped, the first stays. */
    assert_ok(jobdir_make(&twin, p.r, JOB, &e));
    assert_refused(jobdir_place(&twin, &e), ERR_EXISTS);
    jobdir_drop(&twin);
    jobdir_close(&made);
    assert_ok(jobdir_is_owned(&d, &owned, &e));
    assert_false(owned);
    assert_ok(jobdir_try_lock(&d, &got, &e));
    assert_true(got);
    jobdir_close(&d);

    /* What a maker that died left is swept by the next. */
    assert_ok(jobdir_make(&made, p.r, OTHER, &e));
    fd = openat(made.fd, "half", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd != -1);
    (void)close(fd);
    jobdir_close(&made); /* as by a crash: neither placed nor dropped */
    assert_ok(jobdir_make(&made, p.r, OTHER, &e));
    assert_int_equal(faccessat(made.fd, "half", F_OK, 0), -1);
    jobdir_drop(&made);
    assert_ok(jobdir_list(p.r, &ids, &e));
    assert_int_equal(ids.n, 1);
    assert_string_equal(ids.v[0], JOB);
    job_ids_free(&ids);
    place_close(&p);
}

static void
jobdir__state_is_replaced_whole(void **state)
{
    struct place p;
    struct jobdir d;
    struct job_state st;
    struct job_state back;
    struct err e = {0};

    place_open(&p, *state);
    assert_ok(jobdir_make(&d, p.r, JOB, &e));
    state_init(&st);
    memcpy(st.job, JOB, sizeof JOB);
    memcpy(st.renter, RENTER, sizeof RENTER);
    state_set_text(&st.name, "a name");
    for (int durable = 0; durable < 2; durable++) {
        st.phase = durable ? JOB_ENDED : JOB_RUNNING;
        st.reason = durable ? JOB_EXITED : JOB_REASON_NONE;
        st.seq++;
        assert_ok(jobdir_set_state(&d, &st, durable == 1, &e));
        state_init(&back);
        assert_ok(jobdir_state(&d, &back, &e));
        assert_int_equal(back.phase, st.phase);
        assert_int_equal(back.seq, st.seq);
        assert_string_equal(back.name, "a name");
        state_free(&back);
    }
    assert_int_equal(faccessat(d.fd, "state.tmp", F_OK, 0), -1);
    assert_ok(file_replace_at(d.fd, "state", "gpurun.state.v1\n", 16, &e));
    state_init(&back);
    assert_int_equal(jobdir_state(&d, &back, &e), -1);
    assert_non_null(strstr(e.msg, JOB));
    state_free(&back);
    state_free(&st);
    jobdir_drop(&d);
    place_close(&p);
}

static void
mark(const struct renter *r, const char *job)
{
    struct err e = {0};
    int dir = -1;

    assert_ok(jobdir_mark_active(r, job, &dir, &e));
    assert_int_equal(fsync(dir), 0);
    assert_int_equal(close(dir), 0);
}

static void
jobdir__marks_what_is_active(void **state)
{
    struct place p;
    struct job_ids ids;
    struct err e = {0};

    place_open(&p, *state);
    mark(p.r, JOB);
    mark(p.r, JOB);
    mark(p.r, OTHER);
    assert_ok(jobdir_list_active(p.r, &ids, &e));
    assert_int_equal(ids.n, 2);
    job_ids_free(&ids);
    jobdir_unmark_active(p.r, JOB);
    jobdir_unmark_active(p.r, JOB);
    assert_ok(jobdir_list_active(p.r, &ids, &e));
    assert_int_equal(ids.n, 1);
    assert_string_equal(ids.v[0], OTHER);
    job_ids_free(&ids);
    place_close(&p);
}

/* ---- a directory that cannot be read to its end ---- */

static bool no_more; /* the next entry cannot be read */

struct dirent64 *
readdir64(DIR *d)
{
    static struct dirent64 *(*next)(DIR *);

    if (next == NULL) {
        next = (struct dirent64 * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
    }
    if (no_more) {
        errno = EIO;
        return NULL;
    }
    return next(d);
}

/* They are one where off_t has 64 bits. */
struct dirent *
readdir(DIR *d)
{
    return (struct dirent *)(void *)readdir64(d);
}

/* A host would be shut down below a job that it does not see. */
static void
lists__of_a_disk_that_fails_are_no_short_lists(void **state)
{
    struct job_ids ids;
    struct renter_ids renters;
    struct err e = {0};
    struct place p;

    place_open(&p, *state);
    mark(p.r, JOB);
    no_more = true;
    assert_refused(jobdir_list_active(p.r, &ids, &e), ERR_SYSTEM);
    assert_refused(renter_list(p.a, &renters, &e), ERR_SYSTEM);
    assert_non_null(strstr(e.msg, "renters"));
    no_more = false;
    assert_ok(renter_list(p.a, &renters, &e));
    assert_int_equal(renters.n, 1);
    renter_ids_free(&renters);
    place_close(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(agent__keeps_one_key_and_refuses_a_home_of_others),
        unit_test_in_dir(renter__is_made_once_and_its_key_is_pinned),
        unit_test_in_dir(renter__record_comes_back_as_it_was),
        unit_test_in_dir(renter__damaged_record_is_an_error_not_a_new_one),
        unit_test_in_dir(jobdir__is_there_whole_or_not_at_all),
        unit_test_in_dir(jobdir__state_is_replaced_whole),
        unit_test_in_dir(jobdir__marks_what_is_active),
        unit_test_in_dir(lists__of_a_disk_that_fails_are_no_short_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
