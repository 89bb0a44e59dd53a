#ifndef TESTS_UNIT_METER_FORGE_H
#define TESTS_UNIT_METER_FORGE_H

#include "base/bytes.h"
#include "meter/journal_internal.h"
#include "tests/unit/unit.h"

/*
 * A forger's workshop: takes a journal apart, lets a test change its records, and writes
 * it again with right frames, numbers and chain, signed with the key it has.
 */
typedef void (*forge_fn)(struct journal_entry *x, size_t i, void *arg);

static inline size_t
forge_frame_len(const uint8_t *at)
{
    struct err e = {0};
    size_t len = 0;
    uint32_t crc;

    assert_ok(journal_frame_parse(at, &len, &crc, &e));
    return len;
}

/* Number of whole frames, and where each begins (offsets has room for max + 1). */
static inline size_t
forge_frames(const struct buf *in, size_t *offsets, size_t max)
{
    size_t at = 0;
    size_t n = 0;

    while (at < in->len && n < max) {
        offsets[n++] = at;
        at += JOURNAL_FRAME_HEAD + forge_frame_len(in->data + at);
    }
    offsets[n] = at;
    return n;
}

static inline void
forge_add(struct buf *out, struct journal_entry *x, const struct sign_key *key)
{
    struct buf record = BUF_INIT;
    char head[JOURNAL_FRAME_HEAD + 1];

    journal_entry_encode(x, key, &record);
    journal_frame_head(head, record.data, record.len);
    buf_add(out, head, JOURNAL_FRAME_HEAD);
    buf_add(out, record.data, record.len);
    buf_free(&record);
}

/* Everything again, each record changed by fn (NULL: none) and chained to the one before.
 */
static inline void
forge(const struct buf *in, struct buf *out, const struct sign_key *key, forge_fn fn,
      void *arg)
{
    struct sha256_ctx *hasher = sha256_new();
    struct journal_entry x;
    struct sha256 prev;
    struct err e = {0};
    size_t i = 0;

    memset(&prev, 0, sizeof prev);
    buf_reset(out);
    for (size_t at = 0; at < in->len; i++) {
        size_t len = forge_frame_len(in->data + at);

        assert_ok(
            journal_entry_parse(&x, in->data + at + JOURNAL_FRAME_HEAD, len, hasher, &e));
        x.r.prev = prev;
        if (fn != NULL) {
            fn(&x, i, arg);
        }
        forge_add(out, &x, key);
        prev = x.r.hash;
        journal_entry_clear(&x);
        at += JOURNAL_FRAME_HEAD + len;
    }
    sha256_free(hasher);
}

/* Put the right checksum into the frame at `at` after its record was changed. */
static inline void
forge_crc(struct buf *b, size_t at)
{
    char head[JOURNAL_FRAME_HEAD + 1];
    size_t len = forge_frame_len(b->data + at);

    journal_frame_head(head, b->data + at + JOURNAL_FRAME_HEAD, len);
    memcpy(b->data + at, head, JOURNAL_FRAME_HEAD);
}

#endif
