#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/columns.h"
#include "runner/host/commands.h"
#include "runner/host/devices.h"
#include "runner/host/facts.h"
#include "runner/host/jobdir.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- walking all jobs ---- */

typedef void job_fn(void *ctx, const struct renter *r, const struct job_state *st);

static int
each_job(const struct agent *a, bool all, job_fn *fn, void *ctx, struct err *e)
{
    struct renter_ids l;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct renter *r = NULL;
        struct job_ids ids = {NULL, 0};
        struct err none;

        if (renter_open(&r, a, l.v[i], false, &none) != 0) {
            continue;
        }
        if ((all ? jobdir_list(r, &ids, &none) : jobdir_list_active(r, &ids, &none)) ==
            0) {
            for (size_t k = 0; k < ids.n; k++) {
                struct job_state st;
                struct jobdir d;

                state_init(&st);
                if (jobdir_open(&d, r, ids.v[k], &none) != 0) {
                    continue;
                }
                if (jobdir_state(&d, &st, &none) == 0) {
                    fn(ctx, r, &st);
                }
                state_free(&st);
                jobdir_close(&d);
            }
        }
        job_ids_free(&ids);
        renter_close(r);
    }
    renter_ids_free(&l);
    return 0;
}

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

int
owner_jobs(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {"JOB",   "RENTER", "NAME", "DEVICE",
                                         "STATE", "TIME",   "YUAN", "COMMAND"};
    struct agent *a = NULL;
    struct columns *c;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    c = columns_new(8, titles);
    rc = each_job(a, o->all, job_row, c, e);
    columns_print_free(c);
    agent_close(a);
    return rc;
}

/* ---- devices ---- */

int
owner_devices(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {"CLASS", "TYPE", "STATE", "MEMORY",
                                         "NAME",  "UUID", "NOTE"};
    struct agent *a = NULL;
    struct device_list l = {NULL, 0};
    char why[DEVICES_WHY_MAX];
    struct columns *c;

    (void)o;
    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (devices_list(a, true, &l, why, e) != 0) {
        agent_close(a);
        return -1;
    }
    devices_look(a, &l);
    c = columns_new(7, titles);
    for (size_t i = 0; i < l.n; i++) {
        const struct device *d = &l.v[i];
        char size[TEXT_SIZE_MAX];

        text_format_size((uint64_t)d->memory_bytes, size);
        columns_add(c, d->device_class);
        columns_add(c, d->type);
        columns_add(c, device_free_name(d->state));
        columns_add(c, size);
        columns_add(c, d->name);
        columns_add(c, d->uuid);
        columns_add(c, d->note);
    }
    columns_print_free(c);
    if (why[0] != '\0') {
        (void)fprintf(stderr, "gpurun-agent: %s\n", why);
    }
    device_list_free(&l);
    agent_close(a);
    return 0;
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

int
owner_status(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct host_info h;
    struct totals t = {0};
    char key[2 * SIGN_PUBLIC_LEN + 1];
    char money[MONEY_TEXT_MAX];
    char size[TEXT_SIZE_MAX];
    int rc = -1;

    (void)o;
    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (facts_fill(&h, a, NULL, true, e) != 0) {
        goto out;
    }
    if (each_job(a, true, count, &t, e) != 0) {
        hostinfo_free(&h);
        goto out;
    }
    sign_public_format(&a->pub, key);
    money_format_fen(t.earned_fen, money);
    text_format_size((uint64_t)h.disk_free_bytes, size);
    (void)printf("agent       %s, home %s\n", h.version, a->home);
    (void)printf("host key    %s\n", key);
    (void)printf("machine     %s, %lld cores, %s free on disk\n", h.arch,
                 (long long)h.cores, size);
    (void)printf("protection  %s%s%s (%s)\n", host_protection_name(h.protection),
                 h.protection_why == NULL ? "" : ": ",
                 h.protection_why == NULL ? "" : h.protection_why, h.confine);
    (void)printf("jobs        %zu running, %zu ended, %zu lost\n", t.running, t.ended,
                 t.lost);
    (void)printf("earned      %s yuan\n", money);
    hostinfo_free(&h);
    rc = 0;

out:
    agent_close(a);
    return rc;
}

/* ---- earnings ---- */

struct earning_out {
    bool csv;
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

int
owner_earnings(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {"ENDED", "JOB", "RENTER", "DEVICE", "YUAN"};
    struct earning_out out = {.csv = o->csv};
    struct agent *a = NULL;
    char money[MONEY_TEXT_MAX];
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (o->csv) {
        (void)printf("ended_utc,job,renter,name,device,count,reason,charge_yuan\n");
    } else {
        out.c = columns_new(5, titles);
    }
    rc = each_job(a, true, earning_row, &out, e);
    if (!o->csv) {
        columns_print_free(out.c);
        money_format_fen(out.total_fen, money);
        (void)printf("total %s yuan\n", money);
    }
    agent_close(a);
    return rc;
}
