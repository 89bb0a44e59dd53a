#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rec.h"
#include "runner/book/book.h"

#define ACCOUNT_TYPE "gpurun.account.v1"
#define HOST_TYPE    "gpurun.bookhost.v1"

void
account_free(struct account *a)
{
    free(a->ssh_key);
    memset(a, 0, sizeof *a);
}

/* ERR_NOT_FOUND, in words of its own, where there is no such record. */
static int
load(const struct book *b, const char *dir, const char *id, const char *type,
     struct rec **out, struct err *e)
{
    char *path = NULL;
    int rc = -1;

    if (strlen(id) != SIGN_ID_LEN || strspn(id, "0123456789abcdef") != SIGN_ID_LEN) {
        return err_set(e, ERR_NOT_FOUND, "no such id");
    }
    if (book_path(b, dir, id, &path, e) != 0) {
        return -1;
    }
    rc = file_exists(path) ? rec_load(out, path, type, e)
                           : err_set(e, ERR_NOT_FOUND, "this book does not know %s", id);
    free(path);
    return rc;
}

static void
copy_text(char *to, size_t size, const struct rec *r, const char *key)
{
    const char *v = rec_get(r, key);

    (void)snprintf(to, size, "%s", v != NULL ? v : "");
}

int
account_load(const struct book *b, const char *id, struct account *out, struct err *e)
{
    struct account a;
    struct rec *r = NULL;
    int64_t revoked = 0;
    int rc = -1;

    memset(&a, 0, sizeof a);
    if (load(b, "accounts", id, ACCOUNT_TYPE, &r, e) != 0) {
        return -1;
    }
    (void)snprintf(a.id, sizeof a.id, "%s", id);
    copy_text(a.name, sizeof a.name, r, "name");
    a.has_key = rec_has(r, "key");
    if ((a.has_key && rec_need_hex(r, "key", a.key.b, sizeof a.key.b, e) != 0) ||
        rec_opt_int(r, "revoked", 0, 1, 0, &revoked, e) != 0 ||
        rec_opt_int(r, "made", 0, INT64_MAX, 0, &a.made_wall_ns, e) != 0) {
        goto out;
    }
    a.revoked = revoked == 1;
    a.ssh_key = rec_has(r, "ssh") ? xstrdup(rec_get(r, "ssh")) : NULL;
    *out = a;
    rc = 0;

out:
    rec_free(r);
    return rc;
}

int
account_save(const struct book *b, const struct account *a, struct err *e)
{
    struct rec *r = rec_new(ACCOUNT_TYPE);
    char *path = NULL;
    int rc = -1;

    if (a->name[0] != '\0') {
        rec_add(r, "name", a->name);
    }
    if (a->has_key) {
        rec_add_hex(r, "key", a->key.b, sizeof a->key.b);
    }
    if (a->ssh_key != NULL) {
        rec_add(r, "ssh", a->ssh_key);
    }
    rec_add_int(r, "revoked", a->revoked ? 1 : 0);
    rec_add_int(r, "made", a->made_wall_ns);
    if (book_path(b, "accounts", a->id, &path, e) == 0) {
        rc = rec_save(r, path, e);
    }
    rec_free(r);
    free(path);
    return rc;
}

