#include "tests/unit/storage/tree_util.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "storage/build.h"
#include "storage/chunker.h"
#include "storage/sync.h"

/* How old a change must be to be trusted; scache.c knows exactly. */
#define TRUSTED_AFTER_NS ((int64_t)50000000)

/* A directory to ship from, a store to ship to, and a scan cache between runs. */
struct world {
    char *scratch;
    char *dir;
    char *store_dir;
    char *cache;
    int fd;
};

static void
write_file(const struct world *w, const char *name, uint64_t seed, size_t n)
{
    char *path = path_join(w->dir, name);
    uint8_t *data = xmalloc(n + 8);
    struct stat st;
    struct timespec old[2];

    for (size_t i = 0; i < n; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(data + i, &seed, 8);
    }
    {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, data, n), 0);
        assert_int_equal(fd_close(&fd), 0);
    }
    assert_int_equal(stat(path, &st), 0);
    old[0] = old[1] = st.st_mtim;
    old[0].tv_sec = old[1].tv_sec -= 100;
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    free(data);
    free(path);
}

static struct world
world_new(void)
{
    struct world w = {.scratch = scratch_dir()};

    w.dir = path_join(w.scratch, "src");
    w.store_dir = path_join(w.scratch, "store");
    w.cache = path_join(w.scratch, "cache");
    assert_int_equal(mkdir(w.dir, 0755), 0);
    w.fd = open(w.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w.fd >= 0);
    return w;
}

static void
world_free(struct world *w)
{
    (void)close(w->fd);
    free(w->dir);
    free(w->store_dir);
    free(w->cache);
    scratch_free(w->scratch);
}

struct outcome {
    enum sync_state state;
    struct sha256 tree;
    struct sync_stats sent;
    uint64_t wire_bytes; /* both ways */
    unsigned n_turns;    /* times the direction changed: two are a round trip */
    struct err why;
};

static void
wake(void *ctx)
{
    uint64_t one = 1;

    assert_int_equal(write(*(int *)ctx, &one, sizeof one), sizeof one);
}

/* Carry bytes in pieces of at most piece until done, failed, or cut after so many bytes.
 */
static void
carry(struct sync_send *s, struct sync_recv *r, int wakeup[2], size_t piece,
      uint64_t cut_after, struct outcome *o)
{
    bool last_was_send = false;
    struct err e = {0};

    for (;;) {
        size_t len;
        const uint8_t *p = sync_send_output(s, &len);

        if (len > 0) {
            size_t n = len < piece ? len : piece;

            o->wire_bytes += n;
            if (o->wire_bytes > cut_after) {
                return;
            }
            o->n_turns += !last_was_send;
            last_was_send = true;
            if (sync_recv_input(r, p, n, &e) != 0) {
                o->why = e; /* the refusal still goes to the sender */
            }
            sync_send_sent(s, n);
        }
        while ((p = sync_recv_output(r, &len)) != NULL) {
            size_t n = len < piece ? len : piece;

            o->wire_bytes += n;
            o->n_turns += last_was_send;
            last_was_send = false;
            (void)!sync_send_input(s, p, n, &e);
            sync_recv_sent(r, n);
        }
        o->state = sync_send_state(s, &o->why);
        if (o->state != SYNC_RUNNING) {
            return;
        }
        if (sync_send_output(s, &len) == NULL) {
            struct pollfd ready = {.fd = wakeup[0], .events = POLLIN};
            uint64_t ignored[64];

            assert_int_equal(poll(&ready, 1, 10000), 1); /* nobody has anything to say */
            assert_true(read(wakeup[0], ignored, sizeof ignored) > 0);
        }
    }
}

struct ship {
    const struct sha256 *base;
    size_t window_bytes;
    size_t piece;
    uint64_t cut_after;
    uint64_t max_bytes;
    uint64_t room_bytes; /* what the receiver says it has; 0: nothing */
    bool begin_late;     /* only when the tree is made */
    const char *into;    /* the sender puts into this store itself */
    const char *from;    /* out of this store instead of the directory: */
    const struct sha256 *tree;
};

