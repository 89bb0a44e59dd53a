#include "tests/unit/storage/tree_util.h"

#include <dirent.h>
#include <sqlite3.h>

#include "storage/extract.h"
#include "storage/fsck.h"
#include "storage/rebuild.h"
#include "storage/verify.h"
#include "tests/unit/storage/snap_util.h"

/*
 * One bit of a store is flipped, anywhere in its packs, its index or its manifests; then
 * the trees that were kept in it are restored. What comes is what was kept, or is
 * refused; no more than one chunk is lost, and every file that does not need it comes;
 * the next who keeps the same makes all of it good. GPURUN_FLIPS says how many of each
 * kind.
 */
#define N_TREES 3

struct item {
    char *path;
    bool is_dir;
    struct sha256 sum; /* of all that extraction gives back */
};

struct list {
    struct item *v;
    size_t n;
};

static char *top;
static char *model; /* the store, copied for every flip */
static char *rows;  /* of its index */
static struct kept {
    char *src;
    struct list items;
    struct sha256 tree;
} kept[N_TREES];

/* ---- what a directory holds ---- */

static struct sha256
sum_of(const char *path, const struct stat *st)
{
    struct buf b = BUF_INIT;
    struct sha256 sum;
    char target[4096];
    struct err e = {0};

    buf_printf(&b, "%o %lld ", (unsigned)st->st_mode, (long long)stat_mtime_ns(st));
    if (S_ISREG(st->st_mode)) {
        assert_ok(file_read(path, (size_t)1 << 30, &b, &e));
    } else if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(path, target, sizeof target);

        assert_true(n > 0);
        buf_add(&b, target, (size_t)n);
    }
    sha256_of(b.data, b.len, &sum);
    buf_free(&b);
    return sum;
}

static void
list_below(struct list *l, const char *root, const char *path)
{
    char *full = path_join(root, path);
    struct dirent **names;
    struct item *it;
    struct stat st;
    int n;

    assert_int_equal(lstat(full, &st), 0);
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    it = &l->v[l->n++];
    *it = (struct item){xstrdup(path), S_ISDIR(st.st_mode), sum_of(full, &st)};
    n = S_ISDIR(st.st_mode) ? scandir(full, &names, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;

        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            char *below = strcmp(path, ".") == 0 ? xstrdup(name) : path_join(path, name);

            list_below(l, root, below);
            free(below);
        }
        free(names[i]);
    }
    if (S_ISDIR(st.st_mode)) {
        free(names);
    }
    free(full);
}

static void
list_free(struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].path);
    }
    free(l->v);
}

/* ---- the model ---- */

static void
make_source(unsigned k)
{
    const char *dir = kept[k].src;
    char name[64];
    char *a;
    char *b;

    for (unsigned i = 0; i < 30; i++) {
        /* of the first two trees all but some are the same */
        unsigned seed = k == 2 || i % 10 == 0 ? k * 100 + i : i;

        (void)snprintf(name, sizeof name, "d%u/e%u/f%02u", i % 3, i % 2, i);
        put_random(dir, name, (size_t)seed * 997 % 20000, seed);
    }
    put_random(dir, "big", 400000 + k, 1000 + k / 2);
    put_random(dir, "edge", 131072, 2000);
    put_text(dir, "empty", "");
    a = path_join(dir, "d1/linked");
    b = path_join(dir, "edge");
    assert_int_equal(link(b, a), 0);
    free(a);
    a = path_join(dir, "sym");
    assert_int_equal(symlink("d0/e0/f00", a), 0);
    free(a);
    free(b);
}

/* Keep tree k in the store, as the next snapshot of the same files does. */
static struct sha256
keep(struct store *s, unsigned k)
{
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct build_report report;
    int fd = open_dir(kept[k].src);
    struct sha256 tree;

    OK(build_tree(fd, &o, &sink, &report, e));
    OK(store_commit(s, e));
    tree = report.tree;
    build_report_free(&report);
    (void)close(fd);
    return tree;
}

