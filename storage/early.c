#include "storage/early.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "storage/extract_internal.h"
#include "storage/recent.h"
#include "storage/tree_internal.h"
#include "storage/workdir_internal.h"

/* Extraction follows close behind; where it does not, it reads what it needs. */
#define RECENT_BYTES ((size_t)32 << 20)

/* A thread that needs a chunk which is not here yet. */
struct await {
    struct await *next;
    const struct sha256 *id;
    bool came;
};

enum early_state { EARLY_COMING = 0, EARLY_HERE, EARLY_OFF };

struct early {
    int work_fd;
    char *name;
    char *scan;      /* name of its cache */
    char *scan_path; /* that needs no working directory */
    struct store *store;
    struct recent *recent; /* contents of what came last */
    struct early_options o;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum early_state state;
    struct sha256 tree;  /* EARLY_HERE */
    struct sha256 *meta; /* the tree's own chunks, as they came */
    size_t n_meta;
    size_t cap_meta;
    size_t n_groups; /* read so far */
    struct await *awaits;

    /* early_run's own */
    size_t n_taken;   /* of meta; those that were of the encoding are the first n_fed */
    size_t n_fed;     /* chunks of the encoding that were read */
    struct buf chunk; /* being read */
    size_t chunk_at;
    struct tree_reader *root; /* of tree, once it is here */
    uint64_t bytes;           /* of content, of all groups so far */
};

struct early *
early_new(int work_fd, const char *name, struct store *s, const struct early_options *o)
{
    struct early *y = xcalloc(1, sizeof *y);

    y->work_fd = work_fd;
    y->name = xstrdup(name);
    y->scan = xasprintf("%s.scan", name);
    y->scan_path = xasprintf("/proc/self/fd/%d/%s", work_fd, y->scan);
    y->store = s;
    y->recent = recent_new(RECENT_BYTES);
    if (o != NULL) {
        y->o = *o;
    }
    (void)pthread_mutex_init(&y->lock, NULL);
    (void)pthread_cond_init(&y->changed, NULL);
    return y;
}

void
early_free(struct early *y)
{
    if (y == NULL) {
        return;
    }
    (void)pthread_cond_destroy(&y->changed);
    (void)pthread_mutex_destroy(&y->lock);
    tree_close(y->root);
    recent_free(y->recent);
    buf_free(&y->chunk);
    free(y->meta);
    free(y->scan_path);
    free(y->scan);
    free(y->name);
    free(y);
}

/* ---- the receiver's side ---- */

static void
add_meta(struct early *y, const struct sha256 *id)
{
    if (y->n_meta == y->cap_meta) {
        y->cap_meta = y->cap_meta == 0 ? 16 : 2 * y->cap_meta;
        y->meta = xrealloc(y->meta, y->cap_meta * sizeof *y->meta);
    }
    y->meta[y->n_meta++] = *id;
}

void
early_came(struct early *y, enum store_kind kind, const struct sha256 *id,
           struct buf *raw)
{
    bool wake = kind == STORE_KIND_META;

    if (raw != NULL) {
        recent_put(y->recent, id, raw);
    }
    (void)pthread_mutex_lock(&y->lock);
    if (kind == STORE_KIND_META && y->n_meta <= TREE_ROOT_CHUNKS_MAX) {
        add_meta(y, id);
    }
    for (struct await *a = y->awaits; a != NULL; a = a->next) {
        a->came = a->came || sha256_equal(a->id, id);
        wake = wake || a->came;
    }
    if (wake) {
        (void)pthread_cond_broadcast(&y->changed);
    }
    (void)pthread_mutex_unlock(&y->lock);
}

void
early_end(struct early *y, const struct sha256 *tree_id)
{
    (void)pthread_mutex_lock(&y->lock);
    if (y->state == EARLY_COMING && tree_id != NULL && y->n_groups > 0) {
        y->state = EARLY_HERE;
        y->tree = *tree_id;
    } else if (y->state == EARLY_COMING || tree_id == NULL) {
        y->state = EARLY_OFF;
    }
    (void)pthread_cond_broadcast(&y->changed);
    (void)pthread_mutex_unlock(&y->lock);
}

/* ---- chunks, when they are here ---- */

static enum early_state
state_of(struct early *y)
{
    enum early_state state;

    (void)pthread_mutex_lock(&y->lock);
    state = y->state;
    (void)pthread_mutex_unlock(&y->lock);
    return state;
}

static int
given_up(struct err *e)
{
    return err_set(e, ERR_BUSY, "the directory is not made early: its tree did not come");
}

