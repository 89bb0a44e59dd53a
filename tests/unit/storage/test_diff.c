/* What differs between two trees: exactly that, and nothing is read of what is equal. */
#include "tests/unit/storage/nasty.h"

#include "storage/diff.h"

#define N_SMALL 300

struct world {
    char *scratch;
    char *dir;
    struct store *store;
    struct buf told; /* a line for each */
};

static void
fill(char *text, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        text[i] = (char)(seed >> 56);
    }
}

static void
put(const struct world *w, const char *name, size_t n, uint64_t seed)
{
    char *text = xmalloc(n + 1);

    fill(text, n, seed);
    put_file(w->dir, name, text, n);
    free(text);
}

static void
world_init(struct world *w)
{
    char *store = NULL;
    char name[40];

    w->scratch = scratch_dir();
    w->dir = path_join(w->scratch, "src");
    w->told = (struct buf)BUF_INIT;
    store = path_join(w->scratch, "store");
    OK(store_open(&w->store, store, NULL, e));
    free(store);
    for (int i = 0; i < N_SMALL; i++) {
        (void)snprintf(name, sizeof name, "d/small-%03d", i);
        put(w, name, 2000, (uint64_t)i);
        set_mtime(w->dir, name, 1000 + i, 0);
    }
    put(w, "big", 900000, 77);
    put(w, "big-too", 900000, 78);
    set_mtime(w->dir, "d", 5, 5);
    set_mtime(w->dir, "", 5, 5);
}

static void
world_free(struct world *w)
{
    store_close(w->store);
    buf_free(&w->told);
    free(w->dir);
    scratch_free(w->scratch);
}

static struct sha256
tree_of(const struct world *w)
{
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_store_sink into = {.store = w->store};
    struct build_sink sink = build_sink_store(&into);
    struct build_report report;
    struct sha256 tree;
    int fd = open_dir(w->dir);

    OK(build_tree(fd, &o, &sink, &report, e));
    OK(store_commit(w->store, e));
    tree = report.tree;
    build_report_free(&report);
    (void)close(fd);
    return tree;
}

static int
tell(void *ctx, const struct diff_change *c, struct err *e)
{
    struct world *w = ctx;
    const struct tree_entry *any = c->after != NULL ? c->after : c->before;

    (void)e;
    buf_printf(&w->told, "%s%s %u\n",
               c->before == NULL  ? "+"
               : c->after == NULL ? "-"
                                  : "",
               any->path, c->what);
    return 0;
}

static struct diff_result
compare(struct world *w, const struct sha256 *a, const struct sha256 *b)
{
    struct tree_source source = tree_source_store(w->store);
    struct diff_result r;

    buf_reset(&w->told);
    OK(diff_trees(a, &source, b, &source, tell, w, &r, e));
    return r;
}

static void
diff__equal_trees_have_none(void **state)
{
    struct world w;
    struct sha256 a;
    struct diff_result r;

    (void)state;
    world_init(&w);
    a = tree_of(&w);
    r = compare(&w, &a, &a);
    assert_int_equal(w.told.len, 0);
    assert_int_equal(r.n_added + r.n_removed + r.n_changed + r.n_touched, 0);
    world_free(&w);
}

/* In a group with hundreds of files, one gets other bytes of the same length and time. */
static void
diff__one_small_file_among_its_neighbours(void **state)
{
    struct world w;
    struct sha256 a;
    struct sha256 b;
    struct diff_result r;

    (void)state;
    world_init(&w);
    a = tree_of(&w);
    put(&w, "d/small-123", 2000, 9999);
    set_mtime(w.dir, "d/small-123", 1123, 0);
    set_mtime(w.dir, "d/small-124", 1, 0);
    set_mtime(w.dir, "d", 5, 5);
    b = tree_of(&w);
    r = compare(&w, &a, &b);
    assert_string_equal(buf_str(&w.told), "d/small-123 2\nd/small-124 32\n");
    assert_int_equal(r.n_changed, 1);
    assert_int_equal(r.n_touched, 1);
    /* its own group, twice; neither the big ones nor all the small ones */
    assert_in_range(r.read_bytes, 4000, 1100000);
    world_free(&w);
}

