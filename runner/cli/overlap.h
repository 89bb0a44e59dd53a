#ifndef RUNNER_CLI_OVERLAP_H
#define RUNNER_CLI_OVERLAP_H

#include <stddef.h>

#include "meter/receipt.h"

/*
 * Sessions that were billed for one device of one host at once, by the labels of their
 * records. Cores are shared; any other device is one session's at a time. Takes time in
 * the number of receipts (times its logarithm) and of overlaps. Pure; one thread.
 */
struct overlap {
    size_t first; /* places among the receipts, first < second */
    size_t second;
    const char *uuid; /* of a device that both had, while the receipts are there */
};

struct overlaps {
    struct overlap *v; /* by second, then by first; a pair once, whatever it shares */
    size_t n;
};

void overlaps_find(const struct receipt *const *r, size_t n, struct overlaps *out);
void overlaps_free(struct overlaps *o);

#endif