static void
await_begin(struct early *y, struct await *a)
{
    (void)pthread_mutex_lock(&y->lock);
    a->next = y->awaits;
    y->awaits = a;
    (void)pthread_mutex_unlock(&y->lock);
}

static void
await_end(struct early *y, const struct await *a)
{
    struct await **at = &y->awaits;

    (void)pthread_mutex_lock(&y->lock);
    while (*at != a) {
        at = &(*at)->next;
    }
    *at = a->next;
    (void)pthread_mutex_unlock(&y->lock);
}

/* Until it came, or nothing more comes. */
static void
await_chunk(struct early *y, struct await *a)
{
    (void)pthread_mutex_lock(&y->lock);
    while (!a->came && y->state == EARLY_COMING) {
        (void)pthread_cond_wait(&y->changed, &y->lock);
    }
    (void)pthread_mutex_unlock(&y->lock);
}

/* What is at hand, or else is read again. */
static int
read_chunk(struct early *y, const struct sha256 *id, struct buf *out, struct err *e)
{
    return recent_take(y->recent, id, out) ? 0 : store_get(y->store, id, out, e);
}

/* A tree_source. Asked for before the store is looked into: it may come in between. */
static int
get(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct early *y = ctx;
    struct await a = {.id = id};
    int rc;

    if (state_of(y) == EARLY_OFF) {
        return given_up(e);
    }
    await_begin(y, &a);
    rc = read_chunk(y, id, out, e);
    if (rc != 0 && e->code == ERR_NOT_FOUND) {
        await_chunk(y, &a);
        rc = state_of(y) == EARLY_OFF ? given_up(e) : read_chunk(y, id, out, e);
    }
    await_end(y, &a);
    return rc;
}

/* ---- the tree's encoding, as far as it came ---- */

/* Now it is known what the tree is. Was what we read the beginning of it? */
static int
open_root(struct early *y, struct err *e)
{
    struct tree_source source = tree_source_store(y->store);
    const struct tree_chunk *chunks;
    size_t n;

    if (tree_open(&y->root, &y->tree, &source, e) != 0) {
        return -1;
    }
    chunks = tree_meta_chunks(y->root, &n);
    for (size_t i = 0; i < y->n_fed; i++) {
        if (i == n || !sha256_equal(&y->meta[i], &chunks[i].id)) {
            return err_set(e, ERR_CORRUPT, "another tree came than was begun");
        }
    }
    return 0;
}

/* The next chunk of the encoding into y->chunk; *more: there is one. */
static int
next_chunk(struct early *y, bool *more, struct err *e)
{
    struct tree_source source = {.ctx = y, .get = get};
    enum early_state state;
    struct sha256 id = {{0}};
    const struct tree_chunk *chunks;
    size_t n;

    (void)pthread_mutex_lock(&y->lock);
    while (y->state == EARLY_COMING && y->n_taken == y->n_meta) {
        (void)pthread_cond_wait(&y->changed, &y->lock);
    }
    state = y->state;
    if (state == EARLY_COMING) {
        id = y->meta[y->n_taken++];
    }
    (void)pthread_mutex_unlock(&y->lock);
    *more = true;
    if (state == EARLY_OFF) {
        return given_up(e);
    }
    if (state == EARLY_HERE) {
        if (y->root == NULL && open_root(y, e) != 0) {
            return -1;
        }
        chunks = tree_meta_chunks(y->root, &n);
        *more = y->n_fed < n;
        id = *more ? chunks[y->n_fed].id : id;
    }
    buf_reset(&y->chunk);
    y->chunk_at = 0;
    return *more ? source.get(y, &id, &y->chunk, e) : 0;
}

/* The root, which may come before its tree is named, is none of the encoding. */
static bool
is_root(const struct buf *chunk)
{
    return chunk->len >= TREE_MAGIC_LEN &&
           memcmp(chunk->data, TREE_MAGIC, TREE_MAGIC_LEN) == 0;
}

static void
note_fed(struct early *y)
{
    (void)pthread_mutex_lock(&y->lock);
    if (y->root == NULL) {
        y->meta[y->n_fed] = y->meta[y->n_taken - 1];
    }
    y->n_fed++;
    (void)pthread_mutex_unlock(&y->lock);
}

static int
read_encoding(void *ctx, void *to, size_t n, size_t *got, struct err *e)
{
    struct early *y = ctx;
    bool more = true;

    while (more && y->chunk_at == y->chunk.len) {
        if (next_chunk(y, &more, e) != 0) {
            return -1;
        }
        if (more && is_root(&y->chunk)) {
            y->chunk_at = y->chunk.len;
        } else if (more) {
            note_fed(y);
        }
    }
    *got = y->chunk.len - y->chunk_at < n ? y->chunk.len - y->chunk_at : n;
    if (*got != 0) {
        memcpy(to, y->chunk.data + y->chunk_at, *got);
    }
    y->chunk_at += *got;
    return 0;
}

