/*
 * The landing reserve's other half: how many bytes a snapshot of the job's directory
 * would have to keep now; and for quotas what its set-up makes, and the renter's cache.
 * Counted on a thread of its own, at most a twentieth of the time, and only where keeping
 * has a price or the owner has set a quota.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/quota.h"
#include "runner/host/quota_holds.h"
#include "runner/host/setups.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"

#define PAUSE_MIN_NS ((int64_t)5000000000)
#define PAUSE_FACTOR 20
#define DEPTH_MAX    200 /* a descriptor each */
#define BLOCK_BYTES  512
#define HELD_MAX     ((int64_t)1 << 60)

struct sup_held {
    struct sup *sup;
    struct timer *timer;
    atomic_bool cancelled;
    bool counting; /* the thread has what follows, up to `took_ns` */
    bool in_setup;
    int64_t bytes;        /* in the job's directory */
    int64_t layer_bytes;  /* of the set-up that runs; 0: none does */
    int64_t cache_bytes;  /* of the renter, where there is a quota for all that is its */
    struct quota_top top; /* of all of these */
    const char *root;     /* what is being counted, */
    const char *what;     /* and what is told before a path below it */
    int64_t *sum;
    int64_t took_ns;
    int64_t others;          /* bytes that the renter's store takes, */
    int64_t spoken;          /* and that its other jobs and uploads have spoken for */
    struct quota_hold *hold; /* what this one has; NULL: no quota for all, or over */
};

/* A sparse file is what it really takes; of a file with several names each takes a part.
 */
static int64_t
weight(const struct stat *st)
{
    int64_t bytes = st->st_size;
    int64_t on_disk = (int64_t)st->st_blocks * BLOCK_BYTES;

    if (!S_ISREG(st->st_mode)) {
        return 0;
    }
    /* Small files may lie in the inode: then their size is all there is to tell. */
    bytes = on_disk > 0 && on_disk < bytes ? on_disk : bytes;
    return st->st_nlink > 1 ? bytes / (int64_t)st->st_nlink : bytes;
}

/* Is a quota to be held? Then what is largest is told by its path. */
static bool
has_quota(const struct sup *s)
{
    return s->renter->quota_bytes > 0 || s->renter->quota_job_bytes > 0;
}

static void
note_large(struct sup_held *h, int dir_fd, const char *name, int64_t bytes)
{
    char link[32];
    char path[PATH_MAX];
    size_t root = strlen(h->root);
    char *rel;
    char *what;
    ssize_t n;

    if (!has_quota(h->sup) ||
        (h->top.n == QUOTA_TOP && bytes <= h->top.v[QUOTA_TOP - 1].bytes)) {
        return;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) {
        n = 0;
    }
    path[n] = '\0';
    rel = (size_t)n > root && strncmp(path, h->root, root) == 0
              ? path_join(path + root + 1, name)
              : xstrdup(name);
    what = xasprintf("%s%s", h->what, rel);
    quota_top_add(&h->top, what, bytes);
    free(what);
    free(rel);
}

/* What cannot be read is not counted: the snapshot cannot keep it either. Takes fd. */
static void
count(struct sup_held *h, int fd, int depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *de;
    struct stat st;

    if (d == NULL) {
        (void)close(fd);
        return;
    }
    while (!atomic_load(&h->cancelled) && (de = readdir(d)) != NULL) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
            fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            int sub = openat(dirfd(d), de->d_name,
                             O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            if (sub >= 0) {
                count(h, sub, depth + 1);
            }
        } else if (*h->sum < HELD_MAX) {
            *h->sum += weight(&st);
            note_large(h, dirfd(d), de->d_name, weight(&st));
        }
    }
    (void)closedir(d);
}

static void
count_tree(struct sup_held *h, const char *root, const char *what, int64_t *sum)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    h->root = root;
    h->what = what;
    h->sum = sum;
    if (fd >= 0) {
        count(h, fd, 0);
    }
}

/* What the renter has besides this job, now; and this job, for the others to see. */
static int
count_others(struct sup_held *h, struct err *e)
{
    struct quota_use u = {0};

    if (quota_hold_set(h->hold, h->bytes + h->layer_bytes, &h->spoken, e) != 0 ||
        quota_use_besides(h->sup->renter, h->sup->spec.job, &u, e) != 0) {
        return -1;
    }
    h->others = u.bytes;
    quota_use_free(&u);
    if (h->spoken > 0) {
        quota_top_add(&h->top, "other jobs and uploads", h->spoken);
    }
    return 0;
}

static int64_t
total_bytes(const struct sup_held *h)
{
    return h->bytes + h->layer_bytes + h->cache_bytes + h->others + h->spoken;
}

/*
 * What is there twice ends no job: it goes where it would be too much, and what a job
 * uses, this one perhaps, must stay.
 */
static bool
copies_must_go(const struct sup_held *h)
{
    const struct renter *r = h->sup->renter;
    int64_t copies = 0;
    struct err ignored;

    return r->quota_bytes > 0 && !atomic_load(&h->cancelled) &&
           quota_idle_copies(r, &copies, &ignored) == 0 && copies > 0 &&
           total_bytes(h) + copies > r->quota_bytes;
}

