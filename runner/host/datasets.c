#include "runner/host/datasets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/workdirs.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"

/* ---- the catalogue ---- */

static bool
is_kept_data(const struct snap *n)
{
    return n->m != NULL && n->m->kind == MANIFEST_DATA && n->m->name != NULL &&
           n->claim.data == SNAP_DATA_KEPT;
}

/* The kept set of that name in l, or NULL. */
static const struct snap *
called(const struct snap_list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++) {
        if (is_kept_data(&l->v[i]) && strcmp(l->v[i].m->name, name) == 0) {
            return &l->v[i];
        }
    }
    return NULL;
}

static int
no_such(const char *name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "there is no data set '%s' on this host", name);
}

int
datasets_find(struct store *s, const char *name, char id[JOB_ID_LEN + 1], struct err *e)
{
    struct snap_list l = {NULL, 0};
    const struct snap *n;
    int rc = -1;

    if (snap_list(s, &l, e) != 0) {
        return -1;
    }
    n = called(&l, name);
    if (n == NULL) {
        (void)no_such(name, e);
    } else {
        memcpy(id, n->id, JOB_ID_LEN + 1);
        rc = 0;
    }
    snap_list_free(&l);
    return rc;
}

int
datasets_check(const struct renter *r, const struct job_spec *spec, struct err *e)
{
    struct snap_list l = {NULL, 0};
    struct store *s = NULL;
    int rc = -1;

    if (spec->data.n == 0) {
        return 0;
    }
    if (workdirs_open_store(r, &s, e) != 0 || snap_list(s, &l, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < spec->data.n; i++) {
        const struct snap *n;
        struct spec_data d;

        if (spec_data_parse(&d, spec->data.v[i], e) != 0) {
            goto out;
        }
        n = called(&l, d.name);
        if (n == NULL || !sha256_equal(&n->m->tree, &d.tree)) {
            (void)no_such(d.name, e);
            goto out;
        }
    }
    rc = 0;

out:
    snap_list_free(&l);
    store_close(s);
    return rc;
}

static int
write_set(struct store *s, const struct agent *a, const struct renter *r, const char *id,
          const char *name, const struct sha256 *tree, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_DATA);
    int rc = -1;

    manifest_set(&m->id, id);
    manifest_set(&m->name, name);
    manifest_set(&m->renter, r->id);
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = 0; /* until it is removed */
    if (workdirs_describe(s, tree, m, e) == 0) {
        rc = manifest_write(s, m, a->key, e);
    }
    manifest_free(m);
    return rc;
}

static int
tree_of(struct store *s, const char *from, struct sha256 *tree, struct err *e)
{
    struct manifest *m = NULL;

    if (workdirs_kept_tree(s, from, &m, e) != 0) {
        return -1;
    }
    *tree = m->tree;
    manifest_free(m);
    return 0;
}

int
datasets_keep(const struct agent *a, const struct renter *r, char id[JOB_ID_LEN + 1],
              const char *name, const struct sha256 *tree, const char *from,
              struct err *e)
{
    struct snap_list l = {NULL, 0};
    struct sha256 own = {{0}};
    struct store *s = NULL;
    const struct snap *was;
    int dir_fd = -1;
    int rc = -1;

    /* One at a time: two of one name may come at once. */
    if (renter_dir(r, "data", &dir_fd, e) != 0) {
        return -1;
    }
    if (flock(dir_fd, LOCK_EX) != 0) {
        err_set_sys(e, errno, "cannot lock the data sets");
        goto out;
    }
    if (workdirs_open_store(r, &s, e) != 0 ||
        (from != NULL && tree_of(s, from, &own, e) != 0) || snap_list(s, &l, e) != 0) {
        goto out;
    }
    tree = from != NULL ? &own : tree;
    was = called(&l, name);
    if (was != NULL && !sha256_equal(&was->m->tree, tree)) {
        err_set(e, ERR_EXISTS,
                "there is a data set '%s' with other content already: take another name, "
                "or `gpurun data rm %s` first",
                name, name);
        goto out;
    }
    if (was != NULL) {
        memcpy(id, was->id, JOB_ID_LEN + 1);
    } else if (write_set(s, a, r, id, name, tree, e) != 0) {
        goto out;
    }
    rc = workdirs_drop_shipped(s, tree, e);

out:
    snap_list_free(&l);
    store_close(s);
    (void)fd_close(&dir_fd);
    return rc;
}

/* ---- in a job's directory ---- */

/* The folder that `at` lies in, and its last name. */
static int
open_parent(const char *workdir, const char *at, bool make, int *fd, const char **last,
            struct err *e)
{
    const char *slash = strrchr(at, '/');
    char *dir;
    int root = open(workdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc;

    if (root == -1) {
        return err_set_sys(e, errno, "cannot open the job's directory");
    }
    *last = slash == NULL ? at : slash + 1;
    if (slash == NULL) {
        *fd = root;
        return 0;
    }
    dir = xasprintf("%.*s", (int)(slash - at), at);
    rc = make ? file_mkdirs_beneath(root, dir, 0755, fd, e)
              : file_open_beneath(root, dir, O_RDONLY | O_DIRECTORY, 0, fd, e);
    free(dir);
    (void)fd_close(&root);
    return rc;
}

/* ".../data/<64 hex digits>": as no job makes them by chance. */
static bool
is_our_link(int fd, const char *name)
{
    char to[4096];
    ssize_t n = readlinkat(fd, name, to, sizeof to - 1);
    uint8_t tree[SHA256_LEN];
    const char *tail;

    if (n < (ssize_t)(SHA256_HEX_LEN + 6)) {
        return false;
    }
    to[n] = '\0';
    tail = to + n - SHA256_HEX_LEN;
    return memcmp(tail - 6, "/data/", 6) == 0 &&
           hex_parse(tail, SHA256_HEX_LEN, tree, sizeof tree);
}

int
datasets_link(const char *workdir, const char *at, const char *path, struct err *e)
{
    const char *last;
    int fd = -1;
    int rc = 0;

    if (open_parent(workdir, at, true, &fd, &last, e) != 0) {
        return -1;
    }
    if (is_our_link(fd, last)) {
        (void)unlinkat(fd, last, 0);
    } else {
        (void)unlinkat(fd, last, AT_REMOVEDIR); /* an empty one holds its place */
    }
    if (symlinkat(path, fd, last) != 0) {
        rc = errno == EEXIST
                 ? err_set(e, ERR_EXISTS,
                           "--data: '%s' is in the job's directory already: say another "
                           "place, NAME:PATH",
                           at)
                 : err_set_sys(e, errno, "cannot put '%s' into the job's directory", at);
    }
    (void)fd_close(&fd);
    return rc;
}

void
datasets_unlink(const char *workdir, const char *at, const char *path)
{
    char to[4096];
    const char *last;
    struct err none;
    ssize_t n;
    int fd = -1;

    if (open_parent(workdir, at, false, &fd, &last, &none) != 0) {
        return;
    }
    n = readlinkat(fd, last, to, sizeof to - 1);
    if (n > 0) {
        to[n] = '\0';
        if (strcmp(to, path) == 0) {
            (void)unlinkat(fd, last, 0);
        }
    }
    (void)fd_close(&fd);
}
