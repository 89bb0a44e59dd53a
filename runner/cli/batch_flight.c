#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/ending.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/notifycmd.h"
#include "runner/cli/out.h"
#include "runner/cli/outs.h"
#include "runner/client/lease.h"
#include "runner/client/purse.h"
#include "runner/client/room.h"
#include "runner/client/told.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define PATIENCE_NS ((int64_t)1800 * 1000000000) /* with jobs out there */

static bool
is_out_there(const struct batch_job *j)
{
    return j->stage == BATCH_SENT || j->stage == BATCH_ACCEPTED;
}

/* ---- ends ---- */

void
batch_close_job(struct batch_job *j)
{
    call_cancel(j->submit);
    call_cancel(j->follow);
    j->submit = NULL;
    j->follow = NULL;
    fetch_free(j->fetch);
    j->fetch = NULL;
    if (j->outs != NULL) {
        (void)outs_end(j->outs);
        j->outs = NULL;
    }
    if (j->seen != NULL) {
        j->told = j->seen->told;
    }
    jobs_seen_close(j->seen, &j->seen_lock);
    j->seen = NULL;
    (void)fd_close(&j->wallet_guard);
}

static void
forget(struct batch_job *j, const struct err *why)
{
    batch_mirror_end_live(j);
    launch_forget(j->b->c, j->b->cl, j->b->purse,
                  j->host != NULL ? j->host->session : NULL, &j->grant, j->record.id,
                  why);
}

static void
give_back(struct batch_job *j)
{
    if (!j->released) {
        j->released = true;
        batch_count(j, j->r.spec.count);
        j->b->look = true;
    }
}

static void
leave(struct batch_job *j, enum batch_stage stage)
{
    j->stage = stage;
    j->b->n_active--;
    j->b->look = true;
    if (stage == BATCH_DONE) {
        j->b->n_done++;
    }
}

/* Back into the queue: its devices were taken before us (the host is asked again), or its
 * files are another tree by now. */
static void
put_back(struct batch_job *j)
{
    j->refused = false;
    memset(&j->why, 0, sizeof j->why);
    batch_close_job(j);
    forget(j, NULL);
    leave(j, BATCH_QUEUED);
    j->host = NULL;
    if ((size_t)(j - j->b->jobs) < j->b->first_queued) {
        j->b->first_queued = (size_t)(j - j->b->jobs);
    }
}

/* In a callback: what follows may have to ask a book, and waits for batch_settle. */
static void
refused(struct batch_job *j, const struct err *why, const char *hint)
{
    struct ship *ship = j->root->ships[j->host->at];

    /* A tree that did not arrive is refused for that; what broke is known here. */
    if (ship_state(ship, &j->why) != SHIP_FAILED) {
        session_peer_error(why, hint, &j->why);
    }
    (void)room_full_host(j->host->session, &j->why);
    j->refused = true;
    j->b->look = true;
}

/* A host that fell silent while it was sent the files does not answer for their job. */
static bool
is_stalled(struct batch_job *j)
{
    struct err why;

    if (j->stage != BATCH_SENT ||
        ship_state(j->root->ships[j->host->at], &why) != SHIP_FAILED ||
        why.code != ERR_LINK) {
        return false;
    }
    j->why = why;
    return true;
}

void
batch_settle(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];
        bool changed = j->refused && batch_has_changed(j);

        /* The others first that wait for the same files: they will be read anew. */
        if ((!j->refused && !is_stalled(j)) || (changed && batch_is_awaited(j))) {
            continue;
        }
        if (changed && batch_may_read_again(j)) {
            give_back(j);
            put_back(j);
            continue;
        }
        if (!changed && j->why.code == ERR_BUSY) {
            put_back(j);
            continue;
        }
        if (changed) {
            batch_wrap_changed(&j->why);
        }
        j->refused = false;
        j->code = cli_exit_code(STAGE_TRYING, j->why.code);
        give_back(j);
        batch_close_job(j);
        forget(j, NULL);
        leave(j, BATCH_DONE);
        batch_say_done(j);
    }
    batch_read_anew(b);
}

