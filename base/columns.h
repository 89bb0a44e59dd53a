#ifndef BASE_COLUMNS_H
#define BASE_COLUMNS_H

#include <stddef.h>

/* Tables for people: cells are escaped, columns aligned by display width. */
struct columns;

/* titles: n of them, marked by N_() and translated here; NULL: no head line. */
struct columns *columns_new(size_t n, const char *const *titles);
/* The next cell, row by row. NULL is "". */
void columns_add(struct columns *c, const char *text);
void columns_print_free(struct columns *c); /* to stdout */

#endif
