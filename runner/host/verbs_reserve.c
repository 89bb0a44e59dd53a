#include <string.h>

#include "base/buf.h"
#include "runner/host/reservations.h"
#include "runner/host/serve_internal.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

static void
answer_chain(struct serve *s, uint64_t id, const char *verb, const struct buf *chain)
{
    struct rec *r = msg_answer_new(verb);

    rec_add_bytes(r, "reservation", chain->data, chain->len);
    mux_respond(s->mux, id, r);
    rec_free(r);
}

static void
reserve_order(struct serve *s, uint64_t id, const struct rec *req)
{
    struct buf chain = BUF_INIT;
    size_t order_len = 0;
    size_t grant_len = 0;
    const char *order = rec_get_bytes(req, "order", &order_len);
    const char *grant = rec_get_bytes(req, "grant", &grant_len);
    struct err e;

    if (order == NULL) {
        err_set(&e, ERR_INVALID, "the request lacks 'order'");
        serve_fail(s, id, &e);
    } else if (reservations_order(s->agent, s->renter, order, order_len, grant, grant_len,
                                  rec_get(req, "job"), &chain, &e) != 0) {
        serve_fail(s, id, &e);
    } else {
        answer_chain(s, id, VERB_RESERVE_ORDER, &chain);
    }
    buf_free(&chain);
}

/* One of this renter's; another's is not there. */
static int
load_own(const struct serve *s, const struct rec *req, struct reservation **out,
         struct err *e)
{
    const char *name;

    if (rec_need_str(req, "id", &name, e) != 0 ||
        reservations_load(out, s->agent, name, e) != 0) {
        return -1;
    }
    if (!s->renter->has_key ||
        memcmp((*out)->renter.b, s->renter->key.b, sizeof s->renter->key.b) != 0) {
        reservation_free(*out);
        *out = NULL;
        return err_set(e, ERR_NOT_FOUND, "this host has no reservation %s", name);
    }
    return 0;
}

static void
reserve_show(struct serve *s, uint64_t id, const struct rec *req)
{
    struct reservation *r = NULL;
    struct err e;

    if (load_own(s, req, &r, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    answer_chain(s, id, VERB_RESERVE_SHOW, &r->bytes);
    reservation_free(r);
}

const struct serve_verb serve_verbs_reserve[] = {
    {VERB_RESERVE_ORDER, reserve_order},
    {VERB_RESERVE_SHOW, reserve_show},
    {NULL, NULL},
};
