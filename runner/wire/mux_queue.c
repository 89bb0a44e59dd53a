#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "runner/wire/mux_internal.h"

/*
 * What waits to be sent: items (whole frames) in lists, and rings of those that have
 * something to send when it is their turn. mux_out.c takes from them.
 */

struct mux_item *
mux_item_new(const struct frame *f)
{
    struct mux_item *i = xmalloc(sizeof *i + f->len);

    i->next = NULL;
    i->f = *f;
    bytes_copy(i->data, f->payload, f->len);
    i->f.payload = i->data;
    return i;
}

void
mux_item_push(struct mux_item_list *l, struct mux_item *i)
{
    if (l->head == NULL) {
        l->head = i;
    } else {
        l->tail->next = i;
    }
    l->tail = i;
}

struct mux_item *
mux_item_pop(struct mux_item_list *l)
{
    struct mux_item *i = l->head;

    if (i != NULL) {
        l->head = i->next;
        i->next = NULL;
    }
    return i;
}

void
mux_out_notify(struct mux *m)
{
    if (!m->out.told && m->out.on_output != NULL) {
        m->out.told = true;
        m->out.on_output(m->out.on_output_ctx);
    }
}

void
mux_on_output(struct mux *m, void (*fn)(void *ctx), void *ctx)
{
    m->out.on_output = fn;
    m->out.on_output_ctx = ctx;
    m->out.told = false;
}

void
mux_queue_control(struct mux *m, const struct frame *f)
{
    if (m->over || (m->leaving && m->goaway == NULL)) {
        return; /* nothing follows a goodbye */
    }
    mux_item_push(&m->out.control, mux_item_new(f));
    m->out.queued += f->len + FRAME_HEADER_BYTES;
    mux_queue_check(m);
    mux_out_notify(m);
}

void
mux_queue_check(struct mux *m)
{
    struct err e;

    if (m->out.queued > MUX_QUEUE_MAX) {
        err_set(&e, ERR_BUSY, "the peer asks faster than it reads");
        (void)mux_fail(m, &e);
    }
}

static void
ring_add(struct mux_ring *r, struct mux_turn *t)
{
    if (t->prev != NULL) {
        return;
    }
    t->ring = r;
    if (r->first == NULL) {
        t->prev = t->next = t;
        r->first = t;
        return;
    }
    t->next = r->first;
    t->prev = r->first->prev;
    t->prev->next = t;
    t->next->prev = t;
}

void
mux_ring_remove(struct mux *m, struct mux_turn *t)
{
    struct mux_ring *r = t->ring;

    (void)m;
    if (t->prev == NULL) {
        return;
    }
    if (t->next == t) {
        r->first = NULL;
    } else {
        t->prev->next = t->next;
        t->next->prev = t->prev;
        if (r->first == t) {
            r->first = t->next;
        }
    }
    t->prev = t->next = NULL;
    t->ring = NULL;
}

void
mux_queue_turn(struct mux *m, struct mux_turn *t, enum channel_class cls)
{
    if (!m->over) {
        ring_add(&m->out.by_class[cls], t);
        mux_out_notify(m);
    }
}

void
mux_queue_urgent(struct mux *m, struct channel *c)
{
    if (!m->over) {
        ring_add(&m->out.urgent, &c->urgent);
        mux_out_notify(m);
    }
}
