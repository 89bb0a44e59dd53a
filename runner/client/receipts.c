#include "runner/client/receipts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "meter/journal.h"
#include "meter/usage.h"
#include "runner/client/dispute.h"
#include "runner/client/wallet.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define LOOK_NS  ((int64_t)20 * 1000000000) /* checkpoints come every minute */
#define GIVE_MAX 2                          /* ours, and a book's */
#define COPY_MAX ((size_t)1 << 30)          /* of a journal held here */

struct fetch {
    struct client *client;
    struct session *session;
    char job[JOB_ID_LEN + 1];
    char *copy_path; /* <home>/usage/<job> */
    struct sign_public host;
    struct sign_public renter;
    struct journal_reader *reader;
    struct buf bytes;    /* the journal so far */
    size_t copied_bytes; /* of it, in the copy on disk */
    struct call *waiting;
    struct call *refresh;
    struct timer *look;
    int64_t cosigned_seq;
    struct buf give[GIVE_MAX]; /* countersignatures the host has not been given */
    size_t n_give;
    fetch_point_fn *seen;
    void *seen_ctx;
    bool went_back; /* to the last signed point, once */
    struct dispute *dispute;
    struct usage_moment asked; /* when `refresh` was */
    enum fetch_state state;
    struct receipt *receipt;
    struct err why;
};

/* ---- the copy on disk ---- */

static void
feed_copy(struct fetch *f)
{
    struct err e;

    if (journal_reader_feed(f->reader, f->bytes.data, f->bytes.len, &e) != 0 ||
        journal_reader_good_bytes(f->reader) < f->bytes.len) {
        f->bytes.len = (size_t)journal_reader_good_bytes(f->reader);
    }
}

static void
new_reader(struct fetch *f)
{
    journal_reader_free(f->reader);
    f->reader = journal_reader_new(&f->host, NULL);
}

/* What an earlier run left; a damaged copy is only as good as its good part. */
static void
load_copy(struct fetch *f)
{
    struct err e;

    new_reader(f);
    if (file_exists(f->copy_path) &&
        file_read(f->copy_path, COPY_MAX, &f->bytes, &e) == 0) {
        feed_copy(f);
        f->copied_bytes = f->bytes.len;
    }
}

static int
write_copy(struct fetch *f, bool sync, struct err *e)
{
    int fd = open(f->copy_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int rc = -1;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot write '%s'", f->copy_path);
    }
    if (ftruncate(fd, (off_t)f->copied_bytes) == -1 ||
        fd_pwrite_all(fd, f->bytes.data + f->copied_bytes, f->bytes.len - f->copied_bytes,
                      (off_t)f->copied_bytes) != 0 ||
        (sync && fdatasync(fd) == -1)) {
        err_set_sys(e, errno, "cannot write '%s'", f->copy_path);
        goto out;
    }
    f->copied_bytes = f->bytes.len;
    rc = 0;

out:
    if (fd_close(&fd) != 0 && rc == 0) {
        rc = err_set_sys(e, errno, "cannot write '%s'", f->copy_path);
    }
    return rc;
}

/* ---- the end ---- */

static void
refuse(struct fetch *f, const struct err *why)
{
    char *name = xasprintf("%s.refused", f->job);
    char *path = NULL;
    struct err e;

    f->state = FETCH_REFUSED;
    f->why = *why;
    if (home_make(f->client->home, "receipts", name, &path, &e) == 0) {
        (void)!file_replace(path, f->bytes.data, f->bytes.len, &e);
    }
    free(path);
    free(name);
}

static int
keep_receipt(struct fetch *f, struct err *e)
{
    char *path = NULL;

    if (home_make(f->client->home, "receipts", f->job, &path, e) != 0) {
        return -1;
    }
    if (file_replace(path, f->bytes.data, f->bytes.len, e) != 0) {
        free(path);
        return -1;
    }
    free(path);
    (void)unlink(f->copy_path);
    return 0;
}

