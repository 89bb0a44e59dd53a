#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * The three clocks, and what each is for:
 *   mono  CLOCK_MONOTONIC  stands still in suspend: billed durations
 *   boot  CLOCK_BOOTTIME   runs on in suspend: time-outs, leases, limits
 *   wall  CLOCK_REALTIME   may jump: labels only, never arithmetic on money
 * All time in gpurun is read here, so a unit test can own it. Thread-safe but
 * for clock_set_source.
 */
enum clock_kind {
    CLOCK_KIND_NONE = 0,
    CLOCK_KIND_MONO,
    CLOCK_KIND_BOOT,
    CLOCK_KIND_WALL
};

int64_t clock_mono_ns(void);
int64_t clock_boot_ns(void);
int64_t clock_wall_ns(void); /* since 1970-01-01T00:00:00Z */

/*
 * Does a time service keep the wall clock right? Else it may be anything: a machine whose
 * battery is empty goes on from when it was switched off. True with a tests' source.
 */
bool clock_wall_kept(void);

#define BOOT_ID_LEN 36
/* The kernel's random id of this boot (text, NUL-terminated); "unknown" without /proc. */
void clock_boot_id(char out[BOOT_ID_LEN + 1]);

/* Unit tests only: replace the source (NULL puts the kernel's back). */
void clock_set_source(int64_t (*source)(enum clock_kind kind));

/* "2026-11-23T22:42:35.123456789Z" (digits: 0, 3, 6 or 9 of the fraction). Safe in what a
 * process with threads forked. */
#define CLOCK_TEXT_MAX 40
void clock_format_utc(int64_t wall_ns, int digits, char out[CLOCK_TEXT_MAX]);
/* Local time with offset, "2026-11-23 22:42:35 +0800", for people. */
void clock_format_local(int64_t wall_ns, char out[CLOCK_TEXT_MAX]);
/* The same with milliseconds, "2026-11-23 22:42:35.123 +0800". */
void clock_format_local_ms(int64_t wall_ns, char out[CLOCK_TEXT_MAX]);
/*
 * A moment as people type it: "2026-12-31", "2026-12-31 22:42", with seconds and a
 * fraction, "T" or a blank between, "Z" or "+0800" at the end (local time without), a
 * time of today ("22:42"), or a duration (base/text.h). ahead: a duration from now on,
 * and a date means its end; else ago, and its beginning. ERR_INVALID, ERR_RANGE.
 */
int clock_parse_moment(const char *text, bool ahead, int64_t *wall_ns,
                       struct err *e) MUST_USE;

#endif
