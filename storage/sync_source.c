/*
 * Where the sender's chunks come from: a directory that is being built into a tree
 * (and read again where content was not kept), or a store.
 */
#include "storage/sync_internal.h"

#include <stdlib.h>
#include <string.h>

#include "storage/verify.h"

struct codec *
sync_codec_take(struct sync_send *s)
{
    struct codec *c = NULL;

    (void)pthread_mutex_lock(&s->lock);
    if (s->n_codecs > 0) {
        c = s->codecs[--s->n_codecs];
    }
    (void)pthread_mutex_unlock(&s->lock);
    return c != NULL ? c : codec_new();
}

void
sync_codec_give(struct sync_send *s, struct codec *c)
{
    (void)pthread_mutex_lock(&s->lock);
    s->codecs = xrealloc(s->codecs, (s->n_codecs + 1) * sizeof(struct codec *));
    s->codecs[s->n_codecs++] = c;
    (void)pthread_mutex_unlock(&s->lock);
}

/* Before a peer is known nobody takes content off us: beyond the window it is read again.
 */
static bool
has_no_room(const struct sync_send *s, enum store_kind kind)
{
    return kind == STORE_KIND_DATA && s->held_bytes >= s->o.window_bytes && !s->begun;
}

/*
 * Has the receiver surely got it, if it has the base that it is believed to have? Then
 * it is not kept, and read again in the rare case that it is wanted after all.
 */
static bool
is_surely_there(const struct sync_send *s, const struct sha256 *id)
{
    return (s->has_base || !s->begun) && sync_table_find(&s->before, id) != NULL;
}

/* Would the content be kept? If not, it need not be encoded. */
static bool
is_of_use(struct sync_send *s, enum store_kind kind, const struct sha256 *id)
{
    const struct sync_chunk *c;
    bool of_use;

    (void)pthread_mutex_lock(&s->lock);
    c = sync_table_find(&s->chunks, id);
    of_use = !has_no_room(s, kind) && !is_surely_there(s, id) &&
             (c == NULL || (c->stored == NULL && c->state != SYNC_CHUNK_SENT &&
                            c->state != SYNC_CHUNK_THERE));
    (void)pthread_mutex_unlock(&s->lock);
    return of_use;
}

