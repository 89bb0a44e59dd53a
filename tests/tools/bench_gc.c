/*
 * Figures of a store of many chunks, all of it real: packs, index, trees, manifests.
 *
 *   bench_gc DIR N       N chunks of 16 bytes in a new store at DIR/store, nine tenths of
 *                        them of one snapshot and the rest of another, which is given up
 *
 * The chunks are small, so that ten million fit on a disk: what gc, a rebuild and opening
 * take goes by their number; only writing packs anew, by their bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sign.h"
#include "storage/gc.h"
#include "storage/manifest.h"
#include "storage/rebuild.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/tree.h"

#define CHUNK_BYTES 16
#define FILE_CHUNKS 1000
#define KEPT_ID     "skept00000000"
#define GONE_ID     "sgone00000000"

static void
die(const struct err *e)
{
    (void)fprintf(stderr, "bench_gc: %s\n", e->msg);
    exit(1); /* a tool: nothing to hand back */
}

/* What has been done since *since, which becomes now. */
static void
say(const char *what, int64_t *since)
{
    int64_t then = *since;
    struct rusage u;

    *since = clock_mono_ns();
    (void)getrusage(RUSAGE_SELF, &u);
    (void)printf("%-34s %9.3f s, at most %.1f MB of memory so far\n", what,
                 (double)(*since - then) / 1e9, (double)u.ru_maxrss / 1024);
    (void)fflush(stdout);
}

static struct store *
open_store(const char *dir)
{
    struct store *s;
    struct err e;

    if (store_open(&s, dir, NULL, &e) != 0) {
        die(&e);
    }
    return s;
}

static void
add_root(struct tree_writer *w)
{
    struct tree_entry root = {
        .path = "", .type = TREE_DIR, .mode = 0755, .user = "", .group = ""};
    struct tree_group g = {.entries = &root, .n_entries = 1};
    struct err e;

    if (tree_writer_add(w, &g, NULL, &e) != 0) {
        die(&e);
    }
}

/* A file of the chunks from number `from` on. */
static void
add_file(struct store *s, struct tree_writer *w, uint64_t from, size_t n)
{
    struct tree_chunk chunks[FILE_CHUNKS];
    struct tree_entry file = {.type = TREE_FILE, .mode = 0644, .user = "", .group = ""};
    struct tree_group g = {
        .entries = &file, .n_entries = 1, .chunks = chunks, .n_chunks = n};
    char path[24];
    struct err e;

    for (size_t i = 0; i < n; i++) {
        uint8_t data[CHUNK_BYTES] = "gpurun ";

        put_u64(data + CHUNK_BYTES - 8, from + i);
        chunks[i].len = CHUNK_BYTES;
        if (store_put(s, STORE_KIND_DATA, data, sizeof data, &chunks[i].id, NULL, &e) !=
            0) {
            die(&e);
        }
    }
    file.path = path;
    file.path_len = (size_t)snprintf(path, sizeof path, "%016" PRIx64, from);
    file.size = file.stored = n * CHUNK_BYTES;
    if (tree_writer_add(w, &g, NULL, &e) != 0) {
        die(&e);
    }
}

static void
keep(struct store *s, const struct sign_key *key, const char *id,
     const struct sha256 *tree)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct err e;

    manifest_set(&m->id, id);
    m->tree = *tree;
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = m->made_wall_ns + SNAP_KEEP_DEFAULT_S * (int64_t)1000000000;
    if (manifest_write(s, m, key, &e) != 0) {
        die(&e);
    }
    manifest_free(m);
}

/* Snapshot id of the chunks from `from` to `to`. */
static void
snapshot(struct store *s, const struct sign_key *key, const char *id, uint64_t from,
         uint64_t to)
{
    struct tree_sink sink = tree_sink_store(s);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_totals totals;
    struct sha256 tree;
    struct err e;

    add_root(w);
    for (uint64_t at = from; at < to; at += FILE_CHUNKS) {
        add_file(s, w, at, to - at < FILE_CHUNKS ? (size_t)(to - at) : FILE_CHUNKS);
    }
    if (tree_writer_finish(w, &tree, &totals, &e) != 0) {
        die(&e);
    }
    tree_writer_free(w);
    keep(s, key, id, &tree);
}

static void
fill(const char *dir, uint64_t n)
{
    struct store *s = open_store(dir);
    struct sign_key *key;
    struct err e;

    if (sign_key_new(&key, &e) != 0) {
        die(&e);
    }
    snapshot(s, key, KEPT_ID, 0, n / 10 * 9);
    snapshot(s, key, GONE_ID, n / 10 * 9, n);
    sign_key_free(key);
    store_close(s);
}

static void
say_index(const char *dir)
{
    char *path = path_join(dir, "index.db");
    struct stat st;

    if (stat(path, &st) == 0) {
        (void)printf("index: %.1f MB\n", (double)st.st_size / 1e6);
    }
    free(path);
}

static struct gc_result
collect(const char *dir)
{
    struct gc_options o = {.walk = gc_walk_tree, .wait = true};
    struct store *s = open_store(dir);
    struct gc_result r;
    struct err e;

    if (gc_run(s, &o, &r, &e) != 0) {
        die(&e);
    }
    store_close(s);
    (void)printf("gc: %" PRIu64 " claimed, %" PRIu64 " condemned, %" PRIu64
                 " deleted, %" PRIu64 " packs gone or written anew\n",
                 r.n_live, r.n_condemned, r.n_deleted,
                 r.n_packs_removed + r.n_packs_rewritten);
    return r;
}

static void
give_up(const char *dir)
{
    struct store *s = open_store(dir);
    struct err e;

    if (snap_drop(s, GONE_ID, "bench", &e) != 0) {
        die(&e);
    }
    store_close(s);
}

int
main(int argc, char **argv)
{
    uint64_t n = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    struct rebuild_result built;
    int64_t t = clock_mono_ns();
    struct gc_result r;
    struct err e;
    char *dir;

    if (n < 10) {
        (void)fprintf(stderr, "usage: bench_gc DIR N\n");
        return 2;
    }
    dir = path_join(argv[1], "store");
    fill(dir, n);
    say("filled", &t);
    say_index(dir);
    store_close(open_store(dir));
    say("opened and closed", &t);
    (void)collect(dir);
    say("gc, all of it claimed", &t);
    give_up(dir);
    t = clock_mono_ns();
    (void)collect(dir);
    say("gc that condemns a tenth", &t);
    r = collect(dir);
    say("gc that takes it away", &t);
    if (r.n_deleted < n / 10) {
        (void)fprintf(stderr, "bench_gc: only %" PRIu64 " chunks went\n", r.n_deleted);
        return 1;
    }
    if (store_rebuild(dir, &built, &e) != 0) {
        die(&e);
    }
    (void)printf("rebuilt: %" PRIu64 " chunks of %" PRIu64 " packs\n", built.n_chunks,
                 built.n_packs);
    say("index built anew from the packs", &t);
    say_index(dir);
    free(dir);
    return 0;
}
