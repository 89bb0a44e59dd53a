#ifndef METER_CALENDAR_H
#define METER_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * The calendar of bills: where days and months begin in Asia/Shanghai, UTC+8 all
 * year. It cuts lines; it never decides how much time passed. Own arithmetic
 * instead of the C library's, so that the machine's time zone and its tables cannot
 * change a bill.
 */
#define CALENDAR_TZ         "Asia/Shanghai"
#define CALENDAR_OFFSET_S   28800
#define CALENDAR_PIECES_MAX 16777216

/* A moment, with the offset it was written in. */
struct calendar_time {
    int64_t unix_s;
    int offset_s;
    bool zulu; /* written with "Z" */
};

#define CALENDAR_DATE_LEN 10 /* "2026-01-31" */
/* ISO 8601: "2026-01-31T10:00:00+08:00" or "…Z". "syntax", "range". */
int calendar_parse(const char *text, size_t len, struct calendar_time *out,
                   struct err *e) MUST_USE;
#define CALENDAR_TEXT_MAX 32
/* In the same form; years 0 to 9999, else "range". */
int calendar_format(const struct calendar_time *t, char out[CALENDAR_TEXT_MAX],
                    struct err *e) MUST_USE;
/* t plus seconds, same offset; "range". */
int calendar_add(const struct calendar_time *t, int64_t seconds,
                 struct calendar_time *out, struct err *e) MUST_USE;

/* "unknown" for any other zone than CALENDAR_TZ. */
int calendar_check_tz(const char *tz, struct err *e) MUST_USE;

/*
 * Cuts of [start_s, end_s), as seconds from start_s, strictly inside, in order; *cuts is
 * malloc'ed (NULL when there is none). At every multiple of step_s from local
 * midnight (step_s divides 86400) / at every local midnight that begins a month. "range"
 * above CALENDAR_PIECES_MAX.
 */
int calendar_windows(int64_t start_s, int64_t end_s, int64_t step_s, int64_t **cuts,
                     size_t *n_cuts, struct err *e) MUST_USE;
int calendar_months(int64_t start_s, int64_t end_s, int64_t **cuts, size_t *n_cuts,
                    struct err *e) MUST_USE;

/* "2026-11", the local month of that second, and its first and next month's first second.
 */
#define CALENDAR_MONTH_MAX 24
void calendar_month(int64_t unix_s, char out[CALENDAR_MONTH_MAX]);
int64_t calendar_month_start(int64_t unix_s);
int64_t calendar_month_end(int64_t unix_s);
/* "2026-11" → its first second and the one after its last. "syntax". */
int calendar_parse_month(const char *text, int64_t *from_s, int64_t *to_s,
                         struct err *e) MUST_USE;
/* The same in ns, as far as those reach. */
int calendar_parse_month_ns(const char *text, int64_t *from_wall_ns, int64_t *to_wall_ns,
                            struct err *e) MUST_USE;
/* "2026-11-23", the local day. */
void calendar_day(int64_t unix_s, char out[CALENDAR_MONTH_MAX]);

#endif
