/* A channel at its bounds: windows, buffers, the far end of offsets, memory. */
#include "base/bytes.h"

#include "runner/wire/mux_internal.h"

#include "hostile.h"

static struct channel *
channel_of(struct channel_options o)
{
    if (o.cls == CHANNEL_CLASS_NONE) {
        o.cls = CHANNEL_INTERACTIVE;
    }
    return channel_new(&o);
}

static void
window__is_held_between_its_bounds(void **state)
{
    static const struct {
        enum channel_class cls;
        size_t asked;
        size_t got;
    } cases[] = {
        {CHANNEL_INTERACTIVE, 0, 262144},
        {CHANNEL_BULK, 0, 4194304},
        {CHANNEL_BULK, 1, 4096},
        {CHANNEL_BULK, 4095, 4096},
        {CHANNEL_BULK, 4097, 4097},
        {CHANNEL_BULK, ((size_t)64 << 20) - 1, ((size_t)64 << 20) - 1},
        {CHANNEL_BULK, (size_t)64 << 20, (size_t)64 << 20},
        {CHANNEL_BULK, ((size_t)64 << 20) + 1, (size_t)64 << 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct channel *c = channel_of((struct channel_options){
            .cls = cases[i].cls, .window_bytes = cases[i].asked});

        assert_int_equal(c->rx.window, cases[i].got);
        assert_int_equal(c->rx.limit, cases[i].got);
        assert_int_equal(c->tx.max_bytes, cases[i].got);
        if (cases[i].asked > 0) {
            channel_set_window(c, 10000);
            channel_set_window(c, cases[i].asked);
            assert_int_equal(c->rx.window, cases[i].got);
        }
        channel_free(c);
    }
}

static void
replay__is_bounded_exactly(void **state)
{
    static uint8_t data[20000];
    struct channel *c = channel_of((struct channel_options){.replay_max_bytes = 10000});
    size_t n;

    (void)state;
    assert_int_equal(channel_send_free(c), 10000);
    assert_int_equal(channel_send(c, data, 9999), 9999);
    assert_int_equal(channel_send_free(c), 1);
    (void)channel_send_room(c, &n);
    assert_int_equal(n, 1);
    channel_send_filled(c, 1);
    assert_null(channel_send_room(c, &n));
    assert_int_equal(n, 0);
    assert_int_equal(channel_send(c, data, 1), 0);
    assert_int_equal(channel_send_end(c), 10000);
    channel_free(c);
    c = channel_of((struct channel_options){.replay_max_bytes = SIZE_MAX});
    assert_int_equal(c->tx.max_bytes, CHANNEL_REPLAY_MAX);
    channel_free(c);
}

/* An attached channel in a mux whose peer is us, with credit as given. */
static struct channel *
attached(struct mux *m, struct channel_options o, uint64_t limit)
{
    struct channel *c = channel_of(o);
    struct offer offer = {.cls = 1, .limit = limit, .recv_next = o.send_start};
    struct err e;

    offer.send_start = o.recv_start;
    assert_int_equal(send_open(m, 1, offer, &e), 0);
    if (mux_accept(m, 1, c, NULL, &e) == -1) {
        fail_msg("%s", e.msg);
    }
    return c;
}

static int
send_ack(struct mux *m, uint64_t offset, uint64_t limit, uint64_t notes, uint8_t flags)
{
    uint8_t payload[16];
    struct err e;

    put_u64(payload, limit);
    put_u64(payload + 8, notes);
    return send_frame(
        m, (struct frame){.type = FRAME_ACK, .stream = 1, .seq = offset, .flags = flags},
        payload, sizeof payload, &e);
}

/* Write out all there is; how many frames of this type, and their payload bytes. */
static int
flush(struct mux *m, uint8_t type, size_t *bytes)
{
    struct frame_decoder *d = frame_decoder_new();
    struct iovec iov[MUX_IOV_MAX];
    size_t skip = m->out.opening.len > 0 ? strlen(PREAMBLE_READY) : 0;
    int found = 0;
    int n;

    *bytes = 0;
    while ((n = mux_output(m, iov, MUX_IOV_MAX, SECOND)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            size_t drop = skip < iov[i].iov_len ? skip : iov[i].iov_len;

            frame_decoder_feed(d, (uint8_t *)iov[i].iov_base + drop,
                               iov[i].iov_len - drop);
            skip -= drop;
            total += iov[i].iov_len;
        }
        mux_written(m, total);
    }
    for (bool got = true; got;) {
        struct frame f;
        struct err e;

        assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
        if (got && f.type == type) {
            found++;
            *bytes += f.len;
        }
    }
    frame_decoder_free(d);
    return found;
}

static void
bytes__go_out_exactly_to_the_credit(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(m, (struct channel_options){0}, 1000);
    static uint8_t data[5000];
    size_t bytes;

    (void)state;
    assert_int_equal(channel_send(c, data, 5000), 5000);
    (void)flush(m, FRAME_DATA, &bytes);
    assert_int_equal(bytes, 1000);
    assert_int_equal(send_ack(m, 1000, 1001, 0, 0), 0);
    (void)flush(m, FRAME_DATA, &bytes);
    assert_int_equal(bytes, 1);
    assert_int_equal(send_ack(m, 1001, 500, 0, 0), 0);  /* credit never shrinks */
    assert_int_equal(send_ack(m, 1000, 1002, 0, 0), 0); /* an older one is no harm */
    (void)flush(m, FRAME_DATA, &bytes);
    assert_int_equal(bytes, 1);
    assert_int_equal(channel_send_acked(c), 1001);
    assert_int_equal(send_ack(m, 1003, 9000, 0, 0), -1); /* not written yet */
    channel_free(c);
    mux_free(m);
}

static void
small_writes__that_pile_up_make_full_frames(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(
        m,
        (struct channel_options){.cls = CHANNEL_INTERACTIVE, .replay_max_bytes = 2000000},
        0);
    size_t bytes;
    int n_blocks = 0;
    size_t first = 0;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        assert_int_equal(channel_send(c, "x", 1), 1);
    }
    for (const struct channel_block *b = c->tx.head; b != NULL; b = b->next) {
        first = first == 0 ? b->cap : first;
        n_blocks++;
    }
    assert_true(first <= 4096); /* a line costs a page */
    assert_true(n_blocks <= 1000000 / 65516 + 6);
    assert_int_equal(send_ack(m, 0, 1000000, 0, 0), 0);
    assert_true(flush(m, FRAME_DATA, &bytes) <= 2 * n_blocks + 2);
    assert_int_equal(bytes, 1000000);
    /* All acknowledged: nothing is held. */
    assert_int_equal(send_ack(m, 1000000, 1000000, 0, 0), 0);
    assert_null(c->tx.head);
    assert_null(c->tx.spare);
    channel_free(c);
    mux_free(m);
}

