#include "storage/tree.h"
#include "tests/unit/storage/tree_util.h"

/* ---- whole trees ---- */

#define N_FILES 3000

/* The groups of write_tree as they form. */
struct forming {
    struct tree_writer *w;
    struct tree_entry entries[40];
    char paths[40][64];
    size_t n;
    uint32_t stored;
};

static void
form_entry(struct forming *f, const char *path, enum tree_type type, int i)
{
    struct tree_entry *entry = &f->entries[f->n];

    (void)snprintf(f->paths[f->n], sizeof f->paths[0], "%s", path);
    memset(entry, 0, sizeof *entry);
    entry->path = f->paths[f->n];
    entry->path_len = strlen(path);
    entry->type = type;
    entry->mode = type == TREE_DIR ? 0755 : 0644;
    entry->user = entry->group = "u";
    entry->mtime_ns = 1700000000000000000 + (int64_t)i * 12345678901;
    entry->size = entry->stored = type == TREE_DIR ? 0 : 10;
    f->stored += (uint32_t)entry->stored;
    f->n++;
}

static void
form_group(struct forming *f, int i)
{
    struct tree_chunk chunk = {.len = f->stored};
    struct tree_group g = {
        .entries = f->entries, .n_entries = f->n, .chunks = &chunk, .n_chunks = 1};
    struct err e = {0};

    memcpy(&chunk.id, &i, sizeof i);
    assert_ok(tree_writer_add(f->w, &g, NULL, &e));
    f->n = 0;
    f->stored = 0;
}

/* Directories of 100 files, 30 files a group; skip leaves one file out (-1: none). */
static struct sha256
write_tree(struct mem *m, int skip, struct tree_totals *totals)
{
    struct tree_sink sink = mem_sink(m);
    struct forming f = {.w = tree_writer_new(&sink)};
    struct sha256 id;
    struct err e = {0};
    char path[64];

    form_entry(&f, "", TREE_DIR, 0);
    for (int i = 0; i < N_FILES; i++) {
        if (i % 100 == 0) {
            (void)snprintf(path, sizeof path, "dir%03d", i / 100);
            form_entry(&f, path, TREE_DIR, i);
        }
        (void)snprintf(path, sizeof path, "dir%03d/f%05d", i / 100, i);
        if (i != skip) {
            form_entry(&f, path, TREE_FILE, i);
        }
        if (i % 30 == 29) {
            form_group(&f, i);
        }
    }
    assert_ok(tree_writer_finish(f.w, &id, totals, &e));
    tree_writer_free(f.w);
    return id;
}

static void
tree__is_read_as_it_was_written(void **state)
{
    struct mem m;
    struct tree_totals totals;
    struct tree_source from = mem_source(&m);
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    struct sha256 id;
    struct err e = {0};
    size_t n = 0;
    size_t n_meta;

    (void)state;
    mem_init(&m);
    id = write_tree(&m, -1, &totals);
    assert_int_equal(totals.n_entries, N_FILES + N_FILES / 100 + 1);
    assert_int_equal(totals.n_files, N_FILES);
    assert_int_equal(totals.stored, N_FILES * 10);
    assert_ok(tree_open(&r, &id, &from, &e));
    assert_memory_equal(tree_totals(r), &totals, sizeof totals);
    (void)tree_meta_chunks(r, &n_meta);
    assert_int_equal(n_meta + 1, m.n);
    for (;;) {
        assert_ok(tree_next(r, &g, &e));
        if (g == NULL) {
            break;
        }
        n += g->n_entries;
    }
    assert_int_equal(n, totals.n_entries);
    tree_close(r);
    mem_free(&m);
}

