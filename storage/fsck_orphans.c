#include <stdlib.h>

#include "base/file.h"
#include "storage/codec.h"
#include "storage/fsck_internal.h"
#include "storage/gc_internal.h"
#include "storage/packs.h"

/*
 * Packs that the index does not know. Most were left by a writer that died: gc removes
 * them. But the index may have forgotten one that is needed, and one that cannot be read
 * through keeps gc from telling which it is.
 */

struct orphans {
    struct fsck *f;
    struct live lacking; /* sound chunks in them that the index does not have at all */
    bool needed;         /* a snapshot that is kept needs one of these */
};

/* One entry of an orphan; *sound: its bytes are the chunk. */
static int
look_at_entry(struct orphans *o, int fd, const struct pack_entry *en, struct codec *c,
              bool *sound, struct err *e)
{
    const uint8_t *data;
    struct store_loc loc;
    uint64_t gen;
    struct err why;
    bool scarred;

    *sound = packs_fetch(fd, en, c, &data, &scarred, &why) == 0;
    if (!*sound) {
        if (pack_is_damage(&why)) {
            return 0;
        }
        *e = why;
        return -1;
    }
    if (index_row(o->f->s->ix, &en->id, &loc, &gen, e) == -1) {
        return -1;
    }
    if (loc.pack == 0) {
        live_add(&o->lacking, &en->id);
    }
    return 0;
}

/* Bytes known to be bad are nothing that the index lacks. */
static int
add_lacking(struct orphans *o, int fd, const struct pack_name *name, bool *damaged,
            struct err *e)
{
    struct codec *c = store_codec_take(o->f->s);
    struct pack_list list = {0};
    bool whole;
    int rc = packs_entries(fd, name, &list, &whole, e);

    *damaged = false;
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        bool sound;

        rc = look_at_entry(o, fd, &list.v[i], c, &sound, e);
        *damaged = *damaged || !sound;
    }
    pack_list_free(&list);
    store_codec_give(o->f->s, c);
    return rc;
}

/* What is sound of it is written anew, and it goes to bad/: it keeps gc waiting no more.
 */
static int
salvage(struct orphans *o, const struct pack_name *name, struct err *e)
{
    struct fsck *f = o->f;
    struct packs_salvage sv = {.made = false};
    struct err why;
    bool damaged;
    int fd = -1;
    int rc = 0;

    if (packs_salvage(f->s->dir_fd, f->s->packs_fd, name, &sv, &why) == -1) {
        if (why.code == ERR_CORRUPT) { /* none of ours: nothing can be told of it */
            return packs_put_away(f->s->dir_fd, f->s->packs_fd, name, e);
        }
        *e = why;
        return -1;
    }
    if (sv.made) {
        rc = pack_open(f->s->packs_fd, &sv.new_name, &fd, e) == -1
                 ? -1
                 : add_lacking(o, fd, &sv.new_name, &damaged, e);
        (void)fd_close(&fd);
    }
    return rc;
}

/*
 * Its lock is held, and the index does not know it. With bytes known to be bad it goes to
 * bad/: a rebuild would believe its table, and gc that what is claimed of it is here
 * alone.
 */
static int
look_into(struct orphans *o, const struct pack_name *name, int fd, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];
    bool damaged = true;
    struct err why;

    pack_file_name(name, file);
    if (pack_check_readable(fd, &why) == -1) {
        if (!pack_is_damage(&why)) {
            *e = why;
            return -1;
        }
        err_wrap(&why, "pack %s, which the index does not know, cannot be read", file);
        fsck_tell(o->f, &why);
    } else if (add_lacking(o, fd, name, &damaged, e) == -1) {
        return -1;
    } else if (damaged) {
        fsck_say(o->f, "pack %s, which the index does not know, is damaged", file);
    }
    if (!damaged) {
        return 0;
    }
    o->f->r->n_bad_packs++;
    return o->f->o->check_only ? 0 : salvage(o, name, e);
}

static int
look_at(struct orphans *o, const struct pack_name *name, struct err *e)
{
    uint32_t no = 0;
    int fd = -1;
    int rc;

    if (packs_lock(o->f->s->packs_fd, name, &fd, e) == -1) {
        return -1;
    }
    if (fd == -1) {
        return 0; /* its writer lives */
    }
    /* The lock is given up only after the index knows the pack: ask once more. */
    rc = index_pack_no(o->f->s->ix, name, &no, e);
    if (rc == 0 && no == 0) {
        rc = look_into(o, name, fd, e);
    }
    (void)fd_close(&fd);
    return rc;
}

static int
look_at_all(struct orphans *o, struct err *e)
{
    struct packs_names names;
    int rc = packs_list(o->f->s->packs_fd, &names, e);

    if (rc == -1) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        uint32_t no;

        rc = index_pack_no(o->f->s->ix, &names.v[i], &no, e);
        if (rc == 0 && no == 0) {
            rc = look_at(o, &names.v[i], e);
        }
    }
    free(names.v);
    return rc;
}

static int
note_needed(void *arg, const struct sha256 *id, struct err *e)
{
    struct orphans *o = arg;

    (void)e;
    o->needed = o->needed || live_has(&o->lacking, id);
    return 0;
}

/* A tree that cannot be walked may lack what lies there. */
static int
ask_snap(struct orphans *o, const char *id, struct err *e)
{
    static const struct sha256 none;
    struct manifest *m = NULL;
    struct err why;
    bool gone;

    if (snap_is_gone(o->f->s, id, &gone, e) == -1) {
        return -1;
    }
    if (gone || manifest_read(o->f->s, id, &m, &why) == -1) {
        return 0;
    }
    if (!sha256_equal(&m->tree, &none) &&
        o->f->o->walk(o->f->s, &m->tree, note_needed, o, &why) == -1) {
        o->needed = true;
    }
    manifest_free(m);
    return 0;
}

static int
ask_snaps(struct orphans *o, struct err *e)
{
    struct snap_ids ids;
    int rc = snap_ids(o->f->s, &ids, e);

    if (rc == -1) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && !o->needed && i < ids.n; i++) {
        rc = ask_snap(o, ids.v[i], e);
    }
    free(ids.v);
    return rc;
}

int
fsck_orphans(struct fsck *f, struct err *e)
{
    struct orphans o = {.f = f};
    int rc = look_at_all(&o, e);

    live_sort(&o.lacking);
    if (rc == 0 && o.lacking.n > 0) {
        rc = ask_snaps(&o, e);
    }
    if (rc == 0 && o.needed) {
        fsck_say(f, "the index has forgotten a pack that is needed");
        f->r->n_index_errors++;
    }
    live_free(&o.lacking);
    return rc;
}
