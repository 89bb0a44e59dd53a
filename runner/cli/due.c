#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"
#include "runner/client/mirror.h"
#include "runner/client/place.h"

#define NS_PER_S ((int64_t)1000000000)
/* What failed is not tried at every command: for this long, then twice as long, … */
#define RETRY_NS     (30 * NS_PER_S)
#define RETRY_MAX_NS (3600 * NS_PER_S)
#define RETRY_SHIFT  7

/* ---- of a job whose end is seen ---- */

/* The note of it, or one as if it had been made. */
static bool
note_of(const struct client *cl, const struct session *from, const struct job_record *r,
        bool first, struct copy_due *d)
{
    struct err none;

    if (copies_load(cl->home, r->id, d, &none) == 0) {
        return true;
    }
    if (!first || r->mirror != NULL) {
        return false;
    }
    (void)snprintf(d->id, sizeof d->id, "%s", r->id);
    d->host = xstrdup(session_host(from)->name);
    d->name = r->name != NULL ? xstrdup(r->name) : NULL;
    d->outs = r->outs.n > 0;
    d->made_wall_ns = clock_wall_ns();
    return true;
}

static void
pay_noted(struct cli *c, struct client *cl, struct session *from, struct copy_due *d,
          const struct copy_source *src, const char *to)
{
    struct payer p;
    struct err e;
    int lock;

    if (!copies_take(cl->home, d->id, &lock)) {
        say(c, _("another gpurun is copying the data of %s to %s"), due_word(d),
            due_place(to));
        return;
    }
    payer_open(&p, c, cl, false);
    if (payer_copy(&p, d, src, from, to, &e) == PAID_NOT) {
        say(c,
            p.stop
                ? _("no copy of the data on %s yet (%s); `gpurun snap mirror` makes it")
                : _("no copy of the data on %s: %s; `gpurun snap mirror` tries again"),
            due_place(to), e.msg);
    }
    payer_close(&p);
    copies_let_go(cl->home, d->id, &lock);
}

void
due_pay_job(struct cli *c, struct client *cl, struct session *from, struct job_record *r,
            const struct job_state *st, bool first)
{
    const char *to = mirror_of_job(session_host(from), r, st);
    struct copy_source src = {.stored_bytes = st->kept_bytes};
    struct copy_due d;
    struct job_record now;
    struct err none;

    if (to == NULL) {
        if (!job_data_waits(st)) {
            copies_forget(cl->home, r->id);
        }
        return;
    }
    copy_due_init(&d);
    job_record_init(&now);
    if (note_of(cl, from, r, first, &d)) {
        memcpy(src.snapshot, st->snapshot, sizeof src.snapshot);
        memcpy(d.snapshot, st->snapshot, sizeof d.snapshot);
        d.stored_bytes = st->kept_bytes;
        d.expires_wall_ns = st->expires_wall_ns;
        pay_noted(c, cl, from, &d, &src, to);
        if (jobs_load(cl->home, r->id, &now, &none) == 0 && now.mirror != NULL) {
            free(r->mirror);
            r->mirror = xstrdup(now.mirror);
        }
    }
    job_record_free(&now);
    copy_due_free(&d);
}

/* ---- of whatever is due ---- */

static bool
is_too_early(const struct payer *p, const struct copy_due *d)
{
    int64_t since_ns = clock_wall_ns() - d->tried_wall_ns;
    int64_t n = d->n_failed < RETRY_SHIFT ? d->n_failed : RETRY_SHIFT;
    int64_t wait_ns;

    if (!p->quick || n <= 0) {
        return false;
    }
    wait_ns = RETRY_NS << (n - 1);
    wait_ns = wait_ns < RETRY_MAX_NS ? wait_ns : RETRY_MAX_NS;
    return since_ns >= 0 && since_ns < wait_ns;
}