/* ---- what a host says of a job ---- */

/* Whatever it does goes on by itself. */
static void
lose_sight(struct batch_job *j, const struct err *why)
{
    j->why = *why;
    j->code = CLI_CONTACT;
    batch_close_job(j);
    leave(j, BATCH_DONE);
    batch_say_done(j);
}

/* One whose bill is here has ended. */
static bool
is_in_sight(const struct batch_job *j)
{
    return is_out_there(j) && j->outs == NULL;
}

static void
take_state(struct batch_job *j, const struct rec *holder)
{
    struct job_state st;
    struct err e;

    state_init(&st);
    if (told_state(j->host->session, holder, j->record.id, &st, &e) != 0) {
        state_free(&st);
        if (is_in_sight(j)) {
            (void)err_wrap(&e, _("job %s may be running (`gpurun attach %s` looks)"),
                           j->record.id, j->record.id);
            lose_sight(j, &e);
        }
        return;
    }
    if (j->has_state && st.seq < j->state.seq) {
        state_free(&st);
        return;
    }
    state_free(&j->state);
    j->state = st;
    j->has_state = true;
    notifycmd_state(j->b->c, j->r.notify, j->seen != NULL ? &j->seen->told : &j->told,
                    &j->state, session_host(j->host->session)->name);
    j->stage = is_out_there(j) ? BATCH_ACCEPTED : j->stage;
    if (st.phase >= JOB_SNAPSHOTTING) {
        give_back(j);
    }
    if (job_phase_is_final(st.phase) && j->final_boot_ns == 0) {
        j->final_boot_ns = clock_boot_ns();
    }
}

static void
on_submitted(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct batch_job *j = ctx;

    j->submit = NULL;
    if (resp != NULL) {
        j->stage = BATCH_ACCEPTED;
        j->b->c->stage = STAGE_CHANGED;
    } else if (why->code != ERR_LINK || session_conn(j->host->session) != NULL) {
        refused(j, why, hint); /* else it is asked again on the next link */
    }
}

static void
on_followed(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct batch_job *j = ctx;

    (void)why; /* not submitted: the other answer says why; a cut: asked again */
    (void)hint;
    j->follow = NULL;
    if (resp != NULL) {
        take_state(j, resp);
    }
}

/* ---- asking ---- */

static int
send_submit(struct batch_job *j, struct conn *c, struct err *e)
{
    struct rec *req = launch_submit_request(&j->grant, &j->spec_bytes, &j->r.secrets);
    int rc = call_start(&j->submit, c, req, -1, on_submitted, j, e);

    rec_free(req);
    return rc;
}

static int
send_follow(struct batch_job *j, struct conn *c, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_FOLLOW);
    int rc;

    rec_add(req, "job", j->record.id);
    rc = call_start(&j->follow, c, req, -1, on_followed, j, e);
    rec_free(req);
    return rc;
}

/* Everything about one job in one flight; again on each new link. */
static int
ask_all(struct batch_job *j, struct conn *c, struct err *e)
{
    struct batch_host *h = j->host;

    call_cancel(j->submit);
    call_cancel(j->follow);
    j->submit = NULL;
    j->follow = NULL;
    /* Files that changed are not sent once more under this name: it is refused at once.
     */
    if (j->stage == BATCH_SENT &&
        ((!batch_has_changed(j) &&
          ship_send(j->root->ships[h->at], h->session, c, e) != 0) ||
         send_submit(j, c, e) != 0)) {
        return -1;
    }
    fetch_begin(j->fetch, c);
    return send_follow(j, c, e);
}

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    struct batch_host *h = ctx;
    struct err e;

    (void)s;
    for (size_t i = 0; i < h->b->n; i++) {
        struct batch_job *j = &h->b->jobs[i];

        if (j->host == h && is_out_there(j) && ask_all(j, c, &e) != 0 &&
            e.code != ERR_LINK) {
            say(h->b->c, "%s: %s", j->r.spec.name, e.msg);
        }
    }
    wishes_send(h->wishes, c);
    if (!first && h->said_down) {
        ending_say_back(h->b->c, session_host(s)->name);
    }
    h->said_down = false;
    h->b->look = true;
}

