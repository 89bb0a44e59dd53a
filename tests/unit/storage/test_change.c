#include "tests/unit/storage/tree_util.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "storage/build.h"
#include "storage/change_internal.h"
#include "storage/chunker.h"
#include "storage/workdir.h"

/*
 * A directory of one tree changed into another, at random: the judge is a tree built from
 * what lies there afterwards, without any cache.
 */

#define ROUNDS 14
#define DIRS   5
#define FILES  12

static uint64_t rng_state;

static uint64_t
rng(uint64_t below)
{
    rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
    return (rng_state >> 33) % below;
}

static void
write_file(int dir_fd, const char *name, size_t len)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    uint8_t *data = xmalloc(len + 1);

    assert_true(fd >= 0);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)rng(256);
    }
    assert_int_equal(fd_write_all(fd, data, len), 0);
    assert_int_equal(fd_close(&fd), 0);
    free(data);
}

static void
any_name(char out[64])
{
    uint64_t d = rng(DIRS);
    uint64_t f = rng(FILES);

    if (rng(6) == 0) {
        (void)snprintf(out, 64, "top%d", (int)f);
    } else if (rng(4) == 0) {
        (void)snprintf(out, 64, "d%d/sub/f%d", (int)d, (int)f);
    } else {
        (void)snprintf(out, 64, "d%d/f%d", (int)d, (int)f);
    }
}

/* Everything of a name away, whatever it is. */
static void
clear(int fd, const char *name)
{
    const char *slash = strrchr(name, '/');
    char *dir =
        slash == NULL ? xstrdup(".") : xasprintf("%.*s", (int)(slash - name), name);
    int parent = openat(fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (parent != -1) {
        OK(file_remove_tree_at(parent, slash == NULL ? name : slash + 1, e));
        (void)close(parent);
    }
    free(dir);
}

static void
mutate(int fd)
{
    char name[64];
    struct stat sb;

    any_name(name);
    switch (rng(9)) {
    case 0:
    case 1:
    case 2:
        if (fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode)) {
            write_file(fd, name, rng(3000));
        }
        break;
    case 3:
        clear(fd, name);
        break;
    case 4:
        clear(fd, name);
        (void)!symlinkat("somewhere", fd, name);
        break;
    case 5:
        clear(fd, name);
        if (mkdirat(fd, name, 0755) == 0) {
            char below[80];

            (void)snprintf(below, sizeof below, "%s/new", name);
            write_file(fd, below, rng(100));
        }
        break;
    case 6:
        (void)!fchmodat(fd, name, (mode_t)(0600 + rng(2) * 0111), 0);
        break;
    case 7:
        (void)snprintf(name, sizeof name, "d%d", (int)rng(DIRS));
        if (rng(4) == 0) {
            clear(fd, name);
            write_file(fd, name, 10); /* a directory becomes a file */
        } else {
            (void)!fchmodat(fd, name, 0700, 0);
        }
        break;
    default:
        if (fstatat(fd, "big", &sb, 0) == 0) {
            int big = openat(fd, "big", O_WRONLY | O_CLOEXEC);

            assert_int_equal(pwrite(big, "changed", 7, (off_t)rng(900000)), 7);
            (void)close(big);
        }
    }
}

static void
fill(int fd)
{
    for (int d = 0; d < DIRS; d++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d", d);
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        (void)snprintf(name, sizeof name, "d%d/sub", d);
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        for (int f = 0; f < FILES; f++) {
            (void)snprintf(name, sizeof name, "d%d/f%d", d, f);
            write_file(fd, name, rng(40) == 0 ? 200000 : rng(30000));
            (void)snprintf(name, sizeof name, "d%d/sub/f%d", d, f);
            write_file(fd, name, rng(500));
        }
    }
    write_file(fd, "big", 1000000);
    assert_int_equal(symlinkat("big", fd, "link"), 0);
    assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
}

static struct sha256
tree_of(int fd, struct store *s)
{
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_report report;
    struct sha256 id;

    OK(build_tree(fd, &o, &sink, &report, e));
    id = report.tree;
    build_report_free(&report);
    OK(store_commit(s, e));
    return id;
}

struct place {
    char *scratch;
    int src;
    int work;
    struct store *store;
};

