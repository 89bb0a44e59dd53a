/*
 * Gives every file of the directories (or every file) named on the command line
 * to the fuzz target once, so that corpora are tested without a fuzzer.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX ((size_t)64 << 20)

static unsigned n_inputs;

static int
replay_file(const char *path)
{
    struct buf b = BUF_INIT;
    struct err e;
    uint8_t *exact;

    if (file_read(path, INPUT_MAX, &b, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.msg);
        buf_free(&b);
        return -1;
    }
    /* A copy of just this size: reading beyond it is seen by a sanitizer. */
    exact = xmemdup(b.data, b.len);
    (void)LLVMFuzzerTestOneInput(exact, b.len);
    n_inputs++;
    free(exact);
    buf_free(&b);
    return 0;
}

static int
replay_dir(const char *path)
{
    struct dirent **names = NULL;
    int n = scandir(path, &names, NULL, alphasort);
    int rc = n < 0 ? -1 : 0;

    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            char *file = path_join(path, names[i]->d_name);

            rc = replay_file(file) != 0 ? -1 : rc;
            free(file);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

int
main(int argc, char **argv)
{
    int rc = EXIT_SUCCESS;

    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            rc = EXIT_FAILURE;
        } else if ((S_ISDIR(st.st_mode) ? replay_dir : replay_file)(argv[i]) != 0) {
            rc = EXIT_FAILURE;
        }
    }
    (void)printf("%u inputs\n", n_inputs);
    return n_inputs > 0 ? rc : EXIT_FAILURE; /* a corpus that went missing */
}
