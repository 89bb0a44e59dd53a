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

/* What is shared with the path before is found wherever the two begin to differ. */
static void
group__keeps_paths_that_differ_anywhere(void **state)
{
    static const char text[] = "abcdefghijklmnopqrstuvwxyz";
    char paths[27][27];
    struct tree_entry entries[27];
    struct tree_group g = {.entries = entries, .n_entries = 27};
    struct tree_arena *a = tree_arena_new();
    struct tree_group got;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < 27; i++) {
        memcpy(paths[i], text, sizeof text);
        if (i < 26) { /* 'z' last: the smaller i, the greater the path */
            paths[i][25 - i]++;
        }
    }
    for (size_t i = 0; i < 27; i++) {
        entries[i] = (struct tree_entry){.type = TREE_FIFO, .user = "", .group = ""};
        entries[i].path = i == 0 ? text : paths[i - 1];
        entries[i].path_len = 26;
    }
    tree_group_encode(&g, &b);
    assert_ok(tree_group_decode(a, b.data, b.len, &got, &e));
    for (size_t i = 0; i < 27; i++) {
        assert_string_equal(got.entries[i].path, entries[i].path);
        for (size_t k = 0; k < 27; k++) {
            int order = tree_path_cmp(entries[i].path, 26, entries[k].path, 26);

            assert_true((order < 0) == (i < k) && (order > 0) == (i > k));
        }
    }
    buf_free(&b);
    tree_arena_free(a);
}

static void
path_beneath__is_itself_or_below(void **state)
{
    (void)state;
    assert_true(tree_path_beneath("a/b", 3, "", 0));
    assert_true(tree_path_beneath("", 0, "", 0));
    assert_true(tree_path_beneath("a/b", 3, "a", 1));
    assert_true(tree_path_beneath("a/b", 3, "a/b", 3));
    assert_false(tree_path_beneath("a/b", 3, "a/b/c", 5));
    assert_false(tree_path_beneath("c/b", 3, "a", 1));
    assert_false(tree_path_beneath("ab", 2, "a", 1));
    assert_false(tree_path_beneath("a", 1, "a/", 2));
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
        cmocka_unit_test(group__keeps_paths_that_differ_anywhere),
        cmocka_unit_test(path_beneath__is_itself_or_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
