#include "runner/book/teller.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/book/desk.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/loop/conn.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"

#define FINISH_NS   ((int64_t)2000000000)
#define RECEIPT_MAX ((int64_t)1 << 30) /* bytes of a receipt on its way in */

/* A receipt on its way in: a file that is nobody's until it is whole. */
struct incoming {
    int fd; /* -1: none */
    char *path;
    char lease[JOB_ID_LEN + 1];
    int64_t len;
};

struct teller {
    struct loop *loop;
    struct book *book;
    struct conn *conn;
    struct mux *mux;         /* NULL once it is over */
    const char *forced;      /* the account, or */
    const char *forced_host; /* the host that this login is of; NULL: any */
    bool admitted;
    bool is_account; /* a renter; else a host */
    struct account account;
    struct incoming in;
    bool failed;
};

static void
refuse(struct teller *t, uint64_t id, const struct err *why)
{
    if (t->mux != NULL) {
        mux_respond_error(t->mux, id, why, NULL);
    }
}

static void
answer(struct teller *t, uint64_t id, struct rec *r)
{
    if (t->mux != NULL) {
        mux_respond(t->mux, id, r);
    }
    rec_free(r);
}

static int
need_account(const struct teller *t, struct err *e)
{
    return t->is_account ? 0
                         : err_set(e, ERR_DENIED, "this is for renters with an account");
}

static int
need_bytes(const struct rec *req, const char *key, const char **out, size_t *len,
           struct err *e)
{
    *out = rec_get_bytes(req, key, len);
    return *out != NULL ? 0 : err_set(e, ERR_INVALID, "the request lacks '%s'", key);
}

/* ---- the verbs ---- */

struct hold_ctx {
    struct rec *out;
    const char *account;
};

static int
tell_hold(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    struct hold_ctx *c = ctx;

    (void)e;
    if (strcmp(h->wallet, c->account) == 0) {
        rec_addf(c->out, "hold", "%s %s %" PRId64, lease,
                 h->state == LEDGER_HOLD_KEEPING ? "keeping" : "run", h->held_fen);
    }
    return 0;
}

static int
tell_voucher(void *ctx, const struct ledger_voucher *v, struct err *e)
{
    struct hold_ctx *c = ctx;

    (void)e;
    if (v->free_fen + v->promised_fen > 0) {
        rec_addf(c->out, "voucher", "%s %" PRId64 " %" PRId64 " %" PRId64 " %s", v->id,
                 v->free_fen, v->promised_fen, v->min_spend_fen,
                 v->expires[0] != '\0' ? v->expires : "-");
    }
    return 0;
}

static int
do_funds(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct hold_ctx c = {NULL, NULL};
    struct ledger_funds f;
    int64_t reach_fen = 0;
    size_t n = 0;

    (void)req;
    if (need_account(t, e) != 0 || desk_tick(t->book, t->account.id, &n, e) != 0) {
        return -1;
    }
    ledger_use(t->book->ledger, t->account.id);
    if (ledger_funds(t->book->ledger, &f, e) != 0 ||
        ledger_reach(t->book->ledger, clock_wall_ns(), &reach_fen, e) != 0) {
        return -1;
    }
    c.out = msg_answer_new(VERB_BOOK_FUNDS);
    c.account = t->account.id;
    rec_add(c.out, "account", t->account.id);
    if (t->account.name[0] != '\0') {
        rec_add(c.out, "name", t->account.name);
    }
    rec_add_int(c.out, "balance", f.balance_fen);
    rec_add_int(c.out, "held", f.held_fen);
    rec_add_int(c.out, "free", f.free_fen);
    rec_add_int(c.out, "reach", reach_fen);
    if (ledger_each_hold(t->book->ledger, tell_hold, &c, e) != 0 ||
        ledger_each_voucher(t->book->ledger, clock_wall_ns(), tell_voucher, &c, e) != 0) {
        rec_free(c.out);
        return -1;
    }
    *out = c.out;
    return 0;
}

