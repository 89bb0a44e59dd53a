/*
 * lines N            print N numbered lines as fast as stdout takes them
 * lines --stamp N US print N lines, one every US microseconds, each holding the
 *                    CLOCK_MONOTONIC time of its writing in ns
 * lines --delay      read such lines from stdin, print the median and the 99th percentile
 * of their age on arrival, in microseconds
 * lines --now        print the wall clock's time now, in ns
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

static int
print_fast(int64_t n)
{
    static char block[1 << 16];
    size_t used = 0;

    for (int64_t i = 0; i < n; i++) {
        if (used > sizeof block - 32) {
            if (fd_write_all(STDOUT_FILENO, block, used) != 0) {
                return 1;
            }
            used = 0;
        }
        used +=
            (size_t)snprintf(block + used, sizeof block - used, "line %" PRId64 "\n", i);
    }
    return fd_write_all(STDOUT_FILENO, block, used) == 0 ? 0 : 1;
}

/* Paced by the clock, not by sleeping a fixed time, so that a slow write is not added up.
 */
static int
print_stamped(int64_t n, int64_t every_us)
{
    int64_t next = clock_mono_ns();

    for (int64_t i = 0; i < n; i++) {
        char line[48];
        int len;

        while (clock_mono_ns() < next) {
            (void)usleep(50);
        }
        next += every_us * 1000;
        len = snprintf(line, sizeof line, "%" PRId64 "\n", clock_mono_ns());
        if (fd_write_all(STDOUT_FILENO, line, (size_t)len) != 0) {
            return 1;
        }
    }
    return 0;
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int
measure(void)
{
    int64_t *age_us = NULL;
    size_t n = 0;
    size_t cap = 0;
    char line[128];

    /* Read by the line as it arrives: stdio would wait for a whole block from a pipe. */
    for (;;) {
        char block[4096];
        ssize_t got = read(STDIN_FILENO, block, sizeof block);
        int64_t now = clock_mono_ns();
        static size_t used;

        if (got <= 0) {
            break;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (block[i] != '\n') {
                if (used < sizeof line - 1) {
                    line[used++] = block[i];
                }
                continue;
            }
            line[used] = '\0';
            used = 0;
            if (n == cap) {
                cap = cap == 0 ? 1024 : cap * 2;
                age_us = xrealloc(age_us, cap * sizeof *age_us);
            }
            age_us[n++] = (now - strtoll(line, NULL, 10)) / 1000;
        }
    }
    if (n == 0) {
        return 1;
    }
    qsort(age_us, n, sizeof *age_us, compare);
    printf("%" PRId64 " %" PRId64 "\n", age_us[n / 2], age_us[n - 1 - n / 100]);
    free(age_us);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--now") == 0) {
        printf("%" PRId64 "\n", clock_wall_ns());
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--delay") == 0) {
        return measure();
    }
    if (argc == 4 && strcmp(argv[1], "--stamp") == 0) {
        return print_stamped(atoll(argv[2]), atoll(argv[3]));
    }
    if (argc == 2 && atoll(argv[1]) > 0) {
        return print_fast(atoll(argv[1]));
    }
    (void)fprintf(stderr,
                  "usage: lines N | lines --stamp N MICROSECONDS | lines --delay\n");
    return 100;
}