static void
small_writes__one_by_one_keep_small_blocks(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(m, (struct channel_options){0}, 1000000);
    size_t bytes;

    (void)state;
    for (uint64_t i = 1; i <= 10000; i++) {
        assert_int_equal(channel_send(c, "x", 1), 1);
        assert_int_equal(flush(m, FRAME_DATA, &bytes), 1);
        assert_int_equal(bytes, 1);
        assert_true(c->tx.tail->cap <= 4096);
        if (i % 100 == 0) {
            assert_int_equal(send_ack(m, i - 1, 1000000, 0, 0), 0);
        }
    }
    channel_free(c);
    mux_free(m);
}

static int n_writable;

static void
on_writable(void *ctx, struct channel *c)
{
    (void)ctx;
    (void)c;
    n_writable++;
}

static void
writable__is_told_once_an_eighth_is_free(void **state)
{
    static const struct channel_events ev = {.on_writable = on_writable};
    static uint8_t data[9000];
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(
        m, (struct channel_options){.replay_max_bytes = 8000, .events = &ev}, 10000);
    size_t bytes;

    (void)state;
    n_writable = 0;
    assert_int_equal(channel_send(c, data, 8000), 8000);
    (void)flush(m, FRAME_DATA, &bytes);
    assert_int_equal(send_ack(m, 2000, 100000, 0, 0), 0);
    assert_int_equal(n_writable, 0); /* nobody was turned away */
    assert_int_equal(channel_send(c, data, 9000), 2000);
    assert_int_equal(send_ack(m, 2999, 100000, 0, 0), 0);
    assert_int_equal(n_writable, 0);
    assert_int_equal(send_ack(m, 3000, 100000, 0, 0), 0);
    assert_int_equal(n_writable, 1);
    assert_int_equal(send_ack(m, 4000, 100000, 0, 0), 0);
    assert_int_equal(n_writable, 1);
    channel_free(c);
    mux_free(m);
}

static void
offsets__reach_their_end(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    uint64_t start = CHANNEL_OFFSET_MAX - 10;
    struct channel *c =
        attached(m, (struct channel_options){.recv_start = start, .send_start = start},
                 CHANNEL_OFFSET_MAX);
    struct frame f = {.type = FRAME_DATA, .stream = 1, .seq = start};
    size_t bytes;
    size_t n;
    struct err e;

    (void)state;
    assert_int_equal(c->rx.limit, CHANNEL_OFFSET_MAX);
    assert_int_equal(channel_send(c, "0123456789", 10), 10);
    (void)flush(m, FRAME_DATA, &bytes);
    assert_int_equal(bytes, 10);
    assert_int_equal(send_ack(m, CHANNEL_OFFSET_MAX, CHANNEL_OFFSET_MAX, 0, 0), 0);
    assert_int_equal(send_frame(m, f, "0123456789", 10, &e), 0);
    (void)channel_rx(c, &n);
    assert_int_equal(n, 10);
    channel_rx_take(c, 10);
    assert_int_equal(channel_recv_next(c), CHANNEL_OFFSET_MAX);
    f.seq = CHANNEL_OFFSET_MAX;
    assert_int_equal(send_frame(m, f, "x", 1, &e), -1);
    channel_free(c);
    mux_free(m);
}

