#include "base/clock.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

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

void
clock_format_utc(int64_t wall_ns, int digits, char out[CLOCK_TEXT_MAX])
{
    int64_t rest;
    time_t s = split_seconds(wall_ns, &rest);
    struct tm tm;
    size_t n;

    assert(digits == 0 || digits == 3 || digits == 6 || digits == 9);
    (void)gmtime_r(&s, &tm); /* int64 ns span the years 1677 to 2262: cannot fail */
    n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    if (digits > 0) {
        for (int i = digits; i < 9; i++) {
            rest /= 10;
        }
        n += (size_t)snprintf(out + n, CLOCK_TEXT_MAX - n, ".%0*" PRId64, digits, rest);
    }
    (void)snprintf(out + n, CLOCK_TEXT_MAX - n, "Z");
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
