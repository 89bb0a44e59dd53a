#include "runner/client/copies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/rec.h"

#define COPIES      "copies"
#define COPY_RECORD "gpurun.copy.v1"
#define COPY_MAX    ((size_t)64 << 10)
#define BUSY        ".busy" /* <id>.busy: held by who makes that copy */

#define NS_PER_DAY ((int64_t)86400 * 1000000000)
/* A host may doubt its clock, or have kept longer than it said: past its end by so much,
 * and of what nobody knows the end of by as much as a job may take, nothing is hoped. */
#define GRACE_NS (30 * NS_PER_DAY)
#define OLD_NS   (400 * NS_PER_DAY)

void
copy_due_init(struct copy_due *d)
{
    memset(d, 0, sizeof *d);
    d->stored_bytes = -1;
}

void
copy_due_free(struct copy_due *d)
{
    free(d->host);
    free(d->name);
    free(d->copied_to);
    free(d->why);
    copy_due_init(d);
}

/* ---- one note ---- */

static void
add_if(struct rec *r, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        rec_add(r, key, value);
    }
}

int
copies_save(const struct home *home, const struct copy_due *d, bool durable,
            struct err *e)
{
    struct rec *r = rec_new(COPY_RECORD);
    struct buf b = BUF_INIT;
    int rc;

    rec_add(r, "id", d->id);
    add_if(r, "host", d->host);
    add_if(r, "name", d->name);
    rec_add_int(r, "outs", d->outs ? 1 : 0);
    rec_add_int(r, "live", d->live ? 1 : 0);
    add_if(r, "snapshot", d->snapshot);
    rec_add_int(r, "stored_bytes", d->stored_bytes);
    rec_add_int(r, "made_wall_ns", d->made_wall_ns);
    rec_add_int(r, "expires_wall_ns", d->expires_wall_ns);
    add_if(r, "copied", d->copied);
    add_if(r, "copied_to", d->copied_to);
    rec_add_int(r, "n_failed", d->n_failed);
    rec_add_int(r, "tried_wall_ns", d->tried_wall_ns);
    add_if(r, "why", d->why);
    if (d->why_code != ERR_NONE) {
        rec_add(r, "why_code", err_code_name(d->why_code));
    }
    rec_encode(r, &b);
    rc = home_put(home, COPIES, d->id, &b, durable, e);
    buf_free(&b);
    rec_free(r);
    return rc;
}

static char *
dup_field(const struct rec *r, const char *key)
{
    const char *v = rec_get(r, key);

    return v != NULL ? xstrdup(v) : NULL;
}

static void
take_id(char to[JOB_ID_LEN + 1], const struct rec *r, const char *key)
{
    const char *v = rec_get(r, key);

    if (v != NULL && id_is(ID_SNAPSHOT, v)) {
        memcpy(to, v, JOB_ID_LEN + 1);
    }
}

static int
decode(const struct rec *r, struct copy_due *d, struct err *e)
{
    int64_t outs;
    int64_t live;

    d->host = dup_field(r, "host");
    d->name = dup_field(r, "name");
    d->copied_to = dup_field(r, "copied_to");
    d->why = dup_field(r, "why");
    if (rec_get(r, "why_code") != NULL) {
        d->why_code = err_code_from_name(rec_get(r, "why_code"));
    }
    take_id(d->snapshot, r, "snapshot");
    take_id(d->copied, r, "copied");
    if (d->host == NULL) {
        return err_set(e, ERR_CORRUPT, "a note of a copy names no host");
    }
    if (rec_opt_int(r, "outs", 0, 1, 0, &outs, e) != 0 ||
        rec_opt_int(r, "live", 0, 1, 0, &live, e) != 0 ||
        rec_opt_int(r, "stored_bytes", -1, INT64_MAX, -1, &d->stored_bytes, e) != 0 ||
        rec_opt_int(r, "made_wall_ns", 0, INT64_MAX, 0, &d->made_wall_ns, e) != 0 ||
        rec_opt_int(r, "expires_wall_ns", 0, INT64_MAX, 0, &d->expires_wall_ns, e) != 0 ||
        rec_opt_int(r, "n_failed", 0, INT32_MAX, 0, &d->n_failed, e) != 0 ||
        rec_opt_int(r, "tried_wall_ns", 0, INT64_MAX, 0, &d->tried_wall_ns, e) != 0) {
        return -1;
    }
    d->outs = outs == 1;
    d->live = live == 1;
    return 0;
}

