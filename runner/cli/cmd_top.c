#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/client/jobs.h"
#include "runner/client/place.h"
#include "runner/client/told.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/*
 * `gpurun top`: what runs now, how much of its devices it uses and what a minute of it
 * costs. A share of the CPU needs two looks; on a terminal it goes on looking.
 */
#define FIRST_NS  ((int64_t)500000000)  /* between the two looks */
#define EVERY_NS  ((int64_t)2000000000) /* and then */
#define HOME_UP   "\033[H\033[J"        /* terminal: clear, and begin at the top */
#define PER_S     1000
#define MINUTES_H 60

struct sample {
    const char *host;
    struct job_state st;
    int64_t boot_ns; /* of the host */
    int64_t burn_uyuan_per_h;
    int64_t processes, cpu_ms, rss_bytes;
    int64_t cpu_permille; /* of one core since the look before; -1: not known yet */
    struct device_list devices;
};

struct samples {
    struct sample *v;
    size_t n;
};

struct top {
    struct cli *c;
    struct client cl;
    struct place *place;
    const char *job; /* its id, or the word as typed; NULL: all */
    struct samples now, before;
    bool over; /* ^C */
};

static void
samples_free(struct samples *l)
{
    for (size_t i = 0; i < l->n; i++) {
        state_free(&l->v[i].st);
        device_list_free(&l->v[i].devices);
    }
    free(l->v);
    *l = (struct samples){NULL, 0};
}

/* ---- asking ---- */

static int
parse_devices(struct sample *s, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < rec_count(r, "device"); i++) {
        struct rec *one = NULL;
        struct device d;
        size_t len;
        const char *bytes = rec_get_nth(r, "device", i, &len);

        if (rec_parse(&one, bytes, len, DEVICE_TYPE_TAG, e) != 0 ||
            device_parse(&d, one, e) != 0) {
            rec_free(one);
            return -1;
        }
        rec_free(one);
        device_list_add(&s->devices, &d);
    }
    return 0;
}

static int
parse_sample(struct sample *s, const void *data, size_t data_len, struct err *e)
{
    struct rec *r = NULL;
    int rc = -1;

    if (rec_parse(&r, data, data_len, SAMPLE_TYPE, e) != 0) {
        return -1;
    }
    if (state_get(r, 0, &s->st, e) == 0 &&
        rec_need_int(r, "burn_uyuan_per_h", 0, INT64_MAX, &s->burn_uyuan_per_h, e) == 0 &&
        rec_need_int(r, "processes", 0, INT64_MAX, &s->processes, e) == 0 &&
        rec_need_int(r, "cpu_ms", 0, INT64_MAX, &s->cpu_ms, e) == 0 &&
        rec_need_int(r, "rss_bytes", 0, INT64_MAX, &s->rss_bytes, e) == 0) {
        rc = parse_devices(s, r, e);
    }
    rec_free(r);
    return rc;
}

static bool
is_meant(const struct top *t, const struct job_state *st)
{
    return t->job == NULL || strcmp(st->name, t->job) == 0 ||
           strncmp(st->job, t->job, strlen(t->job)) == 0;
}

