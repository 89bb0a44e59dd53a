/*
 * Two honest end points and a connection that is cut, moved and starved as the input
 * says. Whatever happens in between: every byte arrives once and in place, every note
 * once and in order, ends only at the end, and nobody accuses the other.
 */
#include <string.h>

#include "base/bytes.h"
#include "runner/wire/mux.h"
#include "tests/fuzz/fuzz.h"

struct end {
    struct channel *c;
    unsigned salt; /* of what it sends; the other has salt ^ 1 */
    uint64_t given;
    bool gave_eof;
    unsigned notes_given;
    uint64_t got;
    unsigned notes_got;
    bool got_eof;
    uint8_t appetite; /* how much it takes at once; 0: all */
};

struct world {
    struct end a;
    struct end b;
    struct mux *ma;
    struct mux *mb;
    int64_t now_ns;
};

static uint8_t
byte_at(uint64_t offset, unsigned salt)
{
    return (uint8_t)((offset * 2654435761u + salt * 97u) >> 5);
}

static void
check_bytes(struct end *x, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        must(data[i] == byte_at(x->got + i, x->salt ^ 1u));
    }
    x->got += n;
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct end *x = ctx;
    size_t take = x->appetite == 0 || n < x->appetite ? n : x->appetite;

    must(!x->got_eof && channel_recv_next(c) == x->got);
    check_bytes(x, data, take);
    return take;
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct end *x = ctx;

    must(!x->got_eof && channel_recv_next(c) == x->got);
    x->got_eof = true;
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    struct end *x = ctx;

    (void)c;
    must(kind == CHANNEL_NOTE_USER && n == 2 && data[0] == (uint8_t)x->notes_got);
    must(data[1] == 0 || at == x->got);
    x->notes_got++;
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)ctx;
    (void)c;
    (void)fprintf(stderr, "reset: %s\n", why->msg);
    must(false);
}

static const struct channel_events channel_events = {
    .on_data = on_data, .on_eof = on_eof, .on_note = on_note, .on_reset = on_reset};

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct world *w = ctx;
    struct err e;

    must(mux_accept(m, offer->stream, w->b.c, NULL, &e) == 0);
}

static const struct mux_events mux_events = {.on_open = on_open};

static void
disconnect(struct world *w)
{
    mux_free(w->ma);
    mux_free(w->mb);
    w->ma = w->mb = NULL;
}

static void
reconnect(struct world *w)
{
    struct hello ha;
    struct hello hb;
    struct mux_options oa = {.initiator = true, .hello = &ha, .ctx = w};
    struct mux_options ob = {.hello = &hb, .events = &mux_events, .ctx = w};
    struct rec *what = rec_new("gpurun.open.test.v1");
    struct err e;

    disconnect(w);
    hello_init(&ha, HELLO_ROLE_CLIENT, "1");
    hello_init(&hb, HELLO_ROLE_SERVE, "1");
    w->ma = mux_new(&oa, w->now_ns);
    w->mb = mux_new(&ob, w->now_ns);
    if (mux_open(w->ma, w->a.c, what, &e) == -1) {
        must(e.code == ERR_INVALID); /* done: nothing to open */
    }
    rec_free(what);
}

/* Move at most max bytes from one side to the other; how many went. */
static size_t
move(struct world *w, struct mux *from, struct mux *to, size_t max)
{
    struct iovec iov[MUX_IOV_MAX];
    int n_iov = mux_output(from, iov, MUX_IOV_MAX, w->now_ns);
    size_t n = 0;
    struct err e;

    for (int i = 0; i < n_iov && n < max; i++) {
        size_t take = iov[i].iov_len < max - n ? iov[i].iov_len : max - n;

        if (mux_feed(to, iov[i].iov_base, take, w->now_ns, &e) == -1) {
            (void)fprintf(stderr, "%s\n", e.msg);
            must(false);
        }
        n += take;
    }
    mux_written(from, n);
    return n;
}

