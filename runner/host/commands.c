#include "runner/host/commands.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "runner/host/loginenv.h"
#include "runner/host/owner_json.h"
#include "runner/host/recover.h"
#include "runner/host/serve.h"
#include "runner/host/supervise.h"
#include "runner/host/upkeep.h"

#define WORDS_MAX 1000
#define AT(field) offsetof(struct command_options, field)

#define HELP                                                                             \
    {                                                                                    \
        "help", 'h', OPT_FLAG, AT(help), NULL, "say what this takes"                     \
    }
#define JSON                                                                             \
    {                                                                                    \
        "json", 0, OPT_FLAG, AT(json), NULL, "results and errors as JSON"                \
    }
#define END                                                                              \
    {                                                                                    \
        NULL, 0, OPT_NONE, 0, NULL, NULL                                                 \
    }

static const struct opt no_options[] = {HELP, END};
static const struct opt json_options[] = {HELP, JSON, END};
static const struct opt serve_options[] = {
    HELP,
    {"renter", 0, OPT_STR, AT(renter), "ID", "as this renter only (forced commands)"},
    END,
};

static const struct opt allow_options[] = {
    HELP,
    JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", "what to call this renter"},
    {"until", 0, OPT_STR, AT(until), "T", "a date, a time, or how long from now (30d)"},
    {"max-cost", 0, OPT_STR, AT(max_cost), "YUAN", "what all its jobs may cost together"},
    END,
};
static const struct opt member_options[] = {
    {"help", 'h', OPT_FLAG, AT(help), NULL, "say what this does"},
    {"json", 0, OPT_FLAG, AT(json), NULL, "print results and errors as JSON"},
    {"from", 0, OPT_STR, AT(from), "T",
     "from then on: a date, a time, or how long from now"},
    {"to", 0, OPT_STR, AT(to), "T", "until then"},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};
