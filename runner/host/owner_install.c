#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/host/catalogs.h"
#include "runner/host/commands.h"

#define PATH_BYTES 4096
#define STEP       ((size_t)1 << 20)

/* The hash of the file that runs now, not of what its name leads to by now. */
static int
hash_self(struct sha256 *out, struct err *e)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct sha256_ctx *c = sha256_new();
    uint8_t *part = xmalloc(STEP);
    ssize_t n = -1;
    int rc = -1;

    if (fd == -1) {
        err_set_sys(e, errno, "cannot open my own program");
        goto out;
    }
    while ((n = fd_read_full(fd, part, STEP)) > 0) {
        sha256_update(c, part, (size_t)n);
    }
    if (n < 0) {
        err_set_sys(e, errno, "cannot read my own program");
        goto out;
    }
    sha256_final(c, out);
    rc = 0;

out:
    (void)fd_close(&fd);
    sha256_free(c);
    free(part);
    return rc;
}

/* BIN/.new-ID/gpurun-agent: BIN and ".new-ID". */
static int
find_places(char *exe, char **bin, char **name, struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", exe, PATH_BYTES - 1);
    char *slash;

    if (n <= 0) {
        return err_set_sys(e, errno, "cannot find my own program");
    }
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    *slash = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL || strncmp(slash + 1, ".new-", 5) != 0) {
        return err_set(e, ERR_INVALID, "not started from where an upload arrives");
    }
    *slash = '\0';
    *bin = exe;
    *name = slash + 1;
    return 0;
}

/* Everything of the directory on stable storage, before it gets a name that counts. */
static int
sync_all(const char *bin, const char *name, struct err *e)
{
    char *dir = path_join(bin, name);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd == -1 || syncfs(fd) != 0 || fsync(fd) != 0) {
        rc = err_set_sys(e, errno, "cannot sync '%s'", dir);
    }
    (void)fd_close(&fd);
    free(dir);
    return rc;
}

static int
place(const char *bin, const char *name, const char *hex, struct err *e)
{
    char *from = path_join(bin, name);
    char *to = path_join(bin, hex);
    int rc = -1;

    if (rename(from, to) == 0) {
        rc = file_sync_dir(bin, e);
    } else if (errno == EEXIST || errno == ENOTEMPTY) {
        rc = file_remove_tree(from, e); /* the same is here already */
    } else {
        err_set_sys(e, errno, "cannot rename '%s'", from);
    }
    free(from);
    free(to);
    return rc;
}

/* What stands beside it, then all under the name that counts. */
static int
settle(const char *bin, const char *name, const char *hex, struct err *e)
{
    char *dir = path_join(bin, name);
    int rc = catalogs_put(dir, e);

    free(dir);
    return rc == 0 && sync_all(bin, name, e) == 0 ? place(bin, name, hex, e) : -1;
}

int
owner_install_self(const struct command_options *o, int argc, char **argv, struct err *e)
{
    char exe[PATH_BYTES];
    char hex[SHA256_HEX_LEN + 1];
    struct sha256 want;
    struct sha256 got;
    char *bin = NULL;
    char *name = NULL;

    (void)argc;
    (void)argv;
    if (o->sha256 == NULL ||
        !hex_parse(o->sha256, strlen(o->sha256), want.b, sizeof want.b)) {
        return err_set(e, ERR_INVALID, "--sha256 takes 64 hex digits");
    }
    if (hash_self(&got, e) != 0) {
        return -1;
    }
    sha256_format(&got, hex);
    if (!sha256_equal(&want, &got)) {
        return err_set(e, ERR_CORRUPT, "the program that arrived is %s, not %s", hex,
                       o->sha256);
    }
    return find_places(exe, &bin, &name, e) == 0 ? settle(bin, name, hex, e) : -1;
}
