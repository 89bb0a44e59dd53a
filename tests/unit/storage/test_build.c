#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "storage/scache.h"
#include "tests/unit/storage/build_util.h"

/* ---- round trips ---- */

static void
tree__of_nasty_things_comes_back_bit_for_bit(void **state)
{
    struct setup *s = *state;
    char *to;

    make_nasty(s->src);
    build(s);
    assert_int_equal(s->r.totals.n_damaged, 0);
    to = extract(s, "out", geteuid() == 0);
    if (geteuid() == 0) {
        assert_same_trees(s->src, to);
    }
    free(to);
}

static void
tree__holds_the_longest_link_there_is(void **state)
{
    struct setup *s = *state;
    char text[TREE_TARGET_MAX_BYTES + 1];
    char back[sizeof text];
    char *at = path_join(s->src, "link");
    char *to;
    char *copy;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(symlink(text, at), 0);
    build(s);
    assert_int_equal(s->r.totals.n_damaged, 0);
    to = extract(s, "out", false);
    copy = path_join(to, "link");
    assert_int_equal(readlink(copy, back, sizeof back), sizeof text - 1);
    assert_memory_equal(text, back, sizeof text - 1);
    free(copy);
    free(to);
    free(at);
}

static void
tree__is_the_same_with_any_number_of_threads(void **state)
{
    struct setup *s = *state;
    struct sha256 one;

    make_nasty(s->src);
    s->o.cache_path = NULL;
    s->o.n_threads = s->o.scan.n_threads = 1;
    build(s);
    one = s->r.tree;
    for (unsigned n = 2; n <= 8; n += 3) {
        s->o.n_threads = s->o.scan.n_threads = n;
        build(s);
        assert_memory_equal(&one, &s->r.tree, sizeof one);
    }
}

/* Names as well as numbers: another machine may number its users otherwise. */
static void
tree__names_the_owners(void **state)
{
    struct setup *s = *state;
    struct tree_source from;
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    struct err e = {0};
    size_t n = 0;

    put_text(s->src, "roots", "1");
    put_text(s->src, "nobodys", "2");
    put_text(s->src, "of-no-name", "3");
    if (geteuid() == 0) {
        int fd = open_dir(s->src);

        assert_int_equal(fchownat(fd, "nobodys", 65534, 1, 0), 0);
        assert_int_equal(fchownat(fd, "of-no-name", 123456, 123457, 0), 0);
        (void)close(fd);
    }
    build(s);
    from = mem_source(&s->m);
    assert_ok(tree_open(&r, &s->r.tree, &from, &e));
    for (;;) {
        assert_ok(tree_next(r, &g, &e));
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            const struct tree_entry *is = &g->entries[i];
            const struct passwd *user = getpwuid(is->uid);
            const struct group *group = getgrgid(is->gid);

            assert_string_equal(is->user, user != NULL ? user->pw_name : "");
            assert_string_equal(is->group, group != NULL ? group->gr_name : "");
            n++;
        }
    }
    assert_int_equal(n, 4);
    tree_close(r);
}

/* Whoever finds another tree than before has something to point at. */
static void
report__names_what_changed_last(void **state)
{
    struct setup *s = *state;
    char *dir = path_join(s->src, "dir");
    char *gone;

    assert_int_equal(mkdir(dir, 0700), 0);
    put_text(s->src, "a", "1");
    put_text(dir, "b", "2");
    put_text(dir, "goes", "3");
    let_time_pass();
    put_text(s->src, "made", "4"); /* and the root with it */
    build(s);
    assert_string_equal(s->r.newest, "made");
    let_time_pass();
    put_text(dir, "b", "5");
    build(s);
    assert_string_equal(s->r.newest, "dir/b");
    let_time_pass();
    gone = path_join(dir, "goes");
    assert_int_equal(unlink(gone), 0);
    build(s);
    assert_string_equal(s->r.newest, "dir");
    free(gone);
    free(dir);
}

