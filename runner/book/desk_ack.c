#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rec.h"
#include "meter/journal.h"
#include "runner/book/desk_internal.h"

#define ACK_TYPE "gpurun.ack.v1"

/* Acknowledgements of what a host has signed while its session runs. */

static int
load_ack(const char *path, int64_t *seq, struct sha256 *hash, struct err *e)
{
    struct rec *r = NULL;
    int rc = 0;

    *seq = 0;
    if (file_exists(path)) {
        rc = rec_load(&r, path, ACK_TYPE, e) == 0 &&
                     rec_need_int(r, "seq", 1, INT64_MAX, seq, e) == 0
                 ? rec_need_hex(r, "hash", hash->b, sizeof hash->b, e)
                 : -1;
    }
    rec_free(r);
    return rc;
}

static int
save_ack(const char *path, const struct journal_point *p, const void *record, size_t len,
         struct err *e)
{
    struct rec *r = rec_new(ACK_TYPE);
    int rc;

    rec_add_int(r, "seq", p->seq);
    rec_add_hex(r, "hash", p->hash.b, sizeof p->hash.b);
    rec_add_int(r, "device", p->device_s);
    rec_add_int(r, "setup", p->setup_s);
    rec_add_bytes(r, "checkpoint", record, len);
    rc = rec_save(r, path, e);
    rec_free(r);
    return rc;
}

/* Two checkpoints of one number: the second goes beside the first, as proof. */
static int
keep_fork(struct book *b, const char *lease, const struct journal_point *p,
          const void *record, size_t len, struct err *e)
{
    char name[DESK_NAME_MAX];
    char *path = NULL;
    int rc = -1;

    (void)snprintf(name, sizeof name, "%s.%" PRId64, lease, p->seq);
    if (book_path(b, "forks", name, &path, e) == 0 &&
        file_replace(path, record, len, e) == 0) {
        rc = err_set(e, ERR_CORRUPT,
                     "the host has signed another checkpoint %" PRId64
                     " of lease %s before: both are kept as proof",
                     p->seq, lease);
    }
    free(path);
    return rc;
}

static int
take_point(struct book *b, const char *lease, const struct journal_point *p,
           const void *record, size_t len, struct err *e)
{
    char *path = NULL;
    struct sha256 was;
    int64_t seq = 0;
    int rc = -1;

    if (book_path(b, "acks", lease, &path, e) != 0) {
        goto out;
    }
    if (load_ack(path, &seq, &was, e) != 0) {
        (void)desk_own_trouble(e);
        goto out;
    }
    if (p->seq < seq) {
        err_set(e, ERR_EXISTS,
                "checkpoint %" PRId64 " of lease %s comes late: %" PRId64
                " is acknowledged already",
                p->seq, lease, seq);
    } else if (p->seq == seq && !sha256_equal(&p->hash, &was)) {
        rc = keep_fork(b, lease, p, record, len, e);
    } else {
        rc = p->seq == seq ? 0 : save_ack(path, p, record, len, e);
    }

out:
    free(path);
    return rc;
}

int
desk_ack(struct book *b, const char *lease, const void *record, size_t len,
         struct buf *cosign, struct err *e)
{
    char said[GRANT_ID_MAX + 1];
    char *lock_path = path_join(b->home, "acks.lock");
    struct journal_point p;
    struct ledger_lease h;
    struct book_host host;
    int lock = -1;
    int rc = -1;

    if (desk_check_lease(lease, e) != 0 ||
        desk_from_ledger(ledger_lease(b->ledger, lease, &h, e), e) != 0) {
        goto out;
    }
    if (h.state == LEDGER_HOLD_NONE) {
        err_set(e, ERR_NOT_FOUND, "this book has signed no grant of lease %s", lease);
        goto out;
    }
    if (book_host_load(b, h.host, &host, e) != 0) {
        (void)desk_own_trouble(e); /* it was there when the lease was signed */
        goto out;
    }
    if (journal_point_parse(&p, said, record, len, &host.key, e) != 0) {
        goto out;
    }
    if (strcmp(said, lease) != 0) {
        err_set(e, ERR_DENIED, "the checkpoint is of lease %s", said);
        goto out;
    }
    if (file_lock(lock_path, true, true, &lock, e) == 0 &&
        take_point(b, lease, &p, record, len, e) == 0) {
        journal_cosign_make(cosign, JOURNAL_BY_BOOK, lease, &p, b->key);
        rc = 0;
    }

out:
    (void)fd_close(&lock);
    free(lock_path);
    return rc;
}
