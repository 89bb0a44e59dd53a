#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/client/bring.h"
#include "runner/client/cut.h"
#include "runner/client/room.h"
#include "storage/extract.h"
#include "storage/verify.h"

/*
 * A tree is made in a folder beside its target, that nobody else knows, and then takes
 * the target's name in one step: a cut in between leaves nothing half done.
 */
struct landing {
    int parent_fd;
    char *base;       /* last name of the target */
    char staging[32]; /* beside it */
    int staging_fd;
};

/* A link as /dev/stdout is one, wherever it leads now. */
static bool
leads_to_descriptor(int dir_fd, const char *name)
{
    char to[sizeof "/proc/"];

    return readlinkat(dir_fd, name, to, sizeof to - 1) == sizeof to - 1 &&
           memcmp(to, "/proc/", sizeof to - 1) == 0;
}

int
land_check_file(int dir_fd, const char *name, const char *shown, struct err *e)
{
    struct stat st;

    if (!leads_to_descriptor(dir_fd, name) &&
        (fstatat(dir_fd, name, &st, 0) != 0 || S_ISREG(st.st_mode) ||
         S_ISDIR(st.st_mode))) {
        return 0;
    }
    return err_set(e, ERR_EXISTS,
                   _("'%s' is there already and no file, so it is not replaced: "
                     "name another place"),
                   shown);
}

static int
open_parent(struct landing *l, const char *target, struct err *e)
{
    char *copy = xstrdup(target);
    char *base_copy = xstrdup(target);
    const char *dir = dirname(copy);
    int rc = 0;

    if (target[0] == '\0') {
        rc = err_set(e, ERR_INVALID, _("a name is wanted for what is put here"));
        goto out;
    }
    l->base = xstrdup(basename(base_copy));
    l->parent_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->parent_fd == -1) {
        rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_DENIED,
                     _("cannot put anything into '%s': %s"), dir, strerror(errno));
    } else if (strcmp(l->base, ".") == 0 || strcmp(l->base, "..") == 0 ||
               strcmp(l->base, "/") == 0) {
        rc = err_set(e, ERR_EXISTS, _("'%s' is there already"), target);
    } else {
        rc = land_check_file(l->parent_fd, l->base, target, e);
    }

out:
    free(copy);
    free(base_copy);
    return rc;
}

int
land_check(const char *target, struct err *e)
{
    struct landing l = {.parent_fd = -1, .staging_fd = -1};
    int rc = open_parent(&l, target, e);

    (void)fd_close(&l.parent_fd);
    free(l.base);
    return rc;
}

/* What the place gives to all that is made in it is none of the snapshot's. */
static void
drop_given_acls(int fd)
{
    (void)fremovexattr(fd, "system.posix_acl_default");
    (void)fremovexattr(fd, "system.posix_acl_access");
}

