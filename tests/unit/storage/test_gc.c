#include "tests/unit/storage/snap_util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "storage/index_gc.h"
#include "storage/pack.h"
#include "storage/store_internal.h"

static bool
here(const char *dir, uint64_t n)
{
    struct store *s = open_test_store(dir);
    struct sha256 id = snap_chunk_id(n);
    struct store_stats st;
    bool is;

    OK(store_stats(s, &st, e));
    is = has_one(s, &id); /* pardons, if it was condemned */
    store_close(s);
    return is;
}

static void
gc__takes_unclaimed_chunks_at_the_second_run(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct gc_result r;

    OK(snap_make(s, 1, 0, 50, e));
    OK(snap_make(s, 2, 25, 100, e));
    store_close(s);
    r = run_gc(dir);
    assert_int_equal(r.n_manifests, 2);
    assert_int_equal(r.n_live, 102);
    assert_int_equal(r.n_condemned, 0);
    s = open_test_store(dir);
    drop_snap(s, 1);
    store_close(s);
    r = run_gc(dir);
    assert_int_equal(r.n_condemned, 26); /* 0..24 and the list */
    assert_int_equal(r.n_deleted, 0);
    r = run_gc(dir);
    assert_int_equal(r.n_condemned, 0);
    assert_int_equal(r.n_deleted, 26);
    assert_true(r.freed_bytes > 0);
    s = open_test_store(dir);
    snap_check(s, 2, 25, 100);
    store_close(s);
    assert_false(here(dir, 0));
    assert_false(here(dir, 24));
    r = run_gc(dir);
    assert_int_equal(r.n_live, 76);
    assert_int_equal(r.n_deleted, 0);
}

/*
 * The rows are judged some thousands at a time, and condemned as many: those after the
 * first are, too, and what is claimed lies among them.
 */
static void
gc__judges_as_many_chunks_as_there_are(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct gc_result r;

    struct gc_result first;

    OK(snap_make(s, 1, 0, 20000, e));
    OK(snap_make(s, 2, 0, 9000, e));
    drop_snap(s, 1);
    store_close(s);
    first = run_gc(dir);
    assert_int_equal(first.n_condemned, 11001);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 11001);
    assert_int_equal(r.deleted_bytes, first.condemned_bytes);
    s = open_test_store(dir);
    snap_check(s, 2, 0, 9000);
    store_close(s);
}

static void
gc__of_everything_leaves_nothing(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct store_stats st;

    OK(snap_make(s, 1, 0, 50, e));
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    (void)run_gc(dir);
    assert_int_equal(count_packs(dir), 0);
    s = open_test_store(dir);
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_chunks, 0);
    OK(snap_make(s, 2, 0, 50, e)); /* and the store goes on */
    snap_check(s, 2, 0, 50);
    store_close(s);
}

static void
gc__waits_for_handles_that_were_open_when_it_condemned(void **state)
{
    const char *dir = *state;
    struct store *old = open_test_store(dir);
    struct store *s = open_test_store(dir);
    struct sha256 tree;
    struct gc_result r;

    OK(snap_put_tree(s, 0, 10, &tree, e)); /* committed, but no manifest yet */
    OK(store_commit(s, e));
    r = run_gc(dir);
    assert_int_equal(r.n_condemned, 11);
    r = run_gc(dir);
    assert_int_equal(r.n_held, 11);
    assert_int_equal(r.n_deleted, 0);
    OK(snap_write(s, 1, &tree, e));
    store_close(s);
    r = run_gc(dir);
    assert_int_equal(r.n_pardoned, 10); /* and the list, when the walk read it */
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 0);
    s = open_test_store(dir);
    snap_check(s, 1, 0, 10);
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 0); /* the other old handle is open still */
    store_close(old);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 11);
}

