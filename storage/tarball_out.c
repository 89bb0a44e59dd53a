#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/text.h"
#include "storage/libarchive.h"
#include "storage/named.h"
#include "storage/run.h"
#include "storage/tarball.h"
#include "storage/tarball_internal.h"
#include "storage/verify.h"

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
/* Of a hole, told to libarchive at once; it is never looked at. */
#define HOLE_BYTES ((size_t)1 << 30)
#define NS_PER_S   ((int64_t)1000000000)
/* Names longer than this are no use in a remark. */
#define SHOWN_MAX 400

struct out {
    const struct tarball_options *o;
    int (*write)(void *ctx, const void *data, size_t n, struct err *e);
    void *write_ctx;
    bool write_failed;
    struct err why;
    struct archive *file; /* what compresses: raw bytes in */
    struct archive *tar;  /* what makes headers: its output goes into file */
    struct tree_source source;
    const struct tree_chunk *chunks; /* contents of the run: those not yet read */
    size_t n_chunks;
    struct buf chunk;
    size_t chunk_at;
    void *hole;
    struct buf text;
    struct named left_out;
    struct tarball_report sums;
};

static int
archive_err(struct out *x, struct archive *a, struct err *e)
{
    if (x->write_failed) {
        *e = x->why;
        return -1;
    }
    return err_set(e, ERR_SYSTEM, "cannot write the archive: %s",
                   la->error_string(a) != NULL ? la->error_string(a) : "?");
}

static la_ssize_t
write_file(struct archive *a, void *ctx, const void *data, size_t n)
{
    struct out *x = ctx;

    if (x->write_failed) {
        return -1;
    }
    if (x->write(x->write_ctx, data, n, &x->why) != 0) {
        x->write_failed = true;
        la->set_error(a, EIO, "%s", x->why.msg);
        return -1;
    }
    return (la_ssize_t)n;
}

static la_ssize_t
write_tar(struct archive *a, void *ctx, const void *data, size_t n)
{
    struct out *x = ctx;

    if (x->write_failed) {
        return -1;
    }
    if (la->write_data(x->file, data, n) != (la_ssize_t)n) {
        la->set_error(a, EIO, "%s",
                      la->error_string(x->file) != NULL ? la->error_string(x->file)
                                                        : "short write");
        return -1;
    }
    return (la_ssize_t)n;
}

static int
open_file(struct out *x, struct err *e)
{
    struct archive_entry *entry = la->entry_new();
    int rc = -1;

    la->entry_set_pathname(entry, "snapshot.tar");
    la->entry_set_filetype(entry, AE_IFREG);
    x->file = la->write_new();
    if ((!x->o->plain && la->write_add_filter_zstd(x->file) != ARCHIVE_OK) ||
        la->write_set_format_raw(x->file) != ARCHIVE_OK ||
        la->write_set_bytes_in_last_block(x->file, 1) != ARCHIVE_OK ||
        la->write_open(x->file, x, NULL, write_file, NULL) != ARCHIVE_OK ||
        la->write_header(x->file, entry) != ARCHIVE_OK) {
        (void)archive_err(x, x->file, e);
        goto out;
    }
    x->tar = la->write_new();
    if (la->write_set_format_pax(x->tar) != ARCHIVE_OK ||
        la->write_set_options(x->tar, "pax:xattrheader=SCHILY") != ARCHIVE_OK ||
        la->write_set_bytes_per_block(x->tar, 0) != ARCHIVE_OK ||
        la->write_open(x->tar, x, NULL, write_tar, NULL) != ARCHIVE_OK) {
        (void)archive_err(x, x->tar, e);
        goto out;
    }
    rc = 0;

out:
    la->entry_free(entry);
    return rc;
}

static int
close_file(struct out *x, struct err *e)
{
    if (la->write_close(x->tar) != ARCHIVE_OK) {
        return archive_err(x, x->tar, e);
    }
    if (la->write_close(x->file) != ARCHIVE_OK) {
        return archive_err(x, x->file, e);
    }
    return 0;
}

