#include "runner/client/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/client/copies.h"
#include "runner/client/dispute.h"

#define JOB_RECORD     "gpurun.jobrec.v1"
#define JOB_RECORD_MAX ((size_t)4 << 20)
#define LAST           "@last"

void
job_record_init(struct job_record *r)
{
    memset(r, 0, sizeof *r);
    r->charge_fen = -1;
}

void
job_record_free(struct job_record *r)
{
    free(r->name);
    free(r->host);
    free(r->command);
    free(r->dir);
    free(r->tree);
    free(r->phrase);
    strings_free(&r->outs);
    free(r->mirror);
    free(r->notify);
    buf_free(&r->spec);
    job_record_init(r);
}

/* ---- one record ---- */

static void
add_if(struct rec *r, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        rec_add(r, key, value);
    }
}

static struct rec *
encode(const struct job_record *j)
{
    struct rec *r = rec_new(JOB_RECORD);

    rec_add(r, "job", j->id);
    add_if(r, "name", j->name);
    add_if(r, "host", j->host);
    add_if(r, "command", j->command);
    add_if(r, "dir", j->dir);
    add_if(r, "tree", j->tree);
    add_if(r, "lease", j->lease);
    add_if(r, "unsent", j->unsent);
    add_if(r, "notify", j->notify);
    for (size_t i = 0; i < j->outs.n; i++) {
        rec_add(r, "out", j->outs.v[i]);
    }
    if (j->spec.len > 0) {
        rec_add_bytes(r, "spec", j->spec.data, j->spec.len);
    }
    rec_add_int(r, "made_wall_ns", j->made_wall_ns);
    rec_add_int(r, "cap_fen", j->cap_fen);
    rec_add_int(r, "shipped_wall_ns", j->shipped_wall_ns);
    add_if(r, "mirror", j->mirror);
    if (j->final) {
        rec_add_int(r, "exit_code", j->exit_code);
        add_if(r, "phrase", j->phrase);
        rec_add_int(r, "charge_fen", j->charge_fen);
        add_if(r, "snapshot", j->snapshot);
        if (j->outs_due) {
            rec_add_int(r, "outs_due", 1);
        }
        rec_add_int(r, "expires_wall_ns", j->expires_wall_ns);
        if (j->told.told_days != 0) {
            rec_add_int(r, "told_of_wall_ns", j->told.expires_wall_ns);
            rec_add_int(r, "told_days", j->told.told_days);
        }
    }
    return r;
}

static char *
dup_field(const struct rec *r, const char *key)
{
    const char *v = rec_get(r, key);

    return v != NULL ? xstrdup(v) : NULL;
}

static void
copy_id(char to[JOB_ID_LEN + 1], const struct rec *r, const char *key, enum id_kind kind)
{
    const char *v = rec_get(r, key);

    if (v != NULL && id_is(kind, v)) {
        memcpy(to, v, JOB_ID_LEN + 1);
    }
}

static int
decode_end(const struct rec *r, struct job_record *j, struct err *e)
{
    int64_t exit_code;

    j->final = rec_has(r, "exit_code");
    if (!j->final) {
        return 0;
    }
    j->phrase = dup_field(r, "phrase");
    j->outs_due = rec_has(r, "outs_due");
    copy_id(j->snapshot, r, "snapshot", ID_SNAPSHOT);
    if (rec_need_int(r, "exit_code", 0, 255, &exit_code, e) != 0 ||
        rec_opt_int(r, "charge_fen", -1, INT64_MAX, -1, &j->charge_fen, e) != 0 ||
        rec_opt_int(r, "expires_wall_ns", 0, INT64_MAX, 0, &j->expires_wall_ns, e) != 0 ||
        rec_opt_int(r, "told_of_wall_ns", 0, INT64_MAX, 0, &j->told.expires_wall_ns, e) !=
            0 ||
        rec_opt_int(r, "told_days", 0, 3, 0, &j->told.told_days, e) != 0) {
        return -1;
    }
    j->exit_code = (int)exit_code;
    return 0;
}

static int
decode(const struct rec *r, struct job_record *j, struct err *e)
{
    const char *unsent;
    const char *spec;
    size_t len;

    copy_id(j->id, r, "job", ID_JOB);
    copy_id(j->lease, r, "lease", ID_LEASE);
    unsent = rec_get(r, "unsent");
    (void)snprintf(j->unsent, sizeof j->unsent, "%s", unsent != NULL ? unsent : "");
    j->name = dup_field(r, "name");
    j->host = dup_field(r, "host");
    j->command = dup_field(r, "command");
    j->notify = dup_field(r, "notify");
    j->mirror = dup_field(r, "mirror");
    j->dir = dup_field(r, "dir");
    j->tree = dup_field(r, "tree");
    spec = rec_get_bytes(r, "spec", &len);
    if (spec != NULL && len <= SPEC_MAX_BYTES) {
        buf_add(&j->spec, spec, len);
    }
    for (size_t i = 0; i < rec_count(r, "out"); i++) {
        strings_add(&j->outs, rec_get_nth(r, "out", i, NULL));
    }
    if (j->id[0] == '\0' || j->host == NULL) {
        return err_set(e, ERR_CORRUPT, "a job record names no job or no host");
    }
    if (rec_opt_int(r, "made_wall_ns", 0, INT64_MAX, 0, &j->made_wall_ns, e) != 0 ||
        rec_opt_int(r, "cap_fen", -1, INT64_MAX, -1, &j->cap_fen, e) != 0 ||
        rec_opt_int(r, "shipped_wall_ns", 0, INT64_MAX, 0, &j->shipped_wall_ns, e) != 0) {
        return -1;
    }
    return decode_end(r, j, e);
}

