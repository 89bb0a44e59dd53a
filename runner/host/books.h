#ifndef RUNNER_HOST_BOOKS_H
#define RUNNER_HOST_BOOKS_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"
#include "runner/host/agent.h"

/*
 * The operators' books whose grants this host takes: books/<key in hex> holds a name, and
 * books/<key in hex>.at, where there is one, how the book is reached from here.
 */
#define BOOKS_DIR      "books"
#define BOOKS_MAX      1000
#define BOOK_HEX_LEN   ((size_t)2 * SIGN_PUBLIC_LEN)
#define BOOK_NAME_MAX  64
#define BOOK_WHERE_MAX 255

struct host_book {
    struct sign_public key;
    char hex[BOOK_HEX_LEN + 1];
    char name[BOOK_NAME_MAX + 1];
    char where[BOOK_WHERE_MAX + 1]; /* "[USER@]HOST[:PORT]"; "": it is not called */
};

struct host_books {
    struct host_book *v; /* by key */
    size_t n;
};

/* ERR_RANGE: more than BOOKS_MAX. books_free in any case of success. */
int books_list(struct host_books *out, const struct agent *a, struct err *e) MUST_USE;
void books_free(struct host_books *l);

/*
 * How that book is reached; NULL: no more. ERR_INVALID: no such place can be
 * ([USER@]HOST[:PORT], HOST also a name out of ssh_config).
 */
int books_set_where(const struct agent *a, const struct host_book *b, const char *where,
                    struct err *e) MUST_USE;
/* Its grants are taken no more. */
int books_remove(const struct agent *a, const struct host_book *b,
                 struct err *e) MUST_USE;

#endif