static int
make_staging(struct landing *l, bool exact, struct err *e)
{
    char id[ID_RANDOM_LEN + 2];

    random_id("", id);
    (void)snprintf(l->staging, sizeof l->staging, ".gpurun-%s", id);
    if (mkdirat(l->parent_fd, l->staging, 0700) == -1) {
        l->staging[0] = '\0';
        return err_set_sys(e, errno, _("cannot make a folder beside '%s'"), l->base);
    }
    l->staging_fd =
        openat(l->parent_fd, l->staging, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (l->staging_fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s'", l->staging);
    }
    if (exact) {
        drop_given_acls(l->staging_fd);
    }
    return 0;
}

/*
 * A folder that goes into another one is written to (what its `..` is), which its own
 * mode may forbid to all but root. 0, or errno.
 */
static int
move_closed(const struct landing *l, int from_fd, const char *from, unsigned flags)
{
    int fd = -1;
    struct stat st;
    int why = 0;

    if (fstatat(from_fd, from, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode) ||
        fchmodat(from_fd, from, st.st_mode | S_IRWXU, 0) != 0) {
        return EACCES;
    }
    fd = openat(from_fd, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || renameat2(from_fd, from, l->parent_fd, l->base, flags) != 0 ||
        fchmod(fd, st.st_mode & 07777) != 0) {
        why = errno;
    }
    (void)fd_close(&fd);
    return why;
}

/* RENAME_NOREPLACE, so that nothing that came meanwhile is lost. */
static int
take_name(const struct landing *l, int from_fd, const char *from, bool replace,
          struct err *e)
{
    unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    int why = 0;

    if (renameat2(from_fd, from, l->parent_fd, l->base, flags) != 0) {
        why = errno == EACCES ? move_closed(l, from_fd, from, flags) : errno;
    }
    if (why == 0) {
        return 0;
    }
    if (why == EEXIST || why == ENOTEMPTY || why == EISDIR || why == ENOTDIR) {
        return err_set(e, ERR_EXISTS, _("'%s' is there already"), l->base);
    }
    return err_set_sys(e, why, _("cannot give '%s' its name"), l->base);
}

/* Of a single object that was left out there is nothing to give a name to. */
static int
is_made(const struct landing *l, const char *name, const char *only,
        const struct extract_report *r, struct err *e)
{
    struct stat st;

    if (fstatat(l->staging_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 0;
    }
    if (r->n_skipped_devices > 0) {
        return err_set(e, ERR_DENIED,
                       _("'%s' is a device: root can have it with `gpurun snap get "
                         "--exact`"),
                       only);
    }
    if (r->n_skipped_damaged > 0) {
        return err_set(e, ERR_NOT_FOUND, _("'%s' could not be read when it was kept"),
                       only);
    }
    return 0; /* what takes its name says the rest */
}

static int
part_bytes(struct tree_reader *r, const char *only, uint64_t *sum, struct err *e)
{
    const struct tree_group *g = NULL;

    for (;;) {
        if (tree_next(r, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            return 0;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            const struct tree_entry *en = &g->entries[i];

            if (tree_path_beneath(en->path, en->path_len, only, strlen(only))) {
                *sum += en->stored;
            }
        }
    }
}

uint64_t
land_bytes(struct scratch *from, const struct brought *what)
{
    struct tree_source source = tree_source_store(scratch_store(from));
    struct tree_reader *r = NULL;
    uint64_t sum = 0;
    struct err e;

    if (tree_open(&r, &what->tree, &source, &e) == 0) {
        if (what->only == NULL) {
            sum = tree_totals(r)->stored;
        } else if (part_bytes(r, what->only, &sum, &e) != 0) {
            sum = 0;
        }
    }
    tree_close(r);
    return sum;
}

/* The store as a source, until a signal comes. */
static int
get_uncut(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    const struct tree_source *store = ctx;

    if (cut_came()) {
        return err_set(e, ERR_BUSY,
                       "cut by a signal"); /* which ends us before it is seen */
    }
    return store->get(store->ctx, id, out, e);
}

static int
land_whole(struct scratch *from, const struct brought *what, const char *target,
           const struct land_options *o, struct err *e)
{
    const char *slash = what->only != NULL ? strrchr(what->only, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : what->only;
    struct landing l = {.parent_fd = -1, .staging_fd = -1};
    struct tree_source store = tree_source_store(scratch_store(from));
    struct tree_source source = {.ctx = &store, .get = get_uncut};
    struct extract_options xo = {.only = what->only,
                                 .exact = o->exact,
                                 .fresh = true,
                                 .progress = o->progress,
                                 .progress_ctx = o->progress_ctx};
    struct extract_report report;
    struct err ignored;
    int rc = -1;

    if (open_parent(&l, target, e) != 0 || make_staging(&l, o->exact, e) != 0) {
        goto out;
    }
    if (extract_tree(l.staging_fd, &what->tree, &source, &xo, &report, e) != 0) {
        verify_name_damaged(scratch_store(from), &what->tree, what->only, e);
        goto out;
    }
    if (name != NULL && is_made(&l, name, what->only, &report, e) != 0) {
        goto out;
    }
    rc = name != NULL ? take_name(&l, l.staging_fd, name, o->replace, e)
                      : take_name(&l, l.parent_fd, l.staging, o->replace, e);
    if (rc == 0 && name == NULL) {
        l.staging[0] = '\0'; /* it is the target now */
    }
    if (rc == 0 && o->report != NULL) {
        *o->report = report;
    }

out:
    (void)fd_close(&l.staging_fd);
    if (l.staging[0] != '\0' && l.parent_fd != -1) {
        (void)!file_remove_tree_at(l.parent_fd, l.staging, &ignored);
    }
    (void)fd_close(&l.parent_fd);
    free(l.base);
    if (rc == 0) {
        return 0;
    }
    return o->home != NULL ? room_full_home(o->home, e)
                           : room_full_beside(target, o->elsewhere, e);
}

int
land_tree(struct scratch *from, const struct brought *what, const char *target,
          const struct land_options *o, struct err *e)
{
    struct cut cut;
    int rc;

    cut_begin(&cut);
    rc = land_whole(from, what, target, o, e);
    cut_end(&cut);
    return rc;
}