static void
report__names_the_largest_first_and_equal_ones_by_name(void **state)
{
    struct setup *s = *state;

    put_random(s->src, "b", 500, 1);
    put_random(s->src, "a", 500, 2);
    put_random(s->src, "c", 501, 3);
    put_random(s->src, "empty", 0, 4);
    build(s);
    assert_int_equal(s->r.n_largest, 3);
    assert_string_equal(s->r.largest[0].path, "c");
    assert_string_equal(s->r.largest[1].path, "a");
    assert_string_equal(s->r.largest[2].path, "b");
}

/* More first names than the table of links has room for at once, in any order. */
static void
tree__of_many_hard_links_keeps_each_pair(void **state)
{
    enum { N_PAIRS = 700 };
    struct setup *s = *state;
    struct stat first;
    struct stat second;
    char a[16];
    char b[16];
    char *to;
    int fd;

    for (int i = 0; i < N_PAIRS; i++) {
        (void)snprintf(a, sizeof a, "a%d", i);
        (void)snprintf(b, sizeof b, "b%d", i);
        put_text(s->src, a, a);
        assert_int_equal(linkat(s->fd, a, s->fd, b, 0), 0);
    }
    build(s);
    to = extract(s, "out", false);
    fd = open_dir(to);
    for (int i = 0; i < N_PAIRS; i++) {
        (void)snprintf(a, sizeof a, "a%d", i);
        (void)snprintf(b, sizeof b, "b%d", i);
        assert_int_equal(fstatat(fd, a, &first, 0), 0);
        assert_int_equal(fstatat(fd, b, &second, 0), 0);
        assert_true(first.st_ino == second.st_ino);
        assert_int_equal(first.st_nlink, 2);
        assert_int_equal(first.st_size, strlen(a));
    }
    (void)close(fd);
    free(to);
}

static void
tree__of_an_empty_directory_is_its_root(void **state)
{
    struct setup *s = *state;
    char *to;

    build(s);
    assert_int_equal(s->r.totals.n_entries, 1);
    to = extract(s, "out", false);
    free(to);
}

static void
tree__of_a_sparse_terabyte_holds_its_few_bytes(void **state)
{
    struct setup *s = *state;
    struct stat st;
    char *to;
    char *path;

    make_sparse(s->src, "sparse", (uint64_t)1 << 40);
    build(s);
    assert_true(s->r.read_bytes < 100000);
    assert_true(s->r.totals.bytes == (uint64_t)1 << 40);
    to = extract(s, "out", false);
    path = path_join(to, "sparse");
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size == (off_t)1 << 40 && st.st_blocks < 1000);
    free(path);
    free(to);
}

/* A new file, a vanished one and a new directory each cost their neighbourhood alone. */
static void
tree__changes_little_when_files_come_and_go(void **state)
{
    struct setup *s = *state;
    size_t before;
    char *gone;

    for (int i = 0; i < 3000; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/file%d", i / 100, i);
        put_random(s->src, name, 1500, (uint64_t)i);
    }
    build(s);
    before = s->m.n;
    put_random(s->src, "d0/aaa", 1500, 5000);
    build(s);
    assert_true(s->m.n - before <= 6);
    before = s->m.n;
    gone = path_join(s->src, "d14/file1432");
    assert_int_equal(unlink(gone), 0);
    build(s);
    assert_true(s->m.n - before <= 6);
    free(gone);
}

/* ---- sources that do not hold still ---- */