static struct place
place_new(void)
{
    struct place p = {.scratch = scratch_dir()};
    char *store = path_join(p.scratch, "store");
    char *src = path_join(p.scratch, "src");
    char *work = path_join(p.scratch, "work");

    assert_int_equal(mkdir(src, 0755), 0);
    assert_int_equal(mkdir(work, 0700), 0);
    p.src = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p.work = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p.src >= 0 && p.work >= 0);
    OK(store_open(&p.store, store, NULL, e));
    fill(p.src);
    free(store);
    free(src);
    free(work);
    return p;
}

static void
place_free(struct place *p)
{
    store_close(p->store);
    (void)close(p->src);
    (void)close(p->work);
    scratch_free(p->scratch);
}

static int
subdir(int fd, const char *name)
{
    int sub;

    assert_int_equal(mkdirat(fd, name, 0755), 0);
    sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(sub >= 0);
    return sub;
}

static struct sha256
tree_at(const struct place *p, const char *job)
{
    int fd = openat(p->work, job, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct sha256 id;

    assert_true(fd >= 0);
    id = tree_of(fd, p->store);
    (void)close(fd);
    return id;
}

static struct sha256
snapshot(const struct place *p, const char *job)
{
    struct build_report report;
    struct sha256 id;

    OK(workdir_snapshot(p->work, job, p->store, false, &report, e));
    id = report.tree;
    build_report_free(&report);
    OK(store_commit(p->store, e));
    return id;
}

static void
assert_same(const struct sha256 *a, const struct sha256 *b)
{
    assert_true(sha256_equal(a, b));
}

static void
change__makes_the_new_tree_whatever_differs(void **state)
{
    int taken = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct place p;
        struct workdir_report r;
        const char *candidates[] = {"j1"};
        struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
        struct sha256 wanted;
        struct sha256 got;

        rng_state = (uint64_t)round + 1;
        p = place_new();
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &r, e));
        wait_by_ctime(p.work, SETTLED_NS);
        got = snapshot(&p, "j1");
        assert_same(&got, &wanted);
        /* In odd rounds the old directory is not what its cache says either. */
        for (uint64_t n = round % 2 == 1 ? rng(4) + 1 : 0; n > 0; n--) {
            int fd = openat(p.work, "j1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            mutate(fd);
            (void)close(fd);
        }
        for (uint64_t n = rng(6) + 1; n > 0; n--) {
            mutate(p.src);
        }
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
        got = tree_at(&p, "j2");
        if (!sha256_equal(&got, &wanted)) {
            fail_msg("round %d: another tree", round);
        }
        taken += r.way == WORKDIR_TAKEN_OVER;
        assert_int_equal(faccessat(p.work, "j1.scan", F_OK, 0),
                         r.way == WORKDIR_TAKEN_OVER ? -1 : 0);
        assert_int_equal(faccessat(p.work, ".j2.new", F_OK, 0), -1);
        /* And the cache it left is true: the next snapshot by it is the same. */
        wait_by_ctime(p.work, SETTLED_NS);
        got = snapshot(&p, "j2");
        assert_same(&got, &wanted);
        place_free(&p);
    }
    assert_true(taken > ROUNDS / 2);
}

static void
change__touches_only_what_differs(void **state)
{
    struct place p;
    struct workdir_report r;
    const char *candidates[] = {"j1"};
    struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
    struct sha256 wanted;
    struct stat before;
    struct stat after;

    (void)state;
    rng_state = 99;
    p = place_new();
    wanted = tree_of(p.src, p.store);
    OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &r, e));
    wait_by_ctime(p.work, SETTLED_NS);
    (void)snapshot(&p, "j1");
    assert_int_equal(fstatat(p.work, "j1/d3/f3", &before, 0), 0);
    write_file(p.src, "d1/f1", 777);
    wanted = tree_of(p.src, p.store);
    OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
    assert_int_equal(r.way, WORKDIR_TAKEN_OVER);
    assert_int_equal(fstatat(p.work, "j2/d3/f3", &after, 0), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_int_equal(r.n_removed, 0); /* changed in place */
    assert_true(r.n_made < r.n_kept); /* those in one chunk with it, and its directory */
    place_free(&p);
}

/* Taken over as long as half of it stays: five of the root, whose time is another, and
 * nine links. */
