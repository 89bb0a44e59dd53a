#include "runner/job/refusals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rec.h"
#include "base/text.h"
#include "meter/refuse.h"

#define TYPE           "gpurun.refusal.v1"
#define SUFFIX         ".no"
#define MAX_BYTES      ((size_t)16384)
#define NAME_MAX_BYTES (JOB_ID_LEN + SIGN_ID_LEN + 8)

bool
refusal_is_final(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_RANGE:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_CORRUPT:
    case ERR_DENIED:
        return true;
    default:
        return false;
    }
}

bool
refusal_is_another_books(const struct refusal *r)
{
    return r->why.code == ERR_NOT_FOUND && strcmp(r->what, REFUSAL_DECLINE) == 0;
}

/* ---- who changes them ---- */

/* Not the lock of the errands: that is held as long as a book takes its time. */
static int
hold(int told_fd, struct err *e)
{
    int rc;

    do {
        rc = flock(told_fd, LOCK_EX);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : err_set_sys(e, errno, "cannot lock what books have refused");
}

static void
release(int told_fd)
{
    (void)flock(told_fd, LOCK_UN);
}

/* ---- one ---- */

static void
name_of(const char *id, const char *book, char out[NAME_MAX_BYTES])
{
    (void)snprintf(out, NAME_MAX_BYTES, "%.*s.%s" SUFFIX, JOB_ID_LEN, id, book);
}

/* A member that must be a word of at most size - 1 bytes. */
static int
get_word(const struct rec *r, const char *key, char *out, size_t size, struct err *e)
{
    const char *text;

    if (rec_need_str(r, key, &text, e) != 0) {
        return -1;
    }
    if (strlen(text) >= size) {
        return err_set(e, ERR_CORRUPT, "'%s' is too long", key);
    }
    (void)snprintf(out, size, "%s", text);
    return 0;
}

static int
parse(const struct rec *r, struct refusal *out, struct err *e)
{
    const char *code;
    const char *why;
    const char *form = rec_get(r, "form");
    int64_t told = 0;

    memset(out, 0, sizeof *out);
    if (get_word(r, "id", out->id, sizeof out->id, e) != 0 ||
        get_word(r, "book", out->book, sizeof out->book, e) != 0 ||
        get_word(r, "what", out->what, sizeof out->what, e) != 0 ||
        (rec_has(r, "job") && get_word(r, "job", out->job, sizeof out->job, e) != 0) ||
        (rec_has(r, "state") &&
         get_word(r, "state", out->state, sizeof out->state, e) != 0) ||
        rec_need_str(r, "code", &code, e) != 0 || rec_need_str(r, "why", &why, e) != 0 ||
        rec_need_int(r, "wall_ns", INT64_MIN, INT64_MAX, &out->wall_ns, e) != 0 ||
        rec_need_int(r, "told", 0, 1, &told, e) != 0) {
        return -1;
    }
    /* As it is kept, in English: it may be written again. */
    out->why.code = err_code_from_name(code);
    (void)snprintf(out->why.msg, sizeof out->why.msg, "%s", why);
    if (form != NULL && strlen(form) < sizeof out->why.form) {
        (void)snprintf(out->why.form, sizeof out->why.form, "%s", form);
    }
    out->told = told == 1;
    return 0;
}

static int
load(int told_fd, const char *name, struct refusal *out, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    int rc = file_read_at(told_fd, name, MAX_BYTES, &b, e) == 0 &&
                     rec_parse(&r, b.data, b.len, TYPE, e) == 0
                 ? parse(r, out, e)
                 : -1;

    rec_free(r);
    buf_free(&b);
    return rc;
}

/* The one that stands for that lease or reservation, and that book, if it is this one. */
static bool
load_same(int told_fd, const struct refusal *r, struct refusal *was)
{
    char name[NAME_MAX_BYTES];
    struct err none;

    name_of(r->id, r->book, name);
    return load(told_fd, name, was, &none) == 0 && strcmp(was->what, r->what) == 0 &&
           strcmp(was->state, r->state) == 0;
}

bool
refusals_has(int told_fd, const struct refusal *r)
{
    struct refusal was;

    return load_same(told_fd, r, &was);
}

static int
write_one(int told_fd, const struct refusal *r, struct err *e)
{
    char name[NAME_MAX_BYTES];
    struct rec *out = rec_new(TYPE);
    struct buf b = BUF_INIT;
    int rc;

    name_of(r->id, r->book, name);
    rec_add(out, "id", r->id);
    rec_add(out, "book", r->book);
    rec_add(out, "what", r->what);
    if (r->job[0] != '\0') {
        rec_add(out, "job", r->job);
    }
    if (r->state[0] != '\0') {
        rec_add(out, "state", r->state);
    }
    rec_add(out, "code", err_code_name(r->why.code));
    rec_add(out, "why", r->why.msg);
    if (r->why.form[0] != '\0') {
        rec_add(out, "form", r->why.form);
    }
    rec_add_int(out, "wall_ns", r->wall_ns);
    rec_add_int(out, "told", r->told ? 1 : 0);
    rec_encode(out, &b);
    rec_free(out);
    rc = file_replace_at(told_fd, name, b.data, b.len, e);
    buf_free(&b);
    return rc;
}

int
refusals_note(int told_fd, const struct refusal *r, struct err *e)
{
    int rc = hold(told_fd, e);

    if (rc == 0) {
        rc = write_one(told_fd, r, e);
        release(told_fd);
    }
    return rc;
}

static int
remove_one(int told_fd, const char *name, struct err *e)
{
    int rc = hold(told_fd, e);

    if (rc == 0) {
        rc = unlinkat(told_fd, name, 0) == 0 || errno == ENOENT
                 ? 0
                 : err_set_sys(e, errno, "cannot forget what a book refused");
        release(told_fd);
    }
    return rc;
}

int
refusals_taken(int told_fd, const char *id, const char *book, struct err *e)
{
    char name[NAME_MAX_BYTES];

    name_of(id, book, name);
    return remove_one(told_fd, name, e);
}

/* ---- all ---- */

static int
by_time(const void *a, const void *b)
{
    const struct refusal *x = a;
    const struct refusal *y = b;

    return x->wall_ns != y->wall_ns ? (x->wall_ns < y->wall_ns ? -1 : 1)
                                    : strcmp(x->id, y->id);
}

/* The name of a refusal of that book (""  any). */
static bool
is_one(const char *name, const char *book)
{
    const char *dot = strchr(name, '.');
    size_t len = dot != NULL ? strlen(dot) : 0;
    size_t n = strlen(book);

    return len > sizeof SUFFIX && strcmp(dot + len - strlen(SUFFIX), SUFFIX) == 0 &&
           (n == 0 || (len == 1 + n + strlen(SUFFIX) && memcmp(dot + 1, book, n) == 0));
}

struct listing {
    char book[SIGN_ID_LEN + 1]; /* "" all */
    struct refusals all;
};

static struct listing
listing_of(const struct sign_public *book)
{
    struct listing l = {"", {NULL, 0}};

    if (book != NULL) {
        sign_public_id(book, l.book);
    }
    return l;
}

static int
add_one(void *ctx, int told_fd, const char *name, struct err *e)
{
    struct listing *l = ctx;
    struct refusal r;
    struct err none;

    (void)e;
    if (is_one(name, l->book) && load(told_fd, name, &r, &none) == 0) {
        l->all.v = xrealloc(l->all.v, (l->all.n + 1) * sizeof *l->all.v);
        l->all.v[l->all.n++] = r;
    }
    return 0;
}

int
refusals_list(int told_fd, const struct sign_public *book, struct refusals *out,
              struct err *e)
{
    struct listing l = listing_of(book);

    if (file_each_name(told_fd, add_one, &l, e) != 0) {
        refusals_free(&l.all);
        return err_wrap(e, "what books have refused");
    }
    if (l.all.n > 1) {
        qsort(l.all.v, l.all.n, sizeof *l.all.v, by_time);
    }
    *out = l.all;
    return 0;
}

void
refusals_free(struct refusals *l)
{
    free(l->v);
    *l = (struct refusals){NULL, 0};
}

/* Unless another refusal stands there by now, or it was forgotten meanwhile. */
static int
mark_told(int told_fd, const struct refusal *r, struct err *e)
{
    struct refusal now;
    int rc = hold(told_fd, e);

    if (rc != 0) {
        return -1;
    }
    if (load_same(told_fd, r, &now) && now.wall_ns == r->wall_ns) {
        now.told = true;
        rc = write_one(told_fd, &now, e);
    }
    release(told_fd);
    return rc;
}

int
refusals_tell(int told_fd, void (*say)(void *ctx, const struct refusal *r), void *ctx,
              size_t *n_told, struct err *e)
{
    struct refusals l;
    int rc = 0;

    *n_told = 0;
    if (refusals_list(told_fd, NULL, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        if (!l.v[i].told) {
            say(ctx, &l.v[i]);
            rc = mark_told(told_fd, &l.v[i], e);
            (*n_told)++;
        }
    }
    refusals_free(&l);
    return rc;
}

static int
forget_one(void *ctx, int told_fd, const char *name, struct err *e)
{
    const struct listing *l = ctx;

    return is_one(name, l->book) ? remove_one(told_fd, name, e) : 0;
}

int
refusals_forget(int told_fd, const struct sign_public *book, struct err *e)
{
    struct listing l = listing_of(book);

    return file_each_name(told_fd, forget_one, &l, e);
}

/* ---- shown ---- */

const char *
refusal_words(const struct refusal *r, char *out, size_t size)
{
    struct err told;

    refuse_told(&told, r->why.code, r->why.msg, r->why.form);
    return text_escape_to(out, size, told.msg);
}

void
refusals_json(struct json_writer *j, const struct refusals *l)
{
    json_key(j, "refused");
    json_arr(j);
    for (size_t i = 0; i < l->n; i++) {
        const struct refusal *r = &l->v[i];

        if (refusal_is_another_books(r)) {
            continue;
        }
        json_obj(j);
        json_kstr(j, "book", r->book);
        json_kstr(j, "what", r->what);
        json_kstr(j, "id", r->id);
        json_kstr(j, "job", r->job[0] != '\0' ? r->job : NULL);
        json_kstr(j, "code", err_code_name(r->why.code));
        json_kstr(j, "why", r->why.msg);
        json_ktime(j, "time", r->wall_ns);
        json_obj_end(j);
    }
    json_arr_end(j);
}
