#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * Append a peer's or a file's bytes so that a terminal cannot be steered by
 * them: C0, DEL, C1, ESC, bidi controls and invalid UTF-8 become "\xHH"
 * (each byte), a newline "\n"; everything else as it is.
 */
void text_escape(struct buf *out, const void *data, size_t len);
/* The same into a fixed array, cut with "…" where it does not fit; returns out. */
const char *text_escape_to(char *out, size_t size, const char *s);

bool text_is_utf8(const void *data, size_t len);
/* Terminal columns of valid UTF-8 text (wide CJK 2, combining 0). */
int text_width(const char *s);
/* Bytes of the longest beginning of s that takes no more than that many. */
size_t text_prefix(const char *s, int columns);

/* "1h30m", "90s", "15d", "250ms" or plain seconds → ns. ERR_INVALID / ERR_RANGE. */
int text_parse_duration(const char *s, int64_t *ns, struct err *e) MUST_USE;
/* The same in seconds, rounded up; ERR_RANGE names the bounds, too. */
int text_parse_seconds(const char *s, int64_t min_s, int64_t max_s, int64_t *out,
                       struct err *e) MUST_USE;
/* "3d 04:05:06" or "04:05:06"; for people. */
#define TEXT_DURATION_MAX 32
void text_format_duration(int64_t seconds, char out[TEXT_DURATION_MAX]);
/* "512", "64K", "20G", "1.5GiB" (K, M, G, T: binary; KB, MB, GB, TB: decimal) → bytes. */
int text_parse_size(const char *s, int64_t *bytes, struct err *e) MUST_USE;
#define TEXT_SIZE_MAX 24
void text_format_size(uint64_t bytes, char out[TEXT_SIZE_MAX]); /* "1.4 GB" */

/* A whole decimal integer in [min, max]; ERR_INVALID / ERR_RANGE. what names it. */
int text_parse_int(const char *s, int64_t min, int64_t max, const char *what,
                   int64_t *out, struct err *e) MUST_USE;

/* Append base64 (RFC 4648, padded). */
void text_base64(struct buf *out, const void *data, size_t len);
/*
 * What people wrote into a file that has been read into b, as a string: behind the mark
 * (U+FEFF) that editors of Windows begin UTF-8 files with. Stays b's. ERR_INVALID: a zero
 * byte stands in it, behind which nothing would be seen.
 */
int text_of_file(struct buf *b, char **text, struct err *e) MUST_USE;
/* Single-quote s for a POSIX shell. */
void text_shell_quote(struct buf *out, const char *s);
/* Equal, or both NULL? */
bool text_same(const char *a, const char *b);
/* Does s end so, with something before it? */
bool text_ends_with(const char *s, const char *end);
/* Does name match the glob pattern (fnmatch without flags)? */
bool text_glob(const char *pattern, const char *name);

#endif
