#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "storage/build_internal.h"

#define LIST_BYTES ((size_t)64 * 1024) /* the kernel's own limit */

/*
 * What is kept: what users and programs set, ACLs, and file capabilities. Not kept:
 * labels of this machine's security modules, the overlay's own bookkeeping.
 */
static bool
is_kept(const char *name)
{
    return strncmp(name, "user.", 5) == 0 ||
           strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0 ||
           strcmp(name, "security.capability") == 0 ||
           (strncmp(name, "trusted.", 8) == 0 &&
            strncmp(name, "trusted.overlay.", 16) != 0);
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

/* One attribute into *x; false: it is gone, or does not fit what a tree may hold. */
static bool
read_one(const struct object *o, const char *name, struct arena *mem,
         struct tree_xattr *x)
{
    ssize_t n = get_value(o, name, NULL, 0);
    void *value;

    if (n < 0 || (size_t)n > TREE_XATTR_VALUE_MAX || strlen(name) > TREE_XATTR_NAME_MAX) {
        return false;
    }
    value = arena_alloc(mem, (size_t)n);
    /* No room would ask for the length alone: which may have become another. */
    if (n != 0 && (n = get_value(o, name, value, (size_t)n)) == -1) {
        return false;
    }
    x->name = arena_text(mem, name, strlen(name));
    x->value = value;
    x->len = (size_t)n;
    return true;
}

static void
read_all(const struct object *o, const char *names, size_t len, struct arena *mem,
         struct tree_entry *entry)
{
    struct tree_xattr *x = NULL;
    size_t n = 0;
    size_t total = 0;

    for (const char *at = names; at < names + len; at += strlen(at) + 1) {
        if (!is_kept(at) || n == TREE_XATTRS_MAX) {
            continue;
        }
        x = xrealloc(x, (n + 1) * sizeof *x);
        if (read_one(o, at, mem, &x[n]) &&
            total + x[n].len + strlen(at) <= TREE_XATTRS_MAX_BYTES) {
            total += x[n].len + strlen(at);
            n++;
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
}

void
build_read_xattrs(int fd, bool by_proc, struct arena *mem, struct tree_entry *entry)
{
    struct object o = {.fd = fd, .by_proc = by_proc};
    char few[512];
    char *names = few;
    ssize_t n;

    (void)snprintf(o.proc, sizeof o.proc, "/proc/self/fd/%d", fd);
    n = list_names(&o, few, sizeof few);
    if (n == -1 && errno == ERANGE) {
        names = xmalloc(LIST_BYTES);
        n = list_names(&o, names, LIST_BYTES);
    }
    if (n > 0) {
        read_all(&o, names, (size_t)n, mem, entry);
    }
    if (names != few) {
        free(names);
    }
}
