#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/help.h"
#include "runner/cli/out.h"

static int
no_such_command(const char *name, struct err *e)
{
    const char *near = command_nearest(command_table, name);
    char shown[64];

    (void)text_escape_to(shown, sizeof shown, name);
    if (near != NULL) {
        return err_set(e, ERR_INVALID, _("there is no command '%s', but '%s'"), shown,
                       near);
    }
    return err_set(e, ERR_INVALID,
                   _("there is no command '%s'; `gpurun help` lists them"), shown);
}

static int
run_help(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)options;
    if (w->n == 0) {
        help_overview(&out);
    } else {
        const struct command *parent = NULL;
        const struct command *cmd = command_find(command_table, w->v[0]);

        if (cmd == NULL) {
            return no_such_command(w->v[0], e);
        }
        if (w->n == 2 && cmd->subs != NULL) {
            parent = cmd;
            cmd = command_find(parent->subs, w->v[1]);
            if (cmd == NULL) {
                return command_no_sub(parent, w->v[1], e);
            }
        }
        help_command(&out, parent, cmd);
    }
    c->stage = STAGE_TRYING;
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

const struct command cmd_help = {
    .name = "help",
    .usage = N_("[COMMAND]"),
    .help = N_("say what there is, and what a command takes"),
    .max_words = 2,
    .word = WORD_COMMAND,
    .run = run_help,
};