static int
do_grant(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct buf granted = BUF_INIT;
    const char *draft;
    const char *offer;
    size_t draft_len;
    size_t offer_len;
    struct account now;

    /* As it is at this moment: it may have been closed since the login. */
    if (need_account(t, e) != 0 || need_bytes(req, "draft", &draft, &draft_len, e) != 0 ||
        need_bytes(req, "offer", &offer, &offer_len, e) != 0 ||
        account_load(t->book, t->account.id, &now, e) != 0) {
        return -1;
    }
    account_free(&t->account);
    t->account = now;
    if (desk_grant(t->book, &t->account, draft, draft_len, offer, offer_len, &granted,
                   e) != 0) {
        return -1;
    }
    *out = msg_answer_new(VERB_BOOK_GRANT);
    rec_add_bytes(*out, "grant", granted.data, granted.len);
    buf_free(&granted);
    return 0;
}

static int
do_decline(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    const char *text;
    size_t len;

    if (need_bytes(req, "declined", &text, &len, e) != 0 ||
        desk_decline(t->book, text, len, e) != 0) {
        return -1;
    }
    *out = msg_answer_new(VERB_BOOK_DECLINE);
    return 0;
}

static void
drop_incoming(struct incoming *in)
{
    if (in->path != NULL) {
        (void)unlink(in->path);
    }
    (void)fd_close(&in->fd);
    free(in->path);
    *in = (struct incoming){.fd = -1};
}

