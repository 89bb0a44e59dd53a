#include "base/command.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"

#define EXIT_USAGE 2

const struct opt command_json_options[] = {COMMAND_HELP, COMMAND_JSON, COMMAND_END};
static const struct opt no_options[] = {COMMAND_HELP, COMMAND_END};

const struct opt *
command_options_of(const struct command *c)
{
    return c->options != NULL ? c->options : no_options;
}

static const struct command *
find(const struct program *p, const char *name)
{
    for (const struct command *c = p->commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

/* ---- JSON ---- */

int
program_print_json(struct buf *b, struct err *e)
{
    bool ok;

    buf_add_str(b, "\n");
    ok = fwrite(b->data, 1, b->len, stdout) == b->len && fflush(stdout) == 0;
    buf_free(b);
    return ok ? 0 : err_set_sys(e, errno, "cannot write to stdout");
}

/* What was printed has to be there: earnings in a file on a full disk are none. */
static int
flush_stdout(struct err *e)
{
    errno = 0;
    return fflush(stdout) == 0 && ferror(stdout) == 0
               ? 0
               : err_set_sys(e, errno != 0 ? errno : EIO, "cannot write to stdout");
}

static void
print_error_json(const struct err *e)
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

/* ---- help and version ---- */

static void
print_overview(const struct program *p)
{
    (void)printf("%s\n\n", _(p->about));
    for (const struct command *c = p->commands; c->name != NULL; c++) {
        char *usage = xasprintf("%s %s", c->name, c->args);

        if (c->help != NULL) {
            (void)printf("  %-*s %s\n", p->usage_columns, usage, _(c->help));
        }
        free(usage);
    }
    (void)printf(_("\n`%s COMMAND --help` says more; so does %s(8).\n"), p->name,
                 p->name);
}

static void
print_help_of(const struct program *p, const struct command *c)
{
    (void)printf(_("usage: %s %s %s\n\n%s\n\nOptions:\n"), p->name, c->name, c->args,
                 c->help == NULL ? _("not for people: gpurun starts it") : _(c->help));
    for (const struct opt *o = command_options_of(c); o->name != NULL; o++) {
        char *left = xasprintf("--%s%s%s", o->name, o->value == NULL ? "" : " ",
                               o->value == NULL ? "" : o->value);

        (void)printf("  %c%c%s %-16s %s\n", o->short_name != 0 ? '-' : ' ',
                     o->short_name != 0 ? o->short_name : ' ',
                     o->short_name != 0 ? "," : " ", left, _(o->help));
        free(left);
    }
}

static int
no_command(const struct program *p, const char *name, struct err *e)
{
    char shown[64];

    return err_set(e, ERR_INVALID, "there is no command '%s' (see `%s help`)",
                   text_escape_to(shown, sizeof shown, name), p->name);
}

static int
run_help(const struct program *p, int argc, char **argv, struct err *e)
{
    const struct command *c = argc > 0 ? find(p, argv[0]) : NULL;

    if (argc > 0 && c == NULL) {
        return no_command(p, argv[0], e);
    }
    if (c != NULL) {
        print_help_of(p, c);
    } else {
        print_overview(p);
    }
    return 0;
}

static int
run_version(const struct program *p, const struct command_options *o, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    if (o->json) {
        json_obj(&j);
        json_kstr(&j, "version", GPURUN_VERSION);
        json_obj_end(&j);
        return program_print_json(&b, e);
    }
    (void)printf("%s %s\n", p->name, GPURUN_VERSION);
    return 0;
}

/* ---- completion ----
 *
 * What completions/ read: a word a line, behind a tab what it means; ":files" asks for
 * names of files, too.
 */

void
program_offer(const char *word, const char *help, const char *typed)
{
    if (strncmp(word, typed, strlen(typed)) == 0) {
        (void)printf("%s\t%s\n", word, help);
    }
}

void
program_offer_commands(const struct program *p, const char *typed)
{
    for (const struct command *c = p->commands; c->name != NULL; c++) {
        if (c->help != NULL) {
            program_offer(c->name, c->help, typed);
        }
    }
}

void
program_offer_files(void)
{
    (void)puts(":files");
}

static bool
takes_value(const struct command *c, const char *word)
{
    for (const struct opt *o = command_options_of(c); o->name != NULL; o++) {
        if (o->value != NULL && strncmp(word, "--", 2) == 0 &&
            strcmp(word + 2, o->name) == 0) {
            return true;
        }
    }
    return false;
}

/* argv: what stands behind the program's name, the last word unfinished. */
static void
run_complete(const struct program *p, int argc, char **argv)
{
    const char *typed = argv[argc - 1];
    const struct command *c = argc > 1 ? find(p, argv[0]) : NULL;

    if (argc == 1) {
        program_offer_commands(p, typed);
    } else if (c == NULL || c->help == NULL || takes_value(c, argv[argc - 2])) {
        return;
    } else if (typed[0] == '-') {
        for (const struct opt *o = command_options_of(c); o->name != NULL; o++) {
            char word[64];

            (void)snprintf(word, sizeof word, "--%s", o->name);
            program_offer(word, o->help, typed);
        }
    } else if (strcmp(c->name, "help") == 0 && argc == 2) {
        program_offer_commands(p, typed);
    } else {
        p->words(c, argc - 2, argv + 1, typed);
    }
}

/* ---- running ---- */

static int
run_own(const struct program *p, const struct command *c, const struct command_options *o,
        int argc, char **argv, struct err *e)
{
    if (strcmp(c->name, "help") == 0) {
        return run_help(p, argc, argv, e);
    }
    if (strcmp(c->name, "version") == 0) {
        return run_version(p, o, e);
    }
    run_complete(p, argc, argv);
    return 0;
}

static int
run_command(const struct program *p, const struct command *c,
            const struct command_options *o, int n, char **words)
{
    struct err e = {0};
    struct err told;
    int rc;

    if (o->json || o->csv) {
        lang_english();
    }
    if (o->help) {
        lang_start(NULL); /* of "serve", too */
        print_help_of(p, c);
        return 0;
    }
    if (n < c->min_args || n > c->max_args) {
        (void)fprintf(stderr, _("%s %s: usage: %s %s %s\n"), p->name, c->name, p->name,
                      c->name, c->args);
        return EXIT_USAGE;
    }
    rc = c->run != NULL ? c->run(o, n, words, &e) : run_own(p, c, o, n, words, &e);
    if (rc != -1) {
        rc = flush_stdout(&e) == 0 ? rc : -1;
    }
    if (rc != -1) {
        return rc;
    }
    if (o->json) {
        print_error_json(&e);
    } else {
        /* Made in English, perhaps, while something was kept. */
        err_told(&told, e.code, e.msg, e.form);
        if (p->told_len != NULL) {
            told.msg[p->told_len(told.msg)] = '\0';
        }
        (void)fprintf(stderr, "%s %s: %s\n", p->name, c->name, told.msg);
    }
    return 1;
}

/* What only programs read is English in every locale: the wire, completion, what the
 * client starts here. */
static bool
is_for_people(const struct command *c)
{
    return c == NULL || (c->help != NULL && strcmp(c->name, "serve") != 0);
}

int
program_run(const struct program *p, int argc, char **argv)
{
    struct command_options o = {0};
    const struct command *c;
    struct err e = {0};
    bool dashes = false;
    int n = 0;

    if (argc < 1) {
        lang_start(NULL);
        print_overview(p);
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "--help") == 0) {
        argv[0] += 2;
    }
    c = find(p, argv[0]);
    lang_disown();
    if (is_for_people(c)) {
        lang_start(NULL);
    }
    if (c == NULL) {
        (void)no_command(p, argv[0], &e);
        (void)fprintf(stderr, "%s: %s\n", p->name, e.msg);
        return EXIT_USAGE;
    }
    if (opt_parse(command_options_of(c), &o, argc - 1, argv + 1, false, &n, &dashes,
                  &e) != 0) {
        (void)fprintf(stderr, "%s %s: %s\n", p->name, c->name, e.msg);
        return EXIT_USAGE;
    }
    return run_command(p, c, &o, n, argv + 1);
}
