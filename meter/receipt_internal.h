#ifndef METER_RECEIPT_INTERNAL_H
#define METER_RECEIPT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "meter/journal_internal.h"
#include "meter/receipt.h"

/* Shared by receipt.c (a whole file) and receipt_gist.c (what is remembered of one). */

/* All that a reader which has seen the receipt knows. Takes the reader's offer. */
struct receipt *receipt_from_reader(struct journal_reader *j);
int receipt_check_pins(const struct journal_reader *j, const struct receipt_pins *pins,
                       struct err *e) MUST_USE;

/* Which file it is and when it was changed last, as the file system has it. */
enum { RECEIPT_STAMP_LEN = 7 };
struct receipt_stamp {
    int64_t v[RECEIPT_STAMP_LEN];
};
/*
 * false: it has none to go by. A file that was changed within the last two seconds may
 * be changed again without another time of change.
 */
bool receipt_stamp(int fd, struct receipt_stamp *out);

/* Does anything about this file want, or have, a gist? */
bool receipt_gist_wanted(int fd, const struct receipt_pins *pins);
/* false: there is none that is right, and the file has to be read. */
bool receipt_gist_read(struct receipt **out, int fd, const struct receipt_pins *pins);
/* before: the file's stamp, taken before r was read from it. Lost: some time only. */
void receipt_gist_keep(const struct receipt *r, int fd,
                       const struct receipt_stamp *before,
                       const struct receipt_pins *pins);

#endif