/* The writer's owner tries again with less. */
static void
tree__counts_no_group_that_was_refused(void **state)
{
    uint8_t *value = xcalloc(1, TREE_XATTR_VALUE_MAX);
    struct tree_xattr *x = xcalloc(TREE_XATTRS_MAX, sizeof *x);
    struct tree_entry root = {
        .path = "", .type = TREE_DIR, .user = "", .group = "", .xattrs = x};
    const struct tree_group g = {.entries = &root, .n_entries = 1};
    struct mem m;
    struct tree_sink sink = mem_sink(&m);
    struct tree_source from = mem_source(&m);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_reader *r = NULL;
    const struct tree_group *got;
    struct tree_totals totals;
    struct sha256 id;
    struct err e = {0};

    (void)state;
    mem_init(&m);
    root.n_xattrs = TREE_GROUP_MAX_BYTES / TREE_XATTR_VALUE_MAX;
    for (size_t i = 0; i < root.n_xattrs; i++) {
        x[i] = (struct tree_xattr){"user.x", value, TREE_XATTR_VALUE_MAX};
    }
    assert_int_equal(tree_writer_add(w, &g, NULL, &e), -1);
    assert_int_equal(e.code, ERR_RANGE);
    root.n_xattrs = 0;
    assert_ok(tree_writer_add(w, &g, NULL, &e));
    assert_ok(tree_writer_finish(w, &id, &totals, &e));
    assert_int_equal(totals.n_entries, 1);
    assert_ok(tree_open(&r, &id, &from, &e));
    assert_ok(tree_next(r, &got, &e));
    assert_int_equal(got->n_entries, 1);
    assert_ok(tree_next(r, &got, &e));
    assert_null(got);
    tree_close(r);
    tree_writer_free(w);
    mem_free(&m);
    free(x);
    free(value);
}

static void
tree__that_is_equal_has_the_same_id_and_a_changed_one_shares_most_chunks(void **state)
{
    struct mem m;
    struct sha256 a;
    struct sha256 b;
    struct sha256 c;
    size_t n_one;

    (void)state;
    mem_init(&m);
    a = write_tree(&m, -1, NULL);
    n_one = m.n;
    b = write_tree(&m, -1, NULL);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(m.n, n_one);
    c = write_tree(&m, 1500, NULL);
    assert_memory_not_equal(&a, &c, sizeof a);
    assert_true(m.n <= n_one + 3); /* a chunk or two, and the root */
    mem_free(&m);
}

struct walked {
    size_t n_meta;
    size_t n_data;
    struct sha256 first;
};

static int
count_chunk(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    struct walked *w = ctx;

    (void)e;
    if (w->n_meta == 0) {
        w->first = c->id;
    }
    w->n_meta += kind == STORE_KIND_META;
    w->n_data += kind == STORE_KIND_DATA;
    return 0;
}

static void
walk__names_every_chunk(void **state)
{
    struct mem m;
    struct tree_source from = mem_source(&m);
    struct walked w = {0};
    struct sha256 id;
    struct err e = {0};

    (void)state;
    mem_init(&m);
    id = write_tree(&m, -1, NULL);
    assert_ok(tree_walk_chunks(&id, &from, count_chunk, &w, &e));
    assert_int_equal(w.n_meta, m.n);
    assert_int_equal(w.n_data, N_FILES / 30);
    assert_memory_equal(&w.first, &id, sizeof id);
    mem_free(&m);
}

/* A file of many chunks is split where its chunks say so, and comes back whole. */
static void
tree__splits_a_long_file(void **state)
{
    enum { N = 9000 };
    struct tree_chunk *chunks = xcalloc(N, sizeof *chunks);
    struct tree_entry root = {.path = "", .type = TREE_DIR, .user = "", .group = ""};
    struct tree_entry big = {
        .path = "big", .path_len = 3, .type = TREE_FILE, .user = "", .group = ""};
    struct tree_group first = {.entries = &root, .n_entries = 1};
    struct tree_group g = {
        .entries = &big, .n_entries = 1, .chunks = chunks, .n_chunks = N};
    struct mem m;
    struct tree_source from = mem_source(&m);
    struct tree_sink sink = mem_sink(&m);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_reader *r = NULL;
    const struct tree_group *got;
    struct sha256 id;
    struct err e = {0};
    size_t at = 0;
    size_t n_groups = 0;

    (void)state;
    mem_init(&m);
    for (uint32_t i = 0; i < N; i++) {
        sha256_of(&i, sizeof i, &chunks[i].id);
        chunks[i].len = 1000 + i;
        big.size += chunks[i].len;
    }
    big.stored = big.size;
    assert_ok(tree_writer_add(w, &first, NULL, &e));
    assert_ok(tree_writer_add(w, &g, NULL, &e));
    assert_ok(tree_writer_finish(w, &id, NULL, &e));
    assert_ok(tree_open(&r, &id, &from, &e));
    for (;;) {
        assert_ok(tree_next(r, &got, &e));
        if (got == NULL) {
            break;
        }
        assert_int_equal(got->continues, n_groups > 1);
        assert_int_equal(got->n_entries, n_groups < 2);
        for (size_t i = 0; i < got->n_chunks; i++) {
            assert_memory_equal(&got->chunks[i], &chunks[at++], sizeof chunks[0]);
        }
        n_groups++;
    }
    assert_int_equal(at, N);
    assert_true(n_groups > 5 && n_groups < 100);
    tree_close(r);
    tree_writer_free(w);
    mem_free(&m);
    free(chunks);
}

