#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/scan_internal.h"

#define DENTS_BYTES ((size_t)128 * 1024)

/* As getdents64(2) fills them in. */
struct dent {
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

struct scan_reader {
    uint8_t *dents;
    struct buf names; /* of the directory being read, NUL-terminated each */
    struct buf types; /* one byte each, DT_* */
    struct buf path;  /* match path of an entry */
    struct scan_item *items;
    size_t cap;
};

struct scan_reader *
scan_reader_new(void)
{
    struct scan_reader *r = xcalloc(1, sizeof *r);

    r->dents = xmalloc(DENTS_BYTES);
    return r;
}

void
scan_reader_free(struct scan_reader *r)
{
    if (r == NULL) {
        return;
    }
    free(r->dents);
    free(r->items);
    buf_free(&r->names);
    buf_free(&r->types);
    buf_free(&r->path);
    free(r);
}

static bool
is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* List fd into r->names and r->types. -1 with errno. */
static int
list_names(struct scan_reader *r, int fd)
{
    buf_reset(&r->names);
    buf_reset(&r->types);
    for (;;) {
        long n = syscall(SYS_getdents64, fd, r->dents, DENTS_BYTES);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return (int)n;
        }
        for (long at = 0; at < n;) {
            const struct dent *d = (const struct dent *)(const void *)(r->dents + at);

            if (!is_dot(d->name)) {
                buf_add(&r->names, d->name, strlen(d->name) + 1);
                buf_add_u8(&r->types, d->type);
            }
            at += d->len;
        }
    }
}

static bool
has_name(const struct scan_reader *r, const char *want)
{
    const char *at = (const char *)r->names.data;

    for (size_t i = 0; i < r->types.len; i++) {
        if (strcmp(at, want) == 0) {
            return true;
        }
        at += strlen(at) + 1;
    }
    return false;
}

static void
load_rules(const struct scan_reader *r, struct scan_node *n, int fd)
{
    struct buf git = BUF_INIT;
    struct buf own = BUF_INIT;

    if (has_name(r, ".gitignore")) {
        beneath_read(fd, ".gitignore", IGNORE_FILE_MAX_BYTES, &git);
    }
    if (has_name(r, ".gpurunignore")) {
        beneath_read(fd, ".gpurunignore", IGNORE_FILE_MAX_BYTES, &own);
    }
    if (git.len != 0 || own.len != 0) {
        n->own_rules =
            ignore_dir_new(n->rules, n->match_path, git.data, git.len, own.data, own.len);
        n->rules = n->own_rules;
    }
    buf_free(&git);
    buf_free(&own);
}

/* ---- which entries are in ---- */

/* One directory being read. */
struct reading {
    struct scan *s;
    struct scan_reader *r;
    struct scan_node *n;
    int fd;
    struct scan_skipped skipped;
};

/* How an entry stands to the rules. */
struct verdict {
    enum ignore_why why; /* IGNORE_NOT: no rule is against it */
    bool forced;         /* a --with path is here or above */
    bool leads;          /* a --with path is below */
    bool only_tracked;   /* let in for what git tracks below it */
};

static void
ask_with(const struct scan *s, const char *path, size_t len, struct verdict *v)
{
    for (size_t i = 0; i < s->o.n_with; i++) {
        const char *w = s->o.with[i];
        size_t w_len = strlen(w);

        v->forced = v->forced || tree_path_beneath(path, len, w, w_len);
        v->leads = v->leads || tree_path_beneath(w, w_len, path, len);
    }
}

/* The entry's path is in r->path. */
static struct verdict
judge(const struct reading *g, const char *name, bool is_dir)
{
    const char *path = buf_str(&g->r->path);
    size_t len = g->r->path.len;
    size_t skip = g->s->prefix_len;
    struct verdict v = {.why = IGNORE_NOT, .forced = g->n->forced};

    if (g->s->o.everything || v.forced) {
        return v;
    }
    ask_with(g->s, path + skip, len - skip, &v);
    v.why = ignore_builtin(name, strlen(name), is_dir, g->s->o.with_git);
    if (v.why == IGNORE_NOT) {
        v.why = ignore_match(g->n->rules, path, len, is_dir);
    }
    if (v.why == IGNORE_GIT || (v.why == IGNORE_NOT && g->n->only_tracked)) {
        v.only_tracked = scan_tracked(g->s, path, len, is_dir);
        v.why = v.only_tracked ? IGNORE_NOT : IGNORE_GIT;
    }
    return v;
}

