#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "storage/beneath.h"
#include "storage/extract_internal.h"

/* How to reach an object: by its descriptor, or (opened by O_PATH) through /proc. */
struct object {
    int fd;
    bool by_proc;
    char proc[40];
    const struct tree_entry *entry;
    const char *path; /* for messages */
};

void
extract_lost(struct extract *x, const char *path, const char *what, int sys_errno)
{
    char text[sizeof x->r->first_lost];

    (void)snprintf(text, sizeof text, "%s of '%s': %s", what, path, strerror(sys_errno));
    (void)pthread_mutex_lock(&x->lock);
    if (x->r->n_lost_metadata++ == 0) {
        (void)text_escape_to(x->r->first_lost, sizeof x->r->first_lost, text);
    }
    (void)pthread_mutex_unlock(&x->lock);
}

/* The process's umask without changing it, or -1. */
int
extract_read_umask(void)
{
    struct buf b = BUF_INIT;
    struct err ignored = {0};
    const char *at;
    int mask = -1;

    if (file_read("/proc/self/status", 1 << 16, &b, &ignored) == 0) {
        at = strstr(buf_str(&b), "\nUmask:\t");
        if (at != NULL) {
            mask = (int)strtol(at + strlen("\nUmask:\t"), NULL, 8);
        }
    }
    buf_free(&b);
    return mask;
}

mode_t
extract_mode(const struct extract *x, const struct tree_entry *entry)
{
    return (mode_t)entry->mode & (x->o->exact ? 07777 : 0777);
}

/* Not exact: what programs of the user may have set; the rest is this machine's matter.
 */
static bool
is_wanted(const struct extract *x, const char *name)
{
    return x->o->exact || strncmp(name, "user.", 5) == 0;
}

static void
set_xattrs(struct extract *x, const struct object *o)
{
    for (size_t i = 0; i < o->entry->n_xattrs; i++) {
        const struct tree_xattr *a = &o->entry->xattrs[i];
        int rc;

        if (!is_wanted(x, a->name)) {
            continue;
        }
        rc = o->by_proc ? setxattr(o->proc, a->name, a->value, a->len, 0)
                        : fsetxattr(o->fd, a->name, a->value, a->len, 0);
        if (rc != 0) {
            extract_lost(x, o->path, a->name, errno);
        }
    }
}

static struct timespec
to_timespec(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    if (t.tv_nsec < 0) {
        t.tv_nsec += 1000000000;
        t.tv_sec--;
    }
    return t;
}

static int
set_times(const struct object *o, struct err *e)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, to_timespec(o->entry->mtime_ns)};
    int rc = o->by_proc ? utimensat(AT_FDCWD, o->proc, times, 0) : futimens(o->fd, times);

    /* A time that the file system cannot hold is cut to what it can. */
    return rc == 0 ? 0 : err_set_sys(e, errno, "cannot set the time of '%s'", o->path);
}

static int
set_mode(struct extract *x, const struct object *o, struct err *e)
{
    mode_t mode = extract_mode(x, o->entry);
    int rc = o->by_proc ? chmod(o->proc, mode) : fchmod(o->fd, mode);

    return rc == 0 ? 0 : err_set_sys(e, errno, "cannot set the mode of '%s'", o->path);
}

static void
set_owner(struct extract *x, const struct object *o)
{
    if (fchownat(o->fd, "", o->entry->uid, o->entry->gid, AT_EMPTY_PATH) != 0) {
        extract_lost(x, o->path, "owner", errno);
    }
}

/*
 * Owner first (it clears setuid bits), attributes before a mode that may forbid them, the
 * time last. ACLs come with the attributes; the mode's group bits then are their mask,
 * and equal what was read.
 */
static int
set_all(struct extract *x, const struct object *o, bool mode_is_right, struct err *e)
{
    if (x->o->exact) {
        set_owner(x, o);
    }
    if (o->entry->n_xattrs != 0) {
        set_xattrs(x, o);
    }
    if ((!mode_is_right || x->o->exact) && o->entry->type != TREE_SYMLINK &&
        set_mode(x, o, e) != 0) {
        return -1;
    }
    return set_times(o, e);
}

int
extract_meta_fd(struct extract *x, int fd, const struct tree_entry *entry,
                const char *path, struct err *e)
{
    struct object o = {.fd = fd, .entry = entry, .path = path};
    /* extract_make_file made it with its mode, less the umask */
    bool right = entry->type == TREE_FILE && x->umask_now >= 0 && entry->n_xattrs == 0 &&
                 (extract_mode(x, entry) & (mode_t)x->umask_now) == 0;

    return set_all(x, &o, right, e);
}

int
extract_meta_path_fd(struct extract *x, int fd, const struct tree_entry *entry,
                     const char *path, struct err *e)
{
    struct object o = {.fd = fd, .by_proc = true, .entry = entry, .path = path};

    (void)snprintf(o.proc, sizeof o.proc, "/proc/self/fd/%d", fd);
    return set_all(x, &o, false, e);
}