/* ---- global headers ---- */

static int
write_raw(struct out *x, const void *data, size_t n, struct err *e)
{
    return la->write_data(x->file, data, n) == (la_ssize_t)n ? 0
                                                             : archive_err(x, x->file, e);
}

/* A ustar header of type g for a body of so many bytes. */
static void
global_header(uint8_t block[TAR_BLOCK], size_t body_len)
{
    unsigned sum = 0;

    memset(block, 0, TAR_BLOCK);
    (void)snprintf((char *)block, 100, "pax_global_header");
    memcpy(block + 100, "0000644", 8); /* mode, uid, gid, size, mtime: octal */
    memcpy(block + 108, "0000000", 8);
    memcpy(block + 116, "0000000", 8);
    (void)snprintf((char *)block + TAR_SIZE_AT, TAR_SIZE_LEN, "%011zo", body_len);
    memcpy(block + 136, "00000000000", 12);
    memset(block + TAR_CHECKSUM_AT, ' ', 8);
    block[TAR_TYPE_AT] = 'g';
    memcpy(block + TAR_MAGIC_AT,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += block[i];
    }
    (void)snprintf((char *)block + TAR_CHECKSUM_AT, 8, "%06o", sum);
}

/* "LEN comment=TEXT\n", where LEN counts itself. */
static size_t
record_len(size_t rest)
{
    char text[24];

    for (size_t digits = 1;; digits++) {
        if ((size_t)snprintf(text, sizeof text, "%zu", rest + digits) == digits) {
            return rest + digits;
        }
    }
}

static int
write_piece(struct out *x, const char *what, const uint8_t *data, size_t len,
            struct err *e)
{
    static const uint8_t zero[TAR_BLOCK];
    uint8_t block[TAR_BLOCK];
    size_t rest =
        strlen(" comment=" TARBALL_MARK) + strlen(what) + 2 * len + strlen("\n");
    struct buf *b = &x->text;

    buf_reset(b);
    buf_printf(b, "%zu comment=" TARBALL_MARK "%s", record_len(rest), what);
    buf_reserve(b, 2 * len + 2);
    hex_format(data, len, (char *)b->data + b->len);
    b->len += 2 * len;
    buf_add_str(b, "\n");
    assert(b->len == record_len(rest));
    global_header(block, b->len);
    if (write_raw(x, block, sizeof block, e) != 0 ||
        write_raw(x, b->data, b->len, e) != 0) {
        return -1;
    }
    len = (TAR_BLOCK - b->len % TAR_BLOCK) % TAR_BLOCK;
    return len > 0 ? write_raw(x, zero, len, e) : 0;
}

static int
write_pieces(struct out *x, const char *what, const void *data, size_t len, struct err *e)
{
    const uint8_t *at = data;

    while (len > 0) {
        size_t n = len < TARBALL_PIECE_BYTES ? len : TARBALL_PIECE_BYTES;

        if (write_piece(x, what, at, n, e) != 0) {
            return -1;
        }
        at += n;
        len -= n;
    }
    return 0;
}

/* ---- members ---- */

static const struct {
    uint16_t tag;
    int archive;
} acl_tags[] = {
    {0x01, ARCHIVE_ENTRY_ACL_USER_OBJ},  {0x02, ARCHIVE_ENTRY_ACL_USER},
    {0x04, ARCHIVE_ENTRY_ACL_GROUP_OBJ}, {0x08, ARCHIVE_ENTRY_ACL_GROUP},
    {0x10, ARCHIVE_ENTRY_ACL_MASK},      {0x20, ARCHIVE_ENTRY_ACL_OTHER},
};

