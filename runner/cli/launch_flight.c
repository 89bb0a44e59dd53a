#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/refuse.h"
#include "runner/cli/ending.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/cli/shipline.h"
#include "runner/client/room.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define PATIENCE_NS ((int64_t)1800 * 1000000000) /* with a job out there */

/* ---- the flight ---- */

/* With -v: what shipping really took. */
static void
say_shipped(const struct launch *l)
{
    struct sync_stats st;
    struct err e;

    if (l->ship != NULL && ship_state(l->ship, &e) == SHIP_DONE) {
        ship_stats(l->ship, &st);
        say_more(l->c,
                 _("shipped: %" PRIu64 " chunks sent, %" PRIu64 " bytes on the wire"),
                 st.n_sent, st.wire_bytes);
    }
}

static void
on_submitted(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct launch *l = ctx;

    l->submit = NULL;
    if (resp != NULL) {
        say_shipped(l);
        l->accepted = true;
        l->c->stage = STAGE_CHANGED;
        session_set_patience(l->session, PATIENCE_NS);
        follow_job_exists(l->follow);
        if (l->r->detach) {
            struct err done;

            err_set(&done, ERR_NONE, "detached");
            follow_cancel(l->follow, &done);
        }
        return;
    }
    if (why->code == ERR_LINK && session_conn(l->session) == NULL) {
        return; /* asked again when the link is back */
    }
    l->refused = true;
    session_peer_error(why, hint, &l->refusal);
    (void)room_full_host(l->session, &l->refusal);
    follow_cancel(l->follow, &l->refusal);
}

struct rec *
launch_submit_request(const struct grant *g, const struct buf *spec_bytes,
                      const struct strings *secrets)
{
    struct rec *req = msg_request_new(VERB_JOB_SUBMIT);
    uint8_t key[MSG_KEY_LEN];
    struct sha256 h;

    /* The same key for the same submit, however often it is sent. */
    sha256_of(g->lease, strlen(g->lease), &h);
    memcpy(key, h.b, sizeof key);
    msg_add_key(req, key);
    rec_add_bytes(req, "spec", spec_bytes->data, spec_bytes->len);
    rec_add_bytes(req, "grant", g->bytes.data, g->bytes.len);
    for (size_t i = 0; i < secrets->n; i++) {
        rec_add(req, "secret", secrets->v[i]);
    }
    return req;
}

static int
send_submit(struct launch *l, struct conn *c, struct err *e)
{
    struct rec *req = launch_submit_request(&l->grant, &l->spec_bytes, &l->r->secrets);
    int rc = call_start(&l->submit, c, req, -1, on_submitted, l, e);

    rec_free(req);
    return rc;
}

static void
on_before(void *ctx, struct conn *c, bool first)
{
    struct launch *l = ctx;
    struct err e;

    (void)first;
    if (!l->accepted) {
        call_cancel(l->submit);
        l->submit = NULL;
        if ((l->ship != NULL && ship_send(l->ship, l->session, c, &e) != 0) ||
            send_submit(l, c, &e) != 0) {
            if (e.code != ERR_LINK) {
                follow_cancel(l->follow, &e);
            }
            return;
        }
        l->submitted = true;
    }
    fetch_begin(l->fetch, c);
}

/*
 * --port: the listener first: what is typed from the printed URL is not refused then. By
 * now the job is there and costs: a number that is taken here is no reason to let go.
 */
static int
open_port(struct launch *l, const struct port_want *w, struct port_forward **out,
          struct err *e)
{
    const char *job = l->r->spec.job;
    uint16_t local;

    if (port_forward_new(out, l->cl, l->session, job, w->remote, w->local, e) != 0 &&
        (e->code != ERR_BUSY ||
         port_forward_new(out, l->cl, l->session, job, w->remote, 0, e) != 0)) {
        return -1;
    }
    local = port_forward_local(*out);
    if (w->local != 0 && w->local != local) {
        say(l->c, _("port %u is not free here: port %u of the job: http://127.0.0.1:%u"),
            w->local, w->remote, local);
    } else {
        say(l->c, _("port %u of the job: http://127.0.0.1:%u"), w->remote, local);
    }
    return 0;
}

static void
open_ports(struct launch *l)
{
    struct err e;

    l->ports = xcalloc(l->r->n_ports + 1, sizeof(struct port_forward *));
    for (size_t i = 0; i < l->r->n_ports; i++) {
        if (open_port(l, &l->r->ports[i], &l->ports[i], &e) != 0) {
            follow_cancel(l->follow, &e);
            return;
        }
    }
}

void
launch_close_ports(struct launch *l)
{
    for (size_t i = 0; l->ports != NULL && i < l->r->n_ports; i++) {
        port_forward_free(l->ports[i]);
    }
    free(l->ports);
    l->ports = NULL;
}

