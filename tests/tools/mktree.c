/*
 * mktree KIND DIR [SCALE_PERCENT]: make a benchmark tree, the same bytes every time.
 *
 *   small  200 files, 2 MB of code-like text
 *   ds     20,000 files, 400 MB, three quarters of it incompressible
 *   tiny   200,000 files of 600 bytes
 *   big    one incompressible file of 2 GiB
 *
 * SCALE_PERCENT multiplies the number of files (for big: the size).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define CHUNK ((size_t)1 << 20)

struct kind {
    const char *name;
    int64_t n_files;
    int64_t file_bytes; /* mean */
    int files_per_dir;
    int text_in_four; /* of four files, how many are text */
};

static const struct kind KINDS[] = {
    {"small", 200, 10000, 20, 4},
    {"ds", 20000, 20000, 200, 1},
    {"tiny", 200000, 600, 500, 2},
    {"big", 1, (int64_t)2 << 30, 1, 0},
};

static uint64_t rng_state = 0x9e3779b97f4a7c15ull;

/* splitmix64: fast, seedable, good enough to be incompressible. */
static uint64_t
rng(void)
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void
fill_random(uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = rng();

        memcpy(out + i, &v, n - i < 8 ? n - i : 8);
    }
}

/* Lines that compress about as source code does (3 to 4 times). */
static void
fill_text(uint8_t *out, size_t n)
{
    static const char *const WORDS[] = {"self.",
                                        "return ",
                                        "for i in range(",
                                        "model",
                                        "loss = ",
                                        "torch.",
                                        "batch",
                                        "    ",
                                        "def ",
                                        "import numpy as np",
                                        "):\n",
                                        " = ",
                                        "x",
                                        "[0]",
                                        "if not ",
                                        "\n        ",
                                        "print(",
                                        "epoch",
                                        ", "};
    size_t at = 0;

    while (at < n) {
        char word[32];
        int len = rng() % 5 == 0
                      ? snprintf(word, sizeof word, "v%" PRIu64, rng() % 100000)
                      : snprintf(word, sizeof word, "%s",
                                 WORDS[rng() % (sizeof WORDS / sizeof WORDS[0])]);
        size_t take = (size_t)len < n - at ? (size_t)len : n - at;

        memcpy(out + at, word, take);
        at += take;
    }
}

static void
die(const char *what)
{
    (void)fprintf(stderr, "mktree: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
write_file(const char *path, int64_t bytes, int text)
{
    static uint8_t data[CHUNK];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd == -1) {
        die(path);
    }
    while (bytes > 0) {
        size_t n = bytes < (int64_t)CHUNK ? (size_t)bytes : CHUNK;

        if (text) {
            fill_text(data, n);
        } else {
            fill_random(data, n);
        }
        if (fd_write_all(fd, data, n) != 0) {
            die(path);
        }
        bytes -= (int64_t)n;
    }
    if (close(fd) != 0) {
        die(path);
    }
}

int
main(int argc, char **argv)
{
    const struct kind *k = NULL;
    int64_t scale = argc == 4 ? atoll(argv[3]) : 100;
    int64_t n_files;

    for (size_t i = 0; argc >= 3 && i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (strcmp(KINDS[i].name, argv[1]) == 0) {
            k = &KINDS[i];
        }
    }
    if (k == NULL || scale < 1) {
        (void)fprintf(stderr, "usage: mktree small|ds|tiny|big DIR [SCALE_PERCENT]\n");
        return 100;
    }
    if (mkdir(argv[2], 0755) != 0 && errno != EEXIST) {
        die(argv[2]);
    }
    n_files = k->n_files == 1 ? 1 : k->n_files * scale / 100;
    for (int64_t i = 0; i < n_files; i++) {
        char *dir = xasprintf("%s/d%03" PRId64, argv[2], i / k->files_per_dir);
        char *path = xasprintf("%s/f%06" PRId64 "%s", dir, i,
                               i % 4 < k->text_in_four ? ".py" : ".bin");
        /* between half and one and a half of the mean */
        int64_t bytes = k->n_files == 1 ? k->file_bytes * scale / 100
                                        : k->file_bytes / 2 +
                                              (int64_t)(rng() % (uint64_t)k->file_bytes);

        if (i % k->files_per_dir == 0 && mkdir(dir, 0755) != 0 && errno != EEXIST) {
            die(dir);
        }
        write_file(path, bytes, i % 4 < k->text_in_four);
        free(path);
        free(dir);
    }
    return 0;
}
