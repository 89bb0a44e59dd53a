#include "storage/tree.h"
#include "tests/unit/storage/tree_util.h"

/* What a group may not say, and how much of everything it may hold. */

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
    static const struct tree_entry twice_more[] = {
        {.path = "a", .path_len = 1, .type = TREE_DIR, .user = "", .group = ""},
        {.path = "b", .path_len = 1, .type = TREE_FILE, .user = "", .group = ""}};
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
        {"two files that go on", {.entries = twice_more, .n_entries = 2, .more = true}},
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

/* A group of one entry, encoded; true: it can be read again. */
static bool
decodes(struct tree_arena *a, const struct tree_entry *entry, uint32_t chunk_len)
{
    struct tree_chunk chunk = {.len = chunk_len};
    struct tree_group g = {
        .entries = entry, .n_entries = 1, .chunks = &chunk, .n_chunks = chunk_len > 0};
    struct tree_group got;
    struct buf b = BUF_INIT;
    struct buf again = BUF_INIT;
    struct err e = {0};
    bool good;

    tree_group_encode(&g, &b);
    good = tree_group_decode(a, b.data, b.len, &got, &e) == 0;
    if (good) {
        tree_group_encode(&got, &again);
        assert_int_equal(again.len, b.len);
        assert_memory_equal(again.data, b.data, b.len);
    }
    buf_free(&again);
    buf_free(&b);
    return good;
}

static struct tree_entry
plain(enum tree_type type)
{
    return (struct tree_entry){
        .path = "p", .path_len = 1, .type = type, .user = "", .group = ""};
}

/* Every length of texts: at its limit it is taken, one beyond it is not. */
static void
group__takes_texts_up_to_their_limits(void **state)
{
    char *text = xmalloc(TREE_PATH_MAX_BYTES + 2);
    struct tree_arena *a = tree_arena_new();
    struct tree_entry entry = plain(TREE_DIR);

    (void)state;
    memset(text, 'x', TREE_PATH_MAX_BYTES + 1);
    text[TREE_PATH_MAX_BYTES + 1] = '\0';
    for (size_t i = 1; i < TREE_PATH_MAX_BYTES; i += 2) {
        text[i] = '/';
    }
    entry.path = text;
    entry.path_len = TREE_PATH_MAX_BYTES + 1;
    assert_false(decodes(a, &entry, 0));
    text[TREE_PATH_MAX_BYTES] = '\0';
    entry.path_len = TREE_PATH_MAX_BYTES;
    assert_true(decodes(a, &entry, 0));

    memset(text, 'x', TREE_PATH_MAX_BYTES + 1);
    entry = plain(TREE_SYMLINK);
    entry.target = text;
    entry.target_len = TREE_TARGET_MAX_BYTES + 1;
    assert_false(decodes(a, &entry, 0));
    text[TREE_TARGET_MAX_BYTES] = '\0';
    entry.target_len = TREE_TARGET_MAX_BYTES;
    assert_true(decodes(a, &entry, 0));

    memset(text, 'x', TREE_OWNER_MAX_BYTES + 1);
    for (size_t over = 0; over < 2; over++) {
        text[TREE_OWNER_MAX_BYTES + over] = '\0';
        entry = plain(TREE_DIR);
        entry.user = text;
        assert_int_equal(decodes(a, &entry, 0), over == 0);
        entry.user = "";
        entry.group = text;
        assert_int_equal(decodes(a, &entry, 0), over == 0);
        text[TREE_OWNER_MAX_BYTES + over] = 'x';
    }
    tree_arena_free(a);
    free(text);
}

static void
group__takes_attributes_up_to_their_limits(void **state)
{
    enum { N = TREE_XATTRS_MAX + 1 };
    char name[TREE_XATTR_NAME_MAX + 2];
    uint8_t *value = xcalloc(1, TREE_XATTR_VALUE_MAX + 1);
    char(*names)[8] = xcalloc(N, sizeof *names);
    struct tree_xattr *many = xcalloc(N, sizeof *many);
    struct tree_xattr one = {name, value, 1};
    struct tree_arena *a = tree_arena_new();
    struct tree_entry entry = plain(TREE_FILE);
    size_t sum;

    (void)state;
    memset(name, 'n', sizeof name);
    entry.xattrs = &one;
    entry.n_xattrs = 1;
    for (size_t over = 0; over < 2; over++) {
        name[TREE_XATTR_NAME_MAX + over] = '\0';
        assert_int_equal(decodes(a, &entry, 0), over == 0);
        name[TREE_XATTR_NAME_MAX + over] = 'n';
    }
    name[0] = '\0';
    assert_false(decodes(a, &entry, 0));
    name[0] = 'n';
    name[1] = '\0';
    one.len = TREE_XATTR_VALUE_MAX;
    assert_true(decodes(a, &entry, 0));
    one.len++;
    assert_false(decodes(a, &entry, 0));

    for (size_t i = 0; i < N; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%04zu", i);
        many[i] = (struct tree_xattr){names[i], value, 0};
    }
    entry.xattrs = many;
    entry.n_xattrs = TREE_XATTRS_MAX;
    assert_true(decodes(a, &entry, 0));
    entry.n_xattrs++;
    assert_false(decodes(a, &entry, 0));
    entry.n_xattrs = 8; /* all together: names and values to the byte */
    sum = 0;
    for (size_t i = 0; i < 8; i++) {
        many[i].len = TREE_XATTR_VALUE_MAX - 5;
        sum += many[i].len + 5;
    }
    assert_int_equal(sum, TREE_XATTRS_MAX_BYTES);
    assert_true(decodes(a, &entry, 0));
    many[7].len++;
    assert_false(decodes(a, &entry, 0));
    many[7].len--;
    many[0].name = names[1]; /* the same name twice, or in the wrong order */
    assert_false(decodes(a, &entry, 0));
    many[0].name = names[2];
    assert_false(decodes(a, &entry, 0));
    tree_arena_free(a);
    free(many);
    free(names);
    free(value);
}

