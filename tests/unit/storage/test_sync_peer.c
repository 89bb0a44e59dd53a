/* Both halves of a transfer, each against a peer that does not keep to the protocol. */
#include "tests/unit/storage/tree_util.h"

#include <poll.h>

#include "base/bytes.h"
#include "storage/codec.h"
#include "storage/sync_internal.h"

struct world {
    char *scratch;
    struct store *from;
    struct store *to;
    struct sha256 tree; /* in from: a file of some chunks */
    struct sync_send *s;
    int wakeup[2];
    size_t n; /* ids in the OFFER */
    struct sha256 *ids;
};

static void
wake(void *ctx)
{
    uint64_t one = 1;

    assert_int_equal(write(*(int *)ctx, &one, sizeof one), sizeof one);
}

static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct build_options o = {.policy = BUILD_SHIP};
    struct build_store_sink into = {0};
    struct build_sink sink;
    struct build_report report;
    char *from;
    char *to;
    char *src;
    int fd;

    w->scratch = scratch_dir();
    from = path_join(w->scratch, "from");
    to = path_join(w->scratch, "to");
    src = path_join(w->scratch, "src");
    put_random(src, "big", 900000, 1);
    OK(store_open(&w->from, from, NULL, e));
    OK(store_open(&w->to, to, NULL, e));
    fd = open_dir(src);
    into.store = w->from;
    sink = build_sink_store(&into);
    OK(build_tree(fd, &o, &sink, &report, e));
    OK(store_commit(w->from, e));
    w->tree = report.tree;
    build_report_free(&report);
    (void)close(fd);
    assert_int_equal(pipe2(w->wakeup, O_CLOEXEC), 0);
    free(from);
    free(to);
    free(src);
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    sync_send_free(w->s);
    store_close(w->from);
    store_close(w->to);
    (void)close(w->wakeup[0]);
    (void)close(w->wakeup[1]);
    scratch_free(w->scratch);
    free(w->ids);
    free(w);
    return 0;
}

/* ---- a hostile sender ---- */

static void
frame(struct buf *b, uint8_t type, const void *p, size_t n)
{
    buf_add_u32(b, (uint32_t)n);
    buf_add_u8(b, type);
    buf_add(b, "\0\0", 3);
    buf_add(b, p, n);
}

static void
refused(struct store *store, const struct buf *b, const char *what)
{
    struct sync_recv *r = NULL;
    struct err why = {0};
    size_t len;

    OK(sync_recv_new(&r, store, NULL, e));
    if (sync_recv_input(r, b->data, b->len, &why) == 0) {
        fail_msg("%s was accepted", what);
    }
    assert_int_equal(why.code, ERR_CORRUPT);
    assert_int_equal(sync_recv_state(r, NULL), SYNC_FAILED);
    assert_non_null(sync_recv_output(r, &len)); /* and the sender is told */
    sync_recv_free(r);
}

static void
sync__refuses_a_hostile_sender(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT;
    uint8_t chunk[12 + 32 + 5] = {1, 1, 0, 0, 5, 0, 0, 0, 5};
    const struct {
        const char *what;
        uint8_t type;
        size_t len;
    } malformed[] = {
        {"type 0", 0, 32},
        {"type 10", 10, 32},
        {"an empty offer", 1, 0},
        {"half an id", 1, 33},
        {"a receiver's WANT", 2, 13},
        {"MORE without CHUNK", 4, 5},
        {"a short tree", 5, 31},
        {"a receiver's DONE", 8, 32},
    };
    uint8_t zeros[64] = {0};

    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        buf_reset(&b);
        frame(&b, malformed[i].type, zeros, malformed[i].len);
        refused(w->to, &b, malformed[i].what);
    }
    buf_reset(&b);
    frame(&b, 3, chunk, sizeof chunk); /* five bytes that are not that hash */
    refused(w->to, &b, "a chunk of another name");
    chunk[4] = 4;
    buf_reset(&b);
    frame(&b, 3, chunk, sizeof chunk);
    refused(w->to, &b, "a chunk stored longer than it is");
    chunk[4] = 5;
    chunk[0] = 7;
    buf_reset(&b);
    frame(&b, 3, chunk, sizeof chunk);
    refused(w->to, &b, "a chunk of an unknown kind");
    buf_reset(&b);
    buf_add_u32(&b, (uint32_t)SYNC_FRAME_MAX_BYTES);
    buf_add(&b, "\1\0\0\0", 4);
    refused(w->to, &b, "a frame above the limit");
    buf_free(&b);
}

