#include "runner/book/commands.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "meter/refuse.h"
#include "runner/book/teller.h"

#define AT COMMAND_AT

static const struct opt serve_options[] = {
    COMMAND_HELP,
    {"account", 0, OPT_STR, AT(account), "ID",
     N_("as this account only (forced commands)")},
    {"host", 0, OPT_STR, AT(host), "ID", N_("as this host only (forced commands)")},
    COMMAND_END,
};
static const struct opt host_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ssh-key", 0, OPT_STR, AT(ssh_key), "KEYFILE",
     N_("the SSH public key that it calls this book with")},
    COMMAND_END,
};
static const struct opt allow_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", N_("what to call this renter")},
    COMMAND_END,
};
static const struct opt money_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ref", 0, OPT_STR, AT(ref), "ID",
     N_("an id of yours; the same one again does nothing")},
    COMMAND_END,
};
static const struct opt voucher_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ref", 0, OPT_STR, AT(ref), "ID", N_("its id; the same one again does nothing")},
    {"until", 0, OPT_STR, AT(until), "YYYY-MM-DD", N_("the last day that it pays on")},
    {"min-spend", 0, OPT_STR, AT(min_spend), "YUAN",
     N_("only for runs that cost so much at least")},
    COMMAND_END,
};
static const struct opt statement_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"month", 0, OPT_STR, AT(month), "YYYY-MM",
     N_("only what was posted in that month (Asia/Shanghai)")},
    COMMAND_END,
};

static int
cmd_serve(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    (void)argv;
    (void)e;
    return teller_main(o->account, o->host);
}

static const struct command commands[] = {
    {"serve", "", N_("answer one renter or host on stdin and stdout"), 0, 0,
     serve_options, cmd_serve},
    COMMAND_COMPLETE,
    {"key", "", N_("the key that owners accept, and renters see"), 0, 0,
     command_json_options, book_cmd_key},
    {"allow", "KEYFILE", N_("let a renter in by its SSH public key"), 1, 1, allow_options,
     book_cmd_allow},
    {"accounts", "", N_("who has money here"), 0, 0, command_json_options,
     book_cmd_accounts},
    {"revoke", "NAME", N_("close an account: no more grants"), 1, 1, command_json_options,
     book_cmd_revoke},
    {"host", "ls | add NAME KEY | rm NAME", N_("hosts that grants are signed for"), 1, 3,
     host_options, book_cmd_host},
    {"fee", "[PERCENT]", N_("what of each charge is the operator's"), 0, 1,
     command_json_options, book_cmd_fee},
    {"deposit", "NAME YUAN", N_("money that came in for a renter"), 2, 2, money_options,
     book_cmd_deposit},
    {"refund", "NAME YUAN", N_("money that went back to a renter"), 2, 2, money_options,
     book_cmd_refund},
    {"voucher", "ls [NAME] | add NAME YUAN", N_("money of yours that pays for a renter"),
     1, 3, voucher_options, book_cmd_voucher},
    {"payout", "HOST YUAN", N_("money that went out to an owner"), 2, 2, money_options,
     book_cmd_payout},
    {"balance", "[NAME]", N_("what is there, held and free; and due to owners"), 0, 1,
     command_json_options, book_cmd_balance},
    {"statement", "[NAME]", N_("what happened, one line an entry"), 0, 1,
     statement_options, book_cmd_statement},
    {"receive", "FILE...", N_("settle receipts and lines of keeping from files"), 1,
     COMMAND_WORDS_MAX, command_json_options, book_cmd_receive},
    {"release", "LEASE", N_("free what is held for a lease that never began"), 1, 1,
     command_json_options, book_cmd_release},
    {"audit", "", N_("prove that the ledger and the receipts agree"), 0, 0,
     command_json_options, book_cmd_audit},
    {"tick", "", N_("for cron: post keeping that is over"), 0, 0, command_json_options,
     book_cmd_tick},
    COMMAND_VERSION,
    COMMAND_OVERVIEW,
    {NULL, NULL, NULL, 0, 0, NULL, NULL},
};

const struct program book_program = {
    .name = "gpurun-book",
    .about =
        N_("gpurun-book keeps the money of several renters, signs the grants of their "
           "runs\nand pays the owners of the hosts."),
    .usage_columns = 45,
    .commands = commands,
    .told_len = refuse_words_len,
    .words = book_offer_words,
};
