#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/devices_internal.h"
#include "runner/host/loginenv.h"
#include "runner/host/ofdlock.h"

/* World-writable and sticky, so that all users of a machine see each other's locks. */
#define SHARED_PARENT "/run/lock"
#define SHARED_DIR    SHARED_PARENT "/gpurun-devices"

static bool
shared_dir_is_usable(void)
{
    struct stat sb;

    if (mkdir(SHARED_DIR, 0777) == 0) {
        /* mkdir honours the umask; the sticky bit keeps others from removing locks */
        (void)chmod(SHARED_DIR, 01777);
    }
    return lstat(SHARED_DIR, &sb) == 0 && S_ISDIR(sb.st_mode) &&
           (sb.st_mode & 01777) == 01777;
}

char *
devices_lock_dir(const struct agent *a, bool *shared)
{
    *shared = shared_dir_is_usable();
    return *shared ? xstrdup(SHARED_DIR) : agent_path(a, "devices");
}

/*
 * The lock file of a device. Somebody else's is opened as it is: O_CREAT on it is
 * refused in sticky directories (fs.protected_regular).
 */
static int
open_lock(const char *dir, const char *uuid, struct err *e)
{
    char *path = xasprintf("%s/%s.lock", dir, uuid);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd == -1 && errno == ENOENT) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd != -1) {
            (void)fchmod(fd, 0666);
        } else if (errno == EEXIST) {
            fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        }
    }
    if (fd == -1) {
        err_set_sys(e, errno, "cannot open the device lock '%s'", path);
    }
    free(path);
    return fd;
}

static int
make_dir(const struct agent *a, char **dir, struct err *e)
{
    bool shared;

    *dir = devices_lock_dir(a, &shared);
    return shared ? 0 : file_mkdirs(*dir, 0700, e);
}

void
devices_look(const struct agent *a, struct device_list *l)
{
    char *dir = NULL;
    struct err e;
    bool ok = make_dir(a, &dir, &e) == 0;

    for (size_t i = 0; i < l->n; i++) {
        struct device *d = &l->v[i];
        int fd;

        if (strcmp(d->device_class, "cpu") == 0) {
            d->state = DEVICE_FREE;
            continue;
        }
        d->state = d->usable ? DEVICE_FREE_UNKNOWN : DEVICE_BROKEN;
        fd = ok && d->usable ? open_lock(dir, d->uuid, &e) : -1;
        if (fd != -1) {
            d->state = ofdlock_is_held(fd) ? DEVICE_BUSY : DEVICE_FREE;
            (void)close(fd);
        }
    }
    free(dir);
}

/* *fd is the lock, or -1 if somebody else has it. */
static int
take_one(const char *dir, const char *uuid, int *fd, struct err *e)
{
    int why;

    *fd = open_lock(dir, uuid, e);
    if (*fd == -1) {
        return -1;
    }
    why = ofdlock_take(*fd, true);
    if (why == 0) {
        return 0;
    }
    (void)fd_close(fd);
    return why == EAGAIN ? 0 : err_set_sys(e, why, "cannot lock device %s", uuid);
}

static int
take_cpu(const struct device_list *l, int64_t count, size_t *picked, int *fds,
         size_t *n_picked, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].device_class, "cpu") != 0) {
            continue;
        }
        if (l->v[i].cores < count) {
            return err_set(e, ERR_NOT_FOUND,
                           "%lld cores were asked for, this host has %lld",
                           (long long)count, (long long)l->v[i].cores);
        }
        picked[0] = i;
        fds[0] = -1;
        *n_picked = 1;
        return 0;
    }
    return err_set(e, ERR_NOT_FOUND, "this host offers no cpu");
}

/* In their order, those that somebody computes on without us behind the others. */
static void
order(const struct device_list *l, size_t *at)
{
    size_t n = 0;

    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < l->n; i++) {
            if ((l->v[i].n_processes > 0) == (last == 1)) {
                at[n++] = i;
            }
        }
    }
}

