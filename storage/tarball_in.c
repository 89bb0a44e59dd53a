#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/libarchive.h"
#include "storage/manifest.h"
#include "storage/putq.h"
#include "storage/run.h"
#include "storage/tarball.h"
#include "storage/tarball_internal.h"

#define READ_BYTES ((size_t)128 * 1024)
/* Chunks whose hashes are not yet known, compared all at once. */
#define WAITING_MAX 1024

struct waiting {
    struct sha256 want;
    struct sha256 got;
};

struct in {
    const struct tarball_options *o;
    struct archive *file; /* what takes the compression away */
    uint8_t block[TAR_BLOCK];
    bool have_block; /* a header was read and is still to be dealt with */
    bool ended;      /* the archive's end was met */
    struct buf body; /* of an extended header */
    bool have_body;  /* a piece in it is still to be dealt with */
    struct buf tree; /* groups, those before tree_at given away */
    size_t tree_at;
    struct putq *q;
    struct waiting waiting[WAITING_MAX];
    size_t n_waiting;
    const struct tree_chunk *chunks; /* of the run: those not yet whole */
    size_t n_chunks;
    struct buf chunk;
    struct tarball_report sums;
};

static int
damaged(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "the archive is damaged: %s", what);
}

static int
read_some(struct in *x, void *to, size_t n, size_t *got, struct err *e)
{
    la_ssize_t did = la->read_data(x->file, to, n);

    if (did < 0) {
        return err_set(e, ERR_CORRUPT, "cannot read the archive: %s",
                       la->error_string(x->file) != NULL ? la->error_string(x->file)
                                                         : "?");
    }
    *got = (size_t)did;
    return 0;
}

static int
read_all(struct in *x, void *to, size_t n, struct err *e)
{
    uint8_t *at = to;

    while (n > 0) {
        size_t got = 0;

        if (read_some(x, at, n, &got, e) != 0) {
            return -1;
        }
        if (got == 0) {
            return damaged(e, "it ends too early");
        }
        at += got;
        n -= got;
    }
    return 0;
}

static int
skip(struct in *x, uint64_t n, struct err *e)
{
    uint8_t to[4096];

    while (n > 0) {
        size_t take = n < sizeof to ? (size_t)n : sizeof to;

        if (read_all(x, to, take, e) != 0) {
            return -1;
        }
        n -= take;
    }
    return 0;
}

static size_t
padding(uint64_t n)
{
    return (TAR_BLOCK - (size_t)(n % TAR_BLOCK)) % TAR_BLOCK;
}

/* ---- headers ---- */

static int
need_block(struct in *x, struct err *e)
{
    unsigned sum = 0;
    bool zero = true;

    if (x->have_block) {
        return 0;
    }
    if (read_all(x, x->block, TAR_BLOCK, e) != 0) {
        return -1;
    }
    x->have_block = true;
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        bool own = i >= TAR_CHECKSUM_AT && i < TAR_CHECKSUM_AT + 8;

        zero = zero && x->block[i] == 0;
        sum += own ? ' ' : x->block[i];
    }
    if (zero) {
        x->ended = true;
        return 0;
    }
    if (strtoul((const char *)x->block + TAR_CHECKSUM_AT, NULL, 8) != sum) {
        return damaged(e, "the sum of a header is wrong");
    }
    return 0;
}

/* Octal digits, or base 256 behind a set first bit. */
static int
block_size(const struct in *x, uint64_t *out, struct err *e)
{
    const uint8_t *f = x->block + TAR_SIZE_AT;
    uint64_t v = 0;

    if ((f[0] & 0x80) != 0) {
        for (size_t i = 4; i < TAR_SIZE_LEN; i++) {
            v = v << 8 | f[i];
        }
    } else {
        for (size_t i = 0; i < TAR_SIZE_LEN && f[i] >= '0' && f[i] <= '7'; i++) {
            v = v << 3 | (uint64_t)(f[i] - '0');
        }
    }
    if (v > TREE_SIZE_MAX) {
        return damaged(e, "a member is too long");
    }
    *out = v;
    return 0;
}

