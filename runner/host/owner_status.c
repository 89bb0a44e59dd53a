#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/devices.h"
#include "runner/host/earned.h"
#include "runner/host/facts.h"
#include "runner/host/jobdir.h"
#include "runner/host/owner_json.h"
#include "runner/host/reservations.h"
#include "runner/job/park.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- jobs ---- */

static void
job_row(void *ctx, const struct renter *r, const struct job_state *st)
{
    struct columns *c = ctx;
    char phrase[JOB_PHRASE_MAX];
    char since[TEXT_DURATION_MAX] = "";
    char cost[MONEY_TEXT_MAX];
    char *device = xasprintf("%lldx %s", (long long)st->count,
                             st->n_devices > 0 ? st->devices[0].type : "?");

    job_phrase(st, phrase);
    if (st->started_wall_ns != 0) {
        int64_t end_ns = st->ended_wall_ns != 0 ? st->ended_wall_ns : clock_wall_ns();

        text_format_duration((end_ns - st->started_wall_ns) / NS_PER_S, since);
    }
    money_format_fen(st->cost_fen, cost);
    columns_add(c, st->job);
    columns_add(c, r->name[0] != '\0' ? r->name : r->id);
    columns_add(c, st->name);
    columns_add(c, device);
    columns_add(c, phrase);
    columns_add(c, since);
    columns_add(c, cost);
    columns_add(c, st->command);
    free(device);
}

static void
job_json(void *ctx, const struct renter *r, const struct job_state *st)
{
    owner_json_job(ctx, st, r->id, r->name);
}

