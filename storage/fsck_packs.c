#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/codec.h"
#include "storage/fsck_internal.h"
#include "storage/packs.h"

/* Rows of the index looked at together. */
#define ROWS_BATCH ((size_t)8192)

/* What reading a pack through has shown. */
struct findings {
    struct pack_list entries;
    bool whole;         /* table and headers are as they should be */
    uint64_t n_scarred; /* entries with damage, whether or not another copy helps */
};

/* How long a pack is may be what is damaged. */
static void
tell_place(const struct fsck *f, const struct fsck_pack *p, uint64_t end)
{
    fsck_care(f, CARE_PACKS, f->done_bytes + (end < p->row.bytes ? end : p->row.bytes),
              f->all_bytes);
}

/* Read every entry; with_index: and see whether the index says the same of each. */
static int
read_through(struct fsck *f, struct fsck_pack *p, int fd, struct findings *fi,
             struct err *e)
{
    struct codec *c = store_codec_take(f->s);
    int rc = -1;

    for (size_t i = 0; i < fi->entries.n; i++) {
        const struct pack_entry *en = &fi->entries.v[i];
        const uint8_t *data;
        struct store_loc loc;
        uint64_t gen;
        bool scarred = false;
        struct err why;

        if (packs_fetch(fd, en, c, &data, &scarred, &why) == -1) {
            if (!pack_is_damage(&why)) {
                *e = why;
                goto out;
            }
            scarred = true;
        }
        fi->n_scarred += scarred ? 1 : 0;
        f->r->bytes += en->stored_len;
        tell_place(f, p, (uint64_t)en->offset + en->stored_len);
        if (en->second) {
            continue;
        }
        f->r->n_chunks++;
        if (index_row(f->s->ix, &en->id, &loc, &gen, e) == -1) {
            goto out;
        }
        if (loc.pack == p->row.no && loc.offset == en->offset &&
            loc.stored_len == en->stored_len && loc.raw_len == en->raw_len &&
            loc.codec == en->codec) {
            p->n_rows++;
        } else if (loc.pack == 0 && !scarred) {
            fsck_say(f, "the index lacks a chunk that is in a pack");
            f->r->n_index_errors++;
        }
    }
    rc = 0;

out:
    store_codec_give(f->s, c);
    return rc;
}

/* The rows that the new pack's entries get, and of those that are lost. */
static int
swap_rows(struct fsck *f, const struct fsck_pack *p, const struct pack_writer *w,
          const struct pack_list *bad, struct err *e)
{
    struct index_pack fresh = {w->name, w->entries.v, w->entries.n, w->end};
    struct index_moved *moved = xcalloc(w->entries.n, sizeof *moved);
    struct index_dead *dead = xcalloc(bad->n, sizeof *dead);
    struct index_swap sw = {.old = &p->row.no,
                            .n_old = 1,
                            .fresh = &fresh,
                            .n_fresh = w->entries.n > 0 ? 1 : 0,
                            .moved = moved,
                            .dead = dead,
                            .n_dead = bad->n,
                            .bad_why = "fsck: the stored bytes are not the chunk"};
    bool done;
    int rc;

    for (size_t i = 0; i < w->entries.n; i++) {
        if (!w->entries.v[i].second) {
            moved[sw.n_moved].en = w->entries.v[i];
            moved[sw.n_moved].from = p->row.no;
            sw.n_moved++;
        }
    }
    for (size_t i = 0; i < bad->n; i++) {
        dead[i] = (struct index_dead){bad->v[i].id, p->row.no};
    }
    rc = index_swap(f->s->ix, &sw, &done, e);
    free(moved);
    free(dead);
    return rc;
}

/* Count which of the chunks that are bad here are not sound elsewhere. */
static int
count_lost(struct fsck *f, const struct fsck_pack *p, const struct pack_list *bad,
           uint64_t *n_lost, struct err *e)
{
    *n_lost = 0;
    for (size_t i = 0; i < bad->n; i++) {
        struct store_loc loc;
        uint64_t gen;

        if (index_row(f->s->ix, &bad->v[i].id, &loc, &gen, e) == -1) {
            return -1;
        }
        *n_lost += loc.pack == p->row.no || loc.pack == 0 ? 1 : 0;
    }
    return 0;
}

/* Is there an entry of that chunk where its row says? */
static bool
is_listed(const struct pack_list *l, const struct pack_entry *en)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].offset == en->offset && sha256_equal(&l->v[i].id, &en->id)) {
            return true;
        }
    }
    return false;
}

static int
add_row(struct fsck *f, const struct fsck_pack *p, const struct sha256 *id,
        struct pack_list *out, struct err *e)
{
    struct pack_entry en = {.id = *id, .kind = STORE_KIND_DATA};
    struct store_loc loc;
    uint64_t gen;

    if (index_row(f->s->ix, id, &loc, &gen, e) == -1) {
        return -1;
    }
    if (loc.pack != p->row.no || loc.offset > PACK_FILE_MAX ||
        !codec_possible((enum store_codec)loc.codec, loc.raw_len, loc.stored_len)) {
        return 0;
    }
    en.offset = (uint32_t)loc.offset;
    en.stored_len = loc.stored_len;
    en.raw_len = loc.raw_len;
    en.codec = loc.codec;
    if (!is_listed(out, &en)) {
        pack_list_add(out, &en);
    }
    return 0;
}