static void
change__half_of_a_directory_is_worth_it(void **state)
{
    (void)state;
    for (int n_other = 4; n_other <= 5; n_other++) {
        struct place p = place_new();
        struct workdir_report r;
        const char *candidates[] = {"j1"};
        struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
        int src = subdir(p.src, "links");
        struct sha256 tree;
        struct sha256 got;

        for (int i = 0; i < 9; i++) {
            assert_int_equal(symlinkat("here", src, (char[]){(char)('a' + i), '\0'}), 0);
        }
        tree = tree_of(src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &tree, NULL, &r, e));
        wait_by_ctime(p.work, SETTLED_NS);
        (void)snapshot(&p, "j1");
        for (int i = 0; i < n_other; i++) {
            char name[] = {(char)('a' + i), '\0'};

            assert_int_equal(unlinkat(src, name, 0), 0);
            assert_int_equal(symlinkat("there", src, name), 0);
        }
        tree = tree_of(src, p.store);
        OK(workdir_make(p.work, "j2", p.store, &tree, &o, &r, e));
        assert_int_equal(r.way, n_other == 4 ? WORKDIR_TAKEN_OVER : WORKDIR_EXTRACTED);
        got = tree_at(&p, "j2");
        assert_same(&got, &tree);
        (void)close(src);
        place_free(&p);
    }
}

static void
change__an_unlike_directory_is_given_back(void **state)
{
    struct place p;
    struct workdir_report r;
    const char *candidates[] = {"j1"};
    struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
    struct sha256 first;
    struct sha256 wanted;

    (void)state;
    rng_state = 7;
    p = place_new();
    first = tree_of(p.src, p.store);
    OK(workdir_make(p.work, "j1", p.store, &first, NULL, &r, e));
    wait_by_ctime(p.work, SETTLED_NS);
    (void)snapshot(&p, "j1");
    for (int d = 0; d < DIRS; d++) {
        char name[16];

        (void)snprintf(name, sizeof name, "d%d", d);
        clear(p.src, name);
    }
    write_file(p.src, "only", 5);
    wanted = tree_of(p.src, p.store);
    OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
    assert_int_equal(r.way, WORKDIR_EXTRACTED);
    wanted = tree_at(&p, "j1");
    assert_same(&wanted, &first);
    OK(workdir_make(p.work, "j3", p.store, &first, &o, &r, e));
    assert_int_equal(r.way, WORKDIR_TAKEN_OVER);
    assert_int_equal(r.n_made, 0);
    place_free(&p);
}

/* Of the candidates the first two are looked at: each is a sweep of a directory. */
static void
change__looks_at_two_candidates(void **state)
{
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        struct place p;
        struct workdir_report r;
        const char *candidates[] = {"u1", "u2", "j1"};
        struct workdir_options o = {.candidates = candidates + first,
                                    .n_candidates = 3 - first};
        struct sha256 wanted;
        char *unlike;
        int fd;

        rng_state = 3;
        p = place_new();
        unlike = path_join(p.scratch, "unlike");
        assert_int_equal(mkdir(unlike, 0755), 0);
        fd = open(unlike, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        write_file(fd, "f", 10);
        wanted = tree_of(fd, p.store);
        OK(workdir_make(p.work, "u1", p.store, &wanted, NULL, &r, e));
        OK(workdir_make(p.work, "u2", p.store, &wanted, NULL, &r, e));
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &r, e));
        wait_by_ctime(p.work, SETTLED_NS);
        (void)snapshot(&p, "j1");
        write_file(p.src, "d1/f1", 777);
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
        assert_int_equal(r.way, first == 0 ? WORKDIR_EXTRACTED : WORKDIR_TAKEN_OVER);
        (void)close(fd);
        free(unlike);
        place_free(&p);
    }
}

static struct tree_chunk
chunk(uint8_t name, uint32_t len)
{
    struct tree_chunk c = {.len = len};

    c.id.b[0] = name;
    return c;
}

static void
change__spans_are_compared_by_chunk_and_place(void **state)
{
    struct tree_chunk a[] = {chunk(1, 10), chunk(2, 10), chunk(3, 10)};
    struct tree_chunk b[] = {chunk(9, 7), chunk(2, 10), chunk(3, 10), chunk(4, 1)};
    struct change_span x = {a, 3, 10, 20};
    struct change_span y = {b, 4, 7, 20};

    (void)state;
    assert_true(change_same_span(&x, &y));
    x.len = y.len = 10;
    assert_true(change_same_span(&x, &y));
    x.at = 11;
    assert_false(change_same_span(&x, &y)); /* another place in the chunk */
    y.at = 8;
    assert_true(change_same_span(&x, &y));
    x.at = 9;
    y.at = 6;
    assert_false(change_same_span(&x, &y)); /* other chunks */
    x.len = 9;
    assert_false(change_same_span(&x, &y)); /* other lengths */
    x.len = y.len = 0;
    assert_true(change_same_span(&x, &y));
    x = (struct change_span){a, 3, 20, 11}; /* more than there is: never the same */
    y = x;
    assert_false(change_same_span(&x, &y));
}

