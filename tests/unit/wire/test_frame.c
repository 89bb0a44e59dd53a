#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "runner/wire/frame.h"

/* One row per kind of frame and boundary: may it be? */
static const struct {
    struct frame f;
    bool ok;
} cases[] = {
    {{.type = FRAME_NONE}, false},
    {{.type = FRAME_HELLO, .len = 1}, true},
    {{.type = FRAME_HELLO, .len = 0}, false},
    {{.type = FRAME_HELLO, .len = FRAME_PAYLOAD_MAX}, true},
    {{.type = FRAME_HELLO, .len = FRAME_PAYLOAD_MAX + 1}, false},
    {{.type = FRAME_HELLO, .len = 1, .stream = 1}, false},
    {{.type = FRAME_HELLO, .len = 1, .seq = 1}, false},
    {{.type = FRAME_HELLO, .len = 1, .flags = 1}, false},
    {{.type = FRAME_GOAWAY}, true},
    {{.type = FRAME_GOAWAY, .len = 16384}, true},
    {{.type = FRAME_GOAWAY, .len = 16385}, false},
    {{.type = FRAME_PING, .seq = UINT64_MAX}, true},
    {{.type = FRAME_PING, .len = 1}, false},
    {{.type = FRAME_PING, .stream = 1}, false},
    {{.type = FRAME_PONG}, true},
    {{.type = FRAME_REQ, .seq = 1, .len = 1, .flags = FRAME_F_MORE}, true},
    {{.type = FRAME_REQ, .seq = 0, .len = 1}, false},
    {{.type = FRAME_REQ, .seq = 1, .len = 0}, false},
    {{.type = FRAME_REQ, .seq = 1, .len = 1, .flags = FRAME_F_ORDERED}, false},
    {{.type = FRAME_RESP, .seq = UINT64_MAX, .len = 1}, true},
    {{.type = FRAME_ERR, .seq = 1, .len = 1}, true},
    {{.type = FRAME_ERR, .seq = 1, .len = 1, .flags = FRAME_F_MORE}, false},
    {{.type = FRAME_ERR, .seq = 1, .len = 16385}, false},
    {{.type = FRAME_EVENT, .seq = 1, .len = 1}, true},
    {{.type = FRAME_EVENT, .seq = 0, .len = 1}, false},
    {{.type = 9, .seq = 1, .len = 1}, false},
    {{.type = 15, .stream = 1, .len = 1}, false},
    {{.type = FRAME_OPEN, .stream = 1, .len = 1}, true},
    {{.type = FRAME_OPEN, .stream = 0, .len = 1}, false},
    {{.type = FRAME_OPEN, .stream = 1, .len = 1, .seq = 1}, false},
    {{.type = FRAME_ACCEPT, .stream = UINT32_MAX, .len = 1}, true},
    {{.type = FRAME_RESET, .stream = 1, .len = 1}, true},
    {{.type = FRAME_RESET, .stream = 1, .len = 0}, false},
    {{.type = FRAME_DATA, .stream = 1, .len = 1}, true},
    {{.type = FRAME_DATA, .stream = 1, .len = 0}, false},
    {{.type = FRAME_DATA, .stream = 1, .len = FRAME_PAYLOAD_MAX}, true},
    {{.type = FRAME_DATA, .stream = 1, .len = FRAME_PAYLOAD_MAX + 1}, false},
    {{.type = FRAME_DATA, .stream = 1, .len = 1, .seq = INT64_MAX}, true},
    {{.type = FRAME_DATA, .stream = 1, .len = 1, .seq = (uint64_t)INT64_MAX + 1}, false},
    {{.type = FRAME_DATA, .stream = 0, .len = 1}, false},
    {{.type = FRAME_GAP, .stream = 1, .len = 8}, true},
    {{.type = FRAME_GAP, .stream = 1, .len = 7}, false},
    {{.type = FRAME_GAP, .stream = 1, .len = 9}, false},
    {{.type = FRAME_EOF, .stream = 1}, true},
    {{.type = FRAME_EOF, .stream = 1, .len = 1}, false},
    {{.type = FRAME_ACK, .stream = 1, .len = 16, .flags = FRAME_F_ENDED}, true},
    {{.type = FRAME_ACK, .stream = 1, .len = 15}, false},
    {{.type = FRAME_ACK, .stream = 1, .len = 17}, false},
    {{.type = FRAME_ACK, .stream = 1, .len = 16, .flags = FRAME_F_MORE}, false},
    {{.type = FRAME_NOTE, .stream = 1, .len = 9, .flags = FRAME_F_ORDERED}, true},
    {{.type = FRAME_NOTE, .stream = 1, .len = 8}, false},
    {{.type = FRAME_NOTE, .stream = 1, .len = 9 + 4096}, true},
    {{.type = FRAME_NOTE, .stream = 1, .len = 9 + 4097}, false},
    {{.type = FRAME_NOTE, .stream = 1, .len = 9, .flags = FRAME_F_ENDED}, false},
    {{.type = 24, .stream = 1, .len = 1}, false},
    {{.type = 255, .stream = 1, .len = 1}, false},
};