static void
diff__every_kind(void **state)
{
    struct world w;
    struct sha256 a;
    struct sha256 b;
    struct diff_result r;
    char *path;

    (void)state;
    world_init(&w);
    path = path_join(w.dir, "link");
    assert_int_equal(symlink("here", path), 0);
    a = tree_of(&w);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("there", path), 0);
    free(path);
    path = path_join(w.dir, "big");
    assert_int_equal(chmod(path, 0600), 0);
    free(path);
    put(&w, "big-too", 900000, 79);
    path = path_join(w.dir, "d/small-000");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    free(path);
    path = path_join(w.dir, "d/small-001");
    assert_int_equal(unlink(path), 0);
    free(path);
    put(&w, "e/new", 3, 1);
    set_mtime(w.dir, "big-too", 5, 5);
    set_mtime(w.dir, "d", 5, 5);
    set_mtime(w.dir, "", 5, 5);
    b = tree_of(&w);
    r = compare(&w, &a, &b);
    assert_non_null(strstr(buf_str(&w.told), "big 4\nbig-too "));
    assert_non_null(strstr(buf_str(&w.told), "d/small-000 1\n-d/small-001 0\n+e 0\n"
                                             "+e/new 0\nlink "));
    assert_int_equal(r.n_added, 2);
    assert_int_equal(r.n_removed, 1);
    assert_int_equal(r.n_changed, 4);
    /* and backwards */
    r = compare(&w, &b, &a);
    assert_int_equal(r.n_added, 1);
    assert_int_equal(r.n_removed, 2);
    assert_int_equal(r.n_changed, 4);
    world_free(&w);
}

static void
diff__attributes_links_and_holes(void **state)
{
    struct world w;
    struct sha256 a;
    struct sha256 b;
    char *one;
    char *two;

    (void)state;
    world_init(&w);
    make_sparse(w.dir, "hole", 3000000);
    set_mtime(w.dir, "hole", 5, 5);
    set_mtime(w.dir, "", 5, 5);
    a = tree_of(&w);
    one = path_join(w.dir, "big");
    two = path_join(w.dir, "linked");
    assert_int_equal(link(one, two), 0);
    (void)compare(&w, &a, &a);
    assert_true(set_attr(w.dir, "d", "user.x", "y", 1));
    set_mtime(w.dir, "", 5, 5);
    b = tree_of(&w);
    (void)compare(&w, &a, &b);
    assert_string_equal(buf_str(&w.told), "d 16\n+linked 0\n");
    free(one);
    free(two);
    world_free(&w);
}

static int
refuse(void *ctx, const struct diff_change *c, struct err *e)
{
    (void)ctx;
    (void)c;
    return err_set(e, ERR_LIMIT, "enough");
}

static void
diff__a_visitor_stops_it_and_a_missing_chunk_is_told(void **state)
{
    struct world w;
    struct sha256 a;
    struct sha256 b;
    struct sha256 none;
    struct tree_source source;
    struct diff_result r;
    struct err why;

    (void)state;
    world_init(&w);
    a = tree_of(&w);
    put(&w, "zz", 3, 1);
    b = tree_of(&w);
    source = tree_source_store(w.store);
    assert_int_equal(diff_trees(&a, &source, &b, &source, refuse, NULL, &r, &why), -1);
    assert_int_equal(why.code, ERR_LIMIT);
    sha256_of("none", 4, &none);
    assert_int_equal(diff_trees(&a, &source, &none, &source, tell, &w, &r, &why), -1);
    assert_int_equal(why.code, ERR_CORRUPT);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diff__equal_trees_have_none),
        cmocka_unit_test(diff__one_small_file_among_its_neighbours),
        cmocka_unit_test(diff__every_kind),
        cmocka_unit_test(diff__attributes_links_and_holes),
        cmocka_unit_test(diff__a_visitor_stops_it_and_a_missing_chunk_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
