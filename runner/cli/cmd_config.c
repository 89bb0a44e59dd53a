#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/client/config.h"

struct config_options {
    bool unset;
};

static const struct opt options_config[] = {
    {"unset", 0, OPT_FLAG, offsetof(struct config_options, unset), NULL,
     N_("go back to the default of KEY")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static void
json_setting(struct json_writer *j, const struct config *cfg, const struct config_key *k)
{
    json_obj(j);
    json_kstr(j, "key", k->name);
    json_kstr(j, "value", config_get(cfg, k->name));
    json_kbool(j, "default", config_get_set(cfg, k->name) == NULL);
    json_obj_end(j);
}

static void
list_all(const struct cli *c, const struct config *cfg, struct buf *out)
{
    const char *headers[] = {_("KEY"), _("VALUE"), "", _("WHAT IT DOES"), NULL};
    struct json_writer j = json_to(out);
    struct table *t;

    if (c->g.json) {
        json_arr(&j);
        for (const struct config_key *k = config_keys; k->name != NULL; k++) {
            json_setting(&j, cfg, k);
        }
        json_arr_end(&j);
        buf_add_str(out, "\n");
        return;
    }
    t = table_new(headers);
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        table_cell(t, k->name);
        table_cell(t, config_get(cfg, k->name));
        table_cell(t, config_get_set(cfg, k->name) == NULL ? _("default") : _("set"));
        table_cell(t, _(k->help));
    }
    table_print(t, out);
    table_free(t);
}

static int
show_one(const struct cli *c, struct config *cfg, const char *key, struct buf *out,
         struct err *e)
{
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        if (strcmp(k->name, key) == 0) {
            struct json_writer j = json_to(out);

            if (c->g.json) {
                json_setting(&j, cfg, k);
                buf_add_str(out, "\n");
            } else {
                buf_printf(out, "%s\n", config_get(cfg, key));
            }
            return 0;
        }
    }
    return config_set(cfg, key, "", e); /* refuses, and says which there are */
}

static int
run_config(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct config_options *o = options;
    struct config *cfg = NULL;
    struct buf out = BUF_INIT;
    int rc = 0;

    if (o->unset && w->n != 1) {
        return err_set(e, ERR_INVALID, "%s", _("--unset wants one KEY"));
    }
    if (config_open(&cfg, c->home, e) != 0) {
        return -1;
    }
    if (w->n == 0) {
        list_all(c, cfg, &out);
    } else if (w->n == 2 || o->unset) {
        rc = config_set(cfg, w->v[0], o->unset ? NULL : w->v[1], e);
    }
    if (rc == 0 && (c->g.json ? w->n > 0 : w->n == 1 && !o->unset)) {
        rc = show_one(c, cfg, w->v[0], &out, e);
    }
    if (rc == 0) {
        c->stage = STAGE_TRYING;
        rc = out_write(&out, e);
    }
    buf_free(&out);
    config_free(cfg);
    return rc;
}

const struct command cmd_config = {
    .name = "config",
    .usage = N_("[KEY [VALUE]]"),
    .help = N_("show or change settings"),
    .options = options_config,
    .options_size = sizeof(struct config_options),
    .max_words = 2,
    .word = WORD_KEY,
    .run = run_config,
};
