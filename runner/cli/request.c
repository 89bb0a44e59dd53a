#include "runner/cli/request.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/cli/outs.h"
#include "runner/client/hosts.h"
#include "runner/client/terminal.h"
#include "runner/job/notify.h"

#define ENV_FILE_MAX     ((size_t)4 << 20)
#define NS_PER_S         ((int64_t)1000000000)
#define STEM_RANDOM      4
#define SNAP_EVERY_MIN_S 1
#define UTF8_BOM         "\xef\xbb\xbf"

#define ROW(name, short_name, kind, field, value, help)                                  \
    {                                                                                    \
        name, short_name, kind, offsetof(struct run_options, field), value, help         \
    }

/* clang-format off */
#define RUN_ROWS_WHERE                                                                   \
    ROW("gpu", 0, OPT_STR, gpu, "TYPE[:N]",                                              \
        N_("a GPU of that type, or N: 4090, a100-80g, h100:2, any")),                    \
    ROW("cpu", 0, OPT_STR, cpu, "N",                                                     \
        N_("no GPU but N cores (the default: 1)")),                                      \
    ROW("device", 0, OPT_STR, device, "CLASS:TYPE[:N]",                                  \
        N_("any kind of device: gpu, npu, cpu, asic, ...")),                             \
    ROW("arch", 0, OPT_STR, arch, "ARCH", N_("only hosts of that architecture")),        \
    ROW("host", 0, OPT_STR, host, "NAME",                                                \
        N_("this host; without it the cheapest free one that fits")),                    \
    ROW("python", 0, OPT_STR, python, "P", N_("run .py scripts with this interpreter of "\
        "the host")),                                                                    \
    ROW("conda", 0, OPT_STR, conda, "ENV", N_("run in this conda environment of the host")),\
    ROW("venv", 0, OPT_STR, venv, "DIR", N_("run in this virtual environment of the host")),\
    ROW("setup", 0, OPT_STR, setup, "CMD|auto",                                          \
        N_("run CMD once for all jobs with the same files, without a device"))

/* A job that is resumed starts from its own. */
#define RUN_ROWS_FRESH                                                                   \
    ROW("from", 0, OPT_STR, from, "SNAPSHOT",                                            \
        N_("start from that snapshot's data, what is shipped over it"))

#define RUN_ROWS_HOW                                                                     \
    ROW("data", 0, OPT_LIST, data, "NAME[:PATH]",                                        \
        N_("show a data set read-only at PATH (default: NAME; repeatable)")),            \
    ROW("dir", 0, OPT_STR, dir, "DIR",                                                   \
        N_("ship this directory (default: the git root above the script, else its "      \
           "folder)")),                                                                  \
    ROW("with", 0, OPT_LIST, with, "PATH",                                               \
        N_("ship PATH though it is ignored or looks secret (repeatable)")),              \
    ROW("with-git", 0, OPT_FLAG, with_git, NULL, N_("ship .git too")),                   \
    ROW("out", 0, OPT_LIST, out, "PATH",                                                 \
        N_("bring PATH back here when the job ends (repeatable)")),                      \
    ROW("port", 0, OPT_LIST, port, "REMOTE[:LOCAL]",                                     \
        N_("reach a port of the job here while it runs (repeatable)")),                  \
    ROW("env", 0, OPT_LIST, env, "K=V", N_("set a variable (repeatable)")),              \
    ROW("env-file", 0, OPT_LIST, env_file, "FILE", N_("set those of FILE, lines of K=V")),\
    ROW("secret", 0, OPT_LIST, secret, "K",                                              \
        N_("pass $K on, kept out of every record (repeatable)")),                        \
    ROW("max-cost", 0, OPT_STR, max_cost, "YUAN",                                        \
        N_("never cost more than this (default: the price of --max-time)")),             \
    ROW("max-time", 0, OPT_STR, max_time, "DUR", N_("end it after so long (default: 24h)")),\
    ROW("idle", 0, OPT_STR, idle, "DUR", N_("end it when it did nothing for so long")),  \
    ROW("window", 0, OPT_STR, window, "DUR",                                             \
        N_("time between SIGTERM and SIGKILL when it is stopped (default: 60s)")),       \
    ROW("wait", 0, OPT_STR, wait, "DUR", N_("wait so long for a free host")),            \
    ROW("max-price", 0, OPT_STR, max_price, "YUAN",                                      \
        N_("no host that asks more per device and hour")),                               \
    ROW("mem", 0, OPT_STR, mem, "SIZE", N_("end it when it takes more memory")),         \
    ROW("snap-every", 0, OPT_STR, snap_every, "DUR",                                     \
        N_("take a snapshot so often while it runs; the newest is kept")),               \
    ROW("notify", 0, OPT_STR, notify, "CMD",                                             \
        N_("run CMD here when it ends, fails or comes near a limit")),                   \
    ROW("notify-host", 0, OPT_STR, notify_host, "CMD",                                   \
        N_("the same on the host, with nobody connected"))

