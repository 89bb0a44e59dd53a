#include "runner/cli/batch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/ending.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/cli/outs.h"
#include "runner/cli/refused.h"
#include "runner/client/config.h"
#include "runner/client/hosts.h"

#define NS_PER_S        ((int64_t)1000000000)
#define ASK_AGAIN_NS    (5 * NS_PER_S) /* while others hold what is wanted */
#define RECEIPT_WAIT_NS (30 * NS_PER_S)
#define SIGNAL_BASE     128

/* ---- hosts ---- */

static int
list_hosts(const struct batch *b, struct host_list *out, struct err *e)
{
    bool named = true;

    for (size_t i = 0; i < b->n; i++) {
        named = named && b->jobs[i].r.host != NULL;
    }
    if (hosts_list(b->cl->home, true, out, e) != 0) {
        return -1;
    }
    /* `local` is for machines that know no other host, and by its name. */
    for (size_t i = 0; i < out->n; i++) {
        bool wanted = !named && (!out->v[i].local || out->n == 1);

        for (size_t k = 0; k < b->n && !wanted; k++) {
            const char *host = b->jobs[k].r.host;

            wanted = host != NULL && strcmp(host, out->v[i].name) == 0;
        }
        if (!wanted) {
            host_free(&out->v[i]);
            memmove(&out->v[i], &out->v[i + 1], (out->n - i - 1) * sizeof out->v[i]);
            out->n--;
            i--;
        }
    }
    return 0;
}

static int
check_hosts(const struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct host h;

        if (b->jobs[i].r.host == NULL ||
            (i > 0 && b->jobs[i - 1].r.host != NULL &&
             strcmp(b->jobs[i].r.host, b->jobs[i - 1].r.host) == 0)) {
            continue;
        }
        if (hosts_load(b->cl->home, b->jobs[i].r.host, &h, e) != 0) {
            return -1;
        }
        host_free(&h);
    }
    return 0;
}

static int
open_hosts(struct batch *b, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct strings news = {NULL, 0};
    int rc = -1;

    if (check_hosts(b, e) == 0 && list_hosts(b, &hosts, e) == 0) {
        rc = place_open(&b->place, b->cl, &hosts, e);
    }
    host_list_free(&hosts);
    if (rc != 0) {
        return -1;
    }
    b->n_hosts = place_n(b->place);
    b->hosts = xcalloc(b->n_hosts + 1, sizeof *b->hosts);
    for (size_t i = 0; i < b->n_hosts; i++) {
        b->hosts[i].b = b;
        b->hosts[i].at = i;
    }
    b->c->stage = STAGE_TRYING;
    place_set_want(b->place, &b->jobs[0].r.want);
    if (place_wait(b->place, e) != 0) {
        return -1;
    }
    place_ask_booked(b->cl, b->place, &news);
    for (size_t i = 0; i < news.n; i++) {
        say(b->c, "%s", news.v[i]);
    }
    strings_free(&news);
    return 0;
}

/* Nothing starts unless every job could run somewhere. */
static int
check_places(struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        if (batch_check_place(b, &b->jobs[i], e) != 0) {
            if (e->code != ERR_LINK) {
                b->c->stage = STAGE_INPUT;
            }
            return err_wrap(e, "%s", b->jobs[i].r.spec.name);
        }
    }
    return 0;
}

/* ---- what it may cost ---- */

static int
measure(struct batch *b, int64_t *caps, int64_t *total, struct err *e)
{
    *total = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];
        const struct candidate *there = batch_find_room(b, j);
        const struct build_report *report = NULL;
        struct ship *ship;
        size_t at = 0;

        for (size_t k = 0; k < b->n_hosts; k++) {
            at = place_at(b->place, k) == there ? k : at;
        }
        if (batch_ship(j, &b->hosts[at], &ship, &report, e) != 0) {
            b->c->stage = STAGE_INPUT;
            return -1;
        }
        caps[i] = batch_cap(b, j, (int64_t)report->totals.stored);
        *total += caps[i];
    }
    return 0;
}

