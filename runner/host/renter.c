#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/agent.h"
#include "runner/job/ids.h"

#define RENTER_TYPE      "gpurun.renter.v1"
#define RENTER_MAX_BYTES ((size_t)64 * 1024)

static struct rec *
encode(const struct renter *r)
{
    struct rec *rec = rec_new(RENTER_TYPE);

    rec_add(rec, "id", r->id);
    if (r->name[0] != '\0') {
        rec_add(rec, "name", r->name);
    }
    rec_add_int(rec, "confined", r->confined ? 1 : 0);
    rec_add_int(rec, "revoked", r->revoked ? 1 : 0);
    if (r->has_key) {
        rec_add_hex(rec, "key", r->key.b, sizeof r->key.b);
    }
    rec_add_int(rec, "until_wall_ns", r->until_wall_ns);
    rec_add_int(rec, "max_cost_fen", r->max_cost_fen);
    if (r->quota_bytes != 0) {
        rec_add_int(rec, "quota_bytes", r->quota_bytes);
    }
    if (r->quota_job_bytes != 0) {
        rec_add_int(rec, "quota_job_bytes", r->quota_job_bytes);
    }
    rec_add_int(rec, "made_wall_ns", r->made_wall_ns);
    if (r->ssh_key != NULL) {
        rec_add(rec, "ssh_key", r->ssh_key);
    }
    return rec;
}

static int
decode(struct renter *r, const struct rec *rec, struct err *e)
{
    const char *id;
    const char *name = rec_get(rec, "name");
    const char *ssh_key = rec_get(rec, "ssh_key");
    int64_t confined;
    int64_t revoked;

    if (rec_need_str(rec, "id", &id, e) != 0 ||
        rec_need_int(rec, "confined", 0, 1, &confined, e) != 0 ||
        rec_opt_int(rec, "revoked", 0, 1, 0, &revoked, e) != 0 ||
        rec_opt_int(rec, "until_wall_ns", 0, INT64_MAX, 0, &r->until_wall_ns, e) != 0 ||
        rec_opt_int(rec, "max_cost_fen", -1, INT64_MAX, RENTER_NO_CAP, &r->max_cost_fen,
                    e) != 0 ||
        rec_opt_int(rec, "quota_bytes", 0, INT64_MAX, 0, &r->quota_bytes, e) != 0 ||
        rec_opt_int(rec, "quota_job_bytes", 0, INT64_MAX, 0, &r->quota_job_bytes, e) !=
            0 ||
        rec_opt_int(rec, "made_wall_ns", INT64_MIN, INT64_MAX, 0, &r->made_wall_ns, e) !=
            0) {
        return -1;
    }
    if (strcmp(id, r->id) != 0) {
        return err_set(e, ERR_CORRUPT, "the record of renter %s is that of another",
                       r->id);
    }
    if (rec_has(rec, "key")) {
        if (rec_need_hex(rec, "key", r->key.b, sizeof r->key.b, e) != 0) {
            return -1;
        }
        r->has_key = true;
    }
    r->confined = confined == 1;
    r->revoked = revoked == 1;
    if (name != NULL) {
        (void)snprintf(r->name, sizeof r->name, "%s", name);
    }
    free(r->ssh_key);
    r->ssh_key = ssh_key == NULL ? NULL : xstrdup(ssh_key);
    return 0;
}

static int
load(struct renter *r, bool *found, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *rec = NULL;
    struct err why = {0};
    int rc = -1;

    *found = false;
    if (file_read_at(r->fd, "renter", RENTER_MAX_BYTES, &b, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            rc = 0;
        } else {
            *e = why;
        }
        goto out;
    }
    if (rec_parse(&rec, b.data, b.len, RENTER_TYPE, e) != 0 || decode(r, rec, e) != 0) {
        err_wrap(e, "renter %s", r->id);
        goto out;
    }
    *found = true;
    rc = 0;

out:
    rec_free(rec);
    buf_free(&b);
    return rc;
}

/* Writers of a record come one after another: two connections may be the first at once.
 */
static int
lock_record(const struct renter *r, int *fd, struct err *e)
{
    *fd = openat(r->fd, "renter.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd == -1) {
        return err_set_sys(e, errno, "cannot lock the record of renter %s", r->id);
    }
    while (flock(*fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            int failed = errno;

            (void)fd_close(fd);
            return err_set_sys(e, failed, "cannot lock the record of renter %s", r->id);
        }
    }
    return 0;
}

static int
save(const struct renter *r, struct err *e)
{
    struct rec *rec = encode(r);
    struct buf b = BUF_INIT;
    int rc;

    rec_encode(rec, &b);
    rc = file_replace_at(r->fd, "renter", b.data, b.len, e);
    buf_free(&b);
    rec_free(rec);
    return rc;
}

int
renter_save(const struct renter *r, struct err *e)
{
    int lock = -1;
    int rc;

    if (lock_record(r, &lock, e) != 0) {
        return -1;
    }
    rc = save(r, e);
    (void)fd_close(&lock);
    return rc;
}