#define RUN_ROWS_MORE                                                                    \
    ROW("detach", 'd', OPT_FLAG, detach, NULL, N_("start it, print its id and return")), \
    ROW("name", 0, OPT_STR, name, "NAME", N_("call the job NAME")),                      \
    ROW("tty", 't', OPT_FLAG, tty, NULL, N_("give it a terminal"))

#define RUN_ROWS_MANY                                                                    \
    ROW("batch", 0, OPT_STR, batch, "FILE",                                              \
        N_("run the jobs of FILE, a line each: [OPTIONS] SCRIPT [ARG...]")),             \
    ROW("array", 0, OPT_STR, array, "A-B",                                               \
        N_("run it once for each GPURUN_ARRAY_INDEX from A to B"))
/* clang-format on */

const struct opt run_option_rows[] = {
    RUN_ROWS_WHERE, RUN_ROWS_FRESH, RUN_ROWS_HOW,
    RUN_ROWS_MORE,  RUN_ROWS_MANY,  {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

const struct opt plan_option_rows[] = {
    RUN_ROWS_WHERE,
    RUN_ROWS_FRESH,
    RUN_ROWS_HOW,
    RUN_ROWS_MORE,
    RUN_ROWS_MANY,
    ROW("compare", 0, OPT_FLAG, compare, NULL,
        N_("what it would cost on every card known, cheapest first")),
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

const struct opt fresh_option_rows[] = {
    RUN_ROWS_FRESH,
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

const struct opt resume_option_rows[] = {
    RUN_ROWS_WHERE,
    RUN_ROWS_HOW,
    RUN_ROWS_MORE,
    ROW("with-code", 0, OPT_FLAG, with_code, NULL,
        N_("ship the directory the job came from anew, over the snapshot")),
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

void
request_free(struct run_request *r)
{
    script_free(&r->script);
    strings_free(&r->with);
    strings_free(&r->outs);
    strings_free(&r->secrets);
    spec_free(&r->spec);
    free(r->host);
    free(r->from);
    free(r->from_host);
    free(r->notify);
    free(r->project);
    free(r->setup_found);
    free(r->setup_asked);
    free(r->setup_made);
    free(r->setup_had);
    for (size_t i = 0; i < r->n_data; i++) {
        request_clear_data(&r->data[i]);
        free(r->data[i].name);
        free(r->data[i].path);
    }
    free(r->data);
    free(r->ports);
    memset(r, 0, sizeof *r);
}

char *
request_command_line(const struct strings *args)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < args->n; i++) {
        const char *a = args->v[i];
        bool plain = a[0] != '\0' &&
                     strspn(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789_@%+=:,./-") == strlen(a);

        buf_add_str(&b, i > 0 ? " " : "");
        if (plain) {
            buf_add_str(&b, a);
        } else {
            text_shell_quote(&b, a);
        }
    }
    return b.len > 0 ? buf_steal(&b) : xstrdup("");
}

/* ---- single values ---- */

static int
parse_seconds(const char *option, const char *text, int64_t min_s, int64_t max_s,
              int64_t *s, struct err *e)
{
    return text_parse_seconds(text, min_s, max_s, s, e) == 0
               ? 0
               : err_wrap(e, "--%s", option);
}

int
request_parse_port(const char *text, struct port_want *out, struct err *e)
{
    const char *colon = strchr(text, ':');
    char remote[8] = "";
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    int64_t r;
    int64_t l = 0;
    char shown[40];

    (void)text_escape_to(shown, sizeof shown, text);
    if (len < sizeof remote) {
        memcpy(remote, text, len);
        remote[len] = '\0';
    }
    if (len >= sizeof remote || text_parse_int(remote, 1, 65535, "port", &r, e) != 0 ||
        (colon != NULL && text_parse_int(colon + 1, 1, 65535, "port", &l, e) != 0)) {
        return err_set(
            e, ERR_INVALID,
            _("port '%s': want REMOTE or REMOTE:LOCAL, numbers from 1 to 65535"), shown);
    }
    out->remote = (uint16_t)r;
    out->local = (uint16_t)l;
    return 0;
}

static int
add_env_file(struct job_spec *spec, const char *path, struct err *e)
{
    struct buf b = BUF_INIT;
    char *text;
    char *line;
    char *save = NULL;
    int rc = -1;

    if (file_read(path, ENV_FILE_MAX, &b, e) != 0) {
        err_wrap(e, "--env-file");
        goto out;
    }
    if (text_of_file(&b, &text, e) != 0) {
        err_wrap(e, "--env-file %s", path);
        goto out;
    }
    if (strncmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0) { /* as Windows' Notepad saves */
        text += strlen(UTF8_BOM);
    }
    for (line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        size_t len = strlen(line);

        if (len > 0 && line[len - 1] == '\r') {
            line[len - 1] = '\0';
        }
        line += strspn(line, " \t");
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        if (host_check_env("env-file", line, e) != 0) {
            goto out;
        }
        strings_add(&spec->env, line);
    }
    rc = 0;

out:
    buf_free(&b);
    return rc;
}

static int
fill_env(struct run_request *r, const struct run_options *o, struct err *e)
{
    for (size_t i = 0; i < o->env_file.n; i++) {
        if (add_env_file(&r->spec, o->env_file.v[i], e) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < o->env.n; i++) {
        if (host_check_env("env", o->env.v[i], e) != 0) {
            return -1;
        }
        strings_add(&r->spec.env, o->env.v[i]);
    }
    for (size_t i = 0; i < o->secret.n; i++) {
        const char *name = o->secret.v[i];
        const char *value = getenv(name);
        char *kv;

        if (value == NULL || strchr(name, '=') != NULL || name[0] == '\0') {
            return err_set(
                e, ERR_INVALID,
                _("--secret wants the name of a variable that is set here, and "
                  "'%s' is not"),
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

/* ---- where ---- */

static int
fill_device(struct run_request *r, const struct run_options *o, struct err *e)
{
    struct device_want *d = &r->want.device;
    int n = (o->gpu != NULL) + (o->cpu != NULL) + (o->device != NULL);
    int64_t cores = 1;

    if (n > 1) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--gpu, --cpu and --device exclude each other"));
    }
    if (o->gpu != NULL && device_want_parse_gpu(d, o->gpu, e) != 0) {
        return err_wrap(e, "--gpu");
    }
    if (o->device != NULL && device_want_parse(d, o->device, e) != 0) {
        return -1;
    }
    if (o->gpu == NULL && o->device == NULL) {
        if (o->cpu != NULL &&
            text_parse_int(o->cpu, 1, SPEC_COUNT_MAX, "--cpu", &cores, e) != 0) {
            return -1;
        }
        (void)snprintf(d->device_class, sizeof d->device_class, "cpu");
        (void)snprintf(d->type, sizeof d->type, "any");
        d->count = cores;
    }
    r->spec.device_class = xstrdup(d->device_class);
    r->spec.device_type = xstrdup(d->type);
    r->spec.count = d->count;
    return 0;
}

static int
fill_placing(struct run_request *r, const struct run_options *o, struct err *e)
{
    if (o->arch != NULL) {
        if (strlen(o->arch) >= sizeof r->want.arch || o->arch[0] == '\0') {
            return err_set(e, ERR_INVALID, "%s",
                           _("--arch wants what uname -m says there"));
        }
        (void)snprintf(r->want.arch, sizeof r->want.arch, "%s", o->arch);
    }
    r->want.max_price_uyuan = -1;
    if (o->max_price != NULL && money_parse_uyuan(o->max_price, strlen(o->max_price),
                                                  &r->want.max_price_uyuan, e) != 0) {
        return err_wrap(e, "--max-price");
    }
    if (o->wait != NULL && text_parse_duration(o->wait, &r->wait_ns, e) != 0) {
        return err_wrap(e, "--wait");
    }
    r->host = o->host != NULL ? xstrdup(o->host) : NULL;
    r->from = o->from != NULL ? xstrdup(o->from) : NULL;
    return fill_device(r, o, e);
}

/* ---- limits ---- */

/* Is that option's value the project file's? */
#define project_says(o, option)                                                          \
    ((o)->project != NULL && (o)->project->option != NULL &&                             \
     (o)->option == (o)->project->option)

static int
fill_limits(struct run_request *r, const struct config *cfg, const struct run_options *o,
            struct err *e)
{
    struct job_spec *s = &r->spec;

    r->max_cost_fen = -1;
    if (o->max_cost != NULL &&
        money_parse_fen(o->max_cost, strlen(o->max_cost), &r->max_cost_fen, e) != 0) {
        return err_wrap(e, "--max-cost");
    }
    r->cost_ceiling = project_says(o, max_cost);
    r->cost_unasked =
        o->project != NULL && (o->max_cost == NULL || r->cost_ceiling) &&
        (project_says(o, gpu) || project_says(o, cpu) || project_says(o, device) ||
         project_says(o, arch) || project_says(o, host) || project_says(o, max_time));
    if (parse_seconds("max-time",
                      o->max_time != NULL ? o->max_time : config_get(cfg, "max-time"), 1,
                      SPEC_TIME_MAX_S, &s->max_time_s, e) != 0 ||
        parse_seconds("window", o->window != NULL ? o->window : config_get(cfg, "window"),
                      0, SPEC_WINDOW_MAX_S, &s->window_s, e) != 0) {
        return -1;
    }
    /* A reservation that ends sooner than was asked for is not meant. */
    r->want.time_s = o->max_time != NULL ? s->max_time_s : 0;
    if (o->idle != NULL &&
        parse_seconds("idle", o->idle, 1, SPEC_TIME_MAX_S, &s->idle_s, e) != 0) {
        return -1;
    }
    if (o->mem != NULL && text_parse_size(o->mem, &s->mem_bytes, e) != 0) {
        return err_wrap(e, "--mem");
    }
    if (o->mem != NULL && s->mem_bytes < 1 << 20) {
        return err_set(e, ERR_RANGE, _("--mem %s is less than any program needs"),
                       o->mem);
    }
    if (o->snap_every != NULL &&
        parse_seconds("snap-every", o->snap_every, SNAP_EVERY_MIN_S, SPEC_TIME_MAX_S,
                      &s->snap_every_s, e) != 0) {
        return -1;
    }
    r->has_window = o->window != NULL;
    return 0;
}

/* ---- who is told ---- */

static int
fill_notify(struct run_request *r, const struct run_options *o, struct err *e)
{
    const char *const both[] = {o->notify, o->notify_host};

    for (size_t i = 0; i < 2; i++) {
        if (both[i] != NULL &&
            (both[i][0] == '\0' || strlen(both[i]) > NOTIFY_COMMAND_MAX)) {
            return err_set(e, ERR_INVALID,
                           _("--notify and --notify-host want a command of at most %zu "
                             "bytes"),
                           NOTIFY_COMMAND_MAX);
        }
    }
    if (o->notify != NULL && o->detach) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--notify lives as long as this gpurun: not with -d; "
                         "--notify-host needs nobody"));
    }
    r->notify = o->notify != NULL ? xstrdup(o->notify) : NULL;
    r->spec.notify_host = o->notify_host != NULL ? xstrdup(o->notify_host) : NULL;
    return 0;
}

/* ---- what runs, and with what ---- */

/* An empty one is a variable of the shell that is not set: not what was meant. */
static int
check_interpreter(const char *option, const char *value, const char *wants, struct err *e)
{
    return value == NULL || value[strspn(value, " \t")] != '\0'
               ? 0
               : err_set(e, ERR_INVALID, _("--%s wants a value: --%s %s"), option, option,
                         wants);
}

static int
fill_interpreter(struct job_spec *s, const struct run_options *o, struct err *e)
{
    if (check_interpreter("python", o->python, "P", e) != 0 ||
        check_interpreter("conda", o->conda, "ENV", e) != 0 ||
        check_interpreter("venv", o->venv, "DIR", e) != 0) {
        return -1;
    }
    if ((o->python != NULL) + (o->conda != NULL) + (o->venv != NULL) > 1) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--python, --conda and --venv exclude each other"));
    }
    s->python = o->python != NULL ? xstrdup(o->python) : NULL;
    s->conda = o->conda != NULL ? xstrdup(o->conda) : NULL;
    s->venv = o->venv != NULL ? xstrdup(o->venv) : NULL;
    return 0;
}

static int
fill_terminal(struct job_spec *s, const struct run_options *o, struct err *e)
{
    const char *term = getenv("TERM");
    uint16_t cols = 80;
    uint16_t rows = 24;

    s->stdin_mode = o->detach ? SPEC_STDIN_NULL : SPEC_STDIN_OPEN;
    if (!o->tty) {
        return 0;
    }
    if (o->detach) {
        return err_set(e, ERR_INVALID, "%s", _("-t and -d exclude each other"));
    }
    if (isatty(STDIN_FILENO) != 1) {
        return err_set(e, ERR_INVALID, "%s", _("-t wants a terminal on stdin"));
    }
    (void)terminal_size(STDIN_FILENO, &cols, &rows);
    s->tty = true;
    s->cols = cols;
    s->rows = rows;
    s->term = term != NULL ? xstrdup(term) : NULL;
    return 0;
}

int
request_fill_with(struct run_request *r, const struct run_options *o, struct err *e)
{
    for (size_t i = 0; i < o->with.n; i++) {
        char *path = realpath(o->with.v[i], NULL);
        const char *inside = path != NULL ? script_beneath(r->script.root, path) : NULL;
        char shown[200];

        (void)text_escape_to(shown, sizeof shown, o->with.v[i]);
        if (path == NULL) {
            return err_set(e, ERR_NOT_FOUND, _("--with '%s': %s"), shown,
                           strerror(errno));
        }
        if (inside == NULL || inside[0] == '\0') {
            free(path);
            return err_set(e, ERR_INVALID, _("--with '%s' does not lie in '%s'"), shown,
                           r->script.root);
        }
        strings_add(&r->with, inside);
        free(path);
    }
    return 0;
}

static int
fill_lists(struct run_request *r, const struct run_options *o, struct err *e)
{
    r->ports = xcalloc(o->port.n + 1, sizeof *r->ports);
    for (size_t i = 0; i < o->port.n; i++) {
        if (request_parse_port(o->port.v[i], &r->ports[i], e) != 0) {
            return err_wrap(e, "--port");
        }
        r->n_ports++;
    }
    if (o->detach && r->n_ports > 0) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--port lives as long as this gpurun: not with -d; later "
                         "`gpurun port JOB …`"));
    }
    return 0;
}

static void
fill_labels(struct job_spec *s, const char *root)
{
    char host[HOST_NAME_MAX + 1] = "";

    if (gethostname(host, sizeof host) == 0) {
        host[sizeof host - 1] = '\0';
        s->client_host = xstrdup(host);
    }
    s->client_dir = root != NULL ? xstrdup(root) : NULL;
}

static int
fill_name(struct job_spec *s, const char *name, const char *stem, struct err *e)
{
    random_id("j", s->job);
    if (name == NULL) {
        /* The stem alone would not tell two runs of one script apart. */
        s->name = xasprintf("%s-%s", stem, s->job + JOB_ID_LEN - STEM_RANDOM);
        return 0;
    }
    if (job_name_check(name, e) != 0) {
        return err_wrap(e, "--name");
    }
    s->name = xstrdup(name);
    return 0;
}

/* Where they are on the host follows from where they belong here. */
static int
fill_outs(struct run_request *r, const struct run_options *o, struct err *e)
{
    for (size_t i = 0; i < o->out.n; i++) {
        char *rel = NULL;

        if (out_normalize(r->script.root, r->script.cwd, o->out.v[i], &rel, e) != 0) {
            return -1;
        }
        strings_add(&r->outs, rel);
        free(rel);
    }
    return 0;
}

/* No file's name by its looks, and there is none of that name. */
static bool
may_be_command(const char *script)
{
    return script != NULL && strpbrk(script, "./") == NULL && !file_exists(script);
}

static int
fill_script(struct run_request *r, const struct run_options *o, const struct words *w,
            struct err *e)
{
    struct script_options so = {
        .script = w->n > 0 ? w->v[0] : NULL,
        .args = w->rest,
        .n_args = w->n_rest,
        .dir = o->dir,
        .wants_python = o->python != NULL || o->conda != NULL || o->venv != NULL,
    };
    const char *near;

    if (script_resolve(&r->script, &so, e) != 0) {
        near = e->code == ERR_NOT_FOUND && may_be_command(so.script)
                   ? command_nearest(command_table, so.script)
                   : NULL;
        if (near != NULL) {
            err_set(e, ERR_NOT_FOUND, _("no script '%s'; did you mean `gpurun %s`?"),
                    so.script, near);
        }
        return -1;
    }
    r->ships = true;
    r->spec.kind = r->script.kind;
    r->spec.cwd = xstrdup(r->script.cwd);
    strings_add_all(&r->spec.args, &r->script.args);
    return request_fill_with(r, o, e) == 0 ? fill_outs(r, o, e) : -1;
}

static int
fill(struct run_request *r, const struct config *cfg, const struct run_options *o,
     const struct words *w, struct err *e)
{
    if (fill_placing(r, o, e) != 0 || fill_limits(r, cfg, o, e) != 0 ||
        fill_interpreter(&r->spec, o, e) != 0 || fill_env(r, o, e) != 0 ||
        fill_terminal(&r->spec, o, e) != 0 || fill_lists(r, o, e) != 0 ||
        fill_notify(r, o, e) != 0 || (w != NULL && fill_script(r, o, w, e) != 0) ||
        request_fill_data(r, o, e) != 0) {
        return -1;
    }
    r->with_git = o->with_git;
    r->setup_asked = o->setup != NULL ? xstrdup(o->setup) : NULL;
    if (w != NULL && o->setup != NULL && o->from == NULL &&
        request_fill_setup(r, o->setup, NULL, e) != 0) {
        return -1;
    }
    r->detach = o->detach;
    fill_labels(&r->spec, r->script.root);
    r->named = o->name != NULL;
    return fill_name(&r->spec, o->name, r->script.stem != NULL ? r->script.stem : "job",
                     e);
}

int
request_make(struct run_request *out, const struct cli *c, const struct config *cfg,
             const struct run_options *o, const struct words *w, struct err *e)
{
    struct run_request r;

    (void)c;
    memset(&r, 0, sizeof r);
    spec_init(&r.spec);
    if (fill(&r, cfg, o, w, e) != 0) {
        request_free(&r);
        return -1;
    }
    *out = r;
    return 0;
}