static void
finish(struct fetch *f)
{
    struct receipt_pins pins = {.host = &f->host, .renter = &f->renter, .job = f->job};
    struct err e;

    if (receipt_verify(&f->receipt, f->bytes.data, f->bytes.len, &pins, &e) != 0) {
        refuse(f, &e);
        return;
    }
    (void)dispute_holds(f->dispute, f->receipt->last.seq, f->receipt->setup_s,
                        f->receipt->device_s);
    if (keep_receipt(f, &e) != 0) {
        receipt_free(f->receipt);
        f->receipt = NULL;
        f->state = FETCH_FAILED;
        f->why = e;
        return;
    }
    f->state = FETCH_DONE;
    dispute_end(f->dispute);
    /* What the wallet cannot take now it takes when it is next looked at. */
    (void)!wallet_settle(f->client->home, f->receipt, &e);
}

/* ---- asking ---- */

static int ask(struct fetch *f, struct conn *c, bool wait, struct call **call,
               struct err *e);

/*
 * A host that lost power may have lost records after its last signed point: go back
 * there, once, and read on. Never further: what was signed stands.
 */
static bool
go_back(struct fetch *f)
{
    const struct journal_point *point = journal_reader_point(f->reader);
    size_t end = point != NULL && point->seq > 0 ? (size_t)point->end_bytes : 0;

    if (f->went_back || f->copied_bytes == 0) {
        return false;
    }
    f->went_back = true;
    f->bytes.len = end;
    f->copied_bytes = f->copied_bytes < end ? f->copied_bytes : end;
    new_reader(f);
    feed_copy(f);
    return true;
}

static int
take_bytes(struct fetch *f, const struct rec *resp, bool *again, struct err *e)
{
    size_t len = 0;
    const char *data = rec_get_bytes(resp, "journal", &len);
    int64_t end;

    if (rec_opt_int(resp, "end", 0, 1, 0, &end, e) != 0) {
        return -1;
    }
    if (len > JOB_USAGE_CHUNK_MAX || len > COPY_MAX - f->bytes.len) {
        return err_set(e, ERR_RANGE, _("the host sends too much of its journal"));
    }
    *again = end == 0 && len > 0;
    if (data == NULL || len == 0) {
        return 0;
    }
    buf_add(&f->bytes, data, len);
    if (journal_reader_feed(f->reader, data, len, e) != 0) {
        *again = go_back(f);
        return *again ? 0 : -1;
    }
    return 0;
}

void
fetch_on_point(struct fetch *f, fetch_point_fn *seen, void *ctx)
{
    f->seen = seen;
    f->seen_ctx = ctx;
}

/* The newest countersignatures count; an older one that nobody took is worth nothing. */
void
fetch_give(struct fetch *f, const void *cosign, size_t len)
{
    struct conn *c = session_conn(f->session);

    if (f->n_give == GIVE_MAX) {
        buf_free(&f->give[0]);
        f->give[0] = f->give[1];
        f->n_give--;
    }
    f->give[f->n_give] = (struct buf)BUF_INIT;
    buf_add(&f->give[f->n_give++], cosign, len);
    if (c != NULL) {
        fetch_refresh(f, c);
    }
}

/*
 * Every second up to a checkpoint that we sign is not disputed any more: so it is held
 * against our own clock first. Nor does a book hear from us of one that does not hold.
 */
static void
countersign(struct fetch *f)
{
    const struct journal_point *point = journal_reader_point(f->reader);
    const struct buf *record = journal_reader_signed(f->reader);
    const struct grant *g = journal_reader_grant(f->reader);
    const struct sign_key *key;
    struct buf cosign = BUF_INIT;
    struct err e;

    if (point == NULL || point->seq <= f->cosigned_seq || record == NULL || g == NULL ||
        journal_reader_settle(f->reader, &e) != 0 ||
        home_key(f->client->home, &key, &e) != 0) {
        return;
    }
    f->cosigned_seq = point->seq;
    if (!dispute_holds(f->dispute, point->seq, point->setup_s, point->device_s)) {
        return;
    }
    if (f->seen != NULL) {
        f->seen(f->seen_ctx, g->lease, record);
    }
    journal_cosign_make(&cosign, JOURNAL_BY_RENTER, g->lease, point, key);
    fetch_give(f, cosign.data, cosign.len);
    buf_free(&cosign);
}

