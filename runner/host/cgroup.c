#include "runner/host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define TEXT_MAX_BYTES   ((size_t)1 << 20)
#define CPU_PERIOD_US    100000
#define REMOVE_TRIES     50
#define REMOVE_PAUSE_US  2000
#define GROUP_NAME_START "gpurun-"

/* One hierarchy: for v2 the only one, for v1 that of memory or cpu. */
struct hierarchy {
    char *dir; /* of the job's group */
    int join_fd;
};

struct cgroup {
    enum cgroup_kind kind;
    struct hierarchy mem; /* v2: both */
    struct hierarchy cpu; /* v1 only */
    bool mem_limited;
    bool cpu_limited;
};

/* Where hierarchies are mounted and where we are in them. */
struct places {
    char *v2;     /* our own group's directory; NULL: none */
    char *v2_top; /* the mount itself */
    char *v1_mem;
    char *v1_cpu;
};

const char *
cgroup_kind_name(enum cgroup_kind k)
{
    return k == CGROUP_V2 ? "cgroup2" : k == CGROUP_V1 ? "cgroup1" : "none";
}

/* ---- finding ---- */

static bool
has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; p != NULL; p = strchr(p, ',')) {
        p += *p == ',' ? 1 : 0;
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Our path in the hierarchy of that controller ("" is v2); malloc'ed. */
static char *
own_path(char *text, const char *controller)
{
    char *copy = xstrdup(text);
    char *save = NULL;
    char *found = NULL;

    for (char *line = strtok_r(copy, "\n", &save); line != NULL && found == NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':');
        char *path = list == NULL ? NULL : strchr(list + 1, ':');

        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        list++;
        if (controller[0] == '\0' ? list[0] == '\0' : has_word(list, controller)) {
            found = xstrdup(path);
        }
    }
    free(copy);
    return found;
}

/* mount point + our path below the mount's root; malloc'ed. */
static char *
group_dir(const char *mount, const char *root, const char *own)
{
    size_t n = strlen(root);

    if (strcmp(root, "/") == 0) {
        n = 0;
    } else if (strncmp(own, root, n) != 0) {
        return xstrdup(mount); /* a name space shows us only what is below */
    }
    return strcmp(own + n, "/") == 0 || own[n] == '\0'
               ? xstrdup(mount)
               : xasprintf("%s%s", mount, own + n);
}

static void
take_mount(struct places *p, char *own, const char *root, const char *mount,
           const char *type, const char *options)
{
    bool v2 = strcmp(type, "cgroup2") == 0;
    char **at = v2                            ? &p->v2
                : has_word(options, "memory") ? &p->v1_mem
                : has_word(options, "cpu")    ? &p->v1_cpu
                                              : NULL;
    char *path;

    if (at == NULL || *at != NULL || (!v2 && strcmp(type, "cgroup") != 0)) {
        return;
    }
    path = own_path(own, v2 ? "" : at == &p->v1_mem ? "memory" : "cpu");
    if (path == NULL) {
        return;
    }
    *at = group_dir(mount, root, path);
    if (v2) {
        p->v2_top = xstrdup(mount);
    }
    free(path);
}