/* What a frame may say at most is taken: more of it is waited for, or it is obeyed. */
static void
sync__takes_frames_up_to_the_limit(void **state)
{
    struct world *w = *state;
    uint8_t *ids = xcalloc(SYNC_IDS_PER_FRAME + 1, SHA256_LEN);
    struct sync_stats stats;
    struct sync_recv *r = NULL;
    struct buf b = BUF_INIT;
    size_t len;

    OK(sync_recv_new(&r, w->to, NULL, e));
    frame(&b, SYNC_OFFER, ids, SYNC_IDS_PER_FRAME * SHA256_LEN);
    OK(sync_recv_input(r, b.data, b.len, e));
    assert_non_null(sync_recv_output(r, &len));
    assert_int_equal(len,
                     SYNC_HEADER_BYTES + SYNC_WANT_HEADER_BYTES + SYNC_IDS_PER_FRAME / 8);
    sync_recv_stats(r, &stats);
    assert_int_equal(stats.n_offered, SYNC_IDS_PER_FRAME);
    assert_int_equal(stats.n_wanted, SYNC_IDS_PER_FRAME);
    sync_recv_sent(r, len);
    buf_reset(&b);
    buf_add_u32(&b, (uint32_t)(SYNC_FRAME_MAX_BYTES - SYNC_HEADER_BYTES));
    buf_add(&b, "\1\0\0\0", 4);
    OK(sync_recv_input(r, b.data, b.len, e)); /* there may be more to come */
    assert_int_equal(sync_recv_state(r, NULL), SYNC_RUNNING);
    sync_recv_free(r);
    buf_reset(&b);
    frame(&b, SYNC_OFFER, ids, (SYNC_IDS_PER_FRAME + 1) * SHA256_LEN);
    refused(w->to, &b, "more ids than a frame holds");
    buf_free(&b);
    free(ids);
    sync_recv_free(NULL);
}

/* A chunk of so many bytes at once, and whether it is taken. */
static void
chunk_frame(struct buf *b, const void *data, size_t raw_len, size_t stored_len)
{
    struct sha256 id;

    sha256_of(data, raw_len, &id);
    buf_add_u32(b, (uint32_t)(SYNC_CHUNK_HEADER_BYTES + stored_len));
    buf_add(b, "\3\0\0\0\1\1\0\0", 8);
    buf_add_u32(b, (uint32_t)raw_len);
    buf_add_u32(b, (uint32_t)stored_len);
    buf_add(b, id.b, SHA256_LEN);
    buf_add(b, data, stored_len);
}

/* What has come is committed when it is enough, and when the transfer ends. */
static void
sync__commits_after_so_many_bytes(void **state)
{
    struct world *w = *state;
    struct sync_recv_options o = {.commit_bytes = 200};
    struct sync_recv *r = NULL;
    struct buf b = BUF_INIT;
    uint8_t data[100];
    struct store_stats st;

    OK(sync_recv_new(&r, w->to, &o, e));
    for (uint64_t i = 0; i < 3; i++) {
        buf_reset(&b);
        fill_random(data, sizeof data, i);
        chunk_frame(&b, data, sizeof data, sizeof data);
        OK(sync_recv_input(r, b.data, b.len, e));
        OK(sync_recv_input(r, b.data, b.len, e)); /* the same again counts as nothing */
        OK(store_stats(w->to, &st, e));
        assert_int_equal(st.n_chunks, i == 0 ? 0 : 2);
    }
    sync_recv_free(r);
    OK(store_stats(w->to, &st, e));
    assert_int_equal(st.n_chunks, 3);
    buf_free(&b);
}

