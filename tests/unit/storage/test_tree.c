#include "storage/tree.h"
#include "tests/unit/storage/tree_util.h"

/* ---- paths ---- */

static void
path_cmp__puts_a_directory_before_what_is_in_it_and_both_before_the_rest(void **state)
{
    static const char *const sorted[] = {
        "",     "A",      "a",   "a/b", "a/b/c", "a/b c",
        "a/bc", "a/\xff", "a b", "a-b", "a.b",   "aa",
    };
    const size_t n = sizeof sorted / sizeof sorted[0];

    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            int got =
                tree_path_cmp(sorted[i], strlen(sorted[i]), sorted[k], strlen(sorted[k]));

            if ((got < 0) != (i < k) || (got > 0) != (i > k)) {
                fail_msg("'%s' against '%s': %d", sorted[i], sorted[k], got);
            }
        }
    }
}

static void
path_ok__refuses_whatever_could_lead_astray(void **state)
{
    static const char *const bad[] = {"/",   "/a",  "a/",   "a//b", ".",     "..",
                                      "./a", "a/.", "a/..", "../a", "a/../b"};
    static const char *const good[] = {"",        "a",    "a/b",      "...", "a/.b",
                                       "..a/b..", "a\nb", "\xff\xfe", " ",   "a b"};
    char name[TREE_PATH_MAX_BYTES + 2];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(tree_path_ok(bad[i], strlen(bad[i])));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(tree_path_ok(good[i], strlen(good[i])));
    }
    assert_false(tree_path_ok("a\0b", 3));
    memset(name, 'x', sizeof name);
    assert_true(tree_path_ok(name, 255));
    assert_false(tree_path_ok(name, 256));
    for (size_t i = 1; i < sizeof name; i += 2) {
        name[i] = '/';
    }
    assert_true(tree_path_ok(name, TREE_PATH_MAX_BYTES));
    name[TREE_PATH_MAX_BYTES] = 'x';
    assert_false(tree_path_ok(name, TREE_PATH_MAX_BYTES + 2));
}

/* ---- groups ---- */

static void
assert_same_entry(const struct tree_entry *a, const struct tree_entry *b)
{
    assert_string_equal(a->path, b->path);
    assert_int_equal(a->path_len, b->path_len);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->damage, b->damage);
    assert_int_equal(a->opaque, b->opaque);
    assert_int_equal(a->hard_link, b->hard_link);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_string_equal(a->user, b->user);
    assert_string_equal(a->group, b->group);
    assert_true(a->mtime_ns == b->mtime_ns);
    assert_true(a->size == b->size && a->stored == b->stored);
    assert_int_equal(a->dev_major, b->dev_major);
    assert_int_equal(a->dev_minor, b->dev_minor);
    assert_int_equal(a->target_len, b->target_len);
    if (b->target != NULL) {
        assert_string_equal(a->target, b->target);
    }
    assert_int_equal(a->n_xattrs, b->n_xattrs);
    for (size_t i = 0; i < a->n_xattrs; i++) {
        assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
        assert_int_equal(a->xattrs[i].len, b->xattrs[i].len);
        assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len);
    }
    assert_int_equal(a->sparse, b->sparse);
    assert_int_equal(a->n_extents, b->n_extents);
    for (size_t i = 0; i < a->n_extents; i++) {
        assert_memory_equal(&a->extents[i], &b->extents[i], sizeof a->extents[i]);
    }
}

static const struct tree_xattr XATTRS[] = {
    {"system.posix_acl_access", (const uint8_t *)"\2\0\0\0\1\0", 6},
    {"user.empty", (const uint8_t *)"", 0},
    {"user.x", (const uint8_t *)"a\0b", 3},
};
static const struct tree_extent EXTENTS[] = {{0, 10}, {4096, 100}, {1ull << 40, 3}};

