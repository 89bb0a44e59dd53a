#include "runner/client/install.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"

/* The running binary, links resolved. Without /proc (a bare chroot): as it was started.
 */
static int
own_path(char exe[PATH_MAX], struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", exe, PATH_MAX - 1);
    const char *started;

    if (n >= 0) {
        exe[n] = '\0';
        return 0;
    }
    started = (const char *)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)
    if (started == NULL || realpath(started, exe) == NULL) {
        return err_set_sys(e, errno, "cannot tell where gpurun lies (/proc/self/exe)");
    }
    return 0;
}

/* The directory above the one the running binary lies in; malloc'ed. */
static int
prefix_dir(char **out, struct err *e)
{
    char exe[PATH_MAX];
    char *bin;

    if (own_path(exe, e) != 0) {
        return -1;
    }
    bin = dirname(exe);
    *out = xstrdup(dirname(bin));
    return 0;
}

/* What a host says of itself becomes part of a path here. */
static bool
is_arch(const char *arch)
{
    size_t len = strlen(arch);

    return len > 0 && len < 32 &&
           strspn(arch,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
               len;
}

int
install_find_program(const char *name, const char *arch, char **path, struct err *e)
{
    char *prefix = NULL;
    char *found;
    struct utsname own;
    char shown[48];

    if (arch == NULL) {
        if (uname(&own) != 0) {
            return err_set_sys(e, errno, "uname failed");
        }
        arch = own.machine;
    }
    if (!is_arch(arch)) {
        return err_set(e, ERR_INVALID, _("'%s' is no architecture"),
                       text_escape_to(shown, sizeof shown, arch));
    }
    if (prefix_dir(&prefix, e) != 0) {
        return -1;
    }
    found = xasprintf("%s/lib/gpurun/agent/%s/%s", prefix, arch, name);
    free(prefix);
    if (access(found, R_OK) != 0) {
        err_set(e, ERR_NOT_FOUND,
                _("this installation has no %s for %s machines (no '%s')"), name, arch,
                found);
        free(found);
        return -1;
    }
    *path = found;
    return 0;
}

char *
install_find_share(const char *sub)
{
    struct err e;
    char *prefix = NULL;
    char *path;

    if (prefix_dir(&prefix, &e) != 0) {
        return NULL;
    }
    path = xasprintf("%s/share/%s", prefix, sub);
    free(prefix);
    if (!file_exists(path)) {
        free(path);
        return NULL;
    }
    return path;
}