static struct outcome
ship(const struct world *w, struct ship how)
{
    struct build_options b = {
        .policy = BUILD_SHIP, .cache_path = w->cache, .n_threads = 2};
    struct sync_recv_options ro = {.max_bytes = how.max_bytes};
    struct outcome o = {0};
    struct sync_send *s = NULL;
    struct sync_recv *r = NULL;
    struct store *store = NULL;
    struct store *into = NULL;
    struct store *from = NULL;
    int wakeup[2];
    struct sync_send_options so = {
        .window_bytes = how.window_bytes, .wake = wake, .wake_ctx = &wakeup[1]};

    assert_int_equal(pipe2(wakeup, O_CLOEXEC), 0);
    OK(store_open(&store, w->store_dir, NULL, e));
    if (how.into != NULL) {
        OK(store_open(&into, how.into, NULL, e));
        so.into = into;
    }
    if (how.from != NULL) {
        OK(store_open(&from, how.from, NULL, e));
        OK(sync_send_store(&s, from, how.tree, &so, e));
    } else {
        OK(sync_send_dir(&s, w->fd, &b, &so, e));
    }
    OK(sync_recv_new(&r, store, &ro, e));
    if (how.begin_late) {
        const struct build_report *report = NULL;

        while (report == NULL) {
            uint64_t ignored;

            OK(sync_send_built(s, &report, e));
            if (report == NULL) {
                assert_true(read(wakeup[0], &ignored, sizeof ignored) > 0);
            }
        }
    }
    if (how.room_bytes > 0) {
        sync_send_room(s, how.room_bytes);
    }
    sync_send_begin(s, how.base);
    carry(s, r, wakeup, how.piece == 0 ? 1 << 20 : how.piece,
          how.cut_after == 0 ? UINT64_MAX : how.cut_after, &o);
    sync_send_stats(s, &o.sent);
    if (o.state == SYNC_DONE) {
        assert_int_equal(sync_recv_state(r, &o.tree), SYNC_DONE);
    }
    sync_send_free(s);
    sync_recv_free(r);
    store_close(store);
    store_close(into);
    store_close(from);
    (void)close(wakeup[0]);
    (void)close(wakeup[1]);
    return o;
}

/* What a reader of the store finds must be what is in the directory, bytes and all. */
static int
check_visit(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = store_get(ctx, &c->id, &b, e);

    (void)kind;
    assert_true(rc != 0 || b.len == c->len || kind == STORE_KIND_META);
    buf_free(&b);
    return rc;
}

static void
check_whole(const struct world *w, const struct sha256 *tree)
{
    struct build_options b = {.policy = BUILD_SHIP};
    struct build_report report;
    struct store *fresh = NULL;
    struct store *store = NULL;
    struct build_store_sink into = {0};
    struct build_sink sink;
    char *other = path_join(w->scratch, "other");
    struct tree_source source;

    OK(store_open(&store, w->store_dir, NULL, e));
    source = tree_source_store(store);
    OK(tree_walk_chunks(tree, &source, check_visit, store, e));
    store_close(store);
    OK(store_open(&fresh, other, NULL, e));
    into.store = fresh;
    sink = build_sink_store(&into);
    OK(build_tree(w->fd, &b, &sink, &report, e));
    assert_true(sha256_equal(&report.tree, tree));
    build_report_free(&report);
    store_close(fresh);
    free(other);
}

/* A file changed in the clock tick of a build is not trusted by the next: wait it out. */
static void
settle(const struct world *w)
{
    int fd = open(w->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    wait_by_ctime(fd, 2 * TRUSTED_AFTER_NS);
    (void)close(fd);
}

static void
fill(const struct world *w)
{
    char name[32];

    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof name, "small%03u", i);
        write_file(w, name, i, 500 + i * 37);
    }
    write_file(w, "big", 1000, 3000000);
    write_file(w, "mid", 1001, 200000);
    write_file(w, "empty", 0, 0);
    settle(w);
}

static void
sync__ships_all_of_it_cold(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){0});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.sent_bytes > 3200000);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){.begin_late = true, .piece = SIZE_MAX});
    assert_int_equal(o.state, SYNC_DONE);
    /* OFFER, WANT, chunks and TREE, DONE: two round trips. */
    assert_int_equal(o.n_turns, 4);
    world_free(&w);
}

static void
sync__an_unchanged_tree_is_one_message(void **state)
{
    struct world w = world_new();
    struct outcome cold;
    struct outcome warm;

    (void)state;
    fill(&w);
    cold = ship(&w, (struct ship){0});
    assert_int_equal(cold.state, SYNC_DONE);
    warm = ship(&w, (struct ship){.base = &cold.tree});
    assert_int_equal(warm.state, SYNC_DONE);
    assert_true(sha256_equal(&cold.tree, &warm.tree));
    assert_int_equal(warm.wire_bytes, 2 * (8 + SHA256_LEN)); /* TREE and DONE */
    assert_int_equal(warm.n_turns, 2);
    world_free(&w);
}