/* ---- trees that lie, group by group ---- */

struct stream {
    struct buf b;
    size_t at;
};

static int
read_stream(void *ctx, void *to, size_t n, size_t *got, struct err *e)
{
    struct stream *s = ctx;
    size_t left = s->b.len - s->at;

    (void)e;
    *got = n < left ? n : left;
    if (*got > 0) {
        memcpy(to, s->b.data + s->at, *got);
    }
    s->at += *got;
    return 0;
}

struct part {
    const char *path; /* NULL: no entry (continues) */
    enum tree_type type;
    uint32_t stored;
    uint32_t chunk; /* length of its one chunk; 0: none */
    bool continues;
    bool more;
};

static void
add_part(struct stream *s, const struct part *p)
{
    struct tree_entry entry = {.path = p->path,
                               .type = p->type,
                               .size = p->stored,
                               .stored = p->stored,
                               .target = "x",
                               .target_len = 1,
                               .user = "",
                               .group = ""};
    struct tree_chunk chunk = {.len = p->chunk};
    struct tree_group g = {.entries = &entry,
                           .n_entries = p->path != NULL,
                           .chunks = &chunk,
                           .n_chunks = p->chunk > 0,
                           .continues = p->continues,
                           .more = p->more};
    struct buf b = BUF_INIT;

    entry.path_len = p->path != NULL ? strlen(p->path) : 0;
    tree_group_encode(&g, &b);
    buf_add_varint(&s->b, b.len);
    buf_add(&s->b, b.data, b.len);
    buf_free(&b);
}

#define PARTS_MAX 5

