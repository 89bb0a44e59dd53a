#include "storage/snap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "storage/index_gc.h"
#include "storage/pack.h"
#include "storage/reserve.h"
#include "storage/snap_internal.h"
#include "storage/store_internal.h"

#define CLAIM_TYPE      "gpurun.claim.v1"
#define CLAIM_MAX_BYTES 4096
#define LATE_NS         ((int64_t)86400 * 1000000000)

int64_t
snap_kept_from_ns(int64_t made_wall_ns, int64_t ended_wall_ns)
{
    int64_t late_ns;

    return __builtin_sub_overflow(made_wall_ns, ended_wall_ns, &late_ns) ||
                   late_ns > LATE_NS
               ? made_wall_ns
               : ended_wall_ns;
}

/* ---- claims ---- */

struct claim_name {
    char s[MANIFEST_ID_MAX + sizeof ".claim"];
};

static struct claim_name
claim_name(const char *id)
{
    struct claim_name n;

    (void)snprintf(n.s, sizeof n.s, "%s.claim", id);
    return n;
}

static int
parse_claim(const struct rec *r, const char *id, struct snap_claim *out, struct err *e)
{
    const char *data;
    const char *why;
    const char *of;

    memset(out, 0, sizeof *out);
    if (rec_need_str(r, "id", &of, e) == -1 || rec_need_str(r, "data", &data, e) == -1 ||
        rec_need_int(r, "expires_wall_ns", 0, INT64_MAX, &out->expires_wall_ns, e) ==
            -1 ||
        rec_opt_int(r, "gone_wall_ns", INT64_MIN, INT64_MAX, 0, &out->gone_wall_ns, e) ==
            -1) {
        return -1;
    }
    if (strcmp(of, id) != 0 || (strcmp(data, "kept") != 0 && strcmp(data, "gone") != 0)) {
        return err_set(e, ERR_CORRUPT, "a claim of something else");
    }
    out->data = strcmp(data, "kept") == 0 ? SNAP_DATA_KEPT : SNAP_DATA_GONE;
    why = rec_get(r, "why");
    (void)snprintf(out->why, sizeof out->why, "%s", why == NULL ? "" : why);
    return 0;
}

/*
 * The claim file of id. *found false: there is none. Damaged, or nothing that the disk
 * gives back: kept, without end.
 */
static int
read_claim(struct store *s, const char *id, struct snap_claim *out, bool *found,
           struct err *e)
{
    static const struct snap_claim kept = {.data = SNAP_DATA_KEPT};
    struct buf text = BUF_INIT;
    struct rec *r = NULL;
    struct claim_name name = claim_name(id);
    struct err why;
    int rc = 0;

    *found = true;
    if (store_read_file(s->snaps_fd, name.s, CLAIM_MAX_BYTES, &text, &why) == -1) {
        if (why.code == ERR_NOT_FOUND) {
            *found = false;
        } else if (why.code == ERR_RANGE || pack_is_damage(&why)) {
            *out = kept;
        } else {
            *e = why;
            rc = -1;
        }
    } else if (rec_parse(&r, text.data, text.len, CLAIM_TYPE, &why) == -1 ||
               parse_claim(r, id, out, &why) == -1) {
        *out = kept; /* better kept too long than lost by a flipped bit */
    }
    rec_free(r);
    buf_free(&text);
    return rc;
}

int
snap_is_gone(struct store *s, const char *id, bool *gone, struct err *e)
{
    struct snap_claim c;
    bool found;

    if (read_claim(s, id, &c, &found, e) == -1) {
        return -1;
    }
    *gone = found && c.data == SNAP_DATA_GONE;
    return 0;
}

int
snap_replace(struct store *s, int dir_fd, const char *name, const struct buf *text,
             struct err *e)
{
    struct err why;

    while (file_replace_at(dir_fd, name, text->data, text->len, &why) == -1) {
        if (!reserve_may_help(&why) || !reserve_spare(s->dir_fd)) {
            *e = why;
            return -1;
        }
    }
    return 0;
}

int
snap_claim_put(struct store *s, const char *id, const struct snap_claim *c, struct err *e)
{
    struct rec *r = rec_new(CLAIM_TYPE);
    struct buf text = BUF_INIT;
    struct claim_name name = claim_name(id);
    int rc;

    rec_add(r, "id", id);
    rec_add(r, "data", c->data == SNAP_DATA_KEPT ? "kept" : "gone");
    rec_add_int(r, "expires_wall_ns", c->expires_wall_ns);
    if (c->gone_wall_ns != 0) {
        rec_add_int(r, "gone_wall_ns", c->gone_wall_ns);
    }
    if (c->why[0] != '\0') {
        rec_add(r, "why", c->why);
    }
    rec_encode(r, &text);
    rc = snap_replace(s, s->snaps_fd, name.s, &text, e);
    buf_free(&text);
    rec_free(r);
    return rc;
}

