#include "tests/unit/storage/store_util.h"

#include <sys/stat.h>

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

/* Expire, and say how many went; doubt: whether the clock was not believed. */
static size_t
expire(struct store *s, bool *doubt)
{
    struct snap_expiry x;

    OK(snap_expire(s, &x, NULL, NULL, e));
    *doubt = x.clock_doubt.msg[0] != '\0';
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
    char *clock = path_join(f->dir, "clock");
    struct stat seen;
    struct stat again;
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
    assert_int_equal(stat(clock, &seen), 0);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_int_equal(stat(clock, &again), 0);
    assert_true(seen.st_ino == again.st_ino); /* nothing new to be remembered */
    OK(snap_claim_get(f->s, "saa1111111111", &c, e));
    assert_string_equal(c.why, "expired");
    assert_int_equal(c.expires_wall_ns, T0 + 15 * DAY);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(30 * DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    free(clock);
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

/* To the nanosecond: what is drift yet, and what is a jump. */
static void
expire__takes_drift_for_what_it_is(void **state)
{
    const int64_t drift = (int64_t)600 * 1000000000;
    struct fixture *f = *state;
    bool doubt;

    for (int back = 0; back < 2; back++) {
        int64_t sign = back == 0 ? 1 : -1;

        pass(DAY);
        (void)expire(f->s, &doubt);
        pass(DAY);
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_false(doubt);
        pass(1000000);
        wall_ns += sign * (drift + 1000); /* and a thousandth of what ran */
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_false(doubt);
        pass(1000000);
        wall_ns += sign * (drift + 1001);
        assert_int_equal(expire(f->s, &doubt), 0);
        assert_true(doubt);
    }
}

/* After a reboot: not back by more than drift, nor forward by a day more than has run. */
static void
expire__judges_the_clock_of_another_boot(void **state)
{
    static const struct {
        int64_t moved_ns;
        bool doubt;
    } cases[] = {
        {(int64_t)-600 * 1000000000, false},
        {(int64_t)-600 * 1000000000 - 1, true},
        {DAY + 1000, false},
        {DAY + 1000 + 1, true}, /* of which 1000 ns ran */
        {20 * DAY, true},
    };
    struct fixture *f = *state;
    char *path = path_join(f->dir, "clock");
    bool doubt;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf text = BUF_INIT;
        char *boot;

        pass(DAY);
        (void)expire(f->s, &doubt);
        pass(DAY);
        (void)expire(f->s, &doubt);
        assert_false(doubt);
        OK(file_read(path, 4096, &text, e));
        boot = strstr(buf_str(&text), "\nboot=") + 6;
        boot[0] = boot[0] == 'f' ? 'e' : 'f';
        OK(file_replace(path, text.data, text.len, e));
        wall_ns += cases[i].moved_ns;
        boot_ns = 1000;
        (void)expire(f->s, &doubt);
        assert_int_equal(doubt, cases[i].doubt);
        buf_free(&text);
    }
    free(path);
}

/* A job ends under a slow clock; then it is put right: fifteen days remain to it. */
static void
expire__keeps_what_a_slow_clock_saw_end(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", wall_ns, 0);
    OK(snap_keep(f->s, "saa2222222222", wall_ns + 20 * DAY, e));
    wall_ns += 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_true(doubt);
    pass(DAY + DAY / 24);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(14 * DAY - DAY / 24 - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
    pass(5 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* The same on a new host, where nobody has looked at the clock before. */
static void
expire__keeps_what_ended_before_the_clock_was_seen(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    add_snap(f->s, "saa1111111111", "x", T0, T0 + 15 * DAY);
    wall_ns += 5 * 365 * DAY;
    get_to_know(f->s);
    pass(14 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* Slow after a boot, and right again before anybody looked. */
static void
expire__keeps_what_was_made_between_two_looks(void **state)
{
    struct fixture *f = *state;
    int64_t slow = T0 - 5 * 365 * DAY;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", slow, slow + 15 * DAY);
    add_snap(f->s, "saa2222222222", "x", T0, T0 + 15 * DAY);
    pass(DAY);
    assert_int_equal(expire(f->s, &doubt), 0);
    assert_false(doubt);
    pass(13 * DAY);
    assert_int_equal(expire(f->s, &doubt), 1); /* the one of the right clock */
    pass(2 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
}

/* Back and forth: what was promised by the right clock gains no years. */
static void
expire__gives_no_more_than_the_period_anew(void **state)
{
    struct fixture *f = *state;
    bool doubt;

    get_to_know(f->s);
    add_snap(f->s, "saa1111111111", "x", wall_ns, wall_ns + 15 * DAY);
    wall_ns -= 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    wall_ns += 5 * 365 * DAY;
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(15 * DAY - 1);
    assert_int_equal(expire(f->s, &doubt), 0);
    pass(1);
    assert_int_equal(expire(f->s, &doubt), 1);
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
        T(claim__is_read_up_to_its_limit),
        T(claim__of_something_else_counts_as_kept),
        T(list__holds_all_there_are),
        T(expire__takes_drift_for_what_it_is),
        T(expire__keeps_what_a_slow_clock_saw_end),
        T(expire__keeps_what_ended_before_the_clock_was_seen),
        T(expire__keeps_what_was_made_between_two_looks),
        T(expire__gives_no_more_than_the_period_anew),
        T(expire__judges_the_clock_of_another_boot),
        T(expire__takes_what_is_due_and_no_more),
        T(expire__does_not_believe_a_clock_that_jumps),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
