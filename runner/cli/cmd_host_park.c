#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/hostview.h"
#include "runner/cli/out.h"
#include "runner/cli/parkview.h"
#include "runner/client/hosts.h"
#include "runner/client/session.h"

#define NS_PER_S ((int64_t)1000000000)

int
host_park_parse(const char *command, const char *after, int64_t *after_s, struct err *e)
{
    int64_t ns = PARK_AFTER_S * NS_PER_S;

    if (after != NULL && text_parse_duration(after, &ns, e) != 0) {
        return err_wrap(e, "--park-after");
    }
    if (after != NULL && command == NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--park-after says when a command of --park runs; there is none"));
    }
    if (command != NULL && park_check(command, strlen(command), ns / NS_PER_S, e) != 0) {
        return -1;
    }
    *after_s = ns / NS_PER_S;
    return 0;
}

struct park_options {
    const char *after;
};

static const struct opt options_park[] = {
    {"park-after", 0, OPT_STR, offsetof(struct park_options, after), "DUR",
     N_("after so long with nothing to do (default: 10m)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static void
show(const struct session *s, bool json, struct buf *out)
{
    const struct park *p = &session_info(s)->park;
    const char *host = session_host(s)->name;
    char *text = parkview_text(host, p);

    if (json) {
        struct json_writer j = json_to(out);

        json_obj(&j);
        json_kstr(&j, "id", host);
        json_kstr(&j, "host", host);
        park_json(&j, p);
        json_obj_end(&j);
    } else if (text != NULL) {
        text_escape(out, text, strlen(text));
    } else {
        buf_printf(out, _("%s is not parked by itself"), host);
    }
    buf_add_str(out, "\n");
    free(text);
}

/* Keep what is known of it: `host rm` tells of a parking that goes on. */
static int
change(struct cli *c, struct host *h, struct session *s, const char *command,
       int64_t after_s, struct err *e)
{
    if (session_park(s, command, after_s, e) != 0) {
        return -1;
    }
    c->stage = STAGE_CHANGED;
    hostview_remember(h, session_info(s));
    return h->local ? 0 : hosts_save(c->home, h, false, e);
}

static int
run_park(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct park_options *o = options;
    const char *command = w->n > 1 ? w->v[1] : NULL;
    bool off = command != NULL && strcmp(command, "none") == 0;
    struct session_options so = {.host_key_ask = true};
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct buf out = BUF_INIT;
    struct host h;
    int64_t after_s;
    int rc = -1;

    if (host_park_parse(off ? NULL : command, o->after, &after_s, e) != 0 ||
        hosts_load(c->home, w->v[0], &h, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0 && session_open(&s, &cl, &h, &so, e) == 0 &&
        session_wait_up(s, e) == 0 &&
        (command == NULL || change(c, &h, s, off ? NULL : command, after_s, e) == 0)) {
        show(s, c->g.json, &out);
        rc = out_write(&out, e);
    }
    session_close(s);
    context_close(&cl);
    buf_free(&out);
    host_free(&h);
    return rc;
}

const struct command sub_host_park = {
    .name = "park",
    .usage = N_("NAME [COMMAND|none] [--park-after DUR]"),
    .help = N_("a command that the host runs by itself once no job is left there, as "
               "`shutdown now`"),
    .options = options_park,
    .options_size = sizeof(struct park_options),
    .min_words = 1,
    .max_words = 2,
    .word = WORD_HOST,
    .run = run_park,
};
