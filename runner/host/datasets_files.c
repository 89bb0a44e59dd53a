#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/caches.h"
#include "runner/host/datasets.h"
#include "runner/host/workdirs.h"
#include "storage/extract.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/tree.h"

#define SEAL_DEPTH_MAX 64
#define LOCK_SUFFIX    ".lock"
#define NEW_SUFFIX     ".new"
#define SETS_MAX       4096

/* ---- making the files ---- */

/*
 * Writable by nobody: where there are no name spaces to show them read-only in, that is
 * what keeps a job from changing what others see. Closes fd.
 */
static void
seal(int fd, int depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *de;
    struct stat sb;

    if (d == NULL) {
        (void)fd_close(&fd);
        return;
    }
    while ((de = readdir(d)) != NULL) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
            fstatat(fd, de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (S_ISREG(sb.st_mode)) {
            (void)!fchmodat(fd, de->d_name, sb.st_mode & 07555, 0);
        } else if (S_ISDIR(sb.st_mode) && depth < SEAL_DEPTH_MAX) {
            int sub =
                openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

            if (sub != -1) {
                seal(sub, depth + 1);
            }
        }
    }
    if (fstat(fd, &sb) == 0) {
        (void)fchmod(fd, (sb.st_mode & 07555) | 0500);
    }
    (void)closedir(d);
}

static int
extract(int to_fd, const struct renter *r, const struct sha256 *tree, struct err *e)
{
    struct extract_options o = {.fresh = true, .durable = true};
    struct extract_report report;
    struct tree_source source;
    struct store *s = NULL;
    int rc = workdirs_open_store(r, &s, e);

    if (rc == 0) {
        source = tree_source_store(s);
        rc = extract_tree(to_fd, tree, &source, &o, &report, e);
    }
    store_close(s);
    return rc;
}

/* Its lock is held alone. */
static int
make_files(int dir_fd, const struct renter *r, const struct sha256 *tree, const char *hex,
           struct err *e)
{
    char fresh[SHA256_HEX_LEN + sizeof NEW_SUFFIX + 1];
    int fd = -1;
    int rc = -1;