/* Chunks of other names, though all else agrees; and a list that ends before the span. */
static void
change__spans_of_other_chunks_are_not_the_same(void **state)
{
    struct tree_chunk a[] = {chunk(1, 10), chunk(2, 10), chunk(3, 10)};
    struct tree_chunk b[] = {chunk(1, 10), chunk(2, 10), chunk(4, 10)};
    struct change_span x = {a, 3, 0, 20};
    struct change_span y = {b, 3, 0, 20};

    (void)state;
    assert_true(change_same_span(&x, &y));
    x.len = y.len = 21;
    assert_false(change_same_span(&x, &y));
    x.at = y.at = 20;
    x.len = y.len = 10;
    assert_false(change_same_span(&x, &y));
    y = (struct change_span){a, 2, 20, 10};
    x.len = 10;
    assert_false(change_same_span(&x, &y));
    assert_false(change_same_span(&y, &x));
}

/* One thing about an entry that may differ. */
static void
differ(struct tree_entry *t, int how)
{
    static const struct tree_xattr other_value[] = {{"user.a", (const uint8_t *)"xz", 2},
                                                    {"user.b", NULL, 0}};
    static const struct tree_xattr other_name[] = {{"user.c", (const uint8_t *)"xy", 2},
                                                   {"user.b", NULL, 0}};
    static const struct tree_xattr other_len[] = {{"user.a", (const uint8_t *)"xy", 1},
                                                  {"user.b", NULL, 0}};
    static const struct tree_extent other_at[] = {{0, 5}, {11, 5}};
    static const struct tree_extent other_end[] = {{0, 5}, {10, 6}};

    switch (how) {
    case 0:
        t->type = TREE_SYMLINK;
        break;
    case 1:
        t->damage = TREE_CHANGED;
        break;
    case 2:
        t->opaque = true;
        break;
    case 3:
        t->hard_link = true;
        break;
    case 4:
        t->mode++;
        break;
    case 5:
        t->uid++;
        break;
    case 6:
        t->gid++;
        break;
    case 7:
        t->user = "v";
        break;
    case 8:
        t->group = NULL;
        break;
    case 9:
        t->mtime_ns++;
        break;
    case 10:
        t->size++;
        break;
    case 11:
        t->stored++;
        break;
    case 12:
        t->target = "u";
        break;
    case 13:
        t->target_len++;
        break;
    case 14:
        t->dev_major++;
        break;
    case 15:
        t->dev_minor++;
        break;
    case 16:
        t->n_xattrs--;
        break;
    case 17:
        t->xattrs = other_value;
        break;
    case 18:
        t->xattrs = other_name;
        break;
    case 19:
        t->xattrs = other_len;
        break;
    case 20:
        t->sparse = false;
        break;
    case 21:
        t->n_extents--;
        break;
    case 22:
        t->extents = other_at;
        break;
    default:
        t->extents = other_end;
    }
}

static void
change__metadata_is_the_same_only_as_a_whole(void **state)
{
    /* what lies behind the last one is no part of it */
    static const struct tree_xattr xattrs[] = {
        {"user.a", (const uint8_t *)"xy", 2}, {"user.b", NULL, 0}, {"behind", NULL, 0}};
    static const struct tree_xattr copies[] = {{"user.a", (const uint8_t *)"xy", 2},
                                               {"user.b", (const uint8_t *)"", 0},
                                               {"beyond", NULL, 0}};
    static const struct tree_extent extents[] = {{0, 5}, {10, 5}, {20, 1}};
    static const struct tree_extent same[] = {{0, 5}, {10, 5}, {30, 2}};
    struct tree_entry a = {.path = "p",
                           .type = TREE_FILE,
                           .mode = 0644,
                           .user = "u",
                           .group = "g",
                           .target = "t",
                           .target_len = 1,
                           .size = 15,
                           .stored = 10,
                           .xattrs = xattrs,
                           .n_xattrs = 2,
                           .sparse = true,
                           .extents = extents,
                           .n_extents = 2};
    struct tree_entry b = a;

    (void)state;
    b.xattrs = copies;
    b.extents = same;
    assert_true(change_same_meta(&a, &b));
    a.user = b.user = NULL;
    assert_true(change_same_meta(&a, &b));
    a.user = b.user = "u";
    for (int how = 0; how < 24; how++) {
        b = a;
        differ(&b, how);
        if (change_same_meta(&a, &b) || change_same_meta(&b, &a)) {
            fail_msg("difference %d", how);
        }
    }
}

