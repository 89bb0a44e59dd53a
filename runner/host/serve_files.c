#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/serve_internal.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "storage/beneath.h"
#include "storage/manifest.h"
#include "storage/scan.h"
#include "storage/store.h"
#include "storage/tree.h"

/* Bytes made at once: the connection's pings wait for no longer than that takes. */
#define PIECE_BYTES ((size_t)64 * 1024)
/* Entries of a running job's directory in one group. */
#define GROUP_ENTRIES 256

/*
 * A listing on its way out, made as the channel takes it: the groups of a snapshot's
 * tree, or what a sweep over a running job's directory finds. Nothing of a job's files is
 * read for it, so those entries tell a size and hold no contents.
 */
struct serve_files {
    struct serve *serve;
    struct serve_files *next;
    struct store *store;
    struct tree_reader *reader; /* of a snapshot */
    struct tree_source source;
    int dir_fd;
    struct scan *scan; /* of a job */
    struct channel *channel;
    struct buf piece;
    size_t at; /* of piece, already sent */
    bool ended;
};

static void
files_free(struct serve_files *f)
{
    struct serve_files **at = &f->serve->files;

    while (*at != NULL && *at != f) {
        at = &(*at)->next;
    }
    if (*at == f) {
        *at = f->next;
    }
    channel_free(f->channel);
    tree_close(f->reader);
    store_close(f->store);
    scan_close(f->scan);
    (void)fd_close(&f->dir_fd);
    buf_free(&f->piece);
    free(f);
}

static void
free_later(void *ctx)
{
    files_free(ctx);
}

static void
over(struct serve_files *f)
{
    loop_undefer(f->serve->loop, free_later, f);
    loop_defer(f->serve->loop, free_later, f);
}

/* ---- making it ---- */

static int
add_tree(struct serve_files *f, struct err *e)
{
    const struct tree_group *g = NULL;
    const uint8_t *encoded;
    size_t len;

    if (tree_next(f->reader, &g, e) != 0) {
        return -1;
    }
    if (g == NULL) {
        f->ended = true;
        return 0;
    }
    encoded = tree_encoded(f->reader, &len);
    buf_add(&f->piece, encoded, len);
    return 0;
}

/* What scan told of one entry; path and target are copies in mem. */
static void
fill_entry(const struct serve_files *f, const struct scan_entry *from, struct buf *mem,
           struct tree_entry *to)
{
    char text[TREE_TARGET_MAX_BYTES + 1];
    ssize_t n = -1;

    *to = (struct tree_entry){.path_len = from->path_len,
                              .type = from->type,
                              .damage = from->damage,
                              .mode = from->mode,
                              .uid = from->uid,
                              .gid = from->gid,
                              .user = "",
                              .group = "",
                              .mtime_ns = from->mtime_ns,
                              .dev_major = (uint32_t)major(from->rdev),
                              .dev_minor = (uint32_t)minor(from->rdev)};
    if (from->type == TREE_FILE) {
        to->size = from->size;
        to->sparse = from->size > 0 && from->damage == TREE_WHOLE;
    }
    if (from->type == TREE_SYMLINK) {
        int fd = beneath_open(f->dir_fd, from->path, O_PATH | O_NOFOLLOW, 0);

        n = fd < 0 ? -1 : readlinkat(fd, "", text, TREE_TARGET_MAX_BYTES);
        (void)fd_close(&fd);
        if (n <= 0) {
            to->damage = TREE_VANISHED;
            n = 0;
        }
        to->target_len = (size_t)n;
    }
    buf_add(mem, from->path, from->path_len + 1);
    if (from->type == TREE_SYMLINK) {
        text[n] = '\0';
        buf_add(mem, text, (size_t)n + 1);
    }
}