/* The first one makes it, the others find it. */
static int
load_or_make(struct renter *r, struct err *e)
{
    int lock = -1;
    bool found;
    int rc;

    if (lock_record(r, &lock, e) != 0) {
        return -1;
    }
    rc = load(r, &found, e);
    if (rc == 0 && !found) {
        r->made_wall_ns = clock_wall_ns();
        rc = save(r, e);
    }
    (void)fd_close(&lock);
    return rc;
}

int
renter_open(struct renter **out, const struct agent *a, const char *id, bool create,
            struct err *e)
{
    struct renter *r = xcalloc(1, sizeof *r);
    char rel[sizeof "renters/" + SIGN_ID_LEN];
    bool found;
    int rc = -1;

    r->fd = -1;
    r->max_cost_fen = RENTER_NO_CAP;
    if (id_check_renter(id, e) != 0) {
        goto out;
    }
    memcpy(r->id, id, SIGN_ID_LEN + 1);
    (void)snprintf(rel, sizeof rel, "renters/%s", id);
    r->path = agent_path(a, rel);
    if (create) {
        if (agent_dir(a, rel, &r->fd, e) != 0) {
            goto out;
        }
    } else if (file_open_beneath(a->home_fd, rel, O_RDONLY | O_DIRECTORY, 0, &r->fd, e) !=
               0) {
        if (e->code == ERR_NOT_FOUND) {
            err_set(e, ERR_NOT_FOUND, "there is no renter %s here", id);
        }
        goto out;
    }
    if (load(r, &found, e) != 0) {
        goto out;
    }
    if (!found && !create) {
        err_set(e, ERR_NOT_FOUND, "renter %s has no record here", id);
        goto out;
    }
    if (!found && load_or_make(r, e) != 0) {
        goto out;
    }
    *out = r;
    r = NULL;
    rc = 0;

out:
    renter_close(r);
    return rc;
}

void
renter_close(struct renter *r)
{
    if (r == NULL) {
        return;
    }
    (void)fd_close(&r->fd);
    free(r->path);
    free(r->ssh_key);
    free(r);
}

static int
check_key(const struct renter *r, const struct sign_public *key, struct err *e)
{
    if (memcmp(r->key.b, key->b, sizeof key->b) == 0) {
        return 0;
    }
    return err_set(e, ERR_DENIED,
                   "renter %s is known here by another key; the owner can `revoke` and "
                   "`allow` it anew",
                   r->name[0] != '\0' ? r->name : r->id);
}

int
renter_pin_key(struct renter *r, const struct sign_public *key, struct err *e)
{
    int lock = -1;
    bool found;
    int rc = -1;

    if (r->has_key) {
        return check_key(r, key, e);
    }
    if (lock_record(r, &lock, e) != 0) {
        return -1;
    }
    if (load(r, &found, e) != 0) {
        goto out;
    }
    if (r->has_key) { /* another connection was first */
        rc = check_key(r, key, e);
        goto out;
    }
    r->key = *key;
    r->has_key = true;
    rc = save(r, e);

out:
    (void)fd_close(&lock);
    return rc;
}

int
renter_check_admitted(const struct renter *r, struct err *e)
{
    if (r->revoked) {
        return err_set(e, ERR_DENIED,
                       "the owner has revoked this renter: ask to be let in again "
                       "(`gpurun-agent allow`)");
    }
    if (r->until_wall_ns != 0 && clock_wall_ns() >= r->until_wall_ns) {
        char text[CLOCK_TEXT_MAX];

        clock_format_utc(r->until_wall_ns, 0, text);
        return err_set(e, ERR_DENIED,
                       "the owner admitted this renter until %s only: ask for more "
                       "time (`gpurun-agent allow`)",
                       text);
    }
    return 0;
}

int
renter_dir(const struct renter *r, const char *name, int *fd, struct err *e)
{
    return file_mkdirs_beneath(r->fd, name, 0700, fd, e);
}

int
renter_lock_admission(const struct renter *r, bool exclusive, int *fd, struct err *e)
{
    *fd = openat(r->fd, "admit.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd == -1 || flock(*fd, exclusive ? LOCK_EX : LOCK_SH) != 0) {
        return err_set_sys(e, errno, "cannot lock the renter's allowance");
    }
    return 0;
}

static int
add_renter(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct renter_ids *l = ctx;
    struct err none;

    (void)dir_fd;
    if (id_check_renter(name, &none) != 0) {
        return 0;
    }
    if (l->n == RENTERS_MAX) {
        return err_set(e, ERR_RANGE,
                       "more than %d renters: directories of those without jobs and data "
                       "may be moved out of there",
                       RENTERS_MAX);
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    memcpy(l->v[l->n++], name, SIGN_ID_LEN + 1);
    return 0;
}

int
renter_list(const struct agent *a, struct renter_ids *out, struct err *e)
{
    struct renter_ids l = {NULL, 0};
    int rc;
    int fd;

    if (agent_dir(a, "renters", &fd, e) != 0) {
        return -1;
    }
    rc = file_each_name(fd, add_renter, &l, e);
    (void)fd_close(&fd);
    if (rc != 0) {
        renter_ids_free(&l);
        char *path = agent_path(a, "renters");

        (void)err_wrap(e, "'%s'", path);
        free(path);
        return -1;
    }
    *out = l;
    return 0;
}

void
renter_ids_free(struct renter_ids *l)
{
    free(l->v);
    *l = (struct renter_ids){NULL, 0};
}
