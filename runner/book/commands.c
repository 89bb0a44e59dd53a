#include "runner/book/commands.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "runner/book/teller.h"

#define AT COMMAND_AT

static const struct opt serve_options[] = {
    COMMAND_HELP,
    {"account", 0, OPT_STR, AT(account), "ID", "as this account only (forced commands)"},
    {"host", 0, OPT_STR, AT(host), "ID", "as this host only (forced commands)"},
    COMMAND_END,
};
static const struct opt host_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ssh-key", 0, OPT_STR, AT(ssh_key), "KEYFILE",
     "the SSH public key that it calls this book with"},
    COMMAND_END,
};
static const struct opt allow_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", "what to call this renter"},
    COMMAND_END,
};
static const struct opt money_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ref", 0, OPT_STR, AT(ref), "ID", "an id of yours; the same one again does nothing"},
    COMMAND_END,
};
static const struct opt voucher_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"ref", 0, OPT_STR, AT(ref), "ID", "its id; the same one again does nothing"},
    {"until", 0, OPT_STR, AT(until), "YYYY-MM-DD", "the last day that it pays on"},
    {"min-spend", 0, OPT_STR, AT(min_spend), "YUAN",
     "only for runs that cost so much at least"},
    COMMAND_END,
};
static const struct opt statement_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"month", 0, OPT_STR, AT(month), "YYYY-MM",
     "only what was posted in that month (Asia/Shanghai)"},
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
    {"serve", "", "answer one renter or host on stdin and stdout", 0, 0, serve_options,
     cmd_serve},
    COMMAND_COMPLETE,
    {"key", "", "the key that owners accept, and renters see", 0, 0, command_json_options,
     book_cmd_key},
    {"allow", "KEYFILE", "let a renter in by its SSH public key", 1, 1, allow_options,
     book_cmd_allow},
    {"accounts", "", "who has money here", 0, 0, command_json_options, book_cmd_accounts},
    {"revoke", "NAME", "close an account: no more grants", 1, 1, command_json_options,
     book_cmd_revoke},
    {"host", "ls | add NAME KEY | rm NAME", "hosts that grants are signed for", 1, 3,
     host_options, book_cmd_host},
    {"fee", "[PERCENT]", "what of each charge is the operator's", 0, 1,
     command_json_options, book_cmd_fee},
    {"deposit", "NAME YUAN", "money that came in for a renter", 2, 2, money_options,
     book_cmd_deposit},
    {"refund", "NAME YUAN", "money that went back to a renter", 2, 2, money_options,
     book_cmd_refund},
    {"voucher", "ls [NAME] | add NAME YUAN", "money of yours that pays for a renter", 1,
     3, voucher_options, book_cmd_voucher},
    {"payout", "HOST YUAN", "money that went out to an owner", 2, 2, money_options,
     book_cmd_payout},
    {"balance", "[NAME]", "what is there, held and free; and due to owners", 0, 1,
     command_json_options, book_cmd_balance},
    {"statement", "[NAME]", "what happened, one line an entry", 0, 1, statement_options,
     book_cmd_statement},
    {"receive", "FILE...", "settle receipts and lines of keeping from files", 1,
     COMMAND_WORDS_MAX, command_json_options, book_cmd_receive},
    {"release", "LEASE", "free what is held for a lease that never began", 1, 1,
     command_json_options, book_cmd_release},
    {"audit", "", "prove that the ledger and the receipts agree", 0, 0,
     command_json_options, book_cmd_audit},
    {"tick", "", "for cron: post keeping that is over", 0, 0, command_json_options,
     book_cmd_tick},
    COMMAND_VERSION,
    COMMAND_OVERVIEW,
    {NULL, NULL, NULL, 0, 0, NULL, NULL},
};

const struct program book_program = {
    .name = "gpurun-book",
    .about = "gpurun-book keeps the money of several renters, signs the grants of their "
             "runs\nand pays the owners of the hosts.",
    .usage_columns = 45,
    .commands = commands,
    .words = book_offer_words,
};
