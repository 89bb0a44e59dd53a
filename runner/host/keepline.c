#include "runner/host/keepline.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "meter/keeping.h"
#include "meter/receipt.h"
#include "runner/host/jobdir.h"
#include "runner/host/workdirs.h"
#include "storage/snap.h"
#include "storage/store.h"

#define LINE_NAME "keeping"

static int
claim_of(const struct renter *r, const char *snapshot, struct snap_claim *out,
         struct err *e)
{
    struct store *st = NULL;
    int rc =
        workdirs_open_store(r, &st, e) == 0 ? snap_claim_get(st, snapshot, out, e) : -1;

    store_close(st);
    return rc;
}

/* Of what the job left, by its state; false where that is nothing, or not known. */
static bool
claim_by_state(const struct renter *r, const struct jobdir *d, struct snap_claim *out)
{
    struct job_state st;
    struct err none;
    bool known;

    state_init(&st);
    known = jobdir_state(d, &st, &none) == 0 && st.snapshot[0] != '\0' &&
            claim_of(r, st.snapshot, out, &none) == 0;
    state_free(&st);
    return known;
}

static int
load_receipt(const struct agent *a, const struct renter *r, const char *job,
             struct receipt **out, struct err *e)
{
    const struct receipt_pins pins = {.host = &a->pub, .job = job};
    char *path = xasprintf("%s/jobs/%s/usage", r->path, job);
    int rc = receipt_verify_file(out, path, &pins, e);

    free(path);
    return rc;
}

static int
make(const struct agent *a, const struct renter *r, const char *job,
     const struct jobdir *d, struct buf *out, struct err *e)
{
    struct receipt *receipt = NULL;
    struct snap_claim claim;
    struct keeping k;
    int rc = -1;

    /* First, for a receipt is long, and its signatures are many. */
    if (claim_by_state(r, d, &claim) && claim.data != SNAP_DATA_GONE) {
        return err_set(e, ERR_BUSY, "the data of job %s is kept still", job);
    }
    keeping_init(&k);
    if (load_receipt(a, r, job, &receipt, e) != 0) {
        return -1;
    }
    if (receipt->keep_hold_fen == 0 || receipt->snapshot[0] == '\0') {
        err_set(e, ERR_NOT_FOUND, "nothing is held for the data of job %s", job);
    } else if (claim_of(r, receipt->snapshot, &claim, e) != 0) {
        (void)err_wrap(e, "snapshot %s", receipt->snapshot);
    } else if (claim.data != SNAP_DATA_GONE) {
        err_set(e, ERR_BUSY, "the data of job %s is kept still", job);
    } else if (keeping_make(&k, receipt, claim.gone_wall_ns, claim.why, a->key, e) == 0 &&
               file_replace_at(d->fd, LINE_NAME, k.bytes.data, k.bytes.len, e) == 0) {
        buf_add(out, k.bytes.data, k.bytes.len);
        rc = 0;
    }
    keeping_clear(&k);
    receipt_free(receipt);
    return rc;
}

int
keepline_get(const struct agent *a, const struct renter *r, const char *job,
             struct buf *out, struct err *e)
{
    struct jobdir d;
    struct err none;
    int rc;

    if (jobdir_open(&d, r, job, e) != 0) {
        return -1;
    }
    rc = jobdir_read(&d, LINE_NAME, KEEPING_MAX_BYTES, out, &none) == 0
             ? 0
             : make(a, r, job, &d, out, e);
    jobdir_close(&d);
    return rc;
}

/* Its data was given up, and no line tells so. */
static bool
is_due(const struct renter *r, const char *job)
{
    struct snap_claim claim;
    struct jobdir d;
    struct err none;
    bool due;

    if (jobdir_open(&d, r, job, &none) != 0) {
        return false;
    }
    due = faccessat(d.fd, LINE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
          claim_by_state(r, &d, &claim) && claim.data == SNAP_DATA_GONE;
    jobdir_close(&d);
    return due;
}

void
keepline_sweep(const struct agent *a, const struct renter *r)
{
    struct job_ids ids;
    struct err none;

    if (jobdir_list(r, &ids, &none) != 0) {
        return;
    }
    for (size_t i = 0; i < ids.n; i++) {
        struct buf line = BUF_INIT;

        if (is_due(r, ids.v[i])) {
            (void)!keepline_get(a, r, ids.v[i], &line, &none);
        }
        buf_free(&line);
    }
    job_ids_free(&ids);
}