/* In a child that is nobody: root may read everything. */
static int
as_nobody(void (*fn)(struct setup *s), struct setup *s)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid != -1);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(99);
        }
        fn(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void
build_unreadable(struct setup *s)
{
    struct build_sink sink = mem_build_sink(&s->m);
    struct build_report r;
    struct err e = {0};

    s->o.cache_path = NULL;
    s->o.policy = BUILD_SHIP;
    if (build_tree(s->fd, &s->o, &sink, &r, &e) != -1 || e.code != ERR_DENIED ||
        strcmp(e.msg, "cannot read 'closed': Permission denied") != 0) {
        (void)fprintf(stderr, "ship: %s\n", e.msg);
        _exit(1);
    }
    s->o.policy = BUILD_SNAPSHOT;
    if (build_tree(s->fd, &s->o, &sink, &r, &e) != 0) {
        (void)fprintf(stderr, "snapshot: %s\n", e.msg);
        _exit(2);
    }
    if (r.totals.n_damaged != 2 || r.n_damaged != 2 ||
        strcmp(r.damaged[0].path, "closed") != 0 ||
        strcmp(r.damaged[1].path, "d/secret") != 0 ||
        r.damaged[1].damage != TREE_UNREADABLE || r.damaged[1].sys_errno != EACCES ||
        r.totals.n_entries != 5) {
        _exit(3);
    }
}

static void
build__of_unreadable_files_is_refused_or_partial(void **state)
{
    struct setup *s = *state;
    char *secret = path_join(s->src, "d/secret");
    char *closed = path_join(s->src, "closed");

    put_text(s->src, "d/secret", "x");
    put_text(s->src, "d/open", "y");
    assert_int_equal(mkdir(closed, 0), 0);
    assert_int_equal(chmod(secret, 0), 0);
    assert_int_equal(chmod(s->top, 0755), 0);
    if (geteuid() == 0) {
        assert_int_equal(as_nobody(build_unreadable, s), 0);
    }
    assert_int_equal(chmod(closed, 0700), 0);
    free(secret);
    free(closed);
}

struct mischief {
    struct setup *s;
    atomic_bool stop;
};

/* Files that grow, shrink, vanish, are replaced, and change their kind, all the time. */
static void *
do_mischief(void *arg)
{
    struct mischief *m = arg;
    uint64_t x = 1;

    while (!m->stop) {
        char name[64];
        char *path;
        uint64_t what = mix(&x) % 6;

        (void)snprintf(name, sizeof name, "m%d/f%d", (int)(mix(&x) % 5),
                       (int)(mix(&x) % 40));
        path = path_join(m->s->src, name);
        (void)unlink(path);
        (void)rmdir(path);
        if (what < 4) {
            put_random(m->s->src, name, (size_t)(mix(&x) % (what == 0 ? 400000 : 3000)),
                       x);
        } else if (what == 4) {
            (void)mkdir(path, 0755);
        } else {
            (void)!symlink("elsewhere", path);
        }
        free(path);
    }
    return NULL;
}

static void
build__of_a_directory_in_turmoil_gives_trees_that_can_be_extracted(void **state)
{
    struct setup *s = *state;
    struct mischief m = {.s = s};
    pthread_t thread;
    struct err e = {0};

    s->o.live = true;
    for (int i = 0; i < 5; i++) {
        char name[16];
        char *dir;

        (void)snprintf(name, sizeof name, "m%d", i);
        dir = path_join(s->src, name);
        assert_ok(file_mkdirs(dir, 0755, &e));
        free(dir);
    }
    assert_int_equal(pthread_create(&thread, NULL, do_mischief, &m), 0);
    for (int i = 0; i < 40; i++) {
        char name[16];

        s->o.policy = i % 2 == 0 ? BUILD_SNAPSHOT : BUILD_SHIP;
        build(s);
        (void)snprintf(name, sizeof name, "out%d", i);
        free(extract(s, name, false));
    }
    m.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
}

#define LONG_BYTES ((size_t)256 << 20)
#define NS_PER_S   INT64_C(1000000000)

struct long_write {
    int fd;
    uint8_t *bytes; /* LONG_BYTES */
    atomic_bool is_over;
};

static void *
write_long(void *arg)
{
    struct long_write *w = arg;

    assert_int_equal(pwrite(w->fd, w->bytes, LONG_BYTES, 0), LONG_BYTES);
    atomic_store(&w->is_over, true);
    return NULL;
}

/* Until the write has begun, and so long ago that the file's times look old. */
static void
await_old_times(int fd, uint8_t want)
{
    struct stat st;
    uint8_t first;

    do {
        assert_int_equal(pread(fd, &first, 1, 0), 1);
    } while (first != want);
    do {
        assert_int_equal(fstat(fd, &st), 0);
    } while (clock_wall_ns() < st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec +
                                   SCACHE_TICK_NS + NS_PER_S / 1000);
}

static bool
is_any_data_not(const struct mem *m, uint8_t byte)
{
    for (size_t i = 0; i < m->n; i++) {
        const uint8_t *data = m->v[i].data;

        for (size_t k = 0; m->v[i].kind == STORE_KIND_DATA && k < m->v[i].len; k++) {
            if (data[k] != byte) {
                return true;
            }
        }
    }
    return false;
}

/* One write(2) changes the times of a file as it begins, and not at its end. */
static void
build__of_a_file_in_the_middle_of_one_write_awaits_its_end(void **state)
{
    struct setup *s = *state;
    struct long_write w = {.bytes = xmalloc(LONG_BYTES)};
    char *path = path_join(s->src, "big");
    bool met = false;
    uint8_t byte = 1;

    s->o.live = true;
    w.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    memset(w.bytes, byte, LONG_BYTES);
    (void)write_long(&w);
    for (int tries = 0; !met && tries < 20; tries++) {
        pthread_t thread;

        memset(w.bytes, ++byte, LONG_BYTES);
        atomic_store(&w.is_over, false);
        assert_int_equal(pthread_create(&thread, NULL, write_long, &w), 0);
        await_old_times(w.fd, byte);
        met = !atomic_load(&w.is_over);
        mem_free(&s->m);
        mem_init(&s->m);
        build(s);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_false(is_any_data_not(&s->m, byte));
    }
    assert_true(met);
    (void)close(w.fd);
    free(path);
    free(w.bytes);
}

#define GROWN "another line\n"

static void *
append_for_ever(void *arg)
{
    struct mischief *m = arg;
    char *path = path_join(m->s->src, "log");
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);

    while (!m->stop) {
        (void)!write(fd, GROWN, sizeof GROWN - 1);
    }
    (void)close(fd);
    free(path);
    return NULL;
}

