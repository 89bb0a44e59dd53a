#include "runner/host/workdirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/jobdir.h"
#include "storage/build.h"
#include "storage/extract.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/workdir.h"

#define NS_PER_S       ((int64_t)1000000000)
#define CANDIDATES_MAX 4
#define SCANS_MAX      4096
#define SCAN_SUFFIX    ".scan"

char *
workdirs_store_path(const struct renter *r)
{
    return path_join(r->path, "store");
}

/* ---- directories of ended jobs ---- */

struct left {
    char job[JOB_ID_LEN + 1];
    int64_t mtime_ns;
};

struct lefts {
    struct left *v;
    size_t n;
};

static int
newest_first(const void *a, const void *b)
{
    const struct left *x = a;
    const struct left *y = b;

    return x->mtime_ns > y->mtime_ns ? -1 : x->mtime_ns < y->mtime_ns;
}

/* Job directories that are whole (they have a scan cache), newest first. */
static int
list_left(int work_fd, struct lefts *out, struct err *e)
{
    int fd = openat(work_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);
    struct lefts l = {NULL, 0};
    struct dirent *de;

    if (d == NULL) {
        err_set_sys(e, errno, "cannot list job directories");
        (void)fd_close(&fd);
        return -1;
    }
    while ((de = readdir(d)) != NULL && l.n < SCANS_MAX) {
        size_t len = strlen(de->d_name);
        struct left one;
        struct stat sb;

        if (len != JOB_ID_LEN + strlen(SCAN_SUFFIX) ||
            strcmp(de->d_name + JOB_ID_LEN, SCAN_SUFFIX) != 0 ||
            fstatat(work_fd, de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        memcpy(one.job, de->d_name, JOB_ID_LEN);
        one.job[JOB_ID_LEN] = '\0';
        one.mtime_ns = sb.st_mtim.tv_sec * NS_PER_S + sb.st_mtim.tv_nsec;
        if (id_is(ID_JOB, one.job)) {
            l.v = xrealloc(l.v, (l.n + 1) * sizeof *l.v);
            l.v[l.n++] = one;
        }
    }
    (void)closedir(d);
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, newest_first);
    }
    *out = l;
    return 0;
}

/* Has the job ended with all of its data in a snapshot? */
static bool
is_safe(const struct renter *r, const char *job)
{
    struct job_state st;
    struct jobdir d;
    struct err none;
    bool safe = false;

    state_init(&st);
    if (jobdir_open(&d, r, job, &none) != 0) {
        return false;
    }
    if (jobdir_state(&d, &st, &none) == 0) {
        safe = job_phase_is_final(st.phase) && st.kept == JOB_KEPT_WHOLE;
    }
    state_free(&st);
    jobdir_close(&d);
    return safe;
}

int
workdirs_trim(const struct renter *r, struct err *e)
{
    struct lefts l = {NULL, 0};
    int work_fd = -1;
    size_t n_safe = 0;
    int rc = -1;

    if (renter_dir(r, "work", &work_fd, e) != 0 || list_left(work_fd, &l, e) != 0) {
        goto out;
    }
    rc = 0;
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        if (is_safe(r, l.v[i].job) && ++n_safe > WORKDIRS_KEPT) {
            rc = workdir_remove(work_fd, l.v[i].job, e);
        }
    }
    if (rc == 0) {
        rc = workdir_sweep(work_fd, e);
    }

out:
    free(l.v);
    (void)fd_close(&work_fd);
    return rc;
}

/* ---- making ---- */

