#include "tests/unit/storage/snap_clock.h"

static void
list__is_in_order_of_time_and_shows_damage(void **state)
{
    struct fixture *f = *state;
    char *path = path_join(f->dir, "snaps/s222222222222.manifest");
    struct snap_list l;

    OK(snap_list(f->s, &l, e));
    assert_int_equal(l.n, 0);
    snap_list_free(&l);
    add_snap(f->s, "s333333333333", "a", T0 + 1, 0);
    add_snap(f->s, "s111111111111", "a", T0 + 2, 0);
    add_snap(f->s, "s222222222222", "b", T0 + 3, 0);
    OK(file_replace(path, "rubbish", 7, e));
    OK(snap_list(f->s, &l, e));
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[0].id, "s222222222222");
    assert_null(l.v[0].m);
    assert_string_not_equal(l.v[0].error, "");
    assert_int_equal(l.v[0].claim.data, SNAP_DATA_KEPT);
    assert_string_equal(l.v[1].id, "s333333333333");
    assert_string_equal(l.v[2].id, "s111111111111");
    snap_list_free(&l);
    free(path);
}

static void
find__takes_ids_prefixes_and_names(void **state)
{
    struct fixture *f = *state;
    char id[MANIFEST_ID_MAX + 1] = "";

    FAILS(snap_find(f->s, "@last", id, e), ERR_NOT_FOUND);
    add_snap(f->s, "saa1111111111", "train", T0 + 5, 0);
    add_snap(f->s, "saa2222222222", "train", T0 + 2, 0);
    add_snap(f->s, "sbb1111111111", "other", T0 + 3, 0);
    OK(snap_find(f->s, "saa1111111111", id, e));
    assert_string_equal(id, "saa1111111111");
    OK(snap_find(f->s, "sb", id, e));
    assert_string_equal(id, "sbb1111111111");
    FAILS(snap_find(f->s, "sa", id, e), ERR_INVALID);
    assert_string_equal(id, "sbb1111111111");
    OK(snap_find(f->s, "train", id, e));
    assert_string_equal(id, "saa1111111111");
    OK(snap_find(f->s, "@last", id, e));
    assert_string_equal(id, "saa1111111111");
    FAILS(snap_find(f->s, "", id, e), ERR_NOT_FOUND);
    FAILS(snap_find(f->s, "nobody", id, e), ERR_NOT_FOUND);
}

static void
claim__goes_from_kept_to_gone_and_comes_back_only_with_the_data(void **state)
{
    struct fixture *f = *state;
    const char *id = "saa1111111111";
    struct snap_claim c;

    FAILS(snap_keep(f->s, id, 0, e), ERR_NOT_FOUND);
    add_snap(f->s, id, "x", T0, T0 + 15 * DAY);
    OK(snap_claim_get(f->s, id, &c, e));
    assert_int_equal(c.data, SNAP_DATA_KEPT);
    assert_int_equal(c.expires_wall_ns, T0 + 15 * DAY);
    OK(snap_keep(f->s, id, T0 + 30 * DAY, e));
    OK(snap_claim_get(f->s, id, &c, e));
    assert_int_equal(c.expires_wall_ns, T0 + 30 * DAY);
    OK(snap_drop(f->s, id, "removed", e));
    OK(snap_drop(f->s, id, "again", e));
    OK(snap_claim_get(f->s, id, &c, e));
    assert_int_equal(c.data, SNAP_DATA_GONE);
    assert_string_equal(c.why, "removed");
    assert_int_equal(c.gone_wall_ns, T0);
    FAILS(snap_keep(f->s, id, 0, e), ERR_NOT_FOUND);
    OK(snap_regain(f->s, id, 0, e));
    OK(snap_claim_get(f->s, id, &c, e));
    assert_int_equal(c.data, SNAP_DATA_KEPT);
}

