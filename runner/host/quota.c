#include "runner/host/quota.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "runner/host/caches.h"
#include "runner/host/datasets.h"
#include "runner/host/quota_holds.h"
#include "runner/host/trim.h"
#include "runner/host/workdirs.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"

#define SHOWN_MAX      100
#define MORE           ", …"
#define STEP_BYTES     ((int64_t)8 << 20)
#define SPOKEN_TOP_MAX ((size_t)180) /* beside the longer words */
/* So much of what has come in may not be in the store's packs yet (storage/sync.h). */
#define UNCOMMITTED_MAX ((int64_t)64 << 20)

void
quota_top_add(struct quota_top *t, const char *what, int64_t bytes)
{
    size_t at = t->n;
    char shown[SHOWN_MAX];

    if (t->n == QUOTA_TOP) {
        if (bytes <= t->v[QUOTA_TOP - 1].bytes) {
            return;
        }
        free(t->v[QUOTA_TOP - 1].what);
        at = QUOTA_TOP - 1;
    } else {
        t->n++;
    }
    while (at > 0 && t->v[at - 1].bytes < bytes) {
        t->v[at] = t->v[at - 1];
        at--;
    }
    t->v[at].what = xstrdup(text_escape_to(shown, sizeof shown, what));
    t->v[at].bytes = bytes;
}

void
quota_top_free(struct quota_top *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->v[i].what);
    }
    t->n = 0;
}

static bool
is_inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The more of its beginning (an id, a folder) than of its end, in about n bytes. */
static void
add_shortened(struct buf *out, const char *what, size_t n)
{
    size_t len = strlen(what);
    size_t head = n * 2 / 3;
    size_t tail = n - head;

    if (len <= n) {
        buf_add_str(out, what);
        return;
    }
    while (head > 0 && is_inside_character(what[head])) {
        head--;
    }
    while (tail > 0 && is_inside_character(what[len - tail])) {
        tail--;
    }
    buf_add(out, what, head);
    buf_add_str(out, "…");
    buf_add_str(out, what + len - tail);
}

/* With names of about so many bytes; how many of them went in. */
static size_t
add_top(const struct quota_top *t, size_t name_bytes, size_t max_bytes, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++) {
        struct buf one = BUF_INIT;
        char size[TEXT_SIZE_MAX];
        bool fits;

        text_format_size((uint64_t)t->v[i].bytes, size);
        buf_add_str(&one, i > 0 ? ", " : "");
        add_shortened(&one, t->v[i].what, name_bytes);
        buf_printf(&one, " %s", size);
        fits = out->len + one.len + (i + 1 < t->n ? strlen(MORE) : 0) <= max_bytes;
        if (fits) {
            buf_add(out, one.data, one.len);
        }
        buf_free(&one);
        if (!fits) {
            return i;
        }
    }
    return t->n;
}

void
quota_top_text(const struct quota_top *t, size_t max_bytes, struct buf *out)
{
    static const size_t name_bytes[] = {SHOWN_MAX, 40, 28, 20};
    struct buf text = BUF_INIT;
    size_t n = 0;

    for (size_t i = 0; i < sizeof name_bytes / sizeof *name_bytes && n < t->n; i++) {
        buf_reset(&text);
        n = add_top(t, name_bytes[i], max_bytes, &text);
    }
    buf_add(out, text.data, text.len);
    if (n < t->n) {
        buf_add_str(out, MORE);
    }
    buf_free(&text);
}

void
quota_use_free(struct quota_use *u)
{
    quota_top_free(&u->largest);
}

int
quota_use_besides(const struct renter *r, const char *job, struct quota_use *out,
                  struct err *e)
{
    char *path = workdirs_store_path(r);
    struct quota_use u = {0};
    struct snap_list l = {NULL, 0};
    struct store_stats sums;
    struct store *s = NULL;
    int rc = -1;

    if (!file_exists(path)) {
        rc = 0;
        goto out;
    }
    if (workdirs_open_store(r, &s, e) != 0 || store_stats(s, &sums, e) != 0 ||
        snap_list(s, &l, e) != 0) {
        goto out;
    }
    u.bytes = (int64_t)sums.pack_bytes;
    for (size_t i = 0; i < l.n; i++) {
        const struct manifest *m = l.v[i].m;
        char *what;

        if (m == NULL || l.v[i].claim.data != SNAP_DATA_KEPT ||
            m->kind == MANIFEST_SHIPPED) {
            continue;
        }
        what = xasprintf("%s%s%s", m->id, m->name != NULL ? " " : "",
                         m->name != NULL ? m->name : "");
        quota_top_add(&u.largest, what, (int64_t)m->stored_bytes);
        free(what);
        if (job != NULL && m->job != NULL && strcmp(m->job, job) == 0) {
            u.bytes -= (int64_t)m->stored_bytes;
        }
    }
    u.bytes = u.bytes > 0 ? u.bytes : 0;
    rc = 0;

out:
    if (rc == 0) {
        *out = u;
    } else {
        quota_use_free(&u);
    }
    snap_list_free(&l);
    store_close(s);
    free(path);
    return rc;
}