bool
batch_is_unasked(const struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->jobs[i].r.cost_unasked) {
            return true;
        }
    }
    return false;
}

static int
ask_user(struct batch *b, int64_t total_fen, struct err *e)
{
    char money[OUT_MONEY_MAX];
    struct buf sum = BUF_INIT;
    char *question;
    bool yes = false;
    int rc;

    batch_sum_text(b, total_fen, &sum);
    say(b->c, "%s", buf_str(&sum));
    buf_free(&sum);
    if (!ask_has_terminal(b->cl->ask)) {
        return launch_check_unasked(b->c, b->cfg, batch_is_unasked(b), total_fen, e);
    }
    if (!launch_asks(b->c, b->cfg, total_fen)) {
        return 0;
    }
    question =
        xasprintf(_("They may cost up to %s. Run them?"), out_fen(total_fen, money));
    rc = ask_begin(b->cl->ask, -1, e);
    if (rc == 0) {
        rc = ask_yes_no(b->cl->ask, question, true, &yes, e);
        ask_end(b->cl->ask);
    }
    free(question);
    if (rc == 0 && !yes) {
        rc = err_set(e, ERR_DENIED, "%s", _("not started, as you wished"));
    }
    return rc;
}

/* ---- one after the other ---- */

static void
done(struct batch_job *j, int code)
{
    j->code = code;
    if (j->stage != BATCH_QUEUED) {
        j->b->n_active--;
    }
    j->stage = BATCH_DONE;
    j->b->n_done++;
    j->b->look = true;
    batch_close_job(j);
    batch_say_done(j);
}

/* The host has said all of it that it will: its bill may be looked at. */
static bool
is_finished(const struct batch_job *j)
{
    return j->stage == BATCH_ACCEPTED && j->outs == NULL && j->final_boot_ns != 0 &&
           (fetch_state(j->fetch) != FETCH_RUNNING ||
            clock_boot_ns() - j->final_boot_ns > RECEIPT_WAIT_NS);
}

/* What it left is here, as far as it came. */
static void
end_job(struct batch_job *j)
{
    int code = job_exit_code(&j->state);
    int n_failed = 0;
    struct err e;

    if (j->outs != NULL) {
        n_failed = outs_end(j->outs);
        j->outs = NULL;
        j->record.outs_due = false;
        if (jobs_save(j->b->cl->home, &j->record, &e) != 0) {
            say(j->b->c, "%s", e.msg);
        }
    }
    done(j, code == 0 && n_failed > 0 ? CLI_CHANGED : code);
}

/* Its end, with the receipt that was waited for; or the end, and no receipt. */
static void
finish_job(struct batch_job *j)
{
    struct batch *b = j->b;
    struct receipt *receipt = NULL;
    struct err e = {.code = ERR_NONE};

    if (fetch_state(j->fetch) != FETCH_RUNNING &&
        fetch_wait(j->fetch, 0, &receipt, &e) == 0) {
        bool said = false;

        j->charge_fen = receipt->charge_fen;
        receipt_free(receipt);
        ending_say_dispute(b->c, fetch_dispute(j->fetch), j->record.id,
                           session_host(j->host->session)->name, &said);
        if (purse_deliver(b->cl, j->record.id, &e) != 0) {
            say(b->c,
                _("%s; it gets the receipt with the next run, or by `gpurun wallet`"),
                e.msg);
        }
        refused_say(b->c);
    } else {
        ending_say_no_receipt(b->c, j->fetch, &j->record, &j->state, &e);
    }
    /* Put down now: should this be told to go while the rest comes, it is known. */
    batch_mirror_want(j);
    j->record.outs_due = j->record.outs.n > 0;
    ending_record(b->c, &j->record, &j->state, j->charge_fen);
    if (j->record.outs_due) {
        j->outs =
            outs_start(b->c, b->cl, j->host->session, &j->record, j->state.snapshot);
    } else {
        end_job(j);
    }
}

