#include "runner/host/venv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define CFG_NAME   "pyvenv.cfg"
#define CFG_MAX    ((size_t)64 << 10)
#define SCRIPT_MAX ((size_t)256 << 10)
#define PTH_NAME   "gpurun-host.pth"

/* ---- what is there ---- */

static int
read_cfg(const char *prefix, struct buf *out, struct err *e)
{
    char *path = path_join(prefix, CFG_NAME);
    int rc = file_read(path, CFG_MAX, out, e);

    free(path);
    return rc;
}

bool
venv_is_closed(const char *prefix)
{
    static const char key[] = "include-system-site-packages";
    struct buf b = BUF_INIT;
    struct err none;
    bool closed = false;
    char *save = NULL;

    if (read_cfg(prefix, &b, &none) == 0) {
        buf_add(&b, "", 1);
        for (char *line = strtok_r((char *)b.data, "\r\n", &save); line != NULL;
             line = strtok_r(NULL, "\r\n", &save)) {
            char *value = strchr(line, '=');
            size_t n = strspn(line, " \t");

            if (value != NULL && strncasecmp(line + n, key, sizeof key - 1) == 0) {
                value += 1 + strspn(value + 1, " \t");
                closed = strncasecmp(value, "true", 4) != 0;
            }
        }
    }
    buf_free(&b);
    return closed;
}

/* ---- its parts ---- */

static int
put_file(const char *dir, const char *name, const struct buf *b, mode_t mode,
         struct err *e)
{
    char *path = path_join(dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    int rc = fd != -1 && fd_write_all(fd, b->data, b->len) == 0 && fd_close(&fd) == 0
                 ? 0
                 : err_set_sys(e, errno, "cannot write '%s'", path);

    (void)fd_close(&fd);
    free(path);
    return rc;
}

static int
put_cfg(const char *under, const char *dir, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = read_cfg(under, &b, e) == 0 && file_mkdirs(dir, 0755, e) == 0
                 ? put_file(dir, CFG_NAME, &b, 0644, e)
                 : -1;

    buf_free(&b);
    return rc;
}

/* "python", "python3", "python3.11": no program like python3-config. */
static bool
is_interpreter(const char *name, size_t len)
{
    static const char python[] = "python";
    size_t n = sizeof python - 1;

    return len >= n && strncmp(name, python, n) == 0 &&
           n + strspn(name + n, "0123456789.") == len;
}

/*
 * Is it a script that an interpreter in old_bin runs? Its first line says so, or that of
 * the shell in between, which installers take where a path is longer than a kernel takes
 * or has blanks.
 */
static bool
is_run_by(const char *script, const char *old_bin)
{
    static const char by_shell[] = "/bin/sh\n'''exec' ";
    const char *at = script + 2;
    size_t n = strlen(old_bin);

    if (strncmp(script, "#!", 2) != 0) {
        return false;
    }
    if (strncmp(at, by_shell, sizeof by_shell - 1) == 0) {
        at += sizeof by_shell - 1;
        at += *at == '"';
    }
    at += strspn(at, " \t");
    return strncmp(at, old_bin, n) == 0 && at[n] == '/' &&
           is_interpreter(at + n + 1, strcspn(at + n + 1, " \t\r\n\""));
}

/* Run by the one at new. */
static bool
rewrite_script(struct buf *script, const char *old_bin, const char *new, struct buf *out)
{
    const char *text = buf_str(script);
    const char *end = strchr(text, '\n');

    if (end == NULL || !is_run_by(text, old_bin)) {
        return false;
    }
    buf_printf(out, "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n", new);
    buf_add(out, end + 1, script->len - (size_t)(end + 1 - text));
    return true;
}

static int
put_script(const char *from, const char *old_bin, const char *bin, const char *name,
           struct err *e)
{
    char *python = path_join(bin, "python3");
    struct buf script = BUF_INIT;
    struct buf out = BUF_INIT;
    struct stat st;
    struct err none;
    int rc = 0;

    if (stat(from, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR) != 0 &&
        file_read(from, SCRIPT_MAX, &script, &none) == 0 &&
        rewrite_script(&script, old_bin, python, &out)) {
        rc = put_file(bin, name, &out, 0755, e);
    }
    buf_free(&script);
    buf_free(&out);
    free(python);
    return rc;
}

static int
put_python(const char *from, const char *bin, const char *name, struct err *e)
{
    char *target = realpath(from, NULL);
    char *path = path_join(bin, name);
    int rc = 0;

    if (target != NULL && symlink(target, path) != 0) {
        rc = err_set_sys(e, errno, "cannot make '%s'", path);
    }
    free(target);
    free(path);
    return rc;
}

static int
put_programs(const char *under, const char *dir, struct err *e)
{
    char *old_bin = path_join(under, "bin");
    char *bin = path_join(dir, "bin");
    int rc = file_mkdirs(bin, 0755, e);
    DIR *d = rc == 0 ? opendir(old_bin) : NULL;
    struct dirent *de;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        char *from = path_join(old_bin, de->d_name);

        if (is_interpreter(de->d_name, strlen(de->d_name))) {
            rc = put_python(from, bin, de->d_name, e);
        } else if (de->d_name[0] != '.') {
            rc = put_script(from, old_bin, bin, de->d_name, e);
        }
        free(from);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(bin);
    free(old_bin);
    return rc;
}

/* What is at lib/<python> of the one is found behind that of the other. */
static int
put_site(const char *under, const char *dir, const char *python, struct err *e)
{
    char *theirs = xasprintf("%s/lib/%s/site-packages", under, python);
    char *ours = xasprintf("%s/lib/%s/site-packages", dir, python);
    struct buf b = BUF_INIT;
    int rc;

    if (strpbrk(theirs, "'\\\r\n") != NULL) {
        rc = err_set(e, ERR_INVALID, "the path '%s' cannot be told to Python", theirs);
    } else {
        buf_printf(&b, "import site; site.addsitedir('%s')\n", theirs);
        rc = file_mkdirs(ours, 0755, e) == 0 ? put_file(ours, PTH_NAME, &b, 0644, e) : -1;
    }
    buf_free(&b);
    free(theirs);
    free(ours);
    return rc;
}

static int
put_sites(const char *under, const char *dir, struct err *e)
{
    char *lib = path_join(under, "lib");
    DIR *d = opendir(lib);
    struct dirent *de;
    int rc = 0;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        if (strncmp(de->d_name, "python3.", 8) == 0) {
            rc = put_site(under, dir, de->d_name, e);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(lib);
    return rc;
}

int
venv_put_over(const char *under, const char *dir, struct err *e)
{
    return put_cfg(under, dir, e) == 0 && put_programs(under, dir, e) == 0 &&
                   put_sites(under, dir, e) == 0
               ? 0
               : err_wrap(e, "a virtual environment over '%s'", under);
}
