#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"
#include "runner/client/mirror.h"

#define NS_PER_MS ((int64_t)1000000)

/* ---- life ---- */

static void
on_signal(void *ctx, int signo)
{
    struct payer *p = ctx;

    (void)signo;
    p->stop = true;
    loop_stop(p->cl->loop);
}

void
payer_open(struct payer *p, struct cli *c, struct client *cl, bool quick)
{
    static const int signals[DUE_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    struct err none;

    *p = (struct payer){.c = c, .cl = cl, .quick = quick, .bytes_left = DUE_QUICK_BYTES};
    p->deadline_boot_ns = clock_boot_ns() + DUE_QUICK_NS;
    for (size_t i = 0; i < DUE_SIGNALS; i++) {
        struct sigaction old;

        /* nohup gpurun … stays deaf to the end of its terminal. */
        if ((sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN) ||
            signal_watch_new(&p->watches[i], cl->loop, signals[i], on_signal, p, &none) !=
                0) {
            p->watches[i] = NULL;
        }
    }
}

void
payer_close(struct payer *p)
{
    for (size_t i = 0; i < DUE_SIGNALS; i++) {
        signal_watch_free(p->watches[i]);
    }
    session_close(p->to);
    free(p->dead_to);
}

bool
payer_is_over(const struct payer *p)
{
    return p->stop || (p->quick && clock_boot_ns() >= p->deadline_boot_ns);
}

/* ---- one copy ---- */

static void
progress_line(void *ctx, struct buf *out)
{
    struct payer *p = ctx;

    buf_printf(out, _("copying the data of %s to %s: "), due_word(p->due),
               due_place(p->to_name));
    progress_at_most(out, p->st.bytes, p->total_bytes, progress_elapsed_ns(p->progress));
}

/* p->to is up, and that host. */
static int
reach(struct payer *p, const char *to, struct err *e)
{
    int64_t timeout_ms = MIRROR_CONNECT_MS;

    if (p->to != NULL && strcmp(session_host(p->to)->name, to) == 0 &&
        session_conn(p->to) != NULL) {
        return 0;
    }
    if (p->dead_to != NULL && strcmp(p->dead_to, to) == 0) {
        *e = p->why;
        return -1;
    }
    session_close(p->to);
    p->to = NULL;
    if (p->quick) {
        int64_t left_ms = (p->deadline_boot_ns - clock_boot_ns()) / NS_PER_MS;

        timeout_ms = left_ms > 1 ? left_ms : 1;
    }
    if (mirror_open(&p->to, p->cl, to, timeout_ms, e) != 0) {
        free(p->dead_to);
        p->dead_to = xstrdup(to);
        p->why = *e;
        return -1;
    }
    return 0;
}

static int
transfer(struct payer *p, const struct copy_due *d, const struct copy_source *src,
         struct session *from, const char *to, struct err *e)
{
    int64_t timeout_ns = -1;
    int rc;

    if (reach(p, to, e) != 0) {
        return -1;
    }
    if (p->quick) {
        int64_t left_ns = p->deadline_boot_ns - clock_boot_ns();

        timeout_ns = left_ns > 0 ? left_ns : 0;
    }
    p->due = d;
    p->to_name = to;
    p->total_bytes = src->stored_bytes;
    memset(&p->st, 0, sizeof p->st);
    p->progress = progress_start(p->c, p->cl->loop, progress_line, p);
    rc = mirror_copy(p->cl, from, p->to, src->snapshot, &p->st, timeout_ns, e);
    progress_end(p->progress);
    p->progress = NULL;
    return rc;
}

void
payer_note(const struct payer *p, const struct copy_due *d)
{
    struct err e;

    if (copies_save(p->cl->home, d, false, &e) != 0) {
        say(p->c, "%s", e.msg);
    }
}

/* The job's own record says where its copy is. */
static void
record_mirror(const struct payer *p, const char *job, const char *to)
{
    struct job_record r;
    struct err none;

    job_record_init(&r);
    if (id_is(ID_JOB, job) && jobs_load(p->cl->home, job, &r, &none) == 0) {
        free(r.mirror);
        r.mirror = xstrdup(to);
        (void)!jobs_save(p->cl->home, &r, &none);
    }
    job_record_free(&r);
}

static bool
is_dropped(void *ctx)
{
    return copies_drop_is_over(ctx);
}

/* Of what was replaced no second copy is kept, either. */
static void
drop_older(const struct payer *p, const struct copy_due *d, struct session *from,
           const char *to)
{
    struct copies_drop *x;
    struct err e;

    if (copies_drop_start(&x, from, p->to, d->copied, &e) != 0) {
        due_say_older(p->c, to, &e);
        return;
    }
    (void)loop_run_until(p->cl->loop, is_dropped, x, -1);
    if (copies_drop_finish(x, &e) != 0) {
        due_say_older(p->c, to, &e);
    }
}

/* A copy is there now; of what was copied before, on the way, it takes the place. */
static void
copied(struct payer *p, struct copy_due *d, const struct copy_source *src,
       struct session *from, const char *to)
{
    if (copies_has_older(d, to)) {
        drop_older(p, d, from, to);
    }
    if (!src->live) {
        record_mirror(p, d->id, to);
        copies_forget(p->cl->home, d->id);
        return;
    }
    due_copied_live(p->c, p->cl, d, src->snapshot, to);
}

static void
failed(struct payer *p, struct copy_due *d, const struct err *why)
{
    if (!p->stop) {
        copies_failed(d, why);
    }
    payer_note(p, d);
}

enum paid
payer_copy(struct payer *p, struct copy_due *d, const struct copy_source *src,
           struct session *from, const char *to, struct err *e)
{
    if (transfer(p, d, src, from, to, e) != 0) {
        if (src->live && p->to != NULL && e->code == ERR_NOT_FOUND) {
            return PAID_WAITS; /* replaced meanwhile: there is a later one */
        }
        failed(p, d, e);
        return PAID_NOT;
    }
    say_more(p->c, _("the data of %s (%s) is on %s + %s now"), due_word(d), src->snapshot,
             d->host, due_place(to));
    copied(p, d, src, from, to);
    return PAID_DONE;
}
