#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/hostview.h"
#include "runner/cli/out.h"
#include "runner/cli/parkview.h"
#include "runner/client/hosts.h"
#include "runner/client/known_hosts.h"
#include "runner/client/mirror.h"
#include "runner/client/place.h"

struct host_options {
    struct opt_list price;
    struct opt_list env;
    const char *host_key;
    const char *agent_home;
    const char *mirror;
    const char *park;
    const char *park_after;
};

static const struct opt options_add[] = {
    {"price", 0, OPT_LIST, offsetof(struct host_options, price), "TYPE=YUAN",
     N_("what it costs per device and hour, where the host itself says nothing "
        "(repeatable; disk=YUAN per GB and day)")},
    {"host-key", 0, OPT_STR, offsetof(struct host_options, host_key), "SHA256:...",
     N_("the SSH host key it must have, as `ssh-keygen -l` prints it")},
    {"env", 0, OPT_LIST, offsetof(struct host_options, env), "K=V",
     N_("set a variable for every job there (repeatable)")},
    {"agent-home", 0, OPT_STR, offsetof(struct host_options, agent_home), "DIR",
     N_("where the agent keeps its files there")},
    {"mirror", 0, OPT_STR, offsetof(struct host_options, mirror), "HOST|local",
     N_("copy each snapshot there, too (default: small ones and those of --out here; "
        "none: no copies)")},
    {"park", 0, OPT_STR, offsetof(struct host_options, park), "CMD",
     N_("a command that the host runs by itself once no job is left there, as "
        "`shutdown now`")},
    {"park-after", 0, OPT_STR, offsetof(struct host_options, park_after), "DUR",
     N_("after so long with nothing to do (default: 10m)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* ---- add ---- */

/* The address, or the words of an `ssh …` in one line; malloc'ed. */
static char *
target_line(const struct words *w)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, w->v[w->n > 1 ? 1 : 0]);
    for (int i = 0; i < w->n_rest; i++) {
        buf_add_str(&b, " ");
        text_shell_quote(&b, w->rest[i]);
    }
    return buf_steal(&b);
}

static int
fill_host(struct host *h, const struct host_options *o, const struct words *w,
          char **remark, struct err *e)
{
    char *line;
    int rc;

    if (host_name_check(w->v[0], e) != 0) {
        return -1;
    }
    h->name = xstrdup(w->v[0]);
    if (strcmp(h->name, HOST_LOCAL) == 0) {
        return err_set(e, ERR_EXISTS, "%s",
                       _("'local' is this machine, and always there; take another name"));
    }
    line = target_line(w);
    rc = host_parse_target(h, line, remark, e);
    free(line);
    if (rc != 0) {
        return -1;
    }
    for (size_t i = 0; i < o->price.n; i++) {
        if (host_add_price(h, o->price.v[i], e) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < o->env.n; i++) {
        if (host_add_env(h, o->env.v[i], e) != 0) {
            return -1;
        }
    }
    if (o->host_key != NULL && ssh_fingerprint_check(o->host_key, e) != 0) {
        return err_wrap(e, "--host-key");
    }
    h->agent_home = o->agent_home != NULL ? xstrdup(o->agent_home) : NULL;
    h->mirror = o->mirror != NULL ? xstrdup(o->mirror) : NULL;
    h->added_wall_ns = clock_wall_ns();
    return 0;
}

/* A host that is known, and another one. */
static int
check_mirror(const struct cli *c, const struct host *h, struct err *e)
{
    struct host to;

    if (h->mirror == NULL || strcmp(h->mirror, MIRROR_NONE) == 0) {
        return 0;
    }
    if (strcmp(h->mirror, h->name) == 0) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--mirror: a host that vanishes takes its copies along; name "
                         "another one, or local"));
    }
    if (hosts_load(c->home, h->mirror, &to, e) != 0) {
        return err_wrap(e, "--mirror");
    }
    host_free(&to);
    return 0;
}

