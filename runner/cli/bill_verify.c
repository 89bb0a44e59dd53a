#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/receipts.h"

/* The pinned key of the host a job ran on, where the host is still known. */
bool
bill_pinned_key(const struct home *home, const char *host, struct sign_public *key)
{
    struct host h;
    struct err ignored;
    bool pinned;

    if (host == NULL || hosts_load(home, host, &h, &ignored) != 0) {
        return false;
    }
    pinned = h.pinned;
    *key = h.key;
    host_free(&h);
    return pinned;
}

/*
 * Whose key a receipt file is signed with: that of the host its job ran on, if the job
 * is known here, and then no other will do; else that of any host with that key.
 * *host (malloc'ed) is NULL where none is pinned.
 */
static int
signing_host(const struct cli *c, const struct receipt *r, char **host, struct err *e)
{
    struct host_list l = {NULL, 0};
    struct job_record job;
    struct sign_public key;
    struct err ignored;
    int rc = 0;

    *host = NULL;
    job_record_init(&job);
    if (jobs_load(c->home, r->job, &job, &ignored) == 0 &&
        bill_pinned_key(c->home, job.host, &key)) {
        if (memcmp(key.b, r->host.b, sizeof key.b) == 0) {
            *host = xstrdup(job.host);
        } else {
            rc = err_set(e, ERR_DENIED,
                         _("job %s ran on host '%s', but another key has signed this"),
                         r->job, job.host);
        }
    } else if (hosts_list(c->home, true, &l, e) != 0) {
        rc = -1;
    }
    for (size_t i = 0; rc == 0 && *host == NULL && i < l.n; i++) {
        if (l.v[i].pinned && memcmp(l.v[i].key.b, r->host.b, sizeof r->host.b) == 0) {
            *host = xstrdup(l.v[i].name);
        }
    }
    host_list_free(&l);
    job_record_free(&job);
    return rc;
}

