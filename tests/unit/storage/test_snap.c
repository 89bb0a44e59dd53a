#include "tests/unit/storage/store_util.h"

#include "base/clock.h"
#include "storage/snap.h"

#define DAY ((int64_t)86400 * 1000000000)
#define T0  ((int64_t)1800000000 * 1000000000)

static struct sign_key *key;
static int64_t wall_ns;
static int64_t boot_ns;

static int64_t
fake_clock(enum clock_kind kind)
{
    return kind == CLOCK_KIND_WALL ? wall_ns : boot_ns;
}

static void
pass(int64_t ns)
{
    wall_ns += ns;
    boot_ns += ns;
}

static void
add_snap(struct store *s, const char *id, const char *name, int64_t made, int64_t expires)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);

    manifest_set(&m->id, id);
    manifest_set(&m->name, name);
    m->made_wall_ns = made;
    m->expires_wall_ns = expires;
    OK(manifest_write(s, m, key, e));
    manifest_free(m);
}

struct fixture {
    char *dir;
    struct store *s;
};

static int
set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    wall_ns = T0;
    boot_ns = 5 * DAY;
    clock_set_source(fake_clock);
    f->dir = scratch_dir();
    OK(store_open(&f->s, f->dir, NULL, e));
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    clock_set_source(NULL);
    store_close(f->s);
    scratch_free(f->dir);
    free(f);
    return 0;
}

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

/* Expire, and say how many went; doubt: whether the clock was not believed. */
static size_t
expire(struct store *s, bool *doubt)
{
    struct snap_expiry x;

    OK(snap_expire(s, &x, NULL, NULL, e));
    *doubt = x.clock_doubt[0] != '\0';
    return x.n_expired;
}

/* Let the store come to believe the clock. */
static void
get_to_know(struct store *s)
{
    bool doubt;

    assert_int_equal(expire(s, &doubt), 0);
    assert_true(doubt);
    pass(DAY - 1);
    assert_int_equal(expire(s, &doubt), 0);
    assert_true(doubt);
    pass(1);
    assert_int_equal(expire(s, &doubt), 0);
    assert_false(doubt);
}

static void
expire__takes_what_is_due_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct snap_claim c;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", T0, T0 + 15 * DAY);
    add_snap(f->s, "saa3333333333", "x", T0, 0);
    OK(snap_keep(f->s, "saa2222222222", T0 + 16 * DAY, e));
    get_to_know(f->s);
    pass(14 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    OK(snap_claim_get(f->s, "saa1111111111", &c, e));
    assert_string_equal(c.why, "expired");
    assert_int_equal(c.expires_wall_ns, T0 + 15 * DAY);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(30 * DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
}

static void
expire__does_not_believe_a_clock_that_jumps(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    get_to_know(f->s);
    wall_ns += 20 * DAY; /* forward, while the boot clock stands */
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    wall_ns -= 20 * DAY; /* and back: seen as a jump too */
    pass(1000);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(13 * DAY);
    assert_int_equal(expire(f->s, &doubt), 1);
    assert_false(doubt);
}

static int
make_key(void **state)
{
    struct err e;

    (void)state;
    return sign_key_new(&key, &e);
}

static int
free_key(void **state)
{
    (void)state;
    sign_key_free(key);
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(list__is_in_order_of_time_and_shows_damage),
        T(find__takes_ids_prefixes_and_names),
        T(claim__goes_from_kept_to_gone_and_comes_back_only_with_the_data),
        T(claim__that_is_damaged_counts_as_kept),
        T(claim__that_is_found_leaves_the_error_alone),
        T(expire__takes_what_is_due_and_no_more),
        T(expire__does_not_believe_a_clock_that_jumps),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