static void
sync__refuses_chunks_that_are_not_as_they_say(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT;
    uint8_t data[200] = {1};

    chunk_frame(&b, data, 100, 101);
    refused(w->to, &b, "stored bytes that are more");
    buf_reset(&b);
    chunk_frame(&b, data, 100, 100);
    buf_add(&b, "xxx", 3);
    b.data[0] += 3; /* the frame's length */
    refused(w->to, &b, "more in the frame than the chunk has");
    buf_reset(&b);
    chunk_frame(&b, data, 100, 0);
    refused(w->to, &b, "no stored bytes");
    buf_reset(&b);
    chunk_frame(&b, data, 0, 0);
    refused(w->to, &b, "no bytes");
    buf_reset(&b);
    chunk_frame(&b, data, 100, 100);
    b.data[0] -= 10; /* a piece of it, and then something else */
    b.len -= 10;
    frame(&b, SYNC_TREE, data, SHA256_LEN);
    refused(w->to, &b, "a tree in the middle of a chunk");
    buf_free(&b);
}

/* Whichever bit is another on the way: it is the sender's fault or of no weight. */
static void
sync__blames_the_sender_for_any_bit(void **state)
{
    struct world *w = *state;
    struct codec *c = codec_new();
    struct buf b = BUF_INIT;
    uint8_t text[229] = {'x'};
    uint8_t noise[100];
    struct sha256 ids[2];
    struct err why = {0};
    const void *stored;
    size_t len;
    unsigned n_refused = 0;

    fill_random(noise, sizeof noise, 3);
    sha256_of(text, sizeof text, &ids[0]);
    sha256_of(noise, sizeof noise, &ids[1]);
    frame(&b, SYNC_OFFER, ids, sizeof ids);
    assert_int_equal(codec_encode(c, 1, text, sizeof text, &stored, &len),
                     STORE_CODEC_ZSTD);
    buf_add_u32(&b, (uint32_t)(SYNC_CHUNK_HEADER_BYTES + len));
    buf_add(&b, "\3\0\0\0\1\2\0\0", 8);
    buf_add_u32(&b, sizeof text);
    buf_add_u32(&b, (uint32_t)len);
    buf_add(&b, ids[0].b, SHA256_LEN);
    buf_add(&b, stored, len);
    chunk_frame(&b, noise, sizeof noise, sizeof noise);
    frame(&b, SYNC_TREE, noise, SHA256_LEN); /* which is nowhere: it is asked for */
    for (size_t i = 0; i < 8 * b.len; i++) {
        struct sync_recv *r = NULL;

        b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        OK(sync_recv_new(&r, w->to, NULL, e));
        if (sync_recv_input(r, b.data, b.len, &why) != 0) {
            assert_int_equal(why.code, ERR_CORRUPT);
            n_refused++;
        } else {
            assert_int_equal(sync_recv_state(r, NULL), SYNC_RUNNING);
        }
        sync_recv_free(r);
        b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    assert_true(n_refused > 8 * (sizeof noise + 2 * SHA256_LEN));
    buf_free(&b);
    codec_free(c);
}

/* ---- a hostile receiver ---- */

/* The sender's next frame: waits until it has one. All of it goes out. */
static const uint8_t *
next_output(struct world *w, size_t *len)
{
    const uint8_t *p;

    while ((p = sync_send_output(w->s, len)) == NULL) {
        struct pollfd ready = {.fd = w->wakeup[0], .events = POLLIN};
        uint64_t drained[64];

        assert_int_equal(poll(&ready, 1, 30000), 1);
        assert_true(read(w->wakeup[0], drained, sizeof drained) > 0);
    }
    sync_send_sent(w->s, *len);
    return p;
}

/* A sender that has offered some chunks: w->ids. */
static void
offer(struct world *w)
{
    struct sync_send_options o = {.wake = wake, .wake_ctx = &w->wakeup[1]};
    const uint8_t *p;
    size_t len;

    sync_send_free(w->s);
    free(w->ids);
    OK(sync_send_store(&w->s, w->from, &w->tree, &o, e));
    sync_send_begin(w->s, NULL);
    p = next_output(w, &len);
    assert_int_equal(p[4], SYNC_OFFER);
    w->n = get_u32(p) / SHA256_LEN;
    assert_true(w->n > 0);
    w->ids = xmemdup(p + SYNC_HEADER_BYTES, w->n * SHA256_LEN);
}

static void
want_frame(struct buf *b, uint64_t first, uint32_t n, const void *bits, size_t len)
{
    buf_reset(b);
    buf_add_u32(b, (uint32_t)(SYNC_WANT_HEADER_BYTES + len));
    buf_add_u8(b, SYNC_WANT);
    buf_add(b, "\0\0", 3);
    buf_add_u64(b, first);
    buf_add_u32(b, n);
    buf_add(b, bits, len);
}

/* A sender that needs nothing more but the answer to its TREE. */
static void
ask_for_the_end(struct world *w)
{
    uint8_t none[512] = {0};
    struct buf b = BUF_INIT;
    uint64_t first = 0;
    const uint8_t *p;
    size_t len;

    offer(w);
    for (;;) {
        want_frame(&b, first, (uint32_t)w->n, none, (w->n + 7) / 8);
        OK(sync_send_input(w->s, b.data, b.len, e));
        first += w->n;
        p = next_output(w, &len);
        if (p[4] == SYNC_TREE) {
            break;
        }
        assert_int_equal(p[4], SYNC_OFFER); /* it had not read all of its tree before */
        w->n = get_u32(p) / SHA256_LEN;
        free(w->ids);
        w->ids = xmemdup(p + SYNC_HEADER_BYTES, w->n * SHA256_LEN);
    }
    assert_memory_equal(p + SYNC_HEADER_BYTES, w->tree.b, SHA256_LEN);
    buf_free(&b);
}

static void
send_refuses(struct world *w, const struct buf *b, const char *what)
{
    struct err why = {0};
    struct err again = {0};

    if (sync_send_input(w->s, b->data, b->len, &why) != -1) {
        fail_msg("%s was taken", what);
    }
    assert_int_equal(why.code, ERR_CORRUPT);
    assert_int_equal(sync_send_state(w->s, &again), SYNC_FAILED);
    assert_string_equal(again.msg, why.msg);
}

static void
sync__refuses_wants_that_answer_nothing(void **state)
{
    struct world *w = *state;
    uint8_t bits[600] = {0};
    struct buf b = BUF_INIT;

    offer(w);
    want_frame(&b, 1, 1, bits, 1);
    send_refuses(w, &b, "an answer to the second id first");
    offer(w);
    want_frame(&b, UINT64_MAX, 1, bits, 1);
    send_refuses(w, &b, "an answer to the id before the first");
    offer(w);
    want_frame(&b, 0, 0, bits, 0);
    send_refuses(w, &b, "an answer to nothing");
    offer(w);
    want_frame(&b, 0, (uint32_t)w->n + 1, bits, (w->n + 8) / 8);
    send_refuses(w, &b, "an answer to more than was offered");
    offer(w);
    want_frame(&b, 0, (uint32_t)w->n, bits, (w->n + 7) / 8 + 1);
    send_refuses(w, &b, "an answer with something behind it");
    offer(w);
    want_frame(&b, 0, 1, bits, 0);
    send_refuses(w, &b, "an answer without its bits");
    offer(w);
    want_frame(&b, 0, (uint32_t)w->n, bits, (w->n + 7) / 8);
    OK(sync_send_input(w->s, b.data, b.len, e));
    send_refuses(w, &b, "the same answer again");
    buf_free(&b);
}

/* A MISSING that names so many ids; last: the first of its eight bytes. */
static void
missing_frame(struct buf *b, uint64_t last, const struct sha256 *ids, size_t len)
{
    buf_reset(b);
    buf_add_u32(b, (uint32_t)(8 + len));
    buf_add_u8(b, SYNC_MISSING);
    buf_add(b, "\0\0", 3);
    buf_add_u64(b, last);
    buf_add(b, ids, len);
}

static void
sync__refuses_missing_chunks_that_cannot_be(void **state)
{
    struct world *w = *state;
    struct sha256 foreign = {{1}};
    struct buf b = BUF_INIT;

    offer(w);
    missing_frame(&b, 1, w->ids, SHA256_LEN);
    send_refuses(w, &b, "missing before the end was asked for");
    ask_for_the_end(w);
    missing_frame(&b, 2, w->ids, SHA256_LEN);
    send_refuses(w, &b, "more than the last");
    ask_for_the_end(w);
    missing_frame(&b, 1, w->ids, 0);
    send_refuses(w, &b, "nothing missing");
    ask_for_the_end(w);
    missing_frame(&b, 1, w->ids, SHA256_LEN - 1);
    send_refuses(w, &b, "a part of an id");
    ask_for_the_end(w);
    missing_frame(&b, 1, &foreign, SHA256_LEN);
    send_refuses(w, &b, "a chunk that the tree does not hold");
    buf_free(&b);
}

static void
sync__sends_what_is_missing_so_often_and_no_more(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT;
    struct sync_stats stats;
    const uint8_t *p;
    size_t len;

    ask_for_the_end(w);
    missing_frame(&b, 0, w->ids, SHA256_LEN);
    OK(sync_send_input(w->s, b.data, b.len, e));
    for (int i = 0; i < 16; i++) {
        bool tree = false;

        missing_frame(&b, 1, w->ids, SHA256_LEN);
        OK(sync_send_input(w->s, b.data, b.len, e));
        while (!tree) { /* its chunk, in pieces, and the question again */
            p = next_output(w, &len);
            for (size_t at = 0; at < len; at += SYNC_HEADER_BYTES + get_u32(p + at)) {
                tree = tree || p[at + 4] == SYNC_TREE;
            }
        }
    }
    sync_send_stats(w->s, &stats);
    assert_true(stats.n_sent >= 16);
    missing_frame(&b, 1, w->ids, SHA256_LEN);
    send_refuses(w, &b, "the same for ever");
    buf_free(&b);
}

static void
sync__is_done_with_its_own_tree_alone(void **state)
{
    struct world *w = *state;
    struct sha256 other = w->tree;
    struct buf b = BUF_INIT;
    struct err why = {0};

    other.b[31] ^= 1;
    offer(w);
    frame(&b, SYNC_DONE_FRAME, w->tree.b, SHA256_LEN);
    send_refuses(w, &b, "done before the end was asked for");
    buf_reset(&b);
    offer(w);
    frame(&b, SYNC_UNKNOWN, w->tree.b, SHA256_LEN);
    send_refuses(w, &b, "unknown before the end was asked for");
    buf_reset(&b);
    ask_for_the_end(w);
    frame(&b, SYNC_DONE_FRAME, other.b, SHA256_LEN);
    send_refuses(w, &b, "done with another tree");
    buf_reset(&b);
    ask_for_the_end(w);
    frame(&b, SYNC_DONE_FRAME, w->tree.b, SHA256_LEN - 1);
    send_refuses(w, &b, "done with a part of an id");
    for (uint8_t type = 1; type <= 10; type++) {
        if (type == SYNC_WANT || (type >= SYNC_MISSING && type <= SYNC_FAIL)) {
            continue;
        }
        buf_reset(&b);
        ask_for_the_end(w);
        frame(&b, type, w->tree.b, SHA256_LEN);
        send_refuses(w, &b, "a frame of a sender");
    }
    buf_reset(&b);
    ask_for_the_end(w);
    frame(&b, SYNC_DONE_FRAME, w->tree.b, SHA256_LEN);
    OK(sync_send_input(w->s, b.data, b.len, e));
    assert_int_equal(sync_send_state(w->s, &why), SYNC_DONE);
    sync_send_free(NULL);
    buf_free(&b);
}

static void
sync__passes_a_refusal_on_in_the_peers_words(void **state)
{
    struct world *w = *state;
    char text[SYNC_FAIL_MAX_BYTES + 2];
    const char *name = err_code_name(ERR_SPACE);
    struct buf b = BUF_INIT;
    struct err why = {0};

    memset(text, 'x', sizeof text);
    memcpy(text, name, strlen(name));
    text[strlen(name)] = '\n';
    offer(w);
    frame(&b, SYNC_FAIL, text, SYNC_FAIL_MAX_BYTES);
    assert_int_equal(sync_send_input(w->s, b.data, b.len, &why), -1);
    assert_int_equal(why.code, ERR_SPACE);
    assert_non_null(strstr(why.msg, "the host: xxx"));
    buf_reset(&b);
    offer(w);
    frame(&b, SYNC_FAIL, text, SYNC_FAIL_MAX_BYTES + 1);
    send_refuses(w, &b, "a refusal that is too long");
    buf_reset(&b);
    offer(w);
    frame(&b, SYNC_FAIL, name, strlen(name));
    send_refuses(w, &b, "a refusal without words");
    buf_reset(&b);
    offer(w);
    text[strlen(name) + 1] = '\0';
    frame(&b, SYNC_FAIL, text, strlen(name) + 2);
    send_refuses(w, &b, "a refusal with a NUL");
    buf_free(&b);
}

/* What one half says of a failure, the other can read, however long it is. */
static void
fail_frame__is_as_long_as_may_be(void **state)
{
    struct err why = {.code = ERR_SPACE};
    struct buf b = BUF_INIT;
    struct world *w = *state;
    struct err got = {0};

    memset(why.msg, 'm', sizeof why.msg - 1);
    sync_put_fail(&b, &why, false);
    assert_true(b.len <= SYNC_HEADER_BYTES + SYNC_FAIL_MAX_BYTES);
    assert_int_equal(get_u32(b.data), b.len - SYNC_HEADER_BYTES);
    offer(w);
    assert_int_equal(sync_send_input(w->s, b.data, b.len, &got), -1);
    assert_int_equal(got.code, ERR_SPACE);
    assert_string_equal(got.form, "");
    assert_false(got.helps);
    buf_free(&b);
}

/* The same with its form, which the other half keeps. */
static void
fail_frame__brings_the_form_to_who_takes_it(void **state)
{
    struct err why = {.code = ERR_SPACE};
    struct buf b = BUF_INIT;
    struct world *w = *state;
    struct err got = {0};

    err_set(&why, ERR_SPACE, "no room for %d", 7);
    memset(why.form + strlen(why.form), 'f', sizeof why.form - 1 - strlen(why.form));
    why.form[sizeof why.form - 1] = '\0';
    memset(why.msg, 'm', sizeof why.msg - 1);
    sync_put_fail(&b, &why, true);
    assert_int_equal(get_u32(b.data), b.len - SYNC_HEADER_BYTES);
    assert_true(b.len <= SYNC_HEADER_BYTES + SYNC_FAIL_MAX_BYTES);
    buf_reset(&b);
    err_set(&why, ERR_SPACE, "no room for %d", 7);
    why.helps = true;
    sync_put_fail(&b, &why, true);
    offer(w);
    assert_int_equal(sync_send_input(w->s, b.data, b.len, &got), -1);
    assert_int_equal(got.code, ERR_SPACE);
    assert_string_equal(got.msg, "the host: no room for 7");
    assert_string_equal(got.form, "the host\x1eno room for %d\x1f"
                                  "7");
    assert_true(got.helps);
    buf_free(&b);
}

/* And that it says what helps, also where it has no form. */
static void
fail_frame__says_whether_it_helps(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT;
    struct err got = {0};
    struct err why;

    err_set(&why, ERR_SPACE, "no room");
    why.form[0] = '\0';
    why.helps = true;
    sync_put_fail(&b, &why, true);
    assert_int_equal(get_u32(b.data), b.len - SYNC_HEADER_BYTES);
    offer(w);
    assert_int_equal(sync_send_input(w->s, b.data, b.len, &got), -1);
    assert_string_equal(got.msg, "the host: no room");
    assert_true(got.helps);
    buf_free(&b);
}

/* ---- what the sender keeps its books in ---- */

static void
table__finds_what_was_added(void **state)
{
    enum { N = 3000 };
    struct sync_table t = {0};
    struct sha256 id = {{0}};
    bool added;

    (void)state;
    assert_null(sync_table_find(&t, &id));
    for (uint32_t i = 0; i < N; i++) {
        memset(&id, 0, sizeof id);
        put_u32(id.b, i / 3); /* three in a row begin alike */
        put_u32(id.b + 28, i);
        assert_null(sync_table_find(&t, &id));
        assert_int_equal(sync_table_add(&t, &id, &added), i);
        assert_true(added);
        assert_int_equal(sync_table_add(&t, &id, &added), i);
        assert_false(added);
    }
    for (uint32_t i = 0; i < N; i++) {
        memset(&id, 0, sizeof id);
        put_u32(id.b, i / 3);
        put_u32(id.b + 28, i);
        assert_ptr_equal(sync_table_find(&t, &id), &t.v[i]);
        assert_int_equal(t.v[i].state, SYNC_CHUNK_FRESH);
    }
    assert_int_equal(t.n, N);
    sync_table_free(&t);
}

static void
numbers__come_out_as_they_went_in(void **state)
{
    struct sync_numbers q = {0};
    size_t in = 0;
    size_t out = 0;
    size_t got;

    (void)state;
    assert_false(sync_numbers_take(&q, &got));
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < 64; i++) {
            sync_numbers_add(&q, in++);
        }
        for (size_t i = 0; i < 62 + round % 3; i++) {
            assert_true(sync_numbers_take(&q, &got));
            assert_int_equal(got, out++);
        }
    }
    while (sync_numbers_take(&q, &got)) {
        assert_int_equal(got, out++);
    }
    assert_int_equal(in, out);
    assert_true(q.cap <= 256); /* room at the front is used again */
    sync_numbers_free(&q);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(sync__refuses_a_hostile_sender),
        T(sync__takes_frames_up_to_the_limit),
        T(sync__commits_after_so_many_bytes),
        T(sync__refuses_chunks_that_are_not_as_they_say),
        T(sync__blames_the_sender_for_any_bit),
        T(sync__refuses_wants_that_answer_nothing),
        T(sync__refuses_missing_chunks_that_cannot_be),
        T(sync__sends_what_is_missing_so_often_and_no_more),
        T(sync__is_done_with_its_own_tree_alone),
        T(sync__passes_a_refusal_on_in_the_peers_words),
        T(fail_frame__is_as_long_as_may_be),
        T(fail_frame__brings_the_form_to_who_takes_it),
        T(fail_frame__says_whether_it_helps),
        cmocka_unit_test(table__finds_what_was_added),
        cmocka_unit_test(numbers__come_out_as_they_went_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
