#include "storage/rebuild.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/codec.h"
#include "storage/index_bulk.h"
#include "storage/packs.h"
#include "storage/store_internal.h"

#define INDEX_NAME "index.db"

struct rebuild {
    const char *dir;
    int dir_fd;
    int packs_fd;
    struct index *ix;
    struct index_bulk *bulk;
    struct codec *codec;
    struct rebuild_result result;
};

static int
add_table(struct rebuild *r, const struct pack_name *name, int fd,
          const struct pack_list *list, struct err *e)
{
    struct index_pack p = {.name = *name, .entries = list->v, .n_entries = list->n};
    struct stat st;

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot stat a pack");
    }
    p.bytes = (uint64_t)st.st_size;
    r->result.n_packs++;
    return index_bulk_add(r->bulk, &p, e);
}

/* Take over what is good in a pack without a sound table, and put the file away. */
static int
add_salvaged(struct rebuild *r, const struct pack_name *name, struct err *e)
{
    struct packs_salvage sv = {0};
    struct pack_list list = {0};
    int fd = -1;
    int rc = -1;

    r->result.n_salvaged++;
    if (packs_salvage(r->dir_fd, r->packs_fd, name, &sv, e) == -1) {
        return -1;
    }
    if (!sv.made) {
        return 0;
    }
    if (pack_open(r->packs_fd, &sv.new_name, &fd, e) == -1 ||
        pack_read_table(fd, &list, e) == -1 ||
        add_table(r, &sv.new_name, fd, &list, e) == -1) {
        goto out;
    }
    rc = 0;

out:
    pack_list_free(&list);
    (void)fd_close(&fd);
    return rc;
}

static int
add_pack(struct rebuild *r, const struct pack_name *name, struct err *e)
{
    struct pack_list list = {0};
    int fd = -1;
    int rc = -1;

    if (pack_open(r->packs_fd, name, &fd, e) == -1) {
        return -1;
    }
    if (pack_read_table(fd, &list, e) == 0) {
        rc = add_table(r, name, fd, &list, e);
    } else if (pack_is_damage(e)) {
        rc = add_salvaged(r, name, e);
    }
    pack_list_free(&list);
    (void)fd_close(&fd);
    return rc;
}

/* A chunk is in two packs: of a damaged one that was put again only the second is good.
 */
static bool
is_sound(void *arg, const struct pack_name *pack, const struct pack_entry *en)
{
    struct rebuild *r = arg;
    const uint8_t *data;
    struct err ignored;
    bool scarred;
    bool sound;
    int fd = -1;

    if (pack_open(r->packs_fd, pack, &fd, &ignored) == -1) {
        return false;
    }
    if (r->codec == NULL) {
        r->codec = codec_new();
    }
    sound = packs_fetch(fd, en, r->codec, &data, &scarred, &ignored) == 0;
    (void)fd_close(&fd);
    return sound;
}

static int
fill(struct rebuild *r, struct err *e)
{
    struct packs_names names = {0};
    int rc = -1;

    if (packs_list(r->packs_fd, &names, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < names.n; i++) {
        if (add_pack(r, &names.v[i], e) == -1) {
            goto out;
        }
    }
    rc = index_bulk_finish(r->bulk, is_sound, r, &r->result.n_chunks, e);

out:
    free(names.v);
    return rc;
}

static int
drop(const struct rebuild *r, const char *name, struct err *e)
{
    if (unlinkat(r->dir_fd, name, 0) == -1 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove '%s/%s'", r->dir, name);
    }
    return 0;
}

static int
sync_dir(const struct rebuild *r, struct err *e)
{
    return fsync(r->dir_fd) == 0 ? 0 : err_set_sys(e, errno, "cannot sync '%s'", r->dir);
}

/*
 * Put the new index in the old one's place. The old journal must be gone, durably,
 * before the new file has the name: SQLite would play it back into the new one.
 */
static int
install(const struct rebuild *r, struct err *e)
{
    if (drop(r, INDEX_NAME, e) == -1 || drop(r, INDEX_NAME "-journal", e) == -1 ||
        sync_dir(r, e) == -1) {
        return -1;
    }
    if (renameat(r->dir_fd, REBUILD_NEW_FILE, r->dir_fd, INDEX_NAME) == -1) {
        return err_set_sys(e, errno, "cannot rename '%s/%s'", r->dir, REBUILD_NEW_FILE);
    }
    if (drop(r, REBUILD_NEW_FILE "-journal", e) == -1) {
        return -1;
    }
    return sync_dir(r, e);
}

static int
open_dirs(struct rebuild *r, struct err *e)
{
    r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->dir_fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s'", r->dir);
    }
    r->packs_fd = openat(r->dir_fd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->packs_fd == -1) {
        return err_set_sys(e, errno, "cannot open '%s/packs'", r->dir);
    }
    return 0;
}

int
rebuild_index(const char *dir, struct rebuild_result *out, struct err *e)
{
    struct rebuild r = {.dir = dir, .dir_fd = -1, .packs_fd = -1};
    char *path = path_join(dir, REBUILD_NEW_FILE);
    int rc = -1;

    if (open_dirs(&r, e) == -1 || drop(&r, REBUILD_NEW_FILE, e) == -1 ||
        drop(&r, REBUILD_NEW_FILE "-journal", e) == -1 ||
        index_open(&r.ix, path, true, e) == -1 ||
        index_bulk_open(&r.bulk, r.ix, r.dir_fd, e) == -1 || fill(&r, e) == -1) {
        goto out;
    }
    index_bulk_close(r.bulk);
    r.bulk = NULL;
    index_close(r.ix);
    r.ix = NULL;
    if (install(&r, e) == -1) {
        goto out;
    }
    if (out != NULL) {
        *out = r.result;
    }
    rc = 0;

out:
    codec_free(r.codec);
    index_bulk_close(r.bulk);
    index_close(r.ix);
    (void)fd_close(&r.packs_fd);
    (void)fd_close(&r.dir_fd);
    free(path);
    return rc == -1 ? err_wrap(e, "rebuilding the index") : 0;
}

int
store_rebuild(const char *dir, struct rebuild_result *out, struct err *e)
{
    char *path = path_join(dir, "lock");
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int rc = -1;

    free(path);
    if (fd == -1) {
        return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "there is no store '%s'", dir)
                               : err_set_sys(e, errno, "cannot open '%s/lock'", dir);
    }
    if (store_lock(fd, STORE_LOCK_ALL, true, false, e) == 0) {
        rc = rebuild_index(dir, out, e);
    }
    (void)fd_close(&fd);
    return rc;
}
