#include "storage/extract.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage/scache.h"
#include "tests/unit/storage/tree_util.h"

/* Trees made by hand, so that it is known which chunk holds what; and what comes of them.
 */

static struct {
    int n;
    int fail_with;  /* errno; 0: none */
    bool all_there; /* when it was called */
} sync_calls;

/* In the C library's place. */
int
syncfs(int fd)
{
    sync_calls.n++;
    sync_calls.all_there = faccessat(fd, "d2/c", F_OK, 0) == 0;
    errno = sync_calls.fail_with;
    return sync_calls.fail_with == 0 ? 0 : -1;
}

#define PIECE 1000 /* bytes of each small file, a chunk each */

struct world {
    struct mem m;
    struct tree_writer *w;
    struct sha256 tree;
    struct tree_totals totals;
    atomic_size_t n_gets;  /* several threads count */
    atomic_size_t n_roots; /* of these, of the tree's root */
    char *top;
    char *dir;
    int fd;
    int next_dir;
};

static void
fresh_dir(struct world *w)
{
    if (w->fd != -1) {
        (void)close(w->fd);
        free(w->dir);
    }
    w->dir = xasprintf("%s/out%d", w->top, w->next_dir++);
    assert_int_equal(mkdir(w->dir, 0700), 0);
    w->fd = open_dir(w->dir);
}

static struct tree_entry
entry_of(const char *path, enum tree_type type, uint64_t size)
{
    return (struct tree_entry){.path = path,
                               .path_len = strlen(path),
                               .type = type,
                               .mode = type == TREE_DIR ? 0755 : 0644,
                               .user = "",
                               .group = "",
                               .mtime_ns = 1600000000 * (int64_t)1000000000,
                               .size = size,
                               .stored = type == TREE_FILE ? size : 0};
}

static void
link_to(struct tree_entry *entry, const char *target)
{
    entry->hard_link = true;
    entry->stored = 0;
    entry->target = target;
    entry->target_len = strlen(target);
}

/* Random bytes of that seed as a chunk. */
static struct tree_chunk
chunk_of(struct world *w, uint64_t seed, size_t len)
{
    uint8_t *data = xmalloc(len);
    struct tree_chunk c = {.len = (uint32_t)len};
    struct err e = {0};

    fill_random(data, len, seed);
    sha256_of(data, len, &c.id);
    assert_ok(mem_put(&w->m, STORE_KIND_DATA, &c.id, data, len, &e));
    free(data);
    return c;
}

/*
 * "", a/, a/0 (empty), a/1, a/2, a/3 (one chunk each, in one group), d1/, d1/c, d2/,
 * d2/c, lost (could not be read) and lost2 (a second name of it), pipe, dev and disk
 * (devices), z (a second name of a/2).
 */
static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct tree_sink sink;
    struct tree_entry first[] = {
        entry_of("", TREE_DIR, 0),         entry_of("a", TREE_DIR, 0),
        entry_of("a/0", TREE_FILE, 0),     entry_of("a/1", TREE_FILE, PIECE),
        entry_of("a/2", TREE_FILE, PIECE), entry_of("a/3", TREE_FILE, PIECE)};
    struct tree_entry second[] = {
        entry_of("d1", TREE_DIR, 0),     entry_of("d1/c", TREE_FILE, PIECE),
        entry_of("d2", TREE_DIR, 0),     entry_of("d2/c", TREE_FILE, PIECE),
        entry_of("dev", TREE_CHAR, 0),   entry_of("disk", TREE_BLOCK, 0),
        entry_of("lost", TREE_FILE, 50), entry_of("lost2", TREE_FILE, 50),
        entry_of("pipe", TREE_FIFO, 0),  entry_of("z", TREE_FILE, PIECE)};
    struct tree_chunk chunks[5];
    struct tree_group g = {.entries = first, .n_entries = 6, .chunks = chunks};
    struct err e = {0};

    w->fd = -1;
    w->top = scratch_dir();
    mem_init(&w->m);
    sink = mem_sink(&w->m);
    for (uint64_t i = 0; i < 5; i++) {
        chunks[i] = chunk_of(w, i + 1, PIECE);
    }
    second[4].dev_major = 1;
    second[4].dev_minor = 3;
    second[5].dev_major = 7;
    second[5].dev_minor = 5;
    second[6].damage = TREE_UNREADABLE;
    second[6].stored = 0;
    link_to(&second[7], "lost");
    link_to(&second[9], "a/2");
    w->w = tree_writer_new(&sink);
    g.n_chunks = 3;
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    g.entries = second;
    g.n_entries = 10;
    g.chunks = chunks + 3;
    g.n_chunks = 2;
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    assert_ok(tree_writer_finish(w->w, &w->tree, &w->totals, &e));
    tree_writer_free(w->w);
    memset(&sync_calls, 0, sizeof sync_calls);
    fresh_dir(w);
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    (void)close(w->fd);
    mem_free(&w->m);
    scratch_free(w->top);
    free(w->dir);
    free(w);
    return 0;
}