/* ---- what an index says ---- */

static int
add_row(void *arg, int n, char **values, char **names)
{
    (void)names;
    for (int i = 0; i < n; i++) {
        buf_printf(arg, "%s ", values[i] == NULL ? "-" : values[i]);
    }
    buf_printf(arg, "\n");
    return 0;
}

/* All that packs say, too: of packs by name, as their numbers are given anew. */
static char *
rows_of(const char *dir)
{
    static const char sql[] =
        "SELECT hex(name), bytes, n, raw, stored FROM pack ORDER BY name;"
        "SELECT hex(id), hex(name), off, c.stored, c.raw, codec"
        " FROM chunk c JOIN pack ON no = c.pack ORDER BY id";
    char *path = path_join(dir, "index.db");
    struct buf text = BUF_INIT;
    sqlite3 *db = NULL;
    char *copy;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, add_row, &text, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    copy = xstrdup(buf_str(&text));
    buf_free(&text);
    free(path);
    return copy;
}

static int
make_model(void **state)
{
    char *made_anew;
    struct store *s;

    (void)state;
    top = scratch_dir();
    model = path_join(top, "model");
    s = open_test_store(model);
    for (unsigned k = 0; k < N_TREES; k++) {
        kept[k].src = xasprintf("%s/src%u", top, k);
        make_source(k);
        list_below(&kept[k].items, kept[k].src, ".");
        kept[k].tree = keep(s, k);
        OK(snap_write(s, k, &kept[k].tree, e));
    }
    store_close(s);
    rows = rows_of(model);
    OK(store_rebuild(model, NULL, e));
    made_anew = rows_of(model);
    assert_string_equal(rows, made_anew);
    free(made_anew);
    return 0;
}

static int
free_model(void **state)
{
    (void)state;
    for (unsigned k = 0; k < N_TREES; k++) {
        list_free(&kept[k].items);
        free(kept[k].src);
    }
    free(rows);
    free(model);
    scratch_free(top);
    return 0;
}

/* ---- restoring ---- */

/* Extract tree k, or a path of it, into a fresh directory; what extraction says. */
static int
restore(struct store *s, unsigned k, const char *only, char **out, struct err *e)
{
    const struct extract_options o = {.fresh = true, .only = only, .n_threads = 1};
    struct tree_source from = tree_source_store(s);
    struct extract_report r;
    int rc;
    int fd;

    *out = scratch_dir();
    fd = open_dir(*out);
    rc = extract_tree(fd, &kept[k].tree, &from, &o, &r, e);
    (void)close(fd);
    return rc;
}

static void
assert_same_items(const struct list *got, const struct list *want)
{
    assert_int_equal(got->n, want->n);
    for (size_t i = 0; i < want->n; i++) {
        assert_string_equal(got->v[i].path, want->v[i].path);
        if (!sha256_equal(&got->v[i].sum, &want->v[i].sum)) {
            fail_msg("'%s' is not what was kept", want->v[i].path);
        }
    }
}

/* All of tree k comes and is right; or, if that is allowed, it is refused. */
static void
restore_whole(struct store *s, unsigned k, bool may_fail)
{
    struct list got = {0};
    struct err why = {0};
    char *dir;

    if (restore(s, k, NULL, &dir, &why) == 0) {
        list_below(&got, dir, ".");
        assert_same_items(&got, &kept[k].items);
    } else if (!may_fail) {
        fail_msg("tree %u cannot be restored: %s", k, why.msg);
    }
    list_free(&got);
    scratch_free(dir);
}

