#ifndef TESTS_UNIT_CRASH_BOOKS_H
#define TESTS_UNIT_CRASH_BOOKS_H

/*
 * For crash_shim.h: what has been done to the files under its root and not been synced,
 * and dying, which takes it back.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum shim_mode {
    SHIM_COUNT = 0,  /* only count */
    SHIM_KILL,       /* die before the call */
    SHIM_TORN,       /* write half of it, then die */
    SHIM_POWER_ALL,  /* before the call the power goes: nothing unsynced is left */
    SHIM_POWER_SOME, /* ... some of it is left */
    SHIM_SHORT,      /* write half of it and say so */
    SHIM_EIO,        /* this call fails */
    SHIM_ENOSPC,     /* this and every later call that needs room fails */
    SHIM_EDQUOT,     /* the same, because of a quota */
    SHIM_MODES,
    SHIM_PLUG = SHIM_MODES, /* before the call the ext4 under the root is shut down */
};

struct shim_op {
    off_t at;
    uint8_t *data; /* NULL: the size becomes at */
    size_t len;
};

struct shim_file { /* with changes that are not synced */
    dev_t dev;
    ino_t ino;
    int fd;
    uint8_t *base;
    size_t base_len;
    struct shim_op *ops;
    size_t n_ops;
};

struct shim_name { /* a change of names that is not synced */
    char kind;     /* c create, d mkdir, u unlink, r rename, o renamed to elsewhere */
    char dir[300];
    char path[300];
    char from[300];
    char saved[300]; /* a link to what was replaced or removed; empty: nothing was */
};

static struct {
    bool on;
    enum shim_mode mode;
    uint64_t die_at; /* the n-th call, from 1 */
    uint64_t seed;
    char root[200];
    char saves[220];
    volatile uint64_t *count; /* shared with the parent */
    struct shim_file files[256];
    size_t n_files;
    struct shim_name names[4096];
    size_t n_names;
    uint64_t n_saves;
    atomic_bool dying; /* other threads go on meanwhile */
    bool reads;        /* calls that read are counted, not those that change */
    /* If not NULL, told of each call before it is made: its name, and what it is about.
     */
    void (*watch)(const char *call, const char *path);
} shim;

/* Threads write packs side by side: one call at a time, so that the books are right. */
static pthread_mutex_t shim_mu = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static inline void
shim_lock(void)
{
    (void)pthread_mutex_lock(&shim_mu);
}

static inline int64_t
shim_unlock(int64_t result)
{
    int was = errno;

    (void)pthread_mutex_unlock(&shim_mu);
    errno = was;
    return result;
}