static int
begin_incoming(struct teller *t, const char *lease, struct err *e)
{
    char name[JOB_ID_LEN + 1];
    struct incoming *in = &t->in;

    drop_incoming(in);
    random_id("r", name);
    if (book_path(t->book, "incoming", name, &in->path, e) != 0) {
        return -1;
    }
    in->fd = open(in->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (in->fd == -1) {
        return err_set_sys(e, errno, "cannot take a receipt in");
    }
    (void)snprintf(in->lease, sizeof in->lease, "%s", lease);
    return 0;
}

static int
add_incoming(struct teller *t, const struct rec *req, bool *whole, struct err *e)
{
    struct incoming *in = &t->in;
    const char *lease;
    const char *data;
    size_t len;
    int64_t from;
    int64_t end;

    if (rec_need_str(req, "lease", &lease, e) != 0 || id_check(ID_LEASE, lease, e) != 0 ||
        rec_need_int(req, "from", 0, RECEIPT_MAX, &from, e) != 0 ||
        rec_opt_int(req, "end", 0, 1, 0, &end, e) != 0 ||
        need_bytes(req, "data", &data, &len, e) != 0) {
        return -1;
    }
    if (from == 0 && begin_incoming(t, lease, e) != 0) {
        return -1;
    }
    if (in->fd == -1 || strcmp(in->lease, lease) != 0 || from != in->len) {
        return err_set(e, ERR_INVALID, "a piece of a receipt out of its turn");
    }
    if (len > BOOK_CHUNK_MAX || (int64_t)len > RECEIPT_MAX - in->len) {
        return err_set(e, ERR_RANGE, "a receipt that is too long");
    }
    if (fd_write_all(in->fd, data, len) != 0) {
        return err_set_sys(e, errno, "cannot take a receipt in");
    }
    in->len += (int64_t)len;
    *whole = end == 1;
    return 0;
}

static struct rec *
closed_answer(const char *verb, const struct desk_closed *c)
{
    struct rec *r = msg_answer_new(verb);

    rec_add(r, "lease", c->lease);
    rec_add_int(r, "charge", c->charge_fen);
    rec_add_int(r, "keep", c->keep_fen);
    rec_add_int(r, "repeated", c->repeated ? 1 : 0);
    return r;
}

static int
do_receipt(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct desk_closed c = {.charge_fen = 0};
    bool whole = false;
    int rc = -1;

    if (add_incoming(t, req, &whole, e) != 0) {
        drop_incoming(&t->in);
        return -1;
    }
    if (!whole) {
        *out = msg_answer_new(VERB_BOOK_RECEIPT);
        return 0;
    }
    if (fdatasync(t->in.fd) != 0) {
        err_set_sys(e, errno, "cannot take a receipt in");
    } else if (desk_receipt(t->book, t->in.path, &c, e) == 0) {
        *out = closed_answer(VERB_BOOK_RECEIPT, &c);
        rc = 0;
    }
    drop_incoming(&t->in);
    return rc;
}

static int
do_keeping(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct desk_closed c = {.charge_fen = 0};
    const char *text;
    size_t len;

    if (need_bytes(req, "keeping", &text, &len, e) != 0 ||
        desk_keeping(t->book, text, len, &c, e) != 0) {
        return -1;
    }
    *out = closed_answer(VERB_BOOK_KEEPING, &c);
    return 0;
}

static int
do_reserved(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    const char *text;
    size_t len;

    if (need_bytes(req, "reservation", &text, &len, e) != 0 ||
        desk_reserved(t->book, text, len, e) != 0) {
        return -1;
    }
    *out = msg_answer_new(VERB_BOOK_RESERVED);
    return 0;
}

static int
do_ack(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct buf cosign = BUF_INIT;
    const char *lease;
    const char *text;
    size_t len;

    if (rec_need_str(req, "lease", &lease, e) != 0 ||
        need_bytes(req, "checkpoint", &text, &len, e) != 0 ||
        desk_ack(t->book, lease, text, len, &cosign, e) != 0) {
        return -1;
    }
    *out = msg_answer_new(VERB_BOOK_ACK);
    rec_add_bytes(*out, "cosign", cosign.data, cosign.len);
    buf_free(&cosign);
    return 0;
}

struct log_ctx {
    struct rec *out;
    int64_t after;
    size_t n;
};

static int
log_entry(void *ctx, const struct ledger_entry *en, struct err *e)
{
    struct log_ctx *c = ctx;

    (void)e;
    if (en->n > c->after && c->n < BOOK_LOG_MAX) {
        rec_addf(c->out, "entry",
                 "%" PRId64 " %s %s %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
                 en->n, en->id, en->kind, en->lease[0] != '\0' ? en->lease : "-",
                 en->wall_ns, en->cash_fen, en->held_fen, en->voucher_fen);
        c->n++;
    }
    return 0;
}

static int
do_log(struct teller *t, const struct rec *req, struct rec **out, struct err *e)
{
    struct log_ctx c = {.out = NULL};
    int64_t from;
    int64_t to;

    if (need_account(t, e) != 0 ||
        rec_opt_int(req, "from_wall_ns", INT64_MIN, INT64_MAX, INT64_MIN, &from, e) !=
            0 ||
        rec_opt_int(req, "to_wall_ns", INT64_MIN, INT64_MAX, INT64_MAX, &to, e) != 0 ||
        rec_opt_int(req, "after", 0, INT64_MAX, 0, &c.after, e) != 0) {
        return -1;
    }
    c.out = msg_answer_new(VERB_BOOK_LOG);
    ledger_use(t->book->ledger, t->account.id);
    if (ledger_each(t->book->ledger, from, to, log_entry, &c, e) != 0) {
        rec_free(c.out);
        return -1;
    }
    *out = c.out;
    return 0;
}

static const struct verb {
    const char *name;
    int (*run)(struct teller *t, const struct rec *req, struct rec **out, struct err *e);
} verbs[] = {
    {VERB_BOOK_FUNDS, do_funds},
    {VERB_BOOK_GRANT, do_grant},
    {VERB_BOOK_DECLINE, do_decline},
    {VERB_BOOK_RECEIPT, do_receipt},
    {VERB_BOOK_KEEPING, do_keeping},
    {VERB_BOOK_ACK, do_ack},
    {VERB_BOOK_LOG, do_log},
    {VERB_BOOK_RESERVED, do_reserved},
    {NULL, NULL},
};

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct teller *t = ctx;
    char name[MSG_VERB_MAX + 1];
    const struct verb *v = verbs;
    struct rec *r = NULL;
    struct err e;
    int version;

    (void)m;
    if (msg_verb(req, name, &version, &e) != 0) {
        refuse(t, id, &e);
        return;
    }
    while (v->name != NULL && strcmp(v->name, name) != 0) {
        v++;
    }
    if (v->name == NULL || version != 1) {
        err_set(&e, ERR_VERSION, "gpurun-book %s does not know '%s.v%d'", GPURUN_VERSION,
                name, version);
        refuse(t, id, &e);
    } else if (!t->admitted) {
        err_set(&e, ERR_DENIED, "nobody has been let in on this connection");
        refuse(t, id, &e);
    } else if (v->run(t, req, &r, &e) != 0) {
        refuse(t, id, &e);
    } else {
        answer(t, id, r);
    }
}