static void
claim__that_was_set_by_hand_is_not_given_up_for_a_later_one(void **state)
{
    struct fixture *f = *state;
    const char *plain = "saa1111111111";
    const char *kept = "saa2222222222";
    const char *gone = "saa3333333333";
    struct snap_claim c;

    FAILS(snap_drop_replaced(f->s, plain, e), ERR_NOT_FOUND);
    add_snap(f->s, plain, "x", T0, T0 + DAY);
    add_snap(f->s, kept, "x", T0, T0 + DAY);
    add_snap(f->s, gone, "x", T0, T0 + DAY);
    OK(snap_keep(f->s, kept, T0 + 40 * DAY, e));
    OK(snap_drop(f->s, gone, "removed", e));
    OK(snap_drop_replaced(f->s, plain, e));
    OK(snap_drop_replaced(f->s, kept, e));
    OK(snap_drop_replaced(f->s, gone, e));
    OK(snap_claim_get(f->s, plain, &c, e));
    assert_int_equal(c.data, SNAP_DATA_GONE);
    assert_string_equal(c.why, SNAP_REPLACED);
    OK(snap_claim_get(f->s, kept, &c, e));
    assert_int_equal(c.data, SNAP_DATA_KEPT);
    assert_int_equal(c.expires_wall_ns, T0 + 40 * DAY);
    OK(snap_claim_get(f->s, gone, &c, e));
    assert_string_equal(c.why, "removed");
}

static void
claim__that_is_damaged_counts_as_kept(void **state)
{
    struct fixture *f = *state;
    const char *id = "saa1111111111";
    char *path = path_join(f->dir, "snaps/saa1111111111.claim");
    struct snap_claim c;

    add_snap(f->s, id, "x", T0, T0 + DAY);
    OK(snap_drop(f->s, id, "removed", e));
    OK(file_replace(path, "gpurun.claim.v1\nid=sXa1\n", 24, e));
    OK(snap_claim_get(f->s, id, &c, e));
    assert_int_equal(c.data, SNAP_DATA_KEPT);
    assert_int_equal(c.expires_wall_ns, 0);
    free(path);
}

/* A claim without a file of its own, and one that is damaged, are no errors. */
static void
claim__that_is_found_leaves_the_error_alone(void **state)
{
    struct fixture *f = *state;
    const char *id = "saa1111111111";
    char *path = path_join(f->dir, "snaps/saa1111111111.claim");
    struct err why = {.code = ERR_LIMIT, .msg = "before"};
    struct snap_claim c;

    add_snap(f->s, id, "x", T0, T0 + DAY);
    assert_int_equal(snap_claim_get(f->s, id, &c, &why), 0);
    assert_int_equal(why.code, ERR_LIMIT);
    OK(file_replace(path, "gpurun.claim.v1\nid=sXa1\n", 24, e));
    assert_int_equal(snap_claim_get(f->s, id, &c, &why), 0);
    assert_int_equal(why.code, ERR_LIMIT);
    assert_string_equal(why.msg, "before");
    free(path);
}

/* A claim of so many bytes, by an unknown field; what comes of it. */
static enum snap_data
claim_of_length(struct fixture *f, const char *id, size_t len)
{
    char *path = xasprintf("%s/snaps/%s.claim", f->dir, id);
    struct buf text = BUF_INIT;
    struct snap_claim c;

    buf_printf(&text, "gpurun.claim.v1\nid=%s\ndata=gone\nexpires_wall_ns=0\nx=", id);
    while (text.len + 1 < len) {
        buf_add_u8(&text, 'x');
    }
    buf_add_u8(&text, '\n');
    assert_int_equal(text.len, len);
    OK(file_replace(path, text.data, text.len, e));
    OK(snap_claim_get(f->s, id, &c, e));
    buf_free(&text);
    free(path);
    return c.data;
}

static void
claim__is_read_up_to_its_limit(void **state)
{
    struct fixture *f = *state;
    const char *id = "saa1111111111";

    add_snap(f->s, id, "x", T0, 0);
    assert_int_equal(claim_of_length(f, id, 4096), SNAP_DATA_GONE);
    assert_int_equal(claim_of_length(f, id, 4097), SNAP_DATA_KEPT);
}

