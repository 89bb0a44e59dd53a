#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

const struct strings *
sup_finding_env(const struct sup *s)
{
    return s->renter->confined ? &s->login : &s->env;
}

void
sup_show_prefix_of(struct sup *s, const char *bin)
{
    const char *home = env_get(&s->login, "HOME");
    char *prefix = xstrdup(bin);
    char *slash = strrchr(prefix, '/');

    if (slash != NULL && slash != prefix && strcmp(slash, "/bin") == 0) {
        *slash = '\0';
        if (home == NULL ||
            (strcmp(prefix, home) != 0 && strncmp(strrchr(prefix, '/'), "/.", 2) != 0)) {
            strings_add(&s->shown, prefix);
        }
    }
    free(prefix);
}

/* Is a directory of pyenv's of that version? "3.11" also stands for 3.11.4. */
static bool
is_of_version(const char *name, const char *version)
{
    size_t n = strlen(version);

    return strncmp(name, version, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

/* The newest that pyenv has of a version; its shims may be in no PATH. */
static char *
of_pyenv(const struct sup *s, const char *version)
{
    const char *root = env_get(sup_finding_env(s), "PYENV_ROOT");
    const char *home = env_get(sup_finding_env(s), "HOME");
    char *versions = root != NULL
                         ? path_join(root, "versions")
                         : xasprintf("%s/.pyenv/versions", home == NULL ? "" : home);
    DIR *d = opendir(versions);
    const struct dirent *one;
    char *newest = NULL;
    char *found = NULL;

    while (d != NULL && (one = readdir(d)) != NULL) {
        if (is_of_version(one->d_name, version) &&
            (newest == NULL || strverscmp(one->d_name, newest) > 0)) {
            free(newest);
            newest = xstrdup(one->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    if (newest != NULL) {
        found = xasprintf("%s/%s/bin/python", versions, newest);
    }
    free(newest);
    free(versions);
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
    struct stat st;
    int rc = -1;

    if (python == NULL) {
        return err_set(e, ERR_NOT_FOUND, "there is no %s in the environment of this host",
                       s->spec.python);
    }
    if (access(python, X_OK) != 0 || stat(python, &st) != 0) {
        err_set_sys(e, errno, "--python: cannot run '%s' on this host", python);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set_sys(e, EACCES, "--python: cannot run '%s' on this host", python);
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
    if (rc == 0 && is_version(s->spec.python)) {
        char *python = sup_python(s);
        char *slash = strrchr(python, '/');

        *slash = '\0';
        sup_show_prefix_of(s, python);
        free(python);
    }
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