static int
counting_get(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct world *w = ctx;

    w->n_gets++;
    w->n_roots += sha256_equal(id, &w->tree) ? 1 : 0;
    return mem_get(&w->m, id, out, e);
}

static int
extract(struct world *w, const struct extract_options *o, struct extract_report *r,
        struct err *e)
{
    struct tree_source from = {.ctx = w, .get = counting_get};

    w->n_gets = 0;
    w->n_roots = 0;
    return extract_tree(w->fd, &w->tree, &from, o, r, e);
}

/* Is the file what chunk number seed holds? */
static bool
holds(const struct world *w, const char *name, uint64_t seed)
{
    uint8_t want[PIECE];
    struct buf b = BUF_INIT;
    struct err e = {0};
    bool same;

    fill_random(want, sizeof want, seed);
    same = file_read_at(w->fd, name, 1 << 20, &b, &e) == 0 && b.len == sizeof want &&
           memcmp(b.data, want, sizeof want) == 0;
    buf_free(&b);
    return same;
}

static bool
is_there(const struct world *w, const char *name)
{
    return faccessat(w->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool
is_empty(const struct world *w)
{
    return rmdir(w->dir) == 0 && mkdir(w->dir, 0700) == 0;
}

static void
extract__makes_all_and_counts_it(void **state)
{
    struct world *w = *state;
    const struct extract_options o = {.fresh = true, .n_threads = 1};
    struct extract_report r = {0};
    struct stat a;
    struct stat z;
    struct err e = {0};

    assert_ok(extract(w, &o, &r, &e));
    assert_true(holds(w, "a/1", 1) && holds(w, "a/2", 2) && holds(w, "a/3", 3));
    assert_true(holds(w, "d1/c", 4) && holds(w, "d2/c", 5) && holds(w, "z", 2));
    assert_int_equal(fstatat(w->fd, "a/2", &a, 0), 0);
    assert_int_equal(fstatat(w->fd, "z", &z, 0), 0);
    assert_true(a.st_ino == z.st_ino && a.st_nlink == 2);
    assert_int_equal(fstatat(w->fd, "pipe", &a, 0), 0);
    assert_true(S_ISFIFO(a.st_mode));
    assert_false(is_there(w, "dev") || is_there(w, "disk") || is_there(w, "lost") ||
                 is_there(w, "lost2"));
    assert_int_equal(r.totals.n_entries, w->totals.n_entries - 4);
    assert_int_equal(r.totals.stored, 5 * PIECE);
    assert_int_equal(r.n_skipped_devices, 2);
    assert_int_equal(r.n_skipped_damaged, 2); /* by both its names */
    assert_int_equal(w->n_roots, 1);          /* the tree is read once */
    assert_int_equal(w->n_gets, 2 + 5);
    assert_int_equal(sync_calls.n, 0);
}

static void
extract__exact_makes_devices_too(void **state)
{
    struct world *w = *state;
    const struct extract_options o = {.fresh = true, .exact = true};
    struct extract_report r = {0};
    struct stat st;
    struct err e = {0};

    if (geteuid() != 0) {
        return;
    }
    assert_ok(extract(w, &o, &r, &e));
    assert_int_equal(fstatat(w->fd, "dev", &st, 0), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
    assert_int_equal(fstatat(w->fd, "disk", &st, 0), 0);
    assert_true(S_ISBLK(st.st_mode) && st.st_rdev == makedev(7, 5));
    assert_int_equal(r.n_skipped_devices, 0);
}

static void
durable__is_synced_when_all_is_there(void **state)
{
    struct world *w = *state;
    const struct extract_options o = {.fresh = true, .durable = true};
    struct extract_report r = {0};
    struct err e = {0};

    assert_ok(extract(w, &o, &r, &e));
    assert_int_equal(sync_calls.n, 1);
    assert_true(sync_calls.all_there);
    fresh_dir(w);
    sync_calls.fail_with = EIO;
    assert_refused(extract(w, &o, &r, &e), ERR_SYSTEM);
    assert_int_equal(sync_calls.n, 2);
}

static void
limits__are_met_to_the_last_one(void **state)
{
    struct world *w = *state;
    struct extract_options o = {.fresh = true};
    struct extract_report r = {0};
    struct err e = {0};

    o.max_entries = w->totals.n_entries;
    o.max_bytes = w->totals.stored;
    assert_ok(extract(w, &o, &r, &e));
    fresh_dir(w);
    o.max_entries--;
    assert_refused(extract(w, &o, &r, &e), ERR_SPACE);
    assert_true(is_empty(w)); /* before anything is made */
    fresh_dir(w);
    o.max_entries++;
    o.max_bytes--;
    assert_refused(extract(w, &o, &r, &e), ERR_SPACE);
    assert_true(is_empty(w));
    fresh_dir(w);
    /* of a part: what it has itself */
    o.only = "a";
    o.max_entries = 5;
    o.max_bytes = 3 * PIECE;
    assert_ok(extract(w, &o, &r, &e));
    fresh_dir(w);
    o.max_entries = 4;
    assert_refused(extract(w, &o, &r, &e), ERR_SPACE);
    fresh_dir(w);
    o.max_entries = 0;
    o.max_bytes--;
    assert_refused(extract(w, &o, &r, &e), ERR_SPACE);
}

/* The cache knows every entry of the tree, and nothing of a part is cached. */
static void
cache__holds_all_that_was_made(void **state)
{
    struct world *w = *state;
    char *path = path_join(w->top, "cache");
    struct extract_options o = {.fresh = true, .cache_path = path};
    struct extract_report r = {0};
    struct scache_group g;
    struct scache *c;
    struct sha256 tree;
    struct err e = {0};
    bool damaged = false;
    uint64_t n = 0;

    assert_ok(extract(w, &o, &r, &e));
    c = scache_open(path);
    assert_non_null(c);
    scache_tree(c, &tree);
    assert_memory_equal(&tree, &w->tree, sizeof tree);
    while (scache_next(c, &g, &damaged)) {
        for (size_t i = 0; i < g.n_entries; i++, n++) {
            bool made =
                is_there(w, g.entries[i].path[0] == '\0' ? "." : g.entries[i].path);

            assert_int_equal(g.marks[i].ino != 0, made);
        }
    }
    assert_false(damaged);
    assert_int_equal(n, w->totals.n_entries);
    assert_int_equal(scache_n_entries(c), n);
    scache_close(c);
    assert_int_equal(unlink(path), 0);
    fresh_dir(w);
    o.only = "a";
    assert_ok(extract(w, &o, &r, &e));
    assert_null(scache_open(path));
    free(path);
}

/* ---- a part ---- */

static void
only__fetches_no_more_than_it_needs(void **state)
{
    struct world *w = *state;
    struct extract_options o = {.fresh = true, .n_threads = 1};
    struct extract_report r = {0};
    struct err e = {0};

    for (uint64_t i = 1; i <= 3; i++) {
        char path[8];
        char name[8];

        (void)snprintf(path, sizeof path, "a/%d", (int)i);
        (void)snprintf(name, sizeof name, "%d", (int)i);
        o.only = path;
        assert_ok(extract(w, &o, &r, &e));
        assert_true(holds(w, name, i));
        assert_int_equal(w->n_gets, 2 + 1);
        assert_int_equal(w->n_roots, 1);
        assert_int_equal(r.totals.n_entries, 1);
    }
    assert_false(is_there(w, "a") || is_there(w, "d1"));
    o.only = "a/0"; /* an empty file before the first: no chunk is its */
    assert_ok(extract(w, &o, &r, &e));
    assert_true(is_there(w, "0"));
    assert_int_equal(w->n_gets, 2);
    o.only = "d2";
    assert_ok(extract(w, &o, &r, &e));
    assert_true(holds(w, "d2/c", 5));
    assert_int_equal(w->n_gets, 2 + 1);
    assert_false(is_there(w, "d1"));
}

static void
only__gets_a_file_known_by_a_name_outside(void **state)
{
    struct world *w = *state;
    const struct extract_options o = {.fresh = true, .only = "z"};
    struct extract_report r = {0};
    struct err e = {0};

    assert_ok(extract(w, &o, &r, &e));
    assert_true(holds(w, "z", 2));
    assert_false(is_there(w, "a"));
    assert_int_equal(w->n_roots, 2);
}

static void
only__is_a_path_that_is_in_it(void **state)
{
    struct world *w = *state;
    static const char *const none[] = {"b", "a/4", "a/1/x", "d"};
    static const char *const wrong[] = {"", "/a", "a/", "../a"};
    struct extract_options o = {.fresh = true};
    struct extract_report r = {0};
    struct err e = {0};

    for (size_t i = 0; i < 4; i++) {
        o.only = none[i];
        assert_refused(extract(w, &o, &r, &e), ERR_NOT_FOUND);
        o.only = wrong[i];
        assert_refused(extract(w, &o, &r, &e), ERR_INVALID);
    }
    assert_true(is_empty(w));
    fresh_dir(w);
}

/* ---- what is there already ---- */

struct asked {
    char paths[256];
    const char *refuse;
};

static int
may_replace(void *ctx, const char *path, struct err *e)
{
    struct asked *a = ctx;
    size_t used = strlen(a->paths);

    (void)snprintf(a->paths + used, sizeof a->paths - used, "%s ", path);
    return a->refuse != NULL && strcmp(a->refuse, path) == 0
               ? err_set(e, ERR_DENIED, "not that one")
               : 0;
}

static void
present__is_not_touched_unless_it_may_be(void **state)
{
    struct world *w = *state;
    struct asked asked = {.paths = ""};
    struct extract_options o = {.only = "a"};
    struct extract_report r = {0};
    struct err e = {0};

    put_text(w->dir, "a/2", "mine");
    put_text(w->dir, "a/other", "mine too");
    assert_refused(extract(w, &o, &r, &e), ERR_EXISTS);
    assert_false(is_there(w, "a/1")); /* asked before anything is made */
    o.overwrite = true;
    o.may_replace = may_replace;
    o.may_replace_ctx = &asked;
    asked.refuse = "a/2";
    assert_refused(extract(w, &o, &r, &e), ERR_DENIED);
    assert_false(is_there(w, "a/1") || holds(w, "a/2", 2));
    asked.refuse = NULL;
    asked.paths[0] = '\0';
    assert_ok(extract(w, &o, &r, &e));
    assert_string_equal(asked.paths, "a/2 ");
    assert_true(holds(w, "a/1", 1) && holds(w, "a/2", 2) && is_there(w, "a/other"));
    o.may_replace = NULL;
    assert_ok(extract(w, &o, &r, &e)); /* over its own, without asking */
    assert_true(holds(w, "a/2", 2));
}

static void
present__of_another_kind_is_replaced_only_by_what_is_no_loss(void **state)
{
    struct world *w = *state;
    struct extract_options o = {.only = "a", .overwrite = true};
    struct extract_report r = {0};
    struct stat st;
    struct err e = {0};

    put_text(w->dir, "a", "a file where a directory is to be");
    assert_ok(extract(w, &o, &r, &e));
    assert_true(holds(w, "a/1", 1));
    o.only = "z";
    assert_int_equal(mkdirat(w->fd, "z", 0700), 0);
    assert_refused(extract(w, &o, &r, &e), ERR_EXISTS);
    assert_int_equal(fstatat(w->fd, "z", &st, 0), 0);
    assert_true(S_ISDIR(st.st_mode));
    fresh_dir(w); /* what is fresh holds nothing, by its maker's word */
    o = (struct extract_options){.only = "a", .fresh = true};
    assert_int_equal(mkdirat(w->fd, "a", 0700), 0);
    assert_refused(extract(w, &o, &r, &e), ERR_EXISTS);
}

static void
present__links_lead_nowhere(void **state)
{
    struct world *w = *state;
    char *outside = path_join(w->top, "outside");
    char *inside = path_join(w->dir, "d1");
    const struct extract_options o = {.only = "d1", .overwrite = true};
    const struct extract_options a = {.overwrite = true};
    struct extract_report r = {0};
    struct err e = {0};
    char *victim = path_join(outside, "c");

    assert_int_equal(mkdir(outside, 0755), 0);
    assert_int_equal(symlink(outside, inside), 0);
    assert_ok(extract(w, &o, &r, &e)); /* the link itself is replaced */
    assert_false(file_exists(victim));
    assert_true(holds(w, "d1/c", 4));
    assert_ok(extract(w, &a, &r, &e));
    assert_true(holds(w, "d2/c", 5));
    free(victim);
    free(outside);
    free(inside);
}

/* ---- what comes is not what was said ---- */

static void
chunk__of_another_length_is_refused(void **state)
{
    struct world *w = *state;
    struct extract_options o = {.fresh = true, .only = "d1/c"};
    struct extract_report r = {0};
    struct tree_chunk c = chunk_of(w, 4, PIECE);
    struct mem_chunk *m = mem_find(&w->m, &c.id);
    struct err e = {0};

    m->len--;
    assert_refused(extract(w, &o, &r, &e), ERR_CORRUPT);
    m->data = xrealloc(m->data, PIECE + 1);
    m->len = PIECE + 1;
    fresh_dir(w);
    assert_refused(extract(w, &o, &r, &e), ERR_CORRUPT);
    m->len = PIECE;
    fresh_dir(w);
    assert_ok(extract(w, &o, &r, &e));
}

/* ---- big ones ---- */

/* A sparse file of many chunks, whose borders are not those of its pieces of data. */
static void
big__comes_together_from_many_hands(void **state)
{
    enum { N = 100, LEN = 3000 };
    struct world *w = *state;
    static const struct tree_extent pieces[] = {
        {0, 1}, {5000, 2999}, {100000, LEN * (N - 2) + 1}, {1000000, 2999}};
    struct tree_sink sink = mem_sink(&w->m);
    struct tree_entry entries[] = {entry_of("", TREE_DIR, 0),
                                   entry_of("big", TREE_FILE, 1 << 20)};
    struct tree_chunk chunks[N];
    struct tree_group g = {.entries = entries, .n_entries = 1};
    uint8_t *want = xcalloc(1, 1 << 20);
    uint8_t *all = xmalloc((size_t)N * LEN);
    struct extract_report r = {0};
    struct buf got = BUF_INIT;
    struct err e = {0};
    size_t at = 0;

    for (uint64_t i = 0; i < N; i++) {
        chunks[i] = chunk_of(w, 100 + i, LEN);
        fill_random(all + i * LEN, LEN, 100 + i);
    }
    for (size_t i = 0; i < 4; i++) {
        memcpy(want + pieces[i].at, all + at, pieces[i].len);
        at += pieces[i].len;
    }
    assert_int_equal(at, N * LEN);
    entries[1].sparse = true;
    entries[1].stored = (uint64_t)N * LEN;
    entries[1].extents = pieces;
    entries[1].n_extents = 4;
    w->w = tree_writer_new(&sink);
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    g = (struct tree_group){
        .entries = &entries[1], .n_entries = 1, .chunks = chunks, .n_chunks = N};
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    assert_ok(tree_writer_finish(w->w, &w->tree, &w->totals, &e));
    tree_writer_free(w->w);
    for (unsigned n = 1; n <= 4; n += 3) {
        struct extract_options o = {.fresh = n == 1, .n_threads = n};

        assert_ok(extract(w, &o, &r, &e));
        buf_reset(&got);
        assert_ok(file_read_at(w->fd, "big", 2 << 20, &got, &e));
        assert_int_equal(got.len, 1 << 20);
        assert_memory_equal(got.data, want, 1 << 20);
        fresh_dir(w);
    }
    buf_free(&got);
    free(all);
    free(want);
}

/* Given up while parts of a big file wait to be written: no half of it is left. */
static void
big__that_is_given_up_leaves_nothing(void **state)
{
    enum { N = 100, LEN = 3000 };
    struct world *w = *state;
    struct tree_sink sink = mem_sink(&w->m);
    struct tree_entry entries[] = {entry_of("", TREE_DIR, 0), entry_of("d", TREE_DIR, 0),
                                   entry_of("d/big", TREE_FILE, N * LEN),
                                   entry_of("d/small", TREE_FILE, PIECE)};
    struct tree_chunk chunks[N + 1];
    struct tree_group g = {.entries = entries, .n_entries = 2};
    struct extract_options o = {.only = "d", .max_bytes = N * LEN, .n_threads = 1};
    struct extract_report r = {0};
    struct err e = {0};

    for (uint64_t i = 0; i < N; i++) {
        chunks[i] = chunk_of(w, 100 + i, LEN);
    }
    chunks[N] = chunk_of(w, 1, PIECE);
    w->w = tree_writer_new(&sink);
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    g = (struct tree_group){
        .entries = &entries[2], .n_entries = 1, .chunks = chunks, .n_chunks = N};
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    g = (struct tree_group){
        .entries = &entries[3], .n_entries = 1, .chunks = &chunks[N], .n_chunks = 1};
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    assert_ok(tree_writer_finish(w->w, &w->tree, &w->totals, &e));
    tree_writer_free(w->w);
    assert_refused(extract(w, &o, &r, &e), ERR_SPACE);
    assert_int_equal(unlinkat(w->fd, "d", AT_REMOVEDIR), 0); /* it is empty */
    mem_find(&w->m, &chunks[N - 1].id)->len--;
    o.max_bytes = 0;
    assert_refused(extract(w, &o, &r, &e), ERR_CORRUPT);
    (void)unlinkat(w->fd, "d/small", 0);
    assert_int_equal(unlinkat(w->fd, "d", AT_REMOVEDIR), 0);
}

/* Many of them wait to be written, but few of them are open meanwhile. */
static void
big__ones_are_open_only_while_they_are_made(void **state)
{
    enum { N = 300, MAY_BE_OPEN = 150 };
    struct world *w = *state;
    struct tree_sink sink = mem_sink(&w->m);
    struct tree_entry top = entry_of("", TREE_DIR, 0);
    struct tree_chunk chunk = chunk_of(w, 1, TREE_BIG_FILE_BYTES);
    struct tree_group g = {.entries = &top, .n_entries = 1};
    struct rlimit was;
    struct rlimit now;
    struct err e = {0};

    w->w = tree_writer_new(&sink);
    assert_ok(tree_writer_add(w->w, &g, NULL, &e));
    for (int i = 0; i < N; i++) {
        char *path = xasprintf("f%03d", i);
        struct tree_entry entry = entry_of(path, TREE_FILE, TREE_BIG_FILE_BYTES);

        g = (struct tree_group){
            .entries = &entry, .n_entries = 1, .chunks = &chunk, .n_chunks = 1};
        assert_ok(tree_writer_add(w->w, &g, NULL, &e));
        free(path);
    }
    assert_ok(tree_writer_finish(w->w, &w->tree, &w->totals, &e));
    tree_writer_free(w->w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = was;
    now.rlim_cur = MAY_BE_OPEN;
    for (unsigned n = 1; n <= 4; n += 3) {
        const struct extract_options o = {.fresh = true, .n_threads = n};
        struct extract_report r = {0};

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        assert_ok(extract(w, &o, &r, &e));
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
        assert_int_equal(r.totals.n_files, N);
        fresh_dir(w);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(extract__makes_all_and_counts_it),
        T(extract__exact_makes_devices_too),
        T(durable__is_synced_when_all_is_there),
        T(limits__are_met_to_the_last_one),
        T(cache__holds_all_that_was_made),
        T(only__fetches_no_more_than_it_needs),
        T(only__gets_a_file_known_by_a_name_outside),
        T(only__is_a_path_that_is_in_it),
        T(present__is_not_touched_unless_it_may_be),
        T(present__of_another_kind_is_replaced_only_by_what_is_no_loss),
        T(present__links_lead_nowhere),
        T(chunk__of_another_length_is_refused),
        T(big__comes_together_from_many_hands),
        T(big__that_is_given_up_leaves_nothing),
        T(big__ones_are_open_only_while_they_are_made),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