/* The tree's name goes over, and nothing else: the receiver finds the rest. */
static void
sync__into_the_receivers_own_store(void **state)
{
    struct world w = world_new();
    struct ship how = {.into = w.store_dir};
    struct outcome o;
    struct outcome again;

    (void)state;
    fill(&w);
    o = ship(&w, how);
    assert_int_equal(o.state, SYNC_DONE);
    assert_int_equal(o.wire_bytes, 2 * (8 + SHA256_LEN)); /* TREE and DONE */
    assert_true(o.sent.sent_bytes > 3200000);
    check_whole(&w, &o.tree);
    how.base = &o.tree;
    again = ship(&w, how);
    assert_int_equal(again.state, SYNC_DONE);
    assert_true(sha256_equal(&o.tree, &again.tree));
    assert_int_equal(again.sent.sent_bytes, 0);
    write_file(&w, "small007", 4711, 900);
    settle(&w);
    o = ship(&w, how);
    assert_int_equal(o.state, SYNC_DONE);
    assert_int_equal(o.wire_bytes, 2 * (8 + SHA256_LEN));
    assert_true(o.sent.sent_bytes > 0);
    check_whole(&w, &o.tree);
    world_free(&w);
}

/* What the scan cache knows is in the store no more: it is read again. */
static void
sync__into_a_store_that_lost_it(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.into = w.store_dir});
    assert_int_equal(o.state, SYNC_DONE);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){.into = w.store_dir, .base = &o.tree});
    assert_int_equal(o.state, SYNC_DONE);
    assert_true(o.sent.sent_bytes > 3200000);
    check_whole(&w, &o.tree);
    world_free(&w);
}

/* It is not the receiver's after all: all goes over, out of it. */
static void
sync__into_another_store_than_the_receivers(void **state)
{
    struct world w = world_new();
    char *other = path_join(w.scratch, "another");
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.into = other});
    assert_int_equal(o.state, SYNC_DONE);
    assert_true(o.wire_bytes > 3000000);
    check_whole(&w, &o.tree);
    free(other);
    world_free(&w);
}

static void
sync__a_small_change_sends_little(void **state)
{
    struct world w = world_new();
    struct outcome cold;
    struct outcome warm;

    (void)state;
    fill(&w);
    cold = ship(&w, (struct ship){0});
    assert_int_equal(cold.state, SYNC_DONE);
    write_file(&w, "small007", 4711, 900);
    settle(&w);
    warm = ship(&w, (struct ship){.base = &cold.tree});
    assert_int_equal(warm.state, SYNC_DONE);
    assert_false(sha256_equal(&cold.tree, &warm.tree));
    check_whole(&w, &warm.tree);
    assert_true(warm.wire_bytes < cold.wire_bytes / 4);
    assert_true(warm.sent.n_offered > 0 && warm.sent.n_sent > 0);
    assert_true(warm.n_turns <= 4);
    world_free(&w);
}

static void
change_big(const struct world *w, off_t at, const char *text)
{
    char *path = path_join(w->dir, "big");
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
    (void)close(fd);
    free(path);
    settle(w);
}

/*
 * Of a big file that was changed in one place only that place goes, and none of the
 * rest is asked for; without the base, or with one that is not there, all of it arrives.
 */
static void
sync__a_change_of_a_big_file_sends_its_place(void **state)
{
    struct world w = world_new();
    struct outcome o;
    struct sha256 first;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){0});
    assert_int_equal(o.state, SYNC_DONE);
    first = o.tree;
    change_big(&w, 1500000, "in the middle");
    o = ship(&w, (struct ship){.base = &first});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.sent_bytes < (uint64_t)2 * CHUNKER_MAX_BYTES + 65536);
    assert_true(o.sent.n_offered <= 2); /* the tree's own */
    change_big(&w, 2000000, "again");
    o = ship(&w, (struct ship){.begin_late = true}); /* no base: asked for all of it */
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.sent_bytes < (uint64_t)2 * CHUNKER_MAX_BYTES + 65536);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    first = o.tree;
    change_big(&w, 2500000, "and again");
    o = ship(&w, (struct ship){.base = &first}); /* which is not there */
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.sent_bytes > 3000000);
    world_free(&w);
}