static int
check_free(const struct cli *c, const char *name, struct err *e)
{
    struct host_list l = {NULL, 0};
    int rc = hosts_list(c->home, false, &l, e);

    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        if (strcmp(l.v[i].name, name) == 0) {
            rc = err_set(
                e, ERR_EXISTS,
                _("there is a host '%s' already; `gpurun host rm %s` first, or take "
                  "another name"),
                name, name);
        }
    }
    host_list_free(&l);
    return rc;
}

/* Reach it, and keep what it says of itself. */
static int
meet_host(struct cli *c, struct host *h, const struct host_options *ho, int64_t park_s,
          struct buf *out, struct err *e)
{
    struct session_options o = {
        .host_key = ho->host_key, .host_key_ask = true, .any_agent_key = true};
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    int rc = -1;

    if (context_open(&cl, c, e) != 0 || session_open(&s, &cl, h, &o, e) != 0 ||
        session_wait_up(s, e) != 0) {
        goto out;
    }
    if (ho->park != NULL) {
        if (session_park(s, ho->park, park_s, e) != 0) {
            goto out;
        }
        c->stage = STAGE_CHANGED;
    }
    h->pinned = true;
    h->key = session_info(s)->key;
    hostview_remember(h, session_info(s));
    rc = hosts_save(c->home, h, true, e);
    session_greet(&cl, &s, 1);
    if (rc == 0) {
        hostview_say(c, h, session_info(s), session_offer(s), session_transport(s));
        if (c->g.json) {
            hostview_json(out, h, session_info(s), session_offer(s), session_transport(s),
                          NULL);
            buf_add_str(out, "\n");
        } else {
            buf_printf(out, "%s\n", h->name);
        }
    }

out:
    session_close(s);
    context_close(&cl);
    return rc;
}

static int
run_add(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct host_options *o = options;
    struct buf out = BUF_INIT;
    struct host h;
    char *remark = NULL;
    int64_t park_s;
    int rc = -1;

    host_init(&h);
    if (fill_host(&h, o, w, &remark, e) != 0 || check_free(c, h.name, e) != 0 ||
        check_mirror(c, &h, e) != 0 ||
        host_park_parse(o->park, o->park_after, &park_s, e) != 0) {
        goto out;
    }
    if (remark != NULL) {
        say(c, "%s", remark);
    }
    c->stage = STAGE_TRYING;
    if (meet_host(c, &h, o, park_s, &out, e) == 0) {
        rc = out_write(&out, e);
    }

out:
    free(remark);
    buf_free(&out);
    host_free(&h);
    return rc;
}

/* ---- ls, show, rm ---- */

static void
ls_row(struct table *t, const struct candidate *c, const struct host *h)
{
    char *where = host_where(h);
    char *devices;
    char *price;

    table_cell(t, h->name);
    table_cell(t, where);
    if (session_state(c->session) == SESSION_UP) {
        devices = hostview_devices(session_info(c->session));
        price = hostview_prices(h, session_offer(c->session));
        table_cell(t, devices);
        table_cell(t, price);
        table_cell(t, _("ready"));
        free(devices);
        free(price);
    } else {
        table_cell(t, NULL);
        table_cell(t, NULL);
        table_cell(t, session_why(c->session)->err.msg);
    }
    free(where);
}

static void
ls_text(const struct place *p, const struct host_list *hosts, struct buf *out)
{
    const char *headers[] = {_("NAME"),  _("WHERE"), _("DEVICES"),
                             _("PRICE"), _("STATE"), NULL};
    struct table *t = table_new(headers);

    table_narrow(t, "12", "4120");
    for (size_t i = 0; i < place_n(p); i++) {
        ls_row(t, place_at(p, i), &hosts->v[i]);
    }
    table_print(t, out);
    table_free(t);
}

static void
ls_json(const struct place *p, const struct host_list *hosts, struct buf *out)
{
    buf_add_str(out, "{\"hosts\":[");
    for (size_t i = 0; i < place_n(p); i++) {
        struct session *s = place_at(p, i)->session;
        bool up = session_state(s) == SESSION_UP;

        buf_add_str(out, i > 0 ? "," : "");
        hostview_json(out, &hosts->v[i], up ? session_info(s) : NULL,
                      up ? session_offer(s) : NULL, up ? session_transport(s) : NULL,
                      up ? NULL : session_why(s));
    }
    buf_add_str(out, "]}\n");
}