static int
add_scan(struct serve_files *f, struct err *e)
{
    struct tree_entry entries[GROUP_ENTRIES];
    const struct scan_entry *entry = NULL;
    struct tree_group g = {.entries = entries};
    struct buf mem = BUF_INIT;
    struct buf encoded = BUF_INIT;
    const char *at;
    int rc = -1;

    while (g.n_entries < GROUP_ENTRIES) {
        if (scan_next(f->scan, &entry, e) != 0) {
            goto out;
        }
        if (entry == NULL) {
            f->ended = true;
            break;
        }
        fill_entry(f, entry, &mem, &entries[g.n_entries++]);
    }
    at = (const char *)mem.data;
    for (size_t i = 0; i < g.n_entries; i++) {
        entries[i].path = at;
        at += entries[i].path_len + 1;
        if (entries[i].type == TREE_SYMLINK) {
            entries[i].target = at;
            at += entries[i].target_len + 1;
        }
    }
    if (g.n_entries > 0) {
        tree_group_encode(&g, &encoded);
        buf_add_varint(&f->piece, encoded.len);
        buf_add(&f->piece, encoded.data, encoded.len);
    }
    rc = 0;

out:
    buf_free(&encoded);
    buf_free(&mem);
    return rc;
}

static int
make_piece(struct serve_files *f, struct err *e)
{
    buf_reset(&f->piece);
    f->at = 0;
    while (!f->ended && f->piece.len < PIECE_BYTES) {
        if ((f->reader != NULL ? add_tree(f, e) : add_scan(f, e)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the channel ---- */

static void
push(struct serve_files *f)
{
    struct err e;

    for (;;) {
        f->at += channel_send(f->channel, f->piece.data + f->at, f->piece.len - f->at);
        if (f->at < f->piece.len) {
            return; /* on_writable goes on */
        }
        if (f->ended) {
            channel_send_eof(f->channel);
            return;
        }
        if (make_piece(f, &e) != 0) {
            channel_reset(f->channel, &e);
            over(f);
            return;
        }
    }
}

static void
on_writable(void *ctx, struct channel *c)
{
    (void)c;
    push(ctx);
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    over(ctx);
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    over(ctx);
}

/* ---- opening ---- */

static int
open_snapshot(struct serve_files *f, const char *snapshot, struct err *e)
{
    struct manifest *m = NULL;
    int rc = -1;

    if (workdirs_open_store(f->serve->renter, &f->store, e) == 0 &&
        workdirs_listed_tree(f->store, snapshot, &m, e) == 0) {
        f->source = tree_source_store(f->store);
        rc = tree_open(&f->reader, &m->tree, &f->source, e);
    }
    manifest_free(m);
    return rc;
}

static int
open_job(struct serve_files *f, const char *job, struct err *e)
{
    struct scan_options o = {.everything = true, .n_threads = 1};

    if (workdirs_open_live(f->serve->renter, job, &f->dir_fd, e) != 0) {
        return -1;
    }
    return scan_open(&f->scan, f->dir_fd, &o, e);
}

static int
begin(struct serve_files *f, const struct rec *r, struct err *e)
{
    const char *id = NULL;

    if (rec_has(r, "job")) {
        return rec_need_str(r, "job", &id, e) == 0 && id_check(ID_JOB, id, e) == 0
                   ? open_job(f, id, e)
                   : -1;
    }
    return rec_need_str(r, "snapshot", &id, e) == 0 && id_check(ID_SNAPSHOT, id, e) == 0
               ? open_snapshot(f, id, e)
               : -1;
}

void
serve_files_open(struct serve *s, const struct mux_offer *offer)
{
    static const struct channel_events events = {
        .on_writable = on_writable, .on_reset = on_reset, .on_done = on_done};
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &events};
    struct serve_files *f;
    size_t n = 0;
    struct err e;

    for (f = s->files; f != NULL; f = f->next) {
        n++;
    }
    if (n >= SERVE_GETS_MAX) {
        err_set(&e, ERR_BUSY, "too many listings are made on this connection");
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return;
    }
    f = xcalloc(1, sizeof *f);
    f->serve = s;
    f->dir_fd = -1;
    if (begin(f, offer->rec, &e) != 0) {
        files_free(f);
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return;
    }
    f->next = s->files;
    s->files = f;
    o.ctx = f;
    f->channel = channel_new(&o);
    if (mux_accept(s->mux, offer->stream, f->channel, NULL, &e) != 0) {
        files_free(f);
        return;
    }
    push(f);
}

void
serve_files_free(struct serve *s)
{
    while (s->files != NULL) {
        struct serve_files *f = s->files;

        s->files = f->next;
        loop_undefer(s->loop, free_later, f);
        files_free(f);
    }
}