/* The base is a belief: a host that lost it, or never had it, gets everything. */
static void
sync__a_base_that_is_not_there_costs_time_only(void **state)
{
    struct world w = world_new();
    struct outcome cold;
    struct outcome again;

    (void)state;
    fill(&w);
    cold = ship(&w, (struct ship){0});
    assert_int_equal(cold.state, SYNC_DONE);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    again = ship(&w, (struct ship){.base = &cold.tree});
    assert_int_equal(again.state, SYNC_DONE);
    check_whole(&w, &again.tree);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "third");
    write_file(&w, "small001", 99, 1234);
    again = ship(&w, (struct ship){.base = &cold.tree});
    assert_int_equal(again.state, SYNC_DONE);
    check_whole(&w, &again.tree);
    world_free(&w);
}

/* Content beyond the window is not kept but read again when it is wanted. */
static void
sync__a_small_window_is_only_slower(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.window_bytes = 1, .begin_late = true});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    free(w.store_dir);
    w.store_dir =
        path_join(w.scratch, "another"); /* all known to the cache, all wanted */
    o = ship(&w, (struct ship){.window_bytes = 100000});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    world_free(&w);
}

static void
sync__goes_on_after_a_cut(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.cut_after = 2500000, .piece = 10000});
    assert_int_equal(o.state, SYNC_RUNNING);
    o = ship(&w, (struct ship){.piece = 777});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.sent_bytes < 1500000); /* what had come was not sent again */
    world_free(&w);
}

static void
sync__a_quota_refuses_and_says_so(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.max_bytes = 1000000});
    assert_int_equal(o.state, SYNC_FAILED);
    assert_int_equal(o.why.code, ERR_SPACE);
    world_free(&w);
}

/* What a receiver has room for is compared with what it lacks, before that is sent. */
static void
sync__sends_nothing_that_there_is_no_room_for(void **state)
{
    struct world w = world_new();
    struct outcome o;

    (void)state;
    fill(&w);
    o = ship(&w, (struct ship){.room_bytes = 1000000, .begin_late = true});
    assert_int_equal(o.state, SYNC_FAILED);
    assert_int_equal(o.why.code, ERR_SPACE);
    assert_true(o.sent.sent_bytes <= SYNC_PUSH_FIRST_BYTES);
    /* Beyond the window all is reckoned by what is encoded, and of the rest a little. */
    assert_int_equal(unlink(w.cache), 0);
    o = ship(&w, (struct ship){
                     .room_bytes = 50000, .begin_late = true, .window_bytes = 300000});
    assert_int_equal(o.state, SYNC_FAILED);
    assert_int_equal(o.why.code, ERR_SPACE);
    o = ship(&w, (struct ship){.room_bytes = 100000000, .begin_late = true});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    o = ship(&w, (struct ship){.room_bytes = 1, .begin_late = true}); /* it has all */
    assert_int_equal(o.state, SYNC_DONE);
    world_free(&w);
}

/* Nor out of a store, which knows what it takes, however little of it is at hand. */
static void
sync__sends_nothing_of_a_store_that_there_is_no_room_for(void **state)
{
    struct world w = world_new();
    char *from = xstrdup(w.store_dir);
    struct outcome first;
    struct outcome o;

    (void)state;
    fill(&w);
    first = ship(&w, (struct ship){0});
    assert_int_equal(first.state, SYNC_DONE);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){.from = from,
                               .tree = &first.tree,
                               .room_bytes = 3000000,
                               .window_bytes = 300000});
    assert_int_equal(o.state, SYNC_FAILED);
    assert_int_equal(o.why.code, ERR_SPACE);
    assert_int_equal(o.sent.sent_bytes, 0);
    o = ship(&w, (struct ship){.from = from,
                               .tree = &first.tree,
                               .room_bytes = 3400000,
                               .window_bytes = 300000});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &first.tree);
    o = ship(&w, (struct ship){.from = from, .tree = &first.tree, .room_bytes = 1});
    assert_int_equal(o.state, SYNC_DONE); /* it has all */
    free(from);
    world_free(&w);
}

