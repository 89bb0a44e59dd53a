#include "storage/packs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/codec.h"

static int
cmp_names(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct pack_name));
}

int
packs_list(int packs_fd, struct packs_names *out, struct err *e)
{
    struct pack_name *v = NULL;
    size_t n = 0;
    size_t cap = 0;
    struct dirent *entry;
    int fd = openat(packs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        err_set_sys(e, errno, "cannot list packs");
        (void)fd_close(&fd);
        return -1;
    }
    errno = 0;
    while ((entry = readdir(d)) != NULL) {
        struct pack_name name;

        if (pack_file_parse(entry->d_name, &name)) {
            if (n == cap) {
                cap = cap == 0 ? 64 : cap * 2;
                v = xrealloc(v, cap * sizeof *v);
            }
            v[n++] = name;
        }
        errno = 0;
    }
    if (errno != 0) {
        err_set_sys(e, errno, "cannot list packs");
        (void)closedir(d);
        free(v);
        return -1;
    }
    (void)closedir(d);
    if (n != 0) {
        qsort(v, n, sizeof *v, cmp_names);
    }
    out->v = v;
    out->n = n;
    return 0;
}

int
packs_lock(int packs_fd, const struct pack_name *name, int *fd, struct err *e)
{
    int f;

    *fd = -1;
    if (pack_open(packs_fd, name, &f, e) == -1) {
        return e->code == ERR_NOT_FOUND ? 0 : -1;
    }
    if (flock(f, LOCK_EX | LOCK_NB) == 0) {
        *fd = f;
        return 0;
    }
    if (errno == EWOULDBLOCK) {
        (void)close(f);
        return 0;
    }
    err_set_sys(e, errno, "cannot lock a pack");
    (void)close(f);
    return -1;
}

/* Do these encoded bytes decode to the chunk? raw is room for it. */
static int
check_decoded(const struct pack_entry *en, const uint8_t *data, uint8_t *raw,
              struct codec *c, struct err *e)
{
    struct sha256 got;
    struct err why;

    if (codec_decode(c, (enum store_codec)en->codec, data, en->stored_len, raw,
                     en->raw_len, &why) == -1) {
        if (why.code == ERR_SPACE) { /* of memory: says nothing of the bytes */
            *e = why;
            return -1;
        }
        return err_set(e, ERR_CORRUPT, "the stored bytes are not the chunk");
    }
    sha256_of(raw, en->raw_len, &got);
    if (!sha256_equal(&got, &en->id)) {
        return err_set(e, ERR_CORRUPT, "the stored bytes are not the chunk");
    }
    return 0;
}

int
packs_fetch(int fd, const struct pack_entry *en, struct codec *c, const uint8_t **data,
            bool *scarred, struct err *e)
{
    size_t stored = PACK_ENTRY_LEN + (size_t)en->stored_len;
    uint8_t *bytes = codec_scratch(c, stored + en->raw_len);
    struct err why;

    *scarred = false;
    if (pack_read_entry(fd, en, bytes, &why) == -1) {
        ssize_t got = pack_pread(fd, bytes, stored, en->offset);

        if (got == -1 || (size_t)got < stored) {
            *e = why;
            return -1;
        }
        *scarred = true; /* the bytes may be sound for all that */
    }
    if (check_decoded(en, bytes + PACK_ENTRY_LEN, bytes + stored, c, e) == -1) {
        return -1;
    }
    *data = bytes + PACK_ENTRY_LEN;
    return 0;
}

static int
cmp_offsets(const void *a, const void *b)
{
    uint32_t x = ((const struct pack_entry *)a)->offset;
    uint32_t y = ((const struct pack_entry *)b)->offset;

    return (x > y) - (x < y);
}

/* Sort by offset and drop what both sources told. */
static void
tidy(struct pack_list *l)
{
    size_t kept = 0;

    if (l->n == 0) {
        return;
    }
    qsort(l->v, l->n, sizeof *l->v, cmp_offsets);
    for (size_t i = 0; i < l->n; i++) {
        const struct pack_entry *last = kept == 0 ? NULL : &l->v[kept - 1];

        if (last == NULL || last->offset != l->v[i].offset ||
            !sha256_equal(&last->id, &l->v[i].id)) {
            l->v[kept++] = l->v[i];
        }
    }
    l->n = kept;
}

int
packs_entries(int fd, const struct pack_name *name, struct pack_list *out, bool *whole,
              struct err *e)
{
    struct pack_list by_table = {0};
    struct err ignored;