static int
count_run(void *ctx, struct err *e)
{
    struct sup_held *h = ctx;
    struct sup *s = h->sup;
    int64_t start_ns = clock_boot_ns();
    struct err ignored;
    bool drop;

    (void)e;
    h->bytes = h->layer_bytes = h->cache_bytes = 0;
    quota_top_free(&h->top);
    count_tree(h, s->workdir, "", &h->bytes);
    if (h->in_setup && has_quota(s)) {
        char *layer = setups_path(s->renter, s->layer_key);

        count_tree(h, layer, "set-up: ", &h->layer_bytes);
        free(layer);
    }
    if (s->renter->quota_bytes > 0) {
        char *cache = path_join(s->renter->path, "cache");

        count_tree(h, cache, "cache: ", &h->cache_bytes);
        free(cache);
    }
    if (h->hold != NULL && count_others(h, e) != 0) {
        h->others = h->spoken = 0; /* unknown: by what is known of this job alone */
    }
    drop = copies_must_go(h);
    /* Removing is no counting, and the next count need not wait for it so long. */
    h->took_ns = clock_boot_ns() - start_ns;
    if (drop && !atomic_load(&h->cancelled)) {
        (void)!quota_drop_copies(s->renter, &ignored);
    }
    return 0;
}

/* More than the owner allows: the job ends in order, and its data is kept. */
static void
hold_quota(struct sup_held *h)
{
    const struct renter *r = h->sup->renter;
    int64_t own = h->bytes + h->layer_bytes;
    int64_t total = total_bytes(h);
    bool job = r->quota_job_bytes > 0 && own > r->quota_job_bytes;
    bool all = r->quota_bytes > 0 && total > r->quota_bytes;
    struct buf b = BUF_INIT;
    char has[TEXT_SIZE_MAX];
    char may[TEXT_SIZE_MAX];
    struct err why;

    if (!job && !all) {
        return;
    }
    text_format_size((uint64_t)(job ? own : total), has);
    text_format_size((uint64_t)(job ? r->quota_job_bytes : r->quota_bytes), may);
    quota_top_text(&h->top, QUOTA_TOP_SAID_MAX, &b);
    if (job && h->layer_bytes > 0) {
        err_set(&why, ERR_SPACE,
                "its directory and set-up hold %s, and a job may here %s; the largest: "
                "%s; the host's owner can allow more",
                has, may, buf_str(&b));
    } else if (job) {
        err_set(&why, ERR_SPACE,
                "its directory holds %s, and a job may here %s; the largest: %s; the "
                "host's owner can allow more",
                has, may, buf_str(&b));
    } else {
        err_set(&why, ERR_SPACE,
                "its renter would keep %s, and may here %s; the largest: %s; `gpurun "
                "snap rm` and `gpurun data rm` make room",
                has, may, buf_str(&b));
    }
    sup_stop(h->sup, JOB_DISK, false, &why);
    buf_free(&b);
}

static void
count_done(void *ctx, int rc, const struct err *why)
{
    struct sup_held *h = ctx;
    int64_t pause_ns = h->took_ns * PAUSE_FACTOR;

    (void)rc;
    (void)why;
    h->counting = false;
    if (atomic_load(&h->cancelled)) {
        return;
    }
    meter_session_held(h->sup->meter, h->bytes);
    sup_run_schedule(h->sup); /* the stop may be nearer now */
    hold_quota(h);
    timer_after(h->timer, pause_ns > PAUSE_MIN_NS ? pause_ns : PAUSE_MIN_NS);
}

static void
count_due(void *ctx)
{
    struct sup_held *h = ctx;
    struct err e;

    if (h->counting || atomic_load(&h->cancelled)) {
        return;
    }
    h->counting = true;
    h->in_setup = h->sup->state.phase == JOB_SETUP;
    if (work_start(h->sup->loop, count_run, count_done, h, &e) != 0) {
        h->counting = false;
        sup_say(h->sup, "the bytes held were not counted: %s", e.msg);
        timer_after(h->timer, PAUSE_MIN_NS);
    }
}

void
sup_held_start(struct sup *s)
{
    bool begun = s->held != NULL;
    struct err e;

    if (s->grant.keep_uyuan_per_gb_day == 0 && !has_quota(s)) {
        return;
    }
    if (!begun) {
        s->held = xcalloc(1, sizeof *s->held);
        s->held->sup = s;
    }
    if (!begun) {
        if (s->renter->quota_bytes > 0 &&
            quota_hold_open(&s->held->hold, s->renter, &e) != 0) {
            sup_say(s, "%s", e.msg);
        }
        s->held->timer = timer_new(s->loop, count_due, s->held);
        count_due(s->held);
    }
}

bool
sup_held_stop(struct sup *s)
{
    if (s->held == NULL) {
        return true;
    }
    atomic_store(&s->held->cancelled, true);
    timer_cancel(s->held->timer);
    if (s->held->counting) {
        return false;
    }
    quota_hold_close(s->held->hold); /* in the store soon, and counted there */
    s->held->hold = NULL;
    return true;
}

void
sup_held_free(struct sup *s)
{
    if (s->held != NULL) {
        timer_free(s->held->timer);
        quota_top_free(&s->held->top);
        quota_hold_close(s->held->hold);
        free(s->held);
        s->held = NULL;
    }
}