static void
send_some(struct end *x, size_t n)
{
    uint8_t data[4096];

    n = n > sizeof data ? sizeof data : n;
    for (size_t i = 0; i < n; i++) {
        data[i] = byte_at(x->given + i, x->salt);
    }
    if (!x->gave_eof) {
        x->given += channel_send(x->c, data, n);
    }
}

static void
take_some(struct end *x, size_t max)
{
    size_t n;
    const uint8_t *data = channel_rx(x->c, &n);

    n = n < max ? n : max;
    if (n > 0) {
        check_bytes(x, data, n);
        channel_rx_take(x->c, n);
    }
}

static void
send_note(struct end *x, bool ordered)
{
    uint8_t note[2] = {(uint8_t)x->notes_given, ordered ? 1 : 0};
    struct err e;

    if (channel_send_note(x->c, CHANNEL_NOTE_USER, ordered, note, 2, &e) == 0) {
        x->notes_given++;
    } else {
        must(e.code == ERR_BUSY || e.code == ERR_INVALID);
    }
}

static void
pass_time(struct world *w, int64_t ns)
{
    struct err e;

    w->now_ns += ns;
    if (w->ma != NULL &&
        (mux_tick(w->ma, w->now_ns, &e) == -1 || mux_tick(w->mb, w->now_ns, &e) == -1)) {
        must(e.code == ERR_LINK); /* nothing was moved for half a minute */
        disconnect(w);
    }
}

static void
step(struct world *w, uint8_t op, uint8_t arg)
{
    struct end *x = (op & 1) != 0 ? &w->a : &w->b;

    switch ((op >> 1) % 10) {
    case 0:
        send_some(x, arg);
        break;
    case 1:
        send_some(x, (size_t)arg * 16);
        break;
    case 2:
        take_some(x, (size_t)arg * 8 + 1);
        break;
    case 3:
        send_note(x, (arg & 1) != 0);
        break;
    case 4:
        x->appetite = arg;
        break;
    case 5:
        reconnect(w);
        break;
    case 6:
        disconnect(w);
        break;
    case 7:
        pass_time(w, (int64_t)arg * 1000000);
        break;
    case 8:
        if (arg > 200) {
            channel_send_eof(x->c);
            x->gave_eof = true;
        }
        break;
    default:
        if (w->ma != NULL) {
            (void)((op & 1) != 0 ? move(w, w->ma, w->mb, arg)
                                 : move(w, w->mb, w->ma, arg));
        }
        break;
    }
}

/* Left alone, it all gets through. */
static void
finish(struct world *w)
{
    channel_send_eof(w->a.c);
    channel_send_eof(w->b.c);
    w->a.appetite = w->b.appetite = 0;
    reconnect(w);
    for (int i = 0; i < 2000 && !(w->a.got_eof && w->b.got_eof); i++) {
        while (move(w, w->ma, w->mb, SIZE_MAX) + move(w, w->mb, w->ma, SIZE_MAX) > 0) {
        }
        take_some(&w->a, SIZE_MAX);
        take_some(&w->b, SIZE_MAX);
        pass_time(w, MUX_ACK_DELAY_NS);
    }
    must(w->a.got_eof && w->b.got_eof);
    must(w->a.got == w->b.given && w->b.got == w->a.given);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.a = {.salt = 4}, .b = {.salt = 5}, .now_ns = 1000000000};
    struct channel_options o = {.cls = CHANNEL_INTERACTIVE,
                                .window_bytes = 4096,
                                .replay_max_bytes = 10000,
                                .events = &channel_events};

    if (size > 20000) {
        return 0;
    }
    o.ctx = &w.a;
    w.a.c = channel_new(&o);
    o.ctx = &w.b;
    w.b.c = channel_new(&o);
    for (size_t i = 0; i + 1 < size; i += 2) {
        step(&w, data[i], data[i + 1]);
    }
    finish(&w);
    disconnect(&w);
    channel_free(w.a.c);
    channel_free(w.b.c);
    return 0;
}
