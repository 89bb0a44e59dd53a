#include "runner/host/jobdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

#define NEW_NAME_MAX  (JOB_ID_LEN + 6)
#define LOG_MAX_BYTES ((off_t)1 << 20) /* of supervisor.log */

static void
new_name(const char *job, char out[NEW_NAME_MAX])
{
    (void)snprintf(out, NEW_NAME_MAX, ".%s.new", job);
}

static void
init(struct jobdir *d, const char *job)
{
    memset(d, 0, sizeof *d);
    memcpy(d->job, job, JOB_ID_LEN + 1);
    d->fd = -1;
    d->jobs_fd = -1;
    d->lock_fd = -1;
}

void
jobdir_close(struct jobdir *d)
{
    (void)fd_close(&d->lock_fd);
    (void)fd_close(&d->fd);
    (void)fd_close(&d->jobs_fd);
}

static int
open_lock(const struct jobdir *d, int *fd, struct err *e)
{
    *fd = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *fd == -1 ? err_set_sys(e, errno, "cannot open the lock of job %s", d->job)
                     : 0;
}

/* *got: it is ours now. */
static int
lock_now(const struct jobdir *d, int fd, bool *got, struct err *e)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            *got = false;
            return 0;
        }
        if (errno != EINTR) {
            return err_set_sys(e, errno, "cannot lock job %s", d->job);
        }
    }
    *got = true;
    return 0;
}

/* What a maker that died left in it. */
static int
sweep_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    (void)ctx;
    return strcmp(name, "lock") == 0 ? 0 : file_remove_tree_at(dir_fd, name, e);
}

static int
sweep(const struct jobdir *d, struct err *e)
{
    return file_each_name(d->fd, sweep_one, NULL, e) == 0
               ? 0
               : err_wrap(e, "the record of job %s", d->job);
}

int
jobdir_make(struct jobdir *out, const struct renter *r, const char *job, struct err *e)
{
    struct jobdir d;
    char name[NEW_NAME_MAX];
    bool got = false;
    bool stale;

    if (id_check(ID_JOB, job, e) != 0) {
        return -1;
    }
    init(&d, job);
    new_name(job, name);
    if (renter_dir(r, "jobs", &d.jobs_fd, e) != 0) {
        return -1;
    }
    stale = mkdirat(d.jobs_fd, name, 0700) != 0;
    if (stale && errno != EEXIST) {
        err_set_sys(e, errno, "cannot make the record of job %s", job);
        goto fail;
    }
    d.fd = openat(d.jobs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (d.fd == -1) {
        err_set_sys(e, errno, "cannot open the record of job %s", job);
        goto fail;
    }
    /* The lock tells a maker that lives from what a dead one left. */
    if (open_lock(&d, &d.lock_fd, e) != 0 || lock_now(&d, d.lock_fd, &got, e) != 0) {
        goto fail;
    }
    if (!got) {
        err_set(e, ERR_BUSY, "job %s is just being made by another connection", job);
        goto fail;
    }
    if (stale && sweep(&d, e) != 0) {
        goto fail;
    }
    *out = d;
    return 0;

fail:
    jobdir_close(&d);
    return -1;
}

static int
rename_noreplace(int dir_fd, const char *from, const char *to)
{
    if (syscall(SYS_renameat2, dir_fd, from, dir_fd, to, 1 /* RENAME_NOREPLACE */) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL) {
        return -1;
    }
    /* Old kernels and file systems: an existing one has entries, and is not replaced. */
    return renameat(dir_fd, from, dir_fd, to);
}

int
jobdir_place(struct jobdir *d, struct err *e)
{
    char name[NEW_NAME_MAX];

    new_name(d->job, name);
    if (fsync(d->fd) != 0) {
        return err_set_sys(e, errno, "cannot sync the record of job %s", d->job);
    }
    if (rename_noreplace(d->jobs_fd, name, d->job) != 0) {
        if (errno == EEXIST || errno == ENOTEMPTY) {
            return err_set(e, ERR_EXISTS, "there is a job %s already", d->job);
        }
        return err_set_sys(e, errno, "cannot place the record of job %s", d->job);
    }
    d->placed = true;
    if (fsync(d->jobs_fd) != 0) {
        return err_set_sys(e, errno, "cannot sync the job list");
    }
    return 0;
}

void
jobdir_drop(struct jobdir *d)
{
    char name[NEW_NAME_MAX];
    struct err ignored;

    if (d->jobs_fd != -1 && !d->placed) {
        new_name(d->job, name);
        /* What cannot be removed now is taken over by the next maker. */
        (void)!file_remove_tree_at(d->jobs_fd, name, &ignored);
    }
    jobdir_close(d);
}

int
jobdir_open(struct jobdir *out, const struct renter *r, const char *job, struct err *e)
{
    struct jobdir d;
    char rel[sizeof "jobs/" + JOB_ID_LEN];

    if (id_check(ID_JOB, job, e) != 0) {
        return -1;
    }
    init(&d, job);
    d.placed = true;
    (void)snprintf(rel, sizeof rel, "jobs/%s", job);
    if (file_open_beneath(r->fd, rel, O_RDONLY | O_DIRECTORY, 0, &d.fd, e) != 0) {
        if (e->code == ERR_NOT_FOUND) {
            err_set(e, ERR_NOT_FOUND, "there is no job %s on this host", job);
        }
        return -1;
    }
    *out = d;
    return 0;
}

int
jobdir_try_lock(struct jobdir *d, bool *got, struct err *e)
{
    int fd = -1;

    *got = false;
    if (open_lock(d, &fd, e) != 0) {
        return -1;
    }
    if (lock_now(d, fd, got, e) != 0) {
        (void)fd_close(&fd);
        return -1;
    }
    if (!*got) {
        return fd_close(&fd) == 0 ? 0 : err_set_sys(e, errno, "cannot close a lock");
    }
    d->lock_fd = fd;
    return 0;
}

int
jobdir_is_owned(const struct jobdir *d, bool *owned, struct err *e)
{
    int fd = -1;
    int rc = 0;

    if (open_lock(d, &fd, e) != 0) {
        return -1;
    }
    /* Shared, and given back at once: two lookers do not take each other for owners. */
    while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            *owned = true;
            goto out;
        }
        if (errno != EINTR) {
            rc = err_set_sys(e, errno, "cannot look at the lock of job %s", d->job);
            goto out;
        }
    }
    *owned = false;