static void
claim__of_something_else_counts_as_kept(void **state)
{
    static const char *const cases[] = {
        "gpurun.claim.v1\nid=saa2222222222\ndata=gone\nexpires_wall_ns=0\n",
        "gpurun.claim.v1\nid=saa1111111111\ndata=gane\nexpires_wall_ns=0\n",
        "gpurun.claim.v1\nid=saa1111111111\ndata=gone\nexpires_wall_ns=-1\n",
        "gpurun.claim.v1\nid=saa1111111111\ndata=gone\n",
        "gpurun.claim.v2\nid=saa1111111111\ndata=gone\nexpires_wall_ns=0\n",
        "",
    };
    struct fixture *f = *state;
    const char *id = "saa1111111111";
    char *path = path_join(f->dir, "snaps/saa1111111111.claim");
    struct snap_claim c;

    add_snap(f->s, id, "x", T0, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        OK(file_replace(path, cases[i], strlen(cases[i]), e));
        OK(snap_claim_get(f->s, id, &c, e));
        assert_int_equal(c.data, SNAP_DATA_KEPT);
        assert_int_equal(c.expires_wall_ns, 0);
    }
    free(path);
}

/* More than the list begins with; names of other files; equal times by id. */
static void
list__holds_all_there_are(void **state)
{
    enum { N = 70 };
    struct fixture *f = *state;
    char *other = path_join(f->dir, "snaps/s000000000000.manifest.tmp");
    char *strange = path_join(f->dir, "snaps/sXX0000000000.manifest");
    char id[MANIFEST_ID_MAX + 1];
    struct snap_list l;
    struct err err = {0};

    for (int i = N; i-- > 0;) {
        (void)snprintf(id, sizeof id, "s%012d", i);
        add_snap(f->s, id, "n", T0, 0);
    }
    OK(file_replace(other, "x", 1, e));
    OK(file_replace(strange, "x", 1, e));
    OK(snap_list(f->s, &l, e));
    assert_int_equal(l.n, N);
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "s%012d", (int)i);
        assert_string_equal(l.v[i].id, id);
        assert_non_null(l.v[i].m);
    }
    snap_list_free(&l);
    assert_int_equal(snap_find(f->s, "s00000000006", id, &err), -1);
    assert_non_null(strstr(err.msg, "10 snapshots begin with"));
    assert_non_null(strstr(err.msg, "s000000000060, s000000000061, s000000000062, "
                                    "s000000000063, ..."));
    free(other);
    free(strange);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void
kept_from__is_the_end_unless_it_was_made_long_after(void **state)
{
    const int64_t day = INT64_C(86400) * 1000000000;
    const struct {
        int64_t made, ended, from;
    } cases[] = {
        {100 * day, 100 * day - 5, 100 * day - 5},
        {100 * day, 99 * day, 99 * day},
        {100 * day, 99 * day - 1, 100 * day},
        {100 * day, 0, 100 * day}, /* it is not known */
        {100 * day, 101 * day, 101 * day},
        {INT64_MAX, INT64_MIN, INT64_MAX},
        {INT64_MIN, INT64_MAX, INT64_MIN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(snap_kept_from_ns(cases[i].made, cases[i].ended), cases[i].from);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_from__is_the_end_unless_it_was_made_long_after),
        T(list__is_in_order_of_time_and_shows_damage),
        T(find__takes_ids_prefixes_and_names),
        T(claim__goes_from_kept_to_gone_and_comes_back_only_with_the_data),
        T(claim__that_was_set_by_hand_is_not_given_up_for_a_later_one),
        T(claim__that_is_damaged_counts_as_kept),
        T(claim__that_is_found_leaves_the_error_alone),
        T(claim__is_read_up_to_its_limit),
        T(claim__of_something_else_counts_as_kept),
        T(list__holds_all_there_are),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
