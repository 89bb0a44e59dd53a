#include "runner/host/errands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "meter/declined.h"
#include "meter/grant.h"
#include "runner/host/bookline.h"
#include "runner/host/books.h"
#include "runner/host/errands_internal.h"
#include "runner/host/jobdir.h"
#include "runner/host/keepline.h"
#include "runner/host/park.h"
#include "runner/host/reservations.h"
#include "runner/job/ids.h"
#include "runner/job/refusals.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define TOLD_MAX       ((size_t)128)
#define TOLD_ALL       "all"     /* nothing more is due of that lease */
#define TOLD_BILL      "receipt" /* its keeping is */
#define NS_PER_S       ((int64_t)1000000000)
#define BOOK_NS        (300 * NS_PER_S)
#define NAME_MAX_BYTES (JOB_ID_LEN + SIGN_ID_LEN + 2)

/* ---- what was told ---- */

static void
note_name(const struct errand *x, const char *id, char out[NAME_MAX_BYTES])
{
    char book[SIGN_ID_LEN + 1];

    sign_public_id(&x->book->key, book);
    (void)snprintf(out, NAME_MAX_BYTES, "%.*s.%s", JOB_ID_LEN, id, book);
}

/* A note that cannot be read is none: the book hears it again. */
static void
note_get(const struct errand *x, const char *id, char out[TOLD_MAX + 1])
{
    char name[NAME_MAX_BYTES];
    struct buf b = BUF_INIT;
    struct err none;

    note_name(x, id, name);
    out[0] = '\0';
    if (file_read_at(x->told_fd, name, TOLD_MAX, &b, &none) == 0) {
        (void)snprintf(out, TOLD_MAX + 1, "%s", buf_str(&b));
    }
    buf_free(&b);
}

int
errand_taken(struct errand *x, const char *id, const char *text, struct err *e)
{
    char book[SIGN_ID_LEN + 1];
    char name[NAME_MAX_BYTES];

    note_name(x, id, name);
    sign_public_id(&x->book->key, book);
    return file_replace_at(x->told_fd, name, text, strlen(text), e) == 0
               ? refusals_taken(x->told_fd, id, book, e)
               : -1;
}

/* ---- the book at hand ---- */

static int
call(struct errand *x, struct err *e)
{
    if (park_keep_off(x->agent, &x->hold_fd, e) != 0) {
        x->parking = true;
        return -1;
    }
    x->until_ns = clock_boot_ns() + BOOK_NS;
    return bookline_open(&x->line, x->agent, x->book, e);
}

static void
hang_up(struct errand *x)
{
    bookline_close(x->line);
    x->line = NULL;
    (void)fd_close(&x->hold_fd);
}

int
errand_ask(struct errand *x, const struct rec *req, struct rec **resp, struct err *e)
{
    if (!x->gone && x->until_ns != 0 && clock_boot_ns() >= x->until_ns) {
        x->gone = true;
        err_set(&x->why, ERR_BUSY, "the book '%s' takes too long: the rest waits",
                x->book->name);
    }
    if (x->gone) {
        *e = x->why;
        return -1;
    }
    if ((x->line == NULL && call(x, e) != 0) ||
        bookline_call(x->line, req, resp, e) != 0) {
        /* Whoever is no book of ours has refused all of it at once. */
        x->gone = x->line == NULL || e->code == ERR_LINK;
        x->refused = !x->gone && refusal_is_final(e->code);
        x->why = *e;
        return -1;
    }
    return 0;
}

static int
ask_with(struct errand *x, const char *verb, const char *key, const struct buf *data,
         struct err *e)
{
    struct rec *req = msg_request_new(verb);
    int rc;

    rec_add_bytes(req, key, data->data, data->len);
    rc = errand_ask(x, req, NULL, e);
    x->sums->n_told += rc == 0 ? 1 : 0;
    rec_free(req);
    return rc;
}

/* ---- what it refuses ---- */

bool
errand_begin(struct errand *x, struct refusal *thing)
{
    sign_public_id(&x->book->key, thing->book);
    x->refused = false;
    return !refusals_has(x->told_fd, thing);
}

int
errand_failed(struct errand *x, struct refusal *thing, struct err *e)
{
    if (!x->refused) {
        return -1;
    }
    thing->why = *e;
    thing->wall_ns = clock_wall_ns();
    thing->told = refusal_is_another_books(thing);
    if (refusals_note(x->told_fd, thing, e) != 0) {
        return -1;
    }
    x->sums->n_refused += thing->told ? 0 : 1;
    return 0;
}

/* One thing that failed does not keep the others from being told. */
static void
failed(struct errand *x, const char *what, const char *id, const struct err *why)
{
    x->sums->n_waiting++;
    if (!x->parking && x->first.code == ERR_NONE) {
        x->first = *why;
        (void)err_wrap(&x->first, "%s %s", what, id);
    }
}

/* ---- jobs ---- */

