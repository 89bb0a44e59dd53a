/*
 * Figures of the store alone.
 *
 *   bench_store gear|hash|zstd FILE       one step in memory, one thread
 *   bench_store put STORE [THREADS] <LIST put the contents of the files LIST names
 *   bench_store get STORE                 read every chunk that the last put wrote down
 *   bench_store has STORE                 open the store and ask for all of them at once
 *   bench_store index DIR N               an index of N made-up chunks, and its rebuild
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

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "storage/chunker.h"
#include "storage/codec.h"
#include "storage/index.h"
#include "storage/index_bulk.h"
#include "storage/index_gc.h"
#include "storage/putq.h"
#include "storage/store.h"

static int
die(const struct err *e)
{
    (void)fprintf(stderr, "bench_store: %s\n", e->msg);
    exit(1); /* a tool: nothing to hand back */
}

static void
say_rate(const char *what, uint64_t bytes, int64_t ns)
{
    (void)printf("%-8s %8.1f MB  %8.1f ms  %6.2f GB/s\n", what, (double)bytes / 1e6,
                 (double)ns / 1e6, (double)bytes / (double)ns);
}

static void
say_memory(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    (void)printf("memory   %8.1f MB peak  cpu %.2f s\n", (double)u.ru_maxrss / 1024,
                 (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

static void
bench_memory(const char *what, const char *path)
{
    struct buf data = BUF_INIT;
    struct codec *c = codec_new();
    struct sha256 id;
    struct err e;
    uint64_t out_bytes = 0;
    size_t n = 0;
    int64_t t0;

    if (file_read(path, (size_t)4 << 30, &data, &e) == -1) {
        (void)die(&e);
    }
    t0 = clock_mono_ns();
    for (size_t at = 0; at < data.len; n++) {
        size_t len = chunker_cut(data.data + at, data.len - at);
        const void *out = NULL;
        size_t out_len = 0;

        if (strcmp(what, "hash") == 0) {
            sha256_of(data.data + at, len, &id);
        } else if (strcmp(what, "zstd") == 0) {
            (void)codec_encode(c, 1, data.data + at, len, &out, &out_len);
            out_bytes += out_len;
        }
        at += len;
    }
    say_rate(what, data.len, clock_mono_ns() - t0);
    (void)printf("chunks   %zu of %zu bytes, encoded %.1f MB\n", n, data.len / (n + !n),
                 (double)out_bytes / 1e6);
    codec_free(c);
    buf_free(&data);
}

struct put {
    struct putq *q;
    struct chunker *c;
    struct sha256 **blocks; /* of BLOCK ids, which stay where they are */
    size_t n;
    uint64_t bytes;
};
#define BLOCK 4096

static void
put_cut(struct put *p)
{
    const uint8_t *chunk;
    size_t len;
    struct err e;

    while (chunker_next(p->c, &chunk, &len)) {
        if (p->n % BLOCK == 0) {
            p->blocks = xrealloc(p->blocks, (p->n / BLOCK + 1) * sizeof *p->blocks);
            p->blocks[p->n / BLOCK] = xmalloc(BLOCK * sizeof **p->blocks);
        }
        if (putq_put(p->q, STORE_KIND_DATA, chunk, len,
                     &p->blocks[p->n / BLOCK][p->n % BLOCK], &e) == -1) {
            (void)die(&e);
        }
        p->n++;
        p->bytes += len;
    }
}

static void
put_file(struct put *p, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t got;

    if (fd == -1 || fstat(fd, &st) == -1) {
        perror(path);
        exit(1);
    }
    chunker_file(p->c, (uint64_t)st.st_size);
    put_cut(p);
    do {
        size_t room;
        uint8_t *to = chunker_space(p->c, &room);

        got = read(fd, to, room);
        chunker_filled(p->c, got > 0 ? (size_t)got : 0);
        put_cut(p);
    } while (got > 0);
    (void)close(fd);
}

static void
save_ids(const char *dir, const struct put *p)
{
    char *path = xasprintf("%s.ids", dir);
    FILE *f = fopen(path, "w");

    for (size_t i = 0; f != NULL && i < p->n; i++) {
        (void)fwrite(p->blocks[i / BLOCK][i % BLOCK].b, SHA256_LEN, 1, f);
    }
    if (f == NULL || fclose(f) != 0) {
        perror(path);
    }
    free(path);
}

static void
bench_put(const char *dir, unsigned threads)
{
    struct put p = {.c = chunker_new()};
    struct store_stats st;
    struct store *s;
    char line[8192];
    struct err e;
    int64_t t0 = clock_mono_ns();
    int64_t t1;

    if (store_open(&s, dir, NULL, &e) == -1 || putq_open(&p.q, s, threads, &e) == -1) {
        (void)die(&e);
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        put_file(&p, line);
    }
    chunker_end(p.c);
    put_cut(&p);
    if (putq_wait(p.q, &e) == -1) {
        (void)die(&e);
    }
    t1 = clock_mono_ns();
    if (store_commit(s, &e) == -1 || store_stats(s, &st, &e) == -1) {
        (void)die(&e);
    }
    say_rate("put", p.bytes, clock_mono_ns() - t0);
    (void)printf("commit   %8.1f ms\n", (double)(clock_mono_ns() - t1) / 1e6);
    (void)printf(
        "chunks   %" PRIu64 ", new %" PRIu64 " of %.1f MB, stored %.1f MB, packs "
        "%" PRIu64 " of %.1f MB\n",
        st.put_chunks, st.new_chunks, (double)st.new_raw_bytes / 1e6,
        (double)st.new_stored_bytes / 1e6, st.n_packs, (double)st.pack_bytes / 1e6);
    save_ids(dir, &p);
    putq_close(p.q);
    store_close(s);
    say_memory();
}

static struct sha256 *
load_ids(const char *dir, size_t *n)
{
    char *path = xasprintf("%s.ids", dir);
    struct buf b = BUF_INIT;
    struct err e;

    if (file_read(path, (size_t)1 << 30, &b, &e) == -1) {
        (void)die(&e);
    }
    free(path);
    *n = b.len / SHA256_LEN;
    return (struct sha256 *)(void *)b.data;
}

static void
bench_get(const char *dir)
{
    size_t n;
    struct sha256 *ids = load_ids(dir, &n);
    struct store_loc *locs = xcalloc(n + 1, sizeof *locs);
    uint8_t *to = xmalloc(STORE_CHUNK_MAX_BYTES);
    uint64_t bytes = 0;
    struct store *s;
    struct err e;
    int64_t t0 = clock_mono_ns();

    if (store_open(&s, dir, NULL, &e) == -1 || store_locate(s, ids, n, locs, &e) == -1) {
        (void)die(&e);
    }
    for (size_t i = 0; i < n; i++) {
        if (i % 256 == 0) {
            store_prefetch(s, locs + i, n - i < 512 ? n - i : 512);
        }
        if (store_read(s, &ids[i], &locs[i], to, &e) == -1) {
            (void)die(&e);
        }
        bytes += locs[i].raw_len;
    }
    say_rate("get", bytes, clock_mono_ns() - t0);
    store_close(s);
    say_memory();
}

static void
bench_has(const char *dir)
{
    size_t n;
    struct sha256 *ids = load_ids(dir, &n);
    uint8_t *bits = xcalloc(1, n / 8 + 1);
    size_t here = 0;
    struct store *s;
    struct err e;
    int64_t t[4];

    t[0] = clock_mono_ns();
    if (store_open(&s, dir, NULL, &e) == -1) {
        (void)die(&e);
    }
    t[1] = clock_mono_ns();
    if (store_has(s, ids, n, bits, &e) == -1) {
        (void)die(&e);
    }
    t[2] = clock_mono_ns();
    store_close(s);
    t[3] = clock_mono_ns();
    for (size_t i = 0; i < n; i++) {
        here += bits[i / 8] >> (i % 8) & 1;
    }
    (void)printf("open %.3f ms  has %zu of %zu %.3f ms  close %.3f ms\n",
                 (double)(t[1] - t[0]) / 1e6, here, n, (double)(t[2] - t[1]) / 1e6,
                 (double)(t[3] - t[2]) / 1e6);
}

static void
made_up(uint64_t i, struct pack_entry *en)
{
    uint64_t x = i * 0x9e3779b97f4a7c15u + 1;

    memset(en, 0, sizeof *en);
    for (size_t k = 0; k < SHA256_LEN; k += 8) {
        x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9u + k;
        memcpy(en->id.b + k, &x, 8);
    }
    en->offset = (uint32_t)(PACK_HEADER_LEN + i % 230 * 140000);
    en->raw_len = 140000;
    en->stored_len = 60000;
    en->codec = STORE_CODEC_ZSTD;
}

/* Nanoseconds since *t, which becomes now. */
static int64_t
lap(int64_t *t)
{
    int64_t then = *t;

    *t = clock_mono_ns();
    return *t - then;
}

static struct index *
build_index(const char *dir, const char *path, uint64_t n)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct pack_entry entries[230];
    struct index_bulk *b;
    struct index *ix;
    uint64_t rows;
    struct stat st;
    struct err e;
    int64_t t = clock_mono_ns();

    if (index_open(&ix, path, true, &e) == -1 ||
        index_bulk_open(&b, ix, dir_fd, &e) == -1) {
        (void)die(&e);
    }
    for (uint64_t at = 0; at < n; at += 230) {
        struct index_pack p = {.entries = entries, .n_entries = 230, .bytes = 32 << 20};

        memcpy(p.name.b, &at, sizeof at);
        for (uint64_t i = 0; i < 230; i++) {
            made_up(at + i, &entries[i]);
        }
        if (index_bulk_add(b, &p, &e) == -1) {
            (void)die(&e);
        }
    }
    if (index_bulk_finish(b, NULL, NULL, &rows, &e) == -1 || stat(path, &st) == -1) {
        (void)die(&e);
    }
    index_bulk_close(b);
    index_close(ix);
    (void)printf("index of %" PRIu64 ": built in %.2f s, %.1f MB, %.1f bytes each\n",
                 rows, (double)lap(&t) / 1e9, (double)st.st_size / 1e6,
                 (double)st.st_size / (double)rows);
    if (index_open(&ix, path, false, &e) == -1) {
        (void)die(&e);
    }
    (void)printf("open %.3f ms\n", (double)lap(&t) / 1e6);
    (void)close(dir_fd);
    return ix;
}

#define ASKED 4000

static void
ask_index(struct index *ix, uint64_t n)
{
    struct sha256 *ids = xmalloc(ASKED * sizeof *ids);
    struct store_loc *locs = xmalloc(ASKED * sizeof *locs);
    struct pack_entry en;
    struct err e;
    int64_t t;

    for (uint64_t i = 0; i < ASKED; i++) {
        made_up(i * (n / ASKED), &en);
        ids[i] = en.id;
    }
    t = clock_mono_ns();
    for (size_t i = 0; i < ASKED / 2; i++) {
        if (index_lookup(ix, &ids[i], 1, locs, &e) == -1 || locs[0].pack == 0) {
            (void)die(&e);
        }
    }
    (void)printf("%d single look-ups %.3f ms\n", ASKED / 2, (double)lap(&t) / 1e6);
    if (index_lookup(ix, ids, ASKED, locs, &e) == -1) {
        (void)die(&e);
    }
    (void)printf("%d at once %.3f ms\n", ASKED, (double)lap(&t) / 1e6);
    free(ids);
    free(locs);
}

static void
grow_index(struct index *ix, uint64_t n)
{
    struct index_row *rows = xmalloc(8192 * sizeof *rows);
    struct pack_entry entries[230];
    struct sha256 after = {{0}};
    size_t got = 8192;
    struct err e;
    int64_t t = clock_mono_ns();

    for (uint64_t k = 0; k < 10; k++) {
        struct index_pack p = {.entries = entries, .n_entries = 230, .bytes = 32 << 20};

        memset(p.name.b, 1, sizeof p.name.b);
        memcpy(p.name.b, &k, sizeof k);
        for (uint64_t i = 0; i < 230; i++) {
            made_up(n * 2 + k * 230 + i, &entries[i]);
        }
        if (index_add(ix, &p, 1, NULL, &e) == -1) {
            (void)die(&e);
        }
    }
    (void)printf("commit of 230 chunks %.3f ms\n", (double)lap(&t) / 1e7);
    while (got == 8192) {
        if (index_rows_after(ix, &after, 8192, rows, &got, &e) == -1) {
            (void)die(&e);
        }
        after = got > 0 ? rows[got - 1].id : after;
    }
    (void)printf("all rows, as gc walks them %.3f s\n", (double)lap(&t) / 1e9);
    free(rows);
}

static void
bench_index(const char *dir, uint64_t n)
{
    char *path = xasprintf("%s/index.db", dir);
    struct index *ix = build_index(dir, path, n);

    ask_index(ix, n);
    grow_index(ix, n);
    index_close(ix);
    free(path);
    say_memory();
}

int
main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";

    if (strcmp(what, "put") == 0) {
        bench_put(argv[2], argc > 3 ? (unsigned)atoi(argv[3]) : 0);
    } else if (strcmp(what, "get") == 0) {
        bench_get(argv[2]);
    } else if (strcmp(what, "has") == 0) {
        bench_has(argv[2]);
    } else if (strcmp(what, "index") == 0 && argc > 3) {
        bench_index(argv[2], (uint64_t)atoll(argv[3]));
    } else if (*what != '\0') {
        bench_memory(what, argv[2]);
    } else {
        (void)fprintf(stderr, "usage: bench_store gear|hash|zstd FILE\n"
                              "       bench_store put|get|has STORE [THREADS] <LIST\n"
                              "       bench_store index DIR N\n");
        return 2;
    }
    return 0;
}
