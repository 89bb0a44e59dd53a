#include "base/clock.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

#define NS_PER_S INT64_C(1000000000)
#define DAY_S    INT64_C(86400)

static int64_t (*clock_source)(enum clock_kind kind); /* unit tests only */

static int64_t
clock_read(enum clock_kind kind, clockid_t id)
{
    struct timespec ts;

    if (clock_source != NULL) {
        return clock_source(kind);
    }
    if (clock_gettime(id, &ts) == -1) {
        /* None of the three can fail on Linux; wrong time would be a wrong bill. */
        (void)fputs("clock_gettime failed\n", stderr);
        abort();
    }
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t
clock_mono_ns(void)
{
    return clock_read(CLOCK_KIND_MONO, CLOCK_MONOTONIC);
}

int64_t
clock_boot_ns(void)
{
    return clock_read(CLOCK_KIND_BOOT, CLOCK_BOOTTIME);
}

int64_t
clock_wall_ns(void)
{
    return clock_read(CLOCK_KIND_WALL, CLOCK_REALTIME);
}

bool
clock_wall_kept(void)
{
    struct timex t = {.modes = 0};
    int state = clock_source != NULL ? TIME_OK : adjtimex(&t);

    return state != -1 && state != TIME_ERROR;
}

void
clock_set_source(int64_t (*source)(enum clock_kind kind))
{
    clock_source = source;
}

void
clock_boot_id(char out[BOOT_ID_LEN + 1])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd != -1 ? read(fd, out, BOOT_ID_LEN) : -1;

    if (fd != -1) {
        (void)close(fd);
    }
    if (n == BOOT_ID_LEN) {
        out[BOOT_ID_LEN] = '\0';
    } else {
        memcpy(out, "unknown", sizeof "unknown");
    }
}

/* Whole seconds and the rest, 0 <= rest < 1 s, before 1970 too. */
static time_t
split_seconds(int64_t wall_ns, int64_t *rest_ns)
{
    int64_t s = wall_ns / NS_PER_S;
    int64_t rest = wall_ns % NS_PER_S;

    if (rest < 0) {
        rest += NS_PER_S;
        s--;
    }
    *rest_ns = rest;
    return (time_t)s;
}

/* So many digits and what follows them; the end. */
static char *
put(char *at, int64_t value, int width, char then)
{
    for (int i = width; i-- > 0; value /= 10) {
        at[i] = (char)('0' + value % 10);
    }
    at[width] = then;
    return at + width + 1;
}

/* Of days since 1970-01-01, in years of March to February: the leap day is the last. */
static void
civil_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t since = days + 719468; /* 0000-03-01 */
    int64_t era = (since >= 0 ? since : since - 146096) / 146097;
    int64_t doe = since - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t m = (5 * doy + 2) / 153; /* 0: March */

    *day = doy - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = yoe + era * 400 + (*month <= 2 ? 1 : 0);
}

void
clock_format_utc(int64_t wall_ns, int digits, char out[CLOCK_TEXT_MAX])
{
    int64_t rest;
    int64_t s = split_seconds(wall_ns, &rest);
    int64_t of_day = s % DAY_S < 0 ? s % DAY_S + DAY_S : s % DAY_S;
    int64_t year;
    int64_t month;
    int64_t day;
    char *at = out;

    assert(digits == 0 || digits == 3 || digits == 6 || digits == 9);
    civil_of_days((s - of_day) / DAY_S, &year, &month, &day);
    at = put(at, year, 4, '-'); /* int64 ns span the years 1677 to 2262 */
    at = put(at, month, 2, '-');
    at = put(at, day, 2, 'T');
    at = put(at, of_day / 3600, 2, ':');
    at = put(at, of_day / 60 % 60, 2, ':');
    at = put(at, of_day % 60, 2, digits > 0 ? '.' : 'Z');
    if (digits > 0) {
        for (int i = digits; i < 9; i++) {
            rest /= 10;
        }
        at = put(at, rest, digits, 'Z');
    }
    *at = '\0';
}

void
clock_format_local(int64_t wall_ns, char out[CLOCK_TEXT_MAX])
{
    int64_t rest;
    time_t s = split_seconds(wall_ns, &rest);
    struct tm tm;

    (void)localtime_r(&s, &tm);
    if (strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%d %H:%M:%S %z", &tm) == 0) {
        out[0] = '\0';
    }
}

