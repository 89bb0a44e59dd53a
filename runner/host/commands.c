#include "runner/host/commands.h"
#include "runner/host/errands.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "meter/refuse.h"
#include "runner/host/errands.h"
#include "runner/host/loginenv.h"
#include "runner/host/notices.h"
#include "runner/host/owner_json.h"
#include "runner/host/park.h"
#include "runner/host/recover.h"
#include "runner/host/serve.h"
#include "runner/host/supervise.h"
#include "runner/host/upkeep.h"

#define AT COMMAND_AT

static const struct opt serve_options[] = {
    COMMAND_HELP,
    {"renter", 0, OPT_STR, AT(renter), "ID", N_("as this renter only (forced commands)")},
    COMMAND_END,
};

static const struct opt allow_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", N_("what to call this renter")},
    {"until", 0, OPT_STR, AT(until), "T",
     N_("a date, a time, or how long from now (30d)")},
    {"max-cost", 0, OPT_STR, AT(max_cost), "YUAN",
     N_("what all its jobs may cost together")},
    COMMAND_END,
};
static const struct opt price_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"refund-fee", 0, OPT_STR, AT(refund_fee), "PERCENT",
     N_("with set TYPE/day: what giving a used reservation back costs")},
    COMMAND_END,
};
static const struct opt member_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"from", 0, OPT_STR, AT(from), "T",
     N_("from then on: a date, a time, or how long from now")},
    {"to", 0, OPT_STR, AT(to), "T", N_("until then")},
    COMMAND_END,
};
static const struct opt book_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", N_("with allow: what to call the book")},
    COMMAND_END,
};
static const struct opt quota_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"job", 0, OPT_STR, AT(job), "BYTES", N_("and each of its jobs in its directory")},
    COMMAND_END,
};
static const struct opt jobs_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"all", 'a', OPT_FLAG, AT(all), NULL, N_("also those that have ended")},
    COMMAND_END,
};
static const struct opt earnings_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"csv", 0, OPT_FLAG, AT(csv), NULL, N_("for a spreadsheet")},
    COMMAND_END,
};
static const struct opt audit_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"month", 0, OPT_STR, AT(month), "YYYY-MM", N_("only that month (Asia/Shanghai)")},
    COMMAND_END,
};
static const struct opt gc_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"dry-run", 'n', OPT_FLAG, AT(dry_run), NULL,
     N_("say what would be done, change nothing")},
    COMMAND_END,
};
static const struct opt reservation_options[] = {
    COMMAND_HELP,
    COMMAND_JSON,
    {"dry-run", 'n', OPT_FLAG, AT(dry_run), NULL,
     N_("with break: say what would go back, change nothing")},
    COMMAND_END,
};
static const struct opt install_options[] = {
    COMMAND_HELP,
    {"sha256", 0, OPT_STR, AT(sha256), "HEX", N_("what this program must be")},
    COMMAND_END,
};

static int
owner_serve(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    (void)argv;
    (void)e;
    return serve_main(o->renter);
}

static int
owner_supervise(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)e;
    return supervise_main(argv[0], argv[1]);
}

static int
owner_recover(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)e;
    return recover_main(argv[0], argv[1]);
}

static int
owner_upkeep(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)e;
    return upkeep_main(argv[0]);
}

static int
owner_notices(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)e;
    return notices_main(argv[0]);
}

static int
owner_errands(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)e;
    return errands_main(argc > 0 ? argv[0] : NULL);
}

static int
owner_park_timer(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)argv;
    (void)e;
    return park_timer_main();
}

static int
owner_print_env(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)argv;
    (void)e;
    return loginenv_print() == 0 ? 0 : 1;
}

