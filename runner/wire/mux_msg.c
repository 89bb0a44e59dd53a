#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runner/wire/msg.h"
#include "runner/wire/mux_internal.h"

/*
 * Messages: requests of ours and who waits for their answers, requests of the peer
 * and which of them are still open, and the assembly of long messages.
 */

/* ---- sending ---- */

/*
 * A message that is longer than a frame. Its first piece goes in order with all other
 * messages, so that numbers arrive growing; the rest takes turns with the channels.
 */
static void
send_long(struct mux *m, uint8_t type, uint64_t id, struct buf *body)
{
    struct mux_long *l = xcalloc(1, sizeof *l);
    struct frame first = {.type = type,
                          .flags = FRAME_F_MORE,
                          .seq = id,
                          .payload = body->data,
                          .len = CHANNEL_DATA_MAX};

    l->turn.kind = MUX_TURN_MESSAGE;
    l->type = type;
    l->id = id;
    l->body = *body;
    l->sent = CHANNEL_DATA_MAX;
    mux_queue_control(m, &first);
    m->out.queued += l->body.len - l->sent;
    *body = (struct buf)BUF_INIT;
    mux_queue_turn(m, &l->turn, CHANNEL_INTERACTIVE);
    mux_queue_check(m);
}

static void
send_bytes(struct mux *m, uint8_t type, uint64_t id, struct buf *body)
{
    struct frame f = {.type = type, .seq = id, .payload = body->data, .len = body->len};

    if (m->over || (m->leaving && m->goaway == NULL)) {
        return;
    }
    if (body->len <= CHANNEL_DATA_MAX) {
        mux_queue_control(m, &f);
    } else {
        send_long(m, type, id, body);
    }
}

void
mux_send_record(struct mux *m, uint8_t type, uint64_t id, const struct rec *r)
{
    struct buf body = BUF_INIT;

    rec_encode(r, &body);
    send_bytes(m, type, id, &body);
    buf_free(&body);
}

/* ---- requests of ours ---- */