void
clock_format_local_ms(int64_t wall_ns, char out[CLOCK_TEXT_MAX])
{
    int64_t rest;
    time_t s = split_seconds(wall_ns, &rest);
    char zone[8];
    struct tm tm;
    size_t n;

    (void)localtime_r(&s, &tm);
    n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    if (strftime(zone, sizeof zone, "%z", &tm) == 0) {
        zone[0] = '\0';
    }
    (void)snprintf(out + n, CLOCK_TEXT_MAX - n, ".%03d %s", (int)(rest / 1000000), zone);
}

/* ".123" → ns; at most nine digits. */
static const char *
parse_fraction(const char *s, int64_t *ns)
{
    int64_t unit = NS_PER_S;

    *ns = 0;
    if (*s != '.') {
        return s;
    }
    for (s++; *s >= '0' && *s <= '9' && unit > 1; s++) {
        unit /= 10;
        *ns += unit * (*s - '0');
    }
    return s;
}

/*
 * tm, made whole by mktime or timegm as s, and the rest. false: no such day (day: as it
 * was written), or beyond what ns reach.
 */
static bool
join_seconds(time_t s, const struct tm *tm, int day, int64_t rest_ns, int64_t *wall_ns)
{
    return tm->tm_mday == day && !__builtin_mul_overflow((int64_t)s, NS_PER_S, wall_ns) &&
           !__builtin_add_overflow(*wall_ns, rest_ns, wall_ns);
}

/* The time of day and the zone, if any, on the date that tm has. */
static bool
parse_day_time(const char *s, struct tm *tm, int64_t *wall_ns)
{
    struct tm zone = {0};
    int day = tm->tm_mday;
    int64_t rest_ns;
    time_t seconds;
    const char *at = strptime(s, "%H:%M:%S", tm);

    if (at == NULL) {
        tm->tm_sec = 0;
        at = strptime(s, "%H:%M", tm);
    }
    if (at == NULL) {
        return false;
    }
    at = parse_fraction(at, &rest_ns);
    at += *at == ' ';
    tm->tm_isdst = -1;
    if (*at == '\0') {
        seconds = mktime(tm);
        return join_seconds(seconds, tm, day, rest_ns, wall_ns);
    }
    at = strptime(at, "%z", &zone);
    if (at == NULL || *at != '\0') {
        return false;
    }
    seconds = timegm(tm) - zone.tm_gmtoff;
    return join_seconds(seconds, tm, day, rest_ns, wall_ns);
}

/* The begin of the day in tm, or its end. */
static bool
edge_of_day(struct tm *tm, bool end, int64_t *wall_ns)
{
    int day = tm->tm_mday;
    time_t s = mktime(tm);

    if (!join_seconds(s, tm, day, 0, wall_ns)) {
        return false;
    }
    if (end) {
        tm->tm_mday++;
        tm->tm_isdst = -1;
        s = mktime(tm);
    }
    return join_seconds(s, tm, tm->tm_mday, 0, wall_ns);
}

static bool
parse_date(const char *text, bool ahead, int64_t *wall_ns)
{
    struct tm tm = {.tm_isdst = -1};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);

    if (rest == NULL) {
        int64_t unused;
        time_t now = split_seconds(clock_wall_ns(), &unused);

        (void)localtime_r(&now, &tm);
        return parse_day_time(text, &tm, wall_ns);
    }
    if (*rest == '\0') {
        return edge_of_day(&tm, ahead, wall_ns);
    }
    return (*rest == 'T' || *rest == ' ') && parse_day_time(rest + 1, &tm, wall_ns);
}

int
clock_parse_moment(const char *text, bool ahead, int64_t *wall_ns, struct err *e)
{
    char shown[64];
    struct err none;
    int64_t ns;
    int64_t now = clock_wall_ns();

    if (parse_date(text, ahead, wall_ns)) {
        return 0;
    }
    if (text_parse_duration(text, &ns, &none) != 0) {
        return err_set(e, ERR_INVALID,
                       "'%s' is no time: want 2026-12-31, 2026-12-31 22:42:00 (with Z or "
                       "+0800 if it is not local), 22:42, or how long (30m, 2d)",
                       text_escape_to(shown, sizeof shown, text));
    }
    if (ahead ? __builtin_add_overflow(now, ns, wall_ns)
              : __builtin_sub_overflow(now, ns, wall_ns)) {
        return err_set(e, ERR_RANGE, "'%s' is too long",
                       text_escape_to(shown, sizeof shown, text));
    }
    return 0;
}
