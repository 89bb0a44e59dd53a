#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/launch.h"
#include "runner/cli/outs.h"
#include "runner/cli/request.h"

/* What the job was, as its host has it on record. */
static int
old_spec(struct session *s, const char *job, struct job_spec *out, struct err *e)
{
    struct rec *resp = NULL;
    struct rec *r = NULL;
    const char *bytes;
    size_t len;
    int rc;

    if (context_show_job(s, job, &resp, e) != 0) {
        return -1;
    }
    bytes = rec_get_bytes(resp, "spec", &len);
    rc = bytes == NULL || len > SPEC_MAX_BYTES
             ? err_set(e, ERR_CORRUPT, _("the host tells nothing of job %s"), job)
             : rec_parse(&r, bytes, len, SPEC_TYPE, e);
    if (rc == 0) {
        rc = spec_parse(out, r, e);
    }
    rec_free(r);
    rec_free(resp);
    return rc;
}

/* From the host that has the data, or, where that is not the job's, from our own record.
 */
static int
find_spec(const struct data_ref *ref, const struct job_record *record,
          struct job_spec *out, struct err *e)
{
    int rc = old_spec(ref->session, ref->info.job, out, e);

    return rc != 0 && e->code == ERR_NOT_FOUND && record->spec.len > 0
               ? job_record_spec(record, out, e)
               : rc;
}

/* Secrets are kept nowhere: they are asked for anew, here from the environment. */
static int
take_secrets(struct run_request *r, const struct job_spec *old, struct err *e)
{
    for (size_t i = 0; i < old->secrets.n; i++) {
        const char *name = old->secrets.v[i];
        const char *value = getenv(name);
        bool given = false;
        char *kv;

        for (size_t k = 0; k < r->spec.secrets.n; k++) {
            given = given || strcmp(r->spec.secrets.v[k], name) == 0;
        }
        if (given) {
            continue;
        }
        if (value == NULL) {
            return err_set(
                e, ERR_INVALID,
                _("the job had the secret %s, and secrets are kept nowhere: set "
                  "the variable here again"),
                name);
        }
        kv = xasprintf("%s=%s", name, value);
        strings_add(&r->spec.secrets, name);
        strings_add(&r->secrets, kv);
        explicit_bzero(kv, strlen(kv));
        free(kv);
    }
    return 0;
}

static void
take_text(char **to, const char *from)
{
    if (*to == NULL && from != NULL) {
        *to = xstrdup(from);
    }
}

/* The job's own environment first, so that what is given now counts. */
static void
take_env(struct job_spec *s, const struct job_spec *old)
{
    struct strings now = s->env;

    s->env = (struct strings){NULL, 0};
    strings_add_all(&s->env, &old->env);
    strings_add_all(&s->env, &now);
    strings_free(&now);
}

static void
take_device(struct run_request *r, const struct run_options *o,
            const struct job_spec *old)
{
    struct device_want *d = &r->want.device;

    if (o->gpu != NULL || o->cpu != NULL || o->device != NULL) {
        return;
    }
    (void)snprintf(d->device_class, sizeof d->device_class, "%s", old->device_class);
    (void)snprintf(d->type, sizeof d->type, "%s", old->device_type);
    d->count = old->count;
    free(r->spec.device_class);
    free(r->spec.device_type);
    r->spec.device_class = xstrdup(old->device_class);
    r->spec.device_type = xstrdup(old->device_type);
    r->spec.count = old->count;
}

static void
take_command(struct job_spec *s, const struct job_spec *old, const struct words *w)
{
    if (w->dashes && w->n_rest > 0) {
        s->kind = SPEC_KIND_EXEC;
        for (int i = 0; i < w->n_rest; i++) {
            strings_add(&s->args, w->rest[i]);
        }
    } else {
        s->kind = old->kind;
        strings_add_all(&s->args, &old->args);
    }
    free(s->cwd);
    s->cwd = xstrdup(old->cwd);
    if (s->python == NULL && s->conda == NULL && s->venv == NULL) {
        take_text(&s->python, old->python);
        take_text(&s->conda, old->conda);
        take_text(&s->venv, old->venv);
    }
}

