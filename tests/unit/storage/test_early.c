#include "tests/unit/storage/tree_util.h"

#include <dirent.h>
#include <semaphore.h>

#include "base/file.h"
#include "storage/build.h"
#include "storage/early.h"
#include "storage/tree_internal.h"
#include "storage/workdir.h"

/*
 * A directory that is made while its tree arrives: whatever comes, in whatever order, it
 * is that tree in the end, or nothing.
 */

#define N_FILES   1500
#define NAME_LEN  240
#define CHUNK_MAX 64 /* chunks of a tree here */

/* A tree as it would be sent. */
struct sent {
    char *src;
    struct mem m;
    struct sha256 tree;
    size_t root; /* which of m */
    size_t meta[CHUNK_MAX];
    size_t n_meta;
};

/* All tests': made once. */
struct given {
    char *scratch;
    struct sent one, other, linked;
};

/* What one test sends, and the place it comes to. */
struct rig {
    struct sent *sent;
    char *scratch;
    int work_fd;
    struct store *store;
    struct early *early;
    pthread_t thread;
    int rc;
    sem_t read;    /* posted for each group that is read */
    bool has_room; /* for it */
};

/* Names so long that the tree's own encoding is several chunks. */
static void
put_many(const char *src, uint64_t seed)
{
    for (size_t i = 0; i < N_FILES; i++) {
        uint8_t noise[NAME_LEN / 2];
        char name[32 + NAME_LEN];

        fill_random(noise, sizeof noise, seed + i);
        (void)snprintf(name, sizeof name, "d%02zu/", i % 40);
        hex_format(noise, sizeof noise, name + strlen(name));
        put_random(src, name, 40 + i % 300, seed + i);
    }
    put_random(src, "big", 3000000, seed);
    put_text(src, "d00/empty", "");
}

static void
sent_init(struct sent *t, const char *scratch, const char *name, uint64_t seed,
          bool linked)
{
    struct build_options o = {.policy = BUILD_SHIP};
    struct build_sink sink = mem_build_sink(&t->m);
    struct build_report report;
    int fd;

    t->src = path_join(scratch, name);
    mem_init(&t->m);
    put_many(t->src, seed);
    fd = open_dir(t->src);
    if (linked) {
        assert_int_equal(linkat(fd, "big", fd, "zz", 0), 0);
    }
    OK(build_tree(fd, &o, &sink, &report, e));
    t->tree = report.tree;
    build_report_free(&report);
    (void)close(fd);
    for (size_t i = 0; i < t->m.n; i++) {
        if (sha256_equal(&t->m.v[i].id, &t->tree)) {
            t->root = i;
        } else if (t->m.v[i].kind == STORE_KIND_META) {
            assert_true(t->n_meta < CHUNK_MAX);
            t->meta[t->n_meta++] = i;
        }
    }
    assert_true(t->n_meta >= 3);
}

static void
sent_free(struct sent *t)
{
    mem_free(&t->m);
    free(t->src);
}

static int
make_given(void **state)
{
    struct given *g = xcalloc(1, sizeof *g);

    g->scratch = scratch_dir();
    sent_init(&g->one, g->scratch, "one", 1, false);
    sent_init(&g->other, g->scratch, "other", 77, false);
    sent_init(&g->linked, g->scratch, "linked", 1, true);
    *state = g;
    return 0;
}

static int
free_given(void **state)
{
    struct given *g = *state;

    sent_free(&g->one);
    sent_free(&g->other);
    sent_free(&g->linked);
    scratch_free(g->scratch);
    free(g);
    return 0;
}

static bool
fits(void *ctx, uint64_t bytes, uint64_t more)
{
    struct rig *r = ctx;

    assert_true(more <= bytes);
    (void)sem_post(&r->read);
    return r->has_room;
}

static void *
run(void *ctx)
{
    struct rig *r = ctx;
    struct err e;

    r->rc = early_run(r->early, &e);
    return NULL;
}

static void
begin(struct rig *r)
{
    struct early_options o = {.fits = fits, .fits_ctx = r, .n_threads = 3};

    r->has_room = true;
    r->early = early_new(r->work_fd, "early", r->store, &o);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static struct rig *
rig_new(struct sent *t)
{
    struct rig *r = xcalloc(1, sizeof *r);
    char *store;
    char *work;

    r->sent = t;
    r->scratch = scratch_dir();
    store = path_join(r->scratch, "store");
    work = path_join(r->scratch, "work");
    assert_int_equal(mkdir(work, 0700), 0);
    r->work_fd = open_dir(work);
    OK(store_open(&r->store, store, NULL, e));
    (void)sem_init(&r->read, 0, 0);
    begin(r);
    free(store);
    free(work);
    return r;
}

static int
ends(struct rig *r)
{
    assert_int_equal(pthread_join(r->thread, NULL), 0);
    return r->rc;
}

static void
rig_free(struct rig *r)
{
    early_free(r->early);
    store_close(r->store);
    (void)close(r->work_fd);
    (void)sem_destroy(&r->read);
    scratch_free(r->scratch);
    free(r);
}

static void
feed(struct rig *r, size_t i)
{
    const struct mem_chunk *c = &r->sent->m.v[i];
    struct sha256 id;

    OK(store_put(r->store, c->kind, c->data, c->len, &id, NULL, e));
    early_came(r->early, c->kind, &id, NULL);
}

/* With its bytes; where the store has it not, nothing but these says what is in it. */
static void
hand_over(struct rig *r, size_t i, bool stored)
{
    const struct mem_chunk *c = &r->sent->m.v[i];
    struct sha256 id = c->id;
    struct buf raw = BUF_INIT;

    if (stored) {
        OK(store_put(r->store, c->kind, c->data, c->len, &id, NULL, e));
    }
    buf_add(&raw, c->data, c->len);
    early_came(r->early, c->kind, &id, &raw);
    buf_free(&raw);
}

/* The contents from..end in order of sending, between the tree's own. */
static void
feed_data(struct rig *r, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        if (r->sent->m.v[i].kind == STORE_KIND_DATA) {
            feed(r, i);
        }
    }
}

