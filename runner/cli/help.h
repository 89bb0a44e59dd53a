#ifndef RUNNER_CLI_HELP_H
#define RUNNER_CLI_HELP_H

#include "base/buf.h"
#include "runner/cli/cli.h"

/* Help, all of it from the command table. Appended to out. */
void help_overview(struct buf *out);
/* parent: of a subcommand, else NULL. A command with subcommands lists them. */
void help_command(struct buf *out, const struct command *parent,
                  const struct command *cmd);

#endif