#define N_CASES (sizeof cases / sizeof cases[0])

static const uint8_t zeros[FRAME_PAYLOAD_MAX];

/* A header as a peer might write it, sane or not. */
static void
raw_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame *f)
{
    memset(out, 0, FRAME_HEADER_BYTES);
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(f->len >> (8 * i));
        out[8 + i] = (uint8_t)(f->stream >> (8 * i));
    }
    out[4] = f->type;
    out[5] = f->flags;
    for (int i = 0; i < 8; i++) {
        out[12 + i] = (uint8_t)(f->seq >> (8 * i));
    }
}

static void
frame_check__knows_what_may_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct err e = {0};
        int rc = frame_check(&cases[i].f, &e);

        if (rc != (cases[i].ok ? 0 : -1)) {
            fail_msg("case %zu (%s)", i, frame_type_name(cases[i].f.type));
        }
        if (rc == -1) {
            assert_int_equal(e.code, ERR_CORRUPT);
        }
    }
}

static void
decoder__takes_and_refuses_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct frame_decoder *d = frame_decoder_new();
        uint8_t header[FRAME_HEADER_BYTES];
        struct frame got;
        bool have = false;
        struct err e = {0};

        raw_header(header, &cases[i].f);
        frame_decoder_feed(d, header, sizeof header);
        if (cases[i].ok) {
            frame_decoder_feed(d, zeros, cases[i].f.len);
            assert_int_equal(frame_decoder_next(d, &got, &have, &e), 0);
            assert_true(have);
            assert_int_equal(got.type, cases[i].f.type);
            assert_int_equal(got.flags, cases[i].f.flags);
            assert_int_equal(got.stream, cases[i].f.stream);
            assert_true(got.seq == cases[i].f.seq);
            assert_int_equal(got.len, cases[i].f.len);
            assert_int_equal(frame_decoder_pending(d), 0);
        } else {
            assert_int_equal(frame_decoder_next(d, &got, &have, &e), -1);
            assert_int_equal(e.code, ERR_CORRUPT);
            /* For good: sane bytes after it change nothing. */
            raw_header(header, &(struct frame){.type = FRAME_PING});
            frame_decoder_feed(d, header, sizeof header);
            assert_int_equal(frame_decoder_next(d, &got, &have, &e), -1);
        }
        frame_decoder_free(d);
    }
}

static void
decoder__refuses_reserved_bits(void **state)
{
    (void)state;
    for (int bit = 0; bit < 16; bit++) {
        struct frame_decoder *d = frame_decoder_new();
        uint8_t header[FRAME_HEADER_BYTES];
        struct frame got;
        bool have;
        struct err e = {0};

        raw_header(header, &(struct frame){.type = FRAME_PING});
        header[6 + bit / 8] = (uint8_t)(1 << (bit % 8));
        frame_decoder_feed(d, header, sizeof header);
        assert_int_equal(frame_decoder_next(d, &got, &have, &e), -1);
        assert_int_equal(e.code, ERR_CORRUPT);
        frame_decoder_free(d);
    }
}

/* A number of frames of odd sizes, their payloads telling which they are. */
static void
make_stream(struct buf *out, size_t *n_frames)
{
    static const size_t sizes[] = {1,    2,      19,     20,    21,    4075,
                                   4076, 4077,   65515,  65516, 65517, 131072,
                                   1,    262143, 262144, 1,     8192,  0};

    *n_frames = 0;
    for (size_t i = 0; sizes[i] != 0; i++) {
        uint8_t *p = xmalloc(sizes[i]);
        struct frame f = {.type = FRAME_DATA, .stream = 5, .seq = i, .len = sizes[i]};

        memset(p, (int)i + 1, sizes[i]);
        f.payload = p;
        frame_encode(out, &f);
        free(p);
        (*n_frames)++;
    }
}

static void
check_frame(const struct frame *f, size_t i)
{
    assert_int_equal(f->type, FRAME_DATA);
    assert_int_equal(f->stream, 5);
    assert_int_equal(f->seq, i);
    assert_int_equal(f->payload[0], i + 1);
    assert_int_equal(f->payload[f->len - 1], i + 1);
}

static size_t
take_all(struct frame_decoder *d, size_t next)
{
    struct frame f;
    bool got = true;
    struct err e;

    while (got) {
        assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
        if (got) {
            check_frame(&f, next++);
        }
    }
    return next;
}