static void
greet_all(struct client *cl, const struct place *p)
{
    struct session **v = xcalloc(place_n(p) + 1, sizeof(struct session *));

    for (size_t i = 0; i < place_n(p); i++) {
        v[i] = place_at(p, i)->session;
    }
    session_greet(cl, v, place_n(p));
    free(v);
}

static int
run_ls(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)options;
    (void)w;
    if (hosts_list(c->home, true, &hosts, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0 && place_open(&p, &cl, &hosts, e) == 0 &&
        place_ask_all(p, e) == 0) {
        if (c->g.json) {
            ls_json(p, &hosts, &out);
        } else {
            ls_text(p, &hosts, &out);
        }
        rc = out_write(&out, e);
        greet_all(&cl, p);
    }
    place_free(p);
    context_close(&cl);
    host_list_free(&hosts);
    buf_free(&out);
    return rc;
}

static int
run_show(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct session_options o = {.host_key_ask = true};
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct buf out = BUF_INIT;
    struct host h;
    int rc = -1;

    (void)options;
    if (hosts_load(c->home, w->v[0], &h, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) != 0 || session_open(&s, &cl, &h, &o, e) != 0 ||
        session_wait_up(s, e) != 0) {
        goto out;
    }
    if (c->g.json) {
        hostview_json(&out, &h, session_info(s), session_offer(s), session_transport(s),
                      NULL);
        buf_add_str(&out, "\n");
    } else {
        hostview_page(&out, &h, session_info(s), session_offer(s), session_transport(s));
    }
    rc = out_write(&out, e);
    session_greet(&cl, &s, 1);

out:
    session_close(s);
    context_close(&cl);
    buf_free(&out);
    host_free(&h);
    return rc;
}

/* Nobody would miss it sooner than the machine that goes down. */
static void
say_parked(const struct cli *c, const struct host *h)
{
    struct host_info info;
    char *text;

    if (!host_recall(h, &info)) {
        return;
    }
    text = parkview_after(&info.park);
    if (text != NULL) {
        say(c,
            _("'%s' is forgotten here and is parked as before, %s; to end that add it "
              "again, then `gpurun host park %s none`"),
            h->name, text, h->name);
    }
    free(text);
    hostinfo_free(&info);
}

static int
run_rm(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct err none;
    struct host h;
    bool known = hosts_load(c->home, w->v[0], &h, &none) == 0;
    int rc = hosts_remove(c->home, w->v[0], e);

    (void)options;
    if (known && rc == 0) {
        say_parked(c, &h);
    }
    if (known) {
        host_free(&h);
    }
    return rc;
}

static const struct command sub_add = {
    .name = "add",
    .usage = N_("NAME [[USER@]HOST[:PORT]] | NAME ssh -p 35394 root@HOST"),
    .help = N_("make a host known: log in, put the agent there, pin its key"),
    .options = options_add,
    .options_size = sizeof(struct host_options),
    .min_words = 1,
    .max_words = 2,
    .line_word = "ssh",
    .run = run_add,
};
static const struct command sub_ls = {
    .name = "ls",
    .usage = "",
    .help = N_("list the hosts, what they have and ask, and whether they answer"),
    .run = run_ls,
};
static const struct command sub_show = {
    .name = "show",
    .usage = N_("NAME"),
    .help = N_("all that is known of a host"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_HOST,
    .run = run_show,
};
static const struct command sub_rm = {
    .name = "rm",
    .usage = N_("NAME"),
    .help = N_("forget a host (nothing on it is touched)"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_HOST,
    .run = run_rm,
};
static const struct command *const subs[] = {
    &sub_add, &sub_ls, &sub_show, &sub_rm, &sub_host_park, &sub_host_doctor, NULL};

const struct command cmd_host = {
    .name = "host",
    .usage = N_("add|ls|show|rm|park|doctor ..."),
    .help = N_("the hosts you lease"),
    .subs = subs,
};
