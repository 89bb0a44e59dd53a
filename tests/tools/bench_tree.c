/*
 * bench_tree scan DIR [ROUNDS]           the sweep alone
 * bench_tree build DIR [ROUNDS [CACHE]]  sweep, read, cut, hash; chunks go nowhere
 * bench_tree store DIR STORE [CACHE]     once, into a store (made if missing), committed
 * bench_tree get STORE TREE DIR          extract a tree into a new directory
 *
 * Times in microseconds: best and median of ROUNDS; the peak of memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/build.h"
#include "storage/extract.h"
#include "storage/scan.h"
#include "storage/store.h"

#define ROUNDS_MAX 1000

static int
compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static long
peak_kib(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_maxrss : 0;
}

static int
run_scan(int fd, uint64_t *n, struct err *e)
{
    struct scan_options o = {.everything = true};
    const struct scan_entry *entry;
    struct scan *s = NULL;
    int rc;

    *n = 0;
    if (scan_open(&s, fd, &o, e) != 0) {
        return -1;
    }
    while ((rc = scan_next(s, &entry, e)) == 0 && entry != NULL) {
        (*n)++;
    }
    scan_close(s);
    return rc;
}

static int
hash_only(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
          struct err *e)
{
    (void)ctx;
    (void)e;
    for (size_t i = 0; i < n && kind == STORE_KIND_DATA; i++) {
        sha256_of(chunks[i].data, chunks[i].len, &chunks[i].id);
    }
    return 0;
}

static void
print_report(const struct build_report *r)
{
    char id[SHA256_HEX_LEN + 1];

    sha256_format(&r->tree, id);
    (void)printf("tree %s: %" PRIu64 " entries, %" PRIu64 " bytes, %" PRIu64
                 " of metadata, %" PRIu64 " read, %" PRIu64 " groups known\n",
                 id, r->totals.n_entries, r->totals.bytes, r->totals.meta_bytes,
                 r->read_bytes, r->known_groups);
}

static int
run_build(int fd, const char *cache, struct store *s, bool print, uint64_t *n,
          struct err *e)
{
    struct build_store_sink into = {.store = s};
    struct build_sink sink =
        s != NULL ? build_sink_store(&into) : (struct build_sink){.put = hash_only};
    struct build_options o = {.policy = BUILD_SNAPSHOT, .cache_path = cache};
    struct build_report r;

    o.scan.everything = true;
    if (build_tree(fd, &o, &sink, &r, e) != 0) {
        return -1;
    }
    if (s != NULL && store_commit(s, e) != 0) {
        return -1;
    }
    *n = r.totals.n_entries;
    if (print) {
        print_report(&r);
    }
    build_report_free(&r);
    return 0;
}

static int
rounds_of(const char *mode, const char *dir, int rounds, const char *cache, struct err *e)
{
    int64_t ns[ROUNDS_MAX];
    uint64_t n = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY);

    if (fd == -1 || rounds < 1 || rounds > ROUNDS_MAX) {
        return err_set_sys(e, errno, "cannot open '%s'", dir);
    }
    for (int i = 0; i < rounds; i++) {
        int64_t begin = clock_mono_ns();
        int rc = strcmp(mode, "scan") == 0
                     ? run_scan(fd, &n, e)
                     : run_build(fd, cache, NULL, i + 1 == rounds, &n, e);

        if (rc != 0) {
            return -1;
        }
        ns[i] = clock_mono_ns() - begin;
    }
    qsort(ns, (size_t)rounds, sizeof ns[0], compare_ns);
    (void)printf("%s: %" PRIu64 " entries, best %" PRId64 " us, median %" PRId64
                 " us, peak %ld KiB\n",
                 mode, n, ns[0] / 1000, ns[rounds / 2] / 1000, peak_kib());
    (void)close(fd);
    return 0;
}

static int
into_store(const char *dir, const char *store_path, const char *cache, struct err *e)
{
    int64_t begin = clock_mono_ns();
    struct store *s = NULL;
    uint64_t n = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY);

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s'", dir);
    }
    if (store_open(&s, store_path, NULL, e) != 0 ||
        run_build(fd, cache, s, true, &n, e) != 0) {
        return -1;
    }
    store_close(s);
    (void)printf("store: %" PRIu64 " entries, %" PRId64 " us, peak %ld KiB\n", n,
                 (clock_mono_ns() - begin) / 1000, peak_kib());
    (void)close(fd);
    return 0;
}

static int
out_of_store(const char *store_path, const char *tree, const char *dir, struct err *e)
{
    int64_t begin = clock_mono_ns();
    struct extract_options o = {.fresh = true};
    struct extract_report r;
    struct tree_source from;
    struct sha256 id;
    struct store *s = NULL;
    int fd;

    if (!hex_parse(tree, strlen(tree), id.b, sizeof id.b)) {
        return err_set(e, ERR_INVALID, "'%s' is no tree", tree);
    }
    if (mkdir(dir, 0755) != 0 || (fd = open(dir, O_RDONLY | O_DIRECTORY)) == -1) {
        return err_set_sys(e, errno, "cannot make '%s'", dir);
    }
    if (store_open(&s, store_path, NULL, e) != 0) {
        return -1;
    }
    from = tree_source_store(s);
    if (extract_tree(fd, &id, &from, &o, &r, e) != 0) {
        return -1;
    }
    store_close(s);
    (void)printf("get: %" PRIu64 " entries, %" PRId64 " us, peak %ld KiB\n",
                 r.totals.n_entries, (clock_mono_ns() - begin) / 1000, peak_kib());
    (void)close(fd);
    return 0;
}

int
main(int argc, char **argv)
{
    struct err e = {0};
    const char *mode = argc > 2 ? argv[1] : "";
    int rounds = argc > 3 ? atoi(argv[3]) : 5; /* NOLINT(cert-err34-c) */
    int rc;

    if (strcmp(mode, "scan") == 0 || strcmp(mode, "build") == 0) {
        rc = rounds_of(mode, argv[2], rounds, argc > 4 ? argv[4] : NULL, &e);
    } else if (strcmp(mode, "store") == 0 && argc > 3) {
        rc = into_store(argv[2], argv[3], argc > 4 ? argv[4] : NULL, &e);
    } else if (strcmp(mode, "get") == 0 && argc > 4) {
        rc = out_of_store(argv[2], argv[3], argv[4], &e);
    } else {
        (void)fprintf(stderr, "usage: bench_tree scan|build|store|get ...\n");
        return 100;
    }
    if (rc != 0) {
        (void)fprintf(stderr, "bench_tree: %s\n", e.msg);
        return 101;
    }
    return 0;
}
