#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/columns.h"
#include "meter/grant.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/jobdir.h"
#include "runner/host/owner_json.h"
#include "runner/host/procs.h"
#include "runner/host/reservations.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- whose it is ---- */

/* The renter with that key; NULL: its records are gone. renter_close it. */
static struct renter *
renter_of(const struct agent *a, const struct sign_public *key)
{
    struct renter_ids ids;
    struct renter *found = NULL;
    struct err none;

    if (renter_list(a, &ids, &none) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < ids.n && found == NULL; i++) {
        struct renter *r = NULL;

        if (renter_open(&r, a, ids.v[i], false, &none) != 0) {
            continue;
        }
        if (r->has_key && memcmp(r->key.b, key->b, sizeof key->b) == 0) {
            found = r;
        } else {
            renter_close(r);
        }
    }
    renter_ids_free(&ids);
    return found;
}

static const char *
state_of(const struct reservation *r)
{
    if (r->given_back) {
        return r->events[r->n_events - 1].act == ORDER_BREAK ? "broken" : "given_back";
    }
    return reservation_holds(r, clock_wall_ns() / NS_PER_S) ? "active" : "over";
}

/* ---- showing ---- */

static void
json_one(struct json_writer *j, const struct agent *a, const struct reservation *r)
{
    struct renter *who = renter_of(a, &r->renter);

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
    renter_close(who);
}

static void
row_of(struct columns *c, const struct agent *a, const struct reservation *r)
{
    struct renter *who = renter_of(a, &r->renter);
    char *devices = xasprintf("%zux %s", r->n_devices, r->type);
    char when[CLOCK_TEXT_MAX];
    char money[MONEY_TEXT_MAX];

    clock_format_local(r->to_s * NS_PER_S, when);
    money_format_fen(reservation_paid_fen(r), money);
    columns_add(c, r->id);
    columns_add(c, who == NULL ? "?" : who->name[0] != '\0' ? who->name : who->id);
    columns_add(c, devices);
    columns_add(c, state_of(r));
    columns_add(c, when);
    columns_add(c, money);
    free(devices);
    renter_close(who);
}

static void
list_text(const struct agent *a, const struct reservation_list *l)
{
    static const char *const titles[] = {"ID",    "RENTER", "DEVICES",
                                         "STATE", "UNTIL",  "YUAN"};
    struct columns *c = columns_new(6, titles);

    for (size_t i = 0; i < l->n; i++) {
        row_of(c, a, l->v[i]);
    }
    columns_print_free(c);
}

static int
list_json(const struct agent *a, const struct reservation_list *l, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "reservations");
    json_arr(&j);
    for (size_t i = 0; i < l->n; i++) {
        json_one(&j, a, l->v[i]);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
list(const struct agent *a, bool json, struct err *e)
{
    struct reservation_list l = {NULL, 0};
    int rc = reservations_list(&l, a, NULL, e);

    if (rc == 0 && json) {
        rc = list_json(a, &l, e);
    } else if (rc == 0) {
        list_text(a, &l);
    }
    reservations_free(&l);
    return rc;
}

/* ---- taking it back ---- */

/* Begun on it, or gone over to it since. */
static bool
is_under(const struct jobdir *d, const struct reservation *r)
{
    struct buf b = BUF_INIT;
    struct job_state st;
    struct grant g;
    struct err none;
    bool is;

    grant_init(&g);
    state_init(&st);
    is = jobdir_read(d, "grant", GRANT_MAX_BYTES, &b, &none) == 0 &&
         grant_parse(&g, b.data, b.len, &none) == 0 && strcmp(g.reservation, r->id) == 0;
    if (!is && jobdir_state(d, &st, &none) == 0) {
        for (size_t i = 0; i < st.n_devices; i++) {
            is = is || reservation_has_device(r, st.devices[i].uuid);
        }
    }
    state_free(&st);
    grant_clear(&g);
    buf_free(&b);
    return is;
}

/* Its supervisor ends it in order: "the owner of the machine ended it". */
static bool
stop_job(const struct jobdir *d)
{
    struct job_state st;
    struct err none;
    bool owned = false;
    bool told = false;

    state_init(&st);
    if (jobdir_state(d, &st, &none) == 0 && !job_phase_is_final(st.phase) &&
        jobdir_is_owned(d, &owned, &none) == 0 && owned && st.pid > 0 &&
        proc_start((pid_t)st.pid) == (uint64_t)st.pid_start) {
        told = kill((pid_t)st.pid, SIGTERM) == 0;
    }
    state_free(&st);
    return told;
}

/* The devices are the renter's no more: jobs that have them for it end. */
static void
stop_jobs(const struct agent *a, const struct reservation *r, struct strings *stopped)
{
    struct renter *who = renter_of(a, &r->renter);
    struct job_ids ids = {NULL, 0};
    struct err none;

    if (who != NULL && jobdir_list_active(who, &ids, &none) == 0) {
        for (size_t i = 0; i < ids.n; i++) {
            struct jobdir d;

            if (jobdir_open(&d, who, ids.v[i], &none) != 0) {
                continue;
            }
            if (is_under(&d, r) && stop_job(&d)) {
                strings_add(stopped, ids.v[i]);
            }
            jobdir_close(&d);
        }
    }
    job_ids_free(&ids);
    renter_close(who);
}

static int
print_broken(const struct agent *a, const struct reservation *r, int64_t refund_fen,
             const struct strings *stopped, bool json, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    char money[MONEY_TEXT_MAX];

    if (!json) {
        money_format_fen(refund_fen, money);
        (void)printf("%s yuan go back to the renter\n", money);
        for (size_t i = 0; i < stopped->n; i++) {
            (void)printf("job %s was told to end\n", stopped->v[i]);
        }
        return 0;
    }
    json_obj(&j);
    json_kint(&j, "refund_fen", refund_fen);
    json_key(&j, "reservation");
    json_one(&j, a, r);
    json_key(&j, "stopped");
    json_arr(&j);
    for (size_t i = 0; i < stopped->n; i++) {
        json_str(&j, stopped->v[i]);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
take_back(const struct agent *a, const struct command_options *o, const char *id,
          struct err *e)
{
    struct reservation *r = NULL;
    struct strings stopped = {NULL, 0};
    int64_t refund_fen = 0;
    int rc;

    if (reservations_break(a, id, o->dry_run, &r, &refund_fen, e) != 0) {
        return -1;
    }
    if (!o->dry_run) {
        stop_jobs(a, r, &stopped);
    }
    rc = print_broken(a, r, refund_fen, &stopped, o->json, e);
    strings_free(&stopped);
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
