#ifndef TESTS_UNIT_STORAGE_STORE_UTIL_H
#define TESTS_UNIT_STORAGE_STORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/magic.h>
#include <sys/vfs.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "storage/store.h"
#include "tests/unit/scratch.h"
#include "tests/unit/storage/guard.h"

/* Helpers of the storage tests: made-up chunks. */

#define OK(call)                                                                         \
    do {                                                                                 \
        struct err e_ = {0};                                                             \
        struct err *e = &e_;                                                             \
        if ((call) != 0) {                                                               \
            fail_msg("%s: %s", #call, e->msg);                                           \
        }                                                                                \
    } while (0)

#define FAILS(call, want_code)                                                           \
    do {                                                                                 \
        struct err e_ = {0};                                                             \
        struct err *e = &e_;                                                             \
        assert_int_equal((call), -1);                                                    \
        assert_string_equal(err_code_name(e->code), err_code_name(want_code));           \
    } while (0)

/*
 * For the main of tests with scan caches, which trust no file system in memory: their
 * directories are to be on a disk, wherever the others are.
 */
static inline void
scratch_on_disk(void)
{
    const char *tmp = getenv("TMPDIR");
    const char *disk = getenv("DISK_TMPDIR");
    struct statfs st;

    if (tmp == NULL || statfs(tmp, &st) != 0 || st.f_type == TMPFS_MAGIC ||
        st.f_type == RAMFS_MAGIC) {
        assert_int_equal(setenv("TMPDIR", disk != NULL ? disk : "/var/tmp", 1), 0);
    }
}

/* A generator that needs no seed but a number (splitmix64). */
static inline uint64_t
mix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void
fill_random(void *to, size_t len, uint64_t seed)
{
    uint8_t *p = to;

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(mix(&seed) >> 24);
    }
}

/* Chunk number n: some length, random bytes for even n, text for odd. */
static inline size_t
make_chunk(uint64_t n, uint8_t *to, size_t max)
{
    uint64_t seed = n * 1000003 + 1;
    size_t len = 1 + (size_t)(mix(&seed) % max);

    if (n % 2 == 0) {
        fill_random(to, len, seed);
    } else {
        for (size_t i = 0; i < len; i++) {
            to[i] = (uint8_t)("the quick brown fox, chunk "[i % 27] + (char)(n % 7));
        }
        memcpy(to, &n, len < sizeof n ? len : sizeof n);
    }
    return len;
}

static inline bool
has_one(struct store *s, const struct sha256 *id)
{
    uint8_t bits = 0;

    OK(store_has(s, id, 1, &bits, e));
    return bits == 1;
}

static inline void
check_chunk(struct store *s, uint64_t n, size_t max)
{
    uint8_t *want = xmalloc(max);
    size_t len = make_chunk(n, want, max);
    struct buf got = BUF_INIT;
    struct sha256 id;

    sha256_of(want, len, &id);
    OK(store_get(s, &id, &got, e));
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, want, len);
    buf_free(&got);
    free(want);
}

static inline struct sha256
put_chunk_n(struct store *s, uint64_t n, size_t max, bool *added)
{
    uint8_t *data = xmalloc(max);
    size_t len = make_chunk(n, data, max);
    struct sha256 id;

    OK(store_put(s, STORE_KIND_DATA, data, len, &id, added, e));
    free(data);
    return id;
}

#endif
