#ifndef METER_WORDS_H
#define METER_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Values of records that hold several words, "gpu 4090 1880000 -": one space
 * between words, integers in canonical decimal, "-" where there is nothing. Shared by
 * the files of meter/. A cursor like base/bytes.h: read all, then look at bad once.
 */
struct words {
    const char *at;
    const char *end;
    bool bad;
    bool first;
};

struct words words_of(const char *value, size_t len);
/* [a-z0-9._-], at most size - 1 of them; "-" gives "". */
void words_name(struct words *w, char *out, size_t size);
/* Printable ASCII without space and backslash, at most size - 1; "-" gives "". */
void words_text(struct words *w, char *out, size_t size);
int64_t words_int(struct words *w, int64_t min, int64_t max);
int64_t words_count(struct words *w); /* any integer that is not negative */
/* An integer, or "-" for nothing. */
int64_t words_int_or(struct words *w, int64_t nothing);
/* Nothing was bad and nothing is left. */
bool words_done(const struct words *w);

/*
 * What words_name and words_text accept, up to the length that names and texts have
 * everywhere in records; "-" alone is not. With _or_none "" is, too.
 */
#define WORDS_NAME_MAX 32
#define WORDS_TEXT_MAX 64
bool words_is_name(const char *s);
bool words_is_text(const char *s);
bool words_is_name_or_none(const char *s);
bool words_is_text_or_none(const char *s);

/* Writing: s, or "-" if it is empty or v is `nothing`; never a space around. */
void words_add(struct buf *out, const char *s);
void words_add_int(struct buf *out, int64_t v);
void words_add_int_or(struct buf *out, int64_t v, int64_t nothing);

/*
 * How many digits s begins with, and their value: what nearly every number of a journal
 * is. 0, and *out as it was, if there is none, if they are more than WORDS_DIGITS_MAX
 * (up to which none overflows), or 0 stands in front of others: then words_parse_int
 * knows. No byte of s at or behind len is looked at.
 */
#define WORDS_DIGITS_MAX 18
size_t words_digits(const char *s, size_t len, int64_t *out);
/* A canonical decimal integer; false otherwise, and *out as it was. */
bool words_parse_int(const char *s, size_t len, int64_t *out);

#endif
