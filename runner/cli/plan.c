#include "runner/cli/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/tariff.h"
#include "runner/cli/out.h"
#include "runner/cli/parkview.h"
#include "runner/client/mirror.h"

#define LABEL_COLUMNS 10
#define NS_PER_S      1000000000LL

/* ---- phrases ---- */

static bool
is_cpu(const struct plan *p)
{
    return strcmp(p->request->spec.device_class, "cpu") == 0;
}

char *
plan_device(const struct plan *p)
{
    const struct job_spec *s = &p->request->spec;
    char type[64];
    char name[128];
    char *devices = out_devices(
        s->device_class, text_escape_to(type, sizeof type, p->chosen->type), s->count);
    char *all;

    if (is_cpu(p)) {
        return devices;
    }
    all = xasprintf("%s (%s)", devices,
                    text_escape_to(name, sizeof name, p->chosen->device_name));
    free(devices);
    return all;
}

static const char *
price_text(const struct plan *p, char out[2 * OUT_MONEY_MAX])
{
    char money[OUT_MONEY_MAX];
    const char *per =
        p->request->spec.count > 1 ? (is_cpu(p) ? _("h per core") : _("h each")) : _("h");

    if (p->chosen->own_estimate) {
        (void)snprintf(out, 2 * OUT_MONEY_MAX,
                       _("%s (own estimate; the host bills nothing)"),
                       out_price(p->chosen->estimate_uyuan, per, money));
    } else if (p->chosen->reservation[0] != '\0') {
        (void)snprintf(out, 2 * OUT_MONEY_MAX, _("%s (reserved: %s)"),
                       out_price(0, per, money), p->chosen->reservation);
    } else if (p->chosen->uyuan_per_h == 0) {
        (void)snprintf(out, 2 * OUT_MONEY_MAX, "%s", _("free"));
    } else {
        (void)snprintf(out, 2 * OUT_MONEY_MAX, "%s",
                       out_price(p->chosen->uyuan_per_h, per, money));
    }
    if (p->offer->level[0] != '\0' && p->chosen->uyuan_per_h > 0) {
        size_t n = strlen(out);

        (void)snprintf(out + n, 2 * OUT_MONEY_MAX - n, _(" (%.20s: %" PRId64 ".%02d %%)"),
                       p->offer->level, p->offer->level_bps / 100,
                       (int)(p->offer->level_bps % 100));
    }
    return out;
}

static void
cap_text(const struct plan *p, struct buf *out)
{
    char money[OUT_MONEY_MAX];
    char run[TEXT_DURATION_MAX];

    text_format_duration(p->can_run_s, run);
    if (p->grant->cap_fen > 0) {
        buf_printf(out, _("at most %s; stops by itself after %s"),
                   out_fen(p->grant->cap_fen, money), run);
    } else {
        buf_printf(out, _("stops by itself after %s"), run);
    }
}

static uint64_t
n_skipped(const struct plan *p)
{
    uint64_t n = 0;

    for (int i = IGNORE_NOT + 1; i < IGNORE_WHY_COUNT; i++) {
        n += p->ship->skipped.n[i];
    }
    return n;
}

static void
sends_text(const struct plan *p, struct buf *out)
{
    char size[TEXT_SIZE_MAX];
    const struct tree_totals *t = &p->ship->totals;
    uint64_t skipped = n_skipped(p);

    text_format_size(t->bytes, size);
    buf_printf(out,
               NP_("%" PRIu64 " file, %s, of ", "%" PRIu64 " files, %s, of ", t->n_files),
               t->n_files, size);
    text_escape(out, p->request->script.root, strlen(p->request->script.root));
    if (skipped > 0) {
        buf_printf(out,
                   NP_(" (%" PRIu64 " entry left out)", " (%" PRIu64 " entries left out)",
                       skipped),
                   skipped);
    }
}

/* Where a second copy goes; what a job leaves is not known yet, so: if it is small. */
static void
mirror_text(const struct plan *p, struct buf *out)
{
    const char *to = mirror_target(p->host, 0, p->request->outs.n > 0);

    if (p->host->local) {
        return;
    }
    if (to == NULL) {
        buf_printf(out, _(", only on %s"), p->host->name);
    } else if (p->host->mirror != NULL) {
        buf_printf(out, _(", and a copy on %s"),
                   strcmp(to, HOST_LOCAL) == 0 ? _("laptop") : to);
    } else {
        buf_printf(out,
                   p->request->outs.n > 0
                       ? _(", and a copy on the laptop")
                       : _(", and a copy on the laptop if it is below 100 MB, else "
                           "only on %s"),
                   p->host->name);
    }
}