/* The body of an extended header, whose block was just read. */
static int
read_body(struct in *x, struct err *e)
{
    uint64_t len;

    if (block_size(x, &len, e) != 0) {
        return -1;
    }
    if (len > TARBALL_BODY_MAX) {
        return damaged(e, "an extended header is too long");
    }
    x->have_block = false;
    buf_reset(&x->body);
    buf_reserve(&x->body, (size_t)len + TAR_BLOCK);
    if (read_all(x, x->body.data, (size_t)len + padding(len), e) != 0) {
        return -1;
    }
    x->body.len = (size_t)len;
    x->body.data[len] = '\0';
    return 0;
}

/* The value of key in the body just read: "LEN key=value\n" …; NULL if it is not there.
 */
static const char *
body_value(const struct in *x, const char *key, size_t *len)
{
    size_t at = 0;

    while (at < x->body.len) {
        const char *rec = (const char *)x->body.data + at;
        char *blank;
        unsigned long n = strtoul(rec, &blank, 10);
        size_t head = (size_t)(blank - rec) + 1 + strlen(key) + 1;

        if (*blank != ' ' || n == 0 || n > x->body.len - at || rec[n - 1] != '\n') {
            return NULL;
        }
        if (head < n && strncmp(blank + 1, key, strlen(key)) == 0 &&
            rec[head - 1] == '=') {
            *len = n - 1 - head;
            return rec + head;
        }
        at += n;
    }
    return NULL;
}

/*
 * If the next header is a piece of what: taken, its bytes appended to out. Another piece
 * of ours is left to be asked for.
 */
static int
take_piece(struct in *x, const char *what, struct buf *out, bool *taken, struct err *e)
{
    size_t mark = strlen(TARBALL_MARK);
    const char *text;
    size_t len;

    *taken = false;
    if (!x->have_body) {
        if (need_block(x, e) != 0) {
            return -1;
        }
        if (x->ended || x->block[TAR_TYPE_AT] != 'g') {
            return 0;
        }
        if (read_body(x, e) != 0) {
            return -1;
        }
        x->have_body = true;
    }
    text = body_value(x, "comment", &len);
    if (text == NULL || len < mark || strncmp(text, TARBALL_MARK, mark) != 0) {
        return damaged(e, "a global header is not ours");
    }
    text += mark;
    len -= mark;
    if (len < strlen(what) || strncmp(text, what, strlen(what)) != 0) {
        return 0;
    }
    text += strlen(what);
    len -= strlen(what);
    buf_reserve(out, len / 2 + 1);
    if (len % 2 != 0 || !hex_parse(text, len, out->data + out->len, len / 2)) {
        return damaged(e, "a global header is not ours");
    }
    out->len += len / 2;
    x->have_body = false;
    *taken = true;
    return 0;
}

/* ---- the tree's groups, as they are asked for ---- */

static int
read_tree(void *ctx, void *to, size_t n, size_t *got, struct err *e)
{
    struct in *x = ctx;
    bool taken = true;

    if (x->tree_at == x->tree.len) {
        buf_reset(&x->tree);
        x->tree_at = 0;
        if (take_piece(x, TARBALL_TREE, &x->tree, &taken, e) != 0) {
            return -1;
        }
        if (!taken && !x->ended) {
            return damaged(e, "a member is not in its tree");
        }
    }
    *got = x->tree.len - x->tree_at < n ? x->tree.len - x->tree_at : n;
    if (*got > 0) {
        memcpy(to, x->tree.data + x->tree_at, *got);
    }
    x->tree_at += *got;
    return 0;
}

/* ---- contents ---- */

