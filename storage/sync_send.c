#include "storage/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "storage/sync_internal.h"

#define WINDOW_BYTES_DEFAULT ((size_t)64 << 20)
/* What is to go is weighed again after so much, and whenever twice as much has gone. */
#define WEIGH_AGAIN_BYTES ((uint64_t)4 << 20)
#define SHRINKS_MORE      32
/* So much is packed, where all is not less, before it is weighed for the first time. */
#define WEIGH_FIRST_BYTES ((size_t)8 << 20)
/* Output is made in pieces of about this much, so that answers are looked at in between.
 */
#define OUTPUT_BYTES ((size_t)192 * 1024)
/* Ids offered and not yet answered: enough to fill a long link, little to hold. */
#define UNANSWERED_MAX ((size_t)65536)

static int
start(struct sync_send **out, struct sync_send *s, const struct sync_send_options *o,
      struct err *e)
{
    int rc;

    if (o != NULL) {
        s->o = *o;
    }
    if (s->o.window_bytes == 0) {
        s->o.window_bytes = WINDOW_BYTES_DEFAULT;
    }
    s->sending = SIZE_MAX;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->moved, NULL);
    rc = pthread_create(&s->thread, NULL, sync_source_run, s);
    if (rc != 0) {
        (void)pthread_cond_destroy(&s->moved);
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
        return err_set_sys(e, rc, "cannot start a thread");
    }
    *out = s;
    return 0;
}

int
sync_send_dir(struct sync_send **out, int root_fd, const struct build_options *b,
              const struct sync_send_options *o, struct err *e)
{
    struct sync_send *s = xcalloc(1, sizeof *s);

    s->root_fd = root_fd;
    s->build = b;
    return start(out, s, o, e);
}

int
sync_send_store(struct sync_send **out, struct store *store, const struct sha256 *tree_id,
                const struct sync_send_options *o, struct err *e)
{
    struct sync_send *s = xcalloc(1, sizeof *s);

    s->root_fd = -1;
    s->store = store;
    s->tree = *tree_id;
    return start(out, s, o, e);
}

void
sync_send_free(struct sync_send *s)
{
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->abort = true;
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    (void)pthread_cond_destroy(&s->moved);
    (void)pthread_mutex_destroy(&s->lock);
    sync_table_free(&s->chunks);
    sync_table_free(&s->before);
    sync_numbers_free(&s->held_back);
    sync_numbers_free(&s->to_offer);
    sync_numbers_free(&s->offered);
    sync_numbers_free(&s->to_send);
    sync_numbers_free(&s->wanted);
    for (size_t i = 0; i < s->n_codecs; i++) {
        codec_free(s->codecs[i]);
    }
    free(s->codecs);
    if (s->has_report) {
        build_report_free(&s->report);
    }
    buf_free(&s->in);
    buf_free(&s->out);
    free(s);
}

void
sync_send_fail_locked(struct sync_send *s, const struct err *why)
{
    if (!s->failed && !s->done) {
        s->failed = true;
        s->why = *why;
    }
    (void)pthread_cond_broadcast(&s->moved);
}