    (void)snprintf(fresh, sizeof fresh, ".%s" NEW_SUFFIX, hex);
    if (file_remove_tree_at(dir_fd, fresh, e) != 0) {
        return -1;
    }
    if (mkdirat(dir_fd, fresh, 0700) != 0 ||
        (fd = openat(dir_fd, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
        err_set_sys(e, errno, "cannot make a place for the data set");
        goto out;
    }
    if (extract(fd, r, tree, e) != 0) {
        goto out;
    }
    seal(fd, 0);
    fd = -1;
    if (renameat(dir_fd, fresh, dir_fd, hex) != 0 || fsync(dir_fd) != 0) {
        err_set_sys(e, errno, "cannot place the data set");
        goto out;
    }
    rc = 0;

out:
    (void)fd_close(&fd);
    if (rc != 0) {
        struct err none;

        (void)!file_remove_tree_at(dir_fd, fresh, &none);
    }
    return rc;
}

/* Whoever removes a set removes its lock, too, while holding it. */
static int
lock_set(int dir_fd, const char *hex, int how, int *out, struct err *e)
{
    char name[SHA256_HEX_LEN + sizeof LOCK_SUFFIX];
    struct stat sb;

    (void)snprintf(name, sizeof name, "%s" LOCK_SUFFIX, hex);
    for (;;) {
        int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        int rc = fd == -1 ? -1 : 0;

        while (rc == 0 && (rc = flock(fd, how)) != 0 && errno == EINTR) {
            rc = 0;
        }
        if (rc != 0 || fstat(fd, &sb) != 0) {
            int failed = errno;

            (void)fd_close(&fd);
            return failed == EWOULDBLOCK
                       ? err_set(e, ERR_BUSY, "the data set is in use")
                       : err_set_sys(e, failed, "cannot lock the data set");
        }
        if (sb.st_nlink > 0) {
            *out = fd;
            return 0;
        }
        (void)fd_close(&fd);
    }
}

static bool
is_made(int dir_fd, const char *hex)
{
    struct stat sb;

    return fstatat(dir_fd, hex, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(sb.st_mode);
}

int
datasets_open(const struct renter *r, const struct sha256 *tree, char **path,
              int *lock_fd, struct err *e)
{
    char hex[SHA256_HEX_LEN + 1];
    int dir_fd = -1;
    int fd = -1;
    int rc = -1;

    sha256_format(tree, hex);
    if (renter_dir(r, "data", &dir_fd, e) != 0) {
        return -1;
    }
    for (;;) {
        if (lock_set(dir_fd, hex, LOCK_SH, &fd, e) != 0) {
            goto out;
        }
        if (is_made(dir_fd, hex)) {
            break;
        }
        (void)fd_close(&fd);
        if (lock_set(dir_fd, hex, LOCK_EX, &fd, e) != 0 ||
            (!is_made(dir_fd, hex) && make_files(dir_fd, r, tree, hex, e) != 0)) {
            goto out;
        }
        (void)fd_close(&fd); /* and from the start: somebody may remove it meanwhile */
    }
    *path = xasprintf("%s/data/%s", r->path, hex);
    *lock_fd = fd;
    fd = -1;
    rc = 0;

out:
    (void)fd_close(&fd);
    (void)fd_close(&dir_fd);
    return rc;
}

/* ---- trimming ---- */

static bool
is_kept(const struct snap_list *l, const char *hex)
{
    char own[SHA256_HEX_LEN + 1];

    for (size_t i = 0; i < l->n; i++) {
        const struct snap *n = &l->v[i];

        if (n->m == NULL) {
            return true; /* it may be this one */
        }
        if (n->m->kind == MANIFEST_DATA && n->claim.data == SNAP_DATA_KEPT) {
            sha256_format(&n->m->tree, own);
            if (strcmp(own, hex) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* In use: another time. */
static int
remove_set(int dir_fd, const char *hex, struct err *e)
{
    char name[SHA256_HEX_LEN + sizeof NEW_SUFFIX + sizeof LOCK_SUFFIX];
    int fd = -1;
    int rc = lock_set(dir_fd, hex, LOCK_EX | LOCK_NB, &fd, e);

    if (rc != 0) {
        return e->code == ERR_BUSY ? 0 : -1;
    }
    (void)snprintf(name, sizeof name, ".%s" NEW_SUFFIX, hex);
    rc = file_remove_tree_at(dir_fd, name, e);
    /* Half removed under its own name it would be taken for whole. */
    if (rc == 0 && renameat(dir_fd, hex, dir_fd, name) == 0) {
        rc = file_remove_tree_at(dir_fd, name, e);
    }
    if (rc == 0) {
        (void)snprintf(name, sizeof name, "%s" LOCK_SUFFIX, hex);
        (void)unlinkat(dir_fd, name, 0);
    }
    (void)fd_close(&fd);
    return rc;
}

/* The sets that have a lock: each that was ever made has one, while it is there. */
static int
add_set(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct strings *out = ctx;
    char hex[SHA256_HEX_LEN + 1];
    uint8_t tree[SHA256_LEN];

    (void)dir_fd;
    (void)e;
    if (out->n < SETS_MAX && strlen(name) == SHA256_HEX_LEN + strlen(LOCK_SUFFIX) &&
        hex_parse(name, SHA256_HEX_LEN, tree, sizeof tree)) {
        memcpy(hex, name, SHA256_HEX_LEN);
        hex[SHA256_HEX_LEN] = '\0';
        strings_add(out, hex);
    }
    return 0;
}

static int
list_sets(int dir_fd, struct strings *out, struct err *e)
{
    return file_each_name(dir_fd, add_set, out, e) == 0 ? 0
                                                        : err_wrap(e, "the data sets");
}

static bool
is_tight(int fd)
{
    struct statvfs v;

    return fstatvfs(fd, &v) == 0 && v.f_bavail < v.f_blocks / 10;
}

/* The place of the sets' files; -1: there never was one. */
static int
open_place(const struct renter *r)
{
    return openat(r->fd, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int
datasets_trim(const struct renter *r, const struct trim_told *only, struct err *e)
{
    struct strings sets = {NULL, 0};
    struct snap_list l = {NULL, 0};
    struct store *s = NULL;
    int dir_fd = open_place(r);
    int rc = dir_fd == -1 ? 0 : -1;

    if (dir_fd == -1 || list_sets(dir_fd, &sets, e) != 0) {
        goto out;
    }
    if (sets.n > 0 && (workdirs_open_store(r, &s, e) != 0 || snap_list(s, &l, e) != 0)) {
        goto out;
    }
    rc = 0;
    for (size_t i = 0; i < sets.n; i++) {
        bool unkept = !is_kept(&l, sets.v[i]);
        struct err why;

        if (!unkept && !is_tight(dir_fd)) {
            continue;
        }
        if (only == NULL) {
            if (remove_set(dir_fd, sets.v[i], &why) != 0) {
                trim_failed(&rc, &why, e);
            }
        } else if (unkept) {
            trim_tell(only, "the files of data set %.12s would go: it was removed",
                      sets.v[i]);
        } else {
            trim_tell(only,
                      "the files of data set %.12s would go, unless a job uses them: "
                      "the disk is nearly full, and they are in the store",
                      sets.v[i]);
        }
    }

out:
    snap_list_free(&l);
    store_close(s);
    strings_free(&sets);
    (void)fd_close(&dir_fd);
    return rc;
}

int
datasets_trim_all(const struct renter *r, struct err *e)
{
    struct strings sets = {NULL, 0};
    int dir_fd = open_place(r);
    int rc = dir_fd == -1 ? 0 : list_sets(dir_fd, &sets, e);
    struct err why;

    for (size_t i = 0; i < sets.n; i++) {
        if (remove_set(dir_fd, sets.v[i], &why) != 0) {
            trim_failed(&rc, &why, e);
        }
    }
    strings_free(&sets);
    (void)fd_close(&dir_fd);
    return rc;
}

/* Without making the lock of one that is just being removed. */
static bool
is_in_use(int dir_fd, const char *hex)
{
    char name[SHA256_HEX_LEN + sizeof LOCK_SUFFIX];
    bool used;
    int fd;

    (void)snprintf(name, sizeof name, "%s" LOCK_SUFFIX, hex);
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    used = fd != -1 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    (void)fd_close(&fd);
    return used;
}

int
datasets_bytes(const struct renter *r, bool idle, int64_t *bytes, struct err *e)
{
    struct strings sets = {NULL, 0};
    int dir_fd = open_place(r);
    int rc = dir_fd == -1 ? 0 : list_sets(dir_fd, &sets, e);

    *bytes = 0;
    for (size_t i = 0; i < sets.n; i++) {
        if (!idle || !is_in_use(dir_fd, sets.v[i])) {
            *bytes += caches_bytes_of(dir_fd, sets.v[i]);
        }
    }
    strings_free(&sets);
    (void)fd_close(&dir_fd);
    return rc;
}
