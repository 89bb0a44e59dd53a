#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/fuzz/fuzz.h"

/* A directory for one target's files, in memory where that is to be had; gone at exit. */
static char *scratch_path;

static inline void
scratch_remove(void)
{
    struct err e;

    (void)!file_remove_tree(scratch_path, &e);
    free(scratch_path);
}

static inline const char *
scratch(void)
{
    const char *tmp = getenv("TMPDIR");

    if (scratch_path == NULL) {
        if (tmp == NULL) {
            tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        }
        scratch_path = xasprintf("%s/gpurun-fuzz.XXXXXX", tmp);
        must(mkdtemp(scratch_path) != NULL);
        (void)atexit(scratch_remove);
    }
    return scratch_path;
}

/* The input as the content of <scratch>/name (made, replaced). */
static inline void
scratch_put(const char *name, const void *data, size_t size)
{
    char *path = path_join(scratch(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(fd != -1 && fd_write_all(fd, data, size) == 0);
    (void)close(fd);
    free(path);
}

#endif
