#include "runner/host/quota_holds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/job/ids.h"

#define LOCK_NAME  "lock"
#define TEXT_MAX   32
#define HOLD_MAX   ((int64_t)1 << 60)
#define NAME_BYTES (JOB_ID_LEN + 1)

struct quota_hold {
    int dir_fd;
    int fd; /* ours, locked */
    char name[NAME_BYTES];
};

static int
take_turn(int dir_fd, int *lock_fd, struct err *e)
{
    *lock_fd = openat(dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*lock_fd == -1) {
        return err_set_sys(e, errno, "cannot open the lock of a renter's quota");
    }
    while (flock(*lock_fd, LOCK_EX) == -1) {
        if (errno != EINTR) {
            int why = errno;

            (void)fd_close(lock_fd);
            return err_set_sys(e, why, "cannot lock a renter's quota");
        }
    }
    return 0;
}

/* In our turn. */
static int
put(const struct quota_hold *h, int64_t bytes, struct err *e)
{
    char text[TEXT_MAX];
    int n = snprintf(text, sizeof text, "%-20" PRId64 "\n", bytes);

    if (fd_pwrite_all(h->fd, text, (size_t)n, 0) != 0) {
        return err_set_sys(e, errno, "cannot write what is held of a renter's quota");
    }
    return 0;
}

/* What the hold of that name has; one whose process has died is removed. */
static int64_t
look_at(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char text[TEXT_MAX + 1];
    int64_t bytes = 0;
    ssize_t n;

    if (fd == -1) {
        return 0;
    }
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        (void)unlinkat(dir_fd, name, 0);
    } else if ((n = fd_pread_full(fd, text, TEXT_MAX, 0)) > 0) {
        text[n] = '\0';
        bytes = strtoll(text, NULL, 10);
        bytes = bytes < 0 ? 0 : bytes > HOLD_MAX ? HOLD_MAX : bytes;
    }
    (void)fd_close(&fd);
    return bytes;
}

struct others {
    const struct quota_hold *h;
    int64_t sum;
};

static int
add_other(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct others *o = ctx;

    (void)e;
    if (strlen(name) == NAME_BYTES - 1 && strcmp(name, o->h->name) != 0 &&
        o->sum < HOLD_MAX) {
        o->sum += look_at(dir_fd, name);
    }
    return 0;
}

/* In our turn: all but ours. */
static int
sum_others(const struct quota_hold *h, int64_t *sum, struct err *e)
{
    struct others o = {.h = h};

    if (file_each_name(h->dir_fd, add_other, &o, e) != 0) {
        return err_wrap(e, "what is held of a renter's quota");
    }
    *sum = o.sum;
    return 0;
}

int
quota_hold_open(struct quota_hold **out, const struct renter *r, struct err *e)
{
    struct quota_hold *h = xcalloc(1, sizeof *h);
    int turn = -1;
    int rc = -1;

    h->dir_fd = -1;
    h->fd = -1;
    random_id("q", h->name);
    if (renter_dir(r, "holds", &h->dir_fd, e) != 0 ||
        take_turn(h->dir_fd, &turn, e) != 0) {
        goto out;
    }
    h->fd = openat(h->dir_fd, h->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (h->fd == -1 || flock(h->fd, LOCK_EX | LOCK_NB) == -1) {
        err_set_sys(e, errno, "cannot hold a part of a renter's quota");
        goto out;
    }
    rc = put(h, 0, e);

out:
    (void)fd_close(&turn);
    if (rc == 0) {
        *out = h;
    } else {
        quota_hold_close(h);
    }
    return rc;
}

void
quota_hold_close(struct quota_hold *h)
{
    if (h == NULL) {
        return;
    }
    if (h->fd != -1) {
        (void)unlinkat(h->dir_fd, h->name, 0);
    }
    (void)fd_close(&h->fd);
    (void)fd_close(&h->dir_fd);
    free(h);
}

int
quota_hold_set(struct quota_hold *h, int64_t bytes, int64_t *others_bytes, struct err *e)
{
    int turn = -1;
    int rc = -1;

    if (take_turn(h->dir_fd, &turn, e) == 0 && sum_others(h, others_bytes, e) == 0) {
        rc = put(h, bytes, e);
    }
    (void)fd_close(&turn);
    return rc;
}

int
quota_hold_draw(struct quota_hold *h, int64_t bytes, int64_t want_bytes,
                int64_t stored_bytes, int64_t limit_bytes, int64_t *granted_bytes,
                struct err *e)
{
    int64_t others = 0;
    int64_t left;
    int turn = -1;
    int rc = -1;

    if (take_turn(h->dir_fd, &turn, e) != 0 || sum_others(h, &others, e) != 0) {
        goto out;
    }
    left = limit_bytes - stored_bytes - others - bytes;
    left = left < 0 ? 0 : left;
    left = left < want_bytes ? left : want_bytes;
    if (put(h, bytes + left, e) == 0) {
        *granted_bytes = left;
        rc = 0;
    }

out:
    (void)fd_close(&turn);
    return rc;
}
