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
#include "runner/host/pythons.h"
#include "runner/host/supervise_internal.h"

#define PYTHON_DIR "gpurun-python" /* in TMPDIR: what --python makes of `python3` */

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

char *
sup_python(const struct sup *s)
{
    const char *wanted = s->spec.python;

    return wanted != NULL && strchr(wanted, '/') != NULL
               ? sup_host_path(s, wanted)
               : pythons_wanted(&s->env, sup_finding_env(s), wanted);
}

int
sup_put_file(int dir_fd, const char *name, const char *text, mode_t mode, struct err *e)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int rc = 0;

    if (fd == -1 || fd_write_all(fd, text, strlen(text)) != 0 || fd_close(&fd) != 0) {
        rc = err_set_sys(e, errno, "cannot write '%s' for the job", name);
    }
    (void)fd_close(&fd);
    return rc;
}

int
sup_no_python(const struct sup *s, struct err *e)
{
    struct buf names = BUF_INIT;

    pythons_name(sup_finding_env(s), &names);
    if (names.len == 0) {
        err_set(e, ERR_NOT_FOUND,
                "there is no %s in the environment of this host, nor any other Python "
                "(--conda ENV and --venv DIR look elsewhere)",
                s->spec.python != NULL ? s->spec.python : "python3");
    } else {
        err_set(e, ERR_NOT_FOUND,
                "there is no %s in the environment of this host; there are for "
                "--python: %s",
                s->spec.python != NULL ? s->spec.python : "python3", buf_str(&names));
    }
    buf_free(&names);
    return -1;
}

int
sup_python_put(const struct sup *s, int dir_fd, struct err *e)
{
    char *python = sup_python(s);
    struct buf b = BUF_INIT;
    struct stat st;
    int rc = -1;

    if (python == NULL) {
        return sup_no_python(s, e);
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
    if (sup_put_file(dir_fd, "python3", buf_str(&b), 0700, e) == 0) {
        rc = sup_put_file(dir_fd, "python", buf_str(&b), 0700, e);
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
    if (rc == 0 && pythons_is_version(s->spec.python)) {
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
