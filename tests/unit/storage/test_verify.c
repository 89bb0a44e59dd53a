#include "storage/verify.h"

#include "tests/unit/storage/tree_util.h"

/* Which files a missing or wrong chunk takes with it. */

#define LEN 100

struct world {
    char *dir;
    struct store *s;
    struct sha256 tree;
    char told[256];
};

static struct tree_chunk
chunk_of(struct store *s, uint64_t seed, bool there)
{
    uint8_t data[LEN];
    struct tree_chunk c = {.len = LEN};

    fill_random(data, sizeof data, seed);
    sha256_of(data, sizeof data, &c.id);
    if (there) {
        OK(store_put(s, STORE_KIND_DATA, data, sizeof data, &c.id, NULL, e));
    }
    return c;
}

static struct tree_entry
file_of(const char *path, uint64_t size)
{
    return (struct tree_entry){.path = path,
                               .path_len = strlen(path),
                               .type = TREE_FILE,
                               .user = "",
                               .group = "",
                               .size = size,
                               .stored = size};
}

/*
 * a: the first chunk; b: empty; c: the second and half of the third; d: the rest of it;
 * e: of two chunks; big: of 3000 chunks, in several groups. gone: bit i, chunk i is not
 * there (of big: the chunk of number 5).
 */
static void
make_tree(struct world *w, unsigned gone)
{
    enum { N_BIG = 3000 };
    struct tree_sink sink = tree_sink_store(w->s);
    struct tree_writer *t = tree_writer_new(&sink);
    struct tree_entry entries[] = {file_of("", 0),        file_of("a", LEN),
                                   file_of("b", 0),       file_of("c", LEN + LEN / 2),
                                   file_of("d", LEN / 2), file_of("e", 2 * LEN)};
    struct tree_entry big = file_of("big", N_BIG * LEN);
    struct tree_chunk chunks[5];
    struct tree_chunk *many = xcalloc(N_BIG, sizeof *many);
    struct tree_group g = {
        .entries = entries, .n_entries = 6, .chunks = chunks, .n_chunks = 5};

    entries[0].type = TREE_DIR;
    big.path = "f";
    big.path_len = 1;
    for (unsigned i = 0; i < 5; i++) {
        chunks[i] = chunk_of(w->s, i + 1, (gone >> i & 1) == 0);
    }
    for (uint64_t i = 0; i < N_BIG; i++) {
        bool last = i + 1 == N_BIG;

        many[i] = chunk_of(w->s, 100 + i,
                           !((i == 5 && (gone & 32) != 0) || (last && (gone & 64) != 0)));
    }
    OK(tree_writer_add(t, &g, NULL, e));
    g = (struct tree_group){
        .entries = &big, .n_entries = 1, .chunks = many, .n_chunks = N_BIG};
    OK(tree_writer_add(t, &g, NULL, e));
    OK(tree_writer_finish(t, &w->tree, NULL, e));
    tree_writer_free(t);
    OK(store_commit(w->s, e));
    free(many);
}

static void
tell(void *arg, const char *path, size_t len, const struct err *why)
{
    struct world *w = arg;
    size_t used = strlen(w->told);

    assert_non_null(why);
    (void)snprintf(w->told + used, sizeof w->told - used, "%.*s ", (int)len, path);
}

