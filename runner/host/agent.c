#include "runner/host/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define HOME_PATH_MAX ((size_t)3000) /* leaves room for what is appended */

static char *
home_path(void)
{
    const char *own = getenv("GPURUN_AGENT_HOME");
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");

    if (own != NULL && own[0] != '\0') {
        return xstrdup(own);
    }
    if (xdg != NULL && xdg[0] == '/') {
        return path_join(xdg, "gpurun-agent");
    }
    if (home != NULL && home[0] == '/') {
        return path_join(home, ".local/share/gpurun-agent");
    }
    return NULL;
}

/* A relative GPURUN_AGENT_HOME counts from here, once: we change directories later. */
static int
make_absolute(char **path, struct err *e)
{
    char *cwd;
    char *joined;

    if ((*path)[0] == '/') {
        return 0;
    }
    cwd = getcwd(NULL, 0);
    if (cwd == NULL) {
        return err_set_sys(e, errno, "cannot find the current directory");
    }
    joined = path_join(cwd, *path);
    free(cwd);
    free(*path);
    *path = joined;
    return 0;
}

static int
check_home(const struct agent *a, struct err *e)
{
    struct stat sb;

    if (fstat(a->home_fd, &sb) != 0) {
        return err_set_sys(e, errno, "cannot look at the agent's home '%s'", a->home);
    }
    if (sb.st_uid != geteuid()) {
        return err_set(e, ERR_DENIED, "the agent's home '%s' belongs to user %u, not %u",
                       a->home, (unsigned)sb.st_uid, (unsigned)geteuid());
    }
    if ((sb.st_mode & 022) != 0) {
        return err_set(e, ERR_DENIED,
                       "others can write in the agent's home '%s' (chmod go-w)", a->home);
    }
    return 0;
}

int
agent_open(struct agent **out, struct err *e)
{
    struct agent *a = xcalloc(1, sizeof *a);
    char *key = NULL;
    int rc = -1;

    a->home_fd = -1;
    a->home = home_path();
    if (a->home == NULL) {
        err_set(e, ERR_INVALID,
                "neither GPURUN_AGENT_HOME nor HOME says where to keep "
                "the agent's files");
        goto out;
    }
    if (make_absolute(&a->home, e) != 0) {
        goto out;
    }
    if (strlen(a->home) > HOME_PATH_MAX) {
        err_set(e, ERR_INVALID, "the agent's home has too long a path");
        goto out;
    }
    a->home_fd = open(a->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->home_fd == -1 && errno == ENOENT) {
        if (file_mkdirs(a->home, 0700, e) != 0) {
            goto out;
        }
        a->home_fd = open(a->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (a->home_fd == -1) {
        err_set_sys(e, errno, "cannot open the agent's home '%s'", a->home);
        goto out;
    }
    key = agent_path(a, "key");
    if (check_home(a, e) != 0 || sign_key_open(&a->key, key, e) != 0) {
        goto out;
    }
    sign_key_public(a->key, &a->pub);
    *out = a;
    a = NULL;
    rc = 0;

out:
    free(key);
    agent_close(a);
    return rc;
}

void
agent_close(struct agent *a)
{
    if (a == NULL) {
        return;
    }
    (void)fd_close(&a->home_fd);
    sign_key_free(a->key);
    free(a->home);
    free(a);
}

char *
agent_path(const struct agent *a, const char *name)
{
    return path_join(a->home, name);
}

int
agent_dir(const struct agent *a, const char *name, int *fd, struct err *e)
{
    return file_mkdirs_beneath(a->home_fd, name, 0700, fd, e);
}
