#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/guard_internal.h"

#define SHEBANG_MAX 256
#define PATH_DFLT   "/usr/local/bin:/usr/bin:/bin"

static const char *
variable(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=') {
            return *envp + n + 1;
        }
    }
    return NULL;
}

/* argv with one or two words in front, argv[0] replaced by path. */
static char **
with_interpreter(const char *interpreter, const char *arg, const char *path, char **argv)
{
    size_t n = 0;
    size_t k = 0;
    char **v;

    while (argv[n] != NULL) {
        n++;
    }
    v = xcalloc(n + 3, sizeof *v);
    v[k++] = xstrdup(interpreter);
    if (arg != NULL) {
        v[k++] = xstrdup(arg);
    }
    v[k++] = xstrdup(path);
    for (size_t i = 1; i < n; i++) {
        v[k++] = argv[i];
    }
    return v;
}

/* A script that is shipped without its executable bit still has a shebang. */
static int
by_shebang(const char *path, char **argv, char **envp)
{
    char line[SHEBANG_MAX] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *word;
    char *arg;
    ssize_t n;

    if (fd == -1) {
        return EACCES;
    }
    n = fd_read_full(fd, line, sizeof line - 1);
    (void)close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!') {
        return EACCES;
    }
    line[strcspn(line, "\n")] = '\0';
    word = line + 2 + strspn(line + 2, " \t");
    arg = word + strcspn(word, " \t");
    if (*arg != '\0') {
        *arg++ = '\0';
        arg += strspn(arg, " \t");
        for (size_t end = strlen(arg);
             end > 0 &&
             (arg[end - 1] == ' ' || arg[end - 1] == '\t' || arg[end - 1] == '\r');
             end--) {
            arg[end - 1] = '\0';
        }
    }
    (void)execve(word, with_interpreter(word, *arg == '\0' ? NULL : arg, path, argv),
                 envp);
    return errno;
}

static int
run(const char *path, char **argv, char **envp)
{
    (void)execve(path, argv, envp);
    if (errno == ENOEXEC) { /* a script without a shebang: as every shell does */
        (void)execve("/bin/sh", with_interpreter("sh", NULL, path, argv), envp);
    } else if (errno == EACCES) {
        return by_shebang(path, argv, envp);
    }
    return errno;
}

int
guard_exec(char **argv, char **envp)
{
    const char *path = variable(envp, "PATH");
    int result = ENOENT;

    if (strchr(argv[0], '/') != NULL) {
        return run(argv[0], argv, envp);
    }
    path = path == NULL ? PATH_DFLT : path;
    while (*path != '\0') {
        size_t n = strcspn(path, ":");
        char *full = xasprintf("%.*s/%s", (int)n, n == 0 ? "." : path, argv[0]);
        int failed = access(full, X_OK) == 0 ? run(full, argv, envp) : errno;

        if (failed != ENOENT && failed != ENOTDIR) {
            result = failed;
        }
        free(full);
        path += n;
        path += *path == ':' ? 1 : 0;
    }
    return result;
}
