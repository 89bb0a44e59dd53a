#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/devices.h"
#include "runner/host/facts.h"
#include "runner/host/loginenv.h"
#include "runner/host/park.h"
#include "runner/host/python.h"
#include "runner/host/reservations.h"
#include "runner/host/serve_internal.h"
#include "runner/host/serve_work.h"
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

/* ---- host.python ---- */

static int
python_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct strings env = {NULL, 0};
    struct python p;
    struct err env_why;
    int rc;

    /* Renters whom `allow` let in do not make the owner's machine work as they like. */
    (w->serve->renter->confined ? loginenv_get : loginenv_get_again)(w->serve->agent,
                                                                     &env, &env_why);
    rc = python_ask(&p, w->serve->agent, &env, !w->serve->renter->confined, e);
    if (rc == 0) {
        w->reply = msg_answer_new(VERB_HOST_PYTHON);
        rec_add(w->reply, "env_why", env_why.msg);
        rec_add(w->reply, "env_form", env_why.form);
        rec_add(w->reply, "version", p.version);
        rec_add(w->reply, "at", p.at);
        rec_add(w->reply, "torch", p.torch);
        rec_add(w->reply, "cuda", p.cuda);
        rec_add(w->reply, "torch_why", p.torch_why.msg);
        rec_add(w->reply, "torch_form", p.torch_why.form);
    }
    strings_free(&env);
    return rc;
}

static void
python_answer(struct serve_work *w)
{
    mux_respond(w->serve->mux, w->id, w->reply);
}

static void
host_python(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);

    (void)req;
    w->run = python_run;
    w->only_looks = true;
    w->answer = python_answer;
    serve_work_start(w);
}

/* ---- parking ---- */

static int
set_park(struct serve *s, const struct rec *req, struct err *e)
{
    size_t len = 0;
    const char *command = rec_get_bytes(req, "command", &len);
    int64_t after_s = 0;
    bool off;

    if (serve_flag(req, "off", &off, e) != 0) {
        return -1;
    }
    if (!off && command == NULL) {
        return 0; /* only asked how it stands */
    }
    /* It runs outside of jobs, and takes the machine away from everybody. */
    if (s->renter->confined) {
        return err_set(e, ERR_DENIED,
                       "--park: only who logs in to this host may say so, not a renter "
                       "that its owner has let in");
    }
    if (off) {
        return park_set(s->agent, NULL, 0, e);
    }
    return rec_need_int(req, "after_s", INT64_MIN, INT64_MAX, &after_s, e) == 0 &&
                   park_check(command, len, after_s, e) == 0
               ? park_set(s->agent, command, after_s, e)
               : -1;
}

static void
host_park(struct serve *s, uint64_t id, const struct rec *req)
{
    struct err e;

    if (set_park(s, req, &e) != 0) {
        serve_fail(s, id, &e);
    } else {
        host_info(s, id, req);
    }
}

const struct serve_verb serve_verbs_host[] = {
    {VERB_HOST_INFO, host_info},   {VERB_HOST_PYTHON, host_python},
    {VERB_HOST_PARK, host_park},   {VERB_DEVICE_LIST, device_list},
    {VERB_PRICE_LIST, price_list}, {NULL, NULL},
};