static int
compare(struct in *x, struct err *e)
{
    if (putq_wait(x->q, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < x->n_waiting; i++) {
        if (!sha256_equal(&x->waiting[i].want, &x->waiting[i].got)) {
            return damaged(e, "the contents of a file are not what its tree says");
        }
    }
    x->n_waiting = 0;
    return 0;
}

static int
chunk_is_whole(struct in *x, struct err *e)
{
    struct waiting *w;

    if (x->n_waiting == WAITING_MAX && compare(x, e) != 0) {
        return -1;
    }
    w = &x->waiting[x->n_waiting++];
    w->want = x->chunks->id;
    if (putq_put(x->q, STORE_KIND_DATA, x->chunk.data, x->chunk.len, &w->got, e) != 0) {
        return -1;
    }
    buf_reset(&x->chunk);
    x->chunks++;
    x->n_chunks--;
    return 0;
}

static int
take_contents(struct in *x, uint64_t n, struct err *e)
{
    while (n > 0) {
        size_t room;
        size_t got = 0;

        if (x->n_chunks == 0) {
            return damaged(e, "a file is longer than its tree says");
        }
        room = x->chunks->len - x->chunk.len;
        buf_reserve(&x->chunk, room);
        if (read_some(x, x->chunk.data + x->chunk.len, n < room ? (size_t)n : room, &got,
                      e) != 0) {
            return -1;
        }
        if (got == 0) {
            return damaged(e, "it ends too early");
        }
        x->chunk.len += got;
        n -= got;
        x->sums.bytes += got;
        if (x->chunk.len == x->chunks->len && chunk_is_whole(x, e) != 0) {
            return -1;
        }
        if (x->o->progress != NULL) {
            x->o->progress(x->o->ctx, x->sums.n_entries, x->sums.bytes);
        }
    }
    return 0;
}

/* ---- members ---- */

/* The header of the next member; *size is what follows of it. */
static int
next_member(struct in *x, uint64_t *size, struct err *e)
{
    uint64_t longer = 0;
    bool said = false;
    const char *text;
    size_t len;

    for (;;) {
        if (need_block(x, e) != 0) {
            return -1;
        }
        if (x->ended) {
            return damaged(e, "it ends too early");
        }
        if (x->block[TAR_TYPE_AT] != 'x') {
            break;
        }
        if (read_body(x, e) != 0) {
            return -1;
        }
        text = body_value(x, "size", &len);
        if (text != NULL) {
            longer = strtoull(text, NULL, 10);
            said = true;
        }
    }
    x->have_block = false;
    if (block_size(x, size, e) != 0) {
        return -1;
    }
    if (said) {
        *size = longer;
    }
    return *size <= TREE_SIZE_MAX ? 0 : damaged(e, "a member is too long");
}

/*
 * Of a file with holes the member begins with their map: what is behind it are the bytes
 * that the tree has, one after another.
 */
static int
take_member(struct in *x, const struct tree_entry *entry, struct err *e)
{
    bool content = entry->type == TREE_FILE && !entry->hard_link;
    uint64_t stored = content ? entry->stored : 0;
    uint64_t size = 0;
    uint8_t type;

    if (next_member(x, &size, e) != 0) {
        return -1;
    }
    type = x->block[TAR_TYPE_AT];
    if (content != (type == '0' || type == '\0') || size < stored ||
        (!content && size != 0)) {
        return damaged(e, "a member is not what its tree says");
    }
    x->sums.n_left_out += type == 'g' ? 1 : 0;
    if (skip(x, size - stored, e) != 0 || take_contents(x, stored, e) != 0) {
        return -1;
    }
    return skip(x, padding(size), e);
}

static int
take_run(struct in *x, const struct tree_run *run, struct err *e)
{
    x->chunks = run->group.chunks;
    x->n_chunks = run->group.n_chunks;
    for (size_t i = 0; i < run->group.n_entries; i++) {
        const struct tree_entry *entry = &run->group.entries[i];

        x->sums.n_entries++;
        if (!tarball_is_member(entry)) {
            x->sums.n_left_out++;
        } else if (take_member(x, entry, e) != 0) {
            return -1;
        }
    }
    return x->n_chunks == 0 ? 0 : damaged(e, "a file is shorter than its tree says");
}

static int
take_tree(struct in *x, struct store *s, struct err *e)
{
    struct tree_sink sink = tree_sink_store(s);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_reader *r = NULL;
    struct tree_run run = {.encoded = NULL};
    bool end = false;
    int rc;

    rc = tree_open_stream(&r, read_tree, x, e);
    while (rc == 0 && (rc = tree_run_next(&run, r, &end, e)) == 0 && !end) {
        if ((rc = take_run(x, &run, e)) == 0) {
            rc = tree_writer_add(w, &run.group, NULL, e);
        }
    }
    if (rc == 0 && (rc = compare(x, e)) == 0) {
        rc = tree_writer_finish(w, &x->sums.tree, NULL, e);
    }
    tree_run_free(&run);
    tree_close(r);
    tree_writer_free(w);
    return rc;
}

/* ---- the archive ---- */

static int
open_file(struct in *x, int fd, struct err *e)
{
    struct archive_entry *entry;

    if (libarchive_load(e) != 0) {
        return -1;
    }
    x->file = la->read_new();
    /* Not "all": some would start programs. */
    if (la->read_support_filter_zstd(x->file) != ARCHIVE_OK ||
        la->read_support_filter_gzip(x->file) != ARCHIVE_OK ||
        la->read_support_filter_xz(x->file) != ARCHIVE_OK ||
        la->read_support_filter_bzip2(x->file) != ARCHIVE_OK ||
        la->read_support_format_raw(x->file) != ARCHIVE_OK ||
        la->read_open_fd(x->file, fd, READ_BYTES) != ARCHIVE_OK ||
        la->read_next_header(x->file, &entry) != ARCHIVE_OK) {
        return err_set(e, ERR_INVALID, "cannot read it: %s",
                       la->error_string(x->file) != NULL ? la->error_string(x->file)
                                                         : "it is empty");
    }
    return 0;
}

static int
take_manifest(struct in *x, struct buf *out, struct manifest **m, struct err *e)
{
    size_t had = out->len;
    bool taken = true;

    while (taken) {
        if (take_piece(x, TARBALL_MANIFEST, out, &taken, e) != 0) {
            break;
        }
        if (out->len - had > MANIFEST_MAX_BYTES) {
            return damaged(e, "the manifest is too long");
        }
    }
    if (out->len == had) {
        return err_set(e, ERR_INVALID, "it is no export of a snapshot");
    }
    return taken ? -1 : manifest_parse(m, out->data + had, out->len - had, e);
}

int
tarball_import(struct store *s, int fd, const struct tarball_options *o,
               struct buf *manifest, struct tarball_report *r, struct err *e)
{
    struct in *x = xcalloc(1, sizeof *x);
    struct manifest *m = NULL;
    size_t had = manifest->len;
    int rc = -1;

    x->o = o;
    if (open_file(x, fd, e) != 0 || take_manifest(x, manifest, &m, e) != 0 ||
        putq_open(&x->q, s, 0, e) != 0 || take_tree(x, s, e) != 0) {
        goto out;
    }
    if (!sha256_equal(&m->tree, &x->sums.tree)) {
        (void)damaged(e, "its tree is not that of its manifest");
        goto out;
    }
    if (store_commit(s, e) == 0) {
        *r = x->sums;
        rc = 0;
    }

out:
    if (rc != 0) {
        manifest->len = had;
    }
    putq_close(x->q);
    manifest_free(m);
    if (x->file != NULL) {
        (void)la->read_free(x->file);
    }
    buf_free(&x->body);
    buf_free(&x->tree);
    buf_free(&x->chunk);
    free(x);
    return rc;
}