/* Piece by piece, as it lies on the disk. */
static int
send_receipt(struct errand *x, const struct jobdir *d, const char *lease, struct err *e)
{
    uint8_t *part = xmalloc(BOOK_CHUNK_MAX + 1);
    int64_t at = 0;
    bool last = false;
    int fd = -1;
    int rc = file_open_beneath(d->fd, "usage", O_RDONLY, 0, &fd, e);

    while (rc == 0 && !last) {
        ssize_t n = fd_pread_full(fd, part, BOOK_CHUNK_MAX + 1, (off_t)at);
        struct rec *req;

        if (n < 0) {
            rc = err_set_sys(e, errno, "cannot read the usage journal");
            break;
        }
        last = (size_t)n <= BOOK_CHUNK_MAX;
        n = last ? n : (ssize_t)BOOK_CHUNK_MAX;
        req = msg_request_new(VERB_BOOK_RECEIPT);
        rec_add(req, "lease", lease);
        rec_add_int(req, "from", at);
        rec_add_bytes(req, "data", part, (size_t)n);
        rec_add_int(req, "end", last ? 1 : 0);
        rc = errand_ask(x, req, NULL, e);
        rec_free(req);
        at += n;
    }
    x->sums->n_told += rc == 0 ? 1 : 0;
    (void)fd_close(&fd);
    free(part);
    return rc;
}

/* *over: nothing is due of that lease any more. */
static int
send_keeping(struct errand *x, const struct renter *r, const char *job, bool *over,
             struct err *e)
{
    struct buf line = BUF_INIT;
    int rc = keepline_get(x->agent, r, job, &line, e);

    *over = rc == 0 || e->code == ERR_NOT_FOUND;
    if (rc != 0) {
        rc = e->code == ERR_NOT_FOUND || e->code == ERR_BUSY ? 0 : -1;
    } else {
        rc = ask_with(x, VERB_BOOK_KEEPING, "keeping", &line, e);
    }
    buf_free(&line);
    return rc;
}

static struct refusal
thing_of(const char *what, const char *id, const char *job)
{
    struct refusal r = {.told = false};

    (void)snprintf(r.what, sizeof r.what, "%s", what);
    (void)snprintf(r.id, sizeof r.id, "%s", id);
    (void)snprintf(r.job, sizeof r.job, "%s", job);
    return r;
}

/* *taken: the book has it, now or before. */
static int
tell_receipt(struct errand *x, const struct jobdir *d, const char *lease,
             const char *note, bool *taken, struct err *e)
{
    struct refusal thing = thing_of(REFUSAL_RECEIPT, lease, d->job);

    *taken = strcmp(note, TOLD_BILL) == 0;
    if (*taken || !errand_begin(x, &thing)) {
        return 0;
    }
    if (send_receipt(x, d, lease, e) != 0) {
        return errand_failed(x, &thing, e);
    }
    *taken = true;
    return errand_taken(x, lease, TOLD_BILL, e);
}

static int
tell_end(struct errand *x, const struct renter *r, const struct jobdir *d,
         const char *lease, const char *note, struct err *e)
{
    struct refusal thing = thing_of(REFUSAL_KEEPING, lease, d->job);
    bool taken = false;
    bool over = false;

    if (tell_receipt(x, d, lease, note, &taken, e) != 0) {
        return -1;
    }
    if (!taken || !errand_begin(x, &thing)) {
        return 0;
    }
    if (send_keeping(x, r, d->job, &over, e) != 0) {
        return errand_failed(x, &thing, e);
    }
    return over ? errand_taken(x, lease, TOLD_ALL, e) : 0;
}

static int
tell_point(struct errand *x, const struct jobdir *d, const char *lease, struct err *e)
{
    struct refusal thing = thing_of(REFUSAL_CHECKPOINT, lease, d->job);

    return !errand_begin(x, &thing) || errand_point(x, d, lease, e) == 0
               ? 0
               : errand_failed(x, &thing, e);
}

static int
tell_job(struct errand *x, const struct renter *r, const struct jobdir *d, struct err *e)
{
    char note[TOLD_MAX + 1];
    struct buf b = BUF_INIT;
    struct job_state st;
    struct grant g;
    int rc = 0;

    grant_init(&g);
    state_init(&st);
    if (jobdir_read(d, "grant", GRANT_MAX_BYTES, &b, e) != 0) {
        rc = e->code == ERR_NOT_FOUND ? 0 : -1; /* a free host's job has none */
        goto out;
    }
    if (grant_parse(&g, b.data, b.len, e) != 0) {
        rc = -1;
        goto out;
    }
    if (memcmp(g.book.b, x->book->key.b, sizeof g.book.b) != 0) {
        goto out;
    }
    note_get(x, g.lease, note);
    if (strcmp(note, TOLD_ALL) == 0) {
        goto out;
    }
    rc = jobdir_state(d, &st, e);
    if (rc == 0) {
        rc = job_phase_is_final(st.phase) ? tell_end(x, r, d, g.lease, note, e)
                                          : tell_point(x, d, g.lease, e);
    }

out:
    state_free(&st);
    grant_clear(&g);
    buf_free(&b);
    return rc;
}