static void
reader__refuses_groups_that_do_not_fit_together(void **state)
{
    static const struct {
        const char *what;
        struct part parts[PARTS_MAX];
        size_t n;
        bool good;
    } cases[] = {
        {"a small tree",
         {{"", TREE_DIR, 0, 0, 0, 0}, {"a", TREE_FILE, 5, 5, 0, 0}},
         2,
         1},
        {"deeper ones",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_DIR, 0, 0, 0, 0},
          {"a/b", TREE_DIR, 0, 0, 0, 0},
          {"a/b/c", TREE_FILE, 0, 0, 0, 0},
          {"a/d", TREE_FILE, 0, 0, 0, 0}},
         5,
         1},
        {"a file in parts",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 9, 4, 0, 1},
          {NULL, TREE_NONE, 0, 3, 1, 1},
          {NULL, TREE_NONE, 0, 2, 1, 0}},
         4,
         1},
        {"nothing", {{"", TREE_DIR, 0, 0, 0, 0}}, 0, 0},
        {"no root", {{"a", TREE_DIR, 0, 0, 0, 0}}, 1, 0},
        {"a root that is a file", {{"", TREE_FILE, 0, 0, 0, 0}}, 1, 0},
        {"two roots", {{"", TREE_DIR, 0, 0, 0, 0}, {"", TREE_DIR, 0, 0, 0, 0}}, 2, 0},
        {"the wrong order",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"b", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_DIR, 0, 0, 0, 0}},
         3,
         0},
        {"a name twice",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_SYMLINK, 0, 0, 0, 0},
          {"a", TREE_FILE, 0, 0, 0, 0}},
         3,
         0},
        {"no parent", {{"", TREE_DIR, 0, 0, 0, 0}, {"a/b", TREE_FILE, 0, 0, 0, 0}}, 2, 0},
        {"a parent that is a link",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_SYMLINK, 0, 0, 0, 0},
          {"a/b", TREE_FILE, 0, 0, 0, 0}},
         3,
         0},
        {"a parent that is a file",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 0, 0, 0, 0},
          {"a/b", TREE_FILE, 0, 0, 0, 0}},
         3,
         0},
        {"a parent that is another",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_DIR, 0, 0, 0, 0},
          {"a/b", TREE_FILE, 0, 0, 0, 0},
          {"a/c/d", TREE_FILE, 0, 0, 0, 0}},
         4,
         0},
        {"a parent of the same length as a directory",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_DIR, 0, 0, 0, 0},
          {"b/x", TREE_FILE, 0, 0, 0, 0}},
         3,
         0},
        {"a parent of the same length as one before",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_DIR, 0, 0, 0, 0},
          {"a/b", TREE_FILE, 0, 0, 0, 0},
          {"b/x", TREE_FILE, 0, 0, 0, 0}},
         4,
         0},
        {"a parent that is the beginning of a name",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"ab", TREE_DIR, 0, 0, 0, 0},
          {"ab/c", TREE_FILE, 0, 0, 0, 0},
          {"ab/c/d", TREE_FILE, 0, 0, 0, 0}},
         4,
         0},
        {"a part of nothing",
         {{"", TREE_DIR, 0, 0, 0, 0}, {NULL, TREE_NONE, 0, 3, 1, 0}},
         2,
         0},
        {"a file that never ends",
         {{"", TREE_DIR, 0, 0, 0, 0}, {"a", TREE_FILE, 9, 4, 0, 1}},
         2,
         0},
        {"another entry before the end",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 9, 4, 0, 1},
          {"b", TREE_FILE, 5, 5, 0, 0}},
         3,
         0},
        {"parts too long",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 9, 4, 0, 1},
          {NULL, TREE_NONE, 0, 6, 1, 0}},
         3,
         0},
        {"parts too short",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 9, 4, 0, 1},
          {NULL, TREE_NONE, 0, 4, 1, 0}},
         3,
         0},
        {"an empty part",
         {{"", TREE_DIR, 0, 0, 0, 0},
          {"a", TREE_FILE, 4, 4, 0, 1},
          {NULL, TREE_NONE, 0, 0, 1, 0}},
         3,
         0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream s = {.b = BUF_INIT};
        struct tree_reader *r = NULL;
        const struct tree_group *g;
        struct err e = {0};
        int rc;

        for (size_t k = 0; k < cases[i].n; k++) {
            add_part(&s, &cases[i].parts[k]);
        }
        assert_ok(tree_open_stream(&r, read_stream, &s, &e));
        do {
            rc = tree_next(r, &g, &e);
        } while (rc == 0 && g != NULL);
        if ((rc == 0) != cases[i].good) {
            fail_msg("%s: %d %s", cases[i].what, rc, e.msg);
        }
        assert_true(rc == 0 || e.code == ERR_CORRUPT);
        tree_close(r);
        buf_free(&s.b);
    }
}

static void
reader__refuses_roots_that_lie(void **state)
{
    struct mem m;
    struct tree_source from = mem_source(&m);
    struct sha256 id;
    struct mem_chunk *root;
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    struct err e = {0};
    size_t n_read = 0;

    (void)state;
    mem_init(&m);
    id = write_tree(&m, -1, NULL);
    root = mem_find(&m, &id);
    for (size_t i = 0; i < root->len; i++) {
        uint8_t was = root->data[i];
        int rc;

        root->data[i] ^= 1;
        rc = tree_open(&r, &id, &from, &e);
        assert_true(rc == 0 || e.code == (i == 7 ? ERR_VERSION : ERR_CORRUPT));
        while (rc == 0 && (rc = tree_next(r, &g, &e)) == 0 && g != NULL) {
        }
        n_read += rc == 0;
        tree_close(r);
        r = NULL;
        root->data[i] = was;
    }
    assert_int_equal(n_read, 0);
    root->data = xrealloc(root->data, root->len + 1);
    root->data[root->len++] = 0; /* something behind it */
    assert_refused(tree_open(&r, &id, &from, &e), ERR_CORRUPT);
    root->len--;
    root->data[7] = '2';
    assert_refused(tree_open(&r, &id, &from, &e), ERR_VERSION);
    root->len = 20;
    root->data[7] = '1';
    assert_refused(tree_open(&r, &id, &from, &e), ERR_CORRUPT);
    mem_free(&m);
}