static uint64_t
shim_random(void)
{
    uint64_t z = (shim.seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The path of a descriptor if it lies under the root. */
static bool
shim_path(int fd, char path[300])
{
    char link[64];
    ssize_t n;

    if (!shim.on || shim.dying) {
        return false;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, 299);
    if (n <= 0) {
        return false;
    }
    path[n] = '\0';
    return strncmp(path, shim.root, strlen(shim.root)) == 0;
}

/* The same for a name in a directory. */
static inline bool
shim_path_at(int dir_fd, const char *name, char path[300], char dir[300])
{
    char *slash;

    if (!shim.on || shim.dying) {
        return false;
    }
    if (name[0] == '/') {
        (void)snprintf(path, 300, "%s", name);
    } else if (dir_fd == AT_FDCWD || !shim_path(dir_fd, dir)) {
        return false;
    } else {
        (void)snprintf(path, 300, "%.180s/%.100s", dir, name);
    }
    (void)snprintf(dir, 300, "%s", path);
    slash = strrchr(dir, '/');
    *slash = '\0';
    return strncmp(path, shim.root, strlen(shim.root)) == 0;
}

/* ---- what is not synced ---- */

static struct shim_file *
shim_find(int fd, bool make)
{
    struct shim_file *f;
    struct stat st;

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        return NULL;
    }
    for (size_t i = 0; i < shim.n_files; i++) {
        if (shim.files[i].dev == st.st_dev && shim.files[i].ino == st.st_ino) {
            return &shim.files[i];
        }
    }
    if (!make || shim.n_files == 256) {
        return NULL;
    }
    f = &shim.files[shim.n_files++];
    memset(f, 0, sizeof *f);
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    {
        char path[64];

        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        f->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    }
    f->base_len = (size_t)st.st_size;
    f->base = malloc(f->base_len + 1);
    if (f->fd == -1 || f->base == NULL ||
        syscall(SYS_pread64, f->fd, f->base, f->base_len, 0) != (long)f->base_len) {
        abort();
    }
    return f;
}

static void
shim_forget(struct shim_file *f)
{
    (void)syscall(SYS_close, f->fd);
    for (size_t i = 0; i < f->n_ops; i++) {
        free(f->ops[i].data);
    }
    free(f->ops);
    free(f->base);
    *f = shim.files[--shim.n_files];
}

static inline void
shim_note(int fd, off_t at, const void *data, size_t len)
{
    struct shim_file *f;
    struct shim_op *op;

    if (shim.mode != SHIM_POWER_ALL && shim.mode != SHIM_POWER_SOME) {
        return;
    }
    f = shim_find(fd, true);
    if (f == NULL) {
        return;
    }
    f->ops = realloc(f->ops, (f->n_ops + 1) * sizeof *f->ops);
    op = &f->ops[f->n_ops++];
    op->at = at;
    op->len = len;
    op->data = data == NULL ? NULL : memcpy(malloc(len + 1), data, len);
}

static inline void
shim_note_name(char kind, const char *path, const char *dir, const char *from,
               const char *replaced)
{
    struct shim_name *n;

    if ((shim.mode != SHIM_POWER_ALL && shim.mode != SHIM_POWER_SOME) ||
        shim.n_names == 4096) {
        return;
    }
    n = &shim.names[shim.n_names++];
    memset(n, 0, sizeof *n);
    n->kind = kind;
    (void)snprintf(n->path, sizeof n->path, "%s", path);
    (void)snprintf(n->dir, sizeof n->dir, "%s", dir);
    (void)snprintf(n->from, sizeof n->from, "%s", from);
    if (replaced != NULL) {
        (void)snprintf(n->saved, sizeof n->saved, "%s/%llu", shim.saves,
                       (unsigned long long)shim.n_saves++);
        if (syscall(SYS_linkat, AT_FDCWD, replaced, AT_FDCWD, n->saved, 0) == -1) {
            n->saved[0] = '\0';
        }
    }
}

static inline void
shim_synced(int fd)
{
    struct shim_file *f;
    char path[300];
    struct stat st;
    size_t kept = 0;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        f = shim_find(fd, false);
        if (f != NULL) {
            shim_forget(f);
        }
        return;
    }
    if (!shim_path(fd, path)) {
        return;
    }
    for (size_t i = 0; i < shim.n_names; i++) {
        if (strcmp(shim.names[i].dir, path) != 0) {
            shim.names[kept++] = shim.names[i];
        }
    }
    shim.n_names = kept;
}

/* Would a power cut change the file's bytes? */
static bool
shim_has_changes(const struct shim_file *f)
{
    for (size_t i = 0; i < f->n_ops; i++) {
        if (f->ops[i].data != NULL || (size_t)f->ops[i].at < f->base_len) {
            return true;
        }
    }
    return false;
}

/*
 * Does root/sub hold anything that a power cut could take back: names of these kinds, or,
 * with kind b, bytes of a file? Then what, else NULL. Only in the modes that lose things.
 */
static inline const char *
shim_unsynced(const char *sub, const char *kinds)
{
    static char what[360];
    char dir[300];

    (void)snprintf(dir, sizeof dir, "%s%s%s", shim.root, sub[0] == '\0' ? "" : "/", sub);
    for (size_t i = 0; i < shim.n_names; i++) {
        const struct shim_name *n = &shim.names[i];

        if (strcmp(n->dir, dir) == 0 && strchr(kinds, n->kind) != NULL) {
            (void)snprintf(what, sizeof what, "the name %s (%c)", n->path, n->kind);
            return what;
        }
    }
    for (size_t i = 0; i < shim.n_files && strchr(kinds, 'b') != NULL; i++) {
        char link[64];
        char path[300];
        ssize_t n;

        if (!shim_has_changes(&shim.files[i])) {
            continue;
        }
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", shim.files[i].fd);
        n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        if (strncmp(path, dir, strlen(dir)) == 0 && path[strlen(dir)] == '/' &&
            strchr(path + strlen(dir) + 1, '/') == NULL &&
            strstr(path, " (deleted)") == NULL) {
            (void)snprintf(what, sizeof what, "bytes of %s", path);
            return what;
        }
    }
    return NULL;
}

