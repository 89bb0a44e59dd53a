#ifndef RUNNER_HOST_COMMANDS_H
#define RUNNER_HOST_COMMANDS_H

#include "base/attr.h"
#include "base/command.h"
#include "base/err.h"
#include "runner/host/agent.h"

/* The commands of gpurun-agent (base/command.h), as its owner and gpurun itself give
 * them. */
extern const struct program commands_program;

int owner_allow(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_renters(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_revoke(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_price(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_book(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_reservation(const struct command_options *o, int argc, char **argv,
                      struct err *e);
int owner_quota(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_member(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_status(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_jobs(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_devices(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_earnings(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_audit(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_doctor(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_gc(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_fsck(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_tick(const struct command_options *o, int argc, char **argv, struct err *e);
/* The renter of that name or id. ERR_NOT_FOUND. */
int owner_find_renter(const struct agent *a, const char *what, struct renter **out,
                      struct err *e) MUST_USE;
int owner_install_self(const struct command_options *o, int argc, char **argv,
                       struct err *e);

#endif