static const struct opt book_options[] = {
    HELP,
    JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", "with allow: what to call the book"},
    END,
};
static const struct opt quota_options[] = {
    HELP,
    JSON,
    {"job", 0, OPT_STR, AT(job), "BYTES", "and each of its jobs in its directory"},
    END,
};
static const struct opt jobs_options[] = {
    HELP,
    JSON,
    {"all", 'a', OPT_FLAG, AT(all), NULL, "also those that have ended"},
    END,
};
static const struct opt earnings_options[] = {
    HELP,
    JSON,
    {"csv", 0, OPT_FLAG, AT(csv), NULL, "for a spreadsheet"},
    END,
};
static const struct opt audit_options[] = {
    HELP,
    JSON,
    {"month", 0, OPT_STR, AT(month), "YYYY-MM", "only that month (Asia/Shanghai)"},
    END,
};
static const struct opt gc_options[] = {
    HELP,
    JSON,
    {"dry-run", 'n', OPT_FLAG, AT(dry_run), NULL,
     "say what would be done, change nothing"},
    END,
};
static const struct opt install_options[] = {
    HELP,
    {"sha256", 0, OPT_STR, AT(sha256), "HEX", "what this program must be"},
    END,
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
owner_print_env(const struct command_options *o, int argc, char **argv, struct err *e)
{
    (void)o;
    (void)argc;
    (void)argv;
    (void)e;
    return loginenv_print() == 0 ? 0 : 1;
}

static int
owner_version(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    (void)argc;
    (void)argv;
    if (o->json) {
        json_obj(&j);
        json_kstr(&j, "version", GPURUN_VERSION);
        json_obj_end(&j);
        return owner_json_print(&b, e);
    }
    (void)printf("gpurun-agent %s\n", GPURUN_VERSION);
    return 0;
}

static int owner_help(const struct command_options *o, int argc, char **argv,
                      struct err *e);

const struct command commands_table[] = {
    {"serve", "", "answer one client on stdin and stdout", 0, 0, serve_options,
     owner_serve},
    {"supervise", "RENTER JOB", NULL, 2, 2, no_options, owner_supervise},
    {"recover", "RENTER JOB", NULL, 2, 2, no_options, owner_recover},
    {"upkeep", "RENTER", NULL, 1, 1, no_options, owner_upkeep},
    {"print-env", "", NULL, 0, 0, no_options, owner_print_env},
    {"install-self", "", NULL, 0, 0, install_options, owner_install_self},
    {"__complete", "-- WORD...", NULL, 1, WORDS_MAX, no_options, owner_complete},
    {"price", "ls | set TYPE=YUAN... | rm TYPE...", "what is asked for what is here", 1,
     WORDS_MAX, json_options, owner_price},
    {"allow", "KEYFILE", "let a renter in by its SSH public key", 1, 1, allow_options,
     owner_allow},
    {"renters", "", "who may use this host", 0, 0, json_options, owner_renters},
    {"revoke", "NAME", "let a renter in no more", 1, 1, json_options, owner_revoke},
    {"member", "ls | level NAME=PERCENT | set RENTER LEVEL | rm RENTER",
     "who pays less, by how much and for how long", 1, 3, member_options, owner_member},
    {"book", "ls | allow KEYFILE | rm NAME | own yes|no",
     "whose promises to pay are taken", 1, 2, book_options, owner_book},
    {"quota", "[RENTER [BYTES|none]]", "how much a renter keeps here, and may", 0, 2,
     quota_options, owner_quota},
    {"status", "", "this host at a glance", 0, 0, json_options, owner_status},
    {"jobs", "", "what runs here now", 0, 0, jobs_options, owner_jobs},
    {"devices", "", "what there is, and what is free", 0, 0, json_options, owner_devices},
    {"earnings", "", "what ended jobs brought in", 0, 0, earnings_options,
     owner_earnings},
    {"audit", "", "where every second of every device and every fen went", 0, 0,
     audit_options, owner_audit},
    {"doctor", "", "check this host; exit status 1 if something is to be looked at", 0, 0,
     json_options, owner_doctor},
    {"gc", "", "drop what has expired and free its space", 0, 0, gc_options, owner_gc},
    {"fsck", "", "check every byte that is kept, mend what can be", 0, 0, json_options,
     owner_fsck},
    {"tick", "", "for cron: lost jobs, expiry and gc", 0, 0, json_options, owner_tick},
    {"version", "", "say which version this is", 0, 0, json_options, owner_version},
    {"help", "[COMMAND]", "say what there is, and what a command takes", 0, 1, no_options,
     owner_help},
    {NULL, NULL, NULL, 0, 0, NULL, NULL},
};

#define USAGE_COLUMNS 47

void
commands_help(void)
{
    (void)printf("gpurun-agent runs jobs on this host for gpurun, and is what its owner "
                 "uses.\n\n");
    for (const struct command *c = commands_table; c->name != NULL; c++) {
        char *usage = xasprintf("%s %s", c->name, c->args);

        if (c->help != NULL) {
            (void)printf("  %-*s %s\n", USAGE_COLUMNS, usage, c->help);
        }
        free(usage);
    }
    (void)printf("\n`gpurun-agent COMMAND --help` says more; so does gpurun-agent(8).\n");
}

static void
help_of(const struct command *c)
{
    (void)printf("usage: gpurun-agent %s %s\n\n%s\n\nOptions:\n", c->name, c->args,
                 c->help == NULL ? "not for people: gpurun starts it" : c->help);
    for (const struct opt *o = c->options; o->name != NULL; o++) {
        char *left = xasprintf("--%s%s%s", o->name, o->value == NULL ? "" : " ",
                               o->value == NULL ? "" : o->value);

        (void)printf("  %c%c%s %-16s %s\n", o->short_name != 0 ? '-' : ' ',
                     o->short_name != 0 ? o->short_name : ' ',
                     o->short_name != 0 ? "," : " ", left, o->help);
        free(left);
    }
}

static const struct command *
find(const char *name)
{
    for (const struct command *c = commands_table; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static int
no_command(const char *name, struct err *e)
{
    char shown[64];

    return err_set(e, ERR_INVALID, "there is no command '%s' (see `gpurun-agent help`)",
                   text_escape_to(shown, sizeof shown, name));
}

static int
owner_help(const struct command_options *o, int argc, char **argv, struct err *e)
{
    const struct command *c = argc > 0 ? find(argv[0]) : NULL;

    (void)o;
    if (argc == 0) {
        commands_help();
        return 0;
    }
    if (c == NULL) {
        return no_command(argv[0], e);
    }
    help_of(c);
    return 0;
}

#define EXIT_USAGE 2

int
commands_run(int argc, char **argv)
{
    struct command_options o = {0};
    const struct command *c;
    struct err e = {0};
    bool dashes = false;
    int n = 0;
    int rc;

    if (argc < 1) {
        commands_help();
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "--help") == 0) {
        argv[0] += 2;
    }
    c = find(argv[0]);
    if (c == NULL) {
        (void)no_command(argv[0], &e);
        (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
        return EXIT_USAGE;
    }
    if (opt_parse(c->options, &o, argc - 1, argv + 1, false, &n, &dashes, &e) != 0) {
        (void)fprintf(stderr, "gpurun-agent %s: %s\n", c->name, e.msg);
        return EXIT_USAGE;
    }
    if (o.help) {
        help_of(c);
        return 0;
    }
    if (n < c->min_args || n > c->max_args) {
        (void)fprintf(stderr, "gpurun-agent %s: usage: gpurun-agent %s %s\n", c->name,
                      c->name, c->args);
        return EXIT_USAGE;
    }
    rc = c->run(&o, n, argv + 1, &e);
    if (rc == -1) {
        if (o.json) {
            owner_json_error(&e);
        } else {
            (void)fprintf(stderr, "gpurun-agent %s: %s\n", c->name, e.msg);
        }
        return 1;
    }
    return rc;
}