int
jobs_save(const struct home *home, const struct job_record *j, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = encode(j);
    int rc;

    rec_encode(r, &b);
    rc = home_put(home, "jobs", j->id, &b, false, e);
    buf_free(&b);
    rec_free(r);
    return rc;
}

int
jobs_load(const struct home *home, const char *id, struct job_record *out, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct job_record j;
    char *path = home_path(home, "jobs", id);
    int rc = -1;

    job_record_init(&j);
    if (file_read(path, JOB_RECORD_MAX, &b, e) == 0 &&
        rec_parse(&r, b.data, b.len, JOB_RECORD, e) == 0 && decode(r, &j, e) == 0) {
        rc = strcmp(j.id, id) == 0
                 ? 0
                 : err_set(e, ERR_CORRUPT, _("%s holds the record of another job"), path);
    }
    if (rc == 0) {
        *out = j;
    } else {
        job_record_free(&j);
    }
    rec_free(r);
    buf_free(&b);
    free(path);
    return rc;
}

int
job_record_spec(const struct job_record *j, struct job_spec *out, struct err *e)
{
    struct rec *r = NULL;
    int rc = -1;

    if (j->spec.len == 0) {
        return err_set(e, ERR_NOT_FOUND, "what job %s was sent with is not on record",
                       j->id);
    }
    if (rec_parse(&r, j->spec.data, j->spec.len, SPEC_TYPE, e) == 0) {
        rc = spec_parse(out, r, e);
    }
    rec_free(r);
    return rc;
}

void
jobs_forget(const struct home *home, const char *id)
{
    char *seen = xasprintf("%s.seen", id);
    char *path = home_path(home, "jobs", id);
    char *seen_path = home_path(home, "jobs", seen);

    (void)unlink(path);
    (void)unlink(seen_path);
    dispute_forget(home, id);
    copies_forget(home, id);
    free(seen_path);
    free(path);
    free(seen);
}

/* ---- all of them ---- */

static int
newest_first(const void *a, const void *b)
{
    const struct job_record *x = a;
    const struct job_record *y = b;

    if (x->made_wall_ns != y->made_wall_ns) {
        return x->made_wall_ns < y->made_wall_ns ? 1 : -1;
    }
    return strcmp(x->id, y->id);
}

void
job_list_free(struct job_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        job_record_free(&l->v[i]);
    }
    free(l->v);
    *l = (struct job_list){NULL, 0};
}

struct listing {
    const struct home *home;
    struct job_list l;
    size_t cap;
};

static int
list_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct listing *to = ctx;
    struct job_record j;
    struct err ignored;

    (void)dir_fd;
    if (!id_is(ID_JOB, name) || jobs_load(to->home, name, &j, &ignored) != 0) {
        return 0;
    }
    if (to->l.n == JOBS_ENTRIES_MAX) {
        job_record_free(&j);
        return err_set(
            e, ERR_RANGE,
            _("more than %d jobs: move those elsewhere that are not to be shown "
              "any more"),
            JOBS_ENTRIES_MAX);
    }
    if (to->l.n == to->cap) {
        to->cap = to->cap == 0 ? 64 : 2 * to->cap;
        to->l.v = xrealloc(to->l.v, to->cap * sizeof *to->l.v);
    }
    to->l.v[to->l.n++] = j;
    return 0;
}

int
jobs_list(const struct home *home, struct job_list *out, struct err *e)
{
    struct listing to = {.home = home};

    if (home_each_name(home, "jobs", list_one, &to, e) != 0) {
        job_list_free(&to.l);
        return -1;
    }
    if (to.l.n > 0) {
        qsort(to.l.v, to.l.n, sizeof *to.l.v, newest_first);
    }
    *out = to.l;
    return 0;
}

/* ---- finding ---- */

static int
ambiguous(const struct job_list *l, const char *what, struct err *e)
{
    struct buf names = BUF_INIT;
    size_t n = 0;
    char shown[64];

    for (size_t i = 0; i < l->n; i++) {
        if (strncmp(l->v[i].id, what, strlen(what)) == 0 && n++ < 4) {
            buf_printf(&names, "%s%s", n > 1 ? ", " : "", l->v[i].id);
        }
    }
    err_set(e, ERR_INVALID, _("'%s' is the beginning of %zu jobs: %s%s"),
            text_escape_to(shown, sizeof shown, what), n, buf_str(&names),
            n > 4 ? ", …" : "");
    buf_free(&names);
    return -1;
}

