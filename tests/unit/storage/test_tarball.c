/* Exports: what comes out goes in again as the same tree, and nothing else does. */
#include "tests/unit/storage/nasty.h"

#include <archive.h>
#include <archive_entry.h>

#include "storage/manifest.h"
#include "storage/tarball.h"

struct world {
    char *scratch;
    struct store *from;
    struct store *to;
    struct sha256 tree;
    struct sign_key *key;
    struct buf manifest;
    size_t n_left_out;
};

static void
open_stores(struct world *w)
{
    char *from = path_join(w->scratch, "store-from");
    char *to = path_join(w->scratch, "store-to");

    OK(store_open(&w->from, from, NULL, e));
    OK(store_open(&w->to, to, NULL, e));
    free(from);
    free(to);
}

/* The snapshot of w->tree, which is in the store. */
static void
sign_tree(struct world *w)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);

    OK(store_commit(w->from, e));
    OK(sign_key_new(&w->key, e));
    manifest_set(&m->id, "s0123456789ab");
    m->tree = w->tree;
    OK(manifest_encode(m, w->key, &w->manifest, e));
    manifest_free(m);
}

static void
world_init(struct world *w, const char *dir)
{
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_store_sink into = {0};
    struct build_sink sink;
    struct build_report report;
    int fd = open_dir(dir);

    open_stores(w);
    into.store = w->from;
    sink = build_sink_store(&into);
    OK(build_tree(fd, &o, &sink, &report, e));
    w->tree = report.tree;
    build_report_free(&report);
    sign_tree(w);
    (void)close(fd);
}

static void
world_free(struct world *w)
{
    store_close(w->from);
    store_close(w->to);
    sign_key_free(w->key);
    buf_free(&w->manifest);
    scratch_free(w->scratch);
}

static int
add(void *ctx, const void *data, size_t n, struct err *e)
{
    (void)e;
    buf_add(ctx, data, n);
    return 0;
}

static void
left_out(void *ctx, const char *path, const char *why)
{
    struct world *w = ctx;

    assert_non_null(path);
    assert_non_null(why);
    w->n_left_out++;
}

static void
export_to(struct world *w, bool plain, struct buf *out, struct tarball_report *r)
{
    struct tarball_options o = {.plain = plain, .left_out = left_out, .ctx = w};

    w->n_left_out = 0;
    OK(tarball_export(w->from, &w->tree, w->manifest.data, w->manifest.len, &o, add, out,
                      r, e));
    assert_int_equal(r->n_left_out, w->n_left_out);
}

/* From a file without a name, as a pipe would give it. */
static int
import_from(struct world *w, const void *data, size_t len, struct buf *manifest,
            struct tarball_report *r, struct err *e)
{
    const struct tarball_options o = {0};
    int fd = open(w->scratch, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    int rc;

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, len), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    rc = tarball_import(w->to, fd, &o, manifest, r, e);
    (void)close(fd);
    return rc;
}

static void
small_dir(const char *dir)
{
    char text[40000];

    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(i * i >> 3);
    }
    put_file(dir, "a", text, 1000);
    put_file(dir, "b/empty", text, 0);
    put_file(dir, "b/long", text, sizeof text);
    put_file(dir, "c", "c", 1);
    set_mtime(dir, "c", -2, 5);
}

static void
nasty_tree__comes_back_as_the_same_tree_in_both_kinds(void **state)
{
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    struct tarball_report out;
    struct tarball_report in;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    small_dir(dir);
    make_socket(dir, "sock");
    make_sparse(dir, "hole", (uint64_t)1 << 34);
    make_sparse(dir, "z-hole", 5000000);
    world_init(&w, dir);
    for (int plain = 0; plain < 2; plain++) {
        struct buf tar = BUF_INIT;
        struct buf manifest = BUF_INIT;

        export_to(&w, plain == 1, &tar, &out);
        assert_int_equal(out.n_left_out, 1);
        OK(import_from(&w, tar.data, tar.len, &manifest, &in, e));
        assert_memory_equal(&in.tree, &w.tree, sizeof in.tree);
        assert_int_equal(in.n_entries, out.n_entries);
        assert_int_equal(in.bytes, out.bytes);
        assert_int_equal(manifest.len, w.manifest.len);
        assert_memory_equal(manifest.data, w.manifest.data, manifest.len);
        buf_free(&tar);
        buf_free(&manifest);
    }
    free(dir);
    world_free(&w);
}