static void
look(void *ctx)
{
    struct fetch *f = ctx;
    struct conn *c = session_conn(f->session);

    if (f->state == FETCH_RUNNING) {
        if (c != NULL) {
            fetch_refresh(f, c);
        }
        timer_after(f->look, LOOK_NS);
    }
}

/*
 * asked: when the answer was, and then it is the whole journal if it is no full piece.
 * Of one that waited for the end NULL: what is asked long before says less.
 */
static void
look_at_clock(struct fetch *f, size_t n_bytes, const struct usage_moment *asked)
{
    const struct journal_record *last = journal_reader_last(f->reader);

    if (asked != NULL && n_bytes < JOB_USAGE_CHUNK_MAX && last != NULL &&
        journal_reader_waiting_bytes(f->reader) == 0) {
        dispute_look(f->dispute, asked, last);
    }
}

static void
on_answer(struct fetch *f, const struct rec *resp, const struct usage_moment *asked)
{
    size_t had = f->bytes.len;
    bool again = false;
    struct conn *c = session_conn(f->session);
    struct err e;

    if (f->state != FETCH_RUNNING) {
        return;
    }
    if (take_bytes(f, resp, &again, &e) != 0) {
        refuse(f, &e);
        return;
    }
    if (journal_reader_ended(f->reader)) {
        finish(f);
        return;
    }
    if (f->bytes.len >= had) {
        look_at_clock(f, f->bytes.len - had, asked);
    }
    if (f->bytes.len != had) {
        (void)!write_copy(f, false,
                          &e); /* a copy that cannot be kept harms nothing now */
    }
    if (c != NULL) {
        (void)!ask(f, c, !again, again ? &f->refresh : &f->waiting, &e);
    }
    if (!again) {
        countersign(f);
    }
}

static void
on_failure(struct fetch *f, const struct err *why, const char *hint)
{
    if (why->code != ERR_LINK && f->state == FETCH_RUNNING) {
        session_peer_error(why, hint, &f->why);
        f->state = FETCH_FAILED;
    }
}

static void
on_waited(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct fetch *f = ctx;

    f->waiting = NULL;
    if (resp != NULL) {
        on_answer(f, resp, NULL);
    } else {
        on_failure(f, why, hint);
    }
}

static void
on_refreshed(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct fetch *f = ctx;

    const struct usage_moment asked = f->asked;

    f->refresh = NULL;
    if (resp != NULL) {
        on_answer(f, resp, &asked);
    } else if (f->waiting == NULL) {
        on_failure(f, why, hint); /* nothing else asks: a no is the answer */
    }
}

static int
ask(struct fetch *f, struct conn *c, bool wait, struct call **call, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_USAGE);
    int rc;

    rec_add(req, "job", f->job);
    rec_add_int(req, "from", (int64_t)f->bytes.len);
    if (wait) {
        rec_add_int(req, "wait", 1);
    } else {
        usage_now(&f->asked);
    }
    if (!wait && f->n_give > 0) {
        rec_add_bytes(req, "cosign", f->give[0].data, f->give[0].len);
        buf_free(&f->give[0]);
        f->give[0] = f->give[1];
        f->n_give--;
    }
    rc = call_start(call, c, req, -1, wait ? on_waited : on_refreshed, f, e);
    rec_free(req);
    return rc;
}

void
fetch_begin(struct fetch *f, struct conn *c)
{
    struct err e;

    call_cancel(f->waiting);
    call_cancel(f->refresh);
    f->waiting = NULL;
    f->refresh = NULL;
    if (f->state == FETCH_RUNNING) {
        (void)!ask(f, c, true, &f->waiting, &e);
    }
}

