#include "storage/workdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "storage/build.h"
#include "storage/change.h"
#include "storage/extract.h"
#include "storage/scache.h"
#include "storage/scan.h"
#include "storage/verify.h"
#include "storage/workdir_internal.h"

#define JOB_NAME_MAX  ((size_t)64)
#define SCAN_SUFFIX   ".scan"
#define MAKING_SUFFIX ".new"
/* Directories looked at whether they are near enough to be changed: each is a sweep. */
#define CHANGED_MAX 2

/* The names of one job beneath work/, and a path of its cache that needs no working
 * directory. */
struct names {
    char dir[JOB_NAME_MAX + 1];
    char scan[JOB_NAME_MAX + 16];
    char making[JOB_NAME_MAX + 16];
    char scan_path[JOB_NAME_MAX + 64];
};

static int
names_of(int work_fd, const char *job, struct names *n, struct err *e)
{
    size_t len = strlen(job);

    if (len == 0 || len > JOB_NAME_MAX || job[0] == '.' || strchr(job, '/') != NULL) {
        return err_set(e, ERR_INVALID, "not a job's directory name");
    }
    memcpy(n->dir, job, len + 1);
    (void)snprintf(n->scan, sizeof n->scan, "%s" SCAN_SUFFIX, job);
    (void)snprintf(n->making, sizeof n->making, ".%s" MAKING_SUFFIX, job);
    (void)snprintf(n->scan_path, sizeof n->scan_path, "/proc/self/fd/%d/%s", work_fd,
                   n->scan);
    return 0;
}