int
quota_use_of(const struct renter *r, struct quota_use *out, struct err *e)
{
    return quota_use_besides(r, NULL, out, e);
}

int
quota_idle_copies(const struct renter *r, int64_t *bytes, struct err *e)
{
    int64_t dirs = 0;
    int64_t sets = 0;

    if (workdirs_left_bytes(r, &dirs, e) != 0 || datasets_bytes(r, true, &sets, e) != 0) {
        return -1;
    }
    *bytes = dirs + sets;
    return 0;
}

int
quota_drop_copies(const struct renter *r, struct err *e)
{
    int rc = workdirs_trim_all(r, e);
    struct err why;

    if (datasets_trim_all(r, &why) != 0) {
        trim_failed(&rc, &why, e);
    }
    return rc;
}

int
quota_use_all(const struct renter *r, struct quota_use *out, struct err *e)
{
    int64_t dirs = 0;
    int64_t sets = 0;

    if (quota_use_of(r, out, e) != 0) {
        return -1;
    }
    if (workdirs_left_bytes(r, &dirs, e) != 0 ||
        datasets_bytes(r, false, &sets, e) != 0) {
        quota_use_free(out);
        return -1;
    }
    if (dirs > 0) {
        quota_top_add(&out->largest, "directories of ended jobs", dirs);
    }
    if (sets > 0) {
        quota_top_add(&out->largest, "files of data sets", sets);
    }
    out->copies_bytes = dirs + sets;
    out->cache_bytes = caches_bytes(r);
    if (out->cache_bytes > 0) {
        quota_top_add(&out->largest, "cache", out->cache_bytes);
    }
    return 0;
}

/* Whose limit it is, what they keep, and whether others have spoken for the rest. */
static int
say_limit(const struct renter *r, const struct quota_use *u, bool spoken, struct err *e)
{
    const char *name = r->name[0] != '\0' ? r->name : r->id;
    struct buf b = BUF_INIT;
    char used[TEXT_SIZE_MAX];
    char may[TEXT_SIZE_MAX];

    text_format_size((uint64_t)u->bytes, used);
    text_format_size((uint64_t)r->quota_bytes, may);
    quota_top_text(&u->largest, spoken ? SPOKEN_TOP_MAX : QUOTA_TOP_SAID_MAX, &b);
    if (spoken) {
        err_set(e, ERR_SPACE,
                "renter %s keeps %s here, may keep %s, and the rest is spoken for by "
                "what is on its way and by jobs that run, whose end may make room, "
                "as do `gpurun snap rm` and `gpurun gc`; the largest: %s",
                name, used, may, buf_str(&b));
    } else {
        err_set(e, ERR_SPACE,
                "renter %s keeps %s here and may keep %s; `gpurun snap rm` and "
                "`gpurun gc` make room; the largest: %s",
                name, used, may, buf_str(&b));
    }
    e->helps = true;
    buf_free(&b);
    return -1;
}

static int
draw_of(const struct renter *r, const struct quota_use *u, struct quota_hold *h,
        int64_t taken_bytes, int64_t *more_bytes, struct err *e)
{
    int64_t coming = taken_bytes < UNCOMMITTED_MAX ? taken_bytes : UNCOMMITTED_MAX;

    if (quota_hold_draw(h, coming, STEP_BYTES, u->bytes, r->quota_bytes, more_bytes, e) !=
        0) {
        return -1;
    }
    return *more_bytes > 0 ? 0 : say_limit(r, u, true, e);
}

int
quota_begin(const struct renter *r, struct quota_room *out, struct err *e)
{
    struct quota_use u = {0};
    struct err ignored;
    int64_t others = 0;
    int rc = -1;

    *out = (struct quota_room){.hold = NULL};
    if (r->quota_bytes == 0) {
        return 0;
    }
    (void)!caches_trim(r, NULL, &ignored); /* its bytes do not count here */
    if (quota_use_of(r, &u, e) != 0) {
        return -1;
    }
    if (u.bytes >= r->quota_bytes) {
        (void)say_limit(r, &u, false, e);
    } else if (quota_hold_open(&out->hold, r, e) == 0 &&
               quota_hold_set(out->hold, 0, &others, e) == 0 &&
               draw_of(r, &u, out->hold, 0, &out->first_bytes, e) == 0) {
        out->left_bytes = r->quota_bytes - u.bytes - others;
        (void)say_limit(r, &u, others > 0, &out->why);
        rc = 0;
    }
    if (rc != 0) {
        quota_hold_close(out->hold);
        out->hold = NULL;
    }
    quota_use_free(&u);
    return rc;
}

int
quota_draw(const struct renter *r, struct quota_hold *h, int64_t taken_bytes,
           int64_t *more_bytes, struct err *e)
{
    struct quota_use u = {0};
    int rc = quota_use_of(r, &u, e);

    if (rc == 0) {
        rc = draw_of(r, &u, h, taken_bytes, more_bytes, e);
        quota_use_free(&u);
    }
    return rc;
}
