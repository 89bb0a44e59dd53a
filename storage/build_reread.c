#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/build_internal.h"

/*
 * The content stream of one group, found again in its files: chunk by chunk in
 * ascending order, those not wanted are passed over without reading.
 */
struct reread {
    int root_fd;
    const struct tree_entry *entries;
    size_t n_entries;
    size_t i;          /* entry the stream is in */
    uint64_t in_entry; /* bytes of its stored content before the place */
    int fd;            /* of entry opened, -1 */
    size_t opened;
};

int
build_set_changed(const char *path, struct err *e)
{
    return err_set(e, ERR_BUSY,
                   "'%s' changed while it was being sent: run it again, or leave it out "
                   "(.gpurunignore)",
                   path);
}

static int
changed(const struct tree_entry *entry, struct err *e)
{
    return build_set_changed(entry->path, e);
}

/* Where byte in_entry of the stored content stands in the file, and how many follow. */
static void
place_in_file(const struct tree_entry *entry, uint64_t in_entry, uint64_t *at,
              uint64_t *left)
{
    *at = in_entry;
    *left = entry->stored - in_entry;
    for (size_t k = 0; entry->sparse && k < entry->n_extents; k++) {
        const struct tree_extent *x = &entry->extents[k];

        if (in_entry < x->len) {
            *at = x->at + in_entry;
            *left = x->len - in_entry;
            return;
        }
        in_entry -= x->len;
    }
}

static int
open_entry(struct reread *s, struct err *e)
{
    const struct tree_entry *entry = &s->entries[s->i];
    int fd;

    if (s->fd != -1 && s->opened == s->i) {
        return 0;
    }
    (void)fd_close(&s->fd);
    fd = beneath_open(s->root_fd, entry->path,
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return changed(entry, e);
    }
    s->fd = fd;
    s->opened = s->i;
    return 0;
}

/* The next len bytes of the stream into to; NULL: pass over them. */
static int
next_bytes(struct reread *s, uint8_t *to, uint64_t len, struct err *e)
{
    while (len > 0) {
        const struct tree_entry *entry;
        uint64_t at;
        uint64_t n;

        while (s->i < s->n_entries && s->in_entry == s->entries[s->i].stored) {
            s->i++;
            s->in_entry = 0;
        }
        if (s->i == s->n_entries) {
            return err_set(e, ERR_CORRUPT, "not a tree: the sum of sizes is wrong");
        }
        entry = &s->entries[s->i];
        place_in_file(entry, s->in_entry, &at, &n);
        n = n < len ? n : len;
        if (to != NULL) {
            if (open_entry(s, e) != 0) {
                return -1;
            }
            if (fd_pread_full(s->fd, to, (size_t)n, (off_t)at) != (ssize_t)n) {
                return changed(entry, e);
            }
            to += n;
        }
        s->in_entry += n;
        len -= n;
    }
    return 0;
}

int
build_reread(int root_fd, const struct tree_entry *entries, size_t n_entries,
             const struct tree_chunk *chunks, size_t n_chunks,
             bool (*wanted)(void *ctx, const struct tree_chunk *c),
             int (*emit)(void *ctx, const struct build_chunk *c, struct err *e),
             void *ctx, struct err *e)
{
    struct reread s = {
        .root_fd = root_fd, .entries = entries, .n_entries = n_entries, .fd = -1};
    uint8_t *data = xmalloc(STORE_CHUNK_MAX_BYTES);
    int rc = -1;

    for (size_t i = 0; i < n_chunks; i++) {
        bool want = wanted(ctx, &chunks[i]);
        struct build_chunk c = {.data = data, .len = chunks[i].len};

        if (next_bytes(&s, want ? data : NULL, chunks[i].len, e) != 0) {
            goto out;
        }
        if (!want) {
            continue;
        }
        sha256_of(data, c.len, &c.id);
        if (!sha256_equal(&c.id, &chunks[i].id)) {
            changed(&entries[s.i < n_entries ? s.i : n_entries - 1], e);
            goto out;
        }
        if (emit(ctx, &c, e) != 0) {
            goto out;
        }
    }
    rc = 0;

out:
    (void)fd_close(&s.fd);
    free(data);
    return rc;
}