static void
gc__pardons_what_is_asked_for(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct sha256 ids[10];
    struct sha256 tree;
    uint8_t bits[2];
    struct gc_result r;

    OK(snap_make(s, 1, 0, 10, e));
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);        /* condemned */
    s = open_test_store(dir); /* a handle that is newer than that */
    for (uint64_t i = 0; i < 5; i++) {
        ids[i] = snap_chunk_id(i);
    }
    OK(store_has(s, ids, 5, bits, e));
    assert_int_equal(bits[0], 0x1f);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 6); /* the other five, and the list */
    OK(snap_put_tree(s, 0, 5, &tree, e));
    OK(snap_write(s, 2, &tree, e));
    store_close(s);
    (void)run_gc(dir);
    (void)run_gc(dir);
    s = open_test_store(dir);
    snap_check(s, 2, 0, 5);
    store_close(s);
}

/*
 * A chunk condemned while one session was about to refer to it; a later session relies on
 * the manifest that came of it, without asking; then that manifest goes.
 */
static void
gc__condemns_anew_what_a_lost_snapshot_held(void **state)
{
    const char *dir = *state;
    struct store *first = open_test_store(dir);
    struct store *second;
    struct sha256 tree;
    struct gc_result r;

    OK(snap_put_tree(first, 0, 10, &tree, e));
    OK(store_commit(first, e));
    (void)run_gc(dir); /* condemns all of it */
    OK(snap_write(first, 1, &tree, e));
    store_close(first);
    second = open_test_store(dir); /* newer than the condemnation; reads snapshot 1 */
    first = open_test_store(dir);
    drop_snap(first, 1);
    store_close(first);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 0);
    OK(snap_write(second, 2, &tree, e));
    store_close(second);
    (void)run_gc(dir);
    (void)run_gc(dir);
    second = open_test_store(dir);
    snap_check(second, 2, 0, 10);
    store_close(second);
}

static void
gc__keeps_all_while_something_cannot_be_read(void **state)
{
    const char *dir = *state;
    char *path = path_join(dir, "snaps/s000000000001.manifest");
    const struct gc_options o = {.walk = walk_list};
    struct store *s = open_test_store(dir);
    struct gc_result r;
    struct err err = {0};

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_make(s, 2, 100, 110, e));
    drop_snap(s, 2);
    store_close(s);
    OK(file_replace(path, "x", 1, e));
    s = open_test_store(dir);
    assert_int_equal(gc_run(s, &o, &r, &err), -1);
    assert_non_null(strstr(err.msg, "s000000000001"));
    assert_int_equal(gc_run(s, &o, &r, &err), -1);
    store_close(s);
    assert_true(here(dir, 100));
    /* Its data given up, it no longer stands in the way, damaged or not. */
    s = open_test_store(dir);
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 22);
    free(path);
}

static void
gc__keeps_all_when_a_tree_has_lost_its_list(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    const struct gc_options o = {.walk = walk_list};
    struct sha256 nowhere = {{1}};
    struct gc_result r;
    struct err err = {0};

    OK(snap_write(s, 7, &nowhere, e));
    assert_int_equal(gc_run(s, &o, &r, &err), -1);
    assert_non_null(strstr(err.msg, "s000000000007"));
    store_close(s);
}

/* Of a list the list itself, or why it cannot be read. */
static int
walk_root(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
          struct err *e)
{
    struct buf list = BUF_INIT;
    int rc = store_get(s, tree, &list, e) == 0 ? chunk(arg, tree, e) : -1;

    buf_free(&list);
    return rc;
}

