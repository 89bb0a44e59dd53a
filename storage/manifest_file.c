#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rec.h"
#include "storage/manifest.h"
#include "storage/pack.h"
#include "storage/store_internal.h"

/*
 * The file of a manifest: its record, zero bytes up to a multiple of SECTOR, and the
 * same once more. So whichever half a bad sector, or a flipped bit, lies in, the other
 * is whole; and the halves find themselves.
 */
#define SECTOR         ((size_t)512)
#define FILE_MAX_BYTES (2 * (MANIFEST_MAX_BYTES + SECTOR))

struct file_name {
    char s[MANIFEST_ID_MAX + sizeof ".manifest"];
};

static struct file_name
file_name(const char *id)
{
    struct file_name n;

    (void)snprintf(n.s, sizeof n.s, "%s.manifest", id);
    return n;
}

static void
add_half(struct buf *file, const void *data, size_t len)
{
    static const uint8_t zeros[SECTOR];

    buf_add(file, data, len);
    buf_add(file, zeros, (SECTOR - len % SECTOR) % SECTOR);
}

static void
make_file(const void *data, size_t len, struct buf *file)
{
    add_half(file, data, len);
    add_half(file, data, len);
}

/* The record in one half of a file: all but the zero bytes at its end. */
static int
parse_half(const uint8_t *half, size_t len, const char *id, struct manifest **out,
           size_t *record_len, struct err *e)
{
    struct manifest *m;

    while (len > 0 && half[len - 1] == 0) {
        len--;
    }
    if (manifest_parse(&m, half, len, e) == -1) {
        return -1;
    }
    if (strcmp(m->id, id) != 0) {
        manifest_free(m);
        return err_set(e, ERR_CORRUPT, "it is the manifest of another snapshot");
    }
    *record_len = len;
    *out = m;
    return 0;
}

/* A half that the disk does not give back reads as zero bytes, in which no record is. */
static void
read_half(int fd, uint8_t *to, size_t n, off_t at)
{
    if (pack_pread(fd, to, n, (uint64_t)at) != (ssize_t)n) {
        memset(to, 0, n);
    }
}

static int
read_halves(int dir_fd, const char *name, struct buf *file, struct err *e)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    size_t half;
    int rc = -1;

    if (fd == -1 || fstat(fd, &st) == -1) {
        err_set_sys(e, errno, "cannot read '%s'", name);
    } else if (st.st_size < 0 || (uint64_t)st.st_size > FILE_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "'%s' is of an impossible size", name);
    } else {
        buf_reserve(file, (size_t)st.st_size);
        file->len = (size_t)st.st_size;
        half = file->len / 2;
        read_half(fd, file->data, half, 0);
        read_half(fd, file->data + half, file->len - half, (off_t)half);
        rc = 0;
    }
    (void)fd_close(&fd);
    return rc;
}

static int
read_both(struct store *s, const char *name, struct buf *file, struct err *e)
{
    if (store_read_file(s->snaps_fd, name, FILE_MAX_BYTES, file, e) == 0) {
        return 0;
    }
    return pack_is_damage(e) ? read_halves(s->snaps_fd, name, file, e) : -1;
}

/* Read the file: *file holds it, the record is its bytes [*at, *at + *len). */
static int
read_file(struct store *s, const char *id, struct buf *file, struct manifest **out,
          size_t *at, size_t *len, struct err *e)
{
    struct file_name name;
    size_t half;

    if (!manifest_id_valid(id)) {
        return err_set(e, ERR_NOT_FOUND, "no snapshot has that id");
    }
    name = file_name(id);
    if (read_both(s, name.s, file, e) == -1) {
        return e->code == ERR_NOT_FOUND
                   ? err_set(e, ERR_NOT_FOUND, "there is no snapshot %s", id)
                   : err_wrap(e, "snapshot %s", id);
    }
    half = file->len / 2;
    *at = 0;
    if (parse_half(file->data, half, id, out, len, e) == 0) {
        return 0;
    }
    *at = half;
    if (parse_half(file->data + half, file->len - half, id, out, len, e) == 0) {
        return 0;
    }
    return err_wrap(e, "the manifest of %s is damaged", id);
}

int
manifest_read(struct store *s, const char *id, struct manifest **out, struct err *e)
{
    struct buf file = BUF_INIT;
    size_t at;
    size_t len;
    int rc = read_file(s, id, &file, out, &at, &len, e);

    buf_free(&file);
    return rc;
}

int
manifest_read_encoded(struct store *s, const char *id, struct buf *out, struct err *e)
{
    struct buf file = BUF_INIT;
    struct manifest *m = NULL;
    size_t at;
    size_t len;
    int rc = read_file(s, id, &file, &m, &at, &len, e);

    if (rc == 0) {
        buf_add(out, file.data + at, len);
    }
    manifest_free(m);
    buf_free(&file);
    return rc;
}

/* Is the very same record there already? *there: then nothing is to be done. */
static int
look_for(struct store *s, const char *id, const void *data, size_t len, bool *there,
         struct err *e)
{
    struct buf old = BUF_INIT;
    struct err why;
    int rc = 0;

    *there = false;
    if (manifest_read_encoded(s, id, &old, &why) == 0) {
        *there = old.len == len && memcmp(old.data, data, len) == 0;
        if (!*there) {
            rc = err_set(e, ERR_EXISTS, "another snapshot has the id %s", id);
        }
    } else if (why.code != ERR_NOT_FOUND && why.code != ERR_CORRUPT) {
        *e = why;
        rc = -1;
    }
    buf_free(&old);
    return rc;
}

static int
write_file(struct store *s, const char *id, const void *data, size_t len, struct err *e)
{
    struct buf file = BUF_INIT;
    struct file_name name = file_name(id);
    bool there;
    int rc = -1;

    if (look_for(s, id, data, len, &there, e) == -1) {
        return -1;
    }
    /* Nothing a manifest tells of may be less durable than itself. */
    if (store_commit(s, e) == -1) {
        return -1;
    }
    if (there) {
        return 0;
    }
    make_file(data, len, &file);
    rc = file_replace_at(s->snaps_fd, name.s, file.data, file.len, e);
    buf_free(&file);
    return rc == -1 ? err_wrap(e, "snapshot %s", id) : 0;
}

int
manifest_write(struct store *s, const struct manifest *m, const struct sign_key *key,
               struct err *e)
{
    struct buf text = BUF_INIT;
    int rc = -1;

    if (manifest_encode(m, key, &text, e) == 0) {
        rc = write_file(s, m->id, text.data, text.len, e);
    }
    buf_free(&text);
    return rc;
}

int
manifest_write_encoded(struct store *s, const void *data, size_t len, struct err *e)
{
    struct manifest *m;
    int rc;

    if (manifest_parse(&m, data, len, e) == -1) {
        return -1;
    }
    rc = write_file(s, m->id, data, len, e);
    manifest_free(m);
    return rc;
}

int
manifest_repair(struct store *s, const char *id, bool *repaired, struct err *e)
{
    struct buf file = BUF_INIT;
    struct buf want = BUF_INIT;
    struct manifest *m = NULL;
    struct file_name name = file_name(id);
    size_t at;
    size_t len;
    int rc = -1;

    if (read_file(s, id, &file, &m, &at, &len, e) == -1) {
        goto out;
    }
    make_file(file.data + at, len, &want);
    *repaired = want.len != file.len || memcmp(want.data, file.data, want.len) != 0;
    rc = *repaired ? file_replace_at(s->snaps_fd, name.s, want.data, want.len, e) : 0;

out:
    manifest_free(m);
    buf_free(&want);
    buf_free(&file);
    return rc;
}
