#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/host/quota.h"
#include "runner/host/quota_holds.h"
#include "runner/host/serve_early.h"
#include "runner/host/serve_internal.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/sync.h"

#define NS_PER_S     ((int64_t)1000000000)
#define RENEW_NS     (86400 * NS_PER_S) /* claims shorter than all but this are renewed */
#define ID_ALPHABET  "0123456789abcdefghjkmnpqrstvwxyz"
#define WINDOW_BYTES ((size_t)8 << 20)
#define SCARCE_PART  10 /* of a disk: less of it is not much */

/*
 * A tree on its way into the renter's store. The store stays open (and with it the
 * lease on every chunk that arrived) until the connection ends, since a job that needs
 * the tree may follow.
 */
struct serve_ship {
    struct serve *serve;
    struct serve_ship *next;
    struct sha256 tree;
    bool named;          /* tree is known; else it is still being read over there */
    int64_t most_bytes;  /* what it may take at the most; -1: not known yet */
    struct buf manifest; /* of a snapshot made elsewhere; empty: plain shipping */
    struct store *store;
    struct sync_recv *recv;
    struct channel *channel;
    struct quota_hold *hold; /* what may come of the renter's quota; NULL: no limit */
    bool here;               /* complete, committed, claimed */
    bool eof_sent;
    struct serve_early *early; /* NULL: not asked for, or not to be had */
    bool wanted;               /* something was to be done with the tree */
    struct serve_wait *waits;  /* submits that need the tree */
};

/* The manifest of what was shipped is named after its tree: the same again is the same.
 */
static void
shipped_id(const struct sha256 *tree, char out[JOB_ID_LEN + 1])
{
    uint8_t seed[SHA256_LEN + 1] = {0};
    struct sha256 h;

    memcpy(seed, tree->b, SHA256_LEN);
    sha256_of(seed, sizeof seed, &h);
    out[0] = (char)ID_SNAPSHOT;
    for (int i = 0; i < ID_RANDOM_LEN; i++) {
        out[1 + i] = ID_ALPHABET[h.b[i] & 31];
    }
    out[JOB_ID_LEN] = '\0';
}

static void
ship_free(struct serve_ship *h)
{
    struct serve_ship **at = &h->serve->ships;

    while (*at != NULL && *at != h) {
        at = &(*at)->next;
    }
    if (*at == h) {
        *at = h->next;
    }
    channel_free(h->channel);
    sync_recv_free(h->recv);
    quota_hold_close(h->hold);
    serve_early_free(h->early, h->wanted);
    store_close(h->store);
    buf_free(&h->manifest);
    free(h);
}

/* ---- claims: a shipped tree is kept for a while, as the base of what comes next ---- */

/* ERR_EXISTS: it is there. One that cannot be read any more is written again. */
static int
claim_anew(struct serve_ship *h, const char *id, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_SHIPPED);
    int rc;

    manifest_set(&m->id, id);
    manifest_set(&m->renter, h->serve->renter->id);
    m->tree = h->tree;
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = m->made_wall_ns + SNAP_KEEP_DEFAULT_S * NS_PER_S;
    rc = manifest_write(h->store, m, h->serve->agent->key, e);
    manifest_free(m);
    return rc;
}

/*
 * What comes is wanted now, whatever became of it here before and however old it is:
 * where its data was given up, or is not kept until least_ns, it is kept until until_ns.
 */
static int
claim_again(struct store *s, const char *id, int64_t least_ns, int64_t until_ns,
            struct err *e)
{
    struct snap_claim c;

    if (snap_claim_get(s, id, &c, e) != 0) {
        return -1;
    }
    if (c.data == SNAP_DATA_GONE) {
        return snap_regain(s, id, until_ns, e);
    }
    if (c.expires_wall_ns != 0 && c.expires_wall_ns < least_ns) {
        return snap_keep(s, id, until_ns, e);
    }
    return 0;
}

static int
claim_snapshot(struct serve_ship *h, int64_t now_ns, int64_t until_ns, struct err *e)
{
    struct manifest *m = NULL;
    int rc = -1;

    if (manifest_write_encoded(h->store, h->manifest.data, h->manifest.len, e) == 0 &&
        manifest_parse(&m, h->manifest.data, h->manifest.len, e) == 0) {
        rc = claim_again(h->store, m->id, now_ns + RENEW_NS, until_ns, e);
    }
    manifest_free(m);
    return rc;
}