/* "train-7k2m" becomes "train-" and the end of the new id. */
static void
take_name(struct job_spec *s, const struct run_options *o, const struct job_spec *old)
{
    const char *dash = strrchr(old->name, '-');
    size_t stem = dash != NULL && strlen(dash) == 5 ? (size_t)(dash - old->name)
                                                    : strlen(old->name);

    if (o->name == NULL) {
        free(s->name);
        stem = stem > JOB_NAME_MAX - 5 ? JOB_NAME_MAX - 5 : stem;
        s->name = xasprintf("%.*s-%s", (int)stem, old->name, s->job + JOB_ID_LEN - 4);
    }
}

/* What the job was allowed. A cap of 0 is no limit: the host asked for nothing. */
static void
take_limits(struct run_request *r, const struct run_options *o,
            const struct job_spec *old)
{
    if (o->max_time == NULL) {
        r->spec.max_time_s = old->max_time_s;
    }
    if (o->max_cost == NULL && old->cap_fen > 0) {
        r->max_cost_fen = old->cap_fen;
    }
    if (o->window == NULL) {
        r->spec.window_s = old->window_s;
    }
    if (o->idle == NULL) {
        r->spec.idle_s = old->idle_s;
    }
    if (o->mem == NULL) {
        r->spec.mem_bytes = old->mem_bytes;
    }
}

/* The data sets the job saw, by their names, unless others are asked for now. */
static int
take_data(struct run_request *r, const struct job_spec *old, struct err *e)
{
    bool own = r->n_data > 0;

    for (size_t i = 0; !own && i < old->data.n; i++) {
        struct spec_data d;

        if (spec_data_parse(&d, old->data.v[i], e) != 0 ||
            request_add_data(r, "", d.name, d.path, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/*
 * Another one, or the job's own. That has its key anew, of the files that it will see: a
 * layer of others must never be called by it. Of the same code and the same interpreter
 * the job may have the layer that it had, though it has changed such a file itself: the
 * host is asked for that before its files are (launch_find_setup).
 */
static int
take_setup(struct client *cl, struct run_request *r, const struct run_options *o,
           const struct job_spec *old, const struct data_ref *ref, struct err *e)
{
    const char *command = o->setup != NULL ? o->setup : old->setup;

    if (command == NULL) {
        return 0;
    }
    if (o->setup == NULL && !o->with_code && text_same(r->spec.python, old->python) &&
        text_same(r->spec.conda, old->conda) && r->spec.venv == NULL) {
        r->spec.setup = xstrdup(command);
        r->setup_had = xstrdup(old->setup_key);
        return 0;
    }
    return launch_fill_setup(cl, r, command, ref->session, e);
}

/* What is shipped: nothing, or the directory the job came from. */
static int
take_code(struct run_request *r, const struct run_options *o, const struct job_spec *old,
          const char *dir, struct err *e)
{
    r->ships = o->with_code;
    r->script.root = dir != NULL ? xstrdup(dir) : NULL;
    r->script.cwd = xstrdup(old->cwd);
    r->script.named = true; /* it was shipped before */
    return r->ships ? request_fill_with(r, o, e) : 0;
}

static int
set_up(struct client *cl, struct run_request *r, const struct run_options *o,
       const struct words *w, const struct job_spec *old, const struct data_ref *ref,
       const char *dir, struct err *e)
{
    if (o->with_code && dir == NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--with-code: the job was not shipped from here; --dir says what to "
              "ship"));
    }
    take_device(r, o, old);
    take_command(&r->spec, old, w);
    take_env(&r->spec, old);
    take_name(&r->spec, o, old);
    memcpy(r->spec.from, ref->snapshot, sizeof r->spec.from);
    r->from_host = xstrdup(session_host(ref->session)->name);
    r->from_bytes = ref->info.stored_bytes;
    take_limits(r, o, old);
    if (take_data(r, old, e) != 0 || take_code(r, o, old, dir, e) != 0) {
        return -1;
    }
    return take_secrets(r, old, e) == 0 ? take_setup(cl, r, o, old, ref, e) : -1;
}

static int
take_outs(struct run_request *r, const struct run_options *o,
          const struct job_record *record, struct err *e)
{
    if (o->out.n > 0 && r->script.root == NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--out: the job was not shipped from here; `gpurun snap get` brings "
              "its data"));
    }
    for (size_t i = 0; i < o->out.n; i++) {
        char *rel = NULL;

        if (out_normalize(r->script.root, r->script.cwd, o->out.v[i], &rel, e) != 0) {
            return -1;
        }
        strings_add(&r->outs, rel);
        free(rel);
    }
    for (size_t i = 0; o->out.n == 0 && r->script.root != NULL && i < record->outs.n;
         i++) {
        strings_add(&r->outs, record->outs.v[i]);
    }
    return 0;
}