/* ---- making it ---- */

/*
 * What workdir_make would not take over, for its stat does not stay as it was noted, or
 * there is nothing to stat.
 */
static bool
can_be_kept(const struct tree_entry *entry)
{
    return !entry->hard_link && entry->type != TREE_CHAR && entry->type != TREE_BLOCK &&
           entry->type != TREE_WHITEOUT &&
           (entry->damage == TREE_WHOLE || entry->damage == TREE_CHANGED);
}

static int
check_group(struct early *y, const struct tree_group *g, struct err *e)
{
    uint64_t more = 0;

    for (size_t i = 0; i < g->n_entries; i++) {
        if (!can_be_kept(&g->entries[i])) {
            return err_set(e, ERR_INVALID, "'%s' is nothing that is made early",
                           g->entries[i].path);
        }
    }
    for (size_t i = 0; i < g->n_chunks; i++) {
        more += g->chunks[i].len;
    }
    y->bytes += more;
    (void)pthread_mutex_lock(&y->lock);
    y->n_groups++;
    (void)pthread_mutex_unlock(&y->lock);
    if (y->o.fits != NULL && !y->o.fits(y->o.fits_ctx, y->bytes, more)) {
        return err_set(e, ERR_SPACE, "no room for a directory that is made early");
    }
    return 0;
}

static int
add_groups(struct early *y, struct extract *x, struct tree_reader *r,
           struct scache_writer *cache, struct err *e)
{
    const struct tree_group *g;
    struct tree_group group;
    const uint8_t *encoded;
    size_t len;

    for (;;) {
        if (tree_next(r, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            return 0;
        }
        encoded = tree_encoded(r, &len);
        group = *g;
        if (check_group(y, g, e) != 0 || scache_add(cache, encoded, len, e) != 0 ||
            extract_add(x, tree_take_arena(r), &group, NULL, NULL, e) != 0) {
            return -1;
        }
    }
}

static int
make(struct early *y, int fd, struct err *e)
{
    struct tree_source source = {.ctx = y, .get = get};
    struct extract_options eo = {
        .fresh = true, .cache_path = y->scan_path, .n_threads = y->o.n_threads};
    struct extract_report report = {0};
    struct scache_writer *cache = NULL;
    struct tree_reader *r = NULL;
    struct extract x;
    int rc = -1;

    extract_begin(&x, fd, &source, &eo, &report);
    if (scache_create(&cache, y->scan_path, e) == 0 &&
        tree_open_stream(&r, read_encoding, y, e) == 0 &&
        add_groups(y, &x, r, cache, e) == 0 && extract_finish(&x, e) == 0) {
        x.newest_large_ns = clock_wall_ns(); /* nothing is to be too young for trust */
        rc = extract_commit_cache(&x, cache, &y->tree, e);
        cache = NULL;
    }
    tree_close(r);
    extract_end(&x);
    scache_discard(cache);
    return rc;
}

/* Where times are coarse what is just made is not trusted, and would be made again. */
static int
check_place(int fd, struct err *e)
{
    return scache_reference(fd, false) >= clock_wall_ns() - 2 * SCACHE_TICK_NS
               ? 0
               : err_set(e, ERR_INVALID, "times of files are too coarse here");
}

static int
make_dir(struct early *y, struct err *e)
{
    struct err ignored;
    int fd = -1;
    int rc = -1;

    if (mkdirat(y->work_fd, y->name, 0700) != 0) {
        return err_set_sys(e, errno, "cannot make a directory");
    }
    fd = openat(y->work_fd, y->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        err_set_sys(e, errno, "cannot open a directory");
    } else if (check_place(fd, e) == 0) {
        rc = make(y, fd, e);
    }
    (void)fd_close(&fd);
    if (rc != 0) {
        (void)unlinkat(y->work_fd, y->scan, 0);
        (void)!file_remove_tree_at(y->work_fd, y->name, &ignored);
    }
    return rc;
}

int
early_run(struct early *y, struct err *e)
{
    int place;
    int rc;

    /* Without a cache it looks like what somebody left who died. */
    if (workdir_lock_place(y->work_fd, LOCK_SH, &place, e) != 0) {
        return -1;
    }
    rc = make_dir(y, e);
    (void)fd_close(&place);
    return rc;
}
