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
#include "base/lang.h"
#include "base/text.h"
#include "runner/host/agent.h"
#include "runner/host/books.h"
#include "runner/host/commands.h"
#include "runner/host/errands.h"
#include "runner/host/offers.h"
#include "runner/host/owner_book.h"
#include "runner/host/owner_json.h"
#include "runner/job/refusals.h"

/*
 * The books whose grants this host takes: books/<key in hex> holds a name. A renter's own
 * book is taken, too, unless the owner says no: then books/no-own is there.
 */
#define KEY_MAX ((size_t)4096)

/* 64 hex digits, or a file that begins with them. */
static int
parse_key(const char *word, char hex[BOOK_HEX_LEN + 1], struct err *e)
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
    ok = n == BOOK_HEX_LEN && hex_parse(buf_str(&b), n, key.b, sizeof key.b);
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
    char hex[BOOK_HEX_LEN + 1];

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

/* By its name, or its key: fn for each that is meant. */
static int
each_meant(const struct agent *a, const char *what,
           int (*fn)(const struct agent *a, const struct host_book *b, const char *word,
                     struct err *e),
           const char *word, struct err *e)
{
    struct host_books l;
    size_t n = 0;
    int rc = 0;

    if (books_list(&l, a, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        if (strcmp(l.v[i].name, what) == 0 || strcmp(l.v[i].hex, what) == 0) {
            rc = fn(a, &l.v[i], word, e);
            n++;
        }
    }
    books_free(&l);
    return rc != 0 || n > 0
               ? rc
               : err_set(e, ERR_NOT_FOUND,
                         "there is no book '%s' (see `gpurun-agent book ls`)", what);
}

static int
remove_one(const struct agent *a, const struct host_book *b, const char *word,
           struct err *e)
{
    (void)word;
    return books_remove(a, b, e);
}

static int
reach_one(const struct agent *a, const struct host_book *b, const char *word,
          struct err *e)
{
    return books_set_where(a, b, strcmp(word, "none") == 0 ? NULL : word, e);
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

static int
refused_by(const struct agent *a, const struct host_book *b, struct refusals *out,
           struct err *e)
{
    int told_fd = -1;
    int rc = agent_dir(a, ERRANDS_TOLD_DIR, &told_fd, e) == 0
                 ? refusals_list(told_fd, &b->key, out, e)
                 : -1;

    (void)fd_close(&told_fd);
    return rc;
}

/* What it has refused is brought again. */
static int
retry_one(const struct agent *a, const struct host_book *b, const char *word,
          struct err *e)
{
    int told_fd = -1;
    int rc = agent_dir(a, ERRANDS_TOLD_DIR, &told_fd, e) == 0
                 ? refusals_forget(told_fd, &b->key, e)
                 : -1;

    (void)word;
    (void)fd_close(&told_fd);
    return rc;
}

static int
refused_json(struct json_writer *j, const struct agent *a, const struct host_book *b,
             struct err *e)
{
    struct refusals l;

    if (refused_by(a, b, &l, e) != 0) {
        return -1;
    }
    refusals_json(j, &l);
    refusals_free(&l);
    return 0;
}

static int
print_refused(const struct agent *a, const struct host_book *b, struct err *e)
{
    struct refusals l;
    char shown[sizeof l.v->why.msg];

    if (refused_by(a, b, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        const struct refusal *r = &l.v[i];

        if (!refusal_is_another_books(r)) {
            (void)printf(_("%s refuses the %s of %s for good: %s\n"), b->name,
                         err_words(r->what), r->job[0] != '\0' ? r->job : r->id,
                         refusal_words(r, shown, sizeof shown));
        }
    }
    refusals_free(&l);
    return 0;
}

static int
list_json(const struct agent *a, const struct host_books *l, const char *own_key,
          bool takes_own, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    int rc = 0;

    json_obj(&j);
    json_kstr(&j, "host_key", own_key);
    json_kbool(&j, "own", takes_own);
    json_key(&j, "books");
    json_arr(&j);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        json_obj(&j);
        json_kstr(&j, "name", l->v[i].name);
        json_kstr(&j, "key", l->v[i].hex);
        json_kstr(&j, "at", l->v[i].where[0] != '\0' ? l->v[i].where : NULL);
        rc = refused_json(&j, a, &l->v[i], e);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    if (rc != 0) {
        buf_free(&out);
        return -1;
    }
    return program_print_json(&out, e);
}

static int
list(const struct agent *a, int dir, bool as_json, struct err *e)
{
    static const char *const titles[] = {N_("BOOK"), N_("KEY"), N_("AT")};
    char own[BOOK_HEX_LEN + 1];
    bool takes_own = faccessat(dir, OFFERS_NO_OWN, F_OK, 0) != 0;
    struct host_books l;
    struct columns *c;
    int rc = 0;

    if (books_list(&l, a, e) != 0) {
        return -1;
    }
    sign_public_format(&a->pub, own);
    if (as_json) {
        rc = list_json(a, &l, own, takes_own, e);
    } else {
        c = columns_new(3, titles);
        for (size_t i = 0; i < l.n; i++) {
            columns_add(c, l.v[i].name);
            columns_add(c, l.v[i].hex);
            columns_add(c, l.v[i].where[0] != '\0' ? l.v[i].where : "-");
        }
        columns_print_free(c);
        (void)printf(
            _("budgets of renters' own: %s; this host's key, for operators: %s\n"),
            takes_own ? _("taken") : _("not taken"), own);
        for (size_t i = 0; rc == 0 && i < l.n; i++) {
            rc = print_refused(a, &l.v[i], e);
        }
    }
    books_free(&l);
    return rc;
}

static void
say_refused(void *ctx, const struct refusal *r)
{
    char shown[sizeof r->why.msg];

    (void)ctx;
    (void)fprintf(stderr, _("gpurun-agent: %s of %s is refused for good: %s\n"),
                  err_words(r->what), r->job[0] != '\0' ? r->job : r->id,
                  refusal_words(r, shown, sizeof shown));
}

int
owner_book_say(const struct agent *a, size_t *n_refused, struct err *e)
{
    int told_fd = -1;
    int rc;

    *n_refused = 0;
    rc = agent_dir(a, ERRANDS_TOLD_DIR, &told_fd, e) == 0
             ? refusals_tell(told_fd, say_refused, NULL, n_refused, e)
             : -1;
    (void)fd_close(&told_fd);
    return rc;
}

int
owner_book_tell(const struct agent *a, struct errands *sums, size_t *n_refused,
                struct err *e)
{
    char *paused = lang_pause(); /* what is kept of it is English */
    struct err why;
    int rc = errands_run(a, sums, e);

    lang_resume(paused);
    /* What a supervisor's errands have met, too. */
    if (owner_book_say(a, n_refused, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    return rc;
}

int
owner_book_refused(size_t n_refused, struct err *e)
{
    return n_refused == 0 ? 0
                          : err_set(e, ERR_DENIED,
                                    "refused for good, and not sent again: %zu (see "
                                    "`gpurun-agent book ls`)",
                                    n_refused);
}

/* Now, and not at the next tick. */
static int
tell(const struct command_options *o, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct errands sums;
    struct agent *a = NULL;
    size_t n_refused = 0;
    int rc = agent_open(&a, e) == 0 ? owner_book_tell(a, &sums, &n_refused, e) : -1;

    agent_close(a);
    if (rc == 0 && o->json) {
        json_obj(&j);
        json_kint(&j, "told", (int64_t)sums.n_told);
        json_kint(&j, "refused", (int64_t)n_refused);
        json_obj_end(&j);
        rc = program_print_json(&out, e);
    } else if (rc == 0) {
        (void)printf(_("%zu told\n"), sums.n_told);
    }
    buf_free(&out);
    return rc == 0 ? owner_book_refused(n_refused, e) : -1;
}

int
owner_book(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool lists = strcmp(argv[0], "ls") == 0 && argc == 1;
    bool allows = strcmp(argv[0], "allow") == 0 && argc == 2;
    bool removes = strcmp(argv[0], "rm") == 0 && argc == 2;
    bool owns = strcmp(argv[0], "own") == 0 && argc == 2;
    bool reaches = strcmp(argv[0], "reach") == 0 && argc == 3;
    bool retries = strcmp(argv[0], "retry") == 0 && argc == 2;
    struct agent *a = NULL;
    int dir = -1;
    int rc = -1;

    if (strcmp(argv[0], "tell") == 0 && argc == 1 && o->name == NULL) {
        return tell(o, e);
    }
    if (!(lists || allows || removes || owns || reaches || retries) ||
        (o->name != NULL && !allows)) {
        return err_set(e, ERR_INVALID,
                       "it is `book ls`, `book allow KEYFILE [--name NAME]`, `book rm "
                       "NAME`, `book own yes|no`, `book reach NAME [USER@]HOST[:PORT]`, "
                       "`book reach NAME none`, `book retry NAME` or `book tell`");
    }
    if (agent_open(&a, e) == 0 && agent_dir(a, BOOKS_DIR, &dir, e) == 0) {
        rc = allows    ? allow(dir, argv[1], o->name, e)
             : removes ? each_meant(a, argv[1], remove_one, NULL, e)
             : reaches ? each_meant(a, argv[1], reach_one, argv[2], e)
             : retries ? each_meant(a, argv[1], retry_one, NULL, e)
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
