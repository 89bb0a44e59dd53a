#include "runner/client/ship.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/git_config.h"
#include "runner/client/room.h"
#include "runner/client/stall.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/mux.h"

struct ship {
    struct client *client;
    struct ship_options o;
    char *dir;
    char **with;
    char *cache;
    int root_fd;
    struct store *store; /* instead of root_fd */
    struct sha256 stored_tree;
    struct buf manifest;
    struct buf user_rules; /* git's, for all repositories */
    struct build_options build;
    struct sync_send *send;
    struct waker *waker;
    struct channel *channel;
    struct stall *stall;
    struct session *to; /* the last one sent to */
    struct conn *conn;  /* and the connection, likewise; while sending */
    struct sha256 tree; /* as it was first built */
    bool has_tree;
    char *base_path; /* where the tree last sent to this host is noted */
    bool sending;
    bool done;
    bool failed;
    bool changed;     /* and that is why it failed */
    bool put_off;     /* or it did since the host was busy */
    bool fresh;       /* send has not begun with any host */
    struct room room; /* as the host said */
    struct err why;
    _Atomic uint64_t n_entries;
    _Atomic uint64_t n_bytes;
    _Atomic uint64_t n_before;
};

static void pump(struct ship *s);

/* ---- notes on what a host has ---- */

char *
ship_cache_path(const struct home *home, const char *dir)
{
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];

    sha256_of(dir, strlen(dir), &h);
    sha256_format(&h, hex);
    hex[32] = '\0';
    return home_path(home, "scan", hex);
}

static bool
load_base(const struct ship *s, struct sha256 *base)
{
    struct buf b = BUF_INIT;
    struct err e;
    bool ok = s->base_path != NULL && file_read(s->base_path, 256, &b, &e) == 0 &&
              b.len == SHA256_HEX_LEN &&
              hex_parse(buf_str(&b), b.len, base->b, SHA256_LEN);

    buf_free(&b);
    return ok;
}