static struct mux_request_entry *
find_asked(struct mux *m, uint64_t id)
{
    size_t low = 0;
    size_t high = m->n_asked;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->asked[mid].id == id) {
            return &m->asked[mid];
        }
        if (m->asked[mid].id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

static void
remove_asked(struct mux *m, struct mux_request_entry *r)
{
    size_t at = (size_t)(r - m->asked);

    m->n_asked--;
    memmove(r, r + 1, (m->n_asked - at) * sizeof *r);
}

int
mux_request(struct mux *m, const struct rec *req, mux_answer_fn *cb, void *ctx,
            uint64_t *id, struct err *e)
{
    struct buf body = BUF_INIT;

    if (m->over || m->leaving) {
        return err_set(e, ERR_LINK, "the connection is closed");
    }
    if (m->n_asked >= m->requests_max) {
        return err_set(e, ERR_BUSY, "%zu requests wait for an answer already",
                       m->n_asked);
    }
    rec_encode(req, &body);
    if (body.len > MUX_MESSAGE_MAX) {
        buf_free(&body);
        return err_set(e, ERR_RANGE, "the request is too long");
    }
    if (m->n_asked == m->cap_asked) {
        m->cap_asked = m->cap_asked == 0 ? 8 : 2 * m->cap_asked;
        m->asked = xrealloc(m->asked, m->cap_asked * sizeof *m->asked);
    }
    m->last_asked++;
    m->asked[m->n_asked++] = (struct mux_request_entry){m->last_asked, cb, ctx};
    if (id != NULL) {
        *id = m->last_asked;
    }
    send_bytes(m, FRAME_REQ, m->last_asked, &body);
    buf_free(&body);
    return 0;
}

void
mux_request_forget(struct mux *m, uint64_t id)
{
    struct mux_request_entry *r = find_asked(m, id);

    if (r != NULL) {
        remove_asked(m, r);
    }
}

void
mux_fail_requests(struct mux *m, const struct err *why)
{
    while (m->n_asked > 0) {
        struct mux_request_entry r = m->asked[0];

        remove_asked(m, &m->asked[0]);
        if (r.cb != NULL) {
            r.cb(r.ctx, NULL, why, "");
        }
    }
}

/* ---- requests of the peer ---- */

static bool
close_answering(struct mux *m, uint64_t id)
{
    for (size_t i = 0; i < m->n_answering; i++) {
        if (m->answering[i] == id) {
            m->answering[i] = m->answering[--m->n_answering];
            return true;
        }
    }
    return false;
}

void
mux_respond(struct mux *m, uint64_t id, const struct rec *resp)
{
    if (close_answering(m, id)) {
        mux_send_record(m, FRAME_RESP, id, resp);
    }
}

void
mux_respond_error(struct mux *m, uint64_t id, const struct err *why, const char *hint)
{
    if (close_answering(m, id)) {
        struct rec *r = msg_error_new(why, hint);

        mux_send_record(m, FRAME_ERR, id, r);
        rec_free(r);
    }
}

void
mux_event(struct mux *m, const struct rec *event)
{
    if (!m->over && !m->leaving) {
        mux_send_record(m, FRAME_EVENT, ++m->last_event, event);
    }
}

/* ---- whole messages from the peer ---- */

static int
take_request(struct mux *m, uint64_t id, const struct rec *r)
{
    if (m->n_answering == m->cap_answering) {
        m->cap_answering = m->cap_answering == 0 ? 8 : 2 * m->cap_answering;
        m->answering = xrealloc(m->answering, m->cap_answering * sizeof *m->answering);
    }
    m->answering[m->n_answering++] = id;
    if (m->ev.on_request != NULL) {
        m->ev.on_request(m->ctx, m, id, r);
    } else {
        struct err why;

        err_set(&why, ERR_INVALID, "nothing can be asked here");
        mux_respond_error(m, id, &why, NULL);
    }
    return 0;
}

static int
take_answer(struct mux *m, uint8_t type, uint64_t id, const struct rec *r, struct err *e)
{
    struct mux_request_entry *found = find_asked(m, id);
    struct mux_request_entry who;
    char hint[MUX_HINT_MAX + 1];
    struct err why;

    if (found == NULL) {
        return 0; /* forgotten */
    }
    if (type == FRAME_ERR && msg_error_parse(r, &why, hint, e) == -1) {
        return -1;
    }
    who = *found;
    remove_asked(m, found);
    if (who.cb == NULL) {
        return 0;
    }
    if (type == FRAME_ERR) {
        who.cb(who.ctx, NULL, &why, hint);
    } else {
        who.cb(who.ctx, r, NULL, "");
    }
    return 0;
}

static int
take_whole(struct mux *m, uint8_t type, uint64_t id, const uint8_t *data, size_t len,
           struct err *e)
{
    struct rec *r = NULL;
    int rc = 0;

    if (rec_parse(&r, data, len, NULL, e) == -1) {
        return err_wrap(e, "a message from the peer");
    }
    switch (type) {
    case FRAME_REQ:
        rc = take_request(m, id, r);
        break;
    case FRAME_EVENT:
        if (m->ev.on_event != NULL) {
            m->ev.on_event(m->ctx, m, r);
        }
        break;
    default:
        rc = take_answer(m, type, id, r, e);
        break;
    }
    rec_free(r);
    return rc;
}

/* ---- assembly ---- */

static struct mux_partial *
find_partial(struct mux *m, uint8_t type, uint64_t id)
{
    for (size_t i = 0; i < m->n_partials; i++) {
        if (m->partials[i].type == type && m->partials[i].id == id) {
            return &m->partials[i];
        }
    }
    return NULL;
}

static void
drop_partial(struct mux *m, struct mux_partial *p)
{
    m->partial_bytes -= p->body.len;
    buf_free(&p->body);
    *p = m->partials[--m->n_partials];
    m->partials[m->n_partials] = (struct mux_partial){0};
}

/* A message begins: may it, under this number? */
static int
check_first(struct mux *m, const struct frame *f, struct err *e)
{
    uint64_t *last = NULL;
    size_t n_open = m->n_answering;

    switch (f->type) {
    case FRAME_REQ:
        last = &m->last_request;
        break;
    case FRAME_EVENT:
        last = &m->last_event_in;
        break;
    default:
        if (f->seq > m->last_asked) {
            return err_set(e, ERR_CORRUPT, "an answer to a request that was not made");
        }
        return 0;
    }
    if (f->seq <= *last) {
        return err_set(e, ERR_CORRUPT, "%s number %llu was used before",
                       frame_type_name(f->type), (unsigned long long)f->seq);
    }
    for (size_t i = 0; i < m->n_partials; i++) {
        n_open += m->partials[i].type == FRAME_REQ ? 1 : 0;
    }
    if (f->type == FRAME_REQ && n_open >= m->requests_max) {
        return err_set(e, ERR_BUSY, "more than %zu requests at a time", m->requests_max);
    }
    *last = f->seq;
    return 0;
}

static int
append(struct mux *m, struct mux_partial *p, const struct frame *f, struct err *e)
{
    if (f->len > m->message_max - p->body.len ||
        f->len > MUX_PARTIAL_MAX - m->partial_bytes) {
        return err_set(e, ERR_RANGE, "a message longer than %zu bytes", m->message_max);
    }
    buf_add(&p->body, f->payload, f->len);
    m->partial_bytes += f->len;
    return 0;
}

static int
begin_partial(struct mux *m, const struct frame *f, struct err *e)
{
    struct mux_partial *p;

    if ((f->type == FRAME_RESP) && find_asked(m, f->seq) == NULL) {
        return 0; /* forgotten: its pieces are not kept */
    }
    if (m->n_partials == MUX_PARTIALS_MAX) {
        return err_set(e, ERR_BUSY, "more than %d unfinished messages", MUX_PARTIALS_MAX);
    }
    p = &m->partials[m->n_partials++];
    *p = (struct mux_partial){.type = f->type, .id = f->seq};
    return append(m, p, f, e);
}

static int
finish_partial(struct mux *m, struct mux_partial *p, struct err *e)
{
    struct buf body = p->body;
    uint8_t type = p->type;
    uint64_t id = p->id;
    int rc;

    m->partial_bytes -= body.len;
    p->body = (struct buf)BUF_INIT;
    drop_partial(m, p);
    rc = take_whole(m, type, id, body.data, body.len, e);
    buf_free(&body);
    return rc;
}

int
mux_on_message(struct mux *m, const struct frame *f, struct err *e)
{
    struct mux_partial *p = find_partial(m, f->type, f->seq);
    bool more = (f->flags & FRAME_F_MORE) != 0;

    if (p != NULL) {
        if (append(m, p, f, e) == -1) {
            return -1;
        }
        return more ? 0 : finish_partial(m, p, e);
    }
    if (f->type == FRAME_RESP && f->seq <= m->last_asked &&
        find_asked(m, f->seq) == NULL) {
        return 0; /* a later piece of a forgotten one, perhaps */
    }
    if (check_first(m, f, e) == -1) {
        return -1;
    }
    if (more) {
        return begin_partial(m, f, e);
    }
    if (f->len > m->message_max) {
        return err_set(e, ERR_RANGE, "a message longer than %zu bytes", m->message_max);
    }
    return take_whole(m, f->type, f->seq, f->payload, f->len, e);
}

void
mux_free_messages(struct mux *m)
{
    while (m->n_partials > 0) {
        drop_partial(m, &m->partials[0]);
    }
    free(m->asked);
    free(m->answering);
    m->asked = NULL;
    m->answering = NULL;
    m->n_answering = 0;
}