static void
gc__keeps_the_names_of_what_is_gone(void **state)
{
    const char *dir = *state;
    const struct gc_options o = {.walk = walk_list, .walk_names = walk_root};
    struct sha256 nowhere = {{1}};
    struct store *s = open_test_store(dir);
    struct manifest *m = NULL;
    struct buf list = BUF_INIT;
    char id[MANIFEST_ID_MAX + 1];
    struct gc_result r;

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_write(s, 2, &nowhere, e)); /* of which even those are lost */
    drop_snap(s, 1);
    drop_snap(s, 2);
    store_close(s);
    for (int i = 0; i < 3; i++) {
        s = open_test_store(dir);
        OK(gc_run(s, &o, &r, e));
        assert_int_equal(r.n_deleted, i == 1 ? 10 : 0);
        store_close(s);
    }
    assert_false(here(dir, 0));
    s = open_test_store(dir);
    snap_name(1, id);
    OK(manifest_read(s, id, &m, e));
    OK(store_get(s, &m->tree, &list, e));
    assert_int_equal(list.len, 10 * SHA256_LEN);
    store_close(s);
    manifest_free(m);
    buf_free(&list);
    /* Who keeps none takes them too. */
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 1);
}

static bool
is_second(void *arg, const char *id)
{
    char second[MANIFEST_ID_MAX + 1];

    (void)arg;
    snap_name(2, second);
    return strcmp(id, second) == 0;
}

static void
gc__dry_run_changes_nothing(void **state)
{
    const char *dir = *state;
    struct gc_options dry = {.walk = walk_list, .dry_run = true};
    struct store *s = open_test_store(dir);
    struct gc_result r;
    uint64_t bytes;
    size_t packs;

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_make(s, 2, 100, 110, e));
    drop_snap(s, 1);
    packs = count_packs(dir);
    OK(gc_run(s, &dry, &r, e));
    assert_int_equal(r.n_condemned, 11);
    assert_int_equal(r.n_deleted, 11); /* by the second of two */
    bytes = r.deleted_bytes;
    assert_true(bytes > 0);
    OK(gc_run(s, &dry, &r, e));
    assert_int_equal(r.n_condemned, 11);
    dry.given_up = is_second;
    OK(gc_run(s, &dry, &r, e));
    assert_int_equal(r.n_deleted, 22);
    dry.given_up = NULL;
    store_close(s);
    (void)run_gc(dir);
    s = open_test_store(dir);
    OK(gc_run(s, &dry, &r, e));
    assert_int_equal(r.n_condemned, 0);
    assert_int_equal(r.n_deleted, 11);
    assert_int_equal(r.deleted_bytes, bytes);
    assert_int_equal(count_packs(dir), packs);
    store_close(s);
    assert_true(here(dir, 3));
    assert_true(here(dir, 103));
}

static void
gc__removes_packs_of_dead_writers_and_not_of_living_ones(void **state)
{
    const char *dir = *state;
    char *packs = path_join(dir, "packs");
    struct store *s = open_test_store(dir);
    struct pack_writer *w = NULL;
    struct gc_result r;
    int fd;

    fd = open(packs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(pack_create(&w, fd, e));
    pack_writer_free(w, fd, false); /* as after a crash */
    OK(pack_create(&w, fd, e));
    (void)put_chunk_n(s, 1, 100, NULL); /* a pack being filled */
    r = run_gc(dir);
    assert_int_equal(r.n_orphans, 1);
    assert_int_equal(count_packs(dir), 2);
    pack_writer_free(w, fd, true);
    OK(store_commit(s, e));
    r = run_gc(dir);
    assert_int_equal(r.n_orphans, 0);
    assert_int_equal(count_packs(dir), 1);
    store_close(s);
    assert_int_equal(close(fd), 0);
    free(packs);
}

static char *
make_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);

    OK(file_replace(path, "x", 1, e));
    return path;
}