/* What its host says, and what follows from it. */
static enum paid
pay(struct payer *p, struct copy_due *d, struct session *from)
{
    struct copy_source src;
    enum copy_answer answer;
    const char *to;
    struct err e;

    if (copies_ask(from, d, &answer, &src, &e) != 0) {
        if (!p->quick) {
            say(p->c, "%s", e.msg);
        }
        return due_is_left(d) ? PAID_NOT : PAID_WAITS;
    }
    to = answer == COPY_THERE
             ? mirror_target(session_host(from), src.stored_bytes, d->outs)
             : NULL;
    if (answer == COPY_WAITS || (to == NULL && src.live)) {
        return PAID_WAITS;
    }
    if (to == NULL) {
        copies_forget(p->cl->home, d->id);
        return PAID_OVER;
    }
    if (p->quick && src.stored_bytes > p->bytes_left) {
        payer_note(p, d); /* how large it is, for whoever tells of it */
        return PAID_NOT;
    }
    p->bytes_left -= src.stored_bytes;
    return payer_copy(p, d, &src, from, to, &e);
}

/* The same, with the right to it, and the note as it is by now. */
enum paid
payer_pay(struct payer *p, struct copy_due *d, struct session *from)
{
    struct copy_due now;
    enum paid paid = PAID_OVER;
    struct err none;
    int lock;

    if (!copies_take(p->cl->home, d->id, &lock)) {
        return PAID_WAITS;
    }
    copy_due_init(&now);
    if (copies_load(p->cl->home, d->id, &now, &none) == 0) {
        copy_due_free(d);
        *d = now;
        paid = pay(p, d, from);
    }
    copies_let_go(p->cl->home, d->id, &lock);
    return paid;
}

struct session *
due_session(struct session *const *v, size_t n, const char *host)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] != NULL && session_conn(v[i]) != NULL &&
            strcmp(session_host(v[i])->name, host) == 0) {
            return v[i];
        }
    }
    return NULL;
}

static void
tell_left(const struct cli *c, const struct copies *l, const enum paid *paid)
{
    const struct copy_due *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (paid[i] == PAID_NOT && due_is_left(&l->v[i])) {
            first = first != NULL ? first : &l->v[i];
            n++;
        }
    }
    if (n == 1) {
        say(c, _("the data of %s is only on %s%s%s; `gpurun snap mirror` copies it"),
            due_word(first), first->host, first->why != NULL ? ": " : "",
            first->why != NULL ? first->why : "");
    } else if (n > 1) {
        say(c,
            _("the data of %zu jobs and snapshots is on one host only (%s on %s%s%s, …); "
              "`gpurun snap mirror` copies it"),
            n, due_word(first), first->host, first->why != NULL ? ": " : "",
            first->why != NULL ? first->why : "");
    }
}

void
due_pay_some(struct cli *c, struct client *cl, struct session *const *from, size_t n)
{
    struct copies l = {NULL, 0};
    enum paid *paid;
    struct payer p;
    struct err none;

    if (copies_list(cl->home, &l, &none) != 0 || l.n == 0) {
        copies_free(&l);
        return;
    }
    paid = xcalloc(l.n, sizeof *paid);
    payer_open(&p, c, cl, true);
    for (size_t i = 0; i < l.n; i++) {
        struct session *s = due_session(from, n, l.v[i].host);

        if (s != NULL && !payer_is_over(&p) && !is_too_early(&p, &l.v[i])) {
            paid[i] = payer_pay(&p, &l.v[i], s);
        } else if (!due_is_known_host(cl->home, l.v[i].host)) {
            paid[i] = PAID_WAITS;
        }
    }
    tell_left(c, &l, paid);
    payer_close(&p);
    free(paid);
    copies_free(&l);
}

void
due_pay_place(struct cli *c, struct client *cl, const struct place *p)
{
    struct session **v = xcalloc(place_n(p) + 1, sizeof(struct session *));

    for (size_t i = 0; i < place_n(p); i++) {
        v[i] = place_at(p, i)->session;
    }
    due_pay_some(c, cl, v, place_n(p));
    free(v);
}

void
due_pay_snapshot(struct cli *c, struct client *cl, struct session *from, const char *id)
{
    struct copy_source src;
    enum copy_answer answer;
    const char *to = NULL;
    struct copy_due d;
    struct err e;

    copy_due_init(&d);
    if (copies_load(cl->home, id, &d, &e) == 0) {
        if (copies_ask(from, &d, &answer, &src, &e) != 0) {
            say(c, "%s", e.msg);
        } else if (answer == COPY_THERE &&
                   (to = mirror_target(session_host(from), src.stored_bytes, d.outs)) !=
                       NULL) {
            pay_noted(c, cl, from, &d, &src, to);
        } else if (answer != COPY_WAITS) {
            copies_forget(cl->home, id);
        }
    }
    copy_due_free(&d);
}
