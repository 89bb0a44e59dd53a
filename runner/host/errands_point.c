#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "meter/journal.h"
#include "runner/host/errands_internal.h"
#include "runner/host/supervise.h"
#include "runner/job/verbs.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"
#include "runner/loop/unix.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"

#define PART_BYTES  ((size_t)64 << 10)
#define SUP_WAIT_NS ((int64_t)10 * 1000000000)

/* All of the journal so far; a record at its end that is not whole yet waits. */
static int
read_journal(struct journal_reader *r, const struct jobdir *d, struct err *e)
{
    uint8_t *part = xmalloc(PART_BYTES);
    off_t at = 0;
    ssize_t n = 1;
    int fd = -1;
    int rc = file_open_beneath(d->fd, "usage", O_RDONLY, 0, &fd, e);

    while (rc == 0 && n > 0) {
        n = fd_pread_full(fd, part, PART_BYTES, at);
        if (n < 0) {
            rc = err_set_sys(e, errno, "cannot read the usage journal");
        } else if (n > 0) {
            rc = journal_reader_feed(r, part, (size_t)n, e);
            at += n;
        }
    }
    (void)fd_close(&fd);
    free(part);
    return rc;
}

/* *cosign stays empty where the book has acknowledged it, or a later one, already. */
static int
ask_book(struct errand *x, const char *lease, const struct buf *point, struct buf *cosign,
         struct err *e)
{
    struct rec *req = msg_request_new(VERB_BOOK_ACK);
    struct rec *resp = NULL;
    const char *text = NULL;
    size_t len = 0;
    int rc;

    rec_add(req, "lease", lease);
    rec_add_bytes(req, "checkpoint", point->data, point->len);
    rc = errand_ask(x, req, &resp, e);
    rec_free(req);
    if (rc != 0) {
        return e->code == ERR_EXISTS ? 0 : -1;
    }
    text = rec_get_bytes(resp, "cosign", &len);
    if (text == NULL || len > JOURNAL_COSIGN_MAX) {
        rc = err_set(e, ERR_CORRUPT, "the book sends no acknowledgement");
    } else {
        buf_add(cosign, text, len);
    }
    rec_free(resp);
    return rc;
}

static int
talk(struct conn *c, const struct buf *cosign, struct err *e)
{
    struct rec *req = msg_request_new(SUP_COSIGN);
    struct rec *resp = NULL;
    int rc;

    rec_add_bytes(req, "cosign", cosign->data, cosign->len);
    rc = conn_wait_ready(c, SUP_WAIT_NS, e) == 0
             ? call_wait(c, req, SUP_WAIT_NS, &resp, NULL, e)
             : -1;
    rec_free(req);
    rec_free(resp);
    return rc;
}

/* Its supervisor checks it, and puts it into the chain. */
static int
give(const struct jobdir *d, const struct buf *cosign, struct err *e)
{
    static const struct mux_events events = {.on_hello = NULL};
    struct hello h;
    struct conn_options o = {
        .mux = {.initiator = true, .hello = &h, .events = &events, .ping_ns = -1}};
    struct loop *loop = NULL;
    struct conn *c = NULL;
    struct unix_peer peer;
    int fd = -1;
    int rc = -1;

    hello_init(&h, HELLO_ROLE_SERVE, GPURUN_VERSION);
    if (loop_new(&loop, e) == 0 && unix_connect(d->fd, "sock", &fd, &peer, e) == 0 &&
        conn_new(&c, loop, fd, fd, &o, e) == 0) {
        rc = talk(c, cosign, e);
    }
    hello_clear(&h);
    conn_free(c);
    loop_free(loop);
    return rc;
}

int
errand_point(struct errand *x, const struct jobdir *d, const char *lease, struct err *e)
{
    struct journal_reader *r = journal_reader_new(&x->agent->pub, lease);
    struct buf cosign = BUF_INIT;
    const struct journal_point *p;
    int64_t by_renter_s = 0;
    int64_t by_book_s = 0;
    int rc = -1;

    if (read_journal(r, d, e) != 0 || journal_reader_settle(r, e) != 0) {
        goto out;
    }
    p = journal_reader_point(r);
    journal_reader_cosigned(r, &by_renter_s, &by_book_s);
    if (p == NULL || p->seq == 0 || (p->device_s > 0 && p->device_s <= by_book_s)) {
        rc = 0;
        goto out;
    }
    rc = ask_book(x, lease, journal_reader_signed(r), &cosign, e);
    if (rc == 0 && cosign.len > 0) {
        rc = give(d, &cosign, e);
        x->sums->n_told += rc == 0 ? 1 : 0;
    }

out:
    buf_free(&cosign);
    journal_reader_free(r);
    return rc;
}
