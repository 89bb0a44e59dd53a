#ifndef RUNNER_JOB_LOGSEG_H
#define RUNNER_JOB_LOGSEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A job's output, kept: bytes at absolute offsets, stdout and stderr apart.
 *
 *   out.<20-digit start>, err.<…>
 *            raw bytes; a file's size says how far it goes. A new one starts every
 *            LOGSEG_BYTES (a 16th of a small cap) and after every hole. None is ever
 *            renamed or truncated.
 *   index    LOGSEG_ENTRY_BYTES each, little endian: u8 stream, u8 flags, 6 zero bytes,
 *            u64 end offset, i64 wall ns: by then the stream had grown to there, in this
 *            order between the streams.
 *
 * Bytes that are in no file are gone: a hole, told to readers as a gap. Holes come from
 * the cap (whole old segments dropped) and from a full disk (new bytes dropped). The
 * index is a hint for order and times: it may be short, never wrong about what it says.
 *
 * One writer (the supervisor), any number of readers in other processes. Not thread-safe.
 */
#define LOGSEG_BYTES       ((uint64_t)64 << 20)
#define LOGSEG_BYTES_MIN   ((uint64_t)64 << 10)
#define LOGSEG_ENTRY_BYTES 24
#define LOGSEG_MERGE_NS    ((int64_t)1000000)
#define LOGSEG_CAP_MIN     ((uint64_t)1 << 20)
#define LOGSEG_CAP_DFLT                                                                  \
    ((uint64_t)4 << 30) /* or a tenth of the free disk if that is less */
#define LOGSEG_RESERVE ((uint64_t)8 << 20) /* left free for records that matter more */
#define LOGSEG_RETRY_NS                                                                  \
    ((int64_t)1000000000) /* between tries to write to a full disk                       \
                           */
#define LOGSEG_OFFSET_MAX ((uint64_t)INT64_MAX)

enum logseg_stream { LOGSEG_NONE = 0, LOGSEG_OUT = 1, LOGSEG_ERR = 2 };
#define LOGSEG_STREAMS 3 /* for arrays indexed by enum logseg_stream */

/* Entry flags. */
#define LOGSEG_F_GAP 0x01u /* the bytes before this end were dropped, not written */

/* ---- writing ---- */

struct logw;

/*
 * Begin, or go on after what is there. dir_fd is duplicated. cap_bytes 0: the default;
 * both streams together are kept below it.
 */
int logw_open(struct logw **out, int dir_fd, uint64_t cap_bytes, struct err *e) MUST_USE;
/*
 * Append n bytes of a stream. Never fails and never waits for space: what the disk does
 * not take is dropped and counted, and a hole is left for it.
 */
void logw_write(struct logw *w, enum logseg_stream s, const void *data, size_t n,
                int64_t wall_ns);
/*
 * Move up to max bytes from the pipe fd to the stream: *got bytes, 0 at its end.
 * errno-like result: 0, EAGAIN, or what read said. Bytes taken are never lost but by a
 * hole.
 */
int logw_pump(struct logw *w, enum logseg_stream s, int fd, size_t max, int64_t wall_ns,
              size_t *got);
uint64_t logw_end(const struct logw *w, enum logseg_stream s);
uint64_t logw_dropped(const struct logw *w); /* bytes of both streams in holes so far */
bool logw_dirty(const struct logw *w);       /* something is not synced yet */
/* A client holds everything of the stream below offset: such segments go first. */
void logw_acked(struct logw *w, enum logseg_stream s, uint64_t offset);
/* Make everything so far survive a power cut. The first failure is told, all is tried. */
int logw_sync(struct logw *w, struct err *e) MUST_USE;
/*
 * The same for another thread to do, so that a slow disk never holds up the pipes: fds
 * (room for LOGSEG_DIRTY_MAX) get descriptors to be fsynced in that order and closed, *n
 * of them. What is not taken stays dirty.
 */
#define LOGSEG_DIRTY_MAX 16
void logw_take_dirty(struct logw *w, int fds[LOGSEG_DIRTY_MAX], size_t *n);
void logw_close(struct logw *w); /* without syncing; NULL allowed */

/* ---- reading ---- */

struct logr;

int logr_open(struct logr **out, int dir_fd,
              struct err *e) MUST_USE; /* dir_fd is duplicated */
void logr_close(struct logr *r);       /* NULL allowed */
/*
 * Read up to n bytes at offset. *got 0: nothing there (yet), and *skip_to > offset if the
 * stream goes on only there (a hole), else *skip_to = offset. end is how far the stream
 * is known to reach (from the supervisor or the state record), or 0: as far as the files
 * say; bytes beyond `end` are not given, and a hole that nothing follows reaches to end.
 */
int logr_read(struct logr *r, enum logseg_stream s, uint64_t offset, uint64_t end,
              void *to, size_t n, size_t *got, uint64_t *skip_to, struct err *e) MUST_USE;
/* End of the stream as the files say now. */
int logr_end(struct logr *r, enum logseg_stream s, uint64_t *end, struct err *e) MUST_USE;

/*
 * Where the last `lines` lines of the stream's first `end` bytes begin (an unfinished
 * last one counts), or what is kept of them begins.
 */
int logr_tail(struct logr *r, enum logseg_stream s, uint64_t end, int64_t lines,
              uint64_t *start, struct err *e) MUST_USE;
/* Where the bytes begin that were written at wall_ns or later, as far as the index says.
 */
int logr_since(struct logr *r, enum logseg_stream s, int64_t wall_ns, uint64_t *start,
               struct err *e) MUST_USE;

struct logseg_entry {
    enum logseg_stream stream;
    unsigned flags;
    uint64_t end;
    int64_t wall_ns;
};

/* Entries from number `at` on (0 is the first); *n of at most max. */
int logr_index(struct logr *r, uint64_t at, struct logseg_entry *to, size_t max,
               size_t *n, struct err *e) MUST_USE;
/*
 * The index as it is in its file: up to n bytes at offset, *got; and how long it is,
 * whole entries only. 0 where there is none.
 */
int logr_index_bytes(struct logr *r, uint64_t offset, void *to, size_t n, size_t *got,
                     struct err *e) MUST_USE;
int logr_index_end(struct logr *r, uint64_t *end, struct err *e) MUST_USE;
/* One entry from / to its bytes; false: not one. */
bool logseg_entry_parse(const uint8_t from[LOGSEG_ENTRY_BYTES],
                        struct logseg_entry *out) MUST_USE;
void logseg_entry_format(const struct logseg_entry *en, uint8_t to[LOGSEG_ENTRY_BYTES]);

/* "out.00000000000067108864" and back; false: not such a name. */
#define LOGSEG_NAME_MAX 32
void logseg_name(enum logseg_stream s, uint64_t start, char out[LOGSEG_NAME_MAX]);
bool logseg_name_parse(const char *name, enum logseg_stream *s, uint64_t *start) MUST_USE;

#endif