/* One of everything a tree can hold. */
static const struct tree_entry EVERYTHING[] = {
    {.path = "", .type = TREE_DIR, .mode = 0755, .user = "root", .group = "root"},
    {.path = "b",
     .path_len = 1,
     .type = TREE_BLOCK,
     .mode = 0660,
     .dev_major = 8,
     .dev_minor = 1048575,
     .user = "root",
     .group = "disk",
     .gid = 6},
    {.path = "c",
     .path_len = 1,
     .type = TREE_CHAR,
     .mode = 0666,
     .dev_major = 1,
     .dev_minor = 3,
     .user = "",
     .group = "",
     .uid = 4294967294u,
     .gid = 99999},
    {.path = "d",
     .path_len = 1,
     .type = TREE_DIR,
     .mode = 01777,
     .opaque = true,
     .mtime_ns = -1,
     .user = "u",
     .group = "g"},
    {.path = "d/f",
     .path_len = 3,
     .type = TREE_FILE,
     .mode = 04755,
     .size = 7,
     .stored = 7,
     .mtime_ns = INT64_MIN,
     .user = "u",
     .group = "g",
     .xattrs = XATTRS,
     .n_xattrs = 3},
    {.path = "d/l",
     .path_len = 3,
     .type = TREE_FILE,
     .hard_link = true,
     .size = 7,
     .target = "d/f",
     .target_len = 3,
     .mtime_ns = INT64_MAX,
     .user = "u",
     .group = "g"},
    {.path = "d/z",
     .path_len = 3,
     .type = TREE_FILE,
     .damage = TREE_VANISHED,
     .size = 1234,
     .user = "u",
     .group = "g"},
    {.path = "d\xff\n", .path_len = 3, .type = TREE_FIFO, .user = "u", .group = "g"},
    {.path = "s",
     .path_len = 1,
     .type = TREE_SYMLINK,
     .mode = 0777,
     .target = "../x",
     .target_len = 4,
     .user = "u",
     .group = "g"},
    {.path = "sp",
     .path_len = 2,
     .type = TREE_FILE,
     .size = (1ull << 40) + 10,
     .stored = 113,
     .sparse = true,
     .extents = EXTENTS,
     .n_extents = 3,
     .user = "u",
     .group = "g"},
    {.path = "sq",
     .path_len = 2,
     .type = TREE_FILE,
     .size = 1ull << 50,
     .sparse = true,
     .user = "u",
     .group = "g"},
    {.path = "t", .path_len = 1, .type = TREE_SOCKET, .user = "u", .group = "g"},
    {.path = "u",
     .path_len = 1,
     .type = TREE_FILE,
     .damage = TREE_CHANGED,
     .size = 5,
     .stored = 5,
     .user = "u",
     .group = "g"},
    {.path = "w", .path_len = 1, .type = TREE_WHITEOUT, .user = "u", .group = "g"},
};
#define N_EVERYTHING (sizeof EVERYTHING / sizeof EVERYTHING[0])

static struct tree_group
everything(const struct tree_chunk *chunks)
{
    return (struct tree_group){.entries = EVERYTHING,
                               .n_entries = N_EVERYTHING,
                               .chunks = chunks,
                               .n_chunks = 2};
}

static const struct tree_chunk TWO_CHUNKS[] = {{{{1, 2, 3}}, 100}, {{{4}}, 25}};

static void
group__comes_back_as_it_went(void **state)
{
    struct tree_group g = everything(TWO_CHUNKS);
    struct tree_arena *a = tree_arena_new();
    struct tree_group got;
    struct buf b = BUF_INIT;
    struct buf again = BUF_INIT;
    struct err e = {0};

    (void)state;
    tree_group_encode(&g, &b);
    assert_ok(tree_group_decode(a, b.data, b.len, &got, &e));
    assert_int_equal(got.n_entries, N_EVERYTHING);
    for (size_t i = 0; i < N_EVERYTHING; i++) {
        assert_same_entry(&got.entries[i], &EVERYTHING[i]);
    }
    assert_int_equal(got.n_chunks, 2);
    assert_memory_equal(&got.chunks[0].id, &TWO_CHUNKS[0].id, SHA256_LEN);
    assert_int_equal(got.chunks[1].len, 25);
    tree_group_encode(&got, &again);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    buf_free(&b);
    buf_free(&again);
    tree_arena_free(a);
}