static void
find_places(struct places *p)
{
    struct buf mounts = BUF_INIT;
    struct buf own = BUF_INIT;
    struct err none;
    char *save = NULL;

    memset(p, 0, sizeof *p);
    if (file_read("/proc/self/mountinfo", TEXT_MAX_BYTES, &mounts, &none) != 0 ||
        file_read("/proc/self/cgroup", TEXT_MAX_BYTES, &own, &none) != 0 ||
        mounts.len == 0 || own.len == 0) {
        goto out;
    }
    for (char *line = strtok_r((char *)mounts.data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char root[1024];
        char mount[1024];
        char type[32];
        char options[256];
        char *dash = strstr(line, " - ");

        if (dash != NULL && sscanf(line, "%*d %*d %*s %1023s %1023s", root, mount) == 2 &&
            sscanf(dash, " - %31s %*s %255s", type, options) == 2) {
            take_mount(p, (char *)own.data, root, mount, type, options);
        }
    }

out:
    buf_free(&mounts);
    buf_free(&own);
}

static void
free_places(struct places *p)
{
    free(p->v2);
    free(p->v2_top);
    free(p->v1_mem);
    free(p->v1_cpu);
}

/* ---- small files ---- */

static int
put(const char *dir, const char *name, const char *value)
{
    char *path = path_join(dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int failed = 0;

    if (fd == -1 || write(fd, value, strlen(value)) != (ssize_t)strlen(value)) {
        failed = errno;
    }
    (void)fd_close(&fd);
    free(path);
    return failed;
}

static bool
get(const char *dir, const char *name, struct buf *out)
{
    char *path = path_join(dir, name);
    struct err none;
    bool ok = file_read(path, TEXT_MAX_BYTES, out, &none) == 0;

    free(path);
    return ok;
}

/* "key 12" on a line of its own, or the whole file when key is NULL; -1: not there. */
static int64_t
number(const char *dir, const char *name, const char *key)
{
    struct buf b = BUF_INIT;
    int64_t v = -1;
    char *save = NULL;

    if (get(dir, name, &b) && b.len > 0) {
        for (char *line = strtok_r((char *)b.data, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) {
            size_t n = key == NULL ? 0 : strlen(key);

            if (key == NULL || (strncmp(line, key, n) == 0 && line[n] == ' ')) {
                v = strtoll(line + n, NULL, 10);
                break;
            }
        }
    }
    buf_free(&b);
    return v;
}

/* ---- making ---- */

static void
group_name(const char *job, char out[64])
{
    (void)snprintf(out, 64, GROUP_NAME_START "%s", job);
}

/* The right to join is that to write to its list of members. */
static int
open_join(const char *dir, enum cgroup_kind kind)
{
    char *list = path_join(dir, kind == CGROUP_V2 ? "cgroup.procs" : "tasks");
    int fd = open(list, O_WRONLY | O_CLOEXEC);

    free(list);
    if (fd != -1 && kind == CGROUP_V2) {
        (void)close(fd);
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return fd;
}

/* A group below dir with what is needed to join it open; false: not allowed. */
static bool
make_below(struct hierarchy *h, const char *dir, const char *job, enum cgroup_kind kind)
{
    char name[64];

    group_name(job, name);
    h->dir = path_join(dir, name);
    h->join_fd = -1;
    if (mkdir(h->dir, 0755) == 0 || errno == EEXIST) {
        h->join_fd = open_join(h->dir, kind);
        if (h->join_fd != -1) {
            return true;
        }
        (void)rmdir(h->dir);
    }
    free(h->dir);
    h->dir = NULL;
    return false;
}

static void
drop(struct hierarchy *h)
{
    (void)fd_close(&h->join_fd);
    if (h->dir == NULL) {
        return;
    }
    /* The kernel needs a moment after the last process was reaped. */
    for (int i = 0; i < REMOVE_TRIES && rmdir(h->dir) != 0 && errno == EBUSY; i++) {
        (void)usleep(REMOVE_PAUSE_US);
    }
    free(h->dir);
    h->dir = NULL;
}

static bool
has_controller(const char *dir, const char *name)
{
    struct buf b = BUF_INIT;
    bool found = false;
    char *save = NULL;

    if (get(dir, "cgroup.controllers", &b) && b.len > 0) {
        for (char *w = strtok_r((char *)b.data, " \n", &save); w != NULL && !found;
             w = strtok_r(NULL, " \n", &save)) {
            found = strcmp(w, name) == 0;
        }
    }
    buf_free(&b);
    return found;
}

/*
 * A group of version 2 must have its parent hand controllers down, and a parent with
 * processes of its own (but the top) may not.
 */
static bool
make_v2(struct cgroup *g, const struct places *p, const char *job)
{
    const char *parents[2] = {p->v2, geteuid() == 0 ? p->v2_top : NULL};

    for (int i = 0; i < 2; i++) {
        if (parents[i] == NULL ||
            (i == 1 && p->v2 != NULL && strcmp(p->v2, p->v2_top) == 0)) {
            continue;
        }
        (void)put(parents[i], "cgroup.subtree_control", "+memory");
        (void)put(parents[i], "cgroup.subtree_control", "+cpu");
        if (!make_below(&g->mem, parents[i], job, CGROUP_V2)) {
            continue;
        }
        if (has_controller(g->mem.dir, "memory")) {
            g->kind = CGROUP_V2;
            return true;
        }
        drop(&g->mem);
    }
    return false;
}

static bool
make_v1(struct cgroup *g, const struct places *p, const char *job, bool want_cpu)
{
    if (p->v1_mem == NULL || !make_below(&g->mem, p->v1_mem, job, CGROUP_V1)) {
        return false;
    }
    if (want_cpu && p->v1_cpu != NULL) {
        (void)make_below(&g->cpu, p->v1_cpu, job, CGROUP_V1);
    }
    g->kind = CGROUP_V1;
    return true;
}

static void
set_cpu(struct cgroup *g, int64_t cores)
{
    char text[64];

    if (g->kind == CGROUP_V2) {
        (void)snprintf(text, sizeof text, "%" PRId64 " %d", cores * CPU_PERIOD_US,
                       CPU_PERIOD_US);
        g->cpu_limited = put(g->mem.dir, "cpu.max", text) == 0;
    } else if (g->cpu.dir != NULL) {
        (void)snprintf(text, sizeof text, "%" PRId64, cores * CPU_PERIOD_US);
        g->cpu_limited = put(g->cpu.dir, "cpu.cfs_quota_us", text) == 0;
    }
}

static int
set_mem(struct cgroup *g, int64_t bytes, struct err *e)
{
    char text[32];
    int failed;

    (void)snprintf(text, sizeof text, "%" PRId64, bytes);
    if (g->kind == CGROUP_V2) {
        failed = put(g->mem.dir, "memory.max", text);
        (void)put(g->mem.dir, "memory.swap.max", "0");
        (void)put(g->mem.dir, "memory.oom.group", "1");
    } else {
        failed = put(g->mem.dir, "memory.limit_in_bytes", text);
        (void)put(g->mem.dir, "memory.memsw.limit_in_bytes", text);
    }
    if (failed != 0) {
        return err_set_sys(e, failed,
                           "cannot limit the job's memory to %" PRId64 " bytes", bytes);
    }
    g->mem_limited = true;
    return 0;
}

int
cgroup_make(struct cgroup **out, const char *job, const struct cgroup_limits *l,
            struct err *e)
{
    struct cgroup *g = xcalloc(1, sizeof *g);
    struct places p;
    int rc = 0;

    g->mem.join_fd = -1;
    g->cpu.join_fd = -1;
    find_places(&p);
    if (!make_v1(g, &p, job, l->cpu_cores > 0) && !make_v2(g, &p, job)) {
        free(g);
        g = NULL;
        goto out;
    }
    if (l->cpu_cores > 0) {
        set_cpu(g, l->cpu_cores);
    }
    if (l->mem_bytes > 0 && set_mem(g, l->mem_bytes, e) != 0) {
        cgroup_remove(g);
        g = NULL;
        rc = -1;
    }

out:
    free_places(&p);
    if (rc == 0) {
        *out = g;
    }
    return rc;
}

enum cgroup_kind
cgroup_probe(void)
{
    char name[32];
    struct cgroup_limits none = {0, 0};
    struct cgroup *g = NULL;
    enum cgroup_kind k;
    struct err e;

    (void)snprintf(name, sizeof name, "probe-%d", (int)getpid());
    if (cgroup_make(&g, name, &none, &e) != 0) {
        return CGROUP_NONE;
    }
    k = cgroup_kind(g);
    cgroup_remove(g);
    return k;
}

enum cgroup_kind
cgroup_kind(const struct cgroup *g)
{
    return g == NULL ? CGROUP_NONE : g->kind;
}

bool
cgroup_limits_memory(const struct cgroup *g)
{
    return g != NULL && g->mem_limited;
}

bool
cgroup_limits_cpu(const struct cgroup *g)
{
    return g != NULL && g->cpu_limited;
}

size_t
cgroup_join_fds(const struct cgroup *g, int fds[CGROUP_JOIN_MAX])
{
    size_t n = 0;

    if (g != NULL && g->mem.join_fd != -1) {
        fds[n++] = g->mem.join_fd;
    }
    if (g != NULL && g->cpu.join_fd != -1) {
        fds[n++] = g->cpu.join_fd;
    }
    return n;
}

int64_t
cgroup_oom_kills(const struct cgroup *g)
{
    if (g == NULL) {
        return -1;
    }
    return number(g->mem.dir,
                  g->kind == CGROUP_V2 ? "memory.events" : "memory.oom_control",
                  "oom_kill");
}

int64_t
cgroup_mem_bytes(const struct cgroup *g)
{
    if (g == NULL) {
        return -1;
    }
    return number(g->mem.dir,
                  g->kind == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes",
                  NULL);
}

static void
kill_all(const char *dir)
{
    struct buf b = BUF_INIT;
    char *save = NULL;

    if (put(dir, "cgroup.kill", "1") == 0) {
        return;
    }
    if (get(dir, "cgroup.procs", &b) && b.len > 0) {
        for (char *w = strtok_r((char *)b.data, "\n", &save); w != NULL;
             w = strtok_r(NULL, "\n", &save)) {
            long pid = strtol(w, NULL, 10);

            if (pid > 1) {
                (void)kill((pid_t)pid, SIGKILL);
            }
        }
    }
    buf_free(&b);
}

void
cgroup_kill(const struct cgroup *g)
{
    if (g != NULL) {
        kill_all(g->mem.dir);
    }
}

void
cgroup_remove(struct cgroup *g)
{
    if (g == NULL) {
        return;
    }
    drop(&g->mem);
    drop(&g->cpu);
    free(g);
}

static void
sweep_below(const char *parent, const char *name)
{
    struct hierarchy h = {parent == NULL ? NULL : path_join(parent, name), -1};
    struct stat sb;

    if (h.dir != NULL && stat(h.dir, &sb) == 0) {
        for (int i = 0; i < REMOVE_TRIES && number(h.dir, "cgroup.procs", NULL) > 0;
             i++) {
            kill_all(h.dir);
            (void)usleep(REMOVE_PAUSE_US);
        }
        drop(&h);
    }
    free(h.dir);
}

void
cgroup_sweep(const char *job)
{
    struct places p;
    char name[64];

    group_name(job, name);
    find_places(&p);
    sweep_below(p.v2, name);
    sweep_below(p.v2_top, name);
    sweep_below(p.v1_mem, name);
    sweep_below(p.v1_cpu, name);
    free_places(&p);
}