/* Who replaces a file, or makes an index anew, may die before that has its name. */
static void
gc__removes_what_was_being_replaced_by_who_died(void **state)
{
    static const char *const left[] = {"snaps/s000000000001.manifest.tmp",
                                       "snaps/s000000000001.claim.tmp",
                                       "clock.tmp",
                                       "format.tmp",
                                       "index.db.new",
                                       "index.db.new-journal"};
    const struct gc_options dry = {.walk = walk_list, .dry_run = true};
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    char *alive = path_join(dir, "snaps/s000000000002.claim.tmp");
    struct gc_result r;
    int fd;

    OK(snap_make(s, 1, 0, 10, e));
    fd = file_open_alone(AT_FDCWD, alive, true);
    assert_int_not_equal(fd, -1);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char *path = make_file(dir, left[i]);

        OK(gc_run(s, &dry, &r, e));
        assert_true(file_exists(path));
        (void)run_gc(dir);
        if (file_exists(path)) {
            fail_msg("%s stays", left[i]);
        }
        free(path);
    }
    assert_true(file_exists(alive)); /* whose writer lives */
    snap_check(s, 1, 0, 10);
    store_close(s);
    assert_int_equal(close(fd), 0);
    (void)run_gc(dir);
    assert_false(file_exists(alive));
    free(alive);
}

static void
gc__joins_many_small_packs(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct store *reader;
    struct store_loc loc;
    struct sha256 id = snap_chunk_id(57);
    uint8_t *to = xmalloc(STORE_CHUNK_MAX_BYTES);

    for (uint64_t i = 0; i < 30; i++) {
        OK(snap_make(s, i, i * 10, i * 10 + 10, e));
    }
    store_close(s);
    assert_int_equal(count_packs(dir), 30);
    reader = open_test_store(dir);
    OK(store_locate(reader, &id, 1, &loc, e));
    (void)run_gc(dir);
    assert_int_equal(count_packs(dir), 1);
    OK(store_read(reader, &id, &loc, to, e)); /* it finds the chunk where it went */
    store_close(reader);
    s = open_test_store(dir);
    for (uint64_t i = 0; i < 30; i++) {
        snap_check(s, i, i * 10, i * 10 + 10);
    }
    store_close(s);
    free(to);
}

/* Sixteen small packs are left as they are; one more, and they are joined. */
static void
gc__joins_small_packs_only_if_they_are_many(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);

    for (uint64_t i = 0; i < 16; i++) {
        OK(snap_make(s, i, i * 3, i * 3 + 3, e));
    }
    store_close(s);
    (void)run_gc(dir);
    assert_int_equal(count_packs(dir), 16);
    s = open_test_store(dir);
    OK(snap_make(s, 16, 100, 103, e));
    store_close(s);
    (void)run_gc(dir);
    assert_int_equal(count_packs(dir), 1);
}

/* A pack is written anew when a quarter of it may go, and not before. */
static void
gc__rewrites_a_pack_for_a_quarter(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    uint8_t data[10000];
    struct sha256 ids[10];
    struct sha256 list;
    struct gc_result r;

    for (uint64_t i = 0; i < 10; i++) {
        fill_random(data, sizeof data, i);
        OK(store_put(s, STORE_KIND_DATA, data, sizeof data, &ids[i], NULL, e));
    }
    /* three snapshots: of all ten, of eight, of seven */
    for (uint64_t k = 0; k < 3; k++) {
        OK(store_put(s, STORE_KIND_META, ids, (k == 0 ? 10 : 9 - k) * SHA256_LEN, &list,
                     NULL, e));
        OK(snap_write(s, k, &list, e));
    }
    assert_int_equal(count_packs(dir), 3);
    drop_snap(s, 0);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir); /* two of ten may go: too little */
    assert_int_equal(r.n_deleted, 0);
    assert_int_equal(r.n_packs_rewritten, 0);
    s = open_test_store(dir);
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_packs_rewritten, 1);
    assert_true(r.n_deleted >= 4); /* three of ten, and a list */
    assert_true(r.freed_bytes > 30000 && r.freed_bytes < 40000);
    assert_true(r.deleted_bytes >= 30000 && r.deleted_bytes < 31000);
    s = open_test_store(dir);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(has_one(s, &ids[i]), i < 7);
    }
    store_close(s);
}