static void
keeping_text(const struct plan *p, struct buf *out)
{
    char until[OUT_TIME_MAX];
    char money[OUT_MONEY_MAX];

    /* Known before the end: not before the longest it may run. */
    (void)out_time(
        clock_wall_ns() + (p->can_run_s + p->grant->keep_days * 86400) * NS_PER_S, until);
    buf_printf(out,
               _("a snapshot on %s for %" PRId64 " days from the end (until %s at the "
                 "latest)"),
               p->host->name, p->grant->keep_days, until);
    mirror_text(p, out);
    if (p->grant->keep_uyuan_per_gb_day > 0) {
        buf_printf(out, ", %s",
                   out_price(p->grant->keep_uyuan_per_gb_day, _("GB and day"), money));
    }
}

/* ---- the page ---- */

static void
row(struct buf *out, const char *label, const char *text)
{
    out_page_row_raw(out, LABEL_COLUMNS, label, text);
}

static void
row_steal(struct buf *out, const char *label, struct buf *text)
{
    row(out, label, buf_str(text));
    buf_free(text);
}

static void
page_host(const struct plan *p, struct buf *out)
{
    struct buf b = BUF_INIT;
    char *where = host_where(p->host);

    buf_printf(&b, "%s (", p->host->name);
    text_escape(&b, where, strlen(where));
    buf_printf(&b, _("); protection from the job: %s"),
               err_words(host_protection_name(p->info->protection)));
    if (p->info->protection_why != NULL) {
        const char *why = err_words(p->info->protection_why);

        buf_add_str(&b, ", ");
        text_escape(&b, why, strlen(why));
    }
    row_steal(out, _("host"), &b);
    free(where);
}

static void
page_others(const struct plan *p, struct buf *out)
{
    for (size_t i = 0; i < place_n(p->place); i++) {
        const struct candidate *c = place_at(p->place, i);
        struct buf b = BUF_INIT;
        char money[OUT_MONEY_MAX];

        if (c == p->chosen) {
            continue;
        }
        if (c->fit == PLACE_FITS) {
            buf_printf(&b, _("%s (would do, too: %s)"), c->host,
                       c->uyuan_per_h > 0 ? out_price(c->uyuan_per_h, _("h"), money)
                                          : _("free"));
        } else {
            buf_printf(&b, "%s: ", c->host);
            text_escape(&b, c->why, strlen(c->why));
        }
        row_steal(out,
                  i == 0 || (i == 1 && place_at(p->place, 0) == p->chosen)
                      ? _("not taken")
                      : "",
                  &b);
    }
}

/* What of it is worth a line: secrets, and the largest. */
static void
page_left_out(const struct scan_skipped *sk, struct buf *out)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < sk->n_secrets; i++) {
        text_escape(&b, sk->secrets[i], strlen(sk->secrets[i]));
        buf_add_str(&b, _(" (looks secret; --with ships it)"));
        row_steal(out, "", &b);
    }
    if (sk->n[IGNORE_SECRET] > sk->n_secrets) {
        buf_printf(&b, _("and %" PRIu64 " more that look secret"),
                   sk->n[IGNORE_SECRET] - (uint64_t)sk->n_secrets);
        row_steal(out, "", &b);
    }
    for (size_t i = 0; i < sk->n_top && i < 5; i++) {
        char size[TEXT_SIZE_MAX];

        if (sk->top[i].why == IGNORE_SECRET) {
            continue; /* named above */
        }
        text_format_size(sk->top[i].bytes, size);
        buf_printf(&b, "%s ", size);
        text_escape(&b, sk->top[i].path, strlen(sk->top[i].path));
        buf_printf(&b, " (%s)", ignore_why_name(sk->top[i].why));
        row_steal(out, "", &b);
    }
}