    if (pack_scan(fd, out, whole, e) == -1) {
        return -1;
    }
    if (pack_read_table(fd, &by_table, &ignored) == -1 || by_table.n != out->n ||
        pack_check_header(fd, name, &ignored) == -1) {
        *whole = false;
    }
    for (size_t i = 0; i < by_table.n; i++) {
        pack_list_add(out, &by_table.v[i]);
    }
    pack_list_free(&by_table);
    tidy(out);
    return 0;
}

static bool
in_list(const struct pack_list *l, const struct sha256 *id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (sha256_equal(&l->v[i].id, id)) {
            return true;
        }
    }
    return false;
}

int
packs_copy_good(int fd, const struct pack_list *list, struct pack_writer *w,
                struct pack_list *bad, uint64_t *n_scarred, struct err *e)
{
    struct codec *c = codec_new();
    struct pack_list doubtful = {0};
    int rc = -1;

    *n_scarred = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct pack_entry en = list->v[i];
        const uint8_t *data;
        bool scarred = false;
        struct err why;

        if (packs_fetch(fd, &en, c, &data, &scarred, &why) == -1) {
            if (!pack_is_damage(&why)) {
                *e = why;
                goto out;
            }
            ++*n_scarred;
            pack_list_add(&doubtful, &en);
            continue;
        }
        *n_scarred += scarred ? 1 : 0;
        if (in_list(&w->entries, &en.id)) {
            continue; /* a second copy */
        }
        en.second = false;
        pack_reserve(w, &en);
        if (pack_write_entry(w, &en, data, e) == -1) {
            goto out;
        }
    }
    for (size_t i = 0; i < doubtful.n; i++) {
        if (!in_list(&w->entries, &doubtful.v[i].id) &&
            !in_list(bad, &doubtful.v[i].id)) {
            pack_list_add(bad, &doubtful.v[i]);
        }
    }
    rc = 0;

out:
    pack_list_free(&doubtful);
    codec_free(c);
    return rc;
}

int
packs_put_away(int dir_fd, int packs_fd, const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];
    int bad_fd = openat(dir_fd, "bad", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = -1;

    pack_file_name(name, file);
    if (bad_fd == -1 || renameat(packs_fd, file, bad_fd, file) == -1 ||
        fsync(bad_fd) == -1 || fsync(packs_fd) == -1) {
        err_set_sys(e, errno, "cannot move '%s' to bad/", file);
        goto out;
    }
    rc = 0;

out:
    (void)fd_close(&bad_fd);
    return rc;
}

/* Do the entries follow each other from the header on? */
static bool
no_gaps(const struct pack_list *l)
{
    uint64_t at = PACK_HEADER_LEN;

    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].offset != at) {
            return false;
        }
        at += PACK_ENTRY_LEN + (uint64_t)l->v[i].stored_len;
    }
    return true;
}

static int
remove_pack(int packs_fd, const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];

    pack_file_name(name, file);
    if (unlinkat(packs_fd, file, 0) == -1 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove '%s'", file);
    }
    return 0;
}

int
packs_salvage(int dir_fd, int packs_fd, const struct pack_name *name,
              struct packs_salvage *out, struct err *e)
{
    struct pack_list list = {0};
    struct pack_list bad = {0};
    struct pack_writer *w = NULL;
    uint64_t n_scarred;
    bool whole;
    int fd = -1;
    int rc = -1;

    if (pack_open(packs_fd, name, &fd, e) == -1 ||
        packs_entries(fd, name, &list, &whole, e) == -1 ||
        pack_create(&w, packs_fd, e) == -1 ||
        packs_copy_good(fd, &list, w, &bad, &n_scarred, e) == -1) {
        goto out;
    }
    out->n_good = w->entries.n;
    out->n_bad = bad.n;
    if (out->n_good > 0) {
        if (pack_seal(w, e) == -1) {
            goto out;
        }
        if (fsync(packs_fd) == -1) {
            err_set_sys(e, errno, "cannot sync packs");
            goto out;
        }
        out->made = true;
        out->new_name = w->name;
    }
    /* One that a crash tore off holds nothing that anybody was promised. */
    if ((n_scarred == 0 && no_gaps(&list)
             ? remove_pack(packs_fd, name, e)
             : packs_put_away(dir_fd, packs_fd, name, e)) == -1) {
        goto out;
    }
    rc = 0;

out:
    pack_writer_free(w, packs_fd, !out->made);
    pack_list_free(&bad);
    pack_list_free(&list);
    (void)fd_close(&fd);
    return rc;
}