int
account_find(const struct book *b, const char *what, struct account *out, struct err *e)
{
    struct book_ids l;
    bool found = false;

    if (book_list(b, "accounts", &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && !found; i++) {
        struct account a;
        struct err skip;

        if (account_load(b, l.v[i], &a, &skip) != 0) {
            continue;
        }
        found = strcmp(a.id, what) == 0 || strcmp(a.name, what) == 0;
        if (found) {
            *out = a;
        } else {
            account_free(&a);
        }
    }
    free(l.v);
    return found ? 0
                 : err_set(e, ERR_NOT_FOUND,
                           "there is no account '%s' (see `gpurun-book accounts`)", what);
}

int
account_by_key(const struct book *b, const struct sign_public *key, struct account *out,
               struct err *e)
{
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    struct buf id = BUF_INIT;
    char *path = NULL;
    int rc = -1;

    sign_public_format(key, hex);
    if (book_path(b, "keys", hex, &path, e) != 0) {
        return -1;
    }
    if (!file_exists(path)) {
        err_set(e, ERR_NOT_FOUND, "this book has no account for that renter's key");
    } else if (file_read(path, SIGN_ID_LEN, &id, e) == 0) {
        rc = account_load(b, buf_str(&id), out, e);
    }
    buf_free(&id);
    free(path);
    return rc;
}

/* One key, one account: a key that two of them claim would be either's money. */
static int
claim_key(const struct book *b, const struct account *a, const struct sign_public *key,
          struct err *e)
{
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    struct account other;
    char *path = NULL;
    char *lock_path = NULL;
    int lock = -1;
    int rc = -1;

    sign_public_format(key, hex);
    lock_path = path_join(b->home, "keys.lock");
    if (book_path(b, "keys", hex, &path, e) != 0 ||
        file_lock(lock_path, true, true, &lock, e) != 0) {
        goto out;
    }
    if (!file_exists(path)) {
        rc = file_replace(path, a->id, SIGN_ID_LEN, e);
    } else if (account_by_key(b, key, &other, e) == 0) {
        rc = strcmp(other.id, a->id) == 0
                 ? 0
                 : err_set(e, ERR_DENIED, "that renter's key is of another account");
        account_free(&other);
    }

out:
    (void)fd_close(&lock);
    free(path);
    free(lock_path);
    return rc;
}

int
account_pin(const struct book *b, struct account *a, const struct sign_public *key,
            struct err *e)
{
    if (a->has_key) {
        return memcmp(a->key.b, key->b, sizeof key->b) == 0
                   ? 0
                   : err_set(e, ERR_DENIED,
                             "the account is of another renter's key than the one shown");
    }
    if (claim_key(b, a, key, e) != 0) {
        return -1;
    }
    a->has_key = true;
    a->key = *key;
    return account_save(b, a, e);
}

/* ---- hosts ---- */

int
book_host_load(const struct book *b, const char *id, struct book_host *out, struct err *e)
{
    struct book_host h;
    struct rec *r = NULL;
    int64_t removed = 0;
    int rc = -1;

    memset(&h, 0, sizeof h);
    if (load(b, "hosts", id, HOST_TYPE, &r, e) != 0) {
        return -1;
    }
    (void)snprintf(h.id, sizeof h.id, "%s", id);
    copy_text(h.name, sizeof h.name, r, "name");
    if (rec_need_hex(r, "key", h.key.b, sizeof h.key.b, e) == 0 &&
        rec_opt_int(r, "removed", 0, 1, 0, &removed, e) == 0) {
        h.removed = removed == 1;
        *out = h;
        rc = 0;
    }
    rec_free(r);
    return rc;
}

int
book_host_save(const struct book *b, const struct book_host *h, struct err *e)
{
    struct rec *r = rec_new(HOST_TYPE);
    char *path = NULL;
    int rc = -1;

    rec_add(r, "name", h->name);
    rec_add_hex(r, "key", h->key.b, sizeof h->key.b);
    rec_add_int(r, "removed", h->removed ? 1 : 0);
    if (book_path(b, "hosts", h->id, &path, e) == 0) {
        rc = rec_save(r, path, e);
    }
    rec_free(r);
    free(path);
    return rc;
}

int
book_host_find(const struct book *b, const char *what, struct book_host *out,
               struct err *e)
{
    struct book_ids l;
    bool found = false;

    if (book_list(b, "hosts", &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && !found; i++) {
        struct err skip;

        found = book_host_load(b, l.v[i], out, &skip) == 0 &&
                (strcmp(out->id, what) == 0 || strcmp(out->name, what) == 0);
    }
    free(l.v);
    return found ? 0
                 : err_set(e, ERR_NOT_FOUND,
                           "this book knows no host '%s' (see `gpurun-book host ls`)",
                           what);
}
