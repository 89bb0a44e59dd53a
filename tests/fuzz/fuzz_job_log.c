/*
 * A log directory of any content: readers give bytes of the files and nothing else, and
 * come to an end.
 *
 * The input: how long the first segment is, where the second begins, how long the index
 * is, each 1, 2 and 1 bytes; then the bytes of segment, index and the second segment.
 */
#include <fcntl.h>
#include <string.h>

#include "runner/job/logseg.h"
#include "tests/fuzz/scratch.h"

#define HEAD 4

static void
read_through(struct logr *r, enum logseg_stream s, uint64_t end)
{
    uint8_t piece[64];
    uint64_t at = 0;
    struct err e;

    for (;;) {
        uint64_t skip_to = 0;
        size_t got = 0;

        if (logr_read(r, s, at, end, piece, sizeof piece, &got, &skip_to, &e) != 0) {
            return;
        }
        must(got <= sizeof piece && (end == 0 || at + got <= end || got == 0));
        if (got == 0 && skip_to <= at) {
            return;
        }
        at = got > 0 ? at + got : skip_to;
    }
}

static void
ask(struct logr *r, enum logseg_stream s)
{
    struct logseg_entry v[16];
    uint64_t at = 0;
    uint64_t end = 0;
    uint64_t start;
    struct err e;
    size_t n;

    read_through(r, s, 0);
    if (logr_end(r, s, &end, &e) != 0) {
        return;
    }
    read_through(r, s, end);
    read_through(r, s, end / 2);
    for (int64_t lines = 0; lines < 5; lines++) {
        must(logr_tail(r, s, end, lines, &start, &e) != 0 || start <= end);
    }
    (void)!logr_since(r, s, 1000, &start, &e); /* as the index says, which is a hint */
    while (logr_index(r, at, v, 16, &n, &e) == 0 && n > 0) {
        for (size_t i = 0; i < n; i++) {
            must(v[i].stream == LOGSEG_OUT || v[i].stream == LOGSEG_ERR);
        }
        at += n;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[LOGSEG_NAME_MAX];
    struct logr *r = NULL;
    size_t first, index, start;
    struct err e;
    char *path;
    int dir;

    if (size < HEAD) {
        return 0;
    }
    first = data[0];
    start = data[1] | (size_t)data[2] << 8;
    index = (size_t)data[3] * 4;
    data += HEAD;
    size -= HEAD;
    first = first < size ? first : size;
    index = index < size - first ? index : size - first;

    logseg_name(LOGSEG_OUT, 0, name);
    scratch_put(name, data, first);
    scratch_put("index", data + first, index);
    logseg_name(LOGSEG_OUT, start, name);
    path = path_join(scratch(), name);
    if (start != 0) {
        scratch_put(name, data + first + index, size - first - index);
    }
    dir = open(scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(dir != -1);
    if (logr_open(&r, dir, &e) == 0) {
        ask(r, LOGSEG_OUT);
        ask(r, LOGSEG_ERR);
        logr_close(r);
    }
    (void)close(dir);
    if (start != 0) {
        (void)unlink(path);
    }
    free(path);
    return 0;
}