out:
    (void)fd_close(&fd);
    return rc;
}

int
jobdir_open_log(const struct jobdir *d)
{
    int fd = d->fd == -1
                 ? -1
                 : openat(d->fd, "supervisor.log",
                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd != -1 && lseek(fd, 0, SEEK_END) >= LOG_MAX_BYTES) {
        (void)fd_close(&fd);
    }
    return fd;
}

int
jobdir_read(const struct jobdir *d, const char *name, size_t max_bytes, struct buf *out,
            struct err *e)
{
    return file_read_at(d->fd, name, max_bytes, out, e);
}

static int
read_rec(const struct jobdir *d, const char *name, size_t max_bytes, const char *type,
         struct rec **out, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = -1;

    if (jobdir_read(d, name, max_bytes, &b, e) == 0 &&
        rec_parse(out, b.data, b.len, type, e) == 0) {
        rc = 0;
    } else {
        err_wrap(e, "job %s", d->job);
    }
    buf_free(&b);
    return rc;
}

int
jobdir_spec(const struct jobdir *d, struct job_spec *out, struct err *e)
{
    struct rec *r = NULL;
    int rc;

    if (read_rec(d, "spec", SPEC_MAX_BYTES, SPEC_TYPE, &r, e) != 0) {
        return -1;
    }
    rc = spec_parse(out, r, e);
    rec_free(r);
    return rc == 0 ? 0 : err_wrap(e, "job %s", d->job);
}

int
jobdir_state(const struct jobdir *d, struct job_state *out, struct err *e)
{
    struct rec *r = NULL;
    int rc;

    if (read_rec(d, "state", STATE_MAX_BYTES, STATE_TYPE, &r, e) != 0) {
        return -1;
    }
    rc = state_parse(out, r, e);
    rec_free(r);
    return rc == 0 ? 0 : err_wrap(e, "job %s", d->job);
}

/* As file_replace_at without waiting for the disk. */
static int
replace_soft(const struct jobdir *d, const struct buf *b, struct err *e)
{
    int fd = openat(d->fd, "state.tmp",
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int failed = 0;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot write the state of job %s", d->job);
    }
    if (fd_write_all(fd, b->data, b->len) != 0) {
        failed = errno;
    }
    if (fd_close(&fd) != 0 && failed == 0) {
        failed = errno;
    }
    if (failed == 0 && renameat(d->fd, "state.tmp", d->fd, "state") != 0) {
        failed = errno;
    }
    return failed == 0
               ? 0
               : err_set_sys(e, failed, "cannot write the state of job %s", d->job);
}