static void
restore_one(struct store *s, unsigned k, const struct item *want)
{
    const char *slash = strrchr(want->path, '/');
    const char *name = slash != NULL ? slash + 1 : want->path;
    struct err why = {0};
    struct sha256 sum;
    struct stat st;
    char *path;
    char *dir;

    if (restore(s, k, want->path, &dir, &why) == -1) {
        fail_msg("'%s' of tree %u needs nothing that is lost: %s", want->path, k,
                 why.msg);
    }
    path = path_join(dir, name);
    assert_int_equal(lstat(path, &st), 0);
    sum = sum_of(path, &st);
    assert_true(sha256_equal(&sum, &want->sum));
    free(path);
    scratch_free(dir);
}

struct names {
    char *v[256];
    size_t n;
};

static void
add_name(void *arg, const char *path, size_t path_len, const struct err *why)
{
    struct names *n = arg;

    (void)why;
    assert_true(n->n < 256);
    n->v[n->n++] = xasprintf("%.*s", (int)path_len, path);
}

static bool
is_in(const struct names *n, const char *path)
{
    for (size_t i = 0; i < n->n; i++) {
        if (strcmp(n->v[i], path) == 0) {
            return true;
        }
    }
    return false;
}

/* What is said to be damaged does not come; all else does. How many files do not? */
static size_t
restore_what_is_sound(struct store *s, unsigned k)
{
    struct names damaged = {.n = 0};
    struct verify_result v;

    OK(verify_tree(s, &kept[k].tree,
                   &(struct verify_options){.damaged = add_name, .arg = &damaged}, &v,
                   e));
    assert_int_equal(v.n_damaged, damaged.n);
    if (damaged.n == 0) {
        restore_whole(s, k, false);
    }
    for (size_t i = 0; damaged.n > 0 && i < kept[k].items.n; i++) {
        const struct item *it = &kept[k].items.v[i];

        if (!it->is_dir && !is_in(&damaged, it->path)) {
            restore_one(s, k, it);
        }
    }
    for (size_t i = 0; i < damaged.n; i++) {
        struct err why = {0};
        char *dir;

        assert_int_equal(restore(s, k, damaged.v[i], &dir, &why), -1);
        scratch_free(dir);
        free(damaged.v[i]);
    }
    return damaged.n;
}

/* ---- a flip ---- */

static size_t
experiments(size_t dflt)
{
    const char *n = getenv("GPURUN_FLIPS"); /* make soak asks for more */

    return n == NULL ? dflt : (size_t)strtoul(n, NULL, 10);
}

/* Somebody restores before anybody checks: nothing wrong may come. */
static void
restore_unchecked(const char *dir)
{
    struct store *s = NULL;
    struct err why;

    if (store_open(&s, dir, NULL, &why) == -1) {
        return; /* it was seen */
    }
    for (unsigned k = 0; k < N_TREES; k++) {
        restore_whole(s, k, true);
    }
    store_close(s);
}

static struct fsck_result
check(const char *dir)
{
    const struct fsck_options o = {.walk = gc_walk_tree, .files = fsck_files_tree};
    struct fsck_result r;

    OK(fsck_run(dir, &o, &r, e));
    assert_int_equal(r.n_manifests_lost, 0);
    return r;
}

/* Afterwards all is well: nothing was lost, or the same files are kept once more. */
static void
mend(const char *dir)
{
    struct store *s = open_test_store(dir);
    struct fsck_result r;

    for (unsigned k = 0; k < N_TREES; k++) {
        struct sha256 tree = keep(s, k);

        assert_true(sha256_equal(&tree, &kept[k].tree));
        restore_whole(s, k, false);
    }
    store_close(s);
    r = check(dir);
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(r.n_index_errors, 0);
    assert_int_equal(r.n_manifests_repaired, 0);
}

/* Seen or not, behind fsck the index says what packs do that are as they were. */
static void
check_rows(const char *dir)
{
    char *now = rows_of(dir);

    assert_string_equal(now, rows);
    free(now);
}

