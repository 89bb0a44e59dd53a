#include "meter/calendar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/refuse.h"
#include "meter/wide.h"

#define DAY_S 86400
/* Seconds since 1970 that the calendar can tell: far outside years 0 to 9999. */
#define UNIX_S_LIMIT ((int64_t)1 << 55)

static int64_t
floor_div(int64_t a, int64_t b)
{
    return (int64_t)wide_floor_div(a, b);
}

/*
 * Days since 1970 of a date in the proleptic Gregorian calendar, and back, after
 * Howard Hinnant's public "chrono-compatible low-level date algorithms": the year begins
 * in March, so that the leap day is the last of it.
 */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

struct date {
    int64_t year;
    int64_t month;
    int64_t day;
};

static struct date
date_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    struct date d;

    d.day = doy - (153 * mp + 2) / 5 + 1;
    d.month = mp < 10 ? mp + 3 : mp - 9;
    d.year = yoe + era * 400 + (d.month <= 2 ? 1 : 0);
    return d;
}

static int64_t
clamp_s(int64_t unix_s)
{
    if (unix_s > UNIX_S_LIMIT) {
        return UNIX_S_LIMIT;
    }
    return unix_s < -UNIX_S_LIMIT ? -UNIX_S_LIMIT : unix_s;
}

static struct date
local_date(int64_t unix_s)
{
    return date_of(floor_div(clamp_s(unix_s) + CALENDAR_OFFSET_S, DAY_S));
}

/* n digits at *at as a number; -1 if they are not digits. */
static int64_t
digits(const char *at, size_t n)
{
    int64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return -1;
        }
        v = v * 10 + (at[i] - '0');
    }
    return v;
}

static bool
parse_offset(const char *at, size_t len, struct calendar_time *t)
{
    int64_t h;
    int64_t m;

    if (len == 1 && at[0] == 'Z') {
        t->offset_s = 0;
        t->zulu = true;
        return true;
    }
    if (len != 6 || (at[0] != '+' && at[0] != '-') || at[3] != ':') {
        return false;
    }
    h = digits(at + 1, 2);
    m = digits(at + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59) {
        return false;
    }
    t->offset_s = (int)((h * 3600 + m * 60) * (at[0] == '-' ? -1 : 1));
    t->zulu = false;
    return true;
}

int
calendar_parse(const char *text, size_t len, struct calendar_time *out, struct err *e)
{
    struct calendar_time t = {0};
    struct date d;
    int64_t h;
    int64_t m;
    int64_t s;

    if (len < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[13] != ':' || text[16] != ':' || !parse_offset(text + 19, len - 19, &t)) {
        return refuse(e, REFUSE_SYNTAX, "a time looks like 2026-01-31T10:00:00+08:00");
    }
    d.year = digits(text, 4);
    d.month = digits(text + 5, 2);
    d.day = digits(text + 8, 2);
    h = digits(text + 11, 2);
    m = digits(text + 14, 2);
    s = digits(text + 17, 2);
    if (d.year < 0 || d.month < 1 || d.month > 12 || d.day < 1 || h < 0 || h > 23 ||
        m < 0 || m > 59 || s < 0 || s > 59 ||
        date_of(days_of(d.year, d.month, d.day)).day != d.day) {
        return refuse(e, REFUSE_SYNTAX, "there is no such date or time");
    }
    t.unix_s =
        days_of(d.year, d.month, d.day) * DAY_S + h * 3600 + m * 60 + s - t.offset_s;
    *out = t;
    return 0;
}

int
calendar_format(const struct calendar_time *t, char out[CALENDAR_TEXT_MAX], struct err *e)
{
    int64_t local = clamp_s(t->unix_s) + t->offset_s;
    struct date d = date_of(floor_div(local, DAY_S));
    int64_t s = local - floor_div(local, DAY_S) * DAY_S;
    int off = t->offset_s < 0 ? -t->offset_s : t->offset_s;
    char zone[16] = "Z";

    if (d.year < 0 || d.year > 9999) {
        return refuse(e, REFUSE_RANGE, "a year that cannot be written");
    }
    if (!t->zulu) {
        (void)snprintf(zone, sizeof zone, "%c%02d:%02d", t->offset_s < 0 ? '-' : '+',
                       off / 3600, off / 60 % 60);
    }
    (void)snprintf(out, CALENDAR_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d%.6s",
                   (int)d.year, (int)d.month, (int)d.day, (int)(s / 3600),
                   (int)(s / 60 % 60), (int)(s % 60), zone);
    return 0;
}

int
calendar_add(const struct calendar_time *t, int64_t seconds, struct calendar_time *out,
             struct err *e)
{
    struct calendar_time sum = *t;

    if (__builtin_add_overflow(t->unix_s, seconds, &sum.unix_s)) {
        return refuse(e, REFUSE_RANGE, "a time that cannot be counted");
    }
    *out = sum;
    return 0;
}

int
calendar_check_tz(const char *tz, struct err *e)
{
    if (strcmp(tz, CALENDAR_TZ) != 0) {
        return refuse(e, REFUSE_UNKNOWN, "bills are in %s only", CALENDAR_TZ);
    }
    return 0;
}