/* A file is changed in place as long as it stays a small or a big one. */
static void
change__files_that_become_big_or_small_are_made_anew(void **state)
{
    static const struct {
        size_t before;
        size_t after;
        uint64_t n_removed;
    } cases[] = {{TREE_BIG_FILE_BYTES - 1, TREE_BIG_FILE_BYTES - 1, 0},
                 {TREE_BIG_FILE_BYTES - 1, TREE_BIG_FILE_BYTES, 1},
                 {TREE_BIG_FILE_BYTES, TREE_BIG_FILE_BYTES - 1, 1},
                 {TREE_BIG_FILE_BYTES, TREE_BIG_FILE_BYTES, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct place p;
        struct workdir_report r;
        const char *candidates[] = {"j1"};
        struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
        struct sha256 wanted;
        struct sha256 got;

        rng_state = 5 + i;
        p = place_new();
        write_file(p.src, "d1/f1", cases[i].before);
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &r, e));
        wait_by_ctime(p.work, SETTLED_NS);
        (void)snapshot(&p, "j1");
        write_file(p.src, "d1/f1", cases[i].after);
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
        assert_int_equal(r.way, WORKDIR_TAKEN_OVER);
        assert_int_equal(r.n_removed, cases[i].n_removed);
        got = tree_at(&p, "j2");
        assert_same(&got, &wanted);
        place_free(&p);
    }
}

/* ---- big files ---- */

/* So many that they come in several groups of the tree. */
#define HUGE_CHUNKS ((size_t)1100)
#define SHORT_BYTES (CHUNKER_MIN_BYTES + 16 * 1024)

/* The same short chunk again and again. */
static uint8_t *
same_chunks(size_t n, size_t *len)
{
    uint8_t *piece = xmalloc(SHORT_BYTES);
    uint8_t *data;
    size_t piece_len;

    do {
        for (size_t i = 0; i < SHORT_BYTES; i++) {
            piece[i] = (uint8_t)rng(256);
        }
        piece_len = chunker_cut(piece, SHORT_BYTES);
    } while (piece_len == SHORT_BYTES);
    data = xmalloc(n * piece_len);
    for (size_t i = 0; i < n; i++) {
        memcpy(data + i * piece_len, piece, piece_len);
    }
    free(piece);
    *len = n * piece_len;
    return data;
}

struct piece {
    const void *data;
    size_t len;
};

static void
put_pieces(int dir_fd, const char *name, const struct piece *pieces, size_t n)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(fd_write_all(fd, pieces[i].data, pieces[i].len), 0);
    }
    assert_int_equal(fd_close(&fd), 0);
}

struct counted {
    struct tree_source store;
    pthread_mutex_t lock;
    uint64_t bytes;
};

static int
counted_get(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct counted *c = ctx;
    size_t before = out->len;
    int rc = c->store.get(c->store.ctx, id, out, e);

    (void)pthread_mutex_lock(&c->lock);
    c->bytes += out->len - before;
    (void)pthread_mutex_unlock(&c->lock);
    return rc;
}

