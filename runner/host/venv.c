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
#define HEAD_BYTES ((size_t)512) /* names the interpreter, if it is a script */
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

/*
 * A script that names the interpreter at old, run by the one at new: by way of a shell,
 * as installers do it too where a path is longer than a kernel takes or has blanks.
 */
static bool
rewrite_script(const struct buf *script, const char *old, const char *new,
               struct buf *out)
{
    size_t head = script->len < HEAD_BYTES ? script->len : HEAD_BYTES;
    const uint8_t *end = memchr(script->data, '\n', script->len);

    if (script->len < 2 || memcmp(script->data, "#!", 2) != 0 || end == NULL ||
        memmem(script->data, head, old, strlen(old)) == NULL) {
        return false;
    }
    buf_printf(out, "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n", new);
    buf_add(out, end + 1, script->len - (size_t)(end + 1 - script->data));
    return true;
}

static int
put_script(const char *from, const char *old, const char *bin, const char *name,
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
        rewrite_script(&script, old, python, &out)) {
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
    char *old = path_join(old_bin, "python");
    char *bin = path_join(dir, "bin");
    int rc = file_mkdirs(bin, 0755, e);
    DIR *d = rc == 0 ? opendir(old_bin) : NULL;
    struct dirent *de;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        char *from = path_join(old_bin, de->d_name);

        if (strncmp(de->d_name, "python", 6) == 0) {
            rc = put_python(from, bin, de->d_name, e);
        } else if (de->d_name[0] != '.') {
            rc = put_script(from, old, bin, de->d_name, e);
        }
        free(from);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(bin);
    free(old);
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
