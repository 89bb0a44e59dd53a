#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/loginenv.h"
#include "runner/host/supervise_internal.h"

#define PYTHON_DIR "gpurun-python" /* in TMPDIR: what --python makes of `python3` */

/* The full path of a program by the job's own PATH; malloc'ed, NULL: none. */
char *
sup_which(const struct strings *env, const char *name)
{
    const char *path = env_get(env, "PATH");

    while (path != NULL && *path != '\0') {
        size_t n = strcspn(path, ":");
        char *full = xasprintf("%.*s/%s", (int)n, path, name);

        if (n > 0 && access(full, X_OK) == 0) {
            return full;
        }
        free(full);
        path += n;
        path += *path == ':' ? 1 : 0;
    }
    return NULL;
}

/* A path on the host as the user wrote it: absolute, "~/…", in the job, or at home. */
char *
sup_host_path(const struct sup *s, const char *text)
{
    const char *home = env_get(&s->env, "HOME");
    char *in_job;

    if (text[0] == '/') {
        return xstrdup(text);
    }
    if (strncmp(text, "~/", 2) == 0 && home != NULL) {
        return path_join(home, text + 2);
    }
    in_job = path_join(s->workdir, text);
    if (file_exists(in_job) || home == NULL) {
        return in_job;
    }
    free(in_job);
    return path_join(home, text);
}

/* "3", "3.11", "3.11.4": a version alone. */
static bool
is_version(const char *text)
{
    return isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789.")] == '\0';
}

/* The newest that pyenv has of a version; its shims may be in no PATH. */
static char *
of_pyenv(const struct sup *s, const char *version)
{
    const char *root = env_get(&s->env, "PYENV_ROOT");
    const char *home = env_get(&s->env, "HOME");
    char *pattern = root != NULL ? xasprintf("%s/versions/%s", root, version)
                                 : xasprintf("%s/.pyenv/versions/%s",
                                             home == NULL ? "" : home, version);
    char *parts = xasprintf("%s.*", pattern);
    char *found = NULL;
    glob_t g = {0};

    if (glob(pattern, 0, NULL, &g) == 0 || glob(parts, 0, NULL, &g) == 0) {
        size_t newest = 0;

        for (size_t i = 1; i < g.gl_pathc; i++) {
            newest = strverscmp(g.gl_pathv[i], g.gl_pathv[newest]) > 0 ? i : newest;
        }
        found = path_join(g.gl_pathv[newest], "bin/python");
    }
    globfree(&g);
    free(pattern);
    free(parts);
    if (found != NULL && access(found, X_OK) != 0) {
        free(found);
        found = NULL;
    }
    return found;
}

static char *
of_version(const struct sup *s, const char *version)
{
    char *name = xasprintf("python%s", version);
    char *found = sup_which(&s->env, name);

    free(name);
    return found != NULL ? found : of_pyenv(s, version);
}

char *
sup_python(const struct sup *s)
{
    const char *wanted = s->spec.python;
    char *found;

    if (wanted != NULL && is_version(wanted)) {
        return of_version(s, wanted);
    }
    if (wanted != NULL) {
        return strchr(wanted, '/') == NULL ? sup_which(&s->env, wanted)
                                           : sup_host_path(s, wanted);
    }
    found = sup_which(&s->env, "python3");
    return found != NULL ? found : sup_which(&s->env, "python");
}

static int
put_program(int dir_fd, const char *name, const struct buf *text, struct err *e)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    int rc = 0;

    if (fd == -1 || fd_write_all(fd, text->data, text->len) != 0 || fd_close(&fd) != 0) {
        rc = err_set_sys(e, errno, "cannot write '%s' for --python", name);
    }
    (void)fd_close(&fd);
    return rc;
}

int
sup_python_put(const struct sup *s, int dir_fd, struct err *e)
{
    char *python = sup_python(s);
    struct buf b = BUF_INIT;
    int rc = -1;

    if (python == NULL) {
        return err_set(e, ERR_NOT_FOUND, "there is no %s in the environment of this host",
                       s->spec.python);
    }
    if (access(python, X_OK) != 0) {
        err_set_sys(e, errno, "--python: cannot run '%s' on this host", python);
        goto out;
    }
    buf_add_str(&b, "#!/bin/sh\nexec ");
    text_shell_quote(&b, python);
    buf_add_str(&b, " \"$@\"\n");
    if (put_program(dir_fd, "python3", &b, e) == 0) {
        rc = put_program(dir_fd, "python", &b, e);
    }

out:
    buf_free(&b);
    free(python);
    return rc;
}

int
sup_python_first(struct sup *s, struct err *e)
{
    char *dir = path_join(s->tmpdir, PYTHON_DIR);
    char *seen = path_join(s->tmp_seen, PYTHON_DIR);
    int fd = -1;
    int rc = -1;

    /* Made again after a set-up, which may have brought an interpreter of that name. */
    if (file_remove_tree(dir, e) != 0) {
        goto out;
    }
    if (mkdir(dir, 0700) != 0 ||
        (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) == -1) {
        err_set_sys(e, errno, "cannot make '%s'", dir);
        goto out;
    }
    rc = sup_python_put(s, fd, e);
    if (rc == 0) {
        const char *was = env_get(&s->env, "PATH");
        char *path = xasprintf("%s:%s", seen, was == NULL ? "/usr/bin:/bin" : was);

        env_set(&s->env, "PATH", path);
        free(path);
    }

out:
    (void)fd_close(&fd);
    free(dir);
    free(seen);
    return rc;
}
