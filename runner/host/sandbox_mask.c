#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/sandbox.h"

#define DEPTH_MAX   16
#define ENTRIES_MAX 200000

struct mask {
    size_t n_entries;
    struct err *e;
};

/* What went meanwhile need not be covered. */
static int
cover(const struct mask *m, const char *path, bool is_dir)
{
    int rc =
        is_dir ? mount("gpurun", path, "tmpfs",
                       MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0755")
               : mount("/dev/null", path, NULL, MS_BIND, NULL);

    if (rc != 0 && errno != ENOENT) {
        return err_set_sys(m->e, errno, "cannot keep '%s' from the job", path);
    }
    return 0;
}

static int
mask_dir(struct mask *m, const char *path, int depth)
{
    DIR *d = opendir(path);
    struct dirent *de;
    int rc = 0;

    if (d == NULL) {
        return errno == ENOENT ? 0 : err_set_sys(m->e, errno, "cannot list '%s'", path);
    }
    while (rc == 0 && (de = readdir(d)) != NULL) {
        struct stat sb;
        char *full;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
            fstatat(dirfd(d), de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0 ||
            S_ISLNK(sb.st_mode)) {
            continue;
        }
        if (++m->n_entries > ENTRIES_MAX || depth > DEPTH_MAX) {
            rc = err_set(m->e, ERR_RANGE, "there is too much beneath '%s'", path);
            break;
        }
        full = path_join(path, de->d_name);
        if (S_ISDIR(sb.st_mode)) {
            rc = (sb.st_mode & 05) == 05 ? mask_dir(m, full, depth + 1)
                                         : cover(m, full, true);
        } else if ((sb.st_mode & 04) == 0) {
            rc = cover(m, full, false);
        }
        free(full);
    }
    (void)closedir(d);
    return rc;
}

int
sandbox_mask_private(const char *dir, struct err *e)
{
    struct mask m = {0, e};

    return mask_dir(&m, dir, 0);
}