static void
await_read(struct rig *r)
{
    while (sem_wait(&r->read) != 0) {
    }
}

static size_t
n_names(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(fd);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n - 2;
}

static void
assert_nothing_is_left(struct rig *r)
{
    assert_int_equal(ends(r), -1);
    assert_int_equal(n_names(r->work_fd), 0);
}

/* It is taken as it is, and read from end to end it is the tree that was sent. */
static void
assert_is_the_tree(struct rig *r)
{
    const char *candidates[] = {"early"};
    struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
    struct build_options b = {.policy = BUILD_SNAPSHOT, .scan.everything = true};
    struct build_sink sink = mem_build_sink(&r->sent->m);
    struct build_report report;
    struct workdir_report made;
    int fd;

    assert_int_equal(ends(r), 0);
    OK(workdir_make(r->work_fd, "j1", r->store, &r->sent->tree, &o, &made, e));
    assert_int_equal(made.way, WORKDIR_TAKEN_OVER);
    assert_string_equal(made.from, "early");
    assert_int_equal(made.n_made + made.n_removed, 0);
    assert_int_equal(n_names(r->work_fd), 2); /* and its cache */
    fd = openat(r->work_fd, "j1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(build_tree(fd, &b, &sink, &report, e));
    assert_true(sha256_equal(&report.tree, &r->sent->tree));
    build_report_free(&report);
    (void)close(fd);
}

/* ---- what comes ---- */

static void
early__is_the_tree_if_all_comes_in_order(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    for (size_t i = 0; i < r->sent->root; i++) {
        feed(r, i);
    }
    await_read(r);
    feed(r, r->sent->root);
    early_end(r->early, &r->sent->tree);
    assert_is_the_tree(r);
    rig_free(r);
}

static void
early__begins_before_the_last_chunk_and_waits_for_contents(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);
    struct stat sb;

    feed(r, r->sent->meta[0]);
    await_read(r); /* the first group, whose contents are not here */
    assert_int_equal(fstatat(r->work_fd, "early", &sb, 0), 0);
    assert_int_equal(faccessat(r->work_fd, "early.scan", F_OK, 0), -1);
    feed_data(r, 0, r->sent->meta[0]);
    while (fstatat(r->work_fd, "early/big", &sb, 0) != 0 || sb.st_size != 3000000) {
        let_time_pass(); /* it comes, though nothing else of the tree's own is here */
    }
    for (size_t k = 1; k < r->sent->n_meta; k++) {
        feed(r, r->sent->meta[k]);
    }
    feed_data(r, r->sent->meta[0], r->sent->m.n);
    feed(r, r->sent->root);
    early_end(r->early, &r->sent->tree);
    assert_is_the_tree(r);
    rig_free(r);
}

static void
early__a_root_that_comes_first_is_passed_over(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    feed(r, r->sent->root);
    for (size_t i = 0; i < r->sent->root; i++) {
        feed(r, i);
    }
    await_read(r);
    early_end(r->early, &r->sent->tree);
    assert_is_the_tree(r);
    rig_free(r);
}

