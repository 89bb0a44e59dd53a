#include "runner/book/commands.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "runner/book/teller.h"

#define WORDS_MAX     1000
#define AT(field)     offsetof(struct book_options, field)
#define EXIT_USAGE    2
#define USAGE_COLUMNS 45

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
    {"account", 0, OPT_STR, AT(account), "ID", "as this account only (forced commands)"},
    END,
};
static const struct opt allow_options[] = {
    HELP,
    JSON,
    {"name", 0, OPT_STR, AT(name), "NAME", "what to call this renter"},
    END,
};
static const struct opt money_options[] = {
    HELP,
    JSON,
    {"ref", 0, OPT_STR, AT(ref), "ID", "an id of yours; the same one again does nothing"},
    END,
};
static const struct opt statement_options[] = {
    HELP,
    JSON,
    {"month", 0, OPT_STR, AT(month), "YYYY-MM", "only that month (Asia/Shanghai)"},
    END,
};

static int
cmd_serve(const struct book_options *o, int argc, char **argv, struct err *e)
{
    (void)argc;
    (void)argv;
    (void)e;
    return teller_main(o->account);
}

static int
cmd_version(const struct book_options *o, int argc, char **argv, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    (void)argc;
    (void)argv;
    if (o->json) {
        json_obj(&j);
        json_kstr(&j, "version", GPURUN_VERSION);
        json_obj_end(&j);
        return book_print_json(&b, e);
    }
    (void)printf("gpurun-book %s\n", GPURUN_VERSION);
    return 0;
}

static int cmd_help(const struct book_options *o, int argc, char **argv, struct err *e);

const struct book_command book_commands[] = {
    {"serve", "", "answer one renter or host on stdin and stdout", 0, 0, serve_options,
     cmd_serve},
    {"__complete", "-- WORD...", NULL, 1, WORDS_MAX, no_options, book_cmd_complete},
    {"key", "", "the key that owners accept, and renters see", 0, 0, json_options,
     book_cmd_key},
    {"allow", "KEYFILE", "let a renter in by its SSH public key", 1, 1, allow_options,
     book_cmd_allow},
    {"accounts", "", "who has money here", 0, 0, json_options, book_cmd_accounts},
    {"revoke", "NAME", "close an account: no more grants", 1, 1, json_options,
     book_cmd_revoke},
    {"host", "ls | add NAME KEY | rm NAME", "hosts that grants are signed for", 1, 3,
     json_options, book_cmd_host},
    {"fee", "[PERCENT]", "what of each charge is the operator's", 0, 1, json_options,
     book_cmd_fee},
    {"deposit", "NAME YUAN", "money that came in for a renter", 2, 2, money_options,
     book_cmd_deposit},
    {"refund", "NAME YUAN", "money that went back to a renter", 2, 2, money_options,
     book_cmd_refund},
    {"payout", "HOST YUAN", "money that went out to an owner", 2, 2, money_options,
     book_cmd_payout},
    {"balance", "[NAME]", "what is there, held and free; and due to owners", 0, 1,
     json_options, book_cmd_balance},
    {"statement", "[NAME]", "what happened, one line an entry", 0, 1, statement_options,
     book_cmd_statement},
    {"receive", "FILE...", "settle receipts and lines of keeping from files", 1,
     WORDS_MAX, json_options, book_cmd_receive},
    {"release", "LEASE", "free what is held for a lease that never began", 1, 1,
     json_options, book_cmd_release},
    {"audit", "", "prove that the ledger and the receipts agree", 0, 0, json_options,
     book_cmd_audit},
    {"tick", "", "for cron: post keeping that is over", 0, 0, json_options,
     book_cmd_tick},
    {"version", "", "say which version this is", 0, 0, json_options, cmd_version},
    {"help", "[COMMAND]", "say what there is, and what a command takes", 0, 1, no_options,
     cmd_help},
    {NULL, NULL, NULL, 0, 0, NULL, NULL},
};

