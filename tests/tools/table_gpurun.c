/*
 * table_gpurun     print gpurun's command table for those who check that it is told right
 *
 * One row per line, fields parted by tabs:
 *   usage COMMAND WORDS              "snap get", "SNAPSHOT [PATH] [-o DIR]"
 *   option COMMAND SHORT LONG VALUE  "-" for what it has not; COMMAND "*" is every one
 *   key NAME DEFAULT                 of `gpurun config`
 */
#include <stdio.h>

#include "runner/cli/cli.h"
#include "runner/client/config.h"

static void
print_options(const char *parent, const char *gap, const char *name,
              const struct opt *table)
{
    for (const struct opt *o = table; o != NULL && o->name != NULL; o++) {
        (void)printf("option\t%s%s%s\t%c\t%s\t%s\n", parent, gap, name,
                     o->short_name != 0 ? o->short_name : '-', o->name,
                     o->value != NULL ? o->value : "-");
    }
}

static void
print_command(const char *parent, const struct command *cmd)
{
    const char *gap = parent[0] != '\0' ? " " : "";

    for (const struct command *const *s = cmd->subs; s != NULL && *s != NULL; s++) {
        print_command(cmd->name, *s);
    }
    if (cmd->subs != NULL || cmd->hidden) {
        return;
    }
    (void)printf("usage\t%s%s%s\t%s\n", parent, gap, cmd->name,
                 cmd->usage != NULL ? cmd->usage : "");
    print_options(parent, gap, cmd->name, cmd->options);
}

int
main(void)
{
    for (const struct command *const *c = command_table; *c != NULL; c++) {
        print_command("", *c);
    }
    print_options("", "", "*", global_options);
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        (void)printf("key\t%s\t%s\n", k->name, k->dflt);
    }
    return 0;
}