int
sync_send_built(struct sync_send *s, const struct build_report **r, struct err *e)
{
    int rc = 0;

    (void)pthread_mutex_lock(&s->lock);
    *r = s->built && s->has_report ? &s->report : NULL;
    if (s->failed && !s->built) {
        *e = s->why;
        rc = -1;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

void
sync_send_begin(struct sync_send *s, const struct sha256 *base)
{
    (void)pthread_mutex_lock(&s->lock);
    s->begun = true;
    if (base != NULL) {
        s->has_base = true;
        s->base = *base;
    }
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->o.wake != NULL) {
        s->o.wake(s->o.wake_ctx);
    }
}

void
sync_send_room(struct sync_send *s, uint64_t room_bytes)
{
    (void)pthread_mutex_lock(&s->lock);
    s->has_room = true;
    s->room_bytes = room_bytes;
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- what to do with each chunk (lock held) ---- */

/* It need not be sent: let go of its content. The tree's own is needed for reading again.
 */
static void
let_go(struct sync_send *s, struct sync_chunk *c, enum sync_chunk_state state)
{
    c->state = (uint8_t)state;
    if (c->kind == STORE_KIND_DATA && c->stored != NULL) {
        s->held_bytes -= c->stored_len;
        free(c->stored);
        c->stored = NULL;
        (void)pthread_cond_broadcast(&s->moved);
    }
}

static void
want(struct sync_send *s, size_t number)
{
    struct sync_chunk *c = &s->chunks.v[number];

    if (c->state == SYNC_CHUNK_WANTED || c->state == SYNC_CHUNK_QUEUED) {
        return;
    }
    s->stats.wanted_bytes += c->raw_len;
    if (c->stored != NULL) {
        c->state = SYNC_CHUNK_QUEUED;
        sync_numbers_add(&s->to_send, number);
        return;
    }
    c->state = SYNC_CHUNK_WANTED;
    s->n_wanted++;
    sync_numbers_add(&s->wanted, number);
    (void)pthread_cond_broadcast(&s->moved);
}

/*
 * Send unasked while that is cheaper than asking. Without a base nothing overtakes what
 * had to be asked about: the receiver may begin with a tree whose chunks come in order
 * (early.h).
 */
static bool
push(struct sync_send *s, size_t number, uint64_t limit_bytes)
{
    struct sync_chunk *c = &s->chunks.v[number];
    bool asked = s->stats.n_offered > 0 || s->to_offer.at < s->to_offer.n;

    if ((asked && !s->has_base) || c->stored == NULL ||
        s->pushed_bytes + c->stored_len > limit_bytes) {
        return false;
    }
    s->pushed_bytes += c->stored_len;
    want(s, number);
    return true;
}

static void
plan_fresh(struct sync_send *s, size_t number)
{
    const struct sync_chunk *c = &s->chunks.v[number];

    if (c->state != SYNC_CHUNK_FRESH) {
        return;
    }
    if (s->has_base && (c->known || c->kind == STORE_KIND_META)) {
        sync_numbers_add(&s->held_back, number); /* perhaps nothing is new at all */
        return;
    }
    if (!push(s, number, s->has_base ? SYNC_PUSH_NEW_BYTES : SYNC_PUSH_FIRST_BYTES)) {
        sync_numbers_add(&s->to_offer, number);
    }
}

static void
plan_held_back(struct sync_send *s)
{
    bool same = sha256_equal(&s->tree, &s->base);
    bool known_there = s->has_report && s->report.had_cache &&
                       sha256_equal(&s->report.cache_tree, &s->base);
    size_t number;

    while (sync_numbers_take(&s->held_back, &number)) {
        struct sync_chunk *c = &s->chunks.v[number];

        if (c->state != SYNC_CHUNK_FRESH) {
            continue;
        }
        if (same || (c->known && known_there)) {
            let_go(s, c, SYNC_CHUNK_THERE);
        } else if (sha256_equal(&c->id, &s->tree)) {
            want(s, number); /* a new tree's root is new */
        } else {
            sync_numbers_add(&s->to_offer, number);
        }
    }
}

static void
plan(struct sync_send *s)
{
    while (s->next_fresh < s->chunks.n) {
        plan_fresh(s, s->next_fresh++);
    }
    if (s->built && s->has_base) {
        plan_held_back(s);
    }
    (void)pthread_cond_broadcast(&s->moved);
}

bool
sync_all_answered(const struct sync_send *s)
{
    return s->built && s->next_fresh == s->chunks.n &&
           s->held_back.at == s->held_back.n && s->to_offer.at == s->to_offer.n &&
           s->offered.at == s->offered.n;
}

/* ---- output (lock held) ---- */

static bool
put_offer(struct sync_send *s)
{
    size_t waiting = s->to_offer.n - s->to_offer.at;
    size_t unanswered = s->offered.n - s->offered.at;
    size_t n = waiting < SYNC_IDS_PER_FRAME ? waiting : SYNC_IDS_PER_FRAME;
    size_t number;

    /* Few ids are worth a frame only if nothing is under way, or no more will come. */
    if (n == 0 || unanswered + n > UNANSWERED_MAX ||
        (n < SYNC_IDS_PER_FRAME && unanswered > 0 && !s->built)) {
        return false;
    }
    sync_put_header(&s->out, SYNC_OFFER, n * SHA256_LEN);
    for (size_t i = 0; i < n; i++) {
        (void)sync_numbers_take(&s->to_offer, &number);
        s->chunks.v[number].state = SYNC_CHUNK_OFFERED;
        buf_add(&s->out, s->chunks.v[number].id.b, SHA256_LEN);
        sync_numbers_add(&s->offered, number);
    }
    s->stats.n_offered += n;
    return true;
}

static void
put_chunk_header(struct sync_send *s, const struct sync_chunk *c, size_t n)
{
    sync_put_header(&s->out, SYNC_CHUNK, SYNC_CHUNK_HEADER_BYTES + n);
    buf_add_u8(&s->out, c->kind);
    buf_add_u8(&s->out, c->codec);
    buf_add_u16(&s->out, 0);
    buf_add_u32(&s->out, c->raw_len);
    buf_add_u32(&s->out, c->stored_len);
    buf_add(&s->out, c->id.b, SHA256_LEN);
}

static bool
put_chunk(struct sync_send *s)
{
    const size_t max = SYNC_FRAME_MAX_BYTES - SYNC_HEADER_BYTES - SYNC_CHUNK_HEADER_BYTES;
    struct sync_chunk *c;
    size_t n;

    if (s->sending == SIZE_MAX) {
        if (!sync_numbers_take(&s->to_send, &s->sending)) {
            s->sending = SIZE_MAX;
            return false;
        }
        s->sending_at = 0;
    }
    c = &s->chunks.v[s->sending];
    n = c->stored_len - s->sending_at < max ? c->stored_len - s->sending_at : max;
    if (s->sending_at == 0) {
        put_chunk_header(s, c, n);
    } else {
        sync_put_header(&s->out, SYNC_MORE, n);
    }
    buf_add(&s->out, c->stored + s->sending_at, n);
    s->sending_at += n;
    if (s->sending_at == c->stored_len) {
        s->stats.n_sent++;
        s->stats.sent_bytes += c->raw_len;
        let_go(s, c, SYNC_CHUNK_SENT);
        s->sending = SIZE_MAX;
    }
    return true;
}

/*
 * What the receiver has to keep, at least: what was pushed it may have had. What is not
 * encoded yet, and not known from the store, is taken to shrink 32 times as much as what
 * is: content of another kind (text behind pictures) must not be refused for that of the
 * first.
 */
static uint64_t
least_bytes(const struct sync_send *s)
{
    uint64_t encoded = 0;
    uint64_t encoded_raw = 0;
    uint64_t rest = 0;

    for (size_t i = 0; i < s->chunks.n; i++) {
        const struct sync_chunk *c = &s->chunks.v[i];

        if (c->state == SYNC_CHUNK_WANTED && c->stored_len == 0) {
            rest += c->raw_len;
        } else if (c->state == SYNC_CHUNK_WANTED || c->state == SYNC_CHUNK_QUEUED ||
                   c->state == SYNC_CHUNK_SENT) {
            encoded += c->stored_len;
            encoded_raw += c->raw_len;
        }
    }
    encoded -= s->pushed_bytes < encoded ? s->pushed_bytes : encoded;
    /* In KiB: the product of two sizes in bytes might not fit. */
    return encoded + (encoded_raw == 0
                          ? 0
                          : (rest >> 10) * (encoded >> 10) / ((encoded_raw >> 10) + 1) *
                                (1024 / SHRINKS_MORE));
}

/* Is there enough encoded to judge the rest by? Below half of the window there is room,
 * so more will come. */
static bool
can_weigh(const struct sync_send *s)
{
    return s->n_wanted == 0 || s->sized || s->held_bytes >= WEIGH_FIRST_BYTES ||
           s->held_bytes >= s->o.window_bytes / 2;
}

/*
 * May contents go? Those of a tree that is made wait until it is known how much they are;
 * one that is being made would wait for room in the window. What was not encoded by then
 * is weighed again on the way.
 */
static bool
may_send(struct sync_send *s)
{
    char least[TEXT_SIZE_MAX];
    char room[TEXT_SIZE_MAX];
    uint64_t bytes;
    struct err e;

    if (!s->has_room || s->stats.sent_bytes < s->weigh_at_bytes) {
        return true;
    }
    if (!sync_all_answered(s)) {
        return !s->built || s->weigh_at_bytes > 0;
    }
    bytes = least_bytes(s);
    if (bytes > s->room_bytes) {
        text_format_size(bytes, least);
        text_format_size(s->room_bytes, room);
        err_set(&e, ERR_SPACE, "%s at least would have to be kept, and %s may be", least,
                room);
        sync_send_fail_locked(s, &e);
        return false;
    }
    if (s->weigh_at_bytes == 0 && !can_weigh(s)) {
        return false;
    }
    s->weigh_at_bytes = 2 * s->stats.sent_bytes + WEIGH_AGAIN_BYTES;
    return true;
}

static bool
put_tree(struct sync_send *s)
{
    if (s->said_tree || !sync_all_answered(s) || s->n_wanted > 0) {
        return false;
    }
    sync_put_header(&s->out, SYNC_TREE, SHA256_LEN);
    buf_add(&s->out, s->tree.b, SHA256_LEN);
    s->said_tree = true;
    return true;
}

static void
produce(struct sync_send *s)
{
    if (!s->begun || s->failed || s->done) {
        return;
    }
    plan(s);
    while (s->out.len < OUTPUT_BYTES) {
        /* A chunk in pieces is finished first; offers go before chunks to keep answers
         * coming. */
        if (s->sending != SIZE_MAX
                ? put_chunk(s)
                : put_offer(s) || (may_send(s) && (put_chunk(s) || put_tree(s)))) {
            continue;
        }
        break;
    }
}

const uint8_t *
sync_send_output(struct sync_send *s, size_t *len)
{
    if (s->out_at == s->out.len) {
        buf_reset(&s->out);
        s->out_at = 0;
        (void)pthread_mutex_lock(&s->lock);
        produce(s);
        (void)pthread_mutex_unlock(&s->lock);
    }
    *len = s->out.len - s->out_at;
    return *len == 0 ? NULL : s->out.data + s->out_at;
}

void
sync_send_sent(struct sync_send *s, size_t n)
{
    s->out_at += n;
    s->stats.wire_bytes += n;
}

/* ---- input (lock held) ---- */

static int
take_want(struct sync_send *s, const uint8_t *p, size_t len, struct err *e)
{
    struct cursor c = cursor_of(p, len);
    uint64_t first = cursor_u64(&c);
    uint32_t n = cursor_u32(&c);
    const uint8_t *bits = cursor_bytes(&c, ((size_t)n + 7) / 8);

    if (!cursor_done(&c) || n == 0 || first != s->n_answered ||
        n > s->offered.n - s->offered.at) {
        return err_set(e, ERR_CORRUPT, "an answer to something not offered");
    }
    s->n_answered += n;
    for (uint32_t i = 0; i < n; i++) {
        size_t number;

        (void)sync_numbers_take(&s->offered, &number);
        if ((bits[i / 8] >> (i % 8) & 1) != 0) {
            s->stats.n_wanted++;
            want(s, number);
        } else {
            let_go(s, &s->chunks.v[number], SYNC_CHUNK_THERE);
        }
    }
    (void)pthread_cond_broadcast(&s->moved);
    return 0;
}

static int
next_round(struct sync_send *s, struct err *e)
{
    if (!s->said_tree || ++s->n_rounds > SYNC_ROUNDS_MAX) {
        return err_set(e, ERR_CORRUPT, "the receiver asks again and again");
    }
    return 0;
}

static int
take_missing(struct sync_send *s, const uint8_t *p, size_t len, struct err *e)
{
    struct cursor c = cursor_of(p, len);
    uint64_t last = cursor_u64(&c);
    struct sha256 id;

    if (c.bad || last > 1 || c.left == 0 || c.left % SHA256_LEN != 0 || !s->said_tree) {
        return err_set(e, ERR_CORRUPT, "a malformed list of what is missing");
    }
    while (c.left > 0) {
        const struct sync_chunk *chunk;

        memcpy(id.b, cursor_bytes(&c, SHA256_LEN), SHA256_LEN);
        chunk = sync_table_find(&s->chunks, &id);
        if (chunk == NULL) {
            return err_set(e, ERR_CORRUPT,
                           "the receiver misses what the tree does not hold");
        }
        want(s, (size_t)(chunk - s->chunks.v));
    }
    if (last == 1) {
        if (next_round(s, e) != 0) {
            return -1;
        }
        s->said_tree = false;
    }
    return 0;
}

/* The base was not there after all: offer everything that was not sent. */
static int
take_unknown(struct sync_send *s, struct err *e)
{
    if (next_round(s, e) != 0) {
        return -1;
    }
    s->said_tree = false;
    s->weigh_at_bytes = 0;
    s->has_base = false;
    for (size_t i = 0; i < s->chunks.n; i++) {
        if (s->chunks.v[i].state == SYNC_CHUNK_THERE) {
            s->chunks.v[i].state = SYNC_CHUNK_FRESH;
            sync_numbers_add(&s->to_offer, i);
        }
    }
    return 0;
}

static int
take_done(struct sync_send *s, const uint8_t *p, size_t len, struct err *e)
{
    if (len != SHA256_LEN || !s->said_tree || memcmp(p, s->tree.b, SHA256_LEN) != 0) {
        return err_set(e, ERR_CORRUPT, "done with another tree");
    }
    s->done = true;
    (void)pthread_cond_broadcast(&s->moved);
    return 0;
}

/* The receiver's own words; escaping them is for whoever prints. */
static int
take_fail(const uint8_t *p, size_t len, struct err *e)
{
    char text[SYNC_FAIL_MAX_BYTES + 1];
    char *msg;
    char *form;
    char *helps = NULL;

    if (len > SYNC_FAIL_MAX_BYTES || memchr(p, '\0', len) != NULL) {
        return err_set(e, ERR_CORRUPT, "a malformed refusal");
    }
    memcpy(text, p, len);
    text[len] = '\0';
    msg = strchr(text, '\n');
    if (msg == NULL) {
        return err_set(e, ERR_CORRUPT, "a malformed refusal");
    }
    *msg++ = '\0';
    form = strchr(msg, SYNC_FAIL_FORM);
    if (form != NULL) {
        *form++ = '\0';
        helps = strchr(form, SYNC_FAIL_FORM);
    }
    if (helps != NULL) {
        *helps = '\0';
    }
    err_told(e, err_code_from_name(text), msg, form);
    e->helps = helps != NULL;
    return err_wrap(e, "the host");
}

static int
take_frame(struct sync_send *s, enum sync_frame type, const uint8_t *p, size_t len,
           struct err *e)
{
    switch (type) {
    case SYNC_WANT:
        return take_want(s, p, len, e);
    case SYNC_MISSING:
        return take_missing(s, p, len, e);
    case SYNC_UNKNOWN:
        return take_unknown(s, e);
    case SYNC_DONE_FRAME:
        return take_done(s, p, len, e);
    case SYNC_FAIL:
        return take_fail(p, len, e);
    case SYNC_FRAME_NONE:
    case SYNC_OFFER:
    case SYNC_CHUNK:
    case SYNC_MORE:
    case SYNC_TREE:
        break;
    }
    return err_set(e, ERR_CORRUPT, "a frame that only a sender may send (%d)", type);
}

int
sync_send_input(struct sync_send *s, const void *data, size_t n, struct err *e)
{
    size_t at = 0;
    bool got = true;
    int rc = 0;

    buf_add(&s->in, data, n);
    (void)pthread_mutex_lock(&s->lock);
    while (rc == 0 && got) {
        enum sync_frame type;
        const uint8_t *payload;
        size_t len;

        rc = sync_next_frame(&s->in, &at, &type, &payload, &len, &got, e);
        if (rc == 0 && got) {
            rc = take_frame(s, type, payload, len, e);
        }
    }
    if (rc != 0) {
        sync_send_fail_locked(s, e);
    }
    (void)pthread_mutex_unlock(&s->lock);
    buf_drop_front(&s->in, at);
    return rc;
}

bool
sync_send_awaits_answer(struct sync_send *s)
{
    bool awaits;

    (void)pthread_mutex_lock(&s->lock);
    awaits = s->offered.at < s->offered.n;
    (void)pthread_mutex_unlock(&s->lock);
    return awaits;
}

bool
sync_send_awaits_end(struct sync_send *s)
{
    bool awaits;

    (void)pthread_mutex_lock(&s->lock);
    awaits = s->said_tree && !s->done;
    (void)pthread_mutex_unlock(&s->lock);
    return awaits;
}

enum sync_state
sync_send_state(struct sync_send *s, struct err *e)
{
    enum sync_state state = SYNC_RUNNING;

    (void)pthread_mutex_lock(&s->lock);
    if (s->done) {
        state = SYNC_DONE;
    } else if (s->failed) {
        state = SYNC_FAILED;
        *e = s->why;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return state;
}

void
sync_send_stats(struct sync_send *s, struct sync_stats *out)
{
    (void)pthread_mutex_lock(&s->lock);
    *out = s->stats;
    (void)pthread_mutex_unlock(&s->lock);
}