/* "", a (could not be read), b and d (further names of it), c and e (one whole file). */
static void
world_with_lost_file(struct world *w)
{
    struct tree_entry v[6] = {{.path = "", .type = TREE_DIR, .mode = 0755},
                              {.path = "a", .damage = TREE_UNREADABLE, .size = 4},
                              {.path = "b", .hard_link = true, .target = "a"},
                              {.path = "c", .size = 4, .stored = 4},
                              {.path = "d", .hard_link = true, .target = "a"},
                              {.path = "e", .hard_link = true, .target = "c"}};
    struct tree_chunk chunk = {.len = 4};
    struct tree_group g = {.entries = v, .n_entries = 6, .chunks = &chunk, .n_chunks = 1};
    struct tree_sink sink;
    struct tree_writer *tw;

    for (size_t i = 0; i < 6; i++) {
        v[i].path_len = strlen(v[i].path);
        v[i].user = v[i].group = "";
        v[i].type = i == 0 ? TREE_DIR : TREE_FILE;
        v[i].target_len = v[i].hard_link ? 1 : 0;
    }
    open_stores(w);
    sink = tree_sink_store(w->from);
    tw = tree_writer_new(&sink);
    OK(store_put(w->from, STORE_KIND_DATA, "text", 4, &chunk.id, NULL, e));
    OK(tree_writer_add(tw, &g, NULL, e));
    OK(tree_writer_finish(tw, &w->tree, NULL, e));
    tree_writer_free(tw);
    sign_tree(w);
}

/* The members' names, one after another. */
static void
names_in_tar(const struct buf *tar, struct buf *out)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;

    assert_int_equal(archive_read_support_filter_zstd(a), ARCHIVE_OK);
    assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(a, tar->data, tar->len), ARCHIVE_OK);
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        buf_printf(out, "%s ", archive_entry_pathname(entry));
    }
    assert_int_equal(archive_errno(a), 0);
    assert_int_equal(archive_read_free(a), ARCHIVE_OK);
}

static void
left_out_file__is_left_out_by_all_its_names(void **state)
{
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    struct tarball_report out;
    struct tarball_report in;

    (void)state;
    world_with_lost_file(&w);
    for (int plain = 0; plain < 2; plain++) {
        struct buf tar = BUF_INIT;
        struct buf manifest = BUF_INIT;
        struct buf names = BUF_INIT;

        export_to(&w, plain == 1, &tar, &out);
        assert_int_equal(out.n_left_out, 3);
        names_in_tar(&tar, &names);
        assert_string_equal(buf_str(&names), "./ ./c ./e ");
        OK(import_from(&w, tar.data, tar.len, &manifest, &in, e));
        assert_memory_equal(&in.tree, &w.tree, sizeof in.tree);
        assert_int_equal(in.n_left_out, 3);
        buf_free(&names);
        buf_free(&tar);
        buf_free(&manifest);
    }
    world_free(&w);
}

/* With so many chunks that the tree has its groups in parts. */
/* What tar and other programs see, without what is there for us alone. */
static void
access_list__is_one_for_any_tar(void **state)
{
    /* user::rw-, user:1:r--, group::r--, mask::r--, other::--- */
    static const uint8_t acl[] = {2,   0,   0,   0,   1,   0,   6,  0,   255, 255, 255,
                                  255, 2,   0,   4,   0,   1,   0,  0,   0,   4,   0,
                                  4,   0,   255, 255, 255, 255, 16, 0,   4,   0,   255,
                                  255, 255, 255, 32,  0,   0,   0,  255, 255, 255, 255};
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    struct buf tar = BUF_INIT;
    struct tarball_report r;
    bool seen = false;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    put_text(dir, "shared", "text");
    assert_true(set_attr(dir, "shared", "system.posix_acl_access", acl, sizeof acl));
    world_init(&w, dir);
    export_to(&w, true, &tar, &r);
    assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(a, tar.data, tar.len), ARCHIVE_OK);
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        const char *path = archive_entry_pathname(entry);
        char *text;

        if (strlen(path) < 6 || strcmp(path + strlen(path) - 6, "shared") != 0) {
            continue;
        }
        seen = true;
        text = archive_entry_acl_to_text(entry, NULL, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
        assert_non_null(text);
        assert_string_equal(text, "user::rw-\ngroup::r--\nother::---\nuser:1:r--\n"
                                  "mask::r--");
        free(text);
        assert_int_equal(archive_entry_xattr_count(entry), 0);
    }
    assert_true(seen);
    assert_int_equal(archive_read_free(a), ARCHIVE_OK);
    buf_free(&tar);
    free(dir);
    world_free(&w);
}

static void
long_file__comes_back_whole(void **state)
{
    const size_t piece = (size_t)1 << 20;
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    char *path = path_join(dir, "long");
    uint64_t *data = xmalloc(piece);
    struct buf tar = BUF_INIT;
    struct buf manifest = BUF_INIT;
    struct tarball_report out;
    struct tarball_report in;
    uint64_t seed = 7;
    int fd;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    for (int k = 0; k < 200; k++) {
        for (size_t i = 0; i < piece / sizeof *data; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            data[i] = seed;
        }
        assert_int_equal(fd_write_all(fd, data, piece), 0);
    }
    (void)close(fd);
    put_file(dir, "zlast", "z", 1);
    world_init(&w, dir);
    export_to(&w, true, &tar, &out);
    OK(import_from(&w, tar.data, tar.len, &manifest, &in, e));
    assert_memory_equal(&in.tree, &w.tree, sizeof in.tree);
    buf_free(&tar);
    buf_free(&manifest);
    free(data);
    free(path);
    free(dir);
    world_free(&w);
}

