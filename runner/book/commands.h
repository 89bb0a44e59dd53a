#ifndef RUNNER_BOOK_COMMANDS_H
#define RUNNER_BOOK_COMMANDS_H

#include "base/command.h"
#include "base/err.h"
#include "runner/book/book.h"

/* The commands of gpurun-book (base/command.h). */
extern const struct program book_program;

int book_cmd_key(const struct command_options *o, int argc, char **argv, struct err *e);
int book_cmd_allow(const struct command_options *o, int argc, char **argv, struct err *e);
int book_cmd_revoke(const struct command_options *o, int argc, char **argv,
                    struct err *e);
int book_cmd_accounts(const struct command_options *o, int argc, char **argv,
                      struct err *e);
int book_cmd_host(const struct command_options *o, int argc, char **argv, struct err *e);
int book_cmd_fee(const struct command_options *o, int argc, char **argv, struct err *e);
int book_cmd_deposit(const struct command_options *o, int argc, char **argv,
                     struct err *e);
int book_cmd_refund(const struct command_options *o, int argc, char **argv,
                    struct err *e);
int book_cmd_payout(const struct command_options *o, int argc, char **argv,
                    struct err *e);
int book_cmd_voucher(const struct command_options *o, int argc, char **argv,
                     struct err *e);
int book_cmd_balance(const struct command_options *o, int argc, char **argv,
                     struct err *e);
int book_cmd_statement(const struct command_options *o, int argc, char **argv,
                       struct err *e);
int book_cmd_receive(const struct command_options *o, int argc, char **argv,
                     struct err *e);
int book_cmd_release(const struct command_options *o, int argc, char **argv,
                     struct err *e);
int book_cmd_audit(const struct command_options *o, int argc, char **argv, struct err *e);
int book_cmd_tick(const struct command_options *o, int argc, char **argv, struct err *e);
/* Offer what may stand behind c. */
void book_offer_words(const struct command *c, int n, char **words, const char *typed);

#endif