static int
refuse_keys(const struct reading *g, const char *name, enum ignore_why why, bool is_dir,
            struct err *e)
{
    if (why != IGNORE_SECRET || !is_dir || g->s->o.allow_home ||
        (strcmp(name, ".ssh") != 0 && strcmp(name, ".gnupg") != 0)) {
        return 0;
    }
    return err_set(e, ERR_DENIED,
                   "'%s' is in what would be shipped: this looks like a home folder; "
                   "name it with --dir if you mean it",
                   buf_str(&g->r->path) + g->s->prefix_len);
}

static int
leave_out(struct reading *g, const char *name, enum ignore_why why, bool is_dir,
          struct err *e)
{
    const char *path = buf_str(&g->r->path) + g->s->prefix_len;

    if (g->n->in_ignored) {
        return 0; /* the ignored directory above was counted */
    }
    if (refuse_keys(g, name, why, is_dir, e) != 0) {
        return -1;
    }
    scan_note_skipped(&g->skipped, path, is_dir, why,
                      g->s->o.measure_skipped ? scan_measure(g->fd, name) : 0);
    return 0;
}

/* ---- stat ---- */

static enum tree_type
type_of_dent(uint8_t type)
{
    return tree_type_of_mode((mode_t)type << 12);
}

void
scan_fill_stat(struct scan_entry *to, const struct stat *st)
{
    to->type = tree_type_of_mode(st->st_mode);
    to->dev = st->st_dev;
    to->ino = st->st_ino;
    to->mode = st->st_mode & 07777;
    to->nlink = (uint32_t)st->st_nlink;
    to->uid = st->st_uid;
    to->gid = st->st_gid;
    to->rdev = st->st_rdev;
    to->size = st->st_size < 0 ? 0 : (uint64_t)st->st_size;
    to->blocks = st->st_blocks < 0 ? 0 : (uint64_t)st->st_blocks;
    to->mtime_ns = stat_mtime_ns(st);
    to->ctime_ns = stat_ctime_ns(st);
}

/* false: it is gone, as if it had never been listed. */
static bool
stat_entry(int fd, const char *name, uint8_t dent_type, struct scan_entry *to)
{
    struct stat st;

    memset(to, 0, sizeof *to);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        scan_fill_stat(to, &st);
        return to->type != TREE_NONE;
    }
    if (errno == ENOENT) {
        return false;
    }
    to->sys_errno = errno;
    to->damage = tree_damage_of(errno);
    to->type = type_of_dent(dent_type);
    return to->type != TREE_NONE;
}

/* ---- one directory ---- */

static void
add_child(const struct reading *g, struct scan_item *item, const struct verdict *v)
{
    struct scan_node *child;

    if (item->st.type != TREE_DIR || item->st.damage != TREE_WHOLE ||
        (g->s->o.one_file_system && item->st.dev != g->n->dev)) {
        return;
    }
    child = scan_node_new(g->s, g->n, item->name);
    child->dev = item->st.dev;
    child->forced = v->forced;
    child->only_tracked = v->only_tracked;
    child->in_ignored = (g->n->in_ignored || v->why != IGNORE_NOT) && !v->forced;
    item->child = child;
}

static void
compose_path(const struct reading *g, const char *name)
{
    struct buf *path = &g->r->path;

    buf_reset(path);
    if (g->n->match_path[0] != '\0') {
        buf_add_str(path, g->n->match_path);
        buf_add_u8(path, '/');
    }
    buf_add_str(path, name);
}

/* Add the entry to the node if it is in. */
static int
take_entry(struct reading *g, const char *name, uint8_t type, struct err *e)
{
    struct scan_item *item = &g->r->items[g->n->n];
    bool typed = type_of_dent(type) != TREE_NONE; /* some file systems do not say */
    bool is_dir = type == DT_DIR;
    struct verdict v;

    if (!typed) {
        if (!stat_entry(g->fd, name, type, &item->st)) {
            return 0;
        }
        is_dir = item->st.type == TREE_DIR;
    }
    compose_path(g, name);
    if (g->r->path.len - g->s->prefix_len > TREE_PATH_MAX_BYTES) {
        g->n->sys_errno = ENAMETOOLONG; /* the directory counts as unreadable */
        return 0;
    }
    v = judge(g, name, is_dir);
    if ((v.why != IGNORE_NOT || g->n->in_ignored) && !v.forced && !(v.leads && is_dir)) {
        return leave_out(g, name, v.why, is_dir, e);
    }
    if (typed && !stat_entry(g->fd, name, type, &item->st)) {
        return 0;
    }
    item->name = name;
    item->child = NULL;
    add_child(g, item, &v);
    g->n->n++;
    return 0;
}