static void
on_state(void *ctx, const struct job_state *st)
{
    struct launch *l = ctx;

    l->accepted = true;
    alerts_state(&l->alerts, l->c, st, session_host(l->session)->name);
    if (l->ports == NULL && l->r->n_ports > 0) {
        open_ports(l);
    }
    if (st->phase >= JOB_RUNNING) {
        progress_end(l->progress);
        l->progress = NULL;
    }
    ending_say_unbilled(l->c, st, &l->said_unbilled);
    ending_say_dispute(l->c, fetch_dispute(l->fetch), l->record.id,
                       session_host(l->session)->name, &l->said_dispute);
    if (st->phase == JOB_STOPPING && st->reason != JOB_STOPPED &&
        st->reason != JOB_REASON_NONE) {
        struct err told;

        refuse_told(&told, ERR_NONE, st->detail != NULL ? st->detail : "",
                    st->detail_form);
        say(l->c, _("the job is being stopped: %s%s%s"),
            err_words(job_reason_name(st->reason)), told.msg[0] != '\0' ? ": " : "",
            told.msg);
    }
}

static void
on_down(void *ctx, const struct failure *why, int64_t retry_ns)
{
    struct launch *l = ctx;

    (void)retry_ns;
    if (!l->said_down) {
        if (l->accepted) {
            ending_say_down(l->c, session_host(l->session)->name, why);
        } else {
            say(l->c, _("the link to host '%s' is gone (%s); trying again"),
                session_host(l->session)->name, why->err.msg);
        }
        l->said_down = true;
    }
}

static void
on_back(void *ctx)
{
    struct launch *l = ctx;

    l->said_down = false;
    ending_say_back(l->c, session_host(l->session)->name);
}

static void
on_interrupt(void *ctx, int times)
{
    struct launch *l = ctx;

    if (times == 1) {
        say_more(l->c, "%s", _("SIGINT sent to the job; again within a second stops it"));
    } else if (times == 2) {
        say(l->c,
            _("stopping the job (it has %lld s; `gpurun stop --now %s` does not wait)"),
            (long long)l->r->spec.window_s, l->r->spec.name);
    }
}

static void
on_gap(void *ctx, bool of_stderr, uint64_t from, uint64_t to)
{
    struct launch *l = ctx;

    say(l->c, _("%s: bytes %" PRIu64 " to %" PRIu64 " are no longer kept"),
        of_stderr ? "stderr" : "stdout", from, to);
}

/* ---- acknowledgements ---- */

/* The book's word goes to the host as it is; without one the next checkpoint asks. */
static void
on_acked(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct launch *l = ctx;
    const char *cosign;
    size_t len;

    (void)hint;
    l->ack = NULL;
    if (resp == NULL) {
        say_more(l->c, _("the book has not acknowledged a checkpoint: %s"), why->msg);
        return;
    }
    cosign = rec_get_bytes(resp, "cosign", &len);
    if (cosign != NULL && l->fetch != NULL) {
        fetch_give(l->fetch, cosign, len);
    }
}

void
launch_checkpoint(void *ctx, const char *lease, const struct buf *record)
{
    struct launch *l = ctx;
    struct counter *counter = purse_counter(l->purse);
    struct conn *c = counter != NULL ? counter_conn(counter) : NULL;
    struct rec *req;
    struct err e;

    if (c == NULL || l->ack != NULL || l->grant.cap_fen == 0) {
        return;
    }
    req = msg_request_new(VERB_BOOK_ACK);
    rec_add(req, "lease", lease);
    rec_add_bytes(req, "checkpoint", record->data, record->len);
    (void)!call_start(&l->ack, c, req, COUNTER_ANSWER_NS, on_acked, l, &e);
    rec_free(req);
}

const struct follow_events launch_follow_events = {
    .before = on_before,
    .state = on_state,
    .down = on_down,
    .back = on_back,
    .interrupt = on_interrupt,
    .gap = on_gap,
};

void
launch_progress_line(void *ctx, struct buf *out)
{
    struct launch *l = ctx;
    struct err e;

    if (l->session == NULL) {
        buf_add_str(out, _("asking the hosts"));
        return;
    }
    switch (l->ship != NULL ? ship_state(l->ship, &e) : SHIP_DONE) {
    case SHIP_BUILDING:
    case SHIP_BUILT:
    case SHIP_SENDING:
        shipline(l->ship, l->progress, _("sending: "), out);
        break;
    case SHIP_DONE:
        buf_add_str(out, _("waiting for the job to start"));
        break;
    case SHIP_NONE:
    case SHIP_FAILED:
        break;
    }
}

void
launch_ship_changed(void *ctx)
{
    struct launch *l = ctx;
    struct err e;

    if (l->follow != NULL && !l->accepted && ship_state(l->ship, &e) == SHIP_FAILED) {
        (void)room_full_host(l->session, &e);
        follow_cancel(l->follow, &e);
    }
}
