#include "runner/job/change.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define CHANGE_MAX_BYTES ((size_t)32 * 1024)

const char *
change_type_name(enum tree_type t)
{
    static const char *const names[] = {"",       "dir",  "file",  "symlink", "fifo",
                                        "socket", "char", "block", "whiteout"};

    return (size_t)t < sizeof names / sizeof names[0] ? names[t] : "";
}

void
change_free(struct change *c)
{
    free(c->path);
    *c = (struct change){.path = NULL};
}

static void
side_of(const struct tree_entry *from, struct change_side *to)
{
    if (from != NULL) {
        to->type = from->type;
        to->bytes = from->type == TREE_FILE ? (int64_t)from->size : 0;
        to->mode = from->mode;
        to->mtime_ns = from->mtime_ns;
    }
}

void
change_of(const struct diff_change *from, struct change *to)
{
    const struct tree_entry *any = from->after != NULL ? from->after : from->before;
    bool root = any->path_len == 0;

    *to = (struct change){.what = from->what};
    to->path_len = root ? 1 : any->path_len;
    to->path = xmemdup(root ? "." : any->path, to->path_len + 1);
    side_of(from->before, &to->before);
    side_of(from->after, &to->after);
}

static void
add_side(struct rec *r, const char *const keys[4], const struct change_side *s)
{
    if (s->type != TREE_NONE) {
        rec_add_int(r, keys[0], s->type);
        rec_add_int(r, keys[1], s->bytes);
        rec_add_int(r, keys[2], s->mode);
        rec_add_int(r, keys[3], s->mtime_ns);
    }
}

static const char *const before_keys[4] = {"before_type", "before_bytes", "before_mode",
                                           "before_mtime_ns"};
static const char *const after_keys[4] = {"after_type", "after_bytes", "after_mode",
                                          "after_mtime_ns"};

struct rec *
change_rec(const struct change *c)
{
    struct rec *r = rec_new(CHANGE_TYPE);

    rec_add_bytes(r, "path", c->path, c->path_len);
    rec_add_int(r, "what", c->what);
    add_side(r, before_keys, &c->before);
    add_side(r, after_keys, &c->after);
    return r;
}

static int
parse_side(const struct rec *r, const char *const keys[4], struct change_side *s,
           struct err *e)
{
    int64_t type;

    if (rec_opt_int(r, keys[0], TREE_DIR, TREE_WHITEOUT, TREE_NONE, &type, e) != 0 ||
        rec_opt_int(r, keys[1], 0, INT64_MAX, 0, &s->bytes, e) != 0 ||
        rec_opt_int(r, keys[2], 0, 07777, 0, &s->mode, e) != 0 ||
        rec_opt_int(r, keys[3], INT64_MIN, INT64_MAX, 0, &s->mtime_ns, e) != 0) {
        return -1;
    }
    s->type = (enum tree_type)type;
    return 0;
}

int
change_parse(struct change *out, const void *data, size_t len, struct err *e)
{
    struct change c = {.path = NULL};
    struct rec *r = NULL;
    const char *path;
    int rc = -1;

    if (len > CHANGE_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, "a change is too long");
    }
    if (rec_parse(&r, data, len, CHANGE_TYPE, e) != 0) {
        return -1;
    }
    path = rec_get_bytes(r, "path", &c.path_len);
    if (path == NULL || c.path_len > TREE_PATH_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "a change of no path");
    } else if (rec_opt_int(r, "what", 0, 63, 0, &c.what, e) == 0 &&
               parse_side(r, before_keys, &c.before, e) == 0 &&
               parse_side(r, after_keys, &c.after, e) == 0) {
        c.path = xmemdup(path, c.path_len + 1);
        *out = c;
        rc = 0;
    }
    rec_free(r);
    return rc;
}
