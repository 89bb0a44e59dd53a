#ifndef RUNNER_CLI_COMMANDS_H
#define RUNNER_CLI_COMMANDS_H

#include "runner/cli/cli.h"

/* The rows of the command table; each stands in cmd_<name>.c. */
extern const struct command cmd_complete;
extern const struct command cmd_config;
extern const struct command cmd_help;
extern const struct command cmd_host;
extern const struct command cmd_version;

#endif
