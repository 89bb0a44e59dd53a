#include "runner/cli/commands.h"

/* In the order of `gpurun help`. */
const struct command *const command_table[] = {
    &cmd_run,   &cmd_plan,    &cmd_ps,       &cmd_top,  &cmd_logs,   &cmd_attach,
    &cmd_wait,  &cmd_stop,    &cmd_extend,   &cmd_exec, &cmd_resume, &cmd_cp,
    &cmd_port,  &cmd_snap,    &cmd_data,     &cmd_bill, &cmd_wallet, &cmd_reserve,
    &cmd_audit, &cmd_host,    &cmd_config,   &cmd_gc,   &cmd_fsck,   &cmd_doctor,
    &cmd_help,  &cmd_version, &cmd_complete, NULL,
};