/* Go on with all that have ended: none of them holds the others up. */
static void
finish_jobs(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];

        if (is_finished(j)) {
            finish_job(j);
        }
        if (j->outs != NULL && outs_is_due(j->outs) && outs_step(j->outs)) {
            end_job(j);
        }
    }
}

static bool
may_wait(const struct batch *b, const struct batch_job *j)
{
    return b->n_active > 0 || clock_boot_ns() - b->idle_since_ns < j->r.wait_ns;
}

/* Where there is no room for the one there is none for the other. */
static bool
wants_the_same(const struct batch_job *a, const struct batch_job *b)
{
    const struct place_want *x = &a->r.want;
    const struct place_want *y = &b->r.want;

    return text_same(a->r.host, b->r.host) && a->r.n_data == 0 && b->r.n_data == 0 &&
           a->r.spec.count == b->r.spec.count && x->device.count == y->device.count &&
           x->max_price_uyuan == y->max_price_uyuan && x->time_s == y->time_s &&
           strcmp(x->device.device_class, y->device.device_class) == 0 &&
           strcmp(x->device.type, y->device.type) == 0 && strcmp(x->arch, y->arch) == 0;
}

/* Start what there is room for; fail what nobody will make room for. */
static void
start_what_fits(struct batch *b)
{
    const struct batch_job *full = NULL; /* the last one that there is no room for */

    b->look = false;
    for (size_t i = b->first_queued; i < b->n && !b->held_back; i++) {
        struct batch_job *j = &b->jobs[i];
        const struct candidate *there;
        struct err e;

        if (j->stage != BATCH_QUEUED) {
            b->first_queued += i == b->first_queued ? 1 : 0;
            continue;
        }
        /* Most often all want the same: thousands are not placed anew at each end. */
        if (full != NULL && b->n_active > 0 && wants_the_same(full, j)) {
            continue;
        }
        there = batch_find_room(b, j);
        full = there == NULL ? j : full;
        if (there != NULL && batch_start(j, there, &e) == 0) {
            continue;
        }
        if (there == NULL && !may_wait(b, j)) {
            place_set_want(b->place, &j->r.want);
            (void)place_explain(b->place, &j->why);
            done(j, CLI_FAILED);
        } else if (there != NULL && b->n_active == 0) {
            /* With others out there it may be their holds in the wallet that bar it. */
            j->why = e;
            done(j, cli_exit_code(STAGE_TRYING, e.code));
        } else if (there != NULL) {
            break;
        }
    }
    if (b->n_active > 0) {
        b->idle_since_ns = 0;
    } else if (b->idle_since_ns == 0) {
        b->idle_since_ns = clock_boot_ns();
    }
}

static bool
has_news(void *ctx)
{
    const struct batch *b = ctx;

    if (b->look || b->signal != 0 || batch_mirror_news(b)) {
        return true;
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];

        if (is_finished(j) || (j->outs != NULL && outs_is_due(j->outs))) {
            return true;
        }
    }
    return false;
}

static void
nothing(void *ctx)
{
    (void)ctx;
}

/* Until there are news, or it is time to ask what others have given back. */
static void
wait_for_news(struct batch *b)
{
    struct timer *t = timer_new(b->cl->loop, nothing, NULL);

    timer_after(t, ASK_AGAIN_NS); /* keeps the loop running where every host is gone */
    (void)loop_run_until(b->cl->loop, has_news, b, ASK_AGAIN_NS);
    timer_free(t);
}

/* All jobs have ended, and what they left is copied. */
static bool
is_over(struct batch *b)
{
    bool ended = b->n_done == b->n || (b->held_back && b->n_active == 0);

    if (!ended) {
        b->over_since_ns = 0;
    } else if (b->over_since_ns == 0) {
        b->over_since_ns = clock_boot_ns();
    }
    return ended && (b->n_to_copy == 0 || b->n_interrupts > 1);
}