/* The kernel's binary form (posix_acl_xattr.h): u32 2, then u16 tag, u16 perm, u32 id. */
static bool
add_acl(struct archive_entry *to, int type, const struct tree_xattr *x)
{
    struct cursor c = cursor_of(x->value, x->len);

    if (cursor_u32(&c) != 2) {
        return false;
    }
    while (c.left > 0 && !c.bad) {
        uint16_t tag = cursor_u16(&c);
        uint16_t perm = cursor_u16(&c);
        uint32_t id = cursor_u32(&c);
        bool named = tag == 0x02 || tag == 0x08;
        int known = 0;

        for (size_t i = 0; i < sizeof acl_tags / sizeof acl_tags[0]; i++) {
            known = acl_tags[i].tag == tag ? acl_tags[i].archive : known;
        }
        if (c.bad || known == 0 ||
            la->entry_acl_add_entry(to, type, perm & 7, known, named ? (int)id : -1,
                                    "") != ARCHIVE_OK) {
            return false;
        }
    }
    return !c.bad;
}

static void
add_attributes(struct archive_entry *to, const struct tree_entry *from)
{
    for (size_t i = 0; i < from->n_xattrs; i++) {
        const struct tree_xattr *x = &from->xattrs[i];

        if ((strcmp(x->name, ACL_ACCESS) == 0 &&
             add_acl(to, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, x)) ||
            (strcmp(x->name, ACL_DEFAULT) == 0 &&
             add_acl(to, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, x))) {
            continue;
        }
        la->entry_xattr_add_entry(to, x->name, x->value, x->len);
    }
}

static unsigned
file_type(enum tree_type t)
{
    switch (t) {
    case TREE_DIR:
        return AE_IFDIR;
    case TREE_SYMLINK:
        return AE_IFLNK;
    case TREE_FIFO:
        return AE_IFIFO;
    case TREE_CHAR:
        return AE_IFCHR;
    case TREE_BLOCK:
        return AE_IFBLK;
    case TREE_FILE:
    case TREE_SOCKET:
    case TREE_WHITEOUT:
    case TREE_NONE:
        break;
    }
    return AE_IFREG;
}

static void
set_names(struct out *x, struct archive_entry *to, const struct tree_entry *from)
{
    buf_reset(&x->text);
    buf_printf(&x->text, from->path_len > 0 ? "./%s" : ".%s", from->path);
    la->entry_copy_pathname(to, buf_str(&x->text));
    if (from->hard_link) {
        buf_reset(&x->text);
        buf_printf(&x->text, "./%s", from->target);
        la->entry_copy_hardlink(to, buf_str(&x->text));
    } else if (from->type == TREE_SYMLINK) {
        la->entry_copy_symlink(to, from->target);
    }
    if (from->user[0] != '\0') {
        la->entry_copy_uname(to, from->user);
    }
    if (from->group[0] != '\0') {
        la->entry_copy_gname(to, from->group);
    }
}

static int
write_header(struct out *x, const struct tree_entry *from, struct err *e)
{
    struct archive_entry *to = la->entry_new();
    int64_t s = from->mtime_ns / NS_PER_S;
    int64_t ns = from->mtime_ns % NS_PER_S;
    bool content = from->type == TREE_FILE && !from->hard_link;
    int rc;

    /*
     * libarchive 3.6 writes the two numbers with a dot between them, whatever the sign:
     * so before 1970 both count away from it, and what lies within the last second
     * before it cannot be said.
     */
    if (ns < 0) {
        ns = s < 0 ? -ns : 0;
    }
    la->entry_set_filetype(to, file_type(from->type));
    la->entry_set_perm(to, from->mode);
    la->entry_set_uid(to, from->uid);
    la->entry_set_gid(to, from->gid);
    la->entry_set_mtime(to, s, (long)ns);
    la->entry_set_size(to, content ? (int64_t)from->size : 0);
    set_names(x, to, from);
    if (from->type == TREE_CHAR || from->type == TREE_BLOCK) {
        la->entry_set_rdevmajor(to, from->dev_major);
        la->entry_set_rdevminor(to, from->dev_minor);
    }
    if (!from->hard_link) {
        add_attributes(to, from);
    }
    for (size_t i = 0; content && from->sparse && i < from->n_extents; i++) {
        la->entry_sparse_add_entry(to, (int64_t)from->extents[i].at,
                                   (int64_t)from->extents[i].len);
    }
    if (content && from->sparse && from->n_extents == 0) {
        la->entry_sparse_add_entry(to, (int64_t)from->size, 0);
    }
    rc = la->write_header(x->tar, to); /* a warning: a name that is no UTF-8 */
    la->entry_free(to);
    return rc >= ARCHIVE_WARN ? 0 : archive_err(x, x->tar, e);
}

