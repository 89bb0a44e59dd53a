#ifndef RUNNER_HOST_COMMANDS_H
#define RUNNER_HOST_COMMANDS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"
#include "runner/host/agent.h"

/*
 * The commands of gpurun-agent. One table drives dispatch, help and the check that the
 * manual names everything. Options are parsed into struct command_options, which
 * is the same for all: few commands have any.
 */
struct command_options {
    bool help;
    bool json; /* runner/host/owner_json.h */
    bool csv;
    bool all;
    bool dry_run;
    const char *renter;
    const char *name;
    const char *until;
    const char *from;
    const char *to;
    const char *max_cost;
    const char *job;
    const char *sha256;
    const char *month;
};

struct command {
    const char *name;
    const char *args; /* "KEYFILE", or "" */
    const char *help; /* one line; NULL: not for people */
    int min_args, max_args;
    const struct opt *options;
    /* Returns the exit status; -1 with *e filled means 1 and the message. */
    int (*run)(const struct command_options *o, int argc, char **argv, struct err *e);
};

extern const struct command commands_table[]; /* ended by a row with name NULL */

int commands_run(int argc, char **argv);

/* For people: every command with its options, as help prints them. */
void commands_help(void);

int owner_allow(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_renters(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_revoke(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_price(const struct command_options *o, int argc, char **argv, struct err *e);
int owner_book(const struct command_options *o, int argc, char **argv, struct err *e);
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
/* For the shells: argv is what stands behind the program's name, the last word
 * unfinished. */
int owner_complete(const struct command_options *o, int argc, char **argv, struct err *e);
/* The renter of that name or id. ERR_NOT_FOUND. */
int owner_find_renter(const struct agent *a, const char *what, struct renter **out,
                      struct err *e) MUST_USE;
int owner_install_self(const struct command_options *o, int argc, char **argv,
                       struct err *e);

#endif
