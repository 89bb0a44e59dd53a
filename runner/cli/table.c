#include "runner/cli/commands.h"

/* In the order of `gpurun help`. */
const struct command *const command_table[] = {
    &cmd_config,
    &cmd_help,
    &cmd_version,
    NULL,
};