static const struct command commands[] = {
    {"serve", "", N_("answer one client on stdin and stdout"), 0, 0, serve_options,
     owner_serve},
    {"supervise", "RENTER JOB", NULL, 2, 2, NULL, owner_supervise},
    {"recover", "RENTER JOB", NULL, 2, 2, NULL, owner_recover},
    {"upkeep", "RENTER", NULL, 1, 1, NULL, owner_upkeep},
    {"notices", "RENTER", NULL, 1, 1, NULL, owner_notices},
    {"errands", "[BOOK]", NULL, 0, 1, NULL, owner_errands},
    {"print-env", "", NULL, 0, 0, NULL, owner_print_env},
    {"park-timer", "", NULL, 0, 0, NULL, owner_park_timer},
    {"install-self", "", NULL, 0, 0, install_options, owner_install_self},
    COMMAND_COMPLETE,
    {"price", "ls | set TYPE=YUAN... | rm TYPE...",
     N_("what is asked for what is here, by the hour and in front"), 1, COMMAND_WORDS_MAX,
     price_options, owner_price},
    {"allow", "KEYFILE", N_("let a renter in by its SSH public key"), 1, 1, allow_options,
     owner_allow},
    {"renters", "", N_("who may use this host"), 0, 0, command_json_options,
     owner_renters},
    {"revoke", "NAME", N_("let a renter in no more"), 1, 1, command_json_options,
     owner_revoke},
    {"member", "ls | level NAME=PERCENT | set RENTER LEVEL | rm RENTER",
     N_("who pays less, by how much and for how long"), 1, 3, member_options,
     owner_member},
    {"book",
     "ls | allow KEYFILE | rm NAME | own yes|no | reach NAME HOST | retry NAME | tell",
     N_("whose promises to pay are taken, and telling them"), 1, 3, book_options,
     owner_book},
    {"reservation", "ls | break ID",
     N_("what was paid in front, and taking it back with what is due"), 1, 2,
     reservation_options, owner_reservation},
    {"quota", "[RENTER [BYTES|none]]", N_("how much a renter keeps here, and may"), 0, 2,
     quota_options, owner_quota},
    {"status", "", N_("this host at a glance"), 0, 0, command_json_options, owner_status},
    {"jobs", "", N_("what runs here now"), 0, 0, jobs_options, owner_jobs},
    {"devices", "", N_("what there is, and what is free"), 0, 0, command_json_options,
     owner_devices},
    {"earnings", "", N_("what ended jobs brought in"), 0, 0, earnings_options,
     owner_earnings},
    {"audit", "", N_("where every second of every device and every fen went"), 0, 0,
     audit_options, owner_audit},
    {"doctor", "", N_("check this host; exit status 1 if something is to be looked at"),
     0, 0, command_json_options, owner_doctor},
    {"gc", "", N_("drop what has expired and free its space"), 0, 0, gc_options,
     owner_gc},
    {"fsck", "", N_("check every byte that is kept, mend what can be"), 0, 0,
     command_json_options, owner_fsck},
    {"tick", "", N_("for cron: lost jobs, expiry, gc, and what books are to hear"), 0, 0,
     command_json_options, owner_tick},
    COMMAND_VERSION,
    COMMAND_OVERVIEW,
    {NULL, NULL, NULL, 0, 0, NULL, NULL},
};

/* n: the words between the command and the one that is being typed. */
static void
offer_words(const struct command *c, int n, char **words, const char *typed)
{
    (void)words;
    if (strcmp(c->name, "price") == 0 && n == 0) {
        program_offer("ls", "the rate card", typed);
        program_offer("set", "ask a price: TYPE=YUAN", typed);
        program_offer("rm", "offer it no more", typed);
    } else if (strcmp(c->name, "book") == 0 && n == 0) {
        program_offer("ls", "the books whose grants are taken", typed);
        program_offer("allow", "take the grants of one", typed);
        program_offer("rm", "take them no more", typed);
        program_offer("own", "whether renters' own budgets are taken", typed);
        program_offer("reach", "how one is reached from here", typed);
        program_offer("retry", "bring once more what one has refused", typed);
        program_offer("tell", "tell them what they have not heard yet", typed);
    } else if (strcmp(c->name, "reservation") == 0 && n == 0) {
        program_offer("ls", "what was paid in front", typed);
        program_offer("break", "take it back: the rest is refunded", typed);
    } else if (strcmp(c->name, "allow") == 0) {
        program_offer_files();
    }
}

const struct program commands_program = {
    .name = "gpurun-agent",
    .about =
        N_("gpurun-agent runs jobs on this host for gpurun, and is what its owner uses."),
    .usage_columns = 47,
    .commands = commands,
    .told_len = refuse_words_len,
    .words = offer_words,
};
