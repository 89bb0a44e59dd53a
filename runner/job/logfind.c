#include <string.h>

#include "runner/job/logseg.h"

#define TAIL_BLOCK_BYTES ((size_t)64 << 10)
#define INDEX_BLOCK      256

/*
 * Read the block [from, to) as far as it is kept. *first: where its kept bytes that reach
 * `to` without a hole begin; what lies before is no part of a tail.
 */
static int
read_block(struct logr *r, enum logseg_stream s, uint64_t from, uint64_t to, char *block,
           uint64_t *first, struct err *e)
{
    uint64_t at = from;

    *first = from;
    while (at < to) {
        size_t got;
        uint64_t skip_to;

        if (logr_read(r, s, at, to, block + (at - from), (size_t)(to - at), &got,
                      &skip_to, e) != 0) {
            return -1;
        }
        if (got == 0 && skip_to <= at) { /* shorter than we were told: dropped just now */
            *first = to;
            return 0;
        }
        if (got == 0) {
            *first = skip_to < to ? skip_to : to;
        }
        at = got > 0 ? at + got : skip_to;
    }
    return 0;
}

int
logr_tail(struct logr *r, enum logseg_stream s, uint64_t end, int64_t lines,
          uint64_t *start, struct err *e)
{
    char block[TAIL_BLOCK_BYTES];
    uint64_t to = end;
    int64_t found = 0;

    while (to > 0) {
        uint64_t from = to > sizeof block ? to - sizeof block : 0;
        uint64_t first;

        if (read_block(r, s, from, to, block, &first, e) != 0) {
            return -1;
        }
        for (uint64_t at = to; at > first; at--) {
            /* The newline that ends the last line begins none. */
            if (block[at - 1 - from] == '\n' && at != end && ++found == lines) {
                *start = at;
                return 0;
            }
        }
        if (first > from) { /* a hole: the line that begins behind it is the oldest */
            *start = first;
            return 0;
        }
        to = from;
    }
    *start = 0;
    return 0;
}

int
logr_since(struct logr *r, enum logseg_stream s, int64_t wall_ns, uint64_t *start,
           struct err *e)
{
    struct logseg_entry entries[INDEX_BLOCK];
    uint64_t at = 0;
    size_t n;

    *start = 0;
    do {
        if (logr_index(r, at, entries, INDEX_BLOCK, &n, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            if (entries[i].stream == s && entries[i].wall_ns < wall_ns) {
                *start = entries[i].end;
            }
        }
        at += n;
    } while (n == INDEX_BLOCK);
    return 0;
}