/* Job j1's directory becomes that tree, by so many bytes of chunks. */
static struct change_report
change_counted(const struct place *p, const struct sha256 *tree, uint64_t *bytes)
{
    char *work = path_join(p->scratch, "work");
    char *scan = path_join(work, "j1.scan");
    char *next = path_join(work, "next.scan");
    struct counted counted = {.store = tree_source_store(p->store),
                              .lock = PTHREAD_MUTEX_INITIALIZER};
    struct tree_source source = {.ctx = &counted, .get = counted_get};
    struct change_options o = {.cache_path = next, .place_fd = p->work};
    struct change_report r = {0};
    struct scache *c = scache_open(scan);
    int fd = openat(p->work, "j1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = false;

    assert_true(fd >= 0);
    assert_non_null(c);
    OK(change_tree(fd, c, tree, &source, &o, &r, &done, e));
    assert_true(done);
    scache_close(c);
    (void)close(fd);
    free(work);
    free(scan);
    free(next);
    *bytes = counted.bytes;
    return r;
}

/* In turn: a byte replaced, some put in, cut short, made longer. */
static void
write_otherwise(int fd, int how, uint8_t *data, size_t len)
{
    static const char MORE[] = "0123456789abcdef";
    size_t at = len - len / 16;
    const struct piece pieces[4][3] = {
        {{data, len}},
        {{data, at},
         {MORE, sizeof MORE},
         {data + at, len - at}}, /* all behind it moves */
        {{data, len - 12345}},
        {{data, len}, {MORE, sizeof MORE}},
    };

    data[len / 3] ^= how == 0 ? 1 : 0;
    put_pieces(fd, "d2/huge", pieces[how], 3);
}

static void
change__of_a_big_file_only_what_moved_or_changed_is_written(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        int how = round < 4 ? round : round - 4; /* the first two, of many groups, too */
        size_t len;
        struct place p;
        struct workdir_report made;
        struct change_report r;
        struct sha256 wanted;
        struct sha256 got;
        struct stat before;
        struct stat after;
        uint64_t bytes;
        uint8_t *data;

        rng_state = 11;
        p = place_new();
        data = same_chunks(round < 4 ? 40 : HUGE_CHUNKS, &len);
        put_pieces(p.src, "d2/huge", &(struct piece){data, len}, 1);
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &made, e));
        wait_by_ctime(p.work, SETTLED_NS);
        (void)snapshot(&p, "j1");
        assert_int_equal(fstatat(p.work, "j1/d2/huge", &before, 0), 0);
        write_otherwise(p.src, how, data, len);
        wanted = tree_of(p.src, p.store);
        r = change_counted(&p, &wanted, &bytes);
        got = tree_at(&p, "j1");
        assert_same(&got, &wanted);
        assert_int_equal(fstatat(p.work, "j1/d2/huge", &after, 0), 0);
        assert_true(before.st_ino == after.st_ino);
        assert_int_equal(r.n_removed, 0);
        assert_true(bytes < len / 16 + ((uint64_t)4 << 20));
        free(data);
        place_free(&p);
    }
}

/* What the cache does not vouch for, and what cannot be opened to be written. */
static void
change__big_files_that_were_touched_are_made_anew(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct place p;
        struct workdir_report r;
        const char *candidates[] = {"j1"};
        struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
        struct sha256 wanted;
        struct sha256 got;
        int fd;

        rng_state = 5;
        p = place_new();
        if (how == 1) {
            assert_int_equal(fchmodat(p.src, "big", 0444, 0), 0);
        }
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j1", p.store, &wanted, NULL, &r, e));
        wait_by_ctime(p.work, SETTLED_NS);
        (void)snapshot(&p, "j1");
        if (how == 0) {
            fd = openat(p.work, "j1/big", O_WRONLY | O_CLOEXEC);
            assert_int_equal(pwrite(fd, "touched", 7, 700000), 7);
            (void)close(fd);
        }
        assert_int_equal(fchmodat(p.src, "big", 0644, 0), 0);
        fd = openat(p.src, "big", O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "other", 5, 100), 5);
        (void)close(fd);
        wanted = tree_of(p.src, p.store);
        OK(workdir_make(p.work, "j2", p.store, &wanted, &o, &r, e));
        assert_int_equal(r.way, WORKDIR_TAKEN_OVER);
        assert_int_equal(r.n_removed, 1);
        got = tree_at(&p, "j2");
        assert_same(&got, &wanted);
        place_free(&p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change__makes_the_new_tree_whatever_differs),
        cmocka_unit_test(change__touches_only_what_differs),
        cmocka_unit_test(change__half_of_a_directory_is_worth_it),
        cmocka_unit_test(change__an_unlike_directory_is_given_back),
        cmocka_unit_test(change__looks_at_two_candidates),
        cmocka_unit_test(change__spans_are_compared_by_chunk_and_place),
        cmocka_unit_test(change__spans_of_other_chunks_are_not_the_same),
        cmocka_unit_test(change__metadata_is_the_same_only_as_a_whole),
        cmocka_unit_test(change__files_that_become_big_or_small_are_made_anew),
        cmocka_unit_test(change__of_a_big_file_only_what_moved_or_changed_is_written),
        cmocka_unit_test(change__big_files_that_were_touched_are_made_anew),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
