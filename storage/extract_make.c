#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "storage/beneath.h"
#include "storage/extract_internal.h"
#include "storage/scan_internal.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* What a new file is called beside the one it will replace. */
#define STAGED_PREFIX ".gpurun-"

/* What is read again in more than the 10 ms that scache_settle may take. */
#define LARGE_BYTES ((uint64_t)16 * 1024 * 1024)

/* ---- parents ---- */

void
extract_parent_free(struct extract_parent *p)
{
    (void)fd_close(&p->fd);
    buf_free(&p->path);
}

int
extract_parent_of(struct extract_parent *p, const char *path, const char **name,
                  struct err *e)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash - path) : 0;
    int fd;

    *name = slash != NULL ? slash + 1 : path;
    if (p->fd != -1 && p->path.len == len && memcmp(buf_str(&p->path), path, len) == 0) {
        return 0;
    }
    (void)fd_close(&p->fd);
    buf_reset(&p->path);
    buf_add(&p->path, path, len);
    fd = beneath_open(p->root_fd, buf_str(&p->path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                      0);
    if (fd == -ELOOP || fd == -ENOTDIR) {
        return err_set(e, ERR_DENIED, "'%s' is not a directory", buf_str(&p->path));
    }
    if (fd < 0) {
        return err_set_sys(e, -fd, "cannot open the directory '%s'", buf_str(&p->path));
    }
    p->fd = fd;
    return 0;
}

static int
cannot_make(const char *path, int why, struct err *e)
{
    if (why == EEXIST) {
        return err_set(e, ERR_EXISTS, "'%s' exists already", path);
    }
    return err_set_sys(e, why, "cannot make '%s'", path);
}

/* ---- staging ---- */

static char *
staged_name(const struct extract *x)
{
    char id[sizeof STAGED_PREFIX + ID_RANDOM_LEN];

    if (x->o->fresh) {
        return NULL;
    }
    random_id(STAGED_PREFIX, id);
    return xstrdup(id);
}

/* File systems without RENAME_NOREPLACE have link. */
static int
rename_new(int dir_fd, const char *from, const char *to)
{
    if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    return linkat(dir_fd, from, dir_fd, to, 0) == 0 ? unlinkat(dir_fd, from, 0) : -1;
}

static int
unstage(const struct extract *x, int dir_fd, const char *staged, const char *name,
        const char *path, struct err *e)
{
    int rc;

    if (staged == NULL) {
        return 0;
    }
    rc = x->o->overwrite ? renameat(dir_fd, staged, dir_fd, name)
                         : rename_new(dir_fd, staged, name);
    if (rc != 0) {
        int why = errno;

        (void)unlinkat(dir_fd, staged, 0);
        return cannot_make(path, why == EISDIR || why == ENOTEMPTY ? EEXIST : why, e);
    }
    return 0;
}

static void
mark_fd(int fd, struct scache_mark *mark)
{
    struct scan_entry st = {0};
    struct stat got;

    if (mark != NULL && fstatat(fd, "", &got, AT_EMPTY_PATH) == 0) {
        scan_fill_stat(&st, &got);
        *mark = scache_mark_of(&st);
    }
}

/* ---- directories ---- */

/* Something is there already. */
static int
settle_dir(struct extract *x, int parent_fd, const char *name, const char *path,
           struct err *e)
{
    struct stat st;

    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return cannot_make(path, errno, e);
    }
    if (S_ISDIR(st.st_mode) && !x->o->fresh) {
        return 0;
    }
    if (x->o->fresh || !x->o->overwrite) {
        return cannot_make(path, EEXIST, e);
    }
    if (unlinkat(parent_fd, name, 0) != 0 || mkdirat(parent_fd, name, 0700) != 0) {
        return cannot_make(path, errno, e);
    }
    return 0;
}

int
extract_make_dir(struct extract *x, const char *path, struct err *e)
{
    const char *name;

    if (extract_parent_of(&x->parent, path, &name, e) != 0) {
        return -1;
    }
    if (mkdirat(x->parent.fd, name, 0700) == 0) {
        return 0;
    }
    return errno == EEXIST ? settle_dir(x, x->parent.fd, name, path, e)
                           : cannot_make(path, errno, e);
}

/* ---- files ---- */

static mode_t
new_mode(const struct extract *x, const struct tree_entry *entry)
{
    /* attributes need a file that may be written */
    return entry->n_xattrs > 0 ? 0600 : extract_mode(x, entry) & 0777;
}

static int
create_file(const struct extract *x, int dir_fd, const char *name,
            const struct tree_entry *entry)
{
    return openat(dir_fd, name,
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
                  new_mode(x, entry));
}