static void
gc__runs_once_at_a_time(void **state)
{
    const char *dir = *state;
    const struct gc_options o = {.walk = walk_list};
    struct store *s = open_test_store(dir);
    char *path = path_join(dir, "lock");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock l = {.l_type = F_WRLCK, .l_start = 1, .l_len = 1};
    struct gc_result r;

    assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
    FAILS(gc_run(s, &o, &r, e), ERR_BUSY);
    assert_int_equal(close(fd), 0);
    OK(gc_run(s, &o, &r, e));
    store_close(s);
    free(path);
}

struct watched {
    const char *dir;
    struct store *other;
    pthread_t regain;
    unsigned n_walks;
};

static struct watched *watched;

static void *
regain_one(void *arg)
{
    const struct watched *w = arg;
    char id[MANIFEST_ID_MAX + 1];

    snap_name(1, id);
    OK(snap_regain(w->other, id, 0, e));
    return NULL;
}

/* The first walk is that of the loss, and nobody can change claims meanwhile. */
static int
walk_watched(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
             struct err *e)
{
    if (watched->n_walks++ == 0) {
        char *path = path_join(watched->dir, "lock");
        int fd = open(path, O_RDWR | O_CLOEXEC);
        struct flock l = {.l_type = F_WRLCK, .l_start = 2, .l_len = 1};

        assert_int_not_equal(fd, -1);
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), -1);
        assert_true(errno == EAGAIN || errno == EACCES);
        assert_int_equal(close(fd), 0);
        assert_int_equal(pthread_create(&watched->regain, NULL, regain_one, watched), 0);
        free(path);
    }
    return walk_list(s, tree, chunk, arg, e);
}

/* Or it would note as gone what is there again, and the next loss would be none to it. */
static void
gc__notes_a_loss_while_nobody_takes_it_back(void **state)
{
    const char *dir = *state;
    const struct gc_options o = {.walk = walk_watched};
    struct watched w = {.dir = dir};
    struct store *s = open_test_store(dir);
    char id[MANIFEST_ID_MAX + 1];
    struct sha256 tree;
    struct gc_result r;
    bool known;

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_make(s, 2, 20, 30, e));
    drop_snap(s, 2);
    store_close(s);
    (void)run_gc(dir); /* something is condemned: so the next loss is looked at */
    w.other = open_test_store(dir);
    OK(snap_put_tree(w.other, 0, 10, &tree, e));
    drop_snap(w.other, 1);
    watched = &w;
    s = open_test_store(dir);
    OK(gc_run(s, &o, &r, e));
    assert_true(w.n_walks > 0);
    assert_int_equal(pthread_join(w.regain, NULL), 0);
    snap_name(1, id);
    OK(index_gone_known(s->ix, id, &known, e));
    assert_false(known);
    store_close(s);
    store_close(w.other);
    s = open_test_store(dir);
    snap_check(s, 1, 0, 10);
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    s = open_test_store(dir);
    OK(index_gone_known(s->ix, id, &known, e));
    assert_true(known);
    store_close(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, scratch_set_up, scratch_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(gc__takes_unclaimed_chunks_at_the_second_run),
        T(gc__of_everything_leaves_nothing),
        T(gc__judges_as_many_chunks_as_there_are),
        T(gc__waits_for_handles_that_were_open_when_it_condemned),
        T(gc__pardons_what_is_asked_for),
        T(gc__condemns_anew_what_a_lost_snapshot_held),
        T(gc__keeps_all_while_something_cannot_be_read),
        T(gc__keeps_all_when_a_tree_has_lost_its_list),
        T(gc__keeps_the_names_of_what_is_gone),
        T(gc__dry_run_changes_nothing),
        T(gc__removes_packs_of_dead_writers_and_not_of_living_ones),
        T(gc__removes_what_was_being_replaced_by_who_died),
        T(gc__joins_many_small_packs),
        T(gc__joins_small_packs_only_if_they_are_many),
        T(gc__rewrites_a_pack_for_a_quarter),
        T(gc__runs_once_at_a_time),
        T(gc__notes_a_loss_while_nobody_takes_it_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