static void
group__takes_chunks_and_sizes_up_to_their_limits(void **state)
{
    struct tree_arena *a = tree_arena_new();
    struct tree_entry entry = plain(TREE_FILE);

    (void)state;
    entry.size = entry.stored = STORE_CHUNK_MAX_BYTES;
    assert_true(decodes(a, &entry, STORE_CHUNK_MAX_BYTES));
    entry.size = entry.stored = STORE_CHUNK_MAX_BYTES + 1;
    assert_false(decodes(a, &entry, STORE_CHUNK_MAX_BYTES + 1));
    entry = plain(TREE_FILE);
    entry.damage = TREE_IO_ERROR; /* no contents, whatever its size */
    entry.size = TREE_SIZE_MAX;
    assert_true(decodes(a, &entry, 0));
    entry.size = TREE_SIZE_MAX + 1;
    assert_false(decodes(a, &entry, 0));
    tree_arena_free(a);
}

/* A group of n entries and n_chunks chunks, and whether it is taken. */
static bool
takes(size_t n, size_t n_chunks)
{
    struct tree_arena *a = tree_arena_new();
    struct tree_entry *entries = xcalloc(n, sizeof *entries);
    struct tree_chunk *chunks = xcalloc(n_chunks, sizeof *chunks);
    char(*paths)[8] = xcalloc(n, sizeof *paths);
    struct tree_group g = {
        .entries = entries, .n_entries = n, .chunks = chunks, .n_chunks = n_chunks};
    struct tree_group got;
    struct buf b = BUF_INIT;
    struct err e = {0};
    bool good;

    for (size_t i = 0; i < n; i++) {
        entries[i] = plain(TREE_FILE);
        (void)snprintf(paths[i], sizeof paths[i], "%05zu", i % 100000);
        entries[i].path = paths[i];
        entries[i].path_len = 5;
        entries[i].uid = (uint32_t)i; /* as many owners as entries */
    }
    for (size_t i = 0; i < n_chunks; i++) {
        chunks[i].len = 1;
    }
    entries[0].size = entries[0].stored = n_chunks;
    tree_group_encode(&g, &b);
    good = tree_group_decode(a, b.data, b.len, &got, &e) == 0;
    for (size_t i = 0; good && i < n; i++) {
        assert_string_equal(got.entries[i].path, entries[i].path);
        assert_int_equal(got.entries[i].uid, i);
    }
    buf_free(&b);
    free(entries);
    free(chunks);
    free(paths);
    tree_arena_free(a);
    return good;
}

static void
group__takes_so_many_entries_and_chunks_and_no_more(void **state)
{
    (void)state;
    assert_true(takes(TREE_GROUP_ENTRIES_MAX, 3));
    assert_false(takes(TREE_GROUP_ENTRIES_MAX + 1, 3));
    assert_true(takes(1, TREE_GROUP_CHUNKS_MAX));
    assert_false(takes(1, TREE_GROUP_CHUNKS_MAX + 1));
}

struct marks {
    const char *what;
    enum tree_type type;
    enum tree_damage damage;
    bool opaque;
    bool hard_link;
    bool sparse;
    bool good;
};