/* A cache of another tree than the base says nothing of what lies there. */
static void
sync__asks_when_the_cache_is_of_another_tree(void **state)
{
    struct world w = world_new();
    struct outcome first;
    struct outcome o;
    char *store = xstrdup(w.store_dir);

    (void)state;
    fill(&w);
    first = ship(&w, (struct ship){0});
    assert_int_equal(first.state, SYNC_DONE);
    assert_true(first.sent.n_offered > 0);
    assert_true(first.sent.n_wanted <= first.sent.n_offered);
    write_file(&w, "big", 4711, 3000000);
    settle(&w);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){0}); /* the cache is of this tree now */
    assert_int_equal(o.state, SYNC_DONE);
    free(w.store_dir);
    w.store_dir = store;
    o = ship(&w, (struct ship){.base = &first.tree});
    assert_int_equal(o.state, SYNC_DONE);
    check_whole(&w, &o.tree);
    assert_true(o.sent.n_offered > 10);
    assert_true(o.sent.sent_bytes > 2900000 && o.sent.sent_bytes < 3300000);
    world_free(&w);
}

#define BLOCK (CHUNKER_MIN_BYTES + 64)

/* A block behind which a chunk ends wherever it stands. */
static void
find_block(uint8_t *two)
{
    for (uint64_t seed = 0;; seed++) {
        put_u64(two + BLOCK - 8, seed * 0x9e3779b97f4a7c15u);
        memcpy(two + BLOCK, two, BLOCK);
        if (chunker_cut(two, BLOCK + 1) == BLOCK) {
            return;
        }
    }
}

/* The cache knows a file that the tree holds in several groups: what is missing of it is
 * read again, across them. */
static void
sync__reads_a_file_of_many_groups_again(void **state)
{
    struct world w = world_new();
    uint8_t *two = xcalloc(2, BLOCK);
    char *path = path_join(w.dir, "long");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    struct sha256 first;
    struct sha256 last;
    struct outcome o;

    (void)state;
    find_block(two);
    assert_true(fd >= 0);
    for (size_t i = 0; i <= TREE_GROUP_CHUNKS_MAX + 50; i++) {
        assert_int_equal(fd_write_all(fd, two, BLOCK), 0);
    }
    memset(two, 'e', 1000);
    assert_int_equal(fd_write_all(fd, two, 1000), 0);
    assert_int_equal(fd_close(&fd), 0);
    settle(&w);
    o = ship(&w, (struct ship){0});
    assert_int_equal(o.state, SYNC_DONE);
    first = o.tree;
    assert_true(o.sent.sent_bytes < 1000000); /* two chunks, and where they stand */
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){.base = &first});
    assert_int_equal(o.state, SYNC_DONE);
    last = o.tree;
    assert_true(sha256_equal(&first, &last));
    check_whole(&w, &last);
    free(path);
    free(two);
    world_free(&w);
}

/* To the last byte that may be sent, and not one more. */
static void
sync__a_quota_is_met_to_the_byte(void **state)
{
    struct world w = world_new();
    struct outcome o;
    uint64_t all;

    (void)state;
    write_file(&w, "f", 1, 50000);
    settle(&w);
    o = ship(&w, (struct ship){0});
    assert_int_equal(o.state, SYNC_DONE);
    all = o.sent.sent_bytes;
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "another");
    o = ship(&w, (struct ship){.max_bytes = all - 1});
    assert_int_equal(o.state, SYNC_FAILED);
    free(w.store_dir);
    w.store_dir = path_join(w.scratch, "third");
    o = ship(&w, (struct ship){.max_bytes = all});
    assert_int_equal(o.state, SYNC_DONE);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync__ships_all_of_it_cold),
        cmocka_unit_test(sync__an_unchanged_tree_is_one_message),
        cmocka_unit_test(sync__into_the_receivers_own_store),
        cmocka_unit_test(sync__into_a_store_that_lost_it),
        cmocka_unit_test(sync__into_another_store_than_the_receivers),
        cmocka_unit_test(sync__a_small_change_sends_little),
        cmocka_unit_test(sync__a_change_of_a_big_file_sends_its_place),
        cmocka_unit_test(sync__a_base_that_is_not_there_costs_time_only),
        cmocka_unit_test(sync__a_small_window_is_only_slower),
        cmocka_unit_test(sync__goes_on_after_a_cut),
        cmocka_unit_test(sync__a_quota_refuses_and_says_so),
        cmocka_unit_test(sync__sends_nothing_that_there_is_no_room_for),
        cmocka_unit_test(sync__sends_nothing_of_a_store_that_there_is_no_room_for),
        cmocka_unit_test(sync__asks_when_the_cache_is_of_another_tree),
        cmocka_unit_test(sync__reads_a_file_of_many_groups_again),
        cmocka_unit_test(sync__a_quota_is_met_to_the_byte),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
