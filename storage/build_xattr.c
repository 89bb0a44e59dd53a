#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "storage/build_internal.h"

#define LIST_BYTES ((size_t)64 * 1024) /* the kernel's own limit */

static bool
begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* What this machine's security modules, or its overlays, have noted for themselves. */
static bool
is_machines(const char *name)
{
    static const char *const begin_with[] = {"security.selinux", "security.apparmor",
                                             "security.SMACK64", "security.ima",
                                             "security.evm",     "trusted.overlay."};

    for (size_t i = 0; i < sizeof begin_with / sizeof begin_with[0]; i++) {
        if (begins(name, begin_with[i])) {
            return true;
        }
    }
    return false;
}

/* What users and programs set, ACLs, and file capabilities. */
static bool
is_kept(const char *name)
{
    return begins(name, "user.") || strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0 ||
           ((begins(name, "security.") || begins(name, "trusted.")) &&
            !is_machines(name));
}

static int
xattr_cmp(const void *a, const void *b)
{
    return strcmp(((const struct tree_xattr *)a)->name,
                  ((const struct tree_xattr *)b)->name);
}

struct object {
    int fd;
    bool by_proc;
    char proc[40];
};

static ssize_t
list_names(const struct object *o, char *names, size_t size)
{
    return o->by_proc ? listxattr(o->proc, names, size) : flistxattr(o->fd, names, size);
}

static ssize_t
get_value(const struct object *o, const char *name, void *to, size_t size)
{
    return o->by_proc ? getxattr(o->proc, name, to, size)
                      : fgetxattr(o->fd, name, to, size);
}

/*
 * One attribute into *x; false: it is gone, or (*lost) cannot be read, or does not fit
 * what a tree may hold.
 */
static bool
read_one(const struct object *o, const char *name, struct arena *mem,
         struct tree_xattr *x, bool *lost)
{
    ssize_t n = get_value(o, name, NULL, 0);
    void *value;

    if (n < 0 || (size_t)n > TREE_XATTR_VALUE_MAX || strlen(name) > TREE_XATTR_NAME_MAX) {
        *lost = *lost || n >= 0 || errno != ENODATA;
        return false;
    }
    value = arena_alloc(mem, (size_t)n);
    /* No room would ask for the length alone: which may have become another. */
    if (n != 0 && (n = get_value(o, name, value, (size_t)n)) == -1) {
        *lost = *lost || errno != ENODATA;
        return false;
    }
    x->name = arena_text(mem, name, strlen(name));
    x->value = value;
    x->len = (size_t)n;
    return true;
}

/* false: not all of them. */
static bool
read_all(const struct object *o, const char *names, size_t len, struct arena *mem,
         struct tree_entry *entry)
{
    struct tree_xattr *x = NULL;
    bool lost = false;
    size_t n = 0;
    size_t total = 0;

    for (const char *at = names; at < names + len; at += strlen(at) + 1) {
        if (!is_kept(at)) {
            continue;
        }
        if (n == TREE_XATTRS_MAX) {
            lost = true;
            break;
        }
        x = xrealloc(x, (n + 1) * sizeof *x);
        if (!read_one(o, at, mem, &x[n], &lost)) {
            continue;
        }
        if (total + x[n].len + strlen(at) <= TREE_XATTRS_MAX_BYTES) {
            total += x[n].len + strlen(at);
            n++;
        } else {
            lost = true;
        }
    }
    if (n != 0) {
        struct tree_xattr *kept = arena_alloc(mem, n * sizeof *x);

        memcpy(kept, x, n * sizeof *x);
        qsort(kept, n, sizeof *kept, xattr_cmp);
        entry->xattrs = kept;
        entry->n_xattrs = n;
    }
    free(x);
    return !lost;
}

bool
build_read_xattrs(int fd, bool by_proc, struct arena *mem, struct tree_entry *entry)
{
    struct object o = {.fd = fd, .by_proc = by_proc};
    char few[512];
    char *names = few;
    bool all = true;
    ssize_t n;

    (void)snprintf(o.proc, sizeof o.proc, "/proc/self/fd/%d", fd);
    n = list_names(&o, few, sizeof few);
    if (n == -1 && errno == ERANGE) {
        names = xmalloc(LIST_BYTES);
        n = list_names(&o, names, LIST_BYTES);
    }
    if (n > 0) {
        all = read_all(&o, names, (size_t)n, mem, entry);
    }
    if (names != few) {
        free(names);
    }
    return all;
}