int
extract_make_file(struct extract *x, struct extract_parent *p,
                  const struct tree_entry *entry, const char *path,
                  const uint8_t *content, struct scache_mark *mark, struct err *e)
{
    const char *name;
    char *staged = NULL;
    bool made = false;
    int fd = -1;
    int rc = -1;

    if (extract_parent_of(p, path, &name, e) != 0) {
        return -1;
    }
    staged = staged_name(x);
    fd = create_file(x, p->fd, staged != NULL ? staged : name, entry);
    if (fd == -1) {
        cannot_make(path, errno, e);
        goto out;
    }
    made = true;
    if (entry->stored != 0 && fd_write_all(fd, content, (size_t)entry->stored) != 0) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        goto out;
    }
    if (extract_meta_fd(x, fd, entry, path, e) != 0) {
        goto out;
    }
    mark_fd(fd, mark);
    if (fd_close(&fd) != 0) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        goto out;
    }
    made = false; /* unstage removes what it cannot rename */
    rc = unstage(x, p->fd, staged, name, path, e);

out:
    (void)fd_close(&fd);
    if (made && staged != NULL) {
        (void)unlinkat(p->fd, staged, 0);
    }
    free(staged);
    return rc;
}

/* Does the file hold these bytes and no more? */
static bool
holds(int fd, const struct stat *st, const uint8_t *content, uint64_t len)
{
    uint8_t block[16384];

    if ((uint64_t)st->st_size != len) {
        return false;
    }
    for (uint64_t at = 0; at < len;) {
        size_t n = len - at < sizeof block ? (size_t)(len - at) : sizeof block;

        if (fd_pread_full(fd, block, n, (off_t)at) != (ssize_t)n ||
            memcmp(block, content + at, n) != 0) {
            return false;
        }
        at += n;
    }
    return true;
}

/*
 * In place: the file keeps its inode. Making many files soon after as many were removed
 * is slow on ext4, which looks for inodes that nobody freed of late.
 */
int
extract_refresh_file(struct extract *x, struct extract_parent *p,
                     const struct tree_entry *entry, const char *path,
                     const uint8_t *content, struct scache_mark *mark, struct err *e)
{
    const char *name;
    struct stat st;
    int fd = -1;
    int rc = -1;

    if (extract_parent_of(p, path, &name, e) != 0) {
        return -1;
    }
    fd = openat(p->fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd == -1 || fstat(fd, &st) != 0) {
        cannot_make(path, errno, e);
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
        cannot_make(path, EEXIST, e); /* another thing than was seen there */
        goto out;
    }
    if (holds(fd, &st, content, entry->stored)) {
        if (mark != NULL && mark->ino != 0) {
            rc = 0;
            goto out;
        }
    } else if (fd_pwrite_all(fd, content, (size_t)entry->stored, 0) != 0 ||
               ftruncate(fd, (off_t)entry->stored) != 0) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        goto out;
    }
    /* A new file has its mode from the beginning, and is taken to have it. */
    if (fchmod(fd, new_mode(x, entry)) != 0) {
        cannot_make(path, errno, e);
        goto out;
    }
    if (extract_meta_fd(x, fd, entry, path, e) != 0) {
        goto out;
    }
    mark_fd(fd, mark);
    if (fd_close(&fd) != 0) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        goto out;
    }
    rc = 0;

out:
    (void)fd_close(&fd);
    return rc;
}

/* ---- big files ---- */