static int
check_span(int64_t start_s, int64_t end_s, struct err *e)
{
    if (start_s < -UNIX_S_LIMIT || end_s > UNIX_S_LIMIT) {
        return refuse(e, REFUSE_RANGE, "a time that cannot be counted");
    }
    return 0;
}

int
calendar_windows(int64_t start_s, int64_t end_s, int64_t step_s, int64_t **cuts,
                 size_t *n_cuts, struct err *e)
{
    int64_t first;
    int64_t n;
    int64_t *c = NULL;

    if (step_s <= 0 || DAY_S % step_s != 0) {
        return refuse(e, REFUSE_RANGE, "%" PRId64 " s do not divide a day", step_s);
    }
    if (check_span(start_s, end_s, e) != 0) {
        return -1;
    }
    /* As step divides the day, its multiples since 1970 local are those of each day. */
    first =
        (floor_div(start_s + CALENDAR_OFFSET_S, step_s) + 1) * step_s - CALENDAR_OFFSET_S;
    n = end_s > first ? (end_s - first + step_s - 1) / step_s : 0;
    if (n > CALENDAR_PIECES_MAX) {
        return refuse(e, REFUSE_RANGE, "more than %d windows", CALENDAR_PIECES_MAX);
    }
    if (n > 0) {
        c = xcalloc((size_t)n, sizeof *c);
        for (int64_t i = 0; i < n; i++) {
            c[i] = first - start_s + i * step_s;
        }
    }
    *cuts = c;
    *n_cuts = (size_t)n;
    return 0;
}

int64_t
calendar_month_start(int64_t unix_s)
{
    struct date d = local_date(unix_s);

    return days_of(d.year, d.month, 1) * DAY_S - CALENDAR_OFFSET_S;
}

int64_t
calendar_month_end(int64_t unix_s)
{
    struct date d = local_date(unix_s);
    int64_t year = d.month == 12 ? d.year + 1 : d.year;
    int64_t month = d.month == 12 ? 1 : d.month + 1;

    return days_of(year, month, 1) * DAY_S - CALENDAR_OFFSET_S;
}

int
calendar_months(int64_t start_s, int64_t end_s, int64_t **cuts, size_t *n_cuts,
                struct err *e)
{
    int64_t *c = NULL;
    size_t n = 0;
    size_t room = 0;

    if (check_span(start_s, end_s, e) != 0) {
        return -1;
    }
    /* A month has more than 27 days, so this bounds their number before the walk. */
    if (end_s > start_s && (end_s - start_s) / (27 * DAY_S) > CALENDAR_PIECES_MAX) {
        return refuse(e, REFUSE_RANGE, "more than %d months", CALENDAR_PIECES_MAX);
    }
    for (int64_t at = calendar_month_end(start_s); at < end_s;
         at = calendar_month_end(at)) {
        if (n == room) {
            room = room == 0 ? 8 : room * 2;
            c = xrealloc(c, room * sizeof *c);
        }
        c[n++] = at - start_s;
    }
    *cuts = c;
    *n_cuts = n;
    return 0;
}

void
calendar_month(int64_t unix_s, char out[CALENDAR_MONTH_MAX])
{
    struct date d = local_date(unix_s);

    (void)snprintf(out, CALENDAR_MONTH_MAX, "%04" PRId64 "-%02d", d.year, (int)d.month);
}

void
calendar_day(int64_t unix_s, char out[CALENDAR_MONTH_MAX])
{
    struct date d = local_date(unix_s);

    (void)snprintf(out, CALENDAR_MONTH_MAX, "%04" PRId64 "-%02d-%02d", d.year,
                   (int)d.month, (int)d.day);
}

int
calendar_parse_month(const char *text, int64_t *from_s, int64_t *to_s, struct err *e)
{
    int64_t year;
    int64_t month;

    if (strlen(text) != 7 || text[4] != '-') {
        return refuse(e, REFUSE_SYNTAX, "a month looks like 2026-11");
    }
    year = digits(text, 4);
    month = digits(text + 5, 2);
    if (year < 0 || month < 1 || month > 12) {
        return refuse(e, REFUSE_SYNTAX, "a month looks like 2026-11");
    }
    *from_s = days_of(year, month, 1) * DAY_S - CALENDAR_OFFSET_S;
    *to_s = calendar_month_end(*from_s);
    return 0;
}

static int64_t
clamp_ns(int64_t s)
{
    int64_t ns;

    return __builtin_mul_overflow(s, INT64_C(1000000000), &ns)
               ? (s < 0 ? INT64_MIN : INT64_MAX)
               : ns;
}

int
calendar_parse_month_ns(const char *text, int64_t *from_wall_ns, int64_t *to_wall_ns,
                        struct err *e)
{
    int64_t from_s = 0;
    int64_t to_s = 0;

    if (calendar_parse_month(text, &from_s, &to_s, e) != 0) {
        return -1;
    }
    *from_wall_ns = clamp_ns(from_s);
    *to_wall_ns = clamp_ns(to_s);
    return 0;
}