int
devices_take(const struct agent *a, const struct device_list *l, const char *device_class,
             const char *type, const char *wanted, int64_t count,
             const struct devices_filter *filter, size_t *picked, int *fds,
             size_t *n_picked, struct err *e)
{
    size_t *at = NULL;
    int64_t fitting = 0;
    size_t n = 0;
    char *dir = NULL;
    int rc = -1;

    if (strcmp(device_class, "cpu") == 0) {
        return take_cpu(l, count, picked, fds, n_picked, e);
    }
    at = xcalloc(l->n + 1, sizeof *at);
    order(l, at);
    if (make_dir(a, &dir, e) != 0) {
        goto out;
    }
    for (size_t k = 0; k < l->n && (int64_t)n < count; k++) {
        const struct device *d = &l->v[at[k]];
        int fd;

        if (!device_matches(d, device_class, wanted) || !d->usable ||
            (type != NULL && strcmp(d->type, type) != 0)) {
            continue;
        }
        fitting++;
        if (filter != NULL && !filter->may(filter->ctx, d)) {
            continue;
        }
        if (take_one(dir, d->uuid, &fd, e) != 0) {
            goto out;
        }
        if (fd != -1) {
            picked[n] = at[k];
            fds[n++] = fd;
        }
    }
    if ((int64_t)n < count) {
        if (fitting < count) {
            err_set(e, ERR_NOT_FOUND, "this host has %lld usable %s devices of type '%s'",
                    (long long)fitting, device_class, wanted);
        } else {
            err_set(e, ERR_BUSY, "not enough of this host's %s devices '%s' are free",
                    device_class, wanted);
        }
        goto out;
    }
    *n_picked = n;
    n = 0;
    rc = 0;

out:
    for (size_t i = 0; i < n; i++) {
        (void)fd_close(&fds[i]);
    }
    free(at);
    free(dir);
    return rc;
}

/* ---- showing a job its own ---- */

/* "GPU-1,GPU-2" of the picked devices of that class and vendor; "" for none. */
static void
visible(const struct device_class *c, const struct device_list *l, const size_t *picked,
        size_t n_picked, struct buf *out)
{
    for (size_t i = 0; i < n_picked; i++) {
        const struct device *d = &l->v[picked[i]];

        if (strcmp(d->device_class, c->name) != 0 || strcmp(d->vendor, c->vendor) != 0) {
            continue;
        }
        buf_printf(out, "%s", out->len == 0 ? "" : ",");
        if (c->visible_by != NULL && strcmp(c->visible_by, "uuid") == 0) {
            buf_add_str(out, d->uuid);
        } else {
            buf_printf(out, "%lld", (long long)d->index);
        }
    }
}

/* Does the machine have any device of that row? */
static bool
is_here(const struct device_class *c, const struct device_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].device_class, c->name) == 0 &&
            strcmp(l->v[i].vendor, c->vendor) == 0) {
            return true;
        }
    }
    return false;
}

void
devices_env(const struct agent *a, const struct device_list *l, const size_t *picked,
            size_t n_picked, struct strings *env)
{
    struct device_rows rows;
    struct err none;

    if (device_rows_load(&rows, a, &none) != 0) {
        return; /* they were read before: then nothing of such a class was taken */
    }
    for (size_t i = 0; i < rows.n; i++) {
        struct buf b = BUF_INIT;

        if (rows.v[i]->visible_var != NULL && is_here(rows.v[i], l)) {
            visible(rows.v[i], l, picked, n_picked, &b);
            env_set(env, rows.v[i]->visible_var, buf_str(&b));
        }
        buf_free(&b);
    }
    device_rows_free(&rows);
}

static void
add_nodes(const struct device_class *c, struct strings *out)
{
    for (size_t k = 0; k < c->nodes.n + c->shared.n; k++) {
        const char *pattern =
            k < c->nodes.n ? c->nodes.v[k] : c->shared.v[k - c->nodes.n];
        glob_t g;

        if (glob(pattern, 0, NULL, &g) != 0) {
            continue;
        }
        for (size_t j = 0; j < g.gl_pathc; j++) {
            strings_add(out, g.gl_pathv[j]);
        }
        globfree(&g);
    }
}

void
devices_nodes(const struct agent *a, const struct device_list *l, const size_t *picked,
              size_t n_picked, struct strings *out)
{
    struct device_rows rows;
    struct err none;

    if (device_rows_load(&rows, a, &none) != 0) {
        return;
    }
    for (size_t i = 0; i < rows.n; i++) {
        for (size_t k = 0; k < n_picked; k++) {
            const struct device *d = &l->v[picked[k]];

            if (strcmp(d->device_class, rows.v[i]->name) == 0 &&
                strcmp(d->vendor, rows.v[i]->vendor) == 0) {
                add_nodes(rows.v[i], out);
                break;
            }
        }
    }
    device_rows_free(&rows);
}
