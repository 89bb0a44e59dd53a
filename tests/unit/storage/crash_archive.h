#ifndef TESTS_UNIT_STORAGE_CRASH_ARCHIVE_H
#define TESTS_UNIT_STORAGE_CRASH_ARCHIVE_H

#include "storage/tarball.h"
#include "tests/unit/storage/snap_util.h"
#include "tests/unit/storage/tree_util.h"

/* A snapshot with a real tree, as an archive and in a store, and what it is. */
static struct {
    char *file;
    char *store;
    struct buf manifest; /* signed */
    struct sha256 tree;
    uint64_t n_entries;
} archive;
#define ARCHIVE_ID "s0123456789ab"

static inline int
to_buf(void *ctx, const void *data, size_t n, struct err *e)
{
    (void)e;
    buf_add(ctx, data, n);
    return 0;
}

/* What work_import reads: some files as a signed archive. */
static inline void
make_archive(const char *dir)
{
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    const struct tarball_options to = {0};
    struct build_store_sink into = {0};
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    char *src = path_join(dir, "src");
    struct buf tar = BUF_INIT;
    struct build_sink sink;
    struct build_report report;
    struct tarball_report r;
    int fd;

    for (unsigned i = 0; i < 40; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "d%u/f%u", i % 5, i);
        put_random(src, name, 500 + (size_t)i * 311, i);
    }
    put_random(src, "big", 700000, 77);
    fd = open_dir(src);
    archive.store = path_join(dir, "from");
    into.store = open_test_store(archive.store);
    sink = build_sink_store(&into);
    OK(build_tree(fd, &o, &sink, &report, e));
    OK(store_commit(into.store, e));
    archive.tree = report.tree;
    manifest_set(&m->id, ARCHIVE_ID);
    m->tree = report.tree;
    OK(manifest_encode(m, test_key(), &archive.manifest, e));
    OK(tarball_export(into.store, &report.tree, archive.manifest.data,
                      archive.manifest.len, &to, to_buf, &tar, &r, e));
    archive.n_entries = r.n_entries;
    put_file(dir, "archive", tar.data, tar.len);
    archive.file = path_join(dir, "archive");
    build_report_free(&report);
    store_close(into.store);
    manifest_free(m);
    buf_free(&tar);
    (void)close(fd);
    free(src);
}

static inline void
free_archive(void)
{
    free(archive.file);
    free(archive.store);
    buf_free(&archive.manifest);
}

#endif
