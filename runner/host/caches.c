#include "runner/host/caches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/jobdir.h"
#include "runner/host/loginenv.h"
#include "runner/host/quota.h"

#define NS_PER_S   ((int64_t)1000000000)
#define UNITS_MAX  100000
#define DEPTH_MAX  64
#define BLOCK_SIZE 512
/* This is the home of a renter who was let in: what tools without a variable keep there.
 */
#define HOME_CACHE ".cache"

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
    u->bytes += (uint64_t)sb->st_blocks * BLOCK_SIZE;
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

/* Each folder above is opened without following links: a job has written here. */
static int
remove_unit(int cache_fd, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *parent = xasprintf("%.*s", (int)(slash - path), path);
    struct err why;
    int fd = -1;
    int rc = file_open_beneath(cache_fd, parent, O_RDONLY | O_DIRECTORY, 0, &fd, &why);

    if (rc == 0) {
        rc = file_remove_tree_at(fd, slash + 1, e);
    } else if (why.code == ERR_NOT_FOUND) {
        rc = 0;
    } else {
        *e = why;
    }
    (void)fd_close(&fd);
    free(parent);
    return rc;
}

int
caches_trim_to(int cache_fd, int64_t now_s, int64_t max_age_s, uint64_t max_bytes,
               struct err *e)
{
    struct units l = {NULL, 0, 0};
    int rc = 0;

    for (size_t i = 0; i < N_TOOLS; i++) {
        find_units(&l, cache_fd, tools[i].dir, tools[i].dir, 0);
    }
    find_units(&l, cache_fd, HOME_CACHE, HOME_CACHE, 0);
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, longest_unused_first);
    }
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        if (now_s - l.v[i].used_s > max_age_s || l.bytes > max_bytes) {
            rc = remove_unit(cache_fd, l.v[i].path, e);
            l.bytes -= l.v[i].bytes;
        }
    }
    for (size_t i = 0; i < l.n; i++) {
        free(l.v[i].path);
    }
    free(l.v);
    return rc;
}

int64_t
caches_bytes(const struct renter *r)
{
    struct unit all = {.path = NULL};

    measure(&all, r->fd, "cache", 0);
    return (int64_t)all.bytes;
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

int
caches_trim(const struct renter *r, struct err *e)
{
    int fd = openat(r->fd, "cache", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct job_ids active = {NULL, 0};
    struct statvfs v;
    uint64_t most;
    int rc = 0;

    if (fd == -1) {
        return 0; /* no job ever ran */
    }
    if (jobdir_list_active(r, &active, e) != 0) {
        rc = -1;
    } else if (active.n == 0 && fstatvfs(fd, &v) == 0) {
        rc = most_bytes(r, &v, &most, e) == 0
                 ? caches_trim_to(fd, clock_wall_ns() / NS_PER_S, CACHES_AGE_S, most, e)
                 : -1;
    }
    job_ids_free(&active);
    (void)fd_close(&fd);
    return rc;
}
