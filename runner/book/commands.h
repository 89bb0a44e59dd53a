#ifndef RUNNER_BOOK_COMMANDS_H
#define RUNNER_BOOK_COMMANDS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/opt.h"
#include "runner/book/book.h"

/*
 * The commands of gpurun-book. One table drives dispatch, help, completion and the check
 * that the manual names everything; all commands share one struct of options.
 */
struct book_options {
    bool help;
    bool json;
    const char *account;
    const char *name;
    const char *ref;
    const char *month;
};

struct book_command {
    const char *name;
    const char *args; /* "KEYFILE", or "" */
    const char *help; /* one line; NULL: not for people */
    int min_args, max_args;
    const struct opt *options;
    /* Returns the exit status; -1 with *e filled means 1 and the message. */
    int (*run)(const struct book_options *o, int argc, char **argv, struct err *e);
};

extern const struct book_command book_commands[]; /* ended by a row with name NULL */

int book_commands_run(int argc, char **argv);

int book_cmd_key(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_allow(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_revoke(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_accounts(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_host(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_fee(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_deposit(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_refund(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_payout(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_balance(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_statement(const struct book_options *o, int argc, char **argv,
                       struct err *e);
int book_cmd_receive(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_release(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_audit(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_tick(const struct book_options *o, int argc, char **argv, struct err *e);
int book_cmd_complete(const struct book_options *o, int argc, char **argv, struct err *e);

/* Print what was written as one line of JSON, and free it. */
int book_print_json(struct buf *b, struct err *e) MUST_USE;

#endif
