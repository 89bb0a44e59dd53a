#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/ending.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"

#define NS_PER_S       ((int64_t)1000000000)
#define CLI_SIGINT_END 130

int
batch_exit_code(const struct batch *b)
{
    int first = 0;
    bool lost = false;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];

        if (j->stage != BATCH_DONE) {
            continue;
        }
        if (!j->has_state && j->code == CLI_CONTACT) {
            return CLI_CONTACT;
        }
        lost = lost || (j->has_state && j->state.phase == JOB_LOST);
        first = first != 0 ? first : j->code;
    }
    if (lost) {
        return CLI_LOST;
    }
    return first == 0 && b->n_done < b->n ? CLI_SIGINT_END : first;
}

static int64_t
total_fen(const struct batch *b)
{
    int64_t sum = 0;

    for (size_t i = 0; i < b->n; i++) {
        sum += b->jobs[i].charge_fen > 0 ? b->jobs[i].charge_fen : 0;
    }
    return sum;
}

static size_t
n_bills_missing(const struct batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];
        bool was_taken = j->has_state || j->code == CLI_CONTACT;

        n += j->host != NULL && was_taken && j->charge_fen < 0 ? 1 : 0;
    }
    return n;
}

static size_t
n_good(const struct batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        n += b->jobs[i].stage == BATCH_DONE && b->jobs[i].code == 0 ? 1 : 0;
    }
    return n;
}

static size_t
n_kept(const struct batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        n += b->jobs[i].state.snapshot[0] != '\0' ? 1 : 0;
    }
    return n;
}

static size_t
n_copied(const struct batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        n += b->jobs[i].record.mirror != NULL ? 1 : 0;
    }
    return n;
}

/* ---- words ---- */

static void
phrase_of(const struct batch_job *j, struct buf *out)
{
    char phrase[JOB_PHRASE_MAX];

    if (j->stage != BATCH_DONE) {
        buf_add_str(out, _("not started"));
    } else if (j->why.msg[0] != '\0') {
        buf_printf(out, "%s: %s",
                   j->host != NULL && j->code == CLI_CONTACT ? _("out of sight")
                                                             : _("not started"),
                   j->why.msg);
    } else {
        job_phrase(&j->state, phrase);
        buf_add_str(out, phrase);
    }
}

static const char *
took(const struct batch_job *j, char out[TEXT_DURATION_MAX])
{
    const struct job_state *st = &j->state;

    if (st->started_wall_ns <= 0 || st->ended_wall_ns < st->started_wall_ns) {
        return NULL;
    }
    text_format_duration((st->ended_wall_ns - st->started_wall_ns) / NS_PER_S, out);
    return out;
}

static const char *
host_of(const struct batch_job *j)
{
    return j->host != NULL ? place_at(j->b->place, j->host->at)->host : NULL;
}

void
batch_say_done(const struct batch_job *j)
{
    const struct batch *b = j->b;
    struct buf text = BUF_INIT;
    char money[OUT_MONEY_MAX];

    phrase_of(j, &text);
    if (j->charge_fen >= 0) {
        buf_printf(&text, _("; costs %s"), out_fen(j->charge_fen, money));
    }
    say(b->c, _("%zu of %zu: %s %s"), b->n_done, b->n, j->r.spec.name, buf_str(&text));
    buf_free(&text);
}

void
batch_progress_line(void *ctx, struct buf *out)
{
    const struct batch *b = ctx;
    char money[OUT_MONEY_MAX];

    buf_printf(out, _("%zu of %zu ended, %zu running, %s so far"), b->n_done, b->n,
               b->n_active, out_fen(total_fen(b), money));
    for (size_t i = 0; i < b->n; i++) {
        if (b->jobs[i].outs != NULL) {
            buf_printf(out, _("; bringing back what %s left"), b->jobs[i].r.spec.name);
        }
    }
    batch_mirror_line(b, out);
}

/* ---- the end ---- */

static void
end_row(struct table *t, const struct batch_job *j)
{
    char money[OUT_MONEY_MAX];
    char ran[TEXT_DURATION_MAX];
    struct buf phrase = BUF_INIT;

    phrase_of(j, &phrase);
    table_cellf(t, "%" PRId64, j->index);
    table_cell(t, j->record.id[0] != '\0' ? j->record.id : NULL);
    table_cell(t, j->r.spec.name);
    table_cell(t, host_of(j));
    table_cell(t, took(j, ran));
    table_cell(t, j->charge_fen >= 0 ? out_fen(j->charge_fen, money) : NULL);
    table_cell(t, buf_str(&phrase));
    buf_free(&phrase);
}

static void
end_text(const struct batch *b, struct buf *out)
{
    const char *headers[] = {_(">#"),   _("ID"),    _("NAME"),  _("HOST"),
                             _(">RAN"), _(">COST"), _("STATE"), NULL};
    struct table *t = table_new(headers);
    size_t missing = n_bills_missing(b);
    char money[OUT_MONEY_MAX];

    table_narrow(t, "1043", "632");
    for (size_t i = 0; i < b->n; i++) {
        end_row(t, &b->jobs[i]);
    }
    table_print(t, out);
    table_free(t);
    buf_printf(out,
               NP_("%zu job, %zu of them exited 0: %s in all",
                   "%zu jobs, %zu of them exited 0: %s in all", b->n),
               b->n, n_good(b), out_fen(total_fen(b), money));
    if (missing > 0) {
        buf_printf(out,
                   NP_(", and %zu bill is still to come (`gpurun bill`)",
                       ", and %zu bills are still to come (`gpurun bill`)", missing),
                   missing);
    }
    buf_add_str(out, "\n");
    if (n_kept(b) > 0) {
        buf_printf(out,
                   NP_("data: %zu snapshot, %zu of them with a copy elsewhere",
                       "data: %zu snapshots, %zu of them with a copy elsewhere",
                       n_kept(b)),
                   n_kept(b), n_copied(b));
        buf_add_str(out, "\n");
    }
}