static void
on_event(void *ctx, struct session *s, const struct rec *event)
{
    struct batch_host *h = ctx;
    const char *job = rec_get(event, "job");

    (void)s;
    if (strcmp(rec_type(event), EVENT_STATE) != 0 || job == NULL) {
        return;
    }
    for (size_t i = 0; i < h->b->n; i++) {
        if (h->b->jobs[i].host == h && strcmp(h->b->jobs[i].record.id, job) == 0) {
            take_state(&h->b->jobs[i], event);
        }
    }
}

static void
on_down(void *ctx, struct session *s, const struct failure *why, int64_t retry_ns)
{
    struct batch_host *h = ctx;

    (void)retry_ns;
    if (!h->said_down) {
        ending_say_down(h->b->c, session_host(s)->name, why);
    }
    h->said_down = true;
}

/* Given up: whatever runs there goes on by itself, out of sight. */
static void
on_failed(void *ctx, struct session *s, const struct failure *why)
{
    struct batch_host *h = ctx;

    for (size_t i = 0; i < h->b->n; i++) {
        struct batch_job *j = &h->b->jobs[i];
        struct err e = why->err;

        /* What one that has ended left does not come, which is said. */
        if (j->host == h && is_in_sight(j)) {
            (void)err_wrap(&e, _("contact with host '%s' is lost, job %s may be running"),
                           session_host(s)->name, j->record.id);
            lose_sight(j, &e);
        }
    }
}

static const struct session_events events = {
    .up = on_up, .event = on_event, .down = on_down, .failed = on_failed};

/* ---- starting ---- */

static void
take_host(struct batch_host *h, const struct candidate *there)
{
    if (h->session != NULL) {
        return;
    }
    h->session = place_take(h->b->place, there);
    h->wishes = wishes_new();
    session_set_events(h->session, &events, h);
    session_set_patience(h->session, PATIENCE_NS);
    context_pin_host(h->b->c, h->b->cl, h->session);
}

static int
make_lease(struct batch_job *j, const struct candidate *there, int64_t keep_bytes,
           struct err *e)
{
    struct session *s = there->session;
    struct lease_want want = {.max_cost_fen = j->r.max_cost_fen,
                              .ceiling = j->r.cost_ceiling,
                              .keep_bytes = keep_bytes,
                              .has_window = j->r.has_window};

    if (session_offer(s) == NULL) {
        return err_set(e, ERR_INVALID,
                       _("host '%s' makes no offer, so nothing can run there; "
                         "`gpurun-agent doctor` on it says why"),
                       there->host);
    }
    launch_set_env(&j->r.spec, &j->own_env, session_host(s));
    if (batch_take_data(j, there->host, e) != 0) {
        return -1;
    }
    grant_clear(&j->grant);
    j->r.spec.max_time_s = j->asked_time_s;
    j->r.spec.window_s = j->asked_window_s;
    return lease_make(&j->grant, j->b->cl, j->b->purse, session_offer(s), there,
                      &j->r.spec, &want, e);
}

static int
encode_spec(struct batch_job *j, const struct build_report *report, struct err *e)
{
    struct job_spec *s = &j->r.spec;
    struct rec *r;

    if (home_renter(j->b->cl->home, s->renter, e) != 0) {
        return -1;
    }
    s->has_tree = true;
    s->tree = report->tree;
    r = spec_encode(s);
    buf_reset(&j->spec_bytes);
    rec_encode(r, &j->spec_bytes);
    rec_free(r);
    return 0;
}