static int
verify_print(const struct cli *c, const struct receipt *r, const char *host,
             struct err *e)
{
    struct buf out = BUF_INIT;
    char money[OUT_MONEY_MAX];
    struct stopwatch_dispute d;
    bool disputed = bill_dispute_of(c->home, r, &d);
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "job", r->job);
        json_kbool(&j, "verified", true);
        json_kbool(&j, "host_key_pinned", host != NULL);
        json_kstr(&j, "host", host);
        json_kint(&j, "charge_fen", r->charge_fen);
        bill_dispute_json(r, disputed ? &d : NULL, &j);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else if (host != NULL) {
        buf_printf(&out, _("%s: right, %s, signed by the pinned key of host '%s'\n"),
                   r->job, out_fen(r->charge_fen, money), host);
    } else {
        buf_printf(&out,
                   _("%s: right, %s, but no host is pinned here to compare its signature "
                     "with\n"),
                   r->job, out_fen(r->charge_fen, money));
    }
    if (disputed && !c->g.json) {
        bill_dispute_text(&d, &out);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* A job known here; or one of another laptop, whose receipt was fetched to here. */
static int
find_job(const struct cli *c, const char *what, struct job_record *job, struct err *e)
{
    if (jobs_find(c->home, what, job, e) == 0) {
        return 0;
    }
    if (!id_is(ID_JOB, what) || !receipts_kept(c->home, what)) {
        return -1;
    }
    memcpy(job->id, what, sizeof job->id);
    return 0;
}

int
bill_verify_one(const struct cli *c, const char *what, bool check_all, struct err *e)
{
    struct receipt_pins pins = {.check_all = check_all};
    struct job_record job;
    struct receipt *r = NULL;
    struct sign_public key;
    char *path = NULL;
    char *host = NULL;
    bool taken = false;
    int rc = bill_front_verify(c, what, &taken, e);

    if (taken) {
        return rc;
    }
    rc = -1;
    job_record_init(&job);
    if (strchr(what, '/') == NULL && find_job(c, what, &job, e) == 0) {
        path = home_path(c->home, "receipts", job.id);
        pins.job = job.id;
        if (!receipts_kept(c->home, job.id)) {
            err_set(e, ERR_NOT_FOUND,
                    _("no receipt of job '%s' is kept here: `gpurun bill %s` fetches it"),
                    job.id, job.id);
            goto out;
        }
        if (bill_pinned_key(c->home, job.host, &key)) {
            pins.host = &key;
        }
    } else if (file_exists(what)) {
        path = xstrdup(what);
    } else {
        err_set(e, ERR_NOT_FOUND, _("'%s' is neither a job known here nor a file"), what);
        goto out;
    }
    if (receipt_verify_file(&r, path, &pins, e) != 0) {
        /* It is there, but no receipt: that is no mistake of typing. */
        e->code = e->code == ERR_NOT_FOUND ? ERR_CORRUPT : e->code;
        err_wrap(e, "%s", what);
        goto out;
    }
    if (signing_host(c, r, &host, e) == 0) {
        rc = verify_print(c, r, host, e);
    }

out:
    free(host);
    receipt_free(r);
    free(path);
    job_record_free(&job);
    return rc;
}

/* Which key a job's receipt must be signed with, where its host is still known. */
static const struct sign_public *
key_of(const struct cli *c, const char *job, struct sign_public *key)
{
    struct job_record record;
    struct err none;
    bool pinned;

    job_record_init(&record);
    pinned = jobs_load(c->home, job, &record, &none) == 0 &&
             bill_pinned_key(c->home, record.host, key);
    job_record_free(&record);
    return pinned ? key : NULL;
}

static int
verify_told(const struct cli *c, const char *job, const struct receipt_task *t,
            struct err *e)
{
    char *host = NULL;
    int rc;

    if (t->out == NULL) {
        *e = t->e;
        e->code = e->code == ERR_NOT_FOUND ? ERR_CORRUPT : e->code;
        return err_wrap(e, "%s", job);
    }
    rc = signing_host(c, t->out, &host, e) == 0 ? verify_print(c, t->out, host, e) : -1;
    free(host);
    return rc;
}

/* One that is wrong hides no other: the first is the error, each after it is told. */
static int
verify_each(const struct cli *c, const struct receipt_ids *ids,
            const struct receipt_task *tasks, struct err *e)
{
    struct err why;
    int rc = 0;

    for (size_t i = 0; i < ids->n; i++) {
        if (verify_told(c, ids->v[i], &tasks[i], rc == 0 ? e : &why) == 0) {
            continue;
        }
        if (rc != 0) {
            say(c, "%s", why.msg);
        }
        rc = -1;
    }
    return rc;
}

int
bill_verify_all(struct cli *c, struct err *e)
{
    struct receipt_ids ids = {NULL, 0};
    int64_t start_ns = clock_boot_ns();
    int rc = receipts_list(c->home, &ids, e);
    struct receipt_task *tasks = xcalloc(ids.n + 1, sizeof *tasks);
    struct sign_public *keys = xcalloc(ids.n + 1, sizeof *keys);

    for (size_t i = 0; i < ids.n; i++) {
        tasks[i].path = home_path(c->home, "receipts", ids.v[i]);
        tasks[i].pins = (struct receipt_pins){
            .job = ids.v[i], .host = key_of(c, ids.v[i], &keys[i]), .check_all = true};
    }
    receipt_verify_files(tasks, ids.n);
    rc = rc == 0 ? verify_each(c, &ids, tasks, e) : rc;
    for (size_t i = 0; i < ids.n; i++) {
        receipt_free(tasks[i].out);
        free((void *)(uintptr_t)tasks[i].path);
    }
    if (rc == 0) {
        say(c,
            NP_("%zu receipt, every signature checked, in %lld ms",
                "%zu receipts, every signature checked, in %lld ms", ids.n),
            ids.n, (long long)((clock_boot_ns() - start_ns) / 1000000));
    }
    free(keys);
    free(tasks);
    free(ids.v);
    return rc;
}