static void
early__what_is_here_by_the_end_need_not_have_been_heard_of(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);
    struct sha256 id;

    feed_data(r, 0, r->sent->m.n);
    feed(r, r->sent->meta[0]);
    await_read(r);
    for (size_t i = 0; i < r->sent->m.n; i++) {
        OK(store_put(r->store, r->sent->m.v[i].kind, r->sent->m.v[i].data,
                     r->sent->m.v[i].len, &id, NULL, e));
    }
    early_end(r->early, &r->sent->tree);
    assert_is_the_tree(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_the_order_is_another(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    feed_data(r, 0, r->sent->m.n);
    feed(r, r->sent->meta[1]);
    feed(r, r->sent->meta[0]);
    for (size_t k = 2; k < r->sent->n_meta; k++) {
        feed(r, r->sent->meta[k]);
    }
    feed(r, r->sent->root);
    early_end(r->early, &r->sent->tree);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_one_in_the_middle_is_passed_over(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);
    struct sha256 id;

    feed_data(r, 0, r->sent->m.n);
    feed(r, r->sent->meta[0]);
    await_read(r);
    for (size_t k = 2; k < r->sent->n_meta; k++) { /* as if it were here already */
        feed(r, r->sent->meta[k]);
    }
    assert_int_equal(ends(r), -1);
    assert_int_equal(n_names(r->work_fd), 0);
    OK(store_put(r->store, STORE_KIND_META, r->sent->m.v[r->sent->meta[1]].data,
                 r->sent->m.v[r->sent->meta[1]].len, &id, NULL, e));
    early_end(r->early, &r->sent->tree);
    rig_free(r);
}

static void
early__leaves_nothing_if_the_rest_does_not_come(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    for (size_t i = 0; i < r->sent->meta[1]; i++) {
        feed(r, i);
    }
    await_read(r);
    early_end(r->early, NULL);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__does_not_read_what_it_was_handed(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    for (size_t i = 0; i <= r->sent->root; i++) {
        hand_over(r, i, r->sent->m.v[i].kind == STORE_KIND_META);
    }
    await_read(r);
    early_end(r->early, &r->sent->tree);
    assert_is_the_tree(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_contents_do_not_come(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    feed(r, r->sent->meta[0]);
    await_read(r);
    early_end(r->early, NULL);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_it_is_another_tree(void **state)
{
    struct given *g = *state;
    struct rig *r = rig_new(&g->one);

    for (size_t i = 0; i < r->sent->root; i++) {
        feed(r, i);
    }
    await_read(r);
    for (size_t i = 0; i < g->other.m.n; i++) {
        const struct mem_chunk *c = &g->other.m.v[i];
        struct sha256 id;

        OK(store_put(r->store, c->kind, c->data, c->len, &id, NULL, e));
    }
    early_end(r->early, &g->other.tree);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_it_was_not_begun_by_the_end(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    early_end(r->early, &r->sent->tree);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__leaves_nothing_if_a_chunk_is_no_tree(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);
    struct sha256 id;

    OK(store_put(r->store, STORE_KIND_META, "\x03no tree at all", 15, &id, NULL, e));
    early_came(r->early, STORE_KIND_META, &id, NULL);
    assert_int_equal(ends(r), -1);
    assert_int_equal(n_names(r->work_fd), 0);
    early_end(r->early, NULL);
    rig_free(r);
}

static void
early__leaves_nothing_if_there_is_no_room(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    r->has_room = false; /* before any chunk: nobody has asked */
    feed(r, r->sent->meta[0]);
    assert_int_equal(ends(r), -1);
    assert_int_equal(n_names(r->work_fd), 0);
    rig_free(r);
}

static void
early__leaves_trees_with_hard_links_alone(void **state)
{
    struct given *g = *state;
    struct rig *r = rig_new(&g->linked);

    for (size_t i = 0; i <= r->sent->root; i++) {
        feed(r, i);
    }
    await_read(r);
    early_end(r->early, &r->sent->tree);
    assert_nothing_is_left(r);
    rig_free(r);
}

static void
early__one_that_died_is_swept(void **state)
{
    struct rig *r = rig_new(&((struct given *)*state)->one);

    feed(r, r->sent->meta[0]);
    await_read(r);
    OK(workdir_give_up(r->work_fd, "early", e)); /* not while somebody is at it */
    assert_int_equal(faccessat(r->work_fd, "early", F_OK, 0), 0);
    early_end(r->early, NULL);
    assert_nothing_is_left(r);
    assert_int_equal(mkdirat(r->work_fd, "early", 0700), 0); /* as if it had died */
    OK(file_replace_at(r->work_fd, "early.scan.tmp", "x", 1, e));
    OK(workdir_give_up(r->work_fd, "early", e));
    OK(workdir_sweep(r->work_fd, e));
    assert_int_equal(n_names(r->work_fd), 0);
    rig_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(early__is_the_tree_if_all_comes_in_order),
        cmocka_unit_test(early__begins_before_the_last_chunk_and_waits_for_contents),
        cmocka_unit_test(early__a_root_that_comes_first_is_passed_over),
        cmocka_unit_test(early__what_is_here_by_the_end_need_not_have_been_heard_of),
        cmocka_unit_test(early__leaves_nothing_if_the_order_is_another),
        cmocka_unit_test(early__leaves_nothing_if_one_in_the_middle_is_passed_over),
        cmocka_unit_test(early__leaves_nothing_if_the_rest_does_not_come),
        cmocka_unit_test(early__does_not_read_what_it_was_handed),
        cmocka_unit_test(early__leaves_nothing_if_contents_do_not_come),
        cmocka_unit_test(early__leaves_nothing_if_it_is_another_tree),
        cmocka_unit_test(early__leaves_nothing_if_it_was_not_begun_by_the_end),
        cmocka_unit_test(early__leaves_nothing_if_a_chunk_is_no_tree),
        cmocka_unit_test(early__leaves_nothing_if_there_is_no_room),
        cmocka_unit_test(early__leaves_trees_with_hard_links_alone),
        cmocka_unit_test(early__one_that_died_is_swept),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, make_given, free_given);
}
