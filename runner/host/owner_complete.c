#include <stdio.h>
#include <string.h>

#include "runner/host/commands.h"

/* What the shells' completions read (completions/): a word a line, behind a tab what it
 * means; ":files" asks for names of files, too. */

static bool
begins(const char *word, const char *typed)
{
    return strncmp(word, typed, strlen(typed)) == 0;
}

static void
offer(const char *word, const char *help, const char *typed)
{
    if (begins(word, typed)) {
        (void)printf("%s\t%s\n", word, help);
    }
}

static void
offer_commands(const char *typed)
{
    for (const struct command *c = commands_table; c->name != NULL; c++) {
        if (c->help != NULL) {
            offer(c->name, c->help, typed);
        }
    }
}

static const struct command *
find(const char *name)
{
    for (const struct command *c = commands_table; c->name != NULL; c++) {
        if (c->help != NULL && strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static bool
takes_value(const struct command *c, const char *word)
{
    for (const struct opt *o = c->options; o->name != NULL; o++) {
        if (o->value != NULL && begins(word, "--") && strcmp(word + 2, o->name) == 0) {
            return true;
        }
    }
    return false;
}

static void
offer_options(const struct command *c, const char *typed)
{
    for (const struct opt *o = c->options; o->name != NULL; o++) {
        char word[64];

        (void)snprintf(word, sizeof word, "--%s", o->name);
        offer(word, o->help, typed);
    }
}

/* n: the words between the command and the one that is being typed. */
static void
offer_words(const struct command *c, int n, const char *typed)
{
    if (strcmp(c->name, "help") == 0 && n == 0) {
        offer_commands(typed);
    } else if (strcmp(c->name, "price") == 0 && n == 0) {
        offer("ls", "the rate card", typed);
        offer("set", "ask a price: TYPE=YUAN", typed);
        offer("rm", "offer it no more", typed);
    } else if (strcmp(c->name, "allow") == 0) {
        (void)printf(":files\n");
    }
}

int
owner_complete(const struct command_options *o, int argc, char **argv, struct err *e)
{
    const char *typed = argv[argc - 1];
    const struct command *c = find(argv[0]);

    (void)o;
    (void)e;
    if (argc == 1) {
        offer_commands(typed);
    } else if (c == NULL || takes_value(c, argv[argc - 2])) {
        return 0;
    } else if (typed[0] == '-') {
        offer_options(c, typed);
    } else {
        offer_words(c, argc - 2, typed);
    }
    return 0;
}