static int
make_from_tree(int work_fd, const struct renter *r, const char *job, struct store *s,
               const struct sha256 *tree, char **note, struct err *e)
{
    const char *candidates[CANDIDATES_MAX];
    struct workdir_options o = {.candidates = candidates};
    struct workdir_report report = {0};
    struct lefts l = {NULL, 0};
    int rc = -1;

    if (list_left(work_fd, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && o.n_candidates < CANDIDATES_MAX; i++) {
        if (is_safe(r, l.v[i].job)) {
            candidates[o.n_candidates++] = l.v[i].job;
        }
    }
    if (workdir_make(work_fd, job, s, tree, &o, &report, e) == 0) {
        *note = xasprintf(
            "directory %s%s: %llu kept, %llu made, %llu removed",
            report.way == WORKDIR_TAKEN_OVER ? "taken over from " : "extracted",
            report.from, (unsigned long long)report.n_kept,
            (unsigned long long)report.n_made, (unsigned long long)report.n_removed);
        rc = 0;
    }
    free(l.v);
    return rc;
}

static int
make_empty(int work_fd, const char *job, struct err *e)
{
    if (mkdirat(work_fd, job, 0755) != 0) {
        return err_set_sys(e, errno, "cannot make the job's directory");
    }
    return 0;
}

/* What was shipped goes over what the snapshot had. */
static int
lay_over(int work_fd, const char *job, struct store *s, const struct sha256 *tree,
         struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct extract_options o = {.overwrite = true};
    struct extract_report report;
    int fd = openat(work_fd, job, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot open the job's directory");
    }
    rc = extract_tree(fd, tree, &source, &o, &report, e);
    (void)fd_close(&fd);
    return rc;
}

static int
find_tree(struct store *s, const struct job_spec *spec, struct sha256 *base,
          bool *have_base, struct err *e)
{
    struct manifest *m = NULL;
    struct snap_claim claim;

    *have_base = false;
    if (spec->from[0] == '\0') {
        return 0;
    }
    if (manifest_read(s, spec->from, &m, e) != 0) {
        return err_wrap(e, "cannot start from snapshot %s", spec->from);
    }
    *base = m->tree;
    *have_base = true;
    manifest_free(m);
    if (snap_claim_get(s, spec->from, &claim, e) != 0) {
        return -1;
    }
    if (claim.data == SNAP_DATA_GONE) {
        return err_set(e, ERR_NOT_FOUND, "the data of snapshot %s is gone (%s)",
                       spec->from, claim.why);
    }
    return 0;
}

int
workdirs_make(const struct renter *r, const struct job_spec *spec, char **path,
              char **note, struct err *e)
{
    char *store_path = workdirs_store_path(r);
    struct store *s = NULL;
    struct sha256 base;
    bool have_base;
    int work_fd = -1;
    int rc = -1;

    *note = NULL;
    if (renter_dir(r, "work", &work_fd, e) != 0) {
        goto out;
    }
    if (!spec->has_tree && spec->from[0] == '\0') {
        rc = make_empty(work_fd, spec->job, e);
        goto out;
    }
    if (store_open(&s, store_path, NULL, e) != 0 ||
        find_tree(s, spec, &base, &have_base, e) != 0) {
        goto out;
    }
    rc = make_from_tree(work_fd, r, spec->job, s, have_base ? &base : &spec->tree, note,
                        e);
    if (rc == 0 && have_base && spec->has_tree) {
        rc = lay_over(work_fd, spec->job, s, &spec->tree, e);
    }

out:
    if (rc == 0) {
        *path = xasprintf("%s/work/%s", r->path, spec->job);
    }
    store_close(s);
    free(store_path);
    (void)fd_close(&work_fd);
    return rc;
}

/* ---- keeping ---- */

static void
describe(struct manifest *m, const struct workdirs_end *end)
{
    const struct job_spec *spec = end->spec;
    const struct job_state *st = end->state;
    struct utsname u;

    manifest_set(&m->id, end->id);
    manifest_set(&m->name, spec->name);
    manifest_set(&m->job, spec->job);
    manifest_set(&m->parent, spec->from[0] == '\0' ? NULL : spec->from);
    manifest_set(&m->renter, st->renter);
    manifest_set(&m->cwd, spec->cwd);
    manifest_set(&m->arch, uname(&u) == 0 ? u.machine : NULL);
    for (size_t i = 0; i < spec->args.n; i++) {
        manifest_list_add(&m->arg, spec->args.v[i]);
    }
    for (size_t i = 0; i < spec->env.n; i++) {
        manifest_list_add(&m->env, spec->env.v[i]);
    }
    m->made_wall_ns = clock_wall_ns();
    if (!end->live) {
        manifest_set(&m->reason, st->reason == JOB_REASON_NONE
                                     ? "lost"
                                     : job_reason_name(st->reason));
        manifest_set(&m->detail, st->detail);
        m->has_exit_code = st->exit_code != JOB_NOT_SET;
        m->exit_code = m->has_exit_code ? (int32_t)st->exit_code : 0;
        m->signal = st->signal != JOB_NOT_SET ? (int32_t)st->signal : 0;
        m->ended_wall_ns = st->ended_wall_ns;
    }
    if (end->bill != NULL) {
        m->bill = *end->bill;
        m->has_bill = true;
    }
    m->expires_wall_ns = (end->live ? m->made_wall_ns : st->ended_wall_ns) +
                         SNAP_KEEP_DEFAULT_S * NS_PER_S;
}

static void
take_report(struct manifest *m, const struct build_report *b)
{
    m->tree = b->tree;
    m->n_files = b->totals.n_files;
    m->content_bytes = b->totals.bytes;
    m->n_other = b->totals.n_entries - b->totals.n_files;
    for (size_t i = 0; i < b->n_damaged; i++) {
        manifest_add_damage(m, b->damaged[i].path,
                            b->damaged[i].sys_errno != 0
                                ? strerror(b->damaged[i].sys_errno)
                                : "changed while it was read");
    }
    /* Only the first ones are named; all of them count. */
    if (b->totals.n_damaged + b->totals.n_changed > m->n_damaged) {
        m->n_damaged = b->totals.n_damaged + b->totals.n_changed;
    }
    m->partial = m->n_damaged > 0;
}

/* ---- what keeping it takes ---- */

struct ids {
    struct sha256 *v;
    size_t n;
    size_t cap;
};

static int
add_id(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    struct ids *l = ctx;

    (void)kind;
    if (l->n == STORE_BATCH_MAX) {
        return err_set(e, ERR_RANGE, "the snapshot has too many chunks");
    }
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 1024 : 2 * l->cap;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = c->id;
    return 0;
}

static int
id_cmp(const void *a, const void *b)
{
    return sha256_cmp(a, b);
}

/* Encoded bytes of the distinct chunks: what keeping the snapshot is charged by. */
static int
measure(struct store *s, struct manifest *m, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct store_loc *locs = NULL;
    struct ids l = {NULL, 0, 0};
    size_t n = 0;
    int rc = -1;

    if (tree_walk_chunks(&m->tree, &source, add_id, &l, e) != 0) {
        goto out;
    }
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, id_cmp);
    }
    for (size_t i = 0; i < l.n; i++) {
        if (n == 0 || !sha256_equal(&l.v[n - 1], &l.v[i])) {
            l.v[n++] = l.v[i];
        }
    }
    locs = xcalloc(n + 1, sizeof *locs);
    if (store_locate(s, l.v, n, locs, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        m->stored_bytes += locs[i].stored_len;
    }
    m->n_chunks = n;
    rc = 0;

out:
    free(locs);
    free(l.v);
    return rc;
}

