/*
 * table_book       print gpurun-book's command table as table_gpurun does gpurun's
 *
 * Commands that are not for people are left out; --help, which all of them have, is a
 * row of "*".
 */
#include <stdio.h>
#include <string.h>

#include "runner/book/commands.h"

static void
print_option(const char *command, const struct opt *o)
{
    (void)printf("option\t%s\t%c\t%s\t%s\n", command,
                 o->short_name != 0 ? o->short_name : '-', o->name,
                 o->value != NULL ? o->value : "-");
}

int
main(void)
{
    const struct opt *help = NULL;

    for (const struct book_command *c = book_commands; c->name != NULL; c++) {
        if (c->help == NULL) {
            continue;
        }
        (void)printf("usage\t%s\t%s\n", c->name, c->args);
        for (const struct opt *o = c->options; o->name != NULL; o++) {
            if (strcmp(o->name, "help") == 0) {
                help = o;
            } else {
                print_option(c->name, o);
            }
        }
    }
    if (help != NULL) {
        print_option("*", help);
    }
    return 0;
}
