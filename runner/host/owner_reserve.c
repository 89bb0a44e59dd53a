#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/columns.h"
#include "base/lang.h"
#include "meter/grant.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/errands.h"
#include "runner/host/jobdir.h"
#include "runner/host/owner_book.h"
#include "runner/host/owner_json.h"
#include "runner/host/procs.h"
#include "runner/host/reservations.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- whose it is ---- */

/* What is told of a renter. */
struct person {
    char id[SIGN_ID_LEN + 1];
    char name[RENTER_NAME_MAX + 1]; /* "" none */
    struct sign_public key;
};

/* All renters of this host that have a key, read once for whatever is listed. */
struct people {
    struct person *v;
    size_t n;
};

/* Those whose records cannot be read are as good as gone. */
static void
people_read(struct people *p, const struct agent *a)
{
    struct renter_ids ids;
    struct err none;

    *p = (struct people){NULL, 0};
    if (renter_list(a, &ids, &none) != 0) {
        return;
    }
    p->v = xcalloc(ids.n + 1, sizeof *p->v);
    for (size_t i = 0; i < ids.n; i++) {
        struct person *one = &p->v[p->n];
        struct renter *r = NULL;

        if (renter_open(&r, a, ids.v[i], false, &none) == 0 && r->has_key) {
            memcpy(one->id, r->id, sizeof one->id);
            memcpy(one->name, r->name, sizeof one->name);
            one->key = r->key;
            p->n++;
        }
        renter_close(r);
    }
    renter_ids_free(&ids);
}

static void
people_free(struct people *p)
{
    free(p->v);
}

/* The renter with that key; NULL: its records are gone. */
static const struct person *
renter_of(const struct people *p, const struct sign_public *key)
{
    for (size_t i = 0; i < p->n; i++) {
        if (memcmp(p->v[i].key.b, key->b, sizeof key->b) == 0) {
            return &p->v[i];
        }
    }
    return NULL;
}

static const char *
state_of(const struct reservation *r)
{
    if (r->given_back) {
        return r->events[r->n_events - 1].act == ORDER_BREAK ? "broken" : "given_back";
    }
    return reservation_holds(r, clock_wall_ns() / NS_PER_S) ? N_("active") : N_("over");
}

/* ---- showing ---- */

static const char *
state_text(const struct reservation *r)
{
    if (!r->given_back) {
        return err_words(state_of(r));
    }
    return r->events[r->n_events - 1].act == ORDER_BREAK ? _("broken by the owner")
                                                         : _("given back");
}

static void
json_one(struct json_writer *j, const struct people *p, const struct reservation *r)
{
    const struct person *who = renter_of(p, &r->renter);

    json_obj(j);
    json_kstr(j, "id", r->id);
    json_kstr(j, "renter", who != NULL ? who->id : NULL);
    json_kstr(j, "name", who != NULL && who->name[0] != '\0' ? who->name : NULL);
    json_kstr(j, "class", r->class_name);
    json_kstr(j, "type", r->type);
    json_kint(j, "count", (int64_t)r->n_devices);
    json_kstr(j, "state", state_of(r));
    json_ktime(j, "from", r->from_s * NS_PER_S);
    json_ktime(j, "to", r->to_s * NS_PER_S);
    json_kint(j, "paid_fen", reservation_paid_fen(r));
    json_obj_end(j);
}

static void
row_of(struct columns *c, const struct people *p, const struct reservation *r)
{
    const struct person *who = renter_of(p, &r->renter);
    char *devices = xasprintf("%zux %s", r->n_devices, r->type);
    char when[CLOCK_TEXT_MAX];
    char money[MONEY_TEXT_MAX];

    clock_format_local(r->to_s * NS_PER_S, when);
    money_format_fen(reservation_paid_fen(r), money);
    columns_add(c, r->id);
    columns_add(c, who == NULL ? "?" : who->name[0] != '\0' ? who->name : who->id);
    columns_add(c, devices);
    columns_add(c, state_text(r));
    columns_add(c, when);
    columns_add(c, money);
    free(devices);
}

