#include "runner/cli/help.h"

#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"

#define HELP_COLUMNS 88
#define COLUMN_MAX   30 /* wider left columns put their text on the next line */

static void
two_columns(struct buf *out, const char *left, const char *right, int column)
{
    int width = text_width(left);

    buf_printf(out, "  %s", left);
    if (width + 4 > column) {
        buf_add_str(out, "\n");
        width = -2;
    }
    for (int at = width + 2; at < column; at++) {
        buf_add_str(out, " ");
    }
    out_fold(out, right, HELP_COLUMNS, column);
    buf_add_str(out, "\n");
}

static void
option_label(const struct opt *o, struct buf *out)
{
    if (o->short_name != 0) {
        buf_printf(out, "-%c, ", o->short_name);
    } else {
        buf_add_str(out, "    ");
    }
    buf_printf(out, "--%s", o->name);
    if (o->kind != OPT_FLAG) {
        buf_printf(out, " %s", o->value);
    }
}

static void
list_options(struct buf *out, const struct opt *table)
{
    int column = 0;

    for (const struct opt *o = table; o->name != NULL; o++) {
        struct buf label = BUF_INIT;
        int width;

        option_label(o, &label);
        width = text_width(buf_str(&label)) + 4;
        column = width > column ? width : column;
        buf_free(&label);
    }
    column = column > COLUMN_MAX ? COLUMN_MAX : column;
    for (const struct opt *o = table; o->name != NULL; o++) {
        struct buf label = BUF_INIT;

        option_label(o, &label);
        two_columns(out, buf_str(&label), _(o->help), column);
        buf_free(&label);
    }
}

static void
list_commands(struct buf *out, const struct command *const *table)
{
    for (; *table != NULL; table++) {
        if (!(*table)->hidden) {
            two_columns(out, (*table)->name, _((*table)->help), 12);
        }
    }
}

void
help_overview(struct buf *out)
{
    buf_add_str(out,
                _("gpurun runs a script on a leased GPU as if it ran here, and bills "
                  "the seconds it ran.\n\n"));
    buf_add_str(out, _("  gpurun [OPTIONS] SCRIPT [ARG...]     run an unchanged script\n"
                       "  gpurun [OPTIONS] -- COMMAND...       run a command\n"
                       "  gpurun COMMAND ...\n\n"));
    buf_add_str(out, _("Commands:\n"));
    list_commands(out, command_table);
    buf_add_str(out, _("\nBefore or after a command:\n"));
    list_options(out, global_options);
    buf_add_str(out, _("\n`gpurun COMMAND --help` says more; so does gpurun(1).\n"));
}

static void
usage_line(struct buf *out, const struct command *parent, const struct command *cmd)
{
    buf_printf(out, "gpurun %s%s%s", parent != NULL ? parent->name : "",
               parent != NULL ? " " : "", cmd->name);
    if (cmd->usage != NULL) {
        buf_printf(out, " %s", _(cmd->usage));
    }
}

void
help_command(struct buf *out, const struct command *parent, const struct command *cmd)
{
    if (cmd->subs == NULL) {
        usage_line(out, parent, cmd);
        buf_add_str(out, "\n\n");
    }
    for (const struct command *const *s = cmd->subs; s != NULL && *s != NULL; s++) {
        usage_line(out, cmd, *s);
        buf_add_str(out, "\n");
        buf_add_str(out, "    ");
        out_fold(out, _((*s)->help), HELP_COLUMNS, 4);
        buf_add_str(out, "\n");
    }
    if (cmd->subs == NULL) {
        out_fold(out, _(cmd->help), HELP_COLUMNS, 0);
        buf_add_str(out, "\n");
    }
    if (cmd->about != NULL) {
        buf_add_str(out, "\n");
        out_fold(out, _(cmd->about), HELP_COLUMNS, 0);
        buf_add_str(out, "\n");
    }
    if (cmd->options != NULL) {
        buf_add_str(out, _("\nOptions:\n"));
        list_options(out, cmd->options);
    }
    buf_add_str(out, _("\nEverywhere:\n"));
    list_options(out, global_options);
}