/* The index of the record meant, or l->n; several prefixes: ERR_INVALID. */
static int
pick(const struct job_list *l, const char *what, size_t *at, struct err *e)
{
    size_t n_prefix = 0;

    *at = l->n;
    if (strcmp(what, LAST) == 0) {
        *at = 0;
        return 0;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].id, what) == 0) {
            *at = i;
            return 0;
        }
    }
    for (size_t i = 0; i < l->n; i++) { /* newest first */
        if (l->v[i].name != NULL && strcmp(l->v[i].name, what) == 0) {
            *at = i;
            return 0;
        }
    }
    for (size_t i = 0; what[0] != '\0' && i < l->n; i++) {
        if (strncmp(l->v[i].id, what, strlen(what)) == 0) {
            *at = i;
            n_prefix++;
        }
    }
    return n_prefix > 1 ? ambiguous(l, what, e) : 0;
}

int
jobs_find(const struct home *home, const char *what, struct job_record *out,
          struct err *e)
{
    struct job_list l;
    size_t at;
    char shown[80];
    int rc;

    if (jobs_list(home, &l, e) != 0) {
        return -1;
    }
    rc = pick(&l, what, &at, e);
    if (rc == 0 && at >= l.n) {
        rc = strcmp(what, LAST) == 0
                 ? err_set(e, ERR_NOT_FOUND, "%s", _("no job has been run from here yet"))
                 : err_set(e, ERR_NOT_FOUND,
                           _("no job '%s'; `gpurun ps -a` lists what there is"),
                           text_escape_to(shown, sizeof shown, what));
    } else if (rc == 0) {
        *out = l.v[at];
        job_record_init(&l.v[at]); /* handed over */
    }
    job_list_free(&l);
    return rc;
}

/* ---- what was seen ---- */

/* Made with zeros if missing. */
static int
open_seen(const struct home *home, const char *id, int *out, struct err *e)
{
    char *name = xasprintf("%s.seen", id);
    char *path = NULL;
    int fd = -1;
    int failed;
    int rc = -1;

    if (home_make(home, "jobs", name, &path, e) != 0) {
        goto out;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        goto out;
    }
    /* A hole in a mapped file that the disk cannot fill would be a SIGBUS. */
    failed = posix_fallocate(fd, 0, sizeof(struct job_seen));
    if (failed != 0) {
        err_set_sys(e, failed, "cannot write '%s'", path);
        goto out;
    }
    *out = fd;
    fd = -1;
    rc = 0;

out:
    (void)fd_close(&fd);
    free(path);
    free(name);
    return rc;
}

/* Who tells has a lock of its own, on what was told: who counts may be another. */
static bool
lock_told(int fd)
{
    struct flock l = {.l_type = F_WRLCK,
                      .l_whence = SEEK_SET,
                      .l_start = offsetof(struct job_seen, told),
                      .l_len = sizeof(uint64_t)};

    return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/* What is locked is shared, and *fd becomes *lock; else it is a copy. */
static int
map_seen(int *fd, bool locked, struct job_seen **out, int *lock, struct err *e)
{
    void *map = mmap(NULL, sizeof **out, PROT_READ | PROT_WRITE,
                     locked ? MAP_SHARED : MAP_PRIVATE, *fd, 0);

    if (map == MAP_FAILED) {
        return err_set_sys(e, errno, "cannot map what was seen of a job");
    }
    *out = map;
    if (locked) {
        *lock = *fd;
        *fd = -1;
    }
    return 0;
}

int
jobs_seen_open(const struct home *home, const char *id, struct job_seen **out, int *lock,
               bool *tells, struct err *e)
{
    int fd = -1;
    bool first;
    bool telling;
    int rc;

    if (open_seen(home, id, &fd, e) != 0) {
        return -1;
    }
    first = flock(fd, LOCK_EX | LOCK_NB) == 0;
    telling = first && lock_told(fd);
    rc = map_seen(&fd, first, out, lock, e);
    if (rc == 0) {
        *tells = telling;
    }
    (void)fd_close(&fd);
    return rc;
}

int
jobs_seen_open_to_tell(const struct home *home, const char *id, struct job_seen **out,
                       int *lock, struct err *e)
{
    int fd = -1;
    int rc;

    if (open_seen(home, id, &fd, e) != 0) {
        return -1;
    }
    rc = map_seen(&fd, lock_told(fd), out, lock, e);
    (void)fd_close(&fd);
    return rc;
}

void
jobs_seen_close(struct job_seen *s, int *lock)
{
    if (s != NULL) {
        (void)munmap(s, sizeof *s);
    }
    (void)fd_close(lock);
}