int
book_print_json(struct buf *b, struct err *e)
{
    bool ok;

    buf_add_str(b, "\n");
    ok = fwrite(b->data, 1, b->len, stdout) == b->len && fflush(stdout) == 0;
    buf_free(b);
    return ok ? 0 : err_set_sys(e, errno, "cannot write to stdout");
}

static void
print_error(const struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "error");
    json_obj(&j);
    json_kstr(&j, "code", err_code_name(e->code));
    json_kstr(&j, "message", e->msg);
    json_obj_end(&j);
    json_obj_end(&j);
    buf_add_str(&b, "\n");
    (void)fwrite(b.data, 1, b.len, stderr);
    buf_free(&b);
}

static void
print_overview(void)
{
    (void)printf("gpurun-book keeps the money of several renters, signs the grants of "
                 "their runs\nand pays the owners of the hosts.\n\n");
    for (const struct book_command *c = book_commands; c->name != NULL; c++) {
        char *usage = xasprintf("%s %s", c->name, c->args);

        if (c->help != NULL) {
            (void)printf("  %-*s %s\n", USAGE_COLUMNS, usage, c->help);
        }
        free(usage);
    }
    (void)printf("\n`gpurun-book COMMAND --help` says more; so does gpurun-book(8).\n");
}

static void
print_help_of(const struct book_command *c)
{
    (void)printf("usage: gpurun-book %s %s\n\n%s\n\nOptions:\n", c->name, c->args,
                 c->help == NULL ? "not for people" : c->help);
    for (const struct opt *o = c->options; o->name != NULL; o++) {
        char *left = xasprintf("--%s%s%s", o->name, o->value == NULL ? "" : " ",
                               o->value == NULL ? "" : o->value);

        (void)printf("  %c%c%s %-16s %s\n", o->short_name != 0 ? '-' : ' ',
                     o->short_name != 0 ? o->short_name : ' ',
                     o->short_name != 0 ? "," : " ", left, o->help);
        free(left);
    }
}

static const struct book_command *
find(const char *name)
{
    for (const struct book_command *c = book_commands; c->name != NULL; c++) {
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

    return err_set(e, ERR_INVALID, "there is no command '%s' (see `gpurun-book help`)",
                   text_escape_to(shown, sizeof shown, name));
}

static int
cmd_help(const struct book_options *o, int argc, char **argv, struct err *e)
{
    const struct book_command *c = argc > 0 ? find(argv[0]) : NULL;

    (void)o;
    if (argc > 0 && c == NULL) {
        return no_command(argv[0], e);
    }
    if (c != NULL) {
        print_help_of(c);
    } else {
        print_overview();
    }
    return 0;
}

static int
run(const struct book_command *c, const struct book_options *o, int n, char **words)
{
    struct err e = {0};
    int rc;

    if (o->help) {
        print_help_of(c);
        return 0;
    }
    if (n < c->min_args || n > c->max_args) {
        (void)fprintf(stderr, "gpurun-book %s: usage: gpurun-book %s %s\n", c->name,
                      c->name, c->args);
        return EXIT_USAGE;
    }
    rc = c->run(o, n, words, &e);
    if (rc != -1) {
        return rc;
    }
    if (o->json) {
        print_error(&e);
    } else {
        (void)fprintf(stderr, "gpurun-book %s: %s\n", c->name, e.msg);
    }
    return 1;
}

int
book_commands_run(int argc, char **argv)
{
    struct book_options o = {0};
    const struct book_command *c;
    struct err e = {0};
    bool dashes = false;
    int n = 0;

    if (argc < 1) {
        print_overview();
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "--help") == 0) {
        argv[0] += 2;
    }
    c = find(argv[0]);
    if (c == NULL) {
        (void)no_command(argv[0], &e);
        (void)fprintf(stderr, "gpurun-book: %s\n", e.msg);
        return EXIT_USAGE;
    }
    if (opt_parse(c->options, &o, argc - 1, argv + 1, false, &n, &dashes, &e) != 0) {
        (void)fprintf(stderr, "gpurun-book %s: %s\n", c->name, e.msg);
        return EXIT_USAGE;
    }
    return run(c, &o, n, argv + 1);
}