static void
page_ship(const struct plan *p, struct buf *out)
{
    const struct scan_skipped *sk = &p->ship->skipped;
    struct buf b = BUF_INIT;

    sends_text(p, &b);
    row_steal(out, _("sends"), &b);
    for (size_t i = 0; i < p->ship->n_largest && i < 5; i++) {
        char size[TEXT_SIZE_MAX];

        text_format_size(p->ship->largest[i].bytes, size);
        buf_printf(&b, "%s ", size);
        text_escape(&b, p->ship->largest[i].path, strlen(p->ship->largest[i].path));
        row_steal(out, i == 0 ? _("largest") : "", &b);
    }
    for (int w = IGNORE_NOT + 1; w < IGNORE_WHY_COUNT; w++) {
        char size[TEXT_SIZE_MAX];

        if (sk->n[w] > 0) {
            text_format_size(sk->bytes[w], size);
            buf_printf(&b, "%s%s: %" PRIu64 " (%s)", b.len > 0 ? ", " : "",
                       ignore_why_name((enum ignore_why)w), sk->n[w], size);
        }
    }
    if (b.len > 0) {
        row_steal(out, _("left out"), &b);
    }
    page_left_out(sk, out);
}

static void
page_run(const struct plan *p, struct buf *out)
{
    const struct job_spec *s = &p->request->spec;
    struct buf b = BUF_INIT;
    char *line = request_command_line(&s->args);

    if (s->kind == SPEC_KIND_PYTHON) {
        buf_add_str(&b, s->python != NULL ? s->python : "python3");
        buf_add_str(&b, " ");
    } else if (s->kind == SPEC_KIND_SH) {
        buf_add_str(&b, "bash ");
    }
    text_escape(&b, line, strlen(line));
    row_steal(out, _("runs"), &b);
    buf_add_str(&b, s->cwd[0] != '\0' ? "" : ".");
    text_escape(&b, s->cwd, strlen(s->cwd));
    row_steal(out, _("in"), &b);
    if (s->from[0] != '\0') {
        row(out, _("from"), s->from);
    }
    if (p->request->project != NULL) {
        text_escape(&b, p->request->project, strlen(p->request->project));
        row_steal(out, _("project"), &b);
    }
    free(line);
}

/* What lies there already, and what would have to be sent first. */
static void
data_set_text(const struct plan *p, const struct data_want *d, struct buf *out)
{
    char size[TEXT_SIZE_MAX];

    text_format_size((uint64_t)d->bytes, size);
    buf_printf(out, _("%s at "), d->name);
    text_escape(out, d->path, strlen(d->path));
    buf_printf(out,
               NP_(": %" PRId64 " file, %s, ", ": %" PRId64 " files, %s, ", d->n_files),
               d->n_files, size);
    if (d->from == NULL) {
        buf_printf(out, _("on %s already"), p->host->name);
    } else {
        text_format_size((uint64_t)d->stored_bytes, size);
        buf_printf(out, _("%s would go from %s to %s first"), size, d->from,
                   p->host->name);
    }
}

/* Once more, or not at all. */
static void
setup_text(const struct plan *p, struct buf *out)
{
    const char *command = p->request->spec.setup;
    char money[OUT_MONEY_MAX];

    if (p->request->setup_found != NULL) {
        char *found = p->request->setup_found;

        buf_add_str(out, _("auto, by "));
        text_escape(out, found, strlen(found));
        buf_add_str(out, ": ");
    }
    text_escape(out, command, strlen(command));
    if (p->setup_ready) {
        buf_printf(out, _(" (done on %s already, its result is used)"), p->host->name);
    } else if (p->grant->nocard_uyuan_per_h > 0) {
        buf_printf(out, _(" (runs once first, without a device, at %s)"),
                   out_price(p->grant->nocard_uyuan_per_h, _("h"), money));
    } else {
        buf_add_str(out, _(" (runs once first, without a device, free)"));
    }
}

static void
page_data(const struct plan *p, struct buf *out)
{
    struct buf all = BUF_INIT;
    char size[TEXT_SIZE_MAX];
    uint64_t bytes = 0;

    for (size_t i = 0; i < p->request->n_data; i++) {
        struct buf b = BUF_INIT;

        data_set_text(p, &p->request->data[i], &b);
        row_steal(out, i == 0 ? _("data sets") : "", &b);
        bytes += (uint64_t)p->request->data[i].bytes;
    }
    if (bytes > 0) {
        text_format_size(bytes, size);
        buf_printf(
            &all, _("kept packed there; their files, for jobs, take %s of its disk more"),
            size);
        row_steal(out, "", &all);
    }
}

static void
page_park(const struct plan *p, struct buf *out)
{
    char *text = parkview_after(&p->info->park);
    struct buf b = BUF_INIT;

    if (text != NULL) {
        text_escape(&b, text, strlen(text));
        row_steal(out, _("parking"), &b);
    }
    free(text);
}

