#include "runner/host/books.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

#define AT_SUFFIX ".at"

static void
name_of_where(const struct host_book *b, char out[BOOK_HEX_LEN + sizeof AT_SUFFIX])
{
    (void)snprintf(out, BOOK_HEX_LEN + sizeof AT_SUFFIX, "%s" AT_SUFFIX, b->hex);
}

/* What ssh takes as a place behind "ssh://", and nothing that could be more than one. */
static int
check_where(const char *where, struct err *e)
{
    const char *at = strrchr(where, '@');
    const char *host = at != NULL ? at + 1 : where;
    size_t len = strlen(where);

    if (len > BOOK_WHERE_MAX || *host == '\0' || *host == '-' || *where == '-' ||
        *where == '@' ||
        strspn(where, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                      "._-@:[]") != len) {
        return err_set(e, ERR_INVALID, "a book is reached at [USER@]HOST[:PORT]");
    }
    return 0;
}

/* A file of one short text; "" where it is not there. */
static int
read_word(int dir, const char *name, char *out, size_t size, struct err *e)
{
    struct buf b = BUF_INIT;
    struct err why;
    int rc = 0;

    out[0] = '\0';
    if (file_read_at(dir, name, size - 1, &b, &why) == 0) {
        (void)snprintf(out, size, "%s", buf_str(&b));
    } else if (why.code != ERR_NOT_FOUND) {
        *e = why;
        rc = err_wrap(e, "books/%s", name);
    }
    buf_free(&b);
    return rc;
}

static int
load(int dir, const char *name, struct host_book *out, struct err *e)
{
    char at[BOOK_HEX_LEN + sizeof AT_SUFFIX];

    sign_public_format(&out->key, out->hex);
    name_of_where(out, at);
    return read_word(dir, name, out->name, sizeof out->name, e) == 0 &&
                   read_word(dir, at, out->where, sizeof out->where, e) == 0 &&
                   (out->where[0] == '\0' || check_where(out->where, e) == 0)
               ? 0
               : -1;
}

static int
by_key(const void *a, const void *b)
{
    const struct host_book *x = a;
    const struct host_book *y = b;

    return strcmp(x->hex, y->hex);
}

static int
add_one(void *ctx, int dir, const char *name, struct err *e)
{
    struct host_books *l = ctx;
    struct host_book b;

    memset(&b, 0, sizeof b);
    if (!hex_parse(name, strlen(name), b.key.b, sizeof b.key.b)) {
        return 0;
    }
    if (l->n == BOOKS_MAX) {
        return err_set(e, ERR_RANGE,
                       "more than %d books (`gpurun-agent book rm` takes one away)",
                       BOOKS_MAX);
    }
    if (load(dir, name, &b, e) != 0) {
        return -1;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = b;
    return 0;
}

int
books_list(struct host_books *out, const struct agent *a, struct err *e)
{
    struct host_books l = {NULL, 0};
    int dir = -1;
    int rc = agent_dir(a, BOOKS_DIR, &dir, e);

    if (rc == 0) {
        rc = file_each_name(dir, add_one, &l, e);
    }
    (void)fd_close(&dir);
    if (rc != 0) {
        books_free(&l);
        return -1;
    }
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, by_key);
    }
    *out = l;
    return 0;
}

void
books_free(struct host_books *l)
{
    free(l->v);
    *l = (struct host_books){NULL, 0};
}

static int
remove_file(int dir, const char *name, struct err *e)
{
    return unlinkat(dir, name, 0) == 0 || errno == ENOENT
               ? 0
               : err_set_sys(e, errno, "cannot remove books/%s", name);
}

int
books_set_where(const struct agent *a, const struct host_book *b, const char *where,
                struct err *e)
{
    char name[BOOK_HEX_LEN + sizeof AT_SUFFIX];
    int dir = -1;
    int rc = -1;

    if ((where != NULL && check_where(where, e) != 0) ||
        agent_dir(a, BOOKS_DIR, &dir, e) != 0) {
        return -1;
    }
    name_of_where(b, name);
    rc = where != NULL ? file_replace_at(dir, name, where, strlen(where), e)
                       : remove_file(dir, name, e);
    (void)fd_close(&dir);
    return rc;
}

int
books_remove(const struct agent *a, const struct host_book *b, struct err *e)
{
    int dir = -1;
    int rc = -1;

    if (books_set_where(a, b, NULL, e) != 0 || agent_dir(a, BOOKS_DIR, &dir, e) != 0) {
        return -1;
    }
    rc = remove_file(dir, b->hex, e);
    (void)fd_close(&dir);
    return rc;
}
