#include "storage/git_index.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "storage/beneath.h"

#define SIGNATURE "DIRC"
#define STAT_BYTES                                                                       \
    40 /* times, device, inode, mode, owner and size before the name's hash */
#define FLAG_EXTENDED   0x4000
#define NAME_MASK       0x0fff /* the name's length, or this where it is longer */
#define LINK_FILE_BYTES ((size_t)8192)

struct name {
    size_t at; /* in bytes */
    size_t len;
};

struct git_index {
    struct buf bytes; /* all names, one after another */
    struct name *names;
    size_t n;
};

/* ---- which folder ---- */

/* What a one-line file says after its prefix; malloc'ed, NULL: it is no such file. */
static char *
read_line(int dir_fd, const char *name, const char *prefix)
{
    struct buf b = BUF_INIT;
    size_t skip = strlen(prefix);
    char *said = NULL;

    beneath_read(dir_fd, name, LINK_FILE_BYTES, &b);
    if (b.len > skip && memcmp(b.data, prefix, skip) == 0) {
        const char *text = (const char *)b.data + skip;
        size_t len = b.len - skip;

        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
            len--;
        }
        said = xasprintf("%.*s", (int)len, text);
    }
    buf_free(&b);
    return said;
}

int
git_dir_open(int root_fd)
{
    int fd = openat(root_fd, ".git", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *elsewhere = fd == -1 ? read_line(root_fd, ".git", "gitdir: ") : NULL;

    if (elsewhere != NULL) {
        fd = openat(root_fd, elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    free(elsewhere);
    return fd;
}

int
git_common_dir_open(int git_dir_fd)
{
    char *common = read_line(git_dir_fd, "commondir", "");
    int fd = openat(git_dir_fd, common != NULL ? common : ".",
                    O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    free(common);
    return fd;
}

/* ---- reading ---- */

static uint16_t
read_be16(struct cursor *c)
{
    const uint8_t *p = cursor_bytes(c, 2);

    return p != NULL ? (uint16_t)((unsigned)p[0] << 8 | p[1]) : 0;
}

static uint32_t
read_be32(struct cursor *c)
{
    uint32_t high = read_be16(c);

    return high << 16 | read_be16(c);
}

/* git's varint of offsets: most significant first, each further byte adds one. */
static size_t
read_offset(struct cursor *c)
{
    uint8_t byte = cursor_u8(c);
    size_t v = byte & 0x7f;

    while (!c->bad && (byte & 0x80) != 0) {
        byte = cursor_u8(c);
        v = (v + 1) << 7 | (byte & 0x7f);
        c->bad = c->bad || v >> 32 != 0; /* longer than any file may be */
    }
    return v;
}

/* The name up to its NUL, which is read too; its length in len. */
static const uint8_t *
read_name(struct cursor *c, size_t *len)
{
    const uint8_t *nul = c->left > 0 ? memchr(c->at, '\0', c->left) : NULL;
    const uint8_t *name = c->at;

    *len = nul != NULL ? (size_t)(nul - name) : 0;
    c->bad = c->bad || nul == NULL;
    (void)cursor_bytes(c, *len + 1);
    return name;
}

static int
compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    int d = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return d != 0 ? d : a_len < b_len ? -1 : a_len > b_len;
}

/* Append a name; they come in order, one path several times while a merge is on. */
static bool
add_name(struct git_index *x, size_t at, size_t len)
{
    int order = -1;

    if (x->n > 0) {
        const struct name *last = &x->names[x->n - 1];

        order = compare(x->bytes.data + last->at, last->len, x->bytes.data + at, len);
    }
    if (len == 0 || order > 0) {
        return false;
    }
    if (order != 0) {
        x->names[x->n++] = (struct name){.at = at, .len = len};
    }
    return true;
}

/* One entry; prev is the name before it (version 4 tells only where they differ). */
static bool
read_entry(struct git_index *x, struct cursor *c, uint32_t version, size_t hash_bytes,
           struct name *prev)
{
    const uint8_t *began = c->at;
    size_t at = x->bytes.len;
    size_t keep = 0;
    size_t len;
    const uint8_t *name;
    uint16_t flags;

    (void)cursor_bytes(c, STAT_BYTES + hash_bytes);
    flags = read_be16(c);
    if (version >= 3 && (flags & FLAG_EXTENDED) != 0) {
        (void)read_be16(c);
    }
    if (version == 4) {
        size_t drop = read_offset(c);

        c->bad = c->bad || drop > prev->len;
        keep = c->bad ? 0 : prev->len - drop;
    }
    name = read_name(c, &len);
    if (version < 4 && !c->bad) {
        size_t padded = ((size_t)(c->at - began) + 7) / 8 * 8; /* one NUL is read */

        (void)cursor_bytes(c, padded - (size_t)(c->at - began));
    }
    if (c->bad ||
        ((flags & NAME_MASK) != NAME_MASK && (flags & NAME_MASK) != keep + len)) {
        return false;
    }
    buf_reserve(&x->bytes, keep + len);
    if (keep != 0) {
        memcpy(x->bytes.data + at, x->bytes.data + prev->at, keep);
    }
    memcpy(x->bytes.data + at + keep, name, len);
    x->bytes.len = at + keep + len;
    *prev = (struct name){.at = at, .len = keep + len};
    return add_name(x, at, keep + len);
}

static struct git_index *
parse_with(const void *bytes, size_t n, size_t hash_bytes)
{
    struct cursor c = cursor_of(bytes, n);
    const uint8_t *sign = cursor_bytes(&c, 4);
    uint32_t version = read_be32(&c);
    uint32_t count = read_be32(&c);
    struct name prev = {0};
    struct git_index *x;

    if (c.bad || memcmp(sign, SIGNATURE, 4) != 0 || version < 2 || version > 4 ||
        count > c.left / (STAT_BYTES + hash_bytes)) {
        return NULL;
    }
    x = xcalloc(1, sizeof *x);
    x->names = xcalloc(count, sizeof *x->names);
    for (uint32_t i = 0; i < count; i++) {
        if (!read_entry(x, &c, version, hash_bytes, &prev)) {
            git_index_free(x);
            return NULL;
        }
    }
    return x;
}

struct git_index *
git_index_parse(const void *bytes, size_t n)
{
    struct git_index *x = parse_with(bytes, n, 20);

    return x != NULL ? x : parse_with(bytes, n, 32);
}

struct git_index *
git_index_read(int git_dir_fd)
{
    struct buf b = BUF_INIT;
    struct git_index *x;

    beneath_read(git_dir_fd, "index", GIT_INDEX_MAX_BYTES, &b);
    x = git_index_parse(b.data, b.len);
    buf_free(&b);
    return x;
}

void
git_index_free(struct git_index *x)
{
    if (x == NULL) {
        return;
    }
    buf_free(&x->bytes);
    free(x->names);
    free(x);
}

/* ---- asking ---- */

/* The first name that is not before path. */
static size_t
lower_bound(const struct git_index *x, const uint8_t *path, size_t len)
{
    size_t from = 0;
    size_t to = x->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        const struct name *m = &x->names[mid];

        if (compare(x->bytes.data + m->at, m->len, path, len) < 0) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from;
}

bool
git_index_has(const struct git_index *x, const char *path, size_t len)
{
    size_t i = x != NULL ? lower_bound(x, (const uint8_t *)path, len) : 0;

    return x != NULL && i < x->n && x->names[i].len == len &&
           memcmp(x->bytes.data + x->names[i].at, path, len) == 0;
}

bool
git_index_below(const struct git_index *x, const char *path, size_t len)
{
    struct buf prefix = BUF_INIT;
    bool below = false;

    if (x != NULL) {
        size_t i;

        buf_add(&prefix, path, len);
        buf_add_u8(&prefix, '/');
        i = lower_bound(x, prefix.data, prefix.len);
        below = i < x->n && x->names[i].len >= prefix.len &&
                memcmp(x->bytes.data + x->names[i].at, prefix.data, prefix.len) == 0;
    }
    buf_free(&prefix);
    return below;
}
