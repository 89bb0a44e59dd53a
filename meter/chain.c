#include "meter/chain.h"

#include <string.h>

struct chain
chain_new(void)
{
    struct chain c;

    memset(&c, 0, sizeof c);
    return c;
}

bool
chain_follows(const struct chain *c, const struct sha256 *prev)
{
    return sha256_equal(&c->head, prev);
}

void
chain_add(struct chain *c, const void *record, size_t len)
{
    sha256_of(record, len, &c->head);
}

const char *
chain_field(const char *record, size_t len, const char *key, size_t *value_len)
{
    size_t n_key = strlen(key);
    const char *end = record + len;
    const char *line = record;

    while (line < end) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        size_t n_line = (size_t)((lf != NULL ? lf : end) - line);

        if (n_line > n_key && line[n_key] == '=' && memcmp(line, key, n_key) == 0) {
            *value_len = n_line - n_key - 1;
            return line + n_key + 1;
        }
        line += n_line + 1;
    }
    return NULL;
}

/* The record's seq; `place` if it has none that fits. */
static int64_t
seq_of(const char *record, size_t len, int64_t place)
{
    size_t n = 0;
    const char *text = chain_field(record, len, "seq", &n);
    int64_t v = 0;

    if (text == NULL || n == 0) {
        return place;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' ||
            __builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(text[i] - '0'), &v)) {
            return place;
        }
    }
    return v;
}

bool
chain_check(const char *const *records, const size_t *lens, size_t n,
            int64_t *first_bad_seq)
{
    struct chain c = chain_new();

    for (size_t i = 0; i < n; i++) {
        size_t n_prev = 0;
        const char *text = chain_field(records[i], lens[i], "prev", &n_prev);
        struct sha256 prev;

        if (text == NULL || !hex_parse(text, n_prev, prev.b, sizeof prev.b) ||
            !chain_follows(&c, &prev)) {
            *first_bad_seq = seq_of(records[i], lens[i], (int64_t)i + 1);
            return false;
        }
        chain_add(&c, records[i], lens[i]);
    }
    return true;
}

static void
hash_leaf(const void *leaf, size_t len, struct sha256 *out)
{
    struct sha256_ctx *c = sha256_new();

    sha256_update(c, "\0", 1);
    sha256_update(c, leaf, len);
    sha256_final(c, out);
    sha256_free(c);
}

static void
hash_node(const struct sha256 *left, const struct sha256 *right, struct sha256 *out)
{
    uint8_t bytes[1 + 2 * SHA256_LEN];

    bytes[0] = 1;
    memcpy(bytes + 1, left->b, SHA256_LEN);
    memcpy(bytes + 1 + SHA256_LEN, right->b, SHA256_LEN);
    sha256_of(bytes, sizeof bytes, out);
}

void
merkle_init(struct merkle *m)
{
    memset(m, 0, sizeof *m);
}

void
merkle_add(struct merkle *m, const void *leaf, size_t len)
{
    struct sha256 h;

    hash_leaf(leaf, len, &h);
    /* As in a binary counter: each trailing one bit is a full subtree to join. */
    for (uint64_t bits = m->n_leaves; (bits & 1) != 0; bits >>= 1) {
        m->n_full--;
        hash_node(&m->full[m->n_full], &h, &h);
    }
    m->full[m->n_full++] = h;
    m->n_leaves++;
}

void
merkle_root(const struct merkle *m, struct sha256 *out)
{
    if (m->n_full == 0) {
        sha256_of("", 0, out);
        return;
    }
    *out = m->full[m->n_full - 1];
    for (int i = m->n_full - 2; i >= 0; i--) {
        hash_node(&m->full[i], out, out);
    }
}
