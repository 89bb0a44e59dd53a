#include "runner/book/book.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rec.h"

#define BOOK_RECORD "gpurun.book.v1"

static char *
home_path(void)
{
    const char *own = getenv("GPURUN_BOOK_HOME");
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");

    if (own != NULL && own[0] != '\0') {
        return xstrdup(own);
    }
    if (xdg != NULL && xdg[0] == '/') {
        return path_join(xdg, "gpurun-book");
    }
    if (home != NULL && home[0] == '/') {
        return path_join(home, ".local/share/gpurun-book");
    }
    return NULL;
}

/* Whoever can write there can make money. */
static int
check_home(const char *home, struct err *e)
{
    struct stat sb;

    if (stat(home, &sb) != 0) {
        return err_set_sys(e, errno, "cannot look at the book's home '%s'", home);
    }
    if (sb.st_uid != geteuid()) {
        return err_set(e, ERR_DENIED, "the book's home '%s' belongs to user %u, not %u",
                       home, (unsigned)sb.st_uid, (unsigned)geteuid());
    }
    if ((sb.st_mode & 022) != 0) {
        return err_set(e, ERR_DENIED,
                       "others can write in the book's home '%s' (chmod go-w)", home);
    }
    return 0;
}

static int
open_home(struct book *b, struct err *e)
{
    char *said = home_path();
    int rc = -1;

    if (said == NULL) {
        return err_set(e, ERR_INVALID,
                       "neither GPURUN_BOOK_HOME nor HOME says where the book is");
    }
    if (file_mkdirs(said, 0700, e) == 0) {
        b->home = realpath(said, NULL);
        rc = b->home != NULL
                 ? check_home(b->home, e)
                 : err_set_sys(e, errno, "cannot open the book's home '%s'", said);
    }
    free(said);
    return rc;
}

static int
load_settings(struct book *b, struct err *e)
{
    char *path = path_join(b->home, "book");
    struct rec *r = NULL;
    int rc = 0;

    if (file_exists(path)) {
        rc = rec_load(&r, path, BOOK_RECORD, e) == 0
                 ? rec_need_int(r, "fee_bps", 0, BOOK_FEE_MAX_BPS, &b->fee_bps, e)
                 : -1;
    }
    rec_free(r);
    free(path);
    return rc;
}

int
book_open(struct book **out, struct err *e)
{
    struct book *b = xcalloc(1, sizeof *b);
    char *key = NULL;
    char *ledger = NULL;
    int rc = -1;

    if (open_home(b, e) != 0) {
        goto out;
    }
    key = path_join(b->home, "key");
    ledger = path_join(b->home, "ledger");
    if (load_settings(b, e) != 0 || sign_key_open(&b->key, key, e) != 0 ||
        ledger_open(&b->ledger, ledger, e) != 0) {
        goto out;
    }
    sign_key_public(b->key, &b->pub);
    *out = b;
    b = NULL;
    rc = 0;

out:
    free(key);
    free(ledger);
    book_close(b);
    return rc;
}

void
book_close(struct book *b)
{
    if (b == NULL) {
        return;
    }
    ledger_close(b->ledger);
    sign_key_free(b->key);
    free(b->home);
    free(b);
}

int
book_path(const struct book *b, const char *dir, const char *name, char **out,
          struct err *e)
{
    char *at = path_join(b->home, dir);

    if (file_mkdirs(at, 0700, e) != 0) {
        free(at);
        return -1;
    }
    *out = name != NULL ? path_join(at, name) : xstrdup(at);
    free(at);
    return 0;
}

int
book_set_fee(struct book *b, int64_t fee_bps, struct err *e)
{
    char *path = path_join(b->home, "book");
    struct rec *r = rec_new(BOOK_RECORD);
    int rc;

    rec_add_int(r, "fee_bps", fee_bps);
    rc = rec_save(r, path, e);
    if (rc == 0) {
        b->fee_bps = fee_bps;
    }
    rec_free(r);
    free(path);
    return rc;
}

int
book_check_name(const char *name, struct err *e)
{
    size_t n = name == NULL ? 0 : strlen(name);

    if (n == 0 || n > BOOK_NAME_MAX || name[0] == '-' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                     "._@-") != n) {
        return err_set(e, ERR_INVALID,
                       "a name takes 1 to %d letters, digits, '.', '_', '@' or '-'",
                       BOOK_NAME_MAX);
    }
    return 0;
}

/* ---- lists ---- */

static bool
is_id(const char *name)
{
    return strlen(name) == SIGN_ID_LEN && strspn(name, "0123456789abcdef") == SIGN_ID_LEN;
}

static int
by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int
too_many(struct err *e)
{
    return err_set(e, ERR_RANGE,
                   "a book keeps %d of them: another one, with a GPURUN_BOOK_HOME of its "
                   "own, takes the next",
                   BOOK_ACCOUNTS_MAX);
}

static int
add_id(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct book_ids *l = ctx;

    (void)dir_fd;
    if (!is_id(name)) {
        return 0;
    }
    if (l->n == BOOK_ACCOUNTS_MAX) {
        return too_many(e);
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    memcpy(l->v[l->n++], name, sizeof l->v[0]);
    return 0;
}

int
book_list(const struct book *b, const char *dir, struct book_ids *out, struct err *e)
{
    struct book_ids l = {NULL, 0};
    char *path = NULL;
    int fd;
    int rc;

    if (book_path(b, dir, NULL, &path, e) != 0) {
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd == -1 ? err_set_sys(e, errno, "cannot list '%s'", path)
                  : file_each_name(fd, add_id, &l, e);
    (void)fd_close(&fd);
    free(path);
    if (rc != 0) {
        free(l.v);
        return err_wrap(e, "%s", dir);
    }
    if (l.n > 0) {
        qsort(l.v, l.n, sizeof *l.v, by_id);
    }
    *out = l;
    return 0;
}

int
book_check_room(const struct book *b, const char *dir, const char *id, struct err *e)
{
    struct book_ids l;
    int rc = 0;

    if (book_list(b, dir, &l, e) != 0) {
        return -1;
    }
    if (l.n == BOOK_ACCOUNTS_MAX && bsearch(id, l.v, l.n, sizeof *l.v, by_id) == NULL) {
        (void)too_many(e);
        rc = err_wrap(e, "%s", dir);
    }
    free(l.v);
    return rc;
}