static int
tell_jobs(struct errand *x, const struct renter *r, struct err *e)
{
    struct job_ids ids = {NULL, 0};
    int rc = jobdir_list(r, &ids, e);

    for (size_t i = 0; rc == 0 && i < ids.n && !x->gone; i++) {
        struct jobdir d;
        struct err why;

        if (jobdir_open(&d, r, ids.v[i], &why) != 0) {
            continue; /* it went just now */
        }
        if (tell_job(x, r, &d, &why) != 0) {
            failed(x, "job", ids.v[i], &why);
        }
        jobdir_close(&d);
    }
    job_ids_free(&ids);
    return rc;
}

/* ---- leases that came to nothing ---- */

static int
tell_declined(struct errand *x, int dir, const char *lease, struct err *e)
{
    struct refusal thing = thing_of(REFUSAL_DECLINE, lease, "");
    char note[TOLD_MAX + 1];
    struct buf b = BUF_INIT;
    int rc;

    note_get(x, lease, note);
    if (strcmp(note, TOLD_ALL) == 0 || !errand_begin(x, &thing)) {
        return 0;
    }
    rc = file_read_at(dir, lease, DECLINED_MAX_BYTES, &b, e) == 0
             ? ask_with(x, VERB_BOOK_DECLINE, "declined", &b, e)
             : -1;
    buf_free(&b);
    return rc == 0 ? errand_taken(x, lease, TOLD_ALL, e) : errand_failed(x, &thing, e);
}

static int
tell_decline(void *ctx, int dir, const char *name, struct err *e)
{
    struct errand *x = ctx;
    struct err why;

    (void)e;
    if (!x->gone && id_is(ID_LEASE, name) && tell_declined(x, dir, name, &why) != 0) {
        failed(x, "lease", name, &why);
    }
    return 0;
}

static int
tell_declines(struct errand *x, const struct renter *r, struct err *e)
{
    int dir = -1;
    int rc = renter_dir(r, "declined", &dir, e);

    if (rc == 0) {
        rc = file_each_name(dir, tell_decline, x, e);
    }
    (void)fd_close(&dir);
    return rc;
}

/* ---- reservations ---- */

static int
tell_reservation(struct errand *x, const struct reservation *r, struct err *e)
{
    struct refusal thing = thing_of(REFUSAL_RESERVATION, r->id, "");
    char head[SHA256_HEX_LEN + 1];
    char note[TOLD_MAX + 1];
    bool paid = false;

    for (size_t i = 0; i < r->n_payments; i++) {
        paid = paid ||
               memcmp(r->payments[i].book.b, x->book->key.b, sizeof x->book->key.b) == 0;
    }
    sha256_format(&r->head, head);
    note_get(x, r->id, note);
    (void)snprintf(thing.state, sizeof thing.state, "%s", head); /* it goes on */
    if (!paid || strcmp(note, head) == 0 || !errand_begin(x, &thing)) {
        return 0;
    }
    return ask_with(x, VERB_BOOK_RESERVED, "reservation", &r->bytes, e) == 0
               ? errand_taken(x, r->id, head, e)
               : errand_failed(x, &thing, e);
}

static int
tell_reservations(struct errand *x, struct err *e)
{
    struct reservation_list l = {NULL, 0};

    if (reservations_list(&l, x->agent, NULL, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && !x->gone; i++) {
        struct err why;

        if (tell_reservation(x, l.v[i], &why) != 0) {
            failed(x, "reservation", l.v[i]->id, &why);
        }
    }
    reservations_free(&l);
    return 0;
}

/* ---- all of it ---- */

static int
tell_all(struct errand *x, struct err *e)
{
    struct renter_ids ids;
    int rc = renter_list(x->agent, &ids, e);

    if (rc != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < ids.n && !x->gone; i++) {
        struct renter *r = NULL;
        struct err why;

        if (renter_open(&r, x->agent, ids.v[i], false, &why) != 0) {
            continue;
        }
        rc = tell_jobs(x, r, e) == 0 ? tell_declines(x, r, e) : -1;
        renter_close(r);
    }
    renter_ids_free(&ids);
    return rc == 0 && !x->gone ? tell_reservations(x, e) : rc;
}

int
errand_book(struct errand *x, struct err *e)
{
    int rc =
        agent_dir(x->agent, ERRANDS_TOLD_DIR, &x->told_fd, e) == 0 ? tell_all(x, e) : -1;

    hang_up(x);
    (void)fd_close(&x->told_fd);
    if (rc == 0 && x->first.code != ERR_NONE) {
        *e = x->first;
        rc = -1;
    }
    return rc;
}