int
copies_load(const struct home *home, const char *id, struct copy_due *out, struct err *e)
{
    char *path = home_path(home, COPIES, id);
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct copy_due d;
    int rc = -1;

    copy_due_init(&d);
    (void)snprintf(d.id, sizeof d.id, "%s", id);
    if (file_read(path, COPY_MAX, &b, e) == 0 &&
        rec_parse(&r, b.data, b.len, COPY_RECORD, e) == 0 && decode(r, &d, e) == 0) {
        *out = d;
        rc = 0;
    } else {
        copy_due_free(&d);
    }
    rec_free(r);
    buf_free(&b);
    free(path);
    return rc;
}

void
copies_forget(const struct home *home, const char *id)
{
    char *path = home_path(home, COPIES, id);

    (void)unlink(path);
    free(path);
}

void
copies_failed(struct copy_due *d, const struct err *why)
{
    d->n_failed++;
    d->tried_wall_ns = clock_wall_ns();
    free(d->why);
    d->why = xstrdup(why->msg);
    d->why_code = why->code;
}

/* ---- all of them ---- */

static int
newest_first(const void *a, const void *b)
{
    const struct copy_due *x = a;
    const struct copy_due *y = b;

    if (x->made_wall_ns != y->made_wall_ns) {
        return x->made_wall_ns < y->made_wall_ns ? 1 : -1;
    }
    return strcmp(x->id, y->id);
}

static bool
is_hopeless(const struct copy_due *d, int64_t now_ns)
{
    return d->expires_wall_ns > 0 ? now_ns - d->expires_wall_ns > GRACE_NS
                                  : now_ns - d->made_wall_ns > OLD_NS;
}

void
copies_free(struct copies *l)
{
    for (size_t i = 0; i < l->n; i++) {
        copy_due_free(&l->v[i]);
    }
    free(l->v);
    *l = (struct copies){NULL, 0};
}

struct listing {
    const struct home *home;
    int64_t now_ns;
    struct copies l;
    size_t cap;
};

static int
list_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct listing *to = ctx;
    struct copy_due d;
    struct err ignored;

    (void)dir_fd;
    (void)e;
    if (to->l.n == COPIES_MAX || (!id_is(ID_JOB, name) && !id_is(ID_SNAPSHOT, name)) ||
        copies_load(to->home, name, &d, &ignored) != 0) {
        return 0;
    }
    if (is_hopeless(&d, to->now_ns)) {
        copies_forget(to->home, d.id);
        copy_due_free(&d);
        return 0;
    }
    if (to->l.n == to->cap) {
        to->cap = to->cap == 0 ? 16 : 2 * to->cap;
        to->l.v = xrealloc(to->l.v, to->cap * sizeof *to->l.v);
    }
    to->l.v[to->l.n++] = d;
    return 0;
}

int
copies_list(const struct home *home, struct copies *out, struct err *e)
{
    struct listing to = {.home = home, .now_ns = clock_wall_ns()};

    if (home_each_name(home, COPIES, list_one, &to, e) != 0) {
        copies_free(&to.l);
        return -1;
    }
    if (to.l.n > 0) {
        qsort(to.l.v, to.l.n, sizeof *to.l.v, newest_first);
    }
    *out = to.l;
    return 0;
}

void
copies_settle(const struct home *home, const char *snapshot)
{
    struct copies l;
    struct err none;

    copies_forget(home, snapshot);
    if (copies_list(home, &l, &none) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (strcmp(l.v[i].snapshot, snapshot) == 0) {
            copies_forget(home, l.v[i].id);
        }
    }
    copies_free(&l);
}

/* ---- one at a time ---- */

bool
copies_take(const struct home *home, const char *id, int *fd)
{
    char *name = xasprintf("%s" BUSY, id);
    char *path = NULL;
    struct err none;
    bool taken = false;
    int dir_fd = -1;

    *fd = -1;
    if (home_make(home, COPIES, name, &path, &none) == 0 &&
        home_open_dir(home, COPIES, &dir_fd, &none) == 0 && dir_fd != -1) {
        *fd = file_open_alone(dir_fd, name, false);
        taken = *fd == -1 && errno == EWOULDBLOCK;
    }
    (void)fd_close(&dir_fd);
    free(path);
    free(name);
    return !taken;
}

void
copies_let_go(const struct home *home, const char *id, int *fd)
{
    char *name = xasprintf("%s" BUSY, id);
    char *path = home_path(home, COPIES, name);

    if (*fd != -1) {
        (void)unlink(path);
    }
    (void)fd_close(fd);
    free(path);
    free(name);
}