/* Which marks go together: each alone on what it is for, and no others. */
static void
group__takes_marks_that_go_together(void **state)
{
    static const struct marks cases[] = {
        {"an opaque directory", TREE_DIR, TREE_WHOLE, true, false, false, true},
        {"an opaque file", TREE_FILE, TREE_WHOLE, true, false, false, false},
        {"a hard link", TREE_FILE, TREE_WHOLE, false, true, false, true},
        {"a linked FIFO", TREE_FIFO, TREE_WHOLE, false, true, false, true},
        {"a linked directory", TREE_DIR, TREE_WHOLE, false, true, false, false},
        {"a linked whiteout", TREE_WHITEOUT, TREE_WHOLE, false, true, false, false},
        {"a damaged link", TREE_FILE, TREE_VANISHED, false, true, false, false},
        {"a sparse link", TREE_FILE, TREE_WHOLE, false, true, true, false},
        {"a sparse file", TREE_FILE, TREE_WHOLE, false, false, true, true},
        {"a sparse FIFO", TREE_FIFO, TREE_WHOLE, false, false, true, false},
        {"a changed sparse file", TREE_FILE, TREE_CHANGED, false, false, true, true},
        {"a lost sparse file", TREE_FILE, TREE_VANISHED, false, false, true, false},
        {"the last damage", TREE_FILE, TREE_CHANGED, false, false, false, true},
        {"one beyond it", TREE_FILE, TREE_CHANGED + 1, false, false, false, false},
        {"no type", TREE_NONE, TREE_WHOLE, false, false, false, false},
        {"the last type", TREE_WHITEOUT, TREE_WHOLE, false, false, false, true},
        {"one beyond it", TREE_WHITEOUT + 1, TREE_WHOLE, false, false, false, false},
    };
    struct tree_arena *a = tree_arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tree_entry entry = plain(cases[i].type);

        entry.damage = cases[i].damage;
        entry.opaque = cases[i].opaque;
        entry.hard_link = cases[i].hard_link;
        entry.sparse = cases[i].sparse;
        entry.target = "a";
        entry.target_len = 1;
        if (decodes(a, &entry, 0) != cases[i].good) {
            fail_msg("%s", cases[i].what);
        }
    }
    tree_arena_free(a);
}

/* Modes end at 07777, and a damaged link alone may have no text. */
static void
group__takes_modes_and_texts_that_can_be(void **state)
{
    struct tree_arena *a = tree_arena_new();
    struct tree_entry entry = plain(TREE_FILE);

    (void)state;
    entry.mode = 07777;
    assert_true(decodes(a, &entry, 0));
    entry.mode++;
    assert_false(decodes(a, &entry, 0));
    entry = plain(TREE_SYMLINK);
    entry.target = "";
    assert_false(decodes(a, &entry, 0));
    entry.damage = TREE_UNREADABLE;
    assert_true(decodes(a, &entry, 0));
    entry = plain(TREE_CHAR);
    entry.dev_major = entry.dev_minor = UINT32_MAX;
    entry.uid = entry.gid = UINT32_MAX;
    assert_true(decodes(a, &entry, 0));
    tree_arena_free(a);
}

/* Where pieces of data may lie in a file of 100 bytes. */
static void
group__takes_extents_that_fit(void **state)
{
    static const struct {
        struct tree_extent x[2];
        size_t n;
        bool good;
    } cases[] = {
        {{{0, 100}}, 1, true},
        {{{0, 101}}, 1, false},
        {{{99, 1}}, 1, true},
        {{{100, 1}}, 1, false},
        {{{99, 2}}, 1, false},
        {{{5, 0}}, 1, false},
        {{{0, 10}, {11, 89}}, 2, true},
        {{{0, 10}, {10, 5}}, 2, false},
        {{{0, 10}, {11, 90}}, 2, false},
    };
    struct tree_arena *a = tree_arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tree_entry entry = plain(TREE_FILE);

        entry.size = 100;
        entry.sparse = true;
        entry.extents = cases[i].x;
        entry.n_extents = cases[i].n;
        entry.stored = cases[i].x[0].len + (cases[i].n > 1 ? cases[i].x[1].len : 0);
        if (decodes(a, &entry, (uint32_t)entry.stored) != cases[i].good) {
            fail_msg("case %zu", i);
        }
    }
    tree_arena_free(a);
}

/* As many pieces as may be, and one more. */
static void
group__takes_so_many_extents_and_no_more(void **state)
{
    const size_t n = TREE_EXTENTS_MAX + 1;
    struct tree_extent *x = xcalloc(n, sizeof *x);
    struct tree_arena *a = tree_arena_new();
    struct tree_entry entry = plain(TREE_FILE);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        x[i] = (struct tree_extent){.at = 2 * i, .len = 1};
    }
    entry.sparse = true;
    entry.size = 2 * n;
    entry.extents = x;
    entry.n_extents = entry.stored = n - 1;
    assert_true(decodes(a, &entry, (uint32_t)n - 1));
    entry.n_extents = entry.stored = n;
    assert_false(decodes(a, &entry, (uint32_t)n));
    tree_arena_free(a);
    free(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group__that_lies_is_refused),
        cmocka_unit_test(group__takes_texts_up_to_their_limits),
        cmocka_unit_test(group__takes_attributes_up_to_their_limits),
        cmocka_unit_test(group__takes_chunks_and_sizes_up_to_their_limits),
        cmocka_unit_test(group__takes_so_many_entries_and_chunks_and_no_more),
        cmocka_unit_test(group__takes_marks_that_go_together),
        cmocka_unit_test(group__takes_modes_and_texts_that_can_be),
        cmocka_unit_test(group__takes_extents_that_fit),
        cmocka_unit_test(group__takes_so_many_extents_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