/* A log that grows while it is read is shipped as far as it was, and said. */
static void
build__of_a_growing_file_takes_what_is_there(void **state)
{
    struct setup *s = *state;
    struct mischief m = {.s = s};
    struct tree_entry got;
    struct buf there = BUF_INIT;
    struct err e = {0};
    pthread_t thread;
    char *to;
    char *log;

    s->o.policy = BUILD_SHIP;
    put_random(s->src, "other", 10000, 1);
    assert_int_equal(pthread_create(&thread, NULL, append_for_ever, &m), 0);
    do {
        build(s);
        got = find_entry(&s->m, &s->r.tree, "log");
    } while (got.type == TREE_NONE || got.stored < 1000000 || got.damage != TREE_CHANGED);
    m.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(got.stored, got.size);
    assert_int_equal(s->r.totals.n_changed, 1);
    assert_string_equal(s->r.damaged[0].path, "log");
    to = extract(s, "out", false);
    log = path_join(to, "log");
    assert_ok(file_read(log, (size_t)got.size, &there, &e));
    assert_int_equal(there.len, got.size);
    for (size_t i = 0; i < there.len; i++) { /* it may end in the middle of a line */
        assert_int_equal(there.data[i], GROWN[i % (sizeof GROWN - 1)]);
    }
    buf_free(&there);
    free(log);
    free(to);
}

/* ---- reading again ---- */

struct again {
    struct mem *m;
    size_t n;
    size_t every; /* only each so many-th chunk is wanted */
    size_t seen;
};

static bool
want_some(void *ctx, const struct tree_chunk *c)
{
    struct again *a = ctx;

    (void)c;
    return a->seen++ % a->every == 0;
}

static int
compare_chunk(void *ctx, const struct build_chunk *c, struct err *e)
{
    struct again *a = ctx;
    const struct mem_chunk *was = mem_find(a->m, &c->id);

    if (was == NULL || was->len != c->len || memcmp(was->data, c->data, c->len) != 0) {
        return err_set(e, ERR_CORRUPT, "not what it was");
    }
    a->n++;
    return 0;
}