/* The claim on m, from its file or, without one, from the manifest itself. */
static int
claim_of(struct store *s, const char *id, const struct manifest *m,
         struct snap_claim *out, struct err *e)
{
    bool found;

    if (read_claim(s, id, out, &found, e) == -1) {
        return -1;
    }
    if (!found) {
        memset(out, 0, sizeof *out);
        out->data = SNAP_DATA_KEPT;
        out->expires_wall_ns = m == NULL ? 0 : m->expires_wall_ns;
    }
    return 0;
}

int
snap_claim_get(struct store *s, const char *id, struct snap_claim *out, struct err *e)
{
    struct manifest *m = NULL;
    struct err why;
    int rc;

    if (manifest_read(s, id, &m, &why) == -1 && why.code != ERR_CORRUPT) {
        *e = why;
        return -1;
    }
    rc = claim_of(s, id, m, out, e);
    manifest_free(m);
    return rc;
}

int
snap_claims_lock(struct store *s, struct err *e)
{
    (void)pthread_mutex_lock(&s->claim_mu);
    if (store_lock(s->lock_fd, STORE_LOCK_CLAIM, true, true, e) == -1) {
        (void)pthread_mutex_unlock(&s->claim_mu);
        return -1;
    }
    return 0;
}

void
snap_claims_unlock(struct store *s)
{
    store_unlock(s->lock_fd, STORE_LOCK_CLAIM);
    (void)pthread_mutex_unlock(&s->claim_mu);
}

/*
 * Change a claim that was not given up yet: keep it or give it up. So "kept" once said
 * cannot be undone by an expiry that looked before.
 */
static int
change_claim(struct store *s, const char *id, const struct snap_claim *to, struct err *e)
{
    struct snap_claim now;
    int rc = -1;

    if (snap_claims_lock(s, e) == -1) {
        return -1;
    }
    if (snap_claim_get(s, id, &now, e) == -1) {
        goto out;
    }
    if (now.data == SNAP_DATA_KEPT) {
        rc = snap_claim_put(s, id, to, e);
    } else if (to->data == SNAP_DATA_GONE) {
        rc = 0; /* once is enough; the first reason stands */
    } else {
        err_set(e, ERR_NOT_FOUND, "the data of %s is gone (%s)", id, now.why);
    }

out:
    snap_claims_unlock(s);
    return rc;
}

int
snap_keep(struct store *s, const char *id, int64_t expires_wall_ns, struct err *e)
{
    struct snap_claim c = {.data = SNAP_DATA_KEPT, .expires_wall_ns = expires_wall_ns};

    return change_claim(s, id, &c, e);
}

int
snap_regain(struct store *s, const char *id, int64_t expires_wall_ns, struct err *e)
{
    struct snap_claim c = {.data = SNAP_DATA_KEPT, .expires_wall_ns = expires_wall_ns};
    struct snap_claim now;
    int rc = -1;

    if (store_commit(s, e) == -1 || snap_claims_lock(s, e) == -1) {
        return -1;
    }
    /* Under one lock: gc must not take note of the loss between the two, as the next loss
     * would then be none to it. */
    if (snap_claim_get(s, id, &now, e) == 0 && index_gone_forget(s->ix, id, e) == 0) {
        rc = snap_claim_put(s, id, &c, e);
    }
    snap_claims_unlock(s);
    return rc;
}

static struct snap_claim
given_up(const char *why)
{
    struct snap_claim c = {.data = SNAP_DATA_GONE, .gone_wall_ns = clock_wall_ns()};

    (void)snprintf(c.why, sizeof c.why, "%s", why);
    return c;
}

int
snap_drop(struct store *s, const char *id, const char *why, struct err *e)
{
    struct snap_claim c = given_up(why);

    return change_claim(s, id, &c, e);
}

int
snap_drop_replaced(struct store *s, const char *id, struct err *e)
{
    struct snap_claim gone = given_up(SNAP_REPLACED);
    struct snap_claim now;
    bool own_end;
    int rc = -1;

    if (snap_claims_lock(s, e) == -1) {
        return -1;
    }
    if (snap_claim_get(s, id, &now, e) == 0 &&
        read_claim(s, id, &now, &own_end, e) == 0) {
        rc = own_end ? 0 : snap_claim_put(s, id, &gone, e);
    }
    snap_claims_unlock(s);
    return rc;
}

/* ---- listing ---- */

static int
cmp_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