/*
 * What the index says is in the pack, too: where its table cannot be read and an entry's
 * header is damaged, nothing else knows of the entry.
 */
static int
add_rows(struct fsck *f, const struct fsck_pack *p, struct pack_list *out, struct err *e)
{
    struct index_row *rows = xmalloc(ROWS_BATCH * sizeof *rows);
    struct sha256 after = {{0}};
    size_t n = ROWS_BATCH;
    int rc = 0;

    while (n == ROWS_BATCH && rc == 0) {
        rc = index_rows_after(f->s->ix, &after, ROWS_BATCH, rows, &n, e);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            if (rows[i].pack == p->row.no) {
                rc = add_row(f, p, &rows[i].id, out, e);
            }
        }
        if (n > 0) {
            after = rows[n - 1].id;
        }
    }
    free(rows);
    return rc;
}

/* Write the pack anew without what is damaged; the old file goes to bad/. */
static int
mend(struct fsck *f, struct fsck_pack *p, int fd, struct findings *fi, struct err *e)
{
    struct pack_list bad = {0};
    struct pack_writer *w = NULL;
    uint64_t n_scarred;
    uint64_t n_lost;
    bool keep = false;
    int rc = -1;

    if (add_rows(f, p, &fi->entries, e) == -1 ||
        pack_create(&w, f->s->packs_fd, e) == -1 ||
        packs_copy_good(fd, &fi->entries, w, &bad, &n_scarred, e) == -1 ||
        count_lost(f, p, &bad, &n_lost, e) == -1 || pack_seal(w, e) == -1) {
        goto out;
    }
    if (fsync(f->s->packs_fd) == -1) {
        err_set_sys(e, errno, "cannot sync '%s/packs'", f->s->dir);
        goto out;
    }
    keep = w->entries.n > 0;
    if (swap_rows(f, p, w, &bad, e) == -1 ||
        packs_put_away(f->s->dir_fd, f->s->packs_fd, &p->row.name, e) == -1) {
        goto out;
    }
    f->r->n_bad_chunks += n_lost;
    f->r->n_healed += n_scarred - bad.n;
    p->mended = true;
    fsck_say(f, "a damaged pack was written anew: %" PRIu64 " of its chunks are lost",
             n_lost);
    rc = 0;

out:
    pack_writer_free(w, f->s->packs_fd, !keep);
    pack_list_free(&bad);
    return rc;
}

/* What gc and the sizes that are told go by. */
static int
check_row(struct fsck *f, const struct fsck_pack *p, int fd, const struct pack_list *list,
          const char *file, struct err *e)
{
    struct pack_sums sums = pack_sums(list->v, list->n);
    struct stat st;

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot stat pack '%s'", file);
    }
    if ((uint64_t)st.st_size != p->row.bytes || sums.n != p->row.sums.n ||
        sums.raw != p->row.sums.raw || sums.stored != p->row.sums.stored) {
        fsck_say(f, "the index is wrong about the size of pack %s", file);
        f->r->n_index_errors++;
    }
    return 0;
}

static int
check_pack(struct fsck *f, struct fsck_pack *p, struct err *e)
{
    struct findings fi = {0};
    char file[PACK_FILE_NAME_BYTES];
    int fd = -1;
    int rc = -1;

    pack_file_name(&p->row.name, file);
    if (pack_open(f->s->packs_fd, &p->row.name, &fd, e) == -1) {
        if (e->code != ERR_NOT_FOUND) {
            return -1;
        }
        fsck_say(f, "pack %s is missing", file);
        f->r->n_bad_packs++;
        f->r->n_index_errors++;
        return 0;
    }
    if (packs_entries(fd, &p->row.name, &fi.entries, &fi.whole, e) == -1 ||
        read_through(f, p, fd, &fi, e) == -1) {
        goto out;
    }
    if (fi.whole && fi.n_scarred == 0) {
        rc = check_row(f, p, fd, &fi.entries, file, e);
    } else {
        rc = 0;
        if (fi.whole) {
            fsck_say(f, "pack %s is damaged: %" PRIu64 " of its entries", file,
                     fi.n_scarred);
        } else {
            fsck_say(f,
                     "pack %s is damaged: %" PRIu64
                     " of its entries, and its table or headers",
                     file, fi.n_scarred);
        }
        f->r->n_bad_packs++;
        if (f->o->check_only) {
            f->r->n_bad_chunks += fi.n_scarred;
        } else {
            rc = mend(f, p, fd, &fi, e);
        }
    }

out:
    pack_list_free(&fi.entries);
    (void)fd_close(&fd);
    return rc;
}

int
fsck_packs(struct fsck *f, struct err *e)
{
    struct index_pack_row *rows;

    if (index_packs(f->s->ix, &rows, &f->n_packs, e) == -1) {
        return -1;
    }
    free(f->packs);
    f->all_bytes = 0;
    f->done_bytes = 0;
    f->packs = xcalloc(f->n_packs, sizeof *f->packs);
    for (size_t i = 0; i < f->n_packs; i++) {
        f->packs[i].row = rows[i];
        f->all_bytes += rows[i].bytes;
    }
    free(rows);
    for (size_t i = 0; i < f->n_packs; i++) {
        f->r->n_packs++;
        if (check_pack(f, &f->packs[i], e) == -1) {
            return -1;
        }
        f->done_bytes += f->packs[i].row.bytes;
        fsck_care(f, CARE_PACKS, f->done_bytes, f->all_bytes);
    }
    return 0;
}
