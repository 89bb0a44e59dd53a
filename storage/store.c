#include "storage/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rec.h"
#include "storage/pack.h"
#include "storage/rebuild.h"
#include "storage/reserve.h"
#include "storage/store_internal.h"

#define FORMAT_TYPE "gpurun.store.v1"
#define LOCK_FILE   "lock"
#define INDEX_FILE  "index.db"

/*
 * Names that a directory may hold that is a store but for its format file: one being
 * made, or one in use that lost it.
 */
static bool
is_ours(const char *name)
{
    static const char *const ours[] = {
        ".",     "..",  LOCK_FILE, STORE_FORMAT_FILE ".tmp", "packs",
        "snaps", "bad", "reserve", STORE_CLOCK_FILE,         STORE_CLOCK_FILE ".tmp",
    };

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcmp(name, ours[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, INDEX_FILE, sizeof INDEX_FILE - 1) == 0;
}

/* A directory without a format file is only taken if nothing foreign lies in it. */
static int
refuse_foreign(const struct store *s, struct err *e)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (d == NULL) {
        rc = err_set_sys(e, errno, "cannot list '%s'", s->dir);
        (void)fd_close(&fd);
        return rc;
    }
    errno = 0;
    while (rc == 0 && (entry = readdir(d)) != NULL) {
        if (!is_ours(entry->d_name)) {
            rc = err_set(e, ERR_CORRUPT, "'%s' is not empty and not a store", s->dir);
        }
    }
    if (rc == 0 && errno != 0) {
        rc = err_set_sys(e, errno, "cannot list '%s'", s->dir);
    }
    (void)closedir(d);
    return rc;
}

