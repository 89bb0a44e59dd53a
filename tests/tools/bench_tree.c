/*
 * bench_tree scan DIR [ROUNDS]: time of a sweep, best and median of ROUNDS.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "storage/scan.h"

#define ROUNDS_MAX 1000

static int
compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static long
peak_kib(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_maxrss : 0;
}

static int
bench_scan(int fd, const char *const *args, uint64_t *n, struct err *e)
{
    struct scan_options o = {.everything = args[0] == NULL, .allow_home = true};
    const struct scan_entry *entry;
    struct scan *s = NULL;
    int rc = -1;

    *n = 0;
    if (scan_open(&s, fd, &o, e) != 0) {
        return -1;
    }
    for (;;) {
        if (scan_next(s, &entry, e) != 0) {
            goto out;
        }
        if (entry == NULL) {
            break;
        }
        (*n)++;
    }
    rc = 0;

out:
    scan_close(s);
    return rc;
}

int
main(int argc, char **argv)
{
    int64_t ns[ROUNDS_MAX];
    struct err e = {0};
    uint64_t n = 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 5; /* NOLINT(cert-err34-c) */
    int fd = argc > 2 ? open(argv[2], O_RDONLY | O_DIRECTORY) : -1;

    if (fd == -1 || rounds < 1 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: bench_tree scan DIR [ROUNDS [rules]]\n");
        return 100;
    }
    for (int i = 0; i < rounds; i++) {
        const char *args[] = {argc > 4 ? argv[4] : NULL};
        int64_t begin = clock_mono_ns();

        if (bench_scan(fd, args, &n, &e) != 0) {
            (void)fprintf(stderr, "bench_tree: %s\n", e.msg);
            return 101;
        }
        ns[i] = clock_mono_ns() - begin;
    }
    qsort(ns, (size_t)rounds, sizeof ns[0], compare_ns);
    (void)printf("%s: %" PRIu64 " entries, best %" PRId64 " us, median %" PRId64
                 " us, peak %ld KiB\n",
                 argv[1], n, ns[0] / 1000, ns[rounds / 2] / 1000, peak_kib());
    return 0;
}