/* "": they are free of others, or it is the cpu. */
static void
shared_text(const struct plan *p, struct buf *out)
{
    int64_t n = p->chosen->n_shared;

    if (n > 0) {
        buf_printf(out,
                   NP_("%" PRId64 " of them is in use by processes that no job of "
                       "gpurun started: expect less memory and speed, or wait",
                       "%" PRId64 " of them are in use by processes that no job of "
                       "gpurun started: expect less memory and speed, or wait",
                       n),
                   n);
    }
}

const char *
plan_question(bool asks, bool needs_word)
{
    if (needs_word) {
        return _("the project file chose it, above ask-above: a run asks first; off a "
                 "terminal it wants --max-cost or -y");
    }
    return asks ? _("that is above ask-above: on a terminal a run asks first, unless -y "
                    "is given")
                : NULL;
}

void
plan_page(const struct plan *p, struct buf *out)
{
    const char *question;
    char price[2 * OUT_MONEY_MAX];
    char *device = plan_device(p);
    struct buf b = BUF_INIT;

    page_host(p, out);
    row(out, _("device"), device);
    shared_text(p, &b);
    if (b.len > 0) {
        row_steal(out, "", &b);
    }
    row(out, _("price"), price_text(p, price));
    cap_text(p, &b);
    row_steal(out, _("cap"), &b);
    question = plan_question(p->asks, p->needs_word);
    if (question != NULL) {
        row(out, "", question);
    }
    page_run(p, out);
    if (p->ship != NULL) {
        page_ship(p, out);
    }
    if (p->request->spec.setup != NULL) {
        setup_text(p, &b);
        row_steal(out, _("set-up"), &b);
    }
    page_data(p, out);
    keeping_text(p, &b);
    row_steal(out, _("data"), &b);
    page_park(p, out);
    page_others(p, out);
    free(device);
}

void
plan_remarks(const struct cli *c, const struct plan *p)
{
    char price[2 * OUT_MONEY_MAX];
    char *device = plan_device(p);
    struct buf b = BUF_INIT;

    cap_text(p, &b);
    say(c, _("%s: %s, %s; %s"), p->host->name, device, price_text(p, price), buf_str(&b));
    buf_reset(&b);
    shared_text(p, &b);
    if (b.len > 0) {
        say(c, "%s", buf_str(&b));
        buf_reset(&b);
    }
    if (p->ship != NULL) {
        sends_text(p, &b);
        say(c, _("sends %s"), buf_str(&b));
        buf_reset(&b);
    }
    if (p->request->spec.setup != NULL) {
        setup_text(p, &b);
        say(c, _("set-up: %s"), buf_str(&b));
        buf_reset(&b);
    }
    for (size_t i = 0; i < p->request->n_data; i++) {
        data_set_text(p, &p->request->data[i], &b);
        say(c, _("data set %s"), buf_str(&b));
        buf_reset(&b);
    }
    if (!p->request->for_data) {
        keeping_text(p, &b);
        say(c, _("data: %s"), buf_str(&b));
    }
    buf_free(&b);
    free(device);
}

/* ---- JSON ---- */