/* A hint only: a wrong one costs a round trip, so nothing is synced. */
static void
save_base(const struct ship *s, const struct sha256 *tree)
{
    char hex[SHA256_HEX_LEN + 1];
    char *tmp = xasprintf("%s.%ld.tmp", s->base_path, (long)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    sha256_format(tree, hex);
    if (fd != -1) {
        bool ok = fd_write_all(fd, hex, SHA256_HEX_LEN) == 0;

        ok = fd_close(&fd) == 0 && ok;
        if (!ok || rename(tmp, s->base_path) == -1) {
            (void)unlink(tmp);
        }
    }
    free(tmp);
}

/* ---- the channel ---- */

static void
tell(struct ship *s)
{
    if (s->o.changed != NULL) {
        s->o.changed(s->o.ctx);
    }
}

static void
fail(struct ship *s, const struct err *why)
{
    s->failed = true;
    s->sending = false;
    s->why = *why;
    stall_watch(s->stall, NULL);
    tell(s);
}

/* For a cause of our own: the host must not wait for the rest, nor a job there. */
static void
give_up(struct ship *s, const struct err *why)
{
    s->sending = false; /* the reset is ours */
    channel_reset(s->channel, why);
    fail(s, why);
}

static void
on_silence(void *ctx)
{
    struct ship *s = ctx;
    struct err e;

    stall_error(session_host(s->to)->name, &e);
    give_up(s, &e);
}

static int
owes_answer(void *ctx)
{
    const struct ship *s = ctx;

    return sync_send_awaits_answer(s->send) ? 1
           : sync_send_awaits_end(s->send)  ? STALL_SLOW
                                            : 0;
}

static const struct stall_events stall_events = {.over = on_silence, .owes = owes_answer};

/*
 * After a cut it was read again, and is not what was asked for by the first one's name.
 * No need to send the rest, over a link that is cut again perhaps.
 */
static bool
is_another(struct ship *s)
{
    const struct build_report *r;
    struct err e;

    if (!s->has_tree || sync_send_built(s->send, &r, &e) != 0 || r == NULL ||
        sha256_equal(&s->tree, &r->tree)) {
        return false;
    }
    s->changed = true;
    build_set_changed(r->newest[0] != '\0' ? r->newest : s->dir, &e);
    give_up(s, &e);
    return true;
}

static void
finish(struct ship *s)
{
    const struct build_report *r;
    struct err e;

    channel_send_eof(s->channel);
    if (sync_send_built(s->send, &r, &e) == 0 && r != NULL && s->base_path != NULL) {
        save_base(s, &r->tree);
    }
    s->done = true;
    s->sending = false;
    stall_watch(s->stall, NULL);
    tell(s);
}

static void
pump(struct ship *s)
{
    struct err e;
    size_t len;
    const uint8_t *data;

    if (!s->sending || is_another(s)) {
        return;
    }
    while ((data = sync_send_output(s->send, &len)) != NULL && len > 0) {
        size_t n = channel_send(s->channel, data, len);

        sync_send_sent(s->send, n);
        if (n < len) {
            break;
        }
    }
    switch (sync_send_state(s->send, &e)) {
    case SYNC_DONE:
        finish(s);
        break;
    case SYNC_FAILED:
        /* What the host says comes by sync_send_input: this is of reading here. */
        s->changed = s->store == NULL && e.code == ERR_BUSY;
        if (e.code == ERR_SPACE && s->room.limited) {
            room_add_limit(&s->room, session_host(s->to)->name, &e);
        }
        give_up(s, &e);
        break;
    case SYNC_NONE:
    case SYNC_RUNNING:
        break;
    }
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct ship *s = ctx;
    struct err e;

    (void)c;
    if (s->sending) {
        stall_took(s->stall, data, n);
        if (sync_send_input(s->send, data, n, &e) != 0) {
            fail(s, &e);
        } else {
            pump(s);
        }
    }
    return n;
}

static void
on_writable(void *ctx, struct channel *c)
{
    (void)c;
    pump(ctx);
}

/* Where the host has a quota for us, or little room, it says how much is left. */
static void
on_accepted(void *ctx, struct channel *c, const struct rec *rec)
{
    struct ship *s = ctx;

    (void)c;
    if (s->sending) {
        room_take(&s->room, rec);
        if (s->room.limited) {
            sync_send_room(s->send, s->room.left_bytes);
        }
    }
}

/* The link is gone; another attempt is the caller's to begin. */
static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct ship *s = ctx;

    (void)c;
    (void)why;
    s->sending = false;
    stall_watch(s->stall, NULL);
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct ship *s = ctx;
    struct err e;

    (void)c;
    if (s->sending && why->code != ERR_LINK) {
        session_peer_error(why, NULL, &e);
        s->put_off = why->code == ERR_BUSY;
        fail(s, &e);
    }
    s->sending = false;
    stall_watch(s->stall, NULL);
}

static const struct channel_events channel_events = {
    .on_accepted = on_accepted,
    .on_data = on_data,
    .on_writable = on_writable,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

/* ---- the sender ---- */

static void
wake(void *ctx)
{
    waker_wake(ctx);
}

static void
on_wake(void *ctx)
{
    struct ship *s = ctx;

    pump(s);
    tell(s);
}

static void
on_progress(void *ctx, uint64_t n_entries, uint64_t bytes, uint64_t n_before)
{
    struct ship *s = ctx;

    atomic_store(&s->n_entries, n_entries);
    atomic_store(&s->n_bytes, bytes);
    atomic_store(&s->n_before, n_before);
}

static int
start_sender(struct ship *s, struct err *e)
{
    struct sync_send_options o = {.wake = wake, .wake_ctx = s->waker, .into = s->o.into};

    sync_send_free(s->send);
    s->send = NULL;
    s->fresh = true;
    if (s->store != NULL) {
        return sync_send_store(&s->send, s->store, &s->stored_tree, &o, e);
    }
    return sync_send_dir(&s->send, s->root_fd, &s->build, &o, e);
}

static void
set_build_options(struct ship *s)
{
    if (!s->o.everything) {
        git_user_excludes(&s->user_rules);
    }
    s->build = (struct build_options){
        .policy = s->o.everything ? BUILD_SNAPSHOT : BUILD_SHIP,
        .scan = {.everything = s->o.everything,
                 .with_git = s->o.with_git,
                 .allow_home = s->o.allow_home,
                 .measure_skipped = s->o.measure,
                 .git_excludes = s->user_rules.data,
                 .git_excludes_len = s->user_rules.len,
                 .with = (const char *const *)s->with,
                 .n_with = s->o.n_with},
        .cache_path = s->cache,
        .progress = on_progress,
        .progress_ctx = s,
    };
}

static int
open_root(struct ship *s, struct err *e)
{
    char shown[200];

    s->root_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_fd == -1) {
        return err_set(e,
                       errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_DENIED,
                       _("cannot ship '%s': %s"),
                       text_escape_to(shown, sizeof shown, s->dir), strerror(errno));
    }
    return 0;
}