/*
 * Two requests in flight would both bring the same bytes: the waiting one is given up
 * and asked again by the answer to this.
 */
void
fetch_refresh(struct fetch *f, struct conn *c)
{
    struct err e;

    if (f->state == FETCH_RUNNING && f->refresh == NULL) {
        call_cancel(f->waiting);
        f->waiting = NULL;
        (void)!ask(f, c, false, &f->refresh, &e);
    }
}

/* ---- life ---- */

int
fetch_new(struct fetch **out, struct client *cl, struct session *s, const char *job,
          struct err *e)
{
    struct fetch *f = xcalloc(1, sizeof *f);
    const struct host *h = session_host(s);
    const struct sign_key *key;

    f->client = cl;
    f->session = s;
    f->state = FETCH_RUNNING;
    (void)snprintf(f->job, sizeof f->job, "%s", job);
    f->host = h->pinned ? h->key : session_info(s)->key;
    if (home_key(cl->home, &key, e) != 0 ||
        home_make(cl->home, "usage", job, &f->copy_path, e) != 0) {
        fetch_free(f);
        return -1;
    }
    sign_key_public(key, &f->renter);
    f->dispute = dispute_open(cl->home, job);
    load_copy(f);
    f->look = timer_new(cl->loop, look, f);
    timer_after(f->look, LOOK_NS);
    *out = f;
    return 0;
}

void
fetch_free(struct fetch *f)
{
    if (f == NULL) {
        return;
    }
    call_cancel(f->waiting);
    call_cancel(f->refresh);
    timer_free(f->look);
    dispute_close(f->dispute);
    for (size_t i = 0; i < f->n_give; i++) {
        buf_free(&f->give[i]);
    }
    journal_reader_free(f->reader);
    receipt_free(f->receipt);
    buf_free(&f->bytes);
    free(f->copy_path);
    free(f);
}

enum fetch_state
fetch_state(const struct fetch *f)
{
    return f->state;
}

void
fetch_unsubmitted(struct fetch *f)
{
    dispute_begin(f->dispute);
}

const struct stopwatch *
fetch_dispute(const struct fetch *f)
{
    return dispute_claim(f->dispute);
}

bool
fetch_cost(const struct fetch *f, int64_t *cost_fen)
{
    const struct journal_record *last = journal_reader_last(f->reader);

    if (last == NULL) {
        return false;
    }
    *cost_fen = last->cost_fen;
    return true;
}

static bool
is_settled(void *ctx)
{
    const struct fetch *f = ctx;

    return f->state != FETCH_RUNNING;
}

int
fetch_wait(struct fetch *f, int64_t timeout_ns, struct receipt **out, struct err *e)
{
    if (!loop_run_until(f->client->loop, is_settled, f, timeout_ns)) {
        return err_set(e, ERR_LINK, _("the receipt of job %s has not come yet"), f->job);
    }
    if (f->state != FETCH_DONE) {
        *e = f->why;
        return -1;
    }
    *out = f->receipt;
    f->receipt = NULL;
    return 0;
}

/* Everything that was there has come: what is asked now is to be told of the rest. */
static bool
is_present(void *ctx)
{
    const struct fetch *f = ctx;

    return f->state != FETCH_RUNNING || (f->refresh == NULL && f->waiting != NULL);
}

int
fetch_wait_present(struct fetch *f, int64_t timeout_ns, struct receipt **out,
                   struct err *e)
{
    (void)loop_run_until(f->client->loop, is_present, f, timeout_ns);
    if (f->state == FETCH_RUNNING) {
        return err_set(
            e, ERR_BUSY,
            _("job %s has not ended: its bill is not made yet (`gpurun ps` says "
              "what it costs so far)"),
            f->job);
    }
    return fetch_wait(f, 0, out, e);
}
