#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/build_internal.h"

/*
 * One big file: its pieces of data (all of it, where there are no holes) are read in
 * order, cut, and queued block by block.
 */
struct big {
    struct build *b;
    struct build_group *g;
    int fd;
    struct tree_extent *extents;
    size_t n_extents;
    bool sparse;
    size_t at_extent;
    uint64_t in_extent;
    uint64_t got;   /* bytes of data read */
    bool shortened; /* the file ended before its size */
    bool settled;   /* no write can have hidden behind its times */
};

static void
add_extent(struct big *f, size_t *cap, uint64_t at, uint64_t len)
{
    if (f->n_extents == *cap) {
        *cap = *cap == 0 ? 16 : 2 * *cap;
        f->extents = xrealloc(f->extents, *cap * sizeof *f->extents);
    }
    f->extents[f->n_extents++] = (struct tree_extent){.at = at, .len = len};
}

/*
 * Where fd holds data. Where that cannot be told, or there are too many pieces, the
 * rest counts as one piece: holes then are zeros, which is as right.
 */
static void
find_extents(struct big *f, uint64_t size, bool maybe_sparse)
{
    uint64_t at = 0;
    size_t cap = 0;

    while (maybe_sparse && at < size && f->n_extents + 1 < TREE_EXTENTS_MAX) {
        off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
        off_t hole;

        if (data == -1 && errno == ENXIO) {
            at = size; /* nothing but a hole */
            break;
        }
        if (data < (off_t)at || (uint64_t)data >= size) {
            break;
        }
        hole = lseek(f->fd, data, SEEK_HOLE);
        if (hole <= data) {
            break;
        }
        at = (uint64_t)hole < size ? (uint64_t)hole : size;
        if (f->n_extents > 0 &&
            f->extents[f->n_extents - 1].at + f->extents[f->n_extents - 1].len ==
                (uint64_t)data) {
            f->extents[f->n_extents - 1].len += at - (uint64_t)data;
        } else {
            add_extent(f, &cap, (uint64_t)data, at - (uint64_t)data);
        }
    }
    if (at < size) {
        add_extent(f, &cap, at, size - at);
    }
    f->sparse = !(f->n_extents == 1 && f->extents[0].len == size);
}

/* Fill to[0..room); *got < room only at the end of the data. -errno. */
static int
read_data(struct big *f, uint8_t *to, size_t room, size_t *got)
{
    *got = 0;
    while (*got < room && f->at_extent < f->n_extents && !f->shortened) {
        const struct tree_extent *x = &f->extents[f->at_extent];
        uint64_t left = x->len - f->in_extent;
        size_t want = left < room - *got ? (size_t)left : room - *got;
        ssize_t n = fd_pread_full(f->fd, to + *got, want, (off_t)(x->at + f->in_extent));

        if (n < 0) {
            return -errno;
        }
        *got += (size_t)n;
        f->got += (size_t)n;
        f->in_extent += (size_t)n;
        f->shortened = (size_t)n < want;
        if (f->in_extent == x->len) {
            f->at_extent++;
            f->in_extent = 0;
        }
    }
    return 0;
}

/* Cut k's data; returns how much at its end is not certain yet. */
static size_t
cut_block(struct build_block *k, bool end)
{
    size_t at = 0;

    while (at < k->len) {
        size_t left = k->len - at;
        size_t n;

        if (!end && left < CHUNKER_MAX_BYTES) {
            break;
        }
        n = chunker_cut(k->data + at, left);
        k->chunks[k->n].data = k->data + at;
        k->chunks[k->n].len = (uint32_t)n;
        k->n++;
        at += n;
    }
    return k->len - at;
}

/* The file is shorter than it was: keep the pieces that were read. */
static void
trim_extents(struct big *f, struct tree_entry *entry)
{
    if (f->at_extent < f->n_extents) {
        f->extents[f->at_extent].len = f->in_extent;
        f->n_extents = f->at_extent + (f->in_extent > 0 ? 1 : 0);
    }
    entry->size = f->n_extents > 0
                      ? f->extents[f->n_extents - 1].at + f->extents[f->n_extents - 1].len
                      : 0;
}

static int
read_blocks(struct big *f, struct err *e)
{
    struct build_block *k = build_block_new(f->b, f->g);
    bool end = false;

    while (k != NULL && !end) {
        size_t room = BUILD_BLOCK_BYTES - k->len;
        struct build_block *next;
        size_t rest;
        size_t got;
        int why = read_data(f, k->data + k->len, room, &got);

        if (why != 0) {
            build_block_free(f->b, k);
            build_drop_blocks(f->b, f->g);
            return build_damaged(f->b, f->g, 0, -why, e);
        }
        k->len += got;
        end = got < room || (f->at_extent == f->n_extents);
        rest = cut_block(k, end);
        if (end) {
            break;
        }
        next = build_block_new(f->b, f->g);
        if (next != NULL) {
            memcpy(next->data, k->data + k->len - rest, rest);
            next->len = rest;
        }
        build_block_queue(f->b, k);
        k = next;
    }
    if (k == NULL) {
        (void)build_failed(f->b, e);
        return -1;
    }
    build_block_queue(f->b, k);
    return 0;
}

static void
finish_entry(struct big *f, const struct scan_entry *before)
{
    struct tree_entry *entry = &f->g->entries[0];
    struct scan_entry after;
    bool stable = f->settled && build_fstat(f->fd, &after) == 0 &&
                  build_same_content(before, &after) && !f->shortened;

    build_fill_file(f->b, f->g, 0, f->fd, before);
    entry->size = before->size;
    if (f->shortened) {
        trim_extents(f, entry);
    }
    entry->stored = f->got;
    entry->damage = stable ? TREE_WHOLE : TREE_CHANGED;
    entry->sparse = f->sparse && entry->size != f->got;
    if (entry->sparse && f->n_extents != 0) {
        struct tree_extent *x = arena_alloc(&f->g->mem, f->n_extents * sizeof *x);

        memcpy(x, f->extents, f->n_extents * sizeof *x);
        entry->extents = x;
        entry->n_extents = f->n_extents;
    }
    (void)pthread_mutex_lock(&f->b->lock);
    f->b->read_bytes += f->got;
    (void)pthread_mutex_unlock(&f->b->lock);
}

int
build_read_big(struct build *b, struct build_group *g, int fd, struct err *e)
{
    struct big f = {.b = b, .g = g, .fd = fd};
    struct tree_entry *entry = &g->entries[0];
    struct scan_entry st;
    int rc = 0;

    if (build_fstat_settled(b, fd, &st, &f.settled) != 0) {
        return build_damaged(b, g, 0, errno, e);
    }
    if (st.type != TREE_FILE) {
        return build_damaged(b, g, 0, ENOENT, e);
    }
    find_extents(&f, st.size, st.blocks < st.size / 512);
    if (f.n_extents > 0) {
        rc = read_blocks(&f, e);
    }
    if (rc == 0 && entry->damage == TREE_WHOLE && !g->items[0].gone) {
        finish_entry(&f, &st);
    }
    free(f.extents);
    return rc;
}
