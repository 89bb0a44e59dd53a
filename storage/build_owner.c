#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "storage/build_internal.h"

#define ETC_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define ID_MAX        ((int64_t)UINT32_MAX)

struct name {
    uint32_t id;
    char *name;
};

struct names {
    struct name *v; /* sorted by id */
    size_t n;
};

struct build_owners {
    struct names users;
    struct names groups;
};

static int
name_cmp(const void *a, const void *b)
{
    uint32_t x = ((const struct name *)a)->id;
    uint32_t y = ((const struct name *)b)->id;

    return x < y ? -1 : x > y;
}

/* "name:password:id:…"; what is not like that is passed over. */
static void
add_line(struct names *l, char *line)
{
    char *rest = line;
    const char *name = strsep(&rest, ":");
    const char *id;
    struct err ignored = {0};
    int64_t v;

    (void)strsep(&rest, ":");
    id = strsep(&rest, ":");
    if (id == NULL || name[0] == '\0' || strlen(name) > TREE_OWNER_MAX_BYTES ||
        text_parse_int(id, 0, ID_MAX, "id", &v, &ignored) != 0) {
        return;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = (struct name){.id = (uint32_t)v, .name = xstrdup(name)};
}

static void
read_names(struct names *l, const char *path)
{
    struct buf b = BUF_INIT;
    struct err ignored = {0};
    char *rest;
    char *line;

    if (file_read(path, ETC_MAX_BYTES, &b, &ignored) == 0 && b.len != 0) {
        rest = (char *)b.data;
        while ((line = strsep(&rest, "\n")) != NULL) {
            add_line(l, line);
        }
        if (l->n != 0) {
            qsort(l->v, l->n, sizeof *l->v, name_cmp);
        }
    }
    buf_free(&b);
}

static const char *
find_name(const struct names *l, uint32_t id)
{
    size_t lo = 0;
    size_t hi = l->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->v[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < l->n && l->v[lo].id == id ? l->v[lo].name : "";
}

struct build_owners *
build_owners_new(void)
{
    struct build_owners *o = xcalloc(1, sizeof *o);

    read_names(&o->users, "/etc/passwd");
    read_names(&o->groups, "/etc/group");
    return o;
}

static void
free_names(struct names *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
    }
    free(l->v);
}

void
build_owners_free(struct build_owners *o)
{
    if (o == NULL) {
        return;
    }
    free_names(&o->users);
    free_names(&o->groups);
    free(o);
}

const char *
build_user_name(struct build_owners *o, uint32_t uid)
{
    return find_name(&o->users, uid);
}

const char *
build_group_name(struct build_owners *o, uint32_t gid)
{
    return find_name(&o->groups, gid);
}

/* ---- hard links ---- */

struct link {
    dev_t dev;
    ino_t ino;
    char *path; /* NULL: an empty place */
};

struct build_links {
    struct link *v;
    size_t n;
    size_t cap; /* a power of two */
};

#define LINKS_FIRST_CAP 256

struct build_links *
build_links_new(void)
{
    struct build_links *l = xcalloc(1, sizeof *l);

    l->cap = LINKS_FIRST_CAP;
    l->v = xcalloc(l->cap, sizeof *l->v);
    return l;
}

void
build_links_free(struct build_links *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->cap; i++) {
        free(l->v[i].path);
    }
    free(l->v);
    free(l);
}

static struct link *
find_place(const struct build_links *l, dev_t dev, ino_t ino)
{
    uint64_t h = ((uint64_t)ino ^ ((uint64_t)dev << 32)) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 20) & (l->cap - 1);

    while (l->v[i].path != NULL && (l->v[i].dev != dev || l->v[i].ino != ino)) {
        i = (i + 1) & (l->cap - 1);
    }
    return &l->v[i];
}

static void
grow(struct build_links *l)
{
    struct build_links old = *l;

    l->cap = 2 * old.cap;
    l->v = xcalloc(l->cap, sizeof *l->v);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.v[i].path != NULL) {
            *find_place(l, old.v[i].dev, old.v[i].ino) = old.v[i];
        }
    }
    free(old.v);
}

const char *
build_links_seen(struct build_links *l, dev_t dev, ino_t ino, const char *path)
{
    struct link *at = find_place(l, dev, ino);

    if (at->path != NULL) {
        return at->path;
    }
    *at = (struct link){.dev = dev, .ino = ino, .path = xstrdup(path)};
    l->n++;
    if (2 * l->n > l->cap) {
        grow(l);
    }
    return NULL;
}
