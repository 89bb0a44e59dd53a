#include "runner/host/caches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/jobdir.h"
#include "runner/host/loginenv.h"
#include "runner/host/quota.h"

#define NS_PER_S   ((int64_t)1000000000)
#define DAY_S      ((int64_t)86400)
#define PROBE_S    DAY_S /* long ago */
#define UNITS_MAX  100000
#define DEPTH_MAX  64
#define BLOCK_SIZE 512
#define NUMBER_MAX 16
/* This is the home of a renter who was let in: what tools without a variable keep there.
 */
#define HOME_CACHE ".cache"
#define GONE       ".gpurun-gone"  /* the folder of what is on its way out */
#define PROBE      ".gpurun-probe" /* whether times of reading are kept */

static const struct {
    const char *variable;
    const char *dir;
} tools[] = {
    {"HF_HOME", "huggingface"}, {"MODELSCOPE_CACHE", "modelscope"},
    {"TORCH_HOME", "torch"},    {"PIP_CACHE_DIR", "pip"},
    {"UV_CACHE_DIR", "uv"},
};
#define N_TOOLS (sizeof tools / sizeof tools[0])

void
caches_forget(struct strings *env)
{
    for (size_t i = 0; i < N_TOOLS; i++) {
        env_unset(env, tools[i].variable);
    }
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * The login user has fetched things with this tool: a login there would find them (and
 * the token that lies beside a hub's models), and so do the user's own jobs.
 */
static bool
is_in_use(const struct strings *env, const char *tool_dir)
{
    const char *xdg = env_get(env, "XDG_CACHE_HOME");
    const char *home = env_get(env, "HOME");
    char *path = xdg != NULL && xdg[0] == '/'
                     ? path_join(xdg, tool_dir)
                     : xasprintf("%s/.cache/%s", home != NULL ? home : "", tool_dir);
    DIR *d = opendir(path);
    struct dirent *de;
    bool found = false;

    while (d != NULL && !found && (de = readdir(d)) != NULL) {
        found = !is_dots(de->d_name);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(path);
    return found;
}

int
caches_env(const struct renter *r, struct strings *env, struct err *e)
{
    char *cache = path_join(r->path, "cache");
    int fd = -1;
    int rc = -1;

    if (renter_dir(r, "cache", &fd, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < N_TOOLS; i++) {
        char *path;

        if (env_get(env, tools[i].variable) != NULL ||
            (!r->confined && is_in_use(env, tools[i].dir))) {
            continue;
        }
        if (mkdirat(fd, tools[i].dir, 0700) != 0 && errno != EEXIST) {
            err_set_sys(e, errno, "cannot make the cache '%s'", tools[i].dir);
            goto out;
        }
        path = path_join(cache, tools[i].dir);
        env_set(env, tools[i].variable, path);
        free(path);
    }
    rc = 0;

out:
    (void)fd_close(&fd);
    free(cache);
    return rc;
}

/* ---- trimming ---- */

/* What is removed as a whole: <tool>/<x>/<y>, or what lies above that and is no folder.
 */
struct unit {
    char *path; /* from the cache's directory */
    uint64_t bytes;
    int64_t used_s; /* the newest reading or writing in it */
};

struct units {
    struct unit *v;
    size_t n;
    uint64_t bytes;
};

/*
 * Access times may be kept once a day only, or not at all: then the writing counts.
 * Folders tell nothing: whoever tidies up in one makes it new.
 */
static void
look_at(struct unit *u, const struct stat *sb)
{
    int64_t used = sb->st_mtim.tv_sec;

    if (S_ISREG(sb->st_mode) && sb->st_atim.tv_sec > used) {
        used = sb->st_atim.tv_sec;
    }
    if (!S_ISDIR(sb->st_mode) && used > u->used_s) {
        u->used_s = used;
    }
    /* What has several names counts once, a part at each. */
    u->bytes += (uint64_t)sb->st_blocks * BLOCK_SIZE /
                (S_ISDIR(sb->st_mode) || sb->st_nlink < 1 ? 1 : sb->st_nlink);
}

static DIR *
open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        (void)fd_close(&fd);
    }
    return d;
}

static void
measure(struct unit *u, int at, const char *name, int depth)
{
    DIR *d = depth < DEPTH_MAX ? open_dir(at, name) : NULL;
    struct dirent *de;
    struct stat sb;

    while (d != NULL && (de = readdir(d)) != NULL) {
        if (is_dots(de->d_name) ||
            fstatat(dirfd(d), de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        look_at(u, &sb);
        if (S_ISDIR(sb.st_mode)) {
            measure(u, dirfd(d), de->d_name, depth + 1);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

/* Units in the folder path, which is `level` below the tool's. */
static void
find_units(struct units *l, int at, const char *name, const char *path, int level)
{
    DIR *d = open_dir(at, name);
    struct dirent *de;
    struct stat sb;

    while (d != NULL && (de = readdir(d)) != NULL && l->n < UNITS_MAX) {
        char *full;

        if (is_dots(de->d_name) ||
            fstatat(dirfd(d), de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        full = path_join(path, de->d_name);
        if (S_ISDIR(sb.st_mode) && level == 0) {
            find_units(l, dirfd(d), de->d_name, full, level + 1);
            free(full);
            continue;
        }
        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n] = (struct unit){.path = full};
        look_at(&l->v[l->n], &sb);
        if (S_ISDIR(sb.st_mode)) {
            measure(&l->v[l->n], dirfd(d), de->d_name, 0);
        }
        if (l->v[l->n].used_s == 0) { /* nothing is in it yet */
            l->v[l->n].used_s = sb.st_mtim.tv_sec;
        }
        l->bytes += l->v[l->n].bytes;
        l->n++;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

static int
longest_unused_first(const void *a, const void *b)
{
    const struct unit *x = a;
    const struct unit *y = b;

    return x->used_s < y->used_s ? -1 : x->used_s > y->used_s;
}

/* Where units go from a cache, and are removed: GONE, each under a number. */
struct trash {
    int cache_fd;
    int fd; /* -1: not there yet */
    unsigned n;
};

static int
trash_open(struct trash *t, struct err *e)
{
    if (t->fd == -1 && mkdirat(t->cache_fd, GONE, 0700) != 0 && errno != EEXIST) {
        return err_set_sys(e, errno, "cannot make '%s'", GONE);
    }
    if (t->fd == -1) {
        t->fd =
            openat(t->cache_fd, GONE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    return t->fd != -1 ? 0 : err_set_sys(e, errno, "cannot open '%s'", GONE);
}

static void
trash_close(struct trash *t)
{
    if (t->fd != -1) {
        (void)unlinkat(t->cache_fd, GONE, AT_REMOVEDIR);
        (void)fd_close(&t->fd);
    }
}

/* Put back what was used since it was looked at, unless there is another by now. */
static bool
put_back(const struct trash *t, const char *number, int parent_fd, const char *name,
         const struct unit *was)
{
    struct unit now = {.path = NULL};
    struct stat sb;

    if (fstatat(t->fd, number, &sb, AT_SYMLINK_NOFOLLOW) == 0) {
        look_at(&now, &sb);
        measure(&now, t->fd, number, 0);
    }
    return now.used_s > was->used_s &&
           renameat2(t->fd, number, parent_fd, name, RENAME_NOREPLACE) == 0;
}

/*
 * Under a number that is free: one that could not be removed may lie there, of this trim
 * or an earlier one. Some tools close their folders, and to move one is to write its
 * "..": opened first.
 */
static int
move_away(struct trash *t, int parent_fd, const char *name, char number[NUMBER_MAX])
{
    bool opened = false;

    while (t->n < UNITS_MAX * 2) {
        (void)snprintf(number, NUMBER_MAX, "%u", t->n);
        if (renameat(parent_fd, name, t->fd, number) == 0) {
            return 0; /* or over what was going, too */
        }
        if (errno == EEXIST || errno == ENOTEMPTY || errno == EISDIR ||
            errno == ENOTDIR) {
            t->n++;
        } else if (errno == EACCES && !opened) {
            (void)fchmod(parent_fd, 0700);
            (void)!fchmodat(parent_fd, name, 0700, AT_SYMLINK_NOFOLLOW);
            opened = true;
        } else {
            return -1;
        }
    }
    return -1;
}

/* Each folder above is opened without following links: a job has written here. */
static int
remove_unit(struct trash *t, const struct unit *u, struct err *e)
{
    const char *slash = strrchr(u->path, '/');
    char *parent = xasprintf("%.*s", (int)(slash - u->path), u->path);
    char number[NUMBER_MAX];
    struct err why;
    int fd = -1;
    int rc = file_open_beneath(t->cache_fd, parent, O_RDONLY | O_DIRECTORY, 0, &fd, &why);

    if (rc != 0) {
        rc = why.code == ERR_NOT_FOUND ? 0 : -1;
        *e = rc != 0 ? why : *e;
    } else if (trash_open(t, e) != 0) {
        rc = -1;
    } else if (move_away(t, fd, slash + 1, number) != 0) {
        rc = errno == ENOENT || errno == EXDEV || errno == EBUSY
                 ? 0 /* it is gone, or was mounted there: not ours */
                 : err_set_sys(e, errno, "cannot remove '%s' of the cache", slash + 1);
    } else if (!put_back(t, number, fd, slash + 1, u)) {
        rc = file_remove_tree_at(t->fd, number, e);
    }
    (void)fd_close(&fd);
    free(parent);
    return rc;
}

static void
tell_unit(const struct trim_told *t, const struct unit *u, bool is_old)
{
    char size[TEXT_SIZE_MAX];

    text_format_size(u->bytes, size);
    if (is_old) {
        trim_tell(t, "%s of the cache (%s) would go: not used for 30 days", u->path,
                  size);
    } else {
        trim_tell(t,
                  "%s of the cache (%s) would go: the cache takes more than it may, and "
                  "this is the longest unused",
                  u->path, size);
    }
}

int
caches_trim_to(int cache_fd, const struct caches_rule *rule, struct err *e)
{
    struct units l = {NULL, 0, 0};
    struct trash t = {.cache_fd = cache_fd, .fd = -1};
    int rc = 0;

    if (rule->only == NULL) { /* of one that was cut off */
        rc = file_remove_tree_at(cache_fd, GONE, e);
    }

    for (size_t i = 0; i < N_TOOLS; i++) {
        find_units(&l, cache_fd, tools[i].dir, tools[i].dir, 0);
    }
    find_units(&l, cache_fd, HOME_CACHE, HOME_CACHE, 0);
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, longest_unused_first);
    }
    for (size_t i = 0; i < l.n && l.v[i].used_s < rule->unused_since_s; i++) {
        bool is_old = rule->now_s - l.v[i].used_s > rule->max_age_s;
        struct err why;

        if (!is_old && l.bytes <= rule->max_bytes) {
            continue;
        }
        if (rule->only != NULL) {
            tell_unit(rule->only, &l.v[i], is_old);
        } else if (remove_unit(&t, &l.v[i], &why) != 0) {
            trim_failed(&rc, &why, e);
            continue;
        }
        l.bytes -= l.v[i].bytes;
    }
    trash_close(&t);
    for (size_t i = 0; i < l.n; i++) {
        free(l.v[i].path);
    }
    free(l.v);
    return rc;
}

int64_t
caches_bytes_of(int at, const char *name)
{
    struct unit all = {.path = NULL};

    measure(&all, at, name, 0);
    return (int64_t)all.bytes;
}

int64_t
caches_bytes(const struct renter *r)
{
    return caches_bytes_of(r->fd, "cache");
}

/* A cache is the first to make room where a quota is tight, and leaves half of it. */
static int
most_bytes(const struct renter *r, const struct statvfs *v, uint64_t *most, struct err *e)
{
    struct quota_use u = {0};
    int64_t room;

    *most = (uint64_t)v->f_blocks * v->f_frsize / 10;
    if (r->quota_bytes == 0) {
        return 0;
    }
    if (quota_use_of(r, &u, e) != 0) {
        return -1;
    }
    room = r->quota_bytes > u.bytes ? (r->quota_bytes - u.bytes) / 2 : 0;
    *most = (uint64_t)room < *most ? (uint64_t)room : *most;
    quota_use_free(&u);
    return 0;
}

/*
 * Is a reading noted here? Not on a disk mounted `noatime`, and not everywhere else:
 * tried with a file that was last read long ago.
 */
static bool
keeps_reading_times(int cache_fd)
{
    const struct timespec old[2] = {{.tv_sec = PROBE_S}, {.tv_sec = PROBE_S}};
    int fd = openat(cache_fd, PROBE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    struct stat sb;
    char byte;
    bool yes = fd != -1 && write(fd, "x", 1) == 1 && futimens(fd, old) == 0 &&
               pread(fd, &byte, 1, 0) == 1 && fstat(fd, &sb) == 0 &&
               sb.st_atim.tv_sec > PROBE_S;

    (void)fd_close(&fd);
    (void)unlinkat(cache_fd, PROBE, 0);
    return yes;
}

/*
 * What a living job may be using was read or written since it began, or within the day
 * before, where the time of that was kept and counts for a day. In seconds; 0: who knows.
 */
static int
unused_since(const struct renter *r, int cache_fd, int64_t now_s, int64_t *since_s,
             struct err *e)
{
    struct job_ids active = {NULL, 0};

    *since_s = INT64_MAX;
    if (jobdir_list_active(r, &active, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < active.n; i++) {
        struct jobdir d;
        struct job_state st;
        struct err why;
        int64_t began_s = 0;

        if (jobdir_open(&d, r, active.v[i], &why) == 0) {
            if (jobdir_state(&d, &st, &why) == 0) {
                began_s = st.made_wall_ns / NS_PER_S;
                state_free(&st);
            }
            jobdir_close(&d);
        } else if (why.code == ERR_NOT_FOUND) {
            continue; /* a mark without a job */
        }
        began_s = began_s < now_s ? began_s : now_s; /* by a clock that was ahead */
        began_s = began_s > DAY_S ? began_s - DAY_S : 0;
        *since_s = began_s < *since_s ? began_s : *since_s;
    }
    if (*since_s != INT64_MAX && !keeps_reading_times(cache_fd)) {
        *since_s = 0;
    }
    job_ids_free(&active);
    return 0;
}

static int
trim(const struct renter *r, int cache_fd, const struct trim_told *only, struct err *e)
{
    struct caches_rule rule = {
        .now_s = clock_wall_ns() / NS_PER_S, .max_age_s = CACHES_AGE_S, .only = only};
    struct statvfs v;

    if (fstatvfs(cache_fd, &v) != 0) {
        return 0;
    }
    return unused_since(r, cache_fd, rule.now_s, &rule.unused_since_s, e) == 0 &&
                   most_bytes(r, &v, &rule.max_bytes, e) == 0 &&
                   caches_trim_to(cache_fd, &rule, e) == 0
               ? 0
               : -1;
}

int
caches_trim(const struct renter *r, const struct trim_told *only, struct err *e)
{
    int fd = openat(r->fd, "cache", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    char *path = path_join(r->path, "cache.lock");
    int lock = -1;
    int rc = 0;

    if (fd != -1) { /* else no job ever ran */
        rc = file_lock(path, true, false, &lock, e);
        if (rc == 0) {
            rc = trim(r, fd, only, e);
        } else if (e->code == ERR_BUSY) {
            rc = 0; /* another is at it */
        }
    }
    (void)fd_close(&lock);
    (void)fd_close(&fd);
    free(path);
    return rc;
}