static int
item_cmp(const void *a, const void *b)
{
    return strcmp(((const struct scan_item *)a)->name,
                  ((const struct scan_item *)b)->name);
}

/* The node keeps exact copies; the reader's buffers serve the next directory. */
static void
keep_items(struct scan_reader *r, struct scan_node *n)
{
    ptrdiff_t moved;

    if (n->n == 0) {
        return;
    }
    n->names = xmemdup(r->names.data, r->names.len);
    moved = n->names - (char *)r->names.data;
    n->items = xmemdup(r->items, n->n * sizeof *r->items);
    for (size_t i = 0; i < n->n; i++) {
        n->items[i].name += moved;
    }
    qsort(n->items, n->n, sizeof *n->items, item_cmp);
}

static bool
is_venv(const struct reading *g)
{
    return !g->s->o.everything && !g->n->forced && !g->n->in_ignored &&
           g->n->parent != NULL &&
           (has_name(g->r, "pyvenv.cfg") || has_name(g->r, "conda-meta"));
}

static int
take_entries(struct reading *g, struct err *e)
{
    struct scan_reader *r = g->r;
    const char *name = (const char *)r->names.data;
    const char *only = g->n->parent == NULL ? g->s->o.only_name : NULL;
    int rc = 0;

    if (r->cap < r->types.len) {
        r->cap = r->types.len;
        r->items = xrealloc(r->items, r->cap * sizeof *r->items);
    }
    for (size_t i = 0; i < r->types.len && rc == 0; i++) {
        if (only == NULL || strcmp(name, only) == 0) {
            rc = take_entry(g, name, r->types.data[i], e);
        }
        name += strlen(name) + 1;
    }
    keep_items(r, g->n);
    (void)pthread_mutex_lock(&g->s->lock);
    scan_merge_skipped(&g->s->skipped, &g->skipped);
    (void)pthread_mutex_unlock(&g->s->lock);
    return rc;
}

static int
read_listed(struct reading *g, struct err *e)
{
    if (is_venv(g)) {
        struct verdict v = {.why = IGNORE_NOT};

        ask_with(g->s, g->n->path, g->n->path_len, &v);
        if (!v.leads) {
            g->n->left_out = IGNORE_VENV;
            g->n->left_out_bytes = g->s->o.measure_skipped ? scan_measure(g->fd, ".") : 0;
            return 0;
        }
        g->n->in_ignored = true;
    }
    if (!g->s->o.everything && !g->n->forced) {
        load_rules(g->r, g->n, g->fd);
    }
    return take_entries(g, e);
}

int
scan_read_dir(struct scan *s, struct scan_reader *r, struct scan_node *n, struct err *e)
{
    struct reading g = {.s = s, .r = r, .n = n};
    int rc = 0;

    g.fd = beneath_open(s->root_fd, n->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (g.fd < 0) {
        n->sys_errno = -g.fd;
        return 0;
    }
    if (list_names(r, g.fd) != 0) {
        n->sys_errno = errno;
    } else {
        rc = read_listed(&g, e);
    }
    (void)fd_close(&g.fd);
    return rc;
}

/* ---- nodes ---- */

struct scan_node *
scan_node_new(const struct scan *s, struct scan_node *parent, const char *name)
{
    struct scan_node *n = xcalloc(1, sizeof *n);
    size_t parent_len = parent != NULL ? strlen(parent->match_path) : 0;

    n->parent = parent;
    n->state = SCAN_WAITING;
    n->match_path =
        parent_len > 0 ? xasprintf("%s/%s", parent->match_path, name) : xstrdup(name);
    n->path = n->match_path + (parent != NULL ? s->prefix_len : 0);
    n->path_len = strlen(n->path);
    n->rules = parent != NULL ? parent->rules : NULL;
    return n;
}

static void
free_one(struct scan_node *n)
{
    ignore_dir_free(n->own_rules);
    free(n->match_path);
    free(n->names);
    free(n->items);
    free(n);
}

/* Without recursion: a tree may be two thousand levels deep. */
void
scan_node_free(struct scan_node *top)
{
    struct scan_node *n = top;

    if (n == NULL) {
        return;
    }
    for (;;) {
        struct scan_node *parent = n->parent;

        while (n->n > 0 && n->items[n->n - 1].child == NULL) {
            n->n--;
        }
        if (n->n > 0) {
            struct scan_node *child = n->items[n->n - 1].child;

            n->items[n->n - 1].child = NULL;
            n = child;
            continue;
        }
        free_one(n);
        if (n == top) {
            return;
        }
        n = parent;
    }
}