static int
reread_all(struct setup *s, struct again *a, struct err *e)
{
    struct scache *c = scache_open(s->cache);
    struct scache_group g;
    bool damaged = false;
    int rc = 0;

    assert_non_null(c);
    while (rc == 0 && scache_next(c, &g, &damaged)) {
        rc = build_reread(s->fd, g.entries, g.n_entries, g.chunks, g.n_chunks, want_some,
                          compare_chunk, a, e);
    }
    assert_false(damaged);
    scache_close(c);
    return rc;
}

static void
reread__gives_the_same_chunks_or_says_what_changed(void **state)
{
    struct setup *s = *state;
    struct again a = {.m = &s->m, .every = 1};
    struct err e = {0};

    make_nasty(s->src);
    build(s);
    assert_ok(reread_all(s, &a, &e));
    assert_int_equal(a.n, a.seen);
    assert_true(a.n > 10);
    a = (struct again){.m = &s->m, .every = 3};
    assert_ok(reread_all(s, &a, &e));
    assert_int_equal(a.n, (a.seen + 2) / 3);
    put_random(s->src, "big", 3 << 20, 77);
    a.every = 1;
    assert_refused(reread_all(s, &a, &e), ERR_BUSY);
    assert_string_equal(e.msg, "'big' changed while it was being sent: run it again, or "
                               "leave it out (.gpurunignore)");
}

/* ---- into a store ---- */

static void
store_sink__keeps_what_can_be_read_again(void **state)
{
    struct setup *s = *state;
    struct build_store_sink into = {0};
    struct build_sink sink = build_sink_store(&into);
    char *dir = path_join(s->top, "store");
    struct tree_source from;
    struct extract_options o = {.fresh = true, .exact = geteuid() == 0, .durable = true};
    struct extract_report r;
    struct err e = {0};
    char *to = path_join(s->top, "out");
    int fd;

    make_nasty(s->src);
    let_time_pass();
    assert_ok(store_open(&into.store, dir, NULL, &e));
    assert_ok(build_tree(s->fd, &s->o, &sink, &s->r, &e));
    assert_ok(store_commit(into.store, &e));
    build_report_free(&s->r);
    assert_ok(build_tree(s->fd, &s->o, &sink, &s->r, &e));
    assert_int_equal(s->r.read_bytes, 0);
    assert_int_equal(mkdir(to, 0700), 0);
    fd = open_dir(to);
    from = tree_source_store(into.store);
    assert_ok(extract_tree(fd, &s->r.tree, &from, &o, &r, &e));
    if (geteuid() == 0) {
        assert_same_trees(s->src, to);
    }
    store_close(into.store);

    /* another store has nothing of it, whatever the cache says: all is read */
    free(dir);
    dir = path_join(s->top, "store2");
    assert_ok(store_open(&into.store, dir, NULL, &e));
    build_report_free(&s->r);
    assert_ok(build_tree(s->fd, &s->o, &sink, &s->r, &e));
    assert_true(s->r.read_bytes > 3 << 20);
    store_close(into.store);
    (void)close(fd);
    free(dir);
    free(to);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        build_test(tree__of_nasty_things_comes_back_bit_for_bit),
        build_test(tree__is_the_same_with_any_number_of_threads),
        build_test(tree__of_many_hard_links_keeps_each_pair),
        build_test(tree__of_an_empty_directory_is_its_root),
        build_test(tree__holds_the_longest_link_there_is),
        build_test(tree__names_the_owners),
        build_test(report__names_what_changed_last),
        build_test(report__names_the_largest_first_and_equal_ones_by_name),
        build_test(tree__of_a_sparse_terabyte_holds_its_few_bytes),
        build_test(tree__changes_little_when_files_come_and_go),
        build_test(build__of_unreadable_files_is_refused_or_partial),
        build_test(build__of_a_directory_in_turmoil_gives_trees_that_can_be_extracted),
        build_test(build__of_a_file_in_the_middle_of_one_write_awaits_its_end),
        build_test(build__of_a_growing_file_takes_what_is_there),
        build_test(reread__gives_the_same_chunks_or_says_what_changed),
        build_test(store_sink__keeps_what_can_be_read_again),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
