/*
 * Preloaded into a program under test: a disk that refuses to be written.
 *
 *   REFUSE=TEXT:FILE   while FILE is there, a pwrite to a file whose path ends with TEXT
 * fails with EIO; each one adds a line to FILE: the monotonic clock in ms
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int
ends_with(int fd, const char *tail, size_t len)
{
    char link[64];
    char path[4096];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path);
    return n >= (ssize_t)len && memcmp(path + n - len, tail, len) == 0;
}

static int
refuses(int fd)
{
    const char *rule = getenv("REFUSE");
    const char *colon = rule == NULL ? NULL : strchr(rule, ':');
    struct timespec ts;
    char line[32];
    int count;
    int n;

    if (colon == NULL || !ends_with(fd, rule, (size_t)(colon - rule))) {
        return 0;
    }
    count = open(colon + 1, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (count == -1) {
        return 0;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    n = snprintf(line, sizeof line, "%lld\n",
                 (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
    if (write(count, line, (size_t)n) != n) {
        abort();
    }
    (void)close(count);
    errno = EIO;
    return 1;
}

typedef ssize_t pwrite_fn(int fd, const void *buf, size_t n, off_t offset);

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return refuses(fd) ? -1
                       : ((pwrite_fn *)dlsym(RTLD_NEXT, "pwrite"))(fd, buf, n, offset);
}

ssize_t
pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
    return refuses(fd) ? -1
                       : ((pwrite_fn *)dlsym(RTLD_NEXT, "pwrite64"))(fd, buf, n, offset);
}