static int
claim(struct serve_ship *h, struct err *e)
{
    int64_t now_ns = clock_wall_ns();
    int64_t until_ns = now_ns + SNAP_KEEP_DEFAULT_S * NS_PER_S;
    char id[JOB_ID_LEN + 1];
    struct err why;

    if (h->manifest.len > 0) {
        return claim_snapshot(h, now_ns, until_ns, e);
    }
    shipped_id(&h->tree, id);
    if (claim_anew(h, id, &why) != 0 && why.code != ERR_EXISTS) {
        *e = why;
        return -1;
    }
    return claim_again(h->store, id, until_ns - RENEW_NS, until_ns, e);
}

/* ---- the channel ---- */

/* What came is in the store by now and counts there; no more comes. */
static void
give_back_quota(struct serve_ship *h)
{
    quota_hold_close(h->hold);
    h->hold = NULL;
}

static void
ship_failed(struct serve_ship *h, const struct err *why)
{
    struct err e = *why;

    if (h->channel != NULL && !channel_is_reset(h->channel)) {
        channel_reset(h->channel, why);
    }
    give_back_quota(h);
    serve_early_end(h->early, NULL);
    err_wrap(&e, "the files were not shipped");
    serve_wait_go(h->serve, &h->waits, &e);
}

/* What our half has to say, as far as the channel takes it. */
static void
push_output(struct serve_ship *h)
{
    const uint8_t *data;
    size_t len;

    while ((data = sync_recv_output(h->recv, &len)) != NULL && len > 0) {
        size_t n = channel_send(h->channel, data, len);

        sync_recv_sent(h->recv, n);
        if (n < len) {
            return; /* on_writable goes on */
        }
    }
    if (h->here && !h->eof_sent) {
        h->eof_sent = true;
        channel_send_eof(h->channel);
    }
}

/*
 * What needs the tree may have it; a directory that is being made for it first, else the
 * job would make another at the same time.
 */
static void
go_on(void *ctx)
{
    struct serve_ship *h = ctx;

    if (h->here && !serve_early_runs(h->early)) {
        serve_wait_go(h->serve, &h->waits, NULL);
    }
}

static void
look(struct serve_ship *h)
{
    struct sha256 got;
    struct err e;

    if (h->here || sync_recv_state(h->recv, &got) != SYNC_DONE) {
        push_output(h);
        return;
    }
    if (!h->named) {
        h->tree = got;
        h->named = true;
    }
    if (!sha256_equal(&got, &h->tree)) {
        err_set(&e, ERR_INVALID, "another tree arrived than was announced");
        ship_failed(h, &e);
        return;
    }
    /* "Done" goes out only after the claim stands. */
    if (claim(h, &e) != 0) {
        ship_failed(h, &e);
        return;
    }
    h->here = true;
    give_back_quota(h);
    serve_early_end(h->early, &h->tree);
    push_output(h);
    go_on(h);
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct serve_ship *h = ctx;
    struct err e;

    (void)c;
    if (sync_recv_input(h->recv, data, n, &e) != 0) {
        push_output(h); /* a refusal in the peer's own language goes first */
        ship_failed(h, &e);
    } else {
        look(h);
    }
    return n;
}

static void
on_writable(void *ctx, struct channel *c)
{
    (void)c;
    push_output(ctx);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct serve_ship *h = ctx;
    struct err e;

    (void)c;
    if (!h->here) {
        err_set(&e, ERR_LINK, "the client stopped in the middle");
        ship_failed(h, &e);
    }
}