static int
write_bytes(struct out *x, const uint8_t *data, size_t n, struct err *e)
{
    while (n > 0) {
        la_ssize_t did = la->write_data(x->tar, data, n);

        if (did <= 0) {
            return archive_err(x, x->tar, e);
        }
        data += did;
        n -= (size_t)did;
    }
    return 0;
}

/* The next bytes of the run's contents. */
static int
write_stored(struct out *x, uint64_t n, struct err *e)
{
    while (n > 0) {
        size_t left = x->chunk.len - x->chunk_at;
        size_t take = n < left ? (size_t)n : left;

        if (left == 0) {
            buf_reset(&x->chunk);
            x->chunk_at = 0;
            if (x->n_chunks == 0) {
                return err_set(e, ERR_CORRUPT, "not a tree: a file is too long");
            }
            if (x->source.get(x->source.ctx, &x->chunks->id, &x->chunk, e) != 0) {
                return -1;
            }
            x->chunks++;
            x->n_chunks--;
            if (x->o->progress != NULL) {
                x->o->progress(x->o->ctx, x->sums.n_entries, x->sums.bytes);
            }
            continue;
        }
        if (write_bytes(x, x->chunk.data + x->chunk_at, take, e) != 0) {
            return -1;
        }
        x->chunk_at += take;
        n -= take;
        x->sums.bytes += take;
    }
    return 0;
}

