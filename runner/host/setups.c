#include "runner/host/setups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/host/workdirs.h"
#include "storage/build.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/workdir.h"

#define NS_PER_S       ((int64_t)1000000000)
#define RENEW_NS       (86400 * NS_PER_S)
#define LOCK_SUFFIX    ".lock"
#define READY_SUFFIX   ".ready"
#define READY_NAME_MAX (2 * SHA256_LEN + sizeof READY_SUFFIX)
#define LAYERS_MAX     4096

char *
setups_path(const struct renter *r, const char *key)
{
    return xasprintf("%s/setup/%s", r->path, key);
}

/* The kept layer of that key in l, or NULL. */
static const struct snap *
kept(const struct snap_list *l, const char *key)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct snap *n = &l->v[i];

        if (n->m != NULL && n->m->kind == MANIFEST_SETUP && n->m->setup != NULL &&
            n->claim.data == SNAP_DATA_KEPT && strcmp(n->m->setup, key) == 0) {
            return n;
        }
    }
    return NULL;
}

int
setups_has(const struct renter *r, const char *key, bool *ready, struct err *e)
{
    struct snap_list l = {NULL, 0};
    struct store *s = NULL;
    int rc = -1;

    if (workdirs_open_store(r, &s, e) == 0 && snap_list(s, &l, e) == 0) {
        *ready = kept(&l, key) != NULL;
        rc = 0;
    }
    snap_list_free(&l);
    store_close(s);
    return rc;
}

static int
lock_layer(int dir_fd, const char *key, int how, int *out, struct err *e)
{
    char *name = xasprintf("%s" LOCK_SUFFIX, key);
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = 0;

    free(name);
    if (fd == -1 || flock(fd, how) != 0) {
        rc = fd != -1 && errno == EWOULDBLOCK
                 ? err_set(e, ERR_BUSY, "another job runs this set-up now")
                 : err_set_sys(e, errno, "cannot lock the set-up");
        (void)fd_close(&fd);
        return rc;
    }
    *out = fd;
    return 0;
}

/*
 * <key>.ready: all of the layer's directory is on the disk. Without that a power cut may
 * have left files of it empty, and it is made again.
 */
static void
ready_name(const char *key, char out[READY_NAME_MAX])
{
    (void)snprintf(out, READY_NAME_MAX, "%s" READY_SUFFIX, key);
}

