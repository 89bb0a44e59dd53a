#ifndef BASE_FORM_H
#define BASE_FORM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A message taken apart, for a reader with another language: the English formats it was
 * made of and, as text, what was put into their places.
 *
 *     form = part *( ( RS / GS ) part )  RS joins by ": " as err_wrap, GS by " "
 *     part = format *( US argument )     GS is 0x1d, RS 0x1e, US 0x1f
 *
 * A '*' has an empty argument of its own. Forms travel beside the finished text, and what
 * comes from a peer may be anything: a format is a key into our own catalogue, and what
 * is found there (or the format itself, where one part of several is not) is filled by
 * copying texts into places. Nothing is ever formatted with it.
 */
#define FORM_MAX 1024 /* bytes with the NUL; what needs more has no form */

/* The form of a message of one part; "" where it has none: no room, more than 16 places,
 * a conversion other than diouxXcs, a separator in an argument. */
void form_make(char out[FORM_MAX], const char *format, va_list ap);

/* Put the parts of outer in front; "" if either is, or where there is no room. */
void form_wrap(char form[FORM_MAX], const char *outer);

/* Put "(name)" behind, as err_name does it; "" where there is no room. */
void form_name(char form[FORM_MAX], const char *name);

/*
 * The message in the words of the program's catalogue, cut at size. False: the catalogue
 * knows none of its formats (or nothing is translated at all), or a place has no
 * argument; *out holds nothing of use then.
 */
bool form_tell(const char *form, char *out, size_t size);

#endif