static void
list_text(const struct people *p, const struct reservation_list *l)
{
    static const char *const titles[] = {N_("ID"),    N_("RENTER"), N_("DEVICES"),
                                         N_("STATE"), N_("UNTIL"),  N_("YUAN")};
    struct columns *c = columns_new(6, titles);

    for (size_t i = 0; i < l->n; i++) {
        row_of(c, p, l->v[i]);
    }
    columns_print_free(c);
}

static int
list_json(const struct people *p, const struct reservation_list *l, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "reservations");
    json_arr(&j);
    for (size_t i = 0; i < l->n; i++) {
        json_one(&j, p, l->v[i]);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
list(const struct agent *a, bool json, struct err *e)
{
    struct reservation_list l = {NULL, 0};
    struct people p;
    int rc;

    if (reservations_list(&l, a, NULL, e) != 0) {
        return -1;
    }
    people_read(&p, a);
    rc = json ? list_json(&p, &l, e) : 0;
    if (!json) {
        list_text(&p, &l);
    }
    people_free(&p);
    reservations_free(&l);
    return rc;
}

/* ---- taking it back ---- */

/* Jobs that were told to end, and those that could not be, with the reason. */
struct ending {
    struct strings told;
    struct strings not_told;
    struct strings why; /* of each of not_told */
};

static void
not_told(struct ending *n, const char *job, const struct err *why)
{
    strings_add(&n->not_told, job);
    strings_add(&n->why, why->msg);
}

/* Begun on it, or gone over to it since. */
static int
is_under(const struct jobdir *d, const struct job_state *st, const struct reservation *r,
         bool *is, struct err *e)
{
    struct buf b = BUF_INIT;
    struct grant g;
    int rc;

    grant_init(&g);
    *is = false;
    for (size_t i = 0; i < st->n_devices; i++) {
        *is = *is || reservation_has_device(r, st->devices[i].uuid);
    }
    rc = *is ? 0 : jobdir_read(d, "grant", GRANT_MAX_BYTES, &b, e);
    if (!*is && rc == 0) {
        rc = grant_parse(&g, b.data, b.len, e);
        *is = rc == 0 && strcmp(g.reservation, r->id) == 0;
    } else if (rc != 0 && e->code == ERR_NOT_FOUND) {
        rc = 0; /* of the time when all was free here */
    }
    grant_clear(&g);
    buf_free(&b);
    return rc;
}

/* Its supervisor ends it in order: "the owner of the machine ended it". One that has no
 * supervisor any more is dead. */
static int
stop_job(const struct jobdir *d, const struct job_state *st, bool *told, struct err *e)
{
    bool owned = false;

    if (jobdir_is_owned(d, &owned, e) != 0) {
        return -1;
    }
    if (!owned || st->pid <= 0 || proc_start((pid_t)st->pid) != (uint64_t)st->pid_start) {
        return 0;
    }
    if (kill((pid_t)st->pid, SIGTERM) != 0) {
        return errno == ESRCH ? 0 : err_set_sys(e, errno, "its supervisor");
    }
    *told = true;
    return 0;
}

static void
end_job(const struct renter *who, const char *job, const struct reservation *r,
        struct ending *n)
{
    struct job_state st;
    struct jobdir d;
    struct err e;
    bool under = false;
    bool told = false;

    if (jobdir_open(&d, who, job, &e) != 0) {
        if (e.code != ERR_NOT_FOUND) {
            not_told(n, job, &e);
        }
        return;
    }
    state_init(&st);
    if (jobdir_state(&d, &st, &e) != 0 ||
        (!job_phase_is_final(st.phase) &&
         (is_under(&d, &st, r, &under, &e) != 0 ||
          (under && stop_job(&d, &st, &told, &e) != 0)))) {
        not_told(n, job, &e);
    } else if (told) {
        strings_add(&n->told, job);
    }
    state_free(&st);
    jobdir_close(&d);
}

/* The devices are the renter's no more: jobs that have them for it end. */
static int
end_jobs(const struct agent *a, const struct person *of, const struct reservation *r,
         struct ending *n, struct err *e)
{
    struct renter *who = NULL;
    struct job_ids ids = {NULL, 0};
    int rc = 0;

    if (of != NULL) {
        rc = renter_open(&who, a, of->id, false, e) == 0
                 ? jobdir_list_active(who, &ids, e)
                 : -1;
    }

    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        end_job(who, ids.v[i], r, n);
    }
    job_ids_free(&ids);
    renter_close(who);
    return rc;
}