/* The cache is an aid: a home that cannot be written is no reason not to run. */
static void
prepare_cache(struct ship *s)
{
    char *dir = home_path(s->client->home, "scan", NULL);
    struct err e;

    if (file_mkdirs(dir, 0700, &e) == 0) {
        s->cache = ship_cache_path(s->client->home, s->dir);
    }
    free(dir);
}

int
ship_start(struct ship **out, struct client *cl, const struct ship_options *o,
           struct err *e)
{
    struct ship *s = xcalloc(1, sizeof *s);

    s->client = cl;
    s->stall = stall_new(cl->loop, STALL_NS, &stall_events, s);
    s->o = *o;
    s->dir = xstrdup(o->dir);
    s->root_fd = -1;
    s->with = xcalloc(o->n_with + 1, sizeof *s->with);
    for (size_t i = 0; i < o->n_with; i++) {
        s->with[i] = xstrdup(o->with[i]);
    }
    if ((!o->allow_home && scan_check_root(s->dir, getenv("HOME"), e) != 0) ||
        open_root(s, e) != 0 || waker_new(&s->waker, cl->loop, on_wake, s, e) != 0) {
        ship_free(s);
        return -1;
    }
    prepare_cache(s);
    set_build_options(s);
    if (start_sender(s, e) != 0) {
        ship_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
ship_free(struct ship *s)
{
    if (s == NULL) {
        return;
    }
    stall_free(s->stall);
    channel_free(s->channel);
    sync_send_free(s->send); /* joins its threads: no wake after this */
    waker_free(s->waker);
    (void)fd_close(&s->root_fd);
    for (size_t i = 0; s->with != NULL && i < s->o.n_with; i++) {
        free(s->with[i]);
    }
    free(s->with);
    buf_free(&s->manifest);
    buf_free(&s->user_rules);
    free(s->cache);
    free(s->base_path);
    free(s->dir);
    free(s);
}

int
ship_start_stored(struct ship **out, struct client *cl, struct store *store,
                  const struct sha256 *tree, const struct buf *manifest,
                  void (*changed)(void *ctx), void *ctx, struct err *e)
{
    struct ship *s = xcalloc(1, sizeof *s);

    s->client = cl;
    s->stall = stall_new(cl->loop, STALL_NS, &stall_events, s);
    s->o.changed = changed;
    s->o.ctx = ctx;
    s->root_fd = -1;
    s->store = store;
    s->stored_tree = *tree;
    buf_add(&s->manifest, manifest->data, manifest->len);
    if (waker_new(&s->waker, cl->loop, on_wake, s, e) != 0 || start_sender(s, e) != 0) {
        ship_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

int
ship_built(struct ship *s, const struct build_report **r, struct err *e)
{
    int rc = sync_send_built(s->send, r, e);

    if (rc != 0 && e->sys_errno == EACCES) {
        (void)err_wrap(e, "%s",
                       _("what cannot be read is left out by a line in "
                         ".gpurunignore"));
    }
    if (rc == 0 && *r != NULL && !s->has_tree) {
        s->tree = (*r)->tree;
        s->has_tree = true;
    }
    return rc;
}

struct built_wait {
    struct ship *s;
    const struct build_report *r;
    int rc;
    struct err e;
};

static bool
is_built(void *ctx)
{
    struct built_wait *w = ctx;

    w->rc = ship_built(w->s, &w->r, &w->e);
    return w->rc != 0 || w->r != NULL;
}

int
ship_wait_built(struct ship *s, const struct build_report **r, struct err *e)
{
    struct built_wait w = {.s = s};

    if (!loop_run_until(s->client->loop, is_built, &w, -1)) {
        return err_set(e, ERR_LINK, "%s",
                       _("interrupted while reading what is to be sent"));
    }
    if (w.rc != 0) {
        *e = w.e;
        return -1;
    }
    *r = w.r;
    return 0;
}

void
ship_scanned(const struct ship *s, struct ship_scanned *out)
{
    out->n_entries = atomic_load(&s->n_entries);
    out->bytes = atomic_load(&s->n_bytes);
    out->n_before = atomic_load(&s->n_before);
}

int
ship_send(struct ship *s, struct session *to, struct conn *c, struct err *e)
{
    struct channel_options co = {
        .cls = CHANNEL_BULK, .events = &channel_events, .ctx = s};
    const struct build_report *built = NULL;
    struct sha256 base;
    bool has_base;
    struct rec *r;
    int rc;

    if (s->to == to && (s->done || (s->sending && s->conn == c))) {
        return 0;
    }
    s->done = false;
    s->to = to;
    s->conn = c;
    if (!s->fresh && start_sender(s, e) != 0) {
        return -1;
    }
    stall_watch(s->stall, NULL);
    channel_free(s->channel);
    s->channel = channel_new(&co);
    free(s->base_path);
    s->base_path =
        s->cache != NULL ? xasprintf("%s.%s", s->cache, session_host(to)->name) : NULL;
    has_base = load_base(s, &base);
    r = rec_new(OPEN_SHIP);
    rec_add_int(r, "forms", 1);
    if (s->o.for_job && !has_base) {
        rec_add_int(r, "cold", 1);
    }
    if (s->store == NULL && sync_send_built(s->send, &built, e) == 0 && built != NULL) {
        rec_add_hex(r, "tree", built->tree.b, sizeof built->tree.b);
        rec_add_int(r, "content_bytes", (int64_t)built->totals.stored);
    }
    if (s->store != NULL) {
        rec_add_hex(r, "tree", s->stored_tree.b, sizeof s->stored_tree.b);
        rec_add_bytes(r, "manifest", s->manifest.data, s->manifest.len);
    }
    rc = mux_open(conn_mux(c), s->channel, r, e);
    rec_free(r);
    if (rc != 0) {
        return -1;
    }
    s->fresh = false;
    s->failed = false;
    s->changed = false;
    s->room.limited = false;
    s->sending = true;
    stall_watch(s->stall, s->channel);
    sync_send_begin(s->send, has_base ? &base : NULL);
    pump(s);
    return 0;
}

enum ship_state
ship_state(struct ship *s, struct err *e)
{
    const struct build_report *r;

    if (s->failed) {
        *e = s->why;
        return SHIP_FAILED;
    }
    if (s->done) {
        return SHIP_DONE;
    }
    if (s->sending) {
        return SHIP_SENDING;
    }
    if (sync_send_built(s->send, &r, e) != 0) {
        return SHIP_FAILED;
    }
    return r != NULL ? SHIP_BUILT : SHIP_BUILDING;
}

bool
ship_was_put_off(const struct ship *s)
{
    return s->put_off;
}

bool
ship_has_changed(const struct ship *s)
{
    return s->failed && s->changed;
}

void
ship_stats(struct ship *s, struct sync_stats *out)
{
    sync_send_stats(s->send, out);
}