int
jobdir_set_state(const struct jobdir *d, const struct job_state *s, bool durable,
                 struct err *e)
{
    struct rec *r = state_encode(s);
    struct buf b = BUF_INIT;
    int rc;

    rec_encode(r, &b);
    rc = durable ? file_replace_at(d->fd, "state", b.data, b.len, e)
                 : replace_soft(d, &b, e);
    buf_free(&b);
    rec_free(r);
    return rc;
}

struct id_adder {
    struct job_ids l;
    size_t cap;
};

static int
add_id(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct id_adder *a = ctx;

    (void)dir_fd;
    if (!id_is(ID_JOB, name)) {
        return 0;
    }
    if (a->l.n == JOBS_MAX) {
        return err_set(e, ERR_RANGE,
                       "more than %d jobs: directories of those whose data is gone may "
                       "be moved out of there",
                       JOBS_MAX);
    }
    if (a->l.n == a->cap) {
        a->cap = a->cap == 0 ? 64 : 2 * a->cap;
        a->l.v = xrealloc(a->l.v, a->cap * sizeof *a->l.v);
    }
    memcpy(a->l.v[a->l.n++], name, JOB_ID_LEN + 1);
    return 0;
}

static int
list_ids(const struct renter *r, const char *dir, struct job_ids *out, struct err *e)
{
    struct id_adder a = {.cap = 0};
    char *path;
    int rc;
    int fd;

    if (renter_dir(r, dir, &fd, e) != 0) {
        return -1;
    }
    rc = file_each_name(fd, add_id, &a, e);
    (void)fd_close(&fd);
    if (rc != 0) {
        job_ids_free(&a.l);
        path = path_join(r->path, dir);
        (void)err_wrap(e, "'%s'", path);
        free(path);
        return -1;
    }
    *out = a.l;
    return 0;
}

int
jobdir_list(const struct renter *r, struct job_ids *out, struct err *e)
{
    return list_ids(r, "jobs", out, e);
}

int
jobdir_list_active(const struct renter *r, struct job_ids *out, struct err *e)
{
    return list_ids(r, "active", out, e);
}

int
jobdir_mark_active(const struct renter *r, const char *job, int *dir_fd, struct err *e)
{
    int dir = -1;
    int fd;

    if (renter_dir(r, "active", &dir, e) != 0) {
        return -1;
    }
    fd = openat(dir, job, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        err_set_sys(e, errno, "cannot mark job %s as active", job);
        (void)fd_close(&dir);
        return -1;
    }
    (void)fd_close(&fd);
    *dir_fd = dir;
    return 0;
}

void
jobdir_unmark_active(const struct renter *r, const char *job)
{
    struct err none;
    int dir;

    if (renter_dir(r, "active", &dir, &none) == 0) {
        (void)unlinkat(dir, job, 0);
        (void)fd_close(&dir);
    }
}

void
job_ids_free(struct job_ids *l)
{
    free(l->v);
    *l = (struct job_ids){NULL, 0};
}

static int
each_of_renter(const struct renter *r, bool all, jobdir_each_fn *fn, void *ctx,
               struct err *e)
{
    struct job_ids ids = {NULL, 0};
    struct err none;

    if ((all ? jobdir_list(r, &ids, e) : jobdir_list_active(r, &ids, e)) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ids.n; i++) {
        struct job_state st;
        struct jobdir d;

        if (jobdir_open(&d, r, ids.v[i], &none) != 0) {
            continue;
        }
        state_init(&st);
        if (jobdir_state(&d, &st, &none) == 0) {
            fn(ctx, r, &st);
        }
        state_free(&st);
        jobdir_close(&d);
    }
    job_ids_free(&ids);
    return 0;
}

int
jobdir_each(const struct agent *a, bool all, jobdir_each_fn *fn, void *ctx, struct err *e)
{
    struct renter_ids l;
    int rc = 0;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        struct renter *r = NULL;
        struct err none;

        if (renter_open(&r, a, l.v[i], false, &none) == 0) {
            rc = each_of_renter(r, all, fn, ctx, e);
        }
        renter_close(r);
    }
    renter_ids_free(&l);
    return rc;
}
