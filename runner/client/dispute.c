#include "runner/client/dispute.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/client/jobs.h"
#include "runner/job/ids.h"
#include "runner/job/spec.h"

#define EVIDENCE_DIR "evidence"
#define BYTES_MAX    4096

struct dispute {
    const struct home *home;
    char *job;
    struct stopwatch watch;
    bool knows_setup; /* watch.no_setup is right; what was sent does not change */
};

static bool
load(const struct home *home, const char *job, struct stopwatch *w)
{
    char *path = home_path(home, EVIDENCE_DIR, job);
    struct buf b = BUF_INIT;
    struct err e;
    bool there = file_read(path, BYTES_MAX, &b, &e) == 0 &&
                 stopwatch_parse(w, b.data, b.len, &e) == 0;

    buf_free(&b);
    free(path);
    return there;
}

/* Was the job sent without a set-up? False: nothing here says with what it was sent. */
static bool
sent_without_setup(const struct home *home, const char *job, bool *without)
{
    struct job_record j;
    struct job_spec spec;
    struct err none;
    bool known;

    job_record_init(&j);
    spec_init(&spec);
    known =
        jobs_load(home, job, &j, &none) == 0 && job_record_spec(&j, &spec, &none) == 0;
    if (known) {
        *without = spec.setup == NULL;
    }
    spec_free(&spec);
    job_record_free(&j);
    return known;
}

/* What another client of this job has found meanwhile is not lost to ours. */
static void
take_claim(struct dispute *d)
{
    struct stopwatch there;

    if (load(d->home, d->job, &there) && there.host_s > d->watch.host_s) {
        d->watch.seq = there.seq;
        d->watch.host_s = there.host_s;
        d->watch.passed_s = there.passed_s;
        d->watch.unasked_s = there.unasked_s;
    }
}

static void
save(struct dispute *d)
{
    char *path = NULL;
    struct buf b = BUF_INIT;
    struct err e;

    take_claim(d);
    stopwatch_encode(&d->watch, &b);
    if (home_make(d->home, EVIDENCE_DIR, d->job, &path, &e) == 0) {
        (void)!file_replace(path, b.data, b.len, &e);
    }
    buf_free(&b);
    free(path);
}

struct dispute *
dispute_open(const struct home *home, const char *job)
{
    struct dispute *d = xcalloc(1, sizeof *d);

    d->home = home;
    d->job = xstrdup(job);
    (void)load(home, job, &d->watch);
    return d;
}

void
dispute_close(struct dispute *d)
{
    if (d != NULL) {
        free(d->job);
        free(d);
    }
}

void
dispute_begin(struct dispute *d)
{
    struct usage_moment now;

    if (!d->watch.set) {
        usage_now(&now);
        stopwatch_begin(&d->watch, &now);
        save(d);
    }
}

void
dispute_look(struct dispute *d, const struct usage_moment *asked,
             const struct journal_record *last)
{
    d->watch.wall_kept = clock_wall_kept();
    if (stopwatch_look(&d->watch, asked, last->seq, &last->total)) {
        save(d);
    }
}

bool
dispute_holds(struct dispute *d, int64_t seq, int64_t setup_s, int64_t device_s)
{
    struct usage_moment now;
    bool holds;

    usage_now(&now);
    d->watch.wall_kept = clock_wall_kept();
    if (setup_s > 0 && !d->knows_setup) {
        d->knows_setup = sent_without_setup(d->home, d->job, &d->watch.no_setup);
    }
    holds = stopwatch_holds(&d->watch, &now, seq, setup_s, device_s);
    if (!holds) {
        save(d);
    }
    return holds;
}

const struct stopwatch *
dispute_claim(const struct dispute *d)
{
    return d->watch.host_s > 0 ? &d->watch : NULL;
}

void
dispute_end(struct dispute *d)
{
    take_claim(d);
    if (d->watch.host_s == 0) {
        dispute_forget(d->home, d->job);
    }
}

bool
dispute_load(const struct home *home, const char *job, struct stopwatch *w)
{
    memset(w, 0, sizeof *w);
    /* A host or a receipt says which job: no path of its own making. */
    if (!id_is(ID_JOB, job) || !load(home, job, w) || w->host_s == 0) {
        return false;
    }
    (void)sent_without_setup(home, job, &w->no_setup);
    return true;
}

void
dispute_forget(const struct home *home, const char *job)
{
    char *path = home_path(home, EVIDENCE_DIR, job);

    (void)unlink(path);
    free(path);
}