static int gap_calls;

static void
on_gap(void *ctx, struct channel *c, uint64_t from, uint64_t to)
{
    (void)ctx;
    assert_int_equal(channel_recv_next(c), to);
    assert_true(from < to);
    gap_calls++;
}

static int
send_gap(struct mux *m, uint64_t from, uint64_t to)
{
    uint8_t payload[8];
    struct err e;

    put_u64(payload, to);
    return send_frame(m, (struct frame){.type = FRAME_GAP, .stream = 1, .seq = from},
                      payload, 8, &e);
}

static void
gaps__wait_for_their_place_and_come_once(void **state)
{
    static const struct channel_events ev = {.on_gap = on_gap};
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c =
        attached(m, (struct channel_options){.recv_gaps = true, .events = &ev}, 0);
    struct frame f = {.type = FRAME_DATA, .stream = 1};
    size_t n;
    struct err e;

    (void)state;
    gap_calls = 0;
    assert_int_equal(send_frame(m, f, "abc", 3, &e), 0);
    assert_int_equal(send_gap(m, 3, 10), 0);
    f.seq = 10;
    assert_int_equal(send_frame(m, f, "de", 2, &e), 0);
    assert_int_equal(gap_calls, 0);
    assert_memory_equal(channel_rx(c, &n), "abc", 3);
    assert_int_equal(n, 3); /* not beyond the gap */
    channel_rx_take(c, 2);
    (void)channel_rx(c, &n);
    assert_int_equal(n, 1);
    channel_rx_take(c, 1);
    assert_int_equal(gap_calls, 1);
    assert_int_equal(channel_recv_next(c), 10);
    assert_memory_equal(channel_rx(c, &n), "de", 2);
    assert_int_equal(n, 2);
    channel_rx_take(c, 2);
    /* Known already, wholly or in part. */
    assert_int_equal(send_gap(m, 3, 10), 0);
    assert_int_equal(send_gap(m, 3, 12), 0);
    assert_int_equal(gap_calls, 1);
    assert_int_equal(send_gap(m, 11, 20), 0);
    assert_int_equal(gap_calls, 2);
    assert_int_equal(channel_recv_next(c), 20);
    /* Behind the end there is nothing to be missing. */
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_EOF, .stream = 1, .seq = 20},
                                NULL, 0, &e),
                     0);
    assert_int_equal(send_gap(m, 19, 20), 0);
    assert_int_equal(send_gap(m, 20, 21), -1);
    channel_free(c);
    mux_free(m);
}

static void
gaps__that_wait_are_limited_with_the_notes(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(m, (struct channel_options){.recv_gaps = true}, 0);
    struct frame f = {.type = FRAME_DATA, .stream = 1};
    struct err e;

    (void)state;
    assert_int_equal(send_frame(m, f, "abc", 3, &e), 0);
    for (uint64_t i = 0; i < CHANNEL_NOTES_MAX; i++) {
        assert_int_equal(send_gap(m, 3 + i, 4 + i), 0);
    }
    assert_int_equal(c->rx.n_notes, CHANNEL_NOTES_MAX);
    channel_rx_take(c, 3);
    assert_int_equal(c->rx.n_notes, 0);
    assert_int_equal(channel_recv_next(c), 3 + CHANNEL_NOTES_MAX);
    channel_free(c);
    mux_free(m);
}

/* ---- notes ---- */

static uint8_t last_note[CHANNEL_NOTE_MAX];
static size_t last_note_len;
static int last_kind;

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    (void)ctx;
    (void)c;
    (void)at;
    last_kind = kind;
    last_note_len = n;
    memcpy(last_note, data, n);
}