static bool
is_there(int dir_fd, const char *key)
{
    char ready[READY_NAME_MAX];
    struct stat sb;

    ready_name(key, ready);
    return fstatat(dir_fd, key, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(sb.st_mode) &&
           faccessat(dir_fd, ready, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
mark_ready(int dir_fd, const char *key, struct err *e)
{
    char ready[READY_NAME_MAX];
    int fd = -1;
    int rc = 0;

    ready_name(key, ready);
    if (syncfs(dir_fd) != 0 ||
        (fd = openat(dir_fd, ready, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) ==
            -1 ||
        fsync(dir_fd) != 0) {
        rc = err_set_sys(e, errno, "cannot sync what the set-up made");
    }
    (void)fd_close(&fd);
    return rc;
}

/* Its lock is held alone. */
static int
remove_files(int dir_fd, const char *key, struct err *e)
{
    char ready[READY_NAME_MAX];

    ready_name(key, ready);
    if (unlinkat(dir_fd, ready, 0) != 0 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove a set-up");
    }
    return workdir_remove(dir_fd, key, e);
}

/* The layer is kept: use it, and keep it for longer. Its lock is held alone. */
static int
use_kept(int dir_fd, struct store *s, const struct snap *n, const char *key,
         struct err *e)
{
    int64_t until_ns = clock_wall_ns() + SETUPS_KEEP_S * NS_PER_S;
    struct workdir_options o = {.n_candidates = 0};
    struct workdir_report report;

    if (!is_there(dir_fd, key) &&
        (remove_files(dir_fd, key, e) != 0 ||
         workdir_make(dir_fd, key, s, &n->m->tree, &o, &report, e) != 0 ||
         mark_ready(dir_fd, key, e) != 0)) {
        return -1;
    }
    return n->claim.expires_wall_ns < until_ns - RENEW_NS
               ? snap_keep(s, n->id, until_ns, e)
               : 0;
}

/* Nothing of a set-up that failed or died is believed. */
static int
begin_anew(int dir_fd, const char *key, struct err *e)
{
    if (remove_files(dir_fd, key, e) != 0) {
        return -1;
    }
    return mkdirat(dir_fd, key, 0755) == 0
               ? 0
               : err_set_sys(e, errno, "cannot make a place for the set-up");
}

int
setups_take(const struct renter *r, const char *key, bool *ready, int *lock_fd,
            struct err *e)
{
    struct snap_list l = {NULL, 0};
    struct store *s = NULL;
    const struct snap *n;
    int dir_fd = -1;
    int fd = -1;
    int rc = -1;

    if (renter_dir(r, "setup", &dir_fd, e) != 0 || workdirs_open_store(r, &s, e) != 0) {
        goto out;
    }
    /* Most often it is whole: then any number of jobs may look at it at once. */
    if (lock_layer(dir_fd, key, LOCK_SH | LOCK_NB, &fd, e) != 0 ||
        snap_list(s, &l, e) != 0) {
        goto out;
    }
    n = kept(&l, key);
    if (n == NULL || !is_there(dir_fd, key)) {
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            err_set(e, ERR_BUSY, "another job runs this set-up now");
            goto out;
        }
        /* It may have come while we had no lock. */
        snap_list_free(&l);
        if (snap_list(s, &l, e) != 0) {
            goto out;
        }
        n = kept(&l, key);
    }
    if ((n != NULL ? use_kept(dir_fd, s, n, key, e) : begin_anew(dir_fd, key, e)) != 0) {
        goto out;
    }
    if (n != NULL && flock(fd, LOCK_SH) != 0) {
        err_set_sys(e, errno, "cannot lock the set-up");
        goto out;
    }
    *ready = n != NULL;
    *lock_fd = fd;
    fd = -1;
    rc = 0;

out:
    snap_list_free(&l);
    store_close(s);
    (void)fd_close(&fd);
    (void)fd_close(&dir_fd);
    return rc;
}

int
setups_keep(const struct agent *a, const struct renter *r, const char *key,
            const char *command, int lock_fd, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_SETUP);
    struct build_report report = {0};
    struct store *s = NULL;
    char id[MANIFEST_ID_MAX + 1];
    int dir_fd = -1;
    int rc = -1;

    random_id("s", id);
    if (renter_dir(r, "setup", &dir_fd, e) != 0 || workdirs_open_store(r, &s, e) != 0 ||
        workdir_snapshot(dir_fd, key, s, false, &report, e) != 0) {
        goto out;
    }
    if (report.totals.n_damaged + report.totals.n_changed > 0) {
        err_set(e, ERR_CORRUPT, "what the set-up made could not be read");
        goto out;
    }
    manifest_set(&m->id, id);
    manifest_set(&m->renter, r->id);
    manifest_set(&m->setup, key);
    manifest_list_add(&m->arg, command);
    m->tree = report.tree;
    m->n_files = report.totals.n_files;
    m->n_other = report.totals.n_entries - report.totals.n_files;
    m->content_bytes = report.totals.bytes;
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = m->made_wall_ns + SETUPS_KEEP_S * NS_PER_S;
    if (store_commit(s, e) != 0 || workdirs_measure(s, m, e) != 0 ||
        mark_ready(dir_fd, key, e) != 0 || manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    rc = flock(lock_fd, LOCK_SH) == 0 ? 0
                                      : err_set_sys(e, errno, "cannot lock the set-up");

out:
    build_report_free(&report);
    manifest_free(m);
    store_close(s);
    (void)fd_close(&dir_fd);
    return rc;
}

int
setups_discard(const struct renter *r, const char *key, struct err *e)
{
    int dir_fd = -1;
    int rc = renter_dir(r, "setup", &dir_fd, e) == 0 ? remove_files(dir_fd, key, e) : -1;

    (void)fd_close(&dir_fd);
    return rc;
}

/* ---- trimming ---- */

static int
add_layer(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct strings *out = ctx;
    uint8_t key[SHA256_LEN];

    (void)dir_fd;
    (void)e;
    if (out->n < LAYERS_MAX && hex_parse(name, strlen(name), key, sizeof key)) {
        strings_add(out, name);
    }
    return 0;
}

static int
list_layers(int dir_fd, struct strings *out, struct err *e)
{
    return file_each_name(dir_fd, add_layer, out, e) == 0 ? 0
                                                          : err_wrap(e, "the set-ups");
}

static int
remove_layer(int dir_fd, const char *key, struct err *e)
{
    int fd = -1;
    int rc = lock_layer(dir_fd, key, LOCK_EX | LOCK_NB, &fd, e);

    if (rc != 0) {
        return e->code == ERR_BUSY ? 0 : -1;
    }
    rc = remove_files(dir_fd, key, e);
    (void)fd_close(&fd);
    return rc;
}

int
setups_trim(const struct renter *r, const struct trim_told *only, struct err *e)
{
    struct strings keys = {NULL, 0};
    struct snap_list l = {NULL, 0};
    struct store *s = NULL;
    int dir_fd = openat(r->fd, "setup", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = dir_fd == -1 ? 0 : -1; /* there never was one */

    if (dir_fd == -1 || list_layers(dir_fd, &keys, e) != 0 ||
        (keys.n > 0 &&
         (workdirs_open_store(r, &s, e) != 0 || snap_list(s, &l, e) != 0))) {
        goto out;
    }
    rc = only == NULL ? workdir_sweep(dir_fd, e) : 0;
    for (size_t i = 0; i < keys.n; i++) {
        struct err why;

        if (kept(&l, keys.v[i]) != NULL) {
            continue;
        }
        if (only == NULL) {
            if (remove_layer(dir_fd, keys.v[i], &why) != 0) {
                trim_failed(&rc, &why, e);
            }
        } else {
            trim_tell(only,
                      "the layer of set-up %.12s would go, unless a job uses it: "
                      "no longer kept",
                      keys.v[i]);
        }
    }

out:
    snap_list_free(&l);
    store_close(s);
    strings_free(&keys);
    (void)fd_close(&dir_fd);
    return rc;
}