static int
jobs_json(const struct agent *a, bool all, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "jobs");
    json_arr(&j);
    if (jobdir_each(a, all, job_json, &j, e) != 0) {
        buf_free(&b);
        return -1;
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

int
owner_jobs(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {N_("JOB"),    N_("RENTER"), N_("NAME"),
                                         N_("DEVICE"), N_("STATE"),  N_("TIME"),
                                         N_("YUAN"),   N_("COMMAND")};
    struct agent *a = NULL;
    struct columns *c;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (o->json) {
        rc = jobs_json(a, o->all, e);
    } else {
        c = columns_new(8, titles);
        rc = jobdir_each(a, o->all, job_row, c, e);
        columns_print_free(c);
    }
    agent_close(a);
    return rc;
}

/* ---- devices ---- */

static int
devices_json(const struct device_list *l, const char *why, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "devices");
    json_arr(&j);
    for (size_t i = 0; i < l->n; i++) {
        const struct device *d = &l->v[i];

        json_obj(&j);
        json_kstr(&j, "class", d->device_class);
        json_kstr(&j, "type", d->type);
        json_kstr(&j, "state", device_free_name(d->state));
        json_kint(&j, "memory_bytes", d->memory_bytes);
        json_kstr(&j, "name", d->name);
        json_kstr(&j, "uuid", d->uuid);
        json_kstr(&j, "note", d->note);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_kstr(&j, "why", why[0] != '\0' ? why : NULL);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static void
devices_print(const struct device_list *l)
{
    static const char *const titles[] = {N_("CLASS"),  N_("TYPE"), N_("STATE"),
                                         N_("MEMORY"), N_("NAME"), N_("UUID"),
                                         N_("NOTE")};
    struct columns *c = columns_new(7, titles);

    for (size_t i = 0; i < l->n; i++) {
        const struct device *d = &l->v[i];
        char size[TEXT_SIZE_MAX];

        text_format_size((uint64_t)d->memory_bytes, size);
        columns_add(c, d->device_class);
        columns_add(c, d->type);
        columns_add(c, d->state == DEVICE_FREE ? lang_in("device", "free")
                                               : err_words(device_free_name(d->state)));
        columns_add(c, size);
        columns_add(c, d->name);
        columns_add(c, d->uuid);
        columns_add(c, d->note);
    }
    columns_print_free(c);
}

int
owner_devices(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct device_list l = {NULL, 0};
    char why[DEVICES_WHY_MAX];
    char *paused;
    int rc = 0;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    paused = lang_pause(); /* what is kept of it is English */
    rc = devices_list(a, true, &l, why, e);
    if (rc == 0) {
        devices_look(a, &l);
    }
    lang_resume(paused);
    if (rc != 0) {
        agent_close(a);
        return -1;
    }
    if (reservations_mark(a, &l, e) != 0) {
        rc = -1;
    } else if (o->json) {
        rc = devices_json(&l, why, e);
    } else {
        devices_print(&l);
        if (why[0] != '\0') {
            (void)fprintf(stderr, "gpurun-agent: %s\n", err_words(why));
        }
    }
    device_list_free(&l);
    agent_close(a);
    return rc;
}

/* ---- status ---- */

struct totals {
    size_t running;
    size_t ended;
    size_t lost;
    int64_t earned_fen;
};

static void
count(void *ctx, const struct renter *r, const struct job_state *st)
{
    struct totals *t = ctx;

    (void)r;
    if (!job_phase_is_final(st->phase)) {
        t->running++;
    } else if (st->phase == JOB_LOST) {
        t->lost++;
    } else {
        t->ended++;
    }
    if (st->charge_fen > 0) {
        t->earned_fen += st->charge_fen;
    }
}

static int
status_json(const struct agent *a, const struct host_info *h, const struct totals *t,
            struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    char key[2 * SIGN_PUBLIC_LEN + 1];

    sign_public_format(&a->pub, key);
    json_obj(&j);
    json_kstr(&j, "version", h->version);
    json_kstr(&j, "home", a->home);
    json_kstr(&j, "host_key", key);
    json_kstr(&j, "arch", h->arch);
    json_kint(&j, "cores", h->cores);
    json_kint(&j, "disk_free_bytes", h->disk_free_bytes);
    json_kstr(&j, "protection", host_protection_name(h->protection));
    json_kstr(&j, "protection_why", h->protection_why);
    json_kstr(&j, "confine", h->confine);
    json_kint(&j, "running", (int64_t)t->running);
    json_kint(&j, "ended", (int64_t)t->ended);
    json_kint(&j, "lost", (int64_t)t->lost);
    json_kint(&j, "earned_fen", t->earned_fen);
    park_json(&j, &h->park);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

/* "shutdown now" after 00:10:00 of nothing to do: counting, at 2026-11-28 17:00:00 +0800
 */
static void
park_print(const struct park *p)
{
    char after[TEXT_DURATION_MAX];
    char at[CLOCK_TEXT_MAX];
    struct buf b = BUF_INIT;

    if (p->phase == PARK_NONE) {
        return;
    }
    text_format_duration(p->after_s, after);
    if (p->command != NULL) {
        text_escape(&b, p->command, strlen(p->command));
    }
    (void)printf(_("parking     '%s' after %s of nothing to do: %s"), buf_str(&b), after,
                 err_words(park_phase_name(p->phase)));
    if (p->at_wall_ns > 0 && p->phase != PARK_HELD) {
        clock_format_local(p->at_wall_ns, at);
        (void)printf(", %s", at);
    }
    if (p->why != NULL) {
        buf_reset(&b);
        text_escape(&b, p->why, strlen(p->why));
        (void)printf(": %s", buf_str(&b));
    }
    (void)printf("\n");
    buf_free(&b);
}

static void
status_print(const struct agent *a, const struct host_info *h, const struct totals *t)
{
    char key[2 * SIGN_PUBLIC_LEN + 1];
    char money[MONEY_TEXT_MAX];
    char size[TEXT_SIZE_MAX];

    sign_public_format(&a->pub, key);
    money_format_fen(t->earned_fen, money);
    text_format_size((uint64_t)h->disk_free_bytes, size);
    (void)printf(_("agent       %s, home %s\n"), h->version, a->home);
    (void)printf(_("host key    %s\n"), key);
    (void)printf(_("machine     %s, %lld cores, %s free on disk\n"), h->arch,
                 (long long)h->cores, size);
    (void)printf(
        _("protection  %s%s%s (%s)\n"), err_words(host_protection_name(h->protection)),
        h->protection_why == NULL ? "" : ": ",
        h->protection_why == NULL ? "" : err_words(h->protection_why), h->confine);
    (void)printf(_("jobs        %zu running, %zu ended, %zu lost\n"), t->running,
                 t->ended, t->lost);
    (void)printf(_("earned      %s yuan\n"), money);
    park_print(&h->park);
}

int
owner_status(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct host_info h;
    struct totals t = {0};
    char *paused;
    int rc = -1;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    paused = lang_pause();
    rc = facts_fill(&h, a, NULL, true, e);
    lang_resume(paused);
    if (rc != 0) {
        goto out;
    }
    rc = -1;
    if (jobdir_each(a, true, count, &t, e) == 0) {
        rc = 0;
        if (o->json) {
            rc = status_json(a, &h, &t, e);
        } else {
            status_print(a, &h, &t);
        }
    }
    hostinfo_free(&h);

out:
    agent_close(a);
    return rc;
}

/* ---- earnings ---- */

struct earning_out {
    bool csv;
    struct json_writer *j; /* one of the two, or neither */
    struct columns *c;
    int64_t total_fen;
};

static void
earning_row(void *ctx, const struct renter *r, const struct job_state *st)
{
    struct earning_out *o = ctx;
    char at[CLOCK_TEXT_MAX];
    char money[MONEY_TEXT_MAX];

    if (!job_phase_is_final(st->phase) || st->charge_fen < 0) {
        return;
    }
    o->total_fen += st->charge_fen;
    if (o->j != NULL) {
        owner_json_job(o->j, st, r->id, r->name);
        return;
    }
    money_format_fen(st->charge_fen, money);
    if (o->csv) {
        clock_format_utc(st->ended_wall_ns, 0, at);
        (void)printf("%s,%s,%s,%s,%s,%lld,%s,%s\n", at, st->job, r->id, r->name,
                     st->n_devices > 0 ? st->devices[0].type : "", (long long)st->count,
                     job_reason_name(st->reason), money);
        return;
    }
    clock_format_local(st->ended_wall_ns, at);
    columns_add(o->c, at);
    columns_add(o->c, st->job);
    columns_add(o->c, r->name[0] != '\0' ? r->name : r->id);
    columns_add(o->c, st->n_devices > 0 ? st->devices[0].type : "");
    columns_add(o->c, money);
}

static int
earning_reserved(void *ctx, const struct renter *r, const struct reservation *v,
                 struct err *e)
{
    struct earning_out *o = ctx;
    int64_t fen = reservation_paid_fen(v);
    const char *name = r->name[0] != '\0' ? r->name : r->id;
    char at[CLOCK_TEXT_MAX];
    char money[MONEY_TEXT_MAX];

    (void)e;
    o->total_fen += fen;
    money_format_fen(fen, money);
    if (o->j != NULL) {
        json_obj(o->j);
        json_kstr(o->j, "id", v->id);
        json_kstr(o->j, "renter", r->id);
        json_kstr(o->j, "name", r->name[0] != '\0' ? r->name : NULL);
        json_kstr(o->j, "type", v->type);
        json_kint(o->j, "count", (int64_t)v->n_devices);
        json_ktime(o->j, "from", v->from_s * NS_PER_S);
        json_ktime(o->j, "to", v->to_s * NS_PER_S);
        json_kbool(o->j, "given_back", v->given_back);
        json_kint(o->j, "paid_fen", fen);
        json_obj_end(o->j);
    } else if (o->csv) {
        clock_format_utc(v->from_s * NS_PER_S, 0, at);
        (void)printf("%s,%s,%s,%s,%s,%zu,reserved,%s\n", at, v->id, r->id, r->name,
                     v->type, v->n_devices, money);
    } else {
        clock_format_local(v->from_s * NS_PER_S, at);
        columns_add(o->c, at);
        columns_add(o->c, v->id);
        columns_add(o->c, name);
        columns_add(o->c, v->type);
        columns_add(o->c, money);
    }
    return 0;
}

static int
earnings_json(const struct agent *a, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct earning_out out = {.j = &j};

    json_obj(&j);
    json_key(&j, "jobs");
    json_arr(&j);
    if (jobdir_each(a, true, earning_row, &out, e) != 0) {
        buf_free(&b);
        return -1;
    }
    json_arr_end(&j);
    json_key(&j, "reservations");
    json_arr(&j);
    if (earned_each_reservation(a, earning_reserved, &out, e) != 0) {
        buf_free(&b);
        return -1;
    }
    json_arr_end(&j);
    json_kint(&j, "total_fen", out.total_fen);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
earnings_print(const struct agent *a, bool csv, struct err *e)
{
    static const char *const titles[] = {N_("ENDED"), N_("JOB"), N_("RENTER"),
                                         N_("DEVICE"), N_("YUAN")};
    struct earning_out out = {.csv = csv};
    char money[MONEY_TEXT_MAX];
    int rc;

    if (csv) {
        (void)printf("ended_utc,job,renter,name,device,count,reason,charge_yuan\n");
    } else {
        out.c = columns_new(5, titles);
    }
    rc = jobdir_each(a, true, earning_row, &out, e);
    if (rc == 0) {
        rc = earned_each_reservation(a, earning_reserved, &out, e);
    }
    if (!csv) {
        columns_print_free(out.c);
        money_format_fen(out.total_fen, money);
        (void)printf(_("total %s yuan\n"), money);
    }
    return rc;
}

int
owner_earnings(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    rc = o->json ? earnings_json(a, e) : earnings_print(a, o->csv, e);
    agent_close(a);
    return rc;
}