static void
notes__say_what_they_should(void **state)
{
    static const struct {
        unsigned cols, rows, want_cols, want_rows;
    } sizes[] = {
        {80, 25, 80, 25},
        {0, 65535, 0, 65535},
        {65536, 65534, 65535, 65534},
        {UINT32_MAX, 65536, 65535, 65535},
    };
    static const struct channel_events ev = {.on_note = on_note};
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = channel_of((struct channel_options){0});
    struct channel *to = attached(m, (struct channel_options){.events = &ev}, 0);
    uint8_t big[CHANNEL_NOTE_MAX];
    struct err e;
    uint64_t number = 0;

    (void)state;
    memset(big, 7, sizeof big);
    assert_int_equal(channel_send_signal(c, 64, &e), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(channel_send_resize(c, sizes[i].cols, sizes[i].rows, &e), 0);
    }
    assert_int_equal(channel_send_note(c, 255, false, big, sizeof big, &e), 0);
    for (size_t i = 0; channel_tx_note_ready(&c->tx); i++) {
        struct frame f;
        uint8_t *owned;

        channel_tx_pull_note(c, &f, &owned);
        f.stream = 1;
        f.seq = number++;
        assert_int_equal(send_frame(m, f, owned, f.len, &e), 0);
        free(owned);
        if (i == 0) {
            assert_int_equal(last_kind, CHANNEL_NOTE_SIGNAL);
            assert_int_equal(last_note_len, 1);
            assert_int_equal(last_note[0], 64);
        } else if (i <= sizeof sizes / sizeof sizes[0]) {
            assert_int_equal(last_kind, CHANNEL_NOTE_RESIZE);
            assert_int_equal(last_note_len, 4);
            assert_int_equal(get_u16(last_note), sizes[i - 1].want_cols);
            assert_int_equal(get_u16(last_note + 2), sizes[i - 1].want_rows);
        } else {
            assert_int_equal(last_kind, 255);
            assert_int_equal(last_note_len, CHANNEL_NOTE_MAX);
            assert_memory_equal(last_note, big, sizeof big);
        }
    }
    assert_int_equal(number, 6);
    channel_free(c);
    channel_free(to);
    mux_free(m);
}

static void
notes__are_forgotten_when_acknowledged(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(m, (struct channel_options){0}, 0);
    size_t bytes;
    struct err e = {0};

    (void)state;
    for (int i = 0; i < CHANNEL_NOTES_MAX; i++) {
        assert_int_equal(channel_send_signal(c, 1, &e), 0);
    }
    assert_int_equal(channel_send_signal(c, 1, &e), -1);
    assert_string_equal(e.msg, "256 notes wait to be acknowledged already");
    assert_int_equal(flush(m, FRAME_NOTE, &bytes), CHANNEL_NOTES_MAX);
    assert_int_equal(send_ack(m, 0, 0, 255, 0), 0);
    assert_int_equal(c->tx.note_acked, 255);
    assert_int_equal(channel_send_signal(c, 1, &e), 0);
    assert_int_equal(flush(m, FRAME_NOTE, &bytes), 1);
    assert_int_equal(send_ack(m, 0, 0, 257, 0), 0);
    assert_null(c->tx.notes);
    assert_int_equal(send_ack(m, 0, 0, 100, 0), 0); /* an older one is no harm */
    assert_int_equal(send_ack(m, 0, 0, 258, 0), -1);
    channel_free(c);
    mux_free(m);
}

/* ---- acknowledging ---- */

static void
ack__goes_out_when_a_quarter_of_the_window_was_taken(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = attached(m, (struct channel_options){.window_bytes = 8000}, 0);
    struct frame f = {.type = FRAME_DATA, .stream = 1};
    static uint8_t data[8000];
    size_t bytes;
    struct err e;

    (void)state;
    (void)flush(m, FRAME_ACK, &bytes);
    assert_int_equal(send_frame(m, f, data, 8000, &e), 0);
    channel_rx_take(c, 1999);
    assert_int_equal(flush(m, FRAME_ACK, &bytes), 0);
    assert_true(c->ack_soon);
    channel_rx_take(c, 1);
    assert_int_equal(flush(m, FRAME_ACK, &bytes), 1);
    assert_false(c->ack_soon);
    assert_int_equal(c->rx.limit, 10000);
    channel_rx_take(c, 0);
    assert_int_equal(flush(m, FRAME_ACK, &bytes), 0);
    channel_set_window(c, 9000);
    assert_int_equal(flush(m, FRAME_ACK, &bytes), 1);
    assert_int_equal(c->rx.limit, 11000);
    channel_free(c);
    mux_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window__is_held_between_its_bounds),
        cmocka_unit_test(replay__is_bounded_exactly),
        cmocka_unit_test(bytes__go_out_exactly_to_the_credit),
        cmocka_unit_test(small_writes__that_pile_up_make_full_frames),
        cmocka_unit_test(small_writes__one_by_one_keep_small_blocks),
        cmocka_unit_test(writable__is_told_once_an_eighth_is_free),
        cmocka_unit_test(offsets__reach_their_end),
        cmocka_unit_test(gaps__wait_for_their_place_and_come_once),
        cmocka_unit_test(gaps__that_wait_are_limited_with_the_notes),
        cmocka_unit_test(notes__say_what_they_should),
        cmocka_unit_test(notes__are_forgotten_when_acknowledged),
        cmocka_unit_test(ack__goes_out_when_a_quarter_of_the_window_was_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