static void
end_json(const struct batch *b, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_key(j, "jobs");
    json_arr(j);
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *k = &b->jobs[i];

        json_obj(j);
        json_kint(j, "index", k->index);
        json_kstr(j, "name", k->r.spec.name);
        json_kstr(j, "host", host_of(k));
        json_kint_or_nil(j, "exit", k->stage == BATCH_DONE ? k->code : -1, -1);
        json_kint_or_nil(j, "charge_fen", k->charge_fen, -1);
        json_kstr(j, "error", k->why.msg[0] != '\0' ? k->why.msg : NULL);
        json_kstr(j, "mirror", k->record.mirror);
        json_key(j, "job");
        if (k->has_state) {
            ending_json_state(j, b->c->home, &k->state, host_of(k));
        } else {
            json_nil(j);
        }
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kint(j, "charge_fen", total_fen(b));
    json_kint(j, "bills_missing", (int64_t)n_bills_missing(b));
    json_obj_end(j);
    buf_add_str(out, "\n");
}

int
batch_print_end(const struct batch *b, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (b->c->g.json) {
        end_json(b, &out);
    } else {
        end_text(b, &out);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* ---- the plan ---- */

/* The questions of all are one, about the sum (plan.h). */
static void
find_question(const struct batch *b, int64_t total, bool *asks, bool *needs_word)
{
    struct err none;

    *asks = launch_asks(b->c, b->cfg, total);
    *needs_word =
        launch_check_unasked(b->c, b->cfg, batch_is_unasked(b), total, &none) != 0;
}

void
batch_sum_text(const struct batch *b, int64_t cap_fen, struct buf *out)
{
    char money[OUT_MONEY_MAX];
    char run[TEXT_DURATION_MAX];

    text_format_duration(b->can_run_s, run);
    buf_printf(
        out,
        NP_("%zu job, at most %s in all; it stops by itself after %s at the latest",
            "%zu jobs, at most %s in all; each stops by itself after %s at the "
            "latest",
            b->n),
        b->n, out_fen(cap_fen, money), run);
}

static void
plan_text(const struct batch *b, const int64_t *caps, int64_t total, struct buf *out)
{
    const char *headers[] = {_(">#"),   _("NAME"),    _("DEVICE"),
                             _(">CAP"), _("COMMAND"), NULL};
    struct table *t = table_new(headers);
    char money[OUT_MONEY_MAX];
    const char *question;
    bool asks;
    bool needs_word;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];
        const struct job_spec *s = &j->r.spec;
        char *line = request_command_line(&s->args);
        bool any = strcmp(s->device_type, "any") == 0;
        char *device = out_devices(s->device_class,
                                   any ? s->device_class : s->device_type, s->count);

        table_cellf(t, "%" PRId64, j->index);
        table_cell(t, s->name);
        table_cell(t, device);
        table_cell(t, caps[i] > 0 ? out_fen(caps[i], money) : _("free"));
        table_cell(t, line);
        free(device);
        free(line);
    }
    table_print(t, out);
    table_free(t);
    batch_sum_text(b, total, out);
    buf_add_str(out, _("; on:"));
    for (size_t i = 0; i < b->n_hosts; i++) {
        buf_printf(out, " %s", place_at(b->place, i)->host);
    }
    buf_add_str(out, "\n");
    find_question(b, total, &asks, &needs_word);
    question = plan_question(asks, needs_word);
    if (question != NULL) {
        buf_printf(out, "%s\n", question);
    }
    batch_say_data(b, out);
}

static void
plan_json_of(const struct batch *b, const int64_t *caps, int64_t total, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;
    bool asks;
    bool needs_word;

    find_question(b, total, &asks, &needs_word);
    json_obj(j);
    json_key(j, "jobs");
    json_arr(j);
    for (size_t i = 0; i < b->n; i++) {
        const struct job_spec *s = &b->jobs[i].r.spec;

        json_obj(j);
        json_kint(j, "index", b->jobs[i].index);
        json_kstr(j, "name", s->name);
        json_kstr(j, "device_class", s->device_class);
        json_kstr(j, "device_type", s->device_type);
        json_kint(j, "count", s->count);
        json_kint(j, "cap_fen", caps[i]);
        json_key(j, "command");
        json_arr(j);
        for (size_t k = 0; k < s->args.n; k++) {
            json_str(j, s->args.v[k]);
        }
        json_arr_end(j);
        json_obj_end(j);
    }
    json_arr_end(j);
    batch_json_data(b, j);
    json_kint(j, "cap_fen", total);
    json_kbool(j, "asks", asks);
    json_kbool(j, "needs_word", needs_word);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

int
batch_print_plan(const struct batch *b, const int64_t *caps, struct err *e)
{
    struct buf out = BUF_INIT;
    int64_t total = 0;
    int rc;

    for (size_t i = 0; i < b->n; i++) {
        total += caps[i];
    }
    if (b->c->g.json) {
        plan_json_of(b, caps, total, &out);
    } else {
        plan_text(b, caps, total, &out);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}
