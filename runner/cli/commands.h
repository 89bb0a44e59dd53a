#ifndef RUNNER_CLI_COMMANDS_H
#define RUNNER_CLI_COMMANDS_H

#include "runner/cli/cli.h"

/* The rows of the command table; each stands in cmd_<name>.c. */
extern const struct command cmd_attach;
extern const struct command cmd_audit;
extern const struct command cmd_bill;
extern const struct command cmd_complete;
extern const struct command cmd_config;
extern const struct command cmd_cp;
extern const struct command cmd_doctor;
extern const struct command cmd_exec;
extern const struct command cmd_extend;
extern const struct command cmd_fsck;
extern const struct command cmd_gc;
extern const struct command cmd_help;
extern const struct command cmd_host;
extern const struct command cmd_logs;
extern const struct command cmd_plan;
extern const struct command cmd_port;
extern const struct command cmd_ps;
extern const struct command cmd_top;
extern const struct command cmd_reserve;
extern const struct command cmd_resume;
extern const struct command cmd_run;
extern const struct command cmd_snap;
extern const struct command cmd_data;
extern const struct command cmd_stop;
extern const struct command cmd_version;
extern const struct command cmd_wait;
extern const struct command cmd_wallet;

/* Subcommands with a file of their own. */
extern const struct command sub_host_doctor;
extern const struct command sub_host_park;
/* Check what --park and --park-after say; command NULL: it was not given. */
int host_park_parse(const char *command, const char *after, int64_t *after_s,
                    struct err *e) MUST_USE;
extern const struct command sub_snap_diff;
extern const struct command sub_snap_export;
extern const struct command sub_snap_import;
extern const struct command sub_snap_keep;
extern const struct command sub_snap_mirror;
extern const struct command sub_snap_rm;
extern const struct command sub_snap_take;
extern const struct command sub_snap_verify;

#endif