/* libarchive wants the hole's bytes, and leaves them out without a look. */
static int
write_hole(struct out *x, uint64_t n, struct err *e)
{
    if (x->hole == NULL) {
        x->hole = mmap(NULL, HOLE_BYTES, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (x->hole == MAP_FAILED) {
            x->hole = NULL;
            return err_set_sys(e, errno, "cannot map memory");
        }
    }
    while (n > 0) {
        size_t take = n < HOLE_BYTES ? (size_t)n : HOLE_BYTES;

        if (write_bytes(x, x->hole, take, e) != 0) {
            return -1;
        }
        n -= take;
    }
    return 0;
}

static int
write_contents(struct out *x, const struct tree_entry *f, struct err *e)
{
    uint64_t at = 0;

    if (!f->sparse) {
        return write_stored(x, f->stored, e);
    }
    for (size_t i = 0; i < f->n_extents; i++) {
        if (write_hole(x, f->extents[i].at - at, e) != 0 ||
            write_stored(x, f->extents[i].len, e) != 0) {
            return -1;
        }
        at = f->extents[i].at + f->extents[i].len;
    }
    return write_hole(x, f->size - at, e);
}

static void
leave_out(struct out *x, const struct tree_entry *entry)
{
    char shown[SHOWN_MAX];

    x->sums.n_left_out++;
    named_add(&x->left_out, entry->path, entry->path_len);
    if (x->o->left_out != NULL) {
        x->o->left_out(x->o->ctx, text_escape_to(shown, sizeof shown, entry->path),
                       entry->type == TREE_SOCKET     ? "a socket"
                       : entry->type == TREE_WHITEOUT ? "a whiteout"
                                                      : "could not be read for the "
                                                        "snapshot");
    }
}

/*
 * A further name of what was left out, which no tar could make. Whoever imports expects a
 * member of every link: this one is an empty global header.
 */
static int
leave_out_link(struct out *x, const struct tree_entry *entry, struct err *e)
{
    uint8_t block[TAR_BLOCK];

    leave_out(x, entry);
    global_header(block, 0);
    return write_raw(x, block, sizeof block, e);
}

static int
write_member(struct out *x, const struct tree_entry *entry, struct err *e)
{
    if (write_header(x, entry, e) != 0 ||
        (entry->type == TREE_FILE && !entry->hard_link &&
         write_contents(x, entry, e) != 0)) {
        return -1;
    }
    return la->write_finish_entry(x->tar) == ARCHIVE_OK ? 0 : archive_err(x, x->tar, e);
}

static int
write_entry(struct out *x, const struct tree_entry *entry, struct err *e)
{
    if (!tarball_is_member(entry)) {
        leave_out(x, entry);
        return 0;
    }
    return named_by_link(&x->left_out, entry) ? leave_out_link(x, entry, e)
                                              : write_member(x, entry, e);
}

static int
write_run(struct out *x, const struct tree_run *run, struct err *e)
{
    x->chunks = run->group.chunks;
    x->n_chunks = run->group.n_chunks;
    buf_reset(&x->chunk);
    x->chunk_at = 0;
    for (size_t i = 0; i < run->group.n_entries; i++) {
        const struct tree_entry *entry = &run->group.entries[i];

        x->sums.n_entries++;
        if (write_entry(x, entry, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
write_tree(struct out *x, struct tree_reader *r, struct err *e)
{
    struct buf encoded = BUF_INIT;
    struct tree_run run = {.encoded = &encoded};
    bool end = false;
    int rc;

    while ((rc = tree_run_next(&run, r, &end, e)) == 0 && !end) {
        rc = write_pieces(x, TARBALL_TREE, encoded.data, encoded.len, e);
        buf_reset(&encoded);
        if (rc != 0 || (rc = write_run(x, &run, e)) != 0) {
            break;
        }
    }
    tree_run_free(&run);
    buf_free(&encoded);
    return rc;
}

int
tarball_export(struct store *s, const struct sha256 *tree_id, const void *manifest,
               size_t manifest_len, const struct tarball_options *o,
               int (*write)(void *ctx, const void *data, size_t n, struct err *e),
               void *write_ctx, struct tarball_report *r, struct err *e)
{
    struct out x = {.o = o,
                    .write = write,
                    .write_ctx = write_ctx,
                    .source = tree_source_store(s),
                    .sums = {.tree = *tree_id}};
    /* Names that are UTF-8 go as that, whatever the user's locale. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t was = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    struct tree_reader *reader = NULL;
    int rc = -1;

    if (libarchive_load(e) == -1) {
        goto out;
    }
    if (tree_open(&reader, tree_id, &x.source, e) == 0 && open_file(&x, e) == 0 &&
        write_pieces(&x, TARBALL_MANIFEST, manifest, manifest_len, e) == 0 &&
        write_tree(&x, reader, e) == 0 && close_file(&x, e) == 0) {
        *r = x.sums;
        rc = 0;
    } else if (!x.write_failed) {
        verify_name_damaged(s, tree_id, NULL, e);
    }

out:
    tree_close(reader);
    /* After a failure both are closed all the same, or libarchive keeps what it opened
     * with; the end that this writes reaches nobody. */
    x.write_failed = x.write_failed || rc != 0;
    if (x.tar != NULL) {
        (void)la->write_close(x.tar);
        (void)la->write_free(x.tar);
    }
    if (x.file != NULL) {
        (void)la->write_close(x.file);
        (void)la->write_free(x.file);
    }
    if (x.hole != NULL) {
        (void)munmap(x.hole, HOLE_BYTES);
    }
    buf_free(&x.chunk);
    buf_free(&x.text);
    named_free(&x.left_out);
    if (utf8 != (locale_t)0) {
        (void)uselocale(was);
        freelocale(utf8);
    }
    return rc;
}