static int
run_all(struct batch *b, struct err *e)
{
    b->look = true;
    b->idle_since_ns = clock_boot_ns();
    while (b->signal == 0 && !is_over(b)) {
        batch_settle(b);
        if (b->look) {
            start_what_fits(b);
        }
        batch_mirror_step(b);
        if (is_over(b)) {
            break;
        }
        if (!has_news(b)) {
            wait_for_news(b);
            if (!has_news(b) && b->n_active + b->n_done < b->n && !b->held_back &&
                batch_ask_again(b, e) != 0) {
                return -1;
            }
        }
        finish_jobs(b);
    }
    batch_settle(b);
    return 0;
}

/* ---- signals ---- */

static void
on_signal(void *ctx, int signo)
{
    struct batch *b = ctx;

    if (signo == SIGINT) {
        b->n_interrupts++;
        batch_interrupt(b);
        return;
    }
    b->signal = signo;
}

static int
run_watched(struct batch *b, struct err *e)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct signal_watch *watches[3] = {NULL, NULL, NULL};
    int rc = 0;

    for (size_t i = 0; i < 3 && rc == 0; i++) {
        rc = signal_watch_new(&watches[i], b->cl->loop, signals[i], on_signal, b, e);
    }
    if (rc == 0) {
        b->progress = progress_start(b->c, b->cl->loop, batch_progress_line, b);
        rc = run_all(b, e);
        progress_end(b->progress);
        b->progress = NULL;
    }
    for (size_t i = 0; i < 3; i++) {
        signal_watch_free(watches[i]);
    }
    return rc;
}

/* ---- life ---- */

/* Told to go: what is left behind, and how to come back to it. */
static void
say_detached(const struct batch *b)
{
    size_t n_on = b->n_active;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];

        if (j->outs != NULL) {
            n_on--;
            say(b->c,
                _("%s has ended, and what it left is not here yet; `gpurun wait "
                  "%s` brings it"),
                j->r.spec.name, j->record.id);
        }
    }
    say(b->c,
        NP_("detached; %zu job goes on (`gpurun ps`), not started: %zu",
            "detached; %zu jobs go on (`gpurun ps`), not started: %zu", n_on),
        n_on, b->n - b->n_done - b->n_active);
}

static int
run(struct batch *b, bool only_plan, struct err *e)
{
    int64_t *caps = xcalloc(b->n + 1, sizeof *caps);
    int64_t total = 0;
    int rc = -1;

    if (open_hosts(b, e) != 0 || check_places(b, e) != 0 || batch_find_data(b, e) != 0 ||
        measure(b, caps, &total, e) != 0) {
        goto out;
    }
    if (only_plan) {
        rc = batch_print_plan(b, caps, e);
        goto out;
    }
    if (ask_user(b, total, e) != 0 || batch_move_data(b, e) != 0 ||
        run_watched(b, e) != 0) {
        goto out;
    }
    if (b->signal != 0) {
        say_detached(b);
        rc = SIGNAL_BASE + b->signal;
    } else if (batch_print_end(b, e) == 0) {
        rc = batch_exit_code(b);
    }

out:
    free(caps);
    return rc;
}

static void
close_batch(struct batch *b)
{
    batch_mirror_close(b);
    batch_free_data(b);
    batch_free_jobs(b);
    for (size_t i = 0; i < b->n_hosts; i++) {
        wishes_free(b->hosts[i].wishes);
    }
    place_free(b->place);
    purse_close(b->purse);
    for (size_t i = 0; i < b->n_hosts; i++) {
        session_close(b->hosts[i].session);
    }
    free(b->hosts);
}

int
batch_run(struct cli *c, struct client *cl, const struct config *cfg,
          const struct run_options *o, const struct words *w, bool only_plan,
          struct err *e)
{
    struct batch b = {.c = c, .cl = cl, .cfg = cfg};
    int rc = -1;

    if (batch_make_jobs(&b, o, w, e) == 0 && purse_open(&b.purse, cl, e) == 0) {
        rc = run(&b, only_plan, e);
    }
    close_batch(&b);
    return rc;
}