/* What fsck says of the flip, and is no chunk of it lost, or one? */
static struct fsck_result
one_flip(const char *rel, off_t at, uint8_t mask, bool read_first)
{
    char *dir = scratch_dir();
    char *cmd = xasprintf("cp -a %s/. %s/", model, dir);
    char *path = path_join(dir, rel);
    struct fsck_result r;
    struct store *s;
    size_t n_lost = 0;

    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    unit_flip(path, at, mask);
    if (read_first) {
        restore_unchecked(dir);
    }
    r = check(dir);
    if (r.n_bad_packs == 0) {
        check_rows(dir);
    }
    s = open_test_store(dir);
    for (unsigned k = 0; k < N_TREES; k++) {
        n_lost += restore_what_is_sound(s, k);
    }
    store_close(s);
    assert_true(r.n_bad_chunks <= 1);
    assert_int_equal(r.n_files_damaged, n_lost);
    if (!read_first) {
        assert_int_equal(r.n_bad_chunks > 0, n_lost > 0);
    }
    mend(dir);
    free(path);
    free(cmd);
    scratch_free(dir);
    return r;
}

/* The nth byte of all files in model/sub whose names end so. */
static char *
place_of(const char *sub, const char *end, uint64_t n, off_t *at, uint64_t *all)
{
    char *path = path_join(model, sub);
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    char *found = NULL;

    *all = 0;
    for (int i = 0; i < count; i++) {
        size_t len = strlen(names[i]->d_name);

        if (len > strlen(end) && strcmp(names[i]->d_name + len - strlen(end), end) == 0) {
            char *full = path_join(path, names[i]->d_name);
            struct stat st;

            assert_int_equal(stat(full, &st), 0);
            if (found == NULL && n < *all + (uint64_t)st.st_size) {
                *at = (off_t)(n - *all);
                found = path_join(sub, names[i]->d_name);
            }
            *all += (uint64_t)st.st_size;
            free(full);
        }
        free(names[i]);
    }
    free(names);
    free(path);
    return found;
}

/* How many of the flips did fsck itself see? */
static size_t
flip_in(const char *sub, const char *end, size_t n, size_t may_lose)
{
    uint64_t seed = 17;
    size_t n_seen = 0;
    uint64_t all;
    off_t at;

    free(place_of(sub, end, 0, &at, &all));
    for (size_t i = 0; i < n; i++) {
        char *rel = place_of(sub, end, mix(&seed) % all, &at, &all);
        uint8_t mask = (uint8_t)(1u << (mix(&seed) % 8));
        struct fsck_result r;

        print_message("%s byte %lld, bit %x%s\r", rel, (long long)at, mask,
                      i % 2 == 0 ? ", checked first" : "");
        r = one_flip(rel, at, mask, i % 2 == 1);
        assert_true(r.n_bad_chunks <= may_lose);
        n_seen += r.n_bad_packs > 0 || r.n_index_errors > 0 || r.n_manifests_repaired > 0;
        free(rel);
    }
    print_message("%zu bits flipped in %s: %zu seen by fsck\n", n, end, n_seen);
    return n_seen;
}

static void
flip__in_a_pack_is_seen_and_takes_one_chunk_at_most(void **state)
{
    size_t n = experiments(10);

    (void)state;
    assert_int_equal(flip_in("packs", ".pack", n, 1), n);
}

/* Bytes of it that mean nothing may turn unseen; it says the same then (check_rows). */
static void
flip__in_the_index_takes_nothing(void **state)
{
    (void)state;
    (void)flip_in(".", ".db", experiments(6), 0);
}

static void
flip__in_a_manifest_is_seen_and_takes_nothing(void **state)
{
    size_t n = experiments(4);

    (void)state;
    assert_int_equal(flip_in("snaps", ".manifest", n, 0), n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flip__in_a_pack_is_seen_and_takes_one_chunk_at_most),
        cmocka_unit_test(flip__in_the_index_takes_nothing),
        cmocka_unit_test(flip__in_a_manifest_is_seen_and_takes_nothing),
    };

    return cmocka_run_group_tests(tests, make_model, free_model);
}
