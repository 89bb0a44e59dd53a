#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "meter/grant.h"
#include "runner/host/devices.h"
#include "runner/host/jobdir.h"
#include "runner/host/procs.h"
#include "runner/host/serve_internal.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/*
 * What the jobs of this renter use right now: processes as /proc tells, devices as the
 * probe does. Cumulative where a share is meant, so that who asks twice can tell it.
 */

/* What a whole minute costs is the client's sum; here is only the price in force. */
static int64_t
burn_of(const struct jobdir *d)
{
    struct buf b = BUF_INIT;
    struct grant g;
    struct err none;
    int64_t burn = 0;

    grant_init(&g);
    if (jobdir_read(d, "grant", GRANT_MAX_BYTES, &b, &none) == 0 &&
        grant_parse(&g, b.data, b.len, &none) == 0) {
        burn = grant_burn_uyuan_per_h(&g);
    }
    grant_clear(&g);
    buf_free(&b);
    return burn;
}

/* The supervisor and what it forked of itself are not the job. */
static void
add_processes(struct rec *r, const struct job_state *st)
{
    pid_t sup = (pid_t)st->pid;
    struct proc_list l = {NULL, 0};
    int64_t n = 0;
    uint64_t ticks = 0;
    uint64_t rss = 0;
    struct err none;

    if (sup > 0 && proc_start(sup) == (uint64_t)st->pid_start &&
        proc_descendants(sup, &l, &none) == 0) {
        for (size_t i = 0; i < l.n; i++) {
            if (l.v[i].ppid != sup && l.v[i].state != 'Z') {
                n++;
                ticks += l.v[i].cpu_ticks;
                rss += l.v[i].rss_bytes;
            }
        }
        proc_list_free(&l);
    }
    rec_add_int(r, "processes", n);
    rec_add_int(r, "cpu_ms", (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK)));
    rec_add_int(r, "rss_bytes", (int64_t)rss);
}

static void
add_devices(struct rec *r, const struct job_state *st, const struct device_list *devices)
{
    for (size_t i = 0; i < st->n_devices; i++) {
        for (size_t k = 0; k < devices->n; k++) {
            const struct device *d = &devices->v[k];
            struct buf b = BUF_INIT;
            struct rec *one;

            if (strcmp(d->device_class, "cpu") == 0 ||
                strcmp(d->uuid, st->devices[i].uuid) != 0) {
                continue;
            }
            one = device_encode(d);
            rec_encode(one, &b);
            rec_add_bytes(r, "device", b.data, b.len);
            buf_free(&b);
            rec_free(one);
        }
    }
}

static bool
holds_devices(const struct job_state *st)
{
    for (size_t i = 0; i < st->n_devices; i++) {
        if (strcmp(st->devices[i].device_class, "cpu") != 0) {
            return true;
        }
    }
    return false;
}

/* One job's sample; devices is filled when the first job that holds any is met. */
static void
add_sample(struct serve *s, struct rec *answer, const char *job,
           struct device_list *devices)
{
    struct job_state st;
    struct jobdir d;
    struct rec *r;
    struct rec *state;
    struct buf b = BUF_INIT;
    struct err none;

    state_init(&st);
    if (jobdir_open(&d, s->renter, job, &none) != 0) {
        return;
    }
    if (jobdir_state(&d, &st, &none) == 0 && !job_phase_is_final(st.phase)) {
        /* A probe that fails tells nothing: the job is shown without its devices. */
        if (devices->n == 0 && holds_devices(&st)) {
            (void)!devices_list(s->agent, true, devices, NULL, &none);
        }
        r = rec_new(SAMPLE_TYPE);
        state = state_encode(&st);
        rec_encode(state, &b);
        rec_add_bytes(r, "state", b.data, b.len);
        buf_reset(&b);
        rec_free(state);
        rec_add_int(r, "burn_uyuan_per_h", burn_of(&d));
        add_processes(r, &st);
        add_devices(r, &st, devices);
        rec_encode(r, &b);
        rec_add_bytes(answer, "sample", b.data, b.len);
        buf_free(&b);
        rec_free(r);
    }
    state_free(&st);
    jobdir_close(&d);
}

static void
host_top(struct serve *s, uint64_t id, const struct rec *req)
{
    struct device_list devices = {NULL, 0};
    struct job_ids ids;
    struct rec *r;
    struct err e;

    (void)req;
    if (jobdir_list_active(s->renter, &ids, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    r = msg_answer_new(VERB_HOST_TOP);
    for (size_t i = 0; i < ids.n && i < TOP_JOBS_MAX; i++) {
        add_sample(s, r, ids.v[i], &devices);
    }
    rec_add_int(r, "boot_ns", clock_boot_ns());
    rec_add_int(r, "cores", devices_cores());
    rec_add_int(r, "mem_bytes", devices_mem_bytes());
    mux_respond(s->mux, id, r);
    rec_free(r);
    job_ids_free(&ids);
    device_list_free(&devices);
}

const struct serve_verb serve_verbs_top[] = {
    {VERB_HOST_TOP, host_top},
    {NULL, NULL},
};
