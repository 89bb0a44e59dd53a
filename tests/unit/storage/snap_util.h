#ifndef TESTS_UNIT_STORAGE_SNAP_UTIL_H
#define TESTS_UNIT_STORAGE_SNAP_UTIL_H

#include <dirent.h>

#include "base/sign.h"
#include "storage/fsck.h"
#include "storage/gc.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "tests/unit/storage/store_util.h"

/*
 * Snapshots for tests of what lies below trees: a "tree" is one chunk that lists ids, and
 * snapshot number n refers to chunks [from, to) of make_chunk.
 */
#define SNAP_CHUNK ((size_t)3000)

static inline struct sign_key *
test_key(void)
{
    static struct sign_key *key;

    if (key == NULL) {
        OK(sign_key_new(&key, e));
    }
    return key;
}

static inline int
walk_list(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
          struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = store_get(s, tree, &b, e);

    if (rc == 0) {
        rc = chunk(arg, tree, e);
    }
    for (size_t at = 0; rc == 0 && at + SHA256_LEN <= b.len; at += SHA256_LEN) {
        struct sha256 id;

        memcpy(id.b, b.data + at, SHA256_LEN);
        rc = chunk(arg, &id, e);
    }
    buf_free(&b);
    return rc;
}

/* For fsck: a chunk is a file of its own, named by its id. */
static inline int
list_files(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
           void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    struct buf b = BUF_INIT;

    if (store_get(s, tree, &b, e) == -1) {
        return -1;
    }
    for (size_t at = 0; at < b.len; at += SHA256_LEN) {
        struct sha256 id;
        char hex[SHA256_HEX_LEN + 1];

        memcpy(id.b, b.data + at, SHA256_LEN);
        if (missing(missing_arg, &id)) {
            sha256_format(&id, hex);
            file(file_arg, hex, SHA256_HEX_LEN);
        }
    }
    buf_free(&b);
    return 0;
}

static inline struct sha256
snap_chunk_id(uint64_t n)
{
    uint8_t data[SNAP_CHUNK];
    struct sha256 id;

    sha256_of(data, make_chunk(n, data, sizeof data), &id);
    return id;
}

static inline void
snap_name(uint64_t n, char id[MANIFEST_ID_MAX + 1])
{
    (void)snprintf(id, MANIFEST_ID_MAX + 1, "s%012llu", (unsigned long long)n);
}

/* Put chunks [from, to) and their list into s; the list's id is the tree. */
static inline int
snap_put_tree(struct store *s, uint64_t from, uint64_t to, struct sha256 *tree,
              struct err *e)
{
    struct buf list = BUF_INIT;
    int rc = 0;

    for (uint64_t i = from; rc == 0 && i < to; i++) {
        uint8_t data[SNAP_CHUNK];
        size_t len = make_chunk(i, data, sizeof data);
        struct sha256 id;

        rc = store_put(s, STORE_KIND_DATA, data, len, &id, NULL, e);
        buf_add(&list, id.b, SHA256_LEN);
    }
    if (rc == 0) {
        rc = store_put(s, STORE_KIND_META, list.data, list.len, tree, NULL, e);
    }
    buf_free(&list);
    return rc;
}

/* Write the manifest of snapshot n. */
static inline int
snap_write(struct store *s, uint64_t n, const struct sha256 *tree, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    char id[MANIFEST_ID_MAX + 1];
    int rc;

    snap_name(n, id);
    manifest_set(&m->id, id);
    m->made_wall_ns = (int64_t)n;
    m->tree = *tree;
    rc = manifest_write(s, m, test_key(), e);
    manifest_free(m);
    return rc;
}

static inline int
snap_make(struct store *s, uint64_t n, uint64_t from, uint64_t to, struct err *e)
{
    struct sha256 tree;

    if (snap_put_tree(s, from, to, &tree, e) == -1 || store_commit(s, e) == -1) {
        return -1;
    }
    return snap_write(s, n, &tree, e);
}

/* Is every byte of snapshot n there? */
static inline void
snap_check(struct store *s, uint64_t n, uint64_t from, uint64_t to)
{
    char id[MANIFEST_ID_MAX + 1];
    struct manifest *m = NULL;
    struct buf list = BUF_INIT;

    snap_name(n, id);
    OK(manifest_read(s, id, &m, e));
    OK(store_get(s, &m->tree, &list, e));
    assert_int_equal(list.len, (to - from) * SHA256_LEN);
    for (uint64_t i = from; i < to; i++) {
        check_chunk(s, i, SNAP_CHUNK);
    }
    manifest_free(m);
    buf_free(&list);
}

static inline struct store *
open_test_store(const char *dir)
{
    struct store *s = NULL;

    OK(store_open(&s, dir, NULL, e));
    return s;
}

/* One gc with a handle of its own. */
static inline struct gc_result
run_gc(const char *dir)
{
    const struct gc_options o = {.walk = walk_list};
    struct gc_result r = {0};
    struct store *s = open_test_store(dir);

    OK(gc_run(s, &o, &r, e));
    store_close(s);
    return r;
}

static inline void
drop_snap(struct store *s, uint64_t n)
{
    char id[MANIFEST_ID_MAX + 1];

    snap_name(n, id);
    OK(snap_drop(s, id, "removed", e));
}

static inline size_t
count_packs(const char *dir)
{
    char *path = path_join(dir, "packs");
    DIR *d = opendir(path);
    struct dirent *en;
    size_t n = 0;

    assert_non_null(d);
    while ((en = readdir(d)) != NULL) {
        n += en->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(d);
    free(path);
    return n;
}

#endif