/* The folder to ship with --with-code, and where --out paths belong. */
static int
own_dir(const struct run_options *o, const struct job_record *record, char **dir,
        struct err *e)
{
    *dir = NULL;
    if (o->dir != NULL) {
        *dir = realpath(o->dir, NULL);
        if (*dir == NULL) {
            return err_set(e, ERR_NOT_FOUND, _("no directory '%s'"), o->dir);
        }
    } else if (record->dir != NULL) {
        *dir = xstrdup(record->dir);
    }
    return 0;
}

static int
resume(struct cli *c, struct client *cl, const struct config *cfg,
       const struct run_options *o, const struct words *w, struct err *e)
{
    struct data_ref ref = {.session = NULL};
    struct job_record record;
    struct job_spec old;
    struct run_request r;
    char *dir = NULL;
    int rc = -1;

    job_record_init(&record);
    spec_init(&old);
    if (request_make(&r, c, cfg, o, NULL, e) != 0) {
        return -1;
    }
    if (find_data(c, cl, w->v[0], false, &ref, e) != 0) {
        goto out;
    }
    if (ref.info.job == NULL || !id_is(ID_JOB, ref.info.job)) {
        err_set(
            e, ERR_INVALID,
            _("snapshot %s is of no job: `gpurun run --from %s …` starts one from it"),
            ref.snapshot, ref.snapshot);
        goto out;
    }
    (void)!jobs_load(c->home, ref.info.job, &record, e);
    if (find_spec(&ref, &record, &old, e) != 0 || own_dir(o, &record, &dir, e) != 0) {
        goto out;
    }
    c->stage = STAGE_TRYING;
    if (set_up(cl, &r, o, w, &old, &ref, dir, e) == 0 &&
        take_outs(&r, o, &record, e) == 0) {
        data_ref_close(&ref);
        rc = launch(c, cl, cfg, &r, false, e);
    }

out:
    data_ref_close(&ref);
    free(dir);
    spec_free(&old);
    job_record_free(&record);
    request_free(&r);
    return rc;
}

static int
run_resume(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct config *cfg = NULL;
    int rc = -1;

    if (config_open(&cfg, c->home, e) != 0) {
        return -1;
    }
    if (context_open(&cl, c, e) == 0) {
        rc = resume(c, &cl, cfg, options, w, e);
    }
    context_close(&cl);
    config_free(cfg);
    return rc;
}

const struct command cmd_resume = {
    .name = "resume",
    .usage = N_("JOB [OPTIONS] [--with-code] [-- COMMAND [ARG...]]"),
    .help = N_("a new run from a job's last snapshot, on any host"),
    .about = N_(
        "Command, set-up, environment, device and limits are the job's own where no "
        "option says otherwise; secrets are asked for anew, from variables of the same "
        "names."),
    .options = resume_option_rows,
    .options_size = sizeof(struct run_options),
    .refused = fresh_option_rows,
    .refused_why = N_("a job that is resumed goes on from its own snapshot"),
    .grammar = GRAMMAR_COMMAND,
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_resume,
};
