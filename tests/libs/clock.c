/*
 * Preloaded into a program under test, and into all that it starts: clocks that can be
 * set, and the kernel's id of this boot.
 *
 *   GPURUN_TEST_CLOCK=FILE   three signed 64-bit numbers of ns, as this machine writes
 * them, added to CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME: read at every look
 * at a clock, so a step is seen by everybody at once GPURUN_TEST_BOOT=FILE    read where
 * /proc/sys/kernel/random/boot_id is opened
 *
 *   GPURUN_TEST_SPEED=N      timers of the kernel's (timerfd) fire after an Nth of their
 * time: for clocks that are set to run so fast
 *
 * Other waiting goes by the kernel's own clocks: a timer that the step made due fires
 * when its loop wakes up next.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
#define BOOT_ID  "/proc/sys/kernel/random/boot_id"

enum { WALL, MONO, BOOT, N_CLOCKS };

static void *
next_of(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static const volatile int64_t *
offsets(void)
{
    static const volatile int64_t *map;
    const char *path = getenv("GPURUN_TEST_CLOCK");
    int (*open_next)(const char *, int, ...);
    void *at;
    int fd;

    if (map != NULL || path == NULL) {
        return map;
    }
    open_next = (int (*)(const char *, int, ...))next_of("open");
    fd = open_next(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        abort(); /* the true time instead would be a test of nothing */
    }
    at = mmap(NULL, N_CLOCKS * sizeof *map, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at == MAP_FAILED) {
        abort();
    }
    map = at;
    return map;
}

static int
which(clockid_t id)
{
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return WALL;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
        return MONO;
    case CLOCK_BOOTTIME:
        return BOOT;
    default:
        return N_CLOCKS;
    }
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    static int (*next)(clockid_t, struct timespec *);
    const volatile int64_t *add = offsets();
    int clock = which(id);
    int64_t ns;

    if (next == NULL) {
        next = (int (*)(clockid_t, struct timespec *))next_of("clock_gettime");
    }
    if (next(id, ts) != 0) {
        return -1;
    }
    if (add != NULL && clock != N_CLOCKS) {
        ns = (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec + add[clock];
        ts->tv_sec = (time_t)(ns / NS_PER_S);
        ts->tv_nsec = (long)(ns % NS_PER_S);
    }
    return 0;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t
time(time_t *out)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }
    if (out != NULL) {
        *out = ts.tv_sec;
    }
    return ts.tv_sec;
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    static int (*next)(int, int, const struct itimerspec *, struct itimerspec *);
    const char *speed = getenv("GPURUN_TEST_SPEED");
    struct itimerspec spec = *new;
    int64_t ns = (int64_t)spec.it_value.tv_sec * NS_PER_S + spec.it_value.tv_nsec;

    if (next == NULL) {
        next = (int (*)(int, int, const struct itimerspec *, struct itimerspec *))next_of(
            "timerfd_settime");
    }
    if (speed != NULL && (flags & TFD_TIMER_ABSTIME) == 0 && ns > 0) {
        ns = ns / atoi(speed) + 1; /* 0 would switch it off */
        spec.it_value.tv_sec = (time_t)(ns / NS_PER_S);
        spec.it_value.tv_nsec = (long)(ns % NS_PER_S);
    }
    return next(fd, flags, &spec, old);
}

static const char *
redirect(const char *path)
{
    const char *boot = getenv("GPURUN_TEST_BOOT");

    return boot != NULL && strcmp(path, BOOT_ID) == 0 ? boot : path;
}

static int
open_as(const char *name, const char *path, int flags, va_list ap)
{
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))next_of(name);
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;

    return next(redirect(path), flags, mode);
}

int
open(const char *path, int flags, ...)
{
    va_list ap;
    int fd;

    va_start(ap, flags);
    fd = open_as("open", path, flags, ap);
    va_end(ap);
    return fd;
}

int
open64(const char *path, int flags, ...)
{
    va_list ap;
    int fd;

    va_start(ap, flags);
    fd = open_as("open64", path, flags, ap);
    va_end(ap);
    return fd;
}