static int
print_broken(const struct people *p, const struct reservation *r, int64_t refund_fen,
             const struct ending *n, bool json, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    char money[MONEY_TEXT_MAX];

    if (!json) {
        money_format_fen(refund_fen, money);
        (void)printf(_("%s yuan go back to the renter\n"), money);
        for (size_t i = 0; i < n->told.n; i++) {
            (void)printf(_("job %s was told to end\n"), n->told.v[i]);
        }
        return 0;
    }
    json_obj(&j);
    json_kint(&j, "refund_fen", refund_fen);
    json_key(&j, "reservation");
    json_one(&j, p, r);
    json_key(&j, "stopped");
    json_arr(&j);
    for (size_t i = 0; i < n->told.n; i++) {
        json_str(&j, n->told.v[i]);
    }
    json_arr_end(&j);
    json_key(&j, "not_stopped");
    json_arr(&j);
    for (size_t i = 0; i < n->not_told.n; i++) {
        json_obj(&j);
        json_kstr(&j, "job", n->not_told.v[i]);
        json_kstr(&j, "why", n->why.v[i]);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

/* The books that paid; those that cannot be reached now hear it from a later tick. */
static void
tell_books(const struct agent *a)
{
    struct errands sums;
    size_t n_refused = 0; /* each has its line */
    struct err why;

    if (owner_book_tell(a, &sums, &n_refused, &why) != 0) {
        (void)fprintf(stderr,
                      _("gpurun-agent: %s: not every book was told, `gpurun-agent tick` "
                        "does so later\n"),
                      why.msg);
    }
}

static int
take_back(const struct agent *a, const struct command_options *o, const char *id,
          struct err *e)
{
    struct reservation *r = NULL;
    struct ending n = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    int64_t refund_fen = 0;
    struct people p;
    int rc;

    if (reservations_break(a, id, o->dry_run, &r, &refund_fen, e) != 0) {
        return -1;
    }
    people_read(&p, a);
    rc = o->dry_run ? 0 : end_jobs(a, renter_of(&p, &r->renter), r, &n, e);
    if (rc == 0) {
        rc = print_broken(&p, r, refund_fen, &n, o->json, e);
    } else {
        (void)err_wrap(e, "it is taken back, but its jobs could not be listed");
    }
    for (size_t i = 0; i < n.not_told.n; i++) {
        (void)fprintf(stderr, _("gpurun-agent: job %s could not be told to end: %s\n"),
                      n.not_told.v[i], n.why.v[i]);
        rc = rc == 0 ? 1 : rc;
    }
    people_free(&p);
    if (!o->dry_run) {
        tell_books(a);
    }
    strings_free(&n.told);
    strings_free(&n.not_told);
    strings_free(&n.why);
    reservation_free(r);
    return rc;
}

int
owner_reservation(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool shows = strcmp(argv[0], "ls") == 0 && argc == 1 && !o->dry_run;
    bool breaks = strcmp(argv[0], "break") == 0 && argc == 2;
    struct agent *a = NULL;
    int rc;

    if (!shows && !breaks) {
        return err_set(e, ERR_INVALID,
                       "it is `reservation ls` or `reservation break ID [--dry-run]`");
    }
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    rc = shows ? list(a, o->json, e) : take_back(a, o, argv[1], e);
    agent_close(a);
    return rc;
}
