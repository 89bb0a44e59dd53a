#include "runner/wire/relay.h"

#include <string.h>

#include "runner/wire/mux_internal.h"

/* Both ends of a relayed stream go, without a word. */
static void
remove_both(struct mux *m, struct stream *s)
{
    struct mux *other = s->other;
    struct stream *o = mux_find(other, s->other_id);

    mux_remove_stream(m, s);
    if (o != NULL) {
        mux_remove_stream(other, o);
    }
}

void
relay_gone(struct mux *m, struct stream *s, const struct err *why)
{
    struct mux *other = s->other;
    uint32_t id = s->other_id;
    struct err link;

    remove_both(m, s);
    err_set(&link, ERR_LINK, "the connection behind this one is gone");
    if (why != NULL) {
        link = *why;
        link.code = ERR_LINK;
    }
    mux_send_reset(other, id, &link, NULL);
}

/* The same OPEN, for another connection and perhaps with another record. */
static void
send_open(struct mux *to, uint32_t stream, const struct stream *s, const struct rec *rec)
{
    struct buf body = BUF_INIT;
    struct frame f = {.type = FRAME_OPEN, .stream = stream};

    if (rec == NULL) {
        buf_add(&body, s->offer, s->offer_len);
    } else {
        buf_add(&body, s->offer, CHANNEL_OPEN_BYTES);
        rec_encode(rec, &body);
    }
    f.payload = body.data;
    f.len = body.len;
    mux_queue_control(to, &f);
    buf_free(&body);
}

int
relay_join(struct mux *from, uint32_t stream, struct mux *to, const struct rec *rec,
           struct err *e)
{
    struct stream *s = mux_find(from, stream);
    struct stream *o;
    uint32_t id;

    if (from->over || s == NULL || s->kind != STREAM_OFFERED) {
        return err_set(e, ERR_LINK, "the peer no longer asks for this stream");
    }
    id = mux_next_stream(to, e);
    if (id == 0) {
        return -1;
    }
    o = mux_add_stream(to, id, STREAM_RELAY, s->cls);
    o->other = from;
    o->other_id = stream;
    s->kind = STREAM_RELAY;
    s->other = to;
    s->other_id = id;
    send_open(to, id, s, rec);
    return 0;
}

/* May this frame go ahead of the bytes of its stream? */
static bool
goes_ahead(const struct stream *to, const struct frame *f)
{
    switch (f->type) {
    case FRAME_ACCEPT:
    case FRAME_ACK:
    case FRAME_RESET:
        return true;
    case FRAME_NOTE:
        /* Notes stay in order among themselves. */
        return (f->flags & FRAME_F_ORDERED) == 0 && to->n_notes_queued == 0;
    default:
        return false;
    }
}

static void
queue_behind(struct mux *m, struct stream *to, const struct frame *f)
{
    mux_item_push(&to->queue, mux_item_new(f));
    to->n_notes_queued += f->type == FRAME_NOTE ? 1 : 0;
    m->out.relayed += f->len + FRAME_HEADER_BYTES;
    mux_queue_turn(m, &to->turn, to->cls);
}

int
relay_frame(struct mux *m, struct stream *s, const struct frame *f, struct err *e)
{
    struct mux *other = s->other;
    struct stream *to = mux_find(other, s->other_id);
    struct frame out = *f;

    if (to == NULL) {
        return err_set(e, ERR_CORRUPT, "relayed stream %u leads nowhere", s->id);
    }
    out.stream = to->id;
    if (!goes_ahead(to, f)) {
        if (other->out.relayed > MUX_QUEUE_MAX) {
            return err_set(e, ERR_CORRUPT, "the peer sends more than it has credit for");
        }
        queue_behind(other, to, &out);
        return 0;
    }
    mux_queue_control(other, &out);
    if (f->type == FRAME_RESET) {
        remove_both(m, s);
    } else if (f->type == FRAME_ACK && (f->flags & FRAME_F_ENDED) != 0) {
        to->ended_told = true;
        if (s->ended_told) {
            remove_both(m, s); /* both directions are through */
        }
    }
    return 0;
}