/* ---- who is there ---- */

static int
admit_forced(struct teller *t, const struct hello *peer, struct err *e)
{
    if (account_load(t->book, t->forced, &t->account, e) != 0) {
        return -1;
    }
    if (t->account.revoked) {
        return err_set(e, ERR_DENIED, "this account is closed");
    }
    return account_pin(t->book, &t->account, &peer->key, e);
}

static int
admit_by_key(struct teller *t, const struct hello *peer, struct err *e)
{
    struct account *a = &t->account;
    struct err why;

    if (account_by_key(t->book, &peer->key, a, &why) == 0) {
        return a->revoked ? err_set(e, ERR_DENIED, "this account is closed") : 0;
    }
    if (why.code != ERR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    sign_public_id(&peer->key, a->id);
    a->made_wall_ns = clock_wall_ns();
    return account_pin(t->book, a, &peer->key, e);
}

static int
admit_host(struct teller *t, const struct hello *peer, struct err *e)
{
    struct book_host h;
    char id[SIGN_ID_LEN + 1];

    sign_public_id(&peer->key, id);
    if (t->forced_host != NULL && strcmp(id, t->forced_host) != 0) {
        return err_set(e, ERR_DENIED, "this login is host %s's, not that of %s",
                       t->forced_host, id);
    }
    return book_host_load(t->book, id, &h, e);
}

/* A host brings receipts; a renter has money here. */
static int
admit(struct teller *t, const struct hello *peer, struct err *e)
{
    if (!peer->has_key) {
        return err_set(e, ERR_DENIED, "the client shows no key");
    }
    if (peer->role == HELLO_ROLE_SERVE) {
        return admit_host(t, peer, e);
    }
    if (t->forced_host != NULL) {
        return err_set(e, ERR_DENIED, "this login is a host's");
    }
    if (t->forced != NULL ? admit_forced(t, peer, e) != 0
                          : admit_by_key(t, peer, e) != 0) {
        return -1;
    }
    t->is_account = true;
    return 0;
}

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct teller *t = ctx;
    struct err e;

    t->mux = m;
    if (admit(t, peer, &e) != 0) {
        conn_finish(t->conn, &e, NULL, FINISH_NS);
        return;
    }
    t->admitted = true;
}

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct teller *t = ctx;

    (void)c;
    t->mux = NULL;
    t->failed = why != NULL;
    loop_stop(t->loop);
}

static int
connect_peer(struct teller *t, struct err *e)
{
    static const struct mux_events events = {.on_hello = on_hello,
                                             .on_request = on_request};
    struct hello h;
    struct conn_options o = {.mux = {.hello = &h, .events = &events, .ctx = t},
                             .on_closed = on_closed,
                             .ctx = t};
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int rc;

    /* Nothing else may speak on the wire, not even by mistake. */
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)close(null);
    hello_init(&h, HELLO_ROLE_BOOK, GPURUN_VERSION);
    h.has_key = true;
    h.key = t->book->pub;
    h.extra = rec_new(HELLO_TYPE);
    rec_add_int(h.extra, "fee_bps", t->book->fee_bps);
    rc = conn_new(&t->conn, t->loop, in, out, &o, e);
    hello_clear(&h);
    if (rc == 0) {
        t->mux = conn_mux(t->conn);
    }
    return rc;
}

int
teller_main(const char *account_id, const char *host_id)
{
    struct teller t = {.forced = account_id, .forced_host = host_id, .in = {.fd = -1}};
    struct err e;
    int status = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    if (book_open(&t.book, &e) != 0 || loop_new(&t.loop, &e) != 0 ||
        connect_peer(&t, &e) != 0) {
        (void)fprintf(stderr, "gpurun-book: %s\n", e.msg);
        goto out;
    }
    loop_run(t.loop);
    status = t.failed ? 1 : 0;

out:
    conn_free(t.conn);
    drop_incoming(&t.in);
    account_free(&t.account);
    loop_free(t.loop);
    book_close(t.book);
    return status;
}
