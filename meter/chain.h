#ifndef METER_CHAIN_H
#define METER_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/hash.h"

/*
 * Hash chains and trees. A chain is a list of records, each carrying as prev the
 * SHA-256 of all bytes of the one before; zeros in the first.
 */
struct chain {
    struct sha256 head; /* of the last record; zeros before the first */
};

struct chain chain_new(void);
/* Does a record with this prev follow? */
bool chain_follows(const struct chain *c, const struct sha256 *prev);
/* The record was added. */
void chain_add(struct chain *c, const void *record, size_t len);

/* The value of the first line "key=…" of a record in text form; NULL if there is none. */
const char *chain_field(const char *record, size_t len, const char *key,
                        size_t *value_len);

/*
 * Check n records in text form (type line, key=value lines with seq and prev). Returns
 * whether the chain holds; if not, *first_bad_seq is the seq of the first record
 * whose prev is not the hash of the one before it (its place, from 1, if it has no
 * seq).
 */
bool chain_check(const char *const *records, const size_t *lens, size_t n,
                 int64_t *first_bad_seq) MUST_USE;

/*
 * Merkle tree of RFC 6962 (section 2.1): leaf = SHA-256(00, bytes), node = SHA-256(01,
 * left, right), split at the largest power of two below n; the root of nothing is
 * SHA-256 of nothing. Memory is the logarithm of the number of leaves.
 */
#define MERKLE_LEVELS 64
struct merkle {
    uint64_t n_leaves;
    struct sha256 full[MERKLE_LEVELS]; /* roots of the full subtrees, largest first */
    int n_full;
};

void merkle_init(struct merkle *m);
void merkle_add(struct merkle *m, const void *leaf, size_t len);
void merkle_root(const struct merkle *m, struct sha256 *out);

#endif
