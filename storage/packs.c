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
    if (n > 0) {
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

int
packs_verify(int fd, const struct pack_entry *en, struct codec *c, struct err *e)
{
    size_t stored = PACK_ENTRY_LEN + (size_t)en->stored_len;
    uint8_t *bytes = codec_scratch(c, stored + en->raw_len);
    uint8_t *raw = bytes + stored;
    struct sha256 got;

    if (pack_read_entry(fd, en, bytes, e) == -1 ||
        codec_decode(c, (enum store_codec)en->codec, bytes + PACK_ENTRY_LEN,
                     en->stored_len, raw, en->raw_len, e) == -1) {
        return -1;
    }
    sha256_of(raw, en->raw_len, &got);
    if (!sha256_equal(&got, &en->id)) {
        return err_set(e, ERR_CORRUPT, "the stored bytes are not the chunk");
    }
    return 0;
}

/* Copy an entry, just verified, to w. */
static int
copy_entry(int fd, const struct pack_entry *en, struct pack_writer *w, struct codec *c,
           struct err *e)
{
    struct pack_entry copy = *en;
    uint8_t *bytes = codec_scratch(c, PACK_ENTRY_LEN + (size_t)en->stored_len);

    if (pack_read_entry(fd, en, bytes, e) == -1) {
        return -1;
    }
    copy.second = false;
    pack_reserve(w, &copy);
    return pack_write_entry(w, &copy, bytes + PACK_ENTRY_LEN, e);
}

static int
cmp_salvage(const void *a, const void *b)
{
    const struct pack_entry *x = a;
    const struct pack_entry *y = b;
    int order = sha256_cmp(&x->id, &y->id);

    return order != 0 ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

/* Copy one good copy of each chunk in list to w. */
static int
copy_good(int fd, struct pack_list *list, struct pack_writer *w,
          struct packs_salvage *out, struct err *e)
{
    struct codec *c = codec_new();
    int rc = -1;

    if (list->n > 0) {
        qsort(list->v, list->n, sizeof *list->v, cmp_salvage);
    }
    for (size_t i = 0, next; i < list->n; i = next) {
        bool good = false;

        for (next = i; next < list->n && sha256_equal(&list->v[i].id, &list->v[next].id);
             next++) {
            struct err why;

            if (!good && packs_verify(fd, &list->v[next], c, &why) == 0) {
                if (copy_entry(fd, &list->v[next], w, c, e) == -1) {
                    goto out;
                }
                good = true;
            }
        }
        out->n_good += good ? 1 : 0;
        out->n_bad += good ? 0 : 1;
    }
    rc = 0;

out:
    codec_free(c);
    return rc;
}

int
packs_put_away(int dir_fd, int packs_fd, const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_LEN + 1];
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

/* The entries by table and headers together: either may be damaged. */
static int
all_entries(int fd, struct pack_list *out, bool *torn, struct err *e)
{
    struct pack_list by_table = {0};
    struct err ignored;
    bool whole;

    if (pack_scan(fd, out, &whole, e) == -1) {
        return -1;
    }
    *torn = pack_read_table(fd, &by_table, &ignored) == -1;
    for (size_t i = 0; i < by_table.n; i++) {
        pack_list_add(out, &by_table.v[i]);
    }
    pack_list_free(&by_table);
    return 0;
}

static int
remove_pack(int packs_fd, const struct pack_name *name, struct err *e)
{
    char file[PACK_FILE_NAME_LEN + 1];

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
    struct pack_writer *w = NULL;
    bool torn;
    int fd = -1;
    int rc = -1;

    if (pack_open(packs_fd, name, &fd, e) == -1 ||
        all_entries(fd, &list, &torn, e) == -1 || pack_create(&w, packs_fd, e) == -1 ||
        copy_good(fd, &list, w, out, e) == -1) {
        goto out;
    }
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
    if ((torn && out->n_bad == 0 ? remove_pack(packs_fd, name, e)
                                 : packs_put_away(dir_fd, packs_fd, name, e)) == -1) {
        goto out;
    }
    rc = 0;

out:
    pack_writer_free(w, packs_fd, !out->made);
    pack_list_free(&list);
    (void)fd_close(&fd);
    return rc;
}