/* ---- dying ---- */

static void
shim_rewrite(const struct shim_file *f, bool some)
{
    size_t cap = f->base_len;
    size_t len = f->base_len;
    uint8_t *v;

    for (size_t i = 0; i < f->n_ops; i++) {
        size_t end = (size_t)f->ops[i].at + f->ops[i].len;

        cap = end > cap ? end : cap;
    }
    v = calloc(1, cap + 1);
    memcpy(v, f->base, f->base_len);
    for (size_t i = 0; i < f->n_ops; i++) {
        const struct shim_op *op = &f->ops[i];

        if (!some || shim_random() % 2 == 0) {
            continue;
        }
        if (op->data == NULL) {
            if ((size_t)op->at < len) {
                memset(v + op->at, 0, len - (size_t)op->at);
            }
            len = (size_t)op->at;
        } else {
            memcpy(v + op->at, op->data, op->len);
            len = (size_t)op->at + op->len > len ? (size_t)op->at + op->len : len;
        }
    }
    if (syscall(SYS_ftruncate, f->fd, 0) == -1 ||
        syscall(SYS_pwrite64, f->fd, v, len, 0) != (long)len) {
        abort();
    }
    free(v);
}

static void
shim_undo_name(const struct shim_name *n)
{
    if (n->kind == 'o') {
        return; /* a file that has moved is taken to be where it went, or not yet */
    }
    if (n->kind == 'd') {
        (void)syscall(SYS_unlinkat, AT_FDCWD, n->path, AT_REMOVEDIR);
        return;
    }
    if (n->kind == 'c') {
        (void)syscall(SYS_unlinkat, AT_FDCWD, n->path, 0);
        return;
    }
    if (n->kind == 'r') {
        (void)syscall(SYS_renameat2, AT_FDCWD, n->path, AT_FDCWD, n->from, 0);
    }
    if (n->saved[0] != '\0') {
        (void)syscall(SYS_linkat, AT_FDCWD, n->saved, AT_FDCWD, n->path, 0);
    }
}

/* Lose the changes of names: in each directory all, or those from some point on. */
static void
shim_lose_names(bool some)
{
    static bool lost[4096];

    for (size_t i = 0; i < shim.n_names; i++) {
        bool before = false;

        for (size_t k = 0; k < i; k++) {
            before =
                before || (lost[k] && strcmp(shim.names[k].dir, shim.names[i].dir) == 0);
        }
        lost[i] = !some || before || shim_random() % 4 == 0;
    }
    for (size_t i = shim.n_names; i > 0; i--) {
        if (lost[i - 1]) {
            shim_undo_name(&shim.names[i - 1]);
        }
    }
}

/* EXT4_IOC_SHUTDOWN, with what the journal holds (1), or without (2): all has ended. */
static void
shim_pull_plug(void)
{
    unsigned how = 1 + (unsigned)(shim_random() % 2);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, shim.root, O_RDONLY | O_CLOEXEC, 0);

    if (fd == -1 || ioctl(fd, _IOR('X', 125, unsigned), &how) == -1) {
        abort();
    }
}

static inline void
shim_die(void)
{
    shim.dying = true;
    if (shim.mode == SHIM_PLUG) {
        shim_pull_plug();
    }
    if (shim.mode == SHIM_POWER_ALL || shim.mode == SHIM_POWER_SOME) {
        for (size_t i = 0; i < shim.n_files; i++) {
            shim_rewrite(&shim.files[i], shim.mode == SHIM_POWER_SOME);
        }
        shim_lose_names(shim.mode == SHIM_POWER_SOME);
    }
    (void)kill(getpid(), SIGKILL);
}

#endif