/* Cut anywhere, turned anywhere: refused, or (in what only tar looks at) the same tree.
 */
static void
damage__is_never_taken_for_the_snapshot(void **state)
{
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    struct buf tar = BUF_INIT;
    struct buf manifest = BUF_INIT;
    struct tarball_report r;
    size_t n_refused = 0;
    size_t n_same = 0;
    struct err why;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    small_dir(dir);
    world_init(&w, dir);
    export_to(&w, true, &tar, &r);
    for (size_t at = 0; at < tar.len - 1024; at += 97) {
        assert_int_equal(import_from(&w, tar.data, at, &manifest, &r, &why), -1);
        assert_true(why.code == ERR_CORRUPT || why.code == ERR_INVALID);
        assert_int_equal(manifest.len, 0);
    }
    for (size_t at = 0; at < tar.len; at += 41) {
        tar.data[at] ^= 0x10;
        if (import_from(&w, tar.data, tar.len, &manifest, &r, &why) == 0) {
            assert_memory_equal(&r.tree, &w.tree, sizeof r.tree);
            assert_int_equal(manifest.len, w.manifest.len);
            assert_memory_equal(manifest.data, w.manifest.data, manifest.len);
            buf_reset(&manifest);
            n_same++;
        } else {
            assert_true(why.code == ERR_CORRUPT || why.code == ERR_INVALID ||
                        why.code == ERR_VERSION);
            assert_int_equal(manifest.len, 0);
            n_refused++;
        }
        tar.data[at] ^= 0x10;
    }
    assert_true(n_refused > 500);
    assert_true(n_same < n_refused); /* padding, and extended headers' own words */
    OK(import_from(&w, tar.data, tar.len, &manifest, &r, e));
    buf_free(&tar);
    buf_free(&manifest);
    free(dir);
    world_free(&w);
}

static int
no_room(void *ctx, const void *data, size_t n, struct err *e)
{
    size_t *left = ctx;

    (void)data;
    if (n > *left) {
        return err_set(e, ERR_SPACE, "no room for it");
    }
    *left -= n;
    return 0;
}

static void
failing_write__is_told_as_it_is(void **state)
{
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    struct tarball_report r;
    struct err e;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    small_dir(dir);
    world_init(&w, dir);
    for (int plain = 0; plain < 2; plain++) {
        for (size_t room = 0; room < 20000; room += 4000) {
            struct tarball_options o = {.plain = plain == 1};
            size_t left = room;

            if (tarball_export(w.from, &w.tree, w.manifest.data, w.manifest.len, &o,
                               no_room, &left, &r, &e) != 0) {
                assert_int_equal(e.code, ERR_SPACE);
                assert_string_equal(e.msg, "no room for it");
            } else {
                assert_int_equal(plain, 0);
            }
        }
    }
    free(dir);
    world_free(&w);
}

/* A tree under the manifest of another one. */
static void
other_manifest__is_refused(void **state)
{
    struct world w = {.scratch = scratch_dir(), .manifest = BUF_INIT};
    char *dir = path_join(w.scratch, "src");
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct buf tar = BUF_INIT;
    struct buf manifest = BUF_INIT;
    struct tarball_report r;
    struct err why;

    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    small_dir(dir);
    world_init(&w, dir);
    manifest_set(&m->id, "s0123456789ab");
    sha256_of("other", 5, &m->tree);
    buf_reset(&w.manifest);
    OK(manifest_encode(m, w.key, &w.manifest, e));
    manifest_free(m);
    export_to(&w, true, &tar, &r);
    assert_int_equal(import_from(&w, tar.data, tar.len, &manifest, &r, &why), -1);
    assert_int_equal(why.code, ERR_CORRUPT);
    assert_non_null(strstr(why.msg, "manifest"));
    buf_free(&tar);
    buf_free(&manifest);
    free(dir);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nasty_tree__comes_back_as_the_same_tree_in_both_kinds),
        cmocka_unit_test(left_out_file__is_left_out_by_all_its_names),
        cmocka_unit_test(access_list__is_one_for_any_tar),
        cmocka_unit_test(long_file__comes_back_whole),
        cmocka_unit_test(damage__is_never_taken_for_the_snapshot),
        cmocka_unit_test(failing_write__is_told_as_it_is),
        cmocka_unit_test(other_manifest__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
