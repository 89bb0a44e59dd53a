#include "runner/host/declines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "meter/declined.h"
#include "meter/grant.h"
#include "runner/host/jobdir.h"
#include "runner/host/reservations.h"
#include "runner/job/ids.h"

static int
read_declined(const struct renter *r, const char *lease, struct buf *out, int *dir,
              struct err *e)
{
    if (id_check(ID_LEASE, lease, e) != 0 || renter_dir(r, "declined", dir, e) != 0) {
        return -1;
    }
    return file_read_at(*dir, lease, DECLINED_MAX_BYTES, out, e);
}

int
declines_check(const struct renter *r, const char *lease, struct err *e)
{
    char name[JOB_ID_LEN + 16];

    if (!id_is(ID_LEASE, lease)) {
        return 0; /* no such lease can have been declined */
    }
    (void)snprintf(name, sizeof name, "declined/%s", lease);
    if (faccessat(r->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return err_set(e, ERR_DENIED, "lease %s was given back unused", lease);
    }
    return errno == ENOENT ? 0 : err_set_sys(e, errno, "cannot look for declined leases");
}

static int
check_grant(const struct agent *a, const struct renter *r, const struct grant *g,
            struct err *e)
{
    if (memcmp(g->host.b, a->pub.b, sizeof a->pub.b) != 0) {
        return err_set(e, ERR_DENIED, "the grant is for another host");
    }
    if (!r->has_key || memcmp(g->renter.b, r->key.b, sizeof r->key.b) != 0) {
        return err_set(e, ERR_DENIED, "the grant is another renter's");
    }
    return id_is(ID_RESERVATION, g->job) ? 0 : id_check(ID_JOB, g->job, e);
}

/* The lease paid for time in front: then it was used at once. */
static int
check_not_bought(const struct agent *a, const struct grant *g, struct err *e)
{
    struct reservation *v = NULL;
    struct err why;
    bool paid = false;

    if (reservations_load(&v, a, g->job, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            return 0;
        }
        *e = why;
        return -1;
    }
    for (size_t i = 0; i < v->n_payments; i++) {
        paid = paid || strcmp(v->payments[i].lease, g->lease) == 0;
    }
    reservation_free(v);
    return paid ? err_set(e, ERR_EXISTS, "reservation %s was paid under that lease",
                          g->job)
                : 0;
}

static int
check_not_begun(const struct agent *a, const struct renter *r, const struct grant *g,
                struct err *e)
{
    struct jobdir d;
    struct err why;

    if (id_is(ID_RESERVATION, g->job)) {
        return check_not_bought(a, g, e);
    }
    if (jobdir_open(&d, r, g->job, &why) == 0) {
        jobdir_close(&d);
        return err_set(e, ERR_EXISTS,
                       "job %s has begun here: its receipt closes the lease", g->job);
    }
    if (why.code != ERR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    return 0;
}

static int
decline(const struct agent *a, const struct renter *r, const struct grant *g,
        struct buf *out, struct err *e)
{
    struct declined d;
    struct err why;
    int dir = -1;
    int rc = -1;

    declined_init(&d);
    if (read_declined(r, g->lease, out, &dir, &why) == 0) {
        rc = 0;
        goto out;
    }
    if (why.code != ERR_NOT_FOUND) {
        *e = why;
        goto out;
    }
    if (check_not_begun(a, r, g, e) != 0) {
        goto out;
    }
    declined_make(&d, g, clock_wall_ns(), a->key);
    if (file_replace_at(dir, g->lease, d.bytes.data, d.bytes.len, e) == 0) {
        buf_add(out, d.bytes.data, d.bytes.len);
        rc = 0;
    }

out:
    (void)fd_close(&dir);
    declined_clear(&d);
    return rc;
}

int
declines_make(const struct agent *a, const struct renter *r, const void *grant,
              size_t grant_len, struct buf *out, struct err *e)
{
    struct grant g;
    int lock = -1;
    int rc = -1;

    grant_init(&g);
    if (grant_parse(&g, grant, grant_len, e) == 0 && check_grant(a, r, &g, e) == 0 &&
        renter_lock_admission(r, true, &lock, e) == 0) {
        rc = decline(a, r, &g, out, e);
    }
    (void)fd_close(&lock);
    grant_clear(&g);
    return rc;
}
