#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/serve_internal.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "storage/manifest.h"
#include "storage/store.h"
#include "storage/sync.h"

/*
 * A tree on its way out to a client: a snapshot's, or that of a running job's directory,
 * which is read for it and kept nowhere.
 */
struct serve_get {
    struct serve *serve;
    struct serve_get *next;
    struct store *store; /* of a snapshot */
    int dir_fd;          /* of a job */
    char *path;          /* only this; NULL: all */
    struct build_options build;
    struct sync_send *send;
    struct waker *waker;
    struct channel *channel;
    bool eof_sent;
};

static void
get_free(struct serve_get *g)
{
    struct serve_get **at = &g->serve->gets;

    while (*at != NULL && *at != g) {
        at = &(*at)->next;
    }
    if (*at == g) {
        *at = g->next;
    }
    channel_free(g->channel);
    sync_send_free(g->send); /* its threads are gone then: nobody wakes us any more */
    waker_free(g->waker);
    store_close(g->store);
    (void)fd_close(&g->dir_fd);
    free(g->path);
    free(g);
}

static void
free_later(void *ctx)
{
    get_free(ctx);
}

static void
over(struct serve_get *g)
{
    loop_undefer(g->serve->loop, free_later, g);
    loop_defer(g->serve->loop, free_later, g);
}

static void
push(struct serve_get *g)
{
    const uint8_t *data;
    size_t len;
    struct err e;

    if (channel_is_reset(g->channel)) {
        return;
    }
    while ((data = sync_send_output(g->send, &len)) != NULL && len > 0) {
        size_t n = channel_send(g->channel, data, len);

        sync_send_sent(g->send, n);
        if (n < len) {
            return; /* on_writable goes on */
        }
    }
    switch (sync_send_state(g->send, &e)) {
    case SYNC_DONE:
        if (!g->eof_sent) {
            g->eof_sent = true;
            channel_send_eof(g->channel);
        }
        break;
    case SYNC_FAILED:
        channel_reset(g->channel, &e);
        over(g);
        break;
    case SYNC_RUNNING:
    case SYNC_NONE:
        break;
    }
}

static void
woken(void *ctx)
{
    push(ctx);
}

static void
wake(void *ctx)
{
    struct serve_get *g = ctx;

    waker_wake(g->waker);
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct serve_get *g = ctx;
    struct err e;

    if (sync_send_input(g->send, data, n, &e) != 0) {
        channel_reset(c, &e);
        over(g);
    } else {
        push(g);
    }
    return n;
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
send_snapshot(struct serve_get *g, const char *snapshot, struct err *e)
{
    struct sync_send_options so = {.wake = wake, .wake_ctx = g, .only = g->path};
    struct manifest *m = NULL;
    int rc = -1;

    if (workdirs_open_store(g->serve->renter, &g->store, e) == 0 &&
        workdirs_kept_tree(g->store, snapshot, &m, e) == 0) {
        rc = sync_send_store(&g->send, g->store, &m->tree, &so, e);
    }
    manifest_free(m);
    return rc;
}

/* The object lies in the directory that is read; nothing else of that is. */
static int
open_job_dir(struct serve_get *g, const char *job, const char **name, struct err *e)
{
    char *parent = NULL;
    int top = -1;
    struct stat st;
    int rc = workdirs_open_live(g->serve->renter, job, &top, e);

    *name = NULL;
    if (rc != 0 || g->path == NULL) {
        g->dir_fd = top;
        return rc;
    }
    parent = path_parent(g->path);
    *name = strrchr(g->path, '/') != NULL ? strrchr(g->path, '/') + 1 : g->path;
    rc = strcmp(parent, ".") == 0
             ? (g->dir_fd = top, top = -1, 0)
             : file_open_beneath(top, parent, O_RDONLY | O_DIRECTORY, 0, &g->dir_fd, e);
    if (rc == 0 && fstatat(g->dir_fd, *name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        rc = errno == ENOENT
                 ? err_set(e, ERR_NOT_FOUND, "job %s has no '%s'", job, g->path)
                 : err_set_sys(e, errno, "cannot look at '%s' of job %s", g->path, job);
    }
    (void)fd_close(&top);
    free(parent);
    return rc;
}

static int
send_job(struct serve_get *g, const char *job, struct err *e)
{
    struct sync_send_options so = {.wake = wake, .wake_ctx = g};
    const char *name;

    if (open_job_dir(g, job, &name, e) != 0) {
        return -1;
    }
    g->build = (struct build_options){.policy = BUILD_SNAPSHOT,
                                      .scan = {.everything = true, .only_name = name},
                                      .live = true};
    return sync_send_dir(&g->send, g->dir_fd, &g->build, &so, e);
}

static int
begin(struct serve_get *g, const struct rec *r, struct err *e)
{
    const char *path = rec_get(r, "path");
    const char *id = NULL;
    int64_t room_bytes;
    int rc;

    if (rec_opt_int(r, "room_bytes", 0, INT64_MAX, -1, &room_bytes, e) != 0) {
        return -1;
    }
    if (path != NULL && path[0] != '\0') {
        if (!tree_path_ok(path, strlen(path))) {
            return err_set(e, ERR_INVALID, "'%s' is no path in a directory", path);
        }
        g->path = xstrdup(path);
    }
    if (waker_new(&g->waker, g->serve->loop, woken, g, e) != 0) {
        return -1;
    }
    waker_set_idle(g->waker, true);
    if (rec_has(r, "job")) {
        rc = rec_need_str(r, "job", &id, e) == 0 && id_check(ID_JOB, id, e) == 0
                 ? send_job(g, id, e)
                 : -1;
    } else {
        rc = rec_need_str(r, "snapshot", &id, e) == 0 && id_check(ID_SNAPSHOT, id, e) == 0
                 ? send_snapshot(g, id, e)
                 : -1;
    }
    if (rc == 0 && room_bytes >= 0) {
        sync_send_room(g->send, (uint64_t)room_bytes);
    }
    if (rc == 0) {
        sync_send_begin(g->send, NULL);
    }
    return rc;
}

void
serve_get_open(struct serve *s, const struct mux_offer *offer)
{
    static const struct channel_events events = {.on_data = on_data,
                                                 .on_writable = on_writable,
                                                 .on_reset = on_reset,
                                                 .on_done = on_done};
    struct serve_get *g;
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &events};
    size_t n = 0;
    struct err e;

    for (g = s->gets; g != NULL; g = g->next) {
        n++;
    }
    if (n >= SERVE_GETS_MAX) {
        err_set(&e, ERR_BUSY, "too many trees are fetched on this connection");
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return;
    }
    g = xcalloc(1, sizeof *g);
    g->serve = s;
    g->dir_fd = -1;
    if (begin(g, offer->rec, &e) == 0) {
        g->next = s->gets;
        s->gets = g;
        o.ctx = g;
        g->channel = channel_new(&o);
        if (mux_accept(s->mux, offer->stream, g->channel, NULL, &e) != 0) {
            get_free(g);
            return;
        }
        push(g);
        return;
    }
    get_free(g);
    mux_refuse(s->mux, offer->stream, &e, NULL);
}

void
serve_gets_free(struct serve *s)
{
    while (s->gets != NULL) {
        struct serve_get *g = s->gets;

        s->gets = g->next;
        loop_undefer(s->loop, free_later, g);
        get_free(g);
    }
}