static int
open_dir(int work_fd, const char *name, int *fd, struct err *e)
{
    *fd = openat(work_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *fd == -1 ? err_set_sys(e, errno, "cannot open a job's directory") : 0;
}

int
workdir_lock_place(int work_fd, int how, int *place, struct err *e)
{
    int fd = openat(work_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    *place = -1;
    if (fd == -1 || flock(fd, how) != 0) {
        rc = fd != -1 && errno == EWOULDBLOCK
                 ? 0
                 : err_set_sys(e, errno, "cannot lock the place of job directories");
        (void)fd_close(&fd);
    }
    *place = fd;
    return rc;
}

/* ".X.new": being made by somebody who holds a lock on it, or left over. */
static int
remove_left_over(int work_fd, const char *name, struct err *e)
{
    int fd = openat(work_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool left_over = fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    int rc = 0;

    if (left_over) {
        rc = file_remove_tree_at(work_fd, name, e);
    }
    (void)fd_close(&fd);
    return rc;
}

/* ---- taking over the directory of an ended job ---- */

/*
 * Is the directory, entry by entry, what the cache says, with nothing more in it and
 * nothing missing? A name of a file somewhere else (a hard link) could change it later.
 */
static int
is_untouched(int fd, struct scache *c, uint64_t *n_entries, bool *same, struct err *e)
{
    struct scan_options o = {.everything = true};
    const struct scan_entry *entry = NULL;
    struct scache_group g = {0};
    struct scan *scan = NULL;
    size_t at = 0;
    bool damaged = false;
    int rc = -1;

    *same = false;
    *n_entries = 0;
    if (scan_open(&scan, fd, &o, e) != 0) {
        return -1;
    }
    for (;;) {
        if (scan_next(scan, &entry, e) != 0) {
            goto out;
        }
        while (at == g.n_entries && scache_next(c, &g, &damaged)) {
            at = 0;
        }
        if (entry == NULL || at == g.n_entries) {
            break;
        }
        if (strcmp(entry->path, g.entries[at].path) != 0 ||
            !scache_trusts(c, &g.marks[at], entry)) {
            break;
        }
        at++;
        ++*n_entries;
    }
    *same = entry == NULL && at == g.n_entries && !damaged &&
            *n_entries == scache_n_entries(c);
    rc = 0;

out:
    scan_close(scan);
    return rc;
}

/* The cache at that name beneath work/. */
static struct scache *
open_cache(int work_fd, const char *name)
{
    char path[JOB_NAME_MAX + 64];

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", work_fd, name);
    return scache_open(path);
}

/*
 * Take the directory of that name: its cache is ours from now on, under n->making, and
 * locked, so that a sweep leaves it alone. *lock_fd -1: there is nothing to take.
 */
static int
take_cache(int work_fd, const struct names *old, const struct names *n, int *lock_fd,
           struct err *e)
{
    int fd = openat(work_fd, old->scan, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;

    *lock_fd = -1;
    if (fd == -1 || flock(fd, LOCK_EX | LOCK_NB) != 0 ||
        renameat(work_fd, old->scan, work_fd, n->making) != 0) {
        if (errno != ENOENT && errno != EWOULDBLOCK) {
            rc = err_set_sys(e, errno, "cannot take a directory over");
        }
        (void)fd_close(&fd);
    }
    *lock_fd = fd;
    return rc;
}

/*
 * Renaming the cache is what takes the directory: one taker wins, and from then on nobody
 * trusts it until the new cache name is there.
 */
static int
take_over(int work_fd, const char *from, const struct names *n,
          const struct sha256 *tree_id, struct workdir_report *r, bool *taken,
          struct err *e)
{
    struct names old;
    struct sha256 has;
    struct scache *c = NULL;
    struct err ignored = {0};
    bool same = false;
    int lock_fd;
    int fd = -1;
    int rc = -1;

    *taken = false;
    if (names_of(work_fd, from, &old, e) != 0) {
        return -1;
    }
    if (take_cache(work_fd, &old, n, &lock_fd, e) != 0) {
        return -1;
    }
    if (lock_fd == -1) {
        return 0;
    }
    c = open_cache(work_fd, n->making);
    if (c != NULL) {
        scache_tree(c, &has);
    }
    /* Of another tree, or touched: given back, for whoever wants that one or changes it.
     * Whatever else is wrong with it, it is only not to be used. */
    if (c == NULL || !sha256_equal(&has, tree_id) ||
        open_dir(work_fd, old.dir, &fd, &ignored) != 0 ||
        is_untouched(fd, c, &r->n_kept, &same, &ignored) != 0 || !same) {
        rc = renameat(work_fd, n->making, work_fd, old.scan) == 0
                 ? 0
                 : err_set_sys(e, errno, "cannot give a directory back");
        goto out;
    }
    if (renameat(work_fd, old.dir, work_fd, n->dir) != 0 ||
        renameat(work_fd, n->making, work_fd, n->scan) != 0) {
        err_set_sys(e, errno, "cannot take a directory over");
        goto out;
    }
    r->way = WORKDIR_TAKEN_OVER;
    (void)snprintf(r->from, sizeof r->from, "%s", from);
    *taken = true;
    rc = 0;

out:
    scache_close(c);
    (void)fd_close(&fd);
    (void)fd_close(&lock_fd);
    return rc;
}

/*
 * The directory of another tree, changed where that differs. Whatever goes wrong with it
 * after it was touched, it is only not to be used; what matters is said by extraction.
 */
static int
change_over(int work_fd, const char *from, const struct names *n, struct store *s,
            const struct sha256 *tree_id, const struct workdir_options *o,
            struct workdir_report *r, bool *taken, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct change_options co = {
        .cache_path = n->scan_path, .place_fd = work_fd, .n_threads = o->n_threads};
    struct change_report report = {0};
    struct scache *c = NULL;
    struct err ignored = {0};
    struct names old;
    bool touched = false;
    int lock_fd;
    int fd = -1;
    int rc = -1;

    *taken = false;
    if (names_of(work_fd, from, &old, e) != 0) {
        return -1;
    }
    if (take_cache(work_fd, &old, n, &lock_fd, e) != 0) {
        return -1;
    }
    if (lock_fd == -1) {
        return 0;
    }
    c = open_cache(work_fd, n->making);
    if (c != NULL && open_dir(work_fd, old.dir, &fd, &ignored) == 0) {
        touched =
            change_tree(fd, c, tree_id, &source, &co, &report, taken, &ignored) != 0 ||
            *taken;
    }
    if (*taken && renameat2(work_fd, old.dir, work_fd, n->dir, RENAME_NOREPLACE) != 0) {
        (void)unlinkat(work_fd, n->scan, 0);
        *taken = false;
    }
    if (!touched && renameat(work_fd, n->making, work_fd, old.scan) != 0) {
        err_set_sys(e, errno, "cannot give a directory back");
        goto out;
    }
    if (touched) {
        (void)unlinkat(work_fd, n->making, 0);
    }
    if (touched && !*taken) { /* without a cache nobody would ever remove it */
        (void)!file_remove_tree_at(work_fd, old.dir, &ignored);
    }
    if (*taken) {
        r->way = WORKDIR_TAKEN_OVER;
        r->n_kept = report.n_kept;
        r->n_made = report.n_made;
        r->n_removed = report.n_removed;
        (void)snprintf(r->from, sizeof r->from, "%s", from);
    }
    rc = 0;

out:
    scache_close(c);
    (void)fd_close(&fd);
    (void)fd_close(&lock_fd);
    return rc;
}

/* ---- making it anew ---- */

static int
extract(int work_fd, const struct names *n, struct store *s, const struct sha256 *tree_id,
        const struct workdir_options *o, struct workdir_report *r, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct extract_options eo = {.fresh = true,
                                 .cache_path = n->scan_path,
                                 .n_threads = o == NULL ? 0 : o->n_threads,
                                 .progress = o == NULL ? NULL : o->progress,
                                 .progress_ctx = o == NULL ? NULL : o->progress_ctx};
    struct extract_report report = {0};
    struct err ignored = {0};
    int fd = -1;
    int rc = -1;

    if (mkdirat(work_fd, n->making, 0700) != 0) {
        return err_set_sys(e, errno, "cannot make a job's directory");
    }
    if (open_dir(work_fd, n->making, &fd, e) != 0) {
        goto out;
    }
    /* Held while it is being made, so that a sweep leaves it alone. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err_set_sys(e, errno, "cannot lock a job's directory");
        goto out;
    }
    if (extract_tree(fd, tree_id, &source, &eo, &report, e) != 0) {
        verify_name_damaged(s, tree_id, NULL, e);
        goto out;
    }
    if (renameat2(work_fd, n->making, work_fd, n->dir, RENAME_NOREPLACE) != 0) {
        err_set_sys(e, errno, "cannot name a job's directory");
        goto out;
    }
    r->way = WORKDIR_EXTRACTED;
    r->n_made = report.totals.n_entries;
    r->made_bytes = report.totals.stored;
    rc = 0;

out:
    (void)fd_close(&fd);
    if (rc != 0) {
        (void)unlinkat(work_fd, n->scan, 0);
        (void)!file_remove_tree_at(work_fd, n->making, &ignored);
    }
    return rc;
}

static int
make(int work_fd, const char *job, struct store *s, const struct sha256 *tree_id,
     const struct workdir_options *o, struct workdir_report *r, struct err *e)
{
    struct names n;
    struct stat sb;
    bool taken = false;

    memset(r, 0, sizeof *r);
    if (names_of(work_fd, job, &n, e) != 0) {
        return -1;
    }
    if (fstatat(work_fd, n.dir, &sb, AT_SYMLINK_NOFOLLOW) == 0) {
        return err_set(e, ERR_EXISTS, "job %s has a directory already", job);
    }
    if (remove_left_over(work_fd, n.making, e) != 0) { /* by who died making this one */
        return -1;
    }
    for (size_t i = 0; o != NULL && i < o->n_candidates; i++) {
        if (take_over(work_fd, o->candidates[i], &n, tree_id, r, &taken, e) != 0) {
            return -1;
        }
        if (taken) {
            return 0;
        }
        r->n_kept = 0;
    }
    for (size_t i = 0; o != NULL && i < o->n_candidates && i < CHANGED_MAX; i++) {
        if (change_over(work_fd, o->candidates[i], &n, s, tree_id, o, r, &taken, e) !=
            0) {
            return -1;
        }
        if (taken) {
            return 0;
        }
    }
    return extract(work_fd, &n, s, tree_id, o, r, e);
}

/* ---- after the end ---- */

int
workdir_snapshot(int work_fd, const char *job, struct store *s, bool live,
                 struct build_report *r, struct err *e)
{
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct build_options o = {.policy = BUILD_SNAPSHOT, .live = live};
    struct names n;
    int fd = -1;
    int rc;

    if (names_of(work_fd, job, &n, e) != 0 || open_dir(work_fd, n.dir, &fd, e) != 0) {
        return -1;
    }
    o.scan.everything = true;
    o.cache_path = n.scan_path;
    /* A live one may run beside that of the end, whose cache it must not replace. */
    o.no_cache_write = live;
    rc = build_tree(fd, &o, &sink, r, e);
    (void)fd_close(&fd);
    return rc;
}

int
workdir_make(int work_fd, const char *job, struct store *s, const struct sha256 *tree_id,
             const struct workdir_options *o, struct workdir_report *r, struct err *e)
{
    int place;
    int rc = workdir_lock_place(work_fd, LOCK_SH, &place, e);

    if (rc == 0) {
        rc = make(work_fd, job, s, tree_id, o, r, e);
    }
    (void)fd_close(&place);
    return rc;
}

bool
workdir_may_be_taken(int work_fd, const char *job)
{
    struct names n;
    struct err none;

    return names_of(work_fd, job, &n, &none) == 0 &&
           faccessat(work_fd, n.scan, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
remove_scan(int work_fd, const struct names *n, bool *had, struct err *e)
{
    *had = unlinkat(work_fd, n->scan, 0) == 0;
    return *had || errno == ENOENT
               ? 0
               : err_set_sys(e, errno, "cannot remove the scan cache of job %s", n->dir);
}

int
workdir_remove(int work_fd, const char *job, struct err *e)
{
    struct names n;
    bool had;

    return names_of(work_fd, job, &n, e) != 0 || remove_scan(work_fd, &n, &had, e) != 0
               ? -1
               : file_remove_tree_at(work_fd, n.dir, e);
}

/*
 * Whose cache we removed is ours. The place is shared until it is gone: to whoever finds
 * a directory without a cache meanwhile we are at work on it.
 */
static int
remove_if_ours(int work_fd, const struct names *n, bool *ours, struct err *e)
{
    int place;
    int rc = workdir_lock_place(work_fd, LOCK_SH, &place, e);

    if (rc == 0) {
        rc = remove_scan(work_fd, n, ours, e);
    }
    if (rc == 0 && *ours) {
        rc = file_remove_tree_at(work_fd, n->dir, e);
    }
    (void)fd_close(&place);
    return rc;
}

int
workdir_give_up(int work_fd, const char *job, struct err *e)
{
    struct names n;
    bool ours = false;
    int place;
    int rc;

    if (names_of(work_fd, job, &n, e) != 0 ||
        remove_if_ours(work_fd, &n, &ours, e) != 0) {
        return -1;
    }
    if (ours) {
        return 0;
    }
    /* It was taken, by somebody who is at work, or who died. */
    rc = workdir_lock_place(work_fd, LOCK_EX | LOCK_NB, &place, e);
    if (rc == 0 && place != -1) {
        rc = workdir_remove(work_fd, job, e); /* may have been given back meanwhile */
    }
    (void)fd_close(&place);
    return rc;
}

/* A cache, whole or begun, of a directory that is not there: its maker died before. */
static int
remove_orphan(int work_fd, const char *name, const char *suffix, struct err *e)
{
    size_t dir_len = strlen(name) - strlen(suffix);
    char dir[JOB_NAME_MAX + 1];

    if (dir_len > JOB_NAME_MAX) {
        return 0;
    }
    memcpy(dir, name, dir_len);
    dir[dir_len] = '\0';
    if (faccessat(work_fd, dir, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
        unlinkat(work_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    return err_set_sys(e, errno, "cannot remove a scan cache that is of nothing");
}

static int
sweep_name(int work_fd, const char *name, struct err *e)
{
    if (name[0] == '.') {
        return text_ends_with(name + 1, MAKING_SUFFIX)
                   ? remove_left_over(work_fd, name, e)
                   : 0;
    }
    if (text_ends_with(name, SCAN_SUFFIX)) {
        return remove_orphan(work_fd, name, SCAN_SUFFIX, e);
    }
    return text_ends_with(name, SCAN_SUFFIX ".tmp")
               ? remove_orphan(work_fd, name, SCAN_SUFFIX ".tmp", e)
               : 0;
}

struct sweep {
    bool failed;
    struct err why; /* of the first */
};

/* What cannot be removed is no reason to leave the rest. */
static int
sweep_one(void *ctx, int work_fd, const char *name, struct err *e)
{
    struct sweep *s = ctx;

    if (sweep_name(work_fd, name, e) != 0 && !s->failed) {
        s->failed = true;
        s->why = *e;
    }
    return 0;
}

int
workdir_sweep(int work_fd, struct err *e)
{
    struct sweep s = {.failed = false};
    int place;
    int rc = workdir_lock_place(work_fd, LOCK_EX | LOCK_NB, &place, e);

    if (rc == 0 && place != -1) {
        rc = file_each_name(work_fd, sweep_one, &s, e);
    }
    if (rc == 0 && s.failed) {
        *e = s.why;
        rc = -1;
    }
    (void)fd_close(&place);
    return rc;
}