static void
json_ship(const struct plan *p, struct json_writer *j)
{
    const struct scan_skipped *sk = &p->ship->skipped;

    json_key(j, "ship");
    json_obj(j);
    json_kname(j, "root", p->request->script.root, strlen(p->request->script.root));
    json_kint(j, "files", (int64_t)p->ship->totals.n_files);
    json_kint(j, "bytes", (int64_t)p->ship->totals.bytes);
    json_key(j, "largest");
    json_arr(j);
    for (size_t i = 0; i < p->ship->n_largest; i++) {
        json_obj(j);
        json_kname(j, "name", p->ship->largest[i].path, strlen(p->ship->largest[i].path));
        json_kint(j, "bytes", (int64_t)p->ship->largest[i].bytes);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_key(j, "skipped");
    json_obj(j);
    for (int w = IGNORE_NOT + 1; w < IGNORE_WHY_COUNT; w++) {
        json_key(j, ignore_why_name((enum ignore_why)w));
        json_obj(j);
        json_kint(j, "entries", (int64_t)sk->n[w]);
        json_kint(j, "bytes", (int64_t)sk->bytes[w]);
        json_obj_end(j);
    }
    json_obj_end(j);
    json_key(j, "skipped_secrets");
    json_arr(j);
    for (size_t i = 0; i < sk->n_secrets; i++) {
        json_obj(j);
        json_kname(j, "name", sk->secrets[i], strlen(sk->secrets[i]));
        json_obj_end(j);
    }
    json_arr_end(j);
    json_obj_end(j);
}

static void
json_data(const struct plan *p, struct json_writer *j)
{
    json_key(j, "data");
    json_arr(j);
    for (size_t i = 0; i < p->request->n_data; i++) {
        const struct data_want *d = &p->request->data[i];

        json_obj(j);
        json_kstr(j, "name", d->name);
        json_kname(j, "path", d->path, strlen(d->path));
        json_kstr(j, "id", d->id);
        json_kstr(j, "tree", d->tree);
        json_kint(j, "files", d->n_files);
        json_kint(j, "bytes", d->bytes);
        json_kint(j, "travel_bytes", d->from != NULL ? d->stored_bytes : 0);
        json_kstr(j, "travels_from", d->from);
        json_obj_end(j);
    }
    json_arr_end(j);
}

static const char *
fit_name(enum place_fit f)
{
    static const char *const names[] = {"silent", "fits", "busy", "unfit", "unreached"};

    return names[f];
}

static void
json_hosts(const struct plan *p, struct json_writer *j)
{
    json_key(j, "hosts");
    json_arr(j);
    for (size_t i = 0; i < place_n(p->place); i++) {
        const struct candidate *c = place_at(p->place, i);

        json_obj(j);
        json_kstr(j, "host", c->host);
        json_kstr(j, "fit", fit_name(c->fit));
        json_kint(j, "price_uyuan_per_h", c->uyuan_per_h);
        json_kstr(j, "why", c->why);
        json_obj_end(j);
    }
    json_arr_end(j);
}

void
plan_json(const struct plan *p, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;
    const struct job_spec *s = &p->request->spec;

    json_obj(j);
    json_kstr(j, "host", p->host->name);
    json_kstr(j, "device_class", s->device_class);
    json_kstr(j, "device_type", is_cpu(p) ? "" : p->chosen->type);
    json_kstr(j, "device_name", p->chosen->device_name);
    json_kint(j, "count", s->count);
    json_kint(j, "n_shared", p->chosen->n_shared);
    json_kint(j, "price_uyuan_per_h", p->chosen->uyuan_per_h);
    json_kstr(j, "reservation",
              p->chosen->reservation[0] != '\0' ? p->chosen->reservation : NULL);
    json_kstr(j, "level", p->offer->level[0] != '\0' ? p->offer->level : NULL);
    json_kint(j, "level_bps", p->offer->level[0] != '\0' ? p->offer->level_bps : 10000);
    json_kbool(j, "own_estimate", p->chosen->own_estimate);
    json_kint(j, "estimate_uyuan_per_h",
              p->chosen->own_estimate ? p->chosen->estimate_uyuan : 0);
    json_kint(j, "cap_fen", p->grant->cap_fen);
    json_kint(j, "max_time_s", p->grant->max_s);
    json_kint(j, "can_run_s", p->can_run_s);
    json_kint(j, "window_s", p->grant->window_s);
    json_kint(j, "keep_days", p->grant->keep_days);
    json_kint(j, "keep_uyuan_per_gb_day", p->grant->keep_uyuan_per_gb_day);
    json_kstr(j, "protection", host_protection_name(p->info->protection));
    park_json(j, &p->info->park);
    json_key(j, "command");
    json_arr(j);
    for (size_t i = 0; i < s->args.n; i++) {
        json_str(j, s->args.v[i]);
    }
    json_arr_end(j);
    json_kstr(j, "kind",
              s->kind == SPEC_KIND_PYTHON ? "python"
              : s->kind == SPEC_KIND_SH   ? "sh"
                                          : "exec");
    json_kname(j, "cwd", s->cwd, strlen(s->cwd));
    json_kstr(j, "project", p->request->project);
    json_kbool(j, "asks", p->asks);
    json_kbool(j, "needs_word", p->needs_word);
    if (p->ship != NULL) {
        json_ship(p, j);
    }
    json_data(p, j);
    json_kstr(j, "setup", s->setup);
    json_kstr(j, "setup_found", p->request->setup_found);
    json_kstr(j, "setup_key", s->setup_key);
    json_kbool(j, "setup_ready", p->setup_ready);
    json_hosts(p, j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}