static void
on_over(struct serve_ship *h, const struct err *why)
{
    struct err e;

    if (!h->here) {
        err_set(&e, ERR_LINK, "the connection is gone");
        if (why != NULL) {
            e = *why;
            e.code = ERR_LINK;
        }
        ship_failed(h, &e);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    on_over(ctx, why);
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    on_over(ctx, why);
}

/* ---- opening ---- */

static int
take_manifest(struct serve_ship *h, const struct rec *r, struct err *e)
{
    struct manifest *m = NULL;
    size_t len;
    const char *text = rec_get_bytes(r, "manifest", &len);
    bool same;

    if (text == NULL) {
        return 0;
    }
    if (len > MANIFEST_MAX_BYTES) {
        return err_set(e, ERR_RANGE, "the snapshot's manifest is too long");
    }
    if (manifest_parse(&m, text, len, e) != 0) {
        return -1;
    }
    same = sha256_equal(&m->tree, &h->tree);
    h->most_bytes = m->stored_bytes <= INT64_MAX ? (int64_t)m->stored_bytes : INT64_MAX;
    manifest_free(m);
    if (!same) {
        return err_set(e, ERR_INVALID, "the manifest is of another tree than is shipped");
    }
    buf_add(&h->manifest, text, len);
    return 0;
}

static int
take_name(struct serve_ship *h, const struct rec *r, struct err *e)
{
    h->named = rec_get(r, "tree") != NULL || rec_get(r, "manifest") != NULL;
    if (rec_opt_int(r, "content_bytes", 0, INT64_MAX, -1, &h->most_bytes, e) != 0) {
        return -1;
    }
    return h->named ? rec_need_hex(r, "tree", h->tree.b, sizeof h->tree.b, e) : 0;
}

/* More than was let in so far. */
static int
draw(void *ctx, uint64_t taken_bytes, uint64_t *max_bytes, struct err *e)
{
    struct serve_ship *h = ctx;
    int64_t more = 0;

    if (quota_draw(h->serve->renter, h->hold, (int64_t)taken_bytes, &more, e) != 0) {
        return -1;
    }
    *max_bytes = taken_bytes + (uint64_t)more;
    return 0;
}

/* For the client, which may know before it sends that this is too little. */
static struct rec *
room_rec(const struct quota_room *room)
{
    struct rec *r = rec_new(SHIP_ROOM);

    rec_add_int(r, "left_bytes", room->left_bytes > 0 ? room->left_bytes : 0);
    rec_add(r, "msg", room->why.msg);
    if (room->why.form[0] != '\0') {
        rec_add(r, "form", room->why.form);
    }
    return r;
}

/*
 * The same of a disk that may have too little, where that is less than what the quota
 * leaves (quota_bytes; < 0: there is none). Of any other nothing is told, since who was
 * told weighs first. What the store holds back for gc is no part of what is free.
 */
static void
add_disk(const struct serve_ship *h, int64_t quota_bytes, struct rec **told)
{
    struct statvfs v;
    int64_t left_bytes;

    if (fstatvfs(h->serve->renter->fd, &v) != 0) {
        return;
    }
    left_bytes = (int64_t)((uint64_t)v.f_bavail * v.f_frsize);
    if ((quota_bytes >= 0 && quota_bytes <= left_bytes) ||
        (h->most_bytes >= 0 ? h->most_bytes <= left_bytes
                            : v.f_bavail >= v.f_blocks / SCARCE_PART)) {
        return;
    }
    rec_free(*told);
    *told = rec_new(SHIP_ROOM);
    rec_add_int(*told, "left_bytes", left_bytes);
}

/* Steps are before compressing: rather too little. *told: NULL where there is no limit.
 */
static int
begin_quota(struct serve_ship *h, struct sync_recv_options *o, struct rec **told,
            struct err *e)
{
    struct quota_room room;
    int64_t left_bytes = -1;

    if (quota_begin(h->serve->renter, &room, e) != 0) {
        return -1;
    }
    if (room.hold != NULL) {
        h->hold = room.hold;
        o->more = draw;
        o->more_ctx = h;
        o->max_bytes = (uint64_t)room.first_bytes;
        *told = room_rec(&room);
        left_bytes = room.left_bytes > 0 ? room.left_bytes : 0;
    }
    add_disk(h, left_bytes, told);
    return 0;
}

static int
make(struct serve *s, const struct mux_offer *offer, struct serve_ship **out,
     struct rec **room, struct err *e)
{
    struct serve_ship *h = xcalloc(1, sizeof *h);
    struct sync_recv_options ro = {0};

    h->serve = s;
    if (take_name(h, offer->rec, e) != 0 || take_manifest(h, offer->rec, e) != 0 ||
        begin_quota(h, &ro, room, e) != 0 ||
        workdirs_open_store(s->renter, &h->store, e) != 0) {
        ship_free(h);
        return -1;
    }
    ro.forms = rec_get(offer->rec, "forms") != NULL;
    if (rec_get(offer->rec, "cold") != NULL && h->manifest.len == 0) {
        h->early = serve_early_new(s, h->store, go_on, h);
        ro.came = serve_early_came;
        ro.came_ctx = h->early;
    }
    if (sync_recv_new(&h->recv, h->store, &ro, e) != 0) {
        ship_free(h);
        return -1;
    }
    *out = h;
    return 0;
}

void
serve_ship_open(struct serve *s, const struct mux_offer *offer)
{
    static const struct channel_events events = {.on_data = on_data,
                                                 .on_writable = on_writable,
                                                 .on_eof = on_eof,
                                                 .on_reset = on_reset,
                                                 .on_detached = on_detached};
    struct channel_options o = {.cls = offer->cls,
                                .token = offer->token,
                                .window_bytes = WINDOW_BYTES,
                                .events = &events};
    struct serve_ship *h = NULL;
    struct rec *room = NULL;
    size_t n = 0;
    struct err e;

    for (h = s->ships; h != NULL; h = h->next) {
        n++;
    }
    if (n >= SERVE_SHIPS_MAX) {
        err_set(&e, ERR_BUSY, "too many trees are shipped on this connection");
    } else if (renter_check_admitted(s->renter, &e) == 0 &&
               make(s, offer, &h, &room, &e) == 0) {
        h->next = s->ships;
        s->ships = h;
        o.ctx = h;
        h->channel = channel_new(&o);
        if (mux_accept(s->mux, offer->stream, h->channel, room, &e) != 0) {
            ship_free(h);
        }
    } else {
        mux_refuse(s->mux, offer->stream, &e, NULL);
    }
    rec_free(room);
}

/*
 * Claimed by an earlier connection, or by what has been made of it since: the request may
 * be one that was answered before the link broke.
 */
static bool
is_claimed(struct serve *s, const struct sha256 *tree)
{
    char *path = workdirs_store_path(s->renter);
    struct store_options o = {.must_exist = true};
    struct snap_list l = {NULL, 0};
    struct store *st = NULL;
    bool here = false;
    struct err none;

    if (store_open(&st, path, &o, &none) == 0 && snap_list(st, &l, &none) == 0) {
        for (size_t i = 0; i < l.n && !here; i++) {
            here = l.v[i].m != NULL && l.v[i].claim.data == SNAP_DATA_KEPT &&
                   sha256_equal(&l.v[i].m->tree, tree);
        }
    }
    snap_list_free(&l);
    store_close(st);
    free(path);
    return here;
}

bool
serve_ship_has(struct serve *s, const struct sha256 *tree, struct serve_wait ***wait)
{
    struct serve_ship *coming = NULL;

    for (struct serve_ship *h = s->ships; h != NULL; h = h->next) {
        if (h->named && !sha256_equal(&h->tree, tree)) {
            continue;
        }
        if (h->here && !serve_early_runs(h->early)) {
            h->wanted = true;
            return true;
        }
        if (h->here) {
            coming = h;
            break;
        }
        /* One without a name may turn out to be it: then it is asked again. */
        if (channel_attached(h->channel) && (coming == NULL || h->named)) {
            coming = h;
        }
    }
    if (coming == NULL) {
        return is_claimed(s, tree);
    }
    *wait = &coming->waits;
    return false;
}

void
serve_ships_stop(struct serve *s)
{
    for (struct serve_ship *h = s->ships; h != NULL; h = h->next) {
        serve_early_end(h->early, NULL);
    }
}

void
serve_ships_free(struct serve *s)
{
    struct err e;

    err_set(&e, ERR_LINK, "the connection is closing");
    while (s->ships != NULL) {
        serve_wait_go(s, &s->ships->waits, &e);
        ship_free(s->ships);
    }
}
