#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/devices.h"
#include "runner/host/facts.h"
#include "runner/host/reservations.h"
#include "runner/host/serve_internal.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

static void
host_info(struct serve *s, uint64_t id, const struct rec *req)
{
    struct host_info info;
    struct rec *r;
    struct err e;

    (void)req;
    if (facts_fill(&info, s->agent, s->renter, true, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    r = hostinfo_encode(&info);
    mux_respond(s->mux, id, r);
    rec_free(r);
    hostinfo_free(&info);
}

static void
device_list(struct serve *s, uint64_t id, const struct rec *req)
{
    struct device_list l = {NULL, 0};
    struct rec *r;
    struct err e;

    (void)req;
    if (devices_list(s->agent, true, &l, NULL, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    devices_look(s->agent, &l);
    if (reservations_mark(s->agent, &l, &e) != 0) {
        device_list_free(&l);
        serve_fail(s, id, &e);
        return;
    }
    r = msg_answer_new(VERB_DEVICE_LIST);
    for (size_t i = 0; i < l.n; i++) {
        struct rec *d = device_encode(&l.v[i]);
        struct buf b = BUF_INIT;

        rec_encode(d, &b);
        rec_add_bytes(r, "device", b.data, b.len);
        buf_free(&b);
        rec_free(d);
    }
    mux_respond(s->mux, id, r);
    rec_free(r);
    device_list_free(&l);
}

static void
price_list(struct serve *s, uint64_t id, const struct rec *req)
{
    struct host_info info;
    struct rec *r;
    struct err e;

    (void)req;
    if (facts_fill(&info, s->agent, s->renter, false, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    r = msg_answer_new(VERB_PRICE_LIST);
    rec_add_bytes(r, "offer", info.offer, info.offer_len);
    mux_respond(s->mux, id, r);
    rec_free(r);
    hostinfo_free(&info);
}

const struct serve_verb serve_verbs_host[] = {
    {VERB_HOST_INFO, host_info},
    {VERB_DEVICE_LIST, device_list},
    {VERB_PRICE_LIST, price_list},
    {NULL, NULL},
};