int
sync_content(struct sync_send *s, enum store_kind kind, const struct sha256 *id,
             size_t raw_len, enum store_codec codec, uint8_t *stored, size_t stored_len,
             bool may_wait, struct err *e)
{
    struct sync_chunk *c;
    size_t number;
    bool added;

    (void)pthread_mutex_lock(&s->lock);
    while (!s->abort && stored != NULL && kind == STORE_KIND_DATA &&
           s->held_bytes >= s->o.window_bytes && may_wait && s->begun) {
        (void)pthread_cond_wait(&s->moved, &s->lock);
    }
    if (s->abort) {
        (void)pthread_mutex_unlock(&s->lock);
        free(stored);
        return err_set(e, ERR_BUSY, "the transfer was given up");
    }
    number = sync_table_add(&s->chunks, id, &added);
    c = &s->chunks.v[number];
    c->raw_len = (uint32_t)raw_len;
    if (added) {
        c->known = sync_table_find(&s->before, id) != NULL;
    }
    if (kind == STORE_KIND_META || added) {
        c->kind = (uint8_t)kind; /* equal bytes are one chunk; metadata is kept safer */
    }
    if (stored == NULL || c->stored != NULL || c->state == SYNC_CHUNK_SENT ||
        c->state == SYNC_CHUNK_THERE || has_no_room(s, kind)) {
        free(stored);
    } else {
        c->stored = stored;
        c->stored_len = (uint32_t)stored_len;
        c->codec = (uint8_t)codec;
        s->held_bytes += kind == STORE_KIND_DATA ? stored_len : 0;
        if (c->state == SYNC_CHUNK_WANTED) {
            c->state = SYNC_CHUNK_QUEUED;
            s->n_wanted--;
            sync_numbers_add(&s->to_send, number);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
    return 0;
}

/* ---- a directory ---- */

/* The receiver has the chunk. Lock held. */
static void
note_there(struct sync_send *s, enum store_kind kind, const struct sha256 *id,
           uint32_t raw_len)
{
    bool added;
    size_t number = sync_table_add(&s->chunks, id, &added);
    struct sync_chunk *c = &s->chunks.v[number];

    if (added) {
        c->raw_len = raw_len;
        c->state = SYNC_CHUNK_THERE;
    }
    if (added || kind == STORE_KIND_META) {
        c->kind = (uint8_t)kind;
    }
}

/*
 * Into the receiver's store. Noted all the same: should it miss it after all, it is sent
 * from there.
 */
static int
put_there(struct sync_send *s, enum store_kind kind, struct build_chunk *c, struct err *e)
{
    bool added;
    bool aborted;

    if (store_put(s->o.into, kind, c->data, c->len, &c->id, &added, e) != 0) {
        return -1;
    }
    (void)pthread_mutex_lock(&s->lock);
    note_there(s, kind, &c->id, c->len);
    if (added) {
        s->stats.n_sent++;
        s->stats.sent_bytes += c->len;
    }
    aborted = s->abort;
    (void)pthread_mutex_unlock(&s->lock);
    return aborted ? err_set(e, ERR_BUSY, "the transfer was given up") : 0;
}

static int
put_all_there(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
              struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (put_there(ctx, kind, &chunks[i], e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
put_one(struct sync_send *s, struct codec *codec, enum store_kind kind,
        struct build_chunk *c, struct err *e)
{
    const void *stored;
    size_t stored_len;
    enum store_codec how;

    if (kind == STORE_KIND_DATA) {
        sha256_of(c->data, c->len, &c->id);
    }
    if (!is_of_use(s, kind, &c->id)) {
        return sync_content(s, kind, &c->id, c->len, STORE_CODEC_NONE, NULL, 0, true, e);
    }
    how = codec_encode(codec, CODEC_LEVEL, c->data, c->len, &stored, &stored_len);
    return sync_content(s, kind, &c->id, c->len, how, xmemdup(stored, stored_len),
                        stored_len, true, e);
}

static int
sink_put(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
         struct err *e)
{
    struct sync_send *s = ctx;
    struct codec *codec = sync_codec_take(s);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = put_one(s, codec, kind, &chunks[i], e);
    }
    sync_codec_give(s, codec);
    return rc;
}

/* Lock held. */
static void
note_known(struct sync_send *s, const struct build_known *g)
{
    for (size_t i = 0; i < g->n; i++) {
        bool added;
        size_t number = sync_table_add(&s->chunks, &g->chunks[i].id, &added);

        if (added) {
            s->chunks.v[number].kind = STORE_KIND_DATA;
            s->chunks.v[number].raw_len = g->chunks[i].len;
            s->chunks.v[number].known = true;
        }
    }
}

static int
sink_known(void *ctx, struct build_known *groups, size_t n, struct err *e)
{
    struct sync_send *s = ctx;
    bool aborted;

    (void)pthread_mutex_lock(&s->lock);
    aborted = s->abort;
    for (size_t i = 0; !aborted && i < n; i++) {
        note_known(s, &groups[i]);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return aborted ? err_set(e, ERR_BUSY, "the transfer was given up") : 0;
}

/* What the scan cache knows was there once: the receiver looks, and says if it is not. */
static int
known_there(void *ctx, struct build_known *groups, size_t n, struct err *e)
{
    struct sync_send *s = ctx;
    bool aborted;

    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < groups[i].n; k++) {
            note_there(s, STORE_KIND_DATA, &groups[i].chunks[k].id,
                       groups[i].chunks[k].len);
        }
    }
    aborted = s->abort;
    (void)pthread_mutex_unlock(&s->lock);
    return aborted ? err_set(e, ERR_BUSY, "the transfer was given up") : 0;
}

static void
sink_was(void *ctx, const struct tree_chunk *chunks, size_t n)
{
    struct sync_send *s = ctx;
    bool added;

    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        (void)sync_table_add(&s->before, &chunks[i].id, &added);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static int
make_from_dir(struct sync_send *s, struct sha256 *tree, struct err *e)
{
    struct build_sink over = {
        .ctx = s, .put = sink_put, .known = sink_known, .was = sink_was};
    struct build_sink there = {.ctx = s, .put = put_all_there, .known = known_there};

    if (build_tree(s->root_fd, s->build, s->o.into != NULL ? &there : &over, &s->report,
                   e) != 0) {
        return -1;
    }
    s->has_report = true;
    *tree = s->report.tree;
    return s->o.into != NULL ? store_commit(s->o.into, e) : 0;
}

/* The tree's own chunks are always at hand, or in the store they were put into. */
static int
get_meta(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct sync_send *s = ctx;
    struct codec *codec = sync_codec_take(s);
    struct sync_chunk c = {0};
    const struct sync_chunk *found;
    uint8_t *raw = NULL;
    int rc = -1;

    (void)pthread_mutex_lock(&s->lock);
    found = sync_table_find(&s->chunks, id);
    if (found != NULL) {
        c = *found; /* the table may move; what stored points to does not */
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (c.stored == NULL && s->o.into != NULL) {
        rc = store_get(s->o.into, id, out, e);
        goto out;
    }
    if (c.stored == NULL) {
        err_set(e, ERR_NOT_FOUND, "a part of the tree is not at hand");
        goto out;
    }
    raw = xmalloc(c.raw_len);
    if (codec_decode(codec, (enum store_codec)c.codec, c.stored, c.stored_len, raw,
                     c.raw_len, e) != 0) {
        goto out;
    }
    buf_add(out, raw, c.raw_len);
    rc = 0;

out:
    free(raw);
    sync_codec_give(s, codec);
    return rc;
}

static bool
reread_wanted(void *ctx, const struct tree_chunk *chunk)
{
    struct sync_send *s = ctx;
    const struct sync_chunk *c;
    bool wanted;

    (void)pthread_mutex_lock(&s->lock);
    c = sync_table_find(&s->chunks, &chunk->id);
    wanted = c != NULL && c->state == SYNC_CHUNK_WANTED;
    (void)pthread_mutex_unlock(&s->lock);
    return wanted;
}

static int
reread_emit(void *ctx, const struct build_chunk *chunk, struct err *e)
{
    struct sync_send *s = ctx;
    struct codec *codec = sync_codec_take(s);
    const void *stored;
    size_t stored_len;
    enum store_codec how;
    int rc;

    how = codec_encode(codec, CODEC_LEVEL, chunk->data, chunk->len, &stored, &stored_len);
    rc = sync_content(s, STORE_KIND_DATA, &chunk->id, chunk->len, how,
                      xmemdup(stored, stored_len), stored_len, true, e);
    sync_codec_give(s, codec);
    return rc;
}

/*
 * One whole group at a time: a big file's list of chunks may go on over several groups
 * of the tree, of which only the first holds the entry.
 */
struct whole_group {
    struct tree_entry entry; /* of a big file: a copy, its texts in path and … */
    char *path;
    struct tree_extent *extents;
    struct tree_chunk *chunks;
    size_t n_chunks;
};

static void
whole_group_free(struct whole_group *w)
{
    free(w->path);
    free(w->extents);
    free(w->chunks);
    w->path = NULL;
    w->extents = NULL;
    w->chunks = NULL;
    w->n_chunks = 0;
}

static void
whole_group_begin(struct whole_group *w, const struct tree_entry *entry)
{
    whole_group_free(w);
    w->entry = *entry;
    w->path = xmemdup(entry->path, entry->path_len + 1);
    w->entry.path = w->path;
    w->entry.xattrs = NULL; /* not needed to read content */
    w->entry.n_xattrs = 0;
    w->entry.user = w->entry.group = "";
    if (entry->n_extents != 0) {
        w->extents = xmemdup(entry->extents, entry->n_extents * sizeof *entry->extents);
        w->entry.extents = w->extents;
    }
}

static int
reread_group(struct sync_send *s, struct whole_group *w, const struct tree_group *g,
             struct err *e)
{
    int rc = 0;

    if (!g->more && !g->continues) {
        return g->n_chunks == 0
                   ? 0
                   : build_reread(s->root_fd, g->entries, g->n_entries, g->chunks,
                                  g->n_chunks, reread_wanted, reread_emit, s, e);
    }
    if (!g->continues) {
        whole_group_begin(w, &g->entries[g->n_entries - 1]);
    }
    if (g->n_chunks != 0) {
        w->chunks = xrealloc(w->chunks, (w->n_chunks + g->n_chunks) * sizeof *w->chunks);
        memcpy(w->chunks + w->n_chunks, g->chunks, g->n_chunks * sizeof *g->chunks);
    }
    w->n_chunks += g->n_chunks;
    if (!g->more) {
        rc = build_reread(s->root_fd, &w->entry, 1, w->chunks, w->n_chunks, reread_wanted,
                          reread_emit, s, e);
        whole_group_free(w);
    }
    return rc;
}

static bool
anything_wanted(struct sync_send *s)
{
    bool wanted;

    (void)pthread_mutex_lock(&s->lock);
    wanted = s->n_wanted > 0 && !s->abort;
    (void)pthread_mutex_unlock(&s->lock);
    return wanted;
}

/*
 * Wanted, but not of this tree: content of a file that changed while it was read, and
 * was read again. The tree does without it.
 */
static void
forget_wanted(struct sync_send *s)
{
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->chunks.n; i++) {
        if (s->chunks.v[i].state == SYNC_CHUNK_WANTED) {
            s->chunks.v[i].state = SYNC_CHUNK_THERE;
        }
    }
    s->n_wanted = 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
}

static int
fetch_from_dir(struct sync_send *s, struct err *e)
{
    struct tree_source source = {.ctx = s, .get = get_meta};
    struct tree_reader *r = NULL;
    struct whole_group w = {0};
    const struct tree_group *g;
    int rc = -1;

    if (tree_open(&r, &s->tree, &source, e) != 0) {
        goto out;
    }
    while (anything_wanted(s)) {
        if (tree_next(r, &g, e) != 0) {
            goto out;
        }
        if (g == NULL) {
            forget_wanted(s);
            break;
        }
        if (reread_group(s, &w, g, e) != 0) {
            goto out;
        }
    }
    rc = 0;

out:
    whole_group_free(&w);
    tree_close(r);
    return rc;
}

/* ---- a store ---- */

static int
add_from_store(void *ctx, enum store_kind kind, const struct tree_chunk *chunk,
               struct err *e)
{
    struct sync_send *s = ctx;
    bool aborted;
    bool added;
    size_t number;

    (void)pthread_mutex_lock(&s->lock);
    aborted = s->abort;
    number = sync_table_add(&s->chunks, &chunk->id, &added);
    if (added) {
        s->chunks.v[number].kind = (uint8_t)kind;
        s->chunks.v[number].raw_len = chunk->len;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return aborted ? err_set(e, ERR_BUSY, "the transfer was given up") : 0;
}

static int
make_from_store(struct sync_send *s, struct sha256 *tree, struct err *e)
{
    struct tree_source source = tree_source_store(s->store);

    *tree = s->tree; /* given from the start */
    return s->o.only != NULL
               ? tree_part_walk(tree, &source, s->o.only, add_from_store, s, e)
               : tree_walk_chunks(tree, &source, add_from_store, s, e);
}

/* From chunk *first on, up to n_max of those that are wanted; how many. */
static size_t
list_wanted(struct sync_send *s, size_t *first, size_t n_max, size_t *numbers,
            struct sha256 *ids)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&s->lock);
    for (; *first < s->chunks.n && n < n_max; (*first)++) {
        if (s->chunks.v[*first].state == SYNC_CHUNK_WANTED) {
            numbers[n] = *first;
            ids[n++] = s->chunks.v[*first].id;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

/* A store knows how long its chunks are: what does not fit is refused before any goes. */
static int
size_wanted(struct sync_send *s, struct err *e)
{
    size_t *numbers = xcalloc(SYNC_IDS_PER_FRAME, sizeof *numbers);
    struct sha256 *ids = xcalloc(SYNC_IDS_PER_FRAME, sizeof *ids);
    struct store_loc *locs = xcalloc(SYNC_IDS_PER_FRAME, sizeof *locs);
    size_t first = 0;
    size_t n;
    int rc = 0;

    while (rc == 0 &&
           (n = list_wanted(s, &first, SYNC_IDS_PER_FRAME, numbers, ids)) > 0) {
        rc = store_locate(s->store, ids, n, locs, e);
        (void)pthread_mutex_lock(&s->lock);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            s->chunks.v[numbers[i]].stored_len =
                locs[i].pack == 0 ? 0 : locs[i].stored_len;
        }
        (void)pthread_mutex_unlock(&s->lock);
    }
    free(numbers);
    free(ids);
    free(locs);
    return rc;
}

/* Whenever there is a limit, before the first of what is wanted is fetched. */
static int
size_first(struct sync_send *s, struct err *e)
{
    bool due;

    (void)pthread_mutex_lock(&s->lock);
    due = s->has_room && !s->sized;
    (void)pthread_mutex_unlock(&s->lock);
    if (!due) {
        return 0;
    }
    if (size_wanted(s, e) != 0) {
        return -1;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->sized = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
    return 0;
}

/* The next chunks that are wanted, as far as the window has room; 0: none. */
#define FETCH_BATCH 64

static size_t
take_wanted(struct sync_send *s, size_t numbers[FETCH_BATCH],
            struct sha256 ids[FETCH_BATCH])
{
    size_t n = 0;

    (void)pthread_mutex_lock(&s->lock);
    while (n < FETCH_BATCH && sync_numbers_take(&s->wanted, &numbers[n])) {
        ids[n] = s->chunks.v[numbers[n]].id;
        n++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

static int
fetch_from_store(struct sync_send *s, struct store *from, struct err *e)
{
    size_t numbers[FETCH_BATCH];
    struct sha256 ids[FETCH_BATCH];
    struct store_loc locs[FETCH_BATCH];
    struct buf data = BUF_INIT;
    size_t n;
    int rc = -1;

    while ((n = take_wanted(s, numbers, ids)) > 0) {
        if (store_locate(from, ids, n, locs, e) != 0) {
            goto out;
        }
        store_prefetch(from, locs, n);
        for (size_t i = 0; i < n; i++) {
            enum store_kind kind;

            if (locs[i].pack == 0 && from == s->o.into) {
                continue; /* it was known, and is gone: the directory has it */
            }
            if (locs[i].pack == 0) {
                err_set(e, ERR_CORRUPT,
                        "a chunk of the tree is missing or damaged in the store");
                goto out;
            }
            buf_reset(&data);
            if (store_read_encoded(from, &ids[i], &locs[i], &data, e) != 0) {
                goto out;
            }
            (void)pthread_mutex_lock(&s->lock);
            kind = (enum store_kind)s->chunks.v[numbers[i]].kind;
            (void)pthread_mutex_unlock(&s->lock);
            if (sync_content(s, kind, &ids[i], locs[i].raw_len,
                             (enum store_codec)locs[i].codec,
                             xmemdup(data.data, data.len), data.len, true, e) != 0) {
                goto out;
            }
        }
    }
    rc = 0;

out:
    buf_free(&data);
    return rc;
}

/* ---- the thread ---- */

static void
give_up(struct sync_send *s, const struct err *why)
{
    (void)pthread_mutex_lock(&s->lock);
    sync_send_fail_locked(s, why);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
}

/*
 * Wait until there is something to fetch. A directory is walked anew for each round, so
 * there all answers are waited for first, as they are where room is to be weighed. false:
 * the transfer is over.
 */
static bool
wait_for_work(struct sync_send *s)
{
    bool go_on;

    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        if (s->abort || s->failed || s->done) {
            go_on = false;
            break;
        }
        if (s->n_wanted > 0 &&
            ((s->store != NULL && (!s->has_room || s->sized)) || sync_all_answered(s))) {
            go_on = true;
            break;
        }
        (void)pthread_cond_wait(&s->moved, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return go_on;
}

static int
fetch(struct sync_send *s, struct err *e)
{
    if (s->store != NULL) {
        return size_first(s, e) == 0 ? fetch_from_store(s, s->store, e) : -1;
    }
    if (s->o.into != NULL && fetch_from_store(s, s->o.into, e) != 0) {
        return -1;
    }
    return fetch_from_dir(s, e);
}

/* What of a store cannot be read is named. */
static void
give_up_on(struct sync_send *s, const struct sha256 *tree, struct err *e)
{
    if (s->store != NULL) {
        verify_name_damaged(s->store, tree, s->o.only, e);
    }
    give_up(s, e);
}

void *
sync_source_run(void *sender)
{
    struct sync_send *s = sender;
    struct sha256 tree = {{0}};
    struct err e = {0};

    if ((s->store != NULL ? make_from_store(s, &tree, &e)
                          : make_from_dir(s, &tree, &e)) != 0) {
        if (e.code == ERR_NOT_FOUND) { /* what is asked for is not in it: no damage */
            give_up(s, &e);
        } else {
            give_up_on(s, &tree, &e);
        }
        return NULL;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->tree = tree;
    s->built = true;
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
    while (wait_for_work(s)) {
        if (fetch(s, &e) != 0) {
            give_up_on(s, &tree, &e);
            return NULL;
        }
    }
    return NULL;
}
