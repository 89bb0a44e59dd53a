/*
 * Preloaded into a program under test: kill -9 at one exact place.
 *
 *   DIE_AT=rename:TEXT:N     right before the N-th rename to a path that holds TEXT
 *   DIE_AT=sync:TEXT:N       right before the N-th fsync or fdatasync of a file whose
 * path holds TEXT
 *   DIE_AT=write:TEXT:N      right before the N-th write to such a file, or cut of it
 *   DIE_AT=torn:TEXT:N       after half the bytes of the N-th write to it
 *   DIE_AT_FILE=FILE         the rule is what FILE holds, if it is there; who dies of it
 * takes the file away first, so nobody else does
 *
 * Counted in each process by itself.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int seen;

/* What to die of, into rule; false: nothing. */
static int
read_rule(char rule[256], const char **file)
{
    const char *env = getenv("DIE_AT");
    FILE *f;
    size_t n;

    *file = getenv("DIE_AT_FILE");
    if (*file == NULL) {
        (void)snprintf(rule, 256, "%s", env != NULL ? env : "");
        return env != NULL;
    }
    f = fopen(*file, "re");
    if (f == NULL) {
        return 0;
    }
    n = fread(rule, 1, 255, f);
    (void)fclose(f);
    rule[n] = '\0';
    rule[strcspn(rule, "\n")] = '\0';
    return 1;
}

/* Is this the one? */
static int
hit(const char *what, const char *path)
{
    size_t len = strlen(what);
    const char *file;
    char rule[256];
    char *text;
    char *colon;

    if (!read_rule(rule, &file) || strncmp(rule, what, len) != 0 || rule[len] != ':') {
        return 0;
    }
    text = rule + len + 1;
    colon = strrchr(text, ':');
    if (colon == NULL) {
        return 0;
    }
    *colon = '\0';
    if (strstr(path, text) == NULL || ++seen != atoi(colon + 1)) {
        return 0;
    }
    return file == NULL || unlink(file) == 0;
}

static void
pass(const char *what, const char *path)
{
    if (hit(what, path)) {
        (void)kill(getpid(), SIGKILL);
    }
}

static int
path_of(int fd, char path[4096])
{
    char link[64];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, 4095);
    if (n > 0) {
        path[n] = '\0';
    }
    return n > 0;
}

static void
pass_fd(const char *what, int fd)
{
    char path[4096];

    if (path_of(fd, path)) {
        pass(what, path);
    }
}

/* How many of n bytes are to be written before the end; n: it is not this write. */
static size_t
before_end(int fd, size_t n)
{
    char path[4096];

    pass_fd("write", fd);
    return path_of(fd, path) && hit("torn", path) ? n / 2 : n;
}

#define WRITES_AT(name, type)                                                            \
    ssize_t name(int fd, const void *data, size_t n, type at)                            \
    {                                                                                    \
        ssize_t (*next)(int, const void *, size_t, type) =                               \
            (ssize_t(*)(int, const void *, size_t, type))dlsym(RTLD_NEXT, #name);        \
        size_t part = before_end(fd, n);                                                 \
        ssize_t done = next(fd, data, part, at);                                         \
                                                                                         \
        if (part != n) {                                                                 \
            (void)kill(getpid(), SIGKILL);                                               \
        }                                                                                \
        return done;                                                                     \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

ssize_t
write(int fd, const void *data, size_t n)
{
    ssize_t (*next)(int, const void *, size_t) =
        (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    size_t part = before_end(fd, n);
    ssize_t done = next(fd, data, part);

    if (part != n) {
        (void)kill(getpid(), SIGKILL);
    }
    return done;
}

#define CUTS(name, type)                                                                 \
    int name(int fd, type length)                                                        \
    {                                                                                    \
        int (*next)(int, type) = (int (*)(int, type))dlsym(RTLD_NEXT, #name);            \
                                                                                         \
        pass_fd("write", fd);                                                            \
        return next(fd, length);                                                         \
    }
CUTS(ftruncate, off_t)
CUTS(ftruncate64, off64_t)

int
rename(const char *from, const char *to)
{
    int (*next)(const char *, const char *) =
        (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");

    pass("rename", to);
    return next(from, to);
}

int
fsync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    pass_fd("sync", fd);
    return next(fd);
}

int
fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    pass_fd("sync", fd);
    return next(fd);
}