static void
verify__names_each_file_once(void **state)
{
    static const struct {
        unsigned gone;
        const char *told;
        uint64_t n;
    } cases[] = {
        {0, "", 0},     {1, "a ", 1},  {2, "c ", 1},           {4, "c d ", 2},
        {6, "c d ", 2}, {24, "e ", 1}, {16, "e ", 1},          {32, "f ", 1},
        {64, "f ", 1},  {96, "f ", 1}, {127, "a c d e f ", 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w = {.dir = scratch_dir()};
        struct verify_result r = {0};

        OK(store_open(&w.s, w.dir, NULL, e));
        make_tree(&w, cases[i].gone);
        OK(verify_tree(w.s, &w.tree, &(struct verify_options){.damaged = tell, .arg = &w},
                       &r, e));
        assert_string_equal(w.told, cases[i].told);
        assert_int_equal(r.n_damaged, cases[i].n);
        assert_int_equal(r.n_entries, 7);
        assert_int_equal(r.n_chunks, 5 + 3000);
        assert_int_equal(r.bytes, (5 + 3000) * LEN);
        OK(verify_tree(w.s, &w.tree, &(struct verify_options){.damaged = NULL}, &r, e));
        assert_int_equal(r.n_damaged, cases[i].n);
        store_close(w.s);
        scratch_free(w.dir);
    }
}

/* Further names of a damaged file are damaged, too, wherever they stand. */
static void
verify__names_links_to_damaged_files(void **state)
{
    struct world w = {.dir = scratch_dir()};
    struct tree_sink sink;
    struct tree_writer *t;
    struct tree_entry first[] = {file_of("", 0), file_of("a", LEN), file_of("b", LEN),
                                 file_of("c", 0)};
    struct tree_entry second[] = {file_of("d", 0), file_of("e", LEN), file_of("f", 0)};
    struct tree_chunk chunks[3];
    struct tree_group g = {
        .entries = first, .n_entries = 4, .chunks = chunks, .n_chunks = 2};
    struct verify_result r = {0};

    (void)state;
    OK(store_open(&w.s, w.dir, NULL, e));
    first[0].type = TREE_DIR;
    for (unsigned i = 0; i < 3; i++) {
        chunks[i] = chunk_of(w.s, i + 1, i != 0);
    }
    first[3].target = "a";
    second[0].target = "b";
    second[2].target = "a";
    first[3].hard_link = second[0].hard_link = second[2].hard_link = true;
    first[3].target_len = second[0].target_len = second[2].target_len = 1;
    sink = tree_sink_store(w.s);
    t = tree_writer_new(&sink);
    OK(tree_writer_add(t, &g, NULL, e));
    g = (struct tree_group){
        .entries = second, .n_entries = 3, .chunks = &chunks[2], .n_chunks = 1};
    OK(tree_writer_add(t, &g, NULL, e));
    OK(tree_writer_finish(t, &w.tree, NULL, e));
    tree_writer_free(t);
    OK(verify_tree(w.s, &w.tree, &(struct verify_options){.damaged = tell, .arg = &w}, &r,
                   e));
    assert_string_equal(w.told, "a c f ");
    assert_int_equal(r.n_damaged, 3);
    store_close(w.s);
    scratch_free(w.dir);
}

/* Only where a failure is for want of contents, and what was asked for before all else.
 */
static void
failure__names_the_files_that_lack_something(void **state)
{
    static const struct {
        unsigned gone;
        const char *only;
        enum err_code code;
        const char *begins;
    } cases[] = {
        {0, NULL, ERR_CORRUPT, "chunk"},
        {1, NULL, ERR_SPACE, "chunk"},
        {1, NULL, ERR_NOT_FOUND, "damaged: 'a' ("},
        {6, NULL, ERR_CORRUPT, "damaged: 'c', 'd' ("},
        {127, NULL, ERR_CORRUPT, "damaged: 'a', 'c', 'd', and more: 2 ("},
        {127, "e", ERR_CORRUPT, "damaged: 'e' ("},
        {1, "e", ERR_CORRUPT,
         "damaged: 'a' ("}, /* a neighbour, whose contents go along */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w = {.dir = scratch_dir()};
        struct err why;

        OK(store_open(&w.s, w.dir, NULL, e));
        make_tree(&w, cases[i].gone);
        err_set(&why, cases[i].code, "chunk");
        verify_name_damaged(w.s, &w.tree, cases[i].only, &why);
        assert_memory_equal(why.msg, cases[i].begins, strlen(cases[i].begins));
        assert_string_equal(why.msg + strlen(why.msg) - 5, "chunk");
        assert_int_equal(why.code, cases[i].code);
        store_close(w.s);
        scratch_free(w.dir);
    }
}

/* A chunk that is there, but is not so long as the tree says. */
static void
verify__compares_lengths(void **state)
{
    struct world w = {.dir = scratch_dir()};
    struct tree_sink sink;
    struct tree_writer *t;
    struct tree_entry entries[] = {file_of("", 0), file_of("a", LEN + 1)};
    struct tree_chunk chunk;
    struct tree_group g = {
        .entries = entries, .n_entries = 2, .chunks = &chunk, .n_chunks = 1};
    struct verify_result r = {0};

    (void)state;
    entries[0].type = TREE_DIR;
    OK(store_open(&w.s, w.dir, NULL, e));
    chunk = chunk_of(w.s, 1, true);
    chunk.len++;
    sink = tree_sink_store(w.s);
    t = tree_writer_new(&sink);
    OK(tree_writer_add(t, &g, NULL, e));
    OK(tree_writer_finish(t, &w.tree, NULL, e));
    tree_writer_free(t);
    OK(verify_tree(w.s, &w.tree, &(struct verify_options){.damaged = tell, .arg = &w}, &r,
                   e));
    assert_string_equal(w.told, "a ");
    store_close(w.s);
    scratch_free(w.dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify__names_each_file_once),
        cmocka_unit_test(verify__names_links_to_damaged_files),
        cmocka_unit_test(verify__compares_lengths),
        cmocka_unit_test(failure__names_the_files_that_lack_something),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