/* Who attaches to it goes on with --notify, once we are gone. */
static void
open_seen(struct batch_job *j)
{
    struct err e;

    if (j->r.notify != NULL && jobs_seen_open_to_tell(j->b->cl->home, j->record.id,
                                                      &j->seen, &j->seen_lock, &e) != 0) {
        say_more(j->b->c, "%s", e.msg);
    }
}

/* Its record, and its cap held; from then on the host may be asked
 * (runner/client/wallet.h). */
static int
hold(struct batch_job *j, struct err *e)
{
    struct home *home = j->b->cl->home;
    int rc;

    if (purse_begin(j->b->purse, &j->wallet_guard, e) != 0) {
        return -1;
    }
    launch_fill_record(&j->record, &j->r, session_host(j->host->session), &j->grant,
                       j->root->wall_ns, &j->spec_bytes);
    due_expect(j->b->c, j->b->cl, session_host(j->host->session), &j->record, &j->r.spec,
               false);
    rc = jobs_save(home, &j->record, e);
    if (rc == 0) {
        rc = purse_hold(j->b->purse, &j->grant, session_offer(j->host->session), e);
    }
    if (rc == 0) {
        rc = fetch_new(&j->fetch, j->b->cl, j->host->session, j->record.id, e);
    }
    if (rc == 0) {
        fetch_unsubmitted(j->fetch);
        open_seen(j);
    }
    j->record.unsent[0] = '\0';
    if (rc == 0) {
        rc = jobs_save(home, &j->record, e);
    }
    if (rc != 0) {
        batch_close_job(j);
        forget(j, e);
    }
    (void)fd_close(&j->wallet_guard);
    return rc;
}

int
batch_start(struct batch_job *j, const struct candidate *there, struct err *e)
{
    struct batch *b = j->b;
    struct batch_host *h = NULL;
    const struct build_report *report = NULL;
    struct ship *ship = NULL;
    struct conn *c;

    for (size_t i = 0; i < b->n_hosts && h == NULL; i++) {
        h = place_at(b->place, i) == there ? &b->hosts[i] : NULL;
    }
    assert(h != NULL); /* there is one of them */
    take_host(h, there);
    if (batch_ship(j, h, &ship, &report, e) != 0 ||
        make_lease(j, there, (int64_t)report->totals.stored, e) != 0 ||
        encode_spec(j, report, e) != 0) {
        return -1;
    }
    memcpy(j->type, there->type, sizeof j->type);
    j->host = h;
    j->released = false;
    if (hold(j, e) != 0) {
        j->host = NULL;
        return -1;
    }
    j->stage = BATCH_SENT;
    b->n_active++;
    batch_count(j, -j->r.spec.count);
    c = session_conn(h->session);
    if (c != NULL && ask_all(j, c, e) != 0 && e->code != ERR_LINK) {
        batch_close_job(j);
        forget(j, e);
        give_back(j);
        leave(j, BATCH_QUEUED);
        j->host = NULL;
        return -1;
    }
    batch_mirror_live(j);
    return 0;
}

/* ---- ^C ---- */

void
batch_interrupt(struct batch *b)
{
    b->held_back = true;
    b->look = true;
    say(b->c, "%s",
        b->n_interrupts == 1
            ? _("no more are started; SIGINT goes to those that run, again stops them")
            : _("stopping what runs"));
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];
        struct conn *c;
        struct rec *req;

        if (!is_out_there(j) || j->final_boot_ns != 0) {
            continue;
        }
        req = msg_request_new(b->n_interrupts == 1 ? VERB_JOB_SIGNAL : VERB_JOB_STOP);
        rec_add(req, "job", j->record.id);
        if (b->n_interrupts == 1) {
            rec_add_int(req, "signal", SIGINT);
        }
        wishes_add(j->host->wishes, req);
        c = session_conn(j->host->session);
        if (c != NULL) {
            wishes_send(j->host->wishes, c);
        }
    }
}