static int
ask_host(struct top *t, struct session *s, struct err *e)
{
    struct rec *req = msg_request_new(VERB_HOST_TOP);
    struct rec *resp = NULL;
    int64_t boot_ns = 0;
    int rc = session_call(s, req, CONTEXT_ANSWER_NS, &resp, e);

    rc = rc == 0 ? rec_need_int(resp, "boot_ns", 0, INT64_MAX, &boot_ns, e) : rc;
    for (size_t i = 0; rc == 0 && i < rec_count(resp, "sample"); i++) {
        struct sample one = {
            .host = session_host(s)->name, .boot_ns = boot_ns, .cpu_permille = -1};
        size_t len;
        const char *bytes = rec_get_nth(resp, "sample", i, &len);
        struct samples *l = &t->now;

        state_init(&one.st);
        rc = parse_sample(&one, bytes, len, e);
        if (rc != 0 || !is_meant(t, &one.st) || told_foreign(t->c->home, s, one.st.job)) {
            state_free(&one.st);
            device_list_free(&one.devices);
            continue;
        }
        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = one;
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

static void
tell_share(struct sample *s, const struct samples *before)
{
    for (size_t i = 0; i < before->n; i++) {
        const struct sample *b = &before->v[i];
        int64_t ms = (s->boot_ns - b->boot_ns) / 1000000;

        /* Fewer than before: a process has ended and took its time along. */
        if (strcmp(b->st.job, s->st.job) == 0 && ms > 0 && s->cpu_ms >= b->cpu_ms) {
            s->cpu_permille = (s->cpu_ms - b->cpu_ms) * PER_S / ms;
        }
    }
}

static int
newest_first(const void *a, const void *b)
{
    int64_t x = ((const struct sample *)a)->st.made_wall_ns;
    int64_t y = ((const struct sample *)b)->st.made_wall_ns;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* One look at every host that answers. */
static int
look(struct top *t, struct err *e)
{
    size_t n_failed = 0;

    samples_free(&t->before);
    t->before = t->now;
    t->now = (struct samples){NULL, 0};
    for (size_t i = 0; i < place_n(t->place); i++) {
        struct session *s = place_at(t->place, i)->session;

        if (session_state(s) != SESSION_UP || ask_host(t, s, e) != 0) {
            const struct failure *why = session_why(s);

            if (t->over) {
                return 0; /* ^C */
            }
            n_failed++;
            say(t->c, "%s",
                session_state(s) == SESSION_UP || why == NULL ? e->msg : why->err.msg);
        }
    }
    for (size_t i = 0; i < t->now.n; i++) {
        tell_share(&t->now.v[i], &t->before);
    }
    if (t->now.n > 0) {
        qsort(t->now.v, t->now.n, sizeof *t->now.v, newest_first);
    }
    return n_failed > 0 && n_failed == place_n(t->place)
               ? err_set(e, ERR_LINK, "%s", _("no host answers"))
               : 0;
}

/* ---- showing ---- */

static void
cell_size(struct table *t, int64_t bytes)
{
    char text[TEXT_SIZE_MAX];

    if (bytes < 0) {
        table_cell(t, NULL);
        return;
    }
    text_format_size((uint64_t)bytes, text);
    table_cell(t, text);
}

/* "87 %" of a device, "87, 12 %" of two; and how much of their memory. */
static void
cells_devices(struct table *t, const struct sample *s)
{
    struct buf busy = BUF_INIT;
    int64_t used = -1;
    int64_t all = 0;
    char a[TEXT_SIZE_MAX];
    char b[TEXT_SIZE_MAX];

    for (size_t i = 0; i < s->devices.n; i++) {
        const struct device *d = &s->devices.v[i];

        buf_add_str(&busy, i > 0 ? ", " : "");
        if (d->busy_percent >= 0) {
            buf_printf(&busy, "%" PRId64, d->busy_percent);
        } else {
            buf_add_str(&busy, "?");
        }
        if (d->memory_used_bytes >= 0) {
            used = (used < 0 ? 0 : used) + d->memory_used_bytes;
        }
        all += d->memory_bytes;
    }
    if (busy.len > 0) {
        table_cellf(t, "%s %%", buf_str(&busy));
    } else {
        table_cell(t, NULL);
    }
    if (used >= 0) {
        text_format_size((uint64_t)used, a);
        text_format_size((uint64_t)all, b);
        table_cellf(t, _("%s of %s"), a, b);
    } else {
        table_cell(t, NULL);
    }
    buf_free(&busy);
}

static void
text_row(struct table *t, const struct sample *s, int64_t now)
{
    const struct job_state *st = &s->st;
    char text[TEXT_DURATION_MAX];
    char money[OUT_MONEY_MAX];
    int64_t ran = st->started_wall_ns > 0 ? (now - st->started_wall_ns) / 1000000000 : 0;

    table_cell(t, st->name);
    table_cell(t, s->host);
    table_cell(t, err_words(job_phase_name(st->phase)));
    text_format_duration(ran > 0 ? ran : 0, text);
    table_cell(t, text);
    if (s->cpu_permille >= 0) {
        table_cellf(t, "%" PRId64 ".%" PRId64 " %%", s->cpu_permille / 10,
                    s->cpu_permille % 10);
    } else {
        table_cell(t, NULL);
    }
    cell_size(t, s->rss_bytes);
    cells_devices(t, s);
    table_cell(t, s->burn_uyuan_per_h > 0
                      ? out_price(s->burn_uyuan_per_h / MINUTES_H, _("min"), money)
                      : NULL);
    table_cell(t, out_fen(st->cost_fen, money));
    if (st->can_run_s != JOB_NOT_SET) {
        text_format_duration(st->can_run_s, text);
        table_cell(t, text);
    } else {
        table_cell(t, NULL);
    }
}

static void
print_text(const struct top *t, struct buf *out)
{
    const char *headers[] = {_("NAME"),  _("HOST"),    _("STATE"),    _(">RAN"),
                             _(">CPU"),  _(">MEM"),    _(">DEVICE"),  _(">DEVICE MEM"),
                             _(">RATE"), _(">SO FAR"), _(">CAN RUN"), NULL};
    struct table *table = table_new(headers);
    int64_t now = clock_wall_ns();

    table_narrow(table, "13728a5", "120");
    for (size_t i = 0; i < t->now.n; i++) {
        text_row(table, &t->now.v[i], now);
    }
    table_print(table, out);
    table_free(table);
}

static void
print_json(const struct top *t, struct buf *out)
{
    struct json_writer j = json_to(out);

    json_obj(&j);
    json_key(&j, "jobs");
    json_arr(&j);
    for (size_t i = 0; i < t->now.n; i++) {
        const struct sample *s = &t->now.v[i];

        json_obj(&j);
        json_kstr(&j, "id", s->st.job);
        json_kstr(&j, "name", s->st.name);
        json_kstr(&j, "host", s->host);
        json_kstr(&j, "state", job_phase_name(s->st.phase));
        json_kint_or_nil(&j, "cpu_permille", s->cpu_permille, -1);
        json_kint(&j, "processes", s->processes);
        json_kint(&j, "rss_bytes", s->rss_bytes);
        json_kint(&j, "burn_uyuan_per_h", s->burn_uyuan_per_h);
        json_kint(&j, "cost_fen", s->st.cost_fen);
        json_kint_or_nil(&j, "can_run_s", s->st.can_run_s, JOB_NOT_SET);
        json_key(&j, "devices");
        json_arr(&j);
        for (size_t k = 0; k < s->devices.n; k++) {
            const struct device *d = &s->devices.v[k];

            json_obj(&j);
            json_kstr(&j, "type", d->type);
            json_kstr(&j, "uuid", d->uuid);
            json_kint_or_nil(&j, "busy_percent", d->busy_percent, -1);
            json_kint_or_nil(&j, "memory_used_bytes", d->memory_used_bytes, -1);
            json_kint(&j, "memory_bytes", d->memory_bytes);
            json_obj_end(&j);
        }
        json_arr_end(&j);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    buf_add_str(out, "\n");
}

static int
show(const struct top *t, bool again, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (t->c->g.json) {
        print_json(t, &out);
    } else {
        buf_add_str(&out, again ? HOME_UP : "");
        if (t->now.n > 0) {
            print_text(t, &out);
        } else if (again) {
            buf_printf(&out, "%s\n", _("nothing runs"));
        } else {
            say(t->c, "%s", _("nothing runs"));
        }
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* ---- the command ---- */

static void
on_signal(void *ctx, int signo)
{
    struct top *t = ctx;

    (void)signo;
    t->over = true;
    loop_stop(t->cl.loop);
}

/* Until ^C: each look where the last one stood. */
static int
go_on(struct top *t, struct err *e)
{
    struct signal_watch *watch = NULL;
    int rc = signal_watch_new(&watch, t->cl.loop, SIGINT, on_signal, t, e);

    while (rc == 0 && !t->over) {
        struct err none;

        rc = show(t, true, e);
        if (rc == 0) {
            (void)!place_nap(t->place, EVERY_NS, &none); /* ^C ends it early */
        }
        if (rc == 0 && !t->over) {
            rc = look(t, e);
        }
    }
    signal_watch_free(watch);
    return rc;
}

/* A job known here by whatever it is called, else the word itself: a host may know it. */
static int
find_job(struct top *t, const struct words *w, struct job_record *known, struct err *e)
{
    if (w->n == 0) {
        return 0;
    }
    t->job = w->v[0];
    if (jobs_find(t->c->home, w->v[0], known, e) == 0) {
        t->job = known->id;
        return 0;
    }
    return e->code == ERR_NOT_FOUND ? 0 : -1;
}

static int
run_top(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct top t = {.c = c};
    struct job_record known;
    struct host_list hosts = {NULL, 0};
    int rc = -1;

    (void)options;
    job_record_init(&known);
    if (find_job(&t, w, &known, e) != 0 || hosts_list_used(c->home, &hosts, e) != 0) {
        job_record_free(&known);
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&t.cl, c, e) != 0 || place_open(&t.place, &t.cl, &hosts, e) != 0 ||
        place_ask_all(t.place, e) != 0 || look(&t, e) != 0) {
        goto out;
    }
    if (t.job != NULL && t.now.n == 0) {
        c->stage = STAGE_INPUT;
        err_set(e, ERR_NOT_FOUND,
                _("no job '%s' is running (`gpurun ps` lists those that are)"), w->v[0]);
        goto out;
    }
    if (t.now.n > 0 && (place_nap(t.place, FIRST_NS, e) != 0 || look(&t, e) != 0)) {
        goto out;
    }
    rc = !c->g.json && out_is_terminal(STDOUT_FILENO) ? go_on(&t, e) : show(&t, false, e);

out:
    job_record_free(&known);
    samples_free(&t.now);
    samples_free(&t.before);
    place_free(t.place);
    context_close(&t.cl);
    host_list_free(&hosts);
    return rc;
}

const struct command cmd_top = {
    .name = "top",
    .usage = N_("[JOB]"),
    .help = N_("what runs now: share of cores, devices and memory, and cost per minute"),
    .about =
        /* xgettext:no-c-format */
    N_("On a terminal it goes on until ^C; else it looks once. CPU is of one core: "
       "200 % are two cores."),
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_top,
};