static void
decoder__finds_frames_however_they_arrive(void **state)
{
    static const size_t pieces[] = {1, 7, 20, 21, 4096, 65536, 1000000};
    struct buf b = BUF_INIT;
    size_t n_frames;

    (void)state;
    make_stream(&b, &n_frames);
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        for (int by_room = 0; by_room < 2; by_room++) {
            struct frame_decoder *d = frame_decoder_new();
            size_t next = 0;

            for (size_t at = 0; at < b.len;) {
                size_t n = pieces[p] < b.len - at ? pieces[p] : b.len - at;

                if (by_room == 1) {
                    size_t room;
                    uint8_t *to = frame_decoder_room(d, &room);

                    assert_true(room >= FRAME_HEADER_BYTES);
                    n = n < room ? n : room;
                    memcpy(to, b.data + at, n);
                    frame_decoder_filled(d, n);
                } else {
                    frame_decoder_feed(d, b.data + at, n);
                }
                at += n;
                next = take_all(d, next);
                if (at % 3 == 0) {
                    frame_decoder_trim(d);
                }
            }
            assert_int_equal(next, n_frames);
            assert_int_equal(frame_decoder_pending(d), 0);
            frame_decoder_free(d);
        }
    }
    buf_free(&b);
}

static void
decoder__reads_more_at_a_time_when_busy_and_gives_it_back(void **state)
{
    struct frame_decoder *d = frame_decoder_new();
    struct buf b = BUF_INIT;
    size_t room;
    size_t first;
    size_t most = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        struct frame f = {
            .type = FRAME_DATA, .stream = 5, .seq = 0, .payload = zeros, .len = 65516};

        frame_encode(&b, &f);
    }
    (void)frame_decoder_room(d, &first);
    assert_true(first <= 4096);
    for (size_t at = 0; at < b.len;) {
        uint8_t *to = frame_decoder_room(d, &room);
        size_t n = room < b.len - at ? room : b.len - at;
        bool got = true;

        most = room > most ? room : most;
        memcpy(to, b.data + at, n);
        frame_decoder_filled(d, n);
        at += n;
        while (got) {
            struct frame f;
            struct err e;

            assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
        }
    }
    assert_true(most >= 262144);
    frame_decoder_trim(d);
    (void)frame_decoder_room(d, &room);
    assert_true(room <= 4096);
    frame_decoder_free(d);
    buf_free(&b);
}

/* Without anybody calling trim: small frames for a while, and a small buffer is enough.
 */
static void
decoder__shrinks_when_little_comes(void **state)
{
    struct frame_decoder *d = frame_decoder_new();
    struct frame f = {.type = FRAME_DATA, .stream = 5, .payload = zeros, .len = 200000};
    struct buf b = BUF_INIT;
    size_t room;
    bool got;
    struct err e;

    (void)state;
    frame_encode(&b, &f);
    frame_decoder_feed(d, b.data, b.len);
    assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
    (void)frame_decoder_room(d, &room);
    assert_true(room >= 200000);
    f.len = 10;
    buf_reset(&b);
    frame_encode(&b, &f);
    for (int i = 0; i < 1000; i++) {
        uint8_t *to = frame_decoder_room(d, &room);

        memcpy(to, b.data, b.len);
        frame_decoder_filled(d, b.len);
        assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
        assert_true(got);
        assert_int_equal(f.len, 10);
    }
    assert_true(room <= 4096);
    frame_decoder_free(d);
    buf_free(&b);
}

static void
decoder__tells_what_is_pending(void **state)
{
    struct frame_decoder *d = frame_decoder_new();
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame f;
    bool got;
    struct err e;

    (void)state;
    raw_header(header, &(struct frame){.type = FRAME_DATA, .stream = 1, .len = 3});
    assert_int_equal(frame_decoder_pending(d), 0);
    frame_decoder_feed(d, header, 10);
    assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
    assert_false(got);
    assert_int_equal(frame_decoder_pending(d), 10);
    frame_decoder_feed(d, header + 10, 10);
    frame_decoder_feed(d, "ab", 2);
    assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
    assert_false(got);
    assert_int_equal(frame_decoder_pending(d), 22);
    frame_decoder_trim(d); /* keeps what is pending */
    frame_decoder_feed(d, "c", 1);
    assert_int_equal(frame_decoder_next(d, &f, &got, &e), 0);
    assert_true(got);
    assert_memory_equal(f.payload, "abc", 3);
    frame_decoder_free(d);
}

static void
frame_type_name__covers_all(void **state)
{
    (void)state;
    assert_string_equal(frame_type_name(FRAME_DATA), "DATA");
    assert_string_equal(frame_type_name(FRAME_NOTE), "NOTE");
    assert_string_equal(frame_type_name(0), "?");
    assert_string_equal(frame_type_name(9), "?");
    assert_string_equal(frame_type_name(24), "?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_check__knows_what_may_be),
        cmocka_unit_test(decoder__takes_and_refuses_the_same),
        cmocka_unit_test(decoder__refuses_reserved_bits),
        cmocka_unit_test(decoder__finds_frames_however_they_arrive),
        cmocka_unit_test(decoder__reads_more_at_a_time_when_busy_and_gives_it_back),
        cmocka_unit_test(decoder__shrinks_when_little_comes),
        cmocka_unit_test(decoder__tells_what_is_pending),
        cmocka_unit_test(frame_type_name__covers_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
