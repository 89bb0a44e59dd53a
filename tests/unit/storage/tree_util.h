#ifndef TESTS_UNIT_STORAGE_TREE_UTIL_H
#define TESTS_UNIT_STORAGE_TREE_UTIL_H

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/beneath.h"
#include "storage/build.h"
#include "storage/tree.h"
#include "tests/unit/storage/store_util.h"
#include "tests/unit/unit.h"

/* Chunks in memory, as sink and as source; and files made in a line. */

struct mem_chunk {
    struct sha256 id;
    enum store_kind kind;
    uint8_t *data;
    size_t len;
};

struct mem {
    struct mem_chunk *v;
    size_t n;
    size_t n_put; /* calls, also for what was there */
    pthread_mutex_t lock;
};

static inline void
mem_init(struct mem *m)
{
    memset(m, 0, sizeof *m);
    (void)pthread_mutex_init(&m->lock, NULL);
}

static inline void
mem_free(struct mem *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].data);
    }
    free(m->v);
    m->v = NULL;
    m->n = 0;
}

static inline struct mem_chunk *
mem_find(struct mem *m, const struct sha256 *id)
{
    for (size_t i = 0; i < m->n; i++) {
        if (sha256_equal(&m->v[i].id, id)) {
            return &m->v[i];
        }
    }
    return NULL;
}

static inline int
mem_put(void *ctx, enum store_kind kind, const struct sha256 *id, const void *data,
        size_t len, struct err *e)
{
    struct mem *m = ctx;

    (void)e;
    (void)pthread_mutex_lock(&m->lock);
    m->n_put++;
    if (mem_find(m, id) == NULL) {
        m->v = xrealloc(m->v, (m->n + 1) * sizeof *m->v);
        m->v[m->n].id = *id;
        m->v[m->n].kind = kind;
        m->v[m->n].data = xmemdup(data, len);
        m->v[m->n++].len = len;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return 0;
}

static inline int
mem_get(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct mem *m = ctx;
    const struct mem_chunk *c;

    (void)pthread_mutex_lock(&m->lock);
    c = mem_find(m, id);
    if (c != NULL) {
        buf_add(out, c->data, c->len);
    }
    (void)pthread_mutex_unlock(&m->lock);
    return c != NULL ? 0 : err_set(e, ERR_NOT_FOUND, "no such chunk");
}

static inline int
mem_build_put(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
              struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct sha256 id;

        sha256_of(chunks[i].data, chunks[i].len, &id);
        if (kind == STORE_KIND_META) {
            assert_memory_equal(&id, &chunks[i].id, sizeof id);
        }
        chunks[i].id = id;
        if (mem_put(ctx, kind, &id, chunks[i].data, chunks[i].len, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static inline struct tree_sink
mem_sink(struct mem *m)
{
    return (struct tree_sink){.ctx = m, .put = mem_put};
}

static inline struct tree_source
mem_source(struct mem *m)
{
    return (struct tree_source){.ctx = m, .get = mem_get};
}

static inline struct build_sink
mem_build_sink(struct mem *m)
{
    return (struct build_sink){.ctx = m, .put = mem_build_put};
}

static inline int
open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1) {
        fail_msg("cannot open %s", path);
    }
    return fd;
}

/* A file of len bytes below dir (parents are made), text given or pseudo-random. */
static inline void
put_file(const char *dir, const char *name, const void *data, size_t len)
{
    char *path = path_join(dir, name);
    char *parent = path_parent(path);
    struct err e = {0};
    int fd;

    assert_ok(file_mkdirs(parent, 0755, &e));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd == -1) {
        fail_msg("cannot create %s", path);
    }
    assert_int_equal(fd_write_all(fd, data, len), 0);
    assert_int_equal(close(fd), 0);
    free(parent);
    free(path);
}

static inline void
put_text(const char *dir, const char *name, const char *text)
{
    put_file(dir, name, text, strlen(text));
}

static inline void
put_random(const char *dir, const char *name, size_t len, uint64_t seed)
{
    uint8_t *data = xmalloc(len + 1);

    fill_random(data, len, seed);
    put_file(dir, name, data, len);
    free(data);
}

/* Long enough for files made before to be older than any build's reference time. */
static inline void
let_time_pass(void)
{
    const struct timespec t = {.tv_nsec = 25 * 1000000};

    (void)nanosleep(&t, NULL);
}

/* The entry of that path, copied with its path only; type TREE_NONE: not there. */
static inline struct tree_entry
find_entry(struct mem *m, const struct sha256 *tree, const char *path)
{
    struct tree_source from = mem_source(m);
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    struct tree_entry found = {0};
    struct err e = {0};

    assert_ok(tree_open(&r, tree, &from, &e));
    for (;;) {
        assert_ok(tree_next(r, &g, &e));
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            if (strcmp(g->entries[i].path, path) == 0) {
                found = g->entries[i];
                found.path = path;
                found.user = NULL;
                found.group = NULL;
                found.target = NULL;
                found.xattrs = NULL;
                found.extents = NULL;
            }
        }
    }
    tree_close(r);
    return found;
}

/*
 * What changed less than a tick of the file system's clock before it was looked at is
 * not trusted by a cache: this returns when, by that clock, ns have passed.
 */
static inline void
wait_by_ctime(int dir_fd, int64_t ns)
{
    struct stat st;
    int64_t first = 0;
    int64_t now = 0;

    do {
        int fd = openat(dir_fd, ".tick", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, "x", 1), 1);
        assert_int_equal(fstat(fd, &st), 0);
        (void)close(fd);
        now = stat_ctime_ns(&st);
        first = first == 0 ? now : first;
    } while (now < first + ns);
    assert_int_equal(unlinkat(dir_fd, ".tick", 0), 0);
}

/* Twice the tick that caches allow for. */
#define SETTLED_NS ((int64_t)20 * 1000000)

#endif
