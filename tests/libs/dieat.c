/*
 * Preloaded into a program under test: kill -9 at one exact place.
 *
 *   DIE_AT=rename:TEXT:N     right before the N-th rename to a path that holds TEXT
 *   DIE_AT=sync:TEXT:N       right before the N-th fsync or fdatasync of a file whose
 * path holds TEXT
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

static void
pass(const char *what, const char *path)
{
    const char *rule = getenv("DIE_AT");
    size_t len = strlen(what);
    const char *text;
    const char *colon;
    char want[256];

    if (rule == NULL || strncmp(rule, what, len) != 0 || rule[len] != ':') {
        return;
    }
    text = rule + len + 1;
    colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof want) {
        return;
    }
    memcpy(want, text, (size_t)(colon - text));
    want[colon - text] = '\0';
    if (strstr(path, want) != NULL && ++seen == atoi(colon + 1)) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void
pass_fd(int fd)
{
    char link[64];
    char path[4096];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n > 0) {
        path[n] = '\0';
        pass("sync", path);
    }
}

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

    pass_fd(fd);
    return next(fd);
}

int
fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    pass_fd(fd);
    return next(fd);
}
