#include "runner/client/snaps.h"
#include "tests/unit/unit.h"

#define A "s8a4xjbe8a9hj"
#define B "s8a9qt5wnvvsk"
#define C "s9qt5wnvvswk3"

static struct snap_info
made(const char *id, const char *host, const char *name, const char *job, int64_t at,
     bool kept)
{
    struct snap_info s;

    snap_info_init(&s);
    (void)snprintf(s.id, sizeof s.id, "%s", id);
    s.host = xstrdup(host);
    s.name = name != NULL ? xstrdup(name) : NULL;
    s.job = job != NULL ? xstrdup(job) : NULL;
    s.made_wall_ns = at;
    s.kept = kept;
    return s;
}

static struct snap_infos
some(void)
{
    struct snap_infos l = {xcalloc(4, sizeof *l.v), 4};

    l.v[0] = made(A, "h1", "train", "j1", 100, false);
    l.v[1] = made(C, "h1", "train", "j2", 300, true);
    l.v[2] = made(A, "h2", "train", "j1", 100, true); /* a second copy of it */
    l.v[3] = made(B, "h1", NULL, NULL, 200, true);
    snaps_sort(&l);
    return l;
}

static void
find__knows_ids_names_jobs_and_beginnings(void **state)
{
    static const struct {
        const char *what;
        const char *id;
        const char *host;
    } cases[] = {
        {A, A, "h2"}, /* the copy that is kept */
        {B, B, "h1"},    {"@last", C, "h1"}, {"train", C, "h1"}, /* the newest */
        {"j1", A, "h2"}, {"s9", C, "h1"},    {"s8a4", A, "h2"},
    };
    struct snap_infos l = some();
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct snap_info *s = NULL;

        assert_ok(snaps_find(&l, cases[i].what, &s, &e));
        assert_string_equal(s->id, cases[i].id);
        assert_string_equal(s->host, cases[i].host);
    }
    snap_infos_free(&l);
}

static void
find__refuses_what_means_several_or_none(void **state)
{
    const struct snap_info *s = NULL;
    struct snap_infos none = {NULL, 0};
    struct snap_infos l = some();
    struct err e;

    (void)state;
    assert_refused(snaps_find(&l, "s8a", &s, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, A));
    assert_non_null(strstr(e.msg, B));
    assert_refused(snaps_find(&l, "trai", &s, &e), ERR_NOT_FOUND); /* of an id only */
    assert_refused(snaps_find(&l, "", &s, &e), ERR_NOT_FOUND);
    snaps_sort(&none);
    assert_refused(snaps_find(&none, "@last", &s, &e), ERR_NOT_FOUND);
    assert_null(s);
    snap_infos_free(&l);
}

static void
parse__takes_a_host_at_its_word_within_bounds(void **state)
{
    static const char good[] = "gpurun.snap.v1\nid=" A "\nname=n\nexit_code=3\n"
                               "made_wall_ns=5\nn_files=2\npartial=1\ndata=expired\n";
    static const char *const bad[] = {
        "gpurun.snap.v1\nname=n\n",
        "gpurun.snap.v1\nid=../../etc\n",
        "gpurun.snap.v1\nid=" A "\nexit_code=256\n",
        "gpurun.snap.v1\nid=" A "\nn_files=many\n",
        "gpurun.other.v1\nid=" A "\n",
        "nothing",
    };
    struct snap_info s;
    struct err e;

    (void)state;
    assert_ok(snap_info_parse(&s, "h", good, strlen(good), &e));
    assert_string_equal(s.id, A);
    assert_string_equal(s.host, "h");
    assert_int_equal(s.exit_code, 3);
    assert_int_equal(s.n_files, 2);
    assert_true(s.partial);
    assert_false(s.kept);
    snap_info_free(&s);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&e, 0, sizeof e);
        assert_int_equal(snap_info_parse(&s, "h", bad[i], strlen(bad[i]), &e), -1);
        assert_non_null(strstr(e.msg, "'h'")); /* whose word it is */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find__knows_ids_names_jobs_and_beginnings),
        cmocka_unit_test(find__refuses_what_means_several_or_none),
        cmocka_unit_test(parse__takes_a_host_at_its_word_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