int
workdirs_snapshot(const struct agent *a, const struct renter *r,
                  const struct workdirs_end *end, struct workdirs_snapshot *out,
                  struct err *e)
{
    char *store_path = workdirs_store_path(r);
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct build_report report = {0};
    struct store *s = NULL;
    int work_fd = -1;
    int rc = -1;

    memset(out, 0, sizeof *out);
    if (renter_dir(r, "work", &work_fd, e) != 0 ||
        store_open(&s, store_path, NULL, e) != 0 ||
        workdir_snapshot(work_fd, end->spec->job, s, end->live, &report, e) != 0) {
        goto out;
    }
    describe(m, end);
    take_report(m, &report);
    if (store_commit(s, e) != 0 || measure(s, m, e) != 0 ||
        manifest_write(s, m, a->key, e) != 0) {
        goto out;
    }
    out->partial = m->partial;
    out->n_damaged = m->n_damaged;
    out->stored_bytes = (int64_t)m->stored_bytes;
    out->expires_wall_ns = m->expires_wall_ns;
    if (m->n_damage > 0) {
        (void)text_escape_to(out->first_damaged, sizeof out->first_damaged,
                             m->damage[0].path);
    }
    rc = 0;

out:
    build_report_free(&report);
    manifest_free(m);
    store_close(s);
    free(store_path);
    (void)fd_close(&work_fd);
    return rc;
}
