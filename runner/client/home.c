#include "runner/client/home.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"

struct home {
    char *dir;
    struct sign_key *key; /* NULL until home_key */
};

char *
home_expand_tilde(const char *path)
{
    const char *user_home = getenv("HOME");

    if (path[0] != '~' || (path[1] != '/' && path[1] != '\0') || user_home == NULL) {
        return xstrdup(path);
    }
    return xasprintf("%s%s", user_home, path + 1);
}

static int
make_absolute(const char *path, char **out, struct err *e)
{
    char *cwd;

    if (path[0] == '/') {
        *out = xstrdup(path);
        return 0;
    }
    cwd = getcwd(NULL, 0);
    if (cwd == NULL) {
        return err_set_sys(e, errno, "cannot tell the current directory");
    }
    *out = path_join(cwd, path);
    free(cwd);
    return 0;
}

static const char *
env_or_null(const char *name)
{
    const char *v = getenv(name);

    return v != NULL && v[0] != '\0' ? v : NULL;
}

/* Per the XDG base directory specification a relative XDG_DATA_HOME is ignored. */
static char *
default_dir(void)
{
    const char *xdg = env_or_null("XDG_DATA_HOME");
    const char *user_home = env_or_null("HOME");

    if (xdg != NULL && xdg[0] == '/') {
        return path_join(xdg, "gpurun");
    }
    if (user_home != NULL && user_home[0] == '/') {
        return path_join(user_home, ".local/share/gpurun");
    }
    return NULL;
}

int
home_open(struct home **out, const char *dir, struct err *e)
{
    struct home *h;
    char *absolute = NULL;

    if (dir == NULL) {
        dir = env_or_null("GPURUN_HOME");
    }
    if (dir != NULL && dir[0] == '\0') {
        return err_set(e, ERR_INVALID, "%s", _("--home wants a directory"));
    }
    if (dir == NULL) {
        absolute = default_dir();
        if (absolute == NULL) {
            return err_set(e, ERR_INVALID, "%s",
                           _("neither HOME nor GPURUN_HOME is set: nowhere to keep "
                             "what gpurun knows; set one, or give --home DIR"));
        }
    } else if (make_absolute(dir, &absolute, e) != 0) {
        return -1;
    }
    h = xcalloc(1, sizeof *h);
    h->dir = absolute;
    *out = h;
    return 0;
}

void
home_free(struct home *h)
{
    if (h == NULL) {
        return;
    }
    sign_key_free(h->key);
    free(h->dir);
    free(h);
}

const char *
home_dir(const struct home *h)
{
    return h->dir;
}

char *
home_path(const struct home *h, const char *sub, const char *name)
{
    if (name == NULL) {
        return path_join(h->dir, sub);
    }
    return xasprintf("%s/%s/%s", h->dir, sub, name);
}

int
home_open_dir(const struct home *h, const char *sub, int *fd, struct err *e)
{
    char *path = home_path(h, sub, NULL);
    int rc = 0;

    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd == -1 && errno != ENOENT) {
        rc = err_set_sys(e, errno, "cannot read '%s'", path);
    }
    free(path);
    return rc;
}

int
home_each_name(const struct home *h, const char *sub,
               int (*fn)(void *ctx, int dir_fd, const char *name, struct err *e),
               void *ctx, struct err *e)
{
    int fd = -1;
    int rc = home_open_dir(h, sub, &fd, e);

    if (rc == 0 && fd != -1 && file_each_name(fd, fn, ctx, e) != 0) {
        char *path = home_path(h, sub, NULL);

        rc = err_wrap(e, "'%s'", path);
        free(path);
    }
    (void)fd_close(&fd);
    return rc;
}

int
home_make(const struct home *h, const char *sub, const char *name, char **path,
          struct err *e)
{
    char *dir = path_join(h->dir, sub);
    int rc = file_mkdirs(dir, 0700, e);

    if (rc == 0) {
        *path = path_join(dir, name);
    }
    free(dir);
    return rc;
}

static int
replace_unsynced(const char *path, const struct buf *b, struct err *e)
{
    char *tmp = xasprintf("%s.%ld.tmp", path, (long)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = -1;

    if (fd == -1) {
        err_set_sys(e, errno, "cannot create '%s'", tmp);
        goto out;
    }
    if (fd_write_all(fd, b->data, b->len) != 0 || fd_close(&fd) != 0 ||
        rename(tmp, path) == -1) {
        err_set_sys(e, errno, "cannot write '%s'", path);
        (void)unlink(tmp);
        goto out;
    }
    rc = 0;

out:
    (void)fd_close(&fd);
    free(tmp);
    return rc;
}

int
home_put(const struct home *h, const char *sub, const char *name, const struct buf *b,
         bool durable, struct err *e)
{
    char *path;
    int rc;

    if (home_make(h, sub, name, &path, e) != 0) {
        return -1;
    }
    rc = durable ? file_replace(path, b->data, b->len, e) : replace_unsynced(path, b, e);
    free(path);
    return rc;
}

int
home_key(struct home *h, const struct sign_key **out, struct err *e)
{
    char *path;
    int rc;

    if (h->key == NULL) {
        if (file_mkdirs(h->dir, 0700, e) != 0) {
            return -1;
        }
        path = path_join(h->dir, "key");
        rc = sign_key_open(&h->key, path, e);
        free(path);
        if (rc != 0) {
            return -1;
        }
    }
    *out = h->key;
    return 0;
}

int
home_renter(struct home *h, char id[SIGN_ID_LEN + 1], struct err *e)
{
    const struct sign_key *key;
    struct sign_public pub;

    if (home_key(h, &key, e) != 0) {
        return -1;
    }
    sign_key_public(key, &pub);
    sign_public_id(&pub, id);
    return 0;
}
