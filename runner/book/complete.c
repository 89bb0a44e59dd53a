#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/book/commands.h"

/* What the shells' completions read (completions/): a word a line, behind a tab what it
 * means; ":files" asks for names of files, too. */

static void
offer(const char *word, const char *help, const char *typed)
{
    if (strncmp(word, typed, strlen(typed)) == 0) {
        (void)printf("%s\t%s\n", word, help);
    }
}

static void
offer_options(const struct book_command *c, const char *typed)
{
    for (const struct opt *o = c->options; o->name != NULL; o++) {
        char word[64];

        (void)snprintf(word, sizeof word, "--%s", o->name);
        offer(word, o->help, typed);
    }
}

static void
offer_accounts(const char *dir, const char *typed)
{
    struct book *b = NULL;
    struct book_ids l = {NULL, 0};
    struct err e;

    if (book_open(&b, &e) != 0 || book_list(b, dir, &l, &e) != 0) {
        book_close(b);
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct account a;
        struct book_host h;

        if (strcmp(dir, "accounts") == 0 && account_load(b, l.v[i], &a, &e) == 0) {
            offer(a.name[0] != '\0' ? a.name : a.id, a.id, typed);
            account_free(&a);
        } else if (strcmp(dir, "hosts") == 0 && book_host_load(b, l.v[i], &h, &e) == 0) {
            offer(h.name, h.id, typed);
        }
    }
    free(l.v);
    book_close(b);
}

static const struct book_command *
find(const char *name)
{
    for (const struct book_command *c = book_commands; c->name != NULL; c++) {
        if (c->help != NULL && strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static void
offer_words(const struct book_command *c, int argc, char **argv, const char *typed)
{
    if (strcmp(c->name, "host") == 0 && argc == 2) {
        offer("ls", "the hosts there are", typed);
        offer("add", "a host, with its key", typed);
        offer("rm", "no more grants for it", typed);
    } else if (strcmp(c->name, "payout") == 0 ||
               (strcmp(c->name, "host") == 0 && strcmp(argv[1], "rm") == 0)) {
        offer_accounts("hosts", typed);
    } else if (strncmp(c->args, "NAME", 4) == 0 || strcmp(c->args, "[NAME]") == 0) {
        offer_accounts("accounts", typed);
    } else if (strstr(c->args, "FILE") != NULL) {
        (void)puts(":files");
    }
}

int
book_cmd_complete(const struct book_options *o, int argc, char **argv, struct err *e)
{
    const char *typed = argv[argc - 1];
    const struct book_command *c = argc > 1 ? find(argv[0]) : NULL;

    (void)o;
    (void)e;
    if (argc == 1) {
        for (c = book_commands; c->name != NULL; c++) {
            if (c->help != NULL) {
                offer(c->name, c->help, typed);
            }
        }
    } else if (c != NULL && typed[0] == '-') {
        offer_options(c, typed);
    } else if (c != NULL) {
        offer_words(c, argc, argv, typed);
    }
    return 0;
}
