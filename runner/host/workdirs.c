#include "runner/host/workdirs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "runner/host/caches.h"
#include "runner/host/jobdir.h"
#include "runner/host/quota.h"
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

int
workdirs_open_store(const struct renter *r, struct store **out, struct err *e)
{
    char *path = workdirs_store_path(r);
    int rc = store_open(out, path, NULL, e);

    free(path);
    return rc;
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

struct left_finder {
    const char *suffix;
    struct lefts l;
};

static int
add_left(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct left_finder *f = ctx;
    struct left one;
    struct stat sb;

    (void)e;
    if (f->l.n == SCANS_MAX || strlen(name) != JOB_ID_LEN + strlen(f->suffix) ||
        strcmp(name + JOB_ID_LEN, f->suffix) != 0 ||
        fstatat(dir_fd, name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }
    memcpy(one.job, name, JOB_ID_LEN);
    one.job[JOB_ID_LEN] = '\0';
    one.mtime_ns = sb.st_mtim.tv_sec * NS_PER_S + sb.st_mtim.tv_nsec;
    if (id_is(ID_JOB, one.job) || id_is(ID_EARLY, one.job)) {
        f->l.v = xrealloc(f->l.v, (f->l.n + 1) * sizeof *f->l.v);
        f->l.v[f->l.n++] = one;
    }
    return 0;
}

/* Job directories, newest first; whole: only those that are (they have a scan cache). */
static int
list_left(int work_fd, bool whole, struct lefts *out, struct err *e)
{
    struct left_finder f = {.suffix = whole ? SCAN_SUFFIX : ""};

    if (file_each_name(work_fd, add_left, &f, e) != 0) {
        free(f.l.v);
        return err_wrap(e, "the job directories");
    }
    if (f.l.n > 1) {
        qsort(f.l.v, f.l.n, sizeof *f.l.v, newest_first);
    }
    *out = f.l;
    return 0;
}

enum leftover {
    LEFTOVER_NONE = 0, /* not ended, or holds what is nowhere else */
    LEFTOVER_SAFE,     /* all of its data is in a snapshot */
    LEFTOVER_WASTE,    /* its data is not wanted */
};

static enum leftover
classify(const struct renter *r, const char *job)
{
    enum leftover what = LEFTOVER_NONE;
    struct job_state st;
    struct jobdir d;
    struct err none;

    if (id_is(ID_EARLY, job)) {
        return LEFTOVER_SAFE; /* a shipped tree, which the store has */
    }
    if (jobdir_open(&d, r, job, &none) != 0) {
        return LEFTOVER_NONE;
    }
    state_init(&st);
    if (jobdir_state(&d, &st, &none) == 0 && job_phase_is_final(st.phase)) {
        if (st.kept == JOB_KEPT_WHOLE) {
            what = LEFTOVER_SAFE;
        } else if (st.kept == JOB_KEPT_NONE && st.kept_why != NULL &&
                   !job_data_waits(&st)) {
            what = LEFTOVER_WASTE;
        }
    }
    state_free(&st);
    jobdir_close(&d);
    return what;
}

static bool
is_safe(const struct renter *r, const char *job)
{
    return classify(r, job) == LEFTOVER_SAFE;
}

/* How much of what is safe stays. */
struct left_rule {
    size_t n;
    int64_t bytes; /* INT64_MAX: all the same */
};

/* With little room left, none is worth keeping. */
static int
rule_of(const struct renter *r, int work_fd, struct left_rule *rule, struct err *e)
{
    struct quota_use u = {0};
    struct statvfs v;

    rule->n =
        fstatvfs(work_fd, &v) == 0 && v.f_bavail < v.f_blocks / 10 ? 0 : WORKDIRS_KEPT;
    rule->bytes = INT64_MAX;
    if (r->quota_bytes > 0) {
        if (quota_use_of(r, &u, e) != 0) {
            return -1;
        }
        rule->bytes = r->quota_bytes > u.bytes ? (r->quota_bytes - u.bytes) / 2 : 0;
        quota_use_free(&u);
    }
    return 0;
}

static void
tell_left(const struct trim_told *t, enum leftover what, bool taken, const char *job,
          const struct left_rule *rule, bool too_big)
{
    if (what == LEFTOVER_WASTE) {
        trim_tell(t, "the directory of job %s would go: its data is not wanted", job);
    } else if (taken) {
        trim_tell(t,
                  "the directory of job %s would go, unless another is being made from "
                  "it: its data is in a snapshot",
                  job);
    } else if (too_big) {
        trim_tell(t,
                  "the directory of job %s would go: its data is in a snapshot, and the "
                  "quota leaves no room for it besides",
                  job);
    } else {
        trim_tell(t,
                  "the directory of job %s would go: its data is in a snapshot, and only "
                  "the newest %zu directories stay",
                  job, rule->n);
    }
}

static int
trim_left(const struct renter *r, int work_fd, const struct left_rule *rule,
          const struct trim_told *only, struct err *e)
{
    struct lefts l = {NULL, 0};
    struct left_rule kept = {0, 0};
    int rc = 0;

    if (list_left(work_fd, false, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        const char *job = l.v[i].job;
        enum leftover what = classify(r, job);
        bool taken = !workdir_may_be_taken(work_fd, job);
        bool too_big = false;
        struct err why;

        if (what == LEFTOVER_NONE) {
            continue;
        }
        if (what == LEFTOVER_SAFE && !taken && kept.n < rule->n) {
            int64_t bytes = rule->bytes == INT64_MAX ? 0 : caches_bytes_of(work_fd, job);

            too_big = bytes > rule->bytes - kept.bytes;
            if (!too_big) { /* a smaller one behind may still stay */
                kept.n++;
                kept.bytes += bytes;
                continue;
            }
        }
        if (only != NULL) {
            tell_left(only, what, taken, job, rule, too_big);
        } else if ((what == LEFTOVER_WASTE ? workdir_remove
                                           : workdir_give_up)(work_fd, job, &why) != 0) {
            trim_failed(&rc, &why, e);
        }
    }
    free(l.v);
    return rc;
}

int
workdirs_trim(const struct renter *r, const struct trim_told *only, struct err *e)
{
    struct left_rule rule;
    int work_fd = -1;
    struct err why;
    int rc = renter_dir(r, "work", &work_fd, e) == 0 && rule_of(r, work_fd, &rule, e) == 0
                 ? 0
                 : -1;

    if (rc == 0) {
        rc = trim_left(r, work_fd, &rule, only, e);
        if (only == NULL && workdir_sweep(work_fd, &why) != 0) {
            trim_failed(&rc, &why, e);
        }
    }
    (void)fd_close(&work_fd);
    return rc;
}

int
workdirs_trim_all(const struct renter *r, struct err *e)
{
    const struct left_rule none = {0, 0};
    int work_fd = -1;
    int rc = renter_dir(r, "work", &work_fd, e) == 0
                 ? trim_left(r, work_fd, &none, NULL, e)
                 : -1;

    (void)fd_close(&work_fd);
    return rc;
}

int
workdirs_left_bytes(const struct renter *r, int64_t *bytes, struct err *e)
{
    struct lefts l = {NULL, 0};
    int work_fd = -1;
    int rc = -1;

    *bytes = 0;
    if (renter_dir(r, "work", &work_fd, e) != 0 ||
        list_left(work_fd, false, &l, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < l.n; i++) {
        *bytes += is_safe(r, l.v[i].job) ? caches_bytes_of(work_fd, l.v[i].job) : 0;
    }
    rc = 0;

out:
    free(l.v);
    (void)fd_close(&work_fd);
    return rc;
}

void
workdirs_early_name(char name[JOB_ID_LEN + 1])
{
    const char prefix[] = {(char)ID_EARLY, '\0'};

    random_id(prefix, name);
}

int
workdirs_early_room(const struct renter *r, int work_fd, int64_t *max_bytes,
                    struct err *e)
{
    struct left_rule rule;

    if (rule_of(r, work_fd, &rule, e) != 0) {
        return -1;
    }
    *max_bytes = rule.bytes;
    return rule.n > 0 ? 0
                      : err_set(e, ERR_SPACE, "less than a tenth of the disk is free");
}

int
workdirs_forget(const struct renter *r, const char *job, struct err *e)
{
    int work_fd = -1;
    int rc = 0;

    if (classify(r, job) == LEFTOVER_SAFE) {
        rc = renter_dir(r, "work", &work_fd, e);
        if (rc == 0) {
            rc = workdir_give_up(work_fd, job, e);
        }
        (void)fd_close(&work_fd);
    }
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

    if (list_left(work_fd, true, &l, e) != 0) {
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

static int
extract_over(int fd, struct store *s, const struct sha256 *tree, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct extract_options o = {.overwrite = true};
    struct extract_report report;

    return extract_tree(fd, tree, &source, &o, &report, e);
}

/* What was shipped goes over what the snapshot had. */
static int
lay_over(int work_fd, const char *job, struct store *s, const struct sha256 *tree,
         struct err *e)
{
    int fd = openat(work_fd, job, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot open the job's directory");
    }
    rc = extract_over(fd, s, tree, e);
    (void)fd_close(&fd);
    return rc;
}

int
workdirs_kept_tree(struct store *s, const char *snapshot, struct manifest **out,
                   struct err *e)
{
    struct manifest *m = NULL;
    struct snap_claim claim;

    if (manifest_read(s, snapshot, &m, e) != 0) {
        return -1;
    }
    if (snap_claim_get(s, snapshot, &claim, e) != 0) {
        manifest_free(m);
        return -1;
    }
    if (claim.data == SNAP_DATA_GONE) {
        manifest_free(m);
        return err_set(e, ERR_NOT_FOUND, "the data of snapshot %s is gone (%s)", snapshot,
                       claim.why);
    }
    *out = m;
    return 0;
}

int
workdirs_listed_tree(struct store *s, const char *snapshot, struct manifest **out,
                     struct err *e)
{
    struct manifest *m = NULL;
    uint8_t there = 0;
    struct err failed;

    if (workdirs_kept_tree(s, snapshot, out, e) == 0) {
        return 0;
    }
    if (e->code != ERR_NOT_FOUND || manifest_read(s, snapshot, &m, &failed) != 0) {
        return -1;
    }
    if (store_has(s, &m->tree, 1, &there, &failed) != 0) {
        *e = failed;
    } else if (there != 0) {
        *out = m;
        return 0;
    }
    manifest_free(m);
    return -1;
}

static int
find_tree(struct store *s, const struct job_spec *spec, struct sha256 *base,
          bool *have_base, struct err *e)
{
    struct manifest *m = NULL;

    *have_base = false;
    if (spec->from[0] == '\0') {
        return 0;
    }
    if (workdirs_kept_tree(s, spec->from, &m, e) != 0) {
        return err_wrap(e, "cannot start from snapshot %s", spec->from);
    }
    *base = m->tree;
    *have_base = true;
    manifest_free(m);
    return 0;
}

int
workdirs_copy(const struct renter *r, const struct job_spec *spec, const char *path,
              struct err *e)
{
    struct store *s = NULL;
    struct sha256 base;
    bool have_base;
    int fd = -1;
    int rc = -1;

    if (mkdir(path, 0755) != 0 ||
        (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) == -1) {
        err_set_sys(e, errno, "cannot make '%s'", path);
        goto out;
    }
    if (workdirs_open_store(r, &s, e) != 0 ||
        find_tree(s, spec, &base, &have_base, e) != 0) {
        goto out;
    }
    rc = (have_base && extract_over(fd, s, &base, e) != 0) ||
                 (spec->has_tree && extract_over(fd, s, &spec->tree, e) != 0)
             ? -1
             : 0;

out:
    store_close(s);
    (void)fd_close(&fd);
    return rc;
}

int
workdirs_open_live(const struct renter *r, const char *job, int *fd, struct err *e)
{
    struct job_state st;
    struct jobdir d;
    char *rel = NULL;
    int rc = -1;

    if (jobdir_open(&d, r, job, e) != 0) {
        return -1;
    }
    state_init(&st);
    if (jobdir_state(&d, &st, e) != 0) {
        goto out;
    }
    if (job_phase_is_final(st.phase) && !job_data_waits(&st)) {
        if (st.snapshot[0] != '\0') {
            err_set(e, ERR_NOT_FOUND, "job %s has ended; its data is snapshot %s", job,
                    st.snapshot);
        } else {
            err_set(e, ERR_NOT_FOUND, "job %s has ended", job);
        }
        goto out;
    }
    rel = xasprintf("work/%s", job);
    rc = file_open_beneath(r->fd, rel, O_RDONLY | O_DIRECTORY, 0, fd, e);
    if (rc != 0 && e->code == ERR_NOT_FOUND) {
        if (job_phase_is_final(st.phase)) {
            err_set(e, ERR_NOT_FOUND, "job %s has no directory any more", job);
        } else {
            err_set(e, ERR_NOT_FOUND, "job %s has no directory yet", job);
        }
    }

out:
    free(rel);
    state_free(&st);
    jobdir_close(&d);
    return rc;
}

int
workdirs_make(const struct renter *r, const struct job_spec *spec, char **path,
              char **note, struct err *e)
{
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
    if (workdirs_open_store(r, &s, e) != 0 ||
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
    (void)fd_close(&work_fd);
    return rc;
}