static bool
exists_at(const struct store *s, const char *name)
{
    return faccessat(s->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* One that is empty says of no pack what is in it: as good as none. */
static bool
has_index(const struct store *s)
{
    struct stat st;

    return fstatat(s->dir_fd, INDEX_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_size > 0;
}

int
store_read_file(int dir_fd, const char *name, size_t max_bytes, struct buf *out,
                struct err *e)
{
    int rc = -1;

    for (int i = 0; i < STORE_READ_TRIES && rc == -1; i++) {
        rc = file_read_at(dir_fd, name, max_bytes, out, e);
        if (rc == -1 && !pack_is_damage(e)) {
            break;
        }
    }
    return rc;
}

static int
check_format(const struct store *s, struct err *e)
{
    struct buf text = BUF_INIT;
    struct rec *r = NULL;
    int rc = -1;

    if (store_read_file(s->dir_fd, STORE_FORMAT_FILE, 4096, &text, e) == -1 ||
        rec_parse(&r, text.data, text.len, FORMAT_TYPE, e) == -1) {
        err_wrap(e, "store '%s'", s->dir);
        goto out;
    }
    rc = 0;

out:
    rec_free(r);
    buf_free(&text);
    return rc;
}

int
store_check_format(const char *dir, struct err *e)
{
    struct store s = {.dir = xstrdup(dir), .dir_fd = -1};
    int rc = -1;

    s.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.dir_fd == -1) {
        err_set_sys(e, errno, "cannot open the store '%s'", dir);
    } else {
        rc = check_format(&s, e);
    }
    (void)fd_close(&s.dir_fd);
    free(s.dir);
    return rc;
}

static int
open_dir(struct store *s, const struct store_options *o, struct err *e)
{
    if (!o->must_exist && file_mkdirs(s->dir, 0700, e) == -1) {
        return -1;
    }
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd == -1 && errno == ENOENT) {
        return err_set(e, ERR_NOT_FOUND, "there is no store '%s'", s->dir);
    }
    if (s->dir_fd == -1) {
        return err_set_sys(e, errno, "cannot open the store '%s'", s->dir);
    }
    if (exists_at(s, STORE_FORMAT_FILE)) {
        return 0;
    }
    if (o->must_exist) {
        return err_set(e, ERR_NOT_FOUND, "there is no store in '%s'", s->dir);
    }
    /* What is not ours may be that of a store which another has just completed. */
    return refuse_foreign(s, e) == 0 || exists_at(s, STORE_FORMAT_FILE) ? 0 : -1;
}

static int
open_sub(const struct store *s, const char *name, int *fd, struct err *e)
{
    *fd = openat(s->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s/%s'", s->dir, name);
    }
    return 0;
}

static int
make_sub(const struct store *s, const char *name, struct err *e)
{
    if (mkdirat(s->dir_fd, name, 0700) == -1 && errno != EEXIST) {
        return err_set_sys(e, errno, "cannot create '%s/%s'", s->dir, name);
    }
    return 0;
}

/*
 * Make what is missing, with nobody else in the store: directories, the index (from
 * the packs, if there are any), and last the format file, which says that all is there.
 */
static int
make_missing(struct store *s, bool scratch, struct err *e)
{
    struct rec *r;
    struct buf text = BUF_INIT;
    int rc = -1;

    if (make_sub(s, "packs", e) == -1 || make_sub(s, "snaps", e) == -1 ||
        make_sub(s, "bad", e) == -1) {
        return -1;
    }
    if (!has_index(s) && rebuild_index(s->dir, NULL, e) == -1) {
        return -1;
    }
    if (exists_at(s, STORE_FORMAT_FILE)) {
        return 0;
    }
    if (!scratch) {
        reserve_hold(s->dir_fd);
    }
    r = rec_new(FORMAT_TYPE);
    rec_encode(r, &text);
    if (fsync(s->dir_fd) == -1) {
        err_set_sys(e, errno, "cannot sync '%s'", s->dir);
        goto out;
    }
    rc = file_replace_at(s->dir_fd, STORE_FORMAT_FILE, text.data, text.len, e);

out:
    rec_free(r);
    buf_free(&text);
    return rc;
}

/* Come to hold STORE_LOCK_ALL shared, with a complete store under it. */
static int
enter(struct store *s, bool scratch, struct err *e)
{
    for (;;) {
        int rc;

        if (store_lock(s->lock_fd, STORE_LOCK_ALL, false, true, e) == -1) {
            return -1;
        }
        if (exists_at(s, STORE_FORMAT_FILE) && has_index(s)) {
            return check_format(s, e);
        }
        store_unlock(s->lock_fd,
                     STORE_LOCK_ALL); /* two that upgrade would wait for ever */
        if (store_lock(s->lock_fd, STORE_LOCK_ALL, true, true, e) == -1) {
            return -1;
        }
        rc = make_missing(s, scratch, e);
        store_unlock(s->lock_fd, STORE_LOCK_ALL);
        if (rc == -1) {
            return -1;
        }
    }
}

/*
 * The lease first covers everything (generation 0), and is narrowed to the
 * generation that is read under it: so no condemnation can slip in between.
 */
static int
take_lease(struct store *s, struct err *e)
{
    uint64_t gen;

    if (store_lock(s->lock_fd, STORE_LEASE_BASE, false, true, e) == -1 ||
        index_generation(s->ix, &gen, e) == -1 ||
        store_lock(s->lock_fd, STORE_LEASE_BASE + (int64_t)gen, false, true, e) == -1) {
        return -1;
    }
    store_unlock(s->lock_fd, STORE_LEASE_BASE);
    s->lease_gen = gen;
    return 0;
}

static int
open_all(struct store *s, const struct store_options *o, struct err *e)
{
    char *index_path = NULL;
    int rc = -1;

    if (open_dir(s, o, e) == -1) {
        return -1;
    }
    s->lock_fd =
        openat(s->dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s/%s'", s->dir, LOCK_FILE);
    }
    if (enter(s, o->scratch, e) == -1 || open_sub(s, "packs", &s->packs_fd, e) == -1 ||
        open_sub(s, "snaps", &s->snaps_fd, e) == -1) {
        return -1;
    }
    index_path = path_join(s->dir, INDEX_FILE);
    rc = index_open(&s->ix, index_path, false, e) == -1 ? -1 : take_lease(s, e);
    free(index_path);
    return rc == -1 && pack_is_damage(e)
               ? err_wrap(e, "the store's index is damaged; `gpurun fsck` makes it anew")
               : rc;
}

int
store_open(struct store **out, const char *dir, const struct store_options *o,
           struct err *e)
{
    static const struct store_options defaults = {0};
    struct store *s = xcalloc(1, sizeof *s);

    o = o == NULL ? &defaults : o;
    s->dir = xstrdup(dir);
    s->dir_fd = -1;
    s->packs_fd = -1;
    s->snaps_fd = -1;
    s->lock_fd = -1;
    (void)pthread_mutex_init(&s->mu, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    (void)pthread_mutex_init(&s->claim_mu, NULL);
    (void)pthread_mutex_init(&s->fd_mu, NULL);
    (void)pthread_mutex_init(&s->codec_mu, NULL);
    if (open_all(s, o, e) == -1) {
        store_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    store_put_end(s);
    store_read_end(s);
    index_close(s->ix);
    for (size_t i = 0; i < s->n_codecs; i++) {
        codec_free(s->codecs[i]);
    }
    (void)fd_close(&s->packs_fd);
    (void)fd_close(&s->snaps_fd);
    (void)fd_close(&s->dir_fd);
    (void)fd_close(&s->lock_fd); /* and with it go all locks */
    (void)pthread_mutex_destroy(&s->mu);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->claim_mu);
    (void)pthread_mutex_destroy(&s->fd_mu);
    (void)pthread_mutex_destroy(&s->codec_mu);
    free(s->dir);
    free(s);
}

const char *
store_dir(const struct store *s)
{
    return s->dir;
}

int
store_dir_fd(const struct store *s)
{
    return s->dir_fd;
}

struct codec *
store_codec_take(struct store *s)
{
    struct codec *c = NULL;

    (void)pthread_mutex_lock(&s->codec_mu);
    if (s->n_codecs > 0) {
        c = s->codecs[--s->n_codecs];
    }
    (void)pthread_mutex_unlock(&s->codec_mu);
    return c != NULL ? c : codec_new();
}

void
store_codec_give(struct store *s, struct codec *c)
{
    (void)pthread_mutex_lock(&s->codec_mu);
    if (s->n_codecs < CODECS) {
        s->codecs[s->n_codecs++] = c;
        c = NULL;
    }
    (void)pthread_mutex_unlock(&s->codec_mu);
    codec_free(c);
}

int
store_stats(struct store *s, struct store_stats *out, struct err *e)
{
    struct index_totals t;

    if (index_totals(s->ix, &t, e) == -1) {
        return -1;
    }
    (void)pthread_mutex_lock(&s->mu);
    *out = s->stats;
    (void)pthread_mutex_unlock(&s->mu);
    out->n_packs = t.n_packs;
    out->n_chunks = t.n_entries;
    out->raw_bytes = t.raw_bytes;
    out->stored_bytes = t.stored_bytes;
    out->pack_bytes = t.pack_bytes;
    return 0;
}
