#ifndef RUNNER_CLI_OUT_H
#define RUNNER_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/cli/cli.h"

/*
 * gpurun's own words. Remarks go to stderr behind "gpurun: ", results to stdout. All
 * of a remark is escaped, so a peer's string in it steers no terminal; results are
 * escaped cell by cell.
 */

/* A remark; not with -q. One line, no newline at its end. */
void say(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Only with -v. */
void say_more(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The line that say would write, without its newline, for who writes it later; malloc'ed.
 */
char *say_later(const char *fmt, ...) PRINTF_LIKE(1, 2);
/*
 * An error and how gpurun will exit: "gpurun: …", or with --json one line
 * {"error":{"code":…,"exit":…,"message":…}}, on stderr either way.
 */
void say_error(const struct cli *c, const struct err *e, int exit_code);

/* Write results to stdout. ERR_SYSTEM if that fails; EPIPE: see out_stdout_closed. */
int out_write(const struct buf *b, struct err *e) MUST_USE;
/* The reader of stdout has gone: exit CLI_STDOUT_CLOSED and say nothing. */
bool out_stdout_closed(const struct err *e);
#define CLI_STDOUT_CLOSED 141

bool out_is_terminal(int fd); /* and TERM is not dumb */
int out_columns(void);        /* of the terminal on stderr; 80 if unknown */
int out_columns_of(int fd);

/* "¥1.88" or "CNY 1.88"; with a price, "¥1.88/h". */
#define OUT_MONEY_MAX 48
const char *out_fen(int64_t fen, char out[OUT_MONEY_MAX]);
const char *out_price(int64_t uyuan, const char *per, char out[OUT_MONEY_MAX]);
/* "4 cores", "2x 4090"; malloc'ed, not escaped. */
char *out_devices(const char *device_class, const char *type, int64_t n);
/* Local time without fraction and year where that is clear: "11-23 22:42:35 +0800". */
#define OUT_TIME_MAX 48
const char *out_time(int64_t wall_ns, char out[OUT_TIME_MAX]);
/* "in 14 d 3 h", "2 h ago"; relative to now_wall_ns. */
const char *out_when(int64_t wall_ns, int64_t now_wall_ns, char out[OUT_TIME_MAX]);

/*
 * A table of escaped cells, aligned by display width. A column whose header begins with
 * '>' is right-aligned. The last column is not padded. On a terminal no row is wider than
 * that, as far as numbers (right-aligned) leave room: they stay whole, text is cut.
 */
struct table;
struct table *
table_new(const char *const *headers); /* NULL-ended, translated by the caller */
void table_cell(struct table *t, const char *text); /* NULL: "-" */
void table_cellf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t table_rows(const struct table *t);
/*
 * Where the terminal is too narrow: which columns are left out, the first the first, as
 * soon as cutting does not suffice; and which hold text to be cut, likewise. Columns are
 * '0' to '9', then 'a' on. NULL: none is left out; all are cut that are left-aligned, the
 * last one first. Both stay the caller's.
 */
void table_narrow(struct table *t, const char *drop, const char *cut);
void table_print(const struct table *t, struct buf *out); /* for stdout */
void table_print_within(const struct table *t, int columns, struct buf *out);
void table_free(struct table *t);

/*
 * One row of a page: the label, then the text folded beside it. No text, no row. The text
 * is escaped; out_page_row_raw takes it as it is.
 */
#define OUT_PAGE_COLUMNS 96
void out_page_row(struct buf *out, int label_columns, const char *label,
                  const char *text);
void out_page_row_raw(struct buf *out, int label_columns, const char *label,
                      const char *text);

/* Fold text at blanks to `columns`, each line after the first indented; newlines kept. */
void out_fold(struct buf *out, const char *text, int columns, int indent);

#endif
