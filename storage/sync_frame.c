#include "storage/sync_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void
sync_put_header(struct buf *out, enum sync_frame type, size_t len)
{
    buf_add_u32(out, (uint32_t)len);
    buf_add_u8(out, (uint8_t)type);
    buf_add(out, "\0\0", 3);
}

void
sync_put_fail(struct buf *out, const struct err *why, bool form)
{
    const char *name = err_code_name(why->code);
    size_t name_len = strlen(name);
    size_t msg_len = strnlen(why->msg, SYNC_FAIL_TEXT_MAX - name_len - 1);
    bool helps = form && why->helps;
    size_t form_len = helps || (form && why->form[0] != '\0') ? 1 + strlen(why->form) : 0;

    sync_put_header(out, SYNC_FAIL, name_len + 1 + msg_len + form_len + (helps ? 1 : 0));
    buf_add(out, name, name_len);
    buf_add_u8(out, '\n');
    buf_add(out, why->msg, msg_len);
    if (form_len > 0) {
        buf_add_u8(out, SYNC_FAIL_FORM);
        buf_add(out, why->form, form_len - 1);
    }
    if (helps) {
        buf_add_u8(out, SYNC_FAIL_FORM);
    }
}

int
sync_next_frame(const struct buf *in, size_t *at, enum sync_frame *type,
                const uint8_t **payload, size_t *len, bool *got, struct err *e)
{
    const uint8_t *head = in->data + *at;
    size_t left = in->len - *at;
    size_t n;

    *got = false;
    if (left < SYNC_HEADER_BYTES) {
        return 0;
    }
    n = get_u32(head);
    if (n > SYNC_FRAME_MAX_BYTES - SYNC_HEADER_BYTES || head[4] == SYNC_FRAME_NONE ||
        head[4] > SYNC_FAIL || head[5] != 0 || head[6] != 0 || head[7] != 0) {
        return err_set(e, ERR_CORRUPT, "not a frame of a transfer (type %u, %zu bytes)",
                       head[4], n);
    }
    if (left - SYNC_HEADER_BYTES < n) {
        return 0;
    }
    *type = (enum sync_frame)head[4];
    *payload = head + SYNC_HEADER_BYTES;
    *len = n;
    *at += SYNC_HEADER_BYTES + n;
    *got = true;
    return 0;
}

/* A frame has passed. Each OFFER has its WANT, each TREE one of the three others. */
static void
count(struct sync_place *p)
{
    size_t len = get_u32(p->head);

    switch ((enum sync_frame)p->head[4]) {
    case SYNC_OFFER:
    case SYNC_TREE:
        p->n_asked++;
        break;
    case SYNC_WANT:
    case SYNC_UNKNOWN:
    case SYNC_DONE_FRAME:
        p->n_answered++;
        break;
    case SYNC_MISSING:
        p->n_answered += p->first == 1 ? 1 : 0; /* the last one of a list */
        break;
    case SYNC_CHUNK:
        p->stored_bytes +=
            len > SYNC_CHUNK_HEADER_BYTES ? len - SYNC_CHUNK_HEADER_BYTES : 0;
        break;
    case SYNC_MORE:
        p->stored_bytes += len;
        break;
    case SYNC_FRAME_NONE:
    case SYNC_FAIL:
        break;
    }
}

void
sync_place_pass(struct sync_place *p, const void *data, size_t n)
{
    const uint8_t *at = data;

    while (n > 0) {
        size_t took;

        if (p->n_head < SYNC_HEADER_BYTES) {
            took = SYNC_HEADER_BYTES - p->n_head < n ? SYNC_HEADER_BYTES - p->n_head : n;
            memcpy(p->head + p->n_head, at, took);
            p->n_head += took;
            p->left = p->n_head == SYNC_HEADER_BYTES ? get_u32(p->head) : 0;
        } else {
            took = p->left < n ? p->left : n;
            p->first = p->left == get_u32(p->head) ? at[0] : p->first;
            p->left -= took;
        }
        if (p->n_head == SYNC_HEADER_BYTES && p->left == 0) {
            p->n_head = 0;
            count(p);
        }
        at += took;
        n -= took;
    }
}

bool
sync_place_is_inside(const struct sync_place *p)
{
    return p->n_head > 0;
}

bool
sync_place_is_asked(const struct sync_place *sender, const struct sync_place *receiver)
{
    return sender->n_asked > receiver->n_answered;
}

/* ---- chunks by id ---- */

static size_t
slot_of(const struct sync_table *t, const struct sha256 *id)
{
    uint64_t h = get_u64(id->b);
    size_t slot = (size_t)h & (t->n_slots - 1);

    while (t->slots[slot] != 0 && !sha256_equal(&t->v[t->slots[slot] - 1].id, id)) {
        slot = (slot + 1) & (t->n_slots - 1);
    }
    return slot;
}

static void
grow(struct sync_table *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 64 : t->cap * 2;
        t->v = xrealloc(t->v, t->cap * sizeof *t->v);
    }
    if ((t->n + 1) * 2 <= t->n_slots) {
        return;
    }
    t->n_slots = t->n_slots == 0 ? 256 : t->n_slots * 2;
    free(t->slots);
    t->slots = xcalloc(t->n_slots, sizeof *t->slots);
    for (size_t i = 0; i < t->n; i++) {
        t->slots[slot_of(t, &t->v[i].id)] = (uint32_t)(i + 1);
    }
}

size_t
sync_table_add(struct sync_table *t, const struct sha256 *id, bool *added)
{
    size_t slot;

    grow(t);
    slot = slot_of(t, id);
    *added = t->slots[slot] == 0;
    if (*added) {
        memset(&t->v[t->n], 0, sizeof t->v[0]);
        t->v[t->n].id = *id;
        t->v[t->n].state = SYNC_CHUNK_FRESH;
        t->slots[slot] = (uint32_t)++t->n;
    }
    return t->slots[slot] - 1;
}

struct sync_chunk *
sync_table_find(const struct sync_table *t, const struct sha256 *id)
{
    size_t slot;

    if (t->n_slots == 0) {
        return NULL;
    }
    slot = slot_of(t, id);
    return t->slots[slot] == 0 ? NULL : &t->v[t->slots[slot] - 1];
}

void
sync_table_free(struct sync_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->v[i].stored);
    }
    free(t->v);
    free(t->slots);
    memset(t, 0, sizeof *t);
}

/* ---- queues of numbers ---- */

void
sync_numbers_add(struct sync_numbers *q, size_t number)
{
    if (q->n == q->cap && q->at > q->n / 2) { /* mostly taken: reuse the front */
        q->n -= q->at;
        memmove(q->v, q->v + q->at, q->n * sizeof *q->v);
        q->at = 0;
    }
    if (q->n == q->cap) {
        q->cap = q->cap == 0 ? 64 : q->cap * 2;
        q->v = xrealloc(q->v, q->cap * sizeof *q->v);
    }
    q->v[q->n++] = number;
}

bool
sync_numbers_take(struct sync_numbers *q, size_t *number)
{
    if (q->at == q->n) {
        return false;
    }
    *number = q->v[q->at++];
    return true;
}

void
sync_numbers_free(struct sync_numbers *q)
{
    free(q->v);
    memset(q, 0, sizeof *q);
}