/* A root that lists n chunks of that length, and says so much for all. */
static int
open_root(uint64_t n, uint64_t len, uint64_t all)
{
    struct buf b = BUF_INIT;
    struct mem m;
    struct tree_source from = mem_source(&m);
    struct tree_reader *r = NULL;
    struct sha256 id = {{0}};
    struct err e = {0};
    int rc;

    mem_init(&m);
    buf_add(&b, "GPRTREE1", 8);
    for (int i = 0; i < 6; i++) {
        buf_add_varint(&b, 0);
    }
    buf_add_varint(&b, all);
    buf_add_varint(&b, n);
    for (uint64_t i = 0; i < n; i++) {
        buf_add(&b, id.b, SHA256_LEN);
        buf_add_varint(&b, len);
    }
    sha256_of(b.data, b.len, &id);
    assert_ok(mem_put(&m, STORE_KIND_META, &id, b.data, b.len, &e));
    rc = tree_open(&r, &id, &from, &e);
    assert_true(rc == 0 || e.code == ERR_CORRUPT);
    tree_close(r);
    mem_free(&m);
    buf_free(&b);
    return rc;
}

static void
root__lists_chunks_up_to_its_limits(void **state)
{
    (void)state;
    assert_int_equal(open_root(1, 5, 5), 0);
    assert_int_equal(open_root(1, 5, 6), -1);
    assert_int_equal(open_root(0, 5, 0), -1);
    assert_int_equal(open_root(1, 0, 0), -1);
    assert_int_equal(open_root(2, STORE_CHUNK_MAX_BYTES, 2 * STORE_CHUNK_MAX_BYTES), 0);
    assert_int_equal(open_root(1, STORE_CHUNK_MAX_BYTES + 1, STORE_CHUNK_MAX_BYTES + 1),
                     -1);
    assert_int_equal(open_root(TREE_ROOT_CHUNKS_MAX, 1, TREE_ROOT_CHUNKS_MAX), 0);
    assert_int_equal(open_root(TREE_ROOT_CHUNKS_MAX + 1, 1, TREE_ROOT_CHUNKS_MAX + 1),
                     -1);
}

/* A group of the longest length is asked for, a longer one is refused at once. */
static void
reader__refuses_a_group_beyond_the_limit(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct stream s = {.b = BUF_INIT};
        struct tree_reader *r = NULL;
        const struct tree_group *g;
        struct err e = {0};

        buf_add_varint(&s.b, TREE_GROUP_MAX_BYTES + over);
        assert_ok(tree_open_stream(&r, read_stream, &s, &e));
        assert_refused(tree_next(r, &g, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, over == 1 ? "too long" : "ends too early"));
        tree_close(r);
        buf_free(&s.b);
    }
    tree_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree__is_read_as_it_was_written),
        cmocka_unit_test(tree__counts_no_group_that_was_refused),
        cmocka_unit_test(
            tree__that_is_equal_has_the_same_id_and_a_changed_one_shares_most_chunks),
        cmocka_unit_test(walk__names_every_chunk),
        cmocka_unit_test(tree__splits_a_long_file),
        cmocka_unit_test(reader__refuses_groups_that_do_not_fit_together),
        cmocka_unit_test(reader__refuses_roots_that_lie),
        cmocka_unit_test(root__lists_chunks_up_to_its_limits),
        cmocka_unit_test(reader__refuses_a_group_beyond_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
