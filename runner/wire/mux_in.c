#include <string.h>

#include "runner/wire/msg.h"
#include "runner/wire/mux_internal.h"

/* What each frame from the peer does. */

static int
on_hello(struct mux *m, const struct frame *f, struct err *e)
{
    struct rec *r = NULL;
    int rc = -1;

    if (m->have_peer) {
        return err_set(e, ERR_CORRUPT, "a second HELLO");
    }
    if (f->len > HELLO_MAX_BYTES) {
        return err_set(e, ERR_RANGE, "a HELLO longer than %zu bytes", HELLO_MAX_BYTES);
    }
    if (rec_parse(&r, f->payload, f->len, NULL, e) == -1 ||
        hello_parse(&m->peer, r, e) == -1) {
        err_wrap(e, "the peer's HELLO");
        goto out;
    }
    m->have_peer = true;
    rc = hello_negotiate(&m->mine, &m->peer, &m->proto, &m->features, e);
    if (rc == 0 && m->ev.on_hello != NULL) {
        m->ev.on_hello(m->ctx, m, &m->peer);
    }

out:
    rec_free(r);
    return rc;
}

static int
on_goaway(struct mux *m, const struct frame *f, struct err *e)
{
    struct err why = {0};
    char hint[MUX_HINT_MAX + 1] = "";
    struct rec *r = NULL;

    if (f->len > 0) {
        int rc = rec_parse(&r, f->payload, f->len, MSG_ERROR_TYPE, e);

        if (rc == 0) {
            rc = msg_error_parse(r, &why, hint, e);
            rec_free(r);
        }
        if (rc == -1) {
            return -1;
        }
    }
    m->over = true;
    m->peer_left = true;
    m->why = why;
    if (m->ev.on_goaway != NULL) {
        m->ev.on_goaway(m->ctx, m, why.code == ERR_NONE ? NULL : &why, hint);
    }
    return 0;
}

static int
on_ping(struct mux *m, const struct frame *f)
{
    if (m->out.n_pongs == MUX_PONGS) {
        /* Answering a later one answers for those before it. */
        memmove(m->out.pongs, m->out.pongs + 1, (MUX_PONGS - 1) * sizeof m->out.pongs[0]);
        m->out.n_pongs--;
    }
    m->out.pongs[m->out.n_pongs++] = f->seq;
    mux_out_notify(m);
    return 0;
}

static int
on_pong(struct mux *m, const struct frame *f, struct err *e)
{
    if (f->seq >= m->pace.next_seq || f->seq == 0) {
        return err_set(e, ERR_CORRUPT, "PONG without a PING");
    }
    if (mux_pace_pong(&m->pace, f->seq, m->now_ns) && mux_has_output(m)) {
        mux_out_notify(m);
    }
    return 0;
}

/* A frame of an attached channel. */
static int
on_channel_frame(struct channel *c, const struct frame *f, struct err *e)
{
    switch (f->type) {
    case FRAME_DATA:
        return channel_rx_on_data(c, f, e);
    case FRAME_GAP:
        return channel_rx_on_gap(c, f, e);
    case FRAME_EOF:
        return channel_rx_on_eof(c, f, e);
    case FRAME_NOTE:
        return channel_rx_on_note(c, f, e);
    case FRAME_ACK:
        return channel_tx_on_ack(c, f, e);
    default:
        return err_set(e, ERR_CORRUPT, "%s frame on an open stream",
                       frame_type_name(f->type));
    }
}

static int
on_channel(struct channel *c, const struct frame *f, struct err *e)
{
    int rc;

    if (c->phase != CHANNEL_ATTACHED) {
        return err_set(e, ERR_CORRUPT, "%s frame on a stream that is not open yet",
                       frame_type_name(f->type));
    }
    channel_enter(c);
    rc = on_channel_frame(c, f, e);
    if (!channel_leave(c) || rc == -1) {
        return rc;
    }
    channel_poke(c);
    channel_check_done(c);
    return 0;
}

static int
on_stream_frame(struct mux *m, const struct frame *f, struct err *e)
{
    struct stream *s;

    if (f->type == FRAME_OPEN) {
        return mux_on_open(m, f, e);
    }
    s = mux_find(m, f->stream);
    if (s == NULL) {
        if (mux_knows_stream(m, f->stream)) {
            return 0; /* it ended here while this was on its way */
        }
        return err_set(e, ERR_CORRUPT, "%s frame on stream %u, which was never opened",
                       frame_type_name(f->type), f->stream);
    }
    if (s->kind == STREAM_RELAY) {
        return relay_frame(m, s, f, e);
    }
    if (f->type == FRAME_RESET) {
        return mux_on_reset(m, s, f, e);
    }
    if (s->kind == STREAM_OFFERED) {
        return err_set(e, ERR_CORRUPT, "%s frame on a stream that is not open yet",
                       frame_type_name(f->type));
    }
    if (f->type == FRAME_ACCEPT) {
        return mux_on_accept(m, s, f, e);
    }
    return on_channel(s->channel, f, e);
}

int
mux_dispatch(struct mux *m, const struct frame *f, struct err *e)
{
    if (f->type == FRAME_HELLO) {
        return on_hello(m, f, e);
    }
    if (!m->have_peer) {
        return err_set(e, ERR_CORRUPT, "%s frame before HELLO", frame_type_name(f->type));
    }
    switch (f->type) {
    case FRAME_GOAWAY:
        return on_goaway(m, f, e);
    case FRAME_PING:
        return on_ping(m, f);
    case FRAME_PONG:
        return on_pong(m, f, e);
    case FRAME_REQ:
    case FRAME_RESP:
    case FRAME_ERR:
    case FRAME_EVENT:
        return mux_on_message(m, f, e);
    default:
        return on_stream_frame(m, f, e);
    }
}
