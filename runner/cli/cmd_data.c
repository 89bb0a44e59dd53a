#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/folder.h"
#include "runner/cli/out.h"
#include "runner/cli/pull.h"
#include "runner/client/datasets.h"
#include "runner/client/hosts.h"
#include "runner/client/place.h"
#include "runner/job/spec.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

struct data_options {
    const char *host;
};

struct pull_options {
    const char *host;
    const char *sha256;
    bool unpack;
    const char *max_cost, *max_time;
};

static const struct opt options_host[] = {
    {"host", 0, OPT_STR, offsetof(struct data_options, host), "NAME",
     N_("on that host (default: the one there is)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static const struct opt options_pull[] = {
    {"host", 0, OPT_STR, offsetof(struct pull_options, host), "NAME",
     N_("on that host (default: the one there is)")},
    {"sha256", 0, OPT_STR, offsetof(struct pull_options, sha256), "HEX",
     N_("refuse anything else than the file with that SHA-256")},
    {"unpack", 0, OPT_FLAG, offsetof(struct pull_options, unpack), NULL,
     N_("unpack the archive (tar or zip) that comes, and keep what is in it")},
    {"max-cost", 0, OPT_STR, offsetof(struct pull_options, max_cost), "YUAN",
     N_("what fetching it may cost at most")},
    {"max-time", 0, OPT_STR, offsetof(struct pull_options, max_time), "DUR",
     N_("how long it may take at most")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* ---- one set ---- */

static void
fields_json(struct json_writer *j, const struct snap_info *s)
{
    json_kstr(j, "id", s->id);
    json_kstr(j, "name", s->name);
    json_kstr(j, "host", s->host);
    json_kstr(j, "tree", s->tree);
    json_kint(j, "files", s->n_files);
    json_kint(j, "bytes", s->content_bytes);
    json_kint(j, "stored_bytes", s->stored_bytes);
    json_ktime(j, "made", s->made_wall_ns);
}

static int
print_set(const struct cli *c, const struct snap_info *s, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        fields_json(&j, s);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "%s\n", s->id);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* Where a set goes when nobody says so: there is one host, or only this machine. */
static int
choose_host(const struct cli *c, const char *typed, char **out, struct err *e)
{
    struct host_list all = {NULL, 0};
    const char *found = typed;
    size_t n = 0;

    if (typed != NULL) {
        *out = xstrdup(typed);
        return 0;
    }
    if (hosts_list(c->home, true, &all, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < all.n; i++) {
        if (!all.v[i].local) {
            found = all.v[i].name;
            n++;
        }
    }
    *out = n <= 1 ? xstrdup(found != NULL ? found : HOST_LOCAL) : NULL;
    host_list_free(&all);
    return n <= 1 ? 0
                  : err_set(e, ERR_INVALID, "%s",
                            _("there are several hosts: --host NAME says on which"));
}

/* ---- put ---- */

static int
put_sent(struct cli *c, struct client *cl, struct session *s, const struct folder *f,
         void *ctx, struct err *e)
{
    const char *name = ctx;
    struct rec *req = msg_request_new(VERB_DATA_PUT);
    struct snap_info info;
    char id[JOB_ID_LEN + 1];
    int rc;

    (void)cl;
    random_id("s", id);
    rec_add(req, "snapshot", id);
    rec_add(req, "name", name);
    rec_add_hex(req, "tree", f->report->tree.b, sizeof f->report->tree.b);
    c->stage = STAGE_CHANGED;
    rc = datasets_ask(s, req, &info, e);
    rec_free(req);
    if (rc != 0) {
        c->stage = e->code == ERR_LINK ? STAGE_CHANGED : STAGE_TRYING;
        return -1;
    }
    if (info.partial) {
        say(c, "%s",
            _("some files could not be read, or changed while they were: the data set is "
              "not whole"));
    }
    rc = print_set(c, &info, e);
    snap_info_free(&info);
    return rc;
}

static int
run_put(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct data_options *o = options;
    char *name = w->v[0];
    char *host = NULL;
    struct stat st;
    int rc;

    if (data_name_check(name, e) != 0) {
        return -1;
    }
    if (stat(w->v[1], &st) != 0 || !S_ISDIR(st.st_mode)) {
        return err_set(
            e, ERR_NOT_FOUND,
            _("'%s' is no directory: a data set is a folder and all that is in "
              "it"),
            w->v[1]);
    }
    if (choose_host(c, o->host, &host, e) != 0) {
        return -1;
    }
    rc = folder_send(c, w->v[1], host, put_sent, name, e);
    free(host);
    return rc;
}

/* ---- pull ---- */

static int
run_pull(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct pull_options *o = options;
    struct pull p = {.name = w->v[0],
                     .url = w->v[1],
                     .sha256 = o->sha256,
                     .unpack = o->unpack,
                     .max_cost = o->max_cost,
                     .max_time = o->max_time};
    struct snap_info info;
    char *host = NULL;
    int rc;

    if (data_name_check(p.name, e) != 0 || pull_check(&p, e) != 0 ||
        choose_host(c, o->host, &host, e) != 0) {
        return -1;
    }
    p.host = host;
    rc = pull_run(c, &p, &info, e);
    if (rc == 0) {
        rc = print_set(c, &info, e);
        snap_info_free(&info);
    }
    free(host);
    return rc;
}

/* ---- ls ---- */

static int
gather(struct cli *c, struct client *cl, const char *host, struct snap_infos *l,
       struct buf *silent, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    int rc = -1;

    if (host != NULL) {
        hosts.v = xcalloc(1, sizeof *hosts.v);
        if (hosts_load(cl->home, host, &hosts.v[0], e) != 0) {
            c->stage = STAGE_INPUT;
            goto out;
        }
        hosts.n = 1;
    } else if (hosts_list_used(cl->home, &hosts, e) != 0) {
        return -1;
    }
    if (place_open(&p, cl, &hosts, e) != 0 || place_ask_all(p, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *cand = place_at(p, i);
        bool up = session_state(cand->session) == SESSION_UP;

        if (!up || datasets_list(cand->session, l, e) != 0) {
            say(c, "%s", up ? e->msg : session_why(cand->session)->err.msg);
            buf_printf(silent, "%s%s", silent->len > 0 ? ", " : "", cand->host);
        }
    }
    rc = 0;

out:
    place_free(p);
    host_list_free(&hosts);
    return rc;
}

static int
by_name(const void *a, const void *b)
{
    const struct snap_info *x = a;
    const struct snap_info *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : strcmp(x->host, y->host);
}

static void
list_text(struct buf *out, const struct snap_infos *l)
{
    const char *const headers[] = {_("NAME"),  _("HOST"), _(">FILES"), _(">SIZE"),
                                   _(">KEPT"), _("MADE"), NULL};
    struct table *t = table_new(headers);

    table_narrow(t, "542", "10");
    for (size_t i = 0; i < l->n; i++) {
        const struct snap_info *s = &l->v[i];
        char size[TEXT_SIZE_MAX];
        char when[OUT_TIME_MAX];

        table_cell(t, s->name);
        table_cell(t, s->host);
        table_cellf(t, "%" PRId64, s->n_files);
        text_format_size((uint64_t)s->content_bytes, size);
        table_cell(t, size);
        text_format_size((uint64_t)s->stored_bytes, size);
        table_cell(t, size);
        table_cell(t, out_time(s->made_wall_ns, when));
    }
    table_print(t, out);
    table_free(t);
}

static void
list_json(struct buf *out, const struct snap_infos *l, const char *silent)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_key(j, "data");
    json_arr(j);
    for (size_t i = 0; i < l->n; i++) {
        json_obj(j);
        fields_json(j, &l->v[i]);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kstr(j, "silent_hosts", silent);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

static int
run_ls(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct data_options *o = options;
    struct client cl = {.loop = NULL};
    struct snap_infos l = {NULL, 0};
    struct buf silent = BUF_INIT;
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)w;
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0 && gather(c, &cl, o->host, &l, &silent, e) == 0) {
        if (l.n > 1) {
            qsort(l.v, l.n, sizeof *l.v, by_name);
        }
        if (c->g.json) {
            list_json(&out, &l, buf_str(&silent));
        } else {
            list_text(&out, &l);
        }
        rc = out_write(&out, e);
    }
    context_close(&cl);
    snap_infos_free(&l);
    buf_free(&silent);
    buf_free(&out);
    return rc;
}

/* ---- rm ---- */

static int
rm_on(struct cli *c, struct client *cl, const char *host, const char *name,
      struct json_writer *j, struct buf *out, struct err *e)
{
    struct rec *req = msg_request_new(VERB_DATA_RM);
    struct session *s = NULL;
    struct snap_info info;
    int rc = -1;

    rec_add(req, "name", name);
    if (context_session(cl, host, CONTEXT_PATIENCE_NS, &s, e) == 0 &&
        datasets_ask(s, req, &info, e) == 0) {
        c->stage = STAGE_CHANGED;
        if (c->g.json) {
            json_obj(j);
            json_kstr(j, "id", info.id);
            json_kstr(j, "name", name);
            json_kstr(j, "host", host);
            json_obj_end(j);
        } else {
            buf_printf(out, "%s\n", info.id);
        }
        say(c, _("data set %s is no longer kept on %s; `gpurun gc` frees its room"), name,
            host);
        snap_info_free(&info);
        rc = 0;
    }
    rec_free(req);
    session_close(s);
    return rc;
}

static int
rm_all(struct cli *c, struct client *cl, const struct snap_infos *l, const char *name,
       struct buf *out, struct err *e)
{
    struct json_writer w = json_to(out);
    struct err why;
    int rc = 0;

    if (c->g.json) {
        json_obj(&w);
        json_key(&w, "removed");
        json_arr(&w);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].name, name) != 0) {
            continue;
        }
        if (rm_on(c, cl, l->v[i].host, name, &w, out, &why) != 0) {
            if (rc != 0) {
                say(c, "%s", e->msg); /* the last one is said at the end */
            }
            *e = why;
            rc = -1;
        }
    }
    if (c->g.json) {
        json_arr_end(&w);
        json_obj_end(&w);
        buf_add_str(out, "\n");
    }
    return rc;
}

static int
run_rm(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct data_options *o = options;
    const char *name = w->v[0];
    struct client cl = {.loop = NULL};
    struct snap_infos l = {NULL, 0};
    struct buf silent = BUF_INIT;
    struct buf out = BUF_INIT;
    int rc = -1;

    if (data_name_check(name, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) != 0 || gather(c, &cl, o->host, &l, &silent, e) != 0) {
        goto out;
    }
    if (datasets_called(&l, NULL, name) == NULL) {
        err_set(e, silent.len > 0 ? ERR_LINK : ERR_NOT_FOUND,
                _("there is no data set '%s' (`gpurun data ls` lists them)"), name);
        if (silent.len > 0) {
            err_wrap(e, _("(not asked: %s)"), buf_str(&silent));
        }
        goto out;
    }
    rc = rm_all(c, &cl, &l, name, &out, e);
    if (out.len > 0) { /* where it is gone, it is, whatever another host says */
        struct err why;

        if (out_write(&out, &why) != 0 && rc == 0) {
            *e = why;
            rc = -1;
        }
    }

out:
    context_close(&cl);
    snap_infos_free(&l);
    buf_free(&silent);
    buf_free(&out);
    return rc;
}

/* ---- the table ---- */

static const struct command sub_put = {
    .name = "put",
    .usage = N_("NAME PATH [--host NAME]"),
    .help = N_("send a folder to a host once, for any number of jobs"),
    .about =
        N_("On the host's disk it takes its room packed and, from the first job that "
           "sees it on, once more as files, which jobs share; these go, once no job sees "
           "them, where the disk or a quota gets short."),
    .options = options_host,
    .options_size = sizeof(struct data_options),
    .min_words = 2,
    .max_words = 2,
    .next = WORD_FILE,
    .run = run_put,
};
static const struct command sub_pull = {
    .name = "pull",
    .usage = N_("NAME URL [--host NAME] [--sha256 HEX] [--unpack]"),
    .help = N_("let a host fetch a data set itself"),
    .options = options_pull,
    .options_size = sizeof(struct pull_options),
    .min_words = 2,
    .max_words = 2,
    .run = run_pull,
};
static const struct command sub_ls = {
    .name = "ls",
    .usage = N_("[--host NAME]"),
    .help = N_("list the data sets of all hosts"),
    .options = options_host,
    .options_size = sizeof(struct data_options),
    .run = run_ls,
};
static const struct command sub_rm = {
    .name = "rm",
    .usage = N_("NAME [--host NAME]"),
    .help = N_("give a data set up, on every host that has it"),
    .options = options_host,
    .options_size = sizeof(struct data_options),
    .min_words = 1,
    .max_words = 1,
    .run = run_rm,
};
static const struct command *const subs[] = {&sub_put, &sub_pull, &sub_ls, &sub_rm, NULL};

const struct command cmd_data = {
    .name = "data",
    .usage = N_("put|pull|ls|rm ..."),
    .help = N_("data sets that jobs read (--data)"),
    .about =
        N_("A data set is a folder that lies on a host under a name, until it is "
           "removed. Jobs see it read-only; it is neither shipped with them nor kept "
           "in their snapshots."),
    .subs = subs,
};