int
snap_ids(struct store *s, struct snap_ids *out, struct err *e)
{
    struct snap_ids l = {0};
    size_t cap = 0;
    struct dirent *entry;
    int fd = openat(s->snaps_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        err_set_sys(e, errno, "cannot list '%s/snaps'", s->dir);
        (void)fd_close(&fd);
        return -1;
    }
    errno = 0;
    while ((entry = readdir(d)) != NULL) {
        const char *dot = strchr(entry->d_name, '.');

        if (dot != NULL && strcmp(dot, ".manifest") == 0 &&
            dot - entry->d_name == 1 + ID_RANDOM_LEN) {
            if (l.n == cap) {
                cap = cap == 0 ? 64 : cap * 2;
                l.v = xrealloc(l.v, cap * sizeof *l.v);
            }
            memset(l.v[l.n], 0, sizeof *l.v);
            memcpy(l.v[l.n], entry->d_name, 1 + ID_RANDOM_LEN);
            l.n += manifest_id_valid(l.v[l.n]) ? 1 : 0;
        }
        errno = 0;
    }
    if (errno != 0) {
        err_set_sys(e, errno, "cannot list '%s/snaps'", s->dir);
        (void)closedir(d);
        free(l.v);
        return -1;
    }
    (void)closedir(d);
    if (l.n != 0) {
        qsort(l.v, l.n, sizeof *l.v, cmp_ids);
    }
    *out = l;
    return 0;
}

static int
cmp_snaps(const void *a, const void *b)
{
    const struct snap *x = a;
    const struct snap *y = b;
    int64_t tx = x->m == NULL ? INT64_MIN : x->m->made_wall_ns;
    int64_t ty = y->m == NULL ? INT64_MIN : y->m->made_wall_ns;

    return tx != ty ? (tx > ty) - (tx < ty) : strcmp(x->id, y->id);
}

static int
load(struct store *s, const char *id, struct snap *out, struct err *e)
{
    struct err why;

    memset(out, 0, sizeof *out);
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    if (manifest_read(s, id, &out->m, &why) == -1) {
        (void)snprintf(out->error, sizeof out->error, "%.*s", (int)sizeof out->error - 1,
                       why.msg);
    }
    return claim_of(s, id, out->m, &out->claim, e);
}

int
snap_list(struct store *s, struct snap_list *out, struct err *e)
{
    struct snap_ids ids;
    struct snap_list l = {0};
    int rc = -1;

    if (snap_ids(s, &ids, e) == -1) {
        return -1;
    }
    l.v = xcalloc(ids.n, sizeof *l.v);
    for (size_t i = 0; i < ids.n; i++) {
        l.n++;
        if (load(s, ids.v[i], &l.v[i], e) == -1) {
            goto out;
        }
    }
    qsort(l.v, l.n, sizeof *l.v, cmp_snaps);
    *out = l;
    memset(&l, 0, sizeof l);
    rc = 0;

out:
    free(ids.v);
    snap_list_free(&l);
    return rc;
}

void
snap_list_free(struct snap_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        manifest_free(l->v[i].m);
    }
    free(l->v);
    memset(l, 0, sizeof *l);
}

/* How many ids begin so; the first goes to id, the first few to some. */
static size_t
match_prefix(const struct snap_ids *ids, const char *what, char id[MANIFEST_ID_MAX + 1],
             char some[128])
{
    size_t n = 0;
    size_t used = 0;

    some[0] = '\0';
    for (size_t i = 0; i < ids->n; i++) {
        if (strncmp(ids->v[i], what, strlen(what)) != 0) {
            continue;
        }
        if (n == 0) {
            (void)snprintf(id, MANIFEST_ID_MAX + 1, "%s", ids->v[i]);
        }
        if (n < 4) {
            used += (size_t)snprintf(some + used, 128 - used, "%s%s", n > 0 ? ", " : "",
                                     ids->v[i]);
        }
        n++;
    }
    return n;
}

/* The newest snapshot of that name, or of any for "@last". */
static int
find_by_name(struct store *s, const char *what, char id[MANIFEST_ID_MAX + 1],
             struct err *e)
{
    struct snap_list l;
    bool any = strcmp(what, "@last") == 0;
    bool found = false;

    if (snap_list(s, &l, e) == -1) {
        return -1;
    }
    for (size_t i = l.n; i > 0 && !found; i--) {
        const struct manifest *m = l.v[i - 1].m;

        found = m != NULL && m->kind == MANIFEST_SNAPSHOT &&
                (any || (m->name != NULL && strcmp(m->name, what) == 0));
        if (found) {
            (void)snprintf(id, MANIFEST_ID_MAX + 1, "%s", l.v[i - 1].id);
        }
    }
    snap_list_free(&l);
    return found ? 0 : err_set(e, ERR_NOT_FOUND, "no snapshot '%.100s'", what);
}

int
snap_find(struct store *s, const char *what, char id[MANIFEST_ID_MAX + 1], struct err *e)
{
    struct snap_ids ids;
    char first[MANIFEST_ID_MAX + 1];
    char some[128];
    size_t n;

    if (snap_ids(s, &ids, e) == -1) {
        return -1;
    }
    n = *what == '\0' ? 0 : match_prefix(&ids, what, first, some);
    free(ids.v);
    if (n == 1) {
        memcpy(id, first, sizeof first);
        return 0;
    }
    if (n > 1) {
        return err_set(e, ERR_INVALID, "%zu snapshots begin with '%.100s': %s%s", n, what,
                       some, n > 4 ? ", ..." : "");
    }
    return find_by_name(s, what, id, e);
}
