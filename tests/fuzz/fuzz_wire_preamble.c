/* The same is found however the bytes arrive: kind, place, noise, facts, refusal. */
#include <string.h>

#include "runner/wire/preamble.h"
#include "tests/fuzz/fuzz.h"

struct found {
    int rc;
    enum preamble_kind kind;
    size_t used;
    struct buf noise;
    struct buf facts;
    struct err e;
};

static void
find(const uint8_t *data, size_t size, size_t piece, bool from_agent, size_t noise_max,
     struct found *f)
{
    struct preamble *p = preamble_new(from_agent, noise_max);
    const uint8_t *noise;
    size_t len;

    *f = (struct found){0};
    while (f->used < size && f->kind == PREAMBLE_NONE && f->rc == 0) {
        size_t n = piece < size - f->used ? piece : size - f->used;
        size_t used = 0;

        f->rc = preamble_feed(p, data + f->used, n, &used, &f->kind, &f->e);
        must(f->rc == -1 || used <= n);
        must(f->rc == -1 || f->kind != PREAMBLE_NONE || used == n);
        f->used += used;
    }
    noise = preamble_noise(p, &len);
    must(len <= PREAMBLE_NOISE_KEPT);
    buf_add(&f->noise, noise, len);
    if (preamble_facts(p) != NULL) {
        rec_encode(preamble_facts(p), &f->facts);
        must(rec_n_fields(preamble_facts(p)) <= PREAMBLE_FACTS_MAX);
    }
    must((f->facts.len > 0) == (f->kind == PREAMBLE_IS_MISSING && f->rc == 0));
    if (f->kind == PREAMBLE_NONE && f->rc == 0) {
        struct err e;

        must(preamble_explain_end(p, &e) == -1 && e.code == ERR_LINK);
    }
    preamble_free(p);
}

static bool
same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        bool from_agent;
        size_t noise_max;
    } ways[] = {{true, PREAMBLE_NOISE_MAX}, {true, 100}, {true, 0}, {false, 0}};
    static const size_t pieces[] = {1, 7, SIZE_MAX};

    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        struct found first;

        find(data, size, SIZE_MAX, ways[w].from_agent, ways[w].noise_max, &first);
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            struct found f;

            find(data, size, pieces[i], ways[w].from_agent, ways[w].noise_max, &f);
            must(f.rc == first.rc);
            if (f.rc == 0) {
                must(f.kind == first.kind && f.used == first.used);
                must(same(&f.noise, &first.noise) && same(&f.facts, &first.facts));
            } else {
                must(f.e.code == ERR_CORRUPT);
            }
            buf_free(&f.noise);
            buf_free(&f.facts);
        }
        buf_free(&first.noise);
        buf_free(&first.facts);
    }
    return 0;
}