static void
group__cut_anywhere_or_longer_is_refused(void **state)
{
    struct tree_group g = everything(TWO_CHUNKS);
    struct tree_arena *a = tree_arena_new();
    struct tree_group got = {0};
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    tree_group_encode(&g, &b);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t *exact = xmemdup(b.data, i + (i == 0)); /* so that ASan sees over-reads */

        assert_refused(tree_group_decode(a, exact, i, &got, &e), ERR_CORRUPT);
        assert_null(got.entries);
        free(exact);
    }
    buf_add_u8(&b, 0);
    assert_refused(tree_group_decode(a, b.data, b.len, &got, &e), ERR_CORRUPT);
    buf_free(&b);
    tree_arena_free(a);
}

/* Whatever one changed byte does: a refusal, or a group with valid paths in order. */
static void
group__with_any_byte_changed_is_refused_or_harmless(void **state)
{
    struct tree_group g = everything(TWO_CHUNKS);
    struct tree_arena *a = tree_arena_new();
    struct buf b = BUF_INIT;
    size_t n_refused = 0;

    (void)state;
    tree_group_encode(&g, &b);
    for (size_t i = 0; i < b.len * 255; i++) {
        uint8_t *at = &b.data[i / 255];
        uint8_t was = *at;
        struct tree_group got;
        struct err e = {0};

        *at = (uint8_t)(was + 1 + i % 255);
        if (tree_group_decode(a, b.data, b.len, &got, &e) != 0) {
            n_refused++;
        } else {
            for (size_t k = 0; k < got.n_entries; k++) {
                const struct tree_entry *entry = &got.entries[k];

                assert_true(tree_path_ok(entry->path, entry->path_len));
                assert_true(k == 0 || tree_path_cmp(entry[-1].path, entry[-1].path_len,
                                                    entry->path, entry->path_len) < 0);
                assert_true(entry->mode <= 07777 && entry->size <= TREE_SIZE_MAX);
            }
        }
        *at = was;
    }
    assert_true(n_refused > 0);
    buf_free(&b);
    tree_arena_free(a);
}

struct bad_group {
    const char *what;
    struct tree_group g;
};

