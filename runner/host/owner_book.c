#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/offers.h"
#include "runner/host/owner_json.h"

/*
 * The books whose grants this host takes: books/<key in hex> holds a name. A renter's own
 * book is taken, too, unless the owner says no: then books/no-own is there.
 */
#define KEY_HEX_LEN   ((size_t)2 * SIGN_PUBLIC_LEN)
#define KEY_MAX       ((size_t)4096)
#define BOOK_NAME_MAX 64

/* 64 hex digits, or a file that begins with them. */
static int
parse_key(const char *word, char hex[KEY_HEX_LEN + 1], struct err *e)
{
    struct sign_public key;
    struct buf b = BUF_INIT;
    size_t n;
    bool ok;

    if (hex_parse(word, strlen(word), key.b, sizeof key.b)) {
        sign_public_format(&key, hex);
        return 0;
    }
    if (file_read(word, KEY_MAX, &b, e) != 0) {
        return err_wrap(e, "a book's key is 64 hex digits, or a file that holds them "
                           "(`gpurun-book key`)");
    }
    n = strcspn(buf_str(&b), " \t\r\n");
    ok = n == KEY_HEX_LEN && hex_parse(buf_str(&b), n, key.b, sizeof key.b);
    buf_free(&b);
    if (!ok) {
        return err_set(e, ERR_INVALID, "'%s' holds no key of 64 hex digits", word);
    }
    sign_public_format(&key, hex);
    return 0;
}

static int
allow(int dir, const char *word, const char *name, struct err *e)
{
    char hex[KEY_HEX_LEN + 1];

    name = name != NULL ? name : "book";
    if (strlen(name) > BOOK_NAME_MAX) {
        return err_set(e, ERR_INVALID, "--name takes at most %d characters",
                       BOOK_NAME_MAX);
    }
    if (parse_key(word, hex, e) != 0) {
        return -1;
    }
    return file_replace_at(dir, hex, name, strlen(name), e);
}

/* By its name, or its key. */
static bool
is_meant(int dir, const char *file, const char *what)
{
    struct buf b = BUF_INIT;
    struct err none;
    bool meant = strcmp(file, what) == 0 ||
                 (file_read_at(dir, file, BOOK_NAME_MAX, &b, &none) == 0 &&
                  strcmp(buf_str(&b), what) == 0);

    buf_free(&b);
    return meant;
}

static bool
is_book(const char *name)
{
    struct sign_public key;

    return hex_parse(name, strlen(name), key.b, sizeof key.b);
}

/* fn for each accepted book; the descriptor stays the caller's. */
static int
each_book(int dir, int (*fn)(void *ctx, int dir, const char *name, struct err *e),
          void *ctx, struct err *e)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int rc = 0;

    if (d == NULL) {
        err_set_sys(e, errno, "cannot list the accepted books");
        (void)fd_close(&fd);
        return -1;
    }
    while (rc == 0 && (entry = readdir(d)) != NULL) {
        rc = is_book(entry->d_name) ? fn(ctx, dir, entry->d_name, e) : 0;
    }
    (void)closedir(d);
    return rc;
}

struct removal {
    const char *what;
    int n;
};

static int
remove_one(void *ctx, int dir, const char *name, struct err *e)
{
    struct removal *r = ctx;

    if (is_meant(dir, name, r->what)) {
        if (unlinkat(dir, name, 0) != 0) {
            return err_set_sys(e, errno, "cannot remove the book");
        }
        r->n++;
    }
    return 0;
}

static int
remove_book(int dir, const char *what, struct err *e)
{
    struct removal r = {what, 0};

    if (each_book(dir, remove_one, &r, e) != 0) {
        return -1;
    }
    return r.n > 0 ? 0
                   : err_set(e, ERR_NOT_FOUND,
                             "there is no book '%s' (see `gpurun-agent book ls`)", what);
}

/* Whether what a renter promises by itself is taken: a budget, not money. */
static int
set_own(int dir, const char *word, struct err *e)
{
    if (strcmp(word, "no") == 0) {
        return file_replace_at(dir, OFFERS_NO_OWN, "", 0, e);
    }
    if (strcmp(word, "yes") != 0) {
        return err_set(e, ERR_INVALID, "it is `book own yes` or `book own no`");
    }
    return unlinkat(dir, OFFERS_NO_OWN, 0) == 0 || errno == ENOENT
               ? 0
               : err_set_sys(e, errno, "cannot change it");
}

struct listing {
    struct json_writer *json;
    struct columns *columns;
};

static int
list_one(void *ctx, int dir, const char *name, struct err *e)
{
    struct listing *l = ctx;
    struct buf b = BUF_INIT;

    if (file_read_at(dir, name, BOOK_NAME_MAX, &b, e) != 0) {
        return -1;
    }
    if (l->columns != NULL) {
        columns_add(l->columns, buf_str(&b));
        columns_add(l->columns, name);
    } else {
        json_obj(l->json);
        json_kstr(l->json, "name", buf_str(&b));
        json_kstr(l->json, "key", name);
        json_obj_end(l->json);
    }
    buf_free(&b);
    return 0;
}

static int
list(const struct agent *a, int dir, bool as_json, struct err *e)
{
    static const char *const titles[] = {"BOOK", "KEY"};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct listing l = {&j, as_json ? NULL : columns_new(2, titles)};
    char own[KEY_HEX_LEN + 1];
    bool takes_own = faccessat(dir, OFFERS_NO_OWN, F_OK, 0) != 0;
    int rc;

    sign_public_format(&a->pub, own);
    json_obj(&j);
    json_kstr(&j, "host_key", own);
    json_kbool(&j, "own", takes_own);
    json_key(&j, "books");
    json_arr(&j);
    rc = each_book(dir, list_one, &l, e);
    json_arr_end(&j);
    json_obj_end(&j);
    if (as_json) {
        rc = rc == 0 ? program_print_json(&out, e) : -1;
    } else {
        columns_print_free(l.columns);
        (void)printf("budgets of renters' own: %s; this host's key, for operators: %s\n",
                     takes_own ? "taken" : "not taken", own);
    }
    buf_free(&out);
    return rc;
}

int
owner_book(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool lists = strcmp(argv[0], "ls") == 0 && argc == 1;
    bool allows = strcmp(argv[0], "allow") == 0 && argc == 2;
    bool removes = strcmp(argv[0], "rm") == 0 && argc == 2;
    bool owns = strcmp(argv[0], "own") == 0 && argc == 2;
    struct agent *a = NULL;
    int dir = -1;
    int rc = -1;

    if (!(lists || allows || removes || owns) || (o->name != NULL && !allows)) {
        return err_set(e, ERR_INVALID,
                       "it is `book ls`, `book allow KEYFILE [--name NAME]`, `book rm "
                       "NAME` or `book own yes|no`");
    }
    if (agent_open(&a, e) == 0 && agent_dir(a, "books", &dir, e) == 0) {
        rc = allows    ? allow(dir, argv[1], o->name, e)
             : removes ? remove_book(dir, argv[1], e)
             : owns    ? set_own(dir, argv[1], e)
                       : 0;
    }
    if (rc == 0) {
        rc = list(a, dir, o->json, e);
    }
    (void)fd_close(&dir);
    agent_close(a);
    return rc;
}