/* In place, as extract_refresh_file. */
static int
open_to_patch(struct extract_big *f, struct err *e)
{
    struct stat st;

    f->fd = openat(f->parent_fd, f->name,
                   O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (f->fd == -1 || fstat(f->fd, &st) != 0) {
        return cannot_make(f->path, errno, e);
    }
    return S_ISREG(st.st_mode) && st.st_nlink == 1 ? 0 : cannot_make(f->path, EEXIST, e);
}

int
extract_open_big(struct extract *x, struct extract_big *f, struct err *e)
{
    if (f->same != NULL) {
        return open_to_patch(f, e);
    }
    f->staged = staged_name(x);
    f->fd =
        create_file(x, f->parent_fd, f->staged != NULL ? f->staged : f->name, f->entry);
    if (f->fd == -1) {
        return cannot_make(f->path, errno, e);
    }
    if (f->entry->sparse && ftruncate(f->fd, (off_t)f->entry->size) != 0) {
        return err_set_sys(e, errno, "cannot make '%s' %llu bytes long", f->path,
                           (unsigned long long)f->entry->size);
    }
    return 0;
}

int
extract_write_big(struct extract_big *f, uint64_t at, const uint8_t *data, size_t len,
                  struct err *e)
{
    const struct tree_entry *entry = f->entry;
    uint64_t begin = 0; /* of the extent, in the stored content */
    size_t k = 0;

    while (len > 0) {
        uint64_t to = at;
        uint64_t n = len;

        if (entry->sparse) {
            while (at >= begin + entry->extents[k].len) {
                begin += entry->extents[k++].len;
            }
            to = entry->extents[k].at + (at - begin);
            n = begin + entry->extents[k].len - at;
            n = n < len ? n : len;
        }
        if (fd_pwrite_all(f->fd, data, (size_t)n, (off_t)to) != 0) {
            return err_set_sys(e, errno, "cannot write '%s'", f->path);
        }
        at += n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The scan cache is to trust it: to hash so much takes longer than to wait for a tick. */
static void
note_large(struct extract *x, const struct extract_big *f)
{
    if (f->mark == NULL || f->entry->stored < LARGE_BYTES) {
        return;
    }
    (void)pthread_mutex_lock(&x->lock);
    if (x->newest_large_ns < f->mark->ctime_ns) {
        x->newest_large_ns = f->mark->ctime_ns;
    }
    (void)pthread_mutex_unlock(&x->lock);
}

int
extract_close_big(struct extract *x, struct extract_big *f, struct err *e)
{
    if (f->same != NULL && (ftruncate(f->fd, (off_t)f->entry->size) != 0 ||
                            fchmod(f->fd, new_mode(x, f->entry)) != 0)) {
        return err_set_sys(e, errno, "cannot write '%s'", f->path);
    }
    if (extract_meta_fd(x, f->fd, f->entry, f->path, e) != 0) {
        return -1;
    }
    mark_fd(f->fd, f->mark);
    note_large(x, f);
    if (fd_close(&f->fd) != 0) {
        return err_set_sys(e, errno, "cannot write '%s'", f->path);
    }
    if (unstage(x, f->parent_fd, f->staged, f->name, f->path, e) != 0) {
        return -1;
    }
    free(f->staged);
    f->staged = NULL;
    return 0;
}

/* ---- everything else ---- */

static int
make_node(int dir_fd, const char *name, const struct tree_entry *entry)
{
    if (entry->type == TREE_SYMLINK) {
        return symlinkat(entry->target, dir_fd, name);
    }
    /* what is no device has no numbers, and none are looked at */
    return mknodat(dir_fd, name, tree_mode_of_type(entry->type) | 0600,
                   makedev(entry->dev_major, entry->dev_minor));
}

static int
finish_node(struct extract *x, int dir_fd, const char *name,
            const struct tree_entry *entry, const char *path, struct scache_mark *mark,
            struct err *e)
{
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int rc = -1;

    if (fd == -1 || fstat(fd, &st) != 0) {
        err_set_sys(e, errno, "cannot open '%s'", path);
        goto out;
    }
    if (tree_type_of_mode(st.st_mode) != entry->type) {
        err_set(e, ERR_DENIED, "'%s' was replaced while it was made", path);
        goto out;
    }
    if (extract_meta_path_fd(x, fd, entry, path, e) != 0) {
        goto out;
    }
    mark_fd(fd, mark);
    rc = 0;

out:
    (void)fd_close(&fd);
    return rc;
}

int
extract_make_other(struct extract *x, struct extract_parent *p,
                   const struct tree_entry *entry, const char *path,
                   struct scache_mark *mark, struct err *e)
{
    const char *name;
    const char *make;
    char *staged;
    int rc;

    if (extract_parent_of(p, path, &name, e) != 0) {
        return -1;
    }
    staged = staged_name(x);
    make = staged != NULL ? staged : name;
    if (make_node(p->fd, make, entry) != 0) {
        rc = cannot_make(path, errno, e);
    } else if (finish_node(x, p->fd, make, entry, path, mark, e) != 0) {
        (void)unlinkat(p->fd, make, 0);
        rc = -1;
    } else {
        rc = unstage(x, p->fd, staged, name, path, e);
    }
    free(staged);
    return rc;
}

/*
 * Both names are opened beneath the root, and linkat does not follow: what is linked
 * is an object inside the target, of the type the tree says.
 */
int
extract_make_link(struct extract *x, const struct extract_link *l, struct err *e)
{
    struct extract_parent from = {.root_fd = x->root_fd, .path = BUF_INIT, .fd = -1};
    const char *from_name;
    const char *name;
    char *staged = NULL;
    struct stat st;
    int rc = -1;

    if (extract_parent_of(&from, l->to, &from_name, e) != 0 ||
        extract_parent_of(&x->parent, l->path, &name, e) != 0) {
        goto out;
    }
    if (fstatat(from.fd, from_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        tree_type_of_mode(st.st_mode) != l->entry->type) {
        err_set(e, ERR_DENIED, "'%s' cannot be linked to '%s', which is no such thing",
                l->path, l->to);
        goto out;
    }
    staged = staged_name(x);
    if (linkat(from.fd, from_name, x->parent.fd, staged != NULL ? staged : name, 0) !=
        0) {
        cannot_make(l->path, errno, e);
        goto out;
    }
    rc = unstage(x, x->parent.fd, staged, name, l->path, e);
    if (rc == 0 && staged != NULL) {
        /* rename leaves both names where they are one file already */
        (void)unlinkat(x->parent.fd, staged, 0);
    }
    if (rc == 0 && l->mark != NULL) {
        struct scan_entry now = {0};

        if (fstatat(x->parent.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            scan_fill_stat(&now, &st);
            *l->mark = scache_mark_of(&now);
        }
    }

out:
    free(staged);
    extract_parent_free(&from);
    return rc;
}