static void
group__that_lies_is_refused(void **state)
{
    static const struct tree_extent overlap[] = {{0, 10}, {5, 5}};
    static const struct tree_extent beyond[] = {{90, 20}};
    static const struct tree_chunk ten[] = {{{{1}}, 10}};
    static const struct tree_entry dotdot = {
        .path = "a/../b", .path_len = 6, .type = TREE_DIR, .user = "", .group = ""};
    static const struct tree_entry twice[] = {
        {.path = "a", .path_len = 1, .type = TREE_DIR, .user = "", .group = ""},
        {.path = "a", .path_len = 1, .type = TREE_DIR, .user = "", .group = ""}};
    static const struct tree_entry forward = {.path = "a",
                                              .path_len = 1,
                                              .type = TREE_FILE,
                                              .hard_link = true,
                                              .target = "b",
                                              .target_len = 1,
                                              .user = "",
                                              .group = ""};
    static const struct tree_entry outside = {.path = "a",
                                              .path_len = 1,
                                              .type = TREE_FILE,
                                              .hard_link = true,
                                              .target = "../x",
                                              .target_len = 4,
                                              .user = "",
                                              .group = ""};
    static const struct tree_entry linked_dir = {.path = "b",
                                                 .path_len = 1,
                                                 .type = TREE_DIR,
                                                 .hard_link = true,
                                                 .target = "a",
                                                 .target_len = 1,
                                                 .user = "",
                                                 .group = ""};
    static const struct tree_entry overlaps = {.path = "a",
                                               .path_len = 1,
                                               .type = TREE_FILE,
                                               .size = 100,
                                               .sparse = true,
                                               .extents = overlap,
                                               .n_extents = 2,
                                               .user = "",
                                               .group = ""};
    static const struct tree_entry past_end = {.path = "a",
                                               .path_len = 1,
                                               .type = TREE_FILE,
                                               .size = 100,
                                               .sparse = true,
                                               .extents = beyond,
                                               .n_extents = 1,
                                               .user = "",
                                               .group = ""};
    static const struct tree_entry short_file = {.path = "a",
                                                 .path_len = 1,
                                                 .type = TREE_FILE,
                                                 .size = 9,
                                                 .stored = 9,
                                                 .user = "",
                                                 .group = ""};
    static const struct tree_entry no_text = {.path = "a",
                                              .path_len = 1,
                                              .type = TREE_SYMLINK,
                                              .target = "",
                                              .user = "",
                                              .group = ""};
    static const struct tree_entry huge = {.path = "a",
                                           .path_len = 1,
                                           .type = TREE_FILE,
                                           .size = UINT64_MAX,
                                           .hard_link = true,
                                           .target = "A",
                                           .target_len = 1,
                                           .user = "",
                                           .group = ""};
    const struct bad_group cases[] = {
        {"a path with ..", {.entries = &dotdot, .n_entries = 1}},
        {"a path twice", {.entries = twice, .n_entries = 2}},
        {"a hard link to what follows", {.entries = &forward, .n_entries = 1}},
        {"a hard link outside", {.entries = &outside, .n_entries = 1}},
        {"a hard link that is a directory", {.entries = &linked_dir, .n_entries = 1}},
        {"extents that overlap",
         {.entries = &overlaps, .n_entries = 1, .chunks = ten, .n_chunks = 1}},
        {"an extent past the end", {.entries = &past_end, .n_entries = 1}},
        {"chunks longer than files",
         {.entries = &short_file, .n_entries = 1, .chunks = ten, .n_chunks = 1}},
        {"a symbolic link to nowhere", {.entries = &no_text, .n_entries = 1}},
        {"a size beyond all files", {.entries = &huge, .n_entries = 1}},
        {"no entries", {.n_entries = 0}},
        {"two files that go on", {.entries = EVERYTHING, .n_entries = 2, .more = true}},
    };
    struct tree_arena *a = tree_arena_new();
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = BUF_INIT;
        struct tree_group got;

        tree_group_encode(&cases[i].g, &b);
        if (tree_group_decode(a, b.data, b.len, &got, &e) == 0) {
            fail_msg("%s was taken", cases[i].what);
        }
        assert_int_equal(e.code, ERR_CORRUPT);
        buf_free(&b);
    }
    tree_arena_free(a);
}

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
    assert_true(n_groups > 5);
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
        while (rc == 0 && (rc = tree_next(r, &g, &e)) == 0 && g != NULL) {
        }
        n_read += rc == 0;
        tree_close(r);
        r = NULL;
        root->data[i] = was;
    }
    assert_int_equal(n_read, 0);
    root->data[7] = '2';
    assert_refused(tree_open(&r, &id, &from, &e), ERR_VERSION);
    root->len = 20;
    root->data[7] = '1';
    assert_refused(tree_open(&r, &id, &from, &e), ERR_CORRUPT);
    mem_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            path_cmp__puts_a_directory_before_what_is_in_it_and_both_before_the_rest),
        cmocka_unit_test(path_ok__refuses_whatever_could_lead_astray),
        cmocka_unit_test(group__comes_back_as_it_went),
        cmocka_unit_test(group__cut_anywhere_or_longer_is_refused),
        cmocka_unit_test(group__with_any_byte_changed_is_refused_or_harmless),
        cmocka_unit_test(group__that_lies_is_refused),
        cmocka_unit_test(tree__is_read_as_it_was_written),
        cmocka_unit_test(
            tree__that_is_equal_has_the_same_id_and_a_changed_one_shares_most_chunks),
        cmocka_unit_test(walk__names_every_chunk),
        cmocka_unit_test(tree__splits_a_long_file),
        cmocka_unit_test(reader__refuses_groups_that_do_not_fit_together),
        cmocka_unit_test(reader__refuses_roots_that_lie),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
